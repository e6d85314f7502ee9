//! Rows in partitions by the hash of their ids, in memory as far as there is room and on the scratch disk beyond that, so that one
//! partition after the other can be compared, whatever their number.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::keys::Key;

/// Partitions; a power of two. The table of one is what has to fit into memory.
pub(crate) const PARTITIONS: usize = 256;
/// Bytes of a partition that are kept, or written, at once.
pub(crate) const BLOCK: usize = 64 * 1024;

/// A file without a name, which goes with the process, whatever ends that; and what may stay in memory instead.
#[derive(Debug)]
pub(crate) struct ScratchFile {
    file: File,
    end: AtomicU64,
    room: Arc<AtomicU64>,
}

/// Bytes that were put away.
#[derive(Debug)]
pub(crate) enum Block {
    /// In memory, of which the room is given back when they go.
    Memory(Vec<u8>, Arc<AtomicU64>),
    /// On disk: where they lie, and how many they are.
    Disk(u64, usize),
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Self::Memory(bytes, room) = self {
            room.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
    }
}

impl Block {
    /// Hands the bytes to `take`; `buffer` is used again for those on disk.
    ///
    /// # Errors
    /// Those of reading the disk.
    pub(crate) fn read<R>(
        &self,
        file: &ScratchFile,
        buffer: &mut Vec<u8>,
        take: impl FnOnce(&[u8]) -> R,
    ) -> io::Result<R> {
        match self {
            Self::Memory(bytes, _) => Ok(take(bytes)),
            Self::Disk(start, length) => {
                buffer.resize(*length, 0);
                file.file.read_exact_at(buffer, *start)?;
                Ok(take(buffer))
            }
        }
    }
}

impl ScratchFile {
    /// An empty one in the folder for temporary files (`TMPDIR`), of which so many bytes may stay in memory.
    ///
    /// # Errors
    /// Where no file can be created there.
    pub(crate) fn create(memory_bytes: u64) -> io::Result<Self> {
        let room = Arc::new(AtomicU64::new(memory_bytes));
        Ok(Self { file: tempfile::tempfile()?, end: AtomicU64::new(0), room })
    }

    /// Puts bytes away: in memory where there is room, else on disk, after which the vector can be used again.
    ///
    /// # Errors
    /// Where the disk is full.
    pub(crate) fn put(&self, bytes: &mut Vec<u8>) -> io::Result<Block> {
        let length = bytes.len() as u64;
        let taken = |room: u64| room.checked_sub(length);
        if self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok() {
            return Ok(Block::Memory(std::mem::take(bytes), Arc::clone(&self.room)));
        }
        let start = self.end.fetch_add(length, Ordering::Relaxed);
        self.file.write_all_at(bytes, start)?;
        let block = Block::Disk(start, bytes.len());
        bytes.clear();
        Ok(block)
    }

    /// Bytes on disk.
    #[must_use]
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }
}

/// Entries of one width, a key and what goes with it, by the hash of the key.
#[derive(Debug)]
pub(crate) struct Partitions<K> {
    width: usize,
    open: Vec<Vec<u8>>,
    full: Vec<Vec<Block>>,
    entries: Vec<usize>,
    _kind: std::marker::PhantomData<K>,
}

/// The entries of one partition, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Partition {
    /// How many there are.
    pub(crate) entries: usize,
    full: Vec<Block>,
    open: Vec<u8>,
}

impl<K: Key> Partitions<K> {
    /// No entries yet, of so many bytes besides the key.
    #[must_use]
    pub(crate) fn new(payload: usize) -> Self {
        Self {
            width: K::BYTES + payload,
            open: vec![Vec::new(); PARTITIONS],
            full: (0..PARTITIONS).map(|_| Vec::new()).collect(),
            entries: vec![0; PARTITIONS],
            _kind: std::marker::PhantomData,
        }
    }

    /// Takes in an entry.
    ///
    /// # Errors
    /// Where the disk is full.
    pub(crate) fn push(&mut self, key: K, payload: &[u8], file: &ScratchFile) -> io::Result<()> {
        let partition = partition_of(key);
        let open = &mut self.open[partition];
        if open.len() + self.width > BLOCK {
            self.full[partition].push(file.put(open)?);
        }
        if open.capacity() == 0 {
            open.reserve_exact(if self.entries[partition] == 0 { BLOCK / 16 } else { BLOCK });
        }
        key.write(open);
        open.extend_from_slice(payload);
        self.entries[partition] += 1;
        Ok(())
    }

    /// One partition after the other.
    pub(crate) fn into_each(self) -> impl Iterator<Item = Partition> {
        let partition = |((open, full), entries)| Partition { entries, full, open };
        self.open.into_iter().zip(self.full).zip(self.entries).map(partition)
    }
}

impl Partition {
    /// Hands over the entries, many whole ones at a time.
    ///
    /// # Errors
    /// Those of reading the disk.
    pub(crate) fn read(self, file: &ScratchFile, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = Vec::new();
        for block in self.full {
            block.read(file, &mut buffer, &mut take)?;
        }
        take(&self.open);
        Ok(())
    }
}

/// The lowest bits: the slots within a partition's table go by the highest.
fn partition_of(key: impl Key) -> usize {
    key.hash() as usize % PARTITIONS
}
