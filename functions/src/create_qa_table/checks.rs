//! The checks themselves: numbers against limits. No check is left out: one that could not be made has neither passed nor failed.

use features::quality::population_stability_index;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::RunFigures;
use super::measure::Figures;
use crate::context::Invocation;
use crate::failure::{Failure, Result};
use crate::objects;
use crate::settings::Settings;

/// Population stability index of the predictions against the last run's: above the first a warning, above the second a failure.
const PSI_WARNING: f64 = 0.2;
const PSI_FAILURE: f64 = 0.5;
/// How far the mean may move, in standard deviations of the last run.
const MEAN_SHIFT: f64 = 0.5;
/// Drift of a feature that is named in a warning, as in the programs.
const DRIFT: f64 = features::quality::DRIFT_WARNING;

/// What a check that failed means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is published.
    Fail,
    /// It stands in the message.
    Warn,
}

/// One check: a row of the table `qa`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub check: String,
    /// What was found.
    pub value: Option<f64>,
    /// What it must equal, or is compared with.
    pub expected: Option<f64>,
    /// What it must not be beyond.
    pub limit: Option<f64>,
    /// What its failure means.
    pub severity: Severity,
    /// `None` where there was nothing to check by.
    pub passed: Option<bool>,
}

impl Check {
    /// The columns of the table `qa`.
    pub const COLUMNS: [(&'static str, &'static str); 6] = [
        ("check", "string"),
        ("value", "double"),
        ("expected", "double"),
        ("limit", "double"),
        ("severity", "string"),
        ("passed", "boolean"),
    ];

    fn equals(check: &str, value: Option<f64>, expected: Option<f64>) -> Self {
        let passed = value.zip(expected).map(|(value, expected)| value == expected);
        Self { check: check.to_owned(), value, expected, limit: None, severity: Severity::Fail, passed }
    }

    /// The same, where not to know the value is a failure.
    fn must_equal(check: &str, value: Option<f64>, expected: Option<f64>) -> Self {
        let checked = Self::equals(check, value, expected);
        Self { passed: Some(checked.passed == Some(true)), ..checked }
    }

    fn at_most(severity: Severity, check: &str, value: Option<f64>, limit: f64) -> Self {
        let passed = value.map(|value| value <= limit);
        Self { check: check.to_owned(), value, expected: None, limit: Some(limit), severity, passed }
    }

    fn at_least(severity: Severity, check: &str, value: Option<f64>, limit: f64) -> Self {
        let passed = value.map(|value| value >= limit);
        Self { check: check.to_owned(), value, expected: None, limit: Some(limit), severity, passed }
    }

    /// In words.
    #[must_use]
    pub fn in_words(&self) -> String {
        let number = |number: Option<f64>| number.map_or_else(|| "unknown".to_owned(), short);
        let Self { check, value, .. } = self;
        let wanted = match (self.expected, self.limit) {
            (Some(expected), None) => format!("expected {}", short(expected)),
            (_, Some(limit)) if value.is_some_and(|value| value > limit) => format!("at most {}", short(limit)),
            (_, Some(limit)) => format!("at least {}", short(limit)),
            (None, None) => "nothing to compare with".to_owned(),
        };
        format!("{check}: {}, {wanted}", number(*value))
    }
}

/// A number with at most four digits behind the point.
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What the programs and data-prep said of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) run_id: String,
    pub(crate) model_version: String,
    pub(crate) model_run_id: String,
    /// Whether train published this run's model; otherwise an earlier one was used.
    pub(crate) is_published: bool,
    /// The label that the run trains.
    pub(crate) trained_version: String,
    pub(crate) r2: Option<f64>,
    pub(crate) rows_of_manifest: Option<f64>,
    pub(crate) rows_predicted: Option<f64>,
    pub(crate) rows_read: Option<f64>,
    pub(crate) rows_rejected: Option<f64>,
    pub(crate) customers: Option<f64>,
    pub(crate) data_quality: Option<f64>,
    pub(crate) max_drift: Option<f64>,
}

