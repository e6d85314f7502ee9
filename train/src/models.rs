//! `train models …`: what lies in a store, and where its pointers stand.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use error::{Error, Result};
use history::Pages;
use machine::{Explicit, RunId, now_rfc3339};
use registry::load::{MOST_METADATA_BYTES, MOST_RESULT_BYTES};
use registry::{LoadedModel, ModelRun, ModelStore, Pointer, Selector, load, resolve};
use serde_json::{Value, json};
use storage::StoreError;
use telemetry::{Config, Program, Summary, Telemetry};

use crate::export::{self, Targets};
use crate::settings::{ModelsAction, ModelsArguments};

/// Reads or moves the pointers of a store; what was found is the result.
#[must_use]
pub fn main(arguments: &ModelsArguments) -> ExitCode {
    let run_id = RunId::generate();
    let telemetry = Telemetry::start(Config {
        program: Program::Train,
        environment: String::new(),
        model_name: arguments.model_name.clone(),
        run_id: run_id.clone(),
        log_format: None,
    });
    let explicit = Explicit { threads: Some(NonZeroUsize::MIN), memory_bytes: None };
    let (limits, shutdown) = match app::begin(explicit, |_| {}) {
        Ok(begun) => begun,
        Err(error) => return telemetry.fail(&error),
    };
    app::runtime::block_on(&limits, telemetry, async |telemetry| {
        let mut summary = Summary::new(&run_id);
        summary.set("model_name", arguments.model_name.as_str());
        let acted = tokio::select! {
            acted = act(arguments, &mut summary) => acted,
            stopped = shutdown.stopped(&run_id) => Err(stopped),
        };
        let outcome = match acted {
            Ok(()) => summary.succeeded(),
            Err(error) => summary.failed(&error),
        };
        (outcome, telemetry)
    })
}

async fn act(arguments: &ModelsArguments, summary: &mut Summary) -> Result<()> {
    let location = arguments.models.as_ref().ok_or_else(|| {
        Error::Setting("--models (MODELS) is not set: name the model store, such as s3://bucket/models".to_owned())
    })?;
    let models = ModelStore::new(location.open().await?, &arguments.model_name);
    match &arguments.action {
        ModelsAction::List => return list(&models, summary).await,
        ModelsAction::Show { model } => return show(&models, model, summary).await,
        ModelsAction::Promote { model } => promote(&models, model, summary).await?,
        ModelsAction::Prune { keep } => prune(&models, *keep, summary).await?,
        ModelsAction::History => return history(&models, summary).await,
        ModelsAction::Export { model, mlflow, onnx } => {
            let targets = Targets { mlflow: mlflow.as_ref(), onnx: onnx.as_ref() };
            return export::export(&models, model, &targets, summary).await;
        }
    }
    pages(&models).update().await;
    Ok(())
}

fn pages(models: &ModelStore) -> Pages {
    Pages::of_models(models.shared_store(), models.name())
}

async fn history(models: &ModelStore, summary: &mut Summary) -> Result<()> {
    let pages = pages(models);
    let history = pages.rewrite().await?;
    summary.set("page", pages.location()).set("runs", history.runs.len()).set("months", history.months.len());
    Ok(())
}

/// One run as a listing shows it.
struct ListedRun {
    run: ModelRun,
    result: Value,
    /// When it was started or made its model, RFC 3339 in UTC; empty where nothing tells.
    created_at: String,
}

/// Every run that ended, newest first.
async fn runs(models: &ModelStore) -> Result<Vec<ListedRun>> {
    let mut runs = Vec::new();
    let prefix = format!("{}/", models.name());
    for object in models.store().list(models.name()).await? {
        let path = object.key.strip_prefix(&prefix).and_then(|path| path.strip_suffix("/result.json"));
        let Some(Ok(run)) = path.map(ModelRun::from_path) else { continue };
        let result = match models.store().get_at_most(&object.key, MOST_RESULT_BYTES).await {
            Ok((bytes, _)) => serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            Err(StoreError::TooLarge(_)) => Value::Null,
            Err(error) => return Err(error.into()),
        };
        let created_at = created_at(models, &run, &result).await?;
        runs.push(ListedRun { run, result, created_at });
    }
    // Those of one time, or of none, by their run ids: ids of our making sort by time.
    runs.sort_by(|left, right| (&right.created_at, &right.run.run_id).cmp(&(&left.created_at, &left.run.run_id)));
    Ok(runs)
}

