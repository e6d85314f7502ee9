//! Every environment variable that the programs read: one file, checked against the documentation and the task
//! definitions. ECS container overrides set these.

/// Where the training rows lie (`train`).
pub const TRAIN_DATA: &str = "TRAIN_DATA";
/// Where the held-out rows lie (`train`).
pub const TEST_DATA: &str = "TEST_DATA";
/// Share of rows held out where there is no test data (`train`).
pub const TEST_FRACTION: &str = "TEST_FRACTION";
/// The feature spec (`train`).
pub const FEATURES: &str = "FEATURES";
/// Column that identifies a row (`train`).
pub const ID_COLUMN: &str = "ID_COLUMN";
/// Column that is predicted (`train`).
pub const TARGET_COLUMN: &str = "TARGET_COLUMN";
/// Column by which the newest rows judge (`train`).
pub const TIME_COLUMN: &str = "TIME_COLUMN";
/// Column whose values are never on two sides (`train`).
pub const GROUP_COLUMN: &str = "GROUP_COLUMN";
/// How far in time training rows lie before those that judge (`train`).
pub const GAP: &str = "GAP";
/// The model store.
pub const MODELS: &str = "MODELS";
/// Name of the models.
pub const MODEL_NAME: &str = "MODEL_NAME";
/// Label to train under; label, run or `latest` to predict with.
pub const MODEL_VERSION: &str = "MODEL_VERSION";
/// The gate (`train`).
pub const MIN_R2: &str = "MIN_R2";
/// Most that R² may fall below the current model's (`train`).
pub const MAX_R2_DROP: &str = "MAX_R2_DROP";
/// Columns whose values are judged one by one (`train`).
pub const SLICE: &str = "SLICE";
/// Least R² of a slice (`train`).
pub const MIN_SLICE_R2: &str = "MIN_SLICE_R2";
/// Least number of held-out rows (`train`).
pub const MIN_TEST_ROWS: &str = "MIN_TEST_ROWS";
/// Leaks and quality warnings end the run (`train`).
pub const STRICT: &str = "STRICT";
/// XGBoost's parameters, `key=value`, separated by `;` (`train`).
pub const XGB_PARAMS: &str = "XGB_PARAMS";
/// Boosting rounds (`train`).
pub const ROUNDS: &str = "ROUNDS";
/// Folds of a cross-validation that calibrates intervals (`train`).
pub const INTERVAL_FOLDS: &str = "INTERVAL_FOLDS";
/// Trials of a parameter search (`train`).
pub const TUNE: &str = "TUNE";
/// Seconds that choosing defaults or searching may take (`train`).
pub const TIME_BUDGET: &str = "TIME_BUDGET";
/// Seed of everything random (`train`).
pub const SEED: &str = "SEED";
/// Validate and plan only (`train`).
pub const CHECK: &str = "CHECK";
/// Where the rows to score lie (`predict`).
pub const INPUT_DATA: &str = "INPUT_DATA";
/// What stands between the cells of CSV.
pub const DELIMITER: &str = "DELIMITER";
/// What stands before the fraction of a number in CSV.
pub const DECIMAL: &str = "DECIMAL";
/// Where predictions and run records go (`predict`).
pub const OUTPUT: &str = "OUTPUT";
/// Rows per batch in memory (`predict`).
pub const BATCH_ROWS: &str = "BATCH_ROWS";
/// What to do with repeated ids (`predict`).
pub const DUPLICATES: &str = "DUPLICATES";
/// Most rows that may be rejected, as a share (`predict`).
pub const MAX_REJECT_FRACTION: &str = "MAX_REJECT_FRACTION";
/// Highest drift that is tolerated (`predict`).
pub const MAX_DRIFT: &str = "MAX_DRIFT";
/// Input columns carried over to the predictions (`predict`).
pub const COLUMNS: &str = "COLUMNS";
/// Format of the predictions (`predict`).
pub const FORMAT: &str = "FORMAT";
/// The share of actual values between `prediction_low` and `prediction_high` (`predict`).
pub const INTERVAL: &str = "INTERVAL";
/// How many of the largest contributions to a prediction are written (`predict`).
pub const REASONS: &str = "REASONS";
/// Which rows get them, an expression (`predict`).
pub const REASONS_WHERE: &str = "REASONS_WHERE";
/// Where what came true lies (`predict evaluate`).
pub const ACTUALS: &str = "ACTUALS";
/// Which of several tasks that do one job together this one is.
pub const SHARD: &str = "SHARD";
/// Address of this machine that other shards reach shard 0 at, outside of ECS (`train`).
pub const COLLECTIVE_HOST: &str = "COLLECTIVE_HOST";
/// Port that shard 0 listens on (`train`).
pub const COLLECTIVE_PORT: &str = "COLLECTIVE_PORT";
/// Id of the run; a repeated one continues.
pub const RUN_ID: &str = "RUN_ID";
/// Threads to use.
pub const THREADS: &str = "THREADS";
/// Memory to use.
pub const MEMORY: &str = "MEMORY";
/// Environment, a dimension of the metrics.
pub const ENVIRONMENT: &str = "ENVIRONMENT";
/// Format of the logs.
pub const LOG_FORMAT: &str = "LOG_FORMAT";
/// Log levels by module, in `tracing`'s syntax.
pub const RUST_LOG: &str = "RUST_LOG";
/// Where ECS tells a task about itself; set by ECS.
pub const ECS_CONTAINER_METADATA_URI_V4: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// All of them.
pub const ALL: &[&str] = &[
    TRAIN_DATA,
    TEST_DATA,
    TEST_FRACTION,
    FEATURES,
    ID_COLUMN,
    TARGET_COLUMN,
    TIME_COLUMN,
    GROUP_COLUMN,
    GAP,
    MODELS,
    MODEL_NAME,
    MODEL_VERSION,
    MIN_R2,
    MAX_R2_DROP,
    SLICE,
    MIN_SLICE_R2,
    MIN_TEST_ROWS,
    STRICT,
    XGB_PARAMS,
    ROUNDS,
    INTERVAL_FOLDS,
    TUNE,
    TIME_BUDGET,
    SEED,
    CHECK,
    INPUT_DATA,
    DELIMITER,
    DECIMAL,
    OUTPUT,
    BATCH_ROWS,
    DUPLICATES,
    MAX_REJECT_FRACTION,
    MAX_DRIFT,
    COLUMNS,
    FORMAT,
    INTERVAL,
    REASONS,
    REASONS_WHERE,
    ACTUALS,
    SHARD,
    COLLECTIVE_HOST,
    COLLECTIVE_PORT,
    RUN_ID,
    THREADS,
    MEMORY,
    ENVIRONMENT,
    LOG_FORMAT,
    RUST_LOG,
    ECS_CONTAINER_METADATA_URI_V4,
];
