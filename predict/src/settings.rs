//! What a run of `predict` was asked to do.

use app::settings::{CsvArgs, Fraction, ModelStoreArgs, Positive, SharedArgs, column_name, finite};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, ValueEnum};
use columns::refuse_output_column;
use error::Error;
use machine::{Shard, env};
use registry::Selector;
use scoring::InstructionSet;
use storage::{Location, Place, refuse_overlap};
use table::csv::CsvFormat;

use crate::interval::parse_level;
use crate::reasons::Condition;

/// What `predict` was asked to do.
#[derive(Debug)]
pub enum Arguments {
    /// Score the input.
    Predict(Box<Settings>),
    /// Check a coming run without scoring.
    Prepare(Box<Settings>),
    /// Compare a run's predictions with what came true.
    Evaluate(Box<EvaluateSettings>),
    /// Write the page of the runs again.
    History(Box<HistorySettings>),
}

impl CommandFactory for Arguments {
    fn command() -> Command {
        // `about` after the arguments, whose own documentation would take its place.
        let prepare = Settings::augment_args(Command::new("prepare"));
        let prepare = prepare.about("Check model, schema, sizes and a sample of a coming run, without scoring");
        let predict = Command::new("predict")
            .version(env!("CARGO_PKG_VERSION"))
            .after_help(
                "Every flag is also an environment variable, named beside it; a flag wins. Exit codes: 0 complete, 2 a \
                 setting is wrong, 4 the data is wrong, 5 storage failed (try again), 6 the model cannot be used, 8 \
                 memory or disk, 143 stopped (run again with the same run id). RUST_LOG sets the log levels.",
            )
            .subcommand_negates_reqs(true);
        let predict = Settings::augment_args(predict).about("Scores every row of a table with a published model.");
        let evaluate = EvaluateSettings::augment_args(Command::new("evaluate"));
        let evaluate = evaluate.about("Compare the predictions of a complete run with what came true since");
        // RUN_ID names the run that a task does, not one that it looks back at.
        let evaluate = evaluate.mut_arg("run_id", |argument| {
            let help = "Id of the run that is evaluated [default: the newest complete run]";
            argument.env(None::<&'static str>).help(help)
        });
        let history = HistorySettings::augment_args(Command::new("history"));
        let history =
            history.about("Write the page of all runs of an output, index.html, again from the files of the runs");
        predict.subcommand(prepare).subcommand(evaluate).subcommand(history)
    }

    fn command_for_update() -> Command {
        Self::command()
    }
}

impl FromArgMatches for Arguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let settings = |matches: &ArgMatches| {
            let mut settings = Settings::from_arg_matches(matches)?;
            let is_a_number = matches!(&settings.columns[..], [name] if name.bytes().all(|byte| byte.is_ascii_digit()));
            let is_of_the_environment = matches.value_source("columns") == Some(ValueSource::EnvVariable);
            settings.columns_may_be_a_width = is_a_number && is_of_the_environment;
            Ok::<_, clap::Error>(Box::new(settings))
        };
        match matches.subcommand() {
            Some(("evaluate", evaluate)) => {
                EvaluateSettings::from_arg_matches(evaluate).map(Box::new).map(Self::Evaluate)
            }
            Some(("history", history)) => HistorySettings::from_arg_matches(history).map(Box::new).map(Self::History),
            Some(("prepare", prepare)) => settings(prepare).map(Self::Prepare),
            _ => settings(matches).map(Self::Predict),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The settings of a prediction run.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The rows to score: s3://bucket/prefix, file:///path or a path; Parquet or CSV, one object or a folder
    #[arg(long, env = env::INPUT_DATA, hide_env_values = true, value_name = "LOCATION", help_heading = "Data")]
    pub input: Location,

    /// How CSV is written
    #[command(flatten)]
    pub csv: CsvArgs,

    /// Where predictions and run records go
    #[arg(long, env = env::OUTPUT, hide_env_values = true, value_name = "LOCATION", help_heading = "Data")]
    pub output: Location,

    /// Where models lie and under which name
    #[command(flatten)]
    pub store: ModelStoreArgs,

    /// The model: latest, a label, or label/run_id
    #[arg(long, env = env::MODEL_VERSION, hide_env_values = true, default_value = "latest")]
    pub model_version: Selector,

    /// Rows per batch in memory [default: what the features and the memory allow]
    #[arg(long, env = env::BATCH_ROWS, hide_env_values = true, help_heading = "Scoring")]
    pub batch_rows: Option<Positive>,

    /// What to do with repeated ids
    #[arg(long, env = env::DUPLICATES, hide_env_values = true, value_enum, default_value_t = Duplicates::Reject, help_heading = "Scoring")]
    pub duplicates: Duplicates,

    /// Most rows that may be rejected, as a share; more and the run fails
    #[arg(long, env = env::MAX_REJECT_FRACTION, hide_env_values = true, default_value = "0.01", help_heading = "Scoring")]
    pub max_reject_fraction: Fraction,

    /// Highest drift (population stability index) of a feature that is tolerated [default: off]
    #[arg(long, env = env::MAX_DRIFT, hide_env_values = true, value_parser = finite, help_heading = "Scoring")]
    pub max_drift: Option<f64>,

    /// Input columns carried over to the predictions, separated by commas
    #[arg(long, env = env::COLUMNS, hide_env_values = true, value_delimiter = ',', value_parser = column_name, value_name = "COLUMN", help_heading = "Output")]
    pub columns: Vec<String>,

    /// Whether the columns are one number of the environment, under whose name shells export the width of the terminal.
    #[arg(skip)]
    pub columns_may_be_a_width: bool,

    /// Format of the predictions
    #[arg(long, env = env::FORMAT, hide_env_values = true, value_enum, default_value_t = OutputFormat::Parquet, help_heading = "Output")]
    pub format: OutputFormat,

    /// Columns prediction_low and prediction_high, between which this share of actual values lies, such as 0.9 [default: off]
    #[arg(long, env = env::INTERVAL, hide_env_values = true, value_parser = parse_level, value_name = "LEVEL", help_heading = "Output")]
    pub interval: Option<f64>,

    /// Columns reason_1, reason_1_contribution and so on: what moved the prediction of each row most
    #[arg(long, env = env::REASONS, hide_env_values = true, default_value = "0", value_parser = clap::value_parser!(u16).range(..=MOST_REASONS), value_name = "K", help_heading = "Output")]
    pub reasons: u16,

    /// Reasons only where this holds, an expression over input columns and prediction (docs/expressions.md) [default: all rows]
    #[arg(long, env = env::REASONS_WHERE, hide_env_values = true, value_name = "EXPR", help_heading = "Output")]
    pub reasons_where: Option<String>,

    /// Which of N tasks that score one input together this is, 0/N to N-1/N; needs --run-id [default: off]
    #[arg(long, env = env::SHARD, hide_env_values = true, value_name = "I/N", help_heading = "Run")]
    pub shard: Option<Shard>,

    /// Instruction set that trees are compiled for, to compare them [default: the fastest that the machine has]
    #[arg(long, value_enum, hide = true)]
    pub instructions: Option<Instructions>,

    /// The run itself
    #[command(flatten)]
    pub shared: SharedArgs,
}

/// The settings of `predict evaluate`.
#[derive(Debug, Clone, Args)]
pub struct EvaluateSettings {
    /// What came true: s3://bucket/prefix, file:///path or a path; Parquet or CSV, one object or a folder
    #[arg(long, env = env::ACTUALS, hide_env_values = true, value_name = "LOCATION", help_heading = "Data")]
    pub actuals: Location,

