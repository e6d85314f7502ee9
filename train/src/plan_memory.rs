//! How much memory a run takes, and in which of four ways it can train, known before the first row is read: from the
//! footers (or the sizes of CSV objects), the spec and the settings.
//!
//! Every amount is an upper bound of what the code holds at once, found by counting buffers; constants are measured. A run
//! takes the fastest way that fits: everything in memory; XGBoost's bins in memory and the rows read in batches; a part of
//! the rows at a time, where the model may be the mean of several; bins on the scratch disk.

mod amounts;

use std::path::{Path, PathBuf};

use error::{Error, Result};
use features::encode::Feature;
use machine::Limits;
use machine::memory::{pool, remedy};
use serde::{Deserialize, Serialize};
use table::parquet::FooterRoom;
use xgboost::Params;

use self::amounts::{Bins, SAMPLE_MOST, Shape};
use crate::config::TrainConfig;
use crate::fit::histograms;
use crate::read::{Opened, TrainingData};

const MIB: u64 = 1024 * 1024;
/// The share of the limit that is planned with; the rest is the allocator's and the kernel's.
const USABLE: f64 = 0.9;
/// Fewest rows of the sample that a model is chosen on where not all fit.
const SAMPLE_LEAST: u64 = 20_000;
/// Most parts that rows are learnt from one after the other: a booster must see enough of them.
const MOST_PARTS: usize = 8;

/// How a run trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every row is in memory, as numbers.
    #[default]
    InMemory,
    /// XGBoost's bins are in memory; rows are read and encoded in batches.
    Batches,
    /// The same of a part of the rows at a time: each booster of the model learns from one of the parts, and each part is
    /// learnt from. Reading bins from disk in each round takes many times as long.
    Parts,
    /// XGBoost's bins lie on the scratch disk.
    External,
}

/// What of the plan bears on the model: a run that goes on with another limit keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TrainingMode {
    /// How the run trains.
    pub mode: Mode,
    /// Most rows of a batch; 0 where all rows are in memory.
    pub batch_rows: usize,
    /// Rows that a model is chosen on; 0 where all rows are in memory.
    pub sample_rows: usize,
    /// Parts that the rows are learnt from in; 0 where that is all of them at once.
    #[serde(default)]
    pub parts: usize,
    /// Nodes of a tree whose histograms are kept at once, where not those of all nodes fit: XGBoost makes the others from the rows, and their
    /// last bits may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram_nodes: Option<u64>,
    /// Whether the search may have derived features of its own, and the finest bins that columns have values for: there is room for them.
    #[serde(default)]
    pub has_derived: bool,
    /// Whether the search tries no trees deeper than usual, whose histograms have no room.
    #[serde(default)]
    pub is_shallow: bool,
}

/// The plan, in bytes unless a name says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// How the run trains.
    pub mode: Mode,
    /// Rows of all tables; of CSV an estimate.
    pub rows: u64,
    /// Columns of the matrix, at most.
    pub columns: u64,
    /// What the run takes at its peak.
    pub total_bytes: u64,
    /// What it would take with every row in memory.
    pub in_memory_bytes: u64,
    /// What the container may use.
    pub limit_bytes: u64,
    /// What lies on the scratch disk.
    pub scratch_bytes: u64,
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// Rows that a model is chosen on, where not all are in memory.
    pub sample_rows: usize,
    /// Parts that the rows are learnt from in; 0 where that is all of them at once.
    pub parts: usize,
    /// Nodes of a tree whose histograms are kept at once, where not all are.
    pub histogram_nodes: Option<u64>,
    /// Whether the search may have derived features of its own, and the finest bins that columns have values for.
    pub has_derived: bool,
    /// Whether the search tries no trees deeper than usual, whose histograms have no room.
    pub is_shallow: bool,
    /// What it was made from.
    #[serde(skip)]
    shape: Shape,
}

