//! A sender with a clock of its own, a path that delays and loses, and the playout, all on a virtual clock.

use std::collections::HashMap;

use super::*;
use crate::media::Codec;

const VIDEO: StreamId = StreamId(0);
const AUDIO: StreamId = StreamId(2);

const LIMITS: Limits = Limits { start: 60_000, least: 0, most: 1_000_000, most_bytes: 8 << 20 };

/// Xorshift: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What came out, in microseconds since the start.
#[derive(Clone, Debug, PartialEq)]
enum Out {
    Video { captured: Micros, at: Micros, show: bool, given: Micros },
    Audio { captured: Micros, at: Micros, resume: bool, given: Micros },
    Conceal { at: Micros },
    Key(StreamId),
    Stalled(Kind),
    Resumed(Kind),
}

struct Bench {
    playout: Playout,
    start: Instant,
    out: Vec<Out>,
    wake: Option<Instant>,
}

impl Bench {
    fn new(limits: Limits) -> Bench {
        // So that capture times before the start are possible.
        let start = Instant::now() + Duration::from_secs(10_000);
        Bench { playout: Playout::new(limits, start), start, out: Vec::new(), wake: None }
    }

    fn at(&self, micros: Micros) -> Instant {
        instant(self.start, micros)
    }

    /// Runs the timers up to a time.
    fn run_to(&mut self, micros: Micros) {
        let end = self.at(micros);
        while let Some(wake) = self.wake.filter(|wake| *wake <= end) {
            self.input(Input::Timeout, wake);
            assert!(self.wake.is_none_or(|next| next > wake), "it must not ask for the time that is now");
        }
    }

    fn input(&mut self, input: Input, now: Instant) {
        self.playout.handle_input(input, now);
        let given = self.playout.micros(now);
        loop {
            let output = self.playout.poll_output();
            let micros = |at| self.playout.micros(at);
            let out = match output {
                Output::Video { frame, at, show } => {
                    Out::Video { captured: micros(frame.captured), at: micros(at), show, given }
                }
                Output::Audio { frame, at, resume, .. } => {
                    Out::Audio { captured: micros(frame.captured), at: micros(at), resume, given }
                }
                Output::Conceal { at, .. } => Out::Conceal { at: micros(at) },
                Output::NeedKeyFrame(stream) => Out::Key(stream),
                Output::Stalled(kind) => Out::Stalled(kind),
                Output::Resumed(kind) => Out::Resumed(kind),
                Output::Timeout(at) => {
                    self.wake = at;
                    return;
                }
            };
            self.out.push(out);
        }
    }

    fn arrive(&mut self, frame: Frame, micros: Micros) {
        self.run_to(micros);
        let now = self.at(micros);
        self.input(Input::Frame(frame), now);
    }

    fn frame(&self, stream: StreamId, codec: Codec, key: bool, captured: Micros) -> Frame {
        Frame {
            stream,
            codec,
            key,
            captured: self.at(captured),
            pts: Duration::ZERO,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            // CELT, 20 ms, one frame.
            data: [vec![0xf8], vec![1; 80]].concat().into(),
        }
    }

    fn video(&mut self, key: bool, captured: Micros, now: Micros) {
        let frame = self.frame(VIDEO, Codec::H264, key, captured);
        self.arrive(frame, now);
    }

    fn audio(&mut self, captured: Micros, now: Micros) {
        let frame = self.frame(AUDIO, Codec::Opus, true, captured);
        self.arrive(frame, now);
    }

    fn take(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }
}

/// A path and a sender's clock.
#[derive(Clone, Copy, Debug)]
struct Path {
    seed: u64,
    seconds: Micros,
    delay: f64,
    /// The mean of exponential jitter, in microseconds.
    jitter: f64,
    loss: f64,
    /// How much faster the sender's clock is, in parts per million.
    drift: f64,
    /// How much longer video takes, for its encoder.
    video: f64,
}

