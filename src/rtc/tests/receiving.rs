//! Sessions that receive: from a browser, and from a fan-out like our own.

use std::collections::BTreeSet;
use std::time::Instant;

use str0m::media::{Direction, MediaKind, MediaTime};

use super::pair::{BOTH, CALL, Pair, Peer, directions};
use super::world::{World, ms, picture};
use crate::media::{AUDIO_OPUS, Codec, Frame, Kind, StreamId, VIDEO_H264, VIDEO_VP8};
use crate::rtc::{Config, Directions, Event, Fanout, Refusal};

#[test]
fn a_browser_sends_and_each_frame_comes() {
    let mut world = World::new();
    world.fanout.set_streams(&[]);
    world.fanout.set_directions(CALL, directions(&[], &BOTH));
    world.browser(1, |c| c.enable_h264(true).enable_raw_packets(true));
    let answer = world.call(1, Direction::SendOnly).expect("accepted");
    assert_eq!(answer.sdp.matches("a=recvonly\r\n").count(), 2);
    assert!(answer.streams.is_empty());
    world.run(ms(1000));
    assert!(world.browsers[&1].connected);
    let mut sent: Vec<Vec<u8>> = vec![];
    for n in 0..150_u64 {
        for (kind, codec) in [(MediaKind::Video, Codec::H264), (MediaKind::Audio, Codec::Opus)] {
            let data = coded(codec, n % 50 == 0, n);
            write(&mut world, kind, n, &data);
            sent.push(data);
        }
        world.run(ms(20));
    }
    world.run(ms(500));
    let received = |codec| -> Vec<Frame> {
        let frame = |event: &Event| match event {
            Event::Frame { session: CALL, frame } if frame.codec == codec => Some(frame.clone()),
            _ => None,
        };
        world.events.iter().filter_map(|(_, event)| frame(event)).collect()
    };
    for (n, codec) in [Codec::H264, Codec::Opus].into_iter().enumerate() {
        let frames = received(codec);
        let fed: Vec<&Vec<u8>> = sent.iter().skip(n).step_by(2).collect();
        assert_eq!(frames.len(), fed.len(), "{codec:?}");
        assert!(frames.iter().zip(fed).all(|(frame, data)| *frame.data == **data), "{codec:?}");
        for pair in frames.windows(2) {
            let apart = pair[1].pts - pair[0].pts;
            // The first report of a stream may put it in step with the other.
            assert!(apart.abs_diff(ms(20)) < ms(2), "{codec:?}: {apart:?}");
        }
    }
    let stats = world.fanout.stats(CALL).expect("it goes on").received;
    assert_eq!((stats.frames, stats.lost, stats.dropped), (300, 0, 0));
    // The browser is told how its packets arrive.
    let reported = |what: fn(&str) -> bool| {
        world.browsers[&1].raw.iter().any(|(_, packet)| what(&format!("{packet:?}")))
    };
    assert!(reported(|packet| packet.contains("ReceiverReport")));
    assert!(reported(|packet| packet.contains("Twcc")));
}

/// Something that looks coded; of Opus 20 ms of CELT, in one frame.
fn coded(codec: Codec, key: bool, count: u64) -> Vec<u8> {
    let mut data = picture(codec, key, count, 3000);
    if codec == Codec::Opus {
        data[0] = 31 << 3;
    }
    data
}

/// The first browser's application sends frame `n` of 50 a second.
fn write(world: &mut World, kind: MediaKind, n: u64, data: &[u8]) {
    let now = world.now;
    let browser = world.browsers.get_mut(&1).expect("made");
    let mid = browser.mid(kind);
    let writer = browser.rtc.writer(mid).expect("media");
    let pt = writer.payload_params().next().expect("a codec").pt();
    writer.write(pt, now, MediaTime::from_micros(n * 20_000), data.to_vec()).expect("it sends");
    browser.rtc.handle_input(str0m::Input::Timeout(now)).expect("time");
    world.poke(1);
}

