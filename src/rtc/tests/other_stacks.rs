//! Descriptions as other stacks write them: unbundled, with sections that are rejected, stopped, or come again, and
//! with little said.

use str0m::format::Codec as Theirs;
use str0m::media::{Direction, MediaKind};

use super::description::{CHROMIUM, accept, section};
use super::hostile::attribute;
use super::world::*;
use crate::media::{Codec, Format, VideoFormat};
use crate::rtc::SessionId;

fn lines(sdp: &str) -> Vec<&str> {
    sdp.lines().collect()
}

/// The `m=` lines of a description.
fn sections(sdp: &str) -> Vec<&str> {
    sdp.lines().filter(|l| l.starts_with("m=")).collect()
}

fn group(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|l| l.strip_prefix("a=group:BUNDLE"))
}

fn frames(w: &World, codec: Theirs) -> usize {
    w.browsers[&1].frames(codec).len()
}

/// Whether frames arrive, and audio where that is wanted.
fn flows(w: &mut World, audio: bool) -> bool {
    let before = (frames(w, Theirs::H264), frames(w, Theirs::Opus));
    w.run(ms(2000));
    frames(w, Theirs::H264) > before.0 + 40 && (!audio || frames(w, Theirs::Opus) > before.1 + 70)
}

/// A description without lines that begin so.
fn without(sdp: &str, starts: &[&str]) -> String {
    let keep = |l: &&str| !starts.iter().any(|start| l.starts_with(start));
    sdp.lines().filter(keep).map(|l| format!("{l}\r\n")).collect()
}

// ---- Answers to our offers

#[test]
fn an_answer_without_a_profile_is_to_what_we_offered() {
    for strip in [";profile-level-id=42e01f", ";packetization-mode=1;profile-level-id=42e01f"] {
        let mut w = World::new();
        w.browser(1, |c| c.enable_h264(true));
        let answer = w.call_browser(1);
        let bare = answer.replace(strip, "").replace("a=rtcp-fb:96 ", "a=x-rtcp-fb:96 ");
        assert_ne!(bare, answer);
        let answered = w.fanout.answer(SessionId(1), &bare, w.now).expect("webrtcbin's answer");
        w.drain_camera();
        assert_eq!(taken(&answered.streams), (Some(H264), Some(OPUS)));
        let stats = w.fanout.stats(SessionId(1)).expect("lives");
        assert_eq!(stats.profile_level_id.expect("H.264")[0], 0x42);
        assert!(flows(&mut w, true), "{strip}");
    }
}

#[test]
fn an_answer_may_bundle_nothing() {
    let mut w = World::new();
    w.browser(1, |c| c.enable_h264(true));
    let answer = w.call_browser(1);
    let answered = w.fanout.answer(SessionId(1), &without(&answer, &["a=group"]), w.now).expect("an answer");
    w.drain_camera();
    assert_eq!(taken(&answered.streams), (Some(H264), None));
    assert!(flows(&mut w, false));
}

// ---- Offers

#[test]
fn one_section_needs_no_bundle() {
    for strip in [&["a=group"][..], &["a=group", "a=mid", "a=extmap:4 "]] {
        let mut w = World::new();
        w.browser(1, |c| c.enable_h264(true));
        let offer = w.offer(1, &[MediaKind::Video], Direction::RecvOnly);
        let answer = w.fanout.accept(SessionId(1), &without(&offer, strip), w.now).expect("accepted");
        w.drain_camera();
        assert_eq!((taken(&answer.streams).0, group(&answer.sdp)), (Some(H264), None));
        let mid = format!("a=mid:{}\r\n", attribute(&offer, "a=mid:"));
        assert_eq!(answer.sdp.contains("a=mid:"), strip.len() == 1, "{strip:?}");
        // The browser wants back what was taken away.
        let sdp = if strip.len() > 1 {
            answer.sdp.replace("a=rtcp-mux\r\n", &format!("a=rtcp-mux\r\n{mid}"))
        } else {
            answer.sdp
        };
        let own = attribute(&offer, "a=mid:");
        w.take_answer(1, &sdp.replace("t=0 0\r\n", &format!("t=0 0\r\na=group:BUNDLE {own}\r\n")));
        assert!(flows(&mut w, false), "{strip:?}");
    }
}

