//! Shapes that Spark, Athena, Firehose and streaming writers leave: many row groups, many small objects, sorted ids. What they take is
//! counted, in requests and in bytes, so that a step that grows with the square of something shows.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use serde_json::Value;
use table::write::ParquetWriter;
use testkit::faults::FaultProxy;
use testkit::program::Ended;
use testkit::s3::S3Server;
use testkit::tables::read_parquet;
use testkit::tables::{csv, customers, parquet_bytes, with, without, write_parquet};

use super::Workshop;
use super::places::Place;

const MIB: f64 = 1024.0 * 1024.0;
/// Row groups of a file whose footer takes more than 10 MiB.
const MANY_GROUPS: usize = 20_000;

fn of_row_groups(table: &DataFrame, rows: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).with_row_group_rows(rows).finish(&mut table.clone()).unwrap();
    bytes
}

fn write_in_row_groups(table: &DataFrame, rows: usize, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let writer = ParquetWriter::new(BufWriter::new(File::create(path).unwrap())).with_row_group_rows(rows);
    writer.finish(&mut table.clone()).unwrap();
}

fn peak(ended: &Ended) -> f64 {
    ended.metrics().iter().find_map(|line| line["PeakMemory"].as_f64()).unwrap()
}

fn planned(workshop: &Workshop, data: &str, run: &str) -> f64 {
    workshop.predict_on(data).args(["prepare", "--run-id", run]).run().succeeded();
    workshop.json(&format!("output/runs/{run}/prepare.json"))["memory"]["total_bytes"].as_f64().unwrap()
}

fn parts(workshop: &Workshop, kind: &str, run: &str) -> Vec<Vec<u8>> {
    let folder = format!("output/{kind}/run_id={run}");
    workshop.files(&folder).iter().map(|part| fs::read(workshop.path(&folder).join(part)).unwrap()).collect()
}

/// The requests that read an object below `customers/`.
fn reads(place: &Place) -> (usize, Value) {
    let proxy = FaultProxy::before(&S3Server::shared(), |_| None);
    let predicted = place.predict().env("AWS_ENDPOINT_URL_S3", proxy.endpoint()).run().succeeded();
    let requests = proxy.requests();
    let of_input =
        requests.iter().filter(|(request, _)| request.reads_an_object() && request.path.contains("/customers/"));
    (of_input.count(), predicted)
}

fn bucket_with_model(name: &str) -> Place {
    let place = Place::bucket(name);
    let trained = Workshop::with_model();
    for file in trained.files("models") {
        place.write(&format!("models/{file}"), fs::read(trained.path("models").join(&file)).unwrap());
    }
    place
}

#[test]
fn a_small_object_is_read_by_one_request() {
    let place = bucket_with_model("cliffs-objects");
    let table = without(&customers(6_000, 100_000, 8), "score");
    for file in 0..200 {
        place.write(&format!("customers/part-{file:05}.parquet"), parquet_bytes(&table.slice(file * 30, 30)));
    }
    let (reads, predicted) = reads(&place);
    assert_eq!((reads, &predicted["rows_predicted"]), (200, &Value::from(6_000)));
}

#[test]
fn row_groups_that_lie_side_by_side_are_read_together() {
    let place = bucket_with_model("cliffs-groups");
    let table = without(&customers(6_000, 100_000, 8), "score");
    place.write("customers/part.parquet", of_row_groups(&table, 2));
    let (reads, predicted) = reads(&place);
    assert_eq!(predicted["rows_predicted"], 6_000);
    // Its end, its footer of some 2 MiB, and the rows.
    assert!((3..=8).contains(&reads), "{reads} requests for 3,000 row groups of one object");
}

#[test]
fn many_row_groups_take_what_the_plan_says() {
    let workshop = Workshop::with_model();
    let table = without(&customers(2 * MANY_GROUPS, 1, 8), "score");
    write_in_row_groups(&table, 2, &workshop.path("many/part.parquet"));
    write_in_row_groups(&table, 1 << 20, &workshop.path("one/part.parquet"));
    let planned = planned(&workshop, "many", "look");
    let ended = workshop.predict_on("many").args(["--run-id", "many", "--threads", "2"]).run();
    assert_eq!(ended.succeeded()["rows_predicted"], 2 * MANY_GROUPS as u64);
    assert!(peak(&ended) <= planned, "{} bytes were taken, {planned} planned", peak(&ended));
    assert!(peak(&ended) <= 250.0 * MIB, "{} MiB for a footer of 12 MiB", peak(&ended) / MIB);
    workshop.predict_on("one").args(["--run-id", "one"]).run().succeeded();
    assert!(parts(&workshop, "predictions", "many") == parts(&workshop, "predictions", "one"));
    let failure = workshop.predict_on("many").args(["--memory", "120m"]).run();
    failure.failed(8, &["MiB", "give the task at least"]);
}

