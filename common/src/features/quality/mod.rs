//! How good the cells are, and how far they have moved from the training rows.

mod drift;
mod statistics;
mod tally;

pub use drift::{DRIFT_WARNING, population_stability_index};
pub use statistics::Statistics;
pub use tally::{FeatureTally, data_quality_score};
