//! Which features a table gives: from the spec where it says something, from the columns' types where it does not.

use std::collections::BTreeMap;

use super::derive::{Expression, ValueType};
use super::encode::value_type;
use super::spec::Spec;
use columns::{ColumnKind, ColumnSchema, TableSchema};
use error::{Error, Result};

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

/// Columns that an error names at most.
const NAMED_MOST: usize = 50;

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
    for column in [&spec.validation.time, &spec.validation.group].into_iter().flatten() {
        schema.require(column, location)?;
    }
    let reserved = [Some(id), Some(target), spec.weight.as_deref(), spec.validation.group.as_deref()];
    let is_candidate = |column: &&ColumnSchema| {
        !reserved.contains(&Some(column.name.as_str()))
            && !spec.exclude.contains(&column.name)
            && !is_constant_partition(&column.name, schema, location)
    };
    let candidates: Vec<&ColumnSchema> = schema.columns().iter().filter(is_candidate).collect();
    refuse_unusable(&candidates, location)?;
    let mut features = Vec::new();
    candidates.iter().for_each(|column| plan_column(spec, column, &mut features));
    for expression in &spec.derived {
        features.push(plan_expression(expression, schema, location)?);
    }
    check_names(spec, &features, schema)?;
    check_monotone(spec, &features)?;
    if features.is_empty() {
        return Err(Error::Data(format!(
            "{location} has no column left to be a feature besides the id \"{id}\" and the target \"{target}\""
        )));
    }
    Ok(features)
}

/// Whether all rows lie in one folder `name=value`: it tells the rows of this location from those of others, and nothing can
/// be learnt from it.
fn is_constant_partition(name: &str, schema: &TableSchema, location: &str) -> bool {
    let is_constant = schema.is_constant_partition(name);
    if is_constant {
        tracing::info!("{location}: column \"{name}\" is the same in the names of all folders, so it is no feature");
    }
    is_constant
}

/// Names all of them at once, so that they need to be excluded only once.
fn refuse_unusable(columns: &[&ColumnSchema], location: &str) -> Result<()> {
    let is_unusable = |column: &&&ColumnSchema| column.kind == ColumnKind::Unsupported;
    let unusable: Vec<&&ColumnSchema> = columns.iter().filter(is_unusable).collect();
    let named = |column: &&&ColumnSchema| format!("\"{}\" ({})", column.name, column.type_text());
    let mut names: Vec<String> = unusable.iter().take(NAMED_MOST).map(named).collect();
    if unusable.len() > names.len() {
        names.push(format!("{} more", unusable.len() - names.len()));
    }
    let names = names.join(", ");
    match unusable.len() {
        0 => Ok(()),
        1 => Err(Error::Data(format!(
            "{location}: column {names} cannot be a feature: add it to `exclude` in the feature spec"
        ))),
        _ => Err(Error::Data(format!(
            "{location}: columns {names} cannot be features: add them to `exclude` in the feature spec"
        ))),
    }
}

fn plan_column(spec: &Spec, column: &ColumnSchema, features: &mut Vec<PlannedFeature>) {
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
        return;
    }
    features.push(feature);
}

/// The feature that an expression gives.
///
/// # Errors
/// [`Error::Setting`] where it does not fit the table.
pub fn plan_expression(expression: &Expression, schema: &TableSchema, location: &str) -> Result<PlannedFeature> {
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

fn check_names(spec: &Spec, features: &[PlannedFeature], schema: &TableSchema) -> Result<()> {
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
        let is_group = |column: &String| spec.validation.group.as_ref() == Some(column);
        let is_unknown = |column: &&String| {
            !names.contains(column.as_str()) && !schema.is_constant_partition(column) && !is_group(column)
        };
        if let Some(unknown) = columns.into_iter().find(is_unknown) {
            return Err(Error::Setting(format!(
                "feature spec: {key} names \"{unknown}\", which is no feature of this table"
            )));
        }
    }
    Ok(())
}

/// A column that the spec calls a category is refused when the spec is read; here are those that hold text.
fn check_monotone(spec: &Spec, features: &[PlannedFeature]) -> Result<()> {
    let is_wrong = |feature: &&PlannedFeature| feature.is_category && spec.monotone.contains_key(&feature.name);
    match features.iter().find(is_wrong) {
        None => Ok(()),
        Some(feature) => Err(Error::Setting(format!(
            "feature spec: monotone names \"{}\", which has {} and is a category: categories have no order",
            feature.name,
            feature.source_kind.describe()
        ))),
    }
}

