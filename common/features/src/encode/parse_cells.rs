//! Cells of CSV as values of the kind that training saw, and those that are none.

use std::borrow::Cow;

use polars::prelude::{Series, StringChunked};

use super::bad_rows::{BadRows, ColumnCells};
use super::release_1;
use super::usual_number::usual_number;
use super::values::as_numbers;
use columns::cells::{Cell, is_missing_marker, level_of_cell, parse_as, parse_boolean};
use columns::{CellFormat, ColumnKind};
use error::{Error, Result};

/// Which text a value of a category has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LevelTexts {
    /// The [canonical](columns::text) one.
    #[default]
    Canonical,
    /// The one that the release of models of format version 1 wrote.
    Release1,
}

/// Cells of CSV as numbers of the kind that training saw.
pub(super) fn numbers_of_cells(column: ColumnCells<'_>, bad: &mut BadRows) -> Vec<f64> {
    let ColumnCells { kind, cells, format, .. } = column;
    let (numbers, misfits) = parsed_numbers(cells.iter(), kind, format);
    bad.mark_cells(column, &misfits);
    numbers
}

/// The same, and the places of those that are none.
pub(super) fn parsed_numbers<'a>(
    cells: impl ExactSizeIterator<Item = Option<&'a str>>,
    kind: ColumnKind,
    format: CellFormat,
) -> (Vec<f64>, Vec<usize>) {
    let mut misfits = Vec::new();
    let mut numbers = Vec::with_capacity(cells.len());
    let is_point = format.decimal == b'.' && matches!(kind, ColumnKind::Integer | ColumnKind::Float);
    for (row, cell) in cells.enumerate() {
        // By far the most frequent case, tried before any other.
        let number = match cell.and_then(|cell| if is_point { usual_number(cell) } else { None }) {
            Some(number) => number,
            None => match cell.map(|cell| parse_as(kind, cell, format)) {
                Some(Cell::Value(number)) => number,
                None | Some(Cell::Missing) => f64::NAN,
                Some(Cell::Misfit) => {
                    misfits.push(row);
                    f64::NAN
                }
            },
        };
        numbers.push(number);
    }
    (numbers, misfits)
}

/// Cells of CSV as categories: each has the text of the value that it is of the kind that training saw.
pub(super) fn levels_of_cells<'a>(
    column: ColumnCells<'a>,
    texts: LevelTexts,
    bad: &mut BadRows,
) -> Cow<'a, StringChunked> {
    let ColumnCells { kind, cells, format, .. } = column;
    match (texts, kind) {
        (LevelTexts::Release1, _) => release_1::levels_of_cells(column, bad),
        (LevelTexts::Canonical, ColumnKind::Text) => Cow::Borrowed(cells),
        (LevelTexts::Canonical, _) => {
            let level = |cell: Option<&str>| cell.map(|cell| level_of_cell(kind, cell, format));
            Cow::Owned(cells.iter().map(level).collect())
        }
    }
}

/// A column as numbers; text cells of CSV are parsed as the kind that training saw.
pub(super) fn column_numbers(
    column: &Series,
    kind: ColumnKind,
    format: Option<CellFormat>,
    bad: &mut BadRows,
) -> Result<Vec<f64>> {
    match format {
        None if kind == ColumnKind::Null => Ok(vec![f64::NAN; column.len()]),
        None => as_numbers(column),
        Some(format) => {
            let cells = ColumnCells { name: column.name(), kind, cells: text_cells(column)?, format };
            Ok(numbers_of_cells(cells, bad))
        }
    }
}

pub(super) fn text_cells(column: &Series) -> Result<&StringChunked> {
    column.str().map_err(|error| Error::Defect(format!("a CSV column that is not text: {error}")))
}

/// Cells of CSV as truth values.
pub(super) fn parsed_booleans(column: ColumnCells<'_>, bad: &mut BadRows) -> Vec<Option<bool>> {
    let mut misfits = Vec::new();
    let parse = |(row, cell): (usize, Option<&str>)| {
        let parsed = cell.and_then(parse_boolean);
        if parsed.is_none() && cell.is_some_and(|cell| !is_missing_marker(cell)) {
            misfits.push(row);
        }
        parsed
    };
    let booleans = column.cells.iter().enumerate().map(parse).collect();
    bad.mark_cells(column, &misfits);
    booleans
}
