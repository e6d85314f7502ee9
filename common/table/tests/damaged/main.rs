//! Parquet and CSV that were damaged at random: refused as data that is wrong (exit 4, one line), or read as a table whose
//! columns all have its rows. Never a panic, never an abort.
//!
//! A few seeds in every run; for longer, `make fuzz`, or
//!
//!     FUZZ_SECONDS=600 cargo test --release --locked -p common --test damaged
//!     FUZZ_SEED=17 cargo test --release --locked -p common --test damaged parquet -- --nocapture    one seed again
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod read;
mod tables;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use columns::ColumnSource;
use features::encode::values::as_numbers;
use polars::prelude::Series;
use table::csv::CsvFormat;
use table::parquet::RowGroup;
use testkit::damage;
use testkit::random::Random;

/// Cases of each format in an ordinary run.
const CASES: u64 = 600;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: '{text}' is no number")))
}

/// What `fuzz/fuzz_targets/parquet_input.rs` begins with, and what it found.
#[test]
fn the_seeds_of_the_fuzz_target_are_read_or_refused() {
    let seeds = testkit::project().join("fuzz/seeds/parquet_input");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("seeds-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut refused = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        let seed = seed.unwrap().path();
        let name = seed.file_name().unwrap().to_str().unwrap().to_owned();
        let path = folder.join(format!("{name}.parquet"));
        std::fs::copy(&seed, &path).unwrap();
        let is_refused = matches!(read::whole(&path, CsvFormat::default()), read::Outcome::Refused(_));
        assert_eq!(is_refused, name.starts_with("damaged-"), "{name}");
        refused += usize::from(is_refused);
    }
    assert!(refused >= 3);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// In every codec, in one page and in several, with nulls and without, of all rows of a row group and of some.
#[test]
fn columns_by_their_dictionary_are_the_columns_by_row() {
    const COLUMNS: [&str; 6] = ["town", "sparse", "grade", "day", "one", "rare"];
    /// Those that polars writes so.
    const CODED: [&str; 3] = ["town", "sparse", "rare"];
    for (number, file) in tables::repeating().iter().enumerate() {
        let groups = groups_of("by-dictionary", file, &COLUMNS);
        for group in &groups {
            for rows in [0..group.rows(), 0..2_100, 1_111..group.rows(), 1_703..3_901] {
                let part = group.narrowed(rows.clone());
                for name in COLUMNS {
                    let coded = read::by_codes(&part, name);
                    assert!(
                        coded.is_some() || !CODED.contains(&name),
                        "file {number}: {name} is not read by its dictionary"
                    );
                    let is_same = |coded: Series| coded.equals_missing(&part.column(name).unwrap());
                    assert!(coded.is_none_or(is_same), "file {number}: {rows:?} of {name}");
                }
            }
        }
        let run = table::parquet::RowRun::new(groups);
        for name in CODED {
            assert!(read::by_codes(&run, name).unwrap().equals_missing(&run.column(name).unwrap()), "{name} of a run");
        }
    }
}

/// In every codec, in one page and in several, with nulls and without, of all rows of a row group and of some.
#[test]
fn columns_of_plain_numbers_are_the_columns_as_decoded() {
    const COLUMNS: [&str; 5] = ["float", "sparse", "single", "whole", "small"];
    for (number, file) in tables::plain().iter().enumerate() {
        let groups = groups_of("plain", file, &COLUMNS);
        let is_same = |rows: &dyn ColumnSource, name: &str| {
            let numbers =
                read::plain_numbers(rows, name).unwrap_or_else(|| panic!("file {number}: {name} is not plain"));
            numbers == read::bits(&as_numbers(&rows.column(name).unwrap()).unwrap())
        };
        for group in &groups {
            for rows in [0..group.rows(), 0..2_100, 1_111..group.rows(), 1_703..3_901, 64..128, 3_999..4_000] {
                for name in COLUMNS {
                    assert!(is_same(&group.narrowed(rows.clone()), name), "file {number}: {rows:?} of {name}");
                }
            }
        }
        let run = table::parquet::RowRun::new(groups);
        assert!(COLUMNS.iter().all(|name| is_same(&run, name)), "file {number}: a run");
    }
}

/// The row groups of a file with these columns.
fn groups_of(what: &str, file: &[u8], columns: &[&str]) -> Vec<RowGroup> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{what}-{}", std::process::id()));
    let path = write(&folder, "parquet", 0, file);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let groups = runtime.block_on(async {
        let location = storage::Location::parse(&path.display().to_string()).unwrap();
        let dataset = table::Dataset::open(&location, CsvFormat::default()).await.unwrap();
        let object = &dataset.objects[0];
        let groups = object.parquet.as_ref().unwrap();
        let names: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let count = groups.row_groups().len();
        groups.fetch_groups(dataset.store.as_ref(), &object.meta, 0..count, &names).await.unwrap()
    });
    std::fs::remove_dir_all(&folder).unwrap();
    groups
}

/// Damages one of `originals` for every seed and reads it as a file with this ending. What is being read lies in the build's
/// temporary folder, in case it ends the process.
fn fuzz(ending: &str, originals: &[Vec<u8>], damage: fn(&[u8], &mut Random) -> Vec<u8>) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("damaged-{}-{}", ending, std::process::id()));
    let one = setting("FUZZ_SEED");
    let first = one.or_else(|| setting("FUZZ_FIRST")).unwrap_or(0);
    let until =
        setting("FUZZ_SECONDS").filter(|_| one.is_none()).map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let goes_on = |seed: u64| match until {
        Some(until) => Instant::now() < until,
        None => seed < first + if one.is_some() { 1 } else { CASES },
    };
    let (mut read, mut refused, mut failed) = (0_u64, 0_u64, Vec::new());
    let mut seed = first;
    while goes_on(seed) {
        let random = &mut Random::new(seed);
        let original = &originals[random.below(originals.len() as u64) as usize];
        let path = write(&folder, ending, seed, &damage(original, random));
        match catch_unwind(AssertUnwindSafe(|| read::whole(&path, CsvFormat::default()))) {
            Ok(read::Outcome::Read) => read += 1,
            Ok(read::Outcome::Refused(text)) => {
                refused += 1;
                if one.is_some() {
                    println!("{text}");
                }
            }
            Err(_) => failed.push(seed),
        }
        if failed.last() != Some(&seed) && one.is_none() {
            std::fs::remove_file(&path).unwrap();
        }
        seed += 1;
    }
    println!("{ending}: {} cases: {read} read, {refused} refused, {} failed", seed - first, failed.len());
    assert!(failed.is_empty(), "seeds that failed: {failed:?}; the files are in {}", folder.display());
    assert!(one.is_some() || read > 0 && refused > 0, "{read} read, {refused} refused");
    let _ = std::fs::remove_dir_all(&folder);
}

fn write(folder: &Path, ending: &str, seed: u64, content: &[u8]) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(format!("{seed}.{ending}"));
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn damaged_parquet_is_refused_or_read() {
    fuzz("parquet", &tables::parquet(), damage::parquet);
}

#[test]
fn damaged_csv_is_refused_or_read() {
    fuzz("csv", &tables::csv(), damage::csv);
}

#[test]
fn damaged_compressed_csv_is_refused_or_read() {
    let compressed: Vec<Vec<u8>> = tables::csv().iter().map(|text| tables::gzip(text)).collect();
    fuzz("csv.gz", &compressed, damage::bytes);
}
