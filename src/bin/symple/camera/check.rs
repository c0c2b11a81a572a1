//! `symple camera --check` describes what would run; `--check=deep` also tries it.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

#[cfg(feature = "relay")]
use symple::camera::Publishing;
use symple::camera::{CameraError, Config, Connect, Controllers, Serve, Signalling};
use symple::client::{self, Event};
use symple::media::Codec;
use symple::media::error::{ErrorKind, MediaError};
use symple::media::source::gst::{CaptureSettings, Microphone};
use symple::media::source::{Command, Location, Produce, Source, SourceEvent};
use symple::net::ServerConfig;
use symple::net::udp::Udp;
use symple::{Client, Server};

use super::{Settings, chosen, listen_failure, unusable};
use crate::certificate::Certificate;
use crate::deep_check::{Depth, Trial};
use crate::exit::{self, Failure, FailureKind};
use crate::merge::{self, Setting, SettingSources};

/// Longer than a source may take for its first frame: RTSP tries UDP before TCP.
const FIRST_FRAME: Duration = Duration::from_secs(25);
/// How long a microphone may take for its first sound.
const FIRST_SOUND: Duration = Duration::from_secs(5);
/// What stands in place of a certificate of which the trial shows what is wrong.
const BROKEN: &str = "does not work, see below";
/// How long a remote server may take to admit us.
const WELCOME: Duration = Duration::from_secs(10);

/// What is checked, including settings beyond those of the library.
pub(super) struct Checked<'a> {
    pub config: Config,
    pub media: &'a CaptureSettings,
    pub certificate: Option<&'a Certificate>,
    pub ring: Option<&'a str>,
    /// Controls to set at the start.
    pub set: &'a [String],
    pub threads: usize,
}

/// Prints what would run, and fails if the camera would fail to start.
pub(super) fn run(
    checked: &Checked<'_>,
    depth: Depth,
    table: &[Setting<Settings>],
    sources: &SettingSources,
) -> Result<(), Failure> {
    let set_by = set_by(checked, table, sources);
    let media = checked.media;
    if depth == Depth::Plain {
        let plan = describe(checked, &certificate(checked.certificate)?);
        let source = match media.source {
            Location::Rtsp { .. } => " (not contacted; --check=deep does)",
            _ => "",
        };
        let made = Source::gstreamer(media.clone()).map_err(|e| unusable(e.into()))?;
        let chosen = chosen_by(&made);
        return exit::print(&format!("{plan}  {:16}{}{source}\n{chosen}{set_by}", "source", media.source));
    }
    let mut trial = Trial::default();
    let shown = certificate(checked.certificate);
    let mut plan = describe(checked, shown.as_deref().unwrap_or(BROKEN));
    _ = writeln!(plan, "  {:16}{}", "source", media.source);
    try_place(&mut trial, &checked.config, checked.certificate.map(|_| shown));
    plan += &try_media(&mut trial, media);
    #[cfg(feature = "talk")]
    if checked.config.talk.who != Controllers::Nobody {
        trial.skip("speaker", "is opened once somebody talks");
    }
    trial.end(&(plan + &set_by))
}

/// Tries the ports, or the server elsewhere. `certificate` is what was found of one.
fn try_place(trial: &mut Trial, config: &Config, certificate: Option<Result<String, Failure>>) {
    if let Some(found) = certificate {
        trial.add("certificate", found);
    }
    match &config.signalling {
        Signalling::Serve(serve) => trial.add("port", tcp_ports(serve)),
        Signalling::Connect(connect) => trial.add("server", welcome(config, connect)),
        _ => return,
    }
    trial.add("UDP port", udp_port(udp_number(config)));
}

/// Prints what a relay of these names would run, and fails if it would fail to start.
#[cfg(feature = "relay")]
pub(super) fn relay(
    names: &[String],
    publishing: &Publishing,
    config: &Config,
    keys: Option<&Certificate>,
    depth: Depth,
    set_by: &str,
) -> Result<(), Failure> {
    let describe = |certificate: &str| {
        let mut plan = "symple relay would run:\n".to_owned();
        describe_place(&mut plan, config, certificate, keys.is_some());
        let mut row = |name: &str, words: String| _ = writeln!(plan, "  {name:16}{words}");
        row("names", format!("{}, in room {}", names.join(", "), config.room));
        let codecs: Vec<&str> = publishing.video.iter().map(|codec| codec.name()).collect();
        row("published", format!("{}, {}", codecs.join(" or "), by(&publishing.who)));
        plan + set_by
    };
    let shown = certificate(keys);
    if depth == Depth::Plain {
        return exit::print(&describe(&shown?));
    }
    let plan = describe(shown.as_deref().unwrap_or(BROKEN));
    let mut trial = Trial::default();
    try_place(&mut trial, config, keys.map(|_| shown));
    trial.end(&plan)
}

