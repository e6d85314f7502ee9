//! Text where numbers, dates or booleans were meant: `train` says so wherever its result is read, `predict` says which column.

use polars::prelude::{AnyValue, DataFrame, NamedFrom, Series};
use serde_json::{Value, json};
use testkit::tables::{csv, customers, with, without, write_parquet};

use super::{ROWS, Workshop};

/// The usual table with some of its columns written as text, as Spark writes what it read from CSV.
fn with_texts(names: &[&str]) -> DataFrame {
    names.iter().fold(customers(ROWS, 1, 7), |table, name| {
        let column = table.column(name).unwrap().as_materialized_series().clone();
        let texts: Vec<Option<String>> = column
            .iter()
            .map(|value| match value {
                AnyValue::Null => None,
                value => Some(value.to_string()),
            })
            .collect();
        with(table, Series::new((*name).into(), texts))
    })
}

fn warnings(workshop: &Workshop, run: &str) -> Vec<String> {
    let metrics = workshop.json(&format!("models/engagement/v1/{run}/metrics.json"));
    metrics["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
}

#[test]
fn parquets_numbers_dates_and_booleans_as_text_are_named() {
    let workshop = Workshop::new();
    let table = with_texts(&["spend", "since", "member"]);
    write_parquet(&table, &workshop.path("train/part.parquet"));
    let ended = workshop.train().args(["--run-id", "r1", "--min-r2", "-10"]).run();
    let result = ended.succeeded();
    let warnings = warnings(&workshop, "r1");
    let of = |column: &str| {
        warnings.iter().find(|warning| warning.starts_with(&format!("column \"{column}\" "))).unwrap_or_else(|| {
            panic!("{warnings:?}");
        })
    };
    for (column, kind, one) in
        [("spend", "numbers", "a number"), ("since", "dates", "a date"), ("member", "booleans", "a boolean")]
    {
        assert!(of(column).contains(&format!("holds {kind} written as text (such as \"")), "{}", of(column));
        let advice = format!("cast it to {one} where it is written, or name it in \"categorical\" if it is a code");
        assert!(of(column).ends_with(&advice), "{}", of(column));
    }
    assert_eq!(result["warnings"], json!(warnings.len()), "{warnings:?}");
    let page = std::fs::read_to_string(workshop.path("models/engagement/v1/r1/report.html")).unwrap();
    assert!(page.contains("holds numbers written as text"), "the report has them");

    let strict = workshop.train().args(["--run-id", "r2", "--strict"]).run();
    strict.failed(4, &["column \"spend\" holds numbers written as text", "--strict"]);
    let misread = "3 columns that look like numbers or dates were read as text: \"spend\", \"member\", \"since\"";
    workshop.train().args(["--run-id", "r3", "--min-r2", "0.9999"]).run().failed(3, &["report.html; ", misread]);
}

#[test]
fn what_the_spec_calls_a_category_is_no_number_written_as_text() {
    let workshop = Workshop::new();
    write_parquet(&with_texts(&["visits"]), &workshop.path("train/part.parquet"));
    workshop.write("features.toml", "categorical = [\"visits\"]\n");
    let result = workshop.train().args(["--run-id", "r1", "--features", "features.toml", "--min-r2", "-10"]).run();
    assert_eq!((&result.succeeded()["warnings"], warnings(&workshop, "r1")), (&json!(0), Vec::new()));
    let rejected = workshop.train().args(["--features", "features.toml", "--min-r2", "0.99999"]).run().failed(3, &[]);
    assert!(!rejected["error_message"].as_str().unwrap().contains("read as text"), "{rejected}");
}

/// Customers to score as CSV, with the cells of a column rewritten.
fn scoring(rewrite: impl Fn(usize, &str) -> String) -> String {
    let table = csv(&without(&customers(400, 100_000, 8), "score"));
    let mut lines = table.lines();
    let header = lines.next().unwrap().to_owned();
    let row = |(row, line): (usize, &str)| {
        let cells: Vec<&str> = line.split(',').collect();
        let spend = rewrite(row, cells[1]);
        format!("\n{},{spend},{}", cells[0], cells[2..].join(","))
    };
    header + &lines.enumerate().map(row).collect::<String>()
}

#[test]
fn the_column_that_cannot_be_read_is_named_with_an_example_and_the_setting() {
    let workshop = Workshop::with_model();
    workshop.write("csv/part.csv", scoring(|_, spend| format!("\"{}\"", spend.replace('.', ","))));
    let ended = workshop.predict_on("csv").args(["--run-id", "r1"]).run();
    let said = [
        "of column \"spend\" cannot be read as numbers, such as \"",
        " in data row 1 of part.csv: write 1234.5, or give --decimal , (DECIMAL) where the comma stands before the fraction",
    ];
    ended.failed(4, &said);
    assert!(ended.stderr.contains("cannot be read as numbers"), "the log has it too: {}", ended.stderr);
    workshop.predict_on("csv").args(["--run-id", "r2", "--decimal", ","]).run().succeeded();

    // A few words among sound numbers, fewer than are allowed.
    workshop
        .write("csv/part.csv", scoring(|row, spend| if row == 6 { "unknown".to_owned() } else { spend.to_owned() }));
    let ended = workshop.predict_on("csv").args(["--run-id", "r3"]).run();
    assert_eq!(ended.succeeded()["rows_rejected"], 1);
    let said = "1 cell of column \\\"spend\\\" cannot be read as numbers, such as \\\"unknown\\\" in data row 7 of part.csv: correct \
                them, or leave them empty; rows with such cells are rejected";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    // Where other cells have points, the comma is no decimal sign.
    workshop
        .write("csv/part.csv", scoring(|row, spend| if row == 6 { "\"1,5\"".to_owned() } else { spend.to_owned() }));
    let ended = workshop.predict_on("csv").args(["--run-id", "r4", "--max-reject-fraction", "0"]).run();
    let message = ended.failed(4, &["such as \"1,5\" in data row 7 of part.csv: write 1234.5"]);
    assert!(!message["error_message"].as_str().unwrap().contains("--decimal"), "{message}");
}

#[test]
fn a_run_that_would_reject_too_many_rows_is_not_ready() {
    let workshop = Workshop::with_model();
    let prepared = |share: usize| {
        let rewrite =
            |row: usize, spend: &str| if row.is_multiple_of(share) { "5 EUR".to_owned() } else { spend.to_owned() };
        workshop.write("csv/part.csv", scoring(rewrite));
        let ended = workshop.predict_on("csv").args(["prepare", "--run-id", "p1"]).run();
        ended.succeeded();
        let ready: Value = workshop.json("output/runs/p1/prepare.json")["ready"].clone();
        (ready, ended.stderr)
    };
    let (ready, log) = prepared(4);
    assert_eq!(ready, json!(false));
    let said = "100 of the first 400 rows (25.0 %) cannot be read, more than --max-reject-fraction (MAX_REJECT_FRACTION) 0.01 \
                allows: a run would fail; 100 cells of column \\\"spend\\\" cannot be read as numbers, such as \\\"5 EUR\\\" in data \
                row 1 of part.csv: write the number alone";
    assert!(log.contains(said), "{log}");
    let (ready, log) = prepared(200);
    assert_eq!(ready, json!(true));
    assert!(log.contains("2 of the first 400 rows (0.5 %) cannot be read, a run would reject them; "), "{log}");
}

#[test]
fn what_does_not_fit_the_model_is_said_with_what_to_do() {
    let workshop = Workshop::with_model();
    let table = without(&customers(400, 100_000, 8), "score");
    let visits = Series::new("visits".into(), vec!["7"; 400]);
    write_parquet(&with(table, visits), &workshop.path("bad/part.parquet"));
    let said = "column \"visits\" has text (str), but the model was trained on whole numbers: write it as whole numbers, or train \
                again on data like this";
    workshop.predict_on("bad").run().failed(4, &[said]);
}

#[test]
fn objects_that_differ_in_type_or_format_are_named() {
    let workshop = Workshop::new();
    let table = customers(ROWS, 1, 7);
    write_parquet(&table, &workshop.path("train/a.parquet"));
    let spend = Series::new("spend".into(), vec!["7"; ROWS]);
    write_parquet(&with(table.clone(), spend), &workshop.path("train/b.parquet"));
    let ended = workshop.train().run();
    let message =
        ended.failed(4, &["b.parquet has text (str) in column \"spend\"", "write it with one type in all files"]);
    assert!(!message["error_message"].as_str().unwrap().contains("the same columns"), "{message}");
    std::fs::remove_file(workshop.path("train/b.parquet")).unwrap();
    workshop.write("train/b.csv", csv(&table));
    let said = ["b.csv is CSV and ", "a.parquet is Parquet: give a location with one of them"];
    workshop.train().run().failed(4, &said);
}

#[test]
fn one_folder_of_many_lacks_the_column_of_its_name() {
    let workshop = Workshop::new();
    for (month, first_id) in [("2024-01", 1), ("2024-02", 2_000)] {
        write_parquet(&customers(ROWS, first_id, 7), &workshop.path(&format!("train/month={month}/part.parquet")));
    }
    workshop.train().run().succeeded();
    let said = "column \"month\" is missing; the columns are customer_id, spend, visits, plan, member, since, score; \"month\" comes \
                from folder names: give the folder above month=2024-01, or exclude it when training";
    workshop.predict_on("train/month=2024-01").run().failed(4, &[said]);
}
