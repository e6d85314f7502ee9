//! Pointers and results of a model store, whatever they hold: refused as a damaged model (a result: as damaged data), or
//! followed; and a new pointer is written over one that can be read.
#![no_main]

use engagement_fuzz::store::MemoryStore;
use engagement_fuzz::{assert_refusal, block_on, mutate, start};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use registry::{ModelRun, ModelStore, Pointer, Selector, load};
use telemetry::Outcome;
use train::plan;

/// When the new model was complete.
const NOW: &str = "2026-11-28T10:00:00.000Z";

fuzz_target!(init: start(), |data: &[u8]| block_on(check(data)));

async fn check(data: &[u8]) {
    let run = ModelRun::from_path("v1/m").expect("a run");
    let store = MemoryStore::of([
        ("engagement/latest.json", data.to_vec()),
        ("engagement/v1/m/result.json", data.to_vec()),
        ("engagement/v1/m/_checkpoint/plan.json", data.to_vec()),
    ]);
    let models = ModelStore::new(store, "engagement");
    let latest = Pointer::read(&models, &models.latest_key()).await;
    for selector in [Selector::Latest, Selector::Run(run.clone())] {
        if let Err(error) = load(&models, &selector).await {
            assert_refusal(&error, &[6]);
        }
    }
    let published =
        attempt::pointer::publish(models.store(), &models.latest_key(), Pointer::to(&run, Some(0.9), "00", None, NOW))
            .await;
    match (latest, published) {
        (Ok(_), published) => drop(published.expect("a pointer over one that can be read")),
        (Err(error), published) => {
            assert_refusal(&error, &[6]);
            assert_refusal(&published.expect_err("what cannot be read is not written over"), &[6]);
        }
    }
    let folder = plan::folder(&models, &run);
    if let Err(error) = folder.earlier::<plan::TrainBody>(&serde_json::Value::Null, plan::PROGRAM_VERSION).await {
        assert_refusal(&error, &[2, 4]);
    }
    match Outcome::from_json(data) {
        Ok(outcome) => assert_eq!(
            Outcome::from_json(outcome.json().as_bytes()).expect("it was read").exit_code(),
            outcome.exit_code()
        ),
        Err(error) => assert_refusal(&error, &[4]),
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Err(error) = text.parse::<Selector>() {
            assert_refusal(&error, &[2]);
        }
    }
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::json(data, size, max_size, seed) });
