//! Tables out: Parquet and CSV, the same bytes for the same rows.

use std::io::Write;

use bytes::Bytes;
use polars::prelude::{DataFrame, DataType, ParquetCompression, ParquetWriter, PolarsError, Series};

use columns::text::formatted_text;
use error::{Error, Result};

/// Rows of a row group. Fixed, so that a part's bytes depend on its rows alone.
const ROW_GROUP_ROWS: usize = 1 << 18;

/// The rows as a Parquet file, Snappy-compressed (which Athena, Spark, pandas and polars all read).
///
/// # Errors
/// [`Error::Defect`] where polars refuses the frame.
pub fn to_parquet(frame: &mut DataFrame) -> Result<Bytes> {
    let mut buffer = Vec::with_capacity(frame.height() * 16 + 4096);
    options(&mut buffer).finish(frame).map_err(|error| refused(&error))?;
    Ok(Bytes::from(buffer))
}

/// The rows as [`to_parquet`] writes them, of which no more than a piece is in memory at once: each is a row group. None where
/// there are no pieces.
///
/// # Errors
/// As [`to_parquet`]; what a piece fails with.
pub fn pieces_to_parquet(mut pieces: impl Iterator<Item = Result<DataFrame>>) -> Result<Option<Bytes>> {
    let Some(first) = pieces.next().transpose()? else { return Ok(None) };
    let mut buffer = Vec::new();
    let mut writer = options(&mut buffer).batched(first.schema()).map_err(|error| refused(&error))?;
    for piece in std::iter::once(Ok(first)).chain(pieces) {
        let mut piece = piece?;
        piece.rechunk_mut();
        writer.write_batch(&piece).map_err(|error| refused(&error))?;
    }
    writer.finish().map_err(|error| refused(&error))?;
    drop(writer);
    Ok(Some(Bytes::from(buffer)))
}

fn options<Output: Write>(output: Output) -> ParquetWriter<Output> {
    let writer = ParquetWriter::new(output).with_compression(ParquetCompression::Snappy);
    writer.with_row_group_size(Some(ROW_GROUP_ROWS)).set_parallel(false)
}

fn refused(error: &PolarsError) -> Error {
    Error::Defect(format!("writing Parquet: {error}"))
}

/// The rows as CSV with a header row; a missing value is an empty field, an empty text `""`.
///
/// # Errors
/// [`Error::Data`] where a column cannot be written as text.
pub fn to_csv(frame: &DataFrame) -> Result<Bytes> {
    let defect = |error: String| Error::Defect(format!("writing CSV: {error}"));
    let mut columns = Vec::with_capacity(frame.width());
    for column in frame.columns() {
        columns.push(cells_of(column.as_materialized_series())?);
    }
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::with_capacity(frame.height() * 32));
    let names: Vec<&str> = frame.get_column_names().into_iter().map(polars::prelude::PlSmallStr::as_str).collect();
    writer.write_record(&names).map_err(|error| defect(error.to_string()))?;
    let mut record = Vec::with_capacity(columns.len());
    for row in 0..frame.height() {
        record.clear();
        for column in &columns {
            let cells = column.str().map_err(|error| defect(error.to_string()))?;
            record.push(cells.get(row).unwrap_or_default().to_owned());
        }
        writer.write_record(&record).map_err(|error| defect(error.to_string()))?;
    }
    writer.into_inner().map(Bytes::from).map_err(|error| defect(error.to_string()))
}

/// Cells that read back as the same values: floats with every digit that matters.
fn cells_of(column: &Series) -> Result<Series> {
    match column.dtype() {
        DataType::Float64 => {
            let values = column.f64().map_err(|error| Error::Defect(format!("writing CSV: {error}")))?;
            let cells = values.iter().map(|value| value.map(|value| value.to_string()));
            let cells: polars::prelude::StringChunked = cells.collect();
            Ok(polars::prelude::IntoSeries::into_series(cells))
        }
        _ => formatted_text(column),
    }
}
