//! A malicious sender of video: payloads that lie about frames, and encodings that lie about their names. Its cost is
//! bounded as that of [any other](super::hostile).

use super::hostile::{Attack, suffer};
use super::layers::{NAME, NAMES, PT, REPEATED, RTX, formats};
use super::ms;
use super::raw::RawSender;
use crate::rtc::recv::unpack::tests::{h264, vp8};
use crate::rtc::send::header::Header;

const H264: u8 = 96;
const VP8: u8 = 98;
/// What a packet of 1200 bytes carries.
const FULL: usize = 1100;

/// Of one encoding, or of H.264 and VP8.
const PAYLOADS: &[(&str, Attack)] = &[
    ("aggregates whose lengths lie", |a, n| {
        let mut payload = vec![0x78];
        for _ in 0..a.below(6) {
            let (claimed, len) = (a.below(40) as u16, a.below(20) as usize);
            payload.extend(claimed.to_be_bytes());
            payload.extend((0..len).map(|i| [0x67, 0x68, 0x65, 0x41][i % 4]));
        }
        a.send(1, H264, n as u32 / 4, n % 4 == 3, &payload);
    }),
    ("as many units as a frame can have", |a, n| {
        let units: Vec<u8> = [0x78].into_iter().chain([0, 1, 0x41].repeat(FULL / 3)).collect();
        let sets = &h264(true, 3, 0)[4..17];
        a.send(1, H264, (n / 4000) as u32, n % 4000 == 3999, if n % 4000 == 0 { sets } else { &units });
    }),
    ("fragments that begin again and again", |a, n| {
        a.send(1, H264, n as u32, n % 2 == 0, &[&[0x7c, 0x85][..], &[1; FULL]].concat());
    }),
    ("fragments that begin and end at random", |a, n| {
        let head = [0x7c, (a.below(4) as u8 * 0x40) | [5, 1, 7, 28][a.below(4) as usize]];
        let len = a.below(FULL as u64) as usize;
        let marker = a.below(9) == 0;
        a.send(1, H264, n as u32 / 9, marker, &[&head[..], &vec![1; len]].concat());
    }),
    ("fragments of nothing", |a, n| {
        a.send(1, H264, 9, false, if n == 0 { &[0x7c, 0x87, 0] } else { &[0x7c, 0x07] });
    }),
    ("other parameter sets with each key frame", |a, n| {
        let mut frame = vec![0x78];
        let sets = [vec![0x67, n as u8, (n >> 8) as u8], vec![0x68; 300], vec![0x65, 0x88, 1, 2]];
        for unit in &sets {
            frame.extend((unit.len() as u16).to_be_bytes());
            frame.extend(unit);
        }
        a.send(1, H264, n as u32 * 3000, true, &frame);
    }),
    ("descriptors at random", |a, n| {
        let mut payload = vec![0x10 | a.below(256) as u8, a.below(256) as u8];
        payload.extend((0..a.below(8)).map(|i| (i as u8) << 5));
        payload.extend(vp8(a.below(2) == 0, 60, 0));
        let marker = a.below(2) == 0;
        a.send(1, VP8, n as u32 / 2, marker, &payload);
    }),
    ("frames of one byte at one time", |a, n| {
        let first = [&[0x10][..], &vp8(true, 1, 0)].concat();
        a.send(1, VP8, 9, true, if n == 0 { &first } else { &[0x10, 0x11] });
    }),
    ("frames of 16383 by 16383", |a, n| {
        let mut frame = vp8(true, 1, 0);
        frame[6..10].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
        a.send(1, VP8, n as u32 * 3000, true, &[&[0x10][..], &frame].concat());
    }),
    ("key frames, each of another SSRC", |a, n| {
        let time = a.word();
        a.send(1000 + n as u32, VP8, time, true, &[&[0x10][..], &vp8(true, FULL, 0)].concat());
    }),
    ("two SSRCs in turn", |a, n| {
        a.send(1 + n as u32 % 2, VP8, n as u32 * 3000, true, &[&[0x10][..], &vp8(true, 100, 0)].concat());
    }),
    ("both codecs in turn", |a, n| {
        let time = n as u32 * 3000;
        match n % 2 {
            0 => a.send(1, VP8, time, true, &[&[0x10][..], &vp8(n < 2, 100, 0)].concat()),
            _ => a.send(1, H264, time, true, &h264(false, 100, 0)[4..104]),
        }
    }),
    ("large frames of both codecs that never end", |a, n| {
        match n {
            0 => a.send(1, VP8, 9, false, &[&[0x10][..], &vp8(true, FULL, 0)].concat()),
            1 => a.send(2, H264, 9, false, &h264(true, 3, 0)[4..17]),
            2 => a.send(2, H264, 9, false, &[&[0x7c, 0x85][..], &[1; FULL]].concat()),
            _ if n % 2 == 0 => a.send(1, VP8, 9, false, &[&[0x00][..], &[1; FULL]].concat()),
            _ => a.send(2, H264, 9, false, &[&[0x7c, 0x05][..], &[1; FULL]].concat()),
        };
    }),
];

