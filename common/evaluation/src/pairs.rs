//! Errors of predictions whose actual values come one after the other, more of them than memory holds.

use serde::Serialize;

use super::conformal::Ends;
use crate::Interval;

/// Running sums over pairs of a prediction and what came true. Sums of parts of the rows can be added, in an order that the caller
/// fixes, so that the same rows always give the same figures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PairSums {
    rows: u64,
    mean_actual: f64,
    /// Squared deviations of the actual values from their mean (Welford 1962; Chan, Golub, LeVeque 1983 for sums of parts), which a
    /// large offset does not spoil.
    deviations: f64,
    squared_errors: f64,
    absolute_errors: f64,
    errors: f64,
    /// Predictions less the first of them, so that a large offset does not spoil their mean.
    predictions: f64,
    first_prediction: f64,
    /// Pairs with an interval, those whose actual value lies inside, and the sum of the widths.
    intervals: u64,
    covered: u64,
    widths: f64,
}

/// How far predictions were from what came true.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairErrors {
    /// Pairs.
    pub rows: u64,
    /// Coefficient of determination, as [`Scores`](crate::Scores) has it; none where the actual values are all the same.
    pub r2: Option<f64>,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Mean of prediction less actual value: above 0, too much was predicted.
    pub bias: f64,
    /// Mean prediction.
    pub mean_prediction: f64,
    /// Mean actual value.
    pub mean_actual: f64,
    /// Share of the actual values that lie in the intervals of their predictions; none where these have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
    /// Mean width of these intervals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_width: Option<f64>,
}

impl PairSums {
    /// Takes in a pair of finite numbers.
    pub fn push(&mut self, prediction: f64, actual: f64) {
        if self.rows == 0 {
            self.first_prediction = prediction;
        }
        self.rows += 1;
        let before = actual - self.mean_actual;
        self.mean_actual += before / self.rows as f64;
        self.deviations += before * (actual - self.mean_actual);
        let error = prediction - actual;
        self.squared_errors += error * error;
        self.absolute_errors += error.abs();
        self.errors += error;
        self.predictions += prediction - self.first_prediction;
    }

    /// Takes in the interval of the prediction that an actual value belongs to.
    pub fn push_interval(&mut self, actual: f64, (low, high): Ends) {
        self.intervals += 1;
        self.covered += u64::from(low <= actual && actual <= high);
        self.widths += high - low;
    }

    /// Adds the sums of further pairs.
    pub fn add(&mut self, more: &Self) {
        if more.rows == 0 {
            return;
        }
        if self.rows == 0 {
            *self = *more;
            return;
        }
        let (here, there) = (self.rows as f64, more.rows as f64);
        let apart = more.mean_actual - self.mean_actual;
        self.deviations += more.deviations + apart * apart * (here * there / (here + there));
        self.mean_actual += apart * (there / (here + there));
        self.rows += more.rows;
        self.squared_errors += more.squared_errors;
        self.absolute_errors += more.absolute_errors;
        self.errors += more.errors;
        self.intervals += more.intervals;
        self.covered += more.covered;
        self.widths += more.widths;
        self.predictions += more.predictions + there * (more.first_prediction - self.first_prediction);
    }

    /// Pairs taken in.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The errors; none where there is no pair, or where they are beyond what a float can hold.
    #[must_use]
    pub fn errors(&self) -> Option<PairErrors> {
        let rows = self.rows as f64;
        let r2 = 1.0 - self.squared_errors / self.deviations;
        let of_intervals = |sum: f64| (self.intervals > 0).then(|| sum / self.intervals as f64);
        let errors = PairErrors {
            rows: self.rows,
            r2: Some(r2).filter(|r2| self.deviations > 0.0 && r2.is_finite()),
            rmse: (self.squared_errors / rows).sqrt(),
            mae: self.absolute_errors / rows,
            bias: self.errors / rows,
            mean_prediction: self.first_prediction + self.predictions / rows,
            mean_actual: self.mean_actual,
            coverage: of_intervals(self.covered as f64),
            mean_width: of_intervals(self.widths),
        };
        (self.rows > 0 && errors.rmse.is_finite() && errors.mean_actual.is_finite()).then_some(errors)
    }
}

/// Groups of fewer pairs than these say little of how R² varies.
const LEAST_PAIRS_OF_A_GROUP: u64 = 5;
/// With fewer groups the interval itself is mostly chance.
const LEAST_GROUPS: usize = 20;
/// Standard errors between a value and the end of its 95 % interval.
const ERRORS_95: f64 = 1.96;

