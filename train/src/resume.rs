//! What a run id did before: nothing, a part of the work, or all of it. A repeated run id must be asked the same.

use error::{Error, Result};
use features::spec::Spec;
use serde_json::{Value, json};
use telemetry::Outcome;

use crate::publish::{RunFolder, TrainPlan, publish_pointers};
use crate::read::{self, TrainingData};
use crate::run::Run;
use crate::settings::Settings;

/// What a run id did before.
#[derive(Debug)]
pub enum Earlier {
    /// Nothing that counts.
    Nothing,
    /// It began with this plan and did not end.
    UnderWay(TrainPlan),
    /// It ended with this, and there is nothing left to do.
    Complete(Outcome),
}

/// Looks into the run's folder. A run that was stopped just before its pointers moved is completed.
///
/// # Errors
/// [`Error::Setting`] where it was asked something else before; storage errors as they are.
pub async fn earlier(run: &Run, spec: &Spec) -> Result<Earlier> {
    let (settings, folder) = (&run.settings, &run.folder);
    let identity = identity(settings, spec);
    let (finished, plan) = (folder.finished().await?, folder.plan().await?);
    if plan.as_ref().is_some_and(|plan| plan.settings != identity) {
        return Err(other_settings(folder));
    }
    match (finished, plan) {
        (Some(outcome), _) => finish_again(settings, folder, outcome, &identity).await.map(Earlier::Complete),
        (None, Some(plan)) => Ok(Earlier::UnderWay(plan)),
        (None, None) => Ok(Earlier::Nothing),
    }
}

/// A run id that is complete ends with what it came to; if it was stopped just before its pointers moved, they move now.
async fn finish_again(settings: &Settings, folder: &RunFolder, outcome: Outcome, identity: &Value) -> Result<Outcome> {
    if let Some(metrics) = folder.get("metrics.json").await? {
        let metrics: Value = serde_json::from_slice(&metrics)
            .map_err(|error| Error::Model(format!("{}/metrics.json is damaged: {error}", folder.location())))?;
        if metrics.get("settings").is_some_and(|settings| settings != identity) {
            return Err(other_settings(folder));
        }
    }
    refuse_replaced_input(settings, folder).await?;
    if folder.is_under_way().await? {
        if outcome.exit_code() == 0 {
            publish_pointers(folder, &outcome).await?;
        }
        folder.end().await?;
    }
    tracing::info!("this run is complete already: nothing to do");
    Ok(outcome)
}

/// Every setting that bears on the result, so that a repeated run id can be told from another run.
#[must_use]
pub fn identity(settings: &Settings, spec: &Spec) -> Value {
    let mut identity = json!({
        "train_data": settings.train_data.to_string(),
        "test_data": settings.test_data.as_ref().map(ToString::to_string),
        "test_fraction": settings.test_fraction.0,
        "spec": spec,
        "min_r2": settings.min_r2,
        "max_r2_drop": settings.max_r2_drop,
        "slice": settings.slice,
        "min_slice_r2": settings.min_slice_r2,
        "min_test_rows": settings.min_test_rows.0,
        "strict": settings.strict,
        "param": settings.parameters().collect::<Vec<_>>(),
        "rounds": settings.rounds,
        "tune": settings.tune,
        "time_budget": settings.time_budget,
        "seed": settings.seed,
    });
    settings.csv.identify(&mut identity);
    identity
}

fn other_settings(folder: &RunFolder) -> Error {
    Error::Setting(format!(
        "--run-id (RUN_ID) {} began with other settings ({}): use the same settings to continue it, or another run id",
        folder.run().run_id,
        folder.location()
    ))
}

/// Refuses rows that are not those which the run began with.
///
/// # Errors
/// [`Error::Data`].
pub fn refuse_other_input(plan: &TrainPlan, data: &TrainingData, folder: &RunFolder) -> Result<()> {
    if plan.objects_sha256 == data.objects_sha256 { Ok(()) } else { Err(other_input(folder)) }
}

/// A complete run needs its input no more; but where there is another one now, its result is not the one asked for.
async fn refuse_replaced_input(settings: &Settings, folder: &RunFolder) -> Result<()> {
    let Some(metadata) = folder.get("metadata.json").await? else { return Ok(()) };
    let metadata: Value = serde_json::from_slice(&metadata)
        .map_err(|error| Error::Model(format!("{}/metadata.json is damaged: {error}", folder.location())))?;
    let mut objects = Vec::new();
    for location in std::iter::once(&settings.train_data).chain(&settings.test_data) {
        let Ok(data) = storage::open_data(location).await else { return Ok(()) };
        objects.extend(data.objects);
    }
    let is_same = metadata["data"]["objects_sha256"] == read::fingerprint(objects.iter());
    if is_same { Ok(()) } else { Err(other_input(folder)) }
}

fn other_input(folder: &RunFolder) -> Error {
    Error::Data(format!(
        "the input changed since run {} began ({}): start a run with another run id",
        folder.run().run_id,
        folder.location()
    ))
}
