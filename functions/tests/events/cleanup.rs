//! pre-cleanup: what is old goes, what is young or anything else stays.

use std::time::Duration;

use serde_json::json;

use super::lambda::{Answer, Function};
use super::place::{Place, event};

#[test]
fn tables_of_earlier_runs_go_and_everything_else_stays() {
    let place = Place::new();
    let make = |name: &str| {
        place.athena.rows(&format!(
            "CREATE EXTERNAL TABLE engagement.{name} (`a` int) STORED AS PARQUET LOCATION 's3://lake/tmp/x/'"
        ));
    };
    let today = chrono::Utc::now().format("%Y%m%d%H%M").to_string();
    let of_today = format!("tmp_{today}_0a_customers");
    for table in ["tmp_202001010000_0a_customers", "tmp_forgotten", of_today.as_str(), "results"] {
        make(table);
    }
    for key in ["tmp/athena/young.csv", "models/engagement/latest.json", "results/run_id=a/0/x", "prepared/a/0/train/x"]
    {
        place.bucket.put(key, "x");
    }
    let before = place.bucket.objects("");

    let mut function = place.start("pre-cleanup");
    let answer = function.call(&event("r-1"), Duration::from_secs(55)).value();
    assert_eq!(answer, json!({"deleted_objects": 0, "deleted_bytes": 0, "dropped_tables": 2, "complete": true}));
    let tables = place.athena.tables();
    let names: Vec<&String> = tables.as_object().unwrap().keys().collect();
    assert_eq!(names, ["training", "customers", of_today.as_str(), "results"]);

    // Again, in the same process and with the same event: it looks anew.
    make("tmp_forgotten");
    let answer = function.call(&event("r-1"), Duration::from_secs(55)).value();
    assert_eq!(answer["dropped_tables"], 1);
    let mut after = place.bucket.objects("");
    after.retain(|key, _| !key.starts_with("tmp/athena/") || before.contains_key(key));
    assert_eq!(before, after);
}

#[test]
fn it_stops_in_time_and_says_so() {
    let place = Place::new();
    place.athena.hang(&["SHOW TABLES"]);
    // Three seconds before the deadline queries are stopped.
    let answer = place.start("pre-cleanup").call(&event("r-1"), Duration::from_secs(4)).value();
    assert_eq!(answer["complete"], false);
    let stopped = place.athena.queries();
    assert!(stopped.iter().any(|query| query["state"] == "CANCELLED"), "{stopped:?}");
}

#[test]
fn a_wrong_event_or_setting_has_its_name() {
    let mut place = Place::new();
    let message = place.call("pre-cleanup", &json!({"model_version": "v1"})).failed("BadSettings");
    assert_eq!(message, "the event has no run_id");
    let message = place.call("pre-cleanup", &json!({"run_id": "it's", "model_version": "v1"})).failed("BadSettings");
    assert!(message.contains("run_id"), "{message}");
    place.set("MIN_R2", "high");
    let message = place.call("pre-cleanup", &event("r-1")).failed("BadSettings");
    assert!(message.starts_with("MIN_R2"), "{message}");
}

#[test]
fn what_is_down_is_a_failed_query() {
    let place = Place::new();
    let mut variables = place.variables();
    variables.push(("AWS_ENDPOINT_URL_ATHENA".to_owned(), "http://127.0.0.1:9".to_owned()));
    variables.push(("AWS_MAX_ATTEMPTS".to_owned(), "1".to_owned()));
    let answer = Function::start("pre-cleanup", &variables).call(&event("r-1"), Duration::from_secs(55));
    assert!(matches!(&answer, Answer::Failure(name, _) if name == "QueryFailed"), "{answer:?}");
}
