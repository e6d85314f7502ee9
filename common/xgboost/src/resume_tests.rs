//! Training that was interrupted between two rounds, against training that was not: the same bytes.

use super::tests::{Table, options, params};
use super::*;
use scoring::CheckedSnapshot;

const ROUNDS: u32 = 10;

/// What the bytes may depend on: tree methods, ways of sampling, dropout, objectives with a link or with leaves of
/// their own.
const CASES: &[&[(&str, &str)]] = &[
    &[],
    &[("subsample", "0.5")],
    &[("subsample", "0.3"), ("sampling_method", "gradient_based")],
    &[("colsample_bytree", "0.6"), ("colsample_bylevel", "0.7"), ("colsample_bynode", "0.8")],
    &[("grow_policy", "lossguide"), ("max_leaves", "20"), ("max_depth", "0"), ("subsample", "0.7")],
    &[("num_parallel_tree", "3"), ("subsample", "0.6"), ("colsample_bynode", "0.6")],
    &[("booster", "dart"), ("rate_drop", "0.3"), ("sample_type", "weighted"), ("subsample", "0.7")],
    &[("rate_drop", "0.2"), ("skip_drop", "0.3"), ("one_drop", "1"), ("normalize_type", "forest")],
    &[("objective", "reg:logistic"), ("subsample", "0.5")],
    &[("objective", "reg:absoluteerror"), ("subsample", "0.5")],
    &[("objective", "reg:quantileerror"), ("quantile_alpha", "0.7"), ("subsample", "0.5")],
    &[("objective", "reg:tweedie"), ("tweedie_variance_power", "1.3"), ("subsample", "0.5")],
    &[("objective", "count:poisson"), ("subsample", "0.5")],
    &[("objective", "reg:gamma")],
    &[("objective", "reg:pseudohubererror"), ("huber_slope", "0.3")],
    &[("objective", "reg:squaredlogerror"), ("eval_metric", "mae")],
    &[("objective", "reg:expectileerror"), ("expectile_alpha", "0.4")],
    &[("base_score", "0.123456789"), ("eta", "0.077"), ("max_delta_step", "0.3")],
    &[("monotone_constraints", "(1,0,-1,0,0)"), ("interaction_constraints", "[[0,1],[2,3,4]]")],
    &[("tree_method", "approx"), ("colsample_bylevel", "0.6")],
    &[("tree_method", "approx"), ("objective", "reg:tweedie"), ("colsample_bynode", "0.6")],
    &[("tree_method", "exact"), ("subsample", "0.5"), ("colsample_bytree", "0.6"), ("gamma", "0.01")],
];

struct Data {
    train: DMatrix,
    valid: DMatrix,
}

fn data(case: &[(&str, &str)], threads: usize) -> Data {
    let method = Params::parse(case.iter().copied()).unwrap();
    let features = Table::features(method.get("tree_method") != Some("exact"));
    let (train, valid) = (Table::new(1500, 20), Table::new(400, 21));
    if !method.wants_quantile_matrix() {
        let plain = |table: &Table| DMatrix::plain(&features, &table.batch(), threads).unwrap();
        return Data { train: plain(&train), valid: plain(&valid) };
    }
    let train = DMatrix::quantile(&features, &train.batch(), &options(threads)).unwrap();
    let against = QuantileOptions { reference: Some(&train), ..options(threads) };
    let valid = DMatrix::quantile(&features, &valid.batch(), &against).unwrap();
    Data { train, valid }
}

/// Trains the rounds from `from` on as `train` does, with an evaluation after each.
fn go_on(booster: &mut Booster, data: &Data, from: u32, to: u32) -> Vec<Vec<Evaluation>> {
    let matrices = [(&data.train, "train"), (&data.valid, "valid")];
    (from..to)
        .map(|round| {
            booster.update(round, &data.train).unwrap();
            booster.evaluate(round, &matrices).unwrap()
        })
        .collect()
}

fn start(case: &[(&str, &str)], data: &Data) -> Booster {
    Booster::new(&params(case), &[&data.train, &data.valid]).unwrap()
}

