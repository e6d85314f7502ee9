//! Which cells could not be read, by column: the rejected rows themselves say only that one of theirs could not.

use columns::CellFormat;
use columns::text_hints::shown;
use error::text::without_control_characters;
use features::encode::UnreadableCells;
use serde::{Deserialize, Serialize};

use crate::read::RowSource;

/// The cells of one column that do not parse as the type that was learnt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableColumn {
    /// The cells.
    #[serde(flatten)]
    pub cells: UnreadableCells,
    /// The object that the first of them is in.
    pub source: String,
    /// The 1-based row of the first of them within that object.
    pub row: u64,
}

impl UnreadableColumn {
    /// Adds the cells of a batch whose rows come from `sources`; `name` is that of the object of a source.
    pub fn add_batch<'a>(
        all: &mut Vec<Self>,
        of_batch: &[UnreadableCells],
        sources: &[RowSource],
        name: impl Fn(&RowSource) -> &'a str,
    ) {
        let placed = |cells: &UnreadableCells| {
            let source = sources.iter().find(|source| (cells.first_row as usize) < source.rows.end)?;
            let row = source.first_row + cells.first_row - source.rows.start as u64 + 1;
            Some(Self { cells: cells.clone(), source: name(source).to_owned(), row })
        };
        of_batch.iter().filter_map(placed).for_each(|column| Self::add(all, column));
    }

    /// Adds the cells of later rows.
    pub fn add_all(all: &mut Vec<Self>, later: &[Self]) {
        later.iter().for_each(|column| Self::add(all, column.clone()));
    }

    fn add(all: &mut Vec<Self>, later: Self) {
        match all.iter_mut().find(|known| known.cells.column == later.cells.column) {
            Some(known) => known.cells.add(&later.cells),
            None => all.push(later),
        }
    }

    /// The column with most unreadable cells in a sentence: what was learnt, an example with its row, and what to do. `format`
    /// is how numbers were read.
    #[must_use]
    pub fn most_in_words(all: &[Self], format: CellFormat) -> Option<String> {
        // The first among equals.
        let Self { cells, source, row } = all.iter().rev().max_by_key(|column| column.cells.count)?;
        let example = cells.examples.first().map(|cell| shown(cell)).unwrap_or_default();
        let others = match all.len() - 1 {
            0 => String::new(),
            1 => " (and 1 more column has such cells)".to_owned(),
            more => format!(" (and {more} more columns have such cells)"),
        };
        let count = match cells.count {
            1 => "1 cell".to_owned(),
            count => format!("{count} cells"),
        };
        Some(format!(
            "{count} of column \"{}\" cannot be read as {}, such as {example} in data row {row} of {}{others}: {}",
            without_control_characters(&cells.column),
            cells.kind.describe(),
            without_control_characters(source),
            cells.remedy(format)
        ))
    }
}

#[cfg(test)]
mod tests {
    use columns::ColumnKind;

    use super::*;

    fn cells(column: &str, count: u64, examples: &[&str]) -> UnreadableCells {
        let examples = examples.iter().map(|&example| example.to_owned()).collect();
        let kind = ColumnKind::Float;
        UnreadableCells { column: column.to_owned(), kind, count, first_row: 2, examples, has_decimals: false }
    }

    #[test]
    fn the_column_with_most_unreadable_cells_is_told() {
        let mut all = Vec::new();
        let source = |first_row| [RowSource { object: 0, first_row, rows: 0..4 }];
        UnreadableColumn::add_batch(&mut all, &[cells("age", 1, &["old"])], &source(0), |_| "a.csv");
        let in_words = |all: &[UnreadableColumn]| UnreadableColumn::most_in_words(all, CellFormat::default()).unwrap();
        assert_eq!(
            in_words(&all),
            "1 cell of column \"age\" cannot be read as numbers, such as \"old\" in data row 3 of a.csv: correct them, or leave \
             them empty"
        );
        let of_batch = [cells("size", 3, &["1,5", "2,5", "3,5"]), cells("age", 1, &["young"])];
        UnreadableColumn::add_batch(&mut all, &of_batch, &source(100), |_| "b.csv");
        assert_eq!((all[0].cells.count, all[0].row), (2, 3));
        assert_eq!(
            in_words(&all),
            "3 cells of column \"size\" cannot be read as numbers, such as \"1,5\" in data row 103 of b.csv (and 1 more column \
             has such cells): write 1234.5, or give --decimal , (DECIMAL) where the comma stands before the fraction"
        );
        // Other cells have decimal points.
        all[1].cells.has_decimals = true;
        assert!(in_words(&all).ends_with(": write 1234.5"));
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Vec<UnreadableColumn>>(&json).unwrap(), all);
        assert_eq!(UnreadableColumn::most_in_words(&[], CellFormat::default()), None);
    }
}
