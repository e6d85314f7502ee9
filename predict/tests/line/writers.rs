//! The same table out of many writers, in many types, as Parquet and as CSV: one model, one set of predictions.

use std::process::Command;

use super::repository;

/// `PROPERTY_SEEDS=1,2,3` for other tables.
#[test]
fn one_table_gives_one_model_whoever_wrote_it() {
    let seeds = std::env::var("PROPERTY_SEEDS").unwrap_or_else(|_| "1".to_owned());
    let setup = Command::new(repository().join("scripts/setup-python")).output().unwrap();
    let python = String::from_utf8(setup.stdout).unwrap();
    let mut call = Command::new(python.trim());
    call.arg(repository().join("predict/tests/writers/same_table.py"));
    call.arg(std::path::Path::new(env!("CARGO_BIN_EXE_predict")).parent().unwrap());
    let output = call.args(seeds.split(',')).output().unwrap();
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("all the same"), "{said}{log}");
}
