//! Rows that stand in a cell of another row: two stray quotes some rows apart make one cell of all that is between them,
//! with sound quoting and often with the right number of fields.
//!
//! A cell over several lines is looked at as if its quotes were not there. Where its lines then have as many fields as the
//! header, that may be chance (`12 Main St, Apt 4` above `Springfield, IL`), so the fields are compared with what the same
//! columns hold in records of one line: numbers where numbers belong, dates where dates belong.

use std::collections::{BTreeSet, VecDeque};

use super::CsvFormat;
use super::looks::Look;
use super::records::{MultilineCell, Record, Records};

/// The first records of one line that are looked at, and the cells of them that may be; after them, every
/// [`PROFILE_EVERY`]th record.
const PROFILE_RECORDS: u64 = 256;
const PROFILE_CELLS: u64 = 200_000;
const PROFILE_EVERY: u64 = 256;
/// Records of one line that are seen before a suspect is judged, as far as there are so many.
const RECORDS_TO_JUDGE_BY: u64 = 16;
/// Columns of all suspects that wait for such records. There are more of them where nearly all records go over several lines.
const WAITING_COLUMNS: usize = 20_000;
/// Rows that are seen after a suspect of few lines before it is judged, as far as there are so many: whether others are like it.
const ROWS_TO_JUDGE_BY: u64 = 4_096;
/// So many suspects of few lines in one column are no slips of the pen: stray quotes seldom close one another in this way.
const HABIT: usize = 3;
/// So many fields that fit their columns in one suspect are no habit of a column's text.
const FITS_BEYOND_CHANCE: u64 = 5;
/// Whole lines of a cell, each with as many fields as the header, that are no chance.
const LINES_BEYOND_CHANCE: usize = 3;

/// A cell over several lines that may hold rows.
#[derive(Debug)]
pub(super) struct Suspect {
    /// 1-based number of the row.
    pub(super) row: u64,
    /// The cell's place in its record.
    pub(super) cell: usize,
    /// Byte in the text of its quote.
    pub(super) byte: u64,
    /// Lines that it goes over.
    pub(super) lines: usize,
    /// Those of them with as many fields as the header.
    fitting: usize,
    /// Those of them with nothing of the record's other cells.
    inner: usize,
    /// Whether the record has another number of fields than the header.
    is_of_other_width: bool,
    columns: Vec<Looks>,
}

impl Suspect {
    /// Whether it may have the shape of rows by chance.
    fn is_short(&self) -> bool {
        self.inner < LINES_BEYOND_CHANCE && !self.is_of_other_width
    }
}

/// What a suspect is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds rows.
    Rows,
    /// It may hold rows.
    Possible,
    /// It is text.
    Text,
}

/// How often cells of a column look like what.
#[derive(Debug, Default, Clone)]
struct Looks {
    integers: u64,
    numbers: u64,
    dates: u64,
    others: u64,
    /// Those of all these that begin with a blank.
    indented: u64,
}

/// What the cells of a column are, all but one in a hundred of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usual {
    Integers,
    Numbers,
    Dates,
    Anything,
}

impl Looks {
    fn add(&mut self, cell: &[u8], decimal: u8) {
        match Look::of(cell, decimal) {
            Look::Missing => return,
            Look::Integer => self.integers += 1,
            Look::Number => self.numbers += 1,
            Look::Date => self.dates += 1,
            Look::Other => self.others += 1,
        }
        self.indented += u64::from(cell.starts_with(b" "));
    }

    fn present(&self) -> u64 {
        self.integers + self.numbers + self.dates + self.others
    }

    /// What nearly all cells are, where `records` were looked at; cells of a column that is nearly always empty do not tell.
    fn usual(&self, records: u64) -> Usual {
        let present = self.present();
        let is_enough = present > 0 && present >= records.min(3);
        let is_nearly_all = |count: u64| is_enough && count * 100 >= present * 99;
        if is_nearly_all(self.integers) {
            Usual::Integers
        } else if is_nearly_all(self.integers + self.numbers) {
            Usual::Numbers
        } else if is_nearly_all(self.dates) {
            Usual::Dates
        } else {
            Usual::Anything
        }
    }
}

/// What speaks for rows in a suspect and what against them, in fields.
#[derive(Debug, Default)]
struct Evidence {
    fits: u64,
    misfits: u64,
    /// Text that begins with a blank in columns where no text does.
    indented: u64,
}

/// A part of a record whose multiline cells are taken for lines of their own.
enum Part<'text> {
    /// A field of a multiline cell in its column; not those that hold the quotes, which are odd either way.
    Field(usize, &'text [u8]),
    /// The end of a line, which has so many fields; whether the whole line stands in one cell.
    LineEnd(usize, bool),
}

