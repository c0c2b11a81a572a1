//! The paths of sessions, and which connectivity checks may be sent.
//!
//! ```text
//!   request with a session's   ┌─────────┐  an answer to our check, signed, from   ┌────────┐
//!   name and password ────────▶│ claimed │────────────────────────────────────────▶│ proven │
//!   (the source may be forged) └─────────┘  where the check went                   └────────┘
//! ```
//!
//! DTLS and media are accepted only on paths that a session has claimed. Several sessions may claim the same path: its
//! owner, somebody who forges its address, or the next one to use it. Each of them gets what arrives there, and
//! recognizes its own packets by its keys.
//!
//! A check to an unproven address is a datagram to an address of the caller's choice. These are limited over all
//! sessions: see [`CHECKS_A_SECOND`].

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Transaction;
use crate::rtc::{Path, SessionId};

/// Paths that a session is reached by. A browser tries one for each pair of its addresses and ours, the best
/// first. str0m looks through all of them for each datagram, so there must not be many.
pub(in crate::rtc) const MAX_PATHS: usize = 32;
/// New paths of a session over time: str0m never forgets one. A NAT that gives a viewer a new port every minute comes
/// so far in 17 hours.
pub(in crate::rtc) const MAX_NEW_PATHS: usize = 1024;
/// Sessions that claim one path.
const MAX_CLAIMS: usize = 4;
/// Paths that outlast an ICE restart: media goes on by the old one until there is a new one.
const MAX_OLD_PATHS: usize = 8;
/// A path that was silent for so long gives way to a new one: what consent lasts for (RFC 7675 5.1).
const STALE: Duration = Duration::from_secs(30);

/// Checks to unproven addresses that may leave at once, over all sessions: 64 viewers that load their pages
/// in the same moment, with eight candidates each.
pub(in crate::rtc) const CHECKS_AT_ONCE: u32 = 512;
/// And how many a second after that: some 6 KB/s, which is no weapon. An honest viewer does not depend on
/// them, for its own checks reach us and each of them is answered by one of ours that isn't counted; those
/// to where nobody answers are repeated some 14 times in 30 s.
pub(in crate::rtc) const CHECKS_A_SECOND: u32 = 50;

/// Checks of one session that wait for their answer. str0m keeps 9 for each pair of addresses.
const MAX_WAITING: usize = 256;
/// An answer that comes later is of no use.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Requests that have come by a path, each of which is worth one check by it.
const MAX_CREDIT: u8 = 4;

#[derive(Debug)]
struct Claim {
    session: SessionId,
    /// When a check or an answer came by it last; consent asks for one every few seconds.
    heard: Instant,
    /// When a check of ours by this path was answered last: somebody is there, and knows the password.
    answered: Option<Instant>,
    /// Checks that may leave by it without being counted, since as many requests came.
    credit: u8,
    generation: u32,
}

#[derive(Debug, Default)]
struct Owner {
    paths: Vec<Path>,
    waiting: VecDeque<Waiting>,
    /// Grows with each ICE restart.
    generation: u32,
    /// New paths, in all generations.
    new: usize,
}

#[derive(Debug)]
struct Waiting {
    transaction: Transaction,
    path: Path,
    since: Instant,
}

/// All paths of all sessions.
#[derive(Debug)]
pub(in crate::rtc) struct Paths {
    claims: HashMap<Path, Vec<Claim>>,
    /// Who claims paths from a host, once for each.
    hosts: HashMap<IpAddr, Vec<SessionId>>,
    owners: HashMap<SessionId, Owner>,
    /// The checks that wait for their answers.
    checks: HashMap<Transaction, SessionId>,
    tokens: u32,
    /// When the last token came.
    filled: Instant,
    sent: u64,
    held: u64,
}

impl Paths {
    pub(in crate::rtc) fn new(now: Instant) -> Paths {
        Paths {
            claims: HashMap::new(),
            hosts: HashMap::new(),
            owners: HashMap::new(),
            checks: HashMap::new(),
            tokens: CHECKS_AT_ONCE,
            filled: now,
            sent: 0,
            held: 0,
        }
    }

    /// The sessions that datagrams other than STUN by this path may be for.
    pub(in crate::rtc) fn claimants(&self, path: Path) -> impl Iterator<Item = SessionId> {
        self.claims.get(&path).into_iter().flatten().map(|c| c.session)
    }

    /// The sessions that are reached at other ports of a host.
    pub(in crate::rtc) fn of_host(&self, host: IpAddr) -> impl Iterator<Item = SessionId> {
        self.hosts.get(&host).into_iter().flatten().copied()
    }

