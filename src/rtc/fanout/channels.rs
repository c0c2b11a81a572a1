//! Data channels of sessions.

use std::time::Instant;

use super::Fanout;
use crate::rtc::SessionId;
use crate::rtc::data::{ChannelError, ChannelId, ChannelMessage, ChannelOptions};
use crate::rtc::session::supply::Data;
use crate::rtc::session::{Session, Sink};

impl Fanout {
    /// Sets whether a session has data channels, from its next description on: our offers have a section for them, or
    /// one that is offered is declined. Without it, none is offered, and one that is offered is accepted. One that does
    /// not exist yet begins with it. It is forgotten when the session ends or is [closed](Self::close). Does nothing if
    /// [`Config::channels`](crate::rtc::Config::channels) has no limits.
    ///
    /// Once a description has stopped them, a session has none any more.
    pub fn set_channels(&mut self, id: SessionId, wanted: bool) {
        self.step(id, |session, _, _| session.set_channels(Some(wanted)));
        self.collect();
        self.with_channels.insert(id, wanted);
    }

    /// Whether the descriptions of a session have agreed on data channels.
    pub fn has_channels(&self, id: SessionId) -> bool {
        self.look(id, Session::has_channels) == Some(true)
    }

    /// Whether they have, or our open offer is for data channels.
    #[cfg(feature = "calls")]
    pub(crate) fn takes_channels(&self, id: SessionId) -> bool {
        self.look(id, Session::takes_data) == Some(true)
    }

    /// Opens a data channel. It can be used after [`Event::ChannelOpen`](crate::rtc::Event::ChannelOpen). If the
    /// descriptions of the session have not agreed on data channels yet, and it [wants](Self::set_channels) them, the
    /// channel waits for that; if the answer to our next offer declines them, it is closed
    /// ([`ChannelError::NotAgreed`]).
    pub fn open_channel(
        &mut self,
        id: SessionId,
        options: &ChannelOptions,
        now: Instant,
    ) -> Result<ChannelId, ChannelError> {
        self.in_session(id, now, |session, now, sink| session.open_channel(options, now, sink))
    }

    /// Sends a message on a channel that is open.
    pub fn send(
        &mut self,
        id: SessionId,
        channel: ChannelId,
        message: &ChannelMessage,
        now: Instant,
    ) -> Result<(), ChannelError> {
        self.in_session(id, now, |session, now, sink| session.send(channel, message, now, sink))
    }

    /// Closes a channel, after what was sent on it. No event follows. Does nothing if it does not exist.
    pub fn close_channel(&mut self, id: SessionId, channel: ChannelId, now: Instant) {
        self.tick(now);
        self.step(id, |session, now, sink| session.close_channel(channel, now, sink));
        self.collect();
    }

    /// Stops taking what the other side sends on all channels of a session, or takes it again. Some of it waits
    /// ([`ChannelLimits::receive_queue`](crate::rtc::ChannelLimits::receive_queue)); the other side has no answer
    /// meanwhile, and stops sending. Messages that are on their way out as events still come.
    pub fn hold_channels(&mut self, id: SessionId, held: bool, now: Instant) {
        self.tick(now);
        self.step(id, |session, now, sink| session.hold_channels(held, now, sink));
        self.collect();
    }

    fn in_session<T>(
        &mut self,
        id: SessionId,
        now: Instant,
        act: impl FnOnce(&mut Session, Instant, &mut Sink<'_>) -> Result<T, ChannelError>,
    ) -> Result<T, ChannelError> {
        self.tick(now);
        let mut done = Err(ChannelError::UnknownSession);
        self.step(id, |session, now, sink| done = act(session, now, sink));
        self.collect();
        done
    }

    /// What a new session does about data.
    pub(super) fn data_of(&self, id: SessionId) -> Data {
        match self.shared.config.channels {
            Some(_) => Data::of(self.with_channels.get(&id).copied()),
            None => Data::Declined,
        }
    }

    /// A new session, with what was set for it.
    pub(super) fn with_channels(&self, id: SessionId, mut session: Session) -> Session {
        session.set_channels(self.with_channels.get(&id).copied());
        session
    }
}
