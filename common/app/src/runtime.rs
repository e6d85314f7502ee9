//! The threads that a program runs on, and the end of every run: an outcome, whatever happened.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Runtime;

use error::{Error, Result};
use machine::shutdown::end_now;
use machine::tasks::defect;
use machine::{Limits, files, threads};
use telemetry::{Outcome, Summary, Telemetry};

/// Blocking work waits for other blocking work three deep at most, but for the headers of CSV objects: as many threads stand
/// ready from the start and for ever, so that a run goes on, slowly, where the system refuses every further one.
const STANDING: usize = 4;
/// A thread for blocking work that has nothing to do stays: it may not be had again.
const KEEP_ALIVE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs a program's flow on as many threads as it may use and ends with its exit code. A panic ends as a defect.
pub fn block_on<Flow>(limits: &Limits, telemetry: Telemetry, flow: impl FnOnce(Telemetry) -> Flow) -> ExitCode
where
    Flow: Future<Output = (Outcome, Telemetry)>,
{
    let runtime = match build(limits.threads.value) {
        Ok(runtime) => runtime,
        Err(error) => return telemetry.fail(&error),
    };
    let summary = Summary::new(telemetry.run_id());
    let last_words = telemetry.clone();
    let caught = runtime.block_on(AssertUnwindSafe(flow(telemetry)).catch_unwind());
    let (outcome, telemetry) = match caught {
        Ok(ended) => ended,
        Err(panic) => (summary.failed(&defect(panic.as_ref())), last_words),
    };
    let code = telemetry.finish(&outcome);
    match outcome.exit_code() {
        0 => {
            // What still reads or decodes is of no use any more.
            runtime.shutdown_background();
            code
        }
        // A thread may still be inside a C++ library, whose destructors must not run under it; and one that has joined other shards
        // must not end (`xgboost::collective`), so the runtime stands to the last.
        failed => end_now(failed),
    }
}

/// A runtime whose workers, and some threads for blocking work, have been started. tokio panics where the first worker is
/// refused, and says nothing where another one is: that worker's tasks, and all blocking work, would wait for ever.
fn build(threads: usize) -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(threads::workers(threads))
        .max_blocking_threads(threads::blocking(threads))
        .thread_keep_alive(KEEP_ALIVE)
        .enable_all();
    let built = error::panics::expected_within(|| std::panic::catch_unwind(AssertUnwindSafe(|| builder.build())));
    let runtime = match built {
        Ok(built) => built.map_err(|error| match files::limit_behind(&error) {
            Some(limit) => Error::Resources(format!("the runtime cannot be started: {error}; {limit}")),
            None => threads::refused(error),
        })?,
        Err(panic) => return Err(defect(panic.as_ref())),
    };
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..STANDING {
        let gate = Arc::clone(&gate);
        runtime.spawn_blocking(move || drop(gate.read()));
    }
    let (started, wanted) = (threads_of_process(), threads::workers(threads) + STANDING);
    drop(closed);
    // The main thread besides.
    if started.is_some_and(|started| started <= wanted) {
        runtime.shutdown_background();
        return Err(threads::refused("the runtime could not start all of its threads"));
    }
    Ok(runtime)
}

/// The threads of this process; none where `/proc` does not tell.
fn threads_of_process() -> Option<usize> {
    std::fs::read_dir("/proc/self/task").ok().map(Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_has_its_threads_before_anything_runs() {
        let before = threads_of_process().unwrap();
        let runtime = build(3).unwrap();
        assert!(threads_of_process().unwrap() >= before.min(1) + 3 + STANDING);
        let inside = runtime.block_on(runtime.spawn_blocking(|| 7)).unwrap();
        assert_eq!(inside, 7);
    }
}
