//! What `train` does where memory or disk are short: with real limits, on real file systems.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use polars::prelude::{IntoColumn, NamedFrom, Series};
use tempfile::TempDir;
use testkit::disk::Disk;
use testkit::random::Random;
use testkit::tables::{customers, write_parquet};

use super::{json, last_line, program};

/// Rows of the large table: of given rounds they take 416 MiB in memory, 377 in batches, 337 with bins on disk; with a search
/// 678, 377, and 324 in two parts.
const ROWS: usize = 500_000;
/// Its columns that are noise.
const NOISE: usize = 40;

fn train(data: &Path, models: &Path, more: &[&str], scratch: Option<&Path>) -> Output {
    let mut command = program();
    command.args(["--id", "customer_id", "--target", "score", "--model-version", "v1", "--min-r2", "-1e12"]);
    command.args(["--threads", "2", "--log-format", "json", "--train-data"]).arg(data).arg("--models").arg(models);
    if let Some(scratch) = scratch {
        command.env("TMPDIR", scratch);
    }
    command.args(more).output().unwrap()
}

#[track_caller]
fn failed(done: &Output, exit_code: i32, parts: &[&str]) {
    let failure = last_line(done);
    assert_eq!(done.status.code(), Some(exit_code), "{failure}");
    let message = failure["error_message"].as_str().unwrap();
    parts.iter().for_each(|part| assert!(message.contains(part), "\"{part}\" is not in: {message}"));
}

#[track_caller]
fn r2(done: &Output) -> f64 {
    assert_eq!(done.status.code(), Some(0), "{}{}", last_line(done), String::from_utf8_lossy(&done.stderr));
    last_line(done)["r2"].as_f64().unwrap()
}

/// The memory plan that the log tells.
fn plan(done: &Output) -> String {
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    let plan = log.lines().find(|line| line.contains("memory plan"));
    assert!(plan.is_some(), "{log}");
    plan.unwrap().to_owned()
}

/// A small table, as CSV.
fn small(folder: &Path) -> PathBuf {
    let mut csv = String::from("customer_id,x,y,score\n");
    for row in 0..2_000 {
        let (x, y) = ((row * 37) % 83, (row * 7_919) % 101);
        writeln!(csv, "{row},{x},{y},{}", x * 2 + y).unwrap();
    }
    let path = folder.join("small.csv");
    std::fs::write(&path, csv).unwrap();
    path
}

/// A few customers, and so many columns of numbers that say nothing about them.
fn wide(folder: &Path, columns: usize) -> PathBuf {
    let (mut table, mut random) = (customers(3_000, 0, 7), Random::new(3));
    for column in 0..columns {
        let noise: Vec<f32> = (0..3_000).map(|_| random.share() as f32).collect();
        table.with_column(Series::new(format!("noise_{column}").into(), noise).into_column()).unwrap();
    }
    let path = folder.join("wide/part-0.parquet");
    write_parquet(&table, &path);
    path
}

/// Customers, and numbers that say nothing about them.
fn large(folder: &Path) -> PathBuf {
    large_times(folder, 0)
}

/// The same with a target times 2 to a power.
fn large_times(folder: &Path, power: i32) -> PathBuf {
    let path = folder.join(format!("large-{power}/part-0.parquet"));
    let mut table = customers(ROWS, 0, 7);
    if power != 0 {
        let scores = table.column("score").unwrap().f64().unwrap();
        let scaled: Vec<f64> = scores.iter().map(|score| score.unwrap() * 2_f64.powi(power)).collect();
        table.with_column(Series::new("score".into(), scaled).into_column()).unwrap();
    }
    let mut random = Random::new(11);
    for column in 0..NOISE {
        let values: Vec<f64> = (0..ROWS).map(|_| random.below(1_000) as f64).collect();
        table.with_column(Series::new(format!("noise_{column}").into(), values).into_column()).unwrap();
    }
    write_parquet(&table, &path);
    path
}

