//! Parquet in: footers and row groups by ranged reads, columns decoded one at a time by polars' decoder.
//!
//! polars' own file readers want the whole object or a memory map; ours must read only the needed columns of an object
//! in any store, and hold no more than one row group of compressed bytes. So the bytes are fetched here and only the
//! decoding is polars'. A decoder that panics on damaged bytes ends as an error that names the object.

mod by_dictionary;
mod damage;
mod footer;
mod opening;
mod page_reader;
mod pages;
mod plain;
mod ranges;
mod row_counts;
mod row_group;
mod run;
mod schema;
mod thrift;
mod types;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::partitions::PartitionValues;
use columns::TableSchema;
use damage::damaged;
use error::{Error, Result};
use footer::{Footer, ReadFooter};
pub use opening::{FooterRoom, Opening};
pub use page_reader::{PageOverhead, PageReader};
use ranges::{COALESCE_GAP, coalesce, fetch_ranges};
pub use row_group::RowGroup;
use row_group::{Blocks, GroupBytes};
pub use run::RowRun;
use storage::{ObjectMeta, Store};

/// What is wrong with bytes that are not what their writer's checksum says.
const WRONG_CHECKSUM: &str = "the bytes of a page do not have the checksum that stands in its header";

/// One Parquet object: what its footer says. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ParquetFile {
    name: Arc<str>,
    footer: Arc<Footer>,
    /// Its bytes from the place of the first on, where they came with the footer.
    content: Option<(u64, Bytes)>,
    /// The types that columns have in all objects of the table.
    types: Arc<TableSchema>,
    partitions: PartitionValues,
}

/// What a row group takes in memory besides the bytes of its columns.
pub const ROW_GROUP_BYTES: u64 = 256;

/// What reading a row group takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowGroupSize {
    /// Its rows.
    pub rows: usize,
    /// Bytes that are fetched for the needed columns, gaps between them included where they are read along.
    pub fetched_bytes: u64,
    /// Uncompressed bytes of the largest needed column.
    pub column_bytes: u64,
    /// Where the first needed column begins in the object.
    pub start: u64,
    /// Where the last needed column ends.
    pub end: u64,
}

impl RowGroupSize {
    /// Bytes that `rows` of it take, on average.
    #[must_use]
    pub fn bytes_of(&self, rows: usize) -> u64 {
        (self.fetched_bytes as f64 * rows as f64 / self.rows.max(1) as f64) as u64
    }

    /// Bytes between it and the row group behind it in the same object, where both are read at once.
    #[must_use]
    pub fn gap_before(&self, next: &Self) -> u64 {
        let gap = next.start.saturating_sub(self.end);
        if gap > COALESCE_GAP { 0 } else { gap }
    }
}

impl ParquetFile {
    /// Reads the footer and the columns it declares. `name` is the object's full name, for messages; `opening` are the other
    /// objects of the location.
    ///
    /// # Errors
    /// [`error::Error::Data`] where the object is not Parquet, is cut off or damaged; [`error::Error::Resources`] where there is
    /// no room for its footer; storage errors as they are.
    pub async fn open(
        store: &dyn Store,
        meta: &ObjectMeta,
        name: &str,
        opening: &Opening,
    ) -> Result<(Self, Arc<TableSchema>)> {
        let ReadFooter { footer, content } = Footer::read(store, meta, name, opening).await?;
        let table = footer.table_schema();
        let (name, footer, partitions) = (name.into(), Arc::new(footer), PartitionValues::default());
        Ok((Self { name, footer, content, types: Arc::default(), partitions }, table))
    }

    /// Has columns come out with the types that they have in all objects of the table.
    pub fn set_types(&mut self, types: &Arc<TableSchema>) {
        self.types = Arc::clone(types);
    }

    /// Gives it columns out of the names of its folders: they are read like its own, and take no bytes.
    pub fn set_partitions(&mut self, partitions: PartitionValues) {
        self.partitions = partitions;
    }

