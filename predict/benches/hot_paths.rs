//! Micro-benchmarks of what a row goes through: `cargo bench -p predict [-- encoding]`.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod inputs;
#[allow(dead_code)]
#[path = "../../common/xgboost/tests/scoring/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "../../common/xgboost/tests/scoring/xgb.rs"]
mod xgb;

use divan::Bencher;
use divan::counter::ItemsCount;
use inputs::{BLOCK_ROWS, Encoding, ROWS, Scoring};
use scoring::InstructionSet;

fn main() {
    divan::main();
}

#[divan::bench]
fn encoding(bencher: Bencher<'_, '_>) {
    let encoding = Encoding::new();
    bencher.counter(ItemsCount::new(ROWS)).bench(|| encoding.encode_all());
}

#[divan::bench(args = InstructionSet::ALL)]
fn quantising(bencher: Bencher<'_, '_>, instructions: InstructionSet) {
    let Some(mut scoring) = Scoring::new(&inputs::model(), instructions) else { return };
    bencher.counter(ItemsCount::new(BLOCK_ROWS)).bench_local(|| scoring.quantise());
}

#[divan::bench(args = InstructionSet::ALL)]
fn scoring(bencher: Bencher<'_, '_>, instructions: InstructionSet) {
    let Some(mut scoring) = Scoring::new(&inputs::model(), instructions) else { return };
    bencher.counter(ItemsCount::new(BLOCK_ROWS)).bench_local(|| scoring.score());
}

#[divan::bench]
fn parquet_out(bencher: Bencher<'_, '_>) {
    let mut frame = inputs::predictions();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| table::write::to_parquet(&mut frame).unwrap());
}
