//! Validation by time and by group: what the real search trains and validates on, in memory and out of core, whole and resumed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use polars::prelude::{DataFrame, NamedFrom, Series};
use serde_json::{Value, json};
use testkit::tables::write_parquet;

use super::{Workshop, json, last_line, succeeded};

/// Random numbers of a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / 2_f64.powi(53)
    }

    /// About normal, of mean 0 and deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// How instants are written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Times {
    Numbers,
    Dates,
    Timestamps,
}

/// A random table, and what validation has to keep apart in it.
struct Table {
    csv: String,
    /// Whole days or units; none where the row has no time.
    days: Vec<Option<i64>>,
    groups: Vec<Option<String>>,
    times: Times,
    gap: i64,
    by_time: bool,
    by_group: bool,
}

impl Table {
    fn random(seed: u64) -> Self {
        let mut random = Random(seed);
        let rows = 80 + random.below(160) as usize;
        let times = [Times::Numbers, Times::Dates, Times::Timestamps][random.below(3) as usize];
        let (instants, groups) = (6 + random.below(80), 8 + random.below(60));
        let (by_time, by_group) = [(true, false), (false, true), (true, true)][random.below(3) as usize];
        let gap = if by_time { random.below(1 + instants / 6) as i64 } else { 0 };
        let mut table = Self {
            csv: "id,x,plan,at,house,target\n".to_owned(),
            days: vec![],
            groups: vec![],
            times,
            gap,
            by_time,
            by_group,
        };
        for row in 0..rows {
            let day = (random.below(40) > 0).then(|| random.below(instants) as i64);
            // A square makes some groups much larger than others.
            let house = ((random.unit().powi(2) * groups as f64) as u64).to_string();
            let house = (random.below(30) > 0).then_some(house);
            let (x, plan) = (random.unit(), random.below(9));
            let target = 3.0 * x + plan as f64 + random.normal() * 0.3;
            let at = day.map_or_else(String::new, |day| table.written(day));
            writeln!(table.csv, "{row},{x:.4},plan-{plan},{at},{},{target:.4}", house.clone().unwrap_or_default())
                .unwrap();
            table.days.push(day);
            table.groups.push(house);
        }
        table
    }

    fn written(&self, day: i64) -> String {
        let (month, of_month) = (1 + day / 28, 1 + day % 28);
        match self.times {
            Times::Numbers => day.to_string(),
            Times::Dates => format!("2024-{month:02}-{of_month:02}"),
            Times::Timestamps => format!("2024-{month:02}-{of_month:02} 06:30:00"),
        }
    }

    /// Days since the first, which months of other lengths than 28 days stretch.
    fn instant(&self, day: i64) -> i64 {
        const BEFORE: [i64; 12] = [0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335];
        if self.times == Times::Numbers { day } else { BEFORE[(day / 28) as usize] + day % 28 }
    }

    fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        if self.by_time {
            let unit = if self.times == Times::Numbers { "" } else { "d" };
            flags.extend(["--time".to_owned(), "at".to_owned(), "--gap".to_owned(), format!("{}{unit}", self.gap)]);
        }
        if self.by_group {
            flags.extend(["--group", "house"].map(str::to_owned));
        }
        flags
    }

    /// Whether a row may be learnt from to judge another one.
    fn may_teach(&self, teacher: usize, judge: usize) -> bool {
        // A row without a time is dropped before.
        let is_older = || {
            let instants = [judge, teacher].map(|row| self.instant(self.days[row].unwrap()));
            instants[0] - instants[1] > self.gap
        };
        let is_apart = || self.groups[teacher].is_none() || self.groups[teacher] != self.groups[judge];
        (!self.by_time || is_older()) && (!self.by_group || is_apart())
    }
}

/// Rows of one fold or of the outer split: those that are learnt from and those that judge.
type Split = (Vec<usize>, Vec<usize>);

/// What a run trained and validated on, by its log.
#[derive(Debug, PartialEq)]
struct Seen {
    outer: Split,
    inner: BTreeSet<Split>,
    /// Rows that calibrate intervals.
    calibrating: BTreeSet<usize>,
}

