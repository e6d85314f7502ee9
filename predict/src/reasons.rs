//! Why a row was predicted what it was: the sources that contributions are added up in, the rows that get reasons, and the
//! columns that hold them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use columns::{ColumnKind, ColumnSource};
use error::text::without_control_characters;
use error::{Error, Result};
use features::derive::{Expression, ExpressionError, ValueType};
use features::encode::{Feature, FeatureSource, rows_where, value_type};
use polars::prelude::{
    ChunkTake, Column, IdxCa, IdxSize, IntoColumn, NamedFrom, NewChunkedArray, Series, StringChunked,
};
use scoring::Reason;
use table::Dataset;

use crate::load::Model;
use crate::settings::Settings;

/// What the predictions are called in a condition.
const PREDICTION: &str = "prediction";

/// The setting, for messages.
const SETTING: &str = "--reasons-where (REASONS_WHERE)";

fn wrong(error: &ExpressionError) -> Error {
    Error::Setting(format!("{SETTING}: {}", without_control_characters(&error.problem.to_string())))
}

/// What the features of a model are made from: a source column, or a derived feature; several columns of the matrix may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Their names, in the order of the matrix.
    pub names: Vec<String>,
    /// For each feature the number of its source.
    pub of_feature: Vec<u32>,
}

impl Sources {
    /// Those of the features of a matrix. Features of one expression are called as the first of them is.
    #[must_use]
    pub fn of<'a>(features: impl Iterator<Item = &'a Feature>) -> Self {
        let mut sources = Self { names: Vec::new(), of_feature: Vec::new() };
        let mut known: HashMap<&FeatureSource, u32> = HashMap::new();
        for feature in features {
            let source = *known.entry(&feature.source).or_insert_with(|| {
                sources.names.push(feature.source_column().unwrap_or(&feature.name).to_owned());
                sources.names.len() as u32 - 1
            });
            sources.of_feature.push(source);
        }
        sources
    }
}

/// Which rows get reasons.
#[derive(Debug)]
pub struct Condition {
    expression: Expression,
    /// The input columns that it reads, and what they hold.
    inputs: BTreeMap<String, ColumnKind>,
}

impl Condition {
    /// The condition that the settings ask for, not bound to an input yet.
    ///
    /// # Errors
    /// [`Error::Setting`] where it is no expression.
    pub fn of(settings: &Settings) -> Result<Option<Self>> {
        let parse = |sql: &String| {
            let expression = Expression::parse(SETTING, sql, None).map_err(|error| wrong(&error))?;
            Ok(Self { expression, inputs: BTreeMap::new() })
        };
        settings.reasons_where.as_ref().map(parse).transpose()
    }

    /// The input columns that it reads.
    pub fn input_columns(&self) -> impl Iterator<Item = &String> {
        self.expression.columns().iter().filter(|name| *name != PREDICTION)
    }

    /// Looks up what the columns hold: in CSV what the model has learnt of a column, else text.
    ///
    /// # Errors
    /// [`Error::Setting`] where the input has no such column, or the expression does not say whether a row gets reasons.
    pub fn bound_to(mut self, dataset: &Dataset, model: &Model) -> Result<Self> {
        let names: Vec<String> = self.input_columns().cloned().collect();
        for name in names {
            let Some(column) = dataset.schema.get(&name) else { continue };
            let learnt = if dataset.is_csv() { model.learnt_kind(&name) } else { None };
            self.inputs.insert(name, learnt.unwrap_or(column.kind));
        }
        let kind = |name: &str| {
            let of_input = || self.inputs.get(name).copied();
            if name == PREDICTION { Some(ColumnKind::Float) } else { of_input() }
        };
        match self.expression.bind(&|name| kind(name).map(value_type)).map_err(|error| wrong(&error))? {
            ValueType::Boolean => Ok(self),
            other => Err(Error::Setting(format!(
                "{SETTING}: `{}` is {other}, but has to be true or false of each row: compare it with something",
                self.expression.sql()
            ))),
        }
    }

    /// The rows that get reasons, in order.
    fn rows(&self, source: &dyn ColumnSource, predictions: &[f64]) -> Result<Vec<usize>> {
        rows_where(&self.expression, &self.inputs, source, (PREDICTION, predictions))
    }
}

