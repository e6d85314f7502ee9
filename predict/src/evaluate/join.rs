//! Predictions with their actual values, one partition of ids after the other.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Mutex, PoisonError};

use evaluation::{Ends, PairSums};
use machine::threads::on_threads;

use super::side::{ENDS, Side};
use crate::ids::partitions::{Block, Partition, ScratchFile};
use crate::ids::{IdKey, Key};

/// Bytes of a pair of prediction and actual value, and of the interval of the prediction where it has one.
pub(super) fn pair_bytes(has_intervals: bool) -> usize {
    2 * size_of::<f64>() + if has_intervals { ENDS } else { 0 }
}

/// The largest share of a partition's table that is taken is one in so many.
const SLOTS_PER_ENTRY: usize = 2;

/// Groups of pairs, by a hash of their ids.
const GROUPS: usize = 256;

/// What a join counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Predictions with a usable actual value.
    pub(super) matched: u64,
    /// Predictions whose id no actual has.
    pub(super) without_actual: u64,
    /// Predictions whose actual value is null or not finite.
    pub(super) null_actuals: u64,
    /// Actuals whose id no prediction has.
    pub(super) of_others: u64,
}

/// What came of the join.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// The counts.
    pub(super) counts: Counts,
    /// The sums over all pairs, of each group that ids are dealt out to: how sure R² is, is seen from them.
    pub(super) groups: Vec<PairSums>,
    /// The same by the values of each column: of those of the predictions first, then of those of the actuals.
    pub(super) slices: Vec<Vec<PairSums>>,
    /// The pairs, in the order of partitions.
    pub(super) pairs: Vec<Block>,
    /// An id that the actuals have more than once.
    pub(super) repeated: Option<IdKey>,
}

/// The columns of slices of both sides.
#[derive(Debug, Clone, Copy)]
struct Widths {
    of_predictions: usize,
    of_actuals: usize,
    has_intervals: bool,
}

/// The two sides of one partition.
enum Task {
    Whole(Partition, Partition),
    Hashed(Partition, Partition),
}

/// Joins the sides on so many threads. The figures do not depend on their number.
///
/// # Errors
/// Those of the scratch disk.
pub(super) fn join(predictions: Side, actuals: Side, file: &ScratchFile, threads: usize) -> io::Result<Joined> {
    let widths = Widths {
        of_predictions: predictions.slices.len(),
        of_actuals: actuals.slices.len(),
        has_intervals: predictions.has_intervals,
    };
    let whole = predictions.whole.into_each().zip(actuals.whole.into_each());
    let hashed = predictions.hashed.into_each().zip(actuals.hashed.into_each());
    let tasks = whole.map(|(one, other)| Task::Whole(one, other));
    let tasks: VecDeque<(usize, Task)> =
        tasks.chain(hashed.map(|(one, other)| Task::Hashed(one, other))).enumerate().collect();
    let queue = Mutex::new(tasks);
    let merge = Mutex::new(Merge { joined: Joined::default(), next: 0, waiting: BTreeMap::new() });
    let work = || -> io::Result<()> {
        loop {
            let task = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((index, task)) = task else { return Ok(()) };
            let joined = match task {
                Task::Whole(one, other) => join_partition::<u64>(one, other, file, widths, IdKey::Whole)?,
                Task::Hashed(one, other) => join_partition::<u128>(one, other, file, widths, IdKey::Hashed)?,
            };
            merge.lock().unwrap_or_else(PoisonError::into_inner).take(index, joined);
        }
    };
    on_threads(threads, work).into_iter().collect::<io::Result<()>>()?;
    Ok(merge.into_inner().unwrap_or_else(PoisonError::into_inner).joined)
}

/// Adds what partitions came to in their order, so that sums of floats are the same on every run.
struct Merge {
    joined: Joined,
    next: usize,
    waiting: BTreeMap<usize, Joined>,
}

impl Merge {
    fn take(&mut self, index: usize, joined: Joined) {
        self.waiting.insert(index, joined);
        while let Some(joined) = self.waiting.remove(&self.next) {
            self.joined.add(joined);
            self.next += 1;
        }
    }
}

impl Joined {
    /// The sums over all pairs.
    pub(super) fn sums(&self) -> PairSums {
        let mut sums = PairSums::default();
        self.groups.iter().for_each(|group| sums.add(group));
        sums
    }

    fn add(&mut self, more: Self) {
        let (all, of_more) = (&mut self.counts, more.counts);
        all.matched += of_more.matched;
        all.without_actual += of_more.without_actual;
        all.null_actuals += of_more.null_actuals;
        all.of_others += of_more.of_others;
        self.groups.resize(self.groups.len().max(more.groups.len()), PairSums::default());
        self.groups.iter_mut().zip(&more.groups).for_each(|(sums, more)| sums.add(more));
        self.slices.resize_with(self.slices.len().max(more.slices.len()), Vec::new);
        for (sums, more) in self.slices.iter_mut().zip(&more.slices) {
            sums.resize(sums.len().max(more.len()), PairSums::default());
            sums.iter_mut().zip(more).for_each(|(sums, more)| sums.add(more));
        }
        self.pairs.extend(more.pairs);
        self.repeated = self.repeated.or(more.repeated);
    }
}

