//! `predict prepare`: would a run work? Model, schema, sizes and a sample of the input, without scoring.

use std::sync::Arc;

use columns::ColumnSource;
use error::{Error, Result};
use features::encode::BadRows;
use features::quality::data_quality_score;
use futures::TryStreamExt;
use machine::now_rfc3339;
use registry::{ModelStore, resolve};
use serde_json::{Value, json};
use table::Dataset;
use telemetry::{Outcome, Summary, Telemetry};

use crate::check::{check_input, check_names, without_terminal_width};
use crate::load::{Model, Wanted, once_each};
use crate::plan;
use crate::plan_memory::{MemoryPlan, room_for_footers};
use crate::pointer::{LATEST, OutputPointer};
use crate::read::{self, Need, ReadOptions, RowSource};
use crate::reasons::Condition;
use crate::settings::Settings;
use crate::slices::RunSlices;
use crate::write::UnreadableColumn;
use app::Context;

/// Rows of the input that are looked at.
const SAMPLE_ROWS: usize = 10_000;

/// Checks a coming run and writes `prepare.json`. Where no model exists yet that is said, and is no failure.
pub async fn run(settings: Settings, context: Context) -> (Outcome, Telemetry) {
    let mut summary = Summary::new(&context.run_id);
    let prepared = match settings.check() {
        Ok(()) => prepare(&settings, &context, &mut summary).await,
        Err(error) => Err(error),
    };
    let outcome = match prepared {
        Ok(()) => summary.succeeded(),
        Err(error) => summary.failed(&error),
    };
    (outcome, context.telemetry)
}

async fn prepare(settings: &Settings, context: &Context, summary: &mut Summary) -> Result<()> {
    summary.set("prepare", true);
    let folder = plan::folder(settings.output.open().await?, &context.run_id);
    // Nothing is written where the run would not write either.
    attempt::pointer::read::<OutputPointer>(folder.store().as_ref(), LATEST).await?;
    let checked = check(settings, context, summary).await;
    let error = checked.as_ref().err();
    let has_model = summary.get("model").is_some_and(|model| !model.is_null());
    let is_rejected = summary.get("sample").is_some_and(|sample| is_rejected(settings, sample));
    let report = json!({
        "format_version": registry::pointer::FORMAT_VERSION,
        "run_id": context.run_id,
        "prepared_at": now_rfc3339(),
        "model": summary.get("model").cloned().unwrap_or(Value::Null),
        "rows": summary.get("rows"),
        "objects": summary.get("objects"),
        "bytes": summary.get("bytes"),
        "sample": summary.get("sample"),
        "memory": summary.get("memory"),
        "ready": error.is_none() && has_model && !is_rejected,
        "exit_code": error.map_or(0, Error::exit_code),
        "error_message": error.map(ToString::to_string),
    });
    let json = serde_json::to_vec_pretty(&report).map_err(|error| Error::Defect(error.to_string()))?;
    let written = folder.put("prepare.json", json.into()).await;
    checked.and(written)
}

/// Whether so many rows of a sample cannot be read that a run on rows like them would fail.
fn is_rejected(settings: &Settings, sample: &Value) -> bool {
    let of = |key: &str| sample[key].as_f64().unwrap_or_default();
    of("unreadable_rows") > settings.max_reject_fraction.0 * of("rows")
}

