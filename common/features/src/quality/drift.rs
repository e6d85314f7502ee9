//! How far a feature has moved since training.

use std::collections::HashMap;

use super::Statistics;

/// The index above which a feature is named in a warning.
pub const DRIFT_WARNING: f64 = 0.2;

/// Shares below this are taken as this, so that an empty bin does not make the index infinite.
const SHARE_FLOOR: f64 = 1e-4;

/// The population stability index Σ (aᵢ − eᵢ) · ln(aᵢ / eᵢ) over bins, of the `actual` counts against the shares
/// `expected` from training (Siddiqi, *Credit Risk Scorecards*, 2006). 0 where nothing was counted.
#[must_use]
pub fn population_stability_index(expected: &[f64], actual: &[u64]) -> f64 {
    let total: u64 = actual.iter().sum();
    if total == 0 {
        return 0.0;
    }
    index_of_shares(expected.iter().copied(), actual.iter().map(|&count| count as f64 / total as f64))
}

/// The same index between two sets of shares.
fn index_of_shares(expected: impl Iterator<Item = f64>, actual: impl Iterator<Item = f64>) -> f64 {
    let term = |(expected, actual): (f64, f64)| {
        let (expected, actual) = (expected.max(SHARE_FLOOR), actual.max(SHARE_FLOOR));
        (actual - expected) * (actual / expected).ln()
    };
    expected.zip(actual).map(term).sum()
}

/// The population stability index of one training's rows against an earlier training's, from the statistics of both.
///
/// Exact for categories (`levels` are theirs, in the order of the shares) and for numbers where both have the same bins.
/// Else the later rows' shares in the earlier bins are read off their cumulative distribution, taken as straight between
/// the edges that are known: exact at those, off by a part of one bin's share in between.
///
/// None where one is of numbers and the other of levels, or where either has no rows.
#[must_use]
pub fn drift_between(
    earlier: (&Statistics, Option<&[String]>),
    later: (&Statistics, Option<&[String]>),
) -> Option<f64> {
    let ((before, levels_before), (now, levels_now)) = (earlier, later);
    if before.rows == 0 || now.rows == 0 || before.shares.is_empty() || now.shares.is_empty() {
        return None;
    }
    let actual = match (levels_before, levels_now) {
        (Some(levels_before), Some(levels_now)) => shares_of_levels(levels_before, levels_now, &now.shares),
        (None, None) => shares_in_bins(&before.edges, now),
        _ => return None,
    };
    (actual.len() == before.shares.len()).then(|| index_of_shares(before.shares.iter().copied(), actual.into_iter()))
}

/// The later shares of the earlier levels; what is missing or of another level shares the last place.
fn shares_of_levels(before: &[String], now: &[String], shares: &[f64]) -> Vec<f64> {
    let by_level: HashMap<&str, f64> = now.iter().map(String::as_str).zip(shares.iter().copied()).collect();
    let mut found: Vec<f64> =
        before.iter().map(|level| by_level.get(level.as_str()).copied().unwrap_or_default()).collect();
    let others = 1.0 - found.iter().sum::<f64>();
    found.push(others.max(0.0));
    found
}

/// The shares of rows in bins with these edges, the missing ones last.
fn shares_in_bins(edges: &[f32], now: &Statistics) -> Vec<f64> {
    let missing = now.shares.last().copied().unwrap_or_default();
    let below: Vec<f64> = edges.iter().map(|edge| now.share_up_to(*edge)).chain([1.0 - missing]).collect();
    let mut shares = Vec::with_capacity(below.len() + 1);
    let mut before = 0.0;
    for up_to in below {
        shares.push((up_to - before).max(0.0));
        before = up_to;
    }
    shares.push(missing);
    shares
}

