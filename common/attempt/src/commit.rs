//! The commit of a run: every file of it and its result, as one object that is put once.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use storage::sha256_hex;
use telemetry::{COMPLETED_AT, FILES, Outcome, Summary};

/// A file of a run.
#[derive(Clone, PartialEq, Eq)]
pub struct RunFile {
    /// Its name in the run's folder.
    pub name: String,
    /// Its content.
    pub content: Bytes,
    /// The content's SHA-256, in hexadecimal.
    pub sha256: String,
}

impl RunFile {
    /// A file of this name and content.
    #[must_use]
    pub fn new(name: &str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self { name: name.to_owned(), sha256: sha256_hex(&content), content }
    }

    /// The same where the content's SHA-256 is known: of a hundred megabytes it takes a tenth of a second.
    #[must_use]
    pub fn with_sha256(name: &str, content: impl Into<Bytes>, sha256: &str) -> Self {
        Self { name: name.to_owned(), content: content.into(), sha256: sha256.to_owned() }
    }
}

impl fmt::Debug for RunFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} bytes", self.name, self.content.len())
    }
}

/// What a run came to: its result, which names each of the files with its SHA-256, and the files.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    outcome: Outcome,
    files: Vec<RunFile>,
}

/// The second line of a commit, behind its own SHA-256; then come the files, one after the other.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    result: String,
    files: Vec<FileEntry>,
}

/// What the header says of a file.
#[derive(Debug, Serialize, Deserialize)]
struct FileEntry {
    name: String,
    bytes: usize,
    sha256: String,
}

/// More bytes than the header of a commit has: a result of 8 KiB and a few names.
const MOST_HEADER_BYTES: usize = 1 << 20;
/// A SHA-256 in hexadecimal.
const SEAL_BYTES: usize = 64;

impl Commit {
    /// The commit of a run that ends at `completed_at` (RFC 3339 in UTC): with `rejection`, or well. The result gets `files`, each
    /// with its SHA-256, and the time, which orders the moves of pointers.
    ///
    /// # Errors
    /// [`Error::Defect`] for a name that is none of a run's file.
    pub fn new(
        mut summary: Summary,
        rejection: Option<&Error>,
        files: Vec<RunFile>,
        completed_at: &str,
    ) -> Result<Self> {
        if let Some(file) = files.iter().find(|file| !is_file_name(&file.name)) {
            return Err(Error::Defect(format!("\"{}\" is no name for a run's file", file.name)));
        }
        let hashes: BTreeMap<&str, &str> =
            files.iter().map(|file| (file.name.as_str(), file.sha256.as_str())).collect();
        summary.set(COMPLETED_AT, completed_at).set(FILES, json!(hashes));
        let outcome = rejection.map_or_else(|| summary.succeeded(), |error| summary.failed(error));
        Ok(Self { outcome, files })
    }

    /// The same with a page for people, which the result does not name: what it shows may change when the run is complete.
    ///
    /// # Errors
    /// [`Error::Defect`] for a name that is none of a run's file.
    pub fn with_page(mut self, page: RunFile) -> Result<Self> {
        if !is_file_name(&page.name) {
            return Err(Error::Defect(format!("\"{}\" is no name for a run's file", page.name)));
        }
        // Files are put in order, and one of them may say for others that the run is complete: it stays the last.
        self.files.insert(0, page);
        Ok(self)
    }

    /// The result.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The files, none of which is `result.json`.
    #[must_use]
    pub fn files(&self) -> &[RunFile] {
        &self.files
    }

    /// The commit as one object.
    ///
    /// # Errors
    /// [`Error::Defect`] where it cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Bytes> {
        let entry = |file: &RunFile| FileEntry {
            name: file.name.clone(),
            bytes: file.content.len(),
            sha256: file.sha256.clone(),
        };
        let header = Header { result: self.outcome.json().to_owned(), files: self.files.iter().map(entry).collect() };
        let header = serde_json::to_vec(&header).map_err(|error| Error::Defect(format!("a commit: {error}")))?;
        let files: usize = self.files.iter().map(|file| file.content.len()).sum();
        let mut bytes = Vec::with_capacity(files + header.len() + 2 + SEAL_BYTES);
        bytes.extend_from_slice(sha256_hex(&header).as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(&header);
        bytes.push(b'\n');
        for file in &self.files {
            bytes.extend_from_slice(&file.content);
        }
        Ok(bytes.into())
    }

    /// Reads a commit; `location` is where it lies, for the message.
    ///
    /// # Errors
    /// [`Error::Data`] where it is not what was put.
    pub fn from_bytes(bytes: &Bytes, location: &str) -> Result<Self> {
        Self::read(bytes).ok_or_else(|| {
            Error::Data(format!("{location} is damaged: remove it and run again, or use another run id"))
        })
    }

