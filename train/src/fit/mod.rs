//! Step 3: boosting. How to learn is chosen on rows taken from the training rows, then the model is fitted to all of them.

mod boost;
mod candidates;
mod folds;
pub mod search;
mod trial;

use common::features::encode::{Feature, Kind};
use common::features::spec::Spec;
use common::run::{RunId, Shutdown};
use common::telemetry::{Telemetry, Unit};
use common::xgboost::{
    Batch, Booster, Column, DMatrix, Feature as MatrixFeature, FeatureKind, Params, QuantileOptions,
};
use common::{Error, Result};
use ndarray::{Array2, Axis};

use self::boost::{Boosted, boost};
pub use self::search::{Choice, TrialReport, choose};
pub use self::trial::End;
use crate::checkpoint::Checkpoint;
use crate::encodings::EncodedColumn;
use crate::features::Features;
use crate::read::Rows;
use crate::settings::Settings;

/// Rounds where they cannot be chosen.
const FALLBACK_ROUNDS: u32 = 100;
/// Learning rate where it cannot be chosen.
const DEFAULT_ETA: &str = "0.1";

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
    /// Every trial of the search that chose parameters and rounds.
    pub trials: Vec<TrialReport>,
    /// The round after which this attempt took up boosting, if an earlier one had begun it.
    pub resumed_from: Option<u32>,
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
    /// What an earlier attempt left, and where this one leaves what it did.
    pub checkpoint: &'a Checkpoint,
}

/// The parameters that the spec and, above it, the settings name.
///
/// # Errors
/// [`Error::Setting`] for a parameter that is unknown, the program's own or of a wrong value.
pub fn set_by_user(settings: &Settings, spec: &Spec) -> Result<Params> {
    let from_spec = Params::parse(spec.model.iter())?;
    let from_settings = Params::parse(settings.parameters().map(|(name, value)| (name, value)))?;
    Ok(from_spec.merged(from_settings))
}

/// The parameters where nothing is searched for: fixed defaults under those that the user set.
///
/// # Errors
/// As [`set_by_user`].
pub fn given_parameters(settings: &Settings, spec: &Spec) -> Result<Params> {
    let defaults = Params::parse([("eta", DEFAULT_ETA), ("max_depth", "6"), ("objective", "reg:squarederror")])?;
    Ok(defaults.merged(set_by_user(settings, spec)?))
}

/// Parameters with the spec's constraints, for these features.
///
/// # Errors
/// [`Error::Setting`] where XGBoost would refuse them.
pub fn with_constraints(mut params: Params, spec: &Spec, features: &[Feature]) -> Result<Params> {
    if !spec.monotone.is_empty() {
        let signs: Vec<i8> = features.iter().map(|feature| sign(spec, feature)).collect();
        params.set("monotone_constraints", &common::xgboost::params::monotone_constraints(&signs))?;
    }
    Ok(params)
}

fn sign(spec: &Spec, feature: &Feature) -> i8 {
    spec.monotone.get(&feature.name).map_or(0, |monotone| monotone.sign())
}

/// The sign of the constraint on an encoded column; a category that has one is never encoded.
fn constrained(spec: &Spec, base: &Features, column: &EncodedColumn) -> i8 {
    if column.encoded.is_some() { 0 } else { sign(spec, &base.features[column.source]) }
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

/// What was chosen when the run came here first, so that a run that goes on learns as it would have; chosen now if it is
/// here for the first time.
///
/// # Errors
/// As [`choose`]; storage errors as they are.
pub fn settle(context: &FitContext<'_>, base: &Features, rows: &Rows) -> Result<Choice> {
    let fits = |choice: &Choice| choice.variant.encodings.len() == base.features.len();
    if let Some(choice) = context.checkpoint.earlier_choice()?.filter(fits) {
        tracing::info!("how to learn was chosen before");
        return Ok(choice);
    }
    let choice = choose(context, base, rows)?;
    // What was not searched for comes out the same whenever it is asked for.
    if choice.trials.is_empty() { Ok(choice) } else { context.checkpoint.settle(choice) }
}

/// Fits a model to the training rows, as chosen.
///
/// # Errors
/// [`Error::Setting`] for parameters that XGBoost refuses, [`Error::Stopped`] when the run was asked to stop.
pub fn fit(
    context: &FitContext<'_>,
    choice: Choice,
    features: &[Feature],
    matrix: &Array2<f32>,
    rows: &Rows,
) -> Result<Fitted> {
    let params = with_constraints(choice.params.clone(), context.spec, features)?;
    let named = matrix_features(features);
    let labels = labels(rows);
    let training = build_matrix(context, &params, &named, &columns(matrix), &labels, rows.weights.as_deref(), None)?;
    fit_to(context, choice, features, &training)
}

/// Fits a model to a matrix of training rows, as chosen.
///
/// # Errors
/// As [`fit`].
pub fn fit_to(context: &FitContext<'_>, choice: Choice, features: &[Feature], training: &DMatrix) -> Result<Fitted> {
    let params = with_constraints(choice.params, context.spec, features)?;
    common::xgboost::dry_run(&params, &matrix_features(features))?;
    let rounds = choice.rounds;
    let progress = context.telemetry.progress("training", Unit::Items("rounds"), Some(u64::from(rounds)));
    let made_from = (&choice.variant.encodings, &params, rounds);
    let boosted = boost(context, "boosting-0", &made_from, &params, training, rounds, &progress)?;
    let Boosted { mut booster, resumed_from } = boosted;
    progress.finish();
    let model = booster.save()?;
    let (learning_curve, metric, trials) = (choice.learning_curve, choice.metric, choice.trials);
    Ok(Fitted { booster, model, params, rounds, learning_curve, metric, trials, resumed_from })
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
