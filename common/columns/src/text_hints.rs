//! Columns of text that seem to be meant as numbers or dates: each value becomes a category, and the model much worse.
//!
//! What is looked at are the different texts of a column and how often each comes, whatever format it was read from.

use super::CellFormat;
use super::cells::{is_missing_marker, parse_number, parse_time_of_day, parse_timestamp};

/// Share of a column's rows (markers of missing values apart) that have to look alike: a stray cell does not hide the rest.
const ALIKE: f64 = 0.95;
/// One stray cell among so many others makes a column of numbers text by mistake.
const STRAYS: u64 = 20;
/// Most different texts that stand among numbers by mistake: more of them are values.
const STRAY_TEXTS: usize = 5;
/// Of a column of categories such as `1`, `2`, `A` some are numbers, too, but not so many different ones.
const NUMBERS_PER_STRAY_TEXT: usize = 10;

/// A text of a column and in how many rows it stands.
pub type Level<'a> = (&'a str, u64);

/// What a text seems to be meant as.
struct Notation {
    /// Whether a text is written so.
    is_so: fn(&str) -> bool,
    /// What the texts seem to hold.
    what: &'static str,
    /// What to do about it.
    remedy: &'static str,
}

const NOTATIONS: [Notation; 7] = [
    Notation { is_so: is_like_a_date, what: "dates", remedy: "write dates as 2026-01-31" },
    Notation { is_so: has_a_month_name, what: "dates with the name of a month", remedy: "write dates as 2026-01-31" },
    Notation { is_so: is_time_of_day, what: "times of day", remedy: "write a timestamp, or the hours as a number" },
    Notation {
        is_so: has_decimal_comma,
        what: "numbers with commas",
        remedy: "write 1234.5, or give --decimal , (DECIMAL) where the comma stands before the fraction",
    },
    Notation { is_so: is_grouped_number, what: "numbers with separated thousands", remedy: "write 1234.5" },
    Notation {
        is_so: is_accounting_number,
        what: "numbers with parentheses, another minus sign or a suffix for thousands",
        remedy: "write -1234.5",
    },
    Notation { is_so: is_short_date, what: "dates with two digits for the year", remedy: "write dates as 2026-01-31" },
];

