//! Watches whoever sends, and records it: a server and a program that calls, in one process, controlled by lines on its
//! standard input. For the tests in which other WebRTC stacks send to us.
//!
//! LISTEN and PORT are the address of the server, and of the UDP port; SERVER is the URL of another server, if that is to
//! be used; DIR is where records go. Lines: `watch USER KINDS`,
//! KINDS being `audio,video` or one of them; `key`, for a key frame of each video stream; `talk LABEL` and
//! `talk LABEL lossy`, for a data channel with messages that the peer sends back; `hangup`.
//!
//! `DIR/frames` has each frame, behind its length in four bytes; `DIR/index` has a line for each: its codec, whether it
//! is a key frame, whether frames before it are missing, and its time, its arrival and its duration in microseconds. The
//! output says about five times a second what came so far.

mod echo;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{or, zip};
use serde_json::json;
use smol::channel::{Receiver, unbounded};
use symple::calling::{self, Calling, Conversation, FrameEvent};
use symple::client::{Config, Event};
use symple::media::{Frame, Kind};
use symple::net::{ClientEvent, ServerConfig};
use symple::rtc::ChannelOptions;
use symple::{Client, Server};

const TELL_EVERY: Duration = Duration::from_millis(200);

/// What happens next.
enum Next {
    Frame(FrameEvent),
    Ended,
    Line(String),
    Tell,
}

struct Recorder {
    calling: Calling,
    began: Instant,
    frames: BufWriter<File>,
    index: BufWriter<File>,
    counts: BTreeMap<String, Count>,
    /// Frames that this program was too slow for.
    missed: u64,
}

#[derive(Default)]
struct Count {
    frames: u64,
    keys: u64,
    bytes: u64,
    breaks: u64,
}

fn main() {
    let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let port = var("PORT").expect("PORT is set").parse().expect("PORT is a number");
    let ip = var("LISTEN").map_or(Ipv4Addr::LOCALHOST.into(), |ip| ip.parse().expect("LISTEN is an address"));
    let dir = PathBuf::from(var("DIR").expect("DIR is set"));
    env_logger::init();
    let listen = SocketAddr::new(ip, port);
    let elsewhere = var("SERVER");
    let server =
        elsewhere.is_none().then(|| Server::bind(ServerConfig::listen([listen])).expect("a free port"));

    // Senders look for a camera in the room.
    let data = [("peerType".to_owned(), "camera".into())].into_iter().collect();
    let config = Config { rooms: vec!["public".into()], data, ..Config::new("recorder") };
    let client =
        Client::new(&elsewhere.unwrap_or_else(|| format!("ws://{listen}/")), config).expect("an address");
    let mut calls = calling::Config::default();
    calls.listen = listen;
    let create = |name| BufWriter::new(File::create(dir.join(name)).expect("DIR can be written to"));
    let recorder = Recorder {
        calling: Calling::with(&client, &calls).expect("the UDP port is free"),
        began: Instant::now(),
        frames: create("frames"),
        index: create("index"),
        counts: BTreeMap::new(),
        missed: 0,
    };
    let mut events = client.events(64);
    let online = async move {
        while let Some(event) = events.next().await {
            match event {
                ClientEvent::Event { event: Event::Online { .. } } => println!("online"),
                ClientEvent::Event { event: Event::PeerAdded { peer } } => {
                    println!("{}", json!({ "saw": "peer", "user": peer.user }));
                }
                _ => {}
            }
        }
    };
    let (tell, lines) = unbounded();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            _ = tell.send_blocking(line);
        }
    });
    let calling = recorder.calling.clone();
    let serving = async {
        match &server {
            Some(server) => server.run().await,
            None => std::future::pending().await,
        }
    };
    let drivers = zip(zip(serving, client.run()), zip(calling.run(), online));
    smol::block_on(or(recorder.run(lines), async { _ = drivers.await }));
}

