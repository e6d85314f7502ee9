//! Ids as compact keys, and the memory of which came before.

use std::ops::Range;

use common::Result;
use common::table::ColumnKind;
use common::table::ids::ids_as_text;
use polars::prelude::{DataType, Series};
use xxhash_rust::xxh3::xxh3_128;

/// The ids of a batch, for comparison.
#[derive(Debug)]
pub enum IdKeys {
    /// Whole numbers, as they are.
    Whole(Vec<Option<u64>>),
    /// Anything else, as the 128-bit XXH3 of its text: two of 10¹² different ids share it with a probability below 10⁻¹⁴.
    Hashed(Vec<Option<u128>>),
}

/// One id, for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKey {
    /// A whole number.
    Whole(u64),
    /// The hash of a text.
    Hashed(u128),
}

impl IdKeys {
    /// The keys of a column of ids.
    ///
    /// # Errors
    /// [`common::Error::Data`] where the column can be no id.
    pub fn of(ids: &Series) -> Result<Self> {
        let is_whole = ColumnKind::of(ids.dtype()) == ColumnKind::Integer && *ids.dtype() != DataType::UInt64;
        if is_whole
            && let Ok(whole) = ids.cast(&DataType::Int64)
            && let Ok(whole) = whole.i64()
        {
            return Ok(Self::Whole(whole.iter().map(|id| id.map(i64::cast_unsigned)).collect()));
        }
        let text = ids_as_text(ids)?;
        Ok(Self::Hashed(text.iter().map(|id| id.map(|id| xxh3_128(id.as_bytes()))).collect()))
    }

    /// The key of a row; none where its id is null.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<IdKey> {
        match self {
            Self::Whole(keys) => keys.get(row).copied().flatten().map(IdKey::Whole),
            Self::Hashed(keys) => keys.get(row).copied().flatten().map(IdKey::Hashed),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Whole(keys) => keys.len(),
            Self::Hashed(keys) => keys.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The ids that were scored so far: 8 bytes for each whole number and 16 for each text, in tables that are at most three
/// quarters full.
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
        places_for(usize::try_from(rows).unwrap_or(usize::MAX)) as u64 * key as u64
    }

    /// Reads the places of the ids of `rows`, which are looked up next: a large table lies outside the caches, and reads
    /// that wait for nothing but memory wait together.
    pub fn look_ahead(&self, keys: &IdKeys, rows: Range<usize>) {
        match keys {
            IdKeys::Whole(keys) => self.whole.look_ahead(keys.get(rows).unwrap_or_default()),
            IdKeys::Hashed(keys) => self.hashed.look_ahead(keys.get(rows).unwrap_or_default()),
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

/// A set of keys by open addressing; the zero key, which marks a free place, is kept apart.
#[derive(Debug, Default)]
struct KeyTable<K> {
    places: Vec<K>,
    taken: usize,
    has_zero: bool,
}

trait Key: Copy + Eq + Default {
    /// Bits that spread the keys over the places.
    fn spread(self) -> u64;
}

impl Key for u64 {
    fn spread(self) -> u64 {
        // The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring ids end far apart.
        let mixed = (self ^ (self >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Key for u128 {
    fn spread(self) -> u64 {
        self as u64
    }
}

/// Places for so many keys, three quarters full at most.
fn places_for(keys: usize) -> usize {
    keys.max(1024).saturating_add(1).saturating_mul(4).div_ceil(3)
}

impl<K: Key> KeyTable<K> {
    fn insert(&mut self, key: K, expected: usize) -> bool {
        if key == K::default() {
            return !std::mem::replace(&mut self.has_zero, true);
        }
        if (self.taken + 1) * 4 > self.places.len() * 3 {
            self.grow(expected);
        }
        let is_new = Self::put(&mut self.places, key);
        self.taken += usize::from(is_new);
        is_new
    }

    /// The high half of the product spreads over any number of places (Lemire, "Fast random integer generation in an
    /// interval", 2019), so that the table need not be a power of two.
    fn first_place(places: usize, key: K) -> usize {
        ((u128::from(key.spread()) * places as u128) >> 64) as usize
    }

    fn look_ahead(&self, keys: &[Option<K>]) {
        let places = self.places.as_slice();
        let place = |key: &K| places.get(Self::first_place(places.len(), *key)).copied().unwrap_or_default();
        let read = keys.iter().flatten().fold(0_u64, |all, key| all ^ place(key).spread());
        std::hint::black_box(read);
    }

    fn put(places: &mut [K], key: K) -> bool {
        let mut place = Self::first_place(places.len(), key);
        while places[place] != K::default() {
            if places[place] == key {
                return false;
            }
            place = if place + 1 == places.len() { 0 } else { place + 1 };
        }
        places[place] = key;
        true
    }

    fn grow(&mut self, expected: usize) {
        let size = if self.places.is_empty() { places_for(expected) } else { self.places.len() * 2 };
        let old = std::mem::replace(&mut self.places, vec![K::default(); size]);
        for key in old.into_iter().filter(|key| *key != K::default()) {
            Self::put(&mut self.places, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use polars::prelude::NamedFrom;

    use super::*;

    #[test]
    fn numbers_and_texts_have_keys_and_nulls_have_none() {
        let numbers = IdKeys::of(&Series::new("id".into(), [Some(1_i32), None, Some(-1)])).unwrap();
        assert_eq!((numbers.get(0), numbers.get(1)), (Some(IdKey::Whole(1)), None));
        assert_ne!(numbers.get(0), numbers.get(2));
        let text = IdKeys::of(&Series::new("id".into(), ["00123", "123"])).unwrap();
        assert_ne!(text.get(0), text.get(1));
    }

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