    fn read(bytes: &Bytes) -> Option<Self> {
        let (seal, rest) = line_of(bytes)?;
        let (header, mut rest) = line_of(&rest)?;
        if header.len() > MOST_HEADER_BYTES || sha256_hex(&header).as_bytes() != seal {
            return None;
        }
        let header: Header = serde_json::from_slice(&header).ok()?;
        let outcome = Outcome::from_json(header.result.as_bytes()).ok()?;
        let mut files = Vec::new();
        for FileEntry { name, bytes, sha256 } in header.files {
            let content = (bytes <= rest.len()).then(|| rest.split_to(bytes))?;
            if !is_file_name(&name) || sha256_hex(&content) != sha256 {
                return None;
            }
            files.push(RunFile { name, content, sha256 });
        }
        rest.is_empty().then_some(Self { outcome, files })
    }
}

/// The first line, without its end, and what follows.
fn line_of(bytes: &Bytes) -> Option<(Bytes, Bytes)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((bytes.slice(..end), bytes.slice(end + 1..)))
}

/// A commit is read from a store: it must not name a file outside of the run's folder, nor what is not the run's own.
fn is_file_name(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    is_plain && !name.is_empty() && !name.starts_with(['.', '_']) && name != "result.json"
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-28T10:00:00.000Z";

    fn summary() -> Summary {
        Summary::new(&"r1".parse().unwrap())
    }

    fn commit() -> Commit {
        let files = [("model.ubj", b"\n{not a header}".as_slice()), ("empty", b""), ("report.html", b"x")];
        Commit::new(summary(), None, files.map(|(name, content)| RunFile::new(name, content)).into(), NOW).unwrap()
    }

    #[test]
    fn the_result_names_the_files_with_their_hashes() {
        let (commit, rejection) = (commit(), Error::Gate("too bad".to_owned()));
        let named = commit.outcome().files().unwrap();
        assert_eq!(named.len(), 3);
        assert!(commit.files().iter().all(|file| named[&file.name] == file.sha256));
        assert!(commit.files().iter().all(|file| file.sha256 == sha256_hex(&file.content)));
        assert_eq!(commit.outcome().completed_at(), Some(NOW));
        assert_eq!(Commit::new(summary(), Some(&rejection), Vec::new(), NOW).unwrap().outcome().exit_code(), 3);
    }

    #[test]
    fn a_page_is_written_with_the_files_and_not_named() {
        let with_page = commit().with_page(RunFile::new("page.html", "y")).unwrap();
        assert_eq!(with_page.outcome(), commit().outcome());
        let read = Commit::from_bytes(&with_page.to_bytes().unwrap(), "c").unwrap();
        assert_eq!(read.files().first(), Some(&RunFile::new("page.html", "y")));
        assert_eq!(commit().with_page(RunFile::new("a/b", "y")).unwrap_err().exit_code(), 70);
    }

    #[test]
    fn a_commit_is_read_as_it_was_put() {
        let bytes = commit().to_bytes().unwrap();
        assert_eq!(Commit::from_bytes(&bytes, "c").unwrap(), commit());
    }

    #[test]
    fn what_is_not_the_commit_is_refused() {
        let bytes = commit().to_bytes().unwrap();
        for length in 0..bytes.len() {
            let error = Commit::from_bytes(&bytes.slice(..length), "m/c").unwrap_err();
            assert!(error.exit_code() == 4 && error.to_string().starts_with("m/c is damaged"), "{error}");
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[place] ^= 1;
            assert!(Commit::from_bytes(&changed.into(), "c").is_err(), "byte {place}");
        }
        let longer = [bytes.as_ref(), b"x"].concat();
        assert!(Commit::from_bytes(&longer.into(), "c").is_err());
    }

    /// Anyone who can write to the store can seal anything.
    #[test]
    fn lengths_that_do_not_add_up_are_refused_though_they_are_sealed() {
        for length in [0, 2, usize::MAX] {
            let content = b"x".get(..length).unwrap_or(b"x");
            let entry = FileEntry { name: "report.html".to_owned(), bytes: length, sha256: sha256_hex(content) };
            let header = Header { result: commit().outcome.json().to_owned(), files: vec![entry] };
            let header = serde_json::to_vec(&header).unwrap();
            let bytes = [format!("{}\n", sha256_hex(&header)).into_bytes(), header, b"\nx".to_vec()].concat();
            assert_eq!(Commit::from_bytes(&bytes.into(), "c").unwrap_err().exit_code(), 4, "{length}");
        }
    }

    #[test]
    fn a_commit_names_no_file_outside_of_its_folder() {
        for name in ["../other/model.ubj", "a/b", "", "result.json", ".hidden", "_checkpoint", "a\\b"] {
            let files = vec![RunFile::new(name, "x")];
            assert_eq!(Commit::new(summary(), None, files.clone(), NOW).unwrap_err().exit_code(), 70, "{name}");
            let stored = Commit { files, outcome: commit().outcome }.to_bytes().unwrap();
            assert!(Commit::from_bytes(&stored, "c").is_err(), "{name}");
        }
    }
}
