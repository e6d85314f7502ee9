//! What a run that was stopped goes on from, in `_checkpoint/` of its folder in the model store, since the disk of a
//! stopped task is gone.
//!
//! `plan.json` says what the run was asked and with which rows. `choice.json` is how it will learn, written when that was
//! chosen, so that a choice is made once; until then `trial-N` is what the trial `N` of the search came to. `boosting-N` is the booster of member `N` of the model after some round. What is
//! damaged, or belongs to something else, is ignored with a warning.
//!
//! Objects are handed over by the thread that trains and stored by a task, so that training never waits for the store. Each
//! replaces the one of its name.

mod boosting;
mod sealed;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use attempt::RunFolder;
use bytes::Bytes;
use error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::StoreError;
use storage::sha256_hex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

pub use self::boosting::Snapshots;
pub use self::sealed::{Unusable, seal_bytes, seal_json, unseal_bytes, unseal_json};
use crate::plan::TrainPlan;

/// How the run learns.
const CHOICE: &str = "choice.json";

/// The checkpoint of a run under way.
#[derive(Debug)]
pub struct Checkpoint {
    folder: RunFolder,
    /// What its objects belong to.
    belongs_to: String,
    /// Whether an earlier attempt may have left objects.
    is_continued: bool,
    runtime: Handle,
    /// Objects to be stored, by name.
    pending: Mutex<BTreeMap<String, Bytes>>,
    /// Held while objects are stored.
    storing: tokio::sync::Mutex<()>,
    wake: Notify,
    is_closed: AtomicBool,
}

impl Checkpoint {
    /// The checkpoint of the run with this plan.
    ///
    /// # Errors
    /// [`Error::Defect`] where the plan cannot be described.
    pub fn open(folder: &RunFolder, plan: &TrainPlan, is_continued: bool) -> Result<Arc<Self>> {
        let versions = (env!("CARGO_PKG_VERSION"), xgboost::version());
        let checkpoint = Arc::new(Self {
            folder: folder.clone(),
            belongs_to: fingerprint(&(plan, versions))?,
            is_continued,
            runtime: Handle::current(),
            pending: Mutex::default(),
            storing: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            is_closed: AtomicBool::new(false),
        });
        tokio::spawn(store_what_comes(Arc::clone(&checkpoint)));
        Ok(checkpoint)
    }

    /// Whether an earlier attempt may have left objects.
    #[must_use]
    pub fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// What an earlier attempt chose. Called from a thread that may block.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub fn earlier_choice<Choice: DeserializeOwned>(&self) -> Result<Option<Choice>> {
        if !self.is_continued {
            return Ok(None);
        }
        self.runtime.block_on(async {
            let Some(object) = self.folder.get_json(&self.folder.scratch(CHOICE)).await? else { return Ok(None) };
            match unseal_json(&self.belongs_to, &object) {
                Ok(choice) => Ok(Some(choice)),
                Err(unusable) => {
                    self.warn_of(CHOICE, &unusable);
                    Ok(None)
                }
            }
        })
    }

    /// Writes down what was chosen. Of two attempts at once that choose, the first one's choice holds for both. Called from
    /// a thread that may block.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub fn commit_once<Choice: Serialize + DeserializeOwned>(&self, choice: Choice) -> Result<Choice> {
        let object = Bytes::from(seal_json(&self.belongs_to, &choice)?);
        self.runtime.block_on(async {
            match self.folder.put_first(&self.folder.scratch(CHOICE), object.clone()).await {
                Ok(()) => return Ok(choice),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let theirs = self.folder.get_json(&self.folder.scratch(CHOICE)).await?;
            if let Some(Ok(theirs)) = theirs.map(|object| unseal_json(&self.belongs_to, &object)) {
                return Ok(theirs);
            }
            self.folder.put(&self.folder.scratch(CHOICE), object).await?;
            Ok(choice)
        })
    }

    /// The object of a name that an earlier attempt left. Called from a thread that may block.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub fn earlier(&self, name: &str) -> Result<Option<Bytes>> {
        if !self.is_continued {
            return Ok(None);
        }
        self.runtime.block_on(self.folder.get(&self.folder.scratch(name)))
    }

    /// What an object belongs to that is bound to the run and to `detail` of it.
    ///
    /// # Errors
    /// [`Error::Defect`] for what cannot be JSON.
    pub fn binding(&self, detail: &impl Serialize) -> Result<String> {
        fingerprint(&(&self.belongs_to, detail))
    }

    /// Says that an object is ignored.
    pub fn warn_of(&self, name: &str, reason: &dyn std::fmt::Display) {
        let location = self.folder.location_of(&self.folder.scratch(name));
        tracing::warn!("{location} is ignored, the work that it kept is done again: {reason}");
    }

    /// Keeps an object in memory until it is stored: at the latest when the run is stopped.
    pub fn keep(&self, name: &str, object: Vec<u8>) {
        self.pending().insert(name.to_owned(), object.into());
    }

    /// Stores an object soon, while the caller goes on.
    pub fn offer(&self, name: &str, object: Vec<u8>) {
        self.keep(name, object);
        self.wake.notify_one();
    }

    /// Stores all that is kept.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn store(&self) -> Result<()> {
        let _turn = self.storing.lock().await;
        while let Some((name, object)) = self.next() {
            self.folder.put(&self.folder.scratch(&name), object).await?;
        }
        Ok(())
    }

    /// [`Checkpoint::store`], from a thread that may block, if that takes no longer than `most`.
    pub fn store_within(&self, most: std::time::Duration) {
        let stored = self.runtime.block_on(async { tokio::time::timeout(most, self.store()).await });
        let failure = match stored {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!("the last checkpoint could not be stored, the one before it stands: {failure}");
    }

    /// Stores nothing more, and returns when nothing is being stored.
    pub async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.wake.notify_one();
        let _turn = self.storing.lock().await;
    }

    fn next(&self) -> Option<(String, Bytes)> {
        if self.is_closed.load(Ordering::Acquire) { None } else { self.pending().pop_first() }
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that stores what is offered. A checkpoint that cannot be stored does not end a run: the next one may be.
async fn store_what_comes(checkpoint: Arc<Checkpoint>) {
    while !checkpoint.is_closed.load(Ordering::Acquire) {
        checkpoint.wake.notified().await;
        if let Err(error) = checkpoint.store().await {
            tracing::warn!("a checkpoint could not be stored, the one before it stands: {error}");
        }
    }
}

fn fingerprint(content: &impl Serialize) -> Result<String> {
    let json = serde_json::to_vec(content);
    json.map(|json| sha256_hex(&json))
        .map_err(|error| Error::Defect(format!("a checkpoint cannot be described: {error}")))
}

#[cfg(test)]
mod tests;
