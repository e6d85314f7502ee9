//! Step 4: the input as a stream of batches, in input order, fetched ahead, cut where parts end.

mod cells;
mod units;

use std::ops::Range;
use std::sync::Arc;

use columns::{CellFormat, ColumnSource, MemoryColumns};
use error::{Error, Result};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use machine::tasks::joined;
use polars::prelude::Series;
use table::Dataset;
use table::parquet::{PieceReader, RowGroup};
use table::partitions::PartitionValues;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use units::{Unit, units};

pub use units::{PART_ROWS, largest_part, largest_part_rows};

/// Row groups fetched at once, as far as the bytes allow: many where they are small.
const FETCHES_AHEAD: usize = 16;

/// What is read, and how much at a time.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Columns to read.
    pub columns: Vec<String>,
    /// The column that identifies a row.
    pub id: String,
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// Fetched bytes that may be in memory at once.
    pub fetch_bytes: u64,
    /// How row groups are read that are too large to be held.
    pub pieces: Pieces,
}

/// How row groups are read that are too large to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces {
    /// Row groups of more fetched bytes are read in pieces.
    pub whole_most: u64,
    /// Most rows of a piece.
    pub rows: usize,
    /// Bytes that a piece takes besides those of its rows.
    pub overhead_bytes: u64,
}

/// What is needed of the rows of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// All that is read.
    Everything,
    /// Their ids: the part is finished, but later rows may repeat them.
    Ids,
    /// Nothing.
    Nothing,
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
    /// The same within the whole input.
    pub first_row_of_all: u64,
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
    /// Text cells of CSV, and what the names of the object's folders say.
    Csv(MemoryColumns, PartitionValues),
}

impl BatchColumns {
    /// A column as it is carried over to the output: one out of the names of folders is text in a batch of CSV, but has a
    /// type of its own.
    ///
    /// # Errors
    /// As [`ColumnSource::column`].
    pub fn carried(&self, name: &str) -> Result<Series> {
        match self {
            Self::Csv(cells, partitions) => {
                partitions.column(name, cells.rows()).map_or_else(|| cells.column(name), Ok)
            }
            Self::Parquet(rows) => rows.column(name),
        }
    }
}

impl ColumnSource for BatchColumns {
    fn rows(&self) -> usize {
        match self {
            Self::Parquet(rows) => rows.rows(),
            Self::Csv(cells, _) => cells.rows(),
        }
    }

    fn column(&self, name: &str) -> Result<Series> {
        match self {
            Self::Parquet(rows) => rows.column(name),
            Self::Csv(cells, _) => cells.column(name),
        }
    }

    fn cell_format(&self, name: &str) -> Option<CellFormat> {
        match self {
            Self::Parquet(_) => None,
            Self::Csv(cells, _) => cells.cell_format(name),
        }
    }
}

/// The whole input in batches, except of parts of which nothing is needed; those of CSV come nevertheless, since its rows
/// are found only by reading.
pub fn batches(
    dataset: &Arc<Dataset>,
    reading: Reading,
    need: impl Fn(u64) -> Need + Send + Sync + 'static,
) -> BoxStream<'static, Result<InputBatch>> {
    if dataset.is_csv() {
        return cells::batches(Arc::clone(dataset), reading.columns, reading.batch_rows);
    }
    let units: Vec<(Unit, Need)> = units(dataset, &reading)
        .into_iter()
        .map(|unit| (unit.most_needed(&need), unit))
        .filter(|(needed, _)| *needed != Need::Nothing)
        .map(|(needed, unit)| (unit, needed))
        .collect();
    let (dataset, columns, id) = (Arc::clone(dataset), Arc::new(reading.columns), Arc::new(vec![reading.id]));
    let budget = permits(reading.fetch_bytes).max(1);
    let memory = Arc::new(Semaphore::new(budget as usize));
    let mut chain = PieceChain::default();
    futures::stream::iter(units)
        // One after the other, so that a row group never waits for the memory of a later one.
        .then(move |(unit, needed)| {
            let memory = Arc::clone(&memory).acquire_many_owned(permits(unit.fetched_bytes).min(budget));
            async move { (unit, needed, memory.await.ok()) }
        })
        .map(move |(unit, needed, memory)| {
            let columns = Arc::clone(if needed == Need::Everything { &columns } else { &id });
            let link = chain.next();
            let dataset = Arc::clone(&dataset);
            // A task of its own, so that bytes arrive while the consumer is busy.
            let fetch = tokio::spawn(async move { fetch(&dataset, unit, &columns, link, memory).await });
            async move { joined(fetch.await)? }
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

/// Hands the reader of a row group from the piece that was read on to the next one, each in a task of its own.
#[derive(Default)]
struct PieceChain {
    last: Option<oneshot::Receiver<PieceReader>>,
}

/// The place of one fetch in the chain.
struct Link {
    before: Option<oneshot::Receiver<PieceReader>>,
    after: oneshot::Sender<PieceReader>,
}

impl PieceChain {
    fn next(&mut self) -> Link {
        let (after, next) = oneshot::channel();
        Link { before: self.last.replace(next), after }
    }
}

async fn fetch(
    dataset: &Dataset,
    unit: Unit,
    columns: &[String],
    link: Link,
    memory: Option<OwnedSemaphorePermit>,
) -> Result<Vec<InputBatch>> {
    let group = match &unit.piece {
        None => fetch_whole(dataset, &unit, columns).await?,
        Some(rows) => Some(fetch_piece(dataset, &unit, rows.clone(), columns, link).await?),
    };
    let Some(group) = group else { return Ok(Vec::new()) };
    let memory = memory.map(Arc::new);
    let batch = |(part, rows): (u64, Range<usize>)| InputBatch {
        part,
        object: unit.object,
        first_row: unit.first_row + rows.start as u64,
        first_row_of_all: unit.first_row_of_all + rows.start as u64,
        columns: BatchColumns::Parquet(group.narrowed(rows)),
        malformed: Vec::new(),
        memory: memory.clone(),
    };
    Ok(unit.batches.into_iter().map(batch).collect())
}

async fn fetch_whole(dataset: &Dataset, unit: &Unit, columns: &[String]) -> Result<Option<RowGroup>> {
    let object = &dataset.objects[unit.object];
    let Some(file) = &object.parquet else { return Ok(None) };
    file.fetch(dataset.store.as_ref(), &object.meta, unit.row_group, columns).await.map(Some)
}

/// Reads on where the piece before ended; from the row group's start where there was none, or one of other columns.
async fn fetch_piece(
    dataset: &Dataset,
    unit: &Unit,
    rows: Range<usize>,
    columns: &[String],
    link: Link,
) -> Result<RowGroup> {
    let object = &dataset.objects[unit.object];
    let no_parquet = || Error::Defect(format!("{} is not Parquet", object.meta.key));
    let file = object.parquet.as_ref().ok_or_else(no_parquet)?;
    let earlier = match link.before {
        Some(before) if rows.start > 0 => before.await.ok(),
        _ => None,
    };
    let mut reader = match earlier.filter(|reader| reader.is_of(file, unit.row_group, columns)) {
        Some(reader) => reader,
        None => file.pieces(&dataset.store, &object.meta, unit.row_group, columns).await?,
    };
    let piece = reader.read(rows).await?;
    // Nobody waits for it after the last piece.
    let _ = link.after.send(reader);
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_handed_out_in_kibibytes() {
        assert_eq!((permits(0), permits(1), permits(2048)), (0, 1, 2));
        assert_eq!(u64::from(permits(u64::MAX)), u64::from(u32::MAX).min(Semaphore::MAX_PERMITS as u64));
    }
}
