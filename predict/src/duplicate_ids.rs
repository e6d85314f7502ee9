//! Step 5, where there are more ids than the memory holds: which rows repeat an id, found before anything is scored.

use std::sync::Arc;

use columns::ColumnSource;
use error::Result;
use futures::TryStreamExt;
use table::Dataset;

use crate::ids::{IdKeys, IdScratch, RepeatedRows};
use crate::read::{self, InputBatch, Need, ReadOptions};
use crate::score::Scorer;

/// Reads the ids of all rows before part `end` by way of the scratch disk. Of CSV all cells are parsed: a row that cannot be scored does not
/// take its id.
///
/// # Errors
/// Those of reading, as they are; [`error::Error::Resources`] where the disk is full.
pub async fn find(
    dataset: &Arc<Dataset>,
    scorer: &Arc<Scorer>,
    reading: ReadOptions,
    end: u64,
) -> Result<RepeatedRows> {
    tracing::info!("the ids are compared by way of {}, before anything is scored", std::env::temp_dir().display());
    let mut batches = read::batches(dataset, reading, move |part| if part < end { Need::Ids } else { Need::End });
    let mut scratch = IdScratch::create()?;
    while let Some(batch) = batches.try_next().await? {
        let scorer = Arc::clone(scorer);
        let take_in = move || take_in(scratch, &scorer, &batch);
        scratch = machine::tasks::blocking(take_in).await??;
    }
    machine::tasks::blocking(move || scratch.repeated_rows()).await?
}

fn take_in(mut scratch: IdScratch, scorer: &Scorer, batch: &InputBatch) -> Result<IdScratch> {
    let keys = IdKeys::of(&batch.columns.column(&scorer.id)?)?;
    // Cells that have a type already cannot fail to parse.
    if batch.columns.cell_format(&scorer.id).is_some() {
        let bad = scorer.bad_rows(batch)?;
        scratch.push(&keys, |row| !bad.is_bad(row))?;
    } else {
        scratch.push(&keys, |_| true)?;
    }
    Ok(scratch)
}
