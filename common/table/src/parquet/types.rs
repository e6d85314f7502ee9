//! What the columns of a Parquet object hold: from its own schema, which every writer leaves, and from the Arrow schema beside it
//! only what Parquet cannot say (a zone's name, durations).
//!
//! The Arrow schema is a hint of a writer to itself, and often another one than the bytes: pyarrow writes seconds as
//! milliseconds but says seconds there. What it says beyond Parquet is believed, and nothing else.

use std::panic::catch_unwind;

use half::f16;
use polars::prelude::{ArrowField, DataType, Series, TimeZone};
use polars_arrow::array::{
    Array, BinaryViewArray, FixedSizeBinaryArray, Float32Array, MutableBinaryViewArray, PrimitiveArray, Utf8ViewArray,
};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, TimeUnit};
use polars_parquet::parquet::schema::types::{
    ParquetType, PhysicalType, PrimitiveConvertedType, PrimitiveLogicalType, PrimitiveType,
};
use polars_parquet::read::FileMetadata;
use polars_parquet::read::schema::{
    SchemaInferenceOptions, parquet_to_arrow_schema_with_options, read_custom_key_value_metadata,
    read_schema_from_metadata,
};

use columns::types::DECIMAL_DIGITS;

/// Bytes of a UUID.
const UUID_BYTES: usize = 16;

/// One column of an object and how its values come out of the bytes.
#[derive(Debug, Clone)]
pub(super) struct ParquetColumn {
    /// What polars' decoder is asked for.
    pub(super) field: ArrowField,
    /// What becomes of that.
    decoding: Decoding,
    /// The type of the values.
    pub(super) dtype: DataType,
}

/// How the values of a column come out of what polars' decoder makes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decoding {
    /// They are what was decoded.
    AsDecoded,
    /// Bytes without a logical type: text where they are UTF-8, as Impala and older versions of Spark write it.
    BytesAsText,
    /// 16 bytes, as the text that people know a UUID by.
    Uuid,
    /// 16-bit floats, as floats of 32 bits.
    Half,
    /// Decimals in more bytes than 128 bits, with so many digits behind the point.
    WideDecimal { scale: usize },
    /// Decoded or not, nothing here can serve.
    Unsupported,
}

/// The columns that a footer declares, in its order.
pub(super) fn columns_of(metadata: &FileMetadata) -> Vec<ParquetColumn> {
    let options = Some(SchemaInferenceOptions {
        // Nanoseconds would wrap in the years before 1678 and after 2262, as 9999-12-31 that Spark and Hive write.
        int96_coerce_to_timeunit: TimeUnit::Microsecond,
    });
    let fields = metadata.schema().fields();
    let schema = parquet_to_arrow_schema_with_options(fields, &options);
    let hints = arrow_hints(metadata);
    let column = |parquet: &ParquetType| {
        let field = schema.get(parquet.name())?;
        let hint = hints.as_ref().and_then(|hints| hints.get(parquet.name())).map(ArrowField::dtype);
        Some(column(parquet, field, hint))
    };
    fields.iter().filter_map(column).collect()
}

/// The Arrow schema that some writers leave. One that cannot be read says nothing.
fn arrow_hints(metadata: &FileMetadata) -> Option<ArrowSchema> {
    let mut metadata = read_custom_key_value_metadata(metadata.key_value_metadata());
    let read = || catch_unwind(std::panic::AssertUnwindSafe(|| read_schema_from_metadata(&mut metadata)));
    error::panics::expected_within(read).ok()?.ok()?
}

fn column(parquet: &ParquetType, field: &ArrowField, hint: Option<&ArrowDataType>) -> ParquetColumn {
    let unsupported = |field: &ArrowField| {
        let dtype = polars_type(field).filter(DataType::is_nested).unwrap_or(DataType::Unknown(Default::default()));
        ParquetColumn { field: field.clone(), decoding: Decoding::Unsupported, dtype }
    };
    let primitive = match parquet {
        ParquetType::PrimitiveType(primitive) if !field.dtype().is_nested() => primitive,
        // No feature, but it can be carried over.
        _ if leaves(parquet) == 1 => return ParquetColumn { decoding: Decoding::AsDecoded, ..unsupported(field) },
        _ => return unsupported(field),
    };
    let (decoded, decoding, dtype) = leaf(primitive, field.dtype(), hint);
    let field = ArrowField::new(field.name.clone(), decoded, field.is_nullable);
    let dtype = match dtype {
        Some(dtype) => Some(dtype),
        None => polars_type(&field),
    };
    match dtype {
        Some(dtype) if decoding != Decoding::Unsupported => ParquetColumn { field, decoding, dtype },
        _ => unsupported(&field),
    }
}

