//! A run from its start to its outcome: what is known of it on the way, and how it stops in time.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use app::Context;
use attempt::RunFolder;
use attempt::pointer::publish_model;
use error::{Error, Result};
use futures::FutureExt;
use history::Pages;
use machine::now_rfc3339;
use machine::tasks::joined;
use registry::{ModelRun, ModelStore};
use telemetry::{Outcome, Summary, Telemetry};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::checkpoint::Checkpoint;
use crate::config::TrainConfig;
use crate::settings::Settings;
use crate::{Trained, plan, train};

/// How long a run that was asked to stop may go on to where it stops by itself, which is after every round of boosting.
const TO_STOP: Duration = Duration::from_millis(2_500);
/// Then, because a round takes longer: how long the last finished round may take to be stored. With the result of a stopped run it
/// is less than the five seconds that a run has.
const TO_STORE: Duration = Duration::from_millis(1_500);

/// How much later the tasks end that miss a lost one.
const TO_END_FIRST: Duration = Duration::from_secs(8);

/// A run under way.
#[derive(Debug)]
pub struct Run {
    /// The arguments; every step reads what [`Run::config`] makes of them.
    settings: Settings,
    /// What it was given besides.
    pub context: Context,
    /// The model store.
    pub models: ModelStore,
    /// Its place there.
    pub id: ModelRun,
    /// Its folder there.
    pub folder: RunFolder,
    /// When it started.
    pub started: Instant,
    summary: Mutex<Summary>,
    checkpoint: OnceLock<Arc<Checkpoint>>,
    /// Why the run ends although it is in the middle of something.
    given_up: watch::Sender<Option<Error>>,
}

impl Run {
    /// What the run is asked to do, derived from the arguments and the feature spec.
    ///
    /// # Errors
    /// As [`TrainConfig::read`].
    pub async fn config(&self) -> Result<TrainConfig> {
        TrainConfig::read(&self.settings).await
    }

    /// The fields of the result, as far as they are known; not to be held across an `await`.
    pub fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the checkpoint is stored where the run is stopped in the middle of a round.
    pub fn keep(&self, checkpoint: &Arc<Checkpoint>) {
        let _ = self.checkpoint.set(Arc::clone(checkpoint));
    }

    /// A step ends here where the run was asked to stop.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn go_on(&self) -> Result<()> {
        self.context.shutdown.check(&self.context.run_id)
    }

    /// The run ends with this error now, whatever it is doing.
    pub(crate) fn give_up(&self, error: &Error) {
        self.given_up.send_replace(Some(error.clone()));
    }

    /// Ends when the run was given up.
    async fn given_up(&self) -> Error {
        let mut given_up = self.given_up.subscribe();
        match given_up.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or_else(|| Error::Defect("a run was given up for no reason".to_owned())),
            Err(_) => std::future::pending().await,
        }
    }

    /// Of the tasks of a run on ECS the one that was lost is to end before those that miss it: the first error is what the state machine
    /// goes by, and a task that was killed for its memory needs more of it.
    async fn let_others_end(&self, error: &Error) {
        let is_one_of_several = self.settings.shard.is_some_and(|shard| shard.count() > 1);
        let is_task = || machine::ecs::task().is_ok_and(|task| task.is_some());
        if is_one_of_several && matches!(error, Error::Storage(_)) && is_task() {
            let _ = timeout(TO_END_FIRST, self.context.shutdown.requested()).await;
        }
    }

    /// What is said and written where XGBoost ends the process, as it does when it hears that another shard failed.
    pub(crate) fn last_words(self: &Run) -> impl FnOnce() + Send + 'static + use<> {
        let (summary, telemetry) = (self.summary().clone(), self.context.telemetry.clone());
        let (folder, runtime) = (self.folder.clone(), Handle::current());
        move || {
            let error = Error::Storage(
                "another shard failed, and XGBoost ended this one: start all shards again with the same run id"
                    .to_owned(),
            );
            let outcome = summary.failed(&error);
            let _ = runtime.block_on(async { timeout(TO_STORE, folder.record_failure(&outcome, &error)).await });
            telemetry.finish(&outcome);
            machine::shutdown::end_now(error.exit_code());
        }
    }

    /// Ends when the run was asked to stop and did not do so by itself. What can be kept of it is stored then.
    async fn overdue(&self) -> Error {
        let stopped = self.context.shutdown.stopped(&self.context.run_id).await;
        sleep(TO_STOP).await;
        if let Some(checkpoint) = self.checkpoint.get() {
            match timeout(TO_STORE, checkpoint.store()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("the last checkpoint could not be stored: {error}"),
                Err(_) => tracing::warn!("the last checkpoint could not be stored in time: the one before it stands"),
            }
        }
        stopped
    }
}

