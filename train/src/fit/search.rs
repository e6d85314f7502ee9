//! How to learn, chosen on the training rows alone: the encoding of categories, parameters, learning rate, rounds, and
//! which boosters the model is the mean of.
//!
//! Trials run on a sample with a high learning rate, each validated on rows that it was not trained on. Derived features, fewer features
//! and finer bins are tried with the best candidate alone (`refinements`). The best few are
//! promoted to a rung of successive halving on all rows if the sample was a part of them. Those whose mean predicts best are then trained slowly, with early stopping,
//! to find their rounds (`final_selection`); if tuning was asked for, its trials compete with them. What a stage may cost is planned
//! by `Budget`.

use std::time::Instant;

use error::Result;
use evaluation::split;
use xgboost::Params;

use super::budget::Stage;
use super::candidates::{Candidates, leaves_learning_open};
use super::choice::Choice;
use super::final_selection::{FinalSelection, SLOW_ETA};
use super::fold_matrices::FoldMatrices;
use super::folds::Sample;
use super::histograms;
use super::learning_rate::{SLOWER_TRIAL_ETA, TRIAL_ETA, eta_of};
use super::ranking::{Candidate, Ranking, depth, pace, promoted};
use super::trial::{End, Limits, Outcome, PruningBaseline};
use super::trials::Trials;
use super::{CELLS_SIDE_BY_SIDE, FALLBACK_ROUNDS, FitContext, tuning};
use crate::config::TrainConfig;
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
/// The least and the most rounds of a trial.
const TRIAL_ROUNDS: (u32, u32) = (25, 400);
/// Rounds without an improvement that end a trial.
const PATIENCE: u32 = 25;
/// Rounds that trials need where a look at the table did not tell: a fold is worth its cost if they can afford them.
const ROUNDS_PER_FOLD: f64 = 150.0;
/// Rounds that a trial needs at least, however quickly the first one stopped learning.
const FEWEST_NEEDED: f64 = 50.0;
/// A further fold of the last part is worth its cost where it can be afforded so many times, for the rounds of one candidate that learns
/// slowly: the mean of several, and rounds beyond those that were expected, tell more than further folds.
const FINALISTS_OF_A_FOLD: f64 = 6.0;
/// Trials are planned for so many times their budget: many are given up early or stop learning.
const EARLY_ENDS: f64 = 1.5;
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
    let candidates =
        if is_open { Candidates::of_search(user, context.most_nodes)? } else { Candidates::given(given.clone()) };
    let mut search = Search { trials: Trials::new(context, base, rows), is_open, encoding: None };
    let schemes = if constrains_columns(user) {
        vec![native.clone()]
    } else {
        let mut schemes = EncodingScheme::candidates(&base.features, &config.spec, rows.len());
        if schemes.len() > 1 {
            schemes.retain(|scheme| scheme.name != native.name || search.has_room_for(scheme, given.max_bin()));
        }
        schemes
    };
    let chosen = search.choose(schemes, candidates);
    search.trials.finish();
    Ok(chosen?.unwrap_or_else(|| unsearched(FALLBACK_ROUNDS)))
}

/// The bins of all columns of an encoding that the memory plan counts at least, however many columns a category gives.
pub(super) fn planned_bins(scheme: &EncodingScheme) -> u64 {
    let (features, categories) = (scheme.features() as u64, scheme.categories() as u64);
    histograms::planned_bins(features).min(histograms::planned_bins(features + 2 * categories))
}

/// Whether the encodings of categories are chosen, where the spec leaves them open; XGBoost splits by their levels itself otherwise.
#[must_use]
pub fn chooses_encodings(config: &TrainConfig) -> bool {
    config.rounds.is_none() && config.time_budget > 0
}

/// Whether the user has written down constraints by column numbers: they hold for one column per feature.
pub(super) fn constrains_columns(user: &Params) -> bool {
    ["monotone_constraints", "interaction_constraints"].iter().any(|name| user.get(name).is_some())
}

/// The most rows of a sample of a table of so many features.
pub(super) fn most_sample_rows(features: usize) -> usize {
    (SAMPLE_CELLS / features.max(1)).clamp(LEAST_SAMPLE, MOST_SAMPLE)
}

