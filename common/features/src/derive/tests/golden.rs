use super::*;

const NAN: f64 = f64::NAN;

/// Four rows; the last is missing throughout.
fn batch() -> Batch {
    let text = |values: [Option<&str>; 4]| Column::Text(values.map(|value| value.map(str::to_owned)).to_vec());
    Batch::default()
        .with("a", Column::Number(vec![1.0, 0.0, -7.5, NAN]))
        .with("b", Column::Number(vec![2.0, 0.0, 4.0, NAN]))
        .with("inf", Column::Number(vec![f64::INFINITY, f64::NEG_INFINITY, 1.0, NAN]))
        .with("flag", Column::Boolean(vec![Some(true), Some(false), Some(true), None]))
        .with("other", Column::Boolean(vec![Some(false), Some(false), None, None]))
        .with("plan", text([Some("gold"), Some("basic"), Some(""), None]))
        .with("Plan 2", text([Some("gold"), Some("silver"), Some("x"), None]))
        .with("größe", Column::Number(vec![10.0, 20.0, 30.0, NAN]))
        .with("date", Column::Number(vec![5.0, 6.0, 7.0, NAN]))
        .with("joined", Column::Date(vec![days("2024-01-31"), days("2023-12-25 18:30"), days("1969-12-31"), NAN]))
        .with("left_at", Column::Date(vec![days("2024-02-29"), days("2024-01-01"), days("1970-01-01 12:00"), NAN]))
}

fn numbers(sql: &str) -> Vec<f64> {
    let batch = batch();
    match parse(sql).and_then(|expression| expression.evaluate(&batch, 4).map(|derived| format_numbers(&derived))) {
        Ok(values) => values,
        Err(error) => panic!("{sql}: {error}"),
    }
}

fn format_numbers(derived: &Derived<'_>) -> Vec<f64> {
    match derived {
        Derived::Number(values) => values.clone(),
        Derived::Text(values) => panic!("text: {values:?}"),
    }
}

fn texts(sql: &str) -> Vec<Option<String>> {
    let (expression, batch) = (parse(sql).unwrap(), batch());
    match expression.evaluate(&batch, 4).unwrap() {
        Derived::Text(values) => values.into_iter().map(|value| value.map(str::to_owned)).collect(),
        Derived::Number(values) => panic!("numbers: {values:?}"),
    }
}

fn check(cases: &[(&str, [f64; 4])]) {
    for (sql, expected) in cases {
        let found = numbers(sql);
        let same = found
            .iter()
            .zip(expected)
            .all(|(found, expected)| found == expected || found.is_nan() && expected.is_nan());
        assert!(same, "{sql}: {found:?} is not {expected:?}");
    }
}

#[test]
fn arithmetic_is_in_floats_and_what_is_not_finite_is_missing() {
    check(&[
        ("a", [1.0, 0.0, -7.5, NAN]),
        ("a + b * 2", [5.0, 0.0, 0.5, NAN]),
        ("(a + b) * 2", [6.0, 0.0, -7.0, NAN]),
        ("a - b - 1", [-2.0, -1.0, -12.5, NAN]),
        ("1 / b", [0.5, NAN, 0.25, NAN]),
        ("7 / 2", [3.5; 4]),
        ("a / b", [0.5, NAN, -1.875, NAN]),
        ("b / b / 2", [0.5, NAN, 0.5, NAN]),
        ("-a", [-1.0, -0.0, 7.5, NAN]),
        ("- - a", [1.0, 0.0, -7.5, NAN]),
        ("-(-2)", [2.0; 4]),
        ("1.5e3", [1500.0; 4]),
        ("1e308 * 10 + a", [NAN; 4]),
        ("inf", [NAN, NAN, 1.0, NAN]),
        ("a + NULL", [NAN; 4]),
        ("\"größe\" / größe", [1.0, 1.0, 1.0, NAN]),
        ("date + 1", [6.0, 7.0, 8.0, NAN]),
    ]);
}