impl Path {
    /// Frames as they arrive: arrival, capture time by the sender's clock, whether it is video, key.
    fn arrivals(&self) -> Vec<(Micros, Micros, bool, bool)> {
        let mut random = Random(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
        let scale = 1.0 + self.drift / 1e6;
        let sent = |captured: Micros| (captured as f64 / scale) as Micros;
        let mut all = Vec::new();
        let mut newest = 0;
        for number in 0..self.seconds * 30 {
            let captured = number * 1_000_000 / 30;
            let took = self.delay + self.video - self.jitter * (1.0 - random.next()).ln();
            // The jitter buffer before us gives out video in order.
            newest = newest.max(sent(captured) + took as Micros);
            all.push((newest, captured, true, number % 300 == 0));
        }
        for number in 0..self.seconds * 50 {
            let captured = number * 20_000;
            let took = self.delay - self.jitter * (1.0 - random.next()).ln();
            if random.next() >= self.loss {
                all.push((sent(captured) + took as Micros, captured, false, true));
            }
        }
        all.sort_unstable();
        all
    }

    fn play(&self) -> Bench {
        let mut bench = Bench::new(LIMITS);
        for (now, captured, video, key) in self.arrivals() {
            match video {
                true => bench.video(key, captured, now),
                false => bench.audio(captured, now),
            }
        }
        // Until the last frames have been given out.
        bench.run_to(self.seconds * 1_000_000 + 800_000);
        bench
    }
}

/// The skew of each shown frame: how much later than the audio of its time it is shown. Frames during concealment, when
/// nothing of a time is heard, are left out.
fn skews(out: &[Out]) -> Vec<Skew> {
    let heard: Vec<(Micros, Micros)> = out
        .iter()
        .filter_map(|out| match out {
            Out::Audio { captured, at, .. } => Some((*at, *captured)),
            _ => None,
        })
        .collect();
    let shown = out.iter().filter_map(|out| match out {
        Out::Video { captured, at, show: true, given } => Some(((*at).max(*given), *captured)),
        _ => None,
    });
    let playing = |at: Micros| {
        let index = heard.partition_point(|(heard, _)| *heard <= at).checked_sub(1)?;
        let (begins, of) = heard[index];
        (at - begins < 20_000).then_some(of + at - begins)
    };
    // When the audio of that time went to its decoder: video that arrives later than this cannot be in sync.
    let decided = |captured: Micros| {
        let index = heard.partition_point(|(_, of)| *of <= captured).saturating_sub(1);
        let (begins, of) = heard[index];
        begins + captured - of - LEAD
    };
    let skew =
        |(at, captured)| Some(Skew { captured, skew: playing(at)? - captured, decided: decided(captured) });
    shown.filter_map(skew).collect()
}

struct Skew {
    captured: Micros,
    skew: Micros,
    decided: Micros,
}

/// Times of audio and concealment in order, as they reach the output: (at, concealed).
fn audio(out: &[Out]) -> Vec<(Micros, bool)> {
    out.iter()
        .filter_map(|out| match out {
            Out::Audio { at, .. } => Some((*at, false)),
            Out::Conceal { at } => Some((*at, true)),
            _ => None,
        })
        .collect()
}

#[test]
fn audio_and_video_stay_in_sync_on_every_path() {
    let paths = [
        ("quiet", Path { seed: 0, seconds: 60, delay: 20e3, jitter: 0.0, loss: 0.0, drift: 0.0, video: 0.0 }),
        (
            "jitter",
            Path { seed: 0, seconds: 60, delay: 40e3, jitter: 10e3, loss: 0.0, drift: 0.0, video: 0.0 },
        ),
        ("loss", Path { seed: 0, seconds: 60, delay: 40e3, jitter: 2e3, loss: 0.2, drift: 0.0, video: 0.0 }),
        (
            "slow video",
            Path { seed: 0, seconds: 60, delay: 40e3, jitter: 5e3, loss: 0.05, drift: 0.0, video: 150e3 },
        ),
        (
            "fast clock",
            Path { seed: 0, seconds: 300, delay: 40e3, jitter: 3e3, loss: 0.0, drift: 300.0, video: 0.0 },
        ),
        (
            "slow clock",
            Path { seed: 0, seconds: 300, delay: 40e3, jitter: 3e3, loss: 0.0, drift: -300.0, video: 0.0 },
        ),
        (
            "all of it",
            Path { seed: 0, seconds: 300, delay: 90e3, jitter: 15e3, loss: 0.1, drift: 100.0, video: 60e3 },
        ),
    ];
    for (name, path) in paths {
        for seed in 0..3 {
            let path = Path { seed, ..path };
            let bench = path.play();
            let sent = path.arrivals();
            let arrived: HashMap<Micros, Micros> = sent
                .iter()
                .filter(|(.., video, _)| *video)
                .map(|(now, captured, ..)| (*captured, *now))
                .collect();
            let all = skews(&bench.out);
            let all_count = all.len();
            let in_time = all.into_iter().filter(|skew| arrived[&skew.captured] <= skew.decided);
            let mut skews: Vec<Micros> = in_time.map(|skew| skew.skew).collect();
            skews.sort_unstable_by_key(|skew| skew.abs());
            let (count, most) = (skews.len(), skews[skews.len() - 1]);
            let p95 = skews[count * 95 / 100];
            assert!(
                (all_count - count) * 50 <= all_count,
                "{name} {seed}: {count} of {all_count} came in time"
            );
            let counts = bench.playout.counts();
            println!(
                "{name} {seed}: {count} frames, skew p95 {p95} µs, most {most} µs, delay {:?}, {counts:?}",
                bench.playout.delay()
            );
            assert!(most.abs() <= 40_000, "{name} {seed}: skew {most} µs");
            // Only where the audio itself was being concealed is there nothing to compare with.
            assert!(count as Micros > path.seconds * 30 / 2, "{name} {seed}: {count} of the frames compared");
            // Every frame has one fate.
            let videos = sent.iter().filter(|(_, _, video, _)| *video).count() as u64;
            let audios = sent.len() as u64 - videos;
            assert_eq!(counts.video + counts.video_late + counts.video_undecodable, videos, "{name} {seed}");
            assert_eq!(counts.audio + counts.audio_late + counts.audio_skipped, audios, "{name} {seed}");
            assert!(counts.video_late * 50 <= videos, "{name} {seed}: {counts:?}");
            assert!(counts.audio_late * 50 <= audios, "{name} {seed}: {counts:?}");
        }
    }
}

#[test]
fn audio_has_no_gap_and_keeps_its_duration() {
    for loss in [0.0, 0.05, 0.2] {
        for seed in 0..5 {
            let path = Path { seed, seconds: 60, delay: 40e3, jitter: 2e3, loss, drift: 0.0, video: 0.0 };
            let bench = path.play();
            let audio = audio(&bench.out);
            for pair in audio.windows(2) {
                assert_eq!(pair[1].0 - pair[0].0, 20_000, "loss {loss}, seed {seed}");
            }
            let counts = bench.playout.counts();
            let (sent, lost) = (3_000, 3_000 - counts.audio - counts.audio_late);
            println!("loss {loss} seed {seed}: {lost} of {sent} lost, {counts:?}");
            // Each lost packet is concealed; a few more when the delay rises, a few less when it falls.
            assert!(counts.concealed.abs_diff(lost) <= 5, "loss {loss}, seed {seed}: {counts:?}");
            let played = counts.audio + counts.concealed;
            assert!(played.abs_diff(sent) <= 5, "loss {loss}, seed {seed}: {played} of {sent} packets");
        }
    }
}

#[test]
fn the_delay_rises_at_once_and_falls_slowly() {
    let mut bench = Bench::new(LIMITS);
    let delays = |bench: &mut Bench, from: Micros, to: Micros, transit: Micros| {
        (from..to).for_each(|n| bench.audio(n * 20_000, n * 20_000 + transit));
        bench.playout.delay().as_millis()
    };
    assert_eq!(delays(&mut bench, 0, 40, 30_000), 60, "as it starts");
    // One packet comes 180 ms late, so those after it are held as long.
    (40..50).for_each(|n| bench.audio(n * 20_000, n * 20_000 + 30_000));
    let n = 51;
    bench.audio(n * 20_000, n * 20_000 + 210_000);
    let risen = bench.playout.delay().as_millis();
    assert!((180..=210).contains(&risen), "{risen}");
    // The late packet is remembered for 10 s; then the delay falls by at most a packet a second.
    let remembered = delays(&mut bench, 61, 500, 30_000);
    assert!(remembered >= 180, "{remembered}");
    let mut before = remembered;
    for second in 10..60 {
        let delay = delays(&mut bench, second * 50, second * 50 + 50, 30_000);
        assert!(delay + 20 >= before, "{delay} after {before}");
        before = delay;
    }
    assert!(before <= 40, "{before}");
    assert!(bench.playout.counts().audio_skipped >= 7, "{:?}", bench.playout.counts());
    let audio = audio(&bench.out);
    assert!(audio.windows(2).all(|pair| pair[1].0 - pair[0].0 == 20_000), "without a gap all the time");
}

#[test]
fn the_delay_stays_within_its_bounds() {
    let limits = Limits { start: 100_000, least: 80_000, most: 300_000, ..LIMITS };
    for seed in 0..5 {
        let mut bench = Bench::new(limits);
        let mut random = Random(seed + 1);
        for n in 0..3_000 {
            let burst = if n % 500 > 480 { 2_000_000.0 * random.next() } else { 0.0 };
            bench.audio(n * 20_000, n * 20_000 + (burst * random.next()) as Micros + 30_000);
            let delay = bench.playout.delay().as_micros() as Micros;
            assert!((limits.least..=limits.most).contains(&delay), "{delay} at {n}");
        }
    }
}

#[test]
fn video_waits_for_a_key_frame_and_asks_once_a_second() {
    let mut bench = Bench::new(LIMITS);
    for n in 0..60 {
        bench.video(false, n * 33_000, n * 33_000 + 20_000);
    }
    assert_eq!(bench.take(), [Out::Key(VIDEO), Out::Key(VIDEO)], "in two seconds");
    bench.video(true, 60 * 33_000, 60 * 33_000 + 20_000);
    bench.video(false, 61 * 33_000, 61 * 33_000 + 20_000);
    bench.run_to(3_000_000);
    let shown = bench.take();
    assert!(matches!(shown[..], [Out::Video { show: true, .. }, Out::Video { show: true, .. }]), "{shown:?}");
    // A gap that the stream itself announces, and a decoder that failed.
    let mut lost = bench.frame(VIDEO, Codec::H264, false, 3_000_000);
    lost.discontinuity = true;
    bench.arrive(lost, 3_020_000);
    bench.video(false, 3_033_000, 3_053_000);
    assert_eq!(bench.take(), [Out::Key(VIDEO)]);
    bench.video(true, 3_066_000, 3_086_000);
    let now = bench.at(3_087_000);
    bench.input(Input::Broken(Kind::Video), now);
    bench.run_to(3_300_000);
    assert!(
        matches!(bench.take()[..], [Out::Video { show: true, .. }]),
        "the key frame that waits is decodable"
    );
    let now = bench.at(3_300_000);
    bench.input(Input::Broken(Kind::Video), now);
    bench.video(false, 3_310_000, 3_330_000);
    assert_eq!(bench.take(), [Out::Key(VIDEO)]);
    assert_eq!(bench.playout.counts().video_undecodable, 63);
}

#[test]
fn late_video_is_decoded_but_not_shown() {
    let mut bench = Bench::new(LIMITS);
    bench.video(true, 0, 20_000);
    (1..30).for_each(|n| bench.video(false, n * 33_000, n * 33_000 + 20_000));
    bench.run_to(30 * 33_000 + 300_000);
    bench.take();
    // The path stalls for two seconds, then all arrives within 30 ms.
    (30..90).for_each(|n| bench.video(false, n * 33_000, 90 * 33_000 + (n - 30) * 500));
    (90..120).for_each(|n| bench.video(false, n * 33_000, n * 33_000 + 60_000));
    bench.run_to(5_000_000);
    let out = bench.take();
    let shown =
        |show| out.iter().filter(|out| matches!(out, Out::Video { show: s, .. } if *s == show)).count();
    assert_eq!(shown(true) + shown(false), 90, "every one is decoded");
    assert!((25..=60).contains(&shown(false)), "{} hidden", shown(false));
    assert!(!out.contains(&Out::Key(VIDEO)));
    let captured = out.iter().filter_map(|out| match out {
        Out::Video { captured, .. } => Some(*captured),
        _ => None,
    });
    assert!(captured.collect::<Vec<_>>().is_sorted(), "in decoding order");
}

#[test]
fn queues_are_bounded_by_time_and_bytes() {
    // A delay of ten seconds makes frames wait.
    let mut bench = Bench::new(Limits { start: 10_000_000, most: 10_000_000, most_bytes: 10_000, ..LIMITS });
    for n in 0..300 {
        bench.video(n % 10 == 0, n * 33_000, n * 33_000);
        bench.audio(n * 33_000, n * 33_000);
        assert!(bench.playout.waiting().into_iter().all(|bytes| bytes <= 10_000));
    }
    let counts = bench.playout.counts();
    assert!(counts.overflow > 300, "{counts:?}");
}

/// A VP8 key frame of this size.
fn vp8_of(width: u16, height: u16) -> Vec<u8> {
    [&[0x10, 0, 0, 0x9d, 1, 0x2a][..], &width.to_le_bytes(), &height.to_le_bytes(), &[1; 80]].concat()
}

/// Bits, and Exp-Golomb codes of numbers.
fn bits(codes: &[u32]) -> Vec<u8> {
    let mut text = String::new();
    for code in codes {
        let plus = u64::from(*code) + 1;
        let len = plus.ilog2() as usize;
        text += &format!("{}{plus:b}", "0".repeat(len));
    }
    text += "10000000";
    text.as_bytes()
        .chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |all, bit| all << 1 | (bit - b'0')))
        .collect()
}

