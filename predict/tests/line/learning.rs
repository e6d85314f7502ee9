//! What the spec says about learning, on the sample: weights of rows, and the direction in which a feature moves the prediction.

use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};
use testkit::program::Invocation;
use testkit::tables::{with, write_parquet};

use super::{Workshop, files_below, programs, sample, text};
use testkit::tables::read_parquet;

const ROWS: usize = 6_000;

/// Some rows of the sample.
fn rows() -> DataFrame {
    let files = files_below(std::path::Path::new(&sample("train")));
    read_parquet(&std::fs::read(&files[0]).unwrap()).head(Some(ROWS))
}

fn numbers(table: &DataFrame, column: &str) -> Vec<f64> {
    let numbers = table.column(column).unwrap().cast(&polars::prelude::DataType::Float64).unwrap();
    numbers.f64().unwrap().iter().map(Option::unwrap).collect()
}

fn column(name: &str, values: impl IntoIterator<Item = Option<f64>>) -> polars::prelude::Column {
    Series::new(name.into(), values.into_iter().collect::<Vec<Option<f64>>>()).into_column()
}

/// `train` on `train/`, with the sample's spec and `more` of it.
fn train(workshop: &Workshop, more: &str) -> Invocation {
    let spec = std::fs::read_to_string(sample("features.toml")).unwrap();
    let (before, derived) = spec.split_once("[derived]").unwrap();
    let (top, tables) = more.split_once("\n\n").unwrap_or((more, ""));
    workshop.write("features.toml", format!("{before}{top}\n\n{tables}\n\n[derived]{derived}"));
    let call = programs().train().folder(workshop.folder.path()).args(["--train-data", "train", "--models", "models"]);
    let call = call.args(["--features", "features.toml", "--model-version", "v1", "--threads", "1"]);
    call.args(["--min-r2", "-1000"]).env("ROUNDS", "60")
}

#[test]
fn bad_weights_are_left_out_and_counted() {
    let table = rows();
    let workshop = Workshop::new();
    let weighted = |of: &dyn Fn(usize) -> Option<f64>| {
        let weighted = with(table.clone(), column("weight", (0..table.height()).map(of)));
        write_parquet(&weighted, &workshop.path("train/part.parquet"));
        train(&workshop, "weight = \"weight\"")
    };
    let bad = [Some(-1.0), Some(f64::NAN), None, Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(1e300)];
    let result = weighted(&|row| bad.get(row).copied().unwrap_or(Some(0.5))).run().succeeded();
    assert_eq!(result["rows_dropped"]["bad_weight"], bad.len(), "{result}");
    assert_eq!(
        result["rows_train"].as_u64().unwrap() + result["rows_test"].as_u64().unwrap(),
        (ROWS - bad.len()) as u64
    );
    let run = ["model_name", "model_version", "run_id"].map(|name| text(&result, name)).join("/");
    let report = std::fs::read_to_string(workshop.path(&format!("models/{run}/report.html"))).unwrap();
    assert!(report.contains("counts each of them by its weight"), "{report}");
    weighted(&|_| Some(0.0)).run().failed(4, &["weight 0"]);
    weighted(&|_| None).run().failed(4, &["none of its 6000 rows"]);

    let words: Vec<&str> = vec!["much"; table.height()];
    let texts = with(table.clone(), Series::new("weight".into(), words).into_column());
    write_parquet(&texts, &workshop.path("train/part.parquet"));
    train(&workshop, "weight = \"weight\"").run().failed(4, &["weight"]);
    write_parquet(&table, &workshop.path("train/part.parquet"));
    train(&workshop, "weight = \"weight\"").run().failed(4, &["\"weight\""]);
}

/// The largest step up and the largest step down of the prediction as customers become older by a year.
fn steps_by_age(workshop: &Workshop, run_id: &str) -> (f64, f64) {
    const AGES: std::ops::Range<i64> = 21..71;
    let customers = rows().head(Some(60));
    let mut all: Option<DataFrame> = None;
    for customer in 0..customers.height() {
        let ids: Vec<i64> = AGES.map(|age| customer as i64 * 1_000 + age).collect();
        let copies = customers.slice(customer as i64, 1);
        let copies = AGES.skip(1).fold(copies.clone(), |all, _| all.vstack(&copies).unwrap());
        let copies = with(copies, Series::new("ID".into(), ids).into_column());
        let copies = with(copies, Series::new("AGE".into(), AGES.collect::<Vec<i64>>()).into_column());
        all = Some(all.map_or(copies.clone(), |all| all.vstack(&copies).unwrap()));
    }
    write_parquet(&all.unwrap(), &workshop.path("ages/part.parquet"));
    let selector = format!("v1/{run_id}");
    workshop.predict_on("ages").args(["--model-version", &selector, "--run-id", run_id]).run().succeeded();
    let part = std::fs::read(workshop.path(&format!("output/predictions/run_id={run_id}/part-00000.parquet"))).unwrap();
    let predictions = numbers(&read_parquet(&part), "prediction");
    let years = AGES.count();
    let steps = predictions.chunks(years).flat_map(|customer| customer.windows(2).map(|pair| pair[1] - pair[0]));
    steps.fold((0.0, 0.0), |(up, down), step| (step.max(up), step.min(down)))
}

#[test]
fn a_monotone_feature_moves_every_prediction_one_way() {
    let workshop = Workshop::new();
    write_parquet(&rows(), &workshop.path("train/part.parquet"));
    for (run_id, more) in [("free", ""), ("rising", "\n\n[monotone]\nAGE = 1"), ("falling", "\n\n[monotone]\nAGE = -1")]
    {
        train(&workshop, more).args(["--run-id", run_id]).run().succeeded();
        let (up, down) = steps_by_age(&workshop, run_id);
        match run_id {
            "free" => assert!(up > 0.0 && down < 0.0, "nothing to constrain: {up} {down}"),
            "rising" => assert!(up > 0.0 && down == 0.0, "{up} {down}"),
            _ => assert!(up == 0.0 && down < 0.0, "{up} {down}"),
        }
    }
    // Where parameters and rounds are searched for, too; a short search looks at the same kinds of models.
    let chosen = train(&workshop, "\n\n[monotone]\nAGE = 1").env("ROUNDS", "").args(["--run-id", "chosen"]);
    chosen.args(["--time-budget", "5"]).run().succeeded();
    let (_, down) = steps_by_age(&workshop, "chosen");
    assert!(down >= 0.0, "{down}");
}
