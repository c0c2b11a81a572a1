//! Sessions that end: viewers that vanish or close, the camera that closes, and calls without a path.

use super::world::*;
use crate::rtc::SessionId;

#[test]
pub(super) fn a_viewer_that_vanishes_is_gone_within_10_s() {
    let mut w = World::new();
    w.viewer(1);
    w.viewer(2);
    w.run(ms(3000));
    w.browsers.get_mut(&1).expect("made").gone = true;
    w.run(ms(12_000));
    let (at, reason) = w.closed(1).expect("closed");
    assert!(at < ms(13_000), "{at:?}");
    assert!(reason.contains("vanished"), "{reason}");
    assert_eq!(w.fanout.sessions().collect::<Vec<_>>(), [SessionId(2)]);
    assert!(w.closed(2).is_none());
}

#[test]
fn a_viewer_that_stays_is_not_closed_even_when_nothing_is_sent() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    w.streams.clear();
    w.run(ms(40_000));
    assert!(w.closed(1).is_none());
}

#[test]
fn a_viewer_that_closes_is_gone_at_once() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    let b = w.browsers.get_mut(&1).expect("made");
    b.rtc.close().expect("open");
    w.poke(1);
    w.run(ms(200));
    assert!(w.closed(1).expect("closed").1.contains("closed the connection"));
}

#[test]
pub(super) fn closing_tells_the_viewer_and_forgets_it_without_an_event() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    w.fanout.close(SessionId(1), w.now);
    w.drain_camera();
    w.run(ms(200));
    assert!(w.browsers[&1].closed);
    assert!(w.closed(1).is_none());
    assert_eq!(w.fanout.sessions().count(), 0);
}

#[test]
fn a_call_that_finds_no_path_ends_with_a_reason() {
    let mut w = World::new();
    w.lose = |_| true;
    w.viewer(1);
    w.run(ms(31_000));
    assert!(w.closed(1).expect("closed").1.contains("UDP"));
}
