//! What is said before a run has telemetry of its own: help, and settings that are wrong.

use std::process::ExitCode;

use super::{Config, Program, Telemetry};
use crate::{LogFormat, Summary};
use error::Error;
use error::text::without_userinfo;
use machine::RunId;

/// Prints help or the version.
#[must_use]
pub fn print_help(text: &str) -> ExitCode {
    // It shows the values of variables.
    super::write_stdout(&without_userinfo(text));
    ExitCode::SUCCESS
}

/// Ends a program whose settings are wrong: the failure object on standard output, one line on standard error.
#[must_use]
pub fn refuse(program: Program, error: &Error) -> ExitCode {
    let log_format = std::env::var(machine::env::LOG_FORMAT).ok().and_then(|format| format.parse::<LogFormat>().ok());
    let config = Config {
        program,
        environment: String::new(),
        model_name: String::new(),
        run_id: RunId::generate(),
        log_format,
    };
    Telemetry::start(config).fail(error)
}

impl Telemetry {
    /// Ends a run that failed before it knew anything but its id.
    #[must_use]
    pub fn fail(self, error: &Error) -> ExitCode {
        let outcome = Summary::new(self.run_id()).failed(error);
        self.finish(&outcome)
    }
}
