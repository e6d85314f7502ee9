//! XGBoost's return codes and messages as typed errors.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};

use xgboost_lib_sys as sys;

use error::Error;

/// What can go wrong between this program and XGBoost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XgboostError {
    /// XGBoost refused a call; its message, on one line and without its stack trace.
    #[error("XGBoost could not {doing}: {message}")]
    Library {
        /// What was asked of XGBoost.
        doing: &'static str,
        /// XGBoost's own words.
        message: String,
    },
    /// XGBoost's collective failed: another member was lost, is silent, or never came.
    #[error("XGBoost could not {doing}: {message}")]
    Collective {
        /// What was asked of XGBoost.
        doing: &'static str,
        /// XGBoost's own words.
        message: String,
    },
    /// The library that was loaded is not the one this program was made for.
    #[error(
        "libxgboost.so.3 is XGBoost {found}, this program needs 3.4.1 or a later 3.4: install it with `make setup`"
    )]
    Version {
        /// The version found.
        found: String,
    },
    /// The caller's columns, labels, weights or names do not fit each other.
    #[error("{0}")]
    Shape(String),
    /// The source of the batches failed; its own error.
    #[error("{0}")]
    Source(Error),
}

/// What a program ends with: a source's error as it was, lack of memory or disk as such, a lost shard as one that a retry helps, targets and weights that the
/// objective is not defined for as wrong data, all else as a defect, since settings are tried by
/// [`dry_run`](super::dry_run) and columns are checked before XGBoost sees them.
impl From<XgboostError> for Error {
    fn from(error: XgboostError) -> Self {
        match error {
            XgboostError::Source(source) => source,
            XgboostError::Collective { message, .. } => Self::Storage(format!(
                "another shard was lost or does not answer ({message}): start all shards again with the same run id"
            )),
            XgboostError::Library { ref message, .. } if is_out_of_resources(message) => {
                Self::Resources(format!("{error}: give the task more memory or disk"))
            }
            XgboostError::Library { message, .. } if is_about_labels(&message) => Self::Data(format!(
                "the training rows do not suit the objective: {message}: correct them or choose another objective"
            )),
            XgboostError::Library { .. } | XgboostError::Version { .. } | XgboostError::Shape(_) => {
                Self::Defect(error.to_string())
            }
        }
    }
}

