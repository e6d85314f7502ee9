//! The folder of a run, and what its attempts write there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use error::{Error, Result};
use machine::{RunId, Shard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use storage::{Condition, Store, StoreError, Version};
use telemetry::Outcome;
use tokio::time::timeout;

use crate::{Commit, Plan};

/// The result of a run, in its folder.
const RESULT: &str = "result.json";
/// The commit of a run, in its scratch space.
const COMMIT: &str = "commit";
/// More bytes than a result has, which has 8 KiB at most.
const MOST_RESULT_BYTES: u64 = 64 << 10;
/// More bytes than a plan has, which names every object of the input.
const MOST_PLAN_BYTES: u64 = 256 << 20;
/// Writers of a run's result that one write may lose to: each is an attempt that failed meanwhile.
const MOST_RACES: usize = 1_000;
/// How long the result of a stopped run may take to be written: a stopped process has five seconds in all.
const TO_WRITE_WHEN_STOPPED: Duration = Duration::from_millis(700);

/// Where a program keeps what, in a run's folder.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The plan.
    pub plan: &'static str,
    /// The folder of what is needed only while a run is under way.
    pub scratch: &'static str,
    /// Whether a result of a release that did not name a run's files is that of a complete run.
    pub was_complete: fn(&Outcome) -> bool,
}

/// What earlier attempts of a run left.
#[derive(Debug)]
pub enum Earlier<Body> {
    /// Nothing that counts.
    Nothing,
    /// The run began with this plan and is not decided.
    UnderWay(Plan<Body>),
    /// The run is decided.
    Decided {
        /// The plan that it began with, where it still stands.
        plan: Option<Plan<Body>>,
        /// Its result.
        outcome: Outcome,
    },
}

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    store: Arc<dyn Store>,
    /// Key of the folder.
    prefix: String,
    run_id: RunId,
    layout: Layout,
    /// Whether a failure of this attempt is one of the run.
    is_owned: Arc<AtomicBool>,
}

