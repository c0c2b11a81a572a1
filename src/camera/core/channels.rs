//! What viewers say by the channel `symple` of their calls: commands go the way of those that come by the server, and
//! their replies go back by the channel. So a viewer steers the camera while the server is away.
//!
//! | command | reply |
//! |---|---|
//! | `camera:snapshot`, `take` | the newest frame: `{"type":"image/jpeg","bytes":n}`, then so many bytes in binary messages |
//! | any other | as by the server; the sender is the call's peer |
//!
//! A viewer that says too much is held: nothing more is taken from its channel until its time has come, and SCTP makes it
//! wait. What it does not read stays with it, too: a reply that finds its queue full is dropped, and a snapshot goes on when
//! there is room.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{CameraCore, Output};
use crate::call::{CallId, RateLimit};
use crate::calling::ChannelEvent;
use crate::calling::data::{LABEL, receipt, stamp};
use crate::camera::controls::Reply;
use crate::camera::snapshot::Waiter;
use crate::client::SendError;
use crate::limit::Bucket;
use crate::media::sink::{Outcome, SnapshotError};
use crate::proto::{Address, Draft, Message, MessageKind, Status};
use crate::rtc::{ChannelError, ChannelId, ChannelLimits, ChannelMessage};

/// What a viewer may say: a token for each message, and one for each KiB of it. A hand that drags a slider sends 60 a
/// second at most, and waits for each answer.
const RATE: RateLimit = RateLimit { per_second: 100, burst: 200 };
/// How often a viewer gets a snapshot: a megabyte is no word.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);
/// Commands whose replies go by the channel; those before them that are not answered yet get theirs by the server.
const UNANSWERED: usize = 64;
/// The longest `id` of such a command.
const MAX_ID: usize = 128;
/// How much of a snapshot goes into a message: what all implementations of data channels take (RFC 8831, 6.6).
const PART: usize = 16 * 1024;
/// A reply with this status is followed by another one.
const MORE: Status = Status(202);

/// The limits of a viewer's channels. It needs one; a page that makes others, by mistake or for other cameras, may.
pub(in crate::camera) fn limits() -> ChannelLimits {
    ChannelLimits { channels: 4, receive_queue: 16 * 1024, ..ChannelLimits::default() }
}

/// The channels of all calls that have one.
#[derive(Default)]
pub(in crate::camera) struct Channels(BTreeMap<CallId, Line>);

/// The channel of a call.
struct Line {
    channel: ChannelId,
    said: Bucket,
    /// Nothing is taken from it until then.
    held: Option<Instant>,
    /// The senders and ids of commands that are not answered yet, the oldest first.
    unanswered: VecDeque<(Address, String)>,
    snapshot: Sending,
    /// When it may ask for the next one.
    next_snapshot: Instant,
}

/// The snapshot that a viewer asked for.
#[derive(Debug)]
enum Sending {
    Nothing,
    /// It is being taken.
    Waiting,
    /// So many of its bytes were sent.
    Sent(Arc<[u8]>, usize),
}

impl Channels {
    /// When to release those who were held.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().filter_map(|line| line.held).min()
    }

    pub(super) fn forget(&mut self, call: CallId) {
        self.0.remove(&call);
    }

    fn of(&mut self, call: CallId, channel: ChannelId) -> Option<&mut Line> {
        self.0.get_mut(&call).filter(|line| line.channel == channel)
    }
}

impl Line {
    fn new(channel: ChannelId, now: Instant) -> Line {
        let (said, unanswered) = (Bucket::new(RATE, now), VecDeque::new());
        Line { channel, said, held: None, unanswered, snapshot: Sending::Nothing, next_snapshot: now }
    }

