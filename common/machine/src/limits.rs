//! How many threads and how much memory the run may use: the least of what the control groups, the machine and the
//! ECS task allow, or what the settings say.

pub mod source;

use std::fmt;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use self::source::{Limit, Source};
use crate::cgroup;
use crate::ecs::{self, Task};
use crate::{rlimits, threads};
use error::{Error, Result};

/// What the settings ask for; it wins over everything that is detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Explicit {
    /// Threads.
    pub threads: Option<NonZeroUsize>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
}

/// What the run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Threads, at least one.
    pub threads: Limit<usize>,
    /// Bytes of memory.
    pub memory_bytes: Limit<u64>,
}

impl Limits {
    /// Finds the limits of this process. An ECS endpoint that does not answer is a warning in the log.
    ///
    /// # Errors
    /// [`Error::Resources`] when nothing tells how much memory there is, or limits of this process leave none.
    pub fn detect(explicit: Explicit) -> Result<Self> {
        let task = ecs::task().unwrap_or_else(|error| {
            tracing::warn!("{error}; the task's limits are not known");
            None
        });
        let limits = Self::detect_in(Path::new("/"), machine_threads(), task, explicit)?;
        Ok(limits.within(rlimits::memory_left(threads::stacks(limits.threads.value))?))
    }

    /// The same with what limits of this process alone leave of the memory. The kernel keeps to them whatever a setting says.
    fn within(self, left: Option<Limit<u64>>) -> Self {
        let Some(left) = left.filter(|left| left.value < self.memory_bytes.value) else { return self };
        rlimits::in_force(left.source);
        Self { memory_bytes: left, ..self }
    }

    /// The same from given facts: files under `root`, CPUs that the process may run on, the ECS task.
    ///
    /// # Errors
    /// As [`Limits::detect`].
    pub fn detect_in(root: &Path, machine_threads: usize, task: Option<&Task>, explicit: Explicit) -> Result<Self> {
        let cgroup = cgroup::detect_in(root);
        let threads = [
            Some((machine_threads, Source::Machine)),
            cgroup.cpuset_cpus.map(|cpus| (cpus, Source::Cgroup)),
            cgroup.quota_cpus.map(|cpus| (cpus, Source::Cgroup)),
            task.and_then(|task| task.cpus).map(|cpus| (cpus.ceil() as usize, Source::Task)),
        ];
        let memory = [
            parse_total_memory(&read(root, "proc/meminfo")).map(|bytes| (bytes, Source::Machine)),
            cgroup.memory_bytes.map(|bytes| (bytes, Source::Cgroup)),
            task.and_then(|task| task.memory_bytes).map(|bytes| (bytes, Source::Task)),
            task.and_then(|task| task.container_memory_bytes).map(|bytes| (bytes, Source::Container)),
        ];
        let threads = choose(explicit.threads.map(NonZeroUsize::get), threads);
        let memory_bytes = choose(explicit.memory_bytes, memory);
        Ok(Self {
            threads: threads.map_or(Limit { value: 1, source: Source::Machine }, |limit| limit.at_least(1)),
            memory_bytes: memory_bytes.ok_or_else(unknown_memory)?,
        })
    }
}

impl Limits {
    /// The same for a result: what the run could use, which is what a task of its size is billed for.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({"threads": self.threads.value, "memory_bytes": self.memory_bytes.value})
    }
}

impl<T: Ord> Limit<T> {
    fn at_least(self, minimum: T) -> Self {
        Self { value: self.value.max(minimum), ..self }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.memory_bytes.value >> 20;
        let (threads, memory) = (self.threads, self.memory_bytes.source);
        write!(formatter, "{} threads ({}), {mib} MiB of memory ({memory})", threads.value, threads.source)
    }
}

/// The setting, else the least of what was found.
fn choose<T: Ord + Copy, const N: usize>(explicit: Option<T>, found: [Option<(T, Source)>; N]) -> Option<Limit<T>> {
    if let Some(value) = explicit {
        return Some(Limit { value, source: Source::Setting });
    }
    let (value, source) = found.into_iter().flatten().min_by_key(|(value, _)| *value)?;
    Some(Limit { value, source })
}

fn unknown_memory() -> Error {
    Error::Resources(
        "how much memory there is cannot be told: neither /proc/meminfo nor a control group says so; set it".to_owned(),
    )
}

