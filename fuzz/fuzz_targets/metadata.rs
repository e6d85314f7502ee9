//! `metadata.json` is refused as a damaged model, or can be used for all that predict uses it for.
#![no_main]

use std::sync::Arc;

use engagement_fuzz::{assert_refusal, mutate, rows, start};
use features::clip::final_prediction;
use features::encode::BadRows;
use features::quality::{FeatureTally, data_quality_score};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use registry::Metadata;

fuzz_target!(init: start(), |data: &[u8]| {
    let metadata = match Metadata::from_json(data, "metadata.json") {
        Ok(metadata) => metadata,
        Err(error) => return assert_refusal(&error, &[6]),
    };
    let json = metadata.to_json().expect("metadata as JSON");
    let again = Metadata::from_json(&json, "metadata.json").expect("metadata that was written");
    assert_eq!(again.to_json().expect("metadata as JSON"), json);
    let encoder = match metadata.encoder() {
        Ok(encoder) => encoder,
        Err(error) => return assert_refusal(&error, &[6]),
    };
    let golden = metadata.golden.columns();
    assert!(golden.len() == metadata.features.len() || metadata.golden.rows.is_empty());
    for output in [0.0, -1e30, f32::INFINITY, f32::NAN] {
        let _ = final_prediction(output, metadata.clip);
    }
    let inputs: Vec<_> = metadata.features.iter().flat_map(|feature| feature.input_columns()).map(|(name, kind)| (name.to_owned(), kind)).collect();
    for is_csv in [false, true] {
        let table = rows::table(&inputs, is_csv);
        let mut tallies = Vec::new();
        for (index, statistics) in metadata.statistics.iter().enumerate() {
            let mut tally = FeatureTally::new(Some(Arc::new(statistics.clone())));
            let (mut out, mut bad) = (Vec::new(), BadRows::none(rows::ROWS));
            match encoder.encode(index, &table, &mut out, &mut tally, &mut bad) {
                Ok(()) => assert!(out.len() == rows::ROWS && out.iter().all(|value| !value.is_infinite())),
                Err(error) => assert_refusal(&error, &[4]),
            }
            let _ = tally.drift(statistics);
            tallies.push(tally);
        }
        let score = data_quality_score(1, 2, metadata.features.iter().zip(&tallies), true);
        assert!((0.0..=1.0).contains(&score), "{score}");
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::json(data, size, max_size, seed) });