impl MemoryPlan {
    /// The plan of a run; of one that goes on, with what it `began` with.
    ///
    /// # Errors
    /// [`Error::Resources`] where the container may use less memory than the run needs in any way, or the scratch disk has
    /// less room.
    pub async fn new(
        config: &TrainConfig,
        limits: &Limits,
        opened: &Opened,
        began: Option<TrainingMode>,
    ) -> Result<Self> {
        let shape = Shape::of(config, limits, opened).await?;
        let mut plan = Self::of_shape(&shape, limits.memory_bytes.value);
        if began.map_or(plan.total_bytes > usable(plan.limit_bytes), |began| began.is_shallow) {
            plan = plan.with_usual_trees(&config.given_params);
        }
        let shape = plan.shape;
        if let Some(began) = began.filter(|began| began.mode != Mode::InMemory) {
            plan = plan.begun_with(began);
        }
        plan.check(&shape, &opened.train.location, &scratch())?;
        // What footers do not tell is counted as it is read.
        pool().set_room(usable(plan.limit_bytes).saturating_sub(shape.beside_reading()), plan.limit_bytes);
        Ok(plan)
    }

    /// The plan of a search that tries no trees deeper than usual, where there is one.
    fn with_usual_trees(self, params: &Params) -> Self {
        if self.shape.searched_nodes <= histograms::USUAL_NODES {
            return self;
        }
        let shape = self.shape.with_usual_trees(params);
        let plan = Self { is_shallow: true, ..Self::of_shape(&shape, self.limit_bytes) };
        tracing::info!(
            total_bytes = self.total_bytes,
            limit_bytes = self.limit_bytes,
            "no trees deeper than {} levels are tried unless max_depth asks for them: with the histograms of deeper ones the run would take {} MiB of memory and need a task \
             of {} MiB, but there are {}",
            histograms::USUAL_NODES.ilog2(),
            self.total_bytes.div_ceil(MIB),
            task(self.total_bytes).div_ceil(MIB),
            self.limit_bytes / MIB
        );
        plan
    }

    /// What the rows came to, once they are read: of CSV the plan was a guess. What is left goes to the texts that features are learnt
    /// from, which are counted as they come.
    ///
    /// # Errors
    /// [`Error::Resources`] where the rows take more than the container may use.
    pub fn recount_rows(&mut self, data: &TrainingData) -> Result<()> {
        if self.mode != Mode::InMemory {
            return Ok(());
        }
        let (mut shape, mut most) = (self.shape, usable(self.limit_bytes));
        (shape.train_rows, shape.test_rows) = (data.train.len() as u64, data.test.len() as u64);
        if shape.is_csv {
            shape.typed_bytes = Some(data.tables.iter().map(|table| table.memory_bytes()).sum());
            let plan =
                Self { rows: shape.rows(), is_shallow: self.is_shallow, ..Self::of_shape(&shape, self.limit_bytes) };
            plan.log_surprise(self.rows);
            // The amounts are upper bounds: rows that were begun with go on into the margin, but not past the limit.
            if plan.total_bytes > self.limit_bytes {
                plan.check(&shape, data.location(), &scratch())?;
            }
            most = most.max(plan.total_bytes);
            self.total_bytes = plan.total_bytes;
        }
        self.shape = shape;
        pool().set_room(most.saturating_sub(shape.beside_learning()), self.limit_bytes);
        Ok(())
    }

