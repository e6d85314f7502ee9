//! A row group that is too large to be held is read in ranges of rows: the pages of these rows in every column, in order.
//!
//! Where a page ends is known only from its header, and the pages of two columns end at different rows. So each column
//! is read on by itself, about as far as the range goes, and keeps the page that the next one begins in. A range takes
//! the memory of its rows, and up to two pages and a dictionary of each column besides ([`PageOverhead`]).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use polars_buffer::Buffer;

use super::ParquetFile;
use super::damage::{damaged, guard};
use super::footer::{ChunkOf, Footer};
use super::pages::Page;
use super::ranges::{CONCURRENT_READS, READ_MOST};
use super::row_group::{ColumnBytes, GroupBytes, Pages, RowGroup};
use crate::partitions::PartitionValues;
use columns::TableSchema;
use error::{Error, Result};
use storage::{ObjectMeta, Store};

/// Fewest bytes of a read that is for values: a request costs more than them.
const READ_LEAST: u64 = 64 * 1024;
/// Bytes read where only a header is wanted.
const HEADER_READ: u64 = 16 * 1024;
/// What most writers let a page grow to, uncompressed.
const USUAL_PAGE: f64 = 1024.0 * 1024.0;

/// Reads one row group in ranges of rows, from its first row on.
#[derive(Debug)]
pub struct PageReader {
    source: Source,
    footer: Arc<Footer>,
    columns: Vec<ColumnReader>,
    types: Arc<TableSchema>,
    partitions: PartitionValues,
}

/// Where the bytes come from, and its names for messages.
#[derive(Debug, Clone)]
struct Source {
    store: Arc<dyn Store>,
    meta: Arc<ObjectMeta>,
    name: Arc<str>,
    row_group: usize,
}

impl PageReader {
    pub(super) fn new(
        file: &ParquetFile,
        (store, meta): (Arc<dyn Store>, ObjectMeta),
        footer: Arc<Footer>,
        row_group: usize,
        columns: &[String],
    ) -> Result<Self> {
        let (name, partitions) = (Arc::clone(&file.name), file.partitions.clone());
        let rows = footer.rows(row_group);
        let reader = |column: &String| {
            let leaf = footer.schema.leaf(column, &name)?;
            Ok(ColumnReader::new((column, leaf), &footer.chunk(row_group, column, &name)?, rows))
        };
        let columns = partitions.stored_among(columns).iter().map(reader).collect::<Result<_>>()?;
        let source = Source { store, meta: Arc::new(meta), name, row_group };
        Ok(Self { source, footer, columns, types: Arc::clone(&file.types), partitions })
    }

    /// Whether it reads just these columns of that row group.
    #[must_use]
    pub fn is_of(&self, file: &ParquetFile, row_group: usize, columns: &[String]) -> bool {
        let source = &self.source;
        source.name == file.name
            && source.row_group == row_group
            && self.columns.iter().map(|column| &column.name).eq(&file.partitions.stored_among(columns))
    }

    /// The bytes of `rows`, which begin where the rows of the last call ended or later.
    ///
    /// # Errors
    /// Storage errors as they are; [`Error::Data`] where a page is damaged, and where the object changed since it was
    /// opened.
    pub async fn read(&mut self, rows: Range<usize>) -> Result<RowGroup> {
        let columns = std::mem::take(&mut self.columns).into_iter().map(|column| {
            let (source, rows) = (self.source.clone(), rows.clone());
            async move { column.read(&source, rows).await }
        });
        let read: Vec<_> = futures::stream::iter(columns).buffered(CONCURRENT_READS).try_collect().await?;
        let (readers, columns): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        self.columns = readers;
        Ok(RowGroup {
            name: Arc::clone(&self.source.name),
            footer: Arc::clone(&self.footer),
            row_group: self.source.row_group,
            rows,
            bytes: GroupBytes::Paged(Arc::new(columns)),
            types: Arc::clone(&self.types),
            partitions: self.partitions.clone(),
        })
    }
}

/// Reads the chunk of one column, page by page.
#[derive(Debug)]
struct ColumnReader {
    name: String,
    /// Which of the object's columns of bytes it is.
    leaf: usize,
    /// Lists have no row of their own for each value: their chunk is read whole.
    repeats: bool,
    /// Values of the chunk, nulls included.
    values: i64,
    /// Bytes of the chunk that a row takes on average.
    row_bytes: f64,
    /// Bytes that were read, from `position` of the object on, and belong to no page yet.
    unread: Bytes,
    position: u64,
    /// Where the chunk ends in the object.
    end: u64,
    /// The dictionary page, header included; empty without one.
    dictionary: Bytes,
    /// Pages that hold rows which were not given out yet.
    pages: VecDeque<DataPage>,
    /// Rows of all pages so far.
    rows: usize,
}

