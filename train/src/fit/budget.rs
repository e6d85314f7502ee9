//! What a search may cost. It is planned in cells gone through, so that the same rows, settings and number of threads give
//! the same choice whatever else the machine does.

use std::time::{Duration, Instant};

use crate::settings::{DEFAULT_TIME_BUDGET, Settings};

/// Cells that one thread goes through in a second of training, on a slow machine.
const CELLS_PER_SECOND: f64 = 75e6;
/// Where nobody set a budget the clock only ends a search that takes so many times longer than planned.
const PATIENCE_OF_THE_CLOCK: u32 = 10;

/// Shares of the budget: trials of encodings, of finer bins and of parameters on a sample, the race on all rows, the choice of
/// rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Encoding,
    Bins,
    Parameters,
    Race,
    Rounds,
}

impl Stage {
    /// What it is called in logs and `metrics.json`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Encoding => "encoding",
            Self::Bins => "bins",
            Self::Parameters => "parameters",
            Self::Race => "race",
            Self::Rounds => "rounds",
        }
    }

    /// Its share of the cells.
    fn share(self) -> f64 {
        match self {
            Self::Encoding => 0.1,
            Self::Bins => 0.04,
            Self::Parameters => 0.18,
            Self::Race => 0.13,
            Self::Rounds => 0.55,
        }
    }

    /// The share of the time after which it has to be over.
    fn end(self) -> f64 {
        match self {
            Self::Encoding => Self::Encoding.share(),
            Self::Bins => Self::Encoding.share() + Self::Bins.share(),
            Self::Parameters => Self::Bins.end() + Self::Parameters.share(),
            Self::Race => 1.0 - Self::Rounds.share(),
            Self::Rounds => 1.0,
        }
    }
}

/// Cells by plan, and the clock.
#[derive(Debug)]
pub(super) struct Budget {
    cells: f64,
    started: Instant,
    clock: Duration,
    is_set: bool,
}

impl Budget {
    pub(super) fn new(settings: &Settings, threads: usize) -> Self {
        let seconds = settings.time_budget.unwrap_or(DEFAULT_TIME_BUDGET);
        let clock = Duration::from_secs(seconds);
        let is_set = settings.time_budget.is_some();
        Self {
            cells: seconds as f64 * CELLS_PER_SECOND * threads as f64,
            started: Instant::now(),
            clock: if is_set { clock } else { PATIENCE_OF_THE_CLOCK * clock },
            is_set,
        }
    }

    /// What a stage may go through.
    pub(super) fn cells(&self, stage: Stage) -> f64 {
        stage.share() * self.cells
    }

    /// When the clock ends a stage: where a budget was set, with what is left for those after it.
    pub(super) fn deadline(&self, stage: Stage) -> Instant {
        self.started + if self.is_set { self.clock.mul_f64(stage.end()) } else { self.clock }
    }

    /// Tells that the clock, which no two runs share, had a say in the choice.
    pub(super) fn warn_of_deadline(&self, stage: Stage) {
        let (seconds, stage) = (self.clock.as_secs(), stage.name());
        tracing::warn!(
            stage,
            "choosing the model was cut short by the clock after {seconds} s ({}): another run of the same rows may choose \
             otherwise. Raise --time-budget (TIME_BUDGET), or set --rounds (ROUNDS)",
            if self.is_set { "TIME_BUDGET" } else { "the machine is far slower or busier than planned for" }
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(is_set: bool) -> Budget {
        let clock = Duration::from_secs(if is_set { 60 } else { 600 });
        Budget { cells: 1e9, started: Instant::now(), clock, is_set }
    }

    #[test]
    fn a_budget_that_is_set_leaves_time_for_later_stages() {
        let budget = budget(true);
        let after = |stage| (budget.deadline(stage) - budget.started).as_secs_f64().round();
        let stages = [Stage::Encoding, Stage::Bins, Stage::Parameters, Stage::Race, Stage::Rounds];
        assert_eq!(stages.map(after), [6.0, 8.0, 19.0, 27.0, 60.0]);
        assert!((stages.map(|stage| budget.cells(stage)).iter().sum::<f64>() - 1e9).abs() < 1.0);
    }

    #[test]
    fn without_one_the_clock_waits_long_for_the_plan() {
        let budget = budget(false);
        assert_eq!(budget.deadline(Stage::Encoding) - budget.started, Duration::from_secs(600));
    }
}
