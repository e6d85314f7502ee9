//! The pages of a model store and of an output: every run is on them, what hinders them changes no run, and a year of runs shows the
//! week in which the world changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use polars::prelude::{DataFrame, NamedFrom, Series};
use serde_json::Value;
use testkit::program::Invocation;
use testkit::tables::{self, customers, parquet_bytes, without};

use super::places::{Place, json};
use super::{Workshop, repository, text};

/// Runs that a page shows one by one.
const MOST_RUNS: usize = 104;

fn history(workshop: &Workshop) -> Invocation {
    super::programs().predict().folder(workshop.folder.path()).args(["history", "--output", "output"])
}

fn evaluate(workshop: &Workshop, run_id: &str, actuals: &str) -> Invocation {
    let call = super::programs().predict().folder(workshop.folder.path()).args(["evaluate", "--run-id", run_id]);
    call.env("MODELS", "models").env("OUTPUT", "output").env("ACTUALS", actuals).env("THREADS", "1")
}

fn run_of<'history>(history: &'history Value, run_id: &str) -> &'history Value {
    let runs = history["runs"].as_array().unwrap();
    runs.iter().find(|run| run["run_id"] == run_id).unwrap_or_else(|| panic!("{run_id} is not in {history}"))
}

fn page(workshop: &Workshop, folder: &str) -> String {
    let page = fs::read_to_string(workshop.path(&format!("{folder}/index.html"))).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</main></body></html>\n"), "{page}");
    assert!(!page.contains("<script") && !page.contains("http://") || page.contains("xmlns"), "nothing from elsewhere");
    page
}

#[test]
fn every_run_is_on_the_page_and_what_came_of_it() {
    let workshop = Workshop::with_model();
    workshop.predict().args(["--run-id", "p1"]).run().succeeded();
    workshop.predict().args(["--run-id", "p2", "--max-drift", "0.0000001"]).run().failed(4, &["has drifted"]);
    tables::write_parquet(
        &customers(400, 100_000, 8).select(["customer_id", "score"]).unwrap(),
        &workshop.path("actuals/a.parquet"),
    );
    evaluate(&workshop, "p1", "actuals").run().succeeded();

    let known = workshop.json("output/history.json");
    let (first, second) = (run_of(&known, "p1"), run_of(&known, "p2"));
    let result = workshop.json("output/runs/p1/result.json");
    for (name, field) in [
        ("rows", "rows_read"),
        ("seconds", "seconds"),
        ("max_drift", "max_drift"),
        ("mean_prediction", "mean_prediction"),
    ] {
        assert_eq!(first[name], result[field], "{name}");
    }
    let trained = workshop.json(&format!("{}/result.json", workshop.model_folder()));
    assert_eq!((&first["r2_when_trained"]["value"], &result["r2_when_trained"]), (&trained["r2"], &trained["r2"]));
    let evaluated = &first["evaluated"];
    let found = workshop.json("output/runs/p1/actuals.json");
    assert_eq!((&evaluated["r2"]["value"], &evaluated["r2"]["low"]), (&found["r2"], &found["r2_interval"]["low"]));
    let r2 = found["r2"].as_f64().unwrap();
    assert!(found["r2_interval"]["low"].as_f64().unwrap() < r2 && r2 < found["r2_interval"]["high"].as_f64().unwrap());
    assert!(first["dollars"].as_f64().unwrap() > 0.0, "{first}");
    assert_eq!((&second["exit_code"], &known["latest"]), (&4.into(), &"runs/p1".into()));
    assert!(text(second, "error").contains("has drifted") && text(second, "at").starts_with("20"));

    let shown = page(&workshop, "output");
    assert!(shown.contains("<a href=\"runs/p1/report.html\">p1</a><span class=\"tag\">latest</span>"), "{shown}");
    assert!(shown.contains("✗ failed, exit code 4") && shown.contains("scope=\"row\"") && shown.contains("list price"));
    // The store's own page has what came of the predictions, too, and the band of its R².
    let of_models = workshop.json("models/engagement/history.json");
    let model = &of_models["runs"][0];
    assert_eq!((&model["gate"], &model["evaluated"]["r2"]["value"]), (&"passed".into(), &found["r2"]));
    assert_eq!(model["r2_when_trained"]["low"], trained["r2_interval"]["low"]);
    assert!(trained["r2_interval"]["low"].is_number());
    assert_eq!(of_models["labels"]["v1"]["path"], model["path"]);
    let shown = page(&workshop, "models/engagement");
    assert!(
        shown.contains("✓ gate passed")
            && shown.contains(">p1</th>")
            && shown.contains("<span class=\"tag\">v1</span>"),
        "{shown}"
    );

    // Written again from the files, they are the same; and a repeated run leaves them.
    for (folder, again) in
        [("output", history(&workshop).run()), ("models/engagement", workshop.models_command(&["history"]))]
    {
        let files = ["history.json", "index.html"].map(|file| workshop.path(&format!("{folder}/{file}")));
        let before = files.clone().map(|file| fs::read(file).unwrap());
        let result = again.succeeded();
        assert!(text(&result, "page").ends_with(&format!("{folder}/index.html")), "{result}");
        assert_eq!(files.clone().map(|file| fs::read(file).unwrap()), before, "{folder}");
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
        let again = if folder == "output" { history(&workshop).run() } else { workshop.models_command(&["history"]) };
        again.succeeded();
        assert_eq!(files.map(|file| fs::read(file).unwrap()), before, "{folder}");
    }
    let written = fs::metadata(workshop.path("output/index.html")).unwrap().modified().unwrap();
    workshop.predict().args(["--run-id", "p1"]).run().succeeded();
    assert_eq!(fs::metadata(workshop.path("output/index.html")).unwrap().modified().unwrap(), written);
}

