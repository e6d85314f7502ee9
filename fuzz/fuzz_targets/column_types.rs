//! Columns of several types, merged and converted: every value keeps its text, or is refused by its place; merging does not
//! depend on the order of the objects.
#![no_main]

use columns::convert::convert;
use columns::text::canonical_text;
use columns::{ColumnSchema, TableSchema};
use engagement_fuzz::start;
use libfuzzer_sys::fuzz_target;
use polars::prelude::{
    DataType, Float32Chunked, Float64Chunked, Int64Chunked, Int128Chunked, IntoSeries, NewChunkedArray, Series,
    StringChunked, TimeUnit, TimeZone,
};

const UNITS: [TimeUnit; 3] = [TimeUnit::Milliseconds, TimeUnit::Microseconds, TimeUnit::Nanoseconds];

fuzz_target!(init: start(), |data: &[u8]| {
    let mut rest = data;
    let mut columns = Vec::new();
    while columns.len() < 4 && rest.len() > 2 {
        let (kind, parameter, rows) = (rest[0], rest[1], usize::from(rest[2] % 8));
        rest = &rest[3..];
        let bytes = &rest[..rest.len().min(rows * 16)];
        rest = &rest[bytes.len()..];
        columns.extend(column(kind, parameter, bytes));
    }
    let schema = |column: &Series| TableSchema::new(vec![ColumnSchema::new("x", column.dtype().clone())], "t").expect("one column");
    let Some((first, others)) = columns.split_first() else { return };
    let merge = |mut merged: TableSchema, others: Vec<&Series>| {
        others.into_iter().try_for_each(|other| merged.merge(&schema(other), "a", "b"))?;
        Ok::<_, error::Error>(merged.columns()[0].dtype.clone())
    };
    let merged = merge(schema(first), others.iter().collect());
    if let Some((last, before)) = columns.split_last() {
        let backwards = merge(schema(last), before.iter().rev().collect());
        assert_eq!(merged.as_ref().ok(), backwards.as_ref().ok(), "{columns:?}");
    }
    let Ok(dtype) = merged else { return };
    for column in &columns {
        let Ok(before) = canonical_text(column) else { continue };
        match convert(column, &dtype) {
            Ok(converted) => {
                assert_eq!(*converted.dtype(), dtype);
                assert!(before.iter().eq(canonical_text(&converted).expect("text").iter()), "{column} as {converted}");
                assert_eq!(converted.null_count(), column.null_count());
            }
            Err(misfit) => assert_eq!(before.get(misfit.row), Some(misfit.value.as_str()), "{column} as {dtype}"),
        }
    }
});

/// Sixteen bytes a value, of which the first says whether it is null.
fn column(kind: u8, parameter: u8, bytes: &[u8]) -> Option<Series> {
    let whole = |chunk: &[u8]| {
        let mut value = [0; 16];
        value[..chunk.len()].copy_from_slice(chunk);
        i128::from_le_bytes(value)
    };
    let values: Vec<Option<i128>> = bytes.chunks(16).map(|chunk| (chunk[0] != 0xff).then(|| whole(chunk))).collect();
    let narrow = || -> Int64Chunked {
        values.iter().map(|value| value.map(|value| (value >> (parameter % 64)) as i64)).collect()
    };
    let unit = UNITS[usize::from(parameter % 3)];
    let integers = [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
    ];
    Some(match kind % 16 {
        0 => narrow().into_series(),
        1..=7 => narrow().into_series().cast(&integers[usize::from(kind % 16) - 1]).ok()?,
        8 => values
            .iter()
            .map(|value| value.map(|value| f64::from_bits(value as u64)))
            .collect::<Float64Chunked>()
            .into_series(),
        9 => values
            .iter()
            .map(|value| value.map(|value| f32::from_bits(value as u32)))
            .collect::<Float32Chunked>()
            .into_series(),
        10 => {
            let (precision, scale) = (1 + usize::from(parameter % 38), usize::from(parameter / 38));
            let bound = 10_i128.checked_pow(precision as u32)?;
            let decimals: Int128Chunked = values.iter().map(|value| value.map(|value| value % bound)).collect();
            decimals.into_decimal(precision, scale.min(precision)).ok()?.into_series()
        }
        11 => narrow().into_series().cast(&DataType::Int32).ok()?.cast(&DataType::Date).ok()?,
        12 => narrow().into_datetime(unit, (parameter % 2 == 0).then_some(TimeZone::UTC)).into_series(),
        13 => narrow().into_duration(unit).into_series(),
        14 => {
            let texts = bytes.chunks(16).map(|chunk| std::str::from_utf8(chunk).ok());
            StringChunked::from_iter_options("x".into(), texts.map(|text| text.map(str::to_owned))).into_series()
        }
        _ => Series::full_null("x".into(), values.len(), &DataType::Null),
    })
}