#[derive(Debug)]
struct DataPage {
    rows: Range<usize>,
    /// Header and body.
    bytes: Bytes,
}

impl ColumnReader {
    fn new((name, leaf): (&str, usize), chunk: &ChunkOf<'_>, rows: usize) -> Self {
        let range = chunk.range();
        Self {
            name: name.to_owned(),
            leaf,
            repeats: chunk.leaf.repeats(),
            values: chunk.values,
            row_bytes: (range.end - range.start) as f64 / rows.max(1) as f64,
            unread: Bytes::new(),
            position: range.start,
            end: range.end,
            dictionary: Bytes::new(),
            pages: VecDeque::new(),
            rows: 0,
        }
    }

    async fn read(mut self, source: &Source, rows: Range<usize>) -> Result<(Self, ColumnBytes)> {
        if self.repeats {
            let whole = (self.end - self.position) as usize;
            self.fetch(source, whole, 0).await?;
            let bytes = Buffer::from_owner(self.unread.clone());
            let column = ColumnBytes { leaf: self.leaf, pages: Pages { bytes, values: self.values, first_row: 0 } };
            return Ok((self, column));
        }
        while self.rows < rows.end {
            self.next_page(source, &rows).await?;
        }
        let column = self.take(&rows);
        Ok((self, column))
    }

    /// Reads the next page, or passes it over where it ends before the rows that are wanted.
    async fn next_page(&mut self, source: &Source, wanted: &Range<usize>) -> Result<()> {
        let page = self.next_header(source, wanted).await?;
        let rows = page.values.map(|values| self.rows..self.rows.saturating_add(values));
        if let Some(rows) = &rows {
            self.rows = rows.end;
            if rows.end <= wanted.start {
                return self.pass_over(source, page.len());
            }
        }
        self.fetch(source, page.len(), self.bytes_until(wanted.end)).await?;
        let bytes = self.intact(source, &page).await?;
        self.pass_over(source, page.len())?;
        match rows {
            None => self.dictionary = bytes,
            Some(rows) => self.pages.push_back(DataPage { rows, bytes }),
        }
        Ok(())
    }

    async fn next_header(&mut self, source: &Source, wanted: &Range<usize>) -> Result<Page> {
        loop {
            let problem = match guard(&source.name, &self.what(source), || Ok(Page::at_start_of(&self.unread)))? {
                Ok(page) => return Ok(page),
                Err(problem) => problem,
            };
            let left = self.end - self.position - self.unread.len() as u64;
            if left == 0 {
                let problem = if self.unread.is_empty() { "it has fewer rows than its footer says" } else { &problem };
                return Err(self.damaged(source, problem));
            }
            // Of a page that may be passed over no more than the header is read.
            let ahead = if self.rows < wanted.start { HEADER_READ } else { self.bytes_until(wanted.end) };
            let more = (self.unread.len() as u64).max(HEADER_READ).min(left);
            self.fetch(source, self.unread.len() + more as usize, ahead).await?;
        }
    }

    /// Bytes that the rows up to `end` which were not read yet take, about.
    fn bytes_until(&self, end: usize) -> u64 {
        let rows = end.saturating_sub(self.rows);
        ((rows as f64 * self.row_bytes * 1.05) as u64).clamp(READ_LEAST, READ_MOST)
    }

