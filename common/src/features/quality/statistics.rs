//! What a feature looked like in the training rows: for drift, for golden rows, for people.

use serde::{Deserialize, Serialize};

/// Quantile bins of a numeric feature.
const BINS: usize = 10;
/// Values looked at for the quantiles; more would move an edge by less than drift can show.
const QUANTILE_SAMPLE: usize = 200_000;

/// One feature over the training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Rows seen.
    pub rows: u64,
    /// Share of rows without a usable value.
    pub missing: f64,
    /// Smallest value, of a numeric feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f32>,
    /// Largest value, of a numeric feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
    /// Mean, of a numeric feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Upper edges of all bins but the last, ascending: a value is in the first bin whose edge is not below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<f32>,
    /// Share of rows in each bin (or of each level), and last the share that is missing.
    pub shares: Vec<f64>,
}

impl Statistics {
    /// Statistics of a category: rows, missing ones, those with a level that is not kept, and the count of each level.
    #[must_use]
    pub fn of_levels(rows: u64, missing: u64, not_kept: u64, level_counts: &[u64]) -> Self {
        let share = |count: u64| count as f64 / rows.max(1) as f64;
        let mut shares: Vec<f64> = level_counts.iter().map(|&count| share(count)).collect();
        shares.push(share(missing + not_kept));
        Self { rows, missing: share(missing), min: None, max: None, mean: None, edges: Vec::new(), shares }
    }

    /// Statistics of a number; NaN is missing.
    #[must_use]
    pub fn of_numbers(values: &[f32]) -> Self {
        let edges = quantile_edges(values);
        let mut counts = vec![0_u64; edges.len() + 2];
        let (mut min, mut max, mut sum) = (f32::INFINITY, f32::NEG_INFINITY, 0.0_f64);
        for &value in values {
            counts[bin_of(&edges, value)] += 1;
            if !value.is_nan() {
                (min, max, sum) = (min.min(value), max.max(value), sum + f64::from(value));
            }
        }
        let rows = values.len() as u64;
        let missing = counts.last().copied().unwrap_or_default();
        let present = rows - missing;
        let shares = counts.iter().map(|&count| count as f64 / rows.max(1) as f64).collect();
        Self {
            rows,
            missing: missing as f64 / rows.max(1) as f64,
            min: (present > 0).then_some(min),
            max: (present > 0).then_some(max),
            mean: (present > 0).then(|| sum / present as f64),
            edges,
            shares,
        }
    }

    /// The bin of a value; the last bin is for missing.
    #[must_use]
    pub fn bin_of(&self, value: f32) -> usize {
        bin_of(&self.edges, value)
    }

    /// The number of bins, the one for missing included.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.shares.len()
    }
}

fn bin_of(edges: &[f32], value: f32) -> usize {
    if value.is_nan() { edges.len() + 1 } else { edges.partition_point(|edge| *edge < value) }
}

/// The nine deciles, equal ones once.
fn quantile_edges(values: &[f32]) -> Vec<f32> {
    let step = (values.len() / QUANTILE_SAMPLE).max(1);
    let mut sample: Vec<f32> = values.iter().step_by(step).copied().filter(|value| !value.is_nan()).collect();
    if sample.is_empty() {
        return Vec::new();
    }
    sample.sort_unstable_by(f32::total_cmp);
    let decile = |tenth: usize| sample[(sample.len() * tenth / BINS).min(sample.len() - 1)];
    let mut edges: Vec<f32> = (1..BINS).map(decile).collect();
    edges.dedup();
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deciles_hold_a_tenth_each() {
        let values: Vec<f32> = (0..1000).map(|value| value as f32).collect();
        let statistics = Statistics::of_numbers(&values);
        assert_eq!(statistics.edges.len(), 9);
        assert!(statistics.shares[..10].iter().all(|share| (share - 0.1).abs() < 0.002), "{statistics:?}");
        assert_eq!(statistics.min, Some(0.0));
        assert_eq!(statistics.max, Some(999.0));
    }

    #[test]
    fn a_constant_and_an_absent_column_have_statistics_too() {
        let constant = Statistics::of_numbers(&[5.0; 4]);
        assert_eq!(
            (constant.edges.as_slice(), constant.shares.as_slice()),
            ([5.0].as_slice(), [1.0, 0.0, 0.0].as_slice())
        );
        let absent = Statistics::of_numbers(&[f32::NAN; 2]);
        assert_eq!((absent.missing, absent.min), (1.0, None));
    }
}
