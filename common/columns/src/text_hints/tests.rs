use super::*;

const CSV: Writing = Writing { format: CellFormat { decimal: b'.' }, is_csv: true };
const COMMA: Writing = Writing { format: CellFormat { decimal: b',' }, is_csv: true };

fn hint_under(texts: &[&str], writing: Writing) -> String {
    let levels: Vec<Level<'_>> = texts.iter().map(|text| (*text, 1)).collect();
    hint(&levels, writing).unwrap_or_default()
}

fn hint_of(texts: &[&str]) -> String {
    hint_under(texts, CSV)
}

#[test]
fn dates_of_other_kinds_are_hinted_at() {
    for date in ["31.01.2026", "1/31/26", "2026/01/31", "31-01-2026", "31.01.2026 12:30", "24-1-5"] {
        assert!(hint_of(&[date]).contains("seems to hold dates"), "{date}");
    }
    for date in [
        "31 Jan 2026",
        "Jan 31, 2026",
        "31-Jan-26",
        "January 2026",
        "3. März 2026",
        "31st January 2026 10:00",
        "5 août 2024",
        "Monday, January 5, 2024",
        "Donnerstag, 4. Juli 2024",
    ] {
        assert!(hint_of(&[date]).contains("name of a month"), "{date}");
    }
    for text in
        ["192.168.0.1", "1.2.3", "tomorrow", "a/b/c", "20-45-53", "//", "Maria 7", "May", "Martin Mayer", "mark 2"]
    {
        assert_eq!(hint_of(&[text]), "", "{text}");
    }
}

#[test]
fn months_are_hinted_at() {
    for month in ["2024-01", "2024/12", "01/2024", "7/2024", "12-2024"] {
        assert_eq!(
            hint_of(&[month]),
            format!(
                "seems to hold months, such as \"{month}\", but is text, a category for each: write the first day of each \
                 month, 2026-01-01"
            )
        );
    }
    for text in ["2024-13", "20-2024", "3/4", "2024-001", "1234-12"] {
        assert_eq!(hint_of(&[text]), "", "{text}");
    }
}

#[test]
fn dates_and_months_are_told_from_other_texts() {
    assert!(are_dates(&[("2024-01-31", 1), ("2024-02-01", 3)]) && are_dates(&[("2024-01", 1)]));
    assert!(!are_dates(&[("2024-01", 1), ("north", 1)]) && !are_dates(&[("05", 1)]) && !are_dates(&[]));
}

#[test]
fn excel_formulas_are_hinted_at() {
    let hint = hint_of(&["=\"12\"", "=\"00123\"", "7"]);
    assert!(hint.starts_with("seems to hold cells written as Excel formulas, such as \"=\"12\"\""), "{hint}");
    assert!(hint.ends_with("write the value alone, without the equals sign and its quotes"), "{hint}");
    assert_eq!(hint_of(&["=", "=12", "a=\"b\""]), "");
}

#[test]
fn timestamps_with_names_of_zones_and_halves_of_a_day_are_hinted_at() {
    for time in [
        "2026-01-31 12:30:00 EST",
        "2026-01-31T12:30:00+01:00[Europe/Berlin]",
        "2026-01-31 12:30:00 Europe/Berlin",
        "2026-01-31 12:30 PM",
        "1/31/2026 7:05 pm",
        "31.01.2026 12:30 CET",
    ] {
        let hint = hint_of(&[time]);
        assert!(hint.contains("AM, PM or the name of a zone"), "{time}: {hint}");
        assert!(hint.ends_with("write 2026-01-31 12:30:00-05:00, with 24 hours"), "{time}: {hint}");
    }
    assert_eq!(hint_of(&["2026-01-31 12:30:00Z", "2026-01-31 12:30:00 UTC"]), "", "these are read");
}

#[test]
fn times_alone_are_hinted_at() {
    for time in ["12:30", "12:30:59", "7:05 pm", "07:05PM"] {
        assert!(hint_of(&[time]).contains("times of day"), "{time}");
    }
    assert_eq!(hint_of(&["12:75", "a:b"]), "");
}

