//! The state of a session and when it ends.
//!
//! ```text
//!                  ┌────────────┐   ICE and DTLS are ready     ┌───────────┐
//!   accept, offer  │ connecting │─────────────────────────────▶│ connected │
//!   ──────────────▶│            │◀─────────────────────────────│           │
//!                  └─────┬──────┘  the transport restarts      └─────┬─────┘
//!                        │ connect_within, WebRTC failed,            │ silent, path lost, replaced,
//!                        │ replaced                                  │ closed by the peer
//!                        └─────────────────▶ over ◀──────────────────┘
//!
//!   closing: our goodbye, from any state; nothing is sent after it
//! ```
//!
//! Each transition consumes the previous state. Pending offers are independent of it (RFC 8829, 3.2): an offer can be
//! pending before and after the transport is ready.

use std::time::{Duration, Instant};

use crate::call::body::{End, EndReason};
use crate::rtc::Config;
use crate::rtc::session::sdp::Remote;

/// How long a session survives if ICE lost its path and no check on the path in use was answered, even while datagrams
/// still arrive.
pub(super) const ICE_LOST: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub(super) enum State {
    /// ICE and DTLS are in progress.
    Connecting { since: Instant, ice: Ice },
    /// Both are ready.
    Connected {
        ice: Ice,
        /// Set while the other side may restart its transport.
        moved: Option<Moved>,
    },
    /// We are sending our goodbye.
    Closing,
    /// Over, for this reason.
    Over(End),
}

/// Whether ICE has a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ice {
    Up,
    Lost { since: Instant },
}

/// Another section carries the bundle than before; Chromium restarts its transport after that.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) until: Instant,
    /// The description of that moment.
    pub(super) remote: Box<Remote>,
}

/// The signs of life from the other side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    /// When something authentic last arrived.
    pub(super) heard: Instant,
    /// For the path in use, if any: when our check was last answered, and when that consent expires.
    pub(super) consent: Option<(Instant, Instant)>,
}

impl State {
    pub(super) fn connecting(now: Instant) -> State {
        State::Connecting { since: now, ice: Ice::Up }
    }

    /// ICE and DTLS are ready.
    pub(super) fn connect(self) -> State {
        match self {
            State::Connecting { ice, .. } => State::Connected { ice, moved: None },
            other => other,
        }
    }

    /// ICE found a path, or lost it.
    pub(super) fn ice(self, up: bool, now: Instant) -> State {
        let next = |ice| match (up, ice) {
            (true, _) => Ice::Up,
            (false, Ice::Up) => Ice::Lost { since: now },
            (false, lost) => lost,
        };
        match self {
            State::Connecting { since, ice } => State::Connecting { since, ice: next(ice) },
            State::Connected { ice, moved } => State::Connected { ice: next(ice), moved },
            other => other,
        }
    }

    /// The other side may restart its transport (`Some`), or no longer (`None`).
    pub(super) fn expect(self, moved: Option<Moved>) -> State {
        match self {
            State::Connected { ice, .. } => State::Connected { ice, moved },
            other => other,
        }
    }

    /// Restarts the transport; returns the description to use. Changes nothing if no restart is expected.
    pub(super) fn begin_anew(self, now: Instant) -> (State, Option<Box<Remote>>) {
        match self {
            State::Connected { moved: Some(moved), .. } => (State::connecting(now), Some(moved.remote)),
            other => (other, None),
        }
    }

    /// We close the session.
    pub(super) fn close(self) -> State {
        State::Closing
    }

    /// Ends the session; the first reason stays.
    pub(super) fn end(self, end: impl FnOnce() -> End) -> State {
        match self {
            State::Connecting { .. } | State::Connected { .. } => State::Over(end()),
            State::Closing | State::Over(_) => self,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self, State::Connected { .. })
    }

    pub(super) fn over(&self) -> Option<&End> {
        match self {
            State::Over(end) => Some(end),
            _ => None,
        }
    }

    /// Whether the other side may restart its transport.
    pub(super) fn may_move(&self, now: Instant) -> bool {
        matches!(self, State::Connected { moved: Some(moved), .. } if now < moved.until)
    }

