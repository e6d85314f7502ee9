//! The sample: trained, gated, published, scored, laid out as docs/contract.md says.

use std::collections::BTreeSet;
use std::fs;
use std::sync::OnceLock;

use polars::prelude::DataType;
use serde_json::Value;
use testkit::tables::read_parquet;

use super::{Workshop, programs, repository, sample, sha256, text};

/// Python's XGBoost (200 rounds, depth 6, eta 0.1, the same derived features and categories) on the same split:
/// `scripts/make-samples --evaluate`.
const PYTHONS_R2: f64 = 0.91093;
const CUSTOMERS: u64 = 30_000;

/// The sample's model and predictions.
pub(crate) struct Line {
    pub(crate) workshop: Workshop,
    pub(crate) trained: Value,
    pub(crate) predicted: Value,
}

/// Run once for all tests, on two threads: other tests wait for it.
pub(crate) fn line() -> &'static Line {
    static LINE: OnceLock<Line> = OnceLock::new();
    LINE.get_or_init(|| {
        let workshop = Workshop::new();
        let train = programs().train().folder(workshop.folder.path());
        let data = [sample("train"), sample("test"), sample("features.toml")];
        let train = train.args(["--train-data", &data[0], "--test-data", &data[1], "--features", &data[2]]);
        let trained = train.args(["--models", "models", "--model-version", "v1.0.0", "--threads", "2"]).run();
        let input = sample("customers");
        let predicted = workshop.predict_on(&input).args(["--columns", "SEX,AGE"]).run();
        Line { trained: trained.succeeded(), predicted: predicted.succeeded(), workshop }
    })
}

#[test]
fn the_model_is_as_good_as_pythons() {
    let Line { trained, .. } = line();
    let r2 = trained["r2"].as_f64().unwrap();
    assert!(r2 >= PYTHONS_R2 - 0.003, "{r2}");
    assert_eq!(trained["gate"], "passed");
    assert_eq!((trained["rows_train"].as_u64(), trained["rows_test"].as_u64()), (Some(23_998), Some(6_002)));
    for field in ["rmse", "mae", "training_seconds", "data_quality_score", "rounds"] {
        assert!(trained[field].as_f64().is_some_and(|value| value > 0.0), "{field}: {trained}");
    }
}

#[test]
fn a_models_folder_and_pointers_are_as_the_contract_says() {
    let Line { workshop, trained, .. } = line();
    let run_id = text(trained, "run_id");
    let file = |name: &str| format!("engagement/v1.0.0/{run_id}/{name}");
    let files = ["metadata.json", "metrics.json", "model.ubj", "report.html", "result.json", "scale.ubj"].map(file);
    let pages = ["engagement/history.json", "engagement/index.html"].map(str::to_owned);
    let pointers = ["engagement/latest.json", "engagement/v1.0.0/latest.json"].map(str::to_owned);
    let mut expected = [files.to_vec(), pages.to_vec(), pointers.to_vec()].concat();
    expected.sort();
    assert_eq!(workshop.files("models"), expected);

    let model = fs::read(workshop.path(&format!("models/{}", file("model.ubj")))).unwrap();
    for pointer in pointers {
        let pointer = workshop.json(&format!("models/{pointer}"));
        assert_eq!(pointer["format_version"], 1);
        assert_eq!(text(&pointer, "model_version"), "v1.0.0");
        assert_eq!(text(&pointer, "run_id"), run_id);
        assert_eq!(text(&pointer, "path"), format!("v1.0.0/{run_id}"));
        assert_eq!(pointer["r2"], trained["r2"]);
        assert_eq!(text(&pointer, "sha256"), sha256(&model));
        assert!(pointer["previous"].is_null() && text(&pointer, "published_at").ends_with('Z'));
    }
    assert_eq!(text(trained, "model_location"), workshop.text(&format!("models/engagement/v1.0.0/{run_id}")));
    let result = workshop.json(&format!("models/{}", file("result.json")));
    assert_eq!(&result, trained, "result.json is the last line");
}

