//! Models that were read to their end and found sound, as types: only these may be given to XGBoost, whose loader trusts
//! every length, index and depth that it reads.

use super::ensemble::{Ensemble, EnsembleError};
use super::load;

/// The bytes of a `model.ubj` that XGBoost may be given.
#[derive(Debug, Clone)]
pub struct CheckedModel<'a> {
    bytes: &'a [u8],
    ensemble: Result<Ensemble, EnsembleError>,
}

impl<'a> CheckedModel<'a> {
    /// Reads the whole model.
    ///
    /// # Errors
    /// [`EnsembleError::Damaged`] and [`EnsembleError::Foreign`]: XGBoost must not be given the bytes.
    pub fn check(bytes: &'a [u8]) -> Result<Self, EnsembleError> {
        Self::check_by(1, bytes)
    }

    /// The same by up to so many threads.
    ///
    /// # Errors
    /// As [`CheckedModel::check`].
    pub fn check_by(threads: usize, bytes: &'a [u8]) -> Result<Self, EnsembleError> {
        match load::ensemble(bytes, threads) {
            Err(problem) if problem.forbids_xgboost() => Err(problem),
            ensemble => Ok(Self { bytes, ensemble }),
        }
    }

    /// The model's bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The model's trees.
    ///
    /// # Errors
    /// [`EnsembleError::Unsupported`] where only XGBoost itself can score the model.
    pub fn into_ensemble(self) -> Result<Ensemble, EnsembleError> {
        self.ensemble
    }

    /// The same, for those who need the bytes too.
    ///
    /// # Errors
    /// As [`CheckedModel::into_ensemble`].
    pub fn ensemble(&self) -> Result<&Ensemble, &EnsembleError> {
        self.ensemble.as_ref()
    }
}

/// The bytes of a snapshot of training (`XGBoosterSerializeToBuffer`) that XGBoost may be given: a model, and the
/// configuration of its training, of which only the form is checked.
#[derive(Debug, Clone, Copy)]
pub struct CheckedSnapshot<'a> {
    bytes: &'a [u8],
}

impl<'a> CheckedSnapshot<'a> {
    /// Reads the whole snapshot.
    ///
    /// # Errors
    /// As [`CheckedModel::check`].
    pub fn check(bytes: &'a [u8]) -> Result<Self, EnsembleError> {
        match load::snapshot(bytes) {
            Err(problem) if problem.forbids_xgboost() => Err(problem),
            _ => Ok(Self { bytes }),
        }
    }

    /// The snapshot's bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}
