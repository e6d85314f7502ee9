//! Guards the hot paths: how many instructions they take on fixed inputs, counted by valgrind's callgrind, since seconds are
//! noise on a shared machine. Valgrind knows no AVX-512, so the AVX2 and the portable code are counted.
//!
//! `counts.txt` beside this file has the counts; a path that takes a tenth more or less fails. After a change that is
//! meant to change them, or another compiler:
//!
//!     RECORD_COUNTS=1 cargo test --release --locked --workspace --test instructions
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../../benches/inputs.rs"]
mod inputs;
#[allow(dead_code)]
#[path = "../../../common/xgboost/tests/scoring/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "../../../common/xgboost/tests/scoring/xgb.rs"]
mod xgb;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use inputs::{Encoding, Scoring};
use scoring::InstructionSet;

const COUNTS: &str = "predict/tests/instructions/counts.txt";
/// Names the path and the model to the process that is counted.
const PATH: &str = "HOT_PATH";
const MODEL: &str = "HOT_PATHS_MODEL";
/// Of a stored count.
const TOLERANCE: f64 = 0.1;
const PATHS: [&str; 6] =
    ["encoding", "quantising_avx2", "scoring_avx2", "quantising_portable", "scoring_portable", "parquet_out"];

// Valgrind starts and stops counting at functions of this name.
#[inline(never)]
fn hot_path_is_counted<Answer>(run: impl FnOnce() -> Answer) {
    black_box(run());
}

/// What is counted: a path once before, so that nothing is counted that only happens once, then once for the count.
#[test]
#[ignore = "run under valgrind by the other test"]
fn hot_path() {
    let Ok(path) = std::env::var(PATH) else { return };
    let scoring = |instructions| {
        let model = std::fs::read(std::env::var(MODEL).unwrap()).unwrap();
        Scoring::new(&model, instructions).expect("a machine with AVX2")
    };
    let instructions = if path.ends_with("avx2") { InstructionSet::Avx2 } else { InstructionSet::Portable };
    match path.split('_').next() {
        Some("encoding") => {
            let encoding = Encoding::new();
            black_box(encoding.encode_all());
            hot_path_is_counted(|| encoding.encode_all());
        }
        Some("quantising") => {
            let mut scoring = scoring(instructions);
            hot_path_is_counted(|| scoring.quantise());
        }
        Some("scoring") => {
            let mut scoring = scoring(instructions);
            black_box(scoring.score());
            hot_path_is_counted(|| scoring.score());
        }
        _ => {
            let mut frame = inputs::predictions();
            black_box(table::write::to_parquet(&mut frame).unwrap());
            hot_path_is_counted(|| table::write::to_parquet(&mut frame).unwrap());
        }
    }
}

/// Where people see it: Cargo keeps what tests print.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: instructions are not counted: {what}");
}

#[test]
fn hot_paths_take_as_many_instructions_as_before() {
    if !InstructionSet::Avx2.is_available() {
        return skipped("this machine has no AVX2");
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        return skipped("no valgrind: apt-get install valgrind");
    }
    let counted = count();
    if std::env::var_os("RECORD_COUNTS").is_some() {
        return record(&counted);
    }
    let stored = stored();
    let mut problems = String::new();
    for path in PATHS {
        let (before, now) = (stored.get(path).copied().unwrap_or(0), counted[path]);
        let change = now as f64 / before as f64 - 1.0;
        println!("{path:20} {now:12} {:+.1} %", 100.0 * change);
        if change.is_nan() || change.abs() > TOLERANCE {
            writeln!(problems, "{path}: {before} before, {now} now ({:+.1} %)", 100.0 * change).unwrap();
        }
    }
    assert!(
        problems.is_empty(),
        "instructions of the hot paths:\n{problems}If this is meant, record them: see this file"
    );
}

fn stored() -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(testkit::project().join(COUNTS)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(path, count)| (path.to_owned(), count.trim().parse().unwrap()))
        .collect()
}

fn record(counted: &BTreeMap<&str, u64>) {
    let mut text = "# Instructions of the hot paths on x86-64; see main.rs.\n".to_owned();
    for path in PATHS {
        writeln!(text, "{path} {}", counted[path]).unwrap();
    }
    std::fs::write(testkit::project().join(COUNTS), text).unwrap();
}

/// Every path in a process of its own, two at a time: most of it is valgrind's start.
fn count() -> BTreeMap<&'static str, u64> {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.ubj");
    std::fs::write(&model, inputs::model()).unwrap();
    let counted = PATHS.chunks(2).flat_map(|paths| {
        std::thread::scope(|scope| {
            let counts = paths.iter().map(|path| scope.spawn(|| (*path, count_one(path, folder.path(), &model))));
            let counts: Vec<_> = counts.collect();
            counts.into_iter().map(|count| count.join().unwrap()).collect::<Vec<_>>()
        })
    });
    counted.collect()
}

fn count_one(path: &str, folder: &Path, model: &Path) -> u64 {
    let profile = folder.join(path);
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*hot_path_is_counted*"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "hot_path", "--test-threads=1"])
        .env(PATH, path)
        .env(MODEL, model)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {}{log}", String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read_to_string(&profile).unwrap_or_else(|error| panic!("{}: {error}", profile.display()));
    let total = text.lines().find_map(|line| line.strip_prefix("totals:"));
    let total = total.and_then(|total| total.trim().parse().ok()).unwrap_or_else(|| panic!("no total in {text}"));
    assert!(total > 0, "{path}: nothing was counted: {log}");
    total
}
