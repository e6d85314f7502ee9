//! Checks a run's predictions: one aggregate query, the run's manifest and the last run's figures become rows of `qa`.
//!
//! `_qa.json` decides: it is written once, and everything else is made from it. A run whose checks failed leaves all of that behind
//! and then fails.

mod checks;
mod history;
mod measure;
mod report;
mod samples;

use machine::now_rfc3339;
use serde_json::{Value, json};

use crate::context::Invocation;
use crate::failure::{Failure, Kind, Result};
use crate::objects;
use crate::tables::{Partitioned, add_partition};
use checks::{Check, Facts};
use report::Report;

pub use checks::Severity;
pub use history::{History, RunFigures};
pub use report::{Report as QaReport, key as report_key};

/// Checks the predictions and returns the verdict.
///
/// # Errors
/// `QualityFailed` after everything is written; `BadSettings`, `QueryFailed`, `OutOfTime`.
pub async fn run(invocation: &Invocation<'_>) -> Result<Value> {
    let store = invocation.bucket.as_ref();
    let key = report::key(&invocation.event.run_id);
    let report = match objects::read(store, &key).await? {
        Some(report) => report,
        None => objects::put_once(store, &key, examine(invocation).await?).await?,
    };
    conclude(invocation, &report).await?;
    if report.passed {
        return Ok(json!({
            "passed": true,
            "checks": report.checks.len(),
            "warnings": report.failed(Severity::Warn),
            "location": location(invocation),
        }));
    }
    let failed = report.failed(Severity::Fail).join("; ");
    let place = location(invocation);
    let advice = "nothing is published; look at the checks there, mend the data or the model, and start a new run";
    Err(Failure::new(Kind::QualityFailed, format!("{failed} ({place}): {advice}")))
}

fn location(invocation: &Invocation<'_>) -> String {
    invocation.settings.location_of(&format!("qa/run_id={}/", invocation.event.run_id))
}

/// Everything up to the report.
async fn examine(invocation: &Invocation<'_>) -> Result<Report> {
    let store = invocation.bucket.as_ref();
    let facts = Facts::read(invocation).await?;
    let history = History::read(store).await?;
    let last = history.last_passed(&facts.run_id).cloned();
    let table = measure::Predictions::find(invocation).await?;
    let measured = table.measure(invocation, last.as_ref());
    let sampled = table.sample(invocation);
    let (figures, sample) = futures::future::try_join(measured, sampled).await?;
    samples::write(store, &facts.run_id, &sample).await?;
    let checks = checks::check(&facts, &figures, last.as_ref(), invocation.settings);
    Ok(Report::of(facts, figures, checks, last.map(|last| last.run_id), now_rfc3339()))
}

/// What follows from the report, the same however often it is done.
async fn conclude(invocation: &Invocation<'_>, report: &Report) -> Result<()> {
    let store = invocation.bucket.as_ref();
    let run_id = &invocation.event.run_id;
    store.put(&format!("qa/run_id={run_id}/qa.parquet"), report.to_parquet()?).await?;
    let qa = Partitioned { name: "qa", columns: &Check::COLUMNS };
    let samples = Partitioned { name: "qa_samples", columns: &samples::COLUMNS };
    let (qa, samples) =
        futures::future::join(add_partition(invocation, &qa), add_partition(invocation, &samples)).await;
    qa.and(samples)?;
    History::add(store, report.figures()).await
}
