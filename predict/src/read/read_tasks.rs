//! How the rows of Parquet objects are cut: into parts, and into what is fetched and scored at once.

use std::ops::Range;

use table::Dataset;
use table::parquet::{ParquetFile, ROW_GROUP_BYTES, RowGroupSize};

use super::{Need, ReadOptions};

/// Input rows that make a part: it ends with the row group in which it gets as many, so that no row group is decoded for
/// two parts. A row group that is larger is cut after every so many of its own rows. Part boundaries thus depend on the
/// input alone, and no part has more than twice as many rows.
pub const PART_ROWS: u64 = 1 << 19;

/// Row groups that follow one another are fetched and scored together up to so many rows: the work that each batch takes
/// besides its rows is small then.
pub const ROWS_TOGETHER: usize = 1 << 16;
/// And up to so many bytes.
const BYTES_TOGETHER: u64 = 8 << 20;
/// However little may be in memory.
const BYTES_TOGETHER_LEAST: u64 = 1 << 20;

/// What is fetched at once: a row group, several small ones or some rows of a large one, and the batches to cut it into.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadTask {
    /// Objects, and which of their row groups.
    pub(super) spans: Vec<Span>,
    /// Rows of the row group, where it is not fetched whole.
    pub(super) paged_rows: Option<Range<usize>>,
    /// Bytes that it takes.
    pub(super) fetched_bytes: u64,
    /// Number of its first row within the whole input; that of the row group's where it is some rows of one.
    pub(super) first_row_of_all: u64,
    /// Part and rows (within the row groups) of each batch.
    pub(super) batches: Vec<(u64, Range<usize>)>,
}

/// Row groups of one object that follow one another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) object: usize,
    pub(super) row_groups: Range<usize>,
    /// Number of their first row within the object.
    pub(super) first_row: u64,
}

impl ReadTask {
    /// What its most demanding part needs.
    pub(super) fn most_needed(&self, need: impl Fn(u64) -> Need) -> Need {
        let needs: Vec<Need> = self.batches.iter().map(|(part, _)| need(*part)).collect();
        let is_needed = |wanted: &Need| needs.contains(wanted);
        [Need::Everything, Need::Ids].into_iter().find(is_needed).unwrap_or(Need::Nothing)
    }
}

/// Everything that is fetched, in the order of the input.
pub(super) fn read_tasks(dataset: &Dataset, options: &ReadOptions) -> Vec<ReadTask> {
    let mut tasks: Vec<ReadTask> = Vec::new();
    let mut parts = PartCutter::default();
    let mut first_row_of_all = 0;
    for (object, file) in dataset.objects.iter().enumerate() {
        let mut first_row = 0;
        let mut before: Option<&RowGroupSize> = None;
        for (row_group, size) in file.parquet.iter().flat_map(ParquetFile::row_groups).enumerate() {
            let ranges = parts.cut(size.rows);
            let span = Span { object, row_groups: row_group..row_group + 1, first_row };
            let gap = before.map_or(0, |before| before.gap_before(size));
            let whole = ReadTask {
                spans: vec![span],
                paged_rows: None,
                fetched_bytes: size.fetched_bytes + ROW_GROUP_BYTES,
                first_row_of_all,
                batches: Vec::new(),
            };
            match size.fetched_bytes > options.paged.whole_most {
                true => tasks.extend(in_row_ranges(&whole, size, ranges, options)),
                false if size.rows > 0 => {
                    let next = ReadTask { batches: in_batches(ranges, options.batch_rows), ..whole };
                    match tasks.last_mut() {
                        Some(last) if last.goes_with(&next, options) => last.add(next, gap),
                        _ => tasks.push(next),
                    }
                }
                false => {}
            }
            before = Some(size);
            first_row += size.rows as u64;
            first_row_of_all += size.rows as u64;
        }
    }
    tasks
}

impl ReadTask {
    /// Whether another one that follows it is small enough to be fetched and scored with it.
    fn goes_with(&self, next: &Self, options: &ReadOptions) -> bool {
        let ([(part, rows)], [(next_part, next_rows)]) = (&self.batches[..], &next.batches[..]) else { return false };
        let bytes = BYTES_TOGETHER.min((options.fetch_bytes / 4).max(BYTES_TOGETHER_LEAST));
        self.paged_rows.is_none()
            && part == next_part
            && rows.len() + next_rows.len() <= options.batch_rows.min(ROWS_TOGETHER)
            && self.fetched_bytes + next.fetched_bytes <= bytes
    }

    /// Takes in another one, between which and this one so many bytes lie where they are of one object.
    fn add(&mut self, next: Self, gap: u64) {
        self.fetched_bytes += next.fetched_bytes;
        let more = next.batches.iter().map(|(_, rows)| rows.len()).sum::<usize>();
        self.batches.iter_mut().for_each(|(_, rows)| rows.end += more);
        for span in next.spans {
            match self.spans.last_mut() {
                Some(last) if last.object == span.object && last.row_groups.end == span.row_groups.start => {
                    self.fetched_bytes += gap;
                    last.row_groups.end = span.row_groups.end;
                }
                _ => self.spans.push(span),
            }
        }
    }
}

