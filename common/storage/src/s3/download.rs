//! Reading: the SDK retries requests, but not bodies. A body that breaks off, stalls, or is not what was asked for is
//! fetched again.

use std::ops::Range;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStreamError;
use aws_sdk_s3::types::ServerSideEncryption;
use bytes::Bytes;
use md5::{Digest, Md5};

use super::error::{Failure, Kind, causes};
use super::{ObjectMeta, S3Store, StoreError, Version, back_off, quoted, version};
use crate::buffers::Buffer;
use crate::{check_range, too_large};

/// An answer that does not say how long it is may go on for ever.
const MOST_BYTES_OF_UNKNOWN_LENGTH: u64 = 256 << 20;

/// Why one attempt gave no content.
enum Broken {
    /// Trying again does not help.
    Final(StoreError),
    /// The body was not the object's. `digest` of what came instead, where all of it came.
    Body { text: String, digest: Option<String> },
}

/// The whole object, which must not be larger than `most`.
pub(super) async fn whole(store: &S3Store, key: &str, most: u64) -> Result<(Bytes, Version), StoreError> {
    store.check_key(key)?;
    let mut received_before = None;
    for attempt in 1.. {
        let (text, digest) = match whole_once(store, key, most, received_before.as_deref()).await {
            Ok(read) => return Ok(read),
            Err(Broken::Final(error)) => return Err(error),
            Err(Broken::Body { text, digest }) => (text, digest),
        };
        received_before = digest.or(received_before);
        try_again(store, key, attempt, text).await?;
    }
    Err(gave_up(store, key, "never tried"))
}

/// The bytes of `range`, of the object as it was listed or looked at.
pub(super) async fn range(store: &S3Store, object: &ObjectMeta, range: &Range<u64>) -> Result<Bytes, StoreError> {
    let key = &object.key;
    store.check_key(key)?;
    check_range(&store.location(key), range, object.size)?;
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let mut received_before = None;
    for attempt in 1.. {
        let (text, digest) = match range_once(store, object, range, received_before.as_deref()).await {
            Ok(content) => return Ok(content),
            Err(Broken::Final(error)) => return Err(error),
            Err(Broken::Body { text, digest }) => (text, digest),
        };
        received_before = digest.or(received_before);
        try_again(store, key, attempt, text).await?;
    }
    Err(gave_up(store, key, "never tried"))
}

async fn try_again(store: &S3Store, key: &str, attempt: u32, text: String) -> Result<(), StoreError> {
    if attempt >= store.attempts() {
        return Err(gave_up(store, key, &text));
    }
    tracing::debug!(location = %store.location(key), attempt, "reading again: {text}");
    back_off(attempt).await;
    Ok(())
}

fn gave_up(store: &S3Store, key: &str, text: &str) -> StoreError {
    let attempts = store.attempts();
    StoreError::Unavailable(format!("cannot read {}: {text} (tried {attempts} times)", store.location(key)))
}

async fn whole_once(
    store: &S3Store,
    key: &str,
    most: u64,
    received_before: Option<&str>,
) -> Result<(Bytes, Version), Broken> {
    let request = store.client.get_object().bucket(&store.bucket).key(store.prefixed(key));
    let answer = request.send().await.map_err(|error| refused(store, key, Failure::of(&error)))?;
    let version = version(answer.e_tag());
    check_tag(&version)?;
    let md5 = md5_of(&answer, &version);
    let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
    let content = match length {
        Some(length) if length > most => return Err(Broken::Final(too_large(&store.location(key), most))),
        Some(length) => body(store, answer, length).await?,
        None => to_its_end(answer, most.min(MOST_BYTES_OF_UNKNOWN_LENGTH)).await?,
    };
    Ok((verified(content, md5, received_before)?, version))
}

/// The content, if it has the object's MD5.
fn verified(content: Bytes, md5: Option<String>, received_before: Option<&str>) -> Result<Bytes, Broken> {
    let Some(md5) = md5 else {
        return Ok(content);
    };
    let digest = hex_md5(&content);
    // Bytes that come twice were not changed on the way: then the server's ETag is no MD5, whatever it looks like.
    if digest == md5 || received_before == Some(&digest) {
        return Ok(content);
    }
    Err(Broken::Body { text: "the bytes received do not have the object's MD5".to_owned(), digest: Some(digest) })
}

