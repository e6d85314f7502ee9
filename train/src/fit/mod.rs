//! Step 3: boosting. How to learn is chosen on rows taken from the training rows, then the model is fitted to all of them.

mod boost;
mod budget;
mod calibration;
mod calibration_slope;
mod candidates;
mod choice;
mod cost;
mod derived_candidates;
mod ensemble_selection;
mod evaluator;
mod final_selection;
mod fold_matrices;
mod folds;
mod gains;
pub mod histograms;
mod intervals;
mod journal;
mod lanes;
mod learning_curve;
mod learning_rate;
mod members;
mod out_of_fold;
mod ranking;
mod refinements;
mod scale;
pub mod search;
mod space;
mod trial;
mod trials;
mod tuning;

use std::time::Duration;

use error::{Error, Result};
use features::encode::{Feature, Kind};
use features::spec::Spec;
use machine::{RunId, Shutdown};
use ndarray::{Array2, Axis};
use telemetry::Telemetry;
use xgboost::{Batch, Booster, Column, DMatrix, Feature as MatrixFeature, FeatureKind, Params, QuantileOptions};

pub use self::calibration::{Calibration, ScaleModel};
pub use self::candidates::leaves_learning_open;
pub use self::choice::{Choice, Member, Part, TrialReport, Tuning};
pub use self::derived_candidates::{MOST_DERIVED, Proposer, may_derive};
pub(crate) use self::folds::ROWS_FOR_THREE_FOLDS;
pub(crate) use self::lanes::{CELLS_OF_A_THREAD, Lanes};
pub(crate) use self::members::fit_with;
pub(crate) use self::members::load_own;
pub use self::members::{CELLS_SIDE_BY_SIDE, MOST_SIDE_BY_SIDE, fit};
pub use self::scale::{TargetScale, TargetView, unfit_weights};
pub use self::search::{choose, chooses_encodings};
pub use self::trial::End;
use crate::checkpoint::Checkpoint;
use crate::config::TrainConfig;
use crate::features::Features;
use crate::read::Rows;

/// Rounds where they cannot be chosen.
const FALLBACK_ROUNDS: u32 = 100;
/// How long the last trials of a run that was stopped may take to be stored.
const TO_STORE: Duration = Duration::from_millis(1_800);

/// A fitted model.
#[derive(Debug)]
pub struct Fitted {
    /// The model.
    pub booster: Booster,
    /// Its bytes, as `model.ubj`.
    pub model: Vec<u8>,
    /// XGBoost's parameters of the first member, in the target's own units.
    pub params: Params,
    /// How XGBoost saw the target; booster and model are in the target's own units.
    pub scale: TargetScale,
    /// Boosting rounds, of all members.
    pub rounds: u32,
    /// How it was to be learnt, and every trial of the search that chose that.
    pub choice: Choice,
    /// Rounds that this attempt took over from an earlier one, if that had begun to boost.
    pub resumed_from: Option<u32>,
}

/// What fitting needs of the run.
pub struct FitContext<'a> {
    /// What the run is asked to do.
    pub config: &'a TrainConfig,
    /// Threads for XGBoost.
    pub threads: usize,
    /// How XGBoost sees the target.
    pub scale: TargetScale,
    /// Rows that the model is fitted to; more than how to learn is chosen on, where not all are in memory.
    pub fitted_rows: usize,
    /// Parts of these rows, of which each booster learns from one; 0 where all of them learn from all rows.
    pub parts: usize,
    /// Nodes of a tree whose histograms XGBoost keeps at once, where not all fit.
    pub histogram_nodes: Option<u64>,
    /// Whether the memory plan has room for the finest bins that a search may try.
    pub has_room: bool,
    /// Nodes of the deepest trees that a search tries.
    pub most_nodes: u64,
    /// Bounds that predictions are held inside.
    pub clip: Option<(f64, f64)>,
    /// The held-out rows, which have no part in what is chosen or calibrated.
    pub held_out: &'a Rows,
    /// Ends the run between two rounds.
    pub shutdown: &'a Shutdown,
    /// Id of the run.
    pub run_id: &'a RunId,
    /// Where progress is shown.
    pub telemetry: &'a Telemetry,
    /// What an earlier attempt left, and where this one leaves what it did.
    pub checkpoint: &'a Checkpoint,
}

