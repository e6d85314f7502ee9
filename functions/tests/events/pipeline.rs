//! A whole run with the real programs: prepared, trained, scored, checked, joined, told of.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::program::Programs;

use super::lambda::Answer;
use super::place::{CUSTOMERS, FIRST_CUSTOMER, Place, event, event_with};

/// A run that was trained and scored.
pub(crate) struct Scored {
    pub(crate) place: Place,
    event: Value,
}

impl Scored {
    /// Prepares, trains and scores.
    pub(crate) fn new() -> Self {
        Self::of(Place::new(), "r-1")
    }

    pub(crate) fn of(place: Place, run_id: &str) -> Self {
        let locations = place.call("data-prep", &event(run_id)).value();
        let programs = Programs::beside(env!("CARGO_BIN_EXE_functions"));
        let text = |name: &str| locations[name].as_str().unwrap().to_owned();
        let s3 = place.s3.env();
        let train =
            programs.train().envs(&s3).env("TRAIN_DATA", text("train_data")).env("TEST_DATA", text("test_data"));
        let train =
            train.env("MODELS", "s3://lake/models").env("ID_COLUMN", "customer_id").env("TARGET_COLUMN", "score");
        train.args(["--model-version", "v1", "--rounds", "60", "--run-id", run_id]).run().succeeded();
        let predict =
            programs.predict().envs(&s3).env("INPUT_DATA", text("input_data")).env("OUTPUT", "s3://lake/scoring");
        let model = format!("v1/{run_id}");
        predict
            .env("MODELS", "s3://lake/models")
            .args(["--model-version", &model, "--run-id", run_id])
            .run()
            .succeeded();
        place.athena.rows(
            "CREATE EXTERNAL TABLE IF NOT EXISTS engagement.predictions (`customer_id` bigint, `prediction` double, `model_version` string) \
             PARTITIONED BY (`run_id` string) STORED AS PARQUET LOCATION 's3://lake/scoring/predictions/'",
        );
        let predictions =
            Self::partition(&place, "predictions", run_id, &format!("s3://lake/scoring/predictions/run_id={run_id}/"));
        let event = event_with(
            run_id,
            &json!({
                "locations": locations,
                "predictions": predictions,
                "training": place.bucket.json(&format!("models/engagement/v1/{run_id}/result.json")),
                "inference": place.bucket.json(&format!("scoring/runs/{run_id}/result.json")),
            }),
        );
        Self { place, event }
    }

    fn partition(place: &Place, table: &str, run_id: &str, location: &str) -> String {
        place.athena.rows(&format!(
            "ALTER TABLE engagement.{table} ADD IF NOT EXISTS PARTITION (run_id = '{run_id}') LOCATION '{location}'"
        ));
        location.to_owned()
    }

    /// What the state machine gives a function.
    pub(crate) fn event(&self, _command: &str) -> Value {
        self.event.clone()
    }

    pub(crate) fn call(&self, command: &str) -> Answer {
        self.place.call(command, &self.event)
    }

    /// What the state machine does with the answer of create-results-table.
    pub(crate) fn add_partition(&self, results: &Value) {
        let run_id = results["partition"]["run_id"].as_str().unwrap();
        Self::partition(&self.place, "results", run_id, results["location"].as_str().unwrap());
    }

    /// The same predictions as those of another run, which trained nothing.
    pub(crate) fn copy(place: &Place, event: &Value, run_id: &str) -> Value {
        let from = event["run_id"].as_str().unwrap();
        for key in place.bucket.keys(&format!("scoring/predictions/run_id={from}")) {
            place
                .bucket
                .put(&key.replace(&format!("run_id={from}"), &format!("run_id={run_id}")), place.bucket.get(&key));
        }
        let manifest = place.bucket.get(&format!("scoring/runs/{from}/manifest.json"));
        place.bucket.put(&format!("scoring/runs/{run_id}/manifest.json"), manifest);
        let mut event = event.clone();
        event["run_id"] = run_id.into();
        event["training"] = json!({"gate": "failed", "r2": 0.5});
        event["predictions"] =
            Self::partition(place, "predictions", run_id, &format!("s3://lake/scoring/predictions/run_id={run_id}/"))
                .into();
        event
    }
}

