//! Columns of text that seem to be meant as numbers, dates or booleans: each value becomes a category, and the model much worse.
//!
//! What is looked at are the different texts of a column and how often each comes, whatever format it was read from.

use super::CellFormat;
use super::cells::{is_missing_marker, parse_boolean, parse_number, parse_time_of_day, parse_timestamp};
use error::text::without_control_characters;

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

static NOTATIONS: [Notation; 14] = [
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
    Notation { is_so: |text, _| is_like_a_date(text), among: Some(Value::Date), what: "dates", remedy: write_dates },
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
        is_so: |text, _| is_short_date(text),
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
    are_few || are_few_texts || are_all_truths
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

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `31.01.2026`, `1/31/26`, `2026/01/31`, with a time behind it or not. ISO 8601 is not text.
fn is_like_a_date(text: &str) -> bool {
    has_date_parts(text, &['.', '/', '-'], 2)
}

/// `24-1-5`.
fn is_short_date(text: &str) -> bool {
    has_date_parts(text, &['-', '/', '.'], 1)
}

/// Whether a text has three numbers that may be day, month and year; the year has as many digits at least.
fn has_date_parts(text: &str, signs: &[char], year_digits: usize) -> bool {
    let date = text.trim().split([' ', 'T']).next().unwrap_or_default();
    signs.iter().any(|&sign| {
        let parts: Vec<&str> = date.split(sign).collect();
        let [first, second, third] = parts.as_slice() else { return false };
        if !parts.iter().all(|part| is_digits(part)) {
            return false;
        }
        let (day, month) = match (first.len(), third.len()) {
            (1 | 2, 2 | 4) => (first, second),
            (4, 1 | 2) => (third, second),
            (2, 1) if year_digits == 1 => (third, second),
            _ => return false,
        };
        let number = |part: &str| part.parse::<u32>().unwrap_or(u32::MAX);
        // Days before months or after them.
        let (day, month) = (number(day), number(month));
        (1..=12).contains(&day.min(month)) && day.max(month) <= 31
    })
}

/// `31 Jan 2026`, `Jan 31, 2026`, `31-Jan-26`, `January 2026`, in English, German, French, Spanish, Italian or Dutch.
fn has_a_month_name(text: &str) -> bool {
    const MONTHS: [&str; 62] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "januar",
        "jänner",
        "februar",
        "märz",
        "maerz",
        "mai",
        "juni",
        "juli",
        "oktober",
        "dezember",
        "janvier",
        "février",
        "fevrier",
        "mars",
        "avril",
        "juin",
        "juillet",
        "août",
        "aout",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
        "decembre",
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
        "gennaio",
        "febbraio",
        "aprile",
        "maggio",
        "giugno",
        "luglio",
        "settembre",
        "ottobre",
        "dicembre",
        "januari",
        "februari",
        "maart",
        "mei",
        "augustus",
    ];
    let words: Vec<&str> = text.split(|sign: char| !sign.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_month = |word: &&str| {
        let lower = word.to_lowercase();
        let is_abbreviation = |month: &&str| month.starts_with(lower.as_str()) || (lower == "sept" || lower == "mrz");
        word.chars().count() >= 3 && MONTHS.iter().any(is_abbreviation)
    };
    let numbers = words.iter().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit())).count();
    // A time may stand behind it, and `st`, `th` behind the day.
    (2..=8).contains(&words.len()) && words.iter().filter(|word| is_month(word)).count() == 1 && numbers >= 1 && {
        let others = words.iter().filter(|word| !is_month(word));
        others
            .into_iter()
            .all(|word| word.starts_with(|sign: char| sign.is_ascii_digit()) || word.len() <= 3 || is_weekday(word))
    }
}

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 40] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "montag",
        "dienstag",
        "mittwoch",
        "donnerstag",
        "freitag",
        "samstag",
        "sonnabend",
        "sonntag",
        "lundi",
        "mardi",
        "mercredi",
        "jeudi",
        "vendredi",
        "samedi",
        "dimanche",
        "lunes",
        "martes",
        "miércoles",
        "jueves",
        "viernes",
        "sábado",
        "domingo",
        "lunedì",
        "martedì",
        "mercoledì",
        "giovedì",
        "venerdì",
        "sabato",
        "domenica",
        "maandag",
        "woensdag",
        "vrijdag",
        "zondag",
    ];
    let lower = word.to_lowercase();
    DAYS.contains(&lower.as_str()) || ["tues", "thur", "thurs"].contains(&lower.as_str())
}

