//! A feature spec is refused as a setting, in one line, or means the same after its way through `metadata.json`.
#![no_main]

use engagement_fuzz::{assert_refusal, start};
use features::spec::Spec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Spec::parse(text, "features.toml") {
        Err(error) => assert_refusal(&error, &[2]),
        Ok(spec) => {
            let json = serde_json::to_vec(&spec).expect("a spec as JSON");
            let again: Spec = serde_json::from_slice(&json).expect("a spec out of metadata.json");
            assert_eq!(again, spec, "{}", String::from_utf8_lossy(&json));
            if let Err(error) = spec.with_columns(Some("customer_id"), Some("score")) {
                assert_refusal(&error, &[2]);
            }
        }
    }
});
