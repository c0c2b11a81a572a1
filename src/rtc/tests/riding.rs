//! Audio of viewers that only receive, on its way with the frames of video.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use str0m::format::Codec as Theirs;
use str0m::media::Direction;
use str0m::rtp::RawPacket;
use str0m::rtp::rtcp::Rtcp;

use super::world::*;
use crate::media::Codec;
use crate::rtc::crypto::keys::{Keys, Profile};
use crate::rtc::send::clock::Timestamp;
use crate::rtc::send::cut::Payloads;
use crate::rtc::send::estimate::Limits;
use crate::rtc::send::ntp::Wall;
use crate::rtc::send::sender::Sender;
use crate::rtc::send::sender::tests::{AUDIO, AUDIO_PT, VIDEO, VIDEO_PT, connected};
use crate::rtc::send::track::Cut;
use crate::rtc::{Config, SessionId};

/// The header with a transport-wide number, and the tag.
const AROUND: usize = 20 + 16;

fn pt(datagram: &[u8]) -> Option<u8> {
    // Neither STUN, DTLS nor RTCP (RFC 7983, 7; RFC 5761, 4).
    let pt = datagram.get(1)? & 0x7f;
    (datagram[0] >= 128 && !(64..96).contains(&pt)).then_some(pt)
}

fn is_padded(datagram: &[u8]) -> bool {
    datagram[0] & 0x20 != 0
}

/// A frame of video whose packets are of these sizes, and the last shorter by some bytes.
fn video(sizes: &[usize], short: usize) -> Cut {
    let mut payloads: Payloads = sizes.iter().map(|size| vec![1; *size].into()).collect();
    if let Some(last) = payloads.last_mut() {
        *last = last[short..].into();
    }
    cut(Codec::H264, payloads)
}

fn audio(size: usize) -> Cut {
    cut(Codec::Opus, vec![vec![2; size].into()])
}

fn cut(codec: Codec, payloads: Payloads) -> Cut {
    static TICKS: AtomicU64 = AtomicU64::new(0);
    let ticks = TICKS.fetch_add(960, Ordering::Relaxed) as u32;
    let timestamp = Timestamp { ticks, wallclock: Instant::now() };
    Cut { codec, key: true, payloads: Arc::new(payloads), timestamp, encoding: None }
}

/// What is sent to one viewer.
struct Link {
    sender: Sender,
    wall: Wall,
    now: Instant,
    /// Those of the viewer.
    #[cfg(feature = "recv")]
    keys: Keys,
}

impl Link {
    /// `rate` is what it is estimated to carry, in bit/s.
    fn new(rate: u32) -> Link {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let profile = Profile::Aes128Gcm;
        // Each has other keys.
        let material: Vec<u8> =
            b"ride".iter().copied().chain(run.to_be_bytes()).cycle().take(profile.material_len()).collect();
        let now = Instant::now();
        let limits = Limits { initial: rate, min: 30_000, max: 50_000_000 };
        let sender = connected(limits, &Keys::new(profile, material.clone(), true), now);
        Link {
            sender,
            wall: Wall::new(None, now),
            now,
            #[cfg(feature = "recv")]
            keys: Keys::new(profile, material, false),
        }
    }

    fn push(&mut self, cut: &Cut) {
        let stream = if cut.codec == Codec::Opus { AUDIO } else { VIDEO };
        let pushed = self.sender.handle_frame(stream, cut, self.now).expect("it is sent");
        assert_eq!(pushed.skipped, None);
    }

    /// The datagrams of the next call.
    fn poll(&mut self) -> Option<Vec<Vec<u8>>> {
        if !self.sender.has_packets(self.now) {
            return None;
        }
        let (segment, data) = self.sender.poll_packets(&self.wall, self.now)?;
        let datagrams: Vec<Vec<u8>> =
            data.chunks(segment.unwrap_or(data.len())).map(<[u8]>::to_vec).collect();
        let (last, others) = datagrams.split_last().expect("no empty call");
        assert!(others.iter().all(|other| other.len() == others[0].len() && last.len() <= other.len()));
        Some(datagrams)
    }

