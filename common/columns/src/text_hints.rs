//! Columns of text that seem to be meant as numbers, dates or booleans: each value becomes a category, and the model much worse.
//!
//! What is looked at are the different texts of a column and how often each comes, whatever format it was read from.

use super::CellFormat;
use super::cells::{is_missing_marker, parse_boolean, parse_number, parse_timestamp};
use error::text::without_control_characters;

mod notations;

use notations::{
    has_a_month_name, has_comma, has_decimal_point_under_comma, has_points_between_thousands, has_suffix_for_thousands,
    has_zone_name_or_half, is_accounting_number, is_excel_formula, is_grouped_number, is_impossible_date,
    is_like_a_date, is_month, is_other_iso_timestamp, is_short_date, is_time_of_day, unit,
};

/// Share of a column's rows (markers of missing values apart) that have to look alike: a stray cell does not hide the rest.
const ALIKE: f64 = 0.95;
/// One stray cell among so many others makes a column of numbers text by mistake.
const STRAYS: u64 = 20;
/// Most different texts that stand among numbers by mistake: more of them are values.
const STRAY_TEXTS: usize = 5;
/// Of a column of categories such as `1`, `2`, `A` some are numbers, too, but not so many different ones.
const NUMBERS_PER_STRAY_TEXT: usize = 10;
/// Most spellings of stray cells that a message shows.
const SHOWN_TEXTS: usize = 3;
/// Most characters of a cell that a message shows.
const SHOWN_CHARACTERS: usize = 40;

/// A text of a column and in how many rows it stands.
pub type Level<'a> = (&'a str, u64);

/// How the texts of a column were written, as far as advice depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writing {
    /// How numbers are read out of text.
    pub format: CellFormat,
    /// Whether types are told from texts, as in CSV. Elsewhere the program that wrote the column made it text.
    pub is_csv: bool,
}

impl Writing {
    /// Text in CSV.
    #[must_use]
    pub fn csv(format: CellFormat) -> Self {
        Self { format, is_csv: true }
    }

    /// Text in a format that has types of its own.
    #[must_use]
    pub fn typed() -> Self {
        Self { format: CellFormat::default(), is_csv: false }
    }

    fn has_decimal_comma(self) -> bool {
        self.format.decimal == b','
    }
}

/// What a text can be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Number,
    Date,
    Boolean,
}

impl Value {
    const ALL: [Self; 3] = [Self::Number, Self::Date, Self::Boolean];

    fn of(text: &str, format: CellFormat) -> Option<Self> {
        let is_truth = |word: &str| text.trim().eq_ignore_ascii_case(word);
        if parse_number(text, format).is_some() {
            return Some(Self::Number);
        }
        if parse_timestamp(text).is_some() {
            return Some(Self::Date);
        }
        (is_truth("true") || is_truth("false")).then_some(Self::Boolean)
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Number => "numbers",
            Self::Date => "dates",
            Self::Boolean => "booleans",
        }
    }

    fn singular(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Date => "a date",
            Self::Boolean => "a boolean",
        }
    }
}

/// What numbers with a unit are called.
const UNITS: &str = "numbers with a unit";

/// A way to write values that is not read.
struct Notation {
    /// Whether a text is written so.
    is_so: fn(&str, CellFormat) -> bool,
    /// The values that stand among such texts; any where there is none.
    among: Option<Value>,
    /// What the texts seem to hold.
    what: &'static str,
    /// What to do about it, for an example.
    remedy: fn(&str, Writing) -> String,
}

