//! Matrices: the rows that XGBoost trains on, evaluates and predicts.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::path::Path;
use std::ptr::NonNull;

use xgboost_lib_sys as sys;

use super::columns::{Batch, columnar_json};
use super::error::{XgboostError, c_string, check};
use super::feed::{Feed, Proxy, next_callback, no_handle, no_rows, reset_callback, set_features, set_row_info};
use super::log::listen;
use super::source::{BatchSource, Feature};
use error::Result;

/// How a quantile matrix is built.
#[derive(Debug, Clone, Copy)]
pub struct QuantileOptions<'a> {
    /// The most bins of a feature, at least 2; must be the booster's `max_bin`, see [`Params::max_bin`](super::Params::max_bin).
    pub max_bin: u32,
    /// Threads, at least 1.
    pub threads: usize,
    /// For validation rows: the training matrix, whose bins are used.
    pub reference: Option<&'a DMatrix>,
}

/// A matrix of XGBoost's. It owns its data: nothing of the caller's is borrowed once it is built.
#[derive(Debug)]
pub struct DMatrix {
    handle: NonNull<c_void>,
    features: Vec<Feature>,
    rows: usize,
    /// External memory keeps a pointer to the proxy it was fed through; nothing else looks at it.
    proxy: Option<Proxy>,
}

// SAFETY: a matrix is a heap object behind a `shared_ptr`, without ties to the thread that made it (XGBoost's Python
// package hands them between threads). It is not `Sync`: pages are built on first use, without a lock.
unsafe impl Send for DMatrix {}

