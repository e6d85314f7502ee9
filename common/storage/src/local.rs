//! A local folder as a store.
//!
//! A file is written in `.incoming/`, made durable, and renamed over its name under a lock between processes, so a reader
//! sees all of it or nothing and a conditional write has one winner. A version is size, modification time and inode; the
//! time of a name never repeats or goes back, even when the clock does.

mod incoming;
mod listing;

#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::buffers::Buffers;
use super::{Condition, ObjectMeta, Store, StoreError, Version};
use incoming::{Incoming, Staged};
use listing::list_folder;

/// How often a file is read again that was changed in place while it was read.
const READ_ATTEMPTS: usize = 3;

/// A folder, which need not exist: then it holds nothing and is created by the first write.
#[derive(Debug, Clone)]
pub(crate) struct LocalStore {
    folder: Arc<Folder>,
}

impl LocalStore {
    /// `root` is absolute.
    pub(crate) fn new(root: PathBuf) -> Self {
        let incoming = Incoming::below(&root);
        let text = root.display().to_string();
        let buffers = Arc::default();
        Self { folder: Arc::new(Folder { root, text, incoming, swept: Once::new(), buffers }) }
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Folder) -> Result<T, StoreError> + Send + 'static,
    {
        let folder = Arc::clone(&self.folder);
        let finished = machine::tasks::blocking(move || work(&folder)).await;
        finished.unwrap_or_else(|unfinished| Err(unfinished.into()))
    }
}

#[async_trait]
impl Store for LocalStore {
    fn root(&self) -> &str {
        &self.folder.text
    }

    async fn get(&self, key: &str) -> Result<(Bytes, Version), StoreError> {
        self.get_at_most(key, u64::MAX).await
    }

    async fn get_at_most(&self, key: &str, most_bytes: u64) -> Result<(Bytes, Version), StoreError> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.get(&key, most_bytes)).await
    }

    async fn get_range(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Bytes, StoreError> {
        let object = object.clone();
        self.blocking(move |folder| folder.get_range(&object, &range)).await
    }

    fn keep_buffers(&self, most_bytes: usize) {
        self.folder.buffers.keep(most_bytes);
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<Version, StoreError> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.put(&key, &content, None)).await
    }

    async fn put_if(&self, key: &str, content: Bytes, condition: &Condition) -> Result<Version, StoreError> {
        let (key, condition) = (key.to_owned(), condition.clone());
        self.blocking(move |folder| folder.put(&key, &content, Some(&condition))).await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.head(&key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |folder| folder.list(&prefix)).await
    }

    async fn list_older(&self, prefix: &str, moment: SystemTime) -> Result<Vec<ObjectMeta>, StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |folder| folder.list_older(&prefix, moment)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.delete(&key)).await
    }

    async fn delete_folder(&self, prefix: &str) -> Result<(), StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |folder| folder.delete_folder(&prefix)).await
    }
}

/// The same, blocking.
#[derive(Debug)]
struct Folder {
    root: PathBuf,
    text: String,
    incoming: Incoming,
    swept: Once,
    buffers: Arc<Buffers>,
}

