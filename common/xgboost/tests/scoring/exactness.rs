//! Predictions equal XGBoost's, bit for bit.

use proptest::prelude::*;
use scoring::{DescentScratch, Ensemble, EnsembleError, InstructionSet, Link, Scorer};

use super::plan::{Plan, plans};
use super::random::Random;
use super::xgb::{Booster, Table};

fn plan_of(seed: u64, parameters: &[(&'static str, &str)]) -> Plan {
    Plan::of_rows(3000, seed, parameters)
}

fn check(plan: &Plan) -> Ensemble {
    let (table, booster) = plan.train();
    let model = booster.model();
    let ensemble = Ensemble::from_ubj(&model).unwrap();
    let thresholds = thresholds(&model);
    let adversarial = adversarial(&mut Random(plan.seed ^ 1), &table, &thresholds, 3000);
    for table in [&table, &adversarial] {
        assert_equal(&ensemble, &booster, table);
    }
    ensemble
}

/// Compares all rows, for all instruction sets; in one go, and in pieces of odd sizes.
fn assert_equal(ensemble: &Ensemble, booster: &Booster, table: &Table) {
    let columns = table.slices();
    let mut expected = vec![0.0; table.n_rows()];
    booster.predict(&columns, &mut expected);
    assert_bits(&expected, &descended(ensemble, table), "descended");
    for instructions in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
        let scorer = Scorer::compile_for(ensemble, instructions).unwrap();
        let mut predicted = vec![f32::NAN; table.n_rows()];
        scorer.predict(&columns, &mut predicted);
        assert_bits(&expected, &predicted, instructions);
        predicted.fill(f32::NAN);
        predict_in_pieces(&scorer, &columns, &mut predicted);
        assert_bits(&expected, &predicted, instructions);
    }
}

/// The predictions of trees that are not compiled.
fn descended(ensemble: &Ensemble, table: &Table) -> Vec<f32> {
    let mut predicted = vec![ensemble.base_margin(); table.n_rows()];
    let mut scratch = DescentScratch::default();
    for tree in ensemble.trees() {
        tree.add_leaves(&table.columns, &mut predicted, &mut scratch);
    }
    Link::of_objective(ensemble.objective()).unwrap().transform(&mut predicted);
    predicted
}

fn assert_bits(expected: &[f32], predicted: &[f32], way: impl std::fmt::Debug + Copy) {
    for (row, (expected, predicted)) in expected.iter().zip(predicted).enumerate() {
        let equal = expected.to_bits() == predicted.to_bits();
        assert!(equal, "{way:?}, row {row}: {predicted} is not {expected}");
    }
}

/// As a pipeline does it: one block for all batches, columns in pieces that start anywhere, the last feature first.
fn predict_in_pieces(scorer: &Scorer, columns: &[&[f32]], out: &mut [f32]) {
    const BATCH: usize = 1100;
    let mut block = scorer.new_block(BATCH);
    for (batch, out) in out.chunks_mut(BATCH).enumerate() {
        for (feature, column) in columns.iter().enumerate().rev() {
            let values = &column[batch * BATCH..][..out.len()];
            let mut at = 0;
            for size in [1, 63, 64, 7, 200, 90, 128, 300].into_iter().cycle() {
                let end = values.len().min(at + size);
                scorer.quantise(feature, &values[at..end], at, &mut block);
                at = end;
                if at == values.len() {
                    break;
                }
            }
        }
        scorer.score(&mut block, out);
    }
}

/// All floats of the arrays of split conditions: thresholds, and leaves, which do no harm here.
fn thresholds(model: &[u8]) -> Vec<f32> {
    let name = b"split_conditions[$d#L";
    let mut found = vec![0.0, -0.0, 1.0];
    for start in (0..model.len()).filter(|start| model[*start..].starts_with(name)) {
        let rest = &model[start + name.len()..];
        let size = u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize;
        let floats = rest[8..][..4 * size].as_chunks::<4>().0;
        found.extend(floats.iter().map(|bytes| f32::from_be_bytes(*bytes)));
    }
    found
}

/// Values on thresholds and one ulp beside them, the extremes of `f32`, and categories that no training row had.
fn adversarial(random: &mut Random, table: &Table, thresholds: &[f32], n_rows: usize) -> Table {
    const EXTREMES: [f32; 13] = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        1e-45,
        -1e-45,
        1e-39,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        3e9,
        -3e9,
    ];
    const ODD_CATEGORIES: [f32; 11] =
        [-1.0, -0.5, -0.0, 0.5, 1.999, 255.0, 4095.5, 16_777_215.0, 16_777_216.0, 3e9, f32::NEG_INFINITY];
    let value = |random: &mut Random, column: &[f32], categorical: bool| {
        let threshold = thresholds[random.below(thresholds.len())];
        match random.below(if categorical { 3 } else { 7 }) {
            0 => column[random.below(column.len())],
            1 => EXTREMES[random.below(EXTREMES.len())],
            2 if categorical => ODD_CATEGORIES[random.below(ODD_CATEGORIES.len())],
            2 | 3 => threshold,
            4 => threshold.next_up(),
            5 => threshold.next_down(),
            _ => random.normal(),
        }
    };
    let columns = table.columns.iter().zip(&table.categorical);
    let columns = columns.map(|(column, is)| (0..n_rows).map(|_| value(random, column, *is)).collect());
    Table { columns: columns.collect(), categorical: table.categorical.clone() }
}