fn seen(done: &Output) -> Seen {
    let log = String::from_utf8_lossy(&done.stderr);
    let rows = |line: &Value, name: &str| -> Vec<usize> {
        let text = field(line, name).as_str().unwrap().trim_matches(['[', ']']).to_owned();
        text.split(", ").filter(|row| !row.is_empty()).map(|row| row.parse().unwrap()).collect()
    };
    let (mut outer, mut inner, mut calibrating) = (None, BTreeSet::new(), BTreeSet::new());
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        match field(&line, "message").as_str() {
            Some("outer split") => outer = Some((rows(&line, "training"), rows(&line, "held_out"))),
            Some("inner fold") => drop(inner.insert((rows(&line, "training"), rows(&line, "validation")))),
            Some("rows that calibrate intervals") => calibrating.extend(rows(&line, "calibrating")),
            _ => {}
        }
    }
    Seen { outer: outer.unwrap_or_default(), inner, calibrating }
}

/// A field of a log line, wherever the format puts it.
fn field<'a>(line: &'a Value, name: &str) -> &'a Value {
    if line[name].is_null() { &line["fields"][name] } else { &line[name] }
}

/// A run whose log tells every split.
fn call(workshop: &Workshop, run_id: &str, data: &Path, more: &[String]) -> Command {
    let mut call = workshop.call(run_id, data);
    call.args(more).env("RUST_LOG", "info,train::read=trace,train::fit::folds=trace,train::fit::intervals=trace");
    call
}

fn searched(flags: &[String]) -> Vec<String> {
    let search = ["--param", "max_depth=2", "--param", "eta=0.5", "--time-budget", "3600"];
    search.map(str::to_owned).into_iter().chain(flags.to_vec()).collect()
}

#[track_caller]
fn assert_apart(table: &Table, seen: &Seen) {
    for (training, validation) in std::iter::once(&seen.outer).chain(&seen.inner) {
        for &judge in validation {
            for &teacher in training {
                assert!(table.may_teach(teacher, judge), "{teacher} teaches what judges {judge}");
            }
        }
    }
    let trained_on: BTreeSet<usize> = seen.outer.0.iter().copied().collect();
    let inner = seen.inner.iter().flat_map(|(training, validation)| training.iter().chain(validation));
    assert!(inner.copied().all(|row| trained_on.contains(&row)), "a held-out row is in a fold");
    let validated: BTreeSet<usize> = seen.inner.iter().flat_map(|(_, validation)| validation.iter().copied()).collect();
    assert!(seen.calibrating.is_subset(&validated), "a row calibrates that no fold validates on");
    assert!(seen.calibrating.is_empty() == validated.is_empty(), "what is validated on calibrates");
}

#[test]
fn in_no_fold_of_the_search_does_a_row_judge_what_it_depends_on() {
    let workshop = Workshop::new();
    let (mut searched_through, mut refused) = (0, 0);
    for seed in 0..120 {
        let table = Table::random(seed);
        let data = workshop.write("table.csv", &table.csv);
        let flags = searched(&table.flags());
        let done = call(&workshop, &format!("r{seed}"), &data, &flags).output().unwrap();
        if done.status.code() == Some(4) {
            // Few rows by both, or a long gap: a side is empty, which is said.
            let message = last_line(&done)["error_message"].as_str().unwrap().to_owned();
            assert!(message.contains("held-out rows") || message.contains("side that is trained on"), "{message}");
            refused += 1;
            continue;
        }
        succeeded(&done);
        let seen = seen(&done);
        assert!(!seen.outer.0.is_empty() && !seen.outer.1.is_empty());
        assert_apart(&table, &seen);
        searched_through += usize::from(!seen.inner.is_empty());
        let dropped = last_line(&done)["rows_dropped"]["no_time"].as_u64().unwrap_or(0);
        let without = table.days.iter().filter(|day| day.is_none()).count() as u64;
        assert_eq!(dropped, if table.by_time { without } else { 0 });
    }
    assert!(searched_through > 72 && refused < 36, "{searched_through} searched, {refused} refused");
}

