//! Test support: the built programs, tables to feed them, a real S3 server and a bad line to it.

#![allow(clippy::expect_used, clippy::panic, reason = "for tests only: what is missing here ends the test")]

use std::env;
use std::path::PathBuf;

pub mod cgroup;
pub mod damage;
pub mod disk;
pub mod faults;
pub mod program;
pub mod random;
pub mod s3;
pub mod tables;
pub mod users;

/// The folder of the project whose tests run. Asked while they run: clones share a target folder, and what the compiler
/// once wrote into a library of it may be the place of another clone, which is gone.
pub fn project() -> PathBuf {
    let tested_crate =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let tested_crate = tested_crate.canonicalize().expect("the folder of the tested crate");
    let mut folders = tested_crate.ancestors();
    folders.find(|folder| folder.join("Cargo.lock").exists()).expect("the project's folder").to_owned()
}
