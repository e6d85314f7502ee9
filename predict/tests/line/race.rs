//! Two at once: neither loses its work, and pointers tell one story.

use std::sync::{Arc, Mutex};

use testkit::faults::FaultProxy;
use testkit::program::Invocation;
use testkit::s3::S3Server;
use testkit::tables::{customers, parquet_bytes, without};

use super::places::{Place, assert_models_are_whole, assert_predictions_are_whole, json};
use super::{ROWS, sha256, text};

fn two_publishers(place: &Place) {
    place.write("train/part.parquet", parquet_bytes(&customers(ROWS, 1, 7)));
    let runs = ["a", "b"].map(|run_id| place.train().args(["--run-id", run_id]).start());
    let results = runs.map(|run| run.wait().succeeded());
    let files = place.files("models");
    assert_models_are_whole(&files);
    for result in &results {
        let run_id = text(result, "run_id");
        assert_eq!(&json(&files, &format!("engagement/v1/{run_id}/result.json")), result);
    }
    // The one that was complete last is named, and knows the other one if that was named before.
    let completed_at =
        |run: &str| text(&json(&files, &format!("engagement/v1/{run}/result.json")), "completed_at").to_owned();
    let (last, first) = if completed_at("a") > completed_at("b") { ("v1/a", "v1/b") } else { ("v1/b", "v1/a") };
    for pointer in ["engagement/latest.json", "engagement/v1/latest.json"] {
        let pointer = json(&files, pointer);
        assert_eq!(text(&pointer, "path"), last, "{pointer}");
        assert!(pointer["previous"].is_null() || pointer["previous"] == first, "{pointer}");
    }
}

/// An attempt that was thought dead goes on after its retry has ended, at every moment at which it writes: both end with one result,
/// and what the pointers name is whole.
fn an_orphan_and_its_retry(place: &Arc<Place>, program: Program, object: &'static str) {
    let run_id = format!("{}-{}", program.name(), object.replace(['/', '.', '_'], "-").trim_matches('-'));
    let call = {
        let (place, run_id) = (Arc::clone(place), run_id.clone());
        move || program.of(&place).args(["--run-id", run_id.as_str()])
    };
    let (retry, retried) = (call.clone(), Arc::new(Mutex::new(None)));
    let result = Arc::clone(&retried);
    let proxy = FaultProxy::before(&S3Server::shared(), move |request| {
        let mut result = result.lock().unwrap();
        if result.is_none() && request.method == "PUT" && request.path.ends_with(object) {
            *result = Some(retry().run().succeeded());
        }
        None
    });
    let orphan = call().env("AWS_ENDPOINT_URL_S3", proxy.endpoint()).run().succeeded();
    let retried = retried.lock().unwrap().take();
    let retried = retried.unwrap_or_else(|| panic!("{object} was never written: {}", proxy.story()));
    assert_eq!(orphan, retried, "{object}");
    assert_eq!(call().run().succeeded(), retried, "{object}");
    let (models, output) = (place.files("models"), place.files("output"));
    assert_models_are_whole(&models);
    assert_predictions_are_whole(&output);
    let folder = program.folder(&run_id);
    let (files, pointer) = match program {
        Program::Train => (&models, json(&models, "engagement/latest.json")),
        Program::Predict => (&output, json(&output, "latest.json")),
    };
    assert_eq!(pointer["run_id"], run_id.as_str(), "{object}");
    assert_eq!(json(files, &format!("{folder}/result.json")), retried, "{object}");
    for (name, hash) in retried["files"].as_object().unwrap() {
        assert_eq!(sha256(&files[&format!("{folder}/{name}")]), hash.as_str().unwrap(), "{object}: {name}");
    }
    let left =
        files.keys().find(|key| key.contains(&run_id) && (key.contains("_checkpoint") || key.contains("_parts")));
    assert_eq!(left, None, "{object}");
}

#[derive(Debug, Clone, Copy)]
enum Program {
    Train,
    Predict,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Predict => "predict",
        }
    }

    fn of(self, place: &Place) -> Invocation {
        match self {
            Self::Train => place.train(),
            Self::Predict => place.predict(),
        }
    }

    fn folder(self, run_id: &str) -> String {
        match self {
            Self::Train => format!("engagement/v1/{run_id}"),
            Self::Predict => format!("runs/{run_id}"),
        }
    }
}

#[test]
fn an_attempt_that_was_held_up_changes_nothing_about_a_complete_run() {
    let place = Arc::new(Place::bucket("orphan"));
    place.write("train/part.parquet", parquet_bytes(&customers(ROWS, 1, 7)));
    place.write("customers/part.parquet", parquet_bytes(&without(&customers(400, 100_000, 8), "score")));
    let of_train = [
        "/_checkpoint/plan.json",
        "/_checkpoint/commit",
        "/model.ubj",
        "/metadata.json",
        "/metrics.json",
        "/report.html",
        "/result.json",
        "/v1/latest.json",
        "/engagement/latest.json",
    ];
    for object in of_train {
        an_orphan_and_its_retry(&place, Program::Train, object);
    }
    let of_predict = [
        "/plan.json",
        "/part-00000.parquet",
        "/_parts/commit",
        "/manifest.json",
        "/report.html",
        "/result.json",
        "/output/latest.json",
    ];
    for object in of_predict {
        an_orphan_and_its_retry(&place, Program::Predict, object);
    }
}

/// A run id that is repeated long after, when another model is `latest` or an older one was promoted, moves no pointer.
#[test]
fn a_repeated_run_id_takes_no_pointer_back() {
    let place = Place::local();
    place.write("train/part.parquet", parquet_bytes(&customers(ROWS, 1, 7)));
    let train = |run_id: &str| place.train().args(["--run-id", run_id]).run().succeeded();
    let latest = || text(&json(&place.files("models"), "engagement/latest.json"), "run_id").to_owned();
    train("first");
    train("second");
    // As if the first had been killed between its result and the pointers, and nobody had looked since.
    place.write("models/engagement/v1/first/_checkpoint/left", b"x".to_vec());
    train("first");
    assert_eq!(latest(), "second");
    place.models_command(&["promote", "v1/first"]).run().succeeded();
    assert_eq!(latest(), "first");
    place.write("models/engagement/v1/second/_checkpoint/left", b"x".to_vec());
    train("second");
    assert_eq!(latest(), "first", "a promotion is not undone");
}

fn two_scorers(place: &Place) {
    place.write("customers/part.parquet", parquet_bytes(&without(&customers(400, 100_000, 8), "score")));
    let runs = ["a", "b"].map(|run_id| place.predict().args(["--run-id", run_id]).start());
    runs.into_iter().for_each(|run| assert_eq!(run.wait().succeeded()["rows_predicted"], 400));
    // The same run twice at once: both come to the same, whoever writes last.
    let twice = [0, 1].map(|_| place.predict().args(["--run-id", "c"]).start());
    twice.into_iter().for_each(|run| assert_eq!(run.wait().succeeded()["rows_predicted"], 400));
    let files = place.files("output");
    assert_predictions_are_whole(&files);
    for run_id in ["a", "b", "c"] {
        assert_eq!(json(&files, &format!("runs/{run_id}/manifest.json"))["rows_predicted"], 400);
    }
}

#[test]
fn two_at_once_on_a_local_folder() {
    let place = Place::local();
    two_publishers(&place);
    two_scorers(&place);
}

#[test]
fn two_at_once_on_s3() {
    let place = Place::bucket("race");
    two_publishers(&place);
    two_scorers(&place);
}
