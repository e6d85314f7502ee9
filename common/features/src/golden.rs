//! Golden rows: made-up rows that travel in the model with their predictions, and are scored again on every load.
//!
//! They are drawn from the training statistics, never copied from a row of the data.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::encode::{Feature, Kind};
use super::quality::Statistics;

/// Rows drawn for a model.
pub const GOLDEN_ROWS: usize = 64;

/// Rows of the matrix and what the model predicts for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenRows {
    /// One list per row, one number per feature in matrix order, null where missing.
    pub rows: Vec<Vec<Option<f32>>>,
    /// XGBoost's predictions, before `clip`.
    pub predictions: Vec<f32>,
}

impl GoldenRows {
    /// Draws rows from the statistics of the features, the same ones for the same statistics. Predictions are to be
    /// filled in.
    #[must_use]
    pub fn draw(features: &[Feature], statistics: &[Statistics]) -> Self {
        let value = |row: usize, index: usize| draw_value(&features[index], &statistics[index], draw(row, index));
        let rows = (0..GOLDEN_ROWS).map(|row| (0..features.len()).map(|index| value(row, index)).collect()).collect();
        Self { rows, predictions: Vec::new() }
    }

    /// The rows as columns of the matrix, NaN where missing.
    #[must_use]
    pub fn columns(&self) -> Vec<Vec<f32>> {
        let width = self.rows.first().map_or(0, Vec::len);
        let column = |index: usize| self.rows.iter().map(|row| row[index].unwrap_or(f32::NAN)).collect();
        (0..width).map(column).collect()
    }
}

/// A number in [0, 1), the same for the same place.
fn draw(row: usize, index: usize) -> f64 {
    let mut place = [0_u8; 16];
    place[..8].copy_from_slice(&(row as u64).to_le_bytes());
    place[8..].copy_from_slice(&(index as u64).to_le_bytes());
    (xxh3_64_with_seed(&place, 42) >> 11) as f64 / (1_u64 << 53) as f64
}

/// One cell in eight is missing; a number lies anywhere between the extremes, at a decile or a little outside.
fn draw_value(feature: &Feature, statistics: &Statistics, uniform: f64) -> Option<f32> {
    if uniform < 0.125 {
        return match feature.kind {
            Kind::Encoded { default, .. } => Some(default),
            _ => None,
        };
    }
    let uniform = (uniform - 0.125) / 0.875;
    match &feature.kind {
        Kind::Category { levels } if levels.is_empty() => None,
        Kind::Category { levels } => Some((uniform * levels.len() as f64).floor() as f32),
        Kind::Encoded { values, default, .. } => {
            let place = (uniform * values.len() as f64) as usize;
            Some(values.get(place).copied().unwrap_or(*default))
        }
        Kind::Number | Kind::Date { .. } | Kind::Derived => draw_number(statistics, uniform),
    }
}

fn draw_number(statistics: &Statistics, uniform: f64) -> Option<f32> {
    let (min, max) = (statistics.min?, statistics.max?);
    let edges = &statistics.edges;
    if uniform < 0.5 && !edges.is_empty() {
        return Some(edges[(uniform * 2.0 * edges.len() as f64) as usize]);
    }
    let spread = (f64::from(max) - f64::from(min)) * 1.1;
    let value = f64::from(min) + ((uniform - 0.5) * 2.0).max(0.0) * spread;
    Some(super::encode::values::as_f32(value)).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::FeatureSource;
    use columns::ColumnKind;

    #[test]
    fn rows_are_the_same_each_time_and_within_what_training_saw() {
        let feature = |name: &str, kind| Feature {
            name: name.to_owned(),
            kind,
            source: FeatureSource::Column(name.to_owned()),
            source_kind: ColumnKind::Float,
        };
        let levels = vec!["a".to_owned(), "b".to_owned()];
        let features = [feature("x", Kind::Number), feature("c", Kind::Category { levels })];
        let values: Vec<f32> = (0..100).map(|value| value as f32).collect();
        let statistics = [Statistics::of_numbers(&values), Statistics::of_levels(2, 0, 0, &[1, 1])];
        let golden = GoldenRows::draw(&features, &statistics);
        assert_eq!(golden, GoldenRows::draw(&features, &statistics));
        let columns = golden.columns();
        assert!(columns[0].iter().any(|value| value.is_nan()));
        assert!(columns[1].iter().all(|code| code.is_nan() || *code == 0.0 || *code == 1.0));
        assert!(columns[0].iter().all(|value| value.is_nan() || (-1.0..=120.0).contains(value)));
    }
}
