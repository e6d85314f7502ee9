//! From the values of one feature to codes: the rank of a number among the model's thresholds, the class of a
//! category among those that no node tells apart.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// How the values of a feature become codes, and where the codes' bits lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantiser {
    /// The feature's first bit plane in a block.
    pub(super) plane: usize,
    /// The number of its bit planes.
    pub(super) bits: usize,
    pub(super) codes: Codes,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Codes {
    /// The number of thresholds that are not above the value.
    Ranks(Ranks),
    /// The class of the category.
    Classes(Classes),
    /// The class of the category, among so many that it is kept as a number, in a column of its own: multiplied by
    /// the size of what is known about a class.
    Column(usize, Classes),
}

/// Thresholds as a complete binary search tree: level `l` has `2^l` of them, in order, at [`Ranks::level`]. What a
/// comparison at level `l` gives is bit `bits - 1 - l` of the rank.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranks {
    pub(super) tree: Vec<f32>,
    /// The code of a missing value.
    pub(super) missing: u32,
}

/// Levels of fewer thresholds than a vector has lanes take a whole vector.
const VECTOR: usize = 16;

impl Ranks {
    /// `thresholds` are sorted and distinct; `bits` suffice for their number.
    pub(super) fn new(thresholds: &[f32], bits: usize, missing: u32) -> Self {
        // No value is at or above NaN, so the places after the last threshold are never passed.
        let mut tree = vec![f32::NAN; Self::level(bits)];
        for level in 0..bits {
            for index in 0..1 << level {
                let place = ((2 * index + 1) << (bits - 1 - level)) - 1;
                if let Some(threshold) = thresholds.get(place) {
                    tree[Self::level(level) + index] = *threshold;
                }
            }
        }
        Self { tree, missing }
    }

    /// Where a level starts in `tree`.
    pub(super) const fn level(level: usize) -> usize {
        if level < 4 { VECTOR * level } else { 3 * VECTOR + (1 << level) }
    }
}

/// The classes of a categorical feature. Categories in the same sets of every node share a class, so a feature of
/// thousands of levels needs few bits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Classes {
    /// By category; the last entry is for any other value.
    pub(super) of_category: Vec<u32>,
    /// The code of a missing value.
    pub(super) missing: u32,
    /// The number of classes.
    pub(super) count: u32,
}

/// What a categorical node asks: a set of categories, in order, and whether a missing value goes right with them.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CategorySet<'a> {
    pub(super) categories: Cow<'a, [u32]>,
    pub(super) missing_right: bool,
}

impl Classes {
    /// The classes of the categories in `sets`, and the sets that each class is in. The first class is that of no set at all: of values
    /// that are no known category, and of most codes where a few are large.
    pub(super) fn new(sets: &[&CategorySet<'_>]) -> (Self, ClassSets) {
        let all = || sets.iter().flat_map(|set| set.categories.iter());
        let n_categories = all().max().map_or(0, |last| *last as usize + 1);
        // The row of each category in the table of sets; the first is that of no set, the last that of missing values.
        let mut codes = vec![0; n_categories + 1];
        all().for_each(|category| codes[*category as usize] = 1);
        let mut missing = 1;
        for row in codes.iter_mut().filter(|row| **row > 0) {
            *row = missing;
            missing += 1;
        }
        let mut of_rows = ClassSets::of_rows(sets, &codes, missing);
        let mut class_of_row = of_rows.merge();
        if let Some(moved) = of_rows.order() {
            class_of_row.iter_mut().for_each(|class| *class = moved[*class as usize]);
        }
        codes.iter_mut().for_each(|code| *code = class_of_row[*code as usize]);
        let classes =
            Self { of_category: codes, missing: class_of_row[missing as usize], count: of_rows.n_classes() as u32 };
        (classes, of_rows)
    }

    /// The same with all codes multiplied.
    pub(super) fn scaled(mut self, factor: u32) -> Self {
        self.of_category.iter_mut().for_each(|code| *code *= factor);
        self.missing *= factor;
        self
    }

    /// The class of one value, as XGBoost takes it for a category (`common::Decision`): cut to an integer; negative or
    /// unknown ones are in no set.
    pub(super) fn code(&self, value: f32) -> u32 {
        if value.is_nan() {
            return self.missing;
        }
        let other = self.of_category.len() - 1;
        let known = if value < 0.0 { other } else { other.min(value as usize) };
        self.of_category[known]
    }
}

/// The sets that each class is in, a bit for each. Of a feature of a hundred thousand levels that is asked about in a thousand nodes
/// lists would take many times as much.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ClassSets {
    n_sets: usize,
    /// Class by class [`ClassSets::n_words`] words.
    pub(super) words: Vec<u64>,
}

