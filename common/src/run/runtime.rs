//! The threads that a program runs on, and the end of every run: an outcome, whatever happened.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures::FutureExt;

use super::Limits;
use crate::Error;
use crate::telemetry::{Outcome, Summary, Telemetry, defect};

/// The exit code of a run that was stopped.
const STOPPED: u8 = 143;

/// Runs a program's flow on as many threads as it may use and ends with its exit code. A panic ends as a defect.
pub fn block_on<Flow>(limits: &Limits, telemetry: Telemetry, flow: impl FnOnce(Telemetry) -> Flow) -> ExitCode
where
    Flow: Future<Output = (Outcome, Telemetry)>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(limits.threads.value.max(2))
        .max_blocking_threads(limits.threads.value.max(2) * 4 + 8)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return telemetry.fail(&Error::Resources(format!("no threads can be started: {error}"))),
    };
    let summary = Summary::new(telemetry.run_id());
    let last_words = telemetry.clone();
    let caught = runtime.block_on(AssertUnwindSafe(flow(telemetry)).catch_unwind());
    // What still reads or decodes is of no use any more.
    runtime.shutdown_background();
    match caught {
        Ok((outcome, telemetry)) if outcome.exit_code() == STOPPED => {
            telemetry.finish(&outcome);
            // A thread may still be inside a C++ library, whose destructors must not run under it.
            signal_hook::low_level::exit(STOPPED.into())
        }
        Ok((outcome, telemetry)) => telemetry.finish(&outcome),
        Err(panic) => last_words.finish(&summary.failed(&defect(panic.as_ref()))),
    }
}
