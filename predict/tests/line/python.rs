//! Anyone can rebuild matrix and predictions in Python from what a model's folder holds.

use std::process::Command;

use polars::prelude::{DataFrame, DataType, IntoColumn, NamedFrom, Series, TimeUnit};
use testkit::tables::{customers, with, without, write_parquet};

use super::{ROWS, Workshop, repository, sample, text};

#[track_caller]
fn python_agrees(workshop: &Workshop, input: &str, run_id: &str, rows: usize) {
    let script = repository().join("scripts/check-model-in-python");
    let mut call = Command::new(script);
    call.arg(workshop.path(&workshop.model_folder())).arg(input);
    call.arg(workshop.path(&format!("output/predictions/run_id={run_id}")));
    let output = call.output().unwrap();
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{log}");
    assert!(said.contains(&format!("{rows} predictions are equal")), "{said}");
}

#[test]
fn python_predicts_the_same_on_the_sample() {
    let line = super::sample::line();
    python_agrees(&line.workshop, &sample("customers"), text(&line.predicted, "run_id"), 30_000);
}

/// Targets that XGBoost was given in other units: the model predicts in the target's own, and so does XGBoost in Python.
#[test]
fn python_predicts_the_same_for_a_target_that_was_scaled() {
    let mut r2 = Vec::new();
    for power in [-40, 0, 70] {
        let workshop = Workshop::with_data();
        let table = customers(ROWS, 1, 7);
        let scores = table.column("score").unwrap().f64().unwrap();
        let scaled: Vec<f64> =
            scores.iter().map(|score| f64::from(score.unwrap() as f32) * 2_f64.powi(power)).collect();
        write_parquet(&with(table, Series::new("score".into(), scaled)), &workshop.path("train/part.parquet"));
        let trained = workshop.train().run().succeeded();
        r2.push(trained["r2"].as_f64().unwrap());
        let predicted = workshop.predict().args(["--run-id", "r1"]).run().succeeded();
        let mean = predicted["mean_prediction"].as_f64();
        assert!(mean.is_none_or(|mean| (40.0..90.0).contains(&(mean / 2_f64.powi(power)))), "{predicted}");
        python_agrees(&workshop, &workshop.text("customers"), "r1", 400);
    }
    assert!(r2[1] > 0.9 && r2.iter().all(|r2_of_power| *r2_of_power == r2[1]), "{r2:?}");
}

const SPEC: &str = r#"
id = "customer_id"
target = "score"
categorical = ["visits", "k_f32", "k_bool", "k_time", "k_decimal", "k_day"]
as_of = "2020-01-01"
clip = true
[derived]
spend_per_visit = "spend / NULLIF(visits, 0)"
log_spend = "LN(spend)"
bracket = "CASE WHEN spend < 25 THEN 'low' WHEN spend < 75 THEN 'middle' ELSE 'high' END"
"#;

/// A table with columns of more types, as numbers and as categories.
fn with_types(table: DataFrame) -> DataFrame {
    let rows = table.height() as i64;
    let whole = |name: &str, value: fn(i64) -> i64| {
        let values: Vec<Option<i64>> = (0..rows).map(|row| (row % 11 != 0).then(|| value(row))).collect();
        Series::new(name.into(), values)
    };
    let cast = |column: Series, dtype: &DataType| column.cast(dtype).unwrap();
    let times = |name: &str, unit, value| cast(whole(name, value), &DataType::Datetime(unit, None));
    let columns = [
        cast(whole("time", |row| row * 57_000_000_123 % 86_400_000_000_000), &DataType::Time),
        cast(whole("length", |row| row * 1_234_567 - 900_000), &DataType::Duration(TimeUnit::Milliseconds)),
        times("ns", TimeUnit::Nanoseconds, |row| row * 86_400_123_456_789),
        times("ms", TimeUnit::Milliseconds, |row| row * 86_412_345),
        cast(whole("amount", |row| row * 37), &DataType::Decimal(20, 0)),
        (&cast(whole("cents", |row| row * 1_237), &DataType::Float64) / 100.0).cast(&DataType::Decimal(12, 2)).unwrap(),
        &cast(whole("k_f32", |row| row % 4), &DataType::Float32) / 10.0_f32,
        cast(whole("k_bool", |row| row % 2), &DataType::Boolean),
        times("k_time", TimeUnit::Microseconds, |row| row % 3 * 43_200_250_000),
        (&cast(whole("k_decimal", |row| row % 5), &DataType::Float64) / 4.0).cast(&DataType::Decimal(9, 4)).unwrap(),
        cast(cast(whole("k_day", |row| 19_000 + row % 4), &DataType::Int32), &DataType::Date),
    ];
    columns.into_iter().fold(table, with)
}

/// A column of every kind, expressions that are not finite, levels that training never saw.
#[test]
fn python_predicts_the_same_on_every_kind_of_feature() {
    let workshop = Workshop::new();
    workshop.write("features.toml", SPEC);
    let seen_at = |rows: usize| {
        let micros: Vec<i64> = (0..rows as i64).map(|row| 1_500_000_000_000_000 + row * 7_654_321_987).collect();
        let unit = TimeUnit::Microseconds;
        let times = Series::new("seen_at".into(), micros);
        times.cast(&DataType::Datetime(unit, None)).unwrap().into_column()
    };
    let train = with_types(with(customers(ROWS, 1, 7), seen_at(ROWS)));
    write_parquet(&train, &workshop.path("train/part.parquet"));
    let mut table = with_types(with(without(&customers(400, 100_000, 8), "score"), seen_at(400)));
    let visits: Vec<i32> = (0..400).map(|row| row % 45).collect();
    let spend: Vec<Option<f64>> = (0..400_i32)
        .map(|row| match row % 9 {
            0 => None,
            1 => Some(0.0),
            2 => Some(f64::INFINITY),
            _ => Some(f64::from(row) / 4.0),
        })
        .collect();
    let plans: Vec<Option<&str>> =
        (0..400).map(|row| [Some("basic"), Some("gold"), None, Some("student"), Some("")][row % 5]).collect();
    table = with(table, Series::new("visits".into(), visits));
    table = with(with(table, Series::new("spend".into(), spend)), Series::new("plan".into(), plans));
    write_parquet(&table, &workshop.path("customers/part.parquet"));
    let train = workshop.train().args(["--features", "features.toml", "--rounds", "60"]);
    train.run().succeeded();
    workshop.predict().args(["--run-id", "r1"]).run().succeeded();
    python_agrees(&workshop, &workshop.text("customers"), "r1", 400);
}
