//! Verdicts and their words.

use super::*;

const GATE: Gate = Gate { min_r2: 0.75, max_r2_drop: None, min_slice_r2: None, min_test_rows: 2 };

fn scored(r2: f64) -> Scores {
    Scores { r2, rmse: 1.0, mae: 0.5, rows: 1000 }
}

fn evidence(scores: &Scores) -> Evidence<'_> {
    Evidence { scores, interval: None, previous: None, slices: &[] }
}

fn slice(value: &str, r2: Option<f64>) -> Slice {
    let scores = r2.map(scored).ok_or(MetricError::Constant { value: 1.0 });
    Slice { value: value.to_owned(), rows: 40, scores }
}

#[test]
fn the_threshold_itself_passes_and_a_hair_below_fails_with_all_its_digits() {
    assert!(GATE.judge(&evidence(&scored(0.75))).passed);
    let hair = 0.75_f64.next_down();
    let verdict = GATE.judge(&evidence(&scored(hair)));
    assert_eq!(verdict.text(), format!("R² {hair} is below the minimum 0.75 (min_r2)"));
    assert!(!verdict.passed);
    assert!(!GATE.judge(&evidence(&scored(f64::NAN))).passed);
}

#[test]
fn every_failed_check_is_named_in_one_line() {
    let gate = Gate { max_r2_drop: Some(0.01), min_slice_r2: Some(0.5), ..GATE };
    let previous = Previous { model: "v1/r1".to_owned(), r2: Ok(0.8) };
    let slices = vec![slice("north", Some(0.2)), slice("south", Some(0.9)), slice("east", None)];
    let slices = [SliceColumn { column: "region".to_owned(), slices }];
    let interval = Some(Interval { low: 0.68, high: 0.74, level: 0.95 });
    let scores = scored(0.71);
    let verdict = gate.judge(&Evidence { scores: &scores, interval, previous: Some(&previous), slices: &slices });
    assert_eq!(
        verdict.text(),
        "R² 0.7100 (95 % interval 0.6800 to 0.7400) is below the minimum 0.7500 (min_r2); \
         R² 0.7100 against 0.8000 of the current model v1/r1: a drop of 0.0900, at most 0.0100 allowed (max_r2_drop); \
         1 of 2 slices are below the minimum 0.5000, the worst is region=\"north\" with R² 0.2000 on 40 rows, \
         1 more have no R² (min_slice_r2)"
    );
    let names: Vec<_> = verdict.checks.iter().map(|check| (check.name, check.passed)).collect();
    assert_eq!(names, [("min_test_rows", true), ("min_r2", false), ("max_r2_drop", false), ("min_slice_r2", false)]);
}

#[test]
fn a_first_model_and_a_better_one_pass_the_drop() {
    let gate = Gate { max_r2_drop: Some(0.0), ..GATE };
    let scores = scored(0.9);
    assert!(gate.judge(&evidence(&scores)).passed);
    let worse = Previous { model: "v0".to_owned(), r2: Ok(0.8) };
    let verdict = gate.judge(&Evidence { previous: Some(&worse), ..evidence(&scores) });
    assert!(verdict.passed && verdict.checks[2].value.unwrap() < 0.0);
    assert_eq!(verdict.text(), "all 3 checks of the gate passed");
    assert!(verdict.passed);
}

#[test]
fn a_current_model_that_cannot_be_scored_is_named_and_stops_nothing() {
    let gate = Gate { max_r2_drop: Some(0.0), ..GATE };
    let previous = Previous { model: "v0/r1".to_owned(), r2: Err("model.ubj is missing".to_owned()) };
    let verdict = gate.judge(&Evidence { previous: Some(&previous), ..evidence(&scored(0.9)) });
    assert!(verdict.passed);
    assert_eq!((verdict.checks[2].name, verdict.checks[2].value), ("max_r2_drop", None));
    assert!(verdict.checks[2].detail.contains("v0/r1") && verdict.checks[2].detail.contains("model.ubj is missing"));
}

#[test]
fn slices_without_an_r2_do_not_fail() {
    let gate = Gate { min_slice_r2: Some(0.5), ..GATE };
    let slices = [SliceColumn { column: "c".to_owned(), slices: vec![slice("x", None)] }];
    let verdict = gate.judge(&Evidence { slices: &slices, ..evidence(&scored(0.9)) });
    assert!(verdict.passed);
    assert_eq!(verdict.checks[2].detail, "no slice has an R², 1 more have no R²");
}

#[test]
fn degenerate_rows_are_bad_data_not_a_verdict() {
    let gate = Gate { min_test_rows: 3, ..GATE };
    let told = |targets: &[f64]| gate.measure(targets, &vec![1.0_f32; targets.len()], None).unwrap_err();
    for (targets, reason) in [
        (&[1.0, 2.0][..], "--min-test-rows asks for 3"),
        (&[5.0; 4], "the target is 5"),
        (&[1.0, f64::NAN, 2.0], "NaN"),
    ] {
        let error = told(targets);
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let broken = gate.measure(&[1.0, 2.0, 3.0], &[1.0, f64::NAN, 3.0], None).unwrap_err();
    assert_eq!(broken.exit_code(), 4);
    assert!(broken.to_string().contains("the prediction of row 1 is NaN: the target"), "{broken}");
    assert!((gate.measure(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], None).unwrap().r2 - 1.0).abs() < 1e-15);
}

#[test]
fn json_has_every_check_and_null_for_what_is_not_finite() {
    let verdict = GATE.judge(&evidence(&scored(f64::NEG_INFINITY)));
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["passed"], false);
    assert_eq!(json["checks"][1]["name"], "min_r2");
    assert_eq!(json["checks"][1]["value"], serde_json::Value::Null);
    assert_eq!(json["checks"][1]["threshold"], 0.75);
    assert_eq!(serde_json::to_value(&GATE).unwrap()["max_r2_drop"], serde_json::Value::Null);
}
