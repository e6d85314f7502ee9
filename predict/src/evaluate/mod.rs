//! `predict evaluate`: what came of the predictions of a run. Ids are joined in bounded memory, and the errors told in all, by tenths
//! of the prediction and by slices.

mod complete_run;
mod findings;
mod join;
mod keys;
mod memory;
mod side;
mod tenths;

use std::sync::Arc;

use columns::text::canonical_text;
use columns::text_hints::shown;
use columns::{ColumnKind, ColumnSource};
use error::{Error, Result};
use futures::TryStreamExt;
use history::Pages;
use machine::now_rfc3339;
use registry::{Described, ModelRun, ModelStore, SlicedColumn, describe_run};
use table::Dataset;
use table::parquet::FooterRoom;
use telemetry::{Metric, Outcome, Summary, Telemetry, Unit};

use self::complete_run::CompleteRun;
use self::findings::Findings;
use self::join::{Joined, join};
use self::keys::JoinKeys;
use self::memory::{MemoryPlan, OpenedSide};
use self::side::{Side, SideColumns, SideReader, check_columns, place_of};
use self::tenths::{Pairs, tenths};
use crate::ids::IdKey;
use crate::ids::partitions::ScratchFile;
use crate::plan_memory::{BASE, ColumnReads, usable};
use crate::read::{self, Need};
use crate::report;
use crate::settings::EvaluateSettings;
use app::Context;

/// The column of predictions.
const PREDICTION: &str = "prediction";

/// Compares a run's predictions with what came true. Every failure is in the outcome.
pub async fn run(settings: EvaluateSettings, mut context: Context) -> (Outcome, Telemetry) {
    let mut summary = Summary::new(&context.run_id);
    let shutdown = context.shutdown.clone();
    let run_id = context.run_id.clone();
    let evaluated = tokio::select! {
        evaluated = evaluate(&settings, &mut context, &mut summary) => evaluated,
        stopped = shutdown.stopped(&run_id) => Err(stopped),
    };
    let outcome = match evaluated {
        Ok(()) => summary.succeeded(),
        Err(error) => summary.failed(&error),
    };
    (outcome, context.telemetry)
}

async fn evaluate(settings: &EvaluateSettings, context: &mut Context, summary: &mut Summary) -> Result<()> {
    settings.check()?;
    let run = CompleteRun::find(settings).await?;
    context.run_id = run.folder.run_id().clone();
    context.telemetry.rename(&context.run_id);
    summary.set("run_id", context.run_id.as_str());
    let model_run = run.manifest.model.run.model_run()?;
    summary.set("model_version", model_run.version.as_str()).set("model_run_id", model_run.run_id.as_str());
    summary.set("rows_predicted", run.manifest.rows_predicted);
    tracing::info!("evaluating run {} of model {model_run}", context.run_id);

    let models = ModelStore::new(settings.store.models.open().await?, &settings.store.model_name)
        .within(context.limits.memory_bytes.value);
    let model = describe(settings, &models, &model_run).await?;
    let room =
        |others: u64| FooterRoom::beside(BASE + others, usable(&context.limits), context.limits.memory_bytes.value);
    let predictions = run.predictions(&settings.output, room(0)).await?;
    let held = predictions.as_ref().map_or(0, Dataset::held_bytes);
    let csv = settings.csv.format();
    let mut actuals = Dataset::open_within(&settings.actuals, None, csv, room(held)).await?;
    // Where nothing came true yet, the type of the column says nothing.
    let value = target(settings, model.as_ref());
    actuals.untype_empty_columns(|column| Some(&column.name) == value && !column.kind.is_number());
    let actuals = Arc::new(actuals);
    let predictions = predictions.map(Arc::new);
    let slices = match settings.slice.is_empty() {
        true => slices_of_model(model.as_ref(), [predictions.as_deref(), Some(&actuals)]),
        false => crate::load::once_each(settings.slice.iter().cloned()),
    };
    let [mut of_predictions, of_actuals] = columns(settings, model.as_ref(), predictions.as_deref(), slices)?;
    of_predictions.has_intervals = run.manifest.settings.interval.is_some();
    if let Some(predictions) = &predictions {
        check_columns(predictions, &of_predictions)?;
    }
    check_columns(&actuals, &of_actuals)?;

    let sides = [
        OpenedSide { dataset: predictions.as_deref(), columns: &of_predictions },
        OpenedSide { dataset: Some(&actuals), columns: &of_actuals },
    ];
    let memory = MemoryPlan::new(&context.limits, sides).await?;
    let threads = context.limits.threads.value;
    let file = ScratchFile::create(memory.rows_bytes).map_err(|error| scratch_failed("create", &error))?;
    let reader = SideReader { file: Arc::new(file), threads };
    let [reads_of_predictions, reads_of_actuals] = memory.reads;
    let predicted = read_side(context, &reader, predictions.as_ref(), &of_predictions, reads_of_predictions).await?;
    if predicted.rows != run.manifest.rows_predicted {
        return Err(Error::Data(format!(
            "the predictions of run {} have {} rows, and its manifest says {}: restore them, or predict again",
            context.run_id, predicted.rows, run.manifest.rows_predicted
        )));
    }
    let actual = read_side(context, &reader, Some(&actuals), &of_actuals, reads_of_actuals).await?;
    let mut findings = Findings::of_sides(&predicted, &actual);
    let (without_id, has_intervals) = (predicted.without_id, predicted.has_intervals);
    let file = Arc::clone(&reader.file);
    let (joined, tenths) = machine::tasks::blocking(move || -> std::io::Result<_> {
        let joined = join(predicted, actual, &file, threads)?;
        let pairs = Pairs { blocks: &joined.pairs, has_intervals };
        let tenths = tenths(pairs, joined.counts.matched, &file, threads)?;
        Ok((joined, tenths))
    })
    .await?
    .map_err(|error| scratch_failed("read", &error))?;
    if let Some(repeated) = joined.repeated {
        return Err(repeated_id(&actuals, &of_actuals, reads_of_actuals, repeated).await?);
    }
    tracing::debug!(bytes = reader.file.disk_bytes(), "rows that went by way of the scratch disk");
    findings.take(&joined, tenths, without_id);
    findings.interval = run.manifest.settings.interval;
    findings.r2_when_trained = model.as_ref().and_then(|model| model.r2);
    findings.log(&settings.actuals);
    emit_metrics(context, &joined);
    findings.summarise(summary);
    let now = now_rfc3339();
    let record = findings.record(settings, &of_actuals, summary, &now)?;
    run.folder.put("actuals.json", record.clone().into()).await?;
    models.store().put(&models.key(&format!("realized/{}.json", context.run_id)), record.into()).await?;
    report::write_outcomes(&run.folder, &findings.outcomes(&now)).await;
    Pages::of_predictions(Arc::clone(run.folder.store())).update().await;
    Pages::of_models(models.shared_store(), models.name()).update().await;
    refuse_below(settings, &findings)
}

