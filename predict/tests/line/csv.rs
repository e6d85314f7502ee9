//! CSV in, as people and databases write it.

use std::fs;
use std::io::Write;

use serde_json::json;
use testkit::tables::{csv, customers, write_parquet};

use super::{ROWS, Workshop};
use testkit::tables::read_parquet;

const HEADER: &str = "customer_id,spend,visits,plan,member,since\n";
const GOOD_ROW: &str = ",50.5,7,basic,true,2014-05-06\n";

/// Scores `customers.csv`; gives ids and predictions.
fn score(
    workshop: &Workshop,
    name: &str,
    content: impl AsRef<[u8]>,
    run: &str,
) -> (serde_json::Value, Vec<String>, Vec<f64>) {
    workshop.write(&format!("csv/{name}"), content);
    let call = workshop.predict_on("csv").args(["--run-id", run, "--max-reject-fraction", "1"]);
    let result = call.run().succeeded();
    fs::remove_dir_all(workshop.path("csv")).unwrap();
    let part = workshop.path(&format!("output/predictions/run_id={run}/part-00000.parquet"));
    let frame = read_parquet(&fs::read(part).unwrap());
    let ids = frame.column("customer_id").unwrap().str().unwrap().iter().flatten().map(str::to_owned).collect();
    let predictions = frame.column("prediction").unwrap().f64().unwrap().iter().flatten().collect();
    (result, ids, predictions)
}

