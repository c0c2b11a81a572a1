//! What a peer sends of its media: authentic, so that nothing stops it before it is read. And what becomes of it up to
//! the decoder.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use super::bytes::Bytes;
use super::rtcp::material;
use crate::media::sink::playout::{self, Limits, Output, Playout};
use crate::media::{AUDIO_OPUS, Codec, StreamId, VIDEO_H264, VIDEO_VP8, VIDEO_VP8_LAYERS};
use crate::rtc::crypto::keys::{Keys, Profile};
use crate::rtc::crypto::seal::Sealer;
use crate::rtc::recv::lane::{Format, Layer};
use crate::rtc::recv::receiver::Receiver;
use crate::rtc::rid::Rid;
use crate::rtc::send::feedback::{self, Feedback};

const PAYLOAD_TYPES: [u8; 6] = [96, 97, 98, 99, 111, 5];
const SSRCS: [u32; 3] = [1000, 2000, 3000];
/// The extensions with the name of an encoding, in packets and in retransmissions, and the names.
const NAME: u8 = 10;
const REPEATED: u8 = 11;
const RIDS: [&[u8]; 4] = [b"h", b"m", b"l", b"nobody's"];
/// Of an RTP packet in a datagram of 1500 bytes.
const MAX_PAYLOAD: usize = 1400;
/// Of the playout, as its settings have them.
const LIMITS: Limits = Limits { start: 100_000, least: 0, most: 1_000_000, most_bytes: 1 << 20 };
/// Of the honest sender that comes last.
const HONEST: u32 = 9000;
const HONEST_FRAMES: u32 = 150;
/// What leaves room for sealing and headers.
const MAX_REPORT: usize = 1100;

/// RTP and sender reports of any content: frames of a stream go forward in time, video begins with a key frame, and
/// does so again after a loss and where another encoding takes the stream over; reports are readable and fit into a
/// datagram; what waits to be played is bounded. After all of it an honest sender is received and shown.
///
/// The bytes say what comes next: a packet, a report, time that passes, a wish for a key frame, or other lanes.
pub fn recv(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut end = End::new(data);
    let (mut newest, mut used) = ([3_u64; SSRCS.len()], HashSet::new());
    for _ in 0..400 {
        if bytes.is_empty() {
            break;
        }
        let step = bytes.u8();
        match step % 8 {
            2 if step >= 0x80 => end.set_lanes(lanes(step >> 3 & 7)),
            0 => end.now += Duration::from_millis(bytes.u16().into()),
            1 => {
                let mut word = || u32::from(bytes.u16()) << 16 | u32::from(bytes.u16());
                let (ntp, rtp) = (u64::from(word()) << 32, word());
                end.receiver.handle_sender_report(bytes.pick(&SSRCS), ntp, rtp, end.now);
            }
            2 => {
                let stream = bytes.pick(&[VIDEO_H264, VIDEO_VP8, AUDIO_OPUS]);
                end.receiver.request_key_frame(stream, end.now);
            }
            _ => {
                let flags = bytes.u8();
                let which = usize::from(bytes.u8()) % SSRCS.len();
                let index = (newest[which] + u64::from(bytes.u8() % 8)).saturating_sub(2);
                newest[which] = newest[which].max(index);
                // The sender repeats none: its keys would be known.
                if !used.insert((which, index)) {
                    continue;
                }
                let [a, b] = (index as u16).to_be_bytes();
                let pt = bytes.pick(&PAYLOAD_TYPES) | flags & 0x80;
                let [c, d] = bytes.u16().to_be_bytes();
                let mut head = vec![0x80 | flags & 0x30, pt, a, b, 0, c, d, 0];
                head.extend(SSRCS[which].to_be_bytes());
                if flags & 0x10 != 0 {
                    let mut extensions = vec![];
                    for (bit, id) in [(2, NAME), (4, REPEATED)] {
                        if flags & bit != 0 {
                            let rid = bytes.pick(&RIDS);
                            extensions.push(id << 4 | (rid.len() - 1) as u8);
                            extensions.extend(rid);
                        }
                    }
                    extensions.extend(bytes.piece());
                    extensions.resize(extensions.len().next_multiple_of(4), 0);
                    head.extend([0xbe, 0xde, 0, (extensions.len() / 4) as u8]);
                    head.extend(extensions);
                }
                let payload = bytes.piece();
                // Long ones, too.
                let times = if flags & 1 == 0 { 1 } else { MAX_PAYLOAD / payload.len().max(1) };
                end.send(&head, index, &payload.repeat(times));
            }
        }
        end.drain();
    }
    end.meet_honest_sender();
}

