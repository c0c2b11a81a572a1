//! A program that watches a camera steers it by their call's channel, over real sockets, while the server is away.
#![cfg(all(feature = "channels", feature = "calls"))]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, zip};
use serde_json::json;
use symple::calling::{Call, Calling};
use symple::camera::{Camera, Config, Connect, Event, Signalling};
use symple::client::{self, RequestError};
use symple::media::source::Source;
use symple::media::{Codec, Kind};
use symple::net::{ClientEvent, ServerConfig};
use symple::proto::{Draft, MessageKind, Status};
use symple::{Client, Server};

/// Long enough for a machine with other load.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn commands_are_answered_while_the_server_is_away() {
    let server = Server::bind(ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")]));
    let server = server.expect("a free port");
    let url = format!("ws://{}", server.addresses()[0]);

    let (source, _feed) = Source::push(Codec::H264);
    let camera = Camera::new(Config {
        signalling: Signalling::Connect(Connect::new(&url)),
        user: "door".into(),
        ..Config::new(source)
    });
    let camera = camera.expect("it needs no device");
    camera.on_command("pan", |command| {
        let data = json!({ "to": command.action(), "by": command.from().map(|from| from.user()) });
        command.reply(Status::OK, &data).expect("there is a way");
    });
    let (heard, hears) = mpsc::channel();
    let handle = camera.clone();
    camera.on(move |event| match event {
        // A program that answers commands itself does so as ever.
        Event::Client { event: client::Event::Command { command } } => {
            handle.client().reply(&command, Status(202), &json!("soon")).expect("there is a way");
            handle.client().reply(&command, Status::FORBIDDEN, &json!("no")).expect("there is a way");
        }
        Event::Client { event: client::Event::Message { message } } => {
            // The server says something at its end, too.
            message.raw("data").into_iter().for_each(|data| _ = heard.send(data.to_owned()));
        }
        _ => {}
    });

    let config = client::Config { rooms: vec!["public".into()], ..client::Config::new("alice") };
    let client = Client::new(&url, config).expect("a good address");
    let calling = Calling::new(&client).expect("a free port");
    let mut events = client.events(64);
    let (serves, films) = (server.run(), camera.run());
    let (connects, calls) = (client.run(), calling.run());
    for run in [thread::spawn(move || block_on(serves)), thread::spawn(move || block_on(films))] {
        drop(run);
    }
    thread::spawn(move || block_on(zip(connects, calls)));

    let acts = async {
        let door = loop {
            match events.next().await.expect("it goes on") {
                ClientEvent::Event { event: client::Event::PeerAdded { peer } } if peer.user == "door" => {
                    break peer;
                }
                _ => {}
            }
        };
        assert_eq!(door.extra.get("channel"), Some(&json!(true)), "the camera says that it reads them");
        let call = Call::new([], [Kind::Video]).with_channels();
        let call = calling.call(door.address().as_str(), call).expect("it is there");
        let messages = call.messages();
        call.connected().await.expect("connected");
        messages.opened().await.expect("the camera takes the channel");
        let pan = async || {
            let reply = messages.request("pan", "left", &()).await.expect("a reply");
            assert_eq!(
                reply.data::<serde_json::Value>().expect("JSON"),
                json!({ "to": "left", "by": "alice" })
            );
        };
        pan().await;
        server.shutdown();
        let is_offline = |event| matches!(event, ClientEvent::Event { event: client::Event::Offline { .. } });
        assert!(events.any(is_offline).await);
        pan().await;
        match messages.request("tilt", "up", &()).await.expect_err("its program refuses") {
            RequestError::Refused { status, answer } => {
                assert_eq!((status, answer.data().ok()), (Status::FORBIDDEN, Some("no".to_owned())));
            }
            other => panic!("{other}"),
        }
        let read = messages.request("camera:share", "read", &()).await.expect("its own figures");
        assert_eq!(read.data::<serde_json::Value>().expect("JSON")["user"], "alice");
        let words = Draft::new(MessageKind::Message).data("hello");
        messages.deliver(words).await.expect("the camera's program reads it");
        assert_eq!(hears.recv_timeout(PATIENCE), Ok("\"hello\"".to_owned()));
        // A camera carries no channel of the application's.
        let other = call.open_channel("chat").expect("agreed");
        other.opened().await.ok();
        assert_eq!(other.recv().await, None, "it is closed");
        pan().await;
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("not done within {PATIENCE:?}");
    };
    block_on(or(acts, late));
    camera.shutdown();
    calling.shutdown();
    client.close();
}
