//! The report of a run: one page for people, from the tallies that are kept anyway.
//!
//! How many rows and how long; what the predictions are like, in all and by slices; which features have drifted; quality; rejects; and,
//! once it is known, what came true.

mod drift;
mod outcomes;
mod slices;

use attempt::RunFolder;
use bytes::Bytes;
use page::Html;
use page::bars::{COLOURS, Series, bars};
use page::figures::{count, counted, figure, figure_or_dash, percent};

use crate::manifest::Totals;
use crate::plan::PredictPlan;
use crate::pointer::OutputPointer;
use crate::predictions::PredictionSummary;
use crate::run_checks::ScoredRun;
use crate::write::RejectCounts;

pub use outcomes::{Outcomes, SliceOutcomes};

/// The page's name in the run's folder.
pub const REPORT: &str = "report.html";
/// Objects with rejected rows that are listed.
const MOST_SOURCES: usize = 20;
/// More bytes than a report has.
const MOST_BYTES: u64 = 16 << 20;
/// What stands around the section of what came true, which `predict evaluate` writes.
const MARKS: [&str; 2] = ["<!-- what came true -->", "<!-- end of what came true -->"];

/// The predictions of the run before.
#[derive(Debug, Clone)]
pub struct LastRun {
    /// Its id.
    pub run_id: String,
    /// What its predictions were like.
    pub predictions: PredictionSummary,
}

impl LastRun {
    /// The run that the output's pointer named when this one began; none where there is none, or it left no such figures.
    pub async fn read(folder: &RunFolder, pointer: Option<&OutputPointer>) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Manifest {
            predictions: PredictionSummary,
        }
        let run_id = pointer?.run_id.clone();
        let before = crate::plan::folder(folder.store().clone(), &run_id.parse().ok()?);
        // People miss a series of a picture where it cannot be read; no run fails by it.
        let manifest = before.get("manifest.json").await.ok()??;
        let Manifest { predictions } = serde_json::from_slice(&manifest).ok()?;
        Some(Self { run_id, predictions })
    }
}

/// What there is to tell besides the run itself.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The run before.
    pub last: Option<&'a LastRun>,
    /// Seconds that this attempt took; where several tasks shared the run, the slowest of them.
    pub seconds: f64,
    /// Why the run failed its checks, where it did.
    pub refused: Option<&'a str>,
}

/// The page of a run.
#[must_use]
pub fn html(run: &ScoredRun<'_>, circumstances: &Circumstances<'_>) -> String {
    let (model, mark) = (&run.model.metadata, if circumstances.refused.is_some() { "✗" } else { "✓" });
    let title = format!("{mark} {} predictions, {}", count(run.totals.rows_predicted()), run.folder.run_id());
    Html::document(&title, |html| {
        head(html, run, circumstances);
        tiles(html, run, circumstances);
        predictions(html, run, circumstances);
        html.fixed(MARKS[0]);
        html.titled("What came true", |html| {
            html.note("Nothing is known yet. Once it is, predict evaluate compares it with these predictions and writes it here.");
        });
        html.fixed(MARKS[1]);
        slices::section(html, run);
        drift::section(html, run);
        rejects(html, run.totals);
        settings(html, run.plan, &model.data.train_data);
    })
}

fn head(html: &mut Html, run: &ScoredRun<'_>, circumstances: &Circumstances<'_>) {
    let metadata = &run.model.metadata;
    html.element("header", if circumstances.refused.is_some() { "rejected" } else { "" }, |html| {
        html.leaf("span", "pill", if circumstances.refused.is_some() { "nothing was published" } else { "complete" });
        html.leaf("h1", "", &format!("{} predictions of {}", count(run.totals.rows_predicted()), metadata.target));
        html.element("p", "lead", |html| {
            html.prose(&format!(
                "Run {}, begun {}, by model {} {} of run {}.",
                run.folder.run_id(),
                run.plan.started_at,
                metadata.model_name,
                run.model.run.version,
                run.model.run.run_id
            ));
        });
        if let Some(refused) = circumstances.refused {
            html.element("p", "bad", |html| html.prose(refused));
        }
    });
    html.fixed("\n");
}

