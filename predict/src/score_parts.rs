//! Step 7: batch after batch through the scorer into parts, reading, scoring, encoding and uploading side by side.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use error::{Error, Result};
use futures::{StreamExt, TryStreamExt};
use machine::tasks::{Processors, joined};
use table::Dataset;
use telemetry::Unit;
use tokio::task::JoinHandle;

use crate::duplicate_ids;
use crate::ids::{IdCheck, Order, SeenIds};
use crate::plan_memory::MemoryPlan;
use crate::read::{self, InputBatch, Need, ReadOptions};
use crate::score::{Asked, ScoredBatch, Scorer};
use crate::settings::{Duplicates, Settings};
use crate::share::Share;
use crate::write::{Assembler, FinishedPart, FinishedParts, PartRecord, PartWriter};
use app::Context;

/// What stands ready to score the parts of a run.
#[derive(Debug)]
pub struct ScoringPipeline<'a> {
    /// What was asked.
    pub settings: &'a Settings,
    /// Threads and progress.
    pub context: &'a Context,
    /// The input.
    pub dataset: &'a Arc<Dataset>,
    /// How much may be in memory of what.
    pub memory: &'a MemoryPlan,
    /// The model.
    pub scorer: &'a Arc<Scorer>,
    /// Where parts go.
    pub writer: &'a PartWriter,
    /// The parts that are to be scored.
    pub share: &'a Share,
}

impl ScoringPipeline<'_> {
    /// Scores every part of the share that an earlier attempt did not finish; gives what came of all of them.
    ///
    /// # Errors
    /// Those of reading, scoring and writing, as they are.
    pub async fn score_parts(&self) -> Result<FinishedParts> {
        if self.share.parts.is_empty() {
            return Ok(FinishedParts::none(self.writer.slices));
        }
        self.dataset.store.keep_buffers(usize::try_from(self.memory.fetch_bytes).unwrap_or(usize::MAX));
        if self.settings.duplicates == Duplicates::Allow {
            return self.score_parts_surely(IdCheck::Off).await;
        }
        // Sorted input is common, and needs no memory for ids.
        let in_memory = (self.expected_rows(), self.memory.id_bytes);
        let otherwise = (!self.memory.ids_on_disk()).then_some(in_memory);
        self.scorer.by_order.store(true, Ordering::Relaxed);
        let by_order = IdCheck::Ascending(Order { last: None, has_begun: false, otherwise });
        let by_order = self.score_parts_checking(by_order).await?;
        self.scorer.by_order.store(false, Ordering::Relaxed);
        if let Some(records) = by_order {
            return Ok(records);
        }
        if !self.memory.ids_on_disk() {
            let seen = IdCheck::Seen(SeenIds::expecting(self.expected_rows()), self.memory.id_bytes);
            tracing::info!("ids are not sorted: they are compared in memory");
            if let Some(records) = self.score_parts_checking(seen).await? {
                return Ok(records);
            }
            // Known only for CSV: how many rows it has shows when it is read.
            tracing::info!("there are more ids than the memory plan has room for");
        }
        let repeated =
            duplicate_ids::find(self.dataset, self.scorer, self.read_options(), self.share.parts.end).await?;
        self.score_parts_surely(IdCheck::Known(repeated)).await
    }

    /// The same, in a way that takes no memory for ids.
    async fn score_parts_surely(&self, ids: IdCheck) -> Result<FinishedParts> {
        let records = self.score_parts_checking(ids).await?;
        records.ok_or_else(|| Error::Defect("repeated ids that are known took memory".to_owned()))
    }

    /// None where the memory for ids was used up, or ids do not ascend: the parts written until then stand.
    async fn score_parts_checking(&self, ids: IdCheck) -> Result<Option<FinishedParts>> {
        let finished = self.finished_parts(&ids).await?;
        if finished.records.len() as u64 == self.share.parts.end - self.share.parts.start {
            return Ok(Some(finished));
        }
        let is_finished: Arc<BTreeSet<u64>> = Arc::new(finished.records.iter().map(|record| record.index).collect());
        let of_others =
            if matches!(ids, IdCheck::Seen(..) | IdCheck::Ascending(_)) { Need::Ids } else { Need::Nothing };
        let asked = {
            let (is_finished, start) = (Arc::clone(&is_finished), self.share.parts.start);
            move |part: u64| match part {
                _ if part < start => Asked::IdsOfScorable,
                _ if is_finished.contains(&part) => Asked::Ids,
                _ => Asked::Everything,
            }
        };
        let need = {
            let (asked, end) = (asked.clone(), self.share.parts.end);
            move |part: u64| match asked(part) {
                _ if part >= end => Need::End,
                Asked::Everything => Need::Everything,
                Asked::Ids | Asked::IdsOfScorable => of_others,
            }
        };
        let batches = read::batches(self.dataset, self.read_options(), need);
        let in_flight = self.context.limits.threads.value + 1;
        let mut scored = batches
            .map_ok(|batch| {
                let asked = asked(batch.part);
                score_batch((Arc::clone(self.scorer), self.writer.processors.clone()), batch, asked)
            })
            .try_buffered(in_flight)
            .boxed();
        let progress = self.context.telemetry.progress("scoring", Unit::Items("rows"), self.share.rows_until_end);
        let sources = self.dataset.objects.iter().map(|object| Arc::from(object.meta.key.as_str())).collect();
        let mut assembler = Assembler::new(ids, sources, self.scorer.model.new_tallies(), self.memory.texts);
        let most = self.memory.parts_in_flight;
        let text_bytes = self.memory.texts.many_bytes;
        let mut uploads = Uploads { writer: self.writer, most, text_bytes, under_way: VecDeque::new(), finished };
        while let Some(mut batch) = scored.try_next().await? {
            if !assembler.can_compare(&mut batch)? {
                uploads.finish().await?;
                return Ok(None);
            }
            self.scorer.by_order.store(assembler.is_by_order(), Ordering::Relaxed);
            progress.advance(batch.keys.len() as u64);
            if let Some(part) = assembler.push(&batch)? {
                uploads.start(part).await?;
            }
        }
        if let Some(part) = assembler.end()? {
            uploads.start(part).await?;
        }
        let finished = uploads.finish().await?;
        progress.finish();
        Ok(Some(finished))
    }

    /// The parts that need not be scored again.
    async fn finished_parts(&self, ids: &IdCheck) -> Result<FinishedParts> {
        // Which rows of a part had bad values is not recorded, and an id whose first row was bad is not taken yet: where
        // ids are remembered as they come, such a part is scored again, to the same bytes.
        let is_remembered = matches!(ids, IdCheck::Seen(..) | IdCheck::Ascending(_));
        let is_kept = |record: &PartRecord| record.reasons.bad_value == 0 || !is_remembered;
        let finished = self.writer.finished_parts(&self.share.parts, is_kept).await?;
        if !finished.records.is_empty() {
            tracing::info!(parts = finished.records.len(), "continuing: these parts are finished already");
        }
        Ok(finished)
    }

    fn read_options(&self) -> ReadOptions {
        read_options(self.scorer, self.memory)
    }

    fn expected_rows(&self) -> usize {
        self.share.rows_until_end.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(0)
    }
}

