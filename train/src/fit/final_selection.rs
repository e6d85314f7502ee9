//! The last part of a search: the rounds of those whose mean predicts best, and the boosters that the model is the mean of.

use error::Result;
use xgboost::Params;

use super::budget::Stage;
use super::choice::{Choice, Member, SEED_STEP};
use super::folds::Sample;
use super::learning_rate::{eta_of, on_all_rows, patience};
use super::ranking::{Candidate, EnsembleSelection, Ranking, is_sampled, unfinished};
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
        let limits = Limits { patience: Some(patience(eta)), tells_fitted: true, ..Limits::all_of(most) };
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
        let known = self.out_of_fold(&finalists, members)?;
        let slope = self.calibration_slope(known.as_ref(), &finalists);
        let mut out_of_fold = known.map(|known| known.calibrating);
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
    pub(super) fn parts(&self) -> usize {
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
pub(super) fn seeds_of(params: &Params, weight: f64, members: f64) -> u32 {
    if is_sampled(params) { ((weight * members).round() as u32).max(1) } else { 1 }
}
