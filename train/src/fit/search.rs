//! How to learn, chosen on the training rows alone: the encoding of categories, parameters, learning rate, rounds, and
//! which boosters the model is the mean of.
//!
//! Trials run on a sample with a high learning rate, each judged on rows that it did not learn from. The best few race on
//! all rows if the sample was a part of them. Those whose mean predicts best are then trained slowly, with early stopping,
//! to find their rounds. What a stage may cost is planned by `Budget`.

use std::time::Instant;

use common::Result;
use common::telemetry::{Progress, Unit};
use common::xgboost::{Params, params::monotone_constraints};

use super::budget::{Budget, Stage};
use super::candidates::{SLOWER_TRIAL_ETA, TRIAL_ETA, Tried, candidates, eta_of, leaves_learning_open};
use super::choice::{Choice, Member, TrialReport};
use super::folds::{FoldMatrices, Sample, cells_of_round};
use super::histograms;
use super::ranking::{Contestant, Ranking, is_sampled, named, pace, racers, unfinished};
use super::trial::{End, Limits, Outcome, run};
use super::{FALLBACK_ROUNDS, FitContext, given_parameters, set_by_user};
use crate::encodings::Variant;
use crate::features::Features;
use crate::read::Rows;

/// Cells (rows × columns) of a sample.
const SAMPLE_CELLS: usize = 1_000_000;
/// A sample has at least as many rows, however many columns there are.
const LEAST_SAMPLE: usize = 5_000;
/// And at most as many.
const MOST_SAMPLE: usize = 40_000;
/// Fewer rows than this are too few to choose anything on.
const FEWEST_ROWS: usize = 20;
/// The most rounds that early stopping may choose; a model's members have about 1.2 times as many.
const MOST_ROUNDS: u32 = 5_000;
/// Rounds of a trial at most, and those that every trial gets.
const TRIAL_ROUNDS: (u32, u32) = (25, 400);
/// Rounds without an improvement that end a trial, and the choice of rounds at a learning rate of 0.1.
const PATIENCE: (u32, f64) = (25, 50.0);
/// The choice of rounds is a failure where it ends so much above the trial that won: trials are many, and the best of many
/// was also lucky.
const MUCH_WORSE: f64 = 1.03;
/// A fold is worth its cost where the trials can afford as many rounds.
const ROUNDS_PER_FOLD: f64 = 150.0;
/// A trial that was still getting better would have taken about so many times its rounds.
const UNFINISHED: u32 = 3;
/// The model is fitted to more rows than its rounds were chosen on, so it takes one round in this many more.
const MORE_ROUNDS: u32 = 10;
/// Contestants that a model is the mean of, at most,
const MOST_FINALISTS: usize = 4;
/// and boosters, each contestant with one seed or more.
const MOST_MEMBERS: usize = 8;
/// What all of them may cost to fit, as a part of what choosing their rounds may cost.
const MEMBERS_SHARE: f64 = 0.5;
/// Learning rates that are slow enough for the mean of several contestants, and for that of several seeds.
const SLOW_ETA: f64 = 0.05;
const QUICK_ETA: f64 = 0.1;
/// Keeps the random numbers of one member apart from those of the next: XGBoost counts a seed up from round to round.
const SEED_STEP: u32 = 10_000_019;

/// Chooses what the user left open.
///
/// # Errors
/// [`common::Error::Stopped`] when the run was asked to stop; what XGBoost refuses.
pub fn choose(context: &FitContext<'_>, base: &Features, rows: &Rows) -> Result<Choice> {
    let given = given_parameters(context.settings, context.spec)?;
    let native = Variant::native(&base.features, context.spec);
    let unsearched = |rounds| Choice::unsearched(native.clone(), given.clone(), rounds, context.settings.seed);
    if let Some(rounds) = context.settings.rounds {
        return Ok(unsearched(rounds));
    }
    if rows.len() < FEWEST_ROWS || context.settings.time_budget == 0 {
        return Ok(unsearched(FALLBACK_ROUNDS));
    }
    let user = set_by_user(context.settings, context.spec)?;
    let is_open = leaves_learning_open(&user);
    let candidates = if is_open { candidates(&user)? } else { vec![given.clone()] };
    // Constraints that the user wrote down by column numbers hold for one column per feature.
    let counts_columns =
        ["monotone_constraints", "interaction_constraints"].iter().any(|name| user.get(name).is_some());
    let variants = if counts_columns {
        vec![native.clone()]
    } else {
        Variant::candidates(&base.features, context.spec, rows.len())
    };
    let chosen = Search::new(context, base, rows, is_open).choose(variants, &candidates)?;
    Ok(chosen.unwrap_or_else(|| unsearched(FALLBACK_ROUNDS)))
}

