//! What a feature looked like in the training rows: for drift, for golden rows, for people.

use serde::{Deserialize, Serialize};

/// Quantile bins of a numeric feature.
const BINS: usize = 10;
/// The shares of rows below [`Statistics::quantiles`].
pub const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];
/// Values looked at for the quantiles; more would move an edge by less than drift can show.
const QUANTILE_SAMPLE: usize = 200_000;

/// One feature over the training rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
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
    /// Standard deviation (of the rows, not of a population behind them), of a numeric feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// Different values; of a numeric feature with more than 200,000 rows, those among as many evenly spread rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<u64>,
    /// The values at [`QUANTILES`], of a numeric feature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f32>,
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
        let distinct = Some(level_counts.len() as u64);
        Self { rows, missing: share(missing), distinct, shares, ..Self::default() }
    }

    /// Statistics of a number; NaN is missing.
    #[must_use]
    pub fn of_numbers(values: &[f32]) -> Self {
        let sample = sorted_sample(values);
        let edges = decile_edges(&sample);
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
        let mean = (present > 0).then(|| sum / present as f64);
        Self {
            rows,
            missing: missing as f64 / rows.max(1) as f64,
            min: (present > 0).then_some(min),
            max: (present > 0).then_some(max),
            mean,
            std: mean.map(|mean| deviation(values, mean, present)),
            distinct: Some(distinct(&sample)),
            quantiles: QUANTILES.iter().filter_map(|&share| at(&sample, share)).collect(),
            edges,
            shares,
        }
    }

    /// The bin of a value; the last bin is for missing.
    #[must_use]
    pub fn bin_of(&self, value: f32) -> usize {
        bin_of(&self.edges, value)
    }

    /// Whether these can be statistics of anything: what is read from a file has to be asked before rows are binned by it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let shares_fit = self.edges.is_empty() || self.shares.len() == self.edges.len() + 2;
        let are_shares = !self.shares.is_empty() && self.shares.iter().all(|share| (0.0..=1.0).contains(share));
        shares_fit && are_shares && self.edges.is_sorted() && self.edges.iter().all(|edge| edge.is_finite())
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

/// The values that are there, or so many of them evenly spread, ascending.
fn sorted_sample(values: &[f32]) -> Vec<f32> {
    let step = (values.len() / QUANTILE_SAMPLE).max(1);
    let mut sample: Vec<f32> = values.iter().step_by(step).copied().filter(|value| !value.is_nan()).collect();
    sample.sort_unstable_by(f32::total_cmp);
    sample
}

/// The value below which a share of the sorted values lies.
fn at(sorted: &[f32], share: f64) -> Option<f32> {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied()
}

/// The nine deciles, equal ones once.
fn decile_edges(sorted: &[f32]) -> Vec<f32> {
    let decile = |tenth: usize| sorted.get((sorted.len() * tenth / BINS).min(sorted.len().saturating_sub(1))).copied();
    let mut edges: Vec<f32> = (1..BINS).filter_map(decile).collect();
    edges.dedup();
    edges
}

/// Different values among sorted ones.
fn distinct(sorted: &[f32]) -> u64 {
    let changes = sorted.windows(2).filter(|pair| pair[0] != pair[1]).count();
    changes as u64 + u64::from(!sorted.is_empty())
}

/// Root of the mean squared deviation; a second pass, since sums of squares lose what large values have in common.
fn deviation(values: &[f32], mean: f64, present: u64) -> f64 {
    let squares: f64 =
        values.iter().filter(|value| !value.is_nan()).map(|value| (f64::from(*value) - mean).powi(2)).sum();
    (squares / present as f64).sqrt()
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
        assert_eq!((absent.missing, absent.min, absent.std), (1.0, None, None));
        assert_eq!((absent.distinct, absent.quantiles.len()), (Some(0), 0));
        assert_eq!((constant.std, constant.distinct), (Some(0.0), Some(1)));
        assert_eq!(constant.quantiles, [5.0; 5]);
    }

    #[test]
    fn spread_and_quantiles_are_those_of_the_rows() {
        let values = [1.0, 2.0, f32::NAN, 3.0, 4.0, 4.0, -0.0, 0.0];
        let statistics = Statistics::of_numbers(&values);
        let present = [1.0_f64, 2.0, 3.0, 4.0, 4.0, 0.0, 0.0];
        let mean = present.iter().sum::<f64>() / 7.0;
        let std = (present.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 7.0).sqrt();
        assert!((statistics.std.unwrap() - std).abs() < 1e-12);
        assert_eq!(statistics.distinct, Some(5), "both zeros are one value");
        assert_eq!(statistics.quantiles, [-0.0, 0.0, 2.0, 4.0, 4.0]);
        // A large offset must not eat the spread.
        let far: Vec<f32> = (0..1000).map(|row| 1e7 + (row % 2) as f32).collect();
        assert_eq!(Statistics::of_numbers(&far).std, Some(0.5));
    }

    #[test]
    fn edges_that_descend_and_shares_that_do_not_fit_are_not_sound() {
        let sound = Statistics::of_numbers(&[1.0, 2.0, 3.0, f32::NAN]);
        assert!(sound.is_sound() && Statistics::of_levels(3, 1, 0, &[2]).is_sound());
        assert!(Statistics::of_numbers(&[]).is_sound() && Statistics::of_levels(0, 0, 0, &[]).is_sound());
        let edges = |edges: Vec<f32>| Statistics { edges, ..sound.clone() };
        assert!(!edges(vec![2.0, 1.0, 3.0]).is_sound() && !edges(vec![1.0, f32::NAN, 3.0]).is_sound());
        assert!(!edges(vec![1.0]).is_sound());
        for share in [-0.1, 1.1, f64::NAN] {
            let mut other = sound.clone();
            other.shares[0] = share;
            assert!(!other.is_sound(), "{share}");
        }
        assert!(!Statistics::default().is_sound());
    }
}
