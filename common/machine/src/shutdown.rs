//! SIGTERM and SIGINT: the first asks the run to stop where it can be continued, the second ends the process at once.
//!
//! A thread of its own waits for them, so that they are seen however busy the others are, and before there is an async
//! runtime. Since a handler is installed they also reach the program as PID 1 of a container, where the kernel's
//! default would drop them.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

use crate::{RunId, files, threads};
use error::{Error, Result};

/// The exit code of a run that was stopped.
const EXIT_STOPPED: u8 = 143;

/// Signals so soon after the first are the same request: `timeout` signals both its child and the child's group, a
/// terminal and the program that started us may each pass on one Ctrl-C.
const SAME_REQUEST: Duration = Duration::from_millis(250);

/// A run that was asked to stop does so within five seconds. One that has not after this time waits for something: a server that
/// is slow, a pipe that nobody reads, a disk that hangs. It is ended, whatever it does: what it has written is whole, and the same run id
/// goes on from there.
const HANGS_AFTER: Duration = Duration::from_millis(4_500);

/// How often a run that was asked to stop is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// What asked the run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// Sent by ECS, Docker or an operator.
    Terminate,
    /// Ctrl-C on a terminal.
    Interrupt,
}

impl fmt::Display for StopSignal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// Tells whether the run was asked to stop. Clones see the same request; asking is cheap enough for every batch.
#[derive(Debug, Clone)]
pub struct Shutdown {
    received: watch::Receiver<Option<StopSignal>>,
}

/// Requests a stop in place of a signal: for tests, and for code that stops itself.
#[derive(Debug)]
pub struct Trigger {
    send: watch::Sender<Option<StopSignal>>,
}

impl Trigger {
    /// Requests the stop, as the signal would.
    pub fn stop(&self, signal: StopSignal) {
        self.send.send_replace(Some(signal));
    }
}

impl Shutdown {
    /// Takes over SIGTERM and SIGINT for the rest of the process. Call it before any work starts.
    ///
    /// # Errors
    /// [`Error::Resources`] when the operating system refuses a thread, [`Error::Defect`] when it refuses a signal handler.
    pub fn install() -> Result<Self> {
        let signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| match files::limit_behind(&error) {
            Some(limit) => Error::Resources(format!("no signal can be waited for: {error}; {limit}")),
            None => Error::Defect(format!("signal handlers cannot be installed: {error}")),
        })?;
        let (trigger, shutdown) = Self::manual();
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || obey(signals, &trigger));
        thread.map_err(threads::refused)?;
        Ok(shutdown)
    }

    /// A token that its trigger stops, and no signal.
    #[must_use]
    pub fn manual() -> (Trigger, Self) {
        let (send, received) = watch::channel(None);
        (Trigger { send }, Self { received })
    }

    /// A token that nothing stops.
    #[must_use]
    pub fn never() -> Self {
        Self::manual().1
    }

    /// Whether the run was asked to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.received.borrow().is_some()
    }

    /// Waits until the run is asked to stop; at once when it was already. Safe to drop and to call again.
    pub async fn requested(&self) {
        let mut received = self.received.clone();
        if received.wait_for(Option::is_some).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the run is asked to stop; gives the error that it ends with, which says how to continue `run_id`.
    pub async fn stopped(&self, run_id: &RunId) -> Error {
        self.requested().await;
        self.check(run_id).err().unwrap_or_else(|| Error::Defect("a run stopped that nobody asked to".to_owned()))
    }

    /// Ends a step early when the run was asked to stop.
    ///
    /// # Errors
    /// [`Error::Stopped`], which says how to continue `run_id`.
    pub fn check(&self, run_id: &RunId) -> Result<()> {
        match *self.received.borrow() {
            None => Ok(()),
            Some(signal) => Err(stopped(signal, run_id)),
        }
    }
}

/// Ends the process without destructors, such as those of C++ libraries whose threads still run, and without what was registered for
/// its end.
pub fn end_now(exit_code: u8) -> ! {
    signal_hook::low_level::exit(exit_code.into())
}

fn stopped(signal: StopSignal, run_id: &RunId) -> Error {
    Error::Stopped(format!("stopped by {signal}; run again with --run-id {run_id} (RUN_ID={run_id}) to continue"))
}

/// Passes the first signal on and ends the process on a later one, or when it hangs.
fn obey(mut signals: Signals, trigger: &Trigger) {
    let Some(number) = (&mut signals).into_iter().next() else { return };
    let first = Instant::now();
    announce(number, trigger);
    loop {
        thread::sleep(GLANCE);
        let is_second = signals.pending().next().is_some() && first.elapsed() >= SAME_REQUEST + GLANCE;
        if is_second || first.elapsed() >= HANGS_AFTER {
            // Without a log that could block.
            end_now(EXIT_STOPPED);
        }
    }
}

fn announce(number: i32, trigger: &Trigger) {
    let signal = if number == SIGINT { StopSignal::Interrupt } else { StopSignal::Terminate };
    trigger.stop(signal);
    // On a thread of its own: standard error may block, and the next signal must still be obeyed.
    let log = move || {
        tracing::warn!("{signal}: stopping where the run can be continued; a second one ends it at once");
    };
    if let Err(error) = thread::Builder::new().name("signal-log".to_owned()).spawn(log) {
        tracing::debug!(%error, "no thread to log the signal");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn run_id() -> RunId {
        "run-7".parse().unwrap()
    }

    #[test]
    fn nothing_is_requested_at_first() {
        let (_trigger, shutdown) = Shutdown::manual();
        assert!(!shutdown.is_requested());
        assert_eq!(shutdown.check(&run_id()), Ok(()));
    }

    #[test]
    fn every_clone_sees_the_request_and_says_how_to_continue() {
        let (trigger, shutdown) = Shutdown::manual();
        let clone = shutdown.clone();
        trigger.stop(StopSignal::Terminate);
        assert!(shutdown.is_requested() && clone.is_requested());
        let error = clone.check(&run_id()).unwrap_err();
        assert_eq!(error.exit_code(), 143);
        assert_eq!(error.to_string(), "stopped by SIGTERM; run again with --run-id run-7 (RUN_ID=run-7) to continue");
    }

    #[tokio::test]
    async fn waiting_ends_with_the_request_and_again_after_it() {
        let (trigger, shutdown) = Shutdown::manual();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.requested().await }
        });
        trigger.stop(StopSignal::Interrupt);
        waiting.await.unwrap();
        shutdown.requested().await;
    }

    #[test]
    fn without_anyone_to_ask_waiting_never_ends() {
        let shutdown = Shutdown::never();
        let waiting = pin!(shutdown.requested());
        assert_eq!(waiting.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        assert!(!shutdown.is_requested());
    }
}
