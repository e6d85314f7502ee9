//! What a run tells: logs and progress on standard error, metrics and the result on standard output.
//!
//! No other crate writes to standard output. A reader that goes away (a broken pipe) changes neither the run nor its
//! exit code.
//!
//! It must not know settings, tables or models. Begin reading at [`Outcome`] and [`Summary`].
#![forbid(unsafe_code)]

mod early;
mod emf;
mod format;
mod logs;
mod panics;
mod progress;
mod result;
mod table;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use chrono::Utc;
use indicatif::MultiProgress;

pub use early::{print_help, refuse};
pub use emf::Metric;
pub use format::{LogFormat, UnknownLogFormat};
pub use progress::{Progress, Unit};
pub use result::{COMPLETED_AT, FILES, GATE, Outcome, Summary};

use machine::{RunId, ecs};

/// Which of the programs this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `train`
    Train,
    /// `predict`
    Predict,
    /// `functions`
    Functions,
}

impl Program {
    /// The name of the program's binary.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Predict => "predict",
            Self::Functions => "functions",
        }
    }
}

/// What telemetry has to know of the run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program: a dimension of every metric.
    pub program: Program,
    /// Such as `prod`: a dimension of every metric.
    pub environment: String,
    /// The model's name: a dimension of every metric.
    pub model_name: String,
    /// Named by every line of the log.
    pub run_id: RunId,
    /// `--log-format`; not given, it depends on where the output goes.
    pub log_format: Option<LogFormat>,
}

/// Where a run's output goes and for whom it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Audience {
    logs: LogFormat,
    logs_on_terminal: bool,
    progress_bars: bool,
    result_table: bool,
}

impl Audience {
    /// People read terminals, unless they ask for JSON; everything else is read by machines.
    fn choose(asked: Option<LogFormat>, stderr_is_terminal: bool, stdout_is_terminal: bool, is_dumb: bool) -> Self {
        let usual = if stderr_is_terminal { LogFormat::Text } else { LogFormat::Json };
        let logs = asked.unwrap_or(usual);
        Self {
            logs,
            logs_on_terminal: stderr_is_terminal,
            progress_bars: logs == LogFormat::Text && stderr_is_terminal && !is_dumb,
            result_table: asked != Some(LogFormat::Json) && stdout_is_terminal,
        }
    }

    fn detect(asked: Option<LogFormat>) -> Self {
        let is_dumb = env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb");
        Self::choose(asked, io::stderr().is_terminal(), io::stdout().is_terminal(), is_dumb)
    }
}

/// The telemetry of one run, from its start to its last line.
#[derive(Debug, Clone)]
pub struct Telemetry {
    config: Config,
    audience: Audience,
    bars: Option<MultiProgress>,
}

impl Telemetry {
    /// Starts logging and takes over panics, for the whole process. Nothing here fails a run: what goes wrong is
    /// logged. On ECS the first call waits for the task's ARN, a second at most. A process that serves one run after another
    /// calls it for each: the log then names the new run, and is otherwise what the first call made it.
    #[must_use]
    pub fn start(config: Config) -> Self {
        let audience = Audience::detect(config.log_format);
        let bars = audience.progress_bars.then(progress::bars_on_stderr);
        let task = ecs::task();
        let lines = format::Lines {
            format: audience.logs,
            task_arn: task.ok().flatten().and_then(|task| task.arn.clone()),
            is_coloured: audience.logs_on_terminal && env::var_os("NO_COLOR").is_none(),
        };
        format::name_run(&config.run_id);
        logs::start(lines, bars.clone());
        panics::log_panics();
        if let Err(error) = task {
            tracing::warn!("{error}; log lines do not name the task");
        }
        Self { config, audience, bars }
    }

    /// The run that this is the telemetry of.
    #[must_use]
    pub fn run_id(&self) -> &RunId {
        &self.config.run_id
    }

    /// From now on the telemetry of another run: the one that this process is about, once that is known.
    pub fn rename(&mut self, run_id: &RunId) {
        format::name_run(run_id);
        self.config.run_id = run_id.clone();
    }

    /// Follows a step of `total` units, where known: a bar on a terminal, else a line in the log now and then.
    #[must_use]
    pub fn progress(&self, step: &'static str, unit: Unit, total: Option<u64>) -> Progress {
        Progress::start(step, unit, total, self.bars.as_ref())
    }

    /// Writes one line of metrics for CloudWatch; values that are not finite are left out. Where people read the
    /// output, metrics are only in the debug log.
    pub fn emit(&self, metrics: &[(Metric, f64)]) {
        let Some(line) = emf::line(&self.config, metrics, Utc::now().timestamp_millis()) else {
            return;
        };
        if self.audience.result_table {
            tracing::debug!(metrics = line, "metrics");
        } else {
            write_stdout(&format!("{line}\n"));
        }
    }

    /// Writes the last line of standard output (on a terminal a table), logs a failure, and gives the exit code.
    pub fn finish(self, outcome: &Outcome) -> ExitCode {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
        let people_see_one_terminal = self.audience.result_table && self.audience.logs_on_terminal;
        if let (Some(failure), false) = (outcome.failure(), people_see_one_terminal) {
            let (error_type, exit_code) = (failure.error_type, outcome.exit_code());
            tracing::error!(error_type, exit_code, "{}", failure.message);
        }
        if self.audience.result_table {
            write_stdout(&table::render(outcome, self.config.program.name()));
        } else {
            write_stdout(&format!("{}\n", outcome.json()));
        }
        ExitCode::from(outcome.exit_code())
    }
}

/// Writes whole lines. An error (a broken pipe, a full disk) is only logged: the run's result stands in its store.
fn write_stdout(lines: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::debug!(%error, "standard output cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_get_json() {
        let audience = Audience::choose(None, false, false, true);
        assert_eq!(audience.logs, LogFormat::Json);
        assert!(!audience.progress_bars && !audience.result_table);
    }

    #[test]
    fn people_get_text_bars_and_a_table() {
        let audience = Audience::choose(None, true, true, false);
        assert_eq!(audience.logs, LogFormat::Text);
        assert!(audience.progress_bars && audience.result_table);
    }

    #[test]
    fn json_can_be_asked_for_on_a_terminal() {
        let audience = Audience::choose(Some(LogFormat::Json), true, true, false);
        assert_eq!(audience.logs, LogFormat::Json);
        assert!(!audience.progress_bars && !audience.result_table);
    }

    #[test]
    fn text_logs_leave_the_result_of_a_pipe_alone() {
        let audience = Audience::choose(Some(LogFormat::Text), false, false, false);
        assert_eq!(audience.logs, LogFormat::Text);
        assert!(!audience.progress_bars && !audience.result_table);
        assert!(!Audience::choose(None, true, false, false).result_table);
    }

    #[test]
    fn a_dumb_terminal_gets_no_bars() {
        let audience = Audience::choose(None, true, true, true);
        assert!(!audience.progress_bars && audience.result_table);
    }
}
