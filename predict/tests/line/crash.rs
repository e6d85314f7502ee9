//! Killed at any moment: what is published is complete, and the same run id finishes the rest with the same bytes.

use std::time::Duration;

use testkit::program::{Ended, Invocation};
use testkit::random::Random;
use testkit::tables::{customers, parquet_bytes, without};

use super::places::{Files, Place, assert_models_are_whole, assert_predictions_are_whole, json};

/// More than one part of predictions: the first file has two row groups, which together fill a part.
const MANY: usize = FIRST_FILE + 30_000;
const FIRST_FILE: usize = 530_000;

fn write_many(place: &Place) {
    let files = [("part-0", FIRST_FILE, 1), ("part-1", MANY - FIRST_FILE, FIRST_FILE as i64 + 1)];
    for (name, rows, first_id) in files {
        let table = without(&customers(rows, first_id, 8), "score");
        place.write(&format!("customers/{name}.parquet"), parquet_bytes(&table));
    }
}

fn with_training_data(place: Place, rows: usize) -> Place {
    place.write("train/part.parquet", parquet_bytes(&customers(rows, 1, 7)));
    place
}

/// Kills `run` at seeded moments of its usual duration. `check` looks at what a kill left; `finish` at what the same run id came
/// to afterwards.
fn kill_often(
    seed: u64,
    kills: usize,
    usual: Duration,
    run: impl Fn(&str) -> Invocation,
    check: impl Fn(),
    finish: impl Fn(&str, &Ended),
) {
    let mut random = Random::new(seed);
    let mut killed = 0;
    for attempt in 0..kills {
        let run_id = format!("killed-{attempt}");
        // One moment in each slice of the run, so that all of it is hit.
        let moment = usual.mul_f64((attempt as f64 + random.share()) / kills as f64);
        let ended = run(&run_id).start().kill_after(moment);
        killed += usize::from(ended.status.code().is_none());
        check();
        let continued = run(&run_id).run();
        continued.succeeded();
        finish(&run_id, &continued);
        check();
    }
    assert!(killed > 0, "none of {kills} runs was under way when it was to be killed");
}

/// How long a run takes that nothing disturbs; the first may find cold caches.
fn shortest(run: &impl Fn(&str) -> Invocation) -> Duration {
    let took = ["cold", "undisturbed"].map(|run_id| {
        let ended = run(run_id).run();
        ended.succeeded();
        ended.took
    });
    took[0].min(took[1])
}

fn kill_training(place: &Place, seed: u64, kills: usize) {
    let train = |run_id: &str| place.train().args(["--run-id", run_id]);
    let usual = shortest(&train);
    let model = |files: &Files, run_id: &str| files[&format!("engagement/v1/{run_id}/model.ubj")].clone();
    let expected = model(&place.files("models"), "undisturbed");
    let check = || assert_models_are_whole(&place.files("models"));
    kill_often(seed, kills, usual, train, check, |run_id, _| {
        let files = place.files("models");
        assert_eq!(model(&files, run_id), expected, "{run_id}: the same bytes");
        for pointer in ["engagement/latest.json", "engagement/v1/latest.json"] {
            assert_eq!(json(&files, pointer)["run_id"], run_id);
        }
        let leftover = files.keys().find(|file| file.contains(run_id) && file.contains("/_"));
        assert_eq!(leftover, None);
    });
}

fn kill_predicting(place: &Place, seed: u64, kills: usize) {
    write_many(place);
    let predict = |run_id: &str| place.predict().args(["--run-id", run_id, "--reasons", "1"]);
    let usual = shortest(&predict);
    let parts = |files: &Files, run_id: &str| {
        let folder = format!("predictions/run_id={run_id}/");
        let parts =
            files.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(&folder)?.to_owned(), bytes.clone())));
        parts.collect::<Files>()
    };
    let expected = parts(&place.files("output"), "undisturbed");
    assert_eq!(expected.len(), 2);
    let check = || assert_predictions_are_whole(&place.files("output"));
    kill_often(seed, kills, usual, predict, check, |run_id, ended| {
        let files = place.files("output");
        assert!(parts(&files, run_id) == expected, "{run_id}: the same bytes");
        assert_eq!(json(&files, "latest.json")["run_id"], run_id);
        let manifest = json(&files, &format!("runs/{run_id}/manifest.json"));
        assert_eq!((&manifest["rows_read"], &manifest["rows_predicted"]), (&MANY.into(), &MANY.into()));
        // Those of parts that an earlier attempt finished, too.
        assert_eq!((&ended.last()["rows_predicted"], &ended.last()["rows_explained"]), (&MANY.into(), &MANY.into()));
        let leftover = files.keys().find(|file| file.contains(run_id) && file.contains("/_"));
        assert_eq!(leftover, None);
    });
}

#[test]
fn killed_on_a_local_folder() {
    let place = with_training_data(Place::local(), 20_000);
    kill_training(&place, 1, 6);
    kill_predicting(&place, 2, 6);
}

#[test]
fn killed_on_s3() {
    let place = with_training_data(Place::bucket("killed"), 10_000);
    kill_training(&place, 3, 2);
    kill_predicting(&place, 4, 2);
}

/// SIGTERM: 143 in time, a failure that says how to go on, and a run that goes on.
#[test]
fn stopped_runs_say_so_and_continue() {
    let place = with_training_data(Place::local(), 20_000);
    let train = |run_id: &str| place.train().args(["--run-id", run_id]);
    let usual = train("undisturbed").run();
    usual.succeeded();
    let stopped = stop(usual.took, |run_id| train(&format!("train-{run_id}")));
    let files = place.files("models");
    assert_models_are_whole(&files);
    assert_eq!(json(&files, &format!("engagement/v1/train-{stopped}/result.json"))["exit_code"], 143);
    train(&format!("train-{stopped}")).run().succeeded();
    let files = place.files("models");
    let model = |run_id: &str| &files[&format!("engagement/v1/{run_id}/model.ubj")];
    assert_eq!(model(&format!("train-{stopped}")), model("undisturbed"));

    write_many(&place);
    let predict = |run_id: &str| place.predict().args(["--run-id", run_id]);
    let usual = predict("undisturbed").run();
    usual.succeeded();
    let stopped = stop(usual.took, predict);
    let files = place.files("output");
    assert_predictions_are_whole(&files);
    assert!(!files.contains_key(&format!("runs/{stopped}/manifest.json")));
    assert_eq!(json(&files, &format!("runs/{stopped}/result.json"))["exit_code"], 143);
    assert_eq!(predict(&stopped).run().succeeded()["rows_predicted"], MANY);
    assert_predictions_are_whole(&place.files("output"));
}

/// Stops runs at ever earlier moments until one was still under way; gives its id.
fn stop(usual: Duration, run: impl Fn(&str) -> Invocation) -> String {
    for (attempt, share) in [0.6, 0.45, 0.35, 0.25, 0.15].into_iter().enumerate() {
        let run_id = format!("stopped-{attempt}");
        let moment = usual.mul_f64(share);
        let ended = run(&run_id).start().terminate_after(moment);
        if ended.status.code() == Some(0) {
            continue;
        }
        ended.failed(143, &["SIGTERM", "run again with --run-id", &run_id]);
        assert!(ended.took < moment + Duration::from_secs(5), "{:?}", ended.took);
        return run_id;
    }
    panic!("every run ended before it was stopped");
}
