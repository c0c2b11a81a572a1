//! What the application says: messages, commands, rooms, our own presence.

use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use super::agent::{Stage, later};
use super::{Agent, AnswerId, CommandId, RequestError, SendError, State};
use crate::proto::{
    Draft, Head, Message, MessageKind, Object, PRESENCE_BATCH, Peer, Status, Target, To, Token,
};

/// A client that takes smaller frames asks for no batches. Twice the largest batch of our own server.
const LARGEST_BATCH: usize = 64 << 10;

/// Whether a message asks for a receipt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receipt {
    /// As its draft has it.
    AsWritten,
    /// In any case.
    Awaited,
}

/// Adds members to a frame.
fn append(frame: &mut String, members: &str) {
    frame.truncate(frame.len() - 1);
    frame.push_str(members);
    frame.push('}');
}

impl Agent {
    /// The token for the next `auth`, where the old one has run out.
    pub fn set_token(&mut self, token: Option<Token>) {
        self.config.token = token;
    }

    /// Sends a message, or lets it wait for its turn, and returns its id, which it gets where it has none.
    ///
    /// Errors: we are offline, too much waits already, or the draft is nothing that a peer could get.
    pub fn send(&mut self, draft: Draft, now: Instant) -> Result<String, SendError> {
        self.tick(now);
        self.submit(draft, Receipt::AsWritten)
    }

    fn submit(&mut self, draft: Draft, receipt: Receipt) -> Result<String, SendError> {
        let mut frame = draft.finish();
        let head = Head::parse(&frame).map_err(|e| SendError::Invalid { reason: e.to_string() })?;
        let invalid = |why: &str| Err(SendError::Invalid { reason: why.into() });
        match MessageKind::from(&*head.kind) {
            MessageKind::Join | MessageKind::Leave => {
                return invalid("rooms are joined and left by join() and leave()");
            }
            MessageKind::Close => return invalid("close() closes"),
            kind if kind.is_routed() || matches!(kind, MessageKind::Other(_)) => {}
            _ => return invalid("its \"type\" is none that a client sends"),
        }
        let session = match head.to() {
            None => return invalid("\"to\" is a non-empty string or a list of them"),
            Some(To::One(to)) => match Target::parse(&to) {
                Some(Target::Session { .. }) => Some(to.into_owned()),
                _ => None,
            },
            Some(To::Absent | To::List(_)) => None,
        };
        let wants_receipt = receipt == Receipt::Awaited && !head.receipt;
        let id = match head.id.map(serde_json::from_str::<String>) {
            Some(Ok(id)) => id,
            Some(Err(_)) => return invalid("\"id\" is a string"),
            None => {
                let id = self.random.id();
                append(&mut frame, &format!(",\"id\":\"{id}\""));
                id
            }
        };
        if wants_receipt {
            append(&mut frame, ",\"receipt\":true");
        }
        let is_taken = self.answers.awaits_receipt(&id) || self.commands.is_pending(&id);
        if receipt == Receipt::Awaited && is_taken {
            return invalid("its \"id\" is that of one whose answer is awaited");
        }
        self.enqueue(frame, session.as_deref())?;
        Ok(id)
    }

    /// Asks `to` to do `action` at `node`; the reply comes as [`Event::Reply`](super::Event::Reply), always one.
    ///
    /// Errors: as [`Agent::send`], or too many commands await replies.
    pub fn command<T: Serialize + ?Sized>(
        &mut self,
        to: &str,
        node: &str,
        action: &str,
        data: &T,
        now: Instant,
    ) -> Result<CommandId, SendError> {
        if self.commands.len() >= self.config.max_commands {
            return Err(SendError::TooManyCommands);
        }
        // The receipt tells at once that nobody is there; servers that know none pass the member on.
        let draft = Draft::new(MessageKind::Command).to(to).command(node, action, data);
        let wire_id = self.send(draft.with("receipt", &true), now)?;
        Ok(self.commands.add(wire_id, to, later(now, self.config.command_timeout)))
    }

    /// As [`Agent::command`], for who awaits the reply: it is kept for [`Agent::take_answer`], and is an event
    /// too. A reply with a status of 400 or more is [`RequestError::Refused`].
    ///
    /// Errors: as [`Agent::command`].
    pub fn request<T: Serialize + ?Sized>(
        &mut self,
        to: &str,
        node: &str,
        action: &str,
        data: &T,
        now: Instant,
    ) -> Result<AnswerId, SendError> {
        self.check_answers()?;
        let command = self.command(to, node, action, data, now)?;
        Ok(self.answers.add_reply(command))
    }

    /// As [`Agent::send`] with [`Draft::receipt`], for who awaits the receipt: it is kept for
    /// [`Agent::take_answer`], and is an event too. Its member `delivered` says how many sessions got the
    /// message.
    ///
    /// Errors: as [`Agent::send`], too many answers are awaited, or one for the same `id` is.
    pub fn deliver(&mut self, draft: Draft, now: Instant) -> Result<AnswerId, SendError> {
        self.tick(now);
        self.check_answers()?;
        let wire_id = self.submit(draft, Receipt::Awaited)?;
        let until = later(self.now, self.config.command_timeout);
        Ok(self.answers.add_receipt(wire_id, until))
    }

    /// The answer to a [`request`](Agent::request) or a [`deliver`](Agent::deliver), once it is there; it is
    /// forgotten then.
    pub fn take_answer(&mut self, id: AnswerId) -> Option<Result<Message, RequestError>> {
        self.answers.take(id)
    }

