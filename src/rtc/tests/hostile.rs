//! Strangers, and viewers that mean harm: what they send ends no session but their own, and makes the camera
//! send little to where they point.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use str0m::media::{Direction, MediaKind};

use super::world::*;
use crate::rtc::{Answer, Event, Input, Path, SessionId};

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

fn camera() -> SocketAddr {
    CAMERA.parse().expect("literal")
}

impl World {
    /// A datagram from whatever address its sender claims.
    pub(super) fn forge(&mut self, from: SocketAddr, data: &[u8]) {
        self.fanout.handle_input(Input::Datagram { path: Path::udp(camera(), from), data }, self.now);
        self.drain_camera();
    }

    /// A browser that watches, and its address.
    fn watching(&mut self, id: u64) -> SocketAddr {
        self.viewer(id);
        self.run(ms(1500));
        assert!(self.browsers[&id].connected);
        self.browsers[&id].address
    }

    /// Whether it still gets frames.
    fn still_watches(&mut self, id: u64) -> bool {
        let before = self.browsers[&id].media.len();
        self.run(ms(2000));
        self.closed(id).is_none() && self.browsers[&id].media.len() > before + 100
    }

    /// What was sent to an address, or to any but those of browsers.
    fn sent_to(&self, wanted: impl Fn(SocketAddr) -> bool) -> Vec<&[u8]> {
        self.sent.iter().filter(|t| wanted(t.path.remote)).flat_map(|t| t.datagrams()).collect()
    }
}

pub(super) fn attribute(description: &str, name: &str) -> String {
    let line = description.lines().find_map(|l| l.strip_prefix(name));
    line.expect("descriptions have it").trim().to_owned()
}

/// A caller that speaks STUN itself.
pub(super) struct Caller {
    user: String,
    theirs: String,
    password: String,
    /// Under which the camera's checks are answered.
    own_password: String,
}

impl Caller {
    fn new(offer: &str, answer: &Answer) -> Caller {
        Caller {
            user: attribute(&answer.sdp, "a=ice-ufrag:"),
            theirs: attribute(offer, "a=ice-ufrag:"),
            password: attribute(&answer.sdp, "a=ice-pwd:"),
            own_password: attribute(offer, "a=ice-pwd:"),
        }
    }

    /// Calls with an offer that a browser made, and does not let the browser know.
    pub(super) fn call(w: &mut World, id: u64, change: impl Fn(String) -> String) -> Caller {
        w.browser(id, |c| c.enable_h264(true).enable_vp8(true));
        let offer = w.offer(id, &[MediaKind::Video], Direction::RecvOnly);
        w.browsers.get_mut(&id).expect("made").gone = true;
        let offer = change(offer);
        let answer = w.fanout.accept(SessionId(id), &offer, w.now).expect("accepted");
        w.drain_camera();
        Caller::new(&offer, &answer)
    }

    /// A check as ICE makes it.
    pub(super) fn check(&self, number: u32, nominate: bool) -> Vec<u8> {
        let user = format!("{}:{}", self.user, self.theirs);
        let mut attributes = vec![
            (0x0006, user.into_bytes()),
            (0x0024, vec![110, 0, 1, 255]),
            (0x802a, vec![255; 8]), // controlling, and never to yield
        ];
        if nominate {
            attributes.push((0x0025, vec![]));
        }
        let mut transaction = [0; 12];
        transaction[..4].copy_from_slice(&number.to_be_bytes());
        stun(0x0001, transaction, &attributes, Some(&self.password))
    }

    /// The answer to a check of the camera.
    fn answer(&self, check: &[u8]) -> Vec<u8> {
        let mapped = vec![0, 1, 0x21 ^ 0x0f, 0x12 ^ 0xa0, 0x21 ^ 192, 0x12, 0xa4 ^ 2, 0x42 ^ 1];
        let transaction = check[8..20].try_into().expect("12 bytes");
        stun(0x0101, transaction, &[(0x0020, mapped)], Some(&self.own_password))
    }
}

