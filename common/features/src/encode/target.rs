//! Numbers that stand for the levels of a category: the mean of the target, or the place in the levels' order.
//!
//! A mean is shrunk towards the mean of all rows, `(sum + m·prior) / (weight + m)` (Micci-Barreca, "A Preprocessing Scheme
//! for High-Cardinality Categorical Attributes in Classification and Prediction Problems", 2001). For the rows that a model
//! is fitted to it is *cross-fitted*: the mean that stands in a row is made of the rows of the other folds, or of earlier rows
//! ([`Visible`]), so a row's own target never shows in its features. What means are shrunk towards is the same in all folds: a mean of the
//! other folds alone is lower in the fold of the largest target than elsewhere, and trees find that out. Everywhere else the mean of all
//! training rows stands.

use std::cmp::Ordering;

/// Rows' worth of prior in every mean.
pub const SMOOTHING: f64 = 5.0;

/// The rows that means are made of. All slices have the same length.
#[derive(Debug, Clone, Copy)]
pub struct TargetRows<'a> {
    /// The place of each row's level in the list of levels; NaN for anything else.
    pub codes: &'a [f32],
    /// The target of each row.
    pub target: &'a [f64],
    /// The weight of each row; 1 for all when not given.
    pub weights: Option<&'a [f32]>,
}

/// What stands for each level and for anything else.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelValues {
    /// One number for each level.
    pub values: Vec<f32>,
    /// The number for anything else.
    pub default: f32,
}

impl LevelValues {
    /// The number for a level's place; the default for NaN and for places beyond the levels.
    #[must_use]
    pub fn of(&self, code: f32) -> f32 {
        if code.is_nan() {
            return self.default;
        }
        self.values.get(code as usize).copied().unwrap_or(self.default)
    }
}

/// Sums of weights and of weighted targets, over some rows, per level and over all.
#[derive(Debug, Clone, Default)]
struct Sums {
    levels: Vec<(f64, f64)>,
    all: (f64, f64),
}

impl Sums {
    fn new(levels: usize) -> Self {
        Self { levels: vec![(0.0, 0.0); levels], all: (0.0, 0.0) }
    }

    fn add(&mut self, code: f32, target: f64, weight: f64) {
        self.all = (self.all.0 + weight, self.all.1 + weight * target);
        if let Some(level) = level_of(code).and_then(|place| self.levels.get_mut(place)) {
            *level = (level.0 + weight, level.1 + weight * target);
        }
    }

    fn include(&mut self, other: &Self) {
        let plus = |left: &mut (f64, f64), right: (f64, f64)| *left = (left.0 + right.0, left.1 + right.1);
        self.levels.iter_mut().zip(&other.levels).for_each(|(left, right)| plus(left, *right));
        plus(&mut self.all, other.all);
    }

    fn without(&self, other: &Self) -> Self {
        let minus = |left: (f64, f64), right: (f64, f64)| (left.0 - right.0, left.1 - right.1);
        let levels = self.levels.iter().zip(&other.levels).map(|(&left, &right)| minus(left, right)).collect();
        Self { levels, all: minus(self.all, other.all) }
    }

    /// The mean of all rows.
    fn prior(&self) -> f64 {
        if self.all.0 > 0.0 { self.all.1 / self.all.0 } else { 0.0 }
    }

    fn values(&self) -> LevelValues {
        self.shrunk_towards(self.prior())
    }

    fn shrunk_towards(&self, prior: f64) -> LevelValues {
        let mean = |&(weight, sum): &(f64, f64)| {
            // Without rows a level is to the bit what an unknown one is: nothing is rounded.
            if weight > 0.0 { ((sum + SMOOTHING * prior) / (weight + SMOOTHING)) as f32 } else { prior as f32 }
        };
        LevelValues { values: self.levels.iter().map(mean).collect(), default: prior as f32 }
    }
}

/// The shrunken mean of the target for each of `levels` levels, and the mean of all rows for anything else.
#[must_use]
pub fn target_means(rows: &TargetRows<'_>, levels: usize) -> LevelValues {
    let mut sums = Sums::new(levels);
    rows.each(|_, code, target, weight| sums.add(code, target, weight));
    sums.values()
}

