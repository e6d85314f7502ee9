//! What is said where random rows flatter, since rows depend on one another.

use std::collections::BTreeMap;

use serde_json::Value;

use super::validation::panel;
use super::{Workshop, json, last_line, succeeded};

/// What a table is worth: R² of a run on random rows, how much lower it is in a run that is validated as `split` says, and whether the
/// first one warned, with its result.
struct Flattered {
    by: f64,
    is_named: bool,
    is_warned: bool,
    result: Value,
}

fn flattered(csv: &str, split: [&str; 2], learning: &[&str]) -> Flattered {
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", csv);
    let run = |run_id: &str, more: &[&str]| {
        let done = workshop.call(run_id, &data).args(["--min-r2", "-100"]).args(learning).args(more).output().unwrap();
        succeeded(&done);
        (last_line(&done), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let ((result, log), (validated, _)) = (run("random", &[]), run("validated", &split));
    let r2 = |result: &Value| result["r2"].as_f64().unwrap();
    let is_named = log.contains(&format!("validate with {} {}", split[0], split[1]));
    Flattered { by: r2(&result) - r2(&validated), is_named, is_warned: log.contains("flatters"), result }
}

#[test]
fn planted_groups_are_found_from_a_difference_of_0_05_on_and_independent_rows_are_not_warned_of() {
    let mut found = 0;
    for (own, noise) in [(0.0, 0.5), (0.3, 0.5), (0.4, 0.5), (0.6, 0.5), (1.0, 0.7), (1.5, 0.7)] {
        for seed in [1, 2] {
            let table = flattered(
                &panel(600, 8, (own, 0.0, noise), seed),
                ["--group", "person"],
                &["--rounds", "150", "--param", "eta=0.1"],
            );
            assert_eq!(table.result["r2_new_groups_column"], "person");
            if table.by >= 0.05 {
                found += 1;
                assert!(table.is_named, "{own} of persons flatters by {}: {}", table.by, table.result);
            }
            assert!(own > 0.0 || !table.is_warned, "{}", table.result);
        }
    }
    assert!(found >= 4, "{found} of strong groups");
}

#[test]
fn planted_drift_is_found_from_a_difference_of_0_05_on() {
    // A model that takes the noise of its newest rows for their level, or knows persons by heart, does worse on rows to come where
    // nothing drifts: that is no dependence of rows. This one has large leaves, and there is nobody to know.
    let learning = ["--rounds", "60", "--param", "eta=0.1", "--param", "max_depth=4", "--param", "min_child_weight=50"];
    let without_persons = |csv: String| -> String {
        csv.lines()
            .map(|line| line.splitn(3, ',').collect::<Vec<_>>())
            .map(|cells| format!("{},{}\n", cells[0], cells[2]))
            .collect()
    };
    let mut found = 0;
    for drift in [0.0, 2.0, 3.0, 5.0, 8.0] {
        for seed in [5, 6] {
            let table =
                flattered(&without_persons(panel(6_000, 1, (0.0, drift, 0.4), seed)), ["--time", "seen"], &learning);
            let result = &table.result;
            assert_eq!((&result["r2_newest_column"], &result["r2_new_groups"]), (&"seen".into(), &Value::Null));
            if table.by >= 0.05 {
                found += 1;
                assert!(table.is_named, "a drift of {drift} flatters by {}: {result}", table.by);
            }
            assert!(drift > 0.0 || !table.is_warned, "{result}");
        }
    }
    assert!(found >= 3, "{found}");
}

/// Of a table so large that small models see a part of it.
#[test]
fn drift_is_found_in_a_sample_too() {
    let workshop = Workshop::new();
    for (drift, is_named) in [(3.0, true), (0.0, false)] {
        let data = workshop.write("table.csv", &panel(40_000, 1, (0.0, drift, 0.4), 7));
        let done = workshop.call("r", &data).arg("--check").output().unwrap();
        succeeded(&done);
        let log = String::from_utf8_lossy(&done.stderr);
        assert!(log.contains("r2_newest\":0."), "{log}");
        assert_eq!(log.contains("validate with --time seen"), is_named, "a drift of {drift}: {log}");
    }
}

#[test]
fn the_warning_is_in_log_result_report_and_check_and_ends_a_strict_run() {
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &panel(400, 8, (1.0, 0.0, 0.3), 9));
    let done = workshop.call("r", &data).args(["--rounds", "20"]).output().unwrap();
    succeeded(&done);
    let result = last_line(&done);
    assert!(result["warnings"].as_u64().unwrap() >= 1 && result["r2_sample_random"].is_number(), "{result}");
    let folder = workshop.run_folder("r");
    let (metrics, page) =
        (json(&folder.join("metrics.json")), std::fs::read_to_string(folder.join("report.html")).unwrap());
    assert_eq!(metrics["validation"]["estimate"]["new_groups"]["column"], "person");
    assert_eq!(metrics["validation"]["split"], "random");
    assert!(page.contains("rows of an unknown") && page.contains("validate with --group person"), "{page}");
    let strict = workshop.call("s", &data).args(["--rounds", "20", "--strict"]).output().unwrap();
    assert_eq!(strict.status.code(), Some(4));
    assert!(last_line(&strict)["error_message"].as_str().unwrap().contains("--group person"));
    // What was advised is followed, and nothing is said any more.
    let grouped = workshop.call("g", &data).args(["--rounds", "20", "--group", "person", "--strict"]).output().unwrap();
    succeeded(&grouped);
    let result = last_line(&grouped);
    assert_eq!((&result["r2_new_groups"], &result["r2_sample_random"]), (&Value::Null, &Value::Null));
    let metrics = json(&workshop.run_folder("g").join("metrics.json"));
    assert_eq!(metrics["validation"]["split"], "group");
    let features: Vec<String> = json(&workshop.run_folder("g").join("metadata.json"))["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feature| feature["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(!features.contains(&"person".to_owned()), "{features:?}");
}

#[test]
fn the_estimate_takes_at_most_a_tenth_of_the_run_or_a_second() {
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &panel(5_000, 8, (0.5, 0.5, 0.3), 3));
    let timed = |run_id: &str| {
        let done = workshop.call(run_id, &data).args(["--rounds", "10"]).output().unwrap();
        succeeded(&done);
        let metrics = json(&workshop.run_folder(run_id).join("metrics.json"));
        let seconds = metrics["validation"]["estimate"]["seconds"].as_f64().unwrap();
        (seconds, last_line(&done)["training_seconds"].as_f64().unwrap(), metrics)
    };
    // Processor time is what is bounded; other tests make it longer, and not all of the time.
    let is_quick = |(seconds, run, _): &(f64, f64, Value)| *seconds <= 3.0_f64.max(0.3 * run);
    let told = |(seconds, run, _): &(f64, f64, Value)| println!("{seconds} s of {run} s");
    let (_, _, metrics) = ["r1", "r2", "r3"].into_iter().map(timed).inspect(told).find(is_quick).unwrap();
    let rows: BTreeMap<String, Value> = serde_json::from_value(metrics["validation"]["estimate"].clone()).unwrap();
    assert!(rows["rows"].as_u64().unwrap() <= 20_000);
}
