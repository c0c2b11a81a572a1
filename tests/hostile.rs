//! A camera under attack: two people watch it while attackers do their worst, and its owner connects.
//!
//! `symple camera` runs in a network namespace of its own, everybody else in another, each at an address of its own,
//! since loopback is exempt from limits per address. For every attack, the test prints the frames that the viewers get,
//! the time until the owner sees its first frame, and the remaining memory (`make test-hostile`). It asserts ratios
//! within this run and timeouts, not speed.
#![cfg(all(feature = "program", feature = "camera-gst", target_os = "linux"))]

#[path = "hostile/attacks.rs"]
mod attacks;
#[path = "hostile/camera.rs"]
mod camera;
#[path = "hostile/network.rs"]
mod network;
#[path = "hostile/stranger.rs"]
mod stranger;
#[path = "hostile/talker.rs"]
mod talker;
#[path = "hostile/watcher.rs"]
mod watcher;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use attacks::{ATTACKS, Scene};
use camera::Camera;
use watcher::Watcher;

/// The duration of each attack; `make test-hostile` sets a longer one.
fn span() -> Duration {
    let seconds = std::env::var("HOSTILE_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// A timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(20);

/// The minimum frame rate of a viewer during an attack, relative to before. The viewers share the two cores with the
/// attackers, which are not slow.
const SHARE: f64 = 0.5;

/// The memory that may remain after all attackers have left, in KiB. 1,100 sockets with 511 KiB buffered each once cost
/// half a gigabyte.
const STAYS: u64 = 24 << 10;

#[test]
fn attackers_neither_stop_the_viewers_nor_lock_the_owner_out() {
    if network::is_inside() {
        walk();
    } else {
        network::enter("attackers_neither_stop_the_viewers_nor_lock_the_owner_out");
    }
}

fn walk() {
    let mut camera = Camera::start();
    let viewers = [Watcher::start(network::VIEWERS[0]), Watcher::start(network::VIEWERS[1])];
    for viewer in &viewers {
        viewer.sees(1, PATIENCE);
    }
    let before = rate(&viewers, span());
    let rest = camera.memory();
    println!("{:<34} {:>12} {:>12} {:>12}  told", "", "frames/s", "owner, ms", "KiB after");
    println!("{:<34} {:>12.1} {:>12} {rest:>12}", "nobody", before, "");

    let only = std::env::var("HOSTILE_ONLY").unwrap_or_default();
    let mut failed = Vec::new();
    for attack in ATTACKS.iter().filter(|attack| attack.name.contains(&only)) {
        let stop = AtomicBool::new(false);
        let scene = Scene { stop: &stop, viewer: &viewers[0] };
        let (during, owner, told) = std::thread::scope(|scope| {
            let at_work = scope.spawn(|| (attack.run)(&scene));
            // The attackers are there before the owner connects.
            let during = rate(&viewers, span());
            let owner = Watcher::start(network::OWNER).first_frame(PATIENCE);
            stop.store(true, Ordering::Release);
            (during, owner, at_work.join().expect("no attacker panics"))
        });
        if !camera.lives() {
            println!("{:<34} {during:>12.1} {:>12} {:>12}  {told}", attack.name, "", "dead");
            failed.push(format!("{}: the camera has crashed: {}", attack.name, camera.last_words()));
            camera = Camera::start();
            continue;
        }
        let after = camera.memory_at_rest(rest + STAYS, PATIENCE);
        let shown = owner.map_or("never".into(), |time| time.as_millis().to_string());
        println!("{:<34} {during:>12.1} {shown:>12} {after:>12}  {told}", attack.name);
        if during < before * SHARE {
            failed.push(format!("{}: {during:.1} fps instead of {before:.1}", attack.name));
        }
        if owner.is_none() {
            failed.push(format!("{}: the owner saw nothing within {PATIENCE:?}", attack.name));
        }
        if after > rest + STAYS {
            failed.push(format!("{}: {rest} KiB grew to {after}", attack.name));
        }
        if let Some(limit) = attack.limit.filter(|limit| told.count > *limit) {
            failed.push(format!("{}: {told}, the limit is {limit}", attack.name));
        }
    }
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), camera.log());
}

/// The frame rate of the viewer that got the fewest frames.
fn rate(viewers: &[Watcher], span: Duration) -> f64 {
    let counts = || viewers.iter().map(Watcher::frames).collect::<Vec<_>>();
    let (began, before) = (Instant::now(), counts());
    // The duration of the measurement, not a wait for something.
    std::thread::sleep(span);
    let least = counts().iter().zip(before).map(|(now, then)| now - then).min().expect("there are viewers");
    least as f64 / began.elapsed().as_secs_f64()
}
