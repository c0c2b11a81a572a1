//! A process to measure.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::floor;

/// The possible subjects.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// The program, with this many driver threads.
    Server {
        threads: usize,
    },
    Floor,
}

pub(crate) struct Subject {
    pub address: SocketAddr,
    child: Child,
    /// Kept open, since a program whose output is closed may fail.
    _output: BufReader<ChildStdout>,
}

impl Subject {
    /// Starts it on a free loopback port. It does not use this machine's settings.
    pub(crate) fn start(kind: Kind) -> Subject {
        let mut command = match kind {
            Kind::Server { threads } => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_symple"));
                command.args([
                    "serve",
                    "--listen",
                    "127.0.0.1",
                    "--port",
                    "0",
                    "--rate",
                    "0",
                    "--log",
                    "error",
                ]);
                command.arg(format!("--threads={threads}"));
                command
            }
            Kind::Floor => {
                let mut command = Command::new(std::env::current_exe().expect("Linux reports it"));
                command.arg(floor::NAME);
                command
            }
        };
        let mut child = command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo has just built it");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("its output is UTF-8");
        let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("it printed no address to connect to: {line:?}"));
        Subject { address, child, _output: output }
    }

    /// The CPU time of `work`, in microseconds per item that `work` reports to have done.
    pub(crate) fn cost(&self, work: impl FnOnce() -> usize) -> f64 {
        let before = self.cpu();
        let done = work();
        let taken = self.cpu() - before;
        taken.as_secs_f64() * 1e6 / done as f64
    }

    /// The CPU time of all its threads so far, once it is idle.
    fn cpu(&self) -> Duration {
        let mut last = self.cpu_now();
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(5));
            let now = self.cpu_now();
            if now == last {
                break;
            }
            last = now;
        }
        last
    }

    fn cpu_now(&self) -> Duration {
        self.threads().iter().sum()
    }

    /// The share of its busiest thread in the CPU time of all, since it started.
    pub(crate) fn busiest(&self) -> f64 {
        let threads = self.threads();
        let most = threads.iter().max().expect("it runs").as_secs_f64();
        most / threads.iter().sum::<Duration>().as_secs_f64()
    }

    /// The CPU time of each thread. The first word of `schedstat` is nanoseconds on a CPU. No thread ends while a case
    /// runs.
    fn threads(&self) -> Vec<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let on_cpu = tasks.map(|task| {
            let path = task.expect("it runs").path().join("schedstat");
            let text = fs::read_to_string(path).expect("the kernel has CONFIG_SCHED_INFO");
            text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).map(Duration::from_nanos)
        });
        on_cpu.map(|time| time.expect("nanoseconds")).collect()
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Its peak resident memory.
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("Linux reports it");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes << 10
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
