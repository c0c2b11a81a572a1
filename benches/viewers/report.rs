//! Runs the cases and prints the table.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::case::{self, Figures};
use crate::options::Options;
use crate::subject::Kind;

/// Further rounds are left out when the run has taken so long.
const BUDGET: Duration = Duration::from_secs(180);

pub(crate) fn run() {
    let options = Options::parse(std::env::args().skip(1)).unwrap_or_else(|problem| {
        eprintln!("{problem}");
        std::process::exit(2);
    });
    raise_limit_on_files();
    let began = Instant::now();
    println!("{}", machine());
    println!();
    println!(
        "| viewers | subject | µs a packet | ratio | packets/s a viewer + probes | viewers a core | KB a viewer | \
         first key frame, p50 / p95 ms | frame out, p50 / p99 ms | status, p50 / p99 / max ms | lost packets / frames, gaps | \
         sender waited for a CPU | viewers' thread: CPU, dropped | rounds |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for count in &options.viewers {
        let kinds = options.kinds(*count);
        let mut figures: Vec<Vec<Figures>> = kinds.iter().map(|_| Vec::new()).collect();
        for round in 0..options.rounds {
            if round > 0 && began.elapsed() > BUDGET {
                break;
            }
            for (kind, figures) in kinds.iter().zip(&mut figures) {
                figures.push(case::run(*kind, *count, &options));
            }
        }
        let of = |kind| kinds.iter().position(|it| *it == kind).map(|at| &figures[at][..]);
        for (kind, rounds) in kinds.iter().zip(&figures) {
            let ratio = match kind {
                Kind::Here => of(Kind::Bound).map(|bound| ratio(rounds, bound)),
                Kind::HereWithAudio | Kind::HereWithJoinedAudio => {
                    of(Kind::Here).map(|here| extra(rounds, here))
                }
                Kind::HereOnTwoThreads => of(Kind::Here).map(|here| on_two(rounds, here)),
                Kind::Bound => None,
            };
            row(*count, *kind, rounds, ratio);
        }
    }
    println!();
    println!("{:.0} s in all; load of the machine at the end {}", began.elapsed().as_secs_f64(), load());
}

fn row(count: usize, kind: Kind, rounds: &[Figures], ratio: Option<String>) {
    let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
    let sum = |figure: fn(&Figures) -> u64| rounds.iter().map(figure).sum::<u64>();
    let all =
        |figures: fn(&Figures) -> &Vec<f64>| rounds.iter().flat_map(figures).copied().collect::<Vec<_>>();
    let (first_key, out, status) = (all(|it| &it.first_key), all(|it| &it.out), all(|it| &it.status));
    let status = match status.is_empty() {
        true => "–".to_owned(),
        false => {
            let [p50, p99, most] = [0.5, 0.99, 1.0].map(|part| percentile(&status, part));
            format!("{p50:.0} / {p99:.0} / {most:.0}")
        }
    };
    let watching = rounds.iter().map(|it| it.watching).min().unwrap_or(0);
    let watching = if watching < count { format!(" ({watching} saw anything)") } else { String::new() };
    println!(
        "| {count}{watching} | {} | {:.1} | {} | {:.0} + {:.0} | {:.0} | {:.0} | {:.0} / {:.0} | {:.1} / {:.1} | {} | {} / {}, {} | {:.0} % | {:.0} %, {} | {} |",
        kind.name(),
        of(|it| it.microseconds),
        ratio.as_deref().unwrap_or("–"),
        of(|it| it.rate),
        of(|it| it.probes),
        count as f64 / of(|it| it.cpu),
        of(|it| it.memory) / 1024.0,
        percentile(&first_key, 0.5),
        percentile(&first_key, 0.95),
        percentile(&out, 0.5),
        percentile(&out, 0.99),
        status,
        sum(|it| it.packets_lost),
        sum(|it| it.frames_lost),
        sum(|it| it.gaps),
        100.0 * of(|it| it.waited),
        100.0 * of(|it| it.own),
        sum(|it| it.dropped),
        rounds.len(),
    );
}

/// What a packet costs, by what it costs without a library. Both of a round met the same machine.
fn ratio(here: &[Figures], bound: &[Figures]) -> String {
    let ratios = here.iter().zip(bound).map(|(here, bound)| here.microseconds / bound.microseconds);
    format!("{:.2}", median(ratios.collect()))
}

/// What a packet costs on two threads, by what it costs on one; and the share of each in the packets.
fn on_two(two: &[Figures], one: &[Figures]) -> String {
    let percent = |share: f64| format!("{:.0}", 100.0 * share);
    let split = two.iter().map(|it| it.split.iter().copied().map(percent).collect::<Vec<_>>().join(":"));
    format!("{} of one thread, packets {}", ratio(two, one), split.collect::<Vec<_>>().join(" and "))
}

/// How much more CPU time audio takes.
fn extra(with: &[Figures], without: &[Figures]) -> String {
    let extra = with.iter().zip(without).map(|(with, without)| 100.0 * (with.cpu / without.cpu - 1.0));
    format!("{:+.0} % CPU", median(extra.collect()))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 0 => (figures[n / 2 - 1] + figures[n / 2]) / 2.0,
        n => figures[n / 2],
    }
}

fn percentile(figures: &[f64], part: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// As far as it may be. The processes that are started inherit it.
fn raise_limit_on_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// On what this was measured.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, Linux {}, load {}", kernel.trim(), load())
}

/// The mean number of those that want a CPU, over the last minute.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
