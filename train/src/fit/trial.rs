//! One trial: the folds of a sample are boosted in step until the rows that judge are no longer predicted better.

use std::ops::Range;
use std::time::Instant;

use error::{Error, Result};
use telemetry::Progress;
use xgboost::{Booster, Evaluation, Params, PredictionKind};

use super::evaluator::Evaluator;
use super::folds::Fold;
use super::lanes::Lanes;
use super::learning_rate::on_all_rows;
use super::{FitContext, booster_params, gains};

/// When a trial is given up: after so many times the rounds that its baseline took, where what its baseline had come to in as
/// many rounds was better by this factor. Shallow trees start slowly, and in few rounds a trial shows little.
const OUT_OF_REACH: [(f64, f64); 4] = [(0.5, 1.06), (0.8, 1.03), (1.2, 1.015), (1.8, 1.0075)];

/// A trial that was cut short would have taken about so many times its rounds, if its last fifth made it better by this part.
const UNFINISHED: f64 = 3.0;
const GAIN_OF_UNFINISHED: f64 = 0.02;

/// What a trial comes to in more rounds is told for so many doublings of its rounds, at most.
const MOST_DOUBLINGS: f64 = 2.0;

/// Rounds that each of several folds is boosted before all are looked at.
const STRIDE: u32 = 10;

/// When a trial ends, besides by the clock.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(super) struct Limits {
    /// The most rounds.
    pub(super) rounds: u32,
    /// Rounds without an improvement. None: all rounds are done, and the last one counts, whatever came before.
    pub(super) patience: Option<u32>,
    /// The best trial so far on the same rows: one that stays far behind it is given up.
    pub(super) baseline: Option<PruningBaseline>,
    /// Whether the outcome tells the margins after as many rounds as the model of all rows gets, too.
    pub(super) tells_fitted: bool,
    /// What is added to the seed of the run.
    pub(super) seed_step: u32,
    /// Whether the outcome tells what the splits of each column gain.
    pub(super) tells_gains: bool,
}

impl Limits {
    /// All of so many rounds are done, with the seed of the run.
    pub(super) fn all_of(rounds: u32) -> Self {
        Self { rounds, patience: None, baseline: None, tells_fitted: false, seed_step: 0, tells_gains: false }
    }
}

/// A trial that another one has to come close to.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(super) struct PruningBaseline {
    /// The best that it came to after each round, up to its best one.
    best: Vec<f64>,
    /// Rounds of a trial that correspond to one of its own.
    pace: f64,
}

impl PruningBaseline {
    /// One that takes a round where the trial takes `pace` rounds.
    pub(super) fn with_pace(outcome: &Outcome, pace: f64) -> Self {
        let mut least = f64::INFINITY;
        let best = outcome.curve.iter().take(outcome.rounds as usize).map(|value| {
            least = least.min(*value);
            least
        });
        Self { best: best.collect(), pace }
    }

    /// Whether a trial that came to `value` in so many rounds stays behind it.
    fn is_out_of_reach(&self, value: f64, rounds: usize) -> bool {
        let own = rounds as f64 / self.pace;
        let progress = own / self.best.len() as f64;
        let factor = OUT_OF_REACH.iter().rev().find(|(after, _)| progress >= *after).map(|(_, factor)| *factor);
        let had = self.best.get((own as usize).clamp(1, self.best.len().max(1)) - 1);
        factor.zip(had).is_some_and(|(factor, had)| value > factor * had)
    }
}

/// Why a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// No better round came for too long.
    Converged,
    /// All planned rounds were done.
    Rounds,
    /// A baseline is out of reach.
    Behind,
    /// The time budget was used up: another run may get further.
    Deadline,
}

/// Margins of the rows that judge after so many rounds, fold by fold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FittedMargins {
    pub(super) rounds: u32,
    pub(super) margins: Vec<f32>,
}

/// What a trial came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    /// Rounds up to the best one.
    pub(super) rounds: u32,
    /// The metric after the best round.
    pub(super) value: f64,
    /// The metric after each round.
    pub(super) curve: Vec<f64>,
    /// XGBoost's name of the metric.
    pub(super) metric: Option<String>,
    /// Why it ended.
    pub(super) end: End,
    /// Margins of the rows that judge after the best round, fold by fold.
    pub(super) margins: Vec<f32>,
    /// The same after as many rounds as the model of all rows gets, where that was asked for.
    pub(super) fitted: Option<FittedMargins>,
    /// What the splits of each column of the matrix gain in all folds, where that was asked for.
    pub(super) gains: Vec<f32>,
}

impl Outcome {
    pub(super) fn new() -> Self {
        Self {
            rounds: 1,
            value: f64::INFINITY,
            curve: Vec::new(),
            metric: None,
            end: End::Rounds,
            margins: Vec::new(),
            fitted: None,
            gains: Vec::new(),
        }
    }

