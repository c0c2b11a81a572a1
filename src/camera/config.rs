//! What a camera is told at its start.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::call::RateLimit;
use crate::calling::Answer;
use crate::media::adapt::rate::Limits;
use crate::media::source::Source;
#[cfg(feature = "gst")]
use crate::media::source::gst::CaptureSettings;
use crate::net::http::Routes;
use crate::net::{AuthRequest, Network, Server};
use crate::proto::{DEFAULT_PORT, Object, Token};

/// Where a camera's frames come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CameraSource {
    /// A source that the program made, such as one that it pushes the frames of its own encoder into.
    Source(Source),
    /// What GStreamer is to capture and encode. It is opened by [`Camera::new`](super::Camera::new).
    #[cfg(feature = "gst")]
    Capture(Box<CaptureSettings>),
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

/// How a camera works. [`Config::new`] has the defaults; with the feature `gst` its `Default` is a test pattern on
/// `http://127.0.0.1:4500`.
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
    /// Where its frames come from.
    pub source: CameraSource,
    /// Whether a viewer without H.264 is served VP8 by a second, software encoder. Default: yes.
    pub vp8: bool,
    /// Who may set a V4L2 camera's controls by command.
    pub controls: Controllers,
    /// Between what bitrates the encoder follows the viewers' networks.
    pub bitrate: Limits,
    /// Whether pictures become fewer and smaller when bits are very few or the board is hot, and come back by
    /// themselves: see [`ladder`](crate::media::adapt::ladder) and [`heat`](crate::media::adapt::heat). Default: yes.
    pub adapt: bool,
    /// Who answers calls. Default: the camera, all of them.
    pub answer: Answer,
    /// How many may watch at once; further ones are told `busy`. A call that has brought no media yet gives way to a
    /// new one, the oldest first, and is told `busy` too. Default: 64.
    pub max_viewers: usize,
    /// How many calls of one host may be without media at a time; then its oldest gives way to its newest and is
    /// told `busy`. A host is an IPv4 address or a /64 network, as the own server sees it; this machine itself and
    /// trusted proxies are not counted. A server elsewhere does not tell hosts: there users are counted, whose names
    /// are worth what that server vouches for. Default: 4; 0 counts as 1.
    pub max_unconnected: usize,
    /// How often one host, or user as for `max_unconnected`, may offer a session or another form of one. What is
    /// over it waits, and no call ends by it. Default: 2 a second, 8 at once.
    pub offer_rate: RateLimit,
    /// For how long the source runs on when the last viewer left. Default: 10 s.
    pub linger: Duration,
    /// A snapshot younger than this is served again instead of a new one. Default: 1 s.
    pub snapshot_every: Duration,
    /// The UDP port for all viewers. By default that of the own server's TCP port, so that a port forward
    /// needs one number; any free one where there is no own server.
    pub udp_port: Option<u16>,
    /// The address at which a port forward makes this machine reachable from outside, with its UDP port.
    pub advertise: Option<SocketAddr>,
    /// ICE servers for viewers, each an `RTCIceServer` of the W3C (`{"urls":"stun:stun.example"}`).
    /// Default: none, for a library phones nobody without being told.
    pub ice_servers: Vec<serde_json::Value>,
}

#[cfg(feature = "gst")]
impl Default for Config {
    fn default() -> Self {
        Config::new(CaptureSettings::default())
    }
}

impl Config {
    /// The defaults for a camera of this source: a [`Source`] or, with the feature `gst`, settings of a capture, whose
    /// bitrate is the one that is started with.
    pub fn new(source: impl Into<CameraSource>) -> Config {
        let source = source.into();
        let bitrate = match &source {
            CameraSource::Source(_) => Limits::default(),
            #[cfg(feature = "gst")]
            CameraSource::Capture(settings) => Limits { start: settings.bitrate, ..Limits::default() },
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
            adapt: true,
            answer: Answer::default(),
            max_viewers: 64,
            max_unconnected: 4,
            offer_rate: RateLimit { per_second: 2, burst: 8 },
            linger: Duration::from_secs(10),
            snapshot_every: Duration::from_secs(1),
            udp_port: None,
            advertise: None,
            ice_servers: Vec::new(),
        }
    }
}

