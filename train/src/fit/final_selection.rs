//! The last part of a search: the rounds of those whose mean predicts best, and the boosters that the model is the mean of.

use error::Result;
use scoring::Link;
use xgboost::Params;

use super::budget::Stage;
use super::calibration::OutOfFold;
use super::calibration_slope::{CalibrationSlope, Row};
use super::choice::{Choice, Member, SEED_STEP, TrialReport};
use super::folds::Sample;
use super::learning_curve::{self, FoldBoosters, absolute_errors, errors_on_all_rows, ratio};
use super::learning_rate::{eta_of, on_all_rows, patience};
use super::ranking::{Candidate, EnsembleSelection, Ranking, is_sampled, unfinished};
use super::scale::mean_target;
use super::trial::{End, Limits};
use super::trials::Trials;
use super::tuning::{Tuning, tuned};
use super::{CELLS_SIDE_BY_SIDE, FALLBACK_ROUNDS, FitContext};
use crate::encodings::EncodingScheme;

/// The most rounds that early stopping may choose; a model's members have about 1.2 times as many.
pub(super) const MOST_ROUNDS: u32 = 5_000;
/// The choice of rounds is a failure where it ends so much above the trial that won: trials are many, and the best of many
/// was also lucky.
const MUCH_WORSE: f64 = 1.03;
/// A candidate has at least so many rounds, whatever they cost.
const FEWEST_ROUNDS: u32 = 100;
/// Maximum number of candidates that a model is the mean of.
const MOST_FINALISTS: usize = 4;
/// Maximum number of boosters of a model, each candidate with one seed or more.
const MOST_MEMBERS: usize = 8;
/// Learning rates that are slow enough for the mean of several candidates, and for that of several seeds.
pub(super) const SLOW_ETA: f64 = 0.05;
const QUICK_ETA: f64 = 0.1;

/// What rows calibrate the intervals, in `metrics.json`.
const CALIBRATING: &str = "rows that calibrate intervals";

/// The candidates of the last part.
pub(super) struct FinalSelection<'t, 'a> {
    pub(super) trials: &'t mut Trials<'a>,
    /// Whether parameters are searched for.
    pub(super) is_open: bool,
    /// The encoding of the features that trees need not split by; none where they may split by all.
    pub(super) encoding: Option<&'t EncodingScheme>,
    /// All rows.
    pub(super) all: &'t Sample,
}

impl FinalSelection<'_, '_> {
    /// The model's boosters. `ranking` is that of the trials before.
    ///
    /// # Errors
    /// [`error::Error::Stopped`] when the run was asked to stop; what XGBoost refuses; storage errors as they are.
    pub(super) fn choose(mut self, ranking: Ranking) -> Result<Option<Choice>> {
        let most = self.affordable_finalists(&ranking);
        let judged = self.judge(ranking, most)?;
        let (ensemble, tuning) = if self.trials.context.config.trials > 0 {
            let most_rounds = if self.is_open { MOST_ROUNDS / most as u32 } else { MOST_ROUNDS };
            tuned(self.trials, self.all, judged, most, most_rounds)?
        } else {
            (judged.ensemble(most), None)
        };
        self.chosen(ensemble, tuning)
    }

    /// Those whose mean predicts best, each with the rounds that it is to be fitted with, chosen on all rows at the learning
    /// rate of the final model.
    fn judge(&mut self, ranking: Ranking, most: usize) -> Result<Ranking> {
        let ensemble = ranking.ensemble(most).parts;
        let finalists = ensemble.len() as f64;
        let [rounds, fit] = [Stage::Rounds, Stage::Fit].map(|stage| self.trials.budget.work(stage) / finalists);
        // Side by side, two boosters take the time of one.
        let fit = if finalists < 2.0 && self.are_side_by_side() { fit / 2.0 } else { fit };
        self.trials.decide(
            "finalists",
            &finalists.to_string(),
            &format!(
                "those whose weighted mean does best on the validation rows, of at most {most} that the budget affords"
            ),
        );
        let mut judged = Ranking { truth: self.all.truth(self.trials.rows), ..Ranking::default() };
        for (candidate, _) in ensemble {
            judged.insert(self.choose_rounds(candidate, rounds, fit)?);
        }
        Ok(judged)
    }