/// How sure R² of all pairs is, where they were dealt out to groups at random, such as by a hash of their ids: the jackknife over groups
/// (Kott 2001, the delete-a-group jackknife), 95 %. Groups are joined until each has enough pairs; none where there are too few pairs,
/// or R² is not defined without one of the groups.
#[must_use]
pub fn r2_interval_of_groups(groups: &[PairSums]) -> Option<Interval> {
    let total = |groups: &[PairSums]| {
        let mut sums = PairSums::default();
        groups.iter().for_each(|group| sums.add(group));
        sums
    };
    let all = total(groups);
    let wanted = usize::try_from(all.rows() / LEAST_PAIRS_OF_A_GROUP).unwrap_or(usize::MAX).min(groups.len());
    if wanted < LEAST_GROUPS {
        return None;
    }
    let mut joined = vec![PairSums::default(); wanted];
    for (place, group) in groups.iter().enumerate() {
        joined[place % wanted].add(group);
    }
    let r2 = all.errors()?.r2?;
    let without = |left_out: usize| {
        let mut sums = total(&joined[..left_out]);
        sums.add(&total(&joined[left_out + 1..]));
        sums.errors()?.r2
    };
    let values: Vec<f64> = (0..wanted).map(without).collect::<Option<_>>()?;
    let count = wanted as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let error = (squares * (count - 1.0) / count).sqrt();
    let ends = Interval { low: r2 - ERRORS_95 * error, high: (r2 + ERRORS_95 * error).min(1.0), level: 0.95 };
    (ends.low.is_finite() && ends.high.is_finite()).then_some(ends)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scores;

    fn of(pairs: &[(f64, f64)]) -> PairSums {
        let mut sums = PairSums::default();
        pairs.iter().for_each(|(prediction, actual)| sums.push(*prediction, *actual));
        sums
    }

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-9 * expected.abs().max(1.0)
    }

    #[test]
    fn the_sign_of_the_bias_is_that_of_what_was_predicted_too_much() {
        let errors = of(&[(3.0, 2.0), (5.0, 3.0), (1.0, 1.0)]).errors().unwrap();
        assert!(near(errors.bias, 1.0) && near(errors.mae, 1.0) && near(errors.rmse, (5.0_f64 / 3.0).sqrt()));
        assert!(near(errors.mean_prediction, 3.0) && near(errors.mean_actual, 2.0) && errors.rows == 3);
        assert!(near(errors.r2.unwrap(), 1.0 - 5.0 / 2.0));
    }

    #[test]
    fn intervals_are_counted_where_there_are_any() {
        let mut sums = of(&[(1.0, 1.5), (2.0, 9.0)]);
        assert_eq!(sums.errors().map(|errors| errors.coverage), Some(None));
        sums.push_interval(1.5, (0.0, 2.0));
        let mut more = PairSums::default();
        more.push(2.0, 9.0);
        more.push_interval(9.0, (0.0, 4.0));
        sums.add(&more);
        let errors = sums.errors().unwrap();
        assert_eq!((errors.coverage, errors.mean_width), (Some(0.5), Some(3.0)));
    }

    #[test]
    fn what_is_not_defined_is_left_out() {
        assert_eq!(of(&[]).errors(), None);
        let constant = of(&[(1.0, 0.1), (2.0, 0.1), (3.0, 0.1)]).errors().unwrap();
        assert_eq!((constant.r2, constant.rows), (None, 3));
        assert_eq!(of(&[(1.0, 2.0)]).errors().unwrap().r2, None);
        assert_eq!(of(&[(1e300, -1e300), (0.0, 1.0)]).errors(), None);
    }

    /// On rows whose errors are of unequal size, as those of real tables are.
    #[test]
    fn the_interval_of_groups_is_about_that_of_the_bootstrap() {
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for rows in [700, 5_000, 60_000] {
            let (mut predictions, mut actuals) = (Vec::new(), Vec::new());
            let mut groups = vec![PairSums::default(); 256];
            for _ in 0..rows {
                let actual = random() * 10.0;
                let prediction = actual + (random() - 0.5) * if random() < 0.1 { 12.0 } else { 3.0 };
                groups[(random() * 256.0) as usize].push(prediction, actual);
                predictions.push(prediction);
                actuals.push(actual);
            }
            let found = r2_interval_of_groups(&groups).unwrap();
            let expected = crate::r2_interval(&actuals, &predictions, None, 0.95, 1).unwrap().unwrap();
            let ratio = (found.high - found.low) / (expected.high - expected.low);
            assert!((0.7..1.4).contains(&ratio), "{rows} rows: {found:?} {expected:?}");
            assert!(found.low < expected.high && expected.low < found.high);
        }
    }

    #[test]
    fn too_few_pairs_or_no_variance_have_no_interval() {
        let few: Vec<PairSums> = (0..64).map(|place| of(&[(f64::from(place), 1.0 + f64::from(place))])).collect();
        assert_eq!(r2_interval_of_groups(&few), None);
        let constant: Vec<PairSums> = (0..64).map(|_| of(&[(1.0, 2.0); 30])).collect();
        assert_eq!(r2_interval_of_groups(&constant), None);
        assert_eq!(r2_interval_of_groups(&[]), None);
    }

    proptest! {
        /// The same figures as those that training has of all rows at once, wherever the rows are cut, with any offset.
        #[test]
        fn parts_add_up_to_the_whole(
            rows in proptest::collection::vec((-100.0_f64..100.0, -100.0_f64..100.0), 2..80), cut in 0_usize..80,
            offset in -1e8_f64..1e8,
        ) {
            let rows: Vec<(f64, f64)> = rows.iter().map(|(one, other)| (one + offset, other + offset)).collect();
            let (first, rest) = rows.split_at(cut.min(rows.len()));
            let mut sums = of(first);
            sums.add(&of(rest));
            let errors = sums.errors().unwrap();
            let (predictions, actuals): (Vec<f64>, Vec<f64>) = rows.iter().copied().unzip();
            let Ok(expected) = scores(&actuals, &predictions, None) else { return Ok(()) };
            prop_assert!(near(errors.rmse, expected.rmse) && near(errors.mae, expected.mae));
            let r2 = errors.r2.unwrap();
            prop_assert!((r2 - expected.r2).abs() <= 1e-6 * expected.r2.abs().max(1.0), "{} {}", r2, expected.r2);
            let bias = errors.mean_prediction - errors.mean_actual;
            prop_assert!((errors.bias - bias).abs() <= 1e-6, "{} {}", errors.bias, bias);
        }
    }
}