/// Every fold of a cross-validation for intervals is a fold like those of a search, and each row calibrates once.
#[test]
fn folds_that_only_calibrate_intervals_are_as_far_apart() {
    let workshop = Workshop::new();
    let mut calibrated = 0;
    for seed in 300..340 {
        let table = Table::random(seed);
        let data = workshop.write("table.csv", &table.csv);
        let more = ["--rounds", "3", "--interval-folds", if seed % 2 == 0 { "3" } else { "7" }].map(str::to_owned);
        let flags = more.into_iter().chain(table.flags()).collect::<Vec<_>>();
        let done = call(&workshop, &format!("r{seed}"), &data, &flags).output().unwrap();
        if done.status.code() == Some(4) {
            continue;
        }
        succeeded(&done);
        let seen = seen(&done);
        assert_apart(&table, &seen);
        // A fold of the learning curve has the validation rows of another, and fewer to learn from.
        let folds: BTreeSet<_> = seen.inner.iter().map(|(_, validation)| validation).collect();
        let validated = folds.iter().map(|validation| validation.len()).sum::<usize>();
        assert_eq!(validated, seen.calibrating.len(), "a row is validated on by two folds");
        for validation in folds {
            let fits = seen.inner.iter().filter(|fold| fold.1 == *validation).map(|(training, _)| training);
            let sizes: BTreeSet<_> = fits.clone().map(Vec::len).collect();
            assert!(fits.count() <= 2 && sizes.len() <= 2, "{sizes:?}");
        }
        calibrated += usize::from(!seen.calibrating.is_empty());
        if !table.by_time {
            assert_eq!(seen.calibrating.len(), seen.outer.0.len());
        }
    }
    assert!(calibrated > 20, "{calibrated}");
}

/// The plan of a run that was begun out of core.
fn begin_out_of_core(workshop: &Workshop, from: &str, run_id: &str, mode: &str) {
    let folder = workshop.run_folder(from);
    let (metrics, metadata) = (json(&folder.join("metrics.json")), json(&folder.join("metadata.json")));
    let plan = json!({
        "format_version": 1,
        "program_version": metadata["program_version"],
        "started_at": metadata["created_at"],
        "settings": metrics["settings"],
        "objects_sha256": metadata["data"]["objects_sha256"],
        "threads": metrics["threads"],
        "reading": { "mode": mode, "batch_rows": 64, "sample_rows": 20_000, "parts": if mode == "parts" { 2 } else { 0 } },
    });
    let folder = workshop.run_folder(run_id).join("_checkpoint");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("plan.json"), plan.to_string()).unwrap();
}

/// The same table as Parquet, in row groups of a few rows.
fn parquet(table: &Table, path: &Path) {
    let lines: Vec<Vec<&str>> = table.csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let text =
        |column: usize| lines.iter().map(|line| Some(line[column]).filter(|cell| !cell.is_empty())).collect::<Vec<_>>();
    let number = |column: usize| {
        text(column).iter().map(|cell| cell.map(|cell| cell.parse().unwrap())).collect::<Vec<Option<f64>>>()
    };
    let names = ["id", "x", "plan", "at", "house", "target"];
    let columns = names.iter().enumerate().map(|(place, name)| match *name {
        "x" | "target" => Series::new((*name).into(), number(place)),
        "at" => Series::new((*name).into(), table.days.iter().map(|day| day.map(|day| day as f64)).collect::<Vec<_>>()),
        _ => Series::new((*name).into(), text(place)),
    });
    let columns = columns.map(Into::into).collect();
    write_parquet(&DataFrame::new(lines.len(), columns).unwrap(), path);
}

#[test]
fn the_split_is_the_same_in_memory_out_of_core_resumed_and_on_any_number_of_threads() {
    for seed in [3, 11, 42, 77, 101] {
        let workshop = Workshop::new();
        let table = Table { times: Times::Numbers, ..Table::random(seed) };
        let table = Table {
            by_time: seed % 3 != 0,
            by_group: seed % 3 != 1,
            gap: if seed % 3 == 0 { 0 } else { table.gap },
            ..table
        };
        let data = workshop.folder().join("table.parquet");
        parquet(&table, &data);
        let flags = searched(&table.flags());
        let done = call(&workshop, "whole", &data, &flags).output().unwrap();
        succeeded(&done);
        let expected = seen(&done);
        assert_apart(&table, &expected);
        assert!(!expected.inner.is_empty(), "{seed}");
        for mode in ["batches", "parts", "external"] {
            begin_out_of_core(&workshop, "whole", mode, mode);
            let done = call(&workshop, mode, &data, &flags).output().unwrap();
            succeeded(&done);
            assert_eq!(seen(&done), expected, "{mode}, table {seed}");
        }
        let done = call(&workshop, "threads", &data, &flags).args(["--threads", "3"]).output().unwrap();
        succeeded(&done);
        assert_eq!(seen(&done), expected);
        let (first, second) = stopped_and_resumed(&workshop, &data, &flags);
        assert_eq!(second.outer, expected.outer);
        let both: BTreeSet<Split> = first.inner.union(&second.inner).cloned().collect();
        assert_eq!(both, expected.inner, "table {seed}");
        for file in ["model.ubj", "scale.ubj"] {
            let bytes = |run_id: &str| std::fs::read(workshop.run_folder(run_id).join(file)).unwrap();
            assert!(bytes("resumed") == bytes("whole"), "another {file}, table {seed}");
        }
        let intervals = |run_id: &str| json(&workshop.run_folder(run_id).join("metadata.json"))["intervals"].clone();
        assert_eq!(intervals("resumed"), intervals("whole"), "table {seed}");
    }
}

