//! Callers that only want to keep others out, over sockets: an honest caller is served nevertheless.
#![cfg(feature = "camera-gst")]

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symple::camera::{Camera, Config, Serve, Signalling};
use symple::media::source::gst::CaptureSettings;
use tungstenite::{Message, WebSocket};

const OFFER: &str = include_str!("../src/rtc/tests/chromium_offer.sdp");

/// The rate of frames of one hostile client: just below what the server allows a session.
const EVERY: Duration = Duration::from_micros(10_500);

/// An honest caller is served within this time: a timeout, not a measurement. It takes some 10 ms on an idle machine.
/// Without limits, a caller waited for as long as the attack lasted, and longer.
const SOON: Duration = Duration::from_secs(10);

/// Only one camera with its attackers at a time: two would measure the number of cores.
static ALONE: Mutex<()> = Mutex::new(());

struct Running {
    camera: Camera,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    _alone: MutexGuard<'static, ()>,
}

impl Running {
    fn start(config: Config) -> Running {
        // A failed test must not fail the next one.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let listen = vec!["127.0.0.1:0".parse().expect("literal")];
        let signalling = Signalling::Serve(Serve { listen, ..Serve::default() });
        let source = CaptureSettings { width: 320, height: 240, fps: 10, ..Default::default() }.into();
        let config = Config { signalling, source, ..config };
        let camera = Camera::new(config).expect("it starts");
        let address = camera.server().expect("its own").addresses()[0];
        let run = camera.run();
        let thread = Some(std::thread::spawn(move || smol::block_on(run)));
        Running { camera, address, thread, _alone: alone }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.camera.shutdown();
        _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Client(WebSocket<TcpStream>);

impl Client {
    fn connect(address: SocketAddr, user: &str) -> Client {
        let tcp = TcpStream::connect(address).expect("the camera listens");
        tcp.set_nodelay(true).expect("a socket");
        tcp.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
        let (ws, _) = tungstenite::client(format!("ws://{address}/"), tcp).expect("upgraded");
        ws.get_ref().set_read_timeout(Some(Duration::from_millis(1))).expect("not zero");
        let mut client = Client(ws);
        client.send(&json!({"type":"auth","user":user,"rooms":["public"]}));
        client.wait(SOON, |m| m["type"] == "welcome").expect("welcome");
        client
    }

    fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).expect("open");
    }

    fn say(&mut self, subtype: &str, call: &str, data: Value) {
        self.send(&json!({"type":"message","to":"camera","subtype":subtype,"call":call,"data":data}));
    }

    /// What has arrived so far.
    fn read(&mut self) -> Option<Value> {
        match self.0.read() {
            Ok(Message::Text(text)) => Some(serde_json::from_str(&text).expect("the server sends JSON")),
            Ok(_) => Some(Value::Null),
            Err(tungstenite::Error::Io(e)) if e.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(e) => panic!("the socket ended: {e}"),
        }
    }

    fn wait(&mut self, within: Duration, is: impl Fn(&Value) -> bool) -> Option<Value> {
        let end = Instant::now() + within;
        while Instant::now() < end {
            if let Some(message) = self.read().filter(&is) {
                return Some(message);
            }
        }
        None
    }

    /// Calls, and returns the time until it is answered, at most [`SOON`].
    fn is_served(&mut self, call: &str) -> Duration {
        let began = Instant::now();
        self.say("call:init", call, json!({}));
        self.say("call:offer", call, json!({"type":"offer","sdp":OFFER}));
        let ours = |m: &Value| m["call"] == call;
        let first = self.wait(SOON, |m| ours(m)).expect("it is heard");
        assert_eq!(first["subtype"], "call:accept", "{first}");
        self.wait(SOON, |m| ours(m) && m["subtype"] == "call:answer").expect("its offer is answered");
        began.elapsed()
    }
}

/// Clients that send `frames(client, which, n)` as fast as they may.
struct Attack {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<usize>>,
}

impl Attack {
    fn start(
        address: SocketAddr,
        clients: usize,
        frames: impl Fn(&mut Client, usize, usize) + Clone + Send + 'static,
    ) -> Attack {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |at| {
            let (stop, frames) = (stop.clone(), frames.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(address, &format!("mallory{at}"));
                let (began, mut heard) = (Instant::now(), 0);
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    frames(&mut client, at, n);
                    while let Some(message) = client.read() {
                        let subtype = message["subtype"].as_str().unwrap_or_default();
                        heard +=
                            usize::from(matches!(subtype, "call:answer" | "call:hangup" | "call:reject"));
                    }
                    let due = EVERY * (n as u32 + 1);
                    std::thread::sleep(due.saturating_sub(began.elapsed()));
                }
                heard
            })
        };
        let threads = (0..clients).map(thread).collect();
        Attack { stop, threads }
    }

    /// Waits while the attack continues.
    fn lasts(self, time: Duration) -> Self {
        std::thread::sleep(time);
        self
    }

    /// The number of answers to each client.
    fn end(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("no attacker panics")).collect()
    }
}