    /// A command is to be answered by the channel.
    fn awaits(&mut self, command: &Message) {
        let (Some(from), Some(id)) = (command.from(), command.id()) else { return };
        if id.len() > MAX_ID {
            return;
        }
        if self.unanswered.len() >= UNANSWERED {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((from.clone(), id.to_owned()));
    }

    /// The place of a command that is to be answered by the channel.
    fn find(&self, command: &Message) -> Option<usize> {
        let (from, id) = (command.from()?, command.id()?);
        self.unanswered.iter().position(|(asker, known)| asker == from && known == id)
    }

    /// Whether a reply to this command goes by the channel. Only the last one ends that.
    fn answers(&mut self, command: &Message, status: Status) -> bool {
        let found = self.find(command);
        if let Some(at) = found.filter(|_| status != MORE) {
            self.unanswered.remove(at);
        }
        found.is_some()
    }
}

impl CameraCore {
    pub(super) fn channel_event(&mut self, call: CallId, event: ChannelEvent, now: Instant) {
        match event {
            ChannelEvent::Open { channel, label, ours, .. } => {
                let is_first = label == LABEL && !ours && !self.channels.0.contains_key(&call);
                if !is_first {
                    return self.calling.close_channel(call, channel, now);
                }
                self.channels.0.insert(call, Line::new(channel, now));
            }
            ChannelEvent::Message { channel, message } => self.hear_message(call, channel, &message, now),
            ChannelEvent::Writable { channel } => {
                if self.channels.of(call, channel).is_some() {
                    self.send_parts(call, now);
                }
            }
            ChannelEvent::Closed { channel, .. } => {
                if self.channels.of(call, channel).is_some() {
                    self.channels.forget(call);
                    self.calling.hold_channels(call, false, now);
                }
            }
            // A camera offers none.
            #[cfg(feature = "calls")]
            ChannelEvent::Settled { .. } => {}
        }
    }

    fn hear_message(&mut self, call: CallId, channel: ChannelId, message: &ChannelMessage, now: Instant) {
        let Some(line) = self.channels.of(call, channel) else { return };
        let tokens = 1 + message.as_bytes().len() / 1024;
        line.said.charge(u32::try_from(tokens).unwrap_or(u32::MAX), now);
        let ChannelMessage::Text(text) = message else { return self.hold_talkers(call, now) };
        let peer = self.calling.party(call).map(|party| party.peer.clone());
        if let Some(message) = peer.and_then(|peer| stamp(text, &peer)) {
            self.take_message(call, message, now);
        }
        self.hold_talkers(call, now);
    }

    fn take_message(&mut self, call: CallId, message: Message, now: Instant) {
        let is_call = message.subtype().is_some_and(|subtype| subtype.starts_with("call:"));
        let is_taken = match message.kind() {
            // Calls are what the server carries; a camera awaits no replies, and knows its viewer's presence.
            MessageKind::Command => message.status().is_none(),
            MessageKind::Message | MessageKind::Event => !is_call,
            _ => false,
        };
        if message.kind().is_routed()
            && let Some(receipt) = receipt(&message, is_taken)
        {
            self.say(call, receipt, now);
        }
        if !is_taken {
            return;
        }
        if *message.kind() != MessageKind::Command {
            return self.out.push_back(Output::Said(message));
        }
        let Some(line) = self.channels.0.get_mut(&call) else { return };
        line.awaits(&message);
        if message.get::<String>("node").ok().flatten().as_deref() == Some("camera:snapshot") {
            self.take_snapshot(call, message, now);
        } else {
            self.out.push_back(Output::Said(message));
        }
    }

    /// Takes nothing more from a viewer that says too much, for a while.
    fn hold_talkers(&mut self, call: CallId, now: Instant) {
        let Some(line) = self.channels.0.get_mut(&call) else { return };
        if line.said.ready_at(now) <= now {
            return;
        }
        // Half of it, so that it is not held and released for each message. What came together counts as a whole.
        if line.held.replace(line.said.half_at(now)).is_none() {
            self.calling.hold_channels(call, true, now);
        }
    }

    /// Takes again what viewers say whose time has come.
    pub(super) fn release_channels(&mut self, now: Instant) {
        let due = |line: &mut Line| line.held.take_if(|at| *at <= now).is_some();
        let due: Vec<CallId> =
            self.channels.0.iter_mut().filter_map(|(call, line)| due(line).then_some(*call)).collect();
        due.into_iter().for_each(|call| self.calling.hold_channels(call, false, now));
    }

    /// Sends the reply to a command by the channel that it came by; `None` if it came by the server.
    pub(in crate::camera) fn answer_by_channel(
        &mut self,
        command: &Message,
        status: Status,
        reply: String,
        now: Instant,
    ) -> Option<Result<(), SendError>> {
        let mut lines = self.channels.0.iter_mut();
        let (call, channel) =
            lines.find_map(|(call, line)| line.answers(command, status).then_some((*call, line.channel)))?;
        let bytes = reply.len();
        let sent = self.calling.send(call, channel, &ChannelMessage::Text(reply), now);
        self.settle(now);
        Some(sent.map_err(|e| match e {
            ChannelError::Full => SendError::Full,
            ChannelError::TooLarge { limit } => SendError::TooLarge { bytes, limit },
            _ => SendError::Offline,
        }))
    }

