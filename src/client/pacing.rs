//! Messages queued to stay below the server's rate: in order, and shared fairly between recipients.
//!
//! Messages to one session take turns with those to others, so that nobody who makes us send a lot delays
//! what somebody else is waiting for. Everything else, such as a message to a room or a `join`, is a barrier:
//! what was queued before it is sent before it, and what was queued after it is sent after it, because the
//! recipients may overlap.

use std::collections::{HashMap, VecDeque};

/// What a message costs besides its bytes: the `String` itself and allocator overhead.
const OVERHEAD: usize = 64;

/// Frames waiting for a token, bounded in bytes.
pub(super) struct Outbox {
    parts: VecDeque<Part>,
    frames: usize,
    bytes: usize,
    limit: usize,
}

enum Part {
    Barrier(String),
    Sessions(Sessions),
}

/// A queue for each session; empty ones are not kept.
#[derive(Default)]
struct Sessions {
    queues: HashMap<Box<str>, VecDeque<String>>,
    /// The keys of `queues`, next in turn first.
    turns: VecDeque<Box<str>>,
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Self {
        Outbox { parts: VecDeque::new(), frames: 0, bytes: 0, limit }
    }

    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.bytes + bytes + OVERHEAD <= self.limit
    }

    pub(super) fn is_half_free(&self) -> bool {
        self.bytes <= self.limit / 2
    }

    /// Appends a frame, for the one session with this address or for others. The caller checked that it fits,
    /// or bounds it in another way.
    pub(super) fn push(&mut self, frame: String, session: Option<&str>) {
        self.frames += 1;
        self.bytes += frame.len() + OVERHEAD;
        let Some(session) = session else { return self.parts.push_back(Part::Barrier(frame)) };
        match self.parts.back_mut() {
            Some(Part::Sessions(sessions)) => sessions.push(frame, session),
            _ => {
                let mut sessions = Sessions::default();
                sessions.push(frame, session);
                self.parts.push_back(Part::Sessions(sessions));
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<String> {
        let frame = match self.parts.pop_front()? {
            Part::Barrier(frame) => frame,
            Part::Sessions(mut sessions) => {
                let frame = sessions.pop()?;
                if !sessions.turns.is_empty() {
                    self.parts.push_front(Part::Sessions(sessions));
                }
                frame
            }
        };
        self.frames -= 1;
        self.bytes -= frame.len() + OVERHEAD;
        Some(frame)
    }

    pub(super) fn len(&self) -> usize {
        self.frames
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames == 0
    }
}

impl Sessions {
    fn push(&mut self, frame: String, session: &str) {
        match self.queues.get_mut(session) {
            Some(queue) => queue.push_back(frame),
            None => {
                self.queues.insert(session.into(), VecDeque::from([frame]));
                self.turns.push_back(session.into());
            }
        }
    }

    fn pop(&mut self) -> Option<String> {
        let session = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&session)?;
        let frame = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&session);
        } else {
            self.turns.push_back(session);
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_counts_its_bytes_both_ways() {
        let mut outbox = Outbox::new(300);
        for text in ["a", "b", "c", "d"] {
            assert!(outbox.fits(1));
            outbox.push(text.into(), None);
        }
        assert!(!outbox.fits(100));
        assert_eq!(outbox.pop().as_deref(), Some("a"));
        assert!(outbox.fits(1));
        assert_eq!((outbox.len(), outbox.is_empty()), (3, false));
    }
    #[test]
    fn sessions_take_turns_and_barriers_hold() {
        let mut outbox = Outbox::new(10_000);
        for n in 0..100 {
            outbox.push(format!("m{n}"), Some("mallory|1"));
        }
        outbox.push("b0".into(), Some("bob|2"));
        outbox.push("b1".into(), Some("bob|2"));
        outbox.push("room".into(), None);
        outbox.push("b2".into(), Some("bob|2"));
        let all: Vec<String> = std::iter::from_fn(|| outbox.pop()).collect();
        assert_eq!(all[..6], ["m0", "b0", "m1", "b1", "m2", "m3"]);
        assert_eq!(all[101..], ["m99", "room", "b2"]);
        assert_eq!((outbox.len(), outbox.bytes), (0, 0));
    }
}
