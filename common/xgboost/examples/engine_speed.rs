//! The compiled scorer on a model and a matrix of other programs' making: the section `engines` of `benches/run` compares it with others.
//!
//!     cargo run --release -p xgboost --example engine_speed MODEL.ubj MATRIX N_COLUMNS PREDICTIONS SECONDS
//!
//! `MATRIX` holds native 32-bit floats column after column, NaN where a value is missing. Predictions are written likewise, to
//! `PREDICTIONS.SET.THREADS`. Prints one JSON object for each instruction set and number of threads.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use scoring::{Ensemble, InstructionSet, Scorer};

const THREADS: [usize; 2] = [1, 2];
/// Passes over the matrix at least, of which the fastest counts.
const MIN_PASSES: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, matrix, n_columns, predictions, seconds] = arguments.as_slice() else {
        panic!("usage: engine_speed MODEL.ubj MATRIX N_COLUMNS PREDICTIONS SECONDS");
    };
    let budget = Duration::from_secs_f64(seconds.parse().expect("a number of seconds"));
    let model = std::fs::read(model).expect("a model");
    let values = read_floats(matrix);
    let n_rows = values.len() / n_columns.parse::<usize>().expect("a number of columns");
    let columns: Vec<&[f32]> = values.chunks_exact(n_rows).collect();
    for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
        let start = Instant::now();
        let ensemble = Ensemble::from_ubj(&model).expect("XGBoost's own model");
        let scorer = Scorer::compile_for(&ensemble, set).expect("a model that compiles");
        let load = start.elapsed().as_secs_f64();
        for threads in THREADS {
            let mut predicted = vec![f32::NAN; n_rows];
            let best = fastest_pass(budget, || predict(&scorer, &columns, &mut predicted, threads)).as_secs_f64();
            let name = format!("{set:?}").to_lowercase();
            let bytes: Vec<u8> = predicted.iter().flat_map(|value| value.to_ne_bytes()).collect();
            std::fs::write(format!("{predictions}.{name}.{threads}"), bytes).expect("predictions to be written");
            let speed = n_rows as f64 / best;
            println!(
                r#"{{"instructions":"{name}","threads":{threads},"load_seconds":{load},"rows_per_second":{speed}}}"#
            );
        }
    }
}

fn read_floats(path: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a matrix");
    bytes.chunks_exact(4).map(|value| f32::from_ne_bytes(value.try_into().unwrap())).collect()
}

/// Wall time, as the other engines are measured.
fn fastest_pass(budget: Duration, mut pass: impl FnMut()) -> Duration {
    let (start, mut best, mut passes) = (Instant::now(), Duration::MAX, 0);
    while passes < MIN_PASSES || start.elapsed() < budget {
        let pass_start = Instant::now();
        pass();
        best = best.min(pass_start.elapsed());
        passes += 1;
    }
    best
}

fn predict(scorer: &Scorer, columns: &[&[f32]], out: &mut [f32], threads: usize) {
    let part = out.len().div_ceil(threads);
    std::thread::scope(|scope| {
        for (number, out) in out.chunks_mut(part).enumerate() {
            let columns: Vec<&[f32]> = columns.iter().map(|column| &column[number * part..]).collect();
            scope.spawn(move || scorer.predict(&columns, out));
        }
    });
}
