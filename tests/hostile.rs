//! A camera on a street: two people watch it while strangers do their worst, and its owner comes home.
//!
//! `symple camera` runs in a network namespace of its own, everybody else in another, each at an address of
//! its own: limits for each address count, as loopback is exempt from them. For every attack the frames that
//! the viewers get, the time until the owner sees its first frame, and the memory that stays are printed
//! (`make test-hostile`); what is asserted are ratios within this run and deadlines, not speed.
#![cfg(all(feature = "program", feature = "camera-gst", target_os = "linux"))]

#[path = "hostile/attacks.rs"]
mod attacks;
#[path = "hostile/camera.rs"]
mod camera;
#[path = "hostile/stranger.rs"]
mod stranger;
#[path = "hostile/street.rs"]
mod street;
#[path = "hostile/watcher.rs"]
mod watcher;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use attacks::{ATTACKS, Scene};
use camera::Camera;
use watcher::Watcher;

/// How long each attack goes on; `make test-hostile` asks for more.
fn span() -> Duration {
    let seconds = std::env::var("HOSTILE_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// A deadline, not a measurement.
const PATIENCE: Duration = Duration::from_secs(20);

/// Frames that a viewer gets at least while strangers are at work, as a share of what it got before. The two
/// cores are shared with the strangers, who are not slow.
const SHARE: f64 = 0.5;

/// Memory that may stay after all strangers have gone, in KiB. 1,100 sockets that each had 511 KiB buffered
/// cost half a gigabyte once.
const STAYS: u64 = 24 << 10;

#[test]
fn strangers_neither_stop_the_viewers_nor_shut_the_owner_out() {
    if street::is_inside() {
        walk();
    } else {
        street::enter("strangers_neither_stop_the_viewers_nor_shut_the_owner_out");
    }
}

fn walk() {
    let mut camera = Camera::start();
    let viewers = [Watcher::start(street::VIEWERS[0]), Watcher::start(street::VIEWERS[1])];
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
            // The strangers are there before the owner comes.
            let during = rate(&viewers, span());
            let owner = Watcher::start(street::OWNER).first_frame(PATIENCE);
            stop.store(true, Ordering::Release);
            (during, owner, at_work.join().expect("the strangers are programmed well"))
        });
        if !camera.lives() {
            println!("{:<34} {during:>12.1} {:>12} {:>12}  {told}", attack.name, "", "dead");
            failed.push(format!("{}: the camera is dead: {}", attack.name, camera.last_words()));
            camera = Camera::start();
            continue;
        }
        let after = camera.memory_at_rest(rest + STAYS, PATIENCE);
        let shown = owner.map_or("never".into(), |time| time.as_millis().to_string());
        println!("{:<34} {during:>12.1} {shown:>12} {after:>12}  {told}", attack.name);
        if during < before * SHARE {
            failed.push(format!("{}: {during:.1} frames a second of {before:.1}", attack.name));
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

/// Frames a second of the viewer that got least.
fn rate(viewers: &[Watcher], span: Duration) -> f64 {
    let counts = || viewers.iter().map(Watcher::frames).collect::<Vec<_>>();
    let (began, before) = (Instant::now(), counts());
    // The span is what is measured over, not something that is hoped for.
    std::thread::sleep(span);
    let least = counts().iter().zip(before).map(|(now, then)| now - then).min().expect("there are viewers");
    least as f64 / began.elapsed().as_secs_f64()
}
