//! One side of the join, predictions or actuals: read batch after batch into partitions by the hash of the id.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use columns::cells::is_missing_marker;
use columns::cells::parse_number;
use columns::text_hints::shown;
use columns::{CellFormat, ColumnKind, ColumnSource};
use error::text::without_control_characters;
use error::{Error, Result};
use features::encode::values::as_numbers;
use futures::{StreamExt, TryStreamExt};
use machine::tasks::Processors;
use polars::prelude::Series;
use registry::SlicedColumn;
use table::Dataset;
use telemetry::Progress;

use super::keys::JoinKeys;
use super::scratch_failed;
use crate::ids::IdKey;
use crate::ids::partitions::{Partitions, ScratchFile};
use crate::read::{self, InputBatch, Need, ReadOptions};
use crate::slices::{BatchValues, Room};

/// Bytes of both ends of an interval.
pub(super) const ENDS: usize = 2 * size_of::<f64>();

/// More values of a column than anybody reads the errors of.
const MOST_SLICES: usize = 10_000;

/// The columns of predictions that hold the ends of intervals.
pub(super) const ENDS_OF_INTERVALS: [&str; 2] = ["prediction_low", "prediction_high"];

/// What is read of a side.
#[derive(Debug, Clone)]
pub(super) struct SideColumns {
    /// Column that identifies a row.
    pub(super) id: String,
    /// Column of predictions, or of what came true.
    pub(super) value: String,
    /// Whether the ends of intervals are read too.
    pub(super) has_intervals: bool,
    /// Columns by whose values errors are told apart.
    pub(super) slices: Vec<SlicedColumn>,
}

impl SideColumns {
    /// Their names, each once.
    pub(super) fn names(&self) -> Vec<String> {
        let ends = ENDS_OF_INTERVALS.iter().filter(|_| self.has_intervals).map(|name| (*name).to_owned());
        let names = [self.id.clone(), self.value.clone()].into_iter().chain(ends);
        crate::load::once_each(names.chain(self.slices.iter().map(|slice| slice.column.clone())))
    }
}

/// A side of the join.
#[derive(Debug)]
pub(super) struct Side {
    /// Rows whose ids are integers of 64 bits.
    pub(super) whole: Partitions<u64>,
    /// All other rows that have an id.
    pub(super) hashed: Partitions<u128>,
    /// Rows without an id.
    pub(super) without_id: u64,
    /// All rows.
    pub(super) rows: u64,
    /// The values of each column of slices, in the order in which they came first: their places are the codes.
    pub(super) slices: Vec<Slices>,
    /// Whether the ends of an interval stand behind each value.
    pub(super) has_intervals: bool,
}

/// The values of a column of slices.
#[derive(Debug)]
pub(super) struct Slices {
    /// The column.
    pub(super) column: String,
    /// Its values.
    pub(super) values: Vec<String>,
    codes: HashMap<String, u32>,
}

impl Slices {
    fn new(column: &str) -> Self {
        Self { column: column.to_owned(), values: Vec::new(), codes: HashMap::new() }
    }

    fn code(&mut self, value: &str) -> Result<u32> {
        if let Some(code) = self.codes.get(value) {
            return Ok(*code);
        }
        if self.values.len() == MOST_SLICES {
            return Err(too_many(&self.column));
        }
        let code = self.values.len() as u32;
        self.values.push(value.to_owned());
        self.codes.insert(value.to_owned(), code);
        Ok(code)
    }
}

fn too_many(column: &str) -> Error {
    Error::Data(format!(
        "column \"{}\" has more than {MOST_SLICES} values, too many to tell the errors of each: leave it out of --slice (SLICE)",
        without_control_characters(column)
    ))
}

/// A batch whose columns are decoded.
struct DecodedBatch {
    keys: JoinKeys,
    values: Vec<f64>,
    /// Lower and upper ends of intervals.
    ends: Option<[Vec<f64>; 2]>,
    slices: Vec<BatchValues>,
}

