//! What the run has used: peak memory, and the disk that is left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why the free space of a disk is not known.
#[derive(Debug, thiserror::Error)]
#[error("the free disk space of {} cannot be read: {source}", folder.display())]
pub struct DiskError {
    folder: PathBuf,
    source: io::Error,
}

/// The most physical memory that this process has held at once, in bytes: `VmHWM` of `/proc/self/status`. `None` where
/// the kernel does not say.
///
/// A control group's own peak (`memory.peak`) is no better: it counts the pages of files that were read or written,
/// which the kernel gives back under pressure, so that any large input would look like a full container.
#[must_use]
pub fn peak_memory() -> Option<u64> {
    peak_memory_in(Path::new("/"))
}

fn peak_memory_in(root: &Path) -> Option<u64> {
    parse_kibibytes(&fs::read_to_string(root.join("proc/self/status")).ok()?, "VmHWM:")
}

/// The number of a line `NAME  NUMBER kB`, in bytes. `/proc` means 1024 bytes by kB.
pub(super) fn parse_kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// `peak_bytes` as a percentage of `limit_bytes`; `None` of a limit of zero.
#[must_use]
pub fn memory_utilization(peak_bytes: u64, limit_bytes: u64) -> Option<f64> {
    (limit_bytes > 0).then(|| 100.0 * peak_bytes as f64 / limit_bytes as f64)
}

/// Bytes that this process may still write to the disk of `folder`, or of its nearest parent that exists.
///
/// # Errors
/// [`DiskError`], which names the folder.
pub fn free_disk(folder: &Path) -> Result<u64, DiskError> {
    let mut candidate = folder;
    loop {
        match (rustix::fs::statvfs(existing_or_here(candidate)), candidate.parent()) {
            (Ok(disk), _) => return Ok(disk.f_bavail.saturating_mul(disk.f_frsize)),
            (Err(rustix::io::Errno::NOENT), Some(parent)) => candidate = parent,
            (Err(error), _) => {
                return Err(DiskError { folder: folder.to_owned(), source: error.into() });
            }
        }
    }
}

/// The parent of a relative path's first part is written as an empty path.
fn existing_or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tpredict\nVmPeak:\t 900000 kB\nVmHWM:\t  123456 kB\nVmRSS:\t   99999 kB\nThreads:\t3\n";

    #[test]
    fn the_peak_is_read_from_the_status() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        assert_eq!(peak_memory_in(root.path()), None);
        fs::write(root.path().join("proc/self/status"), STATUS).unwrap();
        assert_eq!(peak_memory_in(root.path()), Some(123_456 * 1024));
    }

    #[test]
    fn the_peak_follows_what_this_process_holds() {
        let held = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(peak_memory().unwrap() >= held.len() as u64);
    }

    #[test]
    fn damaged_lines_are_no_number() {
        for text in ["", "VmHWM:", "VmHWM: many kB", "VmHWM: 5", "VmHWM: -1 kB", "VmHWM: 18446744073709551615 kB"] {
            assert_eq!(parse_kibibytes(text, "VmHWM:"), None, "{text:?}");
        }
    }

    #[test]
    fn utilization_is_a_percentage() {
        assert_eq!(memory_utilization(512, 1024), Some(50.0));
        assert_eq!(memory_utilization(0, 1), Some(0.0));
        assert_eq!(memory_utilization(1, 0), None);
    }

    #[test]
    fn a_folder_still_to_be_made_has_its_parents_disk() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_disk(folder.path()).unwrap();
        assert!(free > 0);
        assert!(free_disk(&folder.path().join("runs/7/parts")).unwrap() > 0);
        assert!(free_disk(Path::new("no-such-folder/at-all")).unwrap() > 0);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = free_disk(&file.path().join("below")).unwrap_err().to_string();
        assert!(message.contains(file.path().to_str().unwrap()), "{message}");
    }
}
