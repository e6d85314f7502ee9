//! Rows with every value that has ever been trouble.

use std::borrow::Cow;

use columns::{CellFormat, ColumnKind, MemoryColumns};
use features::derive::{Columns, ValueType, Values};
use polars::prelude::{DataType, NamedFrom, Series};

/// Rows of the tables here.
pub const ROWS: usize = 16;

/// Numbers on the edge of something.
pub const NUMBERS: [f64; ROWS] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    3.0,
    1e300,
    -1e300,
    1e-300,
    f64::MAX,
    f64::MIN_POSITIVE,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    9_007_199_254_740_993.0,
    2_147_483_648.0,
];

const DAYS: [f64; ROWS] = [
    0.0,
    1.0,
    -1.0,
    0.5,
    19_782.0,
    -719_528.0,
    2_932_896.0,
    1e9,
    -1e9,
    1e18,
    1e300,
    -1e300,
    f64::NAN,
    11_016.0,
    11_017.999_999,
    -0.000_001,
];

/// Columns `x`, `y z`, `flag`, `plan` and `at` for expressions.
pub struct Batch {
    numbers: Vec<f64>,
    others: Vec<f64>,
    flags: Vec<Option<bool>>,
    texts: Vec<Option<&'static str>>,
    days: Vec<f64>,
}

impl Default for Batch {
    fn default() -> Self {
        let texts = ["", "gold", "basic", "ä", "Gold", "NULL", "1", " ", "2024-02-29"];
        Self {
            numbers: NUMBERS.to_vec(),
            others: NUMBERS.iter().rev().copied().collect(),
            flags: (0..ROWS).map(|row| [Some(true), Some(false), None][row % 3]).collect(),
            texts: (0..ROWS).map(|row| texts.get(row).copied()).collect(),
            days: DAYS.to_vec(),
        }
    }
}

impl Batch {
    /// One of its rows.
    pub fn row(&self, row: usize) -> Self {
        Self {
            numbers: vec![self.numbers[row]],
            others: vec![self.others[row]],
            flags: vec![self.flags[row]],
            texts: vec![self.texts[row]],
            days: vec![self.days[row]],
        }
    }

    /// The type of a column.
    pub fn type_of(name: &str) -> Option<ValueType> {
        Some(match name {
            "x" | "y z" => ValueType::Number,
            "flag" => ValueType::Boolean,
            "plan" => ValueType::Text,
            "at" => ValueType::Date,
            _ => return None,
        })
    }
}

impl Columns for Batch {
    fn get(&self, name: &str) -> Option<Values<'_>> {
        Some(match name {
            "x" => Values::Number(Cow::Borrowed(&self.numbers)),
            "y z" => Values::Number(Cow::Borrowed(&self.others)),
            "flag" => Values::Boolean(Cow::Borrowed(&self.flags)),
            "plan" => Values::Text(&self.texts),
            "at" => Values::Date(Cow::Borrowed(&self.days)),
            _ => return None,
        })
    }
}

/// A column of this kind, as Parquet gives it.
pub fn column(name: &str, kind: ColumnKind) -> Series {
    let integers: Vec<Option<i64>> = (0..ROWS as i64)
        .map(|row| [Some(row), None, Some(i64::MAX - row), Some(i64::MIN + row)][row as usize % 4])
        .collect();
    match kind {
        ColumnKind::Integer => Series::new(name.into(), integers),
        ColumnKind::Boolean => {
            Series::new(name.into(), (0..ROWS).map(|row| [Some(true), None][row % 2]).collect::<Vec<_>>())
        }
        ColumnKind::Text => cells(name),
        ColumnKind::Date => {
            let days: Vec<i32> = DAYS.iter().map(|day| *day as i32).collect();
            let days = Series::new(name.into(), days);
            days.cast(&DataType::Date).unwrap_or(days)
        }
        ColumnKind::Null => Series::new_null(name.into(), ROWS),
        _ => Series::new(name.into(), NUMBERS.to_vec()),
    }
}

/// A column of cells, as CSV gives it.
pub fn cells(name: &str) -> Series {
    let cells =
        ["", "gold", "1", "-0", "1e999", "nan", "true", "2024-02-29", "2024-13-01", "9999-12-31T23:59:59.999Z", "ä"];
    Series::new(name.into(), (0..ROWS).map(|row| cells.get(row).copied()).collect::<Vec<_>>())
}

/// These columns, as Parquet or as CSV gives them.
pub fn table(columns: &[(String, ColumnKind)], is_csv: bool) -> MemoryColumns {
    match is_csv {
        true => MemoryColumns::text_cells(
            ROWS,
            columns.iter().map(|(name, _)| cells(name)).collect(),
            CellFormat::default(),
        ),
        false => MemoryColumns::new(ROWS, columns.iter().map(|(name, kind)| column(name, *kind)).collect()),
    }
}
