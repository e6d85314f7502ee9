//! Test support.

pub mod s3;