/// The CPUs that the process may run on. Rust's own count would also look at control groups, but rounds quotas down.
fn machine_threads() -> usize {
    match rustix::thread::sched_getaffinity(None) {
        Ok(cpus) if cpus.count() > 0 => cpus.count() as usize,
        _ => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
    }
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn parse_total_memory(meminfo: &str) -> Option<u64> {
    super::usage::parse_kibibytes(meminfo, "MemTotal:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const MEMINFO: &str = "MemTotal:       16384000 kB\nMemFree:          123456 kB\n";

    fn machine(memory_max: &str, cpu_max: &str, cpuset: &str) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/meminfo", MEMINFO);
        write("proc/self/cgroup", "0::/\n");
        write("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        write("sys/fs/cgroup/memory.max", memory_max);
        write("sys/fs/cgroup/cpu.max", cpu_max);
        write("sys/fs/cgroup/cpuset.cpus.effective", cpuset);
        root
    }

    fn limit<T>(value: T, source: Source) -> Limit<T> {
        Limit { value, source }
    }

    fn task(cpus: f64, memory_mib: u64, container_mib: Option<u64>) -> Task {
        Task {
            arn: None,
            cpus: Some(cpus),
            memory_bytes: Some(memory_mib << 20),
            container_memory_bytes: container_mib.map(|mib| mib << 20),
            address: None,
        }
    }

    #[test]
    fn a_bare_machine_gives_all_it_has() {
        let root = machine("max", "max 100000", "0-7");
        let limits = Limits::detect_in(root.path(), 8, None, Explicit::default()).unwrap();
        assert_eq!(limits.threads, limit(8, Source::Machine));
        assert_eq!(limits.memory_bytes, limit(16_384_000 * 1024, Source::Machine));
    }

    #[test]
    fn control_groups_bind() {
        let root = machine("1073741824", "250000 100000", "0-7");
        let limits = Limits::detect_in(root.path(), 8, None, Explicit::default()).unwrap();
        assert_eq!(limits.threads, limit(3, Source::Cgroup));
        assert_eq!(limits.memory_bytes, limit(1 << 30, Source::Cgroup));
        assert_eq!(limits.to_string(), "3 threads (cgroup), 1024 MiB of memory (cgroup)");

        let root = machine("max", "max 100000", "2,5");
        let limits = Limits::detect_in(root.path(), 8, None, Explicit::default()).unwrap();
        assert_eq!(limits.threads, limit(2, Source::Cgroup));
    }

    #[test]
    fn a_fargate_task_binds_though_its_control_group_shows_nothing() {
        let root = machine("max", "max 100000", "0-3");
        let limits = Limits::detect_in(root.path(), 4, Some(&task(0.25, 512, None)), Explicit::default()).unwrap();
        assert_eq!(limits.threads, limit(1, Source::Task));
        assert_eq!(limits.memory_bytes, limit(512 << 20, Source::Task));

        let limits = Limits::detect_in(root.path(), 4, Some(&task(2.0, 4096, Some(384))), Explicit::default()).unwrap();
        assert_eq!(limits.threads, limit(2, Source::Task));
        assert_eq!(limits.memory_bytes, limit(384 << 20, Source::Container));
    }

    #[test]
    fn a_large_task_does_not_raise_smaller_limits() {
        let root = machine("1073741824", "100000 100000", "0-3");
        let limits = Limits::detect_in(root.path(), 4, Some(&task(16.0, 65_536, None)), Explicit::default()).unwrap();
        assert_eq!(limits.threads, limit(1, Source::Cgroup));
        assert_eq!(limits.memory_bytes, limit(1 << 30, Source::Cgroup));
    }

    #[test]
    fn settings_win() {
        let root = machine("1073741824", "100000 100000", "0");
        let explicit = Explicit { threads: NonZeroUsize::new(12), memory_bytes: Some(5 << 30) };
        let limits = Limits::detect_in(root.path(), 4, Some(&task(1.0, 512, None)), explicit).unwrap();
        assert_eq!(limits.threads, limit(12, Source::Setting));
        assert_eq!(limits.memory_bytes, limit(5 << 30, Source::Setting));
    }

    #[test]
    fn limits_of_the_process_alone_bind_whatever_is_set() {
        let root = machine("1073741824", "100000 100000", "0");
        let explicit = Explicit { threads: None, memory_bytes: Some(5 << 30) };
        let limits = Limits::detect_in(root.path(), 4, None, explicit).unwrap();
        let left = limit(300 << 20, Source::Data);
        assert_eq!(limits.within(Some(left)).memory_bytes, left);
        assert_eq!(limits.within(Some(limit(6 << 30, Source::AddressSpace))), limits);
        assert_eq!(limits.within(None), limits);
        assert!(limits.within(Some(left)).to_string().ends_with("300 MiB of memory (ulimit -d, RLIMIT_DATA)"));
        assert!(rlimits::remark().unwrap().contains("ulimit -d"));
    }

    #[test]
    fn without_any_fact_memory_has_to_be_set() {
        let root = tempfile::tempdir().unwrap();
        let error = Limits::detect_in(root.path(), 0, None, Explicit::default()).unwrap_err();
        assert_eq!(error.exit_code(), 8);
        let explicit = Explicit { memory_bytes: Some(1), ..Explicit::default() };
        let limits = Limits::detect_in(root.path(), 0, None, explicit).unwrap();
        assert_eq!(limits.threads, limit(1, Source::Machine));
    }

    #[test]
    fn this_machine_has_limits() {
        let limits = Limits::detect_in(Path::new("/"), machine_threads(), None, Explicit::default()).unwrap();
        assert!(limits.threads.value <= std::fs::read_dir("/sys/bus/cpu/devices").map_or(4096, Iterator::count));
        assert!(limits.memory_bytes.value > 100 << 20, "{limits}");
    }
}
