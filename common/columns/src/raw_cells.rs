//! Text cells as they came, each column in one run of text: columns of polars are made of them only where somebody needs one.

use std::ops::Range;
use std::sync::Arc;

use polars::prelude::{Series, StringChunkedBuilder};

/// Rows of text cells. Empty cells and `NULL` are missing.
#[derive(Debug, Default)]
pub struct RawCells {
    names: Vec<String>,
    columns: Vec<Cells>,
    text_bytes: usize,
}

/// The cells of a column.
#[derive(Debug, Default)]
struct Cells {
    text: String,
    /// Where each ends in the text; the next one begins there.
    ends: Vec<u32>,
}

/// Most bytes of text that such rows may have: places are counted in 32 bits.
pub const RAW_TEXT_MOST: usize = 1 << 30;

impl RawCells {
    /// No rows yet, of these columns.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        let columns = names.iter().map(|_| Cells::default()).collect();
        Self { names: names.to_vec(), columns, text_bytes: 0 }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |cells| cells.ends.len())
    }

    /// Bytes of their text.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Adds a row of these cells, one for each column.
    pub fn push<'a>(&mut self, row: impl Iterator<Item = &'a str>) {
        for (cells, cell) in self.columns.iter_mut().zip(row) {
            cells.text.push_str(cell);
            cells.ends.push(cells.text.len() as u32);
            self.text_bytes += cell.len();
        }
    }

    /// Adds a row without any cell.
    pub fn push_missing(&mut self) {
        self.columns.iter_mut().for_each(|cells| cells.ends.push(cells.text.len() as u32));
    }
}

/// Some of the rows of [`RawCells`]. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RawRows {
    cells: Arc<RawCells>,
    rows: Range<usize>,
}

impl RawRows {
    /// All of them.
    #[must_use]
    pub fn new(cells: RawCells) -> Self {
        let rows = 0..cells.rows();
        Self { cells: Arc::new(cells), rows }
    }

    /// Of these, only `rows`.
    #[must_use]
    pub fn narrowed(&self, rows: &Range<usize>) -> Self {
        Self { cells: Arc::clone(&self.cells), rows: self.rows.start + rows.start..self.rows.start + rows.end }
    }

    /// The cells of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<RawColumn<'_>> {
        let column = self.cells.names.iter().position(|known| known == name)?;
        let Cells { text, ends } = &self.cells.columns[column];
        let start = self.rows.start.checked_sub(1).map_or(0, |before| ends[before]);
        Some(RawColumn { text, start, ends: ends.get(self.rows.clone())? })
    }
}

/// The cells of one column.
#[derive(Debug, Clone, Copy)]
pub struct RawColumn<'a> {
    text: &'a str,
    /// Where the first one begins.
    start: u32,
    ends: &'a [u32],
}

impl<'a> RawColumn<'a> {
    /// The cells in order; none where one is missing.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Option<&'a str>> {
        let mut start = self.start as usize;
        self.ends.iter().map(move |&end| {
            let cell = self.text.get(std::mem::replace(&mut start, end as usize)..end as usize);
            cell.filter(|cell| !cell.is_empty() && *cell != "NULL")
        })
    }

    /// The cells as a column of text.
    pub fn series(self, name: &str) -> Series {
        let mut builder = StringChunkedBuilder::new(name.into(), self.ends.len());
        self.iter().for_each(|cell| builder.append_option(cell));
        Series::from(builder.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_found_by_row_and_column() {
        let names = ["a".to_owned(), "b".to_owned()];
        let mut cells = RawCells::new(&names);
        cells.push(["1", "ü"].into_iter());
        cells.push_missing();
        cells.push(["NULL", "NULLs"].into_iter());
        cells.push(["", "z"].into_iter());
        assert_eq!((cells.rows(), cells.text_bytes()), (4, 13));
        let rows = RawRows::new(cells);
        let of = |rows: &RawRows, name: &str| {
            rows.column(name).unwrap().iter().map(|cell| cell.map(str::to_owned)).collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of(&rows, "a"), [text("1"), None, None, None]);
        assert_eq!(of(&rows, "b"), [text("ü"), None, text("NULLs"), text("z")]);
        assert_eq!(of(&rows.narrowed(&(2..4)).narrowed(&(0..1)), "b"), [text("NULLs")]);
        assert!(rows.column("c").is_none());
        let series = rows.column("b").unwrap().series("b");
        assert_eq!((series.len(), series.null_count(), series.name().as_str()), (4, 1, "b"));
    }
}
