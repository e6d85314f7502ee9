//! The columns that rows may depend on one another by: dates, and values that repeat as an entity's do.

use columns::text::canonical_text;
use columns::{ColumnKind, ColumnSchema};
use error::{Error, Result};
use evaluation::split::{RowKey, RowKeys};
use features::encode::{Feature, Kind};
use polars::prelude::Series;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Subject;
use crate::fit::columns;
use crate::read::instants;

/// Maximum number of columns of either kind that are looked at.
const MOST_COLUMNS: usize = 2;
/// Rows that a column is looked at first, at most: most columns have too few values to name entities.
const FIRST_LOOK: usize = 5_000;
/// Minimum number of different values of a column of entities, and of instants of a column of dates.
const LEAST_ENTITIES: usize = 50;
const LEAST_INSTANTS: usize = 5;
/// The rows of an entity: on average within these bounds, and none with more than this share of all rows.
const ROWS_OF_AN_ENTITY: (f64, f64) = (1.4, 50.0);
const MOST_OF_AN_ENTITY: f64 = 0.03;
/// Minimum share of rows whose entity has other rows too, and of rows that have an entity at all.
const REPEATED: f64 = 0.5;
const KNOWN: f64 = 0.8;
/// Integers up to this one are exact as 32-bit floats.
const EXACT: f32 = 16_777_216.0;

/// A column and what it has in every training row.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// Days or microseconds; NaN where there is none.
    Instants(Vec<f64>),
    /// Hashes of values; a row without one has a hash of its own.
    Groups(Vec<u64>),
}

impl Column {
    /// The keys of some rows, as of a run that is validated by this column. Rows without a time are taken for the oldest.
    pub(super) fn keys(&self, rows: &[usize], is_time: bool) -> RowKeys {
        let mut keys = RowKeys::of_split(is_time, !is_time);
        for &row in rows {
            let instant = match &self.values {
                Values::Instants(instants) if instants[row].is_finite() => instants[row],
                _ => f64::MIN,
            };
            keys.push(RowKey { instant, group: self.group(row) });
        }
        keys
    }

    /// Keys by which other groups are held out than by [`Self::keys`].
    pub(super) fn keys_of_split(&self, rows: &[usize], split: u64) -> RowKeys {
        let mut keys = RowKeys::of_split(false, true);
        for &row in rows {
            keys.push(RowKey { instant: f64::MIN, group: xxh3_64_with_seed(&self.group(row).to_le_bytes(), split) });
        }
        keys
    }

    /// The group of a row.
    pub(super) fn group(&self, row: usize) -> u64 {
        match &self.values {
            Values::Groups(groups) => groups[row],
            Values::Instants(_) => 0,
        }
    }
}

/// The columns that the estimate looks at.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) times: Vec<Column>,
    /// Those with the most values first.
    pub(super) groups: Vec<Column>,
}

impl Candidates {
    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty() && self.groups.is_empty()
    }

    /// Looks through the columns of the training rows. Where they are read in batches, only those that are features are known.
    pub(super) async fn find(subject: &Subject<'_>) -> Result<Self> {
        let (mut found, mut groups) = (Self::default(), Vec::new());
        let (spec, data) = (&subject.config.spec, subject.data);
        let reserved = [Some(&data.id), Some(&data.target), spec.weight.as_ref()];
        for column in data.schema().columns().iter().filter(|column| !reserved.contains(&Some(&column.name))) {
            let name = column.name.clone();
            match column.kind {
                ColumnKind::Date if found.times.len() < MOST_COLUMNS => {
                    if let Some(values) = times(subject, column).await? {
                        found.times.push(Column { name, values: Values::Instants(values) });
                    }
                }
                ColumnKind::Integer | ColumnKind::Text => {
                    if let Some((values, count)) = entities(subject, column).await? {
                        groups.push((count, Column { name, values: Values::Groups(values) }));
                    }
                }
                _ => {}
            }
        }
        groups.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        found.groups = groups.into_iter().take(MOST_COLUMNS).map(|(_, column)| column).collect();
        Ok(found)
    }
}

/// The place of the feature that is a column as it is.
fn feature<'a>(subject: &'a Subject<'_>, column: &str) -> Option<(usize, &'a Feature)> {
    let is_own = |feature: &Feature| feature.source_column() == Some(column);
    subject.features.features.iter().enumerate().find(|(_, feature)| is_own(feature))
}

