//! Random expressions of the subset over random rows.

use proptest::prelude::*;

use super::super::evaluate::BLOCK_ROWS;
use super::*;

/// Writes SQL of the subset, each byte one choice; out of bytes it writes leaves.
struct Writer<'b> {
    bytes: std::slice::Iter<'b, u8>,
}

impl Writer<'_> {
    fn choose(&mut self, choices: usize) -> usize {
        self.bytes.next().map_or(0, |byte| usize::from(*byte) % choices)
    }

    fn any(&mut self) -> String {
        match self.choose(4) {
            0 => self.number(8),
            1 => self.boolean(8),
            2 => self.text(8),
            _ => self.date(8),
        }
    }

    fn of(&mut self, kind: usize, depth: usize) -> String {
        match kind {
            0 => self.number(depth),
            1 => self.text(depth),
            _ => self.date(depth),
        }
    }

    fn generic(&mut self, kind: usize, depth: usize) -> String {
        let deeper = depth - 1;
        let [first, second] = [self.of(kind, deeper), self.of(kind, deeper)];
        match self.choose(6) {
            0 => format!("COALESCE({first}, {second})"),
            1 => format!("NULLIF({first}, {second})"),
            2 => format!("LEAST({first}, {second}, {first})"),
            3 => format!("GREATEST({first}, {second})"),
            4 => format!(
                "CASE WHEN {} THEN {first} WHEN {} THEN {second} END",
                self.boolean(deeper),
                self.boolean(deeper)
            ),
            _ => {
                let operand = self.choose(3);
                let [subject, value] = [self.of(operand, deeper), self.of(operand, deeper)];
                format!("CASE {subject} WHEN {value} THEN {first} ELSE {second} END")
            }
        }
    }

    fn number(&mut self, depth: usize) -> String {
        let leaves = 5;
        let deeper = depth.saturating_sub(1);
        match self.choose(if depth == 0 { leaves } else { leaves + 9 }) {
            0 | 1 => "x".to_owned(),
            2 => "\"y z\"".to_owned(),
            3 => ["0", "1", "2.5", "1e300", "1e-300"][self.choose(5)].to_owned(),
            4 => "3".to_owned(),
            5 | 6 => {
                let operator = ["+", "-", "*", "/"][self.choose(4)];
                format!("({} {operator} {})", self.number(deeper), self.number(deeper))
            }
            7 => format!("(- {})", self.number(deeper)),
            8 => {
                let function = ["ABS", "LN", "EXP", "SQRT", "FLOOR", "CEIL", "ROUND"][self.choose(7)];
                format!("{function}({})", self.number(deeper))
            }
            9 => format!("POWER({}, {})", self.number(deeper), self.number(deeper)),
            10 => format!("({} - {})", self.date(deeper), self.date(deeper)),
            11 => {
                let unit = ["second", "hour", "day", "week", "month", "year"][self.choose(6)];
                format!("DATE_DIFF('{unit}', {}, {})", self.date(deeper), self.date(deeper))
            }
            12 => {
                let part =
                    ["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DAY_OF_WEEK", "DAY_OF_YEAR", "HOUR"][self.choose(8)];
                format!("{part}({})", self.date(deeper))
            }
            _ => self.generic(0, depth),
        }
    }

    fn boolean(&mut self, depth: usize) -> String {
        let deeper = depth.saturating_sub(1);
        match self.choose(if depth == 0 { 2 } else { 9 }) {
            0 => "flag".to_owned(),
            1 => ["TRUE", "FALSE", "NULL"][self.choose(3)].to_owned(),
            2 => format!("(NOT {})", self.boolean(deeper)),
            3 => format!("({} AND {})", self.boolean(deeper), self.boolean(deeper)),
            4 => format!("({} OR {})", self.boolean(deeper), self.boolean(deeper)),
            5 => {
                let kind = self.choose(3);
                let operator = ["=", "<>", "<", "<=", ">", ">="][self.choose(6)];
                format!("({} {operator} {})", self.of(kind, deeper), self.of(kind, deeper))
            }
            6 => {
                let kind = self.choose(3);
                let negated = ["", "NOT "][self.choose(2)];
                format!("({} IS {negated}NULL)", self.of(kind, deeper))
            }
            7 => {
                let kind = self.choose(3);
                let negated = ["", "NOT "][self.choose(2)];
                let [value, low, high] = [self.of(kind, deeper), self.of(kind, deeper), self.of(kind, deeper)];
                format!("({value} {negated}BETWEEN {low} AND {high})")
            }
            _ => {
                let kind = self.choose(3);
                let negated = ["", "NOT "][self.choose(2)];
                let [value, one, two] = [self.of(kind, deeper), self.of(kind, deeper), self.of(kind, deeper)];
                format!("({value} {negated}IN ({one}, {two}))")
            }
        }
    }

    fn text(&mut self, depth: usize) -> String {
        match self.choose(if depth == 0 { 3 } else { 5 }) {
            0 | 1 => "plan".to_owned(),
            2 => ["''", "'gold'", "'ä'"][self.choose(3)].to_owned(),
            _ => self.generic(1, depth),
        }
    }

    fn date(&mut self, depth: usize) -> String {
        match self.choose(if depth == 0 { 3 } else { 5 }) {
            0 | 1 => "at".to_owned(),
            2 => ["DATE '2024-02-29'", "TIMESTAMP '1969-12-31 23:59:59.5'"][self.choose(2)].to_owned(),
            _ => self.generic(2, depth),
        }
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -100.0..100.0,
        2 => (-3_i8..4).prop_map(f64::from),
        1 => any::<f64>(),
        1 => proptest::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, f64::MIN_POSITIVE]),
    ]
}

