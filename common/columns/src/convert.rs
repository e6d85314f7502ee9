//! Columns brought to the type that all objects of a location have in common: strictly, value by value. A value that the
//! other type cannot hold is an error, never a null and never another value.

use polars::prelude::{
    ChunkedArray, DataType, Float64Chunked, Int64Chunked, Int128Chunked, IntoSeries, NewChunkedArray, PolarsResult,
    Series, TimeUnit,
};

use super::text::{canonical_text, text_of_decimal, text_of_float, widened};
use super::types::{DECIMAL_DIGITS, common_type};

/// A value that the other type cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Its 0-based place in the column.
    pub row: usize,
    /// The value, as text.
    pub value: String,
}

/// Every integer up to this size is a 64-bit float, too.
const EXACT_IN_FLOAT: i128 = 1 << 53;

/// The column as a column of type `to`, which is its own or the
/// [common type](super::types::common_type) of it and others.
///
/// # Errors
/// [`Misfit`], the first value that `to` cannot hold without loss.
pub fn convert(column: &Series, to: &DataType) -> Result<Series, Misfit> {
    use DataType::{Categorical, Date, Datetime, Decimal, Duration, Enum, Float32, Float64, Null, String};
    let from = column.dtype();
    if from == to {
        return Ok(column.clone());
    }
    if column.null_count() == column.len() {
        return Ok(Series::full_null(column.name().clone(), column.len(), to));
    }
    // Only a column without a value may come to a type that has nothing in common with its own.
    if *to == Null || common_type(from, to).is_none() {
        return Err(misfit(column, column.is_not_null().iter().position(|is| is == Some(true)).unwrap_or_default()));
    }
    match (from, to) {
        (from, Decimal(precision, scale)) if from.is_integer() => to_decimal(column, 0, *precision, *scale),
        (Decimal(_, from_scale), Decimal(precision, scale)) => to_decimal(column, *from_scale, *precision, *scale),
        (from, Float64) if from.is_integer() => integers_to_floats(column),
        (Decimal(_, scale), Float64) => decimals_to_floats(column, *scale),
        (Float32, Float64) => floats_to_wide_ones(column),
        (Date, Datetime(unit, zone)) => {
            let times = scaled(column, |days| days.checked_mul(86_400 * per_second(*unit)))?;
            Ok(times.into_datetime(*unit, zone.clone()).into_series())
        }
        (Datetime(from_unit, _), Datetime(unit, zone)) => {
            Ok(rescaled(column, *from_unit, *unit)?.into_datetime(*unit, zone.clone()).into_series())
        }
        (Duration(from_unit), Duration(unit)) => {
            Ok(rescaled(column, *from_unit, *unit)?.into_duration(*unit).into_series())
        }
        (Categorical(..) | Enum(..), String) => cast(column, to),
        _ => cast(column, to),
    }
}

/// polars' own cast, which makes nulls of what does not fit: those are found.
fn cast(column: &Series, to: &DataType) -> Result<Series, Misfit> {
    let converted = column.cast(to).map_err(|_| misfit(column, 0))?;
    if converted.null_count() == column.null_count() {
        return Ok(converted);
    }
    let (before, after) = (column.is_null(), converted.is_null());
    let mut pairs = before.iter().zip(after.iter());
    Err(misfit(column, pairs.position(|(before, after)| before != after).unwrap_or_default()))
}

fn misfit(column: &Series, row: usize) -> Misfit {
    let value = canonical_text(&column.slice(row as i64, 1)).ok().and_then(|text| text.get(0).map(str::to_owned));
    Misfit { row, value: value.unwrap_or_else(|| "a value".to_owned()) }
}

/// Each value by `convert`, which gives nothing for what does not fit.
fn each<T: Copy, U>(
    column: &Series,
    values: impl Iterator<Item = Option<T>>,
    convert: impl Fn(T) -> Option<U>,
) -> Result<Vec<Option<U>>, Misfit> {
    let fit = |(row, value): (usize, Option<T>)| match value {
        None => Ok(None),
        Some(value) => convert(value).map(Some).ok_or_else(|| misfit(column, row)),
    };
    values.enumerate().map(fit).collect()
}

fn as_i128(column: &Series) -> PolarsResult<Int128Chunked> {
    match column.dtype() {
        DataType::Decimal(..) => Ok(column.decimal()?.physical().clone()),
        _ => column.cast(&DataType::Int128)?.i128().cloned(),
    }
}

