//! What sessions receive.

use std::time::Instant;

use super::Fanout;
use crate::media::StreamId;
use crate::rtc::session::Session;
use crate::rtc::{Directions, SessionId};

impl Fanout {
    /// Sets what a session sends and receives, from its next description on. One that does not exist yet begins with it;
    /// without it, sessions send audio and video, and receive nothing. It is forgotten when the session ends or is
    /// [closed](Self::close).
    pub fn set_directions(&mut self, id: SessionId, directions: Directions) {
        self.step(id, |session, _, _| session.set_directions(directions.clone()));
        self.collect();
        self.directions.insert(id, directions);
    }

    /// Asks the sender of a stream that a session receives for a key frame, for instance when a decoder begins late. After
    /// a loss the session does so itself. The request is repeated until there is one.
    pub fn request_key_frame(&mut self, id: SessionId, stream: StreamId, now: Instant) {
        self.tick(now);
        self.step(id, |session, now, _| session.request_key_frame(stream, now));
        self.collect();
    }

    /// Asks the other side of a session to send at most this much in all, in bit/s, by REMB
    /// (draft-alvestrand-rmcat-remb-03), where it takes that; `None` leaves it to what the network carries.
    pub fn limit_received(&mut self, id: SessionId, bps: Option<u32>, now: Instant) {
        self.tick(now);
        self.step(id, |session, now, _| session.limit_received(bps, now));
        self.collect();
    }

    /// A new session, with what was set for it.
    pub(super) fn directed(&self, id: SessionId, mut session: Session) -> Session {
        if let Some(directions) = self.directions.get(&id) {
            session.set_directions(directions.clone());
        }
        session
    }
}
