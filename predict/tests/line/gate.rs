//! A model that is not good enough leaves its folder and no pointer.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{Workshop, repository};

/// Flights that the test trains on: enough for a stable R², few enough for a second.
const FLIGHTS: usize = 40_000;

#[test]
fn a_model_below_the_bound_is_not_published() {
    let workshop = Workshop::with_data();
    let ended = workshop.train().args(["--run-id", "bad", "--min-r2", "0.9999"]).run();
    let failure = ended.failed(3, &["R²", "0.9999", "bad"]);
    assert_eq!(failure["gate"], "failed");
    assert!(failure["r2"].as_f64().is_some_and(|r2| r2 < 0.9999));
    let files = ["metadata.json", "metrics.json", "model.ubj", "report.html", "result.json"];
    assert_eq!(workshop.files_of_runs("models"), files.map(|file| format!("engagement/v1/bad/{file}")));
    let result = workshop.json("models/engagement/v1/bad/result.json");
    assert_eq!(result, failure);
    assert!(fs::read_to_string(workshop.path("models/engagement/v1/bad/report.html")).unwrap().contains("rejected"));

    for model in ["latest", "v1", "v1/bad"] {
        let failure = workshop.predict().args(["--model-version", model]).run();
        let said = if model == "v1/bad" { "rejected by its gate" } else { "no model is published" };
        failure.failed(6, &[said]);
    }
    workshop.models_command(&["promote", "v1/bad"]).failed(6, &["rejected by its gate"]);
    workshop.assert_nothing_published();
}

#[test]
fn a_rejected_model_leaves_the_pointers_where_they_were() {
    let workshop = Workshop::with_model();
    let pointers = ["models/engagement/latest.json", "models/engagement/v1/latest.json"];
    let before = pointers.map(|pointer| fs::read(workshop.path(pointer)).unwrap());
    workshop.train().args(["--min-r2", "0.9999"]).run().failed(3, &[]);
    assert_eq!(pointers.map(|pointer| fs::read(workshop.path(pointer)).unwrap()), before);
    workshop.predict().run().succeeded();
}

#[test]
fn a_model_worse_than_the_current_one_is_rejected() {
    let workshop = Workshop::with_model();
    let current = workshop.json("models/engagement/latest.json");
    let worse = || workshop.train().args(["--rounds", "12", "--min-r2", "0.5"]);
    let failure = worse().args(["--max-r2-drop", "0.01"]).run().failed(3, &[]);
    assert!(failure["r2"].as_f64() < current["r2"].as_f64());
    assert_eq!(workshop.json("models/engagement/latest.json"), current);
    worse().args(["--max-r2-drop", "0.9"]).run().succeeded();
    assert_eq!(workshop.json("models/engagement/latest.json")["previous"], current["path"]);
}

