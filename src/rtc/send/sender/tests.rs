//! What leaves first, and probes, beside audio that is not paced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::*;
use crate::rtc::crypto::keys::Profile;
use crate::rtc::send::clock::Timestamp;
use crate::rtc::send::header::Extensions;

pub(in crate::rtc) const VIDEO: StreamId = StreamId(0);
pub(in crate::rtc) const AUDIO: StreamId = StreamId(2);
const LIMITS: Limits = Limits { initial: 2_000_000, min: 30_000, max: 4_000_000 };
/// Payload types.
pub(in crate::rtc) const VIDEO_PT: u8 = 96;
pub(in crate::rtc) const AUDIO_PT: u8 = 111;

/// A viewer of video and audio whose transport is connected.
pub(in crate::rtc) fn connected(limits: Limits, keys: &Keys, now: Instant) -> Sender {
    let mut sender = Sender::new("name", limits, None, now);
    let format = |mid: &str, pt, ssrc, rtx| Format {
        mid: mid.into(),
        pt,
        ssrc,
        rtx,
        others: vec![],
        extensions: Extensions { transport: Some(3), ..Extensions::default() },
    };
    let streams = vec![
        (VIDEO, Codec::H264, format("0", VIDEO_PT, 7, Some((97, 8)))),
        (AUDIO, Codec::Opus, format("1", AUDIO_PT, 9, None)),
    ];
    sender.set_streams(streams, 300, now);
    sender.connect(keys, now);
    sender
}

/// Each has a key of its own, since no index may be sealed twice under one.
fn viewer(now: Instant) -> Sender {
    static KEYS: AtomicU8 = AtomicU8::new(0);
    let (profile, key) = (Profile::Aes128Gcm, KEYS.fetch_add(1, Ordering::Relaxed));
    connected(LIMITS, &Keys::new(profile, [key, 7].repeat(profile.material_len() / 2), false), now)
}

fn frame(codec: Codec, bytes: usize, now: Instant) -> Cut {
    let whole = vec![1; bytes];
    let payloads = whole.chunks(1100).map(Arc::from).collect();
    Cut {
        codec,
        key: true,
        payloads: Arc::new(payloads),
        timestamp: Timestamp { ticks: 0, wallclock: now },
        encoding: None,
    }
}

/// Everything that may leave now, in bytes.
fn send(sender: &mut Sender, now: Instant) -> usize {
    let wall = Wall::new(None, now);
    let mut bytes = 0;
    while sender.has_packets(now) {
        bytes += sender.poll_packets(&wall, now).map_or(0, |(_, data)| data.len());
    }
    bytes
}

#[test]
fn the_first_key_frame_leaves_in_one_burst() {
    let now = Instant::now();
    let key = frame(Codec::H264, 40_000, now);
    let mut sender = viewer(now);
    sender.handle_frame(VIDEO, &key, now);
    assert!(send(&mut sender, now) > 40_000);
    // The next one is paced: 40 ms at five Mbit/s.
    let later = now + Duration::from_millis(400);
    sender.handle_frame(VIDEO, &key, later);
    let burst = send(&mut sender, later);
    assert!((24_000..27_000).contains(&burst), "{burst}");
}

#[test]
fn a_probe_that_arrived_at_once_is_repeated_only_after_the_first_frame() {
    let now = Instant::now();
    let mut sender = viewer(now);
    sender.handle_timeout(now);
    let (first, _) = sender.probing.expect("it is due at once");
    assert!(send(&mut sender, now) > first.bytes / 2);
    let arrived = (0..sender.transport).map(|number| Arrival { number: number as u16, at: Some(0) });
    sender.estimator.handle_feedback(arrived, now);
    sender.handle_timeout(now);
    assert_eq!(sender.probing, None, "it would arrive at once, too");
    let later = now + Duration::from_millis(100);
    sender.handle_frame(VIDEO, &frame(Codec::H264, 1000, later), later);
    send(&mut sender, later);
    sender.handle_timeout(later);
    let (again, _) = sender.probing.expect("it is due");
    assert_eq!(again.rate, first.rate);
    let sent = send(&mut sender, later + Duration::from_millis(1));
    assert!((1..again.bytes / 2).contains(&sent), "{sent} of {}", again.bytes);
}

#[test]
fn audio_that_leaves_while_the_pacer_is_closed_is_not_part_of_a_probe() {
    let now = Instant::now();
    let mut sender = viewer(now);
    sender.handle_frame(VIDEO, &frame(Codec::H264, 45_000, now), now);
    send(&mut sender, now);
    sender.handle_timeout(now);
    let (probe, _) = sender.probing.expect("it is due");
    assert!(!sender.pacer.is_open(now), "the frame has not passed");
    sender.handle_frame(AUDIO, &frame(Codec::Opus, 160, now), now);
    assert!(send(&mut sender, now) > 160, "audio is not paced");
    assert_eq!(sender.probing, Some((probe, probe.bytes)));
}

/// The estimate for a viewer on a fast link after this time, by a host that gets round to it every `turn`.
fn estimate_after(time: Duration, turn: Duration) -> u32 {
    const FRAME: Duration = Duration::from_millis(33);
    const FEEDBACK: Duration = Duration::from_millis(100);
    let start = Instant::now();
    let mut sender = viewer(start);
    let (mut at, mut next_frame, mut next_feedback) = (Duration::ZERO, 2 * turn, FEEDBACK);
    let (mut arrived, mut seen) = (vec![], 0);
    while at < time {
        let now = start + at;
        if at >= next_feedback {
            next_feedback += FEEDBACK;
            sender.estimator.handle_feedback(arrived.drain(..), now);
        }
        if at >= next_frame {
            next_frame += FRAME;
            sender.handle_frame(VIDEO, &frame(Codec::H264, 8000, now), now);
        }
        sender.handle_timeout(now);
        send(&mut sender, now);
        // What leaves at once arrives at once.
        let arrival = |number| Arrival { number: number as u16, at: Some(at.as_micros() as i64 + 1000) };
        arrived.extend((seen..sender.transport).map(arrival));
        seen = sender.transport;
        at += turn;
    }
    sender.estimator.estimate()
}

#[test]
fn a_busy_host_soon_finds_what_a_fast_link_carries() {
    for turn in [1, 5, 11, 20, 25] {
        let estimate = estimate_after(Duration::from_millis(600), Duration::from_millis(turn));
        assert!(estimate >= LIMITS.max / 100 * 95, "{estimate} with a turn of {turn} ms");
    }
}