/// A STUN message, signed where there is a password, without FINGERPRINT.
pub(super) fn stun(
    kind: u16,
    transaction: [u8; 12],
    attributes: &[(u16, Vec<u8>)],
    password: Option<&str>,
) -> Vec<u8> {
    let mut body = vec![];
    for (kind, value) in attributes {
        body.extend_from_slice(&kind.to_be_bytes());
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let signed = if password.is_some() { 24 } else { 0 };
    let mut message = kind.to_be_bytes().to_vec();
    message.extend_from_slice(&((body.len() + signed) as u16).to_be_bytes());
    message.extend_from_slice(&MAGIC);
    message.extend_from_slice(&transaction);
    message.extend_from_slice(&body);
    if let Some(password) = password {
        let crypto = crate::rtc::crypto::provider();
        let mac = crypto.sha1_hmac_provider.sha1_hmac(password.as_bytes(), &[&message]);
        message.extend_from_slice(&[0, 8, 0, 20]);
        message.extend_from_slice(&mac);
    }
    message
}

fn is_check(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0, 1])
}

/// A DTLS record with a body of noise.
fn record(kind: u8, version: u16, epoch: u16, number: u64, len: usize) -> Vec<u8> {
    let body: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(37) ^ kind).collect();
    record_of(kind, version, epoch, number, &body)
}

fn record_of(kind: u8, version: u16, epoch: u16, number: u64, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend_from_slice(&version.to_be_bytes());
    record.extend_from_slice(&epoch.to_be_bytes());
    record.extend_from_slice(&number.to_be_bytes()[2..]);
    record.extend_from_slice(&(body.len() as u16).to_be_bytes());
    record.extend_from_slice(body);
    record
}

/// A handshake message in plaintext.
fn handshake(kind: u8, number: u16, len: u32, offset: u32, fragment: &[u8]) -> Vec<u8> {
    let mut body = vec![kind];
    body.extend_from_slice(&len.to_be_bytes()[1..]);
    body.extend_from_slice(&number.to_be_bytes());
    body.extend_from_slice(&offset.to_be_bytes()[1..]);
    body.extend_from_slice(&(fragment.len() as u32).to_be_bytes()[1..]);
    body.extend_from_slice(fragment);
    body
}

// ---- DTLS

#[test]
fn a_record_too_short_to_be_encrypted_does_not_end_a_viewer() {
    let mut w = World::new();
    let from = w.watching(1);
    let seen = [&[0x17, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0x10, 0, 0, 5][..], &[1, 2, 3, 4, 5]].concat();
    w.forge(from, &seen);
    assert!(w.still_watches(1), "{:?}", w.closed(1));
}

#[test]
fn no_forged_record_ends_a_viewer() {
    let mut w = World::new();
    let from = w.watching(1);
    for kind in 19..=26 {
        for epoch in 0..=3 {
            for len in 0..=64 {
                for number in [0, 1, 5, 1 << 32, (1 << 48) - 1] {
                    for version in [0xfefd, 0xfeff] {
                        w.forge(from, &record(kind, version, epoch, number, len));
                        assert!(
                            w.closed(1).is_none(),
                            "type {kind}, epoch {epoch}, length {len}, number {number}, version {version:x}"
                        );
                    }
                }
            }
        }
    }
    for kind in [20, 21, 22, 23] {
        for len in [100, 300, 1187, 1988, 4000, 16_000] {
            for epoch in 0..=2 {
                w.forge(from, &record(kind, 0xfefd, epoch, 9, len));
            }
        }
        // A header that promises more or less than there is, and several records in one datagram.
        let mut lies = record(kind, 0xfefd, 1, 9, 60);
        lies[12] += 1;
        w.forge(from, &lies);
        w.forge(from, &lies[..7]);
        let many = [record(kind, 0xfefd, 1, 9, 60), record(kind, 0xfefd, 1, 10, 3), lies].concat();
        w.forge(from, &many);
    }
    let dropped = w.fanout.totals().dropped;
    assert!(dropped.dtls_malformed > 8000 && dropped.dtls_unexpected > 8000, "{dropped:?}");
    assert!(w.still_watches(1), "{:?}", w.closed(1));
    // And the viewer's own goodbye is still heard.
    w.browsers.get_mut(&1).expect("made").rtc.close().expect("closes");
    w.poke(1);
    w.run(ms(300));
    assert!(w.closed(1).is_some());
}

