//! Why rows were predicted what they were: `--reasons` and `--reasons-where`.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use polars::prelude::{DataFrame, ParquetReader, SerReader};
use testkit::tables::{customers, without, write_parquet};

use super::{Workshop, repository, sample};

/// XGBoost's own contributions, computed in Python from the model's folder, say the same.
#[track_caller]
fn python_agrees(workshop: &Workshop, input: &str, run_id: &str, rows: usize) {
    let mut call = Command::new(repository().join("scripts/check-model-in-python"));
    call.arg(workshop.path(&workshop.model_folder())).arg(input);
    call.arg(workshop.path(&format!("output/predictions/run_id={run_id}")));
    let output = call.output().unwrap();
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{log}");
    assert!(said.contains(&format!("the reasons of {rows} rows are XGBoost's")), "{said}");
}

fn read(workshop: &Workshop, run_id: &str) -> DataFrame {
    let part = workshop.path(&format!("output/predictions/run_id={run_id}/part-00000.parquet"));
    ParquetReader::new(fs::File::open(part).unwrap()).finish().unwrap()
}

#[test]
fn reasons_of_the_sample_are_those_of_xgboost() {
    // Fewer rows than there are: XGBoost takes a minute for all of them.
    const ROWS: usize = 2_000;
    // A place of its own: other tests look at all that lies beside the sample's predictions.
    let workshop = &Workshop::new();
    symlink(super::sample::line().workshop.path("models"), workshop.path("models")).unwrap();
    let part = fs::read_dir(sample("customers")).unwrap().next().unwrap().unwrap().path();
    let customers = ParquetReader::new(fs::File::open(part).unwrap()).finish().unwrap().head(Some(ROWS));
    write_parquet(&customers, &workshop.path("some/part.parquet"));
    // More than there are sources, so that all of them must add up.
    workshop.predict_on("some").args(["--reasons", "30", "--run-id", "reasons"]).run().succeeded();
    python_agrees(workshop, &workshop.text("some"), "reasons", ROWS);
    let frame = read(workshop, "reasons");
    let names: Vec<&str> = frame.get_column_names().iter().map(|name| name.as_str()).collect();
    assert_eq!(names[1..4], ["prediction", "reason_1", "reason_1_contribution"]);
    assert_eq!(names.last(), Some(&"model_version"));
}

#[test]
fn every_way_of_computing_gives_the_same_bytes() {
    let workshop = Workshop::with_model();
    let part = |run_id: &str| workshop.path(&format!("output/predictions/run_id={run_id}/part-00000.parquet"));
    let predict = |run_id: &str, more: &[&str]| {
        workshop
            .predict()
            .args(["--reasons", "2", "--columns", "plan", "--run-id", run_id])
            .args(more)
            .run()
            .succeeded();
        fs::read(part(run_id)).unwrap()
    };
    let expected = predict("r1", &[]);
    assert!(predict("r2", &["--instructions", "portable", "--batch-rows", "37", "--threads", "2"]) == expected);
    let result = workshop.json("output/runs/r2/result.json");
    assert_eq!((&result["explained_by"], &result["rows_explained"]), (&"portable".into(), &400.into()));
    // As after a kill between the parts and the manifest.
    for file in ["manifest.json", "result.json"] {
        fs::remove_file(workshop.path(&format!("output/runs/r1/{file}"))).unwrap();
    }
    fs::remove_file(part("r1")).unwrap();
    assert!(predict("r1", &[]) == expected);
    workshop
        .predict()
        .args(["--reasons", "3", "--columns", "plan", "--run-id", "r1"])
        .run()
        .failed(2, &["--run-id", "r1"]);
    python_agrees(&workshop, &workshop.text("customers"), "r1", 400);
}

