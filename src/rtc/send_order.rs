//! The order in which sessions send when the socket is writable.
//!
//! Packets that keep calls alive go before frames: if the system accepts less than there is to send, frames are late or
//! dropped, but no viewer is lost. Within each class, sessions take turns of one system call each.

use std::collections::VecDeque;

use super::SessionId;
use super::ids::ById;

/// The class of what a session has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Connectivity checks, handshakes and reports; and packets that were paced until now.
    Control,
    /// The packets of a frame.
    Frame,
}

/// The sessions with something to send, each once.
#[derive(Debug, Default)]
pub(super) struct Turns {
    control: VecDeque<SessionId>,
    frames: VecDeque<SessionId>,
    listed: ById<SessionId, Turn>,
}

impl Turns {
    /// A session has this to send, or nothing. It keeps its place where it has one.
    pub(super) fn list(&mut self, id: SessionId, turn: Option<Turn>) {
        if self.listed.get(&id).copied() == turn {
            return;
        }
        self.forget(id);
        let Some(turn) = turn else { return };
        self.listed.insert(id, turn);
        self.queue(turn).push_back(id);
    }

    /// The next session with this to send, which is taken off the list.
    pub(super) fn next_of(&mut self, turn: Turn) -> Option<SessionId> {
        let id = self.queue(turn).pop_front()?;
        self.listed.remove(&id);
        Some(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    pub(super) fn forget(&mut self, id: SessionId) {
        if let Some(turn) = self.listed.remove(&id) {
            self.queue(turn).retain(|other| *other != id);
        }
    }

    fn queue(&mut self, turn: Turn) -> &mut VecDeque<SessionId> {
        match turn {
            Turn::Control => &mut self.control,
            Turn::Frame => &mut self.frames,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(n: u64) -> SessionId {
        SessionId(n)
    }

    #[test]
    fn each_session_has_one_place_for_what_it_sends_first() {
        let mut turns = Turns::default();
        for n in 1..=3 {
            turns.list(id(n), Some(Turn::Frame));
            turns.list(id(n), Some(Turn::Frame));
        }
        turns.list(id(4), Some(Turn::Control));
        turns.list(id(2), Some(Turn::Control));
        turns.list(id(3), None);
        let mut all = |turn| std::iter::from_fn(|| turns.next_of(turn)).collect::<Vec<_>>();
        assert_eq!(all(Turn::Control), [id(4), id(2)]);
        assert_eq!(all(Turn::Frame), [id(1)]);
        assert!(turns.listed.is_empty());
    }

    #[test]
    fn who_has_more_waits_behind_the_others() {
        let mut turns = Turns::default();
        let mut left = [3, 1, 2];
        for n in 0..3 {
            turns.list(id(n), Some(Turn::Frame));
        }
        let mut order = vec![];
        while let Some(id) = turns.next_of(Turn::Frame) {
            order.push(id.0);
            left[id.0 as usize] -= 1;
            turns.list(id, (left[id.0 as usize] > 0).then_some(Turn::Frame));
        }
        assert_eq!(order, [0, 1, 2, 0, 2, 0]);
        turns.list(id(1), Some(Turn::Control));
        turns.forget(id(1));
        assert!(turns.is_empty());
        assert_eq!(turns.next_of(Turn::Control), None);
    }
}
