//! What viewers and strangers make `symple camera` use, and that it is freed once they have left.
//!
//! The program is the one that was built with this test, or the one that `SYMPLE_TEST_PROGRAM` names: in the emulated
//! machine of `tests/machine` it runs under a memory limit such as the one that its systemd unit sets.
#![cfg(all(feature = "camera-gst", target_os = "linux", target_env = "gnu"))]

#[path = "whole_call/side.rs"]
mod side;
#[path = "whole_call/viewer.rs"]
mod viewer;

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use futures_lite::future::zip;
use side::Side;
use viewer::Enough;

/// Far more than it takes, in an emulator too; a deadline, not a measurement.
const PATIENCE: Duration = Duration::from_secs(300);

/// Free memory is returned every 10 s (`GIVE_BACK` in the program), and the encoder ends before it.
const SETTLES_IN: Duration = Duration::from_secs(13);
/// A deadline, not a measurement.
const RETURNED_WITHIN: Duration = Duration::from_secs(40);

const VIEWERS: usize = 6;
const PICTURES: usize = 5;

/// Strangers at once, and how often as many come. Each sends the largest frame that is allowed before `auth`, to the
/// last byte but one.
const STRANGERS: usize = 900;
const FLOODS: usize = 3;
const FRAME: usize = 16 << 10;

/// One of so many authenticates and stays, so that what the others used lies between blocks that stay in use.
const ONE_STAYS_OF: usize = 40;

/// KiB that strangers may take at most: a frame, what was read with it and the socket's own buffers each.
const PEAK: u64 = 64 << 10;

/// KiB that may stay: what a table keeps of its size, pages that are shared with what is in use, and those who stay.
/// Without `malloc_trim` all of the strangers' 14 MiB stay; on a busy machine 10 MiB were seen to.
const KEPT: u64 = 12 << 10;

#[test]
fn a_camera_frees_what_viewers_and_strangers_used() {
    let built = option_env!("CARGO_BIN_EXE_symple").map(String::from);
    let Some(program) = std::env::var("SYMPLE_TEST_PROGRAM").ok().or(built) else {
        return println!(
            "SKIPPED: SYMPLE_TEST_PROGRAM is not set, and the program was not built with this test"
        );
    };
    let camera = Camera::start(&program);
    println!("{:>8} KiB before the first viewer", camera.memory());

    // Caches of GStreamer and of each thread's allocator are filled once and stay.
    camera.watched_by(VIEWERS);
    let first = camera.at_rest(0, SETTLES_IN);
    println!("{first:>8} KiB after the first {VIEWERS} viewers");

    camera.watched_by(VIEWERS);
    let after = camera.at_rest(first + KEPT, RETURNED_WITHIN);
    println!("{after:>8} KiB after {VIEWERS} more");
    assert!(after <= first + KEPT, "{first} KiB grew to {after} KiB");

    let mut stay = Vec::new();
    for _ in 0..FLOODS {
        let peak = camera.flooded_by(STRANGERS, &mut stay);
        println!("{peak:>8} KiB with {STRANGERS} strangers");
        assert!(peak <= first + PEAK, "{first} KiB grew to {peak} KiB");
    }
    let after = camera.at_rest(first + KEPT, RETURNED_WITHIN);
    println!("{after:>8} KiB after {FLOODS} times as many, {} of whom stay", stay.len());
    assert!(after <= first + KEPT, "{first} KiB grew to {after} KiB");

    camera.watched_by(1);
}

/// `symple camera` with a test pattern at 720p, on a port of this machine alone.
struct Camera {
    child: Child,
    /// Kept, so that it can write.
    _out: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Camera {
    fn start(program: &str) -> Camera {
        let mut child = Command::new(program)
            .args(["camera", "--source", "test", "--size", "1280x720", "--fps", "5", "--board", "generic"])
            .args(["--no-audio", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let url = out
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("open http://")?.to_owned()));
        let address = url.expect("it prints its address").trim_end_matches('/').parse().expect("an address");
        Camera { child, _out: out, address }
    }

    /// What it uses with no file behind it, in KiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).expect("Linux reports it")
    }

    /// The least that it uses until that is no more than `enough`, or within a time.
    fn at_rest(&self, enough: u64, within: Duration) -> u64 {
        let (end, mut least) = (Instant::now() + within, u64::MAX);
        while least > enough && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
            least = least.min(self.memory());
        }
        least
    }

    /// Several viewers at once; each leaves after a few pictures.
    fn watched_by(&self, viewers: usize) {
        let url = format!("ws://{}", self.address);
        let watch = |n: usize| {
            let url = url.clone();
            move || {
                let side = Side::new(&url, &format!("viewer{n}"));
                let client = side.client.clone();
                let call = async {
                    let watched = viewer::watch(side, true, Enough { pictures: PICTURES, sounds: 0 }).await;
                    client.close();
                    watched.pictures.len()
                };
                let late = async {
                    smol::Timer::after(PATIENCE).await;
                    panic!("no {PICTURES} pictures within {PATIENCE:?}");
                };
                smol::block_on(async { zip(call, client.run()).await.0 }.or(late))
            }
        };
        let watching: Vec<_> = (0..viewers).map(|n| std::thread::spawn(watch(n))).collect();
        for viewer in watching {
            assert!(viewer.join().expect("it watches") >= PICTURES);
        }
    }

    /// So many strangers at once, who then leave, but for some; the most that the camera used meanwhile.
    fn flooded_by(&self, strangers: usize, stay: &mut Vec<TcpStream>) -> u64 {
        let head = [&[0x81, 0x80 | 126][..], &(FRAME as u16).to_be_bytes(), &[0; 4]].concat();
        let mut here = Vec::new();
        for n in 0..strangers {
            let mut tcp = self.socket();
            if n % ONE_STAYS_OF == 0 {
                tcp.write_all(&text(&format!(r#"{{"type":"auth","user":"stays{}"}}"#, stay.len())))
                    .expect("it reads");
                stay.push(tcp);
            } else {
                tcp.write_all(&head).and_then(|()| tcp.write_all(&[b' '; FRAME - 1])).expect("it reads");
                here.push(tcp);
            }
        }
        let (end, mut peak) = (Instant::now() + Duration::from_secs(2), 0);
        while Instant::now() < end {
            peak = peak.max(self.memory());
            std::thread::sleep(Duration::from_millis(50));
        }
        peak
    }

    /// A WebSocket on which nobody is admitted yet.
    fn socket(&self) -> TcpStream {
        let mut tcp = TcpStream::connect(self.address).expect("it listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("not zero");
        tcp.set_write_timeout(Some(PATIENCE)).expect("not zero");
        write!(
            tcp,
            "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address
        )
        .expect("it reads");
        let mut head = [0; 512];
        let n = tcp.read(&mut head).expect("it answers");
        let head = String::from_utf8_lossy(&head[..n]);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        tcp
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A text frame of less than 126 bytes, masked with zeros.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|n| *n < 126).expect("a short text");
    [&[0x81, 0x80 | length, 0, 0, 0, 0][..], text.as_bytes()].concat()
}
