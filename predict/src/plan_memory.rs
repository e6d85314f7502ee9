//! How much memory a run takes, known before the first row is read: from the footers, the model and the settings.
//!
//! Every amount is an upper bound of what the code holds at once, found by counting buffers; the constants are measured.
//! What the limit leaves beyond them goes into fetching ahead, so a larger task is faster and a small one still works.

use std::collections::BTreeSet;

use columns::ColumnKind;
use error::{Error, Result};
use machine::Limits;
use machine::memory::remedy;
use machine::usage::free_disk;
use registry::load::{MODEL_FACTOR, XGBOOST_FACTOR};
use serde::Serialize;
use table::parquet::{FooterRoom, PageOverhead, ParquetFile, ROW_GROUP_BYTES, RowGroupSize};
use table::{DataObject, Dataset, Format};

use crate::ids::{IdScratch, SeenIds, is_integer};
use crate::interval::IntervalModel;
use crate::load::{Engine, Model};
use crate::read::{PART_ROWS, PagedReads, ROWS_TOGETHER, ReadOptions, largest_part, largest_part_rows};
use crate::reasons::REASON_BYTES;
use crate::settings::{Duplicates, Settings};
use crate::share::Share;
use crate::write::RejectedRows;

const MIB: u64 = 1024 * 1024;
/// Program, XGBoost's library, threads and runtime: 75 MiB measured.
pub(crate) const BASE: u64 = 96 * MIB;
/// An object of the listing and of the plan.
const OBJECT: u64 = 2048;
/// A reason on its way to the output: its source and contribution, and those of a column of them.
const EXPLAINED_BYTES: u64 = 8 + 8;
/// The place of a row's value among those of a slice, in a batch that is scored and in those that wait.
const SLICED_BYTES: u64 = 2 * 4;
/// The sums of all values that there is room for of one slice, their texts among them.
const SLICE_TALLY: u64 = 384 << 10;
/// Fetched bytes that keep two cores busy where row groups are small.
const FETCH_WANTED: u64 = 128 * MIB;
/// As many where ids take much memory: scoring 10 million of them from a disk was no slower; S3 was not tried.
const FETCH_BESIDE_IDS: u64 = 64 * MIB;
/// The most that is given to two row groups, one that is scored and one that is fetched: three were no faster.
const FETCH_MOST: u64 = 256 * MIB;
/// Bytes of the rows of one batch, features as codes.
const BATCH_WANTED: u64 = 24 * MIB;
/// Most rows of a batch: columns stay in the second- or third-level cache, and pages are decoded once.
const BATCH_ROWS_MOST: usize = 1 << 18;
/// Fewest rows of a batch, unless a setting says so: below, handing batches around costs more than it spreads.
const BATCH_ROWS_LEAST: usize = 1 << 14;
/// The share of the limit that is planned with; the rest is the allocator's and the kernel's.
const USABLE: f64 = 0.9;
/// How much smaller gzip can make anything: <https://zlib.net/zlib_tech.html>.
const DEFLATE_MOST: u64 = 1032;
/// Parts being encoded and uploaded while the next one is scored, where there is room for them.
const PARTS_IN_FLIGHT: usize = 2;
/// The key of an id.
const KEY_BYTES: u64 = 16;
/// A text value with its view, where nothing tells how long texts are.
pub const TEXT_BYTES: u64 = 48;

/// Row groups of fewer fetched bytes are fetched whole in any case: ranges of rows of them would be hardly smaller.
const WHOLE_AT_LEAST: u64 = 16 * MIB;
/// Fewest rows of a range: pages are decompressed once for every range that they are in.
const PAGED_ROWS_LEAST: usize = 1 << 14;
/// The share of the limit that ids may take before they go to disk, however much is left.
const IDS_MOST_OF_LIMIT: u64 = 4;
/// What ids may take in any case where it is left.
const IDS_AT_LEAST: u64 = 256 * MIB;

