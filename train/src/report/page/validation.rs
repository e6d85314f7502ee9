//! Which rows judged, and whether others would have judged otherwise.

use super::super::Subject;
use super::super::validation::{Part, validation};
use super::{note, titled};
use page::Html;
use page::figures::{count, figure_or_dash};

use crate::dependence::{Estimate, Figure};

pub(super) fn section(html: &mut Html, subject: &Subject<'_>) {
    let validation = validation(subject);
    let estimate = validation.estimate.filter(|estimate| estimate.random().is_some());
    if validation.time.is_none() && validation.group.is_none() && estimate.is_none() {
        return;
    }
    titled(html, "Validation", |html| {
        if let Some(time) = &validation.time {
            let [from, to] = &time.trained_on;
            let [held_from, held_to] = &time.held_out;
            note(
                html,
                &format!(
                    "By time: trained on rows from {from} to {to} by \"{}\", judged on rows from {held_from} to {held_to}, with a gap of \
                     {}. Inner validation goes forward in time too.",
                    time.column, time.gap
                ),
            );
        }
        if let Some(group) = &validation.group {
            note(
                html,
                &format!(
                    "By group: trained on {} values of \"{}\", judged on rows of {}. Inner validation keeps groups whole too.",
                    count(group.groups_trained_on as u64),
                    group.column,
                    count(group.groups_held_out as u64)
                ),
            );
        }
        if validation.rows_on_neither_side > 0 {
            let rows = count(validation.rows_on_neither_side);
            note(
                html,
                &format!(
                    "{rows} usable rows are on neither side: within the gap, or new rows of known groups, or old rows of held-out ones."
                ),
            );
        }
        if let Some(time) = &validation.time {
            parts(html, "held-out rows of", &time.spans);
        }
        if let Some(group) = &validation.group {
            parts(html, "groups of", &group.sizes);
        }
        if let Some(estimate) = &estimate {
            estimated(html, estimate);
        }
    });
}

fn parts(html: &mut Html, head: &'static str, parts: &[Part]) {
    html.table(&[("", head), ("number", "rows"), ("number", "R²"), ("", ""), ("number", "MAE")], |html| {
        for part in parts {
            html.element("tr", "", |html| {
                html.leaf("td", "name", &part.name);
                html.number("", "rows", &count(part.rows as u64));
                html.number("", "R²", &part.r2.map_or_else(|| "–".to_owned(), |r2| format!("{r2:.4}")));
                html.element("td", "bars", |html| html.bar(part.r2.unwrap_or(0.0)));
                html.number("", "MAE", &figure_or_dash(part.mae));
            });
        }
    });
}

fn estimated(html: &mut Html, estimate: &Estimate) {
    note(
        html,
        &format!(
            "Rows were held out at random. Whether that flatters, small models tell, which are trained and judged on {} training rows.",
            count(estimate.rows as u64)
        ),
    );
    let heads = [
        ("", "judged on"),
        ("number", "R², learnt from random rows"),
        ("number", "R², learnt from others alone"),
        ("wide", ""),
    ];
    html.table(&heads, |html| {
        for (figure, which, flag) in [
            (&estimate.newest, "the newest rows by", "--time"),
            (&estimate.new_groups, "rows of an unknown", "--group"),
        ] {
            let Some(Figure { column, random, r2, is_lower, .. }) = figure else { continue };
            html.element("tr", "", |html| {
                html.leaf("td", "name", &format!("{which} \"{column}\""));
                html.number("", "R², learnt from random rows", &format!("{random:.4}"));
                html.number("", "R², learnt from others alone", &format!("{r2:.4}"));
                let advice = format!("lower: validate with {flag} {column}");
                html.leaf("td", "wide", if *is_lower { &advice } else { "not lower" });
            });
        }
    });
}
