//! Scored batches, in input order, into parts: each row is predicted or rejected with a reason.

use std::sync::Arc;

use error::{Error, Result};
use features::quality::FeatureTally;
use polars::prelude::{BooleanChunked, DataFrame, IntoColumn, NamedFrom, NewChunkedArray, Series};

use super::reject_sources::RejectSources;
use super::rejected::{Reason, RejectCounts, RejectedRows};
use super::unreadable::UnreadableColumn;
use crate::ids::{IdCheck, IdKeys, SeenIds};
use crate::plan_memory::TextRoom;
use crate::read::RowSource;
use crate::score::{Scorable, ScoredBatch, Scores};
use crate::slices::{OpenSlice, SliceTally};

/// A part whose rows are all there.
#[derive(Debug)]
pub struct FinishedPart {
    /// Its number.
    pub index: u64,
    /// Input rows.
    pub rows_read: u64,
    /// The predicted rows, without the model's version yet.
    pub predicted: DataFrame,
    /// The rejected rows.
    pub rejected: RejectedRows,
    /// Rejected rows by reason.
    pub reasons: RejectCounts,
    /// Rejected rows by object.
    pub reject_sources: RejectSources,
    /// What the cells of each feature were like.
    pub tallies: Vec<FeatureTally>,
    /// Cells that do not parse as their feature's type.
    pub unreadable: Vec<UnreadableColumn>,
    /// Bytes of its texts in memory.
    pub text_bytes: u64,
    /// The sum of the scales of predicted rows, where there are intervals.
    pub scale_sum: Option<f64>,
    /// Its rows by the values of the model's slices.
    pub slices: Vec<SliceTally>,
}

/// Collects batches until a part is full.
#[derive(Debug)]
pub struct Assembler {
    ids: IdCheck,
    /// Names of the objects, for the rejected rows.
    sources: Vec<Arc<str>>,
    new_tallies: Vec<FeatureTally>,
    texts: TextRoom,
    current: Option<OpenPart>,
}

#[derive(Debug)]
struct OpenPart {
    index: u64,
    rows_read: u64,
    predicted: Vec<DataFrame>,
    rejected: RejectedRows,
    reject_sources: RejectSources,
    tallies: Vec<FeatureTally>,
    unreadable: Vec<UnreadableColumn>,
    text_bytes: u64,
    scale_sum: Option<f64>,
    slices: Vec<OpenSlice>,
}

impl Assembler {
    /// Nothing collected yet. `ids` tells which are repeated; `sources` are the objects' names; `texts` is the room for the texts
    /// of a part.
    #[must_use]
    pub fn new(ids: IdCheck, sources: Vec<Arc<str>>, new_tallies: Vec<FeatureTally>, texts: TextRoom) -> Self {
        Self { ids, sources, new_tallies, texts, current: None }
    }

    /// Whether ids are compared by their order.
    #[must_use]
    pub fn is_by_order(&self) -> bool {
        matches!(self.ids, IdCheck::Ascending(_))
    }

    /// Whether the ids of a batch can be compared with those before: there is room for them, and where they are compared by their
    /// order, they are in it, and else it is known which rows take theirs. Input that is not sorted shows it in the first batch: from then on ids are compared in memory.
    ///
    /// # Errors
    /// As [`IdKeys::of`].
    pub fn can_compare(&mut self, batch: &mut ScoredBatch) -> Result<bool> {
        if let IdCheck::Ascending(order) = &mut self.ids {
            let next = match &batch.keys {
                IdKeys::Ascending(ids) => ids.after(order.last.as_ref()),
                IdKeys::Whole(_) | IdKeys::Hashed(_) => None,
            };
            match (next, order.otherwise.filter(|_| !order.has_begun)) {
                (Some(last), _) => {
                    (order.last, order.has_begun) = (last, true);
                    return Ok(true);
                }
                (None, Some((expected, most))) => self.ids = IdCheck::Seen(SeenIds::expecting(expected), most),
                (None, None) => return Ok(false),
            }
        }
        if let (IdKeys::Ascending(_), IdCheck::Seen(..)) = (&batch.keys, &self.ids) {
            batch.keys = IdKeys::of(&batch.ids)?;
        }
        if let (Scorable::NotKnown, IdCheck::Seen(..)) = (&batch.scorable, &self.ids) {
            return Ok(false);
        }
        Ok(match &self.ids {
            IdCheck::Seen(seen, most_bytes) => seen.has_room(batch.keys.len(), *most_bytes),
            IdCheck::Off | IdCheck::Known(_) | IdCheck::Ascending(_) => true,
        })
    }

