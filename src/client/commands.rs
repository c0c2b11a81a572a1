//! Commands that await their replies.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use crate::proto::{Address, Target};

/// One of our commands, as [`Agent::command`](super::Agent::command) named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub u64);

/// Why a command has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// None came in time.
    TimedOut,
    /// The connection was lost; whether the peer got the command is not known.
    Offline,
    /// Nobody got it: there is no such peer, or we share no room with it.
    NobodyThere,
}

impl CommandError {
    /// A stable name: `timed-out`, `lost` or `nobody-there`, as those of [`RequestError`](super::RequestError).
    pub fn code(self) -> &'static str {
        match self {
            CommandError::TimedOut => "timed-out",
            CommandError::Offline => "lost",
            CommandError::NobodyThere => "nobody-there",
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CommandError::TimedOut => "no reply came in time",
            CommandError::Offline => "the connection was lost before a reply came",
            CommandError::NobodyThere => "nobody got the command: no such peer, or no room shared with it",
        })
    }
}

impl std::error::Error for CommandError {}

struct Pending {
    id: CommandId,
    to: String,
    until: Instant,
}

/// By the id on the wire.
#[derive(Default)]
pub(super) struct Commands {
    pending: BTreeMap<String, Pending>,
    count: u64,
}

impl Commands {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_pending(&self, wire_id: &str) -> bool {
        self.pending.contains_key(wire_id)
    }

    pub(super) fn add(&mut self, wire_id: String, to: &str, until: Instant) -> CommandId {
        self.count += 1;
        let id = CommandId(self.count);
        self.pending.insert(wire_id, Pending { id, to: to.to_owned(), until });
        id
    }

    /// Whose reply this is: same id, and from one whom the command was addressed to.
    pub(super) fn find(&self, wire_id: &str, from: Option<&Address>) -> Option<CommandId> {
        let pending = self.pending.get(wire_id)?;
        let asked = match (Target::parse(&pending.to)?, from) {
            (Target::Session { .. }, Some(from)) => from.as_str() == pending.to,
            (Target::User(user), Some(from)) => from.user() == user,
            (Target::Id(id), Some(from)) => from.id() == id,
            // A room's name may be anybody's.
            (Target::Name(_), _) => true,
            (_, None) => false,
        };
        asked.then_some(pending.id)
    }

    pub(super) fn postpone(&mut self, wire_id: &str, until: Instant) {
        if let Some(pending) = self.pending.get_mut(wire_id) {
            pending.until = until;
        }
    }

    pub(super) fn finish(&mut self, wire_id: &str) -> Option<CommandId> {
        self.pending.remove(wire_id).map(|pending| pending.id)
    }

    /// Whoever asked is gone: a reply is then an ordinary message.
    pub(super) fn forget(&mut self, id: CommandId) {
        self.pending.retain(|_, pending| pending.id != id);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.until).min()
    }

    /// Those whose time is over, in the order in which they were sent.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<CommandId> {
        self.take(|pending| pending.until <= now)
    }

    pub(super) fn take_all(&mut self) -> Vec<CommandId> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(&Pending) -> bool) -> Vec<CommandId> {
        let mut taken: Vec<CommandId> = self.pending.values().filter(|p| which(p)).map(|p| p.id).collect();
        self.pending.retain(|_, pending| !which(pending));
        taken.sort_unstable();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_believed_from_whom_the_command_was_sent_to() {
        for (to, from, believed) in [
            ("bob|1", Some("bob|1"), true),
            ("bob|1", Some("bob|2"), false),
            ("bob|1", Some("eve|1"), false),
            ("bob|1", None, false),
            ("bob|", Some("bob|2"), true),
            ("bob|", Some("eve|2"), false),
            ("|1", Some("bob|1"), true),
            ("|1", Some("bob|2"), false),
            ("room", Some("eve|1"), true),
            ("room", None, true),
        ] {
            let mut commands = Commands::default();
            let id = commands.add("w".into(), to, Instant::now());
            let found = commands.find("w", from.map(Address::from).as_ref());
            assert_eq!(found, believed.then_some(id), "{to} {from:?}");
            assert_eq!(commands.find("v", from.map(Address::from).as_ref()), None);
        }
    }
}
