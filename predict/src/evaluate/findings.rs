//! What came of the predictions, for the result, the log and `actuals.json`.

use std::collections::BTreeMap;

use error::{Error, Result};
use evaluation::{Interval, PairErrors, PairSums, r2_interval_of_groups};
use registry::pointer::FORMAT_VERSION;
use serde::Serialize;
use serde_json::{Value, json};
use storage::Location;
use telemetry::Summary;

use super::join::{Counts, Joined};
use super::side::{Side, SideColumns};
use super::tenths::Tenth;
use crate::report::{Outcomes, SliceOutcomes};
use crate::settings::EvaluateSettings;

/// The findings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    counts: Counts,
    errors: Option<PairErrors>,
    /// What R² would lie within for other rows of the same kind.
    r2_interval: Option<Interval>,
    tenths: Vec<Tenth>,
    rows_predicted: u64,
    actuals: u64,
    actuals_without_id: u64,
    /// The columns of slices and their values, those of the predictions first.
    slice_values: Vec<(String, Vec<String>)>,
    slices: BTreeMap<String, Vec<SliceErrors>>,
    /// R² that the model had when it was trained.
    pub(super) r2_when_trained: Option<f64>,
    /// The level of the intervals that the predictions have.
    pub(super) interval: Option<f64>,
}

/// The errors of the pairs that share a value.
#[derive(Debug, Serialize)]
struct SliceErrors {
    value: String,
    #[serde(skip)]
    rows: u64,
    #[serde(flatten)]
    errors: Option<PairErrors>,
}

impl Findings {
    /// What is known before the sides are joined.
    pub(super) fn of_sides(predictions: &Side, actuals: &Side) -> Self {
        let all = predictions.slices.iter().chain(&actuals.slices);
        Self {
            rows_predicted: predictions.rows,
            actuals: actuals.rows,
            actuals_without_id: actuals.without_id,
            slice_values: all.map(|slices| (slices.column.clone(), slices.values.clone())).collect(),
            ..Self::default()
        }
    }

    /// Takes in what the join came to; so many predictions have no id.
    pub(super) fn take(&mut self, joined: &Joined, tenths: Vec<Tenth>, predictions_without_id: u64) {
        self.counts = joined.counts;
        self.counts.without_actual += predictions_without_id;
        self.errors = joined.sums().errors();
        self.r2_interval = r2_interval_of_groups(&joined.groups);
        self.tenths = tenths;
        for ((column, values), sums) in self.slice_values.iter().zip(&joined.slices) {
            let of_value = |(value, sums): (&String, &PairSums)| SliceErrors {
                value: value.clone(),
                rows: sums.rows(),
                errors: sums.errors(),
            };
            let mut slices: Vec<SliceErrors> =
                values.iter().zip(sums).map(of_value).filter(|slice| slice.rows > 0).collect();
            slices.sort_by(|one, other| one.value.cmp(&other.value));
            self.slices.insert(column.clone(), slices);
        }
    }

    /// R² of all pairs.
    pub(super) fn r2(&self) -> Option<f64> {
        self.errors.and_then(|errors| errors.r2)
    }

    /// The share of actual values that lie within their intervals.
    fn coverage(&self) -> Option<f64> {
        self.errors.and_then(|errors| errors.coverage)
    }

    /// Predictions with a usable actual value.
    pub(super) fn rows_matched(&self) -> u64 {
        self.counts.matched
    }

