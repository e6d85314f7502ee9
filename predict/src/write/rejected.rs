//! Rejected rows of a part. All rows of an input may be rejected, so until they are written they take no more memory than
//! predictions do: an id as it came, a byte for the reason and four for the row.

use std::sync::Arc;

use bytes::Bytes;
use columns::text::canonical_text;
use error::{Error, Result};
use polars::prelude::{
    BooleanChunked, ChunkFull, DataFrame, IntoColumn, NamedFrom, NewChunkedArray, Series, StringChunked,
};
use serde::{Deserialize, Serialize};
use table::write::row_groups_to_parquet;

/// Rejected rows by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectCounts {
    /// The id is null.
    pub null_id: u64,
    /// The id repeats that of a row above.
    pub duplicate_id: u64,
    /// A cell does not parse as its feature's type.
    pub bad_value: u64,
}

impl RejectCounts {
    pub(super) fn count(&mut self, reason: Reason) {
        match reason {
            Reason::NullId => self.null_id += 1,
            Reason::DuplicateId => self.duplicate_id += 1,
            Reason::BadValue => self.bad_value += 1,
        }
    }

    /// The sum with other counts, unless that is more than can be counted.
    pub(super) fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self {
            null_id: self.null_id.checked_add(other.null_id)?,
            duplicate_id: self.duplicate_id.checked_add(other.duplicate_id)?,
            bad_value: self.bad_value.checked_add(other.bad_value)?,
        })
    }

    /// All of them, unless that is more than can be counted.
    pub(crate) fn checked_total(&self) -> Option<u64> {
        self.null_id.checked_add(self.duplicate_id)?.checked_add(self.bad_value)
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.null_id + self.duplicate_id + self.bad_value
    }

    /// Adds the counts of another part.
    pub fn add(&mut self, other: &Self) {
        self.null_id += other.null_id;
        self.duplicate_id += other.duplicate_id;
        self.bad_value += other.bad_value;
    }
}

/// Rows that are brought to text at a time, which are a row group of the file.
const ROWS_AT_A_TIME: usize = 1 << 16;

/// Why a row is not predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    NullId,
    DuplicateId,
    BadValue,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::NullId => "null_id",
            Self::DuplicateId => "duplicate_id",
            Self::BadValue => "bad_value",
        }
    }
}

/// The rejected rows of a part, in input order.
#[derive(Debug, Default)]
pub struct RejectedRows {
    batches: Vec<RejectedBatch>,
    counts: RejectCounts,
}

/// Those of one batch.
#[derive(Debug)]
struct RejectedBatch {
    /// As they came.
    ids: Series,
    reasons: Vec<Reason>,
    /// The object that they come from.
    source: Arc<str>,
    /// Number of the batch's first row within the object.
    first_row: u64,
    /// Which rows of the batch.
    rows: Vec<u32>,
}

impl RejectedRows {
    /// Bytes that a rejected row takes besides its id until it is written.
    pub const ROW_BYTES: u64 = (size_of::<Reason>() + size_of::<u32>()) as u64;

    /// How many there are, by reason.
    #[must_use]
    pub(super) fn counts(&self) -> RejectCounts {
        self.counts
    }

    /// Takes in the rows of a batch that have a reason. `ids` are those of all its rows.
    pub(super) fn add(
        &mut self,
        ids: &Series,
        first_row: u64,
        verdicts: &[Option<Reason>],
        source: Arc<str>,
    ) -> Result<()> {
        let is_rejected: Vec<bool> = verdicts.iter().map(Option::is_some).collect();
        let ids =
            ids.filter(&BooleanChunked::from_slice("rejected".into(), &is_rejected)).map_err(|error| defect(&error))?;
        let reasons: Vec<Reason> = verdicts.iter().flatten().copied().collect();
        reasons.iter().for_each(|reason| self.counts.count(*reason));
        let rows = (0_u32..).zip(&is_rejected).filter(|(_, is_rejected)| **is_rejected).map(|(row, _)| row).collect();
        self.batches.push(RejectedBatch { ids, reasons, source, first_row, rows });
        Ok(())
    }

    /// The rows as a Parquet file, a batch after the other, each freed when it is written; none where there are no rows.
    ///
    /// # Errors
    /// [`Error::Data`] where ids have a type that cannot be one.
    pub fn into_parquet(self) -> Result<Option<(Bytes, u64)>> {
        let rows = self.counts.total();
        let mut frames = self.batches.into_iter().flat_map(RejectedBatch::into_frames).peekable();
        // Batches may be small, and a row group for each would make a large file.
        let row_groups = std::iter::from_fn(move || {
            let mut frame = match frames.next()? {
                Ok(frame) => frame,
                failed => return Some(failed),
            };
            let fits = |frame: &DataFrame, next: &Result<DataFrame>| {
                next.as_ref().is_ok_and(|next| frame.height() + next.height() <= ROWS_AT_A_TIME)
            };
            while let Some(next) = frames.next_if(|next| fits(&frame, next)) {
                if let Err(error) =
                    next.and_then(|next| frame.vstack_mut(&next).map(drop).map_err(|error| defect(&error)))
                {
                    return Some(Err(error));
                }
            }
            Some(Ok(frame))
        });
        Ok(row_groups_to_parquet(row_groups)?.map(|bytes| (bytes, rows)))
    }
}

