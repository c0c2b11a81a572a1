//! A client that closes receives the server's answer after everything else on its way, and ends at once.
#![cfg(feature = "client")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use symple::Client;
use symple::client::{Config, Event};
use tungstenite::Message;

const WELCOME: &str = r#"{"type":"welcome","protocol":"symple/4","status":200,"peer":{"id":"1","user":"alice","name":"alice","online":true},"rooms":["alice"]}"#;

#[test]
fn frames_in_transit_do_not_delay_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("bound"));
    let server = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().expect("one is coming");
        let mut ws = tungstenite::accept(tcp).expect("it speaks WebSocket");
        ws.read().expect("auth");
        ws.send(Message::text(WELCOME)).expect("it reads");
        loop {
            match ws.read() {
                Ok(Message::Close(_)) | Err(_) => break,
                Ok(_) => {}
            }
        }
        // The library buffers the answer to the close, so these frames precede it on the wire.
        ws.get_mut().write_all(&[0x81, 2, b'{', b'}'].repeat(5)).expect("it reads");
        _ = ws.flush();
        // Now the client has to end.
        while ws.get_mut().read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
    });
    let client = Client::new(&url, Config::new("alice")).expect("a good address");
    client.on({
        let client = client.clone();
        move |event| {
            if matches!(event, Event::Online { .. }) {
                client.close();
            }
        }
    });
    let began = Instant::now();
    smol::block_on(client.run());
    assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
    server.join().expect("no panic");
}
