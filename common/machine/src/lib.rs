//! What the process is and what it may use: its run id, its environment, its limits, its threads, the signals that stop it.
//!
//! It must not know what the programs do, nor how they tell it. Begin reading at [`limits`].
#![forbid(unsafe_code)]

mod cgroup;
pub mod ecs;
pub mod env;
pub mod files;
mod http;
pub mod id;
pub mod limits;
pub mod memory;
pub mod reexec;
pub mod rlimits;
pub mod shard;
pub mod shutdown;
pub mod tasks;
pub mod threads;
pub mod usage;

pub use http::HttpError;
pub use id::{InvalidId, ModelVersion, RunId};
pub use limits::{Explicit, Limits};
pub use shard::{InvalidShard, Shard};
pub use shutdown::Shutdown;

/// The time now, RFC 3339 in UTC, as every file that the programs write states it.
#[must_use]
pub fn now_rfc3339() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
