//! As much of XGBoost's C API as comparing with it takes.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::ptr;

use xgboost_lib_sys as sys;

/// A column-major table of `f32`; categories are their codes.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Vec<f32>>,
    pub(crate) categorical: Vec<bool>,
}

impl Table {
    pub(crate) fn n_rows(&self) -> usize {
        self.columns[0].len()
    }

    pub(crate) fn slices(&self) -> Vec<&[f32]> {
        self.columns.iter().map(Vec::as_slice).collect()
    }
}

fn check(code: i32) {
    // SAFETY: takes nothing.
    let text = unsafe { sys::XGBGetLastError() };
    // SAFETY: the error text is a C string that lives until this thread's next call.
    let text = unsafe { CStr::from_ptr(text) };
    assert_eq!(code, 0, "{}", text.to_string_lossy());
}

fn c_string(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// The columns as XGBoost's list of array interfaces.
fn interface(columns: &[&[f32]]) -> CString {
    let mut json = String::from("[");
    for (index, column) in columns.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let (address, size) = (column.as_ptr() as usize, column.len());
        let array = format!(
            r#"{comma}{{"data":[{address},true],"shape":[{size}],"typestr":"<f4","version":3,"strides":null}}"#
        );
        write!(json, "{array}").unwrap();
    }
    c_string(&(json + "]"))
}

pub(crate) struct Matrix(sys::DMatrixHandle);

impl Matrix {
    pub(crate) fn new(table: &Table, labels: &[f32]) -> Self {
        let mut handle = ptr::null_mut();
        let config = c_string(r#"{"missing":NaN,"nthread":2}"#);
        let columns = interface(&table.slices());
        // SAFETY: both strings and the columns they point to outlive the call, which copies.
        check(unsafe { sys::XGDMatrixCreateFromColumnar(columns.as_ptr(), config.as_ptr(), &mut handle) });
        let label = c_string("label");
        // SAFETY: the pointer and the length are those of `labels`.
        check(unsafe { sys::XGDMatrixSetFloatInfo(handle, label.as_ptr(), labels.as_ptr(), labels.len() as u64) });
        let names = [c_string("q"), c_string("c")];
        let mut types: Vec<_> = table.categorical.iter().map(|is| names[usize::from(*is)].as_ptr()).collect();
        let field = c_string("feature_type");
        let count = types.len() as u64;
        // SAFETY: an array of `count` C strings, which outlive the call.
        check(unsafe { sys::XGDMatrixSetStrFeatureInfo(handle, field.as_ptr(), types.as_mut_ptr(), count) });
        Self(handle)
    }
}

impl Drop for Matrix {
    fn drop(&mut self) {
        // SAFETY: the handle is live and not used again.
        check(unsafe { sys::XGDMatrixFree(self.0) });
    }
}

pub(crate) struct Booster(sys::BoosterHandle);

impl Booster {
    pub(crate) fn train(matrix: &Matrix, parameters: &[(&str, String)], rounds: i32) -> Self {
        let mut handle = ptr::null_mut();
        let matrices = [matrix.0];
        // SAFETY: one live matrix.
        check(unsafe { sys::XGBoosterCreate(matrices.as_ptr(), 1, &mut handle) });
        let booster = Self(handle);
        for (name, value) in parameters {
            booster.set(name, value);
        }
        booster.set("verbosity", "0");
        for round in 0..rounds {
            // SAFETY: both handles are live.
            check(unsafe { sys::XGBoosterUpdateOneIter(booster.0, round, matrix.0) });
        }
        booster
    }

    /// Gives the features names, which models that are averaged must have, and their types.
    pub(crate) fn name_features(&self, table: &Table) {
        let name = |feature: usize| c_string(&format!("f{feature}"));
        let kind = |feature: usize| c_string(["q", "c"][usize::from(table.categorical[feature])]);
        let n_features = table.columns.len();
        let texts = [
            ("feature_name", (0..n_features).map(name).collect()),
            ("feature_type", (0..n_features).map(kind).collect()),
        ];
        for (field, texts) in texts {
            let (field, texts): (CString, Vec<CString>) = (c_string(field), texts);
            let mut pointers: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
            let count = pointers.len() as u64;
            // SAFETY: the handle is live; an array of `count` C strings, which outlive the call.
            check(unsafe { sys::XGBoosterSetStrFeatureInfo(self.0, field.as_ptr(), pointers.as_mut_ptr(), count) });
        }
    }

