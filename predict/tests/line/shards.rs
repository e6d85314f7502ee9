//! Several tasks score one input: the bytes of one task, whoever dies, whoever is last.
//!
//! Every run of the tests kills a few; `KILLS=100` kills hundreds and says what it saw.

use std::time::Duration;

use polars::prelude::{DataFrame, DataType};
use serde_json::Value;
use table::write::ParquetWriter;
use testkit::program::{Ended, Invocation, Running};
use testkit::random::Random;
use testkit::tables::{csv, customers, parquet_bytes, without};

use super::places::{Files, Place, assert_predictions_are_whole, json};
use super::{Workshop, text};

/// Ids that come twice, far from each other.
const REPEATED: usize = 500;

/// So little memory that row groups are read in pieces and ids are compared on disk.
const MEMORY_MIB: u32 = 276;

/// Customers of whom the last ones have the ids of the first.
fn table(rows: usize) -> DataFrame {
    let mut all = without(&customers(rows - REPEATED, 1, 8), "score");
    all.vstack_mut(&without(&customers(REPEATED, 1, 9), "score")).unwrap();
    all.rechunk_mut_par();
    all
}

fn one_row_group(table: &DataFrame) -> Vec<u8> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).with_row_group_rows(usize::MAX).finish(&mut table.clone()).unwrap();
    bytes
}

fn with_model(place: Place) -> Place {
    place.write("train/part.parquet", parquet_bytes(&customers(3_000, 1, 7)));
    place.train().env("INTERVAL_FOLDS", "3").args(["--slice", "plan", "--slice", "visits"]).run().succeeded();
    place
}

/// A task of the run `the-run`, into its own output.
fn task(place: &Place, output: &str, arguments: &[&str]) -> Invocation {
    place.predict().env("OUTPUT", place.location(output)).args(["--run-id", "the-run"]).args(arguments)
}

fn shard(place: &Place, output: &str, shard: (u32, u32), arguments: &[&str]) -> Invocation {
    task(place, output, arguments).env("SHARD", format!("{}/{}", shard.0, shard.1))
}

/// What several tasks write as one does.
fn same_as_one(files: &Files) -> Files {
    let is_part = |name: &str| name.starts_with("predictions/") || name.starts_with("rejected/");
    let mut same: Files =
        files.iter().filter(|(name, _)| is_part(name)).map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
    let manifest = String::from_utf8(files["runs/the-run/manifest.json"].clone()).unwrap();
    let lines: Vec<&str> = manifest.lines().filter(|line| !line.contains("\"started_at\"")).collect();
    assert_eq!(lines.len() + 1, manifest.lines().count());
    same.insert("manifest".to_owned(), lines.join("\n").into_bytes());
    same
}

/// The texts of a page, with their tags.
fn texts(page: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(page).split('<').map(str::to_owned).collect()
}

/// The page of a run of shards tells of the whole run what that of one task tells: only when it began and what it took differ.
#[track_caller]
fn assert_same_report(place: &Place, output: &str, count: u32) {
    let page = |output: &str| texts(&place.files(output)["runs/the-run/report.html"]);
    let (of_one, of_shards) = (page("one"), page(output));
    let differs: Vec<&String> = of_one.iter().filter(|text| !of_shards.contains(text)).collect();
    assert!(differs.len() <= 3, "{differs:?}");
    assert!(differs.iter().any(|text| text.contains("begun ")), "{differs:?}");
    let whose = format!("of the slowest of {count} shard");
    assert!(of_shards.iter().any(|text| text.contains(&whose)), "{of_shards:?}");
}

#[track_caller]
fn assert_same(place: &Place, output: &str, one: &Files) -> Value {
    let files = place.files(output);
    assert_predictions_are_whole(&files);
    let same = same_as_one(&files);
    assert!(same.keys().eq(one.keys()), "{output}: {:?} and {:?}", same.keys(), one.keys());
    let differs = same.iter().find(|(name, bytes)| one[*name] != **bytes);
    assert_eq!(differs.map(|(name, _)| name), None, "{output}: other bytes");
    assert_eq!(files.keys().find(|file| file.contains("/_")), None, "nothing is left behind");
    let result = json(&files, "runs/the-run/result.json");
    assert_eq!(result["complete"], true);
    assert_eq!(json(&files, "latest.json")["rows"], result["rows_predicted"]);
    result
}

