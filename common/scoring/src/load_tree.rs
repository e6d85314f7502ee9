//! One tree of a `model.ubj`: arrays of one value per node, checked and rewritten as nodes in order of the descent.

use std::ops::Range;

use super::ensemble::{Node, Question, Split, Tree};
use super::object::{Loaded, Object, damaged, foreign};
use super::side_by_side::side_by_side;
use super::ubj::{TypedArray, Value};

/// Deeper trees would exhaust the stack of XGBoost's recursive functions.
const MAX_TREE_DEPTH: usize = 4096;
/// Codes from here on cannot be told apart as `f32` (`common::OutOfRangeCat`).
const MAX_CATEGORY: u32 = 1 << 24;
/// XGBoost keeps a category set as bits up to its largest code: the most that a model may take for that.
const MAX_SET_BYTES: u64 = 1 << 30;
/// XGBoost's mark of the root's parent, and of the split feature of a pruned node.
const NONE: i32 = i32::MAX;
const NO_CHILD: i32 = -1;

/// The trees of a model, read by up to so many threads.
pub(super) fn trees(values: &[Value<'_>], n_features: usize, threads: usize) -> Loaded<Vec<Tree>> {
    let read = |index: usize| {
        let fields = Object::new(format!("trees[{index}]"), &values[index])?;
        if fields.get("id")? != &Value::Integer(index as i64) {
            return fields.wrong("id", "is not the tree's place");
        }
        let arrays = Arrays::read(&fields)?;
        arrays.check_links(&fields, n_features)?;
        let sets = CategorySets::read(&fields, arrays.n_nodes)?;
        let set_bytes = sets.bytes;
        Ok((arrays.descend(&fields, sets)?, set_bytes))
    };
    let (mut trees, mut set_bytes) = (Vec::with_capacity(values.len()), 0);
    for read in side_by_side(threads, values.len(), read) {
        let (tree, bytes) = read?;
        set_bytes += bytes;
        if set_bytes > MAX_SET_BYTES {
            return damaged("its category sets take more than 1 GiB");
        }
        trees.push(tree);
    }
    Ok(trees)
}

/// What XGBoost keeps of every node.
struct Arrays {
    n_nodes: usize,
    n_deleted: usize,
    left: Vec<i32>,
    right: Vec<i32>,
    parents: Vec<i32>,
    features: Vec<i32>,
    conditions: Vec<f32>,
    covers: Vec<f32>,
    default_left: Vec<u8>,
}

impl Arrays {
    fn read(fields: &Object<'_, '_>) -> Loaded<Self> {
        let parameters = fields.object("tree_param")?;
        if parameters.count("size_leaf_vector")? > 1 {
            return foreign("its leaves are vectors");
        }
        parameters.count("num_feature")?;
        let n_nodes = parameters.count("num_nodes")?;
        if n_nodes == 0 {
            return parameters.wrong("num_nodes", "is zero");
        }
        for unused in ["loss_changes", "base_weights"] {
            floats(fields, unused, n_nodes)?;
        }
        Ok(Self {
            n_nodes,
            n_deleted: parameters.count("num_deleted")?,
            left: integers(fields, "left_children", n_nodes)?,
            right: integers(fields, "right_children", n_nodes)?,
            parents: integers(fields, "parents", n_nodes)?,
            features: integers(fields, "split_indices", n_nodes)?,
            conditions: floats(fields, "split_conditions", n_nodes)?,
            covers: floats(fields, "sum_hessian", n_nodes)?,
            default_left: flags(fields, "default_left", n_nodes)?.to_vec(),
        })
    }

    fn is_leaf(&self, node: usize) -> bool {
        self.left[node] == NO_CHILD
    }

    fn is_deleted(&self, node: usize) -> bool {
        self.features[node] == NONE && self.default_left[node] == 1
    }

    /// Indices that XGBoost follows without looking: parents, and the features of every node.
    fn check_links(&self, fields: &Object<'_, '_>, n_features: usize) -> Loaded<()> {
        let within = |index: i32, end: usize| usize::try_from(index).is_ok_and(|index| index < end);
        if self.parents[0] != NONE || self.is_deleted(0) {
            return fields.wrong("parents", "does not start with a root");
        }
        if !self.parents[1..].iter().all(|parent| within(*parent, self.n_nodes)) {
            return fields.wrong("parents", "leaves the tree");
        }
        let feature_is_sound = |node: usize| self.is_deleted(node) || within(self.features[node], n_features);
        if !(0..self.n_nodes).all(feature_is_sound) {
            return fields.wrong("split_indices", "names a feature that does not exist");
        }
        let n_deleted = (0..self.n_nodes).filter(|node| self.is_deleted(*node)).count();
        if n_deleted != self.n_deleted {
            return fields.wrong("tree_param", "does not count the deleted nodes");
        }
        Ok(())
    }

    /// Walks the tree from its root, parents before children. Every node is met once, so there is no cycle.
    fn descend(&self, fields: &Object<'_, '_>, mut sets: CategorySets) -> Loaded<Tree> {
        let mut places = vec![Place::default()];
        let (mut nodes, mut covers) = (Vec::new(), Vec::new());
        let mut met = vec![false; self.n_nodes];
        let mut depth = 0;
        while let Some(&place) = places.get(nodes.len()) {
            if std::mem::replace(&mut met[place.node], true) {
                return fields.wrong("left_children", "meets a node twice");
            }
            depth = depth.max(place.depth);
            covers.push(self.covers[place.node]);
            if self.is_leaf(place.node) {
                nodes.push(Node::Leaf(self.conditions[place.node]));
                continue;
            }
            if place.depth == MAX_TREE_DEPTH {
                return fields.wrong("left_children", "goes deeper than any model");
            }
            let children = [self.left[place.node], self.right[place.node]];
            let split = self.split(place.node, places.len(), &mut sets);
            for child in children {
                places.push(self.child(fields, place, child)?);
            }
            let Some(split) = split else {
                return fields.wrong("categories_nodes", "lacks a categorical node");
            };
            nodes.push(Node::Split(split));
        }
        Ok(Tree { nodes, categories: sets.categories, covers, depth })
    }

    fn child(&self, fields: &Object<'_, '_>, parent: Place, child: i32) -> Loaded<Place> {
        let node = usize::try_from(child).unwrap_or(usize::MAX);
        let expected_parent = i32::try_from(parent.node).unwrap_or(NONE);
        if node >= self.n_nodes || node == 0 || self.is_deleted(node) || self.parents[node] != expected_parent {
            return fields.wrong("left_children", "or right_children does not lead to a child");
        }
        Ok(Place { node, depth: parent.depth + 1 })
    }

    fn split(&self, node: usize, left: usize, sets: &mut CategorySets) -> Option<Split> {
        let question = match sets.is_categorical[node] {
            true => Question::Among(sets.of_node[node].clone()?),
            false => Question::Below(self.conditions[node]),
        };
        Some(Split {
            feature: usize::try_from(self.features[node]).ok()?,
            question,
            default_left: self.default_left[node] == 1,
            left,
            right: left + 1,
        })
    }
}

/// A node on the way down.
#[derive(Clone, Copy, Default)]
struct Place {
    node: usize,
    depth: usize,
}

/// The category sets of a tree (`RegTree::LoadCategoricalSplit`).
struct CategorySets {
    is_categorical: Vec<bool>,
    of_node: Vec<Option<Range<usize>>>,
    categories: Vec<u32>,
    /// What XGBoost takes for them.
    bytes: u64,
}

impl CategorySets {
    fn read(fields: &Object<'_, '_>, n_nodes: usize) -> Loaded<Self> {
        let is_categorical: Vec<bool> = flags(fields, "split_type", n_nodes)?.iter().map(|kind| *kind == 1).collect();
        let categories = Self::categories(fields)?;
        let nodes = integers_of_any_length(fields, "categories_nodes")?;
        let starts = long_integers(fields, "categories_segments", nodes.len())?;
        let sizes = long_integers(fields, "categories_sizes", nodes.len())?;
        let in_order = nodes.windows(2).all(|pair| pair[0] < pair[1]);
        let marked = is_categorical.iter().filter(|marked| **marked).count();
        if !in_order || marked != nodes.len() {
            return fields.wrong("categories_nodes", "does not list the categorical nodes");
        }
        let (mut of_node, mut bytes) = (vec![None; n_nodes], 0);
        for (index, node) in nodes.into_iter().enumerate() {
            let range = range(starts[index], sizes[index], categories.len());
            let place = usize::try_from(node).ok().filter(|node| is_categorical.get(*node) == Some(&true));
            let (Some(range), Some(node)) = (range, place) else {
                return fields.wrong("categories_nodes", "and its segments do not fit");
            };
            let largest = categories[range.clone()].iter().max().copied().unwrap_or(0);
            bytes += u64::from(largest / 8) + 4;
            of_node[node] = Some(range);
        }
        Ok(Self { is_categorical, of_node, categories, bytes })
    }

    fn categories(fields: &Object<'_, '_>) -> Loaded<Vec<u32>> {
        let code = |code: i32| match u32::try_from(code) {
            Ok(code) if code < MAX_CATEGORY => Ok(code),
            _ => fields.wrong("categories", "holds a code out of range"),
        };
        integers_of_any_length(fields, "categories")?.into_iter().map(code).collect()
    }
}

/// `start..start + size`, if it is not empty and lies within `length`.
fn range(start: i64, size: i64, length: usize) -> Option<Range<usize>> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    (start < end && end <= length).then_some(start..end)
}

