//! How much smaller errors are on all rows: a model of a fold has learnt from a part of the rows that the final model learns from, so the
//! errors that calibrate intervals are larger than those to come. By how much, the table itself tells: the same boosters once more, on a
//! part of the rows that they had, err more by so much, and a power law leads from both to all rows. No row is held out for it. There are
//! tables on which models of more rows err more (means of the target that stand for thousands of levels are made of other numbers of rows
//! in training than in scoring): it goes both ways.
//!
//! Intervals are made of errors as shares of what such a row is expected to err, so it is these that are compared: where targets are skewed, a
//! few rows with large errors would speak for all others.
//!
//! Errors fall as a power of the number of rows towards what no rows can teach (Viering & Loog, "The Shape of Learning Curves: a Review",
//! IEEE TPAMI 2023, section 4). Between sizes that are as near to one another as these, the exponent hardly matters: from 0.8 of the rows
//! to all of them 1 gives 0.80 of the difference that was measured between 0.64 and 0.8, and 0.5 gives 0.89. What is corrected too far costs
//! coverage, so it is the larger one.

use std::time::Instant;

use error::Result;
use features::clip::final_prediction;
use scoring::Link;
use xgboost::Params;

use super::budget::Stage;
use super::folds::Sample;
use super::trial::Limits;
use super::trials::Trials;
use crate::encodings::EncodingScheme;

/// What errors above the least possible ones fall with, as a power of the number of rows.
const EXPONENT: f64 = 1.0;
/// The curve is followed to at most so many times the rows that it was measured on.
const FURTHEST: f64 = 2.0;
/// The work that measuring may take, as a share of what choosing and fitting are planned for; one fold may take `MOST_OF_ONE`.
pub(super) const MOST_WORK: f64 = 0.12;
const MOST_OF_ONE: f64 = 0.25;
/// Where measuring would take more, models of four fifths of the rows are taken to err so much more: the median of eleven tables of 15,000 rows and
/// more on which it was measured (-22 to 11 %), from their training rows.
const USUAL_EXCESS: f64 = 0.008;
const USUAL_SHARE: f64 = 0.8;
/// Rows of like predictions are expected to err alike: as many groups of them, at most, and the least rows of a group.
const MOST_GROUPS: usize = 20;
const LEAST_OF_A_GROUP: usize = 50;

/// What this decides, in `metrics.json`.
const DECISION: &str = "errors of the model of all rows";
/// Why the curve was not measured, where its boosters have nothing to learn from.
const NOTHING_TO_TELL_BY: &str = "the folds have too few rows to leave some out, or errors that are nil";

/// A booster of every fold of a sample, and what these predicted.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoldBoosters<'a> {
    pub(super) sample: &'a Sample,
    pub(super) scheme: &'a EncodingScheme,
    pub(super) params: &'a Params,
    pub(super) rounds: u32,
    /// Margins of the validation rows, fold by fold.
    pub(super) margins: &'a [f32],
    /// Whether the memory plan knows of the matrices of all folds at once.
    pub(super) side_by_side: bool,
}

/// Errors of the model of all rows as a share of those of the boosters: measured; as on other tables where that would take too long; 1 where
/// there is nothing to tell by.
///
/// # Errors
/// [`error::Error::Stopped`] when the run was asked to stop; what XGBoost refuses; storage errors as they are.
pub(super) fn errors_on_all_rows(trials: &mut Trials<'_>, known: &FoldBoosters<'_>) -> Result<f64> {
    let context = trials.context;
    let fitted = context.fitted_rows.max(trials.rows.len()) / context.parts.max(1);
    let curve = match measure(trials, known)? {
        Ok(curve) => curve,
        Err(Unmeasured { why, usual }) => {
            let share = usual.map_or(1.0, |curve| curve.at(fitted as f64));
            let chosen = match usual {
                Some(_) => format!("{share:.4} of those of the models of the folds, as on other tables"),
                None => "taken for those of the models of the folds".to_owned(),
            };
            trials.decide(DECISION, &chosen, why);
            return Ok(share);
        }
    };
    let share = curve.at(fitted as f64);
    let (measured, error) = (curve.excess, curve.standard_error);
    trials.decide(
        DECISION,
        &format!("{share:.4} of those of the models of the folds"),
        &format!(
            "models of {:.0} rows instead of {:.0} err {:.2} % ± {:.2} % more; it has {fitted}",
            curve.share * curve.training,
            curve.training,
            100.0 * measured,
            100.0 * error
        ),
    );
    Ok(share)
}

