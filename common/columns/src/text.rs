//! The one text of a value, wherever it serves as an id or as a category, whoever wrote it.
//!
//! A number has no more digits than it needs: `3` is the text of the integer 3, of the float 3.0 and of the decimal 3.00,
//! and 64-bit integers and decimals keep every digit. True is `true`. An instant is in UTC and depends neither on the unit
//! nor on the zone that it was written with: `2024-01-31` at midnight, else `2024-01-31 18:30:00.25`. Text is itself: it
//! is never renumbered.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{NaiveDate, NaiveTime};
use polars::prelude::{
    ChunkedArray, DataType, IntoSeries, PolarsNumericType, Series, StringChunked, StringChunkedBuilder, TimeUnit,
};

use error::{Error, Result};

const NANOSECONDS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i128 = 86_400;
/// Days from 1 January of year 1, where `chrono` counts from, to 1970-01-01.
const UNIX_EPOCH_FROM_CE: i32 = 719_163;

/// A column as canonical texts, null where it is null or a float that is not finite.
///
/// # Errors
/// [`Error::Data`] where its type has no text, and where it has a date or time outside of the calendar.
pub fn canonical_text(column: &Series) -> Result<Cow<'_, StringChunked>> {
    let mut texts = Texts::new(column);
    match column.dtype() {
        DataType::String => return column.str().map(Cow::Borrowed).map_err(|error| unfit(column, &error.to_string())),
        DataType::Null => texts.push_nulls(column.len()),
        DataType::Boolean => {
            let values = column.bool().map_err(|error| unfit(column, &error.to_string()))?;
            values.iter().for_each(|value| texts.push(value.map(|value| if value { "true" } else { "false" })));
        }
        DataType::Float32 => texts.floats(column.f32())?,
        DataType::Float64 => texts.floats(column.f64())?,
        DataType::Int8 => texts.display(column.i8())?,
        DataType::Int16 => texts.display(column.i16())?,
        DataType::Int32 => texts.display(column.i32())?,
        DataType::Int64 => texts.display(column.i64())?,
        DataType::UInt8 => texts.display(column.u8())?,
        DataType::UInt16 => texts.display(column.u16())?,
        DataType::UInt32 => texts.display(column.u32())?,
        DataType::UInt64 => texts.display(column.u64())?,
        DataType::Decimal(_, scale) => {
            let values = column.decimal().map_err(|error| unfit(column, &error.to_string()))?;
            texts.write_each(values.physical().iter(), |text, value| write_decimal(text, value, *scale))?;
        }
        DataType::Date => {
            let values = column.to_physical_repr();
            let days = values.i32().map_err(|error| unfit(column, &error.to_string()))?;
            texts.write_each(days.iter(), |text, day| {
                write_instant(text, i128::from(day) * SECONDS_PER_DAY * NANOSECONDS_PER_SECOND)
            })?;
        }
        DataType::Datetime(unit, _) => {
            texts.times(column, |text, value| write_instant(text, value * nanoseconds(*unit)))?;
        }
        DataType::Time => texts.times(column, write_time_of_day)?,
        DataType::Duration(unit) => texts.times(column, |text, value| {
            text.push_str("PT");
            write_seconds(text, value * nanoseconds(*unit))
        })?,
        other => return Err(unfit(column, &format!("the type {other} has no text"))),
    }
    Ok(Cow::Owned(texts.builder.finish()))
}

/// A column as text in the one form that its type is written in, null where it is null: all digits of a decimal, the time of
/// day of every timestamp.
///
/// # Errors
/// As [`canonical_text`].
pub fn formatted_text(column: &Series) -> Result<Series> {
    match column.dtype() {
        // polars writes whole seconds, and durations not at all.
        DataType::Time | DataType::Duration(_) => {
            return canonical_text(column).map(|text| text.into_owned().into_series());
        }
        nested if nested.is_nested() => {
            let problem = "only Parquet holds it: choose --format parquet (FORMAT), or leave the column out";
            return Err(unfit(column, problem));
        }
        _ => {}
    }
    let cast = || catch_unwind(AssertUnwindSafe(|| column.cast(&DataType::String)));
    match error::panics::expected_within(cast) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(unfit(column, &error.to_string())),
        // polars panics on dates outside of the calendar.
        Err(_) => Err(outside_of_the_calendar(column)),
    }
}