impl Recorder {
    async fn run(mut self, lines: Receiver<String>) {
        let mut watch: Option<Conversation> = None;
        let mut timer = smol::Timer::interval(TELL_EVERY);
        loop {
            let frame = async {
                match &mut watch {
                    Some(watch) => watch.next().await.map_or(Next::Ended, Next::Frame),
                    None => std::future::pending().await,
                }
            };
            let line = async {
                match lines.recv().await {
                    Ok(line) => Next::Line(line),
                    Err(_) => std::future::pending().await,
                }
            };
            let tell = async {
                timer.next().await;
                Next::Tell
            };
            match or(tell, or(line, frame)).await {
                Next::Frame(FrameEvent::Frame { frame }) => self.record(&frame),
                Next::Frame(FrameEvent::Lost { count, .. }) => self.missed += count,
                Next::Frame(_) => {}
                Next::Ended => {
                    self.tell(watch.as_ref());
                    let end = watch.take().and_then(|watch| watch.end()).expect("its stream has ended");
                    println!(
                        "{}",
                        json!({ "saw": "ended", "reason": end.reason.code(), "message": end.message })
                    );
                }
                Next::Line(line) => self.obey(&line, &mut watch),
                Next::Tell => self.tell(watch.as_ref()),
            }
        }
    }

    fn obey(&mut self, line: &str, watch: &mut Option<Conversation>) {
        let words: Vec<&str> = line.split(' ').collect();
        match (&words[..], &watch) {
            (["watch", user, kinds], _) => {
                let kinds = kinds.split(',').map(|kind| match kind {
                    "audio" => Kind::Audio,
                    "video" => Kind::Video,
                    _ => panic!("neither audio nor video: {kind}"),
                });
                let call = self.calling.watch(user, kinds).expect("no call goes on");
                smol::spawn(echo::answer(call.channels())).detach();
                *watch = Some(call);
            }
            (["key"], Some(watch)) => {
                let stats = watch.stats();
                for stream in [symple::media::VIDEO_H264, symple::media::VIDEO_VP8] {
                    watch.request_key_frame(stream);
                }
                println!("{}", json!({ "saw": "asked", "stats": format!("{stats:?}") }));
            }
            (["talk", label, how @ ..], Some(watch)) => {
                let lossy = *how == ["lossy"];
                let mut options = ChannelOptions::new(*label);
                if lossy {
                    (options.ordered, options.max_retransmits) = (false, Some(0));
                }
                let channel = watch.open_channel(options).expect("the call goes on");
                smol::spawn(async move { println!("{}", echo::converse(&channel, lossy).await) }).detach();
            }
            (["hangup"], Some(watch)) => watch.hang_up(symple::call::body::EndReason::Ended),
            _ => panic!("not understood: {line}"),
        }
    }

    fn record(&mut self, frame: &Frame) {
        let codec = format!("{:?}", frame.codec).to_uppercase();
        let micros = |time: Duration| time.as_micros();
        let size = u32::try_from(frame.data.len()).expect("frames are small");
        self.frames
            .write_all(&size.to_be_bytes())
            .and_then(|()| self.frames.write_all(&frame.data))
            .expect("room");
        writeln!(
            self.index,
            "{codec} {} {} {} {} {}",
            u8::from(frame.key),
            u8::from(frame.discontinuity),
            micros(frame.pts),
            micros(self.began.elapsed()),
            micros(frame.duration),
        )
        .expect("room");
        let count = self.counts.entry(codec).or_default();
        count.frames += 1;
        count.keys += u64::from(frame.key);
        count.bytes += frame.data.len() as u64;
        count.breaks += u64::from(frame.discontinuity);
    }

    fn tell(&mut self, watch: Option<&Conversation>) {
        self.frames.flush().and_then(|()| self.index.flush()).expect("room");
        let of = |count: &Count| json!({ "frames": count.frames, "keys": count.keys, "bytes": count.bytes, "breaks": count.breaks });
        let counts: serde_json::Map<_, _> =
            self.counts.iter().map(|(codec, count)| (codec.clone(), of(count))).collect();
        let stats = watch.and_then(Conversation::stats).map(|stats| {
            let got = stats.received;
            json!({
                "connected": stats.connected, "packets": got.packets, "bytes": got.bytes, "frames": got.frames,
                "dropped": got.dropped, "lost": got.lost, "nacks": got.nacks, "requests": got.key_frame_requests,
                "rtt": stats.rtt.map(|rtt| rtt.as_millis() as u64),
            })
        });
        let memory = std::fs::read_to_string("/proc/self/statm")
            .ok()
            .and_then(|statm| statm.split(' ').nth(1)?.parse::<u64>().ok());
        println!(
            "{}",
            json!({ "saw": "counts", "codecs": counts, "missed": self.missed, "stats": stats, "kib": memory.map(|pages| pages * 4) })
        );
    }
}
