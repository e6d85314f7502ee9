//! CSV in: a header row, then text cells. Empty fields and `NULL` are missing; nothing is typed here, so that an id
//! `00123` stays what it is. Gzip is unpacked on the way.
//!
//! No row is swallowed: a quote that is never closed, and a cell that holds what looks like rows, end the reading.

mod encoding;
mod gunzip;
mod habits;
mod header;
mod looks;
mod records;
mod swallowed;
#[cfg(test)]
mod tests;

use std::io::{BufRead, BufReader, Cursor, Read};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use memchr::memchr_iter;
use polars::prelude::{NamedFrom, Series};
use tokio::runtime::Handle;

use self::gunzip::Gunzip;
use self::records::{Fault, OpenQuote, Records};
use self::swallowed::{Suspect, SwallowedRows, Verdict, rows_in_header};
use super::Format;
use super::file_kind;
use super::ranged_reader::{RangedReader, storage_failure};
use columns::{CellFormat, MemoryColumns, RAW_TEXT_MOST, RawCells, TableSchema};
use error::text::without_control_characters;
use error::{Error, Result};
use machine::memory::Reservation;
use machine::tasks::blocking;
use storage::{ObjectMeta, Store};

/// What to do about a quote that stands alone.
const MEND_QUOTE: &str = "close it, or write it twice (\"\") inside a quoted cell";

/// What to do about a quote inside a cell that MySQL and others write with a backslash.
const QUOTE_BY_BACKSLASH: &str = "a quote inside a cell is written \"\", not \\\"";

/// What to do where a cell is meant to hold what looks like rows.
const OR_PARQUET: &str = "; where the cell is meant so, write the table as Parquet";

/// Bytes of a compressed object from which its kind is told.
const HEAD_BYTES: usize = 64 << 10;

/// A record of more bytes is counted by itself: rows that are shorter fill a batch little by little.
const LONG_RECORD: usize = 1 << 20;

/// What a column of a header takes in memory besides its name.
const COLUMN_BYTES: u64 = 512;

/// Reads an object's header. All its columns are text. `None` where there is no text at all. What many columns take is held as long as
/// what is returned.
pub(super) async fn read_header(
    store: Arc<dyn Store>,
    meta: &ObjectMeta,
    format: (Format, CsvFormat),
    name: &str,
) -> Result<Option<(TableSchema, Option<Reservation>)>> {
    let (meta, name, runtime) = (meta.clone(), name.to_owned(), Handle::current());
    blocking(move || {
        let mut reader = CsvReader::open(store, meta, format, &name, runtime)?;
        if reader.is_empty {
            return Ok(None);
        }
        let next_width = reader.width_below_one_cell();
        let hint = header::hint(&reader.schema, format.1, next_width);
        reader.schema.set_header_hint(hint);
        Ok(Some((reader.schema, reader.columns_memory)))
    })
    .await?
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
    records: Records,
    swallowed: SwallowedRows,
    format: (Format, CsvFormat),
    /// Whether the object has no text at all, not even a header.
    is_empty: bool,
    next_row: u64,
    /// Cells that may hold rows, of which the first is named.
    possible: u64,
    /// What seems wrong with the rows read until now.
    warnings: Vec<String>,
    /// A batch ends with the row in which its cells get as many bytes.
    batch_bytes: u64,
    /// What its columns take, where they are many.
    columns_memory: Option<Reservation>,
}