/// Stops a run after its first trial and runs it again.
fn stopped_and_resumed(workshop: &Workshop, data: &Path, flags: &[String]) -> (Seen, Seen) {
    let mut child =
        call(workshop, "resumed", data, flags).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("\"trial\"") {
            // It may have ended by itself, which is as well.
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        }
        log.extend(line.into_bytes());
        log.push(b'\n');
    }
    let status = child.wait().unwrap();
    let first = seen(&Output { status, stdout: Vec::new(), stderr: log });
    let again = call(workshop, "resumed", data, flags).output().unwrap();
    succeeded(&again);
    if again.stderr.is_empty() || status.success() {
        let Seen { outer, inner, calibrating } = &first;
        (Seen { outer: outer.clone(), inner: inner.clone(), calibrating: calibrating.clone() }, first)
    } else {
        (first, seen(&again))
    }
}

/// A panel of persons with a strength of their own, over some days with a level of their own.
pub(super) fn panel(persons: usize, rows_of_each: usize, (own, drift, noise): (f64, f64, f64), seed: u64) -> String {
    let mut random = Random(seed);
    let mut csv = String::from("id,person,seen,x,z,target\n");
    let traits: Vec<(f64, f64)> = (0..persons).map(|_| (random.normal(), random.unit())).collect();
    for row in 0..persons * rows_of_each {
        let person = row % persons;
        let (level, constant) = traits[person];
        let (x, day) = (random.unit(), random.below(300));
        let target = 2.0 * x + own * level + drift * (day as f64 / 300.0) + noise * random.normal();
        let (month, of_month) = (1 + day / 28, 1 + day % 28);
        writeln!(csv, "{row},p{person},2024-{month:02}-{of_month:02},{x:.5},{constant:.6},{target:.5}").unwrap();
    }
    csv
}

#[test]
fn the_report_tells_spans_and_group_sizes() {
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &panel(60, 10, (0.5, 1.0, 0.3), 4));
    let more = ["--rounds", "20", "--time", "seen", "--group", "person", "--gap", "7d", "--test-fraction", "0.3"];
    let done = workshop.call("r", &data).args(more).output().unwrap();
    succeeded(&done);
    let folder = workshop.run_folder("r");
    let (metrics, page) =
        (json(&folder.join("metrics.json")), std::fs::read_to_string(folder.join("report.html")).unwrap());
    let validation = &metrics["validation"];
    assert_eq!((&validation["split"], &validation["time"]["gap"]), (&"time and group".into(), &"7d".into()));
    let spans = validation["time"]["spans"].as_array().unwrap();
    let rows: u64 = spans.iter().map(|span| span["rows"].as_u64().unwrap()).sum();
    assert_eq!(Some(rows), metrics["rows_test"].as_u64());
    let (train, test) = (&metrics["rows_train"], &metrics["rows_test"]);
    let neither = validation["rows_on_neither_side"].as_u64().unwrap();
    assert_eq!(train.as_u64().unwrap() + test.as_u64().unwrap() + neither, 600);
    let [trained, held] = ["trained_on", "held_out"].map(|side| validation["time"][side].clone());
    assert!(
        trained[1].as_str() < held[0].as_str() && trained[0].as_str().unwrap().starts_with("2024-"),
        "{validation}"
    );
    assert!(page.contains("Inner validation goes forward in time too") && page.contains("on neither side"));
    assert_eq!(json(&folder.join("metadata.json"))["spec"]["validation"]["gap"], "7d");
}

