//! The path on which DTLS and media of a session are sent.
//!
//! str0m keeps sending on the pair that ICE nominated for 24 s after that pair is dead, or forever if the viewer never
//! nominates another: Firefox and aiortc don't notice when a NAT gives them a new port. The viewer's own datagrams show
//! it sooner. Media follows them to a path on which one of our checks was answered.
//!
//! ```text
//!               authentic media, or a check while the path in use is silent, on another path
//!   nominated ───────────────────────────────────────────────────────────────────────────────▶ followed
//!       ▲                                                                                         │
//!       └──────────────────────────── str0m sends on another path ◀───────────────────────────────┘
//! ```
//!
//! Answers to our checks on the path in use renew the consent to send (RFC 7675).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::rtc::Path;

/// After this time without an answer nothing may be sent (RFC 7675, 5.1).
pub(in crate::rtc) const CONSENT: Duration = Duration::from_secs(30);
/// A path in use that was silent for this long gives way to another on which a check arrived. Viewers that receive
/// media send reports at least every second. Consent checks also arrive on other paths while the one in use is fine.
const SILENT: Duration = Duration::from_millis(1500);

/// Something authentic that arrived on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) enum Sign {
    /// A check from the viewer.
    Check,
    /// An answer to our check.
    Answer,
    /// RTP or RTCP: the viewer sends it on the path that it considers best.
    Media,
}

/// What to do about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) enum NextStep {
    Nothing,
    /// Check it: media should move to it.
    Check,
}

#[derive(Debug)]
pub(in crate::rtc) struct Route {
    /// The path that str0m sends on.
    nominated: Option<Path>,
    /// The path that the viewer sends on, if it differs.
    followed: Option<Path>,
    /// A path on which media arrived, until our check is answered.
    wanted: Option<Path>,
    /// The path in use leaves from an address that we no longer have.
    is_lost: bool,
    /// What was sent from such an address did not arrive, and that is not mended yet.
    has_gap: bool,
    /// When something authentic last arrived on the path in use.
    heard: Instant,
    /// When our check on it was last answered.
    answered: Instant,
}

impl Route {
    pub(in crate::rtc) fn new(now: Instant) -> Route {
        Route {
            nominated: None,
            followed: None,
            wanted: None,
            is_lost: false,
            has_gap: false,
            heard: now,
            answered: now,
        }
    }

    /// Returns the path in use.
    pub(in crate::rtc) fn path(&self) -> Option<Path> {
        self.followed.or(self.nominated)
    }

    /// Returns how long the path in use has been silent.
    pub(in crate::rtc) fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// Returns when our check on the path in use was last answered.
    pub(in crate::rtc) fn answered(&self) -> Instant {
        self.answered
    }

    /// Returns when the consent to send expires.
    pub(in crate::rtc) fn consent_until(&self) -> Instant {
        self.answered + CONSENT
    }

    /// Returns where to send str0m's datagram for this path; `answered` is when our check on it was answered.
    pub(in crate::rtc) fn direct(
        &mut self,
        nominated: Path,
        answered: impl FnOnce() -> Option<Instant>,
        now: Instant,
    ) -> Path {
        self.nominate(nominated, answered, now);
        self.followed.unwrap_or(nominated)
    }

    /// Handles a nomination by ICE, maybe of the same path as before.
    pub(in crate::rtc) fn nominate(
        &mut self,
        nominated: Path,
        answered: impl FnOnce() -> Option<Instant>,
        now: Instant,
    ) {
        if self.nominated != Some(nominated) {
            self.nominated = Some(nominated);
            if self.followed.take() != Some(nominated) {
                self.take(nominated, answered().unwrap_or(now), now);
            }
        }
    }

    /// Handles something authentic on a path; `answered` is when our check on it was answered.
    pub(in crate::rtc) fn handle(
        &mut self,
        path: Path,
        sign: Sign,
        answered: Option<Instant>,
        now: Instant,
    ) -> NextStep {
        let Some(current) = self.path() else { return NextStep::Nothing };
        if path == current {
            self.heard = now;
            if sign == Sign::Answer {
                self.answered = now;
            }
            return NextStep::Nothing;
        }
        let fresh = answered.filter(|at| now.saturating_duration_since(*at) < CONSENT);
        let follows = match sign {
            Sign::Media => true,
            Sign::Check => self.is_lost || self.silent(now) >= SILENT,
            Sign::Answer => self.is_lost || self.wanted == Some(path),
        };
        match fresh.filter(|_| follows) {
            Some(answered) => self.follow(path, answered, now),
            None if sign == Sign::Media || follows => {
                let known = self.wanted.replace(path) == Some(path);
                if !known {
                    return NextStep::Check;
                }
            }
            None => {}
        }
        NextStep::Nothing
    }

    /// Handles that the path in use leaves from an address that we no longer have. `left` is the best path that is left,
    /// and when our check on it was answered; without one, the next path on which one is answered is used.
    pub(in crate::rtc) fn lose(&mut self, left: Option<(Path, Instant)>, now: Instant) {
        self.has_gap = true;
        match left.filter(|(_, answered)| now.saturating_duration_since(*answered) < CONSENT) {
            Some((path, answered)) => self.follow(path, answered, now),
            None => self.is_lost = true,
        }
    }

    /// Returns once whether media was lost with an address, when there is a path again.
    pub(in crate::rtc) fn take_gap(&mut self) -> bool {
        !self.is_lost && std::mem::take(&mut self.has_gap)
    }