#[test]
fn comparisons_with_missing_are_missing() {
    check(&[
        ("a < b", [1.0, 0.0, 1.0, NAN]),
        ("a <= b", [1.0, 1.0, 1.0, NAN]),
        ("a > b", [0.0, 0.0, 0.0, NAN]),
        ("a >= b", [0.0, 1.0, 0.0, NAN]),
        ("a = b", [0.0, 1.0, 0.0, NAN]),
        ("a <> b", [1.0, 0.0, 1.0, NAN]),
        ("a != 1", [0.0, 1.0, 1.0, NAN]),
        ("a = -0.0", [0.0, 1.0, 0.0, NAN]),
        ("NULL = NULL", [NAN; 4]),
        ("plan = 'gold'", [1.0, 0.0, 0.0, NAN]),
        ("plan < \"Plan 2\"", [0.0, 1.0, 1.0, NAN]),
        ("'it''s' = 'it''s'", [1.0; 4]),
        ("flag = other", [0.0, 1.0, NAN, NAN]),
        ("joined > DATE '2024-01-01'", [1.0, 0.0, 0.0, NAN]),
        ("joined = TIMESTAMP '2023-12-25 18:30:00'", [0.0, 1.0, 0.0, NAN]),
        ("a BETWEEN -1 AND b", [1.0, 1.0, 0.0, NAN]),
        ("a NOT BETWEEN -1 AND b", [0.0, 0.0, 1.0, NAN]),
        ("a BETWEEN NULL AND 0", [0.0, NAN, NAN, NAN]),
        ("plan IN ('gold', 'x')", [1.0, 0.0, 0.0, NAN]),
        ("plan NOT IN ('gold', 'x')", [0.0, 1.0, 1.0, NAN]),
        ("a IN (1, NULL)", [1.0, NAN, NAN, NAN]),
        ("a NOT IN (1, NULL)", [0.0, NAN, NAN, NAN]),
    ]);
}

#[test]
fn logic_has_three_values() {
    check(&[
        ("flag", [1.0, 0.0, 1.0, NAN]),
        ("NOT flag", [0.0, 1.0, 0.0, NAN]),
        ("flag AND other", [0.0, 0.0, NAN, NAN]),
        ("flag OR other", [1.0, 0.0, 1.0, NAN]),
        ("other OR NULL", [NAN; 4]),
        ("other AND NULL", [0.0, 0.0, NAN, NAN]),
        ("flag OR TRUE", [1.0; 4]),
        ("flag AND FALSE", [0.0; 4]),
        ("TRUE OR FALSE AND FALSE", [1.0; 4]),
        ("NOT a = 1 AND b > 0", [0.0, 0.0, 1.0, NAN]),
        ("a IS NULL", [0.0, 0.0, 0.0, 1.0]),
        ("a IS NOT NULL", [1.0, 1.0, 1.0, 0.0]),
        ("a / b IS NULL", [0.0, 1.0, 0.0, 1.0]),
        ("plan IS NULL OR plan = ''", [0.0, 0.0, 1.0, 1.0]),
        ("(flag AND other) IS NULL", [0.0, 0.0, 1.0, 1.0]),
    ]);
}

#[test]
fn case_takes_the_first_branch_that_is_true() {
    check(&[
        ("CASE WHEN a > 0 THEN 1 WHEN a >= 0 THEN 2 ELSE 3 END", [1.0, 2.0, 3.0, 3.0]),
        ("CASE WHEN a > 0 THEN 1 END", [1.0, NAN, NAN, NAN]),
        ("CASE a WHEN 1 THEN 10 WHEN 0 THEN NULL ELSE b END", [10.0, NAN, 4.0, NAN]),
        ("CASE a WHEN NULL THEN 1 ELSE 0 END", [0.0; 4]),
        ("CASE WHEN NULL THEN 1 ELSE 0 END", [0.0; 4]),
        ("CASE WHEN flag THEN 1 ELSE 0 END", [1.0, 0.0, 1.0, 0.0]),
        ("CASE plan WHEN 'gold' THEN joined ELSE NULL END - joined", [0.0, NAN, NAN, NAN]),
    ]);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        texts("CASE WHEN a > 0 THEN 'up' WHEN a = 0 THEN plan ELSE NULL END"),
        [some("up"), some("basic"), None, None]
    );
    assert_eq!(texts("COALESCE(plan, 'none')"), [some("gold"), some("basic"), some(""), some("none")]);
    assert_eq!(texts("NULLIF(plan, '')"), [some("gold"), some("basic"), None, None]);
    assert_eq!(texts("GREATEST(plan, \"Plan 2\")"), [some("gold"), some("silver"), some("x"), None]);
}