/// Finds rows in cells of one table.
#[derive(Debug)]
pub(super) struct SwallowedRows {
    width: usize,
    csv: CsvFormat,
    /// Looks of each column in records of one line.
    profile: Vec<Looks>,
    records_seen: u64,
    records_profiled: u64,
    rows_seen: u64,
    /// Columns whose cells have the shape of rows time and again, which is how their text is.
    habits: BTreeSet<usize>,
    /// Suspects that wait to be judged, by [`Suspect::is_short`].
    short: VecDeque<Suspect>,
    long: VecDeque<Suspect>,
}

impl SwallowedRows {
    pub(super) fn new(width: usize, csv: CsvFormat) -> Self {
        let profile = vec![Looks::default(); width];
        Self {
            width,
            csv,
            profile,
            records_seen: 0,
            records_profiled: 0,
            rows_seen: 0,
            habits: BTreeSet::new(),
            short: VecDeque::new(),
            long: VecDeque::new(),
        }
    }

    /// Learns from a record of one line with as many fields as the header.
    pub(super) fn learn(&mut self, record: Record<'_>, row: u64) {
        self.rows_seen = row;
        self.records_seen += 1;
        let is_early =
            self.records_profiled < PROFILE_RECORDS && self.records_profiled * self.width as u64 <= PROFILE_CELLS;
        if is_early || self.records_seen.is_multiple_of(PROFILE_EVERY) {
            self.records_profiled += 1;
            for (looks, cell) in self.profile.iter_mut().zip(record.cells()) {
                looks.add(cell, self.csv.cells.decimal);
            }
        }
    }

    /// Takes in the current record, which goes over several lines.
    pub(super) fn consider(&mut self, records: &Records, row: u64) {
        self.rows_seen = row;
        let multiline = records.multiline_cells();
        let alone = multiline.iter().filter_map(|cell| self.suspect(records, std::slice::from_ref(cell), row));
        let mut suspects: Vec<Suspect> = alone.collect();
        if suspects.is_empty() && multiline.len() > 1 {
            suspects.extend(self.suspect(records, multiline, row));
        }
        for suspect in suspects {
            let waiting = if suspect.is_short() { &mut self.short } else { &mut self.long };
            waiting.push_back(suspect);
        }
    }

    /// The next suspect with what it is taken for, if that can be told by now.
    pub(super) fn judge(&mut self, is_at_end: bool) -> Option<(Suspect, Verdict)> {
        let oldest = self.short.front().map_or(self.rows_seen, |suspect| suspect.row);
        let is_full = (self.short.len() + self.long.len()) * self.width > WAITING_COLUMNS;
        let is_known = is_at_end || is_full || self.records_profiled >= RECORDS_TO_JUDGE_BY;
        let is_settled = is_at_end || is_full || self.rows_seen >= oldest + ROWS_TO_JUDGE_BY;
        if let Some(suspect) = if is_known { self.long.pop_front() } else { None } {
            let verdict = self.verdict(&suspect);
            return Some((suspect, verdict));
        }
        let cell = self.short.front().filter(|_| is_known && is_settled)?.cell;
        if self.short.iter().filter(|other| other.cell == cell).take(HABIT).count() == HABIT {
            self.habits.insert(cell);
        }
        let suspect = self.short.pop_front()?;
        let verdict = self.verdict(&suspect);
        Some((suspect, verdict))
    }

    /// Whether `cells` of the current record have the shape of rows.
    fn suspect(&self, records: &Records, cells: &[MultilineCell], row: u64) -> Option<Suspect> {
        let first = cells.first()?;
        let (mut lines, mut fitting, mut inner) = (0, 0, 0);
        // Fields of the line under way, and of the lines that have as many as the header.
        let (mut line, mut fields) = (Vec::new(), Vec::new());
        walk_lines(records, cells, self.csv.delimiter, |part| match part {
            Part::Field(column, text) => line.push((column, text)),
            Part::LineEnd(width, is_inner) => {
                lines += 1;
                if width == self.width {
                    fitting += 1;
                    inner += usize::from(is_inner);
                    fields.append(&mut line);
                }
                line.clear();
            }
        });
        let is_of_other_width = records.record().len() != self.width;
        let is_shaped = fitting > 0 && self.width > 1 && (is_of_other_width || !fields.is_empty());
        if !is_shaped && fitting < lines {
            return None;
        }
        let mut columns = vec![Looks::default(); self.width];
        for (column, text) in fields {
            columns[column].add(text, self.csv.cells.decimal);
        }
        let (cell, byte) = (first.cell, records.quote_byte(first));
        Some(Suspect { row, cell, byte, lines, fitting, inner, is_of_other_width, columns })
    }

