//! Input at the TCP port: heads of HTTP requests, and WebSocket frames before admission.

use std::io::Cursor;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use async_tungstenite::tungstenite::{Error, Message};
use futures_lite::future::block_on;
use hyper::{Method, StatusCode, Version};

use super::bytes::{Bytes, valid};
use crate::net::http::Response;
use crate::net::http::{Rules, answer};
use crate::net::ws::Gate;
use crate::net::{Network, Origins};

/// The gate before `welcome`: it accepts the same frames as a second parser, however the bytes are split, and the
/// WebSocket library never sees a frame over the limit.
pub fn frames(data: &[u8]) {
    let mut bytes = Bytes(data);
    let max = bytes.pick(&[0, 125, 126, 1000, 16 << 10]);
    let step = usize::from(bytes.u8()) + 1;
    let stream = bytes.0;
    let gate = || Gate::new(max, Arc::default());
    let mut whole = gate();
    let passed = whole.pass(stream);
    assert_eq!(whole.is_over(), passed < stream.len());
    let mut pieces = gate();
    let mut by_pieces = 0;
    for piece in stream.chunks(step) {
        let n = pieces.pass(piece);
        by_pieces += n;
        if n < piece.len() {
            break;
        }
    }
    assert_eq!((pieces.is_over(), by_pieces), (whole.is_over(), passed), "in pieces of {step}");
    match over(stream, max as u64) {
        Some((begin, end)) => assert!((begin..end).contains(&passed), "{passed} not in {begin}..{end}"),
        None => assert_eq!(passed, stream.len()),
    }
    let config = WebSocketConfig::default().max_message_size(Some(max)).max_frame_size(Some(max));
    let mut socket =
        WebSocket::from_raw_socket(Answers(Cursor::new(&stream[..passed])), Role::Server, Some(config));
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => assert!(text.len() <= max),
            Ok(Message::Binary(bytes)) => assert!(bytes.len() <= max),
            Ok(_) => {}
            Err(Error::Capacity(e)) => panic!("passed the gate: {e}"),
            Err(_) => break,
        }
    }
}

/// Reads from a slice, and accepts all writes.
struct Answers<'a>(Cursor<&'a [u8]>);

impl std::io::Read for Answers<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buf)
    }
}

impl std::io::Write for Answers<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The offset of the first frame that is too large for its message, and the end of its head (RFC 6455, 5.2).
fn over(stream: &[u8], max: u64) -> Option<(usize, usize)> {
    let (mut at, mut message) = (0usize, 0u64);
    loop {
        let head = stream.get(at..)?;
        let (first, second) = (head.first()?, head.get(1)?);
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let end = 2 + extended + if second & 0x80 == 0 { 0 } else { 4 };
        let head = head.get(..end)?;
        let payload = match extended {
            0 => u64::from(second & 0x7f),
            _ => head[2..2 + extended].iter().fold(0, |n, byte| n << 8 | u64::from(*byte)),
        };
        let opcode = first & 0x0f;
        let sum = payload.saturating_add(if opcode == 0 { message } else { 0 });
        if sum > max {
            return Some((at, at + end));
        }
        if opcode < 8 {
            message = sum;
        }
        at = at.checked_add(end)?.checked_add(usize::try_from(payload).ok()?)?;
    }
}

const PEERS: [&str; 4] = ["203.0.113.5", "127.0.0.1", "10.0.0.1", "2001:db8::5"];
const ALLOWED: &str = "https://viewer.example";