    /// Awaits an answer no more. A reply that still comes is an [`Event::Message`](super::Event::Message), a
    /// receipt an [`Event::Receipt`](super::Event::Receipt).
    pub fn forget(&mut self, id: AnswerId) {
        if let Some(command) = self.answers.forget(id) {
            self.commands.forget(command);
        }
    }

    fn check_answers(&self) -> Result<(), SendError> {
        match self.answers.len() < self.config.max_commands {
            true => Ok(()),
            false => Err(SendError::TooManyCommands),
        }
    }

    /// Answers a command, under its own id. Status 202 says that more will follow.
    ///
    /// Errors: as [`Agent::send`], or nobody can be answered: the command has no sender.
    pub fn reply<T: Serialize + ?Sized>(
        &mut self,
        command: &Message,
        status: Status,
        data: &T,
        now: Instant,
    ) -> Result<(), SendError> {
        let Some(from) = command.from() else {
            return Err(SendError::Invalid { reason: "the command that it answers has no sender".into() });
        };
        let draft = Draft::new(MessageKind::Command).to(from.as_str());
        self.send(draft.reply(command, status, data), now).map(drop)
    }

    /// Joins a room, now and after every reconnect; while offline, from the next `welcome` on.
    /// Asking for a room that we are in is answered again, so this is a heartbeat too.
    ///
    /// Errors: the name is none, too many rooms are wished for already, or too much waits to be sent.
    pub fn join(&mut self, room: &str, now: Instant) -> Result<(), SendError> {
        self.tick(now);
        self.wishes.join(room)?;
        self.ask_room(MessageKind::Join, room)
    }

    /// Leaves a room, now and after every reconnect.
    ///
    /// Errors: as for [`Agent::join`].
    pub fn leave(&mut self, room: &str, now: Instant) -> Result<(), SendError> {
        self.tick(now);
        self.wishes.leave(room)?;
        self.ask_room(MessageKind::Leave, room)
    }

    /// Merges `data` into what others are told of us, and tells them; offline, at the next `welcome`.
    /// What is the server's (`id`, `user`, `online`, `host`, `token`, `rooms`) is passed over.
    ///
    /// Errors: with it there would be more than `max_peer_data` bytes, and nothing is merged; or too much
    /// waits to be sent, and it is merged all the same, and told the next time.
    pub fn set_data(&mut self, data: Object, now: Instant) -> Result<(), SendError> {
        self.tick(now);
        let mut merged = self.config.data.clone();
        for (key, value) in data {
            if !matches!(&*key, "id" | "user" | "online" | "host" | "token" | "rooms") {
                merged.insert(key, value);
            }
        }
        let (bytes, limit) = (Value::Object(merged.clone()).to_string().len(), self.config.max_peer_data);
        if bytes > limit {
            return Err(SendError::TooLarge { bytes, limit });
        }
        self.config.data = merged;
        let Stage::Online(session) = &mut self.stage else { return Ok(()) };
        // A server that authenticates keeps the name that it knows.
        session.peer.merge(self.config.data.clone(), self.config.token.is_some());
        let frame = self.presence(None, false);
        self.enqueue(frame, None)
    }

    /// Asks all who share a room with us for their presence. It happens by itself after `welcome`.
    ///
    /// Errors: we are offline, or too much waits to be sent.
    pub fn probe(&mut self, now: Instant) -> Result<(), SendError> {
        self.tick(now);
        let frame = self.presence(None, true);
        self.enqueue(frame, None)
    }

    /// `session` is the address of the one session that a frame is for, if it is for one.
    pub(super) fn enqueue(&mut self, frame: String, session: Option<&str>) -> Result<(), SendError> {
        let Stage::Online(online) = &mut self.stage else { return Err(SendError::Offline) };
        let (bytes, limit) = (frame.len(), self.config.max_message_size);
        if bytes > limit {
            return Err(SendError::TooLarge { bytes, limit });
        }
        if !online.outbox.fits(bytes) {
            return Err(SendError::Full);
        }
        online.outbox.push(frame, session);
        Ok(())
    }

    /// Offline the wish alone is enough.
    fn ask_room(&mut self, kind: MessageKind, room: &str) -> Result<(), SendError> {
        if self.state() != State::Online {
            return Ok(());
        }
        self.enqueue(Draft::new(kind).with("room", room).finish(), None)?;
        if let Stage::Online(session) = &mut self.stage {
            session.note_asked(room);
        }
        Ok(())
    }

    pub(super) fn auth(&self) -> String {
        let mut draft = Draft::new(MessageKind::Auth).with("user", &self.config.user);
        if let Some(name) = &self.config.name {
            draft = draft.with("name", name);
        }
        if let Some(token) = &self.config.token {
            draft = draft.with("token", token.reveal());
        }
        let rooms: Vec<&str> = self.wishes.wanted().collect();
        if !rooms.is_empty() {
            draft = draft.with("rooms", &rooms);
        }
        if !self.config.data.is_empty() {
            draft = draft.data(&self.config.data);
        }
        if self.config.max_message_size >= LARGEST_BATCH {
            draft = draft.with("accept", &[PRESENCE_BATCH]);
        }
        draft.finish()
    }

    /// Our presence, whole: a server or a client of another make may know nothing of us yet.
    pub(super) fn presence(&mut self, to: Option<&str>, probe: bool) -> String {
        let mut draft = Draft::new(MessageKind::Presence).id(&self.random.id());
        if let Some(to) = to {
            draft = draft.to(to);
        }
        if let Some(peer) = self.peer() {
            draft = draft.data(&Peer { host: None, ..peer.clone() });
        }
        if probe { draft.with("probe", &true) } else { draft }.finish()
    }
}
