//! One run of a program: what it is called, what stops it, and what it may use of the machine.

mod cgroup;
pub mod ecs;
pub mod environment;
mod http;
pub mod id;
pub mod limits;
pub mod runtime;
pub mod shutdown;
pub mod threads;
pub mod usage;

pub use http::HttpError;
pub use id::{InvalidId, ModelVersion, RunId};
pub use limits::{Explicit, Limits};
pub use shutdown::Shutdown;

/// What tells a run to stop and what it may use: the first two things that a program finds out once it has a log. `announce` writes
/// the first line of that. Whether the system lets the run have its threads is checked here, before any other is started.
///
/// # Errors
/// [`Error::Resources`](crate::Error::Resources) where nothing tells how much memory there is, or threads are refused.
pub fn begin(explicit: Explicit, announce: impl FnOnce(&Limits)) -> crate::Result<(Limits, Shutdown)> {
    let shutdown = Shutdown::install();
    let limits = Limits::detect(explicit)?;
    announce(&limits);
    // Before the error of `install`: it says how many threads are needed.
    threads::check(limits.threads.value)?;
    Ok((limits, shutdown?))
}

/// The time now, RFC 3339 in UTC, as every file that the programs write states it.
#[must_use]
pub fn now_rfc3339() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
