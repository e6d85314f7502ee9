//! The objects of a location of data: one, or all below a folder that nothing hides.

use std::path::Path;
use std::sync::Arc;

use super::super::local::{self, LocalStore};
use super::super::s3::{S3Options, S3Store};
use super::{Location, ObjectMeta, Store, StoreError, table_format};
use error::text::without_control_characters;
use error::{Error, Result};

/// Empty objects that are named one by one in warnings.
const NAMED_MOST: usize = 5;
/// The end of the name of the object that Hadoop leaves in S3 for a folder.
const HADOOP_MARKER: &str = "_$folder$";

/// The objects of a data location (docs/contract.md, "Settings"): never none.
#[derive(Debug, Clone)]
pub struct DataObjects {
    /// Holds the objects; the keys are relative to its root.
    pub store: Arc<dyn Store>,
    /// Sorted by key, in byte order.
    pub objects: Vec<ObjectMeta>,
    /// As it was set.
    pub location: Location,
    /// Whether the location is a folder, and not one object. Only then do the objects' folders mean something.
    pub is_folder: bool,
}

/// Finds the objects of a data location: the one object it names, or all below it that no path segment hides (`_` or
/// `.` in front). Markers of folders are no objects; empty objects are named in a warning and passed over.
///
/// # Errors
/// [`Error::Access`] where a local path or a bucket does not exist or may not be read, [`Error::Data`] where nothing lies
/// there or a table format's log decides which objects count, [`Error::Storage`] where S3 could not be reached.
pub async fn open_data(location: &Location) -> Result<DataObjects> {
    location.open_data_with(&S3Options::default()).await
}

impl Location {
    /// As [`open_data`], with what `options` gives instead of the environment.
    ///
    /// # Errors
    /// As [`open_data`].
    pub async fn open_data_with(&self, options: &S3Options) -> Result<DataObjects> {
        let found = match self {
            Self::Local(path) => find_local(path).await?,
            Self::S3 { bucket, prefix } => find_in_bucket(bucket, prefix, options).await?,
        };
        let (store, mut objects, is_folder) = match found {
            Found::Object(store, object) => (store, vec![object], false),
            Found::Folder(store, listed) => {
                table_format::refuse_listed(listed.iter().map(|object| object.key.as_str()), self)?;
                table_format::refuse_above(self, options).await?;
                (store, data_of(listed, self)?, true)
            }
        };
        objects.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(DataObjects { store, objects, location: self.clone(), is_folder })
    }
}

enum Found {
    /// The location is an object.
    Object(Arc<dyn Store>, ObjectMeta),
    /// The location is a folder, with everything below it.
    Folder(Arc<dyn Store>, Vec<ObjectMeta>),
}

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
        return Ok(Found::Folder(store, listed));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Access(format!("{} is neither a file nor a folder", path.display())));
    };
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(parent.to_owned()));
    match store.head(&name.to_string_lossy()).await? {
        Some(object) => Ok(Found::Object(store, object)),
        None => Err(Error::Access(format!("{} is neither a file nor a folder", path.display()))),
    }
}

/// Looks for a folder first: who may read only below the prefix may not ask for an object of its name.
async fn find_in_bucket(bucket: &str, prefix: &str, options: &S3Options) -> Result<Found> {
    let store = Arc::new(S3Store::connect(bucket, prefix, options).await?);
    let listed = store.list("").await;
    if let Ok(objects) = &listed {
        store.check_emptiness(objects).await?;
    }
    let Some((parent, name)) = object_name(prefix).filter(|_| is_no_folder(&listed)) else {
        return Ok(Found::Folder(store, listed?));
    };
    let parent = Arc::new(S3Store::connect(bucket, parent, options).await?);
    match (parent.head(name).await, listed) {
        (Ok(Some(object)), _) => {
            parent.check_emptiness(std::slice::from_ref(&object)).await?;
            Ok(Found::Object(parent, object))
        }
        (_, Err(error)) | (Err(error), _) => Err(error.into()),
        (Ok(None), Ok(objects)) => Ok(Found::Folder(store, objects)),
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

/// The objects of a folder that are data.
fn data_of(listed: Vec<ObjectMeta>, location: &Location) -> Result<Vec<ObjectMeta>> {
    let objects: Vec<ObjectMeta> = listed.into_iter().filter(|object| !is_marker(object)).collect();
    let (visible, hidden): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_visible);
    warn_of_hidden_columns(&hidden, location);
    let (empty, data): (Vec<_>, Vec<_>) = visible.into_iter().partition(|object| object.size == 0);
    if data.is_empty() {
        return Err(no_data(location, &empty));
    }
    for object in empty.iter().take(NAMED_MOST) {
        tracing::warn!("{location}: {} is empty (0 bytes) and is left out", without_control_characters(&object.key));
    }
    if empty.len() > NAMED_MOST {
        tracing::warn!("{location}: {} more objects are empty and are left out", empty.len() - NAMED_MOST);
    }
    Ok(data)
}

fn no_data(location: &Location, empty: &[ObjectMeta]) -> Error {
    match empty.first() {
        None => Error::Data(format!("{location} holds no data: no object, or only ones hidden by '_' or '.'")),
        Some(object) => Error::Data(format!(
            "{location} holds no data: {} is empty (0 bytes), and there is no other object: write it again",
            without_control_characters(&object.key)
        )),
    }
}

/// Whether an object only marks a folder: S3 has no folders, so its console writes empty objects `x/`, and Hadoop `x_$folder$`.
fn is_marker(object: &ObjectMeta) -> bool {
    (object.key.ends_with('/') && object.size == 0) || object.key.ends_with(HADOOP_MARKER)
}

/// Whether an object is data: no segment of its path hides it.
fn is_visible(object: &ObjectMeta) -> bool {
    !object.key.split('/').any(|segment| segment.starts_with(['_', '.']))
}

/// Folders such as `_year=2024` are hidden here and are not elsewhere, in Spark for instance.
fn warn_of_hidden_columns(hidden: &[ObjectMeta], location: &Location) {
    let is_column = |segment: &&str| segment.starts_with('_') && segment.contains('=');
    let folder = |object: &ObjectMeta| {
        let (folders, _) = object.key.rsplit_once('/')?;
        folders.split('/').find(is_column).map(str::to_owned)
    };
    if let Some(folder) = hidden.iter().find_map(folder) {
        let folder = without_control_characters(&folder);
        tracing::warn!(
            "{location}: what lies in \"{folder}\" is not read, since '_' hides it: rename the folder if it is data"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Version;
    use super::*;

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

    #[test]
    fn markers_and_empty_objects_are_no_data() {
        let object = |key: &str, size| ObjectMeta { key: key.to_owned(), size, version: Version(String::new()) };
        let location = Location::parse("s3://bucket/in").unwrap();
        let listed = |keys: &[(&str, u64)]| keys.iter().map(|(key, size)| object(key, *size)).collect::<Vec<_>>();
        let all = [("a/", 0), ("a/x.csv", 5), ("a_$folder$", 0), ("b/y=1_$folder$", 0), ("b/empty.csv", 0), ("_z", 3)];
        let data = data_of(listed(&all), &location).unwrap();
        assert_eq!(data.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["a/x.csv"]);
        let message = data_of(listed(&[("a/", 0), ("e.csv", 0)]), &location).unwrap_err().to_string();
        assert!(message.contains("s3://bucket/in") && message.contains("e.csv is empty (0 bytes)"), "{message}");
        let message = data_of(listed(&[("a_$folder$", 0), ("_x", 1)]), &location).unwrap_err().to_string();
        assert!(message.contains("no object, or only ones hidden"), "{message}");
    }
}
