//! Step 8, where several tasks share a run: what a shard came to, and what all of them came to.

use std::collections::{BTreeSet, HashMap};

use attempt::RunFolder;
use bytes::Bytes;
use error::{Error, Result};
use features::quality::FeatureTally;
use machine::Shard;
use registry::pointer::FORMAT_VERSION;
use serde::{Deserialize, Serialize};

use crate::manifest::Totals;
use crate::plan::Shards;
use crate::slices::SliceTally;
use crate::write::{PartFile, PartWriter};

/// `shards/<i>.json` of a run: all that the manifest and the result say of its share.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Layout of this file.
    pub format_version: u32,
    /// The run.
    pub run_id: String,
    /// The number of the shard.
    pub shard: u32,
    /// How many there are.
    pub shards: u32,
    /// How long the attempt took that ended first.
    pub seconds: f64,
    /// The sums over its parts.
    pub totals: Totals,
}

/// What all shards came to.
#[derive(Debug)]
pub struct AllShards {
    /// How long the slowest took.
    pub seconds: f64,
    /// The sums over all parts.
    pub totals: Totals,
}

/// Reads and checks records: a record is read from a store, and a damaged one must not become a wrong total.
#[derive(Debug, Clone, Copy)]
pub struct ShardRecords<'a> {
    /// The run.
    pub folder: &'a RunFolder,
    /// Knows where parts lie.
    pub writer: &'a PartWriter,
    /// This shard.
    pub shard: Shard,
    /// How the run is shared.
    pub shards: Shards,
    /// How many features there are.
    pub features: usize,
    /// How many columns the rows are told apart by.
    pub slices: usize,
}

impl ShardRecords<'_> {
    /// What an attempt at this shard came to, if one has ended.
    ///
    /// # Errors
    /// [`Error::Data`] where its record is damaged; storage errors as they are.
    pub async fn own(&self) -> Result<Option<ShardRecord>> {
        let index = self.shard.index();
        self.folder.shard_record(index).await?.map(|bytes| self.read(index, &bytes)).transpose()
    }

    /// Puts what this shard came to; gives the record that holds.
    ///
    /// # Errors
    /// As [`ShardRecords::own`].
    pub async fn put(&self, seconds: f64, totals: Totals) -> Result<ShardRecord> {
        let index = self.shard.index();
        let record = ShardRecord {
            format_version: FORMAT_VERSION,
            run_id: self.folder.run_id().to_string(),
            shard: index,
            shards: self.shards.count,
            seconds,
            totals,
        };
        let json = serde_json::to_vec(&record).map_err(|error| Error::Defect(format!("a shard's record: {error}")))?;
        self.read(index, &self.folder.record_shard(index, json.into()).await?)
    }

    /// What all shards came to; none where some have not ended yet. `new_tallies` have nothing counted yet.
    ///
    /// # Errors
    /// [`Error::Data`] where a record is damaged, or a part is not what it says; storage errors as they are.
    pub async fn all(&self, new_tallies: Vec<FeatureTally>) -> Result<Option<AllShards>> {
        let missing = self.folder.missing_shards(self.shard).await?;
        if !missing.is_empty() {
            let of = self.shards.count;
            tracing::info!(
                "this shard has ended; {} of {of} shards have not: the last one completes the run",
                missing.len()
            );
            return Ok(None);
        }
        let sizes = self.sizes().await?;
        let slices = vec![SliceTally::default(); self.slices];
        let totals = Totals { tallies: new_tallies, slices, ..Totals::default() };
        let mut all = AllShards { seconds: 0.0, totals };
        for index in 0..self.shards.count {
            // Removed by somebody since it was listed.
            let Some(bytes) = self.folder.shard_record(index).await? else { return Ok(None) };
            let record = self.read(index, &bytes)?;
            let mut files = record.totals.parts.iter().chain(&record.totals.rejected_parts);
            if let Some(file) = files.find(|file| sizes.get(&file.path) != Some(&file.bytes)) {
                return Err(self.folder.damaged_shard_record(index, &format!("{} is not what it says", file.path)));
            }
            all.seconds = all.seconds.max(record.seconds);
            all.totals.add(record.totals);
        }
        Ok(Some(all))
    }

    /// The size of every file of the run's parts.
    async fn sizes(&self) -> Result<HashMap<String, u64>> {
        let mut sizes = HashMap::new();
        for folder in ["predictions", "rejected"] {
            let listed = self.writer.store.list(&format!("{folder}/run_id={}", self.folder.run_id())).await?;
            sizes.extend(listed.into_iter().map(|object| (object.key, object.size)));
        }
        Ok(sizes)
    }

    fn read(&self, index: u32, bytes: &Bytes) -> Result<ShardRecord> {
        let damaged = |why: &str| self.folder.damaged_shard_record(index, why);
        let record: ShardRecord = serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))?;
        let names = (record.format_version, record.run_id.as_str(), record.shard, record.shards);
        if names != (FORMAT_VERSION, self.folder.run_id().as_str(), index, self.shards.count) {
            return Err(damaged("it is of another run or shard"));
        }
        let totals = &record.totals;
        if !totals.adds_up() || (totals.tallies.len(), totals.slices.len()) != (self.features, self.slices) {
            return Err(damaged("its counts do not add up"));
        }
        let share = self.shard.other(index).map(|shard| shard.share_of(self.shards.parts)).unwrap_or_default();
        let part = |file: &PartFile| self.writer.part_at(&file.path).filter(|part| share.contains(part));
        let parts: Option<Vec<u64>> = totals.parts.iter().map(part).collect();
        let rejected: Option<Vec<u64>> = totals.rejected_parts.iter().map(part).collect();
        let (Some(parts), Some(rejected)) = (parts, rejected) else {
            return Err(damaged("it names files that are no parts of its share"));
        };
        let is_in_order = |parts: &[u64]| parts.is_sorted_by(|one, next| one < next);
        let distinct: BTreeSet<u64> = parts.iter().chain(&rejected).copied().collect();
        if !is_in_order(&parts) || !is_in_order(&rejected) || distinct.len() as u64 != share.end - share.start {
            return Err(damaged("it does not name every part of its share once"));
        }
        Ok(record)
    }
}