    /// How CSV is written
    #[command(flatten)]
    pub csv: CsvArgs,

    /// Where the run's predictions and records lie
    #[arg(long, env = env::OUTPUT, hide_env_values = true, value_name = "LOCATION", help_heading = "Data")]
    pub output: Location,

    /// Where models lie and under which name
    #[command(flatten)]
    pub store: ModelStoreArgs,

    /// Column of the actuals that identifies a row [default: the model's id]
    #[arg(long, env = env::ID_COLUMN, hide_env_values = true, value_parser = column_name, value_name = "COLUMN", help_heading = "Data")]
    pub id: Option<String>,

    /// Column of the actuals that was predicted [default: the model's target]
    #[arg(long, env = env::TARGET_COLUMN, hide_env_values = true, value_parser = column_name, value_name = "COLUMN", help_heading = "Data")]
    pub target: Option<String>,

    /// Column of the predictions (--columns) or of the actuals whose every value gets errors of its own (repeats) [default: those of the model, as far as they are there]
    #[arg(long, env = env::SLICE, hide_env_values = true, value_delimiter = ',', value_parser = column_name, value_name = "COLUMN", help_heading = "Gate")]
    pub slice: Vec<String>,

    /// Least R² of what came true; below it the exit code is 3, after everything is written [default: off]
    #[arg(long, env = env::MIN_R2, hide_env_values = true, value_parser = finite, help_heading = "Gate", allow_negative_numbers = true)]
    pub min_r2: Option<f64>,

