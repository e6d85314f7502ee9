//! Tables laid out in folders `key=value`, as Hive, Spark, Athena and pandas write them: the folders are columns, in both
//! programs, in Parquet and CSV alike.

use std::collections::BTreeMap;
use std::fs;

use polars::prelude::{BooleanChunked, DataFrame, DataType, IntoColumn, NamedFrom, NewChunkedArray, Series};
use serde_json::{Value, json};
use testkit::program::Invocation;
use testkit::tables::{csv, customers, parquet_bytes, with, without};

use super::places::Place;
use super::{ROWS, Workshop, text};
use testkit::tables::read_parquet;

const REGIONS: [&str; 3] = ["north east", "süd", "west/coast"];
/// The same as names of folders.
const REGION_FOLDERS: [&str; 3] = ["north%20east", "süd", "west%2Fcoast"];

/// Customers with two columns more, on which the score depends: `region`, text, and `month`, numbers.
fn table(rows: usize, first_id: i64, seed: u64) -> DataFrame {
    let table = customers(rows, first_id, seed);
    let region = |row: usize| REGIONS[row % 3];
    let month = |row: usize| 1 + (row / 3 % 12) as i64;
    let score = table.column("score").unwrap().f64().unwrap().iter().flatten();
    let score = score.enumerate().map(|(row, score)| score + 40.0 * (row % 3) as f64 + 5.0 * month(row) as f64);
    let score = Series::new("score".into(), score.collect::<Vec<_>>());
    let table = with(table, score);
    let table = with(table, Series::new("region".into(), (0..rows).map(region).collect::<Vec<_>>()));
    with(table, Series::new("month".into(), (0..rows).map(month).collect::<Vec<_>>()))
}

