//! Contributions against the definition of the Shapley value, and of all instruction sets against each other.

use super::super::ensemble::{Ensemble, Node, Question, Split, Tree};
use super::super::kernels::InstructionSet;
use super::super::objective::Link;
use super::{Explainer, Reason, Scorer};

/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

/// A tree of up to so many levels; the last feature is categorical. Now and then no row came to a node.
fn tree(random: &mut Random, depth: usize, n_features: usize) -> Tree {
    let mut tree = Tree { nodes: vec![Node::Leaf(0.0)], covers: vec![100.0], depth: 0, ..Tree::default() };
    let mut level = vec![0];
    for below in (0..depth).rev() {
        let mut next = Vec::new();
        for node in level {
            if below + 1 < depth && random.below(6) == 0 {
                continue;
            }
            let feature = random.below(n_features);
            let question = if feature + 1 < n_features {
                Question::Below(random.below(8) as f32)
            } else {
                let first = tree.categories.len();
                tree.categories.extend((0..8).filter(|category| *category == 1 || random.below(3) == 0));
                Question::Among(first..tree.categories.len())
            };
            let (left, right) = (tree.nodes.len(), tree.nodes.len() + 1);
            tree.nodes[node] =
                Node::Split(Split { feature, question, default_left: random.below(2) == 0, left, right });
            tree.nodes.extend([Node::Leaf(0.0), Node::Leaf(0.0)]);
            let share = random.below(9) as f32 / 8.0;
            let cover = tree.covers[node];
            tree.covers.extend([cover * share, cover - cover * share]);
            next.extend([left, right]);
            tree.depth = depth - below;
        }
        level = next;
    }
    for node in &mut tree.nodes {
        if let Node::Leaf(value) = node {
            *value = random.below(2001) as f32 * 1e-3 - 1.0;
        }
    }
    tree
}

fn ensemble(random: &mut Random, n_trees: usize, depth: usize, n_features: usize) -> Ensemble {
    Ensemble {
        n_features,
        objective: "reg:squarederror".to_owned(),
        link: Some(Link::Identity),
        base_score: 0.5,
        base_margin: 0.5,
        feature_types: Vec::new(),
        trees: (0..n_trees).map(|_| tree(random, depth, n_features)).collect(),
    }
}

/// Values that are on, below and above thresholds, missing ones, and categories that no set has.
fn columns(random: &mut Random, n_rows: usize, n_features: usize) -> Vec<Vec<f32>> {
    let value = |random: &mut Random| match random.below(6) {
        0 => f32::NAN,
        _ => random.below(10) as f32 - 0.5 * random.below(2) as f32,
    };
    (0..n_features).map(|_| (0..n_rows).map(|_| value(random)).collect()).collect()
}

/// What a tree predicts where only the features in a set (bits) are known: at a split on any other, the mean of both sides by
/// their covers.
fn value(tree: &Tree, node: usize, row: &[f32], known: usize) -> f64 {
    let split = match &tree.nodes[node] {
        Node::Leaf(value) => return f64::from(*value),
        Node::Split(split) => split,
    };
    if known >> split.feature & 1 == 1 {
        let next = if goes_right(tree, split, row[split.feature]) { split.right } else { split.left };
        return value(tree, next, row, known);
    }
    let cover = |node: usize| f64::from(tree.covers[node]);
    let share = |child: usize| if cover(node) > 0.0 { (cover(child) / cover(node)).max(1e-12) } else { 0.5 };
    [split.left, split.right].into_iter().map(|child| share(child) * value(tree, child, row, known)).sum()
}

fn goes_right(tree: &Tree, split: &Split, value: f32) -> bool {
    match &split.question {
        _ if value.is_nan() => !split.default_left,
        Question::Below(threshold) => value >= *threshold,
        Question::Among(range) => value >= 0.0 && tree.categories[range.clone()].contains(&(value as u32)),
    }
}

