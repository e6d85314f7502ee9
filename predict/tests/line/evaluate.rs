//! `predict evaluate`: late, partial, missing, repeated and foreign actuals, ids of every type, both formats, here and on S3; and the same
//! figures as pandas has.

use std::process::Command;

use polars::prelude::{ChunkAgg, DataFrame, DataType, IntoColumn, NamedFrom, Series};
use serde_json::Value;
use testkit::program::Invocation;
use testkit::tables::{self, customers, parquet_bytes};

use super::places::{Place, json};
use super::{Workshop, repository, sample, text};

/// Customers that are scored, whose scores come true later.
fn scored() -> DataFrame {
    customers(400, 100_000, 8)
}

/// Ids and scores of some of them, as a table of what came true.
fn actuals(rows: std::ops::Range<usize>) -> DataFrame {
    let columns = scored().select(["customer_id", "score"]).unwrap();
    columns.slice(rows.start as i64, rows.len())
}

/// A run `p1` of predictions, and the figures that its actuals come to.
fn with_predictions() -> Workshop {
    let workshop = Workshop::with_model();
    workshop.predict().args(["--run-id", "p1", "--columns", "plan"]).run().succeeded();
    workshop
}

fn evaluate(workshop: &Workshop) -> Invocation {
    let call = super::programs().predict().folder(workshop.folder.path()).arg("evaluate");
    call.env("MODELS", "models").env("OUTPUT", "output").env("ACTUALS", "actuals").env("THREADS", "2")
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {value}"))
}

#[test]
fn late_partial_null_and_foreign_actuals_are_told_apart() {
    let workshop = with_predictions();
    // The first file has a null and ids of others; another one comes later.
    let mut scores: Vec<Option<f64>> = actuals(0..100).column("score").unwrap().f64().unwrap().iter().collect();
    scores[7] = None;
    let early = tables::with(actuals(0..100), Series::new("score".into(), scores).into_column());
    tables::write_parquet(&early, &workshop.path("actuals/2026-11-23.parquet"));
    let foreign = customers(30, 1, 3).select(["customer_id", "score"]).unwrap();
    tables::write_parquet(&foreign, &workshop.path("actuals/others.parquet"));
    let first = evaluate(&workshop).run().succeeded();
    assert_eq!((&first["rows_predicted"], &first["rows_matched"]), (&400.into(), &99.into()));
    tables::write_parquet(&actuals(100..350), &workshop.path("actuals/2026-11-30.parquet"));
    let ended = evaluate(&workshop).args(["--slice", "plan"]).run();
    let result = ended.succeeded();
    let fields = [
        "event",
        "run_id",
        "model_version",
        "model_run_id",
        "rows_predicted",
        "rows_matched",
        "r2",
        "rmse",
        "mae",
        "bias",
        "interval",
        "coverage",
        "r2_when_trained",
    ];
    assert_eq!(result.as_object().unwrap().keys().collect::<Vec<_>>(), fields);
    assert_eq!((text(&result, "run_id"), &result["rows_matched"]), ("p1", &349.into()));
    assert!(number(&result, "r2") > 0.9 && result["interval"].is_null() && result["coverage"].is_null());
    let report = std::fs::read_to_string(workshop.path("output/runs/p1/report.html")).unwrap();
    assert_eq!(report.matches("R² as it came out").count(), 1, "replaced, not repeated");
    assert!(
        report.contains("By plan")
            && report.contains("Features since training")
            && !report.contains("Nothing is known")
    );
    let trained = workshop.json(&format!("{}/result.json", workshop.model_folder()));
    assert_eq!(result["r2_when_trained"], trained["r2"]);

    let found = workshop.json("output/runs/p1/actuals.json");
    assert_eq!(found, workshop.json("models/engagement/realized/p1.json"));
    for name in &fields[1..] {
        assert_eq!(found[*name], result[*name], "{name}");
    }
    assert_eq!((&found["predictions_without_actual"], &found["predictions_with_null_actual"]), (&50.into(), &1.into()));
    assert_eq!((&found["actuals"]["rows"], &found["actuals"]["rows_of_other_ids"]), (&380.into(), &30.into()));
    let tenths = found["tenths"].as_array().unwrap();
    assert_eq!((tenths.len(), tenths.iter().map(|tenth| tenth["rows"].as_u64().unwrap()).sum::<u64>()), (10, 349));
    let plans = found["slices"]["plan"].as_array().unwrap();
    assert_eq!(plans.iter().map(|plan| plan["rows"].as_u64().unwrap()).sum::<u64>(), 349);
    assert!(plans.iter().any(|plan| plan["value"] == "(missing)") && plans.len() == 5, "{plans:?}");

    let metric = ended.metrics().into_iter().find_map(|line| line["RealizedAccuracy"].as_f64());
    assert_eq!(metric, result["r2"].as_f64());
    assert!(workshop.json("output/runs/p1/result.json")["r2"].is_null(), "the run's own result stays");
    let listed = workshop.models_command(&["list"]).succeeded();
    assert_eq!(listed["models"].as_array().unwrap().len(), 1, "what came true is no label");
}

