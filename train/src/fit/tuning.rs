//! `--tune N`: N more trials of parameters, judged by the same rows as the choice that is made without, which they compete
//! with: what tuning ends with is never worse there.
//!
//! Every other trial lies near the best one so far, the others are spread over the whole space.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use error::Result;
use xgboost::Params;

pub(super) use super::choice::Tuning;

use super::FitContext;
use super::budget::Stage;
use super::calibration::OutOfFold;
use super::choice::{Choice, TrialReport};
use super::fold_matrices::FoldMatrices;
use super::folds::Sample;
use super::learning_curve::{FoldBoosters, errors_on_all_rows};
use super::learning_rate::{FINAL_ETAS, eta_of, on_all_rows, patience};
use super::ranking::{Candidate, EnsembleSelection, Ranking, named};
use super::space::Space;
use super::trial::{End, Limits, PruningBaseline};
use super::trials::Trials;
use crate::encodings::EncodingScheme;
use crate::features::Features;
use crate::read::Rows;

/// So many trials are spread before some are tried near the best one.
const SPREAD_FIRST: usize = 4;
/// The best trials so far, of which the model may be the mean.
const MOST_KEPT: usize = 16;
/// A trial takes at most this many times the rounds of the best one so far, both at the same learning rate.
const MOST_PACE: f64 = 4.0;
/// Minimum number of rounds that a trial may take.
const FEWEST_ROUNDS: u32 = 100;
/// Draws until there is a point that was not tried: in a small space all of them may have been.
const MOST_DRAWS: u64 = 50;

/// Which rounds a trial counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// The best ones, of at most so many.
    Best(u32),
    /// Exactly so many, given by the user.
    Given(u32),
}

/// What tuning came to: its candidates, the best first, and how many trials ran.
#[derive(Debug, Default)]
struct Tuned {
    candidates: Vec<Candidate>,
    ran: usize,
    cut_by_clock: bool,
    cut_by_plan: bool,
}

/// Tunes what `judged` came to without: the better one of the two ensembles.
///
/// # Errors
/// [`error::Error::Stopped`] when the run was asked to stop; what XGBoost refuses; storage errors as they are.
pub(super) fn tuned(
    trials: &mut Trials<'_>,
    all: &Sample,
    judged: Ranking,
    most: usize,
    most_rounds: u32,
) -> Result<(EnsembleSelection, Option<Tuning>)> {
    let Ranking { candidates, truth } = judged.clone();
    let untuned = judged.ensemble(most);
    let Some(best) = candidates.iter().min_by(|one, other| one.outcome.value.total_cmp(&other.outcome.value)) else {
        return Ok((untuned, None));
    };
    report_untuned(trials, &untuned, all);
    let config = trials.context.config;
    let enough = f64::from(best.outcome.rounds) * eta_of(&best.params) / f64::from(most_rounds);
    let slowest = enough.clamp(FINAL_ETAS[0], 0.1);
    let mut base = config.given_params.clone();
    if let Some(bins) = best.params.get("max_bin") {
        base.set("max_bin", bins)?;
    }
    let bounds = (slowest, trials.context.most_nodes);
    let space = Space::new(&config.user_params, trials.rows, trials.context.scale, bounds, config.seed);
    let matrices = trials.matrices(all, best.scheme.clone(), &base);
    let tuned = Tuner::new(trials, matrices, base, space, Goal::Best(most_rounds)).run(best.clone())?;
    let mut all_candidates = tuned.candidates.clone();
    all_candidates.extend(candidates);
    all_candidates.sort_by(|one, other| one.outcome.value.total_cmp(&other.outcome.value));
    let ensemble = Ranking { candidates: all_candidates, truth }.ensemble(most);
    let before = untuned.value;
    let ensemble = if ensemble.value < untuned.value { ensemble } else { untuned };
    let (untuned, value) = (finite(before), finite(ensemble.value));
    let Tuned { ran, cut_by_clock, cut_by_plan, .. } = tuned;
    let asked = config.trials;
    Ok((ensemble, Some(concluded(Tuning { asked, ran, cut_by_clock, cut_by_plan, untuned, tuned: value }))))
}