/// Two points of a learning curve.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Curve {
    /// Mean number of training rows of a fold.
    training: f64,
    /// Share of them that the other boosters had.
    share: f64,
    /// How much more these err, as a share.
    excess: f64,
    standard_error: f64,
}

impl Curve {
    /// Errors of a model of so many rows, as a share of those of the fold's. What may well be chance counts less.
    fn at(self, rows: f64) -> f64 {
        let Self { training, share, excess, standard_error } = self;
        let times = (rows / training).clamp(1.0, FURTHEST);
        let of_measured = (1.0 - times.powf(-EXPONENT)) / (share.powf(-EXPONENT) - 1.0);
        let shrunk = 1.0 - beyond_chance(excess, standard_error) * of_measured;
        if shrunk.is_finite() { shrunk.clamp(0.5, 2.0) } else { 1.0 }
    }
}

/// Why the curve is not measured, and what it is taken for.
struct Unmeasured {
    why: &'static str,
    /// None where nothing speaks for any curve.
    usual: Option<Curve>,
}

impl Unmeasured {
    fn by(why: &'static str) -> Self {
        Self { why, usual: None }
    }

    /// Taken for that of other tables.
    fn usual(why: &'static str, folds: &[(u8, usize)]) -> Self {
        let training = folds.iter().map(|(_, training)| *training as f64).sum::<f64>() / folds.len() as f64;
        let usual = Curve { training, share: USUAL_SHARE, excess: USUAL_EXCESS, standard_error: 0.0 };
        Self { why, usual: Some(usual) }
    }
}

/// The curve, or why it is not measured.
fn measure(trials: &mut Trials<'_>, known: &FoldBoosters<'_>) -> Result<std::result::Result<Curve, Unmeasured>> {
    let FoldBoosters { sample, scheme, params, rounds, margins, side_by_side } = *known;
    let Some(link) = Link::of_objective(params.objective()) else {
        return Ok(Err(Unmeasured::by("the objective's predictions cannot be told from its margins")));
    };
    let folds = sample.folds();
    let planned = trials.budget.planned();
    let of_fold = f64::from(rounds) * trials.costs.round_of_folds(sample, scheme, params) / folds.len().max(1) as f64;
    if folds.is_empty() {
        return Ok(Err(Unmeasured::by(NOTHING_TO_TELL_BY)));
    }
    if of_fold > MOST_OF_ONE * planned {
        return Ok(Err(Unmeasured::usual(
            "measuring them on one fold would take more than a quarter of what choosing and fitting are planned for",
            &folds,
        )));
    }
    if Instant::now() > trials.budget.deadline(Stage::Rounds) {
        trials.budget.warn_of_deadline(Stage::LearningCurve);
        return Ok(Err(Unmeasured::usual("the clock ended the search before they were measured", &folds)));
    }
    let count = ((MOST_WORK * planned / of_fold) as usize).clamp(1, folds.len());
    let (rows, config) = (trials.rows, trials.context.config);
    let thinned = sample.thinned(rows, u64::from(config.seed));
    let limits = Limits::all_of(rounds);
    let (mut others, mut places, mut training, mut left) = (Vec::new(), Vec::new(), 0, 0);
    for (fold, of_fold) in folds.iter().take(count) {
        training += of_fold;
        left += thinned.split(*fold).0.len();
        places.extend(sample.split(*fold).1);
    }
    if left == 0 || left == training {
        return Ok(Err(Unmeasured::by(NOTHING_TO_TELL_BY)));
    }
    let parts: Vec<Sample> = if side_by_side {
        vec![thinned.first_folds(count)]
    } else {
        folds.iter().take(count).map(|(fold, _)| thinned.only(*fold)).collect()
    };
    for part in &parts {
        let mut matrices = trials.matrices(part, scheme.clone(), params);
        others.extend(trials.run(Stage::LearningCurve, &mut matrices, params, &limits)?.margins);
    }
    if others.len() != places.len() || margins.len() < places.len() {
        return Ok(Err(Unmeasured::by(NOTHING_TO_TELL_BY)));
    }
    let margins = &margins[..places.len()];
    let [known, others] = [margins, &others].map(|margins| absolute_errors(trials, margins, &places, link));
    let weights = weights_of_shares(margins, [&known, &others], &trials.weights(&places));
    let folds = count as f64;
    let curve = ratio(&others, &known, &weights).map(|(ratio, standard_error)| Curve {
        training: training as f64 / folds,
        share: left as f64 / training as f64,
        excess: ratio - 1.0,
        standard_error,
    });
    Ok(curve.ok_or_else(|| Unmeasured::by(NOTHING_TO_TELL_BY)))
}

