//! The result of a run for people: a heading and a table of two columns.

use serde_json::{Map, Value};

use super::result::{FILES, Outcome};
use error::text::without_control_characters;

/// The longest list or object that a cell shows, in characters.
const MAX_CELL_LENGTH: usize = 100;

/// What the heading tells already, and what only programs read.
const LEFT_OUT: [&str; 4] = ["event", "exit_code", "error_type", FILES];

/// The lines of the table, their ends included.
pub(super) fn render(outcome: &Outcome, program: &str) -> String {
    let rows: Vec<(String, Vec<String>)> = outcome.fields().iter().filter_map(row).collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut table = match outcome.failure() {
        None => format!("\n{program}: done\n"),
        Some(failure) => format!("\n{program}: failed ({}, exit code {})\n", failure.error_type, outcome.exit_code()),
    };
    for (name, lines) in rows {
        for (index, line) in lines.iter().enumerate() {
            let name = if index == 0 { name.as_str() } else { "" };
            table.push_str(&format!("  {name:width$}  {line}\n"));
        }
    }
    table
}

fn row((name, value): (&String, &Value)) -> Option<(String, Vec<String>)> {
    if LEFT_OUT.contains(&name.as_str()) {
        return None;
    }
    let name = if name == "error_message" { "error".to_owned() } else { name.replace('_', " ") };
    Some((without_control_characters(&name), lines(value)))
}

/// Lists of objects (the runs of a store) become a table of their own, lists of texts a line for each.
fn lines(value: &Value) -> Vec<String> {
    let Some(items) = value.as_array().filter(|items| !items.is_empty()) else { return vec![cell(value)] };
    let objects: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    if objects.len() == items.len() {
        aligned(&objects)
    } else if items.iter().all(Value::is_string) {
        items.iter().map(cell).collect()
    } else {
        vec![cell(value)]
    }
}

/// A heading and a line per object, by the fields of the first one.
fn aligned(objects: &[&Map<String, Value>]) -> Vec<String> {
    let names: Vec<&String> = objects[0].keys().collect();
    let heading = names.iter().map(|name| without_control_characters(&name.replace('_', " "))).collect();
    let field = |object: &Map<String, Value>, name: &str| object.get(name).map_or_else(|| "-".to_owned(), cell);
    let mut table: Vec<Vec<String>> = vec![heading];
    table.extend(objects.iter().map(|object| names.iter().map(|name| field(object, name)).collect()));
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    table.iter().map(line).collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => without_control_characters(text),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => with_thousands(whole),
            (None, Some(real)) => readable(real),
            (None, None) => number.to_string(),
        },
        Value::Object(fields) if fields.values().all(|value| !value.is_object() && !value.is_array()) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {}", cell(value))).collect();
            without_control_characters(&first(&fields.join(", "), MAX_CELL_LENGTH))
        }
        other => without_control_characters(&first(&other.to_string(), MAX_CELL_LENGTH)),
    }
}

fn with_thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Four decimals are more than a reader compares; magnitudes that they cannot show are written in powers of ten.
fn readable(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-3..1e9).contains(&magnitude) {
        return format!("{number:.4e}");
    }
    format!("{number:.4}")
}

fn first(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Summary;
    use error::Error;

    fn summary() -> Summary {
        let mut summary = Summary::new(&"run-7".parse().unwrap());
        summary.set("model_version", "v1.2.0").set("r2", 0.9312).set("rmse", f64::NAN).set("rows_train", 24_000u64);
        summary
    }

    #[test]
    fn people_get_a_table() {
        let mut summary = summary();
        summary.set("tiny", 1.5e-7).set("debt", -1_234_567).set("parts", vec![1, 2]).set("city", "a\u{1b}[31m\nb");
        assert_eq!(
            render(&summary.succeeded(), "train"),
            "\ntrain: done\n  \
               run id         run-7\n  \
               model version  v1.2.0\n  \
               r2             0.9312\n  \
               rmse           -\n  \
               rows train     24,000\n  \
               tiny           1.5000e-7\n  \
               debt           -1,234,567\n  \
               parts          [1,2]\n  \
               city           a\\u{1b}[31m\\nb\n"
        );
        let failed = render(&summary.failed(&Error::Gate("r2 is 0.61".to_owned())), "train");
        assert!(failed.starts_with("\ntrain: failed (gate, exit code 3)\n  error          r2 is 0.61\n"), "{failed}");
    }

    #[test]
    fn people_can_read_what_lies_in_a_store() {
        let mut summary = Summary::new(&"run-7".parse().unwrap());
        let model = |name: &str, gate, r2| json!({"model": name, "gate": gate, "r2": r2});
        summary.set("models", vec![model("v2/low", Some("failed"), Some(0.5)), model("v1/run-1", None, None)]);
        summary.set("deleted", vec!["v1/a", "v1/b"]).set("rows_dropped", json!({"bad_target": 1, "null_id": 0}));
        assert_eq!(
            render(&summary.succeeded(), "train"),
            "\ntrain: done\n  \
               run id        run-7\n  \
               models        model     gate    r2\n                \
                             v2/low    failed  0.5000\n                \
                             v1/run-1  -       -\n  \
               deleted       v1/a\n                \
                             v1/b\n  \
               rows dropped  bad_target 1, null_id 0\n"
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let mut summary = summary();
        summary.set("psi", vec![1; 1000]);
        let table = render(&summary.succeeded(), "predict");
        assert!(table.lines().all(|line| line.chars().count() < 130), "{table}");
    }
}
