//! Models to compare by: what they are trained with, given or drawn.

use proptest::prelude::*;

use super::random::{self, Random};
use super::xgb::{Booster, Matrix, Table};

/// What a model is trained with.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) n_rows: usize,
    pub(crate) n_numeric: usize,
    pub(crate) levels: Vec<usize>,
    pub(crate) missing: f32,
    pub(crate) rounds: i32,
    pub(crate) parameters: Vec<(&'static str, String)>,
}

impl Plan {
    /// So many rows of eight numbers and two categories, and twenty rounds.
    pub(crate) fn of_rows(n_rows: usize, seed: u64, parameters: &[(&'static str, &str)]) -> Self {
        let parameters = parameters.iter().map(|(name, value)| (*name, (*value).into())).collect();
        Self { seed, n_rows, n_numeric: 8, levels: vec![3, 40], missing: 0.2, rounds: 20, parameters }
    }

    /// The table, and the model that has learnt from it.
    pub(crate) fn train(&self) -> (Table, Booster) {
        let random = &mut Random(self.seed);
        let table = random::table(random, self.n_rows, self.n_numeric, &self.levels, self.missing);
        let labels = random::labels(random, &table);
        let mut parameters = self.parameters.clone();
        parameters.push(("nthread", "2".into()));
        let booster = Booster::train(&Matrix::new(&table, &labels), &parameters, self.rounds);
        (table, booster)
    }
}

/// Plans of every kind, of at most so many rows, and levels of a category.
pub(crate) fn plans(most_rows: usize, most_levels: usize) -> impl Strategy<Value = Plan> {
    let shape = (any::<u64>(), 50..most_rows, 1_usize..12, prop::collection::vec(2..most_levels, 0..4));
    let data = (0.0_f32..0.6, 1_i32..15);
    let tree = (1_u32..10, prop::sample::select(vec!["depthwise", "lossguide"]), 2_u32..300);
    let bins = (prop::sample::select(vec!["hist", "approx"]), 2_u32..700, 1_u32..200);
    (shape, data, tree, bins).prop_map(|(shape, data, tree, bins)| Plan {
        seed: shape.0,
        n_rows: shape.1,
        n_numeric: shape.2,
        levels: shape.3,
        missing: data.0,
        rounds: data.1,
        parameters: vec![
            ("max_depth", tree.0.to_string()),
            ("grow_policy", tree.1.into()),
            ("max_leaves", tree.2.to_string()),
            ("tree_method", bins.0.into()),
            ("max_bin", bins.1.to_string()),
            ("max_cat_to_onehot", bins.2.to_string()),
            ("min_child_weight", "0.1".into()),
        ],
    })
}
