//! A `model.ubj` is refused before XGBoost sees it, or XGBoost loads and scores it without harm, and what we compile of it
//! predicts the same bits on every instruction set.
#![no_main]

use engagement_fuzz::{mutate, rows, start};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use scoring::{CheckedModel, InstructionSet, Scorer};
use xgboost::{Booster, Column};

/// Rows that are scored: more than a word of 64, so that there is a tail.
const ROWS: usize = 70;
/// More features take longer than they teach.
const MOST_FEATURES: usize = 64;

fuzz_target!(init: start(), |data: &[u8]| {
    let Ok(checked) = CheckedModel::check(data) else { return };
    let Ok(mut booster) = Booster::load(&checked) else { return };
    booster.set_threads(1).expect("threads");
    let Ok(ensemble) = checked.into_ensemble() else {
        score_by_xgboost(&booster);
        return;
    };
    let n_features = ensemble.n_features();
    if n_features > MOST_FEATURES {
        return;
    }
    let columns: Vec<Vec<f32>> = (0..n_features).map(values).collect();
    let columns: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
    let given: Vec<Column<'_>> = columns.iter().map(|column| Column::from(*column)).collect();
    let by_xgboost = booster.predict_columns(&given, 0..0);
    let Ok(by_xgboost) = by_xgboost else { return };
    for instructions in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
        let Ok(scorer) = Scorer::compile_for(&ensemble, instructions) else { return };
        assert_eq!(scorer.n_features(), n_features);
        let mut ours = [0.0; ROWS];
        scorer.predict(&columns, &mut ours);
        for (ours, theirs) in ours.iter().zip(&by_xgboost) {
            let equal = ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
            assert!(equal, "{instructions:?}: {ours} for {theirs}");
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::in_place(data, size, max_size, seed)
});

/// Scores with a model that is not compiled, whose number of features nobody here knows.
fn score_by_xgboost(booster: &Booster) {
    for n_features in 1..=8 {
        let columns: Vec<Vec<f32>> = (0..n_features).map(values).collect();
        let given: Vec<Column<'_>> = columns.iter().map(|column| Column::from(column.as_slice())).collect();
        if booster.predict_columns(&given, 0..0).is_ok() {
            return;
        }
    }
}

/// Values of a feature: of numbers, and of the codes of categories.
fn values(feature: usize) -> Vec<f32> {
    let value = |row: usize| match row % 3 {
        0 => rows::NUMBERS[(row + feature) % rows::ROWS] as f32,
        1 => ((row * 7 + feature) % 40) as f32,
        _ => (row as f32 - 30.0) * 0.37 / (feature + 1) as f32,
    };
    (0..ROWS).map(value).collect()
}
