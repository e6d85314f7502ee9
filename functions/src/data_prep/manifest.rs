//! What a run of data-prep leaves behind for the next attempt and the next run.

use machine::{RunId, now_rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::Store;

use super::actuals::Actuals;
use super::cache::Entry;
use super::parts::{CUSTOMERS, Part, Prepared, TEST, TRAIN};
use crate::failure::{Failure, Result};
use crate::objects;

/// The layout of these files.
const FORMAT_VERSION: u32 = 1;

/// What every attempt of a run has to agree on: when it began, which is the date that SELECTs see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    format_version: u32,
    run_id: String,
    /// RFC 3339, UTC.
    pub(super) started_at: String,
}

/// The prepared data of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    format_version: u32,
    pub(super) run_id: String,
    started_at: String,
    pub(super) created_at: String,
    sql_sha256: String,
    reused_from: Option<String>,
    bytes_scanned: u64,
    pub(super) parts: Vec<Part>,
    /// What happened to the customers of an earlier run. It is this run's own: no other uses it again.
    #[serde(default)]
    actuals: Option<Actuals>,
}

/// The key of a run's manifest.
pub(super) fn key(run_id: &RunId) -> String {
    format!("prepared/{run_id}/manifest.json")
}

impl Plan {
    /// The plan of the first attempt, which holds for all.
    pub(super) async fn begin(store: &dyn Store, run_id: &RunId) -> Result<Self> {
        let plan = Self { format_version: FORMAT_VERSION, run_id: run_id.to_string(), started_at: now_rfc3339() };
        objects::put_once(store, &format!("prepared/{run_id}/plan.json"), plan).await
    }
}

impl Manifest {
    /// The manifest of data that was just written.
    pub(super) fn of(plan: &Plan, prepared: Prepared, sql_sha256: String) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            run_id: plan.run_id.clone(),
            started_at: plan.started_at.clone(),
            created_at: now_rfc3339(),
            sql_sha256,
            reused_from: None,
            bytes_scanned: prepared.bytes_scanned,
            parts: prepared.parts,
            actuals: None,
        }
    }

    /// The manifest of data that an earlier run wrote.
    pub(super) fn reused(plan: &Plan, entry: Entry) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            run_id: plan.run_id.clone(),
            started_at: plan.started_at.clone(),
            created_at: now_rfc3339(),
            sql_sha256: entry.sql_sha256,
            reused_from: Some(entry.run_id),
            bytes_scanned: 0,
            parts: entry.parts,
            actuals: None,
        }
    }

    /// The same with what happened since an earlier run, for which so many bytes were scanned.
    pub(super) fn with_actuals(mut self, actuals: Option<Actuals>, bytes_scanned: u64) -> Self {
        self.bytes_scanned += bytes_scanned;
        Self { actuals, ..self }
    }

    /// What the cache may say of the data, if it is this run's own.
    pub(super) fn cache_entry(&self) -> Option<Entry> {
        let entry = Entry {
            format_version: FORMAT_VERSION,
            run_id: self.run_id.clone(),
            created_at: self.created_at.clone(),
            sql_sha256: self.sql_sha256.clone(),
            parts: self.parts.clone(),
        };
        self.reused_from.is_none().then_some(entry)
    }

    /// What the function returns.
    pub(super) fn answer(&self, bucket: &str) -> Result<Value> {
        let part = |name: &str| self.parts.iter().find(|part| part.name == name);
        let needed = |name: &str| {
            let missing =
                || Failure::settings(format!("prepared/{}/manifest.json has no {name}: remove it", self.run_id));
            part(name).ok_or_else(missing)
        };
        let location = |part: &Part| format!("s3://{bucket}/{}/", part.prefix);
        let (train, customers, test) = (needed(TRAIN)?, needed(CUSTOMERS)?, part(TEST));
        Ok(json!({
            "train_data": location(train),
            "test_data": test.map(location).unwrap_or_default(),
            "input_data": location(customers),
            "rows": {"train": train.rows, "test": test.map_or(0, |test| test.rows), "customers": customers.rows},
            "actuals": self.actuals.as_ref().map(|actuals| json!({"run_id": actuals.run_id, "location": location(&actuals.part)})),
            "bytes_scanned": self.bytes_scanned,
            "reused_from": self.reused_from,
        }))
    }
}
