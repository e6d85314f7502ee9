//! The records of a run: what it was asked, and what it did: plan first, manifest after the parts, the pointer last.

use std::sync::Arc;

use error::{Error, Result};
use features::quality::{DRIFT_WARNING, FeatureTally, data_quality_score};
use machine::{RunId, now_rfc3339};
use registry::ModelRun;
use registry::pointer::FORMAT_VERSION;
use serde::{Deserialize, Serialize};
use serde_json::json;
use storage::{Condition, ObjectMeta, Store, StoreError};
use table::Dataset;
use telemetry::Outcome;

use crate::load::Model;
use crate::read::PART_ROWS;
use crate::settings::{Duplicates, Settings};
use crate::write::{PartRecord, RejectCounts};

/// Writers of the output's pointer that one move may lose to.
const ATTEMPTS: usize = 32;

/// What a run was asked, the model that it resolved and the input that it found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Layout of this file.
    pub format_version: u32,
    /// The run.
    pub run_id: String,
    /// When it first began.
    pub started_at: String,
    /// Folder of the model, relative to `<models>/<name>/`.
    pub model: String,
    /// Every setting that bears on the result.
    pub settings: serde_json::Value,
    /// Rows of a part.
    pub part_rows: u64,
    /// The input's objects.
    pub input: Vec<InputObject>,
}

/// One object of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputObject {
    /// Its key below the input's location.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// ETag, or size and time of a local file.
    pub version: String,
    /// Rows, where they are known before reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// Every setting that bears on the result, so that a repeated run id can be told from another run.
#[must_use]
pub fn identity(settings: &Settings) -> serde_json::Value {
    let mut identity = json!({
        "input": settings.input.to_string(),
        "models": settings.store.models.to_string(),
        "model_name": settings.store.model_name,
        "model_version": settings.model_version.to_string(),
        "duplicates": if settings.duplicates == Duplicates::Reject { "reject" } else { "allow" },
        "max_reject_fraction": settings.max_reject_fraction.0,
        "max_drift": settings.max_drift,
        "columns": settings.columns,
        "format": settings.format.extension(),
    });
    settings.csv.identify(&mut identity);
    identity
}

/// The objects of the input as the plan lists them.
#[must_use]
pub fn input_objects(dataset: &Dataset) -> Vec<InputObject> {
    let object = |object: &table::DataObject| InputObject {
        key: object.meta.key.clone(),
        size: object.meta.size,
        version: object.meta.version.0.clone(),
        rows: object.parquet.as_ref().map(table::parquet::ParquetFile::rows),
    };
    let empty = |meta: &ObjectMeta| InputObject {
        key: meta.key.clone(),
        size: meta.size,
        version: meta.version.0.clone(),
        rows: None,
    };
    let objects = dataset.objects.iter().map(object);
    let mut listed: Vec<InputObject> = objects.chain(dataset.empty_objects.iter().map(empty)).collect();
    listed.sort_by(|one, other| one.key.cmp(&other.key));
    listed
}

/// The records of one run in the output.
#[derive(Debug, Clone)]
pub struct RunRecords {
    /// The output.
    pub store: Arc<dyn Store>,
    /// The run.
    pub run_id: RunId,
}

impl RunRecords {
    /// Key of one of the run's records.
    #[must_use]
    pub fn key(&self, file: &str) -> String {
        format!("runs/{}/{file}", self.run_id)
    }

    /// Where a key lies, for messages.
    #[must_use]
    pub fn location_of(&self, key: &str) -> String {
        format!("{}/{key}", self.store.root().trim_end_matches('/'))
    }

    /// The result of this run id, if it is complete: its manifest stands and it ended well.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn finished(&self) -> Result<Option<Outcome>> {
        let Some(result) = self.get("result.json").await? else { return Ok(None) };
        let outcome = Outcome::from_json(&result)?;
        if outcome.exit_code() != 0 || self.store.head(&self.key("manifest.json")).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(outcome))
    }

    /// The plan that this run id began with.
    ///
    /// # Errors
    /// [`Error::Data`] where it is damaged; storage errors as they are.
    pub async fn plan(&self) -> Result<Option<Plan>> {
        let Some(bytes) = self.get("plan.json").await? else { return Ok(None) };
        let location = self.location_of(&self.key("plan.json"));
        let plan = serde_json::from_slice(&bytes);
        plan.map(Some).map_err(|error| Error::Data(format!("{location} is damaged: {error}; use another run id")))
    }

    /// Writes the plan, unless another attempt of the same run was faster: then that one's plan holds.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn begin(&self, plan: Plan) -> Result<Plan> {
        let json = serde_json::to_vec_pretty(&plan).map_err(|error| Error::Defect(error.to_string()))?;
        match self.store.put_if(&self.key("plan.json"), json.into(), &Condition::Absent).await {
            Ok(_) => Ok(plan),
            Err(StoreError::Conflict(_)) => Ok(self.plan().await?.unwrap_or(plan)),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes one of the run's records.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn put(&self, file: &str, content: Vec<u8>) -> Result<()> {
        self.store.put(&self.key(file), content.into()).await?;
        Ok(())
    }

    /// Writes the result of a failed attempt, unless another attempt of the same run has completed it meanwhile.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn put_failure(&self, content: Vec<u8>) -> Result<()> {
        let key = self.key("result.json");
        for _ in 0..ATTEMPTS {
            let condition = match self.store.head(&key).await? {
                Some(current) => Condition::Unchanged(current.version),
                None => Condition::Absent,
            };
            if self.finished().await?.is_some() {
                return Ok(());
            }
            match self.store.put_if(&key, content.clone().into(), &condition).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Storage(format!("{} is written by others all the time", self.location_of(&key))))
    }

    async fn get(&self, file: &str) -> Result<Option<bytes::Bytes>> {
        match self.store.get(&self.key(file)).await {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Points the output's `latest.json` at this run, which predicted `rows` rows.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn publish(&self, rows: u64, model: &ModelRun) -> Result<()> {
        let pointer = json!({
            "format_version": FORMAT_VERSION,
            "run_id": self.run_id,
            "path": format!("predictions/run_id={}", self.run_id),
            "model_version": model.version,
            "model_run_id": model.run_id,
            "rows": rows,
            "published_at": now_rfc3339(),
        });
        let json = serde_json::to_vec_pretty(&pointer).map_err(|error| Error::Defect(error.to_string()))?;
        for _ in 0..ATTEMPTS {
            let condition = match self.store.head("latest.json").await? {
                Some(current) => Condition::Unchanged(current.version),
                None => Condition::Absent,
            };
            match self.store.put_if("latest.json", json.clone().into(), &condition).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Storage(format!("{} is moved by others all the time", self.location_of("latest.json"))))
    }
}

