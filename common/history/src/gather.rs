//! What the files of the runs say.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::DateTime;
use error::Result;
use futures::{StreamExt, TryStreamExt, stream};
use machine::RunId;
use serde_json::Value;
use storage::{ObjectMeta, StoreError, Version};

use crate::fold::{fold, lasting};
use crate::record::{Evaluated, FORMAT_VERSION, History, Kind, Label, Month, R2, Run};
use crate::{Pages, Refresh, price};

/// Files that are read at once.
const AT_ONCE: usize = 16;
/// More bytes than a result, a pointer or what came of predictions has.
const MOST_BYTES: u64 = 4 << 20;
/// The longest text of a result that is kept.
const MOST_CHARACTERS: usize = 400;

/// A run whose result is there.
#[derive(Debug)]
struct Listed {
    result: Version,
    actuals: Option<Version>,
    has_report: bool,
}

/// What a listing of the folder shows.
#[derive(Debug, Default)]
struct Listing {
    /// By the runs' folders.
    runs: BTreeMap<String, Listed>,
    /// Pointers of labels.
    labels: BTreeMap<String, Version>,
    /// What came of predictions, by the runs that predicted.
    evaluated: BTreeMap<String, Version>,
}

/// Reads what has changed since `before`, or everything, and folds it.
pub(crate) async fn gather(pages: &Pages, before: Option<&History>, refresh: Refresh) -> Result<History> {
    let listing = list(pages).await?;
    let there: BTreeSet<&str> = listing.runs.keys().map(String::as_str).collect();
    let months = match (before, refresh) {
        (None, _) => Vec::new(),
        (Some(before), Refresh::Changed) => before.months.clone(),
        (Some(before), Refresh::All) => lasting(&before.months, &there),
    };
    let known: BTreeMap<&str, &Run> =
        before.iter().flat_map(|before| &before.runs).map(|run| (run.path.as_str(), run)).collect();
    let mut runs = runs(pages, &listing, &known, &months, refresh).await?;
    let evaluated = evaluated(pages, &listing, before, refresh).await?;
    if pages.kind == Kind::Models {
        runs.iter_mut().for_each(|run| run.evaluated = of_model(&evaluated, &run.path));
    }
    let (runs, months) = fold(runs, months);
    Ok(History {
        format_version: FORMAT_VERSION,
        kind: pages.kind,
        latest: pointer(pages, "latest.json").await?,
        labels: labels(pages, &listing, before, refresh).await?,
        runs,
        months,
        evaluated,
    })
}

async fn list(pages: &Pages) -> Result<Listing> {
    let mut listing = Listing::default();
    let folder = match pages.kind {
        Kind::Models => pages.folder.trim_end_matches('/'),
        Kind::Predictions => "runs",
    };
    let objects = pages.store.list(folder).await?;
    let versions: BTreeMap<&str, &ObjectMeta> = objects.iter().map(|object| (object.key.as_str(), object)).collect();
    for object in &objects {
        let Some(path) = object.key.strip_prefix(pages.folder.as_str()) else { continue };
        if let Some(run) = path.strip_suffix("/result.json").filter(|run| is_run(run, pages.kind)) {
            let beside = |file: &str| versions.get(format!("{}{run}/{file}", pages.folder).as_str());
            let listed = Listed {
                result: object.version.clone(),
                actuals: beside("actuals.json").map(|object| object.version.clone()),
                has_report: beside("report.html").is_some(),
            };
            listing.runs.insert(run.to_owned(), listed);
        }
        if pages.kind == Kind::Predictions {
            continue;
        }
        match &path.split('/').collect::<Vec<_>>()[..] {
            [label, "latest.json"] if is_name(label) => {
                listing.labels.insert((*label).to_owned(), object.version.clone());
            }
            ["realized", file] => {
                if let Some(run) = file.strip_suffix(".json").filter(|run| is_name(run)) {
                    listing.evaluated.insert(run.to_owned(), object.version.clone());
                }
            }
            _ => {}
        }
    }
    Ok(listing)
}

/// Whether a path is the folder of a run: what else lies there is none of ours.
fn is_run(path: &str, kind: Kind) -> bool {
    match (kind, &path.split('/').collect::<Vec<_>>()[..]) {
        (Kind::Models, [version, run]) => is_name(version) && is_name(run),
        (Kind::Predictions, ["runs", run]) => is_name(run),
        _ => false,
    }
}

/// Run ids and labels are of one pattern.
fn is_name(text: &str) -> bool {
    text.parse::<RunId>().is_ok()
}

