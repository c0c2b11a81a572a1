//! Real frames, from the pipeline through the fan-out to a viewer, which requests a key frame on the way. The network
//! is two queues in memory, and the test advances its time.
#![cfg(all(feature = "gst", feature = "rtc"))]

// str0m has no cryptography of its own, and none of its types are in our API.
#[allow(dead_code, unused_imports, reason = "some of it is only for the sender")]
#[path = "../src/rtc/crypto/mod.rs"]
mod crypto;
mod media;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{H264, open, settings};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Rtc};
use symple::media::frame::sps::{Sps, is_idr, nal_units};
use symple::media::{Codec, StreamId, StreamInfo};
use symple::rtc::{Config, Event, Fanout, Input, LocalCandidate, Output, Path, SessionId};

const FRAMES: usize = 20;
/// The stream id of H.264 in a GStreamer source.
const VIDEO: StreamId = StreamId(0);
/// The number of frames before the viewer requests a key frame.
const ASKS_AFTER: usize = 5;
const STEP: Duration = Duration::from_millis(5);
/// The number of steps until a frame has arrived: a large one is paced.
const PASSES: usize = 200;

/// A fan-out and its one viewer.
struct Pair {
    fanout: Fanout,
    viewer: Rtc,
    address: SocketAddr,
    video: Mid,
    now: Instant,
    connected: bool,
    /// Key frame requests from the fan-out.
    wanted: usize,
    came: Vec<Arc<[u8]>>,
}

impl Pair {
    fn connect() -> Pair {
        let now = Instant::now();
        let [base, address] = ["192.0.2.1:4000", "192.0.2.2:4000"].map(|a| a.parse().expect("literal"));
        let candidates = vec![LocalCandidate { base, advertised: None }];
        let mut fanout = Fanout::new(Config { candidates, ..Config::default() }, now);
        fanout.set_streams(&[StreamInfo::new(VIDEO, Codec::H264)]);

        let crypto = Arc::new(crypto::provider());
        let mut viewer =
            Rtc::builder().set_crypto_provider(crypto).clear_codecs().enable_h264(true).build(now);
        viewer.add_local_candidate(Candidate::host(address, "udp").expect("an address"));
        let mut api = viewer.sdp_api();
        let video = api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = api.apply().expect("there is something to offer");
        let answer = fanout.accept(SessionId(1), &offer.to_sdp_string(), now).expect("H.264 is in it");
        let answer = SdpAnswer::from_sdp_string(&answer.sdp).expect("an answer");
        viewer.sdp_api().accept_answer(pending, answer).expect("an answer that fits");

        let mut pair =
            Pair { fanout, viewer, address, video, now, connected: false, wanted: 0, came: vec![] };
        for _ in 0..1000 {
            pair.pass();
            if pair.connected {
                return pair;
            }
        }
        panic!("ICE and DTLS take 5 s and more");
    }

    /// A short time passes, on the network and at both ends.
    fn pass(&mut self) {
        self.now = Instant::now().max(self.now + STEP);
        self.fanout.handle_input(Input::Timeout, self.now);
        self.viewer.handle_input(str0m::Input::Timeout(self.now)).expect("no error");
        while self.drain_fanout() | self.drain_viewer() {}
    }

    fn drain_fanout(&mut self) -> bool {
        let mut any = false;
        loop {
            while let Some(transmit) = self.fanout.poll_transmit(self.now) {
                any = true;
                for data in transmit.datagrams() {
                    let receive =
                        Receive::new(Protocol::Udp, transmit.path.local, transmit.path.remote, data);
                    let input = str0m::Input::Receive(self.now, receive.expect("WebRTC's"));
                    self.viewer.handle_input(input).expect("no error");
                    self.drain_viewer();
                }
            }
            match self.fanout.poll_output() {
                Output::Timeout(_) => return any,
                Output::Event(Event::KeyFrameWanted { stream: VIDEO, .. }) => self.wanted += 1,
                Output::Event(Event::Connected { .. }) => self.connected = true,
                Output::Event(Event::Closed { end, .. }) => panic!("the session broke: {end}"),
                _ => {}
            }
        }
    }

    fn drain_viewer(&mut self) -> bool {
        let mut any = false;
        loop {
            match self.viewer.poll_output().expect("no error") {
                str0m::Output::Timeout(_) => return any,
                str0m::Output::Transmit(t) => {
                    any = true;
                    let input =
                        Input::Datagram { path: Path::udp(t.destination, self.address), data: &t.contents };
                    self.fanout.handle_input(input, self.now);
                }
                str0m::Output::Event(str0m::Event::MediaData(data)) => self.came.push(data.data.clone()),
                str0m::Output::Event(_) => {}
            }
        }
    }
}

#[test]
fn frames_reach_a_viewer_as_encoded() {
    let mut pair = Pair::connect();
    assert_eq!(pair.wanted, 1, "a new viewer needs a key frame");
    let watched = open(settings("test")).expect("the test pattern works everywhere");
    assert_eq!(watched.id(Codec::H264), VIDEO);
    watched.start(H264);

    let mut sent = vec![];
    let mut keys = vec![];
    while sent.len() < FRAMES {
        let frame = watched.frame(Codec::H264);
        if frame.key {
            keys.push(sent.len());
        }
        sent.push(frame.data.clone());
        pair.fanout.handle_input(Input::Frame(&frame), pair.now);
        pair.drain_fanout();
        for _ in 0..PASSES {
            pair.pass();
            if pair.came.len() == sent.len() {
                break;
            }
        }
        assert_eq!(pair.came.len(), sent.len(), "a frame arrives");
        if sent.len() == ASKS_AFTER {
            let mut writer = pair.viewer.writer(pair.video).expect("agreed upon");
            writer.request_keyframe(None, KeyframeRequestKind::Pli).expect("PLI was negotiated");
            pair.pass();
            assert_eq!(pair.wanted, 2, "its request arrived");
            watched.request_key_frame(Codec::H264);
        }
    }
    println!("{FRAMES} frames by {}, key frames: {keys:?}", watched.encoder().name);
    // Start codes may change on the way, and delimiters (type 9) are omitted, as RTP allows.
    for (number, (came, sent)) in pair.came.iter().zip(&sent).enumerate() {
        let sent = nal_units(sent).filter(|nal| nal[0] & 0x1f != 9);
        assert!(nal_units(came).eq(sent), "frame {number} is unchanged");
    }
    // The next regular key frame is 10 s away.
    assert!(keys.len() == 2 && keys[0] == 0 && keys[1] >= ASKS_AFTER, "{keys:?}");
    for key in keys {
        let sps = Sps::find(&pair.came[key]).expect("parameter sets before a key frame");
        assert_eq!((sps.width, sps.height, is_idr(&pair.came[key])), (320, 180, true));
    }
    let stats = pair.fanout.stats(SessionId(1)).expect("it watches");
    assert_eq!((stats.frames, stats.skipped.total(), stats.key_frame_requests), (FRAMES as u64, 0, 1));
}
