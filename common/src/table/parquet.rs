//! Parquet in: footers and row groups by ranged reads, columns decoded one at a time by polars' decoder.
//!
//! polars' own file readers want the whole object or a memory map; ours must read only the needed columns of an object
//! in any store, and hold no more than one row group of compressed bytes. So the bytes are fetched here and only the
//! decoding is polars'. A decoder that panics on damaged bytes ends as an error that names the object.

use std::io::Cursor;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use polars::prelude::{ArrowField, DataType, Series};
use polars_arrow::datatypes::ArrowSchema;
use polars_buffer::Buffer;
use polars_parquet::read::{
    BasicDecompressor, ColumnChunkMetadata, FileMetadata, Filter, PageReader, RowGroupMetadata, column_iter_to_arrays,
    infer_schema,
};

use super::{ColumnKind, ColumnSchema, ColumnSource, TableSchema};
use crate::storage::{ObjectMeta, Store};
use crate::{Error, Result};

/// Bytes read from an object's end at first: enough for nearly every footer, so that one request serves.
const FOOTER_GUESS: u64 = 64 * 1024;
/// What stands behind the footer: its length and the magic.
const FOOTER_TAIL: u64 = 8;
/// Ranges closer than this are read as one: a request costs more than the bytes between.
const COALESCE_GAP: u64 = 256 * 1024;
/// Bytes of one ranged read, so that a wide row group is read by several at once.
const COALESCE_LIMIT: u64 = 8 * 1024 * 1024;
/// Ranged reads under way for one row group.
const CONCURRENT_READS: usize = 8;

/// One Parquet object: what its footer says.
#[derive(Debug, Clone)]
pub struct ParquetFile {
    name: Arc<str>,
    row_groups: Vec<RowGroupSize>,
    footer_bytes: u64,
    /// None where it is read again when it is needed.
    footer: Option<Arc<Footer>>,
}

/// What reading a row group takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowGroupSize {
    /// Its rows.
    pub rows: usize,
    /// Bytes that are fetched for the needed columns, gaps between them included where they are read along.
    pub fetched_bytes: u64,
    /// Uncompressed bytes of the largest needed column.
    pub column_bytes: u64,
}

#[derive(Debug)]
struct Footer {
    metadata: FileMetadata,
    schema: ArrowSchema,
}

impl ParquetFile {
    /// Reads the footer and the columns it declares. `name` is the object's full name, for messages; `needed` are the
    /// columns that will be fetched, where that is known.
    ///
    /// # Errors
    /// [`Error::Data`] where the object is not Parquet, is cut off or damaged; storage errors as they are.
    pub async fn open(
        store: &dyn Store,
        meta: &ObjectMeta,
        name: &str,
        needed: Option<&[String]>,
    ) -> Result<(Self, TableSchema)> {
        let (footer, footer_bytes) = Footer::read(store, meta, name).await?;
        let columns = footer.schema.iter_values().map(|field| column_schema(field, &footer.metadata)).collect();
        let table = TableSchema::new(columns, name)?;
        let row_groups = footer.metadata.row_groups.iter().map(|group| row_group_size(group, needed)).collect();
        Ok((Self { name: name.into(), row_groups, footer_bytes, footer: Some(Arc::new(footer)) }, table))
    }

    /// Drops the footer, which takes several times its bytes in memory: it is read again when rows are fetched.
    pub fn forget_footer(&mut self) {
        self.footer = None;
    }

    /// Bytes of the footer in the object, where it is kept.
    #[must_use]
    pub fn kept_footer_bytes(&self) -> u64 {
        if self.footer.is_some() { self.footer_bytes } else { 0 }
    }

