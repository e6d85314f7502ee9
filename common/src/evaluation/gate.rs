//! The gate: may a model be published? Every check is listed with its figures.

use serde::Serialize;

use super::bootstrap::Interval;
use super::metrics::{MetricError, Scores, Slice, scores};
use crate::{Error, Result};

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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Previous {
    /// Its version, as people know it.
    pub model: String,
    /// Its R² on the same held-out rows.
    pub r2: f64,
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
    /// [`Error::Data`]: fewer rows than asked for, a target without variance, values that are not finite. Predictions
    /// that are not finite, or lengths that differ, are [`Error::Defect`].
    pub fn measure<T, P>(
        &self,
        targets: &[T],
        predictions: &[P],
        weights: Option<&[f32]>,
    ) -> Result<Scores>
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
        let slices = self
            .min_slice_r2
            .map(|least| check_slices(least, evidence.slices));
        let checks: Vec<Check> = [Some(rows), Some(r2), drop, slices]
            .into_iter()
            .flatten()
            .collect();
        Verdict {
            passed: checks.iter().all(|check| check.passed),
            checks,
        }
    }

    /// Enough rows: told although [`Gate::measure`] lets no fewer through.
    fn check_rows(&self, rows: usize) -> Check {
        let passed = rows >= self.min_test_rows;
        let detail = format!(
            "{rows} held-out rows, at least {} asked for",
            self.min_test_rows
        );
        #[expect(clippy::cast_precision_loss, reason = "row counts stay far below 2^53")]
        let (value, threshold) = (Some(rows as f64), self.min_test_rows as f64);
        Check {
            name: "min_test_rows",
            passed,
            value,
            threshold,
            detail,
        }
    }

    /// R² against the least that is asked for.
    fn check_r2(&self, evidence: &Evidence<'_>) -> Check {
        let (value, threshold) = (evidence.scores.r2, self.min_r2);
        let passed = value >= threshold;
        let (found, asked) = figures(value, threshold);
        let sure = evidence.interval.map(|interval| {
            format!(
                " ({:.0} % interval {:.4} to {:.4})",
                interval.level * 100.0,
                interval.low,
                interval.high
            )
        });
        let relation = if passed { "reaches" } else { "is below" };
        let detail = format!(
            "R² {found}{} {relation} the minimum {asked}",
            sure.unwrap_or_default()
        );
        Check {
            name: "min_r2",
            passed,
            value: Some(value),
            threshold,
            detail,
        }
    }
}

/// R² against the current model's.
fn check_drop(threshold: f64, evidence: &Evidence<'_>) -> Check {
    let name = "max_r2_drop";
    let Some(previous) = evidence.previous else {
        let detail = "there is no current model to compare with".to_owned();
        return Check {
            name,
            passed: true,
            value: None,
            threshold,
            detail,
        };
    };
    let drop = previous.r2 - evidence.scores.r2;
    // A current model without a finite R² on these rows cannot be dropped below.
    let passed = drop <= threshold || !previous.r2.is_finite();
    let (found, asked) = figures(drop, threshold);
    let detail = format!(
        "R² {:.4} against {:.4} of the current model {}: a drop of {found}, at most {asked} allowed",
        evidence.scores.r2, previous.r2, previous.model
    );
    Check {
        name,
        passed,
        value: Some(drop),
        threshold,
        detail,
    }
}

/// The worst slice against the least that is asked of each. Slices that have no R² are named, and do not fail.
fn check_slices(threshold: f64, columns: &[SliceColumn]) -> Check {
    let all = columns.iter().flat_map(|column| {
        column
            .slices
            .iter()
            .map(move |slice| (column.column.as_str(), slice))
    });
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
    let detail = slice_detail(
        threshold,
        scored.first().copied(),
        (failed, scored.len(), unscored),
    );
    Check {
        name: "min_slice_r2",
        passed: failed == 0,
        value: worst,
        threshold,
        detail,
    }
}

