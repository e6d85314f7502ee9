//! The limits of the control groups that hold this process, version 1 and 2 (Linux, `cgroups(7)`).
//!
//! A limit anywhere between a group and the root of its mount holds, so every ancestor is read and the least counts. The crates
//! `cgroups-rs` and `procfs` were weighed: neither looks at the ancestors, nor says what a container's own mount shows.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Version 1 shows no limit as a number near 2^63.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// What the control groups allow; `None` where they set no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CgroupLimits {
    /// Bytes of memory.
    pub(crate) memory_bytes: Option<u64>,
    /// CPU time per time, rounded up to whole CPUs.
    pub(crate) quota_cpus: Option<usize>,
    /// CPUs that the process may run on.
    pub(crate) cpuset_cpus: Option<usize>,
    /// Processes and threads.
    pub(crate) pids: Option<u64>,
}

/// Reads the limits of this process under `root` (`/` on a real machine). What cannot be read sets no limit.
pub(crate) fn detect_in(root: &Path) -> CgroupLimits {
    let memberships = parse_memberships(&read(&root.join("proc/self/cgroup")));
    let mounts = parse_mounts(&read(&root.join("proc/self/mountinfo")));
    let mut limits = CgroupLimits::default();
    for mount in &mounts {
        let Some(membership) = memberships.iter().find(|membership| membership.is_in(mount)) else {
            continue;
        };
        for folder in folders(root, mount, &membership.path) {
            limits = limits.least(if mount.is_v2 { read_v2(&folder) } else { read_v1(&folder) });
        }
    }
    limits
}

impl CgroupLimits {
    fn least(self, other: Self) -> Self {
        Self {
            memory_bytes: least(self.memory_bytes, other.memory_bytes),
            quota_cpus: least(self.quota_cpus, other.quota_cpus),
            cpuset_cpus: least(self.cpuset_cpus, other.cpuset_cpus),
            pids: least(self.pids, other.pids),
        }
    }
}

fn least<T: Ord>(first: Option<T>, second: Option<T>) -> Option<T> {
    first.into_iter().chain(second).min()
}

/// A missing or unreadable file reads as an empty one.
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// One line of `/proc/self/cgroup`: version 2 names no controllers.
#[derive(Debug, PartialEq)]
struct Membership {
    controllers: Vec<String>,
    path: PathBuf,
}

impl Membership {
    fn is_in(&self, mount: &Mount) -> bool {
        if mount.is_v2 {
            return self.controllers.is_empty();
        }
        self.controllers.iter().any(|controller| mount.options.contains(controller))
    }
}

fn parse_memberships(text: &str) -> Vec<Membership> {
    text.lines().filter_map(parse_membership).collect()
}

fn parse_membership(line: &str) -> Option<Membership> {
    let mut fields = line.splitn(3, ':').skip(1);
    let controllers = fields.next()?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(Membership { controllers, path: PathBuf::from(fields.next()?) })
}

/// One control-group line of `/proc/self/mountinfo`. `root` is the group that the mount shows at its top.
#[derive(Debug, PartialEq)]
struct Mount {
    is_v2: bool,
    options: Vec<String>,
    root: PathBuf,
    folder: PathBuf,
}

fn parse_mounts(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut filesystem = filesystem.split(' ');
    let is_v2 = match filesystem.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options = filesystem.nth(1)?.split(',').map(str::to_owned).collect();
    let mut mount = mount.split(' ').skip(3);
    Some(Mount { is_v2, options, root: PathBuf::from(mount.next()?), folder: PathBuf::from(mount.next()?) })
}

/// The folders of a group and its ancestors, as far as the mount shows them. A container that sees the host's path but
/// only its own group finds that group at the top of the mount.
fn folders(root: &Path, mount: &Mount, group: &Path) -> Vec<PathBuf> {
    let top = root.join(mount.folder.strip_prefix("/").unwrap_or(&mount.folder));
    let below = group.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    if below.components().any(|component| component == Component::ParentDir) {
        return vec![top];
    }
    below.ancestors().map(|path| top.join(path)).collect()
}

fn read_v2(folder: &Path) -> CgroupLimits {
    CgroupLimits {
        memory_bytes: parse_bytes(&read(&folder.join("memory.max"))),
        quota_cpus: parse_cpu_max(&read(&folder.join("cpu.max"))),
        cpuset_cpus: parse_cpu_list(&read(&folder.join("cpuset.cpus.effective"))),
        pids: read_pids(folder),
    }
}

/// `hierarchical_memory_limit` also tells of ancestors that a container does not see.
fn read_v1(folder: &Path) -> CgroupLimits {
    let own = parse_bytes(&read(&folder.join("memory.limit_in_bytes")));
    let statistics = read(&folder.join("memory.stat"));
    let inherited =
        statistics.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit ")).and_then(parse_bytes);
    let quota =
        format!("{} {}", read(&folder.join("cpu.cfs_quota_us")).trim(), read(&folder.join("cpu.cfs_period_us")).trim());
    CgroupLimits {
        memory_bytes: least(own, inherited),
        quota_cpus: parse_cpu_max(&quota),
        cpuset_cpus: parse_cpu_list(&read(&folder.join("cpuset.cpus"))),
        pids: read_pids(folder),
    }
}

/// `max`, or a number, in both versions.
fn read_pids(folder: &Path) -> Option<u64> {
    read(&folder.join("pids.max")).trim().parse().ok()
}

/// `max`, or a number of bytes.
fn parse_bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| (1..UNLIMITED_BYTES).contains(bytes))
}

/// `QUOTA PERIOD` in microseconds; a quota of `max` or -1 is none.
fn parse_cpu_max(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let quota: u64 = quota.parse().ok().filter(|quota| *quota > 0)?;
    let period: u64 = period.trim().parse().ok().filter(|period| *period > 0)?;
    usize::try_from(quota.div_ceil(period)).ok()
}

