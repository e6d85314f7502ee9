//! A feature spec: refused with a text, or read; then what travels in `metadata.json` reads as the same spec.
#![no_main]

use fuzz::features::spec::Spec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Spec::parse(text, "features.toml") {
        Ok(spec) => {
            let json = serde_json::to_string(&spec).expect("a spec is JSON");
            let again: Spec = serde_json::from_str(&json).expect("what was written can be read");
            assert_eq!(spec, again, "{json}");
        }
        Err(error) => {
            assert_eq!(error.exit_code(), 2);
            assert!(!error.to_string().contains('\n'), "more than one line: {error}");
        }
    }
});
