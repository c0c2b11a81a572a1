//! A process that is measured.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::call::{self, Calls, Desk, News};
use crate::clock::Nanos;
use crate::{bound, encoder, here};

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Here,
    HereWithAudio,
    HereWithJoinedAudio,
    HereOnTwoThreads,
    Bound,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Here => here::NAME,
            Kind::HereWithAudio => here::WITH_AUDIO,
            Kind::HereWithJoinedAudio => here::WITH_JOINED_AUDIO,
            Kind::HereOnTwoThreads => here::ON_TWO_THREADS,
            Kind::Bound => bound::NAME,
        }
    }
}

pub(crate) struct Subject {
    child: Child,
    /// Where its page is, if it has one.
    pub(crate) page: Option<SocketAddr>,
    /// When each frame left the encoder.
    frames: Arc<Mutex<Vec<(u32, Nanos)>>>,
}

/// Ends a subject whose parent is gone.
pub(crate) fn end_with_parent() {
    thread::spawn(|| {
        _ = std::io::stdin().lock().read(&mut [0]);
        std::process::exit(0);
    });
}

impl Subject {
    /// Starts it, and returns the way to call it. Nothing of this machine's settings reaches it.
    pub(crate) fn start(kind: Kind, desk: Desk) -> (Subject, Calls) {
        let mut child = Command::new(std::env::current_exe().expect("Linux knows it"))
            .arg(kind.name())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is this program");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut first = String::new();
        output.read_line(&mut first).expect("it writes UTF-8");
        let page = first.trim().strip_prefix("ws://").and_then(|url| url.trim_end_matches('/').parse().ok());
        let calls = match kind {
            Kind::Bound => Calls::Pipe(child.stdin.take().expect("piped")),
            _ => Calls::symple(first.trim().to_owned()),
        };
        let frames = Arc::<Mutex<Vec<(u32, Nanos)>>>::default();
        let seen = frames.clone();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(frame) = encoder::parse(&line) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
                } else if let Some((viewer, sdp)) = call::parse("answer", &line) {
                    desk.put(viewer, News::Answer(sdp));
                } else {
                    println!("{line}");
                }
            }
        });
        (Subject { child, page, frames }, calls)
    }

    /// The frames that left the encoder so far, and when.
    pub(crate) fn frames(&self) -> Vec<(u32, Nanos)> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What all its threads but the encoder's have had so far. No thread ends while a viewer watches.
    pub(crate) fn cpu(&self) -> Cpu {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let on_cpu = tasks.filter_map(|task| {
            let task = task.expect("it runs").path();
            let name = fs::read_to_string(task.join("comm")).expect("it runs");
            (name.trim_end() != encoder::THREAD).then(|| Cpu::read(&task.join("schedstat").to_string_lossy()))
        });
        on_cpu.fold(Cpu::default(), |all, of| Cpu { ran: all.ran + of.ran, waited: all.waited + of.waited })
    }

    /// Bytes of memory that it holds.
    pub(crate) fn resident(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux reports it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }
}

/// Times of threads.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// On a CPU.
    pub(crate) ran: Duration,
    /// Ready to run, while others had the CPUs.
    pub(crate) waited: Duration,
}

impl Cpu {
    pub(crate) fn of_this_thread() -> Cpu {
        Cpu::read("/proc/thread-self/schedstat")
    }

    /// The first two words of `schedstat` are nanoseconds.
    fn read(path: &str) -> Cpu {
        let text = fs::read_to_string(path).expect("the kernel counts (CONFIG_SCHED_INFO)");
        let mut words = text.split(' ').map(|word| Duration::from_nanos(word.parse().unwrap_or(0)));
        let mut next = || words.next().expect("three words");
        Cpu { ran: next(), waited: next() }
    }

    pub(crate) fn since(self, before: Cpu) -> Cpu {
        Cpu { ran: self.ran - before.ran, waited: self.waited - before.waited }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
