//! Data that cannot be used ends both programs with one line, the contract's exit code and nothing published.

use std::fs;

use polars::prelude::{DataType, IntoColumn, NamedFrom, Series};
use serde_json::json;
use testkit::program::Invocation;
use testkit::tables::{self, csv, customers, parquet_bytes, with, without, write_parquet};

use super::{ROWS, Workshop, programs, text};
use testkit::tables::read_parquet;

/// Runs `train` and `predict` on the folder `bad`; both end with `exit_code` and say `parts`.
#[track_caller]
fn both_fail(workshop: &Workshop, exit_code: i32, parts: &[&str]) {
    train_fails(workshop, exit_code, parts);
    predict_fails(workshop, exit_code, parts);
}

#[track_caller]
fn train_fails(workshop: &Workshop, exit_code: i32, parts: &[&str]) {
    let before = workshop.files_of_runs("models");
    let ended = workshop.train_on("bad").args(["--run-id", "bad-run"]).run();
    let failure = ended.failed(exit_code, parts);
    let mut after = workshop.files_of_runs("models");
    after.retain(|file| !before.contains(file));
    assert_eq!(after, ["engagement/v1/bad-run/result.json"], "a state machine reads why");
    assert_eq!(workshop.json("models/engagement/v1/bad-run/result.json"), failure);
}

#[track_caller]
fn predict_fails(workshop: &Workshop, exit_code: i32, parts: &[&str]) {
    let ended = workshop.predict_on("bad").args(["--run-id", "bad-run"]).run();
    let failure = ended.failed(exit_code, parts);
    assert_eq!(workshop.json("output/runs/bad-run/result.json"), failure, "a state machine reads why");
    workshop.assert_no_predictions();
}

#[test]
fn a_file_that_is_not_parquet_is_named() {
    let whole = parquet_bytes(&customers(ROWS, 1, 7));
    let garbage: Vec<u8> = (0..5_000_u32).map(|index| (index * 37 % 251) as u8).collect();
    let mut broken_page = whole.clone();
    broken_page[whole.len() / 3..whole.len() / 2].fill(0xff);
    let mut broken_footer = whole.clone();
    let footer = whole.len() - 400;
    broken_footer[footer..footer + 200].fill(0xff);
    let contents = [
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("cut by a byte", whole[..whole.len() - 1].to_vec()),
        ("garbage", garbage),
        ("empty", Vec::new()),
        ("four bytes", b"PAR1".to_vec()),
        ("damaged page", broken_page),
        ("damaged footer", broken_footer),
    ];
    let workshop = Workshop::with_model();
    for (name, content) in contents {
        println!("{name}");
        workshop.write("bad/part-7.parquet", content);
        both_fail(&workshop, 4, &["part-7.parquet"]);
        fs::remove_dir_all(workshop.path("models/engagement/v1/bad-run")).unwrap();
        fs::remove_dir_all(workshop.path("output")).unwrap();
    }
}

#[test]
fn a_place_without_data_is_named() {
    let workshop = Workshop::with_model();
    fs::create_dir(workshop.path("bad")).unwrap();
    both_fail(&workshop, 4, &["bad"]);
    workshop.write("bad/_SUCCESS", "");
    workshop.write("bad/.hidden/part.parquet", "x");
    predict_fails(&workshop, 4, &["bad"]);
}

#[test]
fn a_path_that_does_not_exist_is_a_wrong_setting() {
    both_fail(&Workshop::with_model(), 2, &["/bad"]);
}

#[test]
fn a_table_without_rows_is_nothing_to_work_on() {
    let workshop = Workshop::with_model();
    let nobody = customers(0, 1, 7);
    write_parquet(&nobody, &workshop.path("bad/part.parquet"));
    both_fail(&workshop, 4, &["no rows"]);
    fs::remove_file(workshop.path("bad/part.parquet")).unwrap();
    workshop.write("bad/part.csv", csv(&nobody));
    predict_fails(&workshop, 4, &["no rows"]);
    workshop.write("bad/part.csv", "\n");
    predict_fails(&workshop, 4, &["part.csv"]);
}

