//! What `train` and `predict` share.
//!
//! Modules in the order of the data: settings say where, storage brings bytes, tables make columns of them, features
//! make a matrix, XGBoost and the compiled scorer make predictions, evaluation judges, the registry publishes, and
//! telemetry tells.

pub mod error;
pub mod scoring;
pub mod storage;

pub use error::{Error, Result};
