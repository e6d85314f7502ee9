//! Between which values actual ones lie: `--interval` and `--interval-folds`.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};
use testkit::tables::read_parquet;
use testkit::tables::{self, customers, without, write_parquet};

use super::{Workshop, copy_folder, repository};

/// Customers that are scored, whose scores are known later.
fn scored() -> DataFrame {
    customers(3_000, 100_000, 8)
}

/// With a model that was searched for, trained once.
fn with_intervals() -> Workshop {
    static MODEL: OnceLock<Workshop> = OnceLock::new();
    let trained = MODEL.get_or_init(|| {
        let workshop = Workshop::with_data();
        workshop.train().env("ROUNDS", "").args(["--time-budget", "29", "--slice", "plan"]).run().succeeded();
        workshop
    });
    let workshop = Workshop::new();
    copy_folder(&trained.path("models"), &workshop.path("models"));
    write_parquet(&without(&scored(), "score"), &workshop.path("customers/part.parquet"));
    workshop
}

fn read(workshop: &Workshop, run_id: &str) -> DataFrame {
    let part = workshop.path(&format!("output/predictions/run_id={run_id}/part-00000.parquet"));
    read_parquet(&std::fs::read(part).unwrap())
}

fn numbers(frame: &DataFrame, column: &str) -> Vec<f64> {
    frame.column(column).unwrap().f64().unwrap().iter().map(Option::unwrap).collect()
}

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn intervals_hold_and_are_those_of_python() {
    let workshop = with_intervals();
    let ended = workshop.predict().args(["--interval", "0.9", "--reasons", "1", "--run-id", "r1"]).run();
    let result = ended.succeeded();
    let frame = read(&workshop, "r1");
    let names: Vec<&str> = frame.get_column_names().iter().map(|name| name.as_str()).collect();
    let expected =
        ["customer_id", "prediction", "prediction_low", "prediction_high", "reason_1", "reason_1_contribution"];
    assert_eq!(names[..6], expected);
    assert_eq!(names.last(), Some(&"model_version"));
    let [prediction, low, high] = ["prediction", "prediction_low", "prediction_high"].map(|name| numbers(&frame, name));
    let actual = numbers(&scored(), "score");
    let inside = |row: &usize| low[*row] <= actual[*row] && actual[*row] <= high[*row];
    let coverage = (0..actual.len()).filter(inside).count() as f64 / actual.len() as f64;
    // The final model has learnt from more rows than those that predicted the calibrating rows, so it errs less on a small table.
    assert!((0.87..0.95).contains(&coverage), "{coverage}");
    assert!((0..actual.len()).all(|row| low[row] <= prediction[row] && prediction[row] <= high[row]));

    let error = (0..actual.len()).map(|row| (actual[row] - prediction[row]).abs()).sum::<f64>() / actual.len() as f64;
    let expected = number(&result["expected_mae"]);
    assert!((expected / error - 1.0).abs() < 0.25, "{expected} for {error}");
    let metric = ended.metrics().into_iter().find_map(|line| line["ExpectedError"].as_f64());
    assert_eq!(metric, Some(expected));
    assert_eq!(workshop.json("output/runs/r1/manifest.json")["expected_mae"], result["expected_mae"]);
    assert!(fs::read_to_string(workshop.path("output/runs/r1/report.html")).unwrap().contains("expected error"));

    let mut call = Command::new(repository().join("scripts/check-model-in-python"));
    call.arg(workshop.path(&workshop.model_folder())).arg(workshop.text("customers"));
    let output = call.arg(workshop.path("output/predictions/run_id=r1")).arg("0.9").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("3000 intervals are equal"), "{said}");
}

