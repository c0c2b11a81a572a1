//! The path on which DTLS and media of a session are sent.
//!
//! str0m sends on the pair that ICE nominated, for 24 s after that pair is dead, or forever if the viewer never nominates
//! another: Firefox and aiortc don't notice when a NAT gives them a new port. The viewer's own datagrams show it sooner.
//! Media follows them to a path on which one of our checks was answered.
//!
//! ```text
//!               authentic media, or a check while the path in use is silent, by another path
//!   nominated ───────────────────────────────────────────────────────────────────────────────▶ followed
//!       ▲                                                                                         │
//!       └──────────────────────────── str0m sends by another path ◀───────────────────────────────┘
//! ```
//!
//! Consent to send is kept by answers to our checks on the path in use (RFC 7675).

use std::time::{Duration, Instant};

use crate::rtc::Path;

/// After this without an answer nothing may be sent any more (RFC 7675, 5.1).
pub(in crate::rtc) const CONSENT: Duration = Duration::from_secs(30);
/// A path in use that carried nothing for so long gives way to another by which a check came: viewers that receive
/// send reports every second or more often. Consent checks by other paths come while the one in use is fine.
const SILENT: Duration = Duration::from_millis(1500);

/// What came by a path, and is authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) enum Sign {
    /// A check of the viewer's.
    Check,
    /// An answer to a check of ours.
    Answer,
    /// RTP or RTCP: the viewer sends by what it takes for the best path.
    Media,
}

/// What is to be done about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) enum NextStep {
    Nothing,
    /// To be checked: media would go by it.
    Check,
}

#[derive(Debug)]
pub(in crate::rtc) struct Route {
    /// By which str0m sends.
    nominated: Option<Path>,
    /// By which the viewer sends, where that is another.
    followed: Option<Path>,
    /// By which media came that waits for an answer to a check.
    wanted: Option<Path>,
    /// When something authentic came by the path in use.
    heard: Instant,
    /// When a check of ours by it was answered.
    answered: Instant,
}

impl Route {
    pub(in crate::rtc) fn new(now: Instant) -> Route {
        Route { nominated: None, followed: None, wanted: None, heard: now, answered: now }
    }

    /// The path in use.
    pub(in crate::rtc) fn path(&self) -> Option<Path> {
        self.followed.or(self.nominated)
    }

    /// How long nothing came by the path in use.
    pub(in crate::rtc) fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// When a check of ours by the path in use was answered.
    pub(in crate::rtc) fn answered(&self) -> Instant {
        self.answered
    }

    /// When the right to send ends.
    pub(in crate::rtc) fn consent_until(&self) -> Instant {
        self.answered + CONSENT
    }

    /// Where a datagram goes that str0m sends by this path; `answered` says when a check of ours by it was.
    pub(in crate::rtc) fn direct(
        &mut self,
        nominated: Path,
        answered: impl FnOnce() -> Option<Instant>,
        now: Instant,
    ) -> Path {
        self.nominate(nominated, answered, now);
        self.followed.unwrap_or(nominated)
    }

    /// ICE has nominated a path, maybe the same as before.
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

    /// Something authentic came by a path, by which a check of ours was answered at `answered`.
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
            Sign::Check => self.silent(now) >= SILENT,
            Sign::Answer => self.wanted == Some(path),
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

    fn follow(&mut self, path: Path, answered: Instant, now: Instant) {
        log::debug!("the viewer moved: sending media on another path");
        self.followed = Some(path).filter(|path| self.nominated != Some(*path));
        self.take(path, answered, now);
    }

    fn take(&mut self, path: Path, answered: Instant, now: Instant) {
        self.heard = now;
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

    /// A route by path 1.
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
        // Someone else's answer is nothing to it.
        assert_eq!(r.handle(path(3), Sign::Answer, Some(at(now, 30)), at(now, 30)), NextStep::Nothing);
        assert_eq!(r.path(), Some(path(1)));
        r.handle(path(2), Sign::Answer, Some(at(now, 40)), at(now, 40));
        assert_eq!(r.direct(path(1), || None, at(now, 45)), path(2));
        // Back again, where it is proven still.
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
        // A path that answered long ago has to answer anew.
        assert_eq!(r.handle(path(3), Sign::Media, Some(now), at(now, 31_000)), NextStep::Check);
        assert_eq!(r.path(), Some(path(1)));
    }
}
