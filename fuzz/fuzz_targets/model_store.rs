//! A model's folder whose hashes fit: its `metadata.json`, a zero byte, and its `model.ubj`. Loading it as predict does
//! ends with a model or with exit 6, and XGBoost is not harmed by what reaches it.
#![no_main]

use engagement_fuzz::store::MemoryStore;
use engagement_fuzz::{assert_refusal, block_on, mutate, start};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use predict::load::{Model, Wanted};
use registry::{ModelRun, ModelStore, Selector};
use serde_json::{Value, json};
use storage::sha256_hex;

fuzz_target!(init: start(), |data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == 0) else { return };
    let (metadata, model) = (&data[..end], &data[end + 1..]);
    let metadata = match serde_json::from_slice::<Value>(metadata) {
        Ok(Value::Object(mut fields)) => {
            fields.insert("model_sha256".to_owned(), json!(sha256_hex(model)));
            Value::Object(fields).to_string().into_bytes()
        }
        _ => return,
    };
    let result = json!({"gate": "passed", "r2": 0.9, "metadata_sha256": sha256_hex(&metadata)}).to_string();
    let store = MemoryStore::of([
        ("engagement/v1/m/result.json", result.into_bytes()),
        ("engagement/v1/m/metadata.json", metadata),
        ("engagement/v1/m/model.ubj", model.to_vec()),
    ]);
    let models = ModelStore::new(store, "engagement");
    let run = ModelRun::from_path("v1/m").expect("a run");
    let wanted = Wanted { instructions: None, reasons: true, interval: Some(0.9), memory_bytes: 1 << 30, threads: 1 };
    match block_on(Model::load(&models, &Selector::Run(run.clone()), run, &wanted)) {
        Ok(model) => {
            let _ = model.input_columns(&[]);
            let _ = model.new_tallies();
        }
        Err(error) => assert_refusal(&error, &[6]),
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::model_folder(data, size, max_size, seed)
});
