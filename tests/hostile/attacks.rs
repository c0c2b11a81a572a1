//! The attacks. Each stops on request, and returns what it did and how often.

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use str0m::change::SdpAnswer;
use str0m::{Input, Output};

use crate::camera;
use crate::network::{STRANGERS, VICTIM, stranger};
use crate::stranger::{Stranger, caller, offer, tcp};
use crate::talker;
use crate::watcher::Watcher;

pub(crate) struct Attack {
    pub name: &'static str,
    pub run: fn(&Scene<'_>) -> Told,
    /// The maximum of its count.
    pub limit: Option<u64>,
}

/// The people and addresses present during an attack.
pub(crate) struct Scene<'a> {
    pub stop: &'a AtomicBool,
    pub viewer: &'a Watcher,
}

/// What was counted.
pub(crate) struct Told {
    pub count: u64,
    pub what: &'static str,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.what)
    }
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "answers to unknown calls", run: unknown_calls, limit: None },
    Attack { name: "repeated offers", run: offers, limit: None },
    Attack { name: "endless candidates", run: candidates, limit: None },
    Attack { name: "calls without media", run: seats, limit: None },
    // 20 addresses with at most 16 checked candidates each, over the seconds until ICE gives up.
    Attack { name: "candidates of a bystander", run: bystander, limit: Some(2_000) },
    Attack { name: "error responses to checks", run: stun_errors, limit: None },
    Attack { name: "checks from thousands of ports", run: many_ports, limit: None },
    Attack { name: "forged DTLS records from a viewer's address", run: dtls_records, limit: None },
    Attack { name: "datagrams of every kind", run: datagrams, limit: None },
    Attack { name: "incomplete frames before welcome", run: before_welcome, limit: None },
    Attack { name: "requests that are never completed", run: half_requests, limit: None },
    Attack { name: "peers that connect and disconnect", run: come_and_go, limit: None },
    // Of two who send, both with the keys of their own calls.
    Attack { name: "talkers whose audio is nonsense", run: talker::nonsense, limit: None },
    Attack { name: "talkers whose reports are nonsense", run: talker::reports, limit: None },
];

impl Scene<'_> {
    pub(crate) fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }

    /// Does something `rate` times a second until it must stop, or the other end closes.
    fn at_rate(&self, rate: u32, mut act: impl FnMut() -> Option<()>) -> u64 {
        let (began, mut count) = (Instant::now(), 0);
        while self.goes_on() {
            let due = began + Duration::from_secs(1) * count / rate;
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait.min(Duration::from_millis(20)));
                continue;
            }
            if act().is_none() {
                break;
            }
            count += 1;
        }
        u64::from(count)
    }

    /// Runs this many attackers at once, each in a thread, which reconnects when it is disconnected; returns the total
    /// of their counts.
    pub(crate) fn all(&self, strangers: usize, act: impl Fn(usize, u64) -> u64 + Sync) -> u64 {
        let total = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for n in 0..strangers {
                let (act, total) = (&act, &total);
                scope.spawn(move || {
                    for round in 0.. {
                        if !self.goes_on() {
                            break;
                        }
                        total.fetch_add(act(n, round), Ordering::Relaxed);
                        // An attacker that is refused reconnects, but not in a busy loop.
                        std::thread::sleep(Duration::from_millis(20));
                    }
                });
            }
        });
        total.into_inner()
    }
}

fn unknown_calls(scene: &Scene<'_>) -> Told {
    let count = scene.all(3, |n, _| {
        let Some(mut peer) = Stranger::join(stranger(n), &format!("stranger-{n}")) else { return 0 };
        scene.at_rate(95, || {
            peer.say("call:accept", "nope7", &json!({}))?;
            peer.skip()
        })
    });
    Told { count, what: "messages" }
}

/// A call that was accepted.
fn call(n: usize, id: &str) -> Option<Stranger> {
    let mut peer = Stranger::join(stranger(n), &format!("stranger-{n}"))?;
    peer.say("call:init", id, &json!({}))?;
    peer.awaits(|message| message["subtype"] == "call:accept" && message["call"] == id)?;
    Some(peer)
}

fn offers(scene: &Scene<'_>) -> Told {
    let count = scene.all(4, |n, round| {
        let id = format!("offers-{n}-{round}");
        let Some(mut peer) = call(n, &id) else { return 0 };
        let offer = json!({ "type": "offer", "sdp": offer(&[(stranger(n), 9).into()]) });
        scene.at_rate(54, || {
            peer.say("call:offer", &id, &offer)?;
            peer.skip()
        })
    });
    Told { count, what: "offers" }
}

