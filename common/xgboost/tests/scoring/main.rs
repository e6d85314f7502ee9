//! The compiled scorer against XGBoost 3.4.1, every bit, on every instruction set that the machine has.
// Clippy takes only functions marked as tests for tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contributions;
mod exactness;
mod hostile;
mod plan;
mod random;
mod xgb;
