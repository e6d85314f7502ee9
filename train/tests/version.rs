//! The built binary starts. That this test exists makes `cargo test` build it, which the tests in `predict/tests/line` need.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Command;

#[test]
fn the_program_tells_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_train")).arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("train {}\n", env!("CARGO_PKG_VERSION")));
}
