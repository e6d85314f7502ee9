//! Writing: one request, several parts for a large object, and conditional writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use md5::{Digest, Md5};

use super::error::{Failure, Kind};
use super::{Condition, S3Store, StoreError, Version, back_off, client, quoted, version};

/// Larger objects are sent in parts.
pub(super) const MULTIPART_BYTES: usize = 16 << 20;
const PART_BYTES: usize = 8 << 20;
/// S3 takes no more.
const MAX_PARTS: usize = 10_000;
const PARTS_IN_FLIGHT: usize = 4;
/// How often a conditional write meets another one under way (409) before it gives up.
const IN_PROGRESS_ATTEMPTS: u32 = 8;

pub(super) async fn put(store: &S3Store, key: &str, content: Bytes) -> Result<Version, StoreError> {
    store.check_key(key)?;
    let written = if content.len() > MULTIPART_BYTES {
        put_parts(store, key, &content).await
    } else {
        put_at_once(store, key, &content, None).await
    };
    written.map_err(|failure| failure.at("cannot write", &store.location(key)))
}

/// One request whatever the size (S3 takes 5 GiB), so that every server which knows conditional writes makes it
/// atomic; conditions on the completion of a multipart upload are known to fewer.
pub(super) async fn put_if(
    store: &S3Store,
    key: &str,
    content: Bytes,
    condition: &Condition,
) -> Result<Version, StoreError> {
    store.check_key(key)?;
    for attempt in 1.. {
        match put_at_once(store, key, &content, Some(condition)).await {
            Err(failure) if failure.kind == Kind::InProgress && attempt < IN_PROGRESS_ATTEMPTS => {
                back_off(attempt).await;
            }
            // If-Match on a key that is gone.
            Err(failure) if failure.kind == Kind::NotFound => {
                return Err(Failure { kind: Kind::ConditionFailed, ..failure }.at("cannot write", &store.location(key)));
            }
            other => {
                return other.map_err(|failure| failure.at("cannot write", &store.location(key)));
            }
        }
    }
    Err(StoreError::Unavailable(format!("cannot write {}", store.location(key))))
}

/// One PUT, sent again while the service says that it got other bytes.
async fn put_at_once(
    store: &S3Store,
    key: &str,
    content: &Bytes,
    condition: Option<&Condition>,
) -> Result<Version, Failure> {
    let sent = Arc::new(AtomicU32::new(0));
    let mut attempt = 1;
    loop {
        let failure = match send(put_request(store, key, content, condition), content.len(), &sent).await {
            Ok(version) => return Ok(version),
            Err(failure) => failure,
        };
        let may_be_our_own = failure.kind == Kind::ConditionFailed && sent.load(Ordering::Relaxed) > 1;
        if may_be_our_own && let Some(version) = written_before(store, key, content).await {
            return Ok(version);
        }
        if failure.kind != Kind::Corrupted || attempt >= store.attempts() {
            return Err(failure);
        }
        back_off(attempt).await;
        attempt += 1;
    }
}

fn put_request(store: &S3Store, key: &str, content: &Bytes, condition: Option<&Condition>) -> PutObjectFluentBuilder {
    let request = store
        .client
        .put_object()
        .bucket(&store.bucket)
        .key(store.prefixed(key))
        .content_md5(base64_md5(content))
        .body(content.clone().into());
    match condition {
        None => request,
        Some(Condition::Absent) => request.if_none_match("*"),
        Some(Condition::Unchanged(version)) => request.if_match(quoted(version)),
    }
}

async fn send(request: PutObjectFluentBuilder, bytes: usize, sent: &Arc<AtomicU32>) -> Result<Version, Failure> {
    let patient = aws_sdk_s3::Config::builder().timeout_config(client::timeouts(bytes));
    let request = request.customize().config_override(patient).interceptor(CountSent(Arc::clone(sent)));
    let answer = request.send().await.map_err(|error| Failure::of(&error))?;
    // Whatever answered so is not what keeps the object.
    answer.e_tag().map(|e_tag| version(Some(e_tag))).ok_or_else(|| Failure {
        kind: Kind::Corrupted,
        text: "the answer has no ETag, which S3 gives for every object that was written".to_owned(),
    })
}

