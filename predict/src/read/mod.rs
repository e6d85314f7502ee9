//! Step 4: the input as a stream of batches, in input order, fetched ahead, cut where parts end.

mod cells;
mod read_tasks;

use std::future::ready;
use std::ops::Range;
use std::sync::Arc;

use columns::{CellFormat, CodedRows, ColumnSource, MemoryColumns, RawColumn};
use error::{Error, Result};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use machine::memory::Reservation;
use machine::tasks::joined;
use polars::prelude::Series;
use table::parquet::{PageReader, RowGroup, RowRun};
use table::partitions::PartitionValues;
use table::{DataObject, Dataset};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use read_tasks::{ReadTask, Span, read_tasks};

pub use read_tasks::{PART_ROWS, ROWS_TOGETHER, largest_part, largest_part_rows, part_rows};

/// Row groups fetched at once, as far as the bytes allow: many where they are small.
const FETCHES_AHEAD: usize = 16;
/// Objects of one such fetch that are read at once.
const OBJECTS_AT_ONCE: usize = 8;

/// What is read, and how much at a time.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Columns to read.
    pub columns: Vec<String>,
    /// The column that identifies a row.
    pub id: String,
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// Fetched bytes that may be in memory at once.
    pub fetch_bytes: u64,
    /// How row groups are read that are too large to be held.
    pub paged: PagedReads,
}

/// How row groups are read that are too large to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagedReads {
    /// Row groups of more fetched bytes are read page by page.
    pub whole_most: u64,
    /// Most rows of such a read.
    pub rows: usize,
    /// Bytes that it takes besides those of its rows.
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
    /// Nothing, nor of any later part.
    End,
}

/// The room of what was read.
#[derive(Debug, Clone)]
pub enum BatchMemory {
    /// Of fetched bytes of Parquet.
    Fetched(Arc<OwnedSemaphorePermit>),
    /// Of long records of CSV.
    Long(Arc<(Option<OwnedSemaphorePermit>, Reservation)>),
}

/// Rows of one batch, and where they come from.
#[derive(Debug)]
pub struct InputBatch {
    /// The part that these rows go to.
    pub part: u64,
    /// Where they come from, in order.
    pub sources: Vec<RowSource>,
    /// 0-based number of the first row within the whole input.
    pub first_row_of_all: u64,
    /// The columns.
    pub columns: BatchColumns,
    /// Rows (counted within the batch) that are not as wide as the header or not UTF-8.
    pub malformed: Vec<usize>,
    /// The memory that it takes, given back with the last batch of what was read at once.
    pub memory: Option<BatchMemory>,
}

/// Rows of a batch that come from one object and follow one another there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSource {
    /// Which object of the dataset.
    pub object: usize,
    /// 0-based number of the first of them within the object.
    pub first_row: u64,
    /// Which rows of the batch they are.
    pub rows: Range<usize>,
}

/// The columns of a batch, decoded when asked for.
#[derive(Debug)]
pub enum BatchColumns {
    /// Rows of a Parquet row group, or of several.
    Parquet(RowRun),
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

    fn raw_column(&self, name: &str) -> Option<RawColumn<'_>> {
        match self {
            Self::Parquet(_) => None,
            Self::Csv(cells, _) => cells.raw_column(name),
        }
    }

    fn coded_column(&self, name: &str) -> Option<Vec<CodedRows>> {
        match self {
            Self::Parquet(rows) => rows.coded_column(name),
            Self::Csv(..) => None,
        }
    }

    fn numbers(&self, name: &str, take: &mut dyn FnMut(&mut [f64])) -> Option<()> {
        match self {
            Self::Parquet(rows) => rows.numbers(name, take),
            Self::Csv(..) => None,
        }
    }
}

