//! Tables: Parquet and CSV in, Parquet and CSV out, column by column and in batches of bounded size.
//!
//! A [`Dataset`] is an opened location of data: its objects, their columns and, for Parquet, their row groups. A
//! [`ColumnSource`] is a run of rows whose columns can be asked for by name, one at a time, so that no more than a
//! column or two is ever decoded at once.

pub mod cells;
pub mod csv;
pub mod dataset;
pub mod ids;
mod kind;
pub mod load;
mod lookalikes;
pub mod parquet;
mod ranged_reader;
pub mod schema;
pub mod write;

pub use dataset::{DataObject, Dataset, Format};
pub use kind::ColumnKind;
pub use load::{LoadableTable, Piece, PieceColumns};
pub use schema::{ColumnSchema, TableSchema};

use std::ops::Range;

use polars::prelude::Series;

use crate::Result;

/// A run of rows of one table.
pub trait ColumnSource: Sync {
    /// Number of rows; every column has as many values.
    fn rows(&self) -> usize;

    /// The values of the column called `name`: numbers, booleans, dates and times in their own types, text as strings.
    ///
    /// # Errors
    /// [`crate::Error::Data`] where there is no such column or its bytes cannot be decoded.
    fn column(&self, name: &str) -> Result<Series>;

    /// Whether every column is text that stands for typed values, as in CSV.
    fn is_untyped_text(&self) -> bool {
        false
    }
}

/// Columns that are in memory already.
#[derive(Debug, Default, Clone)]
pub struct MemoryColumns {
    rows: usize,
    columns: Vec<Series>,
    is_untyped_text: bool,
}

impl MemoryColumns {
    /// Columns of one length, each under its own name.
    #[must_use]
    pub fn new(rows: usize, columns: Vec<Series>) -> Self {
        Self { rows, columns, is_untyped_text: false }
    }

    /// Some of the rows, without a copy.
    #[must_use]
    pub fn narrowed(&self, rows: Range<usize>) -> Self {
        let columns = self.columns.iter().map(|column| column.slice(rows.start as i64, rows.len())).collect();
        Self { rows: rows.len(), columns, is_untyped_text: self.is_untyped_text }
    }

    /// Columns of a CSV file, all text.
    #[must_use]
    pub fn untyped_text(rows: usize, columns: Vec<Series>) -> Self {
        Self { rows, columns, is_untyped_text: true }
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
            .ok_or_else(|| crate::Error::Data(format!("column \"{name}\" is missing")))
    }

    fn is_untyped_text(&self) -> bool {
        self.is_untyped_text
    }
}
