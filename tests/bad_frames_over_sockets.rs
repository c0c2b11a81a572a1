//! Faults below the core: frames that violate WebSocket, invalid HTTP, and sockets that end in the middle. The server
//! continues and other peers notice nothing.
#![cfg(all(feature = "client", feature = "server"))]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use symple::client::{Config, Event};
use symple::net::http::Response;
use symple::net::{Origins, ServerConfig};
use symple::proto::{Draft, MessageKind};
use symple::{Client, Server};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

const PATIENCE: Duration = Duration::from_secs(20);

fn serve(config: ServerConfig) -> (Server, SocketAddr) {
    let server = Server::bind(config).expect("a free port");
    let run = server.run();
    std::thread::spawn(move || smol::block_on(run));
    let address = server.addresses()[0];
    (server, address)
}

fn any_port() -> ServerConfig {
    ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")])
}

fn tcp(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).expect("the server listens");
    tcp.set_read_timeout(Some(PATIENCE)).expect("not zero");
    tcp
}

fn ws(address: SocketAddr) -> WebSocket<TcpStream> {
    tungstenite::client(format!("ws://{address}/any/path?at=all"), tcp(address)).expect("upgraded").0
}

fn admitted(address: SocketAddr, user: &str) -> WebSocket<TcpStream> {
    let mut ws = ws(address);
    ws.send(Message::text(format!(r#"{{"type":"auth","user":"{user}","rooms":["team"]}}"#))).expect("open");
    assert!(text(&mut ws).contains(r#""type":"welcome""#));
    ws
}

fn text(ws: &mut WebSocket<TcpStream>) -> String {
    loop {
        match ws.read().expect("a frame") {
            Message::Text(text) => return text.as_str().to_owned(),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

/// The next `error`; presences of a roster may precede it.
fn error(ws: &mut WebSocket<TcpStream>) -> String {
    loop {
        let said = text(ws);
        if said.contains(r#""type":"error""#) {
            return said;
        }
    }
}

/// Reads until the close, and returns its code.
fn closed(ws: &mut WebSocket<TcpStream>) -> Option<CloseCode> {
    loop {
        match ws.read() {
            Ok(Message::Close(frame)) => return frame.map(|f| f.code),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// A frame according to RFC 6455, masked with zeros, with any content.
fn frame(first: u8, len: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | 127];
    frame.extend(len.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn raw(ws: &mut WebSocket<TcpStream>, first: u8, len: u64, payload: &[u8]) {
    ws.get_mut().write_all(&frame(first, len, payload)).expect("open");
}

struct Bystanders {
    alice: Client,
    heard: Receiver<Event>,
}

impl Bystanders {
    fn new(address: SocketAddr) -> Self {
        let config = |user: &str| Config { rooms: vec!["team".into()], ..Config::new(user) };
        let url = format!("ws://{address}");
        let [alice, bob] =
            ["alice", "bob"].map(|user| Client::new(&url, config(user)).expect("a good address"));
        let (tell, heard) = channel();
        bob.on(move |event| _ = tell.send(event));
        let (online, admitted) = channel();
        alice.on(move |event| _ = online.send(matches!(event, Event::Online { .. })));
        for client in [&bob, &alice] {
            let run = client.run();
            std::thread::spawn(move || smol::block_on(run));
        }
        let them = Bystanders { alice, heard };
        them.wait(|e| matches!(e, Event::PeerAdded { peer: p } if p.user == "alice"));
        // Bob may hear of alice before she does.
        while !admitted.recv_timeout(PATIENCE).expect("alice is admitted") {}
        them
    }

    fn wait(&self, is: impl Fn(&Event) -> bool) {
        while !is(&self.heard.recv_timeout(PATIENCE).expect("the others continue")) {}
    }

    fn still_talk(&self, about: &str) {
        self.alice
            .send(Draft::new(MessageKind::Message).to("bob").data(about))
            .expect("alice is still online");
        self.wait(|e| match e {
            Event::Offline { reason, .. } => panic!("bob was affected: {reason}"),
            Event::Message { message: m } => m.data::<String>().is_ok_and(|d| d == about),
            _ => false,
        });
    }
}

#[test]
fn frames_that_violate_the_protocol_only_end_their_own_socket() {
    let (server, address) = serve(any_port());
    let others = Bystanders::new(address);
    for live in [false, true] {
        let open = |name: &str| if live { admitted(address, name) } else { ws(address) };

        let mut peer = open("binary");
        peer.send(Message::binary(vec![1, 2, 3])).expect("open");
        let said = error(&mut peer);
        assert!(said.contains(r#""status":400"#), "{said}");
        assert_eq!(closed(&mut peer), Some(CloseCode::Unsupported));
        others.still_talk("binary");

        let mut peer = open("huge");
        raw(&mut peer, 0x81, 1 << 40, b"{");
        assert!(error(&mut peer).contains(r#""status":413"#));
        assert_eq!(closed(&mut peer), Some(CloseCode::Size));
        others.still_talk("huge");

        let mut peer = open("mojibake");
        raw(&mut peer, 0x81, 4, b"\xff\xfe{}");
        assert_eq!(closed(&mut peer), Some(CloseCode::Invalid));
        others.still_talk("mojibake");

        let mut peer = open("reserved");
        raw(&mut peer, 0xf1, 2, b"{}");
        assert_eq!(closed(&mut peer), Some(CloseCode::Protocol));
        others.still_talk("reserved");

        let mut peer = open("unmasked");
        peer.get_mut().write_all(&[0x81, 2, b'{', b'}']).expect("open");
        assert_eq!(closed(&mut peer), Some(CloseCode::Protocol));
        others.still_talk("unmasked");

        // A frame that is never completed, and a socket that just closes.
        let mut peer = open("half");
        raw(&mut peer, 0x81, 100, b"{\"type\":");
        drop(peer);
        others.still_talk("half");

        // Fragments add up to one frame, with a ping between them.
        let mut peer = open("fragments");
        raw(&mut peer, 0x01, 8, b"{\"type\":");
        raw(&mut peer, 0x89, 0, b"");
        raw(&mut peer, 0x80, 4, b"\"x\"}");
        assert!(error(&mut peer).contains(if live { r#""status":400"# } else { r#""status":401"# }));
        others.still_talk("fragments");
    }
    server.shutdown();
}

#[test]
fn a_configured_limit_is_enforced() {
    let mut config = any_port();
    config.hub.max_message_size = 1000;
    let (server, address) = serve(config);
    let mut peer = admitted(address, "alice");
    peer.send(Message::text(format!(r#"{{"type":"event","x":"{}"}}"#, "y".repeat(1000)))).expect("open");
    assert!(error(&mut peer).contains(r#""status":413"#));
    assert_eq!(closed(&mut peer), Some(CloseCode::Size));
    server.shutdown();
}

#[test]
fn before_welcome_a_frame_over_16_kib_is_refused_by_its_head() {
    let (server, address) = serve(any_port());
    let auth = br#"{"type":"auth","user":"alice"}"#;
    for (name, words, frames) in [
        ("the head alone", "16384 bytes", &[(0x81, (16 << 10) + 1, &b""[..])][..]),
        ("fragments", "16384 bytes", &[(0x01, 9 << 10, &[b' '; 9 << 10][..]), (0x80, 9 << 10, b"")]),
        ("behind an auth", r#""status":413"#, &[(0x81, auth.len() as u64, auth), (0x81, 17 << 10, b"")]),
    ] {
        let mut peer = ws(address);
        // All at once, so that nobody is admitted in between.
        let all: Vec<u8> =
            frames.iter().flat_map(|(first, len, payload)| frame(*first, *len, payload)).collect();
        peer.get_mut().write_all(&all).expect("open");
        let said = error(&mut peer);
        assert!(said.contains(words), "{name}: {said}");
        assert_eq!(closed(&mut peer), Some(CloseCode::Size), "{name}");
    }
    // An admitted peer may send more at once.
    let mut peer = admitted(address, "alice");
    let long = "x".repeat(100_000);
    peer.send(Message::text(format!(r#"{{"type":"message","id":"1","to":"{long}","receipt":true}}"#)))
        .expect("open");
    assert!(text(&mut peer).contains(r#""type":"receipt""#));
    server.shutdown();
}

#[test]
fn the_sender_of_a_frame_larger_than_all_buffers_gets_the_reason() {
    let (server, address) = serve(any_port());
    let mut peer = admitted(address, "alice");
    let frame =
        [&[0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 0][..], &vec![b'x'; 6 << 20]].concat();
    let mut writing = peer.get_ref().try_clone().expect("a socket");
    let writer = std::thread::spawn(move || writing.write_all(&frame));
    assert!(error(&mut peer).contains(r#""status":413"#));
    assert_eq!(closed(&mut peer), Some(CloseCode::Size));
    writer.join().expect("no panic").expect("it is read completely");
    server.shutdown();
}

#[test]
fn a_full_server_reports_that_it_is_full() {
    let mut config = any_port();
    config.hub.max_connections = 1;
    let (server, address) = serve(config);
    let _one = admitted(address, "alice");
    let mut two = ws(address);
    assert!(error(&mut two).contains(r#""status":503"#));
    assert_eq!(closed(&mut two), Some(CloseCode::Again));
    server.shutdown();
}

#[test]
fn a_shutdown_is_announced_and_closes_with_1001() {
    let (server, address) = serve(any_port());
    let mut peer = admitted(address, "alice");
    server.shutdown();
    assert_eq!(
        text(&mut peer),
        r#"{"type":"event","name":"shutdown","subtype":"shutdown","message":"Server shutting down"}"#
    );
    assert_eq!(closed(&mut peer), Some(CloseCode::Away));
}

#[test]
fn http_is_answered_besides_websocket() {
    let config = any_port().http(|request| {
        if request.path() == "/more" {
            let more = Response::text(200, "no split\n").header("X-A", "1").header("X-B", "1\r\nno split");
            return Some(more.header("X-A", "2"));
        }
        let known =
            request.path() == "/hello" && request.query() == Some("x=1") && request.bearer() == Some("t");
        known.then(|| Response { etag: Some("\"1\"".into()), ..Response::text(200, "hi\n") })
    });
    let (server, address) =
        serve(ServerConfig { origins: Some(Origins::OwnAnd { others: vec![] }), ..config });
    let others = Bystanders::new(address);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    let (foreign, no_key) = (
        format!("GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\n{upgrade}{key}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n"),
    );
    let old = format!("GET / HTTP/1.1\r\nHost: a\r\n{}{key}\r\n", upgrade.replace("13", "8"));
    let good = format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}{key}\r\n");
    for (request, status, says) in [
        (
            "GET /hello?x=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\nConnection: close\r\n\r\n",
            200,
            "hi",
        ),
        (
            "GET /hello?x=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\nIf-None-Match: \"1\"\r\nConnection: close\r\n\r\n",
            304,
            "etag",
        ),
        ("GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404, "WebSocket"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            405,
            "allow: GET, HEAD",
        ),
        // A host's own headers, except one that would inject another line.
        ("GET /more HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, "x-a: 1\r\nx-a: 2\r\n"),
        ("GET /more HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, "no split"),
        (&foreign, 403, "origin"),
        (&no_key, 400, "Sec-WebSocket-Key"),
        (&old, 426, "sec-websocket-version: 13"),
        // RFC 6455, section 1.3: the sample key and its answer.
        (&good, 101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("\r\n\r\nnonsense at all\r\n\r\n", 400, ""),
        (&long, 431, ""),
    ] {
        let mut socket = tcp(address);
        socket.write_all(request.as_bytes()).expect("open");
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        while !String::from_utf8_lossy(&answer).to_ascii_lowercase().contains(&says.to_ascii_lowercase())
            || answer.is_empty()
        {
            match socket.read(&mut part) {
                Ok(0) | Err(_) => break,
                Ok(n) => answer.extend(&part[..n]),
            }
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {answer:.200}");
        assert!(answer.to_ascii_lowercase().contains(&says.to_ascii_lowercase()), "{request:.60}: {answer}");
        others.still_talk("still");
    }
    server.shutdown();
}

#[test]
fn a_stopped_reader_is_closed_and_the_others_do_not_wait() {
    let (server, address) = serve(any_port());
    let others = Bystanders::new(address);
    let mut deaf = admitted(address, "deaf");
    let mut sent = 0;
    // Its socket's buffers and its queue take some MB; then it is closed, and announced as offline.
    let gone = loop {
        match others.alice.send(Draft::new(MessageKind::Message).to("team").data(&"x".repeat(200_000))) {
            Ok(_) => sent += 1,
            Err(symple::client::SendError::Full) => std::thread::yield_now(),
            Err(e) => panic!("{e}"),
        }
        let left = |e: Event| matches!(e, Event::PeerRemoved { peer: p } if p.user == "deaf");
        if others.heard.try_iter().any(left) {
            break true;
        }
        if sent > 2000 {
            break false;
        }
    };
    assert!(gone, "{sent} messages of 200 kB were sent and it is still online");
    others.still_talk("after");
    // The data in its socket's buffer ends in the middle of a frame.
    assert!(closed(&mut deaf).is_none_or(|code| code == CloseCode::Policy));
    server.shutdown();
}