    /// How many candidates can have their rounds chosen slowly.
    fn affordable_finalists(&self, ranking: &Ranking) -> usize {
        // Where rows are learnt from in parts, the mean is that of the parts' boosters.
        let may_be_several = self.is_open && self.parts() == 1;
        let Some(first) = ranking.candidates.first().filter(|_| may_be_several) else { return 1 };
        let rounds = self.trials.tried(&first.params).rounds_at(SLOW_ETA);
        let of_folds = self.trials.costs.round_of_folds(self.all, &first.scheme, &first.params);
        let of_rounds = self.trials.budget.work(Stage::Rounds) / (rounds * of_folds);
        let of_fit = self.trials.budget.work(Stage::Fit) / (rounds * self.round_of_fit(&first.scheme, &first.params));
        (of_rounds.min(of_fit) as usize).clamp(1, MOST_FINALISTS)
    }

    /// A candidate on all rows, at the learning rate of the final model, with the work of choosing its rounds and of fitting it.
    fn choose_rounds(&mut self, candidate: Candidate, work: f64, of_fit: f64) -> Result<Candidate> {
        let Candidate { scheme, mut params, outcome, .. } = candidate;
        let mut matrices = self.trials.matrices(self.all, scheme.clone(), &params);
        let affordable = self.trials.affordable(work, &matrices, &params);
        let affordable_fit = of_fit / self.round_of_fit(&scheme, &params);
        let affordable = (affordable.min(affordable_fit) as u32).clamp(FEWEST_ROUNDS, MOST_ROUNDS);
        let tried = self.trials.tried(&params);
        let members = self.affordable_members(of_fit, tried.rounds_at(QUICK_ETA), &scheme, &params).max(self.parts());
        let for_each_member = MOST_ROUNDS / members as u32;
        let trial_eta = params.get("eta").unwrap_or("0.3").to_owned();
        if self.is_open {
            params.set("eta", &tried.final_eta(affordable.min(for_each_member)).to_string())?;
        }
        let eta = eta_of(&params);
        let most = if self.is_open { affordable } else { MOST_ROUNDS };
        let limits = Limits { patience: Some(patience(eta)), ..Limits::all_of(most) };
        let mut chosen = self.trials.run(Stage::Rounds, &mut matrices, &params, &limits)?;
        let mut judged_by = None;
        let (rounds, by) = if chosen.was_still_learning() && self.is_open {
            judged_by = Some(params.clone());
            let (eta, rounds) = unfinished(tried, eta, &chosen, affordable_fit);
            params.set("eta", &eta.to_string())?;
            // Where the clock ended it, it may have ended the trials before too: they tell too few rounds.
            let usual = f64::from(FALLBACK_ROUNDS) * QUICK_ETA / eta;
            let rounds = if chosen.end == End::Deadline { rounds.max(usual as u32) } else { rounds };
            (rounds, "it was still learning when the budget ended: what the trials lead to expect")
        } else if chosen.was_still_learning() {
            judged_by = Some(params.clone());
            ((2 * chosen.rounds).clamp(FALLBACK_ROUNDS, MOST_ROUNDS), "it was still learning after the most rounds")
        } else if chosen.value > MUCH_WORSE * outcome.value {
            // Judged by the same rows the trial got further, at its own learning rate.
            let rounds = outcome.rounds;
            if outcome.margins.len() == chosen.margins.len() {
                chosen = outcome;
            } else {
                judged_by = Some(params.clone());
            }
            params.set("eta", &trial_eta)?;
            (rounds, "the trial at its own learning rate, which did much better")
        } else {
            (on_all_rows(chosen.rounds), "early stopping, and some more since the model learns from more rows")
        };
        // Some more rounds at the same rate are no other boosters, as after early stopping.
        let is_another = |of: &Params| eta_of(of) != eta_of(&params) || rounds > on_all_rows(chosen.rounds);
        let judged_by = judged_by.filter(is_another);
        let eta = params.get("eta").unwrap_or("0.3");
        self.trials.decide("rounds", &format!("{rounds} at eta {eta}"), &format!("{by}; {affordable} were affordable"));
        chosen.rounds = rounds;
        Ok(Candidate { judged_by, ..Candidate::judged(scheme, params, chosen) })
    }

