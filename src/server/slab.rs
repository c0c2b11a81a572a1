//! Sessions by small keys: an index that is reused and a generation that is not.

/// A key for an entry in a [`Slab`]; stays invalid after the entry is gone.
#[cfg_attr(not(test), derive(PartialEq))]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(test, allow(clippy::derived_hash_with_manual_eq, reason = "it compares the same, and counts"))]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

#[cfg(test)]
thread_local! {
    static COMPARED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        COMPARED.set(COMPARED.get() + 1);
        (self.index, self.generation) == (other.index, other.generation)
    }
}

#[cfg(test)]
impl Key {
    /// How often this thread has compared two keys: this reveals searches through lists.
    pub(super) fn compared() -> u64 {
        COMPARED.get()
    }
}

impl Key {
    /// Never a session's key: there are never that many.
    pub(super) const BUS: Key = Key { index: u32::MAX, generation: 0 };

    /// The index of the entry; unique among entries that are alive at the same time.
    pub(super) fn index(self) -> usize {
        self.index as usize
    }

    #[cfg(test)]
    pub(super) fn test(index: u32) -> Key {
        Key { index, generation: 0 }
    }
}

pub(super) struct Slab<T> {
    entries: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Slab { entries: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push((0, None));
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        entry.1 = Some(value);
        Key { index, generation: entry.0 }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index()).filter(|e| e.0 == key.generation)?;
        let value = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        self.entries.get(key.index()).filter(|e| e.0 == key.generation)?.1.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entries.get_mut(key.index()).filter(|e| e.0 == key.generation)?.1.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, (generation, value))| {
            Some((Key { index: index as u32, generation: *generation }, value.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_its_entry_and_names_no_other() {
        let mut slab = Slab::new();
        let a = slab.insert("a");
        assert_eq!((slab.remove(a), slab.remove(a)), (Some("a"), None));
        let b = slab.insert("b");
        assert_eq!(a.index(), b.index());
        assert_eq!((slab.get(a), slab.get(b)), (None, Some(&"b")));
        assert_eq!(slab.iter().map(|(key, _)| key).collect::<Vec<_>>(), [b]);
    }
}
