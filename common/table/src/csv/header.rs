//! The first record of CSV: the columns' names, and what is odd about them.

use polars::prelude::DataType;

use super::looks::Look;
use super::records::Record;
use super::{CsvFormat, encoding};
use columns::{ColumnSchema, TableSchema};
use error::text::without_control_characters;
use error::{Error, Result};

/// What some programs write between cells.
const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

/// What is said where the first row seems to be no header.
const NO_HEADER: &str = "if the file has no header row, write the column names into its first line";

/// The columns that a header names.
pub(super) fn header_schema(header: Record<'_>, csv: CsvFormat, name: &str) -> Result<TableSchema> {
    let names: Vec<String> = header.cells().enumerate().map(|cell| column_name(cell, name)).collect::<Result<_>>()?;
    if let [only] = names.as_slice() {
        refuse_other_separator(only, csv, name)?;
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = names.iter().find(|column| !seen.insert(column.as_str())) {
        let column = without_control_characters(twice);
        let doubt = if is_like_a_value(twice, csv) { format!("; {NO_HEADER}") } else { String::new() };
        return Err(Error::Data(format!("{name}: two columns are called \"{column}\"; rename one of them{doubt}")));
    }
    let column = |name: String| ColumnSchema::new(&name, DataType::String);
    TableSchema::new(names.into_iter().map(column).collect(), name)
}

/// What is suspicious about a header: names that look like values.
pub(super) fn doubt(schema: &TableSchema, csv: CsvFormat) -> Option<String> {
    let columns = schema.columns();
    if let Some(nameless) = columns.iter().position(|column| column.name.trim().is_empty()) {
        return Some(format!("column {} of the header has no name; {NO_HEADER}", nameless + 1));
    }
    let values = columns.iter().filter(|column| is_like_a_value(&column.name, csv));
    let values: Vec<&str> = values.map(|column| column.name.as_str()).collect();
    let example = without_control_characters(values.first()?);
    let what = match values.len() {
        1 => format!("the column name \"{example}\" looks like a value"),
        count => format!("{count} of {} column names look like values, such as \"{example}\"", columns.len()),
    };
    Some(format!("{what}; {NO_HEADER}"))
}

fn column_name((index, cell): (usize, &[u8]), name: &str) -> Result<String> {
    let text = std::str::from_utf8(cell).map_err(|_| {
        let hint = encoding::hint(cell);
        Error::Data(format!(
            "{name} is not readable CSV: its header is not UTF-8 text in column {} ({hint})",
            index + 1
        ))
    })?;
    // The byte-order mark that spreadsheets write is not part of the first column's name, also inside of its quotes.
    Ok(if index == 0 { text.trim_start_matches('\u{feff}') } else { text }.to_owned())
}

fn is_like_a_value(column: &str, csv: CsvFormat) -> bool {
    let is_truth = column.eq_ignore_ascii_case("true") || column.eq_ignore_ascii_case("false");
    is_truth || Look::of(column.as_bytes(), csv.cells.decimal) != Look::Other
}

/// A header of one column that has another separator in it names the setting.
fn refuse_other_separator(only: &str, csv: CsvFormat, name: &str) -> Result<()> {
    let is_excels = only.strip_prefix("sep=").is_some_and(|sign| sign.chars().count() <= 1);
    let is_other = |sign: &char| *sign != char::from(csv.delimiter) && only.contains(*sign);
    let Some(sign) = SEPARATORS.into_iter().find(is_other) else {
        if only.starts_with("s3://") {
            return Err(Error::Data(format!(
                "{name} is a list of objects, as Athena leaves beside the data, and no data: remove it, or give a location \
                 that holds only data"
            )));
        }
        return Ok(());
    };
    let setting = match sign {
        '\t' => "tab".to_owned(),
        sign => format!("'{sign}'"),
    };
    if is_excels {
        return Err(Error::Data(format!(
            "{name}: its first line is Excel's {only:?}, not the header: remove that line and give --delimiter {setting} \
             (DELIMITER)"
        )));
    }
    Err(Error::Data(format!(
        "{name}: its columns seem to be separated by {sign:?}, not by {:?}: give --delimiter {setting} (DELIMITER)",
        char::from(csv.delimiter)
    )))
}

#[cfg(test)]
mod tests {
    use super::super::records::Records;
    use super::*;

    fn schema(line: &str) -> Result<TableSchema> {
        let mut records = Records::new(Box::new(std::io::Cursor::new(line.to_owned().into_bytes())), b',');
        assert!(records.advance().unwrap());
        header_schema(records.record(), CsvFormat::default(), "t.csv")
    }

    fn doubt_of(line: &str) -> String {
        doubt(&schema(line).unwrap(), CsvFormat::default()).unwrap_or_default()
    }

    #[test]
    fn a_header_that_looks_like_a_row_is_suspected() {
        assert_eq!(doubt_of("customer id,x1,größe,date,true?,Q4 2025,_2"), "");
        assert!(doubt_of("17,basic,2024-01-31").starts_with("2 of 3 column names look like values, such as \"17\""));
        for line in ["a,0.5", "a,2024-01-31", "a,NULL", "a,TRUE", "a,-1e3"] {
            let doubt = doubt_of(line);
            assert!(doubt.contains("looks like a value; if the file has no header row"), "{doubt}");
        }
        assert!(doubt_of("a,,b").starts_with("column 2 of the header has no name"));
        let twice = schema("0.5,a,0.5").unwrap_err().to_string();
        assert!(
            twice.contains("two columns are called \"0.5\"; rename one of them; if the file has no header"),
            "{twice}"
        );
        let twice = schema("a,a").unwrap_err().to_string();
        assert_eq!(twice, "t.csv: two columns are called \"a\"; rename one of them");
    }

    #[test]
    fn another_separator_is_named_with_the_setting() {
        for (line, said) in [
            ("id;x", "separated by ';', not by ',': give --delimiter ';' (DELIMITER)"),
            ("id\tx", "separated by '\\t', not by ',': give --delimiter tab (DELIMITER)"),
            ("id|x", "give --delimiter '|' (DELIMITER)"),
            ("sep=;", "Excel's \"sep=;\", not the header: remove that line and give --delimiter ';'"),
            ("s3://bucket/unloaded/0001", "is a list of objects"),
        ] {
            let error = schema(line).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(schema("only").is_ok() && schema("a;b,c").is_ok());
    }
}
