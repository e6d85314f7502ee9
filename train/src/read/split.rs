//! The outer split: which of the usable rows are trained on and which are held out. `evaluation::split` decides it; here rows
//! are dealt out as it says.

use std::collections::HashSet;

use columns::ColumnKind;
use error::{Error, Result};
use evaluation::split::{HoldOut, Side, Sides};

use super::{Rows, TrainingData};
use crate::config::TrainConfig;

/// How rows were split, for the report.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SplitOutcome {
    /// What the time column holds, where rows are split by time.
    pub time_kind: Option<ColumnKind>,
    /// The oldest instant that is held out.
    pub cut_off: Option<f64>,
    /// Usable rows on neither side.
    pub neither: u64,
}

/// How rows are held out.
pub(crate) fn hold_out(config: &TrainConfig) -> HoldOut {
    HoldOut { fraction: config.test_fraction, seed: u64::from(config.seed) }
}

/// Holds rows out of those of the only table: training rows, held-out rows, and where time was cut.
pub(crate) fn split(rows: Rows, config: &TrainConfig) -> (Rows, Rows, Sides) {
    let hold_out = hold_out(config);
    let sides = if rows.keys.is_random() {
        let side = |id: &String| if hold_out.holds_id(id) { Side::HeldOut } else { Side::Training };
        Sides { of_rows: rows.ids.iter().map(side).collect(), cut_off: None }
    } else {
        hold_out.sides(&rows.keys)
    };
    let (train, test) = dealt(rows, &sides);
    (train, test, sides)
}

/// The rows of either side.
pub(crate) fn dealt(rows: Rows, sides: &Sides) -> (Rows, Rows) {
    let (mut train, mut test) = (rows.emptied(), rows.emptied());
    let Rows { places, ids, target, weights, keys, .. } = rows;
    let mut ids = ids.into_iter();
    for (index, side) in sides.of_rows.iter().enumerate() {
        let id = ids.next();
        let into = match side {
            Side::Training => &mut train,
            Side::HeldOut => &mut test,
            Side::Neither => continue,
        };
        let weight = weights.as_ref().map_or(1.0, |weights| weights[index]);
        into.push(places[index] as usize, id, target[index], weight, keys.get(index));
    }
    (train, test)
}

/// How far in time training rows lie before rows that judge them, in the units of the time column, which has this kind.
///
/// # Errors
/// [`Error::Setting`] where the gap has another unit than the column.
pub(crate) fn gap(config: &TrainConfig, kind: Option<ColumnKind>) -> Result<f64> {
    match (&config.spec.validation.gap, kind) {
        // What puts no rows in order is refused when it is read.
        (Some(gap), Some(kind @ (ColumnKind::Date | ColumnKind::Integer | ColumnKind::Float))) => {
            gap.in_units_of(kind).map_err(|problem| Error::Setting(format!("--gap (GAP): {problem}")))
        }
        _ => Ok(0.0),
    }
}

/// What the split is by, for the middle of a sentence: `by time "month"`; empty where it is at random.
pub(crate) fn in_words(config: &TrainConfig) -> String {
    let validation = &config.spec.validation;
    let gap = validation.gap.as_ref().map_or_else(String::new, |gap| format!(" with a gap of {gap}"));
    let time = validation.time.as_ref().map(|name| format!("time \"{name}\"{gap}"));
    let group = validation.group.as_ref().map(|name| format!("group \"{name}\""));
    let by: Vec<String> = time.into_iter().chain(group).collect();
    if by.is_empty() { String::new() } else { format!("by {}", by.join(" and ")) }
}

/// What speaks against held-out rows that were given apart: they are not newer than the training rows, or of their groups.
#[must_use]
pub fn warnings(config: &TrainConfig, data: &TrainingData) -> Vec<String> {
    if config.test_data.is_none() {
        return Vec::new();
    }
    let (train, test, validation) = (&data.train.keys, &data.test.keys, &config.spec.validation);
    let rows = data.test.len();
    let mut warnings = Vec::new();
    if let (Some(column), Some(train), Some(test)) = (&validation.time, &train.instants, &test.instants) {
        let newest = train.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let older = test.iter().filter(|instant| **instant < newest).count();
        if older > 0 {
            warnings.push(format!(
                "{older} of {rows} held-out rows are older than the newest training row by \"{column}\" (--time): R² may be too high \
                 for rows to come; leave newer rows out of the training rows, or older ones out of the held-out rows"
            ));
        }
    }
    if let (Some(column), Some(train), Some(test)) = (&validation.group, &train.groups, &test.groups) {
        let known: HashSet<u64> = train.iter().copied().collect();
        let shared = test.iter().filter(|group| known.contains(group)).count();
        if shared > 0 {
            warnings.push(format!(
                "{shared} of {rows} held-out rows are of a \"{column}\" (--group) that is trained on: R² may be too high for others; \
                 leave these rows out of one side"
            ));
        }
    }
    warnings
}
