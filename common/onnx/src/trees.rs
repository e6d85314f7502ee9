//! The trees: one `TreeEnsembleRegressor` over the matrix.
//!
//! ONNX asks whether a number is below a threshold, as XGBoost does, and where a missing one goes. It has sets of categories only in a
//! newer operator that few runtimes know, so each set that a tree asks about is a column of its own here: 1 in the set, 0 outside, NaN
//! for what is missing, taken from a table by the level's place. Levels that are in the same sets share a row of it.

use std::collections::HashMap;

use error::{Error, Result};
use scoring::{Ensemble, Node, Question, Split};

use super::encode::{Levels, MatrixColumn};
use super::graph::{Attribute, Graph, Tensor};

/// More cells than this of all tables together are refused: 256 MiB.
const MOST_TABLE_CELLS: usize = 64 << 20;
/// Between 0, outside of a set, and 1, inside.
const HALF: f32 = 0.5;

/// The sets that trees ask about, by the feature and the set's codes in order, and each one's place among its feature's.
type Sets = HashMap<(usize, Vec<u32>), usize>;

/// The margins: the sums of leaves and the base margin.
///
/// # Errors
/// [`Error::Model`] where the trees do not fit the features, or ask about too many sets.
pub(super) fn margin(graph: &mut Graph, columns: Vec<MatrixColumn>, ensemble: &Ensemble) -> Result<Tensor> {
    if columns.len() != ensemble.n_features() {
        return Err(Error::Model(
            "the model's trees and its metadata.json differ in the number of features".to_owned(),
        ));
    }
    let (sets, counts) = sets(ensemble, columns.len());
    let mut matrix = Vec::new();
    let (mut starts, mut width, mut cells) = (Vec::new(), 0, 0);
    for (feature, column) in columns.into_iter().enumerate() {
        starts.push(width);
        match column {
            MatrixColumn::Number(numbers) if counts[feature] == 0 => {
                matrix.push(numbers);
                width += 1;
            }
            MatrixColumn::Number(_) => {
                return Err(Error::Model("a tree asks a number for a set of categories".to_owned()));
            }
            MatrixColumn::Category(levels) if counts[feature] > 0 => {
                cells += (levels.len() + 1) * counts[feature];
                if cells > MOST_TABLE_CELLS {
                    return Err(Error::Model(
                        "the model's trees ask about so many sets of levels that their tables take more than 256 MiB in ONNX: export it \
                         for MLflow instead (--mlflow), or train with fewer levels (max_levels)"
                            .to_owned(),
                    ));
                }
                matrix.push(memberships(graph, &levels, &of_feature(&sets, feature, counts[feature])));
                width += counts[feature];
            }
            // No tree asks about it.
            MatrixColumn::Category(_) => {}
        }
    }
    let trees = Trees::of(ensemble, |feature, split, categories| match &split.question {
        Question::Below(threshold) => (starts[feature], *threshold),
        Question::Among(range) => {
            let codes = codes(&categories[range.clone()]);
            (starts[feature] + sets.get(&(feature, codes)).copied().unwrap_or_default(), HALF)
        }
    });
    if matrix.is_empty() {
        // No tree asks anything.
        let leaves = ensemble.trees().iter().filter_map(|tree| match tree.nodes[..] {
            [Node::Leaf(value)] => Some(value),
            _ => None,
        });
        let base = graph.float(leaves.fold(ensemble.base_margin(), |sum, value| sum + value));
        return graph.repeated(&base).ok_or_else(|| Error::Model("the model has no input column".to_owned()));
    }
    let matrix: Vec<&Tensor> = matrix.iter().collect();
    let matrix = graph.op_with("Concat", &matrix, &[Attribute::integer("axis", 1)]);
    Ok(graph.ml("TreeEnsembleRegressor", &matrix, &trees.attributes()))
}

