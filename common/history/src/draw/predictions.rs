//! The page of an output.

use page::Html;
use page::figures::{count, figure};
use page::timeline::Scale;

use super::charts::{self, Chart, FROM_ZERO};
use super::{
    DRIFT_WARNING, cost_tile, coverage_cell, dollars, failed_tile, figure_of, has_coverage, newest, or_dash, r2_cell,
    realized_cell, run_head, seconds, short, state_cell, table_of_runs,
};
use crate::record::{History, Kind, Run};

pub(super) fn sections(html: &mut Html, history: &History) {
    tiles(html, history);
    let runs = &history.runs;
    html.titled("At a glance", |html| {
        html.element("div", "figures", |html| {
            charts::r2(html, runs);
            let drift = Chart {
                title: "Drift",
                caption: "Population stability index of the feature that moved most since training. Dotted: 0.2.",
                value: &|run| run.max_drift,
                scale: Scale { limit: Some(DRIFT_WARNING), ..FROM_ZERO },
            };
            drift.draw(html, runs);
            let caption = "";
            let rows =
                Chart { title: "Rows read", caption, value: &|run| run.rows.map(|rows| rows as f64), scale: FROM_ZERO };
            rows.draw(html, runs);
            let rejected = Chart {
                title: "Rejected rows",
                caption,
                value: &|run| run.other_rows.map(|rows| rows as f64),
                scale: FROM_ZERO,
            };
            rejected.draw(html, runs);
            let mean =
                Chart { title: "Mean prediction", caption, value: &|run| run.mean_prediction, scale: Scale::default() };
            mean.draw(html, runs);
            let taken = Chart { title: "Seconds", caption, value: &|run| run.seconds, scale: FROM_ZERO };
            taken.draw(html, runs);
        });
    });
    table(html, history);
}

fn tiles(html: &mut Html, history: &History) {
    html.element("div", "tiles", |html| {
        match newest(history, Run::realized) {
            Some((r2, day)) => html.tile("R² as it came out", &short(r2.value), &format!("of the run of {day}")),
            None => html.tile("R² as it came out", "–", "nothing is known yet"),
        }
        let trained = newest(history, |run| run.r2_when_trained);
        html.tile(
            "R² when trained",
            &trained.map_or_else(|| "–".to_owned(), |(r2, _)| short(r2.value)),
            "of the newest model",
        );
        if let Some((drift, _)) = newest(history, |run| Some((run.max_drift?, run.max_drift_feature.clone()))) {
            html.tile("largest drift", &short(drift.0), &drift.1.unwrap_or_default());
        }
        if let Some((rows, day)) = newest(history, |run| run.rows) {
            html.tile("rows read", &count(rows), &format!("by the run of {day}"));
        }
        failed_tile(html, history);
        cost_tile(html, history);
    });
    html.fixed("\n");
}

fn table(html: &mut Html, history: &History) {
    let mut heads = vec![
        ("", "run"),
        ("", "state"),
        ("number", "R² when trained"),
        ("number", "came out"),
        ("number", "drift"),
        ("number", "rows"),
        ("number", "rejected"),
        ("number", "quality"),
        ("number", "mean prediction"),
    ];
    // Models without intervals expect no error.
    let expects = history.runs.iter().any(|run| run.expected_mae.is_some());
    if expects {
        heads.push(("number", "expected error"));
    }
    // Nor has anything lain within them.
    let covers = has_coverage(history.runs.iter().filter_map(|run| run.evaluated.as_ref()));
    if covers {
        heads.push(("number", "within intervals"));
    }
    heads.extend([("number", "seconds"), ("number", "list price")]);
    table_of_runs(html, history, &heads, |html, run| row(html, history, run, (expects, covers)));
}

fn row(html: &mut Html, history: &History, run: &Run, (expects, covers): (bool, bool)) {
    let model = run.model.as_ref().map(|model| format!("model {model}")).unwrap_or_default();
    run_head(html, history, run, &run.run_id, &model);
    state_cell(html, run, Kind::Predictions);
    r2_cell(html, "R² when trained", run.r2_when_trained, false, None);
    realized_cell(html, run.evaluated.as_ref(), run.r2_when_trained.map(|r2| r2.value));
    let has_drifted = run.max_drift.is_some_and(|drift| drift > DRIFT_WARNING);
    html.number_cell(if has_drifted { "bad" } else { "" }, "drift", |html| {
        html.text(&run.max_drift.map_or_else(|| "–".to_owned(), short));
        if let Some(feature) = run.max_drift_feature.as_ref().filter(|_| has_drifted) {
            html.leaf("span", "band", feature);
        }
    });
    html.number("", "rows", &or_dash(run.rows));
    html.number("", "rejected", &or_dash(run.other_rows));
    html.number("", "quality", &run.data_quality_score.map_or_else(|| "–".to_owned(), page::figures::percent));
    html.number("", "mean prediction", &figure_of(run.mean_prediction));
    if expects {
        html.number("", "expected error", &run.expected_mae.map_or_else(|| "–".to_owned(), figure));
    }
    if covers {
        coverage_cell(html, run.evaluated.as_ref());
    }
    html.number("", "seconds", &seconds(run.seconds));
    html.number("", "list price", &dollars(run.dollars));
}
