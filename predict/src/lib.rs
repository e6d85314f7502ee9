//! Scores every row of a table with a published model. The modules stand in the order of the flow.
#![forbid(unsafe_code)]

pub mod program;

pub mod settings;

pub mod plan;

pub mod interval;

pub mod load;

pub mod check;

pub mod plan_memory;

pub mod reasons;

pub mod slices;

pub mod sources;

pub mod read;

pub mod share;

pub mod ids;

pub mod duplicate_ids;

pub mod score;

pub mod predictions;

pub mod write;

pub mod score_parts;

pub mod shard_record;

pub mod run_checks;

pub mod manifest;

pub mod report;

pub mod pointer;

pub mod prepare;

pub mod evaluate;

pub mod history;

use std::sync::Arc;
use std::time::Instant;

use ::history::Pages;
use app::Context;
use attempt::pointer::Move;
use attempt::{Commit, Earlier, RunFile, RunFolder};
use error::Result;
use machine::tasks::Processors;
use machine::{RunId, Shard, now_rfc3339};
use registry::ModelStore;
use table::Dataset;
use telemetry::{Outcome, Summary, Telemetry};

use crate::load::{Model, Wanted, once_each};
use crate::manifest::Totals;
use crate::plan::{PredictBody, PredictPlan};
use crate::plan_memory::{MemoryPlan, room_for_footers};
use crate::pointer::{LATEST, OutputPointer};
use crate::reasons::{Condition, Reasons};
use crate::report::{Circumstances, LastRun, REPORT};
use crate::run_checks::{RunMetrics, ScoredRun, check_run, memory_metrics};
use crate::score::Scorer;
use crate::score_parts::{ScoringPipeline, read_options};
use crate::settings::Settings;
use crate::shard_record::{AllShards, ShardRecord, ShardRecords};
use crate::share::Share;
use crate::slices::RunSlices;
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
    summary.set("output_location", predictions_location(&settings, &context.run_id)).set("created_at", now_rfc3339());
    summary.set("limits", context.limits.json());
    let predicted = tokio::select! {
        predicted = predict(&settings, &context, &folder, &mut summary) => predicted,
        stopped = context.shutdown.stopped(&context.run_id) => Err(stopped),
    };
    let concluded = match predicted {
        Ok(Predicted::Decided(outcome, began_at)) => conclude(&folder, outcome, &began_at).await,
        // Not interrupted any more: a few small writes, each of which a repeated run id can go on from.
        Ok(Predicted::Ready(commit, metrics)) => {
            commit_and_conclude(&settings, &context, &folder, (*commit, &metrics)).await
        }
        // The pages show runs, and this one is none yet.
        Ok(Predicted::Share) => return (summary.succeeded(), context.telemetry),
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
    let pages = Pages::of_predictions(Arc::clone(folder.store()));
    pages.after_run(outcome.exit_code(), &context.shutdown).await;
    (outcome, context.telemetry)
}

/// What scoring came to.
#[derive(Debug)]
enum Predicted {
    /// An earlier attempt had decided the run, which began then.
    Decided(Outcome, String),
    /// The parts are written, and nothing speaks against them: what decides the run, and what it is measured by.
    Ready(Box<Commit>, RunMetrics),
    /// The parts of this shard are written, and other shards have not ended yet.
    Share,
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
    loop {
        let before = attempt::pointer::read::<OutputPointer>(folder.store().as_ref(), LATEST).await?;
        let before = before.map(|(pointer, _)| pointer);
        let earlier = match plan::earlier(settings, folder).await? {
            Earlier::Decided { outcome, plan } => {
                return Ok(Predicted::Decided(outcome, plan.map(|plan| plan.started_at).unwrap_or_default()));
            }
            Earlier::UnderWay(plan) => Some(plan),
            Earlier::Nothing => None,
        };
        folder.own();
        let flow = Flow { settings, context, folder, before: before.as_ref(), started };
        if let Some(predicted) = flow.predict(earlier, summary).await? {
            return Ok(predicted);
        }
        tracing::info!("another task of this run began with another model, which holds: going on with that one");
    }
}

