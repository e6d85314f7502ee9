//! What the steps of a run hold at once, in bytes, from the shape of its tables and the settings.

use columns::{ColumnKind, ColumnSchema};
use error::Result;
use features::encode::Feature;
use features::spec::ColumnEncoding;
use machine::Limits;
use table::Dataset;
use table::load::{KEPT_BYTES, largest_run};
use table::parquet::ROW_GROUP_BYTES;
use xgboost::Params;

use super::MIB;
use crate::config::TrainConfig;
use crate::fit::{CELLS_SIDE_BY_SIDE, MOST_SIDE_BY_SIDE, ROWS_FOR_THREE_FOLDS};
use crate::fit::{MOST_DERIVED, chooses_encodings, histograms, leaves_learning_open, may_derive};
use crate::read::Opened;

/// Program, XGBoost's library, threads, runtime, trees and small histograms.
pub(super) const BASE: u64 = 128 * MIB;
/// Histograms that are small.
const SMALL_HISTOGRAMS: u64 = 32 * MIB;
/// The same of the sketches of columns.
const SMALL_SKETCHES: u64 = 32 * MIB;
/// Folds that judge, side by side as threads allow, each with histograms of its own.
const MOST_FOLDS: u64 = 5;
/// A usable row in memory: place, target, weight, and the id as text.
const ROW: u64 = 80;
/// The same while ids are compared: the columns, their texts and the set of ids.
const ROW_WHILE_READ: u64 = 180;
/// A usable row of a table that is read in batches: place, target, weight, fold.
const ROW_WITHOUT_ID: u64 = 20;
/// An instant or a group of a row.
const ROW_KEY: u64 = 8;
/// Of each row while repeated ids are looked for in such a table: its hash, and the table of hashes that came.
const ROW_HASHES: u64 = 24;
/// XGBoost's own of each row that it learns from: label, weight, prediction, gradient, partitions of the rows.
const ROW_WHILE_BOOSTED: u64 = 64;
/// Of these, while the matrix is made of batches: label and weight, and room for as many again where their lists grow.
const ROW_WHILE_FED: u64 = 16;
/// Lists of rows of the choice of a model.
const ROW_OF_A_TRIAL: u64 = 64;
/// A cell of a matrix of 32-bit floats.
const CELL: u64 = 4;
/// A cell of a quantile matrix where some cells are missing, row by row and column by column, in eighths of a byte; the
/// footers do not say that none is. Where a column has more than 256 bins, a cell of any column takes a byte more.
const BINNED_CELL_EIGHTHS: u64 = 42;
const FINELY_BINNED_CELL_EIGHTHS: u64 = 50;
/// Bins of a column, by XGBoost's own number.
const DEFAULT_BINS: u64 = histograms::DEFAULT_BINS as u64;
/// A cell of the plain matrix of the tree methods `exact` and `approx`, its transpose included.
const PLAIN_CELL: u64 = 24;
/// A value of a column that is being learnt.
const LEARNT_VALUE: u64 = 64;
/// The same of CSV once its columns are typed: its texts and their levels are counted apart.
const LEARNT_TYPED_VALUE: u64 = 32;
/// A level of a category as text, where it is looked up, and in the metadata.
const LEVEL: u64 = 240;
/// A cell of CSV as text, its characters not counted; typed, it takes half.
const CSV_CELL: u64 = 20;
/// Cells of a batch, as numbers.
const BATCH_WANTED: u64 = 16 * MIB;
/// Batches of numbers that exist at once: one waits, one is read by XGBoost, one is being encoded.
const BATCHES: u64 = 3;
/// Pages of bins that XGBoost reads ahead, and the one in use.
const PAGES: u64 = 3;
/// Most rows of the sample that a model is chosen on where not all fit.
pub(super) const SAMPLE_MOST: u64 = 400_000;

