//! A repeated run id continues its run, or ends as it ended.

use std::fs;
use std::path::Path;

use testkit::tables::{customers, without, write_parquet};

use super::Workshop;

#[test]
fn a_complete_training_run_ends_at_once_as_it_did() {
    let workshop = Workshop::with_data();
    let train = || workshop.train().args(["--run-id", "r1"]);
    let first = train().run().succeeded();
    let before = contents(&workshop, "models");
    assert_eq!(train().run().succeeded(), first);
    assert_eq!(contents(&workshop, "models"), before, "nothing was written again");

    let rejected = || workshop.train().args(["--run-id", "r2", "--min-r2", "0.9999"]);
    let failure = rejected().run().failed(3, &[]);
    assert_eq!(rejected().run().failed(3, &[]), failure);

    train().args(["--seed", "7"]).run().failed(2, &["--run-id", "r1"]);
    train().args(["--param", "max_depth=3"]).run().failed(2, &["--run-id", "r1"]);
    let before = contents(&workshop, "models");
    // The input's removal changes nothing about a result that stands; other input does.
    fs::rename(workshop.path("train/part.parquet"), workshop.path("part.parquet")).unwrap();
    assert_eq!(train().run().succeeded(), first);
    write_parquet(&customers(900, 1, 11), &workshop.path("train/part.parquet"));
    train().run().failed(4, &["input changed", "r1"]);
    assert_eq!(contents(&workshop, "models"), before, "a complete folder never changes");
}

#[test]
fn a_complete_prediction_run_ends_at_once_as_it_did() {
    let workshop = Workshop::with_model();
    let predict = || workshop.predict().args(["--run-id", "r1"]);
    let first = predict().run().succeeded();
    let before = contents(&workshop, "output");
    assert_eq!(predict().run().succeeded(), first);
    assert_eq!(contents(&workshop, "output"), before, "nothing was written again");
    predict().args(["--columns", "plan"]).run().failed(2, &["--run-id", "r1"]);
    predict().args(["--format", "csv"]).run().failed(2, &["--run-id", "r1"]);
    fs::remove_dir_all(workshop.path("models")).unwrap();
    assert_eq!(predict().run().succeeded(), first, "it needs its model no more");
    let other = without(&customers(400, 100_000, 12), "score");
    write_parquet(&other, &workshop.path("customers/part.parquet"));
    predict().run().failed(4, &["input changed", "part.parquet"]);
    assert_eq!(contents(&workshop, "output"), before);
}

/// Killed after the result and before all records of its parts were removed.
#[test]
fn a_complete_run_with_leftovers_only_clears_them_away() {
    let workshop = Workshop::with_model();
    let predict = || workshop.predict().args(["--run-id", "r1"]).run().succeeded();
    let first = predict();
    fs::remove_file(workshop.path("output/latest.json")).unwrap();
    workshop.write("output/runs/r1/_parts/part-00001.json", "{}");
    assert_eq!(predict(), first);
    let pointer = workshop.json("output/latest.json");
    assert_eq!((&pointer["run_id"], &pointer["rows"]), (&first["run_id"], &first["rows_predicted"]));
    assert!(workshop.files("output/runs/r1/_parts").is_empty());
}

#[test]
fn a_run_that_was_interrupted_refuses_other_input() {
    let workshop = Workshop::with_model();
    let predict = || workshop.predict().args(["--run-id", "r1"]);
    predict().run().succeeded();
    // As after a kill between the parts and the manifest.
    fs::remove_file(workshop.path("output/runs/r1/manifest.json")).unwrap();
    fs::remove_file(workshop.path("output/runs/r1/result.json")).unwrap();
    write_parquet(&without(&customers(10, 1, 12), "score"), &workshop.path("customers/more.parquet"));
    predict().run().failed(4, &["input changed", "more.parquet"]);
    fs::remove_file(workshop.path("customers/more.parquet")).unwrap();
    predict().run().succeeded();
}

