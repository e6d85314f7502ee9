//! The memory of which ids came before.

use std::ops::Range;

use super::keys::{IdKey, IdKeys, Key};

/// The ids that were scored so far: 8 bytes for each whole number and 16 for each text, in tables that are at most seven
/// eighths full.
#[derive(Debug)]
pub struct SeenIds {
    whole: KeyTable<u64>,
    hashed: KeyTable<u128>,
    expected: usize,
}

impl SeenIds {
    /// Room for `expected` ids without growing, where their number is known.
    #[must_use]
    pub fn expecting(expected: usize) -> Self {
        Self { whole: KeyTable::default(), hashed: KeyTable::default(), expected }
    }

    /// Bytes that `rows` different ids take: whole numbers, or anything else.
    #[must_use]
    pub fn bytes(rows: u64, whole: bool) -> u64 {
        let key = if whole { size_of::<u64>() } else { size_of::<u128>() };
        slots_for(usize::try_from(rows).unwrap_or(usize::MAX)) as u64 * key as u64
    }

    /// Whether `more` ids fit without taking more than `most` bytes, at no moment.
    #[must_use]
    pub fn has_room(&self, more: usize, most: u64) -> bool {
        self.whole.bytes_with(more, self.expected) + self.hashed.bytes_with(more, self.expected) <= most
    }

    /// Reads the slots of the ids of `rows`, which are looked up next: a large table lies outside the caches, and reads
    /// that wait for nothing but memory wait together.
    pub fn prefetch(&self, keys: &IdKeys, rows: Range<usize>) {
        match keys {
            IdKeys::Whole(keys) => self.whole.prefetch(keys.get(rows).unwrap_or_default()),
            IdKeys::Hashed(keys) => self.hashed.prefetch(keys.get(rows).unwrap_or_default()),
            IdKeys::Ascending(_) => {}
        }
    }

    /// Remembers an id; whether it is new.
    pub fn insert(&mut self, key: IdKey) -> bool {
        match key {
            IdKey::Whole(key) => self.whole.insert(key, self.expected),
            IdKey::Hashed(key) => self.hashed.insert(key, self.expected),
        }
    }
}

/// A set of keys by open addressing; the zero key, which marks a free slot, is kept apart.
#[derive(Debug, Default)]
pub(super) struct KeyTable<K> {
    slots: Vec<K>,
    taken: usize,
    has_zero: bool,
}

/// Places for so many keys, seven eighths full at most.
fn slots_for(keys: usize) -> usize {
    keys.max(1024).saturating_add(1).saturating_mul(8).div_ceil(7)
}

/// Whether a table of so many slots is too full for so many keys.
fn is_too_full(keys: usize, slots: usize) -> bool {
    keys * 8 > slots * 7
}

impl<K: Key> KeyTable<K> {
    /// An empty table with room for `expected` keys.
    pub(super) fn expecting(expected: usize) -> Self {
        Self { slots: vec![K::default(); slots_for(expected)], taken: 0, has_zero: false }
    }

    /// The most bytes that it takes while `more` keys are put in, of one that has any.
    fn bytes_with(&self, more: usize, expected: usize) -> u64 {
        let mut slots = self.slots.len();
        let mut most = slots;
        while slots > 0 && is_too_full(self.taken + more, slots) {
            let larger = Self::grown(slots, expected);
            most = slots + larger;
            slots = larger;
        }
        most as u64 * K::BYTES as u64
    }

    fn grown(slots: usize, expected: usize) -> usize {
        if slots == 0 { slots_for(expected) } else { slots * 2 }
    }

    pub(super) fn insert(&mut self, key: K, expected: usize) -> bool {
        if key == K::default() {
            return !std::mem::replace(&mut self.has_zero, true);
        }
        if is_too_full(self.taken + 1, self.slots.len()) {
            self.grow(expected);
        }
        let is_new = Self::put(&mut self.slots, key);
        self.taken += usize::from(is_new);
        is_new
    }

    /// The high half of the product spreads over any number of slots (Lemire, "Fast random integer generation in an
    /// interval", 2019), so that the table need not be a power of two.
    fn first_slot(slots: usize, key: K) -> usize {
        ((u128::from(key.hash()) * slots as u128) >> 64) as usize
    }

    fn prefetch(&self, keys: &[Option<K>]) {
        let slots = self.slots.as_slice();
        let first = |key: &K| slots.get(Self::first_slot(slots.len(), *key)).copied().unwrap_or_default();
        let read = keys.iter().flatten().fold(0_u64, |all, key| all ^ first(key).hash());
        std::hint::black_box(read);
    }

    fn put(slots: &mut [K], key: K) -> bool {
        let mut slot = Self::first_slot(slots.len(), key);
        while slots[slot] != K::default() {
            if slots[slot] == key {
                return false;
            }
            slot = if slot + 1 == slots.len() { 0 } else { slot + 1 };
        }
        slots[slot] = key;
        true
    }

    fn grow(&mut self, expected: usize) {
        let size = Self::grown(self.slots.len(), expected);
        let old = std::mem::replace(&mut self.slots, vec![K::default(); size]);
        for key in old.into_iter().filter(|key| *key != K::default()) {
            Self::put(&mut self.slots, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_is_new_once_whatever_came_between() {
        for expected in [0, 10, 1_000_000] {
            let mut seen = SeenIds::expecting(expected);
            let mut reference = HashSet::new();
            for step in 0..50_000_u64 {
                let id = step.wrapping_mul(0x9e37_79b9) % 20_000;
                assert_eq!(seen.insert(IdKey::Whole(id)), reference.insert(u128::from(id)), "{id}");
                let hashed = u128::from(id) << 64;
                assert_eq!(seen.insert(IdKey::Hashed(hashed)), reference.insert(hashed + (1 << 127)), "{id}");
            }
        }
    }
}
