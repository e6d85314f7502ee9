//! What a run may cost. It is planned in work that is counted, so that the same rows, settings and number of threads give
//! the same choice however busy the machine is; the clock, which no two runs share, only ends a search that takes three
//! times as long as was planned.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Units of work ([`super::cost`]) that a second of `--time-budget` stands for, for each thread: a unit takes about a
/// nanosecond of one thread of a slow machine (AMD EPYC without AVX-512), and threads that work on one tree wait for each other.
const WORK_PER_SECOND: f64 = 0.65e9;
/// The clock ends a search after so many times the time that it was planned for.
const CLOCK: u32 = 3;
/// Rows of tables that are worth the least share of the budget, and of those that are worth all of it; the same of features. Of a
/// smaller table more work tells hardly more: 40 % instead of 28 % were worth 0.0004 of R² on 15 splits of five tables, and took
/// another 4 s. Of a larger one it does: all instead of 62 % was worth 0.001 and 0.008 on two splits of 8,000 × 51.
const ROWS: [f64; 2] = [10_000.0, 15_000.0];
const FEATURES: [f64; 2] = [30.0, 45.0];
/// The share of the budget that small tables get.
const LEAST_SHARE: f64 = 0.28;

/// What a run spends its budget on, each with its share: a look at the table, which has none of its own; trials of encodings, of finer bins and of parameters on a sample; the
/// rung of successive halving on all rows; the choice of rounds; the boosters of the model. Tuning has no share: it has as many trials as
/// were asked for, as long as their work is within the budget. A cross-validation that calibrates intervals was asked for, too: the clock
/// never ends it. What boosters that calibrate and the learning curve may cost, `super::out_of_fold` and `super::learning_curve` say;
/// they come after all is chosen, and have no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Look,
    Encoding,
    Bins,
    Parameters,
    Rung,
    Rounds,
    Tuning,
    Intervals,
    Calibration,
    LearningCurve,
    Fit,
}

impl Stage {
    /// The name of the stage in logs and `metrics.json`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Encoding => "encoding",
            Self::Bins => "bins",
            Self::Parameters => "parameters",
            // The word of `metrics.json`, which stays as it is.
            Self::Rung => "race",
            Self::Rounds => "rounds",
            Self::Tuning => "tuning",
            Self::Intervals => "intervals",
            Self::Calibration => "calibration",
            Self::LearningCurve => "learning_curve",
            Self::Fit => "fit",
        }
    }

    /// The stage's share of the work.
    fn share(self) -> f64 {
        match self {
            Self::Encoding => 0.09,
            Self::Bins => 0.04,
            Self::Parameters => 0.14,
            Self::Rung => 0.08,
            Self::Rounds => 0.3,
            Self::Look | Self::Tuning | Self::Intervals | Self::Calibration | Self::LearningCurve => 0.0,
            Self::Fit => 0.35,
        }
    }

    /// The share of the clock's time after which the clock ends the stage. Trials may use the time of other trials, but not
    /// all of the time of the stages on all rows.
    fn end(self) -> f64 {
        match self {
            Self::Look | Self::Encoding | Self::Bins | Self::Parameters => 0.5,
            Self::Rung => 0.6,
            Self::Rounds | Self::Tuning | Self::Intervals | Self::Calibration | Self::LearningCurve | Self::Fit => 1.0,
        }
    }
}

/// What was planned and done, for `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// `--time-budget`.
    pub seconds: u64,
    /// Threads that the work is shared by.
    pub threads: usize,
    /// Units of work that a second of a thread stands for.
    pub work_per_second: f64,
    /// The share of the budget that a table of so few rows and features is worth.
    pub share: f64,
    /// Units of work that choosing and fitting were planned for.
    pub planned_work: f64,
    /// Units that the trials did.
    pub done_work: f64,
    /// Seconds after which the clock would have ended the choice.
    pub clock_seconds: u64,
    /// Stages that the clock ended: another run may choose otherwise.
    pub cut_by_clock: Vec<String>,
}

