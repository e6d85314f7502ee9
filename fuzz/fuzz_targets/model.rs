//! `model.ubj`: refused, or compiled; then every instruction set of the machine scores hostile rows to the same bits, and
//! without reading outside the model.
#![no_main]

use fuzz::scoring::{Ensemble, InstructionSet, Scorer};
use libfuzzer_sys::fuzz_target;

/// Rows scored: more than a word of 64.
const ROWS: usize = 70;
/// Larger ones are XGBoost's to score.
const MOST_FEATURES: usize = 4_096;

fn value(row: usize, feature: usize) -> f32 {
    match (row * 31 + feature * 7) % 11 {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => f32::NEG_INFINITY,
        3 => -0.0,
        4 => f32::MIN_POSITIVE / 2.0,
        5 => f32::MAX,
        6 => -1.0,
        _ => ((row * 13 + feature) % 50) as f32 - 3.5,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(ensemble) = Ensemble::from_ubj(bytes) else { return };
    let mut expected: Option<Vec<u32>> = None;
    for instructions in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
        let Ok(scorer) = Scorer::compile_for(&ensemble, instructions) else { return };
        let features = scorer.n_features();
        if features > MOST_FEATURES {
            return;
        }
        let columns: Vec<Vec<f32>> =
            (0..features).map(|feature| (0..ROWS).map(|row| value(row, feature)).collect()).collect();
        let slices: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
        let mut out = vec![0.0; ROWS];
        scorer.predict(&slices, &mut out);
        let bits: Vec<u32> = out.iter().map(|value| if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }).collect();
        match &expected {
            None => expected = Some(bits),
            Some(expected) => assert_eq!(*expected, bits, "{instructions:?}"),
        }
    }
});
