//! Rows that stand in a cell of another row: two stray quotes some rows apart make one cell of all that is between them,
//! with sound quoting and often with the right number of fields.
//!
//! A cell over several lines is looked at as if its quotes were not there. Where its lines then have as many fields as the
//! header, that may be chance (`12 Main St, Apt 4` above `Springfield, IL`), so the fields are compared with what the same
//! columns hold in records of one line: numbers where numbers belong, dates where dates belong.

use std::collections::{BTreeSet, VecDeque};

use memchr::{memchr_iter, memchr2};

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
const OFTEN: usize = 3;
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
    /// How its lines are shaped.
    pub(super) shape: Shape,
    /// What its fields look like, by column.
    columns: Vec<Looks>,
}

/// The lines of a record whose quotes are taken away.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Shape {
    /// Number of lines.
    pub(super) lines: usize,
    /// Those with as many fields as the header.
    fitting: usize,
    /// Those of these that stand in one cell as a whole.
    inner: usize,
    /// Whether the record has another number of fields than the header.
    is_of_other_width: bool,
}

impl Shape {
    /// Whether it may be chance.
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
    /// By look, and by whether the cell begins with a blank.
    counts: [[u64; 2]; PRESENT.len()],
}

/// What cells look like that are not missing.
const PRESENT: [Look; 4] = [Look::Integer, Look::Number, Look::Date, Look::Other];

/// What the cells of a column are, all but one in a hundred of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Usual {
    Integers,
    Numbers,
    Dates,
    #[default]
    Anything,
}

/// What is usual in a column.
#[derive(Debug, Clone, Copy, Default)]
struct Habit {
    usual: Usual,
    /// Whether cells begin with a blank, as text behind a comma does and fields seldom do.
    is_indented: bool,
    is_well_known: bool,
}

impl Looks {
    fn add(&mut self, cell: &[u8], decimal: u8) {
        let look = Look::of(cell, decimal);
        if let Some(place) = PRESENT.iter().position(|present| *present == look) {
            self.counts[place][usize::from(cell.starts_with(b" "))] += 1;
        }
    }

    /// What is usual where `records` were looked at; cells of a column that is nearly always empty do not tell.
    fn habit(&self, records: u64) -> Habit {
        let [integers, numbers, dates, others] = self.counts.map(|[plain, indented]| plain + indented);
        let present = integers + numbers + dates + others;
        let is_enough = present > 0 && present >= records.min(3);
        let is_nearly_all = |count: u64| is_enough && count * 100 >= present * 99;
        let usual = match () {
            () if is_nearly_all(integers) => Usual::Integers,
            () if is_nearly_all(integers + numbers) => Usual::Numbers,
            () if is_nearly_all(dates) => Usual::Dates,
            () => Usual::Anything,
        };
        let is_indented = self.counts.iter().any(|[_, indented]| *indented > 0);
        Habit { usual, is_indented, is_well_known: present >= RECORDS_TO_JUDGE_BY }
    }
}

/// What speaks for rows and what against them, in fields.
#[derive(Debug, Default, Clone, Copy)]
struct Evidence {
    fits: u64,
    misfits: u64,
    /// Numbers with a fraction in columns of whole numbers.
    fractions: u64,
    /// Text that begins with a blank in columns where no text does.
    indented: u64,
}

impl Evidence {
    /// Takes in fields of a column.
    fn add(&mut self, habit: Habit, look: Look, is_indented: bool, count: u64) {
        let is_odd = is_indented && !habit.is_indented;
        let is_fitting = match habit.usual {
            _ if look == Look::Missing => return,
            Usual::Integers => look == Look::Integer,
            Usual::Numbers => matches!(look, Look::Integer | Look::Number),
            Usual::Dates => look == Look::Date,
            Usual::Anything => {
                self.indented += if is_odd && habit.is_well_known { count } else { 0 };
                return;
            }
        };
        match is_fitting && !is_odd {
            true => self.fits += count,
            false if habit.usual == Usual::Integers && look == Look::Number => self.fractions += count,
            false => self.misfits += count,
        }
    }

    fn append(&mut self, other: Self) {
        self.fits += other.fits;
        self.misfits += other.misfits;
        self.fractions += other.fractions;
        self.indented += other.indented;
    }
}

