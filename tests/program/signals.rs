//! SIGTERM, SIGINT, SIGHUP.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;
use rustix::process::Signal;

use crate::world::Server;

#[test]
fn a_shutdown_is_announced_after_all_queued_messages() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&["--rooms", "public"], &[]);
        let mut alice = server.peer(r#"{"type":"auth","user":"alice"}"#);
        let mut bob = server.peer(r#"{"type":"auth","user":"bob"}"#);
        for n in 0..50 {
            bob.send(&format!(r#"{{"type":"message","to":"alice","data":{n}}}"#));
        }
        // The server has received all of bob's messages, and alice has read none.
        bob.send(r#"{"type":"message","id":"last","to":"alice","receipt":true}"#);
        bob.text(r#""type":"receipt""#);
        server.program.signal(signal);
        for n in 0..50 {
            alice.text(&format!(r#""data":{n}"#));
        }
        for peer in [&mut alice, &mut bob] {
            let words = peer.text("shutdown");
            assert_eq!(
                words,
                r#"{"type":"event","name":"shutdown","subtype":"shutdown","message":"Server shutting down"}"#
            );
            let Some(Message::Close(Some(close))) = peer.next() else { panic!("no close came") };
            assert_eq!(u16::from(close.code), 1001);
        }
        drop((alice, bob));
        assert_eq!(server.program.end().code(), Some(0));
    }
}

#[test]
fn without_a_certificate_there_is_nothing_to_reload() {
    let server = Server::start(&[], &[]);
    server.program.signal(Signal::HUP);
    server.program.logs("nothing to reload");
    assert_eq!(server.get("/api/health", None).0, 200);
}

#[test]
fn without_peers_a_shutdown_is_immediate() {
    let server = Server::start(&[], &[]);
    // A browser's keep-alive connection, one in the middle of a head, and a silent one.
    let mut kept = server.tcp();
    write!(kept, "GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
    assert!(kept.read(&mut [0; 1024]).expect("it answers") > 0);
    let mut half = server.tcp();
    write!(half, "GET / HTTP/1.1\r\nHo").expect("it reads");
    let _silent = server.tcp();
    assert_eq!(server.get("/api/health", None).0, 200, "all of them are accepted by now");
    server.program.signal(Signal::TERM);
    let told = Instant::now();
    assert_eq!(server.program.end().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
}