fn to_decimal(column: &Series, from_scale: usize, precision: usize, scale: usize) -> Result<Series, Misfit> {
    let integers = as_i128(column).map_err(|_| misfit(column, 0))?;
    let factor = 10_i128.checked_pow(scale.saturating_sub(from_scale) as u32);
    let bound = 10_i128.checked_pow(precision.min(DECIMAL_DIGITS) as u32).unwrap_or(i128::MAX);
    let decimals = each(column, integers.iter(), |value: i128| {
        value.checked_mul(factor?).filter(|value| value.unsigned_abs() < bound.unsigned_abs())
    })?;
    let decimals: Int128Chunked = decimals.into_iter().collect();
    Ok(decimals.with_name(column.name().clone()).into_decimal_unchecked(precision, scale).into_series())
}

fn integers_to_floats(column: &Series) -> Result<Series, Misfit> {
    let integers = as_i128(column).map_err(|_| misfit(column, 0))?;
    let is_exact = |value: i128| value.abs() <= EXACT_IN_FLOAT || (value as f64) as i128 == value;
    let floats = each(column, integers.iter(), |value: i128| is_exact(value).then_some(value as f64))?;
    Ok(floats.into_iter().collect::<Float64Chunked>().with_name(column.name().clone()).into_series())
}

/// A decimal fits a float that has the same shortest digits.
fn decimals_to_floats(column: &Series, scale: usize) -> Result<Series, Misfit> {
    let decimals = as_i128(column).map_err(|_| misfit(column, 0))?;
    let floats = each(column, decimals.iter(), |value: i128| {
        let text = text_of_decimal(value, scale);
        let float: f64 = text.parse().ok()?;
        (text_of_float(float)? == text).then_some(float)
    })?;
    Ok(floats.into_iter().collect::<Float64Chunked>().with_name(column.name().clone()).into_series())
}

/// Every 32-bit float keeps its digits: 0.1 becomes 0.1.
fn floats_to_wide_ones(column: &Series) -> Result<Series, Misfit> {
    let floats = column.f32().map_err(|_| misfit(column, 0))?;
    let wide = floats.iter().map(|value| value.map(widened));
    Ok(Float64Chunked::from_iter_options(column.name().clone(), wide).into_series())
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Milliseconds => 1_000,
        TimeUnit::Microseconds => 1_000_000,
        TimeUnit::Nanoseconds => 1_000_000_000,
    }
}

fn rescaled(column: &Series, from: TimeUnit, to: TimeUnit) -> Result<Int64Chunked, Misfit> {
    let (from, to) = (per_second(from), per_second(to));
    scaled(column, |value| match to >= from {
        true => value.checked_mul(to / from),
        false => (value % (from / to) == 0).then_some(value / (from / to)),
    })
}

/// The whole numbers behind dates and times, each by `convert`.
fn scaled(column: &Series, convert: impl Fn(i64) -> Option<i64>) -> Result<Int64Chunked, Misfit> {
    let physical = column.to_physical_repr();
    let integers = physical.cast(&DataType::Int64).map_err(|_| misfit(column, 0))?;
    let integers: &ChunkedArray<_> = integers.i64().map_err(|_| misfit(column, 0))?;
    let converted = each(column, integers.iter(), convert)?;
    Ok(converted.into_iter().collect::<Int64Chunked>().with_name(column.name().clone()))
}

#[cfg(test)]
mod tests {
    use polars::prelude::NamedFrom;
    use proptest::prelude::*;

    use super::super::types::common_type;
    use super::*;

    fn timestamps(values: &[i64], unit: TimeUnit) -> Series {
        Int64Chunked::from_slice("t".into(), values).into_datetime(unit, None).into_series()
    }

    #[test]
    fn integers_keep_every_digit_or_are_refused() {
        let large = Series::new("x".into(), [(1_i64 << 53) + 1]);
        let decimal = convert(&large, &DataType::Decimal(20, 0)).unwrap();
        assert_eq!(canonical_text(&decimal).unwrap().get(0), Some("9007199254740993"));
        let refused = convert(&large, &DataType::Float64).unwrap_err();
        assert_eq!(refused, Misfit { row: 0, value: "9007199254740993".to_owned() });
        let exact = convert(&Series::new("x".into(), [None, Some(1_i64 << 60)]), &DataType::Float64).unwrap();
        assert_eq!(exact.f64().unwrap().iter().collect::<Vec<_>>(), [None, Some((1_i64 << 60) as f64)]);
    }

