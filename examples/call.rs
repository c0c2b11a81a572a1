//! Calls a peer, or waits for calls: sends a clip as if it came from a camera, and writes the H.264 that it receives.
//!
//! Arguments: the server's URL, our user, a file, and the user to call, if any.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, zip};
use symple::Client;
use symple::calling::{Call, Calling, Conversation, FrameEvent};
use symple::client::{Config, Event};
use symple::media::frame::sps::is_idr;
use symple::media::source::{Feed, Request, Source};
use symple::media::{Codec, Kind};
use symple::net::ClientEvent;
use symple::rtc::Directions;

/// Two seconds of H.264 in Annex B, 30 frames a second; each access unit begins with a delimiter (NAL unit 9).
const CLIP: &[u8] = include_bytes!("pushed.h264");
const DELIMITER: &[u8] = &[0, 0, 0, 1, 9];
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:4500".into());
    let user = arguments.next().unwrap_or_else(|| "bob".into());
    let mut file = File::create(arguments.next().unwrap_or_else(|| "received.h264".into()))?;
    let whom = arguments.next();

    let client = Client::new(&url, Config { rooms: vec!["public".into()], ..Config::new(&user) })?;
    let mut events = client.events(64);
    let calling = Calling::new(&client)?;
    let (source, feed) = Source::push(Codec::H264);
    calling.set_source(source);
    std::thread::spawn(move || encode(&feed));

    let talk = async {
        if let Some(whom) = whom {
            let is_whom = |event| match event {
                ClientEvent::Event { event: Event::PeerAdded { peer } } if peer.user == whom => Some(peer),
                _ => None,
            };
            let peer = events.find_map(is_whom).await.ok_or("the client has ended")?;
            let call = calling.call(peer.address().as_str(), Call::new([Kind::Video], [Kind::Video]))?;
            return receive(call, &mut file).await;
        }
        let mut incoming = calling.incoming();
        while let Some(call) = incoming.next().await {
            println!("{} is calling", call.peer());
            let call = call.accept(Directions::new([Kind::Video], [Kind::Video]))?;
            receive(call, &mut file).await?;
        }
        Ok(())
    };
    let drivers = async {
        zip(client.run(), calling.run()).await;
        Err("the server does not admit this client".into())
    };
    block_on(or(talk, drivers))
}

/// Writes what the peer sends, until the call ends.
async fn receive(mut call: Conversation, file: &mut File) -> Result<(), Box<dyn Error>> {
    if call.connected().await.is_ok() {
        println!("connected");
    }
    let mut frames = 0;
    while let Some(event) = call.next().await {
        let FrameEvent::Frame { frame } = event else { continue };
        frames += 1;
        if frame.codec == Codec::H264 {
            file.write_all(&frame.data)?;
        }
        if frames % 100 == 0 {
            println!("{frames} frames received");
        }
    }
    println!("the call has ended: {}", call.end().expect("the stream has"));
    Ok(())
}

/// In place of an encoder: delivers 30 frames per second, and a key frame on request.
fn encode(feed: &Feed) {
    let key_wanted = Arc::new(AtomicBool::new(false));
    let asked = key_wanted.clone();
    feed.on(move |request| match request {
        Request::Start | Request::KeyFrame => asked.store(true, Ordering::Relaxed),
        Request::Bitrate { bps } => println!("requested bitrate: {} kbit/s", bps / 1000),
        other => println!("{other:?}"),
    });
    let starts = CLIP.windows(DELIMITER.len()).enumerate().filter(|(_, bytes)| *bytes == DELIMITER);
    let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    let began = Instant::now();
    let mut next = 0;
    for number in 0.. {
        if key_wanted.swap(false, Ordering::Relaxed) || next == starts.len() {
            next = 0;
        }
        let end = starts.get(next + 1).copied().unwrap_or(CLIP.len());
        let unit = &CLIP[starts[next]..end];
        if let Err(e) = feed.push(unit, is_idr(unit), FRAME * number) {
            eprintln!("cannot push a frame: {e}");
        }
        next += 1;
        std::thread::sleep((FRAME * (number + 1)).saturating_sub(began.elapsed()));
    }
}