#[test]
fn of_several_sections_without_a_bundle_the_video_is_taken() {
    let mut w = World::new();
    let answer = accept(&mut w, &without(CHROMIUM, &["a=group"])).expect("accepted");
    assert_eq!(taken(&answer.streams), (Some(H264), None));
    assert_eq!(sections(&answer.sdp)[0], "m=audio 0 UDP/TLS/RTP/SAVPF 111");
    assert!(sections(&answer.sdp)[1].starts_with("m=video 4000 "));
    assert_eq!(group(&answer.sdp), None);
    // Nor is what stands beside the bundle.
    let beside = CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0");
    let answer = accept(&mut World::new(), &beside).expect("accepted");
    assert_eq!(taken(&answer.streams), (None, Some(OPUS)));
    assert!(sections(&answer.sdp)[1].starts_with("m=video 0 "));
}

#[test]
fn a_rejected_section_may_look_like_anything() {
    let (head, media) = CHROMIUM.split_once("m=audio").expect("it has one");
    for (rejected, declined) in [
        ("m=audio 0 RTP/AVP 0\r\n", "m=audio 0 RTP/AVP 0"),
        ("m=audio 0 RTP/AVP\r\n", "m=audio 0 RTP/AVP 0"),
        ("m=audio 0 UDP/TLS/RTP/SAVPF 0 0 300 x\r\nc=IN IP4 0.0.0.0\r\n", "m=audio 0 UDP/TLS/RTP/SAVPF 0"),
        ("m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:x\r\na=inactive\r\n", "m=video 0 UDP/TLS/RTP/SAVPF 96"),
        ("m=application 0 DTLS/SCTP 5000\r\na=mid:1\r\n", "m=application 0 DTLS/SCTP 5000"),
        ("m=text 0 TCP/WS *\r\n", "m=text 0 TCP/WS *"),
        ("m=audio 0\r\n", "m=audio 0 UDP/TLS/RTP/SAVPF 0"),
    ] {
        let offer = format!("{head}{rejected}m=audio{media}");
        let mut w = World::new();
        let answer = accept(&mut w, &offer).unwrap_or_else(|e| panic!("{rejected}: {e}"));
        assert_eq!(taken(&answer.streams), (Some(H264), Some(OPUS)), "{rejected}");
        assert_eq!(sections(&answer.sdp)[0], declined);
        assert_eq!(sections(&answer.sdp).len(), 3);
        assert_eq!(group(&answer.sdp), Some(" 0 1"));
        let mids = lines(&answer.sdp).iter().filter(|l| l.starts_with("a=mid:")).count();
        assert_eq!(mids, 2 + usize::from(rejected.contains("a=mid")), "{rejected}");
    }
}