#[test]
fn a_browser_makes_a_key_frame_when_it_is_asked_to() {
    let mut world = World::new();
    world.fanout.set_directions(CALL, directions(&[], &[Kind::Video]));
    world.browser(1, |c| c.enable_vp8(true).enable_raw_packets(true));
    world.call(1, Direction::SendOnly).expect("accepted");
    world.run(ms(1000));
    let asked = |world: &World| {
        world.browsers[&1].raw.iter().filter(|(_, p)| format!("{p:?}").contains("Pli")).count()
    };
    // It begins with deltas.
    for n in 0..50 {
        let key = asked(&world) > 0 && n % 10 == 9;
        write(&mut world, MediaKind::Video, n, &coded(Codec::Vp8, key, n));
        world.run(ms(20));
    }
    assert!(asked(&world) > 0);
    let first = world.events.iter().find_map(|(_, event)| match event {
        Event::Frame { frame, .. } => Some(frame),
        _ => None,
    });
    let first = first.expect("frames come");
    assert!(first.key && !first.discontinuity && first.stream == VIDEO_VP8);
    let before = asked(&world);
    world.fanout.request_key_frame(CALL, VIDEO_VP8, world.now);
    world.drain_camera();
    world.run(ms(100));
    assert_eq!(asked(&world), before + 1);
}

#[test]
fn a_browser_holds_and_resumes() {
    let mut world = World::new();
    world.fanout.set_directions(CALL, directions(&[], &[Kind::Video]));
    world.browser(1, |c| c.enable_vp8(true));
    world.call(1, Direction::SendOnly).expect("accepted");
    world.run(ms(1000));
    let mut n = 0;
    for _ in 0..3 {
        for (direction, ours) in [(Direction::Inactive, "inactive"), (Direction::SendOnly, "recvonly")] {
            let answer = world.reoffer(1, |browser| {
                let mid = browser.mid(MediaKind::Video);
                let mut api = browser.rtc.sdp_api();
                api.set_direction(mid, direction);
                let (offer, pending) = api.apply().expect("changes");
                (offer.to_sdp_string(), pending)
            });
            assert!(answer.sdp.contains(&format!("a={ours}\r\n")), "{}", answer.sdp);
            let before = world.events.len();
            let sends = direction == Direction::SendOnly;
            for at in 0..20 {
                n += 1;
                if sends {
                    write(&mut world, MediaKind::Video, n, &coded(Codec::Vp8, at == 0, n));
                }
                world.run(ms(20));
            }
            let came =
                world.events[before..].iter().filter(|(_, event)| matches!(event, Event::Frame { .. }));
            let expected = if sends { 19..=20 } else { 0..=1 };
            assert!(expected.contains(&came.count()), "{ours}");
        }
    }
    assert!(!world.saw(|event| matches!(event, Event::Closed { .. })));
}

#[test]
fn two_peers_send_each_other_audio_and_video() {
    let mut pair = Pair::call(directions(&BOTH, &BOTH), directions(&BOTH, &BOTH)).expect("agreed");
    pair.run(ms(5000));
    let [a, b] = &pair.peers;
    for (one, other) in [(a, b), (b, a)] {
        assert!(one.connected);
        let (video, audio) = (one.received(Codec::H264, other), one.received(Codec::Opus, other));
        // Of 250 each, without those before it was connected and on their way.
        assert!(video > 220 && audio > 220, "{video}, {audio}");
        let stats = one.stats();
        assert_eq!(stats.received.frames as usize, video + audio);
        assert_eq!((stats.received.lost, stats.received.dropped), (0, 0));
        // Reports of both ways go by one set of keys, and say that all is well.
        assert!(stats.estimate.is_some_and(|bps| bps > 1_000_000) && stats.rtt.is_some(), "{stats:?}");
        let rtt = stats.rtt.expect("seen above");
        assert!(rtt.abs_diff(ms(30)) < ms(8), "{rtt:?}");
    }
}

