//! From an ensemble to what the kernels run: quantisers, one circuit for the conditions of all nodes, and per tree how
//! its leaf is found.
//!
//! Rows are numbered through: zeros, ones, the bit planes of all features, the conditions, and what one tree needs for
//! itself (the same rows for every tree).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::Unsupported;
use super::circuit::{BddNode, Circuit, FIRST_PLANE, Lookups, Memberships, Step};
use super::ensemble::{Ensemble, Question, Split, Tree};
use super::objective::Link;
use super::quantiser::{CategorySet, ClassSets, Classes, Codes, Quantiser, Ranks};
use super::side_by_side::side_by_side;
use super::tree_plan::{TreePlan, TreePlanner};

/// The most categories, known or not, that all features may have up to their largest codes (128 MiB).
const MAX_CATEGORIES: usize = 1 << 25;
/// What a feature's category sets may take as a table of all classes (128 MiB).
const MAX_MEMBERSHIP_WORDS: usize = 1 << 24;
/// Rows of 64 bytes: what a block may take for its scratch (16 MiB). With more, XGBoost's own traversal is as fast.
const MAX_ROWS: usize = 1 << 18;

#[derive(Debug)]
pub(super) struct Program {
    /// By feature; none where no node uses it.
    pub(super) quantisers: Vec<Option<Quantiser>>,
    pub(super) n_planes: usize,
    /// The columns of features that have many classes.
    pub(super) n_columns: usize,
    pub(super) conditions: Conditions,
    pub(super) trees: Vec<TreePlan>,
    /// The gates of the trees that are not complete.
    pub(super) tree_gates: Vec<BddNode>,
    /// Rows of conditions or leaf bits, as the plans of the trees refer to them.
    pub(super) operands: Vec<u32>,
    /// Leaf values, as the plans of the trees refer to them.
    pub(super) leaves: Vec<f32>,
    /// The first row that belongs to the tree at hand.
    pub(super) first_tree_row: u32,
    /// The row of each split's question, tree after tree.
    pub(super) split_rows: Vec<u32>,
    pub(super) n_rows: usize,
    pub(super) base_margin: f32,
    pub(super) link: Link,
}

/// How all conditions are computed. BddNode `i` writes row `first_row + i`.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) first_row: u32,
    pub(super) gates: Vec<BddNode>,
    pub(super) steps: Vec<Step>,
}

/// What all nodes ask of one feature.
#[derive(Default)]
struct Uses<'a> {
    /// Thresholds as keys that sort as their values do, with the default directions (right) met.
    thresholds: BTreeMap<u32, [bool; 2]>,
    /// Each with its number: how many others came before it.
    sets: BTreeMap<CategorySet<'a>, u32>,
    /// The number of the set of each question, so that sets, which may have a hundred thousand categories, are compared once.
    set_numbers: HashMap<SetPlace, u32>,
}

/// A question about categories of a feature where it stands: in which tree, which of the tree's categories it is about, and whether a
/// missing value goes left.
type SetPlace = (usize, Range<usize>, bool);

/// The row of each question of one feature.
#[derive(Default)]
struct Rows {
    /// By the threshold's key and the default direction (right).
    thresholds: BTreeMap<(u32, bool), u32>,
    /// By where it is asked.
    sets: HashMap<SetPlace, u32>,
}

