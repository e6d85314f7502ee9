//! `.incoming/`, the folder of a local store where files are written before they get their name, and where its lock lies.
//!
//! Nothing here is ever an object. Both kinds of file are held by an advisory lock (`flock`), which the kernel gives up
//! with the process that held it: a killed writer leaves a file that the next one may remove, and blocks nobody.
//!
//! The folder may hold what somebody else put there. Only files that have one of our names are removed, links are never followed,
//! and what is no regular file is never opened: a pipe would be waited for without an end.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The folder's name; keys below it are refused.
pub(super) const FOLDER: &str = ".incoming";
const LOCK: &str = "lock";
/// Somebody else may remove the empty folder, or an abandoned file, between two of our steps; then both are tried again.
const ATTEMPTS: usize = 10_000;
/// A folder that is there, and stays as it is, may be said to be missing so often before that is no race.
const REFUSALS: usize = 10;
/// Who holds the lock gives one file its name: a holder that takes longer than this was stopped, or its disk hangs.
const LONGEST_HOLD: Duration = Duration::from_secs(60);
/// Between two looks at a lock that is held, at first and at most.
const GLANCES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(10)];
/// Digits of the nanoseconds since 1970 in the name of a file, from 2001 until 2286.
const DIGITS_OF_NANOS: usize = 19;

/// The folder, which exists only while something lies in it.
#[derive(Debug)]
pub(super) struct Incoming {
    folder: PathBuf,
}

impl Incoming {
    pub(super) fn below(root: &Path) -> Self {
        Self { folder: root.join(FOLDER) }
    }

    /// Writes `content` to a new file and makes it durable; it becomes visible with [`Staged::rename`].
    pub(super) fn stage(&self, content: &[u8]) -> io::Result<Staged> {
        let mut staged = self.create()?;
        staged.file.write_all(content)?;
        staged.set_modified(SystemTime::now())?;
        Ok(staged)
    }

    fn create(&self) -> io::Result<Staged> {
        for _ in 0..ATTEMPTS {
            if !self.make()? {
                continue;
            }
            let path = self.folder.join(unused_name());
            let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            // A sweep of another process may have taken the file for abandoned before it was locked.
            if file.try_lock().is_ok() && is_at(&file, &path) {
                return Ok(Staged { file, path });
            }
        }
        Err(contended(&self.folder))
    }

    /// Waits until this process alone may change what lies under a name in the store.
    pub(super) fn lock(&self) -> io::Result<Lock> {
        let path = self.folder.join(LOCK);
        for _ in 0..ATTEMPTS {
            if !self.make()? {
                continue;
            }
            let file = match open_lock(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            wait_for(&file, &path)?;
            // The one who held it before has removed it: the lock is now another file.
            if is_at(&file, &path) {
                return Ok(Lock { _file: file, path });
            }
        }
        Err(contended(&self.folder))
    }

    /// Makes the folder; false where somebody removed it again.
    fn make(&self) -> io::Result<bool> {
        create_folders(&self.folder)?;
        match fs::symlink_metadata(&self.folder) {
            Ok(found) if found.is_dir() => Ok(true),
            Ok(_) => Err(refused(&self.folder, "a link, and files are written in a folder of the store's own")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what killed writers left. Never fails: what cannot be removed is in nobody's way.
    pub(super) fn sweep(&self) {
        if !fs::symlink_metadata(&self.folder).is_ok_and(|found| found.is_dir()) {
            return;
        }
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            remove_if_abandoned(&path);
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

fn remove_if_abandoned(path: &Path) {
    let is_ours = path.file_name().and_then(|name| name.to_str()).is_some_and(is_name_of_ours);
    if !is_ours || !fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        return;
    }
    let Ok(file) = without_following(OpenOptions::new().read(true)).open(path) else { return };
    if file.try_lock().is_ok() {
        let _ = fs::remove_file(path);
    }
}

/// Opens what is there and no link to it, without waiting for the other end of a pipe.
fn without_following(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
}

/// The lock's file, which is empty and a file: what is neither is somebody else's, and is neither locked nor removed.
fn open_lock(path: &Path) -> io::Result<File> {
    let is_ours = |found: &fs::Metadata| found.is_file() && found.len() == 0;
    let somebody_elses = || refused(path, "not the empty file by which programs lock a store");
    if fs::symlink_metadata(path).is_ok_and(|found| !is_ours(&found)) {
        return Err(somebody_elses());
    }
    let file = without_following(OpenOptions::new().write(true).create(true).truncate(false)).open(path)?;
    if is_ours(&file.metadata()?) { Ok(file) } else { Err(somebody_elses()) }
}

/// Waits for the lock, but not for ever.
fn wait_for(file: &File, path: &Path) -> io::Result<()> {
    let (begun, [mut glance, longest]) = (Instant::now(), GLANCES);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begun.elapsed() > LONGEST_HOLD => {
                let seconds = LONGEST_HOLD.as_secs();
                let text = format!("another program has held {} for more than {seconds} seconds", path.display());
                return Err(io::Error::new(ErrorKind::ResourceBusy, text));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(glance),
        }
        glance = longest.min(glance * 2);
    }
}

fn refused(path: &Path, what: &str) -> io::Error {
    let text = format!("{} is {what}: move it away", path.display());
    io::Error::new(ErrorKind::PermissionDenied, text)
}

/// A file that is written and durable, and has no name in the store yet. Removed when dropped.
#[derive(Debug)]
pub(super) struct Staged {
    file: File,
    path: PathBuf,
}

impl Staged {
    pub(super) fn metadata(&self) -> io::Result<fs::Metadata> {
        self.file.metadata()
    }

    pub(super) fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.file.set_modified(time)?;
        self.file.sync_all()
    }

    pub(super) fn rename(self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        remove_folder_of(&self.path);
    }
}

/// The right to change names in the store, until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        remove_folder_of(&self.path);
    }
}

fn remove_folder_of(path: &Path) {
    if let Some(folder) = path.parent() {
        let _ = fs::remove_dir(folder);
    }
}

/// Creates `folder` and what is missing above it, each entry durable.
pub(super) fn create_folders(folder: &Path) -> io::Result<()> {
    let mut refusals = 0;
    for _ in 0..ATTEMPTS {
        let above = folder.parent().and_then(unchanging);
        match fs::create_dir(folder) {
            Ok(()) => return folder.parent().map_or(Ok(()), sync_folder),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let Some(parent) = folder.parent() else { return Err(error) };
                // Not missing, but of a file system that makes no folders, such as /proc.
                refusals = if above.is_some() && above == unchanging(parent) { refusals + 1 } else { 0 };
                if refusals == REFUSALS {
                    let text = format!("no folder can be made in {}", parent.display());
                    return Err(io::Error::new(ErrorKind::PermissionDenied, text));
                }
                create_folders(parent)?;
            }
            // One look tells a folder from a file: between two of them others may remove the folder and make it again.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match fs::metadata(folder) {
                Ok(found) if found.is_dir() => return Ok(()),
                Ok(_) => return Err(io::Error::new(ErrorKind::NotADirectory, error)),
                Err(gone) if gone.kind() == ErrorKind::NotFound => {}
                Err(other) => return Err(other),
            },
            Err(error) => return Err(error),
        }
    }
    Err(contended(folder))
}

