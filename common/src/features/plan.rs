//! Which features a table gives: from the spec where it says something, from the columns' types where it does not.

use std::collections::BTreeMap;

use super::derive::{Expression, ValueType};
use super::encode::value_type;
use super::spec::Spec;
use crate::table::{ColumnKind, ColumnSchema, TableSchema};
use crate::{Error, Result};

/// What one feature will be made from; how, is learnt from the training rows.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedFeature {
    /// Its name, unique.
    pub name: String,
    /// What it is made from.
    pub source: Source,
    /// What the source holds.
    pub source_kind: ColumnKind,
    /// Whether its values are categories.
    pub is_category: bool,
    /// Days since 1970-01-01 that a date is relative to.
    pub as_of: Option<f64>,
}

/// What a feature is made from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A column of the table.
    Column(String),
    /// An expression and the kinds of the columns that it reads.
    Expression(Expression, BTreeMap<String, ColumnKind>),
}

/// The features of a table, in matrix order: its columns in their order, then the derived ones in the spec's.
///
/// # Errors
/// [`Error::Setting`] where the spec does not fit the table, [`Error::Data`] where a column can be no feature or there
/// is none at all.
pub fn plan(spec: &Spec, id: &str, target: &str, schema: &TableSchema, location: &str) -> Result<Vec<PlannedFeature>> {
    schema.require(id, location)?;
    schema.require(target, location)?;
    if let Some(weight) = &spec.weight {
        schema.require(weight, location)?;
    }
    warn_of_absent_exclusions(spec, schema, location);
    warn_of_idle_ranges(spec, schema, location);
    let mut features = Vec::new();
    for column in schema.columns() {
        let reserved = [Some(id), Some(target), spec.weight.as_deref()];
        if reserved.contains(&Some(column.name.as_str())) || spec.exclude.contains(&column.name) {
            continue;
        }
        plan_column(spec, column, location, &mut features)?;
    }
    for expression in &spec.derived {
        features.push(plan_expression(expression, schema, location)?);
    }
    check_names(spec, &features)?;
    if features.is_empty() {
        return Err(Error::Data(format!(
            "{location} has no column left to be a feature besides the id \"{id}\" and the target \"{target}\""
        )));
    }
    Ok(features)
}

fn plan_column(spec: &Spec, column: &ColumnSchema, location: &str, features: &mut Vec<PlannedFeature>) -> Result<()> {
    if column.kind == ColumnKind::Unsupported {
        return Err(Error::Data(format!(
            "{location}: column \"{}\" has the type {}, which cannot be a feature: add it to `exclude` in the feature spec",
            column.name, column.dtype
        )));
    }
    let feature = PlannedFeature {
        name: column.name.clone(),
        source: Source::Column(column.name.clone()),
        source_kind: column.kind,
        is_category: column.kind == ColumnKind::Text || spec.categorical.contains(&column.name),
        as_of: None,
    };
    if let (ColumnKind::Date, Some(as_of), false) = (column.kind, &spec.as_of, feature.is_category) {
        features.push(feature.clone());
        let name = format!("{}_until_as_of", column.name);
        features.push(PlannedFeature { name, as_of: Some(as_of.days()), ..feature });
        return Ok(());
    }
    features.push(feature);
    Ok(())
}

fn plan_expression(expression: &Expression, schema: &TableSchema, location: &str) -> Result<PlannedFeature> {
    let kind_of = |name: &str| schema.get(name).map(|column| column.kind);
    let bound = expression.bind(&|name| kind_of(name).map(value_type));
    let yields =
        bound.map_err(|error| Error::Setting(format!("feature spec, with the columns of {location}: {error}")))?;
    let inputs = expression.columns().iter().filter_map(|name| Some((name.clone(), kind_of(name)?))).collect();
    Ok(PlannedFeature {
        name: expression.name().to_owned(),
        source: Source::Expression(expression.clone(), inputs),
        source_kind: if yields == ValueType::Text { ColumnKind::Text } else { ColumnKind::Float },
        is_category: yields == ValueType::Text,
        as_of: None,
    })
}

fn check_names(spec: &Spec, features: &[PlannedFeature]) -> Result<()> {
    let mut names = std::collections::HashSet::new();
    if let Some(twice) = features.iter().find(|feature| !names.insert(feature.name.as_str())) {
        return Err(Error::Setting(format!(
            "feature spec: two features are called \"{}\": give the derived one another name",
            twice.name
        )));
    }
    let named =
        [("categorical", spec.categorical.iter().collect::<Vec<_>>()), ("monotone", spec.monotone.keys().collect())];
    for (key, columns) in named {
        if let Some(unknown) = columns.into_iter().find(|column| !names.contains(column.as_str())) {
            return Err(Error::Setting(format!(
                "feature spec: {key} names \"{unknown}\", which is no feature of this table"
            )));
        }
    }
    Ok(())
}

fn warn_of_absent_exclusions(spec: &Spec, schema: &TableSchema, location: &str) {
    for name in spec.exclude.iter().filter(|name| schema.get(name).is_none()) {
        tracing::warn!("{location} has no column \"{name}\", which the feature spec excludes: is the name right?");
    }
}

/// A range that is never looked at would pass for checked data.
fn warn_of_idle_ranges(spec: &Spec, schema: &TableSchema, location: &str) {
    for name in spec.ranges.keys() {
        let is_expression = spec.derived.iter().any(|expression| expression.name() == name);
        match schema.get(name) {
            None if !is_expression && !is_until_as_of(spec, name, schema) => {
                tracing::warn!(
                    "{location} has no column \"{name}\", which has a range in the feature spec: is the name right?"
                );
            }
            Some(column) if column.kind == ColumnKind::Text => {
                tracing::warn!(
                    "{location}: column \"{name}\" has text, so its range in the feature spec is not looked at"
                );
            }
            _ => {}
        }
    }
}

/// Whether a name is that of a date counted from `as_of`.
fn is_until_as_of(spec: &Spec, name: &str, schema: &TableSchema) -> bool {
    spec.as_of.is_some() && name.strip_suffix("_until_as_of").is_some_and(|column| schema.get(column).is_some())
}
