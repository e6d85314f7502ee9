//! Listing: pages until there are no more. A page that was cut off is read again: the SDK takes it for a complete one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::Object;

use super::error::{Failure, Kind};
use super::{S3Store, back_off};

/// What a whole page ends with.
const END: &[u8] = b"ListBucketResult>";

/// All objects whose keys in the bucket start with `prefix`, which ends in `/` or is empty.
pub(super) async fn pages(store: &S3Store, prefix: &str) -> Result<Vec<Object>, Failure> {
    let mut objects = Vec::new();
    let mut token = None;
    loop {
        let page = page(store, prefix, token).await?;
        objects.extend(page.contents.unwrap_or_default());
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok(objects);
        }
    }
}

async fn page(store: &S3Store, prefix: &str, token: Option<String>) -> Result<ListObjectsV2Output, Failure> {
    for attempt in 1..=store.attempts() {
        if attempt > 1 {
            back_off(attempt - 1).await;
        }
        let is_cut_off = Arc::new(AtomicBool::new(false));
        let request = store.client.list_objects_v2().bucket(&store.bucket).prefix(prefix);
        let request = request.set_continuation_token(token.clone()).customize();
        let answer = request.interceptor(LookAtEnd(Arc::clone(&is_cut_off))).send().await;
        if !is_cut_off.load(Ordering::Relaxed) {
            return answer.map_err(|error| Failure::of(&error));
        }
    }
    let text = format!("the listing was cut off (tried {} times)", store.attempts());
    Err(Failure { kind: Kind::Unavailable, text })
}

/// Notes whether the last answer that is no error was cut off.
#[derive(Debug)]
struct LookAtEnd(Arc<AtomicBool>);

impl Intercept for LookAtEnd {
    fn name(&self) -> &'static str {
        "LookAtEnd"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        let is_complete = answer.body().bytes().is_none_or(|bytes| bytes.trim_ascii_end().ends_with(END));
        self.0.store(answer.status().is_success() && !is_complete, Ordering::Relaxed);
        Ok(())
    }
}
