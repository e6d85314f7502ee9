//! What a run writes down about its model: metadata for programs, metrics and a page for people.

use common::Result;
use common::features::golden::GoldenRows;
use common::features::spec::Spec;
use common::registry::metadata::{DataFingerprint, FORMAT_VERSION, Metadata};
use common::registry::sha256_hex;
use common::run::now_rfc3339;
use common::xgboost::Column;
use serde_json::json;

use crate::Context;
use crate::evaluate::Evaluation;
use crate::features::Features;
use crate::fit::Fitted;
use crate::gate::{Judgement, Verdict};
use crate::publish::TrainPlan;
use crate::read::TrainingData;
use crate::settings::Settings;

/// `metadata.json`, golden rows scored.
///
/// # Errors
/// What XGBoost refuses.
pub fn metadata(
    settings: &Settings,
    context: &Context,
    spec: &Spec,
    data: &TrainingData,
    features: &Features,
    fitted: &Fitted,
    clip: Option<(f64, f64)>,
) -> Result<Metadata> {
    let mut golden = GoldenRows::draw(&features.features, &features.statistics);
    let columns = golden.columns();
    let columns: Vec<Column<'_>> = columns.iter().map(|column| Column::from(column.as_slice())).collect();
    golden.predictions = fitted.booster.predict_columns(&columns, 0..0)?;
    let (major, minor, patch) = common::xgboost::version();
    Ok(Metadata {
        format_version: FORMAT_VERSION,
        model_name: settings.store.model_name.clone(),
        model_version: settings.model_version.to_string(),
        run_id: context.run_id.to_string(),
        created_at: now_rfc3339(),
        features: features.features.clone(),
        id: data.id.clone(),
        id_type: data.id_type,
        target: data.target.clone(),
        spec: spec.clone(),
        params: fitted.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        rounds: fitted.rounds,
        seed: u64::from(settings.seed),
        clip,
        statistics: features.statistics.clone(),
        data: DataFingerprint {
            train_data: settings.train_data.to_string(),
            test_data: settings.test_data.as_ref().map(ToString::to_string),
            objects_sha256: data.objects_sha256.clone(),
            objects: data.tables.iter().map(|table| table.dataset().objects.len()).sum(),
            rows_train: data.train.len() as u64,
            rows_test: data.test.len() as u64,
        },
        model_sha256: sha256_hex(&fitted.model),
        xgboost_version: format!("{major}.{minor}.{patch}"),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        golden,
    })
}

/// `metrics.json`.
///
/// # Errors
/// [`common::Error::Defect`] where it cannot be written as JSON.
pub fn metrics(
    plan: &TrainPlan,
    data: &TrainingData,
    fitted: &Fitted,
    evaluation: &Evaluation,
    judgement: &Judgement,
    quality: f64,
    warnings: &[String],
) -> Result<Vec<u8>> {
    let metrics = json!({
        "format_version": FORMAT_VERSION,
        "r2": evaluation.scores.r2,
        "rmse": evaluation.scores.rmse,
        "mae": evaluation.scores.mae,
        "rows_read": data.rows_read(),
        "rows_train": data.train.len(),
        "rows_test": data.test.len(),
        "rows_dropped": data.dropped,
        "data_quality_score": quality,
        "warnings": warnings,
        "gate": judgement.verdict,
        "r2_interval": judgement.interval,
        "slices": slices_json(judgement),
        "rounds": fitted.rounds,
        "learning_curve": { "metric": fitted.choice.metric, "values": fitted.choice.learning_curve },
        "members": fitted.choice.members,
        "trials": fitted.choice.trials,
        "settings": plan.settings,
        "threads": plan.threads,
    });
    serde_json::to_vec_pretty(&metrics).map_err(|error| common::Error::Defect(format!("metrics.json: {error}")))
}

fn slices_json(judgement: &Judgement) -> serde_json::Value {
    let slice = |slice: &common::evaluation::Slice| match &slice.scores {
        Ok(scores) => {
            json!({"value": slice.value, "rows": slice.rows, "r2": scores.r2, "rmse": scores.rmse, "mae": scores.mae})
        }
        Err(error) => json!({"value": slice.value, "rows": slice.rows, "r2": null, "reason": error.to_string()}),
    };
    let column = |column: &common::evaluation::SliceColumn| {
        (column.column.clone(), column.slices.iter().map(slice).collect::<serde_json::Value>())
    };
    judgement.slices.iter().map(column).collect::<serde_json::Map<_, _>>().into()
}

/// `report.html`: the same for people, in one file.
#[must_use]
pub fn html(
    metadata: &Metadata,
    data: &TrainingData,
    fitted: &Fitted,
    evaluation: &Evaluation,
    verdict: &Verdict,
    warnings: &[String],
) -> String {
    let title = format!("{} {}/{}", metadata.model_name, metadata.model_version, metadata.run_id);
    let mut page = String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.push_str(&format!("<title>{}</title><style>{STYLE}</style></head><body>", escaped(&title)));
    let word = if verdict.passed { "passed" } else { "rejected" };
    page.push_str(&format!(
        "<h1>{}</h1><p class=\"{word}\">The gate: <b>{word}</b>. {}</p>",
        escaped(&title),
        escaped(&verdict.text())
    ));
    let figures = [
        ("R² on held-out rows", format!("{:.4}", evaluation.scores.r2)),
        ("RMSE", format!("{:.4}", evaluation.scores.rmse)),
        ("MAE", format!("{:.4}", evaluation.scores.mae)),
        ("Rows trained on", data.train.len().to_string()),
        ("Rows held out", data.test.len().to_string()),
        ("Rows left out", data.dropped.total().to_string()),
        ("Boosting rounds", fitted.rounds.to_string()),
        ("Target", metadata.target.clone()),
        ("Training data", metadata.data.train_data.clone()),
        ("Created", metadata.created_at.clone()),
    ];
    page.push_str(&table(&["", ""], figures.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()])));
    if !warnings.is_empty() {
        let items: String = warnings.iter().map(|warning| format!("<li>{}</li>", escaped(warning))).collect();
        page.push_str(&format!("<h2>Warnings</h2><ul>{items}</ul>"));
    }
    page.push_str("<h2>Features</h2>");
    let features = metadata.features.iter().zip(&metadata.statistics).map(|(feature, statistics)| {
        let kind = serde_json::to_value(&feature.kind).ok();
        let kind = kind.as_ref().and_then(|kind| kind["kind"].as_str()).unwrap_or_default().to_owned();
        vec![feature.name.clone(), kind, format!("{:.1} %", 100.0 * statistics.missing)]
    });
    page.push_str(&table(&["feature", "kind", "missing"], features));
    page.push_str("<h2>Parameters</h2>");
    page.push_str(&table(
        &["parameter", "value"],
        metadata.params.iter().map(|(name, value)| vec![name.clone(), value.clone()]),
    ));
    page.push_str("</body></html>\n");
    page
}

const STYLE: &str = "body{font:16px system-ui,sans-serif;max-width:48rem;margin:auto;padding:1rem}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}\
.passed b{color:#187a3d}.rejected b{color:#b3261e}@media(prefers-color-scheme:dark){body{background:#111;color:#eee}}";

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let cells = |tag: &str, cells: Vec<String>| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect()
    };
    let mut html = format!("<table><tr>{}</tr>", cells("th", head.iter().map(|&cell| cell.to_owned()).collect()));
    for row in rows {
        html.push_str(&format!("<tr>{}</tr>", cells("td", row)));
    }
    html + "</table>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