/// What is doubtful about a column of text, to be read after its name; nothing where it seems to be meant as text. `levels`
/// are its different texts, most frequent first.
#[must_use]
pub fn doubt(levels: &[Level<'_>], format: CellFormat) -> Option<String> {
    let values: Vec<Level<'_>> = levels.iter().copied().filter(|(text, _)| !is_missing_marker(text)).collect();
    let rows = |levels: &[Level<'_>]| levels.iter().map(|(_, rows)| rows).sum::<u64>();
    let all = rows(&values);
    if all == 0 {
        return None;
    }
    let is_number = |text: &str| parse_number(text, format).is_some();
    let is_value = |text: &str| is_number(text) || parse_timestamp(text).is_some();
    if let Some(strays) = strays(&values, is_value) {
        return Some(strays);
    }
    for Notation { is_so, what, remedy } in NOTATIONS {
        let example = values.iter().find(|(text, _)| is_so(text) && !is_value(text));
        let alike: Vec<_> = values.iter().copied().filter(|(text, _)| is_so(text) || is_number(text)).collect();
        if let Some((example, _)) = example
            && rows(&alike) as f64 >= ALIKE * all as f64
        {
            return Some(format!(
                "seems to hold {what}, such as \"{example}\", but is text, a category for each: {remedy}"
            ));
        }
    }
    let (unit, example) = values.iter().find_map(|(text, _)| Some((unit(text)?, *text)))?;
    let alike: Vec<_> = values.iter().copied().filter(|(text, _)| self::unit(text).as_ref() == Some(&unit)).collect();
    (rows(&alike) as f64 >= ALIKE * all as f64).then(|| {
        format!("seems to hold numbers with a unit, such as \"{example}\", but is text, a category for each: write the number alone")
    })
}

/// A few texts among numbers or dates.
fn strays(values: &[Level<'_>], is_value: impl Fn(&str) -> bool) -> Option<String> {
    let (fit, strays): (Vec<_>, Vec<_>) = values.iter().copied().partition(|(text, _)| is_value(text));
    let (example, _) = *strays.first()?;
    let rows = |levels: &[Level<'_>]| levels.iter().map(|(_, rows)| rows).sum::<u64>();
    let (stray, all) = (rows(&strays), rows(values));
    let are_few = stray * STRAYS <= all;
    let are_few_texts = strays.len() <= STRAY_TEXTS && fit.len() >= NUMBERS_PER_STRAY_TEXT * strays.len();
    (are_few || are_few_texts).then(|| {
        format!(
            "is text because of {stray} of {all} cells, such as \"{example}\"; the others are numbers or dates. Leave those \
             cells empty to have a column of numbers or dates"
        )
    })
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
        day.min(month) <= 12 && day.max(month) <= 31
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
        others.into_iter().all(|word| word.starts_with(|sign: char| sign.is_ascii_digit()) || word.len() <= 3)
    }
}

fn is_time_of_day(text: &str) -> bool {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let clock = ["am", "pm", "a.m.", "p.m."].iter().find_map(|half| lower.strip_suffix(half)).unwrap_or(&lower);
    text.contains(':') && parse_time_of_day(clock.trim_end()).is_some()
}

/// `1234,56`, `1.234,56` and `1,234.56`.
fn has_decimal_comma(text: &str) -> bool {
    text.contains(',') && is_number_with_commas(text)
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

/// `(1,234.50)`, `1234-`, `−5` with a typographic minus, `1.5K`, `2M`, `3 bn`.
fn is_accounting_number(text: &str) -> bool {
    const MINUS_SIGNS: [char; 4] = ['\u{2212}', '\u{2012}', '\u{2013}', '\u{2014}'];
    const SUFFIXES: [&str; 10] = ["k", "m", "b", "g", "t", "bn", "mn", "mio", "mrd", "tsd"];
    let text = text.trim();
    let is_number = |text: &str| is_number_with_commas(text.trim()) || is_grouped_number(text);
    let without = |text: &str| text.trim_start_matches(['$', '€', '£', '¥', ' ']).to_owned();
    if let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return is_number(&without(inner));
    }
    if text.starts_with(MINUS_SIGNS) {
        return is_number(&without(text.trim_start_matches(MINUS_SIGNS)));
    }
    if let Some(number) = text.strip_suffix('-') {
        return is_digits(number.get(..1).unwrap_or_default()) && is_number(number);
    }
    let lower = text.to_lowercase();
    let suffixed = |suffix: &&str| {
        lower.strip_suffix(*suffix).is_some_and(|number| {
            number.ends_with(|sign: char| sign.is_ascii_digit() || sign == ' ') && is_number(&without(number))
        })
    };
    SUFFIXES.iter().any(suffixed)
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
mod tests {
    use super::*;

    fn doubt_of(texts: &[&str]) -> String {
        let levels: Vec<Level<'_>> = texts.iter().map(|text| (*text, 1)).collect();
        doubt(&levels, CellFormat::default()).unwrap_or_default()
    }

    #[test]
    fn dates_of_other_kinds_are_doubtful() {
        for date in ["31.01.2026", "1/31/26", "2026/01/31", "31-01-2026", "31.01.2026 12:30", "24-1-5"] {
            assert!(doubt_of(&[date]).contains("seems to hold dates"), "{date}");
        }
        for date in [
            "31 Jan 2026",
            "Jan 31, 2026",
            "31-Jan-26",
            "January 2026",
            "3. März 2026",
            "31st January 2026 10:00",
            "5 août 2024",
        ] {
            assert!(doubt_of(&[date]).contains("name of a month"), "{date}");
        }
        for text in
            ["192.168.0.1", "1.2.3", "tomorrow", "a/b/c", "20-45-53", "//", "Maria 7", "May", "Martin Mayer", "mark 2"]
        {
            assert_eq!(doubt_of(&[text]), "", "{text}");
        }
    }

    #[test]
    fn times_alone_are_doubtful() {
        for time in ["12:30", "12:30:59", "7:05 pm", "07:05PM"] {
            assert!(doubt_of(&[time]).contains("times of day"), "{time}");
        }
        assert_eq!(doubt_of(&["12:75", "a:b"]), "");
    }

    #[test]
    fn numbers_in_other_notations_are_doubtful() {
        for number in ["-1,5", "1.234,50", "1,234.50", "1,234,567"] {
            assert!(
                doubt_of(&["12", number]).contains(&format!("numbers with commas, such as \"{number}\"")),
                "{number}"
            );
        }
        for number in ["1 234,56", "1\u{a0}234", "1\u{202f}234,5", "1'234.50", "1\u{2019}234"] {
            assert!(doubt_of(&[number]).contains("separated thousands"), "{number}: {}", doubt_of(&[number]));
        }
        for number in ["(123.45)", "($1,234.50)", "\u{2212}5", "\u{2013}1,5", "1.5K", "2M", "3 bn", "1234-"] {
            assert!(doubt_of(&[number]).contains("parentheses"), "{number}: {}", doubt_of(&[number]));
        }
        for text in ["a,b", "52.5,13.4", "1.2.3", ",", "(a)", "12 34", "1-", "K", "A1K"] {
            let doubt = doubt_of(&["1,5", text, text, "x1", "x2"]);
            assert_eq!(doubt, "", "{text}");
        }
    }

    #[test]
    fn numbers_with_a_unit_are_doubtful() {
        for cells in [
            ["13.9%", "7 %"],
            ["$1,500.00", "-$3"],
            ["36 months", "60 months"],
            [" 5 €", "5,5€"],
            ["£.5", "£ 12"],
            ["5kg", "7.5kg"],
            ["EUR 5", "EUR 7"],
            ["20 °C", "21 °C"],
        ] {
            let doubt = doubt_of(&cells);
            assert!(doubt.contains(&format!("with a unit, such as \"{}\"", cells[0])), "{cells:?}: {doubt}");
        }
        for text in ["A12", "12A", "Q4", "7 or 8", "1st", "%", "$", "$a", "5 m2", "1.2.3 km", "9 years"] {
            assert_eq!(doubt_of(&["36 months", text]), "", "{text}");
        }
        assert_eq!(doubt_of(&["zone 7", "zone 8"]), "");
    }

    #[test]
    fn a_few_words_among_numbers_are_doubtful() {
        let doubt = doubt(&[("1.5", 39), ("unknown", 1)], CellFormat::default()).unwrap();
        assert!(doubt.contains("because of 1 of 40 cells, such as \"unknown\""), "{doubt}");
        // Also where they are many cells, but all the same few words.
        let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let mut levels: Vec<Level<'_>> = numbers.iter().map(|number| (number.as_str(), 1)).collect();
        levels.extend([("NA", 30), ("missing", 50)]);
        let doubt = super::doubt(&levels, CellFormat::default()).unwrap();
        assert!(doubt.contains("because of 50 of 150 cells, such as \"missing\""), "{doubt}");
        assert_eq!(doubt_of(&["1", "red", "blue"]), "");
        assert_eq!(doubt_of(&["1", "2", "3", "A"]), "");
        assert_eq!(doubt_of(&[]), "");
        assert_eq!(doubt_of(&["NA", "-"]), "");
    }
}
