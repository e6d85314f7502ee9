//! The parameters of XGBoost 3.4.1 for regression with trees: names, aliases, types, ranges, and who owns the others.
//!
//! From XGBoost's documentation (doc/parameter.rst) and its declarations (src/tree/param.h, src/tree/hist/hist_param.h,
//! src/gbm/gbtree.h, src/learner.cc, src/objective). A test tries every row on the library.

use std::fmt;

/// One parameter that a user may set.
pub(super) struct Known {
    /// XGBoost's main name in its documentation.
    pub(super) name: &'static str,
    aliases: &'static [&'static str],
    pub(super) kind: Kind,
}

/// Type and range of a value.
pub(super) enum Kind {
    /// A finite number from `low` to `high`, the ends included or not.
    Number { low: f64, high: f64, with_low: bool, with_high: bool },
    /// A whole number of 32 bits, from `low` on.
    Whole { low: i32 },
    /// `true`, `false`, `1` or `0`.
    Flag,
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// One of the metrics for regression that fall as a model gets better.
    Metric,
    /// `(1,0,-1)`, one sign per feature.
    Monotone,
    /// `[[0,1],[2,3]]`, groups of feature numbers.
    Interactions,
}

/// The objectives with one prediction per row for a numeric target.
pub const OBJECTIVES: &[&str] = &[
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:logistic",
    "reg:pseudohubererror",
    "reg:absoluteerror",
    "reg:quantileerror",
    "reg:expectileerror",
    "reg:gamma",
    "reg:tweedie",
    "count:poisson",
];

/// Metrics that fall as a regression gets better, so that early stopping can use any of them.
const METRICS: &[&str] = &[
    "rmse",
    "rmsle",
    "mae",
    "mape",
    "mphe",
    "quantile",
    "expectile",
    "logloss",
    "poisson-nloglik",
    "gamma-nloglik",
    "gamma-deviance",
];

const FROM_0: Kind = Kind::Number { low: 0.0, high: f64::INFINITY, with_low: true, with_high: false };
const SHARE: Kind = Kind::Number { low: 0.0, high: 1.0, with_low: true, with_high: true };
const SHARE_ABOVE_0: Kind = Kind::Number { low: 0.0, high: 1.0, with_low: false, with_high: true };
const INSIDE_0_AND_1: Kind = Kind::Number { low: 0.0, high: 1.0, with_low: false, with_high: false };
const INSIDE_1_AND_2: Kind = Kind::Number { low: 1.0, high: 2.0, with_low: false, with_high: false };
const ANY_NUMBER: Kind =
    Kind::Number { low: f64::NEG_INFINITY, high: f64::INFINITY, with_low: false, with_high: false };

/// A parameter without aliases.
const fn known(name: &'static str, kind: Kind) -> Known {
    Known { name, aliases: &[], kind }
}

/// A parameter with an alias.
const fn aliased(name: &'static str, aliases: &'static [&'static str], kind: Kind) -> Known {
    Known { name, aliases, kind }
}

static TABLE: &[Known] = &[
    known("base_score", ANY_NUMBER),
    known("booster", Kind::OneOf(&["gbtree", "dart"])),
    aliased("alpha", &["reg_alpha"], FROM_0),
    known("colsample_bylevel", SHARE_ABOVE_0),
    known("colsample_bynode", SHARE_ABOVE_0),
    known("colsample_bytree", SHARE_ABOVE_0),
    aliased("eta", &["learning_rate"], SHARE),
    known("eval_metric", Kind::Metric),
    known("expectile_alpha", INSIDE_0_AND_1),
    aliased("gamma", &["min_split_loss"], FROM_0),
    known("grow_policy", Kind::OneOf(&["depthwise", "lossguide"])),
    known("huber_slope", Kind::Number { low: 0.0, high: f64::INFINITY, with_low: false, with_high: false }),
    known("interaction_constraints", Kind::Interactions),
    aliased("lambda", &["reg_lambda"], FROM_0),
    known("max_bin", Kind::Whole { low: 2 }),
    known("max_cached_hist_node", Kind::Whole { low: 1 }),
    known("max_cat_threshold", Kind::Whole { low: 1 }),
    known("max_cat_to_onehot", Kind::Whole { low: 1 }),
    known("max_delta_step", FROM_0),
    known("max_depth", Kind::Whole { low: 0 }),
    known("max_leaves", Kind::Whole { low: 0 }),
    known("min_child_weight", FROM_0),
    known("monotone_constraints", Kind::Monotone),
    known("normalize_type", Kind::OneOf(&["tree", "forest"])),
    known("num_parallel_tree", Kind::Whole { low: 1 }),
    known("objective", Kind::OneOf(OBJECTIVES)),
    known("one_drop", Kind::Flag),
    known("quantile_alpha", INSIDE_0_AND_1),
    known("rate_drop", SHARE),
    known("sample_type", Kind::OneOf(&["uniform", "weighted"])),
    known("sampling_method", Kind::OneOf(&["uniform", "gradient_based"])),
    known("scale_pos_weight", FROM_0),
    known("skip_drop", SHARE),
    known("subsample", SHARE_ABOVE_0),
    known("tree_method", Kind::OneOf(&["auto", "hist", "approx", "exact"])),
    known("tweedie_variance_power", INSIDE_1_AND_2),
];

const THREADS: &str = "set --threads";
const SEED: &str = "set --seed";
const ROUNDS: &str = "set --rounds, or leave it to early stopping";
const DEVICE: &str = "this program computes on the CPU";
const LOGS: &str = "XGBoost's messages follow RUST_LOG";
const CHECKED: &str = "parameters are always validated";
const SHAPE: &str = "it follows from the data and the objective";
const UPDATERS: &str = "choose \"tree_method\"; existing trees are not updated";
const FILES: &str = "models go to --models";
const METRIC: &str = "choose \"eval_metric\"";
const BINS: &str = "the quantile matrix decides on it";
const ENCODING: &str = "categories and missing values follow the feature spec";

/// Parameters of XGBoost, or of its wrappers, on which the program decides.
static OWNED: &[(&str, &str)] = &[
    ("nthread", THREADS),
    ("n_jobs", THREADS),
    ("seed", SEED),
    ("random_state", SEED),
    ("seed_per_iteration", "it is always on, so that a run can be resumed"),
    ("num_boost_round", ROUNDS),
    ("num_round", ROUNDS),
    ("n_estimators", ROUNDS),
    ("early_stopping_rounds", ROUNDS),
    ("device", DEVICE),
    ("gpu_id", DEVICE),
    ("predictor", DEVICE),
    ("fail_on_invalid_gpu_id", DEVICE),
    ("use_rmm", DEVICE),
    ("use_cuda_async_pool", DEVICE),
    ("verbosity", LOGS),
    ("silent", LOGS),
    ("validate_parameters", CHECKED),
    ("debug_synchronize", CHECKED),
    ("disable_default_eval_metric", METRIC),
    ("num_class", SHAPE),
    ("num_target", SHAPE),
    ("num_feature", SHAPE),
    ("num_output_group", SHAPE),
    ("multi_strategy", SHAPE),
    ("boost_from_average", "give \"base_score\" to turn it off"),
    ("updater", UPDATERS),
    ("updater_seq", UPDATERS),
    ("process_type", UPDATERS),
    ("refresh_leaf", UPDATERS),
    ("sparse_threshold", BINS),
    ("missing", ENCODING),
    ("enable_categorical", ENCODING),
    ("feature_types", ENCODING),
    ("data", FILES),
    ("test:data", FILES),
    ("model_in", FILES),
    ("model_out", FILES),
    ("model_dir", FILES),
    ("xgb_model", FILES),
    ("save_period", FILES),
];

/// The parameter of this name or alias.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.name == name || known.aliases.contains(&name))
}