    /// Rows of the object.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.row_groups.iter().map(|group| group.rows as u64).sum()
    }

    /// Rows and bytes of each row group, in order.
    #[must_use]
    pub fn row_groups(&self) -> &[RowGroupSize] {
        &self.row_groups
    }

    /// Reads the bytes of the named columns of one row group.
    ///
    /// # Errors
    /// Storage errors as they are; [`Error::Data`] where a column is missing, and where the object changed since it was
    /// opened.
    pub async fn fetch(
        &self,
        store: &dyn Store,
        meta: &ObjectMeta,
        row_group: usize,
        columns: &[String],
    ) -> Result<RowGroup> {
        let footer = match &self.footer {
            Some(footer) => Arc::clone(footer),
            None => Arc::new(Footer::read(store, meta, &self.name).await?.0),
        };
        let mut wanted = Vec::with_capacity(columns.len());
        for name in columns {
            wanted.push(footer.chunk(row_group, name, &self.name)?.byte_range());
        }
        let blocks = fetch_ranges(store, meta, coalesce(&wanted)).await?;
        let chunks = columns
            .iter()
            .zip(&wanted)
            .map(|(name, range)| Ok((name.clone(), slice_of(&blocks, range, &self.name)?)))
            .collect::<Result<_>>()?;
        let rows = footer.metadata.row_groups[row_group].num_rows();
        Ok(RowGroup { name: Arc::clone(&self.name), footer, row_group, rows: 0..rows, chunks: Arc::new(chunks) })
    }
}

impl Footer {
    /// Reads the footer of an object; also how many bytes it has there.
    async fn read(store: &dyn Store, meta: &ObjectMeta, name: &str) -> Result<(Self, u64)> {
        let bytes = read_footer(store, meta, name).await?;
        let footer_bytes = bytes.len() as u64;
        let (metadata, schema) = guard(name, "its footer", || {
            let metadata = polars_parquet::parquet::read::deserialize_metadata(Buffer::from_owner(bytes))
                .map_err(|error| error.to_string())?;
            let schema = infer_schema(&metadata).map_err(|error| error.to_string())?;
            Ok((metadata, schema))
        })?;
        check_ranges(&metadata, meta.size, name)?;
        Ok((Self { metadata, schema }, footer_bytes))
    }

    fn chunk(&self, row_group: usize, column: &str, object: &str) -> Result<&ColumnChunkMetadata> {
        let missing = || Error::Data(format!("{object}: column \"{column}\" is missing"));
        let group = self.metadata.row_groups.get(row_group).ok_or_else(missing)?;
        let mut chunks = group.columns_under_root_iter(column).ok_or_else(missing)?;
        match (chunks.next(), chunks.next()) {
            (Some(chunk), None) => Ok(chunk),
            _ => Err(Error::Data(format!("{object}: column \"{column}\" is nested and cannot be read: exclude it"))),
        }
    }
}

fn row_group_size(group: &RowGroupMetadata, needed: Option<&[String]>) -> RowGroupSize {
    let is_needed = |chunk: &&ColumnChunkMetadata| {
        let root = &chunk.descriptor().path_in_schema[0];
        needed.is_none_or(|needed| needed.iter().any(|name| name == root.as_str()))
    };
    let chunks: Vec<&ColumnChunkMetadata> = group.parquet_columns().iter().filter(is_needed).collect();
    let ranges: Vec<Range<u64>> = chunks.iter().map(|chunk| chunk.byte_range()).collect();
    RowGroupSize {
        rows: group.num_rows(),
        fetched_bytes: coalesce(&ranges).into_iter().map(|read| read.end - read.start).sum(),
        column_bytes: chunks.iter().map(|chunk| chunk.uncompressed_size().unsigned_abs()).max().unwrap_or(0),
    }
}

async fn fetch_ranges(store: &dyn Store, meta: &ObjectMeta, reads: Vec<Range<u64>>) -> Result<Vec<(u64, Bytes)>> {
    futures::stream::iter(reads)
        .map(|range| async move {
            let start = range.start;
            let bytes = store.get_range(&meta.key, range, &meta.version).await?;
            Ok::<_, Error>((start, bytes))
        })
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await
}

