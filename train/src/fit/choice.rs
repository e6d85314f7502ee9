//! What was chosen, in a form that can be written down and read again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xgboost::Params;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::budget::BudgetReport;
use super::calibration::{Calibration, OutOfFold};
use super::trial::End;
use crate::encodings::EncodingScheme;

/// Keeps the random numbers of one member apart from those of the next: XGBoost counts a seed up from round to round.
pub(super) const SEED_STEP: u32 = 10_000_019;
/// Keeps the parts of the rows apart from every other use of hashes.
const PARTS_SEED: u64 = 0x5eed_0005;

/// How the model will be learnt: its columns and its members, whose weighted mean it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// How categories are encoded: the columns of all members.
    pub scheme: EncodingScheme,
    /// The boosters that are fitted one after the other, at least one. Their weights add up to the calibration slope, which is 1 where none
    /// was found.
    pub members: Vec<Member>,
    /// The metric of the rows that judge after each round of the first member; empty where rounds were given.
    #[serde(serialize_with = "numbers_or_null", deserialize_with = "null_as_nan")]
    pub learning_curve: Vec<f64>,
    /// What the curve shows, such as `rmse`.
    pub metric: Option<String>,
    /// Every trial, in the order they ran.
    pub trials: Vec<TrialReport>,
    /// What tuning came to, where it was asked for.
    #[serde(default)]
    pub tuning: Option<Tuning>,
    /// What intervals are made of, where rows were there to calibrate them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The validation rows as the mean of the candidates predicted them; none where nothing was searched for.
    #[serde(skip)]
    pub out_of_fold: Option<OutOfFold>,
    /// What was decided on the way, in order.
    #[serde(default)]
    pub decisions: Vec<Decision>,
    /// What choosing and fitting were planned to cost, where something was searched for.
    #[serde(default)]
    pub budget: Option<BudgetReport>,
}

/// Something that a search decided, for `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What it was about.
    pub what: Cow<'static, str>,
    /// What was chosen.
    pub chosen: String,
    /// What decided it.
    pub decided_by: String,
}

/// What the trials of `--tune` came to. The first of them is the choice that is made without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// Trials that were asked for.
    pub asked: usize,
    /// Trials that ran, besides the first.
    pub ran: usize,
    /// Whether the clock ended them.
    pub cut_by_clock: bool,
    /// Whether the budget's work was used up before.
    #[serde(default)]
    pub cut_by_plan: bool,
    /// The metric, on the rows that judge, of what is chosen without tuning; null where it was never a number.
    pub untuned: Option<f64>,
    /// The same of what was chosen: never worse.
    pub tuned: Option<f64>,
}

/// One booster of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its columns: those of this encoding, all of them among the model's.
    pub scheme: EncodingScheme,
    /// XGBoost's parameters, without constraints that depend on the columns.
    pub params: Params,
    /// Boosting rounds.
    pub rounds: u32,
    /// XGBoost's seed.
    pub seed: u32,
    /// Its share of the mean, times the calibration slope.
    pub weight: f64,
    /// The rows that it learns from, where these are not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// One of several parts of the training rows, about equally large and without order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which, from 0.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl Part {
    /// Whether a training row is among them, by a hash of its place among these: neighbours are alike in many tables.
    #[must_use]
    pub fn holds(&self, row: usize) -> bool {
        xxh3_64_with_seed(&(row as u64).to_le_bytes(), PARTS_SEED) % self.of as u64 == self.index as u64
    }
}

/// A trial, for `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialReport {
    /// The stage of the search: `look` (how many rounds trials need), `encoding`, `bins`, `parameters`, `race` (the rung of successive
    /// halving on all rows), `rounds`, `tuning`, `intervals` or `learning_curve`.
    pub stage: Cow<'static, str>,
    /// Its encoding of categories.
    pub encoding: Cow<'static, str>,
    /// Its parameters.
    pub params: BTreeMap<String, String>,
    /// Rows that it learnt from or was judged on.
    pub rows: usize,
    /// Folds that judged.
    pub folds: usize,
    /// The best round.
    pub rounds: u32,
    /// Rounds that it would have taken if nothing but its patience had ended it, about.
    #[serde(skip)]
    pub expected: u32,
    /// The metric after it; null where it was never a number.
    pub value: Option<f64>,
    /// XGBoost's name of the metric.
    pub metric: Option<String>,
    /// Why it ended.
    pub end: End,
    /// How long it took.
    pub seconds: f64,
}

