//! Panics: each is one line of the log, and an error with an exit code like any other.

use std::any::Any;
use std::backtrace::Backtrace;
use std::env;
use std::panic::{self, PanicHookInfo};

use crate::error::Error;
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
    let location = panic.location().map(ToString::to_string);
    let backtrace = wants_backtrace().then(|| Backtrace::force_capture().to_string());
    tracing::error!(target: "defect", location, backtrace, "defect in this program: {message}");
}

fn wants_backtrace() -> bool {
    env::var_os("RUST_BACKTRACE").is_some_and(|value| !value.is_empty() && value != "0")
}

/// The error that a caught panic (`catch_unwind`, a task's or thread's `join`) is; where it happened is in the log.
#[must_use]
pub fn defect(payload: &(dyn Any + Send)) -> Error {
    Error::Defect(format!("{}; please report it with the log", payload_text(payload)))
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
    fn every_payload_has_a_text() {
        assert!(caught(|| panic!("plain")).to_string().contains(": plain;"));
        assert!(caught(|| panic::panic_any(7)).to_string().contains("a panic without a message"));
    }
}
