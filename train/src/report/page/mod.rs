//! The page: sections in the order in which someone asks. Is it good enough? On which data? How did it learn, where is it
//! wrong, what does it look at, what has changed, how was it made?

mod data;
mod drift;
mod importance;
mod learning;
mod predictions;
mod settings;
mod slices;
mod validation;
mod verdict;

use error::Result;

use super::Subject;
use super::figures::{counted, figure};
use super::html::Html;

const STYLE: &str = include_str!("style.css");
/// Nothing is fetched and nothing is run, even if a name of the data got through as markup.
const POLICY: &str =
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">";

/// The whole page.
///
/// # Errors
/// [`error::Error::Defect`] where a chart cannot be drawn.
pub(super) fn page(subject: &Subject<'_>) -> Result<String> {
    let mut html = Html::default();
    let mut drawn = Ok(());
    html.fixed("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.fixed("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    html.fixed("<meta name=\"color-scheme\" content=\"light dark\">");
    html.fixed(POLICY);
    html.leaf("title", "", &title(subject));
    html.element("style", "", |html| html.fixed(STYLE));
    html.fixed("</head>\n<body><main>");
    verdict::section(&mut html, subject);
    html.fixed("\n");
    data::section(&mut html, subject);
    html.fixed("\n");
    validation::section(&mut html, subject);
    html.fixed("\n");
    for section in [learning::section, predictions::section, importance::section] {
        drawn = drawn.and_then(|()| section(&mut html, subject));
        html.fixed("\n");
    }
    slices::section(&mut html, subject);
    drift::section(&mut html, subject);
    html.fixed("\n");
    settings::section(&mut html, subject);
    html.fixed("</main></body></html>\n");
    drawn.map(|()| html.into_string())
}

fn title(subject: &Subject<'_>) -> String {
    let mark = if subject.judgement.verdict.passed { "✓" } else { "✗" };
    let metadata = subject.metadata;
    format!("{mark} {} {}: R² {}", metadata.model_name, metadata.model_version, figure(subject.evaluation.scores.r2))
}

/// A section with its heading.
fn titled(html: &mut Html, title: &'static str, fill: impl FnOnce(&mut Html)) {
    html.element("section", "", |html| {
        html.leaf("h2", "", title);
        fill(html);
    });
}

/// A paragraph.
fn note(html: &mut Html, text: &str) {
    html.element("p", "note", |html| html.prose(text));
}

/// What a table leaves out.
fn rest(html: &mut Html, left_out: usize, word: &str, place: &str) {
    if left_out > 0 {
        note(html, &format!("… and {} more, in {place}.", counted(left_out, word)));
    }
}