/// What stays the same of a folder as long as nobody removes it or changes what lies in it.
fn unchanging(folder: &Path) -> Option<(u64, u64, i64, i64)> {
    let found = fs::metadata(folder).ok().filter(fs::Metadata::is_dir)?;
    Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

/// Makes the names in `folder` durable. A folder that is gone by now needs none.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        Ok(opened) => opened.sync_all(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // A folder that may be written but not read: the names are as durable as the system makes them.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        _ => false,
    }
}

fn unused_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
    format!("{}-{count}-{nanos}", std::process::id())
}

/// Whether a file may be called so by [`unused_name`]. A date is no such name.
fn is_name_of_ours(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(is_number) && parts[2].len() == DIGITS_OF_NANOS
}

fn contended(folder: &Path) -> io::Error {
    io::Error::new(ErrorKind::ResourceBusy, format!("{} kept being removed by others", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let incoming = Incoming::below(root.path());
        drop(incoming.stage(b"half").unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_sweep_removes_what_nobody_holds_and_keeps_what_somebody_does() {
        let root = tempfile::tempdir().unwrap();
        let incoming = Incoming::below(root.path());
        let held = incoming.stage(b"in use").unwrap();
        let abandoned = root.path().join(FOLDER).join("1-0-1764374400000000000");
        fs::write(&abandoned, b"of a killed writer").unwrap();
        incoming.sweep();
        assert!(!abandoned.exists());
        let target = root.path().join("object");
        held.rename(&target).unwrap();
        assert_eq!(fs::read(target).unwrap(), b"in use");
        assert!(!root.path().join(FOLDER).exists());
    }

    #[test]
    fn only_files_with_names_of_ours_are_swept() {
        assert!(is_name_of_ours(&unused_name()));
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        let theirs = ["notes.txt", "2024-01-31", "1-0-176437440000000000x", "lock", "1-0-1764374400000000000.csv"];
        theirs.iter().for_each(|name| fs::write(folder.join(name), b"theirs").unwrap());
        fs::write(root.path().join("elsewhere"), b"theirs").unwrap();
        std::os::unix::fs::symlink(root.path().join("elsewhere"), folder.join("1-0-1764374400000000000")).unwrap();
        Incoming::below(root.path()).sweep();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), theirs.len() + 1);
        let refused = Incoming::below(root.path()).lock().unwrap_err();
        assert!(refused.to_string().contains("lock is not the empty file"), "{refused}");
        assert_eq!(fs::read(folder.join("lock")).unwrap(), b"theirs");
    }

    #[test]
    fn a_link_is_no_folder_to_write_in() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let theirs = other.path().join("1-0-1764374400000000000");
        fs::write(&theirs, b"theirs").unwrap();
        std::os::unix::fs::symlink(other.path(), root.path().join(FOLDER)).unwrap();
        let incoming = Incoming::below(root.path());
        incoming.sweep();
        assert!(theirs.exists());
        assert_eq!(incoming.stage(b"x").unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_file_of_a_killed_holder_blocks_nobody() {
        let root = tempfile::tempdir().unwrap();
        let incoming = Incoming::below(root.path());
        fs::create_dir(root.path().join(FOLDER)).unwrap();
        fs::write(root.path().join(FOLDER).join(LOCK), b"").unwrap();
        drop(incoming.lock().unwrap());
        assert!(!root.path().join(FOLDER).exists());
    }

    #[test]
    fn a_file_system_that_makes_no_folders_refuses_at_once() {
        for folder in ["/proc/models", "/proc/models/deep/down"] {
            let error = create_folders(Path::new(folder)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(error.to_string().contains("no folder can be made in /proc"), "{error}");
        }
    }

    #[test]
    fn the_lock_is_held_by_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let shared = root.path().join("count");
        fs::write(&shared, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Incoming::below(root.path()).lock().unwrap();
                        let count: u32 = fs::read_to_string(&shared).unwrap().parse().unwrap();
                        fs::write(&shared, (count + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&shared).unwrap(), "400");
    }
}
