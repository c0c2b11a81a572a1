//! The examples of cameras, watched over real sockets.
#![cfg(feature = "camera")]

#[cfg(all(feature = "camera-gst", feature = "tls", feature = "web"))]
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/camera.rs"]
mod camera;
#[cfg(feature = "gst")]
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/firmware.rs"]
mod firmware;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/pushed.rs"]
mod pushed;
#[path = "whole_call/side.rs"]
mod side;
#[path = "whole_call/viewer.rs"]
mod viewer;

use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::zip;
use side::Side;
use symple::media::frame::sps::{Sps, is_idr};
use viewer::Enough;

/// A timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

const PICTURES: usize = 40;

#[test]
fn pushed_frames_reach_a_viewer() {
    let camera = pushed::camera("127.0.0.1:0".parse().expect("literal")).expect("nothing is missing");
    let url = format!("ws://{}", camera.server().expect("its own").addresses()[0]);
    let watch = Side::new(&url, "viewer");
    let client = watch.client.clone();
    let call = async {
        let watched = viewer::watch(watch, true, Enough { pictures: PICTURES, sounds: 0 }).await;
        client.close();
        camera.shutdown();
        watched
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("fewer than {PICTURES} frames within {PATIENCE:?}");
    };
    let drivers = zip(camera.run(), client.run());
    let watched = smol::block_on(async { zip(call, drivers).await.0 }.or(late));
    assert_eq!(watched.pictures.len(), PICTURES);
    assert!(is_idr(&watched.pictures[0]), "the first frame can be decoded");
    let sps = Sps::find(&watched.pictures[0]).expect("with parameter sets before it");
    assert_eq!((sps.width, sps.height), (320, 180));
}

