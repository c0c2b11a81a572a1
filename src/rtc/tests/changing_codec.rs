//! A stream whose codec changes: viewers that support both codecs follow it without another description.

use str0m::format::Codec as Theirs;
use str0m::media::Direction;

use super::world::*;
use crate::media::{Codec, StreamInfo};
use crate::rtc::SessionId;

/// One video stream in both codecs, and audio.
fn in_both() -> Vec<StreamInfo> {
    vec![stream(H264, Codec::H264), stream(H264, Codec::Vp8), stream(OPUS, Codec::Opus)]
}

/// A camera with such a stream.
fn camera() -> World {
    let mut w = World::new();
    w.streams = vec![H264, OPUS];
    w.fanout.set_streams(&in_both());
    w
}

/// When a viewer got frames of a codec.
fn times(w: &World, id: u64, codec: Theirs) -> Vec<std::time::Duration> {
    w.browsers[&id].frames(codec).iter().map(|m| m.network_time - w.start).collect()
}

/// Whether everything that a viewer got can be decoded: each frame follows another one of its codec, or is a key frame.
fn decodes(w: &World, id: u64) -> bool {
    let mut last = None;
    let video = w.browsers[&id].media.iter().filter(|m| m.params.spec().codec != Theirs::Opus);
    video.map(|m| (m.params.spec().codec, &m.data)).all(|(codec, data)| {
        let number = w.fed[&H264].iter().position(|fed| **fed == **data);
        let key = if codec == Theirs::Vp8 { data[0] & 1 == 0 } else { data[4] & 0x1f == 7 };
        let before = last.replace(number);
        number.is_some_and(|number| key || before == Some(number.checked_sub(1)))
    })
}

#[test]
fn a_viewer_of_both_codecs_follows_the_stream_from_one_to_the_other() {
    for by_the_camera in [false, true] {
        let mut w = camera();
        w.browser(1, |c| c.enable_vp8(true).enable_h264(true));
        if by_the_camera {
            let answer = w.call_browser(1);
            w.fanout.answer(SessionId(1), &answer, w.now).expect("a good answer");
            w.drain_camera();
        } else {
            let answer = w.call(1, Direction::RecvOnly).expect("accepted");
            assert!(answer.sdp.contains("H264/90000") && answer.sdp.contains("VP8/90000"), "{}", answer.sdp);
        }
        assert_eq!(w.fanout.stats(SessionId(1)).expect("lives").video_codecs.len(), 2);
        w.run(ms(2000));
        for (is_vp8, codec, other) in [(true, Theirs::Vp8, Theirs::H264), (false, Theirs::H264, Theirs::Vp8)]
        {
            let before = times(&w, 1, other).len();
            assert!(before > 30, "{before} frames of {other:?}");
            let changed = w.now - w.start;
            w.is_vp8 = is_vp8;
            // Some packets are lost, and repeated in the right format.
            w.lose = |number| number % 25 == 3;
            w.run(ms(2000));
            w.lose = |_| false;
            let got: Vec<_> = times(&w, 1, codec).into_iter().filter(|at| *at >= changed).collect();
            assert!(got.len() > 40, "{} frames of {codec:?}", got.len());
            assert!(got[0] - changed < ms(400), "{:?} later", got[0] - changed);
            assert!(times(&w, 1, other).len() <= before + 2, "nothing more of the other");
        }
        assert!(decodes(&w, 1));
        let stats = w.fanout.stats(SessionId(1)).expect("lives");
        assert!(stats.retransmissions > 0, "{stats:?}");
    }
}

#[test]
fn a_viewer_of_one_codec_gets_that_one_alone() {
    let mut w = camera();
    w.browser(1, |c| c.enable_h264(true));
    w.call(1, Direction::RecvOnly).expect("accepted");
    w.browser(2, |c| c.enable_vp8(true));
    w.call(2, Direction::RecvOnly).expect("accepted");
    let codecs = |w: &World, id| w.fanout.stats(SessionId(id)).expect("lives").video_codecs;
    assert_eq!((codecs(&w, 1), codecs(&w, 2)), (vec![Codec::H264], vec![Codec::Vp8]));
    w.run(ms(1000));
    w.is_vp8 = true;
    w.run(ms(2000));
    let count = |id, codec| times(&w, id, codec).len();
    assert!((10..35).contains(&count(1, Theirs::H264)) && count(1, Theirs::Vp8) == 0);
    assert!(count(2, Theirs::Vp8) > 40 && count(2, Theirs::H264) == 0);
}

#[test]
fn streams_of_their_own_need_a_description_each() {
    // A camera with an encoder for each codec sends the one that was agreed on.
    let mut w = World::new();
    w.browser(1, |c| c.enable_vp8(true).enable_h264(true));
    let answer = w.call(1, Direction::RecvOnly).expect("accepted");
    assert!(!answer.sdp.contains("VP8"));
    assert_eq!(w.fanout.stats(SessionId(1)).expect("lives").video_codecs, [Codec::H264]);
}