/// An empty column of numbers is one of text or of booleans to some writers.
#[test]
fn what_did_not_come_true_yet_may_have_any_type() {
    let workshop = with_predictions();
    let nothing_yet = |dtype: &DataType| {
        let empty = Series::full_null("score".into(), 100, dtype).into_column();
        tables::write_parquet(&tables::with(actuals(0..100), empty), &workshop.path("actuals/part.parquet"));
        let ended = evaluate(&workshop).run();
        (ended.status.code(), ended.last()["error_message"].clone())
    };
    let of_numbers = nothing_yet(&DataType::Float64);
    for dtype in [DataType::String, DataType::Boolean, DataType::Date] {
        assert_eq!(nothing_yet(&dtype), of_numbers, "{dtype}");
    }
    tables::write_parquet(&actuals(100..200), &workshop.path("actuals/later.parquet"));
    assert_eq!(evaluate(&workshop).run().succeeded()["rows_matched"], 100);
}

/// Rows, drift and rejects are told whether the run was published or not, and hostile names stay text.
#[test]
fn every_run_has_a_report() {
    let workshop = with_predictions();
    let report =
        |run_id: &str| std::fs::read_to_string(workshop.path(&format!("output/runs/{run_id}/report.html"))).unwrap();
    let first = report("p1");
    assert!(
        first.starts_with("<!doctype html>")
            && first.contains("complete")
            && first.contains("400 predictions of score")
    );
    assert!(
        first.contains("Nothing is known yet") && !first.contains("<script") && !first.contains("The last run was")
    );
    let manifest = workshop.json("output/runs/p1/manifest.json");
    let mean = workshop.json("output/runs/p1/result.json")["mean_prediction"].as_f64().unwrap();
    assert!((manifest["predictions"]["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    let shares = manifest["predictions"]["shares"].as_array().unwrap();
    assert!((shares.iter().map(|share| share.as_f64().unwrap()).sum::<f64>() - 1.0).abs() < 1e-9);
    let bytes = std::fs::read(workshop.path("output/predictions/run_id=p1/part-00000.parquet")).unwrap();
    let frame = testkit::tables::read_parquet(&bytes);
    assert!((frame.column("prediction").unwrap().f64().unwrap().mean().unwrap() - mean).abs() < 1e-9);
    // All spend a hundred times as much: drift, and half of the ids come twice.
    let table = tables::without(&scored(), "score");
    let moved = table.column("spend").unwrap().f64().unwrap().iter().map(|spend| spend.map(|spend| 100.0 * spend));
    let moved = Series::new("spend".into(), moved.collect::<Vec<Option<f64>>>());
    let ids: Vec<String> = (0..400).map(|row| format!("<script>{}", row % 200)).collect();
    let moved = tables::with(tables::with(table, moved), Series::new("customer_id".into(), ids));
    tables::write_parquet(&moved, &workshop.path("moved/part.parquet"));
    let call =
        workshop.predict_on("moved").args(["--run-id", "p2", "--max-reject-fraction", "0.9", "--max-drift", "0.5"]);
    call.run().failed(4, &["spend", "drifted"]);
    let second = report("p2");
    for part in ["nothing was published", "spend (PSI", "an id that came before", "the last run", "The last run was p1"]
    {
        assert!(second.contains(part), "{part}");
    }
    assert!(second.contains("Objects with most of them") && second.contains(">part.parquet</th>"), "{second}");
    assert!(!second.contains("<script"));
}

#[test]
fn a_repeated_id_of_the_actuals_is_named_with_both_places() {
    let workshop = with_predictions();
    tables::write_parquet(&actuals(0..50), &workshop.path("actuals/a.parquet"));
    tables::write_parquet(&actuals(49..60), &workshop.path("actuals/b.parquet"));
    let parts = ["100049", "more than once", "data row 50 of", "a.parquet", "data row 1 of", "b.parquet"];
    evaluate(&workshop).run().failed(4, &parts);
    assert!(!workshop.path("output/runs/p1/actuals.json").exists());
    // Of ids that were not predicted too.
    workshop.write("foreign/a.csv", "customer_id,score\nx,1\ny,2\nx,1\n");
    evaluate(&workshop).args(["--actuals", "foreign"]).run().failed(4, &["\"x\"", "data row 1 of", "data row 3 of"]);
}

#[test]
fn ids_are_joined_by_value_whatever_type_and_format() {
    let workshop = with_predictions();
    tables::write_parquet(&actuals(0..400), &workshop.path("actuals/part.parquet"));
    let expected = evaluate(&workshop).run().succeeded();
    assert_eq!(expected["rows_matched"], 400);
    for dtype in [DataType::String, DataType::Float64, DataType::UInt64, DataType::Int32] {
        let ids = actuals(0..400).column("customer_id").unwrap().cast(&dtype).unwrap();
        let table = tables::with(actuals(0..400), ids);
        tables::write_parquet(&table, &workshop.path(&format!("as-{dtype}/part.parquet")));
        let found = evaluate(&workshop).args(["--actuals", &format!("as-{dtype}")]).run().succeeded();
        assert_eq!(found, expected, "{dtype}");
    }
    let csv = tables::csv(&actuals(0..400));
    workshop.write("csv/part.csv", &csv);
    assert_eq!(evaluate(&workshop).args(["--actuals", "csv"]).run().succeeded(), expected);
    let semicolons: String = csv.replace('.', "\u{1}").replace(',', ";").replace('\u{1}', ",");
    workshop.write("european/part.csv", semicolons);
    let european = ["--actuals", "european", "--delimiter", ";", "--decimal", ","];
    assert_eq!(evaluate(&workshop).args(european).run().succeeded(), expected);
    // Text is a number only where it is that integer's own text.
    workshop.write("padded/part.csv", csv.replace("\n10", "\n0010"));
    assert_eq!(evaluate(&workshop).args(["--actuals", "padded"]).run().succeeded()["rows_matched"], 0);

    // Predictions in CSV, and under other names.
    workshop.predict().args(["--run-id", "p2", "--format", "csv"]).run().succeeded();
    let mut renamed = actuals(0..400);
    renamed.rename("customer_id", "client".into()).unwrap();
    renamed.rename("score", "outcome".into()).unwrap();
    tables::write_parquet(&renamed, &workshop.path("renamed/part.parquet"));
    let names = ["--actuals", "renamed", "--id", "client", "--target", "outcome"];
    let found = evaluate(&workshop).args(names).run().succeeded();
    assert_eq!((text(&found, "run_id"), &found["r2"]), ("p2", &expected["r2"]), "the newest run");
}

#[test]
fn the_minimum_is_checked_after_everything_is_written() {
    let workshop = with_predictions();
    tables::write_parquet(&actuals(0..400), &workshop.path("actuals/part.parquet"));
    let failure =
        evaluate(&workshop).args(["--min-r2", "0.99999"]).run().failed(3, &["R²", "0.99999", "400 predictions"]);
    assert!(number(&failure, "r2") > 0.9);
    assert_eq!(workshop.json("output/runs/p1/actuals.json")["r2"], failure["r2"]);
    assert_eq!(workshop.json("models/engagement/realized/p1.json")["r2"], failure["r2"]);
    evaluate(&workshop).args(["--min-r2", "0.5"]).run().succeeded();

    workshop.write("none/part.csv", "customer_id,score\n1,5\n2,\n");
    let none = evaluate(&workshop).args(["--actuals", "none"]).run().succeeded();
    assert!(none["r2"].is_null() && none["mae"].is_null() && none["rows_matched"] == 0, "{none}");
    assert!(workshop.json("output/runs/p1/actuals.json")["r2"].is_null(), "replaced");
    evaluate(&workshop).args(["--actuals", "none", "--min-r2", "0.5"]).run().failed(4, &["--min-r2", "0 actuals"]);
    workshop.write("one/part.csv", "customer_id,score\n100001,5\n100002,5\n");
    let one = evaluate(&workshop).args(["--actuals", "one"]).run().succeeded();
    assert!(one["r2"].is_null() && number(&one, "mae") > 0.0 && one["rows_matched"] == 2, "{one}");
}

#[test]
fn what_cannot_be_compared_is_refused_by_name() {
    let workshop = with_predictions();
    let none = Workshop::with_model();
    tables::write_parquet(&actuals(0..9), &none.path("actuals/part.parquet"));
    evaluate(&none).run().failed(4, &["no complete run yet"]);
    tables::write_parquet(&actuals(0..9), &workshop.path("actuals/part.parquet"));
    evaluate(&workshop).args(["--run-id", "unknown"]).run().failed(4, &["no complete run unknown"]);
    // The variable names the run that a task does.
    evaluate(&workshop).env("RUN_ID", "unknown").run().succeeded();
    evaluate(&workshop).args(["--target", "points"]).run().failed(4, &["points", "missing"]);
    evaluate(&workshop).args(["--slice", "town"]).run().failed(4, &["town", "missing"]);
    evaluate(&workshop).args(["--model-name", "other"]).run().failed(2, &["--model-name", "engagement"]);
    evaluate(&workshop).args(["--actuals", "nowhere"]).run().failed(2, &["nowhere"]);
    super::programs().predict().args(["evaluate", "--models", "m", "--output", "o"]).run().failed(2, &["--actuals"]);
    workshop.write("odd/part.csv", "customer_id,score\n100001,5\n100002,high\n");
    evaluate(&workshop).args(["--actuals", "odd"]).run().failed(4, &["\"high\"", "score", "data row 2", "part.csv"]);
    workshop.write("narrow/part.csv", "customer_id,score\n100001,5\n100002\n");
    evaluate(&workshop).args(["--actuals", "narrow"]).run().failed(4, &["data row 2", "narrow/part.csv"]);
    let part = workshop.path("output/predictions/run_id=p1/part-00000.parquet");
    std::fs::copy(&part, part.with_file_name("part-00001.parquet")).unwrap();
    evaluate(&workshop).run().failed(4, &["part-00001.parquet", "none of the run's parts"]);
    std::fs::remove_file(&part).unwrap();
    evaluate(&workshop).run().failed(4, &["part-00000.parquet", "is missing"]);
}

#[test]
fn a_model_that_was_pruned_is_needed_only_for_its_names() {
    let workshop = with_predictions();
    tables::write_parquet(&actuals(0..400), &workshop.path("actuals/part.parquet"));
    let expected = evaluate(&workshop).run().succeeded();
    std::fs::remove_dir_all(workshop.path(&workshop.model_folder())).unwrap();
    evaluate(&workshop).run().failed(6, &["--target"]);
    let found = evaluate(&workshop).args(["--target", "score"]).run().succeeded();
    assert_eq!((&found["r2"], &found["r2_when_trained"]), (&expected["r2"], &Value::Null));
}

#[test]
fn a_bucket_serves_as_a_folder_does() {
    let results = [Place::local(), Place::bucket("evaluate")].map(|place| {
        place.write("train/part.parquet", parquet_bytes(&customers(super::ROWS, 1, 7)));
        place.write("customers/part.parquet", parquet_bytes(&tables::without(&scored(), "score")));
        place.train().args(["--run-id", "r1"]).run().succeeded();
        place.predict().args(["--run-id", "p1"]).run().succeeded();
        place.write("actuals/a.parquet", parquet_bytes(&actuals(0..150)));
        place.write("actuals/b.parquet", parquet_bytes(&actuals(150..300)));
        let actuals = place.location("actuals");
        let result = place.predict().args(["evaluate", "--actuals", &actuals]).run().succeeded();
        let found = json(&place.files("output"), "runs/p1/actuals.json");
        assert_eq!(json(&place.files("models"), "engagement/realized/p1.json"), found);
        result
    });
    assert_eq!(results[0]["rows_matched"], 300);
    assert_eq!(results[0], results[1]);
}

/// A real table: 30,000 credit cards, of whose predictions some have no actual, some a null one, and some actuals are of others.
#[test]
fn the_figures_are_those_of_pandas() {
    // Of its own: other tests look at every file of that line.
    let (line, workshop) = (&super::sample::line().workshop, Workshop::new());
    for folder in ["models", "output"] {
        super::copy_folder(&line.path(folder), &workshop.path(folder));
    }
    let python = Command::new(repository().join("scripts/setup-python")).output().unwrap();
    let python = String::from_utf8(python.stdout).unwrap().trim().to_owned();
    let script = repository().join("predict/tests/line/evaluate.py");
    let output = workshop.text("output");
    let run = |step: &str| {
        let call = Command::new(&python)
            .arg(&script)
            .args([step, &sample("train"), &output, &workshop.text("came-true")])
            .output();
        let call = call.unwrap();
        assert!(call.status.success(), "{step}: {}", String::from_utf8_lossy(&call.stderr));
        String::from_utf8(call.stdout).unwrap()
    };
    run("write");
    for (format, arguments) in [
        ("parquet", ["--slice", "SEX", "--slice", "EDUCATION"]),
        ("csv", ["--threads", "1", "--slice", "SEX,EDUCATION"]),
    ] {
        let folder = format!("came-true/{format}");
        let call =
            evaluate(&workshop).args(["--actuals", &folder, "--id", "ID", "--target", "outcome", "--memory", "400m"]);
        call.args(arguments).run().succeeded();
        run(format);
    }
}
