//! From what demand decides for each viewer to its session, to the viewer and to the program; and back, what its network
//! does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Output, Studio};
use crate::call::CallId;
use crate::camera::demand::{self, Sink};
use crate::camera::event::{Event, ViewerId};
use crate::camera::sharing::{Policy, Share, ShareReason};
use crate::rtc::Serving;

/// How often demand learns what is sent to each viewer, and what becomes of it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What each viewer gets, and what was sent to it.
#[derive(Debug, Default)]
pub(super) struct Shares {
    served: BTreeMap<CallId, (Share, ShareReason)>,
    /// Bytes so far, and when they were counted.
    sent: BTreeMap<CallId, (u64, Instant)>,
    look_at: Option<Instant>,
}

impl Shares {
    /// When to call [`Studio::look`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// What a viewer gets, and why.
    pub(super) fn of(&self, call: CallId) -> Option<(Share, ShareReason)> {
        self.served.get(&call).copied()
    }

    /// A call is over.
    pub(super) fn forget(&mut self, call: CallId) {
        self.served.remove(&call);
        self.sent.remove(&call);
    }
}

impl Studio {
    /// What demand decided for a viewer.
    pub(super) fn serve(&mut self, sink: Sink, share: demand::Share, reason: ShareReason, now: Instant) {
        let Sink::Call(call) = sink else { return };
        let serving = match share {
            demand::Share::Full(stream) | demand::Share::Small(stream) => Serving::Frames(stream),
            demand::Share::KeyFrames(stream) => Serving::KeyFrames(stream),
            demand::Share::Nothing => Serving::Nothing,
        };
        self.calling.serve(call, serving, now);
        let share = Share::from(share);
        let before = self.shares.served.insert(call, (share, reason));
        let is_news = before
            .map_or((share, reason) != (Share::Full, ShareReason::Full), |before| before != (share, reason));
        let Some(party) = self.calling.party(call).filter(|_| is_news) else { return };
        let to = party.peer.as_str().to_owned();
        self.out.push_back(Output::Share(to, share.told(reason)));
        self.out.push_back(Output::Event(Event::Share { id: ViewerId(call), share, reason }));
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
            let before = self.shares.sent.insert(call, (stats.bytes, now));
            let sent = before.and_then(|(bytes, at)| rate(stats.bytes - bytes, now.duration_since(at)));
            let (loss, round_trip) = (stats.loss.unwrap_or_default(), stats.rtt);
            let sink = Sink::Call(call);
            self.demand.handle_input(demand::Input::Link { sink, sent, loss, round_trip }, now);
        }
    }

    /// Another policy, or another viewer that it may name.
    pub(super) fn apply_policy(&mut self, now: Instant) {
        let policy = match &self.policy {
            Policy::Best => demand::Policy::Best,
            Policy::Slowest => demand::Policy::Slowest,
            Policy::Follow(user) => {
                let mut all = self.calling.parties().filter(|party| party.joined);
                let named = all.find(|party| party.peer.user() == user);
                named.map_or(demand::Policy::Best, |party| demand::Policy::Follow(Sink::Call(party.call)))
            }
        };
        if std::mem::replace(&mut self.applied, policy) != policy {
            self.demand.handle_input(demand::Input::Policy(policy), now);
        }
    }
}

/// In bit/s.
fn rate(bytes: u64, time: Duration) -> Option<u32> {
    let micros = u64::try_from(time.as_micros()).ok().filter(|micros| *micros > 0)?;
    Some(u32::try_from(bytes.saturating_mul(8_000_000) / micros).unwrap_or(u32::MAX))
}
