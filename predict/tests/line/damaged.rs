//! Files of the stores, damaged at random: every program ends with an exit code that says so, in one line, or does what it
//! would have done. Never a panic, a signal, or other predictions.
//!
//! A few seeds in every run; for longer, `make fuzz`, or
//!
//!     FUZZ_SECONDS=600 cargo test --release --locked -p predict --test line damaged
//!     FUZZ_SEED=17 cargo test --release --locked -p predict --test line damaged -- --nocapture    one seed again

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use polars::prelude::DataFrame;
use serde_json::{Value, json};
use testkit::damage;
use testkit::program::{Ended, Invocation};
use testkit::random::Random;
use testkit::tables::{customers, without, write_parquet};

use super::{Workshop, copy_folder, files_below, sha256};

const CASES: u64 = 60;

/// What is damaged, below the workshop.
const FILES: [&str; 15] = [
    "models/engagement/latest.json",
    "models/engagement/v1/latest.json",
    "models/engagement/v1/m/model.ubj",
    "models/engagement/v1/m/metadata.json",
    "models/engagement/v1/m/metrics.json",
    "models/engagement/v1/m/result.json",
    "output/latest.json",
    "output/runs/done/plan.json",
    "output/runs/done/manifest.json",
    "output/runs/done/result.json",
    "output/runs/half/plan.json",
    "output/runs/half/_parts/part-00000.json",
    "output/predictions/run_id=half/part-00000.parquet",
    "customers/part.parquet",
    "features.toml",
];

const SPEC: &str = r#"
id = "customer_id"
target = "score"
max_levels = 50
clip = true
[derived]
per_visit = "spend / NULLIF(visits, 0)"
bracket = "CASE WHEN spend < 25 THEN 'low' ELSE 'high' END"
[ranges]
spend = { min = 0, max = 100 }
[monotone]
visits = 1
"#;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: '{text}' is no number")))
}

/// Customers of whom two share an id.
fn with_a_repeated_id() -> DataFrame {
    let table = without(&customers(300, 100_000, 8), "score");
    table.vstack(&table.head(Some(1))).unwrap()
}

/// A model, a run that is complete, and one that ended with its parts written.
fn whole() -> Workshop {
    let workshop = Workshop::new();
    write_parquet(&customers(600, 1, 7), &workshop.path("train/part.parquet"));
    write_parquet(&with_a_repeated_id(), &workshop.path("customers/part.parquet"));
    workshop.write("features.toml", SPEC);
    train(&workshop).run().succeeded();
    predict(&workshop, "done").run().succeeded();
    half(&workshop).run().failed(4, &["rejected"]);
    for file in FILES {
        assert!(workshop.path(file).exists(), "{file} is missing: {:?}", workshop.files("output"));
    }
    workshop
}

fn train(workshop: &Workshop) -> Invocation {
    workshop.train().args(["--features", "features.toml", "--run-id", "m", "--rounds", "8", "--min-r2", "0.5"])
}

fn predict(workshop: &Workshop, run_id: &str) -> Invocation {
    workshop.predict().args(["--run-id", run_id])
}

/// One row in three hundred is too much for it.
fn half(workshop: &Workshop) -> Invocation {
    predict(workshop, "half").args(["--max-reject-fraction", "0.001"])
}

/// Seals hashes again, so that what is behind them is read.
fn reseal(workshop: &Workshop) {
    let folder = "models/engagement/v1/m";
    let read = |file: &str| std::fs::read(workshop.path(&format!("{folder}/{file}"))).unwrap();
    if let Ok(mut metadata) = serde_json::from_slice::<Value>(&read("metadata.json"))
        && metadata.is_object()
    {
        metadata["model_sha256"] = json!(sha256(&read("model.ubj")));
        workshop.write(&format!("{folder}/metadata.json"), metadata.to_string());
    }
    if let Ok(mut result) = serde_json::from_slice::<Value>(&read("result.json"))
        && result.is_object()
    {
        result["metadata_sha256"] = json!(sha256(&read("metadata.json")));
        if let Some(files) = result.get_mut("files").and_then(Value::as_object_mut) {
            files.insert("metadata.json".to_owned(), json!(sha256(&read("metadata.json"))));
            files.insert("model.ubj".to_owned(), json!(sha256(&read("model.ubj"))));
        }
        workshop.write(&format!("{folder}/result.json"), result.to_string());
    }
    for pointer in ["models/engagement/latest.json", "models/engagement/v1/latest.json"] {
        let Ok(bytes) = std::fs::read(workshop.path(pointer)) else { continue };
        if let Ok(mut latest) = serde_json::from_slice::<Value>(&bytes)
            && latest.is_object()
        {
            latest["metadata_sha256"] = json!(sha256(&read("metadata.json")));
            latest["sha256"] = json!(sha256(&read("model.ubj")));
            workshop.write(pointer, latest.to_string());
        }
    }
}