/// What of a spec has no effect on a table, each in a sentence: names of columns that are not there, ranges of text.
#[must_use]
pub fn warnings(spec: &Spec, schema: &TableSchema, location: &str) -> Vec<String> {
    let absent = spec.exclude.iter().filter(|name| schema.get(name).is_none());
    let absent = absent.map(|name| {
        format!("{location} has no column \"{name}\", which the feature spec excludes: is the name right?")
    });
    absent.chain(spec.ranges.keys().filter_map(|name| idle_range(name, spec, schema, location))).collect()
}

/// A range that is never looked at would pass for checked data.
fn idle_range(name: &str, spec: &Spec, schema: &TableSchema, location: &str) -> Option<String> {
    let is_expression = spec.derived.iter().any(|expression| expression.name() == name);
    match schema.get(name) {
        None if !is_expression && !is_until_as_of(spec, name, schema) => Some(format!(
            "{location} has no column \"{name}\", which has a range in the feature spec: is the name right?"
        )),
        Some(column) if column.kind == ColumnKind::Text && !spec.categorical.iter().any(|known| known == name) => {
            Some(format!("{location}: column \"{name}\" has text, so its range in the feature spec is not looked at"))
        }
        _ => None,
    }
}

/// Whether a name is that of a date counted from `as_of`.
fn is_until_as_of(spec: &Spec, name: &str, schema: &TableSchema) -> bool {
    spec.as_of.is_some() && name.strip_suffix("_until_as_of").is_some_and(|column| schema.get(column).is_some())
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;

    use super::*;

    #[test]
    fn a_category_has_no_direction() {
        let columns =
            [("k", DataType::String), ("y", DataType::Float64), ("c", DataType::String), ("x", DataType::Float64)];
        let columns = columns.map(|(name, dtype)| ColumnSchema::new(name, dtype)).to_vec();
        let schema = TableSchema::new(columns, "t").unwrap();
        let planned = |spec: &str| plan(&Spec::parse(spec, "spec").unwrap(), "k", "y", &schema, "t");
        let refused = planned("[monotone]\nc = 1").unwrap_err();
        let expected = "feature spec: monotone names \"c\", which has text and is a category: categories have no order";
        assert_eq!((refused.exit_code(), refused.to_string().as_str()), (2, expected));
        let derived =
            planned("[monotone]\nd = 1\n[derived]\nd = \"CASE WHEN x > 1 THEN 'a' ELSE 'b' END\"").unwrap_err();
        assert!(derived.to_string().contains("monotone names \"d\""), "{derived}");
        assert_eq!(planned("[monotone]\nx = 1").unwrap().len(), 2);
    }

    #[test]
    fn all_columns_that_can_be_no_feature_are_named_at_once() {
        let column = |name: &str, dtype: DataType| ColumnSchema::new(name, dtype);
        let mut columns = vec![column("k", DataType::String), column("y", DataType::Float64)];
        let refused = |columns: &[ColumnSchema], exclude: &[&str]| {
            let schema = TableSchema::new(columns.to_vec(), "t").unwrap();
            let exclude = exclude.iter().map(ToString::to_string).collect();
            let spec = Spec { exclude, ..Spec::default() };
            plan(&spec, "k", "y", &schema, "t").unwrap_err().to_string()
        };
        columns.push(column("raw", DataType::Binary));
        let of_one = "t: column \"raw\" (binary) cannot be a feature: add it to `exclude` in the feature spec";
        assert_eq!(refused(&columns, &[]), of_one);
        columns.push(column("tags", DataType::List(Box::new(DataType::String))));
        let of_two = "t: columns \"raw\" (binary), \"tags\" (list[str]) cannot be features: add them to `exclude` in the feature spec";
        assert_eq!(refused(&columns, &[]), of_two);
        assert_eq!(refused(&columns, &["tags"]), of_one);
        columns.extend((0..NAMED_MOST).map(|index| column(&index.to_string(), DataType::Binary)));
        assert!(refused(&columns, &[]).contains(", 2 more cannot be features"));
    }
}
