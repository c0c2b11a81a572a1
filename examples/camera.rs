//! A camera to watch in a browser: the whole product, using only the public API.
//!
//! Settings come from the environment: SOURCE (test, /dev/video0, a file, rtsp://…), PORT, LISTEN (an
//! address, or `all`), TOKEN, ORIGINS (comma-separated), SIZE (1280x720), FPS, BITRATE (kbit/s), NAME,
//! ADVERTISE (the address of a port forward, ip:port), UDP_PORT, VP8 (off), ICE (a JSON array of
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
    let camera = match config().and_then(|config| Camera::new(config).map_err(|e| e.to_string())) {
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

fn config() -> Result<Config, String> {
    let mut capture = CaptureSettings::default();
    if let Some(source) = var("SOURCE") {
        capture.source = source.parse().map_err(|e| format!("SOURCE: {e}"))?;
    }
    if let Some(size) = var("SIZE") {
        let sides = size.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
        (capture.width, capture.height) = sides.ok_or("SIZE must look like 1280x720")?;
    }
    capture.fps = parsed("FPS")?.unwrap_or(capture.fps);
    if let Some(kbps) = parsed::<u32>("BITRATE")? {
        capture.bitrate = kbps.saturating_mul(1000);
    }
    let mut config = Config { name: var("NAME"), udp_port: parsed("UDP_PORT")?, ..Config::new(capture) };
    config.advertise = parsed("ADVERTISE")?;
    config.vp8 = var("VP8").is_none_or(|on| on != "off");
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
            let port = parsed("PORT")?.unwrap_or(DEFAULT_PORT);
            let ip = match var("LISTEN").as_deref() {
                None => Ipv4Addr::LOCALHOST.into(),
                Some("all") => Ipv4Addr::UNSPECIFIED.into(),
                Some(ip) => {
                    IpAddr::from_str(ip).map_err(|_| "LISTEN must be an address of this machine, or all")?
                }
            };
            let origins = var("ORIGINS").unwrap_or_default();
            let origins =
                origins.split(',').map(str::trim).filter(|o| !o.is_empty()).map(String::from).collect();
            Signalling::Serve(Serve {
                listen: vec![SocketAddr::new(ip, port)],
                token,
                origins,
                ..Serve::default()
            })
        }
    };
    Ok(config)
}

/// A setting; an empty one counts as unset.
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(name: &str) -> Result<Option<T>, String> {
    var(name).map(|value| value.parse().map_err(|e| format!("{name}={value}: {e}"))).transpose()
}
