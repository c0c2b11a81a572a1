//! What a peer sends of its media: authentic, so that nothing stops it before it is read.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use super::bytes::Bytes;
use super::rtcp::material;
use crate::media::{AUDIO_OPUS, Codec, StreamId, VIDEO_H264, VIDEO_VP8};
use crate::rtc::crypto::keys::{Keys, Profile};
use crate::rtc::crypto::seal::Sealer;
use crate::rtc::recv::lane::Format;
use crate::rtc::recv::receiver::Receiver;
use crate::rtc::send::feedback::{self, Feedback};

const PAYLOAD_TYPES: [u8; 6] = [96, 97, 98, 99, 111, 5];
const SSRCS: [u32; 3] = [1000, 2000, 3000];
/// Of an RTP packet in a datagram of 1500 bytes.
const MAX_PAYLOAD: usize = 1400;
/// What leaves room for sealing and headers.
const MAX_REPORT: usize = 1100;

/// RTP and sender reports of any content: frames of a stream go forward in time, video begins with a key frame, and
/// does so again after a loss; reports are readable and fit into a datagram.
///
/// The bytes say what comes next: a packet, a report, time that passes, or a wish for a key frame.
pub fn recv(data: &[u8]) {
    let mut bytes = Bytes(data);
    let profile = Profile::Aes128Gcm;
    let material = material(profile, data);
    let mut sealer = Sealer::new(&Keys::new(profile, material.clone(), true));
    let mut now = Instant::now();
    let mut receiver = Receiver::new(1, "name", now);
    receiver.connect(&Keys::new(profile, material, false));
    receiver.set_lanes(&[
        format(VIDEO_H264, Codec::H264, 96),
        format(VIDEO_VP8, Codec::Vp8, 98),
        format(AUDIO_OPUS, Codec::Opus, 111),
    ]);
    let (mut newest, mut used) = ([3_u64; SSRCS.len()], HashSet::new());
    let mut last: BTreeMap<StreamId, Duration> = BTreeMap::new();
    for _ in 0..400 {
        if bytes.is_empty() {
            break;
        }
        match bytes.u8() % 8 {
            0 => now += Duration::from_millis(bytes.u16().into()),
            1 => {
                let mut word = || u32::from(bytes.u16()) << 16 | u32::from(bytes.u16());
                let (ntp, rtp) = (u64::from(word()) << 32, word());
                receiver.handle_sender_report(bytes.pick(&SSRCS), ntp, rtp, now);
            }
            2 => receiver.request_key_frame(bytes.pick(&[VIDEO_H264, VIDEO_VP8, AUDIO_OPUS]), now),
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
                    let mut extensions = bytes.piece().to_vec();
                    extensions.resize(extensions.len().next_multiple_of(4), 0);
                    head.extend([0xbe, 0xde, 0, (extensions.len() / 4) as u8]);
                    head.extend(extensions);
                }
                let payload = bytes.piece();
                // Long ones, too.
                let times = if flags & 1 == 0 { 1 } else { MAX_PAYLOAD / payload.len().max(1) };
                let mut packet = vec![];
                sealer.seal_rtp(&head, index, &payload.repeat(times), &mut packet);
                assert!(receiver.handle_rtp(&packet, now));
                assert!(!receiver.handle_rtp(&packet, now), "it came before");
            }
        }
        receiver.handle_timeout(now);
        while let Some(frame) = receiver.poll_frame() {
            assert!(!frame.data.is_empty() && frame.captured <= now);
            let before = last.insert(frame.stream, frame.pts);
            assert!(before.is_none_or(|before| frame.pts > before), "{before:?}, {:?}", frame.pts);
            assert!(frame.key || (before.is_some() && !frame.discontinuity));
        }
        let mut reports = 0;
        while let Some(report) = receiver.poll_report(now) {
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
        assert!(receiver.deadline().is_none_or(|at| at > now), "what was due was done");
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
