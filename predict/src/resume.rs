//! Step 1: what an earlier attempt of the same run id left, and whether it may be continued.

use std::collections::BTreeSet;
use std::sync::Arc;

use error::{Error, Result};
use registry::{ModelRun, ModelStore, resolve};
use serde_json::Value;
use storage::{Location, ObjectMeta, open_data};
use table::Dataset;
use telemetry::Outcome;

use crate::manifest::{InputObject, Plan, RunRecords, identity, input_objects};
use crate::settings::Settings;
use crate::write::PartWriter;

/// Which model: the one that this run id resolved before, or what the settings mean now.
///
/// # Errors
/// [`Error::Model`] where none is published.
pub async fn model_run(settings: &Settings, models: &ModelStore, earlier: Option<&Plan>) -> Result<ModelRun> {
    if let Some(plan) = earlier {
        return ModelRun::from_path(&plan.model);
    }
    resolve(models, &settings.model_version).await?.ok_or_else(|| {
        Error::Model(format!(
            "{}: no model is published as \"{}\": train one, or see `train models list`",
            models.location_of(models.name()),
            settings.model_version
        ))
    })
}

/// A run id that is complete ends with what it came to; if it was stopped just before its pointer moved, it moves now.
///
/// # Errors
/// Storage errors as they are.
pub async fn finish_again(
    settings: &Settings,
    records: &RunRecords,
    outcome: &Outcome,
    model: &ModelRun,
) -> Result<()> {
    let writer = PartWriter {
        store: Arc::clone(&records.store),
        run_id: records.run_id.clone(),
        format: settings.format,
        model_version: model.version.to_string(),
    };
    if writer.is_under_way().await? {
        // The records of the parts may be half forgotten: the result knows how many rows there are.
        let rows = outcome.get("rows_predicted").and_then(Value::as_u64).unwrap_or_default();
        records.publish(rows, model).await?;
        writer.forget().await?;
    }
    tracing::info!(result = outcome.json(), "this run is complete already: nothing to do");
    Ok(())
}

/// Refuses settings that are not those that the run began with.
///
/// # Errors
/// [`Error::Setting`].
pub fn refuse_other_settings(plan: &Plan, settings: &Settings, records: &RunRecords) -> Result<()> {
    if plan.settings == identity(settings) {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "--run-id (RUN_ID) {} began with other settings ({}): use the same settings to continue it, or another run id",
        plan.run_id,
        records.location_of(&records.key("plan.json"))
    )))
}

/// Refuses input that is not what the run began with.
///
/// # Errors
/// [`Error::Data`] that names the first object that differs.
pub fn refuse_other_input(plan: &Plan, settings: &Settings, dataset: &Dataset, records: &RunRecords) -> Result<()> {
    let now = input_objects(dataset);
    if plan.input == now {
        return Ok(());
    }
    let changed = plan
        .input
        .iter()
        .find(|object| !now.contains(object))
        .or(now.iter().find(|object| !plan.input.contains(object)));
    Err(other_input(plan, &settings.input, changed.map_or("", |object| object.key.as_str()), records))
}

/// A complete run needs its input no more; but where there is another one now, its result is not the one asked for.
///
/// # Errors
/// [`Error::Data`] that names the first object that differs.
pub async fn refuse_replaced_input(plan: &Plan, settings: &Settings, records: &RunRecords) -> Result<()> {
    let Ok(data) = open_data(&settings.input).await else { return Ok(()) };
    let was = |object: &InputObject| (object.key.clone(), object.size, object.version.clone());
    let is = |object: &ObjectMeta| (object.key.clone(), object.size, object.version.0.clone());
    let then: BTreeSet<_> = plan.input.iter().map(was).collect();
    let now: BTreeSet<_> = data.objects.iter().map(is).collect();
    match then.symmetric_difference(&now).next() {
        None => Ok(()),
        Some((key, ..)) => Err(other_input(plan, &settings.input, key, records)),
    }
}

fn other_input(plan: &Plan, input: &Location, key: &str, records: &RunRecords) -> Error {
    Error::Data(format!(
        "the input changed since run {} began: {input}/{key} is not what it was ({}); start a run with another run id",
        plan.run_id,
        records.location_of(&records.key("plan.json"))
    ))
}