impl RejectedBatch {
    /// The rows, some at a time.
    fn into_frames(self) -> impl Iterator<Item = Result<DataFrame>> {
        let rows = self.rows.len();
        (0..rows).step_by(ROWS_AT_A_TIME).map(move |start| self.frame(start..rows.min(start + ROWS_AT_A_TIME)))
    }

    /// Some of the rows, as people read them.
    fn frame(&self, range: std::ops::Range<usize>) -> Result<DataFrame> {
        let ids = self.ids.slice(range.start as i64, range.len());
        let ids = canonical_text(&ids)?;
        let reasons: Vec<&str> = self.reasons[range.clone()].iter().map(|reason| reason.name()).collect();
        let rows: Vec<i64> =
            self.rows[range.clone()].iter().map(|row| (self.first_row + u64::from(*row)) as i64).collect();
        let columns = vec![
            ids.into_owned().with_name("id".into()).into_column(),
            Series::new("reason".into(), reasons).into_column(),
            StringChunked::full("source".into(), &self.source, range.len()).into_column(),
            Series::new("row".into(), rows).into_column(),
        ];
        DataFrame::new(range.len(), columns).map_err(|error| defect(&error))
    }
}

fn defect(error: &polars::prelude::PolarsError) -> Error {
    Error::Defect(error.to_string())
}

#[cfg(test)]
mod tests {

    use polars::prelude::DataType;
    use testkit::tables::read_parquet;

    use super::*;

    #[test]
    fn rows_are_written_in_order_with_reason_source_and_row() {
        let mut rejected = RejectedRows::default();
        let ids = Series::new("customer".into(), [Some(7_i64), None, Some(7), Some(8)]);
        let verdicts = [None, Some(Reason::NullId), Some(Reason::DuplicateId), Some(Reason::BadValue)];
        rejected.add(&ids, 1 << 40, &verdicts, "a/part.csv".into()).unwrap();
        rejected.add(&ids, 0, &[None; 4], "b.csv".into()).unwrap();
        rejected.add(&ids, 5, &[Some(Reason::DuplicateId); 4], "b.csv".into()).unwrap();
        let counts = rejected.counts();
        assert_eq!((counts.null_id, counts.duplicate_id, counts.bad_value), (1, 5, 1));
        let (bytes, rows) = rejected.into_parquet().unwrap().unwrap();
        assert_eq!(rows, 7);
        let frame = read_parquet(&bytes);
        let texts = |name: &str| {
            let column = frame.column(name).unwrap().clone();
            column.str().unwrap().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        let ids = [None, Some("7"), Some("8"), Some("7"), None, Some("7"), Some("8")];
        assert_eq!(texts("id"), ids.map(|id| id.map(str::to_owned)));
        assert_eq!(texts("reason")[..3], ["null_id", "duplicate_id", "bad_value"].map(|name| Some(name.to_owned())));
        assert_eq!(texts("source")[2..4], ["a/part.csv", "b.csv"].map(|name| Some(name.to_owned())));
        let numbers: Vec<i64> = frame.column("row").unwrap().i64().unwrap().iter().flatten().collect();
        assert_eq!(numbers, [(1 << 40) + 1, (1 << 40) + 2, (1 << 40) + 3, 5, 6, 7, 8]);
        assert_eq!(frame.column("id").unwrap().dtype(), &DataType::String);
    }

    #[test]
    fn many_rows_are_some_row_groups_and_none_are_no_file() {
        let mut rejected = RejectedRows::default();
        let rows = ROWS_AT_A_TIME + 5;
        let ids = Series::new("id".into(), vec!["a text that is longer than a view"; rows]);
        rejected.add(&ids, 0, &vec![Some(Reason::DuplicateId); rows], "a".into()).unwrap();
        rejected.add(&ids, 0, &[Some(Reason::DuplicateId); 10], "a".into()).unwrap_err();
        rejected.add(&ids.head(Some(10)), 0, &[Some(Reason::DuplicateId); 10], "b".into()).unwrap();
        let (bytes, count) = rejected.into_parquet().unwrap().unwrap();
        assert_eq!(count, rows as u64 + 10);
        assert_eq!(read_parquet(&bytes).height(), rows + 10);
        assert!(RejectedRows::default().into_parquet().unwrap().is_none());
    }
}
