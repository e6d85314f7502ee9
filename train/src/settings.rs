//! What a run of `train` was asked to do.

use app::settings::{
    CsvArgs, Fraction, ModelStoreArgs, Positive, SharedArgs, boolish, column_name, finite, model_name,
};
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Subcommand};
use columns::refuse_output_column;
use features::spec::{Gap, Spec, Validation};
use machine::id::ModelVersion;
use machine::{Shard, env};
use registry::Selector;
use serde_json::{Value, json};
use storage::{Location, Place, refuse_overlap};
use table::csv::CsvFormat;

/// What `train` was asked to do.
#[derive(Debug)]
pub enum Arguments {
    /// Train a model.
    Train(Box<Settings>),
    /// Look at or move the pointers of a store.
    Models(Box<ModelsArguments>),
}

impl CommandFactory for Arguments {
    fn command() -> Command {
        let models = ModelsArguments::augment_args(Command::new("models"));
        let models =
            models.about("List, show, promote, prune and export the models of a store, or write its page again");
        let train = Command::new("train")
            .version(env!("CARGO_PKG_VERSION"))
            .after_help(
                "Every flag is also an environment variable, named beside it; a flag wins. Exit codes: 0 published, 2 a \
                 setting is wrong, 3 the gate did not pass, 4 the data is wrong, 5 storage failed (try again), 6 model, \
                 8 memory or disk, 143 stopped (run again with the same run id). RUST_LOG sets the log levels.",
            )
            .subcommand_negates_reqs(true);
        // After the arguments, whose own documentation would take its place.
        let train = Settings::augment_args(train).about("Fits a gated regression model on a table and publishes it.");
        train.subcommand(models)
    }

    fn command_for_update() -> Command {
        Self::command()
    }
}

impl FromArgMatches for Arguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand() {
            Some(("models", models)) => ModelsArguments::from_arg_matches(models).map(Box::new).map(Self::Models),
            _ => Settings::from_arg_matches(matches).map(|settings| Self::Train(Box::new(settings))),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// `train models …`
#[derive(Debug, Args)]
pub struct ModelsArguments {
    /// What to do
    #[command(subcommand)]
    pub action: ModelsAction,
    /// The model store: s3://bucket/prefix, file:///path or a path
    #[arg(long, env = env::MODELS, hide_env_values = true, value_name = "LOCATION", global = true)]
    pub models: Option<Location>,
    /// Name of the models
    #[arg(long, env = env::MODEL_NAME, hide_env_values = true, default_value = "engagement", value_parser = model_name, global = true)]
    pub model_name: String,
}

/// What to do with a store of models.
#[derive(Debug, Subcommand)]
pub enum ModelsAction {
    /// List every run, newest first, and where the pointers stand
    List,
    /// Show one model: latest, a label or label/run_id
    Show {
        /// Which one
        #[arg(default_value = "latest")]
        model: Selector,
    },
    /// Make a model that passed its gate the latest one; also the way back to an older one
    Promote {
        /// A label, or label/run_id
        model: Selector,
    },
    /// Write the page of all runs, index.html, again from the files of the runs
    History,
    /// Delete all runs but the newest ones; a model that a pointer names is never deleted
    Prune {
        /// How many runs stay
        #[arg(long)]
        keep: usize,
    },
    /// Write a model for other tools: whole, or not at all
    Export {
        /// Which one: latest, a label or label/run_id
        #[arg(default_value = "latest")]
        model: Selector,
        /// A folder to make, which mlflow loads, serves and registers
        #[arg(long, value_name = "DIR", required_unless_present = "onnx")]
        mlflow: Option<Location>,
        /// A file to make, which takes the table's columns and gives predictions in any ONNX runtime
        #[arg(long, value_name = "FILE", required_unless_present = "mlflow")]
        onnx: Option<Location>,
    },
}

/// The settings of a training run.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The training rows: s3://bucket/prefix, file:///path or a path; Parquet or CSV, one object or a folder
    #[arg(long, env = env::TRAIN_DATA, hide_env_values = true, value_name = "LOCATION", help_heading = "Data")]
    pub train_data: Location,

    /// The held-out rows; without it rows are held out of the training data
    #[arg(long, env = env::TEST_DATA, hide_env_values = true, value_name = "LOCATION", help_heading = "Data")]
    pub test_data: Option<Location>,

    /// Share of rows held out where there is no test data, by a hash of the id
    #[arg(long, env = env::TEST_FRACTION, hide_env_values = true, default_value = "0.2", help_heading = "Data")]
    pub test_fraction: Fraction,

    /// The feature spec (TOML); without it features are inferred from the columns
    #[arg(long, env = env::FEATURES, hide_env_values = true, value_name = "LOCATION", help_heading = "Data")]
    pub features: Option<Location>,

    /// Column that identifies a row [default: from the spec]
    #[arg(long, env = env::ID_COLUMN, hide_env_values = true, value_name = "COLUMN", help_heading = "Data")]
    pub id: Option<String>,

