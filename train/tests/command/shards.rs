//! Several tasks learn one model: that of one task but for the last digits, whoever is killed, the same bytes every time.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};
use serde_json::{Value, json};
use table::write::ParquetWriter;
use testkit::random::Random;
use testkit::tables::{csv, customers};

use super::{Workshop, json, last_line, succeeded};

/// Within a minute the others of a lost shard have ended.
const MINUTE: Duration = Duration::from_secs(60);
/// How often the kernel is asked about processes.
const GLANCE: Duration = Duration::from_millis(20);

fn table(workshop: &Workshop, rows: usize, row_group: usize) -> PathBuf {
    write(workshop, customers(rows, 1, 7), row_group)
}

fn write(workshop: &Workshop, mut table: DataFrame, row_group: usize) -> PathBuf {
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

/// What the kernel tells of a process while it runs.
#[derive(Debug, Default)]
struct Use {
    /// Peak of its resident memory in KiB.
    peak: u64,
    /// Bytes that its sockets have sent.
    sent: BTreeMap<String, u64>,
}

impl Use {
    fn look(&mut self, pid: u32, sockets: &str) {
        // A process that has ended has no such line.
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        self.peak = self.peak.max(peak.unwrap_or(0));
        for line in sockets.lines().filter(|line| line.contains(&format!("pid={pid},"))) {
            let mut words = line.split_whitespace().skip(3);
            let ends = [words.next(), words.next()].map(Option::unwrap_or_default).join(" ");
            let sent = words.find_map(|word| word.strip_prefix("bytes_sent:")?.parse().ok()).unwrap_or(0);
            let known = self.sent.entry(ends).or_default();
            *known = sent.max(*known);
        }
    }

    fn bytes_sent(&self) -> u64 {
        self.sent.values().sum()
    }
}

/// All TCP sockets of this machine, a line each; none where there is no `ss`, with a word on standard error.
fn sockets() -> Option<String> {
    let listed = Command::new("ss").args(["-tinHpO"]).output();
    if listed.is_err() {
        writeln!(std::io::stderr(), "what shards send is not counted: there is no ss (iproute2)").ok();
    }
    Some(String::from_utf8_lossy(&listed.ok()?.stdout).into_owned())
}

/// Waits for processes, and looks at them all the while.
fn watch(mut running: Vec<Child>, counts_bytes: bool) -> (Vec<Output>, Vec<Use>) {
    let mut uses: Vec<Use> = running.iter().map(|_| Use::default()).collect();
    while running.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        let sockets = if counts_bytes { sockets().unwrap_or_default() } else { String::new() };
        for (child, seen) in running.iter().zip(&mut uses) {
            seen.look(child.id(), &sockets);
        }
        std::thread::sleep(GLANCE);
    }
    (wait(running), uses)
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

/// Histograms of the shards' own rows are all that XGBoost can add up to one model, so they have to go from one to the other.
#[test]
fn each_shard_holds_less_than_one_task_and_sends_its_histograms() {
    const ROWS: usize = 150_000;
    const COLUMNS: usize = 60;
    const ROUNDS: usize = 5;
    // Bins of a column, and bytes of the sums of gradients of a bin.
    const BINS: usize = 256;
    const SUMS: usize = 16;
    let workshop = Workshop::new();
    let mut table = customers(ROWS, 1, 7);
    let mut random = Random::new(11);
    for column in 0..COLUMNS {
        let values: Vec<f64> = (0..ROWS).map(|_| random.share()).collect();
        table.with_column(Series::new(format!("noise_{column}").into(), values).into_column()).unwrap();
    }
    let data = write(&workshop, table, 7_500);
    let rounds = ROUNDS.to_string();
    let more = ["--rounds", &rounds, "--param", "max_depth=4"];
    let one = workshop.call("one", &data).args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (of_one, one) = watch(vec![one], false);
    let of_one = result(&of_one);
    let counts_bytes = sockets().is_some();
    for count in [2, 4] {
        let (of_shards, shards) = watch(start(&workshop, &format!("of-{count}"), &data, count, &more), counts_bytes);
        let of_shards = result(&of_shards);
        assert!((number(&of_shards, "r2") - number(&of_one, "r2")).abs() < 0.003, "{of_shards} {of_one}");
        let peaks: Vec<u64> = shards.iter().map(|shard| shard.peak / 1024).collect();
        let sent: Vec<u64> = shards.iter().map(Use::bytes_sent).collect();
        println!("{count} shards: {peaks:?} MiB, of one task {} MiB; bytes sent: {sent:?}", one[0].peak / 1024);
        assert!(peaks.iter().all(|peak| 0 < *peak && *peak < one[0].peak / 1024 * 3 / 4), "{peaks:?} of {one:?}");
        // At least the root's histogram of every round.
        let least = (ROUNDS * COLUMNS * BINS * SUMS) as u64;
        assert!(!counts_bytes || sent.iter().all(|sent| *sent > least), "{sent:?} and not {least}");
    }
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

/// The call of shard 0 in a run's scratch space, once it stands.
fn call_of(folder: &Path) -> Value {
    let path = folder.join("collective.json");
    let started = Instant::now();
    while !path.exists() {
        assert!(started.elapsed() < MINUTE, "no call");
        std::thread::sleep(GLANCE);
    }
    json(&path)
}

/// Plays a shard 0 that calls this shard to a tracker at a port, and then does nothing more.
fn call_to(folder: &Path, of_killed: &Value, port: u16) {
    let mut call = of_killed.clone();
    (call["token"], call["port"], call["joining"]) = ("another".into(), port.into(), Value::Null);
    let answer =
        || std::fs::read(folder.join("shard-1.json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let put = |call: &Value| {
        std::fs::write(folder.join("new.json"), call.to_string()).unwrap();
        std::fs::rename(folder.join("new.json"), folder.join("collective.json")).unwrap();
    };
    let started = Instant::now();
    loop {
        let answered: Option<Value> = answer();
        if let Some(answer) = answered.filter(|answer| answer["call"] == "another") {
            call["joining"] = json!({"1": answer["token"]});
            return put(&call);
        }
        assert!(started.elapsed() < MINUTE, "no answer");
        call["beat"] = (call["beat"].as_u64().unwrap() + 1).into();
        put(&call);
        std::thread::sleep(GLANCE);
    }
}

/// A tracker whose machine is gone, one that says nothing, a shard that answered and never joined, and a port that another program has.
#[test]
fn who_never_comes_and_a_port_that_is_taken_end_a_shard_within_a_minute() {
    let workshop = Workshop::new();
    let data = table(&workshop, 2_000, 200);
    let start = |run_id: &str, index: u32| {
        shard(&workshop, run_id, &data, &format!("{index}/2"), &["--rounds", "3"]).spawn().unwrap()
    };
    let scratch = |run_id: &str| workshop.run_folder(run_id).join("_checkpoint");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let port = silent_port.to_string();
    let mut taken = workshop.call("taken", &data);
    taken.args(["--shard", "0/2", "--collective-host", "127.0.0.1", "--collective-port", &port]);
    let taken = taken.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let closed_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();

    let mut joined = Vec::new();
    for (run_id, port) in [("gone", closed_port), ("silent", silent_port)] {
        let mut first = start(run_id, 0);
        let of_killed = call_of(&scratch(run_id));
        first.kill().unwrap();
        first.wait().unwrap();
        let second = start(run_id, 1);
        call_to(&scratch(run_id), &of_killed, port);
        joined.push((second, Instant::now()));
    }
    let first = start("left-alone", 0);
    let call = call_of(&scratch("left-alone"));
    let answer = json!({"call": call["token"], "token": "of a shard that is gone"});
    std::fs::write(scratch("left-alone").join("shard-1.json"), answer.to_string()).unwrap();
    joined.push((first, Instant::now()));
    for (child, since) in joined {
        let ended = child.wait_with_output().unwrap();
        assert!(since.elapsed() < MINUTE, "{:?}", since.elapsed());
        assert_failed(&ended, 5, &["another shard was lost or does not answer", "start all shards again"]);
    }
    let ended = taken.wait_with_output().unwrap();
    assert_failed(&ended, 2, &["--collective-port (COLLECTIVE_PORT)", &port, "in use"]);
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