/// What stands in the way of a page is a warning, whatever it is.
#[test]
fn a_page_that_cannot_be_written_changes_no_run() {
    let workshop = Workshop::with_model();
    let warned = |run_id: &str, what: &str| {
        let ended = workshop.predict().args(["--run-id", run_id]).run();
        ended.succeeded();
        assert!(
            ended.stderr.contains("index.html does not show this run yet") && ended.stderr.contains(what),
            "{}",
            ended.stderr
        );
    };
    workshop.write("output/index.html/occupied", "x");
    warned("p1", "index.html");
    fs::remove_dir_all(workshop.path("output/index.html")).unwrap();
    workshop.write("output/history.json", "{\"format_version\": 2}");
    warned("p2", "format_version 2, which this program does not know");
    assert_eq!(fs::read_to_string(workshop.path("output/history.json")).unwrap(), "{\"format_version\": 2}");
    history(&workshop).run().failed(4, &["format_version 2"]);
    // What is none of ours is made anew, with all that was left out.
    workshop.write("output/history.json", "{not json");
    workshop.predict().args(["--run-id", "p3"]).run().succeeded();
    let known = workshop.json("output/history.json");
    assert_eq!(known["runs"].as_array().unwrap().len(), 3);
    // Results that are none, and folders that are no runs, stop nothing.
    workshop.write("output/runs/odd/result.json", "[1, 2");
    workshop.write("output/runs/..odd/result.json", "{}");
    workshop.write("output/runs/lies/result.json", "{\"event\":\"result\",\"seconds\":\"<script>\",\"completed_at\":7,\"model_version\":\"<b>\",\"model_run_id\":\"'\\\"\"}");
    history(&workshop).run().succeeded();
    let shown = page(&workshop, "output");
    assert!(
        shown.contains("result.json is damaged") && shown.contains("&lt;b&gt;/&#39;&quot;") && !shown.contains("..odd"),
        "{shown}"
    );
}

/// Each sees what the others have left out.
#[test]
fn runs_that_end_at_once_leave_a_valid_page() {
    at_once(&Place::local());
}

#[test]
fn runs_that_end_at_once_on_s3_leave_a_valid_page() {
    at_once(&Place::bucket("pages"));
}

