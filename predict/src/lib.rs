//! Scores every row of a table with a published model. The modules stand in the order of the flow.

pub mod settings;

pub mod load;

pub mod plan_memory;

pub mod read;

pub mod score;

pub mod write;

pub mod manifest;

pub mod prepare;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use common::registry::{FORMAT_VERSION, ModelRun, ModelStore, resolve};
use common::run::{Limits, RunId, Shutdown, now_rfc3339};
use common::storage::Location;
use common::table::Dataset;
use common::telemetry::{Metric, Outcome, Summary, Telemetry, Unit};
use common::{Error, Result};
use futures::{StreamExt, TryStreamExt};
use tokio::task::JoinHandle;

use crate::load::Model;
use crate::manifest::{Plan, RunRecords, Totals};
use crate::plan_memory::MemoryPlan;
use crate::read::{InputBatch, PART_ROWS, Reading};
use crate::score::{ScoredBatch, Scorer};
use crate::settings::{Duplicates, Settings};
use crate::write::ids::SeenIds;
use crate::write::{Assembler, PartRecord, PartWriter};

/// Parts being encoded and uploaded while the next one is scored.
const PARTS_IN_FLIGHT: usize = 2;

/// What a run is given besides its settings.
#[derive(Debug)]
pub struct Context {
    /// Id of the run.
    pub run_id: RunId,
    /// Threads and memory it may use.
    pub limits: Limits,
    /// Tells when it has to stop.
    pub shutdown: Shutdown,
    /// Logs, metrics, progress.
    pub telemetry: Telemetry,
}

/// Scores the input, from the settings to the moved pointer. Every failure is in the outcome.
pub async fn run(settings: Settings, context: Context) -> (Outcome, Telemetry) {
    let mut summary = Summary::new(&context.run_id);
    let store = match settings.output.open().await {
        Ok(store) => store,
        Err(error) => return (summary.failed(&error), context.telemetry),
    };
    summary.set("output_location", predictions_location(&settings, &context.run_id));
    let records = RunRecords { store, run_id: context.run_id.clone() };
    let mut owns_records = false;
    let predicted = tokio::select! {
        predicted = predict(&settings, &context, &records, &mut summary, &mut owns_records) => predicted,
        () = context.shutdown.requested() =>
            context.shutdown.check(&context.run_id).map(|()| Predicted::Over(summary.succeeded())),
    };
    let concluded = match predicted {
        Ok(Predicted::Over(outcome)) => Ok(outcome),
        // Not to be stopped any more: a few small writes, each of which a repeated run id can go on from.
        Ok(Predicted::Accepted(publication)) => publish(&settings, &records, publication, &summary).await,
        Err(error) => Err(error),
    };
    let outcome = match concluded {
        Ok(outcome) => outcome,
        Err(error) => {
            let outcome = summary.failed(&error);
            if owns_records && let Err(unwritten) = records.put("result.json", line(&outcome)).await {
                tracing::warn!("result.json could not be written: {unwritten}");
            }
            outcome
        }
    };
    (outcome, context.telemetry)
}

fn predictions_location(settings: &Settings, run_id: &RunId) -> String {
    format!("{}/predictions/run_id={run_id}", settings.output.to_string().trim_end_matches('/'))
}

fn line(outcome: &Outcome) -> Vec<u8> {
    format!("{}\n", outcome.json()).into_bytes()
}

/// What scoring came to.
#[derive(Debug)]
enum Predicted {
    /// The run was complete already.
    Over(Outcome),
    /// The parts are written, and nothing speaks against them.
    Accepted(Publication),
}

/// What makes the written parts a result.
#[derive(Debug)]
struct Publication {
    manifest: Vec<u8>,
    rows: u64,
    model: ModelRun,
    writer: PartWriter,
}

