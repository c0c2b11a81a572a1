//! A speaker and a microphone on a virtual clock.

use super::*;

/// Of the speaker, which gets packets of 20 ms 50 ms before they are due.
const PACKET: i64 = 20 * MS;
const AHEAD: i64 = 50 * MS;

/// A sequence of pseudo-random values from -1 to 1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// Words: coloured noise in syllables, with pauses.
fn words(seconds: i64) -> Vec<f64> {
    let (mut noise, mut low) = (Noise(0x1234_5678_9abc_def1), 0.0);
    let sample = |index: i64| {
        let at = index as f64 / f64::from(RATE);
        low = 0.9 * low + 0.1 * noise.next();
        let syllable = (std::f64::consts::TAU * 2.3 * at).sin().max(0.0);
        let pause = if (at * 1.3) as i64 % 4 == 3 { 0.0 } else { 1.0 };
        low * syllable * pause
    };
    (0..seconds * 1_000 * MS).map(sample).collect()
}

fn tone(seconds: i64) -> Vec<f64> {
    let of = |index: i64| 0.3 * (std::f64::consts::TAU * 440.0 * index as f64 / f64::from(RATE)).sin();
    (0..seconds * 1_000 * MS).map(of).collect()
}

fn at(signal: &[f64], position: f64) -> f64 {
    let index = position.floor();
    let of = |index: f64| {
        if index < 0.0 { 0.0 } else { signal.get(index as usize).copied().unwrap_or_default() }
    };
    of(index) + (position - index) * (of(index + 1.0) - of(index))
}

fn sample(value: f64) -> i16 {
    (value * 32_767.0) as i16
}

/// Where a speaker is heard by a microphone.
struct Room {
    alignment: Alignment,
    zero: Instant,
    said: Vec<f64>,
    played: i64,
    heard: i64,
    /// The microphone's noise, and the level of the echo.
    noise: (Noise, f64),
    level: f64,
}

impl Room {
    fn new(said: Vec<f64>) -> Room {
        let zero = Instant::now();
        let alignment = Alignment::new(zero);
        Room { alignment, zero, said, played: 0, heard: 0, noise: (Noise(77), 0.001), level: 0.4 }
    }

    fn instant(&self, position: i64) -> Instant {
        self.zero + Duration::from_secs_f64(position as f64 / f64::from(RATE))
    }

    /// Lets time pass, with this lag in ms at each time in seconds. Returns the error of each block, if it was aligned.
    fn pass(&mut self, seconds: f64, lag: impl Fn(f64) -> f64) -> Vec<Option<f64>> {
        let until = self.heard + (seconds * f64::from(RATE)) as i64;
        let mut errors = vec![];
        while self.heard < until {
            while self.played < self.heard + BLOCK as i64 + AHEAD {
                let packet =
                    (self.played..self.played + PACKET).map(|index| sample(at(&self.said, index as f64)));
                self.alignment.play(packet, self.instant(self.played));
                self.played += PACKET;
            }
            let block: [i16; BLOCK] = std::array::from_fn(|index| {
                let position = (self.heard + index as i64) as f64;
                let lag = lag(position / f64::from(RATE)) * MS as f64;
                let (noise, floor) = &mut self.noise;
                sample(self.level * at(&self.said, position - lag) + noise.next() * *floor)
            });
            let now = self.instant(self.heard + BLOCK as i64);
            let block = self.alignment.hear(&block, now);
            let true_lag = lag(self.heard as f64 / f64::from(RATE));
            let found = self.alignment.lag.unwrap_or(f64::NAN) / MS as f64;
            errors.push(block.map(|_| found - true_lag));
            self.heard += BLOCK as i64;
        }
        errors
    }
}

/// The greatest error of some blocks, all of which must be aligned.
fn worst(errors: &[Option<f64>]) -> f64 {
    errors.iter().map(|error| error.map_or(f64::INFINITY, f64::abs)).fold(0.0, f64::max)
}

#[test]
fn any_lag_is_found_within_two_seconds() {
    for lag in [-20.0, 0.0, 12.3, 80.0, 333.3, 600.0] {
        let mut room = Room::new(words(6));
        let errors = room.pass(4.0, |_| lag);
        let first = errors.iter().position(Option::is_some).expect("it is found");
        assert!(first <= 200 + lag.max(0.0) as usize / 10, "{lag} ms after {first} blocks");
        assert!(worst(&errors[first..]) < 0.3, "{lag} ms: {} ms off", worst(&errors[first..]));
    }
}

