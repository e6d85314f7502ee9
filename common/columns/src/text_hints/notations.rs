//! How numbers, dates and times are written that are none to the readers: one predicate for each notation.

use crate::CellFormat;
use crate::cells::{parse_number, parse_time_of_day, parse_timestamp};

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `31.01.2026`, `1/31/26`, `2026/01/31`, with a time behind it or not. ISO 8601 is not text.
pub(super) fn is_like_a_date(text: &str) -> bool {
    has_date_parts(text, &['.', '/', '-'], 2)
}

/// `24-1-5`.
pub(super) fn is_short_date(text: &str) -> bool {
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

/// `2024-02-30` and `2024-01-31 24:00:00`: written as dates are, but of no calendar.
pub(super) fn is_impossible_date(text: &str) -> bool {
    let text = text.trim();
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, ""));
    let parts: Vec<usize> = date.split('-').filter(|part| is_digits(part)).map(str::len).collect();
    parts == [4, 2, 2] && (parse_timestamp(date).is_none() || time.starts_with("24"))
}

/// `20240131T123000Z`, the basic form of ISO 8601, and `2024-01-31t12:30:00z`, as RFC 3339 allows it.
pub(super) fn is_other_iso_timestamp(text: &str) -> bool {
    let text = text.trim();
    if text.contains(['t', 'z']) {
        return parse_timestamp(&text.to_ascii_uppercase()).is_some();
    }
    let Some((date, time)) = text.split_once('T') else { return false };
    let clock = time.strip_suffix('Z').unwrap_or(time).split(['+', '-', '.', ',']).next().unwrap_or_default();
    if date.len() != 8 || !is_digits(date) || !is_digits(clock) || ![2, 4, 6].contains(&clock.len()) {
        return false;
    }
    parse_timestamp(&format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..])).is_some()
}

/// `31JAN2024` and `31JAN2024:12:30:00`, as SAS writes them.
fn is_glued_date(text: &str) -> bool {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let date = text.trim().split(':').next().unwrap_or_default();
    let month = date.trim_start_matches(|sign: char| sign.is_ascii_digit());
    let day = &date[..date.len() - month.len()];
    let Some((month, year)) = month.split_at_checked(3) else { return false };
    let is_day = day.len() <= 2 && day.parse().is_ok_and(|day: u32| (1..=31).contains(&day));
    is_day && MONTHS.contains(&month.to_ascii_lowercase().as_str()) && [2, 4].contains(&year.len()) && is_digits(year)
}

/// `31 Jan 2026`, `Jan 31, 2026`, `31-Jan-26`, `January 2026`, in English, German, French, Spanish, Italian or Dutch.
pub(super) fn has_a_month_name(text: &str) -> bool {
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
    if is_glued_date(text) {
        return true;
    }
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
pub(super) fn is_month(text: &str) -> bool {
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
pub(super) fn is_excel_formula(text: &str) -> bool {
    let text = text.trim();
    text.len() >= 3 && text.starts_with("=\"") && text.ends_with('"')
}

/// `2026-01-31 12:30 EST`, `2026-01-31T12:30:00+01:00[Europe/Berlin]`, `1/31/2026 12:30 PM`.
pub(super) fn has_zone_name_or_half(text: &str) -> bool {
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

pub(super) fn is_time_of_day(text: &str) -> bool {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let clock = ["am", "pm", "a.m.", "p.m."].iter().find_map(|half| lower.strip_suffix(half)).unwrap_or(&lower);
    text.contains(':') && parse_time_of_day(clock.trim_end()).is_some()
}

/// `1234,56`, `1.234,56` and `1,234.56`.
pub(super) fn has_comma(text: &str) -> bool {
    text.contains(',') && is_number_with_commas(text)
}

/// `1.000.000`, and where a comma stands before the fraction `1.000` and `1.234,56`, too.
pub(super) fn has_points_between_thousands(text: &str, format: CellFormat) -> bool {
    let text = text.trim();
    let is_enough = format.decimal == b',' || (text.matches('.').count() > 1 && !text.contains(','));
    is_enough && !text.trim_start_matches(['-', '+']).starts_with("0.") && is_in_groups(text, '.') && {
        parse_number(&text.replace('.', ""), format).is_some()
    }
}

/// `1.5`, where a comma stands before the fraction.
pub(super) fn has_decimal_point_under_comma(text: &str, format: CellFormat) -> bool {
    format.decimal == b',' && text.contains('.') && is_plain_number(text)
}

fn is_number_with_commas(text: &str) -> bool {
    let Some(comma) = text.find(',') else { return is_plain_number(text) };
    let number = match text.rfind('.') {
        Some(point) if point < comma => text.replace('.', "").replacen(',', ".", 1),
        Some(_) => text.replace(',', ""),
        None if text.matches(',').count() > 1 && (is_in_groups(text, ',') || is_in_indian_groups(text)) => {
            text.replace(',', "")
        }
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
pub(super) fn is_grouped_number(text: &str) -> bool {
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

/// `12,34,567`: two digits in every group but the last.
fn is_in_indian_groups(text: &str) -> bool {
    let groups: Vec<&str> = text.trim().strip_prefix(['-', '+']).unwrap_or(text.trim()).split(',').collect();
    let [first, middle @ .., last] = groups.as_slice() else { return false };
    let is_of = |group: &str, lengths: &[usize]| is_digits(group) && lengths.contains(&group.len());
    is_of(first, &[1, 2]) && middle.iter().all(|group| is_of(group, &[2])) && is_of(last, &[3])
}

/// `1.5K`, `2M`, `3 bn`, `0 Mio`.
pub(super) fn has_suffix_for_thousands(text: &str) -> bool {
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
pub(super) fn is_accounting_number(text: &str) -> bool {
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
pub(super) fn unit(text: &str) -> Option<(&str, &str)> {
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
