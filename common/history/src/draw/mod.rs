//! The pages: what the newest runs came to, over time and one by one, and older months as sums.

mod charts;
mod models;
mod predictions;

use chrono::NaiveDate;
use page::Html;
use page::figures::{count, counted, figure, figure_or_dash, percent};

use crate::record::{Evaluated, History, Kind, MOST_RUNS, Month, R2, Run};

/// Runs of the table that is open from the start: half a year of weekly ones.
const MOST_OPEN: usize = 26;
/// Days of a year.
const YEAR: f64 = 365.0;
/// A population stability index above this is named in a warning of the run.
const DRIFT_WARNING: f64 = 0.2;
/// As many standard errors below its level are no chance.
const STANDARD_ERRORS: f64 = 3.0;
/// Characters of an error that a table has room for.
const MOST_OF_AN_ERROR: usize = 160;

/// The page of a history.
pub(crate) fn html(history: &History) -> String {
    let title = match history.kind {
        Kind::Models => "Models, run by run",
        Kind::Predictions => "Predictions, run by run",
    };
    Html::document(title, |html| {
        head(html, history, title);
        if history.runs.is_empty() {
            html.titled("Runs", |html| html.note("No run has ended here yet."));
            return;
        }
        match history.kind {
            Kind::Models => models::sections(html, history),
            Kind::Predictions => predictions::sections(html, history),
        }
        months(html, history);
        html.titled("What the figures mean", |html| explanations(html, history.kind));
    })
}

fn head(html: &mut Html, history: &History, title: &str) {
    let newest = history.runs.first();
    let has_failed = newest.is_some_and(|run| run.exit_code != 0);
    html.element("header", if has_failed { "rejected" } else { "" }, |html| {
        if let Some(newest) = newest {
            let state = format!("newest run: {}", state(newest, history.kind));
            html.leaf("span", "pill", &state);
        }
        html.leaf("h1", "", title);
        if let Some(newest) = newest {
            html.element("p", "lead", |html| {
                html.prose(&format!("The newest of {} is {}", all_runs(history), newest.run_id));
                html.prose(&if newest.at.is_empty() {
                    ".".to_owned()
                } else {
                    format!(", of {} UTC.", minute(&newest.at))
                });
            });
        }
        if let Some(text) = came_out_below(history) {
            html.element("p", "bad", |html| html.prose(&text));
        }
    });
    html.fixed("\n");
}

fn all_runs(history: &History) -> String {
    let older: usize = history.months.iter().map(|month| month.runs.len()).sum();
    counted(history.runs.len() + older, "run")
}

/// A sentence, where the newest predictions of which it is known came out worse than was promised, and chance does not explain it.
fn came_out_below(history: &History) -> Option<String> {
    let (run_id, newest) = match history.kind {
        Kind::Models => history.evaluated.iter().max_by(|one, other| one.1.at.cmp(&other.1.at))?,
        Kind::Predictions => {
            let newest = history.runs.iter().find(|run| run.evaluated.is_some())?;
            (&newest.run_id, newest.evaluated.as_ref()?)
        }
    };
    let (r2, trained) = (newest.r2?, newest.r2_when_trained?);
    let is_below = is_below(&r2, trained);
    is_below.then(|| {
        format!(
            "What run {run_id} predicted came out with R² {}, below {} when its model was trained, by more than chance explains: \
             docs/operations.md says what to do.",
            figure(r2.value),
            figure(trained)
        )
    })
}

/// Whether what R² lies within ends below what was promised; where that is not known, whether it is lower by more than 0.02.
fn is_below(r2: &R2, trained: f64) -> bool {
    r2.high.map_or(r2.value + 0.02 < trained, |high| high < trained)
}

/// How a run ended, in words.
fn state(run: &Run, kind: Kind) -> String {
    match (run.exit_code, run.gate.as_deref(), kind) {
        (0, Some("passed"), _) => "gate passed".to_owned(),
        (0, _, _) => "complete".to_owned(),
        (3, _, Kind::Models) => "gate failed".to_owned(),
        (143, _, _) => "stopped".to_owned(),
        (code, _, _) => format!("failed, exit code {code}"),
    }
}

fn state_cell(html: &mut Html, run: &Run, kind: Kind) {
    html.element("td", "state", |html| {
        let (class, mark) = if run.exit_code == 0 { ("good", "✓") } else { ("bad", "✗") };
        html.leaf("span", class, &format!("{mark} {}", state(run, kind)));
        if let Some(error) = &run.error {
            let mut short: String = error.chars().take(MOST_OF_AN_ERROR).collect();
            if short.len() < error.len() {
                short.push('…');
            }
            html.element("div", "note", |html| html.prose(&short));
        }
    });
}

