//! `symple camera`: a camera to watch in a browser.

mod check;
mod phone;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use symple::camera::{Camera, CameraError, Config, Connect, Controllers, Event, Serve, Signalling};
use symple::media::board::BoardInfo;
use symple::media::source::gst::{CaptureSettings, EncoderInfo};
use symple::net::Roots;
use symple::proto::{DEFAULT_PORT, Token, valid_room, valid_user};
use symple::{client, proto};

use crate::args::Takes;
use crate::certificate::Certificate;
use crate::exit::{self, Failure, Kind};
use crate::limits::{self, HasLimits, Limits};
use crate::merge::Setting;
use crate::signals::{self, SignalRequest};
use crate::trial::Depth;
use crate::value::{count, list, object, objects, origins, parsed, parsed_list, secret, set, switch, text};
use crate::{certificate, files, help, logger, open_files};

/// The settings: those of the library, and those that are converted to them.
struct Settings {
    camera: Config,
    media: CaptureSettings,
    port: u16,
    /// `None`: every address of this machine.
    listen: Option<Vec<IpAddr>>,
    token: Option<Token>,
    origins: Vec<String>,
    limits: Limits,
    ssl_enabled: bool,
    ssl_cert: Option<PathBuf>,
    ssl_key: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    connect: Option<String>,
    roots: Option<PathBuf>,
    ring: Option<String>,
    /// Controls of the camera to set at the start.
    set: Vec<String>,
    log: LevelFilter,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            camera: Config::default(),
            media: CaptureSettings::default(),
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
            log: LevelFilter::Warn,
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

const GROUPS: &[(&str, &[Setting<Settings>])] =
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
        (s.media.bitrate, s.camera.bitrate.start) = (bps, bps);
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
        |s: &mut S, v| {
            s.camera.controls = match list(v)?.as_slice() {
                [auto] if auto == "auto" => Controllers::Auto,
                [nobody] if nobody == "nobody" => Controllers::Nobody,
                [all] if all == "everybody" => Controllers::Everybody,
                users => Controllers::Users(users.to_vec()),
            };
            Ok(())
        },
    )
    .list(),
    Setting::new("vp8", "", "Also encode VP8, for viewers without H.264. Default: yes", |s: &mut S, v| {
        set(&mut s.camera.vp8, switch(v))
    }),
    Setting::new(
        "adapt",
        "",
        "Lower the frame rate and the resolution if bandwidth is very low or the board is hot. Default: yes",
        |s: &mut S, v| set(&mut s.camera.adapt, switch(v)),
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
        |s: &mut S, v| {
            s.listen = if list(v)? == ["all"] { None } else { Some(parsed_list(v)?) };
            Ok(())
        },
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
    Setting::new("log", "LEVEL", "off, error, warn (the default), info, debug or trace", |s: &mut S, v| {
        set(&mut s.log, parsed(v).map_err(|_| "must be off, error, warn, info, debug or trace".into()))
    }),
];

const INTRODUCTION: &str = "
symple camera: a camera to watch in a browser

Usage: symple camera [FLAGS]

  symple camera                                 a moving pattern at http://127.0.0.1:4500/
  symple camera --source /dev/video0            a camera
  symple camera --source csi                    a board's own camera, such as a Raspberry Pi's
  SYMPLE_TOKEN=secret symple camera --listen all --ssl-enabled
  SYMPLE_SOURCE=rtsp://user:password@camera.example/stream symple camera
  symple camera --connect wss://chat.example    on a server elsewhere

Each setting is a flag, a key in the file with _ for -, and an environment variable: --max-viewers is
max_viewers = 8 in the file and SYMPLE_MAX_VIEWERS=8 in the environment. Flags override the
environment, which overrides the file.

  --config FILE               Read this TOML file [also SYMPLE_CONFIG]
  --check                     Check settings, source and encoder, print what would run, and exit; opens
                              no port and contacts no other machine
  --check=deep                Also try the ports, the source (RTSP too) and the encoder until there is a
                              frame, and with --connect the server; print the results, and fail if
                              one of them failed
";

fn kilobits(value: &serde_json::Value) -> Result<u32, String> {
    small(count(value, 1)).map(|kbit| kbit.saturating_mul(1000))
}

fn small(n: Result<u64, String>) -> Result<u32, String> {
    u32::try_from(n?).map_err(|_| "is too large".into())
}

