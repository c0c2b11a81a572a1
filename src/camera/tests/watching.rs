//! Who watches: offers, refusals, hangups, the end of the last, and the settings that change for them.

use super::*;

/// The same offer without H.264: every payload type of it becomes an unknown codec's.
fn without_h264() -> String {
    OFFER.replace("H264/90000", "H266/90000")
}

#[test]
fn an_offer_starts_the_source_before_the_viewer_is_connected() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    assert_eq!((world.said("call:accept bob|2"), world.said("call:answer bob|2")), (1, 1));
    assert_eq!(world.produced, [BOTH]);
    let answer = world.said.iter().find(|s| s.starts_with("call:answer")).expect("counted above");
    assert!(answer.contains("a=sendonly") && answer.contains("192.0.2.1 4000"), "{answer}");
}

#[test]
fn the_source_runs_ten_seconds_longer_than_the_last_call() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.offer("eve|3", OFFER);
    world.call("bob|2", "call:hangup", "{}");
    world.pass(Duration::from_secs(20));
    assert_eq!(world.produced, [BOTH], "somebody still watches");
    world.call("eve|3", "call:hangup", "{}");
    world.pass(Duration::from_millis(9_990));
    assert_eq!(world.produced, [BOTH]);
    world.pass(Duration::from_millis(20));
    assert_eq!(world.produced, [&BOTH[..], &NOTHING]);
    assert!(!world.bitrates.is_empty(), "the next viewer's network is another one");
}

#[test]
fn who_comes_back_within_ten_seconds_finds_the_source_running() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.call("bob|2", "call:hangup", "{}");
    world.pass(Duration::from_secs(9));
    world.offer("bob|2", OFFER);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.produced, [BOTH]);
}

#[test]
fn a_viewer_without_h264_gets_vp8_or_a_refusal_in_words() {
    let mut world = World::new(4, true);
    world.offer("bob|2", &without_h264());
    assert_eq!(world.produced, [[VIDEO_VP8, AUDIO_OPUS]]);
    world.offer("eve|3", OFFER);
    assert_eq!(world.produced[1], [VIDEO_H264, VIDEO_VP8, AUDIO_OPUS]);
    world.call("bob|2", "call:hangup", "{}");
    assert_eq!(world.produced[2], BOTH, "the second encoder stops with its last viewer");

    let mut world = World::new(4, false);
    world.offer("bob|2", &without_h264());
    assert!(world.produced.is_empty());
    let hangup = world.said.iter().find(|s| s.starts_with("call:hangup bob|2")).expect("it is refused");
    assert!(hangup.contains("H264") || hangup.contains("H.264"), "{hangup}");
}

#[test]
fn a_bad_description_ends_its_call_and_nothing_else() {
    let mut world = World::new(8, true);
    world.offer("good|1", OFFER);
    let cut: String =
        OFFER.lines().filter(|l| !l.starts_with("a=ice-ufrag")).map(|l| format!("{l}\r\n")).collect();
    for (at, sdp) in ["", "v=0", "nonsense", "v=0\r\nm=video 9 x 1\r\n", &cut, &"a=\u{1F4A5}\r\n".repeat(500)]
        .iter()
        .enumerate()
    {
        let from = format!("bad|{at}");
        world.offer(&from, sdp);
        assert_eq!(world.said(&format!("call:hangup {from}")), 1, "{sdp:.40}");
    }
    world.call("good|1", "call:candidate", r#"{"candidate":"candidate:nonsense"}"#);
    world.call("good|1", "call:candidate", r#"{"candidate":"candidate:1 1 udp 1 f00.local 9 typ host"}"#);
    assert_eq!(world.said("call:hangup good|1"), 0, "a bad candidate is passed over");
    assert_eq!(world.produced, [BOTH]);
}

#[test]
fn one_viewer_too_many_is_told_busy() {
    let mut world = World::new(1, true);
    world.offer("bob|2", OFFER);
    world.connect("bob|2");
    world.offer("eve|3", OFFER);
    assert_eq!(world.said(r#"call:reject eve|3 {"reason":"busy"}"#), 1);
    assert_eq!(world.said("call:answer"), 1);
}

#[test]
fn an_accepted_call_that_brings_no_media_ends_by_itself() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.pass(Duration::from_secs(90));
    assert!(world.core.is_idle());
    assert!(world.events.iter().any(|e| matches!(e, Event::CallFailed { .. })));
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()));
}

#[test]
fn a_peer_that_goes_offline_before_its_pictures_is_gone() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.input(Input::PeerGone { address: "bob|2" });
    assert!(world.core.is_idle());
}

