//! Panics: each is one line of the log, and an error with an exit code like any other.

use std::any::Any;
use std::backtrace::Backtrace;
use std::env;
use std::panic::{self, PanicHookInfo};

use tokio::task::JoinError;

use crate::error::Error;
use crate::run::threads;
use crate::text::without_control_characters;

/// Logs panics in place of Rust's message of several lines. A backtrace is added only where `RUST_BACKTRACE` asks.
pub(super) fn log_panics() {
    panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    if crate::panics::is_expected() {
        return;
    }
    let message = payload_text(panic.payload());
    if threads::is_refusal(&message) {
        tracing::warn!("a thread was refused: {message}");
        return;
    }
    let location = panic.location().map(ToString::to_string);
    let backtrace = wants_backtrace().then(|| Backtrace::force_capture().to_string());
    tracing::error!(target: "defect", location, backtrace, "defect in this program: {message}");
}

fn wants_backtrace() -> bool {
    env::var_os("RUST_BACKTRACE").is_some_and(|value| !value.is_empty() && value != "0")
}

/// The error that a caught panic (`catch_unwind`, a task's or thread's `join`) is; where it happened is in the log. The panic of
/// a library that was refused a thread is no defect but a limit of the system.
#[must_use]
pub fn defect(payload: &(dyn Any + Send)) -> Error {
    let text = payload_text(payload);
    if threads::is_refusal(&text) {
        return threads::refused(text);
    }
    Error::Defect(format!("{text}; please report it with the log"))
}

/// The error of a task that did not end by itself: its panic, as [`defect`] has it.
impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => defect(panic.as_ref()),
            Err(cancelled) => Self::Defect(cancelled.to_string()),
        }
    }
}

/// What `panic!` was given, on one line.
fn payload_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    without_control_characters(text.unwrap_or("a panic without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(panicking: impl FnOnce() + panic::UnwindSafe) -> Error {
        defect(panic::catch_unwind(panicking).unwrap_err().as_ref())
    }

    #[test]
    fn a_caught_panic_is_a_defect_on_one_line() {
        let error = caught(|| panic!("row {}\nis odd", 3));
        assert_eq!(error.exit_code(), 70);
        assert_eq!(error.to_string(), "defect in this program: row 3\\nis odd; please report it with the log");
    }

    #[test]
    fn a_thread_that_a_library_was_refused_is_no_defect() {
        let error = caught(|| panic!("failed to spawn thread: Os {{ code: 11, kind: WouldBlock }}"));
        assert_eq!(error.exit_code(), 8);
        assert!(
            error.to_string().starts_with("the system refused to start another thread: failed to spawn"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_task_that_panicked_is_told_as_its_panic() {
        let error = Error::from(tokio::spawn(async { panic!("plain") }).await.unwrap_err());
        assert_eq!(error, Error::Defect("plain; please report it with the log".to_owned()));
        let refused = || -> () { panic!("could not spawn threads: no") };
        assert_eq!(Error::from(tokio::task::spawn_blocking(refused).await.unwrap_err()).exit_code(), 8);
    }

    #[test]
    fn every_payload_has_a_text() {
        assert!(caught(|| panic!("plain")).to_string().contains(": plain;"));
        assert!(caught(|| panic::panic_any(7)).to_string().contains("a panic without a message"));
    }
}