/// What decides how much is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) train_rows: u64,
    pub(super) test_rows: u64,
    /// Features as they are learnt.
    pub(super) features: u64,
    /// Columns of the matrix at most: a category may be encoded in several ways.
    pub(super) width: u64,
    /// Derived features that the search may have besides, where there is room for them.
    pub(super) derived: u64,
    /// Whether categories may be encoded otherwise than learnt.
    pub(super) is_reencoded: bool,
    /// Whether parameters and rounds are chosen on the training rows.
    pub(super) is_searched: bool,
    /// Whether the model may be the mean of several boosters.
    pub(super) may_be_mean: bool,
    /// Whether XGBoost works on bins, not on the numbers themselves.
    pub(super) is_binned: bool,
    /// The bins that a column is asked to have.
    pub(super) max_bin: u64,
    /// Nodes of the deepest trees that a search tries; 0 where nothing is searched for.
    pub(super) searched_nodes: u64,
    /// Whether a column may have more than 256 bins.
    pub(super) is_finely_binned: bool,
    pub(super) is_csv: bool,
    pub(super) csv_bytes: u64,
    /// What the columns of CSV take, once they are read.
    pub(super) typed_bytes: Option<u64>,
    pub(super) columns: u64,
    /// Compressed bytes that stay in memory.
    pub(super) kept: u64,
    /// Instants and groups of a row, where rows are not split at random.
    pub(super) keys: u64,
    /// Bytes of footers.
    pub(super) footers: u64,
    /// The most that is read at once: a row group, or several small ones.
    pub(super) largest_group_rows: u64,
    pub(super) largest_group_bytes: u64,
    pub(super) threads: u64,
    /// Histograms of a tree, at most.
    pub(super) tree_histograms: u64,
    /// The same with the derived features of the search, and the finest bins that it may try.
    pub(super) histograms_with_derived: u64,
    /// Trees that a search grows at once.
    pub(super) trees_at_once: u64,
    /// Levels of categories and what their texts take, once they are learnt.
    pub(super) levels: u64,
    pub(super) level_bytes: u64,
    /// Tasks that share the features of the rows; 0 or 1 where this is the only one.
    pub(super) shards: u64,
}

/// Where the bins of training in batches are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bins {
    /// Those of one of so many parts of the rows.
    InMemory { parts: u64 },
    /// A few pages in memory.
    OnDisk,
}

/// What training in batches holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct InBatches {
    /// Footers, and levels of categories.
    held: u64,
    /// What is known of the rows all the time.
    pub(super) rows: u64,
    reading: u64,
    fitting: u64,
}

impl InBatches {
    pub(super) fn peak(self) -> u64 {
        BASE + self.held + self.reading.max(self.rows + self.fitting)
    }
}

impl Shape {
    pub(super) async fn of(config: &TrainConfig, limits: &Limits, opened: &Opened) -> Result<Self> {
        let (spec, params) = (&config.spec, &config.given_params);
        let datasets = || std::iter::once(&opened.train).chain(&opened.test);
        let mut rows = Vec::new();
        for dataset in datasets() {
            rows.push(dataset.estimated_rows().await?);
        }
        let held_out = |all: u64| (all as f64 * config.test_fraction).round() as u64;
        let (train_rows, test_rows) = match rows.as_slice() {
            [all] => (all - held_out(*all), held_out(*all)),
            [train, test] => (*train, *test),
            _ => (0, 0),
        };
        let is_validated = config.interval_folds.is_some();
        let is_searched = (config.rounds.is_none() || config.trials > 0) && config.time_budget > 0 || is_validated;
        let columns = opened.train.schema.columns();
        let is_csv = opened.train.is_csv();
        // Any column of CSV may turn out to be text; those that do are few or the rows are short.
        let is_category = |column: &&ColumnSchema| {
            (column.kind == ColumnKind::Text && !is_csv) || spec.categorical.contains(&column.name)
        };
        let named = [spec.id.as_ref(), spec.target.as_ref(), spec.weight.as_ref(), spec.validation.group.as_ref()];
        let is_feature =
            |column: &&ColumnSchema| !named.contains(&Some(&column.name)) && !spec.exclude.contains(&column.name);
        let dates = columns.iter().filter(is_feature).filter(|column| column.kind.is_temporal()).count();
        let relative = if spec.as_of.is_some() { dates } else { 0 };
        let features = columns.iter().filter(is_feature).count() + spec.derived.len() + relative;
        let categories = columns.iter().filter(is_feature).filter(is_category).count();
        let more = if is_searched { 2 * categories } else { 0 };
        let width = (features + more) as u64;
        let searched_nodes = if is_searched { histograms::MOST_NODES } else { 0 };
        let derived = if may_derive(config) { MOST_DERIVED } else { 0 };
        let threads = limits.threads.value as u64;
        let larger = |one: (u64, u64), other: (u64, u64)| (one.0.max(other.0), one.1.max(other.1));
        let largest = datasets().map(largest_run).fold((0, 0), larger);
        let bytes = |dataset: &Dataset| dataset.objects.iter().map(|object| object.meta.size).sum::<u64>();
        Ok(Self {
            train_rows,
            test_rows,
            shards: config.shard.map_or(1, |shard| u64::from(shard.count())),
            features: features as u64,
            width,
            derived,
            is_reencoded: categories > 0,
            is_searched,
            may_be_mean: is_searched && config.rounds.is_none() && leaves_learning_open(&config.user_params),
            is_binned: params.wants_quantile_matrix(),
            max_bin: u64::from(params.max_bin()),
            searched_nodes,
            is_finely_binned: u64::from(params.max_bin()) > DEFAULT_BINS
                || is_searched && histograms::planned_bins(width) > width * DEFAULT_BINS,
            is_csv,
            csv_bytes: if is_csv { datasets().map(bytes).sum() } else { 0 },
            typed_bytes: None,
            columns: columns.len() as u64,
            kept: datasets().filter(|_| !is_csv).map(bytes).filter(|bytes| *bytes <= KEPT_BYTES).sum(),
            keys: [&spec.validation.time, &spec.validation.group].into_iter().flatten().count() as u64,
            footers: datasets()
                .map(|dataset| dataset.held_bytes() + dataset.row_groups() * ROW_GROUP_BYTES)
                .sum::<u64>(),
            largest_group_rows: largest.0,
            largest_group_bytes: largest.1,
            threads,
            tree_histograms: histogram_bytes(params, width, searched_nodes),
            histograms_with_derived: finest_histogram_bytes(params, width + derived, searched_nodes),
            trees_at_once: if is_searched { threads.min(MOST_FOLDS) } else { 1 },
            levels: 0,
            level_bytes: 0,
        })
    }