    /// What the levels of categories came to, once they are learnt: how many there are nothing tells before. Where the histograms of all
    /// nodes of a tree do not fit, those of half of them are kept, unless the run `began` otherwise.
    ///
    /// # Errors
    /// [`Error::Resources`] where the run takes more with them than the container may use; it says how to have fewer.
    pub fn recount_levels(
        &mut self,
        config: &TrainConfig,
        features: &[Feature],
        began: Option<TrainingMode>,
    ) -> Result<()> {
        let (planned, levels_of) = (self.total_bytes, |feature: &&Feature| feature.levels().map_or(0, <[String]>::len));
        let Some(most) = features.iter().max_by_key(levels_of).filter(|most| levels_of(most) > 0) else {
            return Ok(());
        };
        let of_all = self.shape.with_levels(config, features, None);
        let (half, bounded) = of_all.with_half_the_nodes(config, features);
        let fits = planned.max(self.total_of(&of_all)) <= self.limit_bytes;
        let is_bounded = began.map_or(!fits, |began| began.histogram_nodes.is_some());
        self.histogram_nodes = is_bounded.then_some(half);
        self.shape = if is_bounded { bounded } else { of_all };
        self.total_bytes = planned.max(self.total_of(&self.shape));
        let (levels, mib) = (self.shape.levels, |bytes: u64| bytes.div_ceil(MIB));
        // The amounts are upper bounds: what was begun with goes on into the margin, but not past the limit.
        if self.total_bytes > self.limit_bytes {
            return Err(Error::Resources(format!(
                "{}: training with categories of {levels} levels in all takes {} MiB of memory, {} of the levels those of \"{}\", but there \
                 are {} MiB: give the task more, or lower max_levels in the feature spec, encode it by the target (encoding), or exclude it",
                config.train_data,
                mib(self.total_bytes),
                levels_of(&most),
                most.name,
                self.limit_bytes / MIB
            )));
        }
        if self.total_bytes > planned + planned / 10 {
            tracing::info!(
                levels,
                total_bytes = self.total_bytes,
                limit_bytes = self.limit_bytes,
                histogram_nodes = self.histogram_nodes,
                "memory plan: {} MiB of {} MiB, since categories have {levels} levels in all{}",
                mib(self.total_bytes),
                self.limit_bytes / MIB,
                if is_bounded { "; histograms of half of the nodes of a tree are kept" } else { "" }
            );
        }
        Ok(())
    }

    /// Lets the search have derived features of its own, and finer bins of many columns, where every row is in memory and they fit beside
    /// all else, or where the run `began` with them.
    pub fn plan_derived(&mut self, began: Option<TrainingMode>) {
        let shape = self.shape.with_derived();
        let total_bytes = self.total_bytes.max(self.total_of(&shape));
        let is_possible = self.mode == Mode::InMemory && self.shape.derived > 0;
        let fits = total_bytes <= usable(self.limit_bytes);
        self.has_derived = began.map_or(is_possible && fits, |began| began.has_derived);
        if self.has_derived {
            (self.shape, self.total_bytes) = (shape, total_bytes);
        } else if is_possible {
            tracing::info!(
                total_bytes,
                limit_bytes = self.limit_bytes,
                "no derived features and no finer bins of many columns are tried: with them the run would take {} MiB of memory and need a task of {} MiB, but there are {}",
                total_bytes.div_ceil(MIB),
                task(total_bytes).div_ceil(MIB),
                self.limit_bytes / MIB
            );
        }
    }

    /// What the run takes at its peak, in its way.
    fn total_of(&self, shape: &Shape) -> u64 {
        let bins = match self.mode {
            Mode::InMemory => return shape.in_memory(),
            Mode::External => Bins::OnDisk,
            Mode::Batches | Mode::Parts => Bins::InMemory { parts: self.parts.max(1) as u64 },
        };
        let of_mode = shape.in_batches(self.batch_rows as u64, bins);
        of_mode.peak().max(shape.searching() + of_mode.rows + self.sample_rows as u64 * shape.sample_row())
    }

    /// Says how many rows there are where that is not what was guessed.
    fn log_surprise(&self, guessed: u64) {
        if self.rows.abs_diff(guessed) > guessed / 10 {
            let mib = self.total_bytes.div_ceil(MIB);
            tracing::info!(
                rows = self.rows,
                total_bytes = self.total_bytes,
                "{} rows were read, where the first lines let expect {guessed}: they take {mib} MiB of memory",
                self.rows
            );
        }
    }

