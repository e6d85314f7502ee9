//! What opening a location's objects may hold in memory: their footers, in the form that stays, those that are being read, and
//! the bytes of objects that are so small that they came with their footer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::schema::Schemas;
use error::{Error, Result};
use machine::memory::remedy;

/// Bytes of footers that are read at once, unless a single one has more.
const FOOTERS_AT_ONCE: u64 = 32 * 1024 * 1024;
/// Most bytes of small objects that are kept.
const KEPT_MOST: u64 = 128 * 1024 * 1024;
/// The share of the memory that they may take.
const KEPT_OF_MEMORY: u64 = 6;
const MIB: u64 = 1024 * 1024;

/// The memory that opening a location may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FooterRoom {
    /// What may be in memory of footers, and of objects that came with them.
    pub bytes: u64,
    /// What the whole run may take, for messages.
    pub limit: u64,
}

impl FooterRoom {
    /// As much as they take.
    pub const ANY: Self = Self { bytes: u64::MAX, limit: u64::MAX };
    /// What there always is: of footers that small the plan of the run tells what is missing.
    const LEAST: u64 = 32 * MIB;

    /// What is left of the limit beside `others`.
    #[must_use]
    pub fn beside(others: u64, usable: u64, limit: u64) -> Self {
        Self { bytes: usable.saturating_sub(others).max(Self::LEAST), limit }
    }
}

/// The objects of one location while they are opened.
#[derive(Debug)]
pub struct Opening {
    needed: Option<Vec<String>>,
    pub(super) schemas: Schemas,
    room: FooterRoom,
    /// Bytes of footers as they stay.
    footers: AtomicU64,
    /// Bytes of small objects.
    kept: AtomicU64,
    /// Those of the largest footer as it was read, or of several at once.
    largest_read: AtomicU64,
    reads: Arc<Semaphore>,
}

impl Opening {
    /// Of the columns `needed` (all without it), with so much memory.
    #[must_use]
    pub fn new(needed: Option<&[String]>, room: FooterRoom) -> Self {
        Self {
            needed: needed.map(<[String]>::to_vec),
            schemas: Schemas::default(),
            room,
            footers: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            largest_read: AtomicU64::new(0),
            reads: Arc::new(Semaphore::new((FOOTERS_AT_ONCE / 1024) as usize)),
        }
    }

    pub(super) fn needed(&self) -> Option<&[String]> {
        self.needed.as_deref()
    }

    /// Bytes that stay in memory: footers, and objects that came with them.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.footers.load(Ordering::Relaxed) + self.kept.load(Ordering::Relaxed)
    }

    /// The most bytes of footers that were read at once.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.largest_read.load(Ordering::Relaxed)
    }

    /// Whether there is room for the bytes of an object that came with its footer.
    pub(super) fn keep(&self, bytes: u64) -> bool {
        let most = KEPT_MOST.min(self.room.bytes / KEPT_OF_MEMORY);
        let more = |kept: u64| kept.checked_add(bytes).filter(|kept| *kept <= most);
        self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Takes room for a footer as it stays.
    pub(super) fn take(&self, bytes: u64, name: &str) -> Result<()> {
        let taken = self.footers.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if taken > self.room.bytes { Err(self.too_much(taken, name)) } else { Ok(()) }
    }

    /// Waits for the room that a footer of so many bytes takes while it is read.
    pub(super) async fn room_for_footer(&self, bytes: u64, name: &str) -> Result<Option<OwnedSemaphorePermit>> {
        let needed = self.footers.load(Ordering::Relaxed) + bytes;
        if needed > self.room.bytes {
            return Err(self.too_much(needed, name));
        }
        let at_once = bytes.max(FOOTERS_AT_ONCE.min(self.largest_read.load(Ordering::Relaxed) + bytes));
        self.largest_read.fetch_max(at_once, Ordering::Relaxed);
        let permits = u32::try_from(bytes.min(FOOTERS_AT_ONCE) / 1024).unwrap_or(u32::MAX);
        // Never closed.
        Ok(Arc::clone(&self.reads).acquire_many_owned(permits).await.ok())
    }

    fn too_much(&self, needed: u64, name: &str) -> Error {
        let FooterRoom { bytes, limit } = self.room;
        // Nine tenths of a limit are planned with.
        let more = (needed - bytes).saturating_mul(10) / 9;
        Error::Resources(format!(
            "{name}: the footers up to this one, which say where row groups are, take {} MiB of memory, of {} MiB that are left for \
             them, and {} MiB in all: {}",
            needed.div_ceil(MIB),
            bytes / MIB,
            limit / MIB,
            remedy(limit.saturating_add(more), ", or write larger row groups and fewer files")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_is_held_than_there_is_room_for() {
        let opening = Opening::new(None, FooterRoom { bytes: 60 * MIB, limit: 200 * MIB });
        assert!(opening.keep(6 * MIB) && !opening.keep(5 * MIB) && opening.keep(4 * MIB));
        opening.take(40 * MIB, "a").unwrap();
        assert_eq!((opening.held_bytes(), opening.read_bytes()), (50 * MIB, 0));
        let permit = opening.room_for_footer(20 * MIB, "b").await.unwrap();
        assert_eq!(opening.read_bytes(), 20 * MIB);
        assert!(opening.reads.try_acquire_many((20 * MIB / 1024) as u32).is_err());
        drop(permit);
        for refused in [opening.room_for_footer(21 * MIB, "c").await.map(drop), opening.take(21 * MIB, "c")] {
            let error = refused.unwrap_err();
            assert_eq!(error.exit_code(), 8);
            assert!(error.to_string().contains("take 61 MiB of memory, of 60 MiB"), "{error}");
            assert!(error.to_string().contains("200 MiB in all: give the task at least 202 MiB, or write"), "{error}");
        }
    }
}
