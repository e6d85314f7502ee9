//! Settings: flags over environment variables over defaults, the same way in both programs.

mod parse;
mod shared;
mod values;

pub use parse::{Parsed, parse};
pub use shared::{CsvArgs, ModelStoreArgs, SharedArgs};
pub use values::{ByteSize, Fraction, Positive, boolish, column_name, finite, model_name};
