//! Row groups that follow one another, as one run of rows: small ones are not worth being decoded, encoded and scored each by
//! itself.

use std::ops::Range;

use polars::prelude::Series;

use super::RowGroup;
use columns::{CodedRows, ColumnSource};
use error::{Error, Result};

/// The fetched bytes of some columns of row groups of one table, in the order of their rows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RowRun {
    groups: Vec<RowGroup>,
    rows: usize,
}

impl RowRun {
    /// All rows of the row groups.
    #[must_use]
    pub fn new(groups: Vec<RowGroup>) -> Self {
        let rows = groups.iter().map(ColumnSource::rows).sum();
        Self { groups, rows }
    }

    /// The same bytes, of which only `rows` (counted within the run) will be decoded.
    #[must_use]
    pub fn narrowed(&self, rows: Range<usize>) -> Self {
        let (mut groups, mut first) = (Vec::new(), 0);
        for group in &self.groups {
            let count = group.rows();
            let within = rows.start.clamp(first, first + count) - first..rows.end.clamp(first, first + count) - first;
            if within.len() == count && count > 0 {
                groups.push(group.clone());
            } else if !within.is_empty() {
                groups.push(group.within(within));
            }
            first += count;
        }
        if groups.is_empty() {
            groups.extend(self.groups.first().map(|group| group.within(0..0)));
        }
        Self::new(groups)
    }
}

impl From<RowGroup> for RowRun {
    fn from(group: RowGroup) -> Self {
        Self::new(vec![group])
    }
}

impl ColumnSource for RowRun {
    fn rows(&self) -> usize {
        self.rows
    }

    fn column(&self, name: &str) -> Result<Series> {
        let Some((first, others)) = self.groups.split_first() else {
            return Err(Error::Defect(format!("column \"{name}\" of no row group was asked for")));
        };
        let mut column = first.column(name)?;
        if others.is_empty() {
            return Ok(column);
        }
        for group in others {
            let more = group.column(name)?;
            column.append_owned(more).map_err(|error| Error::Defect(format!("column \"{name}\": {error}")))?;
        }
        // Places are looked up one by one later, which takes long in many chunks.
        Ok(column.rechunk())
    }

    fn coded_column(&self, name: &str) -> Option<Vec<CodedRows>> {
        if !self.groups.iter().all(|group| group.is_by_dictionary(name)) {
            return None;
        }
        self.groups.iter().map(|group| group.by_dictionary(name)).collect()
    }

    fn numbers(&self, name: &str, take: &mut dyn FnMut(&mut [f64])) -> Option<()> {
        if !self.groups.iter().all(|group| group.has_plain_numbers(name)) {
            return None;
        }
        self.groups.iter().try_for_each(|group| group.numbers(name, take))
    }
}
