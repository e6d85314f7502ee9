//! The different values of a column in a batch, and which of them each row has.

use std::hash::Hash;

use columns::cells::{is_missing_marker, level_of_cell};
use columns::{CellFormat, CodedRows, ColumnKind, ColumnSource};
use error::Result;
use evaluation::MISSING_SLICE;
use features::encode::values::as_levels;
use polars::prelude::{ChunkedArray, DataType, IdxSize, PlHashMap, PolarsNumericType, Series, StringChunked};

/// How many values of a column are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Most values.
    pub values: usize,
    /// Most bytes of their texts.
    pub text_bytes: usize,
}

impl Room {
    /// Of the report of a run: more than anybody reads.
    pub const OF_A_RUN: Self = Self { values: 1_000, text_bytes: 64 << 10 };

    /// Whether so many values with so much text are within it.
    #[must_use]
    pub fn holds(self, values: usize, text_bytes: usize) -> bool {
        values <= self.values && text_bytes <= self.text_bytes
    }
}

/// The values of a column in a batch.
#[derive(Debug)]
pub struct BatchValues {
    /// The different ones, as the texts that levels have, in the order in which they come first; rows without one have
    /// [`MISSING_SLICE`].
    pub values: Vec<String>,
    /// For each row the place of its value.
    pub of_row: Vec<u32>,
}

impl BatchValues {
    /// Those of a column that held `learnt` in training (text, where that is not known); none where there is no room for so many.
    /// Values are looked at once where many rows share them.
    ///
    /// # Errors
    /// As [`ColumnSource::column`] and [`as_levels`].
    pub fn of(source: &impl ColumnSource, column: &str, learnt: ColumnKind, room: Room) -> Result<Option<Self>> {
        let mut coder = Coder::new(room, source.rows());
        let coded = match source.coded_column(column) {
            Some(runs) => coder.take_coded(&runs, learnt)?,
            None => {
                let values = source.column(column)?;
                match source.cell_format(column) {
                    Some(format) => coder.take_cells(values.str().ok(), learnt, format),
                    None => coder.take_typed(&values, learnt)?,
                }
            }
        };
        Ok(coded.map(|()| coder.values))
    }
}

/// The place of nothing yet.
const NO_CODE: u32 = u32::MAX;

/// Gives codes to texts as they come. Its methods give none where there is no room for more.
struct Coder {
    room: Room,
    text_bytes: usize,
    codes: PlHashMap<String, u32>,
    values: BatchValues,
}

impl Coder {
    fn new(room: Room, rows: usize) -> Self {
        let values = BatchValues { values: Vec::new(), of_row: Vec::with_capacity(rows) };
        Self { room, text_bytes: 0, codes: PlHashMap::default(), values }
    }

    fn code(&mut self, text: Option<&str>) -> Option<u32> {
        let text = text.unwrap_or(MISSING_SLICE);
        if let Some(code) = self.codes.get(text) {
            return Some(*code);
        }
        self.text_bytes += text.len();
        if !self.room.holds(self.values.values.len() + 1, self.text_bytes) {
            return None;
        }
        let code = self.values.values.len() as u32;
        self.values.values.push(text.to_owned());
        self.codes.insert(text.to_owned(), code);
        Some(code)
    }

    /// Rows by the places of their values, of which those past the end stand for none.
    fn take_places(&mut self, texts: &StringChunked, places: &[u32]) -> Option<()> {
        let texts: Vec<Option<&str>> = texts.iter().collect();
        let mut known = vec![NO_CODE; texts.len() + 1];
        for &place in places {
            let place = place as usize;
            if known[place] == NO_CODE {
                known[place] = self.code(texts.get(place).copied().flatten())?;
            }
            self.values.of_row.push(known[place]);
        }
        Some(())
    }