/// What the model's run says of it. A model that was pruned since is no reason to keep silent about its predictions, where the settings
/// say what was predicted.
async fn describe(settings: &EvaluateSettings, models: &ModelStore, run: &ModelRun) -> Result<Option<Described>> {
    match describe_run(models, run).await {
        Ok(described) => Ok(Some(described)),
        Err(Error::Model(text)) if settings.target.is_some() => {
            tracing::warn!("R² when it was trained is not known: {text}");
            Ok(None)
        }
        Err(Error::Model(text)) => {
            Err(Error::Model(format!("{text}; or say with --target (TARGET_COLUMN) what was predicted")))
        }
        Err(error) => Err(error),
    }
}

/// The columns that the model was judged by slice by slice, as far as one of the sides has them: where nothing else is asked for, they
/// are told once more.
fn slices_of_model(model: Option<&Described>, sides: [Option<&Dataset>; 2]) -> Vec<String> {
    let slices = model.into_iter().flat_map(|model| &model.metadata.slices).map(|slice| slice.column.clone());
    let is_there = |name: &String| sides.iter().flatten().any(|side| side.schema.get(name).is_some());
    crate::load::once_each(slices.filter(is_there))
}

/// The column of what came true.
fn target<'a>(settings: &'a EvaluateSettings, model: Option<&'a Described>) -> Option<&'a String> {
    settings.target.as_ref().or(model.map(|model| &model.metadata.target))
}

/// The columns of both sides. A column of slices that was carried over to the predictions is taken from there.
fn columns(
    settings: &EvaluateSettings,
    model: Option<&Described>,
    predictions: Option<&Dataset>,
    slices: Vec<String>,
) -> Result<[SideColumns; 2]> {
    let metadata = model.map(|model| &model.metadata);
    let slice = |column: String| {
        let kind = metadata.and_then(|metadata| metadata.kind_of_slice(&column)).unwrap_or(ColumnKind::Text);
        SlicedColumn { column, kind }
    };
    let is_of_predictions =
        |slice: &SlicedColumn| predictions.is_some_and(|dataset| dataset.schema.get(&slice.column).is_some());
    // The id stands first in the predictions.
    let first = predictions.and_then(|dataset| dataset.schema.columns().first()).map(|column| column.name.clone());
    let id_of_predictions = metadata.map(|metadata| metadata.id.clone()).or(first).unwrap_or_default();
    let (of_predictions, of_actuals) = slices.into_iter().map(slice).partition(is_of_predictions);
    let actuals = SideColumns {
        id: settings.id.clone().unwrap_or_else(|| id_of_predictions.clone()),
        value: target(settings, model).cloned().unwrap_or_default(),
        has_intervals: false,
        slices: of_actuals,
    };
    if actuals.id.is_empty() {
        return Err(Error::Setting(
            "--id (ID_COLUMN) is not set, and neither model nor predictions tell it".to_owned(),
        ));
    }
    let predictions = SideColumns {
        id: id_of_predictions,
        value: PREDICTION.to_owned(),
        has_intervals: false,
        slices: of_predictions,
    };
    Ok([predictions, actuals])
}