    #[test]
    fn a_decimal_becomes_the_float_of_its_digits() {
        let money =
            |value: i128| Int128Chunked::from_slice("m".into(), &[value]).into_decimal_unchecked(38, 2).into_series();
        let float = convert(&money(123_456_789_012_310), &DataType::Float64).unwrap();
        assert_eq!(float.f64().unwrap().get(0), Some(1_234_567_890_123.1));
        let refused = convert(&money(12_345_678_901_234_567_891), &DataType::Float64).unwrap_err();
        assert_eq!(refused.value, "123456789012345678.91");
    }

    #[test]
    fn instants_change_their_unit_without_loss() {
        let us = DataType::Datetime(TimeUnit::Microseconds, None);
        let year_9999 = timestamps(&[253_402_214_400_000], TimeUnit::Milliseconds);
        assert_eq!(
            convert(&year_9999, &us).unwrap().to_physical_repr().i64().unwrap().get(0),
            Some(253_402_214_400_000_000)
        );
        let nanoseconds = timestamps(&[1_000, 1_001], TimeUnit::Nanoseconds);
        assert_eq!(convert(&nanoseconds, &us).unwrap_err().row, 1);
        let days = Series::new("d".into(), [2_932_896_i32]).cast(&DataType::Date).unwrap();
        assert_eq!(
            convert(&days, &us).unwrap().to_physical_repr().i64().unwrap().get(0),
            Some(253_402_214_400_000_000)
        );
        let in_ns = DataType::Datetime(TimeUnit::Nanoseconds, None);
        assert_eq!(convert(&days, &in_ns).unwrap_err(), Misfit { row: 0, value: "9999-12-31".to_owned() });
    }

    #[test]
    fn only_nulls_become_nulls_of_any_type() {
        let nulls = Series::full_null("x".into(), 3, &DataType::Null);
        for dtype in [DataType::String, DataType::Decimal(5, 2), DataType::Date, DataType::Boolean] {
            let converted = convert(&nulls, &dtype).unwrap();
            assert_eq!((converted.dtype(), converted.null_count()), (&dtype, 3));
        }
    }

    proptest! {
        /// What is converted has the text that it had: no value changes, and none becomes null.
        #[test]
        fn a_value_keeps_its_text(values in proptest::collection::vec(proptest::option::of(any::<i64>()), 1..50), from in 0..13_usize, with in 0..13_usize, fraction in 1..1_000_000_i32) {
            let types = [
                DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64, DataType::UInt8, DataType::UInt32,
                DataType::UInt64, DataType::Float64, DataType::Decimal(38, 3), DataType::Date,
                DataType::Datetime(TimeUnit::Microseconds, None), DataType::Datetime(TimeUnit::Nanoseconds, None),
                DataType::Float32,
            ];
            let (from, with) = (&types[from], &types[with]);
            let Some(to) = common_type(from, with) else { return Ok(()) };
            let values: Vec<Option<i64>> = match from {
                DataType::Date => values.iter().map(|value| value.map(|value| value % 3_000_000)).collect(),
                _ => values,
            };
            let Ok(column) = Series::new("x".into(), values).cast(from) else { return Ok(()) };
            // Floats with a fraction, of either width.
            let column = match from {
                DataType::Float32 => (&column / &Series::new("x".into(), [fraction as f32])).unwrap(),
                DataType::Float64 => (&column / &Series::new("x".into(), [f64::from(fraction)])).unwrap(),
                _ => column,
            };
            prop_assert_eq!(column.dtype(), from);
            let Ok(before) = canonical_text(&column) else { return Ok(()) };
            match convert(&column, &to) {
                Ok(converted) => {
                    prop_assert_eq!(converted.dtype(), &to);
                    let after = canonical_text(&converted).unwrap();
                    prop_assert!(before.iter().eq(after.iter()), "{} to {}", from, to);
                }
                Err(misfit) => prop_assert_eq!(before.get(misfit.row), Some(misfit.value.as_str())),
            }
        }
    }
}