/// The plan, in bytes unless a name says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// What a run of any size takes: the program, the model and the list of objects.
    pub base_bytes: u64,
    /// What finding repeated ids takes; of CSV, whose rows are not known before they are read, the most that it may take.
    pub id_bytes: u64,
    /// Bytes of scratch disk that finding repeated ids takes; 0 where the memory holds them.
    pub id_scratch_bytes: u64,
    /// Rows being decoded and scored.
    pub batch_bytes: u64,
    /// Parts being collected, encoded and uploaded.
    pub part_bytes: u64,
    /// Fetched bytes that wait or are being decoded.
    pub fetch_bytes: u64,
    /// All of these but the disk.
    pub total_bytes: u64,
    /// What the container may use.
    pub limit_bytes: u64,
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// Parts being encoded and uploaded while the next one is scored.
    pub parts_in_flight: usize,
    /// How row groups are read that are too large to be held.
    #[serde(skip)]
    pub paged: PagedReads,
    /// What the texts of a part may take.
    #[serde(skip)]
    pub texts: TextRoom,
}

/// How many bytes of text a part of the output may have: of CSV, and of texts that repeat, nothing tells before they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextRoom {
    /// Most bytes of a part where parts wait for one another.
    pub most_bytes: u64,
    /// Most bytes of a part where as many are encoded and uploaded at once as the plan says.
    pub many_bytes: u64,
    /// The bytes that the plan counts on.
    planned_bytes: u64,
    /// Most rows of a part, and bytes of the input, where its text is no longer than that.
    part_rows: u64,
    input_bytes: Option<u64>,
    total_bytes: u64,
    limit_bytes: u64,
}

impl TextRoom {
    /// Refuses a part whose first `rows` rows have `bytes` bytes of text, if these are more than there is room for.
    ///
    /// # Errors
    /// [`Error::Resources`] that says how much memory the part takes.
    pub fn check(&self, bytes: u64, rows: u64) -> Result<()> {
        if bytes <= self.most_bytes {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(MIB);
        let of_part = (bytes as f64 / rows.max(1) as f64 * self.part_rows.max(rows) as f64) as u64;
        let of_part = of_part.min(self.input_bytes.unwrap_or(u64::MAX));
        let needed = self.total_bytes + copies(1) * of_part.saturating_sub(self.planned_bytes);
        Err(Error::Resources(format!(
            "the texts of the id and of --columns (COLUMNS) take {} MiB of memory in the first {rows} rows of a part of the output, but \
             there is room for {} MiB in a part, which has up to {} rows, of {} MiB in all: {}",
            mib(bytes),
            self.most_bytes / MIB,
            self.part_rows,
            mib(self.limit_bytes),
            remedy((needed as f64 / USABLE) as u64, ", which is enough for so many, or carry fewer columns over")
        )))
    }
}

/// How often the values of a part are in memory: the part being collected, and those being encoded, as columns and as a file.
fn copies(in_flight: usize) -> u64 {
    1 + 2 * in_flight as u64
}

/// What a row takes on its way.
#[derive(Debug, Clone, Copy)]
struct RowBytes {
    /// Codes or numbers of all features.
    features: u64,
    /// The text of all cells that are read, for CSV.
    cells: u64,
    /// The columns of the output.
    output: u64,
    /// Texts of the output that are longer than usual, in the row group where they are longest.
    long_texts: u64,
}

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Parts being encoded and uploaded while the next one is scored.
    parts_in_flight: usize,
    /// Most rows of a batch.
    batch_rows: usize,
}

/// How finding repeated ids is planned.
#[derive(Debug, Clone, Copy, Default)]
struct IdBytes {
    memory: u64,
    scratch: u64,
}

/// What batches and fetching may take.
#[derive(Debug, Clone, Copy)]
struct FetchRoom {
    /// Bytes for both.
    available: u64,
    /// Fetched bytes that are enough where row groups are small.
    wanted: u64,
}

