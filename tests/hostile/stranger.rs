//! A hand-written peer: a socket from an address of its own, with JSON in both directions.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use str0m::change::SdpPendingOffer;
use str0m::media::{Direction, MediaKind};
use str0m::{Candidate, Rtc};
use tungstenite::{Error, Message, WebSocket};

use crate::camera;

// str0m has no cryptography of its own, and none of its types are in our API.
#[allow(dead_code, unused_imports, reason = "some of it is only for the sender")]
#[path = "../../src/rtc/crypto/mod.rs"]
pub(crate) mod crypto;

/// The timeout for answers.
const WAIT: Duration = Duration::from_secs(5);

pub(crate) struct Stranger {
    ws: WebSocket<TcpStream>,
}

/// A TCP connection from this address to the camera.
pub(crate) fn tcp(ip: Ipv4Addr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::from((ip, 0)).into()).ok()?;
    socket.connect_timeout(&camera::address().into(), WAIT).ok()?;
    Some(socket.into())
}

impl Stranger {
    /// A WebSocket on which nothing was sent yet.
    pub(crate) fn connect(ip: Ipv4Addr) -> Option<Stranger> {
        let tcp = tcp(ip)?;
        tcp.set_read_timeout(Some(WAIT)).ok()?;
        tcp.set_write_timeout(Some(WAIT)).ok()?;
        tcp.set_nodelay(true).ok()?;
        let (ws, _) = tungstenite::client(format!("ws://{}/", camera::address()), tcp).ok()?;
        Some(Stranger { ws })
    }

    /// A peer that was admitted.
    pub(crate) fn join(ip: Ipv4Addr, user: &str) -> Option<Stranger> {
        let mut stranger = Stranger::connect(ip)?;
        stranger.send(&json!({ "type": "auth", "user": user, "rooms": ["public"] }).to_string())?;
        stranger.awaits(|message| message["type"] == "welcome")?;
        stranger.ws.get_ref().set_read_timeout(Some(Duration::from_millis(1))).ok()?;
        Some(stranger)
    }

    pub(crate) fn send(&mut self, text: &str) -> Option<()> {
        self.ws.send(Message::text(text)).ok()
    }

    /// What has arrived: `Some(None)` for nothing, `None` at the end.
    pub(crate) fn read(&mut self) -> Option<Option<String>> {
        match self.ws.read() {
            Ok(Message::Text(text)) => Some(Some(text.to_string())),
            Ok(Message::Close(_)) => None,
            Ok(_) => Some(None),
            Err(Error::Io(e)) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Some(None)
            }
            Err(_) => None,
        }
    }

    /// The next message that matches.
    pub(crate) fn awaits(&mut self, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        let late = Instant::now() + WAIT;
        while Instant::now() < late {
            let Some(text) = self.read()? else { continue };
            let message: Value = serde_json::from_str(&text).ok()?;
            if is_it(&message) {
                return Some(message);
            }
        }
        None
    }

    /// Sends a call message to the camera.
    pub(crate) fn say(&mut self, subtype: &str, call: &str, data: &Value) -> Option<()> {
        let message =
            json!({ "type": "message", "to": "camera", "subtype": subtype, "call": call, "data": data });
        self.send(&message.to_string())
    }

    /// Writes raw bytes to its connection.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.ws.get_mut().write_all(bytes).ok()
    }

    /// Reads and discards what has arrived.
    pub(crate) fn skip(&mut self) -> Option<()> {
        while self.read()?.is_some() {}
        Some(())
    }
}

/// A valid offer of a peer that is never reached, with a username and password of its own.
pub(crate) fn offer(candidates: &[SocketAddr]) -> String {
    caller(candidates).2
}

/// A WebRTC viewer with its offer, at these addresses.
pub(crate) fn caller(candidates: &[SocketAddr]) -> (Rtc, SdpPendingOffer, String) {
    caller_who(candidates, false)
}

/// One that talks, too.
pub(crate) fn talker(candidates: &[SocketAddr]) -> (Rtc, SdpPendingOffer, String) {
    caller_who(candidates, true)
}

fn caller_who(candidates: &[SocketAddr], talks: bool) -> (Rtc, SdpPendingOffer, String) {
    let crypto = Arc::new(crypto::provider());
    let rtc =
        Rtc::builder().set_crypto_provider(crypto).clear_codecs().enable_h264(true).enable_opus(talks, false);
    let mut rtc = rtc.build(Instant::now());
    for address in candidates {
        rtc.add_local_candidate(Candidate::host(*address, "udp").expect("an address"));
    }
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    if talks {
        api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
    }
    let (offer, pending) = api.apply().expect("there is something to offer");
    (rtc, pending, offer.to_sdp_string())
}
