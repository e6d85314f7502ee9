//! How sure R² is: a percentile bootstrap interval (B. Efron, Annals of Statistics 7, 1979).

use std::collections::BTreeMap;

use serde::Serialize;

use super::metrics::{MetricError, Rows, Term, sum};

/// Resamples of an interval: the ends of a 95 % interval are then the 25th value from either side.
pub const RESAMPLES: usize = 1000;

/// Rows are drawn one by one up to this many; more are first dealt at random into so many groups, which are drawn. R² is
/// a smooth function of sums over rows, and sums over random groups vary as the rows do.
const MAX_GROUPS: usize = 8192;

/// Where R² of such rows lies, with this probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Probability, such as 0.95.
    pub level: f64,
}

/// The percentile bootstrap interval of R², the same for the same rows and seed. Time follows the rows once, and the
/// groups a thousand times: tens of milliseconds.
///
/// None if most resamples have no variance, as with two rows.
///
/// # Errors
/// [`MetricError`], as for [`scores`](super::scores).
pub fn r2_interval<T, P>(
    targets: &[T],
    predictions: &[P],
    weights: Option<&[f32]>,
    level: f64,
    seed: u64,
) -> Result<Option<Interval>, MetricError>
where
    T: Copy + Into<f64>,
    P: Copy + Into<f64>,
{
    let rows = Rows::new(targets, predictions, weights)?;
    let mut random = SplitMix { state: seed };
    let groups = deal(&rows.terms, &mut random);
    let mut values: Vec<f64> = (0..RESAMPLES).filter_map(|_| resampled_r2(&groups, &mut random)).collect();
    if values.len() < RESAMPLES * 9 / 10 {
        return Ok(None);
    }
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - level.clamp(0.0, 1.0)) / 2.0;
    Ok(Some(Interval { low: quantile(&values, tail), high: quantile(&values, 1.0 - tail), level }))
}

/// Rows that judged two models.
#[derive(Debug, Clone, Copy)]
pub struct Paired<'a> {
    /// Their targets.
    pub targets: &'a [f64],
    /// The predictions of the model that is compared with.
    pub from: &'a [f64],
    /// The predictions of the other model.
    pub to: &'a [f64],
    /// Their weights, where rows have any.
    pub weights: Option<&'a [f32]>,
    /// Rows that are not independent of one another share a number: they are drawn together.
    pub clusters: Option<&'a [u64]>,
}

/// How far R² of one model lies below that of another on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct R2Drop {
    /// R² of the model that is compared with.
    pub from: f64,
    /// R² of the other model.
    pub to: f64,
    /// The lower bound of the drop, at the level asked for.
    pub at_least: f64,
}

/// How far R² falls from one model to another on the same rows, with a percentile bootstrap bound of the difference: both are
/// drawn with the same rows, so that what makes rows hard for either cancels out. None where resamples have no variance too often.
///
/// # Errors
/// [`MetricError`], as for [`scores`](super::scores).
pub fn r2_drop(rows: &Paired<'_>, level: f64, seed: u64) -> Result<Option<R2Drop>, MetricError> {
    let Paired { targets, from, to, weights, clusters } = *rows;
    let groups = |predictions: &[f64]| -> Result<Vec<Sums>, MetricError> {
        let terms = Rows::new(targets, predictions, weights)?.terms;
        Ok(clusters.map_or_else(|| terms.iter().map(sums).collect(), |clusters| clustered(&terms, clusters)))
    };
    let r2 = |predictions: &[f64]| super::scores(targets, predictions, weights).map(|scores| scores.r2);
    let (of_from, of_to) = (groups(from)?, groups(to)?);
    let mut random = SplitMix { state: seed };
    let mut drops: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let drawn: Vec<usize> = (0..of_from.len()).map(|_| random.below(of_from.len())).collect();
            Some(r2_of_drawn(&of_from, &drawn)? - r2_of_drawn(&of_to, &drawn)?)
        })
        .collect();
    if drops.len() < RESAMPLES * 9 / 10 {
        return Ok(None);
    }
    drops.sort_by(f64::total_cmp);
    Ok(Some(R2Drop { from: r2(from)?, to: r2(to)?, at_least: quantile(&drops, 1.0 - level.clamp(0.0, 1.0)) }))
}

