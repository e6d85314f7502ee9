//! What the columns of a table are called and what they hold.

use std::collections::{BTreeSet, HashMap};

use polars::prelude::DataType;

use super::ColumnKind;
use super::types::common_type;
use error::text::without_control_characters;
use error::{Error, Result};

impl ColumnKind {
    /// The kind of a polars type.
    #[must_use]
    pub fn of(dtype: &DataType) -> Self {
        match dtype {
            DataType::Boolean => Self::Boolean,
            DataType::Decimal(_, 0) => Self::Integer,
            DataType::Float32 | DataType::Float64 | DataType::Decimal(..) => Self::Float,
            dtype if dtype.is_integer() => Self::Integer,
            DataType::String | DataType::Categorical(..) | DataType::Enum(..) => Self::Text,
            DataType::Date | DataType::Datetime(..) => Self::Date,
            DataType::Time => Self::Time,
            DataType::Duration(_) => Self::Duration,
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
    /// The type that holds the values of all objects; strings for CSV.
    pub dtype: DataType,
    /// Where objects have it with different types, the first two that do.
    differs: Option<Box<Differing>>,
    /// Whether no row has a value, by what the objects say of themselves: its type says nothing then.
    is_empty: bool,
}

/// Two objects of which the column has different types.
#[derive(Debug, Clone, PartialEq)]
struct Differing {
    first: String,
    object: String,
}

/// The columns of a table, in the order of its first object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableSchema {
    columns: Vec<ColumnSchema>,
    /// The place of each column, by name.
    places: HashMap<String, usize>,
    /// What is known besides; most tables have nothing of it.
    notes: Box<Notes>,
}

/// What is known of a table besides its columns.
#[derive(Debug, Clone, PartialEq, Default)]
struct Notes {
    /// Names of columns that stand in the names of folders and have one value, which no feature is made of.
    constant_partitions: BTreeSet<String>,
    /// Whether the columns are the header of CSV.
    is_csv: bool,
    /// What seems wrong with that header.
    header_hint: Option<HeaderHint>,
}

/// What seems wrong with the header of CSV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderHint {
    /// In words, with what to do.
    pub text: String,
    /// Whether the line seems to be something else than the header, so that columns are missing.
    pub is_no_header: bool,
}

impl TableSchema {
    /// A schema of these columns.
    ///
    /// # Errors
    /// [`Error::Data`] where two columns have one name; `object` says where.
    pub fn new(columns: Vec<ColumnSchema>, object: &str) -> Result<Self> {
        let mut places = HashMap::with_capacity(columns.len());
        for (place, column) in columns.iter().enumerate() {
            if places.insert(column.name.clone(), place).is_some() {
                return Err(Error::Data(format!(
                    "{object}: two columns are called \"{}\"; rename one of them",
                    without_control_characters(&column.name)
                )));
            }
        }
        Ok(Self { columns, places, ..Self::default() })
    }

    /// Every column, in order.
    #[must_use]
    pub fn columns(&self) -> &[ColumnSchema] {
        &self.columns
    }

