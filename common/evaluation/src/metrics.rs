//! R², RMSE and MAE over rows, weighted or not, and per slice.

use std::collections::BTreeMap;

use serde::Serialize;

/// How far predictions are from a target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scores {
    /// Coefficient of determination, `1 − SS_res / SS_tot` with `SS_tot` around the (weighted) mean of the target: 1 is
    /// perfect, 0 is as good as the mean, below 0 is worse.
    pub r2: f64,
    /// Root of the (weighted) mean squared error, in the target's unit.
    pub rmse: f64,
    /// (Weighted) mean absolute error, in the target's unit.
    pub mae: f64,
    /// Rows, those of weight 0 included.
    pub rows: usize,
}

/// Why rows have no score.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// No row, or none with a weight above 0.
    #[error("there are no rows with a weight")]
    NoRows,
    /// Targets, predictions, weights or slices of different lengths.
    #[error("{found} {what} for {expected} targets")]
    Lengths {
        /// What does not fit.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A target or a prediction that is NaN or infinite.
    #[error("the {what} of row {row} is {value}")]
    NotFinite {
        /// `target`, `prediction`.
        what: &'static str,
        /// Row, from 0.
        row: usize,
        /// Its value.
        value: f64,
    },
    /// A weight that is negative, NaN or infinite.
    #[error("the weight of row {row} is {value}")]
    Weight {
        /// Row, from 0.
        row: usize,
        /// Its value.
        value: f64,
    },
    /// R² divides by the target's variance, which is 0.
    #[error("the target is {value} in every row, so R² is not defined")]
    Constant {
        /// The one value.
        value: f64,
    },
    /// Finite numbers whose R² is beyond what a float can hold.
    #[error("predictions are so far from the target that R² overflows")]
    Overflow,
}

/// Scores of predictions against the targets of the same rows.
///
/// Numerically robust: the mean first, then the squares of scaled deviations from it, in compensated `f64` sums, so that
/// neither a large offset nor large or tiny values spoil the result.
///
/// # Errors
/// [`MetricError`] for rows on which no score is defined.
pub fn scores<T, P>(targets: &[T], predictions: &[P], weights: Option<&[f32]>) -> Result<Scores, MetricError>
where
    T: Copy + Into<f64>,
    P: Copy + Into<f64>,
{
    let rows = Rows::new(targets, predictions, weights)?;
    let total = rows.terms.iter().map(|term| {
        [
            term.weight,
            term.weight * term.deviation.powi(2),
            term.weight * term.error.powi(2),
            term.weight * term.error.abs(),
            term.weight * term.deviation,
        ]
    });
    let [weight, squares, residuals, absolute, drift] = sum(total);
    // The mean is exact to rounding only; what is left of it is taken out here.
    let r2 = 1.0 - residuals / (squares - drift * drift / weight);
    let rmse = (residuals / weight).sqrt() * rows.scale;
    let mae = absolute / weight * rows.scale;
    if !(r2.is_finite() && rmse.is_finite() && mae.is_finite()) {
        return Err(MetricError::Overflow);
    }
    Ok(Scores { r2, rmse, mae, rows: targets.len() })
}

/// The scores of the rows that share a value of some column.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// The value.
    pub value: String,
    /// Rows that have it.
    pub rows: usize,
    /// Their scores, or why they have none (a single row, say, has no variance).
    pub scores: Result<Scores, MetricError>,
}