/// Which sums the mean is made of that stands in a row while a model is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visible {
    /// Those of all folds but the row's own. Rows read and add at the place of their fold.
    OtherFolds {
        /// Number of folds, at least 2.
        folds: u8,
    },
    /// Those of earlier rows, in other folds where there are several. A row in a block and a fold reads at
    /// `block × folds + fold` and adds at `since × folds + fold`; block `b` sees what was added at `since ≤ b`.
    Earlier {
        /// Number of blocks; `since` may be one more, where no block sees the row.
        blocks: u8,
        /// Number of folds; 1 where there are none.
        folds: u8,
    },
}

impl Visible {
    /// Number of sums.
    fn sums(self) -> u8 {
        match self {
            Self::OtherFolds { folds } => folds,
            Self::Earlier { blocks, folds } => (blocks + 1) * folds,
        }
    }

    /// Whether the mean of all rows that means at place `read` are shrunk towards is made of the sum at place `added`.
    #[must_use]
    pub fn is_in_prior(self, read: u8, added: u8) -> bool {
        match self {
            Self::OtherFolds { .. } => true,
            Self::Earlier { folds, .. } => added / folds <= read / folds,
        }
    }

    /// Whether the mean at place `read` is made of the sum at place `added`.
    #[must_use]
    pub fn sees(self, read: u8, added: u8) -> bool {
        match self {
            Self::OtherFolds { .. } => read != added,
            Self::Earlier { folds, .. } => {
                self.is_in_prior(read, added) && (folds == 1 || added % folds != read % folds)
            }
        }
    }
}

/// Where rows read means and add to sums.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// What is visible.
    pub visible: Visible,
    /// The place of the mean that stands in each row.
    pub reads: &'a [u8],
    /// The place of the sum that each row's target goes into.
    pub adds: &'a [u8],
}

/// The number that stands in each row while a model is fitted: the mean over the rows that it sees.
#[must_use]
pub fn cross_fitted(rows: &TargetRows<'_>, levels: usize, places: &Places<'_>) -> Vec<f32> {
    let mut sums = FoldSums::new(levels, places.visible);
    rows.each(|row, code, target, weight| sums.add(places.adds[row], code, target, weight));
    let means = sums.means();
    rows.codes.iter().enumerate().map(|(row, &code)| means.of(places.reads[row], code)).collect()
}

/// Sums of the target per level and fold, added up row by row.
#[derive(Debug, Clone)]
pub struct FoldSums {
    visible: Visible,
    of_fold: Vec<Sums>,
    all: Sums,
}

/// The means that [`FoldSums`] come to.
#[derive(Debug, Clone)]
pub struct FoldMeans {
    /// Of all rows: what stands wherever the model is not fitted.
    pub all: LevelValues,
    others: Vec<LevelValues>,
}

impl FoldSums {
    /// Sums of `levels` levels.
    #[must_use]
    pub fn new(levels: usize, visible: Visible) -> Self {
        let of_fold = vec![Sums::new(levels); usize::from(visible.sums())];
        Self { visible, of_fold, all: Sums::new(levels) }
    }

    /// Adds a row at its place.
    pub fn add(&mut self, fold: u8, code: f32, target: f64, weight: f64) {
        self.of_fold[usize::from(fold)].add(code, target, weight);
        self.all.add(code, target, weight);
    }

    /// All sums in a row, so that those of other rows can be added.
    #[must_use]
    pub fn to_values(&self) -> Vec<f64> {
        let all = self.of_fold.iter().chain([&self.all]);
        all.flat_map(|sums| sums.levels.iter().chain([&sums.all])).flat_map(|&(weight, sum)| [weight, sum]).collect()
    }

    /// Takes over sums in the order of [`FoldSums::to_values`].
    pub fn set_values(&mut self, values: &[f64]) {
        let (pairs, _) = values.as_chunks::<2>();
        let all = self.of_fold.iter_mut().chain([&mut self.all]);
        let places = all.flat_map(|sums| sums.levels.iter_mut().chain([&mut sums.all]));
        places.zip(pairs).for_each(|(place, &[weight, sum])| *place = (weight, sum));
    }

