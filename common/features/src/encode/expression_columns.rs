//! The columns that expressions read, typed, and what expressions yield from them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use polars::prelude::{Series, StringChunked};

use super::bad_rows::{BadRows, ColumnCells};
use super::parse_cells::{column_numbers, parsed_booleans, text_cells};
use super::values::{as_levels, as_numbers};
use crate::derive::{Columns, Derived, Expression, TextColumn, ValueType, Values};
use columns::{CellFormat, ColumnKind, ColumnSource};
use error::{Error, Result};

/// The input columns of one expression, loaded and typed.
pub(super) struct ExpressionColumns {
    columns: Vec<(String, ExpressionColumn)>,
}

enum ExpressionColumn {
    Number(Vec<f64>),
    Date(Vec<f64>),
    Boolean(Vec<Option<bool>>),
    Text(TextCells),
}

struct TextCells(StringChunked);

impl TextColumn for TextCells {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, row: usize) -> Option<&str> {
        self.0.get(row)
    }
}

impl ExpressionColumns {
    pub(super) fn load<'a>(
        inputs: impl Iterator<Item = (&'a str, ColumnKind)>,
        source: &dyn ColumnSource,
        bad: &mut BadRows,
    ) -> Result<Self> {
        let mut columns = Vec::new();
        for (name, kind) in inputs {
            let column = source.column(name)?;
            columns.push((name.to_owned(), expression_column(&column, kind, source.cell_format(name), bad)?));
        }
        Ok(Self { columns })
    }
}

impl Columns for ExpressionColumns {
    fn get(&self, name: &str) -> Option<Values<'_>> {
        let (_, column) = self.columns.iter().find(|(column, _)| column == name)?;
        Some(match column {
            ExpressionColumn::Number(numbers) => Values::Number(Cow::Borrowed(numbers)),
            ExpressionColumn::Date(days) => Values::Date(Cow::Borrowed(days)),
            ExpressionColumn::Boolean(values) => Values::Boolean(Cow::Borrowed(values)),
            ExpressionColumn::Text(cells) => Values::Text(cells),
        })
    }
}

fn expression_column(
    column: &Series,
    kind: ColumnKind,
    format: Option<CellFormat>,
    bad: &mut BadRows,
) -> Result<ExpressionColumn> {
    Ok(match value_type(kind) {
        ValueType::Number => ExpressionColumn::Number(column_numbers(column, kind, format, bad)?),
        ValueType::Date => ExpressionColumn::Date(column_numbers(column, kind, format, bad)?),
        ValueType::Text => ExpressionColumn::Text(TextCells(as_levels(column, kind)?.into_owned())),
        ValueType::Boolean => ExpressionColumn::Boolean(match format {
            Some(format) => {
                let cells = ColumnCells { name: column.name(), kind, cells: text_cells(column)?, format };
                parsed_booleans(cells, bad)
            }
            None => {
                let truth = |number: f64| number.is_finite().then_some(number != 0.0);
                as_numbers(column)?.into_iter().map(truth).collect()
            }
        }),
    })
}

pub(super) fn named_kinds(inputs: &BTreeMap<String, ColumnKind>) -> impl Iterator<Item = (&str, ColumnKind)> {
    inputs.iter().map(|(name, kind)| (name.as_str(), *kind))
}

/// The texts that an expression yields for the rows of a table; none where it yields numbers.
///
/// # Errors
/// [`Error::Data`] where an input column is missing or does not fit.
pub fn evaluate_text(
    expression: &Expression,
    inputs: &BTreeMap<String, ColumnKind>,
    source: &dyn ColumnSource,
) -> Result<Vec<Option<String>>> {
    let columns = ExpressionColumns::load(named_kinds(inputs), source, &mut BadRows::none(source.rows()))?;
    let derived = expression.evaluate(&columns, source.rows());
    match derived.map_err(|error| Error::Data(error.to_string()))? {
        Derived::Text(texts) => Ok(texts.into_iter().map(|text| text.map(str::to_owned)).collect()),
        Derived::Number(_) => Ok(vec![None; source.rows()]),
    }
}

/// The rows of a table for which an expression is true, in order; `own` is a column of numbers that the
/// table does not have.
///
/// # Errors
/// [`Error::Data`] where an input column is missing or does not fit.
pub fn rows_where(
    expression: &Expression,
    inputs: &BTreeMap<String, ColumnKind>,
    source: &dyn ColumnSource,
    (own, numbers): (&str, &[f64]),
) -> Result<Vec<usize>> {
    let mut columns = ExpressionColumns::load(named_kinds(inputs), source, &mut BadRows::none(source.rows()))?;
    columns.columns.push((own.to_owned(), ExpressionColumn::Number(numbers.to_vec())));
    let derived = expression.evaluate(&columns, source.rows());
    match derived.map_err(|error| Error::Data(error.to_string()))? {
        Derived::Number(holds) => Ok((0..).zip(holds).filter(|(_, holds)| *holds == 1.0).map(|(row, _)| row).collect()),
        Derived::Text(_) => Ok(Vec::new()),
    }
}

/// The type that a column of this kind has in an expression.
#[must_use]
pub fn value_type(kind: ColumnKind) -> ValueType {
    match kind {
        ColumnKind::Boolean => ValueType::Boolean,
        ColumnKind::Text => ValueType::Text,
        ColumnKind::Date | ColumnKind::Time | ColumnKind::Duration => ValueType::Date,
        ColumnKind::Integer | ColumnKind::Float | ColumnKind::Null | ColumnKind::Unsupported => ValueType::Number,
    }
}