/// What margins of some training rows err.
pub(super) fn absolute_errors(trials: &Trials<'_>, margins: &[f32], places: &[usize], link: Link) -> Vec<f64> {
    let mut outputs = margins.to_vec();
    link.transform(&mut outputs);
    let (rows, clip) = (trials.rows, trials.context.clip);
    let error = |(output, row): (f32, &usize)| (rows.target[*row] - final_prediction(output, clip)).abs();
    outputs.into_iter().zip(places).map(error).collect()
}

/// Weights of errors that are to count as shares of what rows of like predictions err, given the margins of these and what each of two models
/// errs.
pub(super) fn weights_of_shares(margins: &[f32], errors: [&[f64]; 2], weights: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..margins.len()).collect();
    order.sort_by(|&one, &other| margins[one].total_cmp(&margins[other]).then(one.cmp(&other)));
    let groups = (order.len() / LEAST_OF_A_GROUP).clamp(1, MOST_GROUPS);
    let mut shares = weights.to_vec();
    for group in order.chunks(order.len().div_ceil(groups).max(1)) {
        let sum = |of: &dyn Fn(usize) -> f64| group.iter().map(|&place| weights[place] * of(place)).sum::<f64>();
        let mean = sum(&|place| f64::midpoint(errors[0][place], errors[1][place])) / sum(&|_| 1.0);
        // Rows without errors tell nothing, whatever they weigh.
        let per_error = if mean > 0.0 { mean.recip() } else { 0.0 };
        group.iter().for_each(|&place| shares[place] *= per_error);
    }
    shares
}

/// What is left of a difference that was measured with some standard error once what may well be chance counts less: nothing of one that is no
/// larger than its error (positive-part shrinkage: Efron & Morris, "Stein's Estimation Rule and Its Competitors", 1973).
pub(super) fn beyond_chance(difference: f64, standard_error: f64) -> f64 {
    difference * (1.0 - (standard_error / difference).powi(2)).max(0.0)
}