#[test]
fn a_run_is_checked_joined_and_told_of() {
    let mut scored = Scored::new();
    scored.place.set("KNOWLEDGE_BASE", "on");
    scored.place.set("SEGMENTS", "plan, member");

    let verdict = scored.call("create-qa-table").value();
    assert_eq!(
        (&verdict["passed"], &verdict["checks"], &verdict["warnings"]),
        (&json!(true), &json!(17), &json!([])),
        "{verdict}"
    );
    let athena = &scored.place.athena;
    let checks = athena.rows("SELECT \"check\", severity, passed FROM engagement.qa WHERE run_id = 'r-1'");
    assert_eq!(checks.len(), 17);
    assert!(checks.iter().all(|row| row[2].as_deref() != Some("False")), "{checks:?}");
    let samples = athena.rows(
        "SELECT quartile, count(*) FROM engagement.qa_samples WHERE run_id = 'r-1' GROUP BY quartile ORDER BY quartile",
    );
    assert_eq!(samples.len(), 4);
    assert!(samples.iter().all(|row| row[1].as_deref() == Some("100")), "{samples:?}");

    let results = scored.call("create-results-table").value();
    assert_eq!(
        results,
        json!({"rows": CUSTOMERS, "location": "s3://lake/results/run_id=r-1/0/", "partition": {"run_id": "r-1"}})
    );
    scored.add_partition(&results);
    let deciles = athena.rows("SELECT decile, count(*), count(DISTINCT customer_id), min(plan) FROM engagement.results WHERE run_id = 'r-1' AND status = 'scored' GROUP BY decile ORDER BY decile");
    assert_eq!(deciles.len(), 10);
    assert!(
        deciles.iter().all(|row| row[1].as_deref() == Some("100") && row[2].as_deref() == Some("100")),
        "{deciles:?}"
    );
    let tables = athena.tables();
    assert_eq!(tables["results_latest"]["location"], "s3://lake/results/_nothing/");
    assert!(tables.as_object().unwrap().keys().all(|name| !name.starts_with("tmp_")), "{tables}");

    let told = scored.call("update-kb").value();
    assert_eq!(told, json!({"status": "written", "documents": 7}));
    check_documents(&scored);

    let objects = scored.place.bucket.objects("");
    for (command, answer) in [("create-qa-table", &verdict), ("create-results-table", &results), ("update-kb", &told)] {
        assert_eq!(scored.call(command).value(), *answer, "{command}");
    }
    let changed = |prefix: &str| {
        let before: Vec<_> = objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(key, bytes)| (key.clone(), bytes.clone()))
            .collect();
        before != scored.place.bucket.objects(prefix).into_iter().collect::<Vec<_>>()
    };
    for prefix in ["qa/", "qa_samples/", "results/", "knowledge/", "prepared/", "scoring/", "models/"] {
        assert!(!changed(prefix), "{prefix} is not as before");
    }
    for query in scored.place.athena.queries() {
        assert_eq!((&query["problem"], &query["state"]), (&Value::Null, &json!("SUCCEEDED")), "{query}");
        // A retried INSERT doubles rows.
        let text = query["text"].as_str().unwrap().to_ascii_uppercase();
        assert!(!text.contains("INSERT ") && !text.contains("CREATE TABLE "), "{query}");
    }
}

