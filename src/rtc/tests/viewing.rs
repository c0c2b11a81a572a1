//! Viewers that watch, lose packets, and come back.

use str0m::format::Codec as Theirs;
use str0m::media::{Direction, MediaKind};

use super::world::*;
use crate::media::{Codec, Frame, StreamId};
use crate::rtc::{Config, Event, Fanout, Input, LocalCandidate, Path, Refusal, SessionId};

/// Whether a browser got these bytes unbroken, from a key frame on; says how many frames.
fn unbroken(world: &World, id: u64, codec: Theirs, fed: &[std::sync::Arc<[u8]>]) -> usize {
    let got = world.browsers[&id].frames(codec);
    let first = got.first().expect("frames came");
    let start = fed.iter().position(|f| **f == *first.data).expect("the first frame is one of ours");
    for (i, (got, fed)) in got.iter().zip(&fed[start..]).enumerate() {
        assert!(got.data[..] == fed[..], "frame {i} after the first is what was fed in");
    }
    got.len()
}

fn is_key(codec: Theirs, data: &[u8]) -> bool {
    match codec {
        Theirs::H264 => data[4] == 0x67,
        _ => data[0] & 1 == 0,
    }
}

#[test]
fn a_viewer_sees_and_hears_from_a_key_frame_on() {
    let mut w = World::new();
    w.run(ms(500)); // the source runs before anybody watches
    let answer = w.viewer(1);
    assert_eq!(taken(&answer.streams), (Some(H264), Some(OPUS)));
    w.run(ms(3000));
    assert!(w.saw(|e| *e == Event::Connected { session: SessionId(1) }));
    assert!(w.saw(|e| is_join(e, H264)));
    assert!(is_key(Theirs::H264, &w.browsers[&1].frames(Theirs::H264)[0].data));
    let n = unbroken(&w, 1, Theirs::H264, &w.fed[&H264]);
    assert!(n > 70, "{n} frames in about 3 s");
    let n = unbroken(&w, 1, Theirs::Opus, &w.fed[&OPUS]);
    assert!(n > 120, "{n} packets of sound in about 3 s");
    // 33 ms on the RTP clock, without a gap or a turn.
    let got = w.browsers[&1].frames(Theirs::H264);
    assert!(got.windows(2).all(|p| p[1].time.numer() - p[0].time.numer() == 2970));
    assert!(w.closed(1).is_none());
}

#[test]
fn sound_and_pictures_share_one_time() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(8000)); // reports on sound come every 5 s
    let b = &w.browsers[&1];
    let at = |codec| {
        let m = b
            .frames(codec)
            .into_iter()
            .rev()
            .find(|m| m.last_sender_info.is_some())
            .expect("a sender report came");
        let sr = m.last_sender_info.expect("found by it");
        // How far the report's moment is from the media's zero, by both clocks.
        sr.ntp_time.duration_since(std::time::UNIX_EPOCH).expect("after").as_secs_f64()
            - (sr.rtp_time.as_seconds() - m.time.as_seconds())
            - w.fed_at(codec, &m.data)
    };
    assert!((at(Theirs::H264) - at(Theirs::Opus)).abs() < 0.005);
}

#[test]
fn lost_packets_are_repeated() {
    let mut w = World::new();
    // A receiver cannot miss what came before the first packet that it got.
    w.viewer(1);
    w.run(ms(200));
    w.lose = |n| n % 29 == 0;
    w.run(ms(6000));
    let n = unbroken(&w, 1, Theirs::H264, &w.fed[&H264]);
    assert!(n > 150, "{n} frames in about 6 s");
    assert!(w.fanout.stats(SessionId(1)).expect("lives").nacks > 0);
}

#[test]
fn a_key_frame_mends_what_is_too_much_to_repeat() {
    let mut w = World::new();
    // 2 Mbit/s.
    (w.streams, w.frame_size) = (vec![H264], 8000);
    w.viewer(1);
    w.run(ms(3000));
    let wanted = |w: &World| w.events.iter().filter(|(_, e)| is_loss(e, H264)).count();
    w.lose = |n| n % 29 == 0;
    w.run(ms(2000));
    assert_eq!(wanted(&w), 0, "all of that is repeated");
    // The network changes.
    w.lose = |_| true;
    w.run(ms(800));
    w.lose = |_| false;
    w.run(ms(200));
    assert_eq!(wanted(&w), 1);
    w.run(ms(3000));
    assert_eq!(wanted(&w), 1, "it came");
}

