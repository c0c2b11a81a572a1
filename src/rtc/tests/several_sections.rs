//! Descriptions with several sections of a kind: each keeps its format, and one of them what we send in it.

use super::description::accept;
use super::world::*;
use crate::rtc::Refusal;

const H264: &str = "a=rtpmap:PT H264/90000\r\n\
     a=fmtp:PT level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";
/// Without parameters, which say that it is a mode that we have.
const BARE: &str = "a=rtpmap:PT H264/90000\r\n";
const VP8: &str = "a=rtpmap:PT VP8/90000\r\n";
const RTX: &str = "a=rtpmap:PT rtx/90000\r\na=fmtp:PT apt=APT\r\n";

/// A video section: its name, its direction, and its formats.
struct Video<'a>(&'a str, &'a str, &'a [(u8, &'a str)]);

fn offer(sections: &[Video<'_>]) -> String {
    let mids: String = sections.iter().map(|Video(mid, ..)| format!(" {mid}")).collect();
    let mut sdp = format!("v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{mids}\r\n");
    for Video(mid, direction, formats) in sections {
        let numbers: String = formats.iter().map(|(pt, _)| format!(" {pt}")).collect();
        let formats = formats.iter().map(|(pt, format)| {
            let format = format.replace("APT", &(pt - 1).to_string());
            format.replace("PT", &pt.to_string())
        });
        sdp += &format!(
            "m=video 9 UDP/TLS/RTP/SAVPF{numbers}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:0123456789abcdefghijkl\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=mid:{mid}\r\n\
             a={direction}\r\na=rtcp-mux\r\n{}",
            ["AB"; 32].join(":"),
            formats.collect::<String>(),
        );
    }
    sdp
}

/// What an answer says of its sections: payload types, direction and SSRCs.
fn said(answer: &str) -> Vec<&str> {
    let is_said = |line: &&str| {
        let all = ["m=", "a=mid:", "a=rtpmap:", "a=fmtp:", "a=sendonly", "a=inactive", "a=ssrc:"];
        all.iter().any(|start| line.starts_with(start))
    };
    answer.lines().filter(is_said).collect()
}

/// The payload types of each section.
fn formats(answer: &str) -> Vec<&str> {
    answer.lines().filter_map(|line| line.strip_prefix("m=video 4000 UDP/TLS/RTP/SAVPF ")).collect()
}

/// The names of the sections in which we send.
fn sending(answer: &str) -> Vec<&str> {
    let section = |of: &&str| of.starts_with("video") && of.contains("\r\na=sendonly\r\n");
    answer
        .split("m=")
        .filter(section)
        .filter_map(|of| of.lines().find_map(|line| line.strip_prefix("a=mid:")))
        .collect()
}

#[test]
fn the_same_offer_made_again_changes_nothing() {
    let (one, other) = ([(96, H264), (97, RTX)], [(100, H264)]);
    let both = [&one[..], &other].concat();
    let first = || Video("a", "recvonly", &one);
    type Case<'a> = (&'a str, &'a [&'a [Video<'a>]], &'a [&'a str]);
    let table: [Case<'_>; 8] = [
        (
            "one that leaves out what its format is",
            &[&[Video("a", "recvonly", &[(100, BARE)]), Video("b", "recvonly", &other)]],
            &["100", "100"],
        ),
        (
            "as listed by both",
            &[&[Video("a", "recvonly", &both), Video("b", "recvonly", &other)]],
            &["96 97", "100"],
        ),
        ("without retransmissions", &[&[first(), Video("b", "recvonly", &one[..1])]], &["96 97", "96"]),
        (
            "inactive ones",
            &[&[
                Video("a", "inactive", &both),
                Video("b", "inactive", &other),
                Video("c", "recvonly", &other),
            ]],
            &["96 97", "100", "100"],
        ),
        ("a new one in front", &[&[first()], &[Video("b", "recvonly", &other), first()]], &["100", "96 97"]),
        (
            "the first one wants something later",
            &[
                &[Video("a", "sendonly", &one), Video("b", "recvonly", &other)],
                &[Video("a", "recvonly", &one), Video("b", "recvonly", &other)],
            ],
            &["96 97", "100"],
        ),
        ("another codec in its place", &[&[first()], &[Video("a", "recvonly", &[(98, VP8)])]], &["98"]),
        (
            "another codec in a new place",
            &[
                &[first()],
                &[Video("b", "recvonly", &[(98, VP8)]), Video("c", "recvonly", &[(99, VP8), (98, VP8)])],
            ],
            &["98", "98"],
        ),
    ];
    for (name, offers, expected) in table {
        let mut w = World::new();
        let mut answers = offers.iter().map(|sections| {
            let offer = offer(sections);
            (accept(&mut w, &offer).expect("accepted"), offer)
        });
        let (first, last) = answers.by_ref().last().expect("one at least");
        assert_eq!(formats(&first.sdp), expected, "{name}: {}", first.sdp);
        for _ in 0..3 {
            let again = accept(&mut w, &last).expect("accepted before");
            assert_eq!(said(&again.sdp), said(&first.sdp), "{name}");
            assert_eq!(again.streams, first.streams, "{name}");
        }
    }
}

#[test]
fn what_is_sent_stays_in_its_section() {
    let mut w = World::new();
    let mut sends_in = |sections: &[Video<'_>]| {
        let answer = accept(&mut w, &offer(sections)).expect("accepted").sdp;
        sending(&answer).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let [a, b, c] =
        ["a", "b", "c"].map(|mid| move |direction| Video(mid, direction, &[(96, H264), (97, RTX)]));
    assert_eq!(sends_in(&[a("recvonly")]), ["a"]);
    assert_eq!(sends_in(&[b("recvonly"), a("recvonly")]), ["a"]);
    // It is held, and another one takes over.
    assert_eq!(sends_in(&[b("recvonly"), a("inactive"), c("recvonly")]), ["b"]);
    assert_eq!(sends_in(&[a("recvonly"), c("recvonly"), b("recvonly")]), ["b"]);
    assert_eq!(sends_in(&[a("recvonly"), c("recvonly")]), ["a"]);
}

#[test]
fn a_payload_type_has_one_meaning_in_all_sections() {
    for (second, refused) in [
        // Declined, because of its codec.
        (&[(96, VP8)][..], false),
        (&[(100, H264), (101, RTX)], false),
        // Its retransmissions are the other section's video.
        (&[(97, H264)], true),
        (&[(96, H264)], false),
    ] {
        let mut w = World::new();
        let sections = [Video("a", "recvonly", &[(96, H264), (97, RTX)]), Video("b", "recvonly", second)];
        let got = accept(&mut w, &offer(&sections));
        let is_refused = matches!(got, Err(Refusal::BadSdp { .. }));
        assert_eq!(is_refused, refused, "{second:?}: {got:?}");
    }
}