/// Every run that stands by itself: read where it is new or has changed, and as it was where its files are gone.
async fn runs(
    pages: &Pages,
    listing: &Listing,
    known: &BTreeMap<&str, &Run>,
    months: &[Month],
    refresh: Refresh,
) -> Result<Vec<Run>> {
    let counted: BTreeSet<&str> = months.iter().flat_map(|month| &month.runs).map(String::as_str).collect();
    let is_same = |run: &Run, listed: &Listed| {
        let versions = (run.result_version.as_ref(), run.actuals_version.as_ref());
        refresh == Refresh::Changed && versions == (Some(&listed.result), listed.actuals.as_ref())
    };
    let mut runs = Vec::new();
    let mut changed = Vec::new();
    for (path, listed) in &listing.runs {
        match known.get(path.as_str()) {
            _ if counted.contains(path.as_str()) => {}
            Some(run) if is_same(run, listed) => {
                runs.push(Run { has_report: listed.has_report, is_there: true, ..(*run).clone() });
            }
            _ => changed.push((path, listed)),
        }
    }
    let read = changed.into_iter().map(async |(path, listed)| run(pages, path, listed).await);
    let read: Vec<Option<Run>> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
    runs.extend(read.into_iter().flatten());
    let is_gone = |path: &&str| !listing.runs.contains_key(*path) && !counted.contains(*path);
    let gone = known.iter().filter(|(path, _)| is_gone(path)).map(|(_, run)| *run);
    runs.extend(gone.map(|run| Run { is_there: false, has_report: false, ..run.clone() }));
    Ok(runs)
}

/// What a run says of itself; none where it is gone meanwhile.
async fn run(pages: &Pages, path: &str, listed: &Listed) -> Result<Option<Run>> {
    let Some(result) = read(pages, &format!("{path}/result.json")).await? else { return Ok(None) };
    let mut run = match &result {
        Value::Object(_) => of_result(&result, pages.kind),
        _ => Run { exit_code: 4, error: Some("result.json is damaged".to_owned()), ..Run::default() },
    };
    path.clone_into(&mut run.path);
    path.rsplit('/').next().unwrap_or_default().clone_into(&mut run.run_id);
    if listed.actuals.is_some()
        && let Some(actuals) = read(pages, &format!("{path}/actuals.json")).await?
    {
        let evaluated = of_actuals(&actuals);
        let trained = evaluated.r2_when_trained.map(|value| R2 { value, low: None, high: None });
        run.r2_when_trained = run.r2_when_trained.or(trained);
        run.evaluated = Some(evaluated);
    }
    run.has_report = listed.has_report;
    run.is_there = true;
    run.result_version = Some(listed.result.clone());
    run.actuals_version.clone_from(&listed.actuals);
    Ok(Some(run))
}

fn of_result(result: &Value, kind: Kind) -> Run {
    let is_failure = result.get("event").and_then(Value::as_str) == Some("failure");
    let (rows, other_rows, seconds) = match kind {
        Kind::Models => ("rows_train", "rows_test", "training_seconds"),
        Kind::Predictions => ("rows_read", "rows_rejected", "seconds"),
    };
    let trained = match kind {
        Kind::Models => number(result, "r2").map(|value| {
            let end = |name: &str| result.get("r2_interval").and_then(|interval| number(interval, name));
            R2 { value, low: end("low"), high: end("high") }
        }),
        Kind::Predictions => number(result, "r2_when_trained").map(|value| R2 { value, low: None, high: None }),
    };
    let seconds = number(result, seconds);
    let size = result.get("limits");
    let of_size = |name: &str| size.and_then(|size| number(size, name));
    let price = || price::dollars(seconds?, of_size("threads")?, of_size("memory_bytes")?);
    Run {
        model: (kind == Kind::Predictions).then(|| model_of(result)).flatten(),
        at: time(result, "completed_at").or_else(|| time(result, "created_at")).unwrap_or_default(),
        exit_code: if is_failure { result.get("exit_code").and_then(Value::as_u64).unwrap_or(70) } else { 0 },
        gate: text(result, "gate").filter(|gate| matches!(gate.as_str(), "passed" | "failed")),
        error: text(result, "error_message").filter(|_| is_failure),
        r2_when_trained: trained,
        rows: whole(result, rows),
        other_rows: whole(result, other_rows),
        max_drift: number(result, "max_drift"),
        max_drift_feature: text(result, "max_drift_feature"),
        data_quality_score: number(result, "data_quality_score"),
        mean_prediction: number(result, "mean_prediction"),
        expected_mae: number(result, "expected_mae"),
        seconds,
        dollars: price(),
        ..Run::default()
    }
}

