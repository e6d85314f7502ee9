//! Several tasks learn one model: that of one task but for the last digits, whoever is killed, the same bytes every time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use table::write::ParquetWriter;
use testkit::tables::{csv, customers};

use super::{Workshop, json, last_line, succeeded};

/// Within a minute the others of a lost shard have ended.
const MINUTE: Duration = Duration::from_secs(60);

fn table(workshop: &Workshop, rows: usize, row_group: usize) -> PathBuf {
    let mut table = customers(rows, 1, 7);
    table.rename("customer_id", "id".into()).unwrap();
    table.rename("score", "target".into()).unwrap();
    let path = workshop.folder().join("table.parquet");
    let file = std::fs::File::create(&path).unwrap();
    ParquetWriter::new(std::io::BufWriter::new(file)).with_row_group_rows(row_group).finish(&mut table).unwrap();
    path
}

fn shard(workshop: &Workshop, run_id: &str, data: &Path, shard: &str, more: &[&str]) -> Command {
    let mut call = workshop.call(run_id, data);
    call.args(["--shard", shard, "--collective-host", "127.0.0.1", "--collective-port", "0"]).args(more);
    call.stdout(Stdio::piped()).stderr(Stdio::piped());
    call
}

/// All shards of a run, the last one first.
fn start(workshop: &Workshop, run_id: &str, data: &Path, count: u32, more: &[&str]) -> Vec<Child> {
    let start = |index: u32| shard(workshop, run_id, data, &format!("{index}/{count}"), more).spawn().unwrap();
    let mut running: Vec<Child> = (0..count).rev().map(start).collect();
    running.reverse();
    running
}