#[test]
fn functions_of_numbers() {
    check(&[
        ("COALESCE(a / b, b, 9)", [0.5, 0.0, -1.875, 9.0]),
        ("coalesce(NULL, NULL, 3)", [3.0; 4]),
        ("NULLIF(a, 0)", [1.0, NAN, -7.5, NAN]),
        ("NULLIF(a, NULL)", [1.0, 0.0, -7.5, NAN]),
        ("LEAST(a, b, 1)", [1.0, 0.0, -7.5, NAN]),
        ("GREATEST(a, b, 1)", [2.0, 1.0, 4.0, NAN]),
        ("GREATEST(a, NULL)", [NAN; 4]),
        ("ABS(a)", [1.0, 0.0, 7.5, NAN]),
        ("LN(a)", [0.0, NAN, NAN, NAN]),
        ("EXP(a * 1000)", [NAN, 1.0, 0.0, NAN]),
        ("SQRT(b * 2)", [2.0, 0.0, f64::sqrt(8.0), NAN]),
        ("SQRT(a)", [1.0, 0.0, NAN, NAN]),
        ("POWER(b, 3)", [8.0, 0.0, 64.0, NAN]),
        ("POWER(a, 0)", [1.0, 1.0, 1.0, NAN]),
        ("POWER(1, b)", [1.0, 1.0, 1.0, NAN]),
        ("POWER(a, 0.5)", [1.0, 0.0, NAN, NAN]),
        ("POWER(b, -1)", [0.5, NAN, 0.25, NAN]),
        ("FLOOR(a / 2)", [0.0, 0.0, -4.0, NAN]),
        ("CEIL(a / 2)", [1.0, 0.0, -3.0, NAN]),
        ("CEILING(a)", [1.0, 0.0, -7.0, NAN]),
        ("ROUND(a)", [1.0, 0.0, -8.0, NAN]),
        ("Round(2.5)", [3.0; 4]),
    ]);
}

#[test]
fn functions_of_dates() {
    check(&[
        ("joined", [19_753.0, 19_716.0 + 18.5 / 24.0, -1.0, NAN]),
        ("left_at - joined", [29.0, 6.0 + 5.5 / 24.0, 1.5, NAN]),
        ("joined - left_at", [-29.0, -6.0 - 5.5 / 24.0, -1.5, NAN]),
        ("FLOOR(left_at - joined) / 7", [29.0 / 7.0, 6.0 / 7.0, 1.0 / 7.0, NAN]),
        ("DATE '2024-01-01' - joined", [-30.0, 6.0 + 5.5 / 24.0, 19_724.0, NAN]),
        ("DATE_DIFF('day', joined, left_at)", [29.0, 6.0, 1.0, NAN]),
        ("date_diff('HOUR', joined, left_at)", [696.0, 149.0, 36.0, NAN]),
        ("DATE_DIFF('month', joined, left_at)", [1.0, 0.0, 0.0, NAN]),
        ("DATE_DIFF('year', DATE '2000-02-29', left_at)", [24.0, 23.0, -30.0, NAN]),
        ("YEAR(joined)", [2024.0, 2023.0, 1969.0, NAN]),
        ("EXTRACT(YEAR FROM joined)", [2024.0, 2023.0, 1969.0, NAN]),
        ("QUARTER(joined)", [1.0, 4.0, 4.0, NAN]),
        ("MONTH(joined) + DAY(joined)", [32.0, 37.0, 43.0, NAN]),
        ("DAY_OF_WEEK(joined)", [3.0, 1.0, 3.0, NAN]),
        ("EXTRACT(DOW FROM joined)", [3.0, 1.0, 3.0, NAN]),
        ("EXTRACT(DAY_OF_YEAR FROM joined)", [31.0, 359.0, 365.0, NAN]),
        ("WEEK(joined)", [5.0, 52.0, 1.0, NAN]),
        ("HOUR(joined) * 60 + MINUTE(joined) + SECOND(joined)", [0.0, 1110.0, 0.0, NAN]),
        ("CASE WHEN DAY_OF_WEEK(left_at) IN (6, 7) THEN 1 ELSE 0 END", [0.0; 4]),
        ("LEAST(joined, DATE '2024-01-01')", [19_723.0, 19_716.0 + 18.5 / 24.0, -1.0, NAN]),
        ("joined BETWEEN DATE '2023-12-01' AND TIMESTAMP '2024-01-31T00:00:00'", [1.0, 1.0, 0.0, NAN]),
    ]);
}