impl Statistics {
    /// The share of rows whose number is at most `value`: known at the edges of the bins, straight in between.
    fn share_up_to(&self, value: f32) -> f64 {
        let (Some(min), Some(max)) = (self.min, self.max) else { return 0.0 };
        let present = 1.0 - self.shares.last().copied().unwrap_or_default();
        if value < min {
            return 0.0;
        }
        let (mut left, mut share) = (min, 0.0);
        for (edge, bin) in self.edges.iter().chain([&max]).zip(&self.shares) {
            let up_to = share + bin;
            if value < *edge {
                let part = (f64::from(value) - f64::from(left)) / (f64::from(*edge) - f64::from(left));
                return share + bin * part;
            }
            if value == *edge {
                return up_to;
            }
            (left, share) = (*edge, up_to);
        }
        present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_shares_have_no_drift() {
        assert!(population_stability_index(&[0.5, 0.25, 0.25], &[2, 1, 1]).abs() < 1e-12);
    }

    #[test]
    fn the_index_is_the_textbooks() {
        let index = population_stability_index(&[0.5, 0.5], &[3, 1]);
        let expected = 0.25 * (1.5_f64).ln() - 0.25 * (0.5_f64).ln();
        assert!((index - expected).abs() < 1e-12);
    }

    #[test]
    fn an_empty_bin_counts_as_the_floor() {
        let index = population_stability_index(&[1.0, 0.0], &[0, 10]);
        assert!(index.is_finite() && index > 10.0, "{index}");
    }

    fn levels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn two_trainings_on_the_same_rows_have_no_drift() {
        let values: Vec<f32> = (0..5000).map(|row| ((row * 37) % 997) as f32).collect();
        let statistics = Statistics::of_numbers(&values);
        assert!(drift_between((&statistics, None), (&statistics, None)).unwrap() < 1e-12);
        let constant = Statistics::of_numbers(&[3.0; 10]);
        assert!(drift_between((&constant, None), (&constant, None)).unwrap() < 1e-12);
        let (statistics, names) = (Statistics::of_levels(4, 1, 0, &[2, 1]), levels(&["a", "b"]));
        assert!(drift_between((&statistics, Some(&names)), (&statistics, Some(&names))).unwrap() < 1e-12);
    }

    /// The exact index: the later rows counted in the earlier bins.
    fn counted(before: &Statistics, now: &[f32]) -> f64 {
        let mut counts = vec![0; before.bins()];
        now.iter().for_each(|value| counts[before.bin_of(*value)] += 1);
        population_stability_index(&before.shares, &counts)
    }

    #[test]
    fn moved_numbers_have_about_the_index_that_counting_gives() {
        let mut random = testkit::random::Random::new(5);
        let mut normal = |mean: f64| {
            let sum: f64 = (0..12).map(|_| random.share()).sum();
            (sum - 6.0 + mean) as f32
        };
        let before: Vec<f32> = (0..20_000).map(|_| normal(0.0)).collect();
        let before = Statistics::of_numbers(&before);
        for shift in [0.1, 0.5, 1.0] {
            let mut now: Vec<f32> = (0..20_000).map(|_| normal(shift)).collect();
            now.iter_mut().step_by(10).for_each(|value| *value = f32::NAN);
            let estimated = drift_between((&before, None), (&Statistics::of_numbers(&now), None)).unwrap();
            let exact = counted(&before, &now);
            assert!((estimated - exact).abs() < 0.1 * exact, "{shift}: {estimated} for {exact}");
        }
    }

    #[test]
    fn a_yes_or_no_that_moves_is_exact() {
        let of = |ones: usize| -> Vec<f32> { (0..1000).map(|row| f32::from(row < ones)).collect() };
        for (before, now) in [(50, 150), (150, 50), (500, 501), (0, 100)] {
            let (before, now) = (Statistics::of_numbers(&of(before)), of(now));
            let found = drift_between((&before, None), (&Statistics::of_numbers(&now), None)).unwrap();
            assert!((found - counted(&before, &now)).abs() < 1e-9, "{found}");
        }
    }

    #[test]
    fn levels_are_compared_by_name_and_new_ones_count_as_missing() {
        let before = Statistics::of_levels(10, 0, 0, &[6, 4]);
        let now = Statistics::of_levels(10, 0, 0, &[5, 4, 1]);
        let found =
            drift_between((&before, Some(&levels(&["a", "b"]))), (&now, Some(&levels(&["b", "a", "c"])))).unwrap();
        let expected = population_stability_index(&before.shares, &[4, 5, 1]);
        assert!((found - expected).abs() < 1e-12);
        assert_eq!(drift_between((&before, Some(&levels(&["a", "b"]))), (&now, None)), None);
    }
}
