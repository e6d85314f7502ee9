//! Whether the model may be published, and the figures that this rests on.

use evaluation::Check;

use super::super::Subject;
use super::{note, rest, titled};
use page::Html;
use page::figures::{count, figure, figure_or_dash, percent};

/// Warnings that are shown.
const MOST_WARNINGS: usize = 40;

pub(super) fn section(html: &mut Html, subject: &Subject<'_>) {
    let (metadata, verdict) = (subject.metadata, &subject.judgement.verdict);
    html.element("header", if verdict.passed { "passed" } else { "rejected" }, |html| {
        html.leaf("span", "pill", if verdict.passed { "✓ passed" } else { "✗ rejected" });
        html.element("h1", "", |html| {
            html.text(&metadata.model_name);
            html.fixed(" ");
            html.text(&metadata.model_version);
        });
        html.element("p", "lead", |html| html.prose(&sentence(subject)));
        html.leaf("p", "note", &format!("Run {} of {}", metadata.run_id, minute(&metadata.created_at)));
    });
    tiles(html, subject);
    titled(html, "The gate", |html| {
        checks(html, &verdict.checks);
        if let Some(weight) = &metadata.spec.weight {
            note(
                html,
                &format!(
                    "Every figure of the held-out rows counts each of them by its weight, \"{weight}\". What `predict evaluate` tells of \
                     predictions counts all rows alike."
                ),
            );
        }
    });
    if !subject.warnings.is_empty() {
        titled(html, "Warnings", |html| warnings(html, subject.warnings));
    }
}

fn sentence(subject: &Subject<'_>) -> String {
    let verdict = &subject.judgement.verdict;
    if verdict.passed {
        return format!("Good enough to be published: {}.", verdict.text());
    }
    format!("Not published, and never used to predict: {}.", verdict.text())
}

/// `2026-01-31 14:05 UTC` of an RFC 3339 time in UTC.
fn minute(time: &str) -> String {
    time.get(..16).map_or_else(|| time.to_owned(), |minute| minute.replace('T', " ") + " UTC")
}

fn tiles(html: &mut Html, subject: &Subject<'_>) {
    let scores = &subject.evaluation.scores;
    let interval = subject.judgement.interval.as_ref();
    let interval = interval.map_or_else(String::new, |interval| {
        format!("{:.0} % interval {} to {}", 100.0 * interval.level, figure(interval.low), figure(interval.high))
    });
    let target = &subject.metadata.target;
    let (train, test) = (subject.data.train.len() as u64, subject.data.test.len() as u64);
    html.element("div", "tiles", |html| {
        tile(html, "R² on held-out rows", &format!("{:.4}", scores.r2), &interval);
        tile(html, "RMSE", &figure(scores.rmse), &format!("root mean squared error of {target}"));
        tile(html, "MAE", &figure(scores.mae), &format!("mean absolute error of {target}"));
        tile(html, "Rows trained on", &count(train), &format!("{} held out", count(test)));
        tile(html, "Trees", &count(u64::from(subject.fitted.rounds)), "boosting rounds");
        tile(html, "Data quality", &percent(subject.quality), "accepted rows × usable cells");
    });
}

fn tile(html: &mut Html, name: &str, value: &str, note: &str) {
    html.element("div", "tile", |html| {
        html.leaf("span", "name", name);
        html.leaf("b", "", value);
        html.leaf("span", "note", note);
    });
}

fn checks(html: &mut Html, checks: &[Check]) {
    let heads = [("", "check"), ("", ""), ("number", "found"), ("number", "asked for"), ("wide", "in words")];
    html.table(&heads, |html| {
        for check in checks {
            html.element("tr", "", |html| {
                html.leaf("td", "code", &format!("--{}", check.name.replace('_', "-")));
                html.leaf("td", if check.passed { "good" } else { "bad" }, if check.passed { "✓" } else { "✗" });
                html.number("", "found", &figure_or_dash(check.value));
                html.number("", "asked for", &figure(check.threshold));
                html.element("td", "wide", |html| html.prose(&check.detail));
            });
        }
    });
}

fn warnings(html: &mut Html, warnings: &[String]) {
    html.element("ul", "warnings", |html| {
        for warning in warnings.iter().take(MOST_WARNINGS) {
            html.element("li", "", |html| html.prose(warning));
        }
    });
    rest(html, warnings.len().saturating_sub(MOST_WARNINGS), "warning", "metrics.json");
    note(html, "With --strict (STRICT) any of these ends a run with exit 4.");
}
