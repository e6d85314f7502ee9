//! Models that must not score: missing, rejected, altered, of another format.

use std::fs;

use serde_json::Value;

use testkit::program::Ended;

use super::{Workshop, text};

#[test]
fn without_a_model_nothing_is_scored() {
    let workshop = Workshop::with_data();
    workshop.predict().args(["--run-id", "r1"]).run().failed(6, &["latest", "train"]);
    workshop.predict().args(["--model-version", "v9"]).run().failed(6, &["v9"]);
    workshop.predict().args(["--model-version", "v9/some-run"]).run().failed(6, &["v9/some-run"]);
    workshop.assert_no_predictions();
    assert_eq!(workshop.json("output/runs/r1/result.json")["exit_code"], 6);
}

/// A byte of one of the model's files is flipped, wherever it is: exit 6, and the file is named.
#[test]
fn a_flipped_byte_is_noticed() {
    let workshop = Workshop::with_model();
    let folder = workshop.model_folder();
    for file in ["model.ubj", "metadata.json"] {
        let path = workshop.path(&format!("{folder}/{file}"));
        let whole = fs::read(&path).unwrap();
        for place in [0, whole.len() / 3, whole.len() / 2, whole.len() - 2] {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            fs::write(&path, flipped).unwrap();
            workshop.predict().run().failed(6, &[file]);
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        workshop.predict().run().failed(6, &[file]);
        fs::remove_file(&path).unwrap();
        workshop.predict().run().failed(6, &[file]);
        fs::write(&path, whole).unwrap();
    }
    workshop.assert_no_predictions();
    workshop.predict().run().succeeded();
}

#[test]
fn a_damaged_pointer_is_named() {
    let workshop = Workshop::with_model();
    let pointer = "models/engagement/latest.json";
    let mut altered = workshop.json(pointer);
    for (field, value) in [("path", Value::from("../../etc")), ("format_version", 99.into()), ("path", 7.into())] {
        let whole = altered[field].take();
        altered[field] = value;
        workshop.write(pointer, altered.to_string());
        workshop.predict().run().failed(6, &[]);
        altered[field] = whole;
    }
    workshop.write(pointer, "{\"format_version\": 1");
    let remedy = "engagement/latest.json is damaged: ";
    let remedy = [remedy, "remove it, then name a model by `train models promote VERSION/RUN_ID`"];
    workshop.predict().run().failed(6, &remedy);
    workshop.assert_no_predictions();
    // Neither learnt from nor written over; what the message says helps.
    let next = || workshop.train().args(["--run-id", "next"]);
    next().run().failed(6, &remedy);
    assert!(workshop.files("models/engagement/v1/next").is_empty());
    let model = text(&altered, "path");
    workshop.models_command(&["promote", model]).failed(6, &remedy);
    fs::remove_file(workshop.path(pointer)).unwrap();
    workshop.models_command(&["promote", model]).succeeded();
    workshop.predict().run().succeeded();
}

/// `predict prepare` of some data for an output.
fn prepare(workshop: &Workshop, data: &str, output: &str) -> Ended {
    let call = super::programs().predict().folder(workshop.folder.path()).args(["prepare", "--input", data]);
    call.args(["--models", "models", "--output", output, "--run-id", "p1"]).run()
}

#[test]
fn a_pointer_that_was_moved_to_other_bytes_than_its_folder_holds_is_refused() {
    let workshop = Workshop::with_model();
    let pointer = "models/engagement/latest.json";
    let mut altered = workshop.json(pointer);
    altered["sha256"] = "00".into();
    workshop.write(pointer, altered.to_string());
    workshop.predict().run().failed(6, &["latest.json names another model than"]);
    prepare(&workshop, "customers", "output").failed(6, &["latest.json names another model than"]);
    workshop.assert_no_predictions();
    // The run itself is whole, and is scored with where it is named.
    let run = altered["path"].as_str().unwrap();
    workshop.predict().args(["--model-version", run]).run().succeeded();
}

#[test]
fn an_output_inside_of_a_model_store_leaves_its_pointer_alone() {
    let workshop = Workshop::with_model();
    let store = workshop.path("models/engagement");
    let before = super::files_below(&store);
    let pointer = fs::read(store.join("latest.json")).unwrap();
    let output = store.display().to_string();
    let refused: [Ended; 2] =
        [workshop.predict().args(["--output", &output]).run(), prepare(&workshop, "customers", &output)];
    for ended in refused {
        ended.failed(2, &["latest.json is no pointer to predictions", "--output (OUTPUT)"]);
    }
    assert_eq!(super::files_below(&store), before, "nothing is written there");
    assert_eq!(fs::read(store.join("latest.json")).unwrap(), pointer);
    workshop.predict().run().succeeded();
}

#[test]
fn metadata_of_a_format_that_is_not_known_is_refused() {
    let workshop = Workshop::with_model();
    let folder = workshop.model_folder();
    let path = format!("{folder}/metadata.json");
    let mut metadata = workshop.json(&path);
    metadata["format_version"] = 3.into();
    republish(&workshop, &folder, &metadata);
    workshop.predict().run().failed(6, &["metadata.json", "format_version 3"]);
}

#[test]
fn a_golden_row_that_is_predicted_otherwise_refuses_the_model() {
    let workshop = Workshop::with_model();
    let folder = workshop.model_folder();
    let mut metadata = workshop.json(&format!("{folder}/metadata.json"));
    let prediction = &mut metadata["golden"]["predictions"][5];
    *prediction = (prediction.as_f64().unwrap() + 0.01).into();
    republish(&workshop, &folder, &metadata);
    workshop.predict().run().failed(6, &["golden row 5"]);
    workshop.assert_no_predictions();
}

/// Writes metadata as if the run had written it so.
fn republish(workshop: &Workshop, folder: &str, metadata: &Value) {
    let bytes = metadata.to_string();
    let mut result = workshop.json(&format!("{folder}/result.json"));
    result["metadata_sha256"] = super::sha256(bytes.as_bytes()).into();
    result["files"]["metadata.json"] = result["metadata_sha256"].clone();
    workshop.write(&format!("{folder}/metadata.json"), bytes);
    workshop.write(&format!("{folder}/result.json"), result.to_string());
    let pointer = "models/engagement/latest.json";
    let mut latest = workshop.json(pointer);
    latest["metadata_sha256"] = result["metadata_sha256"].clone();
    workshop.write(pointer, latest.to_string());
}

#[test]
fn prepare_says_whether_a_run_would_work() {
    let prepare = |workshop: &Workshop, data: &str| prepare(workshop, data, "output");
    let report = "output/runs/p1/prepare.json";
    let workshop = Workshop::with_data();
    assert!(prepare(&workshop, "customers").succeeded()["model"].is_null());
    assert_eq!(workshop.json(report)["model"], Value::Null);

    let workshop = Workshop::with_model();
    prepare(&workshop, "customers").succeeded();
    let ready = workshop.json(report);
    assert_eq!((&ready["ready"], &ready["rows"]), (&true.into(), &400.into()));
    prepare(&workshop, "nowhere").failed(2, &["nowhere"]);
    assert_eq!(workshop.json(report)["ready"], false);
    assert_eq!(workshop.files("output"), ["runs/p1/prepare.json"]);
}
