//! Training that is interrupted at any moment, any number of times, ends with the model of an undisturbed run, byte for byte.

use std::fmt;
use std::time::{Duration, Instant};

use polars::prelude::{IntoColumn, NamedFrom, Series};
use testkit::program::{Ended, Invocation, Running};
use testkit::random::Random;
use testkit::tables::{customers, parquet_bytes, with, write_parquet};

use super::places::{Place, assert_models_are_whole, json};

/// What a run that is asked to stop has.
const TO_STOP: Duration = Duration::from_secs(5);
/// The most interruptions of one run.
const MOST: usize = 4;

/// A run that boosts for a second or less.
const GIVEN: &[&str] = &["--rounds", "300", "--param", "subsample=0.7", "--param", "colsample_bynode=0.6"];
/// The same for so long that it is stopped while it boosts, however fast the machine is.
const LONG: &[&str] = &["--rounds", "1200", "--param", "subsample=0.7", "--param", "colsample_bynode=0.6"];
/// How to learn is chosen first, in so much time that the clock ends nothing.
const CHOSEN: &[&str] = &["--param", "max_depth=4", "--time-budget", "3600"];
/// Everything is chosen: the model is the mean of several boosters, which are fitted side by side. Few bins make for quick trials.
const FREE: &[&str] = &["--time-budget", "16", "--threads", "2", "--param", "max_bin=16"];
/// The same, and parameters are searched for.
const TUNED: &[&str] = &["--tune", "8", "--param", "max_depth=3", "--time-budget", "3600"];

fn with_data(place: Place, rows: usize) -> Place {
    place.write("train/part.parquet", parquet_bytes(&customers(rows, 1, 7)));
    place
}

/// `train` with nothing given but `arguments`.
fn train(place: &Place, run_id: &str, arguments: &[&str]) -> Invocation {
    place.train().env("ROUNDS", "").args(["--run-id", run_id]).args(arguments)
}

fn model(place: &Place, run_id: &str) -> Vec<u8> {
    place.files("models").remove(&format!("engagement/v1/{run_id}/model.ubj")).unwrap()
}

/// What came of many interruptions.
#[derive(Default)]
struct Figures {
    terminated: usize,
    killed: usize,
    runs: usize,
    taken_up: usize,
    slowest_stop: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { terminated, killed, runs, taken_up, slowest_stop } = self;
        write!(
            formatter,
            "{terminated} times SIGTERM, {killed} times SIGKILL in {runs} runs, all with the bytes of an undisturbed run; \
             {taken_up} of them ended with rounds that an earlier attempt had boosted; the slowest stop took {slowest_stop:.1?}"
        )
    }
}

/// Interrupts runs until there were so many interruptions; each is continued, perhaps to be interrupted again.
fn interrupt(place: &Place, seed: u64, interruptions: usize, arguments: &[&str], figures: &mut Figures) {
    let undisturbed = train(place, "undisturbed", arguments).run();
    undisturbed.succeeded();
    let expected = model(place, "undisturbed");
    let mut random = Random::new(seed);
    let before = figures.terminated + figures.killed;
    while figures.terminated + figures.killed < before + interruptions {
        let run_id = format!("run-{seed}-{}", figures.runs);
        for _ in 0..=random.below(MOST as u64) {
            let moment = undisturbed.took.mul_f64(random.share());
            let run = train(place, &run_id, arguments).start();
            let ended = if random.below(2) == 0 { run.terminate_after(moment) } else { run.kill_after(moment) };
            match ended.status.code() {
                Some(0) => break,
                Some(143) => {
                    figures.terminated += 1;
                    figures.slowest_stop = figures.slowest_stop.max(ended.took.saturating_sub(moment));
                }
                None => figures.killed += 1,
                Some(_) => panic!("{ended:?}"),
            }
            assert_models_are_whole(&place.files("models"));
        }
        let result = train(place, &run_id, arguments).run().succeeded();
        figures.runs += 1;
        figures.taken_up += usize::from(result["resumed_from_round"].is_u64());
        assert!(model(place, &run_id) == expected, "{run_id}: other bytes; {result}");
        let files = place.files("models");
        assert_eq!(files.keys().find(|file| file.contains(&format!("{run_id}/_"))), None);
        assert_eq!(json(&files, "engagement/latest.json")["run_id"], run_id);
    }
    assert!(figures.slowest_stop < TO_STOP, "{figures}");
}