    /// Column to predict [default: from the spec]
    #[arg(long, env = env::TARGET_COLUMN, hide_env_values = true, value_name = "COLUMN", help_heading = "Data")]
    pub target: Option<String>,

    /// Column of dates, timestamps or numbers: the newest rows are held out, and every row that judges is newer than those it judges [default: from the spec]
    #[arg(long, env = env::TIME_COLUMN, hide_env_values = true, value_name = "COLUMN", help_heading = "Validation")]
    pub time: Option<String>,

    /// Column whose values are entities: rows with the same value stand on one side only, held out or not [default: from the spec]
    #[arg(long, env = env::GROUP_COLUMN, hide_env_values = true, value_name = "COLUMN", help_heading = "Validation")]
    pub group: Option<String>,

    /// With --time: rows this close before the held-out ones are used by neither side, such as 30d, 12h, or a bare number in the units of a numeric time column [default: from the spec, else 0]
    #[arg(long, env = env::GAP, hide_env_values = true, value_name = "SPAN", value_parser = Gap::parse, help_heading = "Validation")]
    pub gap: Option<Gap>,

    /// How CSV is written
    #[command(flatten)]
    pub csv: CsvArgs,

    /// Where models lie and under which name
    #[command(flatten)]
    pub store: ModelStoreArgs,

    /// Label of what is trained, such as v1.2.0; may be used again, every run keeps its own folder
    #[arg(long, env = env::MODEL_VERSION, hide_env_values = true)]
    pub model_version: ModelVersion,

    /// Least R² on the held-out rows
    #[arg(long, env = env::MIN_R2, hide_env_values = true, default_value = "0.75", value_parser = finite, help_heading = "Gate", allow_negative_numbers = true)]
    pub min_r2: f64,

    /// Most that R² may fall below the current latest model's, on the same rows [default: off]
    #[arg(long, env = env::MAX_R2_DROP, hide_env_values = true, value_parser = finite, help_heading = "Gate")]
    pub max_r2_drop: Option<f64>,

    /// Column whose every value gets an R² of its own (repeats)
    #[arg(long, env = env::SLICE, hide_env_values = true, value_delimiter = ',', value_parser = column_name, value_name = "COLUMN", help_heading = "Gate")]
    pub slice: Vec<String>,

    /// Least R² of every slice [default: off]
    #[arg(long, env = env::MIN_SLICE_R2, hide_env_values = true, value_parser = finite, help_heading = "Gate", allow_negative_numbers = true)]
    pub min_slice_r2: Option<f64>,

    /// Least number of held-out rows
    #[arg(long, env = env::MIN_TEST_ROWS, hide_env_values = true, default_value = "2", help_heading = "Gate")]
    pub min_test_rows: Positive,

    /// Leaks and quality warnings end the run (exit 4)
    #[arg(long, env = env::STRICT, hide_env_values = true, value_parser = boolish(), num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", help_heading = "Gate")]
    pub strict: bool,

    /// An XGBoost parameter under XGBoost's name (repeats; the variable separates with ;)
    #[arg(long, env = env::XGB_PARAMS, hide_env_values = true, value_name = "KEY=VALUE", value_parser = Parameters::parse, help_heading = "Model")]
    pub param: Vec<Parameters>,

    /// Boosting rounds, exactly [default: chosen by early stopping]
    #[arg(long, env = env::ROUNDS, hide_env_values = true, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Model")]
    pub rounds: Option<u32>,

    /// With --rounds: folds of a cross-validation that calibrates intervals, for which a model without a search has no rows [default: off]
    #[arg(long, env = env::INTERVAL_FOLDS, hide_env_values = true, value_name = "K", value_parser = clap::value_parser!(u8).range(2..=20), help_heading = "Model")]
    pub interval_folds: Option<u8>,

    /// Trials of a search for parameters, after the defaults' own [default: off]
    #[arg(long, env = env::TUNE, hide_env_values = true, help_heading = "Model")]
    pub tune: Option<usize>,

    /// Seconds that choosing how to learn and fitting are planned for, in counted work; the clock ends choosing at three times that
    #[arg(long, env = env::TIME_BUDGET, hide_env_values = true, value_name = "SECONDS", default_value = "30", help_heading = "Model")]
    pub time_budget: u64,

    /// Seed of everything random
    #[arg(long, env = env::SEED, hide_env_values = true, default_value = "42", help_heading = "Model")]
    pub seed: u32,

    /// Which of N tasks that learn one model together this is, 0/N to N-1/N; needs --run-id [default: off]
    #[arg(long, env = env::SHARD, hide_env_values = true, value_name = "I/N", help_heading = "Run")]
    pub shard: Option<Shard>,

    /// With --shard: address of this machine that the other shards reach shard 0 at [default: the task's own, on ECS]
    #[arg(long, env = env::COLLECTIVE_HOST, hide_env_values = true, value_name = "ADDRESS", help_heading = "Run")]
    pub collective_host: Option<String>,

