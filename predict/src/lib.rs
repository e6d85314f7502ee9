//! Scores every row of a table with a published model. The modules stand in the order of the flow.
#![forbid(unsafe_code)]

pub mod settings;

pub mod plan;

pub mod load;

pub mod check;

pub mod plan_memory;

pub mod reasons;

pub mod sources;

pub mod read;

pub mod ids;

pub mod duplicate_ids;

pub mod score;

pub mod predictions;

pub mod write;

pub mod score_parts;

pub mod run_checks;

pub mod manifest;

pub mod report;

pub mod pointer;

pub mod prepare;

pub mod evaluate;

use std::sync::Arc;
use std::time::Instant;

use app::Context;
use attempt::pointer::Move;
use attempt::{Commit, Earlier, RunFile, RunFolder};
use error::Result;
use machine::tasks::Processors;
use machine::{RunId, now_rfc3339};
use registry::ModelStore;
use table::Dataset;
use telemetry::{Outcome, Summary, Telemetry};

use crate::load::{Model, Wanted, once_each};
use crate::manifest::Totals;
use crate::plan_memory::{MemoryPlan, room_for_footers};
use crate::pointer::{LATEST, OutputPointer};
use crate::reasons::{Condition, Reasons};
use crate::report::{Circumstances, LastRun, REPORT};
use crate::run_checks::{ScoredRun, check_run};
use crate::score::Scorer;
use crate::score_parts::ScoringPipeline;
use crate::settings::Settings;
use crate::write::PartWriter;

/// Scores the input, from the settings to the moved pointer. Every failure is in the outcome.
pub async fn run(settings: Settings, context: Context) -> (Outcome, Telemetry) {
    let mut summary = Summary::new(&context.run_id);
    let opened = match settings.check() {
        Ok(()) => settings.output.open().await,
        Err(error) => Err(error),
    };
    let folder = match opened {
        Ok(store) => plan::folder(store, &context.run_id),
        Err(error) => return (summary.failed(&error), context.telemetry),
    };
    summary.set("output_location", predictions_location(&settings, &context.run_id));
    let predicted = tokio::select! {
        predicted = predict(&settings, &context, &folder, &mut summary) => predicted,
        stopped = context.shutdown.stopped(&context.run_id) => Err(stopped),
    };
    let concluded = match predicted {
        Ok(Predicted::Decided(outcome, began_at)) => conclude(&folder, outcome, &began_at).await,
        // Not interrupted any more: a few small writes, each of which a repeated run id can go on from.
        Ok(Predicted::Ready(commit)) => commit_and_conclude(&settings, &folder, *commit).await,
        Err(error) => Err(error),
    };
    let outcome = match concluded {
        Ok(outcome) => outcome,
        Err(error) => {
            let outcome = summary.failed(&error);
            folder.record_failure(&outcome, &error).await;
            outcome
        }
    };
    (outcome, context.telemetry)
}

/// What scoring came to.
#[derive(Debug)]
enum Predicted {
    /// An earlier attempt had decided the run, which began then.
    Decided(Outcome, String),
    /// The parts are written, and nothing speaks against them: what decides the run.
    Ready(Box<Commit>),
}

