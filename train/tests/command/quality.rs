//! `DataQualityScore`, ranges and the profile of columns, computed by hand on small tables.

use std::fmt::Write as _;
use std::process::Output;

use serde_json::{Value, json};

use super::{Workshop, last_line, succeeded};

fn train(workshop: &Workshop, csv: &str, spec: &str, more: &[&str]) -> Output {
    let (data, spec) = (workshop.write("table.csv", csv), workshop.write("features.toml", spec));
    workshop.call("r", &data).args(["--rounds", "3", "--features"]).arg(spec).args(more).output().unwrap()
}

/// The result and the profile of each column.
fn trained(csv: &str, spec: &str) -> (Value, Value) {
    let workshop = Workshop::new();
    let done = train(&workshop, csv, spec, &[]);
    succeeded(&done);
    let metadata = super::json(&workshop.run_folder("r").join("metadata.json"));
    let by_name = metadata["profile"].as_array().unwrap().iter();
    let profiles = by_name.map(|profile| (profile["column"].as_str().unwrap().to_owned(), profile.clone()));
    (last_line(&done), Value::Object(profiles.collect()))
}

fn score(result: &Value) -> f64 {
    result["data_quality_score"].as_f64().unwrap()
}

/// 40 rows of which 2 are left out; `age` has 4 cells missing and 6 outside its range, `code` 5 outside, `plan` 8 missing.
fn table() -> String {
    let mut csv = String::from("id,age,code,plan,joined,target\n");
    for row in 0..40 {
        let age = match row {
            0..4 => String::new(),
            4..7 => "-1".to_owned(),
            7..10 => "200".to_owned(),
            _ => (20 + row).to_string(),
        };
        let code = if row % 8 == 0 { 99 } else { row % 4 };
        let plan = if row % 5 == 0 { "NULL" } else { ["basic", "premium"][row % 2] };
        let (id, target) =
            (if row == 39 { 38 } else { row }, if row == 20 { String::new() } else { (row % 9).to_string() });
        writeln!(csv, "{id},{age},{code},{plan},2024-01-{:02},{target}", 1 + row % 28).unwrap();
    }
    csv
}

const SPEC: &str = "categorical = [\"code\"]\nas_of = \"2024-06-01\"\n[derived]\ndouble = \"age * 2\"\n\
                    [ranges]\nage = { min = 0, max = 120 }\ncode = { max = 3 }\njoined = { min = 19000 }\n";

#[test]
fn the_score_is_the_contracts() {
    let (result, profiles) = trained(&table(), SPEC);
    // Rows accepted × the mean over the columns age, code, plan and joined, each once: the date gives two features, and
    // what is derived is no column.
    let expected = (38.0 / 40.0) * ((30.0 / 40.0) + (35.0 / 40.0) + (32.0 / 40.0) + 1.0) / 4.0;
    assert!((score(&result) - expected).abs() < 1e-12, "{} instead of {expected}", score(&result));
    let faults = |column: &str| {
        ["rows", "missing", "infinite", "out_of_range"].map(|key| profiles[column][key].as_u64().unwrap())
    };
    assert_eq!(faults("age"), [40, 4, 0, 6]);
    assert_eq!(faults("code"), [40, 0, 0, 5], "a range holds for numbers that are treated as categories too");
    assert_eq!(faults("plan"), [40, 8, 0, 0]);
    assert_eq!(faults("joined"), [40, 0, 0, 0], "the range is the column's, not that of the days until as_of");
    assert_eq!(faults("target"), [39, 1, 0, 0], "the row that repeats an id has no part in it");
}

#[test]
fn each_column_is_profiled_once_with_what_people_ask_first() {
    let (_, profiles) = trained(&table(), SPEC);
    let names: Vec<&String> = profiles.as_object().unwrap().keys().collect();
    assert_eq!(names, ["age", "code", "plan", "joined", "double", "target"]);
    let roles = names.iter().map(|name| profiles[name.as_str()]["role"].as_str().unwrap());
    assert_eq!(roles.collect::<Vec<_>>(), ["feature", "feature", "feature", "feature", "derived", "target"]);
    assert_eq!((&profiles["plan"]["category"], &profiles["plan"]["distinct"]), (&json!(true), &json!(2)));
    assert_eq!((&profiles["joined"]["type"], &profiles["age"]["type"]), (&json!("date"), &json!("integer")));
    let age = &profiles["age"];
    assert_eq!((&age["min"], &age["max"]), (&json!(-1.0), &json!(200.0)));
    let quantiles: Vec<f64> =
        age["quantiles"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    assert!(quantiles.len() == 5 && quantiles.windows(2).all(|pair| pair[0] <= pair[1]), "{quantiles:?}");
    let shares: f64 = profiles["plan"]["top"].as_array().unwrap().iter().map(|level| level[1].as_f64().unwrap()).sum();
    // Each of the two levels has two in five rows; one that fewer than ten rows have is not named.
    assert!((0.3..0.9).contains(&shares), "{shares}");
}

#[test]
fn an_infinite_cell_counts_once() {
    let mut csv = String::from("id,x,target\n");
    (0..20).for_each(|row| writeln!(csv, "{row},{},{row}", if row < 5 { "1e300" } else { "1" }).unwrap());
    let (result, profiles) = trained(&csv, "[ranges]\nx = { max = 10 }\n");
    assert!((score(&result) - 15.0 / 20.0).abs() < 1e-12, "{result}");
    assert_eq!((&profiles["x"]["infinite"], &profiles["x"]["out_of_range"]), (&json!(5), &json!(0)));
}

#[test]
fn a_target_outside_its_range_is_a_warning_and_strict_refuses_it() {
    let workshop = Workshop::new();
    let spec = "[ranges]\ntarget = { max = 6 }\n";
    let done = train(&workshop, &table(), spec, &["--strict"]);
    assert_eq!(done.status.code(), Some(4));
    let message = last_line(&done)["error_message"].as_str().unwrap().to_owned();
    assert!(message.contains("values of the target \"target\" lie outside its range"), "{message}");
    let (_, profiles) = trained(&table(), spec);
    assert_eq!(profiles["target"]["out_of_range"], 8, "rows with 7 and 8");
}

#[test]
fn ranges_that_nothing_looks_at_are_named() {
    let workshop = Workshop::new();
    let done = train(&workshop, &table(), "[ranges]\nagee = { max = 6 }\nplan = { min = 1 }\n", &[]);
    assert!(done.status.success());
    let log = String::from_utf8_lossy(&done.stderr);
    assert!(log.contains("no column \\\"agee\\\"") && log.contains("\\\"plan\\\" has text"), "{log}");
}