/// The head of a run's row: its name, which leads to its report, the pointers that name it, its day and more.
fn run_head(html: &mut Html, history: &History, run: &Run, name: &str, more: &str) {
    html.row_head(|html| {
        if run.has_report {
            html.link(&format!("{}/report.html", run.path), name);
        } else {
            html.text(name);
        }
        if history.latest.as_ref() == Some(&run.path) {
            html.leaf("span", "tag", "latest");
        }
        for (label, _) in history.labels.iter().filter(|(_, pointer)| pointer.path == run.path) {
            html.leaf("span", "tag", label);
        }
        if !run.is_there {
            html.leaf("span", "tag", "files removed");
        }
        html.element("div", "note", |html| {
            html.text(&day(&run.at));
            if !more.is_empty() {
                html.text(" · ");
                html.text(more);
            }
        });
    });
}

/// R² with what it lies within, and the share of the predictions that it is of, where that is not all.
fn r2_cell(html: &mut Html, label: &'static str, r2: Option<R2>, is_bad: bool, partly: Option<&Evaluated>) {
    html.number_cell(if is_bad { "bad" } else { "" }, label, |html| {
        html.text(&r2.map_or_else(|| "–".to_owned(), |r2| short(r2.value)));
        if let Some((low, high)) = r2.and_then(|r2| Some((r2.low?, r2.high?))) {
            html.leaf("span", "band", &format!("{} to {}", short(low), short(high)));
        }
        if let Some(partly) = partly {
            html.leaf("span", "band", &format!("of {}", share(partly.rows, partly.rows_predicted)));
        }
    });
}

fn realized_cell(html: &mut Html, evaluated: Option<&Evaluated>, trained: Option<f64>) {
    let r2 = evaluated.and_then(|evaluated| evaluated.r2);
    let trained = evaluated.and_then(|evaluated| evaluated.r2_when_trained).or(trained);
    let is_bad = r2.zip(trained).is_some_and(|(r2, trained)| is_below(&r2, trained));
    r2_cell(html, "came out", r2, is_bad, evaluated.filter(|evaluated| evaluated.rows < evaluated.rows_predicted));
}

/// Whether the table has a column of what lay within intervals.
fn has_coverage<'a>(mut evaluated: impl Iterator<Item = &'a Evaluated>) -> bool {
    evaluated.any(|evaluated| evaluated.coverage.is_some())
}

/// The share of the actual values that lay within intervals, below it their level; red where it is lower by more than chance explains.
fn coverage_cell(html: &mut Html, evaluated: Option<&Evaluated>) {
    let found = evaluated.and_then(|evaluated| Some((evaluated.coverage?, evaluated.interval?, evaluated.rows)));
    let is_bad = |(coverage, level, rows): (f64, f64, u64)| {
        coverage < level - STANDARD_ERRORS * (level * (1.0 - level) / rows.max(1) as f64).sqrt()
    };
    html.number_cell(if found.is_some_and(is_bad) { "bad" } else { "" }, "within intervals", |html| {
        html.text(&found.map_or_else(|| "–".to_owned(), |(coverage, ..)| percent(coverage)));
        if let Some((_, level, _)) = found {
            html.leaf("span", "band", &format!("of {} intervals", percent(level)));
        }
    });
}

/// R² to three digits: more of them are chance.
fn short(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.3}") } else { figure(value) }
}

fn dollars(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value < 1.0 => format!("${value:.4}"),
        Some(value) => format!("${value:.2}"),
    }
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(
        || "–".to_owned(),
        |value| if value < 100.0 { format!("{value:.1}") } else { figure(value.round()) },
    )
}

/// The day of a time, and nothing of what is no time.
fn day(at: &str) -> String {
    date_of(at).map_or_else(|| "–".to_owned(), |date| date.to_string())
}

/// A time to the minute.
fn minute(at: &str) -> String {
    at.get(..16).unwrap_or(at).replace('T', " ")
}

fn date_of(at: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(at.get(..10)?, "%Y-%m-%d").ok()
}

/// Days since 1970-01-01; no number where nothing tells.
fn days(at: &str) -> f64 {
    let days = date_of(at).map(|date| (date - NaiveDate::default()).num_days());
    days.map_or(f64::NAN, |days| days as f64)
}