#[test]
fn every_way_of_computing_gives_the_same_bytes() {
    let workshop = with_intervals();
    let part = |run_id: &str| workshop.path(&format!("output/predictions/run_id={run_id}/part-00000.parquet"));
    let predict = |run_id: &str, input: &str, more: &[&str]| {
        workshop.predict_on(input).args(["--interval", "0.8", "--run-id", run_id]).args(more).run().succeeded()
    };
    let first = predict("r1", "customers", &[]);
    let expected = fs::read(part("r1")).unwrap();
    let other = predict("r2", "customers", &["--instructions", "portable", "--batch-rows", "37", "--threads", "2"]);
    assert!(fs::read(part("r2")).unwrap() == expected);
    assert_eq!(first["expected_mae"], other["expected_mae"]);
    // As after a kill between the parts and the manifest.
    for file in ["manifest.json", "result.json"] {
        fs::remove_file(workshop.path(&format!("output/runs/r1/{file}"))).unwrap();
    }
    fs::remove_file(part("r1")).unwrap();
    assert_eq!(predict("r1", "customers", &[])["expected_mae"], first["expected_mae"]);
    assert!(fs::read(part("r1")).unwrap() == expected);
    workshop.predict().args(["--interval", "0.9", "--run-id", "r1"]).run().failed(2, &["--run-id", "r1"]);

    workshop.write("csv/part.csv", table::write::to_csv(&without(&scored(), "score")).unwrap());
    assert_eq!(predict("r3", "csv", &[])["expected_mae"], first["expected_mae"]);
    let (of_csv, of_parquet) = (read(&workshop, "r3"), read(&workshop, "r1"));
    for name in ["prediction", "prediction_low", "prediction_high"] {
        assert_eq!(numbers(&of_csv, name), numbers(&of_parquet, name), "{name}");
    }
    predict("r4", "customers", &["--format", "csv"]);
    let written = fs::read_to_string(workshop.path("output/predictions/run_id=r4/part-00000.csv")).unwrap();
    assert!(
        written.starts_with("customer_id,prediction,prediction_low,prediction_high,model_version\n"),
        "{written:.99}"
    );
}

#[test]
fn without_the_flag_nothing_is_there_that_was_not() {
    let workshop = with_intervals();
    let result = workshop.predict().args(["--run-id", "r1"]).run().succeeded();
    assert!(result["expected_mae"].is_null());
    assert_eq!(read(&workshop, "r1").width(), 3);
    let manifest = workshop.json("output/runs/r1/manifest.json");
    assert!(manifest.get("expected_mae").is_none() && manifest["settings"].get("interval").is_none());
    // The scale model is not even read.
    fs::remove_file(workshop.path(&format!("{}/scale.ubj", workshop.model_folder()))).unwrap();
    workshop.predict().args(["--run-id", "r2"]).run().succeeded();
    workshop.predict().args(["--interval", "0.9"]).run().failed(6, &["scale.ubj", "missing"]);
}

#[test]
fn a_rejected_row_is_not_expected_to_err() {
    let workshop = with_intervals();
    let rows = without(&scored(), "score");
    let repeated = rows.vstack(&rows.head(Some(20))).unwrap();
    write_parquet(&repeated, &workshop.path("repeated/part.parquet"));
    let once = workshop.predict().args(["--interval", "0.5", "--run-id", "r1"]).run().succeeded();
    let call = workshop.predict_on("repeated").args(["--interval", "0.5", "--run-id", "r2"]);
    assert_eq!(call.run().succeeded()["expected_mae"], once["expected_mae"]);
}

#[test]
fn a_model_without_intervals_says_how_to_train_one() {
    let workshop = Workshop::with_model();
    workshop.predict().args(["--interval", "0.9"]).run().failed(6, &["--interval-folds 5", "INTERVAL"]);
    workshop.assert_no_predictions();
    let call = workshop.predict().arg("prepare").args(["--interval", "0.9", "--run-id", "r1"]);
    call.run().failed(6, &["--interval-folds 5"]);
    for wrong in ["90", "0.999", "0.4", "nine"] {
        workshop.predict().args(["--interval", wrong]).run().failed(2, &["--interval", "0.5 to 0.99"]);
    }
    let old = Workshop::new();
    let fixture = repository().join("predict/tests/fixtures/format_version_1");
    copy_folder(&fixture.join("models"), &old.path("models"));
    copy_folder(&fixture.join("parquet"), &old.path("customers"));
    old.predict().args(["--model-name", "parquet", "--interval", "0.9"]).run().failed(6, &["--interval-folds 5"]);
}