/// An SPS of so many macroblocks, of which all are cropped but a few, and an IDR slice.
fn h264_of(width: u32, height: u32) -> Vec<u8> {
    let crop = |blocks: u32| blocks.saturating_sub(4) * 8;
    // A flag that is set is the code of 0. Behind the size come three of them, and what is cropped.
    let codes = [0, 0, 0, 0, 1, 0, width - 1, height - 1, 0, 0, 0, 0, crop(width), 0, crop(height)];
    [&[0, 0, 0, 1, 0x67, 66, 0xc0, 40], &bits(&codes)[..], &[0, 0, 0, 1, 0x65, 0x88, 0x84, 0x3a]].concat()
}

#[test]
fn pictures_that_no_memory_holds_are_not_decoded() {
    let broken = [0, 0, 0, 1, 0x67, 66, 0xc0, 40, 0, 0, 0, 1, 0x65, 0x88].to_vec();
    let table = [
        (Codec::Vp8, vp8_of(3840, 2160), true),
        (Codec::Vp8, vp8_of(16_383, 16_383), false),
        (Codec::H264, h264_of(256, 144), true),
        // Nearly all of it is cropped.
        (Codec::H264, h264_of(1024, 1024), false),
        (Codec::H264, broken, false),
    ];
    for (codec, data, decoded) in table {
        let mut bench = Bench::new(LIMITS);
        for n in 0..60 {
            let mut frame = bench.frame(VIDEO, codec, n % 20 == 0, n * 33_000);
            frame.data = if n == 20 { data.clone().into() } else { frame.data };
            bench.arrive(frame, n * 33_000 + 20_000);
        }
        bench.run_to(4_000_000);
        let counts = bench.playout.counts();
        let lost = if decoded { 0 } else { 20 };
        assert_eq!(
            (counts.video + counts.video_late, counts.video_undecodable),
            (60 - lost, lost),
            "{codec:?}"
        );
        assert_eq!(bench.out.contains(&Out::Key(VIDEO)), !decoded);
    }
    assert_eq!(
        crate::media::frame::sps::Sps::find(&h264_of(1024, 1024)).map(|sps| (sps.width, sps.height)),
        Some((64, 64))
    );
}