    /// Takes in the next batch of the input; gives the part that ended before it, if one did.
    ///
    /// # Errors
    /// [`Error::Resources`] where there is no room for its texts, [`Error::Defect`] where columns do not fit together.
    pub fn push(&mut self, batch: &ScoredBatch) -> Result<Option<FinishedPart>> {
        let Some(scores) = &batch.scores else {
            self.remember(batch);
            return self.end_part_before(batch.part);
        };
        let finished = self.end_part_before(batch.part)?;
        let verdicts = self.judge(batch, scores);
        let tallies = &self.new_tallies;
        let part = self.current.get_or_insert_with(|| OpenPart::new(batch.part, tallies.clone()));
        part.add(batch, scores, &verdicts, &self.sources)?;
        self.texts.check(part.text_bytes, part.rows_read)?;
        Ok(finished)
    }

    /// The last part, if it has rows.
    ///
    /// # Errors
    /// As [`Assembler::push`].
    pub fn end(&mut self) -> Result<Option<FinishedPart>> {
        self.current.take().map(OpenPart::finish).transpose()
    }

    fn end_part_before(&mut self, part: u64) -> Result<Option<FinishedPart>> {
        match &self.current {
            Some(open) if open.index != part => self.end(),
            _ => Ok(None),
        }
    }

    /// The rows of a part that an earlier attempt finished: their ids count as scored.
    fn remember(&mut self, batch: &ScoredBatch) {
        let IdCheck::Seen(seen, _) = &mut self.ids else { return };
        for row in 0..batch.keys.len() {
            prefetch(seen, batch, row);
            if let Some(key) = batch.keys.get(row).filter(|_| batch.scorable.contains(row)) {
                seen.insert(key);
            }
        }
    }

    /// Why each row is rejected, in input order: of an id the first row that can be scored is.
    fn judge(&mut self, batch: &ScoredBatch, scores: &Scores) -> Vec<Option<Reason>> {
        let judge_row = |row: usize| {
            if let IdCheck::Seen(seen, _) = &self.ids {
                prefetch(seen, batch, row);
            }
            // First, since a CSV row that is not as wide as the header has no cell that counts, its id included.
            if scores.bad.is_bad(row) {
                return Some(Reason::BadValue);
            }
            if !batch.keys.has_id(row) {
                return Some(Reason::NullId);
            }
            let is_repeated = match &mut self.ids {
                IdCheck::Off | IdCheck::Ascending(_) => false,
                IdCheck::Seen(seen, _) => batch.keys.get(row).is_some_and(|key| !seen.insert(key)),
                IdCheck::Known(repeated) => repeated.contains(batch.first_row_of_all + row as u64),
            };
            is_repeated.then_some(Reason::DuplicateId)
        };
        (0..batch.keys.len()).map(judge_row).collect()
    }
}

/// Rows whose ids are looked up together.
const ROWS_AHEAD: usize = 32;

fn prefetch(seen: &SeenIds, batch: &ScoredBatch, row: usize) {
    if row.is_multiple_of(ROWS_AHEAD) {
        seen.prefetch(&batch.keys, row..(row + ROWS_AHEAD).min(batch.keys.len()));
    }
}

impl OpenPart {
    fn new(index: u64, tallies: Vec<FeatureTally>) -> Self {
        Self {
            index,
            rows_read: 0,
            predicted: Vec::new(),
            rejected: RejectedRows::default(),
            reject_sources: RejectSources::default(),
            tallies,
            unreadable: Vec::new(),
            text_bytes: 0,
            scale_sum: None,
            slices: Vec::new(),
        }
    }

