//! Frames as Parquet, encoded by polars-parquet: what `ParquetWriter` of polars-io does on one thread, whose crate would make
//! polars-core compile its grouping, too.

use std::io::Write;

use polars::frame::chunk_df_for_writing;
use polars::prelude::{ArrowSchema, CompatLevel, DataFrame, DataType, PlSmallStr, PolarsError, PolarsResult, Schema};
use polars_arrow::array::{Array, DictionaryArray, PrimitiveArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, IntegerType};
use polars_parquet::parquet::compression::compress;
use polars_parquet::read::ParquetError;
use polars_parquet::write::{
    CompressionOptions, Compressor, DynIter, DynStreamingIterator, Encoding, FallibleStreamingIterator, FileWriter,
    SchemaDescriptor, StatisticsOptions, Version, WriteOptions, array_to_columns, get_dtype_encoding,
    to_parquet_schema,
};

/// Floats that tell whether compression is worth it: those of about so many stretches of so many rows, spread over the row group.
const STRETCHES: usize = 8;
const STRETCH_VALUES: usize = 128;
/// Compression is worth it where it makes a column smaller by more than one part in so many.
const LEAST_SAVED: usize = 8;

/// How a frame is written. Compressed with Zstandard, in row groups of 2¹⁸ rows and pages of 1 MiB, unless it is told otherwise.
#[derive(Debug)]
#[must_use]
pub struct ParquetWriter<Output> {
    output: Output,
    options: WriteOptions,
    row_group_rows: usize,
    plain_floats: bool,
    constant: Option<ConstantColumn>,
}

/// A column that says the same text in every row. It is not in the frame: as a dictionary of one text it costs nothing to make and to encode.
#[derive(Debug, Clone)]
pub struct ConstantColumn {
    /// How many columns of the frame stand before it.
    pub place: usize,
    /// Its name.
    pub name: PlSmallStr,
    /// The text.
    pub value: PlSmallStr,
}

impl ConstantColumn {
    fn array(&self, rows: usize) -> PolarsResult<Box<dyn Array>> {
        let dtype = ArrowDataType::Dictionary(IntegerType::UInt32, Box::new(ArrowDataType::Utf8View), false);
        let value = Utf8ViewArray::from_slice_values([self.value.as_str()]);
        let array = DictionaryArray::<u32>::try_new(dtype, PrimitiveArray::from_vec(vec![0; rows]), value.boxed())?;
        Ok(array.boxed())
    }
}

impl<Output: Write> ParquetWriter<Output> {
    /// Writes to `output`.
    pub fn new(output: Output) -> Self {
        let options = WriteOptions {
            statistics: StatisticsOptions::default(),
            version: Version::V1,
            compression: CompressionOptions::Zstd(None),
            data_page_size: None,
        };
        Self { output, options, row_group_rows: 1 << 18, plain_floats: false, constant: None }
    }

    /// How pages are compressed.
    pub fn with_compression(mut self, compression: CompressionOptions) -> Self {
        self.options.compression = compression;
        self
    }

    /// Rows of a row group, at most.
    pub fn with_row_group_rows(mut self, rows: usize) -> Self {
        self.row_group_rows = rows;
        self
    }

    /// Bytes of a page before it is compressed, about.
    pub fn with_page_bytes(mut self, bytes: usize) -> Self {
        self.options.data_page_size = Some(bytes);
        self
    }

    /// Whether floats are written as they are, without looking whether enough of them are the same for a dictionary, and those of
    /// double precision uncompressed where compression would hardly make them smaller.
    pub fn with_plain_floats(mut self) -> Self {
        self.plain_floats = true;
        self
    }

    /// Writes a column that is not in the frame.
    pub fn with_constant(mut self, column: ConstantColumn) -> Self {
        self.constant = Some(column);
        self
    }

    /// Writes the whole frame and the footer.
    ///
    /// # Errors
    /// Where a column's type has no encoding, or the output refuses the bytes.
    pub fn finish(self, frame: &mut DataFrame) -> PolarsResult<()> {
        let rows = self.row_group_rows;
        let frame = chunk_df_for_writing(frame, rows)?;
        let mut file = self.begin(frame.schema())?;
        file.write(&frame)?;
        file.finish()
    }