async fn range_once(
    store: &S3Store,
    object: &ObjectMeta,
    range: &Range<u64>,
    received_before: Option<&str>,
) -> Result<Bytes, Broken> {
    let ObjectMeta { key, size: expected_size, version: expected } = object;
    let request = store
        .client
        .get_object()
        .bucket(&store.bucket)
        .key(store.prefixed(key))
        .range(format!("bytes={}-{}", range.start, range.end - 1))
        .if_match(quoted(expected));
    let answer = request.send().await.map_err(|error| refused(store, key, Failure::of(&error)))?;
    let version = version(answer.e_tag());
    check_tag(&version)?;
    if version != *expected {
        return Err(Broken::Final(changed(store, key)));
    }
    let (first, size) = content_range(&answer)?;
    if let Some(size) = size.filter(|size| size != expected_size) {
        // The same version has one size: what looked at it or listed it lied, or this answer does.
        return Err(broken(format!("it has {size} bytes, where its listing says {expected_size}")));
    }
    if first != range.start {
        return Err(broken(format!("bytes from {first} came instead of {}", range.start)));
    }
    let is_complete = range.start == 0 && range.end == *expected_size;
    let md5 = md5_of(&answer, expected).filter(|_| is_complete);
    let content = body(store, answer, range.end - range.start).await?;
    verified(content, md5, received_before)
}

fn refused(store: &S3Store, key: &str, failure: Failure) -> Broken {
    match failure.kind {
        // Nothing is asked for that the object should not have.
        Kind::BeyondEnd => broken(format!("it is shorter than its listing says: {}", failure.text)),
        Kind::ConditionFailed => Broken::Final(changed(store, key)),
        _ => Broken::Final(failure.at("cannot read", &store.location(key))),
    }
}

fn changed(store: &S3Store, key: &str) -> StoreError {
    StoreError::Changed(format!("{} was replaced while it was read", store.location(key)))
}

/// Every object has an ETag: an answer without one is something else, such as an error that came as a 200.
fn check_tag(version: &Version) -> Result<(), Broken> {
    match version.0.is_empty() {
        true => Err(broken("the answer has no ETag, so that it is no object".to_owned())),
        false => Ok(()),
    }
}

fn broken(text: String) -> Broken {
    Broken::Body { text, digest: None }
}

/// First byte and size of the object, from `bytes 5-9/200` (the size may be `*`).
fn content_range(answer: &GetObjectOutput) -> Result<(u64, Option<u64>), Broken> {
    let header = answer.content_range().unwrap_or_default();
    let parsed = header.strip_prefix("bytes ").and_then(|rest| {
        let (first_to_last, size) = rest.split_once('/')?;
        let (first, _) = first_to_last.split_once('-')?;
        Some((first.parse().ok()?, size.parse().ok()))
    });
    parsed.ok_or_else(|| broken(format!("a range was asked for, and the answer's range is '{header}'")))
}

/// Reads the body to its end: exactly `length` bytes.
async fn body(store: &S3Store, answer: GetObjectOutput, length: u64) -> Result<Bytes, Broken> {
    let length = usize::try_from(length).map_err(|_| broken(format!("{length} bytes are too many")))?;
    fill(answer, store.buffers.take(length)).await
}

/// Reads a body of which nobody said how long it is, as S3 always does.
async fn to_its_end(answer: GetObjectOutput, most: u64) -> Result<Bytes, Broken> {
    let (mut stream, mut content) = (answer.body, Vec::new());
    while let Some(chunk) = stream.try_next().await.map_err(|error| broke_off(content.len(), &error))? {
        if (content.len() + chunk.len()) as u64 > most {
            return Err(broken(format!("the answer does not say how long it is, and has more than {most} bytes")));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content.into())
}

fn broke_off(after: usize, error: &ByteStreamError) -> Broken {
    broken(format!("the body broke off after {after} bytes: {}", causes(error)))
}

/// Reads the body to its end: exactly as many bytes as the buffer has.
async fn fill(answer: GetObjectOutput, mut buffer: Buffer) -> Result<Bytes, Broken> {
    let mut stream = answer.body;
    let content = buffer.as_mut();
    let (expected, mut filled) = (content.len(), 0);
    while let Some(chunk) = stream.try_next().await.map_err(|error| broke_off(filled, &error))? {
        let end = filled + chunk.len();
        match content.get_mut(filled..end) {
            Some(place) => place.copy_from_slice(&chunk),
            None => return Err(broken(format!("{end} bytes came instead of {expected}"))),
        }
        filled = end;
    }
    match filled == expected {
        true => Ok(buffer.filled()),
        false => Err(broken(format!("{filled} bytes came instead of {expected}"))),
    }
}

/// The MD5 of the content, in hexadecimal digits, where the ETag is one: not after multipart uploads and not under keys
/// of KMS or the customer.
fn md5_of(answer: &GetObjectOutput, version: &Version) -> Option<String> {
    let is_plain = matches!(answer.server_side_encryption(), None | Some(ServerSideEncryption::Aes256))
        && answer.sse_customer_algorithm().is_none();
    let looks_like_md5 = version.0.len() == 32 && version.0.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_plain && looks_like_md5).then(|| version.0.to_ascii_lowercase())
}

fn hex_md5(content: &[u8]) -> String {
    Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