#[test]
fn folds_calibrate_a_model_of_given_rounds_and_change_nothing_else() {
    let workshop = Workshop::with_data();
    let folds =
        |count: &str| workshop.train().args(["--run-id", &format!("k{count}"), "--interval-folds", count]).run();
    folds("5").succeeded();
    let scale = workshop.path("models/engagement/v1/k5/scale.ubj");
    let (model, of_scale) = (workshop.path("models/engagement/v1/k5/model.ubj"), fs::read(&scale).unwrap());
    workshop.train().args(["--run-id", "plain"]).run().succeeded();
    let plain = workshop.path("models/engagement/v1/plain");
    assert!(fs::read(plain.join("model.ubj")).unwrap() == fs::read(&model).unwrap());
    assert!(!plain.join("scale.ubj").exists());
    let metadata = |run_id: &str| workshop.json(&format!("models/engagement/v1/{run_id}/metadata.json"));
    assert!(metadata("plain").get("intervals").is_none());
    let intervals = metadata("k5")["intervals"].clone();
    let rows = workshop.json("models/engagement/v1/k5/result.json")["rows_train"].clone();
    assert_eq!((&intervals["rows"], intervals["levels"].as_array().unwrap().len()), (&rows, 99));

    // The same bytes again, and other rows in other folds.
    fs::remove_dir_all(workshop.path("models/engagement/v1/k5")).unwrap();
    folds("5").succeeded();
    assert!(fs::read(&scale).unwrap() == of_scale && metadata("k5")["intervals"] == intervals);
    folds("3").succeeded();
    assert!(metadata("k3")["intervals"]["quantiles"] != intervals["quantiles"]);
    workshop.predict().args(["--model-version", "v1/k5", "--interval", "0.95"]).run().succeeded();

    let refused =
        |arguments: &[&str], code: i32, what: &[&str]| workshop.train().args(arguments).run().failed(code, what);
    refused(&["--interval-folds", "1"], 2, &["--interval-folds"]);
    workshop.train().env("ROUNDS", "").args(["--interval-folds", "5"]).run().failed(2, &["INTERVAL_FOLDS", "--rounds"]);
}

#[test]
fn too_few_rows_have_lower_levels_only() {
    let workshop = Workshop::new();
    write_parquet(&customers(90, 1, 7), &workshop.path("train/part.parquet"));
    write_parquet(&without(&customers(50, 1_000, 8), "score"), &workshop.path("customers/part.parquet"));
    workshop.train().args(["--interval-folds", "5", "--min-r2", "-10"]).run().succeeded();
    workshop.predict().args(["--interval", "0.99"]).run().failed(6, &["100", "0.98", "more rows"]);
    workshop.predict().args(["--interval", "0.9"]).run().succeeded();
}

#[test]
fn an_altered_scale_model_is_never_used() {
    let workshop = with_intervals();
    let file = workshop.path(&format!("{}/scale.ubj", workshop.model_folder()));
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    workshop.predict().args(["--interval", "0.9"]).run().failed(6, &["scale.ubj", "SHA-256"]);
    workshop.assert_no_predictions();
}

