//! Who may hold a socket: so many of one address, and so many that nobody knows yet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::lock;

/// Counts sockets. What it gives out counts until it is dropped.
#[derive(Default)]
pub(crate) struct Door {
    max_per_address: Option<usize>,
    max_strangers: Option<usize>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// No more entries than open sockets.
    addresses: HashMap<IpAddr, usize>,
    strangers: usize,
}

/// A socket that has not been admitted.
pub(crate) struct Stranger(Arc<Door>);

/// A socket of an address.
pub(crate) struct Guest {
    door: Arc<Door>,
    address: IpAddr,
}

impl Door {
    pub fn new(max_per_address: Option<usize>, max_strangers: Option<usize>) -> Arc<Door> {
        Arc::new(Door { max_per_address, max_strangers, ..Door::default() })
    }

    /// `None` when too many are unknown already.
    pub fn stranger(self: &Arc<Self>) -> Option<Stranger> {
        let mut inside = lock(&self.inside);
        if self.max_strangers.is_some_and(|max| inside.strangers >= max) {
            return None;
        }
        inside.strangers += 1;
        Some(Stranger(self.clone()))
    }

    /// `None` when that address has too many already.
    pub fn guest(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let mut inside = lock(&self.inside);
        let held = inside.addresses.get(&address).copied().unwrap_or(0);
        if self.max_per_address.is_some_and(|max| held >= max) {
            return None;
        }
        inside.addresses.insert(address, held + 1);
        Some(Guest { door: self.clone(), address })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        lock(&self.0.inside).strangers -= 1;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut inside = lock(&self.door.inside);
        match inside.addresses.get_mut(&self.address) {
            Some(held) if *held > 1 => *held -= 1,
            _ => _ = inside.addresses.remove(&self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_until_it_gives_back() {
        let door = Door::new(Some(2), None);
        let [a, b] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let held = [door.guest(a), door.guest(a)];
        assert!(held.iter().all(Option::is_some) && door.guest(a).is_none());
        assert!(door.guest(b).is_some(), "another is not concerned");
        drop(held);
        assert!(lock(&door.inside).addresses.is_empty(), "nothing is kept of who went");
    }

    #[test]
    fn strangers_make_room_when_they_are_known() {
        let door = Door::new(None, Some(1));
        let first = door.stranger();
        assert!(first.is_some() && door.stranger().is_none());
        drop(first);
        assert!(door.stranger().is_some());
    }
}
