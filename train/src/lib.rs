//! Fits, evaluates, gates and publishes a model. The modules stand in the order of the flow.
#![forbid(unsafe_code)]

pub mod program;

pub mod settings;

pub mod run;

pub mod plan;

pub mod spec;

pub mod config;

pub mod plan_memory;

pub mod read;

pub mod features;

pub mod leaks;

pub mod dependence;

pub mod encodings;

pub mod checkpoint;

pub mod fit;

pub mod out_of_core;

mod shards;

pub mod evaluate;

pub mod gate;

pub mod report;

pub mod models;

pub mod export;

use std::sync::Arc;

use app::Context;
use attempt::pointer::check_model_pointers;
use attempt::{Commit, Earlier, RunFile};
use error::{Error, Result};
use machine::threads::{self, on_own_thread};
use machine::{Shard, now_rfc3339};
use registry::SCALE;
use registry::pointer::FORMAT_VERSION;
use serde_json::json;
use storage::sha256_hex;
use telemetry::{GATE, Metric, Outcome, Summary};

use crate::checkpoint::Checkpoint;
use crate::config::TrainConfig;
use crate::dependence::Estimate;
use crate::evaluate::{CompiledTrees, Evaluation, Predictor};
use crate::features::Features;
use crate::fit::{FitContext, Fitted, TargetScale, TargetView, histograms};
use crate::gate::Judge;
use crate::out_of_core::{Input, Outputs, Reader, Stop};
use crate::plan::{PROGRAM_VERSION, TrainBody, TrainPlan};
use crate::plan_memory::{MemoryPlan, room_for_footers};
use crate::read::TrainingData;
use crate::report::ModelParts;
use crate::run::Run;
pub use crate::run::run;

/// What training came to.
#[derive(Debug)]
enum Trained {
    /// The run only checked.
    Checked(Outcome),
    /// An earlier attempt had decided the run.
    Decided(Outcome),
    /// The model and all about it: what decides the run.
    Ready(Box<Commit>),
}

/// The features of a run and what was found out about the data on the way.
#[derive(Debug)]
struct PreparedFeatures {
    features: Features,
    quality: f64,
    warnings: Vec<String>,
    scale: TargetScale,
    /// Whether R² on random rows flatters.
    estimate: Option<Estimate>,
}

/// The flow up to the verdict.
async fn train(run: &Run) -> Result<Trained> {
    xgboost::check_version()?;
    let config = &run.config().await?;
    let earlier = match plan::earlier(&run.folder, config).await? {
        Earlier::Decided { outcome, .. } => return Ok(Trained::Decided(outcome)),
        Earlier::UnderWay(plan) => Some(plan),
        Earlier::Nothing => None,
    };
    check_model_pointers(&run.models, &run.id.version).await?;
    if !config.check {
        run.folder.own();
        if let Some(shard) = config.shard {
            return shards::train(run, config, shard, earlier).await;
        }
    }
    let opened = read::open(config, |held| room_for_footers(&run.context.limits, held)).await?;
    let mut memory = plan_memory(run, config, &opened, earlier.as_ref()).await?;
    let stop = Stop { shutdown: run.context.shutdown.clone(), run_id: run.context.run_id.clone() };
    let input = Input::read(config, &run.context.limits, opened, &memory, &stop).await?;
    let data = check_rows(run, config, &input, earlier.as_ref())?;
    memory.recount_rows(data)?;
    let view = TargetView::of(&config.given_params, &data.train, &data.target, data.location())?;
    let learnt = learn_features(run, config, &input, (&mut memory, earlier.as_ref()), view).await?;
    if config.check {
        run.summary().set("check", true).set("features", learnt.features.features.len());
        return Ok(Trained::Checked(run.summary().succeeded()));
    }
    let plan = begin(run, config, &data.objects_sha256, &memory, earlier.as_ref()).await?;
    let learnt = with_proposed(config, &input, &plan, learnt).await?;
    let checkpoint = Checkpoint::open(&run.folder, &plan, earlier.is_some())?;
    run.keep(&checkpoint);
    let reader = input.reader(&config.spec, &memory, plan.body.threads, &stop);
    let training = Training { run, config, input: &input, reader: reader.as_ref(), plan: &plan };
    let (learnt, fitted) = training.choose_and_fit(learnt, &checkpoint)?;
    checkpoint.close().await;
    training.judge_and_write(learnt, fitted, None).await.map(|commit| Trained::Ready(Box::new(commit)))
}