    /// Sends a text by a call's channel. Returns whether there was room for it.
    fn say(&mut self, call: CallId, text: String, now: Instant) -> bool {
        let Some(line) = self.channels.0.get(&call) else { return false };
        let sent = self.calling.send(call, line.channel, &ChannelMessage::Text(text), now);
        sent.inspect_err(|e| log::debug!("call {call}: its channel takes nothing: {e}")).is_ok()
    }

    fn take_snapshot(&mut self, call: CallId, command: Message, now: Instant) {
        let action: Option<String> = command.get("action").ok().flatten();
        let Some(line) = self.channels.0.get_mut(&call) else { return };
        // One without an id gets no reply, and so no snapshot.
        if line.find(&command).is_none() {
            return;
        }
        let refused = if action.as_deref() != Some("take") {
            Some(refusal(Status::BAD_REQUEST, "bad-request", "its action is take"))
        } else if !matches!(line.snapshot, Sending::Nothing) || now < line.next_snapshot {
            Some(refusal(Status::UNAVAILABLE, "busy", "one snapshot a second, after the one before"))
        } else {
            None
        };
        if let Some(reply) = refused {
            self.reply_snapshot(call, &command, &reply, now);
            return;
        }
        line.snapshot = Sending::Waiting;
        line.next_snapshot = now + SNAPSHOT_EVERY;
        self.ask_for_snapshot(Waiter::Viewer(call, command), Duration::ZERO, now);
    }

    /// The snapshot of a viewer is there, or will not be.
    pub(super) fn send_snapshot(&mut self, call: CallId, command: &Message, outcome: Outcome, now: Instant) {
        // The channel may be another one than that by which it was asked for.
        let Some(line) = self.channels.0.get_mut(&call).filter(|line| line.find(command).is_some()) else {
            return;
        };
        line.snapshot = Sending::Nothing;
        let (reply, jpeg) = match outcome {
            Ok(snapshot) => {
                let data = json!({ "type": "image/jpeg", "bytes": snapshot.jpeg.len() });
                ((Status::OK, data), Some(snapshot.jpeg))
            }
            Err(error) => {
                let status =
                    if error == SnapshotError::NoJpeg { Status::NOT_FOUND } else { Status::UNAVAILABLE };
                (refusal(status, error.code(), &error.to_string()), None)
            }
        };
        // Without its reply, a snapshot is nothing.
        if self.reply_snapshot(call, command, &reply, now)
            && let (Some(jpeg), Some(line)) = (jpeg, self.channels.0.get_mut(&call))
        {
            line.snapshot = Sending::Sent(jpeg, 0);
            self.send_parts(call, now);
        }
    }

    /// Returns whether there was room for the reply.
    fn reply_snapshot(
        &mut self,
        call: CallId,
        command: &Message,
        (status, data): &Reply,
        now: Instant,
    ) -> bool {
        if let Some(line) = self.channels.0.get_mut(&call) {
            line.answers(command, *status);
        }
        self.say(call, Draft::new(MessageKind::Command).reply(command, *status, data).finish(), now)
    }

    /// Sends as much of a snapshot as there is room for.
    fn send_parts(&mut self, call: CallId, now: Instant) {
        while let Some(line) = self.channels.0.get_mut(&call) {
            let Sending::Sent(jpeg, sent) = &mut line.snapshot else { return };
            let end = jpeg.len().min(*sent + PART);
            let part = ChannelMessage::Binary(jpeg[*sent..end].to_vec());
            match self.calling.send(call, line.channel, &part, now) {
                Ok(()) if end < jpeg.len() => *sent = end,
                // It goes on when there is room.
                Err(ChannelError::Full) => return,
                Ok(()) => line.snapshot = Sending::Nothing,
                Err(e) => {
                    log::debug!("call {call}: a snapshot is not sent: {e}");
                    line.snapshot = Sending::Nothing;
                }
            }
        }
    }
}

fn refusal(status: Status, code: &str, message: &str) -> Reply {
    (status, json!({ "code": code, "message": message }))
}
