//! Columns as XGBoost reads them in place: JSON descriptions (array interfaces) of memory that stays the caller's.

use std::fmt::Write as _;

use super::error::XgboostError;

/// The values of one column, one per row. XGBoost converts to `f32` while it reads; NaN is missing.
///
/// A category is its code, from 0, in any of these types; XGBoost holds codes as `f32`, so they stay below 2^24.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values<'a> {
    /// 32-bit floats, XGBoost's own type.
    F32(&'a [f32]),
    /// 64-bit floats.
    F64(&'a [f64]),
    /// Signed bytes.
    I8(&'a [i8]),
    /// Signed 16-bit integers.
    I16(&'a [i16]),
    /// Signed 32-bit integers.
    I32(&'a [i32]),
    /// Signed 64-bit integers.
    I64(&'a [i64]),
    /// Unsigned bytes.
    U8(&'a [u8]),
    /// Unsigned 16-bit integers.
    U16(&'a [u16]),
    /// Unsigned 32-bit integers.
    U32(&'a [u32]),
    /// Unsigned 64-bit integers.
    U64(&'a [u64]),
}

/// One column: its values and, where not every row has one, which rows do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column<'a> {
    /// One value per row.
    pub values: Values<'a>,
    /// Arrow's validity bitmap from bit 0 on (least significant bit first): bit `i` is 1 where row `i` has a value. At
    /// least `ceil(rows / 8)` bytes.
    pub validity: Option<&'a [u8]>,
}

/// Rows for a matrix: all columns of the same length, and what belongs to each row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch<'a> {
    /// One column per feature, in the order of the features.
    pub columns: Vec<Column<'a>>,
    /// The target of each row; training and evaluation need it.
    pub labels: Option<&'a [f32]>,
    /// The weight of each row, 0 or more; 1 for all when not given.
    pub weights: Option<&'a [f32]>,
}

/// Conversions from slices without a bitmap, one per type.
macro_rules! column_from_slice {
    ($($native:ty => $variant:ident),*) => {$(
        impl<'a> From<&'a [$native]> for Column<'a> {
            fn from(values: &'a [$native]) -> Self {
                Self { values: Values::$variant(values), validity: None }
            }
        }
    )*};
}

column_from_slice!(f32 => F32, f64 => F64, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16, u32 => U32, u64 => U64);

impl Values<'_> {
    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.describe().2
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Address, NumPy's type string and length.
    fn describe(&self) -> (usize, &'static str, usize) {
        match self {
            Self::F32(values) => (values.as_ptr().expose_provenance(), "<f4", values.len()),
            Self::F64(values) => (values.as_ptr().expose_provenance(), "<f8", values.len()),
            Self::I8(values) => (values.as_ptr().expose_provenance(), "<i1", values.len()),
            Self::I16(values) => (values.as_ptr().expose_provenance(), "<i2", values.len()),
            Self::I32(values) => (values.as_ptr().expose_provenance(), "<i4", values.len()),
            Self::I64(values) => (values.as_ptr().expose_provenance(), "<i8", values.len()),
            Self::U8(values) => (values.as_ptr().expose_provenance(), "<u1", values.len()),
            Self::U16(values) => (values.as_ptr().expose_provenance(), "<u2", values.len()),
            Self::U32(values) => (values.as_ptr().expose_provenance(), "<u4", values.len()),
            Self::U64(values) => (values.as_ptr().expose_provenance(), "<u8", values.len()),
        }
    }
}

impl Batch<'_> {
    /// Rows of the batch, after a check that everything in it has as many.
    ///
    /// # Errors
    /// [`XgboostError::Shape`] names the column, the labels or the weights that do not fit.
    pub(super) fn checked_rows(&self, features: usize) -> Result<usize, XgboostError> {
        if self.columns.len() != features {
            return Err(XgboostError::Shape(format!("{} columns for {features} features", self.columns.len())));
        }
        let rows = checked_rows(&self.columns)?;
        let attached = [("labels", self.labels), ("weights", self.weights)];
        let misfit = attached
            .iter()
            .find_map(|(name, values)| values.filter(|values| values.len() != rows).map(|values| (name, values.len())));
        match misfit {
            Some((name, length)) => Err(XgboostError::Shape(format!("{length} {name} for {rows} rows"))),
            None => Ok(rows),
        }
    }
}

/// Rows that all columns have.
pub(super) fn checked_rows(columns: &[Column<'_>]) -> Result<usize, XgboostError> {
    let rows = columns.first().map_or(0, |column| column.values.len());
    for (index, column) in columns.iter().enumerate() {
        let length = column.values.len();
        if length != rows {
            return Err(XgboostError::Shape(format!("column {index} has {length} rows, column 0 has {rows}")));
        }
        if column.validity.is_some_and(|bitmap| bitmap.len() < rows.div_ceil(8)) {
            return Err(XgboostError::Shape(format!(
                "the validity bitmap of column {index} is shorter than {rows} bits"
            )));
        }
    }
    Ok(rows)
}

/// All columns as the JSON list that XGBoost's columnar calls read. The memory must outlive XGBoost's use of the list.
pub(super) fn columnar_json(columns: &[Column<'_>]) -> String {
    let mut json = String::with_capacity(128 * columns.len() + 2);
    json.push('[');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        push_interface(&mut json, *column);
    }
    json.push(']');
    json
}

/// One vector of floats (labels, weights) as an array interface.
pub(super) fn vector_json(values: &[f32]) -> String {
    let mut json = String::with_capacity(96);
    push_interface(&mut json, values.into());
    json
}

/// Appends one array interface, <https://numpy.org/doc/stable/reference/arrays.interface.html>.
fn push_interface(json: &mut String, column: Column<'_>) {
    let (address, kind, length) = column.values.describe();
    // Writing to a String cannot fail.
    let _ =
        write!(json, r#"{{"data":[{address},true],"typestr":"{kind}","version":3,"strides":null,"shape":[{length}]"#);
    if let Some(bitmap) = column.validity {
        let mask = bitmap.as_ptr().expose_provenance();
        let _ = write!(
            json,
            r#","mask":{{"data":[{mask},true],"typestr":"<t1","version":3,"strides":null,"shape":[{length}]}}"#
        );
    }
    json.push('}');
}