/// What reads sides.
#[derive(Debug)]
pub(super) struct SideReader {
    /// Where rows go that the memory has no room for.
    pub(super) file: Arc<ScratchFile>,
    /// As many batches are decoded at once.
    pub(super) threads: usize,
}

impl SideReader {
    /// Reads a side.
    ///
    /// # Errors
    /// [`Error::Data`] where a value is no number; [`Error::Resources`] where the disk is full; those of reading, as they are.
    pub(super) async fn read(
        &self,
        dataset: &Arc<Dataset>,
        columns: &SideColumns,
        reading: ReadOptions,
        progress: &Progress,
    ) -> Result<Side> {
        let processors = Processors::new(self.threads);
        let decode = |batch: InputBatch| {
            let (dataset, columns, processors) = (Arc::clone(dataset), columns.clone(), processors.clone());
            async move { processors.run(move || DecodedBatch::of(&batch, &columns, &dataset)).await? }
        };
        let batches = read::batches(dataset, reading, |_| Need::Everything);
        let mut decoded = batches.map_ok(decode).try_buffered(self.threads + 1).boxed();
        let mut side = Side::new(columns);
        while let Some(batch) = decoded.try_next().await? {
            progress.advance(batch.keys.len() as u64);
            let file = Arc::clone(&self.file);
            side = machine::tasks::blocking(move || side.with(&batch, &file)).await??;
        }
        Ok(side)
    }
}

impl Side {
    /// A side without rows.
    pub(super) fn new(columns: &SideColumns) -> Self {
        let ends = if columns.has_intervals { ENDS } else { 0 };
        let payload = size_of::<f64>() + ends + columns.slices.len() * size_of::<u32>();
        Self {
            whole: Partitions::new(payload),
            hashed: Partitions::new(payload),
            without_id: 0,
            rows: 0,
            slices: columns.slices.iter().map(|slice| Slices::new(&slice.column)).collect(),
            has_intervals: columns.has_intervals,
        }
    }

    fn with(mut self, batch: &DecodedBatch, file: &ScratchFile) -> Result<Self> {
        let mut codes = Vec::with_capacity(batch.slices.len());
        for (slices, of_batch) in self.slices.iter_mut().zip(&batch.slices) {
            let of_value = of_batch.values.iter().map(|value| slices.code(value)).collect::<Result<Vec<u32>>>()?;
            codes.push((of_value, &of_batch.of_row));
        }
        self.push(batch, &codes, file).map_err(|error| scratch_failed("write", &error))?;
        Ok(self)
    }

    fn push(&mut self, batch: &DecodedBatch, codes: &[(Vec<u32>, &Vec<u32>)], file: &ScratchFile) -> io::Result<()> {
        let mut payload = Vec::new();
        self.rows += batch.keys.len() as u64;
        for (row, value) in batch.values.iter().enumerate() {
            let Some(key) = batch.keys.get(row) else {
                self.without_id += 1;
                continue;
            };
            payload.clear();
            payload.extend_from_slice(&value.to_le_bytes());
            for ends in batch.ends.iter().flatten() {
                payload.extend_from_slice(&ends[row].to_le_bytes());
            }
            for (of_value, of_row) in codes {
                payload.extend_from_slice(&of_value[of_row[row] as usize].to_le_bytes());
            }
            match key {
                IdKey::Whole(key) => self.whole.push(key, &payload, file)?,
                IdKey::Hashed(key) => self.hashed.push(key, &payload, file)?,
            }
        }
        Ok(())
    }
}

