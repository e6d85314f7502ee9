//! Rows that stand in a cell of another row: two stray quotes some rows apart make one cell of all that is between them,
//! with sound quoting and often with the right number of fields.
//!
//! A cell over several lines is looked at as if its quotes were not there. Where its lines then have as many fields as the
//! header, that may be chance (`12 Main St, Apt 4` above `Springfield, IL`), so the fields are compared with what the same
//! columns hold in records of one line: numbers where numbers belong, dates where dates belong. What columns hold may change
//! on the way, so the records around the cell are asked, too; and where that tells nothing, so many lines of the header's
//! width are no chance.

use std::collections::{BTreeSet, VecDeque};

use memchr::{memchr_iter, memchr2};

use super::CsvFormat;
use super::habits::{Evidence, Habit, Looks, PRESENT, RECORDS_TO_JUDGE_BY, Usual};
use super::looks::Look;
use super::records::{MultilineCell, Place, Records};

/// The first records of one line that are looked at, and the cells of them that may be; after them, every
/// [`PROFILE_EVERY`]th record.
const PROFILE_RECORDS: u64 = 256;
const PROFILE_CELLS: u64 = 200_000;
const PROFILE_EVERY: u64 = 256;
/// Records of one line just before a suspect, and just behind it, that are asked what its columns hold there.
const RECORDS_BEFORE: usize = 32;
const RECORDS_BEHIND: u64 = 16;
/// Rows after a suspect within which records behind it are looked for.
const ROWS_BEHIND: u64 = 256;
/// Columns of all suspects that wait for such records. There are more of them where nearly all records go over several lines.
const WAITING_COLUMNS: usize = 20_000;
/// Rows that are seen after a suspect of few lines before it is judged, as far as there are so many: whether others are like it.
const ROWS_TO_JUDGE_BY: u64 = 4_096;
/// So many suspects in one column are no slips of the pen: stray quotes seldom close one another in this way.
const OFTEN: usize = 3;
/// So many fields that fit their columns in one suspect are no habit of a column's text.
const FITS_BEYOND_CHANCE: u64 = 5;
/// Whole lines of a cell, each with as many fields as the header, that are no chance.
const LINES_BEYOND_CHANCE: usize = 3;

/// Whole lines of a cell, each with as many fields as the header, that are rows whatever their fields look like, unless the
/// column has such cells often.
const LINES_THAT_ARE_ROWS: usize = 8;
/// Fewest columns of which lines do not have as many fields by chance all the time.
const WIDTH_BEYOND_CHANCE: usize = 3;

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
    /// What the columns hold around it.
    around: Around,
    /// Whether it is text by what the columns of the whole table held before it.
    is_text: bool,
}

impl Suspect {
    /// Whether its fields can be compared with the records around it, as far as there are any.
    fn is_compared(&self, rows_seen: u64) -> bool {
        self.around.left == 0 || rows_seen >= self.row + ROWS_BEHIND
    }
}

/// What columns hold in the records of one line around a suspect.
#[derive(Debug)]
struct Around {
    columns: Vec<Looks>,
    records: u64,
    /// Records behind the suspect that are still to come.
    left: u64,
}

impl Around {
    fn add<'text>(&mut self, cells: impl Iterator<Item = &'text [u8]>, decimal: u8) {
        self.records += 1;
        self.columns.iter_mut().zip(cells).for_each(|(looks, cell)| looks.add(cell, decimal));
    }

    /// What is usual in a column by all that is known of the table, and also around the suspect.
    fn habit(&self, column: usize, of_table: Habit) -> Habit {
        match self.columns.get(column) {
            Some(looks) if self.records >= RECORDS_TO_JUDGE_BY && looks.present() >= 3 => {
                of_table.weakened(looks.habit(self.records, 90))
            }
            _ => of_table,
        }
    }
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

    /// Whether every line has as many fields as a header of `width` columns, which is too wide for chance.
    fn is_that_of_rows(&self, width: usize) -> bool {
        self.fitting == self.lines && width >= WIDTH_BEYOND_CHANCE
    }
}

