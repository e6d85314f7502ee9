//! What a matrix is made from: its columns by name and kind, and the rows in batches.

use super::columns::Batch;
use error::Result;

/// What XGBoost takes a column's numbers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureKind {
    /// A quantity: splits are thresholds.
    Number,
    /// A code from 0: splits are sets of codes.
    Category,
}

/// A column of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name, kept in the model.
    pub name: String,
    /// What its numbers mean.
    pub kind: FeatureKind,
}

impl FeatureKind {
    /// XGBoost's letter for it.
    pub(super) fn letter(self) -> &'static str {
        match self {
            Self::Number => "q",
            Self::Category => "c",
        }
    }
}

/// Rows in batches, read several times over (shape, quantiles, bins) while a matrix is built.
pub trait BatchSource {
    /// Starts again at the first batch.
    ///
    /// # Errors
    /// Whatever reading fails with; it ends the construction and is handed back as [`XgboostError::Source`](super::XgboostError::Source).
    fn rewind(&mut self) -> Result<()>;

    /// The next batch, none at the end. Every pass must give the same rows in the same batches.
    ///
    /// # Errors
    /// As [`BatchSource::rewind`].
    fn next_batch(&mut self) -> Result<Option<Batch<'_>>>;
}