/// The whole input in batches, except of parts of which nothing is needed. CSV is read from its start to the last part that is
/// needed nevertheless, since its rows are found only by reading it.
pub fn batches(
    dataset: &Arc<Dataset>,
    options: ReadOptions,
    need: impl Fn(u64) -> Need + Send + Sync + 'static,
) -> BoxStream<'static, Result<InputBatch>> {
    let all = match dataset.is_csv() {
        true => cells::batches(Arc::clone(dataset), options.columns, options.batch_rows),
        false => parquet_batches(dataset, options, &need),
    };
    let needed = move |batch: &Result<InputBatch>| batch.as_ref().map_or(Need::Everything, |batch| need(batch.part));
    // What is read at once may be of several parts.
    all.map(move |batch| (needed(&batch), batch))
        .take_while(|(needed, _)| ready(*needed != Need::End))
        .filter_map(|(needed, batch)| ready((needed != Need::Nothing).then_some(batch)))
        .boxed()
}

fn parquet_batches(
    dataset: &Arc<Dataset>,
    options: ReadOptions,
    need: impl Fn(u64) -> Need,
) -> BoxStream<'static, Result<InputBatch>> {
    let tasks: Vec<(ReadTask, Need)> = read_tasks(dataset, &options)
        .into_iter()
        .map(|task| (task.most_needed(&need), task))
        .filter(|(needed, _)| *needed != Need::Nothing)
        .map(|(needed, task)| (task, needed))
        .collect();
    let (dataset, columns, id) = (Arc::clone(dataset), Arc::new(options.columns), Arc::new(vec![options.id]));
    let budget = permits(options.fetch_bytes).max(1);
    let memory = Arc::new(Semaphore::new(budget as usize));
    let mut chain = ReaderChain::default();
    futures::stream::iter(tasks)
        // One after the other, so that a row group never waits for the memory of a later one.
        .then(move |(task, needed)| {
            let memory = Arc::clone(&memory).acquire_many_owned(permits(task.fetched_bytes).min(budget));
            async move { (task, needed, memory.await.ok()) }
        })
        .map(move |(task, needed, memory)| {
            let columns = Arc::clone(if needed == Need::Everything { &columns } else { &id });
            let link = chain.next();
            let dataset = Arc::clone(&dataset);
            // A task of its own, so that bytes arrive while the consumer is busy.
            let fetch = tokio::spawn(async move { fetch(&dataset, task, &columns, link, memory).await });
            async move { joined(fetch.await)? }
        })
        .buffered(FETCHES_AHEAD)
        .map_ok(|batches| futures::stream::iter(batches.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}

/// Bytes in the task that memory is handed out in.
fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024))
        .unwrap_or(u32::MAX)
        .min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX))
}

/// Hands the reader of a row group from the range of rows that was read on to the next one, each in a task of its own.
#[derive(Default)]
struct ReaderChain {
    last: Option<oneshot::Receiver<PageReader>>,
}

/// The place of one fetch in the chain.
struct Link {
    before: Option<oneshot::Receiver<PageReader>>,
    after: oneshot::Sender<PageReader>,
}

impl ReaderChain {
    fn next(&mut self) -> Link {
        let (after, next) = oneshot::channel();
        Link { before: self.last.replace(next), after }
    }
}

async fn fetch(
    dataset: &Dataset,
    task: ReadTask,
    columns: &[String],
    link: Link,
    memory: Option<OwnedSemaphorePermit>,
) -> Result<Vec<InputBatch>> {
    let run = match &task.paged_rows {
        None => fetch_whole(dataset, &task, columns).await?,
        Some(rows) => fetch_pages(dataset, &task, rows.clone(), columns, link).await?.into(),
    };
    let memory = memory.map(|permit| BatchMemory::Fetched(Arc::new(permit)));
    let groups = rows_of_groups(dataset, &task);
    let batch = |(part, rows): (u64, Range<usize>)| InputBatch {
        part,
        sources: sources_of(&groups, &rows),
        first_row_of_all: task.first_row_of_all + rows.start as u64,
        // Of a row group that is read page by page, the run has no more than its rows.
        columns: BatchColumns::Parquet(if task.paged_rows.is_some() { run.clone() } else { run.narrowed(rows) }),
        malformed: Vec::new(),
        memory: memory.clone(),
    };
    Ok(task.batches.iter().cloned().map(batch).collect())
}