/// Whom a permission is for.
fn by(who: &Controllers) -> String {
    match who {
        Controllers::Nobody => "by nobody".into(),
        Controllers::Auto => "by those who know the token, or by users of this machine".into(),
        Controllers::Everybody => "by everybody".into(),
        Controllers::Users(users) => format!("by {}", users.join(", ")),
        other => format!("{other:?}"),
    }
}

/// Tries the source until its first encoded frame. Returns what is known about board and encoder.
fn try_media(trial: &mut Trial, media: &CaptureSettings) -> String {
    let (sender, events) = channel();
    let source = match Source::gstreamer(media.clone()) {
        Ok(source) => source,
        Err(e) => {
            let what = if e.kind() == ErrorKind::NoEncoder { "encoder" } else { "source" };
            trial.add(what, Err(failure(e)));
            return String::new();
        }
    };
    let producer = source.producer();
    producer.listen(Arc::new(move |event| {
        // The trial may have ended.
        _ = sender.send(event);
    }));
    let streams = producer.streams();
    let h264 = streams.iter().find(|info| info.codec == Codec::H264).map(|info| info.id);
    let began = Instant::now();
    producer.command(Command::Want(h264.into_iter().collect()));
    let mut picture = String::new();
    let outcome = decide(&events, FIRST_FRAME, |event| match event {
        SourceEvent::Streams(streams) => {
            let video = streams.iter().find(|info| Some(info.id) == h264).and_then(|info| info.video());
            if let Some(format) = video {
                picture = format!(" of {}x{}", format.width, format.height);
            }
            None
        }
        SourceEvent::Frame(frame) if Some(frame.stream) == h264 => {
            let took = began.elapsed().as_secs_f64();
            Some(Ok(format!("{} delivered a frame{picture} after {took:.1} s", media.source)))
        }
        SourceEvent::Failed(e) | SourceEvent::Stalled(e) => Some(Err(failure(e))),
        SourceEvent::Ended | SourceEvent::GaveUp | SourceEvent::Stopped => {
            Some(Err(unavailable(format!("{} ended before its first frame", media.source))))
        }
        _ => None,
    });
    let outcome = outcome.unwrap_or_else(|| {
        let seconds = FIRST_FRAME.as_secs();
        Err(unavailable(format!("{} delivered no frame in {seconds} s", media.source)))
    });
    let encoded = outcome.is_ok();
    trial.add("source", outcome);
    if encoded && media.audio && media.microphone != Microphone::None {
        trial.add("microphone", first_sound(producer, &events, &media.microphone));
    }
    producer.command(Command::Want(Default::default()));
    let name = producer.encoder().unwrap_or_default();
    trial.add(
        "encoder",
        Ok(format!("{name} {}", if encoded { "encoded it" } else { "encoded a test pattern" })),
    );
    chosen_by(&source)
}

/// Waits for the first sound of the microphone, beside the video.
fn first_sound(
    producer: &dyn Produce,
    events: &Receiver<SourceEvent>,
    microphone: &Microphone,
) -> Result<String, Failure> {
    let streams = producer.streams();
    let opus = streams.iter().find(|info| info.codec == Codec::Opus).map(|info| info.id);
    let both = streams.iter().filter(|info| [Codec::H264, Codec::Opus].contains(&info.codec));
    let began = Instant::now();
    producer.command(Command::Want(both.map(|info| info.id).collect()));
    let outcome = decide(events, FIRST_SOUND, |event| match event {
        SourceEvent::Frame(frame) if Some(frame.stream) == opus => {
            let took = began.elapsed().as_secs_f64();
            Some(Ok(format!("{microphone} delivered sound after {took:.1} s")))
        }
        SourceEvent::Failed(e) | SourceEvent::Stalled(e) | SourceEvent::Trouble(e) => Some(Err(failure(e))),
        _ => None,
    });
    outcome.unwrap_or_else(|| {
        let seconds = FIRST_SOUND.as_secs();
        Err(unavailable(format!("{microphone} delivered nothing in {seconds} s")))
    })
}

