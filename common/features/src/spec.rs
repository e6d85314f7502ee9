//! The feature spec: what a TOML file says about id, target, features and model, and what `metadata.json` carries of it.

mod document;
mod validation;
mod values;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::derive::Expression;
use error::Error;

pub use validation::{Gap, Validation};
pub use values::{AsOf, ColumnEncoding, Monotone, Range};

/// What a user says about the table and the model. Every key is optional; the defaults are those of [`Spec::default`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spec {
    /// Column that identifies a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Column that is predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Columns that must not be features. Derived features may still read them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Columns treated as categories although they are numeric.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categorical: Vec<String>,
    /// Column with the weight of a row in training; it is no feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Categories kept per column, most frequent first; the rest share one level. At least 1.
    #[serde(deserialize_with = "values::positive")]
    pub max_levels: usize,
    /// Whether predictions are held inside the target's range.
    pub clip: bool,
    /// The day that dates are also counted relative to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<AsOf>,
    /// Derived features, in the order of the file.
    #[serde(with = "values::derived", skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<Expression>,
    /// Valid values of a column; what is outside counts against data quality.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ranges: BTreeMap<String, Range>,
    /// What validation keeps apart: rows that depend on one another.
    #[serde(skip_serializing_if = "Validation::is_random")]
    pub validation: Validation,
    /// Directions in which a feature may move the prediction.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub monotone: BTreeMap<String, Monotone>,
    /// XGBoost's parameters under XGBoost's names, as the text that XGBoost parses.
    #[serde(with = "values::parameters", skip_serializing_if = "BTreeMap::is_empty")]
    pub model: BTreeMap<String, String>,
    /// How a category column is encoded; columns not named are [`ColumnEncoding::Auto`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub encoding: BTreeMap<String, ColumnEncoding>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            id: None,
            target: None,
            exclude: Vec::new(),
            categorical: Vec::new(),
            weight: None,
            max_levels: 10_000,
            clip: false,
            as_of: None,
            derived: Vec::new(),
            ranges: BTreeMap::new(),
            validation: Validation::default(),
            monotone: BTreeMap::new(),
            model: BTreeMap::new(),
            encoding: BTreeMap::new(),
        }
    }
}

impl Spec {
    /// Parses the TOML `text` of the spec at `location`, which is named in errors.
    ///
    /// # Errors
    /// [`Error::Setting`], one line with location, line and key: TOML that does not parse, a key that does not exist, a value of
    /// the wrong type, an expression outside the subset, keys that contradict each other.
    pub fn parse(text: &str, location: &str) -> Result<Self, Error> {
        let spec = document::read(text).map_err(|problem| problem.at(location))?;
        spec.check().map_err(|problem| Error::Setting(format!("{location}: {problem}")))?;
        Ok(spec)
    }

    /// The same spec with the id and target of the settings, which win over the spec's own.
    ///
    /// # Errors
    /// [`Error::Setting`] where they contradict the rest of the spec, such as a derived feature that reads the target.
    pub fn with_columns(mut self, id: Option<&str>, target: Option<&str>) -> Result<Self, Error> {
        self.id = id.map(str::to_owned).or(self.id);
        self.target = target.map(str::to_owned).or(self.target);
        self.check().map_err(|problem| Error::Setting(format!("feature spec and settings: {problem}")))?;
        Ok(self)
    }

    /// The same spec with what the settings say of validation, which wins over the spec's own.
    ///
    /// # Errors
    /// [`Error::Setting`] where that contradicts the rest of the spec.
    pub fn with_validation(mut self, settings: Validation) -> Result<Self, Error> {
        self.validation = self.validation.with(settings);
        self.check().map_err(|problem| Error::Setting(format!("feature spec and settings: {problem}")))?;
        Ok(self)
    }

    /// How the category column `name` is to be encoded.
    #[must_use]
    pub fn encoding_of(&self, name: &str) -> ColumnEncoding {
        self.encoding.get(name).copied().unwrap_or_default()
    }