    /// Says what was found, and what speaks against it.
    pub(super) fn log(&self, actuals: &Location) {
        let Counts { matched, without_actual, null_actuals, of_others } = self.counts;
        tracing::info!(
            rows_matched = matched,
            without_actual,
            null_actuals,
            of_others,
            "{matched} of {} predictions have an actual value; {without_actual} have none yet, {null_actuals} have one that is null, and \
             {of_others} actuals are of ids that were not predicted",
            self.rows_predicted
        );
        if matched == 0 {
            tracing::warn!("no prediction has an actual value in {actuals}: are these the ids of this run?");
        }
        if self.actuals_without_id > 0 {
            tracing::warn!("{} actuals have no id and are left out", self.actuals_without_id);
        }
        let short = |value: f64| (value * 1e4).round() / 1e4;
        match (self.r2(), self.r2_when_trained) {
            (Some(r2), Some(trained)) => {
                tracing::info!(
                    r2,
                    r2_when_trained = trained,
                    "R² as it came out is {}, when trained {}",
                    short(r2),
                    short(trained)
                );
            }
            (Some(r2), None) => tracing::info!(r2, "R² as it came out is {}", short(r2)),
            (None, _) if matched > 0 => tracing::warn!("the actual values are all the same, so R² is not defined"),
            (None, _) => {}
        }
        if let (Some(level), Some(coverage)) = (self.interval, self.coverage()) {
            tracing::info!(level, coverage, "{} of the actual values lie within intervals of {level}", short(coverage));
        }
    }

    /// The same for the report of the run.
    pub(super) fn outcomes(&self, now: &str) -> Outcomes {
        let of_slice = |slice: &SliceErrors| (slice.value.clone(), slice.errors);
        let of_column = |(column, slices): (&String, &Vec<SliceErrors>)| SliceOutcomes {
            column: column.clone(),
            values: slices.iter().map(of_slice).collect(),
        };
        Outcomes {
            evaluated_at: now.to_owned(),
            rows_predicted: self.rows_predicted,
            errors: self.errors,
            r2_interval: self.r2_interval,
            r2_when_trained: self.r2_when_trained,
            interval: self.interval,
            tenths: self.tenths.iter().map(|tenth| (tenth.from, tenth.to, tenth.errors)).collect(),
            slices: self.slices.iter().map(of_column).collect(),
        }
    }

    /// The fields of the result.
    pub(super) fn summarise(&self, summary: &mut Summary) {
        let of = |figure: fn(&PairErrors) -> f64| self.errors.as_ref().map(figure);
        summary.set("rows_matched", self.counts.matched).set("r2", self.r2());
        summary.set("rmse", of(|errors| errors.rmse)).set("mae", of(|errors| errors.mae));
        summary.set("bias", of(|errors| errors.bias));
        summary.set("interval", self.interval).set("coverage", self.coverage());
        summary.set("r2_when_trained", self.r2_when_trained);
    }

    /// `actuals.json`: what the result says, the counts of what was left out, and the errors by tenths and by slices.
    pub(super) fn record(
        &self,
        settings: &EvaluateSettings,
        actuals: &SideColumns,
        summary: &Summary,
        now: &str,
    ) -> Result<Vec<u8>> {
        let mut record = json!({ "format_version": FORMAT_VERSION });
        let of_result = [
            "run_id",
            "model_version",
            "model_run_id",
            "rows_predicted",
            "rows_matched",
            "r2",
            "rmse",
            "mae",
            "bias",
            "interval",
            "coverage",
            "r2_when_trained",
        ];
        for name in of_result {
            record[name] = summary.get(name).cloned().unwrap_or(Value::Null);
        }
        record["evaluated_at"] = now.into();
        record["r2_interval"] = json!(self.r2_interval);
        record["actuals"] = json!({
            "location": settings.actuals.to_string(),
            "id": actuals.id,
            "target": actuals.value,
            "rows": self.actuals,
            "rows_without_id": self.actuals_without_id,
            "rows_of_other_ids": self.counts.of_others,
        });
        record["predictions_without_actual"] = self.counts.without_actual.into();
        record["predictions_with_null_actual"] = self.counts.null_actuals.into();
        let defect = |error: serde_json::Error| Error::Defect(format!("actuals.json: {error}"));
        record["tenths"] = serde_json::to_value(&self.tenths).map_err(defect)?;
        record["slices"] = serde_json::to_value(&self.slices).map_err(defect)?;
        serde_json::to_vec_pretty(&record).map_err(defect)
    }
}
