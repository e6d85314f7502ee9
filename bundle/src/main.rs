//! `train` and `predict` in one file, which shares what both are made of: the wheel is half as large as with two.
//!
//! It is the program whose name it is called by, or that its first argument names; `engagement-ml manual FOLDER` writes the man pages
//! and completions of both.
#![forbid(unsafe_code)]

mod manual;

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use error::{Error, Result};
use telemetry::Program;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(OsStr::to_str) {
        Some("train") => return train::program::main(),
        Some("predict") => return predict::program::main(),
        _ => {}
    }
    let first = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    let done = match (first.to_str(), rest.as_slice()) {
        (Some(name @ ("train" | "predict")), _) => Err(start(name, &rest)),
        (Some("manual"), [folder]) => manual::write(Path::new(folder)),
        _ => Err(Error::Setting(
            "write engagement-ml train …, engagement-ml predict …, or engagement-ml manual FOLDER; both programs know --help".to_owned(),
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => telemetry::refuse(Program::Train, &error),
    }
}

/// Becomes the program called `name`, in this process; returns only where that fails.
fn start(name: &str, arguments: &[OsString]) -> Error {
    let again = |program| Command::new(program).arg0(name).args(arguments).exec();
    match std::env::current_exe().map(again) {
        Ok(error) | Err(error) => Error::Defect(format!("{name} does not start: {error}")),
    }
}

/// The result of a step that writes files.
fn written<T>(path: &Path, result: std::io::Result<T>) -> Result<T> {
    result.map_err(|error| Error::Access(format!("{} cannot be written: {error}", path.display())))
}
