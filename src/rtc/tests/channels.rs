//! Data channels between two of our own sessions.

use std::time::Duration;

use super::pair::{BOTH, CALL, Pair, directions};
use super::world::ms;
use crate::rtc::{
    ChannelError, ChannelId, ChannelLimits, ChannelMessage, ChannelOptions, Config, Event, Refusal,
};

fn text(text: &str) -> ChannelMessage {
    ChannelMessage::Text(text.into())
}

fn limits() -> ChannelLimits {
    ChannelLimits::default()
}

/// A pair that may have channels, before any description.
pub(super) fn pair(limits: [Option<ChannelLimits>; 2]) -> Pair {
    let [first, second] = limits;
    Pair::with([
        Config { channels: first, ..Config::default() },
        Config { channels: second, ..Config::default() },
    ])
}

/// The first one calls the second one, with data only.
pub(super) fn data_only(pair: &mut Pair) -> Result<(), Refusal> {
    for n in 0..2 {
        pair.peers[n].fanout.set_directions(CALL, directions(&[], &[]));
    }
    pair.peers[0].fanout.set_channels(CALL, true);
    pair.connect()
}

/// A channel of the first one's; its number on both sides.
pub(super) fn open(pair: &mut Pair, options: &ChannelOptions) -> [ChannelId; 2] {
    let ours = pair.peers[0].fanout.open_channel(CALL, options, pair.now).expect("agreed");
    pair.run(ms(500));
    let theirs = pair.peers[1].events.iter().rev().find_map(|event| match event {
        Event::ChannelOpen { channel, ours: false, .. } => Some(*channel),
        _ => None,
    });
    [ours, theirs.expect("it is open")]
}

fn messages(pair: &Pair, n: usize) -> Vec<(ChannelId, ChannelMessage)> {
    let message = |event: &Event| match event {
        Event::ChannelMessage { channel, message, .. } => Some((*channel, message.clone())),
        _ => None,
    };
    pair.peers[n].events.iter().filter_map(message).collect()
}

#[test]
fn messages_go_both_ways_without_audio_or_video() {
    let mut pair = pair([Some(limits()); 2]);
    data_only(&mut pair).expect("a call for data");
    pair.run(ms(1000));
    assert!(pair.peers.iter().all(|peer| peer.connected));
    let options = ChannelOptions { protocol: "chat/1".into(), ..ChannelOptions::new("talk") };
    let [a, b] = open(&mut pair, &options);
    let opened: Vec<Event> = pair
        .peers
        .iter()
        .flat_map(|peer| &peer.events)
        .filter(|event| matches!(event, Event::ChannelOpen { .. }))
        .cloned()
        .collect();
    let event = |channel, ours| Event::ChannelOpen {
        session: CALL,
        channel,
        label: "talk".into(),
        protocol: "chat/1".into(),
        ours,
    };
    assert_eq!(opened, [event(a, true), event(b, false)]);
    let all = [
        text("hello"),
        ChannelMessage::Binary(vec![0, 255, 7]),
        ChannelMessage::Binary((0..64 * 1024).map(|n| n as u8).collect()),
        text("ü"),
    ];
    for (n, channel) in [(0, a), (1, b)] {
        for message in &all {
            pair.peers[n].fanout.send(CALL, channel, message, pair.now).expect("there is room");
            pair.drain(n);
        }
    }
    assert_eq!(pair.peers[0].fanout.send(CALL, a, &text(""), pair.now), Err(ChannelError::Empty));
    pair.run(ms(2000));
    let expected = |channel| all.iter().map(|message| (channel, message.clone())).collect::<Vec<_>>();
    assert_eq!(messages(&pair, 1), expected(b));
    assert_eq!(messages(&pair, 0), expected(a));
    let stats = pair.peers[0].stats().channels;
    assert_eq!((stats.open, stats.opened, stats.refused, stats.dropped), (1, 1, 0, 0));
    assert_eq!((stats.messages_sent, stats.messages_received), (4, 4));
    assert_eq!((stats.bytes_sent, stats.bytes_received), (5 + 3 + 65536 + 2, 5 + 3 + 65536 + 2));
}