    /// The means over all rows, and over those that are visible from each place.
    #[must_use]
    pub fn means(&self) -> FoldMeans {
        let others = match self.visible {
            Visible::OtherFolds { .. } => {
                // One prior for all folds: it says nothing of any row, and a row whose level no other fold knows looks as one of an unknown
                // level will, which stands for the mean of all rows.
                let prior = self.all.prior();
                self.of_fold.iter().map(|fold| self.all.without(fold).shrunk_towards(prior)).collect()
            }
            Visible::Earlier { blocks, folds } => (0..blocks * folds).map(|read| self.seen_from(read)).collect(),
        };
        FoldMeans { all: self.all.values(), others }
    }

    /// Where nothing is visible, nothing is known: no mean stands there. The prior is one for all folds here, too.
    fn seen_from(&self, read: u8) -> LevelValues {
        let levels = self.all.levels.len();
        let (mut seen, mut earlier) = (Sums::new(levels), Sums::new(0));
        for (added, sums) in (0_u8..).zip(&self.of_fold) {
            if self.visible.is_in_prior(read, added) {
                earlier.include(sums);
            }
            if self.visible.sees(read, added) {
                seen.include(sums);
            }
        }
        if seen.all.0 > 0.0 {
            seen.shrunk_towards(earlier.prior())
        } else {
            LevelValues { values: vec![f32::NAN; levels], default: f32::NAN }
        }
    }
}

impl FoldMeans {
    /// What stands for a level in a row that reads at a place while the model is fitted.
    #[must_use]
    pub fn of(&self, read: u8, code: f32) -> f32 {
        self.others[usize::from(read)].of(code)
    }
}

impl TargetRows<'_> {
    fn each(&self, mut visit: impl FnMut(usize, f32, f64, f64)) {
        for (row, (&code, &target)) in self.codes.iter().zip(self.target).enumerate() {
            visit(row, code, target, self.weights.map_or(1.0, |weights| f64::from(weights[row])));
        }
    }
}

/// The place of a level; none for what has none.
fn level_of(code: f32) -> Option<usize> {
    (!code.is_nan()).then_some(code as usize)
}

/// The place of each level in their order, from 0: by number where all levels are numbers, else by text, which is also the
/// order of dates written year first. Anything else comes before them, at -1, if some rows have `missing` to learn that
/// place from; without such rows it stands in the middle, where an unknown level is least wrong.
#[must_use]
pub fn ordinal_values(levels: &[String], missing: bool) -> LevelValues {
    let numbers: Option<Vec<f64>> = levels.iter().map(|level| finite(level)).collect();
    let mut order: Vec<usize> = (0..levels.len()).collect();
    order.sort_by(|&left, &right| {
        let by_number = numbers.as_ref().map_or(Ordering::Equal, |numbers| numbers[left].total_cmp(&numbers[right]));
        by_number.then_with(|| levels[left].cmp(&levels[right]))
    });
    let mut values = vec![0.0; levels.len()];
    order.into_iter().enumerate().for_each(|(rank, level)| values[level] = rank as f32);
    let default = if missing { -1.0 } else { levels.len().saturating_sub(1) as f32 / 2.0 };
    LevelValues { values, default }
}

