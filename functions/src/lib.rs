//! The pipeline's Lambda functions. Begin reading at [`serve()`]; each function is a module of its own.
//!
//! All may be called again with the same event and are killed at any moment: what decides a run is written once, by a conditional
//! write, and every query is asked under a token that a retry joins.
#![forbid(unsafe_code)]

pub mod athena;
pub mod context;
pub mod event;
pub mod failure;
pub mod objects;
pub mod settings;
pub mod tables;
pub mod user_sql;

pub mod create_qa_table;
pub mod create_results_table;
pub mod data_prep;
pub mod inference_prep;
pub mod pre_cleanup;
pub mod update_kb;

mod serve;

pub use serve::{Function, serve};