#[test]
fn numbers_in_other_notations_are_hinted_at() {
    for number in ["-1,5", "1.234,50", "1,234.50", "1,234,567"] {
        assert!(hint_of(&["12", number]).contains(&format!("numbers with commas, such as \"{number}\"")), "{number}");
    }
    for number in ["1 234,56", "1\u{a0}234", "1\u{202f}234,5", "1'234.50", "1\u{2019}234"] {
        assert!(hint_of(&[number]).contains("separated thousands"), "{number}: {}", hint_of(&[number]));
    }
    for number in ["(123.45)", "($1,234.50)", "\u{2212}5", "\u{2013}1,5", "1234-"] {
        assert!(hint_of(&[number]).contains("parentheses"), "{number}: {}", hint_of(&[number]));
    }
    for number in ["1.5K", "2M", "3 bn", "0 Mio", "$2.5k"] {
        let hint = hint_of(&[number]);
        assert!(hint.contains("suffix for thousands"), "{number}: {hint}");
        assert!(hint.ends_with("write all digits, 500 instead of 0.5K"), "{number}: {hint}");
    }
    for text in ["a,b", "52.5,13.4", "1.2.3", ",", "(a)", "12 34", "1-", "K", "A1K"] {
        let hint = hint_of(&["1,5", text, text, "x1", "x2"]);
        assert_eq!(hint, "", "{text}");
    }
}

/// What was given already, or would make it worse, is no advice.
#[test]
fn advice_depends_on_the_decimal_sign_that_was_given() {
    let remove_points = "remove the points that separate thousands";
    let cases: [(&str, Writing, String); 12] = [
        ("1.000.000", CSV, remove_points.to_owned()),
        (
            "3.821",
            COMMA,
            format!("{remove_points}, or leave out --decimal , (DECIMAL) if they stand before the fraction"),
        ),
        ("1.234,56", COMMA, remove_points.to_owned()),
        ("1.234,56", CSV, format!("{remove_points}, and give --decimal , (DECIMAL)")),
        ("12.5", COMMA, "write 1234,5, or leave out --decimal , (DECIMAL)".to_owned()),
        ("0.382", COMMA, "write 1234,5, or leave out --decimal , (DECIMAL)".to_owned()),
        (
            "12,5",
            CSV,
            "write 1234.5, or give --decimal , (DECIMAL) where the comma stands before the fraction".to_owned(),
        ),
        ("12,5", Writing::typed(), "write 1234.5".to_owned()),
        ("1,234.50", CSV, "remove the commas that separate thousands".to_owned()),
        (
            "1,234.50",
            COMMA,
            "remove the commas that separate thousands, and leave out --decimal , (DECIMAL)".to_owned(),
        ),
        ("1 234,56", COMMA, "write 1234,5".to_owned()),
        ("(5)", COMMA, "write -1234,5".to_owned()),
    ];
    for (number, writing, advice) in cases {
        let hint = hint_under(&[number, "7"], writing);
        assert!(hint.ends_with(&format!(", a category for each: {advice}")), "{number} {writing:?}: {hint}");
        assert_eq!(remedy(&[(number, 1)], writing), Some(advice), "{number} {writing:?}");
    }
    assert_eq!(hint_under(&["12,5", "7"], COMMA), "", "these are read");
    assert_eq!(remedy(&[("unknown", 1)], CSV), None);
}

#[test]
fn numbers_with_a_unit_are_hinted_at() {
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
        let hint = hint_of(&cells);
        assert!(hint.contains(&format!("with a unit, such as \"{}\"", cells[0])), "{cells:?}: {hint}");
    }
    for text in ["A12", "12A", "Q4", "7 or 8", "1st", "%", "$", "$a", "5 m2", "1.2.3 km", "9 years"] {
        assert_eq!(hint_of(&["36 months", text]), "", "{text}");
    }
    assert_eq!(hint_of(&["zone 7", "zone 8"]), "");
}

#[test]
fn values_written_as_text_by_a_typed_format_are_hinted_at() {
    for (cells, kind, one) in [
        (["382.1", "7"], "numbers", "a number"),
        (["2026-01-31", "2026-02-01"], "dates", "a date"),
        (["true", "FALSE"], "booleans", "a boolean"),
    ] {
        assert_eq!(
            hint_under(&cells, Writing::typed()),
            format!(
                "holds {kind} written as text (such as \"{}\"): cast it to {one} where it is written, or name it in \
                 \"categorical\" if it is a code",
                cells[0]
            )
        );
        assert_eq!(hint_of(&cells), "", "CSV has these types");
    }
    let mixed = [("7", 500), ("8", 480), ("unknown", 20)];
    assert_eq!(
        hint(&mixed, Writing::typed()).unwrap(),
        "holds numbers written as text, but for 20 of the 1000 training cells that are not missing (such as \"unknown\"): \
         leave those empty and cast it to a number where it is written"
    );
    assert_eq!(hint_under(&["a", "b", "1"], Writing::typed()), "");
}