#[test]
fn a_column_that_is_missing_is_named() {
    let workshop = Workshop::with_model();
    let table = customers(100, 1, 7);
    let path = workshop.path("bad/part.parquet");
    for column in ["customer_id", "visits"] {
        write_parquet(&without(&table, column), &path);
        predict_fails(&workshop, 4, &["bad", &format!("\"{column}\"")]);
        fs::remove_dir_all(workshop.path("output")).unwrap();
    }
    write_parquet(&without(&table, "score"), &path);
    train_fails(&workshop, 4, &["bad", "\"score\""]);
}

#[test]
fn text_where_the_model_has_numbers_is_named() {
    let workshop = Workshop::with_model();
    let texts = vec!["many"; 100];
    let table = with(customers(100, 1, 7), Series::new("visits".into(), texts));
    write_parquet(&table, &workshop.path("bad/part.parquet"));
    predict_fails(&workshop, 4, &["bad", "\"visits\"", "text"]);
    // Cell by cell in CSV: every row is rejected, and too many of them end the run.
    fs::remove_dir_all(workshop.path("bad")).unwrap();
    fs::remove_dir_all(workshop.path("output")).unwrap();
    workshop.write("bad/part.csv", csv(&table));
    predict_fails(&workshop, 4, &["100 of 100", "--max-reject-fraction"]);
}

#[test]
fn files_of_one_location_have_the_same_columns() {
    let table = customers(100, 1, 7);
    let other_type = with(table.clone(), Series::new("visits".into(), vec!["few"; 100]));
    let workshop = Workshop::with_model();
    write_parquet(&table, &workshop.path("bad/a.parquet"));
    for (other, named) in [(without(&table, "plan"), "plan"), (other_type, "visits")] {
        write_parquet(&other, &workshop.path("bad/b.parquet"));
        both_fail(&workshop, 4, &["a.parquet", "b.parquet", named]);
        fs::remove_dir_all(workshop.path("models/engagement/v1/bad-run")).unwrap();
        fs::remove_dir_all(workshop.path("output")).unwrap();
    }
    // In any order, though.
    let mut names: Vec<&str> = table.get_column_names().into_iter().map(polars::prelude::PlSmallStr::as_str).collect();
    names.reverse();
    let reversed =
        with(table.select(names).unwrap(), Series::new("customer_id".into(), (900..1_000).collect::<Vec<i64>>()));
    write_parquet(&reversed, &workshop.path("bad/b.parquet"));
    assert_eq!(workshop.predict_on("bad").run().succeeded()["rows_predicted"], 200);
}

#[test]
fn targets_that_cannot_be_learnt_are_refused() {
    let table = customers(200, 1, 7);
    let target = |values: Series| with(table.clone(), values.with_name("score".into()));
    let name = || "score".into();
    let missing = "have no target \"score\", or one that is not finite";
    let cases = [
        ("text", target(Series::new(name(), vec!["high"; 200])), "text"),
        ("null", target(Series::full_null(name(), 200, &DataType::Float64)), missing),
        ("null without a type", target(Series::full_null(name(), 200, &DataType::Null)), missing),
        ("infinite", target(Series::new(name(), vec![f64::INFINITY; 200])), missing),
        (
            "beyond f32",
            target(Series::new(name(), vec![1e300; 200])),
            "200 have a target \"score\" beyond 32-bit floats",
        ),
        ("constant", target(Series::new(name(), vec![3.5; 200])), "no R²"),
    ];
    for (case, table, said) in cases {
        println!("{case}");
        let workshop = Workshop::new();
        write_parquet(&table, &workshop.path("bad/part.parquet"));
        train_fails(&workshop, 4, &["\"score\"", said]);
    }
}

#[test]
fn one_row_is_too_few() {
    let workshop = Workshop::new();
    write_parquet(&customers(1, 1, 7), &workshop.path("bad/part.parquet"));
    train_fails(&workshop, 4, &[]);
}

#[test]
fn training_drops_and_counts_rows_that_it_cannot_use() {
    let table = customers(ROWS, 1, 7);
    let ids = (0..ROWS as i64).map(|row| match row {
        0 => None,
        1..=5 => Some(900),
        _ => Some(row),
    });
    let score = table.column("score").unwrap().f64().unwrap();
    let target = score.iter().enumerate().map(|(row, score)| match row {
        10 => None,
        11 => Some(f64::NAN),
        12 => Some(f64::INFINITY),
        _ => score,
    });
    let ids = Series::new("customer_id".into(), ids.collect::<Vec<_>>());
    let target = Series::new("score".into(), target.collect::<Vec<_>>());
    let workshop = Workshop::new();
    write_parquet(&with(with(table, ids), target), &workshop.path("train/part.parquet"));
    let ended = workshop.train().run();
    let result = ended.succeeded();
    // 900 comes five times early on and once in its place.
    assert_eq!(result["rows_dropped"], json!({"bad_target": 3, "null_id": 1, "duplicate_id": 5, "bad_weight": 0}));
    let used = result["rows_train"].as_u64().unwrap() + result["rows_test"].as_u64().unwrap();
    assert_eq!(used, ROWS as u64 - 9);
    assert!(ended.stderr.contains("9 of 1500 rows are left out"), "{}", ended.stderr);
}

