//! Viewers whose address changes in mid-call: a NAT that forgot its mapping, a phone that leaves the house.

use std::net::SocketAddr;
use std::time::Duration;

use str0m::format::Codec as Theirs;

use super::hostile::attribute;
use super::world::*;
use crate::call::body::EndReason;
use crate::rtc::SessionId;

/// Where viewer 1 is behind its NAT.
const INSIDE: ([u8; 4], u16) = ([198, 51, 100, 1], 5000);

fn outside(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, host], port))
}

/// A viewer behind a NAT that watches.
fn watching(w: &mut World, nominates: Nominates) {
    w.nat.insert(INSIDE.into(), outside(20, 61_000));
    let answer = w.viewer(1);
    if nominates == Nominates::Once {
        w.nominates_once.insert(1, attribute(&answer.sdp, "a=ice-pwd:"));
    }
    w.run(ms(3000));
    assert!(frames(w) > 60);
}

#[derive(Clone, Copy, PartialEq)]
enum Nominates {
    /// With each check of the path in use, as libwebrtc.
    Again,
    /// As Firefox and aiortc.
    Once,
}

fn frames(w: &World) -> usize {
    w.browsers[&1].frames(Theirs::H264).len()
}

/// How long no frame comes.
fn gap(w: &mut World, within: Duration) -> Duration {
    let (start, before) = (w.now, frames(w));
    while frames(w) == before && w.now - start < within {
        w.run(ms(10));
    }
    w.now - start
}

#[test]
pub(super) fn media_follows_a_viewer_whose_source_port_changes() {
    for nominates in [Nominates::Again, Nominates::Once] {
        let mut w = World::new();
        watching(&mut w, nominates);
        for round in 1..=3 {
            w.nat.insert(INSIDE.into(), outside(20, 61_000 + round));
            let gap = gap(&mut w, ms(60_000));
            assert!(gap < ms(2000), "round {round}: {gap:?}");
            w.run(ms(1000));
            let before = frames(&w);
            w.run(ms(2000));
            assert!(frames(&w) > before + 50, "round {round}");
        }
        // Nothing goes to the old address any more, and the call stays.
        let sent = w.sent.len();
        w.run(ms(60_000));
        assert!(w.closed(1).is_none(), "{:?}", w.closed(1));
        let to_old =
            w.sent[sent..].iter().filter(|t| t.path.remote == outside(20, 61_000) && t.data[0] >= 20);
        assert_eq!(to_old.count(), 0);
    }
}

#[test]
fn media_follows_a_viewer_that_the_camera_called() {
    let mut w = World::new();
    w.nat.insert(INSIDE.into(), outside(20, 61_000));
    w.browser(1, |c| c.enable_vp8(true).enable_h264(true));
    let answer = w.call_browser(1);
    w.fanout.answer(SessionId(1), &answer, w.now).expect("a good answer");
    w.drain_camera();
    w.run(ms(3000));
    assert!(frames(&w) > 60);
    w.nat.insert(INSIDE.into(), outside(20, 61_001));
    let gap = gap(&mut w, ms(60_000));
    assert!(gap < ms(2000), "{gap:?}");
    w.run(ms(60_000));
    assert!(w.closed(1).is_none(), "{:?}", w.closed(1));
}

#[test]
fn media_follows_a_viewer_into_another_network() {
    let mut w = World::new();
    watching(&mut w, Nominates::Once);
    w.nat.insert(INSIDE.into(), outside(77, 7000));
    // Nothing but its next check tells whose it is.
    let gap = gap(&mut w, ms(60_000));
    assert!(gap < ms(5500), "{gap:?}");
    w.run(ms(60_000));
    assert!(w.closed(1).is_none(), "{:?}", w.closed(1));
}

#[test]
fn without_an_answer_to_its_checks_the_camera_stops_sending_within_30_s() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(3000));
    // It asks and reports as before, and never answers: whoever that is agrees to nothing.
    w.answers_none = true;
    let from = w.now - w.start;
    w.run(ms(60_000));
    let (at, _) = w.closed(1).expect("closed");
    assert!(at - from <= ms(30_000), "{:?}", at - from);
    assert_eq!(w.end(1).reason, EndReason::Lost);
    assert!(frames(&w) > 800, "{}", frames(&w));
}

#[test]
fn a_viewer_whose_new_path_answers_nothing_is_lost() {
    let mut w = World::new();
    watching(&mut w, Nominates::Once);
    w.nat.insert(INSIDE.into(), outside(20, 61_001));
    w.answers_none = true;
    let from = w.now - w.start;
    w.run(ms(60_000));
    let (at, _) = w.closed(1).expect("its reports come, and nobody sees what is sent");
    assert!(at - from <= ms(30_000), "{:?}", at - from);
    assert_eq!(w.end(1).reason, EndReason::Lost);
    let new = outside(20, 61_001);
    assert_eq!(w.sent.iter().filter(|t| t.path.remote == new && t.data[0] >= 20).count(), 0);
}