fn date() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -40_000.0..60_000.0, 2 => (-100_i32..30_000).prop_map(f64::from), 1 => number()]
}

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(proptest::sample::select(vec!["", "gold", "basic", "ä", "Gold"]).prop_map(str::to_owned))
}

fn batch(rows: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = (Batch, usize)> {
    let row = (number(), number(), proptest::option::of(any::<bool>()), text(), date());
    proptest::collection::vec(row, rows).prop_map(|rows| {
        let batch = Batch::default()
            .with("x", Column::Number(rows.iter().map(|row| row.0).collect()))
            .with("y z", Column::Number(rows.iter().map(|row| row.1).collect()))
            .with("flag", Column::Boolean(rows.iter().map(|row| row.2).collect()))
            .with("plan", Column::Text(rows.iter().map(|row| row.3.clone()).collect()))
            .with("at", Column::Date(rows.iter().map(|row| row.4).collect()));
        (batch, rows.len())
    })
}

/// `None` where the expression is one that types forbid, such as one that is always NULL.
fn evaluate(sql: &str, batch: &Batch, rows: usize) -> Option<Vec<Cell>> {
    let expression = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let derived = expression.evaluate(batch, rows).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let types = |name: &str| batch.get(name).map(|values| values.value_type());
    expression.bind(&types).ok().map(|_| cells(&derived))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_batch_is_its_rows(choices in proptest::collection::vec(any::<u8>(), 0..80), (batch, rows) in batch(0..12)) {
        let sql = Writer { bytes: choices.iter() }.any();
        let Some(whole) = evaluate(&sql, &batch, rows) else { return Ok(()) };
        prop_assert_eq!(whole.len(), rows);
        for (row, cell) in whole.iter().enumerate() {
            prop_assert_eq!(&evaluate(&sql, &batch.row(row), 1).unwrap()[0], cell, "{} in row {}", sql, row);
        }
    }

    #[test]
    fn every_number_is_finite_or_missing(choices in proptest::collection::vec(any::<u8>(), 0..80), (batch, rows) in batch(0..12)) {
        let sql = Writer { bytes: choices.iter() }.number(8);
        for cell in evaluate(&sql, &batch, rows).unwrap_or_default() {
            let Cell::Number(value) = cell else { panic!("{sql} is text") };
            prop_assert!(value.is_none_or(f64::is_finite), "{}", sql);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn blocks_leave_no_seam(choices in proptest::collection::vec(any::<u8>(), 10..60), (batch, rows) in batch(2 * BLOCK_ROWS + 3)) {
        let sql = Writer { bytes: choices.iter() }.any();
        let Some(whole) = evaluate(&sql, &batch, rows) else { return Ok(()) };
        prop_assert_eq!(whole.len(), rows);
        for row in [0, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS - 1, 2 * BLOCK_ROWS, rows - 1] {
            prop_assert_eq!(&evaluate(&sql, &batch.row(row), 1).unwrap()[0], &whole[row], "{} in row {}", sql, row);
        }
    }
}
