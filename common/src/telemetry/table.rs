//! The result of a run for people: a heading and a table of two columns.

use serde_json::Value;

use super::format::without_control_characters;
use super::result::Outcome;

/// The longest list or object that a cell shows, in characters.
const MAX_CELL_LENGTH: usize = 100;

/// What the heading tells already.
const IN_HEADING: [&str; 3] = ["event", "exit_code", "error_type"];

/// The lines of the table, their ends included.
pub(super) fn render(outcome: &Outcome, program: &str) -> String {
    let rows: Vec<(String, String)> = outcome.fields().iter().filter_map(row).collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut table = match outcome.failure() {
        None => format!("\n{program}: done\n"),
        Some(failure) => format!("\n{program}: failed ({}, exit code {})\n", failure.error_type, outcome.exit_code()),
    };
    for (name, value) in rows {
        table.push_str(&format!("  {name:width$}  {value}\n"));
    }
    table
}

fn row((name, value): (&String, &Value)) -> Option<(String, String)> {
    if IN_HEADING.contains(&name.as_str()) {
        return None;
    }
    let name = if name == "error_message" { "error".to_owned() } else { name.replace('_', " ") };
    Some((without_control_characters(&name), cell(value)))
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
    use super::*;
    use crate::error::Error;
    use crate::telemetry::Summary;

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
    fn long_lists_are_cut() {
        let mut summary = summary();
        summary.set("psi", vec![1; 1000]);
        let table = render(&summary.succeeded(), "predict");
        assert!(table.lines().all(|line| line.chars().count() < 130), "{table}");
    }
}
