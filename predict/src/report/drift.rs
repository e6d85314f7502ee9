//! Features: how far they have moved since training, and what their cells are like.

use page::Html;
use page::bars::{Series, bars};
use page::figures::percent;

use crate::run_checks::ScoredRun;

/// Features that are listed.
const MOST_FEATURES: usize = 40;
/// Features that have a picture.
const MOST_PICTURES: usize = 12;
/// More levels than a picture has room for.
const MOST_BARS: usize = 24;

pub(super) fn section(html: &mut Html, run: &ScoredRun<'_>) {
    let mut features: Vec<_> = run.totals.features(run.model).into_iter().enumerate().collect();
    features.sort_by(|(_, one), (_, other)| other.psi.total_cmp(&one.psi));
    let most = features.first().map_or(0.0, |(_, feature)| feature.psi).max(0.4);
    html.titled("Features since training", |html| {
        let heads = [
            ("", "feature"), ("number", "PSI"), ("", ""), ("number", "missing"), ("number", "in training"), ("number", "new levels"),
            ("number", "out of range"),
        ];
        html.table(&heads, |html| {
            for (index, feature) in features.iter().take(MOST_FEATURES) {
                let trained = run.model.metadata.statistics.get(*index).map_or(f64::NAN, |statistics| statistics.missing);
                html.element("tr", "", |html| {
                    html.leaf("td", "name", &feature.name);
                    html.number(if feature.has_drifted() { "bad" } else { "" }, "PSI", &format!("{:.3}", feature.psi));
                    html.element("td", "bars", |html| html.bar(feature.psi / most));
                    html.number("", "missing", &percent(feature.missing));
                    html.number("", "in training", &percent(trained));
                    html.number("", "new levels", &percent(feature.unseen));
                    html.number("", "out of range", &percent(feature.out_of_range));
                });
            }
        });
        html.rest(features.len().saturating_sub(MOST_FEATURES), "feature", "manifest.json");
        html.note(
            "PSI: the population stability index of these rows against the training rows, over ten quantile bins or the levels. Below 0.1 \
             little has changed; above 0.2 it is worth asking why.",
        );
        let drifted: Vec<_> = features.iter().filter(|(_, feature)| feature.has_drifted()).take(MOST_PICTURES).collect();
        if drifted.is_empty() {
            return;
        }
        html.leaf("h3", "", "What has drifted: training and now");
        html.element("div", "figures", |html| {
            for (index, feature) in drifted {
                let (Some(statistics), Some(tally)) =
                    (run.model.metadata.statistics.get(*index), run.totals.tallies.get(*index))
                else {
                    continue;
                };
                let rows = tally.rows.max(1) as f64;
                let mut now: Vec<f64> = tally.bins.iter().map(|count| *count as f64 / rows).collect();
                let mut then = statistics.shares.clone();
                now.truncate(MOST_BARS);
                then.truncate(MOST_BARS);
                let edges: Vec<f64> = statistics.edges.iter().map(|edge| f64::from(*edge)).collect();
                let picture = bars(&[Series { colour: 0, shares: &then }, Series { colour: 2, shares: &now }], &edges);
                let caption = match edges.is_empty() {
                    true => "Levels in the order of the model, then other and missing ones. Grey: training; blue: now.",
                    false => "Tenths of the training rows, and last missing values. Grey: training; blue: now.",
                };
                html.figure("", &picture, &format!("{} (PSI {:.3})", feature.name, feature.psi), caption);
            }
        });
    });
}
