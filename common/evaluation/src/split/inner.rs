//! Inner validation: which of the training rows are validated on, and which of the others are trained on for that.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{RowKeys, newest, rehashed, unit};

/// Keeps the inner split apart from the outer one, which uses the seed itself.
const INNER_SEED_OFFSET: u64 = 0x5eed_0001;
/// Number of parts that rows or groups are dealt to; at most as many folds are used.
pub const FOLDS: u8 = 5;
/// Fewer groups than this are dealt to the parts one after the other, so that no part stays empty by chance.
const FEW_GROUPS: usize = 50;
/// The share of the rows, the newest of them, that all folds of a split by time validate on together.
const VALIDATED: f64 = 0.5;
/// The largest share of the rows that one fold of a split by time validates on.
const MOST_OF_A_FOLD: f64 = 0.2;
/// The share of the rows, the newest of them, of which each fold of a split by time and group validates on its groups.
const NEWEST_OF_BOTH: f64 = 0.3;

/// What a row does in a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Training,
    Validation,
    Neither,
}

/// The instants that a fold validates on: from the first to before the second.
type Window = (f64, f64);

/// The folds of some training rows.
///
/// At random and by group, each part of the rows is validated on by the models that were trained on the others. By time each fold
/// validates on a span of the newest half of the rows, the newest span first, and trains on all rows that are older by more
/// than the gap. By both, each fold validates on a part of the groups in the newest rows and trains on the older rows of
/// the other parts.
#[derive(Debug, Clone)]
pub struct InnerFolds {
    /// The part of each row; 0 for all where only time counts.
    parts: Vec<u8>,
    instants: Option<Vec<f64>>,
    by_group: bool,
    windows: Vec<Window>,
    gap: f64,
    folds: u8,
    /// Parts that rows or groups are dealt to.
    dealt: u8,
    /// The only fold that is used, where that is one.
    only: Option<u8>,
}

impl InnerFolds {
    /// The folds of rows with these ids and keys: as many as `folds`, at least one and at most [`FOLDS`].
    #[must_use]
    pub fn new(ids: &[&str], keys: &RowKeys, seed: u64, folds: u8) -> Self {
        Self::dealt_to(ids, keys, seed, FOLDS).with_folds(folds)
    }

    /// Cross-validation in `parts` folds, each of which validates on one of as many parts.
    #[must_use]
    pub fn dealt_to(ids: &[&str], keys: &RowKeys, seed: u64, parts: u8) -> Self {
        let dealt = parts.max(1);
        let seed = seed.wrapping_add(INNER_SEED_OFFSET);
        let parts = match (&keys.groups, &keys.instants) {
            (Some(groups), _) => parts_of_groups(groups, seed, dealt),
            (None, Some(instants)) => vec![0; instants.len()],
            (None, None) => ids.iter().map(|id| part(xxh3_64_with_seed(id.as_bytes(), seed), dealt)).collect(),
        };
        let by_group = keys.groups.is_some();
        let (instants, windows, gap) = (keys.instants.clone(), Vec::new(), keys.gap);
        let of = Self { parts, instants, by_group, windows, gap, folds: dealt, dealt, only: None };
        of.with_folds(dealt)
    }

    /// The same rows and folds, of which only one is used.
    #[must_use]
    pub fn only(self, fold: u8) -> Self {
        Self { only: Some(fold), ..self }
    }

    /// The same rows with as many folds, at least one and at most as many as rows were dealt to.
    #[must_use]
    pub fn with_folds(self, folds: u8) -> Self {
        let folds = folds.clamp(1, self.dealt);
        let windows = match &self.instants {
            None => Vec::new(),
            Some(instants) if self.by_group => {
                let from = newest(instants.clone(), NEWEST_OF_BOTH);
                vec![(from.unwrap_or(f64::INFINITY), f64::INFINITY); usize::from(folds)]
            }
            Some(instants) => windows(instants, folds),
        };
        Self { folds, windows, ..self }
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.parts.len()
    }