    /// The same with the levels of categories, which nothing tells before they are learnt: their texts, and a bin for each of those that
    /// XGBoost splits by itself whatever is chosen. What is chosen is chosen among what is within the plan without them.
    pub(super) fn with_levels(self, config: &TrainConfig, features: &[Feature], most_nodes: Option<u64>) -> Self {
        let (spec, params) = (&config.spec, &config.given_params);
        let is_native = |feature: &&Feature| match spec.encoding_of(&feature.name) {
            _ if spec.monotone.contains_key(&feature.name) => true,
            ColumnEncoding::Native => true,
            ColumnEncoding::Auto => !chooses_encodings(config),
            ColumnEncoding::Target => false,
        };
        let levels_of = |feature: &Feature| feature.levels().map_or(0, <[String]>::len) as u64;
        let categories = || features.iter().filter(|feature| feature.levels().is_some());
        let (levels, native) = (categories().map(levels_of).sum::<u64>(), categories().filter(is_native));
        let (columns, native_levels) = native.fold((0, 0), |(columns, all), one| (columns + 1, all + levels_of(one)));
        let nodes = self.tree_nodes(params).min(most_nodes.unwrap_or(u64::MAX));
        let others = self.width.saturating_sub(columns);
        let of_levels = histograms::bytes(native_levels, nodes);
        let with_derived = finest_histogram_bytes(params, others + self.derived, self.searched_nodes);
        Self {
            levels,
            level_bytes: levels * LEVEL,
            tree_histograms: histogram_bytes(params, others, self.searched_nodes).saturating_add(of_levels),
            histograms_with_derived: with_derived.saturating_add(of_levels),
            // The folds of a cross-validation are learnt from one after the other.
            trees_at_once: if config.rounds.is_some() && config.trials == 0 { 1 } else { self.trees_at_once },
            ..self
        }
    }

    /// The same where the search tries no trees deeper than usual: their histograms are most of what wide tables take.
    pub(super) fn with_usual_trees(self, params: &Params) -> Self {
        let searched_nodes = histograms::USUAL_NODES;
        Self {
            searched_nodes,
            tree_histograms: histogram_bytes(params, self.width, searched_nodes),
            histograms_with_derived: finest_histogram_bytes(params, self.width + self.derived, searched_nodes),
            ..self
        }
    }

    /// The same with the derived features of the search besides, and the finest bins that it may try.
    pub(super) fn with_derived(self) -> Self {
        let width = self.width + self.derived;
        let is_finer = self.is_searched && histograms::most_bins(width) > width * DEFAULT_BINS;
        Self {
            features: self.features + self.derived,
            width,
            is_finely_binned: self.is_finely_binned || is_finer,
            tree_histograms: self.histograms_with_derived,
            derived: 0,
            ..self
        }
    }

    /// Nodes of a tree that have histograms, at most.
    fn tree_nodes(&self, params: &Params) -> u64 {
        let nodes = if self.is_searched { histograms::USUAL_NODES.max(nodes(params)) } else { nodes(params) };
        nodes.min(self.train_rows)
    }

