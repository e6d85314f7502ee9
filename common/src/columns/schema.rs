//! What the columns of a table are called and what they hold.

use std::collections::BTreeSet;

use polars::prelude::DataType;

use super::ColumnKind;
use crate::text::without_control_characters;
use crate::{Error, Result};

impl ColumnKind {
    /// The kind of a polars type.
    #[must_use]
    pub fn of(dtype: &DataType) -> Self {
        match dtype {
            DataType::Boolean => Self::Boolean,
            DataType::Float32 | DataType::Float64 | DataType::Decimal(..) => Self::Float,
            dtype if dtype.is_integer() => Self::Integer,
            DataType::String | DataType::Categorical(..) | DataType::Enum(..) => Self::Text,
            DataType::Date | DataType::Datetime(..) | DataType::Time | DataType::Duration(_) => Self::Date,
            DataType::Null => Self::Null,
            _ => Self::Unsupported,
        }
    }
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSchema {
    /// Its name, as in the data.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// Its type as the data states it; strings for CSV.
    pub dtype: DataType,
}

/// The columns of a table, in the order of its first object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableSchema {
    columns: Vec<ColumnSchema>,
    /// Names of columns that stand in the names of folders and have one value, which no feature is made of.
    constant_partitions: BTreeSet<String>,
}

impl TableSchema {
    /// A schema of these columns.
    ///
    /// # Errors
    /// [`Error::Data`] where two columns have one name; `object` says where.
    pub fn new(columns: Vec<ColumnSchema>, object: &str) -> Result<Self> {
        let mut seen = std::collections::HashSet::new();
        match columns.iter().find(|column| !seen.insert(column.name.as_str())) {
            Some(twice) => Err(Error::Data(format!(
                "{object}: two columns are called \"{}\"; rename one of them",
                without_control_characters(&twice.name)
            ))),
            None => Ok(Self { columns, constant_partitions: BTreeSet::new() }),
        }
    }

    /// Every column, in order.
    #[must_use]
    pub fn columns(&self) -> &[ColumnSchema] {
        &self.columns
    }

    /// The column called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ColumnSchema> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Puts a column in the place of the one of its name, or after all others.
    pub fn set(&mut self, column: ColumnSchema) {
        match self.columns.iter_mut().find(|known| known.name == column.name) {
            Some(known) => *known = column,
            None => self.columns.push(column),
        }
    }

    /// Notes that a column stands in the names of folders and has one value in all of them.
    pub fn mark_constant_partition(&mut self, name: &str) {
        self.constant_partitions.insert(name.to_owned());
    }

    /// Whether a column stands in the names of folders and has one value in all of them.
    #[must_use]
    pub fn is_constant_partition(&self, name: &str) -> bool {
        self.constant_partitions.contains(name)
    }

    /// The column called `name`, or an error that lists what there is.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no such column.
    pub fn require(&self, name: &str, location: &str) -> Result<&ColumnSchema> {
        self.get(name).ok_or_else(|| {
            let columns = self.names_shortened();
            let similar = self.similar(name).map(|there| format!(", but there is \"{there}\"")).unwrap_or_default();
            Error::Data(format!("{location}: column \"{name}\" is missing{similar}; the columns are {columns}"))
        })
    }

    /// A column whose name differs only in capitals or in blanks around it, which is hard to see in a list.
    fn similar(&self, name: &str) -> Option<&str> {
        let folded = |name: &str| name.trim().to_lowercase();
        self.columns.iter().map(|column| column.name.as_str()).find(|there| folded(there) == folded(name))
    }

    /// Takes in the columns of a further object, which must be the same ones, in any order.
    ///
    /// # Errors
    /// [`Error::Data`] that names the object and the column that differs.
    pub fn merge(&mut self, other: &Self, first: &str, object: &str) -> Result<()> {
        if let Some(extra) = other.columns.iter().find(|column| self.get(&column.name).is_none()) {
            return Err(different(object, first, &format!("has a column \"{}\" that is not in", extra.name)));
        }
        for column in &mut self.columns {
            let Some(theirs) = other.get(&column.name) else {
                return Err(different(object, first, &format!("lacks the column \"{}\" of", column.name)));
            };
            let Some(kind) = column.kind.merge(theirs.kind) else {
                let problem = format!(
                    "has {} in column \"{}\", not {} as in",
                    theirs.kind.describe(),
                    column.name,
                    column.kind.describe()
                );
                return Err(different(object, first, &problem));
            };
            if column.kind != kind {
                column.dtype = theirs.dtype.clone();
            }
            column.kind = kind;
        }
        Ok(())
    }

    /// The names, at most twenty of them, for a message.
    fn names_shortened(&self) -> String {
        let mut names: Vec<&str> = self.columns.iter().take(20).map(|column| column.name.as_str()).collect();
        if self.columns.len() > names.len() {
            names.push("…");
        }
        names.join(", ")
    }
}

fn different(object: &str, first: &str, problem: &str) -> Error {
    Error::Data(format!("{object} {problem} {first}: all objects of a location must have the same columns"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_column_is_told_with_what_there_is() {
        let column =
            |name: &str| ColumnSchema { name: name.to_owned(), kind: ColumnKind::Text, dtype: DataType::String };
        let schema = TableSchema::new(vec![column(" Id"), column("b")], "t.csv").unwrap();
        let missing = |name: &str| schema.require(name, "t.csv").unwrap_err().to_string();
        assert_eq!(missing("id"), "t.csv: column \"id\" is missing, but there is \" Id\"; the columns are  Id, b");
        assert_eq!(missing("c"), "t.csv: column \"c\" is missing; the columns are  Id, b");
    }

    /// Found by fuzzing: a name of two lines was cited as it stood.
    #[test]
    fn a_name_that_stands_twice_is_cited_on_one_line() {
        let column = || ColumnSchema { name: "a\n~".to_owned(), kind: ColumnKind::Text, dtype: DataType::String };
        let error = TableSchema::new(vec![column(), column()], "t.csv").unwrap_err();
        assert_eq!(error.to_string(), "t.csv: two columns are called \"a\\n~\"; rename one of them");
        assert_eq!(error.exit_code(), 4);
    }
}