/// The sums over all parts.
#[derive(Debug, Default)]
pub struct Totals {
    /// Input rows.
    pub rows_read: u64,
    /// Rejected rows by reason.
    pub reasons: RejectCounts,
    /// What the cells of each feature were like.
    pub tallies: Vec<FeatureTally>,
    /// The records of the parts, in order.
    pub parts: Vec<PartRecord>,
}

/// One feature's quality and drift.
#[derive(Debug, Clone, Serialize)]
pub struct FeatureReport {
    name: String,
    missing: f64,
    infinite: f64,
    unseen: f64,
    out_of_range: f64,
    psi: f64,
}

impl Totals {
    /// Adds up the parts.
    #[must_use]
    pub fn of(mut parts: Vec<PartRecord>, new_tallies: Vec<FeatureTally>) -> Self {
        parts.sort_by_key(|part| part.index);
        let mut totals = Self { tallies: new_tallies, ..Self::default() };
        for part in &parts {
            totals.rows_read += part.rows_read;
            totals.reasons.add(&part.reasons);
            for (tally, more) in totals.tallies.iter_mut().zip(&part.tallies) {
                tally.add(more);
            }
        }
        totals.parts = parts;
        totals
    }

    /// Rows with a prediction.
    #[must_use]
    pub fn rows_predicted(&self) -> u64 {
        self.rows_read - self.reasons.total()
    }

    /// Share of good rows and cells.
    #[must_use]
    pub fn data_quality_score(&self, model: &Model) -> f64 {
        let features = model.metadata.features.iter().zip(&self.tallies);
        data_quality_score(self.rows_predicted(), self.rows_read, features, true)
    }

    /// Quality and drift of each feature.
    #[must_use]
    pub fn features(&self, model: &Model) -> Vec<FeatureReport> {
        let share = |count: u64, rows: u64| if rows == 0 { 0.0 } else { count as f64 / rows as f64 };
        let metadata = &model.metadata;
        let triples = metadata.features.iter().zip(&metadata.statistics).zip(&self.tallies);
        let report = |((feature, statistics), tally): ((&features::encode::Feature, _), &FeatureTally)| FeatureReport {
            name: feature.name.clone(),
            missing: share(tally.missing, tally.rows),
            infinite: share(tally.infinite, tally.rows),
            unseen: share(tally.unseen, tally.rows),
            out_of_range: share(tally.out_of_range, tally.rows),
            psi: tally.drift(statistics),
        };
        triples.map(report).collect()
    }
}

/// The feature that moved most since training.
#[must_use]
pub fn most_drifted(features: &[FeatureReport]) -> Option<(&str, f64)> {
    let most = features.iter().max_by(|left, right| left.psi.total_cmp(&right.psi))?;
    Some((most.name.as_str(), most.psi))
}

/// Names every feature that moved enough to matter.
pub fn warn_of_drift(features: &[FeatureReport]) {
    for feature in features.iter().filter(|feature| feature.psi > DRIFT_WARNING) {
        tracing::warn!(
            feature = feature.name,
            psi = feature.psi,
            "\"{}\" has drifted since training: population stability index {:.3}, above {DRIFT_WARNING}",
            feature.name,
            feature.psi
        );
    }
}

/// `manifest.json`: the same bytes for the same run, whichever attempt writes it.
///
/// # Errors
/// [`Error::Defect`] where it cannot be written as JSON.
pub fn manifest(plan: &Plan, model: &Model, totals: &Totals, features: &[FeatureReport]) -> Result<Vec<u8>> {
    let predictions: Vec<_> = totals.parts.iter().filter_map(|part| part.predictions.as_ref()).collect();
    let rejected: Vec<_> = totals.parts.iter().filter_map(|part| part.rejected.as_ref()).collect();
    let manifest = json!({
        "format_version": FORMAT_VERSION,
        "run_id": plan.run_id,
        "started_at": plan.started_at,
        "model": {
            "name": model.metadata.model_name,
            "version": model.run.version,
            "run_id": model.run.run_id,
            "sha256": model.metadata.model_sha256,
        },
        "settings": plan.settings,
        "input": plan.input,
        "part_rows": PART_ROWS,
        "rows_read": totals.rows_read,
        "rows_predicted": totals.rows_predicted(),
        "rows_rejected": totals.reasons.total(),
        "rejected_by_reason": totals.reasons,
        "parts": predictions,
        "rejected_parts": rejected,
        "features": features,
        "data_quality_score": totals.data_quality_score(model),
        "max_drift": most_drifted(features).map(|(_, psi)| psi),
    });
    serde_json::to_vec_pretty(&manifest).map_err(|error| Error::Defect(format!("manifest.json: {error}")))
}
