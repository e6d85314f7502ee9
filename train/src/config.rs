//! What a run is asked to do, derived once from the arguments and the feature spec and checked as a whole. Every step reads
//! this; only [`run`](mod@crate::run) and this module know the arguments themselves.

use columns::refuse_output_column;
use error::{Error, Result};
use evaluation::Gate;
use features::spec::Spec;
use machine::Shard;
use machine::id::ModelVersion;
use serde_json::Value;
use storage::Location;
use table::csv::CsvFormat;
use telemetry::LogFormat;
use xgboost::Params;

use crate::settings::Settings;
use crate::spec;

/// Learning rate where nothing is searched for.
const DEFAULT_ETA: &str = "0.1";

/// A validated run of `train`.
#[derive(Debug)]
pub struct TrainConfig {
    /// Where the training rows lie.
    pub train_data: Location,
    /// Where the held-out rows lie, if they are given apart.
    pub test_data: Option<Location>,
    /// Share of rows that is held out where they are not given apart.
    pub test_fraction: f64,
    /// How CSV is written.
    pub csv: CsvFormat,
    /// Where the feature spec was read from.
    pub features: Option<Location>,
    /// The feature spec, with the id and target of the settings.
    pub spec: Spec,
    /// Name of the id column.
    pub id: String,
    /// Name of the target column.
    pub target: String,
    /// The model store.
    pub models: Location,
    /// Name of the models.
    pub model_name: String,
    /// Label of what is trained.
    pub model_version: ModelVersion,
    /// What the model has to reach.
    pub gate: Gate,
    /// Columns whose every value gets an R² of its own.
    pub slices: Vec<String>,
    /// Whether warnings end the run.
    pub strict: bool,
    /// Whether the run only checks.
    pub check: bool,
    /// XGBoost's parameters that the spec and, above it, the settings name.
    pub user_params: Params,
    /// XGBoost's parameters where nothing is searched for: fixed defaults under those that the user set.
    pub given_params: Params,
    /// Boosting rounds, where they were given.
    pub rounds: Option<u32>,
    /// Folds of a cross-validation that calibrates intervals.
    pub interval_folds: Option<u8>,
    /// Trials of a search for parameters that were asked for.
    pub trials: usize,
    /// Seconds that choosing how to learn may take.
    pub time_budget: u64,
    /// Seed of everything random.
    pub seed: u32,
    /// Which of several tasks this is that learn together.
    pub shard: Option<Shard>,
    /// Where shard 0 of them listens: the address, outside of ECS, and the port.
    pub collective: (Option<String>, u16),
    /// Environment, a dimension of the metrics.
    pub environment: String,
    /// Format of the logs, where it was given.
    pub log_format: Option<LogFormat>,
    /// Every setting that bears on the result, as the plan of a run keeps it.
    pub identity: Value,
}

impl TrainConfig {
    /// Reads the feature spec and checks it with the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] where the settings or the spec are wrong or contradict each other; storage errors as they are.
    pub async fn read(settings: &Settings) -> Result<Self> {
        Self::new(settings, spec::read(settings).await?)
    }

    fn new(settings: &Settings, spec: Spec) -> Result<Self> {
        if let Some(id) = &spec.id {
            refuse_output_column("the id of the feature spec", id)?;
        }
        let from_settings = Params::parse(settings.parameters().map(|(name, value)| (name, value)))?;
        let user_params = Params::parse(spec.model.iter())?.merged(from_settings);
        let defaults = Params::parse([("eta", DEFAULT_ETA), ("max_depth", "6"), ("objective", "reg:squarederror")])?;
        Ok(Self {
            train_data: settings.train_data.clone(),
            test_data: settings.test_data.clone(),
            test_fraction: settings.test_fraction.0,
            csv: settings.csv_format(),
            features: settings.features.clone(),
            id: named(spec.id.as_ref(), "--id (ID_COLUMN)")?,
            target: named(spec.target.as_ref(), "--target (TARGET_COLUMN)")?,
            models: settings.store.models.clone(),
            model_name: settings.store.model_name.clone(),
            model_version: settings.model_version.clone(),
            gate: Gate {
                min_r2: settings.min_r2,
                max_r2_drop: settings.max_r2_drop,
                min_slice_r2: settings.min_slice_r2,
                min_test_rows: settings.min_test_rows.0,
            },
            slices: settings.slice.clone(),
            strict: settings.strict,
            check: settings.check,
            given_params: defaults.merged(user_params.clone()),
            user_params,
            rounds: settings.rounds,
            interval_folds: settings.interval_folds,
            trials: settings.tune.unwrap_or(0),
            time_budget: settings.time_budget,
            seed: settings.seed,
            shard: settings.shard.filter(|shard| shard.count() > 1),
            collective: (settings.collective_host.clone(), settings.collective_port),
            environment: settings.shared.environment.clone(),
            log_format: settings.shared.log_format,
            identity: settings.identity(&spec),
            spec,
        })
    }
}

fn named(column: Option<&String>, setting: &str) -> Result<String> {
    column.cloned().ok_or_else(|| {
        Error::Setting(format!(
            "{setting} is not set, and the feature spec does not name it either: give the column's name"
        ))
    })
}
