//! CSV in: a header row, then text cells. Empty fields and `NULL` are missing; nothing is typed here, so that an id
//! `00123` stays what it is. Gzip is unpacked on the way.

use std::io::Read;
use std::sync::Arc;

use csv::{ByteRecord, Reader, ReaderBuilder};
use flate2::read::MultiGzDecoder;
use polars::prelude::{DataType, NamedFrom, Series, StringChunkedBuilder};
use tokio::runtime::Handle;

use super::Format;
use super::ranged_reader::{RangedReader, storage_failure};
use crate::columns::{CellFormat, ColumnSchema, MemoryColumns, TableSchema};
use crate::storage::{ObjectMeta, Store};
use crate::{Error, Result};

/// Reads an object's header. All its columns are text.
pub(super) async fn read_header(
    store: Arc<dyn Store>,
    meta: &ObjectMeta,
    format: (Format, CsvFormat),
    name: &str,
) -> Result<TableSchema> {
    let (meta, name, runtime) = (meta.clone(), name.to_owned(), Handle::current());
    let header = tokio::task::spawn_blocking(move || {
        CsvReader::open(store, meta, format, &name, runtime).map(|reader| reader.schema)
    });
    header.await.map_err(|error| Error::Defect(error.to_string()))?
}

/// How CSV is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvFormat {
    /// What stands between cells.
    pub delimiter: u8,
    /// How values are written in cells.
    pub cells: CellFormat,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { delimiter: b',', cells: CellFormat::default() }
    }
}

/// Reads one CSV object from front to back in batches. For threads that may block.
pub struct CsvReader {
    name: String,
    schema: TableSchema,
    records: Reader<Box<dyn Read + Send>>,
    record: ByteRecord,
    csv: CsvFormat,
    next_row: u64,
}

/// Rows of a CSV object.
#[derive(Debug)]
pub struct CsvBatch {
    /// The named columns as text, nulls where a cell is empty or `NULL`.
    pub columns: MemoryColumns,
    /// 0-based number of the first row within the object, the header not counted.
    pub first_row: u64,
    /// Rows (counted within the batch) that are not as wide as the header or not UTF-8: all their cells are null.
    pub malformed: Vec<usize>,
}

impl CsvReader {
    /// Opens the object and reads its header.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no header, a name comes twice or the bytes are no text; storage errors as they are.
    pub fn open(
        store: Arc<dyn Store>,
        meta: ObjectMeta,
        (format, csv): (Format, CsvFormat),
        name: &str,
        runtime: Handle,
    ) -> Result<Self> {
        let bytes = RangedReader::new(store, meta, runtime);
        let text: Box<dyn Read + Send> = match format {
            Format::CsvGz => Box::new(MultiGzDecoder::new(bytes)),
            Format::Csv | Format::Parquet => Box::new(bytes),
        };
        let mut records =
            ReaderBuilder::new().delimiter(csv.delimiter).flexible(true).buffer_capacity(1 << 20).from_reader(text);
        let header = records.byte_headers().map_err(|error| unreadable(name, &error))?.clone();
        let schema = header_schema(&header, name)?;
        Ok(Self { name: name.to_owned(), schema, records, record: ByteRecord::new(), csv, next_row: 0 })
    }

    /// Reads up to `rows` rows of the named columns; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Data`] where the bytes end within a record or cannot be unpacked; storage errors as they are.
    pub fn next_batch(&mut self, names: &[String], rows: usize) -> Result<Option<CsvBatch>> {
        let positions = self.positions(names)?;
        let mut builders: Vec<StringChunkedBuilder> =
            names.iter().map(|name| StringChunkedBuilder::new(name.as_str().into(), rows.min(1 << 16))).collect();
        let mut malformed = Vec::new();
        let mut count = 0;
        while count < rows {
            let more = self.records.read_byte_record(&mut self.record);
            if !more.map_err(|error| unreadable(&self.name, &error))? {
                break;
            }
            if !self.append_record(&positions, &mut builders) {
                malformed.push(count);
            }
            count += 1;
        }
        if count == 0 {
            return Ok(None);
        }
        let columns = builders.into_iter().map(|builder| Series::from(builder.finish())).collect();
        let first_row = self.next_row;
        self.next_row += count as u64;
        Ok(Some(CsvBatch { columns: MemoryColumns::text_cells(count, columns, self.csv.cells), first_row, malformed }))
    }