    fn add(
        &mut self,
        batch: &ScoredBatch,
        scores: &Scores,
        verdicts: &[Option<Reason>],
        sources: &[Arc<str>],
    ) -> Result<()> {
        self.rows_read += verdicts.len() as u64;
        for (tally, more) in self.tallies.iter_mut().zip(&scores.tallies) {
            tally.add(more);
        }
        self.slices.resize_with(scores.slices.len(), OpenSlice::new);
        let scales = scores.intervals.as_ref().map(|intervals| intervals.scales.as_slice());
        for (slice, of_batch) in self.slices.iter_mut().zip(&scores.slices) {
            slice.add(of_batch.as_ref(), &scores.predictions, scales, |row| verdicts[row].is_none());
        }
        let name = |source: &RowSource| sources.get(source.object).map_or("", |name| name);
        UnreadableColumn::add_batch(&mut self.unreadable, scores.bad.unreadable(), &batch.sources, name);
        let mut columns = vec![batch.ids.clone().into_column()];
        columns.push(Series::new("prediction".into(), &scores.predictions).into_column());
        if let Some(intervals) = &scores.intervals {
            columns.extend(intervals.ends.iter().cloned().map(IntoColumn::into_column));
            // Row by row in their order: the same sum whatever the batches were.
            let scales = intervals.scales.iter().zip(verdicts).filter(|(_, verdict)| verdict.is_none());
            let sum = scales.fold(self.scale_sum.unwrap_or_default(), |sum, (scale, _)| sum + f64::from(*scale));
            self.scale_sum = Some(sum);
        }
        columns.extend(scores.reasons.iter().cloned());
        columns.extend(scores.carried.iter().cloned().map(IntoColumn::into_column));
        let mut frame = DataFrame::new(verdicts.len(), columns).map_err(|error| Error::Defect(error.to_string()))?;
        if verdicts.iter().any(Option::is_some) {
            let kept: Vec<bool> = verdicts.iter().map(Option::is_none).collect();
            let mask = BooleanChunked::from_slice("kept".into(), &kept);
            frame = frame.filter(&mask).map_err(|error| Error::Defect(error.to_string()))?;
            for source in &batch.sources {
                let of_source = verdicts.get(source.rows.clone()).unwrap_or_default();
                if of_source.iter().any(Option::is_some) {
                    let ids = batch.ids.slice(source.rows.start as i64, source.rows.len());
                    let name = sources.get(source.object).cloned().unwrap_or_default();
                    self.reject_sources.count(source.object, &name, of_source.iter().flatten().copied());
                    self.rejected.add(&ids, source.first_row, of_source, name)?;
                }
            }
        }
        // Those of the output itself are names of features, which have no bytes of their own in a row: the plan counts them.
        let texts = frame.columns().iter().filter(|column| !columns::is_output_column(column.name()));
        self.text_bytes += texts.map(|column| text_bytes(column.as_materialized_series())).sum::<u64>();
        self.predicted.push(frame);
        Ok(())
    }

    fn finish(self) -> Result<FinishedPart> {
        let defect = |error: polars::prelude::PolarsError| Error::Defect(error.to_string());
        let mut frames = self.predicted.into_iter();
        let mut predicted = frames.next().unwrap_or_default();
        for frame in frames {
            predicted.vstack_mut(&frame).map_err(defect)?;
        }
        let Self { index, rows_read, rejected, reject_sources, tallies, unreadable, text_bytes, scale_sum, .. } = self;
        let (reasons, slices) = (rejected.counts(), self.slices.into_iter().map(OpenSlice::finish).collect());
        Ok(FinishedPart {
            index,
            rows_read,
            predicted,
            reasons,
            reject_sources,
            rejected,
            tallies,
            unreadable,
            text_bytes,
            scale_sum,
            slices,
        })
    }
}

/// Bytes of a column's texts and their views in memory: texts that repeat may stand there once.
fn text_bytes(column: &Series) -> u64 {
    /// Every text has a view, which holds short ones itself.
    const VIEW_BYTES: u64 = 16;
    let Ok(texts) = column.str() else { return 0 };
    let bytes = texts.downcast_iter().map(|array| array.total_bytes_len().min(array.total_buffer_len()) as u64);
    bytes.sum::<u64>() + texts.len() as u64 * VIEW_BYTES
}
