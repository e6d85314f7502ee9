//! How much memory a run takes, known before the first row is read: from the footers, the model and the settings.
//!
//! Every amount is an upper bound of what the code holds at once, found by counting buffers; the constants are measured.
//! What the limit leaves beyond them goes into fetching ahead, so a larger task is faster and a small one still works.

mod amounts;

mod ids;

mod parts;

mod fetching;

mod column_reads;

use error::{Error, Result};
use machine::Limits;
use machine::memory::remedy;
use machine::usage::free_disk;
use serde::Serialize;
use table::Dataset;
use table::parquet::PageOverhead;

use self::amounts::{RowBytes, engine_row_bytes, output_row_bytes, trees_bytes};
pub(crate) use self::amounts::{TEXT_BYTES, listing_bytes, room_for_footers};
pub use self::column_reads::ColumnReads;
pub(crate) use self::column_reads::plan_column_reads;
use self::fetching::{BATCH_ROWS_LEAST, BATCH_ROWS_MOST, FetchRoom, Fetching, batch_rows, fetching, overhead_of_pages};
use self::ids::id_bytes;
pub use self::parts::TextRoom;
use self::parts::{long_text_row_bytes, output_texts, part_bytes, text_room};
use crate::interval::IntervalModel;
use crate::load::Model;
use crate::read::PagedReads;
use crate::reasons::REASON_BYTES;
use crate::settings::Settings;

const MIB: u64 = 1024 * 1024;
/// Program, XGBoost's library, threads and runtime: 75 MiB measured.
pub(crate) const BASE: u64 = 96 * MIB;
/// A reason on its way to the output: its source and contribution, and those of a column of them.
const EXPLAINED_BYTES: u64 = 8 + 8;
/// The place of a row's value among those of a slice, in a batch that is scored and in those that wait.
const SLICED_BYTES: u64 = 2 * 4;
/// The sums of all values that there is room for of one slice, their texts among them.
const SLICE_TALLY: u64 = 384 << 10;
/// The share of the limit that is planned with; the rest is the allocator's and the kernel's.
const USABLE: f64 = 0.9;
/// Parts being encoded and uploaded while the next one is scored, where there is room for them.
const PARTS_IN_FLIGHT: usize = 2;

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

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Parts being encoded and uploaded while the next one is scored.
    parts_in_flight: usize,
    /// Most rows of a batch.
    batch_rows: usize,
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
        let usable = usable_of(self.limit_bytes);
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
        let otherwise = match self.fetch_bytes.max(self.id_bytes).max(self.part_bytes).max(self.base_bytes) {
            // The program and the model alone: nothing about the input changes that.
            largest if largest == self.base_bytes => "",
            largest if largest == self.fetch_bytes => ", or write smaller row groups or pages",
            largest if largest == self.id_bytes => {
                ", or split the input, or skip the check for repeated ids with --duplicates (DUPLICATES) allow"
            }
            _ => ", or carry fewer columns over with --columns (COLUMNS), or split the input",
        };
        Error::Resources(format!(
            "{}: scoring it takes {} MiB of memory ({} MiB for the rows that are read at a time, {} MiB to find repeated \
             ids, {} MiB for all else), but of {} MiB it may take {}: {}",
            dataset.location,
            mib(self.total_bytes),
            mib(self.fetch_bytes),
            mib(self.id_bytes),
            mib(self.base_bytes + self.batch_bytes + self.part_bytes),
            self.limit_bytes / MIB,
            usable_of(self.limit_bytes) / MIB,
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
    usable_of(limits.memory_bytes.value)
}

fn usable_of(limit_bytes: u64) -> u64 {
    (limit_bytes as f64 * USABLE) as u64
}
