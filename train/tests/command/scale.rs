//! Targets whose spread XGBoost cannot learn from: the model is that of the same target in other units, brought back exactly.

use std::fmt::Write as _;
use std::process::Output;

use polars::prelude::{DataFrame, NamedFrom, Series};
use scoring::{CheckedModel, power_of_two, rescale};
use serde_json::Value;
use testkit::tables::{customers, with, write_parquet};
use xgboost::Booster;

use super::{Workshop, json, last_line, succeeded};

const ROWS: usize = 1_200;

/// The usual table with targets times 2 to a power; powers of two lose no digit.
fn table(power: i32) -> DataFrame {
    let table = customers(ROWS, 1, 7);
    // As many digits as 32-bit floats have, so that these are the same for every power.
    let score = table.column("score").unwrap().f64().unwrap().iter();
    let target: Vec<f64> = score.map(|value| f64::from(value.unwrap() as f32) * power_of_two(power)).collect();
    let table = with(table, Series::new("target".into(), target)).drop("score").unwrap();
    let mut renamed = table;
    renamed.rename("customer_id", "id".into()).unwrap();
    renamed
}

struct Trained {
    model: Vec<u8>,
    metrics: Value,
    metadata: Value,
    result: Value,
    log: String,
    page: String,
}

fn train(workshop: &Workshop, run_id: &str, power: i32, more: &[&str]) -> Output {
    let data = workshop.folder().join(format!("table-{power}.parquet"));
    write_parquet(&table(power), &data);
    workshop.call(run_id, &data).args(more).output().unwrap()
}

fn trained(power: i32, spec: &str, more: &[&str]) -> Trained {
    let workshop = Workshop::new();
    let spec = workshop.write("features.toml", spec);
    let more = [&["--features", spec.to_str().unwrap()], more].concat();
    of_run(&workshop, &train(&workshop, "r", power, &more), "r")
}