fn tiles(html: &mut Html, run: &ScoredRun<'_>, circumstances: &Circumstances<'_>) {
    let totals = run.totals;
    let read = totals.rows_read.max(1) as f64;
    let features = totals.features(run.model);
    let drifted = features.iter().filter(|feature| feature.has_drifted()).count();
    let summary = totals.prediction_summary(run.model);
    html.element("div", "tiles", |html| {
        html.tile("rows read", &count(totals.rows_read), &counted(run.plan.body.input.len(), "object"));
        let rejected = totals.reasons.total();
        html.tile("rejected", &count(rejected), &percent(rejected as f64 / read));
        html.tile("mean prediction", &figure_or_dash(summary.mean), &trained_mean(run));
        if let Some(expected) = totals.expected_mae(run.model) {
            let note = "mean absolute error, from how wide intervals are";
            html.tile("expected error", &figure(expected), note);
        }
        html.tile("drifted features", &drifted.to_string(), &format!("of {}, PSI above 0.2", features.len()));
        html.tile("data quality", &percent(totals.data_quality_score(run.model)), "good rows × good cells");
        html.tile("seconds", &figure(circumstances.seconds), &whose_seconds(run.plan));
    });
    html.fixed("\n");
}

fn whose_seconds(plan: &PredictPlan) -> String {
    match plan.body.shards {
        Some(shards) => format!("of the slowest of {}", counted(shards.count as usize, "shard")),
        None => "of this attempt, until the report".to_owned(),
    }
}

fn trained_mean(run: &ScoredRun<'_>) -> String {
    let target = run.model.metadata.target_statistics.as_ref().and_then(|target| target.mean);
    target.map(|mean| format!("{} in training", figure(mean))).unwrap_or_default()
}

fn predictions(html: &mut Html, run: &ScoredRun<'_>, circumstances: &Circumstances<'_>) {
    let Some(target) = &run.model.metadata.target_statistics else { return };
    let now = run.totals.prediction_summary(run.model);
    let then = target.shares.split_last().map_or(&[][..], |(_, bins)| bins);
    // Of another model, whose target had other tenths, they cannot stand side by side.
    let last = circumstances.last.filter(|last| last.predictions.edges == now.edges);
    html.titled("The predictions", |html| {
        let mut series = vec![Series { colour: 0, shares: then }];
        series.extend(last.map(|last| Series { colour: 1, shares: &last.predictions.shares }));
        series.push(Series { colour: 2, shares: &now.shares });
        html.element("div", "figures", |html| {
            let caption = "Bins are tenths of the target in training, so its bars are about equally high. Predictions always lie closer \
                           together than what comes true: compare with the last run first.";
            html.figure("", &bars(&series, &now.edges), "Share of rows by value", caption);
            legend(html, last.is_some());
        });
        if let Some(last) = circumstances.last {
            let mean = figure_or_dash(last.predictions.mean);
            html.note(&format!("The last run was {}; its mean prediction was {mean}.", last.run_id));
        }
    });
}

/// What the colours stand for.
fn legend(html: &mut Html, has_last: bool) {
    debug_assert_eq!(COLOURS.len(), 3);
    html.element("p", "note legend", |html| {
        html.fixed("<span><i style=\"background:var(--soft)\"></i> training</span>");
        if has_last {
            html.fixed("<span><i style=\"background:#e8590c\"></i> the last run</span>");
        }
        html.fixed("<span><i style=\"background:var(--main)\"></i> this run</span>");
    });
}