    /// The column called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ColumnSchema> {
        self.places.get(name).map(|&place| &self.columns[place])
    }

    /// Puts a column in the place of the one of its name, or after all others.
    pub fn set(&mut self, column: ColumnSchema) {
        match self.places.get(&column.name) {
            Some(&place) => self.columns[place] = column,
            None => {
                self.places.insert(column.name.clone(), self.columns.len());
                self.columns.push(column);
            }
        }
    }

    /// The same columns, of which these have a value in no row.
    #[must_use]
    pub fn with_empty_columns<'a>(&self, names: impl Iterator<Item = &'a str>) -> Self {
        let mut schema = self.clone();
        for name in names {
            if let Some(&place) = schema.places.get(name) {
                schema.columns[place].is_empty = true;
            }
        }
        schema
    }

    /// Takes the type from columns that have a value in no row, as far as it `is_unfit`; whether there was one.
    pub fn untype_empty_columns(&mut self, is_unfit: impl Fn(&ColumnSchema) -> bool) -> bool {
        let unfit = self.columns.iter_mut().filter(|column| column.is_empty && is_unfit(column));
        let untyped = unfit.map(|column| (column.dtype, column.kind) = (DataType::Null, ColumnKind::Null));
        untyped.count() > 0
    }

    /// Notes that a column stands in the names of folders and has one value in all of them.
    pub fn mark_constant_partition(&mut self, name: &str) {
        self.notes.constant_partitions.insert(name.to_owned());
    }

    /// Whether a column stands in the names of folders and has one value in all of them.
    #[must_use]
    pub fn is_constant_partition(&self, name: &str) -> bool {
        self.notes.constant_partitions.contains(name)
    }

    /// The same columns, as the header of CSV.
    #[must_use]
    pub fn of_csv(mut self) -> Self {
        self.notes.is_csv = true;
        self
    }

    /// Notes what seems wrong with the header.
    pub fn set_header_hint(&mut self, hint: Option<HeaderHint>) {
        self.notes.header_hint = hint;
    }

    /// What seems wrong with the header, in words.
    #[must_use]
    pub fn header_hint(&self) -> Option<&str> {
        self.notes.header_hint.as_ref().map(|hint| hint.text.as_str())
    }

    /// The column called `name`, or an error that lists what there is and, where that can be told, why it is not among it.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no such column.
    pub fn require(&self, name: &str, location: &str) -> Result<&ColumnSchema> {
        self.get(name).ok_or_else(|| self.missing(name, "", location))
    }

    /// The column called `name`, which `setting` asks for, such as "--slice (SLICE)".
    ///
    /// # Errors
    /// As [`TableSchema::require`]; the error names the setting, too.
    pub fn require_for(&self, setting: &str, name: &str, location: &str) -> Result<&ColumnSchema> {
        self.get(name).ok_or_else(|| self.missing(name, &format!(" (asked for by {setting})"), location))
    }

    fn missing(&self, name: &str, who_asks: &str, location: &str) -> Error {
        let columns = self.names_shortened();
        let similar = self.similar(name).map(|there| format!(", but there is \"{there}\"")).unwrap_or_default();
        let why = self.why_missing(name, location).map(|why| format!("; {why}")).unwrap_or_default();
        Error::Data(format!(
            "{location}: column \"{name}\" is missing{who_asks}{similar}; the columns are {columns}{why}"
        ))
    }

    fn why_missing(&self, name: &str, location: &str) -> Option<String> {
        let stands_for = |folder: &&str| folder.split_once('=').is_some_and(|(column, _)| column == name);
        if let Some(folder) = location.split('/').find(stands_for) {
            return Some(format!(
                "\"{name}\" comes from folder names: give the folder above {folder}, or exclude it when training"
            ));
        }
        self.no_header().map(str::to_owned)
    }

    /// Why the line that the names stand in seems to be no header.
    fn no_header(&self) -> Option<&str> {
        let hint = self.notes.header_hint.as_ref().filter(|hint| hint.is_no_header)?;
        Some(hint.text.as_str())
    }

    /// A column whose name differs only in capitals or in blanks around it, which is hard to see in a list.
    fn similar(&self, name: &str) -> Option<&str> {
        let folded = |name: &str| name.trim().to_lowercase();
        self.columns.iter().map(|column| column.name.as_str()).find(|there| folded(there) == folded(name))
    }

    /// Takes in the columns of a further object, which must be the same ones, in any order. A column gets the type that
    /// holds the values of both.
    ///
    /// # Errors
    /// [`Error::Data`] that names both objects and the column that differs.
    pub fn merge(&mut self, other: &Self, first: &str, object: &str) -> Result<()> {
        if self.notes.is_csv != other.notes.is_csv {
            let (csv, parquet) = if self.notes.is_csv { (first, object) } else { (object, first) };
            return Err(Error::Data(format!(
                "{csv} is CSV and {parquet} is Parquet: give a location with one of them, or write all files in one format"
            )));
        }
        if self.columns == other.columns {
            return Ok(());
        }
        if let Some(extra) = other.columns.iter().find(|column| self.get(&column.name).is_none()) {
            let hint = other.no_header().or(self.no_header()).map(|hint| format!("; {hint}")).unwrap_or_default();
            let extra = without_control_characters(&extra.name);
            return Err(Error::Data(format!(
                "{object} has a column \"{extra}\" that is not in {first}: all objects of a location must have the same \
                 columns{hint}"
            )));
        }
        for column in &mut self.columns {
            let Some(theirs) = other.get(&column.name) else {
                return Err(different(object, first, &format!("lacks the column \"{}\" of", column.name)));
            };
            column.merge(theirs, first, object)?;
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

impl ColumnSchema {
    /// A column of one object.
    #[must_use]
    pub fn new(name: &str, dtype: DataType) -> Self {
        Self { name: name.to_owned(), kind: ColumnKind::of(&dtype), dtype, differs: None, is_empty: false }
    }

    fn merge(&mut self, other: &Self, first: &str, object: &str) -> Result<()> {
        let is_empty = self.is_empty && other.is_empty;
        if self.dtype == other.dtype && self.kind == other.kind {
            self.is_empty = is_empty;
            return Ok(());
        }
        let unsupported = [self.kind, other.kind].contains(&ColumnKind::Unsupported);
        let merged = match (self.kind, other.kind) {
            (ColumnKind::Unsupported, ColumnKind::Unsupported | ColumnKind::Null) => Some(self.dtype.clone()),
            (ColumnKind::Null, ColumnKind::Unsupported) => Some(other.dtype.clone()),
            _ if unsupported => None,
            _ => common_type(&self.dtype, &other.dtype),
        };
        let Some(merged) = merged else {
            if other.is_empty {
                return Ok(());
            }
            if self.is_empty {
                (self.dtype, self.kind, self.is_empty) = (other.dtype.clone(), other.kind, false);
                return Ok(());
            }
            let (name, theirs, ours) = (&self.name, other.described(), self.described());
            return Err(Error::Data(format!(
                "{object} has {theirs} in column \"{name}\", not {ours} as in {first}: write it with one type in all files"
            )));
        };
        let differ = Differing { first: first.to_owned(), object: object.to_owned() };
        let changes = |column: &Self| column.dtype != merged && column.kind != ColumnKind::Null;
        if changes(self) || changes(other) {
            self.differs.get_or_insert_with(|| Box::new(differ));
        }
        self.kind = if unsupported { ColumnKind::Unsupported } else { ColumnKind::of(&merged) };
        self.dtype = merged;
        self.is_empty = is_empty;
        Ok(())
    }

    /// What it holds, and its type.
    fn described(&self) -> String {
        format!("{} ({})", self.kind.describe(), self.type_text())
    }

    /// Its type, for people.
    #[must_use]
    pub fn type_text(&self) -> String {
        match self.dtype {
            DataType::Unknown(_) => "neither a number nor a time nor text, such as an interval".to_owned(),
            ref dtype => dtype.to_string(),
        }
    }

    /// Why a value of `object` cannot stay what it is: which objects have which type.
    #[must_use]
    pub fn misfit(&self, object: &str, place: &str, value: &str) -> Error {
        let other = match self.differs.as_deref() {
            Some(differing) if differing.first != object => format!(" ({} has another type)", differing.first),
            Some(differing) => format!(" ({} has another type)", differing.object),
            None => String::new(),
        };
        Error::Data(format!(
            "{object}: column \"{}\" has {value} in {place}, which the type {} cannot hold without loss that the column has in \
             all objects together{other}: write it with one type in all files",
            self.name, self.dtype,
        ))
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
        let column = |name: &str| ColumnSchema::new(name, DataType::String);
        let schema = TableSchema::new(vec![column(" Id"), column("b")], "t.csv").unwrap();
        let missing = |name: &str| schema.require(name, "t.csv").unwrap_err().to_string();
        assert_eq!(missing("id"), "t.csv: column \"id\" is missing, but there is \" Id\"; the columns are  Id, b");
        assert_eq!(missing("c"), "t.csv: column \"c\" is missing; the columns are  Id, b");
        let asked = schema.require_for("--slice (SLICE)", "c", "t.csv").unwrap_err().to_string();
        assert_eq!(asked, "t.csv: column \"c\" is missing (asked for by --slice (SLICE)); the columns are  Id, b");
    }

    #[test]
    fn why_a_column_is_missing_is_told() {
        let column = |name: &str| ColumnSchema::new(name, DataType::String);
        let mut schema = TableSchema::new(vec![column("17"), column("basic")], "t.csv").unwrap();
        let missing = |schema: &TableSchema, location: &str| schema.require("month", location).unwrap_err().to_string();
        assert_eq!(
            missing(&schema, "s3://b/sales/month=2024-01"),
            "s3://b/sales/month=2024-01: column \"month\" is missing; the columns are 17, basic; \"month\" comes from folder \
             names: give the folder above month=2024-01, or exclude it when training"
        );
        schema.set_header_hint(Some(HeaderHint { text: "odd".to_owned(), is_no_header: false }));
        assert!(missing(&schema, "t.csv").ends_with("17, basic"));
        schema.set_header_hint(Some(HeaderHint { text: "no header".to_owned(), is_no_header: true }));
        assert!(missing(&schema, "t.csv").ends_with("17, basic; no header"));
        let mut first = TableSchema::new(vec![column("id")], "a.csv").unwrap();
        assert_eq!(
            first.merge(&schema, "a.csv", "b.csv").unwrap_err().to_string(),
            "b.csv has a column \"17\" that is not in a.csv: all objects of a location must have the same columns; no header"
        );
    }

    #[test]
    fn types_and_formats_that_do_not_fit_say_what_to_do() {
        let schema = |dtype: DataType| TableSchema::new(vec![ColumnSchema::new("x", dtype)], "t").unwrap();
        let mut numbers = schema(DataType::Int64);
        let error = numbers.merge(&schema(DataType::String), "a.parquet", "b.parquet").unwrap_err().to_string();
        assert_eq!(
            error,
            "b.parquet has text (str) in column \"x\", not whole numbers (i64) as in a.parquet: write it with one type in all \
             files"
        );
        let error = numbers.merge(&schema(DataType::String).of_csv(), "a.parquet", "b.csv").unwrap_err().to_string();
        assert_eq!(
            error,
            "b.csv is CSV and a.parquet is Parquet: give a location with one of them, or write all files in one format"
        );
    }

    /// Found by fuzzing: a name of two lines was cited as it stood.
    #[test]
    fn a_name_that_stands_twice_is_cited_on_one_line() {
        let column = || ColumnSchema::new("a\n~", DataType::String);
        let error = TableSchema::new(vec![column(), column()], "t.csv").unwrap_err();
        assert_eq!(error.to_string(), "t.csv: two columns are called \"a\\n~\"; rename one of them");
        assert_eq!(error.exit_code(), 4);
    }
}