#[test]
fn the_camera_calls_with_an_offer_and_hangs_up() {
    let mut world = World::new(1, true);
    let id = world.core.invite("bob|2", "k3Jq", false, world.now).expect("online");
    world.drain();
    assert_eq!(world.said("call:init bob|2"), 1);
    assert!(world.core.invite("eve|3", "x9", false, world.now).is_err(), "as many viewers as allowed");
    world.input(Input::Call {
        from: "bob|2",
        whence: Whence::Unknown,
        subtype: "call:accept",
        data: Some("{}"),
        call: Some("k3Jq"),
    });
    assert_eq!(world.said("call:offer bob|2"), 1);
    world.core.hang_up(id, "done".into(), world.now).expect("it is on");
    world.drain();
    assert_eq!(world.said(r#"call:hangup bob|2 {"reason":"done"}"#), 1);
    assert!(world.produced.is_empty(), "nothing was agreed");
}

#[test]
fn a_camera_that_calls_whoever_answers_everybody_sends_its_offer_at_once() {
    for taken in [true, false] {
        let mut world = World::new(1, true);
        world.core.invite("bob|2", "k3Jq", true, world.now).expect("online");
        world.drain();
        let said: Vec<&str> = world.said.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(said, ["call:init", "call:candidate"]);
        assert_eq!(world.said(r#"call:init bob|2 {"offer":{"type":"offer","sdp":"v=0"#), 1);
        let data = if taken { r#"{"offer":true}"# } else { "{}" };
        let from = |subtype, data| Input::Call {
            from: "bob|2",
            whence: Whence::Unknown,
            subtype,
            data: Some(data),
            call: Some("k3Jq"),
        };
        world.input(from("call:accept", data));
        assert_eq!(world.said("call:offer bob|2"), usize::from(!taken));
        world.input(from("call:hangup", "{}"));
        assert!(world.core.is_idle());
    }
    // One that is not invited, for there is no seat or a call already, leaves no session behind.
    let mut world = World::new(1, true);
    world.core.invite("bob|2", "k3Jq", true, world.now).expect("online");
    world.core.invite("bob|2", "x9", true, world.now).expect_err("no seat");
    assert_eq!(world.core.calling.parties().count(), 1);
}

#[test]
fn a_shutdown_hangs_up_and_stops_the_source_at_once() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.input(Input::Shutdown);
    assert_eq!(world.said("call:hangup bob|2"), 1);
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()));
}

#[test]
fn a_shutdown_does_not_linger_for_a_viewer_who_left_before() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.call("bob|2", "call:hangup", "{}");
    assert_eq!(world.produced, [BOTH], "it lingers");
    world.input(Input::Shutdown);
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()));
}

#[test]
fn the_presence_has_the_number_of_viewers() {
    let mut world = World::new(4, true);
    for peer in ["bob|2", "eve|3"] {
        world.offer(peer, OFFER);
        world.connect(peer);
        world.pass(Duration::from_millis(1500));
    }
    world.call("bob|2", "call:hangup", "{}");
    world.call("eve|3", "call:hangup", "{}");
    world.pass(Duration::from_millis(1500));
    assert_eq!(world.viewers, [1, 2, 1, 0]);
}

#[test]
fn later_calls_are_told_of_new_addresses() {
    let mut world = World::new(4, true);
    let base = "192.0.2.99:4000".parse().expect("literal");
    world.core.set_candidates(vec![rtc::LocalCandidate { base, advertised: None }], &[], world.now);
    world.offer("bob|2", OFFER);
    let answer = world.said.iter().find(|s| s.starts_with("call:answer")).expect("it is answered");
    assert!(answer.contains("192.0.2.99 4000") && !answer.contains("192.0.2.1 4000"), "{answer}");
}

