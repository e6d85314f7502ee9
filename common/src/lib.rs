//! What `train` and `predict` share.
//!
//! Modules in the order of the data: settings say where, storage brings bytes, tables make columns of them, features
//! make a matrix, XGBoost and the compiled scorer make predictions, evaluation judges, the registry publishes, and
//! telemetry tells.

pub mod settings;

pub mod storage;

pub mod columns;

pub mod table;

pub mod features;

pub mod xgboost;

pub mod scoring;

pub mod evaluation;

pub mod registry;

pub mod telemetry;

pub mod run;

pub mod error;
pub mod panics;
mod text;

pub use error::{Error, Result};
