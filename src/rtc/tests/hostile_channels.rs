//! A peer that does with data channels what no browser does.

use std::cell::Cell;
use std::rc::Rc;

use super::channels::{data_only, open, pair};
use super::pair::{BOTH, CALL, Pair, directions};
use super::world::ms;
use crate::call::body::EndReason;
use crate::dice::Dice;
use crate::rtc::crypto::sctp;
use crate::rtc::{ChannelError, ChannelId, ChannelLimits, ChannelMessage, ChannelOptions, Event};

/// The first one allows itself more than the second one does.
fn hostile() -> Pair {
    let generous = ChannelLimits { channels: 5000, send_queue: 10_000_000, ..ChannelLimits::default() };
    pair([Some(generous), Some(ChannelLimits { message: 10_000, ..ChannelLimits::default() })])
}

fn end(pair: &Pair, n: usize) -> Option<EndReason> {
    pair.peers[n].events.iter().find_map(|event| match event {
        Event::Closed { end, .. } => Some(end.reason.clone()),
        _ => None,
    })
}

/// The same, in a call with audio and video.
fn hostile_call(doctor: fn(String) -> String) -> Pair {
    let mut pair = hostile();
    pair.doctor = doctor;
    for n in 0..2 {
        pair.peers[n].fanout.set_directions(CALL, directions(&BOTH, &BOTH));
    }
    pair.peers[0].fanout.set_channels(CALL, true);
    pair.connect().expect("a call with media and data");
    pair.run(ms(1000));
    pair
}

fn closed(pair: &Pair, n: usize) -> Vec<(ChannelId, ChannelError)> {
    let closed = |event: &Event| match event {
        Event::ChannelClosed { channel, error, .. } => Some((*channel, *error)),
        _ => None,
    };
    pair.peers[n].events.iter().filter_map(closed).collect()
}

/// The channels of the second one have failed, and nothing else.
fn goes_on_without_channels(pair: &mut Pair, error: ChannelError, name: &str) {
    let options = ChannelOptions::new("more");
    assert_eq!(pair.peers[1].fanout.open_channel(CALL, &options, pair.now), Err(error), "{name}");
    assert!(!pair.peers[1].fanout.has_channels(CALL), "{name}");
    // Longer than consent lasts without checks.
    pair.run(ms(40_000));
    assert_eq!((end(pair, 0), end(pair, 1)), (None, None), "{name}");
    assert_eq!(pair.flowing().map(|kinds| kinds.len()), [2, 2], "{name}: media goes on");
    pair.set(1, directions(&BOTH, &[]));
    let (offer, _) = pair.renegotiate(1);
    assert!(offer.contains("m=application 0 "), "{name}: {offer}");
    assert_eq!(pair.flowing().map(|kinds| kinds.len()), [2, 0], "{name}");
    assert_eq!(pair.peers[1].fanout.totals().panics, 0);
}

#[test]
fn whoever_ends_sctp_ends_the_channels_alone() {
    // A packet for the association of the packet that it takes the place of.
    let chunk = |packet: &[u8], chunk: &[u8]| sctp::packet(sctp::start_of(packet).expect("it began"), chunk);
    let (failed, forbidden) = (ChannelError::Failed, ChannelError::NotAllowed);
    type Case = (&'static str, &'static [u8], Option<ChannelError>);
    let table: [Case; 5] = [
        ("an abort", &[6, 0, 0, 4], Some(failed)),
        ("an abort with a cause", &[6, 0, 0, 8, 0, 12, 0, 4], Some(failed)),
        ("an error", &[9, 0, 0, 8, 0, 3, 0, 4], Some(forbidden)),
        ("a chunk of an unknown type", &[63, 0, 0, 4], None),
        ("the end of a shutdown that nobody began", &[14, 0, 0, 4], None),
    ];
    for (name, sent, error) in table {
        let mut pair = hostile_call(|sdp| sdp);
        let [a, b] = open(&mut pair, &ChannelOptions::new("x"));
        sctp::set_garbler(Some(Box::new(move |packet| chunk(packet, sent))));
        pair.peers[0].fanout.send(CALL, a, &"x".into(), pair.now).expect("open");
        pair.drain(0);
        sctp::set_garbler(None);
        pair.run(ms(500));
        let Some(error) = error else {
            assert_eq!(closed(&pair, 1), [], "{name} is nothing");
            continue;
        };
        assert_eq!(closed(&pair, 1), [(b, error)], "{name}");
        if error == forbidden {
            // It is told.
            assert_eq!(closed(&pair, 0), [(a, failed)], "{name}");
        }
        goes_on_without_channels(&mut pair, error, name);
    }
}

#[test]
fn a_session_without_its_channels_ends_as_others_do() {
    for closer in [0, 1] {
        let mut pair = hostile_call(|sdp| sdp);
        let [a, _] = open(&mut pair, &ChannelOptions::new("x"));
        sctp::set_garbler(Some(Box::new(|packet| sctp::abort(sctp::start_of(packet).expect("it began")))));
        pair.peers[0].fanout.send(CALL, a, &"x".into(), pair.now).expect("open");
        pair.drain(0);
        sctp::set_garbler(None);
        pair.run(ms(500));
        assert_eq!(closed(&pair, 1).len(), 1);
        pair.peers[closer].fanout.close(CALL, pair.now);
        pair.drain(closer);
        pair.run(ms(200));
        assert_eq!(end(&pair, 1 - closer), Some(EndReason::Ended), "{closer} closes: the goodbye is heard");
    }
}

