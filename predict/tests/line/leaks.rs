//! Leaks in real tables are named, and honest tables stay silent.

use std::process::Command;

use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};
use testkit::program::{Ended, Invocation};
use testkit::tables::{with, write_parquet};

use super::{Workshop, files_below, programs, repository, sample};
use testkit::tables::read_parquet;

/// One part of the sample as a table.
fn part(name: &str) -> DataFrame {
    let files = files_below(std::path::Path::new(&sample(name)));
    let mut tables = files.iter().map(|file| read_parquet(&std::fs::read(file).unwrap()));
    let first = tables.next().unwrap();
    tables.fold(first, |all, table| all.vstack(&table).unwrap())
}

/// `train --check` on a table with the sample's spec.
fn check(workshop: &Workshop, train: &DataFrame, test: &DataFrame) -> Invocation {
    write_parquet(train, &workshop.path("train/part.parquet"));
    write_parquet(test, &workshop.path("test/part.parquet"));
    let call = programs().train().folder(workshop.folder.path()).args(["--train-data", "train", "--test-data", "test"]);
    let call = call.args(["--features", &sample("features.toml"), "--models", "models", "--model-version", "v1"]);
    call.args(["--threads", "1", "--check"])
}

/// A warning that has all `parts`, and with `--strict` the end.
#[track_caller]
fn leaks(train: &DataFrame, test: &DataFrame, parts: &[&str]) {
    let workshop = Workshop::new();
    let warned = check(&workshop, train, test).run();
    assert_eq!(warned.succeeded()["warnings"], 1, "{}", warned.stderr);
    for part in parts {
        assert!(warned.stderr.contains(part), "{part}: {}", warned.stderr);
    }
    check(&workshop, train, test).arg("--strict").run().failed(4, &[parts, &["--strict"]].concat());
}

#[track_caller]
fn silent(ended: &Ended) {
    assert_eq!(ended.succeeded()["warnings"], 0, "{}", ended.stderr);
}

#[test]
fn an_honest_sample_and_ids_on_both_sides() {
    let (train, test) = (part("train"), part("test"));
    let workshop = Workshop::new();
    silent(&check(&workshop, &train, &test).arg("--strict").run());
    let repeated = test.head(Some(3_000)).vstack(&train.head(Some(50))).unwrap();
    leaks(&train, &repeated, &["50 of 3050 held-out ids", "are also in the training data"]);
}

#[test]
fn a_feature_that_knows_the_target() {
    let (train, test) = (part("train"), part("test"));
    let in_dollars = |table: &DataFrame| {
        let bill = table.column("BILL_AMT1").unwrap().cast(&polars::prelude::DataType::Float64).unwrap();
        let bill = bill.f64().unwrap().iter().map(|bill| bill.map(|bill| (bill * 3.3).round() / 100.0));
        with(table.clone(), Series::new("bill_in_dollars".into(), bill.collect::<Vec<_>>()).into_column())
    };
    leaks(&in_dollars(&train), &in_dollars(&test), &["bill_in_dollars", "alone explains 100.0 %", "BILL_AMT1"]);
}

fn numbers(table: &DataFrame, column: &str) -> Vec<f64> {
    let numbers = table.column(column).unwrap().cast(&polars::prelude::DataType::Float64).unwrap();
    numbers.f64().unwrap().iter().map(Option::unwrap).collect()
}

/// The tables with a column `line` that numbers the rows of both together in the order of `key`.
fn numbered(tables: [&DataFrame; 2], key: impl Fn(usize, f64) -> f64) -> [DataFrame; 2] {
    let targets: Vec<f64> = tables.iter().flat_map(|table| numbers(table, "BILL_AMT1")).collect();
    let keys: Vec<f64> = targets.iter().enumerate().map(|(row, target)| key(row, *target)).collect();
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|one, other| keys[*one].total_cmp(&keys[*other]));
    let mut lines = vec![0_i64; order.len()];
    order.into_iter().zip(0..).for_each(|(row, line)| lines[row] = line);
    let (of_train, of_test) = lines.split_at(tables[0].height());
    let column = |lines: &[i64]| Series::new("line".into(), lines.to_vec()).into_column();
    [with(tables[0].clone(), column(of_train)), with(tables[1].clone(), column(of_test))]
}

#[test]
fn a_row_number_that_the_target_follows() {
    let (train, test) = (part("train"), part("test"));
    // Customers were sorted by their bill once, and not quite since.
    let jitter = |row: usize| (row as f64 * 0.618_033_988_75).fract() * 100_000.0;
    let [leaking, leaking_test] = numbered([&train, &test], |row, bill| bill + jitter(row));
    leaks(&leaking, &leaking_test, &["line", "looks like a row number", "BILL_AMT1", "exclude it"]);
    let workshop = Workshop::new();
    let [honest, honest_test] = numbered([&train, &test], |row, _| row as f64);
    silent(&check(&workshop, &honest, &honest_test).arg("--strict").run());
}

#[test]
fn a_derived_feature_that_uses_the_target() {
    let workshop = Workshop::new();
    let spec = std::fs::read_to_string(sample("features.toml")).unwrap();
    for derived in ["BILL_AMT2 - BILL_AMT1", "COALESCE(NULLIF(\\\"BILL_AMT1\\\", 0), 1)"] {
        let spec = spec.replace("[derived]\n", &format!("[derived]\nwhat_came = \"{derived}\"\n"));
        workshop.write("features.toml", spec);
        let call = programs().train().folder(workshop.folder.path()).args(["--train-data", &sample("train")]);
        let call = call.args(["--features", "features.toml", "--models", "models", "--model-version", "v1"]);
        call.run().failed(2, &["what_came", "target", "BILL_AMT1"]);
        assert!(workshop.files("models").is_empty());
    }
}

#[test]
fn honest_tables_stay_silent() {
    let workshop = Workshop::new();
    let fetch = |script: &str, arguments: &[&str]| {
        let status = Command::new(repository().join("scripts").join(script)).args(arguments).status().unwrap();
        assert!(status.success(), "{script} failed");
    };
    let strict = |data: &str, more: &[&str]| {
        let call = programs().train().folder(workshop.folder.path()).args(["--train-data", data, "--models", "models"]);
        call.args(["--model-version", "v1", "--threads", "1", "--check"]).args(more).run()
    };
    // The hours of a day have its weather in common, and the flights of a day its delays: without group and time that is said, rightly.
    for (table, more) in [("diamonds", &[][..]), ("bikeshare", &["--group", "day"])] {
        fetch("fetch-table", &[table, &workshop.text(table)]);
        let roles = ["--id", "row_id", "--target", "target", "--strict"];
        silent(&strict(&format!("{table}/train.parquet"), &[&roles[..], more].concat()));
    }
    fetch("fetch-flights", &[&workshop.text("flights")]);
    let ended = strict("flights/data", &["--features", "flights/features.toml", "--time", "time_hour"]);
    // Cancelled flights have no delay: that is said, and no leak.
    assert_eq!(ended.succeeded()["warnings"], 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("rows are left out"), "{}", ended.stderr);
}
