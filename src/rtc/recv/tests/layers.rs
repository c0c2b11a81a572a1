//! A simulcast sender that names its encodings only in their first packets.

use super::ms;
use super::raw::{RawSender, format};
use crate::media::{Codec, StreamId, VIDEO_VP8_LAYERS};
use crate::rtc::recv::lane::{Format, Layer};
use crate::rtc::recv::unpack::tests::vp8;
use crate::rtc::rid::Rid;
use crate::rtc::send::feedback::{Feedback, read};
use crate::rtc::send::header::Header;

pub(super) const NAMES: [&str; 3] = ["h", "m", "l"];
pub(super) const NAME: u8 = 10;
pub(super) const REPEATED: u8 = 11;
pub(super) const PT: u8 = 98;
pub(super) const RTX: u8 = 99;
/// Packets with the name: senders omit it after the first report.
const NAMED: u64 = 5;

pub(super) fn formats() -> Vec<Format> {
    let layer = |(name, stream): (&str, StreamId)| {
        let rid = Rid::new(name.as_bytes()).expect("a name");
        let layer = Some(Layer { rid, name: NAME, repeated: Some(REPEATED) });
        Format { layer, ..format(stream, Codec::Vp8, PT, Some(RTX)) }
    };
    NAMES.into_iter().zip(VIDEO_VP8_LAYERS).map(layer).collect()
}

/// Returns the SSRC of an encoding.
fn ssrc(layer: usize) -> u32 {
    10 + layer as u32
}

fn payload(n: u64, layer: usize) -> Vec<u8> {
    [&[0x10][..], &vp8(n.is_multiple_of(100), 200 + layer, n as u8)].concat()
}

struct World {
    a: RawSender,
    n: u64,
}

impl World {
    fn new(name: &str) -> World {
        let mut a = RawSender::new(name);
        a.receiver.set_lanes(&formats());
        World { a, n: 0 }
    }

    /// Sends `frames` frames of each encoding; those of encoding `lost` are lost.
    fn send(&mut self, frames: u64, lost: Option<usize>) {
        for _ in 0..frames {
            for (layer, name) in NAMES.into_iter().enumerate() {
                let index = self.a.index(ssrc(layer), 0);
                let mid = (self.n < NAMED).then_some((NAME, name));
                let time = self.n as u32 * 3000;
                let header =
                    Header { pt: PT, ssrc: ssrc(layer), time, marker: true, mid, ..Header::default() };
                if lost != Some(layer) {
                    self.a.send_as(index, header, &payload(self.n, layer));
                }
            }
            self.n += 1;
            self.a.now += ms(33);
            self.a.take();
        }
    }

    fn frames(&self) -> [usize; 3] {
        VIDEO_VP8_LAYERS.map(|of| self.a.all.iter().filter(|frame| frame.stream == of).count())
    }

    /// Returns the SSRCs that requests were sent to since the last call.
    fn asked(&mut self, what: fn(Feedback<'_>) -> Option<u32>) -> Vec<u32> {
        let all = std::mem::take(&mut self.a.compounds);
        all.iter().flat_map(|report| read(report).filter_map(what).collect::<Vec<_>>()).collect()
    }
}

#[test]
fn each_encoding_is_a_stream_of_its_own() {
    let mut world = World::new("layers");
    world.send(60, None);
    assert_eq!(world.frames(), [60; 3]);
    let sizes = |of| world.a.all.iter().filter(move |frame| frame.stream == of).map(|frame| frame.data.len());
    let all = VIDEO_VP8_LAYERS.map(|of| sizes(of).collect::<Vec<_>>());
    assert!(all[0].iter().zip(&all[1]).all(|(h, m)| h + 1 == *m), "none is another's");
    let mut reported = world.asked(|said| match said {
        Feedback::Report { ssrc, lost: 0.0, .. } => Some(ssrc),
        _ => None,
    });
    reported.sort_unstable();
    reported.dedup();
    assert_eq!(reported, [10, 11, 12]);
    // An unknown SSRC without a name belongs to no encoding.
    world.a.send(77, PT, 0, true, &payload(0, 0));
    assert_eq!(world.frames(), [60; 3]);
}

#[test]
fn a_key_frame_is_requested_of_one_encoding() {
    let mut world = World::new("layers: key");
    world.send(20, None);
    world.asked(|_| None);
    world.a.receiver.request_key_frame(VIDEO_VP8_LAYERS[1], world.a.now);
    world.send(5, None);
    let pli = |said: Feedback<'_>| match said {
        Feedback::Pli { ssrc } => Some(ssrc),
        _ => None,
    };
    assert_eq!(world.asked(pli), [ssrc(1)]);
}

