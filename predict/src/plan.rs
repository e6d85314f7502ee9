//! Step 1: what an earlier attempt of the same run id left, and whether it may be continued.

use std::collections::BTreeSet;
use std::sync::Arc;

use attempt::{Earlier, Layout, Plan, RunFolder};
use error::{Error, Result};
use machine::{RunId, now_rfc3339};
use registry::pointer::FORMAT_VERSION;
use registry::{ModelRun, ModelStore, Selector, resolve};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::{Location, ObjectMeta, Store, open_data};
use table::Dataset;

use crate::read::PART_ROWS;
use crate::settings::{Duplicates, Settings};

/// The program that this is, for plans.
pub const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where a run of `predict` keeps what in its folder. Results of releases that named no files were complete where they were good.
const LAYOUT: Layout =
    Layout { plan: "plan.json", scratch: "_parts", was_complete: |outcome| outcome.exit_code() == 0 };

/// What a run was asked, the model that it resolved and the input that it found.
pub type PredictPlan = Plan<PredictBody>;

/// What only `predict` knows of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictBody {
    /// The run.
    pub run_id: String,
    /// Folder of the model, relative to `<models>/<name>/`.
    pub model: String,
    /// Rows of a part.
    pub part_rows: u64,
    /// The input's objects.
    pub input: Vec<InputObject>,
    /// How several tasks share it; none where one task does all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<Shards>,
}

/// How several tasks share a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shards {
    /// How many there are.
    pub count: u32,
    /// How many parts the input has, which of CSV only reading it tells.
    pub parts: u64,
}

