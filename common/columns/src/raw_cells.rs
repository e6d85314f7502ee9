//! Text cells as they came, row by row in one run of text: columns are made of them only where somebody needs one.

use std::ops::Range;
use std::sync::Arc;

use polars::prelude::{Series, StringChunkedBuilder};

/// Rows of text cells. Empty cells and `NULL` are missing.
#[derive(Debug, Default)]
pub struct RawCells {
    names: Vec<String>,
    text: String,
    /// Where each cell stands in the text, row by row; where one begins behind its end, it is missing with all of its row.
    spans: Vec<(u32, u32)>,
}

/// Most bytes of text that such rows may have: places are counted in 32 bits.
pub const RAW_TEXT_MOST: usize = 1 << 30;

impl RawCells {
    /// No rows yet, of these columns.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        Self { names: names.to_vec(), text: String::new(), spans: Vec::new() }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.spans.len() / self.names.len().max(1)
    }

    /// Bytes of their text.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds a row whose cells stand at these places of a text.
    pub fn push_row(&mut self, text: &str, places: impl Iterator<Item = Range<usize>>) {
        let before = self.text.len();
        self.text.push_str(text);
        self.spans.extend(places.map(|place| ((before + place.start) as u32, (before + place.end) as u32)));
    }

    /// Adds a row of these cells.
    pub fn push_cells<'a>(&mut self, cells: impl Iterator<Item = &'a str>) {
        for cell in cells {
            let before = self.text.len();
            self.text.push_str(cell);
            self.spans.push((before as u32, self.text.len() as u32));
        }
    }

    /// Adds a row without any cell.
    pub fn push_missing(&mut self) {
        self.spans.extend(std::iter::repeat_n((1, 0), self.names.len()));
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
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
        let width = self.cells.names.len();
        let column = self.cells.column(name)?;
        let spans = self.cells.spans.get(self.rows.start * width..self.rows.end * width)?;
        Some(RawColumn { text: &self.cells.text, spans, column, width })
    }
}

/// The cells of one column.
#[derive(Debug, Clone, Copy)]
pub struct RawColumn<'a> {
    text: &'a str,
    /// Those of all columns.
    spans: &'a [(u32, u32)],
    column: usize,
    width: usize,
}

impl<'a> RawColumn<'a> {
    /// The cells in order; none where one is missing.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Option<&'a str>> {
        let spans = self.spans.chunks_exact(self.width).map(move |row| row[self.column]);
        spans.map(move |(start, end)| {
            self.text.get(start as usize..end as usize).filter(|cell| !cell.is_empty() && *cell != "NULL")
        })
    }

    /// The cells as a column of text.
    #[must_use]
    pub fn series(self, name: &str) -> Series {
        let mut builder = StringChunkedBuilder::new(name.into(), self.spans.len() / self.width.max(1));
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
        cells.push_row("1,ü,x", [0..1, 2..4].into_iter());
        cells.push_missing();
        cells.push_cells(["NULL", "NULLs"].into_iter());
        cells.push_row(",z", [0..0, 1..2].into_iter());
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
