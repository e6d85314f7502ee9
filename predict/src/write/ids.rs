//! Ids as compact keys, and the memory of which came before.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use common::Result;
use common::table::ColumnKind;
use common::table::ids::ids_as_text;
use polars::prelude::{DataType, Series};
use xxhash_rust::xxh3::xxh3_128;

/// The ids of a batch, for comparison. Whole numbers are themselves; everything else is the 128-bit XXH3 of its text,
/// which two of 10¹² different ids share with a probability below 10⁻¹⁴.
#[derive(Debug)]
pub struct IdKeys(Vec<Option<u128>>);

impl IdKeys {
    /// The keys of a column of ids.
    ///
    /// # Errors
    /// [`common::Error::Data`] where the column can be no id.
    pub fn of(ids: &Series) -> Result<Self> {
        if ColumnKind::of(ids.dtype()) == ColumnKind::Integer
            && *ids.dtype() != DataType::UInt64
            && let Ok(whole) = ids.cast(&DataType::Int64)
            && let Ok(whole) = whole.i64()
        {
            return Ok(Self(whole.iter().map(|id| id.map(|id| u128::from(id as u64))).collect()));
        }
        let text = ids_as_text(ids)?;
        Ok(Self(text.iter().map(|id| id.map(|id| xxh3_128(id.as_bytes()))).collect()))
    }

    /// The key of a row; none where its id is null.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<u128> {
        self.0.get(row).copied().flatten()
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The ids that were scored so far.
#[derive(Debug, Default)]
pub struct SeenIds {
    keys: HashSet<u128, BuildHasherDefault<KeyHasher>>,
}

impl SeenIds {
    /// Remembers an id; whether it is new.
    pub fn insert(&mut self, key: u128) -> bool {
        self.keys.insert(key)
    }
}

/// Keys are hashes already, or whole numbers that only need to be spread.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= xxhash_rust::xxh3::xxh3_64(bytes);
    }

    fn write_u128(&mut self, key: u128) {
        let mixed = (key as u64) ^ ((key >> 64) as u64);
        self.0 = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::NamedFrom;

    use super::*;

    #[test]
    fn numbers_and_their_text_have_keys_and_nulls_have_none() {
        let numbers = IdKeys::of(&Series::new("id".into(), [Some(1_i32), None, Some(-1)])).unwrap();
        assert_eq!((numbers.get(0), numbers.get(1)), (Some(1), None));
        assert_ne!(numbers.get(0), numbers.get(2));
        let text = IdKeys::of(&Series::new("id".into(), ["00123", "123"])).unwrap();
        assert_ne!(text.get(0), text.get(1));
    }

    #[test]
    fn an_id_is_new_once() {
        let mut seen = SeenIds::default();
        assert!(seen.insert(7));
        assert!(!seen.insert(7));
        assert!(seen.insert(7 << 64));
    }
}