fn unfit(column: &Series, problem: &str) -> Error {
    Error::Data(format!("column \"{}\" ({}) cannot be written as text: {problem}", column.name(), column.dtype()))
}

fn nanoseconds(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Nanoseconds => 1,
        TimeUnit::Microseconds => 1_000,
        TimeUnit::Milliseconds => 1_000_000,
    }
}

/// Texts as they are written, one after the other, by way of one buffer.
struct Texts<'a> {
    column: &'a Series,
    builder: StringChunkedBuilder,
    buffer: String,
}

impl<'a> Texts<'a> {
    fn new(column: &'a Series) -> Self {
        let builder = StringChunkedBuilder::new(column.name().clone(), column.len());
        Self { column, builder, buffer: String::new() }
    }

    fn push(&mut self, text: Option<&str>) {
        self.builder.append_option(text);
    }

    fn push_nulls(&mut self, count: usize) {
        (0..count).for_each(|_| self.builder.append_null());
    }

    /// Writes every value by `write`, which says whether the value has a text; `None` where it lies outside of the calendar.
    fn write_each<V>(
        &mut self,
        values: impl Iterator<Item = Option<V>>,
        write: impl Fn(&mut String, V) -> Option<()>,
    ) -> Result<()> {
        for value in values {
            let Some(value) = value else {
                self.push(None);
                continue;
            };
            self.buffer.clear();
            write(&mut self.buffer, value).ok_or_else(|| outside_of_the_calendar(self.column))?;
            self.builder.append_value(self.buffer.as_str());
        }
        Ok(())
    }

    fn display<T: PolarsNumericType<Native: std::fmt::Display>>(
        &mut self,
        values: polars::prelude::PolarsResult<&ChunkedArray<T>>,
    ) -> Result<()> {
        let values = values.map_err(|error| unfit(self.column, &error.to_string()))?;
        self.write_each(values.iter(), |text, value| write!(text, "{value}").ok())
    }

    fn floats<T: PolarsNumericType<Native: Float>>(
        &mut self,
        values: polars::prelude::PolarsResult<&ChunkedArray<T>>,
    ) -> Result<()> {
        let values = values.map_err(|error| unfit(self.column, &error.to_string()))?;
        for value in values.iter() {
            self.buffer.clear();
            match value {
                Some(value) if write_float(&mut self.buffer, value) => self.builder.append_value(self.buffer.as_str()),
                _ => self.builder.append_null(),
            }
        }
        Ok(())
    }

    fn times(&mut self, column: &Series, write: impl Fn(&mut String, i128) -> Option<()>) -> Result<()> {
        let physical = column.to_physical_repr();
        let values = physical.i64().map_err(|error| unfit(column, &error.to_string()))?;
        self.write_each(values.iter().map(|value| value.map(i128::from)), write)
    }
}

fn outside_of_the_calendar(column: &Series) -> Error {
    Error::Data(format!(
        "column \"{}\" ({}) has a date or time outside of the calendar: correct it, or leave the column out",
        column.name(),
        column.dtype()
    ))
}

/// A float, which is written by the shortest digits that read back as the same float of its own width.
trait Float: std::fmt::Display + Into<f64> + Copy {
    /// Whether whole numbers have all digits of the number that the float is, as the integers that are merged with floats have.
    /// A 32-bit float has too few digits for that: 123456792 is as good as 123456790, which all writers of text leave.
    const IS_EXACT: bool;
}

impl Float for f32 {
    const IS_EXACT: bool = false;
}

impl Float for f64 {
    const IS_EXACT: bool = true;
}

