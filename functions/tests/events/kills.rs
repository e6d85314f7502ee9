//! Functions that are killed at every write and at every query, and called again with the same event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::faults::{Fault, FaultProxy, Request};

use super::lambda::Answer;
use super::pipeline::Scored;
use super::place::{Place, event, event_with};

/// More moments than any function has.
const MOST: usize = 40;

/// Where a process is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// At its so-manieth write to S3, which does not arrive.
    BeforeWrite(usize),
    /// After it: the write is done, and nobody heard of it.
    AfterWrite(usize),
    /// At its so-manieth query, which is not started.
    BeforeQuery(usize),
    /// After it was started.
    AfterQuery(usize),
}

/// Moments of a function that writes objects, and of one that asks Athena.
type Moments = [fn(usize) -> Moment];
const OF_WRITES: &Moments = &[Moment::BeforeWrite, Moment::AfterWrite];
const OF_QUERIES: &Moments = &[Moment::BeforeQuery, Moment::AfterQuery];
const ALL: &Moments = &[Moment::BeforeWrite, Moment::AfterWrite, Moment::BeforeQuery, Moment::AfterQuery];

/// Kills a call of `command` with each event at each moment, one event after the other, until a moment does not come any more; then
/// calls it twice.
fn kill_everywhere(
    place: &mut Place,
    command: &str,
    moments: &Moments,
    event_of: &dyn Fn(&Place, usize) -> Value,
    check: &dyn Fn(&Place, &Value, &Value),
) {
    let mut trial = 0;
    for moment in moments {
        let mut deaths = 0;
        for number in 1..=MOST {
            trial += 1;
            let event = event_of(place, trial);
            let died = kill(place, command, &event, moment(number));
            let answer = place.call(command, &event).value();
            check(place, &event, &answer);
            let objects = objects(place);
            assert_eq!(place.call(command, &event).value(), answer, "{command}: {:?}", moment(number));
            assert!(
                objects == self::objects(place),
                "{command}: other objects after a call more, {:?}",
                moment(number)
            );
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 0, "{command} was never killed, {:?}", moment(1));
    }
}

/// Everything that functions write, but for Athena's own results.
fn objects(place: &Place) -> std::collections::BTreeMap<String, bytes::Bytes> {
    let mut objects = place.bucket.objects("");
    objects.retain(|key, _| !key.starts_with("tmp/"));
    objects
}