    /// Whether time or the plan ended the trial while its last rounds still helped.
    pub(super) fn was_still_learning(&self) -> bool {
        self.end != End::Converged && 20 * u64::from(self.rounds) >= 19 * self.curve.len() as u64
    }

    /// What the metric would come to in so many rounds, at most `MOST_DOUBLINGS` doublings of its own, where the plan ended the trial while
    /// each round still helped; else what it came to. Each doubling of the rounds helps less than the one before: the next one is taken to
    /// help as much less than the last as that did less than the one before it.
    pub(super) fn value_in(&self, rounds: f64) -> f64 {
        let after = |rounds: u32| self.curve.get(rounds.max(1) as usize - 1).copied().unwrap_or(f64::NAN);
        let (quarter, half) = (after(self.rounds / 4), after(self.rounds / 2));
        let (before, last) = (quarter - half, half - self.value);
        let shrinking = (last / before).min(1.0);
        let doublings = (rounds / f64::from(self.rounds)).log2().clamp(0.0, MOST_DOUBLINGS);
        // The sum of a geometric series, whose number of terms need not be whole.
        let terms =
            if shrinking < 1.0 { shrinking * (1.0 - shrinking.powf(doublings)) / (1.0 - shrinking) } else { doublings };
        let more = last * terms;
        if self.was_still_learning() && before > 0.0 && last > 0.0 && more.is_finite() {
            self.value - more
        } else {
            self.value
        }
    }

    /// The round that did best, after which the margins are where early stopping had a say.
    pub(super) fn best_round(&self) -> u32 {
        let values = self.curve.iter().enumerate().filter(|(_, value)| value.is_finite());
        values.min_by(|one, other| one.1.total_cmp(other.1)).map_or(1, |(place, _)| place as u32 + 1)
    }

    /// The margins that are nearest to those of a model of all rows, and the rounds after which they are.
    pub(super) fn as_fitted(&self) -> (u32, &[f32]) {
        match &self.fitted {
            Some(FittedMargins { rounds, margins }) => (*rounds, margins),
            None => (self.best_round(), &self.margins),
        }
    }

    /// Rounds that it would have taken if nothing but its patience had ended it: more, the more its last rounds still helped.
    pub(super) fn expected_rounds(&self) -> u32 {
        if self.end == End::Converged || self.curve.is_empty() {
            return self.rounds;
        }
        let before = self.curve.len() - self.curve.len() / 5;
        let best = self.curve[..before.max(1)].iter().copied().fold(f64::INFINITY, f64::min);
        let gain = 1.0 - self.value / best;
        let more = if gain.is_finite() { (gain / GAIN_OF_UNFINISHED).clamp(0.1, 1.0) } else { 1.0 };
        (f64::from(self.rounds) * (1.0 + more * (UNFINISHED - 1.0))) as u32
    }

    /// Takes in what the folds came to in some rounds, and tells whether the trial is over.
    fn take_rounds(&mut self, of_folds: &[Vec<Option<Evaluation>>], runs: &[Run<'_>], limits: &Limits) -> Option<End> {
        let rounds = of_folds.iter().map(Vec::len).min().unwrap_or(0);
        (0..rounds).find_map(|round| {
            let mut average = Average::default();
            for (evaluations, run) in of_folds.iter().zip(runs) {
                if let Some(evaluation) = &evaluations[round] {
                    average.add(&evaluation.metric, evaluation.value, run.fold.judges() as f64);
                }
            }
            let end = self.take(average.value(), limits);
            self.metric = average.metric;
            end
        })
    }

    /// Takes in the metric after a round, and tells whether the trial is over.
    fn take(&mut self, value: f64, limits: &Limits) -> Option<End> {
        self.curve.push(value);
        let done = self.curve.len() as u32;
        if value < self.value || limits.patience.is_none() {
            (self.rounds, self.value) = (done, value);
        }
        if limits.patience.is_some_and(|patience| done - self.rounds.min(done) >= patience) {
            return Some(End::Converged);
        }
        let is_behind = |baseline: &PruningBaseline| baseline.is_out_of_reach(self.value, self.curve.len());
        limits.baseline.as_ref().filter(|baseline| is_behind(baseline)).map(|_| End::Behind)
    }
}

/// One fold under way.
struct Run<'a> {
    booster: Booster,
    fold: &'a mut Fold,
    evaluator: Evaluator,
}

