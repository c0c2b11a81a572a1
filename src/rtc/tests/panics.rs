//! A session that panics is closed, and the others go on.

use str0m::format::Codec as Theirs;
use str0m::media::{Direction, MediaKind};

use super::world::*;
use crate::rtc::crypto::reuse;
use crate::rtc::{Refusal, SessionId};

/// Three viewers that watch.
fn audience() -> World {
    let mut w = World::new();
    for id in 1..=3 {
        w.viewer(id);
    }
    w.run(ms(2000));
    w
}

/// Session 2 is over, with a reason, and its number is free for another; the others never missed a frame.
fn only_the_second_is_over(mut w: World) {
    assert_eq!(w.closed(2).expect("closed").1, "internal error");
    assert_eq!(w.fanout.totals().panics, 1);
    let mut left: Vec<_> = w.fanout.sessions().collect();
    left.sort();
    assert_eq!(left, [SessionId(1), SessionId(3)]);
    let before = w.browsers[&1].frames(Theirs::H264).len();
    w.viewer(2);
    w.run(ms(2000));
    for id in [1, 3] {
        let frames = w.browsers[&id].frames(Theirs::H264).len();
        assert!(frames >= before + 58, "{id}: {before}, and 2 s later {frames}");
    }
    assert!(w.browsers[&2].frames(Theirs::H264).len() > 40);
    assert_eq!(w.fanout.totals().panics, 1);
    assert!(w.closed(1).is_none() && w.closed(3).is_none());
}

#[test]
pub(super) fn a_panic_while_packets_are_sealed_ends_one_session() {
    let mut w = audience();
    // The one that happens to seal first.
    reuse::panic_at_the_next();
    w.run(ms(100));
    assert_eq!(w.fanout.totals().panics, 1);
    let over: Vec<u64> = (1..=3).filter(|id| w.closed(*id).is_some()).collect();
    let [over] = over[..] else { panic!("{over:?}") };
    w.run(ms(2000));
    for id in (1..=3).filter(|id| *id != over) {
        assert!(w.browsers[&id].frames(Theirs::H264).len() > 100);
    }
    assert_eq!(w.fanout.totals().panics, 1);
}

#[test]
pub(super) fn a_panic_at_a_datagram_a_frame_or_a_timer_ends_one_session() {
    let mut w = audience();
    w.fanout.panic_in(SessionId(2));
    w.run(ms(50));
    only_the_second_is_over(w);
}

#[test]
pub(super) fn a_panic_in_a_renegotiation_ends_one_session() {
    let mut w = audience();
    w.fanout.panic_in(SessionId(2));
    let offer = w.offer(2, &[MediaKind::Video], Direction::RecvOnly);
    let refused = w.fanout.accept(SessionId(2), &offer, w.now).expect_err("it panics");
    assert_eq!(refused, Refusal::panicked());
    w.drain_camera();
    only_the_second_is_over(w);
}

#[test]
pub(super) fn a_panic_at_a_goodbye_or_a_candidate_ends_one_session() {
    let mut w = audience();
    w.fanout.panic_in(SessionId(2));
    w.fanout.close(SessionId(2), w.now);
    w.drain_camera();
    assert_eq!((w.fanout.totals().panics, w.fanout.sessions().count()), (1, 2));
    w.fanout.panic_in(SessionId(3));
    let candidate = "candidate:9 1 udp 2130706431 203.0.113.99 9999 typ host";
    assert!(w.fanout.add_remote_candidate(SessionId(3), candidate).is_ok());
    w.drain_camera();
    assert!(w.closed(3).is_some());
    w.run(ms(1000));
    assert_eq!((w.fanout.totals().panics, w.fanout.sessions().count()), (2, 1));
    assert!(w.browsers[&1].frames(Theirs::H264).len() > 60);
}