impl FetchRoom {
    fn of(available: u64) -> Self {
        Self { available, wanted: FETCH_WANTED }
    }

    /// What ids leave of so many bytes.
    fn beside(ids: IdBytes, left: u64) -> Self {
        let wanted = FETCH_WANTED.saturating_sub(ids.memory / 2).max(FETCH_BESIDE_IDS);
        Self { available: left.saturating_sub(ids.memory), wanted }
    }
}

/// What fetching is planned to take.
#[derive(Debug, Clone, Copy)]
struct Fetching {
    batch_rows: usize,
    batch_bytes: u64,
    fetch_bytes: u64,
    paged: PagedReads,
}

impl MemoryPlan {
    /// The plan of a run that reads `columns` and tells rows apart by as many of them as stand beside the model. Where row groups are large,
    /// headers of a few pages are read.
    ///
    /// # Errors
    /// [`Error::Resources`] where the container may use less than the run needs; storage errors as they are.
    pub async fn new(
        settings: &Settings,
        limits: &Limits,
        dataset: &Dataset,
        (model, slices): (&Model, usize),
        columns: &[String],
    ) -> Result<Self> {
        let overhead = overhead_of_pages(dataset, columns).await?;
        let of = |pace| Self::at_pace(settings, limits, dataset, (model, slices), columns, overhead, pace);
        let mut plan = of(Pace { parts_in_flight: PARTS_IN_FLIGHT, batch_rows: BATCH_ROWS_MOST });
        // Where memory is short a part waits until the one before is written, and then fewer rows are scored at once.
        let mut batch_rows = BATCH_ROWS_MOST;
        while plan.total_bytes > usable(limits) && batch_rows >= BATCH_ROWS_LEAST {
            plan = of(Pace { parts_in_flight: 1, batch_rows });
            batch_rows /= 2;
        }
        if plan.total_bytes > usable(limits) { Err(plan.too_much(dataset)) } else { plan.check_scratch() }
    }

    fn at_pace(
        settings: &Settings,
        limits: &Limits,
        dataset: &Dataset,
        (model, slices): (&Model, usize),
        columns: &[String],
        overhead: PageOverhead,
        pace: Pace,
    ) -> Self {
        let parts_in_flight = pace.parts_in_flight;
        let row = RowBytes {
            features: engine_row_bytes(settings, model)
                + model.interval.as_ref().map_or(0, IntervalModel::row_bytes)
                + u64::from(settings.reasons) * (REASON_BYTES + EXPLAINED_BYTES)
                + slices as u64 * SLICED_BYTES,
            cells: if dataset.is_csv() { columns.len() as u64 * TEXT_BYTES } else { 0 },
            output: output_row_bytes(settings, dataset, model),
            long_texts: long_text_row_bytes(dataset, &output_texts(settings, dataset, model)),
        };
        let threads = limits.threads.value;
        let explaining = model.engine.explaining_bytes(threads);
        let model_bytes = trees_bytes(model) + model.metadata_memory + explaining;
        // Of the run, of the part that is collected, of those that are written, and values of batches.
        let tallies = slices as u64 * SLICE_TALLY * (2 + 2 * parts_in_flight as u64 + threads as u64);
        let base_bytes = BASE + model_bytes + listing_bytes(dataset) + tallies;
        let texts = output_texts(settings, dataset, model);
        let part_bytes = part_bytes(dataset, row, &texts, parts_in_flight);
        let rows = || batch_rows(row, dataset, threads).min(pace.batch_rows);
        let rows = settings.batch_rows.map_or_else(rows, |rows| rows.0);
        let fetching = |room: FetchRoom| fetching(dataset, row, threads, rows, overhead, room);
        let left = usable(limits).saturating_sub(base_bytes + part_bytes);
        // Ids get what the smallest way of reading leaves.
        let least = fetching(FetchRoom::of(0));
        let ids =
            id_bytes(settings, dataset, model, limits, left.saturating_sub(least.batch_bytes + least.fetch_bytes));
        let Fetching { batch_rows, batch_bytes, fetch_bytes, paged } = fetching(FetchRoom::beside(ids, left));
        let scoring_bytes = ids.memory + batch_bytes + part_bytes + fetch_bytes;
        // Footers are read, and the bytes that they came in given back, before anything else is.
        let total_bytes = base_bytes + scoring_bytes.max(dataset.read_bytes());
        Self {
            base_bytes,
            id_bytes: ids.memory,
            id_scratch_bytes: ids.scratch,
            batch_bytes,
            part_bytes,
            fetch_bytes,
            total_bytes,
            limit_bytes: limits.memory_bytes.value,
            batch_rows,
            parts_in_flight,
            paged,
            texts: text_room(dataset, &texts, parts_in_flight, total_bytes, limits),
        }
    }

