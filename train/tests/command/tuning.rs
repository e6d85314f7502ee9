//! `--tune N`: what it tries, what it leaves alone, and that it is never worse than what is chosen without, where it can tell.

use std::fmt::Write as _;
use std::process::Output;

use serde_json::Value;

use super::{Workshop, json, succeeded};

const ROWS: usize = 400;
const TABLE: &str = "table.csv";

/// Two numbers whose product counts, a category, and noise.
fn table() -> String {
    let mut csv = String::from("id,x,z,plan,target\n");
    for row in 0..ROWS {
        let noise = ((row * 7_919) % 101) as f64 / 40.0;
        let (x, z, plan) = (((row * 37) % 83) as f64 / 83.0, ((row * 53) % 97) as f64 / 97.0, row % 5);
        writeln!(csv, "{row},{x},{z},plan-{plan},{}", 8.0 * x * z + plan as f64 + noise).unwrap();
    }
    csv
}

fn with_table() -> Workshop {
    let workshop = Workshop::new();
    workshop.write(TABLE, &table());
    workshop
}

fn train(workshop: &Workshop, run_id: &str, more: &[&str]) -> Output {
    let data = workshop.folder().join(TABLE);
    // As much time as a busy machine takes: the clock is not what these tests are about.
    workshop.call(run_id, &data).env("TIME_BUDGET", "3600").args(more).output().unwrap()
}

fn trained(workshop: &Workshop, run_id: &str, more: &[&str]) -> Run {
    let done = train(workshop, run_id, more);
    succeeded(&done);
    let folder = workshop.run_folder(run_id);
    Run {
        model: std::fs::read(folder.join("model.ubj")).unwrap(),
        metadata: json(&folder.join("metadata.json")),
        metrics: json(&folder.join("metrics.json")),
        page: std::fs::read_to_string(folder.join("report.html")).unwrap(),
        log: String::from_utf8(done.stderr).unwrap(),
    }
}

struct Run {
    model: Vec<u8>,
    metadata: Value,
    metrics: Value,
    page: String,
    log: String,
}

impl Run {
    /// The trials of tuning.
    fn tuning(&self) -> Vec<&Value> {
        let trials = self.metrics["trials"].as_array().unwrap();
        trials.iter().filter(|trial| trial["stage"] == "tuning").collect()
    }

    /// The metric without and with tuning, on the rows that judge.
    fn untuned_and_tuned(&self) -> (f64, f64) {
        let tuning = &self.metrics["tuning"];
        (tuning["untuned"].as_f64().unwrap(), tuning["tuned"].as_f64().unwrap())
    }
}

fn value(trial: &Value) -> f64 {
    trial["value"].as_f64().unwrap()
}

#[test]
fn tuning_begins_with_the_choice_that_is_made_without_and_is_never_worse() {
    let workshop = with_table();
    let without = trained(&workshop, "without", &[]);
    let run = trained(&workshop, "tuned", &["--tune", "12"]);
    let before = |run: &Run| -> Vec<Value> {
        let trials = run.metrics["trials"].as_array().unwrap().iter();
        let untimed = trials
            .filter(|trial| !["tuning", "learning_curve", "calibration"].iter().any(|after| trial["stage"] == *after))
            .cloned()
            .map(|mut trial| {
                trial["seconds"] = Value::Null;
                trial
            });
        untimed.collect()
    };
    assert_eq!(before(&without), before(&run), "the choice without tuning is the same");
    let trials = run.tuning();
    assert_eq!(trials.len(), 13, "the choice without, and twelve more");
    let (untuned, tuned) = run.untuned_and_tuned();
    assert_eq!(value(trials[0]), untuned);
    assert!(tuned <= untuned, "{tuned} {untuned}");
    let tried: std::collections::BTreeSet<String> = trials.iter().map(|trial| trial["params"].to_string()).collect();
    assert_eq!(tried.len(), 13, "no trial repeats another one");
    for trial in &trials {
        assert_eq!((trial["rows"].as_u64(), trial["folds"].as_u64()), (trials[0]["rows"].as_u64(), Some(5)));
        assert!(trial["rounds"].as_u64().unwrap() > 0 && trial["seconds"].is_number());
    }
    let searched =
        ["max_depth", "eta", "subsample", "colsample_bynode", "min_child_weight", "lambda", "alpha", "gamma"];
    for name in searched {
        let values: std::collections::BTreeSet<&str> =
            trials[1..].iter().map(|trial| trial["params"][name].as_str().unwrap()).collect();
        assert!(values.len() > 2, "{name}: {values:?}");
    }
    assert_eq!((&run.metrics["tuning"]["ran"], &run.metrics["tuning"]["cut_by_clock"]), (&12.into(), &false.into()));
    assert_eq!(run.page.matches("<td role=\"cell\">tuning</td>").count(), 13, "all of them are in the report");
    assert!(run.page.contains("12 more trials"), "what came of them is said");
    assert!(!run.log.contains("cut short by the clock"), "{}", run.log);
}

