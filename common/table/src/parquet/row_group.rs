//! Fetched bytes of some columns of a row group, and their values.

use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use polars::prelude::{ArrowField, Series};
use polars_arrow::array::Array;
use polars_buffer::Buffer;
use polars_parquet::parquet::compression::Compression;
use polars_parquet::parquet::read::PageMetaData;
use polars_parquet::read::{BasicDecompressor, Filter, PageReader, column_iter_to_arrays};

use super::by_dictionary::ByDictionary;
use super::damage::{damaged, guard};
use super::footer::{ChunkOf, Footer};
use super::pages::{self, Window, has_context, unpacked_bytes};
use super::plain::PlainNumbers;
use super::ranges::slice_of;
use super::types::Unfit;
use crate::partitions::PartitionValues;
use columns::convert::convert;
use columns::{CodedRows, ColumnSource, TableSchema};
use error::{Error, Result};
use machine::memory::Reservation;

/// What is smaller is in the plan's margin.
const COUNTED_FROM: u64 = 1 << 20;

/// The fetched bytes of some columns of one row group, or of a range of its rows. Cheap to clone and to narrow.
#[derive(Debug, Clone)]
pub struct RowGroup {
    pub(super) name: Arc<str>,
    pub(super) footer: Arc<Footer>,
    pub(super) row_group: usize,
    /// Which of its rows are decoded.
    pub(super) rows: Range<usize>,
    pub(super) bytes: GroupBytes,
    /// The types that columns have in all objects of the table.
    pub(super) types: Arc<TableSchema>,
    /// The columns out of the names of the object's folders.
    pub(super) partitions: PartitionValues,
}

/// Where the bytes of a row group's columns are.
#[derive(Debug, Clone)]
pub(super) enum GroupBytes {
    /// Column chunks as they lie in the object, with those of other row groups.
    Whole(Arc<Blocks>),
    /// Columns of some rows of the row group, each by itself.
    Paged(Arc<Vec<ColumnBytes>>),
}

/// Parts of an object that were read.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Each with the place of its first byte, in the order of those.
    pub(super) read: Vec<(u64, Bytes)>,
    /// Column chunks that were read once more, since their bytes did not have their checksum.
    pub(super) again: Vec<(u64, Bytes)>,
}

impl Blocks {
    pub(super) fn bytes_of(&self, chunk: &ChunkOf<'_>, object: &str) -> Result<Buffer<u8>> {
        let is_same = |(start, bytes): &&(u64, Bytes)| *start == chunk.range.0 && bytes.len() as u64 >= chunk.len();
        match self.again.iter().find(is_same) {
            Some((start, bytes)) => slice_of(&[(*start, bytes.clone())], &chunk.range(), object),
            None => slice_of(&self.read, &chunk.range(), object),
        }
    }
}

/// The bytes of one column: its dictionary, if it has one, and pages that hold at least the rows that are decoded.
#[derive(Debug)]
pub(super) struct ColumnBytes {
    /// Which of the object's columns of bytes it is.
    pub(super) leaf: usize,
    pub(super) pages: Pages,
}

/// Pages of a column.
#[derive(Debug, Clone)]
pub(super) struct Pages {
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

    /// Of those rows that will be decoded, only `rows`.
    pub(super) fn within(&self, rows: Range<usize>) -> Self {
        let start = self.rows.start;
        self.narrowed(start + rows.start..start + rows.end)
    }

    /// The chunk of a column, and those of its pages that were fetched.
    fn pages_of(&self, name: &str) -> Result<(ChunkOf<'_>, Pages)> {
        let (object, footer) = (&self.name, &self.footer);
        let leaf = footer.schema.leaf(name, object)?;
        let missing = || Error::Defect(format!("column \"{name}\" was not fetched"));
        let chunk = footer.chunk_of(self.row_group, leaf).ok_or_else(missing)?;
        let pages = match &self.bytes {
            GroupBytes::Whole(blocks) => {
                Pages { bytes: blocks.bytes_of(&chunk, object)?, values: chunk.values, first_row: 0 }
            }
            GroupBytes::Paged(columns) => {
                columns.iter().find(|column| column.leaf == leaf).ok_or_else(missing)?.pages.clone()
            }
        };
        Ok((chunk, pages))
    }