    /// From now on what the pages of the input say that they hold must fit into what the program and the model leave.
    pub fn begin(&self) {
        let usable = (self.limit_bytes as f64 * USABLE) as u64;
        machine::memory::pool().set_room(usable.saturating_sub(self.base_bytes), self.limit_bytes);
    }

    /// Whether the repeated ids are found on disk before anything is scored.
    #[must_use]
    pub fn ids_on_disk(&self) -> bool {
        self.id_scratch_bytes > 0
    }

    fn too_much(&self, dataset: &Dataset) -> Error {
        let mib = |bytes: u64| bytes.div_ceil(MIB);
        let needed = (self.total_bytes as f64 / USABLE) as u64;
        let otherwise = match self.fetch_bytes.max(self.id_bytes).max(self.part_bytes) {
            largest if largest == self.fetch_bytes => ", or write smaller row groups or pages",
            largest if largest == self.id_bytes => {
                ", or split the input, or skip the check for repeated ids with --duplicates (DUPLICATES) allow"
            }
            _ => ", or carry fewer columns over with --columns (COLUMNS), or split the input",
        };
        Error::Resources(format!(
            "{}: scoring it takes {} MiB of memory ({} MiB for the rows that are read at a time, {} MiB to find repeated \
             ids, {} MiB for all else), but there are {} MiB: {}",
            dataset.location,
            mib(self.total_bytes),
            mib(self.fetch_bytes),
            mib(self.id_bytes),
            mib(self.base_bytes + self.batch_bytes + self.part_bytes),
            mib(self.limit_bytes),
            remedy(needed, otherwise),
        ))
    }

    /// Refuses a disk that has not the room that ids need.
    fn check_scratch(self) -> Result<Self> {
        let folder = std::env::temp_dir();
        match free_disk(&folder) {
            Ok(free) if free < self.id_scratch_bytes => Err(Error::Resources(format!(
                "finding repeated ids takes {} MiB of disk in {}, which has {} MiB left: give the task more disk or {} MiB \
                 of memory, set TMPDIR to another folder, or skip the check with --duplicates (DUPLICATES) allow",
                self.id_scratch_bytes.div_ceil(MIB),
                folder.display(),
                free / MIB,
                (self.total_bytes + self.id_scratch_bytes).div_ceil(MIB)
            ))),
            // What is not known may suffice: writing will tell.
            Ok(_) | Err(_) => Ok(self),
        }
    }

    /// Says in the log what the run will take.
    pub fn log(&self) {
        tracing::info!(
            total_bytes = self.total_bytes,
            id_bytes = self.id_bytes,
            id_scratch_bytes = self.id_scratch_bytes,
            fetch_bytes = self.fetch_bytes,
            batch_rows = self.batch_rows,
            limit_bytes = self.limit_bytes,
            "memory plan: {} MiB of {} MiB",
            self.total_bytes.div_ceil(MIB),
            self.limit_bytes / MIB
        );
    }
}

/// What of the limit is planned with.
pub(crate) fn usable(limits: &Limits) -> u64 {
    (limits.memory_bytes.value as f64 * USABLE) as u64
}

