//! The configuration of a camera.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::controllers::Controllers;
use super::sharing::BitratePolicy;
use crate::Server;
use crate::call::RateLimit;
use crate::calling::AnswerPolicy;
use crate::media::adapt::rate::BitrateLimits;
use crate::media::source::Source;
#[cfg(feature = "gst")]
use crate::media::source::gst::CaptureSettings;
use crate::net::http::Routes;
use crate::net::{AuthRequest, Network};
use crate::proto::{DEFAULT_PORT, Object, Token};

/// Where a camera's frames come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CameraSource {
    /// A source that the program made, such as one that it pushes the frames of its own encoder into.
    Source(Source),
    /// Captured and encoded by GStreamer; opened by [`Camera::new`](super::Camera::new).
    #[cfg(feature = "gst")]
    Capture(Box<CaptureSettings>),
    /// What a caller publishes: the camera is a relay, and encodes nothing.
    #[cfg(feature = "relay")]
    Published(super::Publishing),
}

#[cfg(feature = "relay")]
impl From<super::Publishing> for CameraSource {
    fn from(publishing: super::Publishing) -> Self {
        CameraSource::Published(publishing)
    }
}

impl From<Source> for CameraSource {
    fn from(source: Source) -> Self {
        CameraSource::Source(source)
    }
}

#[cfg(feature = "gst")]
impl From<CaptureSettings> for CameraSource {
    fn from(settings: CaptureSettings) -> Self {
        CameraSource::Capture(Box::new(settings))
    }
}

/// The configuration of a camera. [`Config::new`] has the defaults; with the feature `gst`, `Config::default()` is a
/// test pattern on `http://127.0.0.1:4500`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The user name of the camera. Default: `camera`.
    pub user: String,
    /// Its display name. Default: the user name.
    pub name: Option<String>,
    /// Further data in its presence, next to `"peerType":"camera"`.
    pub data: Object,
    /// The room that the camera and its viewers join. Default: `public`.
    pub room: String,
    /// The server where viewers find it: its own, or one elsewhere.
    pub signalling: Signalling,
    /// Where its frames come from.
    pub source: CameraSource,
    /// Whether to encode VP8 in software for viewers without H.264. Default: yes.
    pub vp8: bool,
    /// Who may set a V4L2 camera's controls by command.
    pub controls: Controllers,
    /// Viewers who talk: who may, and where it is played. Default: nobody.
    #[cfg(feature = "talk")]
    pub talk: super::Talk,
    /// The range in which the encoder's bitrate follows the viewers' networks. [`Camera::new`](super::Camera::new)
    /// [checks](BitrateLimits::check) it.
    pub bitrate: BitrateLimits,
    /// Whether to lower frame rate and resolution if bandwidth is very low or the board is hot, until that is over: see
    /// [`ladder`](crate::media::adapt::ladder) and [`temperature`](crate::media::adapt::temperature). Default: yes.
    pub adapt: bool,
    /// Whose network the bitrate follows when viewers' networks differ.
    pub policy: BitratePolicy,
    /// Who answers calls. Default: the camera accepts all of them.
    pub answer: AnswerPolicy,
    /// The maximum number of viewers; further callers get `busy`. A new call replaces the oldest call that has no media
    /// yet, which then ends with `busy` too. Default: 64.
    pub max_viewers: usize,
    /// How many calls of one host may be without media at a time; beyond that, a new call replaces the oldest, which
    /// ends with `busy`. A host is an IPv4 address or a /64 network, as seen by the camera's own server; this machine
    /// and trusted proxies are not counted. A server elsewhere does not reveal hosts, so calls are counted per user,
    /// which is only as reliable as that server's authentication. Default: 4; 0 counts as 1.
    pub max_unconnected: usize,
    /// How often one host (or user, as for `max_unconnected`) may send an offer, for a new session or to renegotiate.
    /// Offers beyond the limit wait; no call ends because of it. Default: 2 per second, in bursts of up to 8.
    pub offer_rate: RateLimit,
    /// How long the source keeps running after the last viewer has left. Default: 10 s.
    pub linger: Duration,
    /// How much audio goes into one packet for viewers that only receive, at most 120 ms: frames of 20 ms are joined up to
    /// it, and beside video for up to 40 ms more, to leave with a frame of it. Longer packets are fewer, and later.
    /// Default: 60 ms.
    pub audio_packet: Duration,
    /// How long a snapshot is served again before a new one is taken. Default: 1 s.
    pub snapshot_every: Duration,
    /// The UDP port for all viewers. Default: the number of the own server's TCP port, so that one number is enough for
    /// a port forward; without an own server, any free port.
    pub udp_port: Option<u16>,
    /// The public address and UDP port at which a port forward makes this machine reachable.
    pub advertise: Option<SocketAddr>,
    /// ICE servers for viewers, each a W3C `RTCIceServer` (`{"urls":"stun:stun.example"}`). Default: none, since a
    /// library should contact no third party unasked.
    pub ice_servers: Vec<serde_json::Value>,
}

