//! A local folder as a store.
//!
//! A file is written in `.incoming/`, made durable, and renamed over its name under a lock between processes, so a reader
//! sees all of it or nothing and a conditional write has one winner. A version is size, modification time and inode; the
//! time of a name never repeats or goes back, even when the clock does.

mod incoming;

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Condition, ObjectMeta, Store, StoreError, Version};
use incoming::{Incoming, Staged};

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
        Self {
            folder: Arc::new(Folder {
                root,
                text,
                incoming,
                swept: Once::new(),
            }),
        }
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Folder) -> Result<T, StoreError> + Send + 'static,
    {
        let folder = Arc::clone(&self.folder);
        let finished = tokio::task::spawn_blocking(move || work(&folder)).await;
        finished.unwrap_or_else(|error| {
            Err(StoreError::Unavailable(format!(
                "{}: {error}",
                self.folder.text
            )))
        })
    }
}

#[async_trait]
impl Store for LocalStore {
    fn root(&self) -> &str {
        &self.folder.text
    }

    async fn get(&self, key: &str) -> Result<(Bytes, Version), StoreError> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.get(&key)).await
    }

    async fn get_range(
        &self,
        key: &str,
        range: Range<u64>,
        version: &Version,
    ) -> Result<Bytes, StoreError> {
        let (key, version) = (key.to_owned(), version.clone());
        self.blocking(move |folder| folder.get_range(&key, &range, &version))
            .await
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<Version, StoreError> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.put(&key, &content, None))
            .await
    }

    async fn put_if(
        &self,
        key: &str,
        content: Bytes,
        condition: &Condition,
    ) -> Result<Version, StoreError> {
        let (key, condition) = (key.to_owned(), condition.clone());
        self.blocking(move |folder| folder.put(&key, &content, Some(&condition)))
            .await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.head(&key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |folder| folder.list(&prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.delete(&key)).await
    }
}

/// The same, blocking.
#[derive(Debug)]
struct Folder {
    root: PathBuf,
    text: String,
    incoming: Incoming,
    swept: Once,
}

impl Folder {
    fn path_of(&self, key: &str) -> Result<PathBuf, StoreError> {
        let refused = |why: &str| StoreError::Denied(format!("{}: key '{key}' {why}", self.text));
        if key.is_empty() || key.contains('\0') {
            return Err(refused("is no file name"));
        }
        if key
            .split('/')
            .any(|segment| matches!(segment, "" | "." | ".."))
        {
            return Err(refused(
                "has an empty, '.' or '..' segment, which a local folder cannot hold",
            ));
        }
        if key.split('/').next() == Some(incoming::FOLDER) {
            return Err(refused("lies where files are kept while they are written"));
        }
        Ok(self.root.join(key))
    }

    fn get(&self, key: &str) -> Result<(Bytes, Version), StoreError> {
        let path = self.path_of(key)?;
        for _ in 0..READ_ATTEMPTS {
            if let Some(read) =
                read_unchanged(&path).map_err(|error| translate("cannot read", &path, &error))?
            {
                return Ok(read);
            }
        }
        Err(changed(&path))
    }

    fn get_range(
        &self,
        key: &str,
        range: &Range<u64>,
        version: &Version,
    ) -> Result<Bytes, StoreError> {
        let path = self.path_of(key)?;
        let failed = |error: io::Error| translate("cannot read", &path, &error);
        let file = open_file(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if version_of(&metadata) != *version {
            return Err(changed(&path));
        }
        let size = metadata.len();
        if range.start > range.end || range.end > size {
            return Err(super::beyond_end(&path.display().to_string(), range, size));
        }
        let mut content =
            vec![0; usize::try_from(range.end - range.start).map_err(|_| changed(&path))?];
        match file.read_exact_at(&mut content, range.start) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(changed(&path)),
            other => other.map_err(failed)?,
        }
        if version_of(&file.metadata().map_err(failed)?) != *version {
            return Err(changed(&path));
        }
        Ok(content.into())
    }

