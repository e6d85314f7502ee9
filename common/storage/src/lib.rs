//! Where bytes lie: a local folder or S3, behind the smallest trait that serves both.
//!
//! Invariant: nothing outside this crate names the SDK of S3. Every object but a pointer is written once under a key of
//! its own, so a crash leaves garbage, never damage; pointers move by [`Store::put_if`].
//!
//! It must not know what its objects hold. Begin reading at [`Store`]; `contract` is what both backends must keep. The crates
//! `object_store` and `opendal` were weighed: neither tells a lost answer from a lost race, nor says which version of an object a ranged
//! read must find.
#![forbid(unsafe_code)]

mod location;

mod buffers;
mod hash;
mod local;
mod s3;

#[cfg(test)]
mod contract;

use std::fmt::Debug;
use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use machine::memory::{parsed_bytes, pool};

pub use hash::sha256_hex;
pub use location::{DataObjects, Location, Place, open_data, refuse_overlap};
pub use s3::{S3Options, sdk_config};

/// What identifies the content of an object: an S3 ETag, or `size-mtime_ns` of a local file. Opaque: only compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Version(pub String);

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Path relative to the store's root, segments separated by `/`, never starting with one.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Changes whenever the content does.
    pub version: Version,
}

/// What must hold for a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// No object has this key yet (`If-None-Match: *`).
    Absent,
    /// The object is still this version (`If-Match`).
    Unchanged(Version),
}

/// Why a store could not do what it was asked. Each text names the full location and, where there is one, the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No object has this key.
    #[error("{0}")]
    NotFound(String),
    /// A [`Condition`] did not hold: another writer was first.
    #[error("{0}")]
    Conflict(String),
    /// An object is no longer the version that was asked for.
    #[error("{0}")]
    Changed(String),
    /// Access denied, wrong or no credentials, no such bucket, a read-only folder, a wrong region: a setting, not a retry.
    #[error("{0}")]
    Denied(String),
    /// An object is larger than what it can be.
    #[error("{0}")]
    TooLarge(String),
    /// Nothing is deleted behind a link.
    #[error("{0}")]
    Linked(String),
    /// No space, or a quota is used up.
    #[error("{0}")]
    Full(String),
    /// Could not be reached, or kept failing after the SDK's retries.
    #[error("{0}")]
    Unavailable(String),
    /// A defect in this program, such as a panic of the thread that did the work.
    #[error("defect in this program: {0}")]
    Defect(String),
}

impl From<StoreError> for error::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(text) | StoreError::Denied(text) | StoreError::Linked(text) => Self::Access(text),
            StoreError::Conflict(text) | StoreError::Changed(text) | StoreError::Unavailable(text) => {
                Self::Storage(text)
            }
            StoreError::TooLarge(text) => Self::Data(text),
            StoreError::Full(text) => Self::Resources(text),
            StoreError::Defect(text) => Self::Defect(text),
        }
    }
}

/// The failure of a task that the store's work was done in ([`machine::tasks`]).
impl From<error::Error> for StoreError {
    fn from(unfinished: error::Error) -> Self {
        match unfinished {
            error::Error::Resources(text) => Self::Full(text),
            error::Error::Defect(text) => Self::Defect(text),
            other => Self::Defect(other.to_string()),
        }
    }
}

