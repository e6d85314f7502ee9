//! Column types: between the objects of a location, between training and scoring, between Parquet and CSV.

use std::fs;

use polars::prelude::{DataFrame, DataType, IntoColumn, NamedFrom, Series, TimeUnit};
use serde_json::Value;
use testkit::tables::{csv, customers, with, without, write_parquet};

use super::{ROWS, Workshop};
use testkit::tables::read_parquet;

/// The only part of a run's predictions.
fn predictions(workshop: &Workshop, run: &str) -> DataFrame {
    read_parquet(&fs::read(workshop.path(&format!("output/predictions/run_id={run}/part-00000.parquet"))).unwrap())
}

/// What the model saw of a feature: its entry and its statistics.
fn feature(workshop: &Workshop, name: &str) -> (Value, Value) {
    let metadata = workshop.json(&format!("{}/metadata.json", workshop.model_folder()));
    let features = metadata["features"].as_array().unwrap();
    let place =
        features.iter().position(|feature| feature["name"] == name).unwrap_or_else(|| panic!("no feature {name}"));
    (features[place].clone(), metadata["statistics"][place].clone())
}

/// The usual table in two objects, of which each has a column of its own type.
fn two_objects(workshop: &Workshop, folder: &str, one: Series, other: Series) {
    let table = customers(ROWS, 1, 7);
    let half = ROWS / 2;
    write_parquet(&with(table.slice(0, half), one), &workshop.path(&format!("{folder}/a.parquet")));
    write_parquet(&with(table.slice(half as i64, ROWS - half), other), &workshop.path(&format!("{folder}/b.parquet")));
}

fn of_half(name: &str, values: impl Fn(i64) -> i64, dtype: &DataType) -> Series {
    let values: Vec<i64> = (0..ROWS as i64 / 2).map(values).collect();
    Series::new(name.into(), values).cast(dtype).unwrap()
}

#[test]
fn ids_of_two_widths_are_one_column() {
    let workshop = Workshop::with_model();
    let table = without(&customers(400, 100_000, 8), "score");
    let narrow = table.column("customer_id").unwrap().cast(&DataType::Int32).unwrap();
    fs::remove_dir_all(workshop.path("customers")).unwrap();
    write_parquet(&with(table.clone(), narrow).slice(0, 150), &workshop.path("customers/a.parquet"));
    write_parquet(&table.slice(150, 250), &workshop.path("customers/b.parquet"));
    workshop.predict().args(["--run-id", "r1"]).run().succeeded();
    let predicted = predictions(&workshop, "r1");
    assert_eq!(predicted.column("customer_id").unwrap(), table.column("customer_id").unwrap());
}

#[test]
fn types_that_hold_both_lose_nothing() {
    let (i64, u64) = (DataType::Int64, DataType::UInt64);
    let (ns, ms) = (TimeUnit::Nanoseconds, TimeUnit::Milliseconds);
    let day = 86_400;
    let cases = [
        (of_half("v", |row| row, &u64), of_half("v", |row| -1 - row, &i64), -749.0, 749.0),
        (of_half("v", |row| row, &DataType::Int8), of_half("v", |row| row * 1000, &DataType::Float32), 0.0, 749_000.0),
        (
            of_half("v", |_| 2_000, &DataType::Date),
            of_half("v", |row| row * day * 1_000_000_000, &DataType::Datetime(ns, None)),
            0.0,
            2000.0,
        ),
        (
            of_half("v", |_| 0, &DataType::Datetime(ns, None)),
            of_half("v", |_| 253_402_214_400_000, &DataType::Datetime(ms, None)),
            0.0,
            2_932_896.0,
        ),
    ];
    for (one, other, least, greatest) in cases {
        let workshop = Workshop::new();
        let types = format!("{} and {}", one.dtype(), other.dtype());
        // The narrow integers of a byte hold no more than that.
        let one = if *one.dtype() == DataType::Int8 { of_half("v", |row| row % 100, &DataType::Int8) } else { one };
        two_objects(&workshop, "train", one, other);
        workshop.train().args(["--min-r2", "-1"]).run().succeeded();
        let (_, statistics) = feature(&workshop, "v");
        assert_eq!(statistics["missing"], 0.0, "{types}");
        let bound = |name: &str| statistics[name].as_f64().unwrap();
        assert!(bound("min") - least < 9.0 && greatest - bound("max") < 9000.0, "{types}: {statistics}");
        assert_eq!(workshop.predict_on("train").run().succeeded()["rows_predicted"], ROWS, "{types}");
    }
}

