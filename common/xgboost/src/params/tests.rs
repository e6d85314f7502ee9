//! The table against its own rules, and every row of it against the real library.

use super::super::{FeatureKind, dry_run};
use super::*;

fn features(count: usize) -> Vec<Feature> {
    (0..count).map(|index| Feature { name: format!("f{index}"), kind: FeatureKind::Number }).collect()
}

fn parse(pairs: &[(&str, &str)]) -> Result<Params, ParamError> {
    Params::parse(pairs.iter().copied())
}

/// One way to use each parameter: values at and inside its range, values outside, and what it needs beside it.
struct Use {
    name: &'static str,
    good: &'static [&'static str],
    bad: &'static [&'static str],
    with: &'static [(&'static str, &'static str)],
}

const fn one(name: &'static str, good: &'static [&'static str], bad: &'static [&'static str]) -> Use {
    Use { name, good, bad, with: &[] }
}

const USES: &[Use] = &[
    one("base_score", &["0.5", "1e-2", "-3", "0"], &["half", "nan", "inf", "1e39", "[0.5]", ""]),
    one("booster", &["gbtree", "dart"], &["gblinear", "GBTree", ""]),
    one("alpha", &["0", "2.5"], &["-1", "x"]),
    one("reg_alpha", &["0.1"], &["-0.1"]),
    one("colsample_bylevel", &["0.1", "1"], &["0", "1.01", "-1"]),
    one("colsample_bynode", &["0.1", "1"], &["0", "1.01"]),
    one("colsample_bytree", &["0.1", "1"], &["0", "1.01"]),
    one("eta", &["0.3", "1", "0", "1e-3", ".5"], &["-0.1", "1.5", "0,3", "0x1", "NaN"]),
    one("learning_rate", &["0.3"], &["fast"]),
    one(
        "eval_metric",
        &[
            "rmse",
            "rmsle",
            "mae",
            "mape",
            "mphe",
            "logloss",
            "poisson-nloglik",
            "gamma-nloglik",
            "gamma-deviance",
            "tweedie-nloglik@1.5",
        ],
        &["auc", "r2", "rmse@2", "tweedie-nloglik@2", "tweedie-nloglik", "error"],
    ),
    Use {
        name: "expectile_alpha",
        good: &["0.4"],
        bad: &["0", "1", "[0.1,0.9]"],
        with: &[("objective", "reg:expectileerror")],
    },
    one("gamma", &["0", "5"], &["-1"]),
    one("min_split_loss", &["0.5"], &["-1"]),
    one("grow_policy", &["depthwise", "lossguide"], &["leafwise"]),
    Use { name: "huber_slope", good: &["0.5", "2"], bad: &["0", "-1"], with: &[("objective", "reg:pseudohubererror")] },
    one(
        "interaction_constraints",
        &["[[0,1],[2]]", "[[0, 1]]", "[]"],
        &["[0,1]", "[[0,1]", "[[-1]]", "[[0.5]]", "[[\"a\"]]"],
    ),
    one("lambda", &["0", "10"], &["-1"]),
    one("reg_lambda", &["1"], &["-1"]),
    one("max_bin", &["2", "512"], &["1", "256.0", "many", "3000000000"]),
    one("max_cached_hist_node", &["1", "100"], &["0"]),
    one("max_cat_threshold", &["1", "64"], &["0"]),
    one("max_cat_to_onehot", &["1", "8"], &["0"]),
    one("max_delta_step", &["0", "0.7"], &["-1"]),
    one("max_depth", &["1", "6", "12"], &["-1", "6.5", "+6", "six"]),
    one("max_leaves", &["0", "31"], &["-1"]),
    one("min_child_weight", &["0", "5.5"], &["-1"]),
    one("monotone_constraints", &["(1,0,-1)", "( 1, 0, -1 )"], &["1,0,-1", "(2,0,0)", "(a)", "(1,,0)", "()"]),
    Use { name: "normalize_type", good: &["tree", "forest"], bad: &["wood"], with: &[("rate_drop", "0.1")] },
    one("num_parallel_tree", &["1", "3"], &["0"]),
    one(
        "objective",
        &[
            "reg:squarederror",
            "reg:squaredlogerror",
            "reg:logistic",
            "reg:pseudohubererror",
            "reg:absoluteerror",
            "reg:gamma",
            "reg:tweedie",
            "count:poisson",
        ],
        &["reg:linear", "binary:logistic", "rank:ndcg", "survival:cox", "multi:softmax", "squarederror"],
    ),
    one("one_drop", &["true", "false", "1", "0"], &["yes", "2"]),
    Use {
        name: "quantile_alpha",
        good: &["0.5", "0.05"],
        bad: &["0", "1", "[0.5]"],
        with: &[("objective", "reg:quantileerror")],
    },
    one("rate_drop", &["0", "0.5", "1"], &["1.1"]),
    Use { name: "sample_type", good: &["uniform", "weighted"], bad: &["none"], with: &[("rate_drop", "0.1")] },
    Use {
        name: "sampling_method",
        good: &["uniform", "gradient_based"],
        bad: &["goss"],
        with: &[("subsample", "0.5")],
    },
    one("scale_pos_weight", &["1", "3.5"], &["-1"]),
    one("skip_drop", &["0", "0.5", "1"], &["-0.1"]),
    one("subsample", &["0.1", "1"], &["0", "1.1"]),
    one("tree_method", &["auto", "hist", "approx", "exact"], &["gpu_hist", "fast"]),
    Use {
        name: "tweedie_variance_power",
        good: &["1.1", "1.9"],
        bad: &["1", "2", "0.5"],
        with: &[("objective", "reg:tweedie")],
    },
];

#[test]
fn every_name_is_tried() {
    let used: Vec<&str> = USES.iter().map(|one| one.name).collect();
    let untried: Vec<&str> = names().filter(|name| !used.contains(name)).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

#[test]
fn the_library_takes_what_the_table_takes() {
    for one in USES {
        for value in one.good {
            let mut given = one.with.to_vec();
            given.push((one.name, value));
            let params = parse(&given).unwrap_or_else(|error| panic!("{error}"));
            dry_run(&params, &features(3)).unwrap_or_else(|error| panic!("{given:?}: {error}"));
        }
    }
}

#[test]
fn the_table_refuses_what_is_outside_and_says_what_would_be_right() {
    for one in USES {
        for value in one.bad {
            let error = validate(one.name, value).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, ParamError::Value { .. }), "{} {value}: {text}", one.name);
            assert!(text.contains(one.name) && text.contains("it must be") && !text.contains('\n'), "{text}");
        }
    }
}

#[test]
fn messages_read_well() {
    let text = |name, value| validate(name, value).unwrap_err().to_string();
    assert_eq!(
        text("subsample", "2"),
        "the parameter \"subsample\" cannot be \"2\": it must be a number above 0 up to 1"
    );
    assert_eq!(
        text("max_depth", "x"),
        "the parameter \"max_depth\" cannot be \"x\": it must be a whole number from 0 on"
    );
    assert_eq!(
        text("max_dept", "6"),
        "XGBoost has no parameter \"max_dept\" for regression with trees: did you mean \"max_depth\"?"
    );
    assert_eq!(
        text("wibble", "6"),
        "XGBoost has no parameter \"wibble\" for regression with trees: leave it out, or correct its name"
    );
    assert_eq!(text("nthread", "6"), "the parameter \"nthread\" cannot be set: set --threads");
}

#[test]
fn near_misses_are_named() {
    for (typed, meant) in [
        ("colsample_by_tree", "colsample_bytree"),
        ("Max-Depth", "max_depth"),
        ("lamda", "lambda"),
        ("learning-rate", "learning_rate"),
        ("min.child.weight", "min_child_weight"),
        ("sub_sample", "subsample"),
    ] {
        assert_eq!(nearest_name(typed), Some(meant));
    }
    assert_eq!(nearest_name("customer_id"), None);
    assert_eq!((edit_distance("kitten", "sitting"), edit_distance("", "abc"), edit_distance("abc", "")), (3, 3, 3));
}

#[test]
fn what_the_program_owns_is_refused() {
    for name in [
        "nthread",
        "n_jobs",
        "seed",
        "random_state",
        "seed_per_iteration",
        "device",
        "verbosity",
        "process_type",
        "updater",
        "validate_parameters",
        "num_class",
        "model_in",
        "model_out",
        "n_estimators",
        "disable_default_eval_metric",
    ] {
        assert!(matches!(validate(name, "1"), Err(ParamError::Owned { .. })), "{name}");
        assert!(!names().any(|known| known == name));
    }
    assert_eq!(Error::from(validate("seed", "1").unwrap_err()).exit_code(), 2);
}

#[test]
fn aliases_are_one_parameter() {
    let twice = parse(&[("eta", "0.1"), ("learning_rate", "0.2")]).unwrap_err();
    assert_eq!(twice.to_string(), "the parameters \"eta\" and \"learning_rate\" are the same: give one of them, once");
    assert!(matches!(parse(&[("gamma", "1"), ("gamma", "1")]), Err(ParamError::Twice { .. })));
    let spec = parse(&[("learning_rate", "0.1"), ("max_depth", " 4 ")]).unwrap();
    let merged = spec.merged(parse(&[("eta", "0.2")]).unwrap());
    assert_eq!(merged.iter().collect::<Vec<_>>(), [("eta", "0.2"), ("max_depth", "4")]);
    assert_eq!(
        (merged.get("learning_rate"), merged.get("eta"), merged.get("lambda")),
        (Some("0.2"), Some("0.2"), None)
    );
}

#[test]
fn contradictions_are_found_before_training() {
    let cases: &[&[(&str, &str)]] = &[
        &[("max_depth", "0")],
        &[("max_depth", "0"), ("max_leaves", "8"), ("tree_method", "exact")],
        &[("tree_method", "exact"), ("colsample_bynode", "0.5")],
        &[("tree_method", "exact"), ("grow_policy", "lossguide")],
        &[("tree_method", "exact"), ("max_bin", "64")],
        &[("tree_method", "approx"), ("sampling_method", "gradient_based"), ("subsample", "0.5")],
        &[("objective", "reg:quantileerror")],
        &[("objective", "reg:expectileerror")],
        &[("monotone_constraints", "(1,0)")],
        &[("monotone_constraints", "(1,0,0,1)")],
        &[("interaction_constraints", "[[0,3]]")],
    ];
    for case in cases {
        let error = parse(case).unwrap().check(&features(3)).unwrap_err();
        assert!(matches!(&error, ParamError::Contradiction(text) if text.contains('"')), "{case:?}: {error}");
    }
    let fine = parse(&[
        ("max_depth", "0"),
        ("max_leaves", "8"),
        ("monotone_constraints", "(1,0,-1)"),
        ("interaction_constraints", "[[0,2]]"),
    ]);
    fine.unwrap().check(&features(3)).unwrap();
}

#[test]
fn what_only_xgboost_can_judge_ends_in_the_dry_run() {
    let told = |pairs: &[(&str, &str)], features: &[Feature]| match dry_run(&parse(pairs).unwrap(), features) {
        Ok(()) => panic!("{pairs:?} are taken"),
        Err(error) => error,
    };
    let mut categorical = features(2);
    categorical[1].kind = FeatureKind::Category;
    let exact = told(&[("tree_method", "exact")], &categorical);
    assert!(matches!(&exact, ParamError::Refused(text) if text.contains("categorical")), "{exact}");
    let logistic = told(&[("objective", "reg:logistic"), ("base_score", "2")], &features(2));
    assert!(matches!(&logistic, ParamError::Refused(_)), "{logistic}");
    let unused = told(&[("huber_slope", "2"), ("tweedie_variance_power", "1.5")], &features(2)).to_string();
    assert!(unused.contains("\"huber_slope\"") && unused.contains("\"tweedie_variance_power\""), "{unused}");
    let gamma = told(&[("objective", "reg:gamma"), ("base_score", "-1")], &features(2)).to_string();
    assert!(gamma.starts_with("XGBoost refuses") && !gamma.contains('\n'), "{gamma}");
    dry_run(&Params::default(), &categorical).unwrap();
}

#[test]
fn the_booster_gets_the_owned_parameters_too() {
    let given = parse(&[("max_depth", "4"), ("max_bin", "64")]).unwrap();
    assert_eq!((given.max_bin(), Params::default().max_bin()), (64, 256));
    let all = given.for_booster(3, 42);
    let text: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(text.join(" "), "max_bin=64 max_depth=4 device=cpu nthread=3 seed=42 seed_per_iteration=true");
    assert_eq!(monotone_constraints(&[1, 0, -1]), "(1,0,-1)");
    assert!(given.wants_quantile_matrix() && !parse(&[("tree_method", "approx")]).unwrap().wants_quantile_matrix());
}

#[test]
fn written_down_and_read_they_are_the_same() {
    let params = Params::parse([("learning_rate", "0.1"), ("objective", "reg:tweedie")]).unwrap();
    let text = serde_json::to_string(&params).unwrap();
    assert_eq!(text, r#"{"eta":"0.1","objective":"reg:tweedie"}"#);
    assert_eq!(serde_json::from_str::<Params>(&text).unwrap(), params);
    assert!(serde_json::from_str::<Params>(r#"{"no_such_parameter":"1"}"#).is_err());
}