/// The plan that all attempts of this run keep to.
async fn begin(
    run: &Run,
    config: &TrainConfig,
    objects_sha256: &str,
    memory: &MemoryPlan,
    earlier: Option<&TrainPlan>,
) -> Result<TrainPlan> {
    let plan = match earlier {
        Some(earlier) => earlier.clone(),
        None => begin_first(run, config, objects_sha256, memory).await?,
    };
    if plan.body.threads > run.context.limits.threads.value {
        // The run was begun with more than this attempt was checked for.
        threads::check(plan.body.threads)?;
    }
    run.summary().set("created_at", plan.started_at.as_str());
    Ok(plan)
}

async fn begin_first(run: &Run, config: &TrainConfig, objects_sha256: &str, memory: &MemoryPlan) -> Result<TrainPlan> {
    let body = TrainBody {
        objects_sha256: objects_sha256.to_owned(),
        threads: run.context.limits.threads.value,
        reading: memory.training_mode(),
        shards: config.shard.map(Shard::count),
    };
    let plan = TrainPlan {
        format_version: FORMAT_VERSION,
        program_version: PROGRAM_VERSION.to_owned(),
        started_at: now_rfc3339(),
        settings: config.identity.clone(),
        body: body.clone(),
    };
    let plan = run.folder.begin(plan).await?;
    if plan.body == body {
        return Ok(plan);
    }
    Err(Error::Setting(format!(
        "another attempt of this run began at the same time, with other rows, threads or memory ({}): run again with the same \
         run id to go on with what it began",
        run.folder.plan_location()
    )))
}

/// Before step 1: in which way the rows fit into memory.
async fn plan_memory(
    run: &Run,
    config: &TrainConfig,
    opened: &read::Opened,
    earlier: Option<&TrainPlan>,
) -> Result<MemoryPlan> {
    let began = earlier.map(|plan| plan.body.reading);
    let memory = MemoryPlan::new(config, &run.context.limits, opened, began).await?;
    memory.log();
    tracing::info!("reading {}", config.train_data);
    Ok(memory)
}

/// Step 1: the rows, if they are the ones that the run began with and a model can be judged on them.
fn check_rows<'a>(
    run: &Run,
    config: &TrainConfig,
    input: &'a Input,
    earlier: Option<&TrainPlan>,
) -> Result<&'a Arc<TrainingData>> {
    let data = input.all();
    if let Some(plan) = earlier {
        plan::refuse_other_input(plan, data, &run.folder)?;
    }
    run.summary().set("rows_train", data.train.len()).set("rows_test", data.test.len());
    run.summary().set("rows_dropped", json!(data.dropped));
    data.log_rows();
    data.check_weights()?;
    gate::check_test_rows(config, data)?;
    Ok(data)
}

/// Step 2: the features, what speaks against them, and whether XGBoost takes the parameters with them.
async fn learn_features(
    run: &Run,
    config: &TrainConfig,
    input: &Input,
    (memory, earlier): (&mut MemoryPlan, Option<&TrainPlan>),
    view: TargetView,
) -> Result<PreparedFeatures> {
    let data = input.learning();
    let threads = run.context.limits.threads.value;
    let mut features = features::learn_and_encode(data, &config.spec, threads).await?;
    memory.recount_levels(config, &features.features, earlier.map(|plan| plan.body.reading))?;
    memory.plan_derived(earlier.map(|plan| plan.body.reading));
    if matches!(input, Input::InMemory(_)) {
        features.forget_kinds_of_empty_columns();
    }
    let quality = features.quality_score(data);
    run.summary().set("data_quality_score", quality);
    let TargetView { scale, warning } = view;
    let weights = fit::unfit_weights(&config.given_params, &input.all().train, scale);
    let found = warning.into_iter().chain(weights).chain(input.shared_ids().map(str::to_owned));
    let is_in_memory = matches!(input, Input::InMemory(_));
    let subject = dependence::Subject { config, data, features: &features, scale, threads, is_in_memory };
    let estimate = dependence::estimate(&subject).await?;
    set_estimate(&mut run.summary(), estimate.as_ref());
    let of_split = read::split_warnings(config, input.all());
    let found = found.chain(of_split).chain(estimate.iter().flat_map(Estimate::warnings)).collect();
    let warnings = leaks::check(config, data, found, &features, threads)?;
    run.summary().set("warnings", warnings.len());
    let params =
        scale.params(&fit::with_constraints(config.given_params.clone(), &config.spec, &features.features)?)?;
    let dry_run = || Ok(xgboost::dry_run(&params, &fit::matrix_features(&features.features))?);
    tokio::task::block_in_place(|| on_own_thread(dry_run))?;
    Ok(PreparedFeatures { features, quality, warnings, scale, estimate })
}