    fn of_shape(shape: &Shape, limit_bytes: u64) -> Self {
        let usable = usable(limit_bytes);
        let in_memory_bytes = shape.in_memory();
        let batch_rows = shape.batch_rows();
        let (batches, external) =
            (shape.in_batches(batch_rows, Bins::InMemory { parts: 1 }), shape.in_batches(batch_rows, Bins::OnDisk));
        let in_parts = || {
            let most = if shape.may_be_mean && !shape.is_shard() { MOST_PARTS } else { 0 };
            let of = |parts| (parts, shape.in_batches(batch_rows, Bins::InMemory { parts: parts as u64 }));
            (2..=most).map(of).find(|(_, in_parts)| in_parts.peak() <= usable)
        };
        let can_batch = shape.is_binned && !shape.is_csv;
        // Of a small table batches and pages take more than all its rows.
        let is_small = external.peak() >= in_memory_bytes;
        // Shards read what they share in batches, however little it is.
        let is_in_memory = !shape.is_shard() && (in_memory_bytes <= usable || is_small);
        let (mode, parts, of_mode) = if is_in_memory || !can_batch {
            (Mode::InMemory, 0, external)
        } else if batches.peak() <= usable {
            (Mode::Batches, 0, batches)
        } else if let Some((parts, of_parts)) = in_parts() {
            (Mode::Parts, parts, of_parts)
        } else {
            (Mode::External, 0, external)
        };
        let left = usable.saturating_sub(of_mode.rows + shape.searching());
        let sample_rows = (left / shape.sample_row()).clamp(SAMPLE_LEAST, SAMPLE_MOST).min(shape.train_rows);
        let scratch_bytes = if mode == Mode::External { shape.scratch() } else { 0 };
        let plan = Self {
            mode,
            rows: shape.train_rows + shape.test_rows,
            columns: shape.width,
            total_bytes: 0,
            in_memory_bytes,
            limit_bytes,
            scratch_bytes,
            batch_rows: batch_rows as usize,
            sample_rows: sample_rows as usize,
            parts,
            histogram_nodes: None,
            has_derived: false,
            is_shallow: false,
            shape: *shape,
        };
        Self { total_bytes: plan.total_of(shape), ..plan }
    }

    /// Ends a run that would not come to its end.
    fn check(&self, shape: &Shape, location: &str, scratch: &Path) -> Result<()> {
        let mib = |bytes: u64| bytes.div_ceil(MIB);
        let what = format!("{location}: training on {} rows × {} columns", self.rows, self.columns);
        if self.total_bytes > usable(self.limit_bytes) {
            let (why, how) = match self.mode {
                Mode::InMemory if shape.is_csv => (", all of it at once since it is CSV", ", or write it as Parquet"),
                Mode::InMemory if !shape.is_binned => {
                    (", all of it at once for this tree_method", ", or use tree_method=hist")
                }
                Mode::InMemory => ("", ""),
                _ => (", even with its bins on disk", ""),
            };
            return Err(Error::Resources(format!(
                "{what} takes {} MiB of memory{why}, but of {} MiB it may take {}: {}",
                mib(self.total_bytes),
                self.limit_bytes / MIB,
                usable(self.limit_bytes) / MIB,
                remedy(task(self.total_bytes), how),
            )));
        }
        if self.scratch_bytes == 0 {
            return Ok(());
        }
        let free = machine::usage::free_disk(scratch).map_err(|error| Error::Access(error.to_string()))?;
        if free < self.scratch_bytes {
            return Err(Error::Resources(format!(
                "{what} takes {} MiB on the scratch disk ({}), which has {} MiB left: give the task that much ephemeral \
                 storage, or at least {} MiB of memory to train without it",
                mib(self.scratch_bytes),
                scratch.display(),
                mib(free),
                mib(task(self.in_memory_bytes)),
            )));
        }
        Ok(())
    }