#[test]
fn what_is_not_repeated_is_missed() {
    // The counterpart of the test above: without its cache the same loss is seen.
    let mut w = World::with(Config { resend_packets: 0, ..Config::default() });
    // A receiver cannot miss what came before the first packet that it got.
    w.viewer(1);
    w.run(ms(200));
    w.lose = |n| n % 29 == 0;
    w.run(ms(6000));
    let (got, fed) = (w.browsers[&1].frames(Theirs::H264), &w.fed[&H264]);
    let start = fed.iter().position(|f| **f == *got[0].data).expect("one of ours");
    assert!(fed.len() - start - got.len() > 10, "{} of {}", got.len(), fed.len() - start);
}

#[test]
fn a_picture_loss_asks_for_a_key_frame() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    assert!(!w.saw(|e| is_loss(e, H264)));
    w.ask_key_frame(1);
    w.run(ms(500));
    assert!(w.saw(|e| is_loss(e, H264)));
    assert_eq!(w.fanout.stats(SessionId(1)).expect("lives").key_frame_requests, 1);
    let keys = w.browsers[&1].frames(Theirs::H264).iter().filter(|f| is_key(Theirs::H264, &f.data)).count();
    assert_eq!(keys, 2);
}

#[test]
pub(super) fn three_viewers_share_one_cut() {
    let mut w = World::new();
    for id in 1..=3 {
        w.viewer(id);
        w.run(ms(700));
    }
    let before = w.fanout.totals();
    w.run(ms(1000));
    let after = w.fanout.totals();
    // Two streams are followed, the third (VP8) by nobody.
    let fed = after.frames - before.frames;
    let cut = after.cut - before.cut;
    assert!(cut > 70 && cut < fed, "{cut} of {fed}");
    for id in 1..=3 {
        assert!(is_key(Theirs::H264, &w.browsers[&id].frames(Theirs::H264)[0].data));
        unbroken(&w, id, Theirs::H264, &w.fed[&H264]);
    }
    let frames: u64 = (1..=3).map(|id| w.fanout.stats(SessionId(id)).expect("lives").frames).sum();
    assert!(frames > after.cut, "each cut went to several");
}

#[test]
pub(super) fn nobody_watching_costs_no_cut() {
    let mut w = World::new();
    w.run(ms(1000));
    assert_eq!(w.fanout.totals().cut, 0);
    assert!(w.fanout.totals().frames > 50);
}

#[test]
fn a_viewer_without_h264_gets_vp8() {
    let mut w = World::new();
    w.browser(1, |c| c.enable_vp8(true));
    let answer = w.call(1, Direction::RecvOnly).expect("accepted");
    assert_eq!(taken(&answer.streams).0, Some(VP8));
    w.run(ms(2000));
    assert!(w.saw(|e| is_join(e, VP8)) && !w.saw(|e| is_join(e, H264)));
    assert!(is_key(Theirs::Vp8, &w.browsers[&1].frames(Theirs::Vp8)[0].data));
    assert!(unbroken(&w, 1, Theirs::Vp8, &w.fed[&VP8]) > 40);
}

#[test]
fn a_viewer_that_would_send_too_is_sent_to_only() {
    let mut w = World::new();
    w.browser(1, |c| c.enable_h264(true));
    let answer = w.call(1, Direction::SendRecv).expect("accepted");
    assert_eq!(answer.sdp.matches("a=sendonly").count(), 2);
    assert!(!answer.sdp.contains("a=sendrecv"));
    w.run(ms(2000));
    assert!(unbroken(&w, 1, Theirs::H264, &w.fed[&H264]) > 40);
}