/// The flow up to the verdict. `owns_records` becomes true once a failure of this run belongs into its `result.json`.
async fn predict(
    settings: &Settings,
    context: &Context,
    records: &RunRecords,
    summary: &mut Summary,
    owns_records: &mut bool,
) -> Result<Predicted> {
    let started = Instant::now();
    let earlier = records.plan().await?;
    if let Some(plan) = &earlier {
        refuse_other_settings(plan, settings, records)?;
    }
    if let (Some(outcome), Some(plan)) = (records.finished().await?, &earlier) {
        refuse_replaced_input(plan, settings, records).await?;
        finish_again(settings, records, &outcome, &ModelRun::from_path(&plan.model)?).await?;
        return Ok(Predicted::Over(outcome));
    }
    *owns_records = true;
    let models = ModelStore::new(settings.store.models.open().await?, &settings.store.model_name);
    let model_run = model_run(settings, &models, earlier.as_ref()).await?;
    let model = Model::load(&models, model_run).await?;
    summary.set("model_version", model.run.version.as_str()).set("model_run_id", model.run.run_id.as_str());
    tracing::info!("scoring with model {}", model.run);

    let scorer = Arc::new(Scorer { id: model.metadata.id.clone(), carry: settings.columns.clone(), model });
    let dataset = Arc::new(Dataset::open_for(&settings.input, Some(&scorer.input_columns())).await?);
    check_input(settings, &dataset, &scorer.model)?;
    let memory = MemoryPlan::new(settings, &context.limits, &dataset, &scorer.model)?;
    memory.log();
    if let Some(plan) = &earlier {
        refuse_other_input(plan, settings, &dataset, records)?;
    }
    let plan = records.begin(new_plan(settings, context, &dataset, &scorer.model)).await?;
    if plan.model != scorer.model.run.path() {
        return Err(Error::Setting(format!("run {} is under way with another model: start it again", plan.run_id)));
    }

    let writer = PartWriter {
        store: Arc::clone(&records.store),
        run_id: context.run_id.clone(),
        format: settings.format,
        model_version: scorer.model.run.version.to_string(),
    };
    let parts = score_parts(settings, context, &dataset, &memory, &scorer, &writer).await?;
    let totals = Totals::of(parts, scorer.model.new_tallies());
    summary.set("seconds", started.elapsed().as_secs_f64());
    let manifest = judge(settings, context, records, &plan, &scorer.model, &totals, summary)?;
    let model = scorer.model.run.clone();
    Ok(Predicted::Accepted(Publication { manifest, rows: totals.rows_predicted(), model, writer }))
}

/// Which model: the one that this run id resolved before, or what the settings mean now.
async fn model_run(settings: &Settings, models: &ModelStore, earlier: Option<&Plan>) -> Result<ModelRun> {
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

/// Everything about the input that can be refused before a row is read.
fn check_input(settings: &Settings, dataset: &Dataset, model: &Model) -> Result<()> {
    let (schema, location) = (&dataset.schema, dataset.location.as_str());
    if dataset.row_count() == Some(0) {
        return Err(Error::Data(format!("{location} has columns but no rows: there is nothing to score")));
    }
    let metadata = &model.metadata;
    let id = schema.require(&metadata.id, location)?;
    if !dataset.is_csv() && id.kind == common::table::ColumnKind::Unsupported {
        return Err(Error::Data(format!(
            "{location}: the id column \"{}\" has the type {}, which cannot be an id",
            id.name, id.dtype
        )));
    }
    model.encoder.check_schema(schema, dataset.is_csv(), location)?;
    let mut names = vec![metadata.id.as_str(), "prediction", "model_version"];
    for column in &settings.columns {
        schema.require(column, location)?;
        names.push(column);
    }
    let mut seen = std::collections::HashSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(twice) => Err(Error::Setting(format!(
            "the predictions would have two columns \"{twice}\": leave it out of --columns (COLUMNS), or rename the id column"
        ))),
    }
}

fn new_plan(settings: &Settings, context: &Context, dataset: &Dataset, model: &Model) -> Plan {
    Plan {
        format_version: FORMAT_VERSION,
        run_id: context.run_id.to_string(),
        started_at: now_rfc3339(),
        model: model.run.path(),
        settings: manifest::identity(settings),
        part_rows: PART_ROWS,
        input: manifest::input_objects(dataset),
    }
}

