//! The compiled scorer against XGBoost's in-place prediction, bits and speed, on made-up data of 70 columns.
//!
//!     cargo run --release -p common --example scoring_speed [rows [trees [depth]]]
#![allow(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../tests/scoring/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "../tests/scoring/xgb.rs"]
mod xgb;

use std::time::{Duration, Instant};

use random::Random;
use scoring::{Ensemble, InstructionSet, Scorer};
use xgb::{Booster, Matrix, Table};

const TRAINING_ROWS: usize = 50_000;
const NUMERIC_COLUMNS: usize = 62;
const LEVELS: [usize; 8] = [2, 3, 5, 8, 12, 20, 30, 50];
/// Passes over the table, of which the fastest counts; one over a large table.
const PASSES_MOST: usize = 5;
const ROWS_OF_ALL_PASSES: usize = 5_000_000;

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let setting = |place: usize, default: usize| arguments.get(place).copied().unwrap_or(default);
    let (n_rows, n_trees, depth) = (setting(0, 1_000_000), setting(1, 200), setting(2, 6));
    let random = &mut Random(42);
    let table = random::table(random, n_rows, NUMERIC_COLUMNS, &LEVELS, 0.05);
    let model = train(random, &table, n_trees, depth);
    let ensemble = Ensemble::from_ubj(&model).expect("XGBoost's own model");
    println!(
        "{n_rows} rows × {} columns, {} trees, {} splits deep, {} leaves at most",
        table.columns.len(),
        ensemble.n_trees(),
        ensemble.max_depth(),
        ensemble.max_leaves()
    );
    let reading = time(1, || drop(Ensemble::from_ubj(&model)));
    let compiling = time(1, || drop(Scorer::compile(&ensemble)));
    println!(
        "{:.1} MB read and checked in {:.1} ms, compiled in {:.1} ms",
        model.len() as f64 / 1e6,
        reading.as_secs_f64() * 1e3,
        compiling.as_secs_f64() * 1e3
    );
    for threads in [1, 2] {
        compare(&table, &model, &ensemble, threads);
    }
}

fn train(random: &mut Random, table: &Table, n_trees: usize, depth: usize) -> Vec<u8> {
    let head = |column: &Vec<f32>| column[..TRAINING_ROWS.min(column.len())].to_vec();
    let training = Table { columns: table.columns.iter().map(head).collect(), categorical: table.categorical.clone() };
    let labels = random::labels(random, &training);
    let parameters = [("max_depth", depth.to_string()), ("tree_method", "hist".into()), ("nthread", "2".into())];
    Booster::train(&Matrix::new(&training, &labels), &parameters, n_trees as i32).model()
}

/// Runs XGBoost and all instruction sets in turn, since others use the machine too, and prints the best of each.
fn compare(table: &Table, model: &[u8], ensemble: &Ensemble, threads: usize) {
    let booster = Booster::load(model);
    booster.set("nthread", &threads.to_string());
    let available = InstructionSet::ALL.into_iter().filter(|set| set.is_available());
    let scorers: Vec<Scorer> =
        available.map(|set| Scorer::compile_for(ensemble, set).expect("a model that compiles")).collect();
    let columns = table.slices();
    let mut expected = vec![0.0; table.n_rows()];
    let mut predicted = vec![0.0; table.n_rows()];
    let mut best = vec![Duration::MAX; scorers.len() + 2];
    let passes = (ROWS_OF_ALL_PASSES / table.n_rows().max(1)).clamp(1, PASSES_MOST);
    for _ in 0..passes {
        best[0] = best[0].min(time(threads, || booster.predict(&columns, &mut expected)));
        for (scorer, best) in scorers.iter().zip(&mut best[1..]) {
            predicted.fill(f32::NAN);
            *best = (*best).min(time(threads, || {
                predict(scorer, &columns, &mut predicted, threads);
            }));
            let different = expected.iter().zip(&predicted).filter(|(one, other)| one.to_bits() != other.to_bits());
            assert_eq!(different.count(), 0, "rows that differ, {:?}", scorer.instruction_set());
        }
    }
    println!("{threads} thread(s), all bits equal:");
    print_speed("XGBoost", table.n_rows(), best[0], best[0]);
    for (scorer, time) in scorers.iter().zip(&best[1..]) {
        print_speed(&format!("{:?}", scorer.instruction_set()), table.n_rows(), *time, best[0]);
        quantising(scorer, &columns);
    }
}

fn print_speed(name: &str, rows: usize, time: Duration, reference: Duration) {
    let speed = rows as f64 / time.as_secs_f64() / 1e6;
    let ratio = reference.as_secs_f64() / time.as_secs_f64();
    println!("  {name:10} {speed:7.2} M rows/s  {ratio:5.1} ×");
}

/// The share of quantising, on one thread.
fn quantising(scorer: &Scorer, columns: &[&[f32]]) {
    const ROWS: usize = 2048;
    let mut block = scorer.new_block(ROWS);
    let n_blocks = (columns[0].len() / ROWS).max(1);
    let rows = ROWS.min(columns[0].len());
    let mut out = vec![0.0; rows];
    let quantised = time(1, || {
        for number in 0..n_blocks {
            for (feature, column) in columns.iter().enumerate() {
                scorer.quantise(feature, &column[number * ROWS..][..rows], 0, &mut block);
            }
        }
    });
    let scored = time(1, || {
        (0..n_blocks).for_each(|_| scorer.score(&mut block, &mut out));
    });
    let per_row = |time: Duration| time.as_nanos() as f64 / (n_blocks * rows) as f64;
    println!(
        "             {:.0} ns quantising + {:.0} ns scoring per row and thread",
        per_row(quantised),
        per_row(scored)
    );
}

fn predict(scorer: &Scorer, columns: &[&[f32]], out: &mut [f32], threads: usize) {
    if threads == 1 {
        return scorer.predict(columns, out);
    }
    let part = out.len().div_ceil(threads);
    std::thread::scope(|scope| {
        for (number, out) in out.chunks_mut(part).enumerate() {
            let columns: Vec<&[f32]> = columns.iter().map(|column| &column[number * part..]).collect();
            scope.spawn(move || scorer.predict(&columns, out));
        }
    });
}

/// Processor time of this thread where only it works, since it does not count what others do with the machine; else
/// time on the clock.
fn time(threads: usize, work: impl FnOnce()) -> Duration {
    if threads > 1 {
        let start = Instant::now();
        work();
        return start.elapsed();
    }
    let start = thread_time();
    work();
    thread_time() - start
}

#[allow(unsafe_code)]
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
