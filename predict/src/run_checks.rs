//! Step 8: whether what was scored may be published.

use attempt::RunFolder;
use error::{Error, Result};
use telemetry::{Metric, Summary};

use crate::load::Model;
use crate::manifest::{self, Totals};
use crate::plan::PredictPlan;
use crate::settings::Settings;
use crate::slices::RunSlices;
use crate::write::UnreadableColumn;
use app::Context;

/// A run all of whose parts are scored.
#[derive(Debug, Clone, Copy)]
pub struct ScoredRun<'a> {
    /// What was asked for.
    pub settings: &'a Settings,
    /// The process.
    pub context: &'a Context,
    /// Where its records go.
    pub folder: &'a RunFolder,
    /// What it began with.
    pub plan: &'a PredictPlan,
    /// What scored it.
    pub model: &'a Model,
    /// The columns by whose values the rows are told apart.
    pub slices: &'a RunSlices,
    /// What came of all parts.
    pub totals: &'a Totals,
}

/// What a run is measured by.
pub type RunMetrics = Vec<(Metric, f64)>;

/// Checks the run as a whole; gives its manifest and metrics if nothing speaks against it. What is known of the run goes into
/// `summary` in any case; the metrics of a run that is refused are told here.
///
/// # Errors
/// [`Error::Data`] where too many rows were rejected or a feature drifted too far.
pub fn check_run(run: &ScoredRun<'_>, summary: &mut Summary) -> Result<(Vec<u8>, RunMetrics)> {
    let ScoredRun { settings, context, folder, plan, model, slices, totals } = *run;
    let features = totals.features(model);
    let quality = totals.data_quality_score(model);
    let drift = manifest::most_drifted(&features);
    summary.set("rows_read", totals.rows_read).set("rows_predicted", totals.rows_predicted());
    summary.set("rows_rejected", totals.reasons.total());
    summary.set("parts", totals.parts.len());
    summary.set("data_quality_score", quality);
    summary.set("max_drift", drift.map(|(_, psi)| psi)).set("max_drift_feature", drift.map(|(name, _)| name));
    summary.set("expected_mae", totals.expected_mae(model));
    summary.set("mean_prediction", totals.prediction_summary(model).mean);
    let metrics = run_metrics(run, quality, drift.map(|(_, psi)| psi));
    manifest::warn_of_drift(&features);
    let unreadable = UnreadableColumn::most_in_words(&totals.unreadable, settings.csv_format().cells);
    if let Some(unreadable) = &unreadable {
        tracing::warn!("{unreadable}; rows with such cells are rejected");
    }
    let verdict = refuse_too_many_rejects(settings, totals, unreadable.as_deref(), folder)
        .and_then(|()| refuse_drift(settings, drift));
    match verdict {
        Ok(()) => Ok((manifest::manifest(plan, (model, slices), totals, &features)?, metrics)),
        Err(refused) => {
            context.telemetry.emit(&metrics);
            Err(refused)
        }
    }
}

fn run_metrics(run: &ScoredRun<'_>, quality: f64, drift: Option<f64>) -> RunMetrics {
    let ScoredRun { context, model, totals, .. } = *run;
    let mut metrics = vec![
        (Metric::RecordsProcessed, totals.rows_read as f64),
        (Metric::PredictionCount, totals.rows_predicted() as f64),
        (Metric::DataQualityScore, quality),
        (Metric::MaxDrift, drift.unwrap_or(f64::NAN)),
        (Metric::ExpectedError, totals.expected_mae(model).unwrap_or(f64::NAN)),
    ];
    metrics.extend(memory_metrics(context));
    metrics
}

/// What a task took.
#[must_use]
pub fn memory_metrics(context: &Context) -> [(Metric, f64); 2] {
    let peak = machine::usage::peak_memory().unwrap_or_default();
    let utilization = machine::usage::memory_utilization(peak, context.limits.memory_bytes.value);
    [(Metric::PeakMemory, peak as f64), (Metric::MemoryUtilization, utilization.unwrap_or(f64::NAN))]
}

/// `unreadable` is a sentence about cells that could not be read, where there are any.
fn refuse_too_many_rejects(
    settings: &Settings,
    totals: &Totals,
    unreadable: Option<&str>,
    folder: &RunFolder,
) -> Result<()> {
    let (rejected, read) = (totals.reasons.total(), totals.rows_read);
    if read == 0 {
        return Err(Error::Data(format!("{} has a header but no rows: there is nothing to score", settings.input)));
    }
    let fraction = rejected as f64 / read as f64;
    if fraction <= settings.max_reject_fraction.0 {
        return Ok(());
    }
    Err(Error::Data(format!(
        "{rejected} of {read} rows were rejected ({} without id, {} repeated ids, {} unreadable values), more than \
         --max-reject-fraction (MAX_REJECT_FRACTION) {} allows: nothing was published; the rows are listed in {}{}",
        totals.reasons.null_id,
        totals.reasons.duplicate_id,
        totals.reasons.bad_value,
        settings.max_reject_fraction.0,
        format_args!("{}/rejected/run_id={}", folder.store().root().trim_end_matches('/'), folder.run_id()),
        unreadable.map(|unreadable| format!("; {unreadable}")).unwrap_or_default()
    )))
}

fn refuse_drift(settings: &Settings, drift: Option<(&str, f64)>) -> Result<()> {
    match (settings.max_drift, drift) {
        (Some(most), Some((feature, psi))) if psi > most => Err(Error::Data(format!(
            "feature \"{feature}\" has drifted since training: population stability index {psi:.3}, above --max-drift \
             (MAX_DRIFT) {most}: nothing was published; look at the data, or train again"
        ))),
        _ => Ok(()),
    }
}
