//! What a camera is told at its start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::media::gst::Settings;
use crate::media::rate::Limits;
use crate::proto::{DEFAULT_PORT, Object, Token};

/// How a camera works. Its `Default` is a test pattern on `http://127.0.0.1:4500`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The user that the camera is. Default: `camera`.
    pub user: String,
    /// Its name for people; by default the user.
    pub name: Option<String>,
    /// What it tells of itself beside `"peerType":"camera"`.
    pub data: Object,
    /// The room that camera and viewers meet in. Default: `public`.
    pub room: String,
    /// Where viewers find it: its own server, or one elsewhere.
    pub signalling: Signalling,
    /// Source, size, rate and encoder.
    pub media: Settings,
    /// Whether a viewer without H.264 is served VP8 by a second, software encoder. Default: yes.
    pub vp8: bool,
    /// Between what bitrates the encoder follows the viewers' networks.
    pub bitrate: Limits,
    /// Whether pictures become fewer and smaller when bits are very few or the board is hot, and come back by
    /// themselves: see [`ladder`](crate::media::ladder) and [`heat`](crate::media::heat). Default: yes.
    pub adapt: bool,
    /// How many may watch at once; further ones are told `busy`. Default: 64.
    pub max_viewers: usize,
    /// For how long the source runs on when the last viewer left. Default: 10 s.
    pub linger: Duration,
    /// The UDP port for all viewers. By default that of the own server's TCP port, so that a port forward
    /// needs one number; any free one where there is no own server.
    pub udp_port: Option<u16>,
    /// The address at which a port forward makes this machine reachable from outside, with its UDP port.
    pub advertise: Option<SocketAddr>,
    /// ICE servers for viewers, each an `RTCIceServer` of the W3C (`{"urls":"stun:stun.example"}`).
    /// Default: none, for a library phones nobody without being told.
    pub ice_servers: Vec<serde_json::Value>,
}

impl Default for Config {
    fn default() -> Self {
        let media = Settings::default();
        Config {
            user: "camera".into(),
            name: None,
            data: Object::new(),
            room: "public".into(),
            signalling: Signalling::Serve(Serve::default()),
            bitrate: Limits { start: media.bitrate, ..Limits::default() },
            media,
            vp8: true,
            adapt: true,
            max_viewers: 64,
            linger: Duration::from_secs(10),
            udp_port: None,
            advertise: None,
            ice_servers: Vec::new(),
        }
    }
}

/// Where camera and viewers meet.
#[derive(Clone, Debug)]
pub enum Signalling {
    /// At the camera's own server, which serves the page too.
    Serve(Serve),
    /// At a server elsewhere.
    Connect(Connect),
}

/// The camera's own server.
#[derive(Clone, Debug)]
pub struct Serve {
    /// Addresses to listen on. Default: loopback alone, for open cameras are found within hours.
    pub listen: Vec<SocketAddr>,
    /// What a viewer must know; without one, whoever reaches the port may watch.
    pub token: Option<Token>,
    /// Origins of pages beside its own that may connect, such as `https://viewer.example`.
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// The certificate to serve `https://` with; without one `http://`.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::net::ServerTls>,
}

impl Default for Serve {
    fn default() -> Self {
        Serve {
            listen: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT)],
            token: None,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// A server elsewhere.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Such as `wss://signal.example`.
    pub url: String,
    /// What it asks for.
    pub token: Option<Token>,
    /// Whose certificates are believed.
    #[cfg(feature = "tls")]
    pub roots: crate::net::Roots,
}

impl Connect {
    /// Without a token, and with the system's roots.
    pub fn new(url: impl Into<String>) -> Self {
        Connect {
            url: url.into(),
            token: None,
            #[cfg(feature = "tls")]
            roots: crate::net::Roots::default(),
        }
    }
}
