//! How much is fetched and decoded at once: row groups whole, or in ranges of rows where they are too large.

use error::Result;
use table::Dataset;
use table::parquet::{PageOverhead, ParquetFile, ROW_GROUP_BYTES, RowGroupSize};

use super::MIB;
use super::amounts::{RowBytes, TEXT_BYTES, csv_rows_most};
use super::ids::IdBytes;
use crate::read::{PagedReads, ROWS_TOGETHER};

/// Fetched bytes that keep two cores busy where row groups are small.
const FETCH_WANTED: u64 = 128 * MIB;
/// As many where ids take much memory: scoring 10 million of them from a disk was no slower; S3 was not tried.
const FETCH_BESIDE_IDS: u64 = 64 * MIB;
/// The most that is given to two row groups, one that is scored and one that is fetched: three were no faster.
const FETCH_MOST: u64 = 256 * MIB;
/// Bytes of the rows of one batch, features as codes.
const BATCH_WANTED: u64 = 24 * MIB;
/// Most rows of a batch: columns stay in the second- or third-level cache, and pages are decoded once.
pub(super) const BATCH_ROWS_MOST: usize = 1 << 18;
/// Fewest rows of a batch, unless a setting says so: below, handing batches around costs more than it spreads.
pub(super) const BATCH_ROWS_LEAST: usize = 1 << 14;
/// Row groups of fewer fetched bytes are fetched whole in any case: ranges of rows of them would be hardly smaller.
const WHOLE_AT_LEAST: u64 = 16 * MIB;
/// Fewest rows of a range: pages are decompressed once for every range that they are in.
const PAGED_ROWS_LEAST: usize = 1 << 14;
/// The key of an id.
pub(super) const KEY_BYTES: u64 = 16;

/// What batches and fetching may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchRoom {
    /// Bytes for both.
    available: u64,
    /// Fetched bytes that are enough where row groups are small.
    wanted: u64,
}

impl FetchRoom {
    pub(super) fn of(available: u64) -> Self {
        Self { available, wanted: FETCH_WANTED }
    }

    /// What ids leave of so many bytes.
    pub(super) fn beside(ids: IdBytes, left: u64) -> Self {
        let wanted = FETCH_WANTED.saturating_sub(ids.memory / 2).max(FETCH_BESIDE_IDS);
        Self { available: left.saturating_sub(ids.memory), wanted }
    }
}

/// What fetching is planned to take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetching {
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: u64,
    pub(super) fetch_bytes: u64,
    pub(super) paged: PagedReads,
}

fn row_groups(dataset: &Dataset) -> impl Iterator<Item = &RowGroupSize> {
    let files = dataset.objects.iter().filter_map(|object| object.parquet.as_ref());
    files.flat_map(ParquetFile::row_groups)
}

/// Bytes that a row group takes while its rows are read.
fn group_bytes(group: &RowGroupSize) -> u64 {
    group.fetched_bytes + ROW_GROUP_BYTES
}

/// As many rows as the codes of a batch may take, but so that a small input is spread over the threads.
pub(super) fn batch_rows(row: RowBytes, dataset: &Dataset, threads: usize) -> usize {
    let by_bytes =
        usize::try_from(BATCH_WANTED / (row.features + row.cells + row.long_texts).max(1)).unwrap_or(usize::MAX);
    let rows = dataset.row_count().unwrap_or_else(|| csv_rows_most(dataset));
    let share = usize::try_from(rows).ok().map(|rows| rows.div_ceil(threads));
    by_bytes.min(share.unwrap_or(usize::MAX).max(BATCH_ROWS_LEAST)).clamp(1024, BATCH_ROWS_MOST)
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

/// What ranges of rows of the largest row group would take; its first pages stand for those of all.
pub(super) async fn overhead_of_pages(dataset: &Dataset, columns: &[String]) -> Result<PageOverhead> {
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
pub(super) fn fetching(
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
