//! Test support: the built programs, tables to feed them, a real S3 server and a bad line to it.

#![allow(clippy::expect_used, clippy::panic, reason = "for tests only: what is missing here ends the test")]

pub mod damage;
pub mod disk;
pub mod faults;
pub mod program;
pub mod random;
pub mod s3;
pub mod tables;
