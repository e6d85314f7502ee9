//! How the model was made: every setting, parameter and version.

use serde_json::Value;

use super::super::Subject;
use super::{note, titled};
use page::Html;

pub(super) fn section(html: &mut Html, subject: &Subject<'_>) {
    titled(html, "How it was made", |html| {
        pairs(html, "Settings", &settings(subject));
        let params = &subject.metadata.params;
        let mut params: Vec<_> = params.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let scale = subject.fitted.scale;
        if !scale.is_none() {
            let how = format!("times {:e}, and the model brought back, exactly", scale.factor());
            params.push((format!("(target \"{}\")", subject.metadata.target), how));
        }
        pairs(html, "XGBoost's parameters, as used", &params);
        pairs(html, "Versions and hashes", &versions(subject));
        note(
            html,
            "The same data, settings, seed and number of threads give the same model. Credentials are no settings: none is \
             in this file.",
        );
    });
}

fn pairs(html: &mut Html, title: &'static str, pairs: &[(String, String)]) {
    html.element("details", "", |html| {
        html.leaf("summary", "", title);
        html.table(&[("", "name"), ("wide", "value")], |html| {
            for (name, value) in pairs {
                html.element("tr", "", |html| {
                    html.leaf("td", "code", name);
                    html.element("td", "wide code", |html| html.prose(value));
                });
            }
        });
    });
}

/// Settings by their flags: first those that bear on the result, as the plan has them, then those of the run.
fn settings(subject: &Subject<'_>) -> Vec<(String, String)> {
    let config = subject.config;
    let mut pairs = Vec::new();
    let spec = subject.plan.settings.get("spec");
    for (name, value) in subject.plan.settings.as_object().into_iter().flatten().filter(|(name, _)| *name != "spec") {
        pairs.push((format!("--{}", name.replace('_', "-")), text(value)));
    }
    // The plan leaves these out where they have their defaults, so that older plans go on.
    let csv = config.csv;
    for (name, value) in [("--delimiter", csv.delimiter), ("--decimal", csv.cells.decimal)] {
        if !pairs.iter().any(|(known, _)| known == name) {
            pairs.push((name.to_owned(), char::from(value).escape_default().to_string()));
        }
    }
    if config.interval_folds.is_none() {
        pairs.push(("--interval-folds".to_owned(), "–".to_owned()));
    }
    let location = config.features.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string);
    let memory = format!("{} bytes", subject.limits.memory_bytes.value);
    let validation = &config.spec.validation;
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    let of_run = [
        ("--features", location),
        ("--time", or_none(validation.time.clone())),
        ("--group", or_none(validation.group.clone())),
        ("--gap", or_none(validation.gap.as_ref().map(ToString::to_string))),
        ("--id", subject.metadata.id.clone()),
        ("--target", subject.metadata.target.clone()),
        ("--models", config.models.to_string()),
        ("--model-name", config.model_name.clone()),
        ("--model-version", config.model_version.to_string()),
        ("--run-id", subject.metadata.run_id.clone()),
        ("--shard", or_none(config.shard.map(|shard| shard.to_string()))),
        ("--collective-host", or_none(config.collective.0.clone())),
        ("--collective-port", config.collective.1.to_string()),
        ("--threads", subject.plan.body.threads.to_string()),
        ("--memory", memory),
        ("--environment", config.environment.clone()),
        (
            "--log-format",
            config.log_format.map_or_else(|| "–".to_owned(), |format| format!("{format:?}").to_lowercase()),
        ),
        ("--check", config.check.to_string()),
    ];
    pairs.extend(of_run.into_iter().map(|(name, value)| (name.to_owned(), value)));
    for (name, value) in spec.and_then(Value::as_object).into_iter().flatten() {
        pairs.push((format!("spec: {name}"), text(value)));
    }
    pairs
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "–".to_owned(),
        other => other.to_string(),
    }
}

fn versions(subject: &Subject<'_>) -> Vec<(String, String)> {
    let metadata = subject.metadata;
    let clip = metadata.clip.map_or_else(|| "–".to_owned(), |(low, high)| format!("{low} to {high}"));
    let pairs = [
        ("program", metadata.program_version.clone()),
        ("XGBoost", metadata.xgboost_version.clone()),
        ("seed", metadata.seed.to_string()),
        ("predictions held inside", clip),
        ("model.ubj, SHA-256", metadata.model_sha256.clone()),
        ("model.ubj, bytes", subject.fitted.model.len().to_string()),
        ("input objects, SHA-256", metadata.data.objects_sha256.clone()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
