//! What a part of the output takes, and how many bytes of text it may have.

use std::collections::BTreeSet;

use columns::ColumnKind;
use error::{Error, Result};
use machine::Limits;
use machine::memory::remedy;
use table::parquet::ParquetFile;
use table::{Dataset, Format};

use super::amounts::{RowBytes, TEXT_BYTES, csv_rows_most};
use super::{MIB, USABLE, usable};
use crate::load::Model;
use crate::read::{PART_ROWS, largest_part, largest_part_rows};
use crate::settings::Settings;

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

/// The columns of text that go to the output.
pub(super) fn output_texts(settings: &Settings, dataset: &Dataset, model: &Model) -> Vec<String> {
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
pub(super) fn long_text_row_bytes(dataset: &Dataset, texts: &[String]) -> u64 {
    let files = dataset.objects.iter().filter_map(|object| object.parquet.as_ref());
    let of_file = |file: &ParquetFile| {
        (0..file.row_groups().len()).map(|group| long_text_bytes(file, group, 1, texts)).max().unwrap_or(0)
    };
    files.map(of_file).max().unwrap_or(0)
}

/// The part being collected, and those being encoded: as columns, as one frame, and as a file.
pub(super) fn part_bytes(dataset: &Dataset, row: RowBytes, texts: &[String], in_flight: usize) -> u64 {
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
pub(super) fn text_room(
    dataset: &Dataset,
    texts: &[String],
    in_flight: usize,
    total_bytes: u64,
    limits: &Limits,
) -> TextRoom {
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
