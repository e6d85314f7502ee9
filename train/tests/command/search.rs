//! What `train` chooses by itself, and what it leaves alone, by running the program on real files.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use testkit::random::Random;

use super::{Workshop, json, succeeded};

const ROWS: usize = 400;

/// A made-up table: the target follows a number and, with noise, the place of a town in the alphabet and its plan.
fn table() -> String {
    let mut csv = String::from("id,x,plan,town,target\n");
    for row in 0..ROWS {
        let noise = ((row * 7_919) % 101) as f64 / 101.0;
        let (x, plan, town) = (((row * 37) % 83) as f64 / 83.0, row % 3, (row * 13) % 80);
        let target = 2.0 * x + plan as f64 + (town as f64 / 20.0).floor() + noise;
        writeln!(csv, "{row},{x},plan-{plan},town-{town:03},{target}").unwrap();
    }
    csv
}

struct Run {
    model: Vec<u8>,
    metadata: Value,
    metrics: Value,
}

impl Run {
    /// The kinds of the features, by name.
    fn kinds(&self) -> Vec<(&str, &str)> {
        let features = self.metadata["features"].as_array().unwrap();
        let named = |feature| (text(feature, "name"), text(feature, "kind"));
        features.iter().map(named).collect()
    }

    /// The stages of the trials.
    fn stages(&self) -> Vec<&str> {
        self.metrics["trials"].as_array().unwrap().iter().map(|trial| trial["stage"].as_str().unwrap()).collect()
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn train(workshop: &Workshop, run_id: &str, more: &[&str]) -> Run {
    let data = workshop.write("table.csv", &table());
    succeeded(&workshop.call(run_id, &data).args(more).output().unwrap());
    let folder = workshop.run_folder(run_id);
    let model = std::fs::read(folder.join("model.ubj")).unwrap();
    Run { model, metadata: json(&folder.join("metadata.json")), metrics: json(&folder.join("metrics.json")) }
}

/// A run that the clock did not cut, since one that it cut may choose otherwise, as its warning says: where other tests take the
/// processors too, another attempt is made.
fn train_uncut(workshop: &Workshop, run_id: &str, more: &[&str]) -> Run {
    let is_uncut = |run: &Run| run.metrics["budget"]["cut_by_clock"].as_array().is_none_or(Vec::is_empty);
    let mut attempts = (0..4).map(|attempt| train(workshop, &format!("{run_id}-{attempt}"), more));
    attempts.find(is_uncut).unwrap_or_else(|| panic!("the clock cut each of four attempts"))
}

/// Does something while all processors are busy with something else.
fn on_a_busy_machine<T>(work: impl FnOnce() -> T) -> T {
    let is_done = AtomicBool::new(false);
    let spin = || {
        while !is_done.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    };
    std::thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(spin)));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_done.store(true, Ordering::Relaxed);
        done.unwrap()
    })
}

/// What is chosen goes by counted work: how busy the machine is has no part in it. Four seconds of budget and 140 are
/// two searches, each of which comes out the same beside busy threads.
#[test]
fn the_same_rows_settings_and_seed_give_the_same_model_however_busy_the_machine_is() {
    let workshop = Workshop::new();
    let mut models = Vec::new();
    for budget in ["4", "140"] {
        let more = ["--time-budget", budget, "--threads", "2"];
        let first = train_uncut(&workshop, &format!("alone-{budget}"), &more);
        let second = on_a_busy_machine(|| train_uncut(&workshop, &format!("busy-{budget}"), &more));
        assert!(first.model == second.model, "--time-budget {budget}");
        assert_eq!(first.metadata["features"], second.metadata["features"]);
        for part in ["members", "choices", "budget"] {
            assert_eq!(first.metrics[part], second.metrics[part], "--time-budget {budget}");
        }
        let stages = first.stages();
        assert!(stages.contains(&"encoding") && stages.contains(&"parameters"), "{stages:?}");
        // Whatever calibrates besides, the curve is measured once all is chosen.
        let rounds = stages.iter().rposition(|stage| *stage == "rounds").unwrap();
        let after: Vec<&str> = stages[rounds + 1..].iter().copied().filter(|stage| *stage != "calibration").collect();
        assert_eq!(after, ["learning_curve"], "{stages:?}");
        assert_eq!(stages, second.stages());
        assert!(first.metrics["r2"].as_f64().unwrap() > 0.85, "{}", first.metrics["r2"]);
        models.push(first);
    }
    let [short, long] = models.as_slice() else { panic!("two budgets") };
    assert!(short.metrics["members"] != long.metrics["members"], "the budgets do not differ in what they choose");
    assert!(short.model != long.model);

    let of_two_threads = ["--time-budget", "3600", "--threads", "2", "--param", "max_depth=3"];
    let first = train_uncut(&workshop, "two-threads", &of_two_threads);
    let second = on_a_busy_machine(|| train_uncut(&workshop, "two-threads-busy", &of_two_threads));
    assert!(first.model == second.model);
}

