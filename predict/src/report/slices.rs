//! The predictions by the values of the columns that the model was judged by, slice by slice.

use features::quality::LEAST_ROWS_OF_A_NAMED_LEVEL;
use page::Html;
use page::figures::{count, counted, figure_or_dash, percent, value};
use page::{MOST_OF_A_VALUE, MOST_VALUES};

use crate::run_checks::ScoredRun;
use crate::slices::{Room, SliceFigures, SliceTable};

pub(super) fn section(html: &mut Html, run: &ScoredRun<'_>) {
    if run.model.metadata.slices.is_empty() {
        return;
    }
    html.titled("Slices", |html| {
        html.note(&format!(
            "The predictions by the values of the columns that --slice (SLICE) named when the model was trained, the most frequent \
             first. Values of fewer than {LEAST_ROWS_OF_A_NAMED_LEVEL} rows stand together."
        ));
        for (slice, table) in run.slices.read.iter().zip(run.totals.slices(run.model)) {
            html.leaf("h3", "", &slice.column);
            match table {
                Some(table) => one_column(html, &table, run.model.interval.is_some()),
                None => html.note(&not_told()),
            }
        }
        for column in &run.slices.lacking {
            html.leaf("h3", "", column);
            html.note("Not told: the input has no such column, or one whose values have no text (lists, structs).");
        }
    });
}

fn one_column(html: &mut Html, table: &SliceTable, has_intervals: bool) {
    let mut heads =
        vec![("", "value"), ("number", "rows"), ("number", "share"), ("", ""), ("number", "mean prediction")];
    if has_intervals {
        heads.push(("number", "expected error"));
    }
    html.table(&heads, |html| {
        for slice in table.values.iter().take(MOST_VALUES) {
            row(html, &value(&slice.value, MOST_OF_A_VALUE), &slice.figures, has_intervals);
        }
        if let Some(rare) = &table.rare {
            row(html, &format!("({}, each of few rows)", counted(rare.values, "value")), &rare.figures, has_intervals);
        }
    });
    html.rest(table.values.len().saturating_sub(MOST_VALUES), "value", "manifest.json");
}

fn row(html: &mut Html, name: &str, figures: &SliceFigures, has_intervals: bool) {
    html.element("tr", "", |html| {
        html.leaf("td", "name", name);
        html.number("", "rows", &count(figures.rows));
        html.number("", "share", &percent(figures.share));
        html.element("td", "bars", |html| html.bar(figures.share));
        html.number("", "mean prediction", &figure_or_dash(figures.mean_prediction));
        if has_intervals {
            html.number("", "expected error", &figure_or_dash(figures.expected_mae));
        }
    });
}

/// What is said of a column by which rows are not told apart.
fn not_told() -> String {
    let Room { values, text_bytes } = Room::OF_A_RUN;
    format!(
        "Not told: it has more than {} values, or their texts more than {} KiB; or some of them cannot be read.",
        count(values as u64),
        text_bytes >> 10
    )
}
