//! The keys of a model store, and the ways to name a model in it.

use std::fmt;
use std::sync::Arc;

use error::{Error, Result};
use machine::id::{ModelVersion, RunId};
use machine::memory::pool;
use storage::Store;

/// The models of one name in one store: everything below `<models>/<name>/`.
#[derive(Debug, Clone)]
pub struct ModelStore {
    store: Arc<dyn Store>,
    name: String,
    memory_bytes: u64,
}

/// One training run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRun {
    /// The label it was trained under.
    pub version: ModelVersion,
    /// The run.
    pub run_id: RunId,
}

impl ModelRun {
    /// Its folder, relative to `<models>/<name>/`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.version, self.run_id)
    }

    /// The run whose folder `path` is.
    ///
    /// # Errors
    /// [`Error::Model`] where the path is not `label/run_id`.
    pub fn from_path(path: &str) -> Result<Self> {
        let parsed = path
            .split_once('/')
            .and_then(|(version, run_id)| Some(Self { version: version.parse().ok()?, run_id: run_id.parse().ok()? }));
        parsed.ok_or_else(|| Error::Model(format!("the pointer names \"{path}\", which is not a model's folder")))
    }
}

impl fmt::Display for ModelRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.version, self.run_id)
    }
}

/// How a user names a model: `latest`, a label, or `label/run_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// What `latest.json` points to.
    Latest,
    /// What the label's `latest.json` points to.
    Label(ModelVersion),
    /// Just this run.
    Run(ModelRun),
}

impl std::str::FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('/') {
            None if text == "latest" => Ok(Self::Latest),
            None => Ok(Self::Label(text.parse()?)),
            Some((version, run_id)) => Ok(Self::Run(ModelRun { version: version.parse()?, run_id: run_id.parse()? })),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => formatter.write_str("latest"),
            Self::Label(version) => write!(formatter, "{version}"),
            Self::Run(run) => write!(formatter, "{run}"),
        }
    }
}

impl ModelStore {
    /// The models called `name` in a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, name: &str) -> Self {
        Self { store, name: name.to_owned(), memory_bytes: pool().limit() }
    }

    /// The same, for a process that may use so much memory: models that take more are refused before they are read.
    #[must_use]
    pub fn within(self, memory_bytes: u64) -> Self {
        Self { memory_bytes, ..self }
    }

    /// Bytes that the process may use.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The store behind it, to be kept.
    #[must_use]
    pub fn shared_store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// The models' name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Key of an object below `<models>/<name>/`.
    #[must_use]
    pub fn key(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    /// Key of a file in a run's folder.
    #[must_use]
    pub fn run_key(&self, run: &ModelRun, file: &str) -> String {
        self.key(&format!("{}/{file}", run.path()))
    }

    /// Key of the pointer that `latest` means.
    #[must_use]
    pub fn latest_key(&self) -> String {
        self.key("latest.json")
    }

    /// Key of a label's pointer.
    #[must_use]
    pub fn label_key(&self, version: &ModelVersion) -> String {
        self.key(&format!("{version}/latest.json"))
    }

    /// Full location of an object, for messages and results.
    #[must_use]
    pub fn location_of(&self, key: &str) -> String {
        format!("{}/{key}", self.store.root().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_latest_a_label_or_a_run() {
        assert_eq!("latest".parse::<Selector>().unwrap(), Selector::Latest);
        assert!(matches!("v1.2.0".parse::<Selector>().unwrap(), Selector::Label(_)));
        assert!(matches!("v1/r1".parse::<Selector>().unwrap(), Selector::Run(_)));
        for wrong in ["../../etc", "v1/latest", "", "v1/r/x", "v 1"] {
            assert_eq!(wrong.parse::<Selector>().unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
