use super::*;

const FORMAT: CellFormat = CellFormat { decimal: b'.' };

fn kind(cells: &[Option<&str>]) -> ColumnKind {
    infer_kind(&cells.iter().copied().collect(), FORMAT)
}

fn category(cells: &[&str]) -> ColumnKind {
    infer_category_kind(&cells.iter().copied().map(Some).collect(), FORMAT)
}

#[test]
fn a_column_is_the_narrowest_kind_that_all_its_cells_fit() {
    assert_eq!(kind(&[Some("1"), None, Some("-7")]), ColumnKind::Integer);
    assert_eq!(kind(&[Some("1"), Some("2.5e3")]), ColumnKind::Float);
    assert_eq!(kind(&[Some("TRUE"), Some("false")]), ColumnKind::Boolean);
    assert_eq!(kind(&[Some("2026-01-31"), Some("2026-01-31T10:00:00Z")]), ColumnKind::Date);
    assert_eq!(kind(&[Some("1"), Some("x")]), ColumnKind::Text);
    assert_eq!(kind(&[None, None]), ColumnKind::Null);
}

#[test]
fn markers_of_missing_values_do_not_make_a_column_text() {
    for marker in MISSING_MARKERS {
        for order in [[marker, "7"], ["7", marker]] {
            assert_eq!(kind(&order.map(Some)), ColumnKind::Integer, "{marker}");
        }
        assert_eq!(kind(&[Some(marker), Some("2026-01-31")]), ColumnKind::Date, "{marker}");
        assert_eq!(kind(&[Some("true"), Some(marker)]), ColumnKind::Boolean, "{marker}");
        assert_eq!(kind(&[Some("0.5"), Some(marker), Some("red")]), ColumnKind::Text, "{marker}");
        assert_eq!(kind(&[Some(marker)]), ColumnKind::Null, "{marker}");
        let cells: StringChunked = [Some("7"), Some(marker)].into_iter().collect();
        assert_eq!(typed_column(&cells, ColumnKind::Integer, FORMAT).null_count(), 1, "{marker}");
        assert_eq!(parse_as(ColumnKind::Date, marker, FORMAT), Cell::Missing, "{marker}");
    }
    assert_eq!(kind(&[Some("inf"), Some("7")]), ColumnKind::Float);
}

#[test]
fn categories_have_a_type_only_where_no_text_is_renumbered() {
    assert_eq!(category(&["1", "2.0", "-3"]), ColumnKind::Float);
    assert_eq!(category(&["1", "2"]), ColumnKind::Integer);
    assert_eq!(category(&["18446744073709551615", "2"]), ColumnKind::Float);
    assert_eq!(category(&["True", "False"]), ColumnKind::Boolean);
    assert_eq!(category(&["2026-01-31", "2026-02-01 10:00"]), ColumnKind::Date);
    for stays_text in [["007", "8"], ["1e3", "2"], ["NA", "2"], ["+1", "2"], ["0.12345678901234567", "2"]] {
        assert_eq!(category(&stays_text), ColumnKind::Text, "{stays_text:?}");
    }
    let cells: StringChunked = ["18446744073709551615", "2"].into_iter().map(Some).collect();
    assert_eq!(typed_column(&cells, ColumnKind::Float, FORMAT).dtype(), &DataType::UInt64);
}

#[test]
fn dates_are_days_and_zones_count() {
    let days = |cell: &str| parse_as(ColumnKind::Date, cell, FORMAT);
    assert_eq!(days("1970-01-02"), Cell::Value(1.0));
    assert_eq!(days("1970-1-2"), Cell::Value(1.0));
    assert_eq!(days("1970-01-02 12:00:00"), Cell::Value(1.5));
    assert_eq!(days("1970-01-02T01:00:00+01:00"), Cell::Value(1.0));
    assert_eq!(days("1970-01-02T12:00Z"), Cell::Value(1.5));
    assert_eq!(days("1970-01-02 12:00:00 UTC"), Cell::Value(1.5));
    assert_eq!(days("1970-01-02 12:00:00 +0000"), Cell::Value(1.5));
    for cell in ["soon", "24-1-5", "24-01-05", "1970", "19700102", "02.01.1970", "1970-13-01", "+1970-01-02"] {
        assert_eq!(days(cell), Cell::Misfit, "{cell}");
    }
    assert_eq!(days("NA"), Cell::Missing);
}