struct Search<'a> {
    context: &'a FitContext<'a>,
    base: &'a Features,
    rows: &'a Rows,
    is_open: bool,
    budget: Budget,
    progress: Progress,
    trials: Vec<TrialReport>,
}

impl<'a> Search<'a> {
    fn new(context: &'a FitContext<'a>, base: &'a Features, rows: &'a Rows, is_open: bool) -> Self {
        Self {
            context,
            base,
            rows,
            is_open,
            budget: Budget::new(context.settings, context.threads),
            progress: context.telemetry.progress("choosing", Unit::Items("rounds"), None),
            trials: Vec::new(),
        }
    }

    /// None where there are no rows to judge by.
    fn choose(mut self, variants: Vec<Variant>, candidates: &[Params]) -> Result<Option<Choice>> {
        let most = (SAMPLE_CELLS / self.base.features.len().max(1)).clamp(LEAST_SAMPLE, MOST_SAMPLE);
        let planned = (variants.len() + histograms::MORE_BINS.len() + candidates.len()).max(2) - 1;
        let of_trials = [Stage::Encoding, Stage::Bins, Stage::Parameters];
        let cells = of_trials.iter().map(|stage| self.budget.cells(*stage)).sum::<f64>() / planned as f64;
        let seed = u64::from(self.context.settings.seed);
        let sample = Sample::draw(self.rows, most, seed);
        let folds = (cells / cells_per_fold(&sample, &variants)) as u8;
        let sample = sample.with_folds(folds);
        let widest = variants.iter().max_by_key(|variant| variant.width());
        let per_round = widest.map_or(1.0, |widest| sample.cells_per_round(widest));
        let mut candidates = candidates.to_vec();
        if self.is_open && cells / per_round >= f64::from(2 * TRIAL_ROUNDS.1) {
            candidates.iter_mut().try_for_each(|params| params.set("eta", &SLOWER_TRIAL_ETA.to_string()))?;
        }
        let mut ranking = self.trials_on(&sample, variants, &candidates, cells)?;
        let all = if sample.len() < self.rows.len() {
            let all = Sample::draw(self.rows, self.rows.len(), seed);
            ranking = self.race(&all, ranking)?;
            all
        } else {
            sample
        };
        if ranking.contestants.is_empty() {
            return Ok(None);
        }
        let finalists = self.finalists(&all, ranking)?;
        self.progress.finish();
        Ok(self.chosen(finalists))
    }

    /// Encodings with the first candidate, then the other candidates with the best encoding.
    fn trials_on(
        &mut self,
        sample: &Sample,
        variants: Vec<Variant>,
        candidates: &[Params],
        cells: f64,
    ) -> Result<Ranking> {
        let mut ranking = Ranking::default();
        let Some((first, others)) = candidates.split_first() else { return Ok(ranking) };
        if variants.len() + others.len() == 1 {
            let alone = |variant| Contestant { variant, params: first.clone(), outcome: Outcome::untried() };
            ranking.contestants = variants.into_iter().map(alone).collect();
            return Ok(ranking);
        }
        let mut best: Option<(Variant, FoldMatrices)> = None;
        let mut first = first.clone();
        for variant in variants {
            let mut matrices = self.matrices(sample, &variant, &first)?;
            let stands_first =
                self.compete(Stage::Encoding, sample, &variant, &first, &mut matrices, cells, &mut ranking)?;
            if stands_first || best.is_none() {
                best = Some((variant, matrices));
            }
        }
        let Some((variant, mut matrices)) = best else { return Ok(ranking) };
        let is_open = self.is_open && first.get("max_bin").is_none();
        for bins in histograms::finer_bins(variant.width() as u64).filter(|_| is_open) {
            let mut finer = first.clone();
            finer.set("max_bin", &bins.to_string())?;
            let mut into = self.matrices(sample, &variant, &finer)?;
            if !self.compete(Stage::Bins, sample, &variant, &finer, &mut into, cells, &mut ranking)? {
                break;
            }
            (first, matrices) = (finer, into);
        }
        for params in others {
            let mut params = params.clone();
            if let Some(bins) = first.get("max_bin") {
                params.set("max_bin", bins)?;
            }
            self.compete(Stage::Parameters, sample, &variant, &params, &mut matrices, cells, &mut ranking)?;
        }
        Ok(ranking)
    }