    /// What the keys say together.
    fn check(&self) -> Result<(), String> {
        self.check_roles()?;
        self.check_derived()?;
        self.check_monotone()
    }

    /// The columns that are no features, with the key that makes them so.
    fn roles(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let group = ("validation.group", &self.validation.group);
        let single = [("id", &self.id), ("target", &self.target), ("weight", &self.weight), group];
        let single = single.into_iter().filter_map(|(key, column)| column.as_deref().map(|column| (key, column)));
        single.chain(self.exclude.iter().map(|column| ("exclude", column.as_str())))
    }

    /// The key that keeps `column` from being a feature.
    fn role_of(&self, column: &str) -> Option<&'static str> {
        self.roles().find(|(_, name)| *name == column).map(|(key, _)| key)
    }

    fn check_roles(&self) -> Result<(), String> {
        let Validation { time, group, gap } = &self.validation;
        let of_validation = [("validation.time (--time)", time), ("validation.group (--group)", group)];
        let single = [("id", &self.id), ("target", &self.target), ("weight", &self.weight)];
        let single = [single.as_slice(), &of_validation].concat();
        if let (Some(gap), None) = (gap, time) {
            return Err(format!(
                "the gap {gap} has no effect without a time column: name it (time, --time, TIME_COLUMN)"
            ));
        }
        for (place, (key, column)) in single.iter().enumerate() {
            let Some(column) = column else { continue };
            if column.is_empty() {
                return Err(format!("{key} is empty: give the name of a column or leave the key out"));
            }
            if let Some((other, _)) = single[..place].iter().find(|(_, name)| name.as_ref() == Some(column)) {
                return Err(format!("{key} and {other} are both `{column}`: they must be different columns"));
            }
        }
        let target = self.target.as_ref();
        if let Some(target) = target.filter(|target| self.exclude.contains(target)) {
            return Err(format!(
                "exclude names the target `{target}`: the target is never a feature, so leave it out of exclude"
            ));
        }
        for (list, columns) in
            [("categorical", self.categorical.iter().collect()), ("encoding", self.encoding.keys().collect::<Vec<_>>())]
        {
            if let Some(target) = target.filter(|target| columns.contains(target)) {
                return Err(format!("{list} names the target `{target}`, which must be a number"));
            }
        }
        Ok(())
    }

    fn check_derived(&self) -> Result<(), String> {
        for expression in &self.derived {
            let name = expression.name();
            if let Some(target) = &self.target {
                expression.forbid_target(target).map_err(|error| error.to_string())?;
            }
            let key = self.roles().find(|(key, column)| *key != "exclude" && *column == name).map(|(key, _)| key);
            if let Some(key) = key {
                return Err(format!("derived feature `{name}` has the name of the {key} column: choose another name"));
            }
            self.check_independent(expression)?;
        }
        Ok(())
    }

    /// A derived feature reads input columns only, so the order of features and columns never matters.
    fn check_independent(&self, expression: &Expression) -> Result<(), String> {
        let name = expression.name();
        if expression.reads(name) {
            return Err(format!(
                "derived feature `{name}` reads a column of its own name: give the feature a name that no column has"
            ));
        }
        let other = self.derived.iter().find(|other| expression.reads(other.name()));
        other.map_or(Ok(()), |other| Err(expression.reads_derived(other.name()).to_string()))
    }

    fn check_monotone(&self) -> Result<(), String> {
        for column in self.monotone.keys() {
            if let Some(key) = self.role_of(column).filter(|_| !self.is_derived(column)) {
                return Err(format!("monotone names `{column}`, which is no feature: {key} has it too"));
            }
            if self.categorical.contains(column) {
                return Err(format!(
                    "monotone names `{column}`, which categorical makes a category: categories have no order"
                ));
            }
        }
        Ok(())
    }

    fn is_derived(&self, name: &str) -> bool {
        self.derived.iter().any(|expression| expression.name() == name)
    }
}

#[cfg(test)]
mod tests;
