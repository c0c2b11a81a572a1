//! The cases. Each loads a fresh process and returns what it cost.

use std::time::{Duration, Instant};

use crate::load::Load;
use crate::peers::{Deadline, WAIT, admit, admit_with, after, is, message};
use crate::subject::Subject;

/// A case stops sending after this time; what was sent counts.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

/// How many messages may be in flight from a sender that nobody else paces.
const STREAM: usize = 8;

/// One direction between pairs, each in a room of its own, with `in_flight` messages at a time: microseconds per
/// message.
pub(crate) struct Direct {
    pub pairs: usize,
    pub in_flight: usize,
    pub bytes: usize,
    pub messages: usize,
}

pub(crate) fn direct(subject: &Subject, case: &Direct) -> f64 {
    let mut load = Load::new(subject.address);
    let peers = admit(&mut load, 2 * case.pairs, |peer| Some(format!("room-{}", peer / 2)));
    load.settle();
    let texts: Vec<String> =
        peers.chunks(2).map(|pair| message(&pair[0], Some(&pair[1]), case.bytes)).collect();
    subject.cost(|| {
        let (mut sent, mut came, began, deadline) = (0, 0, Instant::now(), Deadline::new());
        for (pair, text) in texts.iter().enumerate() {
            (0..case.in_flight).for_each(|_| load.send(2 * pair, text));
            sent += case.in_flight;
        }
        while came < sent {
            deadline.check(|| format!("{came} of {sent} messages arrived"));
            let more = began.elapsed() < LONG_ENOUGH;
            load.turn(WAIT, |outbox, peer, text| {
                if !is(text, "message") {
                    return;
                }
                came += 1;
                if more && sent < case.messages {
                    outbox.send(peer - 1, &texts[peer / 2]);
                    sent += 1;
                }
            });
        }
        came
    })
}

/// One peer sends to another at a fixed rate, so that the server sleeps between messages: microseconds per message.
pub(crate) fn paced(subject: &Subject, per_second: u32, bytes: usize, messages: u32) -> f64 {
    let mut load = Load::new(subject.address);
    let peers = admit(&mut load, 2, |_| Some("room".into()));
    load.settle();
    let text = message(&peers[0], Some(&peers[1]), bytes);
    subject.cost(|| {
        let (mut sent, mut came, began, deadline) = (0, 0, Instant::now(), Deadline::new());
        while came < messages {
            deadline.check(|| format!("{came} of {sent} messages arrived"));
            let mut wait = WAIT;
            if sent < messages {
                wait = (sent * Duration::from_secs(1) / per_second).saturating_sub(began.elapsed());
                if wait.is_zero() {
                    load.send(0, &text);
                    sent += 1;
                    continue;
                }
            }
            load.turn(wait, |_, _, text| came += u32::from(is(text, "message")));
        }
        came as usize
    })
}

/// One peer sends to its whole room, two messages at a time: microseconds per delivery.
pub(crate) fn fan_out(subject: &Subject, members: usize, messages: usize) -> f64 {
    let mut load = Load::new(subject.address);
    let peers = admit(&mut load, members + 1, |_| Some("room".into()));
    load.settle();
    let text = message(&peers[0], None, 200);
    subject.cost(|| {
        let (mut sent, mut came, began, deadline) = (0, 0, Instant::now(), Deadline::new());
        while came < sent * members || sent == 0 {
            deadline.check(|| format!("{came} of {} deliveries arrived", sent * members));
            while sent < messages && came + members > sent * members && began.elapsed() < LONG_ENOUGH {
                load.send(0, &text);
                sent += 1;
            }
            load.turn(WAIT, |_, _, text| came += usize::from(is(text, "message")));
        }
        came
    })
}

