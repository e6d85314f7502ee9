//! XGBoost's parameters as a user gives them, validated before training.
//!
//! XGBoost only warns about a name it does not know and looks at values when training starts. Here a name is one of the
//! table in `table.rs`, its value has the table's type and range, and nothing is given twice. What remains (values that
//! only XGBoost can judge, parameters that the chosen objective does not use) comes to light in
//! [`dry_run`](super::dry_run).

mod table;

use std::collections::BTreeMap;

pub use table::{OBJECTIVES, names};

use super::source::Feature;
use error::Error;

/// Why a parameter cannot be used. The text names it and says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// No parameter of XGBoost's tree boosters has this name.
    #[error("XGBoost has no parameter {name:?} for regression with trees{}", nearest.map_or_else(|| ": leave it out, or correct its name".to_owned(), |near| format!(": did you mean {near:?}?")))]
    Unknown {
        /// The name as given.
        name: String,
        /// The most similar name there is, if one is similar.
        nearest: Option<&'static str>,
    },
    /// The program decides on it.
    #[error("the parameter {name:?} cannot be set: {instead}")]
    Owned {
        /// The name as given.
        name: String,
        /// Who decides, and what to set in its place.
        instead: &'static str,
    },
    /// The value is not of the parameter's type or range.
    #[error("the parameter {name:?} cannot be {value:?}: it must be {expected}")]
    Value {
        /// The name as given.
        name: String,
        /// The value as given.
        value: String,
        /// Type and range.
        expected: String,
    },
    /// One parameter is given twice in one place, perhaps under two names.
    #[error("the parameters {first:?} and {second:?} are the same: give one of them, once")]
    Twice {
        /// The name given first.
        first: String,
        /// The name given second.
        second: String,
    },
    /// Parameters that do not go together.
    #[error("{0}")]
    Contradiction(String),
    /// XGBoost refused them in a trial; its own words.
    #[error("XGBoost refuses these parameters: {0}")]
    Refused(String),
}

impl From<ParamError> for Error {
    fn from(error: ParamError) -> Self {
        Self::Setting(error.to_string())
    }
}

/// Valid parameters, each under XGBoost's main name of it (`eta`, not `learning_rate`), ordered by name. Written down as an
/// object of texts, and validated again when read.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "BTreeMap<String, String>", try_from = "BTreeMap<String, String>")]
pub struct Params {
    values: BTreeMap<&'static str, String>,
}

impl From<Params> for BTreeMap<String, String> {
    fn from(params: Params) -> Self {
        params.values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl TryFrom<BTreeMap<String, String>> for Params {
    type Error = ParamError;

    fn try_from(named: BTreeMap<String, String>) -> Result<Self, ParamError> {
        Self::parse(named)
    }
}

impl Params {
    /// Takes parameters that come from one place, such as the spec or the command line.
    ///
    /// # Errors
    /// [`ParamError`] for the first that is unknown, owned by the program, of a wrong value or given twice.
    pub fn parse<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, ParamError> {
        let mut values = BTreeMap::new();
        let mut given: BTreeMap<&'static str, String> = BTreeMap::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref().trim(), value.as_ref().trim());
            let main_name = validate(name, value)?;
            if let Some(first) = given.insert(main_name, name.to_owned()) {
                return Err(ParamError::Twice { first, second: name.to_owned() });
            }
            values.insert(main_name, value.to_owned());
        }
        Ok(Self { values })
    }

    /// These parameters, with those of `over` in the place of their namesakes.
    #[must_use]
    pub fn merged(mut self, over: Self) -> Self {
        self.values.extend(over.values);
        self
    }

    /// The value given for a parameter, by any of its names.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let known = table::find(name)?;
        self.values.get(known.name).map(String::as_str)
    }