/// Where the rows of each row group of a task come from.
fn rows_of_groups(dataset: &Dataset, task: &ReadTask) -> Vec<RowSource> {
    let (mut groups, mut start) = (Vec::new(), 0);
    for Span { object, row_groups, first_row } in &task.spans {
        let file = dataset.objects[*object].parquet.as_ref();
        let sizes = file.and_then(|file| file.row_groups().get(row_groups.clone())).unwrap_or_default();
        let mut first_row = *first_row;
        for size in sizes {
            groups.push(RowSource { object: *object, first_row, rows: start..start + size.rows });
            (first_row, start) = (first_row + size.rows as u64, start + size.rows);
        }
    }
    groups
}

/// Where some of these rows come from, row group by row group.
fn sources_of(groups: &[RowSource], rows: &Range<usize>) -> Vec<RowSource> {
    let first = groups.partition_point(|group| group.rows.end <= rows.start);
    let within = groups[first..].iter().take_while(|group| group.rows.start < rows.end);
    let source = |group: &RowSource| {
        let (start, end) = (group.rows.start.max(rows.start), group.rows.end.min(rows.end));
        let first_row = group.first_row + (start - group.rows.start) as u64;
        RowSource { object: group.object, first_row, rows: start - rows.start..end - rows.start }
    };
    within.map(source).collect()
}

async fn fetch_whole(dataset: &Dataset, task: &ReadTask, columns: &[String]) -> Result<RowRun> {
    let fetch = |span: Span| async move {
        let object = &dataset.objects[span.object];
        let file = object.parquet.as_ref().ok_or_else(|| no_parquet(object))?;
        file.fetch_groups(dataset.store.as_ref(), &object.meta, span.row_groups, columns).await
    };
    let spans = futures::stream::iter(task.spans.clone()).map(fetch);
    let groups: Vec<_> = spans.buffered(OBJECTS_AT_ONCE).try_collect().await?;
    Ok(RowRun::new(groups.into_iter().flatten().collect()))
}

fn no_parquet(object: &DataObject) -> Error {
    Error::Defect(format!("{} is not Parquet", object.meta.key))
}

/// Reads on where the rows before ended; from the row group's start where there was none, or one of other columns.
async fn fetch_pages(
    dataset: &Dataset,
    task: &ReadTask,
    rows: Range<usize>,
    columns: &[String],
    link: Link,
) -> Result<RowGroup> {
    let nothing = || Error::Defect("rows of no row group were asked for".to_owned());
    let span = task.spans.first().ok_or_else(nothing)?;
    let object = &dataset.objects[span.object];
    let file = object.parquet.as_ref().ok_or_else(|| no_parquet(object))?;
    let row_group = span.row_groups.start;
    let earlier = match link.before {
        Some(before) if rows.start > 0 => before.await.ok(),
        _ => None,
    };
    let mut reader = match earlier.filter(|reader| reader.is_of(file, row_group, columns)) {
        Some(reader) => reader,
        None => file.page_reader(&dataset.store, &object.meta, row_group, columns)?,
    };
    let run = reader.read(rows).await?;
    // Nobody waits for it after the last rows.
    let _ = link.after.send(reader);
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_a_batch_are_told_by_where_they_come_from() {
        let source = |object: usize, first_row: u64, rows: Range<usize>| RowSource { object, first_row, rows };
        let groups = [source(0, 7, 0..5), source(0, 12, 5..6), source(1, 0, 6..10)];
        assert_eq!(sources_of(&groups, &(0..10)), groups);
        assert_eq!(sources_of(&groups, &(4..7)), [source(0, 11, 0..1), source(0, 12, 1..2), source(1, 0, 2..3)]);
        assert_eq!(sources_of(&groups, &(8..10)), [source(1, 2, 0..2)]);
    }

    #[test]
    fn memory_is_handed_out_in_kibibytes() {
        assert_eq!((permits(0), permits(1), permits(2048)), (0, 1, 2));
        assert_eq!(u64::from(permits(u64::MAX)), u64::from(u32::MAX).min(Semaphore::MAX_PERMITS as u64));
    }
}
