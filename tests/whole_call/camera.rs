//! The sending side: calls, and a fan-out that gets video and audio by the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use symple::call::body::SdpType;
use symple::call::{CallId, Event};
use symple::media::{AUDIO_OPUS, Codec, Frame, StreamId, StreamInfo, VIDEO_H264};
use symple::rtc::{self, Config, Fanout, Input, LocalCandidate, Output, SessionId, SessionStats};

use super::side::{Came, Side};
use super::{PICTURES, SOUNDS};

const PICTURE_EVERY: Duration = Duration::from_millis(33);
const SOUND_EVERY: Duration = Duration::from_millis(20);
const SESSION: SessionId = SessionId(1);

/// What was sent, and how the call went.
pub(crate) struct Filmed {
    pub pictures: Vec<Arc<[u8]>>,
    pub sounds: Vec<Arc<[u8]>>,
    /// Which frames were key frames.
    pub keys: Vec<usize>,
    pub stats: SessionStats,
    pub reason: String,
}

struct Camera {
    side: Side,
    fanout: Fanout,
    call: Option<CallId>,
    began: Option<Instant>,
    next_picture: Option<Instant>,
    next_sound: Option<Instant>,
    key_wanted: bool,
    filmed: Filmed,
}

/// Sends frames from the moment that a viewer is connected until the end of the call.
pub(crate) async fn film(side: Side, calls: bool) -> Filmed {
    let candidate = LocalCandidate { base: side.address(), advertised: None };
    let mut fanout = Fanout::new(Config { candidates: vec![candidate], ..Config::default() }, Instant::now());
    fanout.set_streams(&[StreamInfo::new(VIDEO_H264, Codec::H264), StreamInfo::new(AUDIO_OPUS, Codec::Opus)]);
    let filmed = Filmed {
        pictures: vec![],
        sounds: vec![],
        keys: vec![],
        stats: SessionStats::default(),
        reason: String::new(),
    };
    let mut camera = Camera {
        side,
        fanout,
        call: None,
        began: None,
        next_picture: None,
        next_sound: None,
        key_wanted: false,
        filmed,
    };
    loop {
        let due = camera.drain().await;
        match camera.side.next(due).await {
            Came::Peer(who) if calls && who.starts_with("viewer|") => camera.side.invite(&who),
            Came::Peer(_) => {}
            Came::Call(Event::Ended { end, .. }) => {
                camera.filmed.stats = camera.fanout.stats(SESSION).expect("it is closed below");
                camera.filmed.reason = end.reason.code().to_owned();
                camera.fanout.close(SESSION, Instant::now());
                camera.drain().await;
                return camera.filmed;
            }
            Came::Call(event) => camera.call_event(event),
            Came::Datagram { path, data } => {
                camera.fanout.handle_input(Input::Datagram { path, data: &data }, Instant::now());
            }
            Came::Due => camera.tick().await,
        }
    }
}

impl Camera {
    fn call_event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Incoming { id, .. } => {
                self.call = Some(id);
                self.side.calls.accept(id, now).expect("it rings");
            }
            Event::Accepted { id } => {
                self.call = Some(id);
                let offer = self.fanout.offer(SESSION, now).expect("an offer");
                self.side.describe(id, SdpType::Offer, &offer.sdp);
            }
            Event::RemoteOffer { id, sdp } => {
                let answer = self.fanout.accept(SESSION, &sdp, now).expect("an offer that fits");
                assert_eq!(answer.streams, [VIDEO_H264, AUDIO_OPUS].into());
                self.side.describe(id, SdpType::Answer, &answer.sdp);
            }
            Event::RemoteAnswer { sdp, .. } => {
                let answered = self.fanout.answer(SESSION, &sdp, now).expect("an answer that fits");
                assert_eq!(answered.streams, [VIDEO_H264, AUDIO_OPUS].into());
            }
            Event::RemoteCandidate { candidate, .. } => {
                self.fanout.add_remote_candidate(SESSION, &candidate.candidate).expect("a candidate");
            }
            _ => {}
        }
    }

    /// Handles what is due: the fan-out's timeout, a frame, an audio packet.
    async fn tick(&mut self) {
        let now = Instant::now();
        self.fanout.handle_input(Input::Timeout, now);
        self.drain().await;
        if self.next_picture.is_some_and(|at| at <= now) {
            let (number, key) = (self.filmed.pictures.len(), std::mem::take(&mut self.key_wanted));
            if key {
                self.filmed.keys.push(number);
            }
            let data: Arc<[u8]> = picture(number, key).into();
            self.filmed.pictures.push(data.clone());
            self.feed(VIDEO_H264, Codec::H264, key, data, now);
            self.next_picture = (number + 1 < PICTURES).then_some(now + PICTURE_EVERY);
        }
        if self.next_sound.is_some_and(|at| at <= now) {
            let number = self.filmed.sounds.len();
            let data: Arc<[u8]> = bytes(1_000_000 + number, 80).into();
            self.filmed.sounds.push(data.clone());
            self.drain().await;
            self.feed(AUDIO_OPUS, Codec::Opus, true, data, now);
            self.next_sound = (number + 1 < SOUNDS).then_some(now + SOUND_EVERY);
        }
    }

    fn feed(&mut self, stream: StreamId, codec: Codec, key: bool, data: Arc<[u8]>, now: Instant) {
        let pts = now - self.began.expect("the viewer is connected");
        let frame = Frame {
            stream,
            codec,
            key,
            captured: now,
            pts,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data,
        };
        self.fanout.handle_input(Input::Frame(&frame), now);
    }

    /// Sends all outputs, and returns when to wake.
    async fn drain(&mut self) -> Instant {
        loop {
            while let Some(transmit) = self.fanout.poll_transmit(Instant::now()) {
                self.side.send(transmit).await;
            }
            match self.fanout.poll_output() {
                Output::Timeout(at) => {
                    return [self.next_picture, self.next_sound].into_iter().flatten().fold(at, Instant::min);
                }
                Output::Event(rtc::Event::Connected { session: SESSION }) => {
                    let now = Instant::now();
                    let call = self.call.expect("descriptions went over it");
                    self.side.calls.media_connected(call, now).expect("descriptions agree");
                    (self.began, self.next_picture, self.next_sound) = (Some(now), Some(now), Some(now));
                }
                Output::Event(rtc::Event::KeyFrameWanted { stream: VIDEO_H264, .. }) => {
                    self.key_wanted = true
                }
                Output::Event(rtc::Event::Closed { end, .. }) => panic!("the session broke: {end}"),
                Output::Event(_) => {}
                _ => unreachable!("there are no other outputs"),
            }
        }
    }
}

/// Looks like an access unit of H.264, identified by its number.
fn picture(number: usize, key: bool) -> Vec<u8> {
    let nal = |head: &[u8], body: Vec<u8>| [&[0, 0, 0, 1], head, &body].concat();
    if !key {
        return nal(&[0x41], bytes(number, 1200));
    }
    let sps = nal(&[0x67, 0x42, 0xe0, 0x1f], bytes(number, 12));
    let pps = nal(&[0x68, 0xce], bytes(number, 3));
    [sps, pps, nal(&[0x65], bytes(number, 4000))].concat()
}

/// Noise without zeros, which could look like a start code.
fn bytes(seed: usize, count: usize) -> Vec<u8> {
    let mut noise = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise as u8 | 1
    };
    (0..count).map(|_| next()).collect()
}
