//! More ids than the memory holds: all of them are written to a file on the scratch disk, in partitions by their hash, and
//! then one partition after the other is read back and looked through. What remains is one bit for each row.

use std::io;

use error::{Error, Result};

use super::keys::{IdKeys, Key};
use super::partitions::{BLOCK, PARTITIONS, Partitions, ScratchFile};
use super::seen::{KeyTable, SeenIds};

/// Bytes of a row's number.
const ROW: usize = size_of::<u64>();

/// The ids of rows, on disk. The file has no name: it goes with the process, whatever ends that.
#[derive(Debug)]
pub struct IdScratch {
    file: ScratchFile,
    whole: Partitions<u64>,
    hashed: Partitions<u128>,
    rows: u64,
}

/// Rows whose id came before, by their numbers within the input.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RepeatedRows {
    bits: Vec<u64>,
}

impl IdScratch {
    /// An empty scratch in the folder for temporary files (`TMPDIR`).
    ///
    /// # Errors
    /// [`Error::Setting`] where no file can be created there, [`Error::Resources`] where it is full.
    pub fn create() -> Result<Self> {
        // Nothing stays in memory: the plan has given all that is left to reading.
        let file = ScratchFile::create(0).map_err(|error| failed("create", &error))?;
        Ok(Self { file, whole: Partitions::new(ROW), hashed: Partitions::new(ROW), rows: 0 })
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
        let (first_row, file) = (self.rows, &self.file);
        let written = match keys {
            IdKeys::Whole(keys) => push_all(&mut self.whole, keys, first_row, is_scored, file),
            IdKeys::Hashed(keys) => push_all(&mut self.hashed, keys, first_row, is_scored, file),
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
        let found = find(self.whole, &self.file, &mut repeated);
        let found = found.and_then(|()| find(self.hashed, &self.file, &mut repeated));
        found.map_err(|error| failed("read", &error))?;
        Ok(repeated)
    }
}

fn push_all<K: Key>(
    partitions: &mut Partitions<K>,
    keys: &[Option<K>],
    first_row: u64,
    is_scored: impl Fn(usize) -> bool,
    file: &ScratchFile,
) -> io::Result<()> {
    for (row, key) in keys.iter().enumerate() {
        let Some(key) = key.filter(|_| is_scored(row)) else { continue };
        partitions.push(key, &(first_row + row as u64).to_le_bytes(), file)?;
    }
    Ok(())
}

/// Looks through one partition after the other; within one the rows stand in their order.
fn find<K: Key>(partitions: Partitions<K>, file: &ScratchFile, repeated: &mut RepeatedRows) -> io::Result<()> {
    for partition in partitions.into_each() {
        let mut seen = KeyTable::<K>::expecting(partition.entries);
        partition.read(file, |block| find_in(block, &mut seen, repeated))?;
    }
    Ok(())
}

fn find_in<K: Key>(block: &[u8], seen: &mut KeyTable<K>, repeated: &mut RepeatedRows) {
    for entry in block.chunks_exact(K::BYTES + ROW) {
        let (key, row) = entry.split_at(K::BYTES);
        if !seen.insert(K::read(key), 0) {
            repeated.mark(u64::read(row));
        }
    }
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
