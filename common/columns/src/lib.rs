//! What tables and features both speak: columns of values, what a column may hold, and the one text of a value.
//!
//! Knows no file format, no storage and no model. Begin reading at [`ColumnSource`] and [`ColumnKind`].
#![forbid(unsafe_code)]

pub mod cells;
mod coded;
pub mod convert;
mod kind;
mod long_texts;
mod output_names;
mod raw_cells;
mod schema;
pub mod text;
pub mod text_hints;
pub mod types;

pub use cells::CellFormat;
pub use coded::CodedRows;
pub use kind::ColumnKind;
pub use long_texts::{LongTexts, is_long};
pub use output_names::{is_output_column, refuse_output_column};
pub use raw_cells::{RAW_TEXT_MOST, RawCells, RawColumn, RawRows};
pub use schema::{ColumnSchema, HeaderHint, TableSchema};

use std::ops::Range;

use polars::prelude::{Series, StringChunked};

use error::Result;

/// Bytes that a column holds in memory. Of text these are a view for each value and the texts, each of them once however often it
/// comes; polars' own estimate counts neither so.
#[must_use]
pub fn memory_bytes(column: &Series) -> u64 {
    /// Bytes of a view.
    const VIEW: usize = 16;
    let of_text =
        |text: &StringChunked| text.downcast_iter().map(|part| VIEW * part.len() + part.total_buffer_len()).sum();
    column.str().map_or_else(|_| column.estimated_size(), of_text) as u64
}

/// A run of rows of one table.
pub trait ColumnSource: Sync {
    /// Number of rows; every column has as many values.
    fn rows(&self) -> usize;

    /// The values of the column called `name`: numbers, booleans, dates and times in their own types, text as strings.
    ///
    /// # Errors
    /// [`error::Error::Data`] where there is no such column or its bytes cannot be decoded.
    fn column(&self, name: &str) -> Result<Series>;

    /// How the values of a column are written where columns are text that stands for typed values, as in CSV; `None` where
    /// they have types of their own.
    fn cell_format(&self, _name: &str) -> Option<CellFormat> {
        None
    }

    /// The cells of a column as they came, where it is still to be made of them: the same as [`ColumnSource::column`] gives.
    fn raw_column(&self, _name: &str) -> Option<RawColumn<'_>> {
        None
    }

    /// The values of a column by what they have in common, one run of rows behind the other, where they are kept so and many rows
    /// share a value: the same as [`ColumnSource::column`] gives. What keeps it from being read so is for that one to tell.
    fn coded_column(&self, _name: &str) -> Option<Vec<CodedRows>> {
        None
    }

    /// Hands the values of a column of numbers to `take` as 64-bit floats, NaN where there is none, in order and a short run at a time,
    /// where they can be read without the column being made: the numbers that [`ColumnSource::column`] gives. None where they cannot:
    /// what was handed over is void then, and what keeps it from being read so is for that one to tell.
    fn numbers(&self, _name: &str, _take: &mut dyn FnMut(&mut [f64])) -> Option<()> {
        None
    }
}

/// Columns that are in memory already.
#[derive(Debug, Default, Clone)]
pub struct MemoryColumns {
    rows: usize,
    columns: Vec<Series>,
    /// Columns that are made when somebody asks for them.
    raw: Option<RawRows>,
    cell_format: Option<CellFormat>,
    /// Columns whose cells are written as the [usual](CellFormat::default) format has it, whatever `cell_format` says.
    usual_cells: Vec<String>,
}

impl MemoryColumns {
    /// Columns of one length, each under its own name.
    #[must_use]
    pub fn new(rows: usize, columns: Vec<Series>) -> Self {
        Self { rows, columns, ..Self::default() }
    }

    /// Some of the rows, without a copy.
    #[must_use]
    pub fn narrowed(&self, rows: Range<usize>) -> Self {
        let columns = self.columns.iter().map(|column| column.slice(rows.start as i64, rows.len())).collect();
        let raw = self.raw.as_ref().map(|raw| raw.narrowed(&rows));
        Self { rows: rows.len(), columns, raw, cell_format: self.cell_format, usual_cells: self.usual_cells.clone() }
    }

    /// Columns of a CSV file, all text, whose values are written as `format` says.
    #[must_use]
    pub fn text_cells(rows: usize, columns: Vec<Series>, format: CellFormat) -> Self {
        Self { rows, columns, raw: None, cell_format: Some(format), usual_cells: Vec::new() }
    }

    /// The same of cells of which no column was made yet.
    #[must_use]
    pub fn raw_cells(cells: RawCells, rows: usize, format: CellFormat) -> Self {
        let raw = Some(RawRows::new(cells));
        Self { rows, columns: Vec::new(), raw, cell_format: Some(format), usual_cells: Vec::new() }
    }

    /// The same columns and one more, or in the place of another, whose values do not stand in the file and are written in the
    /// usual format.
    #[must_use]
    pub fn with_usual_cells(mut self, column: Series) -> Self {
        self.columns.retain(|other| other.name() != column.name());
        self.usual_cells.push(column.name().to_string());
        self.columns.push(column);
        self
    }
}

impl ColumnSource for MemoryColumns {
    fn rows(&self) -> usize {
        self.rows
    }

    fn column(&self, name: &str) -> Result<Series> {
        self.columns
            .iter()
            .find(|column| column.name().as_str() == name)
            .cloned()
            .or_else(|| self.raw.as_ref()?.column(name).map(|column| column.series(name)))
            .ok_or_else(|| error::Error::Data(format!("column \"{name}\" is missing")))
    }

    fn cell_format(&self, name: &str) -> Option<CellFormat> {
        let is_usual = self.usual_cells.iter().any(|usual| usual == name);
        self.cell_format.map(|format| if is_usual { CellFormat::default() } else { format })
    }

    fn raw_column(&self, name: &str) -> Option<RawColumn<'_>> {
        if self.columns.iter().any(|column| column.name().as_str() == name) {
            return None;
        }
        self.raw.as_ref()?.column(name)
    }
}
