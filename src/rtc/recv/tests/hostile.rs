//! A malicious sender with valid keys: its cost is bounded, and a good sender after it is received.
//!
//! `HOSTILE_SECONDS` makes each attack longer, for the figures of `make test-hostile`.

use super::raw::RawSender;
use super::unsafe_heap::peak;
use super::{RTX, ms};
use crate::rtc::recv::unpack::tests::{h264, vp8};
use crate::rtc::send::header::Header;

/// Packets behind gaps (2 MiB for each of two video streams, vectors doubled), and one frame of the largest size with
/// the vector that it outgrew.
const MOST: usize = 16 << 20;
/// Packets per attack: more than a frame may have.
const PACKETS: u64 = 5_000;
/// Limit of a malicious packet's CPU time, as a multiple of a good sender's small packet, both encrypted and decrypted;
/// and the additional time per byte, in ns.
const COSTS: u128 = 8;
const BYTE: u128 = 10;

pub(super) type Attack = fn(&mut RawSender, u64);

/// Each sends its `n`th packet.
const ATTACKS: &[(&str, Attack)] = &[
    ("timestamps at random", |a, n| {
        let time = a.word();
        a.send(1, 98, time, true, &[&[0x10][..], &vp8(true, 100, n as u8)].concat());
    }),
    ("timestamps that go back", |a, n| {
        a.send(
            1,
            98,
            (n as u32).wrapping_mul(90_000).wrapping_neg(),
            true,
            &[&[0x10][..], &vp8(true, 100, 0)].concat(),
        );
    }),
    ("numbers that jump", |a, n| {
        let skipped = a.below(30_000);
        let index = a.index(1, skipped);
        a.send_as(index, Header { pt: 98, ssrc: 1, time: n as u32, ..Header::default() }, &[0x10, 1, 2, 3]);
    }),
    ("every second packet missing", |a, n| {
        let index = a.index(1, 1);
        a.send_as(index, Header { pt: 98, ssrc: 1, time: n as u32, ..Header::default() }, &[0x10, 1, 2, 3]);
    }),
    ("numbers that go back", |a, n| {
        let newest = a.index(1, 3);
        // Alternates with the packets that it left out.
        let index = if n % 2 == 0 { newest } else { newest - 2 - (n / 2) % 2 };
        a.send_as(index, Header { pt: 98, ssrc: 1, time: n as u32, ..Header::default() }, &[0x10, 1, 2, 3]);
    }),
    ("another SSRC each time", |a, n| {
        a.send(1000 + n as u32, 98, 0, false, &[0x10, 1, 2, 3]);
    }),
    ("the largest datagrams behind a gap", |a, n| {
        if n == 0 {
            a.send(1, 96, 0, false, &[0x41]);
            a.index(1, 1);
        }
        a.send(1, 96, n as u32, false, &[0x41; 65_000]);
    }),
    ("small packets behind gaps of three streams", |a, n| {
        let (ssrc, pt) = [(1, 96), (2, 98), (3, 111)][n as usize % 3];
        if n < 6 {
            a.index(ssrc, 1);
        }
        a.send(ssrc, pt, n as u32, false, &[0x10]);
    }),
    ("padding", |a, n| {
        let index = a.index(1, 0);
        let [x, y] = (index as u16).to_be_bytes();
        let len = a.below(200) as usize;
        let mut payload = vec![a.below(256) as u8; len];
        payload.extend(a.below(256).to_be_bytes().last());
        a.send_raw(index, &[0xa0, 98, x, y, 0, 0, 0, n as u8, 0, 0, 0, 1], &payload);
    }),
    ("extensions", |a, _| {
        let index = a.index(1, 0);
        let [x, y] = (index as u16).to_be_bytes();
        let words = a.below(16) as u8;
        let profile = [[0xbe, 0xde], [0x10, 0x00], [0x12, 0x34]][a.below(3) as usize];
        let mut head = vec![0x90 | a.below(16) as u8, 98, x, y, 0, 0, 0, 7, 0, 0, 0, 1];
        head.resize(12 + 4 * usize::from(head[0] & 15), 0xff);
        head.extend([profile[0], profile[1], 0, words]);
        let body: Vec<u8> = (0..4 * usize::from(words)).map(|_| a.below(256) as u8).collect();
        head.extend(body);
        a.send_raw(index, &head, &[0x10, 1, 2]);
    }),
    ("transport-wide numbers at random", |a, _| {
        a.transport = a.below(1 << 16) as u16;
        a.send(1, 98, 0, false, &[0x10, 1, 2]);
    }),
    ("repeats of nothing", |a, n| {
        if n == 0 {
            a.send(1, 98, 0, true, &[&[0x10][..], &vp8(true, 100, 0)].concat());
        }
        let [x, y] = (a.below(1 << 16) as u16).to_be_bytes();
        let len = a.below(40) as usize;
        a.send(2, 99, n as u32, false, &[&[x, y][..], &vec![0x10; len]].concat()[..len.max(1)]);
    }),
    ("absurd sender reports", |a, n| {
        a.send(1, 98, n as u32 * 3000, true, &[&[0x10][..], &vp8(true, 100, 0)].concat());
        a.send(3, 111, n as u32 * 960, true, &[31 << 3, 1, 2]);
        for ssrc in [1, 3] {
            let ntp = u64::from(a.word()) << 32 | u64::from(a.word());
            let time = a.word();
            a.receiver.handle_sender_report(ssrc, ntp, time, a.now);
        }
    }),
    ("payload types that were not agreed on", |a, _| {
        let pt = a.below(64) as u8;
        a.send(5, pt, 0, true, &[0x10; 1000]);
    }),
    ("one packet with nothing in it after another", |a, n| a.send(1, 98, n as u32, true, &[])),
    ("a frame of H.264 that never ends", |a, n| {
        let sets = &h264(true, 3, 0)[4..17];
        let first = [&[0x7c, 0x85][..], &[1; 1100]].concat();
        let more = [&[0x7c, 0x05][..], &[1; 1100]].concat();
        a.send(1, 96, 9, false, [sets, &first, &more][(n as usize).min(2)]);
    }),
    ("a frame of VP8 that never ends", |a, n| {
        let first = [&[0x10][..], &vp8(true, 1000, 0)].concat();
        let more = [&[0x00][..], &[1; 1100]].concat();
        a.send(1, 98, 9, false, if n == 0 { &first } else { &more });
    }),
    ("parameter sets without end", |a, n| {
        let sets: Vec<u8> =
            [0x78].into_iter().chain([0, 1, if n == 0 { 0x67 } else { 0x68 }].repeat(400)).collect();
        a.send(1, 96, 9, false, &sets);
    }),
    ("packets that are no frames", |a, n| {
        let len = a.below(30) as usize;
        let payload: Vec<u8> = (0..len).map(|_| a.below(256) as u8).collect();
        let (ssrc, pt) = [(1, 96), (2, 98), (3, 111), (4, RTX)][a.below(4) as usize];
        a.send(ssrc, pt, n as u32 / 3, n % 3 == 0, &payload);
    }),
    ("key frames as large as can be", |a, n| {
        let part = n % 2000;
        let first = [&[0x10][..], &vp8(true, 1100, 0)].concat();
        let more = [&[0x00][..], &[1; 1110]].concat();
        a.send(1, 98, (n / 2000) as u32, part == 1999, if part == 0 { &first } else { &more });
    }),
    ("H.264 of parameter sets alone", |a, n| a.send(1, 96, n as u32, true, &h264(true, 3, 0)[4..17])),
];