#[test]
fn every_tree_method() {
    for (seed, method) in (1..).zip(["hist", "approx", "exact"]) {
        let mut plan = plan_of(seed, &[("tree_method", method), ("max_depth", "6")]);
        if method == "exact" {
            plan.levels.clear();
            plan.n_numeric = 10;
        }
        let ensemble = check(&plan);
        assert_eq!((ensemble.n_trees(), ensemble.n_features()), (20, 10), "{method}");
    }
}

#[test]
fn every_depth_of_trees() {
    for depth in 1..=11 {
        let mut plan = plan_of(depth, &[("max_depth", &depth.to_string()), ("min_child_weight", "0")]);
        plan.rounds = 4;
        let ensemble = check(&plan);
        assert_eq!(ensemble.max_depth(), depth as usize);
    }
}

#[test]
fn leaf_wise_trees() {
    for (seed, leaves) in (20..).zip(["2", "31", "100", "700"]) {
        let parameters = [("grow_policy", "lossguide"), ("max_leaves", leaves), ("max_depth", "0")];
        let ensemble = check(&plan_of(seed, &parameters));
        assert_eq!(ensemble.max_leaves().to_string(), leaves);
    }
}

#[test]
fn many_levels_one_hot_and_partitions() {
    for (seed, one_hot, threshold) in [(30, "1", "64"), (31, "1000", "64"), (32, "4", "4000")] {
        let parameters = [("max_cat_to_onehot", one_hot), ("max_cat_threshold", threshold), ("max_depth", "8")];
        let mut plan = plan_of(seed, &parameters);
        plan.levels = vec![2, 7, 25, 100, 300, 1500, 5000];
        plan.n_rows = 12_000;
        check(&plan);
    }
}

#[test]
fn more_thresholds_than_a_byte_ranks() {
    let mut plan = plan_of(40, &[("max_bin", "4096"), ("max_depth", "8"), ("min_child_weight", "0")]);
    plan.n_numeric = 2;
    plan.levels.clear();
    plan.n_rows = 20_000;
    plan.rounds = 40;
    check(&plan);
}

#[test]
fn pruned_trees_and_single_leaves() {
    let pruned = [("gamma", "2"), ("tree_method", "exact"), ("max_depth", "6")];
    let mut plan = plan_of(50, &pruned);
    plan.levels.clear();
    check(&plan);
    let ensemble = check(&plan_of(51, &[("gamma", "1e9")]));
    assert_eq!((ensemble.max_depth(), ensemble.max_leaves()), (0, 1));
}

#[test]
fn no_trees() {
    for (objective, base) in [("reg:squarederror", None), ("reg:logistic", None), ("reg:logistic", Some("0.2"))] {
        // Where nothing is fitted, the number of features has to be told.
        let mut parameters = vec![("objective", objective), ("num_feature", "10")];
        parameters.extend(base.map(|base| ("base_score", base)));
        let mut plan = plan_of(60, &parameters);
        plan.rounds = 0;
        assert_eq!(check(&plan).n_trees(), 0);
    }
}

