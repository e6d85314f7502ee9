//! Boosters: training, evaluation and prediction. What concerns a finished model is in [`super::model`].
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_void};
use std::ops::Range;
use std::ptr::NonNull;

use xgboost_lib_sys as sys;

use super::columns::{Column, checked_rows, columnar_json};
use super::dmatrix::DMatrix;
use super::error::{XgboostError, c_string, check, copy_string, copy_values};
use super::feed::{feature_texts, no_handle};
use super::log::listen;
use super::source::Feature;

/// A model in training or in use.
#[derive(Debug)]
pub struct Booster {
    handle: NonNull<c_void>,
}

// SAFETY: a booster is a heap object without ties to the thread that made it; its result buffers are per thread.
unsafe impl Send for Booster {}

// SAFETY: `&self` only ever predicts, and "all prediction functions […] are thread safe when underlying booster is gbtree
// or dart" (XGBoost 3.4 documentation, Prediction, Thread Safety); other boosters are refused by `Params`. Everything
// else takes `&mut self`, since "the safety is only guaranteed with prediction".
unsafe impl Sync for Booster {}

/// One metric of one matrix after a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The name that the caller gave the matrix.
    pub matrix: String,
    /// XGBoost's name of the metric, such as `rmse`.
    pub metric: String,
    /// Its value; NaN or infinite where XGBoost computes that.
    pub value: f64,
}

/// What a prediction consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionKind {
    /// The prediction, one per row.
    Value,
    /// The sum of base score and leaves before the objective's link, one per row.
    Margin,
    /// SHAP values of the margin, row by row: one per feature and, last, the bias.
    Contributions,
}

impl Booster {
    /// A booster for these parameters, of which `matrices[0]` gives the feature names and types.
    ///
    /// Parameters go to XGBoost as they are; validate a user's with [`Params`](super::Params) and try them with
    /// [`dry_run`](super::dry_run) first.
    ///
    /// # Errors
    /// [`XgboostError::Shape`] without a matrix or with matrices of different features; [`XgboostError::Library`].
    pub fn new(params: &[(String, String)], matrices: &[&DMatrix]) -> Result<Self, XgboostError> {
        let features = common_features(matrices)?;
        let mut booster = Self::create(matrices)?;
        for (name, value) in params {
            booster.set_param(name, value)?;
        }
        booster.set_features(features)?;
        Ok(booster)
    }

    /// Trains one round. `round` counts from 0; a run that continues goes on counting.
    ///
    /// # Errors
    /// [`XgboostError::Library`] for what XGBoost refuses, such as a matrix of other columns.
    pub fn update(&mut self, round: u32, matrix: &DMatrix) -> Result<(), XgboostError> {
        listen();
        let round = c_round(round)?;
        // SAFETY: two live handles; `&mut self` keeps everybody else out of the booster.
        let return_code = unsafe { sys::XGBoosterUpdateOneIter(self.as_ptr(), round, matrix.as_ptr()) };
        check("train a round", return_code)
    }

    /// The metrics of each matrix, in the order of the matrices, and for each in the order of the metrics.
    ///
    /// # Errors
    /// [`XgboostError::Library`] for what XGBoost refuses; [`XgboostError::Shape`] if its report cannot be read.
    pub fn evaluate(&mut self, round: u32, matrices: &[(&DMatrix, &str)]) -> Result<Vec<Evaluation>, XgboostError> {
        listen();
        let round = c_round(round)?;
        let mut handles: Vec<_> = matrices.iter().map(|(matrix, _)| matrix.as_ptr()).collect();
        let names: Vec<CString> = matrices.iter().map(|(_, name)| c_string(name)).collect::<Result<_, _>>()?;
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let mut report = std::ptr::null();
        // SAFETY: live handles and as many NUL-terminated names as the length says; a valid place for the result.
        let return_code = unsafe {
            sys::XGBoosterEvalOneIter(
                self.as_ptr(),
                round,
                handles.as_mut_ptr(),
                pointers.as_mut_ptr(),
                handles.len() as u64,
                &raw mut report,
            )
        };
        check("evaluate", return_code)?;
        let names: Vec<&str> = matrices.iter().map(|(_, name)| *name).collect();
        parse_report(&copy_string(report), &names)
    }

    /// Threads that training and prediction of this booster use.
    ///
    /// # Errors
    /// [`XgboostError::Library`].
    pub fn set_threads(&mut self, threads: usize) -> Result<(), XgboostError> {
        self.set_param("nthread", &threads.to_string())?;
        self.configure()
    }

