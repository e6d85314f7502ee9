//! `predict` under a limit of the host on threads: it runs, or says at once how many it needs.

use std::path::Path;
use std::time::Duration;

use machine::threads::needed;
use serde_json::Value;
use testkit::tables::{csv, customers, parquet_bytes};
use testkit::users::AnotherUser;

use super::ROWS;

#[test]
fn a_limit_on_threads_lets_a_run_go_or_ends_it_at_once() {
    let folder = Path::new(env!("CARGO_BIN_EXE_predict")).parent().unwrap();
    let Some(user) = AnotherUser::with(&[folder.join("train"), folder.join("predict")]) else { return };
    user.write("table.parquet", &parquet_bytes(&customers(ROWS, 1, 7)));
    user.write("table.csv", csv(&customers(ROWS, 1, 7)).as_bytes());
    let settings = ["--train-data", "table.parquet", "--id", "customer_id", "--target", "score", "--models", "models"];
    let trained =
        [&settings[..], &["--model-version", "v1", "--rounds", "5", "--min-r2", "-1e12", "--log-format", "json"]]
            .concat();
    assert_eq!(user.run("train", 1_000, &trained).code, Some(0));
    let at_once = Duration::from_secs(20);
    for (command, input) in [(None, "table.parquet"), (None, "table.csv"), (Some("prepare"), "table.parquet")] {
        let settings = ["--input", input, "--models", "models", "--output", "output", "--log-format", "json"];
        let call: Vec<&str> = command.into_iter().chain(settings).chain(["--threads", "2"]).collect();
        for most in (1..8).chain([15, needed(2) - 2, needed(2) - 1, needed(2), needed(2) + 1]) {
            let done = user.run("predict", most, &call);
            if most >= needed(2) {
                assert_eq!(done.code, Some(0), "{most}: {done:?}");
                continue;
            }
            assert_eq!(done.code, Some(8), "{most}: {done:?}");
            assert!(done.took < at_once, "{most}: {done:?}");
            let last: Value = serde_json::from_str(&done.last).unwrap();
            let message = last["error_message"].as_str().unwrap();
            assert!(message.contains(&format!("has up to {} threads at once", needed(2))), "{message}");
            assert!(message.contains(&format!("{most} processes and threads (ulimit -u, RLIMIT_NPROC)")), "{message}");
        }
    }
}
