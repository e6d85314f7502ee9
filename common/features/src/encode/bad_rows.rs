//! Cells that do not parse as the type that was learnt, and the rows that they reject.

use polars::prelude::StringChunked;
use serde::{Deserialize, Serialize};

use columns::cells::parse_number;
use columns::text_hints::{self, Level, Writing};
use columns::{CellFormat, ColumnKind};

/// Most unreadable cells of a column that are kept as examples.
const KEPT_EXAMPLES: usize = 20;
/// Most characters of such an example.
const EXAMPLE_CHARACTERS: usize = 40;

/// Rows of a batch with a cell that does not parse as its feature's type (CSV): such a row is rejected.
#[derive(Debug, Default, Clone)]
pub struct BadRows {
    flags: Vec<bool>,
    unreadable: Vec<UnreadableCells>,
}

/// The cells of one column that do not parse as the type that was learnt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableCells {
    /// The column's name.
    pub column: String,
    /// What it held in training.
    pub kind: ColumnKind,
    /// How many of its cells cannot be read.
    pub count: u64,
    /// The row of the first of them, counted within the batch.
    pub first_row: u64,
    /// The first of them.
    pub examples: Vec<String>,
    /// Whether cells that could be read have the decimal sign that was given, so that it is the right one.
    pub has_decimals: bool,
}

impl UnreadableCells {
    /// Adds the cells of later rows; the first row stays.
    pub fn add(&mut self, later: &Self) {
        self.count += later.count;
        self.has_decimals |= later.has_decimals;
        let room = KEPT_EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(later.examples.iter().take(room).cloned());
    }

    /// What to do about them: `format` is how numbers were read.
    #[must_use]
    pub fn remedy(&self, format: CellFormat) -> String {
        let levels: Vec<Level<'_>> = self.examples.iter().map(|example| (example.as_str(), 1)).collect();
        // Where some numbers have the sign that was given, another one cannot be right for all.
        let writing = if self.has_decimals { Writing::typed() } else { Writing::csv(format) };
        text_hints::remedy(&levels, writing).unwrap_or_else(|| {
            let written = match self.kind {
                ColumnKind::Duration => "write them as 1 days 02:03:04, or leave them empty",
                ColumnKind::Time => "write them as 18:30:00, or leave them empty",
                _ => "correct them, or leave them empty",
            };
            written.to_owned()
        })
    }
}

impl BadRows {
    /// No bad row among `rows`.
    #[must_use]
    pub fn none(rows: usize) -> Self {
        Self { flags: vec![false; rows], unreadable: Vec::new() }
    }

    /// Marks a row, counted within the batch.
    pub fn mark(&mut self, row: usize) {
        if let Some(flag) = self.flags.get_mut(row) {
            *flag = true;
        }
    }

    /// Marks rows of which the cell in one column cannot be read. A column of several features is counted once.
    pub(super) fn mark_cells(&mut self, column: ColumnCells<'_>, rows: &[usize]) {
        rows.iter().for_each(|row| self.mark(*row));
        let ColumnCells { name, kind, cells, format } = column;
        let Some(first) = rows.first() else { return };
        if self.unreadable.iter().any(|known| known.column == name) {
            return;
        }
        let shortened = |cell: &str| cell.chars().take(EXAMPLE_CHARACTERS).collect();
        let examples = rows.iter().filter_map(|row| cells.get(*row)).take(KEPT_EXAMPLES).map(shortened).collect();
        let is_decimal = |cell: &str| cell.contains(char::from(format.decimal)) && parse_number(cell, format).is_some();
        self.unreadable.push(UnreadableCells {
            column: name.to_owned(),
            kind,
            count: rows.len() as u64,
            first_row: *first as u64,
            examples,
            has_decimals: cells.iter().flatten().any(is_decimal),
        });
    }

    /// The cells that cannot be read, by column.
    #[must_use]
    pub fn unreadable(&self) -> &[UnreadableCells] {
        &self.unreadable
    }

    /// Whether the row was marked.
    #[must_use]
    pub fn is_bad(&self, row: usize) -> bool {
        self.flags.get(row).copied().unwrap_or(false)
    }
}

/// A column of CSV in a batch: its cells, and the kind that training saw.
#[derive(Clone, Copy)]
pub(super) struct ColumnCells<'a> {
    pub(super) name: &'a str,
    pub(super) kind: ColumnKind,
    pub(super) cells: &'a StringChunked,
    pub(super) format: CellFormat,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: &[Option<&str>]) -> StringChunked {
        texts.iter().copied().collect()
    }

    fn marked(texts: &[Option<&str>], rows: &[usize]) -> BadRows {
        let mut bad = BadRows::none(texts.len());
        let (cells, format) = (cells(texts), CellFormat::default());
        let column = ColumnCells { name: "size", kind: ColumnKind::Float, cells: &cells, format };
        bad.mark_cells(column, rows);
        // A feature of the same column finds the same cells again.
        bad.mark_cells(column, rows);
        bad
    }

    #[test]
    fn a_columns_unreadable_cells_are_counted_once_with_examples() {
        let bad = marked(&[Some("7"), Some("1,5"), None, Some("2,5")], &[1, 3]);
        assert_eq!((0..4).map(|row| bad.is_bad(row)).collect::<Vec<_>>(), [false, true, false, true]);
        let [size] = bad.unreadable() else { panic!("{bad:?}") };
        assert_eq!((size.count, size.first_row, size.has_decimals), (2, 1, false));
        assert_eq!(size.examples, ["1,5", "2,5"]);
        assert!(size.remedy(CellFormat::default()).contains("give --decimal , (DECIMAL)"));
        assert!(BadRows::none(3).unreadable().is_empty());
    }

    #[test]
    fn another_decimal_sign_is_no_advice_where_the_given_one_is_right() {
        let bad = marked(&[Some("7.5"), Some("1,5")], &[1]);
        assert_eq!(bad.unreadable()[0].remedy(CellFormat::default()), "write 1234.5");
        let bad = marked(&[Some("7.5"), Some("unknown")], &[1]);
        assert_eq!(bad.unreadable()[0].remedy(CellFormat::default()), "correct them, or leave them empty");
        let durations = UnreadableCells { kind: ColumnKind::Duration, ..bad.unreadable()[0].clone() };
        assert_eq!(durations.remedy(CellFormat::default()), "write them as 1 days 02:03:04, or leave them empty");
    }

    #[test]
    fn cells_of_later_rows_add_up_and_few_examples_are_kept() {
        let texts: Vec<Option<&str>> = vec![Some("?!"); 30];
        let mut cells = marked(&texts, &(0..30).collect::<Vec<_>>()).unreadable()[0].clone();
        assert_eq!((cells.count, cells.examples.len()), (30, KEPT_EXAMPLES));
        cells.add(&marked(&[Some("x")], &[0]).unreadable()[0]);
        assert_eq!((cells.count, cells.examples.len(), cells.first_row), (31, KEPT_EXAMPLES, 0));
    }
}