static NOTATIONS: [Notation; 15] = [
    Notation {
        is_so: |text, _| is_excel_formula(text),
        among: None,
        what: "cells written as Excel formulas",
        remedy: |_, _| "write the value alone, without the equals sign and its quotes".to_owned(),
    },
    Notation {
        is_so: |text, _| has_zone_name_or_half(text),
        among: Some(Value::Date),
        what: "timestamps with AM, PM or the name of a zone",
        remedy: |_, _| "write 2026-01-31 12:30:00-05:00, with 24 hours".to_owned(),
    },
    Notation {
        is_so: |text, _| is_like_a_date(text) && !is_impossible_date(text),
        among: Some(Value::Date),
        what: "dates",
        remedy: write_dates,
    },
    Notation {
        is_so: |text, _| is_other_iso_timestamp(text),
        among: Some(Value::Date),
        what: "timestamps in another form of ISO 8601",
        remedy: |_, _| "write 2026-01-31T12:30:00Z".to_owned(),
    },
    Notation {
        is_so: |text, _| has_a_month_name(text),
        among: Some(Value::Date),
        what: "dates with the name of a month",
        remedy: write_dates,
    },
    Notation {
        is_so: |text, _| is_month(text),
        among: Some(Value::Date),
        what: "months",
        remedy: |_, _| "write the first day of each month, 2026-01-01".to_owned(),
    },
    Notation {
        is_so: |text, _| is_time_of_day(text),
        among: None,
        what: "times of day",
        remedy: |_, _| "write a timestamp, or the hours as a number".to_owned(),
    },
    Notation {
        is_so: has_points_between_thousands,
        among: Some(Value::Number),
        what: "numbers with points between thousands",
        remedy: remove_points,
    },
    Notation {
        is_so: has_decimal_point_under_comma,
        among: Some(Value::Number),
        what: "numbers with a decimal point",
        remedy: |_, _| "write 1234,5, or leave out --decimal , (DECIMAL)".to_owned(),
    },
    Notation {
        is_so: |text, _| has_comma(text),
        among: Some(Value::Number),
        what: "numbers with commas",
        remedy: remedy_for_commas,
    },
    Notation {
        is_so: |text, _| is_grouped_number(text),
        among: Some(Value::Number),
        what: "numbers with separated thousands",
        remedy: |_, writing| write_number(writing, ""),
    },
    Notation {
        is_so: |text, _| has_suffix_for_thousands(text),
        among: Some(Value::Number),
        what: "numbers with a suffix for thousands or millions",
        remedy: |_, _| "write all digits, 500 instead of 0.5K".to_owned(),
    },
    Notation {
        is_so: |text, _| is_accounting_number(text),
        among: Some(Value::Number),
        what: "numbers with parentheses or another minus sign",
        remedy: |_, writing| write_number(writing, "-"),
    },
    Notation {
        is_so: |text, _| is_short_date(text) && !is_impossible_date(text),
        among: Some(Value::Date),
        what: "dates with two digits for the year",
        remedy: write_dates,
    },
    Notation {
        is_so: |text, _| unit(text).is_some(),
        among: Some(Value::Number),
        what: UNITS,
        remedy: |_, _| "write the number alone".to_owned(),
    },
];

fn write_dates(_: &str, _: Writing) -> String {
    "write dates as 2026-01-31, timestamps as 2026-01-31 12:30:00".to_owned()
}

fn write_number(writing: Writing, sign: &str) -> String {
    format!("write {sign}1234{}5", char::from(writing.format.decimal))
}

/// Under a decimal comma a number such as `3.821` may have its point before thousands or before the fraction.
fn remove_points(example: &str, writing: Writing) -> String {
    let or_leave_out = match writing.has_decimal_comma() && !example.contains(',') {
        true => ", or leave out --decimal , (DECIMAL) if they stand before the fraction",
        false => "",
    };
    format!("remove the points that separate thousands{or_leave_out}")
}

fn remedy_for_commas(example: &str, writing: Writing) -> String {
    let (comma, point) = (example.find(','), example.rfind('.'));
    let separates_thousands = point > comma || example.matches(',').count() > 1;
    match (writing.has_decimal_comma(), separates_thousands) {
        (true, true) if point.is_some() => {
            "remove the commas that separate thousands, and leave out --decimal , (DECIMAL)".to_owned()
        }
        (_, true) => "remove the commas that separate thousands".to_owned(),
        (false, false) if writing.is_csv && point.is_some() => {
            "remove the points that separate thousands, and give --decimal , (DECIMAL)".to_owned()
        }
        (false, false) if writing.is_csv => {
            "write 1234.5, or give --decimal , (DECIMAL) where the comma stands before the fraction".to_owned()
        }
        _ => write_number(writing, ""),
    }
}

/// What seems wrong with a column of text, to be read after its name; nothing where it seems to be meant as text. `levels`
/// are its different texts, most frequent first.
#[must_use]
pub fn hint(levels: &[Level<'_>], writing: Writing) -> Option<String> {
    let values = without_markers(levels);
    if let Some((notation, example)) = notation_of(&values, writing) {
        let (what, remedy) = (notation.what, (notation.remedy)(example, writing));
        let example = shown(example);
        return Some(format!("seems to hold {what}, such as {example}, but is text, a category for each: {remedy}"));
    }
    let rows_of = |value: Value| {
        let alike = values.iter().filter(|(text, _)| Value::of(text, writing.format) == Some(value));
        alike.map(|(_, rows)| rows).sum::<u64>()
    };
    let most = Value::ALL.into_iter().max_by_key(|value| rows_of(*value)).filter(|value| rows_of(*value) > 0)?;
    let (fit, strays): (Vec<_>, Vec<_>) =
        values.iter().copied().partition(|(text, _)| Value::of(text, writing.format) == Some(most));
    if strays.is_empty() {
        return if writing.is_csv { None } else { Some(written_as_text(most, &fit)) };
    }
    are_strays(&fit, &strays, most).then(|| because_of_strays(&strays, rows(&values), most, writing))
}

/// What to do about texts that were to be values of another type; nothing where they are in no notation that is known.
#[must_use]
pub fn remedy(levels: &[Level<'_>], writing: Writing) -> Option<String> {
    let values = without_markers(levels);
    notation_of(&values, writing).map(|(notation, example)| (notation.remedy)(example, writing))
}

/// Whether all texts are dates or months, in whatever notation.
#[must_use]
pub fn are_dates(levels: &[Level<'_>]) -> bool {
    let is_date = |text: &str| parse_timestamp(text).is_some() || is_month(text) || is_like_a_date(text);
    !levels.is_empty() && levels.iter().all(|(text, _)| is_date(text))
}

/// A text between quotes for a message, cut where it is long.
#[must_use]
pub fn shown(text: &str) -> String {
    let start: String = text.chars().take(SHOWN_CHARACTERS).collect();
    format!("\"{}\"", without_control_characters(&start))
}

fn without_markers<'a>(levels: &[Level<'a>]) -> Vec<Level<'a>> {
    levels.iter().copied().filter(|(text, _)| !is_missing_marker(text)).collect()
}

