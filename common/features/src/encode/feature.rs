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

/// What a feature's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FeatureSource {
    /// A column of the table, by name.
    Column(String),
    /// An expression over columns of the table.
    Expression {
        /// Its text.
        sql: String,
        /// The columns that it reads, and what they held in training.
        inputs: BTreeMap<String, ColumnKind>,
    },
}

/// One feature: its place in the list is its column of the matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredFeature", into = "StoredFeature")]
pub struct Feature {
    /// Its name, unique in the model.
    pub name: String,
    /// How its number comes about.
    pub kind: Kind,
    /// What its value comes from.
    pub source: FeatureSource,
    /// What the source held in training.
    pub source_kind: ColumnKind,
}

/// A feature as `metadata.json` has it.
#[derive(Serialize, Deserialize)]
struct StoredFeature {
    name: String,
    #[serde(flatten)]
    kind: Kind,
    /// The source column, where that is not `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    /// The expression, instead of a source column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sql: Option<String>,
    #[serde(rename = "type")]
    source_kind: ColumnKind,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    inputs: BTreeMap<String, ColumnKind>,
}

impl From<StoredFeature> for Feature {
    fn from(stored: StoredFeature) -> Self {
        let StoredFeature { name, kind, column, sql, source_kind, inputs } = stored;
        let source = match sql {
            Some(sql) => FeatureSource::Expression { sql, inputs },
            None => FeatureSource::Column(column.unwrap_or_else(|| name.clone())),
        };
        Self { name, kind, source, source_kind }
    }
}

impl From<Feature> for StoredFeature {
    fn from(feature: Feature) -> Self {
        let Feature { name, kind, source, source_kind } = feature;
        let (column, sql, inputs) = match source {
            FeatureSource::Column(column) => (Some(column).filter(|column| *column != name), None, BTreeMap::new()),
            FeatureSource::Expression { sql, inputs } => (None, Some(sql), inputs),
        };
        Self { name, kind, column, sql, source_kind, inputs }
    }
}

impl Feature {
    /// The source column; `None` for an expression.
    #[must_use]
    pub fn source_column(&self) -> Option<&str> {
        match &self.source {
            FeatureSource::Column(name) => Some(name),
            FeatureSource::Expression { .. } => None,
        }
    }

    /// Every input column that the feature is made from, with what it held in training.
    pub fn input_columns(&self) -> impl Iterator<Item = (&str, ColumnKind)> {
        let (own, inputs) = match &self.source {
            FeatureSource::Column(name) => (Some((name.as_str(), self.source_kind)), None),
            FeatureSource::Expression { inputs, .. } => (None, Some(inputs)),
        };
        let inputs = inputs.into_iter().flatten().map(|(name, kind)| (name.as_str(), *kind));
        own.into_iter().chain(inputs)
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
            source: FeatureSource::Column("plan".to_owned()),
            source_kind: ColumnKind::Text,
        };
        let json = serde_json::to_value(&feature).unwrap();
        let expected = serde_json::json!({
            "name": "plan", "kind": "encoded", "levels": ["a"], "values": [0.5], "default": 0.25, "type": "text"
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Feature>(json).unwrap(), feature);
    }

    #[test]
    fn a_source_is_stored_where_the_name_does_not_say_it() {
        let inputs: BTreeMap<String, ColumnKind> = [("a".to_owned(), ColumnKind::Integer)].into();
        let expression = FeatureSource::Expression { sql: "a + 1".to_owned(), inputs };
        let cases = [
            (FeatureSource::Column("city".to_owned()), serde_json::json!({ "column": "city" })),
            (expression, serde_json::json!({ "sql": "a + 1", "inputs": { "a": "integer" } })),
        ];
        for (source, stored) in cases {
            let feature =
                Feature { name: "x".to_owned(), kind: Kind::Number, source, source_kind: ColumnKind::Integer };
            let mut expected = serde_json::json!({ "name": "x", "kind": "number", "type": "integer" });
            expected.as_object_mut().unwrap().extend(stored.as_object().unwrap().clone());
            let json = serde_json::to_value(&feature).unwrap();
            assert_eq!(json, expected);
            assert_eq!(serde_json::from_value::<Feature>(json).unwrap(), feature);
        }
    }
}