fn row_groups(dataset: &Dataset) -> impl Iterator<Item = &RowGroupSize> {
    let files = dataset.objects.iter().filter_map(|object| object.parquet.as_ref());
    files.flat_map(ParquetFile::row_groups)
}

/// Objects of the listing and the plan, and what is known of their row groups.
pub(crate) fn listing_bytes(dataset: &Dataset) -> u64 {
    dataset.objects.len() as u64 * OBJECT + dataset.held_bytes()
}

/// How columns are read of which nothing is computed but a number: ids, values, slices.
#[derive(Debug, Clone, Copy)]
pub struct ColumnReads {
    /// What it takes.
    pub bytes: u64,
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// Fetched bytes that wait or are being decoded.
    pub fetch_bytes: u64,
    /// How row groups are read that are too large to be held.
    pub paged: PagedReads,
}

impl ColumnReads {
    /// The options that read these columns so.
    #[must_use]
    pub fn options(&self, columns: Vec<String>, id: &str) -> ReadOptions {
        let Self { batch_rows, fetch_bytes, paged, .. } = *self;
        ReadOptions { columns, id: id.to_owned(), batch_rows, fetch_bytes, paged }
    }
}

/// Plans to read columns in `available` bytes. Where these are too few, it takes more.
///
/// # Errors
/// Storage errors as they are.
pub async fn plan_column_reads(
    dataset: &Dataset,
    columns: &[String],
    threads: usize,
    available: u64,
) -> Result<ColumnReads> {
    let texts: Vec<String> = columns.iter().filter(|name| column_bytes(dataset, name) == TEXT_BYTES).cloned().collect();
    let row = RowBytes {
        features: columns.len() as u64 * 8,
        cells: if dataset.is_csv() { columns.len() as u64 * TEXT_BYTES } else { 0 },
        output: columns.iter().map(|name| column_bytes(dataset, name)).sum::<u64>() + KEY_BYTES,
        long_texts: long_text_row_bytes(dataset, &texts),
    };
    let overhead = overhead_of_pages(dataset, columns).await?;
    let most = batch_rows(row, dataset, threads).min(ROWS_TOGETHER);
    let Fetching { batch_rows, batch_bytes, fetch_bytes, paged } =
        fetching(dataset, row, threads, most, overhead, FetchRoom::of(available));
    Ok(ColumnReads { bytes: (batch_bytes + fetch_bytes).max(dataset.read_bytes()), batch_rows, fetch_bytes, paged })
}

/// What the trees of a model and of its intervals take, by what holds them.
fn trees_bytes(model: &Model) -> u64 {
    let factor = match model.engine {
        Engine::Compiled(_) => MODEL_FACTOR,
        Engine::Xgboost(_) => XGBOOST_FACTOR,
    };
    model.bytes * factor + model.interval.as_ref().map_or(0, |interval| interval.bytes) * MODEL_FACTOR
}

/// What the footers of the input may take: all that is left beside the program and the model.
#[must_use]
pub fn room_for_footers(limits: &Limits, model: Option<&Model>) -> FooterRoom {
    let others = BASE + model.map_or(0, trees_bytes);
    FooterRoom::beside(others, usable(limits), limits.memory_bytes.value)
}

/// Bytes that a row group takes while its rows are read.
fn group_bytes(group: &RowGroupSize) -> u64 {
    group.fetched_bytes + ROW_GROUP_BYTES
}

fn engine_row_bytes(settings: &Settings, model: &Model) -> u64 {
    /// A cell of XGBoost's own matrix (its column and value), and its contribution twice: there and here.
    const EXPLAINED_CELL: u64 = 8 + 2 * size_of::<f32>() as u64;
    match &model.engine {
        Engine::Compiled(compiled) => compiled.scorer.row_bytes() as u64,
        Engine::Xgboost(_) => {
            let explained = if settings.reasons > 0 { EXPLAINED_CELL } else { 0 };
            (model.encoder.len() as u64 + 1) * (size_of::<f32>() as u64 * 2 + explained)
        }
    }
}

