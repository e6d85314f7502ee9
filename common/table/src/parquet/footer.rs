//! What the end of a Parquet object says about the rest of it, in a form that is small in memory: what its columns are, which
//! objects of one writer share, and of every column chunk that may be read where it lies.
//!
//! polars' own form takes some 250 bytes a chunk and a table of names for each row group: 50,000 row groups of 20 columns took
//! more than a GiB. Here a chunk takes 32 bytes, so that footers are read once and kept.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use polars_parquet::parquet::compression::Compression;
use polars_parquet::parquet::schema::types::PhysicalType;
use polars_parquet_format::CompressionCodec;

use super::damage::{guard, not_parquet};
use super::opening::Opening;
use super::ranges::{READ_MOST, coalesce};
use super::schema::{FileSchema, Leaf, missing};
use super::thrift::{self, RawChunk};
use super::{RowGroupSize, row_counts};
use crate::file_kind;
use columns::TableSchema;
use error::{Error, Result};
use storage::{ObjectMeta, Store};

/// Bytes read from an object's end at first: enough for nearly every footer, so that one request serves.
const FOOTER_GUESS: u64 = 64 * 1024;
/// Bytes of an object's start that tell what it is where it is no Parquet.
const HEAD: u64 = 512;
/// What stands behind the footer: its length and the magic.
const FOOTER_TAIL: u64 = 8;
/// Texts of more bytes on average are long.
const LONG_TEXT_BYTES: u64 = 32;
/// Fewest bytes of a footer that a column chunk takes.
const CHUNK_BYTES_LEAST: usize = 14;

/// Where a column chunk lies, and how it is compressed. The footer was checked: it lies within its object.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    start: u64,
    compressed: u64,
    uncompressed: u64,
    /// Bytes before the first data page.
    before_data: u32,
    codec: Compression,
}

/// A column chunk of a row group, by what its footer says.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkOf<'a> {
    pub(super) leaf: &'a Leaf,
    /// Where it lies in the object.
    pub(super) range: (u64, u64),
    /// Bytes before the first data page.
    pub(super) before_data: u64,
    pub(super) uncompressed: u64,
    pub(super) codec: Compression,
    /// Values, nulls included.
    pub(super) values: i64,
}

impl ChunkOf<'_> {
    pub(super) fn range(&self) -> Range<u64> {
        self.range.0..self.range.1
    }

    /// Bytes of it.
    pub(super) fn len(&self) -> u64 {
        self.range.1 - self.range.0
    }
}

/// A footer, checked to point nowhere but into its object.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) schema: Arc<FileSchema>,
    /// Rows and bytes of each row group.
    pub(super) row_groups: Vec<RowGroupSize>,
    /// Chunks of the leaves that are kept, row group by row group.
    chunks: Vec<Chunk>,
    /// Values of chunks that have other than one a row: by row group and leaf.
    values: HashMap<(usize, usize), i64>,
    /// Leaves of texts that are long in a row group.
    long_texts: Vec<usize>,
    /// Leaves that have no value in any row group, by their statistics.
    empty: Vec<usize>,
}

/// A footer that was read, and what was read besides.
pub(super) struct ReadFooter {
    pub(super) footer: Footer,
    /// The object, where it is small and there is room for it: the place of the first byte, and the bytes up to the footer.
    pub(super) content: Option<(u64, Bytes)>,
}

impl Footer {
    /// Reads the footer of an object.
    pub(super) async fn read(
        store: &dyn Store,
        meta: &ObjectMeta,
        name: &str,
        opening: &Opening,
    ) -> Result<ReadFooter> {
        let tail_start = meta.size.saturating_sub(FOOTER_GUESS);
        let tail = store.get_range(meta, tail_start..meta.size).await?;
        let footer_len = match footer_length(&tail) {
            Ok(length) => length,
            Err(problem) => return Err(something_else(store, meta, name, &problem).await?),
        };
        let needed = footer_len + FOOTER_TAIL;
        if needed > meta.size {
            return Err(not_parquet(name, "its footer is longer than the object"));
        }
        let footer_start = meta.size - needed;
        if footer_start >= tail_start {
            let from = (footer_start - tail_start) as usize;
            let bytes = &tail[from..from + footer_len as usize];
            let footer = Self::parse(bytes, meta.size, name, opening)?;
            let whole = if tail_start == 0 { footer.span() } else { None };
            let content = whole.and_then(|span| {
                let bytes = tail.get(span.start as usize..span.end as usize)?;
                opening.keep(bytes.len() as u64).then(|| (span.start, Bytes::copy_from_slice(bytes)))
            });
            return Ok(ReadFooter { footer, content });
        }
        drop(tail);
        let _room = opening.room_for_footer(footer_len, name).await?;
        let bytes = read_in_order(store, meta, footer_start..meta.size - FOOTER_TAIL).await?;
        let footer = Self::parse(&bytes, meta.size, name, opening)?;
        Ok(ReadFooter { footer, content: None })
    }

