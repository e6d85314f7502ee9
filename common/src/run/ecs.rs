//! What Amazon ECS tells a task about itself: the task metadata endpoint, version 4.
//!
//! Source: Amazon ECS Developer Guide, "Task metadata endpoint version 4". On Fargate it is the only place that shows
//! the task's limits. It is plain HTTP on a link-local address, so a request is written by hand instead of waiting for
//! an HTTP client to start.

use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The variable that ECS sets in every container of a task.
pub const METADATA_URI_VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// The most that asking may take, all attempts together: the first log line waits for it.
const DEADLINE: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);

/// A task's description is a few KiB; more than this is not one.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

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
}

/// Why the endpoint's answer is not known.
#[derive(Debug, thiserror::Error)]
pub enum EcsError {
    /// The variable's value is not a plain `http` address.
    #[error("{METADATA_URI_VARIABLE} is not an http address: {0:?}")]
    Address(String),
    /// No connection, or no whole answer within the deadline.
    #[error("the ECS task metadata endpoint cannot be read: {0}")]
    Io(#[from] io::Error),
    /// An answer other than 200.
    #[error("the ECS task metadata endpoint answered {0:?}")]
    Status(String),
    /// The answer is not HTTP, or has no end.
    #[error("the ECS task metadata endpoint does not speak HTTP/1.1")]
    Http,
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
    let body = endpoint.get_with_retries(deadline)?;
    parse_task(&body, endpoint.container_id())
}

/// Where the endpoint is. `path` has no slash at its end.
#[derive(Debug, PartialEq)]
struct Endpoint {
    host: String,
    port: u16,
    path: String,
}

impl Endpoint {
    fn parse(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix("http://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || !is_plain(authority) || !is_plain(path) {
            return None;
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Some(Self {
            host,
            port,
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// On Fargate the last part of the path is the container's id.
    fn container_id(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    fn get_with_retries(&self, deadline: Instant) -> Result<Vec<u8>, EcsError> {
        let mut outcome = self.get_task(deadline);
        for _ in 1..ATTEMPTS {
            if outcome.is_ok() || Instant::now() + PAUSE >= deadline {
                break;
            }
            thread::sleep(PAUSE);
            outcome = self.get_task(deadline);
        }
        outcome
    }

    fn get_task(&self, deadline: Instant) -> Result<Vec<u8>, EcsError> {
        let mut stream = self.connect(deadline)?;
        stream.set_write_timeout(Some(remaining(deadline)?))?;
        let Self { host, port, path } = self;
        let request = format!(
            "GET {path}/task HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        read_response(&mut stream, deadline)
    }

    fn connect(&self, deadline: Instant) -> Result<TcpStream, EcsError> {
        let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, remaining(deadline)?) {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = error,
            }
        }
        Err(last_error.into())
    }
}

/// The time left, never zero: a socket takes a timeout of zero for none.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

fn read_response(stream: &mut TcpStream, deadline: Instant) -> Result<Vec<u8>, EcsError> {
    let mut response = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        let length = stream.read(&mut chunk)?;
        response.extend_from_slice(chunk.get(..length).unwrap_or_default());
        let is_closed = length == 0;
        if let Some(body) = parse_response(&response, is_closed)? {
            return Ok(body);
        }
        if is_closed || response.len() > MAX_RESPONSE_BYTES {
            return Err(EcsError::Http);
        }
    }
}

/// The body of an HTTP/1.1 response, `None` while bytes of it are still to come.
fn parse_response(response: &[u8], is_closed: bool) -> Result<Option<Vec<u8>>, EcsError> {
    let Some(head_length) = response.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = response.split_at(head_length + 4);
    let head = String::from_utf8_lossy(head);
    let status_line = head.lines().next().unwrap_or_default();
    if status_line.split(' ').nth(1) != Some("200") {
        return Err(EcsError::Status(status_line.chars().take(80).collect()));
    }
    if header(&head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    {
        return parse_chunks(body);
    }
    match header(&head, "content-length") {
        Some(length) => {
            let length: usize = length.parse().map_err(|_| EcsError::Http)?;
            Ok(body.get(..length).map(<[u8]>::to_vec))
        }
        None => Ok(is_closed.then(|| body.to_vec())),
    }
}

fn header<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    let (_, value) = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}

/// Joins the chunks of a chunked body, `None` while the last, empty one is missing.
fn parse_chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, EcsError> {
    let mut body = Vec::new();
    while let Some(line_length) = rest.windows(2).position(|window| window == b"\r\n") {
        let (line, after) = rest.split_at(line_length);
        let size = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split(';').next())
            .unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| EcsError::Http)?;
        if size == 0 {
            return Ok(Some(body));
        }
        let end = size.checked_add(2).ok_or(EcsError::Http)?;
        let (Some(chunk), Some(next)) = (after.get(2..end), after.get(end.saturating_add(2)..))
        else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        rest = next;
    }
    Ok(None)
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
}

fn parse_task(json: &[u8], container_id: &str) -> Result<Task, EcsError> {
    let document: TaskDocument = serde_json::from_slice(json)?;
    let is_ours = |container: &&ContainerDocument| container.id.as_deref() == Some(container_id);
    // A container's CPU is left out: it is a share for times of contention, not a limit.
    let container_memory = document
        .containers
        .iter()
        .find(is_ours)
        .and_then(|container| container.limits.memory_mib);
    Ok(Task {
        arn: document.arn.filter(|arn| !arn.is_empty()),
        cpus: document
            .limits
            .cpus
            .filter(|cpus| *cpus > 0.0 && cpus.is_finite()),
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
    use proptest::prelude::*;
    use std::net::TcpListener;

    /// After the example of the Developer Guide for Fargate.
    const FARGATE_TASK: &str = r#"{
        "Cluster": "ml-cluster",
        "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/ml-cluster/e9028f8d5d8e4f258373e7b93ce9a3c3",
        "Family": "training-task", "Revision": "3", "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
        "Limits": {"CPU": 0.25, "Memory": 512},
        "Containers": [
            {"DockerId": "e9028f8d5d8e4f258373e7b93ce9a3c3-1111", "Name": "log-router", "Limits": {"CPU": 2, "Memory": 64}},
            {"DockerId": "e9028f8d5d8e4f258373e7b93ce9a3c3-2495160603", "Name": "training-container",
             "Limits": {"CPU": 10, "Memory": 384}, "Type": "NORMAL"}
        ],
        "LaunchType": "FARGATE"
    }"#;

    const ARN: &str =
        "arn:aws:ecs:us-west-2:111122223333:task/ml-cluster/e9028f8d5d8e4f258373e7b93ce9a3c3";

    /// A server that gives each connection the next answer, and the requests it read.
    fn serve(answers: Vec<Vec<u8>>) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!(
            "http://{}/v4/e9028f8d5d8e4f258373e7b93ce9a3c3-2495160603",
            listener.local_addr().unwrap()
        );
        let server = thread::spawn(move || {
            answers
                .iter()
                .map(|answer| answer_once(&listener.accept().unwrap().0, answer))
                .collect()
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

    fn with_length(body: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into()
    }

    fn chunked(body: &str, size: usize) -> Vec<u8> {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.as_bytes().chunks(size) {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        answer
    }

    fn expected_task() -> Task {
        Task {
            arn: Some(ARN.to_owned()),
            cpus: Some(0.25),
            memory_bytes: Some(512 << 20),
            container_memory_bytes: Some(384 << 20),
        }
    }

    #[test]
    fn a_task_is_read_from_a_server() {
        let (uri, server) = serve(vec![with_length(FARGATE_TASK)]);
        assert_eq!(fetch(&uri).unwrap(), expected_task());
        let request = server.join().unwrap().remove(0);
        assert!(
            request.starts_with("GET /v4/e9028f8d5d8e4f258373e7b93ce9a3c3-2495160603/task HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{request}"
        );
    }

    #[test]
    fn chunked_answers_and_answers_that_end_with_the_connection_are_read() {
        let until_close = format!("HTTP/1.0 200 OK\r\n\r\n{FARGATE_TASK}").into_bytes();
        for answer in [
            chunked(FARGATE_TASK, 7),
            chunked(FARGATE_TASK, 100_000),
            until_close,
        ] {
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
        assert!(matches!(error, EcsError::Io(_)), "{error}");
        assert!(started.elapsed() < DEADLINE + Duration::from_millis(500));
    }

    #[test]
    fn nobody_there_is_an_error() {
        let unused = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(matches!(
            fetch(&format!("http://{unused}/v4/x")),
            Err(EcsError::Io(_))
        ));
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
        assert!(matches!(fetch(&uri), Err(EcsError::Http)));
    }

    #[test]
    fn an_answer_without_end_is_cut_off() {
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        endless.resize(MAX_RESPONSE_BYTES + 100_000, b' ');
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            listener
                .accept()
                .map(|(mut stream, _)| stream.write_all(&endless))
        });
        let mut stream = TcpStream::connect(address).unwrap();
        let error =
            read_response(&mut stream, Instant::now() + Duration::from_secs(30)).unwrap_err();
        assert!(matches!(error, EcsError::Http), "{error}");
        drop(stream);
        let _ = server.join().unwrap();
    }

    #[test]
    fn addresses_are_taken_apart() {
        let endpoint = |host: &str, port, path: &str| Endpoint {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        };
        assert_eq!(
            Endpoint::parse("http://169.254.170.2/v4/ab-1"),
            Some(endpoint("169.254.170.2", 80, "/v4/ab-1"))
        );
        assert_eq!(
            Endpoint::parse("http://localhost:8080/v4/"),
            Some(endpoint("localhost", 8080, "/v4"))
        );
        assert_eq!(
            Endpoint::parse("http://[fd00:ec2::254]/v4"),
            Some(endpoint("fd00:ec2::254", 80, "/v4"))
        );
        assert_eq!(
            Endpoint::parse("http://[::1]:81"),
            Some(endpoint("::1", 81, ""))
        );
        for wrong in [
            "",
            "https://x/",
            "http://",
            "http:///v4",
            "http://x:port/",
            "http://x/a b",
            "http://x/\r\nEvil: 1",
        ] {
            assert_eq!(Endpoint::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn limits_that_are_missing_or_zero_are_none() {
        let task = parse_task(
            br#"{"TaskARN": "arn:x", "Containers": [{"DockerId": "a", "Limits": {"Memory": 0}}]}"#,
            "a",
        );
        assert_eq!(
            task.unwrap(),
            Task {
                arn: Some("arn:x".to_owned()),
                ..Task::default()
            }
        );
        assert_eq!(parse_task(b"{}", "").unwrap(), Task::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes: Vec<u8>, is_closed: bool) {
            let _ = parse_response(&bytes, is_closed);
            let mut chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            chunks.extend_from_slice(&bytes);
            let _ = parse_response(&chunks, is_closed);
        }

        #[test]
        fn a_body_comes_whole_or_not_at_all(body in "[ -~]{0,200}", size in 1usize..50, cut in 0usize..400) {
            for answer in [with_length(&body), chunked(&body, size)] {
                prop_assert_eq!(parse_response(&answer, false).unwrap(), Some(body.clone().into_bytes()));
                if cut < answer.len() && !answer[cut..].iter().all(|byte| b"\r\n".contains(byte)) {
                    prop_assert_eq!(parse_response(&answer[..cut], false).unwrap(), None);
                }
            }
        }
    }
}