#[test]
fn a_stream_that_begins_later_joins_the_timeline() {
    for video_first in [true, false] {
        let mut bench = Bench::new(LIMITS);
        for n in 0..300 {
            // Every 20 ms, and video of a slower encoder.
            if video_first || n >= 150 {
                bench.video(n % 50 == 0, n * 20_000, n * 20_000 + 90_000);
            }
            if !video_first || n >= 150 {
                bench.audio(n * 20_000, n * 20_000 + 90_000);
            }
        }
        let skews = skews(&bench.out);
        assert!(skews.len() > 90, "{}", skews.len());
        assert!(skews.iter().all(|skew| skew.skew.abs() <= 20_000 || skew.decided < skew.captured + 90_000));
    }
}

#[test]
fn a_pause_is_not_concealed_for_long_and_is_no_loss() {
    let mut bench = Bench::new(LIMITS);
    (0..100).for_each(|n| bench.audio(n * 20_000, n * 20_000 + 20_000));
    bench.run_to(5_000_000);
    let out = bench.take();
    let concealed = out.iter().filter(|out| matches!(out, Out::Conceal { .. })).count();
    assert_eq!(concealed, 25, "half a second");
    assert_eq!(out.last(), Some(&Out::Stalled(Kind::Audio)));
    (0..50).for_each(|n| bench.audio(5_000_000 + n * 20_000, 5_020_000 + n * 20_000));
    let out = bench.take();
    assert_eq!(out[0], Out::Resumed(Kind::Audio));
    assert!(matches!(out[1], Out::Audio { resume: true, .. }), "{:?}", out[1]);
    assert!(out[2..].iter().all(|out| matches!(out, Out::Audio { resume: false, .. })));
    assert_eq!(bench.playout.counts().concealed, 0);
}

