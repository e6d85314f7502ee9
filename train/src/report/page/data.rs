//! The rows, and what each column was like.

use std::collections::{HashMap, HashSet};

use columns::ColumnKind;
use features::encode::FeatureSource;
use features::quality::{ColumnProfile, LEAST_ROWS_OF_A_NAMED_LEVEL, Role};

use super::super::Subject;
use super::super::validation::instant_text;
use super::{note, rest, titled};
use page::Html;
use page::figures::{count, counted, date, figure, percent, value};

/// Columns that are shown.
const MOST_COLUMNS: usize = 120;
/// Levels that are shown of a column, and how much of each.
const MOST_LEVELS: usize = 4;
const MOST_OF_A_LEVEL: usize = 24;
/// How much is shown of an expression.
const MOST_OF_AN_EXPRESSION: usize = 100;

pub(super) fn section(html: &mut Html, subject: &Subject<'_>) {
    titled(html, "The data", |html| {
        rows(html, subject);
        html.element("h3", "", |html| html.text("Columns"));
        columns(html, subject);
    });
}

fn rows(html: &mut Html, subject: &Subject<'_>) {
    let (data, source) = (subject.data, &subject.metadata.data);
    let dropped = &data.dropped;
    let reasons = [
        (dropped.bad_target, "no finite target"),
        (dropped.null_id, "no id"),
        (dropped.duplicate_id, "a repeated id"),
        (dropped.bad_weight, "no usable weight"),
        (dropped.no_time, "no time"),
    ];
    let reasons: Vec<String> = reasons
        .iter()
        .filter(|(rows, _)| *rows > 0)
        .map(|(rows, why)| format!("{} with {why}", count(*rows)))
        .collect();
    let of_read = |rows: u64| format!("{} ({})", count(rows), percent(rows as f64 / data.rows_read().max(1) as f64));
    let split = match &source.test_data {
        Some(location) => format!("given apart, in {location}"),
        None => held_out(subject),
    };
    html.table(&[("", "rows"), ("number", "how many"), ("wide", "which")], |html| {
        let from = format!("{} in {}", counted(source.objects, "object"), source.train_data);
        let weighted = if data.train.weights.is_some() { "weighted" } else { "" };
        rows_of(html, "read", &count(data.rows_read()), &from);
        rows_of(html, "trained on", &of_read(data.train.len() as u64), weighted);
        rows_of(html, "held out", &of_read(data.test.len() as u64), &split);
        if data.split.neither > 0 {
            rows_of(html, "on neither side", &of_read(data.split.neither), "of validation by time and group");
        }
        rows_of(html, "left out", &of_read(dropped.total()), &reasons.join(", "));
    });
}

/// Which rows are held out of the training data.
fn held_out(subject: &Subject<'_>) -> String {
    let (validation, split) = (&subject.config.spec.validation, &subject.data.split);
    let share = percent(subject.config.test_fraction);
    let newest = validation.time.as_ref().map(|column| {
        let from = split
            .cut_off
            .map_or_else(String::new, |cut_off| format!(", from {}", instant_text(split.time_kind, cut_off)));
        format!("the newest {share} by \"{column}\"{from}")
    });
    let groups = validation
        .group
        .as_ref()
        .map(|column| format!("{share} of the values of \"{column}\", chosen by a hash of the value"));
    match (newest, groups) {
        (Some(newest), Some(groups)) => format!("{newest}, of {groups}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => format!("{share} of the rows, chosen by a hash of \"{}\"", subject.metadata.id),
    }
}

fn rows_of(html: &mut Html, what: &'static str, how_many: &str, which: &str) {
    html.element("tr", "", |html| {
        html.leaf("td", "", what);
        html.number("", "", how_many);
        html.leaf("td", "wide", which);
    });
}

