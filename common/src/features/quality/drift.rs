//! How far a feature has moved since training.

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
    let term = |(&expected, &count): (&f64, &u64)| {
        let expected = expected.max(SHARE_FLOOR);
        let actual = (count as f64 / total as f64).max(SHARE_FLOOR);
        (actual - expected) * (actual / expected).ln()
    };
    expected.iter().zip(actual).map(term).sum()
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
}
