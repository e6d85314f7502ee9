//! Control groups that bound the memory of a program under test, where this process may make them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where control groups of the first and the second version lie.
const FIRST: &str = "/sys/fs/cgroup/memory";
const SECOND: &str = "/sys/fs/cgroup";
/// A group whose last process has ended may be busy for a moment.
const TO_END: Duration = Duration::from_secs(5);

/// A control group; its processes are ended by the kernel where they take more memory than it may have.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
}

impl MemoryGroup {
    /// A group that may use so many MiB; none, with a word on standard error, where this process may not make one.
    #[must_use]
    pub fn of_mib(mib: u64) -> Option<Self> {
        static GROUPS: AtomicU32 = AtomicU32::new(0);
        let name = format!("engagement-test-{}-{}", std::process::id(), GROUPS.fetch_add(1, Ordering::Relaxed));
        let bytes = (mib << 20).to_string();
        let limits = [(FIRST, "memory.limit_in_bytes"), (SECOND, "memory.max")];
        for (root, file) in limits {
            let group = Self { folder: Path::new(root).join(&name) };
            if fs::create_dir(&group.folder).is_ok() && fs::write(group.folder.join(file), &bytes).is_ok() {
                return Some(group);
            }
        }
        writeln!(std::io::stderr(), "skipped: this process may not make control groups").ok();
        None
    }

    /// The most memory that its processes had at once, in bytes; 0 where the kernel does not tell.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        let read = |file: &str| fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok();
        read("memory.max_usage_in_bytes").or_else(|| read("memory.peak")).unwrap_or(0)
    }

    /// What a shell runs to enter the group.
    #[must_use]
    pub fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.folder.display())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let begun = Instant::now();
        while fs::remove_dir(&self.folder).is_err() && begun.elapsed() < TO_END && self.folder.exists() {
            thread::yield_now();
        }
    }
}