    /// Returns when the session ends if nothing arrives.
    pub(super) fn deadline(&self, signs: Signs, config: &Config) -> Option<Instant> {
        match self {
            State::Connecting { since, .. } => Some(*since + config.connect_within),
            State::Connected { ice, .. } => {
                let silent = signs.heard + config.silence;
                Some(path_lost(*ice, signs).map_or(silent, |lost| lost.min(silent)))
            }
            State::Closing | State::Over(_) => None,
        }
    }

    /// Ends the session if its time has come. `alive`: whether the underlying stack is.
    pub(super) fn age(self, signs: Signs, alive: bool, config: &Config, now: Instant) -> State {
        let silent = now.saturating_duration_since(signs.heard);
        let end = match &self {
            State::Connecting { since, .. }
                if now.saturating_duration_since(*since) >= config.connect_within =>
            {
                let words = format!(
                    "no connection within {} s: no network path to the other side was found; check that UDP is not blocked",
                    config.connect_within.as_secs()
                );
                Some(End::new(EndReason::IceFailed, words))
            }
            State::Connected { .. } if silent >= config.silence => {
                let words =
                    format!("the other side vanished: nothing heard of it for {} s", silent.as_secs());
                Some(End::new(EndReason::Vanished, words))
            }
            State::Connected { ice, .. } if path_lost(*ice, signs).is_some_and(|at| now >= at) => {
                Some(End::new(EndReason::Lost, "the network path to the other side was lost"))
            }
            State::Connecting { .. } | State::Connected { .. } if !alive && !self.may_move(now) => {
                Some(closed_by_remote())
            }
            _ => None,
        };
        match end {
            Some(end) => self.end(|| end),
            None => self,
        }
    }
}

pub(super) fn closed_by_remote() -> End {
    End::new(EndReason::Ended, "the other side closed the connection")
}