/// The actuals of a partition by their ids: open addressing over the positions of entries.
struct Actuals<K> {
    keys: Vec<K>,
    values: Vec<f64>,
    codes: Vec<u32>,
    is_met: Vec<bool>,
    /// Places of entries, counted from 1; 0 is free.
    slots: Vec<u32>,
}

impl<K: Key> Actuals<K> {
    fn expecting(entries: usize) -> Self {
        Self {
            keys: Vec::with_capacity(entries),
            values: Vec::with_capacity(entries),
            codes: Vec::new(),
            is_met: Vec::new(),
            slots: vec![0; (entries * SLOTS_PER_ENTRY).max(2)],
        }
    }

    /// The slot that a key has, or would have.
    fn slot(&self, key: K) -> usize {
        let mut slot = ((u128::from(key.hash()) * self.slots.len() as u128) >> 64) as usize;
        while let Some(place) = self.slots.get(slot).filter(|place| **place > 0) {
            if self.keys.get(*place as usize - 1) == Some(&key) {
                break;
            }
            slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 };
        }
        slot
    }

    /// Takes in an entry; whether its id is new.
    fn insert(&mut self, key: K, value: f64) -> bool {
        let slot = self.slot(key);
        if self.slots[slot] > 0 {
            return false;
        }
        self.keys.push(key);
        self.values.push(value);
        self.slots[slot] = self.keys.len() as u32;
        true
    }

    fn find(&self, key: K) -> Option<usize> {
        (self.slots[self.slot(key)] as usize).checked_sub(1)
    }
}

fn join_partition<K: Key>(
    predictions: Partition,
    actuals: Partition,
    file: &ScratchFile,
    widths: Widths,
    id: fn(K) -> IdKey,
) -> io::Result<Joined> {
    let mut joined = Joined { groups: vec![PairSums::default(); GROUPS], ..Joined::default() };
    joined.slices.resize_with(widths.of_predictions + widths.of_actuals, Vec::new);
    let mut table = Actuals::<K>::expecting(actuals.entries);
    let entry = K::BYTES + size_of::<f64>();
    let width = entry + widths.of_actuals * size_of::<u32>();
    actuals.read(file, |block| {
        for bytes in block.chunks_exact(width) {
            let key = K::read(bytes);
            if table.insert(key, float(&bytes[K::BYTES..])) {
                table.codes.extend(bytes[entry..].chunks_exact(size_of::<u32>()).map(code));
            } else {
                joined.repeated.get_or_insert(id(key));
            }
        }
    })?;
    table.is_met = vec![false; table.keys.len()];
    let mut pairs = Vec::with_capacity(predictions.entries.min(table.keys.len()) * pair_bytes(widths.has_intervals));
    let of_ends = entry..entry + if widths.has_intervals { ENDS } else { 0 };
    let entry = of_ends.end;
    let width = entry + widths.of_predictions * size_of::<u32>();
    predictions.read(file, |block| {
        for bytes in block.chunks_exact(width) {
            let key = K::read(bytes);
            let Some(place) = table.find(key) else {
                joined.counts.without_actual += 1;
                continue;
            };
            table.is_met[place] = true;
            let (prediction, actual) = (float(&bytes[K::BYTES..]), table.values[place]);
            if !(actual.is_finite() && prediction.is_finite()) {
                joined.counts.null_actuals += 1;
                continue;
            }
            joined.counts.matched += 1;
            let ends = ends(&bytes[of_ends.clone()]);
            let push = |sums: &mut PairSums| {
                sums.push(prediction, actual);
                if let Some(ends) = ends {
                    sums.push_interval(actual, ends);
                }
            };
            push(&mut joined.groups[key.hash() as usize % GROUPS]);
            pairs.extend_from_slice(&prediction.to_le_bytes());
            pairs.extend_from_slice(&actual.to_le_bytes());
            pairs.extend_from_slice(&bytes[of_ends.clone()]);
            let of_prediction = bytes[entry..].chunks_exact(size_of::<u32>()).map(code);
            let of_actual = &table.codes[place * widths.of_actuals..(place + 1) * widths.of_actuals];
            for (sums, code) in joined.slices.iter_mut().zip(of_prediction.chain(of_actual.iter().copied())) {
                if sums.len() <= code as usize {
                    sums.resize(code as usize + 1, PairSums::default());
                }
                push(&mut sums[code as usize]);
            }
        }
    })?;
    joined.counts.of_others = table.is_met.iter().filter(|is_met| !**is_met).count() as u64;
    drop(table);
    if !pairs.is_empty() {
        joined.pairs.push(file.put(&mut pairs)?);
    }
    Ok(joined)
}

/// The float that eight bytes are.
pub(super) fn float(bytes: &[u8]) -> f64 {
    bytes.first_chunk().map_or(f64::NAN, |bytes| f64::from_le_bytes(*bytes))
}

/// The ends of an interval, where there are any.
pub(super) fn ends(bytes: &[u8]) -> Option<Ends> {
    (bytes.len() == ENDS).then(|| (float(bytes), float(&bytes[size_of::<f64>()..])))
}

fn code(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
