//! ICE restarts of viewers, at the addresses where they were and at others.

use std::net::SocketAddr;

use str0m::format::Codec as Theirs;

use super::world::*;
use crate::rtc::demux::check_sent;

/// What viewer 1 names; its NAT shows another address.
const INSIDE: ([u8; 4], u16) = ([198, 51, 100, 1], 5000);

fn outside(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 20], port))
}

fn watching() -> World {
    let mut w = World::new();
    w.nat.insert(INSIDE.into(), outside(61_000));
    w.viewer(1);
    w.run(ms(2000));
    w
}

/// Restarts ICE; the viewer names no candidates.
fn restart(w: &mut World) {
    w.reoffer(1, |browser| {
        let mut api = browser.rtc.sdp_api();
        api.ice_restart(true);
        let (offer, pending) = api.apply().expect("a change");
        let named = |line: &&str| !line.starts_with("a=candidate:");
        let offer: Vec<&str> = offer.to_sdp_string().leak().lines().filter(named).collect();
        (offer.join("\r\n") + "\r\n", pending)
    });
}

/// Checks of the camera's to an address since `before` datagrams were sent.
fn checks_to(w: &World, address: SocketAddr, before: usize) -> usize {
    let checks =
        w.sent[before..].iter().filter(|t| t.path.remote == address && check_sent(&t.data).is_some());
    checks.count()
}

/// Nothing is missing for longer than what consent lasts.
fn watches_on(w: &mut World) {
    for _ in 0..4 {
        let before = w.browsers[&1].frames(Theirs::H264).len();
        w.run(ms(10_000));
        let more = w.browsers[&1].frames(Theirs::H264).len() - before;
        assert!(more > 200, "{more} frames");
    }
    assert!(w.closed(1).is_none(), "{:?}", w.closed(1));
}

#[test]
fn an_unannounced_address_stays() {
    let mut w = watching();
    for _ in 0..3 {
        restart(&mut w);
        watches_on(&mut w);
    }
}

#[test]
fn an_address_that_was_never_heard_from_is_not_checked_again() {
    let mut w = watching();
    assert!(checks_to(&w, INSIDE.into(), 0) > 2, "it was named");
    let before = w.sent.len();
    restart(&mut w);
    w.run(ms(5000));
    assert!(checks_to(&w, outside(61_000), before) > 0, "ICE began anew");
    assert_eq!(checks_to(&w, INSIDE.into(), before), 0);
}

#[test]
fn a_viewer_comes_back_to_where_it_was_long_before() {
    let mut w = watching();
    for port in [62_000, 61_000, 62_000] {
        w.nat.insert(INSIDE.into(), outside(port));
        let before = w.sent.len();
        restart(&mut w);
        w.run(ms(1000));
        assert!(checks_to(&w, outside(port), before) > 0, "it is asked back at once");
        watches_on(&mut w);
        restart(&mut w);
        w.run(ms(1000));
        let other = outside(if port == 62_000 { 61_000 } else { 62_000 });
        let before = w.sent.len();
        w.run(ms(5000));
        assert_eq!(checks_to(&w, other, before), 0, "where it is not any more");
    }
}
