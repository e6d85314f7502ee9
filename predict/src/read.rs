//! Step 2: the input as a stream of batches, in input order, fetched ahead, cut where parts end.

use std::ops::Range;
use std::sync::Arc;

use common::table::csv::CsvReader;
use common::table::parquet::{ParquetFile, RowGroup};
use common::table::{ColumnSource, Dataset, MemoryColumns};
use common::{Error, Result};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use polars::prelude::Series;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Input rows that make a part: it ends with the row group in which it gets as many, so that no row group is decoded for
/// two parts. A row group that is larger is cut after every so many of its own rows. Part boundaries thus depend on the
/// input alone, and no part has more than twice as many rows.
pub const PART_ROWS: u64 = 1 << 19;

/// Row groups fetched at once, as far as the bytes allow: many where they are small.
const FETCHES_AHEAD: usize = 16;

/// Batches of CSV read ahead of those being scored.
const CSV_BATCHES_AHEAD: usize = 2;

/// What is read, and how much at a time.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Columns to read.
    pub columns: Vec<String>,
    /// The column that identifies a row.
    pub id: String,
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// Fetched bytes that may be in memory at once; one row group may be larger, and then is alone.
    pub fetch_bytes: u64,
}

/// Rows of one batch, and where they come from.
#[derive(Debug)]
pub struct InputBatch {
    /// The part that these rows go to.
    pub part: u64,
    /// Which object of the dataset.
    pub object: usize,
    /// 0-based number of the first row within the object.
    pub first_row: u64,
    /// The columns.
    pub columns: BatchColumns,
    /// Rows (counted within the batch) that are not as wide as the header or not UTF-8.
    pub malformed: Vec<usize>,
    /// The memory that the fetched bytes take, given back with the last batch of a row group.
    pub memory: Option<Arc<OwnedSemaphorePermit>>,
}

/// The columns of a batch, decoded when asked for.
#[derive(Debug)]
pub enum BatchColumns {
    /// Rows of a Parquet row group.
    Parquet(RowGroup),
    /// Text cells of CSV.
    Csv(MemoryColumns),
}

impl ColumnSource for BatchColumns {
    fn rows(&self) -> usize {
        match self {
            Self::Parquet(rows) => rows.rows(),
            Self::Csv(cells) => cells.rows(),
        }
    }

    fn column(&self, name: &str) -> Result<Series> {
        match self {
            Self::Parquet(rows) => rows.column(name),
            Self::Csv(cells) => cells.column(name),
        }
    }

    fn is_untyped_text(&self) -> bool {
        matches!(self, Self::Csv(_))
    }
}

/// The whole input in batches. Of parts for which `ids_only` says so, only the ids are read.
pub fn batches(
    dataset: &Arc<Dataset>,
    reading: Reading,
    ids_only: impl Fn(u64) -> bool + Send + Sync + 'static,
) -> BoxStream<'static, Result<InputBatch>> {
    if dataset.is_csv() {
        return csv_batches(Arc::clone(dataset), reading.columns, reading.batch_rows);
    }
    let units = row_group_units(dataset, reading.batch_rows);
    let (dataset, columns, id) = (Arc::clone(dataset), Arc::new(reading.columns), Arc::new(vec![reading.id]));
    let budget = permits(reading.fetch_bytes).max(1);
    let memory = Arc::new(Semaphore::new(budget as usize));
    futures::stream::iter(units)
        // One after the other, so that a row group never waits for the memory of a later one.
        .then(move |unit| {
            let memory = Arc::clone(&memory).acquire_many_owned(permits(unit.fetched_bytes).min(budget));
            async move { (unit, memory.await.ok()) }
        })
        .map(move |(unit, memory)| {
            let needed = if unit.parts().all(&ids_only) { Arc::clone(&id) } else { Arc::clone(&columns) };
            let dataset = Arc::clone(&dataset);
            // A task of its own, so that bytes arrive while the consumer is busy.
            let fetch = tokio::spawn(async move { fetch(&dataset, unit, &needed, memory).await });
            async move { fetch.await.map_err(|error| Error::Defect(error.to_string()))? }
        })
        .buffered(FETCHES_AHEAD)
        .map_ok(|batches| futures::stream::iter(batches.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}

/// Bytes in the unit that memory is handed out in.
fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024))
        .unwrap_or(u32::MAX)
        .min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX))
}

/// One row group and the batches to cut it into.
#[derive(Debug, PartialEq)]
struct RowGroupUnit {
    object: usize,
    row_group: usize,
    /// Bytes that reading it takes.
    fetched_bytes: u64,
    /// Number of the row group's first row within the object.
    first_row: u64,
    /// Part and rows (within the row group) of each batch.
    batches: Vec<(u64, Range<usize>)>,
}

impl RowGroupUnit {
    fn parts(&self) -> impl Iterator<Item = u64> {
        self.batches.iter().map(|(part, _)| *part)
    }
}

fn row_group_units(dataset: &Dataset, batch_rows: usize) -> Vec<RowGroupUnit> {
    let mut units = Vec::new();
    let mut parts = PartCutter::default();
    for (object, file) in dataset.objects.iter().enumerate() {
        let mut first_row = 0;
        let groups = file.parquet.iter().flat_map(ParquetFile::row_groups);
        for (row_group, size) in groups.enumerate() {
            if size.rows > 0 {
                let pieces = parts.cut(size.rows);
                let batches =
                    pieces.into_iter().flat_map(|(part, rows)| evenly(rows, batch_rows).map(move |rows| (part, rows)));
                let (fetched_bytes, batches) = (size.fetched_bytes, batches.collect());
                units.push(RowGroupUnit { object, row_group, fetched_bytes, first_row, batches });
            }
            first_row += size.rows as u64;
        }
    }
    units
}