async fn read_side(
    context: &Context,
    reader: &SideReader,
    dataset: Option<&Arc<Dataset>>,
    columns: &SideColumns,
    reads: Option<ColumnReads>,
) -> Result<Side> {
    let (Some(dataset), Some(reads)) = (dataset, reads) else { return Ok(Side::new(columns)) };
    let step = if columns.value == PREDICTION { "predictions" } else { "actuals" };
    let progress = context.telemetry.progress(step, Unit::Items("rows"), dataset.row_count());
    dataset.store.keep_buffers(usize::try_from(reads.fetch_bytes).unwrap_or(usize::MAX));
    let side = reader.read(dataset, columns, reads.options(columns.names(), &columns.id), &progress).await?;
    progress.finish();
    Ok(side)
}

/// The id that the actuals have twice, with both places: the partitions do not know them, so the ids are read once more.
async fn repeated_id(
    actuals: &Arc<Dataset>,
    columns: &SideColumns,
    reads: Option<ColumnReads>,
    repeated: IdKey,
) -> Result<Error> {
    let mut places = Vec::new();
    let mut text = String::new();
    if let Some(reads) = reads {
        let mut batches =
            read::batches(actuals, reads.options(vec![columns.id.clone()], &columns.id), |_| Need::Everything);
        while places.len() < 2
            && let Some(batch) = batches.try_next().await?
        {
            let ids = batch.columns.column(&columns.id)?;
            let keys = JoinKeys::of(&ids)?;
            for row in (0..keys.len()).filter(|row| keys.get(*row) == Some(repeated)).take(2) {
                let (object, row_there) = place_of(&batch, row, actuals);
                places.push(format!("data row {row_there} of {object}"));
                text = canonical_text(&ids)?.get(row).map(shown).unwrap_or_default();
            }
        }
    }
    places.truncate(2);
    Ok(Error::Data(format!(
        "the id {text} comes more than once among the actuals ({}), so it is not known which value came true: keep one row for each \
         id",
        places.join(", ")
    )))
}

fn emit_metrics(context: &Context, joined: &Joined) {
    let peak = machine::usage::peak_memory().unwrap_or_default();
    let utilization = machine::usage::memory_utilization(peak, context.limits.memory_bytes.value);
    let r2 = joined.sums().errors().and_then(|errors| errors.r2);
    context.telemetry.emit(&[
        (Metric::RealizedAccuracy, r2.unwrap_or(f64::NAN)),
        (Metric::PeakMemory, peak as f64),
        (Metric::MemoryUtilization, utilization.unwrap_or(f64::NAN)),
    ]);
}

/// After everything is written.
fn refuse_below(settings: &EvaluateSettings, findings: &Findings) -> Result<()> {
    let Some(least) = settings.min_r2 else { return Ok(()) };
    match findings.r2() {
        Some(r2) if r2 >= least => Ok(()),
        Some(r2) => Err(Error::Gate(format!(
            "R² of what came true is {r2:.4}, below --min-r2 (MIN_R2) {least}, on {} predictions{}: see docs/operations.md, \"When less \
             came true than was promised\"",
            findings.rows_matched(),
            findings.r2_when_trained.map(|r2| format!(" (when trained: {r2:.4})")).unwrap_or_default()
        ))),
        None => Err(Error::Data(format!(
            "--min-r2 (MIN_R2) is given, but {} actuals are matched with predictions, on which no R² can be computed: check that \
             --actuals (ACTUALS) has the ids of this run",
            findings.rows_matched()
        ))),
    }
}

/// What went wrong with the scratch disk.
fn scratch_failed(what: &str, error: &std::io::Error) -> Error {
    let text = format!(
        "cannot {what} the file in {} that predictions and actuals are joined by: {error}: give the task more disk or memory, or set \
         TMPDIR to a folder that can be written",
        std::env::temp_dir().display()
    );
    match error.kind() {
        std::io::ErrorKind::PermissionDenied
        | std::io::ErrorKind::ReadOnlyFilesystem
        | std::io::ErrorKind::NotFound => Error::Setting(text),
        _ => Error::Resources(text),
    }
}
