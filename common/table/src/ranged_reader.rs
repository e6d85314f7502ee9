//! An object of any store as a blocking `Read`, fetched ahead by ranges: CSV has to be read from front to back.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use machine::tasks::joined;
use storage::{ObjectMeta, Store, StoreError};

/// Bytes of one request.
const CHUNK: u64 = 4 * 1024 * 1024;

/// Reads an object in order. The next chunk is on its way while the current one is used. Only for threads that may
/// block; needs a running tokio runtime.
pub(crate) struct RangedReader {
    store: Arc<dyn Store>,
    meta: ObjectMeta,
    runtime: Handle,
    current: Bytes,
    next_start: u64,
    next: Option<JoinHandle<Result<Bytes, StoreError>>>,
}

impl RangedReader {
    pub(crate) fn new(store: Arc<dyn Store>, meta: ObjectMeta, runtime: Handle) -> Self {
        let mut reader = Self { store, meta, runtime, current: Bytes::new(), next_start: 0, next: None };
        reader.request_next();
        reader
    }

    fn request_next(&mut self) {
        let range: Range<u64> = self.next_start..(self.next_start + CHUNK).min(self.meta.size);
        if range.is_empty() {
            return;
        }
        self.next_start = range.end;
        let (store, meta) = (Arc::clone(&self.store), self.meta.clone());
        self.next = Some(self.runtime.spawn(async move { store.get_range(&meta, range).await }));
    }
}

impl Read for RangedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            let Some(next) = self.next.take() else { return Ok(0) };
            let fetched = joined(self.runtime.block_on(next)).unwrap_or_else(|unfinished| Err(unfinished.into()));
            self.current = fetched.map_err(io::Error::other)?;
            self.request_next();
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Drop for RangedReader {
    fn drop(&mut self) {
        if let Some(next) = self.next.take() {
            next.abort();
        }
    }
}

/// The storage failure behind an I/O error of a [`RangedReader`], if it is one.
pub(crate) fn storage_failure(error: &io::Error) -> Option<StoreError> {
    error.get_ref()?.downcast_ref::<StoreError>().cloned()
}
