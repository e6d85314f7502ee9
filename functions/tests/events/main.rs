//! The functions as Lambda runs them: the real program, a Runtime API that hands it events, a real S3 server, and Athena played by
//! DuckDB (`../athena.py`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that is wrong ends")]
#![allow(clippy::print_stderr, reason = "what a function logged is shown where its test fails")]

mod athena;
mod bucket;
mod lambda;
mod place;

mod cleanup;
mod data_prep;
mod kills;
mod pipeline;