#[cfg(feature = "gst")]
impl Default for Config {
    fn default() -> Self {
        Config::new(CaptureSettings::default())
    }
}

impl Config {
    /// The defaults for a camera with this source: a [`Source`] or, with the feature `gst`, capture settings, whose
    /// bitrate becomes the initial one.
    pub fn new(source: impl Into<CameraSource>) -> Config {
        let source = source.into();
        let bitrate = match &source {
            CameraSource::Source(_) => BitrateLimits::default(),
            #[cfg(feature = "relay")]
            CameraSource::Published(_) => BitrateLimits::default(),
            #[cfg(feature = "gst")]
            CameraSource::Capture(settings) => {
                BitrateLimits { start: settings.bitrate, ..BitrateLimits::default() }
            }
        };
        Config {
            user: "camera".into(),
            name: None,
            data: Object::new(),
            room: "public".into(),
            signalling: Signalling::Serve(Serve::default()),
            source,
            bitrate,
            vp8: true,
            controls: Controllers::default(),
            #[cfg(feature = "talk")]
            talk: super::Talk::default(),
            adapt: true,
            policy: BitratePolicy::default(),
            answer: AnswerPolicy::default(),
            max_viewers: 64,
            max_unconnected: 4,
            offer_rate: RateLimit { per_second: 2, burst: 8 },
            linger: Duration::from_secs(10),
            audio_packet: Duration::from_millis(60),
            snapshot_every: Duration::from_secs(1),
            udp_port: None,
            advertise: None,
            ice_servers: Vec::new(),
        }
    }
}

/// The signalling server that the camera and its viewers connect to.
#[allow(clippy::large_enum_variant, reason = "there is one for each camera")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Signalling {
    /// The camera's own server, which also serves the page.
    Serve(Serve),
    /// A server elsewhere.
    Connect(Connect),
    /// A server of the program, in the same process. The program runs it, shuts it down, and decides who may enter.
    /// Several cameras can share one; each needs its own UDP port and its own [`Config::user`], which should be among
    /// the server's reserved names.
    Within(Server),
}

/// The camera's own server.
///
/// | path | answer |
/// |---|---|
/// | `/` | the page (feature `web`) |
/// | `/api/health` | `{"status":"ok"}` |
/// | `/api/config` | the page's settings; the ICE servers only for those who may watch |
/// | `/api/snapshot.jpg` | the newest frame as JPEG, for those who may watch; with `?age=60` one of the last minute will do, which costs nothing if there is one |
/// | `/api/status` | [`Status`](super::Status) as JSON, for those who may watch |
/// | `/metrics` | the same numbers for Prometheus, for those who may watch |
///
/// `talk` in the status is `null` where nobody may talk to the camera; otherwise it has the `mode` (`half` or `full`), who
/// talks (`by`, a user, or `null`), the `frames` that were played, and the `problem` of an output that does not work, with
/// `code` and `message`.
///
/// `skipped` in the status, in all and of each of its `sessions`, counts frames that viewers were not sent, by reason:
/// `joining`, `network` and `socket`, as described at [`Skipped`](crate::rtc::Skipped). The metric
/// `symple_camera_skipped_frames_total` has them with the label `reason`.
#[derive(Clone, Debug)]
pub struct Serve {
    /// Addresses to listen on. Default: only loopback, since open cameras are found within hours.
    pub listen: Vec<SocketAddr>,
    /// The token for viewers. Without one, everybody who reaches the port may watch.
    pub token: Option<Token>,
    /// Who decides about admission. Default: the token.
    pub admit: Admit,
    /// Origins of other pages that may connect, such as `https://viewer.example`; `*` for any.
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Vec<Network>,
    /// The maximum number of sockets per address, where a /64 of IPv6 counts as one address; `None` for no limit.
    /// Default: 32, enough for about ten browsers with all the sockets that each opens.
    pub max_per_address: Option<usize>,
    /// How many of them may be unauthenticated. Default: 16.
    pub max_unauthenticated_per_address: Option<usize>,
    /// Networks that are exempt from the limits per address and from delays after wrong tokens. Default: this machine.
    pub exempt: Vec<Network>,
    /// Further user names that only peers in this process can have, such as those of other cameras
    /// [within](Signalling::Within) this server. The camera's own is always one of them.
    pub reserved: Vec<String>,
    /// The application's own HTTP routes, next to the page and the API.
    pub routes: Routes,
    /// The path under which a proxy serves this camera, such as `/cam1/`; see
    /// [`ServerConfig::base_path`](crate::net::ServerConfig::base_path). Default: none.
    pub base_path: String,
    /// The certificate for `https://`; without one the server uses `http://`.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::net::ServerTls>,
}