/// Half of the rows are as noisy as customers are, the others ten times as much, and a column tells which.
#[test]
fn intervals_are_wide_where_errors_are_large_and_weights_count() {
    let workshop = Workshop::new();
    let table = |rows: usize, first: i64, seed: u64| {
        let table = customers(rows, first, seed);
        let scores = numbers(&table, "score");
        let noise = numbers(&customers(rows, first, seed + 100), "score");
        let noisy: Vec<f64> = (0..rows).map(|row| if row % 2 == 0 { 1.0 } else { 0.0 }).collect();
        let score: Vec<f64> = (0..rows).map(|row| scores[row] + noisy[row] * (noise[row] - 50.0)).collect();
        let weight: Vec<f64> = noisy.iter().map(|noisy| 3.0 - 2.0 * noisy).collect();
        let table = tables::with(table, Series::new("score".into(), score).into_column());
        let table = tables::with(table, Series::new("noisy".into(), noisy).into_column());
        tables::with(table, Series::new("weight".into(), weight).into_column())
    };
    write_parquet(&table(4_000, 1, 7), &workshop.path("train/part.parquet"));
    write_parquet(&without(&table(3_000, 100_000, 9), "score"), &workshop.path("customers/part.parquet"));
    workshop.write("features.toml", "weight = \"weight\"\nclip = true\n\n[ranges]\nscore = { min = 0, max = 100 }\n");
    let train = |run_id: &str, more: &[&str]| {
        let call = workshop.train().args(["--interval-folds", "4", "--min-r2", "-10", "--run-id", run_id]);
        call.args(more).run().succeeded()
    };
    train("weighted", &["--features", "features.toml"]);
    workshop.predict().args(["--interval", "0.9", "--run-id", "r1", "--columns", "noisy,weight"]).run().succeeded();
    let (frame, actual) = (read(&workshop, "r1"), numbers(&table(3_000, 100_000, 9), "score"));
    let [low, high, noisy, weight] =
        ["prediction_low", "prediction_high", "noisy", "weight"].map(|name| numbers(&frame, name));
    let mean_width = |of: f64| {
        let widths: Vec<f64> =
            (0..noisy.len()).filter(|row| noisy[*row] == of).map(|row| high[row] - low[row]).collect();
        widths.iter().sum::<f64>() / widths.len() as f64
    };
    assert!(mean_width(1.0) > 2.0 * mean_width(0.0), "{} {}", mean_width(1.0), mean_width(0.0));
    assert!(low.iter().all(|low| *low >= 0.0) && high.iter().all(|high| *high <= 100.0), "an interval is clipped");
    let inside: f64 = (0..actual.len())
        .filter(|row| low[*row] <= actual[*row] && actual[*row] <= high[*row])
        .map(|row| weight[row])
        .sum();
    let coverage = inside / weight.iter().sum::<f64>();
    // Actual values beyond the range that was set, which only noisy rows have, lie in no interval.
    let beyond: f64 =
        (0..actual.len()).filter(|row| !(0.0..=100.0).contains(&actual[*row])).map(|row| weight[row]).sum();
    let beyond = beyond / weight.iter().sum::<f64>();
    assert!((0.86 - beyond..0.95).contains(&coverage), "{coverage}, {beyond} beyond the range");
}