/// One task, then as many shards as `counts` say, each in an order of its own, some at once; the result of the one task.
fn as_one(place: &Place, counts: &[u32], arguments: &[&str]) -> Value {
    all_as_one(place, counts, arguments).0
}

/// The same with what became of every process.
fn all_as_one(place: &Place, counts: &[u32], arguments: &[&str]) -> (Value, Vec<Ended>) {
    let mut all = vec![task(place, "one", arguments).run()];
    let of_one = all[0].succeeded();
    let one = same_as_one(&place.files("one"));
    for &count in counts {
        let output = format!("of-{count}");
        let mut ended: Vec<Ended> = Vec::new();
        let mut order: Vec<u32> = (0..count).rev().collect();
        // The last to be started are the first and the last of the input, at once.
        order.rotate_left(1);
        let last = order.split_off(order.len().saturating_sub(2));
        for index in order {
            ended.push(shard(place, &output, (index, count), arguments).run());
            assert_eq!(ended.last().unwrap().succeeded()["complete"], false);
        }
        let running: Vec<_> =
            last.into_iter().map(|index| shard(place, &output, (index, count), arguments).start()).collect();
        ended.extend(running.into_iter().map(Running::wait));
        let results: Vec<Value> = ended.iter().map(Ended::succeeded).collect();
        let complete = results.iter().filter(|result| result["complete"] == true).count();
        assert!((1..=2).contains(&complete), "{results:?}");
        let result = assert_same(place, &output, &one);
        assert_same_report(place, &output, count);
        let fields = ["rows_read", "rows_predicted", "rows_rejected", "parts", "data_quality_score", "max_drift"];
        for field in
            fields.into_iter().chain(["max_drift_feature", "rows_explained", "mean_prediction", "expected_mae"])
        {
            assert_eq!(result[field], of_one[field], "{field} of {count}");
        }
        let told = |metric: &str| -> Vec<f64> {
            let lines = ended.iter().flat_map(Ended::metrics);
            lines.filter_map(|line| line[metric].as_f64()).collect()
        };
        assert_eq!(told("RecordsProcessed"), [of_one["rows_read"].as_f64().unwrap()], "the run is measured once");
        assert_eq!(told("PeakMemory").len(), count as usize);
        all.extend(ended);
    }
    (of_one, all)
}

#[test]
fn many_small_files_are_scored_as_by_one_task() {
    let place = with_model(Place::local());
    let all = table(1_700_000);
    for file in 0..85 {
        let part = all.slice(file * 20_000, 20_000);
        place.write(&format!("customers/part-{file:03}.parquet"), parquet_bytes(&part));
    }
    let arguments = ["--reasons", "2", "--interval", "0.8", "--columns", "plan"];
    let result = as_one(&place, &[1, 2, 4, 16], &arguments);
    assert_eq!((&result["rows_rejected"], &result["parts"]), (&REPEATED.into(), &4.into()));
    assert!(result["expected_mae"].is_number(), "{result}");
    let report = String::from_utf8(place.files("one")["runs/the-run/report.html"].clone()).unwrap();
    assert!(report.contains("<h2>Slices</h2>") && report.contains("<h3>plan</h3>"), "slices are compared, too");
}

#[test]
fn one_huge_row_group_is_scored_as_by_one_task() {
    let place = with_model(Place::bucket("shards-row-group"));
    place.write("customers/part.parquet", one_row_group(&table(1_300_000)));
    let result = as_one(&place, &[2, 3], &[]);
    assert_eq!((&result["rows_rejected"], &result["parts"]), (&REPEATED.into(), &3.into()));
}

