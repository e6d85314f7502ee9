//! Tables: Parquet and CSV in, Parquet and CSV out, column by column and in batches of bounded size.
//!
//! A [`Dataset`] is an opened location of data: its objects, their columns and, for Parquet, their row groups. What is
//! read of them is a [`ColumnSource`](columns::ColumnSource), whose columns can be asked for by name, one at a
//! time, so that no more than a column or two is ever decoded at once.
//!
//! It must not know features, models or what a column is for. Begin reading at [`Dataset`], then [`load`].
#![forbid(unsafe_code)]

pub mod csv;
pub mod dataset;
mod file_kind;
pub mod load;
pub mod parquet;
pub mod partitions;
mod ranged_reader;
pub mod write;

pub use dataset::{DataObject, Dataset, Format};
pub use load::{CsvTyping, LoadableTable, RangeColumns, RowRange};
