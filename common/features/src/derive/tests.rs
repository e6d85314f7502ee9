//! What the subset means (golden cases), that hostile text does no harm, and that a batch is its rows.

mod golden;
mod hostile;
mod random;

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Columns, Derived, Expression, ExpressionError, ValueType, Values, parse_timestamp};

/// A column that owns its values.
#[derive(Debug, Clone)]
enum Column {
    Number(Vec<f64>),
    Boolean(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
    Date(Vec<f64>),
}

#[derive(Debug, Clone, Default)]
struct Batch {
    columns: BTreeMap<String, Column>,
}

impl Columns for Batch {
    fn get(&self, name: &str) -> Option<Values<'_>> {
        Some(match self.columns.get(name)? {
            Column::Number(values) => Values::Number(Cow::Borrowed(values)),
            Column::Boolean(values) => Values::Boolean(Cow::Borrowed(values)),
            Column::Text(values) => Values::Text(values),
            Column::Date(values) => Values::Date(Cow::Borrowed(values)),
        })
    }
}

impl Batch {
    fn with(mut self, name: &str, column: Column) -> Self {
        self.columns.insert(name.to_owned(), column);
        self
    }

    fn row(&self, row: usize) -> Self {
        let columns = self.columns.iter().map(|(name, column)| {
            let column = match column {
                Column::Number(values) => Column::Number(vec![values[row]]),
                Column::Boolean(values) => Column::Boolean(vec![values[row]]),
                Column::Text(values) => Column::Text(vec![values[row].clone()]),
                Column::Date(values) => Column::Date(vec![values[row]]),
            };
            (name.clone(), column)
        });
        Self { columns: columns.collect() }
    }
}

/// What came out, in a form that can be compared: bits of numbers (every NaN the same), or text.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Number(Option<f64>),
    Text(Option<String>),
}

fn cells(derived: &Derived<'_>) -> Vec<Cell> {
    match derived {
        Derived::Number(values) => {
            values.iter().map(|value| Cell::Number((!value.is_nan()).then_some(*value))).collect()
        }
        Derived::Text(values) => values.iter().map(|value| Cell::Text(value.map(str::to_owned))).collect(),
    }
}

fn parse(sql: &str) -> Result<Expression, ExpressionError> {
    Expression::parse("feature", sql, None)
}

fn days(text: &str) -> f64 {
    parse_timestamp(text).unwrap()
}
