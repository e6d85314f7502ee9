//! Parameters that a search tries where the user sets none.

use xgboost::{ParamError, Params};

/// Learning rate of trials: high, so that few rounds tell sets of parameters apart. The final model learns more slowly.
pub(super) const TRIAL_ETA: f64 = 0.2;
/// The same where the budget affords twice the rounds: the nearer to that of the final model, the better trials tell.
pub(super) const SLOWER_TRIAL_ETA: f64 = 0.1;

/// Learning rates of the final model, the slowest first: the first that can be afforded is taken.
pub(super) const FINAL_ETAS: [f64; 5] = [0.02, 0.03, 0.05, 0.1, 0.2];

/// From trees that follow every detail to heavily regularised ones, the most promising first: time may not suffice for all.
/// The first is the one that encodings are compared with.
const CANDIDATES: [&[(&str, &str)]; 10] = [
    &[("max_depth", "6"), ("subsample", "0.8"), ("colsample_bynode", "0.5"), ("min_child_weight", "5")],
    &[("max_depth", "4"), ("subsample", "0.8"), ("colsample_bynode", "0.5")],
    &[("max_depth", "6")],
    &[("max_depth", "6"), ("subsample", "0.8"), ("colsample_bytree", "0.8")],
    &[("max_depth", "6"), ("subsample", "0.8"), ("colsample_bynode", "0.5"), ("lambda", "3")],
    &[("max_depth", "3"), ("subsample", "0.8"), ("colsample_bynode", "0.5")],
    &[
        ("grow_policy", "lossguide"),
        ("max_depth", "0"),
        ("max_leaves", "31"),
        ("min_child_weight", "20"),
        ("subsample", "0.8"),
        ("colsample_bynode", "0.5"),
    ],
    &[("max_depth", "4"), ("subsample", "0.8")],
    &[("max_depth", "9"), ("subsample", "0.8"), ("colsample_bytree", "0.8"), ("min_child_weight", "5")],
    &[
        ("max_depth", "4"),
        ("subsample", "0.8"),
        ("colsample_bynode", "0.3"),
        ("min_child_weight", "10"),
        ("lambda", "10"),
    ],
];

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

/// The sets of parameters to try, with what the user set about the task.
///
/// # Errors
/// [`ParamError`] where the tables above hold what XGBoost does not know.
pub(super) fn candidates(set_by_user: &Params) -> Result<Vec<Params>, ParamError> {
    let candidate = |pairs: &&[(&str, &str)]| {
        let mut params = Params::parse(pairs.iter().copied())?;
        params.set("objective", "reg:squarederror")?;
        params.set("eta", &TRIAL_ETA.to_string())?;
        Ok(params.merged(set_by_user.clone()))
    };
    CANDIDATES.iter().map(candidate).collect()
}

/// The learning rate of some parameters.
#[must_use]
pub(super) fn eta_of(params: &Params) -> f64 {
    params.get("eta").and_then(|eta| eta.parse().ok()).unwrap_or(0.3)
}

/// Rounds, and the learning rate at which a trial took them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tried {
    pub(super) rounds: u32,
    pub(super) eta: f64,
}

impl Tried {
    /// Rounds at another learning rate that correspond to these; more rows and a lower rate take some more.
    #[must_use]
    pub(super) fn rounds_at(self, eta: f64) -> f64 {
        1.3 * f64::from(self.rounds) * self.eta / eta
    }

    /// The slowest learning rate with which the model is expected to be done in `affordable` rounds.
    #[must_use]
    pub(super) fn final_eta(self, affordable: u32) -> f64 {
        let fits = |eta: &&f64| self.rounds_at(**eta) <= f64::from(affordable);
        FINAL_ETAS.iter().find(fits).copied().unwrap_or(TRIAL_ETA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xgboost_takes_every_candidate() {
        for params in candidates(&Params::default()).unwrap() {
            let feature = xgboost::Feature { name: "x".to_owned(), kind: xgboost::FeatureKind::Number };
            xgboost::dry_run(&params, &[feature]).unwrap();
        }
    }

    #[test]
    fn what_the_user_says_of_the_task_stands_in_every_candidate() {
        let user = Params::parse([("objective", "reg:absoluteerror")]).unwrap();
        assert!(leaves_learning_open(&user));
        assert!(candidates(&user).unwrap().iter().all(|params| params.objective() == "reg:absoluteerror"));
        assert!(!leaves_learning_open(&Params::parse([("max_depth", "6")]).unwrap()));
    }

    #[test]
    fn a_model_learns_as_slowly_as_can_be_afforded() {
        let tried = |rounds, eta| Tried { rounds, eta };
        assert_eq!(tried(100, 0.2).final_eta(5_000), 0.02);
        assert_eq!(tried(100, 0.2).final_eta(300), 0.1);
        assert_eq!(tried(100, 0.1).final_eta(300), 0.05);
        assert_eq!(tried(1_000, 0.2).final_eta(10), TRIAL_ETA);
    }
}