/// Rows of a CSV object.
#[derive(Debug)]
pub struct CsvBatch {
    /// The named columns as text, nulls where a cell is empty or `NULL`.
    pub columns: MemoryColumns,
    /// 0-based number of the first row within the object, the header not counted.
    pub first_row: u64,
    /// Rows (counted within the batch) that cannot be read: all their cells are null.
    pub malformed: Vec<usize>,
    /// The first of them, and what is wrong with it.
    pub first_problem: Option<MalformedRow>,
    /// What its long records take, for as long as they are in memory.
    pub memory: Option<Reservation>,
}

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MalformedRow {
    /// 1-based number of the row within the object.
    pub row: u64,
    /// What is wrong with it.
    pub problem: RowProblem,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowProblem {
    /// It is not as wide as the header.
    #[error("has {found} fields where the header has {expected}: {}", width_advice(.is_backslashed))]
    Width {
        /// Its fields.
        found: usize,
        /// Those of the header.
        expected: usize,
        /// Whether a backslash stands before a quote that closed a cell too early.
        is_backslashed: bool,
    },
    /// A cell that is needed is not UTF-8.
    #[error("is not UTF-8 text in column \"{column}\" ({hint})")]
    NotUtf8 {
        /// The column's name.
        column: String,
        /// What the bytes probably are, and what to do.
        hint: String,
    },
}

fn width_advice(is_backslashed: &bool) -> &'static str {
    match is_backslashed {
        true => QUOTE_BY_BACKSLASH,
        false => "leave out or add fields, or quote cells that hold the delimiter",
    }
}

impl CsvReader {
    /// Opens the object and reads its header.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no header, a name comes twice or the bytes are no text; storage errors as they are.
    pub fn open(
        store: Arc<dyn Store>,
        meta: ObjectMeta,
        format: (Format, CsvFormat),
        name: &str,
        runtime: Handle,
    ) -> Result<Self> {
        let bytes = RangedReader::new(store, meta, runtime);
        let text: Box<dyn Read + Send> = match format.0 {
            Format::CsvGz => Box::new(unpacked(bytes, name)?),
            Format::Csv | Format::Parquet => Box::new(bytes),
        };
        let csv = format.1;
        let mut records = Records::new(text, csv.delimiter, name);
        let head = match records.head() {
            Ok(head) => head,
            Err(Fault::Read(error)) => return Err(unreadable(name, &error)),
            Err(Fault::NoRoom(error)) => return Err(error),
            Err(fault) => return Err(Error::Defect(format!("{name}: {fault:?} before the first record"))),
        };
        if let Some(kind) = file_kind::recognise_named(name, head) {
            let inside = if format.0 == Format::CsvGz { " inside of its gzip data" } else { "" };
            return Err(Error::Data(format!("{name} is {}{inside}, not CSV: {}", kind.what, kind.advice)));
        }
        let is_empty = head.is_empty();
        let mut reader = Self {
            name: name.to_owned(),
            schema: TableSchema::default(),
            records,
            swallowed: SwallowedRows::new(0, csv),
            format,
            is_empty,
            next_row: 0,
            possible: 0,
            warnings: Vec::new(),
            batch_bytes: u64::MAX,
            columns_memory: None,
        };
        if !is_empty {
            reader.read_schema()?;
        }
        Ok(reader)
    }

    fn read_schema(&mut self) -> Result<()> {
        let (name, csv) = (&self.name, self.format.1);
        if !self.records.advance().map_err(|fault| self.fault(fault, 0))? {
            return Err(Error::Data(format!("{name} has no header row: write the column names into its first line")));
        }
        self.refuse_stray_text(0)?;
        if let Some(cell) = rows_in_header(&self.records, csv) {
            let byte = self.byte(self.records.quote_byte(&cell));
            return Err(Error::Data(format!(
                "{name}: the cell of the header that opens with the quote at {byte} holds what looks like rows: a quote is \
                 missing or too many; {MEND_QUOTE}{OR_PARQUET}"
            )));
        }
        let header = self.records.record();
        let bytes = header.len() as u64 * COLUMN_BYTES + 4 * header.text().len() as u64;
        if bytes > LONG_RECORD as u64 {
            let mut memory = Reservation::new(&format!("{name}: a header of {} columns", header.len()));
            memory.resize(bytes)?;
            self.columns_memory = Some(memory);
        }
        self.schema = header::header_schema(header, csv, name)?;
        self.swallowed = SwallowedRows::new(self.schema.columns().len(), csv);
        Ok(())
    }