/// What a handshake is made of, well-formed and not, in plaintext.
fn handshakes() -> Vec<Vec<u8>> {
    let hello = [&[0xfe, 0xfd][..], &[7; 32], &[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]].concat();
    let mut all = vec![];
    for kind in [0, 1, 2, 3, 4, 11, 12, 13, 14, 15, 16, 20, 22, 99] {
        for number in [0, 1, 2, 5, 9, 100] {
            let len = hello.len() as u32;
            all.push(handshake(kind, number, len, 0, &hello));
            all.push(handshake(kind, number, len, 0, &hello[..5]));
            all.push(handshake(kind, number, len, 20, &hello));
            all.push(handshake(kind, number, 3, 0, &hello));
            all.push(handshake(kind, number, 0, 0, &[]));
            all.push(handshake(kind, number, 0xff_ffff, 0, &hello));
            all.push(handshake(kind, number, 0xff_ffff, 0xff_fff0, &hello[..2]));
        }
    }
    all
}

#[test]
fn no_forged_handshake_or_alert_in_plaintext_ends_a_viewer() {
    let mut w = World::new();
    let from = w.watching(1);
    for (i, body) in handshakes().iter().enumerate() {
        w.forge(from, &record_of(22, 0xfefd, 0, 20 + i as u64, body));
        w.forge(from, &record_of(22, 0xfefd, 1, 20 + i as u64, body));
        assert!(w.closed(1).is_none(), "{body:02x?}");
    }
    for (level, description) in [(1, 0), (2, 0), (2, 10), (2, 40), (2, 80), (1, 90), (2, 100), (9, 9)] {
        w.forge(from, &record_of(21, 0xfefd, 0, 900, &[level, description]));
        assert!(w.closed(1).is_none(), "alert {level} {description}");
    }
    for body in [&[1][..], &[0], &[], &[1, 1]] {
        w.forge(from, &record_of(20, 0xfefd, 0, 901, body));
        w.forge(from, &record_of(20, 0xfefd, 1, 901, body));
    }
    assert!(w.still_watches(1), "{:?}", w.closed(1));
}

#[test]
fn what_a_viewer_sent_may_come_again() {
    let mut w = World::new();
    w.watching(1);
    for (from, _, datagram) in w.taken.clone() {
        w.forge(from, &datagram);
    }
    assert!(w.still_watches(1), "{:?}", w.closed(1));
}

#[test]
fn strangers_can_not_end_a_handshake() {
    // In the first 150 ms: ICE and DTLS take 60 to 100 of them.
    for at in (0..150).step_by(6) {
        let mut w = World::new();
        w.viewer(1);
        w.run(ms(at));
        let stranger = SocketAddr::from(([203, 0, 113, 9], 5000));
        for body in handshakes().iter().step_by(5) {
            w.forge(stranger, &record_of(22, 0xfefd, 0, 7, body));
        }
        // From the viewer's address, what can't be a handshake's.
        let viewer = w.browsers[&1].address;
        for from in [stranger, viewer] {
            w.forge(from, &record_of(21, 0xfefd, 0, 8, &[2, 40]));
            w.forge(from, &record_of(21, 0xfefd, 0, 9, &[1, 0]));
            w.forge(from, &record(23, 0xfefd, 0, 10, 40));
            w.forge(from, &record_of(20, 0xfefd, 0, 11, &[2]));
            for len in [0, 1, 5, 23] {
                for kind in 20..=24 {
                    w.forge(from, &record(kind, 0xfefd, 1, 12, len));
                    w.forge(from, &record(kind, 0xfefd, 2, 12, len));
                }
            }
            w.forge(from, &record_of(22, 0xfefd, 0, 13, &handshake(16, 1, 0xff_ffff, 0, &[1; 9])));
            w.forge(from, &record_of(22, 0xfefd, 0, 13, &handshake(1, 0, 5, 3, &[1; 9])));
        }
        w.run(ms(1000));
        assert!(w.browsers[&1].connected && w.closed(1).is_none(), "{at} ms: {:?}", w.closed(1));
    }
}

// ---- STUN