/// What a trial is for, and the rounds that one of depth 6 may take: all trials that are compared have as many, whatever
/// they cost, since fewer rounds would tell against the more costly ones.
#[derive(Clone, Copy)]
pub(super) struct TrialPlan {
    pub(super) stage: Stage,
    pub(super) rounds: f64,
    /// The work of choosing rounds, where candidates rank by what they would come to with it.
    pub(super) work: Option<f64>,
}

pub(super) struct Search<'a> {
    pub(super) trials: Trials<'a>,
    /// Whether parameters are searched for.
    pub(super) is_open: bool,
    /// The encoding that did best, of all features.
    encoding: Option<EncodingScheme>,
}

impl Search<'_> {
    /// Whether the histograms of an encoding are within what the memory plan counts, which does not know how many levels there are.
    fn has_room_for(&self, scheme: &EncodingScheme, most_bins: u32) -> bool {
        self.trials.costs.bins(scheme, most_bins) <= planned_bins(scheme) as f64
    }

    /// None where there are no rows to judge by.
    fn choose(&mut self, schemes: Vec<EncodingScheme>, mut candidates: Candidates) -> Result<Option<Choice>> {
        let (rows, seed) = (self.trials.rows, u64::from(self.trials.context.config.seed));
        let Some(widest) = schemes.iter().max_by_key(|scheme| scheme.width()).cloned() else { return Ok(None) };
        let most = most_sample_rows(widest.features());
        let sample = Sample::draw(rows, most, seed);
        let of_trials = [Stage::Encoding, Stage::Bins, Stage::Parameters];
        let mut work = of_trials.iter().map(|stage| self.trials.budget.work(*stage)).sum::<f64>();
        let is_of_all_rows = sample.len() == rows.len();
        if is_of_all_rows {
            work += self.trials.budget.work(Stage::Rung);
        }
        let learning = sample.len() * 4 / 5;
        let of_fold = self.planned_round(learning, &schemes, &widest, &candidates);
        let affordable = EARLY_ENDS * work / of_fold;
        let is_alone = schemes.len() == 1 && candidates.planned().len() == 1;
        let sample = sample.with_folds(1);
        let needed = match schemes.first().filter(|_| !is_alone && !sample.folds().is_empty()) {
            Some(scheme) => self.look(&sample, scheme, candidates.first(), affordable)?,
            None => ROUNDS_PER_FOLD,
        };
        let folds = affordable / needed;
        let sample = sample.with_folds((folds as u8).max(self.least_folds(learning * widest.width())));
        if sample.folds().is_empty() {
            tracing::warn!(
                "the training rows leave nothing to validate on: rounds and parameters are not chosen but fixed ({FALLBACK_ROUNDS} \
                 rounds). There are too few instants or groups, or the gap (--gap) is too long"
            );
            return Ok(None);
        }
        let of_folds: f64 = sample
            .folds()
            .into_iter()
            .map(|(_, learning)| self.planned_round(learning, &schemes, &widest, &candidates))
            .sum();
        let rounds = EARLY_ENDS * work / of_folds;
        if self.is_open && folds >= 2.0 * f64::from(split::FOLDS) {
            candidates.learn_at(SLOWER_TRIAL_ETA)?;
        }
        let of_sample = format!("{} rows, {} folds", sample.len(), sample.folds().len());
        let by = format!("the budget affords {} rounds of every trial", rounds as u64);
        self.trials.decide("sample", &of_sample, &by);
        let judged = self.affordable_rows(&widest, candidates.first()).min(rows.len());
        let mut ranking = self.trials_on(&sample, schemes, candidates, rounds)?;
        let all = if sample.len() < judged {
            let all = Sample::draw(rows, judged, seed);
            ranking = self.rung(&all, ranking)?;
            all
        } else if is_of_all_rows {
            let folds = ranking.candidates.first().map_or(1, |first| self.last_folds(learning, first));
            Sample::draw(rows, most, seed).with_folds(folds.max(self.least_folds(learning * widest.width())))
        } else {
            sample
        };
        if ranking.candidates.is_empty() {
            return Ok(None);
        }
        let (trials, is_open, encoding) = (&mut self.trials, self.is_open, self.encoding.as_ref());
        FinalSelection { trials, is_open, encoding, all: &all }.choose(ranking)
    }

    /// A cheap look at the table: rounds that trials need, from what the first candidate took on one fold.
    fn look(&mut self, one: &Sample, scheme: &EncodingScheme, params: &Params, affordable: f64) -> Result<f64> {
        let rounds = affordable.clamp(f64::from(TRIAL_ROUNDS.0), f64::from(TRIAL_ROUNDS.1)) as u32;
        let mut matrices = self.trials.matrices(one, scheme.clone(), params);
        let limits = Limits { patience: Some(PATIENCE), ..Limits::all_of(rounds) };
        let outcome = self.trials.run(Stage::Look, &mut matrices, params, &limits)?;
        let needed = f64::from(2 * outcome.best_round() + PATIENCE).max(FEWEST_NEEDED);
        let took = outcome.curve.len() as f64;
        Ok(if outcome.end == End::Converged { needed } else { took.max(ROUNDS_PER_FOLD) })
    }

    /// Folds of the last part, in which several candidates learn slowly.
    fn last_folds(&self, learning: usize, first: &Candidate) -> u8 {
        let rounds = self.trials.tried(&first.params).rounds_at(SLOW_ETA);
        let of_one = rounds * self.trials.costs.round(learning, &first.scheme, &first.params);
        (self.trials.budget.work(Stage::Rounds) / (FINALISTS_OF_A_FOLD * of_one).max(1.0)) as u8
    }

    /// Folds of a table of few cells keep as many threads busy, one each: several threads on one small tree wait for each other.
    pub(super) fn least_folds(&self, cells: usize) -> u8 {
        if cells <= CELLS_SIDE_BY_SIDE && self.trials.context.threads > 1 { 2 } else { 1 }
    }

    /// A round of every trial that is planned, on so many rows to learn from. Those of `refinements` have what others leave.
    fn planned_round(
        &self,
        learning: usize,
        schemes: &[EncodingScheme],
        widest: &EncodingScheme,
        candidates: &Candidates,
    ) -> f64 {
        let round = |scheme, params: &Params| pace(params) * self.trials.costs.round(learning, scheme, params);
        let of_encodings: f64 = schemes.iter().skip(1).map(|scheme| round(scheme, candidates.first())).sum();
        let of_params: f64 = candidates.planned().into_iter().map(|params| round(widest, params)).sum();
        of_encodings + of_params
    }

    /// Rows that a model can be judged on until it has learnt enough: too few rounds on more rows say less.
    fn affordable_rows(&self, widest: &EncodingScheme, params: &Params) -> usize {
        let work = self.trials.budget.work(Stage::Rounds);
        self.trials.costs.affordable_rows(work, JUDGED_ROUNDS, widest, params)
    }

    /// Encodings with the first candidate, then the other candidates with the best encoding.
    fn trials_on(
        &mut self,
        sample: &Sample,
        schemes: Vec<EncodingScheme>,
        candidates: Candidates,
        rounds: f64,
    ) -> Result<Ranking> {
        let mut ranking = Ranking::default();
        let first = candidates.first().clone();
        if schemes.len() == 1 && candidates.planned().len() == 1 {
            let alone = |scheme| Candidate::judged(scheme, first.clone(), Outcome::new());
            ranking.candidates = schemes.into_iter().map(alone).collect();
            return Ok(ranking);
        }
        let plan = |stage| TrialPlan { stage, rounds, work: None };
        let mut best: Option<FoldMatrices<'_>> = None;
        for scheme in schemes {
            let mut matrices = self.trials.matrices(sample, scheme, &first);
            let stands_first = self.compete(plan(Stage::Encoding), &mut matrices, &first, &mut ranking)?;
            if stands_first || best.is_none() {
                best = Some(matrices);
            }
        }
        let Some(mut matrices) = best else { return Ok(ranking) };
        self.encoding = Some(matrices.scheme.clone());
        self.decide_by_trials("encoding", &matrices.scheme.name.clone(), &ranking);
        let mut tried = 1;
        let mut rest = candidates;
        let is_sample = sample.len() < self.trials.context.fitted_rows;
        while let Some(params) = rest.next(&ranking, sample.len(), is_sample) {
            self.compete(plan(Stage::Parameters), &mut matrices, &params, &mut ranking)?;
            tried += 1;
        }
        if let Some((chosen, by)) = rest.direction {
            self.trials.decide("depth", chosen, &by);
        }
        if tried > 1 {
            self.decide_by_trials("parameters", "the best of the trials", &ranking);
        }
        if self.is_open {
            self.refine(rounds, matrices, &mut ranking)?;
        }
        Ok(ranking)
    }

    /// The rung of successive halving: the best few again, on all rows.
    fn rung(&mut self, all: &Sample, ranking: Ranking) -> Result<Ranking> {
        if ranking.candidates.len() < 2 {
            return Ok(ranking);
        }
        let mut promoted = promoted(&ranking.candidates)?;
        promoted.iter_mut().try_for_each(|one| self.bound_bins(&one.scheme, &mut one.params))?;
        let of_one =
            |one: &Candidate| pace(&one.params) * self.trials.costs.round_of_folds(all, &one.scheme, &one.params);
        let of_all: f64 = promoted.iter().map(of_one).sum();
        let [work_of_rung, work] = [Stage::Rung, Stage::Rounds].map(|stage| self.trials.budget.work(stage));
        let rung = TrialPlan { stage: Stage::Rung, rounds: EARLY_ENDS * work_of_rung / of_all, work: Some(work) };
        let mut ranking = Ranking::default();
        for Candidate { scheme, params, .. } in promoted {
            let mut matrices = self.trials.matrices(all, scheme, &params);
            self.compete(rung, &mut matrices, &params, &mut ranking)?;
        }
        if let Some(first) = ranking.candidates.first() {
            let chosen = format!("{}, max_depth {}", first.scheme.name, depth(&first.params));
            self.decide_by_trials("race", &chosen, &ranking);
        }
        Ok(ranking)
    }

    /// Runs a candidate against the best so far and puts it in its place; whether that is the first.
    pub(super) fn compete(
        &mut self,
        TrialPlan { stage, rounds, work }: TrialPlan,
        matrices: &mut FoldMatrices<'_>,
        params: &Params,
        ranking: &mut Ranking,
    ) -> Result<bool> {
        if Instant::now() > self.trials.budget.deadline(stage) && !ranking.candidates.is_empty() {
            self.trials.budget.warn_of_deadline(stage);
            return Ok(false);
        }
        let slowness = (TRIAL_ETA / eta_of(params)).max(1.0);
        let most = f64::from(TRIAL_ROUNDS.1) * slowness;
        let rounds = (rounds * pace(params)).clamp(f64::from(TRIAL_ROUNDS.0), most) as u32;
        let baseline = ranking
            .candidates
            .first()
            .map(|first| PruningBaseline::with_pace(&first.outcome, pace(params) / pace(&first.params)));
        let patience = Some((f64::from(PATIENCE) * slowness) as u32);
        let is_of_sample = matches!(stage, Stage::Encoding | Stage::Parameters);
        let tells_gains = is_of_sample && self.chooses_features(&matrices.scheme);
        let limits = Limits { patience, baseline, tells_gains, ..Limits::all_of(rounds) };
        let outcome = self.trials.run(stage, matrices, params, &limits)?;
        if ranking.candidates.is_empty() {
            ranking.truth = matrices.sample.truth(self.trials.rows);
        }
        let mut candidate = Candidate::judged(matrices.scheme.clone(), params.clone(), outcome);
        if let Some(work) = work {
            candidate = candidate.expected_in(self.trials.affordable(work, matrices, params));
        }
        Ok(ranking.insert(candidate))
    }

    /// Notes down what the trials so far have decided.
    pub(super) fn decide_by_trials(&mut self, what: &'static str, chosen: &str, ranking: &Ranking) {
        let value = |place: usize| ranking.candidates.get(place).map(Candidate::standing);
        let figure = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.6}"));
        let metric = ranking.candidates.first().and_then(|one| one.outcome.metric.clone());
        let metric = metric.unwrap_or_else(|| "the metric".to_owned());
        let is_expected = ranking.candidates.first().is_some_and(|first| first.expected.is_some());
        let when = if is_expected { ", expected in the rounds that the budget affords" } else { "" };
        let (best, next) = (figure(value(0)), figure(value(1)));
        let by = format!("{metric} of the validation rows{when}: {best} at best, {next} the next");
        self.trials.decide(what, chosen, &by);
    }
}