    fn positions(&self, names: &[String]) -> Result<Vec<usize>> {
        let position = |name: &String| {
            let found = self.schema.columns().iter().position(|column| column.name == *name);
            found.ok_or_else(|| Error::Data(format!("{}: column \"{name}\" is missing", self.name)))
        };
        names.iter().map(position).collect()
    }

    /// Appends the record's cells, or nulls where it is malformed; says whether it was well formed.
    fn append_record(&self, positions: &[usize], builders: &mut [StringChunkedBuilder]) -> bool {
        let well_formed = self.record.len() == self.schema.columns().len()
            && positions.iter().all(|&position| std::str::from_utf8(&self.record[position]).is_ok());
        for (builder, &position) in builders.iter_mut().zip(positions) {
            let cell = if well_formed { std::str::from_utf8(&self.record[position]).ok() } else { None };
            builder.append_option(cell.filter(|cell| !is_missing(cell)));
        }
        well_formed
    }
}

/// Bytes of an object from which the length of its lines is guessed.
pub(super) const LINES_GUESS: u64 = 256 * 1024;

/// Lines in the first bytes of an object, at least one.
pub(super) fn count_lines(bytes: &[u8], format: Format) -> usize {
    let mut text = Vec::new();
    let bytes = match format {
        Format::CsvGz => {
            // Cut off amid a block, the rest cannot be unpacked: what came before it is enough.
            let _ = MultiGzDecoder::new(bytes).read_to_end(&mut text);
            &text
        }
        Format::Csv | Format::Parquet => bytes,
    };
    bytes.iter().filter(|byte| **byte == b'\n').count().max(1)
}

/// What some spreadsheets write between cells in place of commas.
const OTHER_SEPARATORS: [char; 3] = [';', '\t', '|'];

/// Whether a CSV cell stands for a missing value.
fn is_missing(cell: &str) -> bool {
    cell.is_empty() || cell == "NULL"
}

fn header_schema(header: &ByteRecord, name: &str) -> Result<TableSchema> {
    if header.is_empty() {
        return Err(Error::Data(format!("{name} has no header row: write the column names into its first line")));
    }
    let column = |(index, cell): (usize, &[u8])| {
        let text = std::str::from_utf8(cell).map_err(|_| {
            Error::Data(format!("{name} is not readable CSV: its header is not UTF-8 text; write it again as UTF-8"))
        })?;
        // The byte-order mark that spreadsheets write is not part of the first column's name.
        let text = if index == 0 { text.trim_start_matches('\u{feff}') } else { text };
        Ok(ColumnSchema::new(text, DataType::String))
    };
    let columns: Vec<ColumnSchema> = header.iter().enumerate().map(column).collect::<Result<_>>()?;
    if let [only] = columns.as_slice()
        && let Some(sign) = only.name.chars().find(|sign| OTHER_SEPARATORS.contains(sign))
    {
        return Err(Error::Data(format!(
            "{name}: its columns seem to be separated by {sign:?}: write it again with commas between them"
        )));
    }
    TableSchema::new(columns, name)
}

fn unreadable(name: &str, error: &csv::Error) -> Error {
    if let csv::ErrorKind::Io(io) = error.kind()
        && let Some(failure) = storage_failure(io)
    {
        return failure.into();
    }
    Error::Data(format!("{name} is not readable CSV: {error}; write it again or remove it"))
}

/// An empty text column, for tables without rows.
pub fn empty_column(name: &str) -> Series {
    Series::new(name.into(), Vec::<String>::new())
}