/// A part of a record whose multi-line cells are taken for lines of their own.
enum Part<'text> {
    /// A field of such a cell in its column; not those that hold the quotes, which are odd either way.
    Field(usize, &'text [u8]),
    /// The end of a line, which has so many fields; whether the whole line stands in one cell.
    LineEnd(usize, bool),
}

/// Finds rows in cells of one table.
#[derive(Debug)]
pub(super) struct SwallowedRows {
    width: usize,
    csv: CsvFormat,
    /// Looks of each column in records of one line, and what is usual there.
    profile: Vec<Looks>,
    habits: Vec<Habit>,
    records_seen: u64,
    records_profiled: u64,
    rows_seen: u64,
    /// Columns whose text has the shape of rows time and again.
    often_shaped: BTreeSet<usize>,
    /// Suspects that wait to be judged, by [`Shape::is_short`].
    short: VecDeque<Suspect>,
    long: VecDeque<Suspect>,
}

impl SwallowedRows {
    pub(super) fn new(width: usize, csv: CsvFormat) -> Self {
        Self {
            width,
            csv,
            profile: vec![Looks::default(); width],
            habits: vec![Habit::default(); width],
            records_seen: 0,
            records_profiled: 0,
            rows_seen: 0,
            often_shaped: BTreeSet::new(),
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
            for ((looks, habit), cell) in self.profile.iter_mut().zip(&mut self.habits).zip(record.cells()) {
                looks.add(cell, self.csv.cells.decimal);
                *habit = looks.habit(self.records_profiled);
            }
        }
    }

    /// Takes in the current record, which goes over several lines.
    pub(super) fn consider(&mut self, records: &Records, row: u64) {
        self.rows_seen = row;
        let cells = records.multiline_cells();
        let mut is_suspect = false;
        for cell in cells {
            is_suspect |= self.consider_cells(records, std::slice::from_ref(cell), row);
        }
        if !is_suspect && cells.len() > 1 {
            self.consider_cells(records, cells, row);
        }
    }

    /// The next suspect with what it is taken for, if that can be told by now.
    pub(super) fn judge(&mut self, is_at_end: bool) -> Option<(Suspect, Verdict)> {
        let oldest = self.short.front().map_or(self.rows_seen, |suspect| suspect.row);
        let is_full = (self.short.len() + self.long.len()) * self.width > WAITING_COLUMNS;
        let is_known = is_at_end || is_full || self.is_known();
        let is_settled = is_at_end || is_full || self.rows_seen >= oldest + ROWS_TO_JUDGE_BY;
        let suspect = match if is_known { self.long.pop_front() } else { None } {
            Some(suspect) => suspect,
            None => {
                let cell = self.short.front().filter(|_| is_known && is_settled)?.cell;
                if self.short.iter().filter(|other| other.cell == cell).take(OFTEN).count() == OFTEN {
                    self.often_shaped.insert(cell);
                }
                self.short.pop_front()?
            }
        };
        let mut evidence = Evidence::default();
        for (habit, looks) in self.habits.iter().zip(&suspect.columns) {
            for (look, counts) in PRESENT.into_iter().zip(looks.counts) {
                evidence.add(*habit, look, false, counts[0]);
                evidence.add(*habit, look, true, counts[1]);
            }
        }
        let verdict = self.verdict(suspect.cell, suspect.shape, evidence);
        Some((suspect, verdict))
    }

    fn is_known(&self) -> bool {
        self.records_profiled >= RECORDS_TO_JUDGE_BY
    }

