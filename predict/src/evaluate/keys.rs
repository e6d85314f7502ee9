//! Ids of predictions and of actuals as keys that are equal where the ids are the same value, whatever types the two sides have.

use columns::ColumnKind;
use columns::text::canonical_text;
use error::Result;
use polars::prelude::Series;
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use crate::ids::{IdKey, IdKeys, is_integer};

/// Numbers that are no integers of 64 bits are hashed apart from text: the number 1.5 is not the text `1.5`.
const SEED_OF_NUMBERS: u64 = 1;

/// The ids of some rows, for a join.
#[derive(Debug)]
pub(super) enum JoinKeys {
    /// Integers, as they are.
    Whole(Vec<Option<u64>>),
    /// Of anything else.
    Any(Vec<Option<IdKey>>),
}

impl JoinKeys {
    /// The keys of a column of ids.
    ///
    /// # Errors
    /// [`error::Error::Data`] where the column can be no id.
    pub(super) fn of(ids: &Series) -> Result<Self> {
        if is_integer(ids.dtype())
            && let IdKeys::Whole(keys) = IdKeys::of(ids)?
        {
            return Ok(Self::Whole(keys));
        }
        let is_number = ColumnKind::of(ids.dtype()).is_number() && !ids.dtype().is_bool();
        let texts = canonical_text(ids)?;
        Ok(Self::Any(texts.iter().map(|text| Some(key_of(text?, is_number))).collect()))
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Whole(keys) => keys.len(),
            Self::Any(keys) => keys.len(),
        }
    }

    /// The key of a row; none where its id is null.
    pub(super) fn get(&self, row: usize) -> Option<IdKey> {
        match self {
            Self::Whole(keys) => keys.get(row).copied().flatten().map(IdKey::Whole),
            Self::Any(keys) => keys.get(row).copied().flatten(),
        }
    }
}

/// The key of an id by its canonical text. Text is the number that it stands for only where it is that number's own text, and the
/// number an integer: `7` is 7, but neither `007` nor `7.0` is, and `1.5` is text.
fn key_of(text: &str, is_number: bool) -> IdKey {
    match (is_canonical_integer(text), is_number) {
        (true, _) => match text.parse::<i64>() {
            Ok(whole) => IdKey::Whole(whole.cast_unsigned()),
            Err(_) => IdKey::Hashed(xxh3_128_with_seed(text.as_bytes(), SEED_OF_NUMBERS)),
        },
        (false, true) => IdKey::Hashed(xxh3_128_with_seed(text.as_bytes(), SEED_OF_NUMBERS)),
        (false, false) => IdKey::Hashed(xxh3_128(text.as_bytes())),
    }
}

fn is_canonical_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_zero = text == "0";
    is_zero
        || (digits.bytes().all(|byte| byte.is_ascii_digit())
            && digits.bytes().next().is_some_and(|first| first != b'0'))
}

#[cfg(test)]
mod tests {
    use polars::prelude::{DataType, NamedFrom};

    use super::*;

    fn key(ids: &Series) -> Option<IdKey> {
        JoinKeys::of(ids).unwrap().get(0)
    }

    fn text(id: &str) -> Option<IdKey> {
        key(&Series::new("id".into(), [id]))
    }

    #[test]
    fn an_id_is_the_same_whatever_type_it_has() {
        let seven = Series::new("id".into(), [7_i64]);
        let expected = key(&seven);
        assert_eq!(expected, Some(IdKey::Whole(7)));
        for dtype in [DataType::Int8, DataType::UInt64, DataType::Float32, DataType::Float64, DataType::Decimal(9, 2)] {
            assert_eq!(key(&seven.cast(&dtype).unwrap()), expected, "{dtype}");
        }
        assert_eq!(text("7"), expected);
        assert_eq!(text("-7"), key(&Series::new("id".into(), [-7_i32])));
        assert_eq!(text("0"), key(&Series::new("id".into(), [-0.0_f64])));
        assert_eq!(text(&u64::MAX.to_string()), key(&Series::new("id".into(), [u64::MAX])));
        assert_eq!(text("2024-01-31"), key(&Series::new("id".into(), [19_753]).cast(&DataType::Date).unwrap()));
        assert_eq!(text("true"), key(&Series::new("id".into(), [true])));
    }

    #[test]
    fn text_is_no_number_but_where_it_is_an_integers_own_text() {
        let seven = Some(IdKey::Whole(7));
        let different = ["007", "7.0", "+7", " 7", "7 ", "-0", "", "-", "7e0", "0x7"];
        for id in different {
            assert_ne!(text(id), seven, "{id:?}");
        }
        let keys: std::collections::HashSet<String> = different.iter().map(|id| format!("{:?}", text(id))).collect();
        assert_eq!(keys.len(), different.len());
        assert_ne!(text("1.5"), key(&Series::new("id".into(), [1.5])));
        assert_eq!(key(&Series::new("id".into(), [1.5_f32])), key(&Series::new("id".into(), [1.5_f64])));
        assert_eq!(key(&Series::new("id".into(), [None::<&str>])), None);
        assert_eq!(key(&Series::new("id".into(), [f64::NAN])), None);
    }
}