impl RunFolder {
    /// The folder `prefix` of a store, of the run `run_id`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: String, run_id: RunId, layout: Layout) -> Self {
        Self { store, prefix, run_id, layout, is_owned: Arc::default() }
    }

    /// The run.
    #[must_use]
    pub fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// The store that the folder lies in.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Where the folder lies, for people.
    #[must_use]
    pub fn location(&self) -> String {
        format!("{}/{}", self.store.root().trim_end_matches('/'), self.prefix)
    }

    /// Where a file of the folder lies, for people.
    #[must_use]
    pub fn location_of(&self, file: &str) -> String {
        format!("{}/{file}", self.location())
    }

    /// Where the plan lies, for people.
    #[must_use]
    pub fn plan_location(&self) -> String {
        self.location_of(self.layout.plan)
    }

    /// The name of a file of the scratch space in the folder.
    #[must_use]
    pub fn scratch(&self, name: &str) -> String {
        format!("{}/{name}", self.layout.scratch)
    }

    /// What earlier attempts left. A run whose work was done and committed is ended here.
    ///
    /// # Errors
    /// [`Error::Setting`] where the run began with other settings, or is not decided and began with another version of the program;
    /// [`Error::Data`] where plan, result or commit are damaged; storage errors as they are.
    pub async fn earlier<Body: DeserializeOwned>(
        &self,
        settings: &Value,
        program_version: &str,
    ) -> Result<Earlier<Body>> {
        // The plan first: a run that completes between the two reads is seen as complete.
        let plan = self.plan::<Body>().await?;
        let outcome = self.complete().await?;
        if let Some(plan) = &plan {
            plan.refuse_other_settings(settings, &self.plan_location())?;
        }
        match (plan, outcome) {
            (plan, Some(outcome)) => Ok(Earlier::Decided { plan, outcome }),
            (None, None) => Ok(Earlier::Nothing),
            (Some(plan), None) => {
                plan.refuse_other_program(program_version, &self.plan_location())?;
                Ok(match self.stored_commit().await? {
                    Some(commit) => Earlier::Decided { outcome: self.write_out(&commit).await?, plan: Some(plan) },
                    None => Earlier::UnderWay(plan),
                })
            }
        }
    }

    /// Refuses to go on with another number of tasks than the run began with: what they share, and so what they come to, would be other.
    ///
    /// # Errors
    /// [`Error::Setting`] that says both numbers.
    pub fn refuse_other_shards(&self, began: Option<u32>, now: Option<Shard>) -> Result<()> {
        let now = now.map(Shard::count);
        if began == now {
            return Ok(());
        }
        let in_words = |count: Option<u32>| count.map_or_else(|| "off".to_owned(), |count| format!("I/{count}"));
        Err(Error::Setting(format!(
            "--shard (SHARD) was {} when run {} began, and is {} ({}): give every task of the run the same N, or use another run id",
            in_words(began),
            self.run_id(),
            in_words(now),
            self.plan_location()
        )))
    }

    /// From now on a failure of this attempt is one of the run. It never replaces the result of a complete one.
    pub fn own(&self) {
        self.is_owned.store(true, Ordering::Relaxed);
    }

    /// Writes the plan, or gives the one of an attempt that was faster: the first plan holds for all.
    ///
    /// # Errors
    /// [`Error::Setting`] where that plan has other settings or is of another version of the program; [`Error::Data`] where it is
    /// damaged; storage errors as they are.
    pub async fn begin<Body: Serialize + DeserializeOwned>(&self, plan: Plan<Body>) -> Result<Plan<Body>> {
        let json = serde_json::to_vec_pretty(&plan).map_err(|error| Error::Defect(format!("a plan: {error}")))?;
        for _ in 0..MOST_RACES {
            match self.put_first(self.layout.plan, json.clone().into()).await {
                Ok(()) => return Ok(plan),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(standing) = self.plan::<Body>().await? {
                standing.refuse_other_settings(&plan.settings, &self.plan_location())?;
                standing.refuse_other_program(&plan.program_version, &self.plan_location())?;
                return Ok(standing);
            }
            // Gone again with a run that is complete, as its commit will find; or the store refused it for no reason.
            if self.complete().await?.is_some() {
                return Ok(plan);
            }
        }
        Err(Error::Storage(format!("{} cannot be written: run again", self.plan_location())))
    }

    /// Decides the run: of all commits of its attempts the first one holds. Its files are written, then its result, which is the
    /// answer. What this attempt came to is of no account where another one was first.
    ///
    /// # Errors
    /// Storage errors as they are: the run goes on from the commit.
    pub async fn commit(&self, commit: Commit) -> Result<Outcome> {
        let held = match self.put_first(&self.scratch(COMMIT), commit.to_bytes()?).await {
            Ok(()) => Some(commit),
            Err(StoreError::Conflict(_)) => self.stored_commit().await?,
            Err(error) => return Err(error.into()),
        };
        match held {
            Some(commit) => self.write_out(&commit).await,
            // Swept since, with the rest of a run that is complete.
            None => self.complete().await?.ok_or_else(|| {
                Error::Storage(format!("{} was removed: run again", self.location_of(&self.scratch(COMMIT))))
            }),
        }
    }

    /// Writes the result of an attempt that failed, where it is one of the run and the run is not complete. What cannot be
    /// written is a warning.
    pub async fn record_failure(&self, outcome: &Outcome, error: &Error) {
        if !self.is_owned.load(Ordering::Relaxed) {
            return;
        }
        let written = self.write_result(outcome);
        let unwritten = match error {
            Error::Stopped(_) => match timeout(TO_WRITE_WHEN_STOPPED, written).await {
                Ok(written) => written.err(),
                Err(_) => Some(Error::Storage("it took too long".to_owned())),
            },
            _ => written.await.err(),
        };
        if let Some(unwritten) = unwritten {
            tracing::warn!("{} could not be written: {unwritten}", self.location_of(RESULT));
        }
    }

    /// What follows from the result of a run that is decided: `publish` moves the pointers, then the scratch space goes. Where it is
    /// gone already the run is over, and nothing moves.
    ///
    /// # Errors
    /// Those of `publish`, and storage errors, as they are: the run goes on from here.
    pub async fn conclude(&self, publish: impl Future<Output = Result<()>>) -> Result<()> {
        let scratch = self.store.list(&self.key(self.layout.scratch)).await?;
        if scratch.is_empty() {
            return Ok(());
        }
        self.store.check_conditions(&self.key(RESULT)).await?;
        publish.await?;
        for object in scratch {
            match self.store.delete(&object.key).await {
                Ok(()) | Err(StoreError::NotFound(_)) => {}
                // The run is whole without it.
                Err(StoreError::Linked(text)) => {
                    tracing::warn!("the scratch space of this run stays, which nothing needs any more: {text}");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The bytes of a file of the folder, if it is there.
    ///
    /// # Errors
    /// [`Error::Resources`] where it does not fit into memory; storage errors as they are.
    pub async fn get(&self, file: &str) -> Result<Option<Bytes>> {
        found(storage::get_within_memory(self.store.as_ref(), &self.key(file), u64::MAX).await)
    }

    /// The same of JSON, that fits into memory once it is parsed.
    ///
    /// # Errors
    /// As [`RunFolder::get`].
    pub async fn get_json(&self, file: &str) -> Result<Option<Bytes>> {
        self.get_json_at_most(file, u64::MAX).await
    }

    async fn get_json_at_most(&self, file: &str, most_bytes: u64) -> Result<Option<Bytes>> {
        found(storage::get_json(self.store.as_ref(), &self.key(file), most_bytes).await)
    }

    /// Writes a file of the folder, whole.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn put(&self, file: &str, content: Bytes) -> Result<()> {
        self.store.put(&self.key(file), content).await?;
        Ok(())
    }

    /// Writes a file of the folder that must not be there yet.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it is.
    pub async fn put_first(&self, file: &str, content: Bytes) -> Result<(), StoreError> {
        self.store.put_if(&self.key(file), content, &Condition::Absent).await.map(drop)
    }

    /// Key of a file of the folder.
    #[must_use]
    pub fn key(&self, file: &str) -> String {
        format!("{}/{file}", self.prefix)
    }

    async fn plan<Body: DeserializeOwned>(&self) -> Result<Option<Plan<Body>>> {
        let Some(bytes) = self.get_json_at_most(self.layout.plan, MOST_PLAN_BYTES).await? else { return Ok(None) };
        let damaged = |error| Error::Data(format!("{} is damaged: {error}; use another run id", self.plan_location()));
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// The result of the run, if it is complete.
    ///
    /// # Errors
    /// [`Error::Data`] where the result is damaged or that of another run; storage errors as they are.
    pub async fn complete(&self) -> Result<Option<Outcome>> {
        let Some(bytes) = self.get_json_at_most(RESULT, MOST_RESULT_BYTES).await? else { return Ok(None) };
        let outcome = Outcome::from_json(&bytes)?;
        self.refuse_of_another_run(&outcome, RESULT)?;
        Ok(self.is_complete(&outcome).then_some(outcome))
    }

    fn is_complete(&self, outcome: &Outcome) -> bool {
        outcome.files().is_some() || (self.layout.was_complete)(outcome)
    }

    async fn stored_commit(&self) -> Result<Option<Commit>> {
        let file = self.scratch(COMMIT);
        let Some(bytes) = self.get(&file).await? else { return Ok(None) };
        let commit = Commit::from_bytes(&bytes, &self.location_of(&file))?;
        self.refuse_of_another_run(commit.outcome(), &file)?;
        Ok(Some(commit))
    }

    /// A file that was copied here from the folder of another run says nothing about this one.
    fn refuse_of_another_run(&self, outcome: &Outcome, file: &str) -> Result<()> {
        let run_id = outcome.text("run_id");
        if run_id == self.run_id.as_str() {
            return Ok(());
        }
        Err(Error::Data(format!(
            "{} is of the run \"{run_id}\": remove it and run again, or use another run id",
            self.location_of(file)
        )))
    }

    /// Writes the files of the commit, to the same bytes whichever attempt does it, and then its result.
    ///
    /// A run that is complete never changes, and its scratch space is swept: a commit that is found or put there afterwards is not
    /// the one that held. So whether the run is complete is asked when the commit is known, never before.
    async fn write_out(&self, commit: &Commit) -> Result<Outcome> {
        if let Some(outcome) = self.complete().await? {
            return Ok(outcome);
        }
        for file in commit.files() {
            self.put(&file.name, file.content.clone()).await?;
        }
        self.write_result(commit.outcome()).await
    }

    /// Writes a result, unless that of a complete run stands; gives the one that stands then.
    async fn write_result(&self, outcome: &Outcome) -> Result<Outcome> {
        let content = Bytes::from(format!("{}\n", outcome.json()));
        for _ in 0..MOST_RACES {
            let condition = match self.get_versioned(RESULT, MOST_RESULT_BYTES).await? {
                None => Condition::Absent,
                Some((bytes, version)) => {
                    let standing = Outcome::from_json(&bytes);
                    if let Some(complete) = standing.ok().filter(|standing| self.is_complete(standing)) {
                        return Ok(complete);
                    }
                    Condition::Unchanged(version)
                }
            };
            match self.store.put_if(&self.key(RESULT), content.clone(), &condition).await {
                Ok(_) => return Ok(outcome.clone()),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Storage(format!("{} is written by others all the time: run again", self.location_of(RESULT))))
    }

    async fn get_versioned(&self, file: &str, most_bytes: u64) -> Result<Option<(Bytes, Version)>> {
        match self.store.get_at_most(&self.key(file), most_bytes).await {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The bytes of an object that may be missing.
fn found(got: Result<(Bytes, Version), StoreError>) -> Result<Option<Bytes>> {
    match got {
        Ok((bytes, _)) => Ok(Some(bytes)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
