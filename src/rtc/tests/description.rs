//! Descriptions: a real browser's, and bad ones.

use str0m::media::Direction;

use super::world::*;
use crate::media::Codec;
use crate::rtc::{Config, LocalCandidate, Refusal, SessionId};

/// As Chromium 1xx wrote it for two receive-only transceivers.
pub(super) const CHROMIUM: &str = include_str!("chromium_offer.sdp");

pub(super) fn accept(w: &mut World, offer: &str) -> Result<crate::rtc::Answer, Refusal> {
    w.fanout.accept(SessionId(9), offer, w.now)
}

/// The lines of a section of a description.
pub(super) fn section<'a>(sdp: &'a str, kind: &str) -> Vec<&'a str> {
    let start = sdp.find(&format!("m={kind}")).expect("there");
    let lines = sdp[start..].lines();
    let end = |i: &usize, l: &&str| *i > 0 && l.starts_with("m=");
    lines.enumerate().take_while(|(i, l)| !end(i, l)).map(|(_, l)| l).collect()
}

#[test]
fn chromiums_offer_is_answered_with_constrained_baseline_alone() {
    let mut w = World::new();
    let answer = accept(&mut w, CHROMIUM).expect("accepted");
    assert_eq!(taken(&answer.streams), (Some(H264), Some(OPUS)));
    let video = section(&answer.sdp, "video");
    assert_eq!(video[0], "m=video 4000 UDP/TLS/RTP/SAVPF 108 109");
    for line in [
        "a=mid:1",
        "a=sendonly",
        "a=setup:passive",
        "a=rtpmap:108 H264/90000",
        "a=fmtp:109 apt=108",
        "a=rtcp-fb:108 nack pli",
        "a=rtcp-fb:108 transport-cc",
    ] {
        assert!(video.contains(&line), "{line} in {video:#?}");
    }
    assert!(video.iter().any(|l| l.starts_with("a=fmtp:108 ")
        && l.contains("profile-level-id=42e01f")
        && l.contains("packetization-mode=1")));
    let audio = section(&answer.sdp, "audio");
    assert_eq!(audio[0], "m=audio 4000 UDP/TLS/RTP/SAVPF 111");
    assert!(audio.contains(&"a=sendonly"));
    assert!(answer.sdp.contains("a=group:BUNDLE 0 1\r\n"));
    // One stream id for both, or the browser would not play them in step.
    let ids = |lines: &[&str]| -> Vec<String> {
        let msids = lines.iter().filter_map(|l| l.split_once("msid:"));
        msids.map(|(_, id)| id.split(' ').next().expect("one").to_owned()).collect()
    };
    assert!(ids(&video).iter().chain(&ids(&audio)).all(|id| id == "symple"));
    assert!(ids(&video).len() == 3 && ids(&audio).len() == 2);
    assert!(audio.iter().any(|l| l.starts_with("a=candidate:") && l.contains("192.0.2.1 4000 typ host")));
}

#[test]
fn the_best_common_codec_is_chosen() {
    let h264 = vec![stream(H264, Codec::H264)];
    let vp8 = vec![stream(VP8, Codec::Vp8)];
    let no_42e0 = CHROMIUM.replace("42e01f", "640c1f");
    let no_h264 = CHROMIUM.replace("H264/", "H265/");
    let only_mode_0 = CHROMIUM.replace("packetization-mode=1", "packetization-mode=0");
    let other_level = CHROMIUM.replace("42e01f", "42c034");
    let table = [
        (CHROMIUM, &all_media(), Some((H264, "108 109"))),
        (CHROMIUM, &h264, Some((H264, "108 109"))),
        (CHROMIUM, &vp8, Some((VP8, "96 97"))),
        (&no_42e0, &all_media(), Some((H264, "102 103"))),
        (&other_level, &all_media(), Some((H264, "108 109"))),
        (&no_h264, &all_media(), Some((VP8, "96 97"))),
        (&only_mode_0, &all_media(), Some((VP8, "96 97"))),
        (&no_h264, &h264, None),
        (&only_mode_0, &h264, None),
    ];
    for (i, (offer, media, expected)) in table.into_iter().enumerate() {
        let mut w = World::new();
        w.fanout.set_streams(media);
        match (accept(&mut w, offer), expected) {
            (Ok(answer), Some((stream, formats))) => {
                assert_eq!(taken(&answer.streams).0, Some(stream), "row {i}");
                assert_eq!(
                    section(&answer.sdp, "video")[0],
                    format!("m=video 4000 UDP/TLS/RTP/SAVPF {formats}"),
                    "row {i}"
                );
            }
            (Err(Refusal::NoCommonCodec { .. }), None) => {}
            (got, _) => panic!("row {i}: {got:?}"),
        }
    }
}

