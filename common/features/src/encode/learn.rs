//! What is learnt from the training rows: levels and statistics.

use polars::prelude::PlHashMap;

use crate::quality::Statistics;

/// The levels of a category and how often each came.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// Most frequent first; equally frequent ones in the order of their text.
    pub levels: Vec<String>,
    /// Shares of levels, then of missing, in the training rows.
    pub statistics: Statistics,
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