    /// The same for a shard of a run that was planned by another.
    #[must_use]
    pub(crate) fn begun_with(self, began: TrainingMode) -> Self {
        let TrainingMode { mode, batch_rows, sample_rows, parts, .. } = began;
        let scratch_bytes = if mode == Mode::External { self.shape.scratch() } else { 0 };
        Self { mode, batch_rows, sample_rows, parts, scratch_bytes, ..self }
    }

    /// What of it bears on the model.
    #[must_use]
    pub fn training_mode(&self) -> TrainingMode {
        let Self { histogram_nodes, has_derived, is_shallow, .. } = *self;
        match self.mode {
            Mode::InMemory => TrainingMode { histogram_nodes, has_derived, is_shallow, ..TrainingMode::default() },
            mode => TrainingMode {
                mode,
                batch_rows: self.batch_rows,
                sample_rows: self.sample_rows,
                parts: self.parts,
                histogram_nodes,
                has_derived,
                is_shallow,
            },
        }
    }

    /// Says in the log what the run will take, and how it trains.
    pub fn log(&self) {
        let how = match self.mode {
            Mode::InMemory => "every row in memory".to_owned(),
            Mode::Batches if self.shape.is_shard() => {
                format!("the bins of one of {} shards of the rows are in memory", self.shape.shards)
            }
            Mode::Batches => {
                format!("rows are read in batches, since all in memory would take {} MiB", self.in_memory_mib())
            }
            Mode::Parts => {
                format!(
                    "each booster learns from one of {} parts of the rows, since all in memory would take {} MiB",
                    self.parts,
                    self.in_memory_mib()
                )
            }
            Mode::External => {
                format!(
                    "XGBoost's external memory is used, since all in memory would take {} MiB",
                    self.in_memory_mib()
                )
            }
        };
        tracing::info!(
            mode = ?self.mode,
            rows = self.rows,
            columns = self.columns,
            total_bytes = self.total_bytes,
            in_memory_bytes = self.in_memory_bytes,
            scratch_bytes = self.scratch_bytes,
            limit_bytes = self.limit_bytes,
            "memory plan: {} MiB of {} MiB; {how}",
            self.total_bytes.div_ceil(MIB),
            self.limit_bytes / MIB
        );
    }

    fn in_memory_mib(&self) -> u64 {
        self.in_memory_bytes.div_ceil(MIB)
    }
}

/// What of the limit is planned with.
fn usable(limit_bytes: u64) -> u64 {
    (limit_bytes as f64 * USABLE) as u64
}

/// The limit of which so much is planned with.
fn task(bytes: u64) -> u64 {
    (bytes as f64 / USABLE) as u64
}

/// What the footers of a table may take: all that is left beside the program and what is `taken` already.
pub(crate) fn room_for_footers(limits: &Limits, taken: u64) -> FooterRoom {
    let limit = limits.memory_bytes.value;
    FooterRoom::beside(amounts::BASE + taken, usable(limit), limit)
}

/// The scratch disk: what `TMPDIR` names, else `/tmp`.
#[must_use]
pub fn scratch() -> PathBuf {
    std::env::temp_dir()
}

#[cfg(test)]
mod tests {
    use super::amounts::{finest_histogram_bytes, histogram_bytes};
    use super::*;
    use crate::fit::MOST_DERIVED;

    fn shape(rows: u64) -> Shape {
        Shape {
            train_rows: rows * 4 / 5,
            test_rows: rows / 5,
            features: 70,
            width: 74,
            is_reencoded: true,
            is_searched: true,
            is_binned: true,
            columns: 72,
            largest_group_rows: 262_144.min(rows),
            largest_group_bytes: 262_144.min(rows) * 400,
            threads: 2,
            max_bin: u64::from(histograms::DEFAULT_BINS),
            searched_nodes: histograms::MOST_NODES,
            tree_histograms: histogram_bytes(&Params::default(), 74, histograms::MOST_NODES),
            trees_at_once: 2,
            ..Shape::default()
        }
    }