    fn parse(bytes: &[u8], size: u64, name: &str, opening: &Opening) -> Result<Self> {
        let parts = guard(name, "its footer", || thrift::taken_apart(bytes))?;
        let (schema, schema_bytes) = opening.schemas.of(parts.head, opening.needed(), name)?;
        let groups = bytes.get(parts.row_groups).unwrap_or_default();
        let list = guard(name, "its footer", || thrift::RowGroups::new(groups))?;
        // No more than there can be in so many bytes, whatever the list says.
        let most = groups.len() / (schema.leaves.len() * CHUNK_BYTES_LEAST).max(1) + 1;
        let likely = most.min(usize::try_from(list.left()).unwrap_or(usize::MAX));
        let kept = schema.kept * size_of::<Chunk>() + size_of::<RowGroupSize>();
        opening.take(schema_bytes + (likely * kept) as u64, name)?;
        let mut footer = Self {
            row_groups: Vec::with_capacity(likely),
            chunks: Vec::with_capacity(likely * schema.kept),
            values: HashMap::new(),
            long_texts: Vec::new(),
            empty: Vec::new(),
            schema,
        };
        guard(name, "its footer", || footer.add_groups(list, parts.rows, size))?;
        Ok(footer)
    }

    fn add_groups(&mut self, mut list: thrift::RowGroups<'_>, claimed: Option<i64>, size: u64) -> Result<(), String> {
        let (mut raw, mut needed) = (Vec::new(), Vec::new());
        let (mut group, mut rows_of_all) = (0, 0_u64);
        while list.left() > 0 {
            let rows = list.next(&mut raw)?.unsigned_abs();
            let leaves = &self.schema.leaves;
            if raw.len() != leaves.len() {
                return Err(format!("row group {group} has {} columns of {}", raw.len(), leaves.len()));
            }
            if !raw.iter().all(|chunk| lies_within(chunk, size)) {
                return Err(format!("it says that row group {group} lies outside the object"));
            }
            row_counts::check_group(&raw, leaves, rows)
                .map_err(|problem| format!("it says that row group {group} has {rows} rows, but {problem}"))?;
            rows_of_all = rows_of_all.checked_add(rows).ok_or("its row groups have more rows than can be counted")?;
            self.add_group(group, &raw, rows, &mut needed)?;
            group += 1;
        }
        let claimed = claimed.ok_or("it does not say how many rows it has")?;
        if u64::try_from(claimed) != Ok(rows_of_all) {
            return Err(format!("it says that it has {claimed} rows, but its row groups have {rows_of_all}"));
        }
        Ok(())
    }

    fn add_group(
        &mut self,
        group: usize,
        raw: &[RawChunk],
        rows: u64,
        needed: &mut Vec<Range<u64>>,
    ) -> Result<(), String> {
        let is_empty = |chunk: &RawChunk| chunk.nulls == Some(chunk.values);
        match group {
            0 => self.empty.extend(raw.iter().enumerate().filter(|(_, chunk)| is_empty(chunk)).map(|(place, _)| place)),
            _ => self.empty.retain(|place| is_empty(&raw[*place])),
        }
        needed.clear();
        let mut column_bytes = 0;
        for (place, (chunk, leaf)) in raw.iter().zip(&self.schema.leaves).enumerate() {
            let codec = Compression::try_from(CompressionCodec(chunk.codec)).map_err(|error| error.to_string())?;
            if !leaf.is_needed {
                continue;
            }
            let (range, uncompressed) = (range_of(chunk), chunk.uncompressed.unsigned_abs());
            column_bytes = column_bytes.max(uncompressed);
            needed.push(range.clone());
            if leaf.kept.is_none() {
                continue;
            }
            if chunk.values.unsigned_abs() != rows {
                self.values.insert((group, place), chunk.values);
            }
            let is_text = leaf.descriptor.primitive_type.physical_type == PhysicalType::ByteArray;
            let is_long = uncompressed > LONG_TEXT_BYTES.saturating_mul(chunk.values.unsigned_abs());
            if is_text && is_long && !self.long_texts.contains(&place) {
                self.long_texts.push(place);
            }
            let before_data = chunk.data_page.unsigned_abs().clamp(range.start, range.end) - range.start;
            self.chunks.push(Chunk {
                start: range.start,
                compressed: range.end - range.start,
                uncompressed,
                before_data: u32::try_from(before_data).unwrap_or(u32::MAX),
                codec,
            });
        }
        let rows = usize::try_from(rows).map_err(|error| error.to_string())?;
        let fetched_bytes = coalesce(needed).into_iter().map(|read| read.end - read.start).sum();
        let start = needed.iter().map(|range| range.start).min().unwrap_or_default();
        let end = needed.iter().map(|range| range.end).max().unwrap_or_default();
        self.row_groups.push(RowGroupSize { rows, fetched_bytes, column_bytes, start, end });
        Ok(())
    }

