//! Columns as plain numbers: what encoding, expressions and targets are made from.

use std::borrow::Cow;

use polars::prelude::{DataType, Series, StringChunked, TimeUnit};

use crate::table::ColumnKind;
use crate::{Error, Result};

/// A column as 64-bit numbers, NaN where it is null: dates and times in days since 1970-01-01, true as 1.
///
/// # Errors
/// [`Error::Data`] where the column holds no numbers.
pub fn as_numbers(column: &Series) -> Result<Vec<f64>> {
    let days = |per_day: f64| Ok(scaled(column, per_day));
    match column.dtype() {
        DataType::Date => days(1.0),
        DataType::Datetime(unit, _) | DataType::Duration(unit) => days(units_per_day(*unit)),
        DataType::Time => days(units_per_day(TimeUnit::Nanoseconds)),
        DataType::Null => Ok(vec![f64::NAN; column.len()]),
        _ if ColumnKind::of(column.dtype()).is_number() => Ok(scaled(column, 1.0)),
        other => {
            Err(Error::Data(format!("column \"{}\" has the type {other}, where numbers are needed", column.name())))
        }
    }
}

fn units_per_day(unit: TimeUnit) -> f64 {
    match unit {
        TimeUnit::Nanoseconds => 86_400e9,
        TimeUnit::Microseconds => 86_400e6,
        TimeUnit::Milliseconds => 86_400e3,
    }
}

fn scaled(column: &Series, per_unit: f64) -> Vec<f64> {
    let physical = column.to_physical_repr();
    let Ok(floats) = physical.cast(&DataType::Float64) else {
        return vec![f64::NAN; column.len()];
    };
    let Ok(floats) = floats.f64() else {
        return vec![f64::NAN; column.len()];
    };
    let mut numbers = Vec::with_capacity(column.len());
    for chunk in floats.downcast_iter() {
        let values = chunk.values().as_slice();
        match chunk.validity() {
            Some(validity) if validity.unset_bits() > 0 => {
                let pairs = values.iter().zip(validity.iter());
                numbers.extend(pairs.map(|(value, valid)| if valid { value / per_unit } else { f64::NAN }));
            }
            _ => numbers.extend(values.iter().map(|value| value / per_unit)),
        }
    }
    numbers
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
            let text = column.cast(&DataType::String).map_err(|_| unfit())?;
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
