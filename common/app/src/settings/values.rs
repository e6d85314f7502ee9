//! Values of settings that need more checking than their type gives.

use std::str::FromStr;

/// A share between 0 and 1, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fraction(pub f64);

impl FromStr for Fraction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value = finite(text)?;
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err("must be between 0 and 1".to_owned()) }
    }
}

/// A whole number of at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positive(pub usize);

impl FromStr for Positive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Err("must be at least 1".to_owned()),
            Ok(value) => Ok(Self(value)),
            Err(_) => Err("must be a whole number".to_owned()),
        }
    }
}

/// A number of bytes: plain, or with `k`, `m`, `g` (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let number = lower.trim_end_matches("ib").trim_end_matches('b');
        let (digits, shift) = match number.as_bytes().last() {
            Some(b'k') => (&number[..number.len() - 1], 10),
            Some(b'm') => (&number[..number.len() - 1], 20),
            Some(b'g') => (&number[..number.len() - 1], 30),
            _ => (number, 0),
        };
        let count: u64 = digits.trim().parse().map_err(|_| "must be a size such as 512m or 4g".to_owned())?;
        let bytes = count.checked_mul(1 << shift).filter(|bytes| *bytes > 0);
        bytes.map(Self).ok_or_else(|| "must be a size such as 512m or 4g".to_owned())
    }
}

/// A finite number.
///
/// # Errors
/// Where the text is no number, or not a finite one.
pub fn finite(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("must be a finite number".to_owned()),
    }
}

/// The parser of on/off settings: `true`, `1`, `yes`, `on` and their opposites, in any case.
#[must_use]
pub fn boolish() -> clap::builder::ValueParser {
    clap::builder::BoolishValueParser::new().into()
}

/// A column's name, blanks around it cut off: in a list they stand behind the comma.
///
/// # Errors
/// Never; parsers of settings may fail.
pub fn column_name(text: &str) -> Result<String, String> {
    Ok(text.trim().to_owned())
}

/// A model name: one folder of the store.
///
/// # Errors
/// Where it cannot be one.
pub fn model_name(text: &str) -> Result<String, String> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    if starts_well && text.len() <= 128 && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or a digit".to_owned())
}

/// The character between cells of CSV; `tab` and `\t` stand for a tab. Blanks are not cut off, since one may be meant.
///
/// # Errors
/// Where it cannot be one.
pub(super) fn delimiter(text: &str) -> Result<u8, String> {
    let byte = match (text, text.as_bytes()) {
        ("tab" | "\\t", _) => b'\t',
        (_, &[byte]) if byte.is_ascii() => byte,
        _ => return Err("must be one ASCII character, or tab".to_owned()),
    };
    let is_refused = byte.is_ascii_alphanumeric()
        || matches!(byte, b'"' | b'\'' | b'.' | b'\n' | b'\r' | b'\0' | b'\x0b' | b'\x0c' | b'\x7f');
    if is_refused {
        return Err("must be no letter, digit, quote, line break or decimal point".to_owned());
    }
    Ok(byte)
}

/// The character before the fraction of a number.
///
/// # Errors
/// Where it is neither `.` nor `,`.
pub(super) fn decimal(text: &str) -> Result<u8, String> {
    match text.trim() {
        "." => Ok(b'.'),
        "," => Ok(b','),
        _ => Err("must be . or ,".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!("512m".parse(), Ok(ByteSize(512 << 20)));
        assert_eq!("4GiB".parse(), Ok(ByteSize(4 << 30)));
        assert_eq!("100".parse(), Ok(ByteSize(100)));
        assert!("lots".parse::<ByteSize>().is_err());
        assert!("99999999999g".parse::<ByteSize>().is_err());
    }

    #[test]
    fn shares_lie_between_0_and_1() {
        assert!("0.2".parse::<Fraction>().is_ok());
        assert!("1.2".parse::<Fraction>().is_err());
        assert!("nan".parse::<Fraction>().is_err());
    }

    #[test]
    fn a_delimiter_is_one_character_that_cells_do_not_need() {
        for (text, byte) in [
            (",", b','),
            (";", b';'),
            ("|", b'|'),
            ("tab", b'\t'),
            ("\\t", b'\t'),
            ("\t", b'\t'),
            (" ", b' '),
            ("^", b'^'),
            ("\u{1}", b'\x01'),
            ("-", b'-'),
        ] {
            assert_eq!(delimiter(text), Ok(byte), "{text:?}");
        }
        for text in ["", "a", "7", "\"", "'", ".", "\n", "\r", "\u{b}", "  ", ", ", ";;", "é", "comma", "\\n", "TAB"] {
            assert!(delimiter(text).is_err(), "{text:?}");
        }
        assert_eq!((decimal("."), decimal(" , ")), (Ok(b'.'), Ok(b',')));
        assert!(decimal(";").is_err() && decimal("").is_err() && decimal("..").is_err());
    }

    #[test]
    fn a_model_name_is_one_folder() {
        assert!(model_name("engagement").is_ok());
        assert!(model_name("../x").is_err());
        assert!(model_name("a/b").is_err());
    }
}
