//! How often each level of a category comes, counted a few rows at a time.

use polars::prelude::PlHashMap;

use super::learn::Vocabulary;
use crate::quality::Statistics;

/// Levels of a category and how often each came. Only different levels take memory.
#[derive(Debug, Default, Clone)]
pub struct LevelCounts {
    counts: PlHashMap<String, u64>,
    rows: u64,
    missing: u64,
    bytes: u64,
}

/// What a level takes besides its text: its place in the table, of which up to half is empty, and the allocation.
const LEVEL: u64 = 64;

impl LevelCounts {
    /// Counts the cell of one row.
    pub fn add(&mut self, cell: Option<&str>) {
        self.add_rows(cell, 1);
    }

    /// Counts the cell of so many rows.
    pub fn add_rows(&mut self, cell: Option<&str>, rows: u64) {
        self.rows += rows;
        match cell {
            Some(level) => {
                let before = self.counts.len();
                *self.counts.entry_ref(level).or_default() += rows;
                if self.counts.len() > before {
                    self.bytes += LEVEL + level.len() as u64;
                }
            }
            None => self.missing += rows,
        }
    }

    /// What the levels take in memory, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every level and in how many rows it came, most frequent first, ties by text, so that the order depends on the rows alone and
    /// not on their order.
    #[must_use]
    pub fn by_frequency(&self) -> Vec<(&str, u64)> {
        let mut levels: Vec<(&str, u64)> = self.counts.iter().map(|(level, &count)| (level.as_str(), count)).collect();
        levels.sort_unstable_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
        levels
    }

    /// Keeps the first `max_levels` of these levels, which are [`LevelCounts::by_frequency`], and treats the rest as missing.
    #[must_use]
    pub fn vocabulary(&self, by_frequency: &[(&str, u64)], max_levels: usize) -> Vocabulary {
        let kept = &by_frequency[..max_levels.min(by_frequency.len())];
        let counted: u64 = kept.iter().map(|(_, count)| count).sum();
        let level_counts: Vec<u64> = kept.iter().map(|(_, count)| *count).collect();
        let not_kept = self.rows - self.missing - counted;
        let statistics = Statistics::of_levels(self.rows, self.missing, not_kept, &level_counts);
        let statistics = Statistics { distinct: Some(self.counts.len() as u64), ..statistics };
        Vocabulary { levels: kept.iter().map(|(level, _)| (*level).to_owned()).collect(), statistics }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary<'a>(cells: impl Iterator<Item = Option<&'a str>>, max_levels: usize) -> Vocabulary {
        let mut counts = LevelCounts::default();
        cells.for_each(|cell| counts.add(cell));
        counts.vocabulary(&counts.by_frequency(), max_levels)
    }

    #[test]
    fn the_most_frequent_levels_come_first_and_the_rest_is_left_out() {
        let cells = ["b", "a", "b", "c", "a", "b"].map(Some).into_iter().chain([None]);
        let learnt = vocabulary(cells, 2);
        assert_eq!(learnt.levels, ["b", "a"]);
        let shares = &learnt.statistics.shares;
        assert_eq!(learnt.statistics.distinct, Some(3), "the one left out too");
        assert_eq!(shares.len(), 3);
        assert!((shares[0] - 3.0 / 7.0).abs() < 1e-12);
        assert!((shares[2] - 2.0 / 7.0).abs() < 1e-12, "the level left out counts as missing: {shares:?}");
    }

    #[test]
    fn ties_are_broken_by_text() {
        assert_eq!(vocabulary(["y", "x"].map(Some).into_iter(), 10).levels, ["x", "y"]);
    }
}