/// Scores every part that an earlier attempt did not finish.
async fn score_parts(
    settings: &Settings,
    context: &Context,
    dataset: &Arc<Dataset>,
    memory: &MemoryPlan,
    scorer: &Arc<Scorer>,
    writer: &PartWriter,
) -> Result<Vec<PartRecord>> {
    let mut finished: BTreeMap<u64, PartRecord> = BTreeMap::new();
    for record in writer.finished_parts().await? {
        // Which rows of a part had bad values is not recorded, and an id whose first row was bad is not taken yet: such
        // a part is scored again, to the same bytes.
        if record.reasons.bad_value == 0 {
            finished.insert(record.index, record);
        }
    }
    if !finished.is_empty() {
        tracing::info!(parts = finished.len(), "continuing: these parts are finished already");
    }
    let is_finished: Arc<std::collections::BTreeSet<u64>> = Arc::new(finished.keys().copied().collect());
    let ids_only = {
        let is_finished = Arc::clone(&is_finished);
        move |part: u64| is_finished.contains(&part)
    };
    let reading = Reading {
        columns: scorer.input_columns(),
        id: scorer.id.clone(),
        batch_rows: memory.batch_rows,
        fetch_bytes: memory.fetch_bytes,
    };
    let batches = read::batches(dataset, reading, ids_only);
    let in_flight = context.limits.threads.value + 1;
    let mut scored =
        batches.map_ok(|batch| score_batch(Arc::clone(scorer), batch, &is_finished)).try_buffered(in_flight).boxed();
    let progress = context.telemetry.progress("scoring", Unit::Items("rows"), dataset.row_count());
    let sources = dataset.objects.iter().map(|object| object.meta.key.clone()).collect();
    let expected_rows = dataset.row_count().and_then(|rows| usize::try_from(rows).ok());
    let seen = (settings.duplicates == Duplicates::Reject).then(|| SeenIds::expecting(expected_rows.unwrap_or(0)));
    let mut assembler = Assembler::new(seen, sources, scorer.model.new_tallies());
    let mut uploads = Uploads { writer, under_way: VecDeque::new(), records: finished.into_values().collect() };
    while let Some(batch) = scored.try_next().await? {
        progress.advance(batch.keys.len() as u64);
        if let Some(part) = assembler.push(&batch)? {
            uploads.start(part).await?;
        }
    }
    if let Some(part) = assembler.end()? {
        uploads.start(part).await?;
    }
    let records = uploads.finish().await?;
    progress.finish();
    Ok(records)
}

async fn score_batch(
    scorer: Arc<Scorer>,
    batch: InputBatch,
    finished: &std::collections::BTreeSet<u64>,
) -> Result<ScoredBatch> {
    let ids_only = finished.contains(&batch.part);
    let score = move || scorer.score(&batch, ids_only);
    tokio::task::spawn_blocking(score).await.map_err(|error| Error::Defect(error.to_string()))?
}

/// Parts on their way out, a bounded number of them.
struct Uploads<'a> {
    writer: &'a PartWriter,
    under_way: VecDeque<JoinHandle<Result<PartRecord>>>,
    records: Vec<PartRecord>,
}

