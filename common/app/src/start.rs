//! How a program's command starts, from the parsed settings to the exit code.

use std::process::ExitCode;

use machine::{Limits, RunId};
use telemetry::{Config, Outcome, Program, Telemetry};

use crate::Context;
use crate::settings::SharedArgs;

/// The exit code of a lack of resources.
const RESOURCES: u8 = 8;

/// The first thing that a program does: it starts itself again as its libraries want it, and ends where it has no stack to run on. None
/// where it may go on, which is for a function of its own: the caller's frame must be small.
#[must_use]
pub fn prepare(program: Program) -> Option<ExitCode> {
    machine::reexec::start_again();
    let error = machine::rlimits::check_stack().err()?;
    let refused = std::thread::Builder::new().spawn(move || telemetry::refuse(program, &error));
    Some(refused.ok().and_then(|refused| refused.join().ok()).unwrap_or(ExitCode::from(RESOURCES)))
}

/// Starts what all commands have (a run id, telemetry, limits, the runtime), then the command, and ends with its exit code.
pub fn start(
    program: Program,
    shared: &SharedArgs,
    model_name: String,
    command: impl AsyncFnOnce(Context) -> (Outcome, Telemetry),
) -> ExitCode {
    let run_id = shared.run_id.clone().unwrap_or_else(RunId::generate);
    let telemetry = Telemetry::start(Config {
        program,
        environment: shared.environment.clone(),
        model_name,
        run_id: run_id.clone(),
        log_format: shared.log_format,
    });
    let announce =
        |limits: &Limits| tracing::info!(version = env!("CARGO_PKG_VERSION"), %limits, "{} starts", program.name());
    let (limits, shutdown) = match crate::begin(shared.explicit_limits(), announce) {
        Ok(begun) => begun,
        Err(error) => return telemetry.fail(&error),
    };
    crate::runtime::block_on(&limits, telemetry, async |telemetry| {
        command(Context { run_id, limits, shutdown, telemetry }).await
    })
}