#[test]
fn the_camera_may_call() {
    let mut w = World::new();
    w.browser(1, |c| c.enable_vp8(true).enable_h264(true));
    let answer = w.call_browser(1);
    let answered = w.fanout.answer(SessionId(1), &answer, w.now).expect("a good answer");
    w.drain_camera();
    assert_eq!(taken(&answered.streams), (Some(H264), Some(OPUS)));
    w.run(ms(3000));
    assert!(unbroken(&w, 1, Theirs::H264, &w.fed[&H264]) > 60);
    assert!(unbroken(&w, 1, Theirs::Opus, &w.fed[&OPUS]) > 100);
}

#[test]
fn packets_of_a_frame_leave_in_batches_of_one_size() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(3000));
    let batches: Vec<_> = w.sent.iter().filter(|t| t.segment.is_some()).collect();
    assert!(batches.len() > 60, "{} batches", batches.len());
    for t in &batches {
        let sizes: Vec<usize> = t.datagrams().map(<[u8]>::len).collect();
        let (last, others) = sizes.split_last().expect("several");
        assert!(
            others.iter().all(|s| *s == others[0]) && *last <= others[0] && others[0] <= 1200,
            "{sizes:?}"
        );
    }
    // A delta frame of 4000 bytes is 4 packets and one call.
    let fours = batches.iter().filter(|t| t.datagrams().count() == 4).count();
    assert!(fours > 60, "{fours} of {}", batches.len());
}

#[test]
fn estimates_and_round_trips_are_told() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(8000));
    let last = w.events.iter().rev().find_map(|(_, e)| match e {
        Event::Estimate { bps, .. } => Some(*bps),
        _ => None,
    });
    assert!(last.expect("an estimate") > 1_000_000, "{last:?}");
    let stats = w.fanout.stats(SessionId(1)).expect("lives");
    assert_eq!(stats.estimate, last);
    let rtt = stats.rtt.expect("measured");
    assert!(rtt >= ms(20) && rtt < ms(200), "{rtt:?}");
    let delays = stats.delays.expect("frames were sent");
    assert!(delays.capture < ms(1) && delays.queue < ms(20), "captured at once, and paced: {delays:?}");
    assert_eq!(delays.encoding, None, "nobody knows when they were encoded");
    assert!(stats.packets > 800 && stats.bytes > 900_000, "{stats:?}");
}

#[test]
fn capture_encoding_and_queue_are_told_apart() {
    let mut w = World::new();
    w.made_in = (ms(9), ms(14));
    w.viewer(1);
    w.run(ms(8000));
    let delays = w.fanout.stats(SessionId(1)).and_then(|stats| stats.delays).expect("frames were sent");
    assert_eq!((delays.capture, delays.encoding), (ms(9), Some(ms(14))));
    assert!(delays.queue < ms(20), "{delays:?}");
}

#[test]
fn a_raised_limit_acts_in_sessions_that_exist() {
    let estimate = |raised: bool| {
        let mut w = World::with(crate::rtc::Config { max_bitrate: 500_000, ..Default::default() });
        w.viewer(1);
        w.run(ms(3000));
        if raised {
            w.fanout.set_max_bitrate(6_000_000);
        }
        w.run(ms(9000));
        w.fanout.stats(SessionId(1)).expect("lives").estimate.expect("measured")
    };
    let (kept, raised) = (estimate(false), estimate(true));
    assert!(raised > kept + kept / 4, "{kept} {raised}");
}

#[test]
fn a_renegotiation_goes_on_with_the_same_stream() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    let before = w.browsers[&1].frames(Theirs::H264).len();
    // The page stops the sound.
    let answer = w.reoffer(1, |b| {
        let mid = b.mids[0].1;
        let mut api = b.rtc.sdp_api();
        api.set_direction(mid, Direction::Inactive);
        let (offer, pending) = api.apply().expect("a change");
        (offer.to_sdp_string(), pending)
    });
    assert_eq!(taken(&answer.streams), (Some(H264), None));
    let sound = w.browsers[&1].frames(Theirs::Opus).len();
    w.run(ms(2000));
    assert!(unbroken(&w, 1, Theirs::H264, &w.fed[&H264]) > before + 50);
    assert!(w.browsers[&1].frames(Theirs::Opus).len() <= sound + 3);
    assert!(w.closed(1).is_none());
}