    /// The boosters to fit: every finalist with as many seeds as its weight and the budget allow.
    fn chosen(mut self, ensemble: EnsembleSelection, tuning: Option<Tuning>) -> Result<Option<Choice>> {
        let finalists = ensemble.parts;
        let Some((first, _)) = finalists.first() else { return Ok(None) };
        let scheme = finalists.iter().fold(first.scheme.clone(), |all, (one, _)| all.union(&one.scheme));
        let rounds = finalists.iter().map(|(one, weight)| weight * f64::from(one.outcome.rounds)).sum();
        let work = self.trials.budget.left_for_fit();
        let members = self.affordable_members(work, rounds, &scheme, &first.params) as f64;
        let (learning_curve, metric) = (first.outcome.curve.clone(), first.outcome.metric.clone());
        let mut out_of_fold = self.out_of_fold(&finalists, members)?;
        let slope = self.calibration_slope(out_of_fold.as_ref(), &finalists);
        if let Some((slope, centre)) = slope {
            out_of_fold = out_of_fold.map(|known| known.stretched(slope, centre));
        }
        let slope = slope.map_or(1.0, |(slope, _)| slope);
        let trials = self.trials.reports.clone();
        let scheme = match self.encoding {
            // The model has all features, whatever its trees split by.
            Some(encoding) => scheme.with_all_of(encoding),
            None => scheme,
        };
        let mut chosen = Choice {
            scheme,
            members: Vec::new(),
            learning_curve,
            metric,
            trials,
            tuning,
            out_of_fold,
            ..Choice::default()
        };
        for (one, weight) in finalists {
            let seeds = seeds_of(&one.params, weight, members);
            for _ in 0..seeds {
                let step = SEED_STEP.wrapping_mul(chosen.members.len() as u32);
                chosen.members.push(Member {
                    scheme: one.scheme.clone(),
                    params: one.params.clone(),
                    rounds: one.outcome.rounds,
                    seed: self.trials.context.config.seed.wrapping_add(step),
                    weight: slope * weight / f64::from(seeds),
                    part: None,
                });
            }
        }
        self.trials.decide(
            "members",
            &chosen.members.len().to_string(),
            &format!("the weights of the mean, and as many seeds as the budget and {MOST_ROUNDS} rounds allow"),
        );
        (chosen.decisions, chosen.budget) = (self.trials.decisions.clone(), Some(self.trials.budget.report()));
        Ok(Some(chosen))
    }

    /// What the mean of the finalists predicts for rows that none of the boosters has learnt from. How much less the model of all rows errs
    /// is measured with the heaviest of them.
    fn out_of_fold(&mut self, finalists: &[(Candidate, f64)], members: f64) -> Result<Option<OutOfFold>> {
        let Some((first, weight)) = finalists.first() else { return Ok(None) };
        let of_choice =
            |trial: &&TrialReport| [Stage::Rounds.name(), Stage::Tuning.name()].contains(&trial.stage.as_ref());
        let tried = self.trials.reports.iter().filter(of_choice).count().max(1) as f64;
        // By these rows the rounds of each were chosen, and the weights, and which candidates they are: a choice among `n` counts as
        // `log2(n)` numbers.
        let chosen = 2.0 * finalists.len() as f64 - 1.0 + tried.log2();
        let boosted_again = self.boosted_as_fitted(finalists)?;
        let (sample, margins): (&Sample, Vec<&[f32]>) = match &boosted_again {
            Some((sample, margins)) => (sample, margins.iter().map(Vec::as_slice).collect()),
            None => (self.all, finalists.iter().map(|(one, _)| one.outcome.margins.as_slice()).collect()),
        };
        let weighted: Vec<(&[f32], f64)> =
            margins.into_iter().zip(finalists.iter().map(|(_, weight)| *weight)).collect();
        let Some(known) = OutOfFold::of_margins(sample, &weighted, first.params.objective(), chosen) else {
            return Ok(None);
        };
        let boosters = FoldBoosters {
            sample: self.all,
            scheme: &first.scheme,
            params: first.judged_by.as_ref().unwrap_or(&first.params),
            rounds: first.outcome.best_round(),
            margins: &first.outcome.margins,
            side_by_side: true,
        };
        let on_all_rows = errors_on_all_rows(self.trials, &boosters)?;
        let of_mean = self.errors_of_mean(&boosters, seeds_of(&first.params, *weight, members))?;
        Ok(Some(known.with_errors_on_all_rows(on_all_rows * of_mean)))
    }

