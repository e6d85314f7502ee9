//! Tables out: Parquet and CSV, the same bytes for the same rows.

mod parquet_writer;

pub use parquet_writer::{ConstantColumn, ParquetFile, ParquetWriter};
pub use polars_parquet::write::CompressionOptions;

use std::fmt::Write as _;
use std::io::Write;

use bytes::Bytes;
use polars::prelude::{DataFrame, DataType, Float64Chunked, PolarsError, Series};

use columns::text::formatted_text;
use error::{Error, Result};

/// Rows of a row group. Fixed, so that a part's bytes depend on its rows alone.
const ROW_GROUP_ROWS: usize = 1 << 18;

/// The rows as a Parquet file, Snappy-compressed (which Athena, Spark, pandas and polars all read) but for floats that it would hardly make
/// smaller.
///
/// # Errors
/// [`Error::Defect`] where polars refuses the frame.
pub fn to_parquet(frame: &mut DataFrame) -> Result<Bytes> {
    to_parquet_with(frame, None)
}

/// The same with a column that is not in the frame, if one is given.
///
/// # Errors
/// As [`to_parquet`].
pub fn to_parquet_with(frame: &mut DataFrame, constant: Option<ConstantColumn>) -> Result<Bytes> {
    // Room for all of it where it is numbers, since a file that grows is copied each time that it doubles; what is not written takes
    // no memory.
    let mut buffer = Vec::with_capacity(frame.height() * frame.width() * size_of::<f64>() + 4096);
    let mut writer = options(&mut buffer);
    if let Some(constant) = constant {
        writer = writer.with_constant(constant);
    }
    writer.finish(frame).map_err(|error| refused(&error))?;
    Ok(Bytes::from(buffer))
}

/// The rows as [`to_parquet`] writes them, of which no more than a frame is in memory at once: each is a row group. None where
/// there are no frames.
///
/// # Errors
/// As [`to_parquet`]; what a frame fails with.
pub fn row_groups_to_parquet(mut frames: impl Iterator<Item = Result<DataFrame>>) -> Result<Option<Bytes>> {
    let Some(first) = frames.next().transpose()? else { return Ok(None) };
    let mut buffer = Vec::new();
    let mut writer = options(&mut buffer).begin(first.schema()).map_err(|error| refused(&error))?;
    for frame in std::iter::once(Ok(first)).chain(frames) {
        let mut frame = frame?;
        frame.rechunk_mut();
        writer.write(&frame).map_err(|error| refused(&error))?;
    }
    writer.finish().map_err(|error| refused(&error))?;
    Ok(Some(Bytes::from(buffer)))
}

