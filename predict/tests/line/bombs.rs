//! Files that are small and hold much, and stores that lie about it: a run ends well, or with exit 4, 6 or 8, within its control group,
//! and is never ended by the kernel.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};
use serde_json::Value;
use table::write::{CompressionOptions, ParquetWriter};
use testkit::cgroup::MemoryGroup;
use testkit::random::Random;
use testkit::tables::customers;

use super::Workshop;

/// The share of its control group, in hundredths, that a program stays below; the rest is the allocator's and the kernel's.
const MOST_OF_LIMIT: u64 = 96;

/// A run of a program in a control group.
struct Bounded {
    /// Its exit code; none where it was killed.
    code: Option<i32>,
    /// Its last line.
    last: Value,
    took: Duration,
    /// The most physical memory that it says it had, in MiB.
    peak: f64,
    log: String,
}

/// How a program ended in a control group of so many MiB. It has never had as much memory as there is.
fn bounded(mib: u64, workshop: &Workshop, program: &str, arguments: &[&str]) -> Option<Bounded> {
    let group = MemoryGroup::of_mib(mib)?;
    let folder = Path::new(env!("CARGO_BIN_EXE_predict")).parent().unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{} && exec \"$@\"", group.enter()), "bash"]).arg(folder.join(program));
    command.args(arguments).args(["--threads", "2", "--log-format", "json"]).current_dir(workshop.folder.path());
    let begun = Instant::now();
    let done = command.stdin(Stdio::null()).output().unwrap();
    let took = begun.elapsed();
    let (peak, most) = (group.peak_bytes() >> 20, mib * MOST_OF_LIMIT / 100);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(peak <= most, "{program} {arguments:?}: {peak} MiB of {mib}: {:?} {text}", done.status);
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let peak = lines.iter().find_map(|line| line["PeakMemory"].as_f64()).unwrap_or_default() / f64::from(1 << 20);
    let last = lines.last().cloned().unwrap_or(Value::Null);
    Some(Bounded {
        code: done.status.code(),
        last,
        took,
        peak,
        log: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

/// Exit code and last line of such a run.
fn within(mib: u64, workshop: &Workshop, program: &str, arguments: &[&str]) -> Option<(Option<i32>, Value)> {
    bounded(mib, workshop, program, arguments).map(|run| (run.code, run.last))
}

const PREDICT: [&str; 8] = ["--models", "models", "--output", "output", "--duplicates", "allow", "--input", "bomb"];
const TRAIN: [&str; 14] = [
    "--models",
    "models",
    "--id",
    "customer_id",
    "--target",
    "score",
    "--model-version",
    "v2",
    "--rounds",
    "3",
    "--min-r2",
    "-1e12",
    "--train-data",
    "bomb",
];

/// Refused with one of `codes` by a message that has all parts.
#[track_caller]
fn refused(ended: &(Option<i32>, Value), codes: &[i32], parts: &[&str]) {
    let (code, last) = ended;
    assert!(code.is_some_and(|code| codes.contains(&code)), "{code:?}: {last}");
    let message = last["error_message"].as_str().unwrap_or_default();
    parts.iter().for_each(|part| assert!(message.contains(part), "\"{part}\" is not in: {message}"));
}

/// CSV of customers, packed, whose last cell is as given.
fn packed(workshop: &Workshop, before: &str, filler: &[u8], times: usize, after: &str) {
    std::fs::create_dir_all(workshop.path("bomb")).unwrap();
    let file = std::fs::File::create(workshop.path("bomb/part.csv.gz")).unwrap();
    let mut packed = GzEncoder::new(file, Compression::fast());
    packed.write_all(before.as_bytes()).unwrap();
    (0..times).for_each(|_| packed.write_all(filler).unwrap());
    packed.write_all(after.as_bytes()).unwrap();
    packed.finish().unwrap();
}

const HEADER: &str = "customer_id,spend,visits,plan,member,since,score\n";

#[test]
fn a_cell_of_gigabytes_is_no_csv() {
    let workshop = Workshop::with_model();
    packed(&workshop, &format!("{HEADER}1,2,3,"), &vec![b'a'; 16 << 20], 190, ",true,2020-01-01,5\n");
    let Some(ended) = within(512, &workshop, "predict", &PREDICT) else { return };
    refused(&ended, &[4], &["data row 1", "longer than 64 MiB"]);
    refused(&within(512, &workshop, "train", &TRAIN).unwrap(), &[4, 8], &["bomb"]);
}

/// A hundred long rows, and then millions of short ones: how many rows there are is guessed from the first, and found out in time.
#[test]
fn csv_whose_rows_become_short_is_counted_as_it_is_read() {
    let workshop = Workshop::with_model();
    let mut csv = HEADER.trim_end().to_owned() + ",note\n";
    for row in 0..100 {
        csv += &format!("{row},1.5,2,basic,true,2020-01-01,{},{}\n", row % 7, "z".repeat(2_600));
    }
    for row in 100..3_000_000 {
        csv += &format!("{row},1,2,basic,true,2020-01-01,{},\n", row % 7);
    }
    workshop.write("bomb/part.csv", csv);
    let Some(ended) = within(512, &workshop, "train", &TRAIN) else { return };
    refused(&ended, &[8], &["bomb/part.csv", "there is no room in memory for", "give the task at least"]);
    let (code, last) = within(512, &workshop, "predict", &PREDICT).unwrap();
    assert_eq!(code, Some(0), "{last}");
}

fn parquet(workshop: &Workshop, rows: usize, texts: Series) {
    let numbers = |name: &str, modulus: usize| {
        let values: Vec<f64> = (0..rows).map(|row| (row % modulus) as f64).collect();
        Series::new(name.into(), values).into_column()
    };
    let ids: Vec<i64> = (0..rows as i64).collect();
    let columns: Vec<Column> = vec![
        Series::new("customer_id".into(), ids).into_column(),
        numbers("spend", 83),
        numbers("visits", 7),
        texts.into_column(),
        numbers("score", 11),
    ];
    write(workshop, &mut DataFrame::new(rows, columns).unwrap(), (rows, CompressionOptions::Gzip(None)));
}

/// A table in row groups of so many rows, packed in such a way.
fn write(workshop: &Workshop, table: &mut DataFrame, (of_group, packed): (usize, CompressionOptions)) {
    std::fs::create_dir_all(workshop.path("bomb")).unwrap();
    let file = std::fs::File::create(workshop.path("bomb/part.parquet")).unwrap();
    let writer = ParquetWriter::new(std::io::BufWriter::new(file)).with_compression(packed);
    writer.with_row_group_rows(of_group).finish(table).unwrap();
}

/// A few megabytes of texts that are long and alike, but for their ends.
#[test]
fn long_texts_in_a_small_parquet_file_are_counted_before_they_are_unpacked() {
    let workshop = Workshop::with_model();
    let long = "abcdefghij".repeat(199);
    let texts: Vec<String> = (0..200_000).map(|row| format!("{long}{row:010}")).collect();
    parquet(&workshop, texts.len(), Series::new("plan".into(), texts));
    let bytes = std::fs::metadata(workshop.path("bomb/part.parquet")).unwrap().len();
    assert!(bytes < 16 << 20, "{bytes} bytes");
    let Some(ended) = within(512, &workshop, "train", &TRAIN) else { return };
    refused(&ended, &[8], &["column \"plan\"", "there is no room in memory for", "give the task at least"]);
    let (code, last) = within(2_048, &workshop, "train", &TRAIN).unwrap();
    assert_eq!(code, Some(0), "{last}");
}

/// One text of 20 MB that a dictionary holds once and a hundred rows have: as ids they would be 2 GB.
#[test]
fn a_dictionary_of_one_huge_text_is_held_once_or_refused() {
    let workshop = Workshop::with_model();
    let text = "q".repeat(20_000_000);
    parquet(&workshop, 100, Series::new("plan".into(), vec![text.as_str(); 100]));
    let Some((code, last)) = within(768, &workshop, "predict", &PREDICT) else { return };
    assert!(matches!(code, Some(0 | 4 | 8)), "{code:?} {last}");
    let mut arguments = TRAIN;
    (arguments[3], arguments[9]) = ("plan", "3");
    let (code, last) = within(768, &workshop, "train", &arguments).unwrap();
    assert!(matches!(code, Some(4 | 8)), "{code:?} {last}");
}

/// Metadata of so many levels that reading it would take more than there is.
#[test]
fn metadata_of_millions_of_levels_is_refused_before_it_is_parsed() {
    let workshop = Workshop::with_model();
    let folder = workshop.model_folder();
    let mut metadata = workshop.json(&format!("{folder}/metadata.json"));
    let features = metadata["features"].as_array_mut().unwrap();
    let place = features.iter().position(|feature| feature["levels"].is_array()).unwrap();
    let levels = features[place]["levels"].as_array_mut().unwrap();
    levels.extend((0..5_000_000).map(|level| Value::from(format!("l{level}"))));
    let shares = metadata["statistics"][place]["shares"].as_array_mut().unwrap();
    let missing = shares.pop().unwrap();
    shares.extend((0..5_000_000).map(|_| Value::from(0.0)));
    shares.push(missing);
    let bytes = serde_json::to_vec(&metadata).unwrap();
    drop(metadata);
    let hash = super::sha256(&bytes);
    workshop.write(&format!("{folder}/metadata.json"), bytes);
    let mut result = workshop.json(&format!("{folder}/result.json"));
    (result["files"]["metadata.json"], result["metadata_sha256"]) = (hash.clone().into(), hash.into());
    workshop.write(&format!("{folder}/result.json"), result.to_string());
    let mut latest = workshop.json("models/engagement/latest.json");
    latest["metadata_sha256"] = result["metadata_sha256"].clone();
    workshop.write("models/engagement/latest.json", latest.to_string());
    let arguments = ["--models", "models", "--output", "output", "--input", "customers"];
    let Some(ended) = within(512, &workshop, "predict", &arguments) else { return };
    refused(&ended, &[8], &["metadata.json takes at least", "max_levels"]);
    let (code, last) = within(4_096, &workshop, "predict", &arguments).unwrap();
    assert_eq!(code, Some(0), "{last}");
}

/// Cells of a megabyte behind rows that are short: a batch of them is counted before it is full.
#[test]
fn rows_that_become_long_are_counted_as_they_are_read() {
    let workshop = Workshop::with_model();
    let mut short = HEADER.trim_end().to_owned() + ",note\n";
    (0..50_000).for_each(|row| short += &format!("{row},1.5,2,basic,true,2020-01-01,{},\n", row % 7));
    let mut long = String::new();
    for row in 50_000..50_020 {
        long += &format!("{row},1.5,2,basic,true,2020-01-01,{},{row}{}\n", row % 7, "z".repeat(1_000_000));
    }
    // The same ids again and again: what counts is how long they are.
    packed(&workshop, &short, long.as_bytes(), 25, "");
    let Some(ended) = within(512, &workshop, "train", &TRAIN) else { return };
    refused(&ended, &[8], &["bomb", "there is no room in memory for", "give the task at least"]);
    let (code, last) = within(512, &workshop, "predict", &PREDICT).unwrap();
    assert_eq!(code, Some(0), "{last}");
}

/// Records that are nearly as long as one may be, in many members of gzip, as categories and as ids.
#[test]
fn records_of_60_mb_are_scored_one_after_the_other() {
    let workshop = Workshop::with_model();
    let mut long = b"1,2,3,".to_vec();
    long.extend(vec![b'a'; 60_000_000]);
    long.extend(b",true,2020-01-01,5\n");
    packed(&workshop, HEADER, &long, 20, "");
    let Some((code, last)) = within(512, &workshop, "predict", &PREDICT) else { return };
    assert!(matches!(code, Some(0 | 8)), "{code:?} {last}");
    refused(&within(512, &workshop, "train", &TRAIN).unwrap(), &[8], &["there is no room in memory for"]);
    let mut long = vec![b'1'; 60_000_000];
    long.extend(b",1,2,basic,true,2020-01-01,5\n");
    packed(&workshop, HEADER, &long, 20, "");
    refused(&within(512, &workshop, "predict", &PREDICT).unwrap(), &[8], &[]);
    refused(&within(512, &workshop, "train", &TRAIN).unwrap(), &[8], &["there is no room in memory for"]);
}

/// A first line of gigabytes, of millions of names, of commas alone; and many objects whose headers are read at once.
#[test]
fn headers_that_are_bombs_are_refused() {
    let workshop = Workshop::with_model();
    let both = |codes: &[i32], parts: &[&str]| {
        for (program, arguments) in [("predict", &PREDICT[..]), ("train", &TRAIN[..])] {
            let Some(ended) = within(512, &workshop, program, arguments) else { return };
            refused(&ended, codes, parts);
        }
    };
    packed(&workshop, "customer_id,", &vec![b'a'; 16 << 20], 100, "\n");
    both(&[4], &["the header is longer than 8 MiB"]);
    packed(&workshop, "customer_id", &b",a".repeat(1 << 20), 3, "\n1\n");
    both(&[4], &["the header has more than a million cells"]);
    let names: String = (0..900_000).map(|name| format!(",{name:x}")).collect();
    packed(&workshop, "customer_id", names.as_bytes(), 1, "\n");
    both(&[8], &["a header of 900001 columns", "there is no room in memory for"]);
    packed(&workshop, HEADER, &vec![b','; 16 << 20], 3, "\n");
    both(&[4], &["data row 1 has more than a million cells"]);
    std::fs::remove_file(workshop.path("bomb/part.csv.gz")).unwrap();
    for file in 0..12 {
        workshop.write(&format!("bomb/{file}.csv"), "x".repeat(20_000_000));
    }
    both(&[4], &["the header is longer than 8 MiB"]);
}

/// The first bytes of packed data, from which the number of rows is guessed, may hold hundreds of megabytes.
#[test]
fn a_guess_of_the_rows_unpacks_nothing_whole() {
    let workshop = Workshop::with_model();
    packed(&workshop, HEADER, &vec![b'\n'; 16 << 20], 40, "1,2,3,basic,true,2020-01-01,5\n");
    let Some(ended) = within(160, &workshop, "train", &TRAIN) else { return };
    refused(&ended, &[4, 8], &["bomb"]);
}

/// JSON of a few dozen megabytes takes gigabytes once it is parsed. Wherever it stands it is refused, left out, or made anew.
#[test]
fn json_of_a_store_is_counted_before_it_is_parsed() {
    let workshop = Workshop::with_model();
    let arguments = ["--models", "models", "--output", "output", "--input", "customers", "--run-id", "r1"];
    let Some((code, last)) = within(512, &workshop, "predict", &arguments) else { return };
    assert_eq!(code, Some(0), "{last}");
    let fillers = [format!("[{}{{}}]", "{},".repeat(10_000_000)), format!("[{}{{}}]", "{\"a\":1},".repeat(4_000_000))];
    let with = |standing: &Value, field: &str, filler: &str| {
        let mut standing = standing.clone();
        standing[field] = "@@".into();
        standing.to_string().replace("\"@@\"", filler)
    };
    let plan = workshop.json("output/runs/r1/plan.json");
    let page = workshop.json("output/history.json");
    std::fs::remove_file(workshop.path("output/runs/r1/result.json")).unwrap();
    for filler in &fillers {
        for field in ["settings", "input", "run_id"] {
            workshop.write("output/runs/r1/plan.json", with(&plan, field, filler));
            let ended = within(512, &workshop, "predict", &arguments).unwrap();
            refused(&ended, &[8], &["r1/plan.json takes at least", "give the task more memory"]);
        }
    }
    workshop.write("output/runs/r1/plan.json", plan.to_string());
    std::fs::create_dir_all(workshop.path("output/runs/r1/_parts")).unwrap();
    std::fs::File::create(workshop.path("output/runs/r1/_parts/commit")).unwrap().set_len(600 << 20).unwrap();
    refused(&within(512, &workshop, "predict", &arguments).unwrap(), &[8], &["_parts/commit takes at least"]);
    std::fs::remove_file(workshop.path("output/runs/r1/_parts/commit")).unwrap();
    // The page of all runs is for people: it is never why a run fails.
    for filler in &fillers {
        workshop.write("output/history.json", with(&page, "runs", filler));
        let arguments = ["--models", "models", "--output", "output", "--input", "customers"];
        let (code, last) = within(512, &workshop, "predict", &arguments).unwrap();
        assert_eq!(code, Some(0), "{last}");
        let history = within(512, &workshop, "predict", &["history", "--output", "output"]).unwrap();
        refused(&history, &[8], &["history.json takes at least"]);
    }
}

/// A feature spec of a few megabytes that takes hundreds once it is parsed.
#[test]
fn a_feature_spec_is_counted_before_it_is_parsed() {
    let workshop = Workshop::with_model();
    let arguments = TRAIN.map(|argument| if argument == "bomb" { "train" } else { argument });
    for spec in [format!("exclude = [{}]", "\"a\",".repeat(3_500_000)), "[ranges.a]\n".repeat(1_200_000)] {
        workshop.write("features.toml", spec);
        let arguments = [&arguments[..], &["--features", "features.toml"]].concat();
        let Some(ended) = within(512, &workshop, "train", &arguments) else { return };
        refused(&ended, &[8], &["features.toml takes at least", "MiB of memory"]);
    }
}

/// As many levels as the spec lets there be: XGBoost has a bin for each, in every node of a tree.
#[test]
fn levels_by_the_million_are_refused_before_xgboost_takes_them() {
    let workshop = Workshop::with_model();
    let texts: Vec<String> = (0..1_000_000).map(|row| format!("level number {row}")).collect();
    parquet(&workshop, texts.len(), Series::new("plan".into(), texts));
    workshop.write("features.toml", "max_levels = 100000000\n");
    let arguments = [&TRAIN[..], &["--features", "features.toml"]].concat();
    let Some(ended) = within(512, &workshop, "train", &arguments) else { return };
    refused(&ended, &[8], &["\"plan\""]);
}

/// Thirty columns of texts, each of which XGBoost splits by itself: a bin for every level, in every node.
#[test]
fn levels_of_many_columns_are_in_the_plan_of_the_memory() {
    const ROWS: usize = 130_000;
    let workshop = Workshop::with_model();
    let mut random = Random::new(5);
    let column = |column: usize| {
        let level = |row: usize| format!("level {}", (row * 7_919 + row / 9_900 * column + 13 * column) % 9_900);
        Series::new(format!("text_{column}").into(), (0..ROWS).map(level).collect::<Vec<_>>()).into_column()
    };
    let ids = Series::new("customer_id".into(), (0..ROWS as i64).collect::<Vec<_>>()).into_column();
    let score = Series::new("score".into(), (0..ROWS).map(|_| random.share()).collect::<Vec<_>>());
    let columns: Vec<Column> = [ids, score.into_column()].into_iter().chain((0..30).map(column)).collect();
    write(&workshop, &mut DataFrame::new(ROWS, columns).unwrap(), (ROWS, CompressionOptions::Snappy));
    let Some(run) = bounded(2_048, &workshop, "train", &TRAIN) else { return };
    assert_eq!(run.code, Some(0), "{}", run.last);
    let of_all = planned(&run);
    assert!(run.log.contains("since categories have 297000 levels in all"), "{}", run.log);
    assert!(run.peak > 300.0, "{} MiB are nothing to be planned", run.peak);
    assert!((run.peak..1.4 * run.peak).contains(&of_all), "{of_all} MiB planned, {} MiB taken", run.peak);
    // Where that is too much, histograms of half of the nodes are kept: the peak is that of the control group, too.
    let half = bounded((0.95 * of_all) as u64, &workshop, "train", &TRAIN).unwrap();
    assert_eq!(half.code, Some(0), "{}", half.last);
    assert!(half.log.contains("histograms of half of the nodes of a tree are kept"), "{}", half.log);
    let of_half = planned(&half);
    assert!((half.peak..1.4 * half.peak).contains(&of_half), "{of_half} MiB planned, {} MiB taken", half.peak);
    assert!(of_half < 0.8 * of_all, "{of_half} of {of_all} MiB");
    let ended = within((0.95 * of_half) as u64, &workshop, "train", &TRAIN).unwrap();
    refused(&ended, &[8], &["297000 levels", "9900 of the levels those of \"text_", "max_levels"]);
}

/// What a run planned to take, in MiB.
fn planned(run: &Bounded) -> f64 {
    let line = run.log.lines().rfind(|line| line.contains("memory plan: ")).unwrap_or_else(|| panic!("{}", run.log));
    let line: Value = serde_json::from_str(line).unwrap();
    find(&line, "total_bytes").unwrap_or_else(|| panic!("{line}")) / f64::from(1 << 20)
}

/// A number of a log line, wherever it stands in it.
fn find(line: &Value, name: &str) -> Option<f64> {
    match line {
        Value::Object(fields) => match fields.get(name).and_then(Value::as_f64) {
            Some(number) => Some(number),
            None => fields.values().find_map(|value| find(value, name)),
        },
        _ => None,
    }
}

/// Row groups of one row: what is known of each is little, and many are read at once. Of gzip, each page had a context of its own, between
/// which what was read of others stayed: 649 MiB for 30,000 rows.
#[test]
fn row_groups_by_the_ten_thousand_take_little() {
    let workshop = Workshop::with_model();
    for (rows, of_group, packed) in [
        (30_000, 1, CompressionOptions::Snappy),
        (30_000, 1, CompressionOptions::Gzip(None)),
        (100_000, 10, CompressionOptions::Gzip(None)),
        (1_000_000, 200, CompressionOptions::Snappy),
    ] {
        write(&workshop, &mut customers(rows, 1, 8), (of_group, packed));
        for (program, arguments) in [("predict", &PREDICT[..]), ("train", &TRAIN[..])] {
            let Some(run) = bounded(512, &workshop, program, arguments) else { return };
            let what = format!("{program} of {rows} rows by {of_group}, {packed:?}");
            assert_eq!(run.code, Some(0), "{what}: {}", run.last);
            assert!(run.peak <= planned(&run), "{what}: {} MiB planned, {} MiB taken", planned(&run), run.peak);
        }
    }
}

/// A text of 50 MB that stands once in a few kB, for two thousand rows: as a category it is counted and looked up once.
#[test]
fn a_huge_text_of_thousands_of_rows_is_looked_at_once() {
    let workshop = Workshop::with_model();
    // By pyarrow: ids, numbers, and `plan`, a dictionary of one text of 50,000,000 letters q, with brotli.
    workshop.write("bomb/part.parquet", include_bytes!("../fixtures/huge_text.parquet"));
    for (mib, codes) in [(512, [Some(8), Some(4)]), (2_048, [Some(0), Some(0)])] {
        for (program, arguments) in [("predict", &PREDICT[..]), ("train", &TRAIN[..])] {
            let Some(run) = bounded(mib, &workshop, program, arguments) else { return };
            assert!(codes.contains(&run.code) || run.code == Some(0), "{program}, {mib}: {:?} {}", run.code, run.last);
            // Hashed and compared for each row it took 99 s.
            assert!(run.took < Duration::from_secs(45), "{program}, {mib}: {:?}", run.took);
        }
    }
}