impl Folder {
    fn path_of(&self, key: &str) -> Result<PathBuf, StoreError> {
        let refused = |why: &str| StoreError::Denied(format!("{}: key '{key}' {why}", self.text));
        if key.is_empty() || key.contains('\0') {
            return Err(refused("is no file name"));
        }
        if key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(refused("has an empty, '.' or '..' segment, which a local folder cannot hold"));
        }
        if key.split('/').next() == Some(incoming::FOLDER) {
            return Err(refused("lies where files are kept while they are written"));
        }
        Ok(self.root.join(key))
    }

    fn get(&self, key: &str, most_bytes: u64) -> Result<(Bytes, Version), StoreError> {
        let path = self.path_of(key)?;
        for _ in 0..READ_ATTEMPTS {
            let read = read_unchanged(&path, most_bytes).map_err(|error| translate("cannot read", &path, &error))?;
            match read {
                ReadOutcome::Unchanged(content, version) => return Ok((content, version)),
                ReadOutcome::TooLarge => return Err(super::too_large(&path.display().to_string(), most_bytes)),
                ReadOutcome::Changed => {}
            }
        }
        Err(changed(&path))
    }

    fn get_range(&self, object: &ObjectMeta, range: &Range<u64>) -> Result<Bytes, StoreError> {
        let path = self.path_of(&object.key)?;
        let failed = |error: io::Error| translate("cannot read", &path, &error);
        let file = open_file(&path).map_err(failed)?;
        // It has the size in it.
        if version_of(&file.metadata().map_err(failed)?) != object.version {
            return Err(changed(&path));
        }
        super::check_range(&path.display().to_string(), range, object.size)?;
        let mut content = self.buffers.take(usize::try_from(range.end - range.start).map_err(|_| changed(&path))?);
        match file.read_exact_at(content.as_mut(), range.start) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(changed(&path)),
            other => other.map_err(failed)?,
        }
        if version_of(&file.metadata().map_err(failed)?) != object.version {
            return Err(changed(&path));
        }
        Ok(content.filled())
    }

    fn put(&self, key: &str, content: &[u8], condition: Option<&Condition>) -> Result<Version, StoreError> {
        let path = self.path_of(key)?;
        self.swept.call_once(|| self.incoming.sweep());
        let failed = |error: io::Error| match translate("cannot write", &path, &error) {
            StoreError::Full(text) => StoreError::Full(format!("{text}: {} bytes are needed", content.len())),
            StoreError::NotFound(text) => StoreError::Denied(text),
            other => other,
        };
        refuse_to_replace(&path).map_err(failed)?;
        let staged = self.incoming.stage(content).map_err(failed)?;
        let lock = self.incoming.lock().map_err(failed)?;
        let current = file_metadata(&path).map_err(failed)?;
        if let Some(condition) = condition {
            check(condition, current.as_ref(), &path)?;
        }
        let version = publish(staged, current.as_ref(), &path).map_err(failed)?;
        drop(lock);
        path.parent().map_or(Ok(()), incoming::sync_folder).map_err(failed)?;
        Ok(version)
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let path = self.path_of(key)?;
        let found = file_metadata(&path).map_err(|error| translate("cannot read", &path, &error))?;
        Ok(found.map(|metadata| object(key.to_owned(), &metadata)))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let start = if prefix.is_empty() { self.root.clone() } else { self.path_of(prefix)? };
        list_folder(&self.root, &start, prefix)
    }

    fn list_older(&self, prefix: &str, moment: SystemTime) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut older = Vec::new();
        for object in self.list(prefix)? {
            let path = self.path_of(&object.key)?;
            let found = file_metadata(&path).and_then(|found| found.map(|metadata| metadata.modified()).transpose());
            if found.map_err(|error| translate("cannot read", &path, &error))?.is_some_and(|time| time < moment) {
                older.push(object);
            }
        }
        Ok(older)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path_of(key)?;
        let failed = |error: io::Error| translate("cannot delete", &path, &error);
        self.refuse_links_above(&path)?;
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() || found.is_symlink() => {}
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        let lock = self.incoming.lock().map_err(failed)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let kept = self.remove_empty_folders(&path);
        drop(lock);
        incoming::sync_folder(kept).map_err(failed)
    }

    /// What a link below the root leads to need not be the store's: nothing is deleted there.
    fn refuse_links_above(&self, path: &Path) -> Result<(), StoreError> {
        let folders = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
        let is_link = |folder: &&Path| fs::symlink_metadata(folder).is_ok_and(|found| found.is_symlink());
        let Some(link) = folders.into_iter().find(is_link) else { return Ok(()) };
        Err(StoreError::Linked(format!(
            "cannot delete {}: {} is a link, and nothing is deleted behind a link: remove the link, or delete it where it leads",
            path.display(),
            link.display()
        )))
    }

    /// Removes all files and links below a folder, and follows no link.
    fn delete_folder(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path_of(key)?;
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return self.delete(key),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            Err(error) => return Err(translate("cannot delete", &path, &error)),
        }
        let failed = |error: io::Error| translate("cannot delete", &path, &error);
        for entry in fs::read_dir(&path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str() else {
                return Err(StoreError::Denied(format!("{}: a name is not UTF-8; remove it", path.display())));
            };
            self.delete_folder(&format!("{key}/{name}"))?;
        }
        Ok(())
    }

    /// A folder without objects is nothing, as in S3. The first folder above `path` that stays is returned.
    fn remove_empty_folders<'path>(&self, path: &'path Path) -> &'path Path {
        let mut folder = path;
        while let Some(parent) = folder.parent() {
            folder = parent;
            if parent == self.root || fs::remove_dir(parent).is_err() {
                break;
            }
        }
        folder
    }
}

