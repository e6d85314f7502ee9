//! S3's odd truths, and servers that do what none should: an error inside of a 200, conditions that are not kept, listings that
//! lie, answers that never end.

use std::time::{Duration, Instant};

use testkit::faults::{Fault, FaultProxy, Listing, Request};
use testkit::s3::S3Server;
use testkit::tables::{csv, customers, parquet_bytes, without};

use super::ROWS;
use super::places::Place;

fn with_data(bucket: &str) -> Place {
    let place = Place::bucket(bucket);
    place.write("train/part.parquet", parquet_bytes(&customers(ROWS, 1, 7)));
    place.write("customers/part.parquet", parquet_bytes(&without(&customers(400, 100_000, 8), "score")));
    place
}

fn proxy(decide: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> FaultProxy {
    FaultProxy::before(&S3Server::shared(), decide)
}

/// A part of the predictions that is sent in several requests: ids of 32 digits in 600,000 rows.
#[test]
fn an_error_inside_of_a_200_is_tried_again_and_then_storage() {
    let place = with_data("inside");
    place.train().run().succeeded();
    let table = without(&customers(700_000, 100_000, 8), "score");
    place.write("many/part.parquet", parquet_bytes(&table));
    let always = proxy(|request| request.completes_an_upload().then_some(Fault::Refuse(200, "InternalError")));
    let call = |output: &str| {
        let call = place.predict().env("INPUT_DATA", place.location("many")).env("OUTPUT", place.location(output));
        call.args(["--format", "csv", "--run-id", "r1", "--columns", "spend,visits,plan,since"])
    };
    let ended = call("always").env("AWS_ENDPOINT_URL_S3", always.endpoint()).env("AWS_MAX_ATTEMPTS", "3").run();
    ended.failed(5, &["InternalError (HTTP 200)"]);
    let completions = always.requests().iter().filter(|(request, _)| request.completes_an_upload()).count();
    assert!(completions >= 3, "tried again: {completions}");
    call("always").run().succeeded();
    let (once, times) = (std::sync::atomic::AtomicUsize::new(0), 1);
    let once = proxy(move |request| {
        let is_it = request.completes_an_upload();
        let is_first = is_it && once.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < times;
        is_first.then_some(Fault::Refuse(200, "InternalError"))
    });
    call("once").env("AWS_ENDPOINT_URL_S3", once.endpoint()).run().succeeded();
}

#[test]
fn a_server_that_ignores_conditions_is_found_out_before_a_pointer_moves() {
    let place = with_data("ignoring");
    let ignoring = proxy(|request| (request.method == "PUT").then_some(Fault::IgnoreCondition));
    let ended = place.train().env("RUN_ID", "r1").env("AWS_ENDPOINT_URL_S3", ignoring.endpoint()).run();
    ended.failed(2, &["ignores conditional writes", "r1/result.json", "If-None-Match"]);
    let pointers = |files: &super::places::Files| files.keys().filter(|key| key.ends_with("latest.json")).count();
    assert_eq!(pointers(&place.files("models")), 0);
    place.train().env("RUN_ID", "r1").run().succeeded();
    assert_eq!(pointers(&place.files("models")), 2);
    let ended = place.predict().env("RUN_ID", "p1").env("AWS_ENDPOINT_URL_S3", ignoring.endpoint()).run();
    ended.failed(2, &["ignores conditional writes"]);
    let call = place.models_command(&["promote", "v1/r1"]);
    call.env("AWS_ENDPOINT_URL_S3", ignoring.endpoint()).run().failed(2, &["ignores conditional writes"]);
}

#[test]
fn listings_that_lie_are_storage_errors() {
    let place = with_data("lying");
    place.train().run().succeeded();
    for (listing, parts) in [
        (Listing::RepeatsItself, ["repeats its continuation token", "s3://lying/customers"]),
        (Listing::NeverEnds, ["does not end", "s3://lying/customers"]),
        (Listing::GoesRound, ["a.parquet\" twice", "s3://lying/customers"]),
        (Listing::OneByOne, ["does not end", "s3://lying/customers"]),
        (Listing::BreaksOff, ["does not say where", "s3://lying/customers"]),
        (Listing::Astray, ["names \"elsewhere/b.parquet\", which was not asked for", "s3://lying/customers"]),
        (Listing::Twice, ["a.parquet\" twice", "s3://lying/customers"]),
        (Listing::LeavesOut, ["leaves \"customers/b.parquet\" out between two pages", "s3://lying/customers"]),
    ] {
        let lying = proxy(move |request| {
            (request.lists() && request.query.contains("customers")).then_some(Fault::List(listing))
        });
        let ended = place.predict().env("AWS_ENDPOINT_URL_S3", lying.endpoint()).run();
        ended.failed(5, &parts);
        assert!(ended.took < Duration::from_secs(60), "{listing:?}: {:?}", ended.took);
    }
}

/// Sizes that are not the objects': of a listing, and of the answer to HEAD for one object. What is said to be empty is not left out.
#[test]
fn sizes_that_lie_are_storage_errors() {
    let place = with_data("sizes");
    place.write("csv/part.csv", csv(&without(&customers(400, 100_000, 8), "score")).into_bytes());
    place.train().run().succeeded();
    for percent in [0, 1, 50, 99, 101, 1_000] {
        let lying = proxy(move |request| {
            let is_it = ["customers", "csv", "train"].into_iter().any(|name| {
                request.lists() && request.query.contains(name)
                    || request.method == "HEAD" && request.path.contains(&format!("/{name}/part."))
            });
            is_it.then_some(Fault::Resize(percent))
        });
        for input in ["customers", "customers/part.parquet", "csv", "csv/part.csv"] {
            let call = place.predict().env("INPUT_DATA", place.location(input)).env("OUTPUT", place.location("lied"));
            let ended = call.env("AWS_ENDPOINT_URL_S3", lying.endpoint()).env("AWS_MAX_ATTEMPTS", "2").run();
            let said = if percent == 0 { "is empty, but that has bytes" } else { "its listing says" };
            ended.failed(5, &["s3://sizes/", "part.", said]);
        }
        let call = place.train().env("MODELS", place.location("lied"));
        call.env("AWS_ENDPOINT_URL_S3", lying.endpoint())
            .env("AWS_MAX_ATTEMPTS", "2")
            .run()
            .failed(5, &["part.parquet"]);
    }
    place.predict().env("OUTPUT", place.location("lied")).run().succeeded();
}

/// Answers that never end, and answers that come a byte a second: exit 5 after the tries that were asked for.
#[test]
fn answers_without_an_end_end() {
    let place = with_data("endless");
    place.train().run().succeeded();
    let of_a_second = Fault::Trickle(Duration::from_secs(1));
    for (what, fault) in [
        ("customers/part.parquet", Fault::NeverEnd),
        ("customers/part.parquet", of_a_second),
        ("latest.json", Fault::NeverEnd),
        ("latest.json", of_a_second),
        ("list-type=2", Fault::NeverEnd),
        ("list-type=2", of_a_second),
        ("model.ubj", Fault::NeverEnd),
    ] {
        let odd = proxy(move |request| {
            let line = format!("{}?{}", request.path, request.query);
            (request.method == "GET" && line.contains(what)).then_some(fault)
        });
        let call = place.predict().env("AWS_ENDPOINT_URL_S3", odd.endpoint()).env("AWS_MAX_ATTEMPTS", "1");
        let ended = call.args(["--memory", "512m"]).run();
        ended.failed(5, &[]);
        assert!(ended.took < Duration::from_secs(60), "{what} {fault:?}: {:?}", ended.took);
    }
}

#[test]
fn sigterm_ends_a_run_that_waits_for_an_answer() {
    let place = with_data("waiting");
    place.train().run().succeeded();
    let (begun, waits) = std::sync::mpsc::channel();
    let odd = proxy(move |request| {
        let is_it = request.method == "GET" && request.path.contains("customers/part.parquet");
        if is_it {
            let _ = begun.send(());
        }
        is_it.then_some(Fault::Trickle(Duration::from_secs(1)))
    });
    let running = place.predict().env("AWS_ENDPOINT_URL_S3", odd.endpoint()).start();
    waits.recv_timeout(Duration::from_secs(60)).unwrap();
    let asked = Instant::now();
    running.terminate();
    running.wait().failed(143, &["SIGTERM"]);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}
