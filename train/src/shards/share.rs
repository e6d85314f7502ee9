//! Which rows of a table are a shard's: those of some of the row groups that follow one another.

use std::ops::Range;

use machine::Shard;
use table::LoadableTable;

use crate::read::{Rows, TrainingData};

/// What one of several tasks reads of the features. Places are those of rows in their table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// Of the training rows.
    pub(crate) train: Range<usize>,
    /// Of the held-out rows.
    pub(crate) test: Range<usize>,
}

impl Share {
    /// That of one of `members` tasks, the first of which always has held-out rows.
    pub(crate) fn of(data: &TrainingData, index: usize, members: usize) -> Self {
        let of = |rows: &Rows| {
            let groups = groups_with(&data.tables[rows.table], rows);
            let share = share_of(groups.len(), index, members);
            match (groups.get(share.start), groups[share.clone()].last()) {
                (Some(first), Some(last)) => first.start..last.end,
                _ => 0..0,
            }
        };
        Self { train: of(&data.train), test: of(&data.test) }
    }
}

/// How many of the tasks have something to do: each of them needs a row group with training rows.
pub(crate) fn members(data: &TrainingData, shard: Shard) -> usize {
    let groups = groups_with(&data.tables[data.train.table], &data.train).len();
    groups.min(usize::try_from(shard.count()).unwrap_or(usize::MAX))
}

/// The places of the row groups that hold some of the rows.
fn groups_with(table: &LoadableTable, rows: &Rows) -> Vec<Range<usize>> {
    let groups = table.row_ranges().into_iter().flat_map(|range| table.row_groups_of(&range));
    groups.filter(|places| holds_some(rows, places)).collect()
}

fn holds_some(rows: &Rows, places: &Range<usize>) -> bool {
    let first = rows.places.partition_point(|&place| (place as usize) < places.start);
    rows.places.get(first).is_some_and(|&place| (place as usize) < places.end)
}

/// The share of so many things in a row: those of all tasks follow one another and differ by one at most. Where there are fewer things
/// than tasks, the first task has one.
fn share_of(things: usize, index: usize, members: usize) -> Range<usize> {
    let before = |index: usize| (things * index).div_ceil(members.max(1));
    before(index)..before(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_one_another_and_the_first_is_never_empty() {
        for things in [1, 2, 3, 10, 1_001] {
            for members in [1, 2, 4, 7] {
                let shares: Vec<_> = (0..members).map(|index| share_of(things, index, members)).collect();
                assert!(!shares[0].is_empty());
                assert_eq!((shares[0].start, shares[members - 1].end), (0, things));
                assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
                assert!(shares.iter().all(|share| share.len().abs_diff(things / members) <= 1));
                assert!(things < members || shares.iter().all(|share| !share.is_empty()));
            }
        }
    }

    #[test]
    fn row_groups_without_a_row_are_nobody_s() {
        let rows = Rows { places: vec![3, 9], ..Rows::default() };
        let held: Vec<bool> =
            [0..3, 3..4, 4..9, 9..10, 10..12].iter().map(|places| holds_some(&rows, places)).collect();
        assert_eq!(held, [false, true, false, true, false]);
    }
}