fn at_once(place: &Place) {
    place.write("train/part.parquet", parquet_bytes(&customers(600, 1, 7)));
    place.write("customers/part.parquet", parquet_bytes(&without(&customers(50, 100_000, 8), "score")));
    place.train().run().succeeded();
    let runs: Vec<String> = (0..16).map(|run| format!("p{run}")).collect();
    let started: Vec<_> = runs.iter().map(|run_id| place.predict().args(["--run-id", run_id]).start()).collect();
    for run in started {
        run.wait().succeeded();
    }
    let files = place.files("output");
    let known = json(&files, "history.json");
    assert!(!known["runs"].as_array().unwrap().is_empty() && files.contains_key("index.html"));
    // The next one finds all of them.
    place.predict().args(["--run-id", "last"]).run().succeeded();
    let files = place.files("output");
    let known = json(&files, "history.json");
    let mut found: Vec<&str> = known["runs"].as_array().unwrap().iter().map(|run| text(run, "run_id")).collect();
    assert_eq!(found.remove(0), "last");
    found.sort_unstable();
    let mut expected: Vec<&str> = runs.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let page = String::from_utf8(files["index.html"].to_vec()).unwrap();
    assert!(runs.iter().all(|run| page.contains(&format!(">{run}</a>"))), "{page}");
}

/// Older runs become sums of their months, which last though their files go; pruned models stay on the page.
#[test]
fn older_months_are_sums_and_what_is_gone_stays() {
    let workshop = Workshop::with_model();
    workshop.predict().args(["--run-id", "p0"]).run().succeeded();
    let result = workshop.json("output/runs/p0/result.json");
    let first = chrono::DateTime::parse_from_rfc3339("2023-01-02T03:00:00Z").unwrap();
    for week in 0..150 {
        let mut result = result.clone();
        result["run_id"] = format!("w{week}").into();
        result["completed_at"] = (first + chrono::TimeDelta::days(7 * week)).to_rfc3339().into();
        workshop.write(&format!("output/runs/w{week}/result.json"), result.to_string());
    }
    history(&workshop).run().succeeded();
    let known = workshop.json("output/history.json");
    assert_eq!(known["runs"].as_array().unwrap().len(), MOST_RUNS);
    let months = known["months"].as_array().unwrap().clone();
    let sum = |name: &str| months.iter().map(|month| month[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("rows"), sum("succeeded")), (47 * 400, 47));
    assert_eq!(months.last().unwrap()["month"], "2023-01");
    let shown = page(&workshop, "output");
    assert!(shown.contains("Older months") && shown.contains("151 runs"), "{shown}");
    // The files of the oldest run go: its month stays as it was, by the command too; one that stands alone says so.
    for gone in ["w0", "w149"] {
        fs::remove_dir_all(workshop.path(&format!("output/runs/{gone}"))).unwrap();
    }
    history(&workshop).run().succeeded();
    let again = workshop.json("output/history.json");
    assert_eq!(again["months"].as_array().unwrap(), &months);
    assert_eq!(run_of(&again, "w149")["is_there"], false);
    assert!(page(&workshop, "output").contains("files removed"));
    // A run that ends pushes the oldest of the others into its month.
    workshop.predict().args(["--run-id", "p1"]).run().succeeded();
    let known = workshop.json("output/history.json");
    let counted: usize =
        known["months"].as_array().unwrap().iter().map(|month| month["runs"].as_array().unwrap().len()).sum();
    assert_eq!((known["runs"].as_array().unwrap().len(), counted), (MOST_RUNS, 48));

    let model = workshop.json("models/engagement/latest.json")["path"].clone();
    workshop.train().args(["--run-id", "newer"]).run().succeeded();
    workshop.models_command(&["prune", "--keep", "1"]).succeeded();
    let shown = page(&workshop, "models/engagement");
    assert!(shown.contains("files removed") && shown.contains(model.as_str().unwrap()), "{shown}");
    // A promotion is on the page at once.
    workshop.train().args(["--run-id", "newest"]).run().succeeded();
    workshop.models_command(&["promote", "v1/newer"]).succeeded();
    assert_eq!(workshop.json("models/engagement/history.json")["latest"], "v1/newer");
}

