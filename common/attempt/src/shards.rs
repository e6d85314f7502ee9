//! Runs that several tasks do together: each does its share and puts what it came to, and whoever sees the records of all of them
//! decides the run. No task waits for another one.
//!
//! A record is put before the folder is listed, so of the tasks that end at the same time at least the last one sees all records.
//! Whoever sees them may die before it commits: it is started again then, as whoever dies is, and sees them again. Two that see
//! them come to one commit, as two attempts of any run do.

use bytes::Bytes;
use error::{Error, Result};
use machine::Shard;
use storage::StoreError;

use crate::RunFolder;

/// The folder of the records in a run's folder. They stay: a run that is complete never changes.
const SHARDS: &str = "shards";
/// More bytes than a record has: one names every part of a share.
const MOST_RECORD_BYTES: u64 = 256 << 20;

impl RunFolder {
    /// What an attempt at a shard came to, if one has ended.
    ///
    /// # Errors
    /// [`Error::Data`] where it is too large to be a record; storage errors as they are.
    pub async fn shard_record(&self, index: u32) -> Result<Option<Bytes>> {
        match storage::get_json(self.store().as_ref(), &self.key(&record_file(index)), MOST_RECORD_BYTES).await {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(StoreError::TooLarge(_)) => Err(self.damaged_shard_record(index, "it is too large")),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts what a shard came to. The record of the attempt that was first holds, which is the answer.
    ///
    /// # Errors
    /// Storage errors as they are: the shard is started again.
    pub async fn record_shard(&self, index: u32, record: Bytes) -> Result<Bytes> {
        let file = record_file(index);
        match self.put_first(&file, record.clone()).await {
            Ok(()) => Ok(record),
            Err(StoreError::Conflict(_)) => self
                .shard_record(index)
                .await?
                .ok_or_else(|| Error::Storage(format!("{} cannot be written: run again", self.location_of(&file)))),
            Err(error) => Err(error.into()),
        }
    }

    /// The shards that have no record yet. To be asked after this shard's own record was put, never before.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn missing_shards(&self, shard: Shard) -> Result<Vec<u32>> {
        let listed = self.store().list(&self.key(SHARDS)).await?;
        let listed: std::collections::HashSet<String> = listed.into_iter().map(|object| object.key).collect();
        Ok((0..shard.count()).filter(|index| !listed.contains(&self.key(&record_file(*index)))).collect())
    }

    /// The error of a record that is none of this run's shard; `why` says what is wrong with it.
    #[must_use]
    pub fn damaged_shard_record(&self, index: u32, why: &str) -> Error {
        Error::Data(format!(
            "{} is damaged: {why}; remove it and run this shard again, or use another run id",
            self.location_of(&record_file(index))
        ))
    }
}

fn record_file(index: u32) -> String {
    format!("{SHARDS}/{index}.json")
}