#[test]
fn types_that_nothing_holds_are_refused_with_both_objects() {
    let large = of_half("v", |row| (1 << 53) + 1 + 2 * row, &DataType::Int64);
    let floats = of_half("v", |row| row, &DataType::Float64);
    let pairs = [
        (large.clone(), floats.clone(), "9007199254740993"),
        (floats.clone(), of_half("v", |row| row, &DataType::Date), "dates"),
        (floats.clone(), Series::new("v".into(), vec!["x"; ROWS / 2]), "text"),
        (of_half("v", |row| row, &DataType::Boolean), floats, "true/false"),
    ];
    for (one, other, said) in pairs {
        let workshop = Workshop::with_model();
        two_objects(&workshop, "mixed", one, other);
        let train = workshop.train_on("mixed").args(["--min-r2", "-1"]).run();
        train.failed(4, &["a.parquet", "b.parquet", "\"v\"", said]);
        // The model does not need the column, so only carrying it over reads it.
        let carried = workshop.predict_on("mixed").args(["--columns", "v"]).run();
        carried.failed(4, &["a.parquet", "b.parquet", "\"v\"", said]);
    }
}

#[test]
fn decimals_keep_their_digits_as_ids_and_carried_over() {
    let workshop = Workshop::new();
    let ids: Vec<i128> = (0..ROWS as i128).map(|row| (1 << 53) + 1 + row).collect();
    let decimal = |name: &str, values: &[i128], scale: usize| {
        let values = polars::prelude::Int128Chunked::from_vec(name.into(), values.to_vec());
        polars::prelude::IntoSeries::into_series(values.into_decimal_unchecked(38, scale))
    };
    let amounts = vec![123_456_789_012_345_678_i128; ROWS];
    let table = with(customers(ROWS, 1, 7), decimal("customer_id", &ids, 0));
    let table = with(table, decimal("amount", &amounts, 2));
    write_parquet(&table, &workshop.path("train/part.parquet"));
    let trained = workshop.train().run().succeeded();
    assert_eq!(trained["rows_dropped"]["duplicate_id"], 0);
    workshop.predict_on("train").args(["--run-id", "r1", "--columns", "amount"]).run().succeeded();
    let predicted = predictions(&workshop, "r1");
    for name in ["customer_id", "amount"] {
        assert_eq!(predicted.column(name).unwrap(), table.column(name).unwrap(), "{name}");
    }
}

/// A category of whole numbers, of booleans and of dates, by every way between Parquet and CSV.
#[test]
fn a_category_is_the_same_whoever_wrote_it() {
    let numbers = |dtype: &DataType| {
        let values: Vec<i64> = (0..ROWS as i64).map(|row| row / 3 % 3).collect();
        Series::new("k".into(), values).cast(dtype).unwrap()
    };
    let dates = numbers(&DataType::Int32).cast(&DataType::Date).unwrap();
    let times = dates.cast(&DataType::Datetime(TimeUnit::Milliseconds, None)).unwrap();
    let families = [
        vec![
            numbers(&DataType::Int64),
            numbers(&DataType::Float64),
            numbers(&DataType::Float32),
            numbers(&DataType::UInt8),
        ],
        vec![numbers(&DataType::Boolean), numbers(&DataType::Boolean).cast(&DataType::Int8).unwrap()],
        vec![dates.clone(), times],
    ];
    for family in families {
        let mut expected: Option<Vec<f64>> = None;
        for trained in &family {
            for csv_trains in [false, true] {
                let workshop = Workshop::new();
                // The target follows the category and nothing else.
                let codes = family[0].to_physical_repr().cast(&DataType::Float64).unwrap();
                let score: Vec<f64> = codes.f64().unwrap().iter().map(|code| 10.0 * code.unwrap_or_default()).collect();
                let table = |column: &Series| {
                    with(with(customers(ROWS, 1, 7), column.clone()), Series::new("score".into(), score.clone()))
                };
                let written = table(trained);
                if csv_trains {
                    workshop.write("train/a.csv", csv(&written));
                } else {
                    write_parquet(&written, &workshop.path("train/a.parquet"));
                }
                workshop.write("spec.toml", "categorical = [\"k\"]");
                workshop.train().args(["--features", "spec.toml"]).run().succeeded();
                for (place, scored) in family.iter().enumerate() {
                    for csv_scores in [false, true] {
                        let folder = format!("in{place}{csv_scores}");
                        let given = without(&table(scored), "score");
                        if csv_scores {
                            workshop.write(&format!("{folder}/a.csv"), csv(&given));
                        } else {
                            write_parquet(&given, &workshop.path(&format!("{folder}/a.parquet")));
                        }
                        let result = workshop.predict_on(&folder).args(["--run-id", &folder]).run().succeeded();
                        assert_eq!(result["rows_rejected"], 0);
                        let predicted: Vec<f64> = predictions(&workshop, &folder)
                            .column("prediction")
                            .unwrap()
                            .f64()
                            .unwrap()
                            .iter()
                            .flatten()
                            .collect();
                        let expected = expected.get_or_insert_with(|| predicted.clone());
                        assert!(
                            predicted == *expected,
                            "{} (CSV: {csv_trains}) scores {} (CSV: {csv_scores})",
                            trained.dtype(),
                            scored.dtype()
                        );
                    }
                }
                let expected = expected.as_ref().unwrap();
                let error = expected
                    .iter()
                    .zip(&score)
                    .map(|(predicted, actual)| (predicted - actual).abs())
                    .fold(0.0, f64::max);
                assert!(error < 0.5, "{error}");
            }
        }
    }
}

