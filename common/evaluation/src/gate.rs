//! The gate: may a model be published? Every check is listed with its figures.

use serde::Serialize;

use super::bootstrap::Interval;
use super::metrics::{MetricError, Scores, Slice, scores};
use error::{Error, Result};

/// What a model has to reach on the held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// The least R² (`--min-r2`).
    pub min_r2: f64,
    /// The most by which R² may be below the current model's, on the same rows (`--max-r2-drop`).
    pub max_r2_drop: Option<f64>,
    /// The least R² of every slice (`--min-slice-r2`).
    pub min_slice_r2: Option<f64>,
    /// The least number of held-out rows (`--min-test-rows`).
    pub min_test_rows: usize,
}

/// What is known of a model when it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Its scores on the held-out rows, from [`Gate::measure`].
    pub scores: &'a Scores,
    /// How sure its R² is.
    pub interval: Option<Interval>,
    /// The current model on the same rows, if there is one.
    pub previous: Option<&'a Previous>,
    /// Its scores per slice.
    pub slices: &'a [SliceColumn],
}

/// The model that would be replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct Previous {
    /// Its version, as people know it.
    pub model: String,
    /// Its R² on the same held-out rows, or why there is none.
    pub r2: Result<f64, String>,
}

/// The slices of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceColumn {
    /// The column.
    pub column: String,
    /// One per value.
    pub slices: Vec<Slice>,
}

/// One check and its figures; numbers that are not finite are `null` in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// The setting that asks for it, such as `min_r2`.
    pub name: &'static str,
    /// Whether it passed.
    pub passed: bool,
    /// What was found; none where there is nothing to compare with.
    pub value: Option<f64>,
    /// What was asked for.
    pub threshold: f64,
    /// The same in words.
    pub detail: String,
}

/// All checks, and whether all passed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether every check passed.
    pub passed: bool,
    /// Every check that was asked for.
    pub checks: Vec<Check>,
}

impl Gate {
    /// The scores of the held-out rows, or why these rows can neither pass nor fail a model.
    ///
    /// # Errors
    /// [`Error::Data`]: fewer rows than asked for, a target without variance, values or predictions that are not finite. Lengths
    /// that differ are [`Error::Defect`].
    pub fn measure<T, P>(&self, targets: &[T], predictions: &[P], weights: Option<&[f32]>) -> Result<Scores>
    where
        T: Copy + Into<f64>,
        P: Copy + Into<f64>,
    {
        let (rows, needed) = (targets.len(), self.min_test_rows);
        if rows < needed {
            return Err(Error::Data(format!(
                "{rows} held-out rows, --min-test-rows asks for {needed}: hold out more or lower it"
            )));
        }
        scores(targets, predictions, weights).map_err(|error| degenerate(&error))
    }

    /// Judges a model by all that the gate asks for.
    #[must_use]
    pub fn judge(&self, evidence: &Evidence<'_>) -> Verdict {
        let rows = self.check_rows(evidence.scores.rows);
        let r2 = self.check_r2(evidence);
        let drop = self.max_r2_drop.map(|most| check_drop(most, evidence));
        let slices = self.min_slice_r2.map(|least| check_slices(least, evidence.slices));
        let checks: Vec<Check> = [Some(rows), Some(r2), drop, slices].into_iter().flatten().collect();
        Verdict { passed: checks.iter().all(|check| check.passed), checks }
    }

    /// Enough rows: told although [`Gate::measure`] lets no fewer through.
    fn check_rows(&self, rows: usize) -> Check {
        let passed = rows >= self.min_test_rows;
        let detail = format!("{rows} held-out rows, at least {} asked for", self.min_test_rows);
        #[expect(clippy::cast_precision_loss, reason = "row counts stay far below 2^53")]
        let (value, threshold) = (Some(rows as f64), self.min_test_rows as f64);
        Check { name: "min_test_rows", passed, value, threshold, detail }
    }

    /// R² against the least that is asked for.
    fn check_r2(&self, evidence: &Evidence<'_>) -> Check {
        let (value, threshold) = (evidence.scores.r2, self.min_r2);
        let passed = value >= threshold;
        let (found, asked) = figures(value, threshold);
        let sure = evidence.interval.map(|interval| {
            format!(" ({:.0} % interval {:.4} to {:.4})", interval.level * 100.0, interval.low, interval.high)
        });
        let relation = if passed { "reaches" } else { "is below" };
        let detail = format!("R² {found}{} {relation} the minimum {asked}", sure.unwrap_or_default());
        Check { name: "min_r2", passed, value: Some(value), threshold, detail }
    }
}

