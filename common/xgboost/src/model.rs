//! Models as bytes, and what can be asked of them.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};
use std::ops::Range;

use xgboost_lib_sys as sys;

use super::booster::{Booster, c_round};
use super::error::{XgboostError, c_string, check, copy_string, copy_values};
use scoring::{CheckedModel, CheckedSnapshot};

/// What a feature is scored by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Splits that use it.
    Weight,
    /// Mean gain of these splits.
    Gain,
    /// Mean sum of Hessians in these splits (rows, for squared error).
    Cover,
    /// Sum of the gains.
    TotalGain,
    /// Sum of the covers.
    TotalCover,
}

impl Booster {
    /// The model in XGBoost's own format (UBJSON): trees, objective, base score, feature names, attributes. Training
    /// parameters are not part of it.
    ///
    /// # Errors
    /// [`XgboostError::Library`], for a booster that was never trained, say.
    pub fn save(&mut self) -> Result<Vec<u8>, XgboostError> {
        let (mut length, mut bytes) = (0, std::ptr::null());
        let config = c"{\"format\":\"ubj\"}".as_ptr();
        // SAFETY: a live booster, a NUL-terminated text, valid places for the results.
        let return_code =
            unsafe { sys::XGBoosterSaveModelToBuffer(self.as_ptr(), config, &raw mut length, &raw mut bytes) };
        check("save the model", return_code)?;
        Ok(copy_bytes(bytes, length))
    }

    /// A model from the bytes of [`Booster::save`].
    ///
    /// # Errors
    /// [`XgboostError::Library`] where XGBoost refuses what is sound as far as it was checked.
    pub fn load(model: &CheckedModel<'_>) -> Result<Self, XgboostError> {
        let (mut booster, bytes) = (Self::create(&[])?, model.bytes());
        // SAFETY: a live booster and a buffer of that length, read during the call, of a model that holds what it says.
        let return_code =
            unsafe { sys::XGBoosterLoadModelFromBuffer(booster.as_ptr(), bytes.as_ptr().cast(), bytes.len() as u64) };
        check("load the model", return_code)?;
        booster.configure()?;
        Ok(booster)
    }

    /// Model and training state, for a checkpoint between two rounds.
    ///
    /// Training that goes on from [`Booster::unserialize`], with the same rows in matrices built anew, the next round's
    /// number and the same threads, gives the same bytes as training that was never interrupted, unless
    /// [`Params::resumes_exactly`](super::Params::resumes_exactly) says otherwise. The snapshot holds parameters (threads
    /// too), metrics, base score to the last bit and the state of the random generator. Margins need no care: an
    /// undisturbed run adds each tree's leaves to its margins as it goes, a resumed one sums all trees anew, in the same
    /// `f32` order from the base score on. The tests compare bytes for each tree method, sampling, dropout and objective.
    ///
    /// # Errors
    /// As [`Booster::save`].
    pub fn serialize(&mut self) -> Result<Vec<u8>, XgboostError> {
        let (mut length, mut bytes) = (0, std::ptr::null());
        // SAFETY: a live booster and valid places for the results.
        let return_code = unsafe { sys::XGBoosterSerializeToBuffer(self.as_ptr(), &raw mut length, &raw mut bytes) };
        check("serialize the booster", return_code)?;
        Ok(copy_bytes(bytes, length))
    }

    /// A booster from the bytes of [`Booster::serialize`], to train on with.
    ///
    /// # Errors
    /// As [`Booster::load`].
    pub fn unserialize(snapshot: &CheckedSnapshot<'_>) -> Result<Self, XgboostError> {
        let (mut booster, bytes) = (Self::create(&[])?, snapshot.bytes());
        // SAFETY: a live booster and a buffer of that length, which XGBoost only reads, of a snapshot that holds what it says.
        let return_code =
            unsafe { sys::XGBoosterUnserializeFromBuffer(booster.as_ptr(), bytes.as_ptr().cast(), bytes.len() as u64) };
        check("read the checkpoint", return_code)?;
        booster.configure()?;
        Ok(booster)
    }

    /// A model of the trees of some rounds only, such as those up to the best one.
    ///
    /// # Errors
    /// [`XgboostError::Shape`] for an empty range or one beyond the model's rounds.
    pub fn slice(&mut self, rounds: Range<u32>) -> Result<Self, XgboostError> {
        let all = self.rounds()?;
        if rounds.is_empty() || rounds.end > all {
            let Range { start, end } = rounds;
            return Err(XgboostError::Shape(format!("no rounds {start}..{end} in a model of {all}")));
        }
        let (begin, end) = (c_round(rounds.start)?, c_round(rounds.end)?);
        let mut handle = std::ptr::null_mut();
        // SAFETY: a live booster and a valid place for a handle.
        let return_code = unsafe { sys::XGBoosterSlice(self.as_ptr(), begin, end, 1, &raw mut handle) };
        check("slice the model", return_code)?;
        Self::owning(handle)
    }

    /// Rounds trained so far.
    ///
    /// # Errors
    /// [`XgboostError::Library`], for parameters that XGBoost refuses, say, since it looks at them here at the latest.
    pub fn rounds(&mut self) -> Result<u32, XgboostError> {
        let mut rounds: c_int = 0;
        // SAFETY: a live booster and a valid place for the result.
        let return_code = unsafe { sys::XGBoosterBoostedRounds(self.as_ptr(), &raw mut rounds) };
        check("count the rounds", return_code)?;
        Ok(rounds.unsigned_abs())
    }

    /// Features by importance, those that no tree uses left out, in XGBoost's order.
    ///
    /// # Errors
    /// [`XgboostError::Library`], for a booster that was never trained, say.
    pub fn feature_scores(&mut self, importance: Importance) -> Result<Vec<(String, f32)>, XgboostError> {
        let config = c_string(&format!(r#"{{"importance_type":"{}"}}"#, importance.name()))?;
        let (mut names, mut scores, mut shape) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
        let (mut length, mut dimensions) = (0, 0);
        // SAFETY: a live booster, a NUL-terminated text, valid places for the results.
        let return_code = unsafe {
            sys::XGBoosterFeatureScore(
                self.as_ptr(),
                config.as_ptr(),
                &raw mut length,
                &raw mut names,
                &raw mut dimensions,
                &raw mut shape,
                &raw mut scores,
            )
        };
        check("score the features", return_code)?;
        // For trees there are as many scores as features.
        let scores = copy_values(scores, usize::try_from(length).unwrap_or(0));
        Ok(copy_strings(names, length).into_iter().zip(scores).collect())
    }
}

impl Importance {
    /// XGBoost's name.
    fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Gain => "gain",
            Self::Cover => "cover",
            Self::TotalGain => "total_gain",
            Self::TotalCover => "total_cover",
        }
    }
}

/// Copies a buffer that XGBoost owns.
fn copy_bytes(bytes: *const c_char, length: u64) -> Vec<u8> {
    copy_values(bytes.cast::<u8>(), usize::try_from(length).unwrap_or(0))
}

/// Copies an array of strings that XGBoost owns.
fn copy_strings(strings: *mut *const c_char, length: u64) -> Vec<String> {
    let pointers = copy_values(strings.cast_const(), usize::try_from(length).unwrap_or(0));
    pointers.into_iter().map(copy_string).collect()
}
