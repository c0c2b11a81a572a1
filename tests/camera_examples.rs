//! The examples of cameras, watched over real sockets.
#![cfg(feature = "camera")]

#[allow(dead_code, reason = "its main is called by nobody here")]
#[path = "../examples/pushed.rs"]
mod pushed;
#[path = "whole_call/side.rs"]
mod side;
#[path = "whole_call/viewer.rs"]
mod viewer;

use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::zip;
use side::Side;
use symple::media::frame::sps::{Sps, is_idr};
use viewer::Enough;

/// A deadline, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

const PICTURES: usize = 40;

#[test]
fn what_the_program_pushes_is_watched() {
    let camera = pushed::camera("127.0.0.1:0".parse().expect("literal")).expect("nothing is missing");
    let url = format!("ws://{}", camera.server().expect("its own").addresses()[0]);
    let watch = Side::new(&url, "viewer");
    let client = watch.client.clone();
    let call = async {
        let watched = viewer::watch(watch, true, Enough { pictures: PICTURES, sounds: 0 }).await;
        client.close();
        camera.shutdown();
        watched
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("no {PICTURES} pictures within {PATIENCE:?}");
    };
    let drivers = zip(camera.run(), client.run());
    let watched = smol::block_on(async { zip(call, drivers).await.0 }.or(late));
    assert_eq!(watched.pictures.len(), PICTURES);
    assert!(is_idr(&watched.pictures[0]), "the first can be decoded");
    let sps = Sps::find(&watched.pictures[0]).expect("with parameter sets before it");
    assert_eq!((sps.width, sps.height), (320, 180));
}
