//! The data channels of a session: their negotiation, and str0m's SCTP between the table of channels and the datagrams.

use std::collections::VecDeque;
use std::time::Instant;

use str0m::channel::{ChannelConfig, ChannelId as Key, Reliability};
use str0m::net::{Protocol as Carrier, Receive};

use super::connect::Role;
use super::offering::OpenOffer;
use super::sdp::Section;
use super::supply::Data;
use super::{Note, Session, Sink};
use crate::rtc::data::table::{Opened, Table};
use crate::rtc::data::{
    ChannelError, ChannelId, ChannelLimits, ChannelMessage, ChannelOptions, ChannelStats,
};
use crate::rtc::demux;
use crate::rtc::{Path, Protocol};

/// A notification about a channel.
pub(in crate::rtc) enum ChannelNote {
    Open { channel: ChannelId, label: String, protocol: String, ours: bool },
    Message { channel: ChannelId, message: ChannelMessage },
    Writable { channel: ChannelId },
    Closed { channel: ChannelId, error: ChannelError },
}

/// Whether both sides have agreed on data channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    NotYet,
    Agreed,
    /// The section and its SCTP association were stopped, or the association failed; a transport has only one.
    Over(ChannelError),
}

pub(super) struct Channels {
    limits: ChannelLimits,
    table: Table<Key>,
    phase: Phase,
    /// Whether the owner of the session wants data channels; `None` accepts an offered section.
    wanted: Option<bool>,
    /// Whether the other side's datagrams are held back.
    held: bool,
    waiting: VecDeque<(Path, Vec<u8>)>,
    waiting_bytes: usize,
    /// Notifications caused by descriptions.
    notes: Vec<Note>,
}

impl Channels {
    pub(super) fn new(limits: ChannelLimits) -> Channels {
        Channels {
            limits,
            table: Table::new(limits),
            phase: Phase::NotYet,
            wanted: None,
            held: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            notes: vec![],
        }
    }

    pub(super) fn limits(&self) -> ChannelLimits {
        self.limits
    }

    pub(super) fn stats(&self) -> ChannelStats {
        self.table.stats()
    }

    fn is_agreed(&self) -> bool {
        self.phase == Phase::Agreed
    }

    fn close_all(&mut self, error: ChannelError) {
        let closed = self.table.close_all();
        self.note_closed(closed, error);
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    fn note_closed(&mut self, closed: Vec<ChannelId>, error: ChannelError) {
        let note = |channel| Note::Channel(ChannelNote::Closed { channel, error });
        self.notes.extend(closed.into_iter().map(note));
    }
}

/// Negotiation.
impl Session {
    /// Returns the policy for data channels in the next descriptions.
    pub(super) fn data(&self) -> Data {
        match self.channels.as_deref() {
            Some(Channels { phase: Phase::NotYet | Phase::Agreed, wanted, .. }) => Data::of(*wanted),
            _ => Data::Declined,
        }
    }

    /// Sets whether the session has data channels, from its next description on.
    pub(in crate::rtc) fn set_channels(&mut self, wanted: Option<bool>) {
        if let Some(channels) = &mut self.channels {
            channels.wanted = wanted;
        }
    }

    /// Applies an agreement on a section for data channels, or on none.
    pub(super) fn agree_on_data(&mut self, section: Option<&Section>) {
        let Some(channels) = &mut self.channels else { return };
        match section {
            Some(section) => {
                channels.table.set_their_limit(section.max_message);
                channels.phase = Phase::Agreed;
                // SCTP starts once DTLS is connected, and only once.
                let mut api = self.rtc.direct_api();
                api.start_sctp(self.role == Some(Role::Active));
                channels.table.open_waiting(|options| api.create_data_channel(config(options)));
            }
            None if channels.is_agreed() => {
                channels.phase = Phase::Over(ChannelError::NotAgreed);
                channels.close_all(ChannelError::NotAgreed);
            }
            None => {}
        }
    }

    /// Our offer has a section for data channels: what the other side sends as soon as it has agreed overtakes its answer.
    pub(super) fn await_data(&mut self) {
        if self.role == Some(Role::Passive) {
            self.rtc.direct_api().start_sctp(false);
        }
    }

    /// The answer to our offer of data channels is applied, or we cannot offer any: channels that wait for an agreement wait
    /// no longer.
    pub(super) fn end_waiting(&mut self) {
        if let Some(channels) = &mut self.channels {
            let refused = channels.table.refuse_waiting();
            channels.note_closed(refused, ChannelError::NotAgreed);
        }
    }

