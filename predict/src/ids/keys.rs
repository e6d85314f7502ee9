//! Ids as compact keys.

use columns::LongTexts;
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
    /// Ids of which each is larger than the one before, so that none comes twice.
    Ascending(Ascending),
}

/// Ids in strictly ascending order, those that are missing left aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ascending {
    rows: usize,
    /// Rows without an id, in order.
    missing: Vec<u32>,
    /// The first id and the last one; none where there are none.
    ends: Option<(OrderedId, OrderedId)>,
}

/// An id as ids are ordered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd)]
pub enum OrderedId {
    /// A whole number.
    Whole(i64),
    /// The text of anything else.
    Text(String),
}

impl OrderedId {
    /// Whether it comes before another one: ids of different types have no order.
    fn is_before(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => one < other,
            (Self::Text(one), Self::Text(other)) => one < other,
            _ => false,
        }
    }
}

impl Ascending {
    /// The last id of all where these come after `last`; none where they do not.
    #[must_use]
    pub fn after(&self, last: Option<&OrderedId>) -> Option<Option<OrderedId>> {
        match (&self.ends, last) {
            (None, last) => Some(last.cloned()),
            (Some((first, _)), Some(last)) if !last.is_before(first) => None,
            (Some((_, end)), _) => Some(Some(end.clone())),
        }
    }

    /// Whether a row has an id.
    #[must_use]
    pub fn has_id(&self, row: usize) -> bool {
        u32::try_from(row).is_ok_and(|row| row < self.rows as u32 && self.missing.binary_search(&row).is_err())
    }

    fn of<T: PartialOrd + Copy>(
        ids: impl ExactSizeIterator<Item = Option<T>>,
        ordered: impl Fn(T) -> OrderedId,
    ) -> Option<Self> {
        let rows = ids.len();
        let mut missing = Vec::new();
        let mut ends: Option<(T, T)> = None;
        for (row, id) in ids.enumerate() {
            match (id, &mut ends) {
                (None, _) => missing.push(u32::try_from(row).ok()?),
                (Some(id), None) => ends = Some((id, id)),
                (Some(id), Some((_, last))) if *last < id => *last = id,
                (Some(_), Some(_)) => return None,
            }
        }
        Some(Self { rows, missing, ends: ends.map(|(first, last)| (ordered(first), ordered(last))) })
    }
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
        let mut long = LongTexts::default();
        Ok(Self::Hashed(text.iter().map(|id| id.map(|id| long.once(id, |id| xxh3_128(id.as_bytes())))).collect()))
    }

    /// The same, where it is enough to know that they ascend if they do.
    ///
    /// # Errors
    /// As [`IdKeys::of`].
    pub fn ascending_or_of(ids: &Series) -> Result<Self> {
        if is_integer(ids.dtype())
            && let Ok(whole) = ids.cast(&DataType::Int64)
            && let Ok(whole) = whole.i64()
        {
            let ascending = Ascending::of(whole.iter(), OrderedId::Whole);
            return ascending.map_or_else(|| Self::of(ids), |ids| Ok(Self::Ascending(ids)));
        }
        let texts = canonical_text(ids)?;
        let ascending = Ascending::of(texts.iter(), |id| OrderedId::Text(id.to_owned()));
        ascending.map_or_else(|| Self::of(ids), |ids| Ok(Self::Ascending(ids)))
    }

    /// Whether a row has an id.
    #[must_use]
    pub fn has_id(&self, row: usize) -> bool {
        match self {
            Self::Ascending(ids) => ids.has_id(row),
            Self::Whole(_) | Self::Hashed(_) => self.get(row).is_some(),
        }
    }

    /// The key of a row; none where its id is null, and where there are no keys.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<IdKey> {
        match self {
            Self::Whole(keys) => keys.get(row).copied().flatten().map(IdKey::Whole),
            Self::Hashed(keys) => keys.get(row).copied().flatten().map(IdKey::Hashed),
            Self::Ascending(_) => None,
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Whole(keys) => keys.len(),
            Self::Hashed(keys) => keys.len(),
            Self::Ascending(ids) => ids.rows,
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
pub(crate) trait Key: Copy + Eq + Default + Send + Sync + std::fmt::Debug {
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
    fn ids_that_ascend_need_no_keys() {
        let of = |ids: &Series| match IdKeys::ascending_or_of(ids).unwrap() {
            IdKeys::Ascending(ids) => Some(ids),
            _ => None,
        };
        let numbers = of(&Series::new("id".into(), [Some(-3_i32), None, Some(2), Some(9)])).unwrap();
        assert_eq!((numbers.has_id(0), numbers.has_id(1), numbers.has_id(4)), (true, false, false));
        let whole = OrderedId::Whole;
        assert_eq!(numbers.after(None), Some(Some(whole(9))));
        assert_eq!(numbers.after(Some(&whole(-4))), Some(Some(whole(9))));
        assert_eq!(numbers.after(Some(&whole(-3))), None);
        assert_eq!(numbers.after(Some(&OrderedId::Text("a".to_owned()))), None, "of another type");
        let texts = of(&Series::new("id".into(), ["10", "9", "a"])).unwrap();
        assert_eq!(texts.after(Some(&OrderedId::Text("1".to_owned()))), Some(Some(OrderedId::Text("a".to_owned()))));
        let nothing = of(&Series::new("id".into(), [None::<i64>, None])).unwrap();
        assert_eq!(nothing.after(Some(&whole(5))), Some(Some(whole(5))));
        for (one, other) in [("b", "a"), ("a", "a")] {
            assert_eq!(of(&Series::new("id".into(), [one, other])), None);
        }
    }

    #[test]
    fn numbers_and_texts_have_keys_and_nulls_have_none() {
        let numbers = IdKeys::of(&Series::new("id".into(), [Some(1_i32), None, Some(-1)])).unwrap();
        assert_eq!((numbers.get(0), numbers.get(1)), (Some(IdKey::Whole(1)), None));
        assert_ne!(numbers.get(0), numbers.get(2));
        let text = IdKeys::of(&Series::new("id".into(), ["00123", "123"])).unwrap();
        assert_ne!(text.get(0), text.get(1));
    }
}