impl Program {
    /// Compiled by up to `threads` threads: with a hundred thousand categories a feature, the classes of these take nearly all of the time.
    pub(super) fn new(ensemble: &Ensemble, threads: usize) -> Result<Self, Unsupported> {
        let Some(link) = ensemble.link else {
            return Err(Unsupported(format!("the objective {} is not known", ensemble.objective)));
        };
        let uses = uses(ensemble, threads)?;
        let (mut quantisers, n_planes, n_columns) = quantisers(&uses, threads);
        let mut circuit = Circuit::new(FIRST_PLANE + n_planes as u32);
        let mut steps = Vec::new();
        let mut rows = Vec::new();
        for (feature, quantiser) in uses.iter().zip(&mut quantisers) {
            rows.push(match (feature, quantiser) {
                (Some(feature), Some((quantiser, sets))) => {
                    feature.rows(&mut circuit, &mut steps, quantiser, std::mem::take(sets))
                }
                _ => Rows::default(),
            });
        }
        let first_tree_row = circuit.first_row + circuit.gates.len() as u32;
        let mut planner = TreePlanner::new(first_tree_row);
        let mut split_rows = Vec::new();
        for (index, tree) in ensemble.trees.iter().enumerate() {
            let row = |split: &Split| rows[split.feature].of(index, split);
            planner.plan(tree, &row)?;
            split_rows.extend(tree.splits().map(row));
        }
        let n_rows = first_tree_row as usize + planner.n_rows;
        if n_rows > MAX_ROWS {
            return Err(Unsupported(format!("its trees ask {n_rows} different questions")));
        }
        Ok(Self {
            quantisers: quantisers.into_iter().map(|both| both.map(|(quantiser, _)| quantiser)).collect(),
            n_planes,
            n_columns,
            conditions: Conditions { first_row: circuit.first_row, gates: circuit.gates, steps },
            trees: planner.trees,
            tree_gates: planner.gates,
            operands: planner.operands,
            leaves: planner.leaves,
            first_tree_row,
            split_rows,
            n_rows,
            base_margin: ensemble.base_margin,
            link,
        })
    }
}

/// The steps of the gates from `from` on: runs of one kind.
fn gate_steps(gates: &[BddNode], mut from: usize) -> Vec<Step> {
    let runs = gates[from..].chunk_by(|one, next| one.kind() == next.kind());
    let step = |run: &[BddNode]| {
        from += run.len();
        Step::Gates(run[0].kind(), from - run.len()..from)
    };
    runs.map(step).collect()
}

fn uses(ensemble: &Ensemble, threads: usize) -> Result<Vec<Option<Uses<'_>>>, Unsupported> {
    let mut splits = vec![Vec::new(); ensemble.n_features];
    for (index, tree) in ensemble.trees.iter().enumerate() {
        tree.splits().for_each(|split| splits[split.feature].push((index, tree, split)));
    }
    let uses: Vec<Option<Uses<'_>>> = side_by_side(threads, splits.len(), |feature| {
        let splits = &splits[feature];
        let mut uses = Uses::default();
        splits.iter().for_each(|&(index, tree, split)| uses.add((index, tree), split));
        (!splits.is_empty()).then_some(uses)
    });
    if uses.iter().flatten().map(Uses::n_categories).sum::<usize>() > MAX_CATEGORIES {
        return Err(Unsupported("its categories have too large codes".into()));
    }
    for (feature, uses) in uses.iter().enumerate() {
        let is_too_large = |uses: &Uses<'_>| uses.membership_words() > MAX_MEMBERSHIP_WORDS;
        if uses.as_ref().is_some_and(is_too_large) {
            return Err(Unsupported(format!("feature {feature} has too many levels and splits")));
        }
        if uses.as_ref().is_some_and(|uses| !uses.thresholds.is_empty() && !uses.sets.is_empty()) {
            return Err(Unsupported(format!("feature {feature} is split both as a number and as a category")));
        }
    }
    Ok(uses)
}

