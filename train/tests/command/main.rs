//! `train` as its users run it, on real files. That these tests exist makes `cargo test` build the program, which the tests in
//! `predict/tests/line` need.

#![allow(clippy::unwrap_used, clippy::panic)]

mod dependence;
mod hosts;
mod limits;
mod messages;
mod places;
mod quality;
mod reading;
mod report;
mod scale;
mod search;
mod shards;
mod tuning;
mod validation;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with tables and a model store.
struct Workshop(TempDir);

impl Workshop {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A call of `train` on a table with the columns `id` and `target`: one thread, and a gate that lets every model pass,
    /// unless a flag says otherwise.
    fn call(&self, run_id: &str, data: &Path) -> Command {
        let mut call = program();
        call.args(["--id", "id", "--target", "target", "--model-version", "v1", "--models", "models"]);
        call.args(["--run-id", run_id, "--log-format", "json", "--train-data"]).arg(data);
        call.env("MIN_R2", "-1e12").env("THREADS", "1").current_dir(self.folder());
        call
    }

    /// The folder of a run of such a call.
    fn run_folder(&self, run_id: &str) -> PathBuf {
        self.folder().join("models/engagement/v1").join(run_id)
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_train"))
}

#[track_caller]
fn succeeded(done: &Output) {
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// The result.
fn last_line(done: &Output) -> Value {
    let text = String::from_utf8_lossy(&done.stdout);
    let value = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    value.unwrap_or_else(|| panic!("no result: {text}\n{}", String::from_utf8_lossy(&done.stderr)))
}

fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_program_tells_its_version() {
    let output = program().arg("--version").output().unwrap();
    succeeded(&output);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("train {}\n", env!("CARGO_PKG_VERSION")));
}
