//! A trained model as its trees: what [`Scorer`](super::Scorer) compiles, and the check that a `model.ubj` must pass
//! before XGBoost's C++ loader sees it.

use std::fmt;

use super::objective::Link;

/// Why a `model.ubj` was not read. The text is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnsembleError {
    /// The bytes are not a sound model. They must not be given to XGBoost, whose loader trusts what it reads.
    Damaged(String),
    /// Sound, all of it checked, but of a kind that only XGBoost itself can score: dart, or several outputs.
    Unsupported(String),
    /// A kind of model that `train` never writes and this reader does not check (linear, vector leaves, pandas
    /// categories). It must not be given to XGBoost either.
    Foreign(String),
}

impl std::error::Error for EnsembleError {}

impl fmt::Display for EnsembleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(formatter, "the model is damaged: {what}"),
            Self::Unsupported(what) => write!(formatter, "the model can only be scored by XGBoost: {what}"),
            Self::Foreign(what) => write!(formatter, "the model is of a kind that this program does not write: {what}"),
        }
    }
}

impl EnsembleError {
    /// Whether XGBoost must not be given the bytes.
    #[must_use]
    pub fn forbids_xgboost(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::Foreign(_) => true,
            Self::Unsupported(_) => false,
        }
    }
}

/// What kind of values a feature has, as the model's `feature_types` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureType {
    /// A number (`q` or `float`, `int`, `i`).
    Numeric,
    /// A category, given as its code (`c`).
    Categorical,
}

/// A trained gradient-boosted ensemble with one output.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    pub(super) n_features: usize,
    pub(super) objective: String,
    pub(super) link: Option<Link>,
    pub(super) base_score: f32,
    pub(super) base_margin: f32,
    pub(super) feature_types: Vec<FeatureType>,
    pub(super) trees: Vec<Tree>,
}

/// One regression tree; its root is node 0, every child comes after its parent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tree {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// The category sets of its nodes, one after the other.
    pub categories: Vec<u32>,
    /// By node the sum of the second derivatives of its training rows: its rows' weight where it is asked how many of a
    /// node's rows go either way.
    pub covers: Vec<f32>,
    /// The number of splits between the root and the furthest leaf.
    pub depth: usize,
}

/// A node of a tree.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// What the tree adds to the margin.
    Leaf(f32),
    /// A question, and where each answer leads.
    Split(Split),
}

/// A node that asks a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// The column of the matrix that it asks about.
    pub feature: usize,
    /// What it asks.
    pub question: Question,
    /// Where a missing value goes.
    pub default_left: bool,
    /// The node to the left.
    pub left: usize,
    /// The node to the right.
    pub right: usize,
}

/// What a node asks of a value that is not missing.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// A value below the threshold goes left.
    Below(f32),
    /// A code among `tree.categories[range]` goes right; any other, whether known, negative or too large, left.
    Among(std::ops::Range<usize>),
}

impl Ensemble {
    /// The number of columns that the model was trained on.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// XGBoost's name of the objective, such as `reg:squarederror`.
    #[must_use]
    pub fn objective(&self) -> &str {
        &self.objective
    }

    /// The model's base score, in units of the prediction.
    #[must_use]
    pub fn base_score(&self) -> f32 {
        self.base_score
    }

    /// The kinds of the features in order; empty where the model does not say.
    #[must_use]
    pub fn feature_types(&self) -> &[FeatureType] {
        &self.feature_types
    }

    /// What the trees are added to.
    #[must_use]
    pub fn base_margin(&self) -> f32 {
        self.base_margin
    }

    /// How the margin becomes the prediction; none where this crate does not know the objective.
    #[must_use]
    pub fn link(&self) -> Option<Link> {
        self.link
    }

    /// The trees, in the order in which XGBoost adds them.
    #[must_use]
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The number of trees.
    #[must_use]
    pub fn n_trees(&self) -> usize {
        self.trees.len()
    }

    /// The number of splits between the root and the furthest leaf of any tree.
    #[must_use]
    pub fn max_depth(&self) -> usize {
        self.trees.iter().map(|tree| tree.depth).max().unwrap_or(0)
    }

    /// The number of leaves of the tree with the most.
    #[must_use]
    pub fn max_leaves(&self) -> usize {
        self.trees.iter().map(Tree::n_leaves).max().unwrap_or(0)
    }
}

impl Tree {
    pub(super) fn n_leaves(&self) -> usize {
        // Every split has two children, so there is one leaf more than splits.
        self.nodes.len() / 2 + 1
    }
}
