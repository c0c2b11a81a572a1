//! The camera's own socket takes nothing, or less than there is to send.

use std::net::SocketAddr;
use std::time::Duration;

use str0m::format::Codec as Theirs;
use str0m::media::{Direction, MediaKind};

use super::world::*;
use crate::media::Codec;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::rtc::{Config, Event, SessionId, Skipped};

/// So many that watch small pictures.
fn crowd(viewers: u64, sound: bool) -> World {
    let mut w = World::with(Config { max_sessions: viewers as usize + 1, ..Config::default() });
    w.frame_size = 900;
    w.streams = if sound { vec![H264, OPUS] } else { vec![H264] };
    let streams = [stream(H264, Codec::H264), stream(OPUS, Codec::Opus)];
    w.fanout.set_streams(&streams[..w.streams.len()]);
    for id in 1..=viewers {
        join(&mut w, id);
    }
    w
}

fn join(w: &mut World, id: u64) {
    let address = SocketAddr::from(([198, 51, (id >> 8) as u8, id as u8], 5000));
    w.browser_at(id, address, |c| c.enable_h264(true));
    let kinds = if w.streams.contains(&OPUS) {
        &[MediaKind::Audio, MediaKind::Video][..]
    } else {
        &[MediaKind::Video]
    };
    w.call_for(id, kinds, Direction::RecvOnly).expect("accepted");
}

/// The numbers of the frames that a browser got, each of them whole: what is missing, is so up to a key frame.
fn frames(w: &World, id: u64) -> Vec<usize> {
    let fed = &w.fed[&H264];
    let frames = w.browsers[&id].frames(Theirs::H264);
    let mut numbers: Vec<usize> = vec![];
    let mut from = 0;
    for frame in frames {
        let at = fed[from..].iter().position(|f| **f == *frame.data).expect("a whole frame, and in order");
        let number = from + at;
        let is_key = fed[number][4] & 0x1f == 7;
        assert!(
            at == 0 && !numbers.is_empty() || is_key,
            "browser {id} got frame {number} after {numbers:?}"
        );
        numbers.push(number);
        from = number + 1;
    }
    numbers
}

fn skipped(w: &World, id: u64) -> Skipped {
    w.fanout.stats(SessionId(id)).expect("lives").skipped
}

#[test]
fn a_socket_that_takes_nothing_for_a_second_costs_whole_frames_and_nobody() {
    const VIEWERS: u64 = 400;
    let mut w = crowd(VIEWERS, false);
    w.run(ms(2000));
    assert!(w.browsers.values().all(|b| b.connected));
    assert_eq!(w.fanout.totals().skipped.socket, 0);
    let (sent, events, fed) = (w.sent.len(), w.events.len(), w.fed[&H264].len());
    w.socket_free = w.now + ms(1000);
    let mut most = (0, 0);
    for _ in 0..99 {
        w.run(ms(10));
        let (frames, datagrams) = w.fanout.waiting();
        most = (most.0.max(frames), most.1.max(datagrams));
    }
    assert_eq!(w.sent.len(), sent);
    // Half a second of frames, which all viewers share; and of each session the packets of one call.
    assert!((14..=17).contains(&most.0) && most.1 <= 3 * VIEWERS as usize, "{most:?}");
    let asked = |w: &World, reason| {
        let of =
            |e: &&(Duration, Event)| matches!(&e.1, Event::KeyFrameWanted { reason: r, .. } if *r == reason);
        w.events[events..].iter().filter(of).count()
    };
    assert_eq!(asked(&w, KeyFrameReason::Behind), 0, "it would come too early");
    w.run(ms(1500));
    assert_eq!(asked(&w, KeyFrameReason::Behind), VIEWERS as usize);
    let mut all = 0;
    for id in 1..=VIEWERS {
        let Skipped { network, socket, .. } = skipped(&w, id);
        // All of the second, and until the key frame that was asked for then.
        assert!((30..=38).contains(&socket) && network == 0, "viewer {id}: {socket} {network}");
        all += socket;
        let numbers = frames(&w, id);
        let last = numbers.last().expect("frames came");
        let missed = (fed..*last).filter(|n| !numbers.contains(n)).count();
        let goes_on = last + 3 >= w.fed[&H264].len();
        assert!(missed as u64 == socket && goes_on, "viewer {id}: {missed} missed, {socket} skipped");
        assert!(w.closed(id).is_none());
        // What was dropped never had a number.
        assert_eq!(w.fanout.stats(SessionId(id)).expect("lives").nacks, 0);
    }
    assert_eq!(w.fanout.totals().skipped.socket, all);
    assert_eq!(w.fanout.totals().dropped.unanswered, 0);
}