impl<'a> Uses<'a> {
    fn add(&mut self, (index, tree): (usize, &'a Tree), split: &Split) {
        match &split.question {
            Question::Below(threshold) => {
                let directions = self.thresholds.entry(sort_key(*threshold)).or_default();
                directions[usize::from(!split.default_left)] = true;
            }
            Question::Among(range) => {
                let next = self.sets.len() as u32;
                let number = *self.sets.entry(category_set(tree, range, split)).or_insert(next);
                self.set_numbers.insert((index, range.clone(), split.default_left), number);
            }
        }
    }

    /// The number of categories up to the largest that a set has.
    fn n_categories(&self) -> usize {
        let largest = self.sets.keys().filter_map(|set| set.categories.last()).max();
        largest.map_or(0, |largest| *largest as usize + 1)
    }

    /// The most words that the table of memberships may have: no more classes than categories in the sets, and two.
    fn membership_words(&self) -> usize {
        let in_sets: usize = self.sets.keys().map(|set| set.categories.len()).sum();
        (in_sets.min(self.n_categories()) + 2) * ClassSets::words_per_class(self.sets.len())
    }

    /// How a missing value is coded: as the lowest or highest rank where every node sends it the same way, else as a
    /// rank of its own, above all.
    fn missing_rank(&self) -> u32 {
        let n_thresholds = self.thresholds.len() as u32;
        let met = |direction: usize| self.thresholds.values().any(|directions| directions[direction]);
        match (met(0), met(1)) {
            (true, false) => 0,
            (false, _) => n_thresholds,
            (true, true) => n_thresholds + 1,
        }
    }

    /// The quantiser, which is not placed yet, and the category sets of its classes.
    fn quantiser(&self) -> QuantiserAndSets {
        if self.sets.is_empty() {
            let thresholds: Vec<f32> = self.thresholds.keys().map(|key| value_of(*key)).collect();
            let missing = self.missing_rank();
            let bits = bits_for(missing.max(thresholds.len() as u32));
            let codes = Codes::Ranks(Ranks::new(&thresholds, bits, missing));
            return (Quantiser { plane: 0, bits, codes }, ClassSets::default());
        }
        let sets: Vec<&CategorySet<'_>> = self.sets.keys().collect();
        let (classes, sets_of_classes) = Classes::new(&sets);
        let bits = bits_for(classes.count - 1);
        let quantiser = match bits > Lookups::MAX_BITS as usize {
            true => {
                let size = ClassSets::words_per_class(sets.len()) as u32;
                Quantiser { plane: 0, bits: 0, codes: Codes::Column(0, classes.scaled(size)) }
            }
            false => Quantiser { plane: 0, bits, codes: Codes::Classes(classes) },
        };
        (quantiser, sets_of_classes)
    }

    /// Builds the circuits of all questions. A bit is one where the row goes right.
    fn rows(&self, circuit: &mut Circuit, steps: &mut Vec<Step>, quantiser: &Quantiser, sets: ClassSets) -> Rows {
        let from = circuit.gates.len();
        let plane = FIRST_PLANE + quantiser.plane as u32;
        let bits = quantiser.bits as u32;
        match &quantiser.codes {
            Codes::Ranks(_) => {
                let mut thresholds = self.threshold_rows(circuit, plane, bits);
                let moved = circuit.group_by_kind(from);
                thresholds.values_mut().for_each(|row| moved.apply(row));
                steps.extend(gate_steps(&circuit.gates, from));
                Rows { thresholds, ..Rows::default() }
            }
            Codes::Classes(_) => self.set_rows(circuit, steps, [plane, bits], &sets),
            Codes::Column(column, _) => {
                let memberships = Memberships::new(circuit, *column, sets);
                let sets = self.rows_by_place(memberships.first_row..);
                steps.push(Step::Memberships(memberships));
                Rows { sets, ..Rows::default() }
            }
        }
    }

    fn set_rows(
        &self,
        circuit: &mut Circuit,
        steps: &mut Vec<Step>,
        [plane, bits]: [u32; 2],
        sets: &ClassSets,
    ) -> Rows {
        let from = circuit.gates.len();
        let lookups = Lookups::new(circuit, plane, bits, sets);
        let mut rows: Vec<u32> = match lookups {
            Some(_) => Vec::new(),
            None => (0..sets.n_sets()).map(|set| circuit.member(plane, bits, 0, &sets.classes_in(set))).collect(),
        };
        let moved = circuit.group_by_kind(from);
        rows.iter_mut().for_each(|row| moved.apply(row));
        steps.extend(gate_steps(&circuit.gates, from));
        if let Some(mut lookups) = lookups {
            lookups.functions.iter_mut().for_each(|row| moved.apply(row));
            lookups.first_row = circuit.reserve(sets.n_sets());
            rows.extend((lookups.first_row..).take(sets.n_sets()));
            steps.push(Step::Lookups(lookups));
        }
        Rows { sets: self.rows_by_place(rows), ..Rows::default() }
    }

    /// The rows of the questions about sets, given in the order of the sets.
    fn rows_by_place(&self, rows: impl IntoIterator<Item = u32>) -> HashMap<SetPlace, u32> {
        let mut by_number = vec![0; self.sets.len()];
        for (number, row) in self.sets.values().zip(rows) {
            by_number[*number as usize] = row;
        }
        self.set_numbers.iter().map(|(place, number)| (place.clone(), by_number[*number as usize])).collect()
    }

    fn threshold_rows(&self, circuit: &mut Circuit, plane: u32, bits: u32) -> BTreeMap<(u32, bool), u32> {
        let missing_rank = self.missing_rank();
        let has_own_rank = missing_rank as usize > self.thresholds.len();
        let mut rows = BTreeMap::new();
        for (rank, (key, directions)) in (1..).zip(&self.thresholds) {
            for missing_right in [false, true].into_iter().filter(|right| directions[usize::from(*right)]) {
                // Where missing values have a rank of their own, above all, it goes right unless it is cut off.
                let end = if has_own_rank && !missing_right { missing_rank } else { 1 << bits };
                rows.insert((*key, missing_right), circuit.interval(plane, bits, rank, end));
            }
        }
        rows
    }
}

impl Rows {
    /// The row of the question of `split`.
    fn of(&self, tree: usize, split: &Split) -> u32 {
        match &split.question {
            Question::Below(threshold) => self.thresholds[&(sort_key(*threshold), !split.default_left)],
            Question::Among(range) => self.sets[&(tree, range.clone(), split.default_left)],
        }
    }
}

/// A feature's quantiser, and the category sets of its classes.
type QuantiserAndSets = (Quantiser, ClassSets);

/// The quantisers of all features, and the numbers of planes and columns that they take one after the other.
fn quantisers(uses: &[Option<Uses<'_>>], threads: usize) -> (Vec<Option<QuantiserAndSets>>, usize, usize) {
    let mut quantisers = side_by_side(threads, uses.len(), |feature| uses[feature].as_ref().map(Uses::quantiser));
    let (mut n_planes, mut n_columns) = (0, 0);
    for (quantiser, _) in quantisers.iter_mut().flatten() {
        quantiser.plane = n_planes;
        n_planes += quantiser.bits;
        if let Codes::Column(column, _) = &mut quantiser.codes {
            *column = n_columns;
            n_columns += 1;
        }
    }
    (quantisers, n_planes, n_columns)
}

fn category_set<'a>(tree: &'a Tree, range: &Range<usize>, split: &Split) -> CategorySet<'a> {
    let given = &tree.categories[range.clone()];
    // As XGBoost writes them.
    let categories = if given.is_sorted_by(|one, next| one < next) {
        Cow::Borrowed(given)
    } else {
        let mut categories = given.to_vec();
        categories.sort_unstable();
        categories.dedup();
        Cow::Owned(categories)
    };
    CategorySet { categories, missing_right: !split.default_left }
}

