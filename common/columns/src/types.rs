//! The lattice of column types: which type holds the values of two without loss.
//!
//! A type is polars' [`DataType`], of which tables use these: booleans, integers of every width, decimals, floats, dates,
//! timestamps with a unit and perhaps a zone, times of day, durations, text, and only nulls. Whether a value really fits
//! is found when it is [converted](super::convert): a type is chosen from two types alone, never from a sample of values.

use polars::prelude::{DataType, TimeUnit, TimeZone};

/// Most digits of a decimal.
pub const DECIMAL_DIGITS: usize = 38;

/// The type that holds the values of both without loss, if there is one.
///
/// Integers of every width have one (a decimal without a fraction where 64 bits with a sign and 64 without meet), and so
/// have integers, decimals and floats, dates and timestamps of any unit or zone, durations of any unit, plain and
/// dictionary text. Instants of two zones, or of one and of none, are in UTC.
#[must_use]
pub fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Categorical, Date, Datetime, Decimal, Duration, Enum, Float32, Float64, Null, String};
    if left == right {
        return Some(left.clone());
    }
    match (left, right) {
        (Null, other) | (other, Null) => Some(other.clone()),
        (left, right) if left.is_integer() && right.is_integer() => Some(common_integer(left, right)),
        (Float32 | Float64, Float32 | Float64) => Some(Float64),
        (Float32 | Float64, other) | (other, Float32 | Float64) if is_exact_number(other) => Some(Float64),
        (Decimal(..), _) | (_, Decimal(..)) => common_decimal(left, right),
        (Date, Datetime(unit, zone)) | (Datetime(unit, zone), Date) => Some(Datetime(with_dates(*unit), zone.clone())),
        (Datetime(one, zone), Datetime(other, other_zone)) => {
            let zone = if zone == other_zone { zone.clone() } else { Some(TimeZone::UTC) };
            Some(Datetime(common_unit(*one, *other), zone))
        }
        (Duration(one), Duration(other)) => Some(Duration(common_unit(*one, *other))),
        (String | Categorical(..) | Enum(..), String | Categorical(..) | Enum(..)) => Some(String),
        _ => None,
    }
}

fn is_exact_number(dtype: &DataType) -> bool {
    dtype.is_integer() || matches!(dtype, DataType::Decimal(..))
}

/// Microseconds wherever units differ and one is nanoseconds, which end in the year 2262: of both ranges they hold all,
/// and finer digits are refused where they are converted.
fn common_unit(one: TimeUnit, other: TimeUnit) -> TimeUnit {
    match (one, other) {
        (one, other) if one == other => one,
        _ => TimeUnit::Microseconds,
    }
}

/// The unit of a timestamp that also holds dates, of any year.
fn with_dates(unit: TimeUnit) -> TimeUnit {
    common_unit(unit, TimeUnit::Milliseconds)
}

fn common_integer(left: &DataType, right: &DataType) -> DataType {
    let of = |dtype: &DataType| (dtype.is_signed_integer(), integer_bits(dtype));
    let ((left_signed, left_bits), (right_signed, right_bits)) = (of(left), of(right));
    let (is_signed, bits) = match (left_signed, right_signed) {
        (true, true) | (false, false) => (left_signed, left_bits.max(right_bits)),
        // A number without a sign takes a bit more where the other has one.
        (true, false) => (true, left_bits.max(2 * right_bits)),
        (false, true) => (true, right_bits.max(2 * left_bits)),
    };
    match (is_signed, bits) {
        (true, 8) => DataType::Int8,
        (true, 16) => DataType::Int16,
        (true, 32) => DataType::Int32,
        (true, 64) => DataType::Int64,
        (false, 8) => DataType::UInt8,
        (false, 16) => DataType::UInt16,
        (false, 32) => DataType::UInt32,
        (false, 64) => DataType::UInt64,
        _ => DataType::Decimal(20, 0),
    }
}

fn integer_bits(dtype: &DataType) -> u32 {
    match dtype {
        DataType::Int8 | DataType::UInt8 => 8,
        DataType::Int16 | DataType::UInt16 => 16,
        DataType::Int32 | DataType::UInt32 => 32,
        DataType::Int64 | DataType::UInt64 => 64,
        _ => 128,
    }
}

/// As many digits before and behind the point as either has. Where that is more than a decimal can have, the digits behind
/// the point are kept, and a number that is too large is refused where it is converted.
fn common_decimal(left: &DataType, right: &DataType) -> Option<DataType> {
    let ((left_whole, left_scale), (right_whole, right_scale)) = (digits(left)?, digits(right)?);
    let scale = left_scale.max(right_scale);
    Some(DataType::Decimal((left_whole.max(right_whole) + scale).min(DECIMAL_DIGITS), scale))
}

