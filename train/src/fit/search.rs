//! How to learn, chosen on the training rows alone: the encoding of categories, parameters, learning rate and rounds.
//!
//! Trials run on a sample with a high learning rate, each judged on rows that it did not learn from. The best few race on
//! all rows if the sample was a part of them; the winner is then trained slowly, with early stopping, to find the rounds.
//! What a stage may cost is counted in cells gone through, not in seconds, so that the same rows, settings and threads
//! give the same choice whatever else the machine does; the clock only ends a search that takes far longer than planned.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::Result;
use common::telemetry::{Progress, Unit};
use common::xgboost::{Params, params::monotone_constraints};

use super::candidates::{FINAL_ETAS, TRIAL_ETA, candidates, expected_rounds, final_eta, leaves_learning_open};
use super::folds::{FoldMatrices, Sample};
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
/// Cells that one thread goes through in a second of training, on a slow machine.
const CELLS_PER_SECOND: f64 = 75e6;
/// Shares of the budget: trials of encodings and of parameters on a sample, the race on all rows, the choice of rounds.
const SHARES: Shares = Shares { encodings: 0.12, parameters: 0.2, race: 0.13, rounds: 0.55 };
/// Of the best trials so many race on all rows.
const BEST_RACERS: usize = 2;
/// The most rounds that early stopping may choose.
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
/// Trees grown on samples gain as much from a low learning rate, which trials do not have: their noise averages out.
const GAIN_OF_SAMPLING: f64 = 0.995;
/// The model is fitted to more rows than its rounds were chosen on, so it takes one round in this many more.
const MORE_ROUNDS: u32 = 10;
/// A model whose choice of rounds was cut short is fitted with at most so many times the rounds that were done.
const UNFINISHED_FIT: f64 = 3.5;

struct Shares {
    encodings: f64,
    parameters: f64,
    race: f64,
    rounds: f64,
}

/// What was chosen.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Choice {
    /// How categories are encoded.
    pub variant: Variant,
    /// XGBoost's parameters, without constraints that depend on the columns.
    pub params: Params,
    /// Boosting rounds.
    pub rounds: u32,
    /// The metric of the rows that judge after each round of the winner; empty where rounds were given.
    #[serde(deserialize_with = "null_as_nan")]
    pub learning_curve: Vec<f64>,
    /// What the curve shows, such as `rmse`.
    pub metric: Option<String>,
    /// Every trial, in the order they ran.
    pub trials: Vec<TrialReport>,
}

/// A trial, for `metrics.json`.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct TrialReport {
    /// What it was for: `encoding`, `parameters`, `race` or `rounds`.
    pub stage: Cow<'static, str>,
    /// Its encoding of categories.
    pub encoding: Cow<'static, str>,
    /// Its parameters.
    pub params: BTreeMap<String, String>,
    /// Rows that it learnt from or was judged on.
    pub rows: usize,
    /// Folds that judged.
    pub folds: usize,
    /// The best round.
    pub rounds: u32,
    /// The metric after it; null where it was never a number.
    pub value: Option<f64>,
    /// XGBoost's name of the metric.
    pub metric: Option<String>,
    /// Why it ended.
    pub end: End,
    /// How long it took.
    pub seconds: f64,
}

/// Chooses what the user left open.
///
/// # Errors
/// [`common::Error::Stopped`] when the run was asked to stop; what XGBoost refuses.
pub fn choose(context: &FitContext<'_>, base: &Features, rows: &Rows) -> Result<Choice> {
    let given = given_parameters(context.settings, context.spec)?;
    let native = Variant::native(&base.features, context.spec);
    if let Some(rounds) = context.settings.rounds {
        return Ok(unsearched(native, given, rounds));
    }
    if rows.len() < FEWEST_ROWS || context.settings.time_budget == 0 {
        return Ok(unsearched(native, given, FALLBACK_ROUNDS));
    }
    let user = set_by_user(context.settings, context.spec)?;
    let is_open = leaves_learning_open(&user);
    let candidates = if is_open { candidates(&user)? } else { vec![given] };
    // Constraints that the user wrote down by column numbers hold for one column per feature.
    let counts_columns =
        ["monotone_constraints", "interaction_constraints"].iter().any(|name| user.get(name).is_some());
    let variants =
        if counts_columns { vec![native] } else { Variant::candidates(&base.features, context.spec, rows.len()) };
    Search::new(context, base, rows, is_open).choose(variants, &candidates)
}