/// What was asked for, and where.
#[derive(Clone, Copy)]
struct Flow<'a> {
    settings: &'a Settings,
    context: &'a Context,
    folder: &'a RunFolder,
    /// What the output's pointer named when this attempt began.
    before: Option<&'a OutputPointer>,
    started: Instant,
}

impl Flow<'_> {
    /// The flow of a run that is not decided; none where another attempt has begun it with another model meanwhile.
    async fn predict(self, earlier: Option<PredictPlan>, summary: &mut Summary) -> Result<Option<Predicted>> {
        let Self { settings, context, folder, .. } = self;
        let models = ModelStore::new(settings.store.models.open().await?, &settings.store.model_name)
            .within(context.limits.memory_bytes.value);
        let selector = plan::selector(settings, earlier.as_ref())?;
        let model_run = plan::model_run(&models, &selector).await?;
        let model = Model::load(&models, &selector, model_run, &Wanted::by(settings, &context.limits)).await?;
        summary.set("model_version", model.run.version.as_str()).set("model_run_id", model.run.run_id.as_str());
        summary.set("r2_when_trained", model.r2);
        tracing::info!("scoring with model {}", model.run);

        let condition = settings.condition()?;
        let mut columns = model.input_columns(&settings.columns);
        columns.extend(condition.iter().flat_map(Condition::input_columns).cloned());
        check::check_names(settings, &model)?;
        let room = room_for_footers(&context.limits, Some(&model));
        let needed = once_each(columns.iter().cloned().chain(model.slice_columns()));
        let mut dataset = Dataset::open_within(&settings.input, Some(&needed), settings.csv_format(), room).await?;
        dataset.adopt_partition_kinds(|name| model.learnt_kind(name));
        dataset.untype_empty_columns(|column| model.encoder.is_of_other_type(column));
        let dataset = Arc::new(dataset);
        check::check_input(settings, &dataset, &model)?;
        let condition = condition.map(|condition| condition.bound_to(&dataset, &model)).transpose()?;
        let reasons = Reasons::new(settings.reasons, condition, &model);
        let slices = RunSlices::of(&model.metadata.slices, &dataset.schema);
        slices.log();
        let columns = once_each(columns.into_iter().chain(slices.columns()));
        let memory =
            MemoryPlan::new(settings, &context.limits, &dataset, (&model, slices.read.len()), &columns).await?;
        let scorer = Arc::new(Scorer {
            id: model.metadata.id.clone(),
            carry: settings.columns.clone(),
            model,
            reasons,
            slices,
            by_order: false.into(),
        });
        memory.log();
        memory.begin();
        let Some(plan) = self.plan(earlier, &dataset, &scorer, &memory).await? else { return Ok(None) };
        let Some((totals, seconds)) = self.totals(&plan, &dataset, &scorer, &memory, summary).await? else {
            context.telemetry.emit(&memory_metrics(context));
            return Ok(Some(Predicted::Share));
        };
        let (plan, model, slices, totals) = (&plan, &scorer.model, &scorer.slices, &totals);
        let scored = ScoredRun { settings, context, folder, plan, model, slices, totals };
        let checked = check_run(&scored, summary);
        let refused = checked.as_ref().err().map(ToString::to_string);
        let last = LastRun::read(folder, self.before).await;
        let circumstances = Circumstances { last: last.as_ref(), seconds, refused: refused.as_deref() };
        let page = report::html(&scored, &circumstances);
        let (manifest, metrics) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                report::write(folder, page).await;
                return Err(error);
            }
        };
        let files = vec![RunFile::new("manifest.json", manifest)];
        let commit = Commit::new(summary.clone(), None, files, &now_rfc3339())?;
        let commit = commit.with_page(RunFile::new(REPORT, page))?;
        Ok(Some(Predicted::Ready(Box::new(commit), metrics)))
    }

    /// The plan of the run.
    async fn plan(
        &self,
        earlier: Option<PredictPlan>,
        dataset: &Arc<Dataset>,
        scorer: &Scorer,
        memory: &MemoryPlan,
    ) -> Result<Option<PredictPlan>> {
        let Self { settings, folder, .. } = self;
        if let Some(plan) = earlier {
            plan::refuse_other_input(&plan, settings, dataset, folder)?;
            if let Some(shards) = plan.body.shards {
                share::refuse_other_parts(shards, dataset, &folder.plan_location())?;
            }
            return Ok(Some(plan));
        }
        let shards = match settings.shard {
            Some(shard) => Some(share::shards_of(shard, dataset, read_options(scorer, memory)).await?),
            None => None,
        };
        plan::begin(settings, folder, PredictBody::new(folder, &scorer.model.run, dataset, shards)).await
    }

    /// What came of all parts, and the seconds that scoring took; none where other shards have not ended yet.
    async fn totals(
        &self,
        plan: &PredictPlan,
        dataset: &Arc<Dataset>,
        scorer: &Arc<Scorer>,
        memory: &MemoryPlan,
        summary: &mut Summary,
    ) -> Result<Option<(Totals, f64)>> {
        let Self { settings, context, folder, started, .. } = *self;
        let writer = PartWriter {
            store: Arc::clone(folder.store()),
            run_id: context.run_id.clone(),
            format: settings.format,
            model_version: scorer.model.run.version.to_string(),
            target: scorer.model.metadata.target_statistics.clone().map(Arc::new),
            slices: scorer.slices.read.len(),
            processors: Processors::new(context.limits.threads.value),
        };
        let score = async |share: &Share| {
            let pipeline = ScoringPipeline { settings, context, dataset, memory, scorer, writer: &writer, share };
            Ok::<_, error::Error>(Totals::of(pipeline.score_parts().await?, scorer.model.new_tallies()))
        };
        let (totals, seconds) = match settings.shard.zip(plan.body.shards) {
            None => {
                let totals = score(&Share::whole(dataset)).await?;
                (totals, started.elapsed().as_secs_f64())
            }
            Some((shard, shards)) => {
                let (features, slices) = (scorer.model.encoder.len(), scorer.slices.read.len());
                let records = ShardRecords { folder, writer: &writer, shard, shards, features, slices };
                let own = match records.own().await? {
                    Some(record) => record,
                    None => {
                        let totals = score(&Share::of(shard, shards.parts, dataset)).await?;
                        records.put(started.elapsed().as_secs_f64(), totals).await?
                    }
                };
                match records.all(scorer.model.new_tallies()).await? {
                    Some(AllShards { seconds, totals }) => {
                        summary.set("shards", shards.count).set("complete", true);
                        (totals, seconds)
                    }
                    None => {
                        describe_share(&own, shard, scorer, summary);
                        return Ok(None);
                    }
                }
            }
        };
        if scorer.reasons.is_some() {
            summary.set("rows_explained", totals.rows_explained).set("explained_by", scorer.model.engine.name());
        }
        summary.set("seconds", seconds);
        Ok(Some((totals, seconds)))
    }
}

/// What is known of a run of which only this share is.
fn describe_share(record: &ShardRecord, shard: Shard, scorer: &Scorer, summary: &mut Summary) {
    let totals = &record.totals;
    summary.set("shard", shard.to_string()).set("complete", false);
    summary.set("rows_read", totals.rows_read).set("rows_predicted", totals.rows_predicted());
    summary.set("rows_rejected", totals.reasons.total()).set("parts", totals.parts.len());
    if scorer.reasons.is_some() {
        summary.set("rows_explained", totals.rows_explained);
    }
    summary.set("seconds", record.seconds);
}

async fn commit_and_conclude(
    settings: &Settings,
    context: &Context,
    folder: &RunFolder,
    (commit, metrics): (Commit, &RunMetrics),
) -> Result<Outcome> {
    let ours = commit.outcome().clone();
    let held = folder.commit(commit).await?;
    // Of the shards that saw the run complete one tells what it is measured by.
    match settings.shard.is_none() || held == ours {
        true => context.telemetry.emit(metrics),
        false => context.telemetry.emit(&memory_metrics(context)),
    }
    let outcome = conclude(folder, held, "").await?;
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