    /// Whether rows are split at random.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.instants.is_none() && !self.by_group
    }

    /// The first so many of these folds, at least one, with the rows that they have: where time has a part, as many folds dealt anew
    /// ([`InnerFolds::with_folds`]) would have others.
    #[must_use]
    pub fn first(self, folds: u8) -> Self {
        Self { folds: folds.clamp(1, self.folds.max(1)), ..self }
    }

    /// How many folds are wanted; some of them may have no rows.
    #[must_use]
    pub fn wanted(&self) -> u8 {
        self.folds
    }

    /// The folds in which there are training and validation rows, each with how many training rows it has.
    #[must_use]
    pub fn folds(&self) -> Vec<(u8, usize)> {
        let of = |fold: u8| {
            let count = |wanted: Role| (0..self.rows()).filter(|&row| self.role(fold, row) == wanted).count();
            let (training, validation) = (count(Role::Training), count(Role::Validation));
            (training > 0 && validation > 0).then_some((fold, training))
        };
        (0..self.folds).filter(|fold| self.only.is_none_or(|only| only == *fold)).filter_map(of).collect()
    }

    /// The training and the validation rows of a fold, ascending.
    #[must_use]
    pub fn split(&self, fold: u8) -> (Vec<usize>, Vec<usize>) {
        let of = |wanted: Role| (0..self.rows()).filter(|&row| self.role(fold, row) == wanted).collect();
        (of(Role::Training), of(Role::Validation))
    }

    fn role(&self, fold: u8, row: usize) -> Role {
        let Some(part) = self.parts.get(row) else { return Role::Neither };
        let is_of_part = *part == fold;
        let Some(instant) = self.instants.as_ref().and_then(|instants| instants.get(row)) else {
            return if is_of_part { Role::Validation } else { Role::Training };
        };
        let Some((from, until)) = self.windows.get(usize::from(fold)) else { return Role::Neither };
        let is_old = from - instant > self.gap;
        let is_new = instant >= from && instant < until;
        if is_new && (is_of_part || !self.by_group) {
            Role::Validation
        } else if is_old && !(is_of_part && self.by_group) {
            Role::Training
        } else {
            Role::Neither
        }
    }
}

/// The spans of time that folds validate on, the newest first. An instant is never cut in two, so that a span may have more rows
/// than its share, and fewer spans than folds may be left.
fn windows(instants: &[f64], folds: u8) -> Vec<Window> {
    let share = (VALIDATED / f64::from(folds)).min(MOST_OF_A_FOLD) * instants.len() as f64;
    let mut left = instants.to_vec();
    let mut windows: Vec<Window> = Vec::new();
    while windows.len() < usize::from(folds) && !left.is_empty() {
        let until = windows.last().map_or(f64::INFINITY, |(from, _)| *from);
        let Some(from) = newest(left.clone(), share / left.len() as f64) else { break };
        windows.push((from, until));
        left.retain(|instant| *instant < from);
    }
    windows
}

/// One of the parts, by a hash.
fn part(hash: u64, parts: u8) -> u8 {
    (unit(hash) * f64::from(parts)) as u8
}

/// The part of each row, so that whole groups are in one part.
fn parts_of_groups(groups: &[u64], seed: u64, parts: u8) -> Vec<u8> {
    let by_hash: BTreeMap<u64, u64> = groups.iter().map(|&group| (rehashed(group, seed), group)).collect();
    if by_hash.len() >= FEW_GROUPS {
        return groups.iter().map(|&group| part(rehashed(group, seed), parts)).collect();
    }
    let places: BTreeMap<u64, usize> = by_hash.values().enumerate().map(|(place, &group)| (group, place)).collect();
    groups.iter().map(|group| (places.get(group).copied().unwrap_or_default() % usize::from(parts)) as u8).collect()
}