/// JSON has no numbers that are not finite.
fn null_as_nan<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers = <Vec<Option<f64>> as serde::Deserialize>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}

fn unsearched(variant: Variant, params: Params, rounds: u32) -> Choice {
    Choice { variant, params, rounds, learning_curve: Vec::new(), metric: None, trials: Vec::new() }
}

/// One contestant and how it did.
#[derive(Debug, Clone)]
struct Contestant {
    variant: Variant,
    params: Params,
    outcome: Outcome,
}

struct Search<'a> {
    context: &'a FitContext<'a>,
    base: &'a Features,
    rows: &'a Rows,
    is_open: bool,
    budget_cells: f64,
    started: Instant,
    progress: Progress,
    trials: Vec<TrialReport>,
}

impl<'a> Search<'a> {
    fn new(context: &'a FitContext<'a>, base: &'a Features, rows: &'a Rows, is_open: bool) -> Self {
        let seconds = context.settings.time_budget;
        Self {
            context,
            base,
            rows,
            is_open,
            budget_cells: seconds as f64 * CELLS_PER_SECOND * context.threads as f64,
            started: Instant::now(),
            progress: context.telemetry.progress("choosing", Unit::Items("rounds"), None),
            trials: Vec::new(),
        }
    }

    fn choose(mut self, variants: Vec<Variant>, candidates: &[Params]) -> Result<Choice> {
        let most = (SAMPLE_CELLS / self.base.features.len().max(1)).clamp(LEAST_SAMPLE, MOST_SAMPLE);
        let planned = (variants.len() + candidates.len()).max(2) - 1;
        let cells = (SHARES.encodings + SHARES.parameters) * self.budget_cells / planned as f64;
        let sample = Sample::draw(self.rows, most, u64::from(self.context.settings.seed));
        let folds = (cells / self.cells_per_fold(&sample, &variants)) as u8;
        let sample = sample.with_folds(folds);
        let mut contestants = self.trials_on(&sample, variants, candidates, cells)?;
        let all = if sample.len() < self.rows.len() {
            let all = Sample::draw(self.rows, self.rows.len(), u64::from(self.context.settings.seed));
            contestants = self.race(&all, contestants)?;
            all
        } else {
            sample
        };
        let Some(winner) = contestants.into_iter().next() else {
            let native = Variant::native(&self.base.features, self.context.spec);
            let given = given_parameters(self.context.settings, self.context.spec)?;
            return Ok(unsearched(native, given, FALLBACK_ROUNDS));
        };
        self.choose_rounds(&all, winner)
    }

    /// Encodings with the first candidate, then the other candidates with the best encoding; the best contestant first.
    fn trials_on(
        &mut self,
        sample: &Sample,
        variants: Vec<Variant>,
        candidates: &[Params],
        cells: f64,
    ) -> Result<Vec<Contestant>> {
        let Some((first, others)) = candidates.split_first() else { return Ok(Vec::new()) };
        if variants.len() + others.len() == 1 {
            let alone = |variant| Contestant { variant, params: first.clone(), outcome: Outcome::untried() };
            return Ok(variants.into_iter().map(alone).collect());
        }
        let mut ranking: Vec<Contestant> = Vec::new();
        let mut best: Option<(Variant, FoldMatrices)> = None;
        for variant in variants {
            let matrices = self.matrices(sample, &variant, first)?;
            let stands_first = self.compete("encoding", sample, &variant, first, &matrices, cells, &mut ranking)?;
            if stands_first || best.is_none() {
                best = Some((variant, matrices));
            }
        }
        let Some((variant, matrices)) = best else { return Ok(ranking) };
        for params in others {
            self.compete("parameters", sample, &variant, params, &matrices, cells, &mut ranking)?;
        }
        Ok(ranking)
    }