/// Most digits before and behind the point.
fn digits(dtype: &DataType) -> Option<(usize, usize)> {
    match dtype {
        DataType::Decimal(precision, scale) => Some((precision.saturating_sub(*scale), *scale)),
        // Whatever their width, so that it does not matter in which order objects are merged.
        dtype if dtype.is_integer() => Some((if integer_bits(dtype) > 64 { DECIMAL_DIGITS } else { 20 }, 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "types are written down where they are asked for")]
    fn merged(left: DataType, right: DataType) -> Option<DataType> {
        let merged = common_type(&left, &right);
        assert_eq!(merged, common_type(&right, &left), "the order of {left} and {right} must not matter");
        merged
    }

    #[test]
    fn integers_of_every_width_have_a_type_in_common() {
        use DataType::{Decimal, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
        assert_eq!(merged(Int8, Int64), Some(Int64));
        assert_eq!(merged(UInt8, UInt32), Some(UInt32));
        assert_eq!(merged(Int8, UInt8), Some(Int16));
        assert_eq!(merged(Int32, UInt16), Some(Int32));
        assert_eq!(merged(UInt32, Int16), Some(Int64));
        assert_eq!(merged(Int64, UInt64), Some(Decimal(20, 0)));
        assert_eq!(merged(UInt64, Int8), Some(Decimal(20, 0)));
    }

    #[test]
    fn numbers_merge_and_nothing_else_with_them() {
        use DataType::{Boolean, Date, Decimal, Float32, Float64, Int64, Null, String};
        assert_eq!(merged(Int64, Float32), Some(Float64));
        assert_eq!(merged(Decimal(18, 2), Float64), Some(Float64));
        assert_eq!(merged(Decimal(18, 2), Decimal(10, 4)), Some(Decimal(20, 4)));
        assert_eq!(merged(Decimal(18, 2), Int64), Some(Decimal(22, 2)));
        assert_eq!(merged(Decimal(38, 10), Int64), Some(Decimal(38, 10)));
        for other in [Boolean, Date, String] {
            assert_eq!(merged(Int64, other), None);
        }
        assert_eq!(merged(Null, Boolean), Some(Boolean));
    }

    #[test]
    fn instants_merge_whatever_their_unit_and_zone() {
        use DataType::{Date, Datetime, Duration, Time};
        let berlin = TimeZone::opt_try_new(Some("Europe/Berlin")).unwrap();
        let (ms, us, ns) = (TimeUnit::Milliseconds, TimeUnit::Microseconds, TimeUnit::Nanoseconds);
        assert_eq!(merged(Date, Datetime(ns, None)), Some(Datetime(us, None)));
        assert_eq!(merged(Date, Datetime(ms, berlin.clone())), Some(Datetime(ms, berlin.clone())));
        assert_eq!(merged(Datetime(ms, None), Datetime(ns, None)), Some(Datetime(us, None)));
        assert_eq!(merged(Datetime(us, berlin.clone()), Datetime(us, None)), Some(Datetime(us, Some(TimeZone::UTC))));
        assert_eq!(merged(Datetime(us, berlin.clone()), Datetime(ms, berlin.clone())), Some(Datetime(us, berlin)));
        assert_eq!(merged(Duration(ms), Duration(ns)), Some(Duration(us)));
        assert_eq!(merged(Time, Date), None);
        assert_eq!(merged(Time, Datetime(us, None)), None);
    }

    /// A column of several objects is merged one by one: the order of the objects must not matter.
    #[test]
    fn merging_three_types_does_not_depend_on_their_order() {
        use DataType::{
            Boolean, Date, Datetime, Decimal, Duration, Float32, Float64, Int8, Int32, Int64, Null, String, Time,
            UInt8, UInt32, UInt64,
        };
        let units = [TimeUnit::Milliseconds, TimeUnit::Microseconds, TimeUnit::Nanoseconds];
        let mut types =
            vec![Boolean, Date, Float32, Float64, Int8, Int32, Int64, Null, String, Time, UInt8, UInt32, UInt64];
        types.extend(units.map(Duration));
        types.extend(units.map(|unit| Datetime(unit, None)));
        types.extend(units.map(|unit| Datetime(unit, Some(TimeZone::UTC))));
        types.extend([Decimal(5, 0), Decimal(20, 0), Decimal(18, 2), Decimal(38, 10), Decimal(38, 37)]);
        let join = |left: Option<DataType>, right: &DataType| common_type(&left?, right);
        for a in &types {
            for b in &types {
                for c in &types {
                    let one = join(common_type(a, b), c);
                    let other = join(common_type(b, c), a);
                    assert_eq!(one, other, "{a}, {b}, {c}");
                }
            }
        }
    }
}
