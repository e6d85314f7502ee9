//! How much memory a run takes, known before the first row is read: from the footers, the model and the settings.
//!
//! Every amount is an upper bound of what the code holds at once, found by counting buffers; the constants are measured.
//! What the limit leaves beyond them goes into fetching ahead, so a larger task is faster and a small one still works.

use common::run::Limits;
use common::table::parquet::{ParquetFile, RowGroupSize};
use common::table::{ColumnKind, Dataset};
use common::{Error, Result};
use serde::Serialize;

use crate::PARTS_IN_FLIGHT;
use crate::load::{Engine, Model};
use crate::read::{PART_ROWS, largest_part_rows};
use crate::settings::{Duplicates, Settings};
use crate::write::ids::SeenIds;

const MIB: u64 = 1024 * 1024;
/// Program, XGBoost's library, threads and runtime: 75 MiB measured.
const BASE: u64 = 96 * MIB;
/// A model in memory, as a multiple of its bytes on disk: XGBoost's own trees, ours, and the metadata.
const MODEL_FACTOR: u64 = 12;
/// A footer in memory, as a multiple of its bytes on disk.
const FOOTER_FACTOR: u64 = 4;
/// An object of the listing and of the plan.
const OBJECT: u64 = 2048;
/// Fetched bytes that keep two cores busy; more is of no use.
const FETCH_WANTED: u64 = 128 * MIB;
/// Bytes of the rows of one batch, features as codes.
const BATCH_WANTED: u64 = 24 * MIB;
/// Most rows of a batch: columns stay in the second- or third-level cache, and pages are decoded once.
const BATCH_ROWS_MOST: usize = 1 << 18;
/// Fewest rows of a batch, unless a setting says so: below, handing batches around costs more than it spreads.
const BATCH_ROWS_LEAST: usize = 1 << 14;
/// The share of the limit that is planned with; the rest is the allocator's and the kernel's.
const USABLE: f64 = 0.9;
/// A text value with its view, where nothing tells how long texts are.
const TEXT_BYTES: u64 = 48;

/// The plan, in bytes unless a name says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// What a run of any size takes: the program, the model and the list of objects.
    pub base_bytes: u64,
    /// The ids that were scored, to find repeated ones; not known for CSV, where they are counted as they come.
    pub id_bytes: u64,
    /// Rows being decoded and scored.
    pub batch_bytes: u64,
    /// Parts being collected, encoded and uploaded.
    pub part_bytes: u64,
    /// Fetched bytes that wait or are being decoded.
    pub fetch_bytes: u64,
    /// All of these.
    pub total_bytes: u64,
    /// What the container may use.
    pub limit_bytes: u64,
    /// Most rows of a batch.
    pub batch_rows: usize,
}

/// What a row takes on its way.
#[derive(Debug, Clone, Copy)]
struct RowBytes {
    /// Codes or numbers of all features.
    features: u64,
    /// The columns of the output.
    output: u64,
}

impl MemoryPlan {
    /// The plan of a run.
    ///
    /// # Errors
    /// [`Error::Resources`] where the container may use less than the run needs.
    pub fn new(settings: &Settings, limits: &Limits, dataset: &Dataset, model: &Model) -> Result<Self> {
        let row = RowBytes { features: engine_row_bytes(model), output: output_row_bytes(settings, dataset, model) };
        let threads = limits.threads.value;
        let batch_rows = settings.batch_rows.map_or_else(|| batch_rows(row, dataset, threads), |rows| rows.0);
        let base_bytes = BASE + model.bytes * MODEL_FACTOR + listing_bytes(dataset);
        let id_bytes = id_bytes(settings, dataset, model);
        let batch_bytes = batch_bytes(dataset, batch_rows, row, threads);
        let part_bytes = part_bytes(dataset, row);
        let limit_bytes = limits.memory_bytes.value;
        let usable = (limit_bytes as f64 * USABLE) as u64;
        let fixed = base_bytes + id_bytes + batch_bytes + part_bytes;
        let largest = row_groups(dataset).map(|group| group.fetched_bytes).max().unwrap_or(0);
        let all: u64 = row_groups(dataset).map(|group| group.fetched_bytes).sum();
        let fetch_bytes = FETCH_WANTED.min(usable.saturating_sub(fixed)).min(all).max(largest);
        let total_bytes = fixed + fetch_bytes;
        let plan =
            Self { base_bytes, id_bytes, batch_bytes, part_bytes, fetch_bytes, total_bytes, limit_bytes, batch_rows };
        if total_bytes > usable { Err(plan.too_much(dataset)) } else { Ok(plan) }
    }

