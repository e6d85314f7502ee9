//! A function's process, and the Runtime API that it asks for its events.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// A function that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(180);
const GLANCE: Duration = Duration::from_millis(20);

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The function's answer.
    Value(Value),
    /// Its failure: name and message.
    Failure(String, String),
    /// Its process ended.
    Died,
}

impl Answer {
    pub(crate) fn value(self) -> Value {
        match self {
            Self::Value(value) => value,
            other => panic!("no answer but {other:?}"),
        }
    }

    /// The message of a failure of this name.
    pub(crate) fn failed(self, kind: &str) -> String {
        match self {
            Self::Failure(name, message) if name == kind => message,
            other => panic!("no {kind} but {other:?}"),
        }
    }
}

/// A process of one function.
pub(crate) struct Function {
    pub(crate) process: Child,
    events: Sender<(Vec<u8>, Duration)>,
    answers: Receiver<Answer>,
    log: Arc<Mutex<String>>,
}

impl Function {
    /// Starts the function with just these variables.
    pub(crate) fn start(command: &str, variables: &[(String, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, to_hand_out) = channel();
        let (answered, answers) = channel();
        let to_hand_out = Arc::new(Mutex::new(to_hand_out));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (events, answers) = (Arc::clone(&to_hand_out), answered.clone());
                thread::spawn(move || serve(&connection, &events, &answers));
            }
        });
        let mut program = Command::new(env!("CARGO_BIN_EXE_functions"));
        program.arg(command).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        for name in ["PATH", "LD_LIBRARY_PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                program.env(name, value);
            }
        }
        let of_lambda = [
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", command),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ];
        program.envs(of_lambda).envs(variables.iter().map(|(name, value)| (name, value)));
        let mut process = program.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (mut lines, kept) = (process.stderr.take().unwrap(), Arc::clone(&log));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = lines.read(&mut bytes) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { process, events, answers, log }
    }

    /// Calls it with an event and a timeout.
    pub(crate) fn call(&mut self, event: &Value, timeout: Duration) -> Answer {
        self.events.send((event.to_string().into_bytes(), timeout)).unwrap();
        let began = Instant::now();
        loop {
            if let Ok(answer) = self.answers.recv_timeout(GLANCE) {
                return answer;
            }
            if self.process.try_wait().unwrap().is_some() {
                return Answer::Died;
            }
            assert!(began.elapsed() < HANGS_AFTER, "the function hangs: {}", self.log());
        }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Answers the requests of one connection.
fn serve(connection: &TcpStream, events: &Mutex<Receiver<(Vec<u8>, Duration)>>, answers: &Sender<Answer>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    while let Some((line, body)) = read(&mut reader) {
        let mut out = connection;
        if line.contains("/invocation/next") {
            let Ok((event, timeout)) = events.lock().unwrap().recv() else { return };
            let deadline = SystemTime::now() + timeout;
            let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: 1\r\nlambda-runtime-deadline-ms: {deadline}\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:0:function:f\r\ncontent-length: {}\r\n\r\n",
                event.len()
            );
            if out.write_all(head.as_bytes()).and_then(|()| out.write_all(&event)).is_err() {
                return;
            }
            continue;
        }
        let json: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{line}: {error}"));
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let answer = match line.contains("/response") {
            true => Answer::Value(json.clone()),
            false => Answer::Failure(text("errorType"), text("errorMessage")),
        };
        let accepted = "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        if out.write_all(accepted.as_bytes()).is_err() || answers.send(answer).is_err() {
            return;
        }
    }
}

/// The first line and the body of a request.
fn read(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        match line.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().ok()?,
            Some(("transfer-encoding", value)) => is_chunked = value.contains("chunked"),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    while is_chunked {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..size]);
        is_chunked = size > 0;
    }
    Some((first, body))
}
