//! Several sessions from one remote address and port: a peer with one socket for all its calls, a page that was
//! loaded anew and got the same port.

use std::net::SocketAddr;

use str0m::format::Codec as Theirs;
use str0m::media::Direction;

use super::hostile::Caller;
use super::world::*;
use crate::call::body::EndReason;
use crate::rtc::SessionId;

fn join_at(w: &mut World, id: u64, address: SocketAddr) {
    w.browser_at(id, address, |c| c.enable_vp8(true).enable_h264(true));
    w.call(id, Direction::RecvOnly).expect("accepted");
}

fn frames(w: &World, id: u64) -> usize {
    w.browsers[&id].frames(Theirs::H264).len()
}

#[test]
pub(super) fn two_sessions_that_share_a_port_both_watch_under_loss() {
    for apart in [ms(200), ms(1000)] {
        let mut w = World::new();
        let address = SocketAddr::from(([198, 51, 100, 1], 5000));
        join_at(&mut w, 1, address);
        w.run(apart);
        join_at(&mut w, 2, address);
        // A flight that is lost here never comes again: OpenSSL's timer is not the virtual clock.
        w.run(ms(100));
        w.lose = |n| n % 29 == 0;
        w.run(ms(4000));
        let start = [1, 2].map(|id| frames(&w, id));
        for round in 0..10 {
            let before = [1, 2].map(|id| frames(&w, id));
            w.run(ms(1000));
            for (id, before) in [1, 2].into_iter().zip(before) {
                let now = frames(&w, id);
                assert!(
                    now > before + 20,
                    "{apart:?}, second {round}, session {id}: {} frames",
                    now - before
                );
            }
        }
        for (id, start) in [1, 2].into_iter().zip(start) {
            // A packet that is lost twice moves some frames from one second to the next, and costs none.
            assert!(
                frames(&w, id) > start + 285,
                "{apart:?}, session {id}: {} frames",
                frames(&w, id) - start
            );
            assert!(w.closed(id).is_none(), "{:?}", w.closed(id));
            assert!(w.fanout.stats(SessionId(id)).expect("lives").nacks > 0, "its reports are heard");
        }
    }
}

#[test]
pub(super) fn a_newer_session_at_the_same_port_replaces_one_that_is_silent() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    let address = w.browsers[&1].address;
    w.browsers.get_mut(&1).expect("made").gone = true;
    join_at(&mut w, 2, address);
    let from = w.now - w.start;
    w.run(ms(5000));
    let (at, _) = w.closed(1).expect("replaced");
    assert!(at - from < ms(4000), "{:?}", at - from);
    assert_eq!(w.end(1).reason, EndReason::Replaced);
    assert!(frames(&w, 2) > 100 && w.closed(2).is_none());
}

#[test]
pub(super) fn an_outage_of_both_replaces_neither() {
    let mut w = World::new();
    let address = SocketAddr::from(([198, 51, 100, 1], 5000));
    join_at(&mut w, 1, address);
    w.run(ms(1000));
    join_at(&mut w, 2, address);
    w.run(ms(2000));
    w.lose = |_| true;
    w.run(ms(6000));
    w.lose = |_| false;
    w.run(ms(6000));
    assert!(w.closed(1).is_none() && w.closed(2).is_none(), "{:?} {:?}", w.closed(1), w.closed(2));
}

#[test]
pub(super) fn of_two_handshakes_at_one_port_the_newer_goes_on() {
    let mut replaced = 0;
    for at in (0..150).step_by(10) {
        let mut w = World::new();
        let address = SocketAddr::from(([198, 51, 100, 1], 5000));
        // The page was left before it was connected, and nothing of it answers but its port.
        join_at(&mut w, 1, address);
        w.run(ms(at));
        w.browsers.get_mut(&1).expect("made").gone = true;
        w.run(ms(100));
        join_at(&mut w, 2, address);
        w.run(ms(4500));
        assert!(frames(&w, 2) > 60 && w.closed(2).is_none(), "{at} ms");
        if let Some((ended, _)) = w.closed(1) {
            assert_eq!(w.end(1).reason, EndReason::Replaced);
            replaced += usize::from(ended < ms(1000));
        }
    }
    assert!(replaced > 3, "{replaced} were in the midst of their handshake");
}

#[test]
pub(super) fn who_forges_an_address_replaces_nobody() {
    let mut w = World::new();
    let victim = SocketAddr::from(([198, 51, 100, 1], 5000));
    for at in (0..120).step_by(5) {
        let id = 100 + at;
        join_at(&mut w, id, victim);
        w.run(ms(at));
        let forger = Caller::call(&mut w, id + 1000, |offer| offer);
        for number in 0..4 {
            w.forge(victim, &forger.check(number, true));
        }
        w.run(ms(1000));
        assert!(w.browsers[&id].connected && w.closed(id).is_none(), "{at} ms: {:?}", w.closed(id));
        w.fanout.close(SessionId(id), w.now);
        w.fanout.close(SessionId(id + 1000), w.now);
        w.drain_camera();
        w.browsers.clear();
    }
}
