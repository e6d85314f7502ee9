//! The documents, one function each.

use features::quality::Role;

use super::LEAST_GROUP;
use super::document::{Document, known, number, percent};
use super::groups::{Group, TENTHS};
use super::sources::Sources;
use crate::create_qa_table::Severity;

/// Features that the model card names.
const FEATURES_TOLD: usize = 20;

/// All documents.
pub(super) fn all(sources: &Sources) -> Vec<Document> {
    vec![
        run_summary(sources),
        model_card(sources),
        predictions(sources),
        segments(sources),
        data_dictionary(sources),
        quality(sources),
        history(sources),
    ]
}

fn run_summary(sources: &Sources) -> Document {
    let run = &sources.run;
    let mut document = Document::new("run-summary", "The newest run", sources);
    let target = &sources.metadata.target;
    document.paragraph(&format!(
        "{} customers were scored: their \"{target}\" was predicted. The mean prediction is {}, the standard deviation {}.",
        run.rows,
        known(run.mean),
        known(run.std)
    ));
    document.paragraph(&format!(
        "{} customers were rejected. Data quality is {} (1 is the best), the highest drift of a feature since training {}.",
        run.rows_rejected.map_or_else(|| "An unknown number of".to_owned(), |rows| rows.to_string()),
        known(run.data_quality),
        known(run.max_drift)
    ));
    let verdict = if run.passed {
        "All checks that stop a run have passed."
    } else {
        "Checks have failed: nothing was published."
    };
    document.paragraph(verdict);
    document
}

fn model_card(sources: &Sources) -> Document {
    let (metadata, metrics) = (&sources.metadata, &sources.metrics);
    let mut document = Document::new("model-card", "The model and how accurate it is", sources);
    document.paragraph(&format!(
        "The model predicts \"{}\" from {} features. It was trained by run {} on {} rows; {} other rows were held out to measure it.",
        metadata.target,
        metadata.features.len(),
        metadata.run_id,
        metadata.data.rows_train,
        metadata.data.rows_test
    ));
    let figure = |name: &str| known(metrics[name].as_f64());
    document.table(
        &["figure on held-out rows", "value"],
        [("R² (1 is perfect)", "r2"), ("root mean squared error", "rmse"), ("mean absolute error", "mae")]
            .map(|(label, name)| vec![label.to_owned(), figure(name)]),
    );
    document.heading("The strongest features");
    document.paragraph("The share of the gain of all splits in training: what the model looks at most.");
    let rows = sources.importance.iter().take(FEATURES_TOLD);
    document.table(&["feature", "share"], rows.map(|(feature, gain)| vec![feature.clone(), percent(*gain)]));
    document
}

fn predictions(sources: &Sources) -> Document {
    let mut document = Document::new("predictions", "How the predictions are distributed", sources);
    document.paragraph(&format!(
        "Tenths of the {} customers by their prediction: 1 has the lowest, 10 the highest. Those at risk are usually looked for in the lowest \
         tenths. Tenths of fewer than {LEAST_GROUP} customers are not told of.",
        sources.run.rows
    ));
    let mut tenths: Vec<&Group> = sources.groups_of(TENTHS).collect();
    tenths.sort_by_key(|group| group.level.as_deref().and_then(|level| level.parse::<u32>().ok()).unwrap_or_default());
    let row = |group: &&Group| vec![level(group), group.rows.to_string(), mean(group)];
    document.table(&["tenth", "customers", "mean prediction"], tenths.iter().map(row));
    let lowest = |tenths_most: u32| -> u64 {
        let is_low = |group: &&&Group| {
            group.level.as_deref().and_then(|level| level.parse::<u32>().ok()).is_some_and(|tenth| tenth <= tenths_most)
        };
        tenths.iter().filter(is_low).map(|group| group.rows).sum()
    };
    if lowest(1) > 0 {
        document.paragraph(&format!(
            "{} customers are in the lowest tenth, {} in the lowest two, {} in the lowest three.",
            lowest(1),
            lowest(2),
            lowest(3)
        ));
    }
    document
}

