//! The settings of `symple camera`, and what they mean to the library.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use serde_json::Value;
#[cfg(feature = "talk")]
use symple::camera::Duplex;
use symple::camera::{BitratePolicy, Config, Connect, Controllers, Serve, Signalling};
use symple::media::source::gst::CaptureSettings;
use symple::net::Roots;
use symple::proto::{DEFAULT_PORT, Token, valid_room, valid_user};

use crate::deep_check::Depth;
use crate::exit::{Failure, FailureKind};
use crate::limits::{self, HasLimits, Limits};
use crate::merge::Setting;
use crate::value::{addresses, count, list, object, objects, origins, parsed, secret, set, switch, text};

/// The settings: those of the library, and those that are converted to them.
pub(super) struct Settings {
    pub camera: Config,
    pub media: CaptureSettings,
    /// The initial bitrate in bit/s. `None`: the default, within the limits.
    pub bitrate: Option<u32>,
    pub port: u16,
    /// `None`: every address of this machine.
    pub listen: Option<Vec<IpAddr>>,
    pub token: Option<Token>,
    pub origins: Vec<String>,
    pub limits: Limits,
    pub ssl_enabled: bool,
    pub ssl_cert: Option<PathBuf>,
    pub ssl_key: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    pub connect: Option<String>,
    pub roots: Option<PathBuf>,
    pub ring: Option<String>,
    /// Controls of the camera to set at the start.
    pub set: Vec<String>,
    pub threads: usize,
    pub log: LevelFilter,
    /// For `symple relay` alone.
    #[cfg(feature = "relay")]
    pub relay: super::relay::Relay,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            camera: Config::default(),
            media: CaptureSettings::default(),
            bitrate: None,
            port: DEFAULT_PORT,
            listen: Some(vec![Ipv4Addr::LOCALHOST.into()]),
            token: None,
            origins: Vec::new(),
            limits: camera_limits(),
            ssl_enabled: false,
            ssl_cert: None,
            ssl_key: None,
            state_dir: None,
            connect: None,
            roots: None,
            ring: None,
            set: Vec::new(),
            threads: 1,
            log: LevelFilter::Warn,
            #[cfg(feature = "relay")]
            relay: super::relay::Relay::default(),
        }
    }
}

/// The limits of a camera's own server.
fn camera_limits() -> Limits {
    let serve = Serve::default();
    Limits {
        trusted_proxies: serve.trusted_proxies,
        per_address: serve.max_per_address,
        strangers_per_address: serve.max_unauthenticated_per_address,
        exempt: serve.exempt,
        base_path: serve.base_path,
    }
}

impl HasLimits for Settings {
    fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }
}

type S = Settings;

pub(super) const GROUPS: &[(&str, &[Setting<Settings>])] =
    &[("Video and audio", PICTURES), ("Identity", IDENTITY), ("Its own server", SERVE), ("Other", REST)];