/// When a run was started, as its result says; results that do not have it leave it to the model's metadata.
async fn created_at(models: &ModelStore, run: &ModelRun, result: &Value) -> Result<String> {
    let text = |value: &Value| value.get("created_at").and_then(Value::as_str).map(str::to_owned);
    if let Some(created_at) = text(result) {
        return Ok(created_at);
    }
    match storage::get_json(models.store(), &models.run_key(run, "metadata.json"), MOST_METADATA_BYTES).await {
        Ok((bytes, _)) => {
            Ok(serde_json::from_slice(&bytes).ok().and_then(|metadata| text(&metadata)).unwrap_or_default())
        }
        Err(StoreError::NotFound(_) | StoreError::TooLarge(_) | StoreError::Full(_)) => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

async fn list(models: &ModelStore, summary: &mut Summary) -> Result<()> {
    let latest = Pointer::read(models, &models.latest_key()).await?;
    summary.set("latest", latest.map(|(pointer, _)| pointer.path));
    let line = |listed: &ListedRun| {
        json!({
            "model": listed.run.to_string(),
            "created_at": listed.created_at,
            "gate": listed.result.get("gate"),
            "r2": listed.result.get("r2"),
            "rows_train": listed.result.get("rows_train"),
        })
    };
    let runs = runs(models).await?;
    summary.set("models", runs.iter().map(line).collect::<Vec<_>>());
    Ok(())
}

async fn show(models: &ModelStore, selector: &Selector, summary: &mut Summary) -> Result<()> {
    let LoadedModel { run, metadata, r2, .. } = load(models, selector).await?;
    summary.set("model", run.to_string());
    summary.set("location", models.location_of(&models.key(&run.path())));
    summary.set("r2", r2).set("rounds", metadata.rounds);
    summary.set("created_at", metadata.created_at).set("target", metadata.target).set("id", metadata.id);
    summary.set("rows_train", metadata.data.rows_train).set("train_data", metadata.data.train_data);
    summary.set("params", json!(metadata.params));
    let names: Vec<String> = metadata.features.into_iter().map(|feature| feature.name).collect();
    summary.set("features", names);
    Ok(())
}

/// Points the model's label and `latest` at it: the same two moves as a publication, and the way back to an older model.
async fn promote(models: &ModelStore, selector: &Selector, summary: &mut Summary) -> Result<()> {
    let model = load(models, selector).await?;
    let (hash, metadata_hash) = (&model.metadata.model_sha256, Some(model.metadata_sha256.as_str()));
    let pointer = Pointer::to(&model.run, model.r2, hash, metadata_hash, &now_rfc3339());
    let before = Pointer::read(models, &models.latest_key()).await?;
    models.store().check_conditions(&models.run_key(&model.run, "result.json")).await?;
    attempt::pointer::promote_model(models, &model.run, &pointer).await?;
    summary.set("latest", model.run.to_string());
    summary.set("previous", before.map(|(pointer, _)| pointer.path));
    Ok(())
}

async fn prune(models: &ModelStore, keep: usize, summary: &mut Summary) -> Result<()> {
    let runs = runs(models).await?;
    let mut named = vec![resolve(models, &Selector::Latest).await?];
    for listed in &runs {
        named.push(resolve(models, &Selector::Label(listed.run.version.clone())).await?);
    }
    let mut deleted = Vec::new();
    for listed in runs.iter().skip(keep) {
        if named.iter().flatten().any(|run| *run == listed.run) {
            continue;
        }
        delete_run(models, &listed.run).await?;
        deleted.push(listed.run.to_string());
    }
    summary.set("deleted", deleted);
    Ok(())
}

/// The result goes first: without it the run counts as incomplete, so nobody loads what is half deleted.
async fn delete_run(models: &ModelStore, run: &ModelRun) -> Result<()> {
    models.store().delete(&models.run_key(run, "result.json")).await?;
    models.store().delete_folder(&models.key(&run.path())).await?;
    Ok(())
}
