//! How often the held-out rows lay within their intervals, and how wide these are.

use evaluation::Coverage;

use super::super::Subject;
use super::titled;
use crate::evaluate::HeldOutIntervals;
use page::figures::{count, counted, figure, percent, value};
use page::{Html, MOST_OF_A_VALUE, MOST_VALUES};

pub(super) fn section(html: &mut Html, subject: &Subject<'_>) {
    titled(html, "Intervals", |html| {
        let known = subject.evaluation.intervals.as_ref().zip(subject.fitted.choice.calibration.as_ref());
        let Some((intervals, calibration)) = known else {
            html.note(
                "This model has none: without a search there are no validation rows to calibrate them. Train with \
                 --interval-folds 5 (INTERVAL_FOLDS) to have predict --interval.",
            );
            return;
        };
        html.note(&format!(
            "predict --interval 0.9 writes prediction_low and prediction_high, between which nine of ten actual values should lie. They were \
             calibrated on {} that other models predicted; none of them is held out. These are the held-out rows.",
            counted(calibration.rows, "training row")
        ));
        table(html, "level", intervals.by_level.iter().map(|(level, of)| (percent(*level), of)));
        let (expected, mae) = (figure(intervals.expected_mae), figure(subject.evaluation.scores.mae));
        html.note(&format!("The mean absolute error that the model expects of these rows is {expected}; it is {mae}."));
        parts(html, subject, intervals);
    });
}

/// The same by tenths of the prediction and by slices.
fn parts(html: &mut Html, subject: &Subject<'_>, intervals: &HeldOutIntervals) {
    let level = percent(intervals.level);
    html.leaf("h3", "", &format!("By tenths of the prediction, at {level}"));
    let of_tenth = |span: &(f64, f64)| format!("{} to {}", figure(span.0), figure(span.1));
    table(html, "predictions", intervals.by_tenths.iter().map(|(span, of)| (of_tenth(span), of)));
    for (slices, coverage) in subject.judgement.slices.iter().zip(&subject.judgement.slice_coverage) {
        html.leaf("h3", "", &format!("By {}, at {level}", slices.column));
        let rows = coverage.iter().take(MOST_VALUES).map(|(name, of)| (value(name, MOST_OF_A_VALUE), of));
        table(html, "value", rows);
        super::rest(html, coverage.len().saturating_sub(MOST_VALUES), "value", "metrics.json");
    }
}

fn table<'a>(html: &mut Html, first: &'static str, rows: impl Iterator<Item = (String, &'a Coverage)>) {
    html.table(&[("", first), ("number", "rows"), ("number", "coverage"), ("number", "mean width")], |html| {
        for (name, Coverage { rows, coverage, mean_width }) in rows {
            let cells =
                [("rows", count(*rows as u64)), ("coverage", percent(*coverage)), ("mean width", figure(*mean_width))];
            html.named_row(&name, &cells);
        }
    });
}
