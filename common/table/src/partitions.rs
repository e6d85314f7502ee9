//! Columns that stand in the names of folders, as Hive, Spark, Athena and pandas lay tables out:
//! `sales/region=north/month=03/part-0.parquet` has the columns `region` and `month`, of one value each.
//!
//! [`Partitions`] are those of a whole location, [`PartitionValues`] what they are in one object.

use std::collections::BTreeSet;
use std::sync::Arc;

use polars::prelude::{DataType, IntoSeries, Series, StringChunked, TimeUnit};

use columns::cells::{parse_boolean, parse_duration, parse_number, parse_time_of_day, parse_timestamp, typed_column};
use columns::convert::convert;
use columns::text::canonical_text;
use columns::{CellFormat, ColumnKind, ColumnSchema, ColumnSource, MemoryColumns};
use error::text::{percent_decoded, without_control_characters};
use error::{Error, Result};

/// The value that stands for none.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The partition columns of a location and their values in every object.
#[derive(Debug, Clone, Default)]
pub struct Partitions {
    columns: Vec<PartitionColumn>,
    /// Of each object one value for each column, decoded.
    values: Vec<Vec<Option<Arc<str>>>>,
}

/// A column that stands in the names of folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionColumn {
    /// Its name, decoded.
    pub name: String,
    /// Whole numbers where every value is one as Hive writes it, else text; nothing but nulls.
    pub kind: ColumnKind,
    /// Whether it has the same value in every object.
    pub is_constant: bool,
    /// Whether the objects have a column of that name besides: then that one is read, and must agree.
    pub is_stored: bool,
}

impl PartitionColumn {
    /// The column as a schema has it.
    #[must_use]
    pub fn schema(&self) -> ColumnSchema {
        ColumnSchema::new(&self.name, dtype_of(self.kind))
    }

    /// The column in a list for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let name = without_control_characters(&self.name);
        match self.is_stored {
            true => format!("\"{name}\" (which the files have too)"),
            false => format!("\"{name}\" ({})", self.kind.describe()),
        }
    }
}

/// The type of a column of this kind in every object.
fn dtype_of(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Integer => DataType::Int64,
        ColumnKind::Float => DataType::Float64,
        ColumnKind::Boolean => DataType::Boolean,
        ColumnKind::Date => DataType::Datetime(TimeUnit::Microseconds, None),
        ColumnKind::Time => DataType::Time,
        ColumnKind::Duration => DataType::Duration(TimeUnit::Nanoseconds),
        ColumnKind::Null => DataType::Null,
        ColumnKind::Text | ColumnKind::Unsupported => DataType::String,
    }
}

/// The value of a folder as a column of one row of the type of this kind; none where it is no such value.
fn typed_value(text: Option<&str>, kind: ColumnKind) -> Option<Series> {
    let cell: StringChunked = [text].into_iter().collect();
    let value = convert(&typed_column(&cell, kind, CellFormat::default()), &dtype_of(kind)).ok()?;
    (value.null_count() == cell.null_count()).then_some(value)
}

impl Partitions {
    /// Reads the partition columns out of the keys of a location's objects, which are relative to it.
    ///
    /// # Errors
    /// [`Error::Data`] that names two objects of which one lacks a column of the other's, or one that has a column twice.
    pub fn of_keys(keys: &[&str], location: &str) -> Result<Self> {
        let Some(first) = keys.first() else { return Ok(Self::default()) };
        let names: Vec<String> = folders(first).map(|(name, _)| name).collect();
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let mut found: Vec<(String, Option<Arc<str>>)> = folders(key).collect();
            if let Some(name) = repeated(&found) {
                return Err(twice(location, key, name));
            }
            let mut in_order = Vec::with_capacity(names.len());
            for name in &names {
                let place = found.iter().position(|(there, _)| there == name);
                let Some(place) = place else { return Err(lacking(location, key, name, first)) };
                in_order.push(found.remove(place).1);
            }
            if let Some((name, _)) = found.first() {
                return Err(lacking(location, first, name, key));
            }
            values.push(in_order);
        }
        let column = |(index, name): (usize, String)| {
            let different: BTreeSet<Option<&str>> = values.iter().map(|of| of[index].as_deref()).collect();
            PartitionColumn { name, kind: kind_of(&different), is_constant: different.len() == 1, is_stored: false }
        };
        let columns = names.into_iter().enumerate().map(column).collect();
        Ok(Self { columns, values })
    }

    /// The columns, in the order of the first object's folders.
    #[must_use]
    pub fn columns(&self) -> &[PartitionColumn] {
        &self.columns
    }

    /// The column called `name`, where only folders have it.
    #[must_use]
    pub fn unstored(&self, name: &str) -> Option<&PartitionColumn> {
        self.columns.iter().find(|column| column.name == name && !column.is_stored)
    }

    /// Notes which of the columns the objects themselves have.
    pub fn mark_stored(&mut self, is_stored: impl Fn(&str) -> bool) {
        self.columns.iter_mut().for_each(|column| column.is_stored = is_stored(&column.name));
    }

    /// Makes columns of the kinds that were learnt, where every value is one of that kind: `month=12` alone looks like a
    /// number, and is text where the training rows had `month=03` besides. Those of another kind stay as they are.
    pub fn adopt_kinds(&mut self, learnt: impl Fn(&str) -> Option<ColumnKind>) {
        for (index, column) in self.columns.iter_mut().enumerate().filter(|(_, column)| !column.is_stored) {
            let Some(kind) = learnt(&column.name) else { continue };
            let fits = |of: &Vec<Option<Arc<str>>>| typed_value(of[index].as_deref(), kind).is_some();
            if !kind.accepts(column.kind) && self.values.iter().all(fits) {
                column.kind = kind;
            }
        }
    }

    /// What the columns are in the object at this place.
    #[must_use]
    pub fn of_object(&self, object: usize) -> PartitionValues {
        let Some(texts) = self.values.get(object) else { return PartitionValues::default() };
        let value = |(column, text): (&PartitionColumn, &Option<Arc<str>>)| PartitionValue {
            name: column.name.clone(),
            kind: column.kind,
            is_stored: column.is_stored,
            text: text.clone(),
        };
        PartitionValues(self.columns.iter().zip(texts).map(value).collect())
    }
}