    /// The cells in the first row below a header of one cell; what is wrong there shows when rows are read.
    fn width_below_one_cell(&mut self) -> Option<usize> {
        let is_one_cell = self.schema.columns().len() == 1;
        (is_one_cell && matches!(self.records.advance(), Ok(true))).then(|| self.records.record().len())
    }

    /// What seems wrong with the rows read since this was asked last.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// The same, whose batches have fewer rows where their cells would have more bytes than this and a row's.
    #[must_use]
    pub fn with_batch_bytes(self, bytes: u64) -> Self {
        Self { batch_bytes: bytes, ..self }
    }

    /// Reads up to `rows` rows of the named columns; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Data`] where the bytes cannot be unpacked, a quote is not closed or a cell holds what looks like rows;
    /// storage errors as they are.
    pub fn next_batch(&mut self, names: &[String], rows: usize) -> Result<Option<CsvBatch>> {
        if self.is_empty {
            return Ok(None);
        }
        self.records.below_header();
        let positions = self.positions(names)?;
        let (mut cells, mut memory) = (RawCells::new(names), None);
        let (mut malformed, mut first_problem) = (Vec::new(), None);
        let (first_row, mut count, mut bytes) = (self.next_row, 0, 0);
        while count < rows && bytes < self.batch_bytes && cells.text_bytes() < RAW_TEXT_MOST {
            if !self.records.advance().map_err(|fault| self.fault(fault, self.next_row + 1))? {
                self.judge(true)?;
                break;
            }
            self.next_row += 1;
            let record = self.records.record();
            if !self.records.multiline_cells().is_empty() {
                self.check_multiline()?;
            } else if record.len() == self.schema.columns().len() {
                self.swallowed.learn(&self.records, self.next_row);
            }
            if self.records.record().text().len() > LONG_RECORD {
                let name = || Reservation::new(&format!("{}: its long records", self.name));
                memory.get_or_insert_with(name).grow(self.bytes_of(&positions))?;
            }
            let text_before = cells.text_bytes();
            if self.append_record(&positions, &mut cells) {
                bytes += (cells.text_bytes() - text_before) as u64;
            } else {
                bytes += self.bytes_of(&positions);
                malformed.push(count);
                first_problem
                    .get_or_insert_with(|| MalformedRow { row: self.next_row, problem: self.problem(&positions) });
            }
            count += 1;
        }
        if count == 0 {
            return Ok(None);
        }
        let columns = MemoryColumns::raw_cells(cells, count, self.format.1.cells);
        Ok(Some(CsvBatch { columns, first_row, malformed, first_problem, memory }))
    }

    fn positions(&self, names: &[String]) -> Result<Vec<usize>> {
        let position = |name: &String| {
            let found = self.schema.columns().iter().position(|column| column.name == *name);
            found.ok_or_else(|| Error::Data(format!("{}: column \"{name}\" is missing", self.name)))
        };
        names.iter().map(position).collect()
    }

    /// Bytes of the current record's cells, of which some may be missing.
    fn bytes_of(&self, positions: &[usize]) -> u64 {
        let record = self.records.record();
        let present = positions.iter().filter(|position| **position < record.len());
        present.map(|&position| record.place(position).len() as u64).sum()
    }

    /// Appends the current record's cells, or nulls where it is malformed; says whether it was well formed.
    fn append_record(&self, positions: &[usize], cells: &mut RawCells) -> bool {
        let record = self.records.record();
        let is_wide = record.len() == self.schema.columns().len();
        let text = |&cell: &usize| std::str::from_utf8(record.cell(cell)).ok();
        match std::str::from_utf8(record.text()) {
            Ok(text) if is_wide => {
                cells.push_places(text, positions.iter().map(|&position| record.place(position)));
            }
            // What nobody asked for may be anything.
            Err(_) if is_wide && positions.iter().all(|position| text(position).is_some()) => {
                cells.push(positions.iter().filter_map(text));
            }
            _ => {
                cells.push_missing();
                return false;
            }
        }
        true
    }