#[test]
fn a_socket_that_takes_half_keeps_every_call_and_lets_others_in() {
    const VIEWERS: u64 = 20;
    let mut w = crowd(VIEWERS, false);
    w.run(ms(3000));
    let before: Vec<usize> = (1..=VIEWERS).map(|id| frames(&w, id).len()).collect();
    // 20 viewers have 600 frames a second, besides what keeps their calls alive.
    w.socket_takes = ms(2);
    w.run(ms(20_000));
    join(&mut w, VIEWERS + 1);
    w.run(ms(3000));
    assert!(w.browsers[&(VIEWERS + 1)].connected, "checks and handshakes get through");
    let gained: Vec<usize> =
        (1..=VIEWERS).zip(before).map(|(id, before)| frames(&w, id).len() - before).collect();
    let (least, most) = (gained.iter().min().expect("some"), gained.iter().max().expect("some"));
    assert!(least * 2 > *most && *least > 0, "all fare alike: {gained:?}");
    for id in 1..=VIEWERS {
        assert!(w.closed(id).is_none() && skipped(&w, id).socket > 0);
    }
    let (waiting, _) = w.fanout.waiting();
    assert!(waiting < 2 * 30, "{waiting} frames wait");
    // And all is well again when the socket is.
    w.socket_takes = Duration::ZERO;
    w.run(ms(2000));
    let (fed, skips) = (w.fed[&H264].len(), w.fanout.totals().skipped.socket);
    w.run(ms(2000));
    assert_eq!(w.fanout.totals().skipped.socket, skips);
    for id in 1..=VIEWERS + 1 {
        assert!(frames(&w, id).iter().filter(|n| **n >= fed).count() >= 58, "viewer {id}");
    }
}

#[test]
fn a_viewer_that_talks_while_the_socket_takes_nothing_fills_no_memory() {
    let mut w = crowd(1, false);
    w.run(ms(2000));
    w.socket_free = w.now + ms(5000);
    w.run(ms(500));
    // It asks for key frames without end.
    for _ in 0..5000 {
        w.ask_key_frame(1);
        w.poke(1);
        w.run(Duration::from_micros(500));
    }
    let (waiting, datagrams) = w.fanout.waiting();
    assert!(waiting <= 17 && datagrams <= 1, "{waiting} frames, {datagrams} datagrams");
    assert!(w.fanout.stats(SessionId(1)).expect("lives").key_frame_requests > 1000);
    w.run(ms(6000));
    let frames = frames(&w, 1);
    assert!(*frames.last().expect("some") + 3 >= w.fed[&H264].len() && w.closed(1).is_none());
}

#[test]
pub(super) fn goodbyes_wait_for_the_socket_and_are_counted_where_they_are_too_many() {
    let mut w = crowd(3, false);
    w.run(ms(2000));
    w.socket_free = w.now + ms(1000);
    for id in 1..=3 {
        w.fanout.close(SessionId(id), w.now);
    }
    w.drain_camera();
    let (_, waiting) = w.fanout.waiting();
    assert!((3..=9).contains(&waiting), "{waiting}");
    w.run(ms(1500));
    assert!(w.browsers.values().all(|b| b.closed), "each got its goodbye");
    assert_eq!(w.fanout.totals().goodbyes_dropped, 0);
}
