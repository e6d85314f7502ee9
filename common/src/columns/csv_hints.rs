//! Columns of CSV that are text, but seem to be meant as something else: each value becomes a category, and the model much worse.

use polars::prelude::StringChunked;

use super::cells::parse_number;

/// One stray cell among so many others makes a column of numbers text by mistake.
const STRAYS: usize = 20;

/// What is doubtful about a column that is text, to be read after its name; nothing where it seems to be meant as text.
pub(crate) fn doubt(cells: &StringChunked) -> Option<String> {
    let present = cells.len() - cells.null_count();
    let example = cells.iter().flatten().next()?;
    if cells.iter().flatten().all(is_like_a_date) {
        return Some(format!(
            "seems to hold dates, such as \"{example}\", but is text, a category for each: write dates as 2026-01-31"
        ));
    }
    if cells.iter().flatten().all(is_like_a_number) {
        return Some(format!(
            "seems to hold numbers with commas, such as \"{}\", but is text, a category for each: write 1234.5",
            cells.iter().flatten().find(|cell| cell.contains(',')).unwrap_or(example)
        ));
    }
    if has_one_unit(cells) {
        return Some(format!(
            "seems to hold numbers with a unit, such as \"{example}\", but is text, a category for each: write the number alone"
        ));
    }
    let not_numbers = || cells.iter().flatten().filter(|cell| parse_number(cell).is_none());
    let strays = not_numbers().count();
    (strays * STRAYS <= present).then(|| {
        format!(
            "is text because of {strays} of {present} cells, such as \"{}\"; the others are numbers. Leave those cells \
             empty to have a column of numbers",
            not_numbers().next().unwrap_or_default()
        )
    })
}

/// `31.01.2026`, `1/31/26`, `2026/01/31`, with a time behind it or not. ISO 8601 is not text.
fn is_like_a_date(cell: &str) -> bool {
    let date = cell.trim().split([' ', 'T']).next().unwrap_or_default();
    ['.', '/', '-'].iter().any(|&sign| {
        let parts: Vec<&str> = date.split(sign).collect();
        let [first, second, third] = parts.as_slice() else { return false };
        let (day, month) = match (first.len(), third.len()) {
            (1 | 2, 2 | 4) => (first, second),
            (4, 1 | 2) => (third, second),
            _ => return false,
        };
        let is_digits = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = |part: &str| part.parse::<u32>().unwrap_or(u32::MAX);
        // Days before months or after them.
        let (day, month) = (number(day), number(month));
        parts.iter().all(is_digits) && day.min(month) <= 12 && day.max(month) <= 31
    })
}

/// `1234,56`, `1.234,56` and `1,234.56`, and numbers as they are.
fn is_like_a_number(cell: &str) -> bool {
    let Some(comma) = cell.find(',') else { return parse_number(cell).is_some() };
    let number = match cell.rfind('.') {
        Some(point) if point < comma => cell.replace('.', "").replace(',', "."),
        Some(_) => cell.replace(',', ""),
        None => cell.replace(',', "."),
    };
    parse_number(&number).is_some()
}

/// Whether all are numbers with the same unit: `$1,500.00`, `13.9%`, `36 months`.
fn has_one_unit(cells: &StringChunked) -> bool {
    let mut units = cells.iter().flatten().map(unit);
    let Some(Some(first)) = units.next() else { return false };
    units.all(|unit| unit == Some(first))
}

/// What stands before a number, a sign of currency, and behind it: such a sign, per cent, or a word after a blank. Codes as `A12`
/// and `Q4` have none.
fn unit(cell: &str) -> Option<(&str, &str)> {
    let cell = cell.trim();
    let cell = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    let number_start = cell.find(|sign: char| sign.is_ascii_digit() || sign == '.' || sign == '-')?;
    let (before, rest) = cell.split_at(number_start);
    let number_end = rest.rfind(|sign: char| sign.is_ascii_digit() || sign == '.')? + 1;
    let (number, behind) = rest.split_at(number_end);
    let is_sign = |text: &str| matches!(text.trim(), "$" | "€" | "£" | "¥" | "%");
    let is_word = || behind.starts_with(' ') && behind.trim().chars().all(char::is_alphabetic);
    let is_unit = match (before.is_empty(), behind.is_empty()) {
        (true, false) => is_sign(behind) || is_word(),
        (false, true) => is_sign(before),
        _ => false,
    };
    (is_unit && is_like_a_number(number)).then_some((before.trim(), behind.trim()))
}

#[cfg(test)]
mod tests {
    use polars::prelude::{NewChunkedArray, StringChunked};

    use super::doubt;

    fn doubt_of(cells: &[Option<&str>]) -> String {
        doubt(&StringChunked::from_slice_options("column".into(), cells)).unwrap_or_default()
    }

    #[test]
    fn dates_of_other_kinds_are_doubtful() {
        for date in ["31.01.2026", "1/31/26", "2026/01/31", "31-01-2026", "31.01.2026 12:30"] {
            assert!(doubt_of(&[None, Some(date), Some(date)]).contains("seems to hold dates"), "{date}");
        }
        for text in ["192.168.0.1", "1.2", "1.2.3", "tomorrow", "a/b/c", "20-45-53", "//"] {
            assert!(!doubt_of(&[Some("31.01.2026"), Some(text)]).contains("dates"), "{text}");
        }
    }

    #[test]
    fn numbers_with_commas_are_doubtful() {
        let doubt = doubt_of(&[Some("12"), None, Some("-1,5"), Some("1.234,50")]);
        assert!(doubt.contains("numbers with commas, such as \"-1,5\""), "{doubt}");
        for text in ["a,b", "52.5,13.4", "1.2.3", ","] {
            assert_eq!(doubt_of(&[Some("1,5"), Some(text)]), "", "{text}");
        }
    }

    #[test]
    fn numbers_with_a_unit_are_doubtful() {
        for cells in
            [["13.9%", "7 %"], ["$1,500.00", "-$3"], ["36 months", "60 months"], [" 5 €", "5,5€"], ["£.5", "£ 12"]]
        {
            let doubt = doubt_of(&[None, Some(cells[0]), Some(cells[1])]);
            assert!(doubt.contains(&format!("with a unit, such as \"{}\"", cells[0])), "{cells:?}: {doubt}");
        }
        for text in ["A12", "12A", "Q4", "7 or 8", "1st", "%", "$", "$a", "5 m2", "1.2.3 km", "9 years", "-", ""] {
            assert_eq!(doubt_of(&[Some("36 months"), Some(text)]), "", "{text}");
        }
        assert_eq!(doubt_of(&[Some("zone 7"), Some("zone 8")]), "");
    }

    #[test]
    fn a_few_words_among_numbers_are_doubtful() {
        let mut cells = vec![Some("1.5"); 39];
        cells.extend([Some("unknown"), None]);
        let doubt = doubt_of(&cells);
        assert!(doubt.contains("because of 1 of 40 cells, such as \"unknown\""), "{doubt}");
        assert_eq!(doubt_of(&[Some("1"), Some("red"), Some("blue")]), "");
        assert_eq!(doubt_of(&[None, None]), "");
    }
}
