//! A file or a folder that is there whole or not at all: it is written beside its place under another name, and then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use error::{Error, Result};
use tempfile::TempDir;

/// Refuses a folder that holds something.
///
/// # Errors
/// [`Error::Setting`] where it does, or is a file.
pub(super) fn refuse_folder(setting: &str, folder: &Path) -> Result<()> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(false) => Err(occupied(setting, folder)),
        Err(error) => Err(Error::Setting(format!("{setting} {} cannot be written: {error}", folder.display()))),
    }
}

/// Refuses a file that exists.
///
/// # Errors
/// [`Error::Setting`] where it does.
pub(super) fn refuse_file(setting: &str, file: &Path) -> Result<()> {
    if fs::symlink_metadata(file).is_ok() { Err(occupied(setting, file)) } else { Ok(()) }
}

fn occupied(setting: &str, path: &Path) -> Error {
    Error::Setting(format!(
        "{setting} {} holds something already: name another path, or delete it first",
        path.display()
    ))
}

/// Writes a folder of files, named relative to it.
///
/// # Errors
/// [`Error::Setting`] where something lies there already; [`Error::Access`] and [`Error::Resources`] where it cannot be written.
pub(super) fn write_folder(setting: &str, folder: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let unfinished = Unfinished::beside(folder)?;
    let failed = |error: io::Error| failed(setting, folder, &error);
    let whole = unfinished.path("folder");
    for (name, bytes) in files {
        let file = whole.join(name);
        let parent = file.parent().unwrap_or(&whole);
        fs::create_dir_all(parent).and_then(|()| write(&file, bytes)).map_err(failed)?;
    }
    // Over an empty folder a folder may be renamed, over one that holds something it may not.
    match fs::rename(&whole, folder) {
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
            Err(occupied(setting, folder))
        }
        renamed => renamed.and_then(|()| unfinished.sync()).map_err(failed),
    }
}

/// Writes a file.
///
/// # Errors
/// As [`write_folder`].
pub(super) fn write_file(setting: &str, file: &Path, bytes: &[u8]) -> Result<()> {
    let unfinished = Unfinished::beside(file)?;
    let failed = |error: io::Error| failed(setting, file, &error);
    let whole = unfinished.path("file");
    write(&whole, bytes).map_err(failed)?;
    // A link is refused where something has the name; a renamed file would take its place.
    match fs::hard_link(&whole, file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(occupied(setting, file)),
        linked => linked.and_then(|()| unfinished.sync()).map_err(failed),
    }
}

fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(file)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn failed(setting: &str, path: &Path, error: &io::Error) -> Error {
    let message = format!("{setting} {} cannot be written: {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Resources(message),
        _ => Error::Access(message),
    }
}

/// A folder for what is not finished, on the same file system as its place; it goes with this value.
struct Unfinished {
    folder: TempDir,
    parent: PathBuf,
}

impl Unfinished {
    fn beside(place: &Path) -> Result<Self> {
        let parent = place.parent().unwrap_or(Path::new("/")).to_owned();
        let made = fs::create_dir_all(&parent)
            .and_then(|()| tempfile::Builder::new().prefix(".engagement-ml-export-").tempdir_in(&parent));
        let folder = made.map_err(|error| Error::Access(format!("{} cannot be written: {error}", parent.display())))?;
        Ok(Self { folder, parent })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.parent)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_written_whole_and_never_over_another() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("deep/export");
        let files = [("MLmodel".to_owned(), b"a".to_vec()), ("data/model.ubj".to_owned(), b"b".to_vec())];
        write_folder("--mlflow", &folder, &files).unwrap();
        assert_eq!(names(&folder), ["MLmodel", "data"]);
        assert_eq!(fs::read(folder.join("data/model.ubj")).unwrap(), b"b");
        assert_eq!(names(&parent.path().join("deep")), ["export"]);
        for refused in [refuse_folder("--mlflow", &folder), write_folder("--mlflow", &folder, &files)] {
            assert!(matches!(refused, Err(Error::Setting(_))), "{refused:?}");
        }
        let empty = parent.path().join("empty");
        fs::create_dir(&empty).unwrap();
        refuse_folder("--mlflow", &empty).unwrap();
        write_folder("--mlflow", &empty, &files).unwrap();
        assert_eq!(names(&empty), ["MLmodel", "data"]);
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("export");
        // The second cannot be written: its folder is a file.
        let files = [("data".to_owned(), b"a".to_vec()), ("data/model.ubj".to_owned(), b"b".to_vec())];
        assert!(write_folder("--mlflow", &folder, &files).is_err());
        assert_eq!(names(parent.path()), [""; 0]);
        let below_a_file = parent.path().join("file");
        fs::write(&below_a_file, "x").unwrap();
        assert!(write_folder("--mlflow", &below_a_file.join("export"), &files).is_err());
        assert!(refuse_folder("--mlflow", &below_a_file).is_err());
    }

    #[test]
    fn a_file_is_never_written_over() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("model.onnx");
        write_file("--onnx", &file, b"a").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"a");
        for refused in [refuse_file("--onnx", &file), write_file("--onnx", &file, b"b")] {
            assert!(matches!(refused, Err(Error::Setting(_))), "{refused:?}");
        }
        assert_eq!((fs::read(&file).unwrap(), names(parent.path())), (b"a".to_vec(), vec!["model.onnx".to_owned()]));
    }
}