/// The features with the derived ones that the search may take besides: the same ones in every attempt of a run.
async fn with_proposed(
    config: &TrainConfig,
    input: &Input,
    plan: &TrainPlan,
    learnt: PreparedFeatures,
) -> Result<PreparedFeatures> {
    let TrainBody { threads, reading, .. } = plan.body;
    if !reading.has_derived {
        return Ok(learnt);
    }
    let data = input.learning();
    let columns = data.schema().columns().iter().map(|column| column.name.clone());
    let features = learnt.features.features.iter().map(|feature| feature.name.clone());
    // A name that the spec says something of, mistakenly, must not come to mean one of these.
    let named = config.spec.ranges.keys().chain(config.spec.encoding.keys()).cloned();
    let taken = columns.chain(features).chain(named).collect();
    let proposer = fit::Proposer {
        spec: &config.spec,
        base: &learnt.features,
        rows: &data.train,
        scale: learnt.scale,
        threads,
        seed: config.seed,
    };
    let proposed = tokio::task::block_in_place(|| on_own_thread(|| proposer.propose(taken)))?;
    if proposed.is_empty() {
        return Ok(learnt);
    }
    let derived = features::learn_derived(data, &config.spec, proposed, threads).await?;
    Ok(PreparedFeatures { features: learnt.features.followed_by(derived)?, ..learnt })
}

/// The figures of the estimate in the result: null where there is no such column, or rows are not validated at random.
fn set_estimate(summary: &mut Summary, estimate: Option<&Estimate>) {
    let newest = estimate.and_then(|estimate| estimate.newest.as_ref());
    let new_groups = estimate.and_then(|estimate| estimate.new_groups.as_ref());
    for (name, figure) in [("r2_newest", newest), ("r2_new_groups", new_groups)] {
        summary.set(name, json!(figure.map(|figure| figure.r2)));
        summary.set(&format!("{name}_column"), json!(figure.map(|figure| &figure.column)));
    }
    summary.set("r2_sample_random", json!(estimate.and_then(Estimate::random)));
}

/// A run whose plan stands: what its last steps read.
#[derive(Clone, Copy)]
struct Training<'a> {
    run: &'a Run,
    config: &'a TrainConfig,
    input: &'a Input,
    reader: Option<&'a Reader<'a>>,
    plan: &'a TrainPlan,
}

