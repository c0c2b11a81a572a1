//! RTCP as a viewer sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use str0m::media::Direction;
use str0m::rtp::rtcp::{Rtcp, SenderInfo};
use str0m::rtp::{Extension, RawPacket, RtpHeader};

use super::world::*;
use crate::rtc::{Config, SessionId};

fn watching(lose: fn(u64) -> bool, last: Duration) -> (World, String) {
    let mut w = World::new();
    w.browser(1, |c| c.enable_h264(true).enable_raw_packets(true));
    let answer = w.call(1, Direction::RecvOnly).expect("accepted");
    w.lose = lose;
    w.run(last);
    (w, answer.sdp)
}

/// The reports that came, by SSRC.
fn reports(w: &World) -> BTreeMap<u32, Vec<(Duration, SenderInfo)>> {
    let mut all: BTreeMap<u32, Vec<(Duration, SenderInfo)>> = BTreeMap::new();
    for (at, packet) in &w.browsers[&1].raw {
        if let RawPacket::RtcpRx(Rtcp::SenderReport(sr)) = packet {
            all.entry(*sr.sender_info.ssrc).or_default().push((*at, sr.sender_info));
        }
    }
    all
}

/// How many packets of an SSRC the camera had sent by then.
fn sent(w: &World, ssrc: u32, until: Duration) -> u32 {
    let datagrams =
        w.sent.iter().zip(&w.sent_at).filter(|(_, at)| **at <= until).flat_map(|(t, _)| t.datagrams());
    let is_rtp = |d: &&[u8]| d.len() > 12 && d[0] >= 128 && !(64..96).contains(&(d[1] & 0x7f));
    datagrams.filter(is_rtp).filter(|d| d[8..12] == ssrc.to_be_bytes()).count() as u32
}

#[test]
fn a_report_counts_what_went_out_and_no_repetition() {
    let (w, _) = watching(|n| n % 17 == 0, ms(8000));
    let stats = w.fanout.stats(SessionId(1)).expect("lives");
    assert!(stats.nacks > 5, "{stats:?}");
    let all = reports(&w);
    assert_eq!(all.len(), 2);
    for (ssrc, reports) in all {
        assert!(reports.len() > 4);
        for (came, report) in reports {
            // It was 10 ms on its way; what left in the same moment may have been before or after.
            let (least, most) = (sent(&w, ssrc, came - ms(12)), sent(&w, ssrc, came - ms(8)));
            let said = report.sender_packet_count;
            assert!((least..=most).contains(&said), "{said} said, {least} to {most} sent");
        }
    }
}

#[test]
fn without_loss_the_octets_are_those_of_the_payload() {
    let (w, _) = watching(|_| false, ms(6000));
    for (ssrc, reports) in reports(&w) {
        let (_, last) = reports.last().expect("some");
        let packets = w.browsers[&1].raw.iter().filter_map(|(_, packet)| match packet {
            RawPacket::RtpRx(header, data) if *header.ssrc == ssrc => Some(data.len() as u32),
            _ => None,
        });
        let bytes: Vec<u32> = packets.take(last.sender_packet_count as usize).collect();
        assert_eq!(bytes.len(), last.sender_packet_count as usize);
        assert_eq!(bytes.iter().sum::<u32>(), last.sender_octet_count);
    }
}

#[test]
fn the_first_report_on_each_stream_comes_in_its_first_second() {
    let (w, _) = watching(|_| false, ms(3000));
    let all = reports(&w);
    assert_eq!(all.len(), 2, "sound and pictures");
    for reports in all.values() {
        let (at, _) =
            reports.iter().find(|(_, r)| r.sender_packet_count > 0).expect("a report of what was sent");
        assert!(*at < ms(1300), "{at:?}");
        // And one before anything was sent gives no time.
        let early = reports.iter().filter(|(_, r)| r.sender_packet_count == 0);
        for (_, report) in early {
            let since = report.ntp_time.duration_since(std::time::UNIX_EPOCH);
            assert!(since.is_err() || since.is_ok_and(|d| d.as_secs() == 0), "{report:?}");
        }
    }
}

