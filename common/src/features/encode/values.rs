//! Columns as plain numbers: what encoding, expressions and targets are made from.

use std::borrow::Cow;

use polars::prelude::{ChunkedArray, DataType, PolarsResult, Series, StringChunked, TimeUnit};
use polars_arrow::array::PrimitiveArray;
use polars_arrow::bitmap::utils::BitChunks;
use polars_arrow::types::NativeType;

use crate::columns::ColumnKind;
use crate::columns::cells::as_text;
use crate::{Error, Result};

/// A column as 64-bit numbers, NaN where it is null: dates and times in days since 1970-01-01, true as 1.
///
/// # Errors
/// [`Error::Data`] where the column holds no numbers.
pub fn as_numbers(column: &Series) -> Result<Vec<f64>> {
    let mut numbers = Vec::with_capacity(column.len());
    for_each_run(column, |run| numbers.extend_from_slice(run))?;
    Ok(numbers)
}

/// Numbers of one run of [`for_each_run`]: few enough to stay in the first-level cache, and a multiple of 64.
const RUN: usize = 2048;

/// Hands a column's numbers, as [`as_numbers`] defines them, to `take`, in order and a short run at a time, so that
/// what becomes of them is computed while they are in the cache.
///
/// # Errors
/// As [`as_numbers`].
pub fn for_each_run(column: &Series, mut take: impl FnMut(&mut [f64])) -> Result<()> {
    if column.null_count() == column.len() {
        // An empty column of CSV has no type that would say more.
        let mut run = [f64::NAN; RUN];
        for start in (0..column.len()).step_by(RUN) {
            let rows = RUN.min(column.len() - start);
            run[..rows].fill(f64::NAN);
            take(&mut run[..rows]);
        }
        return Ok(());
    }
    let per_unit = match column.dtype() {
        DataType::Datetime(unit, _) | DataType::Duration(unit) => units_per_day(*unit),
        DataType::Time => units_per_day(TimeUnit::Nanoseconds),
        DataType::Date | DataType::Null => 1.0,
        dtype if ColumnKind::of(dtype).is_number() => 1.0,
        other => {
            return Err(Error::Data(format!(
                "column \"{}\" has the type {other}, where numbers are needed",
                column.name()
            )));
        }
    };
    let physical = column.to_physical_repr();
    let mut sink = Runs { run: [0.0; RUN], per_unit, take: &mut take };
    match physical.dtype() {
        DataType::Float64 => sink.feed(physical.f64().map(ChunkedArray::downcast_iter), |value| value),
        DataType::Float32 => sink.feed(physical.f32().map(ChunkedArray::downcast_iter), f64::from),
        DataType::Int64 => sink.feed(physical.i64().map(ChunkedArray::downcast_iter), |value| value as f64),
        DataType::Int32 => sink.feed(physical.i32().map(ChunkedArray::downcast_iter), f64::from),
        DataType::Int16 => sink.feed(physical.i16().map(ChunkedArray::downcast_iter), f64::from),
        DataType::Int8 => sink.feed(physical.i8().map(ChunkedArray::downcast_iter), f64::from),
        DataType::UInt64 => sink.feed(physical.u64().map(ChunkedArray::downcast_iter), |value| value as f64),
        DataType::UInt32 => sink.feed(physical.u32().map(ChunkedArray::downcast_iter), f64::from),
        DataType::UInt16 => sink.feed(physical.u16().map(ChunkedArray::downcast_iter), f64::from),
        DataType::UInt8 => sink.feed(physical.u8().map(ChunkedArray::downcast_iter), f64::from),
        _ => {
            let floats = physical.cast(&DataType::Float64);
            let floats = floats.map_err(|error| Error::Data(format!("column \"{}\": {error}", column.name())))?;
            sink.feed(floats.f64().map(ChunkedArray::downcast_iter), |value| value);
        }
    }
    Ok(())
}

fn units_per_day(unit: TimeUnit) -> f64 {
    match unit {
        TimeUnit::Nanoseconds => 86_400e9,
        TimeUnit::Microseconds => 86_400e6,
        TimeUnit::Milliseconds => 86_400e3,
    }
}

/// Turns arrays into runs of numbers.
struct Runs<'a, Take> {
    run: [f64; RUN],
    per_unit: f64,
    take: &'a mut Take,
}

impl<Take: FnMut(&mut [f64])> Runs<'_, Take> {
    fn feed<'a, T: NativeType>(
        &mut self,
        arrays: PolarsResult<impl Iterator<Item = &'a PrimitiveArray<T>>>,
        number: impl Fn(T) -> f64,
    ) {
        for array in arrays.into_iter().flatten() {
            let mut validity = array.validity().filter(|bits| bits.unset_bits() > 0).map(|bits| bits.chunks::<u64>());
            for values in array.values().as_slice().chunks(RUN) {
                let run = &mut self.run[..values.len()];
                run.iter_mut().zip(values).for_each(|(place, value)| *place = number(*value));
                // Also where it is exact, a division costs more than the rest together.
                if self.per_unit != 1.0 {
                    run.iter_mut().for_each(|place| *place /= self.per_unit);
                }
                if let Some(validity) = &mut validity {
                    erase_nulls(run, validity);
                }
                (self.take)(run);
            }
        }
    }
}

/// NaN where the next bits of `validity` are not set. `run` starts at a multiple of 64 of its array.
fn erase_nulls(run: &mut [f64], validity: &mut BitChunks<'_, u64>) {
    for values in run.chunks_mut(64) {
        let valid = validity.next().unwrap_or_else(|| validity.remainder());
        let mut nulls = !valid & (u64::MAX >> (64 - values.len()));
        // Nulls are fewer than values: going from one to the next is faster than asking for each.
        while nulls != 0 {
            values[nulls.trailing_zeros() as usize] = f64::NAN;
            nulls &= nulls - 1;
        }
    }
}

