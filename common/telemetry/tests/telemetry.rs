//! Telemetry and signals of a whole process: this test binary runs itself as a child and reads what it writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use error::{Error, Result};
use machine::tasks::defect;
use machine::{RunId, Shutdown};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdout};
use serde_json::Value;
use telemetry::{Config, LogFormat, Metric, Program, Summary, Telemetry, Unit};

/// Names what the child does.
const ROLE: &str = "TELEMETRY_TEST_ROLE";
const FORMAT: &str = "TELEMETRY_TEST_FORMAT";
/// What is wrong with the child's standard output (the test harness itself does not survive it).
const BROKEN: &str = "TELEMETRY_TEST_BROKEN";

const ARN: &str = "arn:aws:ecs:eu-central-1:111122223333:task/ml-cluster/0123456789abcdef";

fn run_id() -> RunId {
    "run-7".parse().unwrap()
}

/// The child: a small program with telemetry like `train`.
#[test]
#[ignore = "runs as the child of the other tests"]
fn child() {
    let Ok(role) = env::var(ROLE) else {
        return;
    };
    break_output(&env::var(BROKEN).unwrap_or_default());
    let telemetry = Telemetry::start(Config {
        program: Program::Train,
        environment: "test".to_owned(),
        model_name: "engagement".to_owned(),
        run_id: run_id(),
        log_format: env::var(FORMAT).ok().map(|format| format.parse::<LogFormat>().unwrap()),
    });
    let shutdown = Shutdown::install().unwrap();
    let done = catch_unwind(AssertUnwindSafe(|| play(&role, &telemetry, &shutdown)));
    let done = done.unwrap_or_else(|payload| Err(defect(payload.as_ref())));
    let mut summary = Summary::new(&run_id());
    summary.set("r2", 0.9).set("rmse", f64::NAN);
    let outcome = done.map_or_else(|error| summary.failed(&error), |()| summary.succeeded());
    let code = telemetry.finish(&outcome);
    assert_eq!(code, ExitCode::from(outcome.exit_code()));
    std::process::exit(outcome.exit_code().into());
}

fn break_output(how: &str) {
    match how {
        "reader gone" => {
            let (_, stdout) = io::pipe().unwrap();
            let (_, stderr) = io::pipe().unwrap();
            dup2_stdout(&stdout).unwrap();
            dup2_stderr(&stderr).unwrap();
        }
        "disk full" => dup2_stdout(File::options().write(true).open("/dev/full").unwrap()).unwrap(),
        _ => {}
    }
}

fn play(role: &str, telemetry: &Telemetry, shutdown: &Shutdown) -> Result<()> {
    match role {
        "work" => work(telemetry),
        "gate" => {
            return Err(Error::Gate("r2 is 0.61, below 0.75; nothing was published".to_owned()));
        }
        "panic" => panic!("row {}\nis odd", 3),
        "wait" => return wait(shutdown),
        "hang" => hang(shutdown),
        other => panic!("no role {other}"),
    }
    Ok(())
}

fn work(telemetry: &Telemetry) {
    tracing::info!(target: "train::read", rows = 100, "reading");
    tracing::info!(target: "hyper::client", "not ours");
    tracing::trace!(target: "aws_smithy_runtime", "x-amz-security-token: secret");
    tracing::trace!(target: "train::read", "in detail");
    let progress = telemetry.progress("read", Unit::Items("rows"), Some(100));
    for step in 0..100 {
        progress.advance(1);
        tracing::info!(target: "train::read", "step {step} of a hundred");
    }
    progress.finish();
    telemetry.emit(&[(Metric::ModelAccuracy, 0.9), (Metric::RecordsProcessed, 100.0)]);
}

/// Stops where it can, as the programs do.
fn wait(shutdown: &Shutdown) -> Result<()> {
    tracing::info!(target: "train", "ready");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(shutdown.requested());
    shutdown.check(&run_id())
}

/// Does not react to the first signal.
fn hang(shutdown: &Shutdown) {
    let _ = wait(shutdown);
    tracing::info!(target: "train", "asked to stop");
    loop {
        thread::park();
    }
}

fn command(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["child", "--exact", "--ignored", "--nocapture", "--quiet"]).env(ROLE, role);
    for name in ["RUST_LOG", "RUST_BACKTRACE", "NO_COLOR", "ECS_CONTAINER_METADATA_URI_V4", FORMAT, BROKEN] {
        command.env_remove(name);
    }
    command
}

fn json_lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// What the child wrote to standard output after the test harness's own heading.
fn stdout_lines(output: &Output) -> Vec<Value> {
    let start = output.stdout.iter().position(|byte| *byte == b'{').unwrap();
    json_lines(&output.stdout[start..])
}

