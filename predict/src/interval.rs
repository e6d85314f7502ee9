//! Between which values an actual value lies: the scale model of a model, and the ends of the interval of a row.

use std::sync::Mutex;

use error::{Error, Result};
use evaluation::{Ends, interval, is_interval_level, rows_needed};
use polars::prelude::Float64Chunked;
use registry::{Intervals, Metadata};
use scoring::{CheckedModel, InstructionSet, QuantizedBlock, Scorer};

/// The setting, for messages.
const SETTING: &str = "--interval (INTERVAL)";

/// The value of the setting.
///
/// # Errors
/// A text that says what it may be.
pub fn parse_level(text: &str) -> Result<f64, String> {
    let level = text.parse().ok().filter(|level| is_interval_level(*level));
    level.ok_or_else(|| "it must be from 0.5 to 0.99 in steps of 0.005, such as 0.9".to_owned())
}

/// What makes the intervals of one level.
#[derive(Debug)]
pub struct IntervalModel {
    /// Half the width of an interval where the scale is 1.
    quantile: f64,
    /// The mean absolute error that is expected where the scale is 1.
    mean_error: f64,
    /// The columns of the model's matrix that the scale model looks at. Behind them stands the prediction.
    columns: Vec<usize>,
    scorer: Scorer,
    /// Blocks that batches take turns with.
    blocks: Mutex<Vec<QuantizedBlock>>,
    /// Bytes of its file.
    pub bytes: u64,
}

/// The intervals of the rows of a batch.
#[derive(Debug)]
pub struct BatchIntervals {
    /// The columns of the lower and of the upper ends.
    pub ends: [Float64Chunked; 2],
    /// How wide they are, before they are clipped, relative to those of other rows.
    pub scales: Vec<f32>,
}

/// That a model has the intervals that are asked for, before its scale model is read.
///
/// # Errors
/// [`Error::Model`] that says how to train a model that has them.
pub fn check_level(metadata: &Metadata, location: &str, level: f64) -> Result<f64> {
    let Some(intervals) = &metadata.intervals else {
        return Err(Error::Model(format!(
            "{location}: the model has no intervals, since no rows were there to calibrate them: train again with this release, without \
             --rounds (ROUNDS) or with --interval-folds 5 (INTERVAL_FOLDS), or leave out {SETTING}"
        )));
    };
    intervals.errors.at(level).ok_or_else(|| {
        Error::Model(format!(
            "{location}: the intervals of the model were calibrated on {} rows, and a level of {level} takes {}: train with more rows, or ask \
             for a lower level with {SETTING}{}",
            intervals.rows,
            rows_needed(level).unwrap_or_default(),
            intervals.errors.levels.last().map(|most| format!(", at most {most}")).unwrap_or_default()
        ))
    })
}

impl IntervalModel {
    /// Compiles the scale model, if it says of the golden rows what it said when it was trained.
    ///
    /// # Errors
    /// [`Error::Model`] where it does not, is damaged, or has no intervals of this level.
    pub fn load(scale: &[u8], metadata: &Metadata, location: &str, asked: Asked) -> Result<Self> {
        let quantile = check_level(metadata, location, asked.level)?;
        let Some(Intervals { columns, mean_error, golden, .. }) = &metadata.intervals else {
            return Err(Error::Defect("a model without intervals was checked for them".to_owned()));
        };
        let damaged = |what: &str| Error::Model(format!("{location}/scale.ubj {what}; train again"));
        let checked = CheckedModel::check(scale).map_err(|problem| damaged(&format!("cannot be read: {problem}")))?;
        let trees = checked.into_ensemble().map_err(|problem| damaged(&format!("cannot be used: {problem}")))?;
        let instructions = asked.instructions.unwrap_or_else(InstructionSet::best);
        let scorer = Scorer::compile_for(&trees, instructions)
            .map_err(|problem| damaged(&format!("cannot be used: {problem}")))?;
        if scorer.n_features() != columns.len() + 1 {
            return Err(damaged("does not fit its metadata"));
        }
        let matrix = metadata.golden.columns();
        let mut cells: Vec<&[f32]> = columns.iter().filter_map(|place| matrix.get(*place)).map(Vec::as_slice).collect();
        cells.push(&metadata.golden.predictions);
        let mut scales = vec![0.0; metadata.golden.predictions.len()];
        scorer.predict(&cells, &mut scales);
        let differs = |(here, there): (&f32, &f32)| here.to_bits() != there.to_bits();
        if scales.len() != golden.len() || scales.iter().zip(golden).any(differs) {
            return Err(Error::Model(format!(
                "{location}: golden rows have intervals of another width here than when the model was trained: this machine or library \
                 computes otherwise, so nothing is scored with it"
            )));
        }
        Ok(Self {
            quantile,
            mean_error: *mean_error,
            columns: columns.clone(),
            scorer,
            blocks: Mutex::default(),
            bytes: scale.len() as u64,
        })
    }

