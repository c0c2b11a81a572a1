//! `symple camera`: a camera to watch in a browser.

mod check;
mod messages;
mod qr_code;
#[cfg(feature = "relay")]
pub(crate) mod relay;
mod settings;

use std::ffi::OsString;
use std::thread::JoinHandle;

use symple::camera::{Camera, CameraError, Config, Event, Signalling};
use symple::media::board::BoardInfo;
use symple::media::source::gst::EncoderInfo;
use symple::{client, proto};

use messages::words_of;
use settings::{GROUPS, Settings, library_config};

use crate::args::Takes;
use crate::certificate::Certificate;
use crate::exit::{self, Failure, FailureKind};
use crate::merge::{Setting, SettingSources};
use crate::signals::{self, SignalRequest};
use crate::{certificate, files, help, logger, open_files};

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
    let certificate = certificate(&settings, &loaded.sources)?;
    let (controls, media, threads) = (settings.set.clone(), settings.media.clone(), settings.threads);
    let (mut config, ring) = library_config(settings, loaded.line.check)?;
    if let Some(depth) = loaded.line.check {
        let (certificate, ring) = (certificate.as_ref(), ring.as_deref());
        let checked = check::Checked { config, media: &media, certificate, ring, set: &controls, threads };
        return check::run(&checked, depth, &table, &loaded.sources);
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
    said += &qr_code::code(urls);
    exit::tell(&said);
    let again = || {
        let takes = Takes { config: true, check: true, words: 0 };
        let loaded = files::load("camera", &table, takes, args.clone())?;
        loaded.map(|loaded| library_config(loaded.settings, None)).transpose()
    };
    run(&camera, threads, ring, certificate.as_ref(), again)
}

/// Takes over the settings as they are now.
fn reload(camera: &Camera, read: Result<Option<(Config, Option<String>)>, Failure>) {
    let mut new = match read {
        Ok(Some((new, _))) => new,
        Ok(None) => return,
        Err(e) => return log::error!("the settings stay as they are: {}", e.words),
    };
    let mut later = vec![];
    let take = |config: &mut Config| {
        // The certificate is read again by itself.
        if let (Signalling::Serve(serve), Signalling::Serve(before)) =
            (&mut new.signalling, &config.signalling)
        {
            serve.tls = before.tls.clone();
        }
        later = config.update(new);
    };
    match camera.reconfigure(take) {
        Ok(()) if later.is_empty() => log::info!("the settings were reloaded"),
        Ok(()) => {
            let later = later.join(", ").replace("listen", "listen or port");
            log::warn!("the settings were reloaded; these need a restart: {later}");
        }
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
    if let Some(small) = &encoder.small {
        lines.push(format!("small rendition: {small}"));
    }
    if all {
        lines.extend(encoder.tried.iter().map(|rejected| format!("  not {rejected}")));
    }
    lines.join("\n") + "\n"
}

fn certificate(s: &Settings, sources: &SettingSources) -> Result<Option<Certificate>, Failure> {
    if s.connect.is_none() {
        certificate::refuse_unused(sources)?;
    }
    let listen = s.listen.as_deref().unwrap_or_default();
    let choose =
        || Certificate::choose(s.ssl_cert.as_deref(), s.ssl_key.as_deref(), s.state_dir.as_deref(), listen);
    (s.ssl_enabled && s.connect.is_none()).then(choose).transpose()
}

fn listen_failure(e: symple::net::BindError) -> Failure {
    let words = e.to_string();
    Failure { words, ..unusable(e.into()) }
}

fn unusable(e: CameraError) -> Failure {
    let kind = match e.code() {
        "bad-setting" | "bad-settings" | "bad-url" => FailureKind::Config,
        "no-file" => FailureKind::NoInput,
        "port-forbidden" | "not-allowed" | "unauthorized" => FailureKind::NoPermission,
        _ => FailureKind::Unavailable,
    };
    Failure::new(kind, format!("cannot start the camera: {e}"))
}

/// A further thread of the camera.
fn driver(camera: &Camera) -> Option<JoinHandle<()>> {
    let run = camera.run();
    let thread = std::thread::Builder::new().name("symple-driver".into());
    let started = thread.spawn(move || symple::net::block_on(run));
    started.map_err(|e| log::warn!("running with one thread fewer: {e}")).ok()
}

fn run(
    camera: &Camera,
    threads: usize,
    ring: Option<String>,
    certificate: Option<&Certificate>,
    again: impl Fn() -> Result<Option<(Config, Option<String>)>, Failure>,
) -> Result<(), Failure> {
    let (failed, failure) = std::sync::mpsc::channel();
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
                    Some(proto::Status::UNAUTHORIZED) => FailureKind::NoPermission,
                    _ => FailureKind::Unavailable,
                };
                _ = failed.send(Failure::new(kind, reason.clone()));
            }
            _ => {}
        }
        if let Some(line) = words_of(&event) {
            // A closed stdout must not affect viewers.
            _ = exit::line(&line);
        }
    });
    let mut asked = false;
    let act = |request| match (request, camera.server(), certificate) {
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
    let signals = signals::listen()?;
    let drivers: Vec<_> = (1..threads).map_while(|_| driver(camera)).collect();
    signals::run(camera.run(), signals, act, certificate::tend(certificate, camera.server()));
    drivers.into_iter().for_each(|driver| _ = driver.join());
    // Without a signal, a camera only ends if a server refuses it.
    if asked { Ok(()) } else { failure.try_recv().map_or(Ok(()), Err) }
}