    /// The best few again, on all rows.
    fn race(&mut self, all: &Sample, ranking: Ranking) -> Result<Ranking> {
        if ranking.contestants.len() < 2 {
            return Ok(ranking);
        }
        let racers = racers(ranking.contestants);
        let cells = self.budget.cells(Stage::Race) / racers.len() as f64;
        let mut ranking = Ranking::default();
        for racer in racers {
            let mut matrices = self.matrices(all, &racer.variant, &racer.params)?;
            self.compete(Stage::Race, all, &racer.variant, &racer.params, &mut matrices, cells, &mut ranking)?;
        }
        Ok(ranking)
    }

    /// Those whose mean predicts best and their weights, each with the rounds that it is to be fitted with, chosen on all
    /// rows at the learning rate of the final model.
    fn finalists(&mut self, all: &Sample, ranking: Ranking) -> Result<Vec<(Contestant, f64)>> {
        let most = self.affordable_finalists(all, &ranking);
        let mixture = ranking.mixture(most);
        let cells = self.budget.cells(Stage::Rounds) / mixture.len() as f64;
        let mut judged = Ranking::default();
        for (contestant, _) in mixture {
            self.choose_rounds(all, contestant, cells, &mut judged)?;
        }
        Ok(judged.mixture(most))
    }

    /// How many contestants can have their rounds chosen slowly.
    fn affordable_finalists(&self, all: &Sample, ranking: &Ranking) -> usize {
        let Some(first) = ranking.contestants.first().filter(|_| self.is_open) else { return 1 };
        let rounds = self.tried(&first.params).rounds_at(SLOW_ETA);
        let cells = rounds * all.cells_per_round(&first.variant);
        ((self.budget.cells(Stage::Rounds) / cells) as usize).clamp(1, MOST_FINALISTS)
    }

    /// A contestant on all rows, at the learning rate of the final model.
    fn choose_rounds(&mut self, all: &Sample, contestant: Contestant, cells: f64, judged: &mut Ranking) -> Result<()> {
        let Contestant { variant, mut params, outcome } = contestant;
        let mut matrices = self.matrices(all, &variant, &params)?;
        judged.truth = matrices.truth();
        let affordable = f64::from(affordable(cells, &matrices)) * pace(&params);
        let affordable = (affordable as u32).clamp(100, MOST_ROUNDS);
        let tried = self.tried(&params);
        let for_each_member = MOST_ROUNDS / self.affordable_members(tried.rounds_at(QUICK_ETA), &variant) as u32;
        let trial_eta = params.get("eta").unwrap_or("0.3").to_owned();
        if self.is_open {
            params.set("eta", &tried.final_eta(affordable.min(for_each_member)).to_string())?;
        }
        let eta = eta_of(&params);
        let patience = (PATIENCE.1 * (0.1 / eta).max(1.0)) as u32;
        let most = if self.is_open { affordable } else { MOST_ROUNDS };
        let mut chosen = self.try_out(Stage::Rounds, all, &variant, &params, &mut matrices, most, patience, None)?;
        chosen.rounds = if chosen.was_still_learning() && self.is_open {
            let (eta, rounds) = unfinished(tried, eta, &chosen);
            params.set("eta", &eta.to_string())?;
            rounds
        } else if chosen.was_still_learning() {
            (2 * chosen.rounds).clamp(FALLBACK_ROUNDS, MOST_ROUNDS)
        } else if chosen.value > MUCH_WORSE * outcome.value {
            // Judged by the same rows the trial got further, at its own learning rate.
            params.set("eta", &trial_eta)?;
            outcome.rounds
        } else {
            chosen.rounds + chosen.rounds / MORE_ROUNDS
        };
        judged.insert(Contestant { variant, params, outcome: chosen });
        Ok(())
    }

    /// The boosters to fit: every finalist with as many seeds as its weight and the budget allow.
    fn chosen(self, finalists: Vec<(Contestant, f64)>) -> Option<Choice> {
        let (first, _) = finalists.first()?;
        let variant = finalists.iter().fold(first.variant.clone(), |all, (one, _)| all.union(&one.variant));
        let rounds = finalists.iter().map(|(one, weight)| weight * f64::from(one.outcome.rounds)).sum();
        let members = self.affordable_members(rounds, &variant) as f64;
        let (learning_curve, metric) = (first.outcome.curve.clone(), first.outcome.metric.clone());
        let mut chosen = Choice { variant, members: Vec::new(), learning_curve, metric, trials: self.trials };
        for (one, weight) in finalists {
            let seeds = if is_sampled(&one.params) { ((weight * members).round() as u32).max(1) } else { 1 };
            for _ in 0..seeds {
                let step = SEED_STEP.wrapping_mul(chosen.members.len() as u32);
                chosen.members.push(Member {
                    variant: one.variant.clone(),
                    params: one.params.clone(),
                    rounds: one.outcome.rounds,
                    seed: self.context.settings.seed.wrapping_add(step),
                    weight: weight / f64::from(seeds),
                });
            }
        }
        Some(chosen)
    }