/// How the input is read.
#[must_use]
pub fn read_options(scorer: &Scorer, memory: &MemoryPlan) -> ReadOptions {
    ReadOptions {
        columns: scorer.input_columns(),
        id: scorer.id.clone(),
        batch_rows: memory.batch_rows,
        fetch_bytes: memory.fetch_bytes,
        paged: memory.paged,
    }
}

async fn score_batch(
    (scorer, processors): (Arc<Scorer>, Processors),
    batch: InputBatch,
    asked: Asked,
) -> Result<ScoredBatch> {
    processors.run(move || scorer.score(&batch, asked)).await?
}

/// Parts on their way out, a bounded number of them.
struct Uploads<'a> {
    writer: &'a PartWriter,
    /// As many at once.
    most: usize,
    /// Parts with more bytes of text go out one after the other.
    text_bytes: u64,
    under_way: VecDeque<JoinHandle<Result<PartRecord>>>,
    finished: FinishedParts,
}

impl Uploads<'_> {
    async fn start(&mut self, part: FinishedPart) -> Result<()> {
        let most = if part.text_bytes > self.text_bytes { 1 } else { self.most };
        while self.under_way.len() >= most {
            self.wait_for_one().await?;
        }
        let writer = self.writer.clone();
        self.under_way.push_back(tokio::spawn(async move { writer.write(part).await }));
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        if let Some(upload) = self.under_way.pop_front() {
            self.finished.push(joined(upload.await)??);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<FinishedParts> {
        while !self.under_way.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(self.finished)
    }
}
