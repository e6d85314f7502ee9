//! What can be wrong with a derived feature.

use error::text::without_control_characters;

/// The error of one derived feature: its name and what is wrong with its expression, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("derived feature `{}`: {}", without_control_characters(feature), without_control_characters(&problem.to_string()))]
pub struct ExpressionError {
    /// Name of the derived feature.
    pub feature: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Not one SQL expression.
    #[error("not a valid SQL expression: {0}")]
    Syntax(String),
    /// Valid SQL outside the documented subset. Text: what, and what to use instead.
    #[error("{0}")]
    Unsupported(String),
    /// Larger or deeper than any expression written by hand.
    #[error("{0}")]
    TooLarge(String),
    /// The expression reads the target, which is not known when customers are scored.
    #[error("uses the target `{0}`, which is what is to be predicted: a derived feature may use input columns only")]
    Target(String),
    /// The expression reads another derived feature.
    #[error("uses the derived feature `{0}`: derived features may use input columns only, so write its expression out")]
    Derived(String),
    /// The input has no such column.
    #[error("column `{column}` is not in the input{hint}")]
    UnknownColumn {
        /// The name as written in the expression.
        column: String,
        /// A column of the same name in other case, as `, did you mean ...?`; or nothing.
        hint: String,
    },
    /// Operands of types that do not go together.
    #[error("{0}")]
    Type(String),
    /// A column has another number of rows than the batch.
    #[error("column `{column}` has {found} rows where the batch has {expected}")]
    Rows {
        /// The column.
        column: String,
        /// Its rows.
        found: usize,
        /// Rows of the batch.
        expected: usize,
    },
}

impl Problem {
    /// Gives the problem the name of the feature it is found in.
    pub(super) fn of(self, feature: &str) -> ExpressionError {
        ExpressionError { feature: feature.to_owned(), problem: self }
    }

    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }
}
