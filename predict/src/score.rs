//! Step 5: a batch of input rows into predictions. Pure computing: any number of batches may be scored at once.

use std::sync::atomic::{AtomicBool, Ordering};

use columns::ColumnSource;
use error::{Error, Result};
use features::clip::final_prediction;
use features::encode::BadRows;
use features::quality::FeatureTally;
use polars::prelude::Series;
use scoring::Reason;
use xgboost::{Booster, Column, Feature, FeatureKind};

use crate::ids::IdKeys;
use crate::interval::{BatchIntervals, ScaledBatch};
use crate::load::{Compiled, Engine, Model, explain_by_xgboost, once_each};
use crate::read::{BatchColumns, InputBatch, RowSource};
use crate::reasons::Reasons;
use crate::slices::{BatchValues, RunSlices};
use crate::sources::Sources;

/// The rows of a batch with their predictions.
#[derive(Debug)]
pub struct ScoredBatch {
    /// The part that they go to.
    pub part: u64,
    /// Where they come from, in order.
    pub sources: Vec<RowSource>,
    /// 0-based number of the first row within the whole input.
    pub first_row_of_all: u64,
    /// Their ids as they came.
    pub ids: Series,
    /// Their ids for comparison.
    pub keys: IdKeys,
    /// Their predictions and all else; none where only the ids were read.
    pub scores: Option<Scores>,
    /// Which of them can be scored, where only the ids were read.
    pub scorable: Scorable,
}

/// What is asked of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Its predictions and all else.
    Everything,
    /// Its ids, all of whose rows can be scored.
    Ids,
    /// Its ids, and which of its rows can be scored: another row does not take its id.
    IdsOfScorable,
}

/// Which rows of a batch can be scored, where only the ids were read.
#[derive(Debug)]
pub enum Scorable {
    /// All.
    All,
    /// All but these.
    AllBut(BadRows),
    /// That was not found out, since ids that ascend need not know it.
    NotKnown,
}

impl Scorable {
    /// Whether a row can be scored.
    #[must_use]
    pub fn contains(&self, row: usize) -> bool {
        match self {
            Self::All | Self::NotKnown => true,
            Self::AllBut(bad) => !bad.is_bad(row),
        }
    }
}

/// What scoring a batch gives besides ids.
#[derive(Debug)]
pub struct Scores {
    /// One prediction per row.
    pub predictions: Vec<f64>,
    /// Rows that cannot be scored.
    pub bad: BadRows,
    /// What the cells of each feature were like.
    pub tallies: Vec<FeatureTally>,
    /// Their intervals, where these are asked for.
    pub intervals: Option<BatchIntervals>,
    /// Reasons and their contributions.
    pub reasons: Vec<polars::prelude::Column>,
    /// Input columns to carry over.
    pub carried: Vec<Series>,
    /// The rows by the values of the model's slices, as far as they can be told.
    pub slices: Vec<Option<BatchValues>>,
}

fn as_columns(matrix: &[Vec<f32>]) -> Vec<Column<'_>> {
    matrix.iter().map(|column| Column::from(column.as_slice())).collect()
}

/// What the trees give for the rows of a batch.
struct Outputs {
    predictions: Vec<f64>,
    intervals: Option<BatchIntervals>,
    reasons: Vec<polars::prelude::Column>,
}

/// What scoring needs to know.
#[derive(Debug)]
pub struct Scorer {
    /// The model.
    pub model: Model,
    /// Name of the id column.
    pub id: String,
    /// Columns carried over to the predictions.
    pub carry: Vec<String>,
    /// Whether ids are compared by their order, so that those that ascend need no keys.
    pub by_order: AtomicBool,
    /// The reasons that are asked for.
    pub reasons: Option<Reasons>,
    /// The columns by whose values rows are told apart.
    pub slices: RunSlices,
}

impl Scorer {
    /// Input columns that scoring reads, each once.
    #[must_use]
    pub fn input_columns(&self) -> Vec<String> {
        let of_reasons = self.reasons.iter().flat_map(Reasons::input_columns).cloned();
        let own = self.model.input_columns(&self.carry).into_iter();
        once_each(own.chain(of_reasons).chain(self.slices.columns()))
    }

    /// Scores a batch, or only reads its ids.
    ///
    /// # Errors
    /// [`Error::Data`] where a column cannot be decoded or is of the wrong type.
    pub fn score(&self, batch: &InputBatch, asked: Asked) -> Result<ScoredBatch> {
        let ids = batch.columns.column(&self.id)?;
        let by_order = self.by_order.load(Ordering::Relaxed);
        let keys = if by_order { IdKeys::ascending_or_of(&ids)? } else { IdKeys::of(&ids)? };
        let scores = if asked == Asked::Everything { Some(self.scores(batch)?) } else { None };
        let scorable = match (asked, &batch.columns) {
            // Cells that have a type already cannot fail to parse.
            (Asked::Everything | Asked::Ids, _) | (_, BatchColumns::Parquet(_)) => Scorable::All,
            (Asked::IdsOfScorable, BatchColumns::Csv(..)) if by_order => Scorable::NotKnown,
            (Asked::IdsOfScorable, BatchColumns::Csv(..)) => Scorable::AllBut(self.bad_rows(batch)?),
        };
        let InputBatch { part, first_row_of_all, .. } = *batch;
        Ok(ScoredBatch { part, sources: batch.sources.clone(), first_row_of_all, ids, keys, scores, scorable })
    }

