//! Step 5: whether the model may be published.

use common::evaluation::Gate;
pub use common::evaluation::Verdict;
use common::{Error, Result};

use crate::evaluate::Evaluation;
use crate::read::TrainingData;
use crate::settings::Settings;

/// Refuses held-out rows on which no verdict can rest, before anything is trained.
///
/// # Errors
/// [`Error::Data`] where there are too few of them or their target is constant.
pub fn check_test_rows(settings: &Settings, data: &TrainingData) -> Result<()> {
    let rows = data.test.len();
    let needed = settings.min_test_rows.0.max(2);
    if rows < needed {
        return Err(Error::Data(format!(
            "{rows} held-out rows are too few to judge a model on: at least {needed} are needed (--min-test-rows); \
             give more rows, a larger --test-fraction (TEST_FRACTION) or --test-data (TEST_DATA)"
        )));
    }
    let first = data.test.target[0];
    if data.test.target.iter().all(|&target| target == first) {
        return Err(Error::Data(format!(
            "the target \"{}\" is {first} in every held-out row: no R² can be computed on it",
            data.target
        )));
    }
    Ok(())
}

/// Judges the model by its held-out rows.
///
/// # Errors
/// [`Error::Data`] where no verdict is possible.
pub fn judge(settings: &Settings, evaluation: &Evaluation, data: &TrainingData) -> Result<Verdict> {
    let _ = data;
    let gate = Gate {
        min_r2: settings.min_r2,
        max_r2_drop: settings.max_r2_drop,
        min_slice_r2: settings.min_slice_r2,
        min_test_rows: settings.min_test_rows.0,
    };
    gate.judge(&evaluation.metrics)
}

/// One line that says why nothing was published.
#[must_use]
pub fn rejection(verdict: &Verdict, location: &str) -> String {
    format!("the gate did not pass, nothing was published: {verdict}; see {location}/report.html")
}
