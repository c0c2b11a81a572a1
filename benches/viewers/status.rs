//! Somebody who reads `/api/status` of a camera while others watch: what signalling, HTTP and handshakes wait for.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Between requests; no multiple of the time between frames, so that each comes at another moment of a frame.
const EVERY: Duration = Duration::from_millis(47);
/// A request that takes longer counts as long as this.
const LATEST: Duration = Duration::from_secs(5);

/// Asks until it is dropped, in a thread of its own.
pub(crate) struct Status {
    /// What each request took, in ms.
    took: Arc<Mutex<Vec<f64>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Status {
    pub(crate) fn ask(camera: SocketAddr) -> Status {
        let (took, over) = (Arc::<Mutex<Vec<f64>>>::default(), Arc::new(AtomicBool::new(false)));
        let (all, ends) = (took.clone(), over.clone());
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let began = Instant::now();
                request(camera);
                let took = began.elapsed().min(LATEST);
                all.lock().unwrap_or_else(PoisonError::into_inner).push(took.as_secs_f64() * 1e3);
                thread::sleep(EVERY.saturating_sub(began.elapsed()));
            }
        });
        Status { took, over, thread: Some(thread) }
    }

    /// What the requests so far took.
    pub(crate) fn take(&self) -> Vec<f64> {
        std::mem::take(&mut self.took.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// How many packets each of its threads has sent so far to those who watch.
pub(crate) fn packets(camera: SocketAddr) -> BTreeMap<u64, u64> {
    let answer = request(camera).expect("it answers");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let status: Value = serde_json::from_str(body).expect("JSON");
    let mut packets = BTreeMap::new();
    for session in status["sessions"].as_array().expect("a list") {
        let number = |name: &str| session[name].as_u64().unwrap_or(0);
        *packets.entry(number("shard")).or_default() += number("packets");
    }
    packets
}

/// One request on a connection of its own, as a monitor makes it.
fn request(camera: SocketAddr) -> Option<String> {
    let mut socket = TcpStream::connect(camera).expect("the camera listens");
    socket.set_read_timeout(Some(LATEST)).expect("not zero");
    let head = format!("GET /api/status HTTP/1.1\r\nHost: {camera}\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).expect("the camera reads");
    let mut answer = String::new();
    if let Err(e) = socket.read_to_string(&mut answer) {
        eprintln!("/api/status: {e}");
        return None;
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{}", answer.lines().next().unwrap_or_default());
    Some(answer)
}
