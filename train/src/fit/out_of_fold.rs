//! What the model errs on rows that it has not learnt from: told by boosters of the folds that are as near to its own as the plan affords.

use std::borrow::Cow;

use error::Result;
use scoring::Link;

use super::budget::Stage;
use super::calibration::OutOfFold;
use super::calibration_slope::{CalibrationSlope, Row};
use super::choice::{SEED_STEP, TrialReport};
use super::final_selection::{FinalSelection, seeds_of};
use super::folds::Sample;
use super::learning_curve::{
    self, FoldBoosters, absolute_errors, beyond_chance, errors_on_all_rows, ratio, weights_of_shares,
};
use super::ranking::Candidate;
use super::scale::mean_target;
use super::trial::Limits;

/// What rows calibrate the intervals, in `metrics.json`.
const CALIBRATING: &str = "rows that calibrate intervals";
/// So many rows tell quantiles of errors as well as more do: nine tenths to within 0.7 %.
const ENOUGH_ROWS: usize = 2_000;

/// What the boosters of each finalist predict for validation rows.
struct Predicted<'m> {
    /// In whose folds.
    sample: Cow<'m, Sample>,
    /// For each finalist, fold by fold.
    margins: Vec<Cow<'m, [f32]>>,
}

impl Predicted<'_> {
    /// What the weighted mean of the boosters predicts, where `chosen` numbers were chosen by these rows.
    fn out_of_fold(&self, weights: &[f64], objective: &str, chosen: f64) -> Option<OutOfFold> {
        let weighted: Vec<(&[f32], f64)> =
            self.margins.iter().map(AsRef::as_ref).zip(weights.iter().copied()).collect();
        OutOfFold::of_margins(&self.sample, &weighted, objective, chosen)
    }

    /// The weighted mean of the margins of the first `count` rows.
    fn mean(&self, weights: &[f64], count: usize) -> Vec<f32> {
        let mut mean = vec![0.0; count];
        for (margins, weight) in self.margins.iter().zip(weights) {
            mean.iter_mut().zip(margins.iter()).for_each(|(sum, margin)| *sum += *weight as f32 * margin);
        }
        mean
    }
}

/// What is known of the model's errors.
pub(super) struct Known {
    /// What calibrates the intervals.
    pub(super) calibrating: OutOfFold,
    /// What boosters as the model has them predict, where these have too few rows to calibrate.
    pub(super) as_fitted: Option<OutOfFold>,
}

impl Known {
    /// What tells how far predictions lie from the mean: that depends on the rounds.
    pub(super) fn telling_slope(&self) -> &OutOfFold {
        self.as_fitted.as_ref().unwrap_or(&self.calibrating)
    }
}

impl FinalSelection<'_, '_> {
    /// What the mean of the finalists predicts for rows that none of the boosters has learnt from. How much less the model of all rows errs
    /// is measured with the heaviest of them.
    pub(super) fn out_of_fold(&mut self, finalists: &[(Candidate, f64)], members: f64) -> Result<Option<Known>> {
        let Some((first, weight)) = finalists.first() else { return Ok(None) };
        let of_choice =
            |trial: &&TrialReport| [Stage::Rounds.name(), Stage::Tuning.name()].contains(&trial.stage.as_ref());
        let tried = self.trials.reports.iter().filter(of_choice).count().max(1) as f64;
        // By these rows the rounds of each were chosen, and the weights, and which candidates they are: a choice among `n` counts as
        // `log2(n)` numbers.
        let chosen = 2.0 * finalists.len() as f64 - 1.0 + tried.log2();
        let fitted = self.boosted_as_fitted(finalists)?;
        let (rounds, margins) = first.outcome.as_fitted();
        let boosters = FoldBoosters {
            sample: self.all,
            scheme: &first.scheme,
            params: first.judged_by.as_ref().unwrap_or(&first.params),
            rounds,
            margins,
            side_by_side: true,
        };
        let mut share = errors_on_all_rows(self.trials, &boosters)?;
        let of_mean = self.mean_of_seeds(&boosters, seeds_of(&first.params, *weight, members))?;
        let mut judged = Predicted {
            sample: Cow::Borrowed(self.all),
            margins: finalists.iter().map(|(one, _)| Cow::Borrowed(one.outcome.as_fitted().1)).collect(),
        };
        match of_mean {
            Some(of_mean) if fitted.is_none() && of_mean.margins.len() == judged.margins[0].len() => {
                judged.margins[0] = Cow::Owned(of_mean.margins);
                share *= of_mean.of_all / of_mean.of_measured.min(1.0);
            }
            Some(of_mean) => share *= of_mean.of_all,
            None => {}
        }
        let weights: Vec<f64> = finalists.iter().map(|(_, weight)| *weight).collect();
        let objective = first.params.objective();
        let (known, too_few) = match fitted {
            None => (judged, None),
            Some(fitted) => match self.errors_as_fitted(&judged, &fitted, &weights, objective) {
                Some(of_judged) => {
                    share *= of_judged;
                    (judged, Some(fitted))
                }
                None => (fitted, None),
            },
        };
        let of = |known: &Predicted<'_>| known.out_of_fold(&weights, objective, chosen);
        let as_fitted = too_few.as_ref().and_then(of);
        Ok(of(&known).map(|known| Known { calibrating: known.with_errors_on_all_rows(share), as_fitted }))
    }