    /// A narrow table may have so many bins that its histograms take most of the plan: eight columns more have fewer bins each.
    #[test]
    fn derived_features_are_tried_where_they_fit_beside_all_rows() {
        let narrow = Shape {
            features: 3,
            width: 3,
            derived: MOST_DERIVED,
            tree_histograms: histogram_bytes(&Params::default(), 3, histograms::MOST_NODES),
            histograms_with_derived: finest_histogram_bytes(&Params::default(), 11, histograms::MOST_NODES),
            ..shape(1_500)
        };
        let with_derived = |shape: &Shape, limit_mib: u64, began: Option<TrainingMode>| {
            let mut plan = MemoryPlan::of_shape(shape, limit_mib * MIB);
            let planned = plan.total_bytes;
            plan.plan_derived(began);
            (plan.has_derived, plan.training_mode().has_derived, (plan.total_bytes - planned) / MIB)
        };
        assert_eq!(with_derived(&narrow, 400, None), (true, true, 64));
        assert_eq!(with_derived(&narrow, 340, None), (false, false, 0));
        let began = |has_derived| Some(TrainingMode { has_derived, ..TrainingMode::default() });
        assert_eq!(with_derived(&narrow, 340, began(true)), (true, true, 64));
        assert_eq!(with_derived(&narrow, 400, began(false)), (false, false, 0));
        assert!(!with_derived(&Shape { derived: 0, ..narrow }, 400, None).0);
        // Rows that are read in batches leave the rest of the room to their sample.
        let large = Shape { derived: MOST_DERIVED, ..shape(5_000_000) };
        assert_eq!(MemoryPlan::of_shape(&large, 3_000 * MIB).mode, Mode::Batches);
        assert!(!with_derived(&large, 3_000, None).0);
    }

    fn mode(rows: u64, limit_mib: u64) -> Mode {
        MemoryPlan::of_shape(&shape(rows), limit_mib * MIB).mode
    }

    #[test]
    fn rows_are_learnt_from_in_as_few_parts_as_fit_where_the_model_may_be_a_mean() {
        let plan = |rows, limit| MemoryPlan::of_shape(&Shape { may_be_mean: true, ..shape(rows) }, limit * MIB);
        assert_eq!((plan(2_000_000, 4096).mode, plan(4_000_000, 4096).mode), (Mode::InMemory, Mode::Batches));
        let parts = |rows, limit| (plan(rows, limit).mode, plan(rows, limit).parts);
        assert_eq!(parts(6_000_000, 2048).0, Mode::Parts);
        assert!(parts(6_000_000, 1536).1 > parts(6_000_000, 2048).1);
        assert_eq!(parts(40_000_000, 2048), (Mode::External, 0), "parts would become too many");
        let plan = plan(6_000_000, 1536);
        assert!(plan.total_bytes <= (plan.limit_bytes as f64 * USABLE) as u64 && plan.scratch_bytes == 0, "{plan:?}");
    }

    #[test]
    fn shards_hold_their_share_of_the_bins_and_never_all_rows() {
        let plan = |rows, shards, limit| {
            MemoryPlan::of_shape(&Shape { may_be_mean: true, shards, ..shape(rows) }, limit * MIB)
        };
        assert_eq!(plan(10_000, 2, 4096).mode, Mode::Batches, "a share is read in batches, however small");
        assert_eq!(plan(8_000_000, 2, 1536).mode, Mode::External, "each booster learns from all rows");
        assert_eq!(plan(8_000_000, 8, 1536).mode, Mode::Batches);
        let (of_two, of_four) = (plan(8_000_000, 2, 8192).total_bytes, plan(8_000_000, 4, 8192).total_bytes);
        assert!(of_four < of_two * 3 / 4, "{of_two} {of_four}");
    }

    #[test]
    fn the_fastest_way_that_fits_is_taken() {
        assert_eq!(mode(100_000, 4096), Mode::InMemory);
        assert_eq!(mode(2_000_000, 4096), Mode::InMemory);
        assert_eq!(mode(4_000_000, 4096), Mode::Batches);
        assert_eq!(mode(8_000_000, 1536), Mode::External);
    }

