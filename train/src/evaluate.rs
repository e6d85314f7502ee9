//! Step 4: what the model is worth on the held-out rows.

use error::Result;
use evaluation::{Gate, Scores};
use features::clip::final_prediction;
use features::spec::Spec;
use ndarray::Array2;
use xgboost::{Booster, Column};

use crate::fit::columns;
use crate::read::{Rows, TrainingData};

/// Predictions of the held-out rows and how good they are.
#[derive(Debug)]
pub struct Evaluation {
    /// One prediction per held-out row, as `predict` would write it.
    pub predictions: Vec<f64>,
    /// R², RMSE and MAE against the targets.
    pub scores: Scores,
}

/// Predicts the held-out rows as `predict` will, and compares with their targets.
///
/// # Errors
/// [`error::Error::Data`] where no R² can be computed: no rows, a constant target.
pub fn evaluate(
    gate: &Gate,
    booster: &Booster,
    matrix: &Array2<f32>,
    rows: &Rows,
    clip: Option<(f64, f64)>,
) -> Result<Evaluation> {
    of_predictions(gate, predict(booster, matrix, clip)?, rows)
}

/// How good predictions of the held-out rows are.
///
/// # Errors
/// As [`evaluate`].
pub fn of_predictions(gate: &Gate, predictions: Vec<f64>, rows: &Rows) -> Result<Evaluation> {
    let scores = gate.measure(&rows.target, &predictions, rows.weights.as_deref())?;
    Ok(Evaluation { predictions, scores })
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