impl Choice {
    /// One booster, chosen without a search.
    #[must_use]
    pub fn unsearched(scheme: EncodingScheme, params: Params, rounds: u32, seed: u32) -> Self {
        let member = Member { scheme: scheme.clone(), params, rounds, seed, weight: 1.0, part: None };
        Self { scheme, members: vec![member], ..Self::default() }
    }

    /// The same where rows are learnt from in parts: instead of each member one for every part, with a seed of its own. What
    /// is in parts already stays as it is.
    #[must_use]
    pub fn in_parts(self, parts: usize) -> Self {
        if parts < 2 || self.members.iter().any(|member| member.part.is_some()) {
            return self;
        }
        let of_parts = |member: &Member| {
            let member = Member { weight: member.weight / parts as f64, ..member.clone() };
            (0..parts).map(move |index| {
                let seed = member.seed.wrapping_add(SEED_STEP.wrapping_mul(index as u32));
                Member { seed, part: Some(Part { index, of: parts }), ..member.clone() }
            })
        };
        let members = self.members.iter().flat_map(of_parts).collect();
        Self { members, ..self }
    }

    /// Rounds of all members.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.members.iter().map(|member| member.rounds).sum()
    }
}

/// JSON has no numbers that are not finite.
fn numbers_or_null<S: Serializer>(numbers: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(numbers.iter().map(|number| number.is_finite().then_some(*number)))
}

fn null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers = Vec::<Option<f64>>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_learnt_from_by_one_member_of_each_kind() {
        let params = Params::parse([("eta", "0.1")]).unwrap();
        let scheme = EncodingScheme { name: "none".into(), encodings: vec![None] };
        let whole = Choice::unsearched(scheme, params, 17, 42);
        assert_eq!(whole.clone().in_parts(0), whole);
        let choice = whole.in_parts(3);
        assert_eq!(choice.rounds(), 3 * 17);
        assert_eq!(choice.clone().in_parts(3), choice);
        assert!((choice.members.iter().map(|member| member.weight).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(choice.members[0].seed != choice.members[1].seed && choice.members[1].seed != choice.members[2].seed);
        let mut rows = [0; 3];
        for row in 0..30_000 {
            let holding = |member: &&Member| member.part.unwrap().holds(row);
            let holders: Vec<&Member> = choice.members.iter().filter(holding).collect();
            assert_eq!(holders.len(), 1, "{row}");
            rows[holders[0].part.unwrap().index] += 1;
        }
        assert!(rows.iter().all(|rows| (9_700..10_300).contains(rows)), "{rows:?}");
    }

    #[test]
    fn a_choice_that_is_written_down_is_read_as_it_was() {
        let params = Params::parse([("eta", "0.1"), ("max_depth", "3")]).unwrap();
        let scheme = EncodingScheme { name: "none".into(), encodings: vec![None] };
        let mut choice = Choice::unsearched(scheme, params, 17, 42);
        choice.learning_curve = vec![0.1 + 0.2, f64::NAN, 1e-300];
        choice.trials.push(TrialReport {
            stage: "race".into(),
            encoding: "none".into(),
            params: BTreeMap::new(),
            rows: 3,
            folds: 1,
            rounds: 2,
            expected: 0,
            value: Some(1.0 / 3.0),
            metric: Some("rmse".to_owned()),
            end: End::Behind,
            seconds: 0.1,
        });
        let text = serde_json::to_string(&choice).unwrap();
        let read: Choice = serde_json::from_str(&text).unwrap();
        assert!(read.learning_curve[1].is_nan());
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!((read.scheme, read.members, read.trials), (choice.scheme, choice.members, choice.trials));
    }
}