/// A tile with what the runs of a year cost.
fn cost_tile(html: &mut Html, history: &History) {
    let newest = history.runs.first().map_or(f64::NAN, |run| days(&run.at));
    let of_year = history.runs.iter().filter(|run| days(&run.at) > newest - YEAR);
    let (mut sum, mut counted_runs) = (0.0, 0);
    for dollars in of_year.filter_map(|run| run.dollars) {
        sum += dollars;
        counted_runs += 1;
    }
    let cost = (counted_runs > 0).then_some(sum);
    html.tile(
        "a year at list price",
        &dollars(cost),
        &format!("{} within 365 days of the newest", counted(counted_runs, "run")),
    );
}

fn failed_tile(html: &mut Html, history: &History) {
    let failed = history.runs.iter().filter(|run| run.exit_code != 0).count();
    html.tile("failed", &failed.to_string(), &format!("of the newest {}", counted(history.runs.len(), "run")));
}

/// The newest value of what only some runs have, with the run's day.
fn newest<T>(history: &History, value: impl Fn(&Run) -> Option<T>) -> Option<(T, String)> {
    history.runs.iter().find_map(|run| Some((value(run)?, day(&run.at))))
}

/// The section of the runs' table: the newest, and below them the others, which can be opened.
fn table_of_runs(html: &mut Html, history: &History, heads: &[(&'static str, &str)], row: impl Fn(&mut Html, &Run)) {
    let (open, older) = history.runs.split_at(history.runs.len().min(MOST_OPEN));
    let rows = |html: &mut Html, runs: &[Run]| {
        html.table(heads, |html| runs.iter().for_each(|run| html.element("tr", "", |html| row(html, run))));
    };
    html.element("section", "runs", |html| {
        html.leaf("h2", "", "Runs");
        rows(html, open);
        if !older.is_empty() {
            html.details(&format!("{} before", counted(older.len(), "run")), |html| rows(html, older));
        }
    });
    html.fixed("\n");
}

fn months(html: &mut Html, history: &History) {
    if history.months.is_empty() {
        return;
    }
    let (rows, other_rows) = match history.kind {
        Kind::Models => ("training rows", "held out"),
        Kind::Predictions => ("rows", "rejected"),
    };
    html.titled("Older months", |html| {
        let heads = [
            ("", "month"), ("number", "runs"), ("number", "failed"), ("number", "R² when trained"), ("number", "came out"),
            ("number", rows), ("number", other_rows), ("number", "seconds"), ("number", "list price"),
        ];
        html.table(&heads, |html| {
            for month in &history.months {
                html.element("tr", "", |html| month_row(html, month, rows, other_rows));
            }
        });
        html.note(&format!(
            "The newest {MOST_RUNS} runs stand one by one. Of older ones these sums are kept; R² is the mean of a month's runs."
        ));
    });
}

fn month_row(html: &mut Html, month: &Month, rows: &'static str, other_rows: &'static str) {
    let runs = month.runs.len() as u64;
    html.row_head(|html| html.text(if month.month.is_empty() { "time not known" } else { &month.month }));
    html.number("", "runs", &count(runs));
    html.number("", "failed", &count(runs.saturating_sub(month.succeeded)));
    html.number("", "R² when trained", &month.r2_when_trained.mean().map_or_else(|| "–".to_owned(), short));
    html.number("", "came out", &month.realized.mean().map_or_else(|| "–".to_owned(), short));
    html.number("", rows, &count(month.rows));
    html.number("", other_rows, &count(month.other_rows));
    html.number("", "seconds", &figure(month.seconds.round()));
    html.number("", "list price", &dollars((month.dollars > 0.0).then_some(month.dollars)));
}

fn explanations(html: &mut Html, kind: Kind) {
    html.note(
        "R² when trained is that of the held-out rows, before anything was predicted; R² as it came out compares predictions with what \
         happened since (predict evaluate). The range below each is what it would lie within for 95 of 100 samples of as many rows; red: \
         even its upper end is below what was promised.",
    );
    if kind == Kind::Predictions {
        html.note(
            "Drift is the population stability index of the feature that moved most since training; above 0.2 (the dotted line) it is \
             worth asking why.",
        );
    }
    html.note(
        "Within intervals: the share of the actual values that lay between both ends, where predictions have intervals; red: lower than their \
         level by more than three standard errors.",
    );
    html.note(
        "Seconds are those of a run's last attempt. List price: Fargate in us-east-1 for the threads and memory that the run could use, at \
         least a minute, without pulling the image, Spot or savings plans.",
    );
    html.note(&format!("Made from the runs' own files whenever a run ends; `{}` makes it again.", kind.command()));
}

fn share(part: u64, all: u64) -> String {
    percent(part as f64 / all.max(1) as f64)
}

fn or_dash(value: Option<u64>) -> String {
    value.map_or_else(|| "–".to_owned(), count)
}

fn figure_of(value: Option<f64>) -> String {
    figure_or_dash(value)
}
