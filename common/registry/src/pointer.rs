//! Pointers: small objects that say which model `latest` or a label means. They move in the crate `attempt` alone.

use serde::{Deserialize, Serialize};

use super::layout::{ModelRun, ModelStore};
use super::metadata::check_format_version;
use error::{Error, Result};
use storage::{StoreError, Version};

/// The layout of pointers, plans, manifests and `metrics.json`.
pub const FORMAT_VERSION: u32 = 1;

/// More bytes than a pointer has.
pub const MOST_BYTES: u64 = 64 << 10;

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
    /// When the model was complete, or was promoted, RFC 3339 in UTC.
    pub published_at: String,
    /// Folder of the model that the pointer named before.
    pub previous: Option<String>,
}

impl Pointer {
    /// A pointer to a run's model, which was complete at `published_at`.
    #[must_use]
    pub fn to(
        run: &ModelRun,
        r2: Option<f64>,
        sha256: &str,
        metadata_sha256: Option<&str>,
        published_at: &str,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            model_version: run.version.to_string(),
            run_id: run.run_id.to_string(),
            path: run.path(),
            r2,
            sha256: sha256.to_owned(),
            metadata_sha256: metadata_sha256.map(str::to_owned),
            published_at: published_at.to_owned(),
            previous: None,
        }
    }

    /// Reads the pointer at `key`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Model`] where it is damaged; storage errors as they are.
    pub async fn read(models: &ModelStore, key: &str) -> Result<Option<(Self, Version)>> {
        let (bytes, version) = match models.store().get_at_most(key, MOST_BYTES).await {
            Ok(found) => found,
            Err(StoreError::NotFound(_)) => return Ok(None),
            Err(StoreError::TooLarge(_)) => return Err(Self::damaged(&models.location_of(key), "it is too large")),
            Err(error) => return Err(error.into()),
        };
        Ok(Some((Self::from_json(&bytes, &models.location_of(key))?, version)))
    }

    /// Reads a pointer; `location` is where it lies, for the message.
    ///
    /// # Errors
    /// [`Error::Model`] where it is damaged.
    pub fn from_json(bytes: &[u8], location: &str) -> Result<Self> {
        let damaged = |why: &str| Self::damaged(location, why);
        check_format_version(bytes, location, FORMAT_VERSION..=FORMAT_VERSION, damaged)?;
        serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))
    }

    /// The error of a pointer that is none.
    #[must_use]
    pub fn damaged(location: &str, why: &str) -> Error {
        Error::Model(format!(
            "{location} is damaged: {why}; remove it, then name a model by `train models promote VERSION/RUN_ID`"
        ))
    }
}
