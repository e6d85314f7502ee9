//! How fast rows are explained: `benches/reasons` runs it and makes a table of what it prints.
//!
//! `explain MODEL.ubj COLUMNS.f32 SECONDS INSTRUCTIONS REASONS [CONTRIBUTIONS.f32]`: the columns are 32-bit floats, one column after the other. Prints
//! one JSON object; with a last argument writes the contributions of all features of all rows, column after column.
// It reports problems by panicking, as tests do, and prints what it measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant};

use scoring::{Ensemble, Explainer, InstructionSet, Reason, Scorer};

/// Rows of a block: their columns stay in the second-level cache.
const BLOCK: usize = 2048;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, columns, seconds, instructions, reasons, rest @ ..] = &arguments[..] else {
        panic!("explain MODEL.ubj COLUMNS.f32 SECONDS INSTRUCTIONS REASONS [CONTRIBUTIONS.f32]");
    };
    let ensemble = Ensemble::from_ubj(&std::fs::read(model).unwrap()).unwrap();
    let columns = std::fs::read(columns).unwrap();
    let columns: Vec<f32> = columns.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let n_rows = columns.len() / ensemble.n_features();
    let columns: Vec<&[f32]> = columns.chunks(n_rows).collect();
    let instructions =
        InstructionSet::ALL.into_iter().find(|set| format!("{set:?}").eq_ignore_ascii_case(instructions));
    let Some(instructions) = instructions.filter(|set| set.is_available()) else {
        println!("null");
        return;
    };
    let scorer = Scorer::compile_for(&ensemble, instructions).unwrap();
    let sources: Vec<u32> = (0..ensemble.n_features() as u32).collect();
    let began = Instant::now();
    let explainer = Explainer::new(&ensemble, &scorer, &sources).unwrap();
    let compiled = began.elapsed().as_secs_f64();
    if let [path] = rest {
        let mut block = scorer.new_block(n_rows);
        quantise(&scorer, &columns, 0, n_rows, &mut block);
        let mut all = vec![0.0_f32; n_rows * explainer.n_sources()];
        explainer.contributions(&scorer, &block, n_rows, &mut explainer.new_scratch(), &mut all);
        let bytes: Vec<u8> = all.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(path, bytes).unwrap();
    }
    let count: usize = reasons.parse().unwrap();
    let time = Duration::from_secs_f64(seconds.parse().unwrap());
    let (scored, score_seconds) = measure(
        time / 4,
        |first| {
            let n_rows = BLOCK.min(n_rows - first);
            let mut block = scorer.new_block(BLOCK);
            let mut out = [0.0; BLOCK];
            quantise(&scorer, &columns, first, n_rows, &mut block);
            scorer.score(&mut block, &mut out[..n_rows]);
            n_rows
        },
        n_rows,
    );
    let mut block = scorer.new_block(BLOCK);
    let mut scratch = explainer.new_scratch();
    let mut out = vec![Reason::NONE; BLOCK * count];
    let (explained, explain_seconds) = measure(
        time,
        |first| {
            let n_rows = BLOCK.min(n_rows - first);
            quantise(&scorer, &columns, first, n_rows, &mut block);
            explainer.explain(&scorer, &block, n_rows, &mut scratch, &mut out[..n_rows * count]);
            n_rows
        },
        n_rows,
    );
    println!(
        "{{\"instructions\":\"{instructions:?}\",\"rows_per_cpu_second\":{:.0},\"scored_per_cpu_second\":{:.0},\"points\":{},\"table_bytes\":{},\"bound_bytes\":{},\"scratch_bytes\":{},\"compile_seconds\":{compiled:.3},\"base_value\":{}}}",
        explained as f64 / explain_seconds,
        scored as f64 / score_seconds,
        explainer.points(),
        explainer.table_bytes(),
        Explainer::bytes_needed(&ensemble, &scorer, explainer.n_sources())[0],
        Explainer::bytes_needed(&ensemble, &scorer, explainer.n_sources())[1],
        explainer.base_value(),
    );
}

fn quantise(scorer: &Scorer, columns: &[&[f32]], first: usize, n_rows: usize, block: &mut scoring::QuantizedBlock) {
    for (feature, column) in columns.iter().enumerate().filter(|(feature, _)| scorer.uses(*feature)) {
        scorer.quantise(feature, &column[first..first + n_rows], 0, block);
    }
}

/// Works on the rows again and again for some time; the number of rows, and the CPU seconds that they took.
fn measure(time: Duration, mut work: impl FnMut(usize) -> usize, n_rows: usize) -> (usize, f64) {
    work(0);
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut done = 0;
    while began.elapsed() < time {
        done += work(done / BLOCK * BLOCK % (n_rows / BLOCK * BLOCK));
    }
    (done, cpu_seconds() - cpu)
}

/// What this process has had of the CPU, by Linux: the machine may be shared.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