/// What to do in place of setting this parameter, if the program owns it.
pub(super) fn owner(name: &str) -> Option<&'static str> {
    OWNED.iter().find(|(owned, _)| *owned == name).map(|(_, instead)| *instead)
}

/// All names that can be set, aliases included.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|known| std::iter::once(known.name).chain(known.aliases.iter().copied()))
}

impl Kind {
    /// Whether XGBoost would take this text for such a value.
    pub(super) fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Number { low, high, with_low, with_high } => parse_number(text).is_some_and(|value| {
                (value > *low || *with_low && value == *low) && (value < *high || *with_high && value == *high)
            }),
            Self::Whole { low } => parse_whole(text).is_some_and(|value| value >= *low),
            Self::Flag => ["true", "false", "1", "0"].contains(&text),
            Self::OneOf(words) => words.contains(&text),
            Self::Metric => is_metric(text),
            Self::Monotone => parse_monotone(text).is_some(),
            Self::Interactions => parse_interactions(text).is_some(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { low, high, with_low, with_high } => write_range(to, (*low, *with_low), (*high, *with_high)),
            Self::Whole { low } => write!(to, "a whole number from {low} on"),
            Self::Flag => write!(to, "true or false"),
            Self::OneOf(words) => write!(to, "one of {}", words.join(", ")),
            Self::Metric => write!(to, "one of {}, tweedie-nloglik@POWER", METRICS.join(", ")),
            Self::Monotone => write!(to, "one of 1, 0, -1 per feature, such as (1,0,-1)"),
            Self::Interactions => write!(to, "groups of feature numbers from 0, such as [[0,1],[2,3]]"),
        }
    }
}

/// `a number above 0, up to 1`.
fn write_range(
    to: &mut fmt::Formatter<'_>,
    (low, with_low): (f64, bool),
    (high, with_high): (f64, bool),
) -> fmt::Result {
    write!(to, "a number")?;
    if low.is_finite() {
        write!(to, " {} {low}", if with_low { "from" } else { "above" })?;
    }
    if high.is_finite() {
        write!(to, " {} {high}", if with_high { "up to" } else { "below" })?;
    }
    Ok(())
}

/// A finite decimal number that fits XGBoost's `f32`.
fn parse_number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value: f32 = text.parse().ok().filter(|_| plain)?;
    // The f64 of the text, so that 0.99999999999 is below 1 as written; XGBoost's f32 has to be in range as well.
    value.is_finite().then(|| text.parse().ok()).flatten()
}

/// A whole number as XGBoost reads it.
fn parse_whole(text: &str) -> Option<i32> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// A metric by name, with the one parameter that a metric for regression takes.
fn is_metric(text: &str) -> bool {
    match text.split_once('@') {
        Some(("tweedie-nloglik", power)) => INSIDE_1_AND_2.accepts(power),
        Some(_) => false,
        None => METRICS.contains(&text),
    }
}

/// `(1,0,-1)` as signs. XGBoost would also take other numbers, by their sign, and a single one without brackets.
pub(super) fn parse_monotone(text: &str) -> Option<Vec<i8>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let signs = inner.trim_end_matches(',').split(',').map(|sign| sign.trim().parse().ok());
    signs.map(|sign| sign.filter(|sign| (-1..=1).contains(sign))).collect()
}

/// `[[0,1],[2,3]]` as groups of feature numbers.
pub(super) fn parse_interactions(text: &str) -> Option<Vec<Vec<usize>>> {
    serde_json::from_str(text).ok()
}