    /// The same where the histograms of half the nodes are kept, and how many these are: as many as the deepest level of a full tree has, which
    /// XGBoost makes at once.
    pub(super) fn with_half_the_nodes(self, config: &TrainConfig, features: &[Feature]) -> (u64, Self) {
        let half = self.tree_nodes(&config.given_params).div_ceil(2).max(2);
        (half, self.with_levels(config, features, Some(half)))
    }

    /// Histograms of the trees that a search grows at once, beyond what is small.
    fn searched_histograms(&self) -> u64 {
        self.tree_histograms.saturating_mul(self.trees_at_once).saturating_sub(SMALL_HISTOGRAMS)
    }

    /// Those of a tree of the model, beyond what is small.
    fn fitted_histograms(&self) -> u64 {
        self.tree_histograms.saturating_sub(SMALL_HISTOGRAMS)
    }

    /// What a row takes while rows are dealt out by instants and groups: it is there twice, and in the order of instants.
    fn split(&self) -> u64 {
        if self.keys == 0 { 0 } else { ROW_WITHOUT_ID + (self.keys + 1) * ROW_KEY }
    }

    pub(super) fn rows(&self) -> u64 {
        self.train_rows + self.test_rows
    }

    /// Whether this is one of several tasks.
    pub(super) fn is_shard(&self) -> bool {
        self.shards > 1
    }

    /// Training rows whose features this task reads: shares are made of whole row groups.
    pub(super) fn share(&self) -> u64 {
        match self.is_shard() {
            true => (self.train_rows.div_ceil(self.shards) + self.largest_group_rows).min(self.train_rows),
            false => self.train_rows,
        }
    }

    /// Most rows of a batch.
    pub(super) fn batch_rows(&self) -> u64 {
        (BATCH_WANTED / (CELL * self.width.max(1))).min(self.rows()).clamp(4096, 1 << 18)
    }

    /// What a search takes however many rows there are.
    pub(super) fn searching(&self) -> u64 {
        let sketches = self.sketches(SAMPLE_MOST.min(self.train_rows));
        BASE + self.footers + self.level_bytes + self.searched_histograms() + sketches
    }

    /// Bytes of so many cells of a quantile matrix.
    fn binned(&self, cells: u64) -> u64 {
        let eighths = if self.is_finely_binned { FINELY_BINNED_CELL_EIGHTHS } else { BINNED_CELL_EIGHTHS };
        cells * eighths / 8
    }

    /// XGBoost's matrix of so many rows.
    fn matrix(&self, rows: u64) -> u64 {
        let cells = rows * self.width;
        let cells = if self.is_binned { self.binned(cells) } else { cells * PLAIN_CELL };
        cells + rows * 8
    }

    /// The sketches of all columns while a matrix of so many rows is made, beyond what is small. Those of few rows are not given back to the
    /// system, so the histograms come on top.
    fn sketches(&self, rows: u64) -> u64 {
        let of_all = self.width.saturating_mul(histograms::sketch_bytes(rows, self.max_bin));
        if self.is_binned { of_all.saturating_sub(SMALL_SKETCHES) } else { 0 }
    }

    /// The matrix of the training rows, and what XGBoost keeps of each row while it learns.
    fn boosted(&self) -> u64 {
        self.matrix(self.train_rows) + self.sketches(self.train_rows) + self.train_rows * ROW_WHILE_BOOSTED
    }

    /// Whether several boosters may be fitted at once: fewer than there are folds that are judged at once.
    fn are_side_by_side(&self) -> bool {
        self.may_be_mean && self.train_rows * self.width <= CELLS_SIDE_BY_SIDE as u64
    }

    /// Everything in memory: the most of what its steps hold.
    pub(super) fn in_memory(&self) -> u64 {
        let cells = self.rows() * self.columns * CSV_CELL;
        let typed = if self.is_csv { cells / 2 + self.csv_bytes } else { 0 };
        let typed = self.typed_bytes.unwrap_or(typed);
        let reading = match (self.is_csv, self.typed_bytes) {
            (true, Some(_)) => 0,
            (true, None) => cells + self.csv_bytes,
            (false, _) => self.rows() * (ROW_WHILE_READ + self.split()),
        };
        let rows = self.rows() * (ROW + self.keys * ROW_KEY) + typed;
        let learnt_rows = if self.is_csv { self.rows() } else { self.largest_group_rows };
        let of_value = if self.typed_bytes.is_some() { LEARNT_TYPED_VALUE } else { LEARNT_VALUE };
        let learning = self.threads * learnt_rows * of_value;
        let matrix = self.rows() * self.features * CELL;
        let encoded = self.rows() * self.width * CELL;
        // Those that judge are kept besides the copy, for the encoding that is best so far.
        let judges = self.train_rows.min(ROWS_FOR_THREE_FOLDS as u64);
        let copied = (self.train_rows + judges) * self.width * CELL + self.rows() * ROW_OF_A_TRIAL;
        let searching =
            if self.is_searched { matrix + copied + self.boosted() + self.searched_histograms() } else { 0 };
        let encoding = if self.is_reencoded { matrix + encoded } else { 0 };
        let boosting = if self.are_side_by_side() {
            self.threads.min(MOST_SIDE_BY_SIDE as u64) * self.boosted() + self.searched_histograms()
        } else {
            self.boosted() + self.fitted_histograms()
        };
        let fitting = if self.is_reencoded { encoded } else { matrix } + boosting;
        let steps = [matrix + learning, searching, encoding, fitting];
        BASE + self.kept + self.footers + self.level_bytes + reading.max(rows + steps.into_iter().max().unwrap_or(0))
    }