#[test]
fn csv_trains_and_scores_as_parquet_does() {
    let parquet = Workshop::with_data();
    let table = customers(ROWS, 1, 7);
    let text = Workshop::new();
    text.write("train/part.csv", csv(&table));
    let from_parquet = parquet.train().run().succeeded();
    let from_csv = text.train().run().succeeded();
    assert_eq!(from_csv["r2"], from_parquet["r2"], "the same rows held out, the same matrix");
    assert_eq!(from_csv["model_sha256"], from_parquet["model_sha256"]);

    let scored = parquet.predict().args(["--run-id", "r1"]).run().succeeded();
    assert_eq!(scored["rows_predicted"], 400);
    let frame = read_parquet(&fs::read(parquet.path("output/predictions/run_id=r1/part-00000.parquet")).unwrap());
    let expected: Vec<f64> = frame.column("prediction").unwrap().f64().unwrap().iter().flatten().collect();
    let scoring = csv(&testkit::tables::without(&customers(400, 100_000, 8), "score"));
    let (_, ids, predictions) = score(&text, "part.csv", &scoring, "r1");
    assert_eq!(predictions, expected);
    assert_eq!(ids[0], "100000");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(scoring.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(score(&text, "part.csv.gz", &packed, "r2").2, expected);
    assert_eq!(score(&text, "000001_0_unload", &scoring, "r3").2, expected, "without an extension");
    assert_eq!(score(&text, "000002_0_unload", &packed, "r4").2, expected);
    text.write("csv/part.csv.gz", &packed[..packed.len() / 2]);
    text.predict_on("csv").run().failed(4, &["part.csv.gz"]);
}

#[test]
fn parquet_without_an_extension_is_parquet() {
    let workshop = Workshop::with_model();
    write_parquet(&customers(50, 1, 7), &workshop.path("unloaded/20260101_000000_00001_abcde_0f3c"));
    assert_eq!(workshop.predict_on("unloaded").run().succeeded()["rows_predicted"], 50);
}

#[test]
fn ids_stay_text_and_bad_cells_reject_their_row_alone() {
    let workshop = Workshop::with_model();
    let mut content = HEADER.to_owned();
    for id in ["00123", "123", "1e3", " 7", "\"a,b\"", "\"two\nlines\"", "\"say \"\"hi\"\"\"", "é"] {
        content += &format!("{id}{GOOD_ROW}");
    }
    content += "missing,,NULL,,NULL,\n";
    content += "word,50.5,seven,basic,true,2014-05-06\n"; // a word for a number
    content += "date,50.5,7,basic,true,06.05.2014\n"; // a date that is not ISO 8601
    content += "truth,50.5,7,basic,perhaps,2014-05-06\n";
    content += "short,50.5,7\n";
    content += "long,50.5,7,basic,true,2014-05-06,x\n";
    content += ",50.5,7,basic,true,2014-05-06\n";
    content += "NULL,50.5,7,basic,true,2014-05-06\n";
    content += "00123,50.5,7,basic,true,2014-05-06\n";
    let (result, ids, predictions) = score(&workshop, "part.csv", &content, "r1");
    assert_eq!((&result["rows_read"], &result["rows_predicted"]), (&json!(17), &json!(9)));
    let expected = ["00123", "123", "1e3", " 7", "a,b", "two\nlines", "say \"hi\"", "é", "missing"];
    assert_eq!(ids, expected);
    assert!(predictions[..8].iter().all(|value| *value == predictions[0]));
    assert_ne!(predictions[8], predictions[0]);
    let rejected = read_parquet(&fs::read(workshop.path("output/rejected/run_id=r1/part-00000.parquet")).unwrap());
    let rejected: Vec<String> = csv(&rejected).lines().skip(1).map(str::to_owned).collect();
    let expected = [
        "word,bad_value,part.csv,9",
        "date,bad_value,part.csv,10",
        "truth,bad_value,part.csv,11",
        ",null_id,part.csv,14",
        ",null_id,part.csv,15",
        "00123,duplicate_id,part.csv,16",
    ];
    for row in expected {
        assert!(rejected.iter().any(|line| line == row), "{row} is not in {rejected:?}");
    }
    // A row of another width has no cell that could be trusted, its id included.
    let ragged = |row: usize| rejected.iter().any(|line| line.ends_with(&format!("bad_value,part.csv,{row}")));
    assert!(ragged(12) && ragged(13), "{rejected:?}");
}

#[test]
fn spreadsheets_and_windows_write_csv_too() {
    let workshop = Workshop::with_model();
    let usual = format!("{HEADER}a{GOOD_ROW}");
    let expected = score(&workshop, "part.csv", &usual, "r1").2;
    let with_bom = format!("\u{feff}{}", usual.replace('\n', "\r\n"));
    let (_, ids, predictions) = score(&workshop, "part.csv", with_bom, "r2");
    assert_eq!((ids, predictions), (vec!["a".to_owned()], expected.clone()));
    let quoted = "\"customer_id\",\"spend\",\"visits\",\"plan\",\"member\",\"since\"\n\"a\",\"50.5\",\"7\",\"basic\",\"TRUE\",\"2014-05-06\"";
    assert_eq!(score(&workshop, "part.CSV", quoted, "r3").2, expected, "no line break at the end");
    let quoted_bom = format!("\u{feff}{quoted}");
    assert_eq!(score(&workshop, "part.csv", quoted_bom, "r4").2, expected, "a mark before a quote");
    let reordered = "since,member,plan,visits,spend,customer_id,more\n2014-05-06,true,basic,7,50.5,a,1\n";
    assert_eq!(score(&workshop, "part.csv", reordered, "r5").2, expected, "columns by name");
}

#[test]
fn training_on_csv_names_the_row_that_is_broken() {
    let workshop = Workshop::new();
    let mut content = csv(&customers(50, 1, 7));
    content += "51,1.0,2\n";
    workshop.write("train/part.csv", content);
    workshop.train().run().failed(4, &["part.csv", "row 51"]);
    workshop.write("train/part.csv", [&b"customer_id,score\n1,"[..], &[0xff, 0xfe], b"\n"].concat());
    workshop.train().run().failed(4, &["part.csv"]);
    workshop.write("train/part.csv", "customer_id,x,x,score\n1,2,3,4\n");
    workshop.train().run().failed(4, &["part.csv", "\"x\""]);
    workshop.assert_nothing_published();
}

#[test]
fn other_separators_than_commas_are_named() {
    let workshop = Workshop::new();
    for (name, sign, said) in [("semicolons", ";", "';'"), ("tabs", "\t", "'\\t'")] {
        workshop.write(&format!("{name}/part.csv"), csv(&customers(50, 1, 7)).replace(',', sign));
        workshop.train_on(name).run().failed(4, &["part.csv", "separated by", said]);
    }
}

#[test]
fn predictions_can_be_csv() {
    let workshop = Workshop::with_model();
    workshop.predict().args(["--run-id", "r1", "--format", "csv", "--columns", "plan"]).run().succeeded();
    let text = fs::read_to_string(workshop.path("output/predictions/run_id=r1/part-00000.csv")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (401, "customer_id,prediction,model_version,plan"));
    workshop.predict().args(["--run-id", "r2"]).run().succeeded();
    let frame = read_parquet(&fs::read(workshop.path("output/predictions/run_id=r2/part-00000.parquet")).unwrap());
    let predictions = frame.column("prediction").unwrap().f64().unwrap();
    for (line, prediction) in lines[1..].iter().zip(predictions.iter()) {
        let cell: f64 = line.split(',').nth(1).unwrap().parse().unwrap();
        assert_eq!(Some(cell), prediction, "every digit");
    }
}
