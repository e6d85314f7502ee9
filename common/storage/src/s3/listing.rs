//! Listing: pages until there are no more, each of which follows on the one before. A page that was cut off is read again: the
//! SDK takes it for a complete one.

use std::collections::HashSet;
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

/// So many objects are no input and no store of models: nobody waits for their footers.
const MOST_OBJECTS: usize = 10_000_000;
/// S3 gives up to 1,000 objects on a page, sometimes fewer: so many pages there may be, and one more for every two objects.
const MOST_PAGES: usize = 1_000;
const LEAST_ON_A_PAGE: usize = 2;
/// S3 may give a page without objects now and then.
const MOST_EMPTY_PAGES: u32 = 100;
/// How often two pages that do not follow on each other are read again: what is written or removed meanwhile looks so for once.
const LOOKS_AT_A_SEAM: u32 = 3;

/// All objects whose keys in the bucket start with `prefix`, which ends in `/` or is empty.
pub(super) async fn pages(store: &S3Store, prefix: &str) -> Result<Vec<Object>, Failure> {
    let mut objects: Vec<Object> = Vec::new();
    let mut tokens = HashSet::new();
    let (mut pages, mut empty_pages) = (0, 0);
    // Of what is not sorted, what it was until then.
    let mut unsorted: Option<HashSet<String>> = None;
    let mut is_sorted = true;
    let mut from: Option<From> = None;
    loop {
        let page = match &from {
            None => page(store, prefix, None).await?,
            Some(from) => following_page(store, prefix, from).await?,
        };
        let contents = page.contents.unwrap_or_default();
        empty_pages = if contents.is_empty() { empty_pages + 1 } else { 0 };
        pages += 1;
        let is_thin = pages > MOST_PAGES + objects.len() / LEAST_ON_A_PAGE;
        if empty_pages > MOST_EMPTY_PAGES || objects.len() > MOST_OBJECTS || is_thin {
            return Err(astray(&format!("the listing does not end: {} objects so far", objects.len())));
        }
        for object in contents {
            let key = object.key.as_deref().unwrap_or_default();
            if !key.starts_with(prefix) {
                return Err(astray(&format!("the listing names {key:?}, which was not asked for")));
            }
            let before = objects.last().and_then(Object::key);
            is_sorted &= before.is_none_or(|before| before < key);
            if !is_sorted {
                let keys_so_far = || objects.iter().filter_map(|object| object.key.clone()).collect();
                if !unsorted.get_or_insert_with(keys_so_far).insert(key.to_owned()) {
                    return Err(astray(&format!("the listing names {key:?} twice")));
                }
            }
            objects.push(object);
        }
        // What is not sorted, as in directory buckets, does not tell what lies between.
        let last = objects.last().and_then(|object| object.key.clone()).filter(|_| is_sorted);
        from = match (page.next_continuation_token, page.is_truncated) {
            (Some(token), _) if tokens.insert(token.clone()) => Some(From { token, last }),
            (Some(_), _) => return Err(astray("the listing repeats its continuation token")),
            (None, Some(true)) => {
                return Err(astray("the listing goes on, but does not say where (no continuation token)"));
            }
            (None, _) => return Ok(objects),
        };
    }
}

/// Where a listing goes on.
struct From {
    token: String,
    /// The last key so far.
    last: Option<String>,
}

/// The page at a token, which must begin with the key that the server names when it is asked what comes after the last one.
async fn following_page(store: &S3Store, prefix: &str, from: &From) -> Result<ListObjectsV2Output, Failure> {
    let mut between = None;
    for look in 0..LOOKS_AT_A_SEAM {
        if look > 0 {
            back_off(look).await;
        }
        let page = page(store, prefix, Some(from.token.clone())).await?;
        let Some(last) = &from.last else { return Ok(page) };
        let next = next_key(store, prefix, last).await?;
        let first = page.contents().first().and_then(Object::key);
        // Servers that do not know `start-after` name what was listed already; those that do not sort, anything.
        match next {
            Some(next) if next > *last && first.is_none_or(|first| *next < *first) => between = Some(next),
            _ => return Ok(page),
        }
    }
    Err(astray(&format!("the listing leaves {:?} out between two pages", between.unwrap_or_default())))
}

/// The first key behind another one.
async fn next_key(store: &S3Store, prefix: &str, last: &str) -> Result<Option<String>, Failure> {
    let request = store.client.list_objects_v2().bucket(&store.bucket).prefix(prefix).start_after(last).max_keys(1);
    let answer = request.send().await.map_err(|error| Failure::of(&error))?;
    Ok(answer.contents().first().and_then(Object::key).map(str::to_owned))
}

pub(super) fn astray(text: &str) -> Failure {
    Failure { kind: Kind::Unavailable, text: format!("{text}: no S3 server lists so") }
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
