//! What the model looks at: gain over its trees, and SHAP values on held-out rows.
//!
//! SHAP values are exact for the trees (Lundberg et al., Nature Machine Intelligence 2, 2020): for each row they say by how
//! much each feature moved the prediction away from the mean. They come from what explains rows in `predict`, and from XGBoost,
//! which takes a hundred times as long, where that cannot.

use std::collections::HashMap;
use std::time::Instant;

use error::Result;
use features::encode::{Feature, Kind};
use ndarray::Array2;
use scoring::Explainer;
use serde::Serialize;
use xgboost::{Batch, Booster, Column, DMatrix, Importance as Score, PredictionKind};

use super::metadata::ModelParts;
use crate::evaluate::CompiledTrees;
use crate::fit::matrix_features;

/// The most rows that are explained: means over a thousand rows move by a few per cent between samples.
const MOST_ROWS: usize = 1_000;
/// Fewer rows would say little, whatever they cost.
const LEAST_ROWS: usize = 50;
/// XGBoost's SHAP values of a row take time in proportion to the nodes of the trees, and so to the bytes of the model: with
/// this much of both the explanation stays within seconds.
const ROWS_TIMES_BYTES: usize = 1_500_000_000;
/// Tables that explain trees may take this part of the memory: what boosting held is free by now.
const SHARE_OF_MEMORY: u64 = 8;
/// Features of which the effect is kept row by row, for the page.
const WITH_EFFECTS: usize = 30;

/// The features by how much they move predictions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Importance {
    /// Held-out rows that were explained, evenly spread.
    pub rows: usize,
    /// What SHAP values add up to: the prediction itself, or what the objective makes it from.
    pub unit: Unit,
    /// All features, the one with the largest mean |SHAP| first.
    pub features: Vec<FeatureImportance>,
}

/// Scale of SHAP values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The target's unit.
    Target,
    /// The margin before the objective's link: a logarithm, or a logit.
    Margin,
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureImportance {
    /// Its name in the matrix.
    pub feature: String,
    /// Mean of |SHAP| over the rows explained.
    pub shap: f64,
    /// Its share of what all splits gained in training.
    pub gain: f64,
    /// Splits that use it.
    pub splits: u64,
    /// For the foremost features: its effect on each row explained.
    #[serde(skip)]
    pub effects: Vec<Effect>,
    /// Whether larger values mean something: not so for the codes of a category.
    #[serde(skip)]
    pub ordered: bool,
}

/// What a feature did to the prediction of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// Its SHAP value.
    pub shap: f32,
    /// Its value in the matrix; NaN is missing.
    pub value: f32,
}

/// Explains a model on held-out rows.
///
/// # Errors
/// [`error::Error::Defect`] where XGBoost cannot.
pub(super) fn explain(parts: &ModelParts<'_>) -> Result<Importance> {
    let ModelParts { limits, plan, features, fitted, predictor, .. } = *parts;
    let threads = plan.body.threads;
    let most_bytes = limits.memory_bytes.value / SHARE_OF_MEMORY;
    let compiled = predictor.compiled.and_then(|trees| Some((trees, explainer(trees, most_bytes)?)));
    // Tables explain as many rows of any model within a second or so.
    let rows = sample(features.test.nrows(), if compiled.is_some() { 0 } else { fitted.model.len() });
    let columns = gather(&features.test, &rows);
    // A booster of its own: it is asked for scores, which the fitted one, shared by now, cannot be.
    let mut booster = crate::fit::load_own(&fitted.model)?;
    booster.set_threads(threads)?;
    let started = Instant::now();
    let shap = match &compiled {
        Some((trees, explainer)) => by_tables(trees, explainer, &columns),
        None => by_xgboost(&booster, &features.features, &columns, threads)?,
    };
    let by = if compiled.is_some() { "tables" } else { "XGBoost" };
    tracing::debug!(rows = rows.len(), by, seconds = started.elapsed().as_secs_f64(), "predictions explained");
    let total_gain = by_name(&mut booster, Score::TotalGain)?;
    let splits = by_name(&mut booster, Score::Weight)?;
    let whole_gain: f64 = total_gain.values().map(|gain| f64::from(*gain)).sum();
    let importance = |(index, feature): (usize, &Feature)| {
        let of = |scores: &HashMap<String, f32>| scores.get(&feature.name).copied().map_or(0.0, f64::from);
        let sum: f64 = shap[index].iter().map(|value| f64::from(value.abs())).sum();
        let gain = if whole_gain > 0.0 { of(&total_gain) / whole_gain } else { 0.0 };
        let found = FeatureImportance {
            feature: feature.name.clone(),
            shap: sum / rows.len().max(1) as f64,
            gain,
            splits: of(&splits) as u64,
            effects: Vec::new(),
            ordered: !matches!(feature.kind, Kind::Category { .. }),
        };
        (index, found)
    };
    let mut found: Vec<(usize, FeatureImportance)> = features.features.iter().enumerate().map(importance).collect();
    found.sort_by(|(_, left), (_, right)| right.shap.total_cmp(&left.shap).then(right.gain.total_cmp(&left.gain)));
    for (index, feature) in found.iter_mut().take(WITH_EFFECTS) {
        let effects = shap[*index].iter().zip(&columns[*index]);
        feature.effects = effects.map(|(&shap, &value)| Effect { shap, value }).collect();
    }
    let unit = if has_link(fitted.params.objective()) { Unit::Margin } else { Unit::Target };
    Ok(Importance { rows: rows.len(), unit, features: found.into_iter().map(|(_, feature)| feature).collect() })
}

