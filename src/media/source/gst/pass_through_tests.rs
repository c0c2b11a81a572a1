//! A camera that makes H.264, played by an encoder of this machine: what is passed through, and what is not.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use super::super::encoders;
use super::*;
use crate::media::Codec;
use crate::media::board;
use crate::media::frame::sps::Sps;
use crate::media::source::Location;
use crate::media::source::gst::MediaEvent;
use crate::media::source::pace::Verdict;
use crate::media::source::v4l2::choose::{Choice, Way};
use crate::media::source::v4l2::device::{FourCc, Rate};

const SIZE: (u32, u32) = (320, 180);

struct World {
    plan: Plan,
    run: Run,
    commands: Receiver<Command>,
    events: Receiver<MediaEvent>,
    found: Vec<Found>,
}

/// A camera of this profile and rate that agreed to `SIZE` at 10 pictures a second, and gives `size`.
fn camera(profile: &str, size: (u32, u32), fps: u32) -> World {
    gst::init().expect("GStreamer");
    let settings = Settings {
        source: Location::V4l2("/dev/video0".into()),
        width: SIZE.0,
        height: SIZE.1,
        fps: 10,
        ..Settings::default()
    };
    let (width, height) = size;
    let head = format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! \
         x264enc name=camera tune=zerolatency speed-preset=superfast key-int-max=10 ! video/x-h264,profile={profile}"
    );
    let choice = Choice {
        fourcc: FourCc(*b"H264"),
        size: SIZE,
        rate: Rate::new(10, 1),
        way: Way::PassThrough,
        io: Io::Mmap,
        why: String::new(),
    };
    let path = "/dev/video9999".into();
    let info =
        CaptureInfo { card: "x264".into(), path, choice, steers_bitrate: false, gives_key_frames: false };
    let target = Target { head, path: info.path.clone(), info: Some(info) };
    let (told, commands) = channel();
    let (tell, events) = channel();
    let elements = board::elements();
    let (profile, _) = board::named("generic", &elements).expect("it is built in");
    let (encoder, _) = encoders::choose(&settings, &profile, &elements).expect("x264enc");
    let plan = Plan {
        settings,
        encoder,
        on: Arc::new(move |event| _ = tell.send(event)),
        commands: told,
        epoch: Instant::now(),
        counter: Arc::default(),
        bitrates: BTreeMap::new(),
        qualities: BTreeMap::new(),
        still: false,
        camera: None,
        csi: None,
    };
    let run = Run::open(&plan, 1, Some(target)).expect("its front is built");
    run.play().expect("it plays");
    World { plan, run, commands, events, found: vec![] }
}

impl World {
    /// The first event that `wanted` takes, while streams are produced as the control thread does it.
    fn until<T>(
        &mut self,
        streams: Streams,
        mut wanted: impl FnMut(&MediaEvent) -> Option<T>,
        mut enough: impl FnMut(&[Found]) -> bool,
    ) -> Option<T> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::News(_, News::Found(found)) => {
                        self.run.handle_found(found.clone(), &self.plan, streams).expect("a branch");
                        self.found.push(found);
                    }
                    Command::News(_, News::Error(error, debug)) => panic!("{error} {debug}"),
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
                    assert!(Instant::now() < end, "in vain; found {:?}", self.found)
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the plan holds a sender"),
            }
        }
    }

    fn found(&mut self, what: impl Fn(&Found) -> bool) {
        let none = self.until(
            Streams { h264: true, ..Streams::default() },
            |_| None::<()>,
            |all| all.iter().any(&what),
        );
        assert!(none.is_none());
    }
}

#[test]
fn its_h264_comes_as_it_is_and_vp8_by_a_decoder() {
    if !super::super::camera::decodes_h264() {
        println!("SKIPPED its_h264_comes_as_it_is_and_vp8_by_a_decoder: no decoder for H.264 here");
        return;
    }
    let mut world = camera("constrained-baseline", SIZE, 10);
    let both = Streams { h264: true, vp8: true, audio: false };
    let (mut h264, mut vp8) = (Vec::new(), Vec::new());
    world.until(
        both,
        |event| {
            if let MediaEvent::Frame(frame) = event {
                if frame.codec == Codec::H264 { &mut h264 } else { &mut vp8 }.push(frame.clone());
            }
            (h264.len() >= 25 && vp8.len() >= 5).then_some(())
        },
        |_| false,
    );
    let sps = Sps::find(&h264[0].data).expect("parameter sets before the first picture");
    assert!(h264[0].key && sps.is_baseline());
    assert_eq!((sps.width, sps.height), SIZE);
    assert!(vp8[0].key);
    assert_eq!(world.found, [Found::Video, Found::NoMore], "all is as agreed");
}

#[test]
fn a_profile_that_browsers_are_not_promised_is_told_before_any_picture() {
    let mut world = camera("high", SIZE, 10);
    world.found(|found| matches!(found, Found::Foreign([100, ..])));
    assert!(world.events.try_iter().all(|event| !matches!(event, MediaEvent::Frame(_))));
}

#[test]
fn another_size_than_agreed_is_told() {
    let mut world = camera("constrained-baseline", (160, 120), 10);
    world.found(|found| *found == Found::Size(160, 120));
}

#[test]
fn a_rate_that_is_not_kept_is_told() {
    let mut world = camera("constrained-baseline", SIZE, 4);
    world.found(|found| matches!(found, Found::Pace(Verdict::TooSlow(rate)) if (3.0..5.0).contains(rate)));
}