impl PredictBody {
    /// What a new run is to keep to.
    #[must_use]
    pub fn new(folder: &RunFolder, model: &ModelRun, dataset: &Dataset, shards: Option<Shards>) -> Self {
        Self {
            run_id: folder.run_id().to_string(),
            model: model.path(),
            part_rows: PART_ROWS,
            input: input_objects(dataset),
            shards,
        }
    }
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

/// The folder of a run in the output.
#[must_use]
pub fn folder(output: Arc<dyn Store>, run_id: &RunId) -> RunFolder {
    RunFolder::new(output, format!("runs/{run_id}"), run_id.clone(), LAYOUT)
}

/// What a run id did before.
///
/// # Errors
/// [`Error::Setting`] where the run was asked something else before, or by another version; [`Error::Data`] where its input is
/// not what it was; storage errors as they are.
pub async fn earlier(settings: &Settings, folder: &RunFolder) -> Result<Earlier<PredictBody>> {
    let earlier = folder.earlier(&identity(settings), PROGRAM_VERSION).await?;
    if let Earlier::UnderWay(plan) | Earlier::Decided { plan: Some(plan), .. } = &earlier {
        refuse_of_another_run(plan, folder)?;
        folder.refuse_other_shards(shards_of(plan), settings.shard)?;
    }
    match &earlier {
        Earlier::Decided { plan, outcome } => {
            if let Some(plan) = plan {
                refuse_replaced_input(plan, settings, folder).await?;
            }
            tracing::info!(result = outcome.json(), "this run is complete already: nothing to do");
        }
        Earlier::UnderWay(plan) if plan.body.part_rows != PART_ROWS => {
            return Err(Error::Setting(format!(
                "--run-id (RUN_ID) names a run whose parts have {} rows, and this program writes parts of {PART_ROWS} ({}): \
                 continue it with the program that began it, or use another run id",
                plan.body.part_rows,
                folder.plan_location()
            )));
        }
        Earlier::UnderWay(_) | Earlier::Nothing => {}
    }
    Ok(earlier)
}

/// Begins a run; gives the plan that all its attempts keep to. None where another attempt began at the same time with another
/// model, that which was `latest` then: what it fixed holds, so this one has to go on from there.
///
/// # Errors
/// [`Error::Data`] where another attempt found other input; storage errors as they are.
pub async fn begin(settings: &Settings, folder: &RunFolder, body: PredictBody) -> Result<Option<PredictPlan>> {
    let plan = PredictPlan {
        format_version: FORMAT_VERSION,
        program_version: PROGRAM_VERSION.to_owned(),
        started_at: now_rfc3339(),
        settings: identity(settings),
        body: body.clone(),
    };
    let plan = folder.begin(plan).await?;
    refuse_of_another_run(&plan, folder)?;
    folder.refuse_other_shards(shards_of(&plan), settings.shard)?;
    refuse_other_objects(&plan, &body.input, settings, folder)?;
    let is_ours = plan.body == body;
    if !is_ours && plan.body.model == body.model {
        return Err(Error::Data(format!("{} is damaged: use another run id", folder.plan_location())));
    }
    Ok(is_ours.then_some(plan))
}

/// Refuses input that is not what a run began with.
///
/// # Errors
/// [`Error::Data`] that names an object that changed.
pub fn refuse_other_input(
    plan: &PredictPlan,
    settings: &Settings,
    dataset: &Dataset,
    folder: &RunFolder,
) -> Result<()> {
    refuse_other_objects(plan, &input_objects(dataset), settings, folder)
}

/// Every setting that bears on the result, so that a repeated run id can be told from another run. One that is added stands here
/// only where it is not its default, so that plans of older releases compare.
#[must_use]
pub fn identity(settings: &Settings) -> Value {
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
    if let Some(level) = settings.interval {
        identity["interval"] = json!(level);
    }
    if settings.reasons > 0 {
        identity["reasons"] = json!(settings.reasons);
    }
    if let Some(condition) = &settings.reasons_where {
        identity["reasons_where"] = json!(condition);
    }
    settings.csv.identify(&mut identity);
    identity
}

/// Which model is asked for: the one that this run id resolved before, or what the settings say.
///
/// # Errors
/// [`Error::Model`] where the plan names no model's folder.
pub fn selector(settings: &Settings, earlier: Option<&PredictPlan>) -> Result<Selector> {
    match earlier {
        Some(plan) => ModelRun::from_path(&plan.body.model).map(Selector::Run),
        None => Ok(settings.model_version.clone()),
    }
}

/// The run that a selector means now.
///
/// # Errors
/// [`Error::Model`] where none is published.
pub async fn model_run(models: &ModelStore, selector: &Selector) -> Result<ModelRun> {
    resolve(models, selector).await?.ok_or_else(|| registry::unpublished(models, selector))
}

/// The objects of the input as the plan lists them.
#[must_use]
pub fn input_objects(dataset: &Dataset) -> Vec<InputObject> {
    let described = |meta: &ObjectMeta, rows: Option<u64>| InputObject {
        key: meta.key.clone(),
        size: meta.size,
        version: meta.version.0.clone(),
        rows,
    };
    let objects = dataset
        .objects
        .iter()
        .map(|object| described(&object.meta, object.parquet.as_ref().map(table::parquet::ParquetFile::rows)));
    let empty = dataset.empty_objects.iter().map(|meta| described(meta, None));
    let mut listed: Vec<InputObject> = objects.chain(empty).collect();
    listed.sort_by(|one, other| one.key.cmp(&other.key));
    listed
}

/// A plan that was copied here from the folder of another run: its run id would stand in the manifest.
fn refuse_of_another_run(plan: &PredictPlan, folder: &RunFolder) -> Result<()> {
    if plan.body.run_id == folder.run_id().as_str() {
        return Ok(());
    }
    Err(Error::Data(format!(
        "{} is the plan of the run \"{}\": use another run id",
        folder.plan_location(),
        plan.body.run_id
    )))
}

/// By how many tasks the parts of a run are shared.
fn shards_of(plan: &PredictPlan) -> Option<u32> {
    plan.body.shards.map(|shards| shards.count)
}

fn refuse_other_objects(
    plan: &PredictPlan,
    now: &[InputObject],
    settings: &Settings,
    folder: &RunFolder,
) -> Result<()> {
    let then = plan.body.input.as_slice();
    if then == now {
        return Ok(());
    }
    let changed = then.iter().find(|object| !now.contains(object));
    let changed = changed.or_else(|| now.iter().find(|object| !then.contains(object)));
    Err(other_input(&settings.input, changed.map_or("", |object| object.key.as_str()), folder))
}

/// A complete run needs its input no more; but where there is another one now, its result is not the one asked for.
async fn refuse_replaced_input(plan: &PredictPlan, settings: &Settings, folder: &RunFolder) -> Result<()> {
    let Ok(data) = open_data(&settings.input).await else { return Ok(()) };
    let was = |object: &InputObject| (object.key.clone(), object.size, object.version.clone());
    let is = |object: &ObjectMeta| (object.key.clone(), object.size, object.version.0.clone());
    let then: BTreeSet<_> = plan.body.input.iter().map(was).collect();
    let now: BTreeSet<_> = data.objects.iter().map(is).collect();
    match then.symmetric_difference(&now).next() {
        None => Ok(()),
        Some((key, ..)) => Err(other_input(&settings.input, key, folder)),
    }
}

fn other_input(input: &Location, key: &str, folder: &RunFolder) -> Error {
    Error::Data(format!(
        "the input changed since run {} began: {input}/{key} is not what it was ({}); start a run with another run id",
        folder.run_id(),
        folder.plan_location()
    ))
}
