//! Talkers who mean harm: their packets are authentic, and otherwise as bad as can be.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::attacks::{Scene, Told};
use crate::network::stranger;
use crate::stranger::crypto::keys;
use crate::stranger::crypto::seal::Sealer;
use crate::stranger::talker;
use crate::watcher::{Call, Shared};

/// How many do it at once.
const TALKERS: usize = 2;
/// Packets of each at a time, every few milliseconds: audio has 50 a second.
const AT_ONCE: u64 = 50;
/// For connecting.
const PATIENCE: Duration = Duration::from_secs(5);

/// The Opus of the offer.
const OPUS: u8 = 111;

/// Numbers without a pattern.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 32
    }

    fn word(&mut self) -> [u8; 4] {
        (self.next() as u32).to_be_bytes()
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.next() % most).map(|_| self.next() as u8).collect()
    }
}

/// Audio whose times, numbers, senders and content are random.
pub(crate) fn nonsense(scene: &Scene<'_>) -> Told {
    let mut index = 0;
    let count = attack(scene, move |noise, sealer, _, out| {
        index += 1 + if noise.next() % 50 == 0 { noise.next() % 30_000 } else { noise.next() % 3 };
        let mut head = vec![0x80, OPUS | (noise.next() as u8 & 0x80)];
        head.extend((index as u16).to_be_bytes());
        head.extend(noise.word());
        // Most are of one sender. The numbers of another one have not rolled over.
        let (ssrc, index) = match noise.next() % 20 {
            0 => (noise.next() as u32, index & 0xffff),
            _ => (7, index),
        };
        head.extend(ssrc.to_be_bytes());
        let payload = noise.bytes(1100);
        sealer.seal_rtp(&head, index, &payload, out);
    });
    Told { count, what: "packets" }
}

/// A word of audio now and then, and reports about it and about the camera's video: times at random, requests for
/// everything, limits of nothing.
pub(crate) fn reports(scene: &Scene<'_>) -> Told {
    let mut index = 0;
    let count = attack(scene, move |noise, sealer, video, out| {
        if noise.next() % 10 == 0 {
            index += 1;
            let mut head = vec![0x80, OPUS];
            head.extend((index as u16).to_be_bytes());
            head.extend(((index * 960) as u32).to_be_bytes());
            head.extend([0, 0, 0, 7]);
            return sealer.seal_rtp(&head, index, &[31 << 3, 1, 2, 3], out);
        }
        let kind =
            [(0, 200), (1, 201), (1, 205), (15, 205), (1, 206), (4, 206), (15, 206), (1, 203), (0, 207)];
        let (count, packet_type) = kind[(noise.next() % kind.len() as u64) as usize];
        let mut body = vec![0, 0, 0, 7];
        if packet_type >= 205 {
            body.extend(video.to_be_bytes());
        }
        if (count, packet_type) == (15, 206) {
            body.extend(*b"REMB");
        }
        let words = noise.next() % 200;
        (0..words).for_each(|_| body.extend(noise.word()));
        let mut compound = vec![0x80 | count, packet_type];
        compound.extend(((body.len() / 4) as u16).to_be_bytes());
        compound.extend(body);
        _ = sealer.seal_rtcp(&compound, out);
    });
    Told { count, what: "packets" }
}

/// Has talkers call, and send what `packet` makes, for the SSRC of the video that they get.
fn attack(
    scene: &Scene<'_>,
    packet: impl FnMut(&mut Noise, &mut Sealer, u32, &mut Vec<u8>) + Clone + Sync,
) -> u64 {
    scene.all(TALKERS, |n, round| talk(scene, n, round, packet.clone()).unwrap_or(0))
}

fn talk(
    scene: &Scene<'_>,
    n: usize,
    round: u64,
    mut packet: impl FnMut(&mut Noise, &mut Sealer, u32, &mut Vec<u8>),
) -> Option<u64> {
    let (shared, late) = (Shared::default(), Instant::now() + PATIENCE);
    let mut call = Call::begin_as(talker, stranger(n), &format!("talker-{n}"), &shared)?;
    let (send, injected) = channel();
    let (mut noise, mut sealer, mut count) = (Noise(round << 8 | n as u64), None, 0);
    while scene.goes_on() && call.turn(&shared, &injected) {
        // Those of this thread's last handshake.
        sealer = sealer.or_else(|| keys::take().map(|keys| Sealer::new(&keys)));
        let ready = sealer.as_mut().filter(|_| shared.frames() > 0);
        let Some(sealer) = ready else {
            if Instant::now() > late {
                break;
            }
            continue;
        };
        let ssrc = call.answer.split("a=ssrc:").nth(1).and_then(|rest| rest.split(' ').next());
        let ssrc = ssrc.and_then(|ssrc| ssrc.parse().ok()).unwrap_or(0);
        for _ in 0..AT_ONCE {
            let mut out = vec![];
            packet(&mut noise, sealer, ssrc, &mut out);
            _ = send.send(out);
            count += 1;
        }
    }
    call.end();
    Some(count)
}