fn codes(categories: &[u32]) -> Vec<u32> {
    let mut codes = categories.to_vec();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// All sets, and how many each feature has.
fn sets(ensemble: &Ensemble, features: usize) -> (Sets, Vec<usize>) {
    let (mut sets, mut counts) = (Sets::new(), vec![0; features]);
    for tree in ensemble.trees() {
        for node in &tree.nodes {
            let Node::Split(Split { feature, question: Question::Among(range), .. }) = node else { continue };
            let count = &mut counts[*feature];
            sets.entry((*feature, codes(&tree.categories[range.clone()]))).or_insert_with(|| {
                *count += 1;
                *count - 1
            });
        }
    }
    (sets, counts)
}

fn of_feature(sets: &Sets, feature: usize, count: usize) -> Vec<&[u32]> {
    let mut found: Vec<&[u32]> = vec![&[]; count];
    for ((of, codes), place) in sets {
        if *of == feature {
            found[*place] = codes;
        }
    }
    found
}

/// Rows × sets: whether the value's level is in the set.
fn memberships(graph: &mut Graph, levels: &Levels, sets: &[&[u32]]) -> Tensor {
    let mut rows: HashMap<Vec<bool>, i64> = HashMap::new();
    let mut table = Vec::new();
    let mut classes = Vec::new();
    for level in 0..levels.len() as u32 {
        let row: Vec<bool> = sets.iter().map(|codes| codes.binary_search(&level).is_ok()).collect();
        let next = rows.len() as i64;
        let class = *rows.entry(row).or_insert_with_key(|row| {
            table.extend(row.iter().map(|is_in| f32::from(u8::from(*is_in))));
            next
        });
        classes.push(class);
    }
    let missing = rows.len() as i64;
    table.extend(std::iter::repeat_n(f32::NAN, sets.len()));
    let table = graph.table(sets.len(), &table);
    let found = levels.integers(graph, &classes, missing);
    let all = graph.integers(&[-1]);
    let flat = graph.op("Reshape", &[&found, &all]);
    graph.op("Gather", &[&table, &flat])
}

/// The trees as the operator takes them: a list for each thing to know of a node. The base margin is the first of them, so that who adds the
/// trees in their order adds as XGBoost does.
#[derive(Default)]
struct Trees {
    is_leaf: Vec<bool>,
    tree_ids: Vec<i64>,
    node_ids: Vec<i64>,
    features: Vec<i64>,
    thresholds: Vec<f32>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing_is_yes: Vec<i64>,
    leaf_trees: Vec<i64>,
    leaf_nodes: Vec<i64>,
    leaves: Vec<f32>,
}

impl Trees {
    /// `column` says which column of the matrix a split looks at, and the threshold below which a value goes left.
    fn of(ensemble: &Ensemble, column: impl Fn(usize, &Split, &[u32]) -> (usize, f32)) -> Self {
        let mut trees = Self::default();
        trees.push_constant(0, ensemble.base_margin());
        for (id, tree) in (1..).zip(ensemble.trees()) {
            if let [Node::Leaf(value)] = tree.nodes[..] {
                trees.push_constant(id, value);
                continue;
            }
            for (place, node) in tree.nodes.iter().enumerate() {
                let (column, threshold) = match node {
                    Node::Split(split) => column(split.feature, split, &tree.categories),
                    Node::Leaf(_) => (0, 0.0),
                };
                trees.push(id, place as i64, node, (column as i64, threshold));
            }
        }
        trees
    }

    /// A tree of one leaf, as one of two that are equal, since not every runtime takes a root that is a leaf.
    fn push_constant(&mut self, tree: i64, value: f32) {
        let split = Split { feature: 0, question: Question::Below(0.0), default_left: true, left: 1, right: 2 };
        self.push(tree, 0, &Node::Split(split), (0, 0.0));
        self.push(tree, 1, &Node::Leaf(value), (0, 0.0));
        self.push(tree, 2, &Node::Leaf(value), (0, 0.0));
    }

    fn push(&mut self, tree: i64, place: i64, node: &Node, (column, threshold): (i64, f32)) {
        self.tree_ids.push(tree);
        self.node_ids.push(place);
        self.features.push(column);
        self.thresholds.push(threshold);
        let (yes, no, missing_is_yes) = match node {
            // In a set goes right, as what is not below the threshold.
            Node::Split(split) => (split.left as i64, split.right as i64, i64::from(split.default_left)),
            Node::Leaf(value) => {
                self.leaf_trees.push(tree);
                self.leaf_nodes.push(place);
                self.leaves.push(*value);
                (0, 0, 0)
            }
        };
        self.is_leaf.push(matches!(node, Node::Leaf(_)));
        self.yes.push(yes);
        self.no.push(no);
        self.missing_is_yes.push(missing_is_yes);
    }

    fn attributes(&self) -> Vec<Attribute> {
        let modes = self.is_leaf.iter().map(|is_leaf| if *is_leaf { "LEAF" } else { "BRANCH_LT" });
        vec![
            Attribute::text("aggregate_function", "SUM"),
            Attribute::integer("n_targets", 1),
            Attribute::integers("nodes_falsenodeids", &self.no),
            Attribute::integers("nodes_featureids", &self.features),
            Attribute::integers("nodes_missing_value_tracks_true", &self.missing_is_yes),
            Attribute::texts("nodes_modes", modes),
            Attribute::integers("nodes_nodeids", &self.node_ids),
            Attribute::integers("nodes_treeids", &self.tree_ids),
            Attribute::integers("nodes_truenodeids", &self.yes),
            Attribute::floats("nodes_values", &self.thresholds),
            Attribute::text("post_transform", "NONE"),
            Attribute::integers("target_ids", &vec![0; self.leaves.len()]),
            Attribute::integers("target_nodeids", &self.leaf_nodes),
            Attribute::integers("target_treeids", &self.leaf_trees),
            Attribute::floats("target_weights", &self.leaves),
        ]
    }
}