/// No id, no least or greatest value, no small group.
fn check_documents(scored: &Scored) {
    let bucket = &scored.place.bucket;
    let keys = bucket.keys("knowledge");
    let names: Vec<&str> =
        keys.iter().map(|key| key.trim_start_matches("knowledge/")).filter(|name| name.ends_with(".md")).collect();
    assert_eq!(
        names,
        [
            "data-dictionary.md",
            "history.md",
            "model-card.md",
            "predictions.md",
            "quality.md",
            "run-summary.md",
            "segments.md"
        ]
    );
    let documents: Vec<String> = names
        .iter()
        .map(|name| String::from_utf8(bucket.get(&format!("knowledge/{name}")).to_vec()).unwrap())
        .collect();
    for (name, document) in names.iter().zip(&documents) {
        let attributes = bucket.json(&format!("knowledge/{name}.metadata.json"));
        assert_eq!(attributes["metadataAttributes"]["run_id"], "r-1");
        assert!(document.starts_with("# ") && document.lines().count() > 4, "{document}");
    }
    let all = documents.join("\n");
    let numbers: BTreeSet<&str> =
        all.split(|character: char| !character.is_ascii_digit() && character != '.' && character != '-').collect();
    let ids = (FIRST_CUSTOMER..FIRST_CUSTOMER + CUSTOMERS).map(|id| id.to_string());
    let told: Vec<String> = ids.filter(|id| numbers.contains(id.as_str())).collect();
    assert!(told.is_empty(), "ids are told of: {told:?}");
    let extremes = scored
        .place
        .athena
        .rows("SELECT min(prediction), max(prediction) FROM engagement.results WHERE run_id = 'r-1'")
        .remove(0);
    for extreme in extremes.into_iter().flatten() {
        let extreme: f64 = extreme.parse().unwrap();
        for text in [format!("{extreme:.1}"), format!("{extreme:.2}"), extreme.to_string()] {
            assert!(!numbers.contains(text.as_str()), "{text} is told of");
        }
    }
    let segments = &documents[6];
    for level in ["basic", "family", "premium", "student", "(missing)"] {
        assert!(segments.contains(&format!("| {level} |")), "{segments}");
    }
    assert!(documents[2].contains("| spend |"), "{}", documents[2]);
}

#[test]
fn the_knowledge_base_may_be_off() {
    let place = Place::new();
    assert_eq!(place.call("update-kb", &event("r-1")).value(), json!({"status": "off", "documents": 0}));
}

#[test]
fn inference_prep_says_whether_a_run_would_work() {
    let place = Place::new();
    let locations = place.call("data-prep", &event("r-1")).value();
    let event_of = |run_id: &str| event_with(run_id, &json!({"locations": locations}));
    let report = place.call("inference-prep", &event_of("r-1")).value();
    assert_eq!((&report["model"], &report["ready"], &report["exit_code"]), (&Value::Null, &json!(false), &json!(0)));
    let mut scored = Scored::of(place, "r-2");
    let mut function = scored.place.start("inference-prep");
    let mut call = |event: &Value| function.call(event, std::time::Duration::from_secs(55)).value();
    let report = call(&event_of("r-3"));
    assert_eq!(
        (&report["model"], &report["ready"], &report["rows"]),
        (&json!("v1/r-2"), &json!(true), &json!(CUSTOMERS))
    );
    assert_eq!(scored.place.bucket.json("scoring/runs/r-3/prepare.json"), report);
    assert_eq!(call(&event_of("r-3")), report);

    // One process serves one event after the other; customers that do not fit are an answer.
    scored.place.bucket.put("other/part.csv", "customer_id\n1\n");
    let report = call(&event_with("r-4", &json!({"locations": {"input_data": "s3://lake/other/"}})));
    assert_eq!((&report["ready"], &report["exit_code"]), (&json!(false), &json!(4)));

    // What the scoring will be asked for is asked here too: this model was trained without rows that calibrate intervals.
    let with = |run_id: &str, variables: &[(&str, &str)]| {
        let variables: Vec<Value> =
            variables.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
        event_with(run_id, &json!({"locations": locations, "variables": variables}))
    };
    let report = call(&with("r-6", &[("INTERVAL", "0.9"), ("ROUNDS", "3")]));
    assert_eq!((&report["ready"], &report["exit_code"]), (&json!(false), &json!(6)), "{report}");
    assert!(report["error_message"].as_str().unwrap().contains("the model has no intervals"), "{report}");
    let plan = |report: &Value| report["memory"]["total_bytes"].as_u64().unwrap();
    let without = call(&with("r-7", &[("INTERVAL", "0.9"), ("INTERVAL", "")]));
    let explained = call(&with("r-8", &[("REASONS", "3"), ("REASONS_WHERE", "prediction < 0.5")]));
    assert_eq!((&without["ready"], &explained["ready"]), (&json!(true), &json!(true)), "{without} {explained}");
    assert!(plan(&explained) > plan(&without), "{explained} {without}");
    let log = function.log();
    assert!(log.contains("\"run_id\":\"r-3\"") && log.contains("\"run_id\":\"r-4\""), "{log}");
    drop(function);
    scored.place.set("INTERVAL", "0.9");
    let report = scored.place.call("inference-prep", &event_of("r-9")).value();
    assert_eq!((&report["ready"], &report["exit_code"]), (&json!(false), &json!(6)), "{report}");
    let report = scored.place.call("inference-prep", &with("r-10", &[("INTERVAL", "")])).value();
    assert_eq!(report["ready"], json!(true), "{report}");
    let message = scored.place.call("inference-prep", &with("r-11", &[("REASONS", "many")])).failed("BadSettings");
    assert!(message.contains("--reasons"), "{message}");
    scored.place.set("MODELS", "s3://lake-of-nobody/models");
    let message = scored.place.call("inference-prep", &event_of("r-5")).failed("BadSettings");
    assert!(message.contains("lake-of-nobody"), "{message}");
}

