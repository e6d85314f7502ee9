//! data-prep: two SELECTs become three folders of Parquet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::lambda::Answer;
use super::place::{CUSTOMERS, Place, TRAINING_ROWS, event};

/// The ids of a folder of Parquet.
fn ids(place: &Place, location: &Value) -> BTreeSet<String> {
    let key = location.as_str().unwrap().trim_start_matches("s3://lake/");
    place.athena.rows("DROP TABLE IF EXISTS engagement.looked_at");
    place.athena.rows(&format!(
        "CREATE EXTERNAL TABLE engagement.looked_at (`customer_id` bigint) STORED AS PARQUET LOCATION 's3://lake/{key}'"
    ));
    let rows = place.athena.rows("SELECT customer_id FROM engagement.looked_at");
    rows.into_iter().map(|mut row| row.remove(0).unwrap()).collect()
}

fn rows(answer: &Value) -> [u64; 3] {
    ["train", "test", "customers"].map(|part| answer["rows"][part].as_u64().unwrap())
}

#[test]
fn a_run_is_prepared_once_and_split_the_same_for_weeks() {
    let mut place = Place::new();
    place.set("REUSE_HOURS", "0");
    let answer = place.call("data-prep", &event("r-1")).value();
    let [train, test, customers] = rows(&answer);
    assert_eq!((train + test, customers), (TRAINING_ROWS as u64, CUSTOMERS as u64));
    assert!((500..700).contains(&test), "a fifth is held out, not {test}");
    assert_eq!(answer["input_data"], "s3://lake/prepared/r-1/0/customers/");
    assert_eq!((&answer["actuals"], &answer["reused_from"]), (&Value::Null, &Value::Null));
    assert!(answer["bytes_scanned"].as_u64().unwrap() > 0);
    let (trained, held_out) = (ids(&place, &answer["train_data"]), ids(&place, &answer["test_data"]));
    assert!(trained.is_disjoint(&held_out));

    let objects = place.bucket.objects("prepared/");
    assert_eq!(place.call("data-prep", &event("r-1")).value(), answer);
    assert_eq!(place.bucket.objects("prepared/"), objects);

    // The next week's rows are others, but a customer stays on one side.
    let later = place.call("data-prep", &event("r-2")).value();
    assert_eq!(ids(&place, &later["test_data"]), held_out);
    place.set("SPLIT_SALT", "other");
    let salted = place.call("data-prep", &event("r-3")).value();
    assert_ne!(ids(&place, &salted["test_data"]), held_out);
    for query in place.athena.queries() {
        assert_eq!(query["problem"], Value::Null, "{query}");
    }
}

#[test]
fn no_share_held_out_is_no_split() {
    let mut place = Place::new();
    place.set("TEST_FRACTION", "0");
    let answer = place.call("data-prep", &event("r-1")).value();
    assert_eq!((&answer["test_data"], rows(&answer)), (&json!(""), [TRAINING_ROWS as u64, 0, CUSTOMERS as u64]));
}

#[test]
fn rows_that_are_validated_by_time_or_group_are_left_to_train() {
    let mut place = Place::new();
    let all = [TRAINING_ROWS as u64, 0, CUSTOMERS as u64];
    let split = place.call("data-prep", &event("r-0")).value();
    assert_ne!(rows(&split), all);
    place.set("TIME_COLUMN", "since");
    let answer = place.call("data-prep", &event("r-1")).value();
    assert_eq!((&answer["test_data"], rows(&answer)), (&json!(""), all));
    assert_eq!(answer["reused_from"], Value::Null, "what was split is other data");
    place.set("TIME_COLUMN", "plan");
    let message = place.call("data-prep", &event("r-2")).failed("BadSettings");
    assert!(message.contains("\"plan\" (varchar) puts rows in order"), "{message}");

    // The same by the spec. The column of groups is no feature, so customers need none.
    place.set("TIME_COLUMN", "");
    place.bucket.put("config/features.toml", "[validation]\ngroup = \"plan\"\n");
    place.set("FEATURES", "s3://lake/config/features.toml");
    place
        .bucket
        .put("config/customers.sql", "SELECT customer_id, spend, visits, member, since FROM engagement.customers");
    let answer = place.call("data-prep", &event("r-3")).value();
    assert_eq!((&answer["test_data"], rows(&answer)), (&json!(""), all));
}