#[test]
fn what_cannot_order_or_part_rows_is_named() {
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &panel(40, 4, (0.5, 0.0, 0.3), 4));
    let failed = |code: i32, more: &[&str], parts: &[&str]| {
        let done = workshop.call("x", &data).args(["--rounds", "5"]).args(more).output().unwrap();
        let message = last_line(&done)["error_message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(done.status.code(), Some(code), "{more:?}: {message}");
        parts.iter().for_each(|part| assert!(message.contains(part), "{message}"));
    };
    failed(4, &["--time", "person"], &["the time \"person\" has text", "--time"]);
    failed(4, &["--time", "nowhere"], &["nowhere"]);
    failed(4, &["--group", "nowhere"], &["nowhere"]);
    failed(2, &["--gap", "7d"], &["no effect without a time column"]);
    failed(2, &["--time", "seen", "--gap", "7"], &["write 7d or 7h"]);
    failed(2, &["--time", "x", "--gap", "7d"], &["bare number"]);
    failed(2, &["--time", "target"], &["both `target`"]);
    failed(4, &["--time", "seen", "--gap", "5000d"], &["side that is trained on", "time \"seen\""]);
    let one = workshop.write("one.csv", &panel(40, 4, (0.5, 0.0, 0.3), 4).replace(",p", ",").replace("person", "g"));
    let text = std::fs::read_to_string(&one).unwrap();
    let one_group: String = text
        .lines()
        .enumerate()
        .map(|(row, line)| format!("{line},{}\n", if row == 0 { "all" } else { "a" }))
        .collect();
    let one = workshop.write("one.csv", &one_group);
    let done = workshop.call("one", &one).args(["--rounds", "5", "--group", "all"]).output().unwrap();
    assert_eq!(done.status.code(), Some(4), "{}", last_line(&done));
}

#[test]
fn held_out_rows_that_are_given_are_warned_of_where_they_are_no_news() {
    let workshop = Workshop::new();
    let csv = panel(80, 6, (0.5, 0.5, 0.3), 3);
    let (head, rows) = csv.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let part = |name: &str, rows: &[&str]| workshop.write(name, &format!("{head}\n{}\n", rows.join("\n")));
    let (train, test) = (part("train.csv", &rows[..400]), part("test.csv", &rows[400..]));
    let done = workshop
        .call("r", &train)
        .args(["--rounds", "5", "--time", "seen", "--group", "person", "--test-data"])
        .arg(&test)
        .output()
        .unwrap();
    succeeded(&done);
    assert_eq!(last_line(&done)["rows_test"], 80);
    let metrics = json(&workshop.run_folder("r").join("metrics.json"));
    let warnings = metrics["warnings"].to_string();
    assert!(
        warnings.contains("are older than the newest training row") && warnings.contains("that is trained on"),
        "{warnings}"
    );
    assert_eq!(metrics["validation"]["split"], "given");
}

#[test]
fn the_spec_and_the_variables_name_the_same_as_the_flags() {
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &panel(60, 6, (0.5, 0.5, 0.3), 3));
    let spec = workshop.write("features.toml", "[validation]\ntime = \"seen\"\ngap = \"3d\"\n");
    let run = |run_id: &str, call: &mut Command| {
        succeeded(&call.args(["--rounds", "5"]).output().unwrap());
        let metrics = json(&workshop.run_folder(run_id).join("metrics.json"));
        (metrics["validation"]["time"].clone(), std::fs::read(workshop.run_folder(run_id).join("model.ubj")).unwrap())
    };
    let by_spec = run("spec", workshop.call("spec", &data).arg("--features").arg(&spec));
    let by_flags = run("flags", workshop.call("flags", &data).args(["--time", "seen", "--gap", "3d"]));
    let by_variables = run("variables", workshop.call("variables", &data).env("TIME_COLUMN", "seen").env("GAP", "3d"));
    assert!(by_spec == by_flags && by_flags == by_variables);
    assert_eq!(by_spec.0["column"], "seen");
    let won = run("won", workshop.call("won", &data).arg("--features").arg(&spec).args(["--gap", "9d"]));
    assert_eq!(won.0["gap"], "9d");
}
