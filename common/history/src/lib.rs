//! The pages `index.html` of a model store and of an output, and the `history.json` that each is drawn from: the runs of a year at a
//! glance.
//!
//! A page is made from the runs' own files, of which `history.json` remembers what was read, so that a run that ends reads little more
//! than its own. What is no longer there (pruned, or expired) stays on the page. Pages are for people: a run that cannot write them
//! logs a warning, within a few seconds, and ends as it would have ended ([`Pages::update`]). What runs that end at once leave out
//! is found by the next one, or by [`Pages::rewrite`].
//!
//! It must not know what a program computes: it reads what runs say of themselves. Begin refresh at [`Pages`].
#![forbid(unsafe_code)]

mod draw;
mod fold;
mod gather;
mod price;
mod record;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use error::{Error, Result};
use machine::Shutdown;
use storage::{Condition, Store, StoreError, Version};
use tokio::time::timeout;

pub use price::dollars;
pub use record::{History, Kind, MOST_RUNS};

/// The page.
pub const PAGE: &str = "index.html";
/// What it is drawn from.
pub const HISTORY: &str = "history.json";
/// How long a run may take over its pages.
const MOST_SECONDS: Duration = Duration::from_secs(5);
/// Runs that end at once try so often to be on the page.
const TRIES: usize = 3;
/// Exit codes of runs that could write their results: done, gate, data, model.
const ENDED_WITH_A_STORE: [u8; 4] = [0, 3, 4, 6];
/// A person who asks for the page waits longer.
const TRIES_OF_A_PERSON: usize = 100;
/// More bytes than a history has: a run takes about one KiB.
const MOST_BYTES: u64 = 64 << 20;

/// The pages of a folder of runs.
#[derive(Debug, Clone)]
pub struct Pages {
    store: Arc<dyn Store>,
    /// The folder with the `/` at its end; empty for the whole store.
    folder: String,
    kind: Kind,
}

/// Which runs are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refresh {
    /// What `history.json` says of a run is believed while its files are the same.
    Changed,
    /// The files of every run are read again.
    All,
}

impl Pages {
    /// The page of the models of one name.
    #[must_use]
    pub fn of_models(store: Arc<dyn Store>, name: &str) -> Self {
        Self { store, folder: format!("{name}/"), kind: Kind::Models }
    }

    /// The page of an output of predictions.
    #[must_use]
    pub fn of_predictions(store: Arc<dyn Store>) -> Self {
        Self { store, folder: String::new(), kind: Kind::Predictions }
    }

    /// Where the page lies, for people.
    #[must_use]
    pub fn location(&self) -> String {
        self.location_of(PAGE)
    }

    /// Brings the page up to date when a run has ended with this exit code, unless it ended because the store could not be used, or is
    /// asked to stop: then the next run does it.
    pub async fn after_run(&self, exit_code: u8, shutdown: &Shutdown) {
        if !ENDED_WITH_A_STORE.contains(&exit_code) {
            return;
        }
        tokio::select! {
            () = self.update() => {}
            () = shutdown.requested() => {}
        }
    }

    /// Brings the page up to date. What hinders it is a warning: no run fails by a page for people.
    pub async fn update(&self) {
        let written = timeout(MOST_SECONDS, self.write(Refresh::Changed, TRIES)).await;
        let why = match written {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took more than {} seconds", MOST_SECONDS.as_secs()),
        };
        tracing::warn!(
            "{} does not show this run yet: {why}; the next run, or `{}`, writes it",
            self.location(),
            self.kind.command()
        );
    }

    /// Makes the page anew from the files of all runs. Of runs that have none any more, what `history.json` says stays.
    ///
    /// # Errors
    /// [`Error::Data`] where `history.json` is of a newer program; storage errors as they are.
    pub async fn rewrite(&self) -> Result<History> {
        self.write(Refresh::All, TRIES_OF_A_PERSON).await
    }

    async fn write(&self, refresh: Refresh, tries: usize) -> Result<History> {
        for _ in 0..tries {
            let standing = self.standing().await?;
            let before = standing.as_ref().and_then(|(_, _, history)| history.as_ref());
            let history = gather::gather(self, before, refresh).await?;
            let json = Bytes::from(history.to_json()?);
            let is_same = standing.as_ref().is_some_and(|(bytes, _, _)| *bytes == json);
            let condition = match standing {
                Some((_, version, _)) => Condition::Unchanged(version),
                None => Condition::Absent,
            };
            if !is_same {
                match self.store.put_if(&self.key(HISTORY), json, &condition).await {
                    Ok(_) => {}
                    Err(StoreError::Conflict(_)) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            self.draw(&history, is_same).await?;
            return Ok(history);
        }
        Err(Error::Storage(format!("{} was written by other runs {tries} times meanwhile", self.location_of(HISTORY))))
    }

    /// Writes the page, unless it is there already.
    async fn draw(&self, history: &History, may_stand: bool) -> Result<()> {
        let page = Bytes::from(draw::html(history));
        if may_stand {
            match storage::get_within_memory(self.store.as_ref(), &self.key(PAGE), MOST_BYTES).await {
                Ok((standing, _)) if standing == page => return Ok(()),
                Ok(_) | Err(StoreError::NotFound(_) | StoreError::TooLarge(_) | StoreError::Full(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.store.put(&self.key(PAGE), page).await?;
        Ok(())
    }

    /// What `history.json` says; its bytes and version even where it is none of ours, which is written over.
    async fn standing(&self) -> Result<Option<(Bytes, Version, Option<History>)>> {
        let (bytes, version) = match storage::get_json(self.store.as_ref(), &self.key(HISTORY), MOST_BYTES).await {
            Ok(found) => found,
            Err(StoreError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let history = match History::from_json(&bytes, self.kind) {
            Ok(history) => Some(history),
            Err(record::Unreadable::Newer(format)) => {
                return Err(Error::Data(format!(
                    "{} has format_version {format}, which this program does not know: use the newer program",
                    self.location_of(HISTORY)
                )));
            }
            Err(record::Unreadable::Damaged(why)) => {
                tracing::warn!(
                    "{} is damaged ({why}) and is made anew from the files of the runs",
                    self.location_of(HISTORY)
                );
                None
            }
        };
        Ok(Some((bytes, version, history)))
    }

    fn key(&self, file: &str) -> String {
        format!("{}{file}", self.folder)
    }

    fn location_of(&self, file: &str) -> String {
        format!("{}/{}", self.store.root().trim_end_matches('/'), self.key(file))
    }
}