#[test]
fn an_error_response_to_our_check_ends_nothing() {
    let mut w = World::new();
    w.watching(1);
    let theirs = SocketAddr::from(([203, 0, 113, 9], 5000));
    let candidate = "a=candidate:1 1 udp 2122260223 203.0.113.9 5000 typ host\r\n";
    let caller = Caller::call(&mut w, 2, |offer| offer + candidate);
    w.run(ms(300));
    let checks: Vec<Vec<u8>> =
        w.sent_to(|to| to == theirs).iter().filter(|d| is_check(d)).map(|d| d.to_vec()).collect();
    assert!(!checks.is_empty());
    for check in &checks {
        let transaction: [u8; 12] = check[8..20].try_into().expect("12 bytes");
        for kind in [0x0111, 0x0101, 0x0011, 0x0001, 0x0110, 0x0112, 0x3fff] {
            // MESSAGE-INTEGRITY first and alone: 44 bytes.
            w.forge(theirs, &stun(kind, transaction, &[(8, vec![0; 20])], None));
            w.forge(theirs, &stun(kind, transaction, &[], Some(&caller.own_password)));
            w.forge(theirs, &stun(kind, transaction, &[(9, vec![0, 0, 4, 87])], Some(&caller.own_password)));
            w.forge(theirs, &stun(kind, transaction, &[(9, vec![0, 0, 4])], None));
            for attribute in [1, 6, 8, 9, 0xc, 0xd, 0x12, 0x13, 0x14, 0x16, 0x20, 0x24, 0x25, 0x8028, 0x802a]
            {
                for len in 0..24 {
                    w.forge(theirs, &stun(kind, transaction, &[(attribute, vec![1; len])], None));
                    let mut overrun = stun(kind, transaction, &[(attribute, vec![1; len])], None);
                    overrun[23] = 200;
                    w.forge(theirs, &overrun);
                }
            }
        }
    }
    assert!(w.still_watches(1));
}

#[test]
fn media_goes_only_where_our_own_check_was_answered() {
    let mut w = World::new();
    w.browser(1, |c| c.enable_h264(true).enable_vp8(true));
    let offer = w.offer(1, &[MediaKind::Video], Direction::RecvOnly);
    let answer = w.fanout.accept(SessionId(1), &offer, w.now).expect("accepted");
    let caller = Caller::new(&offer, &answer);
    w.drain_camera();
    w.take_answer(1, &answer.sdp);
    w.run(ms(1500));
    assert!(w.browsers[&1].connected);
    let victim = SocketAddr::from(([203, 0, 113, 9], 5000));
    let own = SocketAddr::from(([203, 0, 113, 10], 5000));
    for number in 0..200 {
        // Nominated above the viewer's own path and kept alive by requests alone, with a forged source;
        // our checks to it are answered from elsewhere.
        w.forge(victim, &caller.check(number, true));
        let sent = w.sent_to(|to| to == victim);
        let answers: Vec<_> = sent.iter().filter(|d| is_check(d)).map(|d| caller.answer(d)).collect();
        for answer in answers.iter().rev().take(3) {
            w.forge(own, answer);
        }
        w.run(ms(50));
    }
    assert!(w.sent_to(|to| to == victim).iter().all(|d| d[0] < 2), "nothing but STUN");
    assert!(w.sent_to(|to| to == own).is_empty());
    assert!(w.closed(1).is_none());
    assert!(w.fanout.totals().strays > 0, "answers from elsewhere are answers to nothing");
}

#[test]
fn forged_sources_get_an_answer_and_few_checks() {
    let mut w = World::new();
    let (calls, forged) = (40, 32);
    let callers: Vec<Caller> = (1..=calls).map(|id| Caller::call(&mut w, id, |offer| offer)).collect();
    for (i, caller) in callers.iter().enumerate() {
        for host in 0..forged {
            w.forge(SocketAddr::from(([10, 9, i as u8, host as u8], 5000)), &caller.check(host, true));
        }
    }
    w.run(ms(29_000));
    let sent = w.sent_to(is_silent);
    let checks = sent.iter().filter(|d| is_check(d)).count();
    let asked = calls as usize * forged as usize;
    println!("{asked} requests, {} answers, {checks} checks", sent.len() - checks);
    assert!(sent.len() - checks <= asked);
    assert!(checks <= asked + 512 + 29 * 50, "{checks} checks for {asked} requests");
}

