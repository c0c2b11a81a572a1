//! A V4L2 camera, watched over real sockets. `SYMPLE_TEST_DEVICE` selects it, such as `/dev/video0`; the emulated
//! machine of `tests/machine` has a virtual one.
#![cfg(all(feature = "camera-gst", target_os = "linux"))]

#[path = "whole_call/side.rs"]
mod side;
#[path = "whole_call/viewer.rs"]
mod viewer;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use futures_lite::future::zip;
use side::Side;
use symple::camera::{Camera, CameraSource, Config, Event, Serve, Signalling};
use symple::media::frame::sps::{Sps, is_idr};
use symple::media::source::gst::CaptureSettings;
use viewer::{Enough, Watched};

/// Far longer than it takes, also in an emulator; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(100);

const PICTURES: usize = 30;
/// How many frames are watched before and after a change.
const SOME: usize = 10;

/// There is one device: only one test at a time.
static ONE: Mutex<()> = Mutex::new(());

struct Running {
    camera: Camera,
    url: String,
    _alone: MutexGuard<'static, ()>,
}

/// A camera on the device; prints SKIPPED if there is none.
fn running() -> Option<Running> {
    let Some(device) = std::env::var_os("SYMPLE_TEST_DEVICE") else {
        println!("SKIPPED: SYMPLE_TEST_DEVICE names no V4L2 camera");
        return None;
    };
    let alone = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let source = device.to_str().expect("UTF-8").parse().expect("a source");
    let mut config = Config::new(CaptureSettings { source, width: 640, height: 360, ..Default::default() });
    config.signalling = Signalling::Serve(Serve {
        listen: vec!["127.0.0.1:0".parse().expect("literal")],
        ..Serve::default()
    });
    let camera = Camera::new(config).expect("the device works");
    let url = format!("ws://{}", camera.server().expect("its own").addresses()[0]);
    Some(Running { camera, url, _alone: alone })
}

impl Running {
    /// Runs both ends until the viewer has seen enough.
    fn watched(&self, watch: impl AsyncFnOnce(Side) -> Watched) -> Watched {
        let side = Side::new(&self.url, "viewer");
        let client = side.client.clone();
        let call = async {
            let watched = watch(side).await;
            client.close();
            self.camera.shutdown();
            watched
        };
        let late = async {
            smol::Timer::after(PATIENCE).await;
            panic!("too few frames within {PATIENCE:?}");
        };
        let drivers = zip(self.camera.run(), client.run());
        smol::block_on(async { zip(call, drivers).await.0 }.or(late))
    }
}

fn size(frame: &[u8]) -> Option<(u32, u32)> {
    Sps::find(frame).map(|sps| (sps.width, sps.height))
}

#[test]
fn a_device_is_watched() {
    let Some(running) = running() else { return };
    let camera = running.camera.clone();
    camera.on(|event| println!("{event:?}"));
    let began = Instant::now();
    let enough = Enough { pictures: PICTURES, sounds: 0 };
    let watched = running.watched(async |side| viewer::watch(side, true, enough).await);

    println!(
        "{PICTURES} frames by {} after {:?}",
        camera.encoder().expect("it encodes").name,
        began.elapsed()
    );
    assert_eq!(watched.pictures.len(), PICTURES);
    assert!(is_idr(&watched.pictures[0]), "the first frame can be decoded");
    assert_eq!(size(&watched.pictures[0]), Some((640, 360)), "with parameter sets before it");
}

#[test]
fn a_device_is_reconfigured_while_it_is_watched() {
    let Some(running) = running() else { return };
    let camera = running.camera.clone();
    let happened = Arc::new(Mutex::new((0, vec![])));
    let tells = happened.clone();
    camera.on(move |event| {
        let mut happened = tells.lock().expect("no panic");
        match &event {
            Event::ViewerJoined { .. } => happened.0 += 1,
            Event::Capture { info } => happened.1.push(info.choice.to_string()),
            _ => {}
        }
        println!("{event:?}");
    });
    let (change, changes) = smol::channel::bounded(1);
    let mut later = None;
    let enough = move |watched: &Watched| {
        let seen = watched.pictures.len();
        if seen == SOME {
            _ = change.try_send(());
        }
        if later.is_none() && watched.pictures.last().and_then(|frame| size(frame)) == Some((320, 180)) {
            later = Some(seen);
        }
        later.is_some_and(|later| seen >= later + SOME)
    };
    let reconfigured = async {
        changes.recv().await.expect("the viewer sees frames");
        let camera = camera.clone();
        // It blocks while it checks the new settings.
        let smaller = smol::unblock(move || {
            camera.reconfigure(|config| match &mut config.source {
                CameraSource::Capture(capture) => {
                    (capture.width, capture.height, capture.fps) = (320, 180, 10)
                }
                other => panic!("{other:?}"),
            })
        });
        smaller.await.expect("the device has this size too");
    };
    let watched =
        running.watched(async |side| zip(viewer::watch_until(side, true, enough), reconfigured).await.0);

    let sizes: Vec<_> = watched.pictures.iter().map(|frame| size(frame)).collect();
    let first = sizes.iter().position(|size| *size == Some((320, 180))).expect("it waited for this");
    assert!(first >= SOME && sizes[0] == Some((640, 360)), "{sizes:?}");
    assert!(sizes[..first].iter().flatten().all(|size| *size == (640, 360)), "{sizes:?}");
    assert!(sizes[first..].iter().flatten().all(|size| *size == (320, 180)), "{sizes:?}");
    assert!(is_idr(&watched.pictures[first]), "the first frame of the new size can be decoded");
    assert_eq!(watched.reason, "seen enough", "the call lasted until the viewer hung up");
    let (joined, captures) = &*happened.lock().expect("no panic");
    println!("captured: {captures:?}");
    assert_eq!(*joined, 1, "one call");
    assert!(captures.last().is_some_and(|choice| choice.contains("320x180 at 10 fps")), "{captures:?}");
    assert!(captures.first().is_some_and(|choice| choice.contains("640x360")), "{captures:?}");
}
