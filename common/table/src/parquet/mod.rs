//! Parquet in: footers and row groups by ranged reads, columns decoded one at a time by polars' decoder.
//!
//! polars' own file readers want the whole object or a memory map; ours must read only the needed columns of an object
//! in any store, and hold no more than one row group of compressed bytes. So the bytes are fetched here and only the
//! decoding is polars'. A decoder that panics on damaged bytes ends as an error that names the object.

mod damage;
mod footer;
mod pages;
mod pieces;
mod ranges;
mod row_counts;
mod row_group;
mod thrift;
mod types;

use std::ops::Range;
use std::sync::Arc;

use polars_parquet::parquet::schema::types::PhysicalType;
use polars_parquet::read::{ColumnChunkMetadata, RowGroupMetadata};

use crate::partitions::PartitionValues;
use columns::TableSchema;
use damage::damaged;
use error::Result;
use footer::Footer;
pub use pieces::{PieceOverhead, PieceReader};
use ranges::{coalesce, fetch_ranges, slice_of};
use row_group::ColumnBytes;
pub use row_group::RowGroup;
use storage::{ObjectMeta, Store};

/// What is wrong with bytes that are not what their writer's checksum says.
const WRONG_CHECKSUM: &str = "the bytes of a page do not have the checksum that stands in its header";

/// One Parquet object: what its footer says.
#[derive(Debug, Clone)]
pub struct ParquetFile {
    name: Arc<str>,
    row_groups: Vec<RowGroupSize>,
    /// Columns of long texts among the needed ones: the uncompressed bytes in each row group.
    long_texts: Vec<(String, Vec<u64>)>,
    footer_bytes: u64,
    /// None where it is read again when it is needed.
    footer: Option<Arc<Footer>>,
    /// The types that columns have in all objects of the table.
    types: Arc<TableSchema>,
    partitions: PartitionValues,
}

/// Texts of more bytes on average are long: those of others are not noted one by one.
const LONG_TEXT_BYTES: u64 = 32;

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

impl RowGroupSize {
    /// Bytes that `rows` of it take, on average.
    #[must_use]
    pub fn bytes_of(&self, rows: usize) -> u64 {
        (self.fetched_bytes as f64 * rows as f64 / self.rows.max(1) as f64) as u64
    }
}

impl ParquetFile {
    /// Reads the footer and the columns it declares. `name` is the object's full name, for messages; `needed` are the
    /// columns that will be fetched, where that is known.
    ///
    /// # Errors
    /// [`error::Error::Data`] where the object is not Parquet, is cut off or damaged; storage errors as they are.
    pub async fn open(
        store: &dyn Store,
        meta: &ObjectMeta,
        name: &str,
        needed: Option<&[String]>,
    ) -> Result<(Self, TableSchema)> {
        let (footer, footer_bytes) = Footer::read(store, meta, name).await?;
        let table = footer.table_schema(name)?;
        let row_groups = footer.metadata.row_groups.iter().map(|group| row_group_size(group, needed)).collect();
        let long_texts = long_texts(&footer.metadata.row_groups, needed);
        let (name, footer, partitions) = (name.into(), Some(Arc::new(footer)), PartitionValues::default());
        Ok((Self { name, row_groups, long_texts, footer_bytes, footer, types: Arc::default(), partitions }, table))
    }

    /// Has columns come out with the types that they have in all objects of the table.
    pub fn set_types(&mut self, types: &Arc<TableSchema>) {
        self.types = Arc::clone(types);
    }

