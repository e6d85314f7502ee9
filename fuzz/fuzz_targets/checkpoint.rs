//! Objects of a checkpoint: JSON and bytes are given out as they were sealed, or refused; a booster's snapshot whose seal
//! fits does not harm XGBoost.
#![no_main]

use engagement_fuzz::{mutate, start};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use scoring::CheckedSnapshot;
use serde_json::Value;
use train::checkpoint::{seal_bytes, unseal_bytes, unseal_json};
use xgboost::Booster;

/// What the seeds belong to.
const RUN: &str = "run";

fuzz_target!(init: start(), |data: &[u8]| {
    let _ = unseal_json::<Value>(RUN, data);
    let _ = unseal_bytes(RUN, data);
    let sealed = seal_bytes(RUN, data).expect("a seal");
    let snapshot = unseal_bytes(RUN, &sealed).expect("what was sealed");
    assert_eq!(snapshot, data);
    let Ok(snapshot) = CheckedSnapshot::check(snapshot) else { return };
    if let Ok(mut booster) = Booster::unserialize(&snapshot) {
        let _ = booster.rounds();
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::in_place(data, size, max_size, seed)
});
