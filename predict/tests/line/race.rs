//! Two at once: neither loses its work, and pointers tell one story.

use testkit::tables::{customers, parquet_bytes, without};

use super::places::{Place, assert_models_are_whole, assert_predictions_are_whole, json};
use super::{ROWS, text};

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
    // Who came second knows who was first.
    for pointer in ["engagement/latest.json", "engagement/v1/latest.json"] {
        let pointer = json(&files, pointer);
        let other = if text(&pointer, "path") == "v1/a" { "v1/b" } else { "v1/a" };
        assert_eq!(text(&pointer, "previous"), other, "{pointer}");
    }
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