/// Writes a float without an exponent; nothing for what is not finite.
fn write_float<F: Float>(text: &mut String, value: F) -> bool {
    let as_f64: f64 = value.into();
    if !as_f64.is_finite() {
        return false;
    }
    // Of the two zeros that floats have only one has a text.
    if as_f64 == 0.0 {
        text.push('0');
        return true;
    }
    // The shortest digits of a large float end in zeros that the number does not have.
    if F::IS_EXACT && as_f64.fract() == 0.0 && as_f64.abs() < 1e38 {
        return write!(text, "{}", as_f64 as i128).is_ok();
    }
    if !F::IS_EXACT && as_f64.abs() == f64::from(ODD) {
        return write!(text, "{}", ODD_DIGITS.copysign(as_f64)).is_ok();
    }
    // From here on a 64-bit float has no other whole numbers beside it either: the text is that of the one that the digits are,
    // as in a column of both widths.
    if !F::IS_EXACT && (9_007_199_254_740_992.0..1e38).contains(&as_f64.abs()) {
        let of_digits = value.to_string().parse().unwrap_or(as_f64);
        return write!(text, "{}", of_digits as i128).is_ok();
    }
    write!(text, "{value}").is_ok()
}

/// The only 32-bit float, but for its sign, that its shortest digits (7.038531e-26) do not stand for by way of a 64-bit one: that is
/// as near to the next 32-bit float. With one digit more they do.
const ODD: f32 = f32::from_bits(363_742_205);
const ODD_DIGITS: f64 = 7.038_530_7e-26;

/// The 64-bit float that has the text of a 32-bit one: 0.1, where a cast gives 0.10000000149. Cast back, it is the same.
pub(super) fn widened(value: f32) -> f64 {
    /// Up to this size a whole number has the same digits in both widths.
    const EXACT: f32 = 16_777_216.0;
    let cast = f64::from(value);
    if !value.is_finite() || value.fract() == 0.0 && value.abs() <= EXACT {
        return cast;
    }
    let mut text = String::new();
    write_float(&mut text, value);
    text.parse().unwrap_or(cast)
}

/// The text of a float: the shortest digits that read back as the same, without an exponent; none for what is not finite.
#[must_use]
pub fn text_of_float(value: f64) -> Option<String> {
    let mut text = String::new();
    write_float(&mut text, value).then_some(text)
}

/// A decimal of `scale` digits behind the point, without the zeros that end it.
fn write_decimal(text: &mut String, value: i128, scale: usize) -> Option<()> {
    let digits = value.unsigned_abs().to_string();
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let fraction = fraction.trim_end_matches('0');
    if value < 0 {
        text.push('-');
    }
    text.push_str(whole);
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    Some(())
}

/// The text of a decimal: `value` counts units of 10 to the power of minus `scale`.
#[must_use]
pub fn text_of_decimal(value: i128, scale: usize) -> String {
    let mut text = String::new();
    write_decimal(&mut text, value, scale);
    text
}

/// The text of an instant, in nanoseconds since 1970-01-01 00:00 UTC; none where it lies outside of the calendar.
#[must_use]
pub fn text_of_nanoseconds(nanoseconds: i128) -> Option<String> {
    let mut text = String::new();
    write_instant(&mut text, nanoseconds)?;
    Some(text)
}

fn write_instant(text: &mut String, nanoseconds: i128) -> Option<()> {
    let per_day = SECONDS_PER_DAY * NANOSECONDS_PER_SECOND;
    let (day, of_day) = (nanoseconds.div_euclid(per_day), nanoseconds.rem_euclid(per_day));
    let day = i32::try_from(day).ok()?.checked_add(UNIX_EPOCH_FROM_CE)?;
    let date = NaiveDate::from_num_days_from_ce_opt(day)?;
    write!(text, "{date}").ok()?;
    if of_day == 0 {
        return Some(());
    }
    text.push(' ');
    write_time_of_day(text, of_day)
}