/// A local folder or a prefix of a bucket. Keys are relative to it.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// The root, for messages and results: `s3://bucket/prefix` or an absolute path.
    fn root(&self) -> &str;

    /// The whole object, with the version that was read.
    async fn get(&self, key: &str) -> Result<(Bytes, Version), StoreError>;

    /// The same of an object that must not be larger, such as one that is parsed: [`StoreError::TooLarge`] otherwise, before it is read.
    async fn get_at_most(&self, key: &str, most_bytes: u64) -> Result<(Bytes, Version), StoreError> {
        let (content, version) = self.get(key).await?;
        match content.len() as u64 > most_bytes {
            true => Err(too_large(&format!("{}/{key}", self.root()), most_bytes)),
            false => Ok((content, version)),
        }
    }

    /// The bytes of `range` of an object that was listed or looked at, which must still have that version ([`StoreError::Changed`]
    /// otherwise) and be as large ([`StoreError::Unavailable`]: who says that it has another size is not to be believed).
    async fn get_range(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Writes the object whole: a reader sees all of it or nothing. Multipart where it is large.
    async fn put(&self, key: &str, content: Bytes) -> Result<Version, StoreError>;

    /// Writes the object if `condition` holds, atomically; [`StoreError::Conflict`] where it does not.
    async fn put_if(&self, key: &str, content: Bytes, condition: &Condition) -> Result<Version, StoreError>;

    /// Asks for a write that must be refused: over the object `key`, which is there and never changes, with its own bytes, where there is
    /// none. [`StoreError::Denied`] where the server does it, as some do that do not know conditions. Where programs wait for each
    /// other anyway nothing need be asked.
    async fn check_conditions(&self, _key: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// The object's size and version, or `None` where there is no such object.
    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError>;

    /// Every object below `prefix` (a folder: `a/b` finds `a/b/c`, not `a/bc`; the empty prefix finds all), by key.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError>;

    /// As [`Store::list`], only what was last written before `moment`, by the store's own clock.
    async fn list_older(&self, prefix: &str, moment: SystemTime) -> Result<Vec<ObjectMeta>, StoreError>;

    /// Keeps up to `most_bytes` of the buffers of ranged reads for later ones, instead of giving them back to the allocator
    /// each time. At first none are kept.
    fn keep_buffers(&self, most_bytes: usize);

    /// Removes the object; no error where there is none. [`StoreError::Linked`] where a link lies on the way to it.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Removes every object below `prefix`, a folder, and follows no link: a link in it is removed, not what it leads to.
    async fn delete_folder(&self, prefix: &str) -> Result<(), StoreError> {
        for object in self.list(prefix).await? {
            self.delete(&object.key).await?;
        }
        Ok(())
    }
}

/// The share of the memory of the process that the bytes of one file of a store may take, and what is parsed of them.
const FILE_OF_MEMORY: u64 = 2;
const PARSED_OF_MEMORY: (u64, u64) = (3, 4);

/// An object of at most so many bytes that is kept as it is, if it fits into the memory of the process beside everything else.
///
/// # Errors
/// [`StoreError::TooLarge`] where it has more bytes, [`StoreError::Full`] where the process has too little memory for it, both before
/// it is read.
pub async fn get_within_memory(store: &dyn Store, key: &str, most_bytes: u64) -> Result<(Bytes, Version), StoreError> {
    let limit = pool().limit();
    let room = limit / FILE_OF_MEMORY;
    match store.get_at_most(key, most_bytes.min(room)).await {
        Err(StoreError::TooLarge(_)) if room < most_bytes => Err(no_memory(store, key, room + 1, (room, limit))),
        got => got,
    }
}

/// The same of JSON, which may take many times its bytes once it is parsed: also before it is.
///
/// # Errors
/// As [`get_within_memory`].
pub async fn get_json(store: &dyn Store, key: &str, most_bytes: u64) -> Result<(Bytes, Version), StoreError> {
    let (bytes, version) = get_within_memory(store, key, most_bytes).await?;
    let (limit, (share, of)) = (pool().limit(), PARSED_OF_MEMORY);
    let needed = parsed_bytes(&bytes);
    let room = limit / of * share;
    if needed > room { Err(no_memory(store, key, needed, (room, limit))) } else { Ok((bytes, version)) }
}

fn no_memory(store: &dyn Store, key: &str, needed: u64, (room, limit): (u64, u64)) -> StoreError {
    StoreError::Full(format!(
        "{}/{key} takes at least {} MiB of memory, but of {} MiB it may take {}: give the task more memory, or remove the file if it is not \
         what its name says",
        store.root().trim_end_matches('/'),
        needed.div_ceil(1 << 20),
        limit >> 20,
        room >> 20
    ))
}

/// The error of an object that is larger than what it can be.
fn too_large(location: &str, most_bytes: u64) -> StoreError {
    StoreError::TooLarge(format!(
        "{location} is too large: it has more than {most_bytes} bytes, which no such file has"
    ))
}

/// Refuses a range that an object of this size does not have.
fn check_range(location: &str, range: &Range<u64>, size: u64) -> Result<(), StoreError> {
    if range.start <= range.end && range.end <= size {
        return Ok(());
    }
    let Range { start, end } = range;
    Err(StoreError::NotFound(format!("{location} has {size} bytes; bytes {start}..{end} are not in it")))
}