    /// Bytes that a row takes while it is scored.
    #[must_use]
    pub fn row_bytes(&self) -> u64 {
        // A scale and both ends besides what is quantised.
        (self.scorer.row_bytes() + size_of::<f32>() + 2 * size_of::<f64>()) as u64
    }

    /// The mean absolute error that is expected of rows whose scales have this sum.
    #[must_use]
    pub fn expected_mae(&self, scale_sum: f64, rows: u64) -> Option<f64> {
        (rows > 0).then(|| self.mean_error * scale_sum / rows as f64)
    }

    /// A batch of so many rows, of which nothing is known yet.
    #[must_use]
    pub fn batch(&self, rows: usize) -> ScaledBatch<'_> {
        let free = self.blocks.lock().map(|mut blocks| blocks.pop()).unwrap_or_default();
        let block = free.filter(|block| block.rows() >= rows).unwrap_or_else(|| self.scorer.new_block(rows));
        ScaledBatch { model: self, block, rows }
    }
}

/// What intervals are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The level.
    pub level: f64,
    /// What trees are compiled for; none: the fastest that the machine has.
    pub instructions: Option<InstructionSet>,
}

/// The rows of a batch on their way to intervals.
#[derive(Debug)]
pub struct ScaledBatch<'a> {
    model: &'a IntervalModel,
    block: QuantizedBlock,
    rows: usize,
}

impl ScaledBatch<'_> {
    /// Takes in a column of the model's matrix.
    pub fn take(&mut self, column: usize, values: &[f32]) {
        if let Ok(place) = self.model.columns.binary_search(&column) {
            self.model.scorer.quantise(place, values, 0, &mut self.block);
        }
    }

    /// The intervals, given what the model says of the rows before it is clipped, and their predictions.
    ///
    /// # Errors
    /// [`Error::Model`] where a width is no finite number.
    pub fn finish(mut self, outputs: &[f32], predictions: &[f64], clip: Option<Ends>) -> Result<BatchIntervals> {
        let model = self.model;
        model.scorer.quantise(model.columns.len(), outputs, 0, &mut self.block);
        let mut scales = vec![0.0; self.rows];
        model.scorer.score(&mut self.block, &mut scales);
        if let Ok(mut blocks) = model.blocks.lock() {
            blocks.push(self.block);
        }
        let (mut low, mut high) = (vec![0.0; predictions.len()], vec![0.0; predictions.len()]);
        let mut is_finite = true;
        for ((prediction, scale), (low, high)) in predictions.iter().zip(&scales).zip(low.iter_mut().zip(&mut high)) {
            (*low, *high) = interval(*prediction, model.quantile * f64::from(*scale), clip);
            is_finite &= low.is_finite() & high.is_finite();
        }
        if !is_finite {
            return Err(Error::Model(
                "the ends of an interval are no finite numbers: train the model again".to_owned(),
            ));
        }
        let column = |name: &str, ends| Float64Chunked::from_vec(name.into(), ends);
        Ok(BatchIntervals { ends: [column("prediction_low", low), column("prediction_high", high)], scales })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_one_that_models_have() {
        assert_eq!([parse_level("0.9"), parse_level("0.975"), parse_level(".5")], [Ok(0.9), Ok(0.975), Ok(0.5)]);
        for wrong in ["90", "0.999", "0.49", "1", "0.901", "", "nan", "ninety"] {
            assert!(parse_level(wrong).unwrap_err().contains("0.5 to 0.99"), "{wrong}");
        }
    }
}
