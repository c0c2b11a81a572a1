//! `symple relay`: shows what callers publish, under one name or several.

use std::ffi::OsString;
use std::pin::Pin;

use futures_lite::future::zip;
use symple::camera::{Camera, CameraSource, Config, Controllers, Event, Occupied, Publishing, Signalling};
use symple::media::Codec;
use symple::proto::valid_user;

use super::messages::words_of;
use super::settings::{GROUPS, Settings, controllers, library_config};
use super::{certificate, check, driver, qr_code, unusable};
use crate::args::Takes;
use crate::exit::{self, Failure, FailureKind};
use crate::merge::{self, Setting};
use crate::signals::{self, SignalRequest};
use crate::value::{list, set, text};
use crate::{certificate as certificates, files, help, logger, open_files};

const INTRODUCTION: &str = "
symple relay: shows what a caller publishes to whoever calls, without decoding it

Usage: symple relay [FLAGS]

  symple relay                                  whoever sends to \"stage\" is watched by the others who call it
  symple relay --names stage --names porch      two of them
  SYMPLE_TOKEN=secret symple relay --listen all --ssl-enabled
  symple relay --connect wss://chat.example --publish alice

Each setting is a flag, a key in the file with _ for -, and an environment variable: --max-viewers is
max_viewers = 8 in the file and SYMPLE_MAX_VIEWERS=8 in the environment. Flags override the
environment, which overrides the file.

  --config FILE               Read this TOML file [also SYMPLE_CONFIG]
  --check                     Check all settings, print what would run, and exit; opens no port
  --check=deep                Also try the ports, or the server, and print the results
";

/// What `symple camera` has no settings for.
pub(super) struct Relay {
    names: Vec<String>,
    publishing: Publishing,
}

impl Default for Relay {
    fn default() -> Relay {
        Relay { names: vec!["stage".into()], publishing: Publishing::default() }
    }
}

type S = Settings;

const PUBLISHING: &[Setting<Settings>] = &[
    Setting::new("names", "NAME", "The user name to call. May be repeated. Default: stage", |s: &mut S, v| {
        set(&mut s.relay.names, list(v))?;
        let names = &s.relay.names;
        let twice = (1..names.len()).any(|at| names[..at].contains(&names[at]));
        if names.is_empty() || twice || !names.iter().all(|name| valid_user(name)) {
            return Err("must be different names such as stage".into());
        }
        Ok(())
    })
    .list(),
    Setting::new(
        "publish",
        "WHO",
        "Who may publish: everybody, nobody, a list of users, or auto (the default: everybody who may enter, which needs a \
         token unless it only listens on loopback)",
        |s: &mut S, v| set(&mut s.relay.publishing.who, controllers(v)),
    )
    .list(),
    Setting::new(
        "occupied",
        "WHAT",
        "What happens to a second publisher: refuse (the default), or replace, which ends the call of the first",
        |s: &mut S, v| {
            s.relay.publishing.occupied = match text(v)?.as_str() {
                "refuse" => Occupied::Refuse,
                "replace" => Occupied::Replace,
                _ => return Err("must be refuse or replace".into()),
            };
            Ok(())
        },
    ),
    Setting::new(
        "codec",
        "CODEC",
        "A video codec that may be published: h264 or vp8. May be repeated. Default: h264, vp8. A publisher that can \
         send both is asked for the one that most viewers support, and in doubt for the first",
        |s: &mut S, v| {
            let codec = |name: String| match name.as_str() {
                "h264" => Ok(Codec::H264),
                "vp8" => Ok(Codec::Vp8),
                _ => Err("must be h264 or vp8, each once".to_owned()),
            };
            let codecs = list(v)?.into_iter().map(codec).collect::<Result<Vec<_>, _>>()?;
            if codecs.is_empty() || codecs.get(1) == codecs.first() || codecs.len() > 2 {
                return Err("must be h264 or vp8, each once".into());
            }
            s.relay.publishing.video = codecs;
            Ok(())
        },
    )
    .list(),
];

/// What a camera has that a relay has not: a source, an encoder, and one name.
const NOT_HERE: &[&str] = &[
    "source",
    "size",
    "fps",
    "audio",
    "microphone",
    "pass_through",
    "set",
    "controls",
    "talk",
    "talk_output",
    "talk_duplex",
    "vp8",
    "small",
    "adapt",
    "board",
    "encoders",
    "key_interval",
    "repeat",
    "user",
    "name",
    "data",
    "ring",
    "udp_port",
    "advertise",
];

