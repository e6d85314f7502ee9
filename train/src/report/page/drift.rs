//! What has changed since the model that was the latest when this one was judged.

use features::quality::DRIFT_WARNING;

use super::super::{Drift, Subject};
use super::{note, rest, titled};
use page::Html;
use page::figures::{counted, figure, figure_or_dash, visible};

/// Features that are shown.
const MOST_FEATURES: usize = 25;
/// An index that is not worth a line.
const LEAST: f64 = 0.001;
/// Names that are listed in a sentence.
const MOST_NAMES: usize = 20;

pub(super) fn section(html: &mut Html, subject: &Subject<'_>) {
    titled(html, "Since the previous model", |html| match &subject.findings.drift {
        None => note(html, "There was no latest model to compare with: this is the first of its name."),
        Some(Drift { previous, unreadable: Some(reason), .. }) => {
            note(html, &format!("The latest model, {previous}, cannot be read: {reason}"));
        }
        Some(drift) => compared(html, subject, drift),
    });
}

fn compared(html: &mut Html, subject: &Subject<'_>, drift: &Drift) {
    let moved = drift.features.iter().filter(|feature| feature.psi > DRIFT_WARNING).count();
    note(
        html,
        &format!(
            "Compared with {}, published with R² {} on held-out rows of its own ({} here). {} of {} moved by more than {}.",
            drift.previous,
            figure_or_dash(drift.previous_r2),
            figure(subject.evaluation.scores.r2),
            moved,
            counted(drift.features.len(), "feature"),
            figure(DRIFT_WARNING)
        ),
    );
    let shown = drift.features.iter().take(MOST_FEATURES).filter(|feature| feature.psi >= LEAST).count();
    let most = drift.features.first().map_or(0.0, |feature| feature.psi).max(drift.target_psi.unwrap_or_default());
    let most = most.max(2.0 * DRIFT_WARNING);
    html.table(&[("", "column"), ("number", "PSI"), ("", "")], |html| {
        if let Some(psi) = drift.target_psi {
            one(html, &subject.metadata.target, true, psi, most);
        }
        for feature in drift.features.iter().take(shown) {
            one(html, &feature.feature, false, feature.psi, most);
        }
    });
    rest(html, drift.features.len() - shown, "feature", "metrics.json");
    for (names, what) in
        [(&drift.added, "New"), (&drift.removed, "Gone"), (&drift.changed, "Of another type now, so not compared")]
    {
        if !names.is_empty() {
            note(html, &format!("{what}: {}.", listed(names)));
        }
    }
    note(
        html,
        "PSI: the population stability index of the training rows of this model against those of the previous one, over ten \
         quantile bins or the levels. Below 0.1 little has changed; above 0.2 it is worth asking why.",
    );
}

fn one(html: &mut Html, name: &str, is_target: bool, psi: f64, most: f64) {
    html.element("tr", "", |html| {
        html.element("td", "name", |html| {
            html.text(name);
            if is_target {
                html.leaf("span", "tag", "target");
            }
        });
        html.number(if psi > DRIFT_WARNING { "bad" } else { "" }, "PSI", &format!("{psi:.3}"));
        html.element("td", "bars", |html| html.bar(psi / most));
    });
}

fn listed(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(MOST_NAMES).map(|name| visible(name, 60)).collect();
    if names.len() > MOST_NAMES {
        shown.push(format!("{} more", names.len() - MOST_NAMES));
    }
    shown.join(", ")
}