#[test]
fn a_declined_section_says_how_to_reach_us() {
    let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n";
    let offer = format!("{CHROMIUM}{data}").replace("BUNDLE 0 1", "BUNDLE 0 1 2");
    let answer = accept(&mut World::new(), &offer).expect("accepted");
    let declined = section(&answer.sdp, "application");
    assert_eq!(declined[0], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
    for line in
        ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:sha-256 ", "a=setup:passive", "a=sctp-port:5000"]
    {
        assert!(declined.iter().any(|l| l.starts_with(line)), "{line} in {declined:#?}");
    }
    assert_eq!(group(&answer.sdp), Some(" 0 1"));
}

#[test]
fn the_bundles_first_section_may_be_stopped_later() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    let answer = w.reoffer(1, |b| {
        let mid = b.mids.remove(0).1;
        let mut api = b.rtc.sdp_api();
        api.stop_media(mid);
        let (offer, pending) = api.apply().expect("a change");
        // As Chromium has it: nothing is said in a section that is over.
        let offer = offer.to_sdp_string();
        let (head, rest) = offer.split_once("m=audio").expect("it has one");
        let (_, video) = rest.split_once("m=video").expect("it has one");
        let audio = format!("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=rtpmap:111 opus/48000/2\r\n");
        (format!("{head}{audio}m=video{video}"), pending)
    });
    assert_eq!(taken(&answer.streams), (Some(H264), None));
    assert!(sections(&answer.sdp)[0].starts_with("m=audio 0 "));
    assert!(section(&answer.sdp, "video").iter().any(|l| l.starts_with("a=candidate:")));
    assert!(flows(&mut w, false));
    assert!(w.closed(1).is_none());
}

#[test]
pub(super) fn a_transport_may_begin_anew_when_its_first_section_is_stopped() {
    // As Chromium does it: the same names and certificate, another port.
    for says_goodbye in [true, false] {
        let mut w = World::new();
        let certificate =
            crate::rtc::crypto::provider().dtls_provider.generate_certificate().expect("OpenSSL");
        let names = str0m::IceCreds { ufrag: "browser1".into(), pass: "0123456789abcdefghijkl".into() };
        let same = |c: str0m::RtcConfig| {
            c.enable_h264(true).set_dtls_cert(certificate.clone()).set_local_ice_credentials(names.clone())
        };
        w.browser(1, same);
        w.call(1, Direction::RecvOnly).expect("accepted");
        w.run(ms(2000));
        assert!(flows(&mut w, true));
        let mut old = w.browsers.remove(&1).expect("made");
        let video = old.mid(MediaKind::Video);
        w.browser_at(1, "198.51.100.1:5001".parse().expect("literal"), same);
        let offer = w.offer(1, &[MediaKind::Video], Direction::RecvOnly);
        let own = attribute(&offer, "a=mid:");
        let there = |sdp: &str| {
            sdp.replace(&format!("a=mid:{own}\r"), &format!("a=mid:{video}\r"))
                .replace(&format!("BUNDLE {own}"), &format!("BUNDLE {video}"))
        };
        let (head, section) = offer.split_once("m=video").expect("one");
        let stopped = "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n";
        let offer = there(&format!("{head}{stopped}m=video{section}"));
        let answer = w.fanout.accept(SessionId(1), &offer, w.now).expect("renegotiated");
        w.drain_camera();
        assert_eq!(taken(&answer.streams), (Some(H264), None));
        if says_goodbye {
            old.rtc.close().expect("open");
            w.browsers.insert(2, old);
            w.poke(2);
            w.browsers.get_mut(&2).expect("put in").gone = true;
        }
        let (head, rest) = answer.sdp.split_once("m=audio").expect("one");
        let (_, rest) = rest.split_once("m=video").expect("one");
        let back = format!("{head}m=video{rest}");
        w.take_answer(
            1,
            &back
                .replace(&format!("a=mid:{video}"), &format!("a=mid:{own}"))
                .replace(&format!("BUNDLE {video}"), &format!("BUNDLE {own}")),
        );
        w.run(ms(2500));
        assert!(w.closed(1).is_none(), "{:?}", w.closed(1));
        assert!(flows(&mut w, false), "with a goodbye: {says_goodbye}");
        let joined =
            w.events.iter().filter(|(_, e)| matches!(e, crate::rtc::Event::Connected { .. })).count();
        assert_eq!(joined, 1, "it is the same viewer");
        assert_eq!(w.fanout.totals().panics, 0, "an index sealed twice panics");
    }
}