    /// The run itself
    #[command(flatten)]
    pub shared: SharedArgs,
}

impl EvaluateSettings {
    /// What can be said against the settings before anything is read or written.
    ///
    /// # Errors
    /// [`Error::Setting`] where what is written would be read as actuals.
    pub fn check(&self) -> error::Result<()> {
        let written = Place { setting: "--output (OUTPUT)", location: &self.output };
        refuse_overlap(written, &["runs"], Place { setting: "--actuals (ACTUALS)", location: &self.actuals })
    }
}

/// The settings of `predict history`.
#[derive(Debug, Clone, Args)]
pub struct HistorySettings {
    /// Where the runs' predictions and records lie
    #[arg(long, env = env::OUTPUT, hide_env_values = true, value_name = "LOCATION", help_heading = "Data")]
    pub output: Location,

    /// The run itself
    #[command(flatten)]
    pub shared: SharedArgs,
}

/// What trees can be compiled for. Not a setting of a run: predictions are the same bits with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Instructions {
    /// x86-64 with AVX-512
    Avx512,
    /// x86-64 with AVX2
    Avx2,
    /// 64-bit ARM
    Neon,
    /// Any machine
    Portable,
}

impl Instructions {
    /// The same, as the scorer calls it.
    #[must_use]
    pub fn set(self) -> InstructionSet {
        match self {
            Self::Avx512 => InstructionSet::Avx512,
            Self::Avx2 => InstructionSet::Avx2,
            Self::Neon => InstructionSet::Neon,
            Self::Portable => InstructionSet::Portable,
        }
    }
}

/// What happens to rows whose id came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Duplicates {
    /// The first row of an id is scored, the others are rejected
    Reject,
    /// Every row is scored; ids are not compared
    Allow,
}

/// How predictions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Apache Parquet
    Parquet,
    /// Comma-separated text
    Csv,
}

impl OutputFormat {
    /// The ending of a part's name.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }
}

/// More reasons of a row than anybody reads.
const MOST_REASONS: i64 = 1000;

/// Folders below the output that a run writes to.
const OUTPUT_FOLDERS: [&str; 3] = ["predictions", "rejected", "runs"];

impl Settings {
    /// What can be said against the settings before anything is read or written.
    ///
    /// # Errors
    /// [`Error::Setting`] where the output would be read as input, a carried column has the name of one of the
    /// predictions' own, the condition for reasons cannot be understood, or a shard does not say of which run it is.
    pub fn check(&self) -> error::Result<()> {
        let written = Place { setting: "--output (OUTPUT)", location: &self.output };
        refuse_overlap(written, &OUTPUT_FOLDERS, Place { setting: "--input (INPUT_DATA)", location: &self.input })?;
        if self.reasons_where.is_some() && self.reasons == 0 {
            return Err(Error::Setting(
                "--reasons-where (REASONS_WHERE) says which rows get reasons, but --reasons (REASONS) asks for none: say how many"
                    .to_owned(),
            ));
        }
        if let (Some(shard), None) = (self.shard, &self.shared.run_id) {
            return Err(Error::Setting(format!(
                "--shard (SHARD) {shard} is one of several tasks of a run: say which run with --run-id (RUN_ID), the same for all of \
                 them"
            )));
        }
        self.condition()?;
        self.columns.iter().try_for_each(|column| refuse_output_column("--columns (COLUMNS)", column))
    }

    /// Which rows get reasons, where not all do.
    ///
    /// # Errors
    /// [`Error::Setting`] where it is no expression.
    pub fn condition(&self) -> Result<Option<Condition>, Error> {
        self.reasons_where.as_deref().map(Condition::parse).transpose()
    }

    /// How CSV is written.
    #[must_use]
    pub fn csv_format(&self) -> CsvFormat {
        self.csv.format()
    }
}
