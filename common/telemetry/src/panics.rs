//! Panics: each is one line of the log.

use std::backtrace::Backtrace;
use std::env;
use std::panic::{self, PanicHookInfo};

use machine::tasks::panic_text;
use machine::threads;

/// Logs panics in place of Rust's message of several lines. A backtrace is added only where `RUST_BACKTRACE` asks.
pub(super) fn log_panics() {
    panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    if error::panics::is_expected() {
        return;
    }
    let message = panic_text(panic.payload());
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