/// `2024-01`, `2024/01`, `01/2024`, `01-2024`.
fn is_month(text: &str) -> bool {
    let text = text.trim();
    ['-', '/'].iter().any(|&sign| {
        let Some((first, second)) = text.split_once(sign) else { return false };
        let (year, month) = if first.len() == 4 { (first, second) } else { (second, first) };
        let is_in = |digits: &str, from: u32, to: u32| {
            is_digits(digits) && digits.parse::<u32>().is_ok_and(|number| (from..=to).contains(&number))
        };
        year.len() == 4 && month.len() <= 2 && is_in(year, 1800, 2200) && is_in(month, 1, 12)
    })
}

/// `="00123"`, which Excel reads as text.
fn is_excel_formula(text: &str) -> bool {
    let text = text.trim();
    text.len() >= 3 && text.starts_with("=\"") && text.ends_with('"')
}

/// `2026-01-31 12:30 EST`, `2026-01-31T12:30:00+01:00[Europe/Berlin]`, `1/31/2026 12:30 PM`.
fn has_zone_name_or_half(text: &str) -> bool {
    let text = text.trim();
    let Some((date, time)) = text.split_once([' ', 'T']) else { return false };
    let is_date = parse_timestamp(date).is_some() || is_like_a_date(date);
    let letters = time.trim_end_matches(|sign: char| sign.is_ascii_alphabetic() || sign == '.');
    let word = &time[letters.len()..];
    let is_half = ["am", "pm", "a.m.", "p.m."].contains(&word.to_ascii_lowercase().as_str());
    let is_zone = (2..=5).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_region =
        time.ends_with(']') || (word.len() > 2 && letters.trim_end_matches(['_', '/']).ends_with(char::is_alphabetic));
    is_date && time.contains(':') && (is_half || is_zone || is_region)
}

fn is_time_of_day(text: &str) -> bool {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let clock = ["am", "pm", "a.m.", "p.m."].iter().find_map(|half| lower.strip_suffix(half)).unwrap_or(&lower);
    text.contains(':') && parse_time_of_day(clock.trim_end()).is_some()
}

/// `1234,56`, `1.234,56` and `1,234.56`.
fn has_comma(text: &str) -> bool {
    text.contains(',') && is_number_with_commas(text)
}

/// `1.000.000`, and where a comma stands before the fraction `1.000` and `1.234,56`, too.
fn has_points_between_thousands(text: &str, format: CellFormat) -> bool {
    let text = text.trim();
    let is_enough = format.decimal == b',' || (text.matches('.').count() > 1 && !text.contains(','));
    is_enough && !text.trim_start_matches(['-', '+']).starts_with("0.") && is_in_groups(text, '.') && {
        parse_number(&text.replace('.', ""), format).is_some()
    }
}

/// `1.5`, where a comma stands before the fraction.
fn has_decimal_point_under_comma(text: &str, format: CellFormat) -> bool {
    format.decimal == b',' && text.contains('.') && is_plain_number(text)
}

fn is_number_with_commas(text: &str) -> bool {
    let Some(comma) = text.find(',') else { return is_plain_number(text) };
    let number = match text.rfind('.') {
        Some(point) if point < comma => text.replace('.', "").replacen(',', ".", 1),
        Some(_) => text.replace(',', ""),
        None if text.matches(',').count() > 1 && is_in_groups(text, ',') => text.replace(',', ""),
        None => text.replacen(',', ".", 1),
    };
    is_plain_number(&number)
}

fn is_plain_number(text: &str) -> bool {
    parse_number(text, CellFormat::default()).is_some()
}

/// Signs between thousands besides commas and points: blanks of several widths, apostrophes, underscores.
const THOUSANDS: [char; 7] = [' ', '\u{a0}', '\u{202f}', '\u{2009}', '\'', '\u{2019}', '_'];