/// The sums of each cluster of rows.
fn clustered(terms: &[Term], clusters: &[u64]) -> Vec<Sums> {
    let mut groups: BTreeMap<u64, Sums> = BTreeMap::new();
    for (term, cluster) in terms.iter().zip(clusters) {
        let group = groups.entry(*cluster).or_default();
        group.iter_mut().zip(sums(term)).for_each(|(total, value)| *total += value);
    }
    groups.into_values().collect()
}

/// Sums over some rows: weight, weighted deviation, its square, squared error.
type Sums = [f64; 4];

/// The sums of one row.
fn sums(term: &Term) -> Sums {
    let Term { weight, deviation, error } = *term;
    [weight, weight * deviation, weight * deviation * deviation, weight * error * error]
}

/// The rows themselves, or random groups of them.
fn deal(terms: &[Term], random: &mut SplitMix) -> Vec<Sums> {
    if terms.len() <= MAX_GROUPS {
        return terms.iter().map(sums).collect();
    }
    let mut groups = vec![[0.0; 4]; MAX_GROUPS];
    for term in terms {
        if let Some(group) = groups.get_mut(random.below(MAX_GROUPS)) {
            group.iter_mut().zip(sums(term)).for_each(|(total, value)| *total += value);
        }
    }
    groups
}

/// R² of as many groups as there are, drawn with replacement; none if they have no variance.
fn resampled_r2(groups: &[Sums], random: &mut SplitMix) -> Option<f64> {
    r2_of_sums(sum((0..groups.len()).map(|_| groups.get(random.below(groups.len())).copied().unwrap_or_default())))
}

/// R² of the groups that were drawn; none if they have no variance.
fn r2_of_drawn(groups: &[Sums], drawn: &[usize]) -> Option<f64> {
    r2_of_sums(sum(drawn.iter().map(|&place| groups.get(place).copied().unwrap_or_default())))
}

fn r2_of_sums([weight, deviation, squares, residuals]: Sums) -> Option<f64> {
    let variance = squares - deviation * deviation / weight;
    // A resample of one row over and over leaves rounding errors, not a variance.
    let value = 1.0 - residuals / variance;
    (variance > squares * 1e-12 && value.is_finite()).then_some(value)
}

/// The quantile of sorted values, between neighbours in proportion (type 7 of Hyndman and Fan, 1996).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_precision_loss, reason = "a thousand values")]
    let position = share * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a thousand")]
    let below = position.floor() as usize;
    let at = |index: usize| sorted.get(index.min(last)).copied().unwrap_or(f64::NAN);
    at(below) + (at(below + 1) - at(below)) * (position - position.floor())
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): small, fast, the same everywhere. `rand` was weighed: its generators may
/// change with a release, and a gate must not.
struct SplitMix {
    state: u64,
}

