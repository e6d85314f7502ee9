//! Records of a run of predict: plan, result and parts are refused, ignored, or add up.
#![no_main]

use std::sync::Arc;

use attempt::Earlier;
use engagement_fuzz::store::MemoryStore;
use engagement_fuzz::{assert_refusal, block_on, mutate, start};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use machine::tasks::Processors;
use predict::manifest::Totals;
use predict::plan;
use predict::settings::OutputFormat;
use predict::write::PartWriter;
use registry::ModelRun;

fuzz_target!(init: start(), |data: &[u8]| block_on(check(data)));

async fn check(data: &[u8]) {
    let store = MemoryStore::of([
        ("runs/r/plan.json", data.to_vec()),
        ("runs/r/result.json", data.to_vec()),
        ("runs/r/manifest.json", data.to_vec()),
        ("runs/r/_parts/commit", data.to_vec()),
        ("runs/r/_parts/part-00000.json", data.to_vec()),
        ("runs/r/_parts/part-00001.json", data.to_vec()),
        // What the seeds name as their parts.
        ("predictions/run_id=r/part-00000.parquet", vec![0; 100]),
        ("rejected/run_id=r/part-00000.parquet", vec![0; 100]),
    ]);
    let run_id: machine::RunId = "r".parse().expect("a run id");
    let folder = plan::folder(Arc::clone(&store) as _, &run_id);
    let settings = serde_json::from_slice::<serde_json::Value>(data).ok();
    let settings = settings.and_then(|plan| plan.get("settings").cloned()).unwrap_or_default();
    match folder.earlier::<plan::PredictBody>(&settings, plan::PROGRAM_VERSION).await {
        Ok(Earlier::UnderWay(plan)) => {
            if let Err(error) = ModelRun::from_path(&plan.body.model) {
                assert_refusal(&error, &[6]);
            }
        }
        Ok(_) => {}
        Err(error) => assert_refusal(&error, &[2, 4]),
    }
    let writer = PartWriter {
        store,
        run_id,
        format: OutputFormat::Parquet,
        model_version: "v1".to_owned(),
        target: None,
        slices: 0,
        processors: Processors::new(1),
    };
    let parts = writer.finished_parts(&(0..2), |_| true).await.expect("what cannot be read is no part");
    let totals = Totals::of(parts, Vec::new());
    assert!(totals.rows_predicted() <= totals.rows_read);
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::json(data, size, max_size, seed) });
