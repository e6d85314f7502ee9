//! Values out of text cells: what CSV means.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use polars::prelude::{
    BooleanChunked, DataType, Float64Chunked, Int64Chunked, IntoSeries, NewChunkedArray, Series, StringChunked,
    TimeUnit, UInt64Chunked,
};

mod infer;
mod level;

pub use infer::{infer_category_kind, infer_kind};
pub use level::level_of_cell;
#[cfg(test)]
pub(crate) use level::text_of_number_cell;

use super::ColumnKind;

/// How values are written in text cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellFormat {
    /// What stands before the fraction of a number: `.` or `,`.
    pub decimal: u8,
}

impl Default for CellFormat {
    fn default() -> Self {
        Self { decimal: b'.' }
    }
}

/// What stands for a missing value in columns of numbers, dates and booleans besides an empty field: what pandas takes for
/// one (`pandas._libs.parsers.STR_NA_VALUES`), and what databases and statistics packages write.
const MISSING_MARKERS: [&str; 21] = [
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null", "\\N", "-", "?",
];
/// Microseconds of a day.
pub const MICROSECONDS_PER_DAY: f64 = 86_400e6;

/// A cell of a column whose type is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<T> {
    /// It holds a value of the type.
    Value(T),
    /// It stands for a missing value.
    Missing,
    /// It is no value of the type.
    Misfit,
}

impl<T> Cell<T> {
    fn of(cell: &str, value: Option<T>) -> Self {
        match value {
            Some(value) => Self::Value(value),
            None if is_missing_marker(cell) => Self::Missing,
            None => Self::Misfit,
        }
    }
}

/// Whether a cell of a column of numbers, dates or booleans stands for a missing value.
#[must_use]
pub fn is_missing_marker(cell: &str) -> bool {
    let cell = cell.trim();
    cell.is_empty() || MISSING_MARKERS.contains(&cell)
}

/// A cell as a number, if it is one. `nan` and `inf` are numbers that are not finite.
#[must_use]
pub fn parse_number(cell: &str, format: CellFormat) -> Option<f64> {
    let cell = cell.trim();
    if format.decimal == b'.' {
        return cell.parse().ok();
    }
    if cell.contains('.') {
        return None;
    }
    cell.replacen(char::from(format.decimal), ".", 1).parse().ok()
}

/// A cell as a truth value, if it is one: `true` and `false` in any case, or a number that is 1 or 0.
#[must_use]
pub fn parse_boolean(cell: &str) -> Option<bool> {
    let cell = cell.trim();
    if cell.eq_ignore_ascii_case("true") || cell == "1" {
        return Some(true);
    }
    if cell.eq_ignore_ascii_case("false") || cell == "0" {
        return Some(false);
    }
    match cell.parse::<f64>() {
        Ok(1.0) => Some(true),
        Ok(0.0) => Some(false),
        _ => None,
    }
}

/// A point in time, to the nanosecond, of any year that has four digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    /// Whole microseconds since 1970-01-01 00:00 UTC, rounded down.
    pub microseconds: i64,
    /// Nanoseconds behind them, less than 1,000.
    pub nanoseconds: u16,
}

impl Instant {
    fn of(time: DateTime<Utc>) -> Self {
        Self { microseconds: time.timestamp_micros(), nanoseconds: (time.timestamp_subsec_nanos() % 1_000) as u16 }
    }

    /// Nanoseconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn total_nanoseconds(self) -> i128 {
        i128::from(self.microseconds) * 1_000 + i128::from(self.nanoseconds)
    }

    /// The same, where 64 bits hold it: from the year 1677 to 2262.
    fn narrow_nanoseconds(self) -> Option<i64> {
        i64::try_from(self.total_nanoseconds()).ok()
    }

    /// Days since 1970-01-01: to the bit what a column of timestamps of any unit gives.
    fn days(self) -> f64 {
        let microseconds = match self.narrow_nanoseconds().filter(|_| self.nanoseconds > 0) {
            Some(nanoseconds) => microseconds_of_nanoseconds(nanoseconds),
            None => self.microseconds as f64 + f64::from(self.nanoseconds) / 1_000.0,
        };
        microseconds / MICROSECONDS_PER_DAY
    }
}

/// A cell as an instant, if it is an ISO 8601 date or timestamp; what is finer than a nanosecond is cut. A year has four
/// digits: `24-1-5` is no date, since nobody can tell which one.
#[must_use]
pub fn parse_timestamp(cell: &str) -> Option<Instant> {
    let cell = cell.trim();
    let bytes = cell.as_bytes();
    if bytes.len() < "2026-1-1".len() || bytes[4] != b'-' || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    if let Some(microseconds) = parse_usual_timestamp(bytes) {
        return Some(Instant { microseconds, nanoseconds: 0 });
    }
    if let Ok(date) = NaiveDate::parse_from_str(cell, "%Y-%m-%d") {
        return Some(Instant::of(date.and_hms_opt(0, 0, 0)?.and_utc()));
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(cell, format) {
            return Some(Instant::of(time.and_utc()));
        }
    }
    let cell = match cell.strip_suffix(['Z', 'z']).or_else(|| cell.strip_suffix(" UTC")) {
        Some(instant) => format!("{instant}+00:00"),
        None => cell.to_owned(),
    };
    let zoned = [
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f %#z",
        "%Y-%m-%dT%H:%M%#z",
        "%Y-%m-%d %H:%M%#z",
    ];
    let parsed = zoned.iter().find_map(|format| DateTime::parse_from_str(&cell, format).ok());
    parsed.map(|time| Instant::of(time.to_utc()))
}

