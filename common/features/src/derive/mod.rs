//! Derived features: a documented subset of SQL (docs/expressions.md), evaluated row by row over the columns of a batch.
//!
//! The text is parsed with `sqlparser` into a tree of our own and evaluated by our own functions, so what a saved model
//! means depends on neither the parser nor any table library. Missing is one thing: NULL, NaN, and what is not finite.
//!
//! ```
//! use features::derive::{Expression, ValueType};
//!
//! let rate = Expression::parse("match_rate", "matches / NULLIF(swipes, 0)", Some("engagement"))?;
//! assert_eq!(rate.columns(), ["matches", "swipes"]);
//! assert_eq!(rate.bind(&|_| Some(ValueType::Number))?, ValueType::Number);
//! # Ok::<(), features::derive::ExpressionError>(())
//! ```

mod calendar;
mod check;
mod error;
mod evaluate;
pub mod node;
mod parse;
mod values;
mod vector;

#[cfg(test)]
mod tests;

pub use calendar::{DatePart, DateUnit, days_from_microseconds, parse_date, parse_timestamp};
pub use error::{ExpressionError, Problem};
pub use values::{Columns, Derived, TextColumn, ValueType, Values};

/// A derived feature: its name and its expression. Serialises as the text of the expression.
#[derive(Debug, Clone)]
pub struct Expression {
    name: String,
    sql: String,
    parsed: parse::Parsed,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.sql) == (&other.name, &other.sql)
    }
}

impl Eq for Expression {}

impl serde::Serialize for Expression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.sql)
    }
}

impl Expression {
    /// Parses the expression `sql` of the derived feature `name`.
    ///
    /// # Errors
    /// Where the text is not one expression of the subset, or uses `target`.
    pub fn parse(name: &str, sql: &str, target: Option<&str>) -> Result<Self, ExpressionError> {
        let parsed = parse::parse(sql).map_err(|problem| problem.of(name))?;
        let expression = Self { name: name.to_owned(), sql: sql.to_owned(), parsed };
        if let Some(target) = target {
            expression.forbid_target(target)?;
        }
        Ok(expression)
    }

    /// Name of the derived feature.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The expression as it was written.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The input columns that the expression names, each once, in the order of their first use.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.parsed.columns
    }

    /// The tree of the expression, whose columns are places in [`columns`](Self::columns).
    #[must_use]
    pub fn root(&self) -> &node::Node {
        &self.parsed.root
    }

    /// Checks that the expression does not read the target, where that is only known after parsing.
    ///
    /// # Errors
    /// Where it does.
    pub fn forbid_target(&self, target: &str) -> Result<(), ExpressionError> {
        if self.reads(target) {
            return Err(Problem::Target(target.to_owned()).of(&self.name));
        }
        Ok(())
    }

    /// The error of an expression that reads the derived feature `other`.
    pub(crate) fn reads_derived(&self, other: &str) -> ExpressionError {
        Problem::Derived(other.to_owned()).of(&self.name)
    }

    /// Whether the expression names the column.
    #[must_use]
    pub fn reads(&self, column: &str) -> bool {
        self.parsed.columns.iter().any(|name| name == column)
    }

    /// Checks the expression against the types of the input's columns, `None` for a column that the input lacks.
    /// Returns the type of the feature. Names are compared with their case.
    ///
    /// # Errors
    /// Where a column is missing, operands are of types that do not go together, or the result is always NULL.
    pub fn bind(&self, type_of: &dyn Fn(&str) -> Option<ValueType>) -> Result<ValueType, ExpressionError> {
        let types = self.parsed.columns.iter().map(|column| {
            type_of(column).ok_or_else(|| unknown_column(column, &|name| type_of(name).is_some()).of(&self.name))
        });
        let types = types.collect::<Result<Vec<_>, _>>()?;
        let result = check::type_of(&self.parsed.root, &types).map_err(|problem| problem.of(&self.name))?;
        result.ok_or_else(|| Problem::Type("is always NULL".to_owned()).of(&self.name))
    }

    /// Computes the feature for the `rows` rows of a batch. No value of a cell makes this fail.
    ///
    /// # Errors
    /// As [`bind`](Self::bind), and where a column does not have `rows` rows.
    pub fn evaluate<'a>(&'a self, columns: &'a dyn Columns, rows: usize) -> Result<Derived<'a>, ExpressionError> {
        let values = self.parsed.columns.iter().map(|name| self.column(columns, name, rows));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let types: Vec<_> = values.iter().map(Values::value_type).collect();
        let evaluated = check::type_of(&self.parsed.root, &types)
            .and_then(|result| evaluate::evaluate(&self.parsed.root, &values, rows, result));
        evaluated.map_err(|problem| problem.of(&self.name))
    }

    fn column<'a>(&self, columns: &'a dyn Columns, name: &str, rows: usize) -> Result<Values<'a>, ExpressionError> {
        let exists = |name: &str| columns.get(name).is_some();
        let values = columns.get(name).ok_or_else(|| unknown_column(name, &exists).of(&self.name))?;
        if values.len() != rows {
            let problem = Problem::Rows { column: name.to_owned(), found: values.len(), expected: rows };
            return Err(problem.of(&self.name));
        }
        Ok(values)
    }
}

/// Athena folds names to lower case; here a name must match with its case, so say where only that differs.
fn unknown_column(column: &str, exists: &dyn Fn(&str) -> bool) -> Problem {
    let other_cases = [column.to_lowercase(), column.to_uppercase()];
    let found = other_cases.iter().find(|name| *name != column && exists(name));
    let hint =
        found.map_or(String::new(), |name| format!(", did you mean `{name}`? names are compared with their case"));
    Problem::UnknownColumn { column: column.to_owned(), hint }
}
