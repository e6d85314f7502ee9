//! Ids as compact keys.

use columns::text::canonical_text;
use error::Result;
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
    /// [`error::Error::Data`] where the column can be no id.
    pub fn of(ids: &Series) -> Result<Self> {
        if is_integer(ids.dtype())
            && let Ok(whole) = ids.cast(&DataType::Int64)
            && let Ok(whole) = whole.i64()
        {
            return Ok(Self::Whole(whole.iter().map(|id| id.map(i64::cast_unsigned)).collect()));
        }
        let text = canonical_text(ids)?;
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

/// Whether ids of a type are kept as they are.
#[must_use]
pub fn is_integer(dtype: &DataType) -> bool {
    dtype.is_integer() && *dtype != DataType::UInt64
}

/// A key as the tables and the scratch hold it.
pub(super) trait Key: Copy + Eq + Default {
    /// Bytes of it.
    const BYTES: usize;

    /// Bits that hash the keys evenly.
    fn hash(self) -> u64;

    /// Appends its bytes.
    fn write(self, bytes: &mut Vec<u8>);

    /// The key that `bytes`, as many as it has, stand for.
    fn read(bytes: &[u8]) -> Self;
}

impl Key for u64 {
    const BYTES: usize = 8;

    fn hash(self) -> u64 {
        // The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring ids end far apart.
        let mixed = (self ^ (self >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        bytes.first_chunk().map_or(0, |bytes| Self::from_le_bytes(*bytes))
    }
}

impl Key for u128 {
    const BYTES: usize = 16;

    fn hash(self) -> u64 {
        self as u64
    }

    fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        bytes.first_chunk().map_or(0, |bytes| Self::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
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
}
