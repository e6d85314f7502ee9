//! The built programs, run as their users run them: arguments and environment in; exit code, standard output and log out.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A program that takes longer than this hangs, on a machine as busy as one with tests and fuzzing may be.
const DEADLINE: Duration = Duration::from_secs(300);
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(10);
/// Variables of the tests' environment that the programs get; everything else they are given is said by the test.
const INHERITED: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR"];

/// The folder of the built programs.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The programs that lie where `executable`, one of them, does.
    ///
    /// # Panics
    /// Where one is missing: Cargo builds only the programs of the package under test.
    #[must_use]
    pub fn beside(executable: &str) -> Self {
        let folder = Path::new(executable).parent().expect("an executable lies in a folder").to_owned();
        for name in ["train", "predict"] {
            let program = folder.join(name);
            assert!(
                program.exists(),
                "{} is missing: run `cargo build --release -p train -p predict` first",
                program.display()
            );
        }
        Self { folder }
    }

    /// A call of `train`.
    #[must_use]
    pub fn train(&self) -> Invocation {
        Invocation::of(&self.folder.join("train"))
    }

    /// A call of `predict`.
    #[must_use]
    pub fn predict(&self) -> Invocation {
        Invocation::of(&self.folder.join("predict"))
    }
}

/// A call of a program that is being put together.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
}

impl Invocation {
    fn of(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // No profile and no metadata service of the machine that tests run on.
        command.env("HOME", "/nonexistent").env("AWS_EC2_METADATA_DISABLED", "true");
        Self { command }
    }

    /// An argument more.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Arguments more.
    #[must_use]
    pub fn args<Argument: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = Argument>) -> Self {
        self.command.args(arguments);
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Variables of its environment.
    #[must_use]
    pub fn envs(mut self, variables: &[(String, String)]) -> Self {
        self.command.envs(variables.iter().map(|(name, value)| (name, value)));
        self
    }

    /// Its working directory.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// Where it cannot be started or hangs.
    #[must_use]
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Starts it.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start(mut self) -> Running {
        let call = format!("{:?}", self.command);
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{call}: {error}"));
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        Running { call, child, stdout, stderr, started: Instant::now() }
    }
}

type Collector = (JoinHandle<Vec<u8>>, Receiver<()>);

/// Reads a pipe to its end; the receiver hears of the end.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Collector {
    let (ended, end) = channel();
    let read = move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = ended.send(());
        bytes
    };
    (thread::spawn(read), end)
}

/// A program under way.
#[derive(Debug)]
pub struct Running {
    call: String,
    child: Child,
    stdout: Collector,
    stderr: Collector,
    started: Instant,
}

impl Running {
    /// Sends SIGTERM.
    ///
    /// # Panics
    /// Where there is no such process.
    pub fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("a process that was not waited for can be signalled");
    }

    /// Ends it by SIGKILL once it has run for `moment`, unless it has ended by itself.
    #[must_use]
    pub fn kill_after(mut self, moment: Duration) -> Ended {
        let left = moment.saturating_sub(self.started.elapsed());
        if self.stdout.1.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            let _ = self.child.kill();
        }
        self.wait()
    }

    /// Sends SIGTERM once it has run for `moment`, unless it has ended by itself.
    #[must_use]
    pub fn terminate_after(self, moment: Duration) -> Ended {
        let left = moment.saturating_sub(self.started.elapsed());
        if self.stdout.1.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            self.terminate();
        }
        self.wait()
    }

    /// Sends SIGTERM as soon as something is so, unless it has ended by itself.
    #[must_use]
    pub fn terminate_when(self, is_so: impl Fn() -> bool) -> Ended {
        while self.stdout.1.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
            if is_so() {
                self.terminate();
                break;
            }
        }
        self.wait()
    }

    /// Ends it by SIGKILL as soon as something is so, unless it has ended by itself.
    #[must_use]
    pub fn kill_when(mut self, is_so: impl Fn() -> bool) -> Ended {
        while self.stdout.1.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
            if is_so() {
                let _ = self.child.kill();
                break;
            }
        }
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it hangs: it is killed then.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        if self.stderr.1.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
            let _ = self.child.kill();
            panic!("hangs: {}", self.call);
        }
        let status = self.child.wait().expect("a child can be waited for");
        let took = self.started.elapsed();
        let text = |collector: Collector| {
            String::from_utf8(collector.0.join().expect("a reader ends")).expect("what programs write is UTF-8")
        };
        Ended { status, took, stdout: text(self.stdout), stderr: text(self.stderr), call: self.call }
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// How long it ran.
    pub took: Duration,
    /// Standard output.
    pub stdout: String,
    /// Its log.
    pub stderr: String,
    /// What was run.
    pub call: String,
}

impl Ended {
    /// The last line of standard output: the result.
    ///
    /// # Panics
    /// Where that is no JSON object of at most 8 KiB.
    #[must_use]
    pub fn last(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_else(|| panic!("nothing on standard output: {self:?}"));
        assert!(line.len() < 8 * 1024, "{} bytes: {self:?}", line.len());
        let last: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert!(last.is_object(), "{self:?}");
        last
    }

    /// The lines before the last: CloudWatch's embedded metric format.
    ///
    /// # Panics
    /// Where one is no JSON.
    #[must_use]
    pub fn metrics(&self) -> Vec<Value> {
        let lines: Vec<&str> = self.stdout.lines().collect();
        let metrics = lines.iter().take(lines.len().saturating_sub(1));
        metrics.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"))).collect()
    }

    /// The result of a run that did what it should.
    ///
    /// # Panics
    /// Where it did not.
    #[track_caller]
    pub fn succeeded(&self) -> Value {
        assert_eq!(self.status.code(), Some(0), "{self:?}");
        let last = self.last();
        assert_eq!(last["event"], "result", "{self:?}");
        last
    }

    /// The failure of a run that ended with `exit_code` and a message that has all `parts`.
    ///
    /// # Panics
    /// Where it ended otherwise, or said so in more than a line, with a panic or a backtrace.
    #[track_caller]
    pub fn failed(&self, exit_code: i32, parts: &[&str]) -> Value {
        assert_eq!(self.status.code(), Some(exit_code), "{self:?}");
        let last = self.last();
        assert_eq!((last["event"].as_str(), last["exit_code"].as_i64()), (Some("failure"), Some(exit_code.into())));
        assert_eq!(last["error_type"].as_str(), Some(error_type(exit_code, &last)), "{self:?}");
        let message = last["error_message"].as_str().unwrap_or_default();
        assert!(!message.is_empty() && !message.contains('\n'), "{self:?}");
        for part in parts {
            assert!(message.contains(part), "\"{part}\" is not in the message: {message}");
        }
        for text in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "{self:?}");
        }
        last
    }
}

/// What the contract's table calls an exit code; two kinds share 2.
fn error_type(exit_code: i32, last: &Value) -> &'static str {
    match exit_code {
        2 if last["error_type"] == "access" => "access",
        2 => "setting",
        3 => "gate",
        4 => "data",
        5 => "storage",
        6 => "model",
        8 => "resources",
        143 => "stopped",
        _ => "defect",
    }
}