/// 400 customers, of whom one has no id and three repeat the first one's.
fn with_bad_ids() -> Workshop {
    let workshop = Workshop::with_model();
    let ids = (0..400_i64).map(|row| match row {
        7 => None,
        8..=10 => Some(100),
        _ => Some(100 + row),
    });
    let table = without(&customers(400, 1, 8), "score");
    let table = with(table, Series::new("customer_id".into(), ids.collect::<Vec<_>>()).into_column());
    write_parquet(&table, &workshop.path("bad/part.parquet"));
    workshop
}

fn predict(workshop: &Workshop) -> Invocation {
    workshop.predict_on("bad").args(["--run-id", "r1"])
}

#[test]
fn rows_without_an_id_of_their_own_are_rejected_with_reasons() {
    let workshop = with_bad_ids();
    let result = predict(&workshop).run().succeeded();
    assert_eq!((&result["rows_read"], &result["rows_predicted"]), (&json!(400), &json!(396)));
    assert_eq!(result["rows_rejected"], 4);
    let rejected = read_parquet(&fs::read(workshop.path("output/rejected/run_id=r1/part-00000.parquet")).unwrap());
    let cells = csv(&rejected);
    let expected = "id,reason,source,row\n,null_id,part.parquet,7\n100,duplicate_id,part.parquet,8\n\
                    100,duplicate_id,part.parquet,9\n100,duplicate_id,part.parquet,10\n";
    assert_eq!(cells, expected);
    assert_eq!(rejected.column("id").unwrap().dtype(), &DataType::String);
    let manifest = workshop.json("output/runs/r1/manifest.json");
    assert_eq!(manifest["rejected_by_reason"], json!({"null_id": 1, "duplicate_id": 3, "bad_value": 0}));
    let part = &manifest["rejected_parts"][0];
    assert_eq!((text(part, "path"), &part["rows"]), ("rejected/run_id=r1/part-00000.parquet", &json!(4)));
}

#[test]
fn repeated_ids_can_be_allowed() {
    let workshop = with_bad_ids();
    let result = predict(&workshop).args(["--duplicates", "allow"]).run().succeeded();
    assert_eq!((&result["rows_predicted"], &result["rows_rejected"]), (&json!(399), &json!(1)));
}

#[test]
fn more_rejected_rows_than_allowed_end_the_run() {
    let workshop = with_bad_ids();
    let failure = predict(&workshop).args(["--max-reject-fraction", "0.009"]).run();
    let failure = failure.failed(4, &["4 of 400", "--max-reject-fraction", "0.009", "rejected/run_id=r1"]);
    assert_eq!((&failure["rows_read"], &failure["rows_rejected"]), (&json!(400), &json!(4)));
    workshop.assert_no_predictions();
    assert_eq!(workshop.json("output/runs/r1/result.json"), failure);
    // The bound itself is allowed.
    let bound = workshop.predict_on("bad").args(["--max-reject-fraction", "0.01"]).run();
    assert_eq!(bound.succeeded()["rows_rejected"], 4);
}

#[test]
fn values_never_seen_are_scored_as_missing() {
    let workshop = Workshop::with_model();
    let table = without(&customers(3, 1, 8), "score");
    let spend = Series::new("spend".into(), [Some(f64::INFINITY), Some(f64::NAN), None]);
    let plan = Series::new("plan".into(), [Some("unheard of"), None, Some("")]);
    let same = |name: &str, value: i32| Series::new(name.into(), [value; 3]);
    let since = same("since", 16_000).cast(&DataType::Date).unwrap();
    let table = with(with(with(with(table, spend), plan), same("visits", 3)), since);
    let table = with(table, Series::new("member".into(), [true; 3]));
    write_parquet(&table, &workshop.path("odd/part.parquet"));
    let result = workshop.predict_on("odd").args(["--run-id", "r1"]).run().succeeded();
    assert_eq!(result["rows_predicted"], 3);
    let parts = read_parquet(&fs::read(workshop.path("output/predictions/run_id=r1/part-00000.parquet")).unwrap());
    let predictions: Vec<f64> = parts.column("prediction").unwrap().f64().unwrap().iter().flatten().collect();
    assert!(predictions.iter().all(|value| value.is_finite() && *value == predictions[0]), "{predictions:?}");
    assert_eq!(predictions.len(), 3);
}

