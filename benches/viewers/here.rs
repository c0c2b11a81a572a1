//! The subject `here`: a camera of this crate with a pushed source, as a program would write it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use symple::camera::{Camera, Config, Serve, Signalling};
use symple::media::Codec;
use symple::media::adapt::rate::BitrateLimits;
use symple::media::source::{Feed, Request, Source};

use crate::encoder::{self, Label, Outputs};
use crate::subject;

pub(crate) const NAME: &str = "here";
/// With audio of which each packet has one frame of 20 ms, and three of them.
pub(crate) const WITH_AUDIO: &str = "here, audio of 20 ms";
pub(crate) const WITH_JOINED_AUDIO: &str = "here, audio of 60 ms";
pub(crate) const ON_TWO_THREADS: &str = "here, 2 threads";

/// The rate of the frames, which the encoder keeps whatever it is asked for.
const BITRATE: u32 = 2_000_000;

/// `audio_packet` is how much audio a packet has, if there is any.
pub(crate) fn run(audio_packet: Option<Duration>, threads: usize) {
    subject::end_with_parent();
    let (source, video, sound) = if audio_packet.is_some() {
        let (source, [video, sound]) = Source::push_streams([Codec::H264, Codec::Opus]);
        (source, video, Some(sound))
    } else {
        let (source, video) = Source::push(Codec::H264);
        (source, video, None)
    };
    let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let camera = Camera::new(Config {
        signalling: Signalling::Serve(Serve { listen, ..Serve::default() }),
        max_viewers: 1000,
        vp8: false,
        audio_packet: audio_packet.unwrap_or_default(),
        adapt: false,
        bitrate: BitrateLimits { start: BITRATE, ..BitrateLimits::default() },
        ..Config::new(source)
    });
    let camera = camera.expect("a port of loopback is free");
    let wanted = Arc::new(AtomicBool::new(true));
    let asked = wanted.clone();
    video.on(move |request| {
        if matches!(request, Request::Start | Request::KeyFrame) {
            asked.store(true, Ordering::Relaxed);
        }
    });
    encoder::write(&camera.urls()[0].replace("http", "ws"));
    encoder::start(wanted, audio_packet.is_some(), Feeds { video, sound });
    for _ in 1..threads {
        let run = camera.run();
        std::thread::spawn(move || symple::net::block_on(run));
    }
    symple::net::block_on(camera.run());
}

struct Feeds {
    video: Feed,
    sound: Option<Feed>,
}

impl Outputs for Feeds {
    fn video(&mut self, label: Label, unit: Arc<[u8]>, pts: Duration) {
        self.video.push(unit, label.key, pts).expect("a valid access unit");
    }

    fn audio(&mut self, packet: Arc<[u8]>, pts: Duration) {
        if let Some(sound) = &self.sound {
            sound.push(packet, true, pts).expect("a valid packet");
        }
    }
}