#[test]
fn all_sections_may_be_stopped_and_the_call_goes_on() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    let over = "v=0\r\no=- 1 9 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
                m=audio 0 UDP/TLS/RTP/SAVPF 111\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\n";
    let answer = w.fanout.accept(SessionId(1), over, w.now).expect("answered");
    w.drain_camera();
    assert_eq!(taken(&answer.streams), (None, None));
    assert_eq!(sections(&answer.sdp).len(), 2);
    assert!(answer.sdp.lines().any(|l| l.starts_with("a=group:BUNDLE")) || !answer.sdp.contains("BUNDLE"));
    w.run(ms(3000));
    assert!(w.closed(1).is_none());
}

#[test]
fn a_decoder_of_main_or_high_is_answered_with_its_profile() {
    for (offered, answered) in
        [("4d001f", "4d001f"), ("64001f", "64001f"), ("640c28", "640c28"), ("f4001f", "f4001f")]
    {
        let mut offer = CHROMIUM.to_owned();
        for id in ["42001f", "42e01f", "4d001f", "f4001f"] {
            offer = offer.replace(id, offered);
        }
        let answer = accept(&mut World::new(), &offer).expect("accepted");
        assert_eq!(taken(&answer.streams).0, Some(H264), "{offered}");
        let video = section(&answer.sdp, "video");
        let fmtp = video.iter().find(|l| l.starts_with("a=fmtp:102 ")).expect("the first of them");
        assert!(fmtp.contains(&format!("profile-level-id={answered}")), "{fmtp}");
    }
    // Where there is a choice the nearest goes first; what needs more than we send is not taken for it.
    for (from, to, pt) in [("42e01f", "640c1f", "102 103"), ("42001f", "58001f", "108 109")] {
        let answer = accept(&mut World::new(), &CHROMIUM.replace(from, to)).expect("accepted");
        assert_eq!(sections(&answer.sdp)[1], format!("m=video 4000 UDP/TLS/RTP/SAVPF {pt}"));
    }
}

#[test]
fn main_alone_flows() {
    let mut w = World::new();
    w.browser(1, |mut c| {
        c.codec_config().add_h264(102.into(), Some(103.into()), true, 0x4d_001f);
        c
    });
    let answer = w.call(1, Direction::RecvOnly).expect("accepted");
    assert!(answer.sdp.contains("profile-level-id=4d001f"));
    assert!(flows(&mut w, true));
}