fn rows(levels: &[Level<'_>]) -> u64 {
    levels.iter().map(|(_, rows)| rows).sum()
}

/// The notation that nearly all texts have that cannot be read, and the most frequent of them.
fn notation_of<'a>(values: &[Level<'a>], writing: Writing) -> Option<(&'static Notation, &'a str)> {
    let format = writing.format;
    let all = rows(values) as f64;
    NOTATIONS.iter().find_map(|notation| {
        let is_unread = |text: &str| (notation.is_so)(text, format) && Value::of(text, format).is_none();
        let (example, _) = values.iter().find(|(text, _)| is_unread(text))?;
        let is_among = |text: &str| match (Value::of(text, format), notation.among) {
            (Some(_), None) => true,
            (value, among) => value.is_some() && value == among,
        };
        // Of numbers with a unit all have the same one, and none stands without.
        let unit_of_all = if notation.what == UNITS { unit(example) } else { None };
        let is_alike = |text: &str| match unit_of_all {
            Some(of_all) => unit(text) == Some(of_all),
            None => is_among(text) || (notation.is_so)(text, format),
        };
        let alike: u64 = values.iter().filter(|(text, _)| is_alike(text)).map(|(_, rows)| rows).sum();
        (alike as f64 >= ALIKE * all).then_some((notation, *example))
    })
}

/// Whether so few texts are no values of the kind that most are that they stand among them by mistake.
fn are_strays(fit: &[Level<'_>], strays: &[Level<'_>], most: Value) -> bool {
    let are_few = rows(strays) * STRAYS <= rows(fit) + rows(strays);
    let are_few_texts = strays.len() <= STRAY_TEXTS && fit.len() >= NUMBERS_PER_STRAY_TEXT * strays.len();
    let are_all_truths = most == Value::Boolean && strays.iter().all(|(text, _)| parse_boolean(text).is_some());
    let are_no_values =
        most != Value::Boolean && fit.len() > 1 && strays.iter().all(|(text, _)| stands_for_no_value(text));
    are_few || are_few_texts || are_all_truths || are_no_values
}

/// Whether a text says that there is no value, in a way that is not read as such: an error of Excel, a word or a sign.
fn stands_for_no_value(text: &str) -> bool {
    const WORDS: [&str; 20] = [
        "unknown",
        "missing",
        "undefined",
        "unspecified",
        "unavailable",
        "not available",
        "not applicable",
        "n.a.",
        "nat",
        "none",
        "null",
        "nil",
        "tbd",
        "inf",
        "-inf",
        "infinity",
        "-infinity",
        "?",
        "--",
        "...",
    ];
    let text = text.trim();
    let is_excel_error = text.starts_with('#') && text.ends_with(['!', '?', 'A']);
    is_excel_error || WORDS.contains(&text.to_ascii_lowercase().as_str())
}

fn written_as_text(value: Value, levels: &[Level<'_>]) -> String {
    let example = levels.first().map(|(text, _)| shown(text)).unwrap_or_default();
    format!(
        "holds {} written as text (such as {example}): cast it to {} where it is written, or name it in \"categorical\" if it \
         is a code",
        value.plural(),
        value.singular()
    )
}

/// A few texts among values of one kind.
fn because_of_strays(strays: &[Level<'_>], all: u64, most: Value, writing: Writing) -> String {
    let texts: Vec<String> = strays.iter().take(SHOWN_TEXTS).map(|(text, _)| shown(text)).collect();
    let (stray, texts, kind) = (rows(strays), texts.join(", "), most.plural());
    let cells = format!("{stray} of the {all} training cells that are not missing");
    if writing.is_csv {
        return format!(
            "is text because of {cells} (such as {texts}); the others are {kind}. Leave those cells empty to have a column of \
             {kind}"
        );
    }
    format!(
        "holds {kind} written as text, but for {cells} (such as {texts}): leave those empty and cast it to {} where it is \
         written",
        most.singular()
    )
}

#[cfg(test)]
mod tests;