/// Parameters with the spec's constraints, for these features.
///
/// # Errors
/// [`Error::Setting`] where XGBoost would refuse them.
pub fn with_constraints(mut params: Params, spec: &Spec, features: &[Feature]) -> Result<Params> {
    if !spec.monotone.is_empty() {
        let signs: Vec<i8> = features.iter().map(|feature| sign(spec, feature)).collect();
        params.set("monotone_constraints", &xgboost::params::monotone_constraints(&signs))?;
    }
    Ok(params)
}

fn sign(spec: &Spec, feature: &Feature) -> i8 {
    spec.monotone.get(&feature.name).map_or(0, |monotone| monotone.sign())
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
pub fn choose_or_resume(context: &FitContext<'_>, base: &Features, rows: &Rows) -> Result<Choice> {
    let fits = |choice: &Choice| choice.scheme.encodings.len() == base.features.len();
    if let Some(choice) = context.checkpoint.earlier_choice()?.filter(fits) {
        tracing::info!("how to learn was chosen before");
        // It may have been made where all rows were in memory.
        return Ok(choice.in_parts(context.parts));
    }
    let choice = match choose_and_calibrate(context, base, rows) {
        Err(stopped @ Error::Stopped(_)) => {
            context.checkpoint.store_within(TO_STORE);
            return Err(stopped);
        }
        other => other?,
    };
    // What was not searched for comes out the same whenever it is asked for.
    if choice.trials.is_empty() { Ok(choice) } else { context.checkpoint.commit_once(choice) }
}

fn choose_and_calibrate(context: &FitContext<'_>, base: &Features, rows: &Rows) -> Result<Choice> {
    let mut choice = choose(context, base, rows)?;
    let mut known = choice.out_of_fold.take();
    if let Some(folds) = context.config.interval_folds {
        if choice.trials.is_empty() || context.config.rounds.is_some() {
            known = intervals::cross_validated(context, base, rows, &mut choice, folds)?;
        }
        if known.is_none() {
            tracing::warn!(
                "--interval-folds (INTERVAL_FOLDS) has no effect: the training rows leave nothing to validate on"
            );
        }
    }
    if let Some(known) = known {
        choice.calibration = intervals::calibrate(context, base, rows, &choice.scheme, &known)?;
    }
    Ok(choice.in_parts(context.parts))
}

/// What a booster is given.
fn booster_params(context: &FitContext<'_>, params: &Params, threads: usize, seed: u32) -> Vec<(String, String)> {
    let mut given = params.for_booster(threads, seed);
    given.extend(context.histogram_nodes.map(|nodes| ("max_cached_hist_node".to_owned(), nodes.to_string())));
    given
}

/// The targets of some rows as XGBoost sees them.
fn labels(context: &FitContext<'_>, rows: &Rows) -> Vec<f32> {
    (0..rows.len()).map(|row| context.scale.label(rows, row)).collect()
}

/// What a matrix is made of. All columns, labels and weights have the same length.
#[derive(Debug, Clone, Copy)]
struct MatrixData<'a> {
    features: &'a [MatrixFeature],
    columns: &'a [&'a [f32]],
    labels: &'a [f32],
    weights: Option<&'a [f32]>,
}

fn build_matrix(
    context: &FitContext<'_>,
    params: &Params,
    data: &MatrixData<'_>,
    reference: Option<&DMatrix>,
) -> Result<DMatrix> {
    let MatrixData { features, columns, labels, weights } = *data;
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
