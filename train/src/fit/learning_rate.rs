//! Learning rates of trials and of the model, and the rounds that they take.

use xgboost::Params;

/// Learning rate of trials: high, so that few rounds tell sets of parameters apart. The final model learns more slowly.
pub(super) const TRIAL_ETA: f64 = 0.2;
/// The same where the budget affords twice the rounds: the nearer to that of the final model, the better trials tell.
pub(super) const SLOWER_TRIAL_ETA: f64 = 0.1;

/// Learning rates of the final model, the slowest first: the first that can be afforded is taken.
pub(super) const FINAL_ETAS: [f64; 7] = [0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2];

/// Rounds without an improvement that end the choice of rounds at a learning rate of 0.1.
const PATIENCE: f64 = 50.0;
/// The model is fitted to more rows than its rounds were chosen on, so it takes one round in this many more.
const MORE_ROUNDS: u32 = 10;

/// Rounds without an improvement that end a trial at a learning rate: the slower it learns, the longer it waits.
pub(super) fn patience(eta: f64) -> u32 {
    (PATIENCE * (0.1 / eta).max(1.0)) as u32
}

/// Rounds of a model that is fitted to all rows, where so many were best for some of them.
pub(super) fn on_all_rows(rounds: u32) -> u32 {
    rounds + rounds / MORE_ROUNDS
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
    fn a_model_learns_as_slowly_as_can_be_afforded() {
        let tried = |rounds, eta| Tried { rounds, eta };
        assert_eq!(tried(100, 0.2).final_eta(5_000), 0.02);
        assert_eq!(tried(100, 0.2).final_eta(300), 0.1);
        assert_eq!(tried(100, 0.1).final_eta(300), 0.05);
        assert_eq!(tried(1_000, 0.2).final_eta(10), TRIAL_ETA);
    }
}
