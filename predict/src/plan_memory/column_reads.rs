//! How columns are read of which nothing is computed but a number.

use error::Result;
use table::Dataset;

use super::amounts::{RowBytes, TEXT_BYTES, column_bytes};
use super::fetching::{FetchRoom, Fetching, KEY_BYTES, batch_rows, fetching, overhead_of_pages};
use super::parts::long_text_row_bytes;
use crate::read::{PagedReads, ROWS_TOGETHER, ReadOptions};

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
pub(crate) async fn plan_column_reads(
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
