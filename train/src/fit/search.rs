//! How to learn, chosen on the training rows alone: the encoding of categories, parameters, learning rate, rounds, and
//! which boosters the model is the mean of.
//!
//! Trials run on a sample with a high learning rate, each validated on rows that it was not trained on. The best few are
//! promoted to a rung of successive halving on all rows if the sample was a part of them. Those whose mean predicts best are then trained slowly, with early stopping,
//! to find their rounds (`selection`); if tuning was asked for, its trials compete with them. What a stage may cost is planned
//! by `Budget`.

use std::time::Instant;

use error::Result;
use xgboost::Params;

use super::budget::Stage;
use super::candidates::{SLOWER_TRIAL_ETA, TRIAL_ETA, candidates, eta_of, leaves_learning_open};
use super::choice::Choice;
use super::final_selection::FinalSelection;
use super::fold_matrices::FoldMatrices;
use super::folds::Sample;
use super::histograms;
use super::ranking::{Candidate, Ranking, pace, promoted};
use super::trial::{Limits, Outcome, PruningBaseline};
use super::trials::Trials;
use super::{FALLBACK_ROUNDS, FitContext, tuning};
use crate::encodings::EncodingScheme;
use crate::features::Features;
use crate::read::Rows;

/// Cells (rows × columns) of a sample.
const SAMPLE_CELLS: usize = 1_000_000;
/// Minimum number of rows in a sample, however many columns there are.
const LEAST_SAMPLE: usize = 5_000;
/// Maximum number of rows in a sample.
const MOST_SAMPLE: usize = 40_000;
/// Minimum number of rows that anything is chosen on.
const FEWEST_ROWS: usize = 20;
/// Rounds of a trial at most, and those that every trial gets.
const TRIAL_ROUNDS: (u32, u32) = (25, 400);
/// Rounds without an improvement that end a trial.
const PATIENCE: u32 = 25;
/// A fold is worth its cost where the trials can afford as many rounds.
const ROUNDS_PER_FOLD: f64 = 150.0;
/// Rounds that a candidate should get on the rung on all rows, which has as many rows as allow that.
const JUDGED_ROUNDS: f64 = 150.0;

/// Chooses what the user left open.
///
/// # Errors
/// [`error::Error::Stopped`] when the run was asked to stop; what XGBoost refuses; storage errors as they are.
pub fn choose(context: &FitContext<'_>, base: &Features, rows: &Rows) -> Result<Choice> {
    let (config, given) = (context.config, &context.config.given_params);
    let native = EncodingScheme::native(&base.features, &config.spec);
    let unsearched = |rounds| Choice::unsearched(native.clone(), given.clone(), rounds, config.seed);
    let is_tuned = config.trials > 0;
    if rows.len() < FEWEST_ROWS || config.time_budget == 0 {
        if is_tuned {
            tracing::warn!("--tune (TUNE) has no effect: there are too few rows, or no time (--time-budget)");
        }
        return Ok(unsearched(config.rounds.unwrap_or(FALLBACK_ROUNDS)));
    }
    let user = &config.user_params;
    if let Some(rounds) = config.rounds {
        let tuned = if is_tuned { tuning::of_given_rounds(context, base, rows, &native, rounds)? } else { None };
        return Ok(tuned.unwrap_or_else(|| unsearched(rounds)));
    }
    let is_open = leaves_learning_open(user);
    let candidates = if is_open { candidates(user)? } else { vec![given.clone()] };
    // Constraints that the user wrote down by column numbers hold for one column per feature.
    let counts_columns =
        ["monotone_constraints", "interaction_constraints"].iter().any(|name| user.get(name).is_some());
    let schemes = if counts_columns {
        vec![native.clone()]
    } else {
        EncodingScheme::candidates(&base.features, &config.spec, rows.len())
    };
    let mut search = Search { trials: Trials::new(context, base, rows), is_open };
    let chosen = search.choose(schemes, &candidates);
    search.trials.finish();
    Ok(chosen?.unwrap_or_else(|| unsearched(FALLBACK_ROUNDS)))
}

/// What a trial is for and the cells that it may go through.
#[derive(Clone, Copy)]
struct TrialPlan {
    stage: Stage,
    cells: f64,
}

struct Search<'a> {
    trials: Trials<'a>,
    /// Whether parameters are searched for.
    is_open: bool,
}

