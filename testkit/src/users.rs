//! Programs run as another user than root, whom no limit on threads binds.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A program that takes longer than this under a limit hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// A user that nobody else is, with copies of the programs and a folder to work in.
#[derive(Debug)]
pub struct AnotherUser {
    folder: TempDir,
    id: u32,
}

/// How a program ended.
#[derive(Debug)]
pub struct Limited {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// How long it ran.
    pub took: Duration,
    /// The last line of its standard output.
    pub last: String,
    /// Its log.
    pub stderr: String,
}

impl AnotherUser {
    /// A user with copies of these programs; none, with a word on standard error, where this process may not become another
    /// user, or that user may not run the copies.
    ///
    /// # Panics
    /// Where the programs cannot be copied.
    #[must_use]
    pub fn with(programs: &[PathBuf]) -> Option<Self> {
        static USERS: AtomicU32 = AtomicU32::new(0);
        // A limit counts all threads of a user: tests beside this one must not be the same.
        let id = 200_000 + (std::process::id() % 10_000) * 16 + USERS.fetch_add(1, Ordering::Relaxed) % 16;
        let user = Self { folder: TempDir::new().expect("a folder"), id };
        for folder in ["bin", "lib", "work"] {
            fs::create_dir(user.path(folder)).expect("a folder");
        }
        fs::set_permissions(user.folder.path(), Permissions::from_mode(0o755)).expect("permissions");
        fs::set_permissions(user.path("work"), Permissions::from_mode(0o777)).expect("permissions");
        for program in programs {
            let name = program.file_name().expect("a program has a name");
            fs::copy(program, user.path("bin").join(name)).expect("a copy of a program");
            for library in libraries(program) {
                let name = library.file_name().expect("a library has a name");
                fs::copy(&library, user.path("lib").join(name)).expect("a copy of a library");
            }
        }
        let name = programs.first()?.file_name()?.to_str()?;
        let works = user.command(name, None).arg("--version").output().is_ok_and(|done| done.status.success());
        if !works {
            writeln!(std::io::stderr(), "skipped: this process may not run programs as another user").ok();
        }
        works.then_some(user)
    }

    /// Something in the user's folder; what is below `work` may be written by the user.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file below `work` that the user may read.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) {
        let path = self.path("work").join(name);
        fs::write(&path, content).expect("a file");
        fs::set_permissions(path, Permissions::from_mode(0o644)).expect("permissions");
    }

    /// Runs a program in `work` as this user, who may have so many processes and threads.
    ///
    /// # Panics
    /// Where it hangs: it is killed then.
    #[must_use]
    pub fn run(&self, program: &str, most_threads: usize, arguments: &[&str]) -> Limited {
        let mut command = self.command(program, Some(most_threads));
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().expect("it ran before");
        while child.try_wait().expect("a child can be waited for").is_none() {
            if started.elapsed() > DEADLINE {
                let _ = child.kill();
                panic!("hangs: {command:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = started.elapsed();
        // What a program says under a limit is little: the pipes hold it.
        let done = child.wait_with_output().expect("a child can be waited for");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let last = text(&done.stdout).lines().last().unwrap_or_default().to_owned();
        Limited { code: done.status.code(), took, last, stderr: text(&done.stderr) }
    }

    fn command(&self, program: &str, most_threads: Option<usize>) -> Command {
        let mut command = Command::new("bash");
        let limit = most_threads.map_or_else(String::new, |most| format!("ulimit -u {most}; "));
        command.args(["-c", &format!("{limit}exec \"$@\""), "bash"]).arg(self.path("bin").join(program));
        command.env_clear().env("LD_LIBRARY_PATH", self.path("lib")).env("HOME", "/nonexistent");
        command.current_dir(self.path("work")).stdin(Stdio::null()).uid(self.id).gid(self.id);
        command
    }
}

/// The libraries of a program that the system does not have.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().expect("ldd");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let path = |line: &str| line.split_once("=> ")?.1.split(" (").next().map(PathBuf::from);
    let of_system = |path: &PathBuf| path.starts_with("/lib") || path.starts_with("/usr");
    listed.lines().filter_map(path).filter(|path| path.exists() && !of_system(path)).collect()
}
