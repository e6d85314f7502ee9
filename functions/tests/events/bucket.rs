//! The bucket, as a test reads and writes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use storage::{Location, S3Options, Store};
use testkit::s3::ADMIN;
use tokio::runtime::Runtime;

/// A bucket.
pub(crate) struct Bucket {
    store: Arc<dyn Store>,
    runtime: Runtime,
}

impl Bucket {
    pub(crate) fn open(endpoint: &str, name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = S3Options {
            endpoint_url: Some(endpoint.to_owned()),
            region: Some("us-east-1".to_owned()),
            access_key: Some((ADMIN.id.to_owned(), ADMIN.secret.to_owned())),
            ..S3Options::default()
        };
        let location = Location::S3 { bucket: name.to_owned(), prefix: String::new() };
        let store = runtime.block_on(location.open_with(&options)).unwrap();
        Self { store, runtime }
    }

    pub(crate) fn put(&self, key: &str, content: impl Into<Bytes>) {
        self.runtime.block_on(self.store.put(key, content.into())).unwrap();
    }

    pub(crate) fn get(&self, key: &str) -> Bytes {
        self.runtime.block_on(self.store.get(key)).unwrap_or_else(|error| panic!("{error}")).0
    }

    pub(crate) fn json(&self, key: &str) -> Value {
        serde_json::from_slice(&self.get(key)).unwrap()
    }

    pub(crate) fn delete(&self, key: &str) {
        self.runtime.block_on(self.store.delete(key)).unwrap();
    }

    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        self.runtime.block_on(self.store.list(prefix)).unwrap().into_iter().map(|object| object.key).collect()
    }

    /// Everything below a prefix.
    pub(crate) fn objects(&self, prefix: &str) -> BTreeMap<String, Bytes> {
        self.keys(prefix).into_iter().map(|key| (key.clone(), self.get(&key))).collect()
    }
}
