//! Scores every row of a table with a published model. The modules stand in the order of the flow.
#![forbid(unsafe_code)]

pub mod settings;

pub mod resume;

pub mod load;

pub mod check;

pub mod plan_memory;

pub mod read;

pub mod ids;

pub mod repeats;

pub mod score;

pub mod write;

pub mod score_parts;

pub mod judge;

pub mod manifest;

pub mod publish;

pub mod prepare;

use std::sync::Arc;
use std::time::Instant;

use error::{Error, Result};
use machine::{Limits, RunId, Shutdown, now_rfc3339};
use registry::pointer::FORMAT_VERSION;
use registry::{ModelRun, ModelStore};
use table::Dataset;
use telemetry::{Outcome, Summary, Telemetry};

use crate::load::Model;
use crate::manifest::{Plan, RunRecords, Totals};
use crate::plan_memory::MemoryPlan;
use crate::publish::{Publication, line, predictions_location};
use crate::score::Scorer;
use crate::score_parts::Line;
use crate::settings::{Instructions, Settings};
use crate::write::PartWriter;

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
    let opened = match settings.check() {
        Ok(()) => settings.output.open().await,
        Err(error) => Err(error),
    };
    let store = match opened {
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
        Ok(Predicted::Accepted(publication)) => {
            context.shutdown.conclude();
            publish::publish(&settings, &records, publication, &summary).await
        }
        Err(error) => Err(error),
    };
    let outcome = match concluded {
        Ok(outcome) => outcome,
        Err(error) => {
            let outcome = summary.failed(&error);
            if owns_records && let Err(unwritten) = records.put_failure(line(&outcome)).await {
                tracing::warn!("result.json could not be written: {unwritten}");
            }
            outcome
        }
    };
    (outcome, context.telemetry)
}

/// What scoring came to.
#[derive(Debug)]
enum Predicted {
    /// The run was complete already.
    Over(Outcome),
    /// The parts are written, and nothing speaks against them.
    Accepted(Publication),
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
        resume::refuse_other_settings(plan, settings, records)?;
    }
    if let (Some(outcome), Some(plan)) = (records.finished().await?, &earlier) {
        resume::refuse_replaced_input(plan, settings, records).await?;
        resume::finish_again(settings, records, &outcome, &ModelRun::from_path(&plan.model)?).await?;
        return Ok(Predicted::Over(outcome));
    }
    *owns_records = true;
    let models = ModelStore::new(settings.store.models.open().await?, &settings.store.model_name);
    let model_run = resume::model_run(settings, &models, earlier.as_ref()).await?;
    let model = Model::load(&models, model_run, settings.instructions.map(Instructions::set)).await?;
    summary.set("model_version", model.run.version.as_str()).set("model_run_id", model.run.run_id.as_str());
    tracing::info!("scoring with model {}", model.run);

    let scorer = Arc::new(Scorer { id: model.metadata.id.clone(), carry: settings.columns.clone(), model });
    let columns = scorer.input_columns();
    check::check_names(settings, &scorer.model)?;
    let mut dataset = Dataset::open_for(&settings.input, Some(&columns), settings.csv_format()).await?;
    dataset.adopt_partition_kinds(|name| scorer.model.learnt_kind(name));
    let dataset = Arc::new(dataset);
    check::check_input(settings, &dataset, &scorer.model)?;
    let memory = MemoryPlan::new(settings, &context.limits, &dataset, &scorer.model, &columns).await?;
    memory.log();
    if let Some(plan) = &earlier {
        resume::refuse_other_input(plan, settings, &dataset, records)?;
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
    let all_parts = Line { settings, context, dataset: &dataset, memory: &memory, scorer: &scorer, writer: &writer };
    let parts = all_parts.score_parts().await?;
    let totals = Totals::of(parts, scorer.model.new_tallies());
    summary.set("seconds", started.elapsed().as_secs_f64());
    let manifest = judge::judge(settings, context, records, &plan, &scorer.model, &totals, summary)?;
    let model = scorer.model.run.clone();
    Ok(Predicted::Accepted(Publication { manifest, rows: totals.rows_predicted(), model, writer }))
}

fn new_plan(settings: &Settings, context: &Context, dataset: &Dataset, model: &Model) -> Plan {
    Plan {
        format_version: FORMAT_VERSION,
        run_id: context.run_id.to_string(),
        started_at: now_rfc3339(),
        model: model.run.path(),
        settings: manifest::identity(settings),
        part_rows: read::PART_ROWS,
        input: manifest::input_objects(dataset),
    }
}