#[test]
fn a_resumed_run_ends_with_the_bytes_and_the_curve_of_an_undisturbed_one() {
    for case in CASES {
        let undisturbed_data = data(case, 1);
        let mut undisturbed = start(case, &undisturbed_data);
        let curve = go_on(&mut undisturbed, &undisturbed_data, 0, ROUNDS);
        let model = undisturbed.save().unwrap();

        // Interrupted three times, each time with matrices built anew as another process would.
        let first = data(case, 1);
        let mut booster = start(case, &first);
        let mut resumed_curve = go_on(&mut booster, &first, 0, 1);
        for (from, to) in [(1, 5), (5, 6), (6, ROUNDS)] {
            let snapshot = booster.serialize().unwrap();
            // What is taken up is checked before: nothing that was written may fail that.
            let snapshot = CheckedSnapshot::check(&snapshot).unwrap();
            drop(booster);
            let again = data(case, 1);
            booster = Booster::unserialize(&snapshot).unwrap();
            assert_eq!(booster.rounds().unwrap(), from);
            resumed_curve.extend(go_on(&mut booster, &again, from, to));
        }
        assert!(booster.save().unwrap() == model, "other bytes after a resume: {case:?}");
        assert_eq!(resumed_curve, curve, "{case:?}");
    }
}

#[test]
fn a_snapshot_does_not_disturb_the_run_it_is_taken_of() {
    for case in CASES {
        let data = data(case, 1);
        let mut plain = start(case, &data);
        go_on(&mut plain, &data, 0, ROUNDS);
        let mut observed = start(case, &data);
        for round in 0..ROUNDS {
            go_on(&mut observed, &data, round, round + 1);
            observed.serialize().unwrap();
        }
        assert!(plain.save().unwrap() == observed.save().unwrap(), "{case:?}");
    }
}

#[test]
fn the_same_run_twice_gives_the_same_bytes_and_the_seed_matters() {
    for case in
        CASES.iter().filter(|case| case.iter().any(|(name, _)| *name == "subsample" || name.starts_with("colsample")))
    {
        let run = |seed: &str| {
            let data = data(case, 1);
            let mut given = params(case);
            given.push(("seed".to_owned(), seed.to_owned()));
            let mut booster = Booster::new(&given, &[&data.train]).unwrap();
            go_on(&mut booster, &data, 0, ROUNDS);
            booster.save().unwrap()
        };
        assert!(run("1") == run("1"), "{case:?}");
        assert!(run("1") != run("2"), "{case:?}");
    }
}

/// The model after a resume at round 5, and the undisturbed one.
fn resumed_and_undisturbed(case: &[(&str, &str)], given: &[(String, String)], threads: usize) -> (Vec<u8>, Vec<u8>) {
    let fresh = data(case, threads);
    let mut undisturbed = Booster::new(given, &[&fresh.train]).unwrap();
    go_on(&mut undisturbed, &fresh, 0, ROUNDS);
    let before = data(case, threads);
    let mut first = Booster::new(given, &[&before.train]).unwrap();
    go_on(&mut first, &before, 0, 5);
    let after = data(case, threads);
    let mut resumed = Booster::unserialize(&CheckedSnapshot::check(&first.serialize().unwrap()).unwrap()).unwrap();
    go_on(&mut resumed, &after, 5, ROUNDS);
    (resumed.save().unwrap(), undisturbed.save().unwrap())
}

#[test]
fn the_snapshot_holds_the_random_generator_too() {
    let case: &[(&str, &str)] = &[("subsample", "0.5"), ("colsample_bynode", "0.6")];
    let mut given = params(case);
    given.push(("seed_per_iteration".to_owned(), "false".to_owned()));
    let (resumed, undisturbed) = resumed_and_undisturbed(case, &given, 1);
    assert!(resumed == undisturbed);
}

#[test]
fn two_threads_resume_as_one_does() {
    // A few cases: XGBoost's threads spin while they wait, which takes long where tests share two cores.
    for case in CASES.iter().step_by(5) {
        let mut given = params(case);
        given.push(("nthread".to_owned(), "2".to_owned()));
        let (resumed, undisturbed) = resumed_and_undisturbed(case, &given, 2);
        assert!(resumed == undisturbed, "{case:?}");
    }
}

#[test]
fn what_does_not_resume_exactly_is_known() {
    assert!(CASES.iter().all(|case| { Params::parse(case.iter().copied()).unwrap().resumes_exactly() }));
    let case: &[(&str, &str)] = &[("tree_method", "approx"), ("subsample", "0.5")];
    assert!(!Params::parse(case.iter().copied()).unwrap().resumes_exactly());
    let (resumed, undisturbed) = resumed_and_undisturbed(case, &params(case), 1);
    assert!(resumed != undisturbed, "XGBoost has changed: resumes_exactly may be dropped");
}