    /// Errors of boosters as the model has them, as a share of those of the boosters that chose the rounds: these calibrate where the folds
    /// of the others have few rows. None where the others calibrate.
    fn errors_as_fitted(
        &mut self,
        judged: &Predicted<'_>,
        fitted: &Predicted<'_>,
        weights: &[f64],
        objective: &str,
    ) -> Option<f64> {
        let (count, folds) = (fitted.sample.folds().len(), judged.sample.folds().len());
        let places = fitted.sample.validation_rows();
        let link = Link::of_objective(objective).filter(|_| count < folds && places.len() < ENOUGH_ROWS);
        let share = link.and_then(|link| {
            let [judged, fitted] = [judged, fitted].map(|one| one.mean(weights, places.len()));
            let [of_judged, of_fitted] =
                [&judged, &fitted].map(|margins| absolute_errors(self.trials, margins, &places, link));
            let weights = weights_of_shares(&judged, [&of_judged, &of_fitted], &self.trials.weights(&places));
            let (share, standard_error) = ratio(&of_fitted, &of_judged, &weights)?;
            Some(1.0 + beyond_chance(share - 1.0, standard_error))
        });
        let (chosen, by) = match share {
            None => (
                format!("those of {count} of {folds} folds"),
                "predicted by boosters as the model has them, since those that chose the rounds had others".to_owned(),
            ),
            Some(share) => (
                format!("those of all {folds} folds"),
                format!(
                    "predicted by boosters that chose the rounds; {share:.4} of their errors are left to boosters as the model has them, in \
                     {count} of the folds, which have few rows"
                ),
            ),
        };
        self.trials.decide(CALIBRATING, &chosen, &by);
        share
    }

