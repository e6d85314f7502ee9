//! A real S3 server: SeaweedFS, one process, signatures on, everything in a temporary folder.

mod process;
mod request;

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use process::Process;
use request::Request;

/// A port that was free may be taken before the server has it.
const START_ATTEMPTS: usize = 5;
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// An access key of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessKey {
    /// `AWS_ACCESS_KEY_ID`.
    pub id: &'static str,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: &'static str,
}

/// May do everything.
pub const ADMIN: AccessKey = AccessKey { id: "AKIATESTKITADMIN", secret: "testkit-secret-of-admin" };
/// May read and list, not write.
pub const READER: AccessKey = AccessKey { id: "AKIATESTKITREADER", secret: "testkit-secret-of-reader" };

/// A running server. It ends, and its folder goes, when this is dropped and when the test process ends in any way.
#[derive(Debug)]
pub struct S3Server {
    process: Process,
}

impl S3Server {
    /// Starts a server of its own and waits until it takes objects (4 to 10 s).
    ///
    /// # Panics
    /// Where it does not start: the message has the end of its log.
    #[must_use]
    pub fn start() -> Self {
        let mut failure = String::new();
        for _ in 0..START_ATTEMPTS {
            let server = Self { process: Process::spawn() };
            match server.wait_until_ready() {
                Ok(()) => return server,
                Err(text) => failure = text,
            }
        }
        panic!("the S3 server does not start: {failure}");
    }

    /// The server that all tests of this process share, started by the first; give every test a bucket of its own.
    ///
    /// # Panics
    /// As [`S3Server::start`].
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<S3Server>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Arc::new(Self::start())))
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// What a child process needs in its environment to use the server as `key`, and nothing else by accident: no profile,
    /// no metadata service, no proxy.
    #[must_use]
    pub fn env_of(&self, key: AccessKey) -> Vec<(String, String)> {
        let endpoint = self.endpoint();
        let pairs = [
            ("AWS_ENDPOINT_URL_S3", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", key.id),
            ("AWS_SECRET_ACCESS_KEY", key.secret),
            ("AWS_SESSION_TOKEN", ""),
            ("AWS_REGION", "us-east-1"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("NO_PROXY", "127.0.0.1,localhost"),
            ("no_proxy", "127.0.0.1,localhost"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// [`S3Server::env_of`] the key that may do everything.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        self.env_of(ADMIN)
    }

    /// Creates a bucket; no error where it exists.
    ///
    /// # Panics
    /// Where the server refuses.
    pub fn create_bucket(&self, name: &str) {
        let answer = self.put(&format!("/{name}"), b"").unwrap_or_else(|error| panic!("create {name}: {error}"));
        assert!(matches!(answer.status, 200 | 409), "create {name}: {answer:?}");
    }

    fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.process.port())
    }

    fn put(&self, path: &str, body: &[u8]) -> std::io::Result<request::Answer> {
        Request { method: "PUT", authority: &self.authority(), path, body, key: ADMIN }.send()
    }

    /// Ready is who has stored an object: the parts of the server find each other some time after the port is open.
    fn wait_until_ready(&self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        let mut last = String::new();
        while Instant::now() < deadline && !self.process.has_failed() {
            match self.put("/ready-check", b"").and_then(|_| self.put("/ready-check/object", b"ready")) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => last = format!("{answer:?}"),
                Err(error) => last = error.to_string(),
            }
            thread::sleep(POLL_INTERVAL);
        }
        Err(format!("{last}; its log ends with\n{}", self.process.end_of_log()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_checks_signatures_and_leaves_nothing_behind() {
        let server = S3Server::start();
        server.create_bucket("bucket");
        server.create_bucket("bucket");
        let authority = server.authority();
        let forged = AccessKey { secret: "wrong", ..ADMIN };
        let put = |key| Request { method: "PUT", authority: &authority, path: "/bucket/key", body: b"x", key }.send();
        assert_eq!(put(ADMIN).unwrap().status, 200);
        assert_eq!(put(forged).unwrap().status, 403);
        assert_eq!(put(READER).unwrap().status, 403);

        let folder = server.process.folder().to_owned();
        assert!(folder.exists());
        drop(server);
        assert!(!folder.exists());
        assert!(put(ADMIN).is_err(), "the server still answers");
    }
}
