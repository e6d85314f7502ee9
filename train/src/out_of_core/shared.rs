//! Batches of a shard, read in step with the other shards.

use error::{Error, Result};
use xgboost::{Batch, BatchSource};

use super::batches::Batches;
use crate::shards::peers::Peers;

/// The batches of this shard's share, for a matrix that all shards make together.
///
/// XGBoost waits in its own steps between two passes for the shard that is last, for no longer than a shard may be silent. So the
/// shards ask each other for every batch whether any of them has more, and end each pass together, with the same error where
/// reading fails in one.
pub(super) struct SharedBatches<'a> {
    batches: Batches,
    peers: &'a Peers<'a>,
    failure: Option<Error>,
}

impl<'a> SharedBatches<'a> {
    pub(super) fn new(batches: Batches, peers: &'a Peers<'a>) -> Self {
        Self { batches, peers, failure: None }
    }
}

impl BatchSource for SharedBatches<'_> {
    fn rewind(&mut self) -> Result<()> {
        self.batches.rewind()
    }

    fn next_batch(&mut self) -> Result<Option<Batch<'_>>> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let mut own = self.batches.advance().map(|batch| batch.is_some());
        let has_one = matches!(own, Ok(true));
        while self.peers.any_has_more(own).inspect_err(|error| self.failure = Some(error.clone()))? && !has_one {
            own = Ok(false);
        }
        Ok(self.batches.current().filter(|_| has_one))
    }
}
