//! What `train` says of rows that it cannot use: what is wrong, how often, an example, and what to do.

use std::fmt::Write as _;
use std::process::Output;

use super::{Workshop, last_line, succeeded};

/// 60 rows with the columns `id`, `x`, `c`, `w` and `target`, of which `cells` gives the last two.
fn table(cells: impl Fn(usize) -> (String, String)) -> String {
    let mut csv = String::from("id,x,c,w,target\n");
    for row in 0..60 {
        let (weight, target) = cells(row);
        writeln!(csv, "{row},{},{},{weight},{target}", row * 37 % 83, ["a", "b", "c"][row % 3]).unwrap();
    }
    csv
}

fn train(csv: &str, spec: &str, more: &[&str]) -> Output {
    let workshop = Workshop::new();
    let (data, spec) = (workshop.write("table.csv", csv), workshop.write("features.toml", spec));
    workshop.call("r", &data).args(["--rounds", "3", "--features"]).arg(spec).args(more).output().unwrap()
}

#[track_caller]
fn fails(done: &Output, exit_code: i32, message: &str) {
    let last = last_line(done);
    let said = last["error_message"].as_str().unwrap_or_default();
    assert_eq!(done.status.code(), Some(exit_code), "{last}");
    assert!(said.ends_with(message), "{said}\ninstead of\n{message}");
}

fn usual(row: usize) -> String {
    (row * 37 % 83).to_string()
}

#[test]
fn bad_weights_are_counted_with_an_example() {
    let spec = "weight = \"w\"\n";
    let none = "none of its 60 rows can be trained on: 60 have a weight \"w\" that is missing, negative or not finite";
    fails(&train(&table(|row| ("-1.5".to_owned(), usual(row))), spec, &[]), 4, &format!("{none}, such as -1.5"));
    fails(&train(&table(|row| (String::new(), usual(row))), spec, &[]), 4, none);
    let text = "the weight \"w\" has text (str), but a weight is a number: 30 of its 60 cells are no numbers, the first of them \
                \"heavy\" in data row 1: correct them, or leave them empty";
    let weight = |row: usize| (if row.is_multiple_of(2) { "heavy" } else { "2" }.to_owned(), usual(row));
    fails(&train(&table(weight), spec, &[]), 4, text);
    // Some bad ones are left out and counted.
    let done = train(&table(|row| (if row < 7 { "-1" } else { "1" }.to_owned(), usual(row))), spec, &[]);
    succeeded(&done);
    assert_eq!(last_line(&done)["rows_dropped"]["bad_weight"], 7);
}

#[test]
fn targets_beyond_small_floats_are_told_from_missing_ones() {
    let beyond = "60 have a target \"target\" beyond 32-bit floats, which XGBoost computes with, such as 1e39 (divide the target by a \
                  power of ten)";
    let one = || "1".to_owned();
    fails(&train(&table(|_| (one(), "1e39".to_owned())), "", &[]), 4, beyond);
    let missing = "60 have no target \"target\", or one that is not finite";
    fails(&train(&table(|_| (one(), String::new())), "", &[]), 4, missing);
    let both = "none of its 60 rows can be trained on: 40 have no target \"target\", or one that is not finite, 20 have a target \
                \"target\" beyond 32-bit floats, which XGBoost computes with, such as -5e40 (divide the target by a power of ten)";
    let mixed = |row: usize| (one(), if row.is_multiple_of(3) { "-5e40".to_owned() } else { String::new() });
    fails(&train(&table(mixed), "", &[]), 4, both);
    // Where some are usable, a warning says it.
    let done = train(&table(|row| (one(), if row == 5 { "1e39".to_owned() } else { usual(row) })), "", &[]);
    succeeded(&done);
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        log.contains("1 has a target \\\"target\\\" beyond 32-bit floats") && log.contains("such as 1e39"),
        "{log}"
    );
    assert_eq!(last_line(&done)["rows_dropped"]["bad_target"], 1);
}

