//! What is learnt from the training rows: levels and statistics.

use crate::quality::Statistics;

/// The levels of a category and how often each came.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// Most frequent first; equally frequent ones in the order of their text.
    pub levels: Vec<String>,
    /// Shares of levels, then of missing, in the training rows.
    pub statistics: Statistics,
}

/// Statistics of a feature that is a number, over its encoded values (NaN is missing).
#[must_use]
pub fn learn_number(values: &[f32]) -> Statistics {
    Statistics::of_numbers(values)
}