/// Rows of the largest part of a Parquet input.
#[must_use]
pub fn largest_part_rows(dataset: &Dataset) -> u64 {
    let mut parts = PartCutter::default();
    let (mut part, mut rows_of_part, mut largest) = (0, 0, 0);
    let files = dataset.objects.iter().filter_map(|object| object.parquet.as_ref());
    for (next, rows) in files.flat_map(ParquetFile::row_groups).flat_map(|size| parts.cut(size.rows)) {
        if next != part {
            (part, rows_of_part) = (next, 0);
        }
        rows_of_part += rows.len() as u64;
        largest = largest.max(rows_of_part);
    }
    largest
}

/// Hands out the rows of row groups, in order, to parts.
#[derive(Debug, Default)]
struct PartCutter {
    part: u64,
    rows: u64,
}

impl PartCutter {
    /// The pieces of the next row group, of `rows` rows, and the part of each.
    fn cut(&mut self, rows: usize) -> Vec<(u64, Range<usize>)> {
        let mut pieces = Vec::new();
        let mut start = 0;
        while start < rows {
            let end = rows.min(start + PART_ROWS as usize);
            if self.rows >= PART_ROWS {
                (self.part, self.rows) = (self.part + 1, 0);
            }
            pieces.push((self.part, start..end));
            self.rows += (end - start) as u64;
            start = end;
        }
        pieces
    }
}

/// Cuts rows into as few ranges of at most `most` as there can be, of about one size.
fn evenly(rows: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let pieces = rows.len().div_ceil(most.max(1)).max(1);
    let size = rows.len().div_ceil(pieces).max(1);
    rows.clone().step_by(size).map(move |start| start..rows.end.min(start + size))
}

async fn fetch(
    dataset: &Dataset,
    unit: RowGroupUnit,
    columns: &[String],
    memory: Option<OwnedSemaphorePermit>,
) -> Result<Vec<InputBatch>> {
    let object = &dataset.objects[unit.object];
    let Some(file) = &object.parquet else { return Ok(Vec::new()) };
    let group = file.fetch(dataset.store.as_ref(), &object.meta, unit.row_group, columns).await?;
    let memory = memory.map(Arc::new);
    let batch = |(part, rows): (u64, Range<usize>)| InputBatch {
        part,
        object: unit.object,
        first_row: unit.first_row + rows.start as u64,
        columns: BatchColumns::Parquet(group.narrowed(rows)),
        malformed: Vec::new(),
        memory: memory.clone(),
    };
    Ok(unit.batches.into_iter().map(batch).collect())
}

fn csv_batches(
    dataset: Arc<Dataset>,
    columns: Vec<String>,
    batch_rows: usize,
) -> BoxStream<'static, Result<InputBatch>> {
    let (sender, receiver) = mpsc::channel(CSV_BATCHES_AHEAD);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read_csv(&dataset, &columns, batch_rows, &runtime, &sender) {
            // A closed channel means that nobody waits for the error either.
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|batch| (batch, receiver)) })
        .boxed()
}

fn read_csv(
    dataset: &Dataset,
    columns: &[String],
    batch_rows: usize,
    runtime: &Handle,
    sender: &mpsc::Sender<Result<InputBatch>>,
) -> Result<()> {
    let mut place = 0_u64;
    for (index, object) in dataset.objects.iter().enumerate() {
        let name = dataset.object_name(index);
        let (store, meta) = (Arc::clone(&dataset.store), object.meta.clone());
        let mut reader = CsvReader::open(store, meta, object.format, &name, runtime.clone())?;
        loop {
            let left_in_part = (PART_ROWS - place % PART_ROWS) as usize;
            let Some(batch) = reader.next_batch(columns, batch_rows.min(left_in_part))? else { break };
            let part = place / PART_ROWS;
            place += batch.columns.rows() as u64;
            let batch = InputBatch {
                part,
                object: index,
                first_row: batch.first_row,
                columns: BatchColumns::Csv(batch.columns),
                malformed: batch.malformed,
                memory: None,
            };
            if sender.blocking_send(Ok(batch)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_with_row_groups_and_large_row_groups_are_cut() {
        let mut parts = PartCutter::default();
        let half = PART_ROWS as usize / 2;
        assert_eq!(parts.cut(half + 1), [(0, 0..half + 1)]);
        assert_eq!(parts.cut(half), [(0, 0..half)]);
        assert_eq!(parts.cut(1), [(1, 0..1)]);
        let full = PART_ROWS as usize;
        assert_eq!(parts.cut(full + 5), [(1, 0..full), (2, full..full + 5)]);
    }

    #[test]
    fn batches_cover_every_row_once_and_are_of_about_one_size() {
        for (rows, most) in [(0..1, 1), (5..1_000, 7), (3..1 << 20, 65_536), (0..100, 1 << 20), (0..131_073, 131_072)] {
            let mut next = rows.start;
            let ranges: Vec<_> = evenly(rows.clone(), most).collect();
            for range in &ranges {
                assert_eq!(range.start, next);
                assert!(range.len() <= most && range.len() + ranges.len() >= ranges[0].len());
                next = range.end;
            }
            assert_eq!(next, rows.end);
            assert_eq!(ranges.len(), rows.len().div_ceil(most));
        }
    }

    #[test]
    fn memory_is_handed_out_in_kibibytes() {
        assert_eq!((permits(0), permits(1), permits(2048)), (0, 1, 2));
        assert_eq!(u64::from(permits(u64::MAX)), u64::from(u32::MAX).min(Semaphore::MAX_PERMITS as u64));
    }
}