/// The short way is a short cut: what it reads, the long way reads alike.
#[test]
fn usual_timestamps_are_what_any_are() {
    for cell in [
        "2026-01-31",
        "0001-01-01",
        "9999-12-31",
        "2024-02-29 23:59:59",
        "2024-02-29T00:00:00.5",
        "1969-12-31 23:59:59.999999Z",
    ] {
        let short = parse_usual_timestamp(cell.as_bytes());
        let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
        let full = if cell.len() == 10 { format!("{cell} 00:00:00") } else { cell.trim_end_matches('Z').to_owned() };
        let long = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(&full, format).ok()).unwrap();
        assert_eq!(short, Some(long.and_utc().timestamp_micros()), "{cell}");
        assert_eq!(parse_timestamp(cell), Some(Instant::of(long.and_utc())), "{cell}");
    }
    for cell in [
        "2026-02-30",
        "2026-1-31",
        "2026-01-31 24:00:00",
        "2026-01-31 1:00:00",
        "2026-01-31 10:00:00.1234567",
        "20260131",
        "2026-01-31x",
    ] {
        assert_eq!(parse_usual_timestamp(cell.as_bytes()), None, "{cell}");
    }
}

#[test]
fn timestamps_keep_their_nanoseconds() {
    let level = |cell: &str| level_of_cell(ColumnKind::Date, cell, FORMAT);
    for (cell, expected) in [
        ("2024-01-01 00:00:00.123456789", "2024-01-01 00:00:00.123456789"),
        ("2024-01-01T00:00:00.1234567Z", "2024-01-01 00:00:00.1234567"),
        ("1969-12-31 23:59:59.999999999", "1969-12-31 23:59:59.999999999"),
        ("9999-12-31 00:00:00.000000001", "9999-12-31 00:00:00.000000001"),
        ("2024-01-01 00:00:00.123456000000", "2024-01-01 00:00:00.123456"),
        ("2024-01-01 02:00:00.123456789+02:00", "2024-01-01 00:00:00.123456789"),
        // Of cells that differ only behind the nanoseconds none is another.
        ("2024-01-01 00:00:00.1234567891", "2024-01-01 00:00:00.1234567891"),
    ] {
        assert_eq!(level(cell), expected, "{cell}");
    }
    let cells = ["2024-01-01 00:00:00.123456789", "1677-10-01", "2024-01-01 00:00:00.123456111"];
    assert_eq!(category(&cells), ColumnKind::Date);
    let texts = |cells: &[&str]| -> Vec<String> {
        let column = typed_column(&cells.iter().copied().map(Some).collect(), ColumnKind::Date, FORMAT);
        let texts = crate::text::canonical_text(&column).unwrap();
        texts.iter().flatten().map(str::to_owned).collect()
    };
    assert_eq!(texts(&cells), cells);
    // Years of all kinds, but no nanoseconds.
    assert_eq!(texts(&["9999-12-31", "2024-01-01 00:00:00.123456"]), ["9999-12-31", "2024-01-01 00:00:00.123456"]);
    for cells in [["9999-12-31", "2024-01-01 00:00:00.123456789"], ["2024-01-01", "2024-01-01 00:00:00.1234567891"]] {
        assert_eq!(category(&cells), ColumnKind::Text, "{cells:?}");
    }
}