#[test]
fn the_log_goes_to_stderr_and_metrics_and_the_result_to_stdout() {
    let output = command("work").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = json_lines(&output.stderr);
    assert!(log.iter().all(|line| line["run_id"] == "run-7" && line.get("task_arn").is_none()), "{log:?}");
    assert_eq!(log[0]["message"], "reading");
    assert_eq!(log[0]["fields"]["rows"], 100);
    assert!(log.iter().all(|line| line["message"] != "not ours"));
    assert_eq!(log.last().unwrap()["message"], "read: 100 rows done");
    let stdout = stdout_lines(&output);
    assert_eq!(stdout.len(), 2);
    assert_eq!(stdout[0]["_aws"]["CloudWatchMetrics"][0]["Namespace"], "EngagementML");
    assert_eq!((&stdout[0]["Program"], &stdout[0]["ModelAccuracy"]), (&"train".into(), &0.9.into()));
    assert_eq!(stdout[1].to_string(), r#"{"event":"result","run_id":"run-7","r2":0.9,"rmse":null}"#);
}

#[test]
fn a_failure_is_logged_once_and_is_the_last_line() {
    let output = command("gate").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let log = json_lines(&output.stderr);
    assert_eq!(log.len(), 1);
    assert_eq!((&log[0]["level"], &log[0]["fields"]["exit_code"]), (&"ERROR".into(), &3.into()));
    let last = stdout_lines(&output).pop().unwrap();
    assert_eq!((&last["event"], &last["error_type"]), (&"failure".into(), &"gate".into()));
    assert_eq!(last["error_message"], log[0]["message"]);
}

#[test]
fn rust_log_is_obeyed_and_a_wrong_one_only_warned_of() {
    let output = command("work").env("RUST_LOG", "hyper=info").output().unwrap();
    assert_eq!(json_lines(&output.stderr).iter().map(|line| &line["message"]).collect::<Vec<_>>(), ["not ours"]);
    let output = command("work").env("RUST_LOG", "storage=loud").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = json_lines(&output.stderr);
    assert_eq!(log[0]["level"], "WARN");
    assert!(log[0]["message"].as_str().unwrap().starts_with("RUST_LOG is ignored"), "{}", log[0]);
    assert_eq!(log[1]["message"], "reading");
}

#[test]
fn requests_with_their_tokens_are_never_logged() {
    let output = command("work").env("RUST_LOG", "trace,aws_smithy_runtime=trace").output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("in detail") && log.contains("not ours"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn text_can_be_asked_for_and_still_names_the_run() {
    let output = command("work").env(FORMAT, "text").output().unwrap();
    let log = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(log.lines().all(|line| line.ends_with(" run_id=run-7") && !line.contains('\u{1b}')), "{log}");
    assert_eq!(stdout_lines(&output).len(), 2);
}

#[test]
fn on_ecs_every_line_names_the_task() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/v4/abc", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
        let asked = request.next().unwrap().unwrap();
        while request.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        let body = format!(r#"{{"TaskARN":"{ARN}","Limits":{{"CPU":0.5,"Memory":1024}}}}"#);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        asked
    });
    let output = command("work").env("ECS_CONTAINER_METADATA_URI_V4", uri).output().unwrap();
    assert_eq!(server.join().unwrap(), "GET /v4/abc/task HTTP/1.1");
    let log = json_lines(&output.stderr);
    assert!(log.len() > 100 && log.iter().all(|line| line["task_arn"] == ARN), "{log:?}");
}

#[test]
fn an_endpoint_that_is_not_there_is_a_warning() {
    let nobody = "http://127.0.0.1:1/v4/abc";
    let output = command("work").env("ECS_CONTAINER_METADATA_URI_V4", nobody).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let first = json_lines(&output.stderr).remove(0);
    assert_eq!(first["level"], "WARN");
    assert!(first["message"].as_str().unwrap().contains("ECS task metadata endpoint cannot be read"), "{first}");
}

#[test]
fn a_panic_is_one_line_and_exit_code_70() {
    let output = command("panic").output().unwrap();
    assert_eq!(output.status.code(), Some(70));
    let log = json_lines(&output.stderr);
    let of_the_panic: Vec<_> = log.iter().filter(|line| line["target"] == "defect").collect();
    assert_eq!(of_the_panic.len(), 1);
    assert_eq!(of_the_panic[0]["message"], "defect in this program: row 3\\nis odd");
    assert!(of_the_panic[0]["fields"]["location"].as_str().unwrap().contains("telemetry.rs:"));
    assert!(of_the_panic[0]["fields"].get("backtrace").is_none());
    let last = stdout_lines(&output).pop().unwrap();
    assert_eq!((&last["exit_code"], &last["error_type"]), (&70.into(), &"defect".into()));
}

#[test]
fn a_backtrace_comes_where_it_is_asked_for_on_the_same_line() {
    let output = command("panic").env("RUST_BACKTRACE", "1").env(FORMAT, "text").output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let of_the_panic: Vec<_> = log.lines().filter(|line| line.contains(" defect: ")).collect();
    assert_eq!(of_the_panic.len(), 1, "{log}");
    assert!(of_the_panic[0].contains("backtrace="), "{log}");
}

#[test]
fn readers_that_go_away_change_nothing() {
    for (role, code) in [("work", 0), ("gate", 3), ("panic", 70)] {
        let output = command(role).env("RUST_LOG", "debug").env(BROKEN, "reader gone").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{role}");
        assert!(!output.stdout.contains(&b'{') && output.stderr.is_empty());
    }
}

#[test]
fn a_full_disk_behind_standard_output_changes_nothing() {
    let output = command("work").env("RUST_LOG", "telemetry=debug").env(BROKEN, "disk full").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let last = json_lines(&output.stderr).pop().unwrap();
    assert_eq!(last["message"], "standard output cannot be written");
}

/// A terminal: the side of its user, and the side of the programs that run on it.
fn terminal() -> (File, File) {
    let user: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&user).unwrap();
    unlockpt(&user).unwrap();
    let name = ptsname(&user, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let programs = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
    (user.into(), programs.into())
}

/// Everything that a program writes to its terminal, and its exit code.
fn on_terminal(mut command: Command) -> (String, i32) {
    let (mut user, programs) = terminal();
    command.env("TERM", "xterm").stdout(programs.try_clone().unwrap()).stderr(programs);
    let mut child = command.spawn().unwrap();
    // The command holds the programs' side open, which would keep the reader waiting.
    drop(command);
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = user.read(&mut chunk) {
        seen.extend_from_slice(&chunk[..length]);
    }
    (String::from_utf8(seen).unwrap(), child.wait().unwrap().code().unwrap())
}

#[test]
fn on_a_terminal_people_get_bars_and_a_table() {
    let (seen, code) = on_terminal(command("work"));
    assert_eq!(code, 0);
    for step in 0..100 {
        let line = format!("train::read: step {step} of a hundred run_id=run-7\r\n");
        assert_eq!(seen.matches(&line).count(), 1, "a bar tears the log: {seen:?}");
    }
    assert!(seen.contains('█') && seen.contains("/100 rows"), "no bar: {seen:?}");
    assert!(seen.contains("\u{1b}[32mINFO \u{1b}[0m"), "no colours: {seen:?}");
    assert!(seen.ends_with("\r\ntrain: done\r\n  run id  run-7\r\n  r2      0.9000\r\n  rmse    -\r\n"), "{seen:?}");
    assert!(!seen.contains("_aws") && !seen.contains("\"event\""), "{seen:?}");
}

#[test]
fn on_a_terminal_a_failure_is_said_once() {
    let (seen, code) = on_terminal(command("gate"));
    assert_eq!(code, 3);
    assert!(seen.contains("train: failed (gate, exit code 3)\r\n"), "{seen:?}");
    assert_eq!(seen.matches("r2 is 0.61, below 0.75").count(), 1, "{seen:?}");
}

#[test]
fn json_brings_the_machines_view_back_to_a_terminal() {
    let mut command = command("work");
    command.env(FORMAT, "json");
    let (seen, _) = on_terminal(command);
    assert!(!seen.contains('\u{1b}') && !seen.contains('█'), "{seen:?}");
    assert!(seen.ends_with("{\"event\":\"result\",\"run_id\":\"run-7\",\"r2\":0.9,\"rmse\":null}\r\n"), "{seen:?}");
    assert!(seen.contains("{\"_aws\":"), "{seen:?}");
}

/// Starts a child and waits until its log has `message`.
fn started(role: &str) -> (Child, impl Iterator<Item = String>) {
    let mut child = command(role).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| line.unwrap());
    assert!(log.any(|line| line.contains("\"ready\"")), "the child ended early");
    (child, log)
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn the_first_signal_lets_the_run_stop_in_order() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let (child, _log) = started("wait");
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(143));
        let last = stdout_lines(&output).pop().unwrap();
        assert_eq!((&last["exit_code"], &last["error_type"]), (&143.into(), &"stopped".into()));
        let expected = format!("stopped by {name}; run again with --run-id run-7 (RUN_ID=run-7) to continue");
        assert_eq!(last["error_message"], expected);
    }
}

#[test]
fn the_same_request_twice_still_lets_the_run_stop_in_order() {
    let (child, _log) = started("wait");
    // Both arrive together when the child goes on.
    for signal in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
        send(&child, signal);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    assert_eq!(stdout_lines(&output).pop().unwrap()["error_type"], "stopped");
}

#[test]
fn a_second_signal_ends_a_run_that_hangs() {
    let (mut child, mut log) = started("hang");
    send(&child, Signal::TERM);
    assert!(log.any(|line| line.contains("\"asked to stop\"")));
    let asked = Instant::now();
    let status = loop {
        assert!(asked.elapsed() < Duration::from_secs(30), "the child goes on");
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        send(&child, Signal::TERM);
        thread::yield_now();
    };
    assert_eq!(status.code(), Some(143));
}
