//! CSV text as records: where every record and every quote stands, so that no row disappears in another one's cell.
//!
//! Cells are cut as the `csv` crate cuts them, which the tests compare: `\n`, `\r\n` and `\r` end a record, lines without
//! a byte are skipped, a quote opens a quoted cell only where it is the cell's first byte, and what stands between a
//! closing quote and the next delimiter is taken as it is. Unlike there, a quote that is never closed is an error.

use std::io::{self, Read};

use error::Error;
use machine::memory::Reservation;
use memchr::{memchr, memchr_iter, memchr2, memchr3};

/// Bytes of text in memory at once, unless a record is longer.
const BUFFER_BYTES: usize = 1 << 20;
/// Bytes that are read first: headers are short, and many objects may be opened at once.
const FIRST_BYTES: usize = 64 << 10;
/// A record of more bytes is taken for a quote that is not closed, or for no CSV, before it fills the memory.
const RECORD_BYTES: usize = 64 << 20;
/// The same of a header: those of several objects are read at once.
const HEADER_BYTES: usize = 8 << 20;
/// Most cells of a record: where each one ends is kept, which takes more than an empty cell itself.
const MOST_CELLS: usize = 1 << 20;

const QUOTE: u8 = b'"';
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why there is no next record.
#[derive(Debug)]
pub(super) enum Fault {
    /// The text could not be read on.
    Read(io::Error),
    /// A quote that opens a cell is not closed until the end of the text.
    Unclosed(OpenQuote),
    /// A record has more bytes than one may have; the quote is that of its last cell, where that cell has one.
    TooLong { most: usize, open: Option<OpenQuote> },
    /// A record has more than [`MOST_CELLS`].
    TooWide,
    /// There is no room for it in memory.
    NoRoom(Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Where a quote opened that was not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenQuote {
    /// The cell's place in its record.
    pub(super) cell: usize,
    /// Byte of the quote in the text.
    pub(super) byte: u64,
}

/// Splits text into records.
pub(super) struct Records {
    source: Box<dyn Read + Send>,
    delimiter: u8,
    buffer: Vec<u8>,
    /// Where the next record is looked for, and where the text in the buffer ends.
    start: usize,
    filled: usize,
    /// Whether there is nothing after what is in the buffer.
    is_complete: bool,
    /// Byte of the text that the buffer begins with.
    offset: u64,
    /// The first quote at or after `start`; `filled` where there is none.
    next_quote: usize,
    record: Layout,
    /// Most bytes of a record.
    most: usize,
    /// What a long record takes.
    memory: Reservation,
}

/// Where the cells of the current record are.
#[derive(Debug, Default)]
struct Layout {
    /// The record's bytes in the buffer, without the line end.
    start: usize,
    end: usize,
    /// Whether `cells` holds the cells without their quotes; else they stand in the buffer.
    is_quoted: bool,
    cells: Vec<u8>,
    /// Where each cell ends; the next one begins behind the delimiter there.
    ends: Vec<usize>,
    multiline: Vec<MultilineCell>,
    stray: Option<Stray>,
}

/// A quoted cell over several lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MultilineCell {
    /// The cell's place in its record.
    pub(super) cell: usize,
    /// Its quotes in the buffer.
    opened: usize,
    closed: usize,
}

/// Where a record without quotes stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    byte: u64,
    length: usize,
}

/// Text between a closing quote and the next delimiter or line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stray {
    /// The cell's place in its record.
    pub(super) cell: usize,
    /// Byte in the text of the quote that opened the cell.
    pub(super) opened: u64,
    /// Byte in the text of what stands behind the closing quote.
    pub(super) byte: u64,
    /// Whether a backslash stands before the closing quote.
    pub(super) is_backslashed: bool,
}

/// What parsing a record in the buffer came to.
enum Parsed {
    Record,
    /// The record may go on behind what is in the buffer; the quote that is open there.
    Incomplete(Option<OpenQuote>),
    Unclosed(OpenQuote),
    TooWide,
}

impl Records {
    /// Those of the object `name`. The first one is a header.
    pub(super) fn new(source: Box<dyn Read + Send>, delimiter: u8, name: &str) -> Self {
        Self {
            source,
            delimiter,
            buffer: vec![0; FIRST_BYTES],
            start: 0,
            filled: 0,
            is_complete: false,
            offset: 0,
            next_quote: 0,
            record: Layout::default(),
            most: HEADER_BYTES,
            memory: Reservation::new(&format!("{name}: its longest record")),
        }
    }

    /// The records from now on are rows.
    pub(super) fn below_header(&mut self) {
        self.most = RECORD_BYTES;
    }