/// Thousands of them are read at a time, where there is no room to keep what was read with their footers.
#[test]
fn many_small_objects_take_what_there_is() {
    const LIMIT: f64 = 180.0;
    let workshop = Workshop::with_model();
    let table = without(&customers(60_000, 1, 8), "score");
    for file in 0..6_000 {
        write_parquet(&table.slice(file * 10, 10), &workshop.path(&format!("many/part-{file:05}.parquet")));
    }
    let memory = format!("{LIMIT}m");
    let ended = workshop.predict_on("many").args(["--memory", &memory, "--threads", "2"]).run();
    assert_eq!(ended.succeeded()["rows_predicted"], 60_000);
    assert!(peak(&ended) <= LIMIT * MIB, "{} MiB, of {LIMIT}", peak(&ended) / MIB);
}

#[test]
fn training_keeps_one_footer_however_many_row_groups_it_has() {
    let workshop = Workshop::new();
    let table = customers(2 * MANY_GROUPS, 1, 7);
    write_in_row_groups(&table, 2, &workshop.path("many/part.parquet"));
    write_in_row_groups(&table, 1 << 20, &workshop.path("one/part.parquet"));
    let ended = workshop.train_on("many").args(["--run-id", "r1"]).run();
    ended.succeeded();
    assert!(peak(&ended) <= 400.0 * MIB, "{} MiB", peak(&ended) / MIB);
    let model = |run: &str| fs::read(workshop.path(&format!("models/engagement/v1/{run}/model.ubj"))).unwrap();
    workshop.train_on("one").args(["--run-id", "r2"]).run().succeeded();
    assert!(model("r1") == model("r2"), "the same model, however the rows lie");
}

/// Rows that are rejected are told by their own objects and rows, also where many objects are scored at once.
#[test]
fn rejected_rows_of_small_objects_are_named() {
    let workshop = Workshop::with_model();
    let table = without(&customers(300, 1, 8), "score");
    // Every second id is that of the row before, and one in fifty is missing.
    let ids: Vec<Option<i64>> = (0..300).map(|row| (row % 50 != 7).then_some(row / 2)).collect();
    let table = with(table, Series::new("customer_id".into(), ids));
    for file in 0..60 {
        write_parquet(&table.slice(file * 5, 5), &workshop.path(&format!("many/part-{file:03}.parquet")));
    }
    write_parquet(&table, &workshop.path("one/part-000.parquet"));
    let rejected = |data: &str, run: &str, more: &[&str]| {
        let call = workshop.predict_on(data).args(["--run-id", run, "--max-reject-fraction", "1"]).args(more);
        call.run().succeeded();
        let file = workshop.path(&format!("output/rejected/run_id={run}/part-00000.parquet"));
        read_parquet(&std::fs::read(file).unwrap())
    };
    let (together, apart, one) =
        (rejected("many", "r1", &[]), rejected("many", "r2", &["--batch-rows", "3"]), rejected("one", "r3", &[]));
    assert!(together.equals_missing(&apart), "{together} {apart}");
    assert!(together.height() > 100);
    let place = |frame: &DataFrame, row: usize| {
        let text = frame.column("source").unwrap().get(row).unwrap().to_string();
        let row = frame.column("row").unwrap().get(row).unwrap().try_extract::<i64>().unwrap();
        let file: i64 =
            text.trim_matches('"').trim_start_matches("part-").trim_end_matches(".parquet").parse().unwrap();
        (file, row)
    };
    for row in 0..together.height() {
        let (file, within) = place(&together, row);
        assert_eq!(file * 5 + within, place(&one, row).1, "row {row}");
    }
}

