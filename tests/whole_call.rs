//! A whole call between two of our peers over real sockets: server, signalling, ICE, DTLS, video and audio, hangup.
//! Without GStreamer and browsers, so that it runs wherever the crate does, also in emulators.
#![cfg(all(feature = "client", feature = "server", feature = "udp"))]

#[path = "whole_call/camera.rs"]
mod camera;
#[path = "whole_call/side.rs"]
mod side;
#[path = "whole_call/viewer.rs"]
mod viewer;

use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::zip;
use side::Side;
use symple::Server;
use symple::net::ServerConfig;
use viewer::Enough;

/// Far longer than it takes, also in an emulator; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(120);

const PICTURES: usize = 60;
const SOUNDS: usize = 90;

#[derive(Clone, Copy, PartialEq)]
enum Caller {
    Camera,
    Viewer,
}

fn whole_call(caller: Caller) {
    let address = "127.0.0.1:0".parse().expect("literal");
    let server = Server::bind(ServerConfig::listen([address])).expect("a free port");
    let url = format!("ws://{}", server.addresses()[0]);
    let (film, watch) = (Side::new(&url, "camera"), Side::new(&url, "viewer"));
    let (film_client, watch_client) = (film.client.clone(), watch.client.clone());

    let enough = Enough { pictures: PICTURES, sounds: SOUNDS };
    let call = async {
        let ends = zip(
            camera::film(film, caller == Caller::Camera),
            viewer::watch(watch, caller == Caller::Viewer, enough),
        );
        let ends = ends.await;
        film_client.close();
        watch_client.close();
        server.shutdown();
        ends
    };
    let drivers = zip(server.run(), zip(film_client.run(), watch_client.run()));
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("the call did not end within {PATIENCE:?}");
    };
    let (filmed, watched) = smol::block_on(async { zip(call, drivers).await.0 }.or(late));

    // Each frame and each audio packet exactly once, in order, byte for byte.
    assert_eq!((filmed.pictures.len(), filmed.sounds.len()), (PICTURES, SOUNDS));
    assert_eq!(watched.pictures.len(), PICTURES);
    assert_eq!(watched.sounds.len(), SOUNDS);
    assert!(watched.pictures == filmed.pictures, "frames arrive unchanged");
    assert!(watched.sounds == filmed.sounds, "audio arrives unchanged");
    // The initial one, and the one that the viewer requested.
    assert_eq!(filmed.keys.len(), 2, "{:?}", filmed.keys);
    assert_eq!(filmed.keys[0], 0);
    assert!(filmed.keys[1] >= viewer::ASKS_AFTER, "{:?}", filmed.keys);
    let stats = filmed.stats;
    assert_eq!((stats.frames, stats.skipped.total()), ((PICTURES + SOUNDS) as u64, 0));
    assert_eq!((filmed.reason.as_str(), watched.reason.as_str()), ("seen enough", "seen enough"));
}

#[test]
fn a_viewer_calls_a_camera() {
    whole_call(Caller::Viewer);
}

#[test]
fn a_camera_calls_a_viewer() {
    whole_call(Caller::Camera);
}