#[test]
fn what_descriptions_agree_on_follows_from_both_sides() {
    // Whether each side is configured for it, what the callee wants, and whether they have channels.
    for (caller, callee, wanted, agreed) in [
        (true, true, None, true),
        (true, true, Some(true), true),
        (true, true, Some(false), false),
        (true, false, Some(true), false),
        (false, true, Some(true), false),
    ] {
        let mut pair = pair([caller, callee].map(|has| has.then(limits)));
        for n in 0..2 {
            pair.peers[n].fanout.set_directions(CALL, directions(&BOTH, &BOTH));
        }
        pair.peers[0].fanout.set_channels(CALL, true);
        if let Some(wanted) = wanted {
            pair.peers[1].fanout.set_channels(CALL, wanted);
        }
        pair.connect().expect("a call with media");
        pair.run(ms(1000));
        for (n, wants) in [(0, caller), (1, callee && wanted == Some(true))] {
            let opened = pair.peers[n].fanout.open_channel(CALL, &ChannelOptions::new("x"), pair.now);
            // Where it is wanted, it waits for a better agreement.
            let expected = if agreed || wants { Ok(ChannelId(0)) } else { Err(ChannelError::NotAgreed) };
            assert_eq!(opened, expected, "{caller} {callee} {wanted:?}");
            assert_eq!(pair.peers[n].fanout.has_channels(CALL), agreed);
        }
        let flowing = pair.flowing();
        assert_eq!(flowing.map(|kinds| kinds.len()), [2, 2], "media goes on: {caller} {callee} {wanted:?}");
    }
    // A call for data that nobody takes is one for nothing.
    let mut none = pair([Some(limits()), None]);
    assert_eq!(data_only(&mut none).expect_err("declined"), Refusal::NothingTaken);
}

#[test]
fn channels_are_added_to_a_call_and_stopped_in_it() {
    let mut pair = pair([Some(limits()); 2]);
    for n in 0..2 {
        pair.peers[n].fanout.set_directions(CALL, directions(&BOTH, &BOTH));
    }
    pair.connect().expect("a call with media");
    pair.run(ms(1000));
    assert_eq!(
        pair.peers[0].fanout.open_channel(CALL, &ChannelOptions::new("x"), pair.now),
        Err(ChannelError::NotAgreed)
    );
    pair.peers[1].fanout.set_channels(CALL, true);
    let (offer, answer) = pair.renegotiate(1);
    for sdp in [&offer, &answer] {
        assert_eq!(sdp.matches("a=max-message-size:65536\r\n").count(), 1);
        assert_eq!(sdp.matches("a=sctp-port:5000\r\n").count(), 1);
    }
    let [a, b] = open(&mut pair, &ChannelOptions::new("x"));
    // Descriptions that change something else keep them.
    pair.set(0, directions(&BOTH, &[]));
    pair.renegotiate(0);
    pair.peers[1].fanout.send(CALL, b, &text("still"), pair.now).expect("open");
    pair.run(ms(500));
    assert_eq!(messages(&pair, 0), [(a, text("still"))]);
    pair.peers[0].fanout.set_channels(CALL, false);
    pair.renegotiate(0);
    pair.run(ms(200));
    for (n, channel) in [(0, a), (1, b)] {
        let closed = Event::ChannelClosed { session: CALL, channel, error: ChannelError::NotAgreed };
        assert_eq!(pair.peers[n].events.iter().filter(|event| **event == closed).count(), 1);
        assert_eq!(pair.peers[n].fanout.send(CALL, channel, &text("x"), pair.now), Err(ChannelError::Closed));
    }
    assert_eq!(pair.flowing().map(|kinds| kinds.len()), [0, 2]);
}

#[test]
fn all_arrives_in_order_over_networks_that_lose_and_reorder() {
    for (loss, late, latency) in [(5, 0, 20), (20, 10, 20), (5, 20, 200)] {
        let mut pair = pair([Some(limits()); 2]);
        data_only(&mut pair).expect("a call for data");
        pair.run(ms(1500));
        let [a, b] = open(&mut pair, &ChannelOptions::new("x"));
        (pair.loss, pair.late, pair.latency) = (loss, late, ms(latency));
        for number in 0..200_u32 {
            for (n, channel) in [(0, a), (1, b)] {
                let message = ChannelMessage::Binary(number.to_be_bytes().repeat(1 + number as usize * 2));
                pair.peers[n].fanout.send(CALL, channel, &message, pair.now).expect("there is room");
                pair.drain(n);
            }
        }
        pair.run(Duration::from_secs(60));
        for n in 0..2 {
            let all = messages(&pair, n);
            let numbers: Vec<u32> = all
                .iter()
                .map(|(_, message)| {
                    u32::from_be_bytes(message.as_bytes()[..4].try_into().expect("at least one"))
                })
                .collect();
            assert_eq!(numbers, (0..200).collect::<Vec<_>>(), "{loss} % lost, {late} % late, {latency} ms");
            assert!(all.iter().enumerate().all(|(n, (_, m))| m.as_bytes().len() == 4 + 8 * n));
        }
    }
}