/// What a suspect is taken for, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It is text.
    Text,
    /// It may hold rows.
    Possible,
    /// It holds rows.
    Rows,
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
    /// Where the last records without quotes stand in the text.
    before: VecDeque<Place>,
    /// Records that the last suspect still has to be compared with.
    behind_left: u64,
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
            before: VecDeque::new(),
            behind_left: 0,
            often_shaped: BTreeSet::new(),
            short: VecDeque::new(),
            long: VecDeque::new(),
        }
    }

    /// Learns from the current record, which stands on one line and has as many fields as the header.
    pub(super) fn learn(&mut self, records: &Records, row: u64) {
        self.rows_seen = row;
        self.records_seen += 1;
        let is_early =
            self.records_profiled < PROFILE_RECORDS && self.records_profiled * self.width as u64 <= PROFILE_CELLS;
        if is_early || self.records_seen.is_multiple_of(PROFILE_EVERY) {
            self.records_profiled += 1;
            let cells = records.record().cells();
            for ((looks, habit), cell) in self.profile.iter_mut().zip(&mut self.habits).zip(cells) {
                looks.add(cell, self.csv.cells.decimal);
                *habit = looks.habit(self.records_profiled, 99);
            }
        }
        if let Some(place) = records.plain_place() {
            if self.before.len() == RECORDS_BEFORE {
                self.before.pop_front();
            }
            self.before.push_back(place);
        }
        if self.behind_left > 0 {
            self.behind_left -= 1;
            self.learn_behind(records);
        }
    }

    /// Tells the last suspects of a record behind them.
    fn learn_behind(&mut self, records: &Records) {
        for suspects in [&mut self.short, &mut self.long] {
            for suspect in suspects.iter_mut().rev().take_while(|suspect| suspect.around.left > 0) {
                suspect.around.left -= 1;
                suspect.around.add(records.record().cells(), self.csv.cells.decimal);
            }
        }
    }

    /// What the columns hold in the last records before the current one, as far as they are still in memory.
    fn around(&self, records: &Records) -> Around {
        let mut around = Around { columns: vec![Looks::default(); self.width], records: 0, left: RECORDS_BEHIND };
        for text in self.before.iter().filter_map(|place| records.text_at(*place)) {
            around.add(text.split(|byte| *byte == self.csv.delimiter), self.csv.cells.decimal);
        }
        around
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
        let is_full = (self.short.len() + self.long.len()) * self.width > WAITING_COLUMNS;
        let is_urgent = is_at_end || is_full;
        if !is_urgent && !self.is_known() {
            return None;
        }
        if let Some(judged) = self.judge_long(is_urgent) {
            return Some(judged);
        }
        let suspect = self.short.front()?;
        if !is_urgent && self.rows_seen < suspect.row + ROWS_TO_JUDGE_BY {
            return None;
        }
        let cell = suspect.cell;
        if is_often(&self.short, |other| other.cell == cell && !other.is_text) {
            self.often_shaped.insert(cell);
        }
        let suspect = self.short.pop_front()?;
        let verdict = self.verdict_of(&suspect);
        Some((suspect, verdict))
    }

    /// Judges the first suspect of many lines, which waits only for what may speak for it.
    fn judge_long(&mut self, is_urgent: bool) -> Option<(Suspect, Verdict)> {
        let suspect = self.long.front()?;
        if !is_urgent && !suspect.is_compared(self.rows_seen) {
            return None;
        }
        let is_settled = is_urgent || self.rows_seen >= suspect.row + ROWS_TO_JUDGE_BY;
        let may_be_often = self.has_many_whole_lines(suspect.shape) && self.verdict_of_fields(suspect) != Verdict::Rows;
        if may_be_often && !is_settled {
            return None;
        }
        let cell = suspect.cell;
        if is_often(&self.long, |other| other.cell == cell && self.has_many_whole_lines(other.shape)) {
            self.often_shaped.insert(cell);
        }
        let suspect = self.long.pop_front()?;
        let verdict = self.verdict_of(&suspect);
        Some((suspect, verdict))
    }

    /// Whether so many whole lines are as wide as the header that it does not matter what is in them.
    fn has_many_whole_lines(&self, shape: Shape) -> bool {
        shape.is_that_of_rows(self.width) && shape.inner >= LINES_THAT_ARE_ROWS
    }

    /// What a suspect is taken for by the shape of its lines, and by its fields.
    fn verdict_of(&self, suspect: &Suspect) -> Verdict {
        let by_fields = self.verdict_of_fields(suspect);
        match self.has_many_whole_lines(suspect.shape) {
            true if self.often_shaped.contains(&suspect.cell) => by_fields.max(Verdict::Possible),
            true => Verdict::Rows,
            false => by_fields,
        }
    }

    /// The worse of what its fields say, compared with those of the whole table, and compared with those around it as well.
    fn verdict_of_fields(&self, suspect: &Suspect) -> Verdict {
        let of_table = self.verdict_by(suspect, |column| self.habit(column));
        let around = self.verdict_by(suspect, |column| suspect.around.habit(column, self.habit(column)));
        of_table.max(around)
    }

    fn verdict_by(&self, suspect: &Suspect, habit: impl Fn(usize) -> Habit) -> Verdict {
        let mut evidence = Evidence::default();
        for (column, looks) in suspect.columns.iter().enumerate() {
            for (look, counts) in PRESENT.into_iter().zip(looks.counts) {
                evidence.add(habit(column), look, false, counts[0]);
                evidence.add(habit(column), look, true, counts[1]);
            }
        }
        self.verdict(suspect.cell, suspect.shape, evidence, habit(suspect.cell))
    }

    fn habit(&self, column: usize) -> Habit {
        self.habits.get(column).copied().unwrap_or_default()
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
                let habit = self.habit(column);
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
        let is_text =
            self.is_known() && self.verdict(first.cell, shape, evidence, self.habit(first.cell)) == Verdict::Text;
        // The records around it may say something else.
        if is_text && !shape.is_that_of_rows(self.width) {
            return false;
        }
        let (cell, byte) = (first.cell, records.quote_byte(first));
        let (columns, around) = (self.looks(records, cells), self.around(records));
        self.behind_left = around.left;
        let suspect = Suspect { row, cell, byte, shape, columns, around, is_text };
        let waiting = if shape.is_short() { &mut self.short } else { &mut self.long };
        waiting.push_back(suspect);
        !is_text
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

    /// What the fields of a cell say; `habit` is what is usual in its own column.
    fn verdict(&self, cell: usize, shape: Shape, evidence: Evidence, habit: Habit) -> Verdict {
        // As one cell it is no number.
        let fits = evidence.fits + u64::from(habit.usual != Usual::Anything);
        // Whole numbers alone do not say that a column has no others, but few lines need better reasons.
        let misfits = evidence.misfits + if shape.is_short() { evidence.fractions } else { 0 };
        // Misfits do not outweigh lines all of which are as wide as rows.
        let least = if fits > 0 && shape.is_that_of_rows(self.width) { Verdict::Possible } else { Verdict::Text };
        if shape.is_of_other_width {
            return if misfits > fits { least } else { Verdict::Rows };
        }
        if self.width == 1 {
            return if fits > 0 && misfits * 9 <= fits { Verdict::Rows } else { Verdict::Text };
        }
        if shape.fitting < shape.lines {
            return self.verdict_where_some_fit(shape, fits, misfits);
        }
        if shape.inner >= LINES_BEYOND_CHANCE {
            return match misfits > fits {
                true => least,
                false if fits == 0 && evidence.indented * 2 > shape.inner as u64 => Verdict::Possible,
                false => Verdict::Rows,
            };
        }
        match (fits, misfits) {
            (1..FITS_BEYOND_CHANCE, 0) if self.often_shaped.contains(&cell) => Verdict::Possible,
            (1.., 0) => Verdict::Rows,
            (0, 0) => Verdict::Possible,
            _ if fits > misfits => Verdict::Possible,
            _ => least,
        }
    }

    /// The same where not all of its lines are as wide as the header.
    fn verdict_where_some_fit(&self, shape: Shape, fits: u64, misfits: u64) -> Verdict {
        let are_most_fitting = shape.lines > LINES_BEYOND_CHANCE && shape.fitting * 4 >= shape.lines * 3;
        let are_many = are_most_fitting && shape.inner >= LINES_THAT_ARE_ROWS && self.width >= WIDTH_BEYOND_CHANCE;
        match fits {
            1.. if misfits * 9 > fits && are_many => Verdict::Possible,
            _ if misfits * 9 > fits => Verdict::Text,
            0 if are_most_fitting => Verdict::Possible,
            0 => Verdict::Text,
            _ if are_most_fitting || fits >= 2 * shape.fitting as u64 => Verdict::Rows,
            _ => Verdict::Possible,
        }
    }
}

/// Whether there are so many suspects of a kind that these are no slips of the pen.
fn is_often(suspects: &VecDeque<Suspect>, is_alike: impl Fn(&Suspect) -> bool) -> bool {
    suspects.iter().filter(|suspect| is_alike(suspect)).take(OFTEN).count() == OFTEN
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