/// A table of many columns has finer bins too, where most of them have few values: what happens in a short while is lost in 256 bins of a
/// column of times.
#[test]
fn a_column_of_many_values_gets_finer_bins_beside_many_of_few() {
    const ROWS: usize = 6_000;
    const OTHERS: usize = 24;
    /// Rows of a while in which all targets are alike.
    const WHILE: usize = 12;
    let workshop = Workshop::new();
    let mut random = Random::new(5);
    let levels: Vec<f64> = (0..ROWS.div_ceil(WHILE)).map(|_| random.share()).collect();
    let mut csv = String::from("id,time,");
    csv.extend((0..OTHERS).map(|column| format!("x{column},")));
    csv.push_str("target\n");
    for row in 0..ROWS {
        write!(csv, "{row},{},", 1_000 + row).unwrap();
        (0..OTHERS).for_each(|_| write!(csv, "{},", random.below(10)).unwrap());
        writeln!(csv, "{:.6}", levels[row / WHILE] + 0.1 * random.share()).unwrap();
    }
    let data = workshop.write("events.csv", &csv);
    let trained = |run_id: &str, more: &[&str]| {
        let budget = ["--time-budget", "10", "--threads", "2"];
        succeeded(&workshop.call(run_id, &data).args(budget).args(more).output().unwrap());
        json(&workshop.run_folder(run_id).join("metrics.json"))
    };
    let [open, coarse] = [trained("open", &[]), trained("coarse", &["--param", "max_bin=256"])];
    let choices = open["choices"].as_array().unwrap();
    let bins = choices.iter().find(|choice| text(choice, "what") == "bins").unwrap();
    assert_eq!(text(bins, "chosen"), "1024", "{bins}");
    let r2 = |metrics: &Value| metrics["r2"].as_f64().unwrap();
    assert!(r2(&open) > r2(&coarse) + 0.1, "{} {}", r2(&open), r2(&coarse));
}

/// Where most of many columns tell nothing, trees split by the others alone; the model has all of them, each a feature that is watched.
#[test]
fn trees_split_by_the_foremost_of_many_features_and_the_model_has_all() {
    const ROWS: usize = 2_000;
    const COLUMNS: usize = 48;
    let workshop = Workshop::new();
    let mut random = Random::new(11);
    let mut csv = String::from("id,");
    csv.extend((0..COLUMNS).map(|column| format!("x{column:02},")));
    csv.push_str("target\n");
    for row in 0..ROWS {
        let values: Vec<f64> = (0..COLUMNS).map(|_| random.share()).collect();
        write!(csv, "{row},").unwrap();
        values.iter().for_each(|value| write!(csv, "{value:.4},").unwrap());
        // Columns 7, 19, 31 and 43.
        let told: f64 = values.iter().skip(7).step_by(12).map(|value| (6.0 * value).sin()).sum();
        writeln!(csv, "{:.5}", told + random.share()).unwrap();
    }
    let data = workshop.write("wide.csv", &csv);
    succeeded(&workshop.call("wide", &data).args(["--time-budget", "10", "--threads", "2"]).output().unwrap());
    let folder = workshop.run_folder("wide");
    let [metadata, metrics] = ["metadata.json", "metrics.json"].map(|name| json(&folder.join(name)));
    let choices = metrics["choices"].as_array().unwrap();
    let halves = choices.iter().filter(|choice| text(choice, "what") == "features that trees split by");
    assert_eq!(halves.clone().next().map(|choice| text(choice, "chosen")), Some("24 of 48"), "{choices:?}");

    let model = std::fs::read(folder.join("model.ubj")).unwrap();
    let of_columns =
        metadata["features"].as_array().unwrap().iter().filter(|feature| text(feature, "kind") == "number");
    assert_eq!(of_columns.count(), COLUMNS);
    let trees = scoring::Ensemble::from_ubj(&model).unwrap();
    assert_eq!(trees.n_features(), metadata["features"].as_array().unwrap().len());
    let encodings = metrics["members"].as_array().unwrap().iter().map(|member| text(&member["scheme"], "name"));
    assert!(encodings.clone().any(|name| name.contains(", foremost ")), "{:?}", encodings.collect::<Vec<_>>());
    assert!(metrics["r2"].as_f64().unwrap() > 0.8, "{}", metrics["r2"]);
}