#[test]
fn one_peer_watches_the_other_through_loss() {
    let mut pair = Pair::call(directions(&[], &BOTH), directions(&BOTH, &[])).expect("agreed");
    pair.lose = 20;
    pair.run(ms(8000));
    let [watcher, camera] = &pair.peers;
    let (video, audio) = (watcher.received(Codec::H264, camera), watcher.received(Codec::Opus, camera));
    assert!(video > 360 && audio > 340, "{video}, {audio}");
    let stats = watcher.stats().received;
    assert!(stats.nacks > 10, "{stats:?}");
    assert!(
        watcher
            .frames
            .iter()
            .filter(|frame| frame.codec == Codec::H264)
            .all(|frame| { frame.key || !frame.discontinuity })
    );
    assert_eq!(camera.stats().received, Default::default(), "nothing comes the other way");
    let sent = camera.stats();
    assert!(sent.retransmissions > 10 && sent.nacks > 10);
}

#[test]
fn each_direction_is_agreed_on_by_both_sides() {
    let all = [directions(&BOTH, &BOTH), directions(&BOTH, &[]), directions(&[], &BOTH)];
    for caller in &all {
        for callee in &all {
            let one_way =
                |from: &Directions, to: &Directions| !from.send.is_empty() && !to.receive.is_empty();
            let (there, back) = (one_way(caller, callee), one_way(callee, caller));
            let pair = Pair::call(caller.clone(), callee.clone());
            let name = format!("{caller:?} calls {callee:?}");
            if !there && !back {
                let why = match caller.receive.is_empty() {
                    true => Refusal::NothingTaken,
                    false => Refusal::NothingWanted,
                };
                assert_eq!(pair.err(), Some(why), "{name}");
                continue;
            }
            let mut pair = pair.expect("something flows");
            pair.run(ms(1500));
            let [a, b] = &pair.peers;
            assert_eq!((!b.frames.is_empty(), !a.frames.is_empty()), (there, back), "{name}");
            let codecs =
                |peer: &Peer| peer.frames.iter().map(|frame| frame.stream).collect::<BTreeSet<StreamId>>();
            for peer in [a, b].into_iter().filter(|peer| !peer.frames.is_empty()) {
                assert_eq!(codecs(peer), BTreeSet::from([VIDEO_H264, AUDIO_OPUS]), "{name}");
            }
        }
    }
    // By kind.
    let mut pair =
        Pair::call(directions(&[Kind::Audio], &BOTH), directions(&BOTH, &[Kind::Audio])).expect("agreed");
    pair.run(ms(1500));
    let [a, b] = &pair.peers;
    assert!(b.frames.iter().all(|frame| frame.codec == Codec::Opus) && !b.frames.is_empty());
    assert!(a.frames.iter().any(|frame| frame.codec == Codec::H264));
}

#[test]
fn a_session_is_sent_no_audio_for_a_while_and_then_goes_on() {
    let mut pair = Pair::call(directions(&[], &BOTH), directions(&BOTH, &[])).expect("agreed");
    let mut count = |silent: Option<bool>| {
        if let Some(silent) = silent {
            let now = pair.now;
            pair.peers[1].fanout.set_silent(CALL, silent, now);
        }
        // What is on its way arrives.
        pair.run(ms(100));
        pair.peers[0].frames.clear();
        pair.run(ms(1000));
        let of = |codec| pair.peers[0].frames.iter().filter(|frame| frame.codec == codec).count();
        (of(Codec::Opus), of(Codec::H264))
    };
    count(None);
    for (silent, audio) in [(None, 45..55), (Some(true), 0..1), (Some(false), 45..55)] {
        let (opus, h264) = count(silent);
        assert!(audio.contains(&opus) && (45..55).contains(&h264), "{silent:?}: {opus}, {h264}");
    }
    assert_eq!(pair.peers[0].stats().received.lost, 0, "nothing is missing in between");
}