/// Scores per value of a column, ordered by value. `values` holds one text per row.
///
/// # Errors
/// [`MetricError::Lengths`]; what is wrong within a slice stands in its [`Slice::scores`].
pub fn scores_by_slice<T, P, V>(
    targets: &[T],
    predictions: &[P],
    weights: Option<&[f32]>,
    values: &[V],
) -> Result<Vec<Slice>, MetricError>
where
    T: Copy + Into<f64>,
    P: Copy + Into<f64>,
    V: AsRef<str>,
{
    check_lengths(targets.len(), predictions.len(), weights)?;
    same_length("slice values", values.len(), targets.len())?;
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    let rows = targets.iter().zip(predictions).zip(values);
    for (row, ((target, prediction), value)) in rows.enumerate() {
        let weight = weights.and_then(|weights| weights.get(row)).copied();
        let group = groups.entry(value.as_ref()).or_default();
        group.targets.push((*target).into());
        group.predictions.push((*prediction).into());
        group.weights.extend(weight);
    }
    Ok(groups.into_iter().map(|(value, group)| group.scored(value)).collect())
}

/// Rows that share a value; weights only if there are any.
#[derive(Default)]
struct Group {
    targets: Vec<f64>,
    predictions: Vec<f64>,
    weights: Vec<f32>,
}

impl Group {
    /// The slice of this value.
    fn scored(&self, value: &str) -> Slice {
        let weights = (!self.weights.is_empty()).then_some(self.weights.as_slice());
        let scores = scores(&self.targets, &self.predictions, weights);
        Slice { value: value.to_owned(), rows: self.targets.len(), scores }
    }
}

/// One row with a weight, in units of [`Rows::scale`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    pub(super) weight: f64,
    /// Target less mean.
    pub(super) deviation: f64,
    /// Target less prediction.
    pub(super) error: f64,
}

/// Checked rows, those of weight 0 left out.
pub(super) struct Rows {
    pub(super) terms: Vec<Term>,
    /// The largest deviation or error, above 0.
    scale: f64,
}

impl Rows {
    /// Checks and scales.
    pub(super) fn new<T, P>(targets: &[T], predictions: &[P], weights: Option<&[f32]>) -> Result<Self, MetricError>
    where
        T: Copy + Into<f64>,
        P: Copy + Into<f64>,
    {
        check_lengths(targets.len(), predictions.len(), weights)?;
        let mut rows = Vec::with_capacity(targets.len());
        for (row, (target, prediction)) in targets.iter().zip(predictions).enumerate() {
            let weight = weights.and_then(|weights| weights.get(row)).map_or(1.0, |weight| f64::from(*weight));
            let (target, prediction) = (finite("target", row, *target)?, finite("prediction", row, *prediction)?);
            if !(weight >= 0.0 && weight.is_finite()) {
                return Err(MetricError::Weight { row, value: weight });
            }
            rows.push((weight, target, prediction));
        }
        rows.retain(|(weight, ..)| *weight > 0.0);
        Self::scaled(&rows)
    }

    /// Centres on the mean and scales, so that squares neither overflow nor vanish.
    fn scaled(rows: &[(f64, f64, f64)]) -> Result<Self, MetricError> {
        let Some((_, first, _)) = rows.first() else {
            return Err(MetricError::NoRows);
        };
        if rows.iter().all(|(_, target, _)| target == first) {
            return Err(MetricError::Constant { value: *first });
        }
        let heaviest = rows.iter().fold(0.0_f64, |most, (weight, ..)| most.max(*weight));
        // Shares of the heaviest row, and the mean relative to the first target, halved against overflow.
        let [weights, drift] = sum(rows.iter().map(|(weight, target, _)| {
            let share = weight / heaviest;
            [share, share * (target / 2.0 - first / 2.0)]
        }));
        let half_mean = first / 2.0 + drift / weights;
        let halves = rows.iter().map(|(weight, target, prediction)| Term {
            weight: weight / heaviest,
            deviation: target / 2.0 - half_mean,
            error: target / 2.0 - prediction / 2.0,
        });
        let terms: Vec<Term> = halves.collect();
        let largest = terms.iter().fold(0.0_f64, |most, term| most.max(term.deviation.abs()).max(term.error.abs()));
        let scale = |term: Term| Term { deviation: term.deviation / largest, error: term.error / largest, ..term };
        Ok(Self { terms: terms.into_iter().map(scale).collect(), scale: largest * 2.0 })
    }
}

