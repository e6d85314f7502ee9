//! Why a row was predicted what it was: the sources that contributions are added up in, the rows that get reasons, and the
//! columns that hold them.

use std::collections::BTreeMap;

use columns::{ColumnKind, ColumnSource};
use error::text::without_control_characters;
use error::{Error, Result};
use features::derive::{Expression, ExpressionError, ValueType};
use features::encode::{rows_where, value_type};
use polars::prelude::{
    ChunkTake, Column, IdxCa, IdxSize, IntoColumn, NamedFrom, NewChunkedArray, Series, StringChunked,
};
use scoring::Reason;
use table::Dataset;

use crate::load::Model;
use crate::sources::Sources;

/// What the predictions are called in a condition.
const PREDICTION: &str = "prediction";

/// The setting, for messages.
const SETTING: &str = "--reasons-where (REASONS_WHERE)";

fn wrong(error: &ExpressionError) -> Error {
    Error::Setting(format!("{SETTING}: {}", without_control_characters(&error.problem.to_string())))
}

/// Which rows get reasons.
#[derive(Debug)]
pub struct Condition {
    expression: Expression,
    /// The input columns that it reads, and what they hold.
    inputs: BTreeMap<String, ColumnKind>,
}

impl Condition {
    /// The condition of an expression, not bound to an input yet.
    ///
    /// # Errors
    /// [`Error::Setting`] where it is no expression.
    pub fn parse(sql: &str) -> Result<Self> {
        let expression = Expression::parse(SETTING, sql, None).map_err(|error| wrong(&error))?;
        Ok(Self { expression, inputs: BTreeMap::new() })
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
}

/// Bytes of a reason and its contribution in the output: a view of its name, and a number.
pub const REASON_BYTES: u64 = 16 + 8;

impl Reasons {
    /// So many reasons for each row that the condition holds for; none where there are to be none.
    #[must_use]
    pub fn new(count: u16, condition: Option<Condition>, model: &Model) -> Option<Self> {
        let names = Sources::of(model.features()).names;
        let names = StringChunked::from_slice("names".into(), &names);
        (count > 0).then(|| Self { count: count.into(), condition, names })
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