    /// Gives it columns out of the names of its folders: they are read like its own, and take no bytes.
    pub fn set_partitions(&mut self, partitions: PartitionValues) {
        self.partitions = partitions;
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

    /// Bytes of the texts of a needed column in a row group, without compression, where they are long on average in any row group.
    /// Texts that repeat may stand there once for many rows.
    #[must_use]
    pub fn long_text_bytes(&self, column: &str, row_group: usize) -> Option<u64> {
        let (_, of_groups) = self.long_texts.iter().find(|(name, _)| name == column)?;
        of_groups.get(row_group).copied()
    }

    /// Reads the bytes of the named columns of one row group.
    ///
    /// # Errors
    /// Storage errors as they are; [`error::Error::Data`] where a column is missing or has not the checksum that its
    /// writer left, and where the object changed since it was opened.
    pub async fn fetch(
        &self,
        store: &dyn Store,
        meta: &ObjectMeta,
        row_group: usize,
        columns: &[String],
    ) -> Result<RowGroup> {
        let footer = self.footer(store, meta).await?;
        let columns = self.partitions.stored_among(columns);
        let mut wanted = Vec::with_capacity(columns.len());
        for name in &columns {
            let chunk = footer.chunk(row_group, name, &self.name)?;
            wanted.push((name, chunk.byte_range(), chunk.num_values()));
        }
        let ranges: Vec<Range<u64>> = wanted.iter().map(|(_, range, _)| range.clone()).collect();
        let blocks = fetch_ranges(store, meta, coalesce(&ranges)).await?;
        let mut fetched = Vec::with_capacity(columns.len());
        for (name, range, values) in wanted {
            let mut bytes = slice_of(&blocks, &range, &self.name)?;
            if !pages::are_intact(&bytes) {
                // It may have been the way here that changed them.
                let again = fetch_ranges(store, meta, vec![range.clone()]).await?;
                bytes = slice_of(&again, &range, &self.name)?;
            }
            if !pages::are_intact(&bytes) {
                let what = format!("column \"{name}\" of row group {row_group}");
                return Err(damaged(&self.name, &what, WRONG_CHECKSUM));
            }
            fetched.push(ColumnBytes { name: name.clone(), bytes, values, first_row: 0 });
        }
        let rows = footer.metadata.row_groups[row_group].num_rows();
        let (name, partitions, columns) = (Arc::clone(&self.name), self.partitions.clone(), Arc::new(fetched));
        let types = Arc::clone(&self.types);
        Ok(RowGroup { name, footer, row_group, rows: 0..rows, columns, types, partitions })
    }

    /// Begins to read the named columns of one row group in pieces.
    ///
    /// # Errors
    /// Storage errors as they are; [`error::Error::Data`] where a column is missing.
    pub async fn pieces(
        &self,
        store: &Arc<dyn Store>,
        meta: &ObjectMeta,
        row_group: usize,
        columns: &[String],
    ) -> Result<PieceReader> {
        let footer = self.footer(store.as_ref(), meta).await?;
        PieceReader::new(self, (Arc::clone(store), meta.clone()), footer, row_group, columns)
    }

    /// What a piece of a row group takes besides the bytes of its rows.
    ///
    /// # Errors
    /// As [`ParquetFile::pieces`].
    pub async fn piece_overhead(
        &self,
        store: &dyn Store,
        meta: &ObjectMeta,
        row_group: usize,
        columns: &[String],
    ) -> Result<PieceOverhead> {
        let footer = self.footer(store, meta).await?;
        let columns = self.partitions.stored_among(columns);
        pieces::overhead(store, meta, &self.name, &footer, row_group, &columns).await
    }

    async fn footer(&self, store: &dyn Store, meta: &ObjectMeta) -> Result<Arc<Footer>> {
        match &self.footer {
            Some(footer) => Ok(Arc::clone(footer)),
            None => Ok(Arc::new(Footer::read(store, meta, &self.name).await?.0)),
        }
    }
}

fn is_needed(chunk: &ColumnChunkMetadata, needed: Option<&[String]>) -> bool {
    let root = &chunk.descriptor().path_in_schema[0];
    needed.is_none_or(|needed| needed.iter().any(|name| name == root.as_str()))
}

/// The needed columns of texts that are long in one of the row groups, with their bytes in each.
fn long_texts(groups: &[RowGroupMetadata], needed: Option<&[String]>) -> Vec<(String, Vec<u64>)> {
    let bytes = |chunk: &ColumnChunkMetadata| chunk.uncompressed_size().unsigned_abs();
    let is_text =
        |chunk: &&ColumnChunkMetadata| chunk.physical_type() == PhysicalType::ByteArray && is_needed(chunk, needed);
    let mut long: Vec<(String, Vec<u64>)> = Vec::new();
    for chunk in groups.iter().flat_map(RowGroupMetadata::parquet_columns).filter(is_text) {
        let name = chunk.descriptor().path_in_schema[0].as_str();
        let rows = chunk.num_values().unsigned_abs();
        if bytes(chunk) > LONG_TEXT_BYTES.saturating_mul(rows) && long.iter().all(|(known, _)| known != name) {
            long.push((name.to_owned(), vec![0; groups.len()]));
        }
    }
    if long.is_empty() {
        return long;
    }
    for (index, group) in groups.iter().enumerate() {
        for chunk in group.parquet_columns() {
            let name = chunk.descriptor().path_in_schema[0].as_str();
            if let Some((_, of_groups)) = long.iter_mut().find(|(known, _)| known == name) {
                of_groups[index] += bytes(chunk);
            }
        }
    }
    long
}

fn row_group_size(group: &RowGroupMetadata, needed: Option<&[String]>) -> RowGroupSize {
    let chunks: Vec<&ColumnChunkMetadata> =
        group.parquet_columns().iter().filter(|chunk| is_needed(chunk, needed)).collect();
    let ranges: Vec<Range<u64>> = chunks.iter().map(|chunk| chunk.byte_range()).collect();
    RowGroupSize {
        rows: group.num_rows(),
        fetched_bytes: coalesce(&ranges).into_iter().map(|read| read.end - read.start).sum(),
        column_bytes: chunks.iter().map(|chunk| chunk.uncompressed_size().unsigned_abs()).max().unwrap_or(0),
    }
}
