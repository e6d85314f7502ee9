//! What a run is given besides its settings.

use machine::{Limits, RunId, Shutdown};
use telemetry::Telemetry;

/// What a run is given besides its settings.
#[derive(Debug)]
pub struct Context {
    /// Id of the run.
    pub run_id: RunId,
    /// Threads and memory it may use.
    pub limits: Limits,
    /// Tells when it has to stop.
    pub shutdown: Shutdown,
    /// Logs, metrics, progress.
    pub telemetry: Telemetry,
}