    /// With --shard: port that shard 0 listens on; 0 takes a free one
    #[arg(long, env = env::COLLECTIVE_PORT, hide_env_values = true, value_name = "PORT", default_value = "9091", help_heading = "Run")]
    pub collective_port: u16,

    /// Read, validate and plan, train nothing
    #[arg(long, env = env::CHECK, hide_env_values = true, value_parser = boolish(), num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    pub check: bool,

    /// The run itself
    #[command(flatten)]
    pub shared: SharedArgs,
}

impl Settings {
    /// What can be said against the settings before anything is read or written.
    ///
    /// # Errors
    /// [`error::Error::Setting`] where the models would be read as rows, the id has the name of a column of predictions, intervals are
    /// calibrated twice, or this is one of several tasks of a run that has no name in common.
    pub fn check(&self) -> error::Result<()> {
        if self.shard.is_some() && self.shared.run_id.is_none() {
            return Err(error::Error::Setting(
                "--shard (SHARD) needs --run-id (RUN_ID): all tasks of the run have the same".to_owned(),
            ));
        }
        let models = Place { setting: "--models (MODELS)", location: &self.store.models };
        let data = [
            ("--train-data (TRAIN_DATA)", Some(&self.train_data)),
            ("--test-data (TEST_DATA)", self.test_data.as_ref()),
        ];
        for (setting, location) in data {
            let Some(location) = location else { continue };
            refuse_overlap(models, &[&self.store.model_name], Place { setting, location })?;
        }
        if self.interval_folds.is_some() && self.rounds.is_none() && self.time_budget > 0 {
            return Err(error::Error::Setting(
                "--interval-folds (INTERVAL_FOLDS) calibrates intervals of models without a search: give --rounds (ROUNDS), or leave it \
                 out, since a search has rows to calibrate them"
                    .to_owned(),
            ));
        }
        if self.min_slice_r2.is_some() && self.slice.is_empty() {
            return Err(error::Error::Setting(
                "--min-slice-r2 (MIN_SLICE_R2) asks for a least R² of slices, but --slice (SLICE) names no column"
                    .to_owned(),
            ));
        }
        self.id.as_ref().map_or(Ok(()), |id| refuse_output_column("--id (ID_COLUMN)", id))
    }

    /// Every setting that bears on the result, so that a repeated run id can be told from another run. One that is added stands here
    /// only where it is not its default, so that plans of older releases compare.
    #[must_use]
    pub fn identity(&self, spec: &Spec) -> Value {
        let mut identity = json!({
            "train_data": self.train_data.to_string(),
            "test_data": self.test_data.as_ref().map(ToString::to_string),
            "test_fraction": self.test_fraction.0,
            "spec": spec,
            "min_r2": self.min_r2,
            "max_r2_drop": self.max_r2_drop,
            "slice": self.slice,
            "min_slice_r2": self.min_slice_r2,
            "min_test_rows": self.min_test_rows.0,
            "strict": self.strict,
            "param": self.parameters().collect::<Vec<_>>(),
            "rounds": self.rounds,
            "tune": self.tune,
            "time_budget": self.time_budget,
            "seed": self.seed,
        });
        if let Some(folds) = self.interval_folds {
            identity["interval_folds"] = json!(folds);
        }
        self.csv.identify(&mut identity);
        identity
    }

    /// What validation keeps apart, as far as the settings say so.
    #[must_use]
    pub fn validation(&self) -> Validation {
        Validation { time: self.time.clone(), group: self.group.clone(), gap: self.gap.clone() }
    }

    /// The XGBoost parameters that were set, in the order they were given.
    pub fn parameters(&self) -> impl Iterator<Item = &(String, String)> {
        self.param.iter().flat_map(|parameters| &parameters.0)
    }
}

/// `key=value`, or several of them with `;` between, before or behind them, with or without blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(text: &str) -> Result<Self, String> {
        let named = |pair: &str| match pair.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(format!("{:?} must be KEY=VALUE, such as max_depth=6", pair.trim())),
        };
        text.split(';').filter(|pair| !pair.trim().is_empty()).map(named).collect::<Result<_, _>>().map(Self)
    }
}

impl Settings {
    /// How CSV is written.
    #[must_use]
    pub fn csv_format(&self) -> CsvFormat {
        self.csv.format()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_separated_or_ended_by_semicolons() {
        let parsed = |text: &str| Parameters::parse(text).map(|parameters| parameters.0);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parsed("max_depth=4; eta = 0.2 ;"), Ok(vec![pair("max_depth", "4"), pair("eta", "0.2")]));
        assert_eq!(parsed(";;lambda=2"), Ok(vec![pair("lambda", "2")]));
        assert_eq!(parsed(" ; "), Ok(vec![]));
        for wrong in ["max_depth", "max_depth=4;eta", "=4", "eta= ;lambda=2"] {
            assert!(parsed(wrong).unwrap_err().contains("KEY=VALUE"), "{wrong}");
        }
    }
}