    fn put(
        &self,
        key: &str,
        content: &[u8],
        condition: Option<&Condition>,
    ) -> Result<Version, StoreError> {
        let path = self.path_of(key)?;
        self.swept.call_once(|| self.incoming.sweep());
        let failed = |error: io::Error| match translate("cannot write", &path, &error) {
            StoreError::Full(text) => {
                StoreError::Full(format!("{text}: {} bytes are needed", content.len()))
            }
            StoreError::NotFound(text) => StoreError::Denied(text),
            other => other,
        };
        let staged = self.incoming.stage(content).map_err(failed)?;
        let lock = self.incoming.lock().map_err(failed)?;
        let current = file_metadata(&path).map_err(failed)?;
        if let Some(condition) = condition {
            check(condition, current.as_ref(), &path)?;
        }
        let version = publish(staged, current.as_ref(), &path).map_err(failed)?;
        drop(lock);
        path.parent()
            .map_or(Ok(()), incoming::sync_folder)
            .map_err(failed)?;
        Ok(version)
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let path = self.path_of(key)?;
        let found =
            file_metadata(&path).map_err(|error| translate("cannot read", &path, &error))?;
        Ok(found.map(|metadata| object(key.to_owned(), &metadata)))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let start = if prefix.is_empty() {
            self.root.clone()
        } else {
            self.path_of(prefix)?
        };
        let mut listing = Listing {
            root: &self.root,
            objects: Vec::new(),
            above: Vec::new(),
        };
        listing.folder(&start, prefix)?;
        listing
            .objects
            .sort_by(|left, right| left.key.cmp(&right.key));
        Ok(listing.objects)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path_of(key)?;
        let failed = |error: io::Error| translate("cannot delete", &path, &error);
        if file_metadata(&path).map_err(failed)?.is_none() {
            return Ok(());
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

/// The file's content, or `None` if it was changed meanwhile.
fn read_unchanged(path: &Path) -> io::Result<Option<(Bytes, Version)>> {
    let mut file = open_file(path)?;
    let before = file.metadata()?;
    let mut content = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
    file.read_to_end(&mut content)?;
    let version = version_of(&before);
    let unchanged =
        content.len() as u64 == before.len() && version == version_of(&file.metadata()?);
    Ok(unchanged.then(|| (content.into(), version)))
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
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn check(condition: &Condition, current: Option<&Metadata>, path: &Path) -> Result<(), StoreError> {
    let holds = match condition {
        Condition::Absent => current.is_none(),
        Condition::Unchanged(version) => current.map(version_of).as_ref() == Some(version),
    };
    if holds { Ok(()) } else { Err(changed(path)) }
}

/// Gives the file its name; called with the lock held. The version it has then is one that the name never had before.
fn publish(staged: Staged, current: Option<&Metadata>, path: &Path) -> io::Result<Version> {
    let replaced = current.map(Metadata::modified).transpose()?;
    if let Some(replaced) = replaced.filter(|replaced| {
        staged
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|m| m <= *replaced)
    }) {
        staged.set_modified(replaced + Duration::from_nanos(1))?;
    }
    let version = version_of(&staged.metadata()?);
    if let Some(parent) = path.parent() {
        incoming::create_folders(parent)?;
    }
    staged.rename(path)?;
    Ok(version)
}

/// Walks folders, following symbolic links, but never into a folder that it is in.
struct Listing<'folder> {
    root: &'folder Path,
    objects: Vec<ObjectMeta>,
    above: Vec<(u64, u64)>,
}

impl Listing<'_> {
    fn folder(&mut self, folder: &Path, key: &str) -> Result<(), StoreError> {
        let failed = |error: io::Error| translate("cannot list", folder, &error);
        let entries = match fs::read_dir(folder) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(());
            }
            other => other.map_err(failed)?,
        };
        let metadata = fs::metadata(folder).map_err(failed)?;
        let identity = (metadata.dev(), metadata.ino());
        if self.above.contains(&identity) {
            return Ok(());
        }
        self.above.push(identity);
        for entry in entries {
            self.entry(&entry.map_err(failed)?.path(), key)?;
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, path: &Path, folder_key: &str) -> Result<(), StoreError> {
        let Some(name) = path.file_name().and_then(OsStr::to_str) else {
            return Err(StoreError::Denied(format!(
                "{}: the name is not UTF-8; rename it",
                path.display()
            )));
        };
        if name == incoming::FOLDER && path.parent() == Some(self.root) {
            return Ok(());
        }
        let key = if folder_key.is_empty() {
            name.to_owned()
        } else {
            format!("{folder_key}/{name}")
        };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path, &key),
            Ok(metadata) if metadata.is_file() => {
                self.objects.push(object(key, &metadata));
                Ok(())
            }
            Ok(_) => Ok(()),
            // Removed since the folder was read, or a link to nothing.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(translate("cannot read", path, &error)),
        }
    }
}

fn object(key: String, metadata: &Metadata) -> ObjectMeta {
    ObjectMeta {
        key,
        size: metadata.len(),
        version: version_of(metadata),
    }
}

fn version_of(metadata: &Metadata) -> Version {
    let nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Version(format!("{}-{nanos}-{}", metadata.len(), metadata.ino()))
}

fn changed(path: &Path) -> StoreError {
    StoreError::Conflict(format!(
        "{} is not what it was when it was looked at: it was written, replaced or removed",
        path.display()
    ))
}

