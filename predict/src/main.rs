//! `predict`. Its code is in the library, which is compiled once, and not for every binary again.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    predict::program::main()
}
