//! Where the rows lie: folders that are columns, many small files, and settings that name no place.

use std::fmt::Write as _;
use std::process::Output;

use serde_json::{Value, json};

use super::{Workshop, json, last_line, program, succeeded};

/// Rows of a CSV file whose target follows from `x` and what the folder adds.
fn rows(first: usize, count: usize, of_folder: f64) -> String {
    let mut csv = "id,x,target\n".to_owned();
    for row in first..first + count {
        let x = (row * 37 % 83) as f64;
        writeln!(csv, "{row},{x},{}", 2.0 * x + of_folder).unwrap();
    }
    csv
}

fn write(workshop: &Workshop, name: &str, content: &str) {
    std::fs::create_dir_all(workshop.folder().join(name).parent().unwrap()).unwrap();
    workshop.write(name, content);
}

#[track_caller]
fn failed(done: &Output, exit_code: i32, parts: &[&str]) {
    let failure = last_line(done);
    assert_eq!(done.status.code(), Some(exit_code), "{failure}");
    let message = failure["error_message"].as_str().unwrap();
    parts.iter().for_each(|part| assert!(message.contains(part), "\"{part}\" is not in: {message}"));
}

/// Types of the features of a run, by name.
fn types(workshop: &Workshop, run_id: &str) -> Vec<(String, String)> {
    let metadata = json(&workshop.run_folder(run_id).join("metadata.json"));
    let features = metadata["features"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    features.iter().map(|feature| (text(&feature["name"]), text(&feature["type"]))).collect()
}

#[test]
fn folders_of_csv_are_whole_numbers_or_text_and_never_dates() {
    let workshop = Workshop::new();
    let folders = [("2023-01-31", "07", 1), ("2023-02-28", "08", 2), ("2024-02-29", "10", 3)];
    for (place, (day, code, year)) in folders.into_iter().enumerate() {
        let folder = format!("data/day={day}/code={code}/year={year}");
        write(&workshop, &format!("{folder}/part.csv"), &rows(100 * place, 100, 50.0 * place as f64));
    }
    let data = workshop.folder().join("data");
    let done = workshop.call("folders", &data).args(["--rounds", "20"]).output().unwrap();
    succeeded(&done);
    let pair = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
    let expected = [pair("x", "integer"), pair("day", "text"), pair("code", "text"), pair("year", "integer")];
    assert_eq!(types(&workshop, "folders"), expected);
    assert_eq!(last_line(&done)["rows_dropped"]["duplicate_id"], 0);
    // As the spec says: numbers as categories, text in expressions.
    let spec = "categorical = [\"year\"]\nexclude = [\"day\"]\n[derived]\nseven = \"CASE WHEN code = '07' THEN 1 ELSE 0 END\"\n";
    let spec = workshop.write("spec.toml", spec);
    let done = workshop.call("spec", &data).args(["--rounds", "20", "--features"]).arg(spec).output().unwrap();
    succeeded(&done);
    let names: Vec<String> = types(&workshop, "spec").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["x", "code", "year", "seven"]);
    let metadata = json(&workshop.run_folder("spec").join("metadata.json"));
    let levels = metadata["features"][2]["levels"].as_array().unwrap();
    assert!(levels.len() == 3 && levels.contains(&json!("3")), "{levels:?}");
}

/// Found by the test of folders: with 16 files or more on one or two threads, every thread that may block waited for another.
#[test]
fn many_small_files_are_read_on_one_thread() {
    let workshop = Workshop::new();
    for file in 0..150 {
        write(&workshop, &format!("data/{file}.csv"), &rows(10 * file, 10, 0.0));
    }
    let done = workshop.call("many", &workshop.folder().join("data")).args(["--rounds", "5"]).output().unwrap();
    succeeded(&done);
    let result = last_line(&done);
    assert_eq!(result["rows_train"].as_u64().unwrap() + result["rows_test"].as_u64().unwrap(), 1_500);
}

#[test]
fn settings_that_cannot_be_are_refused_before_anything_is_read() {
    let workshop = Workshop::new();
    let with = |arguments: &[&str]| {
        let mut call = program();
        call.env("TRAIN_DATA", "nowhere").env("MODELS", "models").env("MODEL_VERSION", "v1").env("ID_COLUMN", "id");
        call.env("TARGET_COLUMN", "target").current_dir(workshop.folder());
        call.args(["--log-format", "json"]).args(arguments).output().unwrap()
    };
    for id in ["run_id", "prediction_high", "reason_3"] {
        failed(&with(&["--id", id]), 2, &["--id (ID_COLUMN)", &format!("\"{id}\"")]);
    }
    failed(&with(&["--models", "nowhere/models"]), 2, &["--models (MODELS)", "--train-data (TRAIN_DATA)"]);
    failed(&with(&["--models", "s3:/models"]), 2, &["--models", "write s3://models"]);
    failed(&with(&["--features", "file:spec.toml"]), 2, &["--features", "file:spec.toml"]);
    assert_eq!(std::fs::read_dir(workshop.folder()).unwrap().count(), 0, "nothing was written");
}
