//! The only place that knows XGBoost's C API: matrices, boosters and parameters behind safe types.
//!
//! It must not know tables, storage or the programs. Begin reading at [`DMatrix`] and [`Booster`]. The crate `xgboost-rs` was weighed: it
//! is XGBoost 1.6, without quantile matrices, categories and in-place prediction.
//!
//! Habits of this module: a handle is a [`NonNull`](std::ptr::NonNull) with a `Drop`; every call's return code goes
//! through one check that reads XGBoost's message on the same thread at once; whatever XGBoost hands out is copied
//! before the next call; what XGBoost says goes to `tracing`, never to standard output.
//!
//! A training run is repeatable, and a run that was interrupted between two rounds ends with the same bytes as an
//! undisturbed one, when the number of threads is the same and `seed_per_iteration` is on (see
//! [`Booster::serialize`]).

mod booster;
pub mod collective;
mod columns;
mod dmatrix;
mod error;
mod feed;
mod log;
mod model;
pub mod params;
mod source;
mod trial;

pub use booster::{Booster, Evaluation, PredictionKind};
pub use columns::{Batch, Column, Values};
pub use dmatrix::{DMatrix, QuantileOptions};
pub use error::XgboostError;
pub use model::Importance;
pub use params::{ParamError, Params};
pub use source::{BatchSource, Feature, FeatureKind};
pub use trial::dry_run;

/// The XGBoost release that the bindings, the table of parameters and the bit-for-bit tests were made for.
pub const EXPECTED_VERSION: (u32, u32, u32) = (3, 4, 1);

/// The version of the library that is loaded, as (major, minor, patch).
#[must_use]
pub fn version() -> (u32, u32, u32) {
    error::library_version()
}

/// Refuses to run with a library that this program was not made for. Call it once, at the start.
///
/// Patch releases of 3.4 from 3.4.1 on are accepted. Another minor release is not, although its C API would fit: it may
/// know other parameters and sum in another order, and what this program promises (predictions that are equal to the
/// bit, resumed runs with the same bytes) has been tested with 3.4 only.
///
/// # Errors
/// [`XgboostError::Version`] names the version found and the one needed.
pub fn check_version() -> Result<(), XgboostError> {
    log::listen();
    accept(version())
}

/// The rule of [`check_version`], for any version.
fn accept(found: (u32, u32, u32)) -> Result<(), XgboostError> {
    let (major, minor, patch) = EXPECTED_VERSION;
    if found.0 == major && found.1 == minor && found.2 >= patch {
        return Ok(());
    }
    Err(XgboostError::Version { found: format!("{}.{}.{}", found.0, found.1, found.2) })
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod collective_tests;

#[cfg(test)]
mod matrix_tests;

#[cfg(test)]
mod resume_tests;

#[cfg(test)]
mod average_models_tests;

#[cfg(test)]
mod rescale_tests;
