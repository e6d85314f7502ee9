//! The page of a model store.

use page::Html;
use page::figures::{count, counted, figure_or_dash};

use super::charts::{self, Chart, FROM_ZERO};
use super::{
    cost_tile, coverage_cell, day, dollars, failed_tile, has_coverage, newest, or_dash, r2_cell, realized_cell,
    run_head, seconds, share, short, state_cell, table_of_runs,
};
use crate::record::{Evaluated, History, Kind};

/// Evaluated runs that are listed: a year of weekly ones.
const MOST_EVALUATED: usize = 52;

pub(super) fn sections(html: &mut Html, history: &History) {
    let evaluated = newest_evaluated(history);
    tiles(html, history, &evaluated);
    let runs = &history.runs;
    html.titled("At a glance", |html| {
        html.element("div", "figures", |html| {
            charts::r2(html, runs);
            let caption = "";
            let rows = Chart {
                title: "Training rows",
                caption,
                value: &|run| run.rows.map(|rows| rows as f64),
                scale: FROM_ZERO,
            };
            rows.draw(html, runs);
            let taken = Chart { title: "Seconds", caption, value: &|run| run.seconds, scale: FROM_ZERO };
            taken.draw(html, runs);
            let cost = Chart { title: "Dollars at list price", caption, value: &|run| run.dollars, scale: FROM_ZERO };
            cost.draw(html, runs);
        });
    });
    table(html, history);
    came_true(html, &evaluated, history.evaluated.len());
}

fn newest_evaluated(history: &History) -> Vec<(&String, &Evaluated)> {
    let mut evaluated: Vec<_> = history.evaluated.iter().collect();
    evaluated.sort_by(|one, other| (&other.1.at, other.0).cmp(&(&one.1.at, one.0)));
    evaluated.truncate(MOST_EVALUATED);
    evaluated
}

fn tiles(html: &mut Html, history: &History, evaluated: &[(&String, &Evaluated)]) {
    html.element("div", "tiles", |html| {
        match newest(history, |run| run.r2_when_trained) {
            Some((r2, day)) => html.tile("R² when trained", &short(r2.value), &format!("of the run of {day}")),
            None => html.tile("R² when trained", "–", ""),
        }
        let known = evaluated.iter().find_map(|(run, evaluated)| Some((evaluated.r2?, *run)));
        match known {
            Some((r2, run)) => html.tile("R² as it came out", &short(r2.value), &format!("of run {run}")),
            None => html.tile("R² as it came out", "–", "nothing is known yet"),
        }
        if let Some((rows, day)) = newest(history, |run| run.rows) {
            html.tile("training rows", &count(rows), &format!("of the run of {day}"));
        }
        failed_tile(html, history);
        cost_tile(html, history);
    });
    html.fixed("\n");
}

fn table(html: &mut Html, history: &History) {
    let heads = [
        ("", "model and run"),
        ("", "gate"),
        ("number", "R² when trained"),
        ("number", "came out"),
        ("number", "training rows"),
        ("number", "held out"),
        ("number", "quality"),
        ("number", "seconds"),
        ("number", "list price"),
    ];
    table_of_runs(html, history, &heads, |html, run| {
        run_head(html, history, run, &run.path, "");
        state_cell(html, run, Kind::Models);
        r2_cell(html, "R² when trained", run.r2_when_trained, false, None);
        realized_cell(html, run.evaluated.as_ref(), run.r2_when_trained.map(|r2| r2.value));
        html.number("", "training rows", &or_dash(run.rows));
        html.number("", "held out", &or_dash(run.other_rows));
        html.number("", "quality", &run.data_quality_score.map_or_else(|| "–".to_owned(), page::figures::percent));
        html.number("", "seconds", &seconds(run.seconds));
        html.number("", "list price", &dollars(run.dollars));
    });
}

fn came_true(html: &mut Html, evaluated: &[(&String, &Evaluated)], all: usize) {
    html.titled("What came of the predictions", |html| {
        if evaluated.is_empty() {
            html.note("Nothing is known yet: predict evaluate compares predictions with what happened since.");
            return;
        }
        let mut heads = vec![
            ("", "predicted by run"),
            ("", "compared"),
            ("", "model"),
            ("number", "R² when trained"),
            ("number", "came out"),
            ("number", "bias"),
            ("number", "rows"),
            ("number", "known"),
        ];
        let covers = has_coverage(evaluated.iter().map(|(_, evaluated)| *evaluated));
        if covers {
            heads.push(("number", "within intervals"));
        }
        html.table(&heads, |html| {
            for (run, found) in evaluated {
                html.element("tr", "", |html| {
                    html.row_head(|html| html.text(run));
                    html.leaf("td", "code", &day(&found.at));
                    html.leaf("td", "model", &found.model);
                    html.number("", "R² when trained", &found.r2_when_trained.map_or_else(|| "–".to_owned(), short));
                    realized_cell(html, Some(found), None);
                    html.number("", "bias", &figure_or_dash(found.bias));
                    html.number("", "rows", &count(found.rows));
                    html.number("", "known", &share(found.rows, found.rows_predicted));
                    if covers {
                        coverage_cell(html, Some(found));
                    }
                });
            }
        });
        if all > evaluated.len() {
            html.note(&format!("… and {} before, in history.json.", counted(all - evaluated.len(), "run")));
        }
        html.note("Bias above 0: too much was predicted. Their reports lie in the output that they were written to.");
    });
}