async fn times(subject: &Subject<'_>, column: &ColumnSchema) -> Result<Option<Vec<f64>>> {
    let rows = &subject.data.train;
    let values: Vec<f64> = match feature(subject, &column.name) {
        Some((index, Feature { kind: Kind::Date { as_of: None }, .. })) => {
            columns(&subject.features.train)[index].iter().map(|days| f64::from(*days)).collect()
        }
        _ if subject.is_in_memory => {
            let table = &subject.data.tables[rows.table];
            let Some(read) = stored(subject, column).await? else { return Ok(None) };
            let all = instants(&read, &table.dataset().location)?;
            rows.places.iter().map(|&place| all[place as usize]).collect()
        }
        _ => return Ok(None),
    };
    let known = values.iter().filter(|value| value.is_finite()).count();
    let mut different: Vec<u64> = values.iter().take(FIRST_LOOK).map(|value| value.to_bits()).collect();
    different.sort_unstable();
    different.dedup();
    let is_enough = different.len() >= LEAST_INSTANTS && known as f64 >= KNOWN * values.len() as f64;
    Ok(is_enough.then_some(values))
}

/// A column as it is stored. None where it cannot be read and is no feature: nobody asked for it, and it may hold anything, such as hashes.
async fn stored(subject: &Subject<'_>, column: &ColumnSchema) -> Result<Option<Series>> {
    let table = &subject.data.tables[subject.data.train.table];
    match table.columns(std::slice::from_ref(&column.name), subject.threads).await {
        Err(Error::Data(_)) if feature(subject, &column.name).is_none() => Ok(None),
        read => Ok(read?.pop()),
    }
}

/// A hash for the value of each training row and the number of values, if these repeat as an entity's do.
async fn entities(subject: &Subject<'_>, column: &ColumnSchema) -> Result<Option<(Vec<u64>, usize)>> {
    let cells =
        feature(subject, &column.name).map(|(index, feature)| (columns(&subject.features.train)[index], feature));
    if let Some((cells, _)) = cells
        && !has_many_values(cells)
    {
        return Ok(None);
    }
    let levels = cells.and_then(|(_, feature)| feature.levels()).map_or(0, <[String]>::len);
    let is_exact = cells.is_some_and(|(cells, _)| cells.iter().all(|cell| cell.is_nan() || cell.abs() < EXACT));
    let hash = |known: Option<u64>, row: usize| known.unwrap_or_else(|| !xxh3_64(&(row as u64).to_le_bytes()));
    let values: Vec<u64> = match cells {
        // Of a text column with more levels than are kept the matrix does not know all.
        Some((cells, _)) if is_exact && levels < subject.config.spec.max_levels => {
            let value = |cell: f32| (!cell.is_nan()).then(|| xxh3_64(&cell.to_le_bytes()));
            cells.iter().enumerate().map(|(row, &cell)| hash(value(cell), row)).collect()
        }
        _ if subject.is_in_memory => {
            let rows = &subject.data.train;
            let Some(read) = stored(subject, column).await? else { return Ok(None) };
            let text = canonical_text(&read)?;
            let value = |place: u32| text.get(place as usize).map(|text| xxh3_64(text.as_bytes()));
            rows.places.iter().enumerate().map(|(row, &place)| hash(value(place), row)).collect()
        }
        _ => return Ok(None),
    };
    Ok(are_entities(&values).map(|count| (values, count)))
}

fn has_many_values(cells: &[f32]) -> bool {
    let mut different: Vec<u32> = cells.iter().take(FIRST_LOOK).map(|cell| cell.to_bits()).collect();
    different.sort_unstable();
    different.dedup();
    different.len() >= LEAST_ENTITIES.min(cells.len() / 10)
}

/// The number of values, if they repeat as an entity's do.
fn are_entities(values: &[u64]) -> Option<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let (mut count, mut most, mut repeated) = (0_usize, 0_usize, 0_usize);
    for rows in sorted.chunk_by(|one, other| one == other).map(<[u64]>::len) {
        count += 1;
        most = most.max(rows);
        repeated += if rows > 1 { rows } else { 0 };
    }
    let all = values.len() as f64;
    let is_usual = (ROWS_OF_AN_ENTITY.0..=ROWS_OF_AN_ENTITY.1).contains(&(all / count as f64));
    let is_spread = most as f64 <= MOST_OF_AN_ENTITY * all && repeated as f64 >= REPEATED * all;
    (count >= LEAST_ENTITIES && is_usual && is_spread).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_many_and_each_has_a_few_rows() {
        let of = |group: &dyn Fn(u64) -> u64| are_entities(&(0..3_000).map(group).collect::<Vec<_>>());
        assert_eq!(of(&|row| row % 500), Some(500));
        assert_eq!(of(&|row| row / 3), Some(1_000));
        assert_eq!(of(&|row| row), None, "an id repeats nothing");
        assert_eq!(of(&|row| row % 12), None, "a category has few values");
        assert_eq!(of(&|row| if row % 4 == 0 { 0 } else { row % 500 }), None, "a value that is usual is no entity");
        assert_eq!(of(&|row| if row % 20 == 0 { row % 30 } else { row + 100 }), None, "most rows are alone");
    }
}