    /// Reads on until `needed` bytes are there, and `ahead` at once where that is more.
    async fn fetch(&mut self, source: &Source, needed: usize, ahead: u64) -> Result<()> {
        if needed as u64 > self.end - self.position {
            return Err(self.damaged(source, "a page is larger than its column"));
        }
        if self.unread.len() >= needed {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(needed.max(ahead as usize));
        bytes.extend_from_slice(&self.unread);
        while bytes.len() < needed {
            let start = self.position + bytes.len() as u64;
            let wanted = ((needed - bytes.len()) as u64).max(ahead).min(READ_MOST).min(self.end - start);
            bytes.extend_from_slice(&source.bytes(start..start + wanted).await?);
        }
        self.unread = Bytes::from(bytes);
        Ok(())
    }

    /// The bytes of the page that is next. Bytes that do not have their checksum are read once more: it may have been
    /// the way here that changed them.
    async fn intact(&self, source: &Source, page: &Page) -> Result<Bytes> {
        let bytes = self.unread.slice(..page.len());
        if page.is_intact(&bytes) {
            return Ok(bytes);
        }
        let bytes = source.bytes(self.position..self.position + page.len() as u64).await?;
        match page.is_intact(&bytes) {
            true => Ok(bytes),
            false => Err(self.damaged(source, super::WRONG_CHECKSUM)),
        }
    }

    fn pass_over(&mut self, source: &Source, bytes: usize) -> Result<()> {
        if bytes as u64 > self.end - self.position {
            return Err(self.damaged(source, "a page is larger than its column"));
        }
        self.position += bytes as u64;
        self.unread = if bytes < self.unread.len() { self.unread.slice(bytes..) } else { Bytes::new() };
        Ok(())
    }

    /// The dictionary and the pages that hold `rows`, in one run of bytes. What is kept for the next range is copied, so
    /// that no more than it stays in memory.
    fn take(&mut self, rows: &Range<usize>) -> ColumnBytes {
        self.pages.retain(|page| page.rows.end > rows.start);
        let size = self.dictionary.len() + self.pages.iter().map(|page| page.bytes.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&self.dictionary);
        self.pages.iter().for_each(|page| bytes.extend_from_slice(&page.bytes));
        let values = self.pages.iter().map(|page| page.rows.len() as i64).sum();
        let first_row = self.pages.front().map_or(0, |page| page.rows.start);
        self.pages.retain(|page| page.rows.end > rows.end);
        for page in &mut self.pages {
            page.bytes = Bytes::copy_from_slice(&page.bytes);
        }
        self.unread = Bytes::copy_from_slice(&self.unread);
        self.dictionary = Bytes::copy_from_slice(&self.dictionary);
        ColumnBytes { leaf: self.leaf, pages: Pages { bytes: Buffer::from_vec(bytes), values, first_row } }
    }

    fn what(&self, source: &Source) -> String {
        format!("column \"{}\" of row group {}", self.name, source.row_group)
    }

    fn damaged(&self, source: &Source, problem: &str) -> Error {
        damaged(&source.name, &self.what(source), problem)
    }
}

impl Source {
    async fn bytes(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(self.store.get_range(&self.meta, range).await?)
    }
}

/// What a range of rows of a row group takes besides the bytes of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageOverhead {
    /// Of each column a dictionary, and the pages that it begins and ends amid, all of them also kept by the reader.
    pub bytes: u64,
    /// Uncompressed bytes of the largest page.
    pub page_bytes: u64,
}

/// What ranges of rows of a row group take, from the headers of its first pages.
///
/// # Errors
/// Storage errors as they are; [`Error::Data`] where a column is missing.
pub(super) async fn overhead(
    store: &dyn Store,
    meta: &ObjectMeta,
    name: &str,
    footer: &Footer,
    row_group: usize,
    columns: &[String],
) -> Result<PageOverhead> {
    let of_columns = columns
        .iter()
        .map(|column| Ok(ChunkFacts::of(&footer.chunk(row_group, column, name)?)))
        .collect::<Result<Vec<_>>>()?;
    let overheads = of_columns.into_iter().map(|facts| async move {
        let header = facts.data..facts.range.end.min(facts.data + HEADER_READ);
        let bytes = store.get_range(meta, header).await?;
        let first = guard(name, "a page", || Ok(Page::at_start_of(&bytes)))?;
        Ok::<_, Error>(facts.overhead(first.map(|page| page.len() as u64).ok()))
    });
    let add = |sum: PageOverhead, more: PageOverhead| async move {
        Ok(PageOverhead { bytes: sum.bytes + more.bytes, page_bytes: sum.page_bytes.max(more.page_bytes) })
    };
    futures::stream::iter(overheads).buffered(2 * CONCURRENT_READS).try_fold(PageOverhead::default(), add).await
}

/// What a footer says about the pages of a chunk.
struct ChunkFacts {
    range: Range<u64>,
    /// Where its first data page begins.
    data: u64,
    repeats: bool,
    /// Compressed by uncompressed bytes.
    ratio: f64,
}

impl ChunkFacts {
    fn of(chunk: &ChunkOf<'_>) -> Self {
        let range = chunk.range();
        let data = range.start + chunk.before_data;
        let ratio = (range.end - range.start).max(1) as f64 / chunk.uncompressed.max(1) as f64;
        Self { range, data, repeats: chunk.leaf.repeats(), ratio }
    }

    /// The first page may be smaller than those that follow: it is where values are still numbers of a dictionary. So the
    /// usual size counts where that is more. A header that cannot be read may be that of the only page.
    fn overhead(&self, first_page: Option<u64>) -> PageOverhead {
        let whole = self.range.end - self.range.start;
        let usual = (USUAL_PAGE * self.ratio.min(1.1)) as u64;
        let page = first_page.unwrap_or(whole).max(usual).min(whole);
        let bytes = if self.repeats { whole } else { 2 * (self.data - self.range.start) + 2 * page };
        let page = if self.repeats { whole } else { page };
        PageOverhead { bytes, page_bytes: (page as f64 / self.ratio) as u64 }
    }
}
