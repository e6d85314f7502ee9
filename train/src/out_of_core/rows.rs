//! Which rows are used: ids, targets and weights, gone through twice, a row group at a time.

use std::collections::HashSet;
use std::sync::Arc;

use columns::ColumnSource;
use columns::text::canonical_text;
use columns::text_hints::Writing;
use error::{Error, Result};
use evaluation::split::{CrossFolds, HoldOut, RowKeys, Side, Sides};
use futures::StreamExt;
use table::{LoadableTable, RangeColumns};
use tokio::runtime::Handle;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

use super::Stop;
use crate::read::{Dropped, RoleRow, RoleValues, Roles, Rows, dealt};

/// Keeps the sample apart from every other use of the ids' hashes.
const SAMPLE_SEED_OFFSET: u64 = 0x5eed_0004;
/// Row groups fetched at once.
const FETCHES_AHEAD: usize = 4;

/// How rows are dealt out.
#[derive(Debug)]
pub(super) struct Wanted {
    /// How rows are held out where there is no table of them.
    pub(super) hold_out: HoldOut,
    /// What is kept of rows for validation.
    pub(super) keys: RowKeys,
    /// About so many training rows make the sample.
    pub(super) sample_rows: usize,
    pub(super) seed: u64,
}

/// The rows of a run.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Training rows, without ids.
    pub(super) train: Rows,
    /// Held-out rows, without ids.
    pub(super) test: Rows,
    /// Some of the training rows, with ids.
    pub(super) sample: Rows,
    /// The folds of the training rows, for means of the target.
    pub(super) folds: CrossFolds,
    /// The oldest instant that is held out, where rows are split by time.
    pub(super) cut_off: Option<f64>,
    /// Usable rows on neither side.
    pub(super) neither: u64,
    pub(super) dropped: Dropped,
    /// What is to say about ids that are on both sides of the split.
    pub(super) shared_ids: Option<String>,
}

/// Goes through the tables.
///
/// # Errors
/// [`Error::Data`] where columns cannot be used; storage errors as they are.
pub(super) fn scan(
    tables: &[Arc<LoadableTable>],
    roles: &Roles,
    wanted: &Wanted,
    runtime: &Handle,
    stop: &Stop,
) -> Result<Scanned> {
    let test_table = tables.len() - 1;
    let empty = |table: usize| Rows::of_table(table, roles.weight.is_some(), wanted.keys.clone());
    let mut dropped = Dropped::default();
    let share = sample_share(tables, wanted);
    let train = TableScan { table: &tables[0], roles, runtime, stop };
    let of_train = train.ids()?;
    let is_sampled = |id: &str| share >= 1.0 || uniform(id, wanted.seed) < share;
    let mut scanned = if wanted.keys.is_random() {
        let (mut rows, mut test, mut sample, mut folds) = (empty(0), empty(test_table), empty(0), Vec::new());
        train.each_usable(&of_train, false, &mut dropped, |place, row| {
            if test_table == 0 && wanted.hold_out.holds_id(row.id) {
                test.push(place, None, row.target, row.weight as f32, row.key);
                return;
            }
            rows.push(place, None, row.target, row.weight as f32, row.key);
            folds.push(CrossFolds::of_id(row.id, wanted.seed));
            if is_sampled(row.id) {
                sample.push(place, Some(row.id.to_owned()), row.target, row.weight as f32, row.key);
            }
        })?;
        let folds = CrossFolds::of_folds(folds);
        let (cut_off, neither, shared_ids) = (None, 0, None);
        Scanned { train: rows, test, sample, folds, cut_off, neither, dropped, shared_ids }
    } else {
        // Where time is cut follows from all rows, so they are dealt out when all are known.
        let (mut all, mut sampled) = (empty(0), Vec::new());
        train.each_usable(&of_train, roles.time.is_some(), &mut dropped, |place, row| {
            if is_sampled(row.id) {
                sampled.push((all.len(), row.id.to_owned()));
            }
            all.push(place, None, row.target, row.weight as f32, row.key);
        })?;
        of_keys(all, sampled, test_table, wanted, dropped)
    };
    if let Some(table) = tables.get(1) {
        let test = TableScan { table, ..train };
        let of_test = test.ids()?;
        let (mut shared, mut first) = (0_u64, None);
        let (rows, dropped) = (&mut scanned.test, &mut scanned.dropped);
        test.each_usable(&of_test, false, dropped, |place, row| {
            if of_train.holds(row.id) {
                shared += 1;
                first.get_or_insert_with(|| row.id.to_owned());
            }
            rows.push(place, None, row.target, row.weight as f32, row.key);
        })?;
        scanned.shared_ids = first.map(|first| crate::leaks::shared_ids_text(shared, &first, scanned.test.len()));
    }
    Ok(scanned)
}