#[test]
fn what_is_returned_is_what_is_heard_12_ms_later() {
    let mut room = Room::new(words(8));
    (room.noise.1, room.level) = (0.0, 1.0);
    room.pass(4.0, |_| 100.0);
    let (mut differs, mut all) = (0.0, 0.0);
    for _ in 0..100 {
        let from = room.heard;
        while room.played < from + BLOCK as i64 + AHEAD {
            let packet =
                (room.played..room.played + PACKET).map(|index| sample(at(&room.said, index as f64)));
            room.alignment.play(packet, room.instant(room.played));
            room.played += PACKET;
        }
        let echo = |position: i64| sample(at(&room.said, (position - 100 * MS) as f64));
        let block = std::array::from_fn(|index| echo(from + index as i64));
        let returned = room.alignment.hear(&block, room.instant(from + BLOCK as i64)).expect("it is aligned");
        room.heard += BLOCK as i64;
        for (index, returned) in returned.into_iter().enumerate() {
            let expected = f64::from(echo(from + index as i64 + 12 * MS));
            (differs, all) = (differs + (f64::from(returned) - expected).powi(2), all + expected.powi(2));
        }
    }
    assert!(differs < all / 1_000.0, "by {differs} of {all}");
}

#[test]
fn a_drift_of_a_millisecond_per_second_is_followed() {
    let mut room = Room::new(words(40));
    let errors = room.pass(30.0, |at| 100.0 + at);
    // There are pauses.
    let settled: Vec<f64> = errors[400..].iter().flatten().copied().collect();
    assert!(settled.len() > 2_000, "{} blocks", settled.len());
    let (least, most) =
        settled.iter().fold((f64::MAX, f64::MIN), |(a, b), error| (a.min(*error), b.max(*error)));
    // It goes on in pauses, too.
    assert!(most - least < 1.5 && most.abs().max(least.abs()) < 2.0, "{least} to {most} ms");
}

#[test]
fn a_jump_is_followed_within_four_seconds() {
    for jump in [60.0, -45.0] {
        let mut room = Room::new(words(20));
        let errors = room.pass(15.0, |at| if at < 6.0 { 120.0 } else { 120.0 + jump });
        assert!(worst(&errors[200..600]) < 0.3);
        assert!(worst(&errors[1_000..]) < 0.5, "{} ms off", worst(&errors[1_000..]));
    }
}

#[test]
fn a_loud_neighbour_does_not_hide_the_echo_and_no_echo_is_none() {
    let mut room = Room::new(words(12));
    room.noise.1 = 0.03;
    let errors = room.pass(10.0, |_| 90.0);
    assert!(worst(&errors[400..]) < 0.5, "{} ms off", worst(&errors[400..]));
    let mut room = Room::new(words(22));
    (room.level, room.noise.1) = (0.0, 0.03);
    assert!(room.pass(20.0, |_| 90.0).iter().all(Option::is_none), "of noise alone");
}

#[test]
fn a_tone_has_no_lag() {
    let mut room = Room::new(tone(12));
    assert!(room.pass(10.0, |_| 90.0).iter().all(Option::is_none));
}

#[test]
fn nothing_is_done_while_nobody_talks() {
    let mut said = words(5);
    said.extend(vec![0.0; 5 * 48_000]);
    said.extend(words(5));
    let mut room = Room::new(said);
    let talks = room.pass(4.8, |_| 90.0);
    assert!(worst(&talks[300..]) < 0.5);
    let pauses = room.pass(5.0, |_| 90.0);
    assert!(pauses[200..].iter().all(Option::is_none));
    // What was learnt counts at once.
    let talks = room.pass(3.0, |_| 90.0);
    assert!(worst(&talks[40..]) < 0.5);
}

#[test]
fn a_microphone_whose_clock_runs_differently_stays_aligned() {
    // 200 ppm for 20 minutes are 240 ms: only arrivals are simulated, as the samples show nothing else.
    let mut alignment = Alignment::new(Instant::now());
    alignment.lag = Some(100.0 * MS as f64);
    let zero = alignment.zero;
    let mut most = 0;
    for block in 0..120_000i64 {
        let at = (block + 1) as f64 * 0.01 * 1.0002;
        alignment.hear(&[0; BLOCK], zero + Duration::from_secs_f64(at));
        let lead = alignment.position(zero + Duration::from_secs_f64(at)) - alignment.heard.expect("heard");
        most = most.max(lead.abs());
    }
    assert!(most <= 120 * MS, "{} ms", most / MS);
    let lag = alignment.lag.expect("it is kept") / MS as f64;
    assert!((299.0..=341.0).contains(&lag), "{lag} ms: what is read does not change");
}

#[test]
fn a_speaker_that_nobody_listens_to_fills_no_memory() {
    let mut alignment = Alignment::new(Instant::now());
    let zero = alignment.zero;
    for packet in 0..30_000u64 {
        // Now and then with gaps, and far ahead.
        let at = Duration::from_millis(packet * 20 + packet / 1_000 * 700);
        alignment.play((0..960).map(|index| index * 30), zero + at);
    }
    assert!(alignment.played.end() > 0 && alignment.played.memory() <= 4 * KEEP as usize);
}