#[test]
fn a_timestamp_is_the_same_number_in_a_cell_and_in_a_column() {
    for nanoseconds in [1, 1_704_067_200_123_456_789, -1, -1_704_067_200_123_456_789, 1_704_067_200_123_456_000] {
        let cell = crate::text::text_of_nanoseconds(nanoseconds.into()).unwrap();
        let days = microseconds_of_nanoseconds(nanoseconds) / MICROSECONDS_PER_DAY;
        assert_eq!(parse_as(ColumnKind::Date, &cell, FORMAT), Cell::Value(days), "{cell}");
    }
}

#[test]
fn durations_keep_their_nanoseconds() {
    for (cell, nanoseconds) in [
        ("PT9000000.123456789S", 9_000_000_123_456_789),
        ("PT-0.5S", -500_000_000),
        ("PT9000000000.000000001S", 9_000_000_000_000_000_001),
        ("PT1e3S", 1_000_000_000_000),
        // More hours than a day has, as DuckDB writes them.
        ("42792:20:50.17", 154_052_450_170_000_000),
        ("28:00:00", 100_800_000_000_000),
        ("-28:00", -100_800_000_000_000),
        ("1 days 26:00:00", 180_000_000_000_000),
    ] {
        assert_eq!(parse_duration(cell), Some(nanoseconds), "{cell}");
    }
    for cell in ["28", "28:60:00", "28:00:00:00", ":00:00", "1e3:00:00", "9999999999999:00:00", "--1:00:00", "1:-1:00"]
    {
        assert_eq!(parse_duration(cell), None, "{cell}");
    }
}

#[test]
fn times_of_day_are_a_part_of_a_day() {
    assert_eq!(parse_as(ColumnKind::Time, "18:00", FORMAT), Cell::Value(0.75));
    assert_eq!(parse_as(ColumnKind::Time, "06:00:00.000", FORMAT), Cell::Value(0.25));
    assert_eq!(parse_as(ColumnKind::Duration, "1 days 12:00:00", FORMAT), Cell::Value(1.5));
    assert_eq!(parse_as(ColumnKind::Duration, "-1 days +18:00:00", FORMAT), Cell::Value(-0.25));
    assert_eq!(parse_as(ColumnKind::Duration, "PT43200S", FORMAT), Cell::Value(0.5));
    assert_eq!(parse_as(ColumnKind::Time, "1970-01-02", FORMAT), Cell::Misfit);
}

#[test]
fn a_decimal_comma_is_one_where_it_was_asked_for() {
    let comma = CellFormat { decimal: b',' };
    assert_eq!(parse_number("1234,5", comma), Some(1234.5));
    assert_eq!(parse_number("-1,5e3", comma), Some(-1500.0));
    assert_eq!(parse_number("1.5", comma), None);
    assert_eq!(parse_number("1,2,3", comma), None);
    assert_eq!(parse_number("1,5", FORMAT), None);
    assert_eq!(infer_kind(&[Some("1,5"), Some("2")].into_iter().collect(), comma), ColumnKind::Float);
}

#[test]
fn a_category_has_the_text_of_its_value() {
    assert_eq!(level_of_cell(ColumnKind::Integer, "3.0", FORMAT), "3");
    assert_eq!(level_of_cell(ColumnKind::Integer, "true", FORMAT), "1");
    assert_eq!(level_of_cell(ColumnKind::Float, "0.50", FORMAT), "0.5");
    assert_eq!(level_of_cell(ColumnKind::Boolean, "1", FORMAT), "true");
    assert_eq!(level_of_cell(ColumnKind::Boolean, "False", FORMAT), "false");
    assert_eq!(level_of_cell(ColumnKind::Date, "2026-01-31T00:00:00Z", FORMAT), "2026-01-31");
    assert_eq!(level_of_cell(ColumnKind::Time, "18:30", FORMAT), "18:30:00");
    assert_eq!(level_of_cell(ColumnKind::Text, "3.0", FORMAT), "3.0");
    assert_eq!(level_of_cell(ColumnKind::Integer, "NA", FORMAT), "NA");
}