fn rejects(html: &mut Html, totals: &Totals) {
    html.titled("Rejected rows", |html| {
        let reasons = &totals.reasons;
        if reasons.total() == 0 {
            html.note("None: every row was scored.");
            return;
        }
        html.table(&[("", "reason"), ("number", "rows")], |html| {
            for (reason, rows) in by_reason(reasons).into_iter().filter(|(_, rows)| *rows > 0) {
                html.named_row(reason, &[("rows", count(rows))]);
            }
        });
        reject_sources(html, totals);
        if !totals.unreadable.is_empty() {
            html.leaf("h3", "", "Cells that cannot be read");
            html.table(&[("", "column"), ("number", "cells"), ("", "the first of them")], |html| {
                for column in &totals.unreadable {
                    html.element("tr", "", |html| {
                        html.leaf("td", "name", &column.cells.column);
                        html.number("", "cells", &count(column.cells.count));
                        let example = column.cells.examples.first().map(String::as_str).unwrap_or_default();
                        html.leaf("td", "wide", &format!("{example}, data row {} of {}", column.row, column.source));
                    });
                }
            });
        }
        html.note("Each rejected row, with its object and its number there, stands in rejected/ of the output.");
    });
}

fn by_reason(counts: &RejectCounts) -> [(&'static str, u64); 3] {
    [
        ("no id", counts.null_id),
        ("an id that came before", counts.duplicate_id),
        ("a value that cannot be read", counts.bad_value),
    ]
}

/// The objects that rejected rows come from, by reason.
fn reject_sources(html: &mut Html, totals: &Totals) {
    let (sources, others) = totals.reject_sources.by_rows(MOST_SOURCES);
    html.leaf("h3", "", "Objects with most of them");
    let mut heads = vec![("", "object")];
    heads.extend(by_reason(&totals.reasons).map(|(reason, _)| ("number", reason)));
    html.table(&heads, |html| {
        let mut row = |name: &str, counts: &RejectCounts| {
            html.named_row(name, &by_reason(counts).map(|(reason, rows)| (reason, count(rows))));
        };
        sources.iter().for_each(|rejects| row(&rejects.source, &rejects.counts));
        if others.total() > 0 {
            row("(other objects)", &others);
        }
    });
}

fn settings(html: &mut Html, plan: &PredictPlan, train_data: &str) {
    html.titled("How it was made", |html| {
        html.table(&[("", "setting"), ("", "value")], |html| {
            let mut row = |name: &str, value: &str| {
                html.element("tr", "", |html| {
                    html.leaf("td", "name", name);
                    html.leaf("td", "wide code", value);
                });
            };
            for (name, value) in plan.settings.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
                row(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
            if let Some(shards) = plan.body.shards {
                row("shards", &shards.count.to_string());
            }
            row("training rows of the model", train_data);
            row("program", &plan.program_version);
        });
    });
}

/// Writes a page of a run's folder. It is for people: what cannot be written is a warning.
pub async fn write(folder: &RunFolder, page: String) {
    if let Err(error) = folder.put(REPORT, Bytes::from(page)).await {
        tracing::warn!("{} could not be written: {error}", folder.location_of(REPORT));
    }
}

/// Puts what came true into the report of a run, in place of what it said of that before.
pub async fn write_outcomes(folder: &RunFolder, outcomes: &Outcomes) {
    let read = folder.store().get_at_most(&folder.key(REPORT), MOST_BYTES).await;
    let page = read.ok().and_then(|(bytes, _)| String::from_utf8(bytes.to_vec()).ok());
    let Some(page) = page.and_then(|page| with_outcomes(&page, &outcomes.html())) else {
        tracing::warn!("{} does not tell what came true: it is not there, or none of ours", folder.location_of(REPORT));
        return;
    };
    write(folder, page).await;
}

fn with_outcomes(page: &str, section: &str) -> Option<String> {
    let (before, rest) = page.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some([before, MARKS[0], section, MARKS[1], after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_true_takes_the_place_of_what_was_said_before() {
        let page = format!("<main>{}old{}</main>", MARKS[0], MARKS[1]);
        let once = with_outcomes(&page, "<p>new</p>").unwrap();
        assert_eq!(once, format!("<main>{}<p>new</p>{}</main>", MARKS[0], MARKS[1]));
        assert_eq!(with_outcomes(&once, "<p>new</p>").unwrap(), once);
        assert_eq!(with_outcomes("<main></main>", ""), None);
    }
}