/// So large that it is read in pieces, and more ids than the memory holds.
#[test]
fn pieces_and_ids_on_disk_are_scored_as_by_one_task() {
    let place = with_model(Place::local());
    // Ids of text take twice the room of whole numbers.
    let mut customers = table(1_300_000);
    let ids = customers.column("customer_id").unwrap().cast(&DataType::String).unwrap();
    customers.with_column(ids).unwrap();
    place.write("customers/part.parquet", one_row_group(&customers));
    let (result, ended) = all_as_one(&place, &[2, 4], &["--memory", &format!("{MEMORY_MIB}m")]);
    assert_eq!((&result["rows_rejected"], &result["parts"]), (&REPEATED.into(), &3.into()));
    let on_disk = |ended: &&Ended| ended.stderr.contains("the ids are compared by way of");
    let on_disk = ended.iter().filter(on_disk).count();
    let plans: Vec<_> =
        ended.iter().flat_map(|one| one.stderr.lines().find(|line| line.contains("memory plan"))).collect();
    assert!(on_disk >= 2, "{on_disk} of {} compared ids on disk: {plans:#?}", ended.len());
    let peaks: Vec<f64> =
        ended.iter().flat_map(Ended::metrics).filter_map(|line| line["PeakMemory"].as_f64()).collect();
    assert_eq!(peaks.len(), ended.len());
    assert!(peaks.iter().all(|peak| *peak <= f64::from(MEMORY_MIB << 20)), "{peaks:?}");
    let mib: Vec<f64> = peaks.iter().map(|peak| (peak / 1024.0 / 1024.0).round()).collect();
    println!("peak memory of each process in MiB, of {MEMORY_MIB}: {mib:?}");
}

/// Rows that cannot be scored do not take their ids, on whichever side of a share they stand.
#[test]
fn csv_is_scored_as_by_one_task() {
    let place = with_model(Place::local());
    let mut lines = csv(&table(1_100_000));
    // The first of a repeated id is bad, so the second is scored.
    let first = lines.find('\n').unwrap() + 1;
    let end = first + lines[first..].find('\n').unwrap();
    lines.replace_range(first..end, "1,no number,1,a,true,2020-01-01");
    let half = lines.len() / 2;
    let cut = half + lines[half..].find('\n').unwrap() + 1;
    let header = lines[..first].to_owned();
    place.write("customers/part-0.csv", lines[..cut].to_owned().into_bytes());
    place.write("customers/part-1.csv", (header + &lines[cut..]).into_bytes());
    let result = as_one(&place, &[2, 4], &["--duplicates", "reject"]);
    assert_eq!((&result["rows_rejected"], &result["parts"]), (&REPEATED.into(), &3.into()));
}

#[test]
fn sorted_ids_and_allowed_repeats_are_scored_as_by_one_task() {
    let place = with_model(Place::local());
    let sorted = without(&customers(600_000, 1, 8), "score");
    place.write("customers/part-0.parquet", parquet_bytes(&sorted));
    place.write("customers/part-1.parquet", parquet_bytes(&without(&customers(10_000, 600_001, 8), "score")));
    assert_eq!(as_one(&place, &[2], &[])["rows_rejected"], 0);
    place.write("customers/part-1.parquet", parquet_bytes(&without(&customers(10_000, 1, 8), "score")));
    for output in ["one", "of-2"] {
        place.remove(output);
    }
    assert_eq!(as_one(&place, &[2], &["--duplicates", "allow"])["rows_rejected"], 0);
}

