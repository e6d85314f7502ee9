//! Conformal intervals: how far from its prediction an actual value lies, learnt from rows that the model had not seen, and how often
//! it lay as near as that on others.
//!
//! Errors are *normalised*: each is divided by what a second model expects of a row like it (Papadopoulos et al., "Inductive Confidence
//! Machines for Regression", 2002), so that intervals are wide where errors are large. A quantile of them times that expectation is
//! half the width of an interval.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Levels are multiples of one part in so many.
const STEPS: usize = 200;
/// The lowest and the highest level, as multiples.
const FIRST: usize = 100;
const LAST: usize = 198;

/// Quantiles of normalised errors, for as many levels as there are rows for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ErrorQuantiles {
    /// The levels from 0.5 to 0.99, ascending.
    pub levels: Vec<f64>,
    /// For each level what that share of normalised errors does not exceed.
    pub quantiles: Vec<f64>,
}

/// Whether intervals of this level exist: 0.5 to 0.99, in steps of 0.005.
#[must_use]
pub fn is_interval_level(level: f64) -> bool {
    multiple_of(level).is_some()
}

fn multiple_of(level: f64) -> Option<usize> {
    (FIRST..=LAST).find(|multiple| *multiple as f64 / STEPS as f64 == level)
}

/// How many calibrating rows intervals of a level need, `⌈1 / (1 − level)⌉`; none for what is no level.
#[must_use]
pub fn rows_needed(level: f64) -> Option<usize> {
    multiple_of(level).map(|multiple| STEPS.div_ceil(STEPS - multiple))
}

impl ErrorQuantiles {
    /// The quantiles of normalised errors, each with the weight of its row; rows of weight 0 do not count. The row to come counts as one
    /// more with the mean weight, which is what makes the share hold for it too (Vovk et al., "Algorithmic Learning in a Random World",
    /// 2005); without weights the quantile of a level is the `⌈(n + 1) · level⌉`-th smallest error.
    #[must_use]
    pub fn of(errors: &[f64], weights: Option<&[f32]>) -> Self {
        let weight = |row: usize| weights.map_or(1.0, |weights| f64::from(weights[row]));
        let mut rows: Vec<(f64, f64)> =
            errors.iter().enumerate().map(|(row, error)| (*error, weight(row))).filter(|row| row.1 > 0.0).collect();
        rows.sort_by(|one, other| one.0.total_cmp(&other.0));
        let sum: f64 = rows.iter().map(|row| row.1).sum();
        let with_next = sum + sum / rows.len().max(1) as f64;
        let mut found = Self::default();
        let (mut place, mut below) = (0, 0.0);
        for multiple in FIRST..=LAST {
            if rows.len() < STEPS.div_ceil(STEPS - multiple) {
                break;
            }
            let level = multiple as f64 / STEPS as f64;
            let wanted = level * with_next * (1.0 - 1e-12);
            while place + 1 < rows.len() && below + rows[place].1 < wanted {
                below += rows[place].1;
                place += 1;
            }
            found.levels.push(level);
            found.quantiles.push(rows[place].0);
        }
        found
    }

    /// The quantile of a level; none where there were too few rows for it.
    #[must_use]
    pub fn at(&self, level: f64) -> Option<f64> {
        let place = self.levels.iter().position(|known| *known == level)?;
        self.quantiles.get(place).copied()
    }

    /// The same with every quantile so many times as large.
    #[must_use]
    pub fn times(mut self, factor: f64) -> Self {
        self.quantiles.iter_mut().for_each(|quantile| *quantile *= factor);
        self
    }

    /// Whether levels and quantiles are what [`ErrorQuantiles::of`] can have found.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.levels.len() == self.quantiles.len()
            && self.levels.iter().all(|level| is_interval_level(*level))
            && self.levels.is_sorted_by(|one, other| one < other)
            && self.quantiles.iter().all(|quantile| quantile.is_finite() && *quantile >= 0.0)
            && self.quantiles.is_sorted()
    }
}