/// Runs the command.
pub(crate) fn main(args: Vec<OsString>) -> Result<(), Failure> {
    let kept: Vec<(&str, Vec<Setting<Settings>>)> = GROUPS
        .iter()
        .map(|(title, settings)| {
            let kept = settings.iter().filter(|s| !NOT_HERE.contains(&s.key)).map(|s| Setting { ..*s });
            (*title, kept.collect())
        })
        .collect();
    let mut groups: Vec<(&str, &[Setting<Settings>])> = vec![("Publishing", PUBLISHING)];
    groups.extend(kept.iter().map(|(title, settings)| (*title, settings.as_slice())));
    let table: Vec<Setting<Settings>> =
        groups.iter().flat_map(|(_, settings)| settings.iter().map(|s| Setting { ..*s })).collect();
    let takes = Takes { config: true, check: true, words: 0 };
    let Some(loaded) = files::load("relay", &table, takes, args)? else {
        return exit::print(&help::command(INTRODUCTION, &groups, ""));
    };
    logger::start(loaded.settings.log);
    files::warn_of_slips(&table);
    loaded.warn_of_open_secrets(&table);
    open_files::raise();
    let mut settings = loaded.settings;
    let relay = std::mem::take(&mut settings.relay);
    let (certificate, threads) = (certificate(&settings, &loaded.sources)?, settings.threads);
    let (mut config, _) = library_config(settings, loaded.line.check)?;
    let mut publishing = relay.publishing;
    publishing.who = publishers(publishing.who, &config.signalling)?;
    if let Some(depth) = loaded.line.check {
        let set_by = merge::set_by(&table, &loaded.sources);
        return check::relay(&relay.names, &publishing, &config, certificate.as_ref(), depth, &set_by);
    }
    config.source = CameraSource::Published(publishing);
    if let Signalling::Serve(serve) = &mut config.signalling {
        serve.reserved.clone_from(&relay.names);
        serve.tls = certificate.as_ref().map(|certificate| certificate.load()).transpose()?;
    }
    let mut cameras: Vec<Camera> = vec![];
    for name in &relay.names {
        let signalling = cameras.first().and_then(Camera::server).cloned().map(Signalling::Within);
        let signalling = signalling.unwrap_or_else(|| config.signalling.clone());
        let config = Config { user: name.clone(), signalling, ..config.clone() };
        cameras.push(Camera::new(config).map_err(unusable)?);
    }
    let urls = cameras[0].urls();
    exit::tell(&(urls.iter().map(|url| format!("open {url}\n")).collect::<String>() + &qr_code::code(urls)));
    run(&relay.names, &cameras, threads, certificate.as_ref())
}

/// Whoever may enter may publish, unless anybody may enter.
fn publishers(who: Controllers, signalling: &Signalling) -> Result<Controllers, Failure> {
    match (who, signalling) {
        (Controllers::Auto, Signalling::Serve(serve)) if serve.is_guarded() => Ok(Controllers::Everybody),
        (Controllers::Auto, _) => Err(Failure::new(
            FailureKind::Config,
            "publish: anybody could publish here; set a token, or list who may (--publish alice), or allow it \
             (--publish everybody)",
        )),
        (who, _) => Ok(who),
    }
}

fn run(
    names: &[String],
    cameras: &[Camera],
    threads: usize,
    certificate: Option<&certificates::Certificate>,
) -> Result<(), Failure> {
    let (failed, failure) = std::sync::mpsc::channel();
    for (name, camera) in names.iter().zip(cameras) {
        let (name, failed, all) = (name.clone(), failed.clone(), cameras.to_vec());
        camera.on(move |event| {
            if let Event::Ended { reason, .. } = &event {
                _ = failed.send(Failure::new(FailureKind::Unavailable, reason.clone()));
                all.iter().for_each(Camera::shutdown);
            }
            if let Some(line) = words_of(&event) {
                // A closed stdout must not affect viewers.
                _ = exit::line(&format!("{name}: {line}"));
            }
        });
    }
    let mut asked = false;
    let act = |request| match (request, cameras[0].server(), certificate) {
        (SignalRequest::End, ..) => {
            asked = true;
            cameras.iter().for_each(Camera::shutdown);
        }
        (SignalRequest::Reload, Some(server), Some(certificate)) => certificate.reload(server),
        (SignalRequest::Reload, ..) => log::info!("the settings of a relay are read at its start"),
    };
    let signals = signals::listen()?;
    let drivers: Vec<_> = (1..threads).flat_map(|_| cameras.iter().filter_map(driver)).collect();
    let tend = certificates::tend(certificate, cameras[0].server());
    signals::run(all(cameras), signals, act, tend);
    drivers.into_iter().for_each(|driver| _ = driver.join());
    if asked { Ok(()) } else { failure.try_recv().map_or(Ok(()), Err) }
}

/// Runs all of them.
async fn all(cameras: &[Camera]) {
    let none: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async {});
    let with = |others, camera: &Camera| -> Pin<Box<dyn Future<Output = ()>>> {
        let run = camera.run();
        Box::pin(async move { _ = zip(others, run).await })
    };
    cameras.iter().fold(none, with).await;
}
