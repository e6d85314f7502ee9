//! Which training rows the mean of the target that stands in a training row is made of: never the row itself, nor its group,
//! nor anything newer than what is older than it by the gap.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{RowKeys, rehashed};

/// Keeps these folds apart from every other use of hashes.
const FOLD_SEED_OFFSET: u64 = 0x5eed_0002;
/// Spans of time, each of whose means is made of rows that are older than all of it.
const BLOCKS: u8 = 10;
/// Folds that groups are dealt to within these spans.
const FOLDS_OF_BLOCKS: u8 = 5;

/// For each row which mean stands in it, and which means its target goes into.
///
/// Without time (`blocks` is 0) row and target have the same fold, and the mean that stands in a row is that of the other folds.
/// With time a row *reads* `block × folds + fold` and *adds* `since × folds + fold`, where `since` is the first block that the row is
/// older than by more than the gap (`blocks` where there is none): the mean that stands in a row is that of the rows whose
/// `since` is not above its block and whose fold, where there are several, is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossFolds {
    /// Spans of time; 0 where time has no part.
    pub blocks: u8,
    /// Folds by id or group; 1 where only time counts.
    pub folds: u8,
    /// The place of the mean that stands in each row.
    pub reads: Vec<u8>,
    /// The place of the sum that each row's target goes into, where that is another one.
    pub adds: Option<Vec<u8>>,
}

impl CrossFolds {
    /// Folds that means are learnt across, where time has no part.
    pub const FOLDS: u8 = 10;

    /// The fold of a row in a random split, by its id.
    #[must_use]
    pub fn of_id(id: &str, seed: u64) -> u8 {
        fold(xxh3_64_with_seed(id.as_bytes(), seed.wrapping_add(FOLD_SEED_OFFSET)), Self::FOLDS)
    }

    /// Of rows in a random split, whose folds were found by [`CrossFolds::of_id`].
    #[must_use]
    pub fn of_folds(folds: Vec<u8>) -> Self {
        Self { blocks: 0, folds: Self::FOLDS, reads: folds, adds: None }
    }

    /// Of rows in a split by time, by group or by both.
    #[must_use]
    pub fn of_keys(keys: &RowKeys, seed: u64) -> Self {
        let seed = seed.wrapping_add(FOLD_SEED_OFFSET);
        let folds_of = |count: u8| -> Option<Vec<u8>> {
            keys.groups.as_ref().map(|groups| groups.iter().map(|&group| fold(rehashed(group, seed), count)).collect())
        };
        let Some(instants) = &keys.instants else {
            return Self::of_folds(folds_of(Self::FOLDS).unwrap_or_default());
        };
        let starts = starts(instants);
        let (of_group, folds) = match folds_of(FOLDS_OF_BLOCKS) {
            Some(of_group) => (of_group, FOLDS_OF_BLOCKS),
            None => (vec![0; instants.len()], 1),
        };
        let rows = || instants.iter().zip(&of_group);
        let block = |instant: f64| starts.partition_point(|start| *start <= instant) as u8;
        let since = |instant: f64| {
            let later = starts.partition_point(|start| start - instant <= keys.gap);
            if later < starts.len() { later as u8 + 1 } else { BLOCKS }
        };
        let reads = rows().map(|(&instant, fold)| block(instant) * folds + fold).collect();
        let adds = rows().map(|(&instant, fold)| since(instant) * folds + fold).collect();
        Self { blocks: BLOCKS, folds, reads, adds: Some(adds) }
    }

    /// The same of some of the rows.
    #[must_use]
    pub fn picked(&self, rows: &[usize]) -> Self {
        let of = |all: &[u8]| rows.iter().filter_map(|&row| all.get(row).copied()).collect();
        Self { reads: of(&self.reads), adds: self.adds.as_deref().map(of), ..*self }
    }

    /// The place of the sum that a row's target goes into.
    #[must_use]
    pub fn adds(&self) -> &[u8] {
        self.adds.as_deref().unwrap_or(&self.reads)
    }
}

/// Where each block but the first begins, ascending; blocks have about the same rows.
fn starts(instants: &[f64]) -> Vec<f64> {
    let mut sorted = instants.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = |block: usize| sorted.len() * block / usize::from(BLOCKS);
    (1..usize::from(BLOCKS)).filter_map(|block| sorted.get(place(block)).copied()).collect()
}

fn fold(hash: u64, count: u8) -> u8 {
    (hash % u64::from(count)) as u8
}
