//! Limits on sockets: in total, per address, and unauthenticated.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::net::{Network, lock};

/// The limits; `None` for no limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitSettings {
    /// Sockets per address.
    pub per_address: Option<usize>,
    /// Of those, sockets without a peer.
    pub strangers_per_address: Option<usize>,
    /// Sockets without a peer, of all addresses.
    pub strangers: Option<usize>,
    /// Addresses whose sockets are not counted.
    pub exempt: Vec<Network>,
}

/// Counts sockets. Each returned value counts until it is dropped.
#[derive(Default)]
pub(crate) struct ConnectionLimits {
    settings: LimitSettings,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// At most as many entries as open sockets.
    addresses: HashMap<IpAddr, Held>,
    strangers: usize,
}

/// What one address has open.
#[derive(Default)]
struct Held {
    sockets: usize,
    strangers: usize,
}

/// A socket without an admitted peer.
pub(crate) struct Stranger {
    limits: Arc<ConnectionLimits>,
    /// Its address, once that is known and if it counts.
    address: Option<IpAddr>,
}

/// A socket of an address.
pub(crate) struct Counted {
    limits: Arc<ConnectionLimits>,
    /// `None` if it is exempt.
    address: Option<IpAddr>,
    /// Counts as without a peer until it is dropped.
    is_visitor: bool,
}

/// The limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Sockets of this address.
    Address,
    /// Sockets of this address without an admitted peer.
    AddressStrangers,
}

impl ConnectionLimits {
    pub(crate) fn new(settings: LimitSettings) -> Arc<ConnectionLimits> {
        Arc::new(ConnectionLimits { settings, ..ConnectionLimits::default() })
    }

    /// `None` if there are too many unauthenticated sockets already.
    pub(crate) fn stranger(self: &Arc<Self>) -> Option<Stranger> {
        let mut inside = lock(&self.inside);
        if self.settings.strangers.is_some_and(|max| inside.strangers >= max) {
            return None;
        }
        inside.strangers += 1;
        Some(Stranger { limits: self.clone(), address: None })
    }

    /// Counts an unauthenticated socket for its address.
    pub(crate) fn count(self: &Arc<Self>, address: IpAddr, stranger: &mut Stranger) -> Result<Counted, Full> {
        let address = self.add(address)?;
        stranger.address = address;
        Ok(Counted { limits: self.clone(), address, is_visitor: false })
    }

    /// Counts a request that an address makes through another's socket, such as a proxy's, like a socket of its own
    /// without a peer. The limit on all unauthenticated sockets counts the socket itself.
    pub(crate) fn visit(self: &Arc<Self>, address: IpAddr) -> Result<Counted, Full> {
        let address = self.add(address)?;
        Ok(Counted { limits: self.clone(), address, is_visitor: true })
    }

    /// Counts one more socket of this address, without a peer; `None` if it is exempt.
    fn add(&self, address: IpAddr) -> Result<Option<IpAddr>, Full> {
        if self.is_exempt(address) {
            return Ok(None);
        }
        let address = owner(address);
        let mut inside = lock(&self.inside);
        let held = inside.addresses.entry(address).or_default();
        let full = |limit: Option<usize>, held| limit.is_some_and(|max| held >= max);
        let result = if full(self.settings.per_address, held.sockets) {
            Err(Full::Address)
        } else if full(self.settings.strangers_per_address, held.strangers) {
            Err(Full::AddressStrangers)
        } else {
            held.sockets += 1;
            held.strangers += 1;
            Ok(Some(address))
        };
        inside.forget(address);
        result
    }

    /// Whether an address uses more than half of its sockets without a peer. A browser keeps six open for a while after
    /// loading a page; others behind the same address then cannot use them.
    pub(crate) fn is_crowded(&self, address: IpAddr) -> bool {
        let inside = lock(&self.inside);
        let Some(held) = inside.addresses.get(&owner(address)) else { return false };
        let over_half = |limit: Option<usize>, held| limit.is_some_and(|max| held > max / 2);
        over_half(self.settings.per_address, held.sockets)
            || over_half(self.settings.strangers_per_address, held.strangers)
    }

    /// Whether the sockets of an address are not counted.
    pub(crate) fn is_exempt(&self, address: IpAddr) -> bool {
        self.settings.exempt.iter().any(|network| network.contains(address))
    }
}

/// A customer of a provider has a whole /64 of IPv6 (RFC 6177), with as many addresses as it likes.
pub(crate) fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

impl Inside {
    fn held(&mut self, address: Option<IpAddr>) -> Option<(IpAddr, &mut Held)> {
        let address = address?;
        Some((address, self.addresses.get_mut(&address)?))
    }