#[test]
pub(super) fn who_forges_a_viewers_address_does_not_get_its_datagrams() {
    let mut w = World::new();
    let victim = w.watching(1);
    let caller = Caller::call(&mut w, 2, |offer| offer);
    for number in 0..100 {
        w.forge(victim, &caller.check(number, true));
        if number % 10 == 5 {
            w.events.clear();
            w.ask_key_frame(1);
        }
        w.run(ms(15));
        w.forge(victim, &caller.check(1000 + number, true));
        w.run(ms(15));
        if number % 10 == 9 {
            assert!(w.saw(|e| is_loss(e, H264)), "the viewer's feedback is heard, {number}");
        }
    }
    assert!(w.still_watches(1));
}

#[test]
fn a_caller_with_thousands_of_ports_is_reached_by_few() {
    let mut w = World::new();
    let candidate = "a=candidate:1 1 udp 2122260223 203.0.113.9 5000 typ host\r\n";
    let caller = Caller::call(&mut w, 1, |offer| offer + candidate);
    w.watching(2);
    let from = |port: u32| SocketAddr::from(([203, 0, 113, 9], 2000 + port as u16));
    for number in 0..5000 {
        w.forge(from(number), &caller.check(number, false));
        if number % 50 == 0 {
            w.run(ms(10));
        }
    }
    let reached: BTreeSet<SocketAddr> =
        w.sent.iter().map(|t| t.path.remote).filter(|to| to.ip() == from(0).ip()).collect();
    // 32 by its checks, and one that its description named.
    assert!(reached.len() <= 32 + 1, "{} addresses", reached.len());
    assert!(w.fanout.totals().dropped.stun_paths >= 5000 - 32);
    assert!(w.still_watches(2));
}

// ---- Media

#[test]
fn no_forged_media_ends_a_viewer() {
    let mut w = World::new();
    let from = w.watching(1);
    for first in [0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf] {
        for second in [0, 72, 96, 127, 200, 201, 202, 203, 204, 205, 206, 207, 255] {
            for len in 0..=64 {
                let mut datagram: Vec<u8> = (0..len).map(|i| i as u8).collect();
                datagram.splice(0..len.min(2), [first, second].into_iter().take(len));
                w.forge(from, &datagram);
                w.forge(SocketAddr::from(([203, 0, 113, 9], 5000)), &datagram);
            }
        }
    }
    for first in 0..=255 {
        for len in [1, 2, 12, 20, 60] {
            w.forge(from, &vec![first; len]);
        }
    }
    w.forge(from, &[]);
    assert!(w.still_watches(1), "{:?}", w.closed(1));
}

// ---- Candidates

/// Candidates that never answer, as lines of a description.
fn silent(network: u8, n: usize) -> String {
    let line = |i| {
        format!("a=candidate:{i} 1 udp 2122260223 10.{network}.{}.{} 5000 typ host\r\n", i / 250, 1 + i % 250)
    };
    (0..n).map(line).collect()
}

fn is_silent(to: SocketAddr) -> bool {
    to.ip().to_string().starts_with("10.")
}

#[test]
fn few_of_an_offers_candidates_are_checked() {
    let mut w = World::new();
    Caller::call(&mut w, 1, |offer| offer + &silent(1, 64));
    w.run(ms(31_000));
    assert!(w.closed(1).is_some());
    let sent = w.sent_to(is_silent);
    let to: BTreeSet<SocketAddr> = w.sent.iter().map(|t| t.path.remote).filter(|to| is_silent(*to)).collect();
    println!(
        "{} datagrams to {} addresses, {} bytes",
        sent.len(),
        to.len(),
        sent.iter().map(|d| d.len()).sum::<usize>()
    );
    // The browser's own is the sixteenth.
    assert!(to.len() == 15 && sent.len() <= 16 * 16, "{} datagrams to {} addresses", sent.len(), to.len());
}