#[test]
fn targets_that_are_text_are_shown() {
    let text = "the target \"target\" has text (str), but only numbers can be predicted: 4 of its 60 cells are no numbers, the first of \
                them \"unknown\" in data row 8: correct them, or leave them empty";
    let target = |row: usize| ("1".to_owned(), if row % 15 == 7 { "unknown".to_owned() } else { usual(row) });
    fails(&train(&table(target), "", &[]), 4, text);
}

#[test]
fn targets_that_small_floats_take_for_one_number_are_refused_and_a_constant_is_named() {
    let one = || "1".to_owned();
    let far = |row: usize| (one(), format!("{}", 1e9 + row as f64 / 100.0));
    let text = "goes from 1000000000 to 1000000000.59, and as 32-bit floats, which XGBoost computes with, all of that is the same number: \
                subtract 1000000000 from it";
    fails(&train(&table(far), "", &[]), 4, text);
    let coarse = train(&table(|row| (one(), format!("{}", 1e9 + row as f64 * 100.0))), "", &[]);
    succeeded(&coarse);
    let log = String::from_utf8_lossy(&coarse.stderr).into_owned();
    assert!(log.contains("subtract 1000000000 from it to keep its digits"), "{log}");
    fails(
        &train(&table(|_| (one(), "5".to_owned())), "", &[]),
        4,
        "the target \"target\" is 5 in every held-out row: no R² can be computed on it",
    );
}

#[test]
fn a_category_with_a_direction_is_refused() {
    let done = train(&table(|row| ("1".to_owned(), usual(row))), "[monotone]\nc = 1\n", &[]);
    fails(&done, 2, "monotone names \"c\", which has text and is a category: categories have no order");
}

/// One of one is a run of its own; only from two tasks on is anything shared.
#[test]
fn the_only_shard_is_a_run_of_its_own() {
    let usual_table = table(|row| ("1".to_owned(), usual(row)));
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &usual_table);
    let shard = |shard: &str| workshop.call("r", &data).args(["--rounds", "3"]).env("SHARD", shard).output().unwrap();
    assert_eq!(shard("1/1").status.code(), Some(2), "the first and only shard is 0/1");
    assert!(!workshop.folder().join("models").exists());
    succeeded(&shard("0/1"));
    succeeded(&shard(""));
}

#[test]
fn every_reason_that_leaves_no_row_is_said() {
    let without_ids =
        table(|row| ("1".to_owned(), usual(row))).lines().enumerate().fold(String::new(), |csv, (row, line)| {
            let rest = line.split_once(',').unwrap().1;
            csv + &if row == 0 { format!("{line}\n") } else { format!(",{rest}\n") }
        });
    fails(&train(&without_ids, "", &[]), 4, "none of its 60 rows can be trained on: 60 have no id \"id\"");
    let usual_table = table(|row| ("1".to_owned(), usual(row)));
    fails(
        &train(&usual_table, "", &["--test-fraction", "1"]),
        4,
        "none of its 60 rows can be trained on: 60 are held out (--test-fraction, TEST_FRACTION)",
    );
    let repeated = usual_table.lines().fold(String::new(), |csv, line| {
        let rest = line.split_once(',').unwrap().1;
        csv + &if line.starts_with("id") { format!("{line}\n") } else { format!("7,{rest}\n") }
    });
    fails(
        &train(&repeated, "", &["--test-fraction", "0"]),
        4,
        "0 held-out rows are too few to judge a model on: at least 2 are needed (--min-test-rows); of the 60 rows read, 59 repeat an id (the first row is \
         kept); give more rows, a larger --test-fraction (TEST_FRACTION) or --test-data (TEST_DATA)",
    );
}

#[test]
fn targets_that_an_objective_is_not_defined_for_are_bad_data() {
    for (objective, shift) in
        [("reg:gamma", 200), ("count:poisson", 40), ("reg:squaredlogerror", 40), ("reg:logistic", 0)]
    {
        let target = |row: usize| ("1".to_owned(), (i64::try_from(row * 37 % 83).unwrap() - shift).to_string());
        let done = train(&table(target), "", &["--param", &format!("objective={objective}")]);
        let last = last_line(&done);
        assert_eq!(done.status.code(), Some(4), "{objective}: {last}");
        assert!(last["error_message"].as_str().unwrap().contains("do not suit the objective"), "{last}");
    }
}
