//! The pictures over the runs, oldest first.

use page::Html;
use page::figures::{counted, figure};
use page::timeline::{Line, Mark, Point, Scale, timeline};

use super::days;
use crate::record::{R2, Run};

/// R² below this is drawn at it.
const LOWEST_R2: f64 = -1.0;

/// A figure of one value for each run.
pub(super) struct Chart<'a> {
    /// Its title.
    pub(super) title: &'static str,
    /// What is to be known of it.
    pub(super) caption: &'static str,
    /// The value of a run.
    pub(super) value: &'a dyn Fn(&Run) -> Option<f64>,
    /// Its scale.
    pub(super) scale: Scale,
}

/// R² when trained and as it came out, of whatever has both: a title and, newest first, the times and the values.
pub(super) fn r2(html: &mut Html, points: &[(&str, Option<R2>, Option<R2>)]) {
    let trained: Vec<_> = points.iter().rev().map(|(_, trained, _)| trained.map(point)).collect();
    let realized: Vec<_> = points.iter().rev().map(|(_, _, realized)| realized.map(point)).collect();
    let days: Vec<f64> = points.iter().rev().map(|(at, _, _)| days(at)).collect();
    let lines = [
        Line { colour: 0, mark: Mark::Dashes, points: &trained },
        Line { colour: 2, mark: Mark::Dots, points: &realized },
    ];
    let scale = Scale { lowest: Some(LOWEST_R2), ..Scale::default() };
    let picture = timeline(&lines, &days, scale);
    let known = realized.iter().flatten().count();
    let caption = match known {
        0 => "Dashed, grey: when trained. Nothing is known yet of what came true.",
        _ => {
            "Dashed, grey: when trained. Dots, blue: as it came out. Shade and whiskers: what each would lie within for 95 of 100 samples."
        }
    };
    let last = |values: &[Option<Point>]| values.iter().flatten().next_back().map(|point| figure(point.value));
    let spoken = format!(
        "R² of {}: when trained, last {}; as it came out, last {}",
        counted(points.len(), "run"),
        last(&trained).unwrap_or_else(|| "not known".to_owned()),
        last(&realized).unwrap_or_else(|| "not known".to_owned())
    );
    html.element("figure", "", |html| {
        html.leaf("figcaption", "", "R²");
        html.svg(&picture, &spoken);
        html.element("p", "note", |html| html.prose(caption));
    });
}

fn point(r2: R2) -> Point {
    Point { value: r2.value, band: r2.low.zip(r2.high) }
}

impl Chart<'_> {
    /// Draws it for the runs, which are given newest first; nothing where no run has the value.
    pub(super) fn draw(&self, html: &mut Html, runs: &[Run]) {
        let points: Vec<_> =
            runs.iter().rev().map(|run| (self.value)(run).map(|value| Point { value, band: None })).collect();
        let days: Vec<f64> = runs.iter().rev().map(|run| days(&run.at)).collect();
        let Some(last) = points.iter().flatten().next_back() else { return };
        let line = Line { colour: 2, mark: Mark::Dots, points: &points };
        let picture = timeline(&[line], &days, self.scale);
        let spoken = format!("{} of {}, last {}", self.title, counted(runs.len(), "run"), figure(last.value));
        html.element("figure", "", |html| {
            html.leaf("figcaption", "", self.title);
            html.svg(&picture, &spoken);
            if !self.caption.is_empty() {
                html.element("p", "note", |html| html.prose(self.caption));
            }
        });
    }
}
