//! The predictions by the values of the columns that `train --slice` named, in report and manifest of every run.

use std::collections::BTreeMap;
use std::fs;

use polars::prelude::{DataFrame, DataType, NamedFrom, Series};
use serde_json::{Value, json};
use testkit::tables::{csv, customers, read_parquet, with, without, write_parquet};

use super::Workshop;

/// Customers that are scored.
fn scored() -> DataFrame {
    without(&customers(3_000, 100_000, 8), "score")
}

/// With a model that was judged by these columns, none of which is a feature of it.
fn judged_by(slices: &[&str]) -> Workshop {
    let workshop = Workshop::with_data();
    workshop.write("features.toml", format!("exclude = {}", json!(slices)));
    let call = workshop.train().args(["--features", "features.toml", "--interval-folds", "3", "--min-r2", "-1"]);
    call.args(slices.iter().flat_map(|slice| ["--slice", slice])).run().succeeded();
    let metadata = workshop.json(&format!("{}/metadata.json", workshop.model_folder()));
    let features: Vec<&str> =
        metadata["features"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(slices.iter().all(|slice| !features.contains(slice)), "{features:?}");
    write_parquet(&scored(), &workshop.path("customers/part.parquet"));
    workshop
}

fn report(workshop: &Workshop, run_id: &str) -> String {
    fs::read_to_string(workshop.path(&format!("output/runs/{run_id}/report.html"))).unwrap()
}

fn manifest(workshop: &Workshop, run_id: &str) -> Value {
    workshop.json(&format!("output/runs/{run_id}/manifest.json"))
}

fn predictions(workshop: &Workshop, run_id: &str) -> DataFrame {
    let part = format!("output/predictions/run_id={run_id}/part-00000.parquet");
    read_parquet(&fs::read(workshop.path(&part)).unwrap())
}

#[test]
fn rows_shares_and_means_are_those_of_the_predictions() {
    let workshop = judged_by(&["plan", "visits"]);
    // Repeated ids are rejected, and count nowhere.
    let mut customers = scored();
    customers.vstack_mut(&scored().slice(0, 20)).unwrap();
    write_parquet(&customers, &workshop.path("customers/part.parquet"));
    let result =
        workshop.predict().args(["--run-id", "r1", "--interval", "0.9", "--columns", "plan"]).run().succeeded();
    let frame = predictions(&workshop, "r1");
    let mut expected: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    let plans = frame.column("plan").unwrap().str().unwrap();
    for (plan, prediction) in plans.iter().zip(frame.column("prediction").unwrap().f64().unwrap().iter()) {
        let sums = expected.entry(plan.unwrap_or("(missing)").to_owned()).or_default();
        *sums = (sums.0 + 1, sums.1 + prediction.unwrap());
    }
    let slices = &manifest(&workshop, "r1")["slices"];
    let plans = slices["plan"]["values"].as_array().unwrap();
    assert_eq!((plans.len(), &slices["plan"]["rare"]), (5, &Value::Null));
    let rows: Vec<u64> = plans.iter().map(|plan| plan["rows"].as_u64().unwrap()).collect();
    assert!(rows.is_sorted_by(|one, next| one >= next) && rows.iter().sum::<u64>() == 3_000, "{rows:?}");
    let mut expected_error = 0.0;
    let text = report(&workshop, "r1");
    for plan in plans {
        let (rows, sum) = expected[plan["value"].as_str().unwrap()];
        assert_eq!((plan["rows"].as_u64(), plan["mean_prediction"].as_f64()), (Some(rows), Some(sum / rows as f64)));
        assert_eq!(plan["share"].as_f64(), Some(rows as f64 / 3_000.0));
        expected_error += plan["expected_mae"].as_f64().unwrap() * rows as f64 / 3_000.0;
        let named = format!(
            ">{}</th><td role=\"cell\" class=\"number\" data-label=\"rows\">{rows}</td>",
            plan["value"].as_str().unwrap()
        );
        assert!(text.contains(&named), "{named}");
    }
    let all = result["expected_mae"].as_f64().unwrap();
    assert!((expected_error / all - 1.0).abs() < 1e-6, "{expected_error} {all}");
    assert!(text.contains("<h2>Slices</h2>") && text.contains("<h3>visits</h3>") && text.contains("expected error"));
    assert_eq!(slices["visits"]["values"].as_array().unwrap().len(), 30);

    // Without intervals there is no error to expect.
    workshop.predict().args(["--run-id", "r2"]).run().succeeded();
    let plan = &manifest(&workshop, "r2")["slices"]["plan"]["values"][0];
    assert_eq!((&plan["expected_mae"], &plan["rows"]), (&Value::Null, &plans[0]["rows"]));
}

/// The same figures, to the bit, whatever batches, threads and format are; and those of few rows are not named.
#[test]
fn batches_threads_and_format_change_nothing() {
    let workshop = judged_by(&["plan", "member", "visits", "since"]);
    // A value that nobody had in training, in nine rows.
    let visits = scored().column("visits").unwrap().i32().unwrap().iter().collect::<Vec<_>>();
    let visits = (0..3_000).map(|row| if row % 334 == 7 { Some(77) } else { visits[row] });
    let customers = with(scored(), Series::new("visits".into(), visits.collect::<Vec<_>>()));
    write_parquet(&customers, &workshop.path("customers/part.parquet"));
    workshop.write("cells/part.csv", csv(&customers));
    workshop.predict().args(["--run-id", "one", "--interval", "0.8"]).run().succeeded();
    let one = manifest(&workshop, "one")["slices"].clone();
    let more = [
        ("threads", vec!["--threads", "2"]),
        ("batches", vec!["--batch-rows", "1024", "--threads", "2"]),
        ("text", vec!["--input", "cells"]),
        ("small", vec!["--batch-rows", "1500"]),
    ];
    for (run_id, arguments) in more {
        workshop.predict().args(["--run-id", run_id, "--interval", "0.8"]).args(&arguments).run().succeeded();
        assert_eq!(manifest(&workshop, run_id)["slices"], one, "{run_id}");
    }
    let rare = &one["visits"]["rare"];
    assert_eq!((&rare["values"], &rare["rows"]), (&1.into(), &9.into()), "{one}");
    let text = report(&workshop, "one");
    assert!(text.contains("(1 value, each of few rows)") && !text.contains(">77</th>"), "{text}");
    let members = one["member"]["values"].as_array().unwrap();
    let mut members: Vec<&str> = members.iter().map(|member| member["value"].as_str().unwrap()).collect();
    members.sort_unstable();
    assert_eq!(members, ["(missing)", "false", "true"]);
    // More days than are told apart.
    assert_eq!(one["since"], Value::Null);
}

/// Predictions do not depend on it, so nothing about it is a reason to fail.
#[test]
fn a_column_that_is_lacking_or_cannot_be_told_is_said_to_be() {
    let workshop = judged_by(&["plan", "visits", "member"]);
    workshop.predict().args(["--run-id", "whole"]).run().succeeded();
    let whole = fs::read(workshop.path("output/predictions/run_id=whole/part-00000.parquet")).unwrap();
    let numbers: Vec<i32> = (0..3_000).collect();
    let many = with(without(&scored(), "plan"), Series::new("visits".into(), numbers));
    // A day beyond the calendar, which has no text.
    let days: Vec<i32> = (0..3_000).map(|row| if row == 1_700 { i32::MAX } else { row % 5 }).collect();
    let days = Series::new("member".into(), days).cast(&DataType::Date).unwrap();
    write_parquet(&with(many, days), &workshop.path("customers/part.parquet"));
    for threads in ["1", "2"] {
        let run_id = format!("lacking-{threads}");
        let call = workshop.predict().args(["--run-id", &run_id, "--threads", threads, "--batch-rows", "1024"]);
        let ended = call.run();
        ended.succeeded();
        assert!(ended.stderr.contains("the report does not tell the predictions by"), "{}", ended.stderr);
        let text = report(&workshop, &run_id);
        let after =
            |column: &str| text.split_once(&format!("<h3>{column}</h3>")).unwrap().1.split_once("</p>").unwrap().0;
        assert!(after("plan").contains("the input has no such column"), "{}", after("plan"));
        for column in ["visits", "member"] {
            assert!(after(column).contains("it has more than 1,000 values"), "{}", after(column));
            assert!(after(column).contains("or some of them cannot be read"), "{}", after(column));
        }
        assert_eq!(manifest(&workshop, &run_id)["slices"], Value::Null);
        let same = fs::read(workshop.path(&format!("output/predictions/run_id={run_id}/part-00000.parquet"))).unwrap();
        assert!(same == whole, "no feature is made of them");
    }
    // A check beforehand finds nothing wrong with it either.
    let prepared = super::programs().predict().folder(workshop.folder.path()).arg("prepare");
    prepared.env("INPUT_DATA", "customers").env("MODELS", "models").env("OUTPUT", "output").run().succeeded();
}

/// A model without slices has a report without that section.
#[test]
fn a_model_without_slices_tells_none() {
    let workshop = Workshop::with_model();
    workshop.predict().args(["--run-id", "r1"]).run().succeeded();
    assert!(!report(&workshop, "r1").contains("Slices"));
    assert_eq!(manifest(&workshop, "r1")["slices"], Value::Null);
}