#[test]
fn many_sections_long_names_and_blank_lines_are_answered() {
    let more = |n: usize| -> String {
        (0..n).map(|i| format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:more{i}\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n")).collect()
    };
    let mids: String = (0..60).map(|i| format!(" more{i}")).collect();
    let many = format!("{CHROMIUM}{}", more(60)).replace("BUNDLE 0 1", &format!("BUNDLE 0 1{mids}"));
    let answer = accept(&mut World::new(), &many).expect("accepted");
    assert_eq!(sections(&answer.sdp).len(), 62);
    assert_eq!(taken(&answer.streams), (Some(H264), Some(OPUS)));
    // Those that there is no room for are declined, and no bundle names them.
    let declined = sections(&answer.sdp).iter().filter(|l| l.starts_with("m=audio 0 ")).count();
    assert_eq!(group(&answer.sdp).expect("one").split_whitespace().count(), 62 - declined);

    for front in ["\r\n", "\n\n", " \r\n"] {
        accept(&mut World::new(), &format!("{front}{CHROMIUM}")).expect("accepted");
    }
    let long = "{7d0a2f2b-0000-4a0e-8f43-0123456789ab}";
    for mid in ["a-0123456789abcdef-and-more", "with-dash", "with_line", "x.y+z/1"] {
        let mut w = World::new();
        w.browser(1, |c| c.enable_h264(true));
        let offer = w.offer(1, &[MediaKind::Video, MediaKind::Audio], Direction::RecvOnly);
        let own = w.browsers[&1].mids[0].1.to_string();
        let there = |sdp: &str| {
            sdp.replace(&format!("a=mid:{own}\r"), &format!("a=mid:{mid}\r"))
                .replace(&format!("BUNDLE {own}"), &format!("BUNDLE {mid}"))
        };
        let answer = w.fanout.accept(SessionId(1), &there(&offer), w.now).expect(mid);
        w.drain_camera();
        assert!(answer.sdp.contains(&format!("a=mid:{mid}\r\n")), "{}", answer.sdp);
        assert!(group(&answer.sdp).expect("one").starts_with(&format!(" {mid} ")));
        // A header extension of one byte holds 16.
        assert_eq!(section(&answer.sdp, "video").iter().any(|l| l.contains("sdes:mid")), mid.len() <= 16);
        assert!(section(&answer.sdp, "audio").iter().any(|l| l.contains("sdes:mid")));
        w.take_answer(1, &answer.sdp.replace(mid, &own));
        assert!(flows(&mut w, true), "{mid}");
    }
    let refusal = accept(&mut World::new(), &CHROMIUM.replace("a=mid:1", &format!("a=mid:{long}")))
        .expect_err("no token");
    assert!(refusal.to_string().contains("a=mid"), "{refusal}");
}

// ---- Sections that come again

/// The offer of the browser without the sections of these names, as if others had taken their places.
fn recycled(offer: &str, over: &[String]) -> String {
    let mut parts = offer.split("m=");
    let head = parts.next().expect("a head").to_owned();
    let gone = |part: &&str| !over.iter().any(|mid| part.contains(&format!("a=mid:{mid}\r\n")));
    head + &parts.filter(gone).map(|part| format!("m={part}")).collect::<String>()
}

#[test]
fn video_stopped_and_added_again_in_its_place_goes_on() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(2000));
    let mut over: Vec<String> = vec![];
    for round in 0..40 {
        // The transceiver is stopped. The browser keeps the old sections, which in its offers others replace.
        let mid = w.browsers[&1].mid(MediaKind::Video).to_string();
        let stop = |b: &mut Browser| {
            b.mids.retain(|(kind, _)| *kind == MediaKind::Audio);
            let mut api = b.rtc.sdp_api();
            api.stop_media(mid.as_str().into());
            let (offer, pending) = api.apply().expect("a change");
            (offer.to_sdp_string(), pending)
        };
        let answer = w.reoffer_as(1, stop, |offer| recycled(offer, &over));
        assert_eq!(taken(&answer.streams), (None, Some(OPUS)), "round {round}");
        over.push(mid);
        let add = |b: &mut Browser| {
            let mut api = b.rtc.sdp_api();
            b.mids.push((
                MediaKind::Video,
                api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None),
            ));
            let (offer, pending) = api.apply().expect("a change");
            (offer.to_sdp_string(), pending)
        };
        let answer = w.reoffer_as(1, add, |offer| recycled(offer, &over));
        assert_eq!(taken(&answer.streams), (Some(H264), Some(OPUS)), "round {round}");
        assert_eq!(sections(&answer.sdp).len(), 2, "round {round}");
        if round % 10 == 0 {
            assert!(flows(&mut w, true), "round {round}");
        }
    }
    assert!(flows(&mut w, true));
    assert!(w.closed(1).is_none());
    assert_eq!(w.fanout.totals().panics, 0, "an index sealed twice panics");
}

