//! What a column holds. Knows no table library: `metadata.json` is read with it alone.

use serde::{Deserialize, Serialize};

/// What a column holds, as far as features are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// Whole numbers.
    Integer,
    /// Floating-point numbers and decimals.
    Float,
    /// True and false.
    Boolean,
    /// Strings, dictionary-encoded or not.
    Text,
    /// Dates, timestamps, times of day: a number of days.
    Date,
    /// Nothing but nulls: fits every other kind.
    Null,
    /// Lists, structs, binary: cannot be a feature.
    Unsupported,
}

impl ColumnKind {
    /// Whether values are numbers as they stand (booleans count as 0 and 1).
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Float | Self::Boolean)
    }

    /// The kind that holds the values of both, if there is one.
    #[must_use]
    pub fn merge(self, other: Self) -> Option<Self> {
        match (self, other) {
            (left, right) if left == right => Some(left),
            (Self::Null, kind) | (kind, Self::Null) => Some(kind),
            (Self::Integer, Self::Float) | (Self::Float, Self::Integer) => Some(Self::Float),
            _ => None,
        }
    }

    /// Whether a column of kind `given` can stand where this kind was learnt in training.
    #[must_use]
    pub fn accepts(self, given: Self) -> bool {
        given == self || given == Self::Null || self == Self::Null || (self.is_number() && given.is_number())
    }

    /// The kind as people call it.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Integer => "whole numbers",
            Self::Float => "numbers",
            Self::Boolean => "true/false",
            Self::Text => "text",
            Self::Date => "dates or times",
            Self::Null => "only nulls",
            Self::Unsupported => "a type that cannot be a feature",
        }
    }
}