/// The ratio of two weighted sums over the same rows, with its standard error; none where there is none.
pub(super) fn ratio(above: &[f64], below: &[f64], weights: &[f64]) -> Option<(f64, f64)> {
    let sum = |of: &[f64]| of.iter().zip(weights).map(|(one, weight)| one * weight).sum::<f64>();
    let whole = sum(below);
    let ratio = sum(above) / whole;
    let off = above.iter().zip(below).zip(weights).map(|((one, other), weight)| weight * (one - ratio * other));
    let standard_error = off.map(|off| off * off).sum::<f64>().sqrt() / whole;
    (ratio.is_finite() && standard_error.is_finite()).then_some((ratio, standard_error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_followed_to_all_rows_as_far_as_it_is_known() {
        let curve = Curve { training: 800.0, share: 0.8, excess: 0.1, standard_error: 0.0 };
        assert_eq!((curve.at(800.0), curve.at(700.0)), (1.0, 1.0));
        // Of errors 1 + b / n, which are 1.1 times as large at 640 rows as at 800.
        let b = 0.1 / (1.0 / 640.0 - 1.1 / 800.0);
        let error = |rows: f64| 1.0 + b / rows;
        assert!((error(640.0) / error(800.0) - 1.1).abs() < 1e-12);
        for rows in [900.0, 1_000.0, 1_600.0] {
            assert!((curve.at(rows) - error(rows) / error(800.0)).abs() < 1e-12, "{rows}");
        }
        assert_eq!(curve.at(1e9), curve.at(1_600.0));
    }

    #[test]
    fn a_curve_that_is_not_measured_is_that_of_other_tables() {
        let usual = Unmeasured::usual("it would take long", &[(0, 700), (1, 900)]).usual.unwrap();
        // From 800 rows to 1,000 errors fall by 0.8 of what they fell by to there.
        assert!((usual.at(1_000.0) - (1.0 - 0.8 * USUAL_EXCESS)).abs() < 1e-12);
        assert_eq!(usual.at(800.0), 1.0);
        assert!(Unmeasured::by(NOTHING_TO_TELL_BY).usual.is_none());
    }

    #[test]
    fn what_may_be_chance_changes_no_interval() {
        let curve = |excess: f64, standard_error: f64| Curve { training: 800.0, share: 0.8, excess, standard_error };
        assert_eq!(curve(0.02, 0.02).at(1_000.0), 1.0);
        assert_eq!(curve(-0.02, 0.02).at(1_000.0), 1.0);
        assert_eq!(curve(0.0, 0.0).at(1_000.0), 1.0);
        assert_eq!(curve(f64::NAN, 0.0).at(1_000.0), 1.0);
        let (sure, unsure) = (curve(0.1, 0.0).at(1_000.0), curve(0.1, 0.05).at(1_000.0));
        assert!(sure < unsure && unsure < 1.0, "{sure} {unsure}");
        let (sure_to_grow, unsure) = (curve(-0.1, 0.0).at(1_000.0), curve(-0.1, 0.05).at(1_000.0));
        assert!(sure_to_grow > unsure && unsure > 1.0, "{sure_to_grow} {unsure}");
        assert_eq!((curve(50.0, 0.0).at(1_000.0), curve(-0.99, 0.0).at(1e9)), (0.5, 2.0));
    }

    #[test]
    fn rows_with_large_errors_do_not_speak_for_all() {
        // One row in twenty is predicted high, errs a hundred times as much, and gains by more rows.
        let is_high = |row: usize| row.is_multiple_of(20);
        let margins: Vec<f32> =
            (0..2_000).map(|row| if is_high(row) { 1e6 + row as f32 } else { row as f32 }).collect();
        let errors =
            |of_high: f64| (0..2_000).map(|row| if is_high(row) { of_high } else { 1.0 }).collect::<Vec<f64>>();
        let (known, others) = (errors(100.0), errors(150.0));
        let plain = ratio(&others, &known, &[1.0; 2_000]).unwrap().0;
        let shares = weights_of_shares(&margins, [&known, &others], &[1.0; 2_000]);
        let evened = ratio(&others, &known, &shares).unwrap().0;
        assert!(plain > 1.4 && (1.0..1.03).contains(&evened), "{plain} {evened}");
        // Where all rows err alike, they weigh alike.
        let alike = weights_of_shares(&margins, [&errors(1.0), &errors(1.0)], &[2.0; 2_000]);
        assert!(alike.iter().all(|weight| (weight - 2.0).abs() < 1e-12));
        assert_eq!(weights_of_shares(&[0.0; 3], [&[0.0; 3], &[0.0; 3]], &[1.0; 3]), [0.0; 3]);
        assert!(weights_of_shares(&[], [&[], &[]], &[]).is_empty());
    }

    #[test]
    fn a_ratio_has_the_error_of_what_differs_from_row_to_row() {
        let below: Vec<f64> = (1..=100).map(f64::from).collect();
        let above: Vec<f64> = below.iter().map(|one| 1.2 * one).collect();
        let (of_sums, error) = ratio(&above, &below, &vec![2.0; 100]).unwrap();
        assert!((of_sums - 1.2).abs() < 1e-12 && error < 1e-12, "{of_sums} {error}");
        let above: Vec<f64> = (1..=100).map(|row| f64::from(row) + if row % 2 == 0 { 10.0 } else { -10.0 }).collect();
        let (of_sums, error) = ratio(&above, &below, &vec![1.0; 100]).unwrap();
        assert!((of_sums - 1.0).abs() < 1e-12 && (error - 100.0 / 5_050.0).abs() < 1e-12, "{of_sums} {error}");
        assert_eq!(ratio(&[1.0], &[0.0], &[1.0]), None);
        let ignored = ratio(&[1.0, 9.0], &[2.0, 1.0], &[1.0, 0.0]).unwrap();
        assert_eq!(ignored.0, 0.5);
    }
}
