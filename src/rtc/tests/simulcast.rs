//! A browser that offers several encodings of its video at once.

use str0m::media::{MediaKind, MediaTime, Rid};

use super::description::CHROMIUM;
use super::pair::{CALL, directions};
use super::world::{World, ms, picture};
use crate::media::{Codec, Kind, VIDEO_VP8_LAYERS};
use crate::rtc::{Answer, Directions, Event};

const NAMES: [&str; 3] = ["h", "m", "l"];

fn taken() -> Directions {
    Directions { simulcast: true, ..directions(&[], &[Kind::Video]) }
}

/// A browser calls, and sends all that is taken of what it offers.
fn call(names: &[&str], directions: Directions) -> (World, Answer) {
    let mut world = World::new();
    world.fanout.set_streams(&[]);
    world.fanout.set_directions(CALL, directions);
    world.browser(1, |c| c.enable_vp8(true).enable_raw_packets(true));
    let offer = world.offer_layers(1, names);
    let answer = world.fanout.accept(CALL, &offer, world.now).expect("accepted");
    world.drain_camera();
    world.take_answer(1, &answer.sdp);
    world.run(ms(1000));
    assert!(world.browsers[&1].connected);
    (world, answer)
}

fn write(world: &mut World, name: &str, n: u64, data: &[u8]) {
    let now = world.now;
    let browser = world.browsers.get_mut(&1).expect("made");
    let mid = browser.mid(MediaKind::Video);
    let writer = browser.rtc.writer(mid).expect("media").rid(Rid::from(name));
    let pt = writer.payload_params().next().expect("a codec").pt();
    writer.write(pt, now, MediaTime::from_micros(n * 33_000), data.to_vec()).expect("it sends");
    browser.rtc.handle_input(str0m::Input::Timeout(now)).expect("time");
    world.poke(1);
}

#[test]
fn each_encoding_of_a_browser_is_received_as_a_stream() {
    let (mut world, answer) = call(&NAMES, taken());
    for line in ["a=rid:h recv", "a=rid:m recv", "a=rid:l recv", "a=simulcast:recv h;m;l", "a=recvonly"] {
        assert!(answer.sdp.lines().any(|one| one == line), "{line}: {}", answer.sdp);
    }
    let mut sent: Vec<Vec<Vec<u8>>> = vec![vec![]; 3];
    for n in 0..90 {
        for (at, name) in NAMES.into_iter().enumerate() {
            let data = picture(Codec::Vp8, n % 30 == 0, n * 3 + at as u64, 4000 >> at);
            write(&mut world, name, n, &data);
            sent[at].push(data);
        }
        world.run(ms(33));
    }
    world.run(ms(500));
    for (stream, sent) in VIDEO_VP8_LAYERS.into_iter().zip(&sent) {
        let of = |event: &Event| match event {
            Event::Frame { frame, .. } if frame.stream == stream => Some(frame.data.to_vec()),
            _ => None,
        };
        let received: Vec<Vec<u8>> = world.events.iter().filter_map(|(_, event)| of(event)).collect();
        assert_eq!(&received, sent, "{stream:?}");
    }
    let stats = world.fanout.stats(CALL).expect("it goes on").received;
    assert_eq!((stats.frames, stats.lost, stats.dropped), (270, 0, 0));
}

#[test]
fn one_encoding_is_asked_for_where_no_more_are_taken() {
    let (_, answer) = call(&NAMES, directions(&[], &[Kind::Video]));
    assert!(!answer.sdp.contains("a=simulcast") && !answer.sdp.contains("a=rid"), "{}", answer.sdp);
    assert!(!answer.sdp.contains("rtp-stream-id"), "{}", answer.sdp);
}

#[test]
fn of_what_descriptions_claim_only_what_can_be_told_apart_is_taken() {
    let rids = "a=rid:h send\r\na=rid:m send pt=96,97;max-width=640\r\na=rid:l send\r\na=rid:x recv\r\n";
    // What the section says more, and what is taken of it.
    let table = [
        (format!("{rids}a=simulcast:send h;m;l\r\n"), Some("h;l")),
        (format!("{rids}a=simulcast:recv x send l,m;~h\r\n"), Some("l;h")),
        (format!("{rids}a=simulcast:send h;h;l;x;nobody\r\n"), Some("h;l")),
        (format!("{rids}a=simulcast:send h\r\n"), None),
        (format!("{rids}a=simulcast:send\r\n"), None),
        (rids.to_owned(), None),
        ("a=simulcast:send h;m;l\r\n".to_owned(), None),
        (
            "a=rid:1 send\r\na=rid:2 send\r\na=rid:3 send\r\na=rid:4 send\r\na=simulcast:send 1;2;3;4\r\n"
                .into(),
            Some("1;2;3"),
        ),
        (format!("{}a=simulcast:send h;l\r\n", rids.replace("a=rid:l send", "a=rid:l send pt=120")), None),
    ];
    for (lines, expected) in table {
        let mut world = World::new();
        world.fanout.set_directions(CALL, Directions { simulcast: true, ..directions(&[], &[Kind::Video]) });
        let offer = CHROMIUM.replace("a=recvonly", "a=sendonly") + &lines;
        let answer = world.fanout.accept(CALL, &offer, world.now).expect(&lines);
        let found = answer.sdp.lines().find_map(|line| line.strip_prefix("a=simulcast:recv "));
        assert_eq!(found, expected, "{lines}");
        let named = answer.sdp.matches("sdes:rtp-stream-id").count();
        assert_eq!(named, usize::from(expected.is_some()), "{lines}");
    }
}
