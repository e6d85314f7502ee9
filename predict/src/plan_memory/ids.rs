//! What finding repeated ids takes: in memory where it is there, else on disk.

use machine::Limits;
use table::Dataset;

use super::MIB;
use super::amounts::csv_rows_most;
use crate::ids::{IdScratch, SeenIds, is_integer};
use crate::load::Model;
use crate::settings::{Duplicates, Settings};
use crate::share::Share;

/// The share of the limit that ids may take before they go to disk, however much is left.
const IDS_MOST_OF_LIMIT: u64 = 4;
/// What ids may take in any case where it is left.
const IDS_AT_LEAST: u64 = 256 * MIB;

/// How finding repeated ids is planned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IdBytes {
    pub(super) memory: u64,
    pub(super) scratch: u64,
}

/// In memory where `left` and the budget allow; else on disk.
pub(super) fn id_bytes(settings: &Settings, dataset: &Dataset, model: &Model, limits: &Limits, left: u64) -> IdBytes {
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
