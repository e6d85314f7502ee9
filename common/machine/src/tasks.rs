//! Work in tasks and blocking threads, whose panics end as an error with an exit code like any other.

use std::any::Any;

use tokio::task::JoinError;

use error::text::without_control_characters;
use error::{Error, Result};

use crate::threads;

/// Runs work that blocks on a thread for such work.
///
/// # Errors
/// The panic of the work, as [`defect`] has it.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// What a task came to.
///
/// # Errors
/// The panic of the task, as [`defect`] has it.
pub fn joined<T>(ended: Result<T, JoinError>) -> Result<T> {
    ended.map_err(|unfinished| match unfinished.try_into_panic() {
        Ok(panic) => defect(panic.as_ref()),
        Err(cancelled) => Error::Defect(cancelled.to_string()),
    })
}

/// The error that a caught panic (`catch_unwind`, a task's or thread's `join`) is; where it happened is in the log. The panic of
/// a library that was refused a thread is no defect but a limit of the system.
#[must_use]
pub fn defect(payload: &(dyn Any + Send)) -> Error {
    let text = panic_text(payload);
    if threads::is_refusal(&text) {
        return threads::refused(text);
    }
    Error::Defect(format!("{text}; please report it with the log"))
}

/// What `panic!` was given, on one line.
#[must_use]
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    without_control_characters(text.unwrap_or("a panic without a message"))
}

#[cfg(test)]
mod tests {
    use std::panic;

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
    async fn a_task_that_panicked_ends_as_its_panic() {
        let ended = joined(tokio::spawn(async { panic!("plain") }).await);
        assert_eq!(ended, Err::<(), _>(Error::Defect("plain; please report it with the log".to_owned())));
        let refused = || -> () { panic!("could not spawn threads: no") };
        assert_eq!(blocking(refused).await.unwrap_err().exit_code(), 8);
        assert_eq!(blocking(|| 7).await, Ok(7));
    }

    #[test]
    fn every_payload_has_a_text() {
        assert!(caught(|| panic!("plain")).to_string().contains(": plain;"));
        assert!(caught(|| panic::panic_any(7)).to_string().contains("a panic without a message"));
    }
}