#[test]
fn what_is_missing_of_one_encoding_is_repeated_for_it() {
    let mut world = World::new("layers: repeated");
    world.send(20, None);
    world.asked(|_| None);
    world.send(1, Some(2));
    world.send(2, None);
    assert_eq!(world.frames(), [23, 23, 20], "the lowest waits for its packet, the others for nothing");
    let nack = |said: Feedback<'_>| match said {
        Feedback::Nack { ssrc, .. } => Some(ssrc),
        _ => None,
    };
    let asked = world.asked(nack);
    assert!(!asked.is_empty() && asked.iter().all(|about| *about == ssrc(2)), "{asked:?}");
    let number = 100 + 21_u16;
    let repeated = [&number.to_be_bytes()[..], &payload(20, 2)].concat();
    let time = 20 * 3000;
    for (index, ssrc, mid) in [(1, 99, None), (1, 98, Some((REPEATED, "h"))), (2, 97, Some((REPEATED, "l")))]
    {
        let header = Header { pt: RTX, ssrc, time, marker: true, mid, ..Header::default() };
        world.a.send_as(index, header, &repeated);
    }
    assert_eq!(world.frames(), [23, 23, 23]);
    assert_eq!(world.a.receiver.stats().lost, 0);
}

#[test]
fn names_are_known_after_a_renegotiation_and_a_new_transport() {
    let mut world = World::new("layers: again");
    world.send(20, None);
    world.a.receiver.set_lanes(&formats());
    world.send(80, None);
    assert_eq!(world.frames(), [100; 3]);
    world.a.anew();
    world.send(10, None);
    assert_eq!(world.frames(), [110; 3]);
    // After the first encoding is removed, its packets belong to none.
    world.a.receiver.set_lanes(&formats()[1..]);
    world.send(10, None);
    assert_eq!(world.frames(), [110, 120, 120]);
}

#[test]
fn encodings_in_another_order_begin_with_key_frames() {
    let mut world = World::new("layers: order");
    world.send(20, None);
    let mut other = formats();
    for (format, stream) in
        other.iter_mut().zip([VIDEO_VP8_LAYERS[1], VIDEO_VP8_LAYERS[0], VIDEO_VP8_LAYERS[2]])
    {
        format.stream = stream;
    }
    world.a.receiver.set_lanes(&other);
    world.a.all.clear();
    world.send(100, None);
    let keys =
        VIDEO_VP8_LAYERS.map(|of| world.a.all.iter().find(|frame| frame.stream == of).map(|frame| frame.key));
    assert_eq!(keys, [Some(true), Some(true), Some(false)], "only the lowest one goes on");
    assert_eq!(world.frames(), [20, 20, 100]);
}

#[test]
fn one_section_of_several_is_a_stream() {
    let mut a = RawSender::new("two sections");
    let section = |pt| format(VIDEO_VP8_LAYERS[0], Codec::Vp8, pt, None);
    a.receiver.set_lanes(&[section(98), section(100)]);
    for n in 0..60_u32 {
        // Both count their own time.
        for (ssrc, pt, time) in [(1, 98, n), (2, 100, n + 300)] {
            let payload = [&[0x10][..], &vp8(n == 0, 200, ssrc as u8)].concat();
            a.send(ssrc, pt, time * 3000, true, &payload);
        }
        a.now += ms(33);
        a.take();
    }
    assert_eq!(a.frames, 60);
    let second = vp8(false, 200, 2);
    assert!(a.all.iter().all(|frame| *frame.data != *second), "frames of the other section");
}

#[test]
fn times_go_on_however_lanes_are_replaced() {
    let mut a = RawSender::new("times");
    let lane = || format(VIDEO_VP8_LAYERS[0], Codec::Vp8, PT, None);
    // Its clock is so fast that its times are ahead of ours.
    let mut time = 0;
    let mut send = |a: &mut RawSender| {
        for n in 0..20 {
            a.send(1, PT, time, true, &[&[0x10][..], &vp8(n == 0, 200, 0)].concat());
            time += 6000;
            a.now += ms(33);
            a.take();
        }
    };
    let formats = formats();
    for (n, lanes) in [&[][..], &[lane()], &formats[1..], &[formats[0]], &[lane()]].into_iter().enumerate() {
        a.receiver.set_lanes(lanes);
        a.receiver.set_lanes(&[lane()]);
        send(&mut a);
        assert_eq!(a.frames, 20 * (n as u64 + 1));
    }
    a.anew();
    send(&mut a);
    assert_eq!(a.frames, 120);
}
