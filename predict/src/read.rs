//! Step 2: the input as a stream of batches, in input order, fetched ahead, cut where parts end.

use std::ops::Range;
use std::sync::Arc;

use common::table::csv::CsvReader;
use common::table::parquet::RowGroup;
use common::table::{ColumnSource, Dataset, MemoryColumns};
use common::{Error, Result};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use polars::prelude::Series;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Input rows that make one part. Fixed, so that part boundaries depend on the input alone.
pub const PART_ROWS: u64 = 1 << 19;

/// Row groups fetched ahead of the one being scored.
const FETCH_AHEAD: usize = 2;

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

/// The whole input in batches of at most `batch_rows` rows. `columns` are read; of parts for which `ids_only` says so,
/// only `id`.
pub fn batches(
    dataset: &Arc<Dataset>,
    columns: &[String],
    id: &str,
    batch_rows: usize,
    ids_only: impl Fn(u64) -> bool + Send + Sync + 'static,
) -> BoxStream<'static, Result<InputBatch>> {
    if dataset.is_csv() {
        return csv_batches(Arc::clone(dataset), columns.to_vec(), batch_rows);
    }
    let units = row_group_units(dataset, batch_rows);
    let (dataset, columns, id) = (Arc::clone(dataset), Arc::new(columns.to_vec()), Arc::new(vec![id.to_owned()]));
    futures::stream::iter(units)
        .map(move |unit| {
            let needed = if unit.parts().all(&ids_only) { Arc::clone(&id) } else { Arc::clone(&columns) };
            let dataset = Arc::clone(&dataset);
            // A task of its own, so that bytes arrive while the consumer is busy.
            let fetch = tokio::spawn(async move { fetch(&dataset, unit, &needed).await });
            async move { fetch.await.map_err(|error| Error::Defect(error.to_string()))? }
        })
        .buffered(FETCH_AHEAD)
        .map_ok(|batches| futures::stream::iter(batches.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}

/// One row group and the batches to cut it into.
#[derive(Debug, PartialEq)]
struct RowGroupUnit {
    object: usize,
    row_group: usize,
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
    let mut first_of_group = 0_u64;
    for (object, file) in dataset.objects.iter().enumerate() {
        let mut first_row = 0;
        for (row_group, rows) in file.parquet.iter().flat_map(|file| file.row_group_rows().enumerate()) {
            if rows > 0 {
                let batches = cut(first_of_group, rows, batch_rows);
                units.push(RowGroupUnit { object, row_group, first_row, batches });
            }
            first_row += rows as u64;
            first_of_group += rows as u64;
        }
    }
    units
}

/// Cuts `rows` rows, the first of which is row `first` of the input, into batches that end where parts end.
fn cut(first: u64, rows: usize, batch_rows: usize) -> Vec<(u64, Range<usize>)> {
    let mut batches = Vec::new();
    let mut start = 0;
    while start < rows {
        let place = first + start as u64;
        let left_in_part = (PART_ROWS - place % PART_ROWS) as usize;
        let end = rows.min(start + batch_rows.min(left_in_part));
        batches.push((place / PART_ROWS, start..end));
        start = end;
    }
    batches
}

async fn fetch(dataset: &Dataset, unit: RowGroupUnit, columns: &[String]) -> Result<Vec<InputBatch>> {
    let object = &dataset.objects[unit.object];
    let Some(file) = &object.parquet else { return Ok(Vec::new()) };
    let group = file.fetch(dataset.store.as_ref(), &object.meta, unit.row_group, columns).await?;
    let batch = |(part, rows): (u64, Range<usize>)| InputBatch {
        part,
        object: unit.object,
        first_row: unit.first_row + rows.start as u64,
        columns: BatchColumns::Parquet(group.narrowed(rows)),
        malformed: Vec::new(),
    };
    Ok(unit.batches.into_iter().map(batch).collect())
}

fn csv_batches(
    dataset: Arc<Dataset>,
    columns: Vec<String>,
    batch_rows: usize,
) -> BoxStream<'static, Result<InputBatch>> {
    let (sender, receiver) = mpsc::channel(FETCH_AHEAD);
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
    fn batches_end_where_parts_end() {
        let batches = cut(PART_ROWS - 10, 100, 64);
        assert_eq!(batches, [(0, 0..10), (1, 10..74), (1, 74..100)]);
    }

    #[test]
    fn batches_cover_every_row_once() {
        for (first, rows, batch) in [(0, 1, 1), (5, 1_000, 7), (PART_ROWS * 3 - 1, 2, 100), (0, 1 << 20, 65_536)] {
            let batches = cut(first, rows, batch);
            let mut next = 0;
            for (part, range) in &batches {
                assert_eq!(range.start, next);
                assert_eq!(*part, (first + range.start as u64) / PART_ROWS);
                assert_eq!(*part, (first + range.end as u64 - 1) / PART_ROWS);
                next = range.end;
            }
            assert_eq!(next, rows);
        }
    }
}
