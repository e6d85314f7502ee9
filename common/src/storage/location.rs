//! Settings' locations: `s3://bucket/prefix`, `file:///path` or a plain path, and the data that lies there.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::local::{self, LocalStore};
use super::s3::{S3Options, S3Store};
use super::{ObjectMeta, Store, StoreError};
use crate::{Error, Result};

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

/// The objects of a data location (CONTRACT.md, "Settings"): never none.
#[derive(Debug, Clone)]
pub struct DataObjects {
    /// Holds the objects; the keys are relative to its root.
    pub store: Arc<dyn Store>,
    /// Sorted by key, in byte order.
    pub objects: Vec<ObjectMeta>,
    /// As it was set.
    pub location: Location,
}

/// Finds the objects of a data location: the one object it names, or all below it that no path segment hides (`_` or
/// `.` in front).
///
/// # Errors
/// [`Error::Access`] where a local path or a bucket does not exist or may not be read, [`Error::Data`] where nothing lies
/// there, [`Error::Storage`] where S3 could not be reached.
pub async fn open_data(location: &Location) -> Result<DataObjects> {
    location.open_data_with(&S3Options::default()).await
}

impl std::str::FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Location {
    /// Reads a location as settings give it. A relative path is taken from the working directory.
    ///
    /// # Errors
    /// [`Error::Setting`] names what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("s3://") {
            return parse_s3(text, rest);
        }
        if let Some(rest) = text.strip_prefix("file:") {
            return parse_file(text, rest);
        }
        match text.split_once("://") {
            Some((scheme, _)) if is_scheme(scheme) => {
                Err(wrong(text, &format!("the scheme {scheme}:// is not supported")))
            }
            _ => parse_path(text, text),
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

    /// As [`open_data`], with what `options` gives instead of the environment.
    ///
    /// # Errors
    /// As [`open_data`].
    pub async fn open_data_with(&self, options: &S3Options) -> Result<DataObjects> {
        let (store, mut objects) = match self {
            Self::Local(path) => find_local(path).await?,
            Self::S3 { bucket, prefix } => find_in_bucket(bucket, prefix, options).await?,
        };
        objects.sort_by(|left, right| left.key.cmp(&right.key));
        if objects.is_empty() {
            return Err(Error::Data(format!("{self} holds no data: no object, or only ones hidden by '_' or '.'")));
        }
        Ok(DataObjects { store, objects, location: self.clone() })
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

fn parse_s3(text: &str, rest: &str) -> Result<Location> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(is_name) {
        return Err(wrong(text, &format!("'{bucket}' is no bucket name")));
    }
    let prefix = prefix.trim_end_matches('/');
    Ok(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// `file:///path`, `file://localhost/path` and `file:/path`, percent-encoded (RFC 8089).
fn parse_file(text: &str, rest: &str) -> Result<Location> {
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.strip_prefix("localhost").unwrap_or(with_host),
        None => rest,
    };
    if !path.starts_with('/') {
        return Err(wrong(text, "after file:// comes an absolute path, such as file:///data/input"));
    }
    let decoded = String::from_utf8(percent_decoded(path)).map_err(|_| wrong(text, "the path is not UTF-8"))?;
    parse_path(text, &decoded)
}

/// Decodes `%41`; a `%` that no two hexadecimal digits follow stays as it is.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = (byte == b'%').then(|| tail.get(..2)).flatten();
        let code = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                decoded.push(code);
                rest = &tail[2..];
            }
            None => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    decoded
}

fn parse_path(text: &str, path: &str) -> Result<Location> {
    if path.contains('\0') {
        return Err(wrong(text, "a path cannot hold a NUL byte"));
    }
    let absolute = std::path::absolute(path).map_err(|error| wrong(text, &error.to_string()))?;
    Ok(Location::Local(absolute.components().collect()))
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn wrong(text: &str, why: &str) -> Error {
    Error::Setting(format!("location '{text}': {why}; a location is s3://bucket/prefix, file:///path or a path"))
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

type Found = (Arc<dyn Store>, Vec<ObjectMeta>);

async fn find_local(path: &Path) -> Result<Found> {
    let metadata = match tokio::fs::metadata(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Access(format!("{} does not exist", path.display())));
        }
        other => other.map_err(|error| local::translate("cannot read", path, &error))?,
    };
    if metadata.is_dir() {
        let store: Arc<dyn Store> = Arc::new(LocalStore::new(path.to_owned()));
        let listed = store.list("").await?;
        return Ok((store, visible(listed)));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Access(format!("{} is neither a file nor a folder", path.display())));
    };
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(parent.to_owned()));
    match store.head(&name.to_string_lossy()).await? {
        Some(object) => Ok((store, vec![object])),
        None => Err(Error::Access(format!("{} is neither a file nor a folder", path.display()))),
    }
}

