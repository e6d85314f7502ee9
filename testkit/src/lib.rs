//! Test support.

#![allow(clippy::expect_used, clippy::panic, reason = "for tests only: what is missing here ends the test")]

pub mod s3;
