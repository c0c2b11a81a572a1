//! Runs the cases and prints the table.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cases::{self, Direct};
use crate::subject::{Kind, Subject};

/// How often each CPU time is measured; the median counts. Memory hardly varies.
const ROUNDS: usize = 5;
const ROUNDS_OF_MEMORY: usize = 1;

/// Further rounds are skipped when the run has taken this long.
const BUDGET: Duration = Duration::from_secs(180);

/// The number of idle peers, if the limit on open files allows it.
const IDLE: usize = 10_000;
/// Files that a process has open besides the peers' sockets.
const BESIDE: usize = 400;

struct Case {
    name: String,
    unit: Unit,
    rounds: usize,
    /// Whether the floor can do it too.
    floor: bool,
    run: Box<dyn Fn(&Subject) -> f64>,
}

enum Unit {
    Microseconds,
    Kilobytes,
    Megabytes,
}

impl Case {
    fn cpu(name: impl Into<String>, run: impl Fn(&Subject) -> f64 + 'static) -> Case {
        Case { name: name.into(), unit: Unit::Microseconds, rounds: ROUNDS, floor: true, run: Box::new(run) }
    }

    /// A case that a relay without rosters cannot do.
    fn without_floor(self) -> Case {
        Case { floor: false, ..self }
    }

    fn memory(name: impl Into<String>, unit: Unit, run: impl Fn(&Subject) -> f64 + 'static) -> Case {
        Case { name: name.into(), unit, rounds: ROUNDS_OF_MEMORY, floor: true, run: Box::new(run) }
    }
}

impl Unit {
    fn show(&self, value: f64) -> String {
        let name = match self {
            Unit::Microseconds => "µs",
            Unit::Kilobytes => "KB",
            Unit::Megabytes => "MB",
        };
        format!("{} {name}", self.number(value))
    }

    fn number(&self, value: f64) -> String {
        match self {
            Unit::Microseconds if value < 20.0 => format!("{value:.2}"),
            Unit::Microseconds => format!("{value:.0}"),
            Unit::Kilobytes => format!("{:.1}", value / 1024.0),
            Unit::Megabytes => format!("{:.1}", value / f64::from(1 << 20)),
        }
    }
}

fn table() -> Vec<Case> {
    let idle = IDLE.min(files().saturating_sub(BESIDE));
    let cut = if idle < IDLE { format!(" (not {IDLE}: the limit on open files)") } else { String::new() };
    let direct = |pairs, in_flight, bytes, messages| {
        let case = Direct { pairs, in_flight, bytes, messages };
        move |subject: &Subject| cases::direct(subject, &case)
    };
    vec![
        Case::cpu("direct, 50 pairs, 16 in flight, 200 B, per message", direct(50, 16, 200, 50_000)),
        Case::cpu("the same, 4096 B", direct(50, 16, 4096, 20_000)),
        Case::cpu("direct, 1 pair, 1 in flight, 200 B, per message", direct(1, 1, 200, 5_000)),
        Case::cpu("direct, 1 pair, 1000 messages a second, 200 B, per message", |s| {
            cases::paced(s, 1000, 200, 3000)
        }),
        Case::cpu("fan-out to 1000 in a room, per delivery", |s| cases::fan_out(s, 1000, 100)),
        Case::cpu("200 join one room at once, per delivered frame", |s| cases::join(s, 200)),
        Case::cpu("2000 join one room at once, per announced peer", |s| cases::storm(s, 2000, 0))
            .without_floor(),
        Case::cpu("1000 with 4 KB of data each join, per announced peer", |s| cases::storm(s, 1000, 4000))
            .without_floor(),
        Case::cpu("connect and authenticate, per peer", |s| cases::connect(s, 1000)),
        Case::memory(format!("memory of an idle peer, of {idle}{cut}"), Unit::Kilobytes, move |s| {
            cases::idle(s, idle)
        }),
        Case::memory("a reader that stops, 600 MB sent in its room", Unit::Megabytes, |s| {
            cases::stopped_reader(s, 600 << 20)
        }),
    ]
}

/// Raises the soft limit on open files to the hard one, and returns it. Child processes inherit it.
fn files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.or(current).map_or(usize::MAX, |n| n as usize)
}

pub(crate) fn run() {
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let kinds = [Kind::Server { threads: cores }, Kind::Server { threads: 1 }, Kind::Floor];
    println!("{}", machine(cores));
    println!();
    println!(
        "| | symple, one thread per core | share of the busiest | symple, one thread | floor, one thread | \
         ratio of one thread | rounds |"
    );
    println!("|---|---|---|---|---|---|---|");
    // As with cargo's own: arguments select the cases whose names contain them. `--bench` comes from cargo.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let chosen = |case: &Case| words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()));
    for case in table().into_iter().filter(chosen) {
        let mut figures = kinds.map(|_| Vec::new());
        let mut shares = Vec::new();
        for round in 0..case.rounds {
            if round > 0 && began.elapsed() > BUDGET {
                break;
            }
            for (kind, figures) in kinds.iter().zip(&mut figures) {
                if case.floor || !matches!(kind, Kind::Floor) {
                    let subject = Subject::start(*kind);
                    figures.push((case.run)(&subject));
                    if matches!(kind, Kind::Server { threads: 2.. }) {
                        shares.push(subject.busiest());
                    }
                }
            }
        }
        let rounds = figures[0].len();
        let [all, one, floor] = figures.map(|mut figures| {
            figures.sort_by(f64::total_cmp);
            figures
        });
        let show = |figures: &[f64]| shown(&case.unit, figures);
        let ratio = median(&one).zip(median(&floor)).map_or("–".to_owned(), |(one, floor)| {
            let ratio = one / floor;
            let digits = if ratio < 0.1 { 3 } else { 2 };
            format!("{ratio:.digits$}")
        });
        shares.sort_by(f64::total_cmp);
        let share = median(&shares).map_or("–".to_owned(), |share| format!("{:.0} %", 100.0 * share));
        println!(
            "| {} | {} | {share} | {} | {} | {ratio} | {rounds} |",
            case.name,
            show(&all),
            show(&one),
            show(&floor)
        );
    }
    println!();
    println!("{:.0} s in total; load of the machine at the end {}", began.elapsed().as_secs_f64(), load());
}

/// `None` of none; `figures` are sorted.
fn median(figures: &[f64]) -> Option<f64> {
    figures.get(figures.len() / 2).copied()
}

/// The median, and between which figures it lies; `figures` are sorted.
fn shown(unit: &Unit, figures: &[f64]) -> String {
    let Some(middle) = median(figures) else { return "–".to_owned() };
    match figures {
        [least, .., most] => {
            format!("{} ({} to {})", unit.show(middle), unit.number(*least), unit.number(*most))
        }
        _ => unit.show(middle),
    }
}

/// The machine on which this was measured.
fn machine(cores: usize) -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, Linux {}, load {}", kernel.trim(), load())
}

/// The load average over the last minute.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