fn of_actuals(actuals: &Value) -> Evaluated {
    let end = |name: &str| actuals.get("r2_interval").and_then(|interval| number(interval, name));
    Evaluated {
        model: model_of(actuals).unwrap_or_default(),
        at: time(actuals, "evaluated_at").unwrap_or_default(),
        r2: number(actuals, "r2").map(|value| R2 { value, low: end("low"), high: end("high") }),
        r2_when_trained: number(actuals, "r2_when_trained"),
        bias: number(actuals, "bias"),
        interval: number(actuals, "interval"),
        coverage: number(actuals, "coverage"),
        rows: whole(actuals, "rows_matched").unwrap_or(0),
        rows_predicted: whole(actuals, "rows_predicted").unwrap_or(0),
        version: None,
    }
}

fn model_of(value: &Value) -> Option<String> {
    Some(format!("{}/{}", text(value, "model_version")?, text(value, "model_run_id")?))
}

/// What came of predictions by models of this store. What was read stays, though its file or its model be gone.
async fn evaluated(
    pages: &Pages,
    listing: &Listing,
    before: Option<&History>,
    refresh: Refresh,
) -> Result<BTreeMap<String, Evaluated>> {
    let mut all = before.map(|before| before.evaluated.clone()).unwrap_or_default();
    let is_same = |run: &String, version: &Version| {
        refresh == Refresh::Changed && all.get(run).is_some_and(|known| known.version.as_ref() == Some(version))
    };
    let changed: Vec<_> = listing.evaluated.iter().filter(|(run, version)| !is_same(run, version)).collect();
    let read = changed.into_iter().map(async |(run, version)| {
        let found = read(pages, &format!("realized/{run}.json")).await?;
        let found = found.map(|found| Evaluated { version: Some(version.clone()), ..of_actuals(&found) });
        Ok::<_, error::Error>(found.map(|found| (run.clone(), found)))
    });
    let read: Vec<Option<(String, Evaluated)>> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
    all.extend(read.into_iter().flatten());
    Ok(all)
}

/// What came of the predictions of a model: their R² is the mean over its runs, by rows, with the last one's time and no band where
/// there are several.
fn of_model(evaluated: &BTreeMap<String, Evaluated>, model: &str) -> Option<Evaluated> {
    let of_it: Vec<&Evaluated> = evaluated.values().filter(|evaluated| evaluated.model == model).collect();
    let [first, rest @ ..] = &of_it[..] else { return None };
    if rest.is_empty() {
        return Some(Evaluated { version: None, ..(*first).clone() });
    }
    let rows: u64 = of_it.iter().map(|evaluated| evaluated.rows).sum();
    let mean = |figure: fn(&Evaluated) -> Option<f64>| {
        let weighed = of_it.iter().filter_map(|evaluated| Some((figure(evaluated)?, evaluated.rows as f64)));
        let (sum, rows) = weighed.fold((0.0, 0.0), |(sum, all), (value, rows)| (sum + value * rows, all + rows));
        (rows > 0.0).then(|| sum / rows)
    };
    // Shares of intervals of several levels have no mean.
    let interval = first.interval.filter(|_| rest.iter().all(|other| other.interval == first.interval));
    Some(Evaluated {
        model: model.to_owned(),
        at: of_it.iter().map(|evaluated| evaluated.at.as_str()).max().unwrap_or_default().to_owned(),
        r2: mean(|evaluated| evaluated.r2.map(|r2| r2.value)).map(|value| R2 { value, low: None, high: None }),
        r2_when_trained: first.r2_when_trained,
        bias: mean(|evaluated| evaluated.bias),
        interval,
        coverage: interval.and_then(|_| mean(|evaluated| evaluated.coverage)),
        rows,
        rows_predicted: of_it.iter().map(|evaluated| evaluated.rows_predicted).sum(),
        version: None,
    })
}

async fn labels(
    pages: &Pages,
    listing: &Listing,
    before: Option<&History>,
    refresh: Refresh,
) -> Result<BTreeMap<String, Label>> {
    let mut labels = BTreeMap::new();
    for (label, version) in &listing.labels {
        let known = before.and_then(|before| before.labels.get(label));
        let known = known.filter(|known| refresh == Refresh::Changed && known.version == *version);
        let path = match known {
            Some(known) => Some(known.path.clone()),
            None => pointer(pages, &format!("{label}/latest.json")).await?,
        };
        labels.extend(path.map(|path| (label.clone(), Label { path, version: version.clone() })));
    }
    Ok(labels)
}

/// The folder of the run that a pointer names.
async fn pointer(pages: &Pages, file: &str) -> Result<Option<String>> {
    let Some(pointer) = read(pages, file).await? else { return Ok(None) };
    let path = match pages.kind {
        Kind::Models => text(&pointer, "path"),
        Kind::Predictions => text(&pointer, "run_id").map(|run| format!("runs/{run}")),
    };
    Ok(path.filter(|path| is_run(path, pages.kind)))
}

