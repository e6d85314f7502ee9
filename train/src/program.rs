//! The program: parse, set up, run, exit with the outcome's code.

use std::process::ExitCode;

use app::settings::{Parsed, parse};
use app::{Context, prepare, start};
use telemetry::Program;

use crate::models;
use crate::settings::Arguments;

/// Runs the command of the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    prepare(Program::Train).unwrap_or_else(run)
}

#[inline(never)]
fn run() -> ExitCode {
    match parse::<Arguments>(std::env::args_os()) {
        Ok(Parsed::Print(text)) => telemetry::print_help(&text),
        Ok(Parsed::Run(arguments)) => match *arguments {
            Arguments::Models(arguments) => models::main(&arguments),
            Arguments::Train(settings) => {
                let (shared, model_name) = (settings.shared.clone(), settings.store.model_name.clone());
                start(Program::Train, &shared, model_name, async |context: Context| {
                    crate::run(*settings, context).await
                })
            }
        },
        Err(error) => telemetry::refuse(Program::Train, &error),
    }
}