    fn verdict(&self, suspect: &Suspect) -> Verdict {
        let Evidence { fits, misfits, indented } = self.evidence(suspect);
        if suspect.is_of_other_width {
            return if misfits > fits { Verdict::Text } else { Verdict::Rows };
        }
        if self.width == 1 {
            return if fits > 0 && misfits * 9 <= fits { Verdict::Rows } else { Verdict::Text };
        }
        if suspect.fitting < suspect.lines {
            let are_most_fitting = suspect.lines > LINES_BEYOND_CHANCE && suspect.fitting * 4 >= suspect.lines * 3;
            return match fits {
                _ if misfits * 9 > fits => Verdict::Text,
                0 if are_most_fitting => Verdict::Possible,
                0 => Verdict::Text,
                _ if are_most_fitting || fits >= 2 * suspect.fitting as u64 => Verdict::Rows,
                _ => Verdict::Possible,
            };
        }
        if suspect.inner >= LINES_BEYOND_CHANCE {
            return match misfits > fits {
                true => Verdict::Text,
                false if fits == 0 && indented * 2 > suspect.inner as u64 => Verdict::Possible,
                false => Verdict::Rows,
            };
        }
        match (fits, misfits) {
            (1..FITS_BEYOND_CHANCE, 0) if self.habits.contains(&suspect.cell) => Verdict::Possible,
            (1.., 0) => Verdict::Rows,
            (0, 0) => Verdict::Possible,
            _ if fits > misfits => Verdict::Possible,
            _ => Verdict::Text,
        }
    }

    fn evidence(&self, suspect: &Suspect) -> Evidence {
        let mut evidence = Evidence::default();
        let is_short = suspect.is_short();
        for (usual, found) in self.profile.iter().zip(&suspect.columns) {
            let usually = usual.usual(self.records_profiled);
            let fitting = match usually {
                Usual::Integers => found.integers,
                Usual::Numbers => found.integers + found.numbers,
                Usual::Dates => found.dates,
                Usual::Anything => {
                    let is_unusual = usual.indented == 0 && usual.present() >= RECORDS_TO_JUDGE_BY;
                    evidence.indented += if is_unusual { found.indented } else { 0 };
                    continue;
                }
            };
            // Few whole numbers do not say that a column has no others.
            let open = if usually == Usual::Integers && !is_short { found.numbers } else { 0 };
            // Prose has a blank behind a comma, rows seldom have one.
            let indented = if usual.indented == 0 { found.indented } else { 0 };
            let fitting_unindented = fitting.saturating_sub(indented);
            evidence.fits += fitting_unindented;
            evidence.misfits += (found.present() - fitting_unindented).saturating_sub(open);
        }
        // As one cell it is no number.
        let own = self.profile.get(suspect.cell).map(|looks| looks.usual(self.records_profiled));
        evidence.fits += u64::from(own.is_some_and(|usual| usual != Usual::Anything));
        evidence
    }
}

/// The cell of a header that holds what looks like rows, if there is one.
pub(super) fn rows_in_header(records: &Records, csv: CsvFormat) -> Option<MultilineCell> {
    let multiline = records.multiline_cells();
    let first = *multiline.first()?;
    let (mut widths, mut inner, mut values) = (Vec::new(), 0, 0);
    walk_lines(records, multiline, csv.delimiter, |part| match part {
        Part::LineEnd(width, is_inner) => {
            widths.push(width);
            inner += usize::from(is_inner);
        }
        Part::Field(_, text) => {
            let is_value = matches!(Look::of(text, csv.cells.decimal), Look::Integer | Look::Number | Look::Date);
            values += usize::from(is_value && !text.starts_with(b" ") && !widths.is_empty());
        }
    });
    let width = *widths.first()?;
    let looked_at = if inner > 0 { &widths[..widths.len() - 1] } else { &widths[..] };
    let is_shaped = width > 1 && looked_at.iter().all(|other| *other == width);
    (is_shaped && (values > 0 || inner >= LINES_BEYOND_CHANCE)).then_some(first)
}

/// Goes through the current record as if `cells` had no quotes.
fn walk_lines<'text>(
    records: &'text Records,
    cells: &[MultilineCell],
    delimiter: u8,
    mut visit: impl FnMut(Part<'text>),
) {
    let (mut column, mut next_cell) = (0, 0);
    for multiline in cells {
        column += multiline.cell - next_cell;
        next_cell = multiline.cell + 1;
        let text = records.multiline_text(multiline);
        let mut lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).peekable();
        let mut is_first = true;
        while let Some(line) = lines.next() {
            let is_last = lines.peek().is_none();
            // Also what stands between the two bytes of a line end.
            if line.is_empty() && !is_first && !is_last {
                continue;
            }
            let first_column = column;
            let mut fields = line.split(|byte| *byte == delimiter).peekable();
            while let Some(field) = fields.next() {
                let has_quote = is_first && column == first_column || is_last && fields.peek().is_none();
                if !has_quote {
                    visit(Part::Field(column, field));
                }
                column += 1;
            }
            if !is_last {
                visit(Part::LineEnd(column, !is_first));
                column = 0;
            }
            is_first = false;
        }
    }
    visit(Part::LineEnd(column + records.record().len() - next_cell, false));
}
