//! What a camera does with its calls: streams to send, viewers on several threads, settings that change.

use std::collections::BTreeSet;
use std::time::Instant;

use super::core::{Core, SPARE};
use super::seat::{AnswerPolicy, Seat};
use crate::call::CallId;
use crate::media::{StreamId, StreamInfo};
use crate::proto::Address;
use crate::rtc::{self, Serving, Shard};

/// A participant, as callers of this module see it.
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
    /// Sets the streams that can be sent, from the next description on.
    pub(crate) fn set_streams(&mut self, streams: &[StreamInfo]) {
        self.fanout.set_streams(streams);
    }

    /// A shard of the viewers, for a driver of its own.
    pub(crate) fn shard(&mut self, now: Instant) -> Shard {
        let shard = self.fanout.shard();
        self.settle(now);
        shard
    }

    /// Sets the maximum bandwidth to probe for, in bit/s.
    pub(crate) fn set_max_bitrate(&mut self, bps: u32) {
        self.fanout.set_max_bitrate(bps);
    }

    /// Selects what a call is sent of the video.
    pub(crate) fn serve(&mut self, call: CallId, serving: Serving, now: Instant) {
        let Some(seat) = self.seats.get(&call) else { return };
        self.fanout.serve(seat.session, serving, now);
        self.settle(now);
    }

    /// Sends a call no audio, or sends it again.
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

    /// All participants, the oldest first.
    pub(crate) fn parties(&self) -> impl Iterator<Item = Party<'_>> {
        self.seats.iter().map(|(call, seat)| Party::of(*call, seat))
    }

    /// One participant.
    pub(crate) fn party(&self, call: CallId) -> Option<Party<'_>> {
        self.seats.get(&call).map(|seat| Party::of(call, seat))
    }

    /// The number of sessions that a panic ended.
    pub(crate) fn panics(&self) -> u64 {
        self.fanout.totals().panics
    }

    /// Frames that were not sent, over all sessions.
    pub(crate) fn skipped(&self) -> rtc::Skipped {
        self.fanout.totals().skipped
    }

    /// Whether there are no calls in any state.
    pub(crate) fn is_idle(&self) -> bool {
        self.seats.is_empty()
    }
}
