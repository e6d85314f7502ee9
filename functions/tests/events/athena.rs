//! Athena's stand-in: a process, and the orders of a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use testkit::project;
use testkit::s3::ADMIN;

/// The stand-in; it ends when this is dropped and when the test's process ends.
pub(crate) struct Athena {
    process: Child,
    pub(crate) endpoint: String,
    control: String,
}

impl Athena {
    /// Starts it over an S3 server.
    pub(crate) fn start(s3: &str) -> Self {
        let mut process = Command::new(python());
        process.arg(project().join("functions/tests/athena.py")).args([s3, ADMIN.id, ADMIN.secret]);
        let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addresses: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("Athena does not start: {error}: {line:?}"));
        let address = |name: &str| addresses[name].as_str().unwrap().to_owned();
        Self { endpoint: address("athena"), control: address("control"), process }
    }

    fn order(&self, order: &Value) -> Value {
        let address = self.control.trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).unwrap();
        let body = order.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{order}: {answer}");
        serde_json::from_str(body).unwrap()
    }

    /// The next query with this pattern (a regular expression) fails, once it has left its files behind or before.
    pub(crate) fn fail(&self, pattern: &str, reason: &str, leaves_files: bool) {
        self.order(&json!({"order": "fault", "pattern": pattern, "reason": reason, "leaves_files": leaves_files}));
    }

    /// Queries with one of these texts hang from now on.
    pub(crate) fn hang(&self, texts: &[&str]) {
        self.order(&json!({"order": "hang", "patterns": texts}));
    }

    /// The process is killed at its so-manieth query from now on, before the query is started or after.
    pub(crate) fn kill(&self, process: u32, at: usize, after: bool) {
        self.order(&json!({"order": "kill", "pid": process, "at": at, "after": after}));
    }

    /// The rows of a statement of the test's own.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        serde_json::from_value(self.order(&json!({"order": "run", "sql": sql}))["rows"].clone()).unwrap()
    }

    /// Every query so far: text, state, reason, and what `sqlglot` has against it.
    pub(crate) fn queries(&self) -> Vec<Value> {
        self.order(&json!({"order": "queries"}))["queries"].as_array().unwrap().clone()
    }

    /// The tables by name, with columns, location and partitions.
    pub(crate) fn tables(&self) -> Value {
        self.order(&json!({"order": "tables"}))
    }
}

/// The interpreter that has DuckDB and `sqlglot`: `ATHENA_PYTHON`, or the one that the tests of the deployment use.
fn python() -> String {
    if let Ok(python) = std::env::var("ATHENA_PYTHON") {
        return python;
    }
    let setup = project().join("scripts/setup-deployment-tests");
    let printed = Command::new(&setup).output().unwrap();
    assert!(printed.status.success(), "{}: {}", setup.display(), String::from_utf8_lossy(&printed.stderr));
    String::from_utf8(printed.stdout).unwrap().trim().to_owned()
}

impl Drop for Athena {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
