//! CSV, which is read from front to back on a thread of its own.

use std::sync::Arc;

use columns::ColumnSource;
use error::Result;
use futures::stream::{BoxStream, StreamExt};
use machine::memory::Reservation;
use machine::tasks::joined;
use table::Dataset;
use table::csv::{CsvReader, MalformedRow};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::{BatchColumns, BatchMemory, InputBatch, PART_ROWS, RowSource, permits};
use crate::plan_memory::TEXT_BYTES;

/// Batches read ahead of those being scored.
const BATCHES_AHEAD: usize = 2;

/// Bytes of long records that are read ahead; a batch that has more by itself waits until it is the only one.
const LONG_AHEAD: u32 = 16 << 20;

/// The rows of CSV objects in batches; parts end after every [`PART_ROWS`] rows.
pub(super) fn batches(
    dataset: Arc<Dataset>,
    columns: Vec<String>,
    batch_rows: usize,
) -> BoxStream<'static, Result<InputBatch>> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let runtime = Handle::current();
    let reading = tokio::task::spawn_blocking(move || {
        if let Err(error) = read_csv(&dataset, &columns, batch_rows, &runtime, &sender) {
            // A closed channel means that nobody waits for the error either.
            let _ = sender.blocking_send(Err(error));
        }
    });
    let next = |(mut receiver, reading): (mpsc::Receiver<_>, Option<JoinHandle<()>>)| async {
        if let Some(batch) = receiver.recv().await {
            return Some((batch, (receiver, reading)));
        }
        // A reader that panicked has closed the channel too: what is read then is not all there is.
        let unfinished = joined(reading?.await).err()?;
        Some((Err(unfinished), (receiver, None)))
    };
    futures::stream::unfold((receiver, Some(reading)), next).boxed()
}

/// Waits until those who score have given back what records read before take.
fn wait_for_room(ahead: &Arc<Semaphore>, mut memory: Reservation, runtime: &Handle) -> Result<BatchMemory> {
    let wanted = permits(memory.bytes()).min(permits(LONG_AHEAD.into()));
    let permit = runtime.block_on(Arc::clone(ahead).acquire_many_owned(wanted)).ok();
    // As cells, and as columns of those that somebody needs.
    memory.resize(2 * memory.bytes())?;
    Ok(BatchMemory::Long(Arc::new((permit, memory))))
}

fn read_csv(
    dataset: &Dataset,
    columns: &[String],
    batch_rows: usize,
    runtime: &Handle,
    sender: &mpsc::Sender<Result<InputBatch>>,
) -> Result<()> {
    let mut place = 0_u64;
    let ahead = Arc::new(Semaphore::new(permits(LONG_AHEAD.into()) as usize));
    for (index, object) in dataset.objects.iter().enumerate() {
        let name = dataset.object_name(index);
        let (store, meta) = (Arc::clone(&dataset.store), object.meta.clone());
        let reader = CsvReader::open(store, meta, (object.format, dataset.csv), &name, runtime.clone())?;
        let mut is_warned = false;
        let stored = object.partitions.stored_among(columns);
        // As much as the memory plan counts on: of longer cells there are fewer rows.
        let mut reader = reader.with_batch_bytes((batch_rows * columns.len()) as u64 * TEXT_BYTES);
        loop {
            let left_in_part = (PART_ROWS - place % PART_ROWS) as usize;
            let batch = reader.next_batch(&stored, batch_rows.min(left_in_part))?;
            reader.take_warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
            let Some(mut batch) = batch else { break };
            let memory = batch.memory.take().map(|memory| wait_for_room(&ahead, memory, runtime)).transpose()?;
            let cells = object.partitions.complete(batch.columns, columns, &batch.malformed, &name)?;
            let part = place / PART_ROWS;
            let first_row_of_all = place;
            place += cells.rows() as u64;
            if let Some(MalformedRow { row, problem }) = batch.first_problem.filter(|_| !is_warned) {
                tracing::warn!("{name}: data row {row} {problem}; it is rejected, as all such rows of this object are");
                is_warned = true;
            }
            let batch = InputBatch {
                part,
                sources: vec![RowSource { object: index, first_row: batch.first_row, rows: 0..cells.rows() }],
                first_row_of_all,
                columns: BatchColumns::Csv(cells, object.partitions.clone()),
                malformed: batch.malformed,
                memory,
            };
            if sender.blocking_send(Ok(batch)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