/// The check of `--max-r2-drop` in a run's metrics: whether it passed, and its words.
fn drop_check(workshop: &Workshop, run_id: &str) -> (bool, String) {
    let metrics = workshop.json(&format!("models/engagement/v1/{run_id}/metrics.json"));
    let checks = metrics["gate"]["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "max_r2_drop").unwrap();
    (check["passed"] == true, check["detail"].as_str().unwrap().to_owned())
}

/// A tree that leads out of itself, under hashes that fit: XGBoost would follow it.
fn forge(workshop: &Workshop, folder: &str) {
    let path = |file: &str| workshop.path(&format!("{folder}/{file}"));
    let mut model = fs::read(path("model.ubj")).unwrap();
    let head = b"left_children[$l#L";
    let at = model.windows(head.len()).position(|window| window == head).unwrap() + head.len() + 8;
    model[at..at + 4].copy_from_slice(&i32::MAX.to_be_bytes());
    fs::write(path("model.ubj"), &model).unwrap();
    let mut metadata = workshop.json(&format!("{folder}/metadata.json"));
    metadata["model_sha256"] = json!(super::sha256(&model));
    fs::write(path("metadata.json"), metadata.to_string()).unwrap();
    let mut result = workshop.json(&format!("{folder}/result.json"));
    result["metadata_sha256"] = json!(super::sha256(metadata.to_string().as_bytes()));
    result["files"]["metadata.json"] = result["metadata_sha256"].clone();
    result["files"]["model.ubj"] = metadata["model_sha256"].clone();
    fs::write(path("result.json"), result.to_string()).unwrap();
    let mut latest = workshop.json("models/engagement/latest.json");
    latest["sha256"] = metadata["model_sha256"].clone();
    latest["metadata_sha256"] = result["metadata_sha256"].clone();
    workshop.write("models/engagement/latest.json", latest.to_string());
}

#[test]
fn a_current_model_that_cannot_be_scored_is_named_and_stops_no_training() {
    let workshop = Workshop::with_model();
    let trained = |run_id: &str, data: &str, more: &[&str]| {
        let ended = workshop.train_on(data).args(["--run-id", run_id, "--max-r2-drop", "0.01"]).args(more).run();
        ended.succeeded();
        assert!(ended.stderr.contains("MAX_R2_DROP"), "{}", ended.stderr);
        drop_check(&workshop, run_id)
    };
    let current = workshop.model_folder();
    forge(&workshop, &current);
    let (passed, detail) = trained("forged", "train", &[]);
    assert!(passed && detail.contains("model.ubj") && detail.contains("left_children"), "{detail}");

    let current = workshop.model_folder();
    fs::write(workshop.path(&format!("{current}/model.ubj")), b"damaged").unwrap();
    let (passed, detail) = trained("damaged", "train", &[]);
    assert!(passed && detail.contains("model.ubj") && detail.contains("cannot be scored"), "{detail}");

    let fewer = testkit::tables::without(&testkit::tables::customers(super::ROWS, 1, 7), "visits");
    testkit::tables::write_parquet(&fewer, &workshop.path("fewer/part.parquet"));
    let (passed, detail) = trained("fewer", "fewer", &["--min-r2", "0.1"]);
    assert!(passed && detail.contains("v1/damaged") && detail.contains("visits"), "{detail}");

    let (passed, detail) = trained("other", "train", &["--target", "spend", "--min-r2", "-1"]);
    assert!(passed && detail.contains("\"score\"") && detail.contains("\"spend\""), "{detail}");
}

#[test]
fn a_minimum_of_slices_needs_slices() {
    let workshop = Workshop::with_data();
    workshop.train().args(["--min-slice-r2", "0.5"]).run().failed(2, &["--min-slice-r2", "--slice"]);
    assert!(workshop.files("models").is_empty());
}

#[test]
fn every_value_of_a_slice_is_judged() {
    let workshop = Workshop::with_data();
    let slices = ["--slice", "plan", "--slice", "member", "--min-slice-r2", "0.9999"];
    workshop.train().args(["--run-id", "bad"]).args(slices).run().failed(3, &["slices", "0.9999"]);
    let slices = &workshop.json("models/engagement/v1/bad/metrics.json")["slices"];
    let values = |column: &str| {
        let slices = slices[column].as_array().unwrap().iter();
        let mut values: Vec<String> = slices.map(|slice| slice["value"].as_str().unwrap().to_owned()).collect();
        values.sort();
        values
    };
    assert_eq!(values("plan"), ["(missing)", "basic", "family", "premium", "student"]);
    assert_eq!(values("member"), ["(missing)", "false", "true"]);
    workshop.train().args(["--slice", "colour"]).run().failed(4, &["\"colour\""]);
    workshop.train().args(["--min-test-rows", "5000"]).run().failed(4, &["--min-test-rows", "5000"]);
}

#[test]
fn nothing_is_written_by_a_check() {
    let workshop = Workshop::with_data();
    let result = workshop.train().arg("--check").run().succeeded();
    assert_eq!((&result["check"], &result["features"]), (&json!(true), &json!(5)));
    assert!(workshop.files("models").is_empty());
}

/// Real data whose target nobody can predict from what is given: 40,000 of the flights from New York in 2013.
#[test]
fn flights_from_the_schedule_alone_are_rejected() {
    let workshop = Workshop::new();
    let flights = repository().join("scripts/fetch-flights");
    let fetched = Command::new(flights).arg(workshop.path("flights")).status().unwrap();
    assert!(fetched.success(), "scripts/fetch-flights failed");
    let parts = workshop.files("flights/data");
    let frame = testkit::tables::read_parquet(&fs::read(workshop.path(&format!("flights/data/{}", parts[0]))).unwrap());
    testkit::tables::write_parquet(&frame.head(Some(FLIGHTS)), &workshop.path("schedule/part.parquet"));
    let train = super::programs().train().folder(workshop.folder.path());
    let train = train.args(["--train-data", "schedule", "--features", "flights/features.toml", "--models", "models"]);
    let ended = train.args(["--model-version", "v1", "--run-id", "r1", "--threads", "1", "--rounds", "100"]).run();
    let failure = ended.failed(3, &["R²", "0.75"]);
    let r2 = failure["r2"].as_f64().unwrap();
    assert!((0.05..0.6).contains(&r2), "{r2}");
    assert!(failure["rows_dropped"]["bad_target"].as_u64().unwrap() > 0, "cancelled flights have no delay");
    workshop.assert_nothing_published();
    assert_eq!(workshop.json("models/engagement/v1/r1/result.json"), failure);
}