    fn decode(&self, name: &str) -> Result<Series> {
        let (object, footer) = (&self.name, &self.footer);
        let (chunk, pages) = self.pages_of(name)?;
        let parquet = footer.schema.column(name, object)?;
        let what = format!("column {name:?} of row group {}", self.row_group);
        let _memory = self.reserve(&pages, &what)?;
        let arrays = guard(object, &what, || decode(&chunk, &pages, &parquet.field, self.rows_within(&pages)))?;
        let series = guard(object, &what, || Ok(parquet.series(arrays)))?.map_err(|unfit| match unfit {
            Unfit::Damaged(problem) => damaged(object, &what, &problem),
            Unfit::NoText => Error::Data(format!(
                "{object}: {what} holds binary data that is no UTF-8 text: write it as text, a UUID with its 36 characters; a \
                 feature can also be left out (`exclude` in the feature spec)"
            )),
            Unfit::Unsupported => Error::Data(format!(
                "{object}: {what} has a type that cannot be read: leave it out (add it to `exclude` in the feature spec)"
            )),
            Unfit::NoTimeOfDay => Error::Data(format!(
                "{object}: {what} holds times of day that no day has, of 24 hours and more or before midnight: write a duration, or \
                 a number of seconds"
            )),
            Unfit::TooManyDigits => Error::Data(format!(
                "{object}: {what} holds a decimal of more than 38 digits, which cannot be kept: write it with fewer, or as text"
            )),
        })?;
        if series.len() != self.rows.len() {
            let problem = format!("{} values where its footer says {}", series.len(), self.rows.len());
            return Err(damaged(object, &what, &problem));
        }
        self.in_type_of_table(name, series)
    }

    /// Room for what the pages say that they hold, before the decoder makes it.
    fn reserve(&self, pages: &Pages, what: &str) -> Result<Option<Reservation>> {
        let from_first = |row: usize| row.saturating_sub(pages.first_row);
        let rows = from_first(self.rows.start)..from_first(self.rows.end);
        let bytes = unpacked_bytes(&pages.bytes, &rows);
        if bytes < COUNTED_FROM {
            return Ok(None);
        }
        let mut memory = Reservation::new(&format!("{}: {what}", self.name));
        memory.resize(bytes)?;
        Ok(Some(memory))
    }

    /// The column with the type that it has in all objects together.
    fn in_type_of_table(&self, name: &str, series: Series) -> Result<Series> {
        let Some(column) = self.types.get(name).filter(|column| column.dtype != *series.dtype()) else {
            return Ok(series);
        };
        convert(&series, &column.dtype).map_err(|misfit| {
            let place = format!("row {} of row group {}", self.rows.start + misfit.row + 1, self.row_group);
            column.misfit(&self.name, &place, &misfit.value)
        })
    }

    /// The rows to decode, counted within the fetched pages, and whether they are all of the row group.
    fn rows_within(&self, pages: &Pages) -> (Range<usize>, bool) {
        let from_first = |row: usize| row.saturating_sub(pages.first_row);
        let is_all = self.rows == (0..self.footer.rows(self.row_group));
        (from_first(self.rows.start)..from_first(self.rows.end), is_all)
    }

    /// Whether the rows of a column can be read by its dictionary, as far as headers tell.
    pub(super) fn is_by_dictionary(&self, name: &str) -> bool {
        let Ok((chunk, pages)) = self.pages_of(name) else { return false };
        let (rows, _) = self.rows_within(&pages);
        let most = unpacked_most(&chunk, rows.len());
        !self.partitions.has(name)
            && guard(&self.name, name, || Ok(ByDictionary::of(&pages.bytes, &chunk, rows, most).is_some()))
                .is_ok_and(|is| is)
    }

    /// The rows of a column by its dictionary, where they can be read so.
    pub(super) fn by_dictionary(&self, name: &str) -> Option<CodedRows> {
        if self.partitions.has(name) {
            return None;
        }
        let (chunk, pages) = self.pages_of(name).ok()?;
        let parquet = self.footer.schema.column(name, &self.name).ok()?;
        let what = format!("column {name:?} of row group {}", self.row_group);
        let (rows, _) = self.rows_within(&pages);
        let most = unpacked_most(&chunk, rows.len());
        let read = guard(&self.name, &what, || {
            check_values(&chunk, &pages)?;
            let Some(column) = ByDictionary::of(&pages.bytes, &chunk, rows, most) else { return Ok(None) };
            let Some((values, codes)) = column.pages_of_values().zip(column.codes()) else { return Ok(None) };
            let pages = BytesOfPages {
                codec: Compression::Uncompressed,
                values: i64::try_from(column.values()).map_err(|error| error.to_string())?,
                largest_page: values.len(),
                bytes: Buffer::from_vec(values),
            };
            let arrays = pages.decode(&chunk, &parquet.field, None)?;
            let values = parquet.series(arrays).ok().filter(|values| values.len() == column.values());
            Ok(values.map(|values| (values, codes)))
        });
        let (values, codes) = read.ok()??;
        CodedRows::new(self.in_type_of_table(name, values).ok()?, codes)
    }

