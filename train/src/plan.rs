//! What a run is asked to do, and what its run id did before: nothing, a part of the work, or all of it. A repeated run id must be
//! asked the same.

use attempt::{Earlier, Layout, Plan, RunFolder};
use error::{Error, Result};
use registry::{ModelRun, ModelStore};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::TrainConfig;
use crate::plan_memory::TrainingMode;
use crate::read::{self, TrainingData};

/// The program that this is, for plans.
pub const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where a run of `train` keeps what in its folder. Results of releases that named no files were complete with a gate.
const LAYOUT: Layout = Layout {
    plan: "_checkpoint/plan.json",
    scratch: "_checkpoint",
    was_complete: |outcome| outcome.gate_passed().is_some(),
};

/// What a run was asked to do with which input; a repeated run id must be asked the same.
pub type TrainPlan = Plan<TrainBody>;

/// What only `train` knows of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainBody {
    /// SHA-256 over names, sizes and versions of the input's objects.
    pub objects_sha256: String,
    /// Threads that XGBoost sums with: another number would give other last bits.
    pub threads: usize,
    /// How rows are read: another way, or another sample, would give another model. A retry with more memory keeps it.
    #[serde(default)]
    pub reading: TrainingMode,
    /// How many tasks learn together, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
}

/// The folder of a run in the model store.
#[must_use]
pub fn folder(models: &ModelStore, run: &ModelRun) -> RunFolder {
    RunFolder::new(models.shared_store(), models.key(&run.path()), run.run_id.clone(), LAYOUT)
}

/// What a run id did before.
///
/// # Errors
/// [`Error::Setting`] where the run was asked something else before, or by another version; [`Error::Data`] where its input is
/// not there any more as it was; storage errors as they are.
pub async fn earlier(folder: &RunFolder, config: &TrainConfig) -> Result<Earlier<TrainBody>> {
    let earlier: Earlier<TrainBody> = folder.earlier(&config.identity, PROGRAM_VERSION).await?;
    if let Earlier::UnderWay(plan) | Earlier::Decided { plan: Some(plan), .. } = &earlier {
        folder.refuse_other_shards(plan.body.shards, config.shard)?;
    }
    if let Earlier::Decided { .. } = &earlier {
        refuse_settings_of_another_run(folder, &config.identity).await?;
        refuse_replaced_input(config, folder).await?;
        tracing::info!("this run is complete already: nothing to do");
    }
    Ok(earlier)
}

/// Refuses rows that are not those which the run began with.
///
/// # Errors
/// [`Error::Data`].
pub fn refuse_other_input(plan: &TrainPlan, data: &TrainingData, folder: &RunFolder) -> Result<()> {
    if plan.body.objects_sha256 == data.objects_sha256 { Ok(()) } else { Err(other_input(folder)) }
}

/// The plan of a complete run is gone: its settings stand in `metrics.json`.
async fn refuse_settings_of_another_run(folder: &RunFolder, identity: &Value) -> Result<()> {
    let Some(metrics) = read_json(folder, "metrics.json").await? else { return Ok(()) };
    let Some(began) = metrics.get("settings") else { return Ok(()) };
    attempt::refuse_other_settings(began, identity, &folder.location_of("metrics.json"))
}

/// A complete run needs its input no more; but where there is another one now, its result is not the one asked for.
async fn refuse_replaced_input(config: &TrainConfig, folder: &RunFolder) -> Result<()> {
    let Some(metadata) = read_json(folder, "metadata.json").await? else { return Ok(()) };
    let mut objects = Vec::new();
    for location in std::iter::once(&config.train_data).chain(&config.test_data) {
        let Ok(data) = storage::open_data(location).await else { return Ok(()) };
        objects.extend(data.objects);
    }
    let is_same = metadata["data"]["objects_sha256"] == read::fingerprint(objects.iter());
    if is_same { Ok(()) } else { Err(other_input(folder)) }
}

async fn read_json(folder: &RunFolder, file: &str) -> Result<Option<Value>> {
    let Some(bytes) = folder.get_json(file).await? else { return Ok(None) };
    let damaged = |error| Error::Model(format!("{} is damaged: {error}", folder.location_of(file)));
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

fn other_input(folder: &RunFolder) -> Error {
    Error::Data(format!(
        "the input changed since run {} began ({}): start a run with another run id",
        folder.run_id(),
        folder.location()
    ))
}
