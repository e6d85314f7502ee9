//! Step 3: boosting. Rounds are chosen by early stopping on rows taken from the training rows, then the model is fitted
//! to all of them.

use std::time::{Duration, Instant};

use common::features::encode::{Feature, Kind};
use common::features::spec::Spec;
use common::run::{RunId, Shutdown};
use common::telemetry::{Progress, Telemetry, Unit};
use common::xgboost::{
    Batch, Booster, Column, DMatrix, Feature as MatrixFeature, FeatureKind, Params, QuantileOptions,
};
use common::{Error, Result};
use ndarray::{Array2, Axis};

use crate::read::{Rows, is_held_out};
use crate::settings::Settings;

/// Share of the training rows that early stopping looks at.
const INNER_FRACTION: f64 = 0.2;
/// Fewer rows than this are too few to choose rounds on.
const INNER_MINIMUM: usize = 100;
/// Rounds where they cannot be chosen.
const FALLBACK_ROUNDS: u32 = 100;
/// Rounds without an improvement that end the search.
const PATIENCE: u32 = 50;
/// The most rounds that early stopping may choose.
const MOST_ROUNDS: u32 = 5_000;
/// Keeps the inner split apart from the outer one, which uses the seed itself.
const INNER_SEED_OFFSET: u64 = 0x5eed_0001;

/// A fitted model.
#[derive(Debug)]
pub struct Fitted {
    /// The model.
    pub booster: Booster,
    /// Its bytes, as `model.ubj`.
    pub model: Vec<u8>,
    /// XGBoost's parameters, as given to it.
    pub params: Params,
    /// Boosting rounds.
    pub rounds: u32,
    /// Metric of the inner validation rows after each round; empty where rounds were given.
    pub learning_curve: Vec<f64>,
    /// What the curve shows, such as `rmse`.
    pub metric: Option<String>,
}

/// What fitting needs of the run.
pub struct FitContext<'a> {
    /// Settings of the run.
    pub settings: &'a Settings,
    /// The feature spec.
    pub spec: &'a Spec,
    /// Threads for XGBoost.
    pub threads: usize,
    /// Ends the run between two rounds.
    pub shutdown: &'a Shutdown,
    /// Id of the run.
    pub run_id: &'a RunId,
    /// Where progress is shown.
    pub telemetry: &'a Telemetry,
}

/// The parameters as far as they do not depend on the data: defaults, under the spec's, under the settings'.
///
/// # Errors
/// [`Error::Setting`] for a parameter that is unknown, the program's own or of a wrong value.
pub fn given_parameters(settings: &Settings, spec: &Spec) -> Result<Params> {
    let defaults = Params::parse([("eta", "0.1"), ("max_depth", "6"), ("objective", "reg:squarederror")])?;
    let from_spec = Params::parse(spec.model.iter())?;
    let from_settings = Params::parse(settings.param.iter().map(|(name, value)| (name, value)))?;
    Ok(defaults.merged(from_spec).merged(from_settings))
}

/// The parameters of a run.
///
/// # Errors
/// As [`given_parameters`].
pub fn parameters(settings: &Settings, spec: &Spec, features: &[Feature]) -> Result<Params> {
    let mut params = given_parameters(settings, spec)?;
    if !spec.monotone.is_empty() {
        let sign = |feature: &Feature| spec.monotone.get(&feature.name).map_or(0, |monotone| monotone.sign());
        let signs: Vec<i8> = features.iter().map(sign).collect();
        params.set("monotone_constraints", &common::xgboost::params::monotone_constraints(&signs))?;
    }
    Ok(params)
}

/// The features as XGBoost knows them.
#[must_use]
pub fn matrix_features(features: &[Feature]) -> Vec<MatrixFeature> {
    let kind = |feature: &Feature| match feature.kind {
        Kind::Category { .. } => FeatureKind::Category,
        Kind::Number | Kind::Encoded { .. } | Kind::Date { .. } | Kind::Derived => FeatureKind::Number,
    };
    let named = |feature: &Feature| MatrixFeature { name: feature.name.clone(), kind: kind(feature) };
    features.iter().map(named).collect()
}

/// Fits a model to the training rows.
///
/// # Errors
/// [`Error::Setting`] for parameters that XGBoost refuses, [`Error::Stopped`] when the run was asked to stop.
pub fn fit(
    context: &FitContext<'_>,
    params: Params,
    features: &[Feature],
    matrix: &Array2<f32>,
    rows: &Rows,
) -> Result<Fitted> {
    let features = matrix_features(features);
    common::xgboost::dry_run(&params, &features)?;
    let (rounds, learning_curve, metric) = match context.settings.rounds {
        Some(rounds) => (rounds, Vec::new(), None),
        None => choose_rounds(context, &params, &features, matrix, rows)?,
    };
    let labels = labels(rows);
    let training = build_matrix(context, &params, &features, &columns(matrix), &labels, rows.weights.as_deref(), None)?;
    let mut booster = new_booster(context, &params, &[&training])?;
    let progress = context.telemetry.progress("training", Unit::Items("rounds"), Some(u64::from(rounds)));
    boost(context, &mut booster, &training, rounds, &progress)?;
    progress.finish();
    let model = booster.save()?;
    Ok(Fitted { booster, model, params, rounds, learning_curve, metric })
}

