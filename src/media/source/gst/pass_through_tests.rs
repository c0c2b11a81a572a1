//! A camera that encodes H.264, simulated by an encoder of this machine: what is passed through, and what is not.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use super::super::candidates::Candidates;
use super::super::encoders;
use super::super::streams::{Announced, Stream};
use super::*;
use crate::media::VIDEO_H264_SMALL;
use crate::media::board;
use crate::media::frame::sps::Sps;
use crate::media::source::SourceEvent;
use crate::media::source::frame_rate_check::FrameRateVerdict;
use crate::media::source::v4l2::choose::{Choice, Way};
use crate::media::source::v4l2::device::{FourCc, FrameRate};

const SIZE: (u32, u32) = (320, 180);
const H264: StreamId = StreamId(0);
const VP8: StreamId = StreamId(1);
const JPEG: StreamId = StreamId(3);
const SMALL: StreamId = VIDEO_H264_SMALL;

struct World {
    plan: Plan,
    run: Run,
    orders: Receiver<Order>,
    events: Receiver<SourceEvent>,
    found: Vec<Found>,
}

/// A camera with this profile and rate that negotiated `SIZE` at 10 fps, and delivers `size`.
fn camera(profile: &str, size: (u32, u32), fps: u32) -> World {
    gst::init().expect("GStreamer");
    let settings = CaptureSettings {
        source: Location::V4l2 { path: "/dev/video0".into() },
        width: SIZE.0,
        height: SIZE.1,
        fps: 10,
        ..CaptureSettings::default()
    };
    let (width, height) = size;
    let head = format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! \
         x264enc name=camera tune=zerolatency speed-preset=superfast key-int-max=10 ! video/x-h264,profile={profile}"
    );
    let choice = Choice {
        fourcc: FourCc(*b"H264"),
        size: SIZE,
        rate: FrameRate::new(10, 1),
        way: Way::PassThrough,
        io: Io::Mmap,
        why: String::new(),
    };
    let path = "/dev/video9999".into();
    let info =
        CaptureInfo { card: "x264".into(), path, choice, steers_bitrate: false, gives_key_frames: false };
    let target = Target { head, path: info.path.clone(), info: Some(info) };
    let (told, orders) = channel();
    let (tell, events) = channel();
    let elements = board::elements();
    let (profile, _) = board::named("generic", &elements).expect("it is built in");
    let (encoder, _) = encoders::choose(&settings, &profile, &elements).expect("x264enc");
    let small = Candidates::new(encoder.encoder().cloned().into_iter().collect());
    let plan = Plan {
        settings,
        encoder,
        in_use: Arc::default(),
        small,
        level: 31,
        streams: vec![
            Stream::new(H264, Maker::PassThrough),
            Stream::new(SMALL, Maker::Small),
            Stream::new(VP8, Maker::Vp8),
            Stream::new(JPEG, Maker::Jpeg),
        ],
        announced: Arc::new(Announced::new(Vec::new())),
        on: Arc::new(move |event| _ = tell.send(event)),
        orders: told,
        epoch: Instant::now(),
        counter: Arc::default(),
        still: false,
        camera: None,
        csi: None,
    };
    let run = Run::open(&plan, 1, Some(target)).expect("its front is built");
    run.play().expect("it plays");
    World { plan, run, orders, events, found: vec![] }
}

impl World {
    /// The first event that `wanted` accepts; meanwhile produces streams as the control thread does.
    fn until<T>(
        &mut self,
        streams: &[StreamId],
        mut wanted: impl FnMut(&SourceEvent) -> Option<T>,
        mut enough: impl FnMut(&[Found]) -> bool,
    ) -> Option<T> {
        let end = Instant::now() + Duration::from_secs(60);
        let streams = streams.iter().copied().collect();
        loop {
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::News(_, News::Found(found)) => {
                        self.run.handle_found(found.clone(), &self.plan, &streams).expect("a branch");
                        self.found.push(found);
                    }
                    Order::News(_, News::Error(error, debug)) => panic!("{error} {debug}"),
                    _ => {}
                }
            }
            if enough(&self.found) {
                return None;
            }
            match self.events.recv_timeout(Duration::from_millis(20)) {
                Ok(event) => {
                    if let Some(found) = wanted(&event) {
                        return Some(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    assert!(Instant::now() < end, "timed out; found {:?}", self.found)
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the plan holds a sender"),
            }
        }
    }

    fn found(&mut self, what: impl Fn(&Found) -> bool) {
        let none = self.until(&[H264], |_| None::<()>, |all| all.iter().any(&what));
        assert!(none.is_none());
    }
}

#[test]
fn h264_is_passed_through_and_vp8_and_jpeg_are_decoded_first() {
    if !super::super::camera::decodes_h264() {
        println!(
            "SKIPPED h264_is_passed_through_and_vp8_and_jpeg_are_decoded_first: no decoder for H.264 here"
        );
        return;
    }
    let mut world = camera("constrained-baseline", SIZE, 10);
    let (mut h264, mut vp8, mut jpeg) = (Vec::new(), Vec::new(), Vec::new());
    world.until(
        &[H264, SMALL, VP8, JPEG],
        |event| {
            if let SourceEvent::Frame(frame) = event {
                assert_ne!(frame.stream, SMALL, "there are no raw frames for it");
                match frame.codec {
                    Codec::H264 => &mut h264,
                    Codec::Jpeg => &mut jpeg,
                    _ => &mut vp8,
                }
                .push(frame.clone());
            }
            (h264.len() >= 25 && vp8.len() >= 5 && !jpeg.is_empty()).then_some(())
        },
        |_| false,
    );
    assert_eq!(crate::media::frame::jpeg::size(&jpeg[0].data), Some(SIZE), "a snapshot is decoded first");
    let sps = Sps::find(&h264[0].data).expect("parameter sets before the first frame");
    assert!(h264[0].key && sps.is_baseline());
    assert_eq!((sps.width, sps.height), SIZE);
    assert!(vp8[0].key);
    assert_eq!(world.found, [Found::Video, Found::NoMore], "everything is as negotiated");
}

#[test]
fn a_profile_that_browsers_may_not_support_is_reported_before_any_frame() {
    let mut world = camera("high", SIZE, 10);
    world.found(|found| matches!(found, Found::Foreign([100, ..])));
    assert!(world.events.try_iter().all(|event| !matches!(event, SourceEvent::Frame(_))));
}

#[test]
fn another_size_than_negotiated_is_reported() {
    let mut world = camera("constrained-baseline", (160, 120), 10);
    world.found(|found| *found == Found::Size(160, 120));
}

#[test]
fn a_frame_rate_below_the_negotiated_one_is_reported() {
    let mut world = camera("constrained-baseline", SIZE, 4);
    world.found(|found| matches!(found, Found::Pace(FrameRateVerdict::TooSlow { per_second: rate }) if (3.0..5.0).contains(rate)));
}