impl Default for Serve {
    fn default() -> Self {
        Serve {
            listen: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT)],
            token: None,
            admit: Admit::default(),
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            max_per_address: Some(32),
            max_unauthenticated_per_address: Some(16),
            exempt: Network::LOOPBACK.to_vec(),
            reserved: Vec::new(),
            routes: Routes::new(),
            base_path: String::new(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Serve {
    /// Whether only those come in who know the token, or who use this machine: whoever reaches loopback does, unless a
    /// trusted proxy forwards strangers to it. [`Controllers::Auto`] is everybody then.
    pub fn is_guarded(&self) -> bool {
        let is_local = self.listen.iter().all(|address| address.ip().is_loopback());
        self.token.is_some() || is_local && self.trusted_proxies.is_empty()
    }

    /// Whether each new peer needs a decision.
    pub(super) fn asks(&self) -> bool {
        self.token.is_some() || matches!(self.admit, Admit::Application(_))
    }
}

/// Who decides about admission to the camera's own server: either of these, never both. A request that nobody answers
/// is refused after 10 s. In any case, only the camera is admitted as [`Config::user`].
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Admit {
    /// [`Serve::token`]: everybody who knows it; without a token, everybody who reaches the port.
    ///
    /// If the application listens to the events of [`Camera::server`](super::Camera::server) of a camera with a token,
    /// it takes over the decision: it must answer each
    /// [`ServerEvent::Authenticate`](crate::net::ServerEvent::Authenticate), and the camera no longer compares tokens.
    /// Without a token there are no such events.
    #[default]
    Token,
    /// The application, by this callback, which may answer each request now or later. It is called from within
    /// [`Camera::run`](super::Camera::run) and must not block. The server then emits no events for these requests.
    ///
    /// A token, if set, still protects `/api/status` and the credentials of ICE servers; without a token, HTTP does not
    /// reveal them to anybody.
    Application(Arc<dyn Fn(AuthRequest) + Send + Sync>),
}

impl Admit {
    /// Lets `judge` decide.
    ///
    /// ```
    /// use symple::camera::{Admit, Serve};
    /// use symple::proto::Status;
    /// use symple::server::Admission;
    ///
    /// let admit = Admit::application(|request| match request.auth.user.as_str() {
    ///     "alice" => request.admit(Admission::default()),
    ///     _ => request.refuse(Status::UNAUTHORIZED, "Authentication failed: you are not Alice"),
    /// });
    /// let serve = Serve { admit, ..Serve::default() };
    /// # _ = serve;
    /// ```
    pub fn application(judge: impl Fn(AuthRequest) + Send + Sync + 'static) -> Admit {
        Admit::Application(Arc::new(judge))
    }

    pub(super) fn is_same(&self, other: &Admit) -> bool {
        match (self, other) {
            (Admit::Token, Admit::Token) => true,
            (Admit::Application(a), Admit::Application(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl fmt::Debug for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Admit::Token => "Token",
            Admit::Application(_) => "Application",
        })
    }
}

/// A server elsewhere.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The URL, such as `wss://signal.example`.
    pub url: String,
    /// The token for that server.
    pub token: Option<Token>,
    /// The trusted certificates.
    #[cfg(feature = "tls")]
    pub roots: crate::net::Roots,
}

impl Connect {
    /// A server without a token, with the system's root certificates.
    pub fn new(url: impl Into<String>) -> Self {
        Connect {
            url: url.into(),
            token: None,
            #[cfg(feature = "tls")]
            roots: crate::net::Roots::default(),
        }
    }
}
