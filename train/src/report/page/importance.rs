//! What the model looks at.

use error::Result;

use super::super::Subject;
use super::super::charts::{Scale, effect_strip};
use super::super::importance::{FeatureImportance, Unit};
use super::{note, rest, titled};
use page::Html;
use page::Svg;
use page::figures::{count, counted, figure, percent};

/// Features that are shown.
const MOST_FEATURES: usize = 30;

pub(super) fn section(html: &mut Html, subject: &Subject<'_>) -> Result<()> {
    let importance = &subject.findings.importance;
    let shown: Vec<&FeatureImportance> = importance.features.iter().take(MOST_FEATURES).collect();
    let scale = Scale::of(&importance.features);
    let strip = |feature: &&FeatureImportance| match feature.effects.is_empty() {
        true => Ok(None),
        false => effect_strip(feature, scale).map(Some),
    };
    let strips: Vec<Option<Svg>> = shown.iter().map(strip).collect::<Result<_>>()?;
    titled(html, "What it looks at", |html| {
        let heads = [
            ("", "feature"),
            ("number", "mean |SHAP|"),
            ("", ""),
            ("number", "gain"),
            ("number", "splits"),
            ("strips", "− lowers · raises +"),
        ];
        let most = shown.first().map_or(0.0, |feature| feature.shap);
        html.table(&heads, |html| {
            for (feature, strip) in shown.iter().zip(&strips) {
                html.element("tr", "", |html| feature_row(html, feature, strip.as_ref(), most));
            }
        });
        rest(html, importance.features.len() - shown.len(), "feature", "metrics.json");
        legend(html);
        note(html, &explanation(subject, scale));
    });
    Ok(())
}

fn feature_row(html: &mut Html, feature: &FeatureImportance, strip: Option<&Svg>, most: f64) {
    html.leaf("td", "name", &feature.feature);
    html.number("", "mean |SHAP|", &figure(feature.shap));
    html.element("td", "bars", |html| html.bar(feature.shap / most));
    html.number("", "gain", &percent(feature.gain));
    html.number("", "splits", &count(feature.splits));
    html.element("td", "strips", |html| {
        if let Some(strip) = strip {
            html.svg(strip, "effect on the predictions of held-out rows");
        }
    });
}

fn legend(html: &mut Html) {
    html.fixed("<p class=\"note legend\">Values of the feature: <span><i class=\"low\"></i> low</span> ");
    html.fixed("<span><i class=\"middling\"></i> middling</span> <span><i class=\"high\"></i> high</span> ");
    html.fixed("<span><i class=\"unordered\"></i> without an order, or missing</span></p>");
}

fn explanation(subject: &Subject<'_>, scale: Scale) -> String {
    let importance = &subject.findings.importance;
    let unit = match importance.unit {
        Unit::Target => format!("in units of {}", subject.metadata.target),
        Unit::Margin => "on the objective's own scale, before its link".to_owned(),
    };
    format!(
        "SHAP: by how much a feature moved the prediction of a row away from the mean, {unit}, over {} evenly spread. Strips \
         reach from −{end} to {end}, by square roots. Gain: the feature's share of what all splits gained in training.",
        counted(importance.rows, "held-out row"),
        end = figure(scale.end())
    )
}
