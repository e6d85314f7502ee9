//! Predictions stopped at random moments, by SIGTERM and by SIGKILL, once or several times, and continued: the same bytes
//! as undisturbed, and counts that add up.
//!
//! Every run of the tests stops a few; `scripts/kill-predictions` stops hundreds and says what it saw.

use std::collections::BTreeMap;
use std::time::Duration;

use polars::prelude::DataFrame;
use serde_json::Value;
use testkit::program::{Ended, Invocation};
use testkit::random::Random;
use testkit::tables::{customers, parquet_bytes, without};

use super::places::{Files, Place, assert_predictions_are_whole, json};
use super::text;

/// Rows of each file; a part ends with the first row group that fills it.
const FILES: [usize; 3] = [530_000, 530_000, 40_000];
/// Rows of the second file that the first has as well.
const REPEATED: usize = 700;
/// What a stop by SIGTERM may take.
const GRACE: Duration = Duration::from_secs(5);

/// How often earlier moments are tried where every run had ended before its own.
const EARLIER: usize = 5;

/// How many predictions are stopped at each place.
fn attempts(few: usize) -> usize {
    std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    stops: usize,
    by_sigkill: usize,
    by_sigterm: usize,
    /// Runs that had ended before their moment came.
    too_late: usize,
    /// Continued runs that found finished parts.
    with_parts: usize,
    slowest_sigterm: Duration,
}

struct Trial<'a> {
    place: &'a Place,
    usual: Duration,
    expected: Files,
    seen: Seen,
}

fn table(file: usize) -> DataFrame {
    let before: usize = FILES[..file].iter().sum();
    let first_id = if file == 0 { 1 } else { before + 1 - REPEATED };
    without(&customers(FILES[file], first_id as i64, 8 + file as u64), "score")
}

fn predict(place: &Place, output: &str) -> Invocation {
    place.predict().env("OUTPUT", place.location(output)).args(["--run-id", "the-run", "--threads", "2"])
}

/// What a reader takes for the result, by path.
fn outputs(files: &Files) -> Files {
    let is_output = |name: &str| name.starts_with("predictions/") || name.starts_with("rejected/");
    files.iter().filter(|(name, _)| is_output(name)).map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
}

impl<'a> Trial<'a> {
    fn new(place: &'a Place) -> Self {
        place.write("train/part.parquet", parquet_bytes(&customers(8_000, 1, 7)));
        place.train().run().succeeded();
        for file in 0..FILES.len() {
            place.write(&format!("customers/part-{file}.parquet"), parquet_bytes(&table(file)));
        }
        predict(place, "cold").run().succeeded();
        let ended = predict(place, "undisturbed").run();
        ended.succeeded();
        let expected = outputs(&place.files("undisturbed"));
        assert_eq!(expected.keys().filter(|name| name.starts_with("predictions/")).count(), 3);
        Self { place, usual: ended.took, expected, seen: Seen::default() }
    }

    /// Stops one run at up to three moments, continues it and compares.
    fn stop_and_continue(&mut self, attempt: usize, random: &mut Random) {
        let output = format!("stopped-{attempt}");
        for _ in 0..=random.below(3) {
            let moment = self.usual.mul_f64(random.share());
            let by_sigterm = random.below(2) == 0;
            if self.stop(&output, moment, by_sigterm) {
                break;
            }
            assert_predictions_are_whole(&self.place.files(&output));
        }
        let ended = predict(self.place, &output).run();
        ended.succeeded();
        self.seen.with_parts += usize::from(ended.stderr.contains("finished already"));
        let files = self.place.files(&output);
        assert_predictions_are_whole(&files);
        assert!(outputs(&files) == self.expected, "{output}: not the bytes of an undisturbed run");
        assert_counts_add_up(&files, &ended);
    }

    /// Whether the run was complete before its moment.
    fn stop(&mut self, output: &str, moment: Duration, by_sigterm: bool) -> bool {
        let running = predict(self.place, output).start();
        let ended = if by_sigterm { running.terminate_after(moment) } else { running.kill_after(moment) };
        self.seen.stops += 1;
        match (ended.status.code(), by_sigterm) {
            (Some(0), _) => {
                self.seen.too_late += 1;
                return true;
            }
            (Some(143), true) => {
                let took = ended.took.saturating_sub(moment);
                assert!(took < GRACE, "SIGTERM took {took:?}");
                self.seen.slowest_sigterm = self.seen.slowest_sigterm.max(took);
                self.seen.by_sigterm += 1;
            }
            // Before the program is there to hear it: it has not said anything yet. On a busy machine that takes a while.
            (None, true) if ended.stderr.is_empty() => self.seen.by_sigterm += 1,
            (None, false) => self.seen.by_sigkill += 1,
            _ => panic!("{ended:?}"),
        }
        false
    }
}

fn assert_counts_add_up(files: &Files, ended: &Ended) {
    let manifest = json(files, "runs/the-run/manifest.json");
    let count = |name: &str| manifest[name].as_u64().unwrap();
    assert_eq!(count("rows_read") as usize, FILES.iter().sum::<usize>());
    assert_eq!(count("rows_rejected") as usize, REPEATED);
    assert_eq!(count("rows_read"), count("rows_predicted") + count("rows_rejected"));
    let rows_of = |name: &str| rows(manifest[name].as_array().unwrap());
    assert_eq!((rows_of("parts"), rows_of("rejected_parts")), (count("rows_predicted"), count("rows_rejected")));
    let reasons: BTreeMap<String, u64> = serde_json::from_value(manifest["rejected_by_reason"].clone()).unwrap();
    assert_eq!(reasons.values().sum::<u64>(), count("rows_rejected"));
    let result = ended.last();
    for name in ["rows_read", "rows_predicted", "rows_rejected"] {
        assert_eq!(result[name], manifest[name], "{name}");
    }
    assert_eq!(json(files, "latest.json")["rows"], manifest["rows_predicted"]);
    assert_eq!(files.keys().find(|file| file.contains("/_")), None, "nothing is left behind");
}

fn rows(parts: &[Value]) -> u64 {
    parts.iter().map(|part| part["rows"].as_u64().unwrap_or_else(|| panic!("{}", text(part, "path")))).sum()
}

fn stop_often(place: &Place, name: &str, few: usize, seed: u64) {
    let mut trial = Trial::new(place);
    let mut random = Random::new(seed);
    for attempt in 0..attempts(few) {
        trial.stop_and_continue(attempt, &mut random);
    }
    // The undisturbed run may have been slowed down by whatever else the machine did.
    for attempt in 0..EARLIER {
        if trial.seen.by_sigkill + trial.seen.by_sigterm > 0 {
            break;
        }
        trial.usual /= 2;
        trial.stop_and_continue(attempts(few) + attempt, &mut random);
    }
    let seen = &trial.seen;
    assert!(seen.by_sigkill + seen.by_sigterm > 0, "none was under way when it was to be stopped: {seen:?}");
    let usual = trial.usual;
    println!("{name}: {} runs, usual time {usual:?}: {seen:?}", attempts(few));
}

#[test]
fn stopped_at_random_moments_on_a_local_folder() {
    stop_often(&Place::local(), "local folder", 6, 11);
}

#[test]
fn stopped_at_random_moments_on_s3() {
    stop_often(&Place::bucket("stopped"), "S3", 3, 12);
}
