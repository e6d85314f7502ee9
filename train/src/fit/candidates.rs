//! Parameters that a search tries where the user sets none.

use xgboost::{ParamError, Params};

use super::learning_rate::TRIAL_ETA;
use super::ranking::{Candidate, Ranking, depth};

/// Parameters by name.
type Set = &'static [(&'static str, &'static str)];

/// What is always tried; the first is the one that encodings are compared with.
const ALWAYS: [Set; 4] = [
    &[("max_depth", "6"), ("subsample", "0.8"), ("colsample_bynode", "0.5"), ("min_child_weight", "5")],
    &[("max_depth", "4"), ("subsample", "0.8"), ("colsample_bynode", "0.5")],
    &[("max_depth", "6")],
    &[("max_depth", "6"), ("subsample", "0.8"), ("colsample_bytree", "0.8")],
];

/// What is tried besides where depth 6 does better than depth 4: trees that follow every detail. The second are the defaults of
/// XGBoost that were tuned on many tables for pytabkit (Holzmüller, Grinsztajn, Steinwart, "Better by Default", 2024).
const DEEPER: [Set; 2] = [
    &[("max_depth", "9"), ("subsample", "0.8"), ("colsample_bytree", "0.8"), ("min_child_weight", "5")],
    &[
        ("max_depth", "9"),
        ("subsample", "0.7"),
        ("colsample_bylevel", "0.9"),
        ("min_child_weight", "2"),
        ("lambda", "0"),
    ],
];

/// What is tried besides where depth 4 does better: shallow or heavily regularised trees.
const SHALLOWER: [Set; 4] = [
    &[("max_depth", "2"), ("subsample", "0.5"), ("colsample_bynode", "0.3")],
    &[("max_depth", "3"), ("subsample", "0.8"), ("colsample_bynode", "0.5")],
    &[
        ("max_depth", "4"),
        ("subsample", "0.8"),
        ("colsample_bynode", "0.3"),
        ("min_child_weight", "10"),
        ("lambda", "10"),
    ],
    &[
        ("grow_policy", "lossguide"),
        ("max_depth", "0"),
        ("max_leaves", "31"),
        ("min_child_weight", "20"),
        ("subsample", "0.8"),
        ("colsample_bynode", "0.5"),
    ],
];
/// Depths 6 and 4 do equally well where the difference is a smaller part of the metric than this, or than this over the root of the rows
/// that judge, which is about its standard error.
const EQUALLY_WELL: (f64, f64) = (0.002, 0.3);

/// Parameters that say what is learnt, not how: setting them leaves the search free.
const OF_THE_TASK: [&str; 9] = [
    "objective",
    "eval_metric",
    "base_score",
    "quantile_alpha",
    "expectile_alpha",
    "huber_slope",
    "tweedie_variance_power",
    "max_bin",
    "max_cat_to_onehot",
];

/// Whether the user left it to the program how to learn.
#[must_use]
pub fn leaves_learning_open(set_by_user: &Params) -> bool {
    set_by_user.iter().all(|(name, _)| OF_THE_TASK.contains(&name))
}

/// The sets of parameters to try, the next one by what came of those before.
#[derive(Debug, Clone)]
pub(super) struct Candidates {
    first: Params,
    /// Still to be tried, the next one last.
    waiting: Vec<Params>,
    deeper: Vec<Params>,
    shallower: Vec<Params>,
    /// In which direction trials went on, and why, once that is decided.
    pub(super) direction: Option<(&'static str, String)>,
}

impl Candidates {
    /// Parameters that are not searched for.
    pub(super) fn given(params: Params) -> Self {
        Self { first: params, waiting: Vec::new(), deeper: Vec::new(), shallower: Vec::new(), direction: None }
    }

    /// Those of a search, with what the user set about the task, and trees of at most so many nodes.
    ///
    /// # Errors
    /// [`ParamError`] where the tables above hold what XGBoost does not know.
    pub(super) fn of_search(set_by_user: &Params, most_nodes: u64) -> Result<Self, ParamError> {
        let of = |set: &Set| {
            let mut params = Params::parse(set.iter().copied())?;
            params.set("objective", "reg:squarederror")?;
            params.set("eta", &TRIAL_ETA.to_string())?;
            Ok(params.merged(set_by_user.clone()))
        };
        let reversed = |sets: &[Set]| sets.iter().rev().map(of).collect::<Result<Vec<Params>, ParamError>>();
        let (first, others) = (of(&ALWAYS[0])?, &ALWAYS[1..]);
        let (waiting, mut deeper, shallower) = (reversed(others)?, reversed(&DEEPER)?, reversed(&SHALLOWER)?);
        deeper.retain(|params| depth(params) <= most_nodes.ilog2());
        Ok(Self { first, waiting, deeper, shallower, direction: None })
    }

    /// The one that encodings are compared with.
    pub(super) fn first(&self) -> &Params {
        &self.first
    }

    /// What a search is planned for: one deep set besides what is always tried. Others are no more costly, or given up early.
    pub(super) fn planned(&self) -> Vec<&Params> {
        std::iter::once(&self.first).chain(&self.waiting).chain(self.deeper.last()).collect()
    }