#[test]
fn metadata_and_metrics_have_what_the_contract_lists() {
    let Line { workshop, trained, .. } = line();
    let folder = workshop.model_folder();
    let metadata = workshop.json(&format!("{folder}/metadata.json"));
    for field in ["features", "id", "target", "spec", "params", "rounds", "statistics", "data", "golden"] {
        assert!(!metadata[field].is_null(), "{field}");
    }
    assert_eq!(metadata["xgboost_version"], "3.4.1");
    let features = metadata["features"].as_array().unwrap();
    let source = |feature: &Value| feature["column"].as_str().or(feature["name"].as_str()).unwrap().to_owned();
    // A category may stand in two features, and the search may have derived some besides those of the spec.
    let of_spec = |name: &str| metadata["spec"]["derived"].get(name).is_some();
    let (derived, others): (Vec<&Value>, Vec<&Value>) = features
        .iter()
        .partition(|feature| feature["kind"] == "derived" && !of_spec(feature["name"].as_str().unwrap()));
    let sources: BTreeSet<String> = others.into_iter().map(source).collect();
    assert_eq!(sources.len(), 23);
    for feature in derived {
        let inputs = feature["inputs"].as_object().unwrap();
        assert!(inputs.keys().all(|input| sources.contains(input)) && feature["sql"].is_string(), "{feature}");
    }
    let metrics = workshop.json(&format!("{folder}/metrics.json"));
    assert_eq!(metrics["r2"], trained["r2"]);
    for field in ["rmse", "mae", "rows_train", "rows_test", "gate", "learning_curve", "trials"] {
        assert!(!metrics[field].is_null(), "{field}");
    }
    let report = fs::read_to_string(workshop.path(&format!("{folder}/report.html"))).unwrap();
    assert!(report.starts_with("<!doctype html>") && report.contains("passed"));
}

#[test]
fn every_customer_is_scored_and_counted() {
    let Line { workshop, trained, predicted } = line();
    assert_eq!(predicted["rows_read"], CUSTOMERS);
    assert_eq!((&predicted["rows_predicted"], &predicted["rows_rejected"]), (&CUSTOMERS.into(), &0.into()));
    assert_eq!(predicted["model_version"], "v1.0.0");
    assert_eq!(predicted["model_run_id"], trained["run_id"]);
    let run_id = text(predicted, "run_id");
    let expected = [
        "history.json".to_owned(),
        "index.html".to_owned(),
        "latest.json".to_owned(),
        format!("predictions/run_id={run_id}/part-00000.parquet"),
        format!("runs/{run_id}/manifest.json"),
        format!("runs/{run_id}/plan.json"),
        format!("runs/{run_id}/report.html"),
        format!("runs/{run_id}/result.json"),
    ];
    assert_eq!(workshop.files("output"), expected);
    assert_eq!(&workshop.json(&format!("output/runs/{run_id}/result.json")), predicted);
    let location = workshop.text(&format!("output/predictions/run_id={run_id}"));
    assert_eq!(text(predicted, "output_location"), location);
}

#[test]
fn the_parts_are_what_the_manifest_and_the_pointer_say() {
    let Line { workshop, trained, predicted } = line();
    let run_id = text(predicted, "run_id");
    let pointer = workshop.json("output/latest.json");
    assert_eq!(text(&pointer, "run_id"), run_id);
    assert_eq!(text(&pointer, "path"), format!("predictions/run_id={run_id}"));
    assert_eq!((&pointer["rows"], &pointer["model_run_id"]), (&CUSTOMERS.into(), &trained["run_id"]));

    let manifest = workshop.json(&format!("output/runs/{run_id}/manifest.json"));
    let part = &manifest["parts"][0];
    let bytes = fs::read(workshop.path("output").join(text(part, "path"))).unwrap();
    assert_eq!((part["bytes"].as_u64(), text(part, "sha256")), (Some(bytes.len() as u64), sha256(&bytes).as_str()));
    assert_eq!((&manifest["rows_read"], &part["rows"]), (&CUSTOMERS.into(), &CUSTOMERS.into()));
    assert_eq!(manifest["model"]["run_id"], trained["run_id"]);

    let frame = read_parquet(&bytes);
    let columns: Vec<(&str, DataType)> =
        frame.columns().iter().map(|column| (column.name().as_str(), column.dtype().clone())).collect();
    let expected = [
        ("ID", DataType::Int64),
        ("prediction", DataType::Float64),
        ("model_version", DataType::String),
        ("SEX", DataType::Int64),
        ("AGE", DataType::Int64),
    ];
    assert_eq!(columns, expected);
    assert!(frame.columns().iter().all(|column| column.null_count() == 0));
    let ids: Vec<Option<i64>> = frame.column("ID").unwrap().i64().unwrap().iter().collect();
    assert_eq!(ids, (1..=30_000).map(Some).collect::<Vec<_>>(), "input order");
    let versions = frame.column("model_version").unwrap();
    assert!(versions.str().unwrap().iter().all(|version| version == Some("v1.0.0")));
}

#[test]
fn nothing_in_the_programs_names_the_samples_columns() {
    for folder in ["common", "train/src", "predict/src"] {
        for file in super::files_below(&repository().join(folder)).into_iter().filter(|file| file.ends_with(".rs")) {
            let source = fs::read_to_string(&file).unwrap();
            for name in ["BILL_AMT", "LIMIT_BAL", "PAY_AMT", "arr_delay"] {
                let program = source.split("#[cfg(test)]").next().unwrap();
                assert!(!program.contains(name) || file.contains("test"), "{file} names {name}");
            }
        }
    }
}
