//! A V4L2 camera, watched over real sockets. `SYMPLE_TEST_DEVICE` selects it, such as `/dev/video0`; the emulated
//! machine of `tests/machine` has a virtual one.
#![cfg(all(feature = "camera-gst", target_os = "linux"))]

#[path = "whole_call/side.rs"]
mod side;
#[path = "whole_call/viewer.rs"]
mod viewer;

use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use futures_lite::future::zip;
use side::Side;
use symple::camera::{Camera, Config, Serve, Signalling};
use symple::media::frame::sps::{Sps, is_idr};
use symple::media::source::gst::CaptureSettings;
use viewer::Enough;

/// Far longer than it takes, also in an emulator; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(100);

const PICTURES: usize = 30;

#[test]
fn a_device_is_watched() {
    let Some(device) = std::env::var_os("SYMPLE_TEST_DEVICE") else {
        return println!("SKIPPED: SYMPLE_TEST_DEVICE names no V4L2 camera");
    };
    let source = device.to_str().expect("UTF-8").parse().expect("a source");
    let mut config = Config::new(CaptureSettings { source, width: 640, height: 360, ..Default::default() });
    config.signalling = Signalling::Serve(Serve {
        listen: vec!["127.0.0.1:0".parse().expect("literal")],
        ..Serve::default()
    });
    let camera = Camera::new(config).expect("the device works");
    camera.on(|event| println!("{event:?}"));
    let url = format!("ws://{}", camera.server().expect("its own").addresses()[0]);

    let watch = Side::new(&url, "viewer");
    let client = watch.client.clone();
    let began = Instant::now();
    let call = async {
        let watched = viewer::watch(watch, true, Enough { pictures: PICTURES, sounds: 0 }).await;
        client.close();
        camera.shutdown();
        watched
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("fewer than {PICTURES} frames within {PATIENCE:?}");
    };
    let drivers = zip(camera.run(), client.run());
    let watched = smol::block_on(async { zip(call, drivers).await.0 }.or(late));

    println!(
        "{PICTURES} frames by {} after {:?}",
        camera.encoder().expect("it encodes").name,
        began.elapsed()
    );
    assert_eq!(watched.pictures.len(), PICTURES);
    assert!(is_idr(&watched.pictures[0]), "the first frame can be decoded");
    let sps = Sps::find(&watched.pictures[0]).expect("with parameter sets before it");
    assert_eq!((sps.width, sps.height), (640, 360));
}