/// The reasons that a run was asked for.
#[derive(Debug)]
pub struct Reasons {
    /// How many for each row.
    pub count: usize,
    condition: Option<Condition>,
    names: StringChunked,
    explained: AtomicU64,
}

/// Bytes of a reason and its contribution in the output: a view of its name, and a number.
pub const REASON_BYTES: u64 = 16 + 8;

impl Reasons {
    /// The reasons that the settings ask for; none where they ask for none.
    #[must_use]
    pub fn new(settings: &Settings, condition: Option<Condition>, model: &Model) -> Option<Self> {
        let names = Sources::of(model.features()).names;
        let names = StringChunked::from_slice("names".into(), &names);
        (settings.reasons > 0).then(|| Self {
            count: settings.reasons.into(),
            condition,
            names,
            explained: AtomicU64::new(0),
        })
    }

    /// How many rows got reasons since the program began.
    #[must_use]
    pub fn rows_explained(&self) -> u64 {
        self.explained.load(Ordering::Relaxed)
    }

    /// The input columns that they need besides those of the features.
    pub fn input_columns(&self) -> impl Iterator<Item = &String> {
        self.condition.iter().flat_map(Condition::input_columns)
    }

    /// The rows that get reasons, in order; none where all do.
    ///
    /// # Errors
    /// [`Error::Data`] where a column cannot be decoded.
    pub fn wanted(&self, source: &dyn ColumnSource, predictions: &[f64]) -> Result<Option<Vec<usize>>> {
        self.condition.as_ref().map(|condition| condition.rows(source, predictions)).transpose()
    }

    /// The columns of the output: `reasons` are [`Reasons::count`] for each of the rows that get some.
    ///
    /// # Errors
    /// [`Error::Defect`] where they do not fit together.
    pub fn columns(&self, reasons: &[Reason], wanted: Option<&[usize]>, rows: usize) -> Result<Vec<Column>> {
        self.explained.fetch_add((reasons.len() / self.count.max(1)) as u64, Ordering::Relaxed);
        let mut columns = Vec::with_capacity(2 * self.count);
        for place in 0..self.count {
            let mut of_rows = vec![None; rows];
            for (index, reasons) in reasons.chunks(self.count).enumerate() {
                let row = wanted.map_or(Some(index), |rows| rows.get(index).copied());
                let cell = row.and_then(|row| of_rows.get_mut(row));
                if let (Some(cell), Some(reason)) = (cell, reasons.get(place)) {
                    *cell = (reason.source != Reason::NONE.source).then_some(*reason);
                }
            }
            let name = format!("reason_{}", place + 1);
            let sources: Vec<Option<IdxSize>> =
                of_rows.iter().map(|reason| reason.map(|reason| reason.source)).collect();
            let sources = IdxCa::from_slice_options("sources".into(), &sources);
            // Names are not copied: the column shares one text for each source.
            let names = self.names.take(&sources).map_err(|error| Error::Defect(error.to_string()))?;
            let values: Vec<Option<f64>> =
                of_rows.iter().map(|reason| reason.map(|reason| f64::from(reason.contribution))).collect();
            columns.push(names.with_name(name.as_str().into()).into_column());
            columns.push(Series::new(format!("{name}_contribution").into(), values).into_column());
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use features::encode::Kind;

    fn feature(name: &str, column: Option<&str>, sql: Option<&str>) -> Feature {
        let source = match sql {
            Some(sql) => FeatureSource::Expression { sql: sql.to_owned(), inputs: BTreeMap::new() },
            None => FeatureSource::Column(column.unwrap_or(name).to_owned()),
        };
        Feature { name: name.to_owned(), kind: Kind::Number, source, source_kind: ColumnKind::Float }
    }

    #[test]
    fn columns_of_the_matrix_share_a_source() {
        let features = [
            feature("city", None, None),
            feature("age", None, None),
            feature("city_mean", Some("city"), None),
            feature("rate", None, Some("a / b")),
            feature("rate_mean", None, Some("a / b")),
            feature("a / b", None, None),
        ];
        let sources = Sources::of(features.iter());
        assert_eq!(sources.names, ["city", "age", "rate", "a / b"]);
        assert_eq!(sources.of_feature, [0, 1, 0, 2, 2, 3]);
    }
}
