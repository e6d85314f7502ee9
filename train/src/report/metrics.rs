//! `metrics.json`: every figure of the run for programs (ARCHITECTURE.md, Formats).

use error::{Error, Result};
use evaluation::{Slice, SliceColumn};
use registry::pointer::FORMAT_VERSION;
use serde_json::{Map, Value, json};

use super::Subject;
use super::validation::validation;

/// `metrics.json`.
///
/// # Errors
/// [`Error::Defect`] where it cannot be written as JSON.
pub fn metrics(subject: &Subject<'_>) -> Result<Vec<u8>> {
    let Subject { plan, data, fitted, evaluation, judgement, findings, .. } = subject;
    let metrics = json!({
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
    serde_json::to_vec_pretty(&metrics).map_err(|error| Error::Defect(format!("metrics.json: {error}")))
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