/// What the first event shows that shows anything; `None` if none does in this time.
fn decide<T>(
    events: &Receiver<SourceEvent>,
    most: Duration,
    shows: impl FnMut(SourceEvent) -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + most;
    let next = || events.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
    std::iter::from_fn(next).find_map(shows)
}

/// What was chosen for a source, and why.
fn chosen_by(source: &Source) -> String {
    let producer = source.producer();
    let made = producer.board().zip(producer.encoder_info());
    made.map(|(board, encoder)| chosen(board, encoder, true)).unwrap_or_default()
}

fn certificate(certificate: Option<&Certificate>) -> Result<String, Failure> {
    certificate.map_or(Ok("none".into()), Certificate::check)
}

/// Opens the ports for page and signalling and closes them again.
fn tcp_ports(serve: &Serve) -> Result<String, Failure> {
    let mut config = ServerConfig::listen(serve.listen.iter().copied());
    // Avoids a warning about a server that never runs.
    config.hub.authenticate = true;
    let server = Server::bind(config).map_err(listen_failure)?;
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    Ok(format!("{} available", addresses.join(", ")))
}

/// The port that the camera would ask for; 0 means any.
fn udp_number(config: &Config) -> u16 {
    let tcp = match &config.signalling {
        Signalling::Serve(serve) => serve.listen.first().map(SocketAddr::port),
        _ => None,
    };
    config.udp_port.or(tcp).unwrap_or(0)
}

fn udp_port(port: u16) -> Result<String, Failure> {
    match Udp::bind((Ipv4Addr::UNSPECIFIED, port).into()) {
        Ok(udp) => Ok(format!("{} can be used", udp.port())),
        Err(cause) => Err(unavailable(CameraError::Udp { port, cause }.to_string())),
    }
}

/// Connects to the remote server, without being announced to anybody.
fn welcome(config: &Config, connect: &Connect) -> Result<String, Failure> {
    let identity = client::Config {
        token: connect.token.clone(),
        max_attempts: Some(1),
        ..client::Config::new(&config.user)
    };
    let client = Client::new(&connect.url, identity).map_err(|e| unusable(e.into()))?;
    client.trust(connect.roots.clone());
    let (sender, events) = channel();
    client.on(move |event| {
        _ = sender.send(event);
    });
    let run = client.run();
    let late = async {
        smol::Timer::after(WELCOME).await;
    };
    let heard = client.clone();
    let ended = std::thread::spawn(move || smol::block_on(smol::future::or(run, late)));
    let place = merge::without_login(&connect.url);
    let outcome = loop {
        match events.recv_timeout(WELCOME + Duration::from_secs(1)) {
            Ok(Event::Online { .. }) => break Ok(format!("{place} admits the camera")),
            Ok(Event::Ended { why }) => {
                let kind = match why {
                    client::End::Refused { .. } => FailureKind::NoPermission,
                    _ => FailureKind::Unavailable,
                };
                break Err(Failure::new(kind, format!("{place}: {why}")));
            }
            Ok(_) => {}
            Err(_) => break Err(unavailable(format!("{place} did not answer in {} s", WELCOME.as_secs()))),
        }
    };
    heard.close();
    // No more events follow.
    _ = ended.join();
    outcome
}

fn failure(e: MediaError) -> Failure {
    let words = e.to_string();
    Failure { words, ..unusable(e.into()) }
}

fn unavailable(words: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Unavailable, words)
}

/// As for any command, except for the source: its address may contain a password in several places.
fn set_by(checked: &Checked<'_>, table: &[Setting<Settings>], sources: &SettingSources) -> String {
    let mut sources = sources.clone();
    if let Some((_, value)) = sources.get_mut("source") {
        *value = checked.media.source.to_string().into();
    }
    merge::set_by(table, &sources)
}