    /// Takes in `cells` of the current record, unless they are plainly text; says whether they are suspects.
    fn consider_cells(&mut self, records: &Records, cells: &[MultilineCell], row: u64) -> bool {
        let Some(first) = cells.first() else { return false };
        let is_of_other_width = records.record().len() != self.width;
        let (mut shape, mut evidence) = (Shape { is_of_other_width, ..Shape::default() }, Evidence::default());
        let (mut line, mut line_fields, mut fields) = (Evidence::default(), 0, 0);
        walk_lines(records, cells, self.csv.delimiter, |part| match part {
            Part::Field(column, text) => {
                let habit = self.habits.get(column).copied().unwrap_or_default();
                let look = match habit.usual {
                    // Any text is alike there.
                    Usual::Anything => Look::Other,
                    _ => Look::of(text, self.csv.cells.decimal),
                };
                line.add(habit, look, text.starts_with(b" "), 1);
                line_fields += 1;
            }
            Part::LineEnd(width, is_inner) => {
                shape.lines += 1;
                if width == self.width {
                    shape.fitting += 1;
                    shape.inner += usize::from(is_inner);
                    evidence.append(line);
                    fields += line_fields;
                }
                (line, line_fields) = (Evidence::default(), 0);
            }
        });
        let is_partly_shaped = shape.fitting > 0 && self.width > 1 && (is_of_other_width || fields > 0);
        if !is_partly_shaped && shape.fitting < shape.lines {
            return false;
        }
        if self.is_known() && self.verdict(first.cell, shape, evidence) == Verdict::Text {
            return false;
        }
        let (cell, byte) = (first.cell, records.quote_byte(first));
        let suspect = Suspect { row, cell, byte, shape, columns: self.looks(records, cells) };
        let waiting = if shape.is_short() { &mut self.short } else { &mut self.long };
        waiting.push_back(suspect);
        true
    }

    /// What the fields of `cells` look like in lines with as many of them as the header.
    fn looks(&self, records: &Records, cells: &[MultilineCell]) -> Vec<Looks> {
        let mut columns = vec![Looks::default(); self.width];
        let mut line = Vec::new();
        walk_lines(records, cells, self.csv.delimiter, |part| match part {
            Part::Field(column, text) => line.push((column, text)),
            Part::LineEnd(width, _) => {
                let fields = line.drain(..).filter(|_| width == self.width);
                fields.for_each(|(column, text)| columns[column].add(text, self.csv.cells.decimal));
            }
        });
        columns
    }

    fn verdict(&self, cell: usize, shape: Shape, evidence: Evidence) -> Verdict {
        // As one cell it is no number.
        let is_unusual = self.habits.get(cell).is_some_and(|habit| habit.usual != Usual::Anything);
        let fits = evidence.fits + u64::from(is_unusual);
        // Whole numbers alone do not say that a column has no others, but few lines need better reasons.
        let misfits = evidence.misfits + if shape.is_short() { evidence.fractions } else { 0 };
        if shape.is_of_other_width {
            return if misfits > fits { Verdict::Text } else { Verdict::Rows };
        }
        if self.width == 1 {
            return if fits > 0 && misfits * 9 <= fits { Verdict::Rows } else { Verdict::Text };
        }
        if shape.fitting < shape.lines {
            let are_most_fitting = shape.lines > LINES_BEYOND_CHANCE && shape.fitting * 4 >= shape.lines * 3;
            return match fits {
                _ if misfits * 9 > fits => Verdict::Text,
                0 if are_most_fitting => Verdict::Possible,
                0 => Verdict::Text,
                _ if are_most_fitting || fits >= 2 * shape.fitting as u64 => Verdict::Rows,
                _ => Verdict::Possible,
            };
        }
        if shape.inner >= LINES_BEYOND_CHANCE {
            return match misfits > fits {
                true => Verdict::Text,
                false if fits == 0 && evidence.indented * 2 > shape.inner as u64 => Verdict::Possible,
                false => Verdict::Rows,
            };
        }
        match (fits, misfits) {
            (1..FITS_BEYOND_CHANCE, 0) if self.often_shaped.contains(&cell) => Verdict::Possible,
            (1.., 0) => Verdict::Rows,
            (0, 0) => Verdict::Possible,
            _ if fits > misfits => Verdict::Possible,
            _ => Verdict::Text,
        }
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
        let mut rest = records.multiline_text(multiline);
        let (mut is_first, mut is_last) = (true, false);
        while !is_last {
            let length = memchr2(b'\n', b'\r', rest);
            is_last = length.is_none();
            let (line, behind) = rest.split_at(length.unwrap_or(rest.len()));
            rest = behind.get(1..).unwrap_or_default();
            // Also what stands between the two bytes of a line end.
            if line.is_empty() && !is_first && !is_last {
                continue;
            }
            let mut start = 0;
            for end in memchr_iter(delimiter, line).chain(std::iter::once(line.len())) {
                let has_quote = is_first && start == 0 || is_last && end == line.len();
                if !has_quote {
                    visit(Part::Field(column, &line[start..end]));
                }
                column += 1;
                start = end + 1;
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