#[test]
fn an_oversized_message_ends_the_channels_and_is_not_taken() {
    // It believes that more is taken.
    let mut pair = hostile_call(|sdp| sdp.replace("a=max-message-size:10000", "a=max-message-size:65536"));
    let [a, b] = open(&mut pair, &ChannelOptions::new("x"));
    let message = |len| ChannelMessage::Binary(vec![7; len]);
    pair.peers[0].fanout.send(CALL, a, &message(10_000), pair.now).expect("there is room");
    pair.run(ms(500));
    assert_eq!((pair.peers[1].stats().channels.messages_received, end(&pair, 1)), (1, None));
    pair.peers[0].fanout.send(CALL, a, &message(10_001), pair.now).expect("there is room");
    pair.run(ms(500));
    assert_eq!(closed(&pair, 1), [(b, ChannelError::NotAllowed)]);
    assert_eq!(closed(&pair, 0), [(a, ChannelError::Failed)], "it is told");
    let large = |event: &Event| matches!(event, Event::ChannelMessage { message, .. } if message.as_bytes().len() > 10_000);
    assert!(!pair.peers[1].events.iter().any(large));
    goes_on_without_channels(&mut pair, ChannelError::NotAllowed, "oversized");
}

#[test]
fn a_thousand_channels_are_sixteen() {
    let mut pair = hostile();
    data_only(&mut pair).expect("a call for data");
    pair.run(ms(1000));
    for n in 0..1000 {
        let options = ChannelOptions::new(format!("channel {n}"));
        pair.peers[0].fanout.open_channel(CALL, &options, pair.now).expect("it allows itself that");
        pair.drain(0);
        if n % 100 == 0 {
            pair.run(ms(50));
            let open = pair.peers[1].fanout.stats(CALL).map_or(0, |stats| stats.channels.open);
            assert!(open <= 16, "{open}");
        }
    }
    pair.run(ms(10_000));
    let opened = pair.peers[1].events.iter().filter(|event| matches!(event, Event::ChannelOpen { .. }));
    assert_eq!(opened.count(), 16);
    let channels = pair.peers[1].stats().channels;
    assert!(channels.open <= 16 && channels.refused + channels.dropped > 100, "{channels:?}");
    assert_eq!(pair.peers[1].fanout.totals().panics, 0);
}

#[test]
fn garbage_in_place_of_packets_harms_nobody() {
    for seed in 0..6 {
        let mut pair = hostile();
        data_only(&mut pair).expect("a call for data");
        pair.run(ms(1000));
        let [a, _] = open(&mut pair, &ChannelOptions::new("x"));
        let mut dice = Dice(seed);
        let garbled = Rc::new(Cell::new(0));
        let count = garbled.clone();
        sctp::set_garbler(Some(Box::new(move |packet| {
            count.set(count.get() + 1);
            let mut packet = packet.to_vec();
            // What is left lets the association go on.
            if count.get() % 2 == 0 {
                return packet;
            }
            let at = dice.roll(packet.len());
            match seed % 3 {
                // Noise, a packet that is cut, and one with some bytes changed, which has its checksum no more.
                0 => packet.iter_mut().for_each(|byte| *byte = dice.roll(256) as u8),
                1 => packet.truncate(at.max(1)),
                _ => packet[at] ^= 1 << dice.roll(8),
            }
            packet
        })));
        for _ in 0..300 {
            let now = pair.now;
            _ = pair.peers[0].fanout.send(CALL, a, &ChannelMessage::Binary(vec![7; 5000]), now);
            pair.run(ms(100));
        }
        sctp::set_garbler(None);
        // The fewest where a lost chunk makes the sender wait longer and longer.
        assert!(garbled.get() > 20, "{} packets", garbled.get());
        assert_eq!(pair.peers[1].fanout.totals().panics, 0);
        let received =
            pair.peers[1].events.iter().filter(|event| matches!(event, Event::ChannelMessage { .. }));
        assert!(received.count() <= 300);
    }
}

#[test]
fn a_flood_of_packets_that_are_dropped_harms_nobody() {
    let mut pair = hostile();
    data_only(&mut pair).expect("a call for data");
    pair.run(ms(1000));
    let [a, _] = open(&mut pair, &ChannelOptions::new("x"));
    // A stream that nobody needs, in a DATA chunk.
    sctp::set_garbler(Some(Box::new(|packet| {
        [&packet[..12], &[0, 3, 0, 20, 0, 0, 0, 9, 0xff, 0, 0, 0, 0, 0, 0, 53, 1, 2, 3, 4]].concat()
    })));
    for _ in 0..600 {
        let now = pair.now;
        _ = pair.peers[0].fanout.send(CALL, a, &ChannelMessage::Binary(vec![7; 9000]), now);
        pair.run(ms(100));
        // What it never has an answer to is sent again later and later.
        if pair.peers[1].fanout.stats(CALL).is_none() {
            break;
        }
    }
    sctp::set_garbler(None);
    let dropped = pair.peers[1].fanout.stats(CALL).map(|stats| stats.channels.dropped);
    assert!(dropped.is_none_or(|dropped| dropped > 10), "{dropped:?}");
    assert_eq!(pair.peers[1].fanout.totals().panics, 0);
}