/// `scripts/check-pages` is for those who have a browser; whoever has none is told, and nothing fails. What is no page is no success.
#[test]
fn pages_are_checked_only_where_a_browser_is() {
    let workshop = Workshop::new();
    workshop.write("pages/index.html", "<!doctype html>");
    fs::create_dir_all(workshop.path("nothing")).unwrap();
    fs::create_dir_all(workshop.path("bin")).unwrap();
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let python = String::from_utf8(python.stdout).unwrap();
    let check = |folder: &str| {
        let call = Command::new(python.trim())
            .arg(repository().join("scripts/check-pages"))
            .arg(workshop.path(folder))
            .env("PATH", workshop.path("bin"))
            .env("XDG_CACHE_HOME", workshop.path("cache"))
            .output()
            .unwrap();
        let said = [call.stdout, call.stderr].concat();
        (call.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = check("pages");
    assert!(code == Some(0) && said.contains("pages are not checked: Chromium is lacking"), "{code:?} {said}");
    workshop.write("bin/chromium", "#!/bin/sh\nexit 1\n");
    fs::set_permissions(workshop.path("bin/chromium"), fs::Permissions::from_mode(0o755)).unwrap();
    let (code, said) = check("pages");
    assert!(code == Some(0) && said.contains("pages are not checked: npm is lacking"), "{code:?} {said}");
    // A browser that gives no answer found nothing, which is not the same as finding nothing wrong.
    workshop.write("cache/engagement-ml/axe-core-4.10.3/node_modules/axe-core/axe.min.js", "");
    let (code, said) = check("pages");
    assert!(code == Some(1) && said.contains("Chromium gave no answer"), "{code:?} {said}");
    for nothing in ["nothing", "nowhere"] {
        assert_eq!(check(nothing).0, Some(1));
    }
}

/// A run that only checks leaves a store as it is.
#[test]
fn a_check_writes_no_page() {
    let workshop = Workshop::with_data();
    workshop.train().arg("--check").run().succeeded();
    assert!(workshop.files("models").is_empty(), "{:?}", workshop.files("models"));
}

/// Scores of a week: from the `changed` one on they have another relation to what is known of the customers.
fn week(week: u64, has_changed: bool) -> DataFrame {
    let table = customers(1_200, 10_000 * (week as i64 + 1), 40 + week);
    if !has_changed {
        return table;
    }
    let scores: Vec<f64> = table.column("score").unwrap().f64().unwrap().iter().flatten().collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    // What was high is about as often low now.
    let changed: Vec<f64> =
        scores.iter().enumerate().map(|(row, score)| if row % 3 == 0 { 2.0 * mean - score } else { *score }).collect();
    tables::with(table, Series::new("score".into(), changed))
}

/// Week by week with the real programs: the alarm on `RealizedAccuracy` (below the gate's 0.75) would have fired in the week in which the
/// relation changed, and not before; the page says so. `benches/year.py` does it with a year of a real table.
#[test]
fn the_week_in_which_the_world_changed_is_seen() {
    const CHANGE: u64 = 5;
    let workshop = Workshop::new();
    tables::write_parquet(&customers(super::ROWS, 1, 7), &workshop.path("train/part.parquet"));
    workshop.train().args(["--run-id", "m1", "--rounds", "60"]).run().succeeded();
    for number in 0..8 {
        let table = week(number, number >= CHANGE);
        tables::write_parquet(&without(&table, "score"), &workshop.path("customers/part.parquet"));
        tables::write_parquet(&table.select(["customer_id", "score"]).unwrap(), &workshop.path("actuals/part.parquet"));
        let run_id = format!("week-{number}");
        workshop.predict().args(["--run-id", &run_id]).run().succeeded();
        let ended = evaluate(&workshop, &run_id, "actuals").run();
        ended.succeeded();
        let realized = ended.metrics().into_iter().find_map(|line| line["RealizedAccuracy"].as_f64()).unwrap();
        assert_eq!(realized < 0.75, number >= CHANGE, "week {number}: {realized}");
        for folder in ["output", "models/engagement"] {
            let says_so = page(&workshop, folder).contains("by more than chance explains");
            assert_eq!(says_so, number >= CHANGE, "week {number}, {folder}: {realized}");
        }
    }
    let known = workshop.json("output/history.json");
    let red =
        page(&workshop, "output").matches("<td role=\"cell\" class=\"number bad\" data-label=\"came out\">").count();
    assert_eq!((red, known["runs"].as_array().unwrap().len()), (3, 8));
}
