//! From columns to the matrix: learnt once from the training rows, carried in the model, applied everywhere.

mod apply;
mod bad_rows;
mod counts;
mod expression_columns;
mod feature;
mod learn;
mod level_table;
mod parse_cells;
mod release_1;
pub mod target;
mod usual_number;
pub mod values;

pub use apply::Encoder;
pub use bad_rows::{BadRows, UnreadableCells};
pub use counts::LevelCounts;
pub use expression_columns::{evaluate_text, rows_where, value_type};
pub use feature::{Feature, FeatureSource, Kind};
pub use learn::{Vocabulary, learn_number};
pub use parse_cells::LevelTexts;
