//! What Amazon ECS tells a task about itself: the task metadata endpoint, version 4.
//!
//! Source: Amazon ECS Developer Guide, "Task metadata endpoint version 4". On Fargate it is the only place that shows
//! the task's limits. It is plain HTTP on a link-local address.

use std::env;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::http::{Endpoint, HttpError};

/// The variable that ECS sets in every container of a task.
pub const METADATA_URI_VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// The most that asking may take, all attempts together: the first log line waits for it.
const DEADLINE: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);

const MIB: f64 = (1u64 << 20) as f64;

/// The task that this process runs in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Task {
    /// The task's ARN.
    pub arn: Option<String>,
    /// vCPUs that the task may use; fractions occur.
    pub cpus: Option<f64>,
    /// Bytes of memory that the task may use.
    pub memory_bytes: Option<u64>,
    /// Bytes of memory that this container of the task may use.
    pub container_memory_bytes: Option<u64>,
    /// The address that other tasks reach it at.
    pub address: Option<String>,
}

/// Why the endpoint's answer is not known.
#[derive(Debug, thiserror::Error)]
pub enum EcsError {
    /// The variable's value is not a plain `http` address.
    #[error("{METADATA_URI_VARIABLE} is not an http address: {0:?}")]
    Address(String),
    /// No answer.
    #[error("the ECS task metadata endpoint {0}")]
    Http(#[from] HttpError),
    /// The answer is not a task's description.
    #[error("the ECS task metadata endpoint describes no task: {0}")]
    Json(#[from] serde_json::Error),
}

/// The task of this process: `None` outside ECS. Asked once, then remembered, for at most a second.
pub fn task() -> Result<Option<&'static Task>, &'static EcsError> {
    static TASK: OnceLock<Result<Option<Task>, EcsError>> = OnceLock::new();
    TASK.get_or_init(|| match env::var(METADATA_URI_VARIABLE) {
        Ok(uri) if !uri.is_empty() => fetch(&uri).map(Some),
        _ => Ok(None),
    })
    .as_ref()
    .map(Option::as_ref)
}

/// Asks the endpoint at `uri` (the variable's value) for the task.
///
/// # Errors
/// [`EcsError`], after several attempts within one second.
pub fn fetch(uri: &str) -> Result<Task, EcsError> {
    let deadline = Instant::now() + DEADLINE;
    let endpoint = Endpoint::parse(uri).ok_or_else(|| EcsError::Address(uri.to_owned()))?;
    let body = get_with_retries(&endpoint, deadline)?;
    // On Fargate the endpoint ends in the container's id.
    parse_task(&body, endpoint.name())
}

fn get_with_retries(endpoint: &Endpoint, deadline: Instant) -> Result<Vec<u8>, HttpError> {
    let mut outcome = endpoint.get("task", deadline);
    for _ in 1..ATTEMPTS {
        if outcome.is_ok() || Instant::now() + PAUSE >= deadline {
            break;
        }
        thread::sleep(PAUSE);
        outcome = endpoint.get("task", deadline);
    }
    outcome
}

/// The part of the endpoint's JSON that is used. Everything may be missing: the endpoint of EC2 leaves limits out.
#[derive(Deserialize)]
struct TaskDocument {
    #[serde(rename = "TaskARN")]
    arn: Option<String>,
    #[serde(rename = "Limits", default)]
    limits: LimitsDocument,
    #[serde(rename = "Containers", default)]
    containers: Vec<ContainerDocument>,
}

/// `CPU` in vCPUs (of a task), `Memory` in MiB.
#[derive(Deserialize, Default)]
struct LimitsDocument {
    #[serde(rename = "CPU")]
    cpus: Option<f64>,
    #[serde(rename = "Memory")]
    memory_mib: Option<f64>,
}

#[derive(Deserialize)]
struct ContainerDocument {
    #[serde(rename = "DockerId")]
    id: Option<String>,
    #[serde(rename = "Limits", default)]
    limits: LimitsDocument,
    #[serde(rename = "Networks", default)]
    networks: Vec<NetworkDocument>,
}

#[derive(Deserialize)]
struct NetworkDocument {
    #[serde(rename = "IPv4Addresses", default)]
    addresses: Vec<String>,
}

fn parse_task(json: &[u8], container_id: &str) -> Result<Task, EcsError> {
    let document: TaskDocument = serde_json::from_slice(json)?;
    let is_ours = |container: &&ContainerDocument| container.id.as_deref() == Some(container_id);
    // A container's CPU is left out: it is a share for times of contention, not a limit.
    let container = document.containers.iter().find(is_ours);
    let container_memory = container.and_then(|container| container.limits.memory_mib);
    // All containers of a task on Fargate share its network.
    let network = container.or(document.containers.first()).and_then(|container| container.networks.first());
    let address = network.and_then(|network| network.addresses.first()).cloned();
    Ok(Task {
        address,
        arn: document.arn.filter(|arn| !arn.is_empty()),
        cpus: document.limits.cpus.filter(|cpus| *cpus > 0.0 && cpus.is_finite()),
        memory_bytes: document.limits.memory_mib.and_then(mib_to_bytes),
        container_memory_bytes: container_memory.and_then(mib_to_bytes),
    })
}

/// Zero means no limit.
fn mib_to_bytes(mib: f64) -> Option<u64> {
    (mib > 0.0 && mib.is_finite()).then_some((mib * MIB) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::{chunked, with_length};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// After the example of the Developer Guide for Fargate.
    const FARGATE_TASK: &str = r#"{
        "Cluster": "ml-cluster",
        "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/ml-cluster/e9028f8d5d8e4f258373e7b93ce9a3c3",
        "Family": "training-task", "Revision": "3", "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
        "Limits": {"CPU": 0.25, "Memory": 512},
        "Containers": [
            {"DockerId": "e9028f8d5d8e4f258373e7b93ce9a3c3-1111", "Name": "log-router", "Limits": {"CPU": 2, "Memory": 64}},
            {"DockerId": "e9028f8d5d8e4f258373e7b93ce9a3c3-2495160603", "Name": "training-container",
             "Limits": {"CPU": 10, "Memory": 384}, "Type": "NORMAL",
             "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.2.106"]}]}
        ],
        "LaunchType": "FARGATE"
    }"#;

    const ARN: &str = "arn:aws:ecs:us-west-2:111122223333:task/ml-cluster/e9028f8d5d8e4f258373e7b93ce9a3c3";

    /// A server that gives each connection the next answer, and the requests it read.
    fn serve(answers: Vec<Vec<u8>>) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/v4/e9028f8d5d8e4f258373e7b93ce9a3c3-2495160603", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            answers.iter().map(|answer| answer_once(&listener.accept().unwrap().0, answer)).collect()
        });
        (uri, server)
    }

    fn answer_once(mut stream: &TcpStream, answer: &[u8]) -> String {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        stream.write_all(answer).unwrap();
        String::from_utf8(request).unwrap()
    }

    fn expected_task() -> Task {
        Task {
            arn: Some(ARN.to_owned()),
            cpus: Some(0.25),
            memory_bytes: Some(512 << 20),
            container_memory_bytes: Some(384 << 20),
            address: Some("10.0.2.106".to_owned()),
        }
    }

    #[test]
    fn a_task_is_read_from_a_server() {
        let (uri, server) = serve(vec![with_length(FARGATE_TASK)]);
        assert_eq!(fetch(&uri).unwrap(), expected_task());
        let request = server.join().unwrap().remove(0);
        assert!(
            request
                .starts_with("GET /v4/e9028f8d5d8e4f258373e7b93ce9a3c3-2495160603/task HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{request}"
        );
    }

    #[test]
    fn chunked_answers_and_answers_that_end_with_the_connection_are_read() {
        let until_close = format!("HTTP/1.0 200 OK\r\n\r\n{FARGATE_TASK}").into_bytes();
        for answer in [chunked(FARGATE_TASK, 7), chunked(FARGATE_TASK, 100_000), until_close] {
            let (uri, server) = serve(vec![answer]);
            assert_eq!(fetch(&uri).unwrap(), expected_task());
            server.join().unwrap();
        }
    }

    #[test]
    fn a_failed_attempt_is_repeated() {
        let busy = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n".to_vec();
        let (uri, server) = serve(vec![busy, Vec::new(), with_length(FARGATE_TASK)]);
        assert_eq!(fetch(&uri).unwrap(), expected_task());
        assert_eq!(server.join().unwrap().len(), 3);
    }

    #[test]
    fn a_server_that_never_answers_costs_a_second_at_most() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let started = Instant::now();
        let error = fetch(&format!("http://{}/v4/x", listener.local_addr().unwrap())).unwrap_err();
        assert!(matches!(error, EcsError::Http(HttpError::Io(_))), "{error}");
        assert!(started.elapsed() < DEADLINE + Duration::from_millis(500));
    }

    #[test]
    fn nobody_there_is_an_error() {
        let error = fetch("http://127.0.0.1:1/v4/x").unwrap_err();
        assert!(matches!(error, EcsError::Http(HttpError::Io(_))), "{error}");
    }

    #[test]
    fn other_answers_are_errors() {
        let not_found = b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec();
        let (uri, _server) = serve(vec![not_found; 3]);
        assert_eq!(
            fetch(&uri).unwrap_err().to_string(),
            "the ECS task metadata endpoint answered \"HTTP/1.1 404 Not Found\""
        );
        let (uri, _server) = serve(vec![with_length("<html>"); 3]);
        assert!(matches!(fetch(&uri), Err(EcsError::Json(_))));
        let (uri, _server) = serve(vec![b"SSH-2.0-OpenSSH\r\n".to_vec(); 3]);
        assert!(matches!(fetch(&uri), Err(EcsError::Http(HttpError::Protocol))));
    }

    #[test]
    fn limits_that_are_missing_or_zero_are_none() {
        let task =
            parse_task(br#"{"TaskARN": "arn:x", "Containers": [{"DockerId": "a", "Limits": {"Memory": 0}}]}"#, "a");
        assert_eq!(task.unwrap(), Task { arn: Some("arn:x".to_owned()), ..Task::default() });
        assert_eq!(parse_task(b"{}", "").unwrap(), Task::default());
    }
}