#[test]
pub(super) fn a_page_loaded_anew_takes_the_place_of_its_old_self() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    w.viewer(1); // same session id and address, another peer connection
    w.run(ms(2000));
    assert_eq!(w.fanout.sessions().count(), 1);
    assert!(unbroken(&w, 1, Theirs::H264, &w.fed[&H264]) > 40);
    assert!(w.closed(1).is_none());
}

#[test]
fn a_viewer_whose_network_is_too_thin_gets_fewer_pictures_and_no_growing_delay() {
    let mut w = World::new();
    w.frame_size = 12_000; // 2.9 Mbit/s
    w.link = Some(600_000);
    w.viewer(1);
    w.run(ms(20_000));
    let stats = w.fanout.stats(SessionId(1)).expect("lives");
    assert!(stats.skipped.network > 100 && stats.frames > 50, "{stats:?}");
    assert!(stats.estimate.expect("measured") < 1_200_000, "{stats:?}");
    assert!(w.closed(1).is_none());
    // What arrives was made shortly before: a frame waits in str0m's queue for 2 s at most, and half a second on the
    // link. It does so no longer at the end than at the beginning.
    w.run(ms(40_000));
    let delay = |m: &&str0m::media::MediaData| {
        let made = w.fed[&H264].iter().position(|f| **f == *m.data).expect("one of ours");
        (m.network_time - w.start) - ms(33) * made as u32
    };
    let delays: Vec<_> = w.browsers[&1].frames(Theirs::H264).iter().map(delay).collect();
    let (early, late) = delays.split_at(delays.len() / 2);
    let (early, late) = (early.iter().max().expect("some"), late.iter().max().expect("some"));
    assert!(*early.max(late) < ms(3500) && *late < *early + ms(1000), "{early:?} {late:?}");
}

#[test]
fn a_viewer_behind_a_nat_is_found_by_its_name() {
    let mut w = World::new();
    let inside = std::net::SocketAddr::from(([198, 51, 100, 1], 5000));
    w.nat.insert(inside, "203.0.113.20:61000".parse().expect("literal"));
    w.viewer(1);
    w.viewer(2);
    w.run(ms(2000));
    assert!(unbroken(&w, 1, Theirs::H264, &w.fed[&H264]) > 40);
    assert!(unbroken(&w, 2, Theirs::H264, &w.fed[&H264]) > 40);
}

#[test]
fn a_camera_behind_a_port_forward_is_reached_by_the_advertised_address() {
    let public = "203.0.113.5:40000".parse().expect("literal");
    let candidate = LocalCandidate { base: CAMERA.parse().expect("literal"), advertised: Some(public) };
    let mut w = World::with(Config { candidates: vec![candidate], ..Config::default() });
    w.forward = Some(public);
    w.viewer(1);
    w.run(ms(2000));
    assert!(unbroken(&w, 1, Theirs::H264, &w.fed[&H264]) > 40);
    assert!(w.sent.iter().all(|t| t.path.local == candidate.base), "what leaves, leaves by the base");
}

#[test]
fn each_family_is_spoken_by_its_own_candidate() {
    let v4 = LocalCandidate { base: CAMERA.parse().expect("literal"), advertised: None };
    let v6 = LocalCandidate { base: "[2001:db8::5]:4000".parse().expect("literal"), advertised: None };
    let mut w = World::with(Config { candidates: vec![v4, v6], ..Config::default() });
    w.browser_at(1, "[2001:db8::77]:5000".parse().expect("literal"), |c| c.enable_h264(true));
    w.call(1, Direction::RecvOnly).expect("accepted");
    w.viewer(2);
    w.run(ms(2000));
    for id in [1, 2] {
        assert!(unbroken(&w, id, Theirs::H264, &w.fed[&H264]) > 40);
    }
    assert!(w.sent.iter().all(|t| t.path.local.is_ipv4() == t.path.remote.is_ipv4()));
}

#[test]
fn a_datagram_to_an_address_that_is_no_candidate_is_not_answered() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(5));
    // The first check of the browser, to an address of ours that nobody was told.
    let before = w.sent.len();
    let (from, _, check) =
        w.taken.iter().find(|(_, to, _)| *to == CAMERA.parse().expect("literal")).expect("sent").clone();
    let local = "192.0.2.200:4000".parse().expect("literal");
    w.fanout.handle_input(Input::Datagram { path: Path::udp(local, from), data: &check }, w.now);
    w.drain_camera();
    assert!(w.sent[before..].iter().all(|t| t.path.local != local));
}

