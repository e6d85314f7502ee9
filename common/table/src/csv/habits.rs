//! What the cells of a column usually look like, and whether the fields of other lines look the same.

use super::looks::Look;

/// Records of one line that are seen before a suspect is judged, as far as there are so many.
pub(super) const RECORDS_TO_JUDGE_BY: u64 = 16;

/// How often cells of a column look like what.
#[derive(Debug, Default, Clone)]
pub(super) struct Looks {
    /// By look, and by whether the cell begins with a blank.
    pub(super) counts: [[u64; 2]; PRESENT.len()],
}

/// What cells look like that are not missing.
pub(super) const PRESENT: [Look; 4] = [Look::Integer, Look::Number, Look::Date, Look::Other];

/// What the cells of a column are, all but one in a hundred of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Usual {
    Integers,
    Numbers,
    Dates,
    #[default]
    Anything,
}

/// What is usual in a column.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Habit {
    pub(super) usual: Usual,
    /// Whether cells begin with a blank, as text behind a comma does and fields seldom do.
    pub(super) is_indented: bool,
    pub(super) is_well_known: bool,
}

impl Looks {
    pub(super) fn add(&mut self, cell: &[u8], decimal: u8) {
        let look = Look::of(cell, decimal);
        if let Some(place) = PRESENT.iter().position(|present| *present == look) {
            self.counts[place][usize::from(cell.starts_with(b" "))] += 1;
        }
    }

    /// Cells that are not missing.
    pub(super) fn present(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// What so many of a hundred cells are where `records` were looked at; cells of a column that is nearly always empty do not
    /// tell.
    pub(super) fn habit(&self, records: u64, percent: u64) -> Habit {
        let [integers, numbers, dates, _] = self.counts.map(|[plain, indented]| plain + indented);
        let present = self.present();
        let is_enough = present > 0 && present >= records.min(3);
        let is_nearly_all = |count: u64| is_enough && count * 100 >= present * percent;
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

impl Habit {
    /// What is usual both by this habit and by another one.
    pub(super) fn weakened(self, other: Self) -> Self {
        let usual = match (self.usual, other.usual) {
            (one, other) if one == other => one,
            (Usual::Integers, Usual::Numbers) | (Usual::Numbers, Usual::Integers) => Usual::Numbers,
            _ => Usual::Anything,
        };
        Self { usual, is_indented: self.is_indented || other.is_indented, is_well_known: self.is_well_known }
    }
}

/// What speaks for rows and what against them, in fields.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Evidence {
    pub(super) fits: u64,
    pub(super) misfits: u64,
    /// Numbers with a fraction in columns of whole numbers.
    pub(super) fractions: u64,
    /// Text that begins with a blank in columns where no text does.
    pub(super) indented: u64,
}

impl Evidence {
    /// Takes in fields of a column.
    pub(super) fn add(&mut self, habit: Habit, look: Look, is_indented: bool, count: u64) {
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

    pub(super) fn append(&mut self, other: Self) {
        self.fits += other.fits;
        self.misfits += other.misfits;
        self.fractions += other.fractions;
        self.indented += other.indented;
    }
}