    /// Sets one parameter in place of what it was.
    ///
    /// # Errors
    /// As [`Params::parse`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ParamError> {
        let (name, value) = (name.trim(), value.trim());
        self.values.insert(validate(name, value)?, value.to_owned());
        Ok(())
    }

    /// Names and values, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Whether nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The bins that a quantile matrix for these parameters must have: XGBoost's default is 256.
    #[must_use]
    pub fn max_bin(&self) -> u32 {
        self.number("max_bin").unwrap_or(256)
    }

    /// The objective: XGBoost's default is `reg:squarederror`.
    #[must_use]
    pub fn objective(&self) -> &str {
        self.get("objective").unwrap_or("reg:squarederror")
    }

    /// Whether training takes a quantile matrix (`hist`, the default) or a plain one (`approx`, `exact`).
    #[must_use]
    pub fn wants_quantile_matrix(&self) -> bool {
        matches!(self.get("tree_method"), None | Some("auto" | "hist"))
    }

    /// Whether training that goes on from a checkpoint gives the same bytes as undisturbed training.
    ///
    /// Not so with `approx` and a `subsample` below 1: for an objective of constant Hessian XGBoost takes the bins of all
    /// rounds from the rows sampled in the first round it sees, and a snapshot does not hold them. Such a run has to
    /// start again at round 0, which does give the same bytes. (For the same reason a plain matrix that one booster
    /// trained on by `approx` must not serve another.)
    #[must_use]
    pub fn resumes_exactly(&self) -> bool {
        let sampled = self.number("subsample").is_some_and(|share: f64| share < 1.0);
        !(sampled && self.get("tree_method") == Some("approx"))
    }

    /// What XGBoost is given: these parameters and the ones that the program owns, chosen so that a run can be
    /// repeated and resumed byte for byte.
    #[must_use]
    pub fn for_booster(&self, threads: usize, seed: u32) -> Vec<(String, String)> {
        let owned = [
            ("device", "cpu".to_owned()),
            ("nthread", threads.to_string()),
            ("seed", seed.to_string()),
            ("seed_per_iteration", "true".to_owned()),
        ];
        let given = self.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        given.chain(owned.map(|(name, value)| (name.to_owned(), value))).collect()
    }

    /// Finds what contradicts itself, or the features, in a way that XGBoost passes over or tells late.
    ///
    /// # Errors
    /// [`ParamError::Contradiction`] names the parameters and what to change.
    pub fn check(&self, features: &[Feature]) -> Result<(), ParamError> {
        let contradiction = self.contradiction().or_else(|| self.misfit(features));
        contradiction.map_or(Ok(()), |text| Err(ParamError::Contradiction(text)))
    }

    /// Parameters that do not go together.
    fn contradiction(&self) -> Option<String> {
        let exact = self.get("tree_method") == Some("exact");
        let depth_is_free = self.number("max_depth") == Some(0_u32);
        let leaves_are_free = self.number("max_leaves").unwrap_or(0_u32) == 0;
        let fewer_nodes = self.number("colsample_bynode").is_some_and(|share: f64| share < 1.0);
        let by_gradient = self.get("sampling_method") == Some("gradient_based");
        let rules = [
            (
                depth_is_free && (leaves_are_free || exact),
                "\"max_depth\" 0 needs \"max_leaves\" above 0 and a \"tree_method\" other than \"exact\"",
            ),
            (exact && !leaves_are_free, "\"tree_method\" \"exact\" does not obey \"max_leaves\""),
            (
                exact && self.get("grow_policy") == Some("lossguide"),
                "\"tree_method\" \"exact\" does not obey \"grow_policy\"",
            ),
            (exact && self.get("max_bin").is_some(), "\"tree_method\" \"exact\" does not obey \"max_bin\""),
            (exact && fewer_nodes, "\"tree_method\" \"exact\" cannot sample columns by node"),
            (
                by_gradient && !self.wants_quantile_matrix(),
                "\"sampling_method\" \"gradient_based\" needs \"tree_method\" \"hist\"",
            ),
            (
                self.objective() == "reg:quantileerror" && self.get("quantile_alpha").is_none(),
                "\"objective\" \"reg:quantileerror\" needs \"quantile_alpha\"",
            ),
            (
                self.objective() == "reg:expectileerror" && self.get("expectile_alpha").is_none(),
                "\"objective\" \"reg:expectileerror\" needs \"expectile_alpha\"",
            ),
        ];
        rules.iter().find(|(broken, _)| *broken).map(|(_, text)| (*text).to_owned())
    }

    /// Parameters that name features which do not exist.
    fn misfit(&self, features: &[Feature]) -> Option<String> {
        let count = features.len();
        let signs = self.get("monotone_constraints").and_then(table::parse_monotone);
        if let Some(signs) = signs.filter(|signs| signs.len() != count) {
            return Some(format!("\"monotone_constraints\" has {} signs for {count} features", signs.len()));
        }
        let groups = self.get("interaction_constraints").and_then(table::parse_interactions)?;
        let beyond = groups.into_iter().flatten().find(|index| *index >= count)?;
        Some(format!(
            "\"interaction_constraints\" names feature {beyond}, the last of {count} is {}",
            count.saturating_sub(1)
        ))
    }

    /// A value as a number.
    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name).and_then(|value| value.parse().ok())
    }
}

/// Checks one parameter and gives XGBoost's main name of it.
///
/// # Errors
/// [`ParamError`]: unknown, owned by the program, or a value that is not of the parameter's type or range.
pub fn validate(name: &str, value: &str) -> Result<&'static str, ParamError> {
    if let Some(instead) = table::owner(name) {
        return Err(ParamError::Owned { name: name.to_owned(), instead });
    }
    let Some(known) = table::find(name) else {
        return Err(ParamError::Unknown { name: name.to_owned(), nearest: nearest_name(name) });
    };
    if known.kind.accepts(value) {
        return Ok(known.name);
    }
    let expected = known.kind.to_string();
    Err(ParamError::Value { name: name.to_owned(), value: value.to_owned(), expected })
}

/// `monotone_constraints` for signs in feature order: 1 rising, -1 falling, 0 free.
#[must_use]
pub fn monotone_constraints(signs: &[i8]) -> String {
    let signs: Vec<String> = signs.iter().map(|sign| sign.signum().to_string()).collect();
    format!("({})", signs.join(","))
}

/// The name in the table that is most like this one, if it is like it at all: a third of the letters may differ.
fn nearest_name(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase().replace(['-', '.'], "_");
    let distance = |known: &str| edit_distance(&lower, known);
    names().min_by_key(|known| distance(known)).filter(|known| distance(known) <= known.len().max(3) / 3)
}

/// Levenshtein distance in bytes: insertions, deletions and replacements that make `from` into `to`.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, old) in from.bytes().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cell, new) in row.iter_mut().skip(1).zip(to.bytes()) {
            let replaced = diagonal + usize::from(old != new);
            diagonal = *cell;
            *cell = replaced.min(left + 1).min(diagonal + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