/// The same where the user gave the rounds: every trial has exactly as many, and so has the model, which is one booster.
/// None where there are no rows to judge by.
///
/// # Errors
/// As [`tuned`].
pub(super) fn of_given_rounds(
    context: &FitContext<'_>,
    base: &Features,
    rows: &Rows,
    scheme: &EncodingScheme,
    rounds: u32,
) -> Result<Option<Choice>> {
    let config = context.config;
    let all = Sample::draw(rows, rows.len(), u64::from(config.seed));
    if all.folds().is_empty() {
        return Ok(None);
    }
    let mut trials = Trials::new(context, base, rows);
    let given = config.given_params.clone();
    let mut matrices = trials.matrices(&all, scheme.clone(), &given);
    let limits = Limits::all_of(rounds);
    let outcome = trials.run(Stage::Tuning, &mut matrices, &given, &limits)?;
    let untuned = Candidate::judged(scheme.clone(), given.clone(), outcome);
    let bounds = (FINAL_ETAS[0], context.most_nodes);
    let space = Space::new(&config.user_params, rows, context.scale, bounds, config.seed);
    let tuned = Tuner::new(&mut trials, matrices, given, space, Goal::Given(rounds)).run(untuned.clone())?;
    let before = untuned.outcome.value;
    let Tuned { candidates, ran, cut_by_clock, cut_by_plan } = tuned;
    let better = candidates.into_iter().next().filter(|best| best.outcome.value < before);
    let Candidate { params, outcome, .. } = better.unwrap_or(untuned);
    let mut choice = Choice::unsearched(scheme.clone(), params, rounds, config.seed);
    let (untuned, value) = (finite(before), finite(outcome.value));
    let tuning = Tuning { asked: config.trials, ran, cut_by_clock, cut_by_plan, untuned, tuned: value };
    choice.tuning = Some(concluded(tuning));
    let chosen = (1.0 + ran as f64).log2();
    let margins = [(outcome.margins.as_slice(), 1.0)];
    let known = OutOfFold::of_margins(&all, &margins, config.given_params.objective(), chosen);
    let member = choice.members.first().cloned();
    if let Some((known, member)) = known.zip(member) {
        let boosters = FoldBoosters {
            sample: &all,
            scheme: &member.scheme,
            params: &member.params,
            rounds,
            margins: &outcome.margins,
            side_by_side: true,
        };
        let on_all_rows = errors_on_all_rows(&mut trials, &boosters)?;
        choice.out_of_fold = Some(known.with_errors_on_all_rows(on_all_rows));
    }
    trials.finish();
    (choice.decisions, choice.budget) = (trials.decisions.clone(), Some(trials.budget.report()));
    (choice.learning_curve, choice.metric, choice.trials) = (outcome.curve, outcome.metric, trials.reports);
    Ok(Some(choice))
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn concluded(tuning: Tuning) -> Tuning {
    let Tuning { asked, ran, untuned, tuned, .. } = tuning;
    tracing::info!(asked, ran, untuned, tuned, "tuning is done");
    tuning
}

/// What was chosen without tuning is its first trial.
fn report_untuned(trials: &mut Trials<'_>, untuned: &EnsembleSelection, all: &Sample) {
    let Some((first, _)) = untuned.parts.first() else { return };
    let report = TrialReport {
        stage: Stage::Tuning.name().into(),
        encoding: first.scheme.name.clone(),
        params: named(&first.params),
        rows: all.len(),
        folds: all.folds().len(),
        rounds: first.outcome.rounds,
        expected: first.outcome.expected_rounds(),
        value: finite(untuned.value),
        metric: first.outcome.metric.clone(),
        end: first.outcome.end,
        seconds: trials.reports.iter().map(|trial| trial.seconds).sum(),
    };
    trials.reports.push(report);
}

/// The search of tuning under way.
struct Tuner<'t, 'a, 's> {
    trials: &'t mut Trials<'a>,
    matrices: FoldMatrices<'s>,
    /// What holds for all trials.
    base: Params,
    space: Space,
    goal: Goal,
    /// Every set of parameters so far.
    known: BTreeSet<BTreeMap<String, String>>,
    /// Points of either kind that were drawn.
    spread: u64,
    near: u64,
}