/// Whether a cell has digits behind those of the nanoseconds, which no timestamp keeps.
fn is_finer_than_nanoseconds(cell: &str) -> bool {
    let Some((_, fraction)) = cell.split_once('.') else { return false };
    let finer = fraction.bytes().take_while(u8::is_ascii_digit).skip(9);
    finer.into_iter().any(|digit| digit != b'0')
}

/// What nearly every writer leaves, `2026-01-31` and `2026-01-31 18:30:00.25` (with a `T`, with a `Z`), in a tenth of the
/// time that any notation takes. Nothing for what is something else, sound or not.
fn parse_usual_timestamp(cell: &[u8]) -> Option<i64> {
    let number = |digits: &[u8]| {
        let digit = |value: u32, byte: &u8| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0'));
        digits.iter().try_fold(0, digit)
    };
    let (date, rest) = cell.split_at_checked(10)?;
    let [_, _, _, _, b'-', _, _, b'-', _, _] = date else { return None };
    let date = NaiveDate::from_ymd_opt(number(&date[..4])? as i32, number(&date[5..7])?, number(&date[8..])?)?;
    let (microseconds, hours, minutes, seconds) = match rest {
        [] => (0, 0, 0, 0),
        [b'T' | b' ', h1, h2, b':', m1, m2, b':', s1, s2, fraction @ ..] => {
            let fraction = fraction.strip_suffix(b"Z").unwrap_or(fraction);
            let digits = match fraction {
                [] => 0,
                [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => {
                    number(digits)? * 10_u32.pow(6 - digits.len() as u32)
                }
                _ => return None,
            };
            (digits, number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?)
        }
        _ => return None,
    };
    Some(date.and_hms_micro_opt(hours, minutes, seconds, microseconds)?.and_utc().timestamp_micros())
}

/// A cell as nanoseconds since midnight, if it is a time of day: `18:30`, `18:30:00`, `18:30:00.25`.
#[must_use]
pub fn parse_time_of_day(cell: &str) -> Option<i64> {
    let cell = cell.trim();
    let time = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|format| NaiveTime::parse_from_str(cell, format).ok())?;
    Some(i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond()))
}

/// A cell as nanoseconds, if it is a duration as pandas writes it (`1 days 02:03:04.5`), hours, minutes and seconds alone,
/// however many hours (`26:03:04.5`, as DuckDB writes it), or seconds as ISO 8601 has them (`PT93784.5S`).
#[must_use]
pub fn parse_duration(cell: &str) -> Option<i64> {
    let cell = cell.trim();
    if let Some(seconds) = cell.strip_prefix("PT").and_then(|rest| rest.strip_suffix('S')) {
        return parse_seconds(seconds);
    }
    let (days, time) = match cell.split_once(" day") {
        Some((days, rest)) => (days.trim().parse::<i64>().ok()?, rest.trim_start_matches('s').trim_start()),
        None => (0, cell),
    };
    let time = match (time, time.strip_prefix('-')) {
        ("", _) => 0,
        (_, Some(time)) => -parse_hours(time)?,
        _ => parse_hours(time.strip_prefix('+').unwrap_or(time))?,
    };
    days.checked_mul(86_400_000_000_000)?.checked_add(time)
}

/// Hours, of which there may be any number, minutes, and seconds if there are any, as nanoseconds.
fn parse_hours(time: &str) -> Option<i64> {
    let (hours, rest) = time.split_once(':')?;
    let is_number = !hours.is_empty() && hours.bytes().all(|byte| byte.is_ascii_digit());
    let hours = is_number.then(|| hours.parse::<i64>().ok()).flatten()?;
    hours.checked_mul(3_600_000_000_000)?.checked_add(parse_time_of_day(&format!("00:{rest}"))?)
}