/// A spec with a category that stands for means of the target, which are learnt across folds.
fn spec(folder: &Path) -> String {
    let path = folder.join("features.toml");
    std::fs::write(&path, "[encoding]\nplan = \"target\"\n").unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn rows_that_do_not_fit_train_in_batches_and_from_disk_about_as_well() {
    let folder = TempDir::new().unwrap();
    let (data, spec) = (large(folder.path()), spec(folder.path()));
    let fixed = ["--rounds", "30", "--param", "eta=0.3", "--features", &spec];
    let with = |memory: &str, models: &str| {
        let more = [&fixed[..], &["--memory", memory]].concat();
        train(&data, &folder.path().join(models), &more, None)
    };
    let in_memory = with("4g", "in-memory");
    assert!(plan(&in_memory).contains("every row in memory"), "{}", plan(&in_memory));
    let expected = r2(&in_memory);
    let in_batches = with("440m", "in-batches");
    assert!(plan(&in_batches).contains("in batches"), "{}", plan(&in_batches));
    let on_disk = with("390m", "on-disk");
    assert!(plan(&on_disk).contains("external memory"), "{}", plan(&on_disk));
    for other in [&in_batches, &on_disk] {
        assert!((r2(other) - expected).abs() < 0.005, "{} and {expected}", r2(other));
        let (rows, all) = (last_line(other), last_line(&in_memory));
        assert_eq!((&rows["rows_train"], &rows["rows_test"]), (&all["rows_train"], &all["rows_test"]));
        assert_eq!(rows["data_quality_score"], all["data_quality_score"]);
    }
}

/// A target that XGBoost is given in other units, however its rows are read.
#[test]
fn a_target_that_is_scaled_gives_the_same_in_batches_from_disk_and_in_parts() {
    let folder = TempDir::new().unwrap();
    let (usual, tiny) = (large(folder.path()), large_times(folder.path(), -40));
    let fixed = ["--rounds", "15", "--param", "eta=0.3"];
    let chosen = ["--time-budget", "1"];
    for (memory, way, more) in [
        ("440m", "in batches", &fixed[..]),
        ("390m", "external memory", &fixed),
        ("370m", "parts of the rows", &chosen),
    ] {
        let with = |data: &Path, models: &str| {
            train(data, &folder.path().join(models).join(memory), &[more, &["--memory", memory]].concat(), None)
        };
        let (usual, tiny) = (with(&usual, "usual"), with(&tiny, "tiny"));
        assert!(plan(&tiny).contains(way), "{}", plan(&tiny));
        let log = String::from_utf8_lossy(&tiny.stderr).into_owned();
        assert!(log.contains("the model is brought back, exactly"), "{log}");
        // A search that the clock cuts does not choose alike.
        let tolerance = if more == fixed { 0.0 } else { 0.01 };
        assert!((r2(&tiny) - r2(&usual)).abs() <= tolerance && r2(&usual) > 0.9, "{} and {}", r2(&tiny), r2(&usual));
        let rmse = |done: &Output| last_line(done)["rmse"].as_f64().unwrap();
        let ratio = rmse(&tiny) / rmse(&usual) * 2_f64.powi(40);
        assert!((ratio - 1.0).abs() <= 20.0 * tolerance, "{ratio}");
    }
}

#[test]
fn a_model_is_chosen_on_a_sample_where_not_all_rows_fit() {
    let folder = TempDir::new().unwrap();
    let data = large(folder.path());
    let done = train(&data, &folder.path().join("models"), &["--memory", "430m", "--time-budget", "1"], None);
    assert!(r2(&done) > 0.9);
    let metrics = folder.path().join("models/engagement/v1").join(last_line(&done)["run_id"].as_str().unwrap());
    let metrics = json(&metrics.join("metrics.json"));
    let trial = &metrics["trials"][0];
    assert!(trial["rows"].as_u64().unwrap() < 400_000, "{trial}");
}

#[test]
fn where_bins_do_not_fit_each_booster_learns_from_a_part_of_the_rows() {
    let folder = TempDir::new().unwrap();
    let data = large(folder.path());
    let with = |memory: &str, models: &str| {
        train(&data, &folder.path().join(models), &["--memory", memory, "--time-budget", "1"], None)
    };
    let (in_memory, in_parts) = (with("4g", "in-memory"), with("370m", "in-parts"));
    assert!(plan(&in_parts).contains("one of 2 parts of the rows"), "{}", plan(&in_parts));
    assert!(r2(&in_parts) > r2(&in_memory) - 0.005, "{} and {}", r2(&in_parts), r2(&in_memory));
    let run = folder.path().join("in-parts/engagement/v1").join(last_line(&in_parts)["run_id"].as_str().unwrap());
    let members = json(&run.join("metrics.json"))["members"].clone();
    assert_eq!(members[0]["part"], serde_json::json!({ "index": 0, "of": 2 }), "{members}");
    assert_eq!(members[1]["part"], serde_json::json!({ "index": 1, "of": 2 }), "{members}");
    assert_eq!(members.as_array().unwrap().len(), 2);
}

/// XGBoost keeps a sketch of every column while it makes its matrix.
#[test]
fn the_plan_of_a_wide_table_covers_what_is_taken() {
    let folder = TempDir::new().unwrap();
    let data = wide(folder.path(), 1_500);
    let done = train(&data, &folder.path().join("models"), &["--rounds", "3", "--param", "max_depth=3"], None);
    assert_eq!(done.status.code(), Some(0), "{}", last_line(&done));
    let planned = serde_json::from_str::<serde_json::Value>(&plan(&done)).unwrap()["fields"]["total_bytes"].as_f64();
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    let metrics = output.lines().find(|line| line.contains("PeakMemory")).unwrap();
    let peak = serde_json::from_str::<serde_json::Value>(metrics).unwrap()["PeakMemory"].as_f64();
    assert!(peak.unwrap() <= planned.unwrap(), "{peak:?} bytes were taken, {planned:?} planned");
}

/// Histograms of 512 nodes would be nearly all that a search takes.
#[test]
fn a_wide_table_is_searched_without_deep_trees_where_they_have_no_room() {
    let folder = TempDir::new().unwrap();
    let data = wide(folder.path(), 1_500);
    let check = |memory| train(&data, &folder.path().join("models"), &["--check", "--memory", memory], None);
    let said =
        |done: &Output| String::from_utf8_lossy(&done.stderr).contains("no trees deeper than 6 levels are tried");
    let [all, usual, none] = ["16g", "2g", "600m"].map(check);
    assert_eq!((all.status.code(), said(&all)), (Some(0), false), "{}", last_line(&all));
    assert_eq!((usual.status.code(), said(&usual)), (Some(0), true), "{}", last_line(&usual));
    failed(&none, 8, &["give the task at least"]);
}

#[test]
fn too_little_memory_is_told_before_rows_are_read() {
    let folder = TempDir::new().unwrap();
    let data = large(folder.path());
    let started = Instant::now();
    let done = train(&data, &folder.path().join("models"), &["--memory", "160m"], None);
    failed(&done, 8, &["even with its bins on disk", "give the task at least", "MiB"]);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let exact = train(&data, &folder.path().join("m"), &["--memory", "300m", "--param", "tree_method=exact"], None);
    failed(&exact, 8, &["tree_method"]);
}

/// OpenMP would end the process without a word to the state machine.
#[test]
fn stacks_of_threads_that_the_system_refuses_are_told() {
    let folder = TempDir::new().unwrap();
    let data = small(folder.path());
    let call = |size: &str| {
        let mut command = program();
        command.args(["--id", "customer_id", "--target", "score", "--model-version", "v1", "--min-r2", "-1e12"]);
        command.args(["--threads", "2", "--log-format", "json", "--rounds", "3", "--train-data"]).arg(&data);
        command.arg("--models").arg(folder.path().join("models")).env("OMP_STACKSIZE", size).output().unwrap()
    };
    failed(
        &call("100000G"),
        8,
        &["OMP_STACKSIZE=100000G gives each of OpenMP's threads a stack of", "lower or unset it"],
    );
    r2(&call("4M"));
}

#[test]
fn a_full_scratch_disk_is_told_before_rows_are_read() {
    let Some(scratch) = Disk::of_kib(1024) else { return };
    let folder = TempDir::new().unwrap();
    let data = large(folder.path());
    let more = ["--memory", "390m", "--rounds", "5"];
    failed(
        &train(&data, &folder.path().join("models"), &more, Some(scratch.path())),
        8,
        &["on the scratch disk", scratch.path().to_str().unwrap(), "ephemeral storage"],
    );
}

#[test]
fn a_scratch_disk_that_cannot_be_written_is_access_denied() {
    let Some(scratch) = Disk::of_kib(1 << 20) else { return };
    scratch.make_read_only();
    let folder = TempDir::new().unwrap();
    let data = large(folder.path());
    let more = ["--memory", "390m", "--rounds", "5"];
    failed(&train(&data, &folder.path().join("models"), &more, Some(scratch.path())), 2, &["scratch disk", "TMPDIR"]);
}

#[test]
fn a_full_model_store_is_exit_8_and_publishes_nothing() {
    let Some(disk) = Disk::of_kib(96) else { return };
    let folder = TempDir::new().unwrap();
    let data = small(folder.path());
    let done = train(&data, disk.path(), &["--rounds", "300"], None);
    failed(&done, 8, &[disk.path().to_str().unwrap(), "bytes are needed"]);
    assert!(!disk.path().join("engagement/latest.json").exists());
    assert!(!disk.path().join("engagement/v1/latest.json").exists());
}

#[test]
fn a_model_store_that_cannot_be_written_is_access_denied() {
    let Some(disk) = Disk::of_kib(1024) else { return };
    disk.make_read_only();
    let folder = TempDir::new().unwrap();
    let data = small(folder.path());
    failed(&train(&data, disk.path(), &["--rounds", "5"], None), 2, &[disk.path().to_str().unwrap(), "Read-only"]);
}

#[test]
fn a_model_store_where_no_folder_can_be_made_is_a_wrong_setting() {
    let folder = TempDir::new().unwrap();
    let data = small(folder.path());
    let done = train(&data, Path::new("/proc/models"), &["--rounds", "5"], None);
    failed(&done, 2, &["cannot write /proc/models", "no folder can be made in /proc"]);
}