    /// What is wrong with the current record, which is malformed.
    fn problem(&self, positions: &[usize]) -> RowProblem {
        let (record, columns) = (self.records.record(), self.schema.columns());
        let is_no_text = |cell: &&usize| std::str::from_utf8(record.cell(**cell)).is_err();
        let is_wide = record.len() == columns.len();
        match if is_wide { positions.iter().find(is_no_text) } else { None } {
            Some(&cell) => RowProblem::NotUtf8 {
                column: without_control_characters(&columns[cell].name),
                hint: encoding::hint(record.cell(cell)),
            },
            None => RowProblem::Width {
                found: record.len(),
                expected: columns.len(),
                is_backslashed: self.records.stray().is_some_and(|stray| stray.is_backslashed),
            },
        }
    }

    /// Checks the current record, which goes over several lines.
    fn check_multiline(&mut self) -> Result<()> {
        self.refuse_stray_text(self.next_row)?;
        self.swallowed.consider(&self.records, self.next_row);
        self.judge(false)
    }

    /// A quote too many or too few shows where text stands behind a closing quote. On one line it is read as it stands.
    fn refuse_stray_text(&self, row: u64) -> Result<()> {
        let Some(stray) = self.records.stray().filter(|_| !self.records.multiline_cells().is_empty()) else {
            return Ok(());
        };
        let backslash = if stray.is_backslashed { format!("; {QUOTE_BY_BACKSLASH}") } else { String::new() };
        Err(Error::Data(format!(
            "{}: {}: text stands at {} behind the closing quote of {}, in a record over several lines: a quote is missing \
             or too many; {MEND_QUOTE}{backslash}",
            self.name,
            place(row),
            self.byte(stray.byte),
            self.quoted_cell(OpenQuote { cell: stray.cell, byte: stray.opened })
        )))
    }

    /// Judges the cells that may hold rows, as far as that can be told by now.
    fn judge(&mut self, is_at_end: bool) -> Result<()> {
        while let Some((suspect, verdict)) = self.swallowed.judge(is_at_end) {
            match verdict {
                Verdict::Text => {}
                Verdict::Possible => {
                    self.possible += 1;
                    if self.possible == 1 {
                        let warning = format!(
                            "{} and may hold a row, but was read as text: if a quote is missing or too many, {MEND_QUOTE}",
                            self.describe(&suspect)
                        );
                        self.warnings.push(warning);
                    }
                }
                Verdict::Rows => {
                    return Err(Error::Data(format!(
                        "{} and holds what looks like rows: a quote is missing or too many; {MEND_QUOTE}{OR_PARQUET}",
                        self.describe(&suspect)
                    )));
                }
            }
        }
        if is_at_end && self.possible > 1 {
            let (name, possible) = (&self.name, self.possible);
            let warning = format!("{name}: {possible} cells over several lines may hold rows, but were read as text");
            self.warnings.push(warning);
            // Said once.
            self.possible = 1;
        }
        Ok(())
    }

    fn describe(&self, suspect: &Suspect) -> String {
        let cell = self.quoted_cell(OpenQuote { cell: suspect.cell, byte: suspect.byte });
        format!("{}: {}: {cell} goes over {} lines", self.name, place(suspect.row), suspect.shape.lines)
    }