#[track_caller]
fn of_run(workshop: &Workshop, done: &Output, run_id: &str) -> Trained {
    succeeded(done);
    let folder = workshop.run_folder(run_id);
    Trained {
        model: std::fs::read(folder.join("model.ubj")).unwrap(),
        metrics: json(&folder.join("metrics.json")),
        metadata: json(&folder.join("metadata.json")),
        result: last_line(done),
        log: String::from_utf8(done.stderr.clone()).unwrap(),
        page: std::fs::read_to_string(folder.join("report.html")).unwrap(),
    }
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// The same model, figures and result as those of the target times 2 to no power, in the target's own units.
#[track_caller]
fn is_the_same(own: &Trained, usual: &Trained, power: i32) {
    let rescaled =
        Booster::load(&CheckedModel::check(&rescale(&own.model, -power).unwrap()).unwrap()).unwrap().save().unwrap();
    assert!(rescaled == usual.model, "another model");
    has_the_same_figures(own, usual, power);
}

#[track_caller]
fn has_the_same_figures(own: &Trained, usual: &Trained, power: i32) {
    let unit = power_of_two(power);
    for (one, other) in [(&own.result, &usual.result), (&own.metrics, &usual.metrics)] {
        assert_eq!(number(one, "r2").to_bits(), number(other, "r2").to_bits());
        assert_eq!(
            ["rmse", "mae"].map(|name| number(one, name)),
            ["rmse", "mae"].map(|name| unit * number(other, name))
        );
    }
    assert!(number(&usual.result, "r2") > 0.5, "{}", usual.result);
    assert_eq!(usual.metrics["target_scaled_by"], Value::Null);
    let factor = number(&own.metrics, "target_scaled_by");
    assert_eq!(factor.log2().fract(), 0.0, "{factor} is no power of two");
    let said = format!("times 2^{} and the model is brought back", factor.log2());
    assert!(own.log.contains(&said) && !usual.log.contains("brought back"), "{}", own.log);
    assert!(own.page.contains("brought back, exactly") && !usual.page.contains("brought back"));
}

#[test]
fn tiny_and_huge_targets_give_the_model_of_usual_ones() {
    let given = ["--rounds", "40"];
    let usual = trained(0, "", &given);
    for power in [-40, -20, 40] {
        is_the_same(&trained(power, "", &given), &usual, power);
    }
    // Gains have no room here in the target's own units and stay as XGBoost found them.
    for power in [-90, 60, 90] {
        has_the_same_figures(&trained(power, "", &given), &usual, power);
    }
    // Within the usual range nothing is scaled.
    for power in [-8, 15] {
        let own = trained(power, "", &given);
        assert_eq!((&own.metrics["target_scaled_by"], own.log.contains("brought back")), (&Value::Null, false));
    }
}

#[test]
fn parameters_in_the_targets_units_weights_and_constraints_hold_for_scaled_targets() {
    let spec = "weight = \"visits\"\nclip = true\n[monotone]\nspend = 1\n[ranges]\nvisits = { min = 0 }\n";
    let power = -40;
    let params = |power: i32| {
        let pairs = [("gamma", 3.0, 2), ("alpha", 5.0, 1), ("max_delta_step", 40.0, 1), ("base_score", 30.0, 1)];
        pairs.map(|(name, value, times)| format!("{name}={}", value * power_of_two(times * power)))
    };
    let call = |power: i32| {
        let params = params(power);
        let given = params.iter().flat_map(|param| ["--param", param.as_str()]);
        let more: Vec<&str> = ["--rounds", "40"].into_iter().chain(given).collect();
        trained(power, spec, &more)
    };
    let (own, usual) = (call(power), call(0));
    is_the_same(&own, &usual, power);
    // Written down as they were given, in the target's own units.
    assert_eq!(own.metadata["params"]["gamma"].as_str().unwrap(), (3.0 * power_of_two(2 * power)).to_string());
    let least = |of: &Trained| of.metadata["clip"][0].as_f64().unwrap();
    assert_eq!(least(&own), power_of_two(power) * least(&usual));
}

#[test]
fn boosters_with_dropout_and_other_equivariant_objectives_are_brought_back() {
    let power = -40;
    for params in [
        &["booster=dart", "rate_drop=0.2"][..],
        &["num_parallel_tree=3", "subsample=0.7"],
        &["tree_method=approx"],
        &["objective=reg:expectileerror", "expectile_alpha=0.6"],
    ] {
        let given = params.iter().flat_map(|param| ["--param", param]);
        let more: Vec<&str> = ["--rounds", "30"].into_iter().chain(given).collect();
        is_the_same(&trained(power, "", &more), &trained(0, "", &more), power);
    }
    // XGBoost's own sums for these round otherwise at another scale.
    for params in [&["objective=reg:absoluteerror"][..], &["objective=reg:quantileerror", "quantile_alpha=0.5"]] {
        let given = params.iter().flat_map(|param| ["--param", param]);
        let more: Vec<&str> = ["--rounds", "60"].into_iter().chain(given).collect();
        let (own, usual) = (trained(power, "", &more), trained(0, "", &more));
        let (own, usual) = (number(&own.result, "r2"), number(&usual.result, "r2"));
        assert!((own - usual).abs() < 1e-4 && usual > 0.9, "{own} and {usual}");
    }
}

#[test]
fn what_is_searched_for_is_chosen_alike_and_told_in_the_targets_own_units() {
    let power = -40;
    let more = ["--time-budget", "3600", "--param", "max_depth=3"];
    let (own, usual) = (trained(power, "", &more), trained(0, "", &more));
    has_the_same_figures(&own, &usual, power);
    let told = |of: &Trained, unit: f64| -> Vec<(Value, Value, f64)> {
        let trials = of.metrics["trials"].as_array().unwrap().iter();
        trials
            .map(|trial| (trial["encoding"].clone(), trial["rounds"].clone(), number(trial, "value") / unit))
            .collect()
    };
    assert_eq!(told(&own, power_of_two(power)), told(&usual, 1.0));
    let curve = |of: &Trained| of.metrics["learning_curve"]["values"].as_array().unwrap().clone();
    let scaled: Vec<f64> = curve(&usual).iter().map(|value| value.as_f64().unwrap() * power_of_two(power)).collect();
    assert_eq!(curve(&own).iter().map(|value| value.as_f64().unwrap()).collect::<Vec<_>>(), scaled);
    // Means of the target that stand for levels are in its own units too, so that `predict` finds what was learnt from.
    let encoded = |of: &Trained| {
        let features = of.metadata["features"].as_array().unwrap().clone();
        features.into_iter().find(|feature| feature["name"].as_str().unwrap().contains("plan_target"))
    };
    if let (Some(own), Some(usual)) = (encoded(&own), encoded(&usual)) {
        let default = |of: &Value| number(of, "default") as f32;
        assert_eq!(f64::from(default(&own)), power_of_two(power) * f64::from(default(&usual)));
    }
}

#[test]
fn means_of_the_target_are_in_its_own_units() {
    let power = -40;
    let (spec, more) = ("[encoding]\nplan = \"target\"\n", ["--rounds", "40"]);
    let (own, usual) = (trained(power, spec, &more), trained(0, spec, &more));
    has_the_same_figures(&own, &usual, power);
    let of = |of: &Trained| {
        let features = of.metadata["features"].as_array().unwrap().clone();
        features.into_iter().find(|feature| feature["name"] == "plan").unwrap()
    };
    let default = |of: &Value| number(of, "default") as f32;
    assert_eq!(f64::from(default(&of(&own))), power_of_two(power) * f64::from(default(&of(&usual))));
}

#[test]
fn tuning_is_never_worse_and_counts_in_the_targets_own_units() {
    let power = 50;
    let own = trained(power, "", &["--rounds", "40", "--tune", "6", "--time-budget", "3600"]);
    let tuning = &own.metrics["tuning"];
    let (untuned, tuned) = (number(tuning, "untuned"), number(tuning, "tuned"));
    assert!(tuned <= untuned && tuned > 0.0, "{tuning}");
    // The root of the mean square, in units of the target: about a thirtieth of its spread.
    let unit = power_of_two(power);
    assert!(untuned / unit > 0.2 && untuned / unit < 10.0, "{tuning}");
    assert!(number(&own.result, "r2") > 0.9, "{}", own.result);
}

#[test]
fn what_cannot_be_scaled_is_named_with_what_to_do() {
    let workshop = Workshop::new();
    let more = ["--rounds", "5", "--param", "objective=count:poisson"];
    let done = train(&workshop, "poisson", -30, &more);
    let poisson = of_run(&workshop, &done, "poisson");
    let warned = |parts: &[&str]| {
        let warnings = poisson.metrics["warnings"].as_array().unwrap();
        let all = |warning: &&Value| parts.iter().all(|part| warning.as_str().unwrap().contains(part));
        assert!(warnings.iter().any(|warning| all(&warning)), "{warnings:?}");
    };
    warned(&["\"target\" has a spread", "objective \"count:poisson\"", "multiply the target by 1e8 before training"]);
    assert_eq!(poisson.metrics["target_scaled_by"], Value::Null);
    let strict = train(&workshop, "strict", -30, &[&more[..], &["--strict"]].concat());
    assert_eq!(strict.status.code(), Some(4));
    for (power, parts) in [
        (-140, &["has a spread (standard deviation) of", "multiply it by a power of ten"][..]),
        (120, &["no room in 32-bit floats", "divide it by a power of ten"]),
    ] {
        let done = train(&workshop, &format!("p{power}"), power, &["--rounds", "5"]);
        let message = last_line(&done)["error_message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(done.status.code(), Some(4), "{message}");
        parts.iter().for_each(|part| assert!(message.contains(part), "{message}"));
    }
}

/// `y = (3x + sin 9x)·3e-4` in 400 rows of weight 1, and as many more rows of `y = -999` and weight 0 as asked for.
fn small_waves(without_weight: usize) -> String {
    let mut csv = String::from("id,x,visits,target\n");
    for row in 0..400 + without_weight {
        let x = ((row * 37) % 101) as f64 / 101.0 + row as f64 * 1e-4;
        let (visits, target) = if row < 400 { (1, (3.0 * x + (9.0 * x).sin()) * 3e-4) } else { (0, -999.0) };
        writeln!(csv, "{row},{x},{visits},{target}").unwrap();
    }
    csv
}

#[test]
fn rows_of_weight_0_do_not_decide_how_the_target_is_scaled() {
    let r2 = |without_weight: usize, power: i32, more: &[&str]| {
        let workshop = Workshop::new();
        let spec = workshop.write("features.toml", "weight = \"visits\"\n");
        let mut csv = small_waves(without_weight);
        if power != 0 {
            csv = csv.replace("-999", &(-999.0 * power_of_two(power)).to_string());
        }
        let data = workshop.write("table.csv", &csv);
        let more = [&["--features", spec.to_str().unwrap()], more].concat();
        let done = workshop.call("r", &data).args(more).output().unwrap();
        let own = of_run(&workshop, &done, "r");
        (number(&own.result, "r2"), own.metrics["target_scaled_by"].clone())
    };
    let given = &["--rounds", "60"][..];
    let (without, scaled_by) = r2(0, 0, given);
    assert!(without > 0.95 && scaled_by.is_number(), "{without} {scaled_by}");
    for power in [0, 100] {
        let (with, scaled_so) = r2(8, power, given);
        assert!((with - without).abs() < 1e-3, "{with} with rows of weight 0, {without} without");
        assert_eq!(scaled_so, scaled_by);
    }
    // Early stopping measures errors on rows of weight 0 too: they count nothing there.
    let searched = &["--param", "max_depth=3"][..];
    let ((without, _), (with, _)) = (r2(0, 0, searched), r2(8, 100, searched));
    assert!((with - without).abs() < 0.01 && with > 0.95, "{with} with rows of weight 0, {without} without");
}
