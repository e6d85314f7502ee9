//! Contributions equal XGBoost's `pred_contribs`, and add up to the margin.

use proptest::prelude::*;
use scoring::{Ensemble, Explainer, InstructionSet, ModelPart, Reason, Scorer, average_models};

use super::plan::{Plan, plans};
use super::random::{self, Random};
use super::xgb::{Booster, Matrix, Table};

fn plan_of(seed: u64, parameters: &[(&'static str, &str)]) -> Plan {
    Plan::of_rows(1500, seed, parameters)
}

fn check(plan: &Plan) -> Ensemble {
    let (table, booster) = plan.train();
    // Rows of another table too: other values, and categories that no training row had.
    let random = &mut Random(plan.seed ^ 1);
    let levels: Vec<usize> = plan.levels.iter().map(|levels| levels + 3).collect();
    let other = random::table(random, 700, plan.n_numeric, &levels, 0.4);
    let model = booster.model();
    let ensemble = Ensemble::from_ubj(&model).unwrap();
    for table in [&table, &other] {
        assert_alike(&ensemble, &booster, table);
    }
    ensemble
}

fn labels_of(table: &Table) -> Vec<f32> {
    vec![0.5; table.n_rows()]
}

/// What may differ: 1e-5 of the margins' range, or 8 units in the last place of the largest of the numbers that are added up.
struct Tolerance(f32);

impl Tolerance {
    fn of(margins: &[f32], row: &[f32]) -> Self {
        let (low, high) =
            margins.iter().fold((f32::MAX, f32::MIN), |(low, high), margin| (low.min(*margin), high.max(*margin)));
        let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        Self(((high - low) * 1e-5).max(8.0 * (largest.next_up() - largest)))
    }
}

/// Contributions of all rows by source, row after row.
fn explain(scorer: &Scorer, explainer: &Explainer, table: &Table) -> Vec<f32> {
    let n_rows = table.n_rows();
    let mut block = scorer.new_block(n_rows);
    for (feature, column) in table.columns.iter().enumerate() {
        scorer.quantise(feature, column, 0, &mut block);
    }
    let mut by_source = vec![f32::NAN; n_rows * explainer.n_sources()];
    explainer.contributions(scorer, &block, n_rows, &mut explainer.new_scratch(), &mut by_source);
    let of = |row: usize| by_source[row..].iter().step_by(n_rows).copied();
    (0..n_rows).flat_map(of).collect()
}

/// Compares all rows: by feature, with features that share a source, and the reasons that come out of them; every instruction
/// set to the last bit.
fn assert_alike(ensemble: &Ensemble, booster: &Booster, table: &Table) {
    let (n_rows, n_features) = (table.n_rows(), table.columns.len());
    let theirs = booster.contributions(&Matrix::new(table, &labels_of(table)));
    assert_eq!(theirs.len(), n_rows * (n_features + 1));
    let margins: Vec<f32> = theirs.chunks(n_features + 1).map(|row| row.iter().sum()).collect();
    let each: Vec<u32> = (0..n_features as u32).collect();
    let shared: Vec<u32> = each.iter().map(|feature| feature / 3).collect();
    for sources in [each, shared] {
        let mut first: Option<Vec<u32>> = None;
        for instructions in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let scorer = Scorer::compile_for(ensemble, instructions).unwrap();
            let explainer = Explainer::new(ensemble, &scorer, &sources).unwrap();
            let n_sources = explainer.n_sources();
            let ours = explain(&scorer, &explainer, table);
            for (row, (theirs, ours)) in theirs.chunks(n_features + 1).zip(ours.chunks(n_sources)).enumerate() {
                let mut expected = vec![0.0; n_sources];
                for (source, theirs) in sources.iter().zip(theirs) {
                    expected[*source as usize] += theirs;
                }
                let tolerance = Tolerance::of(&margins, theirs).0;
                for (source, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
                    let apart = (ours - expected).abs();
                    assert!(
                        apart <= tolerance,
                        "{instructions:?}, row {row}, source {source}: {ours} is not {expected} (± {tolerance})"
                    );
                }
                let sum = explainer.base_value() + ours.iter().copied().map(f64::from).sum::<f64>();
                let apart = (sum as f32 - margins[row]).abs();
                assert!(
                    apart <= tolerance,
                    "{instructions:?}, row {row}: {sum} is not {} (± {tolerance})",
                    margins[row]
                );
                let base = (explainer.base_value() as f32 - theirs[n_features]).abs();
                assert!(base <= tolerance, "{} is not {}", explainer.base_value(), theirs[n_features]);
            }
            let bits: Vec<u32> = ours.iter().map(|value| value.to_bits()).collect();
            assert!(*first.get_or_insert_with(|| bits.clone()) == bits, "{instructions:?} gives other bits");
            assert_reasons(&scorer, &explainer, table, &ours);
        }
    }
}

/// The largest contributions, from blocks of odd sizes.
fn assert_reasons(scorer: &Scorer, explainer: &Explainer, table: &Table, contributions: &[f32]) {
    const BATCH: usize = 613;
    let n_sources = explainer.n_sources();
    let mut scratch = explainer.new_scratch();
    let mut block = scorer.new_block(BATCH);
    for count in [1, 3, 7] {
        let mut reasons = Vec::new();
        for first in (0..table.n_rows()).step_by(BATCH) {
            let n_rows = BATCH.min(table.n_rows() - first);
            for (feature, column) in table.columns.iter().enumerate() {
                scorer.quantise(feature, &column[first..first + n_rows], 0, &mut block);
            }
            let mut batch = vec![Reason::NONE; n_rows * count];
            explainer.explain(scorer, &block, n_rows, &mut scratch, &mut batch);
            reasons.extend(batch);
        }
        for (reasons, contributions) in reasons.chunks(count).zip(contributions.chunks(n_sources)) {
            let mut all: Vec<(u32, f32)> = (0..).zip(contributions.iter().copied()).collect();
            all.sort_by(|one, other| other.1.abs().total_cmp(&one.1.abs()));
            for (place, reason) in reasons.iter().enumerate() {
                let expected = all.get(place).copied().unwrap_or((u32::MAX, 0.0));
                assert_eq!((reason.source, reason.contribution), expected);
            }
        }
    }
}

#[test]
fn every_depth_of_trees() {
    for depth in 1..=10 {
        let mut plan = plan_of(depth, &[("max_depth", &depth.to_string()), ("min_child_weight", "0")]);
        plan.rounds = 6;
        let ensemble = check(&plan);
        assert_eq!(ensemble.max_depth(), depth as usize);
    }
}

#[test]
fn few_features_stand_on_a_path_time_and_again() {
    for (seed, n_numeric, levels) in [(20, 1, vec![]), (21, 2, vec![]), (22, 1, vec![30]), (23, 3, vec![4])] {
        let mut plan = plan_of(seed, &[("max_depth", "8"), ("min_child_weight", "0")]);
        (plan.n_numeric, plan.levels) = (n_numeric, levels);
        check(&plan);
    }
}

#[test]
fn leaf_wise_trees() {
    for (seed, leaves) in (30..).zip(["2", "31", "100", "700"]) {
        let parameters = [("grow_policy", "lossguide"), ("max_leaves", leaves), ("max_depth", "0"), ("lambda", "0")];
        let ensemble = check(&plan_of(seed, &parameters));
        assert_eq!(ensemble.max_leaves().to_string(), leaves);
    }
}

#[test]
fn many_levels_one_hot_and_partitions() {
    for (seed, one_hot, threshold) in [(40, "1", "64"), (41, "1000", "64"), (42, "4", "4000")] {
        let parameters = [("max_cat_to_onehot", one_hot), ("max_cat_threshold", threshold), ("max_depth", "7")];
        let mut plan = plan_of(seed, &parameters);
        plan.levels = vec![2, 7, 25, 100, 300];
        plan.n_rows = 4000;
        check(&plan);
    }
}

#[test]
fn more_thresholds_than_a_byte_ranks() {
    let mut plan = plan_of(50, &[("max_bin", "4096"), ("max_depth", "8"), ("min_child_weight", "0")]);
    (plan.n_numeric, plan.levels, plan.n_rows, plan.rounds) = (3, vec![], 8000, 40);
    check(&plan);
}

#[test]
fn pruned_trees_single_leaves_and_other_objectives() {
    check(&plan_of(60, &[("gamma", "2"), ("max_depth", "6")]));
    let ensemble = check(&plan_of(61, &[("gamma", "1e9")]));
    assert_eq!(ensemble.max_leaves(), 1);
    for (seed, objective) in (62..).zip(["reg:logistic", "count:poisson", "reg:gamma", "reg:absoluteerror"]) {
        check(&plan_of(seed, &[("objective", objective), ("max_depth", "5")]));
    }
}

#[test]
fn means_of_boosters() {
    let plans = [("3", 70), ("6", 71), ("8", 72)]
        .map(|(depth, seed)| Plan { rounds: 7, ..plan_of(seed, &[("max_depth", depth), ("base_score", "0.4")]) });
    let (table, _) = plans[0].train();
    let labels = random::labels(&mut Random(9), &table);
    let boosters = plans.map(|plan| {
        let matrix = Matrix::new(&table, &labels);
        let booster = Booster::train(&matrix, &plan.parameters, plan.rounds);
        booster.name_features(&table);
        booster.model()
    });
    let columns: Vec<usize> = (0..table.columns.len()).collect();
    let parts = boosters.iter().zip([0.5, 0.3, 0.2]);
    let parts: Vec<ModelPart<'_>> =
        parts.map(|(model, weight)| ModelPart { model, weight, columns: &columns }).collect();
    let names: Vec<String> = columns.iter().map(|column| format!("f{column}")).collect();
    let named = names.iter().zip(&table.categorical);
    let named: Vec<(&str, &str)> = named.map(|(name, is)| (name.as_str(), ["q", "c"][usize::from(*is)])).collect();
    let model = average_models(&parts, &named).unwrap();
    assert_alike(&Ensemble::from_ubj(&model).unwrap(), &Booster::load(&model), &table);
    // And in other units of the target.
    for exponent in [-40, 30] {
        let model = scoring::rescale(&model, exponent).unwrap();
        assert_alike(&Ensemble::from_ubj(&model).unwrap(), &Booster::load(&model), &table);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_models_on_random_rows(plan in plans(1_500, 200)) {
        check(&plan);
    }
}
