//! The columns that are no features or say more than a feature does: ids, targets, weights, times and groups.

use columns::ColumnKind;
use columns::cells::MICROSECONDS_PER_DAY;
use columns::text::canonical_text;
use columns::text_hints::Writing;
use error::{Error, Result};
use evaluation::split::{RowKey, group_key};
use features::encode::values::as_numbers;
use polars::prelude::{Series, StringChunked};
use table::{Dataset, LoadableTable};

use super::Dropped;
use super::values::{target_values, weight_values};
use crate::config::TrainConfig;

/// Names of these columns.
#[derive(Debug, Clone)]
pub(crate) struct Roles {
    pub(crate) id: String,
    pub(crate) target: String,
    pub(crate) weight: Option<String>,
    pub(crate) time: Option<String>,
    pub(crate) group: Option<String>,
    /// Seed of the hashes that stand for groups.
    seed: u64,
}

impl Roles {
    pub(crate) fn of(config: &TrainConfig) -> Self {
        let validation = &config.spec.validation;
        Self {
            id: config.id.clone(),
            target: config.target.clone(),
            weight: config.spec.weight.clone(),
            time: validation.time.clone(),
            group: validation.group.clone(),
            seed: u64::from(config.seed),
        }
    }

    /// Every name with what the column is for.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let optional = [("weight", &self.weight), ("time", &self.time), ("group", &self.group)];
        let optional = optional.into_iter().filter_map(|(role, name)| Some((role, name.as_ref()?)));
        [("id", &self.id), ("target", &self.target)].into_iter().chain(optional)
    }

    /// The names alone, each of which the table has.
    ///
    /// # Errors
    /// [`Error::Data`] for the first that it has not.
    pub(crate) fn required(&self, table: &LoadableTable) -> Result<Vec<String>> {
        let names: Vec<String> = self.named().map(|(_, name)| name.clone()).collect();
        for name in &names {
            table.schema().require(name, &table.dataset().location)?;
        }
        Ok(names)
    }
}

/// What these columns hold in some rows.
pub(crate) struct RoleValues {
    ids: StringChunked,
    target: Vec<f64>,
    weights: Option<Vec<f64>>,
    /// NaN where a row has no time.
    instants: Option<Vec<f64>>,
    groups: Option<StringChunked>,
    seed: u64,
}

/// A row that has an id, as these columns have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoleRow<'a> {
    pub(crate) id: &'a str,
    pub(crate) target: f64,
    pub(crate) weight: f64,
    pub(crate) key: RowKey,
}

impl RoleValues {
    /// Reads the columns, which `column` gives by name.
    ///
    /// # Errors
    /// [`Error::Data`] where one of them cannot serve.
    pub(crate) fn read(
        roles: &Roles,
        dataset: &Dataset,
        writing: Writing,
        column: impl Fn(&str) -> Result<Series>,
    ) -> Result<Self> {
        let location = &dataset.location;
        let (ids, weight, group) = (column(&roles.id)?, roles.weight.as_ref(), roles.group.as_ref());
        let text = |column: &Series| canonical_text(column).map(std::borrow::Cow::into_owned);
        Ok(Self {
            ids: text(&ids)?,
            target: target_values(&column(&roles.target)?, location, writing)?,
            weights: weight.map(|name| weight_values(&column(name)?, location, writing)).transpose()?,
            instants: roles.time.as_ref().map(|name| instants(&column(name)?, location)).transpose()?,
            groups: group.map(|name| text(&column(name)?)).transpose()?,
            seed: roles.seed,
        })
    }

    /// Values without times and groups.
    #[cfg(test)]
    pub(super) fn of_columns(ids: &[Option<String>], target: &[f64], weights: Option<&[f64]>) -> Self {
        let ids = ids.iter().map(Option::as_deref).collect();
        let (target, weights) = (target.to_vec(), weights.map(<[f64]>::to_vec));
        Self { ids, target, weights, instants: None, groups: None, seed: 0 }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of the ids beyond so many of each.
    pub(super) fn ids_beyond(&self, usual: u64) -> u64 {
        self.ids.iter().flatten().map(|id| (id.len() as u64).saturating_sub(usual)).sum()
    }

    /// A row; none where it has no id.
    pub(crate) fn get(&self, row: usize) -> Option<RoleRow<'_>> {
        let id = self.ids.get(row)?;
        let group = self.groups.as_ref().map_or(0, |groups| group_key(groups.get(row), id, self.seed));
        let instant = self.instants.as_ref().map_or(0.0, |instants| instants[row]);
        let weight = self.weights.as_ref().map_or(1.0, |weights| weights[row]);
        Some(RoleRow { id, target: self.target[row], weight, key: RowKey { instant, group } })
    }
}

impl RoleRow<'_> {
    /// Whether a row that is trained on or split can be used; counts it where not.
    pub(crate) fn passes(&self, dropped: &mut Dropped, needs_time: bool, is_first: impl FnOnce() -> bool) -> bool {
        let has_time = !needs_time || self.key.instant.is_finite();
        dropped.passes(self.target, self.weight, has_time, is_first)
    }
}

/// A time column as instants: microseconds since 1970-01-01 of dates and timestamps, numbers as they are, NaN where there is none.
pub(crate) fn instants(column: &Series, location: &str) -> Result<Vec<f64>> {
    let kind = ColumnKind::of(column.dtype());
    let is_empty = column.null_count() == column.len();
    if !is_empty && !matches!(kind, ColumnKind::Date | ColumnKind::Integer | ColumnKind::Float) {
        return Err(Error::Data(format!(
            "{location}: the time \"{}\" has {} ({}), but rows are put in order by dates, timestamps or numbers: write it as one of \
             them, such as 2026-01-31, or name another column (--time, TIME_COLUMN)",
            column.name(),
            kind.describe(),
            column.dtype(),
        )));
    }
    let numbers = as_numbers(column)?;
    // Numbers of days come from whole microseconds, which rounding brings back.
    let instant = |number: f64| if kind == ColumnKind::Date { (number * MICROSECONDS_PER_DAY).round() } else { number };
    Ok(numbers.into_iter().map(instant).map(|number| if number.is_finite() { number } else { f64::NAN }).collect())
}