#[test]
fn no_common_codec_is_refused_in_words() {
    let mut w = World::new();
    w.browser(1, |c| c.enable_vp9(true));
    let refusal = w.call(1, Direction::RecvOnly).expect_err("refused");
    assert_eq!(refusal.code(), "no-common-codec");
    assert_eq!(
        refusal.to_string(),
        "no common video codec: the viewer supports VP9, the camera sends H264 42e01f mode 1 or VP8"
    );
    assert_eq!(w.fanout.sessions().count(), 0);
}

#[test]
fn a_camera_without_sound_answers_the_sound_as_inactive() {
    let mut w = World::new();
    w.fanout.set_streams(&all_media()[..2]);
    let answer = accept(&mut w, CHROMIUM).expect("accepted");
    assert_eq!(taken(&answer.streams).1, None);
    let audio = section(&answer.sdp, "audio");
    assert!(audio[0].ends_with(" 111") && audio.contains(&"a=inactive"), "{audio:?}");
    w.viewer(1);
    w.run(ms(2000));
    assert!(w.browsers[&1].frames(str0m::format::Codec::H264).len() > 40);
}

#[test]
fn what_we_do_not_speak_is_declined_in_its_place() {
    let pcmu = CHROMIUM.replace("opus/48000/2", "G723/8000");
    let data = format!("{CHROMIUM}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n")
        .replace("BUNDLE 0 1", "BUNDLE 0 1 2");
    let mut w = World::new();
    let answer = accept(&mut w, &pcmu).expect("accepted");
    assert_eq!(taken(&answer.streams), (Some(H264), None));
    assert_eq!(
        section(&answer.sdp, "audio")[..4],
        ["m=audio 0 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=inactive", "a=mid:0"]
    );
    assert!(answer.sdp.contains("a=group:BUNDLE 1\r\n"));
    assert!(section(&answer.sdp, "video").iter().any(|l| l.starts_with("a=candidate:")), "candidates moved");
    let answer = accept(&mut World::new(), &data).expect("accepted");
    assert_eq!(section(&answer.sdp, "application")[0], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
    assert!(answer.sdp.contains("a=group:BUNDLE 0 1\r\n"));
}

#[test]
fn bad_descriptions_are_refused_in_words() {
    let without = |what: &str| {
        CHROMIUM.lines().filter(|l| !l.starts_with(what)).map(|l| format!("{l}\r\n")).collect::<String>()
    };
    let table: Vec<(String, &str)> = vec![
        (String::new(), "v=0"),
        ("hello".into(), "v=0"),
        ("v=0\r\n".into(), "no media sections"),
        ("v=0\r\nm=\r\n".into(), "empty"),
        ("v=0\r\nm=video\r\n".into(), "no port"),
        ("v=0\r\nm=video 99999 UDP/TLS/RTP/SAVPF 96\r\n".into(), "no port"),
        ("v=0\r\nm=video 9\r\n".into(), "no protocol"),
        ("v=0\r\nm=video 9 RTP/AVP 96\r\n".into(), "SAVPF"),
        ("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 96\r\n".into(), "twice"),
        ("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 256\r\n".into(), "0 to 127"),
        ("v=0\r\n".to_owned() + &"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(257), "more than 256"),
        (format!("{CHROMIUM}{}", "a=x\r\n".repeat(20_000)), "longer than"),
        (without("a=mid"), "a=mid"),
        (CHROMIUM.replace("a=mid:1", "a=mid:0"), "same a=mid"),
        (CHROMIUM.replace("a=mid:1", &format!("a=mid:{}", "1".repeat(257))), "a=mid"),
        (CHROMIUM.replace("a=mid:1", "a=mid:1 2"), "a=mid"),
        (without("a=ice-ufrag"), "ice-ufrag"),
        (without("a=ice-pwd"), "ice-pwd"),
        (CHROMIUM.replace("a=ice-ufrag:", "a=ice-ufrag:x y"), "ice-ufrag"),
        (without("a=fingerprint"), "fingerprint"),
        (CHROMIUM.replace("sha-256", "sha-1"), "fingerprint"),
        (CHROMIUM.replace("111", "108"), "two codecs"),
        (CHROMIUM.replace("a=recvonly", "a=inactive"), "neither audio nor video"),
        (CHROMIUM.replace("a=recvonly", "a=sendonly"), "neither audio nor video"),
        (
            CHROMIUM.replace("=audio 9 ", "=audio 0 ").replace("=video 9 ", "=video 0 "),
            "neither audio nor video",
        ),
    ];
    let mut w = World::new();
    w.viewer(1);
    for (sdp, word) in table {
        let refusal = accept(&mut w, &sdp).expect_err(word);
        assert!(refusal.to_string().contains(word), "{word} in {refusal}");
    }
    assert_eq!(w.fanout.sessions().collect::<Vec<_>>(), [SessionId(1)]);
    w.run(ms(2000));
    assert!(w.browsers[&1].connected, "the other viewer never noticed");
}

#[test]
fn a_bad_renegotiation_leaves_the_session_as_it_was() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    for bad in ["", "v=0\r\n", CHROMIUM.replace("a=mid", "a=x").as_str()] {
        w.fanout.accept(SessionId(1), bad, w.now).expect_err("bad");
    }
    let before = w.browsers[&1].frames(str0m::format::Codec::H264).len();
    w.run(ms(1000));
    assert!(w.browsers[&1].frames(str0m::format::Codec::H264).len() > before + 20);
}

#[test]
fn bad_candidates_are_errors_in_words_and_those_of_no_use_are_ignored() {
    let mut w = World::new();
    w.viewer(1);
    let mut add = |c: &str| w.fanout.add_remote_candidate(SessionId(1), c);
    let good = "candidate:1 1 udp 2122260223 198.51.100.9 5000 typ host";
    for fine in [
        good,
        "a=candidate:1 1 UDP 2122260223 198.51.100.8 5000 typ host generation 0 ufrag x",
        "candidate:1 1 udp 2122260223 2001:db8::1 5000 typ srflx raddr 0.0.0.0 rport 0",
        "candidate:1 1 udp 2122260223 7d0a2f2b-0000-4a0e-8f43-0123456789ab.local 5000 typ host",
        "candidate:1 1 tcp 1518280447 198.51.100.9 9 typ host tcptype active",
        "candidate:1 2 udp 2122260222 198.51.100.9 5001 typ host",
    ] {
        add(fine).expect(fine);
    }
    for bad in [
        "",
        "hello",
        "candidate:",
        "candidate:1 1 udp",
        "candidate:1 1 udp x 198.51.100.9 5000 typ host",
        "candidate:1 1 udp 1 198.51.100.9 99999 typ host",
        "candidate:1 1 udp 1 example.org 5000 typ host",
        "candidate:1 1 udp 1 198.51.100.9 5000 typ nonsense",
        &format!("{good}{}", " x".repeat(300)),
    ] {
        let refusal = add(bad).expect_err(bad);
        assert_eq!(refusal.code(), "bad-candidate");
    }
    for i in 0..200 {
        add(&format!("candidate:1 1 udp 1 198.51.100.77 {} typ host", 1000 + i)).expect("ignored");
    }
    let stats = w.fanout.stats(SessionId(1)).expect("lives");
    // The browser's own and the two above are among the checked; one of another family is of no use.
    assert_eq!((stats.candidates_checked, stats.candidates_ignored), (16, 1 + 200 - 13));
    w.run(ms(2000));
    assert!(w.browsers[&1].connected);
    assert_eq!(w.fanout.add_remote_candidate(SessionId(77), good), Err(Refusal::UnknownSession));
}

#[test]
fn all_our_candidates_are_in_the_description() {
    let v4 = LocalCandidate {
        base: CAMERA.parse().expect("literal"),
        advertised: Some("203.0.113.5:40000".parse().expect("literal")),
    };
    let v6 = LocalCandidate { base: "[2001:db8::5]:4000".parse().expect("literal"), advertised: None };
    let mut w = World::with(Config { candidates: vec![v4, v6], ..Config::default() });
    let answer = accept(&mut w, CHROMIUM).expect("accepted");
    let trickled = w.fanout.local_candidates(SessionId(9));
    assert_eq!(trickled.len(), 3);
    for (what, list) in [("answer", answer.sdp.clone()), ("list", trickled.join("\r\n"))] {
        for c in
            [" 192.0.2.1 4000 typ host", " 2001:db8::5 4000 typ host", " 203.0.113.5 40000 typ srflx raddr"]
        {
            assert!(list.contains(c), "{c} in the {what}: {list}");
        }
    }
}

#[test]
fn there_is_an_upper_limit_to_sessions() {
    let mut w = World::with(Config { max_sessions: 2, ..Config::default() });
    for id in 0..2 {
        w.fanout.accept(SessionId(id), CHROMIUM, w.now).expect("room");
    }
    assert_eq!(w.fanout.accept(SessionId(2), CHROMIUM, w.now), Err(Refusal::Full { limit: 2 }));
    assert_eq!(w.fanout.offer(SessionId(2), w.now), Err(Refusal::Full { limit: 2 }));
    w.fanout.close(SessionId(0), w.now);
    w.fanout.accept(SessionId(2), CHROMIUM, w.now).expect("room again");
}

#[test]
fn calls_out_of_order_are_refused() {
    let mut w = World::new();
    let id = SessionId(9);
    assert_eq!(w.fanout.answer(id, CHROMIUM, w.now), Err(Refusal::UnknownSession));
    accept(&mut w, CHROMIUM).expect("accepted");
    assert_eq!(w.fanout.answer(id, CHROMIUM, w.now), Err(Refusal::NoOpenOffer));
    w.fanout.offer(SessionId(8), w.now).expect("the first one");
    assert_eq!(w.fanout.offer(SessionId(8), w.now), Err(Refusal::SessionExists));
    w.fanout.set_streams(&[]);
    assert_eq!(w.fanout.accept(SessionId(10), CHROMIUM, w.now).expect_err("nothing"), Refusal::NothingToSend);
    assert_eq!(w.fanout.offer(SessionId(10), w.now), Err(Refusal::NothingToSend));
}

#[test]
fn bad_answers_are_refused() {
    let mut w = World::new();
    w.browser(1, |c| c.enable_vp8(true).enable_h264(true));
    let good = w.call_browser(1);
    let mid = good.lines().find(|l| l.starts_with("a=mid:")).expect("a mid");
    let bundle = format!("BUNDLE {}", &mid[6..]);
    let table = [
        (String::new(), "v=0"),
        (
            CHROMIUM.replace("a=mid:", "a=mid:x").replace("BUNDLE 0 1", "BUNDLE x0 x1"),
            "do not match the offer",
        ),
        (good.replace(mid, "a=mid:zzz").replace(&bundle, "BUNDLE zzz"), "do not match the offer"),
        (good.replace("a=recvonly", "a=inactive"), "neither audio nor video"),
        (good.split("m=video").next().expect("a head").to_owned(), "do not match the offer"),
    ];
    for (answer, word) in table {
        let refusal = w.fanout.answer(SessionId(1), &answer, w.now).expect_err(word);
        assert!(refusal.to_string().contains(word), "{word} in {refusal}");
    }
    w.fanout.answer(SessionId(1), &good, w.now).expect("the offer stayed open");
}

type Edits = Vec<(usize, usize, u8, usize)>;

fn edits() -> impl proptest::strategy::Strategy<Value = Edits> {
    proptest::collection::vec((0usize..240, 0usize..240, 0u8..6, 0usize..60), 1..12)
}

fn mangle(sdp: &str, edits: Edits) -> String {
    let mut lines: Vec<String> = sdp.lines().map(str::to_owned).collect();
    for (a, b, how, at) in edits {
        let (a, b) = (a % lines.len(), b % lines.len());
        let line = lines[b].clone();
        match how {
            0 if lines.len() > 1 => drop(lines.remove(a)),
            1 => lines.insert(b, lines[a].clone()),
            2 => lines.swap(a, b),
            3 => lines[a].truncate(at),
            4 => lines[a].push_str(&line),
            _ => lines[a] = lines[a].replace(char::is_numeric, &(at % 10).to_string()),
        }
    }
    lines.join("\r\n") + "\r\n"
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(60))]

    /// Lines of a real offer left out, doubled, swapped and cut never panic, on a new session or an old one.
    #[test]
    fn mangled_offers_never_panic(edits in edits()) {
        let mangled = mangle(CHROMIUM, edits);
        let mut w = World::new();
        let _ = accept(&mut w, &mangled);
        let _ = w.fanout.accept(SessionId(9), CHROMIUM, w.now);
        let _ = accept(&mut w, &mangled);
        w.drain_camera();
    }

    /// Nor do answers.
    #[test]
    fn mangled_answers_never_panic(edits in edits()) {
        let mut w = World::new();
        w.browser(1, |c| c.enable_vp8(true).enable_h264(true));
        let good = w.call_browser(1);
        let _ = w.fanout.answer(SessionId(1), &mangle(&good, edits), w.now);
        let _ = w.fanout.answer(SessionId(1), &good, w.now);
        w.drain_camera();
    }

    /// Bytes from anywhere never panic, and make no session and no answer.
    #[test]
    fn stray_datagrams_never_panic(data in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let mut w = World::new();
        w.viewer(1);
        let (local, from) = (CAMERA.parse().expect("literal"), "203.0.113.99:9".parse().expect("literal"));
        let before = w.sent.len();
        w.fanout.handle_input(crate::rtc::Input::Datagram { path: crate::rtc::Path::udp(local, from), data: &data }, w.now);
        w.drain_camera();
        assert!(w.sent[before..].iter().all(|t| t.path.remote != from));
    }
}