fn failure(sql: &str) -> String {
    let batch = batch();
    let evaluated =
        parse(sql).and_then(|expression| expression.evaluate(&batch, 4).map(|derived| format!("{derived:?}")));
    let message = evaluated.unwrap_err().to_string();
    assert!(message.starts_with("derived feature `feature`: ") && !message.contains('\n'), "{message}");
    message
}

fn fails(cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        let message = failure(sql);
        assert!(message.contains(expected), "{sql}: `{expected}` is not in: {message}");
    }
}

#[test]
fn what_is_no_expression_of_the_subset_says_why() {
    fails(&[
        ("", "not a valid SQL expression"),
        ("a b", "`b` does not belong"),
        ("a; b", "does not belong"),
        ("a, b", "does not belong"),
        ("SELECT a", "not a valid SQL expression"),
        ("a +", "not a valid SQL expression"),
        ("'open", "not a valid SQL expression"),
        ("SUM(a)", "SUM is an aggregate"),
        ("avg(a)", "AVG is an aggregate"),
        ("COUNT(*)", "COUNT is an aggregate"),
        ("COUNT(DISTINCT a)", "COUNT is an aggregate"),
        ("MAX(a)", "MAX is an aggregate"),
        ("SUM(a) OVER (PARTITION BY b)", "SUM is a window function"),
        ("ROW_NUMBER() OVER ()", "ROW_NUMBER is a window function"),
        ("LAG(a)", "LAG is a window function"),
        ("RANDOM()", "RANDOM is random"),
        ("rand() * a", "RAND is random"),
        ("uuid()", "UUID is random"),
        ("NOW()", "NOW reads the clock"),
        ("CURRENT_DATE - joined", "CURRENT_DATE reads the clock"),
        ("CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP reads the clock"),
        ("LOCALTIMESTAMP", "LOCALTIMESTAMP reads the clock"),
        ("(SELECT MAX(a) FROM t)", "subqueries are not supported"),
        ("EXISTS (SELECT 1)", "subqueries are not supported"),
        ("a IN (SELECT b FROM t)", "not a subquery"),
        ("a IN ()", "not a valid SQL expression"),
        ("CAST(a AS INTEGER)", "CAST is not supported"),
        ("a::int", "CAST is not supported"),
        ("t.a", "names with a dot"),
        ("a % 2", "the operator `%` is not supported"),
        ("plan || 'x'", "the operator `||` is not supported"),
        ("a & 1", "the operator `&` is not supported"),
        ("plan LIKE 'g%'", "LIKE is not supported"),
        ("a IS TRUE", "IS TRUE"),
        ("joined + INTERVAL '1' DAY", "INTERVAL is not supported"),
        ("+a", "leave it out"),
        ("LOG(a)", "LN is the natural logarithm"),
        ("UPPER(plan)", "the function UPPER is not supported"),
        ("SUBSTRING(plan, 1, 2)", "a function of text is not supported"),
        ("IF(flag, 1, 2)", "use CASE WHEN"),
        ("DATE_DIFF('fortnight', joined, left_at)", "takes a unit first"),
        ("DATE_DIFF(joined, left_at)", "DATE_DIFF takes 3 arguments, not 2"),
        ("EXTRACT(EPOCH FROM joined)", "EXTRACT of EPOCH"),
        ("DATE '2024-13-01'", "'2024-13-01' is not a date"),
        ("TIMESTAMP 'noon'", "'noon' is not a date"),
        ("TIME '10:00:00'", "a literal of type TIME"),
        ("ABS(a, b)", "ABS takes 1 argument, not 2"),
        ("COALESCE()", "COALESCE takes at least 1 argument, not 0"),
        ("NULLIF(a)", "NULLIF takes 2 arguments, not 1"),
        ("ROUND(a, 2)", "ROUND takes 1 argument, not 2"),
        ("FLOOR(joined TO DAY)", "take one number"),
        ("a -- comment", "comments are not supported"),
        ("1e999", "not a 64-bit float"),
        ("?", "not supported"),
        ("(a, b)", "not supported"),
        ("ABS(DISTINCT a)", "plain values"),
        ("ABS(*)", "plain values"),
    ]);
}