/// The work that a search may do by plan, and the clock that ends it.
#[derive(Debug)]
pub(super) struct Budget {
    seconds: u64,
    threads: usize,
    share: f64,
    /// Units that trials have done.
    done: f64,
    started: Instant,
    /// Stages that the clock has cut short.
    cut: Vec<Stage>,
}

impl Budget {
    /// The budget of so many seconds for a table of so many rows and features.
    pub(super) fn new(seconds: u64, threads: usize, (rows, features): (usize, usize)) -> Self {
        let between = |size: usize, [least, whole]: [f64; 2]| ((size as f64 - least) / (whole - least)).clamp(0.0, 1.0);
        let share = LEAST_SHARE + (1.0 - LEAST_SHARE) * between(rows, ROWS).max(between(features, FEATURES));
        Self { seconds, threads, share, done: 0.0, started: Instant::now(), cut: Vec::new() }
    }

    /// All that the user allowed.
    fn whole(&self) -> f64 {
        self.seconds as f64 * WORK_PER_SECOND * self.threads as f64
    }

    /// All that is planned.
    pub(super) fn planned(&self) -> f64 {
        self.share * self.whole()
    }

    /// The work that a stage may do: its share, and for the choice of rounds what the stages before it have left.
    pub(super) fn work(&self, stage: Stage) -> f64 {
        let own = stage.share() * self.planned();
        let left = (1.0 - Stage::Fit.share()) * self.planned() - self.done;
        if stage == Stage::Rounds { own.max(left) } else { own }
    }

    /// The work that fitting the boosters may do once all is chosen: its share and what choosing has left.
    pub(super) fn left_for_fit(&self) -> f64 {
        self.work(Stage::Fit).max(self.planned() - self.done)
    }

    /// Counts work that a trial did, in this attempt or in an earlier one.
    pub(super) fn count(&mut self, work: f64) {
        self.done += work;
    }

    /// Whether trials may go on that were asked for by number.
    pub(super) fn is_used_up(&self) -> bool {
        self.done >= (1.0 - Stage::Fit.share()) * self.whole()
    }

    fn clock(&self) -> Duration {
        Duration::from_secs(self.seconds).saturating_mul(CLOCK)
    }

    /// The moment at which the clock ends a stage.
    pub(super) fn deadline(&self, stage: Stage) -> Instant {
        /// Longer than any run.
        const NEVER: Duration = Duration::from_secs(1 << 32);
        // What was begun of these is finished: half of it tells nothing.
        if matches!(stage, Stage::Intervals | Stage::Calibration | Stage::LearningCurve) {
            return self.started + NEVER;
        }
        self.started + self.clock().mul_f64(stage.end())
    }

