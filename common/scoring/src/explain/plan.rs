//! From trees to the steps of their walks, and the steps' constants.

use std::ops::Range;

use super::super::Unsupported;
use super::super::circuit::{BddNode, Circuit, ONES, ZEROS};
use super::super::ensemble::{Ensemble, Node, Split, Tree};
use super::super::program::Program;
use super::quadrature::{self, Point};
use super::{MAX_BITS, MAX_OUTPUTS, MAX_POINTS, Octet, STEPS_BYTES, Step, StepKind};

/// Deeper trees would need too many points, and too much of the stack.
const MAX_LEVELS: usize = 256;
/// What constants may take (1 GiB).
const MAX_OCTETS: usize = 1 << 25;
/// A child that no training row reached keeps such a share, as in XGBoost, so that nothing is divided by zero.
const MIN_SHARE: f64 = 1e-12;

/// What an explainer is made of.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) tables: Vec<Octet>,
    pub(super) runs: Vec<Range<usize>>,
    pub(super) circuit: Circuit,
    pub(super) base_value: f64,
    pub(super) n_levels: usize,
    pub(super) points: usize,
}

/// A feature's conditions on the path so far.
#[derive(Debug, Clone, Copy)]
struct Seen {
    feature: usize,
    /// The row that says whether all of them are met.
    met: u32,
    /// The share of training rows that meets them.
    share: f64,
}

/// A feature's conditions on the path, of a row that meets them or not.
#[derive(Debug, Clone, Copy)]
struct State {
    is_met: bool,
    share: f64,
}

impl State {
    /// The feature's factor in the product.
    fn factor(self, at: f64) -> f64 {
        let left_out = self.share * (1.0 - at);
        if self.is_met { left_out + at } else { left_out }
    }

    /// What the sum of the leaves below is multiplied by to give the feature's contribution.
    fn extraction(self, at: f64) -> f64 {
        match self.is_met {
            true => (1.0 - self.share) / (self.share + (1.0 - self.share) * at),
            false => -1.0 / (1.0 - at),
        }
    }

    /// The state after one more condition, which a row meets or not.
    fn then(self, is_met: bool, share: f64) -> Self {
        Self { is_met: self.is_met && is_met, share: self.share * share }
    }
}

impl Plan {
    pub(super) fn new(ensemble: &Ensemble, program: &Program, sources: &[u32]) -> Result<Self, Unsupported> {
        let n_splits: usize = ensemble.trees.iter().map(|tree| tree.splits().count()).sum();
        assert_eq!(program.split_rows.len(), n_splits, "a scorer of another ensemble");
        let mut plan = Self {
            steps: Vec::new(),
            tables: Vec::new(),
            runs: Vec::new(),
            circuit: Circuit::new(program.first_tree_row),
            base_value: f64::from(ensemble.base_margin),
            n_levels: ensemble.max_depth() + 1,
            points: 0,
        };
        if ensemble.max_depth() > MAX_LEVELS {
            return Err(Unsupported(format!("a tree is {} levels deep", ensemble.max_depth())));
        }
        let mut rows = &program.split_rows[..];
        let mut run = (0, 0);
        for tree in &ensemble.trees {
            let shape = Shape::new(tree, &mut rows)?;
            plan.base_value += shape.mean(0);
            plan.points = plan.points.max(shape.n_points());
            for points in quadrature::points(shape.n_points()).chunks(MAX_POINTS) {
                let mut walk = TreeWalk { shape: &shape, sources, points, plan: &mut plan, path: Vec::new() };
                walk.visit(0, 0, false);
            }
            if plan.tables.len() > MAX_OCTETS {
                return Err(Unsupported("its trees are too deep and too many to be explained".into()));
            }
            if (plan.tables.len() - run.1) * size_of::<Octet>() > STEPS_BYTES {
                plan.runs.push(run.0..plan.steps.len());
                run = (plan.steps.len(), plan.tables.len());
            }
        }
        plan.runs.push(run.0..plan.steps.len());
        Ok(plan)
    }
}