    /// Sets the learning rate of all.
    ///
    /// # Errors
    /// [`ParamError`] for what is no learning rate.
    pub(super) fn learn_at(&mut self, eta: f64) -> Result<(), ParamError> {
        let Self { first, waiting, deeper, shallower, .. } = self;
        let all = std::iter::once(first).chain(waiting).chain(deeper).chain(shallower);
        all.into_iter().try_for_each(|params| params.set("eta", &eta.to_string()))
    }

    /// The next set, given how those before it ranked. Deep trees gain from more rows than those of a sample, so the first of them
    /// is tried there anyway.
    pub(super) fn next(&mut self, ranking: &Ranking, rows: usize, is_sample: bool) -> Option<Params> {
        if let Some(params) = self.waiting.pop() {
            return Some(params);
        }
        if self.direction.is_some() || self.deeper.is_empty() && self.shallower.is_empty() {
            return None;
        }
        let best = |is_deep: bool| {
            let of_depth = ranking.candidates.iter().filter(|one| (depth(&one.params) >= 6) == is_deep);
            of_depth.map(Candidate::standing).fold(f64::INFINITY, f64::min)
        };
        let (deep, shallow) = (best(true), best(false));
        let (deeper, shallower) = (std::mem::take(&mut self.deeper), std::mem::take(&mut self.shallower));
        let tie = 1.0 + EQUALLY_WELL.0.max(EQUALLY_WELL.1 / (rows.max(1) as f64).sqrt());
        let direction = if deep * tie < shallow {
            self.waiting = deeper;
            "deeper"
        } else if shallow * tie < deep {
            self.waiting = shallower;
            self.waiting.extend(deeper.into_iter().last().filter(|_| is_sample));
            "shallower"
        } else {
            self.waiting = deeper.into_iter().chain(shallower).collect();
            "both"
        };
        self.direction = Some((direction, format!("depth 6 came to {deep:.6}, depth 4 to {shallow:.6}")));
        self.waiting.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::super::histograms;
    use super::super::trial::Outcome;
    use super::*;
    use crate::encodings::EncodingScheme;

    /// All that a search tries where the best standing of each depth is this.
    fn tried(deep: f64, shallow: f64, is_sample: bool, user: &Params) -> (Vec<Params>, Candidates) {
        let mut candidates = Candidates::of_search(user, histograms::MOST_NODES).unwrap();
        let (mut ranking, mut tried) = (Ranking::default(), vec![candidates.first().clone()]);
        loop {
            let params = tried.last().unwrap().clone();
            let value = if depth(&params) >= 6 { deep } else { shallow };
            let scheme = EncodingScheme { name: "none".into(), encodings: Vec::new() };
            ranking.insert(Candidate::judged(scheme, params, Outcome { value, ..Outcome::new() }));
            match candidates.next(&ranking, 10_000, is_sample) {
                Some(params) => tried.push(params),
                None => return (tried, candidates),
            }
        }
    }

    #[test]
    fn xgboost_takes_every_candidate() {
        let (all, _) = tried(1.0, 1.0, false, &Params::default());
        assert_eq!(all.len(), ALWAYS.len() + DEEPER.len() + SHALLOWER.len());
        for params in all {
            let feature = xgboost::Feature { name: "x".to_owned(), kind: xgboost::FeatureKind::Number };
            xgboost::dry_run(&params, &[feature]).unwrap();
        }
    }

    #[test]
    fn deep_trees_are_tried_where_they_have_room() {
        let deepest = |most_nodes| {
            let candidates = Candidates::of_search(&Params::default(), most_nodes).unwrap();
            candidates.planned().into_iter().map(depth).max()
        };
        assert_eq!([histograms::MOST_NODES, histograms::USUAL_NODES].map(deepest), [Some(9), Some(6)]);
    }

    #[test]
    fn what_the_user_says_of_the_task_stands_in_every_candidate() {
        let user = Params::parse([("objective", "reg:absoluteerror")]).unwrap();
        assert!(leaves_learning_open(&user));
        assert!(tried(1.0, 1.0, false, &user).0.iter().all(|params| params.objective() == "reg:absoluteerror"));
        assert!(!leaves_learning_open(&Params::parse([("max_depth", "6")]).unwrap()));
    }

    #[test]
    fn trials_go_on_in_the_direction_in_which_depth_helps() {
        let depths = |deep, shallow, is_sample| {
            let (tried, candidates) = tried(deep, shallow, is_sample, &Params::default());
            let depths: Vec<u32> = tried[ALWAYS.len()..].iter().map(depth).collect();
            (candidates.direction.unwrap().0, depths)
        };
        assert_eq!(depths(1.0, 1.1, false), ("deeper", vec![9, 9]));
        assert_eq!(depths(1.1, 1.0, false), ("shallower", vec![2, 3, 4, 0]));
        assert_eq!(depths(1.1, 1.0, true), ("shallower", vec![9, 2, 3, 4, 0]));
    }
}