    /// What the leaves of all boosters are multiplied by, and the base score, from which predictions move away by it. None where means of the
    /// target are not what is learnt, parameters are not searched for, or each booster learns from a part of the rows.
    fn calibration_slope(&mut self, known: Option<&OutOfFold>, finalists: &[(Candidate, f64)]) -> Option<(f64, f64)> {
        let (first, _) = finalists.first()?;
        let is_mean = first.params.objective() == "reg:squarederror" && first.outcome.metric.as_deref() == Some("rmse");
        let known = known.filter(|_| is_mean && self.is_open && self.parts() == 1)?;
        let rows = self.trials.rows;
        let mean = || mean_target(rows);
        let centre = first.params.get("base_score").and_then(|score| score.parse().ok()).unwrap_or_else(mean);
        let weights = self.trials.weights(&known.rows);
        let judged = known.rows.iter().zip(&known.outputs).zip(weights).map(|((&row, output), weight)| Row {
            predicted: f64::from(*output),
            target: rows.target[row],
            weight,
            group: rows.keys.groups.as_ref().map(|groups| groups[row]),
        });
        let slope = CalibrationSlope::of(&judged.collect::<Vec<Row>>(), centre)?;
        let CalibrationSlope { measured, standard_error } = slope;
        self.trials.decide(
            "calibration slope",
            &format!("{:.4}", slope.shrunk()),
            &format!(
                "targets of validation rows lie {measured:.4} ± {standard_error:.4} times as far from the mean as predictions; what may be \
                 chance counts less"
            ),
        );
        Some((slope.shrunk(), centre))
    }

    /// Errors of the mean of so many boosters that differ in their seeds, as a share of those of one: the mean square of what differs from
    /// seed to seed is smaller by their number, and the mean of two tells how large it is (Breiman, "Bagging Predictors", 1996).
    fn errors_of_mean(&mut self, of_one: &FoldBoosters<'_>, seeds: u32) -> Result<f64> {
        let FoldBoosters { sample, scheme, params, rounds, margins, .. } = *of_one;
        let Some(link) = Link::of_objective(params.objective()).filter(|_| seeds > 1) else { return Ok(1.0) };
        let folds = sample.folds().len().max(1);
        let of_fold = f64::from(rounds) * self.trials.costs.round_of_folds(sample, scheme, params) / folds as f64;
        let worth_it = learning_curve::MOST_WORK * self.trials.budget.planned() / of_fold;
        if worth_it < 1.0 {
            return Ok(1.0);
        }
        let part = sample.first_folds((worth_it as usize).clamp(1, folds));
        let places: Vec<usize> = part.folds().iter().flat_map(|(fold, _)| part.split(*fold).1).collect();
        let limits = Limits { seed_step: SEED_STEP, ..Limits::all_of(rounds) };
        let mut matrices = self.trials.matrices(&part, scheme.clone(), params);
        let others = self.trials.run(Stage::Calibration, &mut matrices, params, &limits)?.margins;
        if others.len() != places.len() || margins.len() < places.len() {
            return Ok(1.0);
        }
        let margins = &margins[..places.len()];
        let mean: Vec<f32> = margins.iter().zip(&others).map(|(one, other)| f32::midpoint(*one, *other)).collect();
        let [of_one, of_other, of_two] =
            [margins, &others, &mean].map(|margins| absolute_errors(self.trials, margins, &places, link));
        let of_each: Vec<f64> = of_one.iter().zip(&of_other).map(|(one, other)| f64::midpoint(*one, *other)).collect();
        let weights = self.trials.weights(&places);
        let share = ratio(&of_two, &of_each, &weights).map_or(1.0, |(of_two, _)| of_mean_of(seeds, of_two));
        self.trials.decide(
            "errors of the mean of several seeds",
            &format!("{share:.4} of those of one booster"),
            &format!("the model has {seeds}, and the mean of two was measured"),
        );
        Ok(share)
    }

