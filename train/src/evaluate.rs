//! Step 4: what the model is worth on the held-out rows.

use std::collections::BTreeMap;

use error::Result;
use evaluation::{Coverage, CoverageSums, Ends, Gate, Scores, coverage_by_tenths, interval};
use features::clip::final_prediction;
use features::spec::Spec;
use machine::Limits;
use ndarray::Array2;
use registry::load::MODEL_FACTOR;
use scoring::{CheckedModel, Ensemble, InstructionSet, Scorer};
use xgboost::{Booster, Column};

use crate::fit::{Calibration, ScaleModel, columns};
use crate::read::{Rows, TrainingData};

/// The level of the intervals that the report tells most of; a lower one where too few rows calibrate.
const SHOWN_LEVEL: f64 = 0.9;

/// Predictions of the held-out rows and how good they are.
#[derive(Debug)]
pub struct Evaluation {
    /// One prediction per held-out row, as `predict` would write it.
    pub predictions: Vec<f64>,
    /// R², RMSE and MAE against the targets.
    pub scores: Scores,
    /// Their intervals, where the model has any.
    pub intervals: Option<HeldOutIntervals>,
}

/// The intervals of the held-out rows.
#[derive(Debug)]
pub struct HeldOutIntervals {
    /// The highest level up to 0.9 that the model has.
    pub level: f64,
    /// The interval of that level for each row.
    pub ends: Vec<Ends>,
    /// How many actual values lie within intervals of each of some levels.
    pub by_level: Vec<(f64, Coverage)>,
    /// The same of the level above by tenths of the prediction, of which the lowest and the highest stand first.
    pub by_tenths: Vec<(Ends, Coverage)>,
    /// Mean absolute error that the model expects of these rows, and that it has.
    pub expected_mae: f64,
}

/// The trees of a model as `predict` compiles them: the same predictions as XGBoost's, in a small part of the time.
#[derive(Debug)]
pub struct CompiledTrees {
    /// The trees.
    pub ensemble: Ensemble,
    /// What they are compiled to.
    pub scorer: Scorer,
}

impl CompiledTrees {
    /// Compiles a model for this machine, by all threads of the run; none where only XGBoost can score it, or where compiling it would
    /// take more than a quarter of the memory.
    #[must_use]
    pub fn of(model: &[u8], limits: &Limits) -> Option<Self> {
        if MODEL_FACTOR * model.len() as u64 > limits.memory_bytes.value / 4 {
            return None;
        }
        let threads = limits.threads.value;
        let ensemble = CheckedModel::check_by(threads, model).ok()?.into_ensemble().ok()?;
        let scorer = Scorer::compile_by(threads, &ensemble, InstructionSet::best()).ok()?;
        Some(Self { ensemble, scorer })
    }
}

/// A model that predicts as `predict` will.
#[derive(Debug, Clone, Copy)]
pub struct Predictor<'a> {
    /// The trees.
    pub booster: &'a Booster,
    /// The same trees, compiled where they can be.
    pub compiled: Option<&'a CompiledTrees>,
    /// How wide intervals are, where the model has any.
    pub scale: Option<&'a ScaleModel<'a>>,
    /// Bounds that predictions are held inside.
    pub clip: Option<(f64, f64)>,
}

impl Predictor<'_> {
    /// Predicts the held-out rows as `predict` will, and compares with their targets.
    ///
    /// # Errors
    /// [`error::Error::Data`] where no R² can be computed: no rows, a constant target.
    pub fn evaluate(&self, gate: &Gate, matrix: &Array2<f32>, rows: &Rows) -> Result<Evaluation> {
        let columns = columns(matrix);
        let outputs = self.outputs(&columns)?;
        let scales = self.scale.map(|scale| scale.scales(&columns, &outputs)).transpose()?;
        self.compare(gate, &outputs, scales.as_deref(), rows)
    }

    /// What the trees say of some rows, given as columns of the model's matrix.
    ///
    /// # Errors
    /// What XGBoost refuses.
    pub fn outputs<C: AsRef<[f32]>>(&self, columns: &[C]) -> Result<Vec<f32>> {
        let rows = columns.first().map_or(0, |column| column.as_ref().len());
        if rows == 0 {
            return Ok(Vec::new());
        }
        if let Some(CompiledTrees { scorer, .. }) =
            self.compiled.filter(|trees| trees.scorer.n_features() == columns.len())
        {
            let columns: Vec<&[f32]> = columns.iter().map(C::as_ref).collect();
            let mut outputs = vec![0.0; rows];
            scorer.predict(&columns, &mut outputs);
            return Ok(outputs);
        }
        let columns: Vec<Column<'_>> = columns.iter().map(|column| Column::from(column.as_ref())).collect();
        Ok(self.booster.predict_columns(&columns, 0..0)?)
    }

    /// How good outputs for the held-out rows are, and how well their intervals hold.
    ///
    /// # Errors
    /// As [`Predictor::evaluate`].
    pub fn compare(&self, gate: &Gate, outputs: &[f32], scales: Option<&[f32]>, rows: &Rows) -> Result<Evaluation> {
        let predictions: Vec<f64> = outputs.iter().map(|output| final_prediction(*output, self.clip)).collect();
        let scores = gate.measure(&rows.target, &predictions, rows.weights.as_deref())?;
        let calibration = self.scale.map(ScaleModel::calibration);
        let intervals = calibration
            .zip(scales)
            .and_then(|(calibration, scales)| HeldOutIntervals::of(calibration, &predictions, scales, self.clip, rows));
        Ok(Evaluation { predictions, scores, intervals })
    }
}

