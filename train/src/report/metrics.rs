//! `metrics.json`: every figure of the run for programs (ARCHITECTURE.md, Formats).

use std::collections::BTreeMap;

use error::{Error, Result};
use evaluation::{Coverage, Ends, Slice, SliceColumn};
use registry::pointer::FORMAT_VERSION;
use serde_json::{Map, Value, json};

use super::Subject;
use super::validation::validation;
use crate::evaluate::HeldOutIntervals;
use crate::fit::Calibration;
use crate::gate::Judgement;

/// `metrics.json`.
///
/// # Errors
/// [`Error::Defect`] where it cannot be written as JSON.
pub fn metrics(subject: &Subject<'_>) -> Result<Vec<u8>> {
    let Subject { plan, data, fitted, evaluation, judgement, findings, .. } = subject;
    let mut metrics = json!({
        "format_version": FORMAT_VERSION,
        "r2": evaluation.scores.r2,
        "rmse": evaluation.scores.rmse,
        "mae": evaluation.scores.mae,
        "rows_read": data.rows_read(),
        "rows_train": data.train.len(),
        "rows_test": data.test.len(),
        "rows_dropped": data.dropped,
        "data_quality_score": subject.quality,
        "warnings": subject.warnings,
        "gate": judgement.verdict,
        "r2_interval": judgement.interval,
        "slices": slices(&judgement.slices),
        "validation": validation(subject),
        "rounds": fitted.rounds,
        "target_scaled_by": (!fitted.scale.is_none()).then(|| fitted.scale.factor()),
        "learning_curve": { "metric": fitted.choice.metric, "values": fitted.choice.learning_curve },
        "members": fitted.choice.members,
        "trials": fitted.choice.trials,
        "tuning": fitted.choice.tuning,
        "choices": fitted.choice.decisions,
        "budget": fitted.choice.budget,
        "importance": findings.importance,
        "drift": findings.drift,
        "settings": plan.settings,
        "threads": plan.body.threads,
    });
    if let (Some(intervals), Some(calibration)) = (&evaluation.intervals, &fitted.choice.calibration) {
        metrics["intervals"] = of_intervals(intervals, calibration, judgement);
    }
    serde_json::to_vec_pretty(&metrics).map_err(|error| Error::Defect(format!("metrics.json: {error}")))
}

/// How often the held-out rows lay within their intervals.
fn of_intervals(intervals: &HeldOutIntervals, calibration: &Calibration, judgement: &Judgement) -> Value {
    let of_level = |(level, coverage): &(f64, Coverage)| with(coverage, &[("level", json!(level))]);
    let of_tenth =
        |(span, coverage): &(Ends, Coverage)| with(coverage, &[("from", json!(span.0)), ("to", json!(span.1))]);
    let columns = judgement.slices.iter().map(|slices| slices.column.clone());
    let of_column = |coverage: &BTreeMap<String, Coverage>| {
        coverage.iter().map(|(value, coverage)| with(coverage, &[("value", json!(value))])).collect::<Value>()
    };
    let slices: Map<_, _> = columns.zip(judgement.slice_coverage.iter().map(of_column)).collect();
    json!({
        "rows_calibrated": calibration.rows,
        "levels": intervals.by_level.iter().map(of_level).collect::<Value>(),
        "expected_mae": intervals.expected_mae,
        "level": intervals.level,
        "tenths": intervals.by_tenths.iter().map(of_tenth).collect::<Value>(),
        "slices": slices,
    })
}

/// A coverage as JSON, behind what it is of.
fn with(coverage: &Coverage, names: &[(&str, Value)]) -> Value {
    let mut object: Map<String, Value> =
        names.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let Coverage { rows, coverage, mean_width } = coverage;
    object.insert("rows".to_owned(), json!(rows));
    object.insert("coverage".to_owned(), json!(coverage));
    object.insert("mean_width".to_owned(), json!(mean_width));
    object.into()
}

fn slices(columns: &[SliceColumn]) -> Value {
    let of = |column: &SliceColumn| (column.column.clone(), column.slices.iter().map(slice).collect::<Value>());
    columns.iter().map(of).collect::<Map<_, _>>().into()
}

fn slice(slice: &Slice) -> Value {
    match &slice.scores {
        Ok(scores) => {
            json!({"value": slice.value, "rows": slice.rows, "r2": scores.r2, "rmse": scores.rmse, "mae": scores.mae})
        }
        Err(error) => json!({"value": slice.value, "rows": slice.rows, "r2": null, "reason": error.to_string()}),
    }
}