    /// Predicts the columns in place, without a matrix, by the trees of `rounds` (`0..0`: all). NaN is missing.
    ///
    /// The columns stand in the order of the model's features. Threads are those of [`Booster::set_threads`]; several
    /// threads may predict with one booster at once. XGBoost keeps one buffer of results per thread and booster.
    ///
    /// # Errors
    /// [`XgboostError::Shape`] when the columns do not fit each other; [`XgboostError::Library`] when there are not as
    /// many as the model has features or the rounds do not exist.
    pub fn predict_columns(&self, columns: &[Column<'_>], rounds: Range<u32>) -> Result<Vec<f32>, XgboostError> {
        if checked_rows(columns)? == 0 {
            return Ok(Vec::new());
        }
        listen();
        let columns = c_string(&columnar_json(columns))?;
        let config = predict_config(PredictionKind::Value, &rounds)?;
        let mut output = Output::default();
        // SAFETY: a live booster, NUL-terminated texts, valid places for the results; the columns stand for the call.
        let return_code = unsafe {
            sys::XGBoosterPredictFromColumnar(
                self.as_ptr(),
                columns.as_ptr(),
                config.as_ptr(),
                std::ptr::null_mut(),
                &raw mut output.shape,
                &raw mut output.dimensions,
                &raw mut output.values,
            )
        };
        check("predict", return_code)?;
        Ok(output.copy())
    }

    /// Predicts a matrix by the trees of `rounds` (`0..0`: all). With a quantile matrix the values are those of its
    /// bins, which lie on the same side of every threshold of a model trained on the same bins.
    ///
    /// # Errors
    /// [`XgboostError::Library`] for what XGBoost refuses.
    pub fn predict_matrix(
        &self,
        matrix: &DMatrix,
        kind: PredictionKind,
        rounds: Range<u32>,
    ) -> Result<Vec<f32>, XgboostError> {
        listen();
        let config = predict_config(kind, &rounds)?;
        let mut output = Output::default();
        // SAFETY: two live handles, a NUL-terminated text, valid places for the results.
        let return_code = unsafe {
            sys::XGBoosterPredictFromDMatrix(
                self.as_ptr(),
                matrix.as_ptr(),
                config.as_ptr(),
                &raw mut output.shape,
                &raw mut output.dimensions,
                &raw mut output.values,
            )
        };
        check("predict", return_code)?;
        Ok(output.copy())
    }

    /// A booster without parameters, which knows the matrices.
    pub(super) fn create(matrices: &[&DMatrix]) -> Result<Self, XgboostError> {
        listen();
        let handles: Vec<_> = matrices.iter().map(|matrix| matrix.as_ptr()).collect();
        let mut handle = std::ptr::null_mut();
        // SAFETY: as many live handles as the length says (XGBoost keeps weak references); a valid place for the result.
        let return_code = unsafe { sys::XGBoosterCreate(handles.as_ptr(), handles.len() as u64, &raw mut handle) };
        check("create a booster", return_code)?;
        Self::owning(handle)
    }

    /// Takes over a handle that XGBoost has just made.
    pub(super) fn owning(handle: *mut c_void) -> Result<Self, XgboostError> {
        let handle = NonNull::new(handle).ok_or_else(|| no_handle("create a booster"))?;
        Ok(Self { handle })
    }

    /// The raw handle, for as long as `self` stands.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.handle.as_ptr()
    }

    /// Makes parameters take effect now, so that the first prediction only reads.
    pub(super) fn configure(&mut self) -> Result<(), XgboostError> {
        self.rounds().map(drop)
    }

    /// Sets one parameter; XGBoost looks at its value when it is next used.
    fn set_param(&mut self, name: &str, value: &str) -> Result<(), XgboostError> {
        let (name, value) = (c_string(name)?, c_string(value)?);
        // SAFETY: a live booster and two NUL-terminated texts, which XGBoost copies.
        let return_code = unsafe { sys::XGBoosterSetParam(self.as_ptr(), name.as_ptr(), value.as_ptr()) };
        check("set a parameter", return_code)
    }

    /// Names and types of the features, which the model file carries.
    fn set_features(&mut self, features: &[Feature]) -> Result<(), XgboostError> {
        let (names, types) = feature_texts(features)?;
        for (field, texts) in [(c"feature_name", names), (c"feature_type", types)] {
            let mut pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
            // SAFETY: a live booster, as many NUL-terminated texts as the length says; XGBoost copies them.
            let return_code = unsafe {
                sys::XGBoosterSetStrFeatureInfo(
                    self.as_ptr(),
                    field.as_ptr(),
                    pointers.as_mut_ptr(),
                    pointers.len() as u64,
                )
            };
            check("set the feature names and types", return_code)?;
        }
        Ok(())
    }
}

