//! One run of a program: what it is called, what stops it, and what it may use of the machine.

mod cgroup;
pub mod ecs;
pub mod environment;
mod http;
pub mod id;
pub mod limits;
pub mod runtime;
pub mod shutdown;
pub mod usage;

pub use http::HttpError;
pub use id::{InvalidId, ModelVersion, RunId};
pub use limits::{Explicit, Limits};
pub use shutdown::Shutdown;

/// The time now, RFC 3339 in UTC, as every file that the programs write states it.
#[must_use]
pub fn now_rfc3339() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