/// Trains a model, from the settings to the moved pointers. Every failure is in the outcome.
pub async fn run(settings: Settings, context: Context) -> (Outcome, Telemetry) {
    let telemetry = context.telemetry.clone();
    let mut summary = Summary::new(&context.run_id);
    summary.set("model_name", settings.store.model_name.as_str());
    summary.set("model_version", settings.model_version.as_str());
    let id = ModelRun { version: settings.model_version.clone(), run_id: context.run_id.clone() };
    let opened = match settings.check() {
        Ok(()) => settings.store.models.open().await,
        Err(error) => Err(error),
    };
    let models = match opened {
        Ok(store) => ModelStore::new(store, &settings.store.model_name).within(context.limits.memory_bytes.value),
        Err(error) => return (summary.failed(&error), telemetry),
    };
    let folder = plan::folder(&models, &id);
    summary.set("model_location", folder.location()).set("created_at", now_rfc3339());
    summary.set("limits", context.limits.json());
    let run = Arc::new(Run {
        settings,
        context,
        models,
        id,
        folder,
        started: Instant::now(),
        summary: Mutex::new(summary),
        checkpoint: OnceLock::new(),
        given_up: watch::Sender::new(None),
    });
    let outcome = match concluded(&run).await {
        Ok(outcome) => outcome,
        Err(error) => {
            run.let_others_end(&error).await;
            let outcome = run.summary().failed(&error);
            run.folder.record_failure(&outcome, &error).await;
            outcome
        }
    };
    // What only checked leaves a store as it is, and one of several tasks tells of the run.
    if !run.settings.check && run.settings.shard.is_none_or(|shard| shard.index() == 0) {
        let pages = Pages::of_models(run.models.shared_store(), run.models.name());
        pages.after_run(outcome.exit_code(), &run.context.shutdown).await;
    }
    (outcome, telemetry)
}

async fn concluded(run: &Arc<Run>) -> Result<Outcome> {
    let conclude = match trained_or_stopped(run).await? {
        Trained::Checked(outcome) => return Ok(outcome),
        Trained::Decided(outcome) => conclude(run, outcome).boxed(),
        // A few small writes, each of which a repeated run id can go on from.
        Trained::Ready(commit) => async {
            let outcome = run.folder.commit(*commit).await?;
            conclude(run, outcome).await
        }
        .boxed(),
    };
    tokio::select! {
        concluded = conclude => concluded,
        overdue = run.overdue() => Err(overdue),
    }
}

/// What follows from the result of a run that is decided.
pub(crate) async fn conclude(run: &Run, outcome: Outcome) -> Result<Outcome> {
    run.folder.conclude(publish_model(&run.models, &run.id, &outcome)).await?;
    Ok(outcome)
}

/// Trains in a task of its own, which is left alone with what it does when a stop has waited for it long enough.
async fn trained_or_stopped(run: &Arc<Run>) -> Result<Trained> {
    let of_task = Arc::clone(run);
    let work = tokio::spawn(async move {
        tokio::select! {
            trained = train(&of_task) => trained,
            stopped = of_task.context.shutdown.stopped(&of_task.context.run_id) => Err(stopped),
        }
    });
    tokio::select! {
        ended = work => joined(ended)?,
        overdue = run.overdue() => Err(overdue),
        given_up = run.given_up() => Err(given_up),
    }
}
