//! More ids than the memory holds: all of them are written to a file on the scratch disk, in partitions by their hash, and
//! then one partition after the other is read back and looked through. What remains is one bit for each row.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use error::{Error, Result};

use super::keys::{IdKeys, Key};
use super::seen::{KeyTable, SeenIds};

/// Partitions; a power of two. The table of one is what has to fit into memory.
const PARTITIONS: usize = 256;
/// Bytes of a partition that are written at once.
const BLOCK: usize = 64 * 1024;
/// Bytes of a row's number.
const ROW: usize = size_of::<u64>();

/// The ids of rows, on disk. The file has no name: it goes with the process, whatever ends that.
#[derive(Debug)]
pub struct IdScratch {
    file: File,
    end: u64,
    whole: Partitions<u64>,
    hashed: Partitions<u128>,
    rows: u64,
}

/// Rows whose id came before, by their numbers within the input.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RepeatedRows {
    bits: Vec<u64>,
}

#[derive(Debug)]
struct Partitions<K> {
    open: Vec<Vec<u8>>,
    /// Where the written blocks of each lie, and how many bytes each has.
    written: Vec<Vec<(u64, usize)>>,
    keys: Vec<usize>,
    _kind: std::marker::PhantomData<K>,
}

impl IdScratch {
    /// An empty scratch in the folder for temporary files (`TMPDIR`).
    ///
    /// # Errors
    /// [`Error::Setting`] where no file can be created there, [`Error::Resources`] where it is full.
    pub fn create() -> Result<Self> {
        let file = tempfile::tempfile().map_err(|error| failed("create", &error))?;
        Ok(Self { file, end: 0, whole: Partitions::new(), hashed: Partitions::new(), rows: 0 })
    }

    /// Bytes of memory that looking for repeated ids among `rows` takes: buffers, the table of a partition, a bit per row.
    #[must_use]
    pub fn memory_bytes(rows: u64, whole: bool) -> u64 {
        // Hashes fill the partitions evenly; a tenth more than the mean is far beyond chance.
        let partition = rows / PARTITIONS as u64 * 11 / 10;
        (PARTITIONS * BLOCK) as u64 + SeenIds::bytes(partition, whole) + rows.div_ceil(8)
    }

    /// Bytes of disk that the ids of `rows` take.
    #[must_use]
    pub fn disk_bytes(rows: u64, whole: bool) -> u64 {
        let key = if whole { u64::BYTES } else { u128::BYTES };
        rows * (key + ROW) as u64
    }

    /// Takes in the ids of the next rows of the input, except of those that are not to be scored.
    ///
    /// # Errors
    /// [`Error::Resources`] where the disk is full.
    pub fn push(&mut self, keys: &IdKeys, is_scored: impl Fn(usize) -> bool) -> Result<()> {
        let (first_row, file, end) = (self.rows, &self.file, &mut self.end);
        let written = match keys {
            IdKeys::Whole(keys) => self.whole.push_all(keys, first_row, is_scored, file, end),
            IdKeys::Hashed(keys) => self.hashed.push_all(keys, first_row, is_scored, file, end),
            IdKeys::Ascending(_) => return Err(Error::Defect("ids without keys cannot be compared".to_owned())),
        };
        self.rows += keys.len() as u64;
        written.map_err(|error| failed("write", &error))
    }

    /// Which rows have an id that an earlier row has.
    ///
    /// # Errors
    /// [`Error::Resources`] where the disk cannot be read.
    pub fn repeated_rows(self) -> Result<RepeatedRows> {
        let mut repeated = RepeatedRows::default();
        let found =
            self.whole.find(&self.file, &mut repeated).and_then(|()| self.hashed.find(&self.file, &mut repeated));
        found.map_err(|error| failed("read", &error))?;
        Ok(repeated)
    }
}

impl<K: Key> Partitions<K> {
    fn new() -> Self {
        Self {
            open: vec![Vec::new(); PARTITIONS],
            written: vec![Vec::new(); PARTITIONS],
            keys: vec![0; PARTITIONS],
            _kind: std::marker::PhantomData,
        }
    }

