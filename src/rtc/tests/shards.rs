//! Viewers spread over several drivers, each of which gets a CPU when chance has it.

use std::collections::BTreeSet;

use str0m::format::Codec as Theirs;
use str0m::media::{Direction, MediaKind};

use super::world::*;
use super::{
    ending, full_socket, hostile, moves, numbers, other_stacks, panics, riding, shared_ports, viewing,
};
use crate::call::body::EndReason;
use crate::rtc::{Config, Refusal, SessionId};

/// Situations that are about several sessions, or about what ends or begins anew by itself.
#[test]
fn what_holds_with_one_driver_holds_with_three() {
    let situations: &[fn()] = &[
        shared_ports::two_sessions_that_share_a_port_both_watch_under_loss,
        shared_ports::a_newer_session_at_the_same_port_replaces_one_that_is_silent,
        shared_ports::an_outage_of_both_replaces_neither,
        shared_ports::of_two_handshakes_at_one_port_the_newer_goes_on,
        shared_ports::who_forges_an_address_replaces_nobody,
        panics::a_panic_while_packets_are_sealed_ends_one_session,
        panics::a_panic_at_a_datagram_a_frame_or_a_timer_ends_one_session,
        panics::a_panic_in_a_renegotiation_ends_one_session,
        panics::a_panic_at_a_goodbye_or_a_candidate_ends_one_session,
        // Not a socket that takes half: which driver it serves is the system's choice.
        full_socket::goodbyes_wait_for_the_socket_and_are_counted_where_they_are_too_many,
        moves::media_follows_a_viewer_whose_source_port_changes,
        viewing::three_viewers_share_one_cut,
        viewing::nobody_watching_costs_no_cut,
        viewing::a_page_loaded_anew_takes_the_place_of_its_old_self,
        viewing::an_address_may_pass_from_one_viewer_to_the_next,
        viewing::an_ice_restart_goes_on_with_the_same_stream,
        viewing::who_joins_soon_after_a_key_frame_needs_none,
        viewing::audio_of_watchers_is_joined_as_configured,
        ending::closing_tells_the_viewer_and_forgets_it_without_an_event,
        ending::a_viewer_that_vanishes_is_gone_within_10_s,
        hostile::checks_are_limited_over_all_sessions_and_viewers_connect_meanwhile,
        hostile::who_forges_a_viewers_address_does_not_get_its_datagrams,
        other_stacks::a_transport_may_begin_anew_when_its_first_section_is_stopped,
        numbers::no_number_is_sealed_twice_over_random_renegotiations,
        riding::a_watchers_audio_needs_no_call_of_its_own,
        riding::packets_with_padding_are_repeated_without,
    ];
    DRIVERS.set(2);
    situations.iter().for_each(|situation| situation());
}

fn join(w: &mut World, id: u64) {
    w.browser(id, |c| c.enable_h264(true));
    w.call_for(id, &[MediaKind::Video], Direction::RecvOnly).expect("accepted");
}

/// The numbers of the frames that a browser got.
fn frames(w: &World, id: u64) -> Vec<usize> {
    let number = |data: &[u8]| w.fed[&H264].iter().position(|f| **f == *data).expect("a whole frame");
    w.browsers[&id].frames(Theirs::H264).iter().map(|frame| number(&frame.data)).collect()
}

/// How many sessions each driver has, the fan-out's own first.
fn shares(w: &World) -> Vec<usize> {
    w.fanout.sizes().into_iter().filter(|size| *size > 0).collect()
}

fn world() -> World {
    let mut w = World::new();
    w.streams = vec![H264];
    w.fanout.set_streams(&[stream(H264, crate::media::Codec::H264)]);
    w
}