#[test]
fn types_that_do_not_go_together_say_so() {
    fails(&[
        ("plan + 1", "`+` takes a number, not a text"),
        ("flag * 2", "CASE WHEN flag THEN 1 ELSE 0 END"),
        ("joined + 1", "`+` takes a number, not a date"),
        ("joined - 1", "date - date takes a date, not a number"),
        ("1 - joined", "`-` takes a number, not a date"),
        ("-plan", "the sign - takes a number"),
        ("NOT a", "NOT takes a boolean, not a number"),
        ("a AND flag", "AND or OR takes a boolean, not a number"),
        ("a = 'x'", "needs values of one type, not a number and a text"),
        ("joined > '2024-01-01'", "write a date as DATE"),
        ("a < b < 1", "not a boolean and a number"),
        ("CASE WHEN a THEN 1 END", "WHEN takes a boolean"),
        ("CASE WHEN flag THEN 1 ELSE 'x' END", "the results of CASE"),
        ("CASE plan WHEN 1 THEN 1 END", "CASE needs values of one type"),
        ("COALESCE(a, plan)", "COALESCE needs values of one type"),
        ("LEAST(a, joined)", "LEAST needs values of one type"),
        ("LN(plan)", "takes a number, not a text"),
        ("YEAR(a)", "a date part takes a date, not a number"),
        ("DATE_DIFF('day', joined, a)", "DATE_DIFF takes a date, not a number"),
        ("a BETWEEN 1 AND 'x'", "BETWEEN needs"),
        ("a IN (1, 'x')", "IN needs"),
    ]);
}

#[test]
fn a_type_error_is_found_before_any_row_is_read() {
    let types = |name: &str| batch().get(name).map(|values| values.value_type());
    assert!(parse("plan + 1").unwrap().bind(&types).is_err());
    assert_eq!(parse("left_at - joined").unwrap().bind(&types), Ok(ValueType::Number));
    assert_eq!(parse("LEAST(left_at, joined)").unwrap().bind(&types), Ok(ValueType::Date));
    assert_eq!(parse("COALESCE(NULL, plan)").unwrap().bind(&types), Ok(ValueType::Text));
    assert_eq!(parse("a IS NULL").unwrap().bind(&types), Ok(ValueType::Boolean));
    let always_null = parse("CASE WHEN flag THEN NULL END").unwrap().bind(&types).unwrap_err();
    assert!(always_null.to_string().ends_with("is always NULL"), "{always_null}");
}

#[test]
fn columns_are_bound_by_name_with_their_case() {
    let expression = parse("a + \"größe\" + A + a").unwrap();
    assert_eq!(expression.columns(), ["a", "größe", "A"]);
    let message = expression.evaluate(&batch(), 4).unwrap_err().to_string();
    assert!(message.contains("column `A` is not in the input, did you mean `a`?"), "{message}");
    assert!(failure("nowhere").ends_with("column `nowhere` is not in the input"));
}

#[test]
fn the_target_is_refused() {
    let error = Expression::parse("ratio", "a / NULLIF(\"the score\", 0)", Some("the score")).unwrap_err();
    assert!(error.to_string().starts_with("derived feature `ratio`: uses the target `the score`"), "{error}");
    assert!(Expression::parse("ratio", "a / b", Some("the score")).is_ok());
}

#[test]
fn a_column_of_another_length_is_an_error() {
    let (expression, batch) = (parse("a").unwrap(), batch());
    let message = expression.evaluate(&batch, 5).unwrap_err().to_string();
    assert!(message.contains("column `a` has 4 rows where the batch has 5"), "{message}");
}

#[test]
fn an_expression_serialises_as_its_text() {
    let sql = "a  /  b";
    assert_eq!(serde_json::to_string(&parse(sql).unwrap()).unwrap(), format!("{sql:?}"));
}