/// Where viewers find it, and who may come.
fn describe_place(out: &mut String, config: &Config, certificate: &str, secure: bool) {
    let mut row = |name: &str, words: String| _ = writeln!(out, "  {name:16}{words}");
    let number = |port: u16| if port == 0 { "any free port".to_owned() } else { format!("port {port}") };
    match &config.signalling {
        Signalling::Serve(serve) => {
            let scheme = if serve.tls.is_some() || secure { "https" } else { "http" };
            let port = serve.listen.first().map_or(0, SocketAddr::port);
            let all = serve.listen.iter().any(|address| address.ip().is_unspecified());
            let ips: Vec<String> = serve.listen.iter().map(|address| address.ip().to_string()).collect();
            let ips = if all { "all addresses".to_owned() } else { ips.join(", ") };
            row("listen", format!("{scheme}, {} of {ips}", number(port)));
            // The library derives this from the certificate, and a check loads none.
            let shown = |url: &String| url.replacen("http:", &format!("{scheme}:"), 1);
            let urls: Vec<String> = config.urls().iter().map(shown).collect();
            if !urls.is_empty() {
                row("page", format!("open {}", urls.join(" or ")));
            }
            row("certificate", certificate.into());
            let pages = ["its own page".to_owned()].into_iter().chain(serve.origins.iter().cloned());
            row("web pages", pages.collect::<Vec<_>>().join(", "));
            row(
                "admission",
                match &serve.token {
                    Some(_) => "with the token".into(),
                    None => "everyone".into(),
                },
            );
            if !serve.trusted_proxies.is_empty() {
                let proxies: Vec<String> = serve.trusted_proxies.iter().map(ToString::to_string).collect();
                row("proxies", proxies.join(", "));
            }
            let most = |limit: Option<usize>| limit.map_or("any number of".into(), |n| n.to_string());
            row(
                "per address",
                format!(
                    "{} sockets, {} unauthenticated, {} calls without media",
                    most(serve.max_per_address),
                    most(serve.max_unauthenticated_per_address),
                    config.max_unconnected
                ),
            );
        }
        Signalling::Connect(connect) => {
            let token = if connect.token.is_some() { "with a token" } else { "without a token" };
            row("server", format!("{}, {token}", merge::without_login(&connect.url)));
        }
        _ => {}
    }
    let advertised = config.advertise.map(|at| format!(", advertised as {at}")).unwrap_or_default();
    row("UDP", format!("{}{advertised}", number(udp_number(config))));
    row("ICE servers", config.ice_servers.len().to_string());
}

fn describe(checked: &Checked<'_>, certificate: &str) -> String {
    let config = &checked.config;
    let mut out = "symple camera would run:\n".to_owned();
    describe_place(&mut out, config, certificate, checked.certificate.is_some());
    let mut row = |name: &str, words: String| _ = writeln!(out, "  {name:16}{words}");
    let name = config.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    row("user", format!("{}{name}, in room {}", config.user, config.room));
    if let Some(user) = checked.ring {
        row("rings", user.into());
    }
    row("viewers", format!("at most {}", config.max_viewers));
    row("threads", checked.threads.to_string());
    row(
        "controls",
        match &config.controls {
            Controllers::Nobody => "set by nobody else".into(),
            who => format!("set {}", by(who)),
        },
    );
    #[cfg(feature = "talk")]
    row("talk", talk(config));
    if !checked.set.is_empty() {
        row("at the start", checked.set.join(", "));
    }
    let media = checked.media;
    let vp8 = if config.vp8 { ", VP8 for viewers without H.264" } else { "" };
    row("video", format!("at most {}x{}, {} fps{vp8}", media.width, media.height, media.fps));
    let kbit = |bps: u32| bps / 1000;
    let limits = &config.bitrate;
    row(
        "bitrate",
        format!("{} kbit/s, from {} to {}", kbit(limits.start), kbit(limits.min), kbit(limits.max)),
    );
    row(
        "audio",
        match &media.microphone {
            _ if !media.audio => "none".into(),
            Microphone::None => "if the source has it".into(),
            microphone => format!("of the microphone {microphone}"),
        },
    );
    out
}

/// Who may talk, and where it is heard.
#[cfg(feature = "talk")]
fn talk(config: &Config) -> String {
    use symple::media::playback::Audio;
    let talk = &config.talk;
    let who = by(&talk.who);
    if talk.who == Controllers::Nobody {
        return who;
    }
    let output = match &talk.output {
        Audio::Default => "the default output",
        Audio::Device { name } => name,
        Audio::Element { launch } => launch,
        _ => "no output",
    };
    let echo = match config.echo_cancellation() {
        None => String::new(),
        Some(Ok(())) => " with echo cancellation".into(),
        Some(Err(error)) => format!(" without echo cancellation: {error}"),
    };
    format!("{who}, heard at {output}, {} duplex{echo}", talk.duplex.code())
}