/// The definition (Shapley, 1953): what a feature adds to each set of others, by the share of the orders in which these come before it.
fn shapley(ensemble: &Ensemble, row: &[f32]) -> Vec<f64> {
    let n = ensemble.n_features;
    let values: Vec<f64> =
        (0..1 << n).map(|known| ensemble.trees.iter().map(|tree| value(tree, 0, row, known)).sum()).collect();
    let factorial = |n: usize| (1..=n).map(|factor| factor as f64).product::<f64>();
    let (values, factorial) = (&values, &factorial);
    let of = |feature: usize| {
        let others = (0..1_usize << n).filter(move |known| known >> feature & 1 == 0);
        others.map(move |known| {
            let before = known.count_ones() as usize;
            let orders = factorial(before) * factorial(n - 1 - before) / factorial(n);
            orders * (values[known | 1 << feature] - values[known])
        })
    };
    (0..n).map(|feature| of(feature).sum()).collect()
}

/// Contributions by source, row after row.
fn explain(ensemble: &Ensemble, columns: &[Vec<f32>], sources: &[u32], instructions: InstructionSet) -> Vec<Vec<f32>> {
    let n_rows = columns[0].len();
    let scorer = Scorer::compile_for(ensemble, instructions).unwrap();
    let explainer = Explainer::new(ensemble, &scorer, sources).unwrap();
    let [tables, scratch] = Explainer::bytes_needed(ensemble, &scorer, explainer.n_sources());
    assert!(explainer.table_bytes() as u64 <= tables, "{} bytes, not {tables}", explainer.table_bytes());
    let mut memory = explainer.new_scratch();
    let walks = memory.walks.iter().map(|walk| walk.products.len() + walk.sums.len() + walk.contributions.len());
    assert_eq!(64 * memory.rows.len() + 256 * walks.sum::<usize>(), explainer.scratch_bytes());
    assert!(explainer.scratch_bytes() as u64 <= scratch);
    let mut block = scorer.new_block(n_rows);
    for (feature, column) in columns.iter().enumerate() {
        scorer.quantise(feature, column, 0, &mut block);
    }
    let mut found = vec![f32::NAN; n_rows * explainer.n_sources()];
    explainer.contributions(&scorer, &block, n_rows, &mut memory, &mut found);
    (0..n_rows).map(|row| found[row..].iter().step_by(n_rows).copied().collect()).collect()
}

fn available() -> impl Iterator<Item = InstructionSet> {
    InstructionSet::ALL.into_iter().filter(|set| set.is_available())
}

