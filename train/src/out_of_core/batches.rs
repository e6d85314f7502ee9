//! Rows as batches of the matrix: fetched, decoded and encoded by a thread of its own while the batch before is used.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use error::{Error, Result};
use evaluation::split::CrossFolds;
use machine::tasks::joined;
use machine::threads::{on_threads, refused};
use table::{LoadableTable, RangeColumns};
use tokio::runtime::Handle;
use xgboost::{Batch, BatchSource, Column};

use super::Stop;
use super::encoded::{EncodedBatch, MatrixColumns, Used};
use crate::fit::{Part, TargetScale};
use crate::read::{Rows, TrainingData};

/// The rows of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Those that a model is fitted to.
    Training,
    /// Those that judge it.
    HeldOut,
}

/// What is to be read, and how.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) data: Arc<TrainingData>,
    pub(super) side: Side,
    /// Which rows of the side, where these are not all.
    pub(super) part: Option<Part>,
    /// The places of the rows that this task reads, where these are not all.
    pub(super) share: Option<Range<usize>>,
    /// Folds of the training rows.
    pub(super) folds: Arc<CrossFolds>,
    pub(super) columns: Arc<MatrixColumns>,
    /// How XGBoost sees the target.
    pub(super) scale: TargetScale,
    /// Most rows of the table that a batch is made of.
    pub(super) batch_rows: usize,
    pub(super) threads: usize,
    pub(super) runtime: Handle,
    pub(super) stop: Stop,
}

/// What the reading thread says; `None` is the end.
type Message = Result<Option<EncodedBatch>>;

/// All batches of a job, as many times as they are asked for.
#[derive(Debug)]
pub(super) struct Batches {
    job: Arc<Job>,
    reading: Option<(Receiver<Message>, JoinHandle<()>)>,
    current: Option<EncodedBatch>,
}

impl Batches {
    /// The batches of a job. Nothing is read before the first is asked for.
    pub(super) fn new(job: Job) -> Self {
        Self { job: Arc::new(job), reading: None, current: None }
    }

    /// The next batch that has rows.
    ///
    /// # Errors
    /// What reading fails with; [`Error::Stopped`].
    pub(super) fn advance(&mut self) -> Result<Option<&EncodedBatch>> {
        self.job.stop.check()?;
        // Freed before the next one is waited for.
        self.current = None;
        if self.reading.is_none() {
            let (send, receive) = sync_channel(0);
            let job = Arc::clone(&self.job);
            let read = move || {
                let end = job.read(&send).map(|()| None);
                // Where nobody listens any more, nobody needs the end.
                let _ = send.send(end);
            };
            let thread = std::thread::Builder::new().name("batches".to_owned()).spawn(read);
            self.reading = Some((receive, thread.map_err(refused)?));
        }
        let ended = || Error::Defect("the thread that reads batches ended before its end".to_owned());
        let (receive, _) = self.reading.as_ref().ok_or_else(ended)?;
        self.current = receive.recv().map_err(|_| ended())??;
        Ok(self.current.as_ref())
    }

    /// The batch that was asked for last, as XGBoost takes it.
    pub(super) fn current(&self) -> Option<Batch<'_>> {
        let batch = self.current.as_ref()?;
        let columns = batch.cells.iter().map(|cells| Column::from(cells.as_slice())).collect();
        Some(Batch { columns, labels: Some(&batch.labels), weights: batch.weights.as_deref() })
    }

    /// Ends the thread that reads: it finds nobody listening.
    fn end_reading(&mut self) {
        if let Some((receive, thread)) = self.reading.take() {
            drop(receive);
            let _ = thread.join();
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.end_reading();
    }
}

impl BatchSource for Batches {
    fn rewind(&mut self) -> Result<()> {
        self.current = None;
        self.end_reading();
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<Batch<'_>>> {
        self.advance()?;
        Ok(self.current())
    }
}

impl Job {
    fn rows(&self) -> &Rows {
        match self.side {
            Side::Training => &self.data.train,
            Side::HeldOut => &self.data.test,
        }
    }

