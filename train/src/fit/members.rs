//! The boosters of a model, fitted one after the other, and their weighted mean.

use std::borrow::Borrow;

use error::{Error, Result};
use features::encode::Feature;
use machine::threads::on_own_thread;
use ndarray::Array2;
use scoring::{CheckedModel, Ensemble, ModelPart, average_models};
use telemetry::Unit;
use xgboost::{Booster, DMatrix, Params};

use super::boost::{Boosted, MemberFit, boost};
use super::lanes::Lanes;
use super::{
    Choice, FitContext, Fitted, MatrixData, Member, Part, build_matrix, columns, labels, matrix_features,
    with_constraints,
};
use crate::read::Rows;
use crate::shards::peers::Peers;

/// Cells of a matrix up to which several boosters are fitted side by side, one thread each: threads that share a tree of few
/// rows wait for each other most of the time. The memory plan counts what so many boosters hold at once.
pub const CELLS_SIDE_BY_SIDE: usize = 1_500_000;
/// Boosters that are fitted side by side at most.
pub const MOST_SIDE_BY_SIDE: usize = 4;

/// Fits a model to the training rows, as chosen: its members, then their weighted mean as one model.
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
    let (all, labels, weights) = (columns(matrix), labels(context, rows), rows.weights.as_deref());
    let make = |context: &FitContext<'_>, params: &Params, places: &[usize]| {
        let names = matrix_features(&at(features, places));
        let columns: Vec<&[f32]> = places.iter().map(|&place| all[place]).collect();
        let data = MatrixData { features: &names, columns: &columns, labels: &labels, weights };
        build_matrix(context, params, &data, None)
    };
    let lanes = Lanes::new(context.threads.min(MOST_SIDE_BY_SIDE), choice.members.len());
    if lanes.are_several() && matrix.len() <= CELLS_SIDE_BY_SIDE {
        return fit_side_by_side(context, choice, features, lanes, make);
    }
    fit_with(context, choice, features, None, |_, params, places| make(context, params, places))
}