#[test]
fn what_is_not_the_run_s_is_refused() {
    let workshop = Workshop::with_model();
    let predict = |arguments: &[&str]| workshop.predict().args(arguments).run();
    predict(&["--shard", "0/2"]).failed(2, &["--shard", "--run-id"]);
    for wrong in ["2/2", "1", "0/0", "a/b", "-1/2", "0/10001"] {
        predict(&["--run-id", "r1", &format!("--shard={wrong}")]).failed(2, &["--shard", "I/N"]);
    }
    assert!(workshop.files("output").is_empty());
    let first = predict(&["--run-id", "r1", "--shard", "0/2"]).succeeded();
    assert_eq!((&first["complete"], &first["rows_read"], text(&first, "shard")), (&false.into(), &0.into(), "0/2"));
    workshop.assert_no_predictions();
    assert!(!workshop.path("output/runs/r1/result.json").exists());
    assert!(!workshop.path("output/index.html").exists(), "there is no run to show yet");
    predict(&["--run-id", "r1", "--shard", "1/3"]).failed(2, &["--shard", "I/2", "I/3", "r1"]);
    predict(&["--run-id", "r1"]).failed(2, &["--shard", "I/2", "off", "r1"]);
    predict(&["--run-id", "r1", "--shard", "1/2", "--columns", "plan"]).failed(2, &["columns", "r1"]);
    let plan = "output/runs/r1/plan.json";
    let ours = workshop.json(plan);
    let mut of_another = ours.clone();
    of_another["program_version"] = "0.0.9".into();
    workshop.write(plan, of_another.to_string());
    predict(&["--run-id", "r1", "--shard", "1/2"]).failed(2, &["0.0.9", "r1"]);
    workshop.write(plan, ours.to_string());
    let customers_file = workshop.path("customers/part.parquet");
    let input = std::fs::read(&customers_file).unwrap();
    let modified = std::fs::metadata(&customers_file).unwrap().modified().unwrap();
    workshop.write("customers/more.parquet", &input);
    predict(&["--run-id", "r1", "--shard", "1/2"]).failed(4, &["input changed", "more.parquet"]);
    std::fs::remove_file(workshop.path("customers/more.parquet")).unwrap();
    assert_eq!(std::fs::metadata(&customers_file).unwrap().modified().unwrap(), modified);
    let last = predict(&["--run-id", "r1", "--shard", "1/2"]).succeeded();
    assert_eq!((&last["complete"], &last["rows_predicted"]), (&true.into(), &400.into()));
    assert!(workshop.path("output/index.html").exists());
    // Whoever comes later ends with the run's result; another N is refused still, and so is one task.
    assert_eq!(predict(&["--run-id", "r1", "--shard", "0/2"]).succeeded(), last);
    predict(&["--run-id", "r1", "--shard", "0/3"]).failed(2, &["--shard", "I/2"]);
    predict(&["--run-id", "r1"]).failed(2, &["--shard", "off"]);
    let of_one = predict(&["--run-id", "r2"]).succeeded();
    assert!(of_one["complete"].is_null());
    predict(&["--run-id", "r2", "--shard", "0/1"]).failed(2, &["--shard", "off", "I/1"]);
}

/// Other models and other runs have been published since the first shard ended. What came true is compared once all have.
#[test]
fn a_shard_that_starts_later_goes_on_with_the_plan_s_model() {
    let workshop = Workshop::with_model();
    let shard = |shard: &str| workshop.predict().args(["--run-id", "r1", "--shard", shard]).run().succeeded();
    let evaluate = || {
        let call =
            super::programs().predict().folder(workshop.path("").as_path()).arg("evaluate").args(["--run-id", "r1"]);
        call.env("MODELS", "models").env("OUTPUT", "output").env("ACTUALS", "actuals").env("THREADS", "2").run()
    };
    let actuals = customers(400, 100_000, 8).select(["customer_id", "score"]).unwrap();
    workshop.write("actuals/part.parquet", parquet_bytes(&actuals));
    let first = shard("1/2");
    evaluate().failed(4, &["r1"]);
    workshop.train().args(["--rounds", "12"]).run().succeeded();
    let between = workshop.predict().args(["--run-id", "r2"]).run().succeeded();
    assert_ne!(between["model_run_id"], first["model_run_id"]);
    let last = shard("0/2");
    assert_eq!((&last["complete"], &last["model_run_id"]), (&true.into(), &first["model_run_id"]));
    assert_eq!(workshop.json("output/latest.json")["run_id"], "r1");
    let report = std::fs::read_to_string(workshop.path("output/runs/r1/report.html")).unwrap();
    assert!(report.contains("The last run was r2"), "{report}");
    let found = evaluate().succeeded();
    assert_eq!((&found["rows_matched"], &found["model_run_id"]), (&400.into(), &first["model_run_id"]));
    assert!(
        std::fs::read_to_string(workshop.path("output/runs/r1/report.html")).unwrap().contains("R² as it came out")
    );
}

