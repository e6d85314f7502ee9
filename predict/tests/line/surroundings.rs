//! Hostile and clumsy surroundings of local stores: other people's files where ours lie, links, pipes, limits of the host.

use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, fcntl_setfl, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::program::Programs;
use testkit::tables;

use super::{Workshop, programs};

/// What SIGTERM may take.
const GRACE: Duration = Duration::from_secs(5);

fn pipe(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

#[test]
fn a_pipe_among_files_being_written_is_waited_for_by_nobody() {
    let workshop = Workshop::with_model();
    let pipe_path = workshop.path("output/.incoming/1-0-1764374400000000000");
    pipe(&pipe_path);
    workshop.predict().run().succeeded();
    assert!(std::fs::symlink_metadata(&pipe_path).unwrap().file_type().is_fifo(), "it is not ours");

    pipe(&workshop.path("locked/.incoming/lock"));
    let ended = workshop.predict().env("OUTPUT", "locked").run();
    ended.failed(2, &[".incoming/lock is not the empty file by which programs lock a store", "move it away"]);

    pipe(&workshop.path("taken/latest.json"));
    workshop.predict().env("OUTPUT", "taken").run().failed(2, &["taken/latest.json", "a pipe or a device"]);
}

#[test]
fn a_link_in_place_of_the_folder_for_files_being_written_is_not_followed() {
    let workshop = Workshop::with_model();
    let names = ["1-0-1764374400000000000", "notes.txt"];
    names.iter().for_each(|name| workshop.write(&format!("theirs/{name}"), "theirs"));
    std::fs::create_dir(workshop.path("output")).unwrap();
    symlink(workshop.path("theirs"), workshop.path("output/.incoming")).unwrap();
    workshop.predict().run().failed(2, &["output/.incoming is a link", "move it away"]);
    assert_eq!(workshop.files("theirs"), names);
}

#[test]
fn what_somebody_else_put_among_files_being_written_stays() {
    let workshop = Workshop::with_model();
    let theirs = ["2024-01-31", "1-0-1764374400000000000.csv", "table.parquet"];
    theirs.iter().for_each(|name| workshop.write(&format!("output/.incoming/{name}"), "theirs"));
    let ours = "output/.incoming/12345-0-1764374400000000000";
    workshop.write(ours, "of a writer that was killed");
    workshop.predict().run().succeeded();
    assert!(!workshop.path(ours).exists());
    assert_eq!(workshop.files("output/.incoming").len(), theirs.len());
}

#[test]
fn pruning_deletes_nothing_behind_a_link() {
    let workshop = Workshop::with_model();
    workshop.train().env("RUN_ID", "newer").run().succeeded();
    let of_older =
        workshop.files("models/engagement/v1").into_iter().find(|file| file.ends_with("result.json")).unwrap();
    let older = of_older.trim_end_matches("/result.json").to_owned();
    // A whole label, the folder of a run, and what lies in one.
    super::copy_folder(&workshop.path(&format!("models/engagement/v1/{older}")), &workshop.path("theirs/r1"));
    let theirs = workshop.files("theirs");
    symlink(workshop.path("theirs"), workshop.path("models/engagement/v2")).unwrap();
    workshop
        .models_command(&["prune", "--keep", "0"])
        .failed(2, &["models/engagement/v2 is a link", "nothing is deleted"]);
    std::fs::remove_file(workshop.path("models/engagement/v2")).unwrap();
    std::fs::create_dir(workshop.path("models/engagement/v2")).unwrap();
    symlink(workshop.path("theirs/r1"), workshop.path("models/engagement/v2/r1")).unwrap();
    workshop.models_command(&["prune", "--keep", "0"]).failed(2, &["v2/r1 is a link"]);
    std::fs::remove_file(workshop.path("models/engagement/v2/r1")).unwrap();
    symlink(workshop.path("theirs"), workshop.path(&format!("models/engagement/v1/{older}/extra"))).unwrap();
    workshop.models_command(&["prune", "--keep", "0"]).succeeded();
    assert_eq!(workshop.files("theirs"), theirs);
    assert!(!workshop.path(&format!("models/engagement/v1/{older}")).exists(), "the run itself is gone");
}

/// A model name that lies elsewhere by a link still works: what is not deleted there is said.
#[test]
fn a_store_that_lies_behind_a_link_still_serves() {
    let workshop = Workshop::with_data();
    std::fs::create_dir_all(workshop.path("models")).unwrap();
    std::fs::create_dir_all(workshop.path("elsewhere")).unwrap();
    symlink(workshop.path("elsewhere"), workshop.path("models/engagement")).unwrap();
    let ended = workshop.train().run();
    ended.succeeded();
    assert!(ended.stderr.contains("the scratch space of this run stays"), "{}", ended.stderr);
    workshop.predict().run().succeeded();
}

/// A program under a limit of the shell, its exit code and its last line.
fn limited(workshop: &Workshop, limit: &str, program: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let folder = Path::new(env!("CARGO_BIN_EXE_predict")).parent().unwrap();
    let _: Programs = programs();
    let mut command = Command::new("bash");
    command.args(["-c", &format!("ulimit {limit}; exec \"$@\""), "bash"]).arg(folder.join(program)).args(arguments);
    command.args(["--threads", "2", "--log-format", "json"]).current_dir(workshop.folder.path()).stdin(Stdio::null());
    let done = command.output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let last = serde_json::from_str(text.lines().last().unwrap_or("null")).unwrap_or(Value::Null);
    (done.status.code(), last)
}

const PREDICT: [&str; 6] = ["--input", "customers", "--models", "models", "--output", "output"];
const TRAIN: [&str; 12] = [
    "--train-data",
    "train",
    "--models",
    "models",
    "--id",
    "customer_id",
    "--target",
    "score",
    "--model-version",
    "v1",
    "--rounds",
    "30",
];

/// Exit 0 or exit 8 that names the limit, and both are seen.
fn each_limit(workshop: &Workshop, letter: &str, limits: impl Iterator<Item = u32>, name: &str) {
    let (mut refused, mut done) = (0, 0);
    for most in limits {
        for (program, arguments) in [("predict", &PREDICT[..]), ("train", &TRAIN[..])] {
            let limit = format!("-{letter} {most}");
            let (code, last) = limited(workshop, &limit, program, arguments);
            match code {
                Some(0) => done += 1,
                Some(8) => {
                    refused += 1;
                    let message = last["error_message"].as_str().unwrap_or_default();
                    assert!(message.contains(name), "{program} {limit}: {last}");
                }
                other => panic!("{program} {limit}: {other:?} {last}"),
            }
        }
    }
    assert!(refused > 0 && done > 0, "{letter}: {refused} refused, {done} done");
}

#[test]
fn a_limit_on_open_files_lets_a_run_go_or_is_named() {
    let workshop = Workshop::with_model();
    // With fewer than four the libraries of the program cannot be loaded.
    each_limit(&workshop, "n", (4..24).chain([32, 64]), "RLIMIT_NOFILE");
}

#[test]
fn a_limit_on_the_size_of_files_lets_a_run_go_or_is_named() {
    let workshop = Workshop::with_model();
    each_limit(&workshop, "f", [0, 1, 2, 4, 8, 16, 64, 100, 4_000].into_iter(), "RLIMIT_FSIZE");
}

/// Memory of the process alone, which no control group shows: data, address space, and the stack. With much less the libraries of the
/// program cannot be loaded.
#[test]
fn a_limit_on_the_memory_of_the_process_lets_a_run_go_or_is_named() {
    let workshop = Workshop::with_model();
    let kib = |mib: [u32; 12]| mib.into_iter().map(|mib| mib << 10);
    each_limit(&workshop, "d", kib([40, 60, 80, 100, 120, 150, 200, 250, 300, 400, 600, 1_500]), "RLIMIT_DATA");
    each_limit(&workshop, "v", kib([120, 150, 200, 250, 300, 350, 400, 450, 500, 600, 800, 2_000]), "RLIMIT_AS");
    each_limit(
        &workshop,
        "s",
        [96, 128, 200, 256, 400, 512, 700, 1_000, 1_024, 2_048, 8_192].into_iter(),
        "RLIMIT_STACK",
    );
}

/// A reader that has stopped reading holds the program up, but not past a SIGTERM.
#[test]
fn a_full_pipe_as_standard_output_does_not_outlive_sigterm() {
    let workshop = Workshop::with_model();
    let (reader, writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    let folder = Path::new(env!("CARGO_BIN_EXE_predict")).parent().unwrap();
    let mut command = Command::new(folder.join("predict"));
    command.args(PREDICT).args(["--log-format", "json"]).current_dir(workshop.folder.path());
    let mut child = command.stdout(writer).stderr(Stdio::null()).stdin(Stdio::null()).spawn().unwrap();
    // Its first part is there: from now on nobody takes what it says.
    let begun = Instant::now();
    while workshop.files("output/predictions").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
    let asked = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert!(asked.elapsed() < GRACE, "{:?}", asked.elapsed());
    assert_eq!(status.code(), Some(143));
    drop(reader);
}

#[test]
fn a_pointer_that_is_huge_is_refused_before_it_is_read() {
    let workshop = Workshop::with_model();
    let huge = |name: &str| {
        std::fs::create_dir_all(workshop.path(name).parent().unwrap()).unwrap();
        std::fs::File::create(workshop.path(name)).unwrap().set_len(1 << 30).unwrap();
    };
    huge("output/latest.json");
    workshop.predict().run().failed(2, &["output/latest.json", "is too large"]);
    huge("models/engagement/latest.json");
    workshop.predict().env("OUTPUT", "other").run().failed(6, &["latest.json is damaged", "too large"]);
    let run = workshop.files("models/engagement/v1").into_iter().find(|file| file.ends_with("result.json")).unwrap();
    huge(&format!("models/engagement/v1/{run}"));
    let call = workshop.predict().env("OUTPUT", "other").env("MODEL_VERSION", "v1");
    call.run().failed(6, &["result.json is damaged"]);
}

/// What is in the name and password of a URL is in no output, whatever the log level.
#[test]
fn names_and_passwords_in_urls_are_in_no_output() {
    let workshop = Workshop::with_model();
    let with = |variable: &str, value: &str, level: &str| {
        let call = workshop.predict().env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "geheim");
        let call = call.env("AWS_ENDPOINT_URL_S3", "http://me:geheim@127.0.0.1:9").env("AWS_MAX_ATTEMPTS", "1");
        call.env("RUST_LOG", level).env(variable, value).args(["--log-format", "json"]).run()
    };
    for (variable, value, code) in [
        ("MODELS", "s3://bucket/models", 5),
        ("MODELS", "s3://me:geheim@bucket/models", 2),
        ("MODELS", "s3://me:ge/geheim@bucket/models", 2),
        ("INPUT_DATA", "https://me:geheim@host/x", 2),
        ("OUTPUT", "ftp://me:geheim@host/x", 2),
        ("INPUT_DATA", "s3://bucket/customers", 5),
    ] {
        for level in ["info", "debug", "trace"] {
            let ended = with(variable, value, level);
            ended.failed(code, &[]);
            assert!(!(ended.stdout + &ended.stderr).contains("geheim"), "{variable}={value} at {level}");
        }
    }
    let call = workshop.predict().env("AWS_ENDPOINT_URL_S3", "me:geheim@host").env("MODELS", "s3://bucket/models");
    call.run().failed(2, &["AWS_ENDPOINT_URL_S3"]);
    let help = workshop.predict().env("MODELS", "s3://me:geheim@bucket/models").arg("--help").run();
    assert!(!help.stdout.contains("geheim"), "{}", help.stdout);
}

#[test]
fn credentials_with_a_line_break_are_a_wrong_setting() {
    let workshop = Workshop::with_model();
    let with = |variable: &str, value: &str| {
        let call =
            workshop.predict().env("MODELS", "s3://bucket/models").env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
        let call = call.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
        call.env("AWS_MAX_ATTEMPTS", "1").env(variable, value).run()
    };
    with("AWS_ACCESS_KEY_ID", "AKIA\nID").failed(2, &["AWS_ACCESS_KEY_ID", "line break"]);
    with("AWS_SESSION_TOKEN", "to\nken").failed(2, &["AWS_SESSION_TOKEN", "line break"]);
    with("AWS_REGION", "eu\nwest").failed(2, &["AWS_REGION"]);
    workshop.write("credentials", "[default]\naws_access_key_id = A K\naws_secret_access_key = x\n");
    let call = workshop.predict().env("MODELS", "s3://bucket/models").env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
    let call = call.env("AWS_SHARED_CREDENTIALS_FILE", workshop.text("credentials")).env("AWS_MAX_ATTEMPTS", "1");
    call.run().failed(2, &["access key id"]);
}

/// Files that were copied from the folder of another run, and a pointer to other metadata.
#[test]
fn what_is_of_another_run_is_refused() {
    let workshop = Workshop::with_model();
    workshop.predict().env("RUN_ID", "first").run().succeeded();
    workshop
        .write("output/runs/second/plan.json", std::fs::read(workshop.path("output/runs/first/plan.json")).unwrap());
    workshop.predict().env("RUN_ID", "second").run().failed(4, &["second/plan.json is the plan of the run \"first\""]);
    let result = std::fs::read(workshop.path("output/runs/first/result.json")).unwrap();
    workshop.write("output/runs/third/result.json", result);
    workshop.predict().env("RUN_ID", "third").run().failed(4, &["third/result.json is of the run \"first\""]);

    let mut latest = workshop.json("models/engagement/latest.json");
    latest["metadata_sha256"] = "00".into();
    workshop.write("models/engagement/latest.json", latest.to_string());
    workshop.predict().env("RUN_ID", "fourth").run().failed(6, &["latest.json names another model", "SHA-256 differ"]);
}

/// A run that was killed with finished parts, of which somebody has changed what it will go on from: each such part is scored again.
#[test]
fn what_is_changed_behind_a_killed_run_is_scored_again() {
    let workshop = Workshop::with_model();
    let table = tables::without(&tables::customers(1_100_000, 100_000, 8), "score");
    tables::write_parquet(&table, &workshop.path("many/part.parquet"));
    let call = |output: &str| workshop.predict_on("many").env("OUTPUT", output).args(["--run-id", "r1"]);
    call("undisturbed").run().succeeded();
    let predictions = |output: &str| {
        let folder = workshop.path(&format!("{output}/predictions/run_id=r1"));
        super::files_below(&folder).iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>()
    };
    let expected = predictions("undisturbed");
    let part = "predictions/run_id=r1/part-00000.parquet";
    let is_decided = |output: &str| workshop.path(&format!("{output}/runs/r1/_parts/commit")).exists();
    for kind in ["overwritten", "renamed", "escaped"] {
        let record = workshop.path(&format!("{kind}/runs/r1/_parts/part-00000.json"));
        // On a busy machine the run may be decided before the record is seen, and what is decided is not scored again: another run
        // is begun then.
        let is_killed_in_time = (0..20).any(|_| {
            let _ = std::fs::remove_dir_all(workshop.path(kind));
            let killed = call(kind).start().kill_when(|| record.exists());
            killed.status.code().is_none() && record.exists() && !is_decided(kind)
        });
        assert!(is_killed_in_time, "{kind}: every run was decided before its record was seen");
        match kind {
            "overwritten" => {
                let path = workshop.path(&format!("{kind}/{part}"));
                let mut bytes = std::fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle..middle + 64].fill(b'x');
                std::fs::write(&path, bytes).unwrap();
            }
            _ => {
                let elsewhere =
                    if kind == "renamed" { "predictions/run_id=r1/part-00001.parquet" } else { "../../theirs" };
                let mut record_json = workshop.json(&format!("{kind}/runs/r1/_parts/part-00000.json"));
                record_json["predictions"]["path"] = elsewhere.into();
                std::fs::write(&record, record_json.to_string()).unwrap();
            }
        }
        call(kind).run().succeeded();
        assert!(predictions(kind) == expected, "{kind}: other bytes than those of an undisturbed run");
        let manifest = workshop.json(&format!("{kind}/runs/r1/manifest.json"));
        let first = &manifest["parts"][0];
        assert_eq!(first["path"], part, "{kind}: {first}");
        assert_eq!(first["sha256"], super::sha256(&expected[0]), "{kind}: {first}");
    }
}

/// A hundred predictions with one output: every one of them succeeds, and the pointer names the one that ended last.
#[test]
fn a_hundred_predictions_with_one_output_all_succeed() {
    let workshop = Workshop::with_model();
    for first in (0..100).step_by(25) {
        let running: Vec<_> =
            (first..first + 25).map(|run| workshop.predict().args(["--run-id", &format!("r{run}")]).start()).collect();
        running.into_iter().for_each(|running| {
            running.wait().succeeded();
        });
    }
    let latest = workshop.json("output/latest.json");
    let run_id = latest["run_id"].as_str().unwrap();
    let completed = |run_id: &str| {
        let result = workshop.json(&format!("output/runs/{run_id}/result.json"));
        result["completed_at"].as_str().unwrap().to_owned()
    };
    let newest = (0..100).map(|run| completed(&format!("r{run}"))).max().unwrap();
    assert_eq!(completed(run_id), newest);
}
