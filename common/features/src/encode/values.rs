//! Columns as plain numbers: what encoding, expressions and targets are made from.

use std::borrow::Cow;

use polars::prelude::{ChunkedArray, DataType, PolarsResult, Series, StringChunked, TimeUnit};
use polars_arrow::array::PrimitiveArray;
use polars_arrow::bitmap::utils::BitChunks;
use polars_arrow::types::NativeType;

use columns::ColumnKind;
use columns::cells::{MICROSECONDS_PER_DAY, microseconds_of_milliseconds, microseconds_of_nanoseconds};
use columns::text::{canonical_text, text_of_decimal};
use error::{Error, Result};

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
    let dtype = column.dtype();
    if !ColumnKind::of(dtype).is_number() && !ColumnKind::of(dtype).is_temporal() && *dtype != DataType::Null {
        return Err(Error::Data(format!(
            "column \"{}\" has the type {dtype}, where numbers are needed",
            column.name()
        )));
    }
    if let DataType::Decimal(_, scale) = dtype {
        let decimals = column.decimal().map(|decimals| decimals.physical().downcast_iter());
        let mut sink = Runs { run: [0.0; RUN], per_unit: 1.0, take: &mut take };
        let power = 10_f64.powi(*scale as i32);
        sink.feed(decimals, |value| decimal_as_number(value, *scale, power));
        return Ok(());
    }
    let is_in_days = matches!(dtype, DataType::Datetime(..) | DataType::Duration(_) | DataType::Time);
    let physical = column.to_physical_repr();
    let per_unit = if is_in_days { MICROSECONDS_PER_DAY } else { 1.0 };
    let mut sink = Runs { run: [0.0; RUN], per_unit, take: &mut take };
    match physical.dtype() {
        DataType::Int64 if is_in_days => {
            let arrays = physical.i64().map(ChunkedArray::downcast_iter);
            match dtype {
                DataType::Datetime(TimeUnit::Milliseconds, _) | DataType::Duration(TimeUnit::Milliseconds) => {
                    sink.feed(arrays, microseconds_of_milliseconds);
                }
                DataType::Datetime(TimeUnit::Microseconds, _) | DataType::Duration(TimeUnit::Microseconds) => {
                    sink.feed(arrays, |value| value as f64);
                }
                _ => sink.feed(arrays, microseconds_of_nanoseconds),
            }
        }
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

/// The 64-bit float that is nearest to a decimal with `scale` digits behind the point; `power` is 10 to the power of that.
fn decimal_as_number(value: i128, scale: usize, power: f64) -> f64 {
    /// Integers up to this one are exact as 64-bit floats.
    const EXACT: u128 = 1 << 53;
    /// And so are powers of ten up to this one, so that the quotient of both is rounded once.
    const EXACT_POWER: usize = 22;
    if value.unsigned_abs() <= EXACT && scale <= EXACT_POWER {
        return value as f64 / power;
    }
    text_of_decimal(value, scale).parse().unwrap_or(f64::NAN)
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

/// A column of categories that were learnt as `kind`, as text: that of their values
/// ([`canonical_text`]). True is 1 where numbers were learnt, and 1 is true where
/// booleans were.
///
/// # Errors
/// [`Error::Data`] where the column can be no category.
pub fn as_levels(column: &Series, kind: ColumnKind) -> Result<Cow<'_, StringChunked>> {
    let given = ColumnKind::of(column.dtype());
    let texts = canonical_text(column)?;
    let renamed: [(&str, &str); 2] = match (kind, given) {
        (ColumnKind::Boolean, ColumnKind::Integer | ColumnKind::Float) => [("1", "true"), ("0", "false")],
        (ColumnKind::Integer | ColumnKind::Float, ColumnKind::Boolean) => [("true", "1"), ("false", "0")],
        _ => return Ok(texts),
    };
    let rename = |text: &str| {
        renamed.iter().find(|(from, _)| *from == text).map_or_else(|| text.to_owned(), |(_, to)| (*to).to_owned())
    };
    Ok(Cow::Owned(texts.iter().map(|text| text.map(rename)).collect()))
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
        let levels = as_levels(&floats, ColumnKind::Float).unwrap();
        assert_eq!(levels.iter().flatten().collect::<Vec<_>>(), ["3", "2.5"]);
        let whole = Series::new("x".into(), [3_i64]);
        assert_eq!(as_levels(&whole, ColumnKind::Float).unwrap().get(0), Some("3"));
    }

    #[test]
    fn true_is_one_where_the_other_was_learnt() {
        let numbers = Series::new("x".into(), [Some(1_i8), Some(0), None, Some(2)]);
        let levels = as_levels(&numbers, ColumnKind::Boolean).unwrap();
        assert_eq!(levels.iter().collect::<Vec<_>>(), [Some("true"), Some("false"), None, Some("2")]);
        let truths = Series::new("x".into(), [true, false]);
        assert_eq!(as_levels(&truths, ColumnKind::Integer).unwrap().iter().flatten().collect::<Vec<_>>(), ["1", "0"]);
        assert_eq!(
            as_levels(&truths, ColumnKind::Boolean).unwrap().iter().flatten().collect::<Vec<_>>(),
            ["true", "false"]
        );
    }

    #[test]
    fn an_instant_is_the_same_number_whatever_its_unit() {
        let mut random = testkit::random::Random::new(5);
        for _ in 0..2000 {
            let milliseconds = random.below(1 << 45) as i64 - (1 << 44);
            let numbers =
                [(TimeUnit::Milliseconds, 1), (TimeUnit::Microseconds, 1_000), (TimeUnit::Nanoseconds, 1_000_000)].map(
                    |(unit, factor)| {
                        let chunked = polars::prelude::Int64Chunked::from_slice(
                            "t".into(),
                            &[milliseconds.saturating_mul(factor)],
                        );
                        (milliseconds.checked_mul(factor))
                            .map(|_| as_numbers(&chunked.into_datetime(unit, None).into_series()).unwrap()[0])
                    },
                );
            assert_eq!(numbers[0], numbers[1]);
            assert!(numbers[2].is_none() || numbers[2] == numbers[1], "{milliseconds}: {numbers:?}");
        }
    }

    #[test]
    fn a_decimal_is_the_float_of_its_digits() {
        for (value, scale, expected) in [
            (12_345_i128, 2, 123.45),
            (-5, 3, -0.005),
            (123_456_789_012_345_678_901, 5, 1_234_567_890_123_456.8),
            (1, 38, 1e-38),
        ] {
            assert_eq!(
                decimal_as_number(value, scale, 10_f64.powi(scale as i32)).to_bits(),
                f64::to_bits(expected),
                "{value} {scale}"
            );
        }
    }

    #[test]
    fn what_overflows_a_float_is_missing() {
        assert!(as_f32(1e300).is_nan());
        assert!(as_f32(f64::NEG_INFINITY).is_nan());
        assert_eq!(as_f32(0.1), 0.1_f32);
    }
}