fn damaged(content: &[u8], file: &str, random: &mut Random) -> Vec<u8> {
    match Path::new(file).extension().and_then(|ending| ending.to_str()) {
        Some("json") => damage::json(content, random),
        Some("parquet") => damage::parquet(content, random),
        _ => damage::bytes(content, random),
    }
}

fn run_case(whole: &Workshop, seed: u64, tell: bool) {
    let random = &mut Random::new(seed);
    let workshop = Workshop::new();
    copy_folder(whole.folder.path(), workshop.folder.path());
    let file = FILES[random.below(FILES.len() as u64) as usize];
    let content = damaged(&std::fs::read(workshop.path(file)).unwrap(), file, random);
    workshop.write(file, content);
    let is_resealed = file.contains("/v1/m/m") && random.below(3) > 0;
    if is_resealed {
        reseal(&workshop);
    }
    let calls: Vec<Invocation> = match random.below(7) {
        0 => vec![predict(&workshop, "done")],
        1 => vec![half(&workshop)],
        2 => vec![predict(&workshop, "new").args(["--model-version", "v1"])],
        3 => vec![train(&workshop), predict(&workshop, "new")],
        4 => vec![models(&workshop, &["list"]), models(&workshop, &["show", "v1"])],
        5 => vec![models(&workshop, &["promote", "v1/m"]), models(&workshop, &["prune", "--keep", "1"])],
        _ => vec![predict(&workshop, "new")],
    };
    for call in calls {
        let ended = call.run();
        if tell {
            println!(
                "{file}, sealed again: {is_resealed}\n{}\n{:?}\n{}{}",
                ended.call, ended.status, ended.stdout, ended.stderr
            );
        }
        check(&ended, file);
    }
    let is_other_input = file.starts_with("customers") || file == "features.toml";
    if !is_resealed && !is_other_input {
        assert_predictions_unchanged(&workshop, whole);
    }
}

fn models(workshop: &Workshop, arguments: &[&str]) -> Invocation {
    let call = super::programs().train().folder(workshop.folder.path()).arg("models").args(arguments);
    call.args(["--models", "models"])
}

/// Settings, gate, data, model: nothing else can be wrong here.
fn check(ended: &Ended, file: &str) {
    match ended.status.code() {
        Some(0) => drop(ended.succeeded()),
        Some(code @ (2 | 3 | 4 | 6)) => drop(ended.failed(code, &[])),
        _ => panic!("{file}: {ended:?}"),
    }
}

/// What a manifest stands for is what the undamaged run predicts.
fn assert_predictions_unchanged(workshop: &Workshop, whole: &Workshop) {
    let part = |workshop: &Workshop, run_id: &str| {
        std::fs::read(workshop.path(&format!("output/predictions/run_id={run_id}/part-00000.parquet"))).unwrap()
    };
    for run_id in ["done", "half", "new"] {
        if workshop.path(&format!("output/runs/{run_id}/manifest.json")).exists() {
            assert!(part(workshop, run_id) == part(whole, "done"), "other predictions of run {run_id}");
        }
    }
}

#[test]
fn damaged_files_are_named_or_do_no_harm() {
    let whole = whole();
    let one = setting("FUZZ_SEED");
    if let Some(seed) = one {
        return run_case(&whole, seed, true);
    }
    let first = setting("FUZZ_FIRST").unwrap_or(0);
    let until = setting("FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut failed = Vec::new();
    let mut seed = first;
    while until.map_or(seed < first + CASES, |until| Instant::now() < until) {
        if catch_unwind(AssertUnwindSafe(|| run_case(&whole, seed, false))).is_err() {
            failed.push(seed);
        }
        seed += 1;
    }
    println!("{} cases, {} failed", seed - first, failed.len());
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    // What was copied for every case is the original still.
    assert!(files_below(whole.folder.path()).len() > FILES.len());
}
