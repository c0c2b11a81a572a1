//! Peers that stop reading, or read little, over sockets of their own. They come back when they are closed.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size;
use tungstenite::Message;

/// How often one that trickles reads, and how many bytes. Less than what it is sent.
const PAUSE: Duration = Duration::from_millis(200);
const LITTLE: usize = 4 << 10;

/// After this time one that has stopped looks whether it was closed, which it does not see behind its queue.
const STOPPED: Duration = Duration::from_secs(12);

pub(crate) struct SlowPeers {
    over: Arc<AtomicBool>,
    /// How often one was admitted.
    came: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl SlowPeers {
    /// In this room of each of these servers, one that stops reading and one that trickles.
    pub(crate) fn start(addresses: &[String], room: &str) -> SlowPeers {
        let (over, came) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads =
            addresses.iter().enumerate().flat_map(|(at, address)| [(at, address, 0), (at, address, LITTLE)]);
        let threads = threads.map(|(at, address, reads)| {
            let (over, came, address) = (over.clone(), came.clone(), address.clone());
            let auth = format!(r#"{{"type":"auth","user":"slow-{at}-{reads}","rooms":["{room}"]}}"#);
            spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // A server may be dead or suspended.
                    if linger(&address, &auth, reads, &over, &came).is_none() {
                        sleep(PAUSE);
                    }
                }
            })
        });
        let threads = threads.collect();
        SlowPeers { over, came, threads }
    }

    pub(crate) fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}

impl Drop for SlowPeers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}

/// One connection, until it is closed or has stood still for long enough.
fn linger(address: &str, auth: &str, reads: usize, over: &AtomicBool, came: &AtomicUsize) -> Option<()> {
    let tcp = TcpStream::connect(address).ok()?;
    set_socket_recv_buffer_size(&tcp, LITTLE).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let (mut ws, _) = tungstenite::client(format!("ws://{address}/"), tcp).ok()?;
    ws.send(Message::text(auth)).ok()?;
    while !ws.read().ok()?.to_text().ok()?.contains("welcome") {}
    came.fetch_add(1, Ordering::Relaxed);
    let mut bytes = vec![0; reads.max(1)];
    let mut stood = Duration::ZERO;
    while !over.load(Ordering::Relaxed) && stood < STOPPED {
        sleep(PAUSE);
        match reads {
            0 => stood += PAUSE,
            _ if ws.get_mut().read(&mut bytes).ok()? == 0 => return None,
            _ => {}
        }
    }
    Some(())
}