#[test]
fn reasons_only_where_a_condition_holds() {
    let workshop = Workshop::with_model();
    let predict =
        |run_id: &str, more: &[&str]| workshop.predict().args(["--reasons", "2", "--run-id", run_id]).args(more).run();
    predict("all", &[]).succeeded();
    predict("some", &["--reasons-where", "prediction > 60 AND spend IS NOT NULL"]).succeeded();
    let (all, some) = (read(&workshop, "all"), read(&workshop, "some"));
    let mut given = 0;
    for row in 0..all.height() {
        let cell = |frame: &DataFrame, name: &str| frame.column(name).unwrap().get(row).unwrap().to_string();
        let holds = cell(&all, "prediction").parse::<f64>().unwrap() > 60.0;
        for name in ["reason_1", "reason_1_contribution", "reason_2", "reason_2_contribution"] {
            let is_null = some.column(name).unwrap().get(row).unwrap().is_null();
            assert!(if is_null {
                !holds || is_missing(&workshop, row)
            } else {
                cell(&some, name) == cell(&all, name) && holds
            });
            given += usize::from(!is_null);
        }
    }
    assert!(given > 0 && given < 4 * all.height(), "{given}");
    predict("none", &["--reasons-where", "prediction < 0 AND prediction > 0"]).succeeded();
    assert_eq!(read(&workshop, "none").column("reason_1").unwrap().null_count(), all.height());

    let refused = |arguments: &[&str], what: &str| {
        workshop.predict().args(arguments).run().failed(2, &["REASONS_WHERE", what]);
    };
    refused(&["--reasons-where", "prediction > 1"], "how many");
    refused(&["--reasons", "1", "--reasons-where", "prediction >"], "SQL");
    refused(&["--reasons", "1", "--reasons-where", "prediction + 1"], "true or false");
    refused(&["--reasons", "1", "--reasons-where", "nobody = 1"], "nobody");
    workshop.predict().args(["--reasons", "1001"]).run().failed(2, &["--reasons"]);
    let prepare = workshop.predict().arg("prepare");
    prepare.args(["--reasons", "1", "--reasons-where", "nobody = 1"]).run().failed(2, &["nobody"]);
    workshop.predict().arg("prepare").args(["--reasons", "5"]).run().succeeded();
}

/// Whether what the row has spent is missing.
fn is_missing(workshop: &Workshop, row: usize) -> bool {
    let file = fs::File::open(workshop.path("customers/part.parquet")).unwrap();
    let frame = ParquetReader::new(file).finish().unwrap();
    frame.column("spend").unwrap().get(row).unwrap().is_null()
}

#[test]
fn csv_has_the_same_reasons() {
    let workshop = Workshop::with_model();
    let predict = |run_id: &str, more: &[&str]| {
        workshop.predict().args(["--reasons", "2", "--run-id", run_id]).args(more).run().succeeded();
    };
    predict("parquet", &[]);
    predict("csv", &["--format", "csv"]);
    let text = fs::read_to_string(workshop.path("output/predictions/run_id=csv/part-00000.csv")).unwrap();
    let header = text.lines().next().unwrap();
    assert!(
        header.contains("prediction,reason_1,reason_1_contribution,reason_2,reason_2_contribution,model_version"),
        "{header}"
    );
    let frame = read(&workshop, "parquet");
    for (row, line) in text.lines().skip(1).enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        let reason = frame.column("reason_1").unwrap().str().unwrap().get(row).unwrap().to_owned();
        let contribution = frame.column("reason_1_contribution").unwrap().f64().unwrap().get(row).unwrap();
        assert_eq!((cells[2], cells[3].parse::<f64>().unwrap()), (reason.as_str(), contribution));
    }
}