/// At most how many bytes an ensemble's plan takes, and how many levels and gates it has.
pub(super) fn bounds(ensemble: &Ensemble) -> (u64, u64, u64) {
    /// A split's own step and two ways down.
    const STEPS: u64 = 3 * size_of::<Step>() as u64;
    /// A unit of two splits has three tables of two octets for each point, any other step fewer; and what aligns them.
    const OCTETS: [u64; 2] = [3, 4];
    let (mut bytes, mut gates) = (0, 0);
    for tree in &ensemble.trees {
        let n_splits = tree.splits().count() as u64;
        let points = tree.depth.div_ceil(2) as u64;
        let walks = points.div_ceil(MAX_POINTS as u64);
        let octets = OCTETS[0] * points + OCTETS[1] * walks;
        bytes += n_splits * (STEPS * walks + octets * size_of::<Octet>() as u64);
        gates += 2 * n_splits;
        bytes += 2 * n_splits * size_of::<BddNode>() as u64;
    }
    (bytes, ensemble.max_depth() as u64 + 1, gates)
}

/// A tree as its walks need it.
struct Shape<'a> {
    tree: &'a Tree,
    /// By node the row of its condition, if it is a split.
    rows: Vec<u32>,
    /// By node the share of the rows at its parent that went there.
    shares: Vec<f64>,
    /// By node the number of splits between it and the furthest leaf below.
    heights: Vec<usize>,
    /// The most features on a path.
    n_features: usize,
}

impl<'a> Shape<'a> {
    /// Takes the rows of the tree's conditions from the front of `rows`.
    fn new(tree: &'a Tree, rows: &mut &[u32]) -> Result<Self, Unsupported> {
        let n_nodes = tree.nodes.len();
        let wrong = |cover: &f32| !(*cover >= 0.0 && cover.is_finite());
        if tree.covers.len() != n_nodes || tree.covers.iter().any(wrong) {
            return Err(Unsupported("a node's cover (sum_hessian) is negative or missing".into()));
        }
        let mut shape = Self {
            tree,
            rows: vec![ZEROS; n_nodes],
            shares: vec![1.0; n_nodes],
            heights: vec![0; n_nodes],
            n_features: 0,
        };
        for (node, split) in splits(tree) {
            if let Some((row, rest)) = rows.split_first() {
                shape.rows[node] = *row;
                *rows = rest;
            }
            for child in [split.left, split.right] {
                let [cover, of] = [tree.covers[child], tree.covers[node]].map(f64::from);
                shape.shares[child] = if of > 0.0 { (cover / of).max(MIN_SHARE) } else { 0.5 };
            }
        }
        // Children come after their parents.
        for (node, split) in splits(tree).collect::<Vec<_>>().into_iter().rev() {
            shape.heights[node] = 1 + shape.heights[split.left].max(shape.heights[split.right]);
        }
        shape.count_features(0, &mut Vec::new());
        Ok(shape)
    }

    fn count_features(&mut self, node: usize, path: &mut Vec<usize>) {
        let Node::Split(split) = &self.tree.nodes[node] else {
            self.n_features = self.n_features.max(path.len());
            return;
        };
        let is_new = !path.contains(&split.feature);
        if is_new {
            path.push(split.feature);
        }
        for child in [split.left, split.right] {
            self.count_features(child, path);
        }
        if is_new {
            path.pop();
        }
    }

    /// Whether there is a split on a feature at or below a node.
    fn occurs(&self, feature: usize, node: usize) -> bool {
        match &self.tree.nodes[node] {
            Node::Leaf(_) => false,
            Node::Split(split) => {
                split.feature == feature || [split.left, split.right].iter().any(|child| self.occurs(feature, *child))
            }
        }
    }

    /// Enough for a polynomial of one degree less than there are features.
    fn n_points(&self) -> usize {
        self.n_features.div_ceil(2)
    }

    /// What the tree predicts when nothing is known: the mean of its leaves by their share of the rows.
    fn mean(&self, node: usize) -> f64 {
        match &self.tree.nodes[node] {
            Node::Leaf(value) => f64::from(*value),
            Node::Split(split) => {
                [split.left, split.right].into_iter().map(|child| self.shares[child] * self.mean(child)).sum()
            }
        }
    }
}

fn splits(tree: &Tree) -> impl Iterator<Item = (usize, &Split)> {
    tree.nodes.iter().enumerate().filter_map(|(node, what)| match what {
        Node::Split(split) => Some((node, split)),
        Node::Leaf(_) => None,
    })
}

/// Writes the steps of one walk through one tree.
struct TreeWalk<'p, 'a> {
    shape: &'p Shape<'a>,
    sources: &'p [u32],
    points: &'p [Point],
    plan: &'p mut Plan,
    path: Vec<Seen>,
}

