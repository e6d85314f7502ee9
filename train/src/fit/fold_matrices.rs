//! The matrices of a sample in one encoding, which are made when a trial runs on them for the first time.

use error::Result;
use xgboost::Params;

use super::FitContext;
use super::folds::{Fold, FoldMaker, Sample, signs};
use crate::encodings::EncodingScheme;
use crate::features::Features;
use crate::read::Rows;

/// A sample in one encoding, with the bins that some parameters ask for.
#[derive(Debug)]
pub(super) struct FoldMatrices<'a> {
    pub(super) sample: &'a Sample,
    pub(super) scheme: EncodingScheme,
    /// For every column of the matrix the sign of its monotone constraint.
    pub(super) signs: Vec<i8>,
    bins: Params,
    folds: Option<Vec<Fold>>,
    /// Whether what they cost is counted.
    are_counted: bool,
}

impl<'a> FoldMatrices<'a> {
    pub(super) fn new(
        context: &FitContext<'_>,
        base: &Features,
        sample: &'a Sample,
        scheme: EncodingScheme,
        bins: &Params,
    ) -> Self {
        let signs = signs(context, base, &scheme);
        Self { sample, scheme, signs, bins: bins.clone(), folds: None, are_counted: false }
    }

    /// The matrices of the folds that have training and validation rows.
    ///
    /// # Errors
    /// [`error::Error::Stopped`] when the run was asked to stop; what XGBoost refuses.
    pub(super) fn folds(&mut self, context: &FitContext<'_>, base: &Features, rows: &Rows) -> Result<&mut [Fold]> {
        let folds = match self.folds.take() {
            Some(folds) => folds,
            None => FoldMaker { context, base, rows, scheme: &self.scheme, params: &self.bins }.make(self.sample)?,
        };
        Ok(self.folds.insert(folds))
    }

    /// Whether they were not asked about before: what they cost is counted once.
    pub(super) fn are_new(&mut self) -> bool {
        !std::mem::replace(&mut self.are_counted, true)
    }

    /// Drops the matrices where another booster must not train on them: with `approx` they keep the bins of the first.
    pub(super) fn clear_after(&mut self, params: &Params) {
        if !params.wants_quantile_matrix() {
            (self.folds, self.are_counted) = (None, false);
        }
    }
}