/// Returns when the path in use is given up: when the consent expires, or earlier if ICE has no path.
fn path_lost(ice: Ice, signs: Signs) -> Option<Instant> {
    let (answered, consent_until) = signs.consent?;
    Some(match ice {
        Ice::Up => consent_until,
        Ice::Lost { since } => consent_until.min(since.max(answered) + ICE_LOST),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = include_str!("../tests/chromium_offer.sdp");

    fn moved(until: Instant) -> Option<Moved> {
        Some(Moved { until, remote: Box::new(Remote::parse(OFFER).expect("Chromium's")) })
    }

    /// Describes a state.
    fn word(state: &State, start: Instant) -> String {
        let ice = |ice: &Ice| match ice {
            Ice::Up => String::new(),
            Ice::Lost { since } => format!(", ICE lost at {}", (*since - start).as_secs()),
        };
        match state {
            State::Connecting { since, ice: i } => {
                format!("connecting since {}{}", (*since - start).as_secs(), ice(i))
            }
            State::Connected { ice: i, moved: None } => format!("connected{}", ice(i)),
            State::Connected { ice: i, moved: Some(_) } => format!("connected, may move{}", ice(i)),
            State::Closing => "closing".into(),
            State::Over(end) => format!("over: {}", end.reason.code()),
        }
    }

    #[test]
    fn each_transition_leads_where_the_drawing_says() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let states: [(&str, &dyn Fn() -> State); 6] = [
            ("connecting", &|| State::connecting(start)),
            ("lost", &|| State::connecting(start).ice(false, at(1))),
            ("connected", &|| State::connecting(start).connect()),
            ("moved", &|| State::connecting(start).connect().expect(moved(at(15)))),
            ("closing", &|| State::Closing),
            ("over", &|| State::Over(End::new(EndReason::Lost, ""))),
        ];
        type Step<'a> = (&'a str, &'a dyn Fn(State) -> State, [&'a str; 6]);
        let ended = || End::new(EndReason::Replaced, "");
        let table: [Step<'_>; 7] = [
            (
                "connect",
                &|s| s.connect(),
                [
                    "connected",
                    "connected, ICE lost at 1",
                    "connected",
                    "connected, may move",
                    "closing",
                    "over: lost",
                ],
            ),
            (
                "ICE lost",
                &|s| s.ice(false, at(2)),
                [
                    "connecting since 0, ICE lost at 2",
                    "connecting since 0, ICE lost at 1",
                    "connected, ICE lost at 2",
                    "connected, may move, ICE lost at 2",
                    "closing",
                    "over: lost",
                ],
            ),
            (
                "ICE up",
                &|s| s.ice(true, at(2)),
                [
                    "connecting since 0",
                    "connecting since 0",
                    "connected",
                    "connected, may move",
                    "closing",
                    "over: lost",
                ],
            ),
            (
                "expect",
                &|s| s.expect(moved(at(15))),
                [
                    "connecting since 0",
                    "connecting since 0, ICE lost at 1",
                    "connected, may move",
                    "connected, may move",
                    "closing",
                    "over: lost",
                ],
            ),
            (
                "begin anew",
                &|s| s.begin_anew(at(3)).0,
                [
                    "connecting since 0",
                    "connecting since 0, ICE lost at 1",
                    "connected",
                    "connecting since 3",
                    "closing",
                    "over: lost",
                ],
            ),
            ("close", &|s| s.close(), ["closing"; 6]),
            (
                "end",
                &|s| s.end(ended),
                [
                    "over: replaced",
                    "over: replaced",
                    "over: replaced",
                    "over: replaced",
                    "closing",
                    "over: lost",
                ],
            ),
        ];
        for (step, act, expected) in table {
            for ((from, make), expected) in states.iter().zip(expected) {
                assert_eq!(word(&act(make()), start), expected, "{step} of {from}");
            }
        }
    }

    #[test]
    fn a_session_is_over_when_its_time_has_come_and_not_before() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let config = Config::default();
        let signs = |heard, consent: Option<(u64, u64)>| Signs {
            heard: at(heard),
            consent: consent.map(|(answered, until)| (at(answered), at(until))),
        };
        let connected = || State::connecting(start).connect();
        let lost = || connected().ice(false, at(1));
        type Row<'a> = (&'a str, &'a dyn Fn() -> State, Signs, bool, u64, &'a str);
        let table: [Row<'_>; 10] = [
            ("connecting", &|| State::connecting(start), signs(0, None), true, 30, "over: ice-failed"),
            ("its stack gave up", &|| State::connecting(start), signs(0, None), false, 0, "over: ended"),
            ("silent", &connected, signs(1, None), true, 9, "over: vanished"),
            ("silent by a path", &connected, signs(1, Some((0, 30))), true, 9, "over: vanished"),
            ("without consent", &connected, signs(28, Some((0, 30))), true, 30, "over: lost"),
            ("ICE has no path", &lost, signs(8, Some((0, 30))), true, 9, "over: lost"),
            ("ICE has none, but the one in use", &lost, signs(8, Some((4, 34))), true, 12, "over: lost"),
            ("ICE has none yet", &lost, signs(8, None), true, 16, "over: vanished"),
            ("closed", &connected, signs(0, None), false, 0, "over: ended"),
            (
                "closed to begin anew",
                &|| connected().expect(moved(at(6))),
                signs(0, None),
                false,
                6,
                "over: ended",
            ),
        ];
        for (name, make, signs, alive, when, end) in table {
            let aged = |at: Instant| word(&make().age(signs, alive, &config, at), start);
            assert_eq!(aged(at(when)), end, "{name}");
            if when > 0 {
                let before = at(when) - Duration::from_millis(1);
                assert_eq!(aged(before), word(&make(), start), "{name}, a moment before");
            }
            if alive {
                assert_eq!(make().deadline(signs, &config), Some(at(when)), "{name}");
            }
        }
        for state in [State::Closing, State::Over(End::new(EndReason::Lost, ""))] {
            assert_eq!(state.deadline(signs(0, None), &config), None);
            let before = word(&state, start);
            assert_eq!(word(&state.age(signs(0, None), false, &config, at(99)), start), before);
        }
    }
}