    /// Sends frames together: of each call, the payload types and sizes of payloads with padding.
    fn send(&mut self, cuts: &[Cut]) -> Vec<Vec<(u8, usize, bool)>> {
        cuts.iter().for_each(|cut| self.push(cut));
        let each = |d: &Vec<u8>| (pt(d).expect("RTP"), d.len() - AROUND, is_padded(d));
        std::iter::from_fn(|| self.poll()).map(|call| call.iter().map(each).collect()).collect()
    }
}

#[test]
fn audio_is_the_last_packet_of_a_frames_call() {
    let mut link = Link::new(10_000_000);
    let v = (VIDEO_PT, 1000, false);
    let padded = (VIDEO_PT, 1000, true);
    let a = |size| (AUDIO_PT, size, false);
    // Whichever comes first.
    assert_eq!(link.send(&[video(&[1000; 3], 0), audio(400)]), [[v, v, v, a(400)]]);
    assert_eq!(link.send(&[audio(400), video(&[1000; 3], 2)]), [[v, v, padded, a(400)]]);
    assert_eq!(link.send(&[audio(400), video(&[1000], 0)]), [[v, a(400)]]);
    // Nothing is padded for nobody.
    assert_eq!(link.send(&[video(&[1000; 3], 2)]), [[v, v, (VIDEO_PT, 998, false)]]);
    // It is longer than the packets of video: then it leaves before them.
    assert_eq!(link.send(&[audio(1050), video(&[1000; 3], 0)]), [vec![a(1050), v], vec![v, v]]);
    // More padding than a unit that is cut evenly needs, and other sizes: they leave in calls of their own.
    assert_eq!(
        link.send(&[audio(400), video(&[1000; 2], 100)]),
        [vec![v, a(400)], vec![(VIDEO_PT, 900, false)]]
    );
    assert_eq!(
        link.send(&[audio(400), video(&[1000, 1000, 1100, 1100], 0)]),
        [vec![v, v, a(400)], vec![(VIDEO_PT, 1100, false); 2]]
    );
}

#[test]
fn audio_leaves_with_the_first_call_of_a_large_frame() {
    let mut link = Link::new(50_000_000);
    let calls = link.send(&[video(&[1000; 150], 0), audio(400)]);
    assert_eq!(calls[0].last().map(|last| last.0), Some(AUDIO_PT));
    assert!(calls[0].len() > 50 && calls.len() >= 3, "{:?}", calls.iter().map(Vec::len).collect::<Vec<_>>());
    assert_eq!(calls.iter().map(Vec::len).sum::<usize>(), 151);
}

#[test]
fn audio_does_not_wait_for_video_that_is_paced() {
    let mut link = Link::new(1_000_000);
    link.push(&video(&[1000; 100], 0));
    // A first burst of 70 ms at 2.5 Mbit/s.
    assert!((20..25).contains(&link.poll().expect("a burst").len()));
    assert_eq!(link.send(&[audio(400)]), [[(AUDIO_PT, 400, false)]]);
    link.now += ms(100);
    let calls = link.send(&[audio(400)]);
    assert!(calls[0].len() > 5 && calls[0].last() == Some(&(AUDIO_PT, 400, false)), "{calls:?}");
}

/// Video and audio that both come with the time, and a viewer.
struct Show {
    w: World,
    /// The packets that the encoder of audio made: when, and what.
    heard: Vec<(Duration, Vec<u8>)>,
}

impl Show {
    fn new(config: Config) -> Show {
        let mut w = World::with(config);
        w.streams = vec![H264];
        // Three packets of 1001 bytes, and one of 998.
        w.frame_size = 4001;
        w.browser(1, |c| c.enable_h264(true).enable_raw_packets(true));
        w.call(1, Direction::RecvOnly).expect("accepted");
        w.run(ms(1003));
        w.browsers.get_mut(&1).expect("made").raw.clear();
        Show { w, heard: vec![] }
    }