/// Returns the CPU time of this thread, in ns.
fn spent() -> u128 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

#[test]
fn what_a_hostile_sender_costs_is_bounded_and_ends_with_it() {
    // It stops, and another sender starts a second later.
    suffer("good", ATTACKS, 100, |a| a.behave(77, 150));
}

/// Carries out each attack. What it costs is bounded, and of the frames that `honest` sends a second later so many are
/// received. A good sender by this name is what the cost is compared with; names are keys.
pub(super) fn suffer(good: &str, attacks: &[(&str, Attack)], received: u64, honest: impl Fn(&mut RawSender)) {
    let seconds: u64 = std::env::var("HOSTILE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let packets = PACKETS * seconds;
    println!(
        "{:<46} {:>10} {:>10} {:>10} {:>9} {:>8}",
        "", "packets", "KiB held", "ns each", "frames", "reports"
    );
    let mut good = RawSender::new(good);
    let before = spent();
    good.behave(1, 5000);
    let each = ((spent() - before) / u128::from(good.sent)).max(1);
    println!(
        "{:<46} {:>10} {:>10} {each:>10} {:>9} {:>8}",
        "nobody", good.sent, "", good.frames, good.reports
    );
    assert_eq!(good.frames, 5000);

    let mut failed = vec![];
    for (name, attack) in attacks {
        let mut a = RawSender::new(name);
        let before = spent();
        let (most, ()) = peak(|| (0..packets).for_each(|n| attack(&mut a, n)));
        let cost = (spent() - before) / u128::from(a.sent);
        let (frames, reports, bytes) = (a.frames, a.reports, u128::from(a.sent_bytes / a.sent));
        println!("{name:<46} {:>10} {:>10} {cost:>10} {frames:>9} {reports:>8}", a.sent, most >> 10);
        a.now += ms(1000);
        a.take();
        honest(&mut a);
        if a.frames < frames + received {
            failed.push(format!("{name}: of {received} frames behind it {} came", a.frames - frames));
        }
        if most > MOST {
            failed.push(format!("{name}: {} KiB", most >> 10));
        }
        if cost > each * COSTS + bytes * BYTE {
            failed.push(format!("{name}: {cost} ns a packet, where a good one takes {each}"));
        }
        if a.reported > a.sent_bytes {
            failed.push(format!("{name}: {} bytes are answered by {}", a.sent_bytes, a.reported));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