/// What a bucket with 2 per second and 8 at once allows, and one more for rounding.
fn most(time: Duration) -> usize {
    8 + 2 * (time.as_secs() as usize + 1) + 1
}

#[test]
fn messages_for_unknown_calls_do_not_delay_an_honest_caller() {
    let running = Running::start(Config::default());
    let began = Instant::now();
    let attack = Attack::start(running.address, 3, |client, _, _| {
        client.send(&json!({"type":"message","to":"camera","subtype":"call:accept","call":"nope7"}));
    });
    let attack = attack.lasts(Duration::from_secs(8));
    let served = Client::connect(running.address, "bob").is_served("honest");
    let answered = attack.end();
    println!("served in {served:?}; answers to each hostile client in {:?}: {answered:?}", began.elapsed());
    assert!(answered.iter().all(|n| *n <= most(began.elapsed())), "{answered:?}");
}

#[test]
fn calls_without_media_do_not_keep_an_honest_caller_out() {
    let running = Running::start(Config { max_viewers: 6, ..Config::default() });
    let mut idle: Vec<Client> =
        (0..6).map(|n| Client::connect(running.address, &format!("mallory{n}"))).collect();
    for (n, client) in idle.iter_mut().enumerate() {
        client.is_served(&format!("idle{n}"));
    }
    let served = Client::connect(running.address, "owner").is_served("honest");
    println!("served in {served:?}");
    let first = idle[0].wait(SOON, |m| m["subtype"] == "call:hangup").expect("the oldest gives way");
    assert_eq!(first["data"]["reason"], "busy", "{first}");
}

#[test]
fn floods_of_offers_do_not_delay_an_honest_caller() {
    let running = Running::start(Config::default());
    let began = Instant::now();
    let attack = Attack::start(running.address, 4, |client, at, n| {
        let call = format!("flood{at}");
        if n == 0 {
            client.say("call:init", &call, json!({}));
        }
        client.say("call:offer", &call, json!({"type":"offer","sdp":OFFER}));
    });
    let attack = attack.lasts(Duration::from_secs(5));
    let served = Client::connect(running.address, "bob").is_served("honest");
    let (time, answered) = (began.elapsed(), attack.end());
    println!("served in {served:?}; answers to each hostile client in {time:?}: {answered:?}");
    assert!(answered.iter().all(|n| *n <= most(time)), "{answered:?}");
    assert!(answered.iter().all(|n| *n >= 8), "no call was ended: {answered:?}");
}

#[test]
fn floods_of_calls_do_not_delay_an_honest_caller() {
    let running = Running::start(Config::default());
    let began = Instant::now();
    let attack = Attack::start(running.address, 4, |client, at, n| {
        let call = format!("call{at}.{}", n / 2);
        match n % 2 {
            0 => client.say("call:init", &call, json!({})),
            _ => client.say("call:offer", &call, json!({"type":"offer","sdp":OFFER})),
        }
    });
    let attack = attack.lasts(Duration::from_secs(5));
    let served = Client::connect(running.address, "bob").is_served("honest");
    let (time, answered) = (began.elapsed(), attack.end());
    println!("served in {served:?}; answers to each hostile client in {time:?}: {answered:?}");
    // Answers to offers, and to inits: busy or no such call.
    assert!(answered.iter().all(|n| *n <= 2 * most(time)), "{answered:?}");
}

#[test]
fn nobody_else_can_pose_as_the_camera() {
    let running = Running::start(Config::default());
    let tcp = TcpStream::connect(running.address).expect("the camera listens");
    tcp.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let (mut ws, _) = tungstenite::client(format!("ws://{}/", running.address), tcp).expect("upgraded");
    ws.send(Message::text(r#"{"type":"auth","user":"camera","rooms":["public"]}"#)).expect("open");
    let Ok(Message::Text(first)) = ws.read() else { panic!("an answer") };
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!((&first["type"], &first["status"]), (&json!("error"), &json!(401)), "{first}");
}