    /// Rows of a batch that cannot be scored, found without scoring.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn bad_rows(&self, batch: &InputBatch) -> Result<BadRows> {
        let mut bad = BadRows::none(batch.columns.rows());
        batch.malformed.iter().for_each(|&row| bad.mark(row));
        let mut values = Vec::new();
        for (index, tally) in self.model.new_tallies().iter_mut().enumerate() {
            self.model.encoder.encode(index, &batch.columns, &mut values, tally, &mut bad)?;
        }
        Ok(bad)
    }

    fn scores(&self, batch: &InputBatch) -> Result<Scores> {
        let columns = &batch.columns;
        let mut bad = BadRows::none(columns.rows());
        batch.malformed.iter().for_each(|&row| bad.mark(row));
        let mut tallies = self.model.new_tallies();
        let outputs = match &self.model.engine {
            Engine::Compiled(compiled) => self.score_compiled(compiled, columns, &mut tallies, &mut bad)?,
            Engine::Xgboost(booster) => self.score_by_xgboost(booster, columns, &mut tallies, &mut bad)?,
        };
        let carried = self.carry.iter().map(|name| columns.carried(name)).collect::<Result<_>>()?;
        let slices = self.slices.of_batch(columns)?;
        let Outputs { predictions, intervals, reasons } = outputs;
        Ok(Scores { predictions, bad, tallies, intervals, reasons, carried, slices })
    }

    /// Each column is encoded and quantised while it is in the cache; no matrix of the batch is ever built.
    fn score_compiled(
        &self,
        compiled: &Compiled,
        columns: &BatchColumns,
        tallies: &mut [FeatureTally],
        bad: &mut BadRows,
    ) -> Result<Outputs> {
        let rows = columns.rows();
        let mut scaled = self.model.interval.as_ref().map(|interval| interval.batch(rows));
        let mut block = compiled.take_block(rows);
        let mut values = Vec::with_capacity(rows);
        for (index, tally) in tallies.iter_mut().enumerate() {
            self.model.encoder.encode(index, columns, &mut values, tally, bad)?;
            compiled.scorer.quantise(index, &values, 0, &mut block);
            if let Some(scaled) = &mut scaled {
                scaled.take(index, &values);
            }
        }
        let mut outputs = vec![0.0; rows];
        compiled.scorer.score(&mut block, &mut outputs);
        let (predictions, intervals) = self.finish(&outputs, scaled)?;
        let reasons = self.reasons(columns, &predictions, |wanted, count| {
            let n_rows = wanted.map_or(rows, |wanted| block.keep(wanted));
            Ok(compiled.explain(&block, n_rows, count))
        })?;
        compiled.return_block(block);
        Ok(Outputs { predictions, intervals, reasons })
    }

    fn score_by_xgboost(
        &self,
        booster: &Booster,
        columns: &BatchColumns,
        tallies: &mut [FeatureTally],
        bad: &mut BadRows,
    ) -> Result<Outputs> {
        let mut scaled = self.model.interval.as_ref().map(|interval| interval.batch(columns.rows()));
        let mut matrix = Vec::with_capacity(tallies.len());
        for (index, tally) in tallies.iter_mut().enumerate() {
            let mut values = Vec::new();
            self.model.encoder.encode(index, columns, &mut values, tally, bad)?;
            if let Some(scaled) = &mut scaled {
                scaled.take(index, &values);
            }
            matrix.push(values);
        }
        let in_place = |matrix: &[Vec<f32>]| booster.predict_columns(&as_columns(matrix), 0..0);
        let (predictions, intervals) = self.finish(&in_place(&matrix)?, scaled)?;
        let reasons = self.reasons(columns, &predictions, |wanted, count| {
            if let Some(wanted) = wanted {
                // In place, since a row never moves back.
                for column in &mut matrix {
                    for (to, from) in wanted.iter().enumerate() {
                        column[to] = column[*from];
                    }
                    column.truncate(wanted.len());
                }
            }
            explain_by_xgboost(booster, &as_columns(&matrix), &self.xgboost_features(), &self.sources(), count)
        })?;
        Ok(Outputs { predictions, intervals, reasons })
    }

    /// The columns of reasons; `explain` gives those of the rows that get some (none: all).
    fn reasons(
        &self,
        columns: &BatchColumns,
        predictions: &[f64],
        explain: impl FnOnce(Option<&[usize]>, usize) -> Result<Vec<Reason>>,
    ) -> Result<Vec<polars::prelude::Column>> {
        let Some(asked) = &self.reasons else { return Ok(Vec::new()) };
        let wanted = asked.wanted(columns, predictions)?;
        let reasons = explain(wanted.as_deref(), asked.count)?;
        asked.columns(&reasons, wanted.as_deref(), predictions.len())
    }

    fn sources(&self) -> Sources {
        Sources::of(self.model.features())
    }

    /// The features as XGBoost's matrices have them.
    fn xgboost_features(&self) -> Vec<Feature> {
        let feature = |feature: &features::encode::Feature| Feature {
            name: feature.name.clone(),
            kind: if feature.xgboost_type() == "c" { FeatureKind::Category } else { FeatureKind::Number },
        };
        self.model.features().map(feature).collect()
    }

    /// Predictions and their intervals.
    fn finish(&self, outputs: &[f32], scaled: Option<ScaledBatch<'_>>) -> Result<(Vec<f64>, Option<BatchIntervals>)> {
        if let Some(output) = outputs.iter().find(|output| !output.is_finite()) {
            return Err(Error::Model(format!(
                "the model predicts {output}, which is no finite number: train it again"
            )));
        }
        let clip = self.model.metadata.clip;
        let predictions: Vec<f64> = outputs.iter().map(|output| final_prediction(*output, clip)).collect();
        let intervals = scaled.map(|scaled| scaled.finish(outputs, &predictions, clip)).transpose()?;
        Ok((predictions, intervals))
    }
}
