//! An SQL expression over columns of every type: refused, or evaluated, the same twice, to numbers that are finite or
//! missing.
#![no_main]

use std::borrow::Cow;

use fuzz::features::derive::{Columns, Derived, Expression, TextColumn, ValueType, Values};
use libfuzzer_sys::fuzz_target;

struct Texts;

const TEXTS: [Option<&str>; 5] = [Some("basic"), None, Some(""), Some("2020-02-29"), Some("ü ' \" \\")];

impl TextColumn for Texts {
    fn len(&self) -> usize {
        TEXTS.len()
    }

    fn get(&self, row: usize) -> Option<&str> {
        TEXTS[row]
    }
}

/// Columns by the first letter of their names: `n…` numbers, `b…` booleans, `d…` dates, anything else text.
struct Rows;

fn type_of(name: &str) -> ValueType {
    match name.as_bytes().first() {
        Some(b'n') => ValueType::Number,
        Some(b'b') => ValueType::Boolean,
        Some(b'd') => ValueType::Date,
        _ => ValueType::Text,
    }
}

impl Columns for Rows {
    fn get(&self, name: &str) -> Option<Values<'_>> {
        Some(match type_of(name) {
            ValueType::Number => Values::Number(Cow::Borrowed(&[1.5, f64::NAN, 0.0, -1e300, 7.0])),
            ValueType::Boolean => {
                Values::Boolean(Cow::Borrowed(&[Some(true), None, Some(false), Some(true), Some(false)]))
            }
            ValueType::Date => Values::Date(Cow::Borrowed(&[0.0, f64::NAN, 18_321.25, -719_162.0, 1e9])),
            ValueType::Text => Values::Text(&Texts),
        })
    }
}

fuzz_target!(|sql: &str| {
    let Ok(expression) = Expression::parse("feature", sql, Some("target")) else { return };
    assert!(!expression.reads("target"));
    let bound = expression.bind(&|name| Some(type_of(name)));
    let evaluated = expression.evaluate(&Rows, TEXTS.len());
    if bound.is_ok() {
        let derived = evaluated.expect("types that fit");
        match &derived {
            Derived::Number(numbers) => {
                assert_eq!(numbers.len(), TEXTS.len());
                assert!(numbers.iter().all(|number| number.is_finite() || number.is_nan()), "{numbers:?}");
            }
            Derived::Text(texts) => assert_eq!(texts.len(), TEXTS.len()),
        }
        let again = expression.evaluate(&Rows, TEXTS.len()).expect("as before");
        assert_eq!(format!("{derived:?}"), format!("{again:?}"));
    }
    let text = serde_json::to_string(&expression).expect("an expression is text");
    assert_eq!(serde_json::from_str::<String>(&text).expect("text"), expression.sql());
});
