//! What a column of cells holds, told by all of them.

use polars::prelude::StringChunked;

use super::{CellFormat, is_finer_than_nanoseconds, is_missing_marker, parse_number, parse_timestamp};
use crate::ColumnKind;

/// Significant digits of which every number has a 64-bit float of its own.
const EXACT_DIGITS: usize = 15;

/// What a column of cells holds: the narrowest kind that every cell fits that does not stand for a missing value. Text where
/// none is, and where there is any other text.
#[must_use]
pub fn infer_kind(cells: &StringChunked, format: CellFormat) -> ColumnKind {
    let mut candidates = Candidates { boolean: true, integer: true, float: true, date: true };
    let mut any = false;
    for cell in cells.iter().flatten() {
        let cell = cell.trim();
        let before = candidates;
        candidates.narrow(cell, format);
        if candidates.none() {
            // Looked at last, since hardly any cell is one.
            if !is_missing_marker(cell) {
                return ColumnKind::Text;
            }
            candidates = before;
            continue;
        }
        // `NaN` is a number, but as a missing value it says nothing about the others.
        if candidates != before && is_missing_marker(cell) {
            candidates = before;
            continue;
        }
        any = true;
    }
    if any { candidates.kind() } else { ColumnKind::Null }
}

/// What a column of categories holds: a kind other than text only where its texts are those of the values, so that none is
/// renumbered: `007` stays text, and so does everything in a column with one cell like it, or with timestamps that no one unit
/// holds.
#[must_use]
pub fn infer_category_kind(cells: &StringChunked, format: CellFormat) -> ColumnKind {
    let is_plain = |cell: &str| {
        let digits = cell.strip_prefix('-').unwrap_or(cell);
        let whole = digits.split(char::from(format.decimal)).next().unwrap_or_default();
        let is_padded = whole.len() > 1 && whole.starts_with('0');
        !is_padded && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == format.decimal)
    };
    let digits = |cell: &str| cell.bytes().filter(u8::is_ascii_digit).count();
    let mut kinds = Candidates { boolean: true, integer: true, float: true, date: true };
    let (mut any, mut all_are_natural, mut all_are_exact) = (false, true, true);
    let mut units = Units::default();
    for cell in cells.iter().flatten() {
        kinds.narrow(cell, format);
        kinds.integer &= is_plain(cell);
        kinds.float &= is_plain(cell);
        all_are_natural = all_are_natural && cell.parse::<u64>().is_ok();
        all_are_exact &= digits(cell) <= EXACT_DIGITS;
        any = true;
        if kinds.date {
            units.add(cell);
            kinds.date = units.have_one();
        }
        if kinds.none() {
            return ColumnKind::Text;
        }
    }
    match kinds.kind() {
        _ if !any => ColumnKind::Null,
        ColumnKind::Float if !all_are_exact && !all_are_natural => ColumnKind::Text,
        kind => kind,
    }
}

/// Which units of timestamps hold cells.
#[derive(Debug, Default, Clone, Copy)]
struct Units {
    /// Some of them are finer than microseconds.
    need_nanoseconds: bool,
    /// Some of them are of years that 64-bit nanoseconds do not have.
    need_microseconds: bool,
    /// Some of them are finer than nanoseconds.
    need_more: bool,
}

impl Units {
    fn add(&mut self, cell: &str) {
        let Some(instant) = parse_timestamp(cell) else { return };
        self.need_nanoseconds |= instant.nanoseconds > 0;
        self.need_microseconds |= instant.narrow_nanoseconds().is_none();
        self.need_more |= is_finer_than_nanoseconds(cell);
    }

    fn have_one(self) -> bool {
        !(self.need_more || self.need_nanoseconds && self.need_microseconds)
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Candidates {
    boolean: bool,
    integer: bool,
    float: bool,
    date: bool,
}

impl Candidates {
    fn narrow(&mut self, cell: &str, format: CellFormat) {
        let trimmed = cell.trim();
        self.boolean = self.boolean && (trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false"));
        self.integer = self.integer && trimmed.parse::<i64>().is_ok();
        self.float = self.integer || (self.float && parse_number(trimmed, format).is_some());
        self.date = self.date && parse_timestamp(trimmed).is_some();
    }

    fn none(self) -> bool {
        !(self.boolean || self.integer || self.float || self.date)
    }

    fn kind(self) -> ColumnKind {
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