/// Calls the function and kills it; whether the moment came.
fn kill(place: &mut Place, command: &str, event: &Value, moment: Moment) -> bool {
    let process = Arc::new(AtomicU32::new(0));
    let (victim, writes) = (Arc::clone(&process), AtomicUsize::new(0));
    let end = move || {
        let pid = Pid::from_raw(victim.load(Ordering::SeqCst) as i32).unwrap();
        let _ = kill_process(pid, Signal::KILL);
        Some(Fault::Reset)
    };
    let proxy = FaultProxy::before(&place.s3, move |request: &Request| {
        let is_write = request.method == "PUT";
        let written = if is_write { writes.fetch_add(1, Ordering::SeqCst) + 1 } else { writes.load(Ordering::SeqCst) };
        match moment {
            Moment::BeforeWrite(number) if is_write && written == number => end(),
            Moment::AfterWrite(number) if is_write && written == number => Some(Fault::LoseAnswer),
            Moment::AfterWrite(number) if written > number || (!is_write && written == number) => end(),
            _ => None,
        }
    });
    let direct = std::mem::replace(&mut place.s3_endpoint, proxy.endpoint());
    let mut function = place.start(command);
    place.s3_endpoint = direct;
    process.store(function.process.id(), Ordering::SeqCst);
    match moment {
        Moment::BeforeQuery(number) => place.athena.kill(function.process.id(), number, false),
        Moment::AfterQuery(number) => place.athena.kill(function.process.id(), number, true),
        _ => {}
    }
    let answer = function.call(event, Duration::from_secs(175));
    // An order that was not carried out would meet the next process.
    place.athena.kill(0, 0, false);
    match answer {
        Answer::Died => true,
        Answer::Value(_) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn data_prep_goes_on_from_every_moment() {
    let mut place = Place::new();
    place.set("REUSE_HOURS", "0");
    let expected = place.call("data-prep", &event("undisturbed")).value();
    let check = |_: &Place, event: &Value, answer: &Value| {
        assert_eq!(answer["rows"], expected["rows"]);
        let run = event["run_id"].as_str().unwrap();
        assert_eq!(answer["train_data"], format!("s3://lake/prepared/{run}/0/train/"));
    };
    kill_everywhere(&mut place, "data-prep", ALL, &|_, trial| event(&format!("r-{trial}")), &check);
}

#[test]
fn the_quality_table_goes_on_from_every_moment() {
    let mut scored = Scored::new();
    let base = scored.event("create-qa-table");
    let copied = |place: &Place, trial: usize| Scored::copy(place, &base, &format!("copy-{trial}"));
    let check = |_: &Place, event: &Value, answer: &Value| {
        assert_eq!(answer["passed"], true);
        assert_eq!(answer["location"], format!("s3://lake/qa/run_id={}/", event["run_id"].as_str().unwrap()));
    };
    kill_everywhere(&mut scored.place, "create-qa-table", ALL, &copied, &check);
}

#[test]
fn the_results_table_goes_on_from_every_moment() {
    let mut scored = Scored::new();
    let base = scored.event("create-qa-table");
    let copied = |place: &Place, trial: usize| Scored::copy(place, &base, &format!("again-{trial}"));
    let check = |place: &Place, _: &Value, answer: &Value| {
        assert_eq!(answer["rows"], super::place::CUSTOMERS);
        let tables = place.athena.tables();
        let left: Vec<&String> = tables.as_object().unwrap().keys().filter(|name| name.starts_with("tmp_")).collect();
        assert!(left.is_empty(), "{left:?}");
    };
    kill_everywhere(&mut scored.place, "create-results-table", ALL, &copied, &check);
}

#[test]
fn the_documents_go_on_from_every_moment() {
    let mut scored = Scored::new();
    scored.place.set("KNOWLEDGE_BASE", "on");
    scored.call("create-qa-table").value();
    let results = scored.call("create-results-table").value();
    scored.add_partition(&results);
    let event = scored.event("update-kb");
    let check = |place: &Place, _: &Value, answer: &Value| {
        assert_eq!(answer["documents"], 7);
        assert_eq!(place.bucket.keys("knowledge").len(), 14);
    };
    // The same event each time, so its one query is joined: the moments before and after it come once.
    kill_everywhere(
        &mut scored.place,
        "update-kb",
        ALL,
        &|place, _| {
            place.bucket.keys("knowledge").iter().for_each(|key| place.bucket.delete(key));
            event.clone()
        },
        &check,
    );
}

#[test]
fn the_preparation_of_scoring_goes_on_from_every_moment() {
    let mut scored = Scored::new();
    let locations = scored.event("inference-prep")["locations"].clone();
    let event_of = |_: &Place, trial: usize| event_with(&format!("r-{trial}-next"), &json!({"locations": locations}));
    let check = |place: &Place, event: &Value, answer: &Value| {
        assert_eq!((&answer["ready"], &answer["model"]), (&json!(true), &json!("v1/r-1")));
        let run = event["run_id"].as_str().unwrap();
        assert_eq!(place.bucket.json(&format!("scoring/runs/{run}/prepare.json")), *answer);
    };
    kill_everywhere(&mut scored.place, "inference-prep", OF_WRITES, &event_of, &check);
}

/// It returns what it has removed itself, so a call more has less to tell of; what is left is the same.
#[test]
fn cleaning_goes_on_from_every_moment() {
    let mut place = Place::new();
    let left = |place: &Place| {
        let tables = place.athena.tables();
        tables.as_object().unwrap().keys().filter(|name| name.starts_with("tmp_")).count()
    };
    let before = objects(&place);
    for moment in OF_QUERIES {
        let mut deaths = 0;
        for number in 1..=MOST {
            for table in ["tmp_202001010000_0a_customers", "tmp_202001010000_0a_rejected"] {
                place.athena.rows(&format!(
                    "CREATE EXTERNAL TABLE IF NOT EXISTS engagement.{table} (`a` int) STORED AS PARQUET LOCATION 's3://lake/x/'"
                ));
            }
            let died = kill(&mut place, "pre-cleanup", &event("r-1"), moment(number));
            let answer = place.call("pre-cleanup", &event("r-1")).value();
            assert_eq!((&answer["complete"], left(&place)), (&json!(true), 0), "{:?}", moment(number));
            let again = place.call("pre-cleanup", &event("r-1")).value();
            assert_eq!((&again["dropped_tables"], &again["complete"]), (&json!(0), &json!(true)));
            assert!(before == objects(&place), "other objects, {:?}", moment(number));
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 2, "{deaths} deaths, {:?}", moment(1));
    }
}
