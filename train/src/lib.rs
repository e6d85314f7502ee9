//! Fits, evaluates, gates and publishes a model. The modules stand in the order of the flow.

pub mod settings;

pub mod plan_memory;

pub mod read;

pub mod features;

pub mod leaks;

pub mod encodings;

pub mod fit;

pub mod external;

pub mod evaluate;

pub mod gate;

pub mod report;

pub mod publish;

pub mod models;

use std::sync::Arc;
use std::time::Instant;

use common::features::quality::data_quality_score;
use common::features::spec::Spec;
use common::registry::{ModelRun, ModelStore, Pointer, sha256_hex};
use common::run::{Limits, RunId, Shutdown};
use common::storage::Location;
use common::telemetry::{Metric, Outcome, Summary, Telemetry};
use common::{Error, Result};
use serde_json::json;

use crate::evaluate::Evaluation;
use crate::external::{Input, Stop};
use crate::features::Features;
use crate::fit::FitContext;
use crate::gate::Verdict;
use crate::plan_memory::MemoryPlan;
use crate::publish::{ModelFiles, RunFolder, TrainPlan};
use crate::read::TrainingData;
use crate::settings::Settings;

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

/// Trains a model, from the settings to the moved pointers. Every failure is in the outcome.
pub async fn run(settings: Settings, context: Context) -> (Outcome, Telemetry) {
    let mut summary = Summary::new(&context.run_id);
    summary.set("model_name", settings.store.model_name.as_str());
    summary.set("model_version", settings.model_version.as_str());
    let run = ModelRun { version: settings.model_version.clone(), run_id: context.run_id.clone() };
    let folder = match settings.store.models.open().await {
        Ok(store) => RunFolder::new(ModelStore::new(store, &settings.store.model_name), run),
        Err(error) => return (summary.failed(&error), context.telemetry),
    };
    summary.set("model_location", folder.location());
    let mut owns_folder = false;
    let trained = tokio::select! {
        trained = train(&settings, &context, &folder, &mut summary, &mut owns_folder) => trained,
        () = context.shutdown.requested() =>
            context.shutdown.check(&context.run_id).map(|()| Trained::Over(summary.succeeded())),
    };
    let concluded = match trained {
        Ok(Trained::Over(outcome)) => Ok(outcome),
        // Not to be stopped any more: a few small writes, each of which a repeated run id can go on from.
        Ok(Trained::Judged(verdict)) => {
            owns_folder = false;
            conclude(&folder, &verdict, &mut summary).await
        }
        Err(error) => Err(error),
    };
    let outcome = match concluded {
        Ok(outcome) => outcome,
        Err(error) => {
            let outcome = summary.failed(&error);
            if owns_folder && let Err(unwritten) = folder.write_result(&outcome).await {
                tracing::warn!("result.json could not be written: {unwritten}");
            }
            outcome
        }
    };
    (outcome, context.telemetry)
}

/// What training came to.
#[derive(Debug)]
enum Trained {
    /// The run is over: it was complete already, or only checked.
    Over(Outcome),
    /// The model's files are written; the gate has spoken.
    Judged(Verdict),
}

