//! `train`: parse, set up, run, exit with the outcome's code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use app::Context;
use app::settings::{Parsed, parse};
use machine::{Limits, RunId};
use telemetry::{Config, Program, Telemetry};
use train::models;
use train::settings::{Arguments, Settings};

pub(crate) fn main() -> ExitCode {
    machine::reexec::start_again();
    match parse::<Arguments>(std::env::args_os()) {
        Ok(Parsed::Print(text)) => telemetry::print_help(&text),
        Ok(Parsed::Run(arguments)) => match *arguments {
            Arguments::Models(arguments) => models::main(&arguments),
            Arguments::Train(settings) => train(*settings),
        },
        Err(error) => telemetry::refuse(Program::Train, &error),
    }
}

fn train(settings: Settings) -> ExitCode {
    let run_id = settings.shared.run_id.clone().unwrap_or_else(RunId::generate);
    let telemetry = Telemetry::start(Config {
        program: Program::Train,
        environment: settings.shared.environment.clone(),
        model_name: settings.store.model_name.clone(),
        run_id: run_id.clone(),
        log_format: settings.shared.log_format,
    });
    let announce = |limits: &Limits| tracing::info!(version = env!("CARGO_PKG_VERSION"), %limits, "train starts");
    let (limits, shutdown) = match app::begin(settings.shared.explicit_limits(), announce) {
        Ok(begun) => begun,
        Err(error) => return telemetry.fail(&error),
    };
    app::runtime::block_on(&limits, telemetry, |telemetry| {
        train::run(settings, Context { run_id, limits, shutdown, telemetry })
    })
}
