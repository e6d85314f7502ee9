//! Reads all of a table in both ways: row group by row group, as for scoring, and whole columns, as for training.

use std::collections::HashSet;
use std::path::Path;

use columns::text::canonical_text;
use columns::{CodedRows, ColumnKind, ColumnSource, TableSchema};
use error::Error;
use features::encode::values::{as_levels, as_numbers};
use polars::prelude::{IdxCa, Series};
use storage::Location;
use table::csv::CsvFormat;
use table::{CsvTyping, Dataset, LoadableTable};

/// What may be read at once: whatever a header says, reading a small file takes no more.
pub(crate) const ROOM: u64 = 256 << 20;

/// What reading came to.
pub(crate) enum Outcome {
    Read,
    Refused(String),
}

/// # Panics
/// Where the file is read as something that contradicts itself, or refused as something else than wrong data.
pub(crate) fn whole(path: &Path, csv: CsvFormat) -> Outcome {
    machine::memory::pool().set_room(ROOM, 2 * ROOM);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(read(path, csv)) {
        Ok(()) => Outcome::Read,
        Err(error) => {
            // A size that lies takes no memory: pages that say they hold more than fits are refused as such.
            let is_too_large = error.exit_code() == 8 && error.to_string().contains("there is no room in memory for");
            assert!(error.exit_code() == 4 || is_too_large, "{error}");
            assert!(!error.to_string().contains('\n'), "more than one line: {error}");
            Outcome::Refused(error.to_string())
        }
    }
}

async fn read(path: &Path, csv: CsvFormat) -> Result<(), Error> {
    let location = Location::parse(&path.display().to_string())?;
    let dataset = Dataset::open(&location, csv).await?;
    let names = readable(&dataset.schema);
    let mut binary = HashSet::new();
    for object in &dataset.objects {
        let Some(file) = &object.parquet else { continue };
        for (index, size) in file.row_groups().iter().enumerate() {
            let group = file.fetch(dataset.store.as_ref(), &object.meta, index, &names).await?;
            let halves = [0..size.rows / 2, size.rows / 2..size.rows];
            for rows in halves {
                let part = group.narrowed(rows.clone());
                for name in &names {
                    match part.column(name) {
                        // Sound, though it can serve as nothing.
                        Err(error) if error.to_string().contains("is no UTF-8 text") => {
                            binary.insert(name.clone());
                        }
                        column => {
                            let column = column?;
                            use_as(&column, rows.len(), &dataset.schema)?;
                            let coded = by_codes(&part, name);
                            assert!(
                                coded.is_none_or(|coded| coded.equals_missing(&column)),
                                "{name} by its dictionary"
                            );
                            let numbers = plain_numbers(&part, name);
                            assert!(
                                numbers.is_none_or(|numbers| numbers == bits(&as_numbers(&column).unwrap())),
                                "{name} as plain numbers"
                            );
                        }
                    }
                }
            }
        }
    }
    let table = LoadableTable::open(dataset, &CsvTyping::default()).await?;
    let names: Vec<String> = readable(table.schema()).into_iter().filter(|name| !binary.contains(name)).collect();
    let columns = table.columns(&names, 2).await?;
    for column in &columns {
        use_as(column, table.rows(), table.schema())?;
    }
    Ok(())
}

/// A column as its codes have it, where it can be read so.
pub(crate) fn by_codes(rows: &impl ColumnSource, name: &str) -> Option<Series> {
    let coded = rows.coded_column(name)?;
    let values = |coded: &CodedRows| {
        let place = |code: &u32| (*code as usize != coded.values().len()).then_some(*code);
        let places: IdxCa = coded.codes().iter().map(place).collect();
        coded.values().take(&places).unwrap()
    };
    let mut parts = coded.iter().map(values);
    let mut column = parts.next()?;
    for part in parts {
        column.append(&part).unwrap();
    }
    Some(column)
}

/// The bits of a column's numbers as they lie in its pages, where it can be read so.
pub(crate) fn plain_numbers(rows: &dyn ColumnSource, name: &str) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    rows.numbers(name, &mut |run| numbers.extend(bits(run)))?;
    Some(numbers)
}

/// Bits of numbers; those of any NaN are the same.
pub(crate) fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|number| if number.is_nan() { f64::NAN } else { *number }.to_bits()).collect()
}

fn readable(schema: &TableSchema) -> Vec<String> {
    let columns = schema.columns().iter().filter(|column| column.kind != ColumnKind::Unsupported);
    columns.map(|column| column.name.clone()).collect()
}

/// As a feature and as an id.
fn use_as(column: &Series, rows: usize, schema: &TableSchema) -> Result<(), Error> {
    assert_eq!(column.len(), rows, "{}", column.name());
    let _ = canonical_text(column);
    match schema.get(column.name()).map(|column| column.kind) {
        Some(ColumnKind::Text) => assert_eq!(as_levels(column, ColumnKind::Text)?.len(), rows),
        _ => {
            // Of text that stands for numbers there are none.
            if let Ok(numbers) = as_numbers(column) {
                assert_eq!(numbers.len(), rows);
            }
        }
    }
    Ok(())
}
