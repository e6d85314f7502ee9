//! Step 5, where several tasks share a run: which parts are this task's.

use std::ops::Range;
use std::sync::Arc;

use error::{Error, Result};
use futures::TryStreamExt;
use machine::Shard;
use table::Dataset;

use crate::plan::Shards;
use crate::read::{self, Need, ReadOptions};

/// The parts that a task scores, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Their numbers.
    pub parts: Range<u64>,
    /// Rows of the input up to its end, where they are known before reading: their ids are compared.
    pub rows_until_end: Option<u64>,
}

impl Share {
    /// All parts.
    #[must_use]
    pub fn whole(dataset: &Dataset) -> Self {
        Self { parts: 0..u64::MAX, rows_until_end: dataset.row_count() }
    }

    /// Those of a shard, of an input with so many parts.
    #[must_use]
    pub fn of(shard: Shard, parts: u64, dataset: &Dataset) -> Self {
        match dataset.is_csv() {
            true => Self { parts: shard.share_of(parts), rows_until_end: None },
            false => Self::of_parquet(shard, dataset),
        }
    }

    /// Those of a shard, of Parquet.
    #[must_use]
    pub fn of_parquet(shard: Shard, dataset: &Dataset) -> Self {
        let rows = read::part_rows(dataset);
        let parts = shard.share_of(rows.len() as u64);
        let end = usize::try_from(parts.end).unwrap_or(usize::MAX).min(rows.len());
        Self { parts, rows_until_end: Some(rows[..end].iter().sum()) }
    }
}

/// How the tasks of a new run share it. CSV is read to its end for that, since nothing else tells how many rows it has.
///
/// # Errors
/// Those of reading, as they are.
pub async fn shards_of(shard: Shard, dataset: &Arc<Dataset>, reading: ReadOptions) -> Result<Shards> {
    let count = shard.count();
    if !dataset.is_csv() {
        return Ok(Shards { count, parts: read::part_rows(dataset).len() as u64 });
    }
    tracing::info!("the rows of the input are counted, so that every shard knows its share");
    let mut batches = read::batches(dataset, reading, |_| Need::Ids);
    let mut parts = 0;
    while let Some(batch) = batches.try_next().await? {
        parts = batch.part + 1;
    }
    Ok(Shards { count, parts })
}

/// Refuses a plan that says of Parquet how many parts it has, and is wrong; `location` is the plan's, for the message.
///
/// # Errors
/// [`Error::Data`].
pub fn refuse_other_parts(shards: Shards, dataset: &Dataset, location: &str) -> Result<()> {
    let parts = read::part_rows(dataset).len() as u64;
    if dataset.is_csv() || parts == shards.parts {
        return Ok(());
    }
    Err(Error::Data(format!(
        "{location} is damaged: it says that the input has {} parts, which has {parts}; use another run id",
        shards.parts
    )))
}