impl Run<'_> {
    /// Boosts some rounds; the metrics after each.
    fn boost(&mut self, context: &FitContext<'_>, rounds: Range<u32>) -> Result<Vec<Option<Evaluation>>> {
        for round in rounds.clone() {
            context.shutdown.check(context.run_id)?;
            self.booster.update(round, &self.fold.training)?;
            self.evaluator.after_round(&mut self.booster, self.fold, round)?;
        }
        let evaluations = self.evaluator.take(&mut self.booster, self.fold)?;
        let own = |one: Evaluation| Evaluation { value: context.scale.metric(&one.metric, one.value), ..one };
        Ok(evaluations.into_iter().map(|evaluation| evaluation.map(own)).collect())
    }
}

/// A trial that is to run.
pub(super) struct Trial<'a> {
    pub(super) context: &'a FitContext<'a>,
    /// XGBoost's parameters, in the target's own units.
    pub(super) params: &'a Params,
    pub(super) limits: &'a Limits,
    /// The moment at which the clock ends the trial.
    pub(super) deadline: Instant,
    pub(super) progress: &'a Progress,
}

impl Trial<'_> {
    /// Boosts the folds in step until the trial ends.
    ///
    /// # Errors
    /// [`error::Error::Stopped`] when the run was asked to stop; what XGBoost refuses.
    pub(super) fn run(&self, folds: &mut [Fold]) -> Result<Outcome> {
        let Self { context, params, limits, deadline, progress } = *self;
        let cells = folds.iter().map(Fold::cells).max().unwrap_or_default();
        let lanes = Lanes::of_boosters(context.threads, folds.len(), cells);
        let stride = if folds.len() > 1 { STRIDE } else { 1 };
        let seed = context.config.seed.wrapping_add(limits.seed_step);
        let scaled = context.scale.params(params)?;
        let mut runs = Vec::with_capacity(folds.len());
        for fold in folds {
            let booster = Booster::new(
                &booster_params(context, &scaled, lanes.threads, seed),
                &[&fold.training, &fold.validation],
            )?;
            runs.push(Run { booster, fold, evaluator: Evaluator::default() });
        }
        let mut outcome = Outcome::new();
        let mut from = 0;
        let end = loop {
            let rounds = from..limits.rounds.min(from + stride);
            if rounds.is_empty() {
                break End::Rounds;
            }
            let evaluations = lanes.each(&mut runs, |run| run.boost(context, rounds.clone()))?;
            progress.advance(u64::from(rounds.end - rounds.start));
            if let Some(end) = outcome.take_rounds(&evaluations, &runs, limits) {
                break end;
            }
            if Instant::now() > deadline {
                break End::Deadline;
            }
            from = rounds.end;
        };
        outcome.end = end;
        let mut margins_after = |rounds: u32| -> Result<Vec<f32>> {
            let margins = lanes.each(&mut runs, |run| {
                run.booster.predict_matrix(&run.fold.validation, PredictionKind::Margin, 0..rounds).map_err(Error::from)
            })?;
            Ok(margins.concat().into_iter().map(|margin| context.scale.margin(margin)).collect())
        };
        outcome.margins = margins_after(outcome.rounds)?;
        if limits.tells_fitted {
            let rounds = on_all_rows(outcome.rounds).min(outcome.curve.len() as u32);
            outcome.fitted = Some(FittedMargins { rounds, margins: margins_after(rounds)? });
        }
        if limits.tells_gains {
            let of_folds = runs.iter_mut().map(|run| gains::of_columns(&mut run.booster, run.fold.width()));
            let of_folds = of_folds.collect::<Result<Vec<Vec<f32>>>>()?;
            outcome.gains = of_folds.into_iter().reduce(gains::sum).unwrap_or_default();
        }
        Ok(outcome)
    }
}

/// A metric over all folds, each counted by the rows that judge in it.
#[derive(Debug, Default)]
struct Average {
    metric: Option<String>,
    sum: f64,
    rows: f64,
}

impl Average {
    fn add(&mut self, metric: &str, value: f64, rows: f64) {
        if self.metric.is_none() {
            self.metric = Some(metric.to_owned());
        }
        let value = if metric == "rmse" { value * value } else { value };
        (self.sum, self.rows) = (self.sum + rows * value, self.rows + rows);
    }