    /// The best few again, on all rows; the best of them first.
    fn race(&mut self, all: &Sample, contestants: Vec<Contestant>) -> Result<Vec<Contestant>> {
        if contestants.len() < 2 {
            return Ok(contestants);
        }
        let racers = racers(contestants);
        let cells = SHARES.race * self.budget_cells / racers.len() as f64;
        let mut ranking = Vec::new();
        for racer in racers {
            let matrices = self.matrices(all, &racer.variant, &racer.params)?;
            self.compete("race", all, &racer.variant, &racer.params, &matrices, cells, &mut ranking)?;
        }
        Ok(ranking)
    }

    /// The winner on all rows, at the learning rate of the final model.
    fn choose_rounds(mut self, all: &Sample, winner: Contestant) -> Result<Choice> {
        let Contestant { variant, mut params, outcome } = winner;
        let matrices = self.matrices(all, &variant, &params)?;
        let affordable = f64::from(self.affordable(SHARES.rounds * self.budget_cells, &matrices)) * pace(&params);
        let affordable = (affordable as u32).clamp(100, MOST_ROUNDS);
        let trial_eta = params.get("eta").unwrap_or("0.3").to_owned();
        let tried = self.rounds_tried(&params).max(1);
        if self.is_open {
            params.set("eta", &final_eta(tried, affordable).to_string())?;
        }
        let eta: f64 = params.get("eta").and_then(|eta| eta.parse().ok()).unwrap_or(0.3);
        let patience = (PATIENCE.1 * (0.1 / eta).max(1.0)) as u32;
        let most = if self.is_open { affordable } else { MOST_ROUNDS };
        let chosen = self.try_out("rounds", all, &variant, &params, &matrices, most, patience, None)?;
        self.progress.finish();
        if chosen.end == End::Deadline {
            self.warn_of_deadline();
        }
        let rounds = if chosen.was_still_learning() && self.is_open {
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
        Ok(self.chosen(variant, params, rounds, chosen))
    }

    /// Rounds that trials with these parameters took, or would have taken: the most of those on the sample and on all rows.
    fn rounds_tried(&self, params: &Params) -> u32 {
        let named = named(params);
        let rounds = |trial: &TrialReport| match trial.end {
            End::Converged => trial.rounds,
            _ => UNFINISHED * trial.rounds,
        };
        self.trials.iter().filter(|trial| trial.params == named).map(rounds).max().unwrap_or(0)
    }

    fn warn_of_deadline(&self) {
        tracing::warn!(
            "choosing the model took longer than --time-budget (TIME_BUDGET) {} s and was cut short: another run may choose \
             otherwise; raise the budget, or set --rounds (ROUNDS)",
            self.context.settings.time_budget
        );
    }

    fn chosen(self, variant: Variant, params: Params, rounds: u32, by: Outcome) -> Choice {
        Choice { variant, params, rounds, learning_curve: by.curve, metric: by.metric, trials: self.trials }
    }

    fn matrices(&self, sample: &Sample, variant: &Variant, params: &Params) -> Result<FoldMatrices> {
        FoldMatrices::build(self.context, self.base, self.rows, sample, variant, params)
    }

    /// Runs a contestant against the best so far and puts it in its place; whether that is the first.
    #[allow(clippy::too_many_arguments)]
    fn compete(
        &mut self,
        stage: &'static str,
        sample: &Sample,
        variant: &Variant,
        params: &Params,
        matrices: &FoldMatrices,
        cells: f64,
        ranking: &mut Vec<Contestant>,
    ) -> Result<bool> {
        if Instant::now() > self.deadline(stage) && !ranking.is_empty() {
            return Ok(false);
        }
        let affordable = f64::from(self.affordable(cells, matrices)) * pace(params);
        let rounds = (affordable as u32).clamp(TRIAL_ROUNDS.0, TRIAL_ROUNDS.1);
        let rival = ranking.first().map(|contestant| &contestant.outcome);
        let outcome = self.try_out(stage, sample, variant, params, matrices, rounds, PATIENCE.0, rival)?;
        let standing = standing(params, &outcome);
        let place = ranking.iter().filter(|other| self::standing(&other.params, &other.outcome) <= standing).count();
        ranking.insert(place, Contestant { variant: variant.clone(), params: params.clone(), outcome });
        Ok(place == 0)
    }

    #[allow(clippy::too_many_arguments)]
    fn try_out(
        &mut self,
        stage: &'static str,
        sample: &Sample,
        variant: &Variant,
        params: &Params,
        matrices: &FoldMatrices,
        rounds: u32,
        patience: u32,
        rival: Option<&Outcome>,
    ) -> Result<Outcome> {
        let started = Instant::now();
        let mut constrained = params.clone();
        if matrices.signs.iter().any(|sign| *sign != 0) {
            constrained.set("monotone_constraints", &monotone_constraints(&matrices.signs))?;
        }
        let limits = Limits { rounds, patience, rival, deadline: self.deadline(stage) };
        let outcome = run(self.context, matrices, &constrained, &limits, &self.progress)?;
        let report = TrialReport {
            stage: stage.into(),
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
        tracing::info!(stage, encoding = %variant.name, value = report.value, rounds = report.rounds, "trial");
        self.trials.push(report);
        Ok(outcome)
    }

    /// When the clock ends a stage, with what is left for those after it.
    fn deadline(&self, stage: &str) -> Instant {
        let share = match stage {
            "rounds" => 1.0,
            "race" => 1.0 - SHARES.rounds,
            "parameters" => SHARES.encodings + SHARES.parameters,
            _ => SHARES.encodings,
        };
        self.started + Duration::from_secs(self.context.settings.time_budget).mul_f64(share)
    }

    /// What one fold of a trial costs in the widest encoding.
    fn cells_per_fold(&self, sample: &Sample, variants: &[Variant]) -> f64 {
        let width = variants.iter().map(Variant::width).max().unwrap_or(1);
        ROUNDS_PER_FOLD * (sample.len() * width).max(1) as f64
    }

    fn affordable(&self, cells: f64, matrices: &FoldMatrices) -> u32 {
        (cells / matrices.cells_per_round().max(1.0)) as u32
    }
}

/// Learning rate and rounds of a model whose choice of rounds ended while every round still helped: what the trial, which
/// took `tried` rounds at its learning rate, leads to expect, at the lowest rate that takes not many times the rounds done.
fn unfinished(tried: u32, eta: f64, chosen: &Outcome) -> (f64, u32) {
    let most = UNFINISHED_FIT * chosen.curve.len() as f64;
    let is_affordable = |slower: &&f64| **slower >= eta && expected_rounds(tried, **slower) <= most;
    let affordable = FINAL_ETAS.iter().find(is_affordable).copied().unwrap_or(TRIAL_ETA.max(eta));
    let beyond_done = 1.5 * f64::from(chosen.rounds) * eta / affordable;
    (affordable, expected_rounds(tried, affordable).max(beyond_done) as u32)
}

/// Parameters by name.
fn named(params: &Params) -> BTreeMap<String, String> {
    params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The metric by which contestants are ranked.
fn standing(params: &Params, outcome: &Outcome) -> f64 {
    let is_sampled = params.get("subsample").is_some_and(|share| share != "1");
    if is_sampled { GAIN_OF_SAMPLING * outcome.value } else { outcome.value }
}

/// How many more rounds a trial gets than one of depth 6: shallow trees learn less in a round, and cost less.
fn pace(params: &Params) -> f64 {
    match depth(params) {
        0 => 1.0,
        depth => (6.0 / f64::from(depth)).clamp(1.0, 2.0),
    }
}

/// The best contestants, and two that gain most from more rows than the sample's: the best of another encoding, with the
/// winner's parameters, and the deepest trees, with the winner's encoding.
fn racers(contestants: Vec<Contestant>) -> Vec<Contestant> {
    let Some(winner) = contestants.first().cloned() else { return contestants };
    let deepest = contestants.iter().max_by_key(|one| (depth(&one.params), one.variant == winner.variant)).cloned();
    let other = contestants.iter().find(|one| one.variant != winner.variant).cloned();
    let same = contestants.into_iter().filter(|one| one.variant == winner.variant);
    let mut racers: Vec<Contestant> = same.take(BEST_RACERS).collect();
    if let Some(deepest) = deepest.filter(|one| racers.iter().all(|racer| depth(&racer.params) < depth(&one.params))) {
        racers.push(Contestant { variant: winner.variant, ..deepest });
    }
    racers.extend(other.map(|other| Contestant { params: winner.params, ..other }));
    racers
}

/// Depth of the trees; 0 where it is not limited or not said.
fn depth(params: &Params) -> u32 {
    params.get("max_depth").and_then(|depth| depth.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encodings::Encoding;

    fn contestant(name: &'static str, depth: &str, value: f64) -> Contestant {
        let params = Params::parse([("max_depth", depth)]).unwrap();
        let encodings = vec![Some(if name == "target" { Encoding::TARGET } else { Encoding::ORDINAL })];
        Contestant {
            variant: Variant { name: name.into(), encodings },
            params,
            outcome: Outcome { value, ..Outcome::untried() },
        }
    }

    #[test]
    fn the_deepest_trees_and_another_encoding_race_with_the_best() {
        let ranking = vec![
            contestant("ordinal", "4", 1.0),
            contestant("target", "6", 1.1),
            contestant("ordinal", "3", 1.2),
            contestant("ordinal", "6", 1.3),
            contestant("ordinal", "9", 1.4),
        ];
        let raced = racers(ranking);
        let racers: Vec<(&str, u32)> =
            raced.iter().map(|racer| (racer.variant.name.as_ref(), depth(&racer.params))).collect();
        assert_eq!(racers, [("ordinal", 4), ("ordinal", 3), ("ordinal", 9), ("target", 4)]);
    }

    #[test]
    fn samples_are_ranked_a_little_better_than_they_did() {
        let outcome = Outcome { value: 1.0, ..Outcome::untried() };
        let params = |share: &str| Params::parse([("subsample", share)]).unwrap();
        assert!(standing(&params("0.8"), &outcome) < standing(&params("1"), &outcome));
        assert_eq!(standing(&Params::default(), &outcome), 1.0);
    }

    #[test]
    fn a_choice_cut_short_is_completed_from_the_trial() {
        let cut = |rounds: usize| Outcome {
            rounds: rounds as u32,
            curve: vec![1.0; rounds],
            end: End::Deadline,
            ..Outcome::untried()
        };
        assert!(cut(200).was_still_learning());
        assert_eq!(unfinished(200, 0.05, &cut(200)), (0.1, 520));
        assert_eq!(unfinished(200, 0.05, &cut(1)), (TRIAL_ETA, 260));
        let (eta, rounds) = unfinished(10, 0.05, &cut(400));
        assert_eq!((eta, rounds), (0.05, 600));
    }

    #[test]
    fn shallow_trees_get_more_rounds() {
        let params = |depth: &str| Params::parse([("max_depth", depth)]).unwrap();
        assert_eq!(["3", "4", "6", "9", "0"].map(|depth| pace(&params(depth))), [2.0, 1.5, 1.0, 1.0, 1.0]);
    }
}