impl Training<'_> {
    /// Step 3: how to learn is chosen and the model fitted, each from where an earlier attempt stopped.
    fn choose_and_fit(&self, learnt: PreparedFeatures, checkpoint: &Checkpoint) -> Result<(PreparedFeatures, Fitted)> {
        let Self { config, input, reader, .. } = *self;
        let context = self.context(learnt.scale, checkpoint);
        let choose_and_fit = || {
            let rows = &input.learning().train;
            let choice = fit::choose_or_resume(&context, &learnt.features, rows)?;
            let features = encodings::apply(learnt.features, &choice.scheme, rows, u64::from(config.seed));
            let (features, fitted) = match reader {
                Some(reader) => reader.fit(&context, choice, features)?,
                None => {
                    let fitted = fit::fit(&context, choice, &features.features, &features.train, rows)?;
                    (features, fitted)
                }
            };
            self.tell(&fitted);
            Ok((PreparedFeatures { features, ..learnt }, fitted))
        };
        tokio::task::block_in_place(|| on_own_thread(choose_and_fit))
    }

    /// What choosing and fitting need of the run.
    fn context<'b>(&'b self, scale: TargetScale, checkpoint: &'b Checkpoint) -> FitContext<'b> {
        let Self { run, config, input, plan, .. } = *self;
        FitContext {
            config,
            threads: plan.body.threads,
            scale,
            fitted_rows: input.all().train.len(),
            parts: plan.body.reading.parts,
            histogram_nodes: plan.body.reading.histogram_nodes,
            has_room: plan.body.reading.has_derived,
            most_nodes: if plan.body.reading.is_shallow { histograms::USUAL_NODES } else { histograms::MOST_NODES },
            clip: evaluate::clip_bounds(&config.spec, input.all()),
            held_out: &input.all().test,
            shutdown: &run.context.shutdown,
            run_id: &run.context.run_id,
            telemetry: &run.context.telemetry,
            checkpoint,
        }
    }

    /// What the result says of a fitted model.
    fn tell(&self, fitted: &Fitted) {
        let mut summary = self.run.summary();
        summary.set("rounds", fitted.rounds);
        if let Some(round) = fitted.resumed_from {
            summary.set("resumed_from_round", round);
        }
    }

    /// Steps 4 to 6: the held-out rows, the gate's verdict, and the files of the model. What it says of the held-out rows is `known`
    /// where several tasks have predicted them.
    async fn judge_and_write(
        &self,
        learnt: PreparedFeatures,
        fitted: Fitted,
        known: Option<Outputs>,
    ) -> Result<Commit> {
        let Self { run, config, input, reader, plan } = *self;
        let (data, threads) = (input.all(), plan.body.threads);
        let PreparedFeatures { mut features, quality, warnings, estimate, .. } = learnt;
        let (gate, clip) = (&config.gate, evaluate::clip_bounds(&config.spec, data));
        let scale = fitted.choice.calibration.as_ref().map(|calibration| calibration.load(threads)).transpose()?;
        let compiled = CompiledTrees::of(&fitted.model, &run.context.limits);
        let predictor =
            Predictor { booster: &fitted.booster, compiled: compiled.as_ref(), scale: scale.as_ref(), clip };
        let evaluate = || match (known, reader) {
            (Some(known), _) => predictor.compare(gate, &known.values, known.scales.as_deref(), &data.test),
            (None, Some(reader)) => reader.evaluate(gate, &predictor, &mut features),
            (None, None) => predictor.evaluate(gate, &features.test, &data.test),
        };
        let evaluation = tokio::task::block_in_place(|| on_own_thread(evaluate))?;
        let judgement = Judge { config, models: &run.models, data, reader, threads }.judge(&evaluation).await?;
        run.summary().set("r2", evaluation.scores.r2).set("rmse", evaluation.scores.rmse);
        run.summary().set("mae", evaluation.scores.mae).set("r2_interval", json!(judgement.interval));

        let run_id = &run.context.run_id;
        let parts = ModelParts {
            config,
            run_id,
            limits: &run.context.limits,
            plan,
            data,
            features: &features,
            fitted: &fitted,
            predictor: &predictor,
        };
        let metadata = report::metadata(&parts)?;
        let findings = report::findings(&run.models, &metadata, &parts).await?;
        let subject = report::Subject {
            config,
            limits: &run.context.limits,
            plan,
            metadata: &metadata,
            data,
            fitted: &fitted,
            evaluation: &evaluation,
            judgement: &judgement,
            quality,
            warnings: &warnings,
            findings: &findings,
            estimate: estimate.as_ref(),
        };
        let (metrics, report) = (report::metrics(&subject)?, report::html(&subject)?);
        let metadata_json = metadata.to_json()?;
        let seconds = run.started.elapsed().as_secs_f64();
        emit_metrics(&run.context, &evaluation, data, quality, seconds);
        let verdict = judgement.verdict;
        let mut summary = run.summary().clone();
        summary.set("training_seconds", seconds).set("metadata_sha256", sha256_hex(&metadata_json));
        summary.set("model_sha256", metadata.model_sha256.as_str());
        summary.set(GATE, if verdict.passed { "passed" } else { "failed" });
        let rejected = || gate::rejection(&verdict, &run.folder.location(), &features.misread_columns());
        let rejection = (!verdict.passed).then(|| Error::Gate(rejected()));
        let mut files = vec![
            RunFile::with_sha256("model.ubj", fitted.model, &metadata.model_sha256),
            RunFile::new("metadata.json", metadata_json),
            RunFile::new("metrics.json", metrics),
            RunFile::new("report.html", report),
        ];
        if let Some(calibration) = fitted.choice.calibration {
            files.push(RunFile::new(SCALE, calibration.scale));
        }
        Commit::new(summary, rejection.as_ref(), files, &now_rfc3339())
    }
}

fn emit_metrics(context: &Context, evaluation: &Evaluation, data: &TrainingData, quality: f64, seconds: f64) {
    let peak = machine::usage::peak_memory().unwrap_or_default();
    let utilization = machine::usage::memory_utilization(peak, context.limits.memory_bytes.value);
    context.telemetry.emit(&[
        (Metric::ModelTrainingTime, seconds),
        (Metric::ModelAccuracy, evaluation.scores.r2),
        (Metric::RecordsProcessed, data.rows_read() as f64),
        (Metric::DataQualityScore, quality),
        (Metric::PeakMemory, peak as f64),
        (Metric::MemoryUtilization, utilization.unwrap_or(f64::NAN)),
    ]);
}