/// Who may set a V4L2 camera's controls: exposure, focus, brightness …, which all viewers see the effect of.
///
/// A peer sends a command of the node `camera:control` and gets a reply under the same id:
///
/// | action | data | reply's data, with status 200 |
/// |---|---|---|
/// | `list` | | `{"controls":[…]}`, each a [`Control`](crate::media::source::controls::Control) |
/// | `set` | `{"name":"gain","value":12}` | `{"control":{…}}`, as it is then: a driver may round |
/// | `reset` | `{"name":"gain"}` | the same |
///
/// A value is a number, `true` or `false`, a menu item's name, or `null` for a button. What is refused has a
/// `code` and a `message`: 400 out of range or no such action, 403 not allowed, 404 no such control, 503 not
/// now (the camera is unplugged, or too much is asked at once), 500 anything else.
///
/// A camera that has controls says `"controls":true` in its presence. Where the source is another one, such
/// commands go to the program ([`Event::Client`](super::Event::Client)), which may have controls of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Controllers {
    /// At an own server with a token whoever knows it, and at one that listens on loopback alone, without
    /// trusted proxies, everybody; elsewhere nobody.
    #[default]
    Auto,
    /// The program alone.
    Nobody,
    /// Every peer that shares a room with the camera.
    Everybody,
    /// The peers of these users. Their names are what the server vouches for: at one that asks for no token
    /// anybody has any name.
    Users(Vec<String>),
}

/// Where camera and viewers meet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Signalling {
    /// At the camera's own server, which serves the page too.
    Serve(Serve),
    /// At a server elsewhere.
    Connect(Connect),
    /// At a server of the program's, in this process. It is the program's to run, to end, and to say who may enter;
    /// several cameras may be at one, each with a [`Config::user`] of its own, which belongs into the server's
    /// reserved names, and with a UDP port of its own.
    Within(Server),
}

/// The camera's own server.
#[derive(Clone, Debug)]
pub struct Serve {
    /// Addresses to listen on. Default: loopback alone, for open cameras are found within hours.
    pub listen: Vec<SocketAddr>,
    /// What a viewer must know; without one, whoever reaches the port may watch.
    pub token: Option<Token>,
    /// Who decides whom it lets in. Default: the token.
    pub admit: Admit,
    /// Origins of pages beside its own that may connect, such as `https://viewer.example`; `*` is any.
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Sockets that one address may hold, a /64 of IPv6 counting as one; `None` is no limit. Default: 32, some
    /// ten browsers with all that each opens.
    pub max_per_address: Option<usize>,
    /// Those of them on which no peer is admitted yet. Default: 16.
    pub max_unauthenticated_per_address: Option<usize>,
    /// Whose sockets are counted for no address, and who may guess tokens without waiting. Default: this
    /// machine.
    pub exempt: Vec<Network>,
    /// The application's own HTTP paths beside the page and the API.
    pub routes: Routes,
    /// The path under which a proxy shows this camera, such as `/cam1/`; see
    /// [`ServerConfig::base_path`](crate::net::ServerConfig::base_path). Default: none.
    pub base_path: String,
    /// The certificate to serve `https://` with; without one `http://`.
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
            routes: Routes::new(),
            base_path: String::new(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Serve {
    /// Whether each newcomer needs a verdict.
    pub(super) fn asks(&self) -> bool {
        self.token.is_some() || matches!(self.admit, Admit::Application(_))
    }
}

/// Who decides whom the camera's own server lets in. It is one of them, never two, and whom nobody answers is
/// refused after 10 s. Whatever is decided, nobody but the camera is admitted as [`Config::user`].
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Admit {
    /// [`Serve::token`]: whoever knows it; without one whoever reaches the port.
    ///
    /// An application that listens to the events of [`Camera::server`](super::Camera::server) of a camera with a
    /// token takes the decision over: it gets each
    /// [`ServerEvent::Authenticate`](crate::net::ServerEvent::Authenticate), and must answer it, while the camera
    /// compares no token any more. Without a token nobody is asked, and there is none to answer.
    #[default]
    Token,
    /// The application, by this callback, which answers each request now or later; it is called from within
    /// [`Camera::run`](super::Camera::run) and must not block. The server's events tell of no request then.
    ///
    /// A token, where there is one too, is what `/api/status` and the ICE servers' passwords are told for; without
    /// one nobody gets those by HTTP.
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