/// Trains on a table of nothing but what trees approximate slowly, so that each round helps for long: what `metrics.json` holds.
fn trained_slowly(rows: usize, time_budget: &str) -> serde_json::Value {
    const COLUMNS: usize = 12;
    let workshop = Workshop::new();
    let mut random = Random::new(3);
    let mut csv = String::from("id,");
    csv.extend((0..COLUMNS).map(|column| format!("x{column},")));
    csv.push_str("target\n");
    for row in 0..rows {
        let values: Vec<f64> = (0..COLUMNS).map(|_| random.share()).collect();
        write!(csv, "{row},").unwrap();
        values.iter().for_each(|value| write!(csv, "{value:.6},").unwrap());
        writeln!(csv, "{:.6}", values.windows(2).map(|pair| (7.0 * pair[0] * pair[1]).sin()).sum::<f64>()).unwrap();
    }
    let data = workshop.write("slow.csv", &csv);
    succeeded(&workshop.call("slow", &data).args(["--time-budget", time_budget, "--threads", "2"]).output().unwrap());
    let metrics = json(&workshop.run_folder("slow").join("metrics.json"));
    let choices = metrics["choices"].as_array().unwrap();
    let rounds = choices.iter().find(|choice| text(choice, "what") == "rounds").unwrap();
    assert!(text(rounds, "decided_by").starts_with("it was still learning"), "{choices:?}");
    metrics
}

/// Where the plan ends the choice of rounds, the model gets more than were tried, at a rate of its own: intervals are calibrated by boosters
/// that have both, on rows that these have not learnt from.
#[test]
fn intervals_are_calibrated_by_boosters_with_the_rounds_and_the_rate_of_the_model() {
    let metrics = trained_slowly(6_000, "12");
    let trials = metrics["trials"].as_array().unwrap();
    let calibration = trials.iter().find(|trial| trial["stage"] == "calibration").unwrap();
    let member = &metrics["members"][0];
    assert_eq!(calibration["rounds"], member["rounds"]);
    assert_eq!(calibration["params"]["eta"], member["params"]["eta"], "{calibration} {member}");
    let tried = trials.iter().find(|trial| trial["stage"] == "rounds").unwrap();
    assert!(tried["rounds"] != member["rounds"] || tried["params"]["eta"] != member["params"]["eta"], "{tried}");
}

/// The same where that is worth it in folds of a few hundred rows only: quantiles of so few errors would be chance.
#[test]
fn intervals_are_calibrated_on_all_validation_rows_where_those_of_boosters_as_the_model_has_them_are_few() {
    let metrics = trained_slowly(3_000, "4");
    let choices = metrics["choices"].as_array().unwrap();
    let calibrating = choices.iter().find(|choice| text(choice, "what") == "rows that calibrate intervals").unwrap();
    assert_eq!(text(calibrating, "chosen"), "those of all 2 folds", "{calibrating}");
    assert!(text(calibrating, "decided_by").contains("in 1 of the folds, which have few rows"), "{calibrating}");
    // Of 2,400 training rows two folds of five validate.
    let rows = metrics["intervals"]["rows_calibrated"].as_u64().unwrap();
    assert!((850..1_100).contains(&rows), "{rows}");
}

