//! The bridge between a [`BatchSource`] and XGBoost's data iterator callbacks.
#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;

use xgboost_lib_sys as sys;

use super::columns::{Batch, columnar_json, vector_json};
use super::error::{XgboostError, c_string, check};
use super::source::{BatchSource, Feature};

/// XGBoost's stand-in for a batch: it only refers to the batch's memory.
#[derive(Debug)]
pub(super) struct Proxy {
    handle: NonNull<c_void>,
}

// SAFETY: a proxy is a heap object without ties to a thread; it is used through `&mut Feed` or not at all.
unsafe impl Send for Proxy {}

impl Proxy {
    /// An empty proxy.
    pub(super) fn new() -> Result<Self, XgboostError> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: a valid place for one handle.
        let return_code = unsafe { sys::XGProxyDMatrixCreate(&raw mut handle) };
        check("create a proxy matrix", return_code)?;
        let handle = NonNull::new(handle).ok_or_else(|| no_handle("create a proxy matrix"))?;
        Ok(Self { handle })
    }

    /// The raw handle, for as long as `self` stands.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.handle.as_ptr()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // SAFETY: made by XGProxyDMatrixCreate, freed once.
        unsafe { sys::XGDMatrixFree(self.handle.as_ptr()) };
    }
}

/// XGBoost reported success and gave nothing.
pub(super) fn no_handle(doing: &'static str) -> XgboostError {
    XgboostError::Library { doing, message: "it returned no handle".to_owned() }
}

/// XGBoost would only warn about an empty matrix, and train on it.
pub(super) fn no_rows() -> XgboostError {
    XgboostError::Shape("a matrix needs at least one row".to_owned())
}

/// What ended a feed before its source did.
enum Failure {
    Error(XgboostError),
    Panic(Box<dyn Any + Send>),
}

/// The state behind XGBoost's callbacks, for the time of one construction.
pub(super) struct Feed<'a> {
    source: &'a mut dyn BatchSource,
    features: &'a [Feature],
    proxy: &'a Proxy,
    failure: Option<Failure>,
    is_empty: bool,
}

impl<'a> Feed<'a> {
    /// A feed of `source` through `proxy`.
    pub(super) fn new(source: &'a mut dyn BatchSource, features: &'a [Feature], proxy: &'a Proxy) -> Self {
        Self { source, features, proxy, failure: None, is_empty: true }
    }

    /// The outcome of a construction: the feed's own failure goes before XGBoost's, which it caused.
    pub(super) fn outcome(&mut self, doing: &'static str, return_code: c_int) -> Result<(), XgboostError> {
        let checked = check(doing, return_code);
        match self.failure.take() {
            Some(Failure::Panic(payload)) => resume_unwind(payload),
            Some(Failure::Error(error)) => Err(error),
            None if self.is_empty => Err(no_rows()),
            None => checked,
        }
    }

    /// Starts a pass.
    fn rewind(&mut self) -> Result<bool, XgboostError> {
        self.source.rewind().map_err(XgboostError::Source)?;
        Ok(true)
    }

    /// Hands the next batch that has rows to the proxy; false at the end.
    fn advance(&mut self) -> Result<bool, XgboostError> {
        while let Some(batch) = self.source.next_batch().map_err(XgboostError::Source)? {
            if batch.checked_rows(self.features.len())? > 0 {
                self.is_empty = false;
                set_batch(self.proxy, &batch)?;
                set_features(self.proxy.as_ptr(), self.features)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs one step so that neither an error nor a panic crosses into C++: they are kept, and the pass ends.
    fn step(&mut self, work: impl FnOnce(&mut Self) -> Result<bool, XgboostError>) -> c_int {
        if self.failure.is_some() {
            return 0;
        }
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(Ok(more)) => c_int::from(more),
            Ok(Err(error)) => {
                self.failure = Some(Failure::Error(error));
                0
            }
            Err(payload) => {
                self.failure = Some(Failure::Panic(payload));
                0
            }
        }
    }
}

/// XGBoost's `DataIterResetCallback`.
pub(super) extern "C" fn reset_callback(feed: *mut c_void) {
    // SAFETY: the pointer is the `Feed` that the constructing call was given; that call is under way, holds no other
    // reference to it, and calls back on its own thread, one call at a time.
    let feed = unsafe { &mut *feed.cast::<Feed<'_>>() };
    feed.step(Feed::rewind);
}

/// XGBoost's `XGDMatrixCallbackNext`: 1 with a batch in the proxy, 0 at the end.
pub(super) extern "C" fn next_callback(feed: *mut c_void) -> c_int {
    // SAFETY: as in `reset_callback`.
    let feed = unsafe { &mut *feed.cast::<Feed<'_>>() };
    feed.step(Feed::advance)
}

/// Lets the proxy refer to a batch. The batch's memory stands until the source is asked again: the source is borrowed
/// exclusively by the feed, and XGBoost is done with a batch when it asks for the next.
fn set_batch(proxy: &Proxy, batch: &Batch<'_>) -> Result<(), XgboostError> {
    let columns = c_string(&columnar_json(&batch.columns))?;
    // SAFETY: a live proxy and a NUL-terminated text; the memory it names stands until the next batch is asked for.
    let return_code = unsafe { sys::XGProxyDMatrixSetDataColumnar(proxy.as_ptr(), columns.as_ptr()) };
    check("read the columns", return_code)?;
    set_row_info(proxy.as_ptr(), batch)
}

/// Sets labels and weights, which XGBoost copies, on a matrix or proxy.
pub(super) fn set_row_info(matrix: *mut c_void, batch: &Batch<'_>) -> Result<(), XgboostError> {
    for (field, values) in [(c"label", batch.labels), (c"weight", batch.weights)] {
        let Some(values) = values else { continue };
        let json = c_string(&vector_json(values))?;
        // SAFETY: a live matrix, two NUL-terminated texts; the values stand for the time of the call, which copies them.
        let return_code = unsafe { sys::XGDMatrixSetInfoFromInterface(matrix, field.as_ptr(), json.as_ptr()) };
        check("set labels and weights", return_code)?;
    }
    Ok(())
}

/// Sets names and types, which XGBoost copies, on a matrix or proxy.
pub(super) fn set_features(matrix: *mut c_void, features: &[Feature]) -> Result<(), XgboostError> {
    let (names, types) = feature_texts(features)?;
    for (field, texts) in [(c"feature_name", names), (c"feature_type", types)] {
        let mut pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        // SAFETY: a live matrix, as many NUL-terminated texts as the length says; XGBoost copies them.
        let return_code = unsafe {
            sys::XGDMatrixSetStrFeatureInfo(matrix, field.as_ptr(), pointers.as_mut_ptr(), pointers.len() as u64)
        };
        check("set the feature names and types", return_code)?;
    }
    Ok(())
}

/// Names and XGBoost's type letters as C strings.
pub(super) fn feature_texts(features: &[Feature]) -> Result<(Vec<CString>, Vec<CString>), XgboostError> {
    let names = features.iter().map(|feature| c_string(&feature.name)).collect::<Result<_, _>>()?;
    let types = features.iter().map(|feature| c_string(feature.kind.letter())).collect::<Result<_, _>>()?;
    Ok((names, types))
}
