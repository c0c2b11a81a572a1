//! `symple camera`: a camera that browsers watch.

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
use crate::signals::{self, Wish};
use crate::trial::Depth;
use crate::value::{count, list, object, objects, origins, parsed, parsed_list, secret, set, switch, text};
use crate::{certificate, files, help, logger, open_files};

/// What the camera runs with: what the library takes, and what becomes that.
struct Settings {
    camera: Config,
    media: CaptureSettings,
    port: u16,
    /// `None`: every address of the machine.
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
    /// Controls of the camera, as they are set at the start.
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

/// Those of a camera's own server.
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
    &[("Pictures and sound", PICTURES), ("Who it is", IDENTITY), ("Its own server", SERVE), ("Rest", REST)];

const PICTURES: &[Setting<Settings>] = &[
    Setting::new(
        "source",
        "SOURCE",
        "test (a moving pattern, the default), /dev/video0, csi or csi:NAME (the board's camera port), a file, or \
         rtsp://…; with a login in it better a variable or the file, as other users of this machine see flags",
        |s: &mut S, v| set(&mut s.media.source, parsed(v)),
    ),
    Setting::new("size", "WxH", "The largest picture. Default: 1280x720", |s: &mut S, v| {
        let text = text(v)?;
        let sides =
            text.split_once('x').and_then(|(w, h)| Some((w.trim().parse().ok()?, h.trim().parse().ok()?)));
        let media = &mut s.media;
        (media.width, media.height) = sides.ok_or("must look like 1280x720")?;
        Ok(())
    }),
    Setting::new("fps", "N", "Pictures a second, at most. Default: 30", |s: &mut S, v| {
        set(&mut s.media.fps, small(count(v, 1)))
    }),
    Setting::new("bitrate", "KBIT", "Kilobits a second at the start. Default: 1000", |s: &mut S, v| {
        let bps = kilobits(v)?;
        (s.media.bitrate, s.camera.bitrate.start) = (bps, bps);
        Ok(())
    }),
    Setting::new("min_bitrate", "KBIT", "What it does not go below for bad networks", |s: &mut S, v| {
        set(&mut s.camera.bitrate.min, kilobits(v))
    }),
    Setting::new("max_bitrate", "KBIT", "What it does not go above for good ones", |s: &mut S, v| {
        set(&mut s.camera.bitrate.max, kilobits(v))
    }),
    Setting::new("audio", "", "Take the source's sound. Default: yes", |s: &mut S, v| {
        set(&mut s.media.audio, switch(v))
    }),
    Setting::new(
        "pass_through",
        "",
        "Send H.264 that a camera makes itself as it is. Default: yes",
        |s: &mut S, v| set(&mut s.media.pass_through, switch(v)),
    ),
    Setting::new(
        "set",
        "NAME=VALUE",
        "Set a V4L2 camera's control at the start; `symple devices` lists them. May come several times",
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
        "Who else may set them: nobody, everybody, or users by commas. Default: who knows the token, and \
         everybody where it listens on loopback alone",
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
    Setting::new("vp8", "", "Encode VP8 too for viewers without H.264. Default: yes", |s: &mut S, v| {
        set(&mut s.camera.vp8, switch(v))
    }),
    Setting::new(
        "adapt",
        "",
        "Fewer and smaller pictures where bits are very few or the board is hot. Default: yes",
        |s: &mut S, v| set(&mut s.camera.adapt, switch(v)),
    ),
    Setting::new(
        "board",
        "BOARD",
        "The board's profile: auto (the default), a name such as raspberry-pi-4, or a TOML file of one's own",
        |s: &mut S, v| set(&mut s.media.board, parsed(v)),
    ),
    Setting::new(
        "encoders",
        "NAME",
        "H.264 encoders to try, by their GStreamer names, in this order. Default: the board's, hardware first",
        |s: &mut S, v| set(&mut s.media.encoders, list(v)),
    )
    .list(),
    Setting::new("key_interval", "SECONDS", "A key frame at least so often. Default: 10", |s: &mut S, v| {
        set(&mut s.media.key_interval, count(v, 1).map(Duration::from_secs))
    }),
    Setting::new("repeat", "", "Start a file again at its end. Default: yes", |s: &mut S, v| {
        set(&mut s.media.repeat, switch(v))
    }),
    Setting::new(
        "linger",
        "SECONDS",
        "For how long the source runs on without viewers. Default: 10",
        |s: &mut S, v| set(&mut s.camera.linger, count(v, 0).map(Duration::from_secs)),
    ),
    Setting::new(
        "max_viewers",
        "N",
        "Who may watch at once; others hear `busy`. Default: 64",
        |s: &mut S, v| {
            set(&mut s.camera.max_viewers, count(v, 1).map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
        },
    ),
    Setting::new(
        "max_unconnected",
        "N",
        "Calls of one address that may wait for their media at once; the oldest gives way. Default: 4",
        |s: &mut S, v| {
            set(&mut s.camera.max_unconnected, count(v, 1).map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
        },
    ),
];

const IDENTITY: &[Setting<Settings>] = &[
    Setting::new("user", "NAME", "The user that it is. Default: camera", |s: &mut S, v| {
        set(&mut s.camera.user, text(v))?;
        if valid_user(&s.camera.user) { Ok(()) } else { Err("must be 1 to 128 bytes without |".into()) }
    }),
    Setting::new("name", "TEXT", "Its name for people. Default: the user", |s: &mut S, v| {
        set(&mut s.camera.name, text(v).map(Some))
    }),
    Setting::new("data", "JSON", "What it tells of itself, an object", |s: &mut S, v| {
        set(&mut s.camera.data, object(v))
    }),
    Setting::new("room", "NAME", "Where it and viewers meet. Default: public", |s: &mut S, v| {
        set(&mut s.camera.room, text(v))?;
        if valid_room(&s.camera.room) { Ok(()) } else { Err("must have 1 to 256 bytes".into()) }
    }),
    Setting::new("ring", "USER", "Call this user when it comes, as a doorbell does", |s: &mut S, v| {
        set(&mut s.ring, text(v).map(Some))
    }),
];

const SERVE: &[Setting<Settings>] = &[
    Setting::new(
        "port",
        "N",
        "TCP for page and signalling, and UDP of the same number for pictures; 0 for any. Default: 4500",
        |s: &mut S, v| set(&mut s.port, parsed(v).map_err(|_| "must be a port, 0 to 65535".into())),
    )
    .also(&["PORT"], &[]),
    Setting::new(
        "listen",
        "IP",
        "Address to listen on, or `all`. Default: this machine alone",
        |s: &mut S, v| {
            s.listen = if list(v)? == ["all"] { None } else { Some(parsed_list(v)?) };
            Ok(())
        },
    )
    .list(),
    Setting::new(
        "token",
        "SECRET",
        "What viewers must know; better a variable or the file. With --connect: what that server asks for",
        |s: &mut S, v| set(&mut s.token, secret(v).map(Some)),
    )
    .secret(),
    Setting::new(
        "origins",
        "URL",
        "Origins of other pages that may connect, https://viewer.example; `*` for any",
        |s: &mut S, v| set(&mut s.origins, origins(v)),
    )
    .list(),
    limits::trusted_proxies(),
    limits::base_path(),
    limits::max_per_address("Connections of one address, 0 for no limit. Default: 32"),
    limits::max_unauthenticated_per_address(
        "Those of them that have not been admitted yet, 0 for no limit. Default: 16",
    ),
    limits::exempt(),
    Setting::new("ssl_enabled", "", "Serve https and wss", |s: &mut S, v| set(&mut s.ssl_enabled, switch(v))),
    Setting::new(
        "ssl_cert",
        "FILE",
        "Certificate chain in PEM, read again at SIGHUP. Without it and the key a self-signed one is kept",
        |s: &mut S, v| set(&mut s.ssl_cert, text(v).map(|file| Some(file.into()))),
    ),
    Setting::new("ssl_key", "FILE", "Its private key in PEM", |s: &mut S, v| {
        set(&mut s.ssl_key, text(v).map(|file| Some(file.into())))
    }),
    Setting::new("state_dir", "DIR", "Where a self-signed certificate is kept", |s: &mut S, v| {
        set(&mut s.state_dir, text(v).map(|dir| Some(dir.into())))
    }),
];

const REST: &[Setting<Settings>] = &[
    Setting::new(
        "connect",
        "URL",
        "Be a client of a server elsewhere, wss://…, and serve nothing",
        |s: &mut S, v| set(&mut s.connect, text(v).map(Some)),
    ),
    Setting::new(
        "roots",
        "FILE",
        "Certificates to believe for it, in PEM, instead of the system's",
        |s: &mut S, v| set(&mut s.roots, text(v).map(|file| Some(file.into()))),
    ),
    Setting::new("udp_port", "N", "UDP port, where it must differ. Default: as --port", |s: &mut S, v| {
        set(&mut s.camera.udp_port, parsed(v).map(Some).map_err(|_| "must be a port, 0 to 65535".into()))
    }),
    Setting::new(
        "advertise",
        "IP:PORT",
        "Where a port forward makes the UDP port reachable",
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
symple camera: a camera that browsers watch

Usage: symple camera [FLAGS]

  symple camera                                 a moving pattern at http://127.0.0.1:4500/
  symple camera --source /dev/video0            a camera
  symple camera --source csi                    a board's own, as a Raspberry Pi's
  SYMPLE_TOKEN=secret symple camera --listen all --ssl-enabled
  SYMPLE_SOURCE=rtsp://user:password@camera.example/stream symple camera
  symple camera --connect wss://chat.example    at a server elsewhere

Each setting is a flag, a key of the file with _ for -, and a variable: --max-viewers is max_viewers = 8 in
the file and SYMPLE_MAX_VIEWERS=8 in the environment. Flags win over variables, those over the file.

  --config FILE               Read this TOML file [also SYMPLE_CONFIG]
  --check                     Check settings, source and encoder, say what would run, and end; no port is
                              opened, and no other machine asked
  --check=deep                Try the ports, the source (RTSP too) and the encoder until there is a frame, with
                              --connect the server; tell how each went, and fail if one did
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
    // Before the server looks at it.
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
    match camera.reconfigure(|config| *config = new) {
        Ok(()) => log::info!("the settings were read again"),
        Err(e) => log::error!("the settings stay as they are: {e}"),
    }
}

/// Board and encoder; with `all` why not others, and what is known of the board.
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

/// What the library takes, but for the certificate, and who is to be called.
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
        // To find out what every address is takes a port, which a check does not open.
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

/// IPv6's wildcard has IPv4 in it, where the system has IPv6.
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
    Failure::new(kind, format!("The camera cannot start. {e}"))
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
                    log::warn!("the one to be rung cannot be called: {e}");
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
            // Who reads is of no matter to who watches.
            _ = exit::line(&line);
        }
    });
    let mut asked = false;
    let tell = |wish| match (wish, camera.server(), certificate) {
        (Wish::End, ..) => {
            asked = true;
            camera.shutdown();
        }
        (Wish::Reload, server, certificate) => {
            if let (Some(server), Some(certificate)) = (server, certificate) {
                certificate.reload(server);
            }
            reload(camera, again());
        }
    };
    signals::run(camera.run(), signals::listen()?, tell, certificate::tend(certificate, camera.server()));
    // Without a wish to end, only a server that refuses it ends a camera.
    if asked { Ok(()) } else { told.try_recv().map_or(Ok(()), Err) }
}

fn words_of(event: &Event) -> Option<String> {
    let words = match event {
        Event::Calling { id, peer: address } => format!("call {id}: with {}", address.user()),
        Event::ViewerJoined { viewer } => {
            format!("call {}: {} watches ({:?})", viewer.id, viewer.address.user(), viewer.video)
        }
        Event::ViewerLeft { viewer, end: reason } => format!("call {}: ended ({reason})", viewer.id),
        Event::CallFailed { id, end: reason, .. } => format!("call {id}: failed ({reason})"),
        Event::Streaming { streams } if streams.is_empty() => "producing nothing".into(),
        Event::Streaming { streams } => {
            let names: Vec<&str> = streams.iter().map(|info| info.codec.name()).collect();
            format!("producing {}", names.join(", "))
        }
        Event::Format { width, height, fps, .. } => format!("pictures of {width} x {height}, {fps} a second"),
        Event::Capture { info } => format!("camera: {info}"),
        Event::Control { name, result: Ok(control), .. } => format!("{name} is {}", control.value_text()),
        Event::Control { name, result: Err(why), .. } => format!("{name} is not set: {why}"),
        // Several a minute for each viewer on a bad network; `/api/status` has the newest.
        Event::Bitrate { bps, .. } => {
            log::debug!("the encoder goes to {} kbit/s", bps / 1000);
            return None;
        }
        Event::Quality { percent, fps, why, .. } => {
            format!("pictures of {percent} % of the size, {fps} a second at most: {why}")
        }
        Event::Board { message: words } => format!("board: {words}"),
        Event::Source { status: source } => format!("source: {} ({})", source.state.as_str(), source.code),
        Event::Media { error: trouble } => format!("source: {trouble}"),
        Event::SourceEnded => "the source came to its end".into(),
        Event::Online { .. } => "online".into(),
        Event::Offline { reason } => format!("offline: {reason}"),
        Event::Lost { count } => format!("{count} events were lost"),
        _ => return None,
    };
    Some(words.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect())
}
