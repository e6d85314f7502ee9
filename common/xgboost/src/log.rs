//! What XGBoost says, as `tracing` events.
//!
//! XGBoost's registry of callbacks is per thread, so every thread that calls the library registers first; the
//! constructors and the long calls of this module do. A message of one of its own worker threads would go to standard
//! error, XGBoost's default; nothing ever goes to standard output.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

use xgboost_lib_sys as sys;

use super::error::{copy_string, one_line};

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
    static RECORDING: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Makes XGBoost's messages on this thread arrive in the log. Cheap when repeated.
pub(super) fn listen() {
    if LISTENING.get() {
        return;
    }
    // Used once, it knows later that this thread ends.
    RECORDING.take();
    // SAFETY: the callback is a function of this program, so it never dangles; it copies its argument and does not unwind.
    let return_code = unsafe { sys::XGBRegisterLogCallback(Some(forward)) };
    LISTENING.set(return_code == 0);
}

/// Runs `work` and returns its result with the messages that XGBoost sent meanwhile on this thread, which are not logged.
pub(super) fn record<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    listen();
    RECORDING.set(Some(Vec::new()));
    let result = work();
    (result, RECORDING.take().unwrap_or_default())
}

/// Called by XGBoost with a message that stands for the time of the call.
extern "C" fn forward(message: *const c_char) {
    let text = copy_string(message);
    // A panic (of a subscriber, say) must not unwind into C++; the message is lost then, which is the lesser harm.
    let _ = catch_unwind(AssertUnwindSafe(|| tell(&text)));
}

/// Records or logs one message: warnings as such, all else at debug level. What destructors say of a thread that ends is lost: the
/// log has nothing left there that it could be written with.
fn tell(text: &str) {
    let line = one_line(text);
    let record = |recording: &RefCell<Option<Vec<String>>>| match recording.borrow_mut().as_mut() {
        Some(lines) => lines.push(line.clone()),
        None => log(text, &line),
    };
    let _ = RECORDING.try_with(record);
}

fn log(text: &str, line: &str) {
    if text.contains("WARNING:") {
        tracing::warn!(target: "xgboost", "{line}");
    } else {
        tracing::debug!(target: "xgboost", "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says something when its thread ends.
    struct Talkative;

    impl Drop for Talkative {
        fn drop(&mut self) {
            assert!(RECORDING.try_with(|_| ()).is_err(), "it is dropped last");
            // `forward` would catch a panic, which the hook that logs it cannot outlive here.
            tell("WARNING: good-bye");
        }
    }

    #[test]
    fn a_thread_that_ends_may_be_spoken_of() {
        thread_local! {
            static LAST: Talkative = const { Talkative };
        }
        // A panic would end this process: it is not caught where a thread ends.
        std::thread::spawn(|| {
            LAST.with(|_| ());
            listen();
        })
        .join()
        .unwrap();
    }
}