#[test]
fn viewers_and_drivers_come_and_go_and_nobody_misses_a_frame() {
    for seed in 0..6 {
        let mut w = world();
        w.chance = seed;
        let (mut here, mut gone) = (BTreeSet::new(), BTreeSet::new());
        let mut next = 1;
        for _ in 0..40 {
            match w.below(6) {
                0..3 => {
                    join(&mut w, next);
                    here.insert(next);
                    next += 1;
                }
                3 => {
                    let at = w.below(here.len() as u64 + 1) as usize;
                    if let Some(id) = here.iter().nth(at).copied() {
                        w.fanout.close(SessionId(id), w.now);
                        w.drain_camera();
                        here.remove(&id);
                        gone.insert(id);
                    }
                }
                4 if w.drivers.len() < 3 => w.drive(),
                _ => {
                    let at = w.below(w.drivers.len() as u64 + 1) as usize;
                    if at < w.drivers.len() {
                        drop(w.drivers.remove(at));
                    }
                }
            }
            let pause = w.below(400);
            w.run(ms(pause));
            let shares = shares(&w);
            let (least, most) = (shares.iter().min(), shares.iter().max());
            assert!(least.zip(most).is_none_or(|(least, most)| most - least <= 1), "seed {seed}: {shares:?}");
            let all: BTreeSet<u64> = w.fanout.sessions().map(|id| id.0).collect();
            assert_eq!(all, here, "seed {seed}");
        }
        w.run(ms(1000));
        let fed = w.fed[&H264].len();
        for id in here.iter().chain(&gone) {
            let numbers = frames(&w, *id);
            let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
                assert!(gone.contains(id), "seed {seed}: viewer {id} saw nothing");
                continue;
            };
            assert_eq!(numbers, (*first..=*last).collect::<Vec<_>>(), "seed {seed}, viewer {id}");
            assert!(
                gone.contains(id) || last + 3 >= fed,
                "seed {seed}: viewer {id} saw up to {last} of {fed}"
            );
        }
        assert!(gone.iter().all(|id| w.browsers[id].closed || !w.browsers[id].connected), "seed {seed}");
        let totals = w.fanout.totals();
        assert_eq!((totals.panics, totals.goodbyes_dropped), (0, 0), "seed {seed}");
        assert_eq!((totals.skipped.network, totals.skipped.socket), (0, 0), "seed {seed}");
    }
}

#[test]
fn each_of_two_drivers_sends_half_and_a_frame_is_cut_once() {
    let mut w = world();
    for id in 1..=9 {
        join(&mut w, id);
    }
    w.run(ms(1500));
    assert!(w.browsers.values().all(|b| b.connected));
    // Viewers that were there before move, too.
    w.drive();
    assert_eq!(shares(&w), [5, 4]);
    join(&mut w, 10);
    assert_eq!(shares(&w), [5, 5]);
    w.run(ms(1000));
    let (sent, theirs, cut) = (w.sent.len(), w.drivers[0].sent, w.fanout.totals().cut);
    w.run(ms(5000));
    let all: usize = w.sent[sent..].iter().map(|t| t.datagrams().count()).sum();
    let theirs = w.drivers[0].sent - theirs;
    assert!(theirs * 20 > all * 9 && theirs * 20 < all * 11, "{theirs} of {all}");
    let cut = w.fanout.totals().cut - cut;
    assert!((150..=152).contains(&cut), "{cut} frames of five seconds");
}

#[test]
fn a_driver_that_gets_no_cpu_keeps_nobody_elses_viewers_waiting() {
    let mut w = world();
    w.drive();
    for id in 1..=4 {
        join(&mut w, id);
    }
    w.run(ms(2000));
    let before: Vec<usize> = (1..=4).map(|id| frames(&w, id).len()).collect();
    // It has its shard, and does nothing.
    let stuck = w.drivers.remove(0);
    w.run(ms(2000));
    let gained: Vec<usize> = (1..=4).zip(&before).map(|(id, before)| frames(&w, id).len() - before).collect();
    assert_eq!(gained.iter().filter(|n| **n >= 58).count(), 2, "{gained:?}");
    assert_eq!(gained.iter().filter(|n| **n <= 1).count(), 2, "{gained:?}");
    // When it is gone, others take over.
    drop(stuck);
    w.run(ms(2000));
    assert_eq!(shares(&w), [4]);
    assert!((1..=4).all(|id| frames(&w, id).last().is_some_and(|last| last + 3 >= w.fed[&H264].len())));
}

#[test]
fn seats_are_limited_over_all_drivers() {
    let mut w = World::with(Config { max_sessions: 5, ..Config::default() });
    (0..2).for_each(|_| w.drive());
    for id in 1..=5 {
        join(&mut w, id);
    }
    w.browser(6, |c| c.enable_h264(true));
    let refused = w.call_for(6, &[MediaKind::Video], Direction::RecvOnly);
    assert_eq!(refused, Err(Refusal::Full { limit: 5 }));
    w.run(ms(2000));
    // One that vanishes leaves its seat, in whichever shard it was.
    w.browsers.get_mut(&3).expect("made").gone = true;
    w.run(ms(10_000));
    assert_eq!(w.end(3).reason, EndReason::Vanished);
    w.browsers.remove(&6);
    join(&mut w, 6);
    assert_eq!(w.fanout.sessions().count(), 5);
}
