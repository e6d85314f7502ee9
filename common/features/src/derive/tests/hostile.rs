//! Text made to exhaust the stack or the time of whoever reads a spec.

use proptest::prelude::*;

use super::*;

#[test]
fn long_sums_are_fine() {
    let sql = vec!["a"; 2000].join(" + ");
    let batch = Batch::default().with("a", Column::Number(vec![1.0, 2.0]));
    let expression = parse(&sql).unwrap();
    assert_eq!(expression.evaluate(&batch, 2).unwrap(), Derived::Number(vec![2000.0, 4000.0]));
}

#[test]
fn what_is_too_large_is_refused() {
    let too_long = vec!["a"; 3000].join(" + ");
    assert!(parse(&too_long).unwrap_err().to_string().contains("words and signs"));
    let too_many_bytes = " ".repeat(70_000);
    assert!(parse(&too_many_bytes).unwrap_err().to_string().contains("bytes"));
}

#[test]
fn deep_nesting_is_refused_without_exhausting_the_stack() {
    let repeated = |prefix: &str, count: usize, core: &str, suffix: &str| {
        format!("{}{core}{}", prefix.repeat(count), suffix.repeat(count))
    };
    for count in [30, 100, 1000, 1300, 4000, 15_000] {
        let texts = [
            repeated("(", count, "a", ")"),
            repeated("- ", count, "a", ""),
            repeated("NOT ", count, "a", ""),
            repeated("", count, "a", " IS NULL"),
            repeated("", count, "a", " IN (1)"),
            repeated("", count, "a", " BETWEEN 1 AND 2"),
            repeated("", count, "a", "::int"),
            repeated("", count, "a", "[1]"),
            repeated("a + (", count, "a", ")"),
            repeated("ABS(", count, "a", ")"),
            repeated("CASE WHEN ", count, "a", " THEN 1 END"),
            repeated("CASE ", count, "a", " WHEN 1 THEN 1 END"),
            repeated("CASE ", count, "a", ""),
            repeated("case-", count, "a", ""),
            repeated("(SELECT ", count, "a", ")"),
            repeated("EXTRACT(YEAR FROM ", count, "a", ")"),
            repeated("FLOOR(", count, "a", ""),
            repeated("ARRAY<", count, "a", ">"),
            repeated("a.", count, "a", ""),
            repeated("INTERVAL ", count, "a", ""),
        ];
        for text in texts {
            if let Err(error) = parse(&text) {
                assert!(error.to_string().len() < 2000, "{count}: {error}");
            }
        }
    }
}

/// Found by fuzzing: a literal that goes over two lines was cited as it stood.
#[test]
fn what_is_cited_stays_on_one_line() {
    for sql in ["t - TIMESTAMP '1969-12-\n)\0'", "a = DATE '\r\n'", "\"a\nb\" + 'x'", "FLOOR\u{1b}[31m(a"] {
        let refused = parse(sql).map(|expression| expression.bind(&|_| Some(ValueType::Number)));
        if let Err(error) | Ok(Err(error)) = refused {
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }
    assert!(parse("t - TIMESTAMP '1969-12-\n)\0'").unwrap_err().to_string().contains("'1969-12-\\n)\\u{0}'"));
}

const WORDS: &[&str] = &[
    "a",
    "b",
    "\"c d\"",
    "1",
    "2.5",
    "'x'",
    "+",
    "-",
    "*",
    "/",
    "(",
    ")",
    ",",
    "=",
    "<>",
    "<",
    ">=",
    "AND",
    "OR",
    "NOT",
    "IS",
    "NULL",
    "BETWEEN",
    "IN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "COALESCE",
    "NULLIF",
    "ABS",
    "FLOOR",
    "EXTRACT",
    "YEAR",
    "FROM",
    "DATE",
    "TIMESTAMP",
    "'2024-01-01'",
    "DATE_DIFF",
    "'day'",
    "TRUE",
    "SELECT",
    "OVER",
    "INTERVAL",
    "CAST",
    "AS",
    "INT",
    "::",
    "[",
    "]",
    ".",
    "LIKE",
    "ARRAY",
    "STRUCT",
    "{",
    "}",
    ";",
    "--",
    "?",
    "@",
    "$1",
    "||",
    "EXISTS",
    "ROW",
    "POSITION",
    "TRIM",
    "OVERLAY",
    "MATCH",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_words_make_the_parser_panic(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)) {
        let _ = parse(&words.join(" "));
    }
}