    /// Reads all rows; ends early where nobody listens.
    fn read(&self, send: &SyncSender<Message>) -> Result<()> {
        let rows = self.rows();
        let table = &self.data.tables[rows.table];
        let names = Arc::new(self.columns.input_columns());
        let mut done = 0;
        let share = self.share.clone().unwrap_or(0..table.rows());
        // Row groups without a row of this side are not read.
        let ranges = table.row_ranges().into_iter().filter(|range| {
            let places = range.places.start.max(share.start)..range.places.end.min(share.end);
            !places.is_empty() && !rows_within(rows, 0, &places).is_empty()
        });
        let mut fetching = ranges.map(|range| {
            let (table, names) = (Arc::clone(table), Arc::clone(&names));
            let places = (range.places.clone(), table.row_groups_of(&range));
            let columns: tokio::task::JoinHandle<Result<RangeColumns>> =
                self.runtime.spawn(async move { LoadableTable::range_columns(&table, &range, &names).await });
            (places, columns)
        });
        let mut next = fetching.next();
        while let Some(((places, row_groups), columns)) = next {
            let columns = joined(self.runtime.block_on(columns))??;
            next = fetching.next();
            // Where batches end bears on the bins, and so on the model: it is where row groups do, however they are read.
            // Shares are made of whole row groups.
            let row_groups = row_groups.iter().filter(|places| share.contains(&places.start));
            for batch in row_groups.flat_map(|places| cut(places, self.batch_rows)) {
                self.stop.check()?;
                let within = rows_within(rows, done, &batch);
                done = within.end;
                let source = columns.narrowed(batch.start - places.start..batch.end - places.start);
                let used: Vec<usize> = within.filter(|&row| self.part.is_none_or(|part| part.holds(row))).collect();
                if used.is_empty() {
                    continue;
                }
                let encoded = self.encode(&source, batch.start, used)?;
                if send.send(Ok(Some(encoded))).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Encodes the columns, several at once.
    fn encode(&self, source: &RangeColumns, first: usize, used: Vec<usize>) -> Result<EncodedBatch> {
        let rows = self.rows();
        let places: Vec<u32> = used.iter().map(|&row| rows.places[row]).collect();
        let folds: Vec<u8> = match self.side {
            Side::Training => used.iter().map(|&row| self.folds.reads[row]).collect(),
            Side::HeldOut => Vec::new(),
        };
        let of_matrix = Used { rows: &places, first, folds: &folds };
        let next = AtomicUsize::new(0);
        let work = || {
            let mut encoded = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.columns.len() {
                    return encoded;
                }
                encoded.push((index, self.columns.encode(index, source, &of_matrix)));
            }
        };
        let mut encoded = on_threads(self.threads, work).concat();
        encoded.sort_by_key(|(index, _)| *index);
        let cells = encoded.into_iter().map(|(_, cells)| cells).collect::<Result<_>>()?;
        let labels = used.iter().map(|&row| self.scale.label(rows, row)).collect();
        let weights = rows.weights.as_ref().map(|weights| used.iter().map(|&row| weights[row]).collect());
        Ok(EncodedBatch { cells, rows: used, labels, weights })
    }
}

/// Which of the rows, of which the first `done` lie before them, have these places.
fn rows_within(rows: &Rows, done: usize, places: &Range<usize>) -> Range<usize> {
    let before = |end: usize| done + rows.places[done..].partition_point(|&place| (place as usize) < end);
    before(places.start)..before(places.end)
}

/// Places in runs of about the same length, at most `most`.
fn cut(places: &Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let (start, count) = (places.start, places.len());
    let runs = count.div_ceil(most.max(1));
    (0..runs).map(move |run| start + count * run / runs..start + count * (run + 1) / runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_cut_into_runs_of_about_the_same_length() {
        let runs: Vec<_> = cut(&(100..110), 4).collect();
        assert_eq!(runs, [100..103, 103..106, 106..110]);
        assert_eq!(cut(&(5..5), 4).count(), 0);
        assert_eq!(cut(&(0..4), 4).collect::<Vec<_>>(), vec![0..4]);
    }

    #[test]
    fn rows_are_found_by_their_places() {
        let rows = Rows { places: vec![1, 4, 5, 9], ..Rows::default() };
        assert_eq!(rows_within(&rows, 0, &(0..5)), 0..2);
        assert_eq!(rows_within(&rows, 2, &(5..9)), 2..3);
        assert!(rows_within(&rows, 0, &(6..9)).is_empty());
    }
}