#[test]
fn the_same_sql_is_used_again_while_its_objects_stand() {
    let place = Place::new();
    let first = place.call("data-prep", &event("r-1")).value();
    let again = place.call("data-prep", &event("r-2")).value();
    assert_eq!((&again["reused_from"], &again["bytes_scanned"]), (&json!("r-1"), &json!(0)));
    assert_eq!((&again["train_data"], &again["rows"]), (&first["train_data"], &first["rows"]));
    assert_eq!(place.call("data-prep", &event("r-2")).value(), again);

    let object = place.bucket.keys("prepared/r-1/0/test").remove(0);
    let content = place.bucket.get(&object);
    place.bucket.delete(&object);
    let anew = place.call("data-prep", &event("r-3")).value();
    assert_eq!((&anew["reused_from"], &anew["rows"]), (&Value::Null, &first["rows"]));
    place.bucket.put(&object, content);

    // Other SQL is other data; so is a SELECT that names the run.
    place.bucket.put("config/customers.sql", "SELECT * FROM engagement.customers WHERE '{{run_id}}' <> '{{run_date}}'");
    assert_eq!(place.call("data-prep", &event("r-4")).value()["reused_from"], Value::Null);
    assert_eq!(place.call("data-prep", &event("r-5")).value()["reused_from"], Value::Null);
}

/// A run of `predict`, as far as data-prep looks at it.
fn predicted(place: &Place, run_id: &str, days_ago: i64, result: &Value) {
    let completed_at = chrono::Utc::now() - chrono::TimeDelta::days(days_ago);
    let mut all = json!({"event": "result", "run_id": run_id, "completed_at": completed_at.to_rfc3339(), "files": {}});
    all.as_object_mut().unwrap().extend(result.as_object().unwrap().clone());
    place.bucket.put(&format!("scoring/runs/{run_id}/result.json"), all.to_string());
}