/// A column of categories as text: text as it is, whole numbers without a point, so that `3` and `3.0` are one level.
///
/// # Errors
/// [`Error::Data`] where the column can be no category.
pub fn as_levels(column: &Series) -> Result<Cow<'_, StringChunked>> {
    let unfit = || Error::Data(format!("column \"{}\" ({}) cannot be a category", column.name(), column.dtype()));
    match ColumnKind::of(column.dtype()) {
        ColumnKind::Text => column.str().map(Cow::Borrowed).map_err(|_| unfit()),
        ColumnKind::Boolean | ColumnKind::Date | ColumnKind::Null | ColumnKind::Integer => {
            let text = as_text(column)?;
            text.str().cloned().map(Cow::Owned).map_err(|_| unfit())
        }
        ColumnKind::Float => {
            let numbers = as_numbers(column)?;
            Ok(Cow::Owned(numbers.into_iter().map(level_of_number).collect()))
        }
        ColumnKind::Unsupported => Err(unfit()),
    }
}

/// The level of a number; a number that is not finite has none.
#[must_use]
pub fn level_of_number(number: f64) -> Option<String> {
    number.is_finite().then(|| number.to_string())
}

/// A value as the 32-bit float that XGBoost sees, NaN (missing) where it is not finite there.
#[must_use]
pub fn as_f32(value: f64) -> f32 {
    let narrow = value as f32;
    if narrow.is_finite() { narrow } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{IntoSeries, NamedFrom, NewChunkedArray};

    use super::*;

    #[test]
    fn nulls_are_nan_and_dates_are_days() {
        let numbers = as_numbers(&Series::new("x".into(), [Some(1_i32), None])).unwrap();
        assert_eq!(numbers[0], 1.0);
        assert!(numbers[1].is_nan());
        let micros = polars::prelude::Int64Chunked::from_slice("t".into(), &[129_600_000_000]);
        let time = micros.into_datetime(TimeUnit::Microseconds, None).into_series();
        assert_eq!(as_numbers(&time).unwrap(), [1.5]);
    }

    /// A column of `values` in `chunks` chunks, null where it is none.
    fn column_of(values: &[Option<i64>], dtype: &DataType, chunks: usize) -> Series {
        let mut pieces = values.chunks(values.len().div_ceil(chunks));
        let piece = |values: &[Option<i64>]| Series::new("x".into(), values).cast(dtype).unwrap();
        let mut column = piece(pieces.next().unwrap());
        for values in pieces {
            column.append(&piece(values)).unwrap();
        }
        column
    }

    #[test]
    fn every_type_of_number_is_what_a_cast_gives() {
        let whole = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
        let natural = [DataType::UInt8, DataType::UInt16, DataType::UInt32, DataType::UInt64];
        let other = [DataType::Float32, DataType::Float64, DataType::Boolean, DataType::Date, DataType::Null];
        let mut random = testkit::random::Random::new(11);
        for dtype in whole.iter().chain(&natural).chain(&other) {
            for (rows, nulls) in [(1, 0.0), (RUN - 1, 0.3), (RUN, 1.0), (2 * RUN + 3, 0.1), (5 * RUN, 0.0)] {
                let mut value = || (random.share() >= nulls).then(|| random.below(128) as i64);
                let values: Vec<Option<i64>> = (0..rows).map(|_| value()).collect();
                let column = column_of(&values, dtype, 1 + rows / 3000);
                let expected = column.to_physical_repr().cast(&DataType::Float64).unwrap();
                let expected = expected.f64().unwrap().iter().map(|value| value.unwrap_or(f64::NAN).to_bits());
                let numbers = as_numbers(&column).unwrap();
                let bits: Vec<u64> = numbers.iter().map(|value| value.to_bits()).collect();
                assert_eq!(bits, expected.collect::<Vec<_>>(), "{dtype}, {rows} rows");
                // A slice starts amid the bits of a word.
                let from = rows / 3;
                let sliced = as_numbers(&column.slice(from as i64, rows - from)).unwrap();
                let sliced: Vec<u64> = sliced.iter().map(|value| value.to_bits()).collect();
                assert_eq!(sliced, bits[from..], "{dtype}, from row {from}");
            }
        }
    }

    #[test]
    fn the_largest_integers_round_as_a_cast_does() {
        let column = Series::new("x".into(), [i64::MAX, i64::MIN, (1 << 53) + 1]);
        assert_eq!(as_numbers(&column).unwrap(), [i64::MAX as f64, i64::MIN as f64, ((1_i64 << 53) + 1) as f64]);
    }

    #[test]
    fn text_is_no_number() {
        assert_eq!(as_numbers(&Series::new("x".into(), ["a"])).unwrap_err().exit_code(), 4);
    }

    #[test]
    fn three_is_one_level_however_it_is_stored() {
        let floats = Series::new("x".into(), [3.0, 2.5]);
        let levels = as_levels(&floats).unwrap();
        assert_eq!(levels.iter().flatten().collect::<Vec<_>>(), ["3", "2.5"]);
        let whole = Series::new("x".into(), [3_i64]);
        assert_eq!(as_levels(&whole).unwrap().get(0), Some("3"));
    }

    #[test]
    fn what_overflows_a_float_is_missing() {
        assert!(as_f32(1e300).is_nan());
        assert!(as_f32(f64::NEG_INFINITY).is_nan());
        assert_eq!(as_f32(0.1), 0.1_f32);
    }
}