/// Deals out rows that are split by time or group; `sampled` are the places and ids of those that may be in the sample.
fn of_keys(all: Rows, sampled: Vec<(usize, String)>, test_table: usize, wanted: &Wanted, dropped: Dropped) -> Scanned {
    let count = all.len();
    let sides = match test_table {
        0 => wanted.hold_out.sides(&all.keys),
        _ => Sides { of_rows: vec![Side::Training; count], cut_off: None },
    };
    let mut sample = all.emptied();
    for (row, id) in sampled.into_iter().filter(|(row, _)| sides.of_rows[*row] == Side::Training) {
        let weight = all.weights.as_ref().map_or(1.0, |weights| weights[row]);
        sample.push(all.places[row] as usize, Some(id), all.target[row], weight, all.keys.get(row));
    }
    let (train, mut test) = dealt(all, &sides);
    test.table = test_table;
    let folds = CrossFolds::of_keys(&train.keys, wanted.seed);
    let neither = (count - train.len() - test.len()) as u64;
    Scanned { train, test, sample, folds, cut_off: sides.cut_off, neither, dropped, shared_ids: None }
}

fn sample_share(tables: &[Arc<LoadableTable>], wanted: &Wanted) -> f64 {
    let rows = tables[0].rows() as f64;
    let training = if tables.len() == 1 { rows * (1.0 - wanted.hold_out.fraction) } else { rows };
    wanted.sample_rows as f64 / training.max(1.0)
}

fn uniform(id: &str, seed: u64) -> f64 {
    xxh3_64_with_seed(id.as_bytes(), seed.wrapping_add(SAMPLE_SEED_OFFSET)) as f64 / 2_f64.powi(64)
}

/// The ids of a table, as sorted hashes: 8 bytes each.
struct Ids {
    hashes: Vec<u64>,
    /// Hashes that came more than once: rows that have one of them are compared by their ids.
    repeated: HashSet<u64>,
}

impl Ids {
    /// Whether a row of the table has this id: two different ids share a hash once in 2⁶⁴.
    fn holds(&self, id: &str) -> bool {
        self.hashes.binary_search(&xxh3_64(id.as_bytes())).is_ok()
    }
}

/// A table that is gone through, a row group at a time.
#[derive(Clone, Copy)]
struct TableScan<'a> {
    table: &'a LoadableTable,
    roles: &'a Roles,
    runtime: &'a Handle,
    stop: &'a Stop,
}

impl TableScan<'_> {
    /// The ids of the table.
    fn ids(&self) -> Result<Ids> {
        let id = &self.roles.id;
        let mut hashes = Vec::with_capacity(self.table.rows());
        self.each_range(std::slice::from_ref(id), |_, columns| {
            let ids = columns.column(id)?;
            let ids = canonical_text(&ids)?;
            hashes.extend(ids.iter().flatten().map(|id| xxh3_64(id.as_bytes())));
            Ok(())
        })?;
        hashes.sort_unstable();
        let repeated = hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        Ok(Ids { hashes, repeated })
    }

    /// Hands every row that can be used to `take`, with its place, in order, and counts the others.
    fn each_usable(
        &self,
        ids_of_table: &Ids,
        needs_time: bool,
        dropped: &mut Dropped,
        mut take: impl FnMut(usize, RoleRow<'_>),
    ) -> Result<()> {
        let Self { table, roles, .. } = *self;
        let names = roles.required(table)?;
        // Two of 10¹² different ids share a hash of 128 bits with a probability below 10⁻¹⁴.
        let mut seen: HashSet<u128> = HashSet::new();
        self.each_range(&names, |first, columns| {
            let column = |name: &str| columns.column(name);
            let values = RoleValues::read(roles, table.dataset(), Writing::typed(), column)?;
            for place in 0..values.len() {
                let Some(row) = values.get(place) else {
                    dropped.null_id += 1;
                    continue;
                };
                let is_repeated = ids_of_table.repeated.contains(&xxh3_64(row.id.as_bytes()));
                let is_first = || !is_repeated || seen.insert(xxh3_128(row.id.as_bytes()));
                if row.passes(dropped, needs_time, is_first) {
                    take(first + place, row);
                }
            }
            Ok(())
        })
    }

    /// Hands every row group to `take`, in order, with the place of its first row.
    fn each_range(&self, names: &[String], mut take: impl FnMut(usize, &RangeColumns) -> Result<()>) -> Result<()> {
        let fetch = |range: table::RowRange| async move {
            let columns = self.table.range_columns(&range, names).await?;
            Ok::<_, Error>((range.places.start, columns))
        };
        let mut fetched = futures::stream::iter(self.table.row_ranges()).map(fetch).buffered(FETCHES_AHEAD);
        while let Some(range) = self.runtime.block_on(fetched.next()) {
            self.stop.check()?;
            let (first, columns) = range?;
            take(first, &columns)?;
        }
        Ok(())
    }
}