#[test]
fn a_few_other_cells_among_numbers_dates_or_booleans_are_hinted_at() {
    let hint = |levels: &[Level<'_>]| super::hint(levels, CSV).unwrap_or_default();
    for (usual, kind) in [("1.5", "numbers"), ("2024-01-31", "dates"), ("true", "booleans")] {
        assert_eq!(
            hint(&[(usual, 38), ("unknown", 1), ("NA", 7), ("k.A.", 1)]),
            format!(
                "is text because of 2 of the 40 training cells that are not missing (such as \"unknown\", \"k.A.\"); the \
                 others are {kind}. Leave those cells empty to have a column of {kind}"
            )
        );
    }
    assert!(
        hint(&[("2024-01-31", 38), ("0", 1), ("-999", 1)]).contains("(such as \"0\", \"-999\"); the others are dates")
    );
    assert!(hint(&[("2024-01-31", 39), ("0000-00-00", 1)]).contains("(such as \"0000-00-00\"); the others are dates"));
    assert!(hint(&[("true", 6), ("false", 4), ("1", 5)]).contains("because of 5 of the 15"), "1 is a truth value");
    // Also where they are many cells, but all the same few words.
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let mut levels: Vec<Level<'_>> = numbers.iter().map(|number| (number.as_str(), 1)).collect();
    levels.extend([("NA", 30), ("missing", 50)]);
    assert!(hint(&levels).contains("because of 50 of the 150 training cells"), "{}", hint(&levels));
    assert_eq!(hint_of(&["1", "red", "blue"]), "");
    assert_eq!(hint_of(&["1", "2", "3", "A"]), "");
    assert_eq!(hint_of(&["true", "false", "unknown"]), "");
    assert_eq!(hint_of(&[]), "");
    assert_eq!(hint_of(&["NA", "-"]), "");
}

#[test]
fn texts_that_say_that_there_is_no_value_are_hinted_at_however_few_values_there_are() {
    for stray in ["#VALUE!", "#DIV/0!", "unknown", "NaT", "Infinity"] {
        let levels: Vec<Level<'_>> = vec![("1", 400), (stray, 300), ("2", 300), ("NA", 7)];
        let said = hint(&levels, CSV).unwrap_or_default();
        let expected = if stray == "Infinity" {
            // It is a number that is not finite.
            String::new()
        } else {
            format!("because of 300 of the 1000 training cells that are not missing (such as \"{stray}\")")
        };
        assert!(said.contains(&expected) && said.is_empty() == expected.is_empty(), "{stray}: {said}");
    }
    let dates: Vec<Level<'_>> = vec![("2024-01-31", 5), ("2024-02-07", 4), ("infinity", 3)];
    assert!(hint(&dates, CSV).unwrap_or_default().contains("the others are dates"));
    assert_eq!(hint_of(&["1", "unknown"]), "", "one number is a code");
}

#[test]
fn dates_of_no_calendar_are_told_from_other_notations() {
    for impossible in ["2024-02-30", "2024-02-10 24:00:00"] {
        let levels: Vec<Level<'_>> = vec![("2024-02-01", 500), ("2024-02-02", 490), (impossible, 10)];
        let said = hint(&levels, CSV).unwrap_or_default();
        assert!(said.starts_with("is text because of 10 of the 1000"), "{said}");
    }
}

#[test]
fn more_notations_of_dates_and_numbers_are_known() {
    for (cells, what) in [
        (["31JAN2024", "01feb2024:12:30:00"], "dates with the name of a month"),
        (["20240131T123000Z", "20240201T0930"], "timestamps in another form of ISO 8601"),
        (["2024-01-31t12:30:00z", "2024-02-01t00:00:00z"], "timestamps in another form of ISO 8601"),
        (["1,23,456", "12,34,567.50"], "numbers with commas"),
    ] {
        assert!(hint_of(&cells).contains(what), "{cells:?}: {}", hint_of(&cells));
    }
    for cells in [["31JAM2024", "x"], ["20249931T12", "y"], ["1,2,3", "1,2,4"], ["A4T12", "B7T9"]] {
        assert_eq!(hint_of(&cells), "", "{cells:?}");
    }
}