    /// Handles a restart of the transport, which also restarts SCTP.
    pub(super) fn restart_channels(&mut self) {
        if let Some(channels) = &mut self.channels {
            channels.close_all(ChannelError::Closed);
            channels.phase = Phase::NotYet;
        }
    }

    /// Whether both sides have agreed on data channels.
    pub(in crate::rtc) fn has_channels(&self) -> bool {
        self.channels.as_ref().is_some_and(|channels| channels.is_agreed())
    }

    /// Whether DTLS carries data channels.
    pub(in crate::rtc) fn takes_data(&self) -> bool {
        self.has_channels() || self.open.as_ref().is_some_and(OpenOffer::has_data)
    }
}

/// Channels and messages.
impl Session {
    pub(in crate::rtc) fn open_channel(
        &mut self,
        options: &ChannelOptions,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> Result<ChannelId, ChannelError> {
        let channels = self.channels.as_mut().ok_or(ChannelError::NotAgreed)?;
        let is_wanted = channels.wanted == Some(true);
        match channels.phase {
            Phase::Agreed => channels.table.check_open(options)?,
            Phase::NotYet if is_wanted => {
                channels.table.check_open(options)?;
                return Ok(channels.table.wait(options.clone()));
            }
            Phase::NotYet => return Err(ChannelError::NotAgreed),
            Phase::Over(error) => return Err(error),
        }
        let key = self.rtc.direct_api().create_data_channel(config(options));
        let id = channels.table.open(key);
        self.drive(now, sink);
        Ok(id)
    }

    pub(in crate::rtc) fn send(
        &mut self,
        id: ChannelId,
        message: &ChannelMessage,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> Result<(), ChannelError> {
        let waiting = self.unsent();
        let channels = self.channels.as_mut().ok_or(ChannelError::Closed)?;
        let bytes = message.as_bytes();
        let key = channels.table.check_send(id, bytes.len(), waiting)?;
        let mut channel = self.rtc.channel(key).ok_or(ChannelError::Closed)?;
        match channel.write(matches!(message, ChannelMessage::Binary(_)), bytes) {
            Ok(true) => channels.table.sent(bytes.len()),
            Ok(false) => return Err(ChannelError::Full),
            Err(e) => {
                log::debug!("session {}: cannot send on a channel: {e}", self.id.0);
                return Err(ChannelError::Closed);
            }
        }
        self.drive(now, sink);
        Ok(())
    }

    pub(in crate::rtc) fn close_channel(&mut self, id: ChannelId, now: Instant, sink: &mut Sink<'_>) {
        let key = self.channels.as_mut().and_then(|channels| channels.table.close(id));
        if let Some(key) = key {
            self.rtc.direct_api().close_data_channel(key);
            self.drive(now, sink);
        }
    }

    /// Holds back what the other side sends, or processes it again.
    pub(in crate::rtc) fn hold_channels(&mut self, held: bool, now: Instant, sink: &mut Sink<'_>) {
        let Some(channels) = &mut self.channels else { return };
        channels.held = held;
        if held {
            return;
        }
        channels.waiting_bytes = 0;
        for (path, data) in std::mem::take(&mut channels.waiting) {
            let Protocol::Udp = path.proto;
            if let Ok(receive) = Receive::new(Carrier::Udp, path.remote, path.local, &data) {
                self.handle_datagram(path, receive, None, now, sink);
            }
        }
    }

    /// Whether to hold back a DTLS record for now.
    pub(in crate::rtc) fn holds(&self, record: &[u8]) -> bool {
        demux::is_data(record) && self.channels.as_ref().is_some_and(|channels| channels.held)
    }

    /// Holds back a record. Drops what exceeds the limit; its sender retransmits it.
    pub(in crate::rtc) fn hold(&mut self, path: Path, record: &[u8]) {
        let Some(channels) = &mut self.channels else { return };
        if channels.waiting_bytes + record.len() > channels.limits.receive_queue {
            return channels.table.dropped_held();
        }
        channels.waiting_bytes += record.len();
        channels.waiting.push_back((path, record.to_vec()));
    }

    /// Returns the number of bytes that are not sent or not acknowledged yet.
    fn unsent(&mut self) -> usize {
        let Some(channels) = &self.channels else { return 0 };
        let keys: Vec<Key> = channels.table.keys().collect();
        keys.into_iter().map(|key| self.rtc.channel(key).map_or(0, |mut it| it.buffered_amount())).sum()
    }

    /// Makes str0m process earlier calls. If a datagram is waiting, that happens when it is processed.
    fn drive(&mut self, now: Instant, sink: &mut Sink<'_>) {
        self.tick(now);
        self.rtc_deadline = self.time;
        if !self.has_datagram() {
            self.handle_stack(str0m::Input::Timeout(self.time));
            self.advance(now, sink);
        }
    }
}

/// Events of str0m.
impl Session {
    /// Records what DTLS found in received packets.
    pub(super) fn note_packets(&mut self) {
        let dropped = self.link.take_dropped();
        if let Some(channels) = &mut self.channels {
            channels.table.dropped(dropped);
        }
    }

    /// SCTP has failed: the session goes on without channels.
    pub(super) fn lose_channels(&mut self, error: ChannelError) {
        log::info!("session {}: its data channels are closed: {error}", self.id.0);
        self.link.abandon();
        // str0m sends what is left to send.
        self.rtc_deadline = self.time;
        if let Some(channels) = &mut self.channels {
            channels.phase = Phase::Over(error);
            let refused = channels.table.refuse_waiting();
            channels.note_closed(refused, error);
            channels.close_all(error);
        }
    }

    pub(super) fn channel_open(&mut self, key: Key, label: String, notes: &mut Vec<Note>) {
        let protocol = self.rtc.channel(key).and_then(|channel| Some(channel.config()?.protocol.clone()));
        let protocol = protocol.unwrap_or_default();
        let Some(channels) = &mut self.channels else { return };
        let (channel, ours) = match channels.table.opened(key, label.len(), protocol.len()) {
            Opened::Ours(channel) => (channel, true),
            Opened::Theirs(channel) => (channel, false),
            Opened::Refused => return self.rtc.direct_api().close_data_channel(key),
        };
        notes.push(Note::Channel(ChannelNote::Open { channel, label, protocol, ours }));
    }

    pub(super) fn channel_data(&mut self, key: Key, binary: bool, data: Vec<u8>, notes: &mut Vec<Note>) {
        let Some(channels) = &mut self.channels else { return };
        let message = match binary {
            true => Ok(ChannelMessage::Binary(data)),
            false => String::from_utf8(data).map(ChannelMessage::Text),
        };
        match message {
            Ok(message) => {
                let channel = channels.table.received(key, message.as_bytes().len());
                notes.extend(channel.map(|channel| Note::Channel(ChannelNote::Message { channel, message })));
            }
            // RFC 8831, 6.6: text is UTF-8.
            Err(_) => {
                channels.table.offend(1);
                self.rtc.direct_api().close_data_channel(key);
            }
        }
    }

    pub(super) fn channel_closed(&mut self, key: Key, notes: &mut Vec<Note>) {
        let Some(channels) = &mut self.channels else { return };
        let (closed, error) = (channels.table.closed(key), ChannelError::Closed);
        notes.extend(closed.map(|channel| Note::Channel(ChannelNote::Closed { channel, error })));
    }

    /// Updates the channels after str0m processed an input.
    pub(super) fn settle_channels(&mut self, notes: &mut Vec<Note>) {
        let Some(channels) = &mut self.channels else { return };
        if channels.table.is_abused() && channels.phase != Phase::Over(ChannelError::NotAllowed) {
            self.lose_channels(ChannelError::NotAllowed);
        }
        let channels = self.channels.as_mut().expect("seen above");
        notes.append(&mut channels.notes);
        if channels.table.is_blocked() {
            let unsent = self.unsent();
            let channels = self.channels.as_mut().expect("seen above");
            let free = channels.table.unblock(unsent).into_iter();
            notes.extend(free.map(|channel| Note::Channel(ChannelNote::Writable { channel })));
        }
    }
}

/// Returns what str0m is to open.
fn config(options: &ChannelOptions) -> ChannelConfig {
    ChannelConfig {
        label: options.label.clone(),
        ordered: options.ordered,
        reliability: match options.max_retransmits {
            Some(retransmits) => Reliability::MaxRetransmits { retransmits },
            None => Reliability::Reliable,
        },
        negotiated: None,
        protocol: options.protocol.clone(),
    }
}