/// Names and values of the folders `name=value` that a key lies in.
fn folders(key: &str) -> impl Iterator<Item = (String, Option<Arc<str>>)> {
    let (folders, _) = key.rsplit_once('/').unwrap_or_default();
    folders.split('/').filter_map(|folder| {
        let (name, value) = folder.split_once('=').filter(|(name, _)| !name.is_empty())?;
        let value = decoded(value);
        Some((decoded(name), (!value.is_empty() && value != NULL).then(|| Arc::from(value))))
    })
}

/// Names and values are written as in URLs; what is no UTF-8 then was not meant so.
fn decoded(text: &str) -> String {
    String::from_utf8(percent_decoded(text)).unwrap_or_else(|_| text.to_owned())
}

/// A name that stands twice among folders.
fn repeated(folders: &[(String, Option<Arc<str>>)]) -> Option<&str> {
    let names = folders.iter().map(|(name, _)| name.as_str());
    let mut places = names.enumerate();
    places.find(|(place, name)| folders[..*place].iter().any(|(before, _)| before == name)).map(|(_, name)| name)
}

fn kind_of(values: &BTreeSet<Option<&str>>) -> ColumnKind {
    let mut present = values.iter().flatten().peekable();
    if present.peek().is_none() {
        return ColumnKind::Null;
    }
    if present.all(|value| is_canonical_integer(value)) { ColumnKind::Integer } else { ColumnKind::Text }
}

/// Whether an integer of 64 bits is written so: without a sign, and without a zero in front.
fn is_canonical_integer(text: &str) -> bool {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits && (text == "0" || !text.starts_with('0')) && text.parse::<i64>().is_ok()
}

fn lacking(location: &str, object: &str, name: &str, other: &str) -> Error {
    let [object, name, other] = [object, name, other].map(without_control_characters);
    Error::Data(format!(
        "{location}: {object} lies in no folder \"{name}=…\", as {other} does: such folders are columns, which all objects of a \
         location have or none; move the object, or name the folder that holds only one kind"
    ))
}

fn twice(location: &str, object: &str, name: &str) -> Error {
    let [object, name] = [object, name].map(without_control_characters);
    Error::Data(format!(
        "{location}: {object} lies in two folders \"{name}=…\", which are one column: rename or remove one of them"
    ))
}

/// What the partition columns are in one object. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PartitionValues(Arc<[PartitionValue]>);

#[derive(Debug)]
struct PartitionValue {
    name: String,
    kind: ColumnKind,
    is_stored: bool,
    text: Option<Arc<str>>,
}

impl PartitionValues {
    /// Those of the columns that are read from the object, in order.
    #[must_use]
    pub fn stored_among(&self, columns: &[String]) -> Vec<String> {
        columns.iter().filter(|name| self.unstored(name).is_none()).cloned().collect()
    }

    fn unstored(&self, name: &str) -> Option<&PartitionValue> {
        self.0.iter().find(|value| value.name == name && !value.is_stored)
    }