impl TreeWalk<'_, '_> {
    /// Plans everything at and below a node; a leaf only where the tree is nothing else, and then it contributes nothing.
    fn visit(&mut self, node: usize, level: u16, is_right: bool) {
        let shape = self.shape;
        let Node::Split(split) = &shape.tree.nodes[node] else {
            return;
        };
        if let Some(bits) = self.unit_bits(node) {
            self.unit(node, &bits, level, is_right);
            return;
        }
        let seen = self.seen(split.feature);
        for (child, goes_right) in [(split.left, false), (split.right, true)] {
            if let Node::Leaf(value) = shape.tree.nodes[child] {
                self.child(node, split, level, goes_right, Some(value));
                continue;
            }
            self.child(node, split, level, goes_right, None);
            let (condition, circuit) = (shape.rows[node], &mut self.plan.circuit);
            let met = match goes_right {
                // Nothing below looks at it.
                _ if !shape.occurs(split.feature, child) => ONES,
                true => circuit.mux(condition, seen.met, ZEROS),
                false => circuit.mux(condition, ZEROS, seen.met),
            };
            self.path.push(Seen { feature: split.feature, met, share: seen.share * shape.shares[child] });
            self.visit(child, level + 1, goes_right);
            self.path.pop();
        }
        self.join(node, split, level, is_right);
    }

    /// What the path so far says about a feature.
    fn seen(&self, feature: usize) -> Seen {
        let last = self.path.iter().rev().find(|seen| seen.feature == feature);
        last.copied().unwrap_or(Seen { feature, met: ONES, share: 1.0 })
    }

    fn state(&self, feature: usize, is_met: bool) -> State {
        State { is_met, share: self.seen(feature).share }
    }

    fn step(&self, kind: StepKind, node: usize, feature: usize, level: u16) -> Step {
        let met = self.seen(feature).met;
        Step {
            kind,
            points: self.points.len() as u8,
            outputs: 1,
            octets: 1,
            seen: met != ONES,
            is_right: false,
            level,
            rows: [self.shape.rows[node], met, ZEROS, ZEROS],
            sources: [self.sources[feature]; MAX_OUTPUTS],
            table: self.plan.tables.len() as u32,
        }
    }

    /// The step from a split to one of its children, whose product it makes, or whose sum where it is a leaf.
    fn child(&mut self, node: usize, split: &Split, level: u16, is_right: bool, leaf: Option<f32>) {
        let child = if is_right { split.right } else { split.left };
        let kind = if leaf.is_some() { StepKind::Leaf } else { StepKind::Down };
        let step = Step { is_right, ..self.step(kind, node, split.feature, level) };
        let share = self.shape.shares[child];
        let constant = |walk: &Self, point: Point, was_met: bool, goes_right: bool| {
            let before = walk.state(split.feature, was_met);
            let after = before.then(goes_right == is_right, share);
            let value = leaf.map_or(1.0, |value| f64::from(value) * point.weight);
            value * after.factor(point.at) / before.factor(point.at)
        };
        self.constants(
            |walk, point| constant(walk, point, true, true),
            |walk, point| constant(walk, point, true, false),
        );
        if step.seen {
            self.constants(|walk, point| constant(walk, point, false, false), |_, _| 0.0);
        }
        self.plan.steps.push(step);
    }

    fn join(&mut self, node: usize, split: &Split, level: u16, is_right: bool) {
        let step = Step { is_right, ..self.step(StepKind::Join, node, split.feature, level) };
        for (child, child_is_right) in [(split.left, false), (split.right, true)] {
            let share = self.shape.shares[child];
            let constant = |walk: &Self, point: Point, goes_right: bool| {
                let before = walk.state(split.feature, true);
                let after = before.then(goes_right == child_is_right, share);
                after.extraction(point.at) - before.extraction(point.at)
            };
            self.constants(|walk, point| constant(walk, point, true), |walk, point| constant(walk, point, false));
        }
        self.plan.steps.push(step);
    }

    /// Two constants for each point.
    fn constants(&mut self, one: impl Fn(&Self, Point) -> f64, other: impl Fn(&Self, Point) -> f64) {
        let mut octet = Octet([0.0; 8]);
        let (ones, others) = octet.0.split_at_mut(MAX_POINTS);
        for ((place, beside), point) in ones.iter_mut().zip(others).zip(self.points) {
            *place = one(self, *point) as f32;
            *beside = other(self, *point) as f32;
        }
        self.plan.tables.push(octet);
    }