/// R² against the current model's.
fn check_drop(threshold: f64, evidence: &Evidence<'_>) -> Check {
    let name = "max_r2_drop";
    let Some(previous) = evidence.previous else {
        let detail = "there is no current model to compare with".to_owned();
        return Check { name, passed: true, value: None, threshold, detail };
    };
    let previous_r2 = match &previous.r2 {
        Ok(r2) => *r2,
        // A model that nobody can score must not keep a better one from being published; but it is named.
        Err(reason) => {
            let detail =
                format!("nothing to compare with: the current model {} cannot be scored: {reason}", previous.model);
            return Check { name, passed: true, value: None, threshold, detail };
        }
    };
    let drop = previous_r2 - evidence.scores.r2;
    // A current model without a finite R² on these rows cannot be dropped below.
    let passed = drop <= threshold || !previous_r2.is_finite();
    let (found, asked) = figures(drop, threshold);
    let detail = format!(
        "R² {:.4} against {:.4} of the current model {}: a drop of {found}, at most {asked} allowed",
        evidence.scores.r2, previous_r2, previous.model
    );
    Check { name, passed, value: Some(drop), threshold, detail }
}

/// The worst slice against the least that is asked of each. Slices that have no R² are named, and do not fail.
fn check_slices(threshold: f64, columns: &[SliceColumn]) -> Check {
    let all = columns.iter().flat_map(|column| column.slices.iter().map(move |slice| (column.column.as_str(), slice)));
    let (mut scored, mut unscored) = (Vec::new(), 0_usize);
    for (column, slice) in all {
        match &slice.scores {
            Ok(scores) => scored.push((column, slice, scores.r2)),
            Err(_) => unscored += 1,
        }
    }
    scored.sort_by(|a, b| a.2.total_cmp(&b.2));
    let worst = scored.first().map(|(.., r2)| *r2);
    let failed = scored.iter().filter(|(.., r2)| *r2 < threshold).count();
    let detail = slice_detail(threshold, scored.first().copied(), (failed, scored.len(), unscored));
    Check { name: "min_slice_r2", passed: failed == 0, value: worst, threshold, detail }
}

/// The worst slice and the counts in words.
fn slice_detail(threshold: f64, worst: Option<(&str, &Slice, f64)>, counts: (usize, usize, usize)) -> String {
    let (failed, scored, unscored) = counts;
    let without = if unscored == 0 { String::new() } else { format!(", {unscored} more have no R²") };
    let Some((column, slice, r2)) = worst else {
        return format!("no slice has an R²{without}");
    };
    let (found, asked) = figures(r2, threshold);
    let named = format!("{column}={:?} with R² {found} on {} rows", slice.value, slice.rows);
    format!("{failed} of {scored} slices are below the minimum {asked}, the worst is {named}{without}")
}

/// Two numbers with four decimals, or with all they have where four would make them look the same.
fn figures(value: f64, threshold: f64) -> (String, String) {
    let (short, short_threshold) = (format!("{value:.4}"), format!("{threshold:.4}"));
    if short == short_threshold && value.to_bits() != threshold.to_bits() {
        return (value.to_string(), threshold.to_string());
    }
    (short, short_threshold)
}

/// Held-out rows that no R² can be computed on.
fn degenerate(error: &MetricError) -> Error {
    match error {
        MetricError::NotFinite { what: "prediction", .. } => Error::Data(format!(
            "the model cannot be judged: {error}: the target, its weights or a given \"base_score\" are so large that 32-bit floats, \
             which XGBoost computes with, have no room for sums of them: divide them by a power of ten"
        )),
        MetricError::Lengths { .. } => Error::Defect(format!("the model cannot be judged: {error}")),
        _ => Error::Data(format!("no R² can be computed on the held-out rows: {error}: hold out other rows")),
    }
}

impl Verdict {
    /// The verdict in one line: every failed check with its figures, or that all passed.
    #[must_use]
    pub fn text(&self) -> String {
        let failed: Vec<String> = self.failed().map(|check| format!("{} ({})", check.detail, check.name)).collect();
        if failed.is_empty() {
            return format!("all {} checks of the gate passed", self.checks.len());
        }
        failed.join("; ")
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }
}

#[cfg(test)]
mod tests;