#[test]
fn contributions_are_shapley_values() {
    let random = &mut Random(1);
    for (depth, n_features) in (0..=6).flat_map(|depth| (1..=6).map(move |n_features| (depth, n_features))) {
        let ensemble = ensemble(random, 3, depth, n_features);
        let columns = columns(random, 70, n_features);
        let sources: Vec<u32> = (0..n_features as u32).collect();
        for instructions in available() {
            for (row, found) in explain(&ensemble, &columns, &sources, instructions).into_iter().enumerate() {
                let values: Vec<f32> = columns.iter().map(|column| column[row]).collect();
                for (feature, (found, expected)) in found.into_iter().zip(shapley(&ensemble, &values)).enumerate() {
                    let apart = (f64::from(found) - expected).abs();
                    assert!(
                        apart < 1e-6,
                        "{instructions:?}, depth {depth}, row {row}, feature {feature} of {n_features}: {found} is not {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn contributions_add_up_and_all_instruction_sets_give_the_same_bits() {
    let random = &mut Random(2);
    for (depth, n_features) in [(1, 2), (3, 2), (5, 9), (6, 5), (7, 30), (9, 30), (10, 40), (12, 60)] {
        let ensemble = ensemble(random, 4, depth, n_features);
        let columns = columns(random, 600, n_features);
        let sources: Vec<u32> = (0..n_features as u32).map(|feature| feature * 2 / 3).collect();
        let found = explain(&ensemble, &columns, &sources, InstructionSet::Portable);
        let mut predicted = vec![0.0; 600];
        let scorer = Scorer::compile(&ensemble).unwrap();
        scorer.predict(&columns.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut predicted);
        let base = Explainer::new(&ensemble, &scorer, &sources).unwrap().base_value();
        for (row, (found, predicted)) in found.iter().zip(predicted).enumerate() {
            let sum = base + found.iter().copied().map(f64::from).sum::<f64>();
            assert!((sum - f64::from(predicted)).abs() < 3e-6, "depth {depth}, row {row}: {sum} is not {predicted}");
        }
        for instructions in available() {
            assert!(explain(&ensemble, &columns, &sources, instructions) == found, "{instructions:?}, depth {depth}");
        }
    }
}

#[test]
fn blocks_and_threads_change_nothing() {
    let random = &mut Random(3);
    let ensemble = ensemble(random, 20, 6, 12);
    let columns = columns(random, 1500, 12);
    let scorer = Scorer::compile(&ensemble).unwrap();
    let explainer = Explainer::new(&ensemble, &scorer, &(0..12).collect::<Vec<u32>>()).unwrap();
    let explain = |batch: usize| {
        let mut scratch = explainer.new_scratch();
        let mut block = scorer.new_block(batch);
        let mut all = Vec::new();
        for first in (0..1500).step_by(batch) {
            let n_rows = batch.min(1500 - first);
            for (feature, column) in columns.iter().enumerate() {
                scorer.quantise(feature, &column[first..first + n_rows], 0, &mut block);
            }
            let mut out = vec![Reason::NONE; 3 * n_rows];
            explainer.explain(&scorer, &block, n_rows, &mut scratch, &mut out);
            all.extend(out);
        }
        all
    };
    let expected = explain(1500);
    assert!(expected.iter().all(|reason| reason.source < 12 && reason.contribution.is_finite()));
    let (explain, expected) = (&explain, &expected);
    std::thread::scope(|scope| {
        for batch in [1, 63, 64, 512, 777] {
            scope.spawn(move || assert!(explain(batch) == *expected, "batches of {batch}"));
        }
    });
}

#[test]
fn rows_that_are_kept_are_explained_as_before() {
    let random = &mut Random(5);
    let mut ensemble = ensemble(random, 10, 5, 6);
    // So many category sets that classes stand in a column.
    for tree in &mut ensemble.trees {
        tree.categories.iter_mut().for_each(|category| *category += random.below(90) as u32);
    }
    let mut columns = columns(random, 1300, 6);
    columns[5].iter_mut().for_each(|value| *value = random.below(100) as f32);
    let scorer = Scorer::compile(&ensemble).unwrap();
    let explainer = Explainer::new(&ensemble, &scorer, &[0, 1, 2, 3, 4, 5]).unwrap();
    let mut block = scorer.new_block(1300);
    for (feature, column) in columns.iter().enumerate() {
        scorer.quantise(feature, column, 0, &mut block);
    }
    let mut scratch = explainer.new_scratch();
    let mut all = vec![Reason::NONE; 2 * 1300];
    explainer.explain(&scorer, &block, 1300, &mut scratch, &mut all);
    for share in [1, 2, 7, 400, 5000] {
        let rows: Vec<usize> = (0..1300).filter(|_| random.below(share) == 0).collect();
        let mut kept = block.clone();
        assert_eq!(kept.keep(&rows), rows.len());
        let mut found = vec![Reason::NONE; 2 * rows.len()];
        explainer.explain(&scorer, &kept, rows.len(), &mut scratch, &mut found);
        let expected: Vec<Reason> = rows.iter().flat_map(|row| &all[2 * row..][..2]).copied().collect();
        assert!(found == expected, "{} rows", rows.len());
    }
}

#[test]
fn what_cannot_be_explained_says_so() {
    let random = &mut Random(4);
    let mut ensemble = ensemble(random, 1, 3, 4);
    let scorer = Scorer::compile(&ensemble).unwrap();
    for wrong in [-1.0, f32::NAN, f32::INFINITY] {
        ensemble.trees[0].covers[1] = wrong;
        let problem = Explainer::new(&ensemble, &scorer, &[0, 1, 2, 3]).unwrap_err().to_string();
        assert!(problem.contains("cover"), "{problem}");
    }
}