/// Asks for a write that must be refused: of what is there already, where there must be nothing.
pub(super) async fn check_conditions(store: &S3Store, key: &str) -> Result<(), StoreError> {
    let (content, _) = super::download::whole(store, key, u64::MAX).await?;
    let request = put_request(store, key, &content, Some(&Condition::Absent));
    match send(request, content.len(), &Arc::default()).await {
        Err(failure) if matches!(failure.kind, Kind::ConditionFailed | Kind::InProgress) => Ok(()),
        Err(failure) => Err(failure.at("cannot try a conditional write of", &store.location(key))),
        Ok(_) => Err(StoreError::Denied(format!(
            "the server ignores conditional writes: it wrote {} although it was there (If-None-Match: *), so that runs at the same \
             time would overwrite each other's pointers unseen: use a server that keeps them, as S3 does",
            store.location(key)
        ))),
    }
}

/// A retried request may fail on its own first success, of which the answer was lost: then the content is there.
async fn written_before(store: &S3Store, key: &str, content: &Bytes) -> Option<Version> {
    let (found, version) = super::download::whole(store, key, u64::MAX).await.ok()?;
    (found == *content).then_some(version)
}

/// Counts how often a request went out, the SDK's retries included.
#[derive(Debug)]
struct CountSent(Arc<AtomicU32>);

impl Intercept for CountSent {
    fn name(&self) -> &'static str {
        "CountSent"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

async fn put_parts(store: &S3Store, key: &str, content: &Bytes) -> Result<Version, Failure> {
    let request = store.client.create_multipart_upload().bucket(&store.bucket).key(store.prefixed(key));
    let created = request.send().await.map_err(|error| Failure::of(&error))?;
    let upload = Upload { store, key, id: created.upload_id.unwrap_or_default() };
    let written = upload.finish(content).await;
    if written.is_err() {
        upload.abort().await;
    }
    written
}

/// A multipart upload under way.
struct Upload<'store> {
    store: &'store S3Store,
    key: &'store str,
    id: String,
}

impl Upload<'_> {
    async fn finish(&self, content: &Bytes) -> Result<Version, Failure> {
        let part_bytes = PART_BYTES.max(content.len().div_ceil(MAX_PARTS));
        let offsets = (0..content.len()).step_by(part_bytes).zip(1..);
        let parts = offsets.map(|(start, number)| {
            let end = content.len().min(start + part_bytes);
            self.part(number, content.slice(start..end))
        });
        let mut parts: Vec<_> = stream::iter(parts).buffer_unordered(PARTS_IN_FLIGHT).try_collect().await?;
        parts.sort_by_key(CompletedPart::part_number);
        self.complete(parts, content).await
    }

    async fn part(&self, number: i32, content: Bytes) -> Result<CompletedPart, Failure> {
        let mut attempt = 1;
        loop {
            match self.part_once(number, &content).await {
                Err(failure) if failure.kind == Kind::Corrupted && attempt < self.store.attempts() => {
                    back_off(attempt).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn part_once(&self, number: i32, content: &Bytes) -> Result<CompletedPart, Failure> {
        let client = &self.store.client;
        let request =
            client.upload_part().bucket(&self.store.bucket).key(self.store.prefixed(self.key)).upload_id(&self.id);
        let request = request.part_number(number).content_md5(base64_md5(content)).body(content.clone().into());
        let patient = aws_sdk_s3::Config::builder().timeout_config(client::timeouts(content.len() * PARTS_IN_FLIGHT));
        let answer = request.customize().config_override(patient).send().await.map_err(|error| Failure::of(&error))?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag).build())
    }

    async fn complete(&self, parts: Vec<CompletedPart>, content: &Bytes) -> Result<Version, Failure> {
        let client = &self.store.client;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(self.store.prefixed(self.key))
            .upload_id(&self.id);
        let patient = aws_sdk_s3::Config::builder().timeout_config(client::timeouts(content.len()));
        let answer = request.multipart_upload(parts).customize().config_override(patient).send().await;
        match answer.map_err(|error| Failure::of(&error)) {
            Ok(answer) => Ok(version(answer.e_tag())),
            // Completed by an attempt of which the answer was lost?
            Err(failure) if failure.kind == Kind::NoUpload => {
                written_before(self.store, self.key, content).await.ok_or(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Parts of an upload that is never completed would be paid for. Where this fails too, the bucket's lifecycle rule for
    /// unfinished uploads is what is left.
    async fn abort(&self) {
        let request = self.store.client.abort_multipart_upload();
        let aborted =
            request.bucket(&self.store.bucket).key(self.store.prefixed(self.key)).upload_id(&self.id).send().await;
        if let Err(error) = aborted {
            let failure = Failure::of(&error);
            tracing::warn!(location = %self.store.location(self.key), upload_id = %self.id, "an unfinished upload stays: {}", failure.text);
        }
    }
}

fn base64_md5(content: &[u8]) -> String {
    aws_smithy_types::base64::encode(Md5::digest(content))
}