#[test]
fn a_handful_on_a_local_folder() {
    let place = with_data(Place::local(), 6_000);
    let mut figures = Figures::default();
    interrupt(&place, 1, 5, GIVEN, &mut figures);
    interrupt(&with_data(Place::local(), 1_000), 2, 2, CHOSEN, &mut figures);
    interrupt(&with_data(Place::local(), 400), 6, 3, FREE, &mut figures);
    println!("{figures}");
}

/// A target that XGBoost is given in other units: checkpoints hold what it learns, the model is in the target's own units.
#[test]
fn a_handful_with_a_target_that_is_scaled() {
    let tiny = |rows: usize| {
        let table = customers(rows, 1, 7);
        let scores = table.column("score").unwrap().f64().unwrap();
        let tiny: Vec<f64> = scores.iter().map(|score| score.unwrap() * 1e-12).collect();
        let place = Place::local();
        place.write("train/part.parquet", parquet_bytes(&with(table, Series::new("score".into(), tiny))));
        place
    };
    let mut figures = Figures::default();
    interrupt(&tiny(6_000), 4, 3, GIVEN, &mut figures);
    interrupt(&tiny(1_000), 5, 2, TUNED, &mut figures);
    println!("{figures}");
}

#[test]
fn a_handful_on_s3() {
    let place = with_data(Place::bucket("interrupted"), 6_000);
    let mut figures = Figures::default();
    interrupt(&place, 3, 3, GIVEN, &mut figures);
    println!("{figures}");
}

/// Either of two shards is killed while they boost: the other one ends soon, and both started again go on to the same bytes.
#[test]
fn shards_killed_on_s3() {
    let place = Place::bucket("interrupted-shards");
    for (part, first_id) in [1, 1_501, 3_001, 4_501].into_iter().enumerate() {
        place.write(&format!("train/part-{part}.parquet"), parquet_bytes(&customers(1_500, first_id, part as u64)));
    }
    let start = |run_id: &str| -> Vec<Running> {
        let shard = |index| {
            let arguments = ["--shard", index, "--collective-host", "127.0.0.1", "--collective-port", "0"];
            train(&place, run_id, LONG).args(arguments).start()
        };
        ["0/2", "1/2"].map(shard).into()
    };
    let all = |run_id: &str| -> Vec<serde_json::Value> {
        start(run_id).into_iter().map(|running| running.wait().succeeded()).collect()
    };
    all("undisturbed");
    let expected = model(&place, "undisturbed");
    for killed in 0..2 {
        let run_id = format!("killed-{killed}");
        let checkpoint = format!("engagement/v1/{run_id}/_checkpoint/boosting-0");
        let mut running = start(&run_id);
        let victim = running.remove(killed);
        let ended = victim.kill_when(|| place.files("models").contains_key(&checkpoint));
        assert_eq!(ended.status.code(), None, "{ended:?}");
        let since = Instant::now();
        running.remove(0).wait().failed(5, &["start all shards again with the same run id"]);
        assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
        let results = all(&run_id);
        assert!(results.iter().all(|result| result["resumed_from_round"].is_u64()), "{results:?}");
        assert!(model(&place, &run_id) == expected, "{run_id}: other bytes; {results:?}");
        let files = place.files("models");
        assert_eq!(files.keys().find(|file| file.contains(&format!("{run_id}/_"))), None, "nothing is left behind");
        assert_eq!(json(&files, "engagement/latest.json")["run_id"], run_id);
    }
}

