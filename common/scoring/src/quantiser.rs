//! From the values of one feature to codes: the rank of a number among the model's thresholds, the class of a
//! category among those that no node tells apart.

use std::borrow::Cow;

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
    /// The classes of the categories in `sets`, and the classes in each set.
    pub(super) fn new(sets: &[&CategorySet<'_>]) -> (Self, Vec<Vec<u32>>) {
        let members = Memberships::of(sets);
        let (other, missing) = (members.categories(), members.categories() + 1);
        // Ordered by their sets, so that alike classes have alike codes and their sets small circuits. The first class
        // is that of no set at all: of values that are no known category, and of most codes where a few are large.
        let in_sets = (0..=missing as u32).filter(|place| !members.sets(*place).is_empty());
        let mut order: Vec<(u64, u32)> = in_sets.map(|place| (members.prefix(place), place)).collect();
        order.sort_unstable_by(|left, right| {
            left.0.cmp(&right.0).then_with(|| members.sets(left.1).cmp(members.sets(right.1)))
        });
        let mut classes_of_set = vec![Vec::new(); sets.len()];
        let mut class_of = vec![0; missing + 1];
        let (mut class, mut last): (u32, &[u32]) = (0, &[]);
        for (_, place) in order {
            let of_this = members.sets(place);
            if of_this != last {
                class += 1;
                of_this.iter().for_each(|set| classes_of_set[*set as usize].push(class));
                last = of_this;
            }
            class_of[place as usize] = class;
        }
        let count = class + 1;
        let missing = class_of[missing];
        class_of.truncate(other + 1);
        (Self { of_category: class_of, missing, count }, classes_of_set)
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

/// The sets that each category is in, in order, end to end; behind the categories come those of any other value (none) and of a
/// missing one. Flat lists, because a feature may have a hundred thousand levels and be asked about in a thousand nodes.
struct Memberships {
    starts: Vec<u32>,
    sets: Vec<u32>,
}

impl Memberships {
    fn of(sets: &[&CategorySet<'_>]) -> Self {
        let all = sets.iter().flat_map(|set| set.categories.iter());
        let categories = all.clone().max().map_or(0, |last| *last as usize + 1);
        let mut ends = vec![0_u32; categories + 2];
        all.for_each(|category| ends[*category as usize] += 1);
        ends[categories + 1] = sets.iter().filter(|set| set.missing_right).count() as u32;
        let mut total = 0;
        for end in &mut ends {
            total += *end;
            *end = total - *end;
        }
        let mut members = vec![0; total as usize];
        for (index, set) in (0..).zip(sets) {
            let missing = set.missing_right.then_some(categories + 1);
            for place in set.categories.iter().map(|category| *category as usize).chain(missing) {
                members[ends[place] as usize] = index;
                ends[place] += 1;
            }
        }
        let starts = std::iter::once(0).chain(ends).collect();
        Self { starts, sets: members }
    }

    fn categories(&self) -> usize {
        self.starts.len() - 3
    }

    fn sets(&self, place: u32) -> &[u32] {
        &self.sets[self.starts[place as usize] as usize..self.starts[place as usize + 1] as usize]
    }

    /// Orders the lists as far as their first two members do.
    fn prefix(&self, place: u32) -> u64 {
        let member = |index| self.sets(place).get(index).map_or(0, |set| u64::from(*set) + 1);
        member(0) << 32 | member(1)
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
        assert!(of_set[0].contains(&code(1.0)) && of_set[0].contains(&code(3.0)) && of_set[0].len() == 2);
        assert!(of_set[1].contains(&code(f32::NAN)) && of_set[1].contains(&code(3.0)));
        assert!(classes.count == 4 && !of_set[0].contains(&code(f32::NAN)));
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