    fn push_all(
        &mut self,
        keys: &[Option<K>],
        first_row: u64,
        is_scored: impl Fn(usize) -> bool,
        file: &File,
        end: &mut u64,
    ) -> io::Result<()> {
        for (row, key) in keys.iter().enumerate() {
            let Some(key) = key.filter(|_| is_scored(row)) else { continue };
            let partition = partition_of(key);
            let open = &mut self.open[partition];
            if open.len() + K::BYTES + ROW > BLOCK {
                file.write_all_at(open, *end)?;
                self.written[partition].push((*end, open.len()));
                *end += open.len() as u64;
                open.clear();
            }
            key.write(open);
            open.extend_from_slice(&(first_row + row as u64).to_le_bytes());
            self.keys[partition] += 1;
        }
        Ok(())
    }

    /// Looks through one partition after the other; within one the rows stand in their order.
    fn find(self, file: &File, repeated: &mut RepeatedRows) -> io::Result<()> {
        let mut block = Vec::new();
        for ((open, written), keys) in self.open.into_iter().zip(self.written).zip(self.keys) {
            let mut seen = KeyTable::<K>::expecting(keys);
            for (start, length) in written {
                block.resize(length, 0);
                file.read_exact_at(&mut block, start)?;
                find_in(&block, &mut seen, repeated);
            }
            find_in(&open, &mut seen, repeated);
        }
        Ok(())
    }
}

fn find_in<K: Key>(block: &[u8], seen: &mut KeyTable<K>, repeated: &mut RepeatedRows) {
    for entry in block.chunks_exact(K::BYTES + ROW) {
        let (key, row) = entry.split_at(K::BYTES);
        if !seen.insert(K::read(key), 0) {
            repeated.mark(u64::read(row));
        }
    }
}

/// The lowest bits: the places within a partition's table go by the highest.
fn partition_of(key: impl Key) -> usize {
    key.hash() as usize % PARTITIONS
}

impl RepeatedRows {
    fn mark(&mut self, row: u64) {
        let (word, bit) = place(row);
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= bit;
    }

    /// Whether the id of a row came before.
    #[must_use]
    pub fn contains(&self, row: u64) -> bool {
        let (word, bit) = place(row);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn place(row: u64) -> (usize, u64) {
    (usize::try_from(row / 64).unwrap_or(usize::MAX), 1 << (row % 64))
}

fn failed(what: &str, error: &io::Error) -> Error {
    let folder = std::env::temp_dir();
    let text = format!(
        "cannot {what} the file in {} that is needed to find repeated ids: {error}: give the task more disk, set TMPDIR to \
         a folder that can be written, or skip the check with --duplicates (DUPLICATES) allow",
        folder.display()
    );
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound => {
            Error::Setting(text)
        }
        _ => Error::Resources(text),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Enough ids that blocks of each partition are written, repeated far and near, some missing, some not scored.
    #[test]
    fn the_rows_found_are_those_whose_id_came_before() {
        let ids = |row: u64| (row % 11 != 3).then(|| row.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000_000);
        let is_scored = |row: u64| row % 13 != 5;
        let rows = 1_300_000_u64;
        for hashed in [false, true] {
            let mut scratch = IdScratch::create().unwrap();
            for start in (0..rows).step_by(100_000) {
                let batch = start..start + 100_000;
                let keys = match hashed {
                    false => IdKeys::Whole(batch.map(ids).collect()),
                    true => IdKeys::Hashed(
                        batch
                            .map(|row| {
                                ids(row)
                                    .map(|id| u128::from(id) << 64 | u128::from(id.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                            })
                            .collect(),
                    ),
                };
                scratch.push(&keys, |row| is_scored(start + row as u64)).unwrap();
            }
            let repeated = scratch.repeated_rows().unwrap();
            let mut seen = HashSet::new();
            for row in 0..rows {
                let is_repeated = is_scored(row) && ids(row).is_some_and(|id| !seen.insert(id));
                assert_eq!(repeated.contains(row), is_repeated, "{row}");
            }
        }
    }

    #[test]
    fn no_row_is_repeated_where_there_is_none() {
        let repeated = IdScratch::create().unwrap().repeated_rows().unwrap();
        assert!(!repeated.contains(0) && !repeated.contains(u64::MAX));
    }
}