/// Two attempts at a shard at once, and more shards than parts.
#[test]
fn a_shard_that_runs_twice_at_once_changes_nothing() {
    let place = with_model(Place::bucket("shards-twice"));
    for file in 0..2 {
        let part = without(&customers(530_000, 1 + file * 529_000, 8), "score");
        place.write(&format!("customers/part-{file}.parquet"), parquet_bytes(&part));
    }
    task(&place, "one", &[]).run().succeeded();
    let one = same_as_one(&place.files("one"));
    let running: Vec<_> = [0, 0, 1, 1, 2, 2].map(|index| shard(&place, "twice", (index, 3), &[]).start()).into();
    let results: Vec<Value> = running.into_iter().map(|running| running.wait().succeeded()).collect();
    assert!(results.iter().any(|result| result["complete"] == true), "{results:?}");
    let result = assert_same(&place, "twice", &one);
    for index in 0..3 {
        assert_eq!(shard(&place, "twice", (index, 3), &[]).run().succeeded(), result);
    }
    assert_same(&place, "twice", &one);
}

/// Whoever sees all shards judges the run as a whole.
#[test]
fn a_run_of_shards_is_refused_as_a_whole() {
    let workshop = Workshop::with_model();
    let half = without(&customers(400, 100_000, 8), "score");
    for file in ["a", "b"] {
        workshop.write(&format!("customers/{file}.parquet"), parquet_bytes(&half));
    }
    std::fs::remove_file(workshop.path("customers/part.parquet")).unwrap();
    let predict = |run: &str, shard: &str, arguments: &[&str]| {
        workshop.predict().args(["--run-id", run, "--shard", shard]).args(arguments).run()
    };
    for (run, arguments, said) in [
        ("rejects", vec![], "--max-reject-fraction"),
        ("drift", vec!["--max-reject-fraction", "1", "--max-drift", "0.000001"], "--max-drift"),
    ] {
        assert_eq!(predict(run, "1/2", &arguments).succeeded()["complete"], false);
        let ended = predict(run, "0/2", &arguments);
        let failed = ended.failed(4, &[said]);
        assert_eq!(workshop.json(&format!("output/runs/{run}/result.json")), failed);
        assert_eq!(ended.metrics().len(), 1);
        assert_eq!(failed["rows_read"], 800);
        // Started again, each comes to the same.
        for shard in ["0/2", "1/2"] {
            predict(run, shard, &arguments).failed(4, &[said]);
        }
        workshop.assert_no_predictions();
    }
}

/// A record that is damaged, or whose parts are not what it says, never becomes a total.
#[test]
fn a_damaged_record_is_named() {
    let workshop = Workshop::with_model();
    let predict = |shard: &str| workshop.predict().args(["--run-id", "r1", "--shard", shard]).run();
    predict("1/2").succeeded();
    let record = "output/runs/r1/shards/1.json";
    let sound = workshop.json(record);
    let damaged = |change: &dyn Fn(&mut Value)| {
        let mut changed = sound.clone();
        change(&mut changed);
        changed.to_string()
    };
    let wrong = [
        "{".to_owned(),
        damaged(&|record| record["run_id"] = "r2".into()),
        damaged(&|record| record["shard"] = 0.into()),
        damaged(&|record| record["shards"] = 3.into()),
        damaged(&|record| record["totals"]["rows_read"] = 401.into()),
        damaged(&|record| record["totals"]["tallies"] = serde_json::json!([])),
        damaged(&|record| record["totals"]["slices"] = serde_json::json!(["not_told"])),
        damaged(&|record| record["totals"]["parts"][0]["bytes"] = 1.into()),
        damaged(&|record| record["totals"]["parts"][0]["path"] = "predictions/run_id=r1/part-00001.parquet".into()),
    ];
    for content in wrong {
        workshop.write(record, &content);
        predict("0/2").failed(4, &["shards/1.json", "remove it"]);
        workshop.assert_no_predictions();
    }
    std::fs::remove_file(workshop.path(record)).unwrap();
    assert_eq!(predict("0/2").succeeded()["complete"], false);
    assert_eq!(predict("1/2").succeeded()["complete"], true);
}