/// The same, members side by side, each with a matrix of its own.
fn fit_side_by_side(
    context: &FitContext<'_>,
    choice: Choice,
    features: &[Feature],
    lanes: Lanes,
    make: impl Fn(&FitContext<'_>, &Params, &[usize]) -> Result<DMatrix> + Sync,
) -> Result<Fitted> {
    let progress = context.telemetry.progress("training", Unit::Items("rounds"), Some(u64::from(choice.rounds())));
    let context = &FitContext { threads: lanes.threads, ..*context };
    let mut members: Vec<(usize, &Member)> = choice.members.iter().enumerate().collect();
    let fitted = lanes.each(&mut members, |(index, member)| {
        let places = member.scheme.places_in(&choice.scheme);
        let of_member = at(features, &places);
        let own = with_constraints(member.params.clone(), &context.config.spec, &of_member)?;
        let params = context.scale.params(&own)?;
        xgboost::dry_run(&params, &matrix_features(&of_member))?;
        let matrix = make(context, &params, &places)?;
        let Boosted { mut booster, resumed_from } =
            boost(context, &MemberFit { index: *index, member, params: &params }, &matrix, None, &progress)?;
        Ok(FittedMember { booster: None, model: booster.save()?, places, params: own, resumed_from })
    })?;
    progress.finish();
    finished(context, choice, features, fitted)
}

/// The same with matrices that `matrix` makes, for a member, its parameters and the places of its columns among `features`; members
/// one after the other. With `peers` all tasks boost together, each with the matrix of its share, and come to the same model.
///
/// # Errors
/// As [`fit`]; what `matrix` fails with.
pub(crate) fn fit_with<Matrix: Borrow<DMatrix>>(
    context: &FitContext<'_>,
    choice: Choice,
    features: &[Feature],
    peers: Option<&Peers<'_>>,
    mut matrix: impl FnMut(&Member, &Params, &[usize]) -> Result<Matrix>,
) -> Result<Fitted> {
    let progress = context.telemetry.progress("training", Unit::Items("rounds"), Some(u64::from(choice.rounds())));
    let mut fitted: Vec<FittedMember> = Vec::with_capacity(choice.members.len());
    let mut known: Option<MemberMatrix<Matrix>> = None;
    let mut base_score: Option<String> = None;
    for (index, member) in choice.members.iter().enumerate() {
        let places = member.scheme.places_in(&choice.scheme);
        let of_member = at(features, &places);
        let own = with_constraints(member.params.clone(), &context.config.spec, &of_member)?;
        let mut params = context.scale.params(&own)?;
        if let Some(base_score) = &base_score {
            params.set("base_score", base_score)?;
        }
        let training = match known.take().filter(|known| known.serves(member, &places, &params)) {
            Some(known) => known,
            None => {
                // On a thread of its own it is this task's alone.
                on_own_thread(|| Ok(xgboost::dry_run(&params, &matrix_features(&of_member))?))?;
                let matrix = matrix(member, &params, &places)?;
                MemberMatrix { places: places.clone(), part: member.part, params: params.clone(), matrix }
            }
        };
        let fit = MemberFit { index, member, params: &params };
        let boosted = boost(context, &fit, training.matrix.borrow(), peers, &progress)?;
        let Boosted { mut booster, resumed_from } = boosted;
        known = Some(training);
        let model = booster.save()?;
        if member.part.is_some() && base_score.is_none() {
            base_score = Some(base_score_of(&model)?);
        }
        // A booster holds what it learnt with of every row: one at a time.
        let is_the_model = choice.members.len() == 1 && member.weight == 1.0 && places.len() == features.len();
        let booster = is_the_model.then_some(booster);
        fitted.push(FittedMember { booster, model, places, params: own, resumed_from });
    }
    progress.finish();
    // The mean takes memory of its own.
    drop(known);
    finished(context, choice, features, fitted)
}

/// The model of all members.
fn finished(
    context: &FitContext<'_>,
    choice: Choice,
    features: &[Feature],
    fitted: Vec<FittedMember>,
) -> Result<Fitted> {
    let params = fitted.first().map(|member| member.params.clone()).unwrap_or_default();
    let resumed_from = fitted.iter().filter_map(|member| member.resumed_from).reduce(|before, more| before + more);
    let (booster, model) = blended(context, &choice, features, fitted)?;
    Ok(Fitted { booster, model, params, scale: context.scale, rounds: choice.rounds(), choice, resumed_from })
}

/// The booster of a model that this run has made.
///
/// # Errors
/// [`Error::Defect`] where it is not sound.
pub(crate) fn load_own(model: &[u8]) -> Result<Booster> {
    let checked = CheckedModel::check(model).map_err(|problem| Error::Defect(problem.to_string()))?;
    Ok(Booster::load(&checked)?)
}

/// Where a model begins: XGBoost finds that in the rows it learns from, and models of one mean have it in common.
fn base_score_of(model: &[u8]) -> Result<String> {
    let model = Ensemble::from_ubj(model).map_err(|error| Error::Defect(error.to_string()))?;
    Ok(model.base_score().to_string())
}

fn at(features: &[Feature], places: &[usize]) -> Vec<Feature> {
    places.iter().map(|&place| features[place].clone()).collect()
}

/// A member's matrix, which serves the next one too where that has the same rows, columns and bins.
struct MemberMatrix<Matrix> {
    places: Vec<usize>,
    part: Option<Part>,
    params: Params,
    matrix: Matrix,
}

impl<Matrix> MemberMatrix<Matrix> {
    fn serves(&self, member: &Member, places: &[usize], params: &Params) -> bool {
        // With `approx` a matrix keeps the bins of the booster that trained on it first.
        let are_quantiles = self.params.wants_quantile_matrix() && params.wants_quantile_matrix();
        are_quantiles && self.part == member.part && self.places == places && self.params.max_bin() == params.max_bin()
    }
}

/// A member that has been trained.
struct FittedMember {
    /// The booster, where it is the model.
    booster: Option<Booster>,
    /// Its bytes, as `model.ubj`.
    model: Vec<u8>,
    /// The places of its columns among the model's.
    places: Vec<usize>,
    /// In the target's own units.
    params: Params,
    resumed_from: Option<u32>,
}

/// The weighted mean of all members as one booster, in the target's own units, and its bytes; a single one stays as it is where its leaves do.
fn blended(
    context: &FitContext<'_>,
    choice: &Choice,
    features: &[Feature],
    mut members: Vec<FittedMember>,
) -> Result<(Booster, Vec<u8>)> {
    if let Some(only) = members.iter_mut().find(|member| member.booster.is_some()) {
        let model = std::mem::take(&mut only.model);
        return match only.booster.take().filter(|_| context.scale.is_none()) {
            Some(booster) => Ok((booster, model)),
            None => in_own_units(context, model),
        };
    }
    let parts: Vec<ModelPart<'_>> = members
        .iter()
        .zip(&choice.members)
        .map(|(FittedMember { model, places, .. }, Member { weight, .. })| ModelPart {
            model,
            weight: *weight as f32,
            columns: places,
        })
        .collect();
    let named: Vec<(&str, &str)> = features.iter().map(|one| (one.name.as_str(), one.xgboost_type())).collect();
    let model = average_models(&parts, &named).map_err(|error| Error::Defect(error.to_string()))?;
    in_own_units(context, model)
}

/// The booster of a model that was trained on targets as XGBoost sees them, and its bytes as XGBoost writes them.
fn in_own_units(context: &FitContext<'_>, model: Vec<u8>) -> Result<(Booster, Vec<u8>)> {
    let mut booster = load_own(&context.scale.model(model)?)?;
    booster.set_threads(context.threads)?;
    let model = booster.save()?;
    Ok((booster, model))
}