/// An interval: its ends, the lower one first.
pub type Ends = (f64, f64);

/// The interval around a prediction, held inside `clip` where the prediction is.
#[must_use]
pub fn interval(prediction: f64, half_width: f64, clip: Option<(f64, f64)>) -> Ends {
    let ends = (prediction - half_width, prediction + half_width);
    clip.map_or(ends, |(low, high)| (ends.0.clamp(low, high), ends.1.clamp(low, high)))
}

/// How often intervals held what came true, and how wide they were.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coverage {
    /// Rows.
    pub rows: usize,
    /// Share of the rows, by weight, whose actual value lies in its interval.
    pub coverage: f64,
    /// Mean width of the intervals, by weight.
    pub mean_width: f64,
}

/// Running sums of a [`Coverage`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CoverageSums {
    rows: usize,
    weight: f64,
    covered: f64,
    widths: f64,
}

impl CoverageSums {
    /// Takes in a row; one of weight 0 does not count.
    pub fn push(&mut self, actual: f64, (low, high): Ends, weight: f64) {
        if weight > 0.0 {
            self.rows += 1;
            self.weight += weight;
            self.covered += if low <= actual && actual <= high { weight } else { 0.0 };
            self.widths += weight * (high - low);
        }
    }

    /// The coverage; none where there is no row.
    #[must_use]
    pub fn coverage(&self) -> Option<Coverage> {
        let Self { rows, weight, covered, widths } = *self;
        (rows > 0).then(|| Coverage { rows, coverage: covered / weight, mean_width: widths / weight })
    }
}