    /// The first bytes of the text, before any record was read; a byte-order mark is then skipped.
    pub(super) fn head(&mut self) -> Result<&[u8], Fault> {
        self.fill()?;
        while self.buffer[self.start..self.filled].starts_with(BYTE_ORDER_MARK) {
            self.start += BYTE_ORDER_MARK.len();
        }
        Ok(&self.buffer[..self.filled])
    }

    /// Goes on to the next record; false where there is none.
    pub(super) fn advance(&mut self) -> Result<bool, Fault> {
        loop {
            let text = &self.buffer[self.start..self.filled];
            self.start += text.iter().position(|byte| !is_line_end(*byte)).unwrap_or(text.len());
            let open = if self.start == self.filled {
                if self.is_complete {
                    return Ok(false);
                }
                None
            } else {
                match self.parse() {
                    Parsed::Record => return Ok(true),
                    Parsed::Unclosed(quote) => return Err(Fault::Unclosed(quote)),
                    Parsed::TooWide => return Err(Fault::TooWide),
                    Parsed::Incomplete(open) => open,
                }
            };
            if self.filled - self.start >= self.most {
                return Err(Fault::TooLong { most: self.most, open });
            }
            self.fill()?;
        }
    }

    /// The current record.
    pub(super) fn record(&self) -> Record<'_> {
        let layout = &self.record;
        let text = if layout.is_quoted { &layout.cells[..] } else { &self.buffer[layout.start..layout.end] };
        Record { text, ends: &layout.ends }
    }

    /// Where the current record stands, if it has no quotes.
    pub(super) fn plain_place(&self) -> Option<Place> {
        let layout = &self.record;
        let place = Place { byte: self.offset_of(layout.start), length: layout.end - layout.start };
        (!layout.is_quoted).then_some(place)
    }

    /// The text of an earlier record, as long as it is in memory.
    pub(super) fn text_at(&self, place: Place) -> Option<&[u8]> {
        let start = usize::try_from(place.byte.checked_sub(self.offset)?).ok()?;
        self.buffer[..self.filled].get(start..start + place.length)
    }

    /// The quoted cells of the current record that go over several lines.
    pub(super) fn multiline_cells(&self) -> &[MultilineCell] {
        &self.record.multiline
    }

    /// The bytes between the quotes of a multi-line cell of the current record.
    pub(super) fn multiline_text(&self, cell: &MultilineCell) -> &[u8] {
        &self.buffer[cell.opened + 1..cell.closed]
    }

    /// Byte in the text of the quote that opens a multi-line cell of the current record.
    pub(super) fn quote_byte(&self, cell: &MultilineCell) -> u64 {
        self.offset + cell.opened as u64
    }

    /// The first text behind a closing quote in the current record.
    pub(super) fn stray(&self) -> Option<Stray> {
        self.record.stray
    }

    /// Moves what is left to the buffer's start and reads on, until the buffer is full or the text ends.
    fn fill(&mut self) -> Result<(), Fault> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.offset += self.start as u64;
        self.next_quote = self.next_quote.max(self.start) - self.start;
        self.filled -= self.start;
        self.start = 0;
        if self.offset > 0 || self.filled > 0 {
            let bytes = if self.filled == self.buffer.len() { self.filled * 2 } else { self.buffer.len() };
            if bytes > BUFFER_BYTES && bytes > self.buffer.len() {
                // The text, and its cells without their quotes.
                self.memory.resize(2 * bytes as u64).map_err(Fault::NoRoom)?;
            }
            self.buffer.resize(bytes.max(BUFFER_BYTES), 0);
        }
        let old = self.filled;
        while self.filled < self.buffer.len() && !self.is_complete {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.is_complete = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.next_quote >= old {
            self.next_quote = self.find_quote(old);
        }
        Ok(())
    }

    fn find_quote(&self, from: usize) -> usize {
        memchr(QUOTE, &self.buffer[from..self.filled]).map_or(self.filled, |distance| from + distance)
    }

    /// Parses the record that begins at `start`.
    fn parse(&mut self) -> Parsed {
        let text = &self.buffer[self.start..self.filled];
        let line = match memchr2(b'\n', b'\r', text) {
            Some(length) => length,
            None if self.is_complete => text.len(),
            None => {
                let is_quoted = text[0] == QUOTE;
                return Parsed::Incomplete(is_quoted.then(|| OpenQuote { cell: 0, byte: self.offset_of(self.start) }));
            }
        };
        let line_end = self.start + line;
        self.record.multiline.clear();
        self.record.stray = None;
        if self.next_quote < line_end {
            return self.parse_quoted(line_end);
        }
        if line > MOST_CELLS && memchr_iter(self.delimiter, &text[..line]).count() >= MOST_CELLS {
            return Parsed::TooWide;
        }
        let layout = &mut self.record;
        layout.is_quoted = false;
        (layout.start, layout.end) = (self.start, line_end);
        layout.ends.clear();
        layout.ends.extend(memchr_iter(self.delimiter, &text[..line]));
        layout.ends.push(line);
        self.start = line_end;
        Parsed::Record
    }

    /// Parses a record with a quote in its first line, which ends at `line_end`.
    fn parse_quoted(&mut self, line_end: usize) -> Parsed {
        let mut at = self.start;
        self.record.is_quoted = true;
        self.record.start = self.start;
        self.record.cells.clear();
        self.record.ends.clear();
        loop {
            let cell = self.record.ends.len();
            if cell >= MOST_CELLS {
                return Parsed::TooWide;
            }
            if at < self.filled && self.buffer[at] == QUOTE {
                let opened = OpenQuote { cell, byte: self.offset_of(at) };
                match self.parse_quoted_cell(at, line_end) {
                    Some(end) => at = end,
                    None if self.is_complete => return Parsed::Unclosed(opened),
                    None => return Parsed::Incomplete(Some(opened)),
                }
            }
            let rest = &self.buffer[at..self.filled];
            let length = match memchr3(self.delimiter, b'\n', b'\r', rest) {
                Some(length) => length,
                None if self.is_complete => rest.len(),
                None => return Parsed::Incomplete(None),
            };
            self.record.cells.extend_from_slice(&rest[..length]);
            self.record.ends.push(self.record.cells.len());
            at += length;
            if at == self.filled || is_line_end(self.buffer[at]) {
                break;
            }
            self.record.cells.push(self.delimiter);
            at += 1;
        }
        self.record.end = at;
        self.start = at;
        if self.next_quote < at {
            self.next_quote = self.find_quote(at);
        }
        Parsed::Record
    }

    /// Parses a cell whose quote opens at `opened`; the place behind its closing quote, `None` where the buffer ends before
    /// that is certain.
    fn parse_quoted_cell(&mut self, opened: usize, line_end: usize) -> Option<usize> {
        let cell = self.record.ends.len();
        let mut at = opened + 1;
        loop {
            let rest = &self.buffer[at..self.filled];
            let length = memchr(QUOTE, rest)?;
            self.record.cells.extend_from_slice(&rest[..length]);
            at += length + 1;
            match self.buffer[..self.filled].get(at) {
                Some(&QUOTE) => {
                    self.record.cells.push(QUOTE);
                    at += 1;
                }
                None if !self.is_complete => return None,
                _ => break,
            }
        }
        let closed = at - 1;
        if closed > line_end && memchr2(b'\n', b'\r', &self.buffer[opened..closed]).is_some() {
            self.record.multiline.push(MultilineCell { cell, opened, closed });
        }
        let is_blank = |byte: u8| matches!(byte, b' ' | b'\t') && byte != self.delimiter;
        let behind = self.buffer[at..self.filled].iter().find(|byte| !is_blank(**byte));
        let is_stray = behind.is_some_and(|byte| *byte != self.delimiter && !is_line_end(*byte));
        if is_stray && self.record.stray.is_none() {
            self.record.stray = Some(Stray {
                cell,
                opened: self.offset_of(opened),
                byte: self.offset_of(at),
                is_backslashed: self.buffer[closed - 1] == b'\\',
            });
        }
        Some(at)
    }

    fn offset_of(&self, place: usize) -> u64 {
        self.offset + place as u64
    }
}

/// One record: cells without their quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'text> {
    text: &'text [u8],
    ends: &'text [usize],
}

impl<'text> Record<'text> {
    /// Number of its cells.
    pub(super) fn len(self) -> usize {
        self.ends.len()
    }

    /// All cells with one byte between them.
    pub(super) fn text(self) -> &'text [u8] {
        self.text
    }

    /// Where a cell stands in [`Record::text`].
    pub(super) fn place(self, cell: usize) -> std::ops::Range<usize> {
        let start = if cell == 0 { 0 } else { self.ends[cell - 1] + 1 };
        start..self.ends[cell]
    }

    pub(super) fn cell(self, cell: usize) -> &'text [u8] {
        &self.text[self.place(cell)]
    }

    pub(super) fn cells(self) -> impl Iterator<Item = &'text [u8]> {
        (0..self.len()).map(move |cell| self.cell(cell))
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}