/// Heads of requests: a WebSocket opens only as the rules allow, and the client's address is the peer's unless a
/// trusted proxy reports another.
///
/// The input is the head of the request: its first line, then `name: value` lines.
pub fn http(data: &[u8]) {
    let mut bytes = Bytes(data);
    let peer: IpAddr = bytes.pick(&PEERS).parse().expect("literal");
    let proxies: Vec<Network> = match bytes.u8() & 1 {
        0 => vec![],
        _ => vec!["10.0.0.0/8".parse().expect("literal"), "127.0.0.1".parse().expect("literal")],
    };
    let trusted = proxies.iter().any(|p| p.contains(peer));
    let mut lines = bytes.0.split(|byte| *byte == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let mut words = valid(lines.next().unwrap_or_default()).split(' ');
    let (method, path) = (words.next().unwrap_or("GET"), words.next().unwrap_or("/"));
    let version = if words.next() == Some("HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut request = hyper::Request::builder().method(method).uri(path).version(version);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    let Ok(request) = request.body(http_body_util::Empty::new()) else { return };
    let handler = |asked: &crate::net::http::Request| {
        asked.bearer().map(|b| Response::text(if b == "right" { 200 } else { 401 }, "x"))
    };
    let origins = Origins::OwnAnd { others: vec![ALLOWED.into()] };
    let answers = crate::net::http::Answers { handler: Some(Arc::new(handler)), ..Default::default() };
    let rules = Rules::new(origins, answers, proxies, Arc::default());
    let upgrade = Mutex::new(None);
    let response = block_on(answer(&rules, request.clone(), peer, &upgrade));
    let headers = request.headers();
    let upgraded = upgrade.into_inner().expect("no panic under this lock");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(upgraded.is_some(), response.status() == StatusCode::SWITCHING_PROTOCOLS);
    if let Some(from) = upgraded {
        assert!(trusted || from == peer, "no trusted proxy reported {from}");
        let told = headers.get_all("x-forwarded-for").iter().chain(headers.get_all("x-real-ip"));
        let told =
            told.flat_map(|v| v.as_bytes().split(|b| *b == b',')).filter_map(|b| std::str::from_utf8(b).ok());
        let mut told = told.map(str::trim).filter_map(|text| {
            text.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()))
        });
        assert!(from == peer || told.any(|ip| ip.to_canonical() == from), "no header contains {from}");
        assert_eq!((request.method(), version), (&Method::GET, Version::HTTP_11));
        assert_eq!(headers.get_all("host").iter().count(), 1);
        assert_eq!(headers["sec-websocket-version"], "13");
        let origins: Vec<&str> =
            headers.get_all("origin").iter().map(|o| o.to_str().expect("text")).collect();
        let host = headers["host"].to_str().expect("text");
        let own = |o: &str| o.split_once("://").is_some_and(|(_, a)| a.eq_ignore_ascii_case(host));
        assert!(origins.len() < 2 && origins.iter().all(|o| own(o) || o.eq_ignore_ascii_case(ALLOWED)));
    }
    if response.status() == StatusCode::OK {
        assert!(valid(headers["authorization"].as_bytes()).ends_with("right"), "nothing without a token");
    }
}

/// Networks in CIDR notation: printing reverses parsing, and membership matches the bits.
pub fn network(data: &[u8]) {
    let mut bytes = Bytes(data);
    let address: [u8; 16] = std::array::from_fn(|_| bytes.u8());
    let text = valid(bytes.0);
    let Ok(network) = text.parse::<Network>() else { return };
    let printed = network.to_string();
    assert_eq!(printed.parse::<Network>(), Ok(network), "{text}");
    let (first, bits) = match printed.split_once('/') {
        Some((first, bits)) => (first, bits.parse::<u32>().expect("printed")),
        None => (&*printed, if printed.contains(':') { 128 } else { 32 }),
    };
    let first: IpAddr = first.parse().expect("printed");
    assert!(network.contains(first));
    let v6 = IpAddr::from(address).to_canonical();
    let v4 = IpAddr::from([address[0], address[1], address[2], address[3]]);
    for ip in [v4, v6] {
        let shares = match (first, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u32::from(a) ^ u32::from(b)).leading_zeros() >= bits,
            (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b)).leading_zeros() >= bits,
            _ => false,
        };
        assert_eq!(network.contains(ip), shares, "{ip} in {network}");
        if let IpAddr::V4(ip) = ip {
            assert_eq!(network.contains(ip.to_ipv6_mapped().into()), shares, "{ip} in its IPv6-mapped form");
        }
    }
}
