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

/// Records or logs one message: warnings as such, all else at debug level.
fn tell(text: &str) {
    let line = one_line(text);
    let recorded = RECORDING.with_borrow_mut(|recording| recording.as_mut().map(|lines| lines.push(line.clone())));
    if recorded.is_some() {
        return;
    }
    if text.contains("WARNING:") {
        tracing::warn!(target: "xgboost", "{line}");
    } else {
        tracing::debug!(target: "xgboost", "{line}");
    }
}