#[test]
fn a_section_may_change_its_kind_when_it_comes_again() {
    let mut w = World::new();
    accept(&mut w, CHROMIUM).expect("accepted");
    let (head, rest) = CHROMIUM.split_once("m=audio").expect("one");
    let (audio, video) = rest.split_once("m=video").expect("one");
    let stopped = format!("{head}m=audio{audio}m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n")
        .replace("BUNDLE 0 1", "BUNDLE 0");
    let answer = accept(&mut w, &stopped).expect("stopped");
    assert_eq!(taken(&answer.streams), (None, Some(OPUS)));
    let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n";
    let again = format!("{head}m=audio{audio}{data}m=video{video}")
        .replace("BUNDLE 0 1", "BUNDLE 0 2 3")
        .replace("a=mid:1", "a=mid:3");
    let answer = accept(&mut w, &again).expect("another in its place, and video behind");
    assert_eq!(taken(&answer.streams), (Some(H264), Some(OPUS)));
    assert!(sections(&answer.sdp)[1].starts_with("m=application 0 "));
    assert_eq!(group(&answer.sdp), Some(" 0 3"));
    // And under a name that was used before.
    accept(&mut w, &stopped).expect("stopped");
    let answer = accept(&mut w, CHROMIUM).expect("the old name");
    assert_eq!(taken(&answer.streams), (Some(H264), Some(OPUS)));
    assert!(section(&answer.sdp, "video").contains(&"a=mid:1"));
}

#[test]
fn a_section_that_was_paused_by_port_0_comes_back_with_less_said() {
    let mut w = World::new();
    accept(&mut w, CHROMIUM).expect("accepted");
    let (before, video) = CHROMIUM.split_once("m=video").expect("one");
    let rejected = format!(
        "{before}m=video 0 UDP/TLS/RTP/SAVPF 108\r\na=mid:1\r\na=inactive\r\na=rtpmap:108 H264/90000\r\n\
                            a=fmtp:108 profile-level-id=42e01f;packetization-mode=1\r\na=rtcp-fb:108 nack pli\r\n"
    );
    let answer = accept(&mut w, &rejected.replace("BUNDLE 0 1", "BUNDLE 0")).expect("paused");
    let declined = section(&answer.sdp, "video");
    for line in [
        "a=rtpmap:108 H264/90000",
        "a=fmtp:108 profile-level-id=42e01f;packetization-mode=1",
        "a=rtcp-fb:108 nack pli",
    ] {
        assert!(declined.contains(&line), "{line} in {declined:#?}");
    }
    let back = video.lines().filter(|l| !l.starts_with("a=fmtp:108"));
    let back: String = back.map(|l| format!("{l}\r\n")).collect();
    let answer = accept(&mut w, &format!("{before}m=video{back}")).expect("resumed");
    assert_eq!(taken(&answer.streams), (Some(H264), Some(OPUS)));
}

// ---- What we say

fn values<'a>(sdp: &'a str, name: &str) -> Vec<&'a str> {
    let mut found: Vec<&str> = sdp
        .lines()
        .filter_map(|l| l.strip_prefix("a=ssrc:")?.split_once(' ')?.1.strip_prefix(name))
        .collect();
    found.dedup();
    found
}

#[test]
fn a_description_says_what_the_rfcs_want_and_no_more() {
    let mut w = World::new();
    let answer = accept(&mut w, CHROMIUM).expect("accepted").sdp;
    let offer = w.fanout.offer(SessionId(77), w.now).expect("an offer").sdp;
    for (what, sdp) in [("answer", &answer), ("offer", &offer)] {
        // RFC 7022: one CNAME for what one endpoint sends.
        assert_eq!(values(sdp, "cname:").len(), 1, "{what}: {sdp}");
        assert!(sections(sdp).iter().all(|l| l.split(' ').nth(1) == Some("4000")), "{what}: {sdp}");
        assert_eq!(sdp.matches("c=IN IP4 192.0.2.1\r\n").count(), 2, "{what}");
        assert_eq!(sdp.matches("a=end-of-candidates\r\n").count(), 1, "{what}");
        assert_eq!(sdp.matches("a=rtcp-rsize\r\n").count(), 2, "{what}");
        assert!(!sdp.contains("127.0.0.1 4000"), "{what}");
    }
    assert!(!offer.contains("extmap-allow-mixed"));
    assert!(answer.contains("a=extmap-allow-mixed\r\n") && answer.contains("a=rtcp-fb:108 ccm fir\r\n"));
    // What wasn't offered isn't answered.
    let plain = without(CHROMIUM, &["a=extmap-allow-mixed", "a=rtcp-rsize"]).replace(" ccm fir", " x");
    let answer = accept(&mut World::new(), &plain).expect("accepted").sdp;
    for what in ["extmap-allow-mixed", "rtcp-rsize", "ccm fir"] {
        assert!(!answer.contains(what), "{what}");
    }
}