    #[test]
    fn every_way_stays_within_what_it_was_chosen_for() {
        for rows in [10_000, 1_000_000, 5_000_000] {
            for limit in [600, 1024, 2048, 8192] {
                let plan = MemoryPlan::of_shape(&shape(rows), limit * MIB);
                let fits = plan.total_bytes <= (plan.limit_bytes as f64 * USABLE) as u64;
                assert!(fits || plan.mode == Mode::External, "{plan:?}");
                assert!(plan.total_bytes <= plan.in_memory_bytes, "{plan:?}");
            }
        }
    }

    #[test]
    fn histograms_grow_with_columns_bins_and_depth() {
        let of = |pairs: &[(&str, &str)], searched_nodes| {
            histogram_bytes(&Params::parse(pairs.iter().copied()).unwrap(), 10, searched_nodes) / (10 * 16)
        };
        assert_eq!(of(&[], 0), 64 * 256);
        assert_eq!(of(&[("max_depth", "3"), ("max_bin", "1024")], 0), 8 * 1024);
        assert_eq!(of(&[("max_depth", "0"), ("max_leaves", "31")], 0), 62 * 256);
        assert_eq!(of(&[("max_depth", "40")], 0), 512 * 256);
        assert_eq!(of(&[], histograms::MOST_NODES), 512 * 1024);
        assert_eq!(of(&[], histograms::USUAL_NODES), 64 * 1024);
        // Where there is room, a search may come to 16,384 bins; 70 columns have more than that by XGBoost's own number.
        let of_search = |columns| finest_histogram_bytes(&Params::default(), columns, histograms::MOST_NODES);
        assert_eq!((of_search(10), of_search(70)), (128 << 20, 70 * 256 * 512 * 16));
    }

    /// 3,000 rows × 2,500: histograms of 512 nodes would take 10 GiB, and 1 GiB is what such a run takes.
    #[test]
    fn of_a_wide_table_no_deep_trees_are_tried_where_they_have_no_room() {
        let params = Params::default();
        let wide = |searched_nodes| Shape {
            features: 2_500,
            width: 2_500,
            columns: 2_502,
            is_reencoded: false,
            is_searched: searched_nodes > 0,
            searched_nodes,
            tree_histograms: histogram_bytes(&params, 2_500, searched_nodes),
            ..shape(3_000)
        };
        let deep = MemoryPlan::of_shape(&wide(histograms::MOST_NODES), 4096 * MIB);
        assert!(deep.total_bytes > 10_000 * MIB && !deep.training_mode().is_shallow, "{deep:?}");
        let shallow = deep.with_usual_trees(&params);
        assert!(shallow.total_bytes < usable(4096 * MIB) && shallow.training_mode().is_shallow, "{shallow:?}");
        assert_eq!(shallow.mode, Mode::InMemory);
        assert!(!MemoryPlan::of_shape(&wide(0), 512 * MIB).with_usual_trees(&params).is_shallow, "rounds are given");
    }

    #[test]
    fn only_bins_on_disk_need_scratch() {
        let of = |rows, limit| MemoryPlan::of_shape(&shape(rows), limit * MIB).scratch_bytes;
        assert_eq!(of(4_000_000, 4096), 0);
        assert!(of(8_000_000, 1536) > 8_000_000 * 4 / 5 * 74 * 5);
    }

    #[test]
    fn exact_trees_and_csv_have_no_other_way_than_memory() {
        let exact = Shape { is_binned: false, ..shape(8_000_000) };
        assert_eq!(MemoryPlan::of_shape(&exact, 1024 * MIB).mode, Mode::InMemory);
        let csv = Shape { is_csv: true, ..shape(8_000_000) };
        assert_eq!(MemoryPlan::of_shape(&csv, 1024 * MIB).mode, Mode::InMemory);
    }
}