/// Ids that ascend are compared by their order; where the order breaks, repeated ones are found all the same.
#[test]
fn ids_that_come_again_behind_sorted_ones_are_found() {
    let workshop = Workshop::with_model();
    // More than a part, so that one is written when the order breaks.
    let rows = 540_000;
    let table = without(&customers(rows, 1, 8), "score");
    let id = |row: usize| match row {
        539_990 => "id-00000003".to_owned(),
        539_991 => "id-00539990".to_owned(),
        539_995 => "id-00524288".to_owned(),
        row => format!("id-{row:08}"),
    };
    let ids: Vec<String> = (0..rows).map(id).collect();
    let table = with(table, Series::new("customer_id".into(), ids.as_slice()));
    write_in_row_groups(&table, 50_000, &workshop.path("sorted/part.parquet"));
    let shuffled = DataFrame::new(rows, table.columns().iter().map(Column::reverse).collect()).unwrap();
    write_in_row_groups(&shuffled, 50_000, &workshop.path("reversed/part.parquet"));
    for (data, run) in [("sorted", "r1"), ("reversed", "r2")] {
        let call = workshop.predict_on(data).args(["--run-id", run, "--threads", "2"]);
        let ended = call.run().succeeded();
        assert_eq!(
            (&ended["rows_rejected"], &ended["rows_predicted"]),
            (&Value::from(2), &Value::from(rows - 2)),
            "{data}"
        );
    }
    let manifest = workshop.json("output/runs/r1/manifest.json");
    assert_eq!(manifest["rejected_by_reason"]["duplicate_id"], 2, "{manifest}");
}

/// Text ids of a sorted table take no table of their own.
#[test]
fn sorted_ids_take_less_memory_than_others() {
    let workshop = Workshop::with_model();
    let rows = 1_200_000;
    let table = without(&customers(rows, 1, 8), "score");
    let of = |id: &dyn Fn(usize) -> usize| {
        let ids: Vec<String> = (0..rows).map(|row| format!("{:08}-and-so-on-as-uuids-are-long", id(row))).collect();
        with(table.clone(), Series::new("customer_id".into(), ids.as_slice()))
    };
    write_in_row_groups(&of(&|row| row), 100_000, &workshop.path("sorted/part.parquet"));
    // An odd factor gives each a place of its own among 2²¹.
    write_in_row_groups(
        &of(&|row| row.wrapping_mul(0x9e37_79b1) % (1 << 21)),
        100_000,
        &workshop.path("mixed/part.parquet"),
    );
    let peak_of = |data: &str| {
        let ended = workshop.predict_on(data).args(["--run-id", data]).run();
        assert_eq!(ended.succeeded()["rows_predicted"], rows as u64);
        peak(&ended)
    };
    let (sorted, mixed) = (peak_of("sorted"), peak_of("mixed"));
    // 16 bytes an id, seven eighths full: 20 MiB.
    assert!(sorted + 12.0 * MIB < mixed, "{} and {} MiB", sorted / MIB, mixed / MIB);
}

/// The same rows as CSV and as Parquet, with cells over several bytes, quotes, blanks and everything that stands for nothing.
#[test]
fn cells_that_are_read_as_they_came_are_the_same_values() {
    let workshop = Workshop::with_model();
    let table = without(&customers(3_000, 1, 8), "score");
    let notes: Vec<String> = (0..3_000)
        .map(|row| match row % 7 {
            0 => String::new(),
            1 => "NULL".to_owned(),
            2 => format!("naïve – ü, \"{row}\""),
            3 => format!("line\nof {row}"),
            _ => format!(" note {row} "),
        })
        .collect();
    let table = with(table, Series::new("note".into(), notes.as_slice()));
    workshop.write("csv/part.csv", csv(&table));
    write_parquet(&table, &workshop.path("parquet/part.parquet"));
    for (data, run, rows) in [("csv", "r1", "1000"), ("csv", "r2", "100000"), ("parquet", "r3", "100000")] {
        let call = workshop.predict_on(data).args(["--run-id", run, "--batch-rows", rows, "--threads", "2"]);
        call.args(["--columns", "note"]).run().succeeded();
    }
    let frame = |run: &str| {
        let file = workshop.path(&format!("output/predictions/run_id={run}/part-00000.parquet"));
        read_parquet(&std::fs::read(file).unwrap())
    };
    assert!(parts(&workshop, "predictions", "r1") == parts(&workshop, "predictions", "r2"));
    let (csv, parquet) = (frame("r1"), frame("r3"));
    assert!(csv.column("prediction").unwrap().equals_missing(parquet.column("prediction").unwrap()));
    let of = |frame: &DataFrame| -> Vec<String> {
        let notes = frame.column("note").unwrap().str().unwrap();
        notes.iter().map(|note| note.unwrap_or_default().to_owned()).collect()
    };
    let present: Vec<String> =
        notes.iter().map(|note| if note == "NULL" { String::new() } else { note.clone() }).collect();
    assert_eq!((of(&csv), of(&parquet)), (present, notes));
}
