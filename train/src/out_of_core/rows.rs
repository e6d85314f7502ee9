//! Which rows are used: ids, targets and weights, gone through twice, a row group at a time.

use std::collections::HashSet;
use std::sync::Arc;

use columns::ColumnSource;
use columns::text::canonical_text;
use columns::text_hints::Writing;
use error::{Error, Result};
use futures::StreamExt;
use table::{LoadableTable, PieceColumns};
use tokio::runtime::Handle;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

use super::Stop;
use crate::encodings::fold;
use crate::read::{self, Dropped, Rows, is_held_out, nothing_left, target_values, weight_values};

/// Keeps the sample apart from every other use of the ids' hashes.
const SAMPLE_SEED_OFFSET: u64 = 0x5eed_0004;
/// Row groups fetched at once.
const FETCHES_AHEAD: usize = 4;

/// The columns that are no features.
#[derive(Debug)]
pub(super) struct Roles {
    pub(super) id: String,
    pub(super) target: String,
    pub(super) weight: Option<String>,
}

impl Roles {
    fn named(&self) -> read::Roles<'_> {
        read::Roles { id: &self.id, target: &self.target, weight: self.weight.as_deref() }
    }
}

/// How rows are dealt out.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Share of rows held out where there is no table of them.
    pub(super) test_fraction: f64,
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
    /// The fold of each training row.
    pub(super) folds: Vec<u8>,
    pub(super) dropped: Dropped,
    /// What is to say about ids that are on both sides of the split.
    pub(super) shared_ids: Option<String>,
}

/// Goes through the tables.
///
/// # Errors
/// [`Error::Data`] where columns cannot be used or no row is left; storage errors as they are.
pub(super) fn scan(
    tables: &[Arc<LoadableTable>],
    roles: &Roles,
    wanted: &Wanted,
    runtime: &Handle,
    stop: &Stop,
) -> Result<Scanned> {
    let is_weighted = roles.weight.is_some();
    let test_table = tables.len() - 1;
    let mut scanned = Scanned {
        train: Rows::of_table(0, is_weighted),
        test: Rows::of_table(test_table, is_weighted),
        sample: Rows::of_table(0, is_weighted),
        folds: Vec::new(),
        dropped: Dropped::default(),
        shared_ids: None,
    };
    let share = sample_share(tables, wanted);
    let train = TableScan { table: &tables[0], roles, runtime, stop };
    let of_train = train.ids()?;
    let mut dropped = Dropped::default();
    train.each_usable(&of_train, &mut dropped, |row| {
        if test_table == 0 && is_held_out(row.id, wanted.seed, wanted.test_fraction) {
            scanned.test.push(row.place, None, row.target, row.weight);
            return;
        }
        scanned.train.push(row.place, None, row.target, row.weight);
        scanned.folds.push(fold(row.id, wanted.seed));
        if share >= 1.0 || uniform(row.id, wanted.seed) < share {
            scanned.sample.push(row.place, Some(row.id.to_owned()), row.target, row.weight);
        }
    })?;
    if scanned.train.is_empty() || scanned.sample.is_empty() {
        return Err(nothing_left(&tables[0], &dropped, &roles.named(), scanned.test.len()));
    }
    if let Some(table) = tables.get(1) {
        let test = TableScan { table, ..train };
        let of_test = test.ids()?;
        let (mut shared, mut first) = (0_u64, None);
        test.each_usable(&of_test, &mut dropped, |row| {
            if of_train.holds(row.id) {
                shared += 1;
                first.get_or_insert_with(|| row.id.to_owned());
            }
            scanned.test.push(row.place, None, row.target, row.weight);
        })?;
        scanned.shared_ids = first.map(|first| crate::leaks::shared_ids_text(shared, &first, scanned.test.len()));
    }
    scanned.dropped = dropped;
    Ok(scanned)
}

fn sample_share(tables: &[Arc<LoadableTable>], wanted: &Wanted) -> f64 {
    let rows = tables[0].rows() as f64;
    let training = if tables.len() == 1 { rows * (1.0 - wanted.test_fraction) } else { rows };
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

/// A row that can be used.
struct UsableRow<'a> {
    place: usize,
    id: &'a str,
    target: f64,
    weight: f32,
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
        self.each_piece(std::slice::from_ref(id), |_, columns| {
            let ids = columns.column(id)?;
            let ids = canonical_text(&ids)?;
            hashes.extend(ids.iter().flatten().map(|id| xxh3_64(id.as_bytes())));
            Ok(())
        })?;
        hashes.sort_unstable();
        let repeated = hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        Ok(Ids { hashes, repeated })
    }

    /// Hands every row that can be used to `take`, in order, and counts the others.
    fn each_usable(
        &self,
        ids_of_table: &Ids,
        dropped: &mut Dropped,
        mut take: impl FnMut(UsableRow<'_>),
    ) -> Result<()> {
        let Self { table, roles, .. } = *self;
        let location = &table.dataset().location;
        let names: Vec<String> = [&roles.id, &roles.target].into_iter().chain(&roles.weight).cloned().collect();
        for name in &names {
            table.schema().require(name, location)?;
        }
        // Two of 10¹² different ids share a hash of 128 bits with a probability below 10⁻¹⁴.
        let mut seen: HashSet<u128> = HashSet::new();
        self.each_piece(&names, |first, columns| {
            let ids = columns.column(&roles.id)?;
            let ids = canonical_text(&ids)?;
            let targets = target_values(&columns.column(&roles.target)?, location, Writing::typed())?;
            let weight = roles.weight.as_ref();
            let weights =
                weight.map(|name| weight_values(&columns.column(name)?, location, Writing::typed())).transpose()?;
            for (row, id) in ids.iter().enumerate() {
                let Some(id) = id else {
                    dropped.null_id += 1;
                    continue;
                };
                let is_repeated = ids_of_table.repeated.contains(&xxh3_64(id.as_bytes()));
                let is_first = || !is_repeated || seen.insert(xxh3_128(id.as_bytes()));
                let weight = weights.as_ref().map_or(1.0, |weights| weights[row]);
                if dropped.passes(targets[row], weight, is_first) {
                    take(UsableRow { place: first + row, id, target: targets[row], weight: weight as f32 });
                }
            }
            Ok(())
        })
    }

    /// Hands every row group to `take`, in order, with the place of its first row.
    fn each_piece(&self, names: &[String], mut take: impl FnMut(usize, &PieceColumns) -> Result<()>) -> Result<()> {
        let fetch = |piece: table::Piece| async move {
            let columns = self.table.piece(&piece, names).await?;
            Ok::<_, Error>((piece.places.start, columns))
        };
        let mut fetched = futures::stream::iter(self.table.pieces()).map(fetch).buffered(FETCHES_AHEAD);
        while let Some(piece) = self.runtime.block_on(fetched.next()) {
            self.stop.check()?;
            let (first, columns) = piece?;
            take(first, &columns)?;
        }
        Ok(())
    }
}
