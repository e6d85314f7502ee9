//! What the shards of a run do together, on the thread that has joined XGBoost's collective.
//!
//! All shards take the same steps in the same order. A step that reads or computes for itself is done on another thread
//! ([`Peers::together`]) while this one stays in touch, so that a shard that fails, is lost or is silent ends the others soon,
//! whatever they do.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use error::{Error, Result};
use machine::threads::refused;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xgboost::collective::{Communicator, Membership};

/// How long a shard may be silent: others end after that with what they have to write down, within the minute that they have.
pub(super) const PATIENCE: Duration = Duration::from_secs(45);
/// How often the shards tell each other that they work.
const GLANCE: Duration = Duration::from_millis(200);
/// Bytes that the reason of a failure may have, all shards told the same.
const REASON_BYTES: usize = 4096;

/// The shards of a run that learn together, seen from one of them.
pub(crate) struct Peers<'a> {
    communicator: Communicator,
    /// Told where this shard has to end although it has not come to an end with what it does.
    give_up: &'a (dyn Fn(&Error) + Sync),
}

/// What a shard failed with, for the others.
#[derive(Debug, Serialize, Deserialize)]
struct Reason {
    exit_code: u8,
    message: String,
}

/// What a shard is at.
enum State {
    Working,
    Done,
    Failed(Error),
}

impl fmt::Debug for Peers<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Peers").field("communicator", &self.communicator).finish_non_exhaustive()
    }
}

impl<'a> Peers<'a> {
    /// Joins the others. The thread that does so must not end before the process does, where it ends with an error.
    ///
    /// # Errors
    /// [`Error::Storage`] where the others do not answer.
    pub(super) fn join(
        membership: &Membership,
        last_words: impl FnOnce() + Send + 'static,
        give_up: &'a (dyn Fn(&Error) + Sync),
    ) -> Result<Self> {
        let communicator = Communicator::join(membership, last_words)?;
        Ok(Self { communicator, give_up })
    }

    /// Whether this is the shard that decides, writes and publishes.
    pub(crate) fn is_first(&self) -> bool {
        self.communicator.rank() == 0
    }

    /// Which shard this is.
    pub(crate) fn index(&self) -> usize {
        self.communicator.rank() as usize
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.communicator.members() as usize
    }