#[test]
fn every_regression_objective() {
    let objectives = [
        "reg:squarederror",
        "reg:squaredlogerror",
        "reg:logistic",
        "reg:pseudohubererror",
        "reg:absoluteerror",
        "reg:gamma",
        "reg:tweedie",
        "count:poisson",
        "reg:quantileerror",
        "reg:expectileerror",
        "binary:logitraw",
    ];
    for (seed, objective) in (70..).zip(objectives) {
        let alphas = [("quantile_alpha", "0.3"), ("expectile_alpha", "0.3")];
        let parameters = [("objective", objective), ("eta", "1.0"), alphas[0], alphas[1]];
        let ensemble = check(&plan_of(seed, &parameters));
        assert_eq!(ensemble.objective(), objective);
        check(&plan_of(seed, &[&parameters[..], &[("base_score", "0.7")]].concat()));
    }
}

#[test]
fn parallel_trees_and_sampling() {
    check(&plan_of(80, &[("num_parallel_tree", "3"), ("subsample", "0.5"), ("colsample_bynode", "0.3")]));
}

#[test]
fn features_that_are_not_used_need_not_be_given() {
    let mut plan = plan_of(81, &[("max_depth", "1")]);
    plan.rounds = 2;
    let (table, booster) = plan.train();
    let scorer = Scorer::compile(&Ensemble::from_ubj(&booster.model()).unwrap()).unwrap();
    let used: Vec<usize> = (0..10).filter(|feature| scorer.uses(*feature)).collect();
    assert!((1..=2).contains(&used.len()) && !scorer.uses(10));
    let given = |feature: usize| {
        if used.contains(&feature) { &table.columns[feature][..] } else { &[] }
    };
    let columns: Vec<&[f32]> = (0..10).map(given).collect();
    let (mut expected, mut predicted) = (vec![0.0; table.n_rows()], vec![0.0; table.n_rows()]);
    booster.predict(&table.slices(), &mut expected);
    scorer.predict(&columns, &mut predicted);
    assert_bits(&expected, &predicted, scorer.instruction_set());
}

#[test]
fn what_is_not_covered_says_so() {
    let unsupported = |parameters: &[(&'static str, &str)]| {
        let model = plan_of(82, parameters).train().1.model();
        match Ensemble::from_ubj(&model) {
            Ok(ensemble) => Scorer::compile(&ensemble).unwrap_err().to_string(),
            Err(EnsembleError::Unsupported(what)) => what,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(unsupported(&[("booster", "dart"), ("rate_drop", "0.5")]).contains("dart"));
    assert!(unsupported(&[("objective", "reg:quantileerror"), ("quantile_alpha", "[0.1,0.9]")]).contains("2 outputs"));
    assert!(unsupported(&[("objective", "survival:cox")]).contains("survival:cox"));
    let leaf_wise = [("grow_policy", "lossguide"), ("max_leaves", "5000"), ("max_depth", "0")];
    let mut plan = plan_of(83, &[&leaf_wise[..], &[("min_child_weight", "0"), ("lambda", "0")]].concat());
    (plan.n_rows, plan.rounds) = (20_000, 1);
    let ensemble = Ensemble::from_ubj(&plan.train().1.model()).unwrap();
    assert!(ensemble.max_leaves() > 4096 && Scorer::compile(&ensemble).is_err());
    let mut linear = plan_of(84, &[("booster", "gblinear")]);
    linear.levels.clear();
    let linear = linear.train().1.model();
    assert!(matches!(Ensemble::from_ubj(&linear), Err(EnsembleError::Foreign(_))));
}

#[test]
fn threads_share_a_scorer() {
    let (table, booster) = plan_of(85, &[]).train();
    let scorer = Scorer::compile(&Ensemble::from_ubj(&booster.model()).unwrap()).unwrap();
    let mut expected = vec![0.0; table.n_rows()];
    booster.predict(&table.slices(), &mut expected);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut predicted = vec![0.0; table.n_rows()];
                scorer.predict(&table.slices(), &mut predicted);
                assert_bits(&expected, &predicted, scorer.instruction_set());
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_models_on_random_rows(plan in plans(2_500, 600)) {
        check(&plan);
    }
}