    fn too_much(&self, dataset: &Dataset) -> Error {
        let mib = |bytes: u64| bytes.div_ceil(MIB);
        let needed = (self.total_bytes as f64 / USABLE) as u64;
        let remedy = if self.fetch_bytes >= self.id_bytes {
            "or write smaller row groups"
        } else {
            "or split the input, or skip the check for repeated ids with --duplicates (DUPLICATES) allow"
        };
        Error::Resources(format!(
            "{}: scoring it takes {} MiB of memory ({} MiB for a row group at a time, {} MiB to find repeated ids, {} MiB \
             for all else), but there are {} MiB: give the task at least {} MiB, {remedy}",
            dataset.location,
            mib(self.total_bytes),
            mib(self.fetch_bytes),
            mib(self.id_bytes),
            mib(self.base_bytes + self.batch_bytes + self.part_bytes),
            mib(self.limit_bytes),
            mib(needed),
        ))
    }

    /// Says in the log what the run will take.
    pub fn log(&self) {
        tracing::info!(
            total_bytes = self.total_bytes,
            id_bytes = self.id_bytes,
            fetch_bytes = self.fetch_bytes,
            batch_rows = self.batch_rows,
            limit_bytes = self.limit_bytes,
            "memory plan: {} MiB of {} MiB",
            self.total_bytes.div_ceil(MIB),
            self.limit_bytes / MIB
        );
    }
}

fn row_groups(dataset: &Dataset) -> impl Iterator<Item = &RowGroupSize> {
    let files = dataset.objects.iter().filter_map(|object| object.parquet.as_ref());
    files.flat_map(ParquetFile::row_groups)
}

fn listing_bytes(dataset: &Dataset) -> u64 {
    let footers: u64 =
        dataset.objects.iter().filter_map(|object| object.parquet.as_ref()).map(ParquetFile::kept_footer_bytes).sum();
    dataset.objects.len() as u64 * OBJECT + footers * FOOTER_FACTOR
}

fn engine_row_bytes(model: &Model) -> u64 {
    match &model.engine {
        Engine::Compiled(compiled) => compiled.scorer.row_bytes() as u64,
        Engine::Xgboost(_) => model.encoder.len() as u64 * size_of::<f32>() as u64 * 2,
    }
}

fn id_bytes(settings: &Settings, dataset: &Dataset, model: &Model) -> u64 {
    let rows = dataset.row_count().unwrap_or(0);
    match settings.duplicates {
        Duplicates::Allow => 0,
        Duplicates::Reject => SeenIds::bytes(rows, column_bytes(dataset, &model.metadata.id) == 8),
    }
}

/// Bytes of a decoded value of a column.
fn column_bytes(dataset: &Dataset, name: &str) -> u64 {
    match dataset.schema.get(name).map(|column| column.kind) {
        Some(ColumnKind::Text) | None => TEXT_BYTES,
        Some(_) => 8,
    }
}

/// Id, prediction, the model's version as a view, and what is carried over.
fn output_row_bytes(settings: &Settings, dataset: &Dataset, model: &Model) -> u64 {
    let carried: u64 = settings.columns.iter().map(|name| column_bytes(dataset, name)).sum();
    column_bytes(dataset, &model.metadata.id) + 8 + 16 + carried
}

/// As many rows as the codes of a batch may take, but so that a small input is spread over the threads.
fn batch_rows(row: RowBytes, dataset: &Dataset, threads: usize) -> usize {
    let by_bytes = usize::try_from(BATCH_WANTED / row.features.max(1)).unwrap_or(usize::MAX);
    let share = dataset.row_count().and_then(|rows| usize::try_from(rows).ok()).map(|rows| rows.div_ceil(threads));
    by_bytes.min(share.unwrap_or(usize::MAX).max(BATCH_ROWS_LEAST)).clamp(1024, BATCH_ROWS_MOST)
}

/// One batch per thread and one that waits: its codes, keys and output, and one column being decoded.
fn batch_bytes(dataset: &Dataset, batch_rows: usize, row: RowBytes, threads: usize) -> u64 {
    let largest = row_groups(dataset).map(|group| group.rows).max().unwrap_or(batch_rows);
    let rows = batch_rows.min(largest) as u64;
    // A page as compressed, decompressed and decoded; no page has more bytes than its column.
    let column = row_groups(dataset).map(|group| group.column_bytes).max().unwrap_or(rows * TEXT_BYTES);
    let decoding = 3 * column.min(rows * TEXT_BYTES + 4 * MIB);
    let cells = if dataset.is_csv() { dataset.schema.columns().len() as u64 * TEXT_BYTES * 2 } else { 0 };
    (threads as u64 + 1) * (rows * (row.features + row.output + 16 + 4 + 8 + cells) + decoding)
}

/// The part being collected, and those being encoded: as columns, in one piece, and as a file.
fn part_bytes(dataset: &Dataset, row: RowBytes) -> u64 {
    let rows = if dataset.is_csv() { PART_ROWS } else { largest_part_rows(dataset) };
    rows * row.output * (1 + 2 * PARTS_IN_FLIGHT as u64)
}