/// `18:30:00.25`, of nanoseconds since midnight.
fn write_time_of_day(text: &mut String, nanoseconds: i128) -> Option<()> {
    let (second, fraction) =
        (nanoseconds.div_euclid(NANOSECONDS_PER_SECOND), nanoseconds.rem_euclid(NANOSECONDS_PER_SECOND));
    let time = NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(second).ok()?, 0)?;
    write!(text, "{}", time.format("%H:%M:%S")).ok()?;
    write_fraction(text, fraction)
}

fn write_seconds(text: &mut String, nanoseconds: i128) -> Option<()> {
    let (sign, size) = if nanoseconds < 0 { ("-", -nanoseconds) } else { ("", nanoseconds) };
    write!(text, "{sign}{}", size / NANOSECONDS_PER_SECOND).ok()?;
    write_fraction(text, size % NANOSECONDS_PER_SECOND)?;
    text.push('S');
    Some(())
}

fn write_fraction(text: &mut String, nanoseconds: i128) -> Option<()> {
    if nanoseconds != 0 {
        text.push_str(format!(".{nanoseconds:09}").trim_end_matches('0'));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Int64Chunked, Int128Chunked, NamedFrom, NewChunkedArray, TimeZone};

    use super::*;
    use crate::cells::text_of_number_cell;

    fn texts(column: &Series) -> Vec<Option<String>> {
        canonical_text(column).unwrap().iter().map(|text| text.map(str::to_owned)).collect()
    }

    fn text(column: &Series) -> String {
        texts(column)[0].clone().unwrap()
    }

    #[test]
    fn one_number_has_one_text_whatever_its_type() {
        let three = |dtype: DataType| text(&Series::new("x".into(), [3_i64]).cast(&dtype).unwrap());
        for dtype in [DataType::Int8, DataType::UInt64, DataType::Float32, DataType::Float64, DataType::Decimal(9, 4)] {
            assert_eq!(three(dtype.clone()), "3", "{dtype}");
        }
        assert_eq!(
            texts(&Series::new("x".into(), [0.1_f32, 2.5, f32::NAN])),
            [Some("0.1".into()), Some("2.5".into()), None]
        );
        assert_eq!(text(&Series::new("x".into(), [-0.0_f64])), "0");
        // Found by the fuzz target `column_types`: the shortest digits of a large float end in zeros.
        let large = 576_462_404_808_998_912_i64;
        assert_eq!(text(&Series::new("x".into(), [large])), text(&Series::new("x".into(), [large as f64])));
        assert_eq!(text(&Series::new("x".into(), [-1e22_f64])), "-10000000000000000000000");
        assert_eq!(text(&Series::new("x".into(), [16_777_216_f32])), "16777216");
        assert_eq!(text(&Series::new("x".into(), [i64::MIN])), "-9223372036854775808");
        assert_eq!(text(&Series::new("x".into(), [u64::MAX])), "18446744073709551615");
        assert_eq!(text(&Series::new("x".into(), [9_007_199_254_740_993_i64])), "9007199254740993");
    }

    #[test]
    fn a_32_bit_float_has_the_digits_that_writers_of_text_leave() {
        let of = |value: f32| text(&Series::new("x".into(), [value]));
        for (value, expected) in [
            (123_456_792.0, "123456790"),
            (33_554_436.0, "33554436"),
            (-7e9, "-7000000000"),
            (1.1e20, "110000000000000000000"),
            (-2.0927e21, "-2092700000000000131072"),
            (3e38, &format!("3{}", "0".repeat(38))),
            (1e-10, "0.0000000001"),
            (-0.0, "0"),
            (ODD, "0.000000000000000000000000070385307"),
            (-ODD, "-0.000000000000000000000000070385307"),
        ] {
            assert_eq!(of(value), expected);
            assert_eq!(widened(value) as f32, value);
            // As text in CSV it is the same value, and so it is as a 64-bit float.
            let written = if value.abs() == ODD { expected.to_owned() } else { format!("{value:e}") };
            assert_eq!(text_of_number_cell(&written, b'.').as_deref(), Some(expected));
            assert_eq!(text_of_float(widened(value)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn decimals_keep_every_digit() {
        let decimal = |value: i128, scale| {
            text(&Int128Chunked::from_slice("x".into(), &[value]).into_decimal_unchecked(38, scale).into_series())
        };
        assert_eq!(decimal(123_456_789_012_345_678_901_234_567_890, 10), "12345678901234567890.123456789");
        assert_eq!(decimal(-5, 3), "-0.005");
        assert_eq!(decimal(1500, 2), "15");
        assert_eq!(decimal(9_007_199_254_740_993, 0), "9007199254740993");
        assert_eq!(decimal(0, 2), "0");
    }

    #[test]
    fn an_instant_has_one_text_whatever_its_unit_and_zone() {
        let seconds = 1_704_133_800_i64;
        let berlin = TimeZone::opt_try_new(Some("Europe/Berlin")).unwrap();
        for zone in [None, berlin] {
            for (unit, per_second) in [
                (TimeUnit::Milliseconds, 1_000),
                (TimeUnit::Microseconds, 1_000_000),
                (TimeUnit::Nanoseconds, 1_000_000_000),
            ] {
                let of = |value: i64| {
                    text(
                        &Int64Chunked::from_slice("t".into(), &[value]).into_datetime(unit, zone.clone()).into_series(),
                    )
                };
                assert_eq!(of(seconds * per_second), "2024-01-01 18:30:00");
                assert_eq!(of(seconds * per_second + per_second / 4), "2024-01-01 18:30:00.25");
                assert_eq!(of(-86_400 * per_second), "1969-12-31", "midnight is a date");
            }
        }
        let day = Series::new("d".into(), [-1_i32]).cast(&DataType::Date).unwrap();
        assert_eq!(text(&day), "1969-12-31");
        assert_eq!(text_of_nanoseconds(-1_000).unwrap(), "1969-12-31 23:59:59.999999");
        assert_eq!(text_of_nanoseconds(1).unwrap(), "1970-01-01 00:00:00.000000001");
    }

    #[test]
    fn times_and_durations_have_a_text() {
        let time = Int64Chunked::from_slice("t".into(), &[45_000_000_000_500]).into_time().into_series();
        assert_eq!(text(&time), "12:30:00.0000005");
        let duration =
            Int64Chunked::from_slice("t".into(), &[-1_500]).into_duration(TimeUnit::Milliseconds).into_series();
        assert_eq!(text(&duration), "PT-1.5S");
    }

    /// Found by damaging Parquet: polars panics on such a date.
    #[test]
    fn a_date_outside_of_the_calendar_is_wrong_data() {
        let days = Series::new("day".into(), [0, i32::MAX]).cast(&DataType::Date).unwrap();
        let error = canonical_text(&days).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains("\"day\"") && error.to_string().contains("calendar"), "{error}");
    }

    #[test]
    fn cells_that_are_numbers_have_the_text_of_the_number() {
        let of = |cell: &str| text_of_number_cell(cell, b'.');
        for (cell, expected) in [
            ("3", "3"),
            ("3.0", "3"),
            ("003", "3"),
            ("-0.0", "0"),
            (" 1.50 ", "1.5"),
            ("+7", "7"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("9007199254740993", "9007199254740993"),
            ("12345678901234567890.10", "12345678901234567890.1"),
        ] {
            assert_eq!(of(cell).as_deref(), Some(expected), "{cell}");
        }
        for cell in ["", "x", "nan", "inf", "1,5", "1e999"] {
            assert_eq!(of(cell), None, "{cell}");
        }
        assert_eq!(text_of_number_cell("1,50", b',').as_deref(), Some("1.5"));
        assert_eq!(text_of_number_cell("1.50", b','), None);
    }

    proptest::proptest! {
        #[test]
        fn a_widened_float_is_the_same_32_bit_float(bits: u32) {
            let value = f32::from_bits(bits);
            let wide = widened(value);
            proptest::prop_assert!(value.is_nan() || (wide as f32).to_bits() == bits, "{:e}", value);
        }
    }
}