    fn value(&self) -> f64 {
        let mean = self.sum / self.rows;
        if self.metric.as_deref() == Some("rmse") { mean.sqrt() } else { mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(baseline: Option<&Outcome>) -> Limits {
        let baseline = baseline.map(|outcome| PruningBaseline::with_pace(outcome, 1.0));
        Limits { rounds: 5_000, patience: Some(50), baseline, ..Limits::all_of(0) }
    }

    #[test]
    fn early_stopping_remembers_the_best_round() {
        let mut outcome = Outcome::new();
        assert_eq!(outcome.take(3.0, &limits(None)), None);
        assert_eq!(outcome.take(2.0, &limits(None)), None);
        for _ in 0..49 {
            assert_eq!(outcome.take(2.5, &limits(None)), None);
        }
        assert_eq!(outcome.take(2.5, &limits(None)), Some(End::Converged));
        assert_eq!((outcome.rounds, outcome.value, outcome.curve.len()), (2, 2.0, 52));
    }

    #[test]
    fn a_metric_that_is_never_a_number_ends_the_trial() {
        let mut outcome = Outcome::new();
        let rounds = (1..5_000).find(|_| outcome.take(f64::NAN, &limits(None)).is_some());
        assert_eq!(rounds, Some(51));
    }

    #[test]
    fn what_comes_of_more_rounds_follows_from_the_last_doublings() {
        let of_curve = |value: &dyn Fn(f64) -> f64, rounds: u32, end: End| {
            let curve: Vec<f64> = (1..=rounds).map(|round| value(f64::from(round))).collect();
            Outcome { rounds, value: curve[curve.len() - 1], curve, end, ..Outcome::new() }
        };
        // Each doubling of the rounds takes 0.7 of what the one before took.
        let falling = |round: f64| 1.0 + 0.7_f64.powf(round.log2());
        for end in [End::Rounds, End::Deadline, End::Behind] {
            let of_end = of_curve(&falling, 64, end);
            for (rounds, value) in
                [(64.0, 64.0), (90.5, 90.5), (128.0, 128.0), (256.0, 256.0), (999.0, 256.0), (9.0, 64.0)]
            {
                let expected = of_end.value_in(rounds);
                assert!((expected - falling(value)).abs() < 1e-12, "{rounds}: {expected}");
            }
        }
        // As much from each doubling, and more from each: no more than from the last one.
        let steady = |round: f64| 9.0 - round.log2();
        assert!((of_curve(&steady, 64, End::Rounds).value_in(128.0) - 2.0).abs() < 1e-12);
        let faster = |round: f64| 9.0 - round.log2().powi(2) / 10.0;
        let expected = 2.0 * faster(64.0) - faster(32.0);
        assert!((of_curve(&faster, 64, End::Rounds).value_in(128.0) - expected).abs() < 1e-12);
        // What is done learning stays what it is, and so does what nothing is known of.
        let done = of_curve(&falling, 64, End::Converged);
        assert_eq!(done.value_in(128.0), done.value);
        let past_its_best = Outcome { rounds: 40, ..of_curve(&falling, 64, End::Rounds) };
        assert_eq!(past_its_best.value_in(128.0), past_its_best.value);
        assert_eq!(Outcome::new().value_in(128.0), f64::INFINITY);
    }

    /// A trial that came down from 3 to 1 in ten rounds, and stopped two rounds later.
    fn rival() -> Outcome {
        let curve: Vec<f64> =
            (1..=12).map(|round| if round <= 10 { 3.2 - 0.2 * f64::from(round) } else { 1.3 }).collect();
        Outcome { rounds: 10, value: 1.2, curve, ..Outcome::new() }
    }

    #[test]
    fn a_trial_far_behind_its_rival_is_given_up() {
        let limits = limits(Some(&rival()));
        let given_up = |behind: f64| {
            let mut trial = Outcome::new();
            (1..40).find(|round| {
                let value = behind * (3.2 - 0.2 * f64::from(*round)).max(1.2);
                trial.take(value, &limits) == Some(End::Behind)
            })
        };
        assert_eq!([1.1, 1.04, 1.02, 1.01, 1.005].map(given_up), [Some(5), Some(8), Some(12), Some(18), None]);
    }

    #[test]
    fn a_trial_that_learns_more_slowly_has_more_rounds_to_come_close() {
        let limits = Limits { baseline: Some(PruningBaseline::with_pace(&rival(), 2.0)), ..limits(None) };
        let mut slow = Outcome::new();
        let values = (1..=20).map(|round| 3.1 - 0.1 * f64::from(round) + 0.1);
        assert!(values.map(|value| slow.take(value, &limits)).all(|end| end.is_none()));
        let mut slower = Outcome::new();
        assert_eq!((1..20).find(|_| slower.take(3.0, &limits).is_some()), Some(10));
    }

    #[test]
    fn of_given_rounds_the_last_one_counts() {
        let limits = Limits { patience: None, ..limits(None) };
        let mut outcome = Outcome::new();
        for value in [3.0, 1.0, 2.0] {
            assert_eq!(outcome.take(value, &limits), None);
        }
        assert_eq!((outcome.rounds, outcome.value), (3, 2.0));
    }

    #[test]
    fn errors_are_averaged_as_squares_over_all_rows() {
        let mut average = Average::default();
        average.add("rmse", 1.0, 3.0);
        average.add("rmse", 3.0, 1.0);
        assert_eq!(average.value(), 3.0_f64.sqrt());
    }
}
