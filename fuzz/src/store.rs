//! A store in memory that holds what a case says.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use storage::{Condition, ObjectMeta, Store, StoreError, Version, sha256_hex};

/// Objects by key.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryStore {
    /// A store of these objects.
    pub fn of<const N: usize>(objects: [(&str, Vec<u8>); N]) -> Arc<Self> {
        let objects = objects.into_iter().map(|(key, content)| (key.to_owned(), content.into())).collect();
        Arc::new(Self { objects: Mutex::new(objects) })
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &str) -> Result<(Bytes, Version), StoreError> {
        let content = self.objects().get(key).cloned();
        content
            .map(|content| (content.clone(), Version(sha256_hex(&content))))
            .ok_or_else(|| StoreError::NotFound(format!("memory/{key} does not exist")))
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn root(&self) -> &str {
        "memory"
    }

    async fn get(&self, key: &str) -> Result<(Bytes, Version), StoreError> {
        self.find(key)
    }

    async fn get_range(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Bytes, StoreError> {
        let ObjectMeta { key, version, .. } = object;
        let (content, found) = self.find(key)?;
        if found != *version {
            return Err(StoreError::Changed(format!("memory/{key} changed")));
        }
        let within = range.end <= content.len() as u64;
        let slice = within.then(|| content.slice(range.start as usize..range.end as usize));
        slice.ok_or_else(|| StoreError::NotFound(format!("memory/{key} is shorter")))
    }

    fn keep_buffers(&self, _most_bytes: usize) {}

    async fn put(&self, key: &str, content: Bytes) -> Result<Version, StoreError> {
        let version = Version(sha256_hex(&content));
        self.objects().insert(key.to_owned(), content);
        Ok(version)
    }

    async fn put_if(&self, key: &str, content: Bytes, condition: &Condition) -> Result<Version, StoreError> {
        let found = self.find(key).ok().map(|(_, version)| version);
        let holds = match condition {
            Condition::Absent => found.is_none(),
            Condition::Unchanged(version) => found.as_ref() == Some(version),
        };
        match holds {
            true => self.put(key, content).await,
            false => Err(StoreError::Conflict(format!("memory/{key} changed"))),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let found = self.find(key).ok();
        Ok(found.map(|(content, version)| ObjectMeta { key: key.to_owned(), size: content.len() as u64, version }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let below = |key: &&String| key.starts_with(&folder);
        let keys: Vec<String> = self.objects().keys().filter(below).cloned().collect();
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.extend(self.head(&key).await?);
        }
        Ok(found)
    }

    async fn list_older(&self, prefix: &str, _moment: SystemTime) -> Result<Vec<ObjectMeta>, StoreError> {
        self.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.objects().remove(key);
        Ok(())
    }
}
