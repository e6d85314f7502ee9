//! Step 9: what makes written parts a result: the manifest, the result, the pointer.

use error::Result;
use machine::RunId;
use registry::ModelRun;
use telemetry::{Outcome, Summary};

use crate::manifest::RunRecords;
use crate::settings::Settings;
use crate::write::PartWriter;

/// What makes the written parts a result.
#[derive(Debug)]
pub struct Publication {
    /// The bytes of `manifest.json`.
    pub manifest: Vec<u8>,
    /// Rows with a prediction.
    pub rows: u64,
    /// The model that scored them.
    pub model: ModelRun,
    /// What wrote the parts.
    pub writer: PartWriter,
}

/// The manifest, the result, the pointer; then the records of the parts are needed no more.
///
/// # Errors
/// Storage errors as they are.
pub async fn publish(
    settings: &Settings,
    records: &RunRecords,
    publication: Publication,
    summary: &Summary,
) -> Result<Outcome> {
    records.put("manifest.json", publication.manifest).await?;
    let outcome = summary.succeeded();
    records.put("result.json", line(&outcome)).await?;
    records.publish(publication.rows, &publication.model).await?;
    publication.writer.forget().await?;
    tracing::info!(rows = publication.rows, "complete: {}", predictions_location(settings, &records.run_id));
    Ok(outcome)
}

/// Where a run's predictions lie.
#[must_use]
pub fn predictions_location(settings: &Settings, run_id: &RunId) -> String {
    format!("{}/predictions/run_id={run_id}", settings.output.to_string().trim_end_matches('/'))
}

/// The content of `result.json`.
#[must_use]
pub fn line(outcome: &Outcome) -> Vec<u8> {
    format!("{}\n", outcome.json()).into_bytes()
}