#[test]
fn every_choice_and_what_decided_it_is_written_down() {
    let workshop = Workshop::new();
    let run = train_uncut(&workshop, "chosen", &["--time-budget", "20"]);
    let choices = run.metrics["choices"].as_array().unwrap();
    let about: Vec<&str> = choices.iter().map(|choice| text(choice, "what")).collect();
    for what in ["sample", "encoding", "depth", "parameters", "finalists", "rounds", "calibration slope", "members"] {
        assert!(about.contains(&what), "{what}: {about:?}");
    }
    assert!(choices.iter().all(|choice| !text(choice, "chosen").is_empty() && !text(choice, "decided_by").is_empty()));
    let slope = choices.iter().find(|choice| choice["what"] == "calibration slope").unwrap();
    let weights = run.metrics["members"].as_array().unwrap().iter().map(|member| member["weight"].as_f64().unwrap());
    let sum: f64 = weights.sum();
    assert!((sum - text(slope, "chosen").parse::<f64>().unwrap()).abs() < 1e-4, "{sum} {slope}");
    let budget = &run.metrics["budget"];
    assert_eq!((&budget["seconds"], &budget["threads"], &budget["clock_seconds"]), (&20.into(), &1.into(), &60.into()));
    let (planned, done) = (budget["planned_work"].as_f64().unwrap(), budget["done_work"].as_f64().unwrap());
    assert!(0.0 < done && done < planned, "what fitting takes is part of the plan: {done} of {planned}");
    assert_eq!(budget["cut_by_clock"], Value::Array(Vec::new()));

    let given = train(&workshop, "given", &["--rounds", "5"]);
    assert_eq!((&given.metrics["choices"], &given.metrics["budget"]), (&Value::Array(Vec::new()), &Value::Null));
}

/// Trees of single columns come close to a ratio of two at most.
#[test]
fn a_ratio_that_decides_is_derived_unless_the_user_says_how_to_learn() {
    let workshop = Workshop::new();
    let mut random = Random::new(11);
    let mut csv = String::from("id,\"net\"\"spend\",visits,joined,target,shade\n");
    for row in 0..1_500 {
        let (spend, visits) = (1.0 + 9.0 * random.share(), 1.0 + 9.0 * random.share());
        let (month, day) = (1 + random.below(12), 1 + random.below(28));
        let target = (4.0 * spend / visits).sin() + 0.1 * random.share();
        writeln!(csv, "{row},{spend:.3},{visits:.3},2025-{month:02}-{day:02},{target:.4},s{}", row % 5).unwrap();
    }
    let data = workshop.write("ratio.csv", &csv);
    let run = |run_id: &str, more: &[&str]| {
        succeeded(&workshop.call(run_id, &data).args(more).output().unwrap());
        let folder = workshop.run_folder(run_id);
        (json(&folder.join("metadata.json")), json(&folder.join("metrics.json")))
    };
    let derived = |metadata: &Value| -> Vec<(String, String)> {
        let features = metadata["features"].as_array().unwrap().iter();
        let derived = features.filter(|feature| feature["kind"] == "derived");
        derived.map(|feature| (text(feature, "name").to_owned(), text(feature, "sql").to_owned())).collect()
    };

    let (metadata, metrics) = run("searched", &["--time-budget", "10"]);
    let expected = [
        ("net\"spend_per_visits", "\"net\"\"spend\" / \"visits\""),
        ("visits_per_net\"spend", "\"visits\" / \"net\"\"spend\""),
    ];
    let found = derived(&metadata);
    assert!(found.iter().any(|(name, sql)| expected.contains(&(name.as_str(), sql.as_str()))), "{found:?}");
    let choices = metrics["choices"].as_array().unwrap();
    let choice = choices.iter().find(|choice| text(choice, "what") == "derived features").unwrap();
    assert!(found.iter().all(|(name, _)| text(choice, "chosen").contains(name.as_str())), "{choice}");
    let page = std::fs::read_to_string(workshop.run_folder("searched").join("report.html")).unwrap();
    assert!(
        page.contains("derived: &quot;") || page.contains("derived: \""),
        "the page shows how features are derived"
    );
    assert!(metrics["trials"].as_array().unwrap().iter().any(|trial| text(trial, "encoding").ends_with("derived")));

    let (plain, of_plain) = run("given", &["--param", "max_depth=6", "--time-budget", "10"]);
    assert_eq!(derived(&plain), []);
    let r2 = |metrics: &Value| metrics["r2"].as_f64().unwrap();
    assert!(1.0 - r2(&metrics) < 0.5 * (1.0 - r2(&of_plain)), "{} {}", metrics["r2"], of_plain["r2"]);
}