#[test]
fn a_column_without_a_value_in_training_is_missing_later_whatever_it_holds() {
    let workshop = Workshop::new();
    let nulls = |dtype: &DataType| Series::full_null("promo".into(), ROWS, dtype);
    for (case, dtype) in [DataType::Null, DataType::String, DataType::Float64, DataType::Boolean].iter().enumerate() {
        let name = format!("m{case}");
        write_parquet(&with(customers(ROWS, 1, 7), nulls(dtype)), &workshop.path(&format!("{name}/part.parquet")));
        workshop.train_on(&name).args(["--model-name", &name]).run().succeeded();
        let given = without(&customers(400, 100_000, 8), "score");
        let texts = Series::new("promo".into(), vec!["spring"; 400]);
        let numbers = Series::new("promo".into(), vec![7.5; 400]);
        let mut all = Vec::new();
        for (place, promo) in
            [texts.clone(), numbers, Series::full_null("promo".into(), 400, &DataType::Null)].iter().enumerate()
        {
            let folder = format!("{name}-{place}");
            write_parquet(&with(given.clone(), promo.clone()), &workshop.path(&format!("{folder}/a.parquet")));
            let result =
                workshop.predict_on(&folder).args(["--run-id", &folder, "--model-name", &name]).run().succeeded();
            assert_eq!(result["rows_predicted"], 400, "{dtype}");
            all.push(predictions(&workshop, &folder).column("prediction").unwrap().clone());
        }
        workshop.write(&format!("{name}-csv/a.csv"), csv(&with(given, texts)));
        let result = workshop
            .predict_on(&format!("{name}-csv"))
            .args(["--run-id", &format!("{name}-csv"), "--model-name", &name])
            .run()
            .succeeded();
        assert_eq!(result["rows_predicted"], 400);
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn markers_of_missing_values_are_missing_in_numbers_and_dates_alone() {
    let workshop = Workshop::new();
    let table = csv(&customers(ROWS, 1, 7));
    // Columns: customer_id, spend, visits, plan, member, since, score.
    let marked = |marker: &str| {
        let mut lines = table.lines();
        let mut text = lines.next().unwrap().to_owned() + "\n";
        for (row, line) in lines.enumerate() {
            let mut cells: Vec<&str> = line.split(',').collect();
            if row % 5 == 0 {
                cells[1] = marker;
                cells[5] = marker;
            }
            text += &(cells.join(",") + "\n");
        }
        text
    };
    workshop.write("empty/a.csv", marked(""));
    let expected = workshop.train_on("empty").run().succeeded();
    for marker in ["NA", "N/A", "#N/A", "NaN", "nan", "None", "null", "\\N", "-", "?", "<NA>"] {
        let other = Workshop::new();
        other.write("train/a.csv", marked(marker));
        let trained = other.train().run().succeeded();
        assert_eq!(trained["model_sha256"], expected["model_sha256"], "{marker}");
        let result = other.predict_on("train").run().succeeded();
        assert_eq!(
            (&result["rows_predicted"], &result["rows_rejected"]),
            (&Value::from(ROWS), &Value::from(0)),
            "{marker}"
        );
    }
}

#[test]
fn other_text_among_numbers_is_named() {
    let workshop = Workshop::new();
    let mut text = String::from("customer_id,score,income,day\n");
    for row in 0..600 {
        let income = if row % 3 == 0 { "not known".to_owned() } else { format!("{}.5", row * 7) };
        text += &format!("{row},{},{income},24-1-{}\n", row % 50, 1 + row % 28);
    }
    workshop.write("train/a.csv", &text);
    let ended = workshop.train().args(["--min-r2", "-10"]).run();
    ended.succeeded();
    let log = &ended.stderr;
    assert!(
        log.contains("is text because of 153 of the 459 training cells that are not missing"),
        "the training rows': {log}"
    );
    assert!(log.contains("two digits for the year"), "{log}");
    assert_eq!(feature(&workshop, "day").0["kind"], "category", "24-1-5 is no date");
}

/// A time of day in Parquet, of every unit, and as text in CSV.
#[test]
fn a_time_is_a_part_of_a_day() {
    let workshop = Workshop::new();
    let seconds: Vec<i64> = (0..ROWS as i64).map(|row| row * 57 % 86_400).collect();
    let nanoseconds: Vec<i64> = seconds.iter().map(|second| second * 1_000_000_000).collect();
    let time = Series::new("at".into(), nanoseconds).cast(&DataType::Time).unwrap();
    let table = with(customers(ROWS, 1, 7), time);
    write_parquet(&table, &workshop.path("train/a.parquet"));
    workshop.train().run().succeeded();
    let (entry, statistics) = feature(&workshop, "at");
    assert_eq!((&entry["kind"], &entry["type"]), (&Value::from("date"), &Value::from("time")));
    assert_eq!(statistics["missing"], 0.0);
    assert!(statistics["max"].as_f64().unwrap() < 1.0);
    workshop.write("text/a.csv", csv(&without(&table, "score")));
    workshop.predict_on("text").args(["--run-id", "csv"]).run().succeeded();
    workshop.predict_on("train").args(["--run-id", "parquet"]).run().succeeded();
    let column = |run: &str| predictions(&workshop, run).column("prediction").unwrap().clone().into_column();
    assert_eq!(column("csv"), column("parquet"));
}

fn sorted_levels(workshop: &Workshop, name: &str) -> Vec<String> {
    let (feature, _) = feature(workshop, name);
    let mut levels: Vec<String> = serde_json::from_value(feature["levels"].clone()).unwrap();
    levels.sort();
    levels
}

/// The mean prediction in hundreds of the rows that have each of three values in turn.
fn predicted_by_turns(workshop: &Workshop, run: &str) -> [i64; 3] {
    let predicted = predictions(workshop, run);
    let predicted: Vec<f64> = predicted.column("prediction").unwrap().f64().unwrap().iter().flatten().collect();
    [0, 1, 2].map(|turn| {
        let of_turn: Vec<f64> = predicted.iter().skip(turn).step_by(3).copied().collect();
        (of_turn.iter().sum::<f64>() / of_turn.len() as f64 / 100.0).round() as i64
    })
}

/// A table of one category `c`, whose three values come in turn and make the score 0, 100 and 200.
fn of_turns(rows: usize, first_id: i64, category: Series) -> DataFrame {
    let ids: Vec<i64> = (first_id..first_id + rows as i64).collect();
    let scores: Vec<f64> = (0..rows).map(|row| (row % 3) as f64 * 100.0 + (row % 7) as f64 / 10.0).collect();
    let columns = [Series::new("customer_id".into(), ids), category, Series::new("score".into(), scores)];
    DataFrame::new(rows, columns.map(IntoColumn::into_column).to_vec()).unwrap()
}

fn turns<T: Clone>(values: &[T; 3], rows: usize) -> Vec<T> {
    (0..rows).map(|row| values[row % 3].clone()).collect()
}

#[test]
fn a_narrow_float_has_one_text_whatever_lies_beside_it() {
    let workshop = Workshop::new();
    let narrow = |rows: usize| Series::new("c".into(), turns(&[0.1_f32, 0.7, 123_456_789.0], rows));
    let wide = |rows: usize| Series::new("c".into(), turns(&[0.1_f64, 0.7, 123_456_790.0], rows));
    write_parquet(&of_turns(600, 0, narrow(600)), &workshop.path("train/a.parquet"));
    workshop.write("spec.toml", "categorical = [\"c\"]\n");
    let train = |data: &str, run: &str| {
        let call = workshop.train_on(data).args(["--features", "spec.toml", "--min-r2", "0.5", "--run-id", run]);
        call.run().succeeded();
        sorted_levels(&workshop, "c")
    };
    let levels = ["0.1", "0.7", "123456790"];
    assert_eq!(train("train", "narrow"), levels);
    let scoring = |name: &str, frame: &DataFrame| write_parquet(&without(frame, "score"), &workshop.path(name));
    scoring("alone/a.parquet", &of_turns(300, 0, narrow(300)));
    scoring("mixed/a.parquet", &of_turns(300, 0, narrow(300)));
    scoring("mixed/b.parquet", &of_turns(300, 300, wide(300)));
    let cells = Series::new("c".into(), turns(&["0.1", "0.7", "1.2345679e+08"], 300));
    workshop.write("csv/a.csv", csv(&without(&of_turns(300, 0, cells), "score")));
    for data in ["alone", "mixed", "csv"] {
        workshop.predict_on(data).args(["--run-id", data]).run().succeeded();
        assert_eq!(predicted_by_turns(&workshop, data), [0, 1, 2], "{data}");
    }
    write_parquet(&of_turns(600, 600, wide(600)), &workshop.path("train/b.parquet"));
    assert_eq!(train("train", "mixed"), levels);
    workshop.predict_on("alone").args(["--run-id", "by-mixed"]).run().succeeded();
    assert_eq!(predicted_by_turns(&workshop, "by-mixed"), [0, 1, 2]);
}

#[test]
fn timestamps_of_csv_keep_their_nanoseconds() {
    let workshop = Workshop::new();
    let texts = ["2024-01-01 00:00:00.123456111", "2024-01-01 00:00:00.123456789", "2024-01-02"];
    let first = 1_704_067_200_000_000_000_i64;
    let nanoseconds = [first + 123_456_111, first + 123_456_789, first + 86_400_000_000_000];
    let typed = |rows: usize| {
        let values = Series::new("c".into(), turns(&nanoseconds, rows));
        values.cast(&DataType::Datetime(TimeUnit::Nanoseconds, None)).unwrap()
    };
    let cells = |rows: usize| Series::new("c".into(), turns(&texts, rows));
    write_parquet(&of_turns(600, 0, typed(600)), &workshop.path("parquet/a.parquet"));
    workshop.write("csv/a.csv", csv(&of_turns(600, 0, cells(600))));
    workshop.write("spec.toml", "categorical = [\"c\"]\n");
    for trained in ["parquet", "csv"] {
        let call = workshop.train_on(trained).args(["--features", "spec.toml", "--min-r2", "0.5", "--run-id", trained]);
        call.run().succeeded();
        assert_eq!(sorted_levels(&workshop, "c"), texts, "{trained}");
        for scored in ["parquet", "csv"] {
            let run = format!("{trained}-{scored}");
            workshop.predict_on(scored).args(["--run-id", &run]).run().succeeded();
            assert_eq!(predicted_by_turns(&workshop, &run), [0, 1, 2], "{run}");
        }
    }
}

/// pandas makes a column of floats of one without a value, whatever it holds in other files.
#[test]
fn a_column_without_a_value_fits_whatever_was_learnt() {
    let workshop = Workshop::with_model();
    let table = without(&customers(400, 100_000, 8), "score");
    let rows = table.height();
    let scored = |workshop: &Workshop, run: &str, plan: Series| {
        fs::remove_dir_all(workshop.path("customers")).unwrap();
        write_parquet(&with(table.clone(), plan), &workshop.path("customers/a.parquet"));
        workshop.predict().args(["--run-id", run]).run().succeeded();
        predictions(workshop, run)
    };
    let texts = scored(&workshop, "text", Series::full_null("plan".into(), rows, &DataType::String));
    for (run, dtype) in [("floats", DataType::Float64), ("booleans", DataType::Boolean), ("dates", DataType::Date)] {
        let untyped = scored(&workshop, run, Series::full_null("plan".into(), rows, &dtype));
        assert_eq!(untyped.column("prediction").unwrap(), texts.column("prediction").unwrap(), "{dtype}");
    }
    // One value is enough to be of another type.
    let one = Series::new("plan".into(), (0..rows).map(|row| (row == 7).then_some(1.5)).collect::<Vec<Option<f64>>>());
    write_parquet(&with(table.clone(), one), &workshop.path("customers/a.parquet"));
    workshop.predict().run().failed(4, &["\"plan\"", "trained on text"]);
}

#[test]
fn objects_without_a_value_in_a_column_take_the_type_of_the_others() {
    let half = ROWS / 2;
    let empty = Series::full_null("v".into(), half, &DataType::Float64);
    let texts = Series::new("v".into(), (0..half).map(|row| if row % 2 == 0 { "a" } else { "b" }).collect::<Vec<_>>());
    for (one, other) in [(empty.clone(), texts.clone()), (texts, empty)] {
        let workshop = Workshop::new();
        two_objects(&workshop, "train", one, other);
        workshop.train().run().succeeded();
        let (entry, statistics) = feature(&workshop, "v");
        assert_eq!(entry["levels"], serde_json::json!(["a", "b"]));
        // Of the rows that are not held out.
        assert!((statistics["missing"].as_f64().unwrap() - 0.5).abs() < 0.05, "{statistics}");
        let carried = workshop.predict_on("train").args(["--run-id", "r1", "--columns", "v"]).run();
        assert_eq!(carried.succeeded()["rows_predicted"], ROWS);
        let carried = predictions(&workshop, "r1");
        assert_eq!(carried.column("v").unwrap().dtype(), &DataType::String);
        assert_eq!(carried.column("v").unwrap().null_count(), half);
    }
}

/// Every digit of a time or a duration stands in CSV, and comes back; what no day has is refused.
#[test]
fn times_and_durations_keep_their_digits() {
    let nanoseconds =
        |name: &str| Series::new(name.into(), (0..ROWS as i64).map(|row| row * 1_000_007).collect::<Vec<_>>());
    let times = nanoseconds("customer_id").cast(&DataType::Time).unwrap();
    let took = nanoseconds("took").cast(&DataType::Duration(TimeUnit::Nanoseconds)).unwrap();
    let workshop = Workshop::new();
    write_parquet(&with(with(customers(ROWS, 1, 7), times), took), &workshop.path("train/part.parquet"));
    assert_eq!(workshop.train().run().succeeded()["rows_dropped"]["duplicate_id"], 0);
    let written = workshop.predict_on("train").args(["--run-id", "r1", "--format", "csv", "--columns", "took"]).run();
    written.succeeded();
    let written = fs::read_to_string(workshop.path("output/predictions/run_id=r1/part-00000.csv")).unwrap();
    let rows: Vec<&str> = written.lines().collect();
    assert!(rows[8].starts_with("00:00:00.007000049,"), "{}", rows[8]);
    assert!(rows[8].ends_with(",PT0.007000049S"), "{}", rows[8]);
    let ids: std::collections::HashSet<&str> = rows.iter().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(ids.len(), ROWS);
}

/// What cannot be a feature can be excluded, whatever bytes it has.
#[test]
fn excluded_columns_may_hold_anything() {
    let workshop = Workshop::new();
    let hashes: Vec<[u8; 2]> = (0..ROWS).map(|row| [0xff, (row / 3) as u8]).collect();
    let hashes = Series::new("hash".into(), hashes.iter().map(<[u8; 2]>::as_slice).collect::<Vec<&[u8]>>());
    write_parquet(&with(customers(ROWS, 1, 7), hashes), &workshop.path("train/part.parquet"));
    workshop.train().run().failed(4, &["\"hash\"", "exclude"]);
    workshop.write("spec.toml", "exclude = [\"hash\"]\n");
    workshop.train().args(["--features", "spec.toml"]).run().succeeded();
    assert_eq!(workshop.predict_on("train").run().succeeded()["rows_predicted"], ROWS);
}