    /// Calls `read` with the numbers of a column, where its pages have plain ones of the table's type, as far as headers tell.
    fn with_plain_numbers<T>(&self, name: &str, read: impl FnOnce(PlainNumbers<'_>) -> Option<T>) -> Option<T> {
        if self.partitions.has(name) {
            return None;
        }
        let (chunk, pages) = self.pages_of(name).ok()?;
        let dtype = &self.footer.schema.column(name, &self.name).ok()?.dtype;
        if self.types.get(name).is_some_and(|column| column.dtype != *dtype) {
            return None;
        }
        let (rows, _) = self.rows_within(&pages);
        let most = unpacked_most(&chunk, rows.len());
        let read = guard(&self.name, name, || {
            check_values(&chunk, &pages)?;
            Ok(PlainNumbers::of(&pages.bytes, &chunk, dtype, rows, most).and_then(read))
        });
        read.ok()?
    }

    /// Whether the rows of a column can be read as plain numbers, as far as headers tell.
    pub(super) fn has_plain_numbers(&self, name: &str) -> bool {
        self.with_plain_numbers(name, |_| Some(())).is_some()
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

    fn coded_column(&self, name: &str) -> Option<Vec<CodedRows>> {
        Some(vec![self.by_dictionary(name)?])
    }

    fn numbers(&self, name: &str, take: &mut dyn FnMut(&mut [f64])) -> Option<()> {
        self.with_plain_numbers(name, |numbers| numbers.hand_over(take))
    }
}

/// Most bytes of pages that are unpacked at once, whatever the rows: larger ones are unpacked one by one.
const UNPACKED_MOST: usize = 4 << 20;
/// As many for each row: what plans of memory count for a decoded value and it once more.
const UNPACKED_OF_A_ROW: usize = 24;
/// As many of few rows.
const UNPACKED_LEAST: usize = 2 << 20;

/// Most bytes of pages of so many rows of a chunk that are unpacked at once. A page's declared size is checked against what the chunk
/// can hold, so that a damaged header cannot ask for more.
fn unpacked_most(chunk: &ChunkOf<'_>, rows: usize) -> usize {
    largest_page(chunk).min(rows.saturating_mul(UNPACKED_OF_A_ROW).clamp(UNPACKED_LEAST, UNPACKED_MOST))
}

/// Most bytes of a page, compressed or not.
fn largest_page(chunk: &ChunkOf<'_>) -> usize {
    usize::try_from(chunk.uncompressed.max(chunk.range.1 - chunk.range.0)).unwrap_or(usize::MAX)
}

/// Pages that polars' decoder reads.
struct BytesOfPages {
    bytes: Buffer<u8>,
    codec: Compression,
    values: i64,
    largest_page: usize,
}

impl BytesOfPages {
    fn decode(
        self,
        chunk: &ChunkOf<'_>,
        field: &ArrowField,
        filter: Option<Filter>,
    ) -> Result<Vec<Box<dyn Array>>, String> {
        let descriptor = chunk.leaf.descriptor.clone();
        let primitive = &chunk.leaf.descriptor.primitive_type;
        let about = PageMetaData::new(0, self.values, self.codec, descriptor);
        let most = self.largest_page.saturating_add(1024);
        let pages = PageReader::new_with_page_meta(Cursor::new(self.bytes), about, Vec::new(), most);
        let pages = BasicDecompressor::new(pages, Vec::new());
        let (arrays, _) = column_iter_to_arrays(vec![pages], vec![primitive], field.clone(), filter)
            .map_err(|error| error.to_string())?;
        Ok(arrays)
    }
}

/// Checks that pages have no more values than their chunk says that are left from their first row on.
fn check_values(chunk: &ChunkOf<'_>, pages: &Pages) -> Result<(), String> {
    let values_left = chunk.values - i64::try_from(pages.first_row).unwrap_or(i64::MAX);
    pages::check_values(&pages.bytes, values_left)
}

/// The values of `rows`, counted within the pages, which may be all of the row group.
fn decode(
    chunk: &ChunkOf<'_>,
    pages_of: &Pages,
    field: &ArrowField,
    (rows, is_all): (Range<usize>, bool),
) -> Result<Vec<Box<dyn Array>>, String> {
    check_values(chunk, pages_of)?;
    let largest_page = largest_page(chunk);
    if has_context(chunk.codec) && !chunk.leaf.repeats() {
        let most = unpacked_most(chunk, rows.len());
        let window = Window::of(&pages_of.bytes, &rows, most);
        if let Some(window) = window
            && let Some(unpacked) = window.unpacked(chunk.codec)
        {
            let (start, end) = (rows.start - window.first, rows.end - window.first);
            let filter = (start > 0 || end < window.values).then(|| Filter::new_ranged(start, end));
            let values = i64::try_from(window.values).map_err(|error| error.to_string())?;
            let (bytes, codec) = (Buffer::from_vec(unpacked), Compression::Uncompressed);
            return BytesOfPages { bytes, codec, values, largest_page }.decode(chunk, field, filter);
        }
    }
    let filter = (!is_all).then(|| Filter::new_ranged(rows.start, rows.end));
    let (bytes, codec, values) = (pages_of.bytes.clone(), chunk.codec, pages_of.values);
    BytesOfPages { bytes, codec, values, largest_page }.decode(chunk, field, filter)
}
