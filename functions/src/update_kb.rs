//! Writes the documents that the knowledge base is made of. Their names stay, so that each run replaces the last one's.
//!
//! They tell of groups only: never an id or a row, never a least or greatest value, never a group of fewer than 20
//! customers, nor one that could be found by subtracting the others.

mod document;
mod groups;
mod pages;
mod sources;

use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::context::Invocation;
use crate::failure::Result;
use document::Document;
use sources::Sources;

/// Fewest customers of a group that is told of.
const LEAST_GROUP: u64 = 20;
/// Where the documents lie.
const FOLDER: &str = "knowledge";
/// Objects written at once.
const CONCURRENT_WRITES: usize = 4;

/// Writes the documents.
///
/// # Errors
/// `BadSettings`, `QueryFailed`, `OutOfTime`.
pub async fn run(invocation: &Invocation<'_>) -> Result<Value> {
    if !invocation.settings.knowledge_base {
        return Ok(json!({"status": "off", "documents": 0}));
    }
    let sources = Sources::read(invocation).await?;
    let documents = pages::all(&sources);
    let objects: Vec<_> = documents.iter().flat_map(Document::objects).collect();
    let bucket = invocation.bucket;
    let put = |(name, content): (String, String)| async move {
        bucket.put(&format!("{FOLDER}/{name}"), content.into()).await.map(drop)
    };
    let written = futures::stream::iter(objects).map(put).buffer_unordered(CONCURRENT_WRITES);
    written.try_for_each(|()| std::future::ready(Ok(()))).await?;
    Ok(json!({"status": "written", "documents": documents.len()}))
}