/// In memory where `left` and the budget allow; else on disk.
fn id_bytes(settings: &Settings, dataset: &Dataset, model: &Model, limits: &Limits, left: u64) -> IdBytes {
    if settings.duplicates == Duplicates::Allow {
        return IdBytes::default();
    }
    let most = left.min(IDS_AT_LEAST.max(limits.memory_bytes.value / IDS_MOST_OF_LIMIT));
    let Some(rows) = rows_with_ids(settings, dataset) else {
        // Twice as much while the table grows, and never less than doing without it takes.
        let memory = most.min(3 * SeenIds::bytes(csv_rows_most(dataset), false)).max(IdScratch::memory_bytes(0, false));
        return IdBytes { memory, scratch: 0 };
    };
    let whole = dataset.schema.get(&model.metadata.id).is_some_and(|column| is_integer(&column.dtype));
    let memory = SeenIds::bytes(rows, whole);
    if memory <= most {
        return IdBytes { memory, scratch: 0 };
    }
    IdBytes { memory: IdScratch::memory_bytes(rows, whole), scratch: IdScratch::disk_bytes(rows, whole) }
}

/// The rows whose ids are compared: of a shard, those before the end of its share.
fn rows_with_ids(settings: &Settings, dataset: &Dataset) -> Option<u64> {
    match settings.shard {
        Some(shard) if !dataset.is_csv() => Share::of_parquet(shard, dataset).rows_until_end,
        _ => dataset.row_count(),
    }
}

/// The most rows that CSV can have: a row has at least as many bytes as columns.
fn csv_rows_most(dataset: &Dataset) -> u64 {
    let bytes = |object: &DataObject| match object.format {
        Format::CsvGz => object.meta.size.saturating_mul(DEFLATE_MOST),
        Format::Csv | Format::Parquet => object.meta.size,
    };
    let all = dataset.objects.iter().map(bytes).fold(0, u64::saturating_add);
    all / dataset.stored_columns().max(1) as u64
}

/// Bytes of a decoded value of a column.
fn column_bytes(dataset: &Dataset, name: &str) -> u64 {
    match dataset.schema.get(name).map(|column| column.kind) {
        Some(ColumnKind::Text) | None => TEXT_BYTES,
        Some(_) => 8,
    }
}

/// A row is predicted (id, prediction, the model's version as a view, and what is carried over) or rejected.
fn output_row_bytes(settings: &Settings, dataset: &Dataset, model: &Model) -> u64 {
    let carried: u64 = settings.columns.iter().map(|name| column_bytes(dataset, name)).sum();
    let reasons = u64::from(settings.reasons) * REASON_BYTES;
    let interval = if settings.interval.is_some() { 2 * 8 } else { 0 };
    column_bytes(dataset, &model.metadata.id) + (8 + 16 + interval + reasons + carried).max(RejectedRows::ROW_BYTES)
}

/// As many rows as the codes of a batch may take, but so that a small input is spread over the threads.
fn batch_rows(row: RowBytes, dataset: &Dataset, threads: usize) -> usize {
    let by_bytes =
        usize::try_from(BATCH_WANTED / (row.features + row.cells + row.long_texts).max(1)).unwrap_or(usize::MAX);
    let rows = dataset.row_count().unwrap_or_else(|| csv_rows_most(dataset));
    let share = usize::try_from(rows).ok().map(|rows| rows.div_ceil(threads));
    by_bytes.min(share.unwrap_or(usize::MAX).max(BATCH_ROWS_LEAST)).clamp(1024, BATCH_ROWS_MOST)
}

