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

/// The cells of a column while rows are added.
#[derive(Debug, Default)]
struct Cells {
    /// What was text when it came.
    text: Vec<u8>,
    /// Where each ends in the text; the next one begins there.
    ends: Vec<u32>,
}

/// Cells of no more bytes are copied as so many, whatever follows them: a copy of a length that is known takes no call.
const SHORT: usize = 32;

impl Cells {
    /// Adds the cell that stands at `place` in a text.
    fn push(&mut self, text: &str, place: Range<usize>) -> usize {
        let cell = text.get(place.clone()).unwrap_or_default();
        match text.as_bytes().get(place.start..).and_then(<[u8]>::first_chunk::<SHORT>) {
            Some(bytes) if cell.len() <= SHORT => {
                let end = self.text.len() + cell.len();
                self.text.extend_from_slice(bytes);
                self.text.truncate(end);
            }
            _ => self.text.extend_from_slice(cell.as_bytes()),
        }
        self.ends.push(self.text.len() as u32);
        cell.len()
    }
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
            self.text_bytes += cells.push(cell, 0..cell.len());
        }
    }

    /// Adds a row whose cells stand at these places of a text, one for each column.
    pub fn push_places(&mut self, text: &str, places: impl Iterator<Item = Range<usize>>) {
        for (cells, place) in self.columns.iter_mut().zip(places) {
            self.text_bytes += cells.push(text, place);
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
    columns: Arc<Vec<TextColumn>>,
    rows: Range<usize>,
}

/// The cells of a column, by its name.
#[derive(Debug)]
struct TextColumn {
    name: String,
    text: String,
    ends: Vec<u32>,
}

impl RawRows {
    /// All of them.
    #[must_use]
    pub fn new(cells: RawCells) -> Self {
        let rows = 0..cells.rows();
        let column = |(name, Cells { text, ends })| {
            // Texts one behind the other are a text.
            let text = String::from_utf8(text).unwrap_or_else(|other| String::from_utf8_lossy(other.as_bytes()).into());
            TextColumn { name, text, ends }
        };
        Self { columns: Arc::new(cells.names.into_iter().zip(cells.columns).map(column).collect()), rows }
    }

    /// Of these, only `rows`.
    #[must_use]
    pub fn narrowed(&self, rows: &Range<usize>) -> Self {
        Self { columns: Arc::clone(&self.columns), rows: self.rows.start + rows.start..self.rows.start + rows.end }
    }

    /// The cells of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<RawColumn<'_>> {
        let TextColumn { text, ends, .. } = self.columns.iter().find(|column| column.name == name)?;
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
        let record = "ü,short,and one that is longer than what is copied as if it were short";
        cells.push_places(record, [3..8, 9..record.len()].into_iter());
        cells.push_places(record, [0..2, 3..8].into_iter());
        // Amid a character there is no text.
        cells.push_places(record, [0..1, 1..2].into_iter());
        let rows = RawRows::new(cells);
        let of = |rows: &RawRows, name: &str| {
            rows.column(name).unwrap().iter().map(|cell| cell.map(str::to_owned)).collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of(&rows, "a"), [text("1"), None, None, None, text("short"), text("ü"), None]);
        let (long, short) = (text("and one that is longer than what is copied as if it were short"), text("short"));
        assert_eq!(of(&rows, "b"), [text("ü"), None, text("NULLs"), text("z"), long, short, None]);
        assert_eq!(of(&rows.narrowed(&(2..4)).narrowed(&(0..1)), "b"), [text("NULLs")]);
        assert!(rows.column("c").is_none());
        let series = rows.column("b").unwrap().series("b");
        assert_eq!((series.len(), series.null_count(), series.name().as_str()), (7, 2, "b"));
    }
}
