//! How good the cells are, and how far they have moved from the training rows.

mod drift;
mod profile;
mod statistics;
mod tally;

pub use drift::{DRIFT_WARNING, drift_between, population_stability_index};
pub use profile::{ColumnProfile, LEAST_ROWS_OF_A_NAMED_LEVEL, Role, profile};
pub use statistics::{QUANTILES, Statistics};
pub use tally::{FeatureTally, data_quality_score};
