//! What a cell looks like, for telling rows from text. Nothing is read by it.

/// Texts that stand for a missing value in one program or another, in whatever case, and an empty cell in quotes.
const MISSING: [&[u8]; 16] = [
    b"NULL", b"NA", b"N/A", b"#N/A", b"#NA", b"<NA>", b"NaN", b"None", b"NIL", b"N.A.", b"N.A", b"\\N", b"?", b"--",
    b".", b"\"\"",
];

/// What a cell looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing, or what stands for a missing value.
    Missing,
    /// Digits, with a sign or not.
    Integer,
    /// Any other number.
    Number,
    /// Numbers with the signs of a date or a time between them.
    Date,
    /// Text.
    Other,
}

impl Look {
    /// The look of a cell, blanks around it left aside.
    pub(super) fn of(cell: &[u8], decimal: u8) -> Self {
        let cell = cell.trim_ascii();
        if cell.is_empty()
            || cell == b"-"
            || cell.len() <= 4 && MISSING.iter().any(|text| text.eq_ignore_ascii_case(cell))
        {
            return Self::Missing;
        }
        let unsigned = cell.strip_prefix(b"-").or(cell.strip_prefix(b"+")).unwrap_or(cell);
        let rest = without_digits(unsigned);
        if rest.is_empty() && !unsigned.is_empty() {
            return Self::Integer;
        }
        if is_number(unsigned, decimal) {
            return Self::Number;
        }
        if is_date(cell) { Self::Date } else { Self::Other }
    }
}

/// What stands behind the digits that a text begins with.
fn without_digits(text: &[u8]) -> &[u8] {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    &text[digits..]
}

/// `1.5`, `.5`, `5.`, `1e-3`.
fn is_number(text: &[u8], decimal: u8) -> bool {
    let rest = without_digits(text);
    let mut digits = text.len() - rest.len();
    let rest = match rest.strip_prefix(&[decimal]) {
        Some(fraction) => {
            let behind = without_digits(fraction);
            digits += fraction.len() - behind.len();
            behind
        }
        None => rest,
    };
    let is_whole = match rest {
        [] => true,
        [b'e' | b'E', b'-' | b'+', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && without_digits(exponent).is_empty()
        }
        _ => false,
    };
    digits > 0 && is_whole
}

/// `2026-01-31`, `31.01.2026 12:30`, `1/31/26`, `2026-01-31T10:00:00.5+01:00`, `12:30:00`.
fn is_date(text: &[u8]) -> bool {
    let is_sign = |byte: &u8| matches!(byte, b'-' | b'/' | b'.' | b':');
    let is_part = |byte: &u8| byte.is_ascii_digit() || is_sign(byte) || matches!(byte, b'T' | b'Z' | b' ' | b'+');
    (6..=35).contains(&text.len())
        && text[0].is_ascii_digit()
        && text.iter().all(is_part)
        && text.iter().filter(|byte| is_sign(byte)).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::Look::{self, Date, Integer, Missing, Number, Other};

    #[test]
    fn cells_look_like_what_they_are() {
        let cases: [(&str, Look); 31] = [
            ("", Missing),
            ("  ", Missing),
            ("NULL", Missing),
            ("N/A", Missing),
            ("-", Missing),
            ("n.a.", Missing),
            ("none", Missing),
            ("0", Integer),
            ("-17", Integer),
            (" 00123 ", Integer),
            ("1.5", Number),
            (".5", Number),
            ("5.", Number),
            ("-1e-3", Number),
            ("1E5", Number),
            ("1e", Other),
            (".", Missing),
            ("..", Other),
            ("e5", Other),
            ("1,5", Other),
            ("1.5.2", Other),
            ("2026-01-31", Date),
            ("31.01.2026 12:30", Date),
            ("1/31/26", Date),
            ("2026-01-31T10:00:00.5Z", Date),
            ("12:30:00", Date),
            ("A17", Other),
            ("5 inch", Other),
            ("é", Other),
            ("true", Other),
            ("+", Other),
        ];
        for (cell, look) in cases {
            assert_eq!(Look::of(cell.as_bytes(), b'.'), look, "{cell:?}");
        }
        assert_eq!((Look::of(b"1,5", b','), Look::of(b"1.5", b',')), (Number, Other));
    }
}