#[test]
fn what_was_set_by_hand_is_obeyed_and_the_rest_is_searched() {
    let workshop = with_table();
    let given = ["--tune", "6", "--param", "max_depth=2", "--param", "learning_rate=0.25", "--param", "lambda=3"];
    let run = trained(&workshop, "given", &given);
    let trials = run.tuning();
    assert_eq!(trials.len(), 7);
    for trial in &trials {
        let params = &trial["params"];
        assert_eq!(
            (&params["max_depth"], &params["eta"], &params["lambda"]),
            (&"2".into(), &"0.25".into(), &"3".into())
        );
    }
    assert!(trials[1..].iter().all(|trial| trial["params"]["subsample"].is_string()));
    assert_eq!((&run.metadata["params"]["max_depth"], &run.metadata["params"]["eta"]), (&"2".into(), &"0.25".into()));
    assert_eq!(run.metrics["members"].as_array().unwrap().len(), 1, "parameters set by hand are those of one booster");
    let (untuned, tuned) = run.untuned_and_tuned();
    let best = trials[1..].iter().map(|trial| value(trial)).fold(f64::INFINITY, f64::min);
    assert_eq!(tuned, best.min(untuned));
    let again = trained(&workshop, "again", &given);
    assert!(run.model == again.model, "the same rows, settings, seed and threads give the same model");
    assert_eq!(run.metrics["members"], again.metrics["members"]);

    let all = ["max_depth=2", "eta=0.2", "subsample=1", "colsample_bynode=1", "min_child_weight=1", "lambda=1"];
    let all = all.iter().chain(&["alpha=0", "gamma=0"]).flat_map(|pair| ["--param", *pair]);
    let arguments: Vec<&str> = ["--tune", "6"].into_iter().chain(all).collect();
    let run = trained(&workshop, "nothing-left", &arguments);
    assert_eq!((run.tuning().len(), &run.metrics["tuning"]["ran"]), (1, &0.into()));
    assert!(run.log.contains("nothing else to try"), "{}", run.log);
}

#[test]
fn given_rounds_are_those_of_every_trial_and_of_the_model() {
    let workshop = with_table();
    let untuned = trained(&workshop, "untuned", &["--rounds", "15"]);
    let run = trained(&workshop, "rounds", &["--rounds", "15", "--tune", "8"]);
    let trials = run.tuning();
    // The last of all is the one that tells how much less a model of all rows errs.
    let all = run.metrics["trials"].as_array().unwrap();
    assert_eq!((trials.len(), all.len(), &all[9]["stage"]), (9, 10, &"learning_curve".into()));
    assert!(trials.iter().all(|trial| trial["rounds"] == 15 && trial["end"] == "rounds"));
    assert_eq!(trials[0]["params"], untuned.metrics["members"][0]["params"], "first what is used without");
    assert_eq!((&run.metadata["rounds"], run.metrics["members"].as_array().unwrap().len()), (&15.into(), 1));
    let best = trials.iter().min_by(|one, other| value(one).total_cmp(&value(other))).unwrap();
    assert_eq!(run.metrics["members"][0]["params"], best["params"]);
    let (before, after) = run.untuned_and_tuned();
    assert_eq!((before, after), (value(trials[0]), value(best)));
    assert!(after < before, "fifteen rounds at the default learning rate are far from enough: {after} {before}");
    assert!(run.metrics["r2"].as_f64().unwrap() > untuned.metrics["r2"].as_f64().unwrap());
}

#[test]
fn the_budget_ends_it_and_that_is_said() {
    let workshop = with_table();
    let more = ["--tune", "1000000", "--time-budget", "2", "--param", "max_depth=3"];
    let run = trained(&workshop, "cut", &more);
    let tuning = &run.metrics["tuning"];
    assert_eq!(tuning["asked"], 1_000_000);
    assert!(tuning["ran"].as_u64().unwrap() < 100_000);
    assert!(run.page.contains("--time-budget"), "and in the report");
    if tuning["cut_by_clock"] == true {
        // The machine is so busy that three times the budget did not do.
        assert!(run.log.contains("tuning was cut short by the clock after"), "{}", run.log);
    } else {
        assert_eq!(tuning["cut_by_plan"], true);
        assert!(run.log.contains("tuning ended after"), "{}", run.log);
        let again = trained(&workshop, "cut-again", &more);
        let is_counted = run.model == again.model && *tuning == again.metrics["tuning"];
        assert!(is_counted || again.metrics["tuning"]["cut_by_clock"] == true, "it is counted, not timed");
    }
    let none = trained(&workshop, "none", &["--tune", "5", "--time-budget", "0"]);
    assert!(none.tuning().is_empty() && none.log.contains("--tune (TUNE) has no effect"), "{}", none.log);
    assert_eq!(none.metadata["rounds"], 100);
}

#[test]
fn another_number_of_trials_is_another_run() {
    let workshop = with_table();
    trained(&workshop, "r", &["--rounds", "5", "--tune", "3"]);
    assert!(train(&workshop, "r", &["--rounds", "5", "--tune", "3"]).status.success());
    let done = train(&workshop, "r", &["--rounds", "5", "--tune", "4"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stdout).contains("began with other settings"));
}
