//! Values out of text cells: what CSV means.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use polars::prelude::{
    BooleanChunked, DataType, Float64Chunked, Int64Chunked, IntoSeries, NewChunkedArray, Series, StringChunked,
    TimeUnit,
};

use super::ColumnKind;
use crate::{Error, Result};

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

const MICROSECONDS_PER_DAY: f64 = 86_400e6;

/// A column as text: numbers as decimals, dates and times as ISO 8601.
///
/// # Errors
/// [`Error::Data`] where its type has no text, and where it has a date or time outside of the calendar, on which polars
/// panics.
pub fn as_text(column: &Series) -> Result<Series> {
    let (name, dtype) = (column.name(), column.dtype());
    let cast = || catch_unwind(AssertUnwindSafe(|| column.cast(&DataType::String)));
    match crate::panics::expected_within(cast) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(_)) => Err(Error::Data(format!("column \"{name}\" ({dtype}) cannot be written as text"))),
        Err(_) => Err(Error::Data(format!(
            "column \"{name}\" ({dtype}) has a date or time outside of the calendar: correct it, or leave the column out"
        ))),
    }
}

/// A cell as a number, if it is one. `nan` and `inf` are numbers that are not finite.
#[must_use]
pub fn parse_number(cell: &str) -> Option<f64> {
    cell.trim().parse().ok()
}

/// A cell as a truth value, if it is one: `true` and `false` in any case, or `1` and `0`.
#[must_use]
pub fn parse_boolean(cell: &str) -> Option<bool> {
    let cell = cell.trim();
    if cell.eq_ignore_ascii_case("true") || cell == "1" {
        return Some(true);
    }
    (cell.eq_ignore_ascii_case("false") || cell == "0").then_some(false)
}

/// A cell as microseconds since 1970-01-01 00:00 UTC, if it is an ISO 8601 date or timestamp.
#[must_use]
pub fn parse_timestamp(cell: &str) -> Option<i64> {
    let cell = cell.trim();
    if let Ok(date) = NaiveDate::parse_from_str(cell, "%Y-%m-%d") {
        return Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(cell, format) {
            return Some(time.and_utc().timestamp_micros());
        }
    }
    let zoned = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"];
    let parsed = zoned.iter().find_map(|format| DateTime::parse_from_str(&cell.replace('Z', "+00:00"), format).ok());
    parsed.map(|time| time.timestamp_micros())
}

/// A cell as a number of the kind that a feature was learnt from; dates as days since 1970-01-01.
#[must_use]
pub fn parse_as(kind: ColumnKind, cell: &str) -> Option<f64> {
    match kind {
        ColumnKind::Date => parse_timestamp(cell).map(|micros| micros as f64 / MICROSECONDS_PER_DAY),
        ColumnKind::Boolean => parse_boolean(cell).map(f64::from),
        _ => parse_number(cell),
    }
}

/// What a column of cells holds: the narrowest kind that every cell that is not missing fits.
#[must_use]
pub fn infer_kind(cells: &StringChunked) -> ColumnKind {
    let mut candidates = Candidates { boolean: true, integer: true, float: true, date: true };
    let mut any = false;
    for cell in cells.iter().flatten() {
        any = true;
        candidates.narrow(cell);
        if candidates.none() {
            return ColumnKind::Text;
        }
    }
    if any { candidates.kind() } else { ColumnKind::Null }
}

struct Candidates {
    boolean: bool,
    integer: bool,
    float: bool,
    date: bool,
}

impl Candidates {
    fn narrow(&mut self, cell: &str) {
        let trimmed = cell.trim();
        self.boolean &= trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false");
        self.integer &= trimmed.parse::<i64>().is_ok();
        self.float = self.integer || (self.float && parse_number(trimmed).is_some());
        self.date &= parse_timestamp(trimmed).is_some();
    }

    fn none(&self) -> bool {
        !(self.boolean || self.integer || self.float || self.date)
    }

    fn kind(&self) -> ColumnKind {
        if self.boolean {
            ColumnKind::Boolean
        } else if self.integer {
            ColumnKind::Integer
        } else if self.float {
            ColumnKind::Float
        } else {
            ColumnKind::Date
        }
    }
}

/// The cells as a column of `kind`; a cell that does not fit is null.
pub fn typed_column(cells: &StringChunked, kind: ColumnKind) -> Series {
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
        ColumnKind::Float => {
            let values = cells.iter().map(|cell| cell.and_then(parse_number));
            Float64Chunked::from_iter_options(name, values).into_series()
        }
        ColumnKind::Date => {
            let values = cells.iter().map(|cell| cell.and_then(parse_timestamp));
            let micros = Int64Chunked::from_iter_options(name, values);
            micros.into_datetime(TimeUnit::Microseconds, None).into_series()
        }
        ColumnKind::Text | ColumnKind::Null | ColumnKind::Unsupported => cells.clone().into_series(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(cells: &[Option<&str>]) -> ColumnKind {
        infer_kind(&cells.iter().copied().collect())
    }

    #[test]
    fn a_column_is_the_narrowest_kind_that_all_its_cells_fit() {
        assert_eq!(kind(&[Some("1"), None, Some("-7")]), ColumnKind::Integer);
        assert_eq!(kind(&[Some("1"), Some("2.5e3")]), ColumnKind::Float);
        assert_eq!(kind(&[Some("TRUE"), Some("false")]), ColumnKind::Boolean);
        assert_eq!(kind(&[Some("2026-01-31"), Some("2026-01-31T10:00:00Z")]), ColumnKind::Date);
        assert_eq!(kind(&[Some("1"), Some("x")]), ColumnKind::Text);
        assert_eq!(kind(&[None, None]), ColumnKind::Null);
    }

    #[test]
    fn dates_are_days_and_zones_count() {
        assert_eq!(parse_as(ColumnKind::Date, "1970-01-02"), Some(1.0));
        assert_eq!(parse_as(ColumnKind::Date, "1970-01-02 12:00:00"), Some(1.5));
        assert_eq!(parse_as(ColumnKind::Date, "1970-01-02T01:00:00+01:00"), Some(1.0));
        assert_eq!(parse_as(ColumnKind::Date, "soon"), None);
    }
}
