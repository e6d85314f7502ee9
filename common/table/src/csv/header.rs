//! The first record of CSV: the columns' names, and what is odd about them.

use polars::prelude::DataType;

use super::looks::Look;
use super::records::Record;
use super::{CsvFormat, encoding};
use columns::{ColumnSchema, HeaderHint, TableSchema};
use error::text::without_control_characters;
use error::{Error, Result};

/// What some programs write between cells.
const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

/// What is said where the first row seems to be no header.
const NO_HEADER: &str = "if the file has no header row, write the column names into its first line";

/// What is to be done about lines above the header.
const REMOVE_TITLE: &str = "remove the lines above the header";

/// The columns that a header names.
pub(super) fn header_schema(header: Record<'_>, csv: CsvFormat, name: &str) -> Result<TableSchema> {
    let names: Vec<String> = header.cells().enumerate().map(|cell| column_name(cell, name)).collect::<Result<_>>()?;
    refuse_excels_separator(&names, csv, name)?;
    if let [only] = names.as_slice() {
        refuse_other_separator(only, csv, name)?;
    }
    let nameless = names.iter().filter(|column| column.trim().is_empty()).count();
    if nameless > 1 {
        return Err(Error::Data(format!(
            "{name}: {nameless} of {} columns of the header have no name: name each, or {REMOVE_TITLE}",
            names.len()
        )));
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = names.iter().find(|column| !seen.insert(column.as_str())) {
        let column = without_control_characters(twice);
        let hint = if is_like_a_value(twice, csv) { format!("; {NO_HEADER}") } else { String::new() };
        return Err(Error::Data(format!("{name}: two columns are called \"{column}\"; rename one of them{hint}")));
    }
    let column = |name: String| ColumnSchema::new(&name, DataType::String);
    Ok(TableSchema::new(names.into_iter().map(column).collect(), name)?.of_csv())
}

/// What is suspicious about a header: a title in its place, names that look like values, a column without a name.
/// `next_width` is the number of cells in the next row, where that was looked at.
pub(super) fn hint(schema: &TableSchema, csv: CsvFormat, next_width: Option<usize>) -> Option<HeaderHint> {
    let columns = schema.columns();
    if let Some(width) = next_width.filter(|width| columns.len() == 1 && *width > 1) {
        let text = format!("the first line has one cell and the next one {width}: if it is a title, {REMOVE_TITLE}");
        return Some(HeaderHint { text, is_no_header: true });
    }
    let is_nameless = |column: &ColumnSchema| column.name.trim().is_empty();
    let values = columns.iter().filter(|column| !is_nameless(column) && is_like_a_value(&column.name, csv));
    let values: Vec<&str> = values.map(|column| column.name.as_str()).collect();
    let is_no_header = values.len() * 2 >= columns.len();
    if let Some(place) = columns.iter().position(is_nameless).filter(|_| !is_no_header) {
        let text = match place {
            0 => {
                "column 1 of the header has no name: it seems to be the index that pandas writes: write the file with \
                  index=False, or exclude = [\"\"]"
                    .to_owned()
            }
            place => {
                format!("column {} of the header has no name: name it, or exclude = [\"\"]; {NO_HEADER}", place + 1)
            }
        };
        return Some(HeaderHint { text, is_no_header });
    }
    let example = without_control_characters(values.first()?);
    let what = match values.len() {
        1 => format!("the column name \"{example}\" looks like a value"),
        count => format!("{count} of {} column names look like values, such as \"{example}\"", columns.len()),
    };
    Some(HeaderHint { text: format!("{what}; {NO_HEADER}"), is_no_header })
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

/// A separator as it is given on a command line.
fn setting_of(sign: char) -> String {
    match sign {
        '\t' => "tab".to_owned(),
        sign => format!("'{sign}'"),
    }
}

/// Excel's line `sep=;`, which is two columns where that separator was given.
fn refuse_excels_separator(names: &[String], csv: CsvFormat, name: &str) -> Result<()> {
    let delimiter = char::from(csv.delimiter);
    let sign = match names {
        [only] => only.strip_prefix("sep=").filter(|sign| sign.chars().count() <= 1),
        [first, second] if first == "sep=" && second.is_empty() => Some(""),
        _ => None,
    };
    let Some(sign) = sign else { return Ok(()) };
    let sign = sign.chars().next().unwrap_or(delimiter);
    let give = match sign == delimiter {
        true => String::new(),
        false => format!(" and give --delimiter {} (DELIMITER)", setting_of(sign)),
    };
    Err(Error::Data(format!(
        "{name}: its first line is Excel's \"sep={}\", not the header: remove that line{give}",
        without_control_characters(&sign.to_string())
    )))
}

/// A header of one column that has another separator in it names the setting.
fn refuse_other_separator(only: &str, csv: CsvFormat, name: &str) -> Result<()> {
    let is_other = |sign: &char| *sign != char::from(csv.delimiter) && only.contains(*sign);
    if only.contains('\u{1}') {
        return Err(Error::Data(format!(
            "{name}: its cells are separated by the control character 1, as Hive and Athena write text, which has no header: \
             write Parquet, as UNLOAD does with format = 'PARQUET'"
        )));
    }
    let Some(sign) = SEPARATORS.into_iter().find(is_other) else {
        if only.starts_with("s3://") {
            return Err(Error::Data(format!(
                "{name} is a list of objects, as Athena leaves beside the data, and no data: remove it, or give a location \
                 that holds only data"
            )));
        }
        return Ok(());
    };
    let setting = setting_of(sign);
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
        let mut records = Records::new(Box::new(std::io::Cursor::new(line.to_owned().into_bytes())), b',', "t.csv");
        assert!(records.advance().unwrap());
        header_schema(records.record(), CsvFormat::default(), "t.csv")
    }

    fn hint_of(line: &str) -> String {
        hint(&schema(line).unwrap(), CsvFormat::default(), None).map(|hint| hint.text).unwrap_or_default()
    }

    #[test]
    fn a_title_above_the_header_is_suspected() {
        let title = hint(&schema("Sales of January").unwrap(), CsvFormat::default(), Some(6)).unwrap();
        assert_eq!(
            title.text,
            "the first line has one cell and the next one 6: if it is a title, remove the lines above the header"
        );
        assert!(title.is_no_header);
        assert_eq!(hint(&schema("only").unwrap(), CsvFormat::default(), Some(1)), None);
        assert_eq!(
            schema("Sales of January,,,").unwrap_err().to_string(),
            "t.csv: 3 of 4 columns of the header have no name: name each, or remove the lines above the header"
        );
    }

    #[test]
    fn the_index_of_pandas_is_named() {
        let index = hint(&schema(",id,x").unwrap(), CsvFormat::default(), None).unwrap();
        assert_eq!(
            index.text,
            "column 1 of the header has no name: it seems to be the index that pandas writes: write the file with index=False, \
             or exclude = [\"\"]"
        );
        assert!(!index.is_no_header);
        assert!(hint(&schema(",17,0.5").unwrap(), CsvFormat::default(), None).unwrap().is_no_header);
    }

    #[test]
    fn a_header_that_looks_like_a_row_is_suspected() {
        assert_eq!(hint_of("customer id,x1,größe,date,true?,Q4 2025,_2"), "");
        assert!(hint_of("17,basic,2024-01-31").starts_with("2 of 3 column names look like values, such as \"17\""));
        for line in ["a,0.5", "a,2024-01-31", "a,NULL", "a,TRUE", "a,-1e3"] {
            let hint = hint_of(line);
            assert!(hint.contains("looks like a value; if the file has no header row"), "{hint}");
        }
        assert!(hint_of("a,,b").starts_with("column 2 of the header has no name: name it, or exclude = [\"\"]"));
        let is_no_header = |line: &str| hint(&schema(line).unwrap(), CsvFormat::default(), None).unwrap().is_no_header;
        assert!(is_no_header("17,basic,2024-01-31") && !is_no_header("id,plan,2024"));
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
            ("1\u{1}silver\u{1}35", "separated by the control character 1, as Hive and Athena write text"),
        ] {
            let error = schema(line).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(schema("only").is_ok() && schema("a;b,c").is_ok() && schema("sep=,b").is_ok());
        // Also where the separator was given.
        let excels = "t.csv: its first line is Excel's \"sep=,\", not the header: remove that line";
        assert_eq!(schema("sep=,").unwrap_err().to_string(), excels);
    }
}