    /// The time that is spent.
    pub(super) fn spent(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts time that an earlier attempt of the run had spent by some moment, which this one did not need to spend again.
    pub(super) fn spend(&mut self, by_then: Duration) {
        if let Some(started) = Instant::now().checked_sub(by_then) {
            self.started = self.started.min(started);
        }
    }

    /// What was planned and done.
    pub(super) fn report(&self) -> BudgetReport {
        BudgetReport {
            seconds: self.seconds,
            threads: self.threads,
            work_per_second: WORK_PER_SECOND,
            share: self.share,
            planned_work: self.planned(),
            done_work: self.done,
            clock_seconds: self.clock().as_secs(),
            cut_by_clock: self.cut.iter().map(|stage| stage.name().to_owned()).collect(),
        }
    }

    /// Warns, once for each stage, that the clock had a say in the choice.
    pub(super) fn warn_of_deadline(&mut self, stage: Stage) {
        if self.cut.contains(&stage) {
            return;
        }
        self.cut.push(stage);
        let (seconds, planned, stage) = (self.clock().as_secs(), self.seconds, stage.name());
        tracing::warn!(
            stage,
            "choosing the model was cut short by the clock, since the machine is so slow or busy that it takes more than {seconds} s, \
             three times the {planned} s that it was planned for: another run of the same rows may choose otherwise. Raise \
             --time-budget (TIME_BUDGET), or set --rounds (ROUNDS)"
        );
    }

    /// Says that the plan, or with a warning the clock, ended tuning after `ran` of `asked` trials.
    pub(super) fn tell_of_cut_tuning(&self, ran: usize, asked: usize, by_clock: bool) {
        let seconds = self.seconds;
        let advice = "Raise --time-budget (TIME_BUDGET), or lower --tune (TUNE)";
        if by_clock {
            tracing::warn!(
                "tuning was cut short by the clock after {ran} of {asked} trials, since it took more than three times the {seconds} s \
                 that it was planned for: another run of the same rows may choose otherwise. {advice}"
            );
        } else {
            tracing::warn!("tuning ended after {ran} of {asked} trials, which is the work of {seconds} s. {advice}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGES: [Stage; 6] =
        [Stage::Encoding, Stage::Bins, Stage::Parameters, Stage::Rung, Stage::Rounds, Stage::Fit];

    #[test]
    fn the_clock_ends_stages_at_three_times_their_plan() {
        let budget = Budget::new(20, 2, (1_000_000, 1_000));
        let after = |stage| (budget.deadline(stage) - budget.started).as_secs_f64().round();
        assert_eq!(STAGES.map(after), [30.0, 30.0, 30.0, 36.0, 60.0, 60.0]);
    }

    #[test]
    fn all_work_is_shared_out_and_small_tables_get_less() {
        let planned = |rows, features| {
            let mut budget = Budget::new(30, 2, (rows, features));
            let each = STAGES.map(|stage| {
                let work = budget.work(stage);
                budget.count(work);
                work
            });
            each.iter().sum::<f64>()
        };
        let whole = 30.0 * 2.0 * WORK_PER_SECOND;
        let shares = [(1_000_000, 3), (300, 100), (12_500, 9), (10_000, 30), (50, 2), (8_000, 51)];
        let shares = shares.map(|(rows, features)| (100.0 * planned(rows, features) / whole).round());
        assert_eq!(shares, [100.0, 100.0, 64.0, 28.0, 28.0, 100.0]);
    }

    #[test]
    fn what_trials_left_is_for_rounds_and_boosters() {
        let mut budget = Budget::new(10, 1, (1_000_000, 1_000));
        let whole = 10.0 * WORK_PER_SECOND;
        budget.count(0.1 * whole);
        assert!((budget.work(Stage::Rounds) - 0.55 * whole).abs() < 1.0);
        budget.count(0.2 * whole);
        assert!((budget.left_for_fit() - 0.7 * whole).abs() < 1.0);
        budget.count(whole);
        assert!((budget.left_for_fit() - 0.35 * whole).abs() < 1.0, "never less than its share");
    }

    #[test]
    fn asked_trials_end_with_the_budget() {
        let mut budget = Budget::new(10, 1, (10, 1));
        budget.count(0.6 * 10.0 * WORK_PER_SECOND);
        assert!(!budget.is_used_up(), "a small table may use all that was allowed");
        budget.count(0.1 * 10.0 * WORK_PER_SECOND);
        assert!(budget.is_used_up());
        assert_eq!(budget.report().done_work, 0.7 * 10.0 * WORK_PER_SECOND);
    }

    #[test]
    fn time_that_an_earlier_attempt_spent_is_spent() {
        let seconds = Duration::from_secs;
        let mut budget = Budget::new(20, 1, (1_000_000, 1_000));
        budget.spend(seconds(20));
        assert!((seconds(20)..seconds(25)).contains(&budget.spent()));
        budget.spend(seconds(5));
        assert!(budget.spent() >= seconds(20), "not less than before");
        budget.spend(seconds(61));
        assert!(Instant::now() > budget.deadline(Stage::Tuning));
    }
}
