//! A camera to watch in a browser: the whole product, using only the public API.
//!
//! Settings come from the environment: SOURCE (test, /dev/video0, csi, a file, rtsp://…), PORT, LISTEN (an
//! address, or `all`), TOKEN, ORIGINS (comma-separated), SIZE (1280x720), FPS, BITRATE (kbit/s), NAME,
//! ADVERTISE (the address of a port forward, ip:port), UDP_PORT, VP8 (on or off), ICE (a JSON array of
//! RTCIceServer), CONNECT (a server elsewhere, wss://…), ROOTS (a PEM file for it), RING (a user to call
//! when they come online, like a doorbell).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;

use symple::camera::{Camera, Config, Connect, Event, Serve, Signalling};
use symple::client;
use symple::media::source::gst::CaptureSettings;
use symple::net::Roots;
use symple::proto::{DEFAULT_PORT, Token};

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let camera = match config(&var).and_then(|config| Camera::new(config).map_err(|e| e.to_string())) {
        Ok(camera) => camera,
        Err(words) => {
            eprintln!("cannot start the camera: {words}");
            return ExitCode::FAILURE;
        }
    };
    introduce(&camera);

    let (ring, handle) = (var("RING"), camera.clone());
    camera.on(move |event| match event {
        Event::Calling { id, peer: address } => println!("call {id}: with {}", address.user()),
        Event::ViewerJoined { viewer } => {
            let video = viewer.video.map_or("no video", |codec| codec.name());
            println!("call {}: {} is watching ({video})", viewer.id, viewer.address.user());
        }
        Event::ViewerLeft { viewer, end: reason } => println!("call {}: ended ({reason})", viewer.id),
        Event::CallFailed { id, end: reason, .. } => println!("call {id}: failed ({reason})"),
        Event::Streaming { streams } if streams.is_empty() => println!("streams: none"),
        Event::Streaming { streams } => {
            let codecs: Vec<&str> = streams.iter().map(|stream| stream.codec.name()).collect();
            println!("streams: {}", codecs.join(", "));
        }
        Event::Format { width, height, fps, .. } => {
            println!("video: {width} x {height} at {fps} fps")
        }
        Event::Bitrate { bps, .. } => println!("encoder bitrate: {} kbit/s", bps / 1000),
        Event::Quality { percent, fps, why, .. } => {
            println!("video: {percent} % of the resolution at {fps} fps: {why}")
        }
        Event::Board { message: words } => eprintln!("board: {words}"),
        Event::Media { error: trouble } => eprintln!("source: {trouble}"),
        Event::SourceEnded => println!("the source ended"),
        Event::Online { .. } => println!("online"),
        Event::Offline { reason } => eprintln!("offline: {reason}"),
        Event::Ended { reason, .. } => eprintln!("ended: {reason}"),
        // A doorbell calls whoever comes online.
        Event::Client { event: client::Event::PeerAdded { peer } } if Some(&peer.user) == ring.as_ref() => {
            if let Err(e) = handle.call(peer.address().as_str()) {
                eprintln!("cannot call {}: {e}", peer.user);
            }
        }
        _ => {}
    });
    symple::net::block_on(camera.run());
    ExitCode::SUCCESS
}

/// Prints the URL of the page, also as a QR code if a phone can reach it.
fn introduce(camera: &Camera) {
    if let Some(encoder) = camera.encoder() {
        println!("encoder: {}", encoder.name);
    }
    for url in camera.urls() {
        println!("open {url}");
    }
    let reachable = camera.urls().last().filter(|url| !url.contains("127.0.0.1") && !url.contains("[::1]"));
    if let Some(code) = reachable.and_then(|url| qrcode::QrCode::new(url).ok()) {
        println!("{}", code.render::<qrcode::render::unicode::Dense1x2>().build());
    }
}

/// An environment variable; an empty one counts as unset.
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The configuration in these variables. The error names the variable, its value, and what it must be.
pub(crate) fn config(var: &dyn Fn(&str) -> Option<String>) -> Result<Config, String> {
    let mut capture = CaptureSettings::default();
    if let Some(source) = var("SOURCE") {
        capture.source = source.parse().map_err(|e| format!("SOURCE: {e}"))?;
    }
    let sides = |size: &str| {
        let (width, height) = size.split_once('x')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    };
    if let Some(size) = read(var, "SIZE", "width and height, such as 1280x720", sides)? {
        (capture.width, capture.height) = size;
    }
    capture.fps = parsed(var, "FPS", "a whole number of frames per second")?.unwrap_or(capture.fps);
    if let Some(kbps) = parsed::<u32>(var, "BITRATE", "a whole number of kbit/s, such as 2000")? {
        capture.bitrate = kbps.saturating_mul(1000);
    }
    let mut config = Config { name: var("NAME"), ..Config::new(capture) };
    // Whoever sets it wants it, whatever the limits are.
    let limits = &mut config.bitrate;
    (limits.min, limits.max) = (limits.min.min(limits.start), limits.max.max(limits.start));
    config.udp_port = parsed(var, "UDP_PORT", PORT)?;
    config.advertise = parsed(var, "ADVERTISE", "an address and a port, such as 203.0.113.5:4500")?;
    let switch = |text: &str| match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    };
    config.vp8 = read(var, "VP8", "on or off", switch)?.unwrap_or(config.vp8);
    if let Some(ice) = var("ICE") {
        config.ice_servers =
            serde_json::from_str(&ice).map_err(|e| format!("ICE must be a JSON array: {e}"))?;
    }
    let token = var("TOKEN").map(Token::new);
    config.signalling = match var("CONNECT") {
        Some(url) => {
            let roots = match var("ROOTS") {
                Some(file) => Roots::Pem(std::fs::read(&file).map_err(|e| format!("ROOTS {file}: {e}"))?),
                None => Roots::System,
            };
            Signalling::Connect(Connect { token, roots, ..Connect::new(url) })
        }
        None => {
            let port = parsed(var, "PORT", PORT)?.unwrap_or(DEFAULT_PORT);
            let address = |text: &str| match text {
                "all" => Some(Ipv4Addr::UNSPECIFIED.into()),
                ip => ip.parse::<IpAddr>().ok(),
            };
            let ip = read(var, "LISTEN", "an address of this machine, or all", address)?;
            let listen = vec![SocketAddr::new(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), port)];
            let origins = read(var, "ORIGINS", "web origins, such as https://viewer.example, or *", origins)?;
            let origins = origins.unwrap_or_default();
            Signalling::Serve(Serve { listen, token, origins, ..Serve::default() })
        }
    };
    Ok(config)
}

const PORT: &str = "a port, 0 to 65535";

fn origins(list: &str) -> Option<Vec<String>> {
    let origins = list.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    origins.map(|origin| (origin == "*" || origin.contains("://")).then(|| origin.into())).collect()
}

fn parsed<T: FromStr>(
    var: &dyn Fn(&str) -> Option<String>,
    name: &str,
    must_be: &str,
) -> Result<Option<T>, String> {
    read(var, name, must_be, |text| text.parse().ok())
}

fn read<T>(
    var: &dyn Fn(&str) -> Option<String>,
    name: &str,
    must_be: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, String> {
    let wrong = |value: &str| format!("{name} must be {must_be}, not {value:?}");
    var(name).map(|value| parse(value.trim()).ok_or_else(|| wrong(&value))).transpose()
}