#[test]
fn evaluate_tells_how_many_actual_values_lie_inside() {
    let workshop = with_intervals();
    workshop.predict().args(["--interval", "0.9", "--run-id", "r1", "--columns", "plan"]).run().succeeded();
    let frame = read(&workshop, "r1");
    write_parquet(&scored(), &workshop.path("actuals/part.parquet"));
    let call = super::programs().predict().folder(workshop.folder.path()).arg("evaluate");
    let call = call.env("MODELS", "models").env("OUTPUT", "output").env("ACTUALS", "actuals");
    let result = call.args(["--slice", "plan"]).run().succeeded();
    let [low, high] = ["prediction_low", "prediction_high"].map(|name| numbers(&frame, name));
    let actual = numbers(&scored(), "score");
    let plans = frame.column("plan").unwrap().str().unwrap().iter().map(|plan| plan.unwrap_or("(missing)").to_owned());
    let mut by_plan: HashMap<String, (u64, u64)> = HashMap::new();
    for (row, plan) in plans.enumerate() {
        let counts = by_plan.entry(plan).or_default();
        counts.0 += 1;
        counts.1 += u64::from(low[row] <= actual[row] && actual[row] <= high[row]);
    }
    let inside: u64 = by_plan.values().map(|counts| counts.1).sum();
    assert_eq!(number(&result["interval"]), 0.9);
    assert_eq!(number(&result["coverage"]), inside as f64 / actual.len() as f64);
    let found = workshop.json("output/runs/r1/actuals.json");
    assert_eq!(found["coverage"], result["coverage"]);
    let of_plans = found["slices"]["plan"].as_array().unwrap();
    assert_eq!(of_plans.len(), by_plan.len());
    for plan in of_plans {
        let (rows, inside) = by_plan[plan["value"].as_str().unwrap()];
        assert_eq!((number(&plan["coverage"]), plan["rows"].as_u64()), (inside as f64 / rows as f64, Some(rows)));
    }
    let tenths = found["tenths"].as_array().unwrap();
    let of_tenths: f64 = tenths.iter().map(|tenth| number(&tenth["coverage"]) * number(&tenth["rows"])).sum();
    assert!((of_tenths - inside as f64).abs() < 1e-6 && tenths.len() == 10, "{of_tenths} {inside}");
    assert!(tenths.iter().all(|tenth| number(&tenth["mean_width"]) > 0.0));
    let report = fs::read_to_string(workshop.path("output/runs/r1/report.html")).unwrap();
    assert!(report.contains("within intervals"), "the report tells the coverage");

    // The pages of all runs tell it too, in a column that is not there without intervals.
    let shown = format!("{:.1} %", 100.0 * number(&result["coverage"]));
    for folder in ["output", "models/engagement"] {
        let page = fs::read_to_string(workshop.path(&format!("{folder}/index.html"))).unwrap();
        let column = format!("data-label=\"within intervals\">{shown}<span class=\"band\">of 90.0 % intervals</span>");
        assert!(page.contains(&column), "{folder}: {column}\n{page}");
    }

    // Slices that nobody asked for are those of the model, as far as their columns are there.
    let again = || super::programs().predict().folder(workshop.folder.path()).arg("evaluate");
    let again = || again().env("MODELS", "models").env("OUTPUT", "output").env("ACTUALS", "actuals");
    again().run().succeeded();
    assert_eq!(workshop.json("output/runs/r1/actuals.json")["slices"], found["slices"]);
    write_parquet(&scored().select(["customer_id", "score"]).unwrap(), &workshop.path("actuals/part.parquet"));
    again().run().succeeded();
    assert_eq!(
        workshop.json("output/runs/r1/actuals.json")["slices"],
        found["slices"],
        "carried over to the predictions"
    );
    workshop.predict().args(["--run-id", "r2"]).run().succeeded();
    again().args(["--run-id", "r2"]).run().succeeded();
    assert_eq!(workshop.json("output/runs/r2/actuals.json")["slices"], serde_json::json!({}));
    let page = fs::read_to_string(workshop.path("output/index.html")).unwrap();
    assert_eq!(
        page.matches("data-label=\"within intervals\"").count(),
        2,
        "one column, empty for a run without intervals"
    );
}

#[test]
fn the_report_of_train_tells_coverage_and_width() {
    let workshop = with_intervals();
    let metrics = workshop.json(&format!("{}/metrics.json", workshop.model_folder()));
    let intervals = &metrics["intervals"];
    let levels: Vec<f64> = intervals["levels"].as_array().unwrap().iter().map(|of| number(&of["level"])).collect();
    assert_eq!(levels, [0.5, 0.8, 0.9, 0.95, 0.99]);
    for of in intervals["levels"].as_array().unwrap() {
        let (level, coverage) = (number(&of["level"]), number(&of["coverage"]));
        // Four standard errors of about 300 held-out rows.
        assert!((level - coverage).abs() < 4.0 * (level * (1.0 - level) / 300.0).sqrt() + 0.01, "{of}");
        assert_eq!(of["rows"], metrics["rows_test"]);
    }
    assert_eq!(intervals["tenths"].as_array().unwrap().len(), 10);
    let plans = intervals["slices"]["plan"].as_array().unwrap();
    let rows: u64 = plans.iter().map(|plan| plan["rows"].as_u64().unwrap()).sum();
    assert_eq!((Some(rows), number(&intervals["level"])), (metrics["rows_test"].as_u64(), 0.9));
    assert!((number(&intervals["expected_mae"]) / number(&metrics["mae"]) - 1.0).abs() < 0.3, "{intervals}");
    let report = fs::read_to_string(workshop.path(&format!("{}/report.html", workshop.model_folder()))).unwrap();
    for text in ["Intervals", "By tenths of the prediction, at 90.0 %", "By plan, at 90.0 %"] {
        assert!(report.contains(text), "{text}");
    }
}