/// A small JSON file; null where it is none, nothing where it is not there.
async fn read(pages: &Pages, file: &str) -> Result<Option<Value>> {
    match storage::get_json(pages.store.as_ref(), &pages.key(file), MOST_BYTES).await {
        Ok((bytes, _)) => Ok(Some(json(&bytes))),
        Err(StoreError::TooLarge(_) | StoreError::Full(_)) => Ok(Some(Value::Null)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn json(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).unwrap_or(Value::Null)
}

fn number(value: &Value, name: &str) -> Option<f64> {
    value.get(name).and_then(Value::as_f64).filter(|number| number.is_finite())
}

fn whole(value: &Value, name: &str) -> Option<u64> {
    value.get(name).and_then(Value::as_u64)
}

fn text(value: &Value, name: &str) -> Option<String> {
    let text = value.get(name).and_then(Value::as_str)?;
    let mut short: String = text.chars().take(MOST_CHARACTERS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    Some(short)
}

/// A time in UTC, to the millisecond, so that times sort as texts, and runs of one second in their order.
fn time(value: &Value, name: &str) -> Option<String> {
    let time = DateTime::parse_from_rfc3339(value.get(name).and_then(Value::as_str)?).ok()?;
    Some(time.to_utc().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_folders_of_runs_are_runs() {
        assert!(is_run("v1/r1", Kind::Models) && is_run("runs/r1", Kind::Predictions));
        for path in ["r1", "v1/r1/x", "v1/_checkpoint", "../r1", "v1/latest"] {
            assert!(!is_run(path, Kind::Models), "{path}");
        }
        assert!(!is_run("rejected/r1", Kind::Predictions));
    }

    #[test]
    fn what_a_result_says_is_taken_as_far_as_it_makes_sense() {
        let result = json!({
            "event": "result", "r2": 0.91, "r2_interval": {"low": 0.9, "high": 0.92}, "rows_train": 800, "rows_test": 200,
            "training_seconds": 30.0, "limits": {"threads": 2, "memory_bytes": 4_294_967_296_u64}, "gate": "passed",
            "completed_at": "2026-11-28T11:00:00.123+01:00",
        });
        let run = of_result(&result, Kind::Models);
        assert_eq!(run.at, "2026-11-28T10:00:00.123Z");
        assert_eq!(run.r2_when_trained, Some(R2 { value: 0.91, low: Some(0.9), high: Some(0.92) }));
        assert!(run.dollars.is_some_and(|dollars| (0.0016..0.0017).contains(&dollars)), "{run:?}");
        let odd =
            json!({"event": "failure", "error_message": "x".repeat(9_000), "r2": "0.9", "gate": 7, "rows_train": -1});
        let run = of_result(&odd, Kind::Models);
        assert_eq!((run.exit_code, run.gate, run.rows, run.r2_when_trained), (70, None, None, None));
        assert_eq!(run.error.unwrap().chars().count(), MOST_CHARACTERS + 1);
    }

    #[test]
    fn a_model_that_predicted_several_times_has_their_mean() {
        let evaluated = |model: &str, r2: f64, rows: u64| Evaluated {
            model: model.to_owned(),
            r2: Some(R2 { value: r2, low: Some(0.0), high: Some(1.0) }),
            rows,
            interval: Some(if rows == 10 { 0.8 } else { 0.9 }),
            coverage: Some(r2),
            ..Evaluated::default()
        };
        let all = BTreeMap::from([
            ("p1".to_owned(), evaluated("v1/r1", 0.9, 100)),
            ("p2".to_owned(), evaluated("v1/r1", 0.6, 200)),
            ("p3".to_owned(), evaluated("v1/r2", 0.5, 10)),
        ]);
        let mean = of_model(&all, "v1/r1").unwrap();
        assert!((mean.r2.unwrap().value - 0.7).abs() < 1e-12 && mean.rows == 300);
        assert_eq!(of_model(&all, "v1/r2").unwrap().r2.unwrap().low, Some(0.0));
        assert_eq!(of_model(&all, "v1/r3"), None);
        assert!((mean.coverage.unwrap() - 0.7).abs() < 1e-12 && mean.interval == Some(0.9));
        let mut all = all;
        all.insert("p4".to_owned(), evaluated("v1/r1", 0.5, 10));
        let mixed = of_model(&all, "v1/r1").unwrap();
        assert_eq!((mixed.interval, mixed.coverage), (None, None), "levels differ");
    }
}