/// The flow up to the verdict. `owns_folder` is true while a failure of this run belongs into the folder's `result.json`.
async fn train(
    settings: &Settings,
    context: &Context,
    folder: &RunFolder,
    summary: &mut Summary,
    owns_folder: &mut bool,
) -> Result<Trained> {
    let started = Instant::now();
    common::xgboost::check_version()?;
    let spec = read_spec(settings).await?;
    fit::given_parameters(settings, &spec)?;
    let identity = identity(settings, &spec);
    let finished = folder.finished().await?;
    let earlier = folder.plan().await?;
    if let Some(plan) = &earlier {
        refuse_other_settings(plan, &identity, folder)?;
    }
    if let Some(outcome) = finished {
        return finish_again(settings, folder, outcome, &identity).await.map(Trained::Over);
    }
    *owns_folder = !settings.check;
    let threads = earlier.as_ref().map_or(context.limits.threads.value, |plan| plan.threads);

    let opened = read::open(settings, &spec).await?;
    let given = fit::given_parameters(settings, &spec)?;
    let memory = MemoryPlan::new(settings, &spec, &given, &context.limits, &opened).await?;
    memory.log();
    tracing::info!("reading {}", settings.train_data);
    let stop = Stop { shutdown: context.shutdown.clone(), run_id: context.run_id.clone() };
    let input = Input::read(settings, &spec, &context.limits, opened, &memory, &stop).await?;
    let data = Arc::clone(input.all());
    let reader = input.reader(&spec, &memory, &context.limits, &stop);
    if let Some(plan) = &earlier {
        refuse_other_input(plan, &data, folder)?;
    }
    summary.set("rows_train", data.train.len()).set("rows_test", data.test.len());
    summary.set("rows_dropped", json!(data.dropped));
    log_rows(&data);
    gate::check_test_rows(settings, &data)?;

    let features = features::learn_and_encode(input.learning(), &spec, context.limits.threads.value).await?;
    let quality = quality_score(&data, &features);
    summary.set("data_quality_score", quality);
    let warnings = leaks::check(settings.strict, input.learning(), input.shared_ids(), &features)?;
    summary.set("warnings", warnings.len());
    let params = fit::with_constraints(fit::given_parameters(settings, &spec)?, &spec, &features.features)?;
    common::xgboost::dry_run(&params, &fit::matrix_features(&features.features))?;
    if settings.check {
        summary.set("check", true).set("features", features.features.len());
        return Ok(Trained::Over(summary.succeeded()));
    }
    let plan =
        TrainPlan { format_version: 1, settings: identity, objects_sha256: data.objects_sha256.clone(), threads };
    folder.begin(&plan).await?;

    let fit_context = FitContext {
        settings,
        spec: &spec,
        threads,
        shutdown: &context.shutdown,
        run_id: &context.run_id,
        telemetry: &context.telemetry,
    };
    let (features, fitted) = tokio::task::block_in_place(|| {
        let rows = &input.learning().train;
        let choice = fit::choose(&fit_context, &features, rows)?;
        let features = encodings::apply(features, &choice.variant, rows, u64::from(settings.seed));
        match &reader {
            Some(reader) => reader.fit(&fit_context, choice, features),
            None => {
                let fitted = fit::fit(&fit_context, choice, &features.features, &features.train, rows)?;
                Ok::<_, Error>((features, fitted))
            }
        }
    })?;
    summary.set("rounds", fitted.rounds);

    let clip = clip_bounds(&spec, &data);
    let evaluation = match &reader {
        Some(reader) => {
            let predict = || reader.predict(&fitted.booster, &features.features, &spec, clip);
            let predictions = tokio::task::block_in_place(predict)?;
            evaluate::of_predictions(&gate::gate(settings), predictions, &data.test)?
        }
        None => evaluate::evaluate(&gate::gate(settings), &fitted.booster, &features.test, &data.test, clip)?,
    };
    let judgement = gate::judge(settings, folder.models(), &data, &evaluation, reader.as_ref(), threads).await?;
    summary.set("r2", evaluation.scores.r2).set("rmse", evaluation.scores.rmse).set("mae", evaluation.scores.mae);

    let metadata = report::metadata(settings, context, &spec, &data, &features, &fitted, clip)?;
    let files = ModelFiles {
        metrics: report::metrics(&plan, &data, &fitted, &evaluation, &judgement, quality, &warnings)?,
        report: report::html(&metadata, &data, &fitted, &evaluation, &judgement.verdict, &warnings),
        model: fitted.model,
        metadata: metadata.to_json()?,
    };
    context.shutdown.check(&context.run_id)?;
    folder.write_files(&files).await?;
    let metadata_sha256 = sha256_hex(&files.metadata);
    summary.set("training_seconds", started.elapsed().as_secs_f64());
    summary.set("metadata_sha256", metadata_sha256.as_str()).set("model_sha256", metadata.model_sha256.as_str());
    emit_metrics(context, &evaluation, &data, quality, started.elapsed().as_secs_f64());
    Ok(Trained::Judged(judgement.verdict))
}

/// The gate's word, and what follows from it. The result that is written here stands, whatever becomes of the pointers.
async fn conclude(folder: &RunFolder, verdict: &Verdict, summary: &mut Summary) -> Result<Outcome> {
    if !verdict.passed {
        summary.set("gate", "failed");
        let outcome = summary.failed(&Error::Gate(gate::rejection(verdict, &folder.location())));
        folder.write_result(&outcome).await?;
        folder.end().await?;
        return Ok(outcome);
    }
    summary.set("gate", "passed");
    let outcome = summary.succeeded();
    folder.write_result(&outcome).await?;
    tracing::info!("the gate passed; publishing {}", folder.run());
    publish_pointers(folder, &outcome).await?;
    Ok(outcome)
}

async fn publish_pointers(folder: &RunFolder, outcome: &Outcome) -> Result<()> {
    let text = |name: &str| outcome.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let r2 = outcome.get("r2").and_then(serde_json::Value::as_f64);
    let pointer = Pointer::to(folder.run(), r2, &text("model_sha256"), Some(&text("metadata_sha256")));
    folder.move_pointers(&pointer).await?;
    folder.end().await
}

