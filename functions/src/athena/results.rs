//! The rows of a query, as Athena gives them: text, or nothing for null.

use std::str::FromStr;

use aws_sdk_athena::types::{ColumnInfo, ResultSet, ResultSetMetadata, Row};

use crate::failure::{Failure, Result};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as Athena calls it, in lower case: `bigint`, `varchar`, …
    pub kind: String,
}

/// The rows of a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows; `None` is null.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Pages of a result that become a table.
#[derive(Debug, Default)]
pub(super) struct Pages {
    table: Table,
    has_first: bool,
}

impl Pages {
    /// Adds a page. The first row of the first page repeats the names of the columns where the query is a SELECT.
    pub(super) fn add(&mut self, page: Option<&ResultSet>) {
        let Some(page) = page else { return };
        let mut rows = page.rows().iter().map(cells).collect::<Vec<_>>();
        if !std::mem::replace(&mut self.has_first, true) {
            let columns = page.result_set_metadata().map(ResultSetMetadata::column_info).unwrap_or_default();
            let column =
                |info: &ColumnInfo| Column { name: info.name().to_owned(), kind: info.r#type().to_ascii_lowercase() };
            self.table.columns = columns.iter().map(column).collect();
            let names: Vec<_> = self.table.columns.iter().map(|column| Some(column.name.clone())).collect();
            if rows.first() == Some(&names) {
                rows.remove(0);
            }
        }
        self.table.rows.append(&mut rows);
    }

    pub(super) fn table(self) -> Table {
        self.table
    }
}

fn cells(row: &Row) -> Vec<Option<String>> {
    row.data().iter().map(|datum| datum.var_char_value().map(str::to_owned)).collect()
}

impl Table {
    /// The value of a column in a row, parsed; `None` where it is null.
    ///
    /// # Errors
    /// `QueryFailed` where there is no such cell or it does not parse: Athena answers otherwise than it was asked.
    pub fn value<T: FromStr>(&self, row: usize, column: &str) -> Result<Option<T>> {
        let place = self.columns.iter().position(|known| known.name.eq_ignore_ascii_case(column));
        let cell = place.and_then(|place| self.rows.get(row).and_then(|row| row.get(place)));
        let unexpected = || Failure::query(format!("Athena's answer has no usable value of {column} in row {row}"));
        let Some(text) = cell.ok_or_else(unexpected)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| unexpected())
    }

    /// The value of a column that is never null.
    ///
    /// # Errors
    /// As [`Table::value`].
    pub fn needed<T: FromStr>(&self, row: usize, column: &str) -> Result<T> {
        let missing = || Failure::query(format!("Athena's answer has null as {column} in row {row}"));
        self.value(row, column)?.ok_or_else(missing)
    }
}