impl ClassSets {
    /// Classes up to this number are ordered by their sets: more are kept as numbers, not as planes.
    pub(super) const MOST_ORDERED: usize = 64;

    /// The words that one class takes, for so many sets.
    pub(super) fn words_per_class(n_sets: usize) -> usize {
        n_sets.div_ceil(64)
    }

    pub(super) fn n_sets(&self) -> usize {
        self.n_sets
    }

    pub(super) fn n_words(&self) -> usize {
        Self::words_per_class(self.n_sets)
    }

    fn n_classes(&self) -> usize {
        self.words.len() / self.n_words().max(1)
    }

    /// The classes in a set, in order.
    pub(super) fn classes_in(&self, set: usize) -> Vec<u32> {
        let rows = self.words.chunks(self.n_words().max(1)).zip(0..);
        rows.filter(|(words, _)| words[set / 64] >> (set % 64) & 1 == 1).map(|(_, class)| class).collect()
    }

    /// A class for each row, as yet: `row_of` are the rows of categories, `missing` is the last one, of missing values.
    fn of_rows(sets: &[&CategorySet<'_>], row_of: &[u32], missing: u32) -> Self {
        let n_words = Self::words_per_class(sets.len());
        let mut words = vec![0; (missing as usize + 1) * n_words];
        // One word of all rows at a time, which the first-level cache holds.
        let mut of_rows = vec![0_u64; missing as usize + 1];
        for (place, sets) in sets.chunks(64).enumerate() {
            for (bit, set) in sets.iter().enumerate() {
                set.categories.iter().for_each(|category| of_rows[row_of[*category as usize] as usize] |= 1 << bit);
                of_rows[missing as usize] |= u64::from(set.missing_right) << bit;
            }
            for (word, of_row) in words[place..].iter_mut().step_by(n_words).zip(&mut of_rows) {
                *word = std::mem::take(of_row);
            }
        }
        Self { n_sets: sets.len(), words }
    }

    /// Makes one class of all rows that are in the same sets; gives the class of each row.
    fn merge(&mut self) -> Vec<u32> {
        let n_words = self.n_words();
        let hasher = RandomState::new();
        let mut known: HashMap<u64, u32> = HashMap::new();
        let mut class_of_row = Vec::with_capacity(self.n_classes());
        let mut count = 0;
        for row in 0..self.n_classes() {
            let (classes, rows) = self.words.split_at_mut(row * n_words);
            let of_row = &rows[..n_words];
            let mut key = hasher.hash_one(of_row);
            let class = loop {
                match known.get(&key) {
                    Some(&class) if &classes[class as usize * n_words..][..n_words] == of_row => break class,
                    // Others have the same hash.
                    Some(_) => key = key.wrapping_add(1),
                    None => break *known.entry(key).or_insert(count),
                }
            };
            class_of_row.push(class);
            if class == count {
                self.words.copy_within(row * n_words..(row + 1) * n_words, class as usize * n_words);
                count += 1;
            }
        }
        self.words.truncate(count as usize * n_words);
        class_of_row
    }

    /// Orders few classes by their sets, so that alike ones have alike codes and their sets small circuits; gives where each class has
    /// gone. Of many, which are looked up in a table, the order does not matter.
    fn order(&mut self) -> Option<Vec<u32>> {
        let count = self.n_classes();
        if count > Self::MOST_ORDERED {
            return None;
        }
        let n_words = self.n_words().max(1);
        let of_class = |class: usize| &self.words[class * n_words..][..n_words];
        let sets = |class: &usize| -> Vec<usize> {
            let words = of_class(*class);
            (0..self.n_sets).filter(|set| words[set / 64] >> (set % 64) & 1 == 1).collect()
        };
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_cached_key(sets);
        let words = order.iter().flat_map(|class| of_class(*class)).copied().collect();
        let mut moved = vec![0; count];
        order.iter().zip(0..).for_each(|(class, place)| moved[*class] = place);
        self.words = words;
        Some(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_share_classes_unless_a_set_tells_them_apart() {
        let set =
            |categories: &[u32], missing_right| CategorySet { categories: categories.to_vec().into(), missing_right };
        let (classes, of_set) = Classes::new(&[&set(&[1, 3, 900], false), &set(&[3], true)]);
        let code = |value: f32| classes.code(value);
        assert_eq!(code(1.0), code(900.5));
        assert_ne!(code(1.0), code(3.0));
        for other in [-1.0, -0.5, 0.0, -0.0, 2.0, 901.0, 1e30, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(code(other), 0, "{other}");
        }
        let of_set = [of_set.classes_in(0), of_set.classes_in(1)];
        assert!(of_set[0].contains(&code(1.0)) && of_set[0].contains(&code(3.0)) && of_set[0].len() == 2);
        assert!(of_set[1].contains(&code(f32::NAN)) && of_set[1].contains(&code(3.0)));
        assert!(classes.count == 4 && !of_set[0].contains(&code(f32::NAN)));
    }

    #[test]
    fn classes_are_what_the_sets_tell_apart_however_many_there_are() {
        for (n_categories, n_sets) in [(10, 3), (70, 130), (1_000, 9), (3_000, 200)] {
            let is_in = |category: u32, set: u32| (category * 31 + set * 17).is_multiple_of(set % 13 + 2);
            let sets: Vec<CategorySet<'_>> = (0..n_sets)
                .map(|set| CategorySet {
                    categories: (0..n_categories).filter(|category| is_in(*category, set)).collect(),
                    missing_right: set % 3 == 1,
                })
                .collect();
            let (classes, of_set) = Classes::new(&sets.iter().collect::<Vec<_>>());
            let of_set: Vec<Vec<u32>> = (0..n_sets as usize).map(|set| of_set.classes_in(set)).collect();
            for (set, classes_in) in (0..n_sets).zip(&of_set) {
                assert!(!classes_in.contains(&0) && classes_in.is_sorted(), "{set} of {n_sets}");
                for category in 0..n_categories {
                    let class = classes.code(category as f32);
                    assert_eq!(classes_in.binary_search(&class).is_ok(), is_in(category, set), "{category} in {set}");
                }
                assert_eq!(classes_in.binary_search(&classes.missing).is_ok(), set % 3 == 1);
            }
            let mut patterns: Vec<Vec<bool>> =
                (0..n_categories).map(|category| (0..n_sets).map(|set| is_in(category, set)).collect()).collect();
            patterns.push((0..n_sets).map(|set| set % 3 == 1).collect());
            patterns.push(vec![false; n_sets as usize]);
            patterns.sort_unstable();
            patterns.dedup();
            assert_eq!(classes.count as usize, patterns.len(), "{n_categories} categories, {n_sets} sets");
        }
    }

    #[test]
    fn a_search_tree_ranks() {
        let thresholds = [-1.0, 0.0, 2.0, 5.0, 9.0];
        let ranks = Ranks::new(&thresholds, 3, 0);
        for value in [-2.0, -1.0, -0.0, 0.0, 1.0, 5.0, 8.9, 9.0, f32::INFINITY, f32::NEG_INFINITY] {
            let mut rank = 0;
            for level in 0..3 {
                rank = 2 * rank + usize::from(value >= ranks.tree[Ranks::level(level) + rank]);
            }
            assert_eq!(rank, thresholds.iter().filter(|threshold| value >= **threshold).count(), "{value}");
        }
    }
}
