//! The candidates of a search and how they rank.

use std::collections::BTreeMap;

use error::Result;
use scoring::Link;
use xgboost::Params;

use super::ensemble_selection::{root_mean_square, weights};
use super::folds::Truth;
use super::learning_rate::{FINAL_ETAS, TRIAL_ETA, Tried};
use super::trial::Outcome;
use crate::encodings::EncodingScheme;

/// Trees grown on samples gain as much from a low learning rate, which trials do not have: their noise averages out.
const GAIN_OF_SAMPLING: f64 = 0.995;
/// A model whose choice of rounds was cut short is fitted with at most so many times the rounds that were done.
const UNFINISHED_FIT: f64 = 3.5;

/// One candidate and how it did.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) scheme: EncodingScheme,
    pub(super) params: Params,
    pub(super) outcome: Outcome,
    /// The parameters of the boosters that the margins of its outcome are of, where the model gets others, or more rounds.
    pub(super) judged_by: Option<Params>,
    /// What it is expected to come to with more rounds, where it is ranked by that and not by what it came to.
    pub(super) expected: Option<f64>,
}

impl Candidate {
    /// A candidate that is fitted as it was judged.
    pub(super) fn judged(scheme: EncodingScheme, params: Params, outcome: Outcome) -> Self {
        Self { scheme, params, outcome, judged_by: None, expected: None }
    }

    /// The same, ranked by what it would come to in so many rounds: deep trees learn more than shallow ones in few rounds, and are done
    /// sooner, so a plan that ends both early favours them.
    pub(super) fn expected_in(self, rounds: f64) -> Self {
        Self { expected: Some(self.outcome.value_in(rounds)), ..self }
    }

    /// The metric by which candidates are ranked.
    pub(super) fn standing(&self) -> f64 {
        let value = self.expected.unwrap_or(self.outcome.value);
        if is_sampled(&self.params) { GAIN_OF_SAMPLING * value } else { value }
    }
}

/// Candidates that were validated on the same rows, the best first.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranking {
    pub(super) candidates: Vec<Candidate>,
    /// What the rows that judge should be predicted as.
    pub(super) truth: Truth,
}

impl Ranking {
    /// Puts a candidate in its place; whether that is the first.
    pub(super) fn insert(&mut self, candidate: Candidate) -> bool {
        let standing = candidate.standing();
        let place = self.candidates.iter().filter(|other| other.standing() <= standing).count();
        self.candidates.insert(place, candidate);
        place == 0
    }

    /// The best few candidates whose weighted mean predicts best: the best one alone where there is no telling.
    pub(super) fn ensemble(self, most: usize) -> EnsembleSelection {
        let Some(first) = self.candidates.first() else { return EnsembleSelection::default() };
        let objective = first.params.objective().to_owned();
        let judges = self.truth.targets.len();
        let is_peer = |one: &Candidate| one.params.objective() == objective && one.outcome.margins.len() == judges;
        let is_mean = first.outcome.metric.as_deref() == Some("rmse");
        let link = Link::of_objective(&objective).filter(|_| is_mean && most > 1 && is_peer(first));
        let Some(link) = link else {
            let value = first.outcome.value;
            return EnsembleSelection {
                parts: self.candidates.into_iter().take(1).map(|one| (one, 1.0)).collect(),
                value,
            };
        };
        let peers: Vec<Candidate> = self.candidates.into_iter().filter(is_peer).collect();
        let margins: Vec<&[f32]> = peers.iter().map(|one| one.outcome.margins.as_slice()).collect();
        let weights = weights(&margins, link, &self.truth, most);
        let value = root_mean_square(&margins, &weights, link, &self.truth);
        let mut parts: Vec<(Candidate, f64)> = peers.into_iter().zip(weights).filter(|one| one.1 > 0.0).collect();
        parts.sort_by(|left, right| right.1.total_cmp(&left.1));
        EnsembleSelection { parts, value }
    }
}

/// A weighted mean of candidates.
#[derive(Debug, Default)]
pub(super) struct EnsembleSelection {
    /// Candidates and their weights, the heaviest first.
    pub(super) parts: Vec<(Candidate, f64)>,
    /// The metric of the mean, for the rows that judge.
    pub(super) value: f64,
}

/// Learning rate and rounds of a model whose choice of rounds ended while every round still helped: what the trial, which
/// took the rounds of `tried`, leads to expect, at the lowest rate that takes not many times the rounds done and no more than
/// are affordable, if these are more than were done.
pub(super) fn unfinished(tried: Tried, eta: f64, chosen: &Outcome, affordable: f64) -> (f64, u32) {
    let done = chosen.curve.len() as f64;
    let most = (UNFINISHED_FIT * done).min(affordable.max(done));
    let is_affordable = |slower: &&f64| **slower >= eta && tried.rounds_at(**slower) <= most;
    let slowest = FINAL_ETAS.iter().find(is_affordable).copied().unwrap_or(TRIAL_ETA.max(eta));
    let beyond_done = 1.5 * f64::from(chosen.rounds) * eta / slowest;
    (slowest, tried.rounds_at(slowest).max(beyond_done).min(affordable.max(done)) as u32)
}

