//! What `train` chooses by itself, and what it leaves alone, by running the program on real files.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

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

/// What is chosen goes by counted work: how busy the machine is has no part in it, if there is time enough.
#[test]
fn the_same_rows_and_seed_give_the_same_model_however_busy_the_machine_is() {
    let workshop = Workshop::new();
    let more = ["--time-budget", "3600"];
    let first = train(&workshop, "first", &more);
    let second = on_a_busy_machine(|| train(&workshop, "second", &more));
    assert!(first.model == second.model);
    assert_eq!(first.metadata["features"], second.metadata["features"]);
    let stages = first.stages();
    assert!(stages.contains(&"encoding") && stages.contains(&"parameters"), "{stages:?}");
    assert_eq!((stages.last(), &stages), (Some(&"rounds"), &second.stages()));
    assert!(first.metrics["r2"].as_f64().unwrap() > 0.85, "{}", first.metrics["r2"]);

    let of_two_threads = ["--time-budget", "3600", "--threads", "2", "--param", "max_depth=3"];
    let first = train(&workshop, "two-threads", &of_two_threads);
    let second = on_a_busy_machine(|| train(&workshop, "two-threads-busy", &of_two_threads));
    assert!(first.model == second.model);
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
