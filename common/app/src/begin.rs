//! How a run begins: what stops it, and what it may use of the machine.

use machine::memory::pool;
use machine::{Explicit, Limits, Shutdown, files, threads};

/// What tells a run to stop and what it may use: the first two things that a program finds out once it has a log. `announce` writes
/// the first line of the log. Whether the system lets the run have its files and threads is checked here, before anything else is
/// started.
///
/// # Errors
/// [`Error::Resources`](error::Error::Resources) where nothing tells how much memory there is, or threads or files are refused.
pub fn begin(explicit: Explicit, announce: impl FnOnce(&Limits)) -> error::Result<(Limits, Shutdown)> {
    let shutdown = Shutdown::install();
    // Before the first file is opened, and before the error of `install`: they name the limits of files and threads.
    files::check()?;
    let limits = Limits::detect(explicit)?;
    // Until a plan says what is left of it.
    pool().set_room(limits.memory_bytes.value, limits.memory_bytes.value);
    announce(&limits);
    threads::check(limits.threads.value)?;
    Ok((limits, shutdown?))
}
