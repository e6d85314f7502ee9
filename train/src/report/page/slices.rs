//! How good the model is for each value of the columns that were asked about.

use evaluation::{Slice, SliceColumn};

use super::super::Subject;
use super::{note, rest, titled};
use page::figures::{count, figure_or_dash, value};
use page::{Html, MOST_OF_A_VALUE, MOST_VALUES};

pub(super) fn section(html: &mut Html, subject: &Subject<'_>) {
    if subject.judgement.slices.is_empty() {
        return;
    }
    titled(html, "Slices", |html| {
        note(html, "R² for each value of the columns that --slice (SLICE) names, the worst first.");
        for column in &subject.judgement.slices {
            one_column(html, column, subject.config.gate.min_slice_r2);
        }
    });
}

fn one_column(html: &mut Html, column: &SliceColumn, least: Option<f64>) {
    html.leaf("h3", "", &column.column);
    let mut slices: Vec<&Slice> = column.slices.iter().collect();
    let r2 = |slice: &Slice| slice.scores.as_ref().map_or(f64::INFINITY, |scores| scores.r2);
    slices.sort_by(|left, right| r2(left).total_cmp(&r2(right)).then(right.rows.cmp(&left.rows)));
    let heads = [
        ("", "value"),
        ("number", "rows"),
        ("number", "R²"),
        ("", ""),
        ("number", "RMSE"),
        ("number", "MAE"),
        ("wide", ""),
    ];
    html.table(&heads, |html| {
        for slice in slices.iter().take(MOST_VALUES) {
            html.element("tr", "", |html| one_slice(html, slice, least));
        }
    });
    rest(html, slices.len().saturating_sub(MOST_VALUES), "value", "metrics.json");
}

fn one_slice(html: &mut Html, slice: &Slice, least: Option<f64>) {
    let scores = slice.scores.as_ref();
    html.element("td", "name", |html| {
        html.text(&value(&slice.value, MOST_OF_A_VALUE));
        if let Err(error) = scores {
            html.leaf("span", "tag", &error.to_string());
        }
    });
    html.number("", "rows", &count(slice.rows as u64));
    let is_bad = least.zip(scores.ok()).is_some_and(|(least, scores)| scores.r2 < least);
    let r2 = scores.map_or_else(|_| "–".to_owned(), |scores| format!("{:.4}", scores.r2));
    html.number(if is_bad { "bad" } else { "" }, "R²", &r2);
    html.element("td", "bars", |html| html.bar(scores.map_or(0.0, |scores| scores.r2)));
    html.number("", "RMSE", &figure_or_dash(scores.ok().map(|scores| scores.rmse)));
    html.number("", "MAE", &figure_or_dash(scores.ok().map(|scores| scores.mae)));
}