impl<'t, 'a, 's> Tuner<'t, 'a, 's> {
    fn new(trials: &'t mut Trials<'a>, matrices: FoldMatrices<'s>, base: Params, space: Space, goal: Goal) -> Self {
        Self { trials, matrices, base, space, goal, known: BTreeSet::new(), spread: 0, near: 0 }
    }

    /// As many trials as were asked for, time permitting. `best` is what is to be beaten.
    fn run(mut self, mut best: Candidate) -> Result<Tuned> {
        let asked = self.trials.context.config.trials;
        self.known.insert(named(&best.params));
        let mut tuned = Tuned::default();
        while tuned.ran < asked {
            let Some(params) = self.next(tuned.ran, &best.params)? else {
                tracing::info!("tuning ends after {} of {asked} trials: there is nothing else to try", tuned.ran);
                break;
            };
            let budget = &self.trials.budget;
            (tuned.cut_by_plan, tuned.cut_by_clock) =
                (budget.is_used_up(), Instant::now() > budget.deadline(Stage::Tuning));
            if tuned.cut_by_plan || tuned.cut_by_clock {
                budget.tell_of_cut_tuning(tuned.ran, asked, !tuned.cut_by_plan);
                break;
            }
            let one = self.try_out(params, &best)?;
            tuned.ran += 1;
            // Fewer rounds than were given are no candidate.
            if matches!(self.goal, Goal::Given(_)) && one.outcome.end == End::Deadline {
                continue;
            }
            if one.outcome.value < best.outcome.value {
                best = one.clone();
            }
            let value = one.outcome.value;
            let place = tuned.candidates.partition_point(|other| other.outcome.value.total_cmp(&value).is_le());
            tuned.candidates.insert(place, one);
            tuned.candidates.truncate(MOST_KEPT);
        }
        Ok(tuned)
    }

    fn try_out(&mut self, params: Params, best: &Candidate) -> Result<Candidate> {
        let limits = self.limits(eta_of(&params), best);
        let mut outcome = self.trials.run(Stage::Tuning, &mut self.matrices, &params, &limits)?;
        if let Goal::Best(_) = self.goal {
            outcome.rounds = on_all_rows(outcome.rounds);
        }
        Ok(Candidate::judged(self.matrices.scheme.clone(), params, outcome))
    }

    fn limits(&self, eta: f64, best: &Candidate) -> Limits {
        match self.goal {
            Goal::Given(rounds) => Limits::all_of(rounds),
            Goal::Best(most) => {
                let pace = eta_of(&best.params) / eta;
                let rounds = (MOST_PACE * pace * f64::from(best.outcome.rounds)) as u32;
                let rounds = rounds.max(FEWEST_ROUNDS).min(most);
                let baseline = Some(PruningBaseline::with_pace(&best.outcome, pace));
                Limits { patience: Some(patience(eta)), baseline, tells_fitted: true, ..Limits::all_of(rounds) }
            }
        }
    }

    /// Parameters that were not tried; none where hardly any are left.
    fn next(&mut self, ran: usize, best: &Params) -> Result<Option<Params>> {
        if self.space.is_empty() {
            return Ok(None);
        }
        for _ in 0..MOST_DRAWS {
            let point = if ran >= SPREAD_FIRST && ran.is_multiple_of(2) {
                self.near += 1;
                self.space.near(&self.space.point(best), self.near - 1)
            } else {
                self.spread += 1;
                self.space.spread(self.spread - 1)
            };
            let params = self.space.params(&point, &self.base)?;
            if self.known.insert(named(&params)) {
                return Ok(Some(params));
            }
        }
        Ok(None)
    }
}