/// What ranges of rows of the largest row group would take; its first pages stand for those of all.
async fn overhead_of_pages(dataset: &Dataset, columns: &[String]) -> Result<PageOverhead> {
    let groups = dataset.objects.iter().flat_map(|object| {
        let of_file =
            |file: &'_ ParquetFile| file.row_groups().iter().map(|group| group.fetched_bytes).enumerate().collect();
        let groups: Vec<(usize, u64)> = object.parquet.as_ref().map(of_file).unwrap_or_default();
        groups.into_iter().map(move |(group, bytes)| (bytes, group, object))
    });
    match groups.max_by_key(|(bytes, ..)| *bytes) {
        Some((bytes, group, object)) if bytes > WHOLE_AT_LEAST => {
            let Some(file) = &object.parquet else { return Ok(PageOverhead::default()) };
            file.page_overhead(dataset.store.as_ref(), &object.meta, group, columns).await
        }
        _ => Ok(PageOverhead::default()),
    }
}

/// How to read with `available` bytes for batches and fetching: row groups whole where the largest fits, else in ranges of
/// as many rows as fit.
fn fetching(
    dataset: &Dataset,
    row: RowBytes,
    threads: usize,
    batch_rows: usize,
    overhead: PageOverhead,
    FetchRoom { available, wanted }: FetchRoom,
) -> Fetching {
    let largest = row_groups(dataset).map(group_bytes).max().unwrap_or(0);
    let all: u64 = row_groups(dataset).map(group_bytes).sum();
    let whole_bytes = batch_bytes(dataset, batch_rows, row, threads, 0);
    let left = available.saturating_sub(whole_bytes);
    let fetch_bytes = wanted.max((2 * largest).min(FETCH_MOST)).min(left).min(all).max(largest.min(WHOLE_AT_LEAST));
    let whole = PagedReads { whole_most: fetch_bytes, rows: batch_rows, overhead_bytes: overhead.bytes };
    // Whole where one can be fetched while another is scored, or where there is little to fetch.
    let least_for_whole = if largest <= WHOLE_AT_LEAST || all <= FETCH_WANTED { largest } else { 2 * largest };
    if least_for_whole <= fetch_bytes {
        return Fetching { batch_rows, batch_bytes: whole_bytes, fetch_bytes, paged: whole };
    }
    let mut rows = batch_rows;
    loop {
        let batch_bytes = batch_bytes(dataset, rows, row, threads, overhead.page_bytes);
        let of_rows = |group: &RowGroupSize| group.bytes_of(rows.min(group.rows));
        let range = row_groups(dataset).map(of_rows).max().unwrap_or(0) + overhead.bytes;
        let left = available.saturating_sub(batch_bytes);
        if range <= left || rows <= PAGED_ROWS_LEAST {
            // One being scored and one being fetched, where there is room for both.
            let fetch_bytes = wanted.max(2 * range).min(left).max(range);
            let paged = PagedReads { whole_most: FETCH_WANTED.min(fetch_bytes), rows, overhead_bytes: overhead.bytes };
            return Fetching { batch_rows: rows, batch_bytes, fetch_bytes, paged };
        }
        rows = (rows / 2).max(PAGED_ROWS_LEAST);
    }
}

/// A batch for each thread that is being scored, its codes and one column being decoded; and as many and one that wait, scored, with
/// their keys and output.
fn batch_bytes(dataset: &Dataset, batch_rows: usize, row: RowBytes, threads: usize, page_bytes: u64) -> u64 {
    let largest = row_groups(dataset).map(|group| group.rows as u64).max().unwrap_or_else(|| csv_rows_most(dataset));
    // Small row groups are scored together.
    let together = dataset.row_count().map_or(0, |rows| rows.min(ROWS_TOGETHER as u64));
    let rows = (batch_rows as u64).min(largest.max(together));
    let decoding = decoding_bytes(dataset, rows, page_bytes);
    let scored = row.output + row.long_texts + KEY_BYTES + 8;
    // The text of CSV is also in the batches that are read ahead.
    threads as u64 * (rows * (row.features + 4 + 4) + decoding) + (threads as u64 + 1) * rows * (scored + 2 * row.cells)
}