/// Whether XGBoost's message tells of exhausted memory or disk.
fn is_out_of_resources(message: &str) -> bool {
    ["bad_alloc", "Cannot allocate memory", "No space left", "Disk quota exceeded"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// Whether XGBoost's message tells of targets or weights outside what an objective takes. A base score that was given has
/// passed the dry run; one that is refused later was estimated from the targets.
fn is_about_labels(message: &str) -> bool {
    ["label must", "base_score must", "`base_score` must", "Weights must"].iter().any(|sign| message.contains(sign))
}

/// Turns a return code into a result, with the message of this thread's last error.
pub(super) fn check(doing: &'static str, return_code: c_int) -> Result<(), XgboostError> {
    if return_code == 0 {
        return Ok(());
    }
    let raw = last_error();
    let message = one_line(&raw);
    match raw.contains(OF_COLLECTIVE) {
        true => Err(XgboostError::Collective { doing, message: root_cause(&message).to_owned() }),
        false => Err(XgboostError::Library { doing, message }),
    }
}

/// Where every failure of XGBoost's collective is raised.
const OF_COLLECTIVE: &str = "/collective/result.cc:";

/// The innermost of the reasons that the collective gives, which is the last: `- [socket.h:79|17:33:55]: recv Connection reset by peer`.
fn root_cause(message: &str) -> &str {
    match message.rsplit_once("]: ").map_or(message, |(_, cause)| cause) {
        // What `poll` says of a connection that the other end has closed.
        closed if closed.starts_with("Poll error condition:Success") => "it closed the connection",
        cause => cause,
    }
}

/// This thread's last message.
fn last_error() -> String {
    // SAFETY: takes no argument; the pointer it returns is this thread's own and stands until the next failing call.
    let message = unsafe { sys::XGBGetLastError() };
    copy_string(message)
}

/// Copies a C string that XGBoost owns; a null pointer is the empty string.
pub(super) fn copy_string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and XGBoost ends its strings with NUL; they stand until the next call on this thread.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

/// Copies `length` values that XGBoost owns; none for a null pointer.
pub(super) fn copy_values<T: Copy>(values: *const T, length: usize) -> Vec<T> {
    if values.is_null() || length == 0 {
        return Vec::new();
    }
    // SAFETY: not null; XGBoost hands out pointer and length together and keeps them until the next call on this
    // thread, and nothing is called before the copy.
    let values = unsafe { std::slice::from_raw_parts(values, length) };
    values.to_vec()
}

/// A Rust text as a C string.
pub(super) fn c_string(text: &str) -> Result<CString, XgboostError> {
    CString::new(text).map_err(|_| XgboostError::Shape(format!("{text:?} holds a NUL character: rename it")))
}

/// XGBoost's message without time, source file and stack trace, on one line.
pub(super) fn one_line(message: &str) -> String {
    let told = message.split("Stack trace:").next().unwrap_or(message);
    let words: Vec<&str> = told.split_whitespace().collect();
    let text = words.join(" ");
    strip_origin(&text).to_owned()
}

/// Cuts `[18:04:33] /a/b.cc:12: ` and `[18:04:33] WARNING: /a/b.cc:12: ` from the front.
fn strip_origin(text: &str) -> &str {
    let untimed = text.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(text, |(_, rest)| rest);
    let plain = ["WARNING: ", "INFO: ", "DEBUG: "].iter().fold(untimed, |rest, level| rest.trim_start_matches(level));
    match plain.split_once(": ") {
        Some((origin, rest)) if is_origin(origin) => rest,
        _ => plain,
    }
}

/// Whether this is `path/file.cc:123`.
fn is_origin(text: &str) -> bool {
    let line = text.rsplit_once(':').map(|(_, line)| line);
    text.contains(['/', '.']) && !text.contains(' ') && line.is_some_and(|line| line.parse::<u32>().is_ok())
}

/// The version of the loaded library.
pub(super) fn library_version() -> (u32, u32, u32) {
    let (mut major, mut minor, mut patch): (c_int, c_int, c_int) = (0, 0, 0);
    // SAFETY: three valid pointers to integers, written before the call returns.
    unsafe { sys::XGBoostVersion(&raw mut major, &raw mut minor, &raw mut patch) };
    (major.unsigned_abs(), minor.unsigned_abs(), patch.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_one_line_without_origin_and_stack() {
        let raw = "[18:04:33] /workspace/src/learner.cc:741: Check failed: a > b (0 vs. 0) : 0 feature\n  is supplied.\nStack trace:\n  [bt] (0) lib(+0x2)\n";
        assert_eq!(one_line(raw), "Check failed: a > b (0 vs. 0) : 0 feature is supplied.");
        let warning = "[18:04:33] WARNING: /workspace/src/learner.cc:790: \nParameters: { \"x\" } are not used.\n";
        assert_eq!(one_line(warning), "Parameters: { \"x\" } are not used.");
        assert_eq!(one_line("no: origin here"), "no: origin here");
        assert_eq!(
            one_line("Invalid Parameter format for eta: expect float"),
            "Invalid Parameter format for eta: expect float"
        );
    }

    #[test]
    fn the_collective_tells_its_innermost_reason() {
        let raw = "[17:33:55] /workspace/src/collective/result.cc:83: [coll_c_api.cc:38|17:33:55]:\n\n- [allreduce.cc:135|17:33:55]: \
                   Ring Allreduce failed.\n- [poll_utils.h:206|17:34:10]: Poll timeout:8 seconds. Connection timed out\nStack trace:\n";
        assert!(raw.contains(OF_COLLECTIVE));
        let cause = root_cause(&one_line(raw)).to_owned();
        assert_eq!(cause, "Poll timeout:8 seconds. Connection timed out");
        assert_eq!(
            root_cause("- [socket.h:79|17:33:55]: Poll error condition:Success code:0"),
            "it closed the connection"
        );
        let error = Error::from(XgboostError::Collective { doing: "train a round", message: cause });
        assert_eq!(error.exit_code(), 5);
    }

    #[test]
    fn exhaustion_is_told_from_defects() {
        let error = |message: &str| {
            Error::from(XgboostError::Library { doing: "build the matrix", message: message.to_owned() }).exit_code()
        };
        assert_eq!(error("std::bad_alloc"), 8);
        assert_eq!(error("write failed: No space left on device"), 8);
        assert_eq!(error("Check failed"), 70);
        assert_eq!(Error::from(XgboostError::Source(Error::Data("bad".into()))).exit_code(), 4);
    }
}
