//! The canonical text of a cell that is a category.

use polars::prelude::{Int64Chunked, IntoSeries, NewChunkedArray, TimeUnit};

use super::{
    CellFormat, is_finer_than_nanoseconds, parse_boolean, parse_duration, parse_number, parse_time_of_day,
    parse_timestamp,
};
use crate::ColumnKind;
use crate::text::{canonical_text, text_of_float, text_of_nanoseconds};

/// The canonical text of a category's cell that was learnt as `kind`: that of the value where the cell is one, else the cell
/// as it stands, which is then a level that nobody has seen.
#[must_use]
pub fn level_of_cell(kind: ColumnKind, cell: &str, format: CellFormat) -> String {
    let text = match kind {
        ColumnKind::Integer | ColumnKind::Float => {
            let truth = || parse_boolean(cell).map(|truth| if truth { "1" } else { "0" }.to_owned());
            text_of_number_cell(cell, format.decimal).or_else(truth)
        }
        ColumnKind::Boolean => parse_boolean(cell).map(|truth| truth.to_string()),
        ColumnKind::Date => parse_timestamp(cell)
            .filter(|_| !is_finer_than_nanoseconds(cell))
            .and_then(|instant| text_of_nanoseconds(instant.total_nanoseconds())),
        ColumnKind::Time | ColumnKind::Duration => typed_text(kind, cell),
        ColumnKind::Text | ColumnKind::Null | ColumnKind::Unsupported => None,
    };
    text.unwrap_or_else(|| cell.to_owned())
}

/// The canonical text of a time or a duration.
fn typed_text(kind: ColumnKind, cell: &str) -> Option<String> {
    let nanoseconds = Int64Chunked::from_slice_options(
        "".into(),
        &[match kind {
            ColumnKind::Time => parse_time_of_day(cell),
            _ => parse_duration(cell),
        }],
    );
    let column = match kind {
        ColumnKind::Time => nanoseconds.into_time().into_series(),
        _ => nanoseconds.into_duration(TimeUnit::Nanoseconds).into_series(),
    };
    canonical_text(&column).ok()?.get(0).map(str::to_owned)
}

/// The canonical text of a cell that is a number, if it is a finite one: every digit is kept, but for those that an exponent
/// stands for.
#[must_use]
pub(crate) fn text_of_number_cell(cell: &str, decimal: u8) -> Option<String> {
    let cell = cell.trim();
    let number = parse_number(cell, CellFormat { decimal })?;
    if !number.is_finite() {
        return None;
    }
    let (sign, digits) = match cell.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", cell.strip_prefix('+').unwrap_or(cell)),
    };
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == decimal);
    if !is_plain {
        return text_of_float(number);
    }
    let (whole, fraction) = digits.split_once(char::from(decimal)).unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match (whole, fraction) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    })
}