#[test]
fn another_stream_takes_over_when_the_first_stops() {
    let mut bench = Bench::new(LIMITS);
    let screen = StreamId(9);
    for n in 0..100 {
        if n < 50 {
            bench.video(n == 0, n * 33_000, n * 33_000 + 20_000);
        }
        let frame = bench.frame(screen, Codec::Vp8, n % 30 == 0, n * 33_000);
        bench.arrive(frame, n * 33_000 + 21_000);
    }
    bench.run_to(3_500_000);
    let counts = bench.playout.counts();
    // It has its turn after a second, and its next key frame is its 90th.
    assert_eq!((counts.video, counts.other), (50 + 10, 80), "{counts:?}");
    assert!(bench.out.contains(&Out::Key(screen)));
}

#[test]
fn a_clock_that_steps_does_not_end_the_playing() {
    for step in [10_000_000, -10_000_000, 3_000_000, -3_000_000, 300_000, -300_000] {
        let mut bench = Bench::new(LIMITS);
        for n in 0..500 {
            let step = if n >= 200 { step } else { 0 };
            bench.audio(n * 20_000 + step, n * 20_000 + 20_000);
            if n % 2 == 0 {
                bench.video(n % 100 == 0, n * 20_000 + step, n * 20_000 + 20_000);
            }
        }
        bench.run_to(500 * 20_000);
        // Two seconds after the step all is as before.
        let out = bench.out.iter().rev().take(300).collect::<Vec<_>>();
        let late = |at: Micros, given: Micros| !(0..=1_100_000).contains(&(at - given));
        for out in out {
            match out {
                Out::Audio { at, given, .. } | Out::Video { at, given, .. } => {
                    assert!(!late(*at, *given), "step {step}: {out:?}")
                }
                Out::Conceal { .. } => panic!("step {step}: {out:?}"),
                _ => {}
            }
        }
        let counts = bench.playout.counts();
        assert!(counts.audio > 400, "step {step}: {counts:?}");
        let last = bench.out.iter().rev().find_map(|out| match out {
            Out::Audio { captured, .. } => Some(*captured),
            _ => None,
        });
        assert!(last.is_some_and(|last| last > 490 * 20_000 + step - 1_100_000), "step {step}: {last:?}");
    }
}

