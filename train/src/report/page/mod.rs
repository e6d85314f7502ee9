//! The page: sections in the order in which someone asks. Is it good enough? On which data? How did it learn, where is it
//! wrong, what does it look at, what has changed, how was it made?

mod data;
mod drift;
mod importance;
mod intervals;
mod learning;
mod predictions;
mod settings;
mod slices;
mod validation;
mod verdict;

use error::Result;

use super::Subject;
use page::Html;
use page::figures::figure;

/// The whole page.
///
/// # Errors
/// [`error::Error::Defect`] where a chart cannot be drawn.
pub(super) fn page(subject: &Subject<'_>) -> Result<String> {
    let mut drawn = Ok(());
    let document = Html::document(&title(subject), |html| {
        verdict::section(html, subject);
        html.fixed("\n");
        data::section(html, subject);
        validation::section(html, subject);
        for section in [learning::section, predictions::section, importance::section] {
            if drawn.is_ok() {
                drawn = section(html, subject);
            }
        }
        intervals::section(html, subject);
        slices::section(html, subject);
        drift::section(html, subject);
        settings::section(html, subject);
    });
    drawn.map(|()| document)
}

fn title(subject: &Subject<'_>) -> String {
    let mark = if subject.judgement.verdict.passed { "✓" } else { "✗" };
    let metadata = subject.metadata;
    format!("{mark} {} {}: R² {}", metadata.model_name, metadata.model_version, figure(subject.evaluation.scores.r2))
}

/// A section with its heading.
fn titled(html: &mut Html, title: &'static str, fill: impl FnOnce(&mut Html)) {
    html.titled(title, fill);
}

/// A paragraph.
fn note(html: &mut Html, text: &str) {
    html.note(text);
}

/// What a table leaves out.
fn rest(html: &mut Html, left_out: usize, word: &str, place: &str) {
    html.rest(left_out, word, place);
}
