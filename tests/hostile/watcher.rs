//! An honest viewer: calls the camera, counts frames, and calls again when a call ends.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::stranger::{Stranger, caller};

pub(crate) struct Watcher {
    shared: Arc<Shared>,
    inject: Sender<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
pub(crate) struct Shared {
    frames: AtomicU64,
    over: AtomicBool,
}

impl Shared {
    /// The number of frames so far.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Acquire)
    }
}

impl Watcher {
    pub(crate) fn start(ip: Ipv4Addr) -> Watcher {
        let shared = Arc::new(Shared::default());
        let (inject, injected) = channel();
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                let user = format!("honest-{}", ip.octets()[3]);
                while !shared.over.load(Ordering::Acquire) {
                    if let Some(mut call) = Call::begin(ip, &user, &shared) {
                        let mut goes_on = true;
                        while goes_on && !shared.over.load(Ordering::Acquire) {
                            goes_on = call.turn(&shared, &injected);
                        }
                        call.end();
                    } else {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            }
        });
        Watcher { shared, inject, thread: Some(thread) }
    }

    /// The number of frames so far.
    pub(crate) fn frames(&self) -> u64 {
        self.shared.frames()
    }

    /// Waits until this many frames have arrived.
    pub(crate) fn sees(&self, frames: u64, patience: Duration) {
        let late = Instant::now() + patience;
        while self.frames() < frames {
            assert!(Instant::now() < late, "{} frames arrived within {patience:?}", self.frames());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The time until the next first frame, if it arrives in time; then the viewer leaves.
    pub(crate) fn first_frame(self, patience: Duration) -> Option<Duration> {
        let began = Instant::now();
        while self.frames() == 0 {
            if began.elapsed() > patience {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Some(began.elapsed())
    }

    /// Sends a datagram to the camera from this viewer's own port, as if an attacker spoofed it.
    pub(crate) fn send_from_its_port(&self, datagram: &[u8]) {
        _ = self.inject.send(datagram.to_vec());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        _ = self.thread.take().map(JoinHandle::join);
    }
}

pub(crate) struct Call {
    peer: Stranger,
    camera: String,
    id: String,
    udp: UdpSocket,
    local: SocketAddr,
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    offer: String,
    due: Instant,
    waiting: VecDeque<String>,
    /// The camera's description, once it has answered.
    pub(crate) answer: String,
    /// The camera's address, once frames have arrived.
    media_from: Option<SocketAddr>,
}

/// How long to wait for an answer before trying again, as a person would.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl Call {
    /// Connects and calls, if the camera is online and admits it.
    pub(crate) fn begin(ip: Ipv4Addr, user: &str, shared: &Shared) -> Option<Call> {
        Call::begin_as(caller, ip, user, shared)
    }

    /// The same for another kind of caller.
    pub(crate) fn begin_as(
        caller: fn(&[SocketAddr]) -> (Rtc, SdpPendingOffer, String),
        ip: Ipv4Addr,
        user: &str,
        shared: &Shared,
    ) -> Option<Call> {
        let mut peer = Stranger::join(ip, user)?;
        let late = Instant::now() + ASK_AGAIN;
        let camera = loop {
            if Instant::now() > late || shared.over.load(Ordering::Acquire) {
                return None;
            }
            let Some(text) = peer.read()? else { continue };
            let peer: Value = serde_json::from_str(&text).ok()?;
            if peer["type"] == "presence" && peer["data"]["peerType"] == "camera" {
                break peer["from"].as_str()?.to_owned();
            }
        };
        let udp = UdpSocket::bind((ip, 0)).expect("the address is ours");
        udp.set_read_timeout(Some(Duration::from_millis(1))).expect("not zero");
        let local = udp.local_addr().expect("bound");
        let (rtc, pending, offer) = caller(&[local]);
        let id = format!("call-{}-{}", ip.octets()[3], local.port());
        let mut call = Call {
            peer,
            camera,
            id,
            udp,
            local,
            rtc,
            pending: Some(pending),
            offer,
            due: Instant::now(),
            waiting: VecDeque::new(),
            answer: String::new(),
            media_from: None,
        };
        call.say("call:init", &json!({}))?;
        Some(call)
    }

    fn say(&mut self, subtype: &str, data: &Value) -> Option<()> {
        let message = json!({
            "type": "message", "to": self.camera, "subtype": subtype, "call": self.id, "data": data,
        });
        self.peer.send(&message.to_string())
    }

    /// One turn of the loop; false when the call has ended.
    pub(crate) fn turn(&mut self, shared: &Shared, injected: &std::sync::mpsc::Receiver<Vec<u8>>) -> bool {
        match self.peer.read() {
            None => return false,
            Some(text) => self.waiting.extend(text),
        }
        while let Some(text) = self.waiting.pop_front() {
            if self.message(&text).is_none() {
                return false;
            }
        }
        if let Some(to) = self.media_from {
            for datagram in injected.try_iter() {
                _ = self.udp.send_to(&datagram, to);
            }
        }
        let mut buffer = [0; 2000];
        // Waits for at most a millisecond, then reads everything available.
        while let Ok((n, from)) = self.udp.recv_from(&mut buffer) {
            if let Ok(receive) = Receive::new(Protocol::Udp, from, self.local, &buffer[..n])
                && self.rtc.handle_input(Input::Receive(Instant::now(), receive)).is_err()
            {
                return false;
            }
            if !self.drain(shared, Some(from)) {
                return false;
            }
        }
        if self.due <= Instant::now() && self.rtc.handle_input(Input::Timeout(Instant::now())).is_err() {
            return false;
        }
        self.drain(shared, None) && self.rtc.is_alive()
    }

    fn message(&mut self, text: &str) -> Option<()> {
        let message: Value = serde_json::from_str(text).ok()?;
        if message["call"] != self.id.as_str() {
            return Some(());
        }
        match message["subtype"].as_str() {
            Some("call:accept") => {
                let offer = json!({ "type": "offer", "sdp": self.offer });
                self.say("call:offer", &offer)
            }
            Some("call:answer") => {
                message["data"]["sdp"].as_str()?.clone_into(&mut self.answer);
                let answer = SdpAnswer::from_sdp_string(&self.answer).ok()?;
                self.rtc.sdp_api().accept_answer(self.pending.take()?, answer).ok()
            }
            Some("call:candidate") => {
                let candidate = message["data"]["candidate"].as_str()?;
                if let Ok(candidate) = Candidate::from_sdp_string(candidate) {
                    self.rtc.add_remote_candidate(candidate);
                }
                Some(())
            }
            Some("call:reject" | "call:hangup") => None,
            _ => Some(()),
        }
    }

    fn drain(&mut self, shared: &Shared, from: Option<SocketAddr>) -> bool {
        loop {
            match self.rtc.poll_output() {
                Err(_) => return false,
                Ok(Output::Timeout(at)) => {
                    self.due = at;
                    return true;
                }
                Ok(Output::Transmit(t)) => _ = self.udp.send_to(&t.contents, t.destination),
                Ok(Output::Event(Event::MediaData(_))) => {
                    self.media_from = from.or(self.media_from);
                    shared.frames.fetch_add(1, Ordering::AcqRel);
                }
                Ok(Output::Event(_)) => {}
            }
        }
    }

    pub(crate) fn end(&mut self) {
        _ = self.say("call:hangup", &json!({ "reason": "ended" }));
    }
}