    /// What ended the reading of row `row`; 0 is the header.
    fn fault(&self, fault: Fault, row: u64) -> Error {
        let (name, place) = (&self.name, place(row));
        match fault {
            Fault::Read(error) => unreadable(name, &error),
            Fault::Unclosed(quote) => {
                let cell = self.quoted_cell(quote);
                Error::Data(format!(
                    "{name}: {place}: {cell} is never closed, so that all rows behind it are lost: {MEND_QUOTE}"
                ))
            }
            Fault::TooLong { most, open: Some(quote) } => {
                let (cell, mib) = (self.quoted_cell(quote), most >> 20);
                Error::Data(format!("{name}: {place}: {cell} is not closed within {mib} MiB: {MEND_QUOTE}"))
            }
            Fault::TooLong { most, open: None } => Error::Data(format!(
                "{name}: {place} is longer than {} MiB: this is no CSV, or its line breaks are missing; write it again",
                most >> 20
            )),
            Fault::TooWide => Error::Data(format!(
                "{name}: {place} has more than a million cells: this is no CSV, or its line breaks are missing; write it again"
            )),
            Fault::NoRoom(error) => error,
        }
    }

    /// A cell by its quote, for messages.
    fn quoted_cell(&self, quote: OpenQuote) -> String {
        let column = self.schema.columns().get(quote.cell).map(|column| without_control_characters(&column.name));
        let column = column.map(|column| format!(" in column \"{column}\"")).unwrap_or_default();
        format!("the cell{column} that opens with the quote at {}", self.byte(quote.byte))
    }

    fn byte(&self, byte: u64) -> String {
        let of = if self.format.0 == Format::CsvGz { " of the unpacked text" } else { "" };
        format!("byte {byte}{of}")
    }
}

/// Where a row stands, for messages.
fn place(row: u64) -> String {
    if row == 0 { "the header".to_owned() } else { format!("data row {row}") }
}

/// The text of a compressed object.
fn unpacked(bytes: RangedReader, name: &str) -> Result<Gunzip<RangedReader>> {
    let mut packed = BufReader::with_capacity(HEAD_BYTES, bytes);
    let head = packed.fill_buf().map_err(|error| unreadable(name, &error))?;
    if head.starts_with(&gunzip::MAGIC) {
        return Ok(Gunzip::new(packed));
    }
    Err(Error::Data(match file_kind::recognise(head) {
        Some(kind) => format!("{name} is not gzip-compressed but is {}: {}", kind.what, kind.advice),
        None if file_kind::is_like_csv(head) => format!("{name} is not gzip-compressed: name it .csv"),
        None => format!("{name} is not gzip-compressed: write it again, or remove it"),
    }))
}

/// Bytes of an object from which the length of its lines is guessed.
pub(super) const LINES_GUESS: u64 = 256 * 1024;

/// Lines in the first bytes of an object, at least one. What is unpacked may be a thousand times as long, and is never in memory whole.
pub(super) fn count_lines(bytes: &[u8], format: Format) -> usize {
    let mut text: Box<dyn Read + '_> = match format {
        Format::CsvGz => Box::new(MultiGzDecoder::new(bytes)),
        Format::Csv | Format::Parquet => Box::new(Cursor::new(bytes)),
    };
    let (mut feeds, mut returns, mut some) = (0, 0, vec![0; HEAD_BYTES]);
    loop {
        match text.read(&mut some) {
            Ok(count) if count > 0 => {
                feeds += memchr_iter(b'\n', &some[..count]).count();
                returns += memchr_iter(b'\r', &some[..count]).count();
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // Cut off amid a block, the rest cannot be unpacked: what came before it is enough.
            Ok(_) | Err(_) => return feeds.max(returns).max(1),
        }
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Error {
    if let Some(failure) = storage_failure(error) {
        return failure.into();
    }
    if let Some(damage) = gunzip::damage(error) {
        return Error::Data(format!("{name} cannot be unpacked: {damage}; write it again or remove it"));
    }
    Error::Data(format!("{name} is not readable CSV: {error}; write it again or remove it"))
}

/// An empty text column, for tables without rows.
pub fn empty_column(name: &str) -> Series {
    Series::new(name.into(), Vec::<String>::new())
}