/// Seconds as nanoseconds, to the last digit where they are written without an exponent.
fn parse_seconds(seconds: &str) -> Option<i64> {
    let as_float: f64 = seconds.parse().ok()?;
    let digits = seconds.strip_prefix(['-', '+']).unwrap_or(seconds);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = [whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_plain || fraction.len() > 9 {
        return as_float.is_finite().then(|| (as_float * 1e9).round() as i64);
    }
    let nanoseconds: i64 = format!("{whole}{fraction:0<9}").parse().ok()?;
    Some(if seconds.starts_with('-') { -nanoseconds } else { nanoseconds })
}

/// A cell as a number of the kind that a feature was learnt from; dates and times in days, dates since 1970-01-01. Where
/// nothing but nulls was learnt, every cell is missing.
#[must_use]
pub fn parse_as(kind: ColumnKind, cell: &str, format: CellFormat) -> Cell<f64> {
    let value = match kind {
        ColumnKind::Null => return Cell::Missing,
        ColumnKind::Date => parse_timestamp(cell).map(Instant::days),
        ColumnKind::Time => parse_time_of_day(cell).map(days_of_nanoseconds),
        ColumnKind::Duration => parse_duration(cell).map(days_of_nanoseconds),
        ColumnKind::Boolean => parse_boolean(cell).map(f64::from),
        ColumnKind::Integer | ColumnKind::Float | ColumnKind::Text | ColumnKind::Unsupported => {
            parse_number(cell, format)
        }
    };
    Cell::of(cell, value)
}

/// Milliseconds as microseconds: of all units an instant has the same number of them, to the bit.
#[must_use]
pub fn microseconds_of_milliseconds(milliseconds: i64) -> f64 {
    milliseconds.checked_mul(1_000).map_or(milliseconds as f64 * 1_000.0, |microseconds| microseconds as f64)
}

/// Nanoseconds as microseconds, the same way.
#[must_use]
pub fn microseconds_of_nanoseconds(nanoseconds: i64) -> f64 {
    (nanoseconds / 1_000) as f64 + (nanoseconds % 1_000) as f64 / 1_000.0
}

fn days_of_nanoseconds(nanoseconds: i64) -> f64 {
    microseconds_of_nanoseconds(nanoseconds) / MICROSECONDS_PER_DAY
}

/// The cells as a column of `kind`; a cell that stands for a missing value is null, and so is one that does not fit.
pub fn typed_column(cells: &StringChunked, kind: ColumnKind, format: CellFormat) -> Series {
    let name = cells.name().clone();
    match kind {
        ColumnKind::Boolean => {
            let values = cells.iter().map(|cell| cell.and_then(parse_boolean));
            BooleanChunked::from_iter_options(name, values).into_series()
        }
        ColumnKind::Integer => {
            let values = cells.iter().map(|cell| cell.and_then(|cell| cell.trim().parse::<i64>().ok()));
            Int64Chunked::from_iter_options(name, values).into_series()
        }
        ColumnKind::Float => floats_or_large_integers(cells, format),
        ColumnKind::Date => timestamps(cells),
        ColumnKind::Time => {
            let values = cells.iter().map(|cell| cell.and_then(parse_time_of_day));
            Int64Chunked::from_iter_options(name, values).into_time().into_series()
        }
        ColumnKind::Duration => {
            let values = cells.iter().map(|cell| cell.and_then(parse_duration));
            Int64Chunked::from_iter_options(name, values).into_duration(TimeUnit::Nanoseconds).into_series()
        }
        ColumnKind::Null => Series::full_null(name, cells.len(), &DataType::Null),
        ColumnKind::Text | ColumnKind::Unsupported => cells.clone().into_series(),
    }
}

/// Timestamps in microseconds, which hold every year; in nanoseconds where some cells are finer and these hold them all.
fn timestamps(cells: &StringChunked) -> Series {
    let instants: Vec<Option<Instant>> = cells.iter().map(|cell| cell.and_then(parse_timestamp)).collect();
    let present = || instants.iter().flatten();
    let is_fine = present().any(|instant| instant.nanoseconds > 0)
        && present().all(|instant| instant.narrow_nanoseconds().is_some());
    let unit = if is_fine { TimeUnit::Nanoseconds } else { TimeUnit::Microseconds };
    let value = |instant: &Option<Instant>| {
        instant.and_then(|one| if is_fine { one.narrow_nanoseconds() } else { Some(one.microseconds) })
    };
    let values = Int64Chunked::from_iter_options(cells.name().clone(), instants.iter().map(value));
    values.into_datetime(unit, None).into_series()
}

/// Floats; integers without a sign where all cells are such and some are too large for one with a sign, since their last
/// digits count in categories.
fn floats_or_large_integers(cells: &StringChunked, format: CellFormat) -> Series {
    let name = cells.name().clone();
    let is_large = |cell: &str| cell.parse::<u64>().is_ok();
    if cells.null_count() < cells.len() && cells.iter().flatten().all(|cell| is_large(cell.trim())) {
        let values = cells.iter().map(|cell| cell.and_then(|cell| cell.trim().parse::<u64>().ok()));
        return UInt64Chunked::from_iter_options(name, values).into_series();
    }
    let values = cells.iter().map(|cell| cell.and_then(|cell| parse_number(cell, format)));
    Float64Chunked::from_iter_options(name, values).into_series()
}

#[cfg(test)]
mod tests;