impl SplitMix {
    /// The next 64 random bits.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, by the high half of a product: the bias is below `bound / 2^64`.
    fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.next()) * (bound as u128);
        usize::try_from(product >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scores;
    use super::*;

    /// Targets and predictions with an R² near `1 − noise²/(1/12)`-ish, from a seed.
    fn rows(count: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
        let mut random = SplitMix { state: seed };
        let mut unit = || f64::from(u32::try_from(random.next() >> 32).unwrap()) / 4_294_967_296.0;
        (0..count)
            .map(|_| {
                let target = unit();
                (target, target + (unit() - 0.5) * 0.6)
            })
            .unzip()
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // First outputs of the reference implementation for seed 1234567.
        let mut random = SplitMix { state: 1_234_567 };
        let found: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(found, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn the_interval_holds_the_value_and_narrows_with_the_rows() {
        let width = |count: usize| {
            let (targets, predictions) = rows(count, 1);
            let r2 = scores(&targets, &predictions, None).unwrap().r2;
            let interval = r2_interval(&targets, &predictions, None, 0.95, 7).unwrap().unwrap();
            assert!(interval.low < r2 && r2 < interval.high, "{r2} {interval:?}");
            interval.high - interval.low
        };
        let (small, large) = (width(1000), width(100_000));
        // By the square root of the rows: 10 times.
        assert!((8.0..12.5).contains(&(small / large)), "{small} {large}");
    }

    #[test]
    fn it_covers_as_often_as_it_says() {
        // True R² of `rows`: 1 − (0.6²/12)/(1/12) = 0.64.
        let covered = (0..300).filter(|seed| {
            let (targets, predictions) = rows(400, seed + 100);
            let interval = r2_interval(&targets, &predictions, None, 0.9, *seed).unwrap().unwrap();
            interval.low <= 0.64 && 0.64 <= interval.high
        });
        // 90 % of 300 is 270, give or take 3.5 standard deviations of 5.2.
        let covered = covered.count();
        assert!((252..=288).contains(&covered), "{covered}");
    }

    #[test]
    fn groups_give_the_interval_that_rows_give() {
        let (targets, predictions) = rows(MAX_GROUPS * 3, 5);
        let grouped = r2_interval(&targets, &predictions, None, 0.95, 3).unwrap().unwrap();
        let terms = Rows::new(&targets, &predictions, None).unwrap().terms;
        let singles: Vec<Sums> = terms.iter().map(sums).collect();
        let mut random = SplitMix { state: 3 };
        let mut values: Vec<f64> = (0..RESAMPLES).filter_map(|_| resampled_r2(&singles, &mut random)).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (quantile(&values, 0.025), quantile(&values, 0.975));
        let ratio = (grouped.high - grouped.low) / (high - low);
        assert!((0.85..1.15).contains(&ratio), "{grouped:?} {low} {high}");
    }

    #[test]
    fn a_drop_is_bounded_and_clusters_widen_the_bound() {
        let (targets, predictions) = rows(1_000, 2);
        let worse: Vec<f64> =
            predictions.iter().zip(&targets).map(|(one, target)| target + 1.3 * (one - target)).collect();
        let paired = Paired { targets: &targets, from: &predictions, to: &worse, weights: None, clusters: None };
        let drop = r2_drop(&paired, 0.99, 5).unwrap().unwrap();
        // True R²: 0.64 and 1 − 1.69 · 0.36.
        assert!((drop.from - drop.to - 0.248).abs() < 0.03, "{drop:?}");
        assert!(drop.at_least > 0.2 && drop.at_least < drop.from - drop.to, "{drop:?}");
        let none = r2_drop(&Paired { to: &predictions, ..paired }, 0.99, 5).unwrap().unwrap();
        assert_eq!((none.from.to_bits(), none.at_least), (none.to.to_bits(), 0.0));
        // Ten copies of a row tell no more than the row.
        let ten = |values: &[f64]| values.iter().flat_map(|value| [*value; 10]).collect::<Vec<_>>();
        let clusters: Vec<u64> = (0..1_000).flat_map(|cluster| [cluster; 10]).collect();
        let (targets, predictions, worse) = (ten(&targets), ten(&predictions), ten(&worse));
        let copied =
            Paired { targets: &targets, from: &predictions, to: &worse, weights: None, clusters: Some(&clusters) };
        let copied = r2_drop(&copied, 0.99, 5).unwrap().unwrap();
        assert!((copied.at_least - drop.at_least).abs() < 0.01, "{copied:?} {drop:?}");
        let two = Paired { targets: &[1.0, 2.0], from: &[1.0, 2.5], to: &[1.0, 2.5], ..paired };
        assert_eq!(r2_drop(&two, 0.99, 1), Ok(None));
    }

    #[test]
    fn sorted_rows_do_not_change_it_much_and_a_seed_repeats_it() {
        let (targets, predictions) = rows(50_000, 9);
        let mut pairs: Vec<_> = targets.iter().copied().zip(predictions.iter().copied()).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (sorted_targets, sorted_predictions): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        let once = r2_interval(&targets, &predictions, None, 0.95, 1).unwrap().unwrap();
        let sorted = r2_interval(&sorted_targets, &sorted_predictions, None, 0.95, 1).unwrap().unwrap();
        let ratio = (sorted.high - sorted.low) / (once.high - once.low);
        assert!((0.85..1.15).contains(&ratio), "{once:?} {sorted:?}");
        assert_eq!(r2_interval(&targets, &predictions, None, 0.95, 1).unwrap(), Some(once));
        assert_ne!(r2_interval(&targets, &predictions, None, 0.95, 2).unwrap(), Some(once));
    }

    #[test]
    fn too_few_rows_have_no_interval_and_no_rows_are_an_error() {
        assert_eq!(r2_interval(&[1.0, 2.0], &[1.0, 2.5], None, 0.95, 1).unwrap(), None);
        assert_eq!(r2_interval::<f64, f64>(&[], &[], None, 0.95, 1), Err(MetricError::NoRows));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
    }
}
