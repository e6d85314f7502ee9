//! Numbers and texts as people read them.

/// A number with four significant digits: `12,345`, `0.9213`, `1.234e-7`; a dash where it is none.
#[must_use]
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..=9.0).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = (3.0 - magnitude).clamp(0.0, 7.0) as usize;
    let text = format!("{value:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    grouped(text)
}

/// A number beside an axis: `60k`, `1.5M`.
#[must_use]
pub fn tick(value: f64) -> String {
    let size = value.abs();
    for (unit, letter) in [(1e12_f64, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if size >= unit.max(10_000.0) && size < 1e15 {
            return figure(value / unit) + letter;
        }
    }
    figure(value)
}

/// A number where there may be none.
#[must_use]
pub fn figure_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), figure)
}

/// A count: `30,000`.
#[must_use]
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A share in per cent: `0.4 %`. What is there at all is never shown as nothing.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if !percent.is_finite() {
        return "–".to_owned();
    }
    if percent > 0.0 && percent < 0.05 {
        return "< 0.1 %".to_owned();
    }
    if (99.95..100.0).contains(&percent) {
        return "> 99.9 %".to_owned();
    }
    format!("{percent:.1} %")
}

/// A singular or plural word with its count: `1 row`, `2 rows`.
#[must_use]
pub fn counted(value: usize, word: &str) -> String {
    format!("{} {word}{}", count(value as u64), if value == 1 { "" } else { "s" })
}

/// Commas between thousands.
fn grouped(number: &str) -> String {
    let (sign, rest) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut text = sign.to_owned();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// A day, where a number counts days since 1970-01-01.
#[must_use]
pub fn date(days: f64) -> String {
    let seconds = days * 86_400.0;
    // Beyond the year 9999 a number says more than a date.
    let moment =
        (seconds.abs() < 253_402_300_800.0).then(|| chrono::DateTime::from_timestamp(seconds.floor() as i64, 0));
    moment.flatten().map_or_else(|| figure(days), |moment| moment.format("%Y-%m-%d").to_string())
}

/// A text of at most `most` characters, in which nothing is invisible or changes the order of what follows: control
/// characters, marks of direction and the like are spelt out.
#[must_use]
pub fn visible(text: &str, most: usize) -> String {
    let mut shown = String::new();
    let mut characters = text.chars();
    for character in characters.by_ref().take(most) {
        if is_invisible(character) {
            shown.push_str(&character.escape_unicode().to_string());
        } else {
            shown.push(character);
        }
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A value of the data, which may be nothing but blanks, or nothing at all.
#[must_use]
pub fn value(text: &str, most: usize) -> String {
    let shown = visible(text, most);
    if shown.trim().is_empty() { format!("\"{shown}\"") } else { shown }
}

fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_and_thousands_are_apart() {
        let figures = [0.0, 0.921_34, 12_345.6, 1_234.56, -0.000_123_4, 5e-9, 1e12, 3.0, 99.999, f64::NAN, -45_678.0];
        let texts =
            ["0", "0.9213", "12,346", "1,235", "-0.0001234", "5.000e-9", "1.000e12", "3", "100", "–", "-45,678"];
        assert_eq!(figures.map(figure), texts);
        assert_eq!([0.25, 2_500.0, -60_000.0, 1.5e6, 2e16].map(tick), ["0.25", "2,500", "-60k", "1.5M", "2.000e16"]);
        assert_eq!([0, 999, 30_000, 10_000_000].map(count), ["0", "999", "30,000", "10,000,000"]);
        assert_eq!(counted(1, "row") + &counted(2, "row"), "1 row2 rows");
    }

    #[test]
    fn a_share_is_never_rounded_to_none_or_all() {
        let shares = [0.0, 0.000_001, 0.123, 0.999_999, 1.0];
        assert_eq!(shares.map(percent), ["0.0 %", "< 0.1 %", "12.3 %", "> 99.9 %", "100.0 %"]);
    }

    #[test]
    fn days_are_dates_and_absurd_ones_are_numbers() {
        assert_eq!(date(0.0), "1970-01-01");
        assert_eq!(date(20_000.75), "2024-10-04");
        assert_eq!(date(1e300), "1.000e300");
        assert_eq!(date(f64::NAN), "–");
        assert_eq!(date(-0.5), "1969-12-31");
    }

    #[test]
    fn what_cannot_be_seen_is_spelt_out_and_long_texts_are_cut() {
        assert_eq!(visible("a\u{202e}b\0\n", 9), "a\\u{202e}b\\u{0}\\u{a}");
        assert_eq!(visible("ääääää", 3), "äää…");
        assert_eq!([value("", 3), value("  ", 3), value("a", 3)], ["\"\"", "\"  \"", "a"]);
    }
}