fn in_batches(ranges: Vec<(u64, Range<usize>)>, most: usize) -> Vec<(u64, Range<usize>)> {
    ranges.into_iter().flat_map(|(part, rows)| evenly(rows, most).map(move |rows| (part, rows))).collect()
}

/// A row group that is too large to be held: every batch is fetched by itself.
fn in_row_ranges(
    whole: &ReadTask,
    size: &RowGroupSize,
    ranges: Vec<(u64, Range<usize>)>,
    options: &ReadOptions,
) -> impl Iterator<Item = ReadTask> {
    let batches = in_batches(ranges, options.batch_rows.min(options.paged.rows));
    let task = |(part, rows): (u64, Range<usize>)| ReadTask {
        paged_rows: Some(rows.clone()),
        fetched_bytes: size.bytes_of(rows.len()) + options.paged.overhead_bytes,
        batches: vec![(part, rows)],
        ..whole.clone()
    };
    batches.into_iter().map(task)
}

/// Rows of each part of a Parquet input.
#[must_use]
pub fn part_rows(dataset: &Dataset) -> Vec<u64> {
    let mut parts = PartCutter::default();
    let mut rows_of_parts = Vec::new();
    for size in dataset.objects.iter().filter_map(|object| object.parquet.as_ref()).flat_map(ParquetFile::row_groups) {
        for (part, rows) in parts.cut(size.rows) {
            if rows_of_parts.len() as u64 <= part {
                rows_of_parts.push(0);
            }
            if let Some(of_part) = rows_of_parts.last_mut() {
                *of_part += rows.len() as u64;
            }
        }
    }
    rows_of_parts
}

/// Rows of the largest part of a Parquet input.
#[must_use]
pub fn largest_part_rows(dataset: &Dataset) -> u64 {
    largest_part(dataset, |_, _, rows| rows)
}

/// The largest part of a Parquet input by what so many rows of a row group count for: file, row group and rows are given.
pub fn largest_part(dataset: &Dataset, amount: impl Fn(&ParquetFile, usize, u64) -> u64) -> u64 {
    let mut parts = PartCutter::default();
    let (mut part, mut of_part, mut largest) = (0, 0, 0);
    for file in dataset.objects.iter().filter_map(|object| object.parquet.as_ref()) {
        for (group, size) in file.row_groups().iter().enumerate() {
            for (next, rows) in parts.cut(size.rows) {
                if next != part {
                    (part, of_part) = (next, 0);
                }
                of_part += amount(file, group, rows.len() as u64);
                largest = largest.max(of_part);
            }
        }
    }
    largest
}

/// Hands out the rows of row groups, in order, to parts.
#[derive(Debug, Default)]
struct PartCutter {
    part: u64,
    rows: u64,
}

impl PartCutter {
    /// The row ranges of the next row group, of `rows` rows, and the part of each.
    fn cut(&mut self, rows: usize) -> Vec<(u64, Range<usize>)> {
        let mut ranges = Vec::new();
        let mut start = 0;
        while start < rows {
            let end = rows.min(start + PART_ROWS as usize);
            if self.rows >= PART_ROWS {
                (self.part, self.rows) = (self.part + 1, 0);
            }
            ranges.push((self.part, start..end));
            self.rows += (end - start) as u64;
            start = end;
        }
        ranges
    }
}

/// Cuts rows into as few ranges of at most `most` as there can be, of about one size.
fn evenly(rows: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let batches = rows.len().div_ceil(most.max(1)).max(1);
    let size = rows.len().div_ceil(batches).max(1);
    rows.clone().step_by(size).map(move |start| start..rows.end.min(start + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_with_row_groups_and_large_row_groups_are_cut() {
        let mut parts = PartCutter::default();
        let half = PART_ROWS as usize / 2;
        assert_eq!(parts.cut(half + 1), [(0, 0..half + 1)]);
        assert_eq!(parts.cut(half), [(0, 0..half)]);
        assert_eq!(parts.cut(1), [(1, 0..1)]);
        let full = PART_ROWS as usize;
        assert_eq!(parts.cut(full + 5), [(1, 0..full), (2, full..full + 5)]);
    }

    #[test]
    fn batches_cover_every_row_once_and_are_of_about_one_size() {
        for (rows, most) in [(0..1, 1), (5..1_000, 7), (3..1 << 20, 65_536), (0..100, 1 << 20), (0..131_073, 131_072)] {
            let mut next = rows.start;
            let ranges: Vec<_> = evenly(rows.clone(), most).collect();
            for range in &ranges {
                assert_eq!(range.start, next);
                assert!(range.len() <= most && range.len() + ranges.len() >= ranges[0].len());
                next = range.end;
            }
            assert_eq!(next, rows.end);
            assert_eq!(ranges.len(), rows.len().div_ceil(most));
        }
    }
}
