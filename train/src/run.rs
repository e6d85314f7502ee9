//! A run from its start to its outcome: what is known of it on the way, and how it stops in time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use error::{Error, Result};
use machine::tasks::joined;
use machine::{Limits, RunId, Shutdown, now_rfc3339};
use registry::{ModelRun, ModelStore};
use telemetry::{Outcome, Summary, Telemetry};
use tokio::time::{sleep, timeout};

use crate::checkpoint::Checkpoint;
use crate::publish::RunFolder;
use crate::settings::Settings;
use crate::{Trained, publish, train};

/// How long a run that was asked to stop may go on to where it stops by itself, which is after every round of boosting.
const TO_STOP: Duration = Duration::from_millis(2_500);
/// Then, because a round takes longer: how long the last finished round may take to be stored.
const TO_STORE: Duration = Duration::from_millis(1_500);
/// How long the result of a stopped run may take to be written. All of it is less than the five seconds that a run has.
const TO_WRITE_RESULT: Duration = Duration::from_millis(700);

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

/// A run under way.
#[derive(Debug)]
pub struct Run {
    /// What it was asked to do.
    pub settings: Settings,
    /// What it was given besides.
    pub context: Context,
    /// Its folder in the model store.
    pub folder: RunFolder,
    /// When it started.
    pub started: Instant,
    summary: Mutex<Summary>,
    owns_folder: AtomicBool,
    checkpoint: OnceLock<Arc<Checkpoint>>,
}

impl Run {
    /// The fields of the result, as far as they are known; not to be held across an `await`.
    pub fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a failure of this run belongs into its folder's `result.json`, unless the run only checks.
    pub fn own_folder(&self) {
        self.owns_folder.store(!self.settings.check, Ordering::Relaxed);
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

    /// Ends when the run was asked to stop and did not do so by itself. What can be kept of it is stored then.
    async fn overdue(&self) -> Error {
        self.context.shutdown.requested().await;
        sleep(TO_STOP).await;
        if let Some(checkpoint) = self.checkpoint.get() {
            match timeout(TO_STORE, checkpoint.store()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("the last checkpoint could not be stored: {error}"),
                Err(_) => tracing::warn!("the last checkpoint could not be stored in time: the one before it stands"),
            }
        }
        self.go_on().err().unwrap_or_else(|| Error::Defect("a run was overdue that nobody asked to stop".to_owned()))
    }

    /// The outcome of a failure, in the folder's `result.json` too where it belongs there.
    async fn failed(&self, error: &Error) -> Outcome {
        let outcome = self.summary().failed(error);
        if !self.owns_folder.load(Ordering::Relaxed) {
            return outcome;
        }
        let written = self.folder.write_failure(&outcome);
        let unwritten = match error {
            Error::Stopped(_) => match timeout(TO_WRITE_RESULT, written).await {
                Ok(written) => written.err(),
                Err(_) => Some(Error::Storage("it took too long".to_owned())),
            },
            _ => written.await.err(),
        };
        if let Some(unwritten) = unwritten {
            tracing::warn!("result.json could not be written: {unwritten}");
        }
        outcome
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
    let folder = match opened {
        Ok(store) => RunFolder::new(ModelStore::new(store, &settings.store.model_name), id),
        Err(error) => return (summary.failed(&error), telemetry),
    };
    summary.set("model_location", folder.location());
    summary.set("created_at", now_rfc3339());
    let run = Arc::new(Run {
        settings,
        context,
        folder,
        started: Instant::now(),
        summary: Mutex::new(summary),
        owns_folder: AtomicBool::new(false),
        checkpoint: OnceLock::new(),
    });
    let outcome = match concluded(&run).await {
        Ok(outcome) => outcome,
        Err(error) => run.failed(&error).await,
    };
    (outcome, telemetry)
}

async fn concluded(run: &Arc<Run>) -> Result<Outcome> {
    match trained_or_stopped(run).await? {
        Trained::Over(outcome) => Ok(outcome),
        // A few small writes, each of which a repeated run id can go on from; the result among them is final.
        Trained::Judged(verdict) => {
            run.owns_folder.store(false, Ordering::Relaxed);
            tokio::select! {
                concluded = publish::conclude(run, &verdict) => concluded,
                overdue = run.overdue() => Err(overdue),
            }
        }
    }
}

/// Trains in a task of its own, which is left alone with what it does when a stop has waited for it long enough.
async fn trained_or_stopped(run: &Arc<Run>) -> Result<Trained> {
    let of_task = Arc::clone(run);
    let work = tokio::spawn(async move {
        tokio::select! {
            trained = train(&of_task) => trained,
            () = of_task.context.shutdown.requested() => {
                of_task.go_on().map(|()| Trained::Over(of_task.summary().succeeded()))
            }
        }
    });
    tokio::select! {
        ended = work => joined(ended)?,
        overdue = run.overdue() => Err(overdue),
    }
}