/// How many runs are disturbed at each place.
fn runs(few: usize) -> usize {
    std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// Every shard of each run is stopped up to twice at any moment, some at once, and all are started again.
fn stop_often(place: &Place, name: &str, few: usize, seed: u64) {
    for file in 0..3 {
        let part = without(&customers(530_000, 1 + file * 529_500, 8), "score");
        place.write(&format!("customers/part-{file}.parquet"), parquet_bytes(&part));
    }
    task(place, "one", &[]).run().succeeded();
    let one = same_as_one(&place.files("one"));
    let usual = shard(place, "timed", (2, 3), &[]).run().took;
    let mut random = Random::new(seed);
    let (mut stopped, mut ended_well) = (0, 0);
    for run in 0..runs(few) {
        let output = format!("stopped-{run}");
        let count = 2 + random.below(3) as u32;
        for _ in 0..=random.below(2) {
            let running: Vec<_> = (0..count)
                .map(|index| {
                    let moment = usual.mul_f64(1.2 * random.share());
                    (shard(place, &output, (index, count), &[]).start(), moment, random.below(2) == 0)
                })
                .collect();
            for (running, moment, by_sigterm) in running {
                let ended = if by_sigterm { running.terminate_after(moment) } else { running.kill_after(moment) };
                match ended.status.code() {
                    Some(0) => ended_well += 1,
                    None | Some(143) => stopped += 1,
                    _ => panic!("{ended:?}"),
                }
            }
            assert_predictions_are_whole(&place.files(&output));
        }
        let mut again: Vec<u32> = (0..count).collect();
        again.rotate_left(random.below(u64::from(count)) as usize);
        let results: Vec<Value> =
            again.into_iter().map(|index| shard(place, &output, (index, count), &[]).run().succeeded()).collect();
        assert_eq!(results.last().unwrap()["complete"], true);
        assert_same(place, &output, &one);
        // A hundred of them need not have room side by side.
        place.remove(&output);
    }
    assert!(stopped > 0, "none was under way when it was to be stopped");
    println!(
        "{name}: {} runs, {usual:?} a shard, {stopped} stopped, {ended_well} ended before their moment",
        runs(few)
    );
}

#[test]
fn shards_stopped_at_random_moments_on_a_local_folder() {
    stop_often(&with_model(Place::local()), "local folder", 4, 21);
}

#[test]
fn shards_stopped_at_random_moments_on_s3() {
    stop_often(&with_model(Place::bucket("shards-stopped")), "S3", 2, 22);
}

/// Killed when its record stands and nobody has completed the run: the next attempt at any shard does.
#[test]
fn a_shard_that_dies_before_it_completes_the_run_is_started_again() {
    let workshop = Workshop::with_model();
    let predict = |shard: &str| workshop.predict().args(["--run-id", "r1", "--shard", shard]);
    predict("0/2").run().succeeded();
    let has_recorded = || workshop.path("output/runs/r1/shards/1.json").exists();
    let _ = predict("1/2").start().kill_when(has_recorded);
    assert!(has_recorded());
    for shard in ["0/2", "1/2"] {
        let ended = predict(shard).run();
        assert_eq!(ended.succeeded()["complete"], true);
        assert!(ended.took < Duration::from_secs(60));
    }
}
