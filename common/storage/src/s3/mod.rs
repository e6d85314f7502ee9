//! A prefix of an S3 bucket as a store.
//!
//! Retries, backoff and timeouts of requests are the SDK's. What it leaves to its callers is done here: bodies that break
//! off or stall while they are read are fetched again, an upload whose bytes the service says were changed on the way is
//! sent again, and a conditional write whose answer was lost is recognised as done.
//!
//! Integrity: uploads carry Content-MD5, which every S3 server checks, beside the signed SHA-256 of the body; no newer
//! checksum headers are sent unless `AWS_REQUEST_CHECKSUM_CALCULATION` asks for them, since other servers refuse them.
//! Whole objects read are compared with the checksum that the server keeps (by the SDK) and with their ETag where that is an
//! MD5, and so is a range that is the whole object. Other ranges have no checksum in S3: there length, version and TLS are
//! what is checked. A listing has none either: one that was cut off is read again, and one that leaves keys out between two
//! pages, repeats itself or names what was not asked for is an error. Every answer ends (`answers`).

mod answers;
mod ca_bundle;
mod client;
mod download;
mod error;
mod listing;
mod upload;

#[cfg(test)]
mod tests;

use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::Object;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::buffers::Buffers;
use super::{Condition, ObjectMeta, Store, StoreError, Version};
use ::error::Result;
use ::error::text::without_userinfo;
pub use client::sdk_config;
use error::{Failure, Kind};

/// What is given in the program instead of in the environment: for tests, and for several servers in one process.
/// `None` is the environment's setting.
#[derive(Clone, Default)]
pub struct S3Options {
    /// As `AWS_ENDPOINT_URL_S3`.
    pub endpoint_url: Option<String>,
    /// As `AWS_REGION`.
    pub region: Option<String>,
    /// As `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    pub access_key: Option<(String, String)>,
    /// As `AWS_CA_BUNDLE`.
    pub ca_bundle: Option<String>,
}

impl Debug for S3Options {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Options")
            .field("endpoint_url", &self.endpoint_url.as_deref().map(without_userinfo))
            .field("region", &self.region)
            .field("ca_bundle", &self.ca_bundle)
            .finish_non_exhaustive()
    }
}

/// A variable of the environment; an empty one counts as unset.
fn set_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A prefix of a bucket.
#[derive(Debug, Clone)]
pub(crate) struct S3Store {
    client: Client,
    bucket: String,
    prefix: String,
    root: String,
    buffers: Arc<Buffers>,
    /// Whether the server was seen to refuse a write whose condition did not hold.
    keeps_conditions: Arc<AtomicBool>,
}

impl S3Store {
    /// `prefix` has no `/` at its end.
    pub(crate) async fn connect(bucket: &str, prefix: &str, options: &S3Options) -> Result<Self> {
        let root = if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") };
        let client = client::connect(options).await?;
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        Ok(Self { client, bucket, prefix, root, buffers: Arc::default(), keeps_conditions: Arc::default() })
    }

    fn check_key(&self, key: &str) -> Result<(), StoreError> {
        if key.is_empty() {
            return Err(StoreError::Denied(format!("{}: an object has no empty key", self.root)));
        }
        Ok(())
    }

    /// The key in the bucket.
    fn prefixed(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    /// The object of a listing, which has a key below the prefix, as this store names it; `None` for the empty object that marks the
    /// prefix itself as a folder.
    fn relative(&self, object: Object) -> Option<ObjectMeta> {
        let full = object.key?;
        let key = match self.prefix.as_str() {
            "" => full,
            prefix => full.strip_prefix(prefix)?.strip_prefix('/')?.to_owned(),
        };
        let size = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        (!key.is_empty()).then(|| ObjectMeta { key, size, version: version(object.e_tag.as_deref()) })
    }

    /// For messages.
    fn location(&self, key: &str) -> String {
        format!("{}/{key}", self.root)
    }

    /// As often as the SDK tries a request (`AWS_MAX_ATTEMPTS`) is tried what the SDK does not try again.
    fn attempts(&self) -> u32 {
        self.client.config().retry_config().map_or(3, RetryConfig::max_attempts).max(1)
    }

    async fn list_where(
        &self,
        prefix: &str,
        is_wanted: impl Fn(&Object) -> bool + Send,
    ) -> Result<Vec<ObjectMeta>, StoreError> {
        let folder = match prefix.trim_end_matches('/') {
            "" if self.prefix.is_empty() => String::new(),
            "" => format!("{}/", self.prefix),
            below => format!("{}/", self.prefixed(below)),
        };
        let at = |failure: Failure| failure.at("cannot list", &format!("s3://{}/{folder}", self.bucket));
        let wanted = listing::pages(self, &folder).await.map_err(at)?.into_iter().filter(is_wanted);
        let mut objects: Vec<_> = wanted.filter_map(|object| self.relative(object)).collect();
        objects.sort_by(|left, right| left.key.cmp(&right.key));
        if let Some(pair) = objects.windows(2).find(|pair| pair[0].key == pair[1].key) {
            return Err(at(listing::astray(&format!("the listing names {:?} twice", self.prefixed(&pair[0].key)))));
        }
        Ok(objects)
    }

    /// Looks whether objects that are said to be empty are: what is empty is left out of the data, so that rows would be.
    pub(crate) async fn check_emptiness(&self, objects: &[ObjectMeta]) -> Result<(), StoreError> {
        let is_doubtful = |object: &&ObjectMeta| object.size == 0 && object.version.0 != MD5_OF_NOTHING;
        let doubtful: Vec<String> = objects.iter().filter(is_doubtful).map(|object| object.key.clone()).collect();
        let looks = stream::iter(doubtful).map(|key| async move { (self.first_byte(&key).await.is_ok(), key) });
        let mut looks = looks.buffered(LOOKS_AT_ONCE);
        while let Some((has_bytes, key)) = looks.next().await {
            if has_bytes {
                let text = format!("it says that {:?} is empty, but that has bytes", self.prefixed(&key));
                return Err(listing::astray(&text).at("cannot list", &self.root));
            }
        }
        Ok(())
    }

    async fn first_byte(&self, key: &str) -> Result<(), Failure> {
        let request = self.client.get_object().bucket(&self.bucket).key(self.prefixed(key)).range("bytes=0-0");
        request.send().await.map(drop).map_err(|error| Failure::of(&error))
    }

    async fn head_once(&self, key: &str) -> Result<ObjectMeta, Failure> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.prefixed(key));
        let answer = request.send().await.map_err(|error| Failure::of(&error))?;
        let size = answer.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        Ok(ObjectMeta { key: key.to_owned(), size, version: version(answer.e_tag.as_deref()) })
    }
}