/// The worst slice and the counts in words.
fn slice_detail(
    threshold: f64,
    worst: Option<(&str, &Slice, f64)>,
    counts: (usize, usize, usize),
) -> String {
    let (failed, scored, unscored) = counts;
    let without = if unscored == 0 {
        String::new()
    } else {
        format!(", {unscored} more have no R²")
    };
    let Some((column, slice, r2)) = worst else {
        return format!("no slice has an R²{without}");
    };
    let (found, asked) = figures(r2, threshold);
    let named = format!(
        "{column}={:?} with R² {found} on {} rows",
        slice.value, slice.rows
    );
    format!(
        "{failed} of {scored} slices are below the minimum {asked}, the worst is {named}{without}"
    )
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
        MetricError::NotFinite {
            what: "prediction", ..
        }
        | MetricError::Lengths { .. } => {
            Error::Defect(format!("the model cannot be judged: {error}"))
        }
        _ => Error::Data(format!(
            "no R² can be computed on the held-out rows: {error}: hold out other rows"
        )),
    }
}

impl Verdict {
    /// The verdict in one line: every failed check with its figures, or that all passed.
    #[must_use]
    pub fn text(&self) -> String {
        let failed: Vec<String> = self
            .failed()
            .map(|check| format!("{} ({})", check.detail, check.name))
            .collect();
        if failed.is_empty() {
            return format!("all {} checks of the gate passed", self.checks.len());
        }
        failed.join("; ")
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }

    /// Nothing, or [`Error::Gate`] with [`Verdict::text`].
    ///
    /// # Errors
    /// [`Error::Gate`] if a check failed.
    pub fn require_passed(&self) -> Result<()> {
        if self.passed {
            return Ok(());
        }
        Err(Error::Gate(format!(
            "the model did not pass the gate and was not published: {}",
            self.text()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATE: Gate = Gate {
        min_r2: 0.75,
        max_r2_drop: None,
        min_slice_r2: None,
        min_test_rows: 2,
    };

    fn scored(r2: f64) -> Scores {
        Scores {
            r2,
            rmse: 1.0,
            mae: 0.5,
            rows: 1000,
        }
    }

    fn evidence(scores: &Scores) -> Evidence<'_> {
        Evidence {
            scores,
            interval: None,
            previous: None,
            slices: &[],
        }
    }

    fn slice(value: &str, r2: Option<f64>) -> Slice {
        let scores = r2.map(scored).ok_or(MetricError::Constant { value: 1.0 });
        Slice {
            value: value.to_owned(),
            rows: 40,
            scores,
        }
    }

    #[test]
    fn the_threshold_itself_passes_and_a_hair_below_fails_with_all_its_digits() {
        assert!(GATE.judge(&evidence(&scored(0.75))).passed);
        let hair = 0.75_f64.next_down();
        let verdict = GATE.judge(&evidence(&scored(hair)));
        assert_eq!(
            verdict.text(),
            format!("R² {hair} is below the minimum 0.75 (min_r2)")
        );
        assert_eq!(verdict.require_passed().unwrap_err().exit_code(), 3);
        assert!(!GATE.judge(&evidence(&scored(f64::NAN))).passed);
    }

    #[test]
    fn every_failed_check_is_named_in_one_line() {
        let gate = Gate {
            max_r2_drop: Some(0.01),
            min_slice_r2: Some(0.5),
            ..GATE
        };
        let previous = Previous {
            model: "v1/r1".to_owned(),
            r2: 0.8,
        };
        let slices = vec![
            slice("north", Some(0.2)),
            slice("south", Some(0.9)),
            slice("east", None),
        ];
        let slices = [SliceColumn {
            column: "region".to_owned(),
            slices,
        }];
        let interval = Some(Interval {
            low: 0.68,
            high: 0.74,
            level: 0.95,
        });
        let scores = scored(0.71);
        let verdict = gate.judge(&Evidence {
            scores: &scores,
            interval,
            previous: Some(&previous),
            slices: &slices,
        });
        assert_eq!(
            verdict.text(),
            "R² 0.7100 (95 % interval 0.6800 to 0.7400) is below the minimum 0.7500 (min_r2); \
             R² 0.7100 against 0.8000 of the current model v1/r1: a drop of 0.0900, at most 0.0100 allowed (max_r2_drop); \
             1 of 2 slices are below the minimum 0.5000, the worst is region=\"north\" with R² 0.2000 on 40 rows, \
             1 more have no R² (min_slice_r2)"
        );
        let names: Vec<_> = verdict
            .checks
            .iter()
            .map(|check| (check.name, check.passed))
            .collect();
        assert_eq!(
            names,
            [
                ("min_test_rows", true),
                ("min_r2", false),
                ("max_r2_drop", false),
                ("min_slice_r2", false)
            ]
        );
    }

    #[test]
    fn a_first_model_and_a_better_one_pass_the_drop() {
        let gate = Gate {
            max_r2_drop: Some(0.0),
            ..GATE
        };
        let scores = scored(0.9);
        assert!(gate.judge(&evidence(&scores)).passed);
        let worse = Previous {
            model: "v0".to_owned(),
            r2: 0.8,
        };
        let verdict = gate.judge(&Evidence {
            previous: Some(&worse),
            ..evidence(&scores)
        });
        assert!(verdict.passed && verdict.checks[2].value.unwrap() < 0.0);
        assert_eq!(verdict.text(), "all 3 checks of the gate passed");
        verdict.require_passed().unwrap();
    }

    #[test]
    fn slices_without_an_r2_do_not_fail() {
        let gate = Gate {
            min_slice_r2: Some(0.5),
            ..GATE
        };
        let slices = [SliceColumn {
            column: "c".to_owned(),
            slices: vec![slice("x", None)],
        }];
        let verdict = gate.judge(&Evidence {
            slices: &slices,
            ..evidence(&scored(0.9))
        });
        assert!(verdict.passed);
        assert_eq!(
            verdict.checks[2].detail,
            "no slice has an R², 1 more have no R²"
        );
    }

    #[test]
    fn degenerate_rows_are_bad_data_not_a_verdict() {
        let gate = Gate {
            min_test_rows: 3,
            ..GATE
        };
        let told = |targets: &[f64]| {
            gate.measure(targets, &vec![1.0_f32; targets.len()], None)
                .unwrap_err()
        };
        for (targets, reason) in [
            (&[1.0, 2.0][..], "--min-test-rows asks for 3"),
            (&[5.0; 4], "the target is 5"),
            (&[1.0, f64::NAN, 2.0], "NaN"),
        ] {
            let error = told(targets);
            assert_eq!(error.exit_code(), 4);
            assert!(error.to_string().contains(reason), "{error}");
        }
        let broken = gate
            .measure(&[1.0, 2.0, 3.0], &[1.0, f64::NAN, 3.0], None)
            .unwrap_err();
        assert_eq!(broken.exit_code(), 70);
        assert!(
            (gate
                .measure(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], None)
                .unwrap()
                .r2
                - 1.0)
                .abs()
                < 1e-15
        );
    }

    #[test]
    fn json_has_every_check_and_null_for_what_is_not_finite() {
        let verdict = GATE.judge(&evidence(&scored(f64::NEG_INFINITY)));
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!(json["passed"], false);
        assert_eq!(json["checks"][1]["name"], "min_r2");
        assert_eq!(json["checks"][1]["value"], serde_json::Value::Null);
        assert_eq!(json["checks"][1]["threshold"], 0.75);
        assert_eq!(
            serde_json::to_value(&GATE).unwrap()["max_r2_drop"],
            serde_json::Value::Null
        );
    }
}