/// A column being decoded: a page of it, its values, and them once more in another type.
fn decoding_bytes(dataset: &Dataset, rows: u64, page_bytes: u64) -> u64 {
    let value_bytes = |group: &RowGroupSize| group.column_bytes.div_ceil(group.rows.max(1) as u64);
    let value = row_groups(dataset).map(value_bytes).max().unwrap_or(TEXT_BYTES).max(8);
    let column = row_groups(dataset).map(|group| group.column_bytes).max().unwrap_or(0);
    // A text is a view of 16 bytes besides its own; of repeated texts the file has fewer bytes than the column in memory.
    let values = rows * (value + 16);
    2 * values + page_bytes.max(column.min(values.max(2 * MIB)))
}

/// The columns of text that go to the output.
fn output_texts(settings: &Settings, dataset: &Dataset, model: &Model) -> Vec<String> {
    let names = std::iter::once(&model.metadata.id).chain(&settings.columns);
    let is_text = |name: &&String| dataset.schema.get(name).is_some_and(|column| column.kind == ColumnKind::Text);
    let texts: BTreeSet<&String> = names.filter(is_text).collect();
    texts.into_iter().cloned().collect()
}

/// What so many rows of a row group have of long texts besides what every text is counted as.
fn long_text_bytes(file: &ParquetFile, group: usize, rows: u64, texts: &[String]) -> u64 {
    let group_rows = file.row_groups().get(group).map_or(1, |size| size.rows.max(1) as u64);
    let bytes: u64 = texts.iter().filter_map(|name| file.long_text_bytes(name, group)).sum();
    (u128::from(bytes) * u128::from(rows) / u128::from(group_rows)) as u64
}

/// The same of one row, where they are longest.
fn long_text_row_bytes(dataset: &Dataset, texts: &[String]) -> u64 {
    let files = dataset.objects.iter().filter_map(|object| object.parquet.as_ref());
    let of_file = |file: &ParquetFile| {
        (0..file.row_groups().len()).map(|group| long_text_bytes(file, group, 1, texts)).max().unwrap_or(0)
    };
    files.map(of_file).max().unwrap_or(0)
}

/// The part being collected, and those being encoded: as columns, as one frame, and as a file.
fn part_bytes(dataset: &Dataset, row: RowBytes, texts: &[String], in_flight: usize) -> u64 {
    let rows = if dataset.is_csv() { PART_ROWS.min(csv_rows_most(dataset)) } else { largest_part_rows(dataset) };
    let long = largest_part(dataset, |file, group, rows| long_text_bytes(file, group, rows, texts));
    // A part that is the only one is not encoded while another is collected.
    let is_alone = dataset.row_count() == Some(rows);
    rows * row.output * copies(in_flight) + long * if is_alone { 2 } else { copies(in_flight) }
}

/// Bytes of an input that is CSV without compression.
fn plain_csv_bytes(dataset: &Dataset) -> Option<u64> {
    let is_plain = dataset.objects.iter().all(|object| object.format == Format::Csv);
    is_plain.then(|| dataset.objects.iter().map(|object| object.meta.size).sum())
}

/// What the texts of a part may take, by what the plan leaves of the limit.
fn text_room(dataset: &Dataset, texts: &[String], in_flight: usize, total_bytes: u64, limits: &Limits) -> TextRoom {
    let is_csv = dataset.is_csv();
    let part_rows = if is_csv { PART_ROWS } else { largest_part_rows(dataset) };
    let of_rows = part_rows * texts.len() as u64 * TEXT_BYTES;
    let planned_bytes = of_rows + largest_part(dataset, |file, group, rows| long_text_bytes(file, group, rows, texts));
    let spare = usable(limits).saturating_sub(total_bytes);
    TextRoom {
        most_bytes: planned_bytes + spare / copies(1),
        many_bytes: planned_bytes + spare / copies(in_flight),
        planned_bytes,
        part_rows,
        input_bytes: plain_csv_bytes(dataset),
        total_bytes,
        limit_bytes: limits.memory_bytes.value,
    }
}