    fn take_coded(&mut self, runs: &[CodedRows], learnt: ColumnKind) -> Result<Option<()>> {
        for run in runs {
            let texts = as_levels(run.values(), learnt)?;
            if self.take_places(&texts, run.codes()).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// Cells of CSV, read as training read them: those of numbers and dates have the text of their value and may be markers of missing
    /// ones.
    fn take_cells(&mut self, cells: Option<&StringChunked>, learnt: ColumnKind, format: CellFormat) -> Option<()> {
        let is_typed = !matches!(learnt, ColumnKind::Text | ColumnKind::Null | ColumnKind::Unsupported);
        let mut known: PlHashMap<&str, u32> = PlHashMap::default();
        for cell in cells.into_iter().flat_map(StringChunked::iter) {
            let code = match cell {
                None => self.code(None)?,
                Some(cell) => match known.get(cell) {
                    Some(code) => *code,
                    None => {
                        let code = match is_typed && is_missing_marker(cell) {
                            true => self.code(None)?,
                            false => self.code(Some(&level_of_cell(learnt, cell, format)))?,
                        };
                        known.insert(cell, code);
                        code
                    }
                },
            };
            self.values.of_row.push(code);
        }
        Some(())
    }

    fn take_typed(&mut self, column: &Series, learnt: ColumnKind) -> Result<Option<()>> {
        if let Ok(texts) = column.str() {
            for text in texts.iter() {
                let Some(code) = self.code(text) else { return Ok(None) };
                self.values.of_row.push(code);
            }
            return Ok(Some(()));
        }
        match Distinct::of(column, self.room.values) {
            // A text for each row takes long.
            Some(Some(distinct)) => {
                let values =
                    column.take_slice(&distinct.rows).map_err(|error| error::Error::Data(error.to_string()))?;
                Ok(self.take_places(&*as_levels(&values, learnt)?, &distinct.of_row))
            }
            Some(None) => Ok(None),
            None => {
                let all: Vec<u32> = (0..column.len() as u32).collect();
                Ok(self.take_places(&*as_levels(column, learnt)?, &all))
            }
        }
    }
}

/// The different values of a column of numbers or times.
struct Distinct {
    /// A row of each.
    rows: Vec<IdxSize>,
    /// For each row the place of its value among these.
    of_row: Vec<u32>,
}

impl Distinct {
    /// None of a type whose values are no plain numbers in memory; the inner one where there are more than `most`.
    fn of(column: &Series, most: usize) -> Option<Option<Self>> {
        let physical = column.to_physical_repr();
        Some(match physical.dtype() {
            DataType::Int8 => Self::of_numbers(physical.i8().ok()?, most, |value| value),
            DataType::Int16 => Self::of_numbers(physical.i16().ok()?, most, |value| value),
            DataType::Int32 => Self::of_numbers(physical.i32().ok()?, most, |value| value),
            DataType::Int64 => Self::of_numbers(physical.i64().ok()?, most, |value| value),
            DataType::UInt8 => Self::of_numbers(physical.u8().ok()?, most, |value| value),
            DataType::UInt16 => Self::of_numbers(physical.u16().ok()?, most, |value| value),
            DataType::UInt32 => Self::of_numbers(physical.u32().ok()?, most, |value| value),
            DataType::UInt64 => Self::of_numbers(physical.u64().ok()?, most, |value| value),
            DataType::Float32 => Self::of_numbers(physical.f32().ok()?, most, |value| bits_of_float(value.into())),
            DataType::Float64 => Self::of_numbers(physical.f64().ok()?, most, bits_of_float),
            _ => return None,
        })
    }

    fn of_numbers<T: PolarsNumericType, K: Copy + Eq + Hash>(
        values: &ChunkedArray<T>,
        most: usize,
        key: impl Fn(T::Native) -> K,
    ) -> Option<Self> {
        let mut codes: PlHashMap<Option<K>, u32> = PlHashMap::default();
        let mut distinct = Self { rows: Vec::new(), of_row: Vec::with_capacity(values.len()) };
        let mut last = None;
        for (row, value) in values.iter().enumerate() {
            let value = value.map(&key);
            // Rows of one value often follow one another.
            let code = match last {
                Some((before, code)) if before == value => code,
                _ => *codes.entry(value).or_insert_with(|| {
                    distinct.rows.push(row as IdxSize);
                    distinct.rows.len() as u32 - 1
                }),
            };
            if distinct.rows.len() > most {
                return None;
            }
            last = Some((value, code));
            distinct.of_row.push(code);
        }
        Some(distinct)
    }
}

/// The same bits for all that have one text: both zeros, and whatever is not finite, which is missing.
fn bits_of_float(value: f64) -> u64 {
    if value.is_finite() { (value + 0.0).to_bits() } else { f64::NAN.to_bits() }
}

#[cfg(test)]
mod tests {
    use columns::MemoryColumns;
    use polars::prelude::{IntoSeries, NamedFrom, TimeUnit};

    use super::*;

    const ROOM: Room = Room { values: 4, text_bytes: 40 };

    fn texts(found: &BatchValues) -> Vec<&str> {
        found.of_row.iter().map(|code| found.values[*code as usize].as_str()).collect()
    }

    fn typed(column: Series, learnt: ColumnKind) -> Option<BatchValues> {
        let rows = column.len();
        BatchValues::of(&MemoryColumns::new(rows, vec![column.with_name("x".into())]), "x", learnt, ROOM).unwrap()
    }

    fn cells(cells: &[Option<&str>], learnt: ColumnKind) -> Option<BatchValues> {
        let columns = vec![Series::new("x".into(), cells)];
        let source = MemoryColumns::text_cells(cells.len(), columns, CellFormat::default());
        BatchValues::of(&source, "x", learnt, ROOM).unwrap()
    }

    /// A value has one text, whatever its type and whoever wrote it.
    #[test]
    fn rows_have_the_texts_of_their_values() {
        let numbers = typed(
            Series::new("".into(), [Some(3.0), None, Some(-0.0), Some(f64::NAN), Some(0.0), Some(3.0)]),
            ColumnKind::Float,
        );
        assert_eq!(texts(&numbers.unwrap()), ["3", "(missing)", "0", "(missing)", "0", "3"]);
        let narrow = typed(Series::new("".into(), [0.1_f32, 0.1]), ColumnKind::Float).unwrap();
        assert_eq!(texts(&narrow), ["0.1", "0.1"]);
        let whole = typed(Series::new("".into(), [i64::MAX, i64::MAX - 1]), ColumnKind::Integer).unwrap();
        assert_eq!(texts(&whole), ["9223372036854775807", "9223372036854775806"]);
        let days = Series::new("".into(), [Some(0_i32), None, Some(19_753)]).cast(&DataType::Date).unwrap();
        let of_days = ["1970-01-01", "(missing)", "2024-01-31"];
        assert_eq!(texts(&typed(days.clone(), ColumnKind::Date).unwrap()), of_days);
        let instants = days.cast(&DataType::Datetime(TimeUnit::Nanoseconds, None)).unwrap();
        assert_eq!(texts(&typed(instants, ColumnKind::Date).unwrap()), of_days);
        let truths = || polars::prelude::BooleanChunked::from_iter([Some(true), None, Some(false)]).into_series();
        assert_eq!(texts(&typed(truths(), ColumnKind::Boolean).unwrap()), ["true", "(missing)", "false"]);
        assert_eq!(texts(&typed(truths(), ColumnKind::Integer).unwrap()), ["1", "(missing)", "0"]);
        let plans = typed(Series::new("".into(), [Some("a"), Some("003"), None, Some("a")]), ColumnKind::Text).unwrap();
        assert_eq!((texts(&plans), plans.values.len()), (vec!["a", "003", "(missing)", "a"], 3));
    }

    #[test]
    fn cells_are_read_as_training_read_them() {
        let written = [Some("3"), Some("3.0"), Some("NA"), None, Some("x")];
        let found = cells(&written, ColumnKind::Integer).unwrap();
        assert_eq!(texts(&found), ["3", "3", "(missing)", "(missing)", "x"]);
        assert_eq!(found.values, ["3", "(missing)", "x"]);
        assert!(cells(&written, ColumnKind::Text).is_none(), "five texts");
        assert_eq!(texts(&cells(&written[1..], ColumnKind::Text).unwrap()), ["3.0", "NA", "(missing)", "x"]);
    }

    #[test]
    fn values_of_a_dictionary_count_only_where_a_row_has_them() {
        let mut coder = Coder::new(ROOM, 0);
        let values = Series::new("x".into(), ["a", "b", "c", "d", "e", "f"]);
        let runs =
            [CodedRows::new(values.clone(), vec![1, 6, 1]).unwrap(), CodedRows::new(values, vec![5, 1]).unwrap()];
        assert!(coder.take_coded(&runs, ColumnKind::Text).unwrap().is_some());
        assert_eq!(texts(&coder.values), ["b", "(missing)", "b", "f", "b"]);
    }

    #[test]
    fn too_many_values_or_too_much_text_are_none() {
        let numbers = |count: i32| Series::new("".into(), (0..count).collect::<Vec<_>>());
        assert!(typed(numbers(4), ColumnKind::Integer).is_some() && typed(numbers(5), ColumnKind::Integer).is_none());
        assert!(
            typed(Series::new("".into(), ["1234567890123456789", "123456789012345678901"]), ColumnKind::Text).is_some()
        );
        assert!(
            typed(Series::new("".into(), ["1234567890123456789", "1234567890123456789012"]), ColumnKind::Text)
                .is_none()
        );
        assert!(cells(&["1", "2", "3", "4", "5"].map(Some), ColumnKind::Integer).is_none());
    }
}