/// The coverage of the rows in each tenth of the prediction, the lowest first: where predictions tie, they are in one tenth. `rows` has
/// for each its prediction, actual value, interval and weight.
#[must_use]
pub fn coverage_by_tenths(rows: &[(f64, f64, Ends, f64)]) -> Vec<(Ends, Coverage)> {
    const TENTHS: usize = 10;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&one, &other| rows[one].0.total_cmp(&rows[other].0));
    let mut tenths: BTreeMap<usize, (Ends, CoverageSums)> = BTreeMap::new();
    let mut smaller = 0;
    for (place, &row) in order.iter().enumerate() {
        let (prediction, actual, ends, weight) = rows[row];
        if place > 0 && rows[order[place - 1]].0 < prediction {
            smaller = place;
        }
        let tenth = tenths.entry(TENTHS * smaller / rows.len());
        let (span, sums) = tenth.or_insert(((prediction, prediction), CoverageSums::default()));
        span.1 = prediction;
        sums.push(actual, ends, weight);
    }
    tenths.into_values().filter_map(|(span, sums)| Some((span, sums.coverage()?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_quantile_is_the_error_that_the_next_row_makes_one_of() {
        let errors: Vec<f64> = (1..=99).rev().map(f64::from).collect();
        let quantiles = ErrorQuantiles::of(&errors, None);
        assert_eq!((quantiles.at(0.5), quantiles.at(0.9), quantiles.at(0.95)), (Some(50.0), Some(90.0), Some(95.0)));
        assert_eq!((quantiles.at(0.99), quantiles.at(0.985)), (None, Some(99.0)));
        assert_eq!(quantiles.at(0.912), None);
        assert!(quantiles.is_sound());
        assert_eq!(
            (rows_needed(0.9), rows_needed(0.5), rows_needed(0.99), rows_needed(0.4)),
            (Some(10), Some(2), Some(100), None)
        );
        assert_eq!(ErrorQuantiles::of(&errors[..10], None).at(0.9), Some(99.0));
        assert_eq!(ErrorQuantiles::of(&errors[..9], None).at(0.9), None);
        assert_eq!(ErrorQuantiles::of(&[], None), ErrorQuantiles::default());
        assert_eq!(quantiles.times(2.0).at(0.5), Some(100.0));
    }

    #[test]
    fn a_weight_counts_as_so_many_rows() {
        let errors: Vec<f64> = (0..400).map(|row| f64::from(row % 40)).collect();
        let weights = vec![2.5_f32; 400];
        assert_eq!(ErrorQuantiles::of(&errors, Some(&weights)), ErrorQuantiles::of(&errors, None));
        let of_small: Vec<f32> = errors.iter().map(|error| if *error < 20.0 { 1.0 } else { 0.0 }).collect();
        let some: Vec<f64> = errors.iter().copied().filter(|error| *error < 20.0).collect();
        assert_eq!(ErrorQuantiles::of(&errors, Some(&of_small)), ErrorQuantiles::of(&some, None));
        let of_large: Vec<f32> = errors.iter().map(|error| if *error < 20.0 { 1.0 } else { 9.0 }).collect();
        assert!(ErrorQuantiles::of(&errors, Some(&of_large)).at(0.5) > ErrorQuantiles::of(&errors, None).at(0.5));
    }

    #[test]
    fn what_was_never_found_is_not_sound() {
        let sound = ErrorQuantiles { levels: vec![0.5, 0.9], quantiles: vec![1.0, 2.0] };
        assert!(sound.is_sound());
        for wrong in [
            ErrorQuantiles { levels: vec![0.9, 0.5], ..sound.clone() },
            ErrorQuantiles { quantiles: vec![2.0, 1.0], ..sound.clone() },
            ErrorQuantiles { quantiles: vec![1.0], ..sound.clone() },
            ErrorQuantiles { quantiles: vec![-1.0, 1.0], ..sound.clone() },
            ErrorQuantiles { quantiles: vec![1.0, f64::INFINITY], ..sound.clone() },
            ErrorQuantiles { levels: vec![0.5, 0.901], ..sound },
        ] {
            assert!(!wrong.is_sound(), "{wrong:?}");
        }
    }

    #[test]
    fn tenths_keep_ties_together_and_count_every_row() {
        let row = |prediction: f64, actual: f64| (prediction, actual, interval(prediction, 1.0, Some((0.0, 9.5))), 1.0);
        let rows: Vec<_> =
            (0..100).map(|row_| row(f64::from(row_ / 10), f64::from(row_ / 10) + f64::from(row_ % 2) * 3.0)).collect();
        let tenths = coverage_by_tenths(&rows);
        assert_eq!(tenths.len(), 10);
        assert!(tenths.iter().all(|(span, of)| span.0 == span.1 && of.rows == 10 && of.coverage == 0.5), "{tenths:?}");
        assert_eq!((tenths[0].1.mean_width, tenths[5].1.mean_width, tenths[9].1.mean_width), (1.0, 2.0, 1.5));
        let same = vec![row(1.0, 1.0); 30];
        assert_eq!(coverage_by_tenths(&same).iter().map(|(_, of)| of.rows).collect::<Vec<_>>(), [30]);
        assert_eq!(coverage_by_tenths(&[]), []);
    }

    proptest! {
        /// Over all rows that could be the next one, at least the share of the level is covered, and no more than one row above it.
        #[test]
        fn each_row_in_turn_is_covered_as_often_as_the_level_says(
            errors in proptest::collection::vec(0.0_f64..1.0, 21..120), multiple in FIRST..=LAST,
        ) {
            let level = multiple as f64 / STEPS as f64;
            let covered = |row: usize| {
                let mut others = errors.clone();
                let error = others.remove(row);
                ErrorQuantiles::of(&others, None).at(level).map(|quantile| error <= quantile)
            };
            let found: Vec<bool> = (0..errors.len()).filter_map(covered).collect();
            prop_assume!(!found.is_empty());
            let share = found.iter().filter(|covered| **covered).count() as f64 / found.len() as f64;
            prop_assert!(share >= level - 1e-9 && share <= level + 1.0 / errors.len() as f64 + 1e-9, "{} {}", share, level);
        }
    }
}