/// A category of many levels that decides together with another column: XGBoost's own splits can tell its levels apart, one
/// place or one mean of a level cannot.
#[test]
fn native_splits_are_tried_at_any_cardinality() {
    let workshop = Workshop::new();
    let mut csv = String::from("id,x,town,target\n");
    for row in 0..3_000_u64 {
        let (town, x) = (row * 7 % 200, (row * 37 % 83) as f64 / 83.0);
        let side = if town * 2_654_435_761 % 4_093 % 2 == 0 { 1.0 } else { -1.0 };
        writeln!(csv, "{row},{x},town-{town},{}", side * (x - 0.5)).unwrap();
    }
    let data = workshop.write("interacting.csv", &csv);
    succeeded(&workshop.call("towns", &data).args(["--time-budget", "20"]).output().unwrap());
    let metrics = json(&workshop.run_folder("towns").join("metrics.json"));
    let tried: Vec<&str> = metrics["trials"].as_array().unwrap().iter().map(|trial| text(trial, "encoding")).collect();
    assert!(tried.contains(&"native"), "{tried:?}");
    let metadata = json(&workshop.run_folder("towns").join("metadata.json"));
    let kinds: Vec<&str> = metadata["features"].as_array().unwrap().iter().map(|one| text(one, "kind")).collect();
    assert!(kinds.contains(&"category"), "{kinds:?}");
    assert!(metrics["r2"].as_f64().unwrap() > 0.8, "{}", metrics["r2"]);
}

#[test]
fn given_rounds_are_obeyed_and_nothing_is_searched() {
    let workshop = Workshop::new();
    let run = train(&workshop, "given", &["--rounds", "12", "--param", "max_depth=3"]);
    assert_eq!(run.metadata["rounds"], 12);
    assert_eq!(run.metadata["params"]["max_depth"], "3");
    assert!(run.stages().is_empty());
    assert_eq!(run.kinds(), [("x", "number"), ("plan", "category"), ("town", "category")]);
}

#[test]
fn given_parameters_stay_as_they_are() {
    let workshop = Workshop::new();
    let run = train(&workshop, "given", &["--param", "eta=0.3", "--param", "max_depth=2"]);
    let stages = run.stages();
    assert!(stages.contains(&"encoding") && !stages.contains(&"parameters"), "{stages:?}");
    for trial in run.metrics["trials"].as_array().unwrap() {
        assert_eq!((&trial["params"]["eta"], &trial["params"]["max_depth"]), (&"0.3".into(), &"2".into()));
        assert!(trial["params"].get("subsample").is_none());
    }
    assert_eq!(run.metadata["params"]["eta"], "0.3");
}

#[test]
fn the_spec_names_the_encoding() {
    let workshop = Workshop::new();
    let spec = workshop.write("features.toml", "[encoding]\nplan = \"native\"\ntown = \"target\"\n");
    let run = train(&workshop, "spec", &["--param", "eta=0.3", "--features", spec.to_str().unwrap()]);
    assert_eq!(run.kinds(), [("x", "number"), ("plan", "category"), ("town", "encoded")]);
    let town = &run.metadata["features"][2];
    assert_eq!(town["levels"].as_array().unwrap().len(), town["values"].as_array().unwrap().len());
    assert!(town["default"].is_number());
}

#[test]
fn without_time_there_is_no_search_but_a_model() {
    let workshop = Workshop::new();
    let run = train(&workshop, "hurried", &["--time-budget", "0"]);
    assert!(run.stages().is_empty());
    assert_eq!(run.metadata["rounds"], 100);
}
