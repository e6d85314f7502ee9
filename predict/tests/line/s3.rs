//! The line on an S3 server with signatures on.

use std::time::Duration;

use serde_json::Value;
use testkit::program::Invocation;
use testkit::s3::{ADMIN, READER, S3Server};
use testkit::tables::{customers, parquet_bytes, without};

use super::places::{self, Place, json};
use super::{ROWS, Workshop, programs, sample, text};

/// Of a failure that no retry can mend.
const QUICK: Duration = Duration::from_secs(20);

fn with_data(bucket: &str) -> Place {
    let place = Place::bucket(bucket);
    place.write("train/part.parquet", parquet_bytes(&customers(ROWS, 1, 7)));
    place.write("customers/part.parquet", parquet_bytes(&without(&customers(400, 100_000, 8), "score")));
    place
}

#[test]
fn a_bucket_serves_as_a_folder_does() {
    let place = with_data("line");
    let trained = place.train().args(["--run-id", "r1"]).run().succeeded();
    let location = place.location("models/engagement/v1/r1");
    assert_eq!(text(&trained, "model_location"), location);
    let models = place.files("models");
    places::assert_models_are_whole(&models);
    assert_eq!(json(&models, "engagement/latest.json")["path"], "v1/r1");
    assert_eq!(json(&models, "engagement/v1/r1/result.json"), trained);
    assert_eq!(models.len(), 9, "{:?}", models.keys());

    let predicted = place.predict().args(["--run-id", "p1"]).run().succeeded();
    assert_eq!(text(&predicted, "output_location"), place.location("output/predictions/run_id=p1"));
    let output = place.files("output");
    places::assert_predictions_are_whole(&output);
    assert_eq!(json(&output, "latest.json")["run_id"], "p1");
    assert_eq!(json(&output, "runs/p1/manifest.json")["rows_predicted"], 400);
    assert_eq!(output.len(), 8, "{:?}", output.keys());

    assert_eq!(place.train().args(["--run-id", "r1"]).run().succeeded(), trained, "complete");
    assert_eq!(place.predict().args(["--run-id", "p1"]).run().succeeded(), predicted, "complete");
    place.train().args(["--run-id", "r2", "--param", "max_depth=4"]).run().succeeded();
    place.models_command(&["promote", "v1/r1"]).run().succeeded();
    let latest: Value = json(&place.files("models"), "engagement/latest.json");
    assert_eq!((text(&latest, "path"), text(&latest, "previous")), ("v1/r1", "v1/r2"));
}

/// With rounds given: a search takes long and knows nothing of where the rows lie.
#[test]
fn the_sample_is_the_same_on_s3() {
    let place = Place::bucket("sample");
    for part in ["train", "test", "customers"] {
        for (index, file) in super::files_below(std::path::Path::new(&sample(part))).iter().enumerate() {
            place.write(&format!("data/{part}/part-{index:05}.parquet"), std::fs::read(file).unwrap());
        }
    }
    place.write("data/features.toml", std::fs::read(sample("features.toml")).unwrap());
    let here = Workshop::new();
    let local = |name: &str| name.strip_prefix("data/").map_or_else(|| here.text(name), sample);
    let remote = |name: &str| place.location(name);
    let environment = S3Server::shared().env();
    let line = |environment: &[(String, String)], at: &dyn Fn(&str) -> String| {
        let [data, test, spec, models] = ["data/train", "data/test", "data/features.toml", "models"].map(at);
        let train = programs().train().envs(environment).args(["--train-data", &data, "--test-data", &test]);
        let train = train.args(["--features", &spec, "--models", &models, "--model-version", "v1.0.0"]);
        let trained = train.args(["--rounds", "100", "--threads", "1"]).run().succeeded();
        let [input, output] = ["data/customers", "output"].map(at);
        let predict = programs().predict().envs(environment).args(["--input", &input, "--models", &models]);
        let predicted = predict.args(["--output", &output, "--columns", "SEX,AGE", "--run-id", "p1"]).run().succeeded();
        assert_eq!(predicted["rows_predicted"], 30_000);
        (trained["r2"].clone(), trained["model_sha256"].clone())
    };
    assert_eq!(line(&environment, &remote), line(&[], &local));
    let part = "predictions/run_id=p1/part-00000.parquet";
    let there = &place.files("output")[part];
    let here = here.path("output").join(part);
    assert_eq!(*there, std::fs::read(here).unwrap(), "the same bytes");
}

/// `call` ends with a setting that is wrong: at once, in one line, without a secret.
#[track_caller]
fn denied(call: Invocation, parts: &[&str]) {
    let ended = call.run();
    ended.failed(2, parts);
    assert!(ended.took < QUICK, "{:?}", ended.took);
    for secret in [ADMIN.secret, READER.secret, "not-the-secret"] {
        assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret));
    }
}

#[test]
fn what_is_denied_is_a_setting() {
    let place = with_data("denied");
    place.train().run().succeeded();
    let wrong = |call: Invocation| call.env("AWS_SECRET_ACCESS_KEY", "not-the-secret");
    denied(wrong(place.train()), &["s3://denied"]);
    denied(wrong(place.predict()), &["s3://denied"]);
    denied(place.train().env("AWS_ACCESS_KEY_ID", "AKIANOBODY"), &["s3://denied"]);
    let reader =
        |call: Invocation| call.env("AWS_ACCESS_KEY_ID", READER.id).env("AWS_SECRET_ACCESS_KEY", READER.secret);
    denied(reader(place.train()), &["s3://denied"]);
    denied(reader(place.predict()), &["s3://denied"]);
    assert!(place.files("output").is_empty());
}

#[test]
fn a_bucket_that_does_not_exist_is_a_setting() {
    let place = with_data("exists");
    place.train().run().succeeded();
    let elsewhere = |call: Invocation, flag: &str| call.args([flag, "s3://no-such-bucket/x"]);
    let server = S3Server::shared();
    let train = || programs().train().envs(&server.env()).args(["--id", "customer_id", "--target", "score"]);
    let (data, models) = (place.location("train"), place.location("models"));
    let usual = ["--model-version", "v1", "--rounds", "20", "--threads", "1"];
    denied(elsewhere(train().args(["--models", &models]), "--train-data").args(usual), &["no-such-bucket"]);
    denied(elsewhere(train().args(["--train-data", &data]), "--models").args(usual), &["no-such-bucket"]);
    let predict = || programs().predict().envs(&server.env());
    let input = place.location("customers");
    let output = place.location("output");
    denied(elsewhere(predict().args(["--models", &models, "--output", &output]), "--input"), &["no-such-bucket"]);
    denied(elsewhere(predict().args(["--models", &models, "--input", &input]), "--output"), &["no-such-bucket"]);
    denied(elsewhere(predict().args(["--input", &input, "--output", &output]), "--models"), &["no-such-bucket"]);
}

#[test]
fn an_empty_prefix_is_no_data() {
    let place = Place::bucket("nothing-here");
    place.train().run().failed(4, &["s3://nothing-here/train"]);
    let is_page = |file: &str| ["engagement/history.json", "engagement/index.html"].contains(&file);
    assert!(place.files("models").keys().all(|file| file.ends_with("/result.json") || is_page(file)));
}

#[test]
fn a_server_that_is_not_there_is_worth_a_retry() {
    let place = with_data("gone");
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    for call in [place.train(), place.predict()] {
        let ended = call.env("AWS_ENDPOINT_URL_S3", &endpoint).run();
        ended.failed(5, &["s3://gone"]);
        assert!(ended.took < Duration::from_secs(60), "{:?}", ended.took);
    }
}
