//! A camera that does what the lines on its input say: `call USER`, `hangup`. For the browser tests.

use std::collections::HashSet;
use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use symple::camera::{Camera, Config, Event, Serve, Signalling};

fn main() {
    let port = std::env::var("PORT").expect("PORT is set").parse().expect("PORT is a number");
    let listen = vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)];
    let signalling = Signalling::Serve(Serve { listen, ..Serve::default() });
    let camera = Camera::new(Config { signalling, ..Config::default() }).expect("the test pattern starts");

    let viewers = Arc::new(Mutex::new(HashSet::new()));
    let watching = viewers.clone();
    camera.on(move |event| match event {
        Event::ViewerJoined(viewer) => drop(watching.lock().expect("nobody panics").insert(viewer.id)),
        Event::ViewerLeft(viewer, _) => drop(watching.lock().expect("nobody panics").remove(&viewer.id)),
        _ => {}
    });
    println!("open {}", camera.urls().first().expect("it serves"));

    let steered = camera.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let done = match line.split_once(' ') {
                Some(("call", user)) => steered.call(user).map(drop),
                _ if line == "hangup" => {
                    let all: Vec<_> = viewers.lock().expect("nobody panics").iter().copied().collect();
                    all.into_iter().try_for_each(|viewer| steered.hang_up(viewer, "hangup"))
                }
                _ => panic!("neither call nor hangup: {line}"),
            };
            println!("{line}: {done:?}");
        }
    });
    smol::block_on(camera.run());
}
