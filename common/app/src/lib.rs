//! What the programs share around their flows: settings, the runtime, and how a run begins.
//!
//! It must not know what a program does with its settings. Begin reading at [`settings`].
#![forbid(unsafe_code)]

pub mod settings;

mod begin;
mod context;
pub mod runtime;
mod start;

pub use begin::begin;
pub use context::Context;
pub use start::{prepare, start};