fn columns(html: &mut Html, subject: &Subject<'_>) {
    let profiles = &subject.metadata.profile;
    let foremost = foremost(subject);
    // A derived feature has no column of its own, whatever its importance.
    let shown: Vec<_> = profiles.iter().filter(|profile| foremost.contains(profile.column.as_str())).collect();
    let heads = [
        ("", "column"),
        ("", "type"),
        ("number", "missing"),
        ("number", "out of range"),
        ("number", "different"),
        ("wide", "values in the training rows"),
    ];
    html.table(&heads, |html| {
        for profile in &shown {
            html.element("tr", "", |html| column(html, profile, sql_of(subject, &profile.column)));
        }
    });
    rest(html, profiles.len() - shown.len(), "column", "metadata.json");
    note(
        html,
        "Of numbers and dates: the values at 5, 50 and 95 % of the rows. Missing and out of range are counted over all rows \
         read, those left out included, as the data quality score does; infinite values count as out of range.",
    );
}

/// The expression of a derived feature.
fn sql_of<'a>(subject: &'a Subject<'_>, name: &str) -> Option<&'a str> {
    subject.metadata.features.iter().filter(|feature| feature.name == name).find_map(|feature| match &feature.source {
        FeatureSource::Expression { sql, .. } => Some(sql.as_str()),
        FeatureSource::Column(_) => None,
    })
}

fn column(html: &mut Html, profile: &ColumnProfile, sql: Option<&str>) {
    html.element("td", "name", |html| {
        html.text(&profile.column);
        match profile.role {
            Role::Feature => {}
            Role::Derived => {
                let sql = sql.map_or_else(String::new, |sql| format!(": {}", value(sql, MOST_OF_AN_EXPRESSION)));
                html.leaf("span", "tag", &format!("derived{sql}"));
            }
            Role::Target => html.leaf("span", "tag", "target"),
        }
    });
    let share =
        |cells: u64| if cells == 0 { "–".to_owned() } else { percent(cells as f64 / profile.rows.max(1) as f64) };
    html.leaf("td", "", type_of(profile));
    html.number("", "missing", &share(profile.missing));
    html.number("", "out of range", &share(profile.out_of_range + profile.infinite));
    html.number("", "different", &profile.distinct.map_or_else(|| "–".to_owned(), count));
    html.leaf("td", "wide", &values(profile));
}

fn type_of(profile: &ColumnProfile) -> &'static str {
    match (profile.category, profile.kind) {
        (true, _) => "category",
        (_, ColumnKind::Boolean) => "yes or no",
        (_, ColumnKind::Date) => "date",
        (_, ColumnKind::Time) => "time of day",
        (_, ColumnKind::Duration) => "duration",
        (_, ColumnKind::Integer) => "whole number",
        (_, ColumnKind::Null) => "empty",
        _ => "number",
    }
}

fn values(profile: &ColumnProfile) -> String {
    if profile.category {
        let level = |(level, share): &(String, f64)| format!("{} {}", value(level, MOST_OF_A_LEVEL), percent(*share));
        if profile.top.is_empty() && profile.distinct.is_some_and(|distinct| distinct > 0) {
            return format!("none that {LEAST_ROWS_OF_A_NAMED_LEVEL} rows have");
        }
        let levels: Vec<String> = profile.top.iter().take(MOST_LEVELS).map(level).collect();
        let more = if profile.distinct.is_some_and(|distinct| distinct > MOST_LEVELS as u64) { " …" } else { "" };
        return levels.join(" · ") + more;
    }
    let text = |number: f32| {
        let number = f64::from(number);
        if profile.kind == ColumnKind::Date && profile.role != Role::Derived { date(number) } else { figure(number) }
    };
    match profile.quantiles.as_slice() {
        [low, _, middle, _, high] => [low, middle, high].map(|number| text(*number)).join(" · "),
        _ => "–".to_owned(),
    }
}

/// All columns, or those that move predictions most, and the target.
fn foremost<'a>(subject: &'a Subject<'_>) -> HashSet<&'a str> {
    let features = &subject.metadata.features;
    let source_of: HashMap<&str, &str> = features
        .iter()
        .map(|feature| (feature.name.as_str(), feature.source_column().unwrap_or(&feature.name)))
        .collect();
    let by_importance = subject.findings.importance.features.iter();
    let by_importance = by_importance.filter_map(|feature| source_of.get(feature.feature.as_str()).copied());
    let mut shown = HashSet::from([subject.metadata.target.as_str()]);
    for column in by_importance {
        if shown.len() > MOST_COLUMNS {
            break;
        }
        shown.insert(column);
    }
    shown
}
