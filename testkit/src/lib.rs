//! Test support: the built programs, tables to feed them, a real S3 server.

#![allow(clippy::expect_used, clippy::panic, reason = "for tests only: what is missing here ends the test")]

pub mod disk;
pub mod program;
pub mod random;
pub mod s3;
pub mod tables;