    /// What the leaves of all boosters are multiplied by, and the base score, from which predictions move away by it. None where means of the
    /// target are not what is learnt, parameters are not searched for, or each booster learns from a part of the rows.
    pub(super) fn calibration_slope(
        &mut self,
        known: Option<&Known>,
        finalists: &[(Candidate, f64)],
    ) -> Option<(f64, f64)> {
        let (first, _) = finalists.first()?;
        let is_mean = first.params.objective() == "reg:squarederror" && first.outcome.metric.as_deref() == Some("rmse");
        let known = known.filter(|_| is_mean && self.is_open && self.parts() == 1)?.telling_slope();
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

    /// What becomes of the mean of so many boosters that differ in their seeds: the mean square of what differs from seed to seed is smaller by
    /// their number (Breiman, "Bagging Predictors", 1996). The mean of as many as are worth it tells how large it is, by the seeds that the
    /// model's first boosters have: which columns a seed draws may matter. None where there is one, or where measuring takes too long.
    fn mean_of_seeds(&mut self, of_one: &FoldBoosters<'_>, seeds: u32) -> Result<Option<MeanOfSeeds>> {
        let FoldBoosters { sample, scheme, params, rounds, margins, .. } = *of_one;
        let Some(link) = Link::of_objective(params.objective()).filter(|_| seeds > 1) else { return Ok(None) };
        let folds = sample.folds().len().max(1);
        let of_fold = f64::from(rounds) * self.trials.costs.round_of_folds(sample, scheme, params) / folds as f64;
        let worth_it = (learning_curve::MOST_WORK * self.trials.budget.planned() / of_fold) as usize;
        if worth_it < 1 {
            return Ok(None);
        }
        let measured = (1 + (worth_it / folds).max(1) as u32).min(seeds);
        let part = sample.first_folds(worth_it.min(folds));
        let places = part.validation_rows();
        let Some(margins) = margins.get(..places.len()) else { return Ok(None) };
        let mut matrices = self.trials.matrices(&part, scheme.clone(), params);
        let mut mean = margins.to_vec();
        let mut of_each = absolute_errors(self.trials, margins, &places, link);
        for seed in 1..measured {
            let limits = Limits { seed_step: SEED_STEP.wrapping_mul(seed), ..Limits::all_of(rounds) };
            let other = self.trials.run(Stage::Calibration, &mut matrices, params, &limits)?.margins;
            if other.len() != places.len() {
                return Ok(None);
            }
            let share = f64::from(seed + 1).recip();
            let errors = absolute_errors(self.trials, &other, &places, link);
            of_each.iter_mut().zip(errors).for_each(|(sum, error)| *sum += share * (error - *sum));
            mean.iter_mut().zip(other).for_each(|(sum, margin)| *sum += share as f32 * (margin - *sum));
        }
        let of_mean = absolute_errors(self.trials, &mean, &places, link);
        let Some((of_measured, _)) = ratio(&of_mean, &of_each, &self.trials.weights(&places)) else { return Ok(None) };
        let of_all = of_mean_of(seeds, measured, of_measured);
        self.trials.decide(
            "errors of the mean of several seeds",
            &format!("{of_all:.4} of those of one booster"),
            &format!("the model has {seeds}, and the mean of {measured} was measured"),
        );
        Ok(Some(MeanOfSeeds { margins: mean, of_measured, of_all }))
    }

    /// Boosters of the finalists as the model gets them, on as many folds as are worth it, where those that chose the rounds had others:
    /// they tell what the model errs no more than any other model. None where all are fitted as they were judged, or it would take more than
    /// fitting the model.
    fn boosted_as_fitted(&mut self, finalists: &[(Candidate, f64)]) -> Result<Option<Predicted<'static>>> {
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
            margins.push(Cow::Owned(self.trials.run(Stage::Calibration, &mut matrices, &one.params, &limits)?.margins));
        }
        Ok(Some(Predicted { sample: Cow::Owned(sample), margins }))
    }
}

/// What the mean of boosters that differ in their seeds errs.
struct MeanOfSeeds {
    /// Margins of the mean of as many as were measured, for the validation rows of the first folds.
    margins: Vec<f32>,
    /// Its errors as a share of those of one.
    of_measured: f64,
    /// The same of the mean of all.
    of_all: f64,
}

/// Errors of the mean of so many boosters as a share of those of one, given the same for so many as were `measured`, at least two.
fn of_mean_of(seeds: u32, measured: u32, of_measured: f64) -> f64 {
    let differing = (1.0 - of_measured.min(1.0).powi(2)) / (1.0 - f64::from(measured).recip());
    (1.0 - differing * (1.0 - f64::from(seeds).recip())).max(0.0).sqrt().max(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_seed_to_seed_is_smaller_in_the_mean() {
        // Errors of mean square 1 + v that have v of their own: (1 + v / m) is left of them in the mean of m.
        let of = |v: f64, m: f64| ((1.0 + v / m) / (1.0 + v)).sqrt();
        for v in [0.1, 0.5, 1.0] {
            for measured in [2, 3, 8] {
                let of_measured = of(v, f64::from(measured));
                assert!((of_mean_of(8, measured, of_measured) - of(v, 8.0)).abs() < 1e-12, "{v} {measured}");
                assert!((of_mean_of(measured, measured, of_measured) - of_measured).abs() < 1e-12, "{v} {measured}");
            }
        }
        assert_eq!((of_mean_of(8, 2, 1.0), of_mean_of(8, 2, 1.01), of_mean_of(8, 2, 0.0)), (1.0, 1.0, 0.5));
    }
}
