//! Peers that are admitted, and what they send.

use std::time::{Duration, Instant};

use crate::load::Load;

/// How many connect at a time.
const AT_ONCE: usize = 64;

/// Far longer than any case takes; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a turn of the loop waits.
pub(crate) const WAIT: Duration = Duration::from_millis(20);

/// How much of a text is searched for its type, which comes first in all of them.
const HEAD: usize = 200;

/// Ends a run in which something does not arrive.
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn new() -> Deadline {
        Deadline(Instant::now() + PATIENCE)
    }

    pub(crate) fn check(&self, words: impl FnOnce() -> String) {
        assert!(Instant::now() < self.0, "timed out: {}", words());
    }
}

/// Connects `count` peers, each into its `room`; returns their addresses, by number.
pub(crate) fn admit(load: &mut Load, count: usize, room: impl Fn(usize) -> Option<String>) -> Vec<String> {
    admit_with(load, count, "", room)
}

/// The same, with `more` members in their `auth`, each preceded by a comma.
pub(crate) fn admit_with(
    load: &mut Load,
    count: usize,
    more: &str,
    room: impl Fn(usize) -> Option<String>,
) -> Vec<String> {
    let mut addresses = vec![String::new(); count];
    let (mut dialled, mut admitted, deadline) = (0, 0, Deadline::new());
    while admitted < count {
        deadline.check(|| format!("{admitted} of {count} peers were admitted"));
        while dialled < count.min(admitted + AT_ONCE) {
            let rooms = room(dialled).map(|room| format!(r#","rooms":["{room}"]"#)).unwrap_or_default();
            load.dial(format!(r#"{{"type":"auth","user":"p{dialled}"{rooms}{more}}}"#));
            dialled += 1;
        }
        load.turn(WAIT, |_, peer, text| {
            if is(text, "welcome") {
                let id = after(text, r#""id":""#).expect("a welcome has the id");
                addresses[peer] = format!("p{peer}|{id}");
                admitted += 1;
            }
        });
    }
    addresses
}

/// A message with `bytes` of data, to one address or to the sender's rooms.
pub(crate) fn message(from: &str, to: Option<&str>, bytes: usize) -> String {
    let to = to.map(|to| format!(r#""to":"{to}","#)).unwrap_or_default();
    let data = "x".repeat(bytes);
    format!(r#"{{"type":"message","id":"m1",{to}"from":"{from}","data":"{data}"}}"#)
}

/// Whether a text is of this type.
pub(crate) fn is(text: &str, kind: &str) -> bool {
    let value = after(text.get(..HEAD).unwrap_or(text), r#""type":""#);
    assert!(value != Some("error"), "the server sent {text}");
    value == Some(kind)
}

/// The string after `key`.
pub(crate) fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_once(key)?.1.split('"').next()
}