impl DMatrix {
    /// A plain matrix, which copies the columns. Tree methods `approx` and `exact` need it, and it predicts with raw
    /// values; for `hist` a quantile matrix takes a fraction of its memory.
    ///
    /// # Errors
    /// [`XgboostError::Shape`] when columns, labels, weights and features do not fit each other or there is no row;
    /// [`XgboostError::Library`] for what XGBoost refuses (infinite values, say).
    pub fn plain(features: &[Feature], batch: &Batch<'_>, threads: usize) -> Result<Self, XgboostError> {
        listen();
        if batch.checked_rows(features.len())? == 0 {
            return Err(no_rows());
        }
        let columns = c_string(&columnar_json(&batch.columns))?;
        let config = c_string(&format!(r#"{{"missing":NaN,"nthread":{threads}}}"#))?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: two NUL-terminated texts and a valid place for a handle; the columns stand for the time of the call,
        // which copies them.
        let return_code =
            unsafe { sys::XGDMatrixCreateFromColumnar(columns.as_ptr(), config.as_ptr(), &raw mut handle) };
        check("build the matrix", return_code)?;
        let handle = NonNull::new(handle).ok_or_else(|| no_handle("build the matrix"))?;
        let mut matrix = Self::owning(handle, features);
        set_row_info(matrix.as_ptr(), batch)?;
        set_features(matrix.as_ptr(), features)?;
        matrix.count_rows()?;
        Ok(matrix)
    }

    /// A quantile matrix for `tree_method` `hist`, binned straight from the columns, without a copy of them.
    ///
    /// # Errors
    /// As [`DMatrix::plain`].
    pub fn quantile(
        features: &[Feature],
        batch: &Batch<'_>,
        options: &QuantileOptions<'_>,
    ) -> Result<Self, XgboostError> {
        Self::quantile_from(features, &mut Whole { batch, given: false }, options)
    }

    /// A quantile matrix from batches, so that the columns need not be in memory at once.
    ///
    /// # Errors
    /// As [`DMatrix::plain`]; [`XgboostError::Source`] with the source's own error.
    pub fn quantile_from(
        features: &[Feature],
        source: &mut dyn BatchSource,
        options: &QuantileOptions<'_>,
    ) -> Result<Self, XgboostError> {
        let config = format!(r#"{{"missing":NaN,"nthread":{},"max_bin":{}}}"#, options.threads, options.max_bin);
        build(sys::XGQuantileDMatrixCreateFromCallback, "build the quantile matrix", features, source, options, &config)
    }

    /// A quantile matrix whose bins lie in files `<cache>-….page`, removed with the matrix: for rows that do not fit
    /// into memory. The folder of `cache` must exist and the prefix must be this matrix's alone.
    ///
    /// # Errors
    /// As [`DMatrix::quantile_from`]; [`XgboostError::Library`] when the files cannot be written.
    pub fn external(
        features: &[Feature],
        source: &mut dyn BatchSource,
        options: &QuantileOptions<'_>,
        cache: &Path,
    ) -> Result<Self, XgboostError> {
        let prefix = cache.to_str().ok_or_else(|| XgboostError::Shape(format!("{} is not UTF-8", cache.display())))?;
        let prefix = serde_json::Value::from(prefix);
        let config = format!(
            r#"{{"missing":NaN,"nthread":{},"max_bin":{},"cache_prefix":{prefix},"on_host":false}}"#,
            options.threads, options.max_bin
        );
        let create = sys::XGExtMemQuantileDMatrixCreateFromCallback;
        build(create, "build the external-memory matrix", features, source, options, &config)
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, in order.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Takes over a handle that XGBoost has just made.
    fn owning(handle: NonNull<c_void>, features: &[Feature]) -> Self {
        Self { handle, features: features.to_vec(), rows: 0, proxy: None }
    }

    /// Asks XGBoost for the number of rows.
    fn count_rows(&mut self) -> Result<(), XgboostError> {
        let mut rows = 0;
        // SAFETY: a live matrix and a valid place for the result.
        let return_code = unsafe { sys::XGDMatrixNumRow(self.as_ptr(), &raw mut rows) };
        check("count the rows", return_code)?;
        self.rows = usize::try_from(rows).unwrap_or(usize::MAX);
        Ok(())
    }

    /// The raw handle, for as long as `self` stands.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.handle.as_ptr()
    }
}

impl Drop for DMatrix {
    fn drop(&mut self) {
        // SAFETY: made by one of XGBoost's constructors, freed once.
        let return_code = unsafe { sys::XGDMatrixFree(self.handle.as_ptr()) };
        if let Err(error) = check("free a matrix", return_code) {
            tracing::debug!("{error}");
        }
    }
}

/// The common type of XGBoost's two constructors from callbacks.
type Create = unsafe extern "C" fn(
    sys::DataIterHandle,
    sys::DMatrixHandle,
    sys::DataIterHandle,
    sys::DataIterResetCallback,
    sys::XGDMatrixCallbackNext,
    *const std::ffi::c_char,
    *mut sys::DMatrixHandle,
) -> std::ffi::c_int;

/// Feeds a source through a proxy into one of XGBoost's constructors.
fn build(
    create: Create,
    doing: &'static str,
    features: &[Feature],
    source: &mut dyn BatchSource,
    options: &QuantileOptions<'_>,
    config: &str,
) -> Result<DMatrix, XgboostError> {
    listen();
    let config = c_string(config)?;
    let reference = options.reference.map_or(std::ptr::null_mut(), DMatrix::as_ptr);
    let proxy = Proxy::new()?;
    let mut feed = Feed::new(source, features, &proxy);
    let mut handle = std::ptr::null_mut();
    // SAFETY: the feed, the proxy, the reference and the text outlive the call; the callbacks take the feed they are
    // given, on this thread; XGBoost releases the iterator before it returns and keeps its own share of the reference.
    let return_code = unsafe {
        create(
            (&raw mut feed).cast(),
            proxy.as_ptr(),
            reference,
            Some(reset_callback),
            Some(next_callback),
            config.as_ptr(),
            &raw mut handle,
        )
    };
    // Owned before the outcome is looked at: XGBoost may have built a matrix from a source that failed half-way.
    let matrix = NonNull::new(handle).map(|handle| DMatrix::owning(handle, features));
    feed.outcome(doing, return_code)?;
    let mut matrix = matrix.ok_or_else(|| no_handle(doing))?;
    matrix.proxy = Some(proxy);
    matrix.count_rows()?;
    Ok(matrix)
}

/// One batch as a source.
struct Whole<'a> {
    batch: &'a Batch<'a>,
    given: bool,
}

impl BatchSource for Whole<'_> {
    fn rewind(&mut self) -> Result<()> {
        self.given = false;
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<Batch<'_>>> {
        let first = !std::mem::replace(&mut self.given, true);
        Ok(first.then(|| self.batch.clone()))
    }
}
