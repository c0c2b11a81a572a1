//! In place of an encoder: H.264 of 1280 x 720 at 30 frames a second and 2 Mbit/s, whose slices hold no picture, and Opus
//! that holds no sound. The same frames in every run.
//!
//! Every access unit ends with its number, so a viewer that decrypts the last bytes of a frame knows which frame it is
//! and that its keys are right.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::{self, Nanos};

/// The thread's name, by which its CPU time is told from that of the sender.
pub(crate) const THREAD: &str = "encoder";

pub(crate) const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// RTP's clock for video, in ticks a frame.
pub(crate) const TICKS: u32 = 3000;
/// Of Opus, as the camera encodes it.
pub(crate) const AUDIO_FRAME: Duration = Duration::from_millis(20);
/// At 64 kbit/s.
const AUDIO_BYTES: usize = 160;

/// A key frame comes at least this often.
const KEY_EVERY: u32 = 300;
/// Between the 25 and the 70 KB that x264 (veryfast, zerolatency, a VBV buffer of one second) gave two IDR pictures of a
/// moving zone plate.
const KEY_BYTES: usize = 50_000;
/// So that ten seconds with one key frame are 2 Mbit/s.
const MEAN_BYTES: f64 = (2_500_000 - KEY_BYTES) as f64 / (KEY_EVERY - 1) as f64;
/// The standard deviation of the logarithm of the other frames' sizes, as x264 had it there.
const SPREAD: f64 = 0.16;

/// 1280 x 720, constrained baseline 3.1.
const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4];
const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];
const IDR: &[u8] = &[0, 0, 0, 1, 0x65, 0x88, 0x84];
const SLICE: &[u8] = &[0, 0, 0, 1, 0x41, 0x9a, 0x24];

/// What an access unit ends with.
#[derive(Clone, Copy)]
pub(crate) struct Label {
    pub(crate) number: u32,
    pub(crate) key: bool,
}

impl Label {
    pub(crate) const LEN: usize = 8;
    const MAGIC: [u8; 2] = [0xb5, 0xe7];

    /// Without zeros, or it would need emulation prevention.
    fn bytes(self) -> [u8; Self::LEN] {
        let seven = |shift: u32| 0x80 | (self.number >> shift) as u8;
        let [first, second] = Self::MAGIC;
        [first, second, 0x80 | u8::from(self.key), seven(28), seven(21), seven(14), seven(7), seven(0)]
    }

    /// `None` if these are not the last bytes of an access unit.
    pub(crate) fn read(bytes: [u8; Self::LEN]) -> Option<Label> {
        let [first, second, key, number @ ..] = bytes;
        let number = number.iter().fold(0, |number, seven| number << 7 | u32::from(seven & 0x7f));
        ([first, second] == Self::MAGIC).then_some(Label { number, key: key & 1 == 1 })
    }
}

/// The access unit with this number, in Annex B.
pub(crate) fn access_unit(label: Label) -> Arc<[u8]> {
    let (head, size) = match label.key {
        true => ([SPS, PPS, IDR].concat(), KEY_BYTES),
        false => (SLICE.to_vec(), bytes(label.number)),
    };
    let mut unit = head;
    unit.extend((unit.len()..size - Label::LEN).map(|at| (at % 251 + 4) as u8));
    unit.extend(label.bytes());
    unit.into()
}

/// The size of a frame that is no key frame: a log-normal distribution around the mean.
fn bytes(number: u32) -> usize {
    let hash = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    // The sum of four uniform numbers is nearly normal; its standard deviation is 1/sqrt(3).
    let sum: f64 = (0..4).map(|i| f64::from((hash >> (16 * i)) as u16) / 65536.0).sum();
    let normal = (sum - 2.0) * 3f64.sqrt();
    (MEAN_BYTES * (SPREAD * normal - SPREAD * SPREAD / 2.0).exp()) as usize
}

fn opus() -> Arc<[u8]> {
    // RFC 6716, 3.1: CELT, full band, 20 ms, stereo, one frame.
    let mut packet = vec![0xfc];
    packet.resize(AUDIO_BYTES, 0x5a);
    packet.into()
}

/// The outputs of the encoder, each with its presentation time.
pub(crate) trait Outputs: Send + 'static {
    fn video(&mut self, label: Label, unit: Arc<[u8]>, pts: Duration);
    /// Nothing for a sender without audio.
    fn audio(&mut self, _packet: Arc<[u8]>, _pts: Duration) {}
}

/// Starts it. It makes a key frame when `wanted` is set, and writes to standard output when each frame left it.
pub(crate) fn start(wanted: Arc<AtomicBool>, audio: bool, mut outputs: impl Outputs) {
    let work = move || {
        let began = Instant::now();
        let (mut number, mut sounds) = (0, 0);
        loop {
            let (video, sound) = (FRAME * number, AUDIO_FRAME * sounds);
            if audio && sound < video {
                thread::sleep(sound.saturating_sub(began.elapsed()));
                outputs.audio(opus(), sound);
                sounds += 1;
                continue;
            }
            thread::sleep(video.saturating_sub(began.elapsed()));
            let key = wanted.swap(false, Ordering::Relaxed) || number % KEY_EVERY == 0;
            let label = Label { number, key };
            let unit = access_unit(label);
            let at = clock::now();
            outputs.video(label, unit, video);
            write(&format!("frame {number} {at}"));
            number += 1;
        }
    };
    thread::Builder::new().name(THREAD.into()).spawn(work).expect("a thread can be started");
}

/// A line to the process that measures; whoever it was that started this one is gone when it can't be written.
pub(crate) fn write(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// When each frame left the encoder, by its number.
pub(crate) fn parse(line: &str) -> Option<(u32, Nanos)> {
    let (number, at) = line.strip_prefix("frame ")?.split_once(' ')?;
    Some((number.parse().ok()?, at.parse().ok()?))
}
