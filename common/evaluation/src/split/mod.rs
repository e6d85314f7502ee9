//! Which rows may judge which: the one place that decides it, for held-out rows, inner validation and means of the target.
//!
//! A split is at random (by a hash of the id), by time, by group, or by both. By time every row that judges is newer, by more than
//! a gap, than every row that it judges the learning of; by group no group stands on two sides. All of it follows from the rows'
//! own ids, instants and groups and from the seed: their order, the memory and the threads of a run have no part in it.

mod cross_fit;
mod inner;
#[cfg(test)]
mod tests;

pub use cross_fit::CrossFolds;
pub use inner::{FOLDS, InnerFolds};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Keeps the folds of errors apart from every other use of hashes.
const ERRORS_SEED_OFFSET: u64 = 0x5eed_0008;
/// Keeps rows without a group apart from groups that are called like their ids.
const NO_GROUP_SEED_OFFSET: u64 = 0x5eed_0006;

/// What validation has to know of a row besides its id.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RowKey {
    /// Its instant, finite: microseconds, or the units of a numeric time column. 0 where time has no part.
    pub instant: f64,
    /// The hash of its group, from [`group_key`]. 0 where groups have no part.
    pub group: u64,
}

/// The same of many rows, as far as the split needs it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RowKeys {
    /// The instant of each row, where rows are split by time.
    pub instants: Option<Vec<f64>>,
    /// The group of each row, where rows are split by group.
    pub groups: Option<Vec<u64>>,
    /// How much older than a row that judges those have to be that it is taught by, in units of the instants.
    pub gap: f64,
}

impl RowKeys {
    /// No rows yet, of a split by what is named.
    #[must_use]
    pub fn of_split(by_time: bool, by_group: bool) -> Self {
        Self { instants: by_time.then(Vec::new), groups: by_group.then(Vec::new), gap: 0.0 }
    }

    /// No rows yet, of the same split.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self { gap: self.gap, ..Self::of_split(self.instants.is_some(), self.groups.is_some()) }
    }

    /// Whether rows are split at random.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.instants.is_none() && self.groups.is_none()
    }

    /// Adds a row.
    pub fn push(&mut self, key: RowKey) {
        if let Some(instants) = &mut self.instants {
            instants.push(key.instant);
        }
        if let Some(groups) = &mut self.groups {
            groups.push(key.group);
        }
    }

    /// The key of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> RowKey {
        let instant = self.instants.as_ref().and_then(|instants| instants.get(row)).copied().unwrap_or_default();
        let group = self.groups.as_ref().and_then(|groups| groups.get(row)).copied().unwrap_or_default();
        RowKey { instant, group }
    }

    /// The keys of some rows, in their order.
    #[must_use]
    pub fn picked(&self, rows: &[usize]) -> Self {
        let mut picked = self.emptied();
        rows.iter().for_each(|&row| picked.push(self.get(row)));
        picked
    }
}

/// The hash that stands for a group: that of its text, with the seed of the run. A row without a group is a group of its own,
/// known by its id.
#[must_use]
pub fn group_key(group: Option<&str>, id: &str, seed: u64) -> u64 {
    match group {
        Some(text) => xxh3_64_with_seed(text.as_bytes(), seed),
        None => xxh3_64_with_seed(id.as_bytes(), seed.wrapping_add(NO_GROUP_SEED_OFFSET)),
    }
}

/// The folds of rows whose errors are known, for what is learnt from the errors of other rows: whole groups are in one fold, where rows are
/// split by group. Their order in time has no part: none of the models that erred had learnt from any of them.
#[must_use]
pub fn error_folds(ids: &[&str], keys: &RowKeys, seed: u64, folds: u8) -> Vec<u8> {
    let seed = seed.wrapping_add(ERRORS_SEED_OFFSET);
    let fold = |hash: u64| (unit(hash) * f64::from(folds)) as u8;
    match &keys.groups {
        Some(groups) => groups.iter().map(|group| fold(rehashed(*group, seed))).collect(),
        None => ids.iter().map(|id| fold(xxh3_64_with_seed(id.as_bytes(), seed))).collect(),
    }
}

/// The side of the outer split that a row stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Models are trained on it.
    Training,
    /// It judges the model.
    HeldOut,
    /// It is too close in time to the held-out rows, or newer than the training rows and of a group that is trained on, or
    /// older and of a group that is held out.
    Neither,
}

/// How rows are held out of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HoldOut {
    /// Share of the rows, or of the groups.
    pub fraction: f64,
    /// Seed of the run.
    pub seed: u64,
}

/// The side of each row, and where time was cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Sides {
    /// One for each row.
    pub of_rows: Vec<Side>,
    /// The oldest instant that is held out, where rows are split by time and any is held out.
    pub cut_off: Option<f64>,
}

impl HoldOut {
    /// Whether a row is held out in a random split: `xxh3_64(id, seed) / 2^64 < fraction`.
    #[must_use]
    pub fn holds_id(&self, id: &str) -> bool {
        unit(xxh3_64_with_seed(id.as_bytes(), self.seed)) < self.fraction
    }

    /// Whether a group is held out: the same formula with the text of the group.
    fn holds_group(&self, key: u64) -> bool {
        unit(key) < self.fraction
    }

    /// The sides of the rows of a split by time, by group or by both.
    #[must_use]
    pub fn sides(&self, keys: &RowKeys) -> Sides {
        let rows = keys.instants.as_ref().map_or(0, Vec::len).max(keys.groups.as_ref().map_or(0, Vec::len));
        let cut_off = keys.instants.as_ref().and_then(|instants| newest(instants.clone(), self.fraction));
        let side = |row: usize| {
            let key = keys.get(row);
            // What has no part in the split stands against neither side.
            let (by_time, by_group) = (keys.instants.is_some(), keys.groups.is_some());
            let is_held_group = self.holds_group(key.group);
            let is_new = !by_time || cut_off.is_some_and(|cut_off| key.instant >= cut_off);
            let is_old = !by_time || cut_off.is_none_or(|cut_off| cut_off - key.instant > keys.gap);
            if is_new && (!by_group || is_held_group) {
                Side::HeldOut
            } else if is_old && !(by_group && is_held_group) {
                Side::Training
            } else {
                Side::Neither
            }
        };
        Sides { of_rows: (0..rows).map(side).collect(), cut_off }
    }
}

/// The oldest of as few of the newest instants as make up a share of the rows; none where that is no row.
pub(crate) fn newest(mut instants: Vec<f64>, share: f64) -> Option<f64> {
    // A product such as 0.1 × 30 is a last bit above the number that it stands for.
    let wanted = (share * instants.len() as f64 * (1.0 - 1e-12)).ceil() as usize;
    let place = wanted.min(instants.len()).checked_sub(1)?;
    let (_, oldest, _) = instants.select_nth_unstable_by(place, |left, right| right.total_cmp(left));
    Some(*oldest)
}

/// A hash as a number from 0 to 1.
fn unit(hash: u64) -> f64 {
    hash as f64 / 2_f64.powi(64)
}

/// The hash of a group for another purpose than holding rows out.
fn rehashed(key: u64, seed: u64) -> u64 {
    xxh3_64_with_seed(&key.to_le_bytes(), seed)
}