    /// Rows of the object.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.row_groups().iter().map(|group| group.rows as u64).sum()
    }

    /// Rows and bytes of each row group, in order.
    #[must_use]
    pub fn row_groups(&self) -> &[RowGroupSize] {
        &self.footer.row_groups
    }

    /// Bytes of the texts of a needed column in a row group, without compression, where they are long on average in any row group.
    /// Texts that repeat may stand there once for many rows.
    #[must_use]
    pub fn long_text_bytes(&self, column: &str, row_group: usize) -> Option<u64> {
        self.footer.long_text_bytes(column, row_group)
    }

    /// Reads the bytes of the named columns of one row group.
    ///
    /// # Errors
    /// As [`ParquetFile::fetch_groups`].
    pub async fn fetch(
        &self,
        store: &dyn Store,
        meta: &ObjectMeta,
        row_group: usize,
        columns: &[String],
    ) -> Result<RowGroup> {
        let mut groups = self.fetch_groups(store, meta, row_group..row_group + 1, columns).await?;
        groups.pop().ok_or_else(|| Error::Defect(format!("{}: row group {row_group} was not read", self.name)))
    }

    /// Reads the bytes of the named columns of row groups that follow one another, those that lie close together at once.
    ///
    /// # Errors
    /// Storage errors as they are; [`error::Error::Data`] where a column is missing or has not the checksum that its
    /// writer left, and where the object changed since it was opened.
    pub async fn fetch_groups(
        &self,
        store: &dyn Store,
        meta: &ObjectMeta,
        row_groups: Range<usize>,
        columns: &[String],
    ) -> Result<Vec<RowGroup>> {
        let footer = &self.footer;
        let columns = self.partitions.stored_among(columns);
        let leaves: Vec<usize> =
            columns.iter().map(|name| footer.schema.leaf(name, &self.name)).collect::<Result<_>>()?;
        let chunk = |row_group: usize, place: usize| {
            let chunk = footer.chunk_of(row_group, leaves[place]);
            chunk.ok_or_else(|| Error::Data(format!("{}: column \"{}\" is missing", self.name, columns[place])))
        };
        let mut ranges = Vec::with_capacity(row_groups.len() * leaves.len());
        for row_group in row_groups.clone() {
            for place in 0..leaves.len() {
                ranges.push(chunk(row_group, place)?.range());
            }
        }
        let read = match &self.content {
            Some((start, bytes)) => vec![(*start, bytes.clone())],
            None => fetch_ranges(store, meta, coalesce(&ranges)).await?,
        };
        let mut blocks = Blocks { read, again: Vec::new() };
        for row_group in row_groups.clone() {
            for (place, column) in columns.iter().enumerate() {
                let chunk = chunk(row_group, place)?;
                if pages::are_intact(&blocks.bytes_of(&chunk, &self.name)?) {
                    continue;
                }
                // It may have been the way here that changed them.
                blocks.again.extend(fetch_ranges(store, meta, vec![chunk.range()]).await?);
                if !pages::are_intact(&blocks.bytes_of(&chunk, &self.name)?) {
                    let what = format!("column \"{column}\" of row group {row_group}");
                    return Err(damaged(&self.name, &what, WRONG_CHECKSUM));
                }
            }
        }
        let blocks = Arc::new(blocks);
        let group = |row_group: usize| RowGroup {
            name: Arc::clone(&self.name),
            footer: Arc::clone(footer),
            row_group,
            rows: 0..footer.rows(row_group),
            bytes: GroupBytes::Whole(Arc::clone(&blocks)),
            types: Arc::clone(&self.types),
            partitions: self.partitions.clone(),
        };
        Ok(row_groups.map(group).collect())
    }

    /// Begins to read the named columns of one row group page by page.
    ///
    /// # Errors
    /// Storage errors as they are; [`error::Error::Data`] where a column is missing.
    pub fn page_reader(
        &self,
        store: &Arc<dyn Store>,
        meta: &ObjectMeta,
        row_group: usize,
        columns: &[String],
    ) -> Result<PageReader> {
        PageReader::new(self, (Arc::clone(store), meta.clone()), Arc::clone(&self.footer), row_group, columns)
    }

    /// What a range of rows that is read page by page takes besides the bytes of its rows.
    ///
    /// # Errors
    /// As [`ParquetFile::page_reader`].
    pub async fn page_overhead(
        &self,
        store: &dyn Store,
        meta: &ObjectMeta,
        row_group: usize,
        columns: &[String],
    ) -> Result<PageOverhead> {
        let columns = self.partitions.stored_among(columns);
        page_reader::overhead(store, meta, &self.name, &self.footer, row_group, &columns).await
    }
}
