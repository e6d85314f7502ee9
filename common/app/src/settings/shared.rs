//! Settings that both programs have.

use std::num::NonZeroUsize;

use clap::Args;

use super::values::{ByteSize, Positive};
use columns::CellFormat;
use machine::env;
use machine::{Explicit, RunId};
use storage::Location;
use table::csv::CsvFormat;
use telemetry::LogFormat;

/// The run itself.
#[derive(Debug, Clone, Args)]
pub struct SharedArgs {
    /// Id of this run; a repeated one continues that run [default: sortable, unique]
    #[arg(long, env = env::RUN_ID, hide_env_values = true, help_heading = "Run")]
    pub run_id: Option<RunId>,

    /// Threads to use [default: what the container may use]
    #[arg(long, env = env::THREADS, hide_env_values = true, help_heading = "Run")]
    pub threads: Option<Positive>,

    /// Memory to use, such as 4g [default: what the container may use]
    #[arg(long, env = env::MEMORY, hide_env_values = true, help_heading = "Run")]
    pub memory: Option<ByteSize>,

    /// Environment, a dimension of the metrics
    #[arg(long, env = env::ENVIRONMENT, hide_env_values = true, default_value = "dev", help_heading = "Run")]
    pub environment: String,

    /// Format of logs and result: json or text [default: text on a terminal, else json]
    #[arg(long, env = env::LOG_FORMAT, hide_env_values = true, help_heading = "Run")]
    pub log_format: Option<LogFormat>,
}

/// The model store.
#[derive(Debug, Clone, Args)]
pub struct ModelStoreArgs {
    /// The model store: s3://bucket/prefix, file:///path or a path
    #[arg(long, env = env::MODELS, hide_env_values = true, value_name = "LOCATION")]
    pub models: Location,

    /// Name of the models
    #[arg(long, env = env::MODEL_NAME, hide_env_values = true, default_value = "engagement", value_parser = super::model_name)]
    pub model_name: String,
}

/// How CSV is written.
#[derive(Debug, Clone, Copy, Args)]
pub struct CsvArgs {
    /// What stands between the cells of CSV: one ASCII character such as , ; or |, or tab
    #[arg(long, env = env::DELIMITER, hide_env_values = true, default_value = ",", value_parser = super::values::delimiter, value_name = "CHARACTER", allow_hyphen_values = true, help_heading = "Data")]
    pub delimiter: u8,

    /// What stands before the fraction of a number in CSV: . or ,
    #[arg(long, env = env::DECIMAL, hide_env_values = true, default_value = ".", value_parser = super::values::decimal, value_name = "CHARACTER", help_heading = "Data")]
    pub decimal: u8,
}

impl CsvArgs {
    /// The format that these settings mean.
    #[must_use]
    pub fn format(self) -> CsvFormat {
        CsvFormat { delimiter: self.delimiter, cells: CellFormat { decimal: self.decimal } }
    }

    /// Adds the settings to those that identify a run. The defaults are left out, as a plan of an older program has none.
    pub fn identify(self, identity: &mut serde_json::Value) {
        let default = CsvFormat::default();
        let settings =
            [("delimiter", self.delimiter, default.delimiter), ("decimal", self.decimal, default.cells.decimal)];
        for (name, value, _) in settings.into_iter().filter(|(_, value, default)| value != default) {
            identity[name] = char::from(value).to_string().into();
        }
    }
}

impl SharedArgs {
    /// The limits that were asked for.
    #[must_use]
    pub fn explicit_limits(&self) -> Explicit {
        Explicit {
            threads: self.threads.and_then(|threads| NonZeroUsize::new(threads.0)),
            memory_bytes: self.memory.map(|memory| memory.0),
        }
    }
}