#[test]
fn a_flood_of_candidates_ends_no_call_and_is_not_checked() {
    let mut w = World::new();
    w.viewer(1);
    for i in 0..1000 {
        let candidate =
            format!("candidate:1 1 udp 2122260223 10.2.{}.{} 5000 typ host", i / 250, 1 + i % 250);
        w.fanout.add_remote_candidate(SessionId(1), &candidate).expect("ignored");
        w.drain_camera();
    }
    for network in 3..53 {
        w.reoffer(1, |b| {
            let mut api = b.rtc.sdp_api();
            api.set_direction(
                b.mids[1].1,
                if network % 2 == 0 { Direction::RecvOnly } else { Direction::Inactive },
            );
            let (offer, pending) = api.apply().expect("a change");
            (offer.to_sdp_string() + &silent(network, 64), pending)
        });
        w.run(ms(20));
    }
    w.run(ms(31_000));
    let to: BTreeSet<SocketAddr> = w.sent.iter().map(|t| t.path.remote).filter(|to| is_silent(*to)).collect();
    println!("{} datagrams to {} addresses", w.sent_to(is_silent).len(), to.len());
    assert!(to.len() <= 16, "{} addresses", to.len());
    assert!(w.browsers[&1].connected && w.still_watches(1));
}

#[test]
fn nothing_is_sent_to_loopback_multicast_or_broadcast() {
    let bad = [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "0.0.0.1",
        "224.0.0.251",
        "239.255.255.250",
        "255.255.255.255",
        "240.1.2.3",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:224.0.0.1",
        "::7f00:1",
        "ff02::1",
        "ff05::2",
    ];
    let mut w = World::with(crate::rtc::Config {
        candidates: ["192.0.2.1:4000", "[2001:db8::5]:4000"]
            .map(|base| crate::rtc::LocalCandidate { base: base.parse().expect("literal"), advertised: None })
            .to_vec(),
        ..Default::default()
    });
    let line = |ip: &&str| format!("candidate:1 1 udp 2122260223 {ip} 5000 typ host");
    let lines: String = bad.iter().map(|ip| format!("a={}\r\n", line(ip))).collect();
    let caller = Caller::call(&mut w, 1, |offer| offer + &lines);
    for ip in &bad {
        w.fanout.add_remote_candidate(SessionId(1), &line(ip)).expect("ignored");
        w.drain_camera();
    }
    // Nor as an answer to who forges such a source.
    for (number, ip) in bad.iter().enumerate() {
        let ip: std::net::IpAddr = ip.parse().expect("literal");
        let local = if ip.to_canonical().is_ipv4() { "192.0.2.1:4000" } else { "[2001:db8::5]:4000" };
        let input = Input::Datagram {
            path: Path::udp(local.parse().expect("literal"), SocketAddr::new(ip, 5000)),
            data: &caller.check(number as u32, true),
        };
        w.fanout.handle_input(input, w.now);
        w.drain_camera();
    }
    w.run(ms(5000));
    let to: BTreeSet<SocketAddr> =
        w.sent.iter().map(|t| t.path.remote).filter(|to| to.port() == 5000).collect();
    let wrong: Vec<_> = to.iter().filter(|to| to.ip().to_string() != "198.51.100.1").collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
pub(super) fn checks_are_limited_over_all_sessions_and_viewers_connect_meanwhile() {
    let mut w = World::new();
    for id in 101..=160 {
        Caller::call(&mut w, id, |offer| offer + &silent(id as u8, 16));
    }
    w.run(ms(3000));
    // In the middle of it.
    w.viewer(1);
    w.run(ms(1000));
    assert!(w.browsers[&1].connected);
    w.run(ms(27_000));
    let sent = w.sent_to(is_silent).len();
    println!("{sent} datagrams of 60 calls");
    assert!(sent <= 512 + 31 * 50, "{sent} datagrams");
    assert!(w.still_watches(1));
}

#[test]
fn sixty_four_viewers_that_come_at_once_connect_at_once() {
    let mut w = World::new();
    w.streams.clear();
    for id in 1..=64 {
        w.browser(id, |c| c.enable_h264(true).enable_vp8(true));
        let offer = w.offer(id, &[MediaKind::Video], Direction::RecvOnly);
        let offer = offer + &silent(id as u8, 4);
        let answer = w.fanout.accept(SessionId(id), &offer, w.now).expect("accepted");
        w.drain_camera();
        w.take_answer(id, &answer.sdp);
    }
    w.run(ms(500));
    let connected = |w: &World| w.events.iter().filter(|(_, e)| matches!(e, Event::Connected { .. })).count();
    assert_eq!(connected(&w), 64);
    let last = w.events.iter().filter(|(_, e)| matches!(e, Event::Connected { .. })).map(|(at, _)| *at).max();
    assert!(last < Some(Duration::from_millis(500)));
}
