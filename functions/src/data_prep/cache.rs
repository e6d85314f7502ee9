//! Data that was prepared lately by the same SQL. UNLOAD never uses results again, so this is done here.

use serde::{Deserialize, Serialize};
use storage::Store;

use super::hours_since;
use super::parts::{Part, objects_in};
use crate::context::Invocation;
use crate::failure::Result;
use crate::objects;

/// Who prepared data by which SQL, and what was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) format_version: u32,
    pub(super) run_id: String,
    pub(super) created_at: String,
    pub(super) sql_sha256: String,
    pub(super) parts: Vec<Part>,
}

fn key(sql_sha256: &str) -> String {
    format!("prepared/cache/{sql_sha256}.json")
}

impl Entry {
    /// The data that this SQL wrote within `REUSE_HOURS`, if every object still stands as it was written.
    pub(super) async fn find(invocation: &Invocation<'_>, sql_sha256: &str) -> Result<Option<Self>> {
        let store = invocation.bucket.as_ref();
        let Some(entry) = objects::read::<Self>(store, &key(sql_sha256)).await? else { return Ok(None) };
        let age = hours_since(&entry.created_at);
        if !age.is_some_and(|hours| hours < invocation.settings.reuse_hours) {
            return Ok(None);
        }
        for part in &entry.parts {
            if objects_in(store, &part.prefix).await? != part.objects {
                tracing::info!("{}/ is not as run {} left it: prepared again", part.prefix, entry.run_id);
                return Ok(None);
            }
        }
        Ok(Some(entry))
    }

    /// Leaves the entry for later runs, unless a newer one stands.
    pub(super) async fn keep(self, store: &dyn Store) -> Result<()> {
        let key = key(&self.sql_sha256);
        let newer = |before: Option<Self>| {
            let is_newer = before.is_none_or(|before| before.created_at < self.created_at);
            is_newer.then(|| self.clone())
        };
        objects::change(store, &key, newer).await
    }
}