/// Of a video in several encodings.
const ENCODINGS: &[(&str, Attack)] = &[
    ("names at random", |a, n| {
        begin(a, n);
        let name: Vec<u8> = (0..=a.below(16)).map(|_| b"hml-_x09"[a.below(8) as usize]).collect();
        let name = String::from_utf8(name).expect("plain");
        let ssrc = 1000 + a.below(1 << 20) as u32;
        named(a, ssrc, PT, NAME, &name, n as u32 * 3000, &[&[0x10][..], &vp8(true, 100, 0)].concat());
    }),
    ("another SSRC under a name each time", |a, n| {
        begin(a, n);
        let name = NAMES[n as usize % 3];
        named(a, 1000 + n as u32, PT, NAME, name, 9, &[&[0x10][..], &vp8(true, FULL, 0)].concat());
    }),
    ("one SSRC under all names in turn", |a, n| {
        begin(a, n);
        let name = NAMES[n as usize % 3];
        named(a, 1, PT, NAME, name, n as u32 * 3000, &[&[0x10][..], &vp8(n < 3, 100, 0)].concat());
    }),
    ("repeats under the names of others", |a, n| {
        begin(a, n);
        let name = NAMES[a.below(3) as usize];
        if n < 3 {
            return named(
                a,
                1 + n as u32,
                PT,
                NAME,
                NAMES[n as usize],
                9,
                &[&[0x10][..], &vp8(true, 9, 0)].concat(),
            );
        }
        let number = (a.below(1 << 16) as u16).to_be_bytes();
        named(a, 10 + a_few(n), RTX, REPEATED, name, n as u32, &[&number[..], &[0x10, 0x11, 7]].concat());
    }),
    ("large frames of all encodings behind gaps", |a, n| {
        begin(a, n);
        let (ssrc, name) = (1 + n as u32 % 3, NAMES[n as usize % 3]);
        if n < 6 {
            a.index(ssrc, 1);
        }
        named(a, ssrc, PT, NAME, name, n as u32, &[0x10; FULL]);
    }),
    ("frames of all encodings that never end", |a, n| {
        begin(a, n);
        let (ssrc, name) = (1 + n as u32 % 3, NAMES[n as usize % 3]);
        let first = [&[0x10][..], &vp8(true, FULL, 0)].concat();
        let more = [&[0x00][..], &[1; FULL]].concat();
        unmarked(a, ssrc, name, if n < 3 { &first } else { &more });
    }),
];

fn begin(a: &mut RawSender, n: u64) {
    if n == 0 {
        a.receiver.set_lanes(&formats());
    }
}

fn a_few(n: u64) -> u32 {
    n as u32 % 5
}

fn named(a: &mut RawSender, ssrc: u32, pt: u8, id: u8, name: &str, time: u32, payload: &[u8]) {
    let index = a.index(ssrc, 0);
    let header = Header { pt, ssrc, time, marker: true, mid: Some((id, name)), ..Header::default() };
    a.send_as(index, header, payload);
}

fn unmarked(a: &mut RawSender, ssrc: u32, name: &str, payload: &[u8]) {
    let index = a.index(ssrc, 0);
    a.send_as(index, Header { pt: PT, ssrc, time: 9, mid: Some((NAME, name)), ..Header::default() }, payload);
}

#[test]
fn payloads_that_lie_about_frames_cost_no_more_and_end_with_their_sender() {
    suffer("good: payloads", PAYLOADS, 149, |a| a.behave(77, 150));
}

#[test]
fn encodings_that_lie_about_their_names_cost_no_more_and_end_with_their_sender() {
    suffer("good: encodings", ENCODINGS, 3 * 149, |a| {
        for n in 0..150_u32 {
            for (ssrc, name) in (77..).zip(NAMES) {
                let payload = [&[0x10][..], &vp8(n % 100 == 0, 200, n as u8)].concat();
                named(a, ssrc, PT, NAME, name, n * 3000, &payload);
            }
            a.now += ms(33);
            a.take();
        }
    });
}