/// The fetched bytes of some columns of one row group, or of a range of its rows. Cheap to clone and to narrow.
#[derive(Debug, Clone)]
pub struct RowGroup {
    name: Arc<str>,
    footer: Arc<Footer>,
    row_group: usize,
    rows: Range<usize>,
    chunks: Arc<Vec<(String, Buffer<u8>)>>,
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
        let bytes = self.chunks.iter().find(|(column, _)| column == name).map(|(_, bytes)| bytes.clone());
        let bytes = bytes.ok_or_else(|| Error::Defect(format!("column \"{name}\" was not fetched")))?;
        let field =
            footer.schema.get(name).ok_or_else(|| Error::Data(format!("{object}: column \"{name}\" is missing")))?;
        let all_rows = footer.metadata.row_groups[self.row_group].num_rows();
        let filter = (self.rows != (0..all_rows)).then(|| Filter::new_ranged(self.rows.start, self.rows.end));
        let what = format!("column \"{name}\" of row group {}", self.row_group);
        let series = guard(object, &what, || decode_chunk(chunk, bytes, field, filter))?;
        if series.len() == self.rows.len() {
            return Ok(series);
        }
        let problem = format!("{} values where its footer says {}", series.len(), self.rows.len());
        Err(damaged(object, &what, &problem))
    }
}

impl ColumnSource for RowGroup {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn column(&self, name: &str) -> Result<Series> {
        self.decode(name)
    }
}