/// How many CPUs a list such as `0-3,7` names.
fn parse_cpu_list(text: &str) -> Option<usize> {
    text.trim().split(',').map(parse_cpu_range).try_fold(0usize, |total, count| total.checked_add(count?))
}

fn parse_cpu_range(range: &str) -> Option<usize> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    last.checked_sub(first)?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const V2_MOUNT: &str = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    fn machine(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_machine_without_control_groups_sets_no_limit() {
        assert_eq!(detect_in(machine(&[]).path()), CgroupLimits::default());
    }

    #[test]
    fn v2_in_a_container_with_a_namespace_of_its_own() {
        let root = machine(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
            ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/cpuset.cpus.effective", "0-3,6\n"),
            ("sys/fs/cgroup/pids.max", "100\n"),
        ]);
        let expected = CgroupLimits {
            memory_bytes: Some(536_870_912),
            quota_cpus: Some(2),
            cpuset_cpus: Some(5),
            pids: Some(100),
        };
        assert_eq!(detect_in(root.path()), expected);
    }

    #[test]
    fn v2_takes_the_least_of_nested_groups() {
        let root = machine(&[
            ("proc/self/cgroup", "0::/user.slice/run-1.scope/payload\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/user.slice/memory.max", "4000000000\n"),
            ("sys/fs/cgroup/user.slice/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/user.slice/run-1.scope/memory.max", "1000000000\n"),
            ("sys/fs/cgroup/user.slice/run-1.scope/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/user.slice/run-1.scope/payload/memory.max", "max\n"),
            ("sys/fs/cgroup/user.slice/run-1.scope/payload/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/user.slice/pids.max", "70\n"),
            ("sys/fs/cgroup/user.slice/run-1.scope/pids.max", "max\n"),
            ("sys/fs/cgroup/other/memory.max", "1\n"),
        ]);
        let expected =
            CgroupLimits { memory_bytes: Some(1_000_000_000), quota_cpus: Some(4), cpuset_cpus: None, pids: Some(70) };
        assert_eq!(detect_in(root.path()), expected);
    }

    #[test]
    fn v1_in_docker_sees_its_group_at_the_top_of_each_mount() {
        let root = machine(&[
            (
                "proc/self/cgroup",
                "11:memory:/docker/abc\n10:cpu,cpuacct:/docker/abc\n9:cpuset:/docker/abc\n1:name=systemd:/docker/abc\n0::/x\n",
            ),
            (
                "proc/self/mountinfo",
                "30 23 0:26 /docker/abc /sys/fs/cgroup/memory ro master:11 - cgroup cgroup rw,memory\n\
                 31 23 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                 32 23 0:28 /docker/abc /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 1\nhierarchical_memory_limit 2147483648\ntotal_rss 5\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpuset/cpuset.cpus", "1\n"),
        ]);
        let expected =
            CgroupLimits { memory_bytes: Some(2_147_483_648), quota_cpus: Some(1), cpuset_cpus: Some(1), pids: None };
        assert_eq!(detect_in(root.path()), expected);
    }

    #[test]
    fn v1_and_v2_side_by_side_both_count() {
        let root = machine(&[
            ("proc/self/cgroup", "4:memory:/jobs/7\n0::/\n"),
            (
                "proc/self/mountinfo",
                "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                 42 31 0:39 / /tmp rw - tmpfs tmpfs rw\n",
            ),
            ("sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "3000000\n"),
            ("sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "5000000\n"),
            ("sys/fs/cgroup/unified/memory.max", "4000000\n"),
        ]);
        assert_eq!(detect_in(root.path()).memory_bytes, Some(3_000_000));
    }

    #[test]
    fn a_group_outside_the_mount_is_looked_up_at_its_top() {
        for group in ["0::/../../elsewhere\n", "0::/host/path/of/the/container\n"] {
            let root = machine(&[
                ("proc/self/cgroup", group),
                ("proc/self/mountinfo", V2_MOUNT),
                ("sys/fs/cgroup/memory.max", "77\n"),
                ("elsewhere/memory.max", "1\n"),
            ]);
            assert_eq!(detect_in(root.path()).memory_bytes, Some(77), "{group}");
        }
    }

    #[test]
    fn quotas_are_rounded_up() {
        assert_eq!(parse_cpu_max("25000 100000\n"), Some(1));
        assert_eq!(parse_cpu_max("200000 100000"), Some(2));
        assert_eq!(parse_cpu_max("200001 100000"), Some(3));
        for none in ["max 100000", "-1 100000", "0 100000", "1 0", "", "100000", " "] {
            assert_eq!(parse_cpu_max(none), None, "{none:?}");
        }
    }

    #[test]
    fn lists_of_cpus_are_counted() {
        assert_eq!(parse_cpu_list("0\n"), Some(1));
        assert_eq!(parse_cpu_list("0-1,4,8-11"), Some(7));
        for wrong in ["", "\n", "3-1", "a", "0-", "0,,1", "0-18446744073709551615", "0-18446744073709551616"] {
            assert_eq!(parse_cpu_list(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn damaged_files_set_no_limit() {
        let root = machine(&[
            ("proc/self/cgroup", "garbage\n::\n0::/a\n"),
            (
                "proc/self/mountinfo",
                "garbage - cgroup2\n1 2 - cgroup2 x y\n31 23 0:28 / /sys/fs/cgroup rw - cgroup2 c rw\n",
            ),
            ("sys/fs/cgroup/a/memory.max", "many\n"),
            ("sys/fs/cgroup/a/cpu.max", "\u{0}\n"),
        ]);
        assert_eq!(detect_in(root.path()), CgroupLimits::default());
    }
}