fn boost(
    context: &FitContext<'_>,
    booster: &mut Booster,
    training: &DMatrix,
    rounds: u32,
    progress: &Progress,
) -> Result<()> {
    for round in 0..rounds {
        context.shutdown.check(context.run_id)?;
        booster.update(round, training)?;
        progress.advance(1);
    }
    Ok(())
}

/// Trains on part of the training rows until the others are no longer predicted better, and tells the best number of
/// rounds with the metric after each.
fn choose_rounds(
    context: &FitContext<'_>,
    params: &Params,
    features: &[MatrixFeature],
    matrix: &Array2<f32>,
    rows: &Rows,
) -> Result<(u32, Vec<f64>, Option<String>)> {
    let seed = u64::from(context.settings.seed) + INNER_SEED_OFFSET;
    let (validation, training): (Vec<usize>, Vec<usize>) =
        (0..rows.len()).partition(|&index| is_held_out(&rows.ids[index], seed, INNER_FRACTION));
    if rows.len() < INNER_MINIMUM || validation.is_empty() || training.is_empty() {
        return Ok((FALLBACK_ROUNDS, Vec::new(), None));
    }
    let part = |places: &[usize], reference: Option<&DMatrix>| {
        let cells: Vec<Vec<f32>> =
            columns(matrix).into_iter().map(|column| places.iter().map(|&place| column[place]).collect()).collect();
        let cells: Vec<&[f32]> = cells.iter().map(Vec::as_slice).collect();
        let labels: Vec<f32> = places.iter().map(|&place| rows.target[place] as f32).collect();
        let weights: Option<Vec<f32>> =
            rows.weights.as_ref().map(|weights| places.iter().map(|&place| weights[place]).collect());
        build_matrix(context, params, features, &cells, &labels, weights.as_deref(), reference)
    };
    let training = part(&training, None)?;
    let validation = part(&validation, Some(&training))?;
    let mut booster = new_booster(context, params, &[&training, &validation])?;
    let progress = context.telemetry.progress("choosing", Unit::Items("rounds"), None);
    let deadline = Instant::now() + Duration::from_secs(context.settings.time_budget);
    let mut search = Search::default();
    for round in 0..MOST_ROUNDS {
        context.shutdown.check(context.run_id)?;
        booster.update(round, &training)?;
        let evaluations = booster.evaluate(round, &[(&validation, "validation")])?;
        let Some(last) = evaluations.last() else { break };
        progress.advance(1);
        if search.is_over(round, last.value) || Instant::now() > deadline {
            break;
        }
        search.metric = Some(last.metric.clone());
    }
    progress.finish();
    Ok((search.best_round + 1, search.curve, search.metric))
}

/// Early stopping: the best round so far, and how long ago it was.
#[derive(Debug)]
struct Search {
    best_round: u32,
    best_value: f64,
    curve: Vec<f64>,
    metric: Option<String>,
}

impl Default for Search {
    fn default() -> Self {
        Self { best_round: 0, best_value: f64::INFINITY, curve: Vec::new(), metric: None }
    }
}

impl Search {
    /// Takes in a round's error; whether there was no better one for too long.
    fn is_over(&mut self, round: u32, value: f64) -> bool {
        self.curve.push(value);
        if value < self.best_value {
            (self.best_round, self.best_value) = (round, value);
        }
        round - self.best_round >= PATIENCE
    }
}

fn labels(rows: &Rows) -> Vec<f32> {
    rows.target.iter().map(|&target| target as f32).collect()
}

fn new_booster(context: &FitContext<'_>, params: &Params, matrices: &[&DMatrix]) -> Result<Booster> {
    Ok(Booster::new(&params.for_booster(context.threads, context.settings.seed), matrices)?)
}

fn build_matrix(
    context: &FitContext<'_>,
    params: &Params,
    features: &[MatrixFeature],
    columns: &[&[f32]],
    labels: &[f32],
    weights: Option<&[f32]>,
    reference: Option<&DMatrix>,
) -> Result<DMatrix> {
    let columns = columns.iter().map(|column| Column::from(*column)).collect();
    let batch = Batch { columns, labels: Some(labels), weights };
    if params.wants_quantile_matrix() {
        let options = QuantileOptions { max_bin: params.max_bin(), threads: context.threads, reference };
        return DMatrix::quantile(features, &batch, &options).map_err(Error::from);
    }
    DMatrix::plain(features, &batch, context.threads).map_err(Error::from)
}

/// The columns of a matrix that is laid out column by column; every matrix of ours is.
#[must_use]
pub fn columns(matrix: &Array2<f32>) -> Vec<&[f32]> {
    matrix.axis_iter(Axis(1)).map(|column| column.to_slice().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_stopping_remembers_the_best_round() {
        let mut search = Search::default();
        assert!(!search.is_over(0, 3.0));
        assert!(!search.is_over(1, 2.0));
        for round in 2..=PATIENCE {
            assert!(!search.is_over(round, 2.5));
        }
        assert!(search.is_over(PATIENCE + 1, 2.5));
        assert_eq!((search.best_round, search.curve.len()), (1, PATIENCE as usize + 2));
    }

    #[test]
    fn a_metric_that_is_never_a_number_ends_the_search() {
        let mut search = Search::default();
        let end = (0..MOST_ROUNDS).find(|&round| search.is_over(round, f64::NAN));
        assert_eq!(end, Some(PATIENCE));
    }
}