const PICTURES: &[Setting<Settings>] = &[
    Setting::new(
        "source",
        "SOURCE",
        "test (a moving pattern, the default), /dev/video0, csi or csi:NAME (the board's camera port), a file, or \
         rtsp://…; put an address with a login into the environment or the file, since other users of this machine can see \
         flags",
        |s: &mut S, v| set(&mut s.media.source, parsed(v)),
    ),
    Setting::new("size", "WxH", "The maximum resolution. Default: 1280x720", |s: &mut S, v| {
        let text = text(v)?;
        let sides =
            text.split_once('x').and_then(|(w, h)| Some((w.trim().parse().ok()?, h.trim().parse().ok()?)));
        let media = &mut s.media;
        (media.width, media.height) = sides.ok_or("must look like 1280x720")?;
        Ok(())
    }),
    Setting::new("fps", "N", "The maximum frame rate. Default: 30", |s: &mut S, v| {
        set(&mut s.media.fps, small(count(v, 1)))
    }),
    Setting::new("bitrate", "KBIT", "The initial bitrate in kbit/s. Default: 1000", |s: &mut S, v| {
        let bps = kilobits(v)?;
        (s.media.bitrate, s.bitrate) = (bps, Some(bps));
        Ok(())
    }),
    Setting::new("min_bitrate", "KBIT", "The minimum bitrate, for bad networks", |s: &mut S, v| {
        set(&mut s.camera.bitrate.min, kilobits(v))
    }),
    Setting::new("max_bitrate", "KBIT", "The maximum bitrate, for good networks", |s: &mut S, v| {
        set(&mut s.camera.bitrate.max, kilobits(v))
    }),
    Setting::new("audio", "", "Send the audio of the source. Default: yes", |s: &mut S, v| {
        set(&mut s.media.audio, switch(v))
    }),
    Setting::new(
        "microphone",
        "DEVICE",
        "Send the audio of this microphone instead: default, or one that `symple devices` lists, such as alsa:hw:1,0",
        |s: &mut S, v| set(&mut s.media.microphone, parsed(v)),
    ),
    Setting::new(
        "pass_through",
        "",
        "Send H.264 from the camera without re-encoding. Default: yes",
        |s: &mut S, v| set(&mut s.media.pass_through, switch(v)),
    ),
    Setting::new(
        "set",
        "NAME=VALUE",
        "Set a control of a V4L2 camera at the start; `symple devices` lists them. May be repeated",
        |s: &mut S, v| {
            set(&mut s.set, list(v))?;
            if s.set.iter().all(|wish| wish.contains('=')) {
                Ok(())
            } else {
                Err("must look like gain=12".into())
            }
        },
    )
    .list(),
    Setting::new(
        "controls",
        "WHO",
        "Who else may set controls: nobody, everybody, or a list of users. Default: those who know the token, and \
         everybody if it only listens on loopback",
        |s: &mut S, v| set(&mut s.camera.controls, controllers(v)),
    )
    .list(),
    #[cfg(feature = "talk")]
    Setting::new(
        "talk",
        "WHO",
        "Who may talk to the camera and is heard there: nobody (the default), everybody, auto (those who know the token, \
         and everybody if it only listens on loopback), or a list of users",
        |s: &mut S, v| set(&mut s.camera.talk.who, controllers(v)),
    )
    .list(),
    #[cfg(feature = "talk")]
    Setting::new(
        "talk_output",
        "DEVICE",
        "Where they are heard: default, or an output that `symple devices` lists, such as alsa:hw:0,0",
        |s: &mut S, v| set(&mut s.camera.talk.output, parsed(v)),
    ),
    #[cfg(feature = "talk")]
    Setting::new(
        "talk_duplex",
        "MODE",
        "Whether they hear the camera meanwhile: half (no, the default), or full, which removes the echo of the speaker \
         from --microphone; the audio of other sources must have none",
        |s: &mut S, v| {
            s.camera.talk.duplex = match text(v)?.as_str() {
                "half" => Duplex::Half,
                "full" => Duplex::Full,
                _ => return Err("must be half or full".into()),
            };
            Ok(())
        },
    ),
    Setting::new("vp8", "", "Also encode VP8, for viewers without H.264. Default: yes", |s: &mut S, v| {
        set(&mut s.camera.vp8, switch(v))
    }),
    Setting::new(
        "small",
        "",
        "Also offer a small H.264 rendition for viewers with little bandwidth, if the board can encode two. Default: yes",
        |s: &mut S, v| set(&mut s.media.small, switch(v)),
    ),
    Setting::new(
        "adapt",
        "",
        "Lower the frame rate and the resolution if bandwidth is very low or the board is hot. Default: yes",
        |s: &mut S, v| set(&mut s.camera.adapt, switch(v)),
    ),
    Setting::new(
        "policy",
        "WHOSE",
        "Whose network the bitrate follows: best (the viewer that is worst off loses least), slowest, or a user's name. \
         Default: best",
        |s: &mut S, v| set(&mut s.camera.policy, policy(v)),
    ),
    Setting::new(
        "board",
        "BOARD",
        "The board profile: auto (the default), a name such as raspberry-pi-4, or your own TOML file",
        |s: &mut S, v| set(&mut s.media.board, parsed(v)),
    ),
    Setting::new(
        "encoders",
        "NAME",
        "GStreamer names of H.264 encoders to try, in this order. Default: those of the board, hardware first",
        |s: &mut S, v| set(&mut s.media.encoders, list(v)),
    )
    .list(),
    Setting::new("key_interval", "SECONDS", "The maximum time between key frames. Default: 10", |s: &mut S, v| {
        set(&mut s.media.key_interval, count(v, 1).map(Duration::from_secs))
    }),
    Setting::new("repeat", "", "Restart a file at its end. Default: yes", |s: &mut S, v| {
        set(&mut s.media.repeat, switch(v))
    }),
    Setting::new(
        "linger",
        "SECONDS",
        "How long the source keeps running without viewers. Default: 10",
        |s: &mut S, v| set(&mut s.camera.linger, count(v, 0).map(Duration::from_secs)),
    ),
    Setting::new(
        "audio_packet",
        "MS",
        "Audio in one packet for viewers, 20 to 120 ms: longer packets are fewer, and later. Default: 60",
        |s: &mut S, v| {
            let time = count(v, 20).and_then(|ms| match ms {
                ..=120 => Ok(Duration::from_millis(ms)),
                _ => Err(format!("must be 20 to 120, not {ms}")),
            });
            set(&mut s.camera.audio_packet, time)
        },
    ),
    Setting::new(
        "max_viewers",
        "N",
        "The maximum number of viewers; others get `busy`. Default: 64",
        |s: &mut S, v| {
            set(&mut s.camera.max_viewers, count(v, 1).map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
        },
    ),
    Setting::new(
        "max_unconnected",
        "N",
        "Calls per address that may be waiting for media; beyond that the oldest is ended. Default: 4",
        |s: &mut S, v| {
            set(&mut s.camera.max_unconnected, count(v, 1).map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
        },
    ),
];

const IDENTITY: &[Setting<Settings>] = &[
    Setting::new("user", "NAME", "The user name of the camera. Default: camera", |s: &mut S, v| {
        set(&mut s.camera.user, text(v))?;
        if valid_user(&s.camera.user) {
            Ok(())
        } else {
            Err("must be 1 to 128 bytes without | or control characters".into())
        }
    }),
    Setting::new("name", "TEXT", "The display name. Default: the user", |s: &mut S, v| {
        set(&mut s.camera.name, text(v).map(Some))
    }),
    Setting::new("data", "JSON", "Data about the camera for others, an object", |s: &mut S, v| {
        set(&mut s.camera.data, object(v))
    }),
    Setting::new(
        "room",
        "NAME",
        "The room that the camera and its viewers join. Default: public",
        |s: &mut S, v| {
            set(&mut s.camera.room, text(v))?;
            if valid_room(&s.camera.room) { Ok(()) } else { Err("must have 1 to 256 bytes".into()) }
        },
    ),
    Setting::new("ring", "USER", "Call this user when they come online, like a doorbell", |s: &mut S, v| {
        set(&mut s.ring, text(v).map(Some))
    }),
];

const SERVE: &[Setting<Settings>] = &[
    Setting::new(
        "port",
        "N",
        "TCP port for page and signalling, and UDP port of the same number for media; 0 for any. Default: 4500",
        |s: &mut S, v| set(&mut s.port, parsed(v).map_err(|_| "must be a port, 0 to 65535".into())),
    )
    .also(&["PORT"], &[]),
    Setting::new(
        "listen",
        "IP",
        "Address to listen on, or `all`. Default: only this machine",
        |s: &mut S, v| set(&mut s.listen, addresses(v)),
    )
    .list(),
    Setting::new(
        "token",
        "SECRET",
        "The token for viewers, or with --connect for that server; safer in the environment or the file",
        |s: &mut S, v| set(&mut s.token, secret(v).map(Some)),
    )
    .secret(),
    Setting::new(
        "origins",
        "URL",
        "Origins of other pages that may connect, such as https://viewer.example; `*` for any",
        |s: &mut S, v| set(&mut s.origins, origins(v)),
    )
    .list(),
    limits::trusted_proxies(),
    limits::base_path(),
    limits::max_per_address("Connections per address, 0 for no limit. Default: 32"),
    limits::max_unauthenticated_per_address(
        "Connections per address that are not admitted yet, 0 for no limit. Default: 16",
    ),
    limits::exempt(),
    Setting::new("ssl_enabled", "", "Serve https and wss", |s: &mut S, v| set(&mut s.ssl_enabled, switch(v))),
    Setting::new(
        "ssl_cert",
        "FILE",
        "Certificate chain in PEM, reloaded on SIGHUP. Without certificate and key, a self-signed one is created and kept",
        |s: &mut S, v| set(&mut s.ssl_cert, text(v).map(|file| Some(file.into()))),
    ),
    Setting::new("ssl_key", "FILE", "Its private key in PEM", |s: &mut S, v| {
        set(&mut s.ssl_key, text(v).map(|file| Some(file.into())))
    }),
    Setting::new("state_dir", "DIR", "Where to keep a self-signed certificate", |s: &mut S, v| {
        set(&mut s.state_dir, text(v).map(|dir| Some(dir.into())))
    }),
];

const REST: &[Setting<Settings>] = &[
    Setting::new(
        "connect",
        "URL",
        "Connect to a server elsewhere, wss://…, instead of running one",
        |s: &mut S, v| set(&mut s.connect, text(v).map(Some)),
    ),
    Setting::new(
        "roots",
        "FILE",
        "CA certificates to trust for it, in PEM, instead of the system's",
        |s: &mut S, v| set(&mut s.roots, text(v).map(|file| Some(file.into()))),
    ),
    Setting::new("udp_port", "N", "UDP port, if it must differ. Default: as --port", |s: &mut S, v| {
        set(&mut s.camera.udp_port, parsed(v).map(Some).map_err(|_| "must be a port, 0 to 65535".into()))
    }),
    Setting::new(
        "advertise",
        "IP:PORT",
        "Public address and port at which a port forward makes the UDP port reachable",
        |s: &mut S, v| {
            set(
                &mut s.camera.advertise,
                parsed(v).map(Some).map_err(|_| "must look like 203.0.113.5:4500".into()),
            )
        },
    ),
    Setting::new(
        "ice_servers",
        "JSON",
        "STUN and TURN servers for viewers, a list of RTCIceServer",
        |s: &mut S, v| set(&mut s.camera.ice_servers, objects(v)),
    )
    .list(),
    Setting::new(
        "threads",
        "N",
        "Threads that send to viewers and serve. Default: 1; more threads serve more viewers, a share of them each",
        |s: &mut S, v| set(&mut s.threads, count(v, 1).map(|n| n as usize)),
    ),
    Setting::new("log", "LEVEL", "off, error, warn (the default), info, debug or trace", |s: &mut S, v| {
        set(&mut s.log, parsed(v).map_err(|_| "must be off, error, warn, info, debug or trace".into()))
    }),
];

fn policy(value: &serde_json::Value) -> Result<BitratePolicy, String> {
    let whose = text(value)?;
    match whose.as_str() {
        "best" => Ok(BitratePolicy::Best),
        "slowest" => Ok(BitratePolicy::Slowest),
        user if valid_user(user) => Ok(BitratePolicy::Follow(whose)),
        _ => Err("must be best, slowest, or the name of a user".into()),
    }
}

fn kilobits(value: &serde_json::Value) -> Result<u32, String> {
    small(count(value, 1)).map(|kbit| kbit.saturating_mul(1000))
}

fn small(n: Result<u64, String>) -> Result<u32, String> {
    u32::try_from(n?).map_err(|_| "is too large".into())
}

/// The library's configuration without the certificate, and the user to call.
pub(super) fn library_config(
    settings: Settings,
    check: Option<Depth>,
) -> Result<(Config, Option<String>), Failure> {
    let mut camera = settings.camera;
    camera.source = settings.media.into();
    let limits = &mut camera.bitrate;
    limits.start = settings.bitrate.unwrap_or(limits.start.max(limits.min).min(limits.max));
    limits.check().map_err(|e| Failure::new(FailureKind::Config, e.to_string()))?;
    camera.signalling = if let Some(url) = settings.connect {
        let roots = match &settings.roots {
            Some(file) => {
                Roots::Pem(std::fs::read(file).map_err(Failure::of(FailureKind::NoInput, file.display()))?)
            }
            None => Roots::System,
        };
        Signalling::Connect(Connect { token: settings.token, roots, ..Connect::new(url) })
    } else {
        // Listing every address needs an open port, and a check opens none.
        let every =
            || if check == Some(Depth::Plain) { Ipv6Addr::UNSPECIFIED.into() } else { every_address() };
        let ips = settings.listen.unwrap_or_else(|| vec![every()]);
        let port = settings.port;
        Signalling::Serve(Serve {
            listen: ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
            token: settings.token,
            origins: settings.origins,
            trusted_proxies: settings.limits.trusted_proxies,
            max_per_address: settings.limits.per_address,
            max_unauthenticated_per_address: settings.limits.strangers_per_address,
            exempt: settings.limits.exempt,
            base_path: settings.limits.base_path,
            tls: None,
            ..Serve::default()
        })
    };
    Ok((camera, settings.ring))
}

/// Who may do something: one word, or a list of users.
pub(super) fn controllers(v: &Value) -> Result<Controllers, String> {
    Ok(match list(v)?.as_slice() {
        [auto] if auto == "auto" => Controllers::Auto,
        [nobody] if nobody == "nobody" => Controllers::Nobody,
        [all] if all == "everybody" => Controllers::Everybody,
        users => Controllers::Users(users.to_vec()),
    })
}

/// The IPv6 wildcard includes IPv4, if the system has IPv6.
fn every_address() -> IpAddr {
    match std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}