#[test]
fn nothing_that_comes_makes_it_panic() {
    for seed in 1..200 {
        let mut random = Random(seed);
        let mut bench = Bench::new(Limits { most_bytes: 20_000, ..LIMITS });
        let mut now = 0;
        for _ in 0..500 {
            now += (random.next() * random.next() * 1e5) as Micros;
            let codec = [Codec::H264, Codec::Vp8, Codec::Opus, Codec::Jpeg][(random.next() * 4.0) as usize];
            let spread = [1e3, 1e6, 1e9, 1e12][(random.next() * 4.0) as usize];
            let captured = now + ((random.next() - 0.5) * spread) as Micros;
            let stream = StreamId((random.next() * 3.0) as u32);
            let mut frame = bench.frame(stream, codec, random.next() < 0.2, captured);
            let length = (random.next() * 5_000.0) as usize;
            frame.data = (0..length).map(|_| (random.next() * 256.0) as u8).collect();
            frame.discontinuity = random.next() < 0.05;
            bench.arrive(frame, now);
            if random.next() < 0.05 {
                let kind = if random.next() < 0.5 { Kind::Video } else { Kind::Audio };
                let at = bench.at(now);
                bench.input(Input::Broken(kind), at);
            }
        }
        bench.run_to(now + 20_000_000);
        let counts = bench.playout.counts();
        let fates = counts.video + counts.video_late + counts.video_undecodable;
        let audio = counts.audio + counts.audio_late + counts.audio_undecodable + counts.audio_skipped;
        assert_eq!(fates + audio + counts.overflow + counts.other, 500, "each has one fate: {counts:?}");
    }
}