    /// A file to which frames of this schema are written one after the other.
    ///
    /// # Errors
    /// Where a column's type has no encoding, or the output refuses the bytes.
    pub fn begin(self, schema: &Schema) -> PolarsResult<ParquetFile<Output>> {
        let mut columns: Vec<(PlSmallStr, DataType)> =
            schema.iter().map(|(name, dtype)| (name.clone(), dtype.clone())).collect();
        if let Some(constant) = &self.constant {
            columns.insert(constant.place, (constant.name.clone(), DataType::String));
        }
        let schema: ArrowSchema = columns
            .into_iter()
            .map(|(name, dtype)| (name.clone(), dtype.to_arrow_field(name, CompatLevel::newest())))
            .collect();
        let parquet_schema = to_parquet_schema(&schema)?;
        let encodings = schema.iter_values().map(|field| match field.dtype {
            ArrowDataType::Float32 | ArrowDataType::Float64 if self.plain_floats => vec![Encoding::Plain],
            _ => get_dtype_encoding(&field.dtype),
        });
        let encodings = encodings.collect();
        let file = FileWriter::try_new(self.output, schema, self.options)?;
        Ok(ParquetFile { file, parquet_schema, encodings, options: self.options, constant: self.constant })
    }
}

/// A file that is being written.
pub struct ParquetFile<Output: Write> {
    file: FileWriter<Output>,
    parquet_schema: SchemaDescriptor,
    /// Of each column.
    encodings: Vec<Vec<Encoding>>,
    options: WriteOptions,
    constant: Option<ConstantColumn>,
}

impl<Output: Write> ParquetFile<Output> {
    /// Writes each chunk of the frame as a row group.
    ///
    /// # Errors
    /// Where a column cannot be encoded, or the output refuses the bytes.
    pub fn write(&mut self, frame: &DataFrame) -> PolarsResult<()> {
        for batch in frame.iter_chunks(CompatLevel::newest(), false).filter(|batch| !batch.is_empty()) {
            let mut pages = Vec::new();
            let rows = batch.len();
            let mut arrays = batch.into_arrays();
            if let Some(constant) = &self.constant {
                arrays.insert(constant.place, constant.array(rows)?);
            }
            let columns = arrays.iter().zip(self.parquet_schema.fields()).zip(&self.encodings);
            for ((array, field), encodings) in columns {
                let compression = self.compression_of(array.as_ref(), encodings)?;
                for encoded in array_to_columns(array, field.clone(), self.options, encodings)? {
                    let encoded = encoded.map(|page| {
                        page.map_err(|error| ParquetError::FeatureNotSupported(format!("polars: {error}")))
                    });
                    let compressor = Compressor::new_from_vec(encoded, compression, Vec::new());
                    pages.push(Ok(DynStreamingIterator::new(compressor.map_err(PolarsError::from))));
                }
            }
            self.file.write(rows as u64, DynIter::new(pages.into_iter()))?;
        }
        Ok(())
    }

    /// How the pages of a column are compressed, told by a sample of its values.
    fn compression_of(&self, array: &dyn Array, encodings: &[Encoding]) -> PolarsResult<CompressionOptions> {
        let compression = self.options.compression;
        let floats = array.as_any().downcast_ref::<PrimitiveArray<f64>>().filter(|_| encodings == [Encoding::Plain]);
        let Some(floats) = floats else { return Ok(compression) };
        let stride = (floats.len() / STRETCHES).max(STRETCH_VALUES);
        let mut sample = Vec::with_capacity((STRETCHES + 1) * STRETCH_VALUES * size_of::<f64>());
        for start in (0..floats.len()).step_by(stride) {
            // What stands where a value is missing is no part of the file, and differs from run to run.
            let stretch = floats.clone().sliced(start, STRETCH_VALUES.min(floats.len() - start));
            stretch.non_null_values_iter().for_each(|value| sample.extend_from_slice(&value.to_le_bytes()));
        }
        let mut compressed = Vec::new();
        compress(compression, &sample, &mut compressed).map_err(PolarsError::from)?;
        let is_worth_it = compressed.len() + sample.len() / LEAST_SAVED < sample.len();
        Ok(if is_worth_it { compression } else { CompressionOptions::Uncompressed })
    }

    /// Writes the footer.
    ///
    /// # Errors
    /// Where the output refuses the bytes.
    pub fn finish(mut self) -> PolarsResult<()> {
        self.file.end(None).map(drop)
    }
}