/// The only place where an error of the file system becomes one of the store.
pub(super) fn translate(what: &str, path: &Path, error: &io::Error) -> StoreError {
    let text = format!("{what} {}: {error}", path.display());
    match error.kind() {
        ErrorKind::NotFound => StoreError::NotFound(text),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::contract;

    fn store_in(folder: &tempfile::TempDir) -> LocalStore {
        LocalStore::new(folder.path().to_owned())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        contract::check(&move |name| {
            let store: Arc<dyn Store> = Arc::new(LocalStore::new(root.join("suite").join(name)));
            Box::pin(async move { store })
        })
        .await;
    }

    #[tokio::test]
    async fn no_key_leaves_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        let store = LocalStore::new(folder.path().join("root"));
        store.put("inside", "x".into()).await.unwrap();
        for key in [
            "../secret",
            "a/../../secret",
            "/etc/passwd",
            "a//b",
            "./inside",
            "a/.",
            "..",
            "a\0b",
            ".incoming/x",
        ] {
            assert!(
                matches!(store.get(key).await, Err(StoreError::Denied(_))),
                "{key}"
            );
            assert!(
                matches!(store.put(key, "y".into()).await, Err(StoreError::Denied(_))),
                "{key}"
            );
            assert!(
                matches!(store.head(key).await, Err(StoreError::Denied(_))),
                "{key}"
            );
            assert!(
                matches!(store.delete(key).await, Err(StoreError::Denied(_))),
                "{key}"
            );
        }
        assert!(matches!(store.list("..").await, Err(StoreError::Denied(_))));
        assert_eq!(std::fs::read(folder.path().join("secret")).unwrap(), b"x");
    }

    #[tokio::test]
    async fn writing_leaves_the_objects_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(&folder);
        store.put("a/b", "x".into()).await.unwrap();
        store
            .put_if("a/c", "x".into(), &Condition::Absent)
            .await
            .unwrap();
        store
            .put_if("a/c", "y".into(), &Condition::Absent)
            .await
            .unwrap_err();
        let names = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(names(&folder.path().join("a")), ["b", "c"]);
        store.delete("a/b").await.unwrap();
        store.delete("a/c").await.unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[tokio::test]
    async fn what_a_killed_writer_left_is_never_an_object_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".incoming")).unwrap();
        fs::write(folder.path().join(".incoming/1-0-0"), "half").unwrap();
        let store = store_in(&folder);
        assert_eq!(store.list("").await.unwrap(), []);
        store.put("key", "x".into()).await.unwrap();
        assert!(!folder.path().join(".incoming").exists());
    }

    #[tokio::test]
    async fn a_version_does_not_come_back_when_the_clock_does() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(&folder);
        store.put("key", "a".into()).await.unwrap();
        let file = File::options()
            .write(true)
            .open(folder.path().join("key"))
            .unwrap();
        let future = std::time::SystemTime::now() + Duration::from_secs(3600);
        file.set_modified(future).unwrap();
        store.put("key", "b".into()).await.unwrap();
        let modified = fs::metadata(folder.path().join("key"))
            .unwrap()
            .modified()
            .unwrap();
        assert_eq!(modified, future + Duration::from_nanos(1));
    }

    #[tokio::test]
    async fn a_file_that_changes_in_place_is_a_conflict() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(&folder);
        let version = store.put("key", "0123456789".into()).await.unwrap();
        let file = File::options()
            .write(true)
            .open(folder.path().join("key"))
            .unwrap();
        file.set_len(5).unwrap();
        let read = store.get_range("key", 0..10, &version).await;
        assert!(matches!(read, Err(StoreError::Conflict(_))), "{read:?}");
        let written = store
            .put_if("key", "x".into(), &Condition::Unchanged(version))
            .await;
        assert!(
            matches!(written, Err(StoreError::Conflict(_))),
            "{written:?}"
        );
    }

    #[tokio::test]
    async fn links_are_followed_and_loops_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("file"), "x").unwrap();
        let link = |to: &Path, name: &str| {
            std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap()
        };
        link(elsewhere.path(), "linked");
        link(folder.path(), "loop");
        link(&folder.path().join("nothing"), "broken");
        let listed: Vec<_> = store_in(&folder)
            .list("")
            .await
            .unwrap()
            .into_iter()
            .map(|object| object.key)
            .collect();
        assert_eq!(listed, ["linked/file"]);
    }

    #[tokio::test]
    async fn a_file_where_a_folder_is_needed_is_denied() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(&folder);
        store.put("a", "x".into()).await.unwrap();
        let written = store.put("a/b", "x".into()).await;
        assert!(
            matches!(&written, Err(StoreError::Denied(text)) if text.contains("a/b")),
            "{written:?}"
        );
        store.put("folder/b", "x".into()).await.unwrap();
        assert!(matches!(
            store.put("folder", "x".into()).await,
            Err(StoreError::Denied(_))
        ));
        assert_eq!(store.list("").await.unwrap().len(), 2);
    }

    #[test]
    fn errors_of_the_system_are_told_apart() {
        let translated = |code: i32| {
            translate(
                "cannot write",
                Path::new("/x"),
                &io::Error::from_raw_os_error(code),
            )
        };
        for full in [libc::ENOSPC, libc::EDQUOT] {
            assert!(matches!(translated(full), StoreError::Full(_)));
        }
        for denied in [
            libc::EACCES,
            libc::EPERM,
            libc::EROFS,
            libc::ENOTDIR,
            libc::EISDIR,
            libc::ENAMETOOLONG,
        ] {
            assert!(
                matches!(translated(denied), StoreError::Denied(_)),
                "{denied}"
            );
        }
        assert!(matches!(translated(libc::ENOENT), StoreError::NotFound(_)));
        assert!(matches!(translated(libc::EIO), StoreError::Unavailable(_)));
    }
}