/// What came of reading a file.
enum ReadOutcome {
    Unchanged(Bytes, Version),
    /// It was changed meanwhile.
    Changed,
    TooLarge,
}

fn read_unchanged(path: &Path, most_bytes: u64) -> io::Result<ReadOutcome> {
    let mut file = open_file(path)?;
    let before = file.metadata()?;
    if before.len() > most_bytes {
        return Ok(ReadOutcome::TooLarge);
    }
    let mut content = Vec::new();
    content.try_reserve_exact(usize::try_from(before.len()).unwrap_or(usize::MAX))?;
    // A file that is written to all the time has no end.
    file.by_ref().take(before.len().saturating_add(1)).read_to_end(&mut content)?;
    let version = version_of(&before);
    let is_unchanged = content.len() as u64 == before.len() && version == version_of(&file.metadata()?);
    Ok(if is_unchanged { ReadOutcome::Unchanged(content.into(), version) } else { ReadOutcome::Changed })
}

/// A file, or a link to one, may be replaced, and a folder cannot; what is neither is not ours.
fn refuse_to_replace(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            Err(io::Error::new(ErrorKind::PermissionDenied, "it is a pipe or a device, not a file: move it away"))
        }
        _ => Ok(()),
    }
}

/// Opens a regular file; a folder is no object, and a pipe would block for ever.
fn open_file(path: &Path) -> io::Result<File> {
    match file_metadata(path)? {
        Some(_) => File::open(path),
        None => Err(io::Error::new(ErrorKind::NotFound, "no such file")),
    }
}

fn file_metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then_some(metadata)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn check(condition: &Condition, current: Option<&Metadata>, path: &Path) -> Result<(), StoreError> {
    let holds = match condition {
        Condition::Absent => current.is_none(),
        Condition::Unchanged(version) => current.map(version_of).as_ref() == Some(version),
    };
    if holds { Ok(()) } else { Err(StoreError::Conflict(not_as_before(path))) }
}

/// Gives the file its name; called with the lock held. The version it has then is one that the name never had before.
fn publish(staged: Staged, current: Option<&Metadata>, path: &Path) -> io::Result<Version> {
    let replaced = current.map(Metadata::modified).transpose()?;
    if let Some(replaced) =
        replaced.filter(|replaced| staged.metadata().and_then(|m| m.modified()).is_ok_and(|m| m <= *replaced))
    {
        staged.set_modified(replaced + Duration::from_nanos(1))?;
    }
    let version = version_of(&staged.metadata()?);
    if let Some(parent) = path.parent() {
        incoming::create_folders(parent)?;
    }
    staged.rename(path)?;
    Ok(version)
}

fn object(key: String, metadata: &Metadata) -> ObjectMeta {
    ObjectMeta { key, size: metadata.len(), version: version_of(metadata) }
}

fn version_of(metadata: &Metadata) -> Version {
    let nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Version(format!("{}-{nanos}-{}", metadata.len(), metadata.ino()))
}

fn changed(path: &Path) -> StoreError {
    StoreError::Changed(not_as_before(path))
}

fn not_as_before(path: &Path) -> String {
    format!("{} is not what it was when it was looked at: it was written, replaced or removed", path.display())
}

/// The only place where an error of the file system becomes one of the store.
pub(super) fn translate(what: &str, path: &Path, error: &io::Error) -> StoreError {
    let text = format!("{what} {}: {error}", path.display());
    if let Some(limit) = machine::files::limit_behind(error) {
        return StoreError::Full(format!("{text}; {limit}"));
    }
    match error.kind() {
        ErrorKind::NotFound => StoreError::NotFound(text),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge | ErrorKind::OutOfMemory => {
            StoreError::Full(text)
        }
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::DirectoryNotEmpty
        | ErrorKind::InvalidFilename => StoreError::Denied(text),
        _ => StoreError::Unavailable(text),
    }
}