    /// Does `work` on a thread of its own, until all shards have done theirs.
    ///
    /// # Errors
    /// What `work` fails with, here or in another shard; [`Error::Storage`] where a shard was lost.
    pub(crate) fn together<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let (ended, ends) = channel::<()>();
            let work = move || {
                // Dropped with the thread, whatever becomes of it.
                let _ended = ended;
                work()
            };
            let worker = thread::Builder::new().name("shard".to_owned()).spawn_scoped(scope, work).map_err(refused)?;
            let mut worker = Some(worker);
            let mut done = None;
            loop {
                let is_over = !matches!(ends.recv_timeout(GLANCE), Err(RecvTimeoutError::Timeout));
                let mut state = if done.is_some() { State::Done } else { State::Working };
                if let Some(worker) = worker.take_if(|_| is_over) {
                    match worker.join().unwrap_or_else(|panic| resume_unwind(panic)) {
                        Ok(value) => (done, state) = (Some(value), State::Done),
                        Err(error) => state = State::Failed(error),
                    }
                }
                match self.agree(state) {
                    Ok(true) => {}
                    Ok(false) => return done.ok_or_else(|| Error::Defect("a shard's work was lost".to_owned())),
                    Err(error) => {
                        if worker.is_some() {
                            // It works on what nobody needs any more, and may do so for long.
                            (self.give_up)(&error);
                        }
                        return Err(error);
                    }
                }
            }
        })
    }

    /// Whether any shard still has a batch, asked by all of them for every batch; fails in all shards where it fails in one.
    ///
    /// # Errors
    /// As [`Peers::together`].
    pub(crate) fn any_has_more(&self, own: Result<bool>) -> Result<bool> {
        self.agree(match own {
            Ok(true) => State::Working,
            Ok(false) => State::Done,
            Err(error) => State::Failed(error),
        })
    }

    /// What the first shard says.
    ///
    /// # Errors
    /// As [`Peers::together`].
    pub(crate) fn told<T: Serialize + DeserializeOwned>(&self, own: Option<&T>) -> Result<T> {
        let cannot = |error: serde_json::Error| Error::Defect(format!("what a shard tells the others: {error}"));
        let bytes = own.map(serde_json::to_vec).transpose().map_err(cannot)?;
        serde_json::from_slice(&self.told_bytes(bytes.unwrap_or_default())?).map_err(cannot)
    }

    /// Bytes that the first shard gives.
    ///
    /// # Errors
    /// As [`Peers::together`].
    pub(crate) fn told_bytes(&self, own: Vec<u8>) -> Result<Vec<u8>> {
        let mut length = [if self.is_first() { count(own.len()) } else { 0 }];
        self.communicator.max(&mut length)?;
        let mut bytes = own;
        bytes.resize(usize::try_from(length[0]).unwrap_or(0), 0);
        self.communicator.broadcast(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// The sums over all shards, in an order that is always the same.
    ///
    /// # Errors
    /// As [`Peers::together`].
    pub(crate) fn sum(&self, values: &mut [f64]) -> Result<()> {
        Ok(self.communicator.sum(values)?)
    }

    /// The numbers of all shards, one shard's after the other.
    ///
    /// # Errors
    /// As [`Peers::together`].
    pub(crate) fn gathered(&self, own: &[f32]) -> Result<Vec<f32>> {
        let mut lengths = vec![0_i64; self.count()];
        lengths[self.index()] = count(own.len());
        self.communicator.max(&mut lengths)?;
        let mut all = Vec::new();
        for (index, length) in (0_u32..).zip(&lengths) {
            let mut bytes: Vec<u8> = match index as usize == self.index() {
                true => own.iter().flat_map(|value| value.to_le_bytes()).collect(),
                false => vec![0; usize::try_from(*length).unwrap_or(0) * size_of::<f32>()],
            };
            self.communicator.broadcast(&mut bytes, index)?;
            let (values, _) = bytes.as_chunks::<{ size_of::<f32>() }>();
            all.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        }
        Ok(all)
    }

    /// Leaves, with all others.
    pub(super) fn leave(self) {
        if let Err(error) = self.communicator.leave() {
            // The run is whole.
            tracing::debug!("{error}");
        }
    }

    /// Whether any shard still works.
    fn agree(&self, own: State) -> Result<bool> {
        let works = matches!(own, State::Working);
        // The first shard that failed tells why.
        let failed = if matches!(own, State::Failed(_)) { count(self.count() - self.index()) } else { 0 };
        let mut all = [i64::from(works), failed];
        self.communicator.max(&mut all)?;
        let [any_works, failing] = all;
        if failing == 0 {
            return Ok(any_works > 0);
        }
        let index = self.count() - usize::try_from(failing).unwrap_or(0);
        let mut bytes = match &own {
            State::Failed(error) if index == self.index() => reason_bytes(error),
            _ => vec![0; REASON_BYTES],
        };
        self.communicator.broadcast(&mut bytes, u32::try_from(index).unwrap_or(0))?;
        match own {
            State::Failed(error) => Err(error),
            _ => Err(reason_of(&bytes, index)),
        }
    }
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn reason_bytes(error: &Error) -> Vec<u8> {
    let mut message = error.to_string();
    message.truncate(message.floor_char_boundary(REASON_BYTES / 4));
    let reason = Reason { exit_code: error.exit_code(), message };
    let mut bytes = serde_json::to_vec(&reason).unwrap_or_default();
    bytes.resize(REASON_BYTES, 0);
    bytes
}

/// What another shard's failure is for this one: what no retry mends is the same here; of the rest a shard was lost.
fn reason_of(bytes: &[u8], index: usize) -> Error {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let Ok(Reason { exit_code, message }) = serde_json::from_slice(text) else {
        return Error::Storage(format!("shard {index} failed: start all shards again with the same run id"));
    };
    let message = format!("shard {index}: {message}");
    match exit_code {
        2 => Error::Setting(message),
        4 => Error::Data(message),
        6 => Error::Model(message),
        8 => Error::Resources(message),
        _ => Error::Storage(format!("{message}; start all shards again with the same run id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_whole_or_cut_and_keeps_its_exit_code() {
        let told = |error: &Error| reason_of(&reason_bytes(error), 3);
        assert_eq!(told(&Error::Data("bad \"rows\"".into())), Error::Data("shard 3: bad \"rows\"".into()));
        assert_eq!(told(&Error::Stopped("stopped".into())).exit_code(), 5);
        assert_eq!(told(&Error::Defect("x".into())).exit_code(), 5);
        let long = told(&Error::Resources("ü\u{1}".repeat(REASON_BYTES)));
        assert_eq!(long.exit_code(), 8);
        assert!(long.to_string().starts_with("shard 3: ü"), "{long}");
        assert_eq!(reason_of(&[0; 8], 1).exit_code(), 5);
    }
}
