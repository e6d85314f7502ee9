//! What is learnt from the training rows: levels and statistics.

use polars::prelude::PlHashMap;

use crate::quality::Statistics;

/// The levels of a category and how often each came.
#[derive(Debug, Clone, PartialEq)]
pub struct Learnt {
    /// Most frequent first; equally frequent ones in the order of their text.
    pub levels: Vec<String>,
    /// Shares of levels, then of missing, in the training rows.
    pub statistics: Statistics,
}

/// Counts the values of a category, keeps the `max_levels` most frequent and treats the rest as missing.
pub fn learn_category<'a>(cells: impl Iterator<Item = Option<&'a str>>, max_levels: usize) -> Learnt {
    let mut counts: PlHashMap<&str, u64> = PlHashMap::default();
    let mut rows = 0_u64;
    let mut missing = 0_u64;
    for cell in cells {
        rows += 1;
        match cell {
            Some(level) => *counts.entry(level).or_default() += 1,
            None => missing += 1,
        }
    }
    let distinct = counts.len() as u64;
    let kept = levels_by_frequency(counts, max_levels);
    let counted: u64 = kept.iter().map(|(_, count)| count).sum();
    let level_counts: Vec<u64> = kept.iter().map(|(_, count)| *count).collect();
    let statistics = Statistics::of_levels(rows, missing, rows - missing - counted, &level_counts);
    let statistics = Statistics { distinct: Some(distinct), ..statistics };
    Learnt { levels: kept.into_iter().map(|(level, _)| level.to_owned()).collect(), statistics }
}

/// The most frequent levels first, ties by text, so that the order depends on the rows alone and not on their order.
#[must_use]
pub fn levels_by_frequency(counts: PlHashMap<&str, u64>, max_levels: usize) -> Vec<(&str, u64)> {
    let mut levels: Vec<(&str, u64)> = counts.into_iter().collect();
    levels.sort_unstable_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
    levels.truncate(max_levels);
    levels
}

/// Statistics of a feature that is a number, over its encoded values (NaN is missing).
#[must_use]
pub fn learn_number(values: &[f32]) -> Statistics {
    Statistics::of_numbers(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_levels_come_first_and_the_rest_is_left_out() {
        let cells = ["b", "a", "b", "c", "a", "b"].map(Some).into_iter().chain([None]);
        let learnt = learn_category(cells, 2);
        assert_eq!(learnt.levels, ["b", "a"]);
        let shares = &learnt.statistics.shares;
        assert_eq!(learnt.statistics.distinct, Some(3), "the one left out too");
        assert_eq!(shares.len(), 3);
        assert!((shares[0] - 3.0 / 7.0).abs() < 1e-12);
        assert!((shares[2] - 2.0 / 7.0).abs() < 1e-12, "the level left out counts as missing: {shares:?}");
    }

    #[test]
    fn ties_are_broken_by_text() {
        let learnt = learn_category(["y", "x"].map(Some).into_iter(), 10);
        assert_eq!(learnt.levels, ["x", "y"]);
    }
}