impl Search<'_> {
    /// None where there are no rows to judge by.
    fn choose(&mut self, schemes: Vec<EncodingScheme>, candidates: &[Params]) -> Result<Option<Choice>> {
        let (rows, seed) = (self.trials.rows, u64::from(self.trials.context.config.seed));
        let most = (SAMPLE_CELLS / self.trials.base.features.len().max(1)).clamp(LEAST_SAMPLE, MOST_SAMPLE);
        let planned = (schemes.len() + histograms::MORE_BINS.len() + candidates.len()).max(2) - 1;
        let of_trials = [Stage::Encoding, Stage::Bins, Stage::Parameters];
        let cells = of_trials.iter().map(|stage| self.trials.budget.cells(*stage)).sum::<f64>() / planned as f64;
        let sample = Sample::draw(rows, most, seed);
        let folds = (cells / cells_per_fold(&sample, &schemes)) as u8;
        let sample = sample.with_folds(folds);
        let widest = schemes.iter().max_by_key(|scheme| scheme.width());
        let per_round = widest.map_or(1.0, |widest| sample.cells_per_round(widest));
        let judged = self.affordable_rows(widest).min(rows.len());
        let mut candidates = candidates.to_vec();
        if self.is_open && cells / per_round >= f64::from(2 * TRIAL_ROUNDS.1) {
            candidates.iter_mut().try_for_each(|params| params.set("eta", &SLOWER_TRIAL_ETA.to_string()))?;
        }
        if sample.folds().is_empty() {
            tracing::warn!(
                "the training rows leave nothing to validate on: rounds and parameters are not chosen but fixed ({FALLBACK_ROUNDS} \
                 rounds). There are too few instants or groups, or the gap (--gap) is too long"
            );
            return Ok(None);
        }
        let mut ranking = self.trials_on(&sample, schemes, &candidates, cells)?;
        let all = if sample.len() < judged {
            let all = Sample::draw(rows, judged, seed);
            ranking = self.rung(&all, ranking)?;
            all
        } else {
            sample
        };
        if ranking.candidates.is_empty() {
            return Ok(None);
        }
        FinalSelection { trials: &mut self.trials, is_open: self.is_open, all: &all }.choose(ranking)
    }

    /// Rows that a model can be judged on until it has learnt enough: too few rounds on more rows say less.
    fn affordable_rows(&self, widest: Option<&EncodingScheme>) -> usize {
        let width = widest.map_or(1, EncodingScheme::width).max(1);
        (self.trials.budget.cells(Stage::Rounds) / (JUDGED_ROUNDS * width as f64)) as usize
    }

    /// Encodings with the first candidate, then the other candidates with the best encoding.
    fn trials_on(
        &mut self,
        sample: &Sample,
        schemes: Vec<EncodingScheme>,
        candidates: &[Params],
        cells: f64,
    ) -> Result<Ranking> {
        let mut ranking = Ranking::default();
        let Some((first, others)) = candidates.split_first() else { return Ok(ranking) };
        if schemes.len() + others.len() == 1 {
            let alone = |scheme| Candidate { scheme, params: first.clone(), outcome: Outcome::new() };
            ranking.candidates = schemes.into_iter().map(alone).collect();
            return Ok(ranking);
        }
        let plan = |stage| TrialPlan { stage, cells };
        let mut best: Option<FoldMatrices<'_>> = None;
        let mut first = first.clone();
        for scheme in schemes {
            let mut matrices = self.trials.matrices(sample, scheme, &first);
            let stands_first = self.compete(plan(Stage::Encoding), &mut matrices, &first, &mut ranking)?;
            if stands_first || best.is_none() {
                best = Some(matrices);
            }
        }
        let Some(mut matrices) = best else { return Ok(ranking) };
        let is_open = self.is_open && first.get("max_bin").is_none();
        for bins in histograms::finer_bins(matrices.scheme.width() as u64).filter(|_| is_open) {
            let mut finer = first.clone();
            finer.set("max_bin", &bins.to_string())?;
            let mut into = self.trials.matrices(sample, matrices.scheme.clone(), &finer);
            if !self.compete(plan(Stage::Bins), &mut into, &finer, &mut ranking)? {
                break;
            }
            (first, matrices) = (finer, into);
        }
        for params in others {
            let mut params = params.clone();
            if let Some(bins) = first.get("max_bin") {
                params.set("max_bin", bins)?;
            }
            self.compete(plan(Stage::Parameters), &mut matrices, &params, &mut ranking)?;
        }
        Ok(ranking)
    }

    /// The rung of successive halving: the best few again, on all rows.
    fn rung(&mut self, all: &Sample, ranking: Ranking) -> Result<Ranking> {
        if ranking.candidates.len() < 2 {
            return Ok(ranking);
        }
        let promoted = promoted(ranking.candidates);
        let cells = self.trials.budget.cells(Stage::Rung) / promoted.len() as f64;
        let rung = TrialPlan { stage: Stage::Rung, cells };
        let mut ranking = Ranking::default();
        for Candidate { scheme, params, .. } in promoted {
            let mut matrices = self.trials.matrices(all, scheme, &params);
            self.compete(rung, &mut matrices, &params, &mut ranking)?;
        }
        Ok(ranking)
    }

    /// Runs a candidate against the best so far and puts it in its place; whether that is the first.
    fn compete(
        &mut self,
        TrialPlan { stage, cells }: TrialPlan,
        matrices: &mut FoldMatrices<'_>,
        params: &Params,
        ranking: &mut Ranking,
    ) -> Result<bool> {
        if Instant::now() > self.trials.budget.deadline(stage) && !ranking.candidates.is_empty() {
            self.trials.budget.warn_of_deadline(stage);
            return Ok(false);
        }
        let affordable = f64::from(matrices.affordable(cells)) * pace(params);
        let slowness = (TRIAL_ETA / eta_of(params)).max(1.0);
        let most = f64::from(TRIAL_ROUNDS.1) * slowness;
        let rounds = affordable.clamp(f64::from(TRIAL_ROUNDS.0), most) as u32;
        let baseline = ranking.candidates.first().map(|candidate| PruningBaseline::of(&candidate.outcome));
        let patience = Some((f64::from(PATIENCE) * slowness) as u32);
        let outcome = self.trials.run(stage, matrices, params, &Limits { rounds, patience, baseline })?;
        if ranking.candidates.is_empty() {
            ranking.truth = matrices.sample.truth(self.trials.rows);
        }
        Ok(ranking.insert(Candidate { scheme: matrices.scheme.clone(), params: params.clone(), outcome }))
    }
}

/// What one fold of a trial costs in the widest encoding.
fn cells_per_fold(sample: &Sample, schemes: &[EncodingScheme]) -> f64 {
    let width = schemes.iter().map(EncodingScheme::width).max().unwrap_or(1);
    ROUNDS_PER_FOLD * (sample.len() * width).max(1) as f64
}