#[test]
fn nobody_watches_and_the_camera_does_not_wake() {
    let mut world = World::new(4, true);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.reads, 0);
    world.offer("bob|2", OFFER);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.reads, 2, "at once, and each 5 s");
    world.call("bob|2", "call:hangup", "{}");
    world.pass(Duration::from_secs(15));
    let reads = world.reads;
    let mut wakes = 0;
    let end = world.now + Duration::from_secs(600);
    while let Some(at) = world.next.filter(|at| *at <= end) {
        world.now = world.now.max(at);
        world.input(Input::Timeout);
        wakes += 1;
    }
    assert_eq!(world.reads, reads, "the board is left alone");
    println!("{wakes} wake-ups in ten minutes");
    assert!(wakes < 1200, "{wakes} in ten minutes are more than two a second");
}

#[test]
fn settings_change_while_it_runs() {
    let mut world = World::new(1, true);
    world.offer("bob|2", OFFER);
    world.connect("bob|2");
    let bitrate = BitrateLimits { max: 500_000, ..BitrateLimits::default() };
    let settings = crate::camera::core::LiveSettings {
        policy: crate::camera::BitratePolicy::Best,
        bitrate,
        linger: Duration::from_secs(2),
        max_viewers: 2,
        answer: AnswerPolicy::Ask,
        snapshot_every: Duration::from_secs(1),
    };
    world.input(Input::Settings(settings));
    assert_eq!(world.bitrates.last(), Some(&500_000));
    world.offer("eve|3", OFFER);
    assert!(matches!(world.events.last(), Some(Event::Incoming { .. })), "{:?}", world.events);
    world.offer("dan|4", OFFER);
    world.input(Input::Call {
        from: "bob|2",
        whence: Whence::Unknown,
        subtype: "call:hangup",
        data: Some("{}"),
        call: Some("bob|2"),
    });
    world.pass(Duration::from_millis(2_100));
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()), "it lingers for two seconds");
}

#[test]
fn the_largest_values_mean_no_limit() {
    let mut world = World::new(usize::MAX, true);
    let settings = crate::camera::core::LiveSettings {
        policy: crate::camera::BitratePolicy::Best,
        bitrate: BitrateLimits::default(),
        linger: Duration::MAX,
        max_viewers: usize::MAX,
        answer: AnswerPolicy::All,
        snapshot_every: Duration::MAX,
    };
    world.input(Input::Settings(settings));
    world.offer("bob|2", OFFER);
    world.connect("bob|2");
    assert_eq!(world.said("call:answer"), 1);
    let mut world = World::with_jpeg();
    world.input(Input::Settings(crate::camera::core::LiveSettings {
        policy: crate::camera::BitratePolicy::Best,
        bitrate: BitrateLimits::default(),
        linger: Duration::MAX,
        max_viewers: 4,
        answer: AnswerPolicy::All,
        snapshot_every: Duration::MAX,
    }));
    let first = world.core.snapshot(Duration::ZERO, world.now);
    world.frame(JPEG, Codec::Jpeg, true);
    assert!(outcome(first).is_ok());
    world.pass(Duration::from_secs(9_999));
    let again = world.core.snapshot(Duration::ZERO, world.now);
    assert!(outcome(again).is_ok(), "it is served for ever");
}

#[test]
fn all_calls_end_at_once_those_that_connect_too() {
    let mut world = World::with(4, true, AnswerPolicy::Ask);
    for who in ["bob|2", "eve|3", "dan|4"] {
        world.offer(who, OFFER);
    }
    let asked = world.events.iter().filter_map(|event| match event {
        Event::Incoming { id, .. } => Some(*id),
        _ => None,
    });
    for id in asked.take(2).collect::<Vec<_>>() {
        world.core.accept(id, world.now).expect("it waits");
    }
    world.drain();
    world.connect("bob|2");
    world.drain();
    assert_eq!(world.core.hang_up_all(&"button".into(), world.now), 3);
    world.drain();
    for who in ["call:hangup bob|2", "call:hangup eve|3", "call:reject dan|4"] {
        assert_eq!(world.said(&format!(r#"{who} {{"reason":"button"}}"#)), 1, "{:?}", world.said);
    }
    assert!(world.core.is_idle());
    let counts = world.events.iter().filter_map(|event| match event {
        Event::Viewers { count } => Some(*count),
        _ => None,
    });
    assert_eq!(counts.collect::<Vec<_>>(), [1, 0]);
}