/// Looks for a folder first: who may read only below the prefix may not ask for an object of its name.
async fn find_in_bucket(bucket: &str, prefix: &str, options: &S3Options) -> Result<Found> {
    let store: Arc<dyn Store> = Arc::new(S3Store::connect(bucket, prefix, options).await?);
    let listed = store.list("").await;
    let Some((parent, name)) = object_name(prefix).filter(|_| is_no_folder(&listed)) else {
        return Ok((store, visible(listed?)));
    };
    let parent: Arc<dyn Store> = Arc::new(S3Store::connect(bucket, parent, options).await?);
    match (parent.head(name).await, listed) {
        (Ok(Some(object)), _) => Ok((parent, vec![object])),
        (_, Err(error)) | (Err(error), _) => Err(error.into()),
        (Ok(None), Ok(objects)) => Ok((store, objects)),
    }
}

/// Nothing lies there, or the key may be read while the folder may not be listed.
fn is_no_folder(listed: &Result<Vec<ObjectMeta>, StoreError>) -> bool {
    match listed {
        Ok(objects) => objects.is_empty(),
        Err(error) => matches!(error, StoreError::Denied(_)),
    }
}

fn object_name(key: &str) -> Option<(&str, &str)> {
    let (parent, name) = key.rsplit_once('/').unwrap_or(("", key));
    (!name.is_empty()).then_some((parent, name))
}

fn visible(objects: Vec<ObjectMeta>) -> Vec<ObjectMeta> {
    objects.into_iter().filter(is_visible).collect()
}

/// Whether an object of a folder is data: not hidden, and not the empty object that marks a folder in S3.
fn is_visible(object: &ObjectMeta) -> bool {
    let is_marker = object.key.ends_with('/') && object.size == 0;
    !is_marker && !object.key.split('/').any(|segment| segment.starts_with(['_', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        Location::parse(text).unwrap().to_string()
    }

    #[test]
    fn locations_are_read_as_the_contract_says() {
        let here = std::env::current_dir().unwrap().display().to_string();
        for (text, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("s3://bucket/a b+c%20d=é", "s3://bucket/a b+c%20d=é"),
            ("/data/in/", "/data/in"),
            ("file:///data/in", "/data/in"),
            ("file:///data/with%20space%2Band%zz", "/data/with space+and%zz"),
            ("file://localhost/data", "/data"),
            ("/data/100%25 of+it", "/data/100%25 of+it"),
        ] {
            assert_eq!(parsed(text), shown, "{text}");
        }
        assert_eq!(parsed("data"), format!("{here}/data"));
        assert_eq!(parsed("./a/../b"), format!("{here}/a/../b"));
    }

    #[test]
    fn what_is_no_location_is_a_setting() {
        let wrong = [
            "",
            "s3://",
            "s3:///key",
            "s3://a b/key",
            "gs://bucket/x",
            "https://host/x",
            "file://host/x",
            "file://",
            "a\0b",
        ];
        for text in wrong {
            let parsed = Location::parse(text);
            assert!(matches!(parsed, Err(Error::Setting(_))), "{text}: {parsed:?}");
        }
    }

    async fn keys(location: &str) -> Result<Vec<String>> {
        let found = open_data(&Location::parse(location).unwrap()).await?;
        Ok(found.objects.into_iter().map(|object| object.key).collect())
    }

    #[tokio::test]
    async fn data_is_one_file_or_all_below_a_folder_that_nothing_hides() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display().to_string();
        let files = ["z.csv", "a/b c+é%20=.parquet", "_SUCCESS", ".hidden/x.csv", "_tmp/x.csv", "a/_x.csv", "Z.csv"];
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        assert_eq!(keys(&root).await.unwrap(), ["Z.csv", "a/b c+é%20=.parquet", "z.csv"]);
        assert_eq!(keys(&format!("{root}/_SUCCESS")).await.unwrap(), ["_SUCCESS"]);
        assert_eq!(keys(&format!("{root}/_tmp")).await.unwrap(), ["x.csv"]);
        let missing = keys(&format!("{root}/nothing")).await;
        assert!(matches!(&missing, Err(Error::Access(text)) if text.contains("/nothing")), "{missing:?}");
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let empty = keys(&format!("{root}/empty")).await;
        assert!(matches!(&empty, Err(Error::Data(text)) if text.contains("/empty")), "{empty:?}");
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