    /// Removes addresses without sockets.
    fn forget(&mut self, address: IpAddr) {
        if self.addresses.get(&address).is_some_and(|held| held.sockets == 0 && held.strangers == 0) {
            self.addresses.remove(&address);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut inside = lock(&self.limits.inside);
        inside.strangers -= 1;
        if let Some((address, held)) = inside.held(self.address) {
            held.strangers -= 1;
            inside.forget(address);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut inside = lock(&self.limits.inside);
        if let Some((address, held)) = inside.held(self.address) {
            held.sockets -= 1;
            held.strangers -= usize::from(self.is_visitor);
            inside.forget(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn enter(limits: &Arc<ConnectionLimits>, address: &str) -> Result<(Stranger, Counted), Option<Full>> {
        let mut stranger = limits.stranger().ok_or(None)?;
        let counted = limits.count(ip(address), &mut stranger).map_err(Some)?;
        Ok((stranger, counted))
    }

    #[test]
    fn an_address_has_its_share_and_closing_frees_it() {
        let limits =
            ConnectionLimits::new(LimitSettings { per_address: Some(2), ..LimitSettings::default() });
        let held = [enter(&limits, "192.0.2.1"), enter(&limits, "192.0.2.1")];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(enter(&limits, "192.0.2.1").err(), Some(Some(Full::Address)));
        assert_eq!(
            enter(&limits, "::ffff:192.0.2.1").err(),
            Some(Some(Full::Address)),
            "a mapped IPv4 address is the same address"
        );
        assert!(enter(&limits, "192.0.2.2").is_ok(), "other addresses are not affected");
        drop(held);
        assert!(lock(&limits.inside).addresses.is_empty(), "nothing is kept for addresses without sockets");
        assert_eq!(lock(&limits.inside).strangers, 0);
    }

    #[test]
    fn an_admitted_peer_no_longer_counts_as_unauthenticated() {
        let limits = LimitSettings {
            per_address: Some(3),
            strangers_per_address: Some(1),
            ..LimitSettings::default()
        };
        let limits = ConnectionLimits::new(limits);
        let (stranger, first) = enter(&limits, "192.0.2.1").expect("the first");
        assert_eq!(enter(&limits, "192.0.2.1").err(), Some(Some(Full::AddressStrangers)));
        drop(stranger);
        let (_stranger, second) = enter(&limits, "192.0.2.1").expect("the first is admitted");
        drop((first, second));
        assert_eq!(enter(&limits, "192.0.2.1").err(), Some(Some(Full::AddressStrangers)));
    }

    #[test]
    fn more_than_half_is_crowded() {
        for limits in [
            LimitSettings { per_address: Some(4), ..LimitSettings::default() },
            LimitSettings { strangers_per_address: Some(4), ..LimitSettings::default() },
        ] {
            let limits = ConnectionLimits::new(limits);
            let mut held = Vec::new();
            let crowded: Vec<bool> = (0..4)
                .map(|_| {
                    held.push(enter(&limits, "192.0.2.1").expect("four may"));
                    limits.is_crowded(ip("192.0.2.1"))
                })
                .collect();
            assert_eq!(crowded, [false, false, true, true]);
            assert!(!limits.is_crowded(ip("192.0.2.2")));
        }
    }

    #[test]
    fn ipv6_is_counted_by_64_bit_prefix() {
        let limits =
            ConnectionLimits::new(LimitSettings { per_address: Some(1), ..LimitSettings::default() });
        let _held = enter(&limits, "2001:db8:0:1::1").expect("the first");
        assert!(enter(&limits, "2001:db8:0:1:ffff::2").is_err());
        assert!(enter(&limits, "2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn requests_through_a_proxy_count_like_sockets() {
        for limits in [
            LimitSettings { per_address: Some(2), ..LimitSettings::default() },
            LimitSettings { strangers_per_address: Some(2), ..LimitSettings::default() },
        ] {
            let counts = ConnectionLimits::new(limits);
            let held = [counts.visit(ip("192.0.2.1")), counts.visit(ip("192.0.2.1"))];
            assert!(held.iter().all(Result::is_ok) && counts.visit(ip("192.0.2.1")).is_err());
            assert!(counts.visit(ip("192.0.2.2")).is_ok(), "other addresses are not affected");
            drop(held);
            assert!(
                lock(&counts.inside).addresses.is_empty(),
                "nothing is kept for addresses without sockets"
            );
            assert_eq!(lock(&counts.inside).strangers, 0);
        }
        // Sockets with a peer do not count against those without.
        let limits = LimitSettings {
            per_address: Some(9),
            strangers_per_address: Some(1),
            ..LimitSettings::default()
        };
        let counts = ConnectionLimits::new(limits);
        let guests: Vec<Counted> =
            (0..5).map(|_| enter(&counts, "192.0.2.1").expect("the previous one is admitted").1).collect();
        let visit = counts.visit(ip("192.0.2.1"));
        assert!(visit.is_ok() && counts.visit(ip("192.0.2.1")).is_err());
        drop((guests, visit));
    }

    #[test]
    fn exempt_addresses_are_not_counted() {
        let exempt = vec!["127.0.0.0/8".parse().expect("a network")];
        let limits =
            ConnectionLimits::new(LimitSettings { per_address: Some(1), exempt, ..LimitSettings::default() });
        let held: Vec<_> = (0..5).map(|_| enter(&limits, "127.0.0.1")).collect();
        assert!(held.iter().all(Result::is_ok) && lock(&limits.inside).addresses.is_empty());
        assert_eq!(lock(&limits.inside).strangers, 5, "but the total limit counts them");
    }

    #[test]
    fn authentication_frees_a_slot_for_others() {
        let limits = ConnectionLimits::new(LimitSettings { strangers: Some(1), ..LimitSettings::default() });
        let first = limits.stranger();
        assert!(first.is_some() && limits.stranger().is_none());
        drop(first);
        assert!(limits.stranger().is_some());
    }
}