    /// When a check of a session by this path was answered last.
    pub(in crate::rtc) fn answered(&self, id: SessionId, path: Path) -> Option<Instant> {
        self.claim(id, path)?.answered
    }

    /// The paths of a session by which a check was answered, and when that was last.
    pub(in crate::rtc) fn proven(&self, id: SessionId) -> impl Iterator<Item = (Path, Instant)> {
        let paths = self.owners.get(&id).into_iter().flat_map(|owner| &owner.paths);
        paths.filter_map(move |path| Some((*path, self.answered(id, *path)?)))
    }

    /// Whether a request of a session by this path is to be looked at: it is known, or there is room for it.
    pub(in crate::rtc) fn has_room(&self, id: SessionId, path: Path, now: Instant) -> bool {
        if self.claim(id, path).is_some() {
            return true;
        }
        let others = self.claims.get(&path).map_or(&[][..], |claims| claims);
        if others.len() >= MAX_CLAIMS && !others.iter().any(|c| gives_way(c, now)) {
            return false;
        }
        let Some(owner) = self.owners.get(&id) else { return true };
        owner.new < MAX_NEW_PATHS
            && (self.current(id, owner) < MAX_PATHS || self.stale(id, owner, now).is_some())
    }

    /// A request that bears the session's name and password came by this path, for which there is
    /// [room](Self::has_room).
    pub(in crate::rtc) fn handle_request(&mut self, id: SessionId, path: Path, now: Instant) {
        let claim = self.learn(id, path, now);
        claim.credit = (claim.credit + 1).min(MAX_CREDIT);
    }

    /// Whose check a success response answers, if it comes from where that check went (RFC 8445 7.2.5.2.1).
    pub(in crate::rtc) fn asker(&self, transaction: &Transaction, path: Path) -> Option<SessionId> {
        let id = *self.checks.get(transaction)?;
        let waiting = &self.owners.get(&id)?.waiting;
        waiting.iter().any(|w| w.transaction == *transaction && w.path == path).then_some(id)
    }

    /// A check was answered, and the answer is authentic.
    pub(in crate::rtc) fn handle_answer(
        &mut self,
        id: SessionId,
        transaction: &Transaction,
        path: Path,
        now: Instant,
    ) {
        self.checks.remove(transaction);
        if let Some(owner) = self.owners.get_mut(&id) {
            owner.waiting.retain(|w| w.transaction != *transaction);
        }
        self.learn(id, path, now).answered = Some(now);
    }

    /// Whether a check of a session may leave; one that may not is as good as lost, and will be repeated.
    pub(in crate::rtc) fn handle_check(
        &mut self,
        id: SessionId,
        path: Path,
        check: Transaction,
        now: Instant,
    ) -> bool {
        let free = self.claim_mut(id, path).is_some_and(|claim| {
            let free = claim.answered.is_some() || claim.credit > 0;
            if claim.answered.is_none() {
                claim.credit = claim.credit.saturating_sub(1);
            }
            free
        });
        if !free {
            self.fill(now);
            if self.tokens == 0 {
                self.held += 1;
                return false;
            }
            self.tokens -= 1;
            self.sent += 1;
        }
        let owner = self.owners.entry(id).or_default();
        while owner.waiting.len() >= MAX_WAITING
            || owner.waiting.front().is_some_and(|w| now.saturating_duration_since(w.since) > ANSWER_WITHIN)
        {
            if let Some(old) = owner.waiting.pop_front() {
                self.checks.remove(&old.transaction);
            }
        }
        owner.waiting.push_back(Waiting { transaction: check, path, since: now });
        self.checks.insert(check, id);
        true
    }

