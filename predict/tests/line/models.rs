//! `train models`: what lies in a store, which model is meant, and the way back.

use serde_json::{Value, json};

use super::{Workshop, text};

fn trained(workshop: &Workshop, version: &str, run_id: &str) -> Value {
    let rounds = if run_id == "a" { "25" } else { "30" };
    let arguments = ["--model-version", version, "--run-id", run_id, "--rounds", rounds];
    workshop.train().args(arguments).run().succeeded()
}

fn scoring_model(workshop: &Workshop, selector: &str) -> String {
    let result = workshop.predict().args(["--model-version", selector]).run().succeeded();
    format!("{}/{}", text(&result, "model_version"), text(&result, "model_run_id"))
}

#[test]
fn models_are_listed_shown_promoted_and_pruned() {
    let workshop = Workshop::with_data();
    workshop.models_command(&["show"]).failed(6, &["latest"]);
    assert_eq!(workshop.models_command(&["list"]).succeeded()["models"], json!([]));
    trained(&workshop, "v1", "a");
    trained(&workshop, "v1", "b");
    trained(&workshop, "v2", "c");
    workshop.train().args(["--run-id", "d", "--min-r2", "0.9999"]).run().failed(3, &[]);

    let list = workshop.models_command(&["list"]).succeeded();
    assert_eq!(list["latest"], "v2/c");
    let mut gates: Vec<(&str, &str)> =
        list["models"].as_array().unwrap().iter().map(|model| (text(model, "model"), text(model, "gate"))).collect();
    gates.sort_unstable();
    assert_eq!(gates, [("v1/a", "passed"), ("v1/b", "passed"), ("v1/d", "failed"), ("v2/c", "passed")]);

    assert_eq!(scoring_model(&workshop, "latest"), "v2/c");
    assert_eq!(scoring_model(&workshop, "v1"), "v1/b");
    assert_eq!(scoring_model(&workshop, "v1/a"), "v1/a");

    let show = workshop.models_command(&["show", "v1/a"]).succeeded();
    assert_eq!((text(&show, "model"), &show["rounds"]), ("v1/a", &json!(25)));

    let promoted = workshop.models_command(&["promote", "v1/a"]).succeeded();
    assert_eq!((text(&promoted, "latest"), text(&promoted, "previous")), ("v1/a", "v2/c"));
    assert_eq!(scoring_model(&workshop, "latest"), "v1/a");
    assert_eq!(scoring_model(&workshop, "v1"), "v1/a");
    assert_eq!(workshop.json("models/engagement/latest.json")["previous"], "v2/c");
    assert_eq!(workshop.json("models/engagement/v1/latest.json")["previous"], "v1/b");
    workshop.models_command(&["promote", "v7"]).failed(6, &["v7"]);
    workshop.models_command(&["promote", "../x"]).failed(2, &["../x"]);

    // What a pointer names stays: v1/a (latest and v1) and v2/c (v2).
    let pruned = workshop.models_command(&["prune", "--keep", "0"]).succeeded();
    let mut deleted: Vec<&str> = pruned["deleted"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    deleted.sort_unstable();
    assert_eq!(deleted, ["v1/b", "v1/d"]);
    assert!(workshop.files("models/engagement/v1/b").is_empty());
    assert_eq!(scoring_model(&workshop, "latest"), "v1/a");
    assert_eq!(scoring_model(&workshop, "v2"), "v2/c");
    workshop.predict().args(["--model-version", "v1/b"]).run().failed(6, &["v1/b"]);
}

#[test]
fn the_newest_run_is_the_one_that_started_last_whatever_its_id() {
    let workshop = Workshop::with_data();
    for run_id in ["z", "m", "a"] {
        workshop.train().args(["--run-id", run_id, "--min-r2", "0.9999"]).run().failed(3, &[]);
    }
    let listed = workshop.models_command(&["list"]).succeeded();
    let models: Vec<&str> = listed["models"].as_array().unwrap().iter().map(|model| text(model, "model")).collect();
    assert_eq!(models, ["v1/a", "v1/m", "v1/z"]);
    // A result that an earlier program wrote does not say when: its model's metadata does.
    let path = workshop.path("models/engagement/v1/m/result.json");
    let mut result: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    result.as_object_mut().unwrap().remove("created_at").unwrap();
    std::fs::write(&path, result.to_string()).unwrap();
    let pruned = workshop.models_command(&["prune", "--keep", "1"]).succeeded();
    assert_eq!(pruned["deleted"], json!(["v1/m", "v1/z"]));
    assert!(!workshop.files("models/engagement/v1/a").is_empty());
}

#[test]
fn a_store_is_named_before_or_after_the_action() {
    let workshop = Workshop::with_model();
    let call = || super::programs().train().folder(workshop.folder.path()).arg("models");
    call().args(["--models", "models", "list"]).run().succeeded();
    call().args(["list", "--models", "models", "--model-name", "engagement"]).run().succeeded();
    let listed = call().arg("list").env("MODELS", "models").env("MODEL_NAME", "other").run().succeeded();
    assert_eq!(listed["models"], json!([]));
    call().arg("list").run().failed(2, &["--models", "MODELS"]);
    call().args(["prune", "--models", "models"]).run().failed(2, &["--keep"]);
}

#[test]
fn a_store_can_be_copied() {
    let workshop = Workshop::with_model();
    super::copy_folder(&workshop.path("models"), &workshop.path("copied/store"));
    std::fs::remove_dir_all(workshop.path("models")).unwrap();
    let call = super::programs().predict().folder(workshop.folder.path()).args(["--input", "customers"]);
    call.args(["--models", "copied/store", "--output", "output"]).run().succeeded();
}
