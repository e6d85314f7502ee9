//! Counts of one feature over the rows that were looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Statistics, population_stability_index};
use crate::encode::Feature;
use crate::spec::Range;

/// Values of 32 bits of which a run stays in the first-level cache.
const CACHED_VALUES: usize = 4096;

/// How many values a condition holds for, counted so that the compiler uses vector instructions.
fn count<T>(values: &[T], holds: impl Fn(&T) -> bool) -> u64 {
    let short_runs = values.chunks(CACHED_VALUES);
    short_runs.map(|run| u64::from(run.iter().map(|value| u32::from(holds(value))).sum::<u32>())).sum()
}

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

    /// Counts numbers: as they came, and as the matrix has them (NaN where missing or not finite).
    pub fn count_numbers(&mut self, values: &[f64], narrow: &[f32], range: &Range) {
        let unusable = count(narrow, |value| value.is_nan());
        let missing = if unusable == 0 { 0 } else { count(values, |value| value.is_nan()) };
        self.rows += values.len() as u64;
        self.missing += missing;
        self.infinite += unusable - missing;
        if range.min.is_some() || range.max.is_some() {
            let (low, high) = (range.min.unwrap_or(f64::NEG_INFINITY), range.max.unwrap_or(f64::INFINITY));
            let outside =
                |(value, narrow): (&f64, &f32)| u64::from((*value < low || *value > high) && narrow.is_finite());
            self.out_of_range += values.iter().zip(narrow).map(outside).sum::<u64>();
        }
        self.count_bins(narrow, unusable);
    }

    /// A bin's count is the difference of how many values lie above its two edges. Counting those, edge by edge over a
    /// run of values that stays in the first-level cache, takes vector instructions and no branch.
    fn count_bins(&mut self, values: &[f32], missing: u64) {
        let Some(statistics) = &self.statistics else { return };
        let edges = &statistics.edges;
        let [bins @ .., missing_bin] = self.bins.as_mut_slice() else { return };
        *missing_bin += missing;
        let mut above_before = values.len() as u64 - missing;
        let mut above = vec![0_u64; edges.len()];
        for run in values.chunks(CACHED_VALUES) {
            for (edge, above) in edges.iter().zip(&mut above) {
                *above += count(run, |value| *value > *edge);
            }
        }
        for (bin, above) in bins.iter_mut().zip(above.into_iter().chain([0])) {
            *bin += above_before - above;
            above_before = above;
        }
    }

    /// Counts numbers that `counts` rows each have, as [`FeatureTally::count_numbers`] counts the rows.
    pub fn count_numbers_of_rows(&mut self, values: &[f64], narrow: &[f32], counts: &[u64], range: &Range) {
        let (low, high) = (range.min.unwrap_or(f64::NEG_INFINITY), range.max.unwrap_or(f64::INFINITY));
        let edges = self.statistics.as_ref().map(|statistics| statistics.edges.as_slice());
        for ((value, narrow), rows) in values.iter().zip(narrow).zip(counts) {
            self.rows += rows;
            self.missing += if value.is_nan() { *rows } else { 0 };
            self.infinite += if narrow.is_nan() && !value.is_nan() { *rows } else { 0 };
            self.out_of_range += if (*value < low || *value > high) && narrow.is_finite() { *rows } else { 0 };
            let (Some(edges), [bins @ .., missing_bin]) = (edges, self.bins.as_mut_slice()) else { continue };
            if narrow.is_nan() {
                *missing_bin += rows;
            } else if let Some(bin) = bins.get_mut(edges.partition_point(|edge| edge < narrow)) {
                *bin += rows;
            }
        }
    }

    /// Counts a level: whether there was one, and its place among the learnt ones.
    #[inline]
    pub fn count_level(&mut self, present: bool, known: Option<u32>) {
        self.count_level_of_rows(present, known, 1);
    }

    /// Counts a level that so many rows have.
    #[inline]
    pub fn count_level_of_rows(&mut self, present: bool, known: Option<u32>, rows: u64) {
        self.rows += rows;
        if !present {
            self.missing += rows;
        } else if known.is_none() {
            self.unseen += rows;
        }
        self.count_bin(known, rows);
    }

    /// Counts a level that stands for a number outside the spec's range, which so many rows have: that fault alone, though it may
    /// be unseen too.
    pub fn count_level_out_of_range(&mut self, known: Option<u32>, rows: u64) {
        self.rows += rows;
        self.out_of_range += rows;
        self.count_bin(known, rows);
    }

    #[inline]
    fn count_bin(&mut self, known: Option<u32>, rows: u64) {
        let Some(last) = self.bins.len().checked_sub(1) else { return };
        self.bins[known.map_or(last, |index| (index as usize).min(last))] += rows;
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

    /// Whether these can be counts over at most `rows` rows: what is read from a file has to be asked before it is added.
    #[must_use]
    pub fn fits(&self, rows: u64) -> bool {
        let faults = [self.missing, self.infinite, self.out_of_range, self.unseen];
        let sum = |counts: &[u64]| counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        let within = |counts: &[u64]| sum(counts).is_some_and(|sum| sum <= self.rows);
        self.rows <= rows && within(&faults) && within(&self.bins)
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

/// Share of rows accepted × mean over the feature columns of [`FeatureTally::good_share`]. Derived features are no columns;
/// a column that several features are made from counts once, by the one that finds most faults in it.
pub fn data_quality_score<'a>(
    accepted: u64,
    rows: u64,
    features: impl Iterator<Item = (&'a Feature, &'a FeatureTally)>,
    scoring: bool,
) -> f64 {
    let mut shares: BTreeMap<&str, f64> = BTreeMap::new();
    for (feature, tally) in features {
        let Some(column) = feature.source_column() else { continue };
        let share = shares.entry(column).or_insert(1.0);
        *share = share.min(tally.good_share(scoring));
    }
    let mean = if shares.is_empty() { 1.0 } else { shares.values().sum::<f64>() / shares.len() as f64 };
    let accepted_share = if rows == 0 { 0.0 } else { accepted as f64 / rows as f64 };
    accepted_share * mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::FeatureSource;

    #[test]
    fn each_fault_is_counted_once_and_lowers_the_share() {
        let mut tally = FeatureTally::new(None);
        let range = Range { min: Some(0.0), max: Some(10.0) };
        let values = [5.0, f64::NAN, f64::INFINITY, 11.0];
        tally.count_numbers(&values, &values.map(crate::encode::values::as_f32), &range);
        assert_eq!((tally.missing, tally.infinite, tally.out_of_range), (1, 1, 1));
        assert_eq!(tally.good_share(true), 0.25);
    }

    #[test]
    fn bins_are_those_of_the_statistics() {
        let training: Vec<f32> = (0..1000).map(|value| (value % 97) as f32).collect();
        let statistics = Arc::new(Statistics::of_numbers(&training));
        let narrow: Vec<f32> =
            (0..10_000_u16).map(|value| if value % 7 == 0 { f32::NAN } else { f32::from(value % 131) }).collect();
        let values: Vec<f64> = narrow.iter().map(|value| f64::from(*value)).collect();
        let mut tally = FeatureTally::new(Some(Arc::clone(&statistics)));
        tally.count_numbers(&values, &narrow, &Range::default());
        let mut expected = vec![0_u64; statistics.bins()];
        narrow.iter().for_each(|value| expected[statistics.bin_of(*value)] += 1);
        assert_eq!(tally.bins, expected);
    }

    #[test]
    fn numbers_that_rows_share_are_counted_as_the_rows_are() {
        let training: Vec<f32> = (0..1000).map(|value| (value % 97) as f32).collect();
        let statistics = Arc::new(Statistics::of_numbers(&training));
        let values: Vec<f64> = (-3..150).map(f64::from).chain([f64::NAN, f64::INFINITY, 1e300, 33.25]).collect();
        let counts: Vec<u64> = (0..values.len() as u64).map(|place| place % 5).collect();
        let narrow: Vec<f32> = values.iter().map(|value| crate::encode::values::as_f32(*value)).collect();
        let rows: Vec<f64> =
            values.iter().zip(&counts).flat_map(|(value, rows)| std::iter::repeat_n(*value, *rows as usize)).collect();
        let narrow_rows: Vec<f32> = rows.iter().map(|value| crate::encode::values::as_f32(*value)).collect();
        for range in [Range::default(), Range { min: Some(2.0), max: None }, Range { min: None, max: Some(90.0) }] {
            for statistics in [None, Some(Arc::clone(&statistics))] {
                let (mut by_value, mut by_row) = (FeatureTally::new(statistics.clone()), FeatureTally::new(statistics));
                by_value.count_numbers_of_rows(&values, &narrow, &counts, &range);
                by_row.count_numbers(&rows, &narrow_rows, &range);
                let counted = |tally: &FeatureTally| serde_json::to_value(tally).unwrap();
                assert_eq!(counted(&by_value), counted(&by_row), "{range:?}");
            }
        }
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

    fn feature(name: &str, column: Option<&str>, sql: Option<&str>) -> Feature {
        let source = match sql {
            Some(sql) => FeatureSource::Expression { sql: sql.to_owned(), inputs: BTreeMap::new() },
            None => FeatureSource::Column(column.unwrap_or(name).to_owned()),
        };
        let source_kind = columns::ColumnKind::Text;
        Feature { name: name.to_owned(), kind: crate::encode::Kind::Number, source, source_kind }
    }

    fn tally_of(known: u64, unseen: u64) -> FeatureTally {
        let mut tally = FeatureTally::new(None);
        (0..known).for_each(|_| tally.count_level(true, Some(0)));
        (0..unseen).for_each(|_| tally.count_level(true, None));
        tally
    }

    #[test]
    fn the_score_multiplies_accepted_rows_and_good_cells() {
        let (plan, tally) = (feature("plan", None, None), tally_of(1, 1));
        assert_eq!(data_quality_score(3, 4, [(&plan, &tally)].into_iter(), true), 0.375);
    }

    #[test]
    fn a_column_counts_once_however_many_features_are_made_from_it() {
        let features = [
            feature("plan", None, None),
            feature("plan as number", Some("plan"), None),
            feature("age", None, None),
            feature("ratio", None, Some("age / 2")),
        ];
        let tallies = [tally_of(3, 1), tally_of(2, 2), tally_of(4, 0), tally_of(0, 4)];
        let score = data_quality_score(4, 4, features.iter().zip(&tallies), true);
        assert_eq!(score, 0.75, "the mean of a half and one");
    }
}