impl HeldOutIntervals {
    /// None where too few rows calibrate for any level.
    fn of(
        calibration: &Calibration,
        predictions: &[f64],
        scales: &[f32],
        clip: Option<(f64, f64)>,
        rows: &Rows,
    ) -> Option<Self> {
        let weight = |row: usize| rows.weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]));
        let of_level = |level: f64| {
            let quantile = calibration.errors.at(level)?;
            let of_row = |(prediction, scale): (&f64, &f32)| interval(*prediction, quantile * f64::from(*scale), clip);
            Some(predictions.iter().zip(scales).map(of_row).collect::<Vec<Ends>>())
        };
        let level = calibration.errors.levels.iter().copied().rfind(|level| *level <= SHOWN_LEVEL)?;
        let ends = of_level(level)?;
        let covered = |level: f64| {
            let mut sums = CoverageSums::default();
            of_level(level)?
                .into_iter()
                .enumerate()
                .for_each(|(row, ends)| sums.push(rows.target[row], ends, weight(row)));
            Some((level, sums.coverage()?))
        };
        let told: Vec<(f64, f64, Ends, f64)> =
            (0..ends.len()).map(|row| (predictions[row], rows.target[row], ends[row], weight(row))).collect();
        let (sum, weights) = scales.iter().enumerate().fold((0.0, 0.0), |(sum, weights), (row, scale)| {
            (sum + weight(row) * f64::from(*scale), weights + weight(row))
        });
        Some(Self {
            level,
            by_level: [0.5, 0.8, 0.9, 0.95, 0.99].into_iter().filter_map(covered).collect(),
            by_tenths: coverage_by_tenths(&told),
            expected_mae: calibration.mean_error * sum / weights,
            ends,
        })
    }

    /// The coverage of the rows by the value that each has of a column.
    #[must_use]
    pub fn by_value(&self, values: &[&str], rows: &Rows) -> BTreeMap<String, Coverage> {
        let mut sums: BTreeMap<&str, CoverageSums> = BTreeMap::new();
        for (row, value) in values.iter().enumerate() {
            let weight = rows.weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]));
            sums.entry(value).or_default().push(rows.target[row], self.ends[row], weight);
        }
        sums.into_iter().filter_map(|(value, sums)| Some((value.to_owned(), sums.coverage()?))).collect()
    }
}

/// The predictions of some rows, in double precision, clipped where the model clips.
///
/// # Errors
/// What XGBoost refuses.
pub fn predict(booster: &Booster, matrix: &Array2<f32>, clip: Option<(f64, f64)>) -> Result<Vec<f64>> {
    if matrix.nrows() == 0 {
        return Ok(Vec::new());
    }
    let columns: Vec<Column<'_>> = columns(matrix).into_iter().map(Column::from).collect();
    let predictions = booster.predict_columns(&columns, 0..0)?;
    Ok(predictions.into_iter().map(|value| final_prediction(value, clip)).collect())
}

/// The range of the target: what the spec says, else what the training rows that have a weight have; none where predictions
/// are left as they are.
#[must_use]
pub fn clip_bounds(spec: &Spec, data: &TrainingData) -> Option<(f64, f64)> {
    if !spec.clip {
        return None;
    }
    let targets = (0..data.train.len()).filter(|&row| data.train.has_weight(row)).map(|row| data.train.target[row]);
    let seen =
        targets.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), target| (low.min(target), high.max(target)));
    let range = spec.ranges.get(&data.target).copied().unwrap_or_default();
    Some((range.min.unwrap_or(seen.0), range.max.unwrap_or(seen.1)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use machine::limits::source::{Limit, Source};

    use super::*;

    #[test]
    fn a_model_is_compiled_only_where_the_memory_has_room_for_it() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../predict/tests/fixtures/format_version_1/models");
        let model = fs::read(fixtures.join("parquet/v1/r1/model.ubj")).unwrap();
        let limits = |bytes: u64| Limits {
            threads: Limit { value: 1, source: Source::Setting },
            memory_bytes: Limit { value: bytes, source: Source::Setting },
        };
        let least = 4 * MODEL_FACTOR * model.len() as u64;
        assert!(CompiledTrees::of(&model, &limits(least)).is_some());
        assert!(CompiledTrees::of(&model, &limits(least - 4)).is_none());
    }
}
