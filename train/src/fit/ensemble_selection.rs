//! Ensemble selection: which candidates to average, and with what weights, chosen by what their mean predicts for the
//! validation rows.
//!
//! Greedy selection with replacement (Caruana et al., "Ensemble Selection from Libraries of Models", 2004): the mean starts
//! as the best candidate, and time after time takes in the one that helps it most. What is picked often weighs much.

use scoring::Link;

use super::folds::Truth;

/// Number of picks. Weights are multiples of one part in so many.
const PICKS: u32 = 20;

/// The weight of each candidate in the mean that predicts best, 0 for most; at most `most` of them have any.
///
/// `margins[i]` are those of candidate `i` for the rows of `truth`.
#[must_use]
pub(super) fn weights(margins: &[&[f32]], link: Link, truth: &Truth, most: usize) -> Vec<f64> {
    let mut allowed = vec![true; margins.len()];
    loop {
        let weights = greedy(margins, link, truth, &allowed);
        let mut chosen: Vec<usize> = (0..weights.len()).filter(|&index| weights[index] > 0.0).collect();
        if chosen.len() <= most {
            return weights;
        }
        chosen.sort_by(|&left, &right| weights[right].total_cmp(&weights[left]).then(left.cmp(&right)));
        allowed.fill(false);
        chosen.into_iter().take(most).for_each(|index| allowed[index] = true);
    }
}

fn greedy(margins: &[&[f32]], link: Link, truth: &Truth, allowed: &[bool]) -> Vec<f64> {
    let mut picks = vec![0_u32; margins.len()];
    let mut sum = vec![0.0_f32; truth.targets.len()];
    for pick in 1..=PICKS {
        let errors = (0..margins.len()).filter(|&index| allowed[index]).map(|index| {
            let mean = sum.iter().zip(margins[index]).map(|(sum, margin)| (sum + margin) / pick as f32);
            (squared_error(mean, link, truth), index)
        });
        let Some((_, best)) = errors.min_by(|left, right| left.0.total_cmp(&right.0)) else { break };
        picks[best] += 1;
        sum.iter_mut().zip(margins[best]).for_each(|(sum, margin)| *sum += margin);
    }
    let all = picks.iter().sum::<u32>().max(1);
    picks.into_iter().map(|picks| f64::from(picks) / f64::from(all)).collect()
}

/// The weighted root of the mean of squared errors that the weighted mean of candidates makes.
#[must_use]
pub(super) fn root_mean_square(margins: &[&[f32]], shares: &[f64], link: Link, truth: &Truth) -> f64 {
    let mut mean = vec![0.0_f32; truth.targets.len()];
    for (margins, share) in margins.iter().zip(shares).filter(|(_, share)| **share > 0.0) {
        mean.iter_mut().zip(*margins).for_each(|(mean, margin)| *mean += *share as f32 * margin);
    }
    let all: f64 = truth.weights.iter().map(|weight| f64::from(*weight)).sum();
    (squared_error(mean.into_iter(), link, truth) / all).sqrt()
}

/// The weighted sum of squared errors.
fn squared_error(margins: impl Iterator<Item = f32>, link: Link, truth: &Truth) -> f64 {
    let mut predicted: Vec<f32> = margins.collect();
    link.transform(&mut predicted);
    let rows = predicted.iter().zip(&truth.targets).zip(&truth.weights);
    let error = |(predicted, target): (&f32, &f32)| (f64::from(*predicted) - f64::from(*target)).powi(2);
    let sum: f64 = rows.map(|(row, weight)| f64::from(*weight) * error(row)).sum();
    if sum.is_nan() { f64::INFINITY } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(targets: &[f32]) -> Truth {
        Truth { targets: targets.to_vec(), weights: vec![1.0; targets.len()] }
    }

    #[test]
    fn opposite_errors_are_averaged_and_a_useless_candidate_is_left_out() {
        let truth = truth(&[1.0, 2.0, 3.0, 4.0]);
        let above: [f32; 4] = [1.5, 2.5, 3.5, 4.5];
        let below: [f32; 4] = [0.5, 1.5, 2.5, 3.5];
        let useless: [f32; 4] = [9.0, 9.0, -9.0, 9.0];
        let weights = weights(&[&useless, &above, &below], Link::Identity, &truth, 3);
        assert_eq!(weights, [0.0, 0.5, 0.5]);
    }

    #[test]
    fn the_error_of_a_mean_is_that_of_its_predictions() {
        let truth = Truth { targets: vec![1.0, 2.0, 9.0], weights: vec![1.0, 3.0, 0.0] };
        let (above, below): ([f32; 3], [f32; 3]) = ([3.0, 4.0, 0.0], [0.0, 1.0, 0.0]);
        let error = |shares: [f64; 2]| root_mean_square(&[&above, &below], &shares, Link::Identity, &truth);
        assert_eq!([error([1.0, 0.0]), error([0.0, 1.0]), error([0.5, 0.5])], [2.0, 1.0, 0.5]);
    }

    #[test]
    fn no_more_than_asked_for_take_part() {
        let truth = truth(&[0.0, 0.0, 0.0]);
        let candidates: [[f32; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, -1.0, 0.1], [0.1, 0.0, 1.2]];
        let margins: Vec<&[f32]> = candidates.iter().map(<[f32; 3]>::as_slice).collect();
        let alone = weights(&margins, Link::Identity, &truth, 1);
        assert_eq!(alone.iter().filter(|weight| **weight > 0.0).count(), 1);
        let two = weights(&margins, Link::Identity, &truth, 2);
        assert_eq!(two.iter().filter(|weight| **weight > 0.0).count(), 2);
        assert!((two.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn errors_are_those_of_predictions_and_weighted() {
        let truth = Truth { targets: vec![1.0, 5.0], weights: vec![1.0, 0.0] };
        let (right, wrong): ([f32; 2], [f32; 2]) = ([0.0, 9.0], [1.0, 5.0_f32.ln()]);
        assert_eq!(weights(&[&wrong, &right], Link::Exponential, &truth, 2), [0.0, 1.0]);
    }

    #[test]
    fn candidates_that_are_never_numbers_are_not_picked_before_others() {
        let (nothing, something): ([f32; 2], [f32; 2]) = ([f32::NAN; 2], [1.0, 3.0]);
        assert_eq!(weights(&[&nothing, &something], Link::Identity, &truth(&[1.0, 2.0]), 2), [0.0, 1.0]);
        assert!(weights(&[], Link::Identity, &truth(&[]), 2).is_empty());
    }
}