    /// Whether a folder has the name of the column, whatever the object itself has.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|value| value.name == name)
    }

    /// A column that only the folders have, for so many rows.
    #[must_use]
    pub fn column(&self, name: &str, rows: usize) -> Option<Series> {
        let value = self.unstored(name)?;
        let typed = typed_value(value.text.as_deref(), value.kind);
        let typed = typed.unwrap_or_else(|| Series::full_null(name.into(), 1, &dtype_of(value.kind)));
        Some(typed.with_name(name.into()).new_from_index(0, rows))
    }

    /// The cells of a CSV object that were read, with the columns that only the folders have, as text. Of the `malformed`
    /// rows nothing is known.
    ///
    /// # Errors
    /// As [`PartitionValues::check`].
    pub fn complete(
        &self,
        cells: MemoryColumns,
        names: &[String],
        malformed: &[usize],
        object: &str,
    ) -> Result<MemoryColumns> {
        if self.0.is_empty() {
            return Ok(cells);
        }
        let rows = cells.rows();
        let mut completed = cells;
        for name in names {
            match self.unstored(name) {
                Some(value) => {
                    let cell = value.cell().into_series().with_name(name.into());
                    completed = completed.with_usual_cells(cell.new_from_index(0, rows));
                }
                None => {
                    let format = completed.cell_format(name).unwrap_or_default();
                    self.check_cells(&completed.column(name)?, format, malformed, object)?;
                }
            }
        }
        Ok(completed)
    }

    /// Checks a column of the object against the folder that has its name, if one does.
    ///
    /// # Errors
    /// [`Error::Data`] that names object, column and both values where they differ.
    pub fn check(&self, column: &Series, object: &str) -> Result<()> {
        let Some(value) = self.stored(column) else { return Ok(()) };
        let kind = ColumnKind::of(column.dtype());
        let agrees = |text: &str, folder: &str| agrees(kind, text, folder, CellFormat::default());
        value.check(column, object, agrees, |_| true)
    }

    /// The same for text cells, which may stand for anything.
    fn check_cells(&self, column: &Series, format: CellFormat, malformed: &[usize], object: &str) -> Result<()> {
        let Some(value) = self.stored(column) else { return Ok(()) };
        let malformed: BTreeSet<usize> = malformed.iter().copied().collect();
        let kinds = [ColumnKind::Float, ColumnKind::Date, ColumnKind::Boolean];
        let agrees = |text: &str, folder: &str| kinds.iter().any(|kind| agrees(*kind, text, folder, format));
        value.check(column, object, agrees, |row| !malformed.contains(&row))
    }

    fn stored(&self, column: &Series) -> Option<&PartitionValue> {
        self.0.iter().find(|value| value.is_stored && value.name == column.name().as_str())
    }
}

impl PartitionValue {
    fn cell(&self) -> StringChunked {
        [self.text.as_deref()].into_iter().collect()
    }

    /// Whether all values of a column, as far as its rows count, are that of the folder.
    fn check(
        &self,
        column: &Series,
        object: &str,
        agrees: impl Fn(&str, &str) -> bool,
        counts: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let texts = canonical_text(column)?;
        // Most are the same: those that are the value which agreed before are not compared again.
        let mut agreed = None;
        for (row, text) in texts.iter().enumerate() {
            if agreed == Some(text) || !counts(row) {
                continue;
            }
            let is_same = match (text, self.text.as_deref()) {
                (Some(text), Some(folder)) => text == folder || agrees(text, folder),
                // Hive has no other folder for an empty text.
                (text, None) => text.is_none_or(str::is_empty),
                // A float that is not finite has no text.
                (None, Some(folder)) => {
                    let number = parse_number(folder, CellFormat::default());
                    column.dtype().is_float() && number.is_some_and(|number| !number.is_finite())
                }
            };
            if !is_same {
                return Err(self.differs(text, object));
            }
            agreed = Some(text);
        }
        Ok(())
    }

    fn differs(&self, text: Option<&str>, object: &str) -> Error {
        let there = text.map_or("no value".to_owned(), |text| format!("\"{text}\""));
        let folder = format!("{}={}", self.name, self.text.as_deref().unwrap_or(NULL));
        let [name, there, folder] = [&self.name, &there, &folder].map(|text| without_control_characters(text));
        Error::Data(format!(
            "{object}: column \"{name}\" has {there} in a row, but the object lies in the folder \"{folder}\", which is a column of \
             that name: move the object to the right folder, or rename the folder or the column"
        ))
    }
}

/// Whether a value of this kind, written as `format` has it, is the one that a folder is named after, however each of them is
/// written: a number also where the folder has zeros in front. Names of folders are in the usual format.
fn agrees(kind: ColumnKind, text: &str, folder: &str, format: CellFormat) -> bool {
    match kind {
        ColumnKind::Integer | ColumnKind::Float => match (text.parse::<i128>(), folder.parse::<i128>()) {
            (Ok(number), Ok(of_folder)) if kind == ColumnKind::Integer || number.unsigned_abs() < 1 << 53 => {
                number == of_folder
            }
            // A float may have other digits than the folder that it was read from.
            _ => {
                let of_folder = parse_number(folder, CellFormat::default());
                let pair = parse_number(text, format).zip(of_folder);
                pair.is_some_and(|(number, other)| number == other || number.is_nan() && other.is_nan())
            }
        },
        ColumnKind::Boolean => are_same(parse_boolean, text, folder),
        ColumnKind::Date => are_same(parse_timestamp, text, folder),
        ColumnKind::Time => are_same(parse_time_of_day, text, folder),
        ColumnKind::Duration => are_same(parse_duration, text, folder),
        ColumnKind::Text | ColumnKind::Null | ColumnKind::Unsupported => false,
    }
}

/// Whether two texts stand for values, and the same one.
fn are_same<Value: PartialEq>(parse: impl Fn(&str) -> Option<Value>, text: &str, folder: &str) -> bool {
    parse(text).zip(parse(folder)).is_some_and(|(value, of_folder)| value == of_folder)
}

#[cfg(test)]
mod tests;