    /// The session begins ICE anew: it may come by other paths, and by the old ones until then.
    pub(in crate::rtc) fn restart(&mut self, id: SessionId) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        owner.generation += 1;
        let mut heard: Vec<(Instant, Path)> = owner
            .paths
            .iter()
            .filter_map(|path| {
                Some((
                    self.claims.get(path)?.iter().find(|c| c.session == id && c.answered.is_some())?.heard,
                    *path,
                ))
            })
            .collect();
        heard.sort_unstable_by(|a, b| b.cmp(a));
        heard.truncate(MAX_OLD_PATHS);
        for path in owner.paths.clone() {
            if !heard.iter().any(|(_, kept)| *kept == path) {
                self.drop_claim(id, path);
            }
        }
    }

    pub(in crate::rtc) fn forget(&mut self, id: SessionId) {
        let Some(owner) = self.owners.remove(&id) else { return };
        for path in owner.paths {
            self.drop_claim(id, path);
        }
        for waiting in owner.waiting {
            self.checks.remove(&waiting.transaction);
        }
    }

    /// Checks to unproven addresses that left.
    pub(in crate::rtc) fn checks_sent(&self) -> u64 {
        self.sent
    }

    /// Checks that were held back.
    pub(in crate::rtc) fn checks_held(&self) -> u64 {
        self.held
    }

    fn claim(&self, id: SessionId, path: Path) -> Option<&Claim> {
        self.claims.get(&path)?.iter().find(|c| c.session == id)
    }

    fn claim_mut(&mut self, id: SessionId, path: Path) -> Option<&mut Claim> {
        self.claims.get_mut(&path)?.iter_mut().find(|c| c.session == id)
    }

    /// The paths of a session's present generation.
    fn current(&self, id: SessionId, owner: &Owner) -> usize {
        let claims = owner.paths.iter().filter_map(|path| self.claim(id, *path));
        claims.filter(|c| c.generation == owner.generation).count()
    }

    /// The path of a session that was silent for longest, if that is long enough.
    fn stale(&self, id: SessionId, owner: &Owner, now: Instant) -> Option<Path> {
        let claims = owner.paths.iter().filter_map(|path| Some((self.claim(id, *path)?.heard, *path)));
        claims.min().filter(|(heard, _)| now.saturating_duration_since(*heard) >= STALE).map(|(_, path)| path)
    }

    fn learn(&mut self, id: SessionId, path: Path, now: Instant) -> &mut Claim {
        let generation = self.owners.entry(id).or_default().generation;
        if self.claim(id, path).is_none() {
            self.make_room(id, path, now);
            let owner = self.owners.entry(id).or_default();
            owner.paths.push(path);
            owner.new += 1;
            let claim = Claim { session: id, heard: now, answered: None, credit: 0, generation };
            self.claims.entry(path).or_default().push(claim);
            self.hosts.entry(path.remote.ip()).or_default().push(id);
        }
        let claim = self.claim_mut(id, path).expect("made above, where there was none");
        claim.heard = now;
        claim.generation = generation;
        claim
    }

    /// Takes from the session what is stale, and from the path who has not proven to be there.
    fn make_room(&mut self, id: SessionId, path: Path, now: Instant) {
        if let Some(owner) = self.owners.get(&id)
            && self.current(id, owner) >= MAX_PATHS
            && let Some(stale) = self.stale(id, owner, now)
        {
            self.drop_claim(id, stale);
        }
        let others = self.claims.get(&path).map_or(&[][..], |claims| claims);
        if others.len() >= MAX_CLAIMS {
            let yields = others.iter().filter(|c| gives_way(c, now)).min_by_key(|c| c.heard);
            if let Some(other) = yields.map(|c| c.session) {
                self.drop_claim(other, path);
            }
        }
    }

    fn drop_claim(&mut self, id: SessionId, path: Path) {
        if let Some(owner) = self.owners.get_mut(&id) {
            owner.paths.retain(|p| *p != path);
        }
        if let Some(claims) = self.claims.get_mut(&path) {
            claims.retain(|c| c.session != id);
            if claims.is_empty() {
                self.claims.remove(&path);
            }
        }
        if let Some(ids) = self.hosts.get_mut(&path.remote.ip()) {
            if let Some(i) = ids.iter().position(|other| *other == id) {
                ids.swap_remove(i);
            }
            if ids.is_empty() {
                self.hosts.remove(&path.remote.ip());
            }
        }
    }

    fn fill(&mut self, now: Instant) {
        let every = Duration::from_secs(1) / CHECKS_A_SECOND;
        let due = now.saturating_duration_since(self.filled).as_nanos() / every.as_nanos();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        if due >= CHECKS_AT_ONCE - self.tokens {
            self.tokens = CHECKS_AT_ONCE;
            self.filled = now;
        } else {
            self.tokens += due;
            self.filled += every * due;
        }
    }
}