/// `scripts/interrupt-train`: as many as `INTERRUPTIONS` says on each of the stores.
#[test]
#[ignore = "takes many minutes"]
fn many() {
    let count = std::env::var("INTERRUPTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(50);
    let of_a_search = count / 5;
    for (name, seed) in [("local folder", 11), ("S3", 12)] {
        let place = |bucket: &str| if name == "S3" { Place::bucket(bucket) } else { Place::local() };
        let mut figures = Figures::default();
        interrupt(&with_data(place("given"), 6_000), seed, count - 2 * of_a_search, LONG, &mut figures);
        assert!(figures.taken_up > 0, "{figures}");
        interrupt(&with_data(place("chosen"), 1_000), seed + 10, of_a_search, CHOSEN, &mut figures);
        interrupt(&with_data(place("tuned"), 1_000), seed + 20, of_a_search, TUNED, &mut figures);
        println!("{name}: {figures}");
    }
}

/// Stops a run in the middle of its boosting; its checkpoint is there then.
fn stopped(place: &Place, run_id: &str, arguments: &[&str]) -> Ended {
    let has_boosted = || place.workshop.path(&format!("models/engagement/v1/{run_id}/_checkpoint/boosting-0")).exists();
    let ended = train(place, run_id, arguments).start().terminate_when(has_boosted);
    ended.failed(143, &["SIGTERM", run_id]);
    ended
}

#[test]
fn a_checkpoint_that_is_damaged_or_foreign_is_ignored() {
    let place = with_data(Place::local(), 6_000);
    train(&place, "undisturbed", LONG).run().succeeded();
    let snapshot = |run_id: &str| format!("models/engagement/v1/{run_id}/_checkpoint/boosting-0");
    let other: Vec<&str> = LONG.iter().copied().chain(["--seed", "7"]).collect();
    stopped(&place, "other", &other);
    for kind in ["damaged", "cut-off", "foreign"] {
        stopped(&place, kind, LONG);
        let path = place.workshop.path(&snapshot(kind));
        let mut bytes = std::fs::read(&path).unwrap();
        match kind {
            "damaged" => *bytes.last_mut().unwrap() ^= 1,
            "cut-off" => bytes.truncate(bytes.len() / 2),
            _ => bytes = std::fs::read(place.workshop.path(&snapshot("other"))).unwrap(),
        }
        std::fs::write(&path, bytes).unwrap();
        let ended = train(&place, kind, LONG).run();
        assert!(ended.succeeded()["resumed_from_round"].is_null(), "{kind}");
        assert!(ended.stderr.contains("boosting-0 is ignored"), "{kind}: {}", ended.stderr);
        assert!(model(&place, kind) == model(&place, "undisturbed"), "{kind}");
    }
}

/// An older version may hold other things in its checkpoints, so what it began is not gone on with.
#[test]
fn a_run_that_another_version_began_is_refused() {
    let place = with_data(Place::local(), 6_000);
    stopped(&place, "old", LONG);
    let path = place.workshop.path("models/engagement/v1/old/_checkpoint/plan.json");
    let ours = std::fs::read_to_string(&path).unwrap();
    let mut plan: serde_json::Value = serde_json::from_str(&ours).unwrap();
    let version = std::mem::replace(&mut plan["program_version"], "0.0.9".into());
    std::fs::write(&path, plan.to_string()).unwrap();
    let ended = train(&place, "old", LONG).run();
    ended.failed(2, &["--run-id", "0.0.9", version.as_str().unwrap(), "use another run id"]);
    std::fs::write(&path, ours).unwrap();
    assert!(train(&place, "old", LONG).run().succeeded()["resumed_from_round"].is_u64());
}

#[test]
fn a_choice_is_made_once() {
    let place = with_data(Place::local(), 1_000);
    let choice = "models/engagement/v1/once/_checkpoint/choice.json";
    let chosen = || place.workshop.path(choice).exists();
    let ended = train(&place, "once", CHOSEN).start().terminate_when(chosen);
    if ended.status.code() == Some(0) {
        return; // Boosting took no time.
    }
    ended.failed(143, &["SIGTERM", "once"]);
    let text = std::fs::read_to_string(place.workshop.path(choice)).unwrap();
    let ended = train(&place, "once", CHOSEN).run();
    ended.succeeded();
    assert!(ended.stderr.contains("how to learn was chosen before"), "{}", ended.stderr);
    let trials = json(&place.files("models"), "engagement/v1/once/metrics.json")["trials"].clone();
    assert!(trials.as_array().is_some_and(|trials| !trials.is_empty()));
    assert!(text.contains(&trials.to_string()), "the trials of the first attempt, with their seconds");
}

/// A search that is stopped among the trials of the defaults, then killed among those of tuning, goes on after the last one
/// that ended.
#[test]
fn a_trial_is_run_once() {
    let place = with_data(Place::local(), 1_000);
    let tuned = &[&["--tune", "12"][..], &TUNED[2..]].concat();
    let trials = |run_id: &str| -> Vec<serde_json::Value> {
        let metrics = json(&place.files("models"), &format!("engagement/v1/{run_id}/metrics.json"));
        metrics["trials"].as_array().unwrap().clone()
    };
    train(&place, "undisturbed", tuned).run().succeeded();
    let undisturbed = trials("undisturbed");
    let first_of_tuning = undisturbed.iter().position(|trial| trial["stage"] == "tuning").unwrap();
    let is_done = |trial: usize| {
        let path = place.workshop.path(&format!("models/engagement/v1/stopped/_checkpoint/trial-{trial:05}"));
        move || path.exists()
    };
    train(&place, "stopped", tuned).start().terminate_when(is_done(1)).failed(143, &["SIGTERM", "stopped"]);
    let killed = train(&place, "stopped", tuned).start().kill_when(is_done(first_of_tuning + 3));
    assert_eq!(killed.status.code(), None, "{killed:?}");
    let done_before = |log: &str| -> usize {
        let said = log.split(" trials were done before").next().unwrap();
        said.rsplit(['"', ' ']).next().unwrap().parse().unwrap_or_else(|_| panic!("{log}"))
    };
    assert!(done_before(&killed.stderr) >= 2, "{}", killed.stderr);
    let ended = train(&place, "stopped", tuned).run();
    ended.succeeded();
    assert!(done_before(&ended.stderr) >= first_of_tuning + 4, "{}", ended.stderr);
    assert!(model(&place, "stopped") == model(&place, "undisturbed"));
    let untimed = |trials: Vec<serde_json::Value>| -> Vec<serde_json::Value> {
        let untimed = |mut trial: serde_json::Value| {
            trial["seconds"] = serde_json::Value::Null;
            trial
        };
        trials.into_iter().map(untimed).collect()
    };
    assert_eq!(untimed(trials("stopped")), untimed(undisturbed));
}

/// A stop does not wait for a round that takes longer than it may: the last one that ended is what the run goes on from.
#[test]
fn a_round_that_takes_long_is_left_behind() {
    let place = with_data(Place::local(), 20_000);
    let rounds = &["--rounds", "2", "--param", "num_parallel_tree=1200", "--param", "subsample=0.7", "--min-r2", "-1"];
    let run_id = "long";
    let has_boosted = || place.workshop.path("models/engagement/v1/long/_checkpoint/boosting-0").exists();
    let asked = std::cell::Cell::new(None);
    let ended = train(&place, run_id, rounds).start().terminate_when(|| {
        if has_boosted() {
            asked.set(Some(std::time::Instant::now()));
        }
        has_boosted()
    });
    let took = asked.get().map(|asked: std::time::Instant| asked.elapsed()).unwrap_or_default();
    ended.failed(143, &["SIGTERM", run_id]);
    assert!(took < TO_STOP, "{took:?}");
    let result = train(&place, run_id, rounds).run().succeeded();
    assert!(result["resumed_from_round"].as_u64().is_some_and(|round| round >= 1), "{result}");
}

/// Where the bins do not fit, and each booster learns from another part of the rows, a run goes on in the part that it was in.
/// How to learn is left open and the clock ends its choice, so that both continuations start from one choice.
#[test]
fn a_run_in_parts_goes_on_in_its_part() {
    const RUN: &str = "parts";
    let place = Place::local();
    let mut table = customers(500_000, 1, 7);
    let mut random = Random::new(11);
    for column in 0..40 {
        let values: Vec<f64> = (0..table.height()).map(|_| random.below(1_000) as f64).collect();
        table.with_column(Series::new(format!("noise_{column}").into(), values).into_column()).unwrap();
    }
    write_parquet(&table, &place.workshop.path("train/part.parquet"));
    let attempt = |models: &str| {
        let arguments = ["--memory", "370m", "--time-budget", "1", "--models", &place.location(models)];
        train(&place, RUN, &arguments)
    };
    let boosts = |models: &str, booster: usize| {
        let path = place.workshop.path(&format!("{models}/engagement/v1/{RUN}/_checkpoint/boosting-{booster}"));
        move || path.exists()
    };
    let ended = attempt("stopped").start().terminate_when(boosts("stopped", 0));
    ended.failed(143, &["SIGTERM", RUN]);
    assert!(ended.stderr.contains("one of 2 parts of the rows"), "{}", ended.stderr);
    for (name, bytes) in place.files("stopped") {
        place.write(&format!("again/{name}"), bytes);
    }
    let undisturbed = attempt("stopped").run().succeeded();
    let killed = attempt("again").start().kill_when(boosts("again", 1));
    assert_eq!(killed.status.code(), None, "{killed:?}");
    let result = attempt("again").run().succeeded();
    assert!(undisturbed["resumed_from_round"].is_u64() && result["resumed_from_round"].is_u64(), "{result}");
    let model = |models: &str| place.files(models).remove(&format!("engagement/v1/{RUN}/model.ubj")).unwrap();
    assert!(model("again") == model("stopped"), "other bytes; {result}");
}
