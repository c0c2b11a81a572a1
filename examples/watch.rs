//! Watches a camera: counts its frames, and writes its H.264 to a file that players understand.
//!
//! Arguments: the server's URL, the camera's user, a file.

use std::error::Error;
use std::fs::File;
use std::io::Write;

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, zip};
use symple::Client;
use symple::calling::{Calling, FrameEvent};
use symple::client::{Config, Event};
use symple::media::{Codec, Kind};
use symple::net::ClientEvent;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:4500".into());
    let user = arguments.next().unwrap_or_else(|| "camera".into());
    let mut file = File::create(arguments.next().unwrap_or_else(|| "watched.h264".into()))?;

    let client = Client::new(&url, Config { rooms: vec!["public".into()], ..Config::new("watcher") })?;
    let mut events = client.events(64);
    let calling = Calling::new(&client)?;
    let watch = async {
        let is_camera = |event| match event {
            ClientEvent::Event { event: Event::PeerAdded { peer } } if peer.user == user => Some(peer),
            _ => None,
        };
        let camera = events.find_map(is_camera).await.ok_or("the client has ended")?;
        let mut watch = calling.watch(camera.address().as_str(), [Kind::Video, Kind::Audio])?;
        let (mut video, mut audio) = (0, 0);
        while let Some(event) = watch.next().await {
            let FrameEvent::Frame { frame } = event else { continue };
            let count = if frame.codec.is_video() { &mut video } else { &mut audio };
            *count += 1;
            if frame.codec == Codec::H264 {
                file.write_all(&frame.data)?;
            }
            if (video + audio) % 100 == 0 {
                println!("{video} frames of video, {audio} of audio");
            }
        }
        println!("the call has ended: {}", watch.end().expect("the stream has"));
        Ok(())
    };
    let drivers = async {
        zip(client.run(), calling.run()).await;
        Err("the server does not admit this client".into())
    };
    block_on(or(watch, drivers))
}
