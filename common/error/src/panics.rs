//! Panics of foreign decoders on damaged bytes, caught where they are expected and kept out of the log.

use std::cell::Cell;

thread_local! {
    static EXPECTED: Cell<u32> = const { Cell::new(0) };
}

/// Runs `work`, which may panic and whose panic the caller catches: the panic hook stays silent on this thread meanwhile.
pub fn expected_within<T>(work: impl FnOnce() -> std::thread::Result<T>) -> std::thread::Result<T> {
    EXPECTED.with(|depth| depth.set(depth.get() + 1));
    let result = work();
    EXPECTED.with(|depth| depth.set(depth.get() - 1));
    result
}

/// Whether a panic on this thread is about to be caught and reported as an error.
#[must_use]
pub fn is_expected() -> bool {
    EXPECTED.with(|depth| depth.get() > 0)
}
