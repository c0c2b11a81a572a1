//! The firmware serves its page, and its camera is online for clients with the token.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use symple::client::{Config, Event};
use symple::Client;
use symple::proto::Token;

/// Far longer than it takes, also in an emulator; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_token_gives_access_to_the_camera() {
    let camera = firmware::camera("test", "127.0.0.1:0".parse().expect("literal"), "secret").expect("a camera");
    let address = camera.server().expect("its own").addresses()[0];
    let running = std::thread::spawn({
        let run = camera.run();
        move || smol::block_on(run)
    });

    let mut page = TcpStream::connect(address).expect("it listens");
    page.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(page, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut text = String::new();
    page.read_to_string(&mut text).expect("it answers");
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("<video"), "{text}");

    let (tell, told) = mpsc::channel();
    let url = format!("ws://{address}");
    let token = Some(Token::new("secret"));
    let viewer = Client::new(&url, Config { token, ..Config::new("viewer") }).expect("a good address");
    viewer.on(move |event| _ = tell.send(event));
    let watching = std::thread::spawn({
        let run = viewer.run();
        move || smol::block_on(run)
    });
    loop {
        match told.recv_timeout(PATIENCE).expect("the camera is in the room") {
            Event::PeerAdded { peer } if peer.user == "camera" => break,
            Event::Ended { why } => panic!("refused: {why}"),
            _ => {}
        }
    }
    viewer.close();
    camera.shutdown();
    watching.join().expect("the viewer ends");
    running.join().expect("the camera ends");
}
