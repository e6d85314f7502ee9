//! How the leaf of one tree is found: as a complete tree whose levels the kernels descend in registers, or, where that
//! would waste too much, by gates that compute the bits of the leaf's number.

use std::ops::Range;

use super::Unsupported;
use super::circuit::{BddNode, ONES, ZEROS};
use super::ensemble::{Node, Split, Tree};

/// The deepest complete tree that the kernels descend in registers.
pub(super) const MAX_COMPLETE_DEPTH: usize = 8;
/// The most bits of a leaf's number. Beyond, XGBoost's traversal, whose work grows with the depth and not with the
/// number of leaves, is as fast.
pub(super) const MAX_LEAF_BITS: usize = 12;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TreePlan {
    /// A single leaf.
    Constant(f32),
    /// `2^depth - 1` conditions in `operands` from `conditions` on, in heap order, and `2^depth` leaves.
    Complete { depth: usize, conditions: usize, leaves: usize },
    /// `gates` of `tree_gates`, after which the rows in `operands` hold the bits of the leaf's number, the lowest
    /// first.
    Gates { gates: Range<usize>, bits: Range<usize>, leaves: usize },
}

/// Collects the plans of all trees.
pub(super) struct TreePlanner {
    first_row: u32,
    pub(super) trees: Vec<TreePlan>,
    pub(super) gates: Vec<BddNode>,
    pub(super) operands: Vec<u32>,
    pub(super) leaves: Vec<f32>,
    /// The most rows that a tree needs for itself.
    pub(super) n_rows: usize,
}

impl TreePlanner {
    pub(super) fn new(first_row: u32) -> Self {
        Self { first_row, trees: Vec::new(), gates: Vec::new(), operands: Vec::new(), leaves: Vec::new(), n_rows: 0 }
    }

    /// Plans one tree; `condition` gives the row of a split's question.
    pub(super) fn plan(&mut self, tree: &Tree, condition: &dyn Fn(&Split) -> u32) -> Result<(), Unsupported> {
        let n_leaves = tree.n_leaves();
        if n_leaves > 1 << MAX_LEAF_BITS {
            return Err(Unsupported(format!("a tree has {n_leaves} leaves")));
        }
        if tree.nodes.iter().any(|node| matches!(node, Node::Leaf(value) if !value.is_finite())) {
            return Err(Unsupported("a leaf is not finite".into()));
        }
        let plan = match tree.nodes[0] {
            Node::Leaf(value) => TreePlan::Constant(value),
            Node::Split(_) if complete_is_cheaper(tree.depth, n_leaves) => self.complete(tree, condition),
            Node::Split(_) => self.by_gates(tree, condition),
        };
        self.trees.push(plan);
        Ok(())
    }

    /// Leaves above the last level are repeated below it, under conditions that do not matter.
    fn complete(&mut self, tree: &Tree, condition: &dyn Fn(&Split) -> u32) -> TreePlan {
        let conditions = self.operands.len();
        let mut level = vec![0];
        for _ in 0..tree.depth {
            let mut below = Vec::with_capacity(2 * level.len());
            for node in level {
                let (row, children) = match &tree.nodes[node] {
                    Node::Leaf(_) => (ZEROS, [node, node]),
                    Node::Split(split) => (condition(split), [split.left, split.right]),
                };
                self.operands.push(row);
                below.extend(children);
            }
            level = below;
        }
        let leaves = self.leaves.len();
        self.leaves.extend(level.into_iter().map(|node| tree.leaf(node)));
        TreePlan::Complete { depth: tree.depth, conditions, leaves }
    }

    fn by_gates(&mut self, tree: &Tree, condition: &dyn Fn(&Split) -> u32) -> TreePlan {
        let first_gate = self.gates.len();
        let order = tree.leaves_left_to_right();
        let n_bits = bits_of_leaves(order.len());
        let mut number = vec![0; tree.nodes.len()];
        let leaves = self.leaves.len();
        for (index, node) in order.iter().enumerate() {
            number[*node] = index;
            self.leaves.push(tree.leaf(*node));
        }
        self.leaves.resize(leaves + (1 << n_bits), 0.0);
        let mut bits = vec![Vec::new(); tree.nodes.len()];
        for node in tree.children_first() {
            bits[node] = match &tree.nodes[node] {
                Node::Leaf(_) => (0..n_bits).map(|bit| [ZEROS, ONES][number[node] >> bit & 1]).collect(),
                Node::Split(split) => {
                    let (low, high) = (std::mem::take(&mut bits[split.left]), std::mem::take(&mut bits[split.right]));
                    let select = condition(split);
                    let pairs = low.into_iter().zip(high);
                    pairs.map(|(low, high)| self.gate(first_gate, BddNode { select, high, low })).collect()
                }
            };
        }
        self.n_rows = self.n_rows.max(self.gates.len() - first_gate);
        let first_bit = self.operands.len();
        self.operands.append(&mut bits[0]);
        TreePlan::Gates { gates: first_gate..self.gates.len(), bits: first_bit..self.operands.len(), leaves }
    }

    fn gate(&mut self, first_gate: usize, gate: BddNode) -> u32 {
        if gate.high == gate.low {
            return gate.high;
        }
        if (gate.high, gate.low) == (ONES, ZEROS) {
            return gate.select;
        }
        self.gates.push(gate);
        self.first_row + (self.gates.len() - 1 - first_gate) as u32
    }
}

fn bits_of_leaves(n_leaves: usize) -> usize {
    n_leaves.next_power_of_two().trailing_zeros() as usize
}

/// A complete tree takes a step per place, filled or not, and a lookup among all places; gates take some three steps
/// per leaf, each several times as long since it goes through memory.
fn complete_is_cheaper(depth: usize, n_leaves: usize) -> bool {
    let lookup = |bits: usize| [0, 1, 1, 1, 1, 1, 2, 4, 8, 8, 8, 8, 8][bits.min(MAX_LEAF_BITS)] * 100;
    if depth > MAX_COMPLETE_DEPTH {
        return false;
    }
    (1 << depth) + lookup(depth) <= 8 * n_leaves + lookup(bits_of_leaves(n_leaves))
}

impl Tree {
    pub(super) fn splits(&self) -> impl Iterator<Item = &Split> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Split(split) => Some(split),
            Node::Leaf(_) => None,
        })
    }

    /// The value of a leaf; nothing for a split.
    fn leaf(&self, node: usize) -> f32 {
        match self.nodes[node] {
            Node::Leaf(value) => value,
            Node::Split(_) => 0.0,
        }
    }

    /// All nodes, a node before those left of it, and before what is below.
    fn right_to_left(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut open = vec![0];
        while let Some(node) = open.pop() {
            order.push(node);
            if let Node::Split(split) = &self.nodes[node] {
                open.extend([split.left, split.right]);
            }
        }
        order
    }

    fn leaves_left_to_right(&self) -> Vec<usize> {
        let is_leaf = |node: &usize| matches!(self.nodes[*node], Node::Leaf(_));
        self.right_to_left().into_iter().rev().filter(is_leaf).collect()
    }

    fn children_first(&self) -> impl Iterator<Item = usize> {
        self.right_to_left().into_iter().rev()
    }
}
