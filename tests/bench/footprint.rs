//! `make size`, its second half: what the program holds and how often it wakes while nobody wants anything.
//!
//! What GStreamer takes of a camera's memory is measured beside it, in a process that encodes a few pictures
//! with the same encoder and then rests, as the camera does when it has chosen one. Fails where a limit is
//! passed. Memory is resident memory, in units of 1000 bytes; a wake-up is a voluntary context switch of any
//! thread.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use std::{fs, thread};

/// What to idle means: what the start set going has come to rest after the first, and wake-ups are counted
/// for the second.
const REST: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(20);

/// The argument by which this program is GStreamer alone.
const GSTREAMER: &str = "gstreamer";

const KB: u64 = 1000;
const MB: u64 = 1000 * KB;

struct Footprint {
    resident: u64,
    threads: usize,
    wakes: f64,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(GSTREAMER) {
        return gstreamer();
    }
    println!("| idle | memory | its limit | threads | wake-ups a second |");
    println!("|---|---|---|---|---|");
    let serve = ["serve", "--listen", "127.0.0.1", "--port", "0", "--threads", "1"];
    let mut ok = report("server", &measure(symple(&serve)), 0, 4 * MB);
    if cfg!(feature = "camera") {
        let camera = measure(symple(&["camera", "--port", "0"]));
        let own = std::env::current_exe().expect("Linux knows it");
        let mut alone = Command::new(own);
        alone.arg(GSTREAMER);
        let alone = measure(alone);
        ok &= report("camera, without GStreamer's own", &camera, alone.resident, 8 * MB);
        println!("\nGStreamer alone: {} KB", alone.resident / KB);
    } else {
        println!("\nSKIPPED: the camera, for its feature is off");
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether both are within their limits.
fn report(name: &str, found: &Footprint, less: u64, limit: u64) -> bool {
    let memory = found.resident.saturating_sub(less);
    let (threads, wakes) = (found.threads, found.wakes);
    println!("| {name} | {} KB | {} KB | {threads} | {wakes:.2} |", memory / KB, limit / KB);
    memory <= limit && wakes < 2.0
}

fn symple(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symple"));
    command.args(args).env_remove("SYMPLE_CONFIG");
    command
}

/// Starts it, lets it come to rest after its first line, and ends it.
fn measure(mut command: Command) -> Footprint {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = Killed(child.expect("cargo has just built it"));
    let mut lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    lines.next().expect("it says something").expect("in UTF-8");
    thread::sleep(REST);
    let process = format!("/proc/{}", child.0.id());
    let (before, _) = switches(&process);
    thread::sleep(WATCHED);
    let (after, threads) = switches(&process);
    let wakes = (after - before) as f64 / WATCHED.as_secs_f64();
    Footprint { resident: number(&format!("{process}/status"), "VmRSS:") * 1024, threads, wakes }
}

/// Voluntary context switches so far of all threads, and how many there are.
fn switches(process: &str) -> (u64, usize) {
    let tasks = fs::read_dir(format!("{process}/task")).expect("it runs");
    let all: Vec<u64> = tasks
        .map(|task| {
            number(&format!("{}/status", task.expect("it runs").path().display()), "voluntary_ctxt_switches:")
        })
        .collect();
    (all.iter().sum(), all.len())
}

fn number(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("Linux tells it");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[cfg(feature = "gst")]
fn gstreamer() -> ExitCode {
    use gstreamer as gst;
    use gstreamer::prelude::*;

    gst::init().expect("GStreamer is here");
    let launch = "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! \
                  videoconvert ! x264enc tune=zerolatency speed-preset=superfast ! h264parse ! fakesink";
    let pipeline = gst::parse::launch(launch).expect("its plugins are here");
    pipeline.set_state(gst::State::Playing).expect("it starts");
    let bus = pipeline.bus().expect("every pipeline has one");
    _ = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &[gst::MessageType::Eos]);
    pipeline.set_state(gst::State::Null).expect("it stops");
    drop((pipeline, bus));
    println!("at rest");
    loop {
        thread::park();
    }
}

#[cfg(not(feature = "gst"))]
fn gstreamer() -> ExitCode {
    ExitCode::FAILURE
}
