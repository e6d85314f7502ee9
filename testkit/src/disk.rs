//! Small disks: file systems of a fixed size in memory, mounted for the time of a test.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A disk, unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// A disk of so many KiB; none, with a word on standard error, where this process may not mount any.
    ///
    /// # Panics
    /// Where no folder can be made for it.
    #[must_use]
    pub fn of_kib(kib: u32) -> Option<Self> {
        let disk = Self { folder: TempDir::new().expect("a folder") };
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"], disk.path());
        if !mounted {
            use std::io::Write as _;
            writeln!(std::io::stderr(), "skipped: this process may not mount a disk").ok();
        }
        mounted.then_some(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// From now on nothing can be written to it.
    ///
    /// # Panics
    /// Where it cannot be mounted again.
    pub fn make_read_only(&self) {
        assert!(mount(&["-o", "remount,ro"], self.path()), "a mounted disk can be mounted again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

fn mount(arguments: &[&str], folder: &Path) -> bool {
    let done = Command::new("mount").args(arguments).arg(folder).output();
    done.is_ok_and(|done| done.status.success())
}