/// The receiving end, and its sender's keys.
struct End {
    now: Instant,
    sealer: Sealer,
    receiver: Receiver,
    formats: Vec<Format>,
    playout: Playout,
    /// The last times of streams, and those whose next frame is a key frame.
    last: BTreeMap<StreamId, Duration>,
    fresh: HashSet<StreamId>,
    /// Frames that came, and video that is shown.
    frames: u64,
    shown: u64,
    /// The playout asked for a key frame.
    key_wanted: bool,
}

impl End {
    fn new(data: &[u8]) -> End {
        let profile = Profile::Aes128Gcm;
        let material = material(profile, data);
        let now = Instant::now();
        let mut receiver = Receiver::new(1, "name", now);
        receiver.connect(&Keys::new(profile, material.clone(), false));
        let sealer = Sealer::new(&Keys::new(profile, material, true));
        let mut end = End {
            now,
            sealer,
            receiver,
            formats: vec![],
            playout: Playout::new(LIMITS, now),
            last: BTreeMap::new(),
            fresh: HashSet::new(),
            frames: 0,
            shown: 0,
            key_wanted: false,
        };
        end.set_lanes(lanes(0));
        end
    }

    fn set_lanes(&mut self, formats: Vec<Format>) {
        self.now += Duration::from_millis(1);
        let same = |format: &&Format| self.formats.contains(format);
        self.fresh.extend(formats.iter().filter(|format| !same(format)).map(|format| format.stream));
        self.receiver.set_lanes(&formats);
        self.formats = formats;
    }

    fn send(&mut self, head: &[u8], index: u64, payload: &[u8]) {
        let mut packet = vec![];
        self.sealer.seal_rtp(head, index, payload, &mut packet);
        // Where nothing is received, nothing is decrypted.
        assert!(self.receiver.handle_rtp(&packet, self.now) || self.formats.is_empty());
        assert!(!self.receiver.handle_rtp(&packet, self.now), "it came before");
    }