/// The rows of each folder `region=…/month=…`, without these columns, in the order of the folders' names.
fn folders(table: &DataFrame) -> BTreeMap<String, DataFrame> {
    let texts = |name: &str| {
        let column = table.column(name).unwrap().cast(&DataType::String).unwrap();
        column.str().unwrap().iter().map(|value| value.unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (regions, months) = (texts("region"), texts("month"));
    let folder_of = |(region, month): (&String, &String)| {
        let region = REGION_FOLDERS[REGIONS.iter().position(|name| name == region).unwrap()];
        format!("region={region}/month={month}")
    };
    let of_rows: Vec<String> = regions.iter().zip(&months).map(folder_of).collect();
    let mut folders = BTreeMap::new();
    for folder in &of_rows {
        let mask: Vec<bool> = of_rows.iter().map(|of_row| of_row == folder).collect();
        let rows = || table.filter(&BooleanChunked::from_slice("mask".into(), &mask)).unwrap();
        folders.entry(folder.clone()).or_insert_with(rows);
    }
    folders
}

/// The rows in the order of the folders, with the columns of the folders behind the others.
fn flat(table: &DataFrame) -> DataFrame {
    let mut folders = folders(table).into_values();
    let first = folders.next().unwrap();
    folders.fold(first, |all, more| all.vstack(&more).unwrap())
}

fn stored(rows: &DataFrame) -> DataFrame {
    without(&without(rows, "region"), "month")
}

/// Writes a table in folders below `root`, as `parquet` or `csv`.
fn write(workshop: &Workshop, root: &str, table: &DataFrame, format: &str) {
    for (folder, rows) in folders(table) {
        let content = if format == "csv" { csv(&stored(&rows)).into_bytes() } else { parquet_bytes(&stored(&rows)) };
        workshop.write(&format!("{root}/{folder}/part-0.{format}"), content);
    }
}

fn predictions(workshop: &Workshop, run: &str) -> DataFrame {
    read_parquet(&fs::read(workshop.path(&format!("output/predictions/run_id={run}/part-00000.parquet"))).unwrap())
}

fn numbers(frame: &DataFrame, name: &str) -> Vec<f64> {
    frame.column(name).unwrap().f64().unwrap().iter().flatten().collect()
}

fn metadata(workshop: &Workshop) -> Value {
    workshop.json(&format!("{}/metadata.json", workshop.model_folder()))
}

/// What the model knows of a feature.
fn feature(workshop: &Workshop, name: &str) -> Option<Value> {
    metadata(workshop)["features"].as_array().unwrap().iter().find(|feature| feature["name"] == name).cloned()
}

#[test]
fn folders_train_and_score_as_columns_do() {
    let workshop = Workshop::new();
    let (training, scoring) = (table(ROWS, 1, 7), without(&table(400, 100_000, 8), "score"));
    write(&workshop, "train-parquet", &training, "parquet");
    write(&workshop, "train-csv", &training, "csv");
    workshop.write("train-flat/part.parquet", parquet_bytes(&flat(&training)));
    workshop.write("train-flat-csv/part.csv", csv(&flat(&training)));
    let trained = |data: &str| workshop.train_on(data).args(["--run-id", data]).run();
    let expected = trained("train-flat").succeeded();
    for data in ["train-parquet", "train-csv", "train-flat-csv"] {
        let ended = trained(data);
        let result = ended.succeeded();
        assert_eq!((&result["r2"], &result["model_sha256"]), (&expected["r2"], &expected["model_sha256"]), "{data}");
        let said = "columns out of the names of folders: \\\"region\\\" (text), \\\"month\\\" (whole numbers)";
        assert_eq!(ended.stderr.contains(said), !data.contains("flat"), "{data}: {}", ended.stderr);
    }
    assert_eq!(feature(&workshop, "region").unwrap()["type"], "text");
    assert_eq!(feature(&workshop, "month").unwrap()["kind"], "number");

    write(&workshop, "score-parquet", &scoring, "parquet");
    write(&workshop, "score-csv", &scoring, "csv");
    workshop.write("score-flat/part.parquet", parquet_bytes(&flat(&scoring)));
    let expected = flat(&scoring);
    let mut scores = Vec::new();
    for (data, model) in [
        ("score-flat", "train-flat"),
        ("score-parquet", "train-parquet"),
        ("score-csv", "train-parquet"),
        ("score-parquet", "train-csv"),
        ("score-csv", "train-csv"),
        ("score-csv", "train-flat"),
    ] {
        let run = format!("{data}-by-{model}");
        let call = workshop.predict_on(data).args(["--run-id", &run, "--columns", "region,month"]);
        let result = call.args(["--model-version", &format!("v1/{model}")]).run().succeeded();
        assert_eq!((&result["rows_predicted"], &result["rows_rejected"]), (&json!(400), &json!(0)), "{run}");
        let frame = predictions(&workshop, &run);
        assert!(frame.column("region").unwrap().equals(expected.column("region").unwrap()), "{run}");
        assert!(frame.column("month").unwrap().equals(expected.column("month").unwrap()), "{run}: {frame}");
        scores.push((run, numbers(&frame, "prediction")));
    }
    for (run, of_run) in &scores {
        assert_eq!(*of_run, scores[0].1, "{run}");
    }
}

#[test]
fn a_bucket_with_markers_is_read_as_a_folder_is() {
    let (training, scoring) = (table(ROWS, 1, 7), without(&table(400, 100_000, 8), "score"));
    let lay_out = |place: &Place| {
        for (root, table, format) in [("train", &training, "parquet"), ("customers", &scoring, "csv")] {
            for (folder, rows) in folders(table) {
                let rows = stored(&rows);
                let content = if format == "csv" { csv(&rows).into_bytes() } else { parquet_bytes(&rows) };
                place.write(&format!("{root}/{folder}/part-0.{format}"), content);
                place.write(&format!("{root}/{folder}_$folder$"), Vec::new());
            }
            place.write(&format!("{root}/_SUCCESS"), Vec::new());
            place.write(&format!("{root}/region=süd/month=1/empty.{format}"), Vec::new());
        }
    };
    let scored = |place: &Place| {
        lay_out(place);
        let trained = place.train().args(["--run-id", "r1"]).run();
        let result = trained.succeeded();
        assert!(trained.stderr.contains("empty.parquet is empty (0 bytes)"), "{}", trained.stderr);
        let result = (result["model_sha256"].clone(), result["rows_train"].clone());
        place.predict().args(["--run-id", "p1", "--columns", "region"]).run().succeeded();
        let part = place.files("output")["predictions/run_id=p1/part-00000.parquet"].clone();
        (result, part)
    };
    assert_eq!(scored(&Place::bucket("partitions")), scored(&Place::local()));
}

#[test]
fn the_type_that_was_learnt_decides_what_a_folder_is() {
    let workshop = Workshop::new();
    let training = table(ROWS, 1, 7);
    let padded = |folder: &str| {
        let (region, month) = folder.split_once("/month=").unwrap();
        format!("{region}/month={month:0>2}")
    };
    for (folder, rows) in folders(&training) {
        workshop.write(&format!("train/{}/part.parquet", padded(&folder)), parquet_bytes(&stored(&rows)));
    }
    workshop.train().run().succeeded();
    assert_eq!(feature(&workshop, "month").unwrap()["type"], "text");
    // Of one month alone the folder looks like a number, and is the text that was learnt.
    let scoring = without(&table(400, 100_000, 8), "score");
    let mut scores = Vec::new();
    for format in ["parquet", "csv"] {
        for (folder, rows) in folders(&scoring).into_iter().filter(|(folder, _)| folder.ends_with("month=11")) {
            let content =
                if format == "csv" { csv(&stored(&rows)).into_bytes() } else { parquet_bytes(&stored(&rows)) };
            workshop.write(&format!("{format}/{folder}/part.{format}"), content);
        }
        let ended = workshop.predict_on(format).args(["--run-id", format, "--columns", "month"]).run();
        ended.succeeded();
        scores.push(numbers(&predictions(&workshop, format), "prediction"));
    }
    assert_eq!(scores[0], scores[1]);
    let drift = |run: &str| {
        let manifest = workshop.json(&format!("output/runs/{run}/manifest.json"));
        let features = manifest["features"].as_array().unwrap().clone();
        features.iter().find(|feature| feature["name"] == "month").unwrap().clone()
    };
    assert_eq!(drift("parquet"), drift("csv"), "{}", drift("parquet"));
    // Held-out rows of one month alone, the same.
    for (folder, rows) in folders(&table(300, 50_000, 9)).into_iter().filter(|(folder, _)| folder.ends_with("month=12"))
    {
        workshop.write(&format!("test/{folder}/part.parquet"), parquet_bytes(&stored(&rows)));
    }
    let result =
        workshop.train().args(["--test-data", "test", "--run-id", "tested", "--min-r2", "0"]).run().succeeded();
    assert_eq!(result["rows_test"], 24);

    // Numbers inside the files in training, zeros in front of them in the names of folders later.
    workshop.write("flat/part.parquet", parquet_bytes(&flat(&training)));
    workshop.train_on("flat").args(["--model-name", "flat"]).run().succeeded();
    for (folder, rows) in folders(&scoring) {
        workshop.write(&format!("padded/{}/part.parquet", padded(&folder)), parquet_bytes(&stored(&rows)));
        workshop.write(&format!("padded-csv/{}/part.csv", padded(&folder)), csv(&stored(&rows)));
        workshop.write(&format!("plain/{folder}/part.parquet"), parquet_bytes(&stored(&rows)));
    }
    let by_id = |data: &str| {
        let call = workshop.predict_on(data).args(["--run-id", data, "--model-name", "flat", "--columns", "month"]);
        call.run().succeeded();
        let frame = predictions(&workshop, data);
        let ids = frame.column("customer_id").unwrap().cast(&DataType::Int64).unwrap();
        let ids: Vec<i64> = ids.i64().unwrap().iter().flatten().collect();
        ids.into_iter()
            .zip(numbers(&frame, "prediction").iter().map(|value| value.to_bits()))
            .collect::<BTreeMap<_, _>>()
    };
    let expected = by_id("plain");
    assert_eq!(expected.len(), 400);
    assert_eq!(by_id("padded"), expected);
    assert_eq!(by_id("padded-csv"), expected);
}

/// Folders as target, weight, slice, in expressions and excluded.
#[test]
fn folders_serve_in_every_role() {
    let workshop = Workshop::new();
    workshop.write(
        "features.toml",
        "weight = \"month\"\nexclude = [\"region\"]\n[derived]\nsouth = \"CASE WHEN region = 'süd' THEN 1 ELSE 0 END\"\n",
    );
    let training = table(ROWS, 1, 7);
    write(&workshop, "train-parquet", &training, "parquet");
    write(&workshop, "train-csv", &training, "csv");
    workshop.write("train-flat/part.parquet", parquet_bytes(&flat(&training)));
    let result = |data: &str, more: &[&str]| {
        let call = workshop.train_on(data).args(["--features", "features.toml", "--min-r2", "-1e9"]);
        let result = call.args(["--run-id", data, "--slice", "region"]).args(more).run().succeeded();
        let metrics = workshop.json(&format!("models/engagement/v1/{data}/metrics.json"));
        (result["model_sha256"].clone(), result["r2"].clone(), metrics["slices"].clone())
    };
    let expected = result("train-flat", &[]);
    assert!(expected.2.to_string().contains("west/coast"), "{}", expected.2);
    assert_eq!(result("train-parquet", &[]), expected);
    assert_eq!(result("train-csv", &[]), expected);
    assert!(feature(&workshop, "region").is_none() && feature(&workshop, "month").is_none());
    assert!(feature(&workshop, "south").is_some());

    // The target.
    let call = workshop.train_on("train-parquet").args(["--target", "month", "--run-id", "target", "--min-r2", "-1e9"]);
    assert_eq!(metadata_of(&workshop, call)["target"], "month");
    // The id: one folder for each customer.
    let table = without(&table(120, 1, 7), "region");
    let table = without(&table, "month");
    for row in 0..120 {
        let one = without(&table.slice(row, 1), "customer_id");
        workshop.write(&format!("ids/customer_id={}/part.parquet", 1 + row), parquet_bytes(&one));
        workshop.write(&format!("ids-csv/customer_id={}/part.csv", 1 + row), csv(&one));
    }
    for data in ["ids", "ids-csv"] {
        let result = workshop.train_on(data).args(["--run-id", data, "--min-r2", "-1e9"]).run().succeeded();
        let rows = result["rows_train"].as_u64().unwrap() + result["rows_test"].as_u64().unwrap();
        assert_eq!(rows, 120, "{data}: {result}");
        let model = format!("v1/{data}");
        let result = workshop.predict_on(data).args(["--run-id", data, "--model-version", &model]).run().succeeded();
        assert_eq!((&result["rows_predicted"], &result["rows_rejected"]), (&json!(120), &json!(0)), "{data}");
        let ids = predictions(&workshop, data).column("customer_id").unwrap().cast(&DataType::String).unwrap();
        assert_eq!(ids.str().unwrap().iter().flatten().max(), Some("99"), "{data}");
    }
}

fn metadata_of(workshop: &Workshop, call: Invocation) -> Value {
    let result = call.run().succeeded();
    let folder = text(&result, "model_location").to_owned();
    serde_json::from_slice(&fs::read(format!("{folder}/metadata.json")).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", workshop.text("")))
}

#[test]
fn null_folders_are_missing() {
    let workshop = Workshop::new();
    let training = table(ROWS, 1, 7);
    let hidden = |folder: &str| folder.replace("region=süd", "region=__HIVE_DEFAULT_PARTITION__");
    for (folder, rows) in folders(&training) {
        workshop.write(&format!("parquet/{}/part.parquet", hidden(&folder)), parquet_bytes(&stored(&rows)));
        workshop.write(&format!("csv/{}/part.csv", hidden(&folder)), csv(&stored(&rows)));
    }
    let first = workshop.train_on("parquet").args(["--run-id", "parquet"]).run().succeeded();
    let second = workshop.train_on("csv").args(["--run-id", "csv"]).run().succeeded();
    assert_eq!(first["model_sha256"], second["model_sha256"]);
    let index =
        metadata(&workshop)["features"].as_array().unwrap().iter().position(|one| one["name"] == "region").unwrap();
    let missing = metadata(&workshop)["statistics"][index]["missing"].as_f64().unwrap();
    assert!((missing - 1.0 / 3.0).abs() < 0.05, "{missing}");
    workshop.predict_on("csv").args(["--run-id", "p", "--columns", "region"]).run().succeeded();
    let nulls = predictions(&workshop, "p").column("region").unwrap().null_count();
    assert_eq!(nulls, ROWS / 3);
}

#[test]
fn a_folder_that_all_rows_have_is_a_column_but_no_feature() {
    let workshop = Workshop::with_data();
    let table = customers(ROWS, 1, 7);
    workshop.write("one/run=7/a.parquet", parquet_bytes(&table.head(Some(700))));
    workshop.write("one/run=7/b.parquet", parquet_bytes(&table.tail(Some(ROWS - 700))));
    let ended = workshop.train_on("one").args(["--run-id", "one"]).run();
    let result = ended.succeeded();
    assert!(ended.stderr.contains("\\\"run\\\" is the same in the names of all folders"), "{}", ended.stderr);
    assert!(feature(&workshop, "run").is_none());
    // Held-out rows and customers need no such folder, and may be carried over with it.
    workshop.train_on("one").args(["--test-data", "train", "--min-r2", "0"]).run().succeeded();
    workshop.predict_on("customers").args(["--model-version", "v1/one"]).run().succeeded();
    let call = workshop.predict_on("one").args(["--run-id", "carried", "--columns", "run"]);
    call.args(["--model-version", "v1/one"]).run().succeeded();
    let run = predictions(&workshop, "carried").column("run").unwrap().clone();
    assert!(run.equals(&Series::new("run".into(), vec![7_i64; ROWS]).into_column()));
    // A spec may name it: with another month there would be two values.
    workshop.write("features.toml", "categorical = [\"run\"]\n");
    let named = workshop.train_on("one").args(["--features", "features.toml"]).run().succeeded();
    assert_eq!(named["model_sha256"], result["model_sha256"]);
}

#[test]
fn a_folder_that_the_model_needs_is_missed() {
    let workshop = Workshop::new();
    write(&workshop, "train", &table(ROWS, 1, 7), "parquet");
    workshop.train().run().succeeded();
    let scoring = without(&table(100, 100_000, 8), "score");
    workshop.write("customers/part.parquet", parquet_bytes(&stored(&scoring)));
    workshop.predict().run().failed(4, &["customers", "column \"region\" is missing"]);
    workshop.write("customers/part.parquet", parquet_bytes(&without(&scoring, "month")));
    workshop.predict().run().failed(4, &["customers", "column \"month\" is missing"]);
    // One folder given as the location is none below it.
    write(&workshop, "all", &scoring, "csv");
    workshop.predict_on("all/region=süd").run().failed(4, &["column \"region\" is missing"]);
    workshop.predict_on("all/region=süd").arg("prepare").run().failed(4, &["column \"region\" is missing"]);
    let prepared = workshop.predict_on("all").arg("prepare").run().succeeded();
    assert_eq!((&prepared["sample"]["unreadable_rows"], &prepared["objects"]), (&json!(0), &json!(36)));
}

#[test]
fn a_column_inside_the_files_must_agree_with_its_folder() {
    let workshop = Workshop::with_model();
    let padded =
        |table: &DataFrame, month: i64| with(table.clone(), Series::new("visits".into(), vec![month; table.height()]));
    let table = customers(200, 1, 7);
    let lay_out = |inner: [i64; 2]| {
        for (part, month) in inner.into_iter().enumerate() {
            let rows = padded(&table.slice(100 * part as i64, 100), month);
            let folder = ["visits=03", "visits=4"][part];
            workshop.write(&format!("parquet/{folder}/part.parquet"), parquet_bytes(&rows));
            workshop.write(&format!("csv/{folder}/part.csv"), csv(&rows));
        }
    };
    lay_out([3, 4]);
    for data in ["parquet", "csv"] {
        let call = workshop.predict_on(data).args(["--run-id", data, "--columns", "visits"]);
        assert_eq!(call.run().succeeded()["rows_predicted"], 200);
        let visits = predictions(&workshop, data).column("visits").unwrap().cast(&DataType::Int64).unwrap();
        assert_eq!((visits.i64().unwrap().get(0), visits.i64().unwrap().get(199)), (Some(3), Some(4)));
        workshop.train_on(data).args(["--check", "--min-r2", "-1e9"]).run().succeeded();
    }
    lay_out([3, 5]);
    for data in ["parquet", "csv"] {
        let said = [&format!("{data}/visits=4/part.{data}"), "column \"visits\" has \"5\"", "\"visits=4\""];
        workshop.predict_on(data).run().failed(4, &said);
        workshop.train_on(data).run().failed(4, &said);
    }
    // Where nobody reads the column, nobody is misled by it.
    workshop.write("features.toml", "exclude = [\"visits\"]\n");
    let call = workshop.train_on("parquet").args(["--features", "features.toml", "--min-r2", "-1e9"]);
    call.run().succeeded();
}

#[test]
fn folders_that_only_some_files_have_are_refused() {
    let workshop = Workshop::with_model();
    let table = customers(100, 1, 7);
    workshop.write("bad/a.csv", csv(&table));
    workshop.write("bad/region=n/b.csv", csv(&table));
    let said = ["/bad", "a.csv lies in no folder \"region=…\"", "region=n/b.csv"];
    workshop.train_on("bad").run().failed(4, &said);
    workshop.predict_on("bad").run().failed(4, &said);
    workshop.write("mixed/year=1/month=2/a.parquet", parquet_bytes(&table));
    workshop.write("mixed/month=2/day=3/b.parquet", parquet_bytes(&table));
    let said = ["year=1/month=2/a.parquet lies in no folder \"day=…\"", "month=2/day=3/b.parquet"];
    workshop.train_on("mixed").run().failed(4, &said);
    workshop.predict_on("mixed").run().failed(4, &said);
}

#[test]
fn predictions_of_some_runs_are_a_table_again() {
    let workshop = Workshop::with_model();
    workshop.predict().args(["--run-id", "one"]).run().succeeded();
    let customers = without(&customers(300, 200_000, 9), "score");
    workshop.write("more/part.parquet", parquet_bytes(&customers));
    workshop.predict_on("more").args(["--run-id", "two", "--columns", "spend"]).run().succeeded();
    fs::remove_dir_all(workshop.path("output/predictions/run_id=one")).unwrap();
    workshop.predict_on("more").args(["--run-id", "three", "--columns", "spend"]).run().succeeded();
    let call = workshop.train_on("output/predictions").env("TARGET_COLUMN", "prediction");
    let ended = call.args(["--min-r2", "-1e9", "--run-id", "again"]).run();
    let result = ended.succeeded();
    assert!(ended.stderr.contains("\\\"run_id\\\" (text)"), "{}", ended.stderr);
    assert_eq!(result["rows_dropped"]["duplicate_id"], 300);
    assert_eq!(feature(&workshop, "run_id").unwrap()["type"], "text");
}

#[test]
fn an_empty_object_does_not_shift_the_folders_behind_it() {
    let workshop = Workshop::new();
    let packed = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    workshop.write("data/region=a/part.csv.gz", packed(""));
    for (place, region) in ["b", "c", "d"].into_iter().enumerate() {
        let rows = place * 200..(place + 1) * 200;
        let rows: String = rows.map(|row| format!("{row},{},{}\n", row % 7, place * 100 + row % 7)).collect();
        workshop.write(&format!("data/region={region}/part.csv.gz"), packed(&format!("customer_id,x,score\n{rows}")));
    }
    workshop.train_on("data").run().succeeded();
    let levels = feature(&workshop, "region").unwrap()["levels"].clone();
    let levels: std::collections::BTreeSet<String> = serde_json::from_value(levels).unwrap();
    assert!(levels.iter().eq(["b", "c", "d"]), "{levels:?}");
    workshop.predict_on("data").args(["--run-id", "r1", "--columns", "region"]).run().succeeded();
    let predicted = predictions(&workshop, "r1");
    let regions: Vec<&str> = predicted.column("region").unwrap().str().unwrap().iter().flatten().collect();
    for (row, (region, prediction)) in regions.iter().zip(numbers(&predicted, "prediction")).enumerate() {
        let place = row / 200;
        assert_eq!(*region, ["b", "c", "d"][place], "row {row}");
        assert!((prediction - (place * 100) as f64).abs() < 30.0, "row {row}: {prediction}");
    }
}

#[test]
fn a_decimal_comma_is_not_one_of_the_names_of_folders() {
    let workshop = Workshop::new();
    let comma = ["--delimiter", ";", "--decimal", ","];
    let rows = |level: f64, stored: &str, first: usize| {
        let row = |row: usize| {
            let x = (row % 7) as f64 / 2.0;
            let [x, score] = [x, level * 100.0 + x].map(|number| number.to_string().replace('.', ","));
            format!("{row};{x};{score}{stored}\n")
        };
        (first..first + 200).map(row).collect::<String>()
    };
    // Learnt as a number from a column of the files, of which the folders then have the values.
    let stored = [rows(1.5, ";1,5", 0), rows(2.5, ";2,5", 200)].concat();
    workshop.write("train/part.csv", format!("customer_id;x;score;level\n{stored}"));
    workshop.train().args(comma).run().succeeded();
    assert_eq!(feature(&workshop, "level").unwrap()["type"], "float");
    for (name, column) in [("unstored", ""), ("stored", ";level")] {
        for (level, folder, cell) in [(1.5, "1.5", ";1,5"), (2.5, "2.50", ";2,5")] {
            let cell = if column.is_empty() { "" } else { cell };
            let rows = rows(level, cell, (level * 1_000.0) as usize);
            workshop.write(&format!("{name}/level={folder}/part.csv"), format!("customer_id;x;score{column}\n{rows}"));
        }
        let call = workshop.predict_on(name).args(comma).args(["--run-id", name, "--columns", "level"]);
        let result = call.run().succeeded();
        assert_eq!((&result["rows_predicted"], &result["rows_rejected"]), (&json!(400), &json!(0)), "{name}");
        let predicted = numbers(&predictions(&workshop, name), "prediction");
        let means = [0, 200].map(|first| predicted[first..first + 200].iter().sum::<f64>() / 200.0);
        assert!((means[0] - 151.5).abs() < 20.0 && (means[1] - 251.5).abs() < 20.0, "{name}: {means:?}");
    }
    // Carried over it has the type that was learnt, as a folder of Parquet files has.
    assert_eq!(numbers(&predictions(&workshop, "unstored"), "level")[..1], [1.5]);
}