/// `1 234,56` as French writes it, `1'234.50` as Swiss.
fn is_grouped_number(text: &str) -> bool {
    let text = text.trim();
    let Some(sign) = THOUSANDS.into_iter().find(|sign| text.contains(*sign)) else { return false };
    is_in_groups(text, sign) && is_number_with_commas(&text.replace(sign, ""))
}

/// Whether the whole part is in groups of three digits.
fn is_in_groups(text: &str, sign: char) -> bool {
    let whole = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = match sign {
        ',' => whole.split('.').next(),
        '.' => whole.split(',').next(),
        _ => whole.split([',', '.']).next(),
    };
    let mut groups = whole.unwrap_or_default().split(sign);
    let first = groups.next().unwrap_or_default();
    let mut rest = groups.peekable();
    is_digits(first)
        && first.len() <= 3
        && rest.peek().is_some()
        && rest.all(|group| group.len() == 3 && is_digits(group))
}

/// `1.5K`, `2M`, `3 bn`, `0 Mio`.
fn has_suffix_for_thousands(text: &str) -> bool {
    const SUFFIXES: [&str; 10] = ["k", "m", "b", "g", "t", "bn", "mn", "mio", "mrd", "tsd"];
    let lower = text.trim().to_lowercase();
    let suffixed = |suffix: &&str| {
        lower.strip_suffix(*suffix).is_some_and(|number| {
            number.ends_with(|sign: char| sign.is_ascii_digit() || sign == ' ') && is_amount(without_currency(number))
        })
    };
    SUFFIXES.iter().any(suffixed)
}

fn without_currency(text: &str) -> &str {
    text.trim_start_matches(['$', '€', '£', '¥', ' '])
}

fn is_amount(text: &str) -> bool {
    is_number_with_commas(text.trim()) || is_grouped_number(text)
}

/// `(1,234.50)`, `1234-`, `−5` with a typographic minus.
fn is_accounting_number(text: &str) -> bool {
    const MINUS_SIGNS: [char; 4] = ['\u{2212}', '\u{2012}', '\u{2013}', '\u{2014}'];
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return is_amount(without_currency(inner));
    }
    if text.starts_with(MINUS_SIGNS) {
        return is_amount(without_currency(text.trim_start_matches(MINUS_SIGNS)));
    }
    let Some(number) = text.strip_suffix('-') else { return false };
    is_digits(number.get(..1).unwrap_or_default()) && is_amount(number)
}

/// What stands before a number, a sign of currency or its three letters, and behind it: such a sign, per cent, a unit of
/// measurement, or a word after a blank. Codes such as `A12` and `Q4` have none.
fn unit(text: &str) -> Option<(&str, &str)> {
    const GLUED: [&str; 24] = [
        "kg", "g", "mg", "km", "m", "cm", "mm", "ml", "l", "h", "min", "s", "ms", "kb", "mb", "gb", "tb", "kw", "kwh",
        "mph", "kmh", "lb", "lbs", "oz",
    ];
    const CURRENCIES: [&str; 12] = ["EUR", "USD", "GBP", "CHF", "JPY", "SEK", "NOK", "DKK", "PLN", "CAD", "AUD", "INR"];
    let text = text.trim();
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let number_start = text.find(|sign: char| sign.is_ascii_digit() || sign == '.' || sign == '-')?;
    let (before, rest) = text.split_at(number_start);
    let number_end = rest.rfind(|sign: char| sign.is_ascii_digit() || sign == '.')? + 1;
    let (number, behind) = rest.split_at(number_end);
    let is_sign = |text: &str| matches!(text.trim(), "$" | "€" | "£" | "¥" | "%" | "‰" | "°" | "°C" | "°F");
    let is_currency = |text: &str| CURRENCIES.contains(&text.trim());
    let is_word = || behind.starts_with([' ', '\u{a0}', '\u{202f}']) && behind.trim().chars().all(char::is_alphabetic);
    let is_glued = || GLUED.contains(&behind.to_lowercase().as_str());
    let is_unit = match (before.is_empty(), behind.is_empty()) {
        (true, false) => is_sign(behind) || is_currency(behind) || is_word() || is_glued(),
        (false, true) => is_sign(before) || is_currency(before),
        _ => false,
    };
    (is_unit && (is_number_with_commas(number) || is_grouped_number(number))).then_some((before.trim(), behind.trim()))
}

#[cfg(test)]
mod tests;
