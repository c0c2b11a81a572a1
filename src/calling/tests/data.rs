//! Data channels that are added to a call that began without them.

use super::world::{World, both, ms};
use crate::calling::{ChannelEvent, Event};
use crate::rtc::{ChannelError, ChannelId, ChannelMessage, ChannelOptions, Directions};

/// What a peer heard of its channels.
fn heard(world: &World, n: usize) -> Vec<ChannelEvent> {
    let of_channel = |event: &Event| match event {
        Event::Channel { event, .. } => Some(event.clone()),
        _ => None,
    };
    world.peers[n].events.iter().filter_map(of_channel).collect()
}

/// A call with audio and video that began without data channels.
fn talking(delay: u64) -> World {
    let mut world = World::new();
    world.signalling.delay = ms(delay);
    world.call(0, both());
    world.run(ms(1500));
    assert!(world.peers.iter().all(|peer| peer.connected));
    world.delivered.clear();
    world
}

fn open(world: &mut World, n: usize, label: &str) -> Result<ChannelId, ChannelError> {
    let call = world.peers[n].call.expect("it goes on");
    let opened = world.peers[n].core.open_channel(call, &ChannelOptions::new(label), world.now);
    world.drain(n);
    opened
}

/// As `Conversation::channels` does.
fn take(world: &mut World, n: usize) {
    let call = world.peers[n].call.expect("it goes on");
    world.peers[n].core.set_channels(call, true);
}

fn offers(world: &World) -> usize {
    world.delivered.iter().filter(|message| message.subtype == "call:offer").count()
}

fn send(world: &mut World, n: usize, channel: ChannelId, text: &str) {
    let call = world.peers[n].call.expect("it goes on");
    world.peers[n].core.send(call, channel, &text.into(), world.now).expect("it is open");
    world.drain(n);
}

#[test]
fn either_side_adds_channels_to_a_call() {
    for (n, delay) in [(0, 5), (1, 5), (0, 200), (1, 200)] {
        let name = format!("{n} opens, messages take {delay} ms");
        let mut world = talking(delay);
        take(&mut world, 1 - n);
        let channels = ["one", "two"].map(|label| open(&mut world, n, label).expect("it waits"));
        assert_eq!(channels, [ChannelId(0), ChannelId(1)], "{name}");
        // An offer, an answer, and SCTP's handshake meanwhile.
        world.run(ms(2 * delay + 100));
        let opened = |n: usize| {
            let all = heard(&world, n).into_iter();
            let labels = all.filter_map(|event| match event {
                ChannelEvent::Open { label, ours, .. } => Some((label, ours)),
                _ => None,
            });
            labels.collect::<Vec<_>>()
        };
        assert_eq!(opened(n), [("one".into(), true), ("two".into(), true)], "{name}");
        assert_eq!(opened(1 - n), [("one".into(), false), ("two".into(), false)], "{name}");
        assert_eq!(offers(&world), 1, "{name}");
        send(&mut world, n, channels[1], "hello");
        world.run(ms(100));
        let message = ChannelMessage::from("hello");
        assert!(heard(&world, 1 - n).contains(&ChannelEvent::Message { channel: channels[1], message }));
        assert!(heard(&world, n).contains(&ChannelEvent::Settled { agreed: true }), "{name}");
        assert_eq!(world.flowing().map(|kinds| kinds.len()), [2, 2], "{name}: media goes on");
        // A third one needs no offer.
        open(&mut world, n, "three").expect("agreed");
        world.run(ms(100));
        assert_eq!((opened_count(&world, 1 - n), offers(&world)), (3, 1), "{name}");
    }
}

fn opened_count(world: &World, n: usize) -> usize {
    heard(world, n).iter().filter(|event| matches!(event, ChannelEvent::Open { .. })).count()
}

#[test]
fn a_peer_that_takes_none_closes_them_and_the_call_goes_on() {
    for n in [0, 1] {
        let mut world = talking(5);
        let channel = open(&mut world, n, "x").expect("it waits");
        let call = world.peers[n].call.expect("it goes on");
        let early = world.peers[n].core.send(call, channel, &"x".into(), world.now);
        assert_eq!(early, Err(ChannelError::NotOpen));
        world.run(ms(100));
        let refused = ChannelEvent::Closed { channel, error: ChannelError::NotAgreed };
        assert_eq!(heard(&world, n), [ChannelEvent::Settled { agreed: false }, refused]);
        assert_eq!(heard(&world, 1 - n), []);
        assert_eq!(world.flowing().map(|kinds| kinds.len()), [2, 2], "media goes on");
        // Later it takes them.
        take(&mut world, 1 - n);
        open(&mut world, n, "y").expect("it waits");
        world.run(ms(100));
        assert_eq!(opened_count(&world, 1 - n), 1);
    }
}

#[test]
fn channels_that_both_open_at_once_are_all_there() {
    for delay in [1, 5, 40] {
        let mut world = talking(delay);
        let ids = [0, 1].map(|n| open(&mut world, n, "x").expect("it waits"));
        world.run(ms(4 * delay + 1000));
        for (n, id) in ids.into_iter().enumerate() {
            assert_eq!(opened_count(&world, n), 2, "{delay} ms, {n}: {:?}", heard(&world, n));
            send(&mut world, n, id, "hello");
        }
        world.run(ms(100));
        for n in 0..2 {
            let got = heard(&world, n);
            assert!(got.iter().any(|event| matches!(event, ChannelEvent::Message { .. })), "{got:?}");
            assert!(!got.contains(&ChannelEvent::Settled { agreed: false }), "{got:?}");
        }
        assert_eq!(world.flowing().map(|kinds| kinds.len()), [2, 2], "media goes on");
    }
}

#[test]
fn a_channel_waits_through_lost_messages_and_other_changes() {
    let mut world = talking(5);
    take(&mut world, 1);
    world.signalling.loss = 1.0;
    let channel = open(&mut world, 0, "x").expect("it waits");
    world.run(ms(500));
    world.signalling.loss = 0.0;
    // The answer to this offer says nothing of channels: the caller's counts, but it was lost.
    world.set(1, Directions::new([], []));
    world.run(ms(500));
    assert!(!heard(&world, 0).iter().any(|event| matches!(event, ChannelEvent::Closed { .. })));
    world.run(ms(30_000));
    assert_eq!(opened_count(&world, 1), 1);
    send(&mut world, 0, channel, "hello");
    world.set(1, both());
    assert_eq!(world.flowing().map(|kinds| kinds.len()), [2, 2], "media goes on");
}

#[test]
fn nothing_can_be_opened_before_there_is_an_agreement() {
    let mut world = World::new();
    world.call(0, both());
    assert_eq!(open(&mut world, 0, "x"), Err(ChannelError::NotAgreed));
    world.run(ms(1000));
    take(&mut world, 1);
    assert_eq!(open(&mut world, 0, "x"), Ok(ChannelId(0)));
}