    fn run(&mut self, packets: u64) {
        for _ in 0..packets {
            let (w, count) = (&mut self.w, self.heard.len() as u64);
            // CELT, 20 ms, one frame.
            let mut data = picture(Codec::Opus, true, 1000 + count, 0);
            data[0] = 31 << 3;
            self.heard.push((w.now - w.start, data.clone()));
            w.hear_packet(data);
        }
    }

    /// The payload type of the video.
    fn video(&self) -> u8 {
        *self.w.browsers[&1].frames(Theirs::H264).first().expect("frames came").params.pt()
    }

    /// The datagrams of video from this call on that have padding.
    fn padded(&self, from: usize) -> Vec<&[u8]> {
        let sent = self.w.sent[from..].iter().flat_map(|t| t.datagrams());
        sent.filter(|d| pt(d) == Some(self.video()) && is_padded(d)).collect()
    }

    /// The calls from this one on that audio left with: when, and how many datagrams each has.
    fn calls(&self, from: usize) -> Vec<(Duration, usize)> {
        let all = self.w.sent.iter().zip(&self.w.sent_at).skip(from);
        let with_audio = all.filter(|(t, _)| t.datagrams().any(|d| pt(d) == Some(AUDIO_PT)));
        with_audio
            .map(|(t, at)| {
                let all: Vec<&[u8]> = t.datagrams().collect();
                let (last, others) = all.split_last().expect("some");
                // What is left of a paced frame may be shorter than the audio, which then comes first.
                let (audio, others) = match pt(last) {
                    Some(AUDIO_PT) => (last, others),
                    _ => all.split_first().expect("some"),
                };
                assert_eq!(
                    pt(audio),
                    Some(AUDIO_PT),
                    "the last one, or the first before one that is shorter"
                );
                assert!(audio == last || last.len() < audio.len(), "{} {}", last.len(), audio.len());
                assert!(others.iter().all(|d| pt(d).is_some_and(|pt| pt != AUDIO_PT)), "the only one");
                (*at, all.len())
            })
            .collect()
    }

    /// How much later than its first frame was complete each packet came, and the number of its frames. All that came are
    /// those of the encoder, in order.
    fn packets(&self) -> Vec<(Duration, usize)> {
        let mut at = 0;
        let came = self.w.browsers[&1].frames(Theirs::Opus);
        let packets = came.iter().map(|packet| {
            let frames = frames(&packet.data);
            let heard = |frame: &[u8]| self.heard[at..].iter().position(|(_, data)| data[1..] == *frame);
            at += heard(&frames[0]).expect("one of ours");
            let first = self.heard[at].0;
            assert_eq!(packet.time.numer(), (first - self.heard[0].0).as_millis() as u64 * 48 + zero(&came));
            for frame in &frames {
                assert_eq!(self.heard[at].1[1..], **frame, "the next one");
                at += 1;
            }
            ((packet.network_time - self.w.start) - first, frames.len())
        });
        packets.collect()
    }
}

/// The RTP time of the first packet, which begins with the first frame.
fn zero(came: &[&str0m::media::MediaData]) -> u64 {
    came[0].time.numer()
}

/// The frames of a packet, all shorter than 252 bytes (RFC 6716, 3.2.5).
fn frames(packet: &[u8]) -> Vec<Vec<u8>> {
    if packet[0] & 3 == 0 {
        return vec![packet[1..].to_vec()];
    }
    assert_eq!((packet[0] & 3, packet[1] & 0xc0), (3, 0x80));
    let count = usize::from(packet[1] & 63);
    let (sizes, mut rest) = packet[2..].split_at(count - 1);
    let mut out = vec![];
    for size in sizes {
        let (frame, behind) = rest.split_at(usize::from(*size));
        out.push(frame.to_vec());
        rest = behind;
    }
    out.push(rest.to_vec());
    out
}

