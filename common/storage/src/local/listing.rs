//! What a folder holds.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{incoming, object, translate};
use crate::{ObjectMeta, StoreError};
use error::text::without_control_characters;

/// Every file below `folder`, which has the key `key` in the store at `root`, by key.
pub(super) fn list_folder(root: &Path, folder: &Path, key: &str) -> Result<Vec<ObjectMeta>, StoreError> {
    let mut listing = Listing { root, objects: Vec::new(), above: Vec::new() };
    listing.folder(folder, key)?;
    listing.objects.sort_by(|left, right| left.key.cmp(&right.key));
    Ok(listing.objects)
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
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
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
            return Err(StoreError::Denied(format!("{}: the name is not UTF-8; rename it", path.display())));
        };
        if name == incoming::FOLDER && path.parent() == Some(self.root) {
            return Ok(());
        }
        let key = if folder_key.is_empty() { name.to_owned() } else { format!("{folder_key}/{name}") };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path, &key),
            Ok(metadata) if metadata.is_file() => {
                self.objects.push(object(key, &metadata));
                Ok(())
            }
            Ok(_) => {
                warn_of(path, name, "is neither a file nor a folder");
                Ok(())
            }
            // Removed since the folder was read, or a link to nothing.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    warn_of(path, name, "is a link to nothing");
                }
                Ok(())
            }
            Err(error) => Err(translate("cannot read", path, &error)),
        }
    }
}

/// Says that an entry is left out, unless its name hides it anyway.
fn warn_of(path: &Path, name: &str, what: &str) {
    if !name.starts_with(['_', '.']) {
        tracing::warn!("{} {what} and is left out", without_control_characters(&path.display().to_string()));
    }
}