    /// Boosters of the finalists as the model gets them, on as many folds as are worth it, where those that chose the rounds had others:
    /// they tell what the model errs no more than any other model. The folds, and the margins of their validation rows for each finalist;
    /// none where all are fitted as they were judged, or it would take more than fitting the model.
    fn boosted_as_fitted(&mut self, finalists: &[(Candidate, f64)]) -> Result<Option<(Sample, Vec<Vec<f32>>)>> {
        if finalists.iter().all(|(one, _)| one.judged_by.is_none()) {
            return Ok(None);
        }
        let folds = self.all.folds().len().max(1);
        let of_candidate = |(one, _): &(Candidate, f64)| {
            f64::from(one.outcome.rounds) * self.trials.costs.round_of_folds(self.all, &one.scheme, &one.params)
        };
        let of_fold = finalists.iter().map(of_candidate).sum::<f64>() / folds as f64;
        if of_fold > self.trials.budget.work(Stage::Fit) {
            self.trials.decide(
                CALIBRATING,
                "those that chose the rounds",
                "boosters as the model has them would take more than fitting it, even on one fold",
            );
            return Ok(None);
        }
        let worth_it = learning_curve::MOST_WORK * self.trials.budget.planned() / of_fold;
        let count = (worth_it as usize).clamp(1, folds);
        let sample = self.all.first_folds(count);
        let mut margins = Vec::new();
        for (one, _) in finalists {
            let limits = Limits::all_of(one.outcome.rounds);
            let mut matrices = self.trials.matrices(&sample, one.scheme.clone(), &one.params);
            margins.push(self.trials.run(Stage::Calibration, &mut matrices, &one.params, &limits)?.margins);
        }
        self.trials.decide(
            CALIBRATING,
            &format!("those of {count} of {folds} folds"),
            "predicted by boosters as the model has them, since those that chose the rounds had others",
        );
        Ok(Some((sample, margins)))
    }

    /// Whether boosters of the model are fitted side by side, if there are several.
    fn are_side_by_side(&self) -> bool {
        let FitContext { threads, fitted_rows, .. } = *self.trials.context;
        self.is_open && self.parts() == 1 && threads > 1 && fitted_rows * self.trials.features <= CELLS_SIDE_BY_SIDE
    }

    /// A round of a booster of the model.
    fn round_of_fit(&self, scheme: &EncodingScheme, params: &Params) -> f64 {
        self.trials.costs.round(self.trials.context.fitted_rows, scheme, params)
    }

    /// Boosters that a candidate is fitted as, at least.
    fn parts(&self) -> usize {
        self.trials.context.parts.max(1)
    }

    /// How many boosters of so many rounds are worth some work, and may have their trees in one model.
    fn affordable_members(&self, work: f64, rounds: f64, scheme: &EncodingScheme, params: &Params) -> usize {
        if !self.is_open || self.parts() > 1 {
            return 1;
        }
        let by_work = work / (rounds * self.round_of_fit(scheme, params)).max(1.0);
        let by_rounds = 1.2 * f64::from(MOST_ROUNDS) / rounds.max(1.0);
        (by_work.min(by_rounds) as usize).clamp(1, MOST_MEMBERS)
    }
}

/// How many boosters that differ in their seeds a finalist of some weight gets, of so many in all.
fn seeds_of(params: &Params, weight: f64, members: f64) -> u32 {
    if is_sampled(params) { ((weight * members).round() as u32).max(1) } else { 1 }
}

/// Errors of the mean of so many boosters as a share of those of one, given the same for two.
fn of_mean_of(seeds: u32, of_two: f64) -> f64 {
    let differing = 2.0 * (1.0 - of_two.min(1.0).powi(2));
    (1.0 - differing * (1.0 - 1.0 / f64::from(seeds))).sqrt().max(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_seed_to_seed_is_smaller_in_the_mean() {
        // Errors of mean square 1 + v that have v of their own: (1 + v / m) is left of them in the mean of m.
        let of = |v: f64, m: f64| ((1.0 + v / m) / (1.0 + v)).sqrt();
        for v in [0.1, 0.5, 1.0] {
            assert!((of_mean_of(8, of(v, 2.0)) - of(v, 8.0)).abs() < 1e-12, "{v}");
            assert!((of_mean_of(2, of(v, 2.0)) - of(v, 2.0)).abs() < 1e-12, "{v}");
        }
        assert_eq!((of_mean_of(8, 1.0), of_mean_of(8, 1.01), of_mean_of(8, 0.0)), (1.0, 1.0, 0.5));
    }
}