/// All join one room at once, probe it, and answer each other, until all rosters are complete and everything is
/// delivered: microseconds per delivered frame of any kind.
pub(crate) fn join(subject: &Subject, count: usize) -> f64 {
    let mut load = Load::new(subject.address);
    let peers = admit(&mut load, count, |_| None);
    load.settle();
    subject.cost(|| {
        let presence = |peer: usize, rest: &str| {
            let (address, id) = (&peers[peer], peers[peer].split('|').nth(1).unwrap_or_default());
            format!(
                r#"{{"type":"presence",{rest},"from":"{address}","data":{{"user":"p{peer}","name":"p{peer}","id":"{id}","online":true}}}}"#
            )
        };
        for peer in 0..count {
            load.send(peer, r#"{"type":"join","room":"all"}"#);
            load.send(peer, &presence(peer, r#""probe":true"#));
        }
        let mut known = vec![false; count * count];
        let (mut pairs, mut frames, deadline) = (0, 0, Deadline::new());
        let mut quiet = false;
        while pairs < count * (count - 1) || !quiet {
            deadline.check(|| format!("{pairs} roster entries arrived of {}", count * (count - 1)));
            quiet = !load.turn(5 * WAIT, |outbox, peer, text| {
                frames += 1;
                if !is(text, "presence") {
                    return;
                }
                let from = after(text, r#""from":""#).expect("a presence has a sender");
                let number = from[1..].split('|').next().and_then(|n| n.parse::<usize>().ok());
                let other = number.expect("users are numbered");
                pairs += usize::from(!std::mem::replace(&mut known[peer * count + other], true));
                if text.contains(r#""probe":true"#) {
                    outbox.send(peer, &presence(peer, &format!(r#""to":"{from}""#)));
                }
            });
        }
        frames
    })
}

/// All join one room at once and stay silent: microseconds per announced peer, until every roster is complete. Each
/// peer has `bytes` of data; clients accept several presences in one frame.
pub(crate) fn storm(subject: &Subject, count: usize, bytes: usize) -> f64 {
    let mut load = Load::new(subject.address);
    let more = format!(r#","accept":["presence:batch"],"data":{{"x":"{}"}}"#, "x".repeat(bytes));
    admit_with(&mut load, count, &more, |_| None);
    load.settle();
    let cost = subject.cost(|| {
        (0..count).for_each(|peer| load.send(peer, r#"{"type":"join","room":"all"}"#));
        let mut known = vec![false; count * count];
        let (mut pairs, deadline) = (0, Deadline::new());
        while pairs < count * (count - 1) {
            deadline.check(|| format!("{pairs} roster entries arrived of {}", count * (count - 1)));
            load.turn(WAIT, |_, peer, text| {
                if !is(text, "presence") && !is(text, "presence:batch") {
                    return;
                }
                for of in text.split(r#""from":"p"#).skip(1) {
                    let other = of.split('|').next().and_then(|n| n.parse::<usize>().ok());
                    let other = other.expect("users are numbered");
                    assert!(!std::mem::replace(&mut known[peer * count + other], true), "told twice");
                    pairs += 1;
                }
            });
        }
        pairs
    });
    assert!((0..count).all(|peer| load.is_open(peer)), "the server closed peers");
    cost
}

/// Peers connect, two to a room: microseconds per peer.
pub(crate) fn connect(subject: &Subject, count: usize) -> f64 {
    let mut load = Load::new(subject.address);
    subject.cost(|| admit(&mut load, count, |peer| Some(format!("room-{}", peer / 2))).len())
}

/// Idle peers, two to a room: bytes of resident memory per peer.
pub(crate) fn idle(subject: &Subject, count: usize) -> f64 {
    let mut load = Load::new(subject.address);
    let before = subject.resident();
    admit(&mut load, count, |peer| Some(format!("room-{}", peer / 2)));
    load.settle();
    (subject.resident() - before) as f64 / count as f64
}

/// One of two readers stops, and its room continues until `bytes` are sent, as fast as the other reads: the maximum
/// growth of the process, in bytes.
pub(crate) fn stopped_reader(subject: &Subject, bytes: usize) -> f64 {
    const MESSAGE: usize = 4096;
    let mut load = Load::new(subject.address);
    let peers = admit(&mut load, 3, |_| Some("room".into()));
    load.settle();
    let before = subject.resident();
    load.stop_reading(2);
    let text = message(&peers[0], None, MESSAGE);
    let (mut sent, mut came, deadline) = (0, 0, Deadline::new());
    while came < bytes / MESSAGE {
        deadline.check(|| format!("{came} of {sent} messages arrived"));
        assert!(load.is_open(1), "the peer that reads was closed");
        while sent < (came + STREAM).min(bytes / MESSAGE) {
            load.send(0, &text);
            sent += 1;
        }
        load.turn(WAIT, |_, _, text| came += usize::from(is(text, "message")));
    }
    (subject.peak().saturating_sub(before)) as f64
}
