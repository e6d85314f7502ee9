//! Tables of other shapes: one large row group, many small files, many columns, one column, little memory.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use serde_json::Value;
use table::write::ParquetWriter;
use testkit::random::Random;
use testkit::tables::{csv, customers, with, without, write_parquet};

use super::Workshop;

/// More rows than a part has.
const MANY: usize = 560_000;

fn write_in_one_row_group(table: &DataFrame, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let writer = ParquetWriter::new(BufWriter::new(File::create(path).unwrap())).with_row_group_rows(table.height());
    writer.finish(&mut table.clone()).unwrap();
}

fn parts(workshop: &Workshop, run: &str) -> Vec<Vec<u8>> {
    let folder = format!("output/predictions/run_id={run}");
    workshop.files(&folder).iter().map(|part| fs::read(workshop.path(&folder).join(part)).unwrap()).collect()
}

fn prepared(workshop: &Workshop, data: &str) -> Value {
    workshop.predict_on(data).args(["prepare", "--run-id", "look"]).run().succeeded();
    workshop.json("output/runs/look/prepare.json")
}

#[test]
fn a_row_group_larger_than_a_part_is_cut_by_its_own_rows() {
    let workshop = Workshop::with_model();
    let table = without(&customers(MANY, 1, 8), "score");
    write_in_one_row_group(&table, &workshop.path("one/part.parquet"));
    write_parquet(&table, &workshop.path("three/part.parquet"));
    for (data, run, rows, threads) in
        [("one", "r1", "40000", "2"), ("one", "r2", "1000000", "1"), ("three", "r3", "7000", "2")]
    {
        workshop.predict_on(data).args(["--run-id", run, "--batch-rows", rows, "--threads", threads]).run().succeeded();
    }
    let one = parts(&workshop, "r1");
    assert_eq!(one.len(), 2);
    assert!(one == parts(&workshop, "r2"), "the same bytes, whatever the batches and the threads");
    let rows = |run: &str, part: usize| {
        workshop.json(&format!("output/runs/{run}/manifest.json"))["parts"][part]["rows"].clone()
    };
    assert_eq!((rows("r1", 0), rows("r1", 1)), (524_288.into(), (MANY - 524_288).into()));
    // Three row groups of a third each: the part ends with the one in which it gets its rows.
    assert_eq!((rows("r3", 0), parts(&workshop, "r3").len()), (MANY.into(), 1));
}

#[test]
fn many_small_files_are_one_table() {
    let workshop = Workshop::with_model();
    let table = without(&customers(3_000, 1, 8), "score");
    write_in_one_row_group(&table, &workshop.path("one/part.parquet"));
    for file in 0..300 {
        let rows = table.slice(file * 10, 10);
        write_in_one_row_group(&rows, &workshop.path(&format!("many/part-{file:05}.parquet")));
    }
    workshop.predict_on("one").args(["--run-id", "r1"]).run().succeeded();
    workshop.predict_on("many").args(["--run-id", "r2", "--threads", "2"]).run().succeeded();
    workshop.predict_on("many").args(["--run-id", "r3", "--batch-rows", "3"]).run().succeeded();
    assert_eq!(parts(&workshop, "r2").len(), 1);
    assert!(parts(&workshop, "r1") == parts(&workshop, "r2") && parts(&workshop, "r2") == parts(&workshop, "r3"));
}

#[test]
fn of_many_columns_only_the_needed_ones_are_fetched() {
    let workshop = Workshop::with_model();
    let mut random = Random::new(3);
    let mut table = without(&customers(4_000, 1, 8), "score");
    for column in 0..400 {
        let values: Vec<f64> = (0..table.height()).map(|_| random.share()).collect();
        table = with(table, Column::new(format!("unused_{column}").into(), values));
    }
    write_in_one_row_group(&table, &workshop.path("wide/part.parquet"));
    let report = prepared(&workshop, "wide");
    let fetched = report["memory"]["fetch_bytes"].as_u64().unwrap();
    assert!(fetched * 20 < report["bytes"].as_u64().unwrap(), "{report}");
    workshop.predict_on("wide").args(["--run-id", "r1"]).run().succeeded();
    workshop.predict_on("wide").args(["--run-id", "r2", "--columns", "unused_399"]).run().succeeded();
    assert_eq!(parts(&workshop, "r1").len(), 1);
}

