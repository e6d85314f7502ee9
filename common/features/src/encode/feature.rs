//! One column of the matrix, as `metadata.json` states it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use columns::ColumnKind;

/// How a feature's number comes about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    /// The number itself; true is 1, false is 0.
    Number,
    /// The place of the value in `levels`; XGBoost splits on sets of them. Anything else is missing.
    Category {
        /// Values as text, most frequent in training first.
        levels: Vec<String>,
    },
    /// The number that stands for the value, `values[i]` for `levels[i]`.
    Encoded {
        /// Values as text, most frequent in training first.
        levels: Vec<String>,
        /// One number for each level.
        values: Vec<f32>,
        /// The number for anything else, missing included.
        default: f32,
    },
    /// Days since 1970-01-01 00:00 UTC; with `as_of`, days from the value to that date instead.
    Date {
        /// Days since 1970-01-01 of the date that the feature is relative to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        as_of: Option<f64>,
    },
    /// A number computed from other columns by the expression in `sql`.
    Derived,
}

/// One feature: its place in the list is its column of the matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// Its name, unique in the model.
    pub name: String,
    /// How its number comes about.
    #[serde(flatten)]
    pub kind: Kind,
    /// The source column, where that is not `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The expression over the input columns that yields the value, instead of a source column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// What the source column (or the expression) held in training.
    #[serde(rename = "type")]
    pub source_kind: ColumnKind,
    /// The columns that the expression reads, and what they held in training.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, ColumnKind>,
}

impl Feature {
    /// The source column; `None` for an expression.
    #[must_use]
    pub fn source_column(&self) -> Option<&str> {
        match &self.sql {
            Some(_) => None,
            None => Some(self.column.as_deref().unwrap_or(&self.name)),
        }
    }

    /// Every input column that the feature is made from, with what it held in training.
    pub fn input_columns(&self) -> impl Iterator<Item = (&str, ColumnKind)> {
        let own = self.source_column().map(|name| (name, self.source_kind));
        own.into_iter().chain(self.inputs.iter().map(|(name, kind)| (name.as_str(), *kind)))
    }

    /// The levels of a category, encoded as a number or not.
    #[must_use]
    pub fn levels(&self) -> Option<&[String]> {
        match &self.kind {
            Kind::Category { levels } | Kind::Encoded { levels, .. } => Some(levels),
            Kind::Number | Kind::Date { .. } | Kind::Derived => None,
        }
    }

    /// XGBoost's feature type: `c` for categories, `q` for everything that is a number.
    #[must_use]
    pub fn xgboost_type(&self) -> &'static str {
        match self.kind {
            Kind::Category { .. } => "c",
            Kind::Number | Kind::Encoded { .. } | Kind::Date { .. } | Kind::Derived => "q",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_reads_as_the_contract_shows_it() {
        let feature = Feature {
            name: "plan".to_owned(),
            kind: Kind::Encoded { levels: vec!["a".to_owned()], values: vec![0.5], default: 0.25 },
            column: None,
            sql: None,
            source_kind: ColumnKind::Text,
            inputs: BTreeMap::new(),
        };
        let json = serde_json::to_value(&feature).unwrap();
        let expected = serde_json::json!({
            "name": "plan", "kind": "encoded", "levels": ["a"], "values": [0.5], "default": 0.25, "type": "text"
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Feature>(json).unwrap(), feature);
    }
}