impl Uploads<'_> {
    async fn start(&mut self, part: write::FinishedPart) -> Result<()> {
        if self.under_way.len() >= PARTS_IN_FLIGHT {
            self.wait_for_one().await?;
        }
        let writer = self.writer.clone();
        self.under_way.push_back(tokio::spawn(async move { writer.write(part).await }));
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        if let Some(upload) = self.under_way.pop_front() {
            self.records.push(upload.await.map_err(|error| Error::Defect(error.to_string()))??);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<PartRecord>> {
        while !self.under_way.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(self.records)
    }
}

/// Judges the run as a whole; gives its manifest if nothing speaks against it.
fn judge(
    settings: &Settings,
    context: &Context,
    records: &RunRecords,
    plan: &Plan,
    model: &Model,
    totals: &Totals,
    summary: &mut Summary,
) -> Result<Vec<u8>> {
    let features = totals.features(model);
    let quality = totals.data_quality_score(model);
    let drift = manifest::most_drifted(&features);
    summary.set("rows_read", totals.rows_read).set("rows_predicted", totals.rows_predicted());
    summary.set("rows_rejected", totals.reasons.total());
    summary.set("parts", totals.parts.iter().filter(|part| part.predictions.is_some()).count());
    summary.set("data_quality_score", quality);
    summary.set("max_drift", drift.map(|(_, psi)| psi)).set("max_drift_feature", drift.map(|(name, _)| name));
    emit_metrics(context, totals, quality);
    manifest::warn_of_drift(&features);
    refuse_too_many_rejects(settings, totals, records)?;
    refuse_drift(settings, drift)?;
    manifest::manifest(plan, model, totals, &features)
}

/// The manifest, the result, the pointer; then the records of the parts are needed no more.
async fn publish(
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

fn emit_metrics(context: &Context, totals: &Totals, quality: f64) {
    let peak = common::run::usage::peak_memory().unwrap_or_default();
    let utilization = common::run::usage::memory_utilization(peak, context.limits.memory_bytes.value);
    context.telemetry.emit(&[
        (Metric::RecordsProcessed, totals.rows_read as f64),
        (Metric::PredictionCount, totals.rows_predicted() as f64),
        (Metric::DataQualityScore, quality),
        (Metric::PeakMemory, peak as f64),
        (Metric::MemoryUtilization, utilization.unwrap_or(f64::NAN)),
    ]);
}

fn refuse_too_many_rejects(settings: &Settings, totals: &Totals, records: &RunRecords) -> Result<()> {
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
         --max-reject-fraction (MAX_REJECT_FRACTION) {} allows: nothing was published; the rows are listed in {}",
        totals.reasons.null_id,
        totals.reasons.duplicate_id,
        totals.reasons.bad_value,
        settings.max_reject_fraction.0,
        records.location_of(&format!("rejected/run_id={}", records.run_id))
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

/// A run id that is complete ends with what it came to; if it was stopped just before its pointer moved, it moves now.
async fn finish_again(settings: &Settings, records: &RunRecords, outcome: &Outcome, model: &ModelRun) -> Result<()> {
    let writer = PartWriter {
        store: Arc::clone(&records.store),
        run_id: records.run_id.clone(),
        format: settings.format,
        model_version: model.version.to_string(),
    };
    if writer.is_under_way().await? {
        // The records of the parts may be half forgotten: the result knows how many rows there are.
        let rows = outcome.get("rows_predicted").and_then(serde_json::Value::as_u64).unwrap_or_default();
        records.publish(rows, model).await?;
        writer.forget().await?;
    }
    tracing::info!(result = outcome.json(), "this run is complete already: nothing to do");
    Ok(())
}

fn refuse_other_settings(plan: &Plan, settings: &Settings, records: &RunRecords) -> Result<()> {
    if plan.settings == manifest::identity(settings) {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "--run-id (RUN_ID) {} began with other settings ({}): use the same settings to continue it, or another run id",
        plan.run_id,
        records.location_of(&records.key("plan.json"))
    )))
}

fn refuse_other_input(plan: &Plan, settings: &Settings, dataset: &Dataset, records: &RunRecords) -> Result<()> {
    let now = manifest::input_objects(dataset);
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
async fn refuse_replaced_input(plan: &Plan, settings: &Settings, records: &RunRecords) -> Result<()> {
    let Ok(data) = common::storage::open_data(&settings.input).await else { return Ok(()) };
    let was = |object: &manifest::InputObject| (object.key.clone(), object.size, object.version.clone());
    let is = |object: &common::storage::ObjectMeta| (object.key.clone(), object.size, object.version.0.clone());
    let then: std::collections::BTreeSet<_> = plan.input.iter().map(was).collect();
    let now: std::collections::BTreeSet<_> = data.objects.iter().map(is).collect();
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
