//! How much memory a comparison takes, known before the first row is read: what the limit leaves beside the program goes half into
//! reading and half into rows that need not go to disk then.

use error::{Error, Result};
use machine::Limits;
use table::Dataset;

use super::join::pair_bytes;
use super::side::{ENDS, SideColumns};
use crate::ids::is_integer;
use crate::ids::partitions::{BLOCK, PARTITIONS};
use crate::plan_memory::{BASE, ColumnReads, listing_bytes, plan_column_reads, usable};

const MIB: u64 = 1 << 20;
/// The most that reading is given: more is not faster.
const READING_MOST: u64 = 160 * MIB;
/// What reading is given at least.
const READING_LEAST: u64 = 24 * MIB;
/// An actual in the table of its partition: id, value, place and mark, of which vectors may have twice as many.
const TABLE_ENTRY: u64 = 16 + 8 + 2 * 4 + 1;
/// A mean partition is never smaller than by so many rows: chance.
const SPARE_ROWS: u64 = 1_000;

/// One side, opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenedSide<'a> {
    /// The objects; none where a run predicted nothing.
    pub(super) dataset: Option<&'a Dataset>,
    /// What is read of them.
    pub(super) columns: &'a SideColumns,
}

/// The plan.
#[derive(Debug)]
pub(super) struct MemoryPlan {
    /// Bytes of rows that stay in memory until they are joined.
    pub(super) rows_bytes: u64,
    /// How the predictions and the actuals are read.
    pub(super) reads: [Option<ColumnReads>; 2],
}

impl MemoryPlan {
    /// The plan; from now on what pages say that they hold must fit into what is there for reading.
    ///
    /// # Errors
    /// [`Error::Resources`] where the process may use less than it needs; storage errors as they are.
    pub(super) async fn new(limits: &Limits, sides: [OpenedSide<'_>; 2]) -> Result<Self> {
        let threads = limits.threads.value;
        let datasets = || sides.iter().filter_map(|side| Some((side.dataset?, side.columns)));
        let all_integers = datasets()
            .all(|(dataset, columns)| dataset.schema.get(&columns.id).is_some_and(|id| is_integer(&id.dtype)));
        // A partition has an open block for each side, and one more for each where ids are of two kinds.
        let open = if all_integers { 2 } else { 4 } * (PARTITIONS * BLOCK) as u64;
        let mut rows = 0;
        for (dataset, _) in datasets() {
            rows = rows.max(dataset.estimated_rows().await?);
        }
        let has_intervals = sides.iter().any(|side| side.columns.has_intervals);
        let ends = if has_intervals { ENDS as u64 } else { 0 };
        let codes = sides.iter().map(|side| side.columns.slices.len() as u64 * 4).sum::<u64>() + ends;
        let partition = rows / PARTITIONS as u64 * 11 / 10 + SPARE_ROWS;
        let tables = threads as u64 * partition * (TABLE_ENTRY + 2 * codes + pair_bytes(has_intervals) as u64)
            + threads as u64 * BLOCK as u64;
        let listing: u64 = datasets().map(|(dataset, _)| listing_bytes(dataset)).sum();
        let fixed = BASE + open + tables + listing;
        let left = usable(limits).saturating_sub(fixed);
        let mut reading_bytes = (left / 2).min(READING_MOST).max(READING_LEAST.min(left));
        let mut reads = [None, None];
        for (side, read) in sides.iter().zip(&mut reads) {
            let Some(dataset) = side.dataset else { continue };
            let planned = plan_column_reads(dataset, &side.columns.names(), threads, reading_bytes).await?;
            reading_bytes = reading_bytes.max(planned.bytes);
            *read = Some(planned);
        }
        if reading_bytes > left || left == 0 {
            let needed =
                ((fixed + reading_bytes) as f64 / (usable(limits) as f64 / limits.memory_bytes.value as f64)) as u64;
            return Err(Error::Resources(format!(
                "comparing {rows} predictions or actuals takes {} MiB of memory, but there are {} MiB: {}",
                needed.div_ceil(MIB),
                limits.memory_bytes.value / MIB,
                machine::memory::remedy(needed, "")
            )));
        }
        machine::memory::pool().set_room(reading_bytes, limits.memory_bytes.value);
        let rows_bytes = left - reading_bytes;
        tracing::info!(
            fixed_bytes = fixed,
            reading_bytes,
            rows_bytes,
            limit_bytes = limits.memory_bytes.value,
            "memory plan: {} MiB of {} MiB",
            (fixed + reading_bytes + rows_bytes).div_ceil(MIB),
            limits.memory_bytes.value / MIB
        );
        Ok(Self { rows_bytes, reads })
    }
}
