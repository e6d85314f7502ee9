//! What the end of a Parquet object says about the rest of it.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use polars_buffer::Buffer;
use polars_parquet::read::{ColumnChunkMetadata, FileMetadata, RowGroupMetadata};

use super::damage::{guard, not_parquet};
use super::types::{ParquetColumn, columns_of};
use super::{row_counts, thrift};
use crate::file_kind;
use columns::{ColumnSchema, TableSchema};
use error::{Error, Result};
use storage::{ObjectMeta, Store};

/// Bytes read from an object's end at first: enough for nearly every footer, so that one request serves.
const FOOTER_GUESS: u64 = 64 * 1024;
/// Bytes of an object's start that tell what it is where it is no Parquet.
const HEAD: u64 = 512;
/// What stands behind the footer: its length and the magic.
const FOOTER_TAIL: u64 = 8;

/// A footer, checked to point nowhere but into its object.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) metadata: FileMetadata,
    /// The top-level columns, in order.
    columns: Vec<ParquetColumn>,
    /// The place of each, by name.
    places: HashMap<String, usize>,
}

impl Footer {
    /// Reads the footer of an object; also how many bytes it has there.
    pub(super) async fn read(store: &dyn Store, meta: &ObjectMeta, name: &str) -> Result<(Self, u64)> {
        let bytes = read_bytes(store, meta, name).await?;
        let footer_bytes = bytes.len() as u64;
        let (metadata, columns) = guard(name, "its footer", || {
            let bytes = match thrift::checked(&bytes)? {
                Cow::Borrowed(_) => Buffer::from_owner(bytes),
                Cow::Owned(hidden) => Buffer::from(hidden),
            };
            let metadata =
                polars_parquet::parquet::read::deserialize_metadata(bytes).map_err(|error| error.to_string())?;
            check_ranges(&metadata, meta.size)?;
            row_counts::check(&metadata)?;
            let columns = columns_of(&metadata);
            Ok((metadata, columns))
        })?;
        let places = columns.iter().enumerate().map(|(place, column)| (column.field.name.to_string(), place)).collect();
        Ok((Self { metadata, columns, places }, footer_bytes))
    }

    /// The columns that it declares.
    pub(super) fn table_schema(&self, name: &str) -> Result<TableSchema> {
        let column = |column: &ParquetColumn| ColumnSchema::new(&column.field.name, column.dtype.clone());
        TableSchema::new(self.columns.iter().map(column).collect(), name)
    }

    /// How the values of a column are read.
    pub(super) fn column(&self, column: &str, object: &str) -> Result<&ParquetColumn> {
        let place = self.places.get(column);
        place.map(|&place| &self.columns[place]).ok_or_else(|| missing(object, column))
    }

    /// The only chunk of a column that is not nested.
    pub(super) fn chunk(&self, row_group: usize, column: &str, object: &str) -> Result<&ColumnChunkMetadata> {
        let missing = || missing(object, column);
        let group = self.metadata.row_groups.get(row_group).ok_or_else(missing)?;
        let mut chunks = group.columns_under_root_iter(column).ok_or_else(missing)?;
        match (chunks.next(), chunks.next()) {
            (Some(chunk), None) => Ok(chunk),
            _ => Err(Error::Data(format!("{object}: column \"{column}\" is nested and cannot be read: exclude it"))),
        }
    }
}

fn missing(object: &str, column: &str) -> Error {
    Error::Data(format!("{object}: column \"{column}\" is missing"))
}

async fn read_bytes(store: &dyn Store, meta: &ObjectMeta, name: &str) -> Result<Bytes> {
    let tail_start = meta.size.saturating_sub(FOOTER_GUESS);
    let tail = store.get_range(&meta.key, tail_start..meta.size, &meta.version).await?;
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
        return Ok(tail.slice(from..from + footer_len as usize));
    }
    Ok(store.get_range(&meta.key, footer_start..meta.size - FOOTER_TAIL, &meta.version).await?)
}

/// The error of an object without a footer, which says what the object is where its first bytes tell.
async fn something_else(store: &dyn Store, meta: &ObjectMeta, name: &str, problem: &str) -> Result<Error> {
    let head = store.get_range(&meta.key, 0..meta.size.min(HEAD), &meta.version).await?;
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
fn check_ranges(metadata: &FileMetadata, size: u64) -> Result<(), String> {
    let is_sound = |chunk: &ColumnChunkMetadata| {
        let counts = [chunk.compressed_size(), chunk.uncompressed_size(), chunk.num_values(), chunk.data_page_offset()];
        let is_negative = counts.into_iter().chain(chunk.dictionary_page_offset()).any(i64::is_negative);
        !is_negative && chunk.byte_range().end <= size
    };
    let is_damaged = |group: &RowGroupMetadata| !group.parquet_columns().iter().all(is_sound);
    match metadata.row_groups.iter().position(is_damaged) {
        None => Ok(()),
        Some(group) => Err(format!("it says that row group {group} lies outside the object")),
    }
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
}
