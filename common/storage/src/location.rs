//! Settings' locations: `s3://bucket/prefix`, `file:///path` or a plain path, and the data that lies there.

mod data;
mod overlap;
mod parse;
mod table_format;

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::local::{self, LocalStore};
use super::s3::{S3Options, S3Store};
use super::{ObjectMeta, Store, StoreError};
use error::{Error, Result};

pub use data::{DataObjects, open_data};
pub use overlap::{Place, refuse_overlap};

/// Where a store or an object lies. `Display` gives `s3://bucket/prefix` or the absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// An S3 bucket and what its keys start with: no `/` at the end, empty for the whole bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// The keys' beginning, as in the keys: nothing is percent-encoded.
        prefix: String,
    },
    /// An absolute local path.
    Local(PathBuf),
}

impl std::str::FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Location {
    /// Reads a location as settings give it, blanks around it cut off. A relative path is taken from the working directory.
    ///
    /// # Errors
    /// [`Error::Setting`] names what is wrong with it: it is empty, or it looks like a URL and is none.
    pub fn parse(text: &str) -> Result<Self> {
        parse::parse(text)
    }

    /// What lies at `path`, segments with `/` between them, below this location.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => {
                Self::S3 { bucket: bucket.clone(), prefix: path.to_owned() }
            }
            Self::S3 { bucket, prefix } => Self::S3 { bucket: bucket.clone(), prefix: format!("{prefix}/{path}") },
            Self::Local(folder) => Self::Local(folder.join(path)),
        }
    }

    /// Opens the location as a store. A local folder that does not exist is an empty store, created by the first write;
    /// S3 is not asked anything before the first request.
    ///
    /// # Errors
    /// [`Error::Access`] where the path is a file or may not be looked at; [`Error::Setting`] where the settings of the
    /// SDK or `AWS_CA_BUNDLE` are wrong.
    pub async fn open(&self) -> Result<Arc<dyn Store>> {
        self.open_with(&S3Options::default()).await
    }

    /// As [`Location::open`], with what `options` gives instead of the environment.
    ///
    /// # Errors
    /// As [`Location::open`].
    pub async fn open_with(&self, options: &S3Options) -> Result<Arc<dyn Store>> {
        match self {
            Self::Local(path) => open_folder(path),
            Self::S3 { bucket, prefix } => Ok(Arc::new(S3Store::connect(bucket, prefix, options).await?)),
        }
    }
}

impl Display for Location {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(formatter, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(formatter, "s3://{bucket}/{prefix}"),
            Self::Local(path) => path.display().fmt(formatter),
        }
    }
}

fn open_folder(path: &Path) -> Result<Arc<dyn Store>> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            Err(Error::Access(format!("{} is a file; a folder is needed", path.display())))
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(local::translate("cannot open", path, &error).into())
        }
        _ => Ok(Arc::new(LocalStore::new(path.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_location_has_a_location() {
        for (location, joined) in [("s3://b", "s3://b/a/c=1"), ("s3://b/p", "s3://b/p/a/c=1"), ("/d", "/d/a/c=1")] {
            assert_eq!(Location::parse(location).unwrap().join("a/c=1").to_string(), joined);
        }
    }

    #[tokio::test]
    async fn a_store_of_a_missing_folder_is_empty_and_one_of_a_file_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("deep/missing");
        let store = Location::Local(missing.clone()).open().await.unwrap();
        assert_eq!(store.list("").await.unwrap(), []);
        assert!(!missing.exists());
        store.put("key", "x".into()).await.unwrap();
        assert!(missing.join("key").is_file());
        let opened = Location::Local(missing.join("key")).open().await;
        assert!(matches!(opened, Err(Error::Access(_))), "{opened:?}");
    }
}
