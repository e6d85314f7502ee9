//! Pointers: the only objects that are written more than once, moved by conditional writes, and in time only forward.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use error::{Error, Result};
use machine::ModelVersion;
use registry::pointer::MOST_BYTES;
use registry::{ModelRun, ModelStore, Pointer};
use serde::Serialize;
use storage::{Condition, Store, StoreError, Version};
use telemetry::Outcome;

/// Movers of a pointer that one move may lose to: each moved it forward.
const MOST_RACES: usize = 1_000;
/// A pointer's time that is later than now by more than clocks differ is not believed: nothing would ever move it again.
const MOST_CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(10);

/// What a pointer holds.
pub trait PointerFile: Serialize + Clone {
    /// Reads a pointer; `location` is where it lies, for the message.
    ///
    /// # Errors
    /// An error that says what is wrong with it, and never overwrites what is no pointer of this kind.
    fn read(bytes: &[u8], location: &str) -> Result<Self>;
    /// The error of what is no pointer of this kind; `why` says what is wrong with it.
    fn refused(location: &str, why: &str) -> Error;
    /// What it points to.
    fn path(&self) -> &str;
    /// When what it points to was complete, or was promoted, RFC 3339 in UTC.
    fn published_at(&self) -> &str;
    /// Notes what the pointer named before, where `standing` is what it holds until now.
    fn replaces(&mut self, standing: &Self);
}

/// What became of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// The pointer names the run now, or did so before.
    Done,
    /// The pointer names what was published later, and stays.
    Superseded {
        /// What it names.
        by: String,
    },
}

/// Points `key` at what a run has published, unless it names what was published later: an attempt that was held up, or is
/// repeated, never takes a pointer back.
///
/// # Errors
/// [`Error::Storage`] where others move it all the time; storage errors and those of [`PointerFile::read`] as they are.
pub async fn publish<File: PointerFile>(store: &dyn Store, key: &str, pointer: File) -> Result<Move> {
    let stays = |standing: &File| {
        // Of two that were complete at one time the first stays.
        standing.path() != pointer.path()
            && is_believable(standing.published_at(), Utc::now())
            && standing.published_at() >= pointer.published_at()
    };
    set(store, key, |standing| (!standing.is_some_and(stays)).then(|| pointer.clone())).await
}

/// That the pointers which a model of this version moves can be read, before anything is learnt: they are not written over otherwise.
///
/// # Errors
/// Storage errors and those of [`Pointer::read`] as they are.
pub async fn check_model_pointers(models: &ModelStore, version: &ModelVersion) -> Result<()> {
    for key in &[models.label_key(version), models.latest_key()] {
        Pointer::read(models, key).await?;
    }
    Ok(())
}

/// Points a model's label, then `latest`, at the model of a run that is decided, where its gate passed.
///
/// # Errors
/// As [`publish`].
pub async fn publish_model(models: &ModelStore, run: &ModelRun, outcome: &Outcome) -> Result<()> {
    if outcome.gate_passed() != Some(true) {
        return Ok(());
    }
    tracing::info!("the gate passed; publishing {run}");
    // Results of old releases do not say when they were complete, and have no other time.
    let completed_at = outcome.completed_at().unwrap_or_else(|| outcome.text("created_at"));
    let (model, metadata) = (outcome.text("model_sha256"), outcome.text("metadata_sha256"));
    let pointer = Pointer::to(run, outcome.number("r2"), model, Some(metadata), completed_at);
    for key in &[models.label_key(&run.version), models.latest_key()] {
        if let Move::Superseded { by } = publish(models.store(), key, pointer.clone()).await? {
            tracing::warn!(
                "{} stays at {by}, which was published later: `train models promote {run}` names this model instead",
                models.location_of(key)
            );
        }
    }
    Ok(())
}

/// Points a model's label, then `latest`, at a published model, whatever they name: the way back to an older one.
///
/// # Errors
/// As [`publish`].
pub async fn promote_model(models: &ModelStore, run: &ModelRun, pointer: &Pointer) -> Result<()> {
    for key in &[models.label_key(&run.version), models.latest_key()] {
        // Never before what it replaces, which an attempt that was held up would put back otherwise.
        let promoted = |standing: Option<&Pointer>| {
            let before = standing.map(|standing| standing.published_at.as_str());
            let before = before.filter(|before| is_believable(before, Utc::now()));
            let published_at = before.unwrap_or_default().max(&pointer.published_at).to_owned();
            Some(Pointer { published_at, ..pointer.clone() })
        };
        set(models.store(), key, promoted).await?;
    }
    Ok(())
}

