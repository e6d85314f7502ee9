//! Several tasks that learn one model together, on XGBoost's own collective.
//!
//! Every task knows the ids, targets and weights of all rows, and so comes to the same split, by the same rows that one task would
//! drop. The features are shared: each task makes the matrix of its own row groups, XGBoost makes bins and trees of all of them, and each
//! predicts its own held-out rows. The first task decides how to learn, on the sample that one task would take whose rows do not fit
//! into memory, tells the others, and does alone what comes after: the verdict, the files, the pointers.

mod meeting;
pub(crate) mod peers;
pub(crate) mod share;

use error::{Error, Result};
use features::encode::Feature;
use machine::Shard;
use ndarray::{Array2, ShapeBuilder};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use xgboost::collective::{Membership, Tracker};

use self::meeting::{Meeting, Met};
use self::peers::{PATIENCE, Peers};
use self::share::Share;
use crate::checkpoint::Checkpoint;
use crate::config::TrainConfig;
use crate::evaluate::{CompiledTrees, Predictor, clip_bounds};
use crate::features::Features;
use crate::fit::{Choice, Fitted, TargetView};
use crate::out_of_core::{Input, Outputs, Reader, Stop};
use crate::plan::TrainPlan;
use crate::plan_memory::MemoryPlan;
use crate::run::{Run, conclude};
use crate::{PreparedFeatures, Trained, Training, begin, check_rows, learn_features, plan_memory, read};
use crate::{encodings, fit};

/// What the first task tells the others before they fit the model.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Told {
    plan: TrainPlan,
    choice: Choice,
    /// In matrix order, encoded as chosen.
    features: Vec<Feature>,
}

/// What the first task knows besides.
struct Decided {
    told: Told,
    learnt: PreparedFeatures,
}

/// Trains as one of several tasks. All of them come to the outcome of the run.
///
/// # Errors
/// As one task does; [`Error::Storage`] where another task was lost or did not come.
pub(crate) async fn train(
    run: &Run,
    config: &TrainConfig,
    shard: Shard,
    earlier: Option<TrainPlan>,
) -> Result<Trained> {
    let opened = read::open(config, |held| crate::plan_memory::room_for_footers(&run.context.limits, held)).await?;
    refuse(config, &opened)?;
    let memory = plan_memory(run, config, &opened, earlier.as_ref()).await?;
    let stop = Stop { shutdown: run.context.shutdown.clone(), run_id: run.context.run_id.clone() };
    let input = Input::read(config, &run.context.limits, opened, &memory, &stop).await?;
    let data = check_rows(run, config, &input, earlier.as_ref())?;
    let members = u32::try_from(share::members(data, shard)).unwrap_or(u32::MAX);
    if shard.index() >= members {
        tracing::info!("the training rows are in {members} row groups: there is nothing to do for shard {shard}");
        return Ok(Trained::Checked(run.summary().set("complete", false).succeeded()));
    }
    let view = TargetView::of(&config.given_params, &data.train, &data.target, data.location())?;
    let meeting = Meeting {
        folder: &run.folder,
        run_id: &run.context.run_id,
        shutdown: &run.context.shutdown,
        shard,
        members,
        settings: &config.identity,
        objects_sha256: &data.objects_sha256,
    };
    let (host, port) = &config.collective;
    let (membership, tracker) = match meeting.meet(host.as_deref(), *port).await? {
        Met::All { membership, tracker } => (membership, tracker),
        Met::Decided(outcome) => return Ok(Trained::Decided(outcome)),
    };
    let shared = Shared { run, config, input: &input, view, memory, stop, earlier, runtime: Handle::current() };
    // The thread has joined until the process ends, where the run fails: one of the runtime's, which does not end before.
    tokio::task::block_in_place(|| shared.train(&membership, tracker))
}

/// Refuses what several tasks cannot share.
fn refuse(config: &TrainConfig, opened: &read::Opened) -> Result<()> {
    if let Some(csv) = std::iter::once(&opened.train).chain(&opened.test).find(|dataset| dataset.is_csv()) {
        return Err(Error::Setting(format!(
            "--shard (SHARD) needs Parquet, whose row groups are shared, and {} is CSV: write it as Parquet, or leave --shard out",
            csv.location
        )));
    }
    if !config.given_params.wants_quantile_matrix() {
        let method = config.given_params.get("tree_method").unwrap_or_default();
        return Err(Error::Setting(format!(
            "--shard (SHARD) needs tree_method=hist, and it is {method}: leave it or --shard out"
        )));
    }
    Ok(())
}

/// A run that is shared, seen from one of its tasks.
struct Shared<'a> {
    run: &'a Run,
    config: &'a TrainConfig,
    input: &'a Input,
    view: TargetView,
    memory: MemoryPlan,
    stop: Stop,
    earlier: Option<TrainPlan>,
    runtime: Handle,
}