/// Parameters by name.
pub(super) fn named(params: &Params) -> BTreeMap<String, String> {
    params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Whether rows or columns are drawn at random, so that another seed gives another booster.
pub(super) fn is_sampled(params: &Params) -> bool {
    let shares = ["subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode"];
    shares.iter().any(|name| params.get(name).is_some_and(|share| share.parse() != Ok(1.0)))
}

/// How many more rounds a trial gets than one of depth 6: shallow trees learn less in a round, and cost less.
pub(super) fn pace(params: &Params) -> f64 {
    match depth(params) {
        0 => 1.0,
        depth => (6.0 / f64::from(depth)).clamp(1.0, 2.0),
    }
}

/// The candidates that are promoted to the rung of successive halving on all rows: the best one, the next best parameters, and two that
/// gain most from more rows than the sample's, which are the deepest trees and the best other encoding. Parameters have the winner's
/// encoding and bins, the other encoding has the winner's parameters.
///
/// # Errors
/// What XGBoost's parameters do not take, which none of these are.
pub(super) fn promoted(candidates: &[Candidate]) -> Result<Vec<Candidate>> {
    let Some(winner) = candidates.first() else { return Ok(Vec::new()) };
    let with_its_encoding = |one: &Candidate| {
        let (scheme, mut params) = (winner.scheme.clone(), one.params.clone());
        if let Some(bins) = winner.params.get("max_bin") {
            params.set("max_bin", bins)?;
        }
        Ok(Candidate { scheme, params, ..one.clone() })
    };
    let with_its_encoding = candidates.iter().map(with_its_encoding).collect::<Result<Vec<Candidate>>>()?;
    let mut promoted = vec![winner.clone()];
    promoted.extend(with_its_encoding.iter().find(|one| one.params != winner.params).cloned());
    let deepest = with_its_encoding.iter().rev().max_by_key(|one| depth(&one.params));
    let is_deeper = |one: &&Candidate| promoted.iter().all(|other| depth(&other.params) < depth(&one.params));
    let deepest = deepest.filter(is_deeper).cloned();
    promoted.extend(deepest);
    let other = candidates.iter().find(|one| one.scheme != winner.scheme);
    promoted.extend(other.map(|other| Candidate { params: winner.params.clone(), ..other.clone() }));
    Ok(promoted)
}

/// Depth of the trees; 0 where it is not limited or not said.
pub(super) fn depth(params: &Params) -> u32 {
    params.get("max_depth").and_then(|depth| depth.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::trial::End;
    use super::*;
    use crate::encodings::Encoding;

    fn candidate(name: &'static str, depth: &str, value: f64) -> Candidate {
        let params = Params::parse([("max_depth", depth)]).unwrap();
        let encodings = vec![Some(if name == "target" { Encoding::TARGET } else { Encoding::ORDINAL })];
        let scheme = EncodingScheme { name: name.into(), encodings };
        Candidate::judged(scheme, params, Outcome { value, ..Outcome::new() })
    }

    #[test]
    fn the_next_best_parameters_the_deepest_trees_and_another_encoding_are_promoted_with_the_best() {
        let of = |ranking: &[Candidate]| -> Vec<(String, u32, Option<String>)> {
            let shown = |one: &Candidate| {
                (one.scheme.name.to_string(), depth(&one.params), one.params.get("max_bin").map(str::to_owned))
            };
            promoted(ranking).unwrap().iter().map(shown).collect()
        };
        let mut ranking = vec![
            candidate("ordinal", "4", 1.0),
            candidate("ordinal", "3", 1.1),
            candidate("ordinal", "6", 1.2),
            candidate("target", "6", 1.3),
            candidate("ordinal", "9", 1.4),
        ];
        let usual = |name: &str, depth| (name.to_owned(), depth, None);
        let expected = [usual("ordinal", 4), usual("ordinal", 3), usual("ordinal", 9), usual("target", 4)];
        assert_eq!(of(&ranking), expected);
        // With derived features or finer bins only the best candidate was tried.
        let mut winner = candidate("target", "4", 0.9);
        winner.params.set("max_bin", "1024").unwrap();
        ranking.insert(0, winner);
        let fine = |name: &str, depth| (name.to_owned(), depth, Some("1024".to_owned()));
        let expected = [fine("target", 4), fine("target", 3), fine("target", 9), fine("ordinal", 4)];
        assert_eq!(of(&ranking), expected);
        assert_eq!(of(&[]), []);
    }

    #[test]
    fn what_still_learns_is_ranked_by_what_it_would_come_to() {
        let with_curve = |depth: &str, curve: [f64; 4], end: End| {
            let mut one = candidate("ordinal", depth, curve[3]);
            one.outcome = Outcome { rounds: 4, curve: curve.to_vec(), end, ..one.outcome };
            one
        };
        let deep = with_curve("9", [4.0, 3.0, 2.9, 2.8], End::Rounds);
        let shallow = with_curve("3", [5.0, 4.0, 3.5, 3.0], End::Rounds);
        let done = with_curve("4", [5.0, 3.0, 2.9, 2.9], End::Converged);
        let ranked = |candidates: [Candidate; 3]| {
            let mut ranking = Ranking::default();
            candidates.into_iter().for_each(|one| _ = ranking.insert(one));
            ranking.candidates.iter().map(|one| depth(&one.params)).collect::<Vec<u32>>()
        };
        assert_eq!(ranked([deep.clone(), shallow.clone(), done.clone()]), [9, 4, 3]);
        assert_eq!(ranked([deep, shallow, done].map(|one| one.expected_in(8.0))), [3, 9, 4]);
    }

    #[test]
    fn samples_are_ranked_a_little_better_than_they_did() {
        let sampled = |share: &str| {
            let mut one = candidate("ordinal", "6", 1.0);
            one.params.set("subsample", share).unwrap();
            one
        };
        assert!(sampled("0.8").standing() < sampled("1").standing());
        assert_eq!(candidate("ordinal", "6", 1.0).standing(), 1.0);
        let mut ranking = Ranking::default();
        assert!(ranking.insert(sampled("1.0")));
        assert!(ranking.insert(sampled("0.8")));
        assert!(!ranking.insert(candidate("target", "6", 0.999)));
        let values: Vec<f64> = ranking.candidates.iter().map(|one| one.outcome.value).collect();
        assert_eq!(values, [1.0, 0.999, 1.0]);
    }

    #[test]
    fn those_that_err_in_opposite_ways_are_mixed() {
        let judged = |objective: &str, margins: [f32; 2]| {
            let mut one = candidate("ordinal", "6", 1.0);
            one.params.set("objective", objective).unwrap();
            one.outcome.metric = Some("rmse".to_owned());
            one.outcome.margins = margins.to_vec();
            one
        };
        let ranking = || Ranking {
            candidates: vec![
                judged("reg:squarederror", [2.0, 3.0]),
                judged("count:poisson", [1.0, 2.0_f32.ln()]),
                judged("reg:squarederror", [0.5, 1.5]),
            ],
            truth: Truth { targets: vec![1.0, 2.0], weights: vec![1.0; 2] },
        };
        let mixed = |most: usize| {
            ranking().ensemble(most).parts.into_iter().map(|(one, weight)| (one.outcome.margins[0], weight))
        };
        assert_eq!(mixed(1).collect::<Vec<_>>(), [(2.0, 1.0)]);
        let two: Vec<(f32, f64)> = mixed(2).collect();
        assert_eq!([two[0].0, two[1].0], [0.5, 2.0]);
        assert!(two[0].1 > 0.6 && two[1].1 > 0.25);
        let mut unjudged = ranking();
        unjudged.candidates[0].outcome.metric = Some("mae".to_owned());
        unjudged.candidates[0].outcome.value = 7.0;
        let alone = unjudged.ensemble(3);
        assert_eq!((alone.parts.len(), alone.value), (1, 7.0));
        assert!(ranking().ensemble(2).value < ranking().ensemble(1).value);
    }

    #[test]
    fn a_choice_cut_short_is_completed_from_the_trial() {
        let cut = |rounds: usize| Outcome {
            rounds: rounds as u32,
            curve: vec![1.0; rounds],
            end: End::Deadline,
            ..Outcome::new()
        };
        assert!(cut(200).was_still_learning());
        let tried = |rounds| Tried { rounds, eta: TRIAL_ETA };
        assert_eq!(unfinished(tried(200), 0.05, &cut(200), 1e9), (0.1, 520));
        assert_eq!(unfinished(tried(200), 0.05, &cut(200), 300.0), (TRIAL_ETA, 260), "what is affordable");
        assert_eq!(unfinished(tried(200), 0.05, &cut(1), 1e9), (TRIAL_ETA, 260));
        let (eta, rounds) = unfinished(tried(10), 0.05, &cut(400), 1e9);
        assert_eq!((eta, rounds), (0.05, 600));
    }

    #[test]
    fn shallow_trees_get_more_rounds() {
        let params = |depth: &str| Params::parse([("max_depth", depth)]).unwrap();
        assert_eq!(["3", "4", "6", "9", "0"].map(|depth| pace(&params(depth))), [2.0, 1.5, 1.0, 1.0, 1.0]);
    }
}
