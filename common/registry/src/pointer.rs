//! Pointers: small objects that say which model `latest` or a label means, moved by conditional writes only.

use serde::{Deserialize, Serialize};

use super::layout::{ModelRun, ModelStore};
use super::metadata::check_format_version;
use error::{Error, Result};
use storage::{Condition, StoreError, Version};

/// The layout of pointers, plans, manifests and `metrics.json`.
pub const FORMAT_VERSION: u32 = 1;

/// Racing publishers that one move may lose to before it gives up.
const ATTEMPTS: usize = 32;

/// What `latest.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pointer {
    /// Layout of this file.
    pub format_version: u32,
    /// Label of the model.
    pub model_version: String,
    /// Run that trained it.
    pub run_id: String,
    /// Its folder, relative to `<models>/<name>/`.
    pub path: String,
    /// R² on its held-out rows.
    pub r2: Option<f64>,
    /// SHA-256 of its `model.ubj`.
    pub sha256: String,
    /// SHA-256 of its `metadata.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_sha256: Option<String>,
    /// When the pointer moved, RFC 3339 in UTC.
    pub published_at: String,
    /// Folder of the model that the pointer named before.
    pub previous: Option<String>,
}

impl Pointer {
    /// A pointer to a run's model.
    #[must_use]
    pub fn to(run: &ModelRun, r2: Option<f64>, sha256: &str, metadata_sha256: Option<&str>) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            model_version: run.version.to_string(),
            run_id: run.run_id.to_string(),
            path: run.path(),
            r2,
            sha256: sha256.to_owned(),
            metadata_sha256: metadata_sha256.map(str::to_owned),
            published_at: machine::now_rfc3339(),
            previous: None,
        }
    }

    /// Reads the pointer at `key`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Model`] where it is damaged; storage errors as they are.
    pub async fn read(models: &ModelStore, key: &str) -> Result<Option<(Self, Version)>> {
        let (bytes, version) = match models.store().get(key).await {
            Ok(found) => found,
            Err(StoreError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let location = models.location_of(key);
        check_format_version(&bytes, &location, FORMAT_VERSION..=FORMAT_VERSION)?;
        let pointer = serde_json::from_slice(&bytes);
        let pointer = pointer.map_err(|error| Error::Model(format!("{location} is damaged: {error}")))?;
        Ok(Some((pointer, version)))
    }

    /// Moves the pointer at `key` here, whoever else moves it at the same time: each move names the one before it.
    ///
    /// # Errors
    /// Storage errors as they are; [`Error::Storage`] where others keep moving it.
    pub async fn publish(&self, models: &ModelStore, key: &str) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let current = Self::read(models, key).await?;
            if current.as_ref().is_some_and(|(current, _)| current.path == self.path) {
                return Ok(());
            }
            let (previous, condition) = match current {
                Some((current, version)) => (Some(current.path), Condition::Unchanged(version)),
                None => (None, Condition::Absent),
            };
            let pointer = Self { previous, ..self.clone() };
            let json = serde_json::to_vec_pretty(&pointer).map_err(|error| Error::Defect(error.to_string()))?;
            match models.store().put_if(key, json.into(), &condition).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Storage(format!(
            "{} was moved by others {ATTEMPTS} times while this run tried to move it: run again with the same run id",
            models.location_of(key)
        )))
    }
}
