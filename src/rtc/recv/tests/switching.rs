//! A sender that changes its codec with the same SSRC and numbers: any of a session's formats may arrive at any time
//! (RFC 3264, 5.1).

use super::ms;
use super::raw::RawSender;
use crate::media::{VIDEO_H264, VIDEO_VP8};
use crate::rtc::recv::unpack::tests::vp8;
use crate::rtc::send::feedback::{Feedback, read};

const SSRC: u32 = 5;

/// Sends `frames` frames of a codec with the same clock; returns how many of each codec were received.
fn send(a: &mut RawSender, is_h264: bool, frames: u32, begin: u32) -> (usize, usize) {
    let before = a.all.len();
    for n in 0..frames {
        let (pt, payload) = match is_h264 {
            true if n == 0 => (96, vec![0x78, 0, 2, 0x67, 1, 0, 1, 0x68]),
            true => (96, [&[if n == 1 { 0x65 } else { 0x41 }][..], &[0x80 | n as u8; 200]].concat()),
            false => (98, [&[0x10][..], &vp8(n == 0, 200, n as u8)].concat()),
        };
        // The parameter sets belong to the first frame.
        let (time, marker) = if is_h264 && n == 0 { (begin + 3000, false) } else { (begin + n * 3000, true) };
        a.send(SSRC, pt, time, marker, &payload);
        a.now += ms(33);
        a.take();
    }
    let of = |stream| a.all[before..].iter().filter(|frame| frame.stream == stream).count();
    (of(VIDEO_H264), of(VIDEO_VP8))
}

#[test]
fn frames_of_either_codec_come_and_one_sender_is_reported_on_once() {
    let mut a = RawSender::new("switching");
    assert_eq!(send(&mut a, false, 60, 0), (0, 60));
    assert_eq!(send(&mut a, true, 61, 180_000), (60, 0));
    assert_eq!(send(&mut a, false, 60, 360_000), (0, 60));
    assert!(a.all.windows(2).all(|pair| pair[0].pts < pair[1].pts), "one clock after the other");
    let mut told = vec![];
    for report in &a.compounds {
        let about: Vec<u32> = read(report)
            .filter_map(|said| match said {
                Feedback::Report { ssrc, lost, .. } => Some((ssrc, lost)),
                _ => None,
            })
            .map(|(ssrc, lost)| {
                assert_eq!(lost, 0.0, "what came under the other codec is not lost");
                ssrc
            })
            .collect();
        told.extend(about.iter().copied());
        assert!(about.len() < 2, "{about:?}");
    }
    assert!(told.len() > 3 && told.iter().all(|ssrc| *ssrc == SSRC));
    let stats = a.receiver.stats();
    assert_eq!((stats.lost, stats.nacks, stats.dropped), (0, 0, 0));
}
