//! Fetched bytes of some columns of a row group, and their values.

use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use polars::prelude::{ArrowField, DataType, Series};
use polars_buffer::Buffer;
use polars_parquet::parquet::read::PageMetaData;
use polars_parquet::read::{BasicDecompressor, ColumnChunkMetadata, Filter, PageReader, column_iter_to_arrays};

use super::damage::{damaged, guard};
use super::footer::Footer;
use super::pages;
use crate::columns::ColumnSource;
use crate::table::partitions::PartitionValues;
use crate::{Error, Result};

/// The fetched bytes of some columns of one row group, or of a range of its rows. Cheap to clone and to narrow.
#[derive(Debug, Clone)]
pub struct RowGroup {
    pub(super) name: Arc<str>,
    pub(super) footer: Arc<Footer>,
    pub(super) row_group: usize,
    /// Which of its rows are decoded.
    pub(super) rows: Range<usize>,
    pub(super) columns: Arc<Vec<ColumnBytes>>,
    /// The columns out of the names of the object's folders.
    pub(super) partitions: PartitionValues,
}

/// The bytes of one column: its dictionary, if it has one, and pages that hold at least the rows that are decoded.
#[derive(Debug)]
pub(super) struct ColumnBytes {
    pub(super) name: String,
    pub(super) bytes: Buffer<u8>,
    /// Values in the pages, nulls included.
    pub(super) values: i64,
    /// The row (within the row group) of the first value.
    pub(super) first_row: usize,
}

impl RowGroup {
    /// The same bytes, of which only `rows` (counted within the row group) will be decoded.
    #[must_use]
    pub fn narrowed(&self, rows: Range<usize>) -> Self {
        Self { rows, ..self.clone() }
    }

    fn decode(&self, name: &str) -> Result<Series> {
        let (object, footer) = (&self.name, &self.footer);
        let chunk = footer.chunk(self.row_group, name, object)?;
        let column = self.columns.iter().find(|column| column.name == name);
        let column = column.ok_or_else(|| Error::Defect(format!("column \"{name}\" was not fetched")))?;
        let field =
            footer.schema.get(name).ok_or_else(|| Error::Data(format!("{object}: column \"{name}\" is missing")))?;
        let what = format!("column \"{name}\" of row group {}", self.row_group);
        let series = guard(object, &what, || decode(chunk, column, field, self.filter(column)))?;
        if series.len() == self.rows.len() {
            return Ok(series);
        }
        let problem = format!("{} values where its footer says {}", series.len(), self.rows.len());
        Err(damaged(object, &what, &problem))
    }

    /// The rows to decode, counted within the fetched pages; none where that is all of the row group.
    fn filter(&self, column: &ColumnBytes) -> Option<Filter> {
        let all_rows = self.footer.metadata.row_groups[self.row_group].num_rows();
        let from_first = |row: usize| row.saturating_sub(column.first_row);
        (self.rows != (0..all_rows)).then(|| Filter::new_ranged(from_first(self.rows.start), from_first(self.rows.end)))
    }
}

impl ColumnSource for RowGroup {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn column(&self, name: &str) -> Result<Series> {
        if let Some(column) = self.partitions.column(name, self.rows.len()) {
            return Ok(column);
        }
        let column = self.decode(name)?;
        self.partitions.check(&column, &self.name)?;
        Ok(column)
    }
}

fn decode(
    chunk: &ColumnChunkMetadata,
    column: &ColumnBytes,
    field: &ArrowField,
    filter: Option<Filter>,
) -> Result<Series, String> {
    let values_left = chunk.num_values() - i64::try_from(column.first_row).unwrap_or(i64::MAX);
    pages::check_values(&column.bytes, values_left)?;
    // A page's declared size is checked against what the chunk can hold, so that a damaged header cannot ask for more.
    let largest_page = usize::try_from(chunk.uncompressed_size().max(chunk.compressed_size())).unwrap_or(usize::MAX);
    let descriptor = chunk.descriptor().descriptor.clone();
    let about = PageMetaData::new(0, column.values, chunk.compression(), descriptor);
    let bytes = Cursor::new(column.bytes.clone());
    let pages = PageReader::new_with_page_meta(bytes, about, Vec::new(), largest_page.saturating_add(1024));
    let pages = BasicDecompressor::new(pages, Vec::new());
    let primitive = &chunk.descriptor().descriptor.primitive_type;
    let (arrays, _) = column_iter_to_arrays(vec![pages], vec![primitive], field.clone(), filter)
        .map_err(|error| error.to_string())?;
    let series = Series::try_from((field, arrays)).map_err(|error| error.to_string())?;
    plain_type(series).map_err(|error| error.to_string())
}

/// Dictionary-encoded strings as strings and decimals as floats, so that the rest need not know of them.
fn plain_type(series: Series) -> polars::prelude::PolarsResult<Series> {
    match series.dtype() {
        DataType::Categorical(..) | DataType::Enum(..) => series.cast(&DataType::String),
        DataType::Decimal(..) => series.cast(&DataType::Float64),
        _ => Ok(series),
    }
}
