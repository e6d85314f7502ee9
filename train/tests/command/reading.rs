//! What seems wrong with CSV as it was read: in the result, in `metrics.json`, and with `--strict` exit 4.

use std::fmt::Write as _;
use std::process::Output;

use serde_json::json;

use super::{Workshop, last_line, succeeded};

const ROWS: usize = 400;

/// A table of an id, a column `x` whose cells are given by row, and a target.
fn table(cell: impl Fn(usize) -> String) -> String {
    let row = |row: usize| format!("{row};{};{}\n", cell(row), row % 17);
    (0..ROWS).fold(String::from("id;x;target\n"), |text, number| text + &row(number))
}

fn train(workshop: &Workshop, csv: &str, more: &[&str]) -> Output {
    let data = workshop.write("table.csv", csv);
    // A flag wins over its variable.
    workshop.call("r", &data).args(["--rounds", "3"]).env("DELIMITER", ";").args(more).output().unwrap()
}

/// The warnings of a run, which its result counts.
#[track_caller]
fn warnings_of(csv: &str, more: &[&str]) -> Vec<String> {
    let workshop = Workshop::new();
    let done = train(&workshop, csv, more);
    succeeded(&done);
    let metrics = super::json(&workshop.run_folder("r").join("metrics.json"));
    let warnings = metrics["warnings"].as_array().unwrap().iter();
    let warnings: Vec<String> = warnings.map(|warning| warning.as_str().unwrap().to_owned()).collect();
    assert_eq!(last_line(&done)["warnings"], json!(warnings.len()), "{warnings:?}");
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    for warning in &warnings {
        let escaped = json!(warning).to_string();
        assert!(log.contains(escaped.trim_matches('"')), "{warning} is not in the log: {log}");
    }
    warnings
}

fn fails(csv: &str, more: &[&str], parts: &[&str]) {
    let workshop = Workshop::new();
    let done = train(&workshop, csv, more);
    assert_eq!(done.status.code(), Some(4));
    let message = last_line(&done)["error_message"].as_str().unwrap().to_owned();
    for part in parts {
        assert!(message.contains(part), "\"{part}\" is not in the message: {message}");
    }
}

#[test]
fn values_that_are_not_read_are_named_with_what_to_do() {
    type Case<'a> = (Vec<&'a str>, &'a str, fn(usize) -> String);
    let cases: [Case<'_>; 7] = [
        (
            vec!["--decimal", ","],
            "but is text, a category for each: remove the points that separate thousands, or leave out --decimal , (DECIMAL) if they stand before the fraction",
            |row| format!("{}.821", 1 + row % 9),
        ),
        (
            vec!["--decimal", ","],
            "but is text, a category for each: remove the points that separate thousands",
            |row| format!("{}.006,45", 1 + row % 9),
        ),
        (vec![], "but is text, a category for each: remove the points that separate thousands", |row| {
            format!("{}.000.000", 1 + row % 9)
        }),
        (vec![], "seems to hold months, such as \"2024-", |row| format!("2024-{:02}", 1 + row % 12)),
        (vec![], "seems to hold dates with the name of a month", |row| {
            format!("Monday, January {}, 2024", 1 + row % 28)
        }),
        (
            vec![],
            "training cells that are not missing (such as \"0\"); the others are dates. Leave those \
             cells empty to have a column of dates",
            |row| if row % 40 == 0 { "0".to_owned() } else { format!("2024-01-{:02}", 1 + row % 28) },
        ),
        (
            vec![],
            "(such as \"unknown\"); the others are booleans. Leave those cells empty to have a column of booleans",
            |row| if row % 40 == 0 { "unknown".to_owned() } else { row.is_multiple_of(3).to_string() },
        ),
    ];
    for (settings, said, cell) in cases {
        let warnings = warnings_of(&table(cell), &settings);
        let is_said = |warning: &String| warning.starts_with("column \"x\" ") && warning.contains(said);
        assert!(warnings.iter().any(is_said), "{said}: {warnings:?}");
    }
}

#[test]
fn codes_that_lose_their_leading_zeros_are_named_and_categories_are_not() {
    let csv = table(|row| format!("{:05}", row * 37 % 999));
    let said = "column \"x\" has leading zeros: a code? then categorical = [\"x\"]";
    assert_eq!(warnings_of(&csv, &[]), [said]);
    fails(&csv, &["--strict"], &[said, "--strict (STRICT)"]);
    let workshop = Workshop::new();
    let spec = workshop.write("f.toml", "categorical = [\"x\"]\nmax_levels = 5\n");
    let codes = table(|row| format!("{:05}", row % 7));
    assert!(warnings_of(&codes, &["--features", spec.to_str().unwrap()]).is_empty());
}

#[test]
fn a_text_of_its_own_in_nearly_every_row_is_named_with_and_without_rounds() {
    let csv = table(|row| format!("{row} Main Street B{row}"));
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &csv);
    for rounds in [Some("3"), None] {
        let mut call = workshop.call(rounds.unwrap_or("chosen"), &data);
        call.args(["--delimiter", ";", "--check"]);
        rounds.map(|rounds| call.args(["--rounds", rounds]));
        let done = call.output().unwrap();
        succeeded(&done);
        let log = String::from_utf8_lossy(&done.stderr);
        assert_eq!(log.matches("nearly every row has its own; exclude it").count(), 1, "{log}");
    }
}

