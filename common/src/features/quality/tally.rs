//! Counts of one feature over the rows that were looked at.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Statistics, population_stability_index};
use crate::features::spec::Range;

/// What the cells of one feature were like. Tallies of batches add up to the tally of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FeatureTally {
    /// Cells seen.
    pub rows: u64,
    /// Null cells.
    pub missing: u64,
    /// Values that are not finite as a 32-bit float: scored as missing.
    pub infinite: u64,
    /// Values outside the spec's range.
    pub out_of_range: u64,
    /// Levels that training did not keep.
    pub unseen: u64,
    /// Rows in each bin of the training statistics, the last one for missing.
    pub bins: Vec<u64>,
    #[serde(skip)]
    statistics: Option<Arc<Statistics>>,
}

impl FeatureTally {
    /// Nothing counted yet; rows will be binned by the training `statistics`, where there are any yet.
    #[must_use]
    pub fn new(statistics: Option<Arc<Statistics>>) -> Self {
        let bins = vec![0; statistics.as_ref().map_or(0, |statistics| statistics.bins())];
        Self { rows: 0, missing: 0, infinite: 0, out_of_range: 0, unseen: 0, bins, statistics }
    }

    /// Counts a number: as it came, and as the matrix has it (NaN where it is missing or not finite).
    #[inline]
    pub fn count_number(&mut self, value: f64, narrow: f32, range: &Range) {
        self.rows += 1;
        if value.is_nan() {
            self.missing += 1;
        } else if narrow.is_nan() {
            self.infinite += 1;
        } else if !range.contains(value) {
            self.out_of_range += 1;
        }
        if let Some(statistics) = &self.statistics {
            self.bins[statistics.bin_of(narrow)] += 1;
        }
    }

    /// Counts a level: whether there was one, and its place among the learnt ones.
    #[inline]
    pub fn count_level(&mut self, present: bool, known: Option<u32>) {
        self.rows += 1;
        if !present {
            self.missing += 1;
        } else if known.is_none() {
            self.unseen += 1;
        }
        let Some(last) = self.bins.len().checked_sub(1) else { return };
        self.bins[known.map_or(last, |index| (index as usize).min(last))] += 1;
    }

    /// Adds the counts of further rows.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.missing += other.missing;
        self.infinite += other.infinite;
        self.out_of_range += other.out_of_range;
        self.unseen += other.unseen;
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            *bin += more;
        }
    }

    /// Share of cells that are present, inside their range and, when `scoring`, of a known level. 1 where nothing was
    /// counted.
    #[must_use]
    pub fn good_share(&self, scoring: bool) -> f64 {
        if self.rows == 0 {
            return 1.0;
        }
        let unseen = if scoring { self.unseen } else { 0 };
        let faulty = self.missing + self.infinite + self.out_of_range + unseen;
        1.0 - faulty as f64 / self.rows as f64
    }

    /// The population stability index against the training rows.
    #[must_use]
    pub fn drift(&self, statistics: &Statistics) -> f64 {
        population_stability_index(&statistics.shares, &self.bins)
    }
}

/// Share of rows accepted × mean over the feature columns of [`FeatureTally::good_share`].
pub fn data_quality_score<'a>(
    accepted: u64,
    rows: u64,
    tallies: impl Iterator<Item = &'a FeatureTally>,
    scoring: bool,
) -> f64 {
    let shares: Vec<f64> = tallies.map(|tally| tally.good_share(scoring)).collect();
    let mean = if shares.is_empty() { 1.0 } else { shares.iter().sum::<f64>() / shares.len() as f64 };
    let accepted_share = if rows == 0 { 0.0 } else { accepted as f64 / rows as f64 };
    accepted_share * mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_counted_once_and_lowers_the_share() {
        let mut tally = FeatureTally::new(None);
        let range = Range { min: Some(0.0), max: Some(10.0) };
        for value in [5.0, f64::NAN, f64::INFINITY, 11.0] {
            tally.count_number(value, crate::features::encode::values::as_f32(value), &range);
        }
        assert_eq!((tally.missing, tally.infinite, tally.out_of_range), (1, 1, 1));
        assert_eq!(tally.good_share(true), 0.25);
    }

    #[test]
    fn an_unseen_level_counts_when_scoring_and_goes_to_the_missing_bin() {
        let statistics = Arc::new(Statistics::of_levels(10, 0, 0, &[6, 4]));
        let mut tally = FeatureTally::new(Some(statistics));
        tally.count_level(true, Some(1));
        tally.count_level(true, None);
        assert_eq!(tally.bins, [0, 1, 1]);
        assert_eq!((tally.good_share(true), tally.good_share(false)), (0.5, 1.0));
    }

    #[test]
    fn the_score_multiplies_accepted_rows_and_good_cells() {
        let mut tally = FeatureTally::new(None);
        tally.count_level(true, None);
        tally.count_level(true, Some(0));
        assert_eq!(data_quality_score(3, 4, [&tally].into_iter(), true), 0.375);
    }
}