/// A run id that is complete ends with what it came to; if it was stopped just before its pointers moved, they move now.
async fn finish_again(
    settings: &Settings,
    folder: &RunFolder,
    outcome: Outcome,
    identity: &serde_json::Value,
) -> Result<Outcome> {
    if let Some(metrics) = folder.get("metrics.json").await? {
        let metrics: serde_json::Value = serde_json::from_slice(&metrics)
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

async fn read_spec(settings: &Settings) -> Result<Spec> {
    let spec = match &settings.features {
        None => Spec::default(),
        Some(location) => {
            let bytes = read_object(location).await?;
            let text = String::from_utf8(bytes).map_err(|_| {
                Error::Setting(format!("{location} is not UTF-8 text: --features (FEATURES) must name a TOML file"))
            })?;
            Spec::parse(&text, &location.to_string())?
        }
    };
    spec.with_columns(settings.id.as_deref(), settings.target.as_deref())
}

async fn read_object(location: &Location) -> Result<Vec<u8>> {
    let data = common::storage::open_data(location).await?;
    match data.objects.as_slice() {
        [object] => Ok(data.store.get(&object.key).await?.0.to_vec()),
        _ => Err(Error::Setting(format!("{location} is not one object: --features (FEATURES) must name a TOML file"))),
    }
}

/// Every setting that bears on the result, so that a repeated run id can be told from another run.
fn identity(settings: &Settings, spec: &Spec) -> serde_json::Value {
    json!({
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
        "param": settings.param,
        "rounds": settings.rounds,
        "tune": settings.tune,
        "time_budget": settings.time_budget,
        "seed": settings.seed,
    })
}

fn refuse_other_settings(plan: &TrainPlan, identity: &serde_json::Value, folder: &RunFolder) -> Result<()> {
    if plan.settings == *identity { Ok(()) } else { Err(other_settings(folder)) }
}

fn other_settings(folder: &RunFolder) -> Error {
    Error::Setting(format!(
        "--run-id (RUN_ID) {} began with other settings ({}): use the same settings to continue it, or another run id",
        folder.run().run_id,
        folder.location()
    ))
}

fn refuse_other_input(plan: &TrainPlan, data: &TrainingData, folder: &RunFolder) -> Result<()> {
    if plan.objects_sha256 == data.objects_sha256 { Ok(()) } else { Err(other_input(folder)) }
}

/// A complete run needs its input no more; but where there is another one now, its result is not the one asked for.
async fn refuse_replaced_input(settings: &Settings, folder: &RunFolder) -> Result<()> {
    let Some(metadata) = folder.get("metadata.json").await? else { return Ok(()) };
    let metadata: serde_json::Value = serde_json::from_slice(&metadata)
        .map_err(|error| Error::Model(format!("{}/metadata.json is damaged: {error}", folder.location())))?;
    let mut objects = Vec::new();
    for location in std::iter::once(&settings.train_data).chain(&settings.test_data) {
        let Ok(data) = common::storage::open_data(location).await else { return Ok(()) };
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

fn log_rows(data: &TrainingData) {
    tracing::info!(rows_train = data.train.len(), rows_test = data.test.len(), "rows read");
    if data.dropped.total() > 0 {
        tracing::warn!(
            bad_target = data.dropped.bad_target,
            null_id = data.dropped.null_id,
            duplicate_id = data.dropped.duplicate_id,
            bad_weight = data.dropped.bad_weight,
            "{} of {} rows are left out: their target is missing or not finite, or their id is missing or came before",
            data.dropped.total(),
            data.rows_read()
        );
    }
}

fn quality_score(data: &TrainingData, features: &Features) -> f64 {
    let accepted = data.rows_read() - data.dropped.total();
    let of_columns = features.features.iter().zip(&features.tallies).filter(|(feature, _)| feature.sql.is_none());
    data_quality_score(accepted, data.rows_read(), of_columns.map(|(_, tally)| tally), false)
}

/// The range of the target: what the spec says, else what the training rows have.
fn clip_bounds(spec: &Spec, data: &TrainingData) -> Option<(f64, f64)> {
    if !spec.clip {
        return None;
    }
    let seen = data
        .train
        .target
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &target| (low.min(target), high.max(target)));
    let range = spec.ranges.get(&data.target).copied().unwrap_or_default();
    Some((range.min.unwrap_or(seen.0), range.max.unwrap_or(seen.1)))
}

fn emit_metrics(context: &Context, evaluation: &Evaluation, data: &TrainingData, quality: f64, seconds: f64) {
    let peak = common::run::usage::peak_memory().unwrap_or_default();
    let utilization = common::run::usage::memory_utilization(peak, context.limits.memory_bytes.value);
    context.telemetry.emit(&[
        (Metric::ModelTrainingTime, seconds),
        (Metric::ModelAccuracy, evaluation.scores.r2),
        (Metric::RecordsProcessed, data.rows_read() as f64),
        (Metric::DataQualityScore, quality),
        (Metric::PeakMemory, peak as f64),
        (Metric::MemoryUtilization, utilization.unwrap_or(f64::NAN)),
    ]);
}