/// Trees of thousands of leaves are scored, and so explained, by XGBoost itself.
#[test]
fn a_model_that_is_not_compiled_is_explained_by_xgboost() {
    let workshop = Workshop::new();
    write_parquet(&customers(12_000, 1, 7), &workshop.path("train/part.parquet"));
    write_parquet(&without(&customers(50, 100_000, 8), "score"), &workshop.path("customers/part.parquet"));
    let leaves = "grow_policy=lossguide;max_depth=0;max_leaves=6000;min_child_weight=0;lambda=0;max_bin=4096";
    workshop.train().env("XGB_PARAMS", leaves).env("ROUNDS", "1").args(["--min-r2", "-100"]).run().succeeded();
    let ended = workshop.predict().args(["--reasons", "3", "--run-id", "r1"]).run();
    assert!(ended.stderr.contains("reasons come from XGBoost"), "{}", ended.stderr);
    let result = ended.succeeded();
    assert_eq!((&result["explained_by"], &result["rows_explained"]), (&"xgboost".into(), &50.into()));
    python_agrees(&workshop, &workshop.text("customers"), "r1", 50);
    let some = ["--reasons", "3", "--reasons-where", "spend > 50", "--run-id", "r2"];
    workshop.predict().args(some).run().succeeded();
    let (all, some) = (read(&workshop, "r1"), read(&workshop, "r2"));
    let [all, some] = [all, some].map(|frame| frame.column("reason_2_contribution").unwrap().f64().unwrap().clone());
    let given: Vec<usize> = (0..50).filter(|row| some.get(*row).is_some()).collect();
    assert!((1..50).contains(&given.len()) && given.into_iter().all(|row| some.get(row) == all.get(row)));
}

#[test]
fn what_cannot_be_explained_is_exit_6() {
    let workshop = Workshop::with_data();
    let train = workshop.train().env("XGB_PARAMS", "booster=dart;rate_drop=0.5").args(["--min-r2", "0"]);
    train.run().succeeded();
    workshop.predict().run().succeeded();
    let refused = workshop.predict().args(["--reasons", "1", "--run-id", "r1"]).run();
    refused.failed(6, &["cannot be explained", "dart", "--reasons"]);
}

#[test]
fn memory_for_reasons_is_planned() {
    let workshop = Workshop::with_model();
    workshop.predict().args(["--reasons", "1", "--memory", "1m"]).run().failed(8, &["MiB"]);
    let planned = |run_id: &str, reasons: &str| {
        let prepare = workshop.predict().arg("prepare").args(["--run-id", run_id, "--reasons", reasons]);
        prepare.run().succeeded();
        workshop.json(&format!("output/runs/{run_id}/prepare.json"))["memory"]["base_bytes"].as_u64().unwrap()
    };
    assert!(planned("p2", "3") > planned("p1", "0"));
}

/// What the plan says is enough is enough: their names are no texts that it does not know of.
#[test]
fn the_least_memory_that_is_asked_for_suffices() {
    let workshop = Workshop::with_model();
    write_parquet(&without(&customers(150_000, 1, 8), "score"), &workshop.path("many/part.parquet"));
    let mut mib = 64;
    for attempt in 0..4 {
        let memory = format!("{mib}m");
        let call = workshop.predict_on("many").args(["--reasons", "4", "--columns", "plan", "--memory", &memory]);
        let ended = call.args(["--run-id", &format!("r{attempt}")]).run();
        if ended.status.success() {
            assert!(attempt > 0, "{memory} are enough, so nothing was asked for");
            return;
        }
        let failed = ended.failed(8, &["give the task at least "]);
        let (said, asked) = super::text(&failed, "error_message").split_once("give the task at least ").unwrap();
        assert!(!said.starts_with("the texts"), "the plan was wrong: {said}");
        mib = asked.split_once(" MiB").unwrap().0.parse().unwrap();
    }
    panic!("more is asked for again and again, {mib} MiB at last");
}

/// Their trees have covers as well.
#[test]
fn models_of_format_version_1_are_explained_too() {
    let fixture = repository().join("predict/tests/fixtures/format_version_1");
    let workshop = Workshop::new();
    super::copy_folder(&fixture.join("models"), &workshop.path("models"));
    super::copy_folder(&fixture.join("parquet"), &workshop.path("customers"));
    workshop.predict().args(["--model-name", "parquet", "--reasons", "2", "--run-id", "r1"]).run().succeeded();
    assert_eq!(read(&workshop, "r1").column("reason_2_contribution").unwrap().null_count(), 0);
}