/// What a peer sees of another on a rough network: most frames, no long freeze, and each at its time.
#[test]
fn a_rough_network_is_watched_through() {
    struct Rough {
        loss: u64,
        late: u64,
        latency: u64,
        /// Of a hundred frames that come, and the longest time without one in milliseconds.
        least: usize,
        freeze: u64,
        /// How many runs: most of them must be that good.
        runs: u64,
    }
    let table = [
        Rough { loss: 5, late: 0, latency: 15, least: 97, freeze: 300, runs: 1 },
        Rough { loss: 20, late: 0, latency: 15, least: 85, freeze: 1500, runs: 1 },
        Rough { loss: 0, late: 20, latency: 15, least: 99, freeze: 150, runs: 1 },
        Rough { loss: 0, late: 0, latency: 200, least: 99, freeze: 100, runs: 1 },
        Rough { loss: 5, late: 5, latency: 100, least: 95, freeze: 1500, runs: 1 },
        Rough { loss: 20, late: 20, latency: 100, least: 40, freeze: 4000, runs: 3 },
        // Two requests fit into the second that a packet is waited for.
        Rough { loss: 5, late: 5, latency: 200, least: 60, freeze: 3000, runs: 3 },
    ];
    let mut failed = vec![];
    for Rough { loss, late, latency, least, freeze, runs } in table {
        let good = (1..=runs).filter(|chance| {
            let (share, audio, longest) = rough(*chance, loss, late, latency);
            share >= least && longest <= freeze && audio >= 99 - loss as usize - 3
        });
        if good.count() as u64 * 2 <= runs {
            failed.push((loss, late, latency));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// Runs half a minute of it. Returns the share of the frames and of the audio that came, in percent, and the longest
/// time without a frame, in milliseconds.
fn rough(chance: u64, loss: u64, late: u64, latency: u64) -> (usize, usize, u64) {
    let mut pair = Pair::call(directions(&[], &BOTH), directions(&BOTH, &[])).expect("agreed");
    (pair.latency, pair.chance) = (ms(latency), chance);
    pair.run(ms(3000));
    assert!(pair.peers[0].connected);
    let begun = (pair.peers[0].frames.len(), pair.pictures);
    (pair.loss, pair.late) = (loss, late);
    pair.run(ms(30_000));
    (pair.loss, pair.late) = (0, 0);
    pair.run(ms(2000));
    let [watcher, camera] = &pair.peers;
    watcher.received(Codec::H264, camera);
    let of = |codec| watcher.frames[begun.0..].iter().filter(move |frame| frame.codec == codec);
    let video: Vec<&Frame> = of(Codec::H264).collect();
    let sent = (pair.pictures - begun.1) as usize;
    let share = video.len() * 100 / sent;
    let longest = video.windows(2).map(|pair| (pair[1].pts - pair[0].pts).as_millis() as u64).max();
    let audio = of(Codec::Opus).count() * 100 / sent;
    let got = watcher.stats().received;
    println!(
        "loss {loss} %, late {late} %, {latency} ms: {share} % of the frames, {audio} % of the audio, {longest:?} ms \
         without, {} NACKs, {} PLIs, {} lost",
        got.nacks, got.key_frame_requests, got.lost,
    );
    // The last frames came soon, and sound and picture are where they were sent: at the same times.
    let last = |codec| of(codec).next_back().expect("frames").pts;
    assert!(last(Codec::H264).abs_diff(last(Codec::Opus)) <= ms(40), "{loss} %, {late} %, {latency} ms");
    (share, audio, longest.unwrap_or(u64::MAX))
}

/// A description with these sections: its lines after `a=mid`, by `m=` line and mid.
fn page(version: u32, setup: &str, sections: &[(&str, &str, &str)]) -> String {
    let live: String = sections
        .iter()
        .filter(|(line, ..)| !line.contains(" 0 "))
        .map(|(_, mid, _)| format!(" {mid}"))
        .collect();
    let mut sdp =
        format!("v=0\r\no=- 7 {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{live}\r\n");
    for (line, mid, more) in sections {
        sdp += &format!(
            "m={line}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\n\
             a=fingerprint:sha-256 {}\r\na=setup:{setup}\r\na=mid:{mid}\r\na=rtcp-mux\r\n{more}",
            ["AB"; 32].join(":"),
        );
    }
    sdp
}

/// A page that stops its video and adds it again has numbers of its own for the new section, as Chromium does; Firefox has
/// them for the one that goes on, once it is who offers.
#[test]
fn payload_types_of_a_codec_may_change() {
    let now = Instant::now();
    let mut fanout = Fanout::new(Config::default(), now);
    fanout.set_directions(CALL, directions(&[], &BOTH));
    let offer = fanout.offer(CALL, now).expect("something is taken");
    let mids: Vec<&str> = offer.sdp.lines().filter_map(|line| line.strip_prefix("a=mid:")).collect();
    let audio = |direction| format!("a={direction}\r\na=rtpmap:111 opus/48000/2\r\n");
    let h264 = |pt: u8, direction| {
        format!(
            "a={direction}\r\na=rtpmap:{pt} H264/90000\r\na=fmtp:{pt} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
             a=rtcp-fb:{pt} nack\r\na=rtcp-fb:{pt} nack pli\r\na=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}\r\n",
            rtx = pt + 1,
        )
    };
    let sound = audio("sendonly");
    let line = "audio 9 UDP/TLS/RTP/SAVPF 111";
    let answer = page(
        1,
        "active",
        &[(line, mids[0], &sound), ("video 9 UDP/TLS/RTP/SAVPF 96 97", mids[1], &h264(96, "sendonly"))],
    );
    fanout.answer(CALL, &answer, now).expect("agreed");
    let mut offers = |version, video: (&str, &str, &str)| {
        let offer = page(version, "actpass", &[(line, mids[0], &sound), video]);
        fanout.accept(CALL, &offer, now).expect("a renegotiation").sdp
    };
    let stopped = offers(2, ("video 0 UDP/TLS/RTP/SAVPF 96", mids[1], "a=inactive\r\n"));
    assert!(stopped.contains("m=video 0 "));
    for (version, mid, pt) in [(3, "again", 103), (6, "later", 109)] {
        let added = offers(
            version,
            (&format!("video 9 UDP/TLS/RTP/SAVPF {pt} {}", pt + 1), mid, &h264(pt, "sendrecv")),
        );
        let video = added.split("m=").find(|section| section.starts_with("video")).expect("a section");
        assert!(!video.starts_with("video 0 ") && video.contains("a=recvonly\r\n"), "{video}");
        assert!(video.contains(&format!("a=rtpmap:{pt} H264/90000\r\n")), "{video}");
        // While it goes on, too.
        let other = offers(version + 1, ("video 9 UDP/TLS/RTP/SAVPF 120 121", mid, &h264(120, "sendrecv")));
        assert!(other.contains("a=rtpmap:120 H264/90000\r\n") && !other.contains("m=video 0 "), "{other}");
        // And to another codec.
        let vp8 = "a=sendrecv\r\na=rtpmap:122 VP8/90000\r\n";
        let other = offers(version + 2, ("video 9 UDP/TLS/RTP/SAVPF 122", mid, vp8));
        assert!(other.contains("a=rtpmap:122 VP8/90000\r\n") && !other.contains("m=video 0 "), "{other}");
    }
}

#[test]
fn a_sender_keeps_to_the_limit_of_its_receiver() {
    let mut pair = Pair::call(directions(&BOTH, &[]), directions(&[], &BOTH)).expect("they agree");
    pair.run(ms(3000));
    let estimate = |pair: &Pair| pair.peers[0].stats().estimate.expect("it has one");
    assert!(estimate(&pair) > 1_000_000, "{}", estimate(&pair));
    let limit = |pair: &mut Pair, bps| {
        let now = pair.now;
        pair.peers[1].fanout.limit_received(CALL, bps, now);
        pair.drain(1);
        pair.run(ms(3000));
    };
    limit(&mut pair, Some(300_000));
    assert!((290_000..=300_000).contains(&estimate(&pair)), "{}", estimate(&pair));
    limit(&mut pair, Some(500_000));
    assert!((300_000..=500_000).contains(&estimate(&pair)), "{}", estimate(&pair));
    limit(&mut pair, None);
    pair.run(ms(10_000));
    assert!(estimate(&pair) > 500_000, "{}", estimate(&pair));
}