#[async_trait]
impl Store for S3Store {
    fn root(&self) -> &str {
        &self.root
    }

    async fn get(&self, key: &str) -> Result<(Bytes, Version), StoreError> {
        download::whole(self, key, u64::MAX).await
    }

    async fn get_at_most(&self, key: &str, most_bytes: u64) -> Result<(Bytes, Version), StoreError> {
        download::whole(self, key, most_bytes).await
    }

    async fn get_range(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Bytes, StoreError> {
        download::range(self, object, &range).await
    }

    fn keep_buffers(&self, most_bytes: usize) {
        self.buffers.keep(most_bytes);
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<Version, StoreError> {
        upload::put(self, key, content).await
    }

    async fn put_if(&self, key: &str, content: Bytes, condition: &Condition) -> Result<Version, StoreError> {
        upload::put_if(self, key, content, condition).await
    }

    async fn check_conditions(&self, key: &str) -> Result<(), StoreError> {
        if self.keeps_conditions.load(Ordering::Relaxed) {
            return Ok(());
        }
        upload::check_conditions(self, key).await?;
        self.keeps_conditions.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        self.check_key(key)?;
        let failure = match self.head_once(key).await {
            Ok(object) => return Ok(Some(object)),
            Err(failure) => failure,
        };
        // An answer to HEAD has no body, so it does not say whether the key is missing or the bucket, or why access is
        // denied. The answer to GET does.
        let explained = match failure.kind {
            Kind::NotFound | Kind::Denied => self.first_byte(key).await.err(),
            _ => Some(failure),
        };
        match explained {
            Some(failure) if failure.kind == Kind::NotFound => Ok(None),
            Some(failure) if failure.kind != Kind::BeyondEnd => Err(failure.at("cannot look at", &self.location(key))),
            _ => {
                self.head_once(key).await.map(Some).map_err(|failure| failure.at("cannot look at", &self.location(key)))
            }
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.list_where(prefix, |_| true).await
    }

    async fn list_older(&self, prefix: &str, moment: SystemTime) -> Result<Vec<ObjectMeta>, StoreError> {
        let moment = DateTime::from(moment);
        self.list_where(prefix, |object| object.last_modified.is_some_and(|modified| modified < moment)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.check_key(key)?;
        let request = self.client.delete_object().bucket(&self.bucket).key(self.prefixed(key));
        match request.send().await.map_err(|error| Failure::of(&error)) {
            Err(failure) if failure.kind != Kind::NotFound => Err(failure.at("cannot delete", &self.location(key))),
            _ => Ok(()),
        }
    }
}

/// Objects that are said to be empty and are looked at side by side: as many as are opened so.
const LOOKS_AT_ONCE: usize = 16;

/// The MD5 of no byte, which is the ETag of an empty object but under keys of KMS or the customer.
const MD5_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// An ETag without its quotes, which some servers leave out in some answers.
fn version(e_tag: Option<&str>) -> Version {
    Version(e_tag.unwrap_or_default().trim_matches('"').to_owned())
}

fn quoted(version: &Version) -> String {
    format!("\"{}\"", version.0)
}

/// Waits before the same thing is tried for the `attempt`-th time: 0.1 s, doubled each time, at most 5 s.
async fn back_off(attempt: u32) {
    let doubled = 100u64.saturating_mul(1 << attempt.saturating_sub(1).min(10));
    tokio::time::sleep(Duration::from_millis(doubled.min(5_000))).await;
}