impl Shared<'_> {
    fn train(&self, membership: &Membership, tracker: Option<Tracker>) -> Result<Trained> {
        let run = self.run;
        let give_up = |error: &Error| run.give_up(error);
        let peers = Peers::join(membership, run.last_words(), &give_up)?;
        tracing::info!("{} shards learn together", peers.count());
        let is_first = peers.is_first();
        let decided = peers.together(|| if is_first { self.decide().map(Some) } else { Ok(None) })?;
        let told: Told = peers.told(decided.as_ref().map(|decided| &decided.told))?;
        let outcome = self.fit_and_judge(&peers, told, decided.map(|decided| decided.learnt))?;
        peers.leave();
        if let Some(tracker) = tracker
            && let Err(error) = tracker.end(PATIENCE)
        {
            tracing::debug!("{error}");
        }
        Ok(outcome)
    }

    /// How to learn, as the first task chooses it.
    fn decide(&self) -> Result<Decided> {
        let Self { run, config, input, earlier, .. } = self;
        let mut memory = self.memory.clone();
        let (learnt, plan) = self.runtime.block_on(async {
            let learnt = learn_features(run, config, input, (&mut memory, earlier.as_ref()), self.view.clone()).await?;
            let plan = begin(run, config, &input.all().objects_sha256, &memory, earlier.as_ref()).await?;
            Ok::<_, Error>((learnt, plan))
        })?;
        let _entered = self.runtime.enter();
        let checkpoint = Checkpoint::open(&run.folder, &plan, earlier.is_some())?;
        let rows = &input.learning().train;
        let training = self.training(&plan, None);
        let context = training.context(learnt.scale, &checkpoint);
        let choice = fit::choose_or_resume(&context, &learnt.features, rows)?;
        let mut features = encodings::apply(learnt.features, &choice.scheme, rows, u64::from(config.seed));
        // What the sample came to is not needed any more.
        features.train = Array2::zeros((0, features.features.len()).f());
        self.runtime.block_on(checkpoint.close());
        let told = Told { plan, choice, features: features.features.clone() };
        Ok(Decided { told, learnt: PreparedFeatures { features, ..learnt } })
    }

    /// The model, and what the first task makes of it: the run's outcome.
    fn fit_and_judge(&self, peers: &Peers<'_>, told: Told, learnt: Option<PreparedFeatures>) -> Result<Trained> {
        let Self { run, config, input, .. } = self;
        let Told { plan, choice, features } = told;
        let memory = self.memory.clone().begun_with(plan.body.reading);
        if plan.body.threads > run.context.limits.threads.value {
            machine::threads::check(plan.body.threads)?;
        }
        let _entered = self.runtime.enter();
        let share = Share::of(input.all(), peers.index(), peers.count());
        tracing::debug!(train = ?share.train, test = ?share.test, "this shard's rows");
        let reader = input.reader(&config.spec, &memory, plan.body.threads, &self.stop);
        let reader =
            reader.ok_or_else(|| Error::Defect("shards read their rows in batches".to_owned()))?.sharing(share);
        let training = self.training(&plan, Some(&reader));
        let checkpoint = Checkpoint::open(&run.folder, &plan, self.earlier.is_some() && peers.is_first())?;
        if peers.is_first() {
            run.keep(&checkpoint);
            run.summary().set("shards", peers.count());
        }
        let context = training.context(self.view.scale, &checkpoint);
        let (features, fitted) = reader.fit_features(&context, choice, &features, Some(peers))?;
        training.tell(&fitted);
        self.runtime.block_on(checkpoint.close());
        let outputs = self.outputs(peers, &reader, &features, &fitted)?;
        let concluded = peers.together(|| {
            let Some(learnt) = learnt else { return Ok(None) };
            let features = Features { features, test: outputs.kept.clone(), ..learnt.features };
            let learnt = PreparedFeatures { features, ..learnt };
            self.runtime.block_on(async {
                let commit = training.judge_and_write(learnt, fitted, Some(outputs)).await?;
                let outcome = run.folder.commit(commit).await?;
                conclude(run, outcome).await.map(Some)
            })
        })?;
        if let Some(outcome) = concluded {
            return Ok(Trained::Decided(outcome));
        }
        // All shards have done their work, so the first has written it.
        let complete = self.runtime.block_on(run.folder.complete())?;
        complete.map(Trained::Decided).ok_or_else(|| {
            Error::Storage(format!("{} has no result: run again with the same run id", run.folder.location()))
        })
    }

    /// What the model says of all held-out rows; each task has predicted its own.
    fn outputs(
        &self,
        peers: &Peers<'_>,
        reader: &Reader<'_>,
        features: &[Feature],
        fitted: &Fitted,
    ) -> Result<Outputs> {
        let clip = clip_bounds(&self.config.spec, self.input.all());
        let own = peers.together(|| {
            let limits = &self.run.context.limits;
            let calibration = fitted.choice.calibration.as_ref();
            let scale = calibration.map(|calibration| calibration.load(limits.threads.value)).transpose()?;
            let compiled = CompiledTrees::of(&fitted.model, limits);
            let predictor =
                Predictor { booster: &fitted.booster, compiled: compiled.as_ref(), scale: scale.as_ref(), clip };
            reader.outputs(&predictor, features)
        })?;
        let values = peers.gathered(&own.values)?;
        let scales = own.scales.map(|scales| peers.gathered(&scales)).transpose()?;
        Ok(Outputs { values, scales, kept: own.kept })
    }

    fn training<'a>(&'a self, plan: &'a TrainPlan, reader: Option<&'a Reader<'a>>) -> Training<'a> {
        Training { run: self.run, config: self.config, input: self.input, reader, plan }
    }
}