/// An older version may cut parts otherwise, so what it began is not gone on with; what it completed stands.
#[test]
fn a_run_of_another_version_is_returned_where_it_is_complete_and_refused_where_not() {
    let workshop = Workshop::with_model();
    let predict = || workshop.predict().args(["--run-id", "r1"]);
    let first = predict().run().succeeded();
    let plan = "output/runs/r1/plan.json";
    let mut of_another = workshop.json(plan);
    let ours = std::mem::replace(&mut of_another["program_version"], "0.0.9".into());
    workshop.write(plan, of_another.to_string());
    assert_eq!(predict().run().succeeded(), first);

    // As after a kill between the parts and the manifest.
    for file in ["manifest.json", "result.json"] {
        fs::remove_file(workshop.path(&format!("output/runs/r1/{file}"))).unwrap();
    }
    let parts = contents(&workshop, "output/predictions");
    predict().run().failed(2, &["--run-id", "0.0.9", ours.as_str().unwrap(), "use another run id"]);
    assert_eq!(contents(&workshop, "output/predictions"), parts, "nothing was written");
    of_another["program_version"] = ours;
    workshop.write(plan, of_another.to_string());
    assert_eq!(predict().run().succeeded()["rows_predicted"], first["rows_predicted"]);
}

#[test]
fn a_run_that_continues_never_switches_models() {
    let workshop = Workshop::with_model();
    let predict = || workshop.predict().args(["--run-id", "r1"]);
    let first = predict().run().succeeded();
    let part = workshop.path("output/predictions/run_id=r1/part-00000.parquet");
    let bytes = fs::read(&part).unwrap();
    for file in ["manifest.json", "result.json"] {
        fs::remove_file(workshop.path(&format!("output/runs/r1/{file}"))).unwrap();
    }
    workshop.train().args(["--model-version", "v2", "--rounds", "12", "--min-r2", "0"]).run().succeeded();
    assert_eq!(predict().run().succeeded()["model_run_id"], first["model_run_id"]);
    assert_eq!(fs::read(part).unwrap(), bytes);
    assert_eq!(workshop.predict().run().succeeded()["model_version"], "v2");
}

#[test]
fn the_same_rows_in_other_batches_give_the_same_bytes() {
    let workshop = Workshop::with_model();
    let part =
        |run: &str| fs::read(workshop.path(&format!("output/predictions/run_id={run}/part-00000.parquet"))).unwrap();
    workshop.predict().args(["--run-id", "r1"]).run().succeeded();
    let small = ["--run-id", "r2", "--batch-rows", "37"];
    workshop.predict().args(small).run().succeeded();
    let threads = super::programs().predict().folder(workshop.folder.path());
    let threads = threads.args(["--input", "customers", "--models", "models", "--output", "output", "--run-id", "r3"]);
    threads.args(["--threads", "2", "--batch-rows", "100"]).run().succeeded();
    assert_eq!(part("r1"), part("r2"));
    assert_eq!(part("r1"), part("r3"));
}

/// The folder stands, the pointers cannot move: the retry only moves them.
#[test]
fn a_training_run_whose_pointers_did_not_move_moves_them_when_it_is_repeated() {
    let workshop = Workshop::with_data();
    let blocked = workshop.path("models/engagement/latest.json");
    fs::create_dir_all(&blocked).unwrap();
    let train = || workshop.train().args(["--run-id", "r1"]).run();
    let ended = train();
    assert_ne!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(workshop.json("models/engagement/v1/r1/result.json")["event"], "result", "the folder is complete");
    let model = fs::read(workshop.path("models/engagement/v1/r1/model.ubj")).unwrap();
    fs::remove_dir(&blocked).unwrap();
    train().succeeded();
    assert_eq!(workshop.json("models/engagement/latest.json")["path"], "v1/r1");
    assert_eq!(fs::read(workshop.path("models/engagement/v1/r1/model.ubj")).unwrap(), model);
    assert!(workshop.files("models/engagement/v1/r1/_checkpoint").is_empty());
    workshop.predict().run().succeeded();
}

fn contents(workshop: &Workshop, below: &str) -> Vec<(String, Vec<u8>)> {
    let read = |file: String| {
        let bytes = fs::read(workshop.path(below).join(Path::new(&file))).unwrap();
        (file, bytes)
    };
    workshop.files(below).into_iter().map(read).collect()
}
