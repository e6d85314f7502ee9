//! What the end of a Parquet object says about the rest of it.

use std::borrow::Cow;
use std::panic::catch_unwind;

use bytes::Bytes;
use polars::prelude::{ArrowField, DataType};
use polars_arrow::datatypes::ArrowSchema;
use polars_buffer::Buffer;
use polars_parquet::read::{ColumnChunkMetadata, FileMetadata, RowGroupMetadata, infer_schema};

use super::damage::{guard, not_parquet};
use super::{row_counts, thrift};
use crate::columns::{ColumnKind, ColumnSchema, TableSchema};
use crate::storage::{ObjectMeta, Store};
use crate::{Error, Result};

/// Bytes read from an object's end at first: enough for nearly every footer, so that one request serves.
const FOOTER_GUESS: u64 = 64 * 1024;
/// What stands behind the footer: its length and the magic.
const FOOTER_TAIL: u64 = 8;

/// A footer, checked to point nowhere but into its object.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) metadata: FileMetadata,
    pub(super) schema: ArrowSchema,
}

impl Footer {
    /// Reads the footer of an object; also how many bytes it has there.
    pub(super) async fn read(store: &dyn Store, meta: &ObjectMeta, name: &str) -> Result<(Self, u64)> {
        let bytes = read_bytes(store, meta, name).await?;
        let footer_bytes = bytes.len() as u64;
        let (metadata, schema) = guard(name, "its footer", || {
            let bytes = match thrift::checked(&bytes)? {
                Cow::Borrowed(_) => Buffer::from_owner(bytes),
                Cow::Owned(hidden) => Buffer::from(hidden),
            };
            let metadata =
                polars_parquet::parquet::read::deserialize_metadata(bytes).map_err(|error| error.to_string())?;
            let schema = infer_schema(&metadata).map_err(|error| error.to_string())?;
            check_ranges(&metadata, meta.size)?;
            row_counts::check(&metadata)?;
            Ok((metadata, schema))
        })?;
        Ok((Self { metadata, schema }, footer_bytes))
    }

    /// The columns that it declares.
    pub(super) fn table_schema(&self, name: &str) -> Result<TableSchema> {
        let columns = self.schema.iter_values().map(|field| column_schema(field, &self.metadata));
        TableSchema::new(columns.collect(), name)
    }

    /// The only chunk of a column that is not nested.
    pub(super) fn chunk(&self, row_group: usize, column: &str, object: &str) -> Result<&ColumnChunkMetadata> {
        let missing = || Error::Data(format!("{object}: column \"{column}\" is missing"));
        let group = self.metadata.row_groups.get(row_group).ok_or_else(missing)?;
        let mut chunks = group.columns_under_root_iter(column).ok_or_else(missing)?;
        match (chunks.next(), chunks.next()) {
            (Some(chunk), None) => Ok(chunk),
            _ => Err(Error::Data(format!("{object}: column \"{column}\" is nested and cannot be read: exclude it"))),
        }
    }
}

/// The schema of one top-level field; anything with more than one leaf is nested.
fn column_schema(field: &ArrowField, metadata: &FileMetadata) -> ColumnSchema {
    let dtype = polars_type(field);
    let leaves = metadata.schema().columns().iter().filter(|leaf| leaf.path_in_schema[0] == field.name).count();
    let kind = if leaves == 1 { ColumnKind::of(&dtype) } else { ColumnKind::Unsupported };
    ColumnSchema { name: field.name.to_string(), kind, dtype }
}

/// polars panics on types that it does not know, 16-bit floats among them: those are unknown, and no defect in the log.
fn polars_type(field: &ArrowField) -> DataType {
    crate::panics::expected_within(|| catch_unwind(|| DataType::from_arrow_field(field)))
        .unwrap_or(DataType::Unknown(Default::default()))
}

async fn read_bytes(store: &dyn Store, meta: &ObjectMeta, name: &str) -> Result<Bytes> {
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
    use std::sync::Arc;

    use polars_arrow::datatypes::ArrowDataType;

    use super::*;

    #[test]
    fn a_footer_is_found_by_its_magic() {
        assert_eq!(footer_length(b"xxxx\x05\0\0\0PAR1"), Ok(5));
        assert!(footer_length(b"garbage garbage").is_err());
        assert!(footer_length(b"PAR1").is_err());
    }

    #[test]
    fn a_type_that_polars_does_not_know_is_unknown_and_no_defect() {
        let (report, panics) = std::sync::mpsc::channel();
        let (usual, this) = (Arc::new(std::panic::take_hook()), std::thread::current().id());
        let others = Arc::clone(&usual);
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == this {
                let _ = report.send(crate::panics::is_expected());
            } else {
                others(panic);
            }
        }));
        let dtype = polars_type(&ArrowField::new("half".into(), ArrowDataType::Float16, true));
        std::panic::set_hook(Box::new(move |panic| usual(panic)));
        assert!(matches!(dtype, DataType::Unknown(_)), "{dtype}");
        assert_eq!(panics.iter().collect::<Vec<_>>(), [true]);
    }
}