/// Columns of bytes that a field is made of.
fn leaves(parquet: &ParquetType) -> usize {
    match parquet {
        ParquetType::PrimitiveType(_) => 1,
        ParquetType::GroupType { fields, .. } => fields.iter().map(leaves).sum(),
    }
}

/// What is decoded of a leaf, how it is read, and the type of its values where it is not that of what was decoded.
fn leaf(
    primitive: &PrimitiveType,
    declared: &ArrowDataType,
    hint: Option<&ArrowDataType>,
) -> (ArrowDataType, Decoding, Option<DataType>) {
    let as_decoded = |dtype: ArrowDataType| (dtype, Decoding::AsDecoded, None);
    let (logical, physical) = (primitive.logical_type, primitive.physical_type);
    let is_annotated = logical.is_some() || primitive.converted_type.is_some();
    match (physical, declared) {
        _ if logical == Some(PrimitiveLogicalType::Unknown) || matches!(hint, Some(ArrowDataType::Null)) => {
            as_decoded(ArrowDataType::Null)
        }
        (PhysicalType::Int64, ArrowDataType::Int64) if let Some(ArrowDataType::Duration(unit)) = hint => {
            as_decoded(ArrowDataType::Duration(*unit))
        }
        (_, ArrowDataType::Timestamp(unit, zone)) => {
            let named = match hint {
                Some(ArrowDataType::Timestamp(_, Some(named))) => {
                    TimeZone::opt_try_new(Some(named.clone())).ok().flatten()
                }
                _ => None,
            };
            // A zone that nobody knows by name, such as an offset of hours and minutes, is UTC: the instant is the same.
            let zone = zone.as_ref().map(|_| named.unwrap_or(TimeZone::UTC).to_string().into());
            as_decoded(ArrowDataType::Timestamp(*unit, zone))
        }
        (PhysicalType::FixedLenByteArray(2), _) if logical == Some(PrimitiveLogicalType::Float16) => {
            (ArrowDataType::FixedSizeBinary(2), Decoding::Half, Some(DataType::Float32))
        }
        (PhysicalType::FixedLenByteArray(UUID_BYTES), _) if logical == Some(PrimitiveLogicalType::Uuid) => {
            (ArrowDataType::FixedSizeBinary(UUID_BYTES), Decoding::Uuid, Some(DataType::String))
        }
        (PhysicalType::FixedLenByteArray(bytes), ArrowDataType::Decimal(precision, scale))
            if bytes > 16 || *precision > DECIMAL_DIGITS =>
        {
            let dtype = DataType::Decimal((*precision).min(DECIMAL_DIGITS), *scale);
            let decoding =
                if *scale <= DECIMAL_DIGITS { Decoding::WideDecimal { scale: *scale } } else { Decoding::Unsupported };
            (ArrowDataType::FixedSizeBinary(bytes), decoding, Some(dtype))
        }
        (PhysicalType::ByteArray, ArrowDataType::BinaryView) => match (logical, primitive.converted_type) {
            (Some(PrimitiveLogicalType::Bson), _) | (_, Some(PrimitiveConvertedType::Bson)) => {
                (ArrowDataType::BinaryView, Decoding::Unsupported, None)
            }
            // JSON and ENUM are text by the format.
            _ if is_annotated => as_decoded(ArrowDataType::Utf8View),
            _ => (ArrowDataType::BinaryView, Decoding::BytesAsText, Some(DataType::String)),
        },
        (PhysicalType::FixedLenByteArray(_), ArrowDataType::FixedSizeBinary(_)) if !is_annotated => {
            (declared.clone(), Decoding::BytesAsText, Some(DataType::String))
        }
        (_, ArrowDataType::FixedSizeBinary(_) | ArrowDataType::Interval(_)) => {
            (declared.clone(), Decoding::Unsupported, None)
        }
        _ => as_decoded(declared.clone()),
    }
}

/// polars panics on types that it does not know: those are no defect in the log.
fn polars_type(field: &ArrowField) -> Option<DataType> {
    error::panics::expected_within(|| catch_unwind(|| DataType::from_arrow_field(field))).ok()
}

/// What keeps decoded values from being what their column says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The bytes are not what the format says.
    Damaged(String),
    /// Bytes without a logical type are no text.
    NoText,
    /// A decimal with more digits than can be kept.
    TooManyDigits,
    /// A time of day before midnight, or of 24 hours and more.
    NoTimeOfDay,
    /// A type that no column can have that is read.
    Unsupported,
}