#[test]
fn columns_that_can_be_no_feature_say_what_to_do() {
    let workshop = Workshop::new();
    let lists = Series::new("history".into(), vec![Series::new("x".into(), [1.0, 2.0]); 100]);
    write_parquet(&with(customers(100, 1, 7), lists), &workshop.path("bad/part.parquet"));
    train_fails(&workshop, 4, &["\"history\"", "exclude"]);
}

#[test]
fn held_out_rows_of_other_columns_are_refused() {
    let workshop = Workshop::with_data();
    let test = tables::customers(200, 50_000, 9);
    write_parquet(&without(&test, "plan"), &workshop.path("test/part.parquet"));
    workshop.train().args(["--test-data", "test"]).run().failed(4, &["test", "\"plan\""]);
    let texts = Series::new("visits".into(), vec!["many"; 200]);
    write_parquet(&with(test, texts), &workshop.path("test/part.parquet"));
    workshop.train().args(["--test-data", "test"]).run().failed(4, &["test", "\"visits\""]);
    workshop.assert_nothing_published();
}

#[test]
fn a_format_that_one_location_mixes_is_refused() {
    let workshop = Workshop::with_model();
    let table = customers(50, 1, 7);
    write_parquet(&table, &workshop.path("bad/a.parquet"));
    workshop.write("bad/b.csv", csv(&table));
    both_fail(&workshop, 4, &["a.parquet", "b.csv"]);
}

#[test]
fn settings_are_refused_before_anything_is_read() {
    let workshop = Workshop::new();
    let train = || workshop.train_on("does-not-exist");
    train().arg("--colour").run().failed(2, &["--colour"]);
    train().args(["--param", "max_dept=3"]).run().failed(2, &["max_dept"]);
    train().args(["--param", "nthread=3"]).run().failed(2, &["nthread"]);
    train().args(["--param", "objective=binary:logistic"]).run().failed(2, &["objective"]);
    train().args(["--param", "max_depth=deep"]).run().failed(2, &["max_depth"]);
    train().args(["--param", "max_depth"]).run().failed(2, &["--param", "KEY=VALUE"]);
    train().args(["--model-version", "../../etc"]).run().failed(2, &["--model-version"]);
    train().args(["--model-name", "../x"]).run().failed(2, &["--model-name"]);
    train().args(["--run-id", "a/b"]).run().failed(2, &["--run-id"]);
    train().args(["--run-id", "latest"]).run().failed(2, &["--run-id"]);
    train().args(["--test-fraction", "2"]).run().failed(2, &["--test-fraction"]);
    train().args(["--rounds", "0"]).run().failed(2, &["--rounds"]);
    train().args(["--rounds", "4294967297"]).run().failed(2, &["--rounds"]);
    train().args(["--min-r2", "NaN"]).run().failed(2, &["--min-r2"]);
    train().args(["--models", "ftp://x/y"]).run().failed(2, &["ftp"]);
    programs().train().run().failed(2, &["--train-data", "--models", "--model-version"]);
    let predict = || workshop.predict_on("does-not-exist");
    predict().args(["--model-version", "../../etc"]).run().failed(2, &["--model-version"]);
    predict().args(["--model-version", "v1/../../x"]).run().failed(2, &["--model-version"]);
    predict().args(["--duplicates", "maybe"]).run().failed(2, &["--duplicates"]);
    predict().args(["--format", "xlsx"]).run().failed(2, &["--format"]);
    predict().args(["--batch-rows", "0"]).run().failed(2, &["--batch-rows"]);
    predict().arg("--polite").run().failed(2, &["--polite"]);
    programs().predict().run().failed(2, &["--input", "--output", "--models"]);
    assert!(super::files_below(workshop.folder.path()).is_empty(), "nothing was written");
}