async fn check(settings: &Settings, context: &Context, summary: &mut Summary) -> Result<()> {
    let settings = without_terminal_width(settings, &context.limits).await?;
    let settings = settings.as_ref();
    let models = ModelStore::new(settings.store.models.open().await?, &settings.store.model_name)
        .within(context.limits.memory_bytes.value);
    let model = match resolve(&models, &settings.model_version).await? {
        Some(run) => {
            let wanted = Wanted::by(settings, &context.limits);
            Some(Model::load(&models, &settings.model_version, run, &wanted).await?)
        }
        None => None,
    };
    summary.set("model", model.as_ref().map(|model| model.run.to_string()));
    if model.is_none() {
        tracing::warn!("no model is published as \"{}\" yet", settings.model_version);
    }
    if let Some(model) = &model {
        check_names(settings, model)?;
    }
    let condition = settings.condition()?;
    let of_condition = || condition.iter().flat_map(Condition::input_columns).cloned();
    let columns = model.as_ref().map(|model| model.input_columns(&settings.columns));
    let columns = columns.map(|columns| once_each(columns.into_iter().chain(of_condition())));
    let of_slices = || model.iter().flat_map(Model::slice_columns);
    let needed = columns.as_ref().map(|columns| once_each(columns.iter().cloned().chain(of_slices())));
    let room = room_for_footers(&context.limits, model.as_ref());
    let mut dataset = Dataset::open_within(&settings.input, needed.as_deref(), settings.csv_format(), room).await?;
    dataset.adopt_partition_kinds(|name| model.as_ref().and_then(|model| model.learnt_kind(name)));
    if let Some(model) = &model {
        dataset.untype_empty_columns(|column| model.encoder.is_of_other_type(column));
    }
    let dataset = Arc::new(dataset);
    summary.set("objects", dataset.objects.len()).set("rows", dataset.row_count());
    summary.set("bytes", dataset.objects.iter().map(|object| object.meta.size).sum::<u64>());
    if let Some(model) = &model {
        check_input(settings, &dataset, model)?;
        if let Some(condition) = condition {
            condition.bound_to(&dataset, model)?;
        }
        let slices = RunSlices::of(&model.metadata.slices, &dataset.schema);
        let columns = once_each(columns.unwrap_or_default().into_iter().chain(slices.columns()));
        let memory = MemoryPlan::new(settings, &context.limits, &dataset, (model, slices.read.len()), &columns).await?;
        let as_json = serde_json::to_value(&memory).map_err(|error| Error::Defect(error.to_string()))?;
        summary.set("memory", as_json);
        let sample = sample(settings, &dataset, model, columns, &memory).await?;
        summary.set("sample", sample);
    }
    Ok(())
}

/// What the first rows are like.
async fn sample(
    settings: &Settings,
    dataset: &Arc<Dataset>,
    model: &Model,
    columns: Vec<String>,
    memory: &MemoryPlan,
) -> Result<Value> {
    let reading = ReadOptions {
        columns,
        id: model.metadata.id.clone(),
        batch_rows: SAMPLE_ROWS,
        // So little that one row group fills it: fetching more of them ahead would be for nothing.
        fetch_bytes: 1,
        paged: memory.paged,
    };
    let mut batches = read::batches(dataset, reading, |_| Need::Everything);
    let Some(batch) = batches.try_next().await? else {
        return Err(Error::Data(format!("{} has a header but no rows: there is nothing to score", dataset.location)));
    };
    let rows = batch.columns.rows();
    let mut bad = BadRows::none(rows);
    batch.malformed.iter().for_each(|&row| bad.mark(row));
    let mut tallies = model.new_tallies();
    let mut values = Vec::new();
    for (index, tally) in tallies.iter_mut().enumerate() {
        model.encoder.encode(index, &batch.columns, &mut values, tally, &mut bad)?;
    }
    let accepted = (0..rows).filter(|&row| !bad.is_bad(row)).count() as u64;
    let quality = data_quality_score(accepted, rows as u64, model.metadata.features.iter().zip(&tallies), true);
    let unreadable = rows as u64 - accepted;
    if unreadable > 0 {
        let mut columns = Vec::new();
        let name = |source: &RowSource| dataset.objects[source.object].meta.key.as_str();
        UnreadableColumn::add_batch(&mut columns, bad.unreadable(), &batch.sources, name);
        warn_of_unreadable(settings, unreadable, rows, &columns);
    }
    Ok(json!({ "rows": rows, "unreadable_rows": unreadable, "data_quality_score": quality }))
}

/// Says how many rows of the sample would be rejected, and which column is why.
fn warn_of_unreadable(settings: &Settings, unreadable: u64, rows: usize, columns: &[UnreadableColumn]) {
    let share = unreadable as f64 / rows.max(1) as f64;
    let allowed = settings.max_reject_fraction.0;
    let verdict = match share > allowed {
        true => format!("more than --max-reject-fraction (MAX_REJECT_FRACTION) {allowed} allows: a run would fail"),
        false => "a run would reject them".to_owned(),
    };
    let of_column = UnreadableColumn::most_in_words(columns, settings.csv_format().cells);
    let of_column = of_column.map(|column| format!("; {column}")).unwrap_or_default();
    tracing::warn!(
        "{unreadable} of the first {rows} rows ({:.1} %) cannot be read, {verdict}{of_column}",
        100.0 * share
    );
}