fn options<Output: Write>(output: Output) -> ParquetWriter<Output> {
    ParquetWriter::new(output)
        .with_compression(CompressionOptions::Snappy)
        .with_row_group_rows(ROW_GROUP_ROWS)
        .with_plain_floats()
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
    let columns = frame.columns().iter().map(|column| Cells::of(column.as_materialized_series()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let mut cells = columns.iter().map(Cells::iter).collect::<Result<Vec<_>>>()?;
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    let names: Vec<&str> = frame.get_column_names().into_iter().map(polars::prelude::PlSmallStr::as_str).collect();
    writer.write_record(&names).map_err(|error| defect(error.to_string()))?;
    let mut number = String::new();
    for row in 0..frame.height() {
        for cells in &mut cells {
            let cell = match cells {
                CellIter::Text(texts) => texts.next().flatten().unwrap_or_default(),
                CellIter::Float(values) => {
                    number.clear();
                    if let Some(value) = values.next().flatten() {
                        write!(number, "{value}").map_err(|error| defect(error.to_string()))?;
                    }
                    &number
                }
            };
            writer.write_field(cell).map_err(|error| defect(error.to_string()))?;
        }
        writer.write_record(None::<&[u8]>).map_err(|error| defect(error.to_string()))?;
        if row == SAMPLE_ROWS {
            // Growing step by step, a file is copied as often as it doubles.
            writer.flush().map_err(|error| defect(error.to_string()))?;
            let written = writer.get_ref().len();
            let more = (written / SAMPLE_ROWS + 1).saturating_mul(frame.height() - row) * 17 / 16;
            let mut whole = Vec::with_capacity(written + more);
            whole.extend_from_slice(writer.get_ref());
            writer = csv::WriterBuilder::new().from_writer(whole);
        }
    }
    writer.into_inner().map(Bytes::from).map_err(|error| defect(error.to_string()))
}

/// Rows from which the size of a file is told.
const SAMPLE_ROWS: usize = 1024;

/// Cells that read back as the same values: floats with every digit that matters.
enum Cells {
    Float(Float64Chunked),
    Text(Series),
}

enum CellIter<'a> {
    Float(Box<dyn Iterator<Item = Option<f64>> + 'a>),
    Text(Box<dyn Iterator<Item = Option<&'a str>> + 'a>),
}

impl Cells {
    fn of(column: &Series) -> Result<Self> {
        match column.dtype() {
            DataType::Float64 => Ok(Self::Float(column.f64().map_err(|error| unfit(&error))?.clone())),
            DataType::String => Ok(Self::Text(column.clone())),
            _ => formatted_text(column).map(Self::Text),
        }
    }

    fn iter(&self) -> Result<CellIter<'_>> {
        Ok(match self {
            Self::Float(values) => CellIter::Float(Box::new(values.iter())),
            Self::Text(texts) => CellIter::Text(Box::new(texts.str().map_err(|error| unfit(&error))?.iter())),
        })
    }
}

fn unfit(error: &PolarsError) -> Error {
    Error::Defect(format!("writing CSV: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use polars::prelude::{ChunkFull, IntoColumn, NamedFrom, StringChunked};
    use polars_parquet::parquet::compression::Compression;
    use polars_parquet::read::{ColumnChunkMetadata, read_metadata};

    use super::*;

    /// Rows of two row groups.
    const ROWS: usize = 3 * ROW_GROUP_ROWS / 2;

    #[test]
    fn a_constant_column_is_written_as_one_of_the_frame_is() {
        let ids: Vec<i64> = (0..ROWS as i64).collect();
        let predictions: Vec<f64> = ids.iter().map(|id| (id % 1_000) as f64 / 3.0).collect();
        let columns =
            [Series::new("id".into(), ids).into_column(), Series::new("prediction".into(), predictions).into_column()];
        let mut frame = DataFrame::new(ROWS, columns.to_vec()).unwrap();
        for (place, value) in [(1, "v"), (2, "2026-W48, a label of more than twelve bytes"), (0, "")] {
            let mut whole = frame.clone();
            let texts = StringChunked::full("model_version".into(), value, ROWS).into_column();
            whole.insert_column(place, texts).unwrap();
            let constant = ConstantColumn { place, name: "model_version".into(), value: value.into() };
            let written = to_parquet_with(&mut frame, Some(constant)).unwrap();
            assert!(written == to_parquet(&mut whole).unwrap(), "{value:?} at {place}");
        }
    }

    #[test]
    fn only_floats_that_repeat_are_compressed() {
        // As predictions are: floats of single precision that hardly repeat, and as ends of intervals are.
        let single = |row: usize| f64::from((row as f32).sqrt() * 0.731);
        let double = |row: usize| (row as f64).sqrt() * 0.731;
        let clipped = |row: usize| double(row).min(3.0);
        let column = |name: &str, of: &dyn Fn(usize) -> f64| {
            Series::new(name.into(), (0..ROWS).map(of).collect::<Vec<f64>>()).into_column()
        };
        let ids = Series::new("id".into(), (0..ROWS as i64).collect::<Vec<i64>>()).into_column();
        let columns = vec![ids, column("single", &single), column("double", &double), column("clipped", &clipped)];
        let mut frame = DataFrame::new(ROWS, columns).unwrap();
        let written = to_parquet(&mut frame).unwrap();
        let metadata = read_metadata(&mut Cursor::new(&written)).unwrap();
        for group in &metadata.row_groups {
            let of_columns: Vec<Compression> =
                group.parquet_columns().iter().map(ColumnChunkMetadata::compression).collect();
            let [id, single, double, clipped] = of_columns.try_into().unwrap();
            assert_eq!([id, single, clipped], [Compression::Snappy; 3]);
            assert_eq!(double, Compression::Uncompressed);
        }
        for rows in [0, 1, 5_000] {
            let written = to_parquet(&mut frame.head(Some(rows))).unwrap();
            assert_eq!(read_metadata(&mut Cursor::new(&written)).unwrap().num_rows, rows);
        }
    }

    #[test]
    fn what_stands_where_a_float_is_missing_changes_no_byte() {
        use polars_arrow::array::PrimitiveArray;
        use polars_arrow::bitmap::Bitmap;

        let written = |missing: &dyn Fn(usize) -> f64| {
            let is_known = |row: usize| row.is_multiple_of(3);
            let value = |row: usize| if is_known(row) { (row as f64).sqrt() * 0.731 } else { missing(row) };
            let values = (0..ROWS).map(value).collect::<Vec<f64>>();
            let validity: Bitmap = (0..ROWS).map(is_known).collect();
            let array = PrimitiveArray::from_vec(values).with_validity(Some(validity));
            let floats = Float64Chunked::with_chunk("value".into(), array);
            to_parquet(&mut DataFrame::new(ROWS, vec![floats.into_column()]).unwrap()).unwrap()
        };
        assert!(written(&|_| 0.0) == written(&|row| (row as f64).cbrt()));
    }
}