fn gives_way(claim: &Claim, now: Instant) -> bool {
    claim.answered.is_none() || now.saturating_duration_since(claim.heard) >= STALE
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const ME: SessionId = SessionId(1);

    fn path(n: u16) -> Path {
        Path::udp(SocketAddr::from(([192, 0, 2, 1], 4000)), SocketAddr::from(([198, 51, 100, 1], n)))
    }

    fn transaction(n: u64) -> Transaction {
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&n.to_be_bytes());
        transaction
    }

    /// How many of these paths a session gets by requests.
    fn learned(paths: &mut Paths, id: SessionId, range: std::ops::Range<u16>, now: Instant) -> usize {
        range
            .filter(|n| {
                let room = paths.has_room(id, path(*n), now);
                if room {
                    paths.handle_request(id, path(*n), now);
                }
                room
            })
            .count()
    }

    #[test]
    fn a_session_has_32_paths_after_a_restart_others_and_1024_over_time() {
        let start = Instant::now();
        let mut paths = Paths::new(start);
        assert_eq!(learned(&mut paths, ME, 1000..6000, start), MAX_PATHS);
        // Known ones stay, new ones have no room yet, and somebody else's are no matter.
        assert_eq!(learned(&mut paths, ME, 1000..1032, start + STALE / 2), MAX_PATHS);
        assert_eq!(learned(&mut paths, ME, 6000..6100, start + STALE), 0);
        assert_eq!(learned(&mut paths, SessionId(2), 1000..1010, start), 10);
        paths.restart(ME);
        assert_eq!(learned(&mut paths, ME, 6000..6100, start + STALE), MAX_PATHS);
        // Silent ones give way, until there were too many.
        let later = |round: u32| start + STALE * (3 + round);
        let all: usize = (0..40)
            .map(|round| learned(&mut paths, ME, 7000 + round * 100..7050 + round * 100, later(round.into())))
            .sum();
        assert_eq!(all, MAX_NEW_PATHS - 2 * MAX_PATHS);
        assert!(paths.claims.len() <= MAX_PATHS + 10);
        paths.restart(ME);
        assert_eq!(learned(&mut paths, ME, 20_000..20_100, later(50)), 0, "str0m forgets none");
        paths.forget(ME);
        paths.forget(SessionId(2));
        assert!(paths.claims.is_empty() && paths.owners.is_empty() && paths.checks.is_empty());
        assert!(paths.hosts.is_empty());
    }

    #[test]
    fn a_proven_path_outlasts_a_restart_and_is_not_taken_by_forgers() {
        let now = Instant::now();
        let mut paths = Paths::new(now);
        learned(&mut paths, ME, 1..3, now);
        assert!(paths.handle_check(ME, path(1), transaction(1), now));
        assert_eq!(paths.asker(&transaction(1), path(2)), None, "from elsewhere");
        assert_eq!(paths.asker(&transaction(2), path(1)), None, "to another check");
        assert_eq!(paths.asker(&transaction(1), path(1)), Some(ME));
        paths.handle_answer(ME, &transaction(1), path(1), now);
        assert_eq!(paths.asker(&transaction(1), path(1)), None, "once");
        for forger in 2..100 {
            learned(&mut paths, SessionId(forger), 1..2, now);
            assert!(paths.claimants(path(1)).any(|id| id == ME));
            assert!(paths.claimants(path(1)).count() <= MAX_CLAIMS);
        }
        paths.restart(ME);
        assert!(paths.claimants(path(1)).any(|id| id == ME));
        assert!(!paths.claimants(path(2)).any(|id| id == ME));
    }

    #[test]
    fn checks_to_the_unproven_are_limited_and_answers_to_requests_are_not() {
        let start = Instant::now();
        let mut paths = Paths::new(start);
        let mut next = 0;
        let mut send = |paths: &mut Paths, n, now| {
            next += 1;
            paths.handle_check(ME, path(n), transaction(next), now)
        };
        let sent = (0..2000).filter(|n| send(&mut paths, 5000 + n % 16, start)).count();
        assert_eq!(sent, CHECKS_AT_ONCE as usize);
        assert_eq!((paths.checks_sent(), paths.checks_held()), (512, 2000 - 512));
        // A second later, in steps that don't divide it.
        let sent =
            (1..=1000).filter(|n| send(&mut paths, 5000, start + Duration::from_micros(1001) * *n)).count();
        assert_eq!(sent, CHECKS_A_SECOND as usize);
        // Whoever asked is asked back, as often as that.
        let now = start + Duration::from_millis(1001);
        learned(&mut paths, ME, 1..2, now);
        assert_eq!((0..10).filter(|_| send(&mut paths, 1, now)).count(), 1);
        // And always, once there was an answer.
        learned(&mut paths, ME, 1..2, now);
        assert!(paths.handle_check(ME, path(1), transaction(9999), now));
        paths.handle_answer(ME, &transaction(9999), path(1), now);
        assert_eq!((0..1000).filter(|_| send(&mut paths, 1, now)).count(), 1000);
        assert!(paths.checks.len() <= MAX_WAITING, "{} wait", paths.checks.len());
    }
}