/// Runs the command.
pub(crate) fn main(args: Vec<OsString>) -> Result<(), Failure> {
    let table: Vec<Setting<Settings>> =
        GROUPS.iter().flat_map(|(_, settings)| settings.iter().map(|s| Setting { ..*s })).collect();
    let takes = Takes { config: true, check: true, words: 0 };
    let Some(loaded) = files::load("camera", &table, takes, args.clone())? else {
        return exit::print(&help::command(INTRODUCTION, GROUPS, ""));
    };
    logger::start(loaded.settings.log);
    files::warn_of_slips(&table);
    loaded.warn_of_open_secrets(&table);
    // Before the server reads the limit.
    open_files::raise();
    let settings = loaded.settings;
    let certificate = certificate(&settings)?;
    let (controls, media) = (settings.set.clone(), settings.media.clone());
    let (mut config, ring) = library_config(settings, loaded.line.check)?;
    if let Some(depth) = loaded.line.check {
        let (certificate, ring) = (certificate.as_ref(), ring.as_deref());
        let checked = check::Checked { config, media: &media, certificate, ring, set: &controls };
        return check::run(&checked, depth, &table, &loaded.origins);
    }
    if let (Signalling::Serve(serve), Some(certificate)) = (&mut config.signalling, &certificate) {
        serve.tls = Some(certificate.load()?);
    }
    let camera = Camera::new(config).map_err(unusable)?;
    for (name, value) in controls.iter().filter_map(|wish| wish.split_once('=')) {
        camera.set_control(name.trim(), value);
    }
    let made = camera.board().zip(camera.encoder());
    let mut said = made.map(|(board, encoder)| chosen(&board, &encoder, false)).unwrap_or_default();
    let urls = camera.urls();
    said.extend(urls.iter().map(|url| format!("open {url}\n")));
    said += &phone::code(urls);
    exit::tell(&said);
    let again = || {
        let takes = Takes { config: true, check: true, words: 0 };
        let loaded = files::load("camera", &table, takes, args.clone())?;
        loaded.map(|loaded| library_config(loaded.settings, None)).transpose()
    };
    run(&camera, ring, certificate.as_ref(), again)
}

/// Takes over the settings as they are now.
fn reload(camera: &Camera, read: Result<Option<(Config, Option<String>)>, Failure>) {
    let new = match read {
        Ok(Some((new, _))) => new,
        Ok(None) => return,
        Err(e) => return log::error!("the settings stay as they are: {}", e.words),
    };
    let take = |config: &mut Config| {
        let before = std::mem::replace(config, new);
        // The certificate is read again by itself.
        if let (Signalling::Serve(serve), Signalling::Serve(before)) =
            (&mut config.signalling, before.signalling)
        {
            serve.tls = before.tls;
        }
    };
    match camera.reconfigure(take) {
        Ok(()) => log::info!("the settings were reloaded"),
        Err(e) => log::error!("the settings stay as they are: {e}"),
    }
}

/// Describes board and encoder; with `all` also why not others, and the known quirks of the board.
fn chosen(board: &BoardInfo, encoder: &EncoderInfo, all: bool) -> String {
    let kind = if encoder.hardware { "hardware" } else { "software" };
    let [profile, constraints, level] = encoder.profile_level_id;
    let mut lines = vec![format!("board: {board}")];
    if all {
        lines.push(format!("  captures with: {}", board.capture.join(", ")));
        lines.push(format!("  measured: {}", board.measured));
        lines.extend(board.quirks.iter().map(|quirk| format!("  known: {quirk}")));
    }
    lines
        .push(format!("encoder: {} ({kind}, H.264 {profile:02x}{constraints:02x}{level:02x})", encoder.name));
    if all {
        lines.extend(encoder.tried.iter().map(|rejected| format!("  not {rejected}")));
    }
    lines.join("\n") + "\n"
}

fn certificate(s: &Settings) -> Result<Option<Certificate>, Failure> {
    let listen = s.listen.as_deref().unwrap_or_default();
    let choose =
        || Certificate::choose(s.ssl_cert.as_deref(), s.ssl_key.as_deref(), s.state_dir.as_deref(), listen);
    (s.ssl_enabled && s.connect.is_none()).then(choose).transpose()
}