#[test]
fn what_happened_since_the_newest_run_that_is_old_enough_is_prepared() {
    let mut place = Place::new();
    let nothing = json!({});
    predicted(&place, "too-old", 40, &nothing);
    predicted(&place, "newest-old-enough", 15, &nothing);
    predicted(&place, "failed", 14, &json!({"event": "failure", "exit_code": 4}));
    predicted(&place, "too-new", 13, &nothing);
    place.bucket.put("scoring/runs/damaged/result.json", "[1");
    let actuals =
        "SELECT customer_id, score FROM engagement.training WHERE '{{evaluated_run_id}}' = 'newest-old-enough'";
    place.bucket.put("config/actuals.sql", actuals);
    // Off by default, and without the file.
    assert_eq!(place.call("data-prep", &event("r-0")).value()["actuals"], Value::Null);
    place.set("EVALUATE_AFTER_DAYS", "14");
    let answer = place.call("data-prep", &event("r-1")).value();
    assert_eq!(answer["reused_from"], "r-0", "the other parts are what they were");
    assert_eq!(
        answer["actuals"],
        json!({"run_id": "newest-old-enough", "location": "s3://lake/prepared/r-1/0/actuals/"})
    );
    assert!(answer["bytes_scanned"].as_u64().unwrap() > 0);
    assert_eq!(ids(&place, &answer["actuals"]["location"]).len(), TRAINING_ROWS);
    assert_eq!(place.call("data-prep", &event("r-1")).value(), answer);

    // No rows, no file, no run that old: nothing is evaluated, and nothing fails.
    place.set("REUSE_HOURS", "0");
    let without = |place: &Place, run_id: &str| {
        let answer = place.call("data-prep", &event(run_id)).value();
        assert_eq!((&answer["actuals"], rows(&answer)[2]), (&Value::Null, CUSTOMERS as u64), "{run_id}");
    };
    place.bucket.put("config/actuals.sql", format!("{actuals} AND score > 1e9"));
    without(&place, "r-2");
    place.bucket.delete("config/actuals.sql");
    without(&place, "r-3");
    place.bucket.put("config/actuals.sql", actuals);
    place.set("EVALUATE_AFTER_DAYS", "100");
    without(&place, "r-4");

    // What cannot be run is named like the other two.
    place.set("EVALUATE_AFTER_DAYS", "14");
    for (sql, said) in [
        ("SELECT customer_id FROM engagement.training", "actuals.sql has no column \"score\""),
        (
            "SELECT * FROM engagement.training WHERE '{{run}}' = ''",
            "config/actuals.sql, line 1, column 42: there is no {{run}}",
        ),
        ("SELECT customer_id, plan AS score FROM engagement.training", "is what was predicted, and must be a number"),
    ] {
        place.bucket.put("config/actuals.sql", sql);
        let message = place.call("data-prep", &event("r-5")).failed("BadSettings");
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn what_cannot_be_run_is_named_with_its_place() {
    let place = Place::new();
    let refused = |training: &str, customers: &str| {
        place.bucket.put("config/training.sql", training.to_owned());
        place.bucket.put("config/customers.sql", customers.to_owned());
        place.call("data-prep", &event("r-1")).failed("BadSettings")
    };
    let (training, customers) = ("SELECT * FROM engagement.training", "SELECT * FROM engagement.customers");
    for (training, customers, said) in [
        ("SELECT *\nFORM engagement.training WHERE", customers, "s3://lake/config/training.sql, line 2"),
        (training, "SELECT 1) TO 's3://lake/x/' --", "s3://lake/config/customers.sql, line 1, column 9"),
        (training, "SELECT * FROM engagement.nothing", "s3://lake/config/customers.sql, line 1"),
        ("SELECT customer_id FROM engagement.training", customers, "training.sql has no column \"score\""),
        (training, "SELECT spend FROM engagement.customers", "customers.sql has no column \"customer_id\""),
        (training, "SELECT customer_id, spend FROM engagement.customers", "has no column \"visits\", which"),
    ] {
        let message = refused(training, customers);
        assert!(message.contains(said), "{message}");
    }
    assert!(place.bucket.keys("prepared/r-1/0").is_empty(), "nothing was written");
    place.bucket.delete("config/customers.sql");
    let message = place.call("data-prep", &event("r-1")).failed("BadSettings");
    assert!(message.contains("s3://lake/config/customers.sql does not exist"), "{message}");

    // The same run goes on once that is mended.
    place.bucket.put("config/training.sql", training);
    place.bucket.put("config/customers.sql", customers);
    assert_eq!(rows(&place.call("data-prep", &event("r-1")).value())[2], CUSTOMERS as u64);
}

#[test]
fn a_failed_query_is_tried_again_in_another_folder() {
    let mut place = Place::new();
    place.set("REUSE_HOURS", "0");
    place.athena.fail("/test/", "GENERIC_INTERNAL_ERROR: a worker was lost", true);
    let message = place.call("data-prep", &event("r-1")).failed("QueryFailed");
    assert!(message.contains("preparing test") && message.contains("a worker was lost"), "{message}");
    assert!(!place.bucket.keys("prepared/r-1/0/test").is_empty(), "a failed UNLOAD leaves files");
    let answer = place.call("data-prep", &event("r-1")).value();
    assert_eq!(answer["train_data"], "s3://lake/prepared/r-1/0/train/");
    assert_eq!(answer["test_data"], "s3://lake/prepared/r-1/1/test/");
    let unloads = |name: &str| {
        place
            .athena
            .queries()
            .iter()
            .filter(|query| query["text"].as_str().unwrap().contains(&format!("/{name}/'")))
            .count()
    };
    assert_eq!((unloads("train"), unloads("test")), (1, 2), "what had succeeded was joined");

    // Files of nobody in the folder are passed by, too.
    place.bucket.put("prepared/r-2/0/train/foreign", "x");
    let answer = place.call("data-prep", &event("r-2")).value();
    assert_eq!(answer["train_data"], "s3://lake/prepared/r-2/1/train/");
}

#[test]
fn a_query_that_takes_too_long_is_stopped_and_goes_on_later() {
    let place = Place::new();
    place.athena.hang(&["/train/'", "/customers/'"]);
    let mut function = place.start("data-prep");
    let answer = function.call(&event("r-1"), Duration::from_secs(8));
    let message = match answer {
        Answer::Failure(name, message) if name == "OutOfTime" => message,
        other => panic!("{other:?}: {}", function.log()),
    };
    assert!(message.contains("was stopped"), "{message}");
    let mut states = BTreeMap::new();
    for query in place.athena.queries() {
        *states.entry(query["state"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(states.get("CANCELLED"), Some(&2), "{states:?}");
    assert_eq!(states.get("RUNNING"), None, "{states:?}");
    place.athena.hang(&[]);
    let answer = function.call(&event("r-1"), Duration::from_secs(175)).value();
    assert_eq!(answer["train_data"], "s3://lake/prepared/r-1/1/train/");
    assert_eq!(answer["test_data"], "s3://lake/prepared/r-1/0/test/");
}

#[test]
fn no_rows_or_far_fewer_than_last_time_are_empty_data() {
    let mut place = Place::new();
    place.call("data-prep", &event("r-1")).value();
    place.bucket.put("config/customers.sql", "SELECT * FROM engagement.customers WHERE customer_id < 5000401");
    let message = place.call("data-prep", &event("r-2")).failed("EmptyData");
    assert!(message.contains("gave 400 rows, run r-1 had 1000"), "{message}");
    place.bucket.put("config/customers.sql", "SELECT * FROM engagement.customers WHERE customer_id < 0");
    let message = place.call("data-prep", &event("r-3")).failed("EmptyData");
    assert!(message.contains("customers: config/customers.sql gave no rows"), "{message}");
    place.set("MIN_ROWS_FRACTION", "0");
    place.bucket.put("config/customers.sql", "SELECT * FROM engagement.customers WHERE customer_id < 5000401");
    assert_eq!(rows(&place.call("data-prep", &event("r-2")).value())[2], 400);
}