    /// The rows that decide what a row gets in a unit at a node; none where it is none.
    fn unit_bits(&self, node: usize) -> Option<Vec<u32>> {
        if self.shape.heights[node] > 2 {
            return None;
        }
        let mut bits = Vec::new();
        for (node, split) in self.unit_splits(node) {
            for row in [self.shape.rows[node], self.seen(split.feature).met] {
                if row != ONES && !bits.contains(&row) {
                    bits.push(row);
                }
            }
        }
        (bits.len() <= MAX_BITS).then_some(bits)
    }

    /// A split and those of its children that are splits.
    fn unit_splits(&self, node: usize) -> impl Iterator<Item = (usize, &Split)> {
        let nodes = &self.shape.tree.nodes;
        let split = move |node: usize| match &nodes[node] {
            Node::Split(split) => Some((node, split)),
            Node::Leaf(_) => None,
        };
        let children = split(node).map(|(_, split)| [split.left, split.right]);
        [node].into_iter().chain(children.into_iter().flatten()).filter_map(split)
    }

    fn unit(&mut self, node: usize, bits: &[u32], level: u16, is_right: bool) {
        let mut outputs: Vec<u32> = Vec::new();
        for (_, split) in self.unit_splits(node) {
            let source = self.sources[split.feature];
            if !outputs.contains(&source) {
                outputs.push(source);
            }
        }
        // A table of 16 constants begins where a register of as many can be loaded at once.
        let octets = (1_usize << bits.len()).div_ceil(8);
        while !self.plan.tables.len().is_multiple_of(octets) {
            self.plan.tables.push(Octet([0.0; 8]));
        }
        let mut step = Step {
            outputs: outputs.len() as u8,
            octets: octets as u8,
            is_right,
            rows: [ZEROS; MAX_BITS],
            ..self.step(StepKind::Unit, node, 0, level)
        };
        for (place, row) in step.rows.iter_mut().zip(bits) {
            *place = *row;
        }
        for (place, source) in step.sources.iter_mut().zip(&outputs) {
            *place = *source;
        }
        // By output (the sum first), point and pattern.
        let size = octets * 8;
        let mut tables = vec![0.0; (1 + outputs.len()) * self.points.len() * size];
        for (index, point) in self.points.iter().enumerate() {
            for pattern in 0..1 << bits.len() {
                let mut found = vec![0.0; outputs.len()];
                let mut below =
                    Below { walk: self, bits, pattern, point: *point, outputs: &outputs, found: &mut found };
                let sum = below.sum(node, 1.0, None);
                for (output, value) in [sum].into_iter().chain(found).enumerate() {
                    tables[(output * self.points.len() + index) * size + pattern] = value as f32;
                }
            }
        }
        self.plan.tables.extend(tables.as_chunks::<8>().0.iter().map(|values| Octet(*values)));
        self.plan.steps.push(step);
    }
}

/// The leaves below the root of a unit, for one pattern of its bits and one point.
struct Below<'b> {
    walk: &'b TreeWalk<'b, 'b>,
    bits: &'b [u32],
    pattern: usize,
    point: Point,
    outputs: &'b [u32],
    /// By output the contributions so far.
    found: &'b mut Vec<f64>,
}

impl Below<'_> {
    fn bit(&self, row: u32) -> bool {
        let place = self.bits.iter().position(|bit| *bit == row);
        place.is_none_or(|place| self.pattern >> place & 1 == 1)
    }

    /// The sum at a node, where the product is `product` times that at the unit's root; `above` is the feature of the
    /// unit's root, and its state at the node.
    fn sum(&mut self, node: usize, product: f64, above: Option<(usize, State)>) -> f64 {
        let shape = self.walk.shape;
        let split = match &shape.tree.nodes[node] {
            Node::Leaf(value) => return f64::from(*value) * self.point.weight * product,
            Node::Split(split) => split,
        };
        let seen = self.walk.seen(split.feature);
        let before = match above {
            Some((feature, state)) if feature == split.feature => state,
            _ => State { is_met: self.bit(seen.met), share: seen.share },
        };
        let goes_right = self.bit(shape.rows[node]);
        let mut sum = 0.0;
        for (child, is_right) in [(split.left, false), (split.right, true)] {
            let after = before.then(goes_right == is_right, shape.shares[child]);
            let at = self.point.at;
            let below = self.sum(child, product * after.factor(at) / before.factor(at), Some((split.feature, after)));
            let contribution = below * (after.extraction(at) - before.extraction(at));
            let source = self.walk.sources[split.feature];
            for (output, found) in self.outputs.iter().zip(self.found.iter_mut()) {
                *found += if *output == source { contribution } else { 0.0 };
            }
            sum += below;
        }
        sum
    }
}