#[test]
pub(super) fn a_watchers_audio_needs_no_call_of_its_own() {
    let mut show = Show::new(Config::default());
    let (from, fed) = (show.w.sent.len(), show.w.fed[&H264].len());
    show.run(300);
    let calls = show.calls(from);
    assert!((80..=100).contains(&calls.len()), "{} in six seconds", calls.len());
    let alone = calls.iter().filter(|(_, datagrams)| *datagrams < 5).count();
    assert!(alone <= 2, "{calls:?}");
    // 10 ms on the way; 20 until each frame is complete are the encoder's.
    let packets = show.packets();
    assert!(packets.iter().all(|(late, frames)| *late <= ms(100) && (3..=4).contains(frames)), "{packets:?}");
    assert!(packets.iter().map(|(_, frames)| frames).sum::<usize>() >= 296);
    // Padding is no part of the video.
    let w = &show.w;
    let padded = show.padded(from);
    assert!(
        padded.len() >= calls.len() - alone && padded.iter().all(|d| d[1] & 0x80 != 0),
        "{}",
        padded.len()
    );
    let got = w.browsers[&1].frames(Theirs::H264);
    assert!(got.len() > 175);
    let all = &w.fed[&H264];
    let start = all.iter().position(|f| **f == *got[0].data).expect("one of ours");
    assert!(start < fed && got.iter().zip(&all[start..]).all(|(got, fed)| *got.data == **fed));
}

#[test]
fn a_report_counts_no_padding() {
    let mut show = Show::new(Config::default());
    show.run(300);
    let (mut octets, mut last, mut padded, mut seen) = (0_u32, None, 0, 0);
    let mut ssrc = None;
    for (_, packet) in &show.w.browsers[&1].raw {
        match packet {
            RawPacket::RtpRx(header, payload) if *header.payload_type == show.video() => {
                ssrc = Some(header.ssrc);
                octets += payload.len() as u32;
                padded += u32::from(header.has_padding);
            }
            RawPacket::RtcpRx(Rtcp::SenderReport(sr)) if ssrc == Some(sr.sender_info.ssrc) => {
                let counted = sr.sender_info.sender_octet_count;
                if let Some((before, came)) = last.replace((counted, octets)) {
                    assert_eq!(counted - before, octets - came);
                    seen += 1;
                }
            }
            _ => {}
        }
    }
    assert!(padded > 50 && seen >= 4, "{padded} {seen}");
}

#[test]
pub(super) fn packets_with_padding_are_repeated_without() {
    let mut show = Show::new(Config::default());
    show.w.lose = |n| n % 23 == 0;
    let from = show.w.sent.len();
    show.run(300);
    show.w.lose = |_| false;
    show.run(50);
    let w = &show.w;
    let stats = w.fanout.stats(SessionId(1)).expect("lives");
    assert!(stats.retransmissions > 20 && w.fanout.totals().panics == 0, "{stats:?}");
    assert!(show.padded(from).len() > 50);
    let got = w.browsers[&1].frames(Theirs::H264);
    let all = &w.fed[&H264];
    let start = all.iter().position(|f| **f == *got[0].data).expect("one of ours");
    assert!(got.len() > 200 && got.iter().zip(&all[start..]).all(|(got, fed)| *got.data == **fed));
    show.packets();
}

#[test]
fn audio_goes_on_without_video() {
    let mut show = Show::new(Config::default());
    show.run(100);
    show.w.streams.clear();
    let from = show.w.sent.len();
    show.run(100);
    let calls = show.calls(from);
    assert!(calls.len() > 30 && calls.iter().all(|(_, datagrams)| *datagrams == 1), "{calls:?}");
    let packets = show.packets();
    let (with, without) = packets.split_at(packets.len() - 30);
    assert!(with.iter().all(|(late, _)| *late <= ms(110)), "the last frame may be waited for: {with:?}");
    assert!(without.iter().all(|packet| *packet == (ms(50), 3)), "{without:?}");
}