/// The pointer at `key`; none where there is none.
///
/// # Errors
/// Storage errors and those of [`PointerFile::read`] as they are.
pub async fn read<File: PointerFile>(store: &dyn Store, key: &str) -> Result<Option<(File, Version)>> {
    match store.get_at_most(key, MOST_BYTES).await {
        Ok((bytes, version)) => Ok(Some((File::read(&bytes, &location_of(store, key))?, version))),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(StoreError::TooLarge(_)) => Err(File::refused(&location_of(store, key), "it is too large")),
        Err(error) => Err(error.into()),
    }
}

/// Writes what `next` makes of the standing pointer, until nobody else has moved it meanwhile; none of it leaves the pointer where
/// it is.
async fn set<File: PointerFile>(
    store: &dyn Store,
    key: &str,
    next: impl Fn(Option<&File>) -> Option<File>,
) -> Result<Move> {
    for _ in 0..MOST_RACES {
        let standing = read::<File>(store, key).await?;
        let file = standing.as_ref().map(|(file, _)| file);
        let (mut next, condition) = match (next(file), &standing) {
            (None, _) => {
                return Ok(Move::Superseded { by: file.map(|file| file.path().to_owned()).unwrap_or_default() });
            }
            (Some(next), Some((standing, _))) if is_done(standing, &next) => return Ok(Move::Done),
            (Some(next), Some((_, version))) => (next, Condition::Unchanged(version.clone())),
            (Some(next), None) => (next, Condition::Absent),
        };
        if let Some(standing) = file {
            next.replaces(standing);
        }
        let json = serde_json::to_vec_pretty(&next).map_err(|error| Error::Defect(format!("a pointer: {error}")))?;
        match store.put_if(key, Bytes::from(json), &condition).await {
            Ok(_) => return Ok(Move::Done),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Storage(format!(
        "{} was moved by others {MOST_RACES} times while this run tried to move it: run again with the same run id",
        location_of(store, key)
    )))
}

/// Whether the standing pointer says all that the next one would. The promotion of what it names already has a later time, which
/// keeps an attempt that was held up from moving it on.
fn is_done<File: PointerFile>(standing: &File, next: &File) -> bool {
    standing.path() == next.path() && standing.published_at() >= next.published_at()
}

fn location_of(store: &dyn Store, key: &str) -> String {
    format!("{}/{key}", store.root().trim_end_matches('/'))
}

fn is_believable(published_at: &str, now: DateTime<Utc>) -> bool {
    let time = DateTime::parse_from_rfc3339(published_at);
    time.is_ok_and(|time| time.to_utc() <= now + MOST_CLOCKS_DIFFER)
}

impl PointerFile for Pointer {
    fn read(bytes: &[u8], location: &str) -> Result<Self> {
        Self::from_json(bytes, location)
    }

    fn refused(location: &str, why: &str) -> Error {
        Self::damaged(location, why)
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn published_at(&self) -> &str {
        &self.published_at
    }

    /// Named again, a model still comes after the one before it.
    fn replaces(&mut self, standing: &Self) {
        let is_same = standing.path == self.path;
        self.previous = if is_same { standing.previous.clone() } else { Some(standing.path.clone()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_far_ahead_of_the_clock_is_not_believed() {
        let now = "2026-11-28T10:00:00Z".parse().unwrap();
        assert!(is_believable("2026-11-28T10:09:59.000Z", now) && is_believable("2020-01-01T00:00:00.000Z", now));
        assert!(!is_believable("2026-11-28T10:10:01.000Z", now) && !is_believable("soon", now));
    }

    #[test]
    fn a_model_that_is_named_again_still_comes_after_the_one_before_it() {
        let pointer = |run: &str| {
            let run = ModelRun { version: "v1".parse().unwrap(), run_id: run.parse().unwrap() };
            Pointer::to(&run, None, "00", None, "2026-11-28T10:00:00.000Z")
        };
        let (first, mut second) = (pointer("r1"), pointer("r2"));
        second.replaces(&first);
        assert_eq!(second.previous.as_deref(), Some("v1/r1"));
        let mut again = pointer("r2");
        again.replaces(&second);
        assert_eq!(again.previous.as_deref(), Some("v1/r1"));
    }
}
