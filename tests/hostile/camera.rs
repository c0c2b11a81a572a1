//! The camera, started as people start it.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::network;

pub(crate) const PORT: u16 = 4500;

/// The address it listens on.
pub(crate) fn address() -> SocketAddr {
    (network::CAMERA, PORT).into()
}

pub(crate) struct Camera {
    child: Mutex<Child>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Camera {
    /// Waits until it listens.
    pub(crate) fn start() -> Camera {
        let home = network::camera_namespace().expect("only started on the street");
        let mut child = Command::new("ip")
            .args(["netns", "exec", &home, env!("CARGO_BIN_EXE_symple"), "camera"])
            .args(["--listen", "all", "--port", &PORT.to_string(), "--board", "generic"])
            .args(["--size", "320x240", "--fps", "30", "--no-audio"])
            .args(["--talk", "everybody", "--talk-output", "fakesink"])
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().expect("piped")).lines(), log.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut kept = kept.lock().expect("no panic under this lock");
                // Only the last lines matter.
                if kept.len() == 200 {
                    kept.remove(0);
                }
                kept.push(line);
            }
        });
        let camera = Camera { child: Mutex::new(child), log };
        let late = Instant::now() + super::PATIENCE;
        while TcpStream::connect(address()).is_err() {
            assert!(camera.lives() && Instant::now() < late, "it does not start:\n{}", camera.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        camera
    }

    pub(crate) fn lives(&self) -> bool {
        matches!(self.child.lock().expect("no panic under this lock").try_wait(), Ok(None))
    }

    /// The last lines of its log.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic under this lock").join("\n")
    }

    /// Its output when it panicked or was killed, if it was.
    pub(crate) fn last_words(&self) -> String {
        let log = self.log.lock().expect("no panic under this lock");
        let at = log.iter().position(|line| line.contains("panicked") || line.contains("ERROR"));
        log[at.unwrap_or(log.len().saturating_sub(2))..].iter().take(2).cloned().collect::<Vec<_>>().join(" ")
    }

    /// Its anonymous memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let id = self.child.lock().expect("no panic under this lock").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).expect("Linux reports it")
    }

    /// Its memory once that is at most `enough`, or else after `patience`.
    pub(crate) fn memory_at_rest(&self, enough: u64, patience: Duration) -> u64 {
        let late = Instant::now() + patience;
        loop {
            let now = self.memory();
            if now <= enough || Instant::now() > late {
                return now;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let child = self.child.get_mut().expect("no panic under this lock");
        _ = child.kill();
        _ = child.wait();
    }
}