fn wait(running: Vec<Child>) -> Vec<Output> {
    running.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

/// The files of a run but for what tells of time.
fn files(workshop: &Workshop, run_id: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = workshop.run_folder(run_id);
    assert!(!folder.join("_checkpoint").exists(), "nothing is left behind");
    let read = |name: &str| (name.to_owned(), std::fs::read(folder.join(name)).unwrap());
    let mut files: BTreeMap<_, _> = ["model.ubj"].map(read).into();
    let mut metadata = json(&folder.join("metadata.json"));
    for field in ["created_at", "run_id"] {
        metadata[field].take();
    }
    files.insert("metadata.json".to_owned(), metadata.to_string().into_bytes());
    files
}

/// What all shards of a run ended with, which is the same.
#[track_caller]
fn result(done: &[Output]) -> Value {
    done.iter().for_each(succeeded);
    let results: Vec<Value> = done.iter().map(last_line).collect();
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    results[0].clone()
}

#[track_caller]
fn assert_failed(done: &Output, exit_code: i32, parts: &[&str]) -> Value {
    let last = last_line(done);
    assert_eq!(done.status.code(), Some(exit_code), "{last}");
    assert_eq!(last["exit_code"], exit_code);
    let message = last["error_message"].as_str().unwrap();
    parts.iter().for_each(|part| assert!(message.contains(part), "\"{part}\" is not in: {message}"));
    last
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn shards_learn_what_one_task_learns_and_the_same_bytes_every_time() {
    let workshop = Workshop::new();
    let data = table(&workshop, 6_000, 500);
    let more = ["--rounds", "60"];
    succeeded(&workshop.call("one", &data).args(more).output().unwrap());
    let of_one = json(&workshop.run_folder("one").join("result.json"));
    for count in [2, 4] {
        let runs = ["first", "again"].map(|name| format!("{name}-{count}"));
        for run_id in &runs {
            let of_shards = result(&wait(start(&workshop, run_id, &data, count, &more)));
            assert!((number(&of_shards, "r2") - number(&of_one, "r2")).abs() < 0.003, "{of_shards} {of_one}");
            for field in ["rows_train", "rows_test", "rows_dropped", "rounds", "gate"] {
                assert_eq!(of_shards[field], of_one[field], "{field}");
            }
        }
        let [first, again] = runs.map(|run_id| files(&workshop, &run_id));
        assert!(first == again, "{count} shards came to other bytes");
    }
    let latest = json(&workshop.folder().join("models/engagement/latest.json"));
    assert_eq!(latest["run_id"], "again-4");
}

#[test]
fn how_to_learn_is_searched_for_and_told_to_all() {
    let workshop = Workshop::new();
    let data = table(&workshop, 6_000, 700);
    let more = ["--time-budget", "4", "--slice", "plan", "--max-r2-drop", "0.5"];
    succeeded(&workshop.call("one", &data).args(more).output().unwrap());
    let of_one = json(&workshop.run_folder("one").join("result.json"));
    let of_shards = result(&wait(start(&workshop, "three", &data, 3, &more)));
    assert!((number(&of_shards, "r2") - number(&of_one, "r2")).abs() < 0.01, "{of_shards} {of_one}");
    let metrics = json(&workshop.run_folder("three").join("metrics.json"));
    assert!(!metrics["trials"].as_array().unwrap().is_empty());
    assert_eq!(metrics["rows"], json(&workshop.run_folder("one").join("metrics.json"))["rows"]);
    // A repeated run id ends with the result that there is, in every shard.
    let again = result(&wait(start(&workshop, "three", &data, 3, &more)));
    assert_eq!(again, of_shards);
}

#[test]
fn a_shard_that_is_killed_ends_the_others_and_all_started_again_come_to_the_same_bytes() {
    let workshop = Workshop::new();
    let data = table(&workshop, 6_000, 500);
    let more = ["--rounds", "800", "--param", "max_depth=7"];
    let undisturbed = result(&wait(start(&workshop, "undisturbed", &data, 2, &more)));
    let expected = files(&workshop, "undisturbed");
    let mut seen = Vec::new();
    for (killed, milliseconds) in [(0, 1_500), (1, 1_500), (0, 2_500), (1, 3_500)] {
        let run_id = format!("killed-{killed}-{milliseconds}");
        let mut running = start(&workshop, &run_id, &data, 2, &more);
        std::thread::sleep(Duration::from_millis(milliseconds));
        let is_over = running[killed].try_wait().unwrap().is_some();
        running[killed].kill().unwrap();
        let started = Instant::now();
        let other = running.remove(1 - killed);
        let checkpoint = workshop.run_folder(&run_id).join("_checkpoint/collective.json");
        let had_met = checkpoint.exists() && !json(&checkpoint)["joining"].is_null();
        seen.push((is_over, had_met));
        if !had_met && !is_over {
            // It would wait for ten minutes.
            let mut other = other;
            other.kill().unwrap();
            other.wait().unwrap();
        } else {
            let ended = other.wait_with_output().unwrap();
            assert!(started.elapsed() < MINUTE, "{:?}", started.elapsed());
            if !is_over {
                assert_failed(&ended, 5, &["start all shards again"]);
            }
        }
        let again = result(&wait(start(&workshop, &run_id, &data, 2, &more)));
        assert_eq!(again["r2"], undisturbed["r2"]);
        assert!(files(&workshop, &run_id) == expected, "{run_id}: other bytes");
    }
    assert!(seen.contains(&(false, true)), "no shard was killed while they learnt: {seen:?}");
}

#[test]
fn what_shards_cannot_share_and_do_not_agree_on_is_refused() {
    let workshop = Workshop::new();
    let data = table(&workshop, 2_000, 200);
    let refused = |arguments: &[&str], exit_code: i32, parts: &[&str]| {
        let done = workshop.call("r", &data).args(arguments).output().unwrap();
        assert_failed(&done, exit_code, parts);
    };
    refused(&["--shard", "0/2", "--param", "tree_method=approx"], 2, &["--shard (SHARD) needs tree_method=hist"]);
    refused(&["--shard", "0/2"], 2, &["--collective-host (COLLECTIVE_HOST) is not set"]);
    let away = ["--shard", "0/2", "--collective-host", "203.0.113.7"];
    refused(&away, 2, &["--collective-host (COLLECTIVE_HOST) 203.0.113.7", "Cannot assign requested address"]);

    let mut table = customers(500, 1, 7);
    table.rename("customer_id", "id".into()).unwrap();
    table.rename("score", "target".into()).unwrap();
    let text = workshop.write("table.csv", &csv(&table));
    let done = shard(&workshop, "of-csv", &text, "1/2", &[]).output().unwrap();
    assert_failed(&done, 2, &["--shard (SHARD) needs Parquet", "table.csv is CSV"]);

    // Another number of tasks, other settings, other rows.
    let started = Instant::now();
    let mut first = shard(&workshop, "mixed", &data, "0/2", &["--rounds", "3"]).spawn().unwrap();
    let wrong_count = shard(&workshop, "mixed", &data, "1/3", &["--rounds", "3"]).output().unwrap();
    assert_failed(&wrong_count, 2, &["--shard (SHARD) is 1/3 here, and shard 0 is one of 2"]);
    let other_settings = shard(&workshop, "mixed", &data, "1/2", &["--rounds", "4"]).output().unwrap();
    assert_failed(&other_settings, 2, &["rounds"]);
    assert!(started.elapsed() < MINUTE);
    let second = shard(&workshop, "mixed", &data, "1/2", &["--rounds", "3"]).output().unwrap();
    succeeded(&second);
    assert!(first.wait().unwrap().success());
}

#[test]
fn more_shards_than_row_groups_leave_some_with_nothing_to_do() {
    let workshop = Workshop::new();
    let data = table(&workshop, 900, 450);
    let done = wait(start(&workshop, "r", &data, 4, &["--rounds", "5"]));
    done.iter().for_each(succeeded);
    assert_eq!(result(&done[..2])["rows_train"], json(&workshop.run_folder("r").join("result.json"))["rows_train"]);
    assert!(done[2..].iter().all(|done| last_line(done)["complete"] == false));
    // One row group is one task's.
    let data = table(&workshop, 900, 900);
    let done = wait(start(&workshop, "alone", &data, 2, &["--rounds", "5"]));
    done.iter().for_each(succeeded);
    assert_eq!(last_line(&done[1])["complete"], false);
}

#[test]
fn wrong_data_ends_all_shards_with_the_same_code() {
    let workshop = Workshop::new();
    let data = table(&workshop, 2_000, 200);
    // The first shard finds it when it learns the features, the others hear of it.
    let spec = workshop.write("features.toml", "[derived]\nx = \"target * 1\"\n");
    let more = ["--features", spec.to_str().unwrap(), "--rounds", "3"];
    let done = wait(start(&workshop, "r", &data, 2, &more));
    let codes: Vec<_> = done.iter().map(|done| done.status.code()).collect();
    assert!(codes[0].is_some_and(|code| code == 2 || code == 4) && codes[1] == codes[0], "{codes:?}");
}