impl ParquetColumn {
    /// The column of the values that polars' decoder gave.
    pub(super) fn series(&self, arrays: Vec<Box<dyn Array>>) -> Result<Series, Unfit> {
        let name = self.field.name.clone();
        let damaged = |problem: &dyn std::fmt::Display| Unfit::Damaged(problem.to_string());
        if self.decoding == Decoding::AsDecoded {
            let missing: usize = arrays.iter().map(|array| array.null_count()).sum();
            let series = Series::try_from((&self.field, arrays)).map_err(|error| damaged(&error))?;
            // polars makes a null of a time that no day has.
            return if series.null_count() > missing { Err(Unfit::NoTimeOfDay) } else { Ok(series) };
        }
        if self.decoding == Decoding::Unsupported {
            return Err(Unfit::Unsupported);
        }
        let mut converted = Vec::with_capacity(arrays.len());
        for array in arrays {
            converted.push(self.convert(array.as_ref())?);
        }
        let field = match self.decoding {
            Decoding::Half => ArrowField::new(name, ArrowDataType::Float32, true),
            Decoding::WideDecimal { .. } => {
                ArrowField::new(name, self.dtype.to_arrow(polars::prelude::CompatLevel::newest()), true)
            }
            _ => ArrowField::new(name, ArrowDataType::Utf8View, true),
        };
        Series::try_from((&field, converted)).map_err(|error| damaged(&error))
    }

    fn convert(&self, array: &dyn Array) -> Result<Box<dyn Array>, Unfit> {
        if let Some(bytes) = array.as_any().downcast_ref::<BinaryViewArray>() {
            return bytes.to_utf8view().map(Utf8ViewArray::boxed).map_err(|_| Unfit::NoText);
        }
        let Some(bytes) = array.as_any().downcast_ref::<FixedSizeBinaryArray>() else {
            return Err(Unfit::Damaged(format!("{:?} was decoded where bytes were asked for", array.dtype())));
        };
        match self.decoding {
            Decoding::Half => {
                let half = |value: &[u8]| f16::from_le_bytes([value[0], value[1]]).to_f32();
                Ok(Float32Array::from_trusted_len_iter(bytes.iter().map(|value| value.map(half))).boxed())
            }
            Decoding::WideDecimal { .. } => {
                let narrow = |value: Option<&[u8]>| match value {
                    Some(value) => narrow_decimal(value).map(Some).ok_or(Unfit::TooManyDigits),
                    None => Ok(None),
                };
                let values: Vec<Option<i128>> = bytes.iter().map(narrow).collect::<Result<_, _>>()?;
                let array = PrimitiveArray::<i128>::from_trusted_len_iter(values.into_iter());
                Ok(array.to(self.dtype.to_arrow(polars::prelude::CompatLevel::newest())).boxed())
            }
            _ => {
                let mut texts = MutableBinaryViewArray::<str>::with_capacity(bytes.len());
                for value in bytes.iter() {
                    match (value, self.decoding) {
                        (None, _) => texts.push_null(),
                        (Some(value), Decoding::Uuid) => texts.push_value(uuid_text(value)),
                        (Some(value), _) => texts.push_value(std::str::from_utf8(value).map_err(|_| Unfit::NoText)?),
                    }
                }
                Ok(Utf8ViewArray::from(texts).boxed())
            }
        }
    }
}

/// `f81d4fae-7dec-11d0-a765-00a0c91e6bf6` (RFC 9562, section 4).
fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&place) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
    }
    text
}

/// A decimal in two's complement, most significant byte first; none where it has more than 38 digits.
fn narrow_decimal(bytes: &[u8]) -> Option<i128> {
    let (high, low) = bytes.split_at(bytes.len().saturating_sub(16));
    let negative = bytes.first()? & 0x80 != 0;
    let mut value = if negative { -1_i128 } else { 0 };
    low.iter().for_each(|byte| value = (value << 8) | i128::from(*byte));
    let filler = if negative { 0xff } else { 0 };
    let fits = high.iter().all(|byte| *byte == filler) && (value < 0) == negative;
    (fits && value.unsigned_abs() < 10_u128.pow(DECIMAL_DIGITS as u32)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_its_text() {
        let bytes: Vec<u8> = (0..16).map(|byte| byte * 17).collect();
        assert_eq!(uuid_text(&bytes), "00112233-4455-6677-8899-aabbccddeeff");
    }

    #[test]
    fn wide_decimals_are_kept_as_far_as_38_digits_go() {
        let wide = |value: i128| {
            let filler = if value < 0 { 0xff_u8 } else { 0 };
            [vec![filler; 4], value.to_be_bytes().to_vec()].concat()
        };
        for value in [0, 1, -1, 10_i128.pow(37), -(10_i128.pow(37))] {
            assert_eq!(narrow_decimal(&wide(value)), Some(value));
        }
        assert_eq!(narrow_decimal(&wide(10_i128.pow(38))), None);
        assert_eq!(narrow_decimal(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(narrow_decimal(&[0xff]), Some(-1));
    }
}
