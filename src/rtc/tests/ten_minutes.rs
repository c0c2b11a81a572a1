//! A call of ten minutes between two machines whose clocks differ, on a network that loses and reorders.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::pair::{BOTH, Pair, directions};
use super::world::ms;
use crate::media::Codec;
use crate::rtc::recv::tests::unsafe_heap::held;

/// What two cheap crystals differ by.
const FAST: f64 = 100e-6;
/// Audio and video that are farther apart than this are noticed (ITU-R BT.1359: 45 ms).
const APART: Duration = Duration::from_millis(40);
/// What the tables of a session may still grow by after four minutes.
const GROWTH: isize = 32 << 10;

/// Two frames that were sent at one time, as they were received.
struct Received {
    /// That time, by the receiver's clock.
    sent: Instant,
    /// The times of the video and of the audio.
    pts: [Duration; 2],
    captured: [Instant; 2],
}

fn forget(pair: &mut Pair) {
    pair.peers.iter_mut().for_each(|peer| (peer.sent, peer.frames, peer.events) = Default::default());
}

/// What one of them sends in a second, as far as it arrives within it.
fn second(pair: &mut Pair, from: usize) -> Vec<Received> {
    let began = pair.now;
    forget(pair);
    pair.run(ms(1000));
    let [video, audio] = [Codec::H264, Codec::Opus].map(|codec| {
        let all = pair.peers[1 - from].frames.iter().filter(move |frame| frame.codec == codec);
        all.map(|frame| (frame.data.clone(), (frame.pts, frame.captured))).collect::<HashMap<_, _>>()
    });
    let sent = pair.peers[from].sent.chunks(2).zip(0..);
    sent.filter_map(|(sent, n)| {
        let (video, audio) = (video.get(&sent[0])?, audio.get(&sent[1])?);
        Some(Received {
            sent: pair.time_of(1 - from, began + ms(20) * n),
            pts: [video.0, audio.0],
            captured: [video.1, audio.1],
        })
    })
    .collect()
}

#[test]
fn audio_and_video_stay_together_and_memory_is_flat() {
    let mut pair = Pair::call(directions(&BOTH, &BOTH), directions(&BOTH, &BOTH)).expect("they agree");
    (pair.peers[0].fast, pair.size) = (FAST, 600);
    pair.run(ms(3000));
    (pair.loss, pair.late) = (1, 2);
    let (mut apart, mut off, mut compared, mut memory) = (Duration::ZERO, Duration::ZERO, 0, vec![]);
    for n in 0..600 {
        for frames in second(&mut pair, n % 2) {
            apart = apart.max(frames.pts[0].abs_diff(frames.pts[1]));
            let of = |captured: Instant| captured.max(frames.sent) - captured.min(frames.sent);
            off = frames.captured.into_iter().map(of).fold(off, Duration::max);
            compared += 1;
        }
        if n % 60 == 59 {
            forget(&mut pair);
            memory.push(held());
        }
    }
    // What is in use goes up and down with what is on its way.
    let most = |minutes: &[isize]| minutes.iter().copied().max().expect("ten minutes");
    let growth = most(&memory[7..]) - most(&memory[1..4]);
    println!(
        "{compared} pairs of frames: at most {apart:?} apart, their times of capture off by {off:?}; \
         {growth} bytes more in the last minutes than in the first: {memory:?}"
    );
    assert!(compared > 600 * 40, "{compared} pairs of frames");
    assert!(apart < APART, "{apart:?}");
    // The way to us, what the clocks part by in ten minutes, and what a repeat takes.
    assert!(off < ms(15 + 60 + 100), "{off:?}");
    assert!(growth < GROWTH, "{growth} bytes");
}