    /// What is in memory besides what is counted as it is read, while it is read.
    pub(super) fn beside_reading(&self) -> u64 {
        BASE + self.kept
    }

    /// The same while features are learnt from all rows in memory.
    pub(super) fn beside_learning(&self) -> u64 {
        BASE + self.kept + self.rows() * (ROW + self.features * CELL)
    }

    pub(super) fn in_batches(&self, batch_rows: u64, bins: Bins) -> InBatches {
        let rows = self.rows() * (ROW_WITHOUT_ID + self.keys * ROW_KEY);
        let ahead = self.threads.max(2) * self.largest_group_rows * LEARNT_VALUE;
        let batch = batch_rows * self.width * CELL;
        let page = self.binned(batch_rows * self.width);
        // Rows fall into parts by chance: the largest has hardly more than a hundredth above its share.
        let part = |parts: u64| if parts == 1 { self.share() } else { self.train_rows / parts * 101 / 100 };
        let (learnt, bins) = match bins {
            Bins::InMemory { parts } => (part(parts), self.matrix(part(parts))),
            Bins::OnDisk => (self.share(), PAGES * page),
        };
        // The held-out rows are fed like the training rows, when nothing is boosted any more.
        let read = 2 * self.largest_group_bytes + BATCHES * batch + ahead;
        let feeding = read + learnt * ROW_WHILE_FED + self.sketches(learnt);
        let boosting = learnt * ROW_WHILE_BOOSTED + self.fitted_histograms();
        InBatches {
            held: self.footers + self.level_bytes,
            rows,
            reading: rows + self.rows() * (ROW_HASHES + self.split()) + ahead,
            fitting: SAMPLE_MOST.min(self.train_rows) * ROW + bins + feeding.max(boosting),
        }
    }

    /// What a row of the sample takes while a model is chosen: among others it is encoded twice, and judges in the best encoding so far.
    pub(super) fn sample_row(&self) -> u64 {
        ROW + ROW_OF_A_TRIAL
            + ROW_WHILE_BOOSTED
            + self.features * CELL
            + self.width * 3 * CELL
            + self.binned(self.width)
            + self.width
    }

    pub(super) fn scratch(&self) -> u64 {
        let cells = self.share() * self.width;
        self.binned(cells) + self.share() * 16 + 64 * MIB
    }
}

/// Nodes of a tree, at most; those that may become larger seldom do.
fn nodes(params: &Params) -> u64 {
    let number = |name: &str| params.get(name).and_then(|value| value.parse::<u32>().ok());
    let nodes = match (number("max_leaves"), number("max_depth")) {
        (Some(leaves), _) if leaves > 0 => 2 * u64::from(leaves),
        (_, None) => histograms::USUAL_NODES,
        (_, Some(depth)) if depth > 0 => 1_u64.checked_shl(depth).unwrap_or(u64::MAX),
        _ => u64::MAX,
    };
    nodes.min(histograms::MOST_NODES)
}

/// Histograms of a tree: with these parameters, or with the most bins of a search that are counted from the beginning, in trees of at most
/// `searched_nodes`.
pub(super) fn histogram_bytes(params: &Params, columns: u64, searched_nodes: u64) -> u64 {
    let given = histograms::bytes(columns * u64::from(params.max_bin()), nodes(params));
    given.max(histograms::bytes(histograms::planned_bins(columns), searched_nodes))
}

/// The same with the most bins that a search may come to.
pub(super) fn finest_histogram_bytes(params: &Params, columns: u64, searched_nodes: u64) -> u64 {
    let most = histograms::bytes(histograms::most_bins(columns), searched_nodes);
    most.max(histogram_bytes(params, columns, searched_nodes))
}