#[test]
fn one_cname_for_all_streams_and_both_places() {
    let (w, answer) = watching(|_| false, ms(3000));
    let names = w.browsers[&1].raw.iter().filter_map(|(_, packet)| match packet {
        RawPacket::RtcpRx(Rtcp::SourceDescription(d)) => Some(format!("{d:?}")),
        _ => None,
    });
    let said: BTreeSet<&str> =
        answer.lines().filter_map(|l| l.split_once(" cname:")).map(|(_, name)| name).collect();
    assert_eq!(said.len(), 1);
    let name = said.first().expect("one");
    let names: Vec<String> = names.collect();
    assert!(names.len() >= 2, "{names:?}");
    for described in names {
        assert_eq!(described.matches("CNAME").count(), described.matches(name).count(), "{described}");
    }
}

#[test]
fn goodbye_is_said_before_dtls_ends() {
    let (mut w, _) = watching(|_| false, ms(2000));
    let before = w.sent.len();
    w.fanout.close(SessionId(1), w.now);
    w.drain_camera();
    let kinds: Vec<u8> = w.sent[before..].iter().flat_map(|t| t.datagrams()).map(|d| d[0]).collect();
    let dtls = kinds.iter().position(|k| (20..=63).contains(k)).expect("an end of DTLS");
    assert!(kinds[..dtls].iter().any(|k| *k >= 128) && kinds[dtls..].iter().all(|k| *k < 128), "{kinds:?}");
    w.run(ms(200));
    let byes = w.browsers[&1].raw.iter().filter(|(_, p)| matches!(p, RawPacket::RtcpRx(Rtcp::Goodbye(_))));
    assert_eq!(byes.count(), 1);
}

#[test]
fn only_announced_streams_are_reported_on_when_the_camera_calls() {
    let mut w = World::new();
    w.browser(1, |c| c.enable_h264(true).enable_raw_packets(true));
    let answer = w.call_browser(1);
    w.fanout.answer(SessionId(1), &answer, w.now).expect("accepted");
    w.drain_camera();
    w.run(ms(5000));
    assert_eq!(reports(&w).len(), 2);
}

/// A viewer that takes capture times and playout delays.
fn dated(wall_clock: Option<SystemTime>) -> Vec<(Duration, RtpHeader)> {
    let mut w = World::with(Config { wall_clock, ..Config::default() });
    w.browser(1, |c| {
        c.enable_h264(true)
            .enable_raw_packets(true)
            .set_extension(9, Extension::AbsoluteCaptureTime)
            .set_extension(12, Extension::PlayoutDelay)
    });
    w.call(1, Direction::RecvOnly).expect("accepted");
    w.run(ms(5000));
    let rtp = w.browsers[&1].raw.iter().filter_map(|(at, packet)| match packet {
        RawPacket::RtpRx(header, _) => Some((*at, header.clone())),
        _ => None,
    });
    rtp.collect()
}

#[test]
fn a_viewer_is_told_when_frames_were_captured() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let packets = dated(Some(start));
    let mut told: BTreeMap<u32, Vec<Duration>> = BTreeMap::new();
    for (at, header) in &packets {
        let Some(time) = header.ext_vals.abs_capture_time else { continue };
        let captured = time.capture_time.duration_since(start).expect("later");
        // 10 ms on the way; frames that catch up are older.
        let age = at.checked_sub(captured).expect("before it came");
        assert!(age >= ms(9) && age < ms(500), "{age:?} old");
        told.entry(*header.ssrc).or_default().push(*at);
    }
    assert_eq!(told.len(), 2, "audio and video");
    for times in told.values() {
        assert!((4..=6).contains(&times.len()), "once a second: {times:?}");
    }
    assert!(dated(None).iter().all(|(_, header)| header.ext_vals.abs_capture_time.is_none()), "no clock");
}

#[test]
fn a_viewer_is_told_once_to_keep_no_frames_back() {
    let packets = dated(None);
    let told: Vec<_> = packets.iter().filter(|(_, h)| h.ext_vals.play_delay_max.is_some()).collect();
    assert!(!told.is_empty());
    let ssrcs: BTreeSet<u32> = told.iter().map(|(_, header)| *header.ssrc).collect();
    assert_eq!(ssrcs.len(), 1, "video alone");
    for (at, header) in told {
        let (min, max) = (header.ext_vals.play_delay_min, header.ext_vals.play_delay_max);
        assert!(min.zip(max).is_some_and(|(min, max)| min.numer() == 0 && max.numer() == 0));
        assert!(*at < ms(3000), "until it has reported: {at:?}");
    }
}