#[cfg(feature = "gst")]
#[test]
fn the_firmware_shows_both_cameras_and_executes_commands() {
    use std::time::Instant;

    use futures_lite::StreamExt;
    use serde_json::json;
    use symple::Client;
    use symple::client::{self, Event};
    use symple::net::ClientEvent;
    use symple::proto::Token;

    let firmware = firmware::Firmware::new("127.0.0.1:0".parse().expect("literal")).expect("it starts");
    let url = format!("ws://{}", firmware.server.addresses()[0]);
    let token = || Some(Token::new("wonderland"));
    let enter = |user: &str, token| {
        let config = client::Config { rooms: vec!["public".into()], token, ..client::Config::new(user) };
        Client::new(&url, config).expect("a good address")
    };
    // A client without a token is not admitted; a guest is, but its call is not accepted.
    let stranger = enter("stranger", None);
    let mut refused = stranger.events(16);
    let views = async {
        for camera in ["door", "yard"] {
            let mut watch = Side::new(&url, "viewer");
            watch.camera = camera;
            watch.client.set_token(token());
            let client = watch.client.clone();
            let watched = viewer::watch(watch, true, Enough { pictures: 10, sounds: 0 });
            let watched = zip(async { (watched.await, client.close()).0 }, client.run()).await.0;
            assert_eq!(watched.pictures.len(), 10, "{camera}: {}", watched.reason);
        }
        let mut guest = Side::new(&url, "guest");
        (guest.camera, _) = ("door", guest.client.set_token(token()));
        let client = guest.client.clone();
        let watched = viewer::watch(guest, true, Enough { pictures: 1, sounds: 0 });
        let watched = zip(async { (watched.await, client.close()).0 }, client.run()).await.0;
        assert_eq!(watched.reason, "declined");

        let page = enter("page", token());
        let mut events = page.events(64);
        let asks = async {
            let door = loop {
                match events.next().await {
                    Some(ClientEvent::Event { event: Event::PeerAdded { peer } }) if peer.user == "door" => {
                        break peer;
                    }
                    Some(_) => {}
                    None => panic!("the page is online"),
                }
            };
            let asked = page.command(door.address().as_str(), "pan", "left", &json!(null)).expect("online");
            loop {
                match events.next().await {
                    Some(ClientEvent::Event { event: Event::Reply { id, result } }) if id == asked => {
                        let degrees: serde_json::Value = result.expect("a reply").data().expect("data");
                        break assert_eq!(degrees, json!({ "degrees": -5 }));
                    }
                    Some(_) => {}
                    None => panic!("the page is online"),
                }
            }
            page.close();
        };
        zip(asks, page.run()).await;
        let address = firmware.server.addresses()[0];
        let ask = |request: String| {
            smol::unblock(move || {
                use std::io::{Read, Write};
                let mut tcp = std::net::TcpStream::connect(address).expect("it listens");
                let head = "HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\nConnection: close\r\n";
                write!(tcp, "{}", request.replace("HEAD", head)).expect("open");
                let mut answer = String::new();
                tcp.read_to_string(&mut answer).expect("a whole answer");
                answer
            })
        };
        let led = ask("PUT /api/led HEADContent-Length: 4\r\n\r\ntrue".into()).await;
        assert!(led.ends_with(r#"{"by":"test","led":true}"#), "{led}");
        let log = ask("GET /api/log HEAD\r\n".into()).await;
        assert!(log.contains("line 0") && log.contains("line 2"), "{log}");
        let picture = ask("GET /door.jpg HEAD\r\n".into()).await;
        assert!(picture.starts_with("HTTP/1.1 401"), "{picture}");
        match firmware.door.snapshot().await {
            Ok(snapshot) => assert_eq!(snapshot.jpeg[..2], [0xff, 0xd8], "JPEG begins so"),
            Err(symple::camera::SnapshotError::NoJpeg) => println!("SKIPPED: no JPEG encoder here"),
            Err(e) => panic!("{e}"),
        }
        firmware.press("night");
        assert_eq!(firmware.door.status().bitrate, 150_000);
        let began = Instant::now();
        firmware.press("end");
        began
    };
    let strangers = async {
        loop {
            if let Some(ClientEvent::Event { event: Event::Ended { why } }) = refused.next().await {
                break assert!(matches!(why, client::End::Refused { .. }), "{why}");
            }
        }
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("not done within {PATIENCE:?}");
    };
    let all = zip(zip(views, firmware.run()), zip(stranger.run(), strangers));
    let began = smol::block_on(async { all.await.0.0 }.or(late));
    assert!(began.elapsed() < Duration::from_secs(1), "it ended after {:?}", began.elapsed());
}

#[cfg(all(feature = "camera-gst", feature = "tls", feature = "web"))]
#[test]
fn wrong_variables_of_the_camera_are_repeated_with_what_they_must_be() {
    let with = |name: &'static str, value: &'static str| {
        camera::config(&move |asked| (asked == name).then(|| value.to_owned()))
    };
    for (name, value, must_be) in [
        ("PORT", "abc", "a port, 0 to 65535"),
        ("PORT", "99999", "a port, 0 to 65535"),
        ("UDP_PORT", "-1", "a port, 0 to 65535"),
        ("FPS", "x", "a whole number of frames per second"),
        ("BITRATE", "5M", "a whole number of kbit/s, such as 2000"),
        ("SIZE", "big", "width and height, such as 1280x720"),
        ("ADVERTISE", "x", "an address and a port, such as 203.0.113.5:4500"),
        ("VP8", "maybe", "on or off"),
        ("LISTEN", "xyz", "an address of this machine, or all"),
        ("ORIGINS", "foo", "web origins, such as https://viewer.example, or *"),
        ("ORIGINS", "https://a.example,foo", "web origins, such as https://viewer.example, or *"),
    ] {
        let words = with(name, value).map(drop).expect_err(value);
        assert_eq!(words, format!("{name} must be {must_be}, not \"{value}\""));
    }
    for bitrate in ["100", "9000"] {
        assert_eq!(with("BITRATE", bitrate).expect("right").bitrate.check(), Ok(()), "{bitrate} kbit/s");
    }
    assert!(!with("VP8", "off").expect("right").vp8 && with("VP8", "on").expect("right").vp8);
    for (name, value) in
        [("LISTEN", "all"), ("LISTEN", "::1"), ("ORIGINS", "*"), ("ORIGINS", "https://a.example,")]
    {
        assert!(with(name, value).is_ok(), "{name}={value}");
    }
}