fn typed<'a>(fields: &Object<'_, 'a>, name: &str) -> Loaded<TypedArray<'a>> {
    match fields.get(name)? {
        Value::Typed(array) => Ok(*array),
        _ => fields.wrong(name, "is not a typed array"),
    }
}

fn sized<T>(fields: &Object<'_, '_>, name: &str, values: Option<Vec<T>>, size: usize) -> Loaded<Vec<T>> {
    match values {
        Some(values) if values.len() == size => Ok(values),
        Some(_) => fields.wrong(name, "does not have one value per node"),
        None => fields.wrong(name, "is an array of another type"),
    }
}

fn floats(fields: &Object<'_, '_>, name: &str, size: usize) -> Loaded<Vec<f32>> {
    sized(fields, name, typed(fields, name)?.floats().map(Iterator::collect), size)
}

fn integers(fields: &Object<'_, '_>, name: &str, size: usize) -> Loaded<Vec<i32>> {
    sized(fields, name, typed(fields, name)?.integers().map(Iterator::collect), size)
}

fn long_integers(fields: &Object<'_, '_>, name: &str, size: usize) -> Loaded<Vec<i64>> {
    sized(fields, name, typed(fields, name)?.long_integers().map(Iterator::collect), size)
}

fn integers_of_any_length(fields: &Object<'_, '_>, name: &str) -> Loaded<Vec<i32>> {
    match typed(fields, name)?.integers() {
        Some(values) => Ok(values.collect()),
        None => fields.wrong(name, "is an array of another type"),
    }
}

/// Bytes that are 0 or 1.
fn flags<'a>(fields: &Object<'_, 'a>, name: &str, size: usize) -> Loaded<&'a [u8]> {
    match typed(fields, name)?.bytes() {
        Some(flags) if flags.len() == size && flags.iter().all(|flag| *flag <= 1) => Ok(flags),
        _ => fields.wrong(name, "does not have one flag per node"),
    }
}
