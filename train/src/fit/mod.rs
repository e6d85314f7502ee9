//! Step 3: boosting. How to learn is chosen on rows taken from the training rows, then the model is fitted to all of them.

mod budget;
mod candidates;
mod choice;
mod folds;
mod lanes;
mod mixing;
mod ranking;
pub mod search;
mod trial;

use common::features::encode::{Feature, Kind};
use common::features::spec::Spec;
use common::run::{RunId, Shutdown};
use common::scoring::{BlendPart, blend};
use common::telemetry::{Progress, Telemetry, Unit};
use common::xgboost::{
    Batch, Booster, Column, DMatrix, Feature as MatrixFeature, FeatureKind, Params, QuantileOptions,
};
use common::{Error, Result};
use ndarray::{Array2, Axis};

pub use self::choice::{Choice, Member, TrialReport};
pub use self::search::choose;
pub use self::trial::End;
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
    /// XGBoost's parameters, as given to it for the first member.
    pub params: Params,
    /// Boosting rounds, of all members.
    pub rounds: u32,
    /// How it was to be learnt, and every trial of the search that chose that.
    pub choice: Choice,
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

/// The parameters that the spec and, above it, the settings name.
///
/// # Errors
/// [`Error::Setting`] for a parameter that is unknown, the program's own or of a wrong value.
pub fn set_by_user(settings: &Settings, spec: &Spec) -> Result<Params> {
    let from_spec = Params::parse(spec.model.iter())?;
    let from_settings = Params::parse(settings.param.iter().map(|(name, value)| (name, value)))?;
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

/// Fits a model to the training rows, as chosen: its members one after the other, then their weighted mean as one model.
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
    let all_columns = columns(matrix);
    let labels = labels(rows);
    let progress = context.telemetry.progress("training", Unit::Items("rounds"), Some(u64::from(choice.rounds())));
    let mut fitted: Vec<FittedMember> = Vec::with_capacity(choice.members.len());
    let mut known: Option<MemberMatrix> = None;
    for member in &choice.members {
        let places = member.variant.places_in(&choice.variant);
        let of_member: Vec<Feature> = places.iter().map(|&place| features[place].clone()).collect();
        let params = with_constraints(member.params.clone(), context.spec, &of_member)?;
        let of_member = matrix_features(&of_member);
        common::xgboost::dry_run(&params, &of_member)?;
        let training = match known.take().filter(|known| known.serves(&places, &params)) {
            Some(known) => known,
            None => {
                let columns: Vec<&[f32]> = places.iter().map(|&place| all_columns[place]).collect();
                let weights = rows.weights.as_deref();
                let matrix = build_matrix(context, &params, &of_member, &columns, &labels, weights, None)?;
                MemberMatrix { places: places.clone(), params: params.clone(), matrix }
            }
        };
        let mut booster = Booster::new(&params.for_booster(context.threads, member.seed), &[&training.matrix])?;
        boost(context, &mut booster, &training.matrix, member.rounds, &progress)?;
        fitted.push(FittedMember { booster, places, params });
        known = Some(training);
    }
    progress.finish();
    let params = fitted.first().map(|member| member.params.clone()).unwrap_or_default();
    let mut booster = blended(context, &choice, fitted)?;
    let model = booster.save()?;
    Ok(Fitted { booster, model, params, rounds: choice.rounds(), choice })
}

/// A member's matrix, which serves the next one too where that has the same columns and bins.
struct MemberMatrix {
    places: Vec<usize>,
    params: Params,
    matrix: DMatrix,
}

impl MemberMatrix {
    fn serves(&self, places: &[usize], params: &Params) -> bool {
        // With `approx` a matrix keeps the bins of the booster that trained on it first.
        let is_alike = |params: &Params| (params.wants_quantile_matrix(), params.max_bin());
        self.places == places && is_alike(&self.params) == is_alike(params) && params.wants_quantile_matrix()
    }
}

/// A member that has been trained.
struct FittedMember {
    booster: Booster,
    /// The places of its columns among the model's.
    places: Vec<usize>,
    params: Params,
}

/// The weighted mean of all members as one booster; a single one stays as it is.
fn blended(context: &FitContext<'_>, choice: &Choice, mut members: Vec<FittedMember>) -> Result<Booster> {
    if members.len() == 1
        && let Some(only) = members.pop()
    {
        return Ok(only.booster);
    }
    let models = members.iter_mut().map(|member| member.booster.save()).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<BlendPart<'_>> = models
        .iter()
        .zip(members.iter().zip(&choice.members))
        .map(|(model, (member, chosen))| BlendPart { model, weight: chosen.weight as f32, columns: &member.places })
        .collect();
    let blend = blend(&parts).map_err(|error| Error::Defect(error.to_string()))?;
    let mut booster = Booster::load(&blend)?;
    booster.set_threads(context.threads)?;
    Ok(booster)
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

fn labels(rows: &Rows) -> Vec<f32> {
    rows.target.iter().map(|&target| target as f32).collect()
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