fn finite(level: &str) -> Option<f64> {
    level.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NAN;

    #[test]
    fn means_are_shrunk_towards_the_mean_of_all_rows() {
        let rows = TargetRows { codes: &[0.0, 0.0, 1.0, NONE], target: &[1.0, 3.0, 8.0, 4.0], weights: None };
        let means = target_means(&rows, 2);
        let shrunk = |sum: f64, count: f64| ((sum + SMOOTHING * 4.0) / (count + SMOOTHING)) as f32;
        assert_eq!(means, LevelValues { values: vec![shrunk(4.0, 2.0), shrunk(8.0, 1.0)], default: 4.0 });
        assert_eq!([means.of(NONE), means.of(7.0), means.of(1.0)], [4.0, 4.0, shrunk(8.0, 1.0)]);
    }

    #[test]
    fn weights_count_as_rows() {
        let weighted = TargetRows { codes: &[0.0, 1.0], target: &[1.0, 5.0], weights: Some(&[3.0, 1.0]) };
        let repeated = TargetRows { codes: &[0.0, 0.0, 0.0, 1.0], target: &[1.0, 1.0, 1.0, 5.0], weights: None };
        assert_eq!(target_means(&weighted, 2), target_means(&repeated, 2));
    }

    #[test]
    fn a_rows_own_target_never_shows_in_its_feature() {
        let codes = [0.0, 0.0, 1.0, 1.0, 0.0, NONE];
        let folds = [0, 1, 2, 0, 1, 2];
        let target = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let places = Places { visible: Visible::OtherFolds { folds: 3 }, reads: &folds, adds: &folds };
        let before = cross_fitted(&TargetRows { codes: &codes, target: &target, weights: None }, 2, &places);
        let (without_level, with_level) = (5, 0..5);
        for row in with_level {
            let mut changed = target;
            // The mean of all rows, which is the same in every row, stays.
            (changed[row], changed[without_level]) = (changed[row] + 1000.0, changed[without_level] - 1000.0);
            let after = cross_fitted(&TargetRows { codes: &codes, target: &changed, weights: None }, 2, &places);
            assert!((before[row] - after[row]).abs() < 1e-3, "row {row}: {} became {}", before[row], after[row]);
            assert!(before.iter().zip(&after).any(|(left, right)| (left - right).abs() > 1.0));
        }
    }

    #[test]
    fn a_level_that_no_other_fold_knows_looks_as_an_unknown_one_will() {
        let (codes, folds) = ([0.0, 1.0, 2.0, 2.0, 3.0, 3.0, NONE], [0, 1, 2, 2, 0, 1, 2]);
        let target = [0.1, 0.2, 0.7, 1e6, 0.3, 0.9, 0.6];
        let rows = TargetRows { codes: &codes, target: &target, weights: None };
        let places = Places { visible: Visible::OtherFolds { folds: 3 }, reads: &folds, adds: &folds };
        let found = cross_fitted(&rows, 4, &places);
        let unknown = target_means(&rows, 4).default;
        // Whether a row is in the fold of the largest target is not to be seen.
        let alone = [0, 1, 2, 3, 6].map(|row| found[row].to_bits());
        assert_eq!(alone, [unknown.to_bits(); 5]);
        let shrunk = |other: f64| ((other + SMOOTHING * f64::from(unknown)) / (1.0 + SMOOTHING)) as f32;
        assert!((found[4] / shrunk(0.9) - 1.0).abs() < 1e-6 && (found[5] / shrunk(0.3) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn means_of_earlier_rows_are_made_of_nothing_else_and_are_missing_where_there_are_none() {
        let (codes, target) = ([0.0, 0.0, 1.0, 0.0], [1.0, 2.0, 3.0, 4.0]);
        let rows = |target: &[f64]| {
            let visible = Visible::Earlier { blocks: 3, folds: 1 };
            // The second row is of the second block, and the third block is the first that sees it.
            let places = Places { visible, reads: &[0, 1, 1, 2], adds: &[1, 2, 2, 3] };
            cross_fitted(&TargetRows { codes: &codes, target, weights: None }, 2, &places)
        };
        let found = rows(&target);
        assert!(found[0].is_nan());
        assert_eq!([found[1], found[2]], [1.0, 1.0]);
        let prior = 2.0;
        assert_eq!(found[3], ((3.0 + SMOOTHING * prior) / (2.0 + SMOOTHING)) as f32);
        assert_eq!(rows(&[1.0, 2.0, 3.0, 1e6])[1..], found[1..]);
    }

    #[test]
    fn levels_are_ordered_as_numbers_or_as_text() {
        let levels = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(ordinal_values(&levels(&["10", "9", "-1.5"]), true).values, [2.0, 1.0, 0.0]);
        assert_eq!(ordinal_values(&levels(&["b", "10", "9"]), true).values, [2.0, 0.0, 1.0]);
        assert_eq!(ordinal_values(&levels(&["2024-02-01", "2023-12-31"]), true).values, [1.0, 0.0]);
        let three = levels(&["a", "b", "c"]);
        assert_eq!(ordinal_values(&three, true).of(NONE), -1.0);
        assert_eq!(ordinal_values(&three, false).of(NONE), 1.0);
        assert_eq!(ordinal_values(&[], false).of(NONE), 0.0);
    }
}