#[test]
pub(super) fn an_ice_restart_goes_on_with_the_same_stream() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    let before = w.browsers[&1].frames(Theirs::H264).len();
    w.reoffer(1, |b| {
        let mut api = b.rtc.sdp_api();
        api.ice_restart(true);
        let (offer, pending) = api.apply().expect("a change");
        (offer.to_sdp_string(), pending)
    });
    w.run(ms(3000));
    assert!(unbroken(&w, 1, Theirs::H264, &w.fed[&H264]) > before + 70);
    assert!(w.closed(1).is_none());
}

#[test]
fn a_viewer_costs_few_wake_ups() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(5000));
    let each_second = |w: &mut World| {
        let before = w.wakes;
        w.run(ms(10_000));
        (w.wakes - before) / 10
    };
    // While frames come they drive it.
    let watching = each_second(&mut w);
    w.streams.clear();
    let idle = each_second(&mut w);
    assert!(watching < 20 && idle < 20, "{watching} {idle}");
}

#[test]
fn a_fan_out_can_be_sent_to_a_thread() {
    fn is_send<T: Send>() {}
    is_send::<Fanout>();
}

#[test]
fn pictures_that_are_wanted_later_begin_at_a_key_frame_too() {
    let mut w = World::new();
    w.browser(1, |c| c.enable_h264(true));
    let answer = w.call_for(1, &[MediaKind::Audio], Direction::RecvOnly).expect("accepted");
    assert_eq!(taken(&answer.streams), (None, Some(OPUS)));
    w.run(ms(2000));
    assert!(!w.saw(|e| is_join(e, H264)));
    let answer = w.call_for(1, &[MediaKind::Video], Direction::RecvOnly).expect("renegotiated");
    assert_eq!(taken(&answer.streams), (Some(H264), Some(OPUS)));
    w.run(ms(2000));
    assert!(w.saw(|e| is_join(e, H264)));
    assert!(is_key(Theirs::H264, &w.browsers[&1].frames(Theirs::H264)[0].data));
    assert!(unbroken(&w, 1, Theirs::H264, &w.fed[&H264]) > 40);
    assert!(unbroken(&w, 1, Theirs::Opus, &w.fed[&OPUS]) > 150);
}

#[test]
pub(super) fn an_address_may_pass_from_one_viewer_to_the_next() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(1000));
    let address = w.browsers[&1].address;
    w.browsers.get_mut(&1).expect("made").gone = true;
    w.browser_at(2, address, |c| c.enable_h264(true));
    w.call(2, Direction::RecvOnly).expect("accepted");
    w.run(ms(2000));
    assert!(unbroken(&w, 2, Theirs::H264, &w.fed[&H264]) > 40);
    w.run(ms(8000));
    assert!(w.closed(1).is_some() && w.closed(2).is_none());
}

#[test]
fn frames_that_rtp_does_not_carry_are_nobodys() {
    let mut w = World::new();
    w.fanout.set_streams(&[stream(StreamId(9), Codec::Jpeg), stream(H264, Codec::H264)]);
    let answer = w.viewer(1);
    assert_eq!(taken(&answer.streams), (Some(H264), None));
    w.run(ms(2000));
    let before = (w.fanout.totals().cut, w.sent.len());
    // Not even under the id of a stream that is watched.
    for stream in [StreamId(9), H264] {
        let frame = Frame {
            stream,
            codec: Codec::Jpeg,
            key: true,
            captured: w.now,
            pts: w.now - w.start,
            duration: ms(0),
            discontinuity: false,
            encoding: None,
            data: [0xff, 0xd8, 0xff, 0xd9].into(),
        };
        w.fanout.handle_input(Input::Frame(&frame), w.now);
        w.drain_camera();
    }
    assert_eq!((w.fanout.totals().cut, w.sent.len()), before);
    w.fanout.set_streams(&[stream(StreamId(9), Codec::Jpeg)]);
    assert_eq!(w.fanout.offer(SessionId(2), w.now), Err(Refusal::NothingToSend));
}

