use super::*;

const VALUES: [Value<'static>; 3] = [("run_id", "r-1"), ("run_date", "2026-11-23"), ("environment", "prod")];

fn read(sql: &str) -> Result<UserSelect> {
    UserSelect::read("config/training.sql", sql, &VALUES)
}

fn refused(sql: &str) -> String {
    let failure = read(sql).unwrap_err();
    assert_eq!(failure.kind, crate::failure::Kind::BadSettings);
    failure.message
}

#[test]
fn what_athena_reads_is_read() {
    for sql in [
        "SELECT * FROM lake.training",
        "select a, count(*) from t group by 1 having count(*) > 2 order by 2 desc limit 10;",
        "WITH a AS (SELECT 1 AS x), b AS (SELECT * FROM a) SELECT * FROM b WHERE x IN (SELECT x FROM a)",
        "SELECT \"a b\", 'it''s; -- no comment', \"x\"\"y\" FROM \"AwsDataCatalog\".lake.t",
        "SELECT date '{{run_date}}' - interval '7' day, timestamp '2024-01-01 00:00:00' AT TIME ZONE 'UTC'",
        "SELECT a FROM t CROSS JOIN UNNEST(b) WITH ORDINALITY AS u(c, n)",
        "SELECT count(*) FILTER (WHERE a > 1), try_cast(b AS double), transform(c, x -> x + 1), d[1] FROM t",
        "SELECT sum(a) OVER (PARTITION BY b ORDER BY c ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) FROM t",
        "SELECT a FROM t TABLESAMPLE BERNOULLI (10)",
        "SELECT ARRAY[1, 2], MAP(ARRAY['a'], ARRAY[1]), cast(a AS decimal(10, 2)), cast(b AS array(bigint)) FROM t",
        "SELECT a FROM t1 UNION ALL SELECT a FROM t2 EXCEPT SELECT a FROM t3",
        "SELECT CASE WHEN a IS DISTINCT FROM b THEN 1 ELSE 0 END, x'ff', 1e3, a || b FROM t -- the end",
        "SELECT extract(year FROM a), date_diff('day', a, b), approx_percentile(c, 0.5) FROM t WHERE d LIKE 'a%' ESCAPE '!'",
        "SELECT a, grouping(a) FROM t GROUP BY GROUPING SETS ((a), ())",
    ] {
        read(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
    }
}

#[test]
fn one_select_is_one_select() {
    for (sql, place) in [
        ("", "is empty"),
        ("-- nothing\n", "is empty"),
        ("SELECT 1; SELECT 2", "line 1, column 11: a second statement"),
        ("SELECT 1;\n;", "line 2, column 1: a second statement"),
        ("DROP TABLE x", "line 1, column 1: the statement must begin with SELECT or WITH"),
        ("INSERT INTO x SELECT 1", "must begin with SELECT or WITH"),
        ("(SELECT 1)", "must begin with SELECT or WITH"),
        ("SELECT 1\n  FROM t)", "line 2, column 9"),
        ("SELECT 1) TO 's3://elsewhere/' WITH (format = 'PARQUET') --", "line 1, column 9"),
        ("SELECT a FROM (SELECT 1", "line 1, column"),
        ("SELECT a b c FROM t", "line 1, column 12"),
        ("SELECT a\nFORM t WHERE", "line 2"),
        ("SELECT 'never closed", "line 1, column 8"),
        ("SELECT 1 /* never closed", "line 1, column"),
        ("SELECT `a` FROM t", "line 1, column 8"),
        ("SELECT $$ ) $$", "line 1, column 8"),
        ("SELECT ?", "line 1, column 8"),
        ("SELECT 1 INTO t2 FROM t", "no SELECT that only reads"),
    ] {
        let message = refused(sql);
        assert!(message.starts_with("config/training.sql"), "{message}");
        assert!(message.contains(place), "{sql}: {message}");
    }
}

#[test]
fn a_backslash_ends_no_text() {
    // Trino has no escapes in texts: the text ends at the second quote, and so it does for us.
    let message = refused(r"SELECT '\') TO 's3://x/' WITH (format = 'CSV') --'");
    assert!(message.contains("line 1, column"), "{message}");
    for foreign in [r"SELECT E'\') TO '", r"SELECT N'a'"] {
        refused(foreign);
    }
}

#[test]
fn comments_are_blank_and_places_stay() {
    let select = read("SELECT a -- ) x\n/* ; ) */ FROM t /* two\nlines */ WHERE a > 1;  -- end").unwrap();
    assert_eq!(select.text(), "SELECT a       \n          FROM t       \n         WHERE a > 1");
    assert_eq!(select.as_table().lines().count(), 5);
}

#[test]
fn a_comment_ends_where_trino_ends_it() {
    // Nested by no one's count: the first `*/` ends it.
    let message = refused("SELECT 1 /* /* */ ) */");
    assert!(message.contains("line 1, column 19"), "{message}");
}

#[test]
fn places_are_those_of_the_file() {
    let message = refused("SELECT '{{run_date}}', '{{ environment }}',\n  '{{run_id}}' x y FROM t");
    assert!(message.contains("line 2, column 18"), "{message}");
    let message = refused("SELECT '{{run_date}}' x y FROM t");
    assert!(message.contains("line 1, column 25"), "{message}");
    assert!(refused("SELECT\n {{customer}} FROM t").contains("line 2, column 2: there is no {{customer}}"));
    assert!(refused("SELECT {{run_id FROM t").contains("line 1, column 8"));
    let select = read("SELECT '{{run_date}}' AS d, wrong\nFROM t").unwrap();
    let said = select.explain("COLUMN_NOT_FOUND: line 2:27: Column 'wrong' cannot be resolved");
    assert_eq!(said, "config/training.sql, line 1, column 29: COLUMN_NOT_FOUND: Column 'wrong' cannot be resolved");
    assert_eq!(select.explain("something else"), "config/training.sql: something else");
}

#[test]
fn values_that_make_a_comment_hide_nothing() {
    let values: [Value<'_>; 1] = [("run_id", "a--b")];
    let message = UserSelect::read("x.sql", "SELECT ({{run_id}})", &values).unwrap_err().message;
    assert!(message.starts_with("x.sql, line 1, column"), "{message}");
}
