//! What goes into an expression and what comes out of it.

use std::borrow::Cow;
use std::fmt;

/// The type of a column or of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// 64-bit float; NaN is missing.
    Number,
    /// True, false or missing.
    Boolean,
    /// Text, or missing.
    Text,
    /// Days since 1970-01-01 (UTC) as a 64-bit float, with fractions for the time of day; NaN is missing.
    Date,
}

impl fmt::Display for ValueType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Text => "text",
            Self::Date => "date",
        })
    }
}

/// A column of text, whatever holds it. Threads share it.
pub trait TextColumn: Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text of a row below [`len`](Self::len); `None` is missing.
    fn get(&self, row: usize) -> Option<&str>;
}

impl<S: AsRef<str> + Sync> TextColumn for Vec<Option<S>> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn get(&self, row: usize) -> Option<&str> {
        self.as_slice().get(row).and_then(Option::as_ref).map(AsRef::as_ref)
    }
}

/// The values of one column of a batch.
#[derive(Clone)]
pub enum Values<'a> {
    /// NaN is missing, and so is what is infinite.
    Number(Cow<'a, [f64]>),
    /// `None` is missing.
    Boolean(Cow<'a, [Option<bool>]>),
    /// Read where it lies.
    Text(&'a dyn TextColumn),
    /// Days since 1970-01-01, see [`days_from_microseconds`](super::days_from_microseconds).
    Date(Cow<'a, [f64]>),
}

impl Values<'_> {
    /// The type of the values.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Number,
            Self::Boolean(_) => ValueType::Boolean,
            Self::Text(_) => ValueType::Text,
            Self::Date(_) => ValueType::Date,
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Number(values) | Self::Date(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::Text(column) => column.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The columns of a batch, by name.
pub trait Columns {
    /// The values of a column; `None` where the batch has no such column.
    fn get(&self, name: &str) -> Option<Values<'_>>;
}

/// A derived feature of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Derived<'a> {
    /// A number per row, and so for booleans (1 and 0) and dates (days since 1970-01-01). Finite, or NaN: missing.
    Number(Vec<f64>),
    /// A text per row, borrowed from the batch or from the expression: a category.
    Text(Vec<Option<&'a str>>),
}
