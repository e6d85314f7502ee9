//! Files that are small and hold much, and stores that lie about it: a run ends well, or with exit 4, 6 or 8, within its control group,
//! and is never ended by the kernel.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};
use serde_json::Value;
use table::write::{CompressionOptions, ParquetWriter};
use testkit::cgroup::MemoryGroup;

use super::Workshop;

/// How a program ended in a control group of so many MiB: its exit code, none where it was killed, and its last line.
fn within(mib: u64, workshop: &Workshop, program: &str, arguments: &[&str]) -> Option<(Option<i32>, Value)> {
    let group = MemoryGroup::of_mib(mib)?;
    let folder = Path::new(env!("CARGO_BIN_EXE_predict")).parent().unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{} && exec \"$@\"", group.enter()), "bash"]).arg(folder.join(program));
    command.args(arguments).args(["--threads", "2", "--log-format", "json"]).current_dir(workshop.folder.path());
    let done = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    Some((done.status.code(), serde_json::from_str(text.lines().last().unwrap_or("null")).unwrap_or(Value::Null)))
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
    refused(&ended, &[8], &["bomb/part.csv", "there is no room in memory for", "give the task more than"]);
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
    let mut table = DataFrame::new(rows, columns).unwrap();
    std::fs::create_dir_all(workshop.path("bomb")).unwrap();
    let file = std::fs::File::create(workshop.path("bomb/part.parquet")).unwrap();
    ParquetWriter::new(file).with_compression(CompressionOptions::Gzip(None)).finish(&mut table).unwrap();
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
    refused(&ended, &[8], &["column \"plan\"", "there is no room in memory for", "give the task more than"]);
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