#[test]
fn the_first_stream_that_a_viewer_decodes_is_sent_by_the_order_of_the_source() {
    let (small, large) = (StreamId(5), StreamId(6));
    let mut lesser = stream(small, Codec::H264);
    lesser.rendition = 1;
    for (streams, expected) in [
        (vec![stream(VP8, Codec::Vp8), stream(H264, Codec::H264)], VP8),
        (vec![stream(H264, Codec::H264), stream(VP8, Codec::Vp8)], H264),
        (vec![lesser, stream(large, Codec::H264)], large),
        (vec![lesser], small),
    ] {
        let mut w = World::new();
        w.fanout.set_streams(&streams);
        assert_eq!(w.viewer(1).streams, [expected].into());
    }
}

#[test]
pub(super) fn who_joins_soon_after_a_key_frame_needs_none() {
    let mut w = World::new();
    w.streams = vec![H264];
    w.frame_size = 1500;
    w.viewer(1);
    // Its key frame comes 100 ms after it has connected.
    w.run(ms(250));
    let (asked, keys) = (w.events.iter().filter(|(_, e)| is_join(e, H264)).count(), w.fed[&H264].len());
    assert_eq!(asked, 1);
    w.viewer(2);
    w.run(ms(1000));
    assert_eq!(w.fanout.totals().caught_up, 1);
    assert_eq!(w.events.iter().filter(|(_, e)| is_join(e, H264)).count(), 1, "none was asked for");
    let got = w.browsers[&2].frames(Theirs::H264);
    let start = w.fed[&H264].iter().position(|f| **f == *got[0].data).expect("one of ours");
    assert!(is_key(Theirs::H264, &got[0].data) && start < keys, "it begins before it joined");
    unbroken(&w, 2, Theirs::H264, &w.fed[&H264]);
    // What is only decoded takes no time, and what comes is in time.
    let apart: Vec<u64> = got.windows(2).map(|p| p[1].time.numer() - p[0].time.numer()).collect();
    let skipped = apart.iter().take_while(|apart| **apart == 90).count();
    assert!((1..20).contains(&skipped), "{apart:?}");
    assert!(apart[skipped..].iter().all(|apart| *apart == 2970), "{apart:?}");
    // Later there is too much to catch up with.
    w.run(ms(1500));
    w.viewer(3);
    w.run(ms(500));
    assert_eq!(w.fanout.totals().caught_up, 1);
    assert_eq!(w.events.iter().filter(|(_, e)| is_join(e, H264)).count(), 2);
}

/// CELT, 20 ms, one frame.
const SOUND: [u8; 80] = [31 << 3; 80];

#[test]
pub(super) fn audio_of_watchers_is_joined_as_configured() {
    for (per_packet, packets) in [(20, 60), (60, 20), (120, 10)] {
        let config = Config { audio_packet: ms(per_packet), ..Config::default() };
        let mut w = World::with(config);
        w.streams = vec![];
        w.viewer(1);
        w.run(ms(1000));
        for _ in 0..60 {
            w.hear_packet(SOUND.into());
        }
        let got = w.browsers[&1].frames(Theirs::Opus);
        assert_eq!(got.len(), packets, "{per_packet} ms");
        let frames: usize =
            got.iter().map(|m| if m.data[0] & 3 == 3 { usize::from(m.data[1] & 63) } else { 1 }).sum();
        assert_eq!(frames, 60, "{per_packet} ms");
    }
}

#[test]
fn audio_that_waited_when_the_last_viewer_left_is_not_sent_to_the_next() {
    let mut w = World::new();
    w.streams = vec![];
    let hear = |w: &mut World, frames: u64| (0..frames).for_each(|_| w.hear_packet(SOUND.into()));
    w.viewer(1);
    w.run(ms(1000));
    hear(&mut w, 4);
    w.fanout.close(SessionId(1), w.now);
    w.drain_camera();
    hear(&mut w, 50);
    w.viewer(2);
    w.run(ms(1000));
    hear(&mut w, 6);
    let got: Vec<u8> = w.browsers[&2].frames(Theirs::Opus).iter().map(|m| m.data[1] & 63).collect();
    assert_eq!(got, [3, 3]);
}
