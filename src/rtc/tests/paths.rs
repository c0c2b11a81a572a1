//! Strangers' checks: media goes only where a check of ours was answered, and no datagram ends a session.

use std::net::SocketAddr;

use str0m::format::Codec as Theirs;
use str0m::media::{Direction, MediaKind};

use super::world::*;
use crate::rtc::{Input, Path, SessionId};

const BYSTANDER: &str = "203.0.113.99:9999";

fn bystander() -> SocketAddr {
    BYSTANDER.parse().expect("literal")
}

fn camera() -> SocketAddr {
    CAMERA.parse().expect("literal")
}

/// An attribute of STUN, padded (RFC 8489, 14).
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut a = [kind.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat();
    a.extend_from_slice(value);
    a.resize(a.len().next_multiple_of(4), 0);
    a
}

fn message(kind: u16, transaction: &[u8], attributes: &[u8], length: usize) -> Vec<u8> {
    [
        &kind.to_be_bytes()[..],
        &(length as u16).to_be_bytes(),
        &[0x21, 0x12, 0xa4, 0x42],
        transaction,
        attributes,
    ]
    .concat()
}

/// A check that nominates, as the controlling side makes it (RFC 8445, 7.1).
fn nomination(user: &str, password: &str, transaction: [u8; 12]) -> Vec<u8> {
    let attributes = [
        attribute(0x0006, user.as_bytes()),
        attribute(0x0024, &0x7eff_ffff_u32.to_be_bytes()),
        attribute(0x802a, &[0xff; 8]),
        attribute(0x0025, &[]),
    ]
    .concat();
    let covered = message(1, &transaction, &attributes, attributes.len() + 24);
    let mac = hmac(password.as_bytes(), &covered);
    let attributes = [attributes, attribute(0x0008, &mac)].concat();
    let covered = message(1, &transaction, &attributes, attributes.len() + 8);
    let fingerprint = crc32(&covered) ^ 0x5354_554e;
    [covered, attribute(0x8028, &fingerprint.to_be_bytes())].concat()
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 20] {
    crate::rtc::crypto::provider().sha1_hmac_provider.sha1_hmac(key, &[data])
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn value<'a>(sdp: &'a str, name: &str) -> &'a str {
    sdp.lines().find_map(|line| line.strip_prefix(name)).expect("every description has it")
}

fn sent_to_bystander(w: &World, is: impl Fn(&[u8]) -> bool) -> usize {
    w.sent
        .iter()
        .filter(|t| t.path.remote == bystander())
        .flat_map(|t| t.datagrams())
        .filter(|d| is(d))
        .count()
}

#[test]
fn an_error_response_to_our_own_check_ends_nothing() {
    let mut w = World::new();
    w.viewer(1);
    // The caller's own socket, which need not do anything but receive.
    w.fanout
        .add_remote_candidate(SessionId(1), "candidate:9 1 udp 2130706431 203.0.113.99 9999 typ host")
        .expect("a candidate");
    w.drain_camera();
    w.run(ms(1000));
    let check = w.sent.iter().find(|t| t.path.remote == bystander()).expect("it is checked").data.clone();
    let integrity = attribute(0x0008, &[7; 20]);
    for kind in [0x0111, 0x0101, 0x0011, 0x0001] {
        let data = message(kind, &check[8..20], &integrity, integrity.len());
        w.fanout.handle_input(Input::Datagram { path: Path::udp(camera(), bystander()), data: &data }, w.now);
        w.drain_camera();
    }
    w.run(ms(2000));
    assert!(w.closed(1).is_none());
    assert!(w.browsers[&1].frames(Theirs::H264).len() > 60);
}

#[test]
fn media_never_goes_to_an_address_that_answered_no_check() {
    let mut w = World::new();
    w.browser(1, |c| c.enable_h264(true));
    let offer = w.offer(1, &[MediaKind::Audio, MediaKind::Video], Direction::RecvOnly);
    let answer = w.fanout.accept(SessionId(1), &offer, w.now).expect("accepted");
    w.drain_camera();
    w.take_answer(1, &answer.sdp);
    let user = format!("{}:{}", value(&answer.sdp, "a=ice-ufrag:"), value(&offer, "a=ice-ufrag:"));
    let password = value(&answer.sdp, "a=ice-pwd:").to_owned();
    // From the first moment on, before any check of ours was answered: it names another's address as its own,
    // nominates that path, and keeps asking there.
    for i in 0..1000_u32 {
        if i == 200 {
            // Now these requests alone keep anything alive.
            assert!(w.browsers[&1].frames(Theirs::H264).len() > 200, "the caller's own path carries it");
            w.browsers.get_mut(&1).expect("made").gone = true;
        }
        let mut transaction = [9; 12];
        transaction[..4].copy_from_slice(&i.to_be_bytes());
        let data = nomination(&user, &password, transaction);
        w.fanout.handle_input(Input::Datagram { path: Path::udp(camera(), bystander()), data: &data }, w.now);
        w.drain_camera();
        w.run(ms(50));
    }
    assert!(sent_to_bystander(&w, |d| d[0] < 2) > 0, "the requests were understood");
    assert_eq!(sent_to_bystander(&w, |d| d[0] >= 2), 0, "neither DTLS nor media");
    assert!(w.closed(1).is_some(), "a path that never answered is none");
}