fn decode_chunk(
    chunk: &ColumnChunkMetadata,
    bytes: Buffer<u8>,
    field: &ArrowField,
    filter: Option<Filter>,
) -> Result<Series, String> {
    // A page's declared size is checked against what the chunk can hold, so that a damaged header cannot ask for more.
    let largest_page = usize::try_from(chunk.uncompressed_size().max(chunk.compressed_size())).unwrap_or(usize::MAX);
    let pages = PageReader::new(Cursor::new(bytes), chunk, Vec::new(), largest_page.saturating_add(1024));
    let column = BasicDecompressor::new(pages, Vec::new());
    let primitive = &chunk.descriptor().descriptor.primitive_type;
    let (arrays, _) = column_iter_to_arrays(vec![column], vec![primitive], field.clone(), filter)
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

/// The schema of one top-level field; anything with more than one leaf is nested.
fn column_schema(field: &ArrowField, metadata: &FileMetadata) -> ColumnSchema {
    let dtype = catch_unwind(|| DataType::from_arrow_field(field)).unwrap_or(DataType::Unknown(Default::default()));
    let leaves = metadata.schema().columns().iter().filter(|leaf| leaf.path_in_schema[0] == field.name).count();
    let kind = if leaves == 1 { ColumnKind::of(&dtype) } else { ColumnKind::Unsupported };
    ColumnSchema { name: field.name.to_string(), kind, dtype }
}

async fn read_footer(store: &dyn Store, meta: &ObjectMeta, name: &str) -> Result<Bytes> {
    let tail_start = meta.size.saturating_sub(FOOTER_GUESS);
    let tail = store.get_range(&meta.key, tail_start..meta.size, &meta.version).await?;
    let footer_len = footer_length(&tail).map_err(|problem| not_parquet(name, &problem))?;
    let needed = footer_len + FOOTER_TAIL;
    if needed > meta.size {
        return Err(not_parquet(name, "its footer is longer than the object"));
    }
    let footer_start = meta.size - needed;
    if footer_start >= tail_start {
        let from = (footer_start - tail_start) as usize;
        return Ok(tail.slice(from..from + footer_len as usize));
    }
    Ok(store.get_range(&meta.key, footer_start..meta.size - FOOTER_TAIL, &meta.version).await?)
}

fn footer_length(tail: &[u8]) -> Result<u64, String> {
    let Some((_, end)) = tail.split_last_chunk::<8>() else {
        return Err("it is too short".to_owned());
    };
    match end {
        [a, b, c, d, b'P', b'A', b'R', b'1'] => Ok(u64::from(u32::from_le_bytes([*a, *b, *c, *d]))),
        [_, _, _, _, b'P', b'A', b'R', b'E'] => Err("its footer is encrypted".to_owned()),
        _ => Err("it does not end with the magic PAR1, so it is cut off or something else".to_owned()),
    }
}

fn not_parquet(name: &str, problem: &str) -> Error {
    Error::Data(format!("{name} is not a readable Parquet file: {problem}; write it again or remove it"))
}

fn damaged(name: &str, what: &str, problem: &str) -> Error {
    let problem = problem.lines().next().unwrap_or_default();
    Error::Data(format!("{name}: {what} cannot be decoded: {problem}; write the object again or remove it"))
}

/// Runs a decoder over untrusted bytes: its errors and its panics both name the object.
fn guard<T>(name: &str, what: &str, decode: impl FnOnce() -> Result<T, String>) -> Result<T> {
    match crate::panics::expected_within(|| catch_unwind(AssertUnwindSafe(decode))) {
        Ok(result) => result.map_err(|problem| damaged(name, what, &problem)),
        Err(_) => Err(damaged(name, what, "its bytes are damaged")),
    }
}

/// A footer that points outside the object is damaged; finding that out here keeps every later read in bounds.
fn check_ranges(metadata: &FileMetadata, size: u64, name: &str) -> Result<()> {
    for (index, group) in metadata.row_groups.iter().enumerate() {
        let negative = |chunk: &ColumnChunkMetadata| {
            chunk.compressed_size() < 0 || chunk.uncompressed_size() < 0 || chunk.num_values() < 0
        };
        let outside = |chunk: &ColumnChunkMetadata| chunk.byte_range().end > size;
        if group.parquet_columns().iter().any(|chunk| negative(chunk) || outside(chunk)) {
            let what = format!("row group {index}");
            return Err(damaged(name, &what, "its footer points outside the object"));
        }
    }
    Ok(())
}

/// Joins ranges that lie close together, in the order of their offsets, into reads of bounded size.
fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    let mut reads: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match reads.last_mut() {
            Some(last) if range.start <= last.end + COALESCE_GAP && range.end - last.start <= COALESCE_LIMIT => {
                last.end = last.end.max(range.end);
            }
            _ => reads.push(range),
        }
    }
    reads
}

fn slice_of(blocks: &[(u64, Bytes)], range: &Range<u64>, name: &str) -> Result<Buffer<u8>> {
    let holds = |(start, bytes): &&(u64, Bytes)| *start <= range.start && range.end <= start + bytes.len() as u64;
    let (start, bytes) = blocks
        .iter()
        .find(holds)
        .ok_or_else(|| Error::Storage(format!("{name}: storage returned fewer bytes than asked for")))?;
    let from = (range.start - start) as usize;
    let to = (range.end - start) as usize;
    Ok(Buffer::from_owner(bytes.slice(from..to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_ranges_are_read_as_one_and_far_ones_apart() {
        let reads = coalesce(&[100..200, 0..100, 300..400, 10_000_000..10_000_100]);
        assert_eq!(reads, vec![0..400, 10_000_000..10_000_100]);
    }

    #[test]
    fn a_read_does_not_grow_past_its_limit() {
        let reads = coalesce(&[0..COALESCE_LIMIT, COALESCE_LIMIT..COALESCE_LIMIT + 1]);
        assert_eq!(reads.len(), 2);
    }

    #[test]
    fn a_footer_is_found_by_its_magic() {
        assert_eq!(footer_length(b"xxxx\x05\0\0\0PAR1"), Ok(5));
        assert!(footer_length(b"garbage garbage").is_err());
        assert!(footer_length(b"PAR1").is_err());
    }
}
