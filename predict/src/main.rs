//! `predict`: parse, set up, run, exit with the outcome's code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use app::Context;
use app::settings::{Parsed, SharedArgs, parse};
use machine::{Limits, RunId};
use predict::settings::Arguments;
use predict::{evaluate, history, prepare};
use telemetry::{Config, Outcome, Program, Telemetry};

pub(crate) fn main() -> ExitCode {
    machine::reexec::start_again();
    match parse::<Arguments>(std::env::args_os()) {
        Ok(Parsed::Print(text)) => telemetry::print_help(&text),
        Ok(Parsed::Run(arguments)) => match *arguments {
            Arguments::Prepare(settings) => {
                let (shared, name) = (settings.shared.clone(), settings.store.model_name.clone());
                start(&shared, name, async |context| prepare::run(*settings, context).await)
            }
            Arguments::Predict(settings) => {
                let (shared, name) = (settings.shared.clone(), settings.store.model_name.clone());
                start(&shared, name, async |context| predict::run(*settings, context).await)
            }
            Arguments::Evaluate(settings) => {
                let (shared, name) = (settings.shared.clone(), settings.store.model_name.clone());
                start(&shared, name, async |context| evaluate::run(*settings, context).await)
            }
            Arguments::History(settings) => {
                let shared = settings.shared.clone();
                start(&shared, String::new(), async |context| history::run(*settings, context).await)
            }
        },
        Err(error) => telemetry::refuse(Program::Predict, &error),
    }
}

/// Starts what all of the program's commands have, then one of them.
fn start(
    shared: &SharedArgs,
    model_name: String,
    command: impl AsyncFnOnce(Context) -> (Outcome, Telemetry),
) -> ExitCode {
    let run_id = shared.run_id.clone().unwrap_or_else(RunId::generate);
    let telemetry = Telemetry::start(Config {
        program: Program::Predict,
        environment: shared.environment.clone(),
        model_name,
        run_id: run_id.clone(),
        log_format: shared.log_format,
    });
    let announce = |limits: &Limits| tracing::info!(version = env!("CARGO_PKG_VERSION"), %limits, "predict starts");
    let (limits, shutdown) = match app::begin(shared.explicit_limits(), announce) {
        Ok(begun) => begun,
        Err(error) => return telemetry.fail(&error),
    };
    app::runtime::block_on(&limits, telemetry, async |telemetry| {
        command(Context { run_id, limits, shutdown, telemetry }).await
    })
}