impl Drop for Booster {
    fn drop(&mut self) {
        // SAFETY: made by one of XGBoost's constructors, freed once.
        let return_code = unsafe { sys::XGBoosterFree(self.handle.as_ptr()) };
        if let Err(error) = check("free a booster", return_code) {
            tracing::debug!("{error}");
        }
    }
}

/// Where XGBoost leaves a prediction.
struct Output {
    shape: *const u64,
    dimensions: u64,
    values: *const f32,
}

impl Default for Output {
    fn default() -> Self {
        Self { shape: std::ptr::null(), dimensions: 0, values: std::ptr::null() }
    }
}

impl Output {
    /// Copies the values, as many as the shape says, before the next call on this thread overwrites them.
    fn copy(&self) -> Vec<f32> {
        let shape = copy_values(self.shape, usize::try_from(self.dimensions).unwrap_or(0));
        let length = shape.iter().product::<u64>();
        copy_values(self.values, usize::try_from(length).unwrap_or(0))
    }
}

/// The features that all matrices share.
fn common_features<'a>(matrices: &[&'a DMatrix]) -> Result<&'a [Feature], XgboostError> {
    let Some((first, rest)) = matrices.split_first() else {
        return Err(XgboostError::Shape("a booster needs a matrix to take its features from".to_owned()));
    };
    if rest.iter().any(|matrix| matrix.features() != first.features()) {
        return Err(XgboostError::Shape("the matrices of a booster have different features".to_owned()));
    }
    Ok(first.features())
}

/// A number of rounds as C has it.
pub(super) fn c_round(round: u32) -> Result<i32, XgboostError> {
    i32::try_from(round).map_err(|_| XgboostError::Shape(format!("round {round} is beyond XGBoost's range")))
}

/// XGBoost's configuration of a prediction.
fn predict_config(kind: PredictionKind, rounds: &Range<u32>) -> Result<CString, XgboostError> {
    let kind = match kind {
        PredictionKind::Value => 0,
        PredictionKind::Margin => 1,
        PredictionKind::Contributions => 2,
    };
    c_string(&format!(
        r#"{{"type":{kind},"training":false,"iteration_begin":{},"iteration_end":{},"strict_shape":false,"missing":NaN}}"#,
        rounds.start, rounds.end
    ))
}

/// Reads `[3]\ttrain-rmse:0.5\tvalid-rmse:0.6`. The names come from the caller, since a metric may hold a hyphen too.
fn parse_report(report: &str, names: &[&str]) -> Result<Vec<Evaluation>, XgboostError> {
    let unreadable = || XgboostError::Shape(format!("XGBoost's evaluation {report:?} cannot be read"));
    let entries: Vec<&str> = report.split('\t').skip(1).collect();
    if names.is_empty() || !entries.len().is_multiple_of(names.len()) {
        return Err(unreadable());
    }
    let metrics = entries.len() / names.len();
    let parse = |(index, entry): (usize, &&str)| {
        let matrix = names.get(index.checked_div(metrics)?)?;
        let (metric, value) = entry.strip_prefix(matrix)?.strip_prefix('-')?.rsplit_once(':')?;
        let value = value.trim().parse().ok()?;
        Some(Evaluation { matrix: (*matrix).to_owned(), metric: metric.to_owned(), value })
    };
    entries.iter().enumerate().map(|entry| parse(entry).ok_or_else(unreadable)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_with_hyphens_in_names_and_metrics() {
        let report = "[3]\ta-b-poisson-nloglik:1.5\ta-b-rmse:nan\tc-poisson-nloglik:-2\tc-rmse:inf";
        let read = parse_report(report, &["a-b", "c"]).unwrap();
        let texts: Vec<String> =
            read.iter().map(|one| format!("{} {} {}", one.matrix, one.metric, one.value)).collect();
        assert_eq!(texts, ["a-b poisson-nloglik 1.5", "a-b rmse NaN", "c poisson-nloglik -2", "c rmse inf"]);
        assert!(parse_report("[0]\tx-rmse:oops", &["x"]).is_err());
        assert!(parse_report("[0]\ty-rmse:1", &["x"]).is_err());
        assert!(parse_report("[0]\tx-rmse:1", &["x", "y"]).is_err());
        assert!(parse_report("[0]", &["x"]).unwrap().is_empty());
    }
}