fn candidates(scene: &Scene<'_>) -> Told {
    let count = scene.all(4, |n, round| {
        let id = format!("candidates-{n}-{round}");
        let Some(mut peer) = call(n, &id) else { return 0 };
        let own: Vec<SocketAddr> = (1000..1060).map(|port| (stranger(n), port).into()).collect();
        _ = peer.say("call:offer", &id, &json!({ "type": "offer", "sdp": offer(&own) }));
        let mut port = 2000_u16;
        scene.at_rate(95, || {
            port = port.wrapping_add(1).max(2000);
            let candidate = format!("candidate:1 1 udp 2130706431 {} {port} typ host", stranger(n));
            let data = json!({ "candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0 });
            peer.say("call:candidate", &id, &data)?;
            peer.skip()
        })
    });
    Told { count, what: "candidates" }
}

fn seats(scene: &Scene<'_>) -> Told {
    let count = scene.all(usize::from(STRANGERS), |n, round| {
        let mut peers = Vec::new();
        for seat in 0..8 {
            let id = format!("seat-{n}-{round}-{seat}");
            let Some(mut peer) = Stranger::join(stranger(n), &format!("stranger-{n}-{seat}")) else { break };
            _ = peer.say("call:init", &id, &json!({}));
            peers.push(peer);
        }
        let held = peers.len() as u64;
        while scene.goes_on() && peers.iter_mut().all(|peer| peer.skip().is_some()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        held
    });
    Told { count, what: "calls" }
}

/// Many calls whose candidates all belong to somebody else.
fn bystander(scene: &Scene<'_>) -> Told {
    let ports: Vec<UdpSocket> =
        (0..60).map(|_| UdpSocket::bind((VICTIM, 0)).expect("the address is ours")).collect();
    for port in &ports {
        port.set_nonblocking(true).expect("a socket");
    }
    let all: Vec<SocketAddr> = ports.iter().map(|port| port.local_addr().expect("bound")).collect();
    scene.all(usize::from(STRANGERS), |n, round| {
        let id = format!("bystander-{n}-{round}");
        let Some(mut peer) = call(n, &id) else { return 0 };
        _ = peer.say("call:offer", &id, &json!({ "type": "offer", "sdp": offer(&all) }));
        while scene.goes_on() && peer.skip().is_some() {
            std::thread::sleep(Duration::from_millis(20));
        }
        1
    });
    let mut buffer = [0; 2000];
    let count = ports
        .iter()
        .map(|port| std::iter::from_fn(|| port.recv_from(&mut buffer).ok()).count())
        .sum::<usize>();
    Told { count: count as u64, what: "datagrams to the bystander" }
}

/// Valid checks, since their sender is in a call, repeated from ports that were never named.
fn many_ports(scene: &Scene<'_>) -> Told {
    let count = scene.all(2, |n, round| {
        let (id, ip) = (format!("ports-{n}-{round}"), stranger(n));
        let Some(mut peer) = call(n, &id) else { return 0 };
        let Some(check) = good_check(&mut peer, &id, ip) else { return 0 };
        let ports: Vec<UdpSocket> = (0..400).map_while(|_| UdpSocket::bind((ip, 0)).ok()).collect();
        let mut next = ports.iter().cycle().enumerate();
        scene.at_rate(2000, || {
            let (i, port) = next.next()?;
            _ = port.send_to(&check, camera::address());
            if i % 200 == 0 { peer.skip() } else { Some(()) }
        })
    });
    Told { count, what: "checks" }
}

/// A connectivity check with the right username and password.
fn good_check(peer: &mut Stranger, id: &str, ip: Ipv4Addr) -> Option<Vec<u8>> {
    let (mut rtc, pending, offer) = caller(&[(ip, 9).into()]);
    peer.say("call:offer", id, &json!({ "type": "offer", "sdp": offer }))?;
    let answer = peer.awaits(|message| message["subtype"] == "call:answer" && message["call"] == id)?;
    let answer = SdpAnswer::from_sdp_string(answer["data"]["sdp"].as_str()?).ok()?;
    rtc.sdp_api().accept_answer(pending, answer).ok()?;
    let late = Instant::now() + Duration::from_secs(2);
    loop {
        match rtc.poll_output().ok()? {
            Output::Transmit(t) if t.contents.starts_with(&[0, 1]) => return Some(t.contents.to_vec()),
            Output::Timeout(_) if Instant::now() > late => return None,
            Output::Timeout(at) => {
                std::thread::sleep(
                    at.saturating_duration_since(Instant::now()).min(Duration::from_millis(20)),
                );
                rtc.handle_input(Input::Timeout(Instant::now())).ok()?;
            }
            _ => {}
        }
    }
}

/// Answers each connectivity check with an error whose first attribute claims to be its integrity.
fn stun_errors(scene: &Scene<'_>) -> Told {
    let count = scene.all(2, |n, round| {
        let id = format!("errors-{n}-{round}");
        let udp = UdpSocket::bind((stranger(n), 0)).expect("the address is ours");
        udp.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
        let Some(mut peer) = call(n, &id) else { return 0 };
        let own = [udp.local_addr().expect("bound")];
        _ = peer.say("call:offer", &id, &json!({ "type": "offer", "sdp": offer(&own) }));
        let (mut buffer, mut count, began) = ([0; 2000], 0, Instant::now());
        while scene.goes_on() && began.elapsed() < Duration::from_secs(5) && peer.skip().is_some() {
            if let Ok((len, from)) = udp.recv_from(&mut buffer)
                && len >= 20
                && buffer[..2] == [0, 1]
            {
                for (kind, attribute) in [(0x0111_u16, 8_u16), (0x0111, 9), (0x0101, 8), (0x0101, 0x20)] {
                    count += 1;
                    _ = udp.send_to(&stun(kind, attribute, &buffer[8..20]), from);
                }
            }
        }
        _ = peer.say("call:hangup", &id, &json!({ "reason": "ended" }));
        count
    });
    Told { count, what: "answers" }
}

/// A STUN message of 44 bytes with one attribute of 20.
fn stun(kind: u16, attribute: u16, transaction: &[u8]) -> Vec<u8> {
    let mut message = kind.to_be_bytes().to_vec();
    message.extend([0, 24, 0x21, 0x12, 0xa4, 0x42]);
    message.extend(transaction);
    message.extend(attribute.to_be_bytes());
    message.extend([0, 20]);
    message.extend([7; 20]);
    message
}

fn dtls_records(scene: &Scene<'_>) -> Told {
    let mut n = 0_u64;
    let count = scene.at_rate(300, || {
        n += 1;
        let (kind, epoch, len) = (20 + (n % 6) as u8, (n / 6 % 4) as u8, (n / 24 % 40) as u8);
        let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0x10, n as u8, 0, len];
        record.extend((0..len).map(|i| i + 1));
        scene.viewer.send_from_its_port(&record);
        Some(())
    });
    Told { count, what: "records" }
}

fn datagrams(scene: &Scene<'_>) -> Told {
    let count = scene.all(4, |n, _| {
        let udp = UdpSocket::bind((stranger(n), 0)).expect("the address is ours");
        let mut seed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        scene.at_rate(2000, || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let len = (seed % 120) as usize;
            let mut datagram: Vec<u8> = (0..len).map(|i| (seed >> (i % 57)) as u8).collect();
            let head: &[u8] = match seed % 4 {
                0 => &[0, 1, 0, 24, 0x21, 0x12, 0xa4, 0x42],
                1 => &[22, 0xfe, 0xfd, 0, 0],
                2 => &[0x80, 0x60],
                _ => &[0x80, 0xc8],
            };
            datagram.splice(0..0, head.iter().copied());
            _ = udp.send_to(&datagram, camera::address());
            Some(())
        })
    });
    Told { count, what: "datagrams" }
}

/// The largest message that is allowed after it, without its last bytes.
fn before_welcome(scene: &Scene<'_>) -> Told {
    const LEN: u32 = (512 << 10) - 100;
    let begun = [&[0x81, 0x80 | 127, 0, 0, 0, 0][..], &LEN.to_be_bytes(), &[0; 4]].concat();
    let held = (0..1100).map_while(|n| scene.goes_on().then(|| hold(stranger(n), &begun, LEN as usize - 1)));
    let held: Vec<Stranger> = held.flatten().collect();
    while scene.goes_on() {
        std::thread::sleep(Duration::from_millis(20));
    }
    Told { count: held.len() as u64, what: "sockets" }
}

/// A WebSocket with a frame that is never completed.
fn hold(ip: Ipv4Addr, head: &[u8], len: usize) -> Option<Stranger> {
    let mut socket = Stranger::connect(ip)?;
    socket.write(head)?;
    socket.write(&vec![b' '; len])?;
    Some(socket)
}

fn half_requests(scene: &Scene<'_>) -> Told {
    let mut held = Vec::new();
    let mut n = 0;
    while scene.goes_on() {
        if held.len() < 1500
            && let Some(mut tcp) = tcp(stranger(n))
            && tcp.write_all(b"GET / HTTP/1.1\r\nHost: camera\r\nX-Slow: ").is_ok()
        {
            held.push(tcp);
        } else {
            std::thread::sleep(Duration::from_millis(5));
        }
        n += 1;
    }
    Told { count: held.len() as u64, what: "sockets" }
}

fn come_and_go(scene: &Scene<'_>) -> Told {
    let count =
        scene.all(4, |n, _| u64::from(Stranger::join(stranger(n), &format!("stranger-{n}")).is_some()));
    Told { count, what: "peers" }
}
