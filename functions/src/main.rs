//! `functions`: the command says which function answers the events of the Lambda Runtime API.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use error::Error;
use functions::{Function, serve};
use telemetry::{Program, print_help, refuse};

const HELP: &str = "The pipeline's Lambda functions (README.md of the crate lists settings and events).

Usage: functions pre-cleanup|data-prep|inference-prep|create-qa-table|create-results-table|update-kb
";

fn main() -> ExitCode {
    machine::reexec::start_again();
    let mut arguments = std::env::args().skip(1);
    let function = match (arguments.next(), arguments.next()) {
        (Some(flag), None) if matches!(flag.as_str(), "--help" | "-h") => return print_help(HELP),
        (Some(flag), None) if matches!(flag.as_str(), "--version" | "-V") => {
            return print_help(&format!("functions {}\n", env!("CARGO_PKG_VERSION")));
        }
        (Some(command), None) => command.parse::<Function>(),
        _ => Err(Error::Setting(format!("one command is needed, {}", Function::names()))),
    };
    match function.and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(Program::Functions, &error),
    }
}