/// What only some people have stands in no report: an identifier, and levels of few rows.
#[test]
fn an_identifier_is_named_and_its_values_are_not() {
    let iban = |row: usize| format!("DE{:020}", row * 7_919_191_919);
    let csv = table(iban);
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &csv);
    let mut call = workshop.call("identifier", &data);
    let done = call.args(["--delimiter", ";", "--rounds", "3"]).output().unwrap();
    succeeded(&done);
    let log = String::from_utf8_lossy(&done.stderr);
    assert_eq!(log.matches("it looks like an identifier").count(), 1, "{log}");
    let report = std::fs::read_to_string(workshop.run_folder("identifier").join("report.html")).unwrap();
    let metrics = std::fs::read_to_string(workshop.run_folder("identifier").join("metrics.json")).unwrap();
    assert!(report.contains("none that 10 rows have"), "the column is in the report");
    for text in [&report, &metrics] {
        assert!(!text.contains("DE000"), "a value of the identifier");
    }
    let rare = table(|row| if row < 9 { "of nine rows".to_owned() } else { ["usual", "common"][row % 2].to_owned() });
    let data = workshop.write("rare.csv", &rare);
    succeeded(&workshop.call("rare", &data).args(["--delimiter", ";", "--rounds", "3"]).output().unwrap());
    let report = std::fs::read_to_string(workshop.run_folder("rare").join("report.html")).unwrap();
    assert!(report.contains("usual") && report.contains("common") && !report.contains("of nine rows"));
}

#[test]
fn an_index_that_pandas_read_back_is_named() {
    let csv = table(|row| (row % 5).to_string()).replacen("id;x;target", "id;Unnamed: 0;target", 1);
    let said = "column \"Unnamed: 0\" is the index that pandas writes: write the table with index=False, or exclude = [\"Unnamed: 0\"]";
    assert_eq!(warnings_of(&csv, &[]), [said]);
}

#[test]
fn the_index_of_pandas_is_named_and_can_be_excluded() {
    let csv = (0..ROWS).fold(String::from(";id;x;target\n"), |mut text, row| {
        writeln!(text, "{};{row};{};{}", row % 3, row % 5, row % 17).unwrap();
        text
    });
    let warnings = warnings_of(&csv, &[]);
    let said = "column 1 of the header has no name: it seems to be the index that pandas writes: write the file with index=False, or \
                exclude = [\"\"]";
    assert!(warnings.len() == 1 && warnings[0].ends_with(said), "{warnings:?}");
    let workshop = Workshop::new();
    let spec = workshop.write("f.toml", "exclude = [\"\"]\n");
    succeeded(&train(&workshop, &csv, &["--features", spec.to_str().unwrap()]));
    let metadata = super::json(&workshop.run_folder("r").join("metadata.json"));
    let names: Vec<&str> =
        metadata["features"].as_array().unwrap().iter().map(|feature| feature["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["x"]);
}

#[test]
fn lines_that_are_no_header_are_told_in_the_error() {
    let rows = table(|row| (row % 5).to_string());
    fails(
        &format!("Report 2024\n{rows}"),
        &[],
        &[
            "column \"id\" is missing (asked for by --id (ID_COLUMN) or the feature spec); the columns are Report 2024; the first line has one cell and the next one 3: if it is a title, \
         remove the lines above the header",
        ],
    );
    fails(
        &format!("Report 2024;;\n{rows}"),
        &[],
        &["2 of 3 columns of the header have no name", "remove the lines above"],
    );
    let without_header = rows.split_once('\n').unwrap().1.replacen("0;0;0", "900;0.5;7", 1);
    fails(
        &without_header,
        &[],
        &[
            "column \"id\" is missing",
            "3 of 3 column names look like values, such as \"900\"; if the file has no header row, write the column names into its first line",
        ],
    );
    let excels = "its first line is Excel's \"sep=;\", not the header: remove that line";
    fails(&format!("sep=;\n{rows}"), &[], &[excels]);
    fails(&format!("sep=;\n{rows}"), &["--delimiter", ","], &[excels, "and give --delimiter ';' (DELIMITER)"]);
}

#[test]
fn a_target_with_decimal_commas_is_told_with_the_setting() {
    let csv = (0..ROWS).fold(String::from("id;x;target\n"), |mut text, row| {
        writeln!(text, "{row};{};{},5", row % 5, row % 17).unwrap();
        text
    });
    fails(&csv, &[], &["the target \"target\" has text", "in data row 1: write 1234.5, or give --decimal , (DECIMAL)"]);
    assert!(warnings_of(&csv, &["--decimal", ","]).is_empty());
}

#[test]
fn quotes_with_backslashes_are_told() {
    let csv = "id,note,target\n1,\"said \\\"hi, there\\\" ok\",2\n";
    let said = "data row 1 has 4 fields where the header has 3: a quote inside a cell is written \"\", not \\\"";
    fails(csv, &["--delimiter", ","], &[said]);
}

#[test]
fn rows_that_are_left_out_are_counted_by_reason() {
    let csv = (0..ROWS).fold(String::from("id;x;target\n"), |mut text, row| {
        let target = if row % 20 == 0 { String::new() } else { (row % 17).to_string() };
        writeln!(text, "{};{};{target}", if row == 7 { 6 } else { row }, row % 5).unwrap();
        text
    });
    let said = "21 of 400 rows are left out: 20 have no target \"target\", or one that is not finite, 1 repeats an id (the first row \
                is kept)";
    assert_eq!(warnings_of(&csv, &[]), [said]);
}