    /// Takes all that there is to take now.
    fn drain(&mut self) {
        self.receiver.handle_timeout(self.now);
        while let Some(frame) = self.receiver.poll_frame() {
            assert!(!frame.data.is_empty() && frame.captured <= self.now);
            let before = self.last.insert(frame.stream, frame.pts);
            assert!(before.is_none_or(|before| frame.pts > before), "{before:?}, {:?}", frame.pts);
            assert!(frame.key || (!self.fresh.contains(&frame.stream) && !frame.discontinuity));
            self.fresh.remove(&frame.stream);
            self.frames += 1;
            self.play(playout::Input::Frame(frame));
        }
        self.play(playout::Input::Timeout);
        let mut reports = 0;
        while let Some(report) = self.receiver.poll_report(self.now) {
            assert!(report.len() <= MAX_REPORT, "{} bytes", report.len());
            let nothing_else = |said: Feedback<'_>| {
                let known = [
                    matches!(said, Feedback::Report { .. } | Feedback::Nack { .. }),
                    matches!(said, Feedback::Pli { .. } | Feedback::Transport(_)),
                ];
                known.contains(&true)
            };
            assert!(feedback::read(&report).all(nothing_else));
            reports += 1;
            assert!(reports < 1000, "it has always more to report");
        }
        assert!(self.receiver.deadline().is_none_or(|at| at > self.now), "what was due was done");
    }

    fn play(&mut self, input: playout::Input) {
        self.playout.handle_input(input, self.now);
        for _ in 0..10_000 {
            match self.playout.poll_output() {
                Output::Video { show, .. } => self.shown += u64::from(show),
                Output::Timeout(due) => {
                    assert!(due.is_none_or(|due| due > self.now), "what was due was done");
                    assert!(self.playout.waiting().into_iter().all(|bytes| bytes <= LIMITS.most_bytes));
                    return;
                }
                Output::Audio { at, .. } | Output::Conceal { at, .. } => {
                    assert!(at <= self.now + Duration::from_secs(10), "it is heard soon");
                }
                Output::NeedKeyFrame(_) => self.key_wanted = true,
                Output::Stalled(_) | Output::Resumed(_) => {}
            }
        }
        panic!("it has always more to play");
    }

    /// A second later another sender begins, which is honest.
    fn meet_honest_sender(mut self) {
        if self.formats != lanes(0) {
            self.set_lanes(lanes(0));
        }
        self.now += Duration::from_secs(2);
        self.drain();
        let (frames, shown) = (self.frames, self.shown);
        for n in 0..HONEST_FRAMES {
            let [_, _, a, b] = (n + 7).to_be_bytes();
            let mut head = vec![0x80, 0x80 | 98, a, b];
            head.extend((n * 3000).to_be_bytes());
            head.extend(HONEST.to_be_bytes());
            let kind = u8::from(n != 0 && !std::mem::take(&mut self.key_wanted));
            self.send(
                &head,
                u64::from(n) + 7,
                &[0x10, 0x10 | kind, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0, 7],
            );
            self.drain();
            // In steps, as the playout has its own times.
            for _ in 0..3 {
                self.now += Duration::from_millis(11);
                self.drain();
            }
        }
        assert_eq!(self.frames - frames, u64::from(HONEST_FRAMES), "all is received");
        // But for the first ones, which may all be later than what was played before: that is the new normal after a second,
        // and they may wait for another one.
        assert!(self.shown - shown > u64::from(HONEST_FRAMES) / 2, "{} are shown", self.shown - shown);
    }
}

/// What may be agreed on: one stream of each codec; a video in several encodings, in two orders and with one less; two
/// sections with one codec; nothing.
fn lanes(which: u8) -> Vec<Format> {
    let h264 = format(VIDEO_H264, Codec::H264, 96);
    let vp8 = format(VIDEO_VP8, Codec::Vp8, 98);
    let opus = format(AUDIO_OPUS, Codec::Opus, 111);
    let layers = |order: &[usize]| -> Vec<Format> {
        let layer = |(number, rid): (usize, &usize)| {
            let rid = Rid::new(RIDS[*rid]).expect("a name");
            let layer = Some(Layer { rid, name: NAME, repeated: Some(REPEATED) });
            Format { stream: VIDEO_VP8_LAYERS[number], layer, ..vp8 }
        };
        order.iter().enumerate().map(layer).chain([opus]).collect()
    };
    match which {
        0 | 1 => vec![h264, vp8, opus],
        2 => layers(&[0, 1, 2]),
        3 => layers(&[2, 0, 1]),
        4 => layers(&[1, 2]),
        5 => vec![vp8, format(VIDEO_VP8, Codec::Vp8, 5), opus],
        6 => [layers(&[0, 1]), vec![format(VIDEO_VP8, Codec::Vp8, 96)]].concat(),
        _ => vec![],
    }
}

fn format(stream: StreamId, codec: Codec, pt: u8) -> Format {
    let video = codec.is_video();
    Format {
        stream,
        layer: None,
        codec,
        pt,
        rtx: video.then_some(pt + 1),
        nack: video,
        pli: video,
        remb: video,
        transport: Some(3),
    }
}