/// The number of bits that `largest` takes, at least one.
fn bits_for(largest: u32) -> usize {
    (u32::BITS - largest.leading_zeros()).max(1) as usize
}

/// An integer that sorts as the threshold does. Nothing is below NaN, so it acts as negative infinity; the two zeros
/// are one threshold.
fn sort_key(threshold: f32) -> u32 {
    let threshold = if threshold.is_nan() { f32::NEG_INFINITY } else { threshold + 0.0 };
    let bits = threshold.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn value_of(sort_key: u32) -> f32 {
    f32::from_bits(if sort_key >> 31 == 1 { sort_key & !(1 << 31) } else { !sort_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_sort_as_their_keys() {
        let values = [f32::NEG_INFINITY, f32::MIN, -1.0, -1e-45, 0.0, 1e-45, 1.0, f32::MAX, f32::INFINITY];
        assert!(values.windows(2).all(|pair| sort_key(pair[0]) < sort_key(pair[1])));
        assert!(values.iter().all(|value| value_of(sort_key(*value)) == *value));
        assert_eq!(sort_key(-0.0), sort_key(0.0));
        assert_eq!(sort_key(f32::NAN), sort_key(f32::NEG_INFINITY));
    }

    #[test]
    fn codes_get_the_bits_they_need() {
        assert_eq!([0, 1, 2, 3, 4, 255, 256].map(bits_for), [1, 1, 2, 2, 3, 8, 9]);
    }
}