#[test]
fn a_queue_that_is_full_says_so_and_when_there_is_room() {
    let few = ChannelLimits { send_queue: 100_000, ..limits() };
    let mut pair = pair([Some(few), Some(limits())]);
    data_only(&mut pair).expect("a call for data");
    pair.run(ms(1000));
    let [a, _] = open(&mut pair, &ChannelOptions::new("x"));
    let message = ChannelMessage::Binary(vec![7; 10_000]);
    let mut sent = 0;
    let mut full = 0;
    for _ in 0..40 {
        let now = pair.now;
        let peer = &mut pair.peers[0];
        let before = sent;
        while peer.fanout.send(CALL, a, &message, now).is_ok() {
            sent += 1;
            assert!(sent - before <= 10, "100 kB wait at most");
        }
        assert_eq!(peer.fanout.send(CALL, a, &message, now), Err(ChannelError::Full));
        peer.events.clear();
        full += 1;
        pair.drain(0);
        let writable = Event::ChannelWritable { session: CALL, channel: a };
        while !pair.peers[0].events.contains(&writable) {
            pair.run(ms(10));
        }
    }
    pair.run(ms(2000));
    assert_eq!((full, messages(&pair, 1).len()), (40, sent));
}

#[test]
fn who_is_held_stops_sending_and_loses_nothing() {
    let few = ChannelLimits { receive_queue: 2000, ..limits() };
    let mut pair = pair([Some(limits()), Some(few)]);
    data_only(&mut pair).expect("a call for data");
    pair.run(ms(1000));
    let [a, b] = open(&mut pair, &ChannelOptions::new("x"));
    pair.peers[1].fanout.hold_channels(CALL, true, pair.now);
    let mut sent = 0;
    for _ in 0..100 {
        let message = text(&format!("{sent} {}", "x".repeat(10_000)));
        sent += usize::from(pair.peers[0].fanout.send(CALL, a, &message, pair.now).is_ok());
        pair.run(ms(100));
    }
    // 256 KiB wait at the sender, and nothing went beyond.
    assert_eq!((sent, messages(&pair, 1).len()), (26, 0));
    assert!(
        pair.peers[1].stats().channels.dropped > 0,
        "it keeps less than the sender's first flight, again and again"
    );
    pair.peers[1].fanout.hold_channels(CALL, false, pair.now);
    pair.drain(1);
    pair.run(Duration::from_secs(70));
    let all = messages(&pair, 1);
    assert_eq!(all.len(), sent);
    for (n, (channel, message)) in all.iter().enumerate() {
        assert!(*channel == b && message.as_bytes().starts_with(format!("{n} ").as_bytes()));
    }
}

#[test]
fn either_side_closes_a_channel_after_what_it_sent() {
    for closer in [0, 1] {
        let mut pair = pair([Some(limits()); 2]);
        data_only(&mut pair).expect("a call for data");
        pair.run(ms(1000));
        let channels = open(&mut pair, &ChannelOptions::new("x"));
        let now = pair.now;
        let peer = &mut pair.peers[closer];
        for n in 0..20 {
            let message = text(&format!("{n} {}", "x".repeat(5000)));
            peer.fanout.send(CALL, channels[closer], &message, now).expect("there is room");
        }
        peer.fanout.close_channel(CALL, channels[closer], now);
        assert_eq!(peer.fanout.send(CALL, channels[closer], &text("more"), now), Err(ChannelError::Closed));
        pair.run(ms(3000));
        assert_eq!(messages(&pair, 1 - closer).len(), 20, "{closer} closes");
        let error = ChannelError::Closed;
        let closed = |n: usize| Event::ChannelClosed { session: CALL, channel: channels[n], error };
        assert!(pair.peers[1 - closer].events.contains(&closed(1 - closer)), "{closer} closes");
        assert!(!pair.peers[closer].events.contains(&closed(closer)), "who closes knows");
        assert!(pair.peers.iter().all(|peer| peer.stats().channels.open == 0));
        // Another one is possible, under another number.
        let again = open(&mut pair, &ChannelOptions::new("again"));
        assert!(again[0] != channels[0] && again[1] != channels[1]);
    }
}

#[test]
fn a_channel_may_lose_messages_where_that_is_wanted() {
    let mut pair = pair([Some(limits()); 2]);
    data_only(&mut pair).expect("a call for data");
    pair.run(ms(1000));
    let options = ChannelOptions { ordered: false, max_retransmits: Some(0), ..ChannelOptions::new("x") };
    let [a, _] = open(&mut pair, &options);
    pair.loss = 20;
    for n in 0..200 {
        pair.peers[0].fanout.send(CALL, a, &text(&n.to_string()), pair.now).expect("there is room");
        pair.run(ms(20));
    }
    pair.loss = 0;
    pair.run(ms(5000));
    let count = messages(&pair, 1).len();
    assert!((100..195).contains(&count), "{count} of 200, with 20 % lost");
}