/// Evenly spread rows, as many as can be explained in a few seconds.
fn sample(rows: usize, model_bytes: usize) -> Vec<usize> {
    let most = (ROWS_TIMES_BYTES / model_bytes.max(1)).clamp(LEAST_ROWS, MOST_ROWS);
    (0..rows).step_by(rows.div_ceil(most).max(1)).collect()
}

fn gather(matrix: &Array2<f32>, rows: &[usize]) -> Vec<Vec<f32>> {
    matrix.columns().into_iter().map(|column| rows.iter().map(|&row| column[row]).collect()).collect()
}

/// What explains trees, unless it would take more than `most_bytes`, or only XGBoost can.
fn explainer(trees: &CompiledTrees, most_bytes: u64) -> Option<Explainer> {
    let CompiledTrees { ensemble, scorer } = trees;
    let sources: Vec<u32> = (0..scorer.n_features() as u32).collect();
    let needed: u64 = Explainer::bytes_needed(ensemble, scorer, sources.len()).iter().sum();
    if needed > most_bytes {
        return None;
    }
    Explainer::new(ensemble, scorer, &sources).ok()
}

/// SHAP values, feature by feature.
fn by_tables(trees: &CompiledTrees, explainer: &Explainer, columns: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let scorer = &trees.scorer;
    let rows = columns.first().map_or(0, Vec::len);
    let mut block = scorer.new_block(rows);
    for (feature, column) in columns.iter().enumerate() {
        scorer.quantise(feature, column, 0, &mut block);
    }
    let mut shap = vec![0.0; rows * explainer.n_sources()];
    explainer.contributions(scorer, &block, rows, &mut explainer.new_scratch(), &mut shap);
    (0..explainer.n_sources()).map(|source| shap[source * rows..][..rows].to_vec()).collect()
}

/// The same by XGBoost itself.
fn by_xgboost(booster: &Booster, features: &[Feature], columns: &[Vec<f32>], threads: usize) -> Result<Vec<Vec<f32>>> {
    let batch =
        Batch { columns: columns.iter().map(|column| Column::from(column.as_slice())).collect(), ..Batch::default() };
    let matrix = DMatrix::plain(&matrix_features(features), &batch, threads)?;
    let values = booster.predict_matrix(&matrix, PredictionKind::Contributions, 0..0)?;
    // Row by row one value per feature and, last, what the mean row is predicted.
    let width = features.len() + 1;
    if values.len() != width * matrix.rows() {
        return Err(error::Error::Defect(format!(
            "XGBoost explained {} rows of {} features by {} SHAP values",
            matrix.rows(),
            features.len(),
            values.len()
        )));
    }
    Ok((0..features.len()).map(|index| values.iter().skip(index).step_by(width).copied().collect()).collect())
}

fn by_name(booster: &mut Booster, score: Score) -> Result<HashMap<String, f32>> {
    Ok(booster.feature_scores(score)?.into_iter().collect())
}

/// Whether the objective predicts something else than what its trees add up to.
fn has_link(objective: &str) -> bool {
    matches!(objective, "reg:gamma" | "reg:tweedie" | "count:poisson" | "reg:logistic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_bounded_by_rows_and_by_the_models_size() {
        assert_eq!(sample(0, 1), Vec::<usize>::new());
        assert_eq!(sample(3, 1), [0, 1, 2]);
        let many = sample(10_000_000, 1_000);
        assert!((MOST_ROWS / 2..=MOST_ROWS).contains(&many.len()), "{}", many.len());
        assert!(many.last().is_some_and(|last| *last > 9_900_000), "spread over all rows");
        assert_eq!(sample(10_000, usize::MAX).len(), LEAST_ROWS);
    }
}
