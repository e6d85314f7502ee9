//! What a column holds. Knows no table library: `metadata.json` is read with it alone.

use serde::{Deserialize, Serialize};

/// What a column holds, as far as features are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Hash)]
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
    /// Dates and timestamps: a number of days since 1970-01-01. In models of format version 1 times of day and durations
    /// as well.
    Date,
    /// Times of day: a part of a day.
    Time,
    /// Durations: a number of days.
    Duration,
    /// Nothing but nulls: fits every other kind.
    Null,
    /// Lists, structs, intervals: cannot be a feature.
    Unsupported,
}

impl ColumnKind {
    /// Whether values are numbers as they stand (booleans count as 0 and 1).
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Float | Self::Boolean)
    }

    /// Whether values are times of some sort, which features see as a number of days.
    #[must_use]
    pub fn is_temporal(self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Duration)
    }

    /// Whether a column of kind `given` can stand where this kind was learnt in training. Where nothing but nulls was
    /// learnt, everything can: it is missing, whatever it holds.
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
            Self::Date => "dates or timestamps",
            Self::Time => "times of day",
            Self::Duration => "durations",
            Self::Null => "only nulls",
            Self::Unsupported => "a type that cannot be a feature",
        }
    }
}