    /// The columns that it declares.
    pub(super) fn table_schema(&self) -> Arc<TableSchema> {
        let table = &self.schema.table;
        let name = |place: &usize| {
            let path = self.schema.leaves[*place].path.as_str();
            self.schema.leaf(path, "").is_ok_and(|leaf| leaf == *place).then_some(path)
        };
        let names = self.empty.iter().filter_map(name);
        if self.empty.is_empty() { Arc::clone(table) } else { Arc::new(table.with_empty_columns(names)) }
    }

    /// Rows of a row group.
    pub(super) fn rows(&self, row_group: usize) -> usize {
        self.row_groups.get(row_group).map_or(0, |group| group.rows)
    }

    /// The only chunk of a column that is not nested.
    pub(super) fn chunk(&self, row_group: usize, column: &str, object: &str) -> Result<ChunkOf<'_>> {
        let leaf = self.schema.leaf(column, object)?;
        self.chunk_of(row_group, leaf).ok_or_else(|| missing(object, column))
    }

    /// The chunk of a leaf.
    pub(super) fn chunk_of(&self, row_group: usize, place: usize) -> Option<ChunkOf<'_>> {
        let leaf = self.schema.leaves.get(place)?;
        let rows = self.row_groups.get(row_group)?.rows;
        let chunk = self.chunks.get(row_group * self.schema.kept + leaf.kept?)?;
        Some(ChunkOf {
            leaf,
            range: (chunk.start, chunk.start + chunk.compressed),
            before_data: u64::from(chunk.before_data),
            uncompressed: chunk.uncompressed,
            codec: chunk.codec,
            values: self.values_of(row_group, place).unwrap_or(rows as i64),
        })
    }

    /// Values of a chunk that has other than one a row.
    fn values_of(&self, row_group: usize, place: usize) -> Option<i64> {
        if self.values.is_empty() { None } else { self.values.get(&(row_group, place)).copied() }
    }

    /// Bytes of the texts of a column in a row group, without compression, where they are long on average in any of them.
    pub(super) fn long_text_bytes(&self, column: &str, row_group: usize) -> Option<u64> {
        if self.long_texts.is_empty() {
            return None;
        }
        let leaf = self.schema.leaf(column, "").ok().filter(|leaf| self.long_texts.contains(leaf))?;
        self.chunk_of(row_group, leaf).map(|chunk| chunk.uncompressed)
    }

    /// The bytes of the object from the first chunk that is kept to the last.
    fn span(&self) -> Option<Range<u64>> {
        let start = self.chunks.iter().map(|chunk| chunk.start).min()?;
        Some(start..self.chunks.iter().map(|chunk| chunk.start + chunk.compressed).max()?)
    }
}

/// Reads a range as long as it may be, a few MiB at a time.
async fn read_in_order(store: &dyn Store, meta: &ObjectMeta, range: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + READ_MOST);
        bytes.extend_from_slice(&store.get_range(meta, at..end).await?);
        at = end;
    }
    Ok(bytes)
}

/// The error of an object without a footer, which says what the object is where its first bytes tell.
async fn something_else(store: &dyn Store, meta: &ObjectMeta, name: &str, problem: &str) -> Result<Error> {
    let head = store.get_range(meta, 0..meta.size.min(HEAD)).await?;
    if head.starts_with(b"PAR1") {
        return Ok(not_parquet(name, problem));
    }
    if let Some(kind) = file_kind::recognise(&head) {
        return Ok(Error::Data(format!("{name} is not Parquet but is {}: {}", kind.what, kind.advice)));
    }
    if file_kind::is_like_csv(&head) {
        return Ok(Error::Data(format!("{name} is not Parquet but seems to be CSV: name it .csv")));
    }
    Ok(not_parquet(name, problem))
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

/// A footer that points outside the object is damaged; finding that out here keeps every later read in bounds.
fn lies_within(chunk: &RawChunk, size: u64) -> bool {
    let numbers = [chunk.compressed, chunk.uncompressed, chunk.values, chunk.data_page];
    let is_negative = numbers.into_iter().chain(chunk.dictionary_page).any(i64::is_negative);
    !is_negative && range_of(chunk).end <= size
}

/// Where a chunk lies, if none of its numbers is negative.
fn range_of(chunk: &RawChunk) -> Range<u64> {
    let start = chunk.dictionary_page.unwrap_or(chunk.data_page).unsigned_abs();
    start..start.saturating_add(chunk.compressed.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_is_found_by_its_magic() {
        assert_eq!(footer_length(b"xxxx\x05\0\0\0PAR1"), Ok(5));
        assert!(footer_length(b"garbage garbage").is_err());
        assert!(footer_length(b"PAR1").is_err());
    }

    #[test]
    fn a_chunk_takes_few_bytes() {
        assert_eq!(size_of::<Chunk>(), 32);
    }
}
