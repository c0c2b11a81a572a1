//! Passes the share of each viewer from demand to its session, the viewer and the program, and reports its network back to
//! demand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{CameraCore, Output};
use crate::call::CallId;
use crate::camera::controls::Reply;
use crate::camera::demand::{self, Sink};
use crate::camera::event::{Event, ViewerId};
use crate::camera::sharing::{BitratePolicy, Share, ShareReason};
use crate::camera::status;
use crate::camera::wishes::{self, Asked};
use crate::media::StreamId;
use crate::proto::{Message, Status};
use crate::rtc::Serving;

/// How often demand gets what is sent to each viewer, with loss and round trip.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The share of each viewer, and what was sent to it.
#[derive(Debug, Default)]
pub(super) struct Shares {
    served: BTreeMap<CallId, Served>,
    /// Bytes so far, and when they were counted.
    sent: BTreeMap<CallId, (u64, Instant)>,
    look_at: Option<Instant>,
}

/// What demand decided for a viewer.
#[derive(Clone, Copy, Debug)]
struct Served {
    share: demand::Share,
    reason: ShareReason,
}

impl Shares {
    /// When to call [`CameraCore::look`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// What a viewer gets, and why.
    pub(super) fn of(&self, call: CallId) -> Option<(Share, ShareReason)> {
        self.served.get(&call).map(|served| (served.share.into(), served.reason))
    }

    /// What is sent to a viewer in bit/s since the last time; `None` the first time, or if its session restarted.
    fn sent(&mut self, call: CallId, bytes: u64, now: Instant) -> Option<u32> {
        let (before, at) = self.sent.insert(call, (bytes, now))?;
        rate(bytes.checked_sub(before)?, now.duration_since(at))
    }

    /// A call is over.
    pub(super) fn forget(&mut self, call: CallId) {
        self.served.remove(&call);
        self.sent.remove(&call);
    }
}

#[cfg(all(test, feature = "relay"))]
impl CameraCore {
    /// Returns the stream that a viewer gets.
    pub(in crate::camera) fn served(&self, call: CallId) -> Option<StreamId> {
        self.shares.served.get(&call)?.share.stream()
    }
}

impl CameraCore {
    /// What demand decided for a viewer.
    pub(super) fn serve(&mut self, sink: Sink, share: demand::Share, reason: ShareReason, now: Instant) {
        let Sink::Call(call) = sink else { return };
        let before = self.shares.served.insert(call, Served { share, reason });
        if before.is_none_or(|before| before.share != share) {
            self.calling.serve(call, serving(share), now);
        }
        let before = before.map_or((Share::Full, ShareReason::Full), |b| (b.share.into(), b.reason));
        let share = Share::from(share);
        let is_news = before != (share, reason);
        let Some(party) = self.calling.party(call).filter(|_| is_news) else { return };
        let to = party.peer.as_str().to_owned();
        self.out.push_back(Output::Share(to, share.told(reason)));
        self.out.push_back(Output::Event(Event::Share { id: ViewerId(call), share, reason }));
    }

    /// A viewer agreed on these streams. Its session may be a new one that lacks the decisions made so far.
    pub(super) fn serve_again(&mut self, call: CallId, takes: &BTreeSet<StreamId>, now: Instant) {
        let Some(Served { share, .. }) = self.shares.served.get(&call).copied() else { return };
        let codec = |id: StreamId| self.demand.stream(id).map(|info| info.codec);
        let fits = |id| takes.iter().any(|taken| codec(*taken) == codec(id));
        if share.stream().is_none_or(fits) {
            self.calling.serve(call, serving(share), now);
        } else {
            // Of another codec: demand decides anew.
            self.shares.served.remove(&call);
        }
    }

    /// Tells demand what was sent to each viewer since the last time, and what became of it.
    pub(super) fn look(&mut self, now: Instant) {
        if self.joined == 0 {
            self.shares.look_at = None;
            return;
        }
        if self.shares.look_at.is_some_and(|at| now < at) {
            return;
        }
        self.shares.look_at = Some(now + LOOK_EVERY);
        let calls: Vec<CallId> =
            self.calling.parties().filter(|party| party.joined).map(|party| party.call).collect();
        for call in calls {
            let Some(stats) = self.calling.stats(call) else { continue };
            let sent = self.shares.sent(call, stats.bytes, now);
            let (loss, round_trip) = (stats.loss.unwrap_or_default(), stats.rtt);
            let sink = Sink::Call(call);
            self.demand.handle_input(demand::Input::Link { sink, sent, loss, round_trip }, now);
        }
    }

    /// A viewer asks for less, for everything again, or for its figures. Returns the reply.
    pub(super) fn answer_viewer(
        &mut self,
        command: &Message,
        encoder: Option<String>,
        now: Instant,
    ) -> Reply {
        let asked = match wishes::read(command) {
            Ok(asked) => asked,
            Err(reply) => return reply,
        };
        let from = command.from();
        let Some(party) = self.calling.parties().find(|party| Some(party.peer) == from) else {
            return wishes::no_call();
        };
        match asked {
            Asked::Wish(wish) => {
                let sink = Sink::Call(party.call);
                self.demand.handle_input(demand::Input::Wish { sink, wish }, now);
                wishes::taken(wish)
            }
            Asked::Figures => {
                let (viewer, stats) = (self.viewer(&party), self.calling.stats(party.call));
                let mut figures = status::session(&viewer, stats.as_ref(), &self.running());
                figures["encoder"] = encoder.into();
                (Status::OK, figures)
            }
        }
    }

    /// Another policy, or another viewer that it may name.
    pub(super) fn apply_policy(&mut self, now: Instant) {
        let policy = match &self.policy {
            BitratePolicy::Best => demand::BitratePolicy::Best,
            BitratePolicy::Slowest => demand::BitratePolicy::Slowest,
            BitratePolicy::Follow(user) => {
                let mut all = self.calling.parties().filter(|party| party.joined);
                let named = all.find(|party| party.peer.user() == user);
                named.map_or(demand::BitratePolicy::Best, |party| {
                    demand::BitratePolicy::Follow(Sink::Call(party.call))
                })
            }
        };
        if std::mem::replace(&mut self.applied, policy) != policy {
            self.demand.handle_input(demand::Input::Policy(policy), now);
        }
    }
}

fn serving(share: demand::Share) -> Serving {
    match share {
        demand::Share::Full(stream) | demand::Share::Small(stream) => Serving::Frames(stream),
        demand::Share::KeyFrames(stream) => Serving::KeyFrames(stream),
        demand::Share::Nothing => Serving::Nothing,
    }
}

/// In bit/s.
fn rate(bytes: u64, time: Duration) -> Option<u32> {
    let micros = u64::try_from(time.as_micros()).ok().filter(|micros| *micros > 0)?;
    Some(u32::try_from(bytes.saturating_mul(8_000_000) / micros).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_began_anew_has_no_rate_yet() {
        let (mut shares, now, call) = (Shares::default(), Instant::now(), CallId(1));
        let at = |seconds| now + Duration::from_secs(seconds);
        let rates = [(1000, 0), (2000, 1), (500, 2), (1500, 3)].map(|(b, s)| shares.sent(call, b, at(s)));
        assert_eq!(rates, [None, Some(8000), None, Some(8000)]);
    }
}
