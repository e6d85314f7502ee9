//! `train` under a limit of the host on threads: it runs, or says at once how many it needs.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use machine::threads::needed;
use serde_json::Value;
use testkit::users::{AnotherUser, Limited};

use super::{last_line, program};

/// What a program may take that starts nothing.
const AT_ONCE: Duration = Duration::from_secs(20);

fn user() -> Option<AnotherUser> {
    let user = AnotherUser::with(&[PathBuf::from(env!("CARGO_BIN_EXE_train"))])?;
    let mut csv = String::from("id,x,plan,target\n");
    for row in 0..300 {
        writeln!(csv, "{row},{},{},{}", row * 37 % 83, ["a", "b", "c"][row % 3], row * 37 % 83 + row % 3).unwrap();
    }
    user.write("data.csv", csv.as_bytes());
    Some(user)
}

/// Exit 8 that says what is needed and what the limit is, below what is needed; else exit 0.
#[track_caller]
fn refused_or_done(done: &Limited, most: usize, threads: usize) {
    let needed = needed(threads);
    if most >= needed {
        assert_eq!(done.code, Some(0), "{most}: {done:?}");
        return;
    }
    assert_eq!(done.code, Some(8), "{most}: {done:?}");
    assert!(done.took < AT_ONCE, "{most}: {done:?}");
    let last: Value = serde_json::from_str(&done.last).unwrap();
    let message = last["error_message"].as_str().unwrap();
    assert!(
        message.contains(&format!("--threads {threads} (THREADS) has up to {needed} threads at once")),
        "{message}"
    );
    assert!(message.contains(&format!("{most} processes and threads (ulimit -u, RLIMIT_NPROC)")), "{message}");
    assert_eq!((&last["error_type"], &last["exit_code"]), (&"resources".into(), &8.into()));
}

#[test]
fn a_limit_on_threads_lets_a_run_go_or_ends_it_at_once() {
    let Some(user) = user() else { return };
    let settings = ["--train-data", "data.csv", "--id", "id", "--target", "target", "--models", "models"];
    let settings =
        [&settings[..], &["--model-version", "v1", "--rounds", "5", "--min-r2", "-1e12", "--log-format", "json"]]
            .concat();
    let of_two = [&settings[..], &["--threads", "2"]].concat();
    for most in 1..=needed(2) + 2 {
        refused_or_done(&user.run("train", most, &of_two), most, 2);
    }
    let searching =
        [&settings[..10], &["--min-r2", "-1e12", "--time-budget", "1", "--threads", "3", "--log-format", "json"]]
            .concat();
    for most in [needed(3) - 1, needed(3)] {
        refused_or_done(&user.run("train", most, &searching), most, 3);
    }
    // The store's commands have no such setting, and run on as few threads as can be.
    for most in [1, 2, 3, 5, needed(1) - 1, needed(1)] {
        refused_or_done(&user.run("train", most, &["models", "list", "--models", "models"]), most, 1);
    }
}

#[test]
fn more_threads_than_the_machine_has_are_refused_before_anything_is_started() {
    let started = std::time::Instant::now();
    let mut call = program();
    call.args([
        "--train-data",
        "nothing",
        "--id",
        "id",
        "--target",
        "y",
        "--models",
        "models",
        "--model-version",
        "v1",
    ]);
    let done = call.args(["--threads", "5000000", "--log-format", "json"]).output().unwrap();
    assert_eq!(done.status.code(), Some(8));
    let message = last_line(&done)["error_message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("--threads 5000000 (THREADS) has up to") && message.contains("lower --threads"),
        "{message}"
    );
    assert!(started.elapsed() < AT_ONCE);
}