impl DecodedBatch {
    fn of(batch: &InputBatch, columns: &SideColumns, dataset: &Dataset) -> Result<Self> {
        refuse_malformed(batch, dataset)?;
        let keys = JoinKeys::of(&batch.columns.column(&columns.id)?)?;
        let numbers = |name: &str| {
            let values = batch.columns.column(name)?;
            match batch.columns.cell_format(name) {
                Some(format) => {
                    numbers_of_cells(&values, format).map_err(|row| no_number(&values, row, batch, dataset))
                }
                None => as_numbers(&values),
            }
        };
        let values = numbers(&columns.value)?;
        let [low, high] = ENDS_OF_INTERVALS;
        let ends = columns.has_intervals.then(|| Ok::<_, Error>([numbers(low)?, numbers(high)?])).transpose()?;
        let room = Room { values: MOST_SLICES, text_bytes: usize::MAX };
        let slices = columns.slices.iter().map(|SlicedColumn { column, kind }| {
            BatchValues::of(&batch.columns, column, *kind, room)?.ok_or_else(|| too_many(column))
        });
        Ok(Self { keys, values, ends, slices: slices.collect::<Result<_>>()? })
    }
}

/// Cells of CSV as numbers, NaN where one is missing; the row of the first that is none.
fn numbers_of_cells(cells: &Series, format: CellFormat) -> Result<Vec<f64>, usize> {
    let texts = cells.str().map_err(|_| 0_usize)?;
    let number = |(row, cell): (usize, Option<&str>)| match cell {
        None => Ok(f64::NAN),
        Some(cell) => match parse_number(cell, format) {
            Some(number) => Ok(number),
            None if is_missing_marker(cell) => Ok(f64::NAN),
            None => Err(row),
        },
    };
    texts.iter().enumerate().map(number).collect()
}

/// The object that a row of a batch comes from, and its 1-based number there.
pub(super) fn place_of(batch: &InputBatch, row: usize, dataset: &Dataset) -> (String, u64) {
    let source = batch.sources.iter().find(|source| source.rows.contains(&row));
    source.map_or_else(
        || (dataset.location.clone(), row as u64 + 1),
        |source| (dataset.object_name(source.object), source.first_row + (row - source.rows.start) as u64 + 1),
    )
}

fn no_number(cells: &Series, row: usize, batch: &InputBatch, dataset: &Dataset) -> Error {
    let (object, row_there) = place_of(batch, row, dataset);
    let cell = cells.str().ok().and_then(|cells| cells.get(row)).map(shown).unwrap_or_default();
    Error::Data(format!(
        "{object}: {cell} in column \"{}\" of data row {row_there} is no number: correct it, leave it empty, or give --decimal \
         (DECIMAL) where another character stands before the fraction",
        without_control_characters(cells.name())
    ))
}

/// A row of CSV that is not as wide as the header would be lost without a word.
fn refuse_malformed(batch: &InputBatch, dataset: &Dataset) -> Result<()> {
    let Some(row) = batch.malformed.first() else { return Ok(()) };
    let (object, row) = place_of(batch, *row, dataset);
    Err(Error::Data(format!("{object}: data row {row} is not as wide as the header, or is no UTF-8: correct the file")))
}

/// Refuses columns that cannot serve, before a row is read.
///
/// # Errors
/// [`Error::Data`] where a column is missing or has another type than its role allows.
pub(super) fn check_columns(dataset: &Dataset, columns: &SideColumns) -> Result<()> {
    let (schema, location) = (&dataset.schema, dataset.location.as_str());
    if let Some(hint) = schema.header_hint() {
        tracing::warn!("{location}: {hint}");
    }
    for (role, name) in
        [("id", &columns.id)].into_iter().chain(columns.slices.iter().map(|slice| ("slice", &slice.column)))
    {
        let column = schema.require(name, location)?;
        if !dataset.is_csv() && column.kind == ColumnKind::Unsupported {
            return Err(Error::Data(format!(
                "{location}: the {role} \"{name}\" has a type that cannot be one ({}): name another column, or write it as text or \
                 numbers",
                column.type_text()
            )));
        }
    }
    let value = schema.require(&columns.value, location)?;
    if !dataset.is_csv() && !value.kind.is_number() && value.kind != ColumnKind::Null {
        return Err(Error::Data(format!(
            "{location}: column \"{}\" has {} ({}), but only numbers can be compared with predictions",
            columns.value,
            value.kind.describe(),
            value.type_text()
        )));
    }
    Ok(())
}