impl Facts {
    pub(super) async fn read(invocation: &Invocation<'_>) -> Result<Self> {
        let event = &invocation.event;
        let output = invocation.settings.output.open().await?;
        let key = format!("runs/{}/manifest.json", event.run_id);
        let manifest: Option<Value> = objects::read(output.as_ref(), &key).await?;
        let missing = || {
            let root = output.root();
            Failure::settings(format!("{root}/{key} does not exist: predict has not completed this run; run it again"))
        };
        let manifest = manifest.ok_or_else(missing)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let model_version = text(&manifest["model"]["version"]);
        if model_version.parse::<machine::ModelVersion>().is_err() {
            return Err(Failure::settings(format!("{}/{key} is damaged: it names no model version", output.root())));
        }
        Ok(Self {
            run_id: event.run_id.to_string(),
            model_version,
            model_run_id: text(&manifest["model"]["run_id"]),
            is_published: event.get("training.gate").as_str() == Some("passed"),
            trained_version: event.model_version.to_string(),
            r2: event.number("training.r2"),
            rows_of_manifest: manifest["rows_predicted"].as_f64(),
            rows_predicted: event.number("inference.rows_predicted"),
            rows_read: event.number("inference.rows_read"),
            rows_rejected: event.number("inference.rows_rejected"),
            customers: event.number("locations.rows.customers"),
            data_quality: event.number("inference.data_quality_score"),
            max_drift: event.number("inference.max_drift"),
        })
    }
}

/// All checks, in the order of the table.
pub(super) fn check(facts: &Facts, figures: &Figures, last: Option<&RunFigures>, settings: &Settings) -> Vec<Check> {
    use Severity::{Fail, Warn};
    let rows = Some(figures.rows as f64);
    let sum = facts.rows_predicted.zip(facts.rows_rejected).map(|(predicted, rejected)| predicted + rejected);
    let count = |count: u64| Some(count as f64);
    let is_trained = facts.model_run_id == facts.run_id && facts.model_version == facts.trained_version;
    let psi = last.and_then(|last| stability(last, figures));
    let shift = last.and_then(|last| mean_shift(last, figures));
    let rejects = facts.rows_rejected.zip(facts.rows_read).filter(|(_, read)| *read > 0.0);
    vec![
        Check::must_equal("rows_match_manifest", rows, facts.rows_of_manifest),
        Check::must_equal("rows_match_result", rows, facts.rows_predicted),
        Check::must_equal("rows_read_add_up", facts.rows_read, sum),
        Check::must_equal("rows_read_match_customers", facts.rows_read, facts.customers),
        Check::equals("missing_predictions", count(figures.nulls), Some(0.0)),
        Check::equals("infinite_predictions", count(figures.infinite), Some(0.0)),
        Check::equals("repeated_ids", count(figures.rows.saturating_sub(figures.ids)), Some(0.0)),
        Check::equals("rows_of_other_models", count(figures.of_other_models), Some(0.0)),
        Check::equals("model_is_this_runs", facts.is_published.then_some(f64::from(u8::from(is_trained))), Some(1.0)),
        more_than_zero("spread", figures.std),
        Check::at_least(Fail, "r2", facts.r2.filter(|_| facts.is_published), settings.min_r2),
        Check::at_most(Fail, "prediction_psi", psi, PSI_FAILURE),
        Check::at_most(Warn, "prediction_psi", psi, PSI_WARNING),
        Check { expected: last.and_then(|last| last.mean), ..Check::at_most(Warn, "mean_shift", shift, MEAN_SHIFT) },
        Check::at_most(Warn, "drift", facts.max_drift, DRIFT),
        Check::at_least(Warn, "data_quality", facts.data_quality, settings.min_data_quality),
        Check::at_most(
            Warn,
            "rejected_share",
            rejects.map(|(rejected, read)| rejected / read),
            settings.max_reject_warning,
        ),
    ]
}

/// Predictions that are all the same tell nothing.
fn more_than_zero(check: &str, value: Option<f64>) -> Check {
    let passed = Some(value.is_some_and(|value| value > 0.0));
    Check { check: check.to_owned(), value, expected: None, limit: Some(0.0), severity: Severity::Fail, passed }
}

fn stability(last: &RunFigures, figures: &Figures) -> Option<f64> {
    let total: u64 = last.counts.iter().sum();
    let now = figures.in_last_bins.as_ref()?;
    if total == 0 || last.counts.len() != now.len() {
        return None;
    }
    let shares: Vec<f64> = last.counts.iter().map(|&count| count as f64 / total as f64).collect();
    Some(population_stability_index(&shares, now))
}

fn mean_shift(last: &RunFigures, figures: &Figures) -> Option<f64> {
    let std = last.std.filter(|std| *std > 0.0)?;
    Some((figures.mean? - last.mean?).abs() / std)
}

#[cfg(test)]
mod tests;
