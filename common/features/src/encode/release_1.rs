//! How models of format version 1 see categories: by the texts that their release wrote.
//!
//! A timestamp's text depended on its unit, decimals were floats, 32-bit floats had the digits of 64-bit ones, and categories out
//! of CSV were text unless they were numbers in training.

use std::borrow::Cow;

use polars::prelude::{DataType, Series, StringChunked};

use super::bad_rows::{BadRows, ColumnCells};
use super::values::as_numbers;
use columns::ColumnKind;
use columns::cells::{Cell, parse_as};
use columns::text::formatted_text;
use error::{Error, Result};

/// A column of categories as text.
pub(super) fn levels(column: &Series) -> Result<Cow<'_, StringChunked>> {
    let unfit = || Error::Data(format!("column \"{}\" ({}) cannot be a category", column.name(), column.dtype()));
    if matches!(column.dtype(), DataType::Decimal(..)) || ColumnKind::of(column.dtype()) == ColumnKind::Float {
        return Ok(Cow::Owned(as_numbers(column)?.into_iter().map(level_of_number).collect()));
    }
    match ColumnKind::of(column.dtype()) {
        ColumnKind::Text => column.str().map(Cow::Borrowed).map_err(|_| unfit()),
        ColumnKind::Unsupported => Err(unfit()),
        _ => formatted_text(column)?.str().cloned().map(Cow::Owned).map_err(|_| unfit()),
    }
}

/// Cells of CSV as categories: brought to the text of a number where numbers were learnt.
pub(super) fn levels_of_cells<'a>(column: ColumnCells<'a>, bad: &mut BadRows) -> Cow<'a, StringChunked> {
    let ColumnCells { kind, cells, format, .. } = column;
    if !kind.is_number() {
        return Cow::Borrowed(cells);
    }
    let mut misfits = Vec::new();
    let level = |(row, cell): (usize, Option<&str>)| match parse_as(kind, cell?, format) {
        Cell::Value(number) if kind == ColumnKind::Boolean => Some((number != 0.0).to_string()),
        Cell::Value(number) => level_of_number(number),
        Cell::Missing => None,
        Cell::Misfit => {
            misfits.push(row);
            None
        }
    };
    let levels = cells.iter().enumerate().map(level).collect();
    bad.mark_cells(column, &misfits);
    Cow::Owned(levels)
}

/// The level of a number; a number that is not finite has none.
fn level_of_number(number: f64) -> Option<String> {
    number.is_finite().then(|| number.to_string())
}