#[test]
fn a_silent_section_names_no_stream() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(1500));
    let answer = w.reoffer(1, |b| {
        let mid = b.mid(MediaKind::Video);
        let mut api = b.rtc.sdp_api();
        api.set_direction(mid, Direction::Inactive);
        let (offer, pending) = api.apply().expect("a change");
        (offer.to_sdp_string(), pending)
    });
    let video = section(&answer.sdp, "video");
    assert!(video.contains(&"a=inactive"));
    assert!(!video.iter().any(|l| l.starts_with("a=ssrc") || l.starts_with("a=msid")), "{video:#?}");
}

#[test]
fn the_origins_version_grows_with_each_description() {
    let origin = |sdp: &str| {
        let words: Vec<String> = attribute(sdp, "o=- ").split(' ').map(str::to_owned).collect();
        (words[0].clone(), words[1].parse::<u64>().expect("a number"))
    };
    let mut w = World::new();
    let (id, mut version) = origin(&accept(&mut w, CHROMIUM).expect("accepted").sdp);
    for _ in 0..3 {
        let (again, next) = origin(&accept(&mut w, CHROMIUM).expect("accepted").sdp);
        assert_eq!((again, next), (id.clone(), version + 1));
        version = next;
    }
}

#[test]
fn the_level_covers_what_is_sent_where_each_side_has_its_own() {
    let world = || {
        let mut w = World::new();
        let format = VideoFormat { width: 1920, height: 1080, fps: 30, ..VideoFormat::default() };
        w.fanout.set_streams(&[stream(H264, Codec::H264).with_format(Format::Video(format))]);
        w
    };
    let answer = accept(&mut world(), CHROMIUM).expect("accepted");
    assert!(answer.sdp.contains("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e028"));
    let higher = CHROMIUM.replace("42e01f", "42e034");
    let answer = accept(&mut world(), &higher).expect("accepted");
    assert!(answer.sdp.contains("profile-level-id=42e034"));
    let one = CHROMIUM.replace("level-asymmetry-allowed=1;", "");
    let answer = accept(&mut world(), &one).expect("accepted");
    assert!(answer.sdp.contains("profile-level-id=42e01f") && !answer.sdp.contains("asymmetry"));
    let mut w = world();
    let offer = w.fanout.offer(SessionId(1), w.now).expect("an offer");
    assert!(offer.sdp.contains("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e028"));
    assert_eq!(w.fanout.stats(SessionId(1)).expect("lives").profile_level_id, None);
}

#[test]
fn an_ice_restart_takes_its_password_from_the_systems_random() {
    let mut w = World::new();
    let first = w.viewer(1);
    w.run(ms(2000));
    let restart = |w: &mut World| {
        w.reoffer(1, |b| {
            let mut api = b.rtc.sdp_api();
            api.ice_restart(true);
            let (offer, pending) = api.apply().expect("a change");
            (offer.to_sdp_string(), pending)
        })
    };
    let mut seen = vec![first];
    for _ in 0..3 {
        seen.push(restart(&mut w));
        assert!(flows(&mut w, true));
    }
    for (i, answer) in seen.iter().enumerate() {
        let (name, password) = (attribute(&answer.sdp, "a=ice-ufrag:"), attribute(&answer.sdp, "a=ice-pwd:"));
        // str0m's own have 16 and 22 characters.
        assert_eq!((name.len(), password.len()), (8, 24), "{i}");
        assert!(seen[..i].iter().all(|other| !other.sdp.contains(&name) && !other.sdp.contains(&password)));
    }
    assert!(w.closed(1).is_none());
}