#[test]
fn audio_of_calls_and_short_packets_do_not_wait() {
    let mut show = Show::new(Config { audio_packet: ms(20), ..Config::default() });
    show.run(150);
    let packets = show.packets();
    assert!(packets.len() == 150 && packets.iter().all(|packet| *packet == (ms(10), 1)), "{packets:?}");
}

#[test]
fn audio_comes_whatever_becomes_of_the_video() {
    // Far more video than the link carries: it is paced, dropped, and asked for anew.
    let mut show = Show::new(Config { initial_bitrate: 300_000, ..Config::default() });
    show.w.link = Some(300_000);
    let from = show.w.sent.len();
    show.run(500);
    let calls = show.calls(from);
    let gaps = calls.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let longest = gaps.max().expect("some");
    assert!(longest <= ms(120), "{longest:?}");
    assert!(calls.iter().any(|(_, datagrams)| *datagrams == 1), "alone");
    assert!(calls.iter().any(|(_, datagrams)| *datagrams > 1), "with video");
}

#[cfg(feature = "recv")]
#[test]
fn our_own_receiver_takes_the_padding_off() {
    use crate::media::{Frame, StreamId};
    use crate::rtc::recv::receiver::Receiver;
    use crate::rtc::send::cut::Cutter;

    let mut link = Link::new(10_000_000);
    let mut receiver = Receiver::new(1, "receiver", link.now);
    receiver.connect(&link.keys);
    let lane = |stream, codec, pt, rtx| crate::rtc::recv::lane::Format {
        stream,
        layer: None,
        codec,
        pt,
        rtx,
        nack: true,
        pli: true,
        remb: false,
        transport: Some(3),
    };
    receiver
        .set_lanes(&[lane(H264, Codec::H264, VIDEO_PT, Some(97)), lane(OPUS, Codec::Opus, AUDIO_PT, None)]);
    let (mut cutter, mut padded) = (Cutter::default(), 0);
    let mut sent: Vec<(StreamId, Arc<[u8]>)> = vec![];
    let mut came = vec![];
    for n in 0..40 {
        // Sizes of which some are cut without a rest.
        let data: Arc<[u8]> = picture(Codec::H264, n == 0, n, 3000 + n as usize).into();
        let frame = Frame {
            stream: H264,
            codec: Codec::H264,
            key: n == 0,
            captured: link.now,
            pts: ms(33 * n),
            duration: ms(33),
            discontinuity: false,
            encoding: None,
            data: data.clone(),
        };
        let sound: Arc<[u8]> = [&[31 << 3, n as u8][..], &[7; 300]].concat().into();
        let timestamp = Timestamp { ticks: 3000 * n as u32, wallclock: link.now };
        let payloads = Arc::new(cutter.cut(&frame));
        link.push(&Cut {
            codec: Codec::Opus,
            key: false,
            payloads: Arc::new(vec![sound.clone()]),
            timestamp,
            encoding: None,
        });
        link.push(&Cut { codec: Codec::H264, key: n == 0, payloads, timestamp, encoding: None });
        sent.extend([(H264, data), (OPUS, sound)]);
        while let Some(datagrams) = link.poll() {
            padded += datagrams.iter().filter(|d| is_padded(d)).count();
            for datagram in datagrams {
                assert!(receiver.handle_rtp(&datagram, link.now));
            }
        }
        link.now += ms(33);
        came.extend(std::iter::from_fn(|| receiver.poll_frame()).map(|frame| (frame.stream, frame.data)));
    }
    assert!(padded > 20, "{padded}");
    for stream in [H264, OPUS] {
        let of = |all: &[(StreamId, Arc<[u8]>)]| -> Vec<Arc<[u8]>> {
            all.iter().filter(|(of, _)| *of == stream).map(|(_, data)| data.clone()).collect()
        };
        assert_eq!(of(&came), of(&sent), "{stream:?}");
    }
}
