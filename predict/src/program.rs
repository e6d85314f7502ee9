//! The program: parse, set up, run, exit with the outcome's code.

use std::process::ExitCode;

use app::settings::{Parsed, parse};
use app::{Context, prepare, start};
use telemetry::Program;

use crate::settings::Arguments;
use crate::{evaluate, history, prepare};

/// Runs the command of the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    prepare(Program::Predict).unwrap_or_else(run)
}

#[inline(never)]
fn run() -> ExitCode {
    match parse::<Arguments>(std::env::args_os()) {
        Ok(Parsed::Print(text)) => telemetry::print_help(&text),
        Ok(Parsed::Run(arguments)) => run_command(*arguments),
        Err(error) => telemetry::refuse(Program::Predict, &error),
    }
}

fn run_command(arguments: Arguments) -> ExitCode {
    let (shared, model_name) = match &arguments {
        Arguments::Prepare(settings) | Arguments::Predict(settings) => {
            (settings.shared.clone(), settings.store.model_name.clone())
        }
        Arguments::Evaluate(settings) => (settings.shared.clone(), settings.store.model_name.clone()),
        Arguments::History(settings) => (settings.shared.clone(), String::new()),
    };
    start(Program::Predict, &shared, model_name, async |context: Context| match arguments {
        Arguments::Prepare(settings) => prepare::run(*settings, context).await,
        Arguments::Predict(settings) => crate::run(*settings, context).await,
        Arguments::Evaluate(settings) => evaluate::run(*settings, context).await,
        Arguments::History(settings) => history::run(*settings, context).await,
    })
}