fn segments(sources: &Sources) -> Document {
    let mut document = Document::new("segments", "Mean prediction by segment", sources);
    document.paragraph(&format!("Groups of fewer than {LEAST_GROUP} customers are not told of."));
    let mut columns: Vec<&str> = Vec::new();
    for group in &sources.groups {
        if !group.column.is_empty() && group.column != TENTHS && !columns.contains(&group.column.as_str()) {
            columns.push(&group.column);
        }
    }
    for column in columns {
        document.heading(&format!("By \"{column}\""));
        let row = |group: &Group| vec![level(group), group.rows.to_string(), mean(group)];
        document.table(&[column, "customers", "mean prediction"], sources.groups_of(column).map(row));
    }
    document
}

fn data_dictionary(sources: &Sources) -> Document {
    let mut document = Document::new("data-dictionary", "The columns and what they are to the model", sources);
    let metadata = &sources.metadata;
    document.paragraph(&format!(
        "\"{}\" identifies a customer. All figures are of the rows that the model was trained with.",
        metadata.id
    ));
    let rows = metadata.profile.iter().map(|column| {
        let role = match column.role {
            Role::Feature => "feature",
            Role::Derived => "computed feature",
            Role::Target => "predicted",
        };
        let missing = if column.rows == 0 { 0.0 } else { column.missing as f64 / column.rows as f64 };
        let kind = if column.category { "category".to_owned() } else { format!("{:?}", column.kind).to_lowercase() };
        let is_constant = column.distinct.is_none_or(|distinct| distinct < 2);
        let mean =
            column.mean.filter(|_| column.rows >= LEAST_GROUP && !is_constant).map_or_else(|| "–".to_owned(), number);
        vec![column.column.clone(), role.to_owned(), kind, percent(missing), mean]
    });
    document.table(&["column", "role", "holds", "missing", "mean"], rows);
    let computed: Vec<_> =
        metadata.spec.derived.iter().map(|feature| vec![feature.name().to_owned(), feature.sql().to_owned()]).collect();
    if !computed.is_empty() {
        document.heading("Computed features");
        document.table(&["feature", "expression"], computed);
    }
    document
}

fn quality(sources: &Sources) -> Document {
    let mut document = Document::new("quality", "The checks of the newest run", sources);
    let report = &sources.report;
    if let Some(other) = &report.compared_with {
        document.paragraph(&format!("The predictions were compared with those of run {other}."));
    }
    let verdict = |passed: Option<bool>| match passed {
        Some(true) => "passed",
        Some(false) => "failed",
        None => "not checked",
    };
    let rows = report.checks.iter().map(|check| {
        let severity = if check.severity == Severity::Fail { "stops the run" } else { "warning" };
        let limit = check.limit.or(check.expected);
        vec![
            check.check.clone(),
            known(check.value),
            known(limit),
            severity.to_owned(),
            verdict(check.passed).to_owned(),
        ]
    });
    document.table(&["check", "value", "limit", "if it fails", "verdict"], rows);
    document
}

fn history(sources: &Sources) -> Document {
    let mut document = Document::new("history", "The last runs", sources);
    document.paragraph("At most twelve runs, the newest first.");
    let rows = sources.history.runs.iter().rev().map(|run| {
        vec![
            run.run_id.clone(),
            run.checked_at.get(..10).unwrap_or_default().to_owned(),
            run.model_version.clone(),
            known(run.r2),
            run.rows.to_string(),
            known(run.mean),
            known(run.data_quality),
            known(run.max_drift),
            if run.passed { "passed" } else { "failed" }.to_owned(),
        ]
    });
    let columns =
        ["run", "date", "model", "R²", "customers", "mean prediction", "data quality", "highest drift", "checks"];
    document.table(&columns, rows);
    document
}

fn level(group: &Group) -> String {
    group.level.clone().unwrap_or_else(|| "(missing)".to_owned())
}

fn mean(group: &Group) -> String {
    group.mean.clone().unwrap_or_else(|| "not told".to_owned())
}
