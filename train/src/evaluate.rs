//! Step 4: what the model is worth on the held-out rows.

use common::Result;
use common::features::clip::final_prediction;
use common::evaluation::{Metrics, metrics};
use common::xgboost::{Booster, Column};
use ndarray::{Array2, Axis};

use crate::read::Rows;

/// Predictions of the held-out rows and how good they are.
#[derive(Debug)]
pub struct Evaluation {
    /// One prediction per held-out row, as `predict` would write it.
    pub predictions: Vec<f64>,
    /// R², RMSE and MAE against the targets.
    pub metrics: Metrics,
}

/// Predicts the held-out rows as `predict` will, and compares with their targets.
///
/// # Errors
/// [`common::Error::Data`] where no R² can be computed: no rows, a constant target.
pub fn evaluate(booster: &Booster, matrix: &Array2<f32>, rows: &Rows, clip: Option<(f64, f64)>) -> Result<Evaluation> {
    let predictions = predict(booster, matrix, clip)?;
    let weights: Option<Vec<f64>> =
        rows.weights.as_ref().map(|weights| weights.iter().map(|&weight| f64::from(weight)).collect());
    let metrics = metrics(&rows.target, &predictions, weights.as_deref())?;
    Ok(Evaluation { predictions, metrics })
}

/// The predictions of some rows, in double precision, clipped where the model clips.
///
/// # Errors
/// What XGBoost refuses.
pub fn predict(booster: &Booster, matrix: &Array2<f32>, clip: Option<(f64, f64)>) -> Result<Vec<f64>> {
    if matrix.nrows() == 0 {
        return Ok(Vec::new());
    }
    let owned: Vec<Vec<f32>> = matrix.axis_iter(Axis(1)).map(|column| column.to_vec()).collect();
    let columns: Vec<Column<'_>> = owned.iter().map(|column| Column::from(column.as_slice())).collect();
    let predictions = booster.predict_columns(&columns, 0..0)?;
    Ok(predictions.into_iter().map(|value| final_prediction(value, clip)).collect())
}
