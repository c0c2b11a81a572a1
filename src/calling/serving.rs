//! The part of the core for cameras: streams to send, viewers on several threads, settings that change.

use std::collections::BTreeSet;
use std::time::Instant;

use super::core::{Core, SPARE};
use super::seat::{AnswerPolicy, Seat};
use crate::call::CallId;
use crate::media::{StreamId, StreamInfo};
use crate::proto::Address;
use crate::rtc::{self, Serving, Shard};

/// A participant, as seen from outside this module.
pub(crate) struct Party<'a> {
    pub call: CallId,
    pub peer: &'a Address,
    pub takes: &'a BTreeSet<StreamId>,
    pub joined: bool,
}

impl<'a> Party<'a> {
    fn of(call: CallId, seat: &'a Seat) -> Party<'a> {
        Party { call, peer: &seat.peer, takes: &seat.takes, joined: seat.joined }
    }
}

impl Core {
    /// Sets the available streams, from the next description on.
    pub(crate) fn set_streams(&mut self, streams: &[StreamInfo]) {
        self.fanout.set_streams(streams);
    }

    /// Creates a shard of the viewers, for a driver of its own.
    pub(crate) fn shard(&mut self, now: Instant) -> Shard {
        let shard = self.fanout.shard();
        self.settle(now);
        shard
    }

    /// Sets the maximum bandwidth to probe for, in bit/s.
    pub(crate) fn set_max_bitrate(&mut self, bps: u32) {
        self.fanout.set_max_bitrate(bps);
    }

    /// Selects which video a call is sent.
    pub(crate) fn serve(&mut self, call: CallId, serving: Serving, now: Instant) {
        let Some(seat) = self.seats.get(&call) else { return };
        self.fanout.serve(seat.session, serving, now);
        self.settle(now);
    }

    /// Stops or resumes sending audio to a call.
    #[cfg(feature = "talk")]
    pub(crate) fn set_silent(&mut self, call: CallId, is_silent: bool, now: Instant) {
        let Some(seat) = self.seats.get(&call) else { return };
        self.fanout.set_silent(seat.session, is_silent, now);
        self.settle(now);
    }

    /// Sets the maximum number of calls. Existing calls beyond it continue.
    pub(crate) fn set_max_calls(&mut self, max: usize) {
        self.max_calls = max;
        self.calls.set_max_calls(max.saturating_add(SPARE));
    }

    /// Sets who answers from now on.
    pub(crate) fn set_answer(&mut self, answer: AnswerPolicy) {
        self.answer = answer;
    }

    /// Returns all participants, the oldest first.
    pub(crate) fn parties(&self) -> impl Iterator<Item = Party<'_>> {
        self.seats.iter().map(|(call, seat)| Party::of(*call, seat))
    }

    /// Returns one participant.
    pub(crate) fn party(&self, call: CallId) -> Option<Party<'_>> {
        self.seats.get(&call).map(|seat| Party::of(call, seat))
    }

    /// Returns the number of sessions that ended with a panic.
    pub(crate) fn panics(&self) -> u64 {
        self.fanout.totals().panics
    }

    /// Returns the frames that were not sent, over all sessions.
    pub(crate) fn skipped(&self) -> rtc::Skipped {
        self.fanout.totals().skipped
    }

    /// Whether there are no calls in any state.
    pub(crate) fn is_idle(&self) -> bool {
        self.seats.is_empty()
    }
}
