//! What a search may cost. It is planned in cells gone through, so that the same rows, settings and number of threads give
//! the same choice; the clock, which no two runs share, only ends a search that would take longer than it may.

use std::time::{Duration, Instant};

/// Cells that one thread goes through in a second of training, on a slow machine.
const CELLS_PER_SECOND: f64 = 75e6;

/// The stages of a search, each with its share of the budget: trials of encodings, of finer bins and of parameters on a
/// sample; the rung of successive halving on all rows; the choice of rounds. Tuning has no plan of its own: it has as many
/// trials as were asked for, and what is left of the time. A cross-validation that calibrates
/// intervals was asked for, too: the clock never ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Encoding,
    Bins,
    Parameters,
    Rung,
    Rounds,
    Tuning,
    Intervals,
}

impl Stage {
    /// The name of the stage in logs and `metrics.json`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Encoding => "encoding",
            Self::Bins => "bins",
            Self::Parameters => "parameters",
            // The word of `metrics.json`, which stays as it is.
            Self::Rung => "race",
            Self::Rounds => "rounds",
            Self::Tuning => "tuning",
            Self::Intervals => "intervals",
        }
    }

    /// The stage's share of the cells.
    fn share(self) -> f64 {
        match self {
            Self::Encoding => 0.1,
            Self::Bins => 0.04,
            Self::Parameters => 0.18,
            Self::Rung => 0.13,
            Self::Rounds => 0.55,
            Self::Tuning | Self::Intervals => 0.0,
        }
    }

    /// The share of the time after which the clock ends the stage. Trials may use the time of other trials, but not the
    /// time of the stages on all rows.
    fn end(self) -> f64 {
        match self {
            Self::Encoding | Self::Bins | Self::Parameters => {
                Self::Encoding.share() + Self::Bins.share() + Self::Parameters.share()
            }
            Self::Rung => 1.0 - Self::Rounds.share(),
            Self::Rounds | Self::Tuning | Self::Intervals => 1.0,
        }
    }
}

/// The cells that a search may go through by plan, and the clock that ends it.
#[derive(Debug)]
pub(super) struct Budget {
    cells: f64,
    started: Instant,
    clock: Duration,
    /// Stages that the clock has cut short.
    cut: Vec<Stage>,
}

impl Budget {
    /// The budget of a search that may take so many seconds.
    pub(super) fn new(seconds: u64, threads: usize) -> Self {
        let cells = seconds as f64 * CELLS_PER_SECOND * threads as f64;
        Self { cells, started: Instant::now(), clock: Duration::from_secs(seconds), cut: Vec::new() }
    }

    /// The cells that a stage may go through.
    pub(super) fn cells(&self, stage: Stage) -> f64 {
        stage.share() * self.cells
    }

    /// The moment at which the clock ends a stage.
    pub(super) fn deadline(&self, stage: Stage) -> Instant {
        /// Longer than any run.
        const NEVER: Duration = Duration::from_secs(1 << 32);
        if stage == Stage::Intervals {
            return self.started + NEVER;
        }
        self.started + self.clock.mul_f64(stage.end())
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

    /// Warns, once for each stage, that the clock had a say in the choice.
    pub(super) fn warn_of_deadline(&mut self, stage: Stage) {
        if self.cut.contains(&stage) {
            return;
        }
        self.cut.push(stage);
        let (seconds, stage) = (self.clock.as_secs(), stage.name());
        tracing::warn!(
            stage,
            "choosing the model was cut short by the clock, since it may take {seconds} s: another run of the same rows may \
             choose otherwise. Raise --time-budget (TIME_BUDGET), or set --rounds (ROUNDS)"
        );
    }

    /// Warns that the clock ended tuning after `ran` of `asked` trials.
    pub(super) fn warn_of_cut_tuning(&self, ran: usize, asked: usize) {
        let seconds = self.clock.as_secs();
        tracing::warn!(
            "tuning was cut short by the clock after {ran} of {asked} trials, since choosing the model may take {seconds} s: \
             another run of the same rows may choose otherwise. Raise --time-budget (TIME_BUDGET), or lower --tune (TUNE)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_on_all_rows_have_their_time_left() {
        let budget = Budget { cells: 1e9, started: Instant::now(), clock: Duration::from_secs(60), cut: Vec::new() };
        let after = |stage| (budget.deadline(stage) - budget.started).as_secs_f64().round();
        let stages = [Stage::Encoding, Stage::Bins, Stage::Parameters, Stage::Rung, Stage::Rounds];
        assert_eq!(stages.map(after), [19.0, 19.0, 19.0, 27.0, 60.0]);
        assert!((stages.map(|stage| budget.cells(stage)).iter().sum::<f64>() - 1e9).abs() < 1.0);
    }

    #[test]
    fn time_that_an_earlier_attempt_spent_is_spent() {
        let seconds = Duration::from_secs;
        let mut budget = Budget { cells: 1e9, started: Instant::now(), clock: seconds(60), cut: Vec::new() };
        budget.spend(seconds(20));
        assert!((seconds(20)..seconds(25)).contains(&budget.spent()));
        budget.spend(seconds(5));
        assert!(budget.spent() >= seconds(20), "not less than before");
        budget.spend(seconds(61));
        assert!(Instant::now() > budget.deadline(Stage::Tuning));
    }
}