/// The library's configuration without the certificate, and the user to call.
fn library_config(settings: Settings, check: Option<Depth>) -> Result<(Config, Option<String>), Failure> {
    let mut camera = settings.camera;
    camera.source = settings.media.into();
    camera.signalling = if let Some(url) = settings.connect {
        let roots = match &settings.roots {
            Some(file) => {
                Roots::Pem(std::fs::read(file).map_err(Failure::of(Kind::NoInput, file.display()))?)
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

/// The IPv6 wildcard includes IPv4, if the system has IPv6.
fn every_address() -> IpAddr {
    match std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

fn listen_failure(e: symple::net::BindError) -> Failure {
    let words = e.to_string();
    Failure { words, ..unusable(e.into()) }
}

fn unusable(e: CameraError) -> Failure {
    let kind = match e.code() {
        "bad-setting" | "bad-settings" | "bad-url" => Kind::Config,
        "no-file" => Kind::NoInput,
        "port-forbidden" | "not-allowed" | "unauthorized" => Kind::NoPermission,
        _ => Kind::Unavailable,
    };
    Failure::new(kind, format!("cannot start the camera: {e}"))
}

fn run(
    camera: &Camera,
    ring: Option<String>,
    certificate: Option<&Certificate>,
    again: impl Fn() -> Result<Option<(Config, Option<String>)>, Failure>,
) -> Result<(), Failure> {
    let (tell, told) = std::sync::mpsc::channel();
    let handle = camera.clone();
    camera.on(move |event| {
        match &event {
            Event::Client { event: client::Event::PeerAdded { peer } }
                if Some(&peer.user) == ring.as_ref() =>
            {
                if let Err(e) = handle.call(peer.address().as_str()) {
                    log::warn!("cannot call the user of --ring: {e}");
                }
            }
            Event::Ended { status, reason } => {
                let kind = match status {
                    Some(proto::Status::UNAUTHORIZED) => Kind::NoPermission,
                    _ => Kind::Unavailable,
                };
                _ = tell.send(Failure::new(kind, reason.clone()));
            }
            _ => {}
        }
        if let Some(line) = words_of(&event) {
            // A closed stdout must not affect viewers.
            _ = exit::line(&line);
        }
    });
    let mut asked = false;
    let tell = |wish| match (wish, camera.server(), certificate) {
        (SignalRequest::End, ..) => {
            asked = true;
            camera.shutdown();
        }
        (SignalRequest::Reload, server, certificate) => {
            if let (Some(server), Some(certificate)) = (server, certificate) {
                certificate.reload(server);
            }
            reload(camera, again());
        }
    };
    signals::run(camera.run(), signals::listen()?, tell, certificate::tend(certificate, camera.server()));
    // Without a signal, a camera only ends if a server refuses it.
    if asked { Ok(()) } else { told.try_recv().map_or(Ok(()), Err) }
}

fn words_of(event: &Event) -> Option<String> {
    let words = match event {
        Event::Calling { id, peer: address } => format!("call {id}: with {}", address.user()),
        Event::ViewerJoined { viewer } => {
            format!("call {}: {} is watching ({:?})", viewer.id, viewer.address.user(), viewer.video)
        }
        Event::ViewerLeft { viewer, end: reason } => format!("call {}: ended ({reason})", viewer.id),
        Event::CallFailed { id, end: reason, .. } => format!("call {id}: failed ({reason})"),
        Event::Streaming { streams } if streams.is_empty() => "producing nothing".into(),
        Event::Streaming { streams } => {
            let names: Vec<&str> = streams.iter().map(|info| info.codec.name()).collect();
            format!("producing {}", names.join(", "))
        }
        Event::Format { width, height, fps, .. } => format!("video: {width} x {height} at {fps} fps"),
        Event::Capture { info } => format!("camera: {info}"),
        Event::Control { name, result: Ok(control), .. } => format!("{name} is {}", control.value_text()),
        Event::Control { name, result: Err(why), .. } => format!("cannot set {name}: {why}"),
        // Several per minute for each viewer on a bad network; `/api/status` has the latest.
        Event::Bitrate { bps, .. } => {
            log::debug!("encoder bitrate: {} kbit/s", bps / 1000);
            return None;
        }
        Event::Quality { percent, fps, why, .. } => {
            format!("video: {percent} % of the resolution, at most {fps} fps: {why}")
        }
        Event::Board { message: words } => format!("board: {words}"),
        Event::Source { status: source } => format!("source: {} ({})", source.state.as_str(), source.code),
        Event::Media { error: trouble } => format!("source: {trouble}"),
        Event::SourceEnded => "the source ended".into(),
        Event::Online { .. } => "online".into(),
        Event::Offline { reason } => format!("offline: {reason}"),
        Event::Lost { count } => format!("{count} events were lost"),
        _ => return None,
    };
    Some(words.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect())
}
