//! Small JSON objects of the bucket: read, written once, moved on.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::{Condition, Store, StoreError, Version};

use crate::failure::{Failure, Result};

/// Tries of a conditional write that another writer keeps winning.
const TRIES: usize = 10;
/// More bytes than a manifest, a note or a SELECT has: what is larger is refused before it is read.
pub(crate) const MOST_BYTES: u64 = 64 << 20;

/// Reads an object; `None` where there is none.
///
/// # Errors
/// `BadSettings` where it is damaged; the store's errors.
pub async fn read<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Result<Option<T>> {
    Ok(read_version(store, key).await?.map(|(object, _)| object))
}

async fn read_version<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Result<Option<(T, Version)>> {
    let (bytes, version) = match store.get_at_most(key, MOST_BYTES).await {
        Ok(found) => found,
        Err(StoreError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let parsed = serde_json::from_slice(&bytes);
    let object = parsed.map_err(|error| {
        let root = store.root();
        Failure::settings(format!("{root}/{key} is damaged ({error}): remove it, and what it said is found out again"))
    })?;
    Ok(Some((object, version)))
}

/// Reads a text.
///
/// # Errors
/// The store's errors; `BadSettings` where it is no UTF-8.
pub async fn read_text(store: &dyn Store, key: &str) -> Result<Option<String>> {
    match store.get_at_most(key, MOST_BYTES).await {
        Ok((bytes, _)) => {
            let text = String::from_utf8(bytes.to_vec());
            let text = text.map_err(|_| Failure::settings(format!("{}/{key} is no UTF-8 text", store.root())))?;
            Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
        }
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The object's bytes.
///
/// # Errors
/// A defect where it is no JSON.
pub fn json(object: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec_pretty(object).map(Bytes::from).map_err(Failure::defect)
}

/// Writes an object if there is none, and gives the one that stands: the first one holds for all attempts.
///
/// # Errors
/// As [`read`].
pub async fn put_once<T: Serialize + DeserializeOwned>(store: &dyn Store, key: &str, object: T) -> Result<T> {
    match store.put_if(key, json(&object)?, &Condition::Absent).await {
        Ok(_) => Ok(object),
        Err(StoreError::Conflict(_)) => {
            let gone = || Failure::query(format!("{}/{key} was there and is gone; a retry may help", store.root()));
            read(store, key).await?.ok_or_else(gone)
        }
        Err(error) => Err(error.into()),
    }
}

/// Replaces an object by what `change` makes of it, unless that is `None`; nobody else's change is lost.
///
/// # Errors
/// As [`read`]; `QueryFailed` where other writers keep winning.
pub async fn change<T: Serialize + DeserializeOwned>(
    store: &dyn Store,
    key: &str,
    change: impl Fn(Option<T>) -> Option<T>,
) -> Result<()> {
    for _ in 0..TRIES {
        let (before, condition) = match read_version(store, key).await? {
            Some((object, version)) => (Some(object), Condition::Unchanged(version)),
            None => (None, Condition::Absent),
        };
        let Some(after) = change(before) else { return Ok(()) };
        match store.put_if(key, json(&after)?, &condition).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::query(format!("{}/{key} is changed by others all the time; a retry may help", store.root())))
}
