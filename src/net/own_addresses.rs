//! The addresses of this machine at which a UDP port is reached, as they come and go.

use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::address_changes::Changes;
use super::addresses;
use crate::rtc::LocalCandidate;

/// The minimum interval between listings that nothing has caused.
const EVERY: Duration = Duration::from_secs(1);

/// Watches the addresses of this machine.
#[derive(Debug)]
pub(crate) struct OwnAddresses {
    changes: Option<Changes>,
    /// When they were listed last, and those that were candidates and are not gone.
    listed: Option<Instant>,
    known: Vec<IpAddr>,
}

/// The addresses that there are now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) candidates: Vec<LocalCandidate>,
    /// Those of earlier candidates that this machine no longer has, or whose link is down.
    pub(crate) gone: Vec<IpAddr>,
}

impl OwnAddresses {
    pub(crate) fn new() -> OwnAddresses {
        let changes = Changes::new().inspect_err(|e| log::debug!("cannot watch addresses: {}", e.kind()));
        OwnAddresses { changes: changes.ok(), listed: None, known: vec![] }
    }

    /// Ready if they may have changed, or were never listed: [`list`](Self::list) them, then poll it again.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let changed = self.changes.as_mut().is_some_and(|changes| changes.poll(cx).is_ready());
        if changed {
            self.listed = None;
        }
        if self.listed.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Lists them: `candidates` returns those of the port. Returns nothing if that was done just now and nothing has
    /// changed since.
    pub(crate) fn list(
        &mut self,
        candidates: impl FnOnce() -> Vec<LocalCandidate>,
        now: Instant,
    ) -> Option<Listed> {
        if self.listed.is_some_and(|at| now < at + EVERY) {
            return None;
        }
        self.listed = Some(now);
        let machine = addresses::all().inspect_err(|e| log::debug!("cannot list addresses: {}", e.kind()));
        Some(self.update(candidates(), machine.ok().as_deref()))
    }

    /// `machine` has all addresses of links that are up, if they could be listed.
    fn update(&mut self, mut candidates: Vec<LocalCandidate>, machine: Option<&[IpAddr]>) -> Listed {
        let is_there = |ip: &IpAddr| machine.is_none_or(|machine| machine.contains(ip));
        candidates.retain(|candidate| is_there(&candidate.base.ip()));
        let gone = self.known.extract_if(.., |ip| !is_there(ip)).collect();
        for ip in candidates.iter().map(|candidate| candidate.base.ip()) {
            if !self.known.contains(&ip) {
                self.known.push(ip);
            }
        }
        Listed { candidates, gone }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn ips(all: &[&str]) -> Vec<IpAddr> {
        all.iter().map(|ip| ip.parse().expect("literal")).collect()
    }

    #[test]
    fn an_address_is_gone_when_the_machine_lost_it_and_not_when_another_is_better() {
        let mut own = OwnAddresses { changes: None, listed: None, known: vec![] };
        // Candidates; all addresses of the machine; the candidates that remain; what is gone.
        type Row = (
            &'static [&'static str],
            Option<&'static [&'static str]>,
            &'static [&'static str],
            &'static [&'static str],
        );
        let table: [Row; 8] = [
            (&["127.0.0.1"], Some(&["127.0.0.1"]), &["127.0.0.1"], &[]),
            (&["192.0.2.1"], Some(&["127.0.0.1", "192.0.2.1"]), &["192.0.2.1"], &[]),
            (&["192.0.2.1"], None, &["192.0.2.1"], &[]),
            (&["192.0.2.7"], Some(&["127.0.0.1", "192.0.2.7"]), &["192.0.2.7"], &["192.0.2.1"]),
            // The port is bound to that address alone, and its link is down.
            (&["192.0.2.7"], Some(&["127.0.0.1"]), &[], &["192.0.2.7"]),
            (&["192.0.2.7"], Some(&["127.0.0.1"]), &[], &[]),
            (&["192.0.2.7"], Some(&["127.0.0.1", "192.0.2.7"]), &["192.0.2.7"], &[]),
            (&[], Some(&[]), &[], &["127.0.0.1", "192.0.2.7"]),
        ];
        for (row, (candidates, machine, remain, gone)) in table.into_iter().enumerate() {
            let of = |all: &[&str]| -> Vec<LocalCandidate> {
                let base = |ip| LocalCandidate { base: SocketAddr::new(ip, 4000), advertised: None };
                ips(all).into_iter().map(base).collect()
            };
            let listed = own.update(of(candidates), machine.map(ips).as_deref());
            assert_eq!(listed, Listed { candidates: of(remain), gone: ips(gone) }, "row {row}");
        }
    }

    #[test]
    fn they_are_listed_once_a_second_at_most() {
        let mut own = OwnAddresses { changes: None, listed: None, known: vec![] };
        let start = Instant::now();
        let listed: Vec<bool> = [0, 999, 1000, 1500]
            .map(|ms| own.list(Vec::new, start + Duration::from_millis(ms)).is_some())
            .into();
        assert_eq!(listed, [true, false, true, false]);
    }
}