    /// How many boosters of so many rounds can be fitted, and may have their trees in one model.
    fn affordable_members(&self, rounds: f64, variant: &Variant) -> usize {
        if !self.is_open {
            return 1;
        }
        let cells = rounds * cells_of_round(self.rows.len(), variant.width());
        let by_cells = MEMBERS_SHARE * self.budget.cells(Stage::Rounds) / cells.max(1.0);
        let by_rounds = 1.2 * f64::from(MOST_ROUNDS) / rounds.max(1.0);
        (by_cells.min(by_rounds) as usize).clamp(1, MOST_MEMBERS)
    }

    /// Rounds that trials with these parameters took, or would have taken: the most of those on the sample and on all rows.
    fn tried(&self, params: &Params) -> Tried {
        let named = named(params);
        let rounds = |trial: &TrialReport| match trial.end {
            End::Converged => trial.rounds,
            _ => UNFINISHED * trial.rounds,
        };
        let most = self.trials.iter().filter(|trial| trial.params == named).map(rounds).max();
        Tried { rounds: most.unwrap_or(1).max(1), eta: eta_of(params) }
    }

    fn matrices(&self, sample: &Sample, variant: &Variant, params: &Params) -> Result<FoldMatrices> {
        FoldMatrices::build(self.context, self.base, self.rows, sample, variant, params)
    }

    /// Runs a contestant against the best so far and puts it in its place; whether that is the first.
    #[allow(clippy::too_many_arguments)]
    fn compete(
        &mut self,
        stage: Stage,
        sample: &Sample,
        variant: &Variant,
        params: &Params,
        matrices: &mut FoldMatrices,
        cells: f64,
        ranking: &mut Ranking,
    ) -> Result<bool> {
        if Instant::now() > self.budget.deadline(stage) && !ranking.contestants.is_empty() {
            self.budget.warn_of_deadline(stage);
            return Ok(false);
        }
        let affordable = f64::from(affordable(cells, matrices)) * pace(params);
        let slowness = (TRIAL_ETA / eta_of(params)).max(1.0);
        let most = f64::from(TRIAL_ROUNDS.1) * slowness;
        let rounds = affordable.clamp(f64::from(TRIAL_ROUNDS.0), most) as u32;
        let rival = ranking.contestants.first().map(|contestant| &contestant.outcome);
        let patience = (f64::from(PATIENCE.0) * slowness) as u32;
        let outcome = self.try_out(stage, sample, variant, params, matrices, rounds, patience, rival)?;
        if ranking.contestants.is_empty() {
            ranking.truth = matrices.truth();
        }
        Ok(ranking.insert(Contestant { variant: variant.clone(), params: params.clone(), outcome }))
    }

    #[allow(clippy::too_many_arguments)]
    fn try_out(
        &mut self,
        stage: Stage,
        sample: &Sample,
        variant: &Variant,
        params: &Params,
        matrices: &mut FoldMatrices,
        rounds: u32,
        patience: u32,
        rival: Option<&Outcome>,
    ) -> Result<Outcome> {
        let started = Instant::now();
        let mut constrained = params.clone();
        if matrices.signs.iter().any(|sign| *sign != 0) {
            constrained.set("monotone_constraints", &monotone_constraints(&matrices.signs))?;
        }
        let limits = Limits { rounds, patience, rival, deadline: self.budget.deadline(stage) };
        let outcome = run(self.context, matrices, &constrained, &limits, &self.progress)?;
        if outcome.end == End::Deadline {
            self.budget.warn_of_deadline(stage);
        }
        let report = TrialReport {
            stage: stage.name().into(),
            encoding: variant.name.clone(),
            params: named(params),
            rows: sample.len(),
            folds: matrices.folds.len(),
            rounds: outcome.rounds,
            value: outcome.value.is_finite().then_some(outcome.value),
            metric: outcome.metric.clone(),
            end: outcome.end,
            seconds: started.elapsed().as_secs_f64(),
        };
        tracing::info!(stage = stage.name(), encoding = %variant.name, value = report.value, rounds = report.rounds, "trial");
        self.trials.push(report);
        Ok(outcome)
    }
}

/// What one fold of a trial costs in the widest encoding.
fn cells_per_fold(sample: &Sample, variants: &[Variant]) -> f64 {
    let width = variants.iter().map(Variant::width).max().unwrap_or(1);
    ROUNDS_PER_FOLD * (sample.len() * width).max(1) as f64
}

/// Rounds of all folds that so many cells pay for.
fn affordable(cells: f64, matrices: &FoldMatrices) -> u32 {
    (cells / matrices.cells_per_round().max(1.0)) as u32
}