#[test]
fn predictions_that_are_wrong_fail_the_checks_and_leave_them_behind() {
    let scored = Scored::new();
    let mut event = scored.event("create-qa-table");
    event["inference"]["rows_predicted"] = json!(999);
    let failed = scored.place.call("create-qa-table", &event);
    let message = failed.clone().failed("QualityFailed");
    assert!(message.contains("rows_match_result: 1000, expected 999"), "{message}");
    assert!(message.contains("s3://lake/qa/run_id=r-1/"), "{message}");
    let found = scored.place.athena.rows("SELECT count(*) FROM engagement.qa WHERE run_id = 'r-1' AND NOT passed");
    assert_eq!(found, [[Some("2".to_owned())]]);
    assert_eq!(scored.place.call("create-qa-table", &event), failed);

    // And customers without a prediction are no results.
    event["inference"]["rows_predicted"] = json!(1001);
    let message = scored.place.call("create-results-table", &event).failed("ResultsIncomplete");
    assert!(message.contains("1000 customers have a prediction, but predict made 1001"), "{message}");

    // Nor are more rows than customers: here each has two predictions.
    let place = &scored.place;
    let event = Scored::copy(place, &scored.event("create-results-table"), "r-2");
    for key in place.bucket.keys("scoring/predictions/run_id=r-2") {
        place.bucket.put(&key.replace("part-", "part-9"), place.bucket.get(&key));
    }
    let message = place.call("create-results-table", &event).failed("ResultsIncomplete");
    assert!(message.contains("2000 rows joined and 2000 written, but 1000 customers"), "{message}");
    assert!(place.bucket.keys("results/run_id=r-2").iter().all(|key| !key.ends_with("_manifest.json")));
}

#[test]
fn results_take_new_columns_and_refuse_other_types() {
    let scored = Scored::new();
    scored.call("create-results-table").value();
    let place = &scored.place;
    let base = scored.event("create-results-table");
    let with_customers = |run_id: &str, sql: &str| {
        place.bucket.put("config/customers.sql", sql.to_owned());
        let locations = place.call("data-prep", &event(run_id)).value();
        let mut event = Scored::copy(place, &base, run_id);
        event["locations"] = locations;
        place.call("create-results-table", &event)
    };
    let answer = with_customers("r-2", "SELECT *, 'x' AS status, 1 AS prediction FROM engagement.customers").value();
    scored.add_partition(&answer);
    let columns = place.athena.tables()["results"]["columns"].clone();
    let names: Vec<&str> = columns.as_array().unwrap().iter().map(|column| column[0].as_str().unwrap()).collect();
    assert!(names.ends_with(&["status", "customer_status", "customer_prediction"]), "{names:?}");
    let found = place.athena.rows(
        "SELECT DISTINCT status, customer_status, customer_prediction FROM engagement.results WHERE run_id = 'r-2'",
    );
    assert_eq!(found, [["scored", "x", "1"].map(|cell| Some(cell.to_owned()))]);
    let message = with_customers("r-3", "SELECT *, 7 AS status FROM engagement.customers").failed("BadSettings");
    assert!(message.contains("\"customer_status\""), "{message}");
}
