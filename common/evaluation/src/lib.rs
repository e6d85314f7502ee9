//! How good a model is, whether that is good enough, and which rows may tell. Pure: no I/O, no clock, seeded where chance is needed.
//!
//! It must not know tables, models or settings: it takes numbers and texts. Begin reading at [`Scores`] and [`Gate`].
#![forbid(unsafe_code)]

mod bootstrap;
mod conformal;
mod exact_sum;
mod gate;
mod metrics;
mod pairs;
pub mod split;

pub use bootstrap::{Interval, Paired, R2Drop, RESAMPLES, r2_drop, r2_interval};
pub use conformal::{
    Coverage, CoverageSums, Ends, ErrorQuantiles, coverage_by_tenths, interval, is_interval_level, rows_needed,
};
pub use exact_sum::ExactSum;
pub use gate::{Check, Evidence, Gate, Previous, SliceColumn, Verdict};
pub use metrics::{MetricError, Scores, Slice, scores, scores_by_slice};
pub use pairs::{PairErrors, PairSums, r2_interval_of_groups};

/// The name of the slice of rows that have no value in its column.
pub const MISSING_SLICE: &str = "(missing)";
