//! Rows that neither train nor judge, by reason, and how a message says so.

use error::Error;
use table::LoadableTable;

use super::in_words;
use crate::config::TrainConfig;

/// Rows left out, by reason.
#[derive(Debug, Default, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Dropped {
    /// The target is null or not finite.
    pub bad_target: u64,
    /// The id is null.
    pub null_id: u64,
    /// The id repeats that of a row above that can be used.
    pub duplicate_id: u64,
    /// The weight is missing, negative or not finite.
    pub bad_weight: u64,
    /// There is no time, where rows are split by time.
    #[serde(skip_serializing_if = "is_zero")]
    pub no_time: u64,
    /// Those of `bad_target` that are finite numbers, but not as 32-bit floats; and the first of them.
    #[serde(skip)]
    pub beyond_floats: Option<(u64, f64)>,
    /// The first weight that is no number above 0; NaN is missing.
    #[serde(skip)]
    pub bad_weight_example: Option<f64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Dropped {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.bad_target + self.null_id + self.duplicate_id + self.bad_weight + self.no_time
    }

    /// Whether a row that has an id can be used; counts it where not. `is_first` is asked last: a row that cannot be used does
    /// not take its id.
    pub(crate) fn passes(&mut self, target: f64, weight: f64, has_time: bool, is_first: impl FnOnce() -> bool) -> bool {
        let is_good = |value: f64| value.is_finite() && (value as f32).is_finite();
        if !is_good(target) {
            self.bad_target += 1;
            if target.is_finite() {
                self.beyond_floats.get_or_insert((0, target)).0 += 1;
            }
        } else if !(weight >= 0.0 && is_good(weight)) {
            self.bad_weight += 1;
            self.bad_weight_example.get_or_insert(weight);
        } else if !has_time {
            self.no_time += 1;
        } else if !is_first() {
            self.duplicate_id += 1;
        } else {
            return true;
        }
        false
    }
}

/// Says why none of a table's rows is left to train on: each reason with its rows.
pub(crate) fn nothing_left(table: &LoadableTable, dropped: &Dropped, config: &TrainConfig, held_out: usize) -> Error {
    let named = Named { id: &config.id, target: &config.target, weight: config.spec.weight.as_deref() };
    let split = match in_words(config) {
        by if by.is_empty() => by,
        by => format!("; validation {by} leaves no row on the side that is trained on"),
    };
    Error::Data(format!(
        "{}: none of its {} rows can be trained on: {}{split}",
        table.dataset().location,
        table.rows(),
        reasons(dropped, &named, held_out as u64)
    ))
}

/// Names of columns, for the reasons of rows that are left out.
pub(super) struct Named<'a> {
    pub(super) id: &'a str,
    pub(super) target: &'a str,
    pub(super) weight: Option<&'a str>,
}

pub(super) fn reasons(dropped: &Dropped, named: &Named<'_>, held_out: u64) -> String {
    let Named { id, target, weight } = named;
    let (beyond, large) = dropped.beyond_floats.unwrap_or_default();
    let weights = match dropped.bad_weight_example {
        Some(example) if !example.is_nan() => format!(", such as {example:?}"),
        _ => String::new(),
    };
    let named = weight.map_or_else(String::new, |name| format!(" \"{name}\""));
    let all = [
        (dropped.bad_target - beyond, format!("have no target \"{target}\", or one that is not finite")),
        (
            beyond,
            format!(
                "have a target \"{target}\" beyond 32-bit floats, which XGBoost computes with, such as {large:e} (divide the \
                 target by a power of ten)"
            ),
        ),
        (dropped.null_id, format!("have no id \"{id}\"")),
        (dropped.duplicate_id, "repeat an id (the first row is kept)".to_owned()),
        (dropped.bad_weight, format!("have a weight{named} that is missing, negative or not finite{weights}")),
        (dropped.no_time, "have no time (--time, TIME_COLUMN)".to_owned()),
        (held_out, "are held out (--test-fraction, TEST_FRACTION)".to_owned()),
    ];
    let said = all.into_iter().filter(|(rows, _)| *rows > 0).map(|(rows, reason)| counted(rows, &reason));
    said.collect::<Vec<_>>().join(", ")
}

/// `2 have no id`, `1 has no id`.
fn counted(rows: u64, reason: &str) -> String {
    let of_one = [("have ", "has "), ("repeat ", "repeats "), ("are ", "is ")];
    let singular = of_one.into_iter().find_map(|(many, one)| Some(format!("{one}{}", reason.strip_prefix(many)?)));
    match singular.filter(|_| rows == 1) {
        Some(singular) => format!("{rows} {singular}"),
        None => format!("{rows} {reason}"),
    }
}
