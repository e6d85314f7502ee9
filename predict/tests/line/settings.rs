//! Flags, variables, defaults; the result and the metrics as machines read them.

use std::fs;

use polars::prelude::{NamedFrom, Series};
use serde_json::{Value, json};
use testkit::program::Invocation;
use testkit::tables::{customers, with, without, write_parquet};

use super::{Workshop, programs, repository, text};

fn metadata(result: &Value) -> Value {
    let path = format!("{}/metadata.json", text(result, "model_location"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_flag_wins_over_its_variable_and_a_variable_over_the_default() {
    let workshop = Workshop::with_data();
    let call = || {
        let call = programs().train().folder(workshop.folder.path()).env("TRAIN_DATA", "train").env("MODELS", "models");
        let call = call.env("ID_COLUMN", "customer_id").env("TARGET_COLUMN", "score").env("ROUNDS", "25");
        call.env("MODEL_VERSION", "v1").env("THREADS", "1").env("SEED", "").env("TUNE", "").env("TEST_DATA", "")
    };
    let by_variables = call().run().succeeded();
    assert_eq!((&by_variables["rounds"], &by_variables["model_name"]), (&json!(25), &json!("engagement")));
    assert_eq!(metadata(&by_variables)["seed"], 42, "an empty variable counts as unset");
    let named = call().env("MODEL_NAME", "other").env("SEED", "7").args(["--rounds", "28"]).run().succeeded();
    assert_eq!((&named["rounds"], &named["model_name"]), (&json!(28), &json!("other")));
    assert_eq!(metadata(&named)["seed"], 7);
    call().env("ROUNDS", "many").run().failed(2, &["--rounds"]);
    let flag_wins = call().env("ROUNDS", "many").args(["--rounds", "25", "--run-id", "r7"]).run();
    assert_eq!(flag_wins.succeeded()["rounds"], 25, "a variable that a flag replaces is not even read");
    let predict = programs().predict().folder(workshop.folder.path()).env("INPUT_DATA", "customers");
    let predict = predict.env("MODELS", "models").env("OUTPUT", "output").env("COLUMNS", "plan,visits");
    let result = predict.env("MODEL_VERSION", "v1/r7").env("RUN_ID", "p7").env("MAX_DRIFT", "").run().succeeded();
    assert_eq!((text(&result, "run_id"), text(&result, "model_run_id")), ("p7", "r7"));
}

/// Shells export the width of the terminal under the name of a setting.
#[test]
fn the_width_of_a_terminal_is_no_column() {
    let workshop = Workshop::with_model();
    let header = |run: &str| {
        let file = workshop.path(&format!("output/predictions/run_id={run}/part-00000.csv"));
        fs::read_to_string(file).unwrap().lines().next().unwrap().to_owned()
    };
    let call = |run: &str| workshop.predict().args(["--format", "csv", "--run-id", run]);
    let ended = call("r1").env("COLUMNS", "80").run();
    ended.succeeded();
    assert!(ended.stderr.contains("COLUMNS=80") && ended.stderr.contains("--columns"), "{}", ended.stderr);
    assert_eq!(header("r1"), "customer_id,prediction,model_version");
    // In a wider terminal it is still the same run.
    call("r1").env("COLUMNS", "132").run().succeeded();
    let prepare = programs().predict().arg("prepare").folder(workshop.folder.path()).env("INPUT_DATA", "customers");
    let prepare = prepare.env("MODELS", "models").env("OUTPUT", "output").env("COLUMNS", "80");
    prepare.run().succeeded();
    // What is asked for by name is never left out.
    call("r2").args(["--columns", "80"]).run().failed(4, &["\"80\""]);
    call("r3").env("COLUMNS", "80,plan").run().failed(4, &["\"80\""]);
    call("r4").env("COLUMNS", "no_such_column").run().failed(4, &["no_such_column"]);
    let table = without(&customers(400, 100_000, 8), "score");
    let eighty = Series::new("80".into(), vec![7_i64; 400]);
    write_parquet(&with(table, eighty), &workshop.path("numbered/part.parquet"));
    let call = workshop.predict_on("numbered").args(["--format", "csv", "--run-id", "r5"]);
    call.env("COLUMNS", "80").run().succeeded();
    assert_eq!(header("r5"), "customer_id,prediction,model_version,80");
}

#[test]
fn parameters_come_from_the_spec_the_variable_or_the_flag() {
    let workshop = Workshop::with_data();
    workshop.write("features.toml", "[model]\nmax_depth = 3\nsubsample = 0.9\n");
    let call = || workshop.train().args(["--features", "features.toml", "--min-r2", "0"]);
    let params = |result: &Value, name: &str| metadata(result)["params"][name].as_str().map(str::to_owned);
    let from_spec = call().run().succeeded();
    assert_eq!(params(&from_spec, "max_depth").as_deref(), Some("3"));
    assert_eq!(params(&from_spec, "subsample").as_deref(), Some("0.9"));
    let by_variable = call().env("XGB_PARAMS", "max_depth=4; eta = 0.2;lambda=2;").run().succeeded();
    for (name, value) in [("max_depth", "4"), ("eta", "0.2"), ("lambda", "2"), ("subsample", "0.9")] {
        assert_eq!(params(&by_variable, name).as_deref(), Some(value), "{name}");
    }
    let by_flag = call().env("XGB_PARAMS", "max_depth=4").args(["--param", "max_depth=5", "--param", "eta=0.3"]);
    let by_flag = by_flag.run().succeeded();
    assert_eq!(params(&by_flag, "max_depth").as_deref(), Some("5"));
    assert_eq!(params(&by_flag, "eta").as_deref(), Some("0.3"));
    call().env("XGB_PARAMS", "max_dept=4").run().failed(2, &["max_dept"]);
}

#[test]
fn on_off_settings_can_be_variables() {
    let workshop = Workshop::with_data();
    for on in ["true", "1", "yes", "ON"] {
        assert_eq!(workshop.train().env("CHECK", on).run().succeeded()["check"], true, "{on}");
    }
    workshop.train().env("CHECK", "perhaps").run().failed(2, &["--check"]);
    assert!(workshop.files("models").is_empty());
    assert!(workshop.train().env("CHECK", "false").run().succeeded()["check"].is_null());
    assert!(workshop.train().env("CHECK", "").run().succeeded()["check"].is_null());
    assert!(workshop.train().env("CHECK", "1").arg("--check=false").run().succeeded()["check"].is_null());
}

/// A variable of `env.rs`, and which program reads it (none: both).
fn variables() -> Vec<(String, Option<&'static str>)> {
    let source = fs::read_to_string(repository().join("common/machine/src/env.rs")).unwrap();
    let lines: Vec<&str> = source.lines().collect();
    let variable = |pair: &[&str]| {
        let name = pair[1].strip_prefix("pub const ")?.split(": &str = \"").nth(1)?.trim_end_matches("\";");
        // `predict evaluate` is one of predict's commands.
        let is_of =
            |program: &&str| ["`)", " evaluate`)"].iter().any(|end| pair[0].contains(&format!("(`{program}{end}")));
        let program = ["train", "predict"].into_iter().find(is_of);
        Some((name.to_owned(), program))
    };
    lines.windows(2).filter_map(variable).collect()
}

#[test]
fn every_variable_is_in_the_help() {
    let help = |program: Invocation| {
        let ended = program.arg("--help").run();
        assert_eq!(ended.status.code(), Some(0));
        assert!(!ended.stdout.contains('\u{1b}'), "no colours in a pipe");
        ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (train, predict) = (help(programs().train()), help(programs().predict()));
    let predict = predict + &help(programs().predict().arg("evaluate"));
    let variables = variables();
    assert_eq!(variables.len(), machine::env::ALL.len());
    for (name, program) in variables {
        // Set by ECS, not by people.
        if name.starts_with("ECS_") {
            continue;
        }
        let said = |help: &str| help.contains(&format!("[env: {name}]")) || help.contains(&format!(" {name} "));
        assert!(program == Some("predict") || said(&train), "train --help lacks {name}");
        assert!(program == Some("train") || said(&predict), "predict --help lacks {name}");
    }
    assert!(train.starts_with("Fits a gated regression model") && predict.starts_with("Scores every row"));
    for program in [programs().train(), programs().predict()] {
        let ended = program.arg("--version").run();
        assert_eq!((ended.status.code(), ended.stdout.lines().count()), (Some(0), 1));
    }
}

#[test]
fn results_have_the_fields_of_the_contract() {
    let workshop = Workshop::with_data();
    let trained = workshop.train().run().succeeded();
    let fields = "run_id model_name model_version model_location r2 rmse mae rows_train rows_test rounds gate \
                  training_seconds data_quality_score";
    for field in fields.split_whitespace() {
        assert!(!trained[field].is_null(), "{field}: {trained}");
    }
    let predicted = workshop.predict().run().succeeded();
    let fields = "run_id model_version model_run_id output_location rows_read rows_predicted rows_rejected parts seconds \
                  data_quality_score max_drift";
    for field in fields.split_whitespace() {
        assert!(!predicted[field].is_null(), "{field}: {predicted}");
    }
}

#[test]
fn metrics_are_in_cloudwatchs_format() {
    let workshop = Workshop::with_data();
    let trained = workshop.train().args(["--environment", "prod"]).run();
    let result = trained.succeeded();
    let names = ["ModelTrainingTime", "ModelAccuracy", "RecordsProcessed", "DataQualityScore", "PeakMemory"];
    let line = only_metrics(&trained.metrics(), "train", "prod", &names);
    assert_eq!((&line["ModelAccuracy"], &line["RecordsProcessed"]), (&result["r2"], &json!(super::ROWS)));
    let predicted = workshop.predict().run();
    let result = predicted.succeeded();
    let names = ["PredictionCount", "RecordsProcessed", "DataQualityScore", "PeakMemory", "MaxDrift"];
    let line = only_metrics(&predicted.metrics(), "predict", "dev", &names);
    assert_eq!(line["PredictionCount"], result["rows_predicted"]);
    for (log, result) in [(&trained.stderr, trained.last()), (&predicted.stderr, predicted.last())] {
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(line["run_id"], result["run_id"]);
        }
    }
}

fn only_metrics(lines: &[Value], program: &str, environment: &str, names: &[&str]) -> Value {
    let [line] = lines else { panic!("one line of metrics: {lines:?}") };
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Namespace"], "EngagementML");
    assert_eq!(directive["Dimensions"], json!([["Environment", "ModelName", "Program"]]));
    assert!(line["_aws"]["Timestamp"].as_i64().is_some_and(|time| time > 1_700_000_000_000));
    assert_eq!((&line["Environment"], &line["Program"]), (&json!(environment), &json!(program)));
    assert_eq!(line["ModelName"], "engagement");
    let named: Vec<&str> = directive["Metrics"].as_array().unwrap().iter().map(|metric| text(metric, "Name")).collect();
    for name in names {
        assert!(named.contains(name) && line[*name].is_number(), "{name}: {line}");
    }
    line.clone()
}