    pub(crate) fn load(model: &[u8]) -> Self {
        Self::try_load(model).expect("a model that XGBoost reads")
    }

    /// None where XGBoost refuses the model.
    pub(crate) fn try_load(model: &[u8]) -> Option<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: no matrices.
        check(unsafe { sys::XGBoosterCreate(ptr::null(), 0, &mut handle) });
        let booster = Self(handle);
        let size = model.len() as u64;
        // SAFETY: the pointer and the length are those of `model`.
        let code = unsafe { sys::XGBoosterLoadModelFromBuffer(booster.0, model.as_ptr().cast(), size) };
        (code == 0).then_some(booster)
    }

    pub(crate) fn set(&self, name: &str, value: &str) {
        let (name, value) = (c_string(name), c_string(value));
        // SAFETY: the handle is live, the strings outlive the call.
        check(unsafe { sys::XGBoosterSetParam(self.0, name.as_ptr(), value.as_ptr()) });
    }

    pub(crate) fn model(&self) -> Vec<u8> {
        let config = c_string(r#"{"format":"ubj"}"#);
        let (mut size, mut bytes) = (0, ptr::null());
        // SAFETY: the handle is live, the outputs are valid pointers.
        check(unsafe { sys::XGBoosterSaveModelToBuffer(self.0, config.as_ptr(), &mut size, &mut bytes) });
        // SAFETY: XGBoost owns `size` bytes there until the booster's next call.
        unsafe { std::slice::from_raw_parts(bytes.cast(), size as usize) }.to_vec()
    }

    /// XGBoost's in-place prediction; `out` gets a copy of what it returns.
    pub(crate) fn predict(&self, columns: &[&[f32]], out: &mut [f32]) {
        check(self.try_predict(columns, out));
    }

    /// XGBoost's contributions of all features and the base value to every row, row after row.
    pub(crate) fn contributions(&self, matrix: &Matrix) -> Vec<f32> {
        let config =
            c_string(r#"{"type":2,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":false}"#);
        let (mut shape, mut dimensions, mut result) = (ptr::null(), 0, ptr::null());
        // SAFETY: both handles are live, the string outlives the call, the outputs are valid pointers.
        check(unsafe {
            sys::XGBoosterPredictFromDMatrix(
                self.0,
                matrix.0,
                config.as_ptr(),
                &mut shape,
                &mut dimensions,
                &mut result,
            )
        });
        // SAFETY: XGBoost owns as many sizes there as there are dimensions, until this thread's next prediction.
        let shape = unsafe { std::slice::from_raw_parts(shape, dimensions as usize) };
        let size = shape.iter().product::<u64>() as usize;
        // SAFETY: as many values as the sizes say, owned likewise.
        unsafe { std::slice::from_raw_parts(result, size) }.to_vec()
    }

    /// The same as [`Booster::predict`]; another code than 0 where XGBoost refuses.
    pub(crate) fn try_predict(&self, columns: &[&[f32]], out: &mut [f32]) -> i32 {
        let columns = interface(columns);
        let config = c_string(
            r#"{"type":0,"missing":NaN,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":false}"#,
        );
        let (mut shape, mut dimensions, mut result) = (ptr::null(), 0, ptr::null());
        // SAFETY: the strings and the columns they point to outlive the call, the outputs are valid pointers.
        let code = unsafe {
            sys::XGBoosterPredictFromColumnar(
                self.0,
                columns.as_ptr(),
                config.as_ptr(),
                ptr::null_mut(),
                &mut shape,
                &mut dimensions,
                &mut result,
            )
        };
        if code == 0 {
            // SAFETY: one value per row, owned by XGBoost until this thread's next prediction.
            out.copy_from_slice(unsafe { std::slice::from_raw_parts(result, out.len()) });
        }
        code
    }
}

impl Drop for Booster {
    fn drop(&mut self) {
        // SAFETY: the handle is live and not used again.
        check(unsafe { sys::XGBoosterFree(self.0) });
    }
}