    /// Handles that we have this address, perhaps again.
    pub(in crate::rtc) fn regain(&mut self, address: IpAddr) {
        self.is_lost &= self.path().is_some_and(|path| path.local.ip() != address);
    }

    fn follow(&mut self, path: Path, answered: Instant, now: Instant) {
        log::debug!("sending media on another path");
        self.followed = Some(path).filter(|path| self.nominated != Some(*path));
        self.take(path, answered, now);
    }

    fn take(&mut self, path: Path, answered: Instant, now: Instant) {
        (self.heard, self.is_lost) = (now, false);
        self.answered = answered;
        self.wanted = self.wanted.filter(|wanted| *wanted != path);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn path(port: u16) -> Path {
        Path::udp(SocketAddr::from(([192, 0, 2, 1], 4000)), SocketAddr::from(([198, 51, 100, 1], port)))
    }

    fn at(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    /// Returns a route on path 1.
    fn route(now: Instant) -> Route {
        let mut route = Route::new(now);
        assert_eq!(route.direct(path(1), || Some(now), now), path(1));
        route
    }

    #[test]
    fn media_by_a_path_moves_the_route_once_a_check_by_it_was_answered() {
        let now = Instant::now();
        let mut r = route(now);
        assert_eq!(r.handle(path(2), Sign::Media, None, at(now, 10)), NextStep::Check);
        assert_eq!(r.handle(path(2), Sign::Media, None, at(now, 20)), NextStep::Nothing, "asked for already");
        assert_eq!(r.direct(path(1), || None, at(now, 25)), path(1));
        // An answer on another path does not count.
        assert_eq!(r.handle(path(3), Sign::Answer, Some(at(now, 30)), at(now, 30)), NextStep::Nothing);
        assert_eq!(r.path(), Some(path(1)));
        r.handle(path(2), Sign::Answer, Some(at(now, 40)), at(now, 40));
        assert_eq!(r.direct(path(1), || None, at(now, 45)), path(2));
        // Returns to path 1, which is still verified.
        r.handle(path(1), Sign::Media, Some(now), at(now, 50));
        assert_eq!(r.direct(path(1), || None, at(now, 55)), path(1));
    }

    #[test]
    fn a_check_moves_the_route_only_when_the_path_in_use_is_silent() {
        let now = Instant::now();
        let mut r = route(now);
        r.handle(path(1), Sign::Media, Some(now), at(now, 900));
        r.handle(path(2), Sign::Check, Some(at(now, 1000)), at(now, 2000));
        assert_eq!(r.path(), Some(path(1)));
        r.handle(path(2), Sign::Check, Some(at(now, 1000)), at(now, 2400));
        assert_eq!(r.path(), Some(path(2)));
    }

    #[test]
    fn a_path_from_an_address_that_is_gone_gives_way_to_whichever_is_answered_next() {
        let now = Instant::now();
        let elsewhere = |port| {
            let local = SocketAddr::from(([192, 0, 2, 77], 4000));
            Path::udp(local, path(port).remote)
        };
        let mut r = route(now);
        r.lose(None, at(now, 10));
        assert!(!r.take_gap(), "nothing arrives yet");
        // What was on its way is no sign that the address is there.
        r.handle(path(1), Sign::Media, Some(now), at(now, 20));
        r.handle(elsewhere(1), Sign::Answer, Some(at(now, 30)), at(now, 30));
        assert_eq!((r.path(), r.take_gap(), r.take_gap()), (Some(elsewhere(1)), true, false));
        // Another is known already.
        r.lose(Some((elsewhere(2), at(now, 20))), at(now, 40));
        assert_eq!(r.path(), Some(elsewhere(2)));
        assert_eq!(r.consent_until(), at(now, 30_020));
        // An answer from long ago is of no use; and the address comes back.
        r.lose(Some((path(3), now)), at(now, 30_000));
        assert_eq!(r.path(), Some(elsewhere(2)));
        r.regain(path(1).local.ip());
        assert!(r.is_lost);
        r.regain(elsewhere(2).local.ip());
        r.handle(path(1), Sign::Answer, Some(at(now, 30_010)), at(now, 30_010));
        assert_eq!(r.path(), Some(elsewhere(2)));
    }

    #[test]
    fn another_nomination_ends_following() {
        let now = Instant::now();
        let mut r = route(now);
        r.handle(path(2), Sign::Media, Some(now), now);
        assert_eq!(r.direct(path(1), || None, now), path(2));
        assert_eq!(r.direct(path(3), || Some(now), now), path(3));
        assert_eq!(r.direct(path(3), || Some(now), now), path(3));
    }

    #[test]
    fn consent_is_what_was_answered_by_the_path_in_use() {
        let now = Instant::now();
        let mut r = route(now);
        r.handle(path(1), Sign::Answer, Some(at(now, 5000)), at(now, 5000));
        for sign in [Sign::Check, Sign::Media] {
            r.handle(path(1), sign, Some(at(now, 5000)), at(now, 20_000));
        }
        r.handle(path(2), Sign::Answer, Some(at(now, 20_000)), at(now, 20_000));
        assert_eq!(r.consent_until(), at(now, 35_000));
        // A path that answered long ago must answer again.
        assert_eq!(r.handle(path(3), Sign::Media, Some(now), at(now, 31_000)), NextStep::Check);
        assert_eq!(r.path(), Some(path(1)));
    }
}