/// A number that is neither NaN nor infinite.
fn finite(what: &'static str, row: usize, value: impl Into<f64>) -> Result<f64, MetricError> {
    let value = value.into();
    if value.is_finite() { Ok(value) } else { Err(MetricError::NotFinite { what, row, value }) }
}

/// Whether there is one prediction and one weight per target.
fn check_lengths(targets: usize, predictions: usize, weights: Option<&[f32]>) -> Result<(), MetricError> {
    same_length("predictions", predictions, targets)?;
    weights.map_or(Ok(()), |weights| same_length("weights", weights.len(), targets))
}

/// Whether there are as many as there are targets.
fn same_length(what: &'static str, found: usize, expected: usize) -> Result<(), MetricError> {
    if found == expected { Ok(()) } else { Err(MetricError::Lengths { what, found, expected }) }
}

/// Column sums with Neumaier's compensation (A. Neumaier, ZAMM 54, 1974): the error does not grow with the rows.
pub(super) fn sum<const N: usize>(rows: impl Iterator<Item = [f64; N]>) -> [f64; N] {
    let mut totals = [0.0_f64; N];
    let mut lost = [0.0_f64; N];
    for row in rows {
        for ((total, lost), value) in totals.iter_mut().zip(&mut lost).zip(row) {
            let next = *total + value;
            *lost += if total.abs() >= value.abs() { (*total - next) + value } else { (value - next) + *total };
            *total = next;
        }
    }
    std::array::from_fn(|index| totals.get(index).unwrap_or(&0.0) + lost.get(index).unwrap_or(&0.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-12 * expected.abs().max(1.0)
    }

    #[test]
    fn agrees_with_values_worked_out_by_hand() {
        // The example of scikit-learn's r2_score: 0.948608137…
        let found = scores(&[3.0, -0.5, 2.0, 7.0], &[2.5, 0.0, 2.0, 8.0], None).unwrap();
        assert!(near(found.r2, 1.0 - 1.5 / 29.1875) && near(found.rmse, 0.375_f64.sqrt()) && near(found.mae, 0.5));
        assert_eq!(found.rows, 4);
        let mean = scores(&[1.0, 2.0, 3.0], &[2.0, 2.0, 2.0], None).unwrap();
        assert!(near(mean.r2, 0.0) && near(mean.mae, 2.0 / 3.0));
        let perfect = scores(&[1.0_f32, 2.0], &[1.0_f32, 2.0], None).unwrap();
        assert!(perfect.r2 >= 1.0 && perfect.rmse <= 0.0);
        let worse = scores(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0], None).unwrap();
        assert!(near(worse.r2, -3.0));
    }

    #[test]
    fn a_whole_weight_is_as_many_rows_and_zero_is_none() {
        let weighted = scores(&[1.0, 2.0, 4.0, 99.0], &[1.5, 2.0, 3.0, 0.0], Some(&[3.0, 1.0, 2.0, 0.0])).unwrap();
        let repeated = scores(&[1.0, 1.0, 1.0, 2.0, 4.0, 4.0], &[1.5, 1.5, 1.5, 2.0, 3.0, 3.0], None).unwrap();
        assert!(
            near(weighted.r2, repeated.r2) && near(weighted.rmse, repeated.rmse) && near(weighted.mae, repeated.mae)
        );
    }

    #[test]
    fn offsets_and_extreme_sizes_do_not_spoil_it() {
        let plain = scores(&[1.0, 2.0, 4.0], &[1.5, 2.0, 3.0], None).unwrap();
        let far = scores(&[1e9 + 1.0, 1e9 + 2.0, 1e9 + 4.0], &[1e9 + 1.5, 1e9 + 2.0, 1e9 + 3.0], None).unwrap();
        let huge = scores(&[1e300, 2e300, 4e300], &[1.5e300, 2e300, 3e300], None).unwrap();
        let tiny = scores(&[1e-300, 2e-300, 4e-300], &[1.5e-300, 2e-300, 3e-300], None).unwrap();
        for other in [far, huge, tiny] {
            assert!(near(other.r2, plain.r2), "{other:?}");
        }
        assert!(near(huge.rmse / 1e300, plain.rmse) && near(tiny.mae * 1e300, plain.mae));
    }

    #[test]
    fn what_has_no_score_says_why() {
        let text = |targets: &[f64], predictions: &[f64]| scores(targets, predictions, None).unwrap_err().to_string();
        assert_eq!(text(&[], &[]), "there are no rows with a weight");
        assert_eq!(text(&[1.0], &[1.0, 2.0]), "2 predictions for 1 targets");
        assert_eq!(text(&[0.1; 7], &[0.5; 7]), "the target is 0.1 in every row, so R² is not defined");
        assert_eq!(text(&[1.0, f64::NAN], &[1.0, 2.0]), "the target of row 1 is NaN");
        assert_eq!(text(&[1.0, 2.0], &[f64::INFINITY, 2.0]), "the prediction of row 0 is inf");
        assert_eq!(text(&[0.0, 1e-300], &[1e300, 0.0]), "predictions are so far from the target that R² overflows");
        let weighted = |weights: &[f32]| scores(&[1.0, 2.0], &[1.0, 2.0], Some(weights)).unwrap_err();
        assert_eq!(weighted(&[0.0, 0.0]), MetricError::NoRows);
        assert_eq!(weighted(&[1.0, 0.0]), MetricError::Constant { value: 1.0 });
        assert!(matches!(weighted(&[1.0, -1.0]), MetricError::Weight { row: 1, .. }));
        assert!(matches!(weighted(&[1.0]), MetricError::Lengths { what: "weights", .. }));
    }

    #[test]
    fn slices_are_scored_apart() {
        let (targets, predictions) = ([1.0, 2.0, 5.0, 7.0, 3.0], [1.0, 2.0, 6.0, 6.0, 3.0]);
        let slices = scores_by_slice(&targets, &predictions, None, &["b", "b", "a", "a", "c"]).unwrap();
        let values: Vec<_> = slices.iter().map(|slice| (slice.value.as_str(), slice.rows)).collect();
        assert_eq!(values, [("a", 2), ("b", 2), ("c", 1)]);
        assert!(near(slices[0].scores.as_ref().unwrap().r2, 0.0) && near(slices[1].scores.as_ref().unwrap().r2, 1.0));
        assert_eq!(slices[2].scores, Err(MetricError::Constant { value: 3.0 }));
        assert!(scores_by_slice(&targets, &predictions, None, &["a"]).is_err());
        let weighted = scores_by_slice(&targets, &predictions, Some(&[1.0, 1.0, 3.0, 1.0, 1.0]), &["x"; 5]).unwrap();
        assert_eq!(weighted[0].scores, scores(&targets, &predictions, Some(&[1.0, 1.0, 3.0, 1.0, 1.0])));
    }

    proptest! {
        #[test]
        fn moving_and_stretching_target_and_prediction_keeps_r2(
            rows in proptest::collection::vec((-100.0_f64..100.0, -100.0_f64..100.0), 2..50),
            offset in -1e6_f64..1e6, factor in 0.001_f64..1e6,
        ) {
            let (targets, predictions): (Vec<f64>, Vec<f64>) = rows.into_iter().unzip();
            prop_assume!(targets.iter().any(|target| (target - targets[0]).abs() > 1.0));
            let plain = scores(&targets, &predictions, None).unwrap();
            let moved = |values: &[f64]| values.iter().map(|value| value * factor + offset).collect::<Vec<_>>();
            let changed = scores(&moved(&targets), &moved(&predictions), None).unwrap();
            prop_assert!((plain.r2 - changed.r2).abs() <= 1e-5 * plain.r2.abs().max(1.0));
            prop_assert!(plain.r2 <= 1.0 && plain.mae <= plain.rmse * (1.0 + 1e-12));
        }
    }
}