/// The flow up to what decides the run.
async fn predict(
    settings: &Settings,
    context: &Context,
    folder: &RunFolder,
    summary: &mut Summary,
) -> Result<Predicted> {
    let started = Instant::now();
    let settings = check::without_terminal_width(settings, &context.limits).await?;
    let settings = settings.as_ref();
    let before = attempt::pointer::read::<OutputPointer>(folder.store().as_ref(), LATEST).await?;
    let earlier = match plan::earlier(settings, folder).await? {
        Earlier::Decided { outcome, plan } => {
            return Ok(Predicted::Decided(outcome, plan.map(|plan| plan.started_at).unwrap_or_default()));
        }
        Earlier::UnderWay(plan) => Some(plan),
        Earlier::Nothing => None,
    };
    folder.own();
    let models = ModelStore::new(settings.store.models.open().await?, &settings.store.model_name)
        .within(context.limits.memory_bytes.value);
    let selector = plan::selector(settings, earlier.as_ref())?;
    let model_run = plan::model_run(&models, &selector).await?;
    let model = Model::load(&models, &selector, model_run, &Wanted::by(settings, &context.limits)).await?;
    summary.set("model_version", model.run.version.as_str()).set("model_run_id", model.run.run_id.as_str());
    tracing::info!("scoring with model {}", model.run);

    let condition = settings.condition()?;
    let mut columns = model.input_columns(&settings.columns);
    columns.extend(condition.iter().flat_map(Condition::input_columns).cloned());
    let columns = once_each(columns);
    check::check_names(settings, &model)?;
    let room = room_for_footers(&context.limits, Some(&model));
    let mut dataset = Dataset::open_within(&settings.input, Some(&columns), settings.csv_format(), room).await?;
    dataset.adopt_partition_kinds(|name| model.learnt_kind(name));
    let dataset = Arc::new(dataset);
    check::check_input(settings, &dataset, &model)?;
    let condition = condition.map(|condition| condition.bound_to(&dataset, &model)).transpose()?;
    let reasons = Reasons::new(settings.reasons, condition, &model);
    let scorer = Arc::new(Scorer {
        id: model.metadata.id.clone(),
        carry: settings.columns.clone(),
        model,
        reasons,
        by_order: false.into(),
    });
    let memory = MemoryPlan::new(settings, &context.limits, &dataset, &scorer.model, &columns).await?;
    memory.log();
    memory.begin();
    let plan = plan::begin(settings, folder, &dataset, &scorer.model.run, earlier).await?;

    let writer = PartWriter {
        store: Arc::clone(folder.store()),
        run_id: context.run_id.clone(),
        format: settings.format,
        model_version: scorer.model.run.version.to_string(),
        target: scorer.model.metadata.target_statistics.clone().map(Arc::new),
        processors: Processors::new(context.limits.threads.value),
    };
    let all_parts =
        ScoringPipeline { settings, context, dataset: &dataset, memory: &memory, scorer: &scorer, writer: &writer };
    let parts = all_parts.score_parts().await?;
    if let Some(reasons) = &scorer.reasons {
        summary.set("rows_explained", reasons.rows_explained()).set("explained_by", scorer.model.engine.name());
    }
    let totals = Totals::of(parts, scorer.model.new_tallies());
    summary.set("seconds", started.elapsed().as_secs_f64());
    let (plan, model, totals) = (&plan, &scorer.model, &totals);
    let scored = ScoredRun { settings, context, folder, plan, model, totals };
    let checked = check_run(&scored, summary);
    let refused = checked.as_ref().err().map(ToString::to_string);
    let last = LastRun::read(folder, before.map(|(pointer, _)| pointer)).await;
    let seconds = started.elapsed().as_secs_f64();
    let circumstances = Circumstances { last: last.as_ref(), seconds, refused: refused.as_deref() };
    let page = report::html(&scored, &circumstances);
    let manifest = match checked {
        Ok(manifest) => manifest,
        Err(error) => {
            report::write(folder, page).await;
            return Err(error);
        }
    };
    let commit = Commit::new(summary.clone(), None, vec![RunFile::new("manifest.json", manifest)], &now_rfc3339())?;
    let commit = commit.with_page(RunFile::new(REPORT, page))?;
    Ok(Predicted::Ready(Box::new(commit)))
}

async fn commit_and_conclude(settings: &Settings, folder: &RunFolder, commit: Commit) -> Result<Outcome> {
    let outcome = conclude(folder, folder.commit(commit).await?, "").await?;
    let rows = outcome.number("rows_predicted");
    tracing::info!(rows, "complete: {}", predictions_location(settings, folder.run_id()));
    Ok(outcome)
}

/// What follows from the result of a run that is decided: the pointer moves. `began_at` stands for the time of a run of a release
/// whose results do not tell it.
async fn conclude(folder: &RunFolder, outcome: Outcome, began_at: &str) -> Result<Outcome> {
    let publish = async {
        let pointer = OutputPointer::to(&outcome, began_at);
        if let Move::Superseded { by } = attempt::pointer::publish(folder.store().as_ref(), LATEST, pointer).await? {
            tracing::info!("{LATEST} stays at {by}, which was published later");
        }
        Ok(())
    };
    folder.conclude(publish).await?;
    Ok(outcome)
}

/// Where a run's predictions lie.
fn predictions_location(settings: &Settings, run_id: &RunId) -> String {
    format!("{}/predictions/run_id={run_id}", settings.output.to_string().trim_end_matches('/'))
}