#[test]
fn one_feature_is_enough() {
    let workshop = Workshop::new();
    let of_one = |rows, first| customers(rows, first, 7).select(["customer_id", "spend", "score"]).unwrap();
    write_parquet(&of_one(1_500, 1), &workshop.path("train/part.parquet"));
    write_parquet(&without(&of_one(200, 100_000), "score"), &workshop.path("customers/part.parquet"));
    workshop.train().args(["--min-r2", "0.1"]).run().succeeded();
    assert_eq!(workshop.predict().run().succeeded()["rows_predicted"], 200);
}

/// What the message asks for is enough, and less is refused before a row is read.
#[test]
fn too_little_memory_ends_at_once_and_says_how_much_is_needed() {
    let workshop = Workshop::with_model();
    write_in_one_row_group(&without(&customers(200_000, 1, 8), "score"), &workshop.path("large/part.parquet"));
    let failure =
        workshop.predict_on("large").args(["--memory", "64m"]).run().failed(8, &["MiB", "give the task at least"]);
    workshop.assert_no_predictions();
    let message = failure["error_message"].as_str().unwrap().to_owned();
    let needed = message.split("at least ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    workshop.predict_on("large").args(["prepare", "--memory", "64m"]).run().failed(8, &["MiB"]);
    let ended = workshop.predict_on("large").args(["--memory", &format!("{needed}m"), "--run-id", "enough"]).run();
    ended.succeeded();
    let peak = ended.metrics().iter().find_map(|line| line["PeakMemory"].as_f64()).unwrap();
    assert!(
        peak <= needed.parse::<f64>().unwrap() * 1024.0 * 1024.0,
        "{peak} bytes were taken, {needed} MiB asked for"
    );
}

#[test]
fn the_plan_of_the_memory_covers_what_is_taken() {
    let workshop = Workshop::with_model();
    write_in_one_row_group(&without(&customers(MANY, 1, 8), "score"), &workshop.path("one/part.parquet"));
    let planned = prepared(&workshop, "one")["memory"]["total_bytes"].as_f64().unwrap();
    let ended = workshop.predict_on("one").args(["--run-id", "r1"]).run();
    ended.succeeded();
    let peak = ended.metrics().iter().find_map(|line| line["PeakMemory"].as_f64()).unwrap();
    assert!(peak <= planned, "{peak} bytes were taken, {planned} planned");
}

/// Texts that are carried over are as long as they are: nothing is taken for granted of them.
#[test]
fn long_texts_that_are_carried_over_are_counted() {
    let workshop = Workshop::with_model();
    let table = without(&customers(4_000, 100_000, 8), "score");
    let notes: Vec<String> = (0..4_000).map(|row| format!("{row} {}", "lorem ipsum ".repeat(3_400))).collect();
    let table = with(table, Series::new("note".into(), notes));
    write_parquet(&table, &workshop.path("long/part.parquet"));
    workshop.write("long-csv/part.csv", csv(&table));
    let carry = |data: &str| workshop.predict_on(data).args(["--columns", "note"]);
    let said = ["give the task at least", "MiB of memory"];
    carry("long").args(["--memory", "400m"]).run().failed(8, &["long: scoring it takes", "MiB", said[0]]);
    let said = ["the texts of the id and of --columns (COLUMNS) take", said[0], said[1]];
    carry("long-csv").args(["--memory", "500m"]).run().failed(8, &said);
    workshop.assert_no_predictions();
    // What is not carried over takes no room, and what fits is carried.
    workshop.predict_on("long").args(["--memory", "400m", "--run-id", "without"]).run().succeeded();
    for data in ["long", "long-csv"] {
        let result = carry(data).args(["--memory", "3g", "--run-id", data]).run().succeeded();
        assert_eq!(result["rows_predicted"], 4_000, "{data}");
    }
}
