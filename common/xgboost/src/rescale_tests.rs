//! Models in other units of the target, as XGBoost and the compiled scorer see them.

use super::tests::{Table, load, options, params, trained};
use super::*;
use scoring::{Ensemble, EnsembleError, Scorer, power_of_two, rescale};

fn model(case: &[(&str, &str)]) -> Vec<u8> {
    let (features, table) = (Table::features(true), Table::new(600, 3));
    let batch = Batch { columns: table.columns(), labels: Some(&table.labels), weights: None };
    let matrix = DMatrix::quantile(&features, &batch, &options(1)).unwrap();
    trained(&params(case), &matrix, 12).save().unwrap()
}

fn predictions(model: &[u8], rows: &Table) -> Vec<f32> {
    load(model).predict_columns(&rows.columns(), 0..0).unwrap()
}

fn gain(model: &[u8]) -> f64 {
    let mut booster = load(model);
    booster.feature_scores(Importance::TotalGain).unwrap().iter().map(|(_, gain)| f64::from(*gain)).sum()
}

#[test]
fn a_model_times_a_power_of_two_predicts_exactly_that() {
    let rows = Table::new(400, 9);
    for case in [
        &[("eta", "0.2")][..],
        &[("booster", "dart"), ("rate_drop", "0.3")],
        &[("subsample", "0.6"), ("max_depth", "4")],
    ] {
        let model = model(case);
        let before = predictions(&model, &rows);
        for exponent in [-70, -40, -1, 0, 1, 33, 90] {
            let rescaled = rescale(&model, exponent).unwrap();
            let expected: Vec<f32> =
                before.iter().map(|value| (f64::from(*value) * power_of_two(exponent)) as f32).collect();
            assert_eq!(predictions(&rescaled, &rows), expected, "{exponent}");
            // What XGBoost writes back, which is what is published, says the same.
            let saved = load(&rescaled).save().unwrap();
            assert_eq!(predictions(&saved, &rows), expected);
            if !case.contains(&("booster", "dart")) {
                let scorer = Scorer::compile(&Ensemble::from_ubj(&saved).unwrap()).unwrap();
                let columns: Vec<&[f32]> = rows.numbers.iter().chain([&rows.codes]).map(Vec::as_slice).collect();
                let mut scored = vec![0.0; rows.labels.len()];
                scorer.predict(&columns, &mut scored);
                assert_eq!(scored, expected);
            }
        }
    }
}

#[test]
fn there_and_back_is_the_same_model() {
    let model = model(&[("eta", "0.2")]);
    // As XGBoost writes it: small integers take less room there.
    let saved = |model: &[u8], exponent: i32| load(&rescale(model, exponent).unwrap()).save().unwrap();
    for exponent in [-40, -3, 0, 40] {
        assert!(saved(&saved(&model, exponent), -exponent) == model, "{exponent}");
    }
}

#[test]
fn gains_are_the_squares_where_they_have_room() {
    let model = model(&[("eta", "0.2")]);
    let before = gain(&model);
    assert_eq!(gain(&rescale(&model, 10).unwrap()), before * 2_f64.powi(20));
    assert_eq!(gain(&rescale(&model, -10).unwrap()), before * 2_f64.powi(-20));
    // Their proportions are what is looked at.
    assert_eq!(gain(&rescale(&model, 100).unwrap()), before);
    assert_eq!(gain(&rescale(&model, -100).unwrap()), before);
}

#[test]
fn what_has_no_room_or_is_no_model_is_refused() {
    let model = model(&[]);
    assert!(
        matches!(rescale(&model, 140), Err(EnsembleError::Unsupported(text)) if text.contains("beyond 32-bit floats"))
    );
    assert!(rescale(&model[..model.len() - 1], 1).is_err() && rescale(b"{}", 1).is_err());
}
